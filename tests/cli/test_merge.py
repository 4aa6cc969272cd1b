"""`--merge` and `--reverse`: the order of what is printed, while following too."""

import json
import time

import pytest
from running import read_to_end, read_until

import mk as api

pytestmark = pytest.mark.both_engines


def now_ms():
    return time.time_ns() // 1_000_000


@pytest.fixture
def cluster(mk):
    with api.connect(mk.location, create=True) as cluster:
        yield cluster


def send(cluster, topic, records, partition=None):
    """Send (time, value) pairs to a topic, as one batch."""
    with cluster.producer(topic, partition=partition, acks=0) as producer:
        for at, value in records:
            producer.send(value, timestamp_ms=at)


def test_partitions_and_topics_are_printed_by_time(mk, cluster):
    cluster.create_topic("a", partitions=2)
    cluster.create_topic("b")
    send(cluster, "a", [(10, b"a0-10"), (30, b"a0-30"), (20, b"a0-20"), (50, b"a0-50")], 0)
    send(cluster, "a", [(15, b"a1-15"), (25, b"a1-25"), (30, b"a1-30")], 1)
    send(cluster, "b", [(5, b"b-5"), (30, b"b-30"), (60, b"b-60")])
    forward = b"b-5 a0-10 a1-15 a1-25 a0-30 a0-20 a1-30 b-30 a0-50 b-60".split()
    assert mk.ok("consume", "b", "a", "--merge").split() == forward
    assert mk.ok("consume", "-r", ".", "--merge", "-F", "--idle", "50ms").split() == forward
    assert mk.ok("consume", "-r", ".", "--merge", "-n", 4).split() == forward[:4]
    assert mk.ok("consume", "-r", ".", "--merge", "-G", "v=30").split() == [b"a0-30", b"a1-30", b"b-30"]
    assert mk.ok("consume", "-r", ".", "--merge", "--tail", 3).split() == [b"b-30", b"a0-50", b"b-60"]
    rows = [json.loads(line) for line in mk.ok("consume", "-r", ".", "--merge", "-J").splitlines()]
    assert [row["payload"].encode() for row in rows] == forward
    assert mk.ok("consume", "a", "--merge", "-o", "1:3").split() == b"a1-25 a0-30 a0-20 a1-30".split()
    assert mk.ok("consume", "a", "--merge", "-p", 1, "--timeout", "1h").split() == b"a1-15 a1-25 a1-30".split()
    backward = b"b-60 a0-50 b-30 a1-30 a1-25 a0-20 a0-30 a1-15 a0-10 b-5".split()
    assert mk.ok("consume", "-r", ".", "--merge", "--reverse").split() == backward
    assert mk.ok("consume", "-r", ".", "--merge", "--reverse", "-n", 2, "-J").count(b"\n") == 2
    assert mk.ok("consume", "a", "--reverse", "-p", 0).split() == b"a0-50 a0-20 a0-30 a0-10".split()


def test_much_is_merged_as_it_is_sorted(mk, cluster):
    cluster.create_topic("t", partitions=3)
    made = []
    for partition in range(3):
        records = [(1000 + 7 * number + partition, b"%d-%d" % (partition, number)) for number in range(20_000)]
        made += records
        send(cluster, "t", records, partition)
    expected = [value for _, value in sorted(made, key=lambda one: one[0])]
    assert mk.ok("consume", "t", "--merge").split() == expected
    assert mk.ok("consume", "t", "--merge", "--reverse").split() == expected[::-1]
    assert mk.ok("consume", "t", "--merge", "--reverse", "-n", 10).split() == expected[:-11:-1]


@pytest.mark.directory_only("brokers refuse what lies an hour ahead")
def test_a_record_that_comes_while_another_partition_is_silent_waits_no_longer_than_a_second_or_two(mk, cluster):
    cluster.create_topic("t", partitions=2)
    send(cluster, "t", [(5, b"old")], 0)
    with mk.start("consume", "t", "--merge", "-F") as consumer:
        # What is old is not held back, though partition 1 has nothing.
        read_until(consumer.stdout.fileno(), b"old\n")
        started = time.monotonic()
        mk.ok("produce", "t", "-p", 0, "new")
        read_until(consumer.stdout.fileno(), b"new\n")
        assert time.monotonic() - started > 0.5
        # Nor is what lies in the future held for ever.
        send(cluster, "t", [(now_ms() + 3_600_000 + number, b"future%d" % number) for number in range(3000)], 0)
        read_until(consumer.stdout.fileno(), b"future2999\n", 10)


