"""What a program says to a directory it says to a Kafka: batches, polls, commits in a loop, and moving a group."""

import os
import signal

import pytest

import mk

pytest.importorskip("confluent_kafka")


@pytest.fixture
def cluster(broker):
    with mk.connect(broker.url) as cluster:
        cluster.create_topic("t", partitions=2)
        with cluster.producer("t") as producer:
            for number in range(20):
                producer.send(b"%d" % number, headers=[(b"h", b"1")], partition=number % 2)
        yield cluster


def committed(cluster):
    return {row["partition"]: row["committed_offset"] for row in cluster.describe_group("g")["offsets"]}


def test_batches_and_polls(cluster):
    assert [len(batch) for batch in cluster.consumer("t").batches(7)] == [7, 3, 7, 3]
    assert sorted(record.value for record in cluster.consumer("t", offset=-1)) == [b"18", b"19"]
    with cluster.consumer("t", follow=True) as consumer:
        got = []
        while records := consumer.poll(timeout_ms=2000):
            got += records
        assert len(got) == 20


def test_a_group_commits_what_is_in_hand_and_is_moved(cluster):
    with cluster.group_consumer("g", "t", auto_commit=False) as consumer:
        for number, _ in enumerate(consumer, 1):
            if number == 13:
                consumer.commit()
    assert sum(committed(cluster).values()) == 13
    with cluster.group_consumer("g", "t") as consumer:
        assert sum(map(len, consumer.batches())) == 7
    assert committed(cluster) == {0: 10, 1: 10}
    rows = cluster.reset_group("g", to=-2)
    assert [(row["committed_offset"], row["new_offset"]) for row in rows] == [(10, 8), (10, 8)]
    assert committed(cluster) == {0: 8, 1: 8}
    assert cluster.describe_group("g")["lag"] == 4


def test_a_child_of_a_fork_lets_go_of_what_is_its_parents_and_ends(cluster):
    group, plain = cluster.group_consumer("g", "t"), cluster.consumer("t")
    records = iter(group)
    first = next(records).value
    next(iter(plain))
    if (pid := os.fork()) == 0:
        status = 1
        signal.alarm(30)  # It would wait for threads that only its parent has.
        try:
            status = cluster.topic_names() != ["t"]
        finally:
            for one in (plain, group, cluster):
                one.close()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    plain.close()
    assert next(records).value == b"%d" % (int(first) + 2)
    group.close()
    assert sum(committed(cluster).values()) == 1
