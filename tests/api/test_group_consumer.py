"""A member of a group, as a program has it: what counts as done, what is committed, and whose the partitions are."""

import os
import subprocess
import sys
import threading
import time

import pytest

import mk


@pytest.fixture
def cluster(tmp_path):
    with mk.connect(tmp_path / "log", create=True) as cluster:
        cluster.create_topic("t", partitions=2)
        for partition in (0, 1):
            with cluster.producer("t", partition=partition) as producer:
                for number in range(100):
                    producer.send(b"%d" % number)
        yield cluster


def committed(cluster, group="g"):
    return {row["partition"]: row["committed_offset"] for row in cluster.describe_group(group)["offsets"]}


def committed_in_all(cluster, group="g"):
    return sum(offset or 0 for offset in committed(cluster, group).values())


def test_what_is_committed_in_a_loop_includes_the_record_in_hand(cluster):
    with cluster.group_consumer("g", "t") as consumer:
        for number, _ in enumerate(consumer, 1):
            consumer.commit()
            assert committed_in_all(cluster) == number
            if number == 120:
                break
    assert committed_in_all(cluster) == 120


def test_a_record_that_raised_is_not_done_and_those_before_it_are(cluster):
    with pytest.raises(RuntimeError), cluster.group_consumer("g", "t") as consumer:
        for number, _ in enumerate(consumer):
            if number == 30:
                raise RuntimeError
    assert committed_in_all(cluster) == 30


def test_a_batch_that_raised_is_not_done_and_those_before_it_are(cluster):
    with pytest.raises(RuntimeError), cluster.group_consumer("g", "t") as consumer:
        for number, batch in enumerate(consumer.batches(10)):
            assert len(batch) == 10
            if number == 13:
                raise RuntimeError
    assert committed_in_all(cluster) == 130


def test_a_program_that_commits_itself_gets_again_what_it_did_not_commit(cluster):
    def read(commit_at):
        seen = []
        with cluster.group_consumer("g", "t", auto_commit=False, commit_interval_ms=0) as consumer:
            for number, record in enumerate(consumer, 1):
                seen.append((record.partition, record.offset))
                if number == commit_at:
                    consumer.commit()
        return seen

    assert len(read(commit_at=None)) == 200
    first = read(commit_at=150)  # All of one partition and half of the other one.
    assert committed_in_all(cluster) == 150
    assert read(commit_at=None) == first[150:]


def test_polling_for_a_group_commits_what_came_before_the_last_poll(cluster):
    with cluster.group_consumer("g", "t", follow=True, commit_interval_ms=0) as consumer:
        got = 0
        while got < 200:
            got += len(consumer.poll(timeout_ms=10_000, max_records=7))
        assert committed_in_all(cluster) < 200
        began = time.monotonic()
        assert consumer.poll(timeout_ms=200) == []
        assert time.monotonic() - began > 0.19
    assert committed_in_all(cluster) == 200


def test_a_slow_reader_commits_and_shares_in_the_midst_of_what_it_fetched(cluster):
    """Else a newcomer would wait, and what is done be at stake, for as long as the work on a fetch takes."""
    with cluster.group_consumer("g", "t", follow=True, commit_interval_ms=0) as consumer:
        script = (
            "import mk, sys\n"
            "with mk.connect(sys.argv[1]) as cluster, cluster.group_consumer('g', 't', follow=True) as consumer:\n"
            "    print(next(iter(consumer)).partition, flush=True)\n"
            "    sys.stdin.read()\n"
        )
        records = iter(consumer)
        next(records)
        with subprocess.Popen(
            [sys.executable, "-c", script, cluster.location], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            came = []
            reader = threading.Thread(target=lambda: came.append(other.stdout.readline()))
            reader.start()
            count = 1
            while not came and count < 95:  # Fewer than the first fetch holds.
                next(records)
                count += 1
                time.sleep(0.15)
            assert came and committed_in_all(cluster) >= count - 2
            other.stdin.close()
            reader.join(30)
        (other_partition,) = map(int, came)
        assert consumer.holds("t", 1 - other_partition)


def test_a_child_that_leaves_the_block_of_its_parent_changes_nothing(cluster):
    with cluster.group_consumer("g", "t") as consumer:
        records = iter(consumer)
        for _ in range(10):
            next(records)
        child = os.fork()
        if child == 0:
            try:
                with consumer:
                    pass
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(cluster.describe_group("g")["members"]) == 1
        assert consumer.holds("t", 0) and consumer.holds("t", 1)
        assert len(list(records)) == 190
    assert committed_in_all(cluster) == 200


def test_a_group_is_not_told_where_each_partition_begins(cluster):
    for offset in ({0: 1}, "0:1,1:2"):
        with pytest.raises(mk.errors.UsageError):
            cluster.group_consumer("g", "t", offset=offset)
    with cluster.group_consumer("g", "t", offset=-1) as consumer:
        assert [record.value for record in consumer] == [b"99", b"99"]