def test_what_comes_to_several_partitions_within_a_second_is_printed_by_time(mk, cluster):
    cluster.create_topic("t", partitions=3)
    with mk.start("consume", "t", "--merge", "-F", "-n", "30") as consumer:
        start = now_ms()
        for number in range(10):
            # The younger one is there first.
            for partition in (2, 1, 0):
                send(cluster, "t", [(start + 3 * number + partition, b"%02d" % (3 * number + partition))], partition)
        assert read_to_end(consumer.stdout.fileno()).split() == [b"%02d" % number for number in range(30)]
        assert consumer.wait(20) == 0


def test_what_is_held_back_is_printed_before_it_ends(mk, cluster):
    cluster.create_topic("t", partitions=2)
    send(cluster, "t", [(now_ms() + 60_000, b"future")], 0)
    assert mk.ok("consume", "t", "--merge", "-F", "--idle", "100ms") == b"future\n"
    assert mk.ok("consume", "t", "--merge", "-F", "--max-time", "100ms") == b""
    assert mk.ok("consume", "t", "--merge", "-F", "-n", 1) == b"future\n"
    with mk.start("consume", "t", "--merge", "-F", "--to", 1) as consumer:
        read_until(consumer.stdout.fileno(), b"future\n")
        mk.ok("produce", "t", "-p", 1, "x", "y")
        assert read_to_end(consumer.stdout.fileno()) == b"x\n"
        assert consumer.wait(20) == 0


def test_partitions_and_topics_that_appear_are_merged_too(mk, cluster):
    cluster.create_topic("a")
    with mk.start("consume", "-r", ".", "--merge", "-F", "-q") as consumer:
        mk.ok("produce", "a", "one")
        read_until(consumer.stdout.fileno(), b"one\n")
        mk.ok("topics", "alter", "a", "--partitions", 2, "--yes")
        mk.ok("produce", "a", "-p", 1, "two")
        read_until(consumer.stdout.fileno(), b"two\n")
        mk.ok("produce", "b", "three")
        read_until(consumer.stdout.fileno(), b"three\n")
        mk.ok("topics", "delete", "b", "--yes")
        mk.ok("produce", "a", "-p", 0, "four")
        read_until(consumer.stdout.fileno(), b"four\n")


@pytest.mark.directory_only("Kafka has no segments that small")
def test_reading_backward_says_what_was_removed_meanwhile(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=65536")
    mk.ok("produce", "t", "-q", stdin=b"".join(b"%d" % number + b"x" * 999 + b"\n" for number in range(2000)))
    with mk.start("consume", "t", "--reverse") as consumer:
        read_until(consumer.stdout.fileno(), b"1999xx")
        mk.ok("topics", "trim", "t", "--to", "1500", "--yes")
        out = read_to_end(consumer.stdout.fileno())
        assert consumer.wait(20) == 0
        err = consumer.stderr.read().decode()
    last = int(out.splitlines()[-1].strip(b"x"))
    assert err == f"mk: t 0: offsets 0 to {last - 1} are gone; nothing older is there\n"


def test_following_backward_is_refused(mk):
    mk.ok("produce", "t", "x")
    done = mk("consume", "t", "--reverse", "-F")
    assert (done.status, done.out) == (2, b"")
    assert "--reverse and -F exclude each other" in done.err
    assert mk("consume", "nope", "--reverse").status == 66


@pytest.mark.directory_only("it looks at the files of the log")
def test_damage_is_named_backward_too(mk):
    mk.ok("topics", "create", "t")
    for number in range(3):
        mk.ok("produce", "t", f"value {number}")
    (segment,) = mk.segments("t")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"value 1", b"value 9"))
    for words in (["--reverse"], ["--reverse", "--merge"], ["--merge"]):
        done = mk("consume", "t", *words)
        assert done.status == 65 and str(segment) in done.err, done
    assert mk("consume", "t", "--reverse", "-n", 1).out == b"value 2\n"


@pytest.mark.parametrize("words", [["--merge"], ["--reverse"], ["--reverse", "--merge"], ["-G", "v=."]])
def test_a_closed_pipe_is_silent(mk, words):
    mk.ok("topics", "create", "t", "-p", 2)
    for partition in range(2):
        mk.ok("produce", "t", "-q", "-p", partition, stdin=b"x" * 99 + b"\n" + b"some line\n" * 100_000)
    done = mk.shell(f"mk consume t {' '.join(words)} | head -1 > /dev/null; status")
    assert (done.status, done.err) == (141, "")
