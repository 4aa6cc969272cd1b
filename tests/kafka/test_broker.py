"""What tests ask of a real Kafka does happen: it is killed and comes back, knows its users, speaks TLS, refuses, loses a leader."""

import shutil
import subprocess
import time

import pytest

from tests.kafka.authority import Authority

kafka = pytest.importorskip("confluent_kafka")
admin = pytest.importorskip("confluent_kafka.admin")

SECONDS = 30


def connected(words):
    # librdkafka would say on stderr what a test provokes.
    return admin.AdminClient({**words, "log_level": 0, "socket.timeout.ms": 5000})


def create(words, topic, partitions=1, **config):
    client = connected(words)
    client.create_topics([admin.NewTopic(topic, partitions, config=config)])[topic].result(SECONDS)


def produce(words, topic, *values, seconds=SECONDS):
    """Return for each value None, or the code of the error that became of it."""
    outcome = []
    producer = kafka.Producer({**words, "log_level": 0, "message.timeout.ms": seconds * 1000})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: outcome.append(error and error.code()))
    producer.flush(seconds + 5)
    return outcome


def consume(words, topic):
    """Return the values of partition 0."""
    consumer = kafka.Consumer({**words, "group.id": "none", "log_level": 0, "enable.auto.commit": False})
    try:
        start, end = consumer.get_watermark_offsets(kafka.TopicPartition(topic, 0), timeout=SECONDS)
        consumer.assign([kafka.TopicPartition(topic, 0, start)])
        found = []
        while start + len(found) < end:
            for message in consumer.consume(end - start - len(found), timeout=SECONDS):
                if message.error():
                    raise kafka.KafkaException(message.error())
                found.append(message.value())
        return found
    finally:
        consumer.close()


def values_left(words, topic):
    """Return the values that are left in a partition with gaps."""
    consumer = kafka.Consumer({**words, "group.id": "none", "enable.partition.eof": True, "enable.auto.commit": False})
    try:
        consumer.assign([kafka.TopicPartition(topic, 0, 0)])
        found = []
        while (message := consumer.poll(SECONDS)).error() is None:
            found.append(message.value())
        return found
    finally:
        consumer.close()


def wait_until(is_so):
    limit = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.1)


def lets_in(words):
    """Tell whether a client with these words gets as far as the list of topics."""
    errors = []
    client = admin.AdminClient({**words, "log_level": 0, "error_cb": errors.append})
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit:
        try:
            client.list_topics(timeout=0.5)
            return True
        except kafka.KafkaException:
            client.poll(0)
            if errors:
                return False
    raise AssertionError("neither let in nor refused")


def test_a_broker_that_was_killed_comes_back_at_its_address_with_what_it_had(make_broker):
    broker = make_broker()
    create(broker.client(), "t")
    assert produce(broker.client(), "t", b"a", b"b") == [None, None]
    broker.kill()
    assert not lets_in(broker.client())
    broker.start()
    assert consume(broker.client(), "t") == [b"a", b"b"]
    broker.stop()
    broker.start()
    assert produce(broker.client(), "t", b"c") == [None]
    assert consume(broker.client(), "t") == [b"a", b"b", b"c"]


@pytest.mark.slow
def test_a_broker_that_is_paused_answers_nobody_and_then_goes_on(make_broker):
    broker = make_broker()
    create(broker.client(), "t")
    with broker.paused():
        assert produce(broker.client(), "t", b"lost", seconds=2) == [kafka.KafkaError._MSG_TIMED_OUT]
    assert produce(broker.client(), "t", b"a") == [None]


@pytest.mark.slow
def test_users_are_let_in_by_their_passwords_and_nobody_else_is(make_broker):
    broker = make_broker(users={"alice": "white-rabbit", "bob": "hatter"})
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        assert lets_in(broker.client("alice", mechanism))
        assert lets_in(broker.client("bob", mechanism))
        assert not lets_in({**broker.client("bob", mechanism), "sasl.password": "guessed"})
        assert not lets_in({**broker.client("bob", mechanism), "sasl.username": "carol"})
    assert not lets_in({"bootstrap.servers": broker.address})


def test_who_is_not_allowed_to_may_not_until_a_rule_says_so(make_broker):
    broker = make_broker(users={"alice": "a", "bob": "b"}, acls=True)
    create({"bootstrap.servers": broker.open_address}, "t")
    assert produce(broker.client("bob"), "t", b"no", seconds=3) == [kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED]
    rule = ("--add", "--allow-principal", "User:bob", "--topic", "t", "--producer")
    assert broker.tool("AclCommand", *rule).returncode == 0
    wait_until(lambda: produce(broker.client("bob"), "t", b"yes", seconds=3) == [None])
    with pytest.raises(kafka.KafkaException):
        consume(broker.client("bob"), "t")


