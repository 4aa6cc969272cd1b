"""Listing the groups of a cluster, of which each broker knows some, where one of them does not tell its own."""

from types import SimpleNamespace

import pytest

kafka = pytest.importorskip("confluent_kafka")

from mk.errors import PeerUnreachableError, PermissionDeniedError  # noqa: E402  needs the library
from mk.kafka_cluster.cluster import KafkaCluster  # noqa: E402
from mk.kafka_cluster.kafka_source import KafkaSource  # noqa: E402
from mk.transport.kafka_address import parse_kafka_address  # noqa: E402


def listed(*errors):
    """Return what the library makes of the brokers' answers: its errors are none that could be raised."""
    return SimpleNamespace(valid=[], errors=[kafka.KafkaError(error) for error in errors])


@pytest.fixture
def cluster():
    with KafkaCluster(parse_kafka_address("kafka://127.0.0.1:1")) as cluster:
        yield cluster


@pytest.fixture
def source(cluster):
    source = KafkaSource.__new__(KafkaSource)  # Made otherwise, it connects.
    source._client = cluster._client
    return source


def test_the_error_of_a_broker_is_told_where_no_group_is(cluster, monkeypatch):
    answer = listed(kafka.KafkaError.CLUSTER_AUTHORIZATION_FAILED)
    monkeypatch.setattr(cluster._client, "ask_one", lambda request, what: answer)
    with pytest.raises(PermissionDeniedError):
        cluster.group_names()


def test_a_replication_asks_again_for_groups_of_a_broker_that_is_away(source, monkeypatch):
    answers = [listed(kafka.KafkaError._TRANSPORT), listed()]
    monkeypatch.setattr(source._client, "ask_one", lambda request, what: answers.pop(0))
    assert source._listed_groups("groups").errors == []


def test_a_replication_carries_over_no_groups_while_a_broker_is_away(source, monkeypatch):
    monkeypatch.setattr(source._client, "timeout_seconds", 0.0)
    monkeypatch.setattr(source._client, "ask_one", lambda request, what: listed(kafka.KafkaError._TRANSPORT))
    with pytest.raises(PeerUnreachableError):
        source._listed_groups("groups")
