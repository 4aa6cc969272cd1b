"""How far a topic is copied to Kafka is committed again now and then, since brokers forget it where nothing is new."""

import time

import pytest

kafka = pytest.importorskip("confluent_kafka")

from mk.kafka_cluster import kafka_copy  # noqa: E402  needs the library
from mk.kafka_cluster.copy_position import decode_position  # noqa: E402
from mk.kafka_cluster.copy_writer import CopyProducer  # noqa: E402
from mk.replication.replicas import open_replica  # noqa: E402
from mk.replication.replicator import Choice, Replicator  # noqa: E402
from mk.transport.kafka_address import parse_kafka_address  # noqa: E402
from tests.kafka.replicating import SECONDS, Cluster, fill, once, replicated  # noqa: E402

NOW = int(time.time() * 1000)


def rows(first, count):
    return [(number % 2, None, b"v%d" % number, (), NOW + number) for number in range(first, first + count)]


def by_partition(rows):
    return [[row for row in rows if row[0] == partition] for partition in (0, 1)]


def replicate_here(directory, cluster):
    """Replicate within this process, whose settings are the test's."""
    source = open_replica(str(directory))
    target = kafka_copy.KafkaCopy(parse_kafka_address(cluster.url))
    replicator = Replicator(source, target, Choice())
    try:
        list(replicator.run())
    finally:
        target.close()
        source.close()
    assert not replicator.errors


def positions(cluster):
    consumer = kafka.Consumer({**cluster.words, "group.id": "mk-replicate-t"})
    try:
        found = consumer.committed([kafka.TopicPartition("t", partition) for partition in (0, 1)], SECONDS)
    finally:
        consumer.close()
    return [decode_position(one.offset, one.metadata) for one in found]


def test_a_run_that_finds_nothing_new_commits_an_old_position_again_and_leaves_a_new_one(tmp_path, broker, monkeypatch):
    cluster = Cluster(broker)
    fill(tmp_path / "a", "t", rows(0, 10), partitions=2)
    replicated(tmp_path / "a", cluster.url)
    before = positions(cluster)
    replicate_here(tmp_path / "a", cluster)
    assert [one.encode() for one in positions(cluster)] == [one.encode() for one in before]
    monkeypatch.setattr(kafka_copy, "_RENEWAL_MS", 0)
    replicate_here(tmp_path / "a", cluster)
    for old, new in zip(before, positions(cluster), strict=True):
        assert new.committed_ms > old.committed_ms
        old.committed_ms = new.committed_ms
        assert (new.offset, new.encode()) == (old.offset, old.encode())
    fill(tmp_path / "a", "t", rows(10, 10), partitions=2)
    replicated(tmp_path / "a", cluster.url)
    assert cluster.read("t", 2) == by_partition(rows(0, 20))
    # Another run begins just then, and does it itself.
    begin = CopyProducer.begin
    monkeypatch.setattr(CopyProducer, "begin", once(begin, lambda: replicate_here(tmp_path / "a", cluster)))
    replicate_here(tmp_path / "a", cluster)
    assert cluster.read("t", 2) == by_partition(rows(0, 20))


@pytest.mark.slow
def test_a_copy_with_nothing_new_goes_on_when_the_brokers_have_forgotten_all_that_was_not_committed_again(
    tmp_path, make_broker, monkeypatch
):
    settings = {"offsets.retention.minutes": 1, "offsets.retention.check.interval.ms": 500}
    cluster = Cluster(make_broker(settings=settings))
    fill(tmp_path / "a", "t", rows(0, 10), partitions=2)
    replicated(tmp_path / "a", cluster.url)
    cluster.commit("forgotten", "t", 1)
    monkeypatch.setattr(kafka_copy, "_RENEWAL_MS", 20_000)
    limit = time.monotonic() + 150
    while cluster.committed("forgotten", "t") >= 0:
        assert time.monotonic() < limit, "the broker forgets nothing"
        replicate_here(tmp_path / "a", cluster)
        time.sleep(5)
    fill(tmp_path / "a", "t", rows(10, 10), partitions=2)
    replicated(tmp_path / "a", cluster.url)
    assert cluster.read("t", 2) == by_partition(rows(0, 20))
