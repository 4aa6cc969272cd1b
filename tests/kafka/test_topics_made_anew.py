"""A topic of Kafka that is deleted and made anew while `mk replicate` copies from it, which only its id tells."""

import signal
import time

import pytest

pytest.importorskip("confluent_kafka")

from mk.kafka_cluster import kafka_source  # noqa: E402  needs the library
from mk.kafka_cluster.partition_scan import PartitionScan  # noqa: E402
from mk.replication.replicas import open_replica  # noqa: E402
from mk.replication.replicator import Choice, Replicator  # noqa: E402
from mk.transport.kafka_address import parse_kafka_address  # noqa: E402
from tests.kafka.replicating import Cluster, once, replicated, rows_of, run, start, wait_until  # noqa: E402

NOW = int(time.time() * 1000)


@pytest.fixture
def cluster(broker):
    return Cluster(broker)


def rows(count, of):
    return [(0, None, b"%s%d" % (of, number), (), NOW + number) for number in range(count)]


def make_anew(cluster):
    """Delete the topic, and have another one with more records, and a group that stands among them."""
    cluster.delete("t")
    cluster.create("t")
    cluster.write("t", rows(50, b"other"))
    cluster.commit("g", "t", 15)


@pytest.mark.parametrize("moment", ["its ends are asked for", "it is read", "groups are asked for"])
def test_of_a_topic_that_is_made_anew_just_before_nothing_is_taken_for_the_old_ones(
    tmp_path, cluster, monkeypatch, moment
):
    cluster.create("t")
    cluster.write("t", rows(10, b"v"))
    replicated(cluster.url, tmp_path / "b", "--no-groups")
    cluster.write("t", rows(10, b"more"))
    source = kafka_source.KafkaSource(parse_kafka_address(cluster.url))
    target = open_replica(str(tmp_path / "b"))
    source.continue_in(target)
    assert target.begin(source.directory_id, source.address)
    place, name = {
        "its ends are asked for": (kafka_source, "log_ends"),
        "it is read": (PartitionScan, "read"),
        "groups are asked for": (source, "_listed_groups"),
    }[moment]
    monkeypatch.setattr(place, name, once(getattr(place, name), lambda: make_anew(cluster)))
    replicator = Replicator(source, target, Choice())
    try:
        list(replicator.run())
    finally:
        source.close()
        target.close()
    expected = rows(10, b"v")
    if moment == "groups are asked for":
        expected += rows(10, b"more")
    else:
        assert replicator.errors
    assert rows_of(tmp_path / "b", "t") == [expected]
    assert run("groups", "list", "-d", tmp_path / "b").out == b""
    done = run("replicate", cluster.url, tmp_path / "b")
    assert done.status == 65
    assert "made anew" in done.err
    assert rows_of(tmp_path / "b", "t") == [expected]


def test_a_run_that_follows_goes_on_while_topics_come_and_go_and_are_made_anew(tmp_path, cluster):
    cluster.create("t")
    cluster.write("t", rows(10, b"v"))
    running = start("replicate", "-F", cluster.url, tmp_path / "b")
    wait_until(lambda: (tmp_path / "b/topics/t").exists() and rows_of(tmp_path / "b", "t") == [rows(10, b"v")])
    make_anew(cluster)
    cluster.create("u")
    cluster.write("u", rows(3, b"u"))
    wait_until(lambda: (tmp_path / "b/topics/u").exists() and rows_of(tmp_path / "b", "u") == [rows(3, b"u")])
    cluster.delete("t")
    cluster.write("u", rows(3, b"w"))
    wait_until(lambda: rows_of(tmp_path / "b", "u") == [rows(3, b"u") + rows(3, b"w")])
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGTERM, err
    assert rows_of(tmp_path / "b", "t") == [rows(10, b"v")]
