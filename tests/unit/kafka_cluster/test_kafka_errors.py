"""Kafka's and librdkafka's codes as errors of mk: which exit status, and what is said."""

import pytest

from mk.errors import TopicExistsError

kafka = pytest.importorskip("confluent_kafka")

from mk.kafka_cluster.kafka_errors import error_of, reason_of, tells_nothing  # noqa: E402  needs the library

CODES = {name: value for name, value in vars(kafka.KafkaError).items() if name.isupper() and isinstance(value, int)}


def error(name, text=""):
    return kafka.KafkaError(CODES[name], text) if text else kafka.KafkaError(CODES[name])


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_code_has_a_status_that_the_manual_has(name):
    if name in ("NO_ERROR", "_NO_ERROR"):
        return
    found = error_of(error(name), "it failed")
    assert found.exit_status in (2, 65, 66, 69, 73, 74, 75, 77, 78)
    assert found.what == "it failed" and found.facts["code"]


@pytest.mark.parametrize(
    "names, status",
    [
        ("_ALL_BROKERS_DOWN _TRANSPORT _RESOLVE _TIMED_OUT _MSG_TIMED_OUT NETWORK_EXCEPTION", 69),
        ("_AUTHENTICATION _SSL SASL_AUTHENTICATION_FAILED TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED", 77),
        ("NOT_LEADER_FOR_PARTITION LEADER_NOT_AVAILABLE NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND", 75),
        ("COORDINATOR_NOT_AVAILABLE NON_EMPTY_GROUP", 75),
        ("UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC GROUP_ID_NOT_FOUND", 66),
        ("INVALID_CONFIG POLICY_VIOLATION", 78),
        ("INVALID_PARTITIONS INVALID_REPLICATION_FACTOR TOPIC_EXCEPTION", 2),
        ("MSG_SIZE_TOO_LARGE", 65),
        ("TOPIC_ALREADY_EXISTS", 73),
        ("KAFKA_STORAGE_ERROR", 74),
    ],
)
def test_a_code_has_the_status_of_its_family(names, status):
    for name in names.split():
        assert error_of(error(name), "it failed").exit_status == status, name


def test_a_topic_that_is_there_is_said_as_of_a_directory():
    found = error_of(error("TOPIC_ALREADY_EXISTS"), "it failed", topic="orders")
    assert isinstance(found, TopicExistsError) and found.facts["existing"] == "orders"


@pytest.mark.parametrize(
    "name, told, said",
    [
        (
            "_TRANSPORT",
            "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
            "127.0.0.1:1: Connection refused",
        ),
        (
            "_TRANSPORT",
            "h:1/2: Connect to ipv6#[::1]:1 failed: Connection refused (after 9ms in state CONNECT, 1 identical error(s) suppressed)",
            "h:1: Connection refused",
        ),
        (
            "_SSL",
            "ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed (after 1ms in state SSL_HANDSHAKE)",
            "h:1: SSL handshake failed: certificate verify failed",
        ),
        (
            "_BAD_MSG",
            "h:1/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): increase x (after 0ms in state Y)",
            "h:1: what answers there is no Kafka broker, or speaks TLS",
        ),
    ],
)
def test_what_the_library_tells_is_said_in_a_line_for_people(name, told, said):
    assert reason_of(error(name, told)) == said


def test_a_reason_is_never_long():
    assert len(reason_of(error("_TRANSPORT", "x" * 5000))) == 300


def test_that_all_are_down_is_no_reason():
    assert tells_nothing(error("_ALL_BROKERS_DOWN")) and not tells_nothing(
        error("_TRANSPORT", "h:1/1: Connection refused")
    )