@pytest.mark.slow
def test_a_client_knows_a_broker_by_the_authority_that_signed_it(make_broker, authority, tmp_path):
    broker = make_broker(authority=authority)
    assert lets_in(broker.client())
    stranger = Authority(tmp_path, "stranger")
    assert not lets_in({**broker.client(), "ssl.ca.location": str(stranger.certificate)})
    assert not lets_in({"bootstrap.servers": broker.address})


@pytest.mark.slow
def test_a_broker_knows_a_client_by_its_certificate(make_broker, authority, tmp_path):
    broker = make_broker(authority=authority, needs_certificate=True)
    assert not lets_in(broker.client())
    mine = str(authority.issue("client", tmp_path))
    assert lets_in({**broker.client(), "ssl.certificate.location": mine, "ssl.key.location": mine})
    theirs = str(Authority(tmp_path, "stranger").issue("stranger-client", tmp_path))
    assert not lets_in({**broker.client(), "ssl.certificate.location": theirs, "ssl.key.location": theirs})


def test_users_with_passwords_come_by_tls_too(make_broker, authority):
    broker = make_broker(users={"alice": "white-rabbit"}, authority=authority)
    assert lets_in(broker.client("alice", "SCRAM-SHA-512"))
    assert not lets_in({**broker.client("alice", "SCRAM-SHA-512"), "sasl.password": "guessed"})
    assert not lets_in({"bootstrap.servers": broker.address, "security.protocol": "SSL"})


@pytest.mark.slow
def test_a_broker_may_take_no_more_than_small_records(make_broker):
    broker = make_broker(settings={"message.max.bytes": 1000})
    create(broker.client(), "t")
    assert produce(broker.client(), "t", b"x" * 5000) == [kafka.KafkaError.MSG_SIZE_TOO_LARGE]
    assert produce(broker.client(), "t", b"x" * 500) == [None]


def test_what_is_too_old_or_has_a_newer_value_is_gone_within_seconds(broker):
    words = broker.client()
    create(words, "old", **{"retention.ms": "1000", "segment.ms": "500"})
    create(words, "keyed", **{"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"})
    assert produce(words, "old", b"a") == [None]
    producer = kafka.Producer(words)
    for number in range(5):
        producer.produce("keyed", b"%d" % number, b"key")
        producer.flush(SECONDS)
        # Each in a segment of its own; the last one is not compacted.
        time.sleep(0.15)
    wait_until(lambda: consume(words, "old") == [])
    wait_until(lambda: len(values_left(words, "keyed")) <= 2)


def test_kcat_and_the_tools_of_kafka_see_what_a_library_has_produced(broker):
    create(broker.client(), "t")
    assert produce(broker.client(), "t", b"a", b"b") == [None, None]
    read = broker.tool("consumer.ConsoleConsumer", "--topic", "t", "--from-beginning", "--max-messages", "2")
    assert read.stdout.split() == [b"a", b"b"], read
    written = broker.tool("ConsoleProducer", "--topic", "t", stdin=b"c\n")
    assert written.returncode == 0, written
    if not shutil.which("kcat"):
        pytest.skip("kcat is not installed")
    words = ["kcat", "-C", "-b", broker.address, "-t", "t", "-o", "beginning", "-e", "-q"]
    assert subprocess.run(words, capture_output=True, check=True, timeout=SECONDS).stdout == b"a\nb\nc\n"


@pytest.mark.slow
def test_a_partition_has_another_leader_when_its_broker_dies_and_misses_a_replica_that_is_paused(make_brokers):
    brokers = make_brokers()
    create(brokers.client(), "t")
    assert produce(brokers.client(), "t", b"a") == [None]

    def partition():
        return connected(brokers.client()).list_topics("t", timeout=SECONDS).topics["t"].partitions[0]

    wait_until(lambda: len(partition().isrs) == 3)
    first = partition().leader
    paused, killed = (brokers.nodes[node] for node in brokers.nodes if node != first)
    with paused.paused():
        wait_until(lambda: paused.node_id not in partition().isrs)
        assert produce(brokers.client(), "t", b"b") == [None]
    wait_until(lambda: len(partition().isrs) == 3)
    brokers.nodes[first].kill()
    wait_until(lambda: partition().leader in (paused.node_id, killed.node_id))
    assert produce(brokers.client(), "t", b"c") == [None]
    assert consume(brokers.client(), "t") == [b"a", b"b", b"c"]
    brokers.nodes[first].start()
    wait_until(lambda: len(partition().isrs) == 3)
