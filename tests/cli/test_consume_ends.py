"""How `mk consume` ends and what it takes up meanwhile: --idle, --max-time, --timeout, ranges with -F, -r, --tail, tail."""

import json
import os
import signal
import sys
import time

import pytest
from running import KafkaMk, read_to_end, read_until

import mk as api

pytestmark = pytest.mark.both_engines


def numbers(first, last):
    return b"".join(b"%d\n" % number for number in range(first, last))


def lines_of(consumer, seconds=20):
    return read_to_end(consumer.stdout.fileno(), seconds)


# --idle.


def test_idle_ends_following_with_status_0_once_nothing_comes(mk):
    mk.ok("produce", "t", "v")
    with mk.start("consume", "t", "-F", "--idle", "2s") as consumer:
        read_until(consumer.stdout.fileno(), b"v\n")
        started = time.monotonic()
        mk.ok("produce", "t", "w")
        read_until(consumer.stdout.fileno(), b"w\n")
        seen = time.monotonic()
        assert lines_of(consumer) == b""
        assert consumer.wait(20) == 0
        # It counts from the last record and not from the start.
        assert time.monotonic() - started > 2
        assert time.monotonic() - seen > 1.5
        assert consumer.stderr.read() == b""


def test_a_reader_that_is_slow_is_not_idle(mk):
    """The time in which standard output takes nothing does not count."""
    mk.ok("produce", "t", stdin=(b"x" * 99 + b"\n") * 100_000)
    done = mk.shell("mk consume t -F --idle 300ms | (sleep 1.5; wc -l); status")
    assert (done.status, done.out.strip()) == (0, b"100000")


def test_idle_without_following_is_refused(mk):
    mk.ok("produce", "t", "v")
    done = mk("consume", "t", "--idle", "1s")
    assert (done.status, done.out) == (2, b"")
    assert "add -F" in done.err


def test_idle_on_an_empty_topic_and_on_no_topic(mk):
    mk.ok("topics", "create", "t")
    assert mk.ok("consume", "t", "-F", "--idle", "50ms") == b""
    assert mk.ok("consume", "-r", "nothing", "-F", "--idle", "50ms", "-q") == b""


# --max-time and --timeout.


@pytest.mark.parametrize("words", [[], ["-J"], ["-f", "kv"], ["-0"], ["-D", "\\t;"]])
def test_max_time_ends_a_long_drain_with_whole_records_though_the_reader_does_not_read(mk, words):
    mk.ok("produce", "t", stdin=numbers(0, 1_000_000))
    with mk.start("consume", "t", "--max-time", "1s", *words) as consumer:
        started = time.monotonic()
        assert consumer.wait(20) == 0
        assert time.monotonic() - started > 0.5
        out = lines_of(consumer)
    delimiter = {"-0": b"\0", "-D": b"\t;"}.get(words[0] if words else "", b"\n")
    assert out.endswith(delimiter)
    pieces = out.split(delimiter)[:-1]
    assert 0 < len(pieces) < 1_000_000
    values = [json.loads(piece)["payload"].encode() for piece in pieces] if words == ["-J"] else pieces
    assert [value.lstrip(b"\t") for value in values] == [b"%d" % number for number in range(len(pieces))]


def test_a_record_larger_than_the_pipe_is_finished(mk):
    mk.ok("produce", "t", stdin=b"x" * 300_000 + b"\nafter\n")
    with mk.start("consume", "t", "--max-time", "500ms") as consumer:
        time.sleep(1)
        assert consumer.poll() is None
        assert lines_of(consumer) == b"x" * 300_000 + b"\n"
        assert consumer.wait(20) == 0


@pytest.mark.parametrize("option", ["--max-time", "--timeout"])
@pytest.mark.parametrize("words", [[], ["-J"], ["-n", "35000"], ["-o", "7"]])
def test_with_time_enough_the_output_is_the_same(mk, tmp_path, option, words):
    mk.ok("produce", "t", stdin=numbers(0, 50_000) + b"x" * 20_000 + b"\n" + b"\n")
    expected = mk.ok("consume", "t", *words)
    assert mk.ok("consume", "t", option, "1h", *words) == expected
    with (tmp_path / "out").open("wb") as file:
        mk.ok("consume", "t", option, "1h", *words, stdout=file)
    assert (tmp_path / "out").read_bytes() == expected


def test_max_time_ends_following_with_status_0(mk):
    # Within it Kafka has to be connected to.
    limit = "2s" if isinstance(mk, KafkaMk) else "300ms"
    mk.ok("produce", "t", "v")
    assert mk.ok("consume", "t", "-F", "--max-time", limit) == b"v\n"
    assert mk.ok("consume", "t", "-F", "--max-time", limit, "--idle", "1h", "--timeout", "1h") == b"v\n"
    assert mk.ok("consume", "t", "-F", "--max-time", limit, "-n", 5, "--timeout", limit) == b"v\n"


@pytest.mark.directory_only("Kafka is hardly connected to in so short a time")
def test_a_timeout_is_124_and_what_was_printed_stays(mk):
    mk.ok("produce", "t", *"abc")
    done = mk("consume", "t", "-n", 5, "-F", "--timeout", "400ms")
    assert (done.status, done.out) == (124, b"a\nb\nc\n")
    assert "not done after 0.4 s" in done.err and "3 records were printed" in done.err
    done = mk("consume", "t", "-n", 5, "-F", "--timeout", "400ms", "--max-time", "1h", "--json")
    assert done.status == 124
    assert json.loads(done.err)["facts"] == {"timeout_ms": 400, "records": 3}
    assert mk("--timeout", "100ms", "consume", "t", "-F").status == 124
    assert "1 record was printed" in mk("consume", "t", "-F", "-o", "-1", "--timeout", "100ms").err


def test_a_timeout_does_not_matter_once_it_is_done(mk):
    mk.ok("produce", "t", *"abc")
    assert mk.ok("consume", "t", "-n", 2, "-F", "--timeout", "20s") == b"a\nb\n"
    assert mk.ok("consume", "t", "--timeout", "20s") == b"a\nb\nc\n"
    assert mk.ok("consume", "t", "-F", "--idle", "50ms", "--timeout", "20s") == b"a\nb\nc\n"


def test_a_timeout_with_a_count_that_was_fetched_but_not_taken_is_124(mk):
    mk.ok("produce", "t", stdin=numbers(0, 300_000))
    with mk.start("consume", "t", "-n", "290000", "--timeout", "700ms") as consumer:
        assert consumer.wait(20) == 124
        out = lines_of(consumer)
        assert b"not done after 0.7 s" in consumer.stderr.read()
    count = out.count(b"\n")
    assert out == numbers(0, count) and 0 < count < 290_000


def test_no_records_are_no_records_whatever_else_is_asked_for(mk):
    mk.ok("produce", "t", *"abc")
    for words in ([], ["-F"], ["-F", "--timeout", "1ms"], ["--tail", "2"], ["-F", "--idle", "1h"]):
        assert mk.ok("consume", "t", "-n", 0, *words) == b""
    assert mk("consume", "nope", "-n", 0).status == 66


# Ranges with -F.


def test_a_range_is_waited_for_in_every_partition_and_ends_with_0(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 0, *"abc")
    with mk.start("consume", "t", "-o", "1:4", "-F") as consumer:
        read_until(consumer.stdout.fileno(), b"b\nc\n")
        mk.ok("produce", "t", "-p", 0, *"def")
        read_until(consumer.stdout.fileno(), b"d\n")
        assert consumer.poll() is None
        mk.ok("produce", "t", "-p", 1, *"vwxyz")
        assert lines_of(consumer) == b"w\nx\ny\n"
        assert consumer.wait(20) == 0


def test_an_offset_that_was_not_written_yet_is_waited_for_where_another_partition_has_it(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 0, *"abcd")
    mk.ok("produce", "t", "-p", 1, "v")
    done = mk("consume", "t", "-o", 3)
    assert (done.status, done.out, done.err) == (0, b"d\n", "mk: t 1: ends at offset 1, before 3\n")
    assert mk("consume", "t", "-o", 3, "-q").err == ""
    with mk.start("consume", "t", "-o", 3, "-F", "-q") as consumer:
        read_until(consumer.stdout.fileno(), b"d\n")
        mk.ok("produce", "t", "-p", 1, *"wxyz")
        assert read_until(consumer.stdout.fileno(), b"z\n") == b"y\nz\n"


def test_a_range_up_to_a_time_ends_at_the_first_record_of_that_time(mk):
    until = time.time_ns() // 1_000_000 + 3_600_000
    with api.connect(mk.location, create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t") as producer:
            producer.send(b"before")
            producer.flush()
            with mk.start("consume", "t", "-F", "--until", str(until)) as consumer:
                read_until(consumer.stdout.fileno(), b"before\n")
                producer.send(b"x", timestamp_ms=until - 1)
                producer.send(b"y", timestamp_ms=until)
                producer.send(b"z", timestamp_ms=until - 1)
                producer.flush()
                assert lines_of(consumer) == b"x\n"
                assert consumer.wait(20) == 0


def test_a_range_up_to_a_time_ends_when_that_has_passed(mk):
    mk.ok("produce", "t", "v")
    until = time.time_ns() // 1_000_000 + 500
    assert mk.ok("consume", "t", "-F", "--until", until) == b"v\n"
    assert time.time_ns() // 1_000_000 > until + 1000


# Many topics.


def test_a_regular_expression_is_searched_for_in_names(mk):
    for topic in ("app-a", "app-b", "an-app", "other"):
        mk.ok("produce", topic, f"of {topic}")
    assert mk.ok("consume", "-r", "app") == b"of an-app\nof app-a\nof app-b\n"
    assert mk.ok("consume", "-r", "^app-") == b"of app-a\nof app-b\n"
    assert mk.ok("consume", "-r", "^(app-a|other)$", env={"MK_TOPIC": "app-b"}) == b"of app-a\nof other\n"
    assert mk.ok("consume", "-r", "app", "--tail", 1) == b"of an-app\n"
    done = mk("consume", "-r", "^nothing$")
    assert (done.status, done.out, done.err) == (0, b"", "mk: no topic matches '^nothing$'\n")
    assert mk("consume", "-r", "^nothing$", "-q").err == ""
    assert mk("consume", "other", "-r", "app").status == 2
    assert mk("consume", "-r", "(").status == 2


def test_partitions_that_a_matching_topic_lacks_are_passed_over(mk):
    mk.ok("topics", "create", "wide", "-p", 3)
    mk.ok("produce", "wide", "-p", 2, "in 2 of wide")
    mk.ok("produce", "narrow", "in 0 of narrow")
    assert mk.ok("consume", "-r", ".", "-p", 2) == b"in 2 of wide\n"
    assert mk("consume", "wide", "narrow", "-p", 2).status == 66


def test_topics_that_appear_are_followed_from_their_start(mk):
    mk.ok("topics", "create", "x")
    with mk.start("consume", "-r", "^app-", "-F", "-o", "end") as consumer:
        assert read_until(consumer.stderr.fileno(), b"\n") == b"mk: no topic matches '^app-', waiting for one\n"
        for number in range(3):
            mk.ok("produce", f"app-{number}", stdin=numbers(0, 3), env={"MK_NO": ""})
            mk.ok("produce", "x", "not this")
            assert read_until(consumer.stdout.fileno(), b"2\n") == numbers(0, 3)
        mk.ok("produce", "app-1", "more")
        assert read_until(consumer.stdout.fileno(), b"more\n") == b"more\n"
        assert consumer.poll() is None


def test_topics_that_appear_beside_a_busy_one_are_taken_up(mk):
    mk.ok("produce", "t-busy", "v")
    with (
        mk.start("consume", "-r", "^t-", "-F", "-J") as consumer,
        mk.start("produce", "t-busy", "-q") as producer,
    ):
        read_until(consumer.stdout.fileno(), b"t-busy")
        mk.ok("produce", "t-new", "-q", "new")
        limit = time.monotonic() + 20
        seen = b""
        while b"t-new" not in seen:
            assert time.monotonic() < limit
            producer.stdin.write(b"busy\n")
            seen += os.read(consumer.stdout.fileno(), 65536)


def test_a_deleted_topic_is_dropped_from_a_regular_expression_and_its_name_can_come_back(mk):
    mk.ok("produce", "t-a", "first a")
    mk.ok("produce", "t-b", "first b")
    with mk.start("consume", "-r", "^t-", "-F") as consumer:
        read_until(consumer.stdout.fileno(), b"first b\n")
        mk.ok("topics", "delete", "t-a", "--yes", "-q")
        assert b"topic t-a was deleted; following the others" in read_until(consumer.stderr.fileno(), b"\n")
        mk.ok("produce", "t-a", "second a")
        mk.ok("produce", "t-b", "second b")
        got = read_until(consumer.stdout.fileno(), b"second b\n")
        if b"second a\n" not in got:
            got += read_until(consumer.stdout.fileno(), b"second a\n")
        assert sorted(got.splitlines()) == [b"second a", b"second b"]


def test_a_named_topic_that_is_deleted_ends_following_with_66(mk):
    mk.ok("produce", "a", "v")
    mk.ok("produce", "b", "v")
    with mk.start("consume", "a", "b", "-F") as consumer:
        read_until(consumer.stdout.fileno(), b"v\nv\n")
        mk.ok("topics", "delete", "a", "--yes", "-q")
        assert consumer.wait(20) == 66
        assert b"no topic a" in consumer.stderr.read()


@pytest.mark.parametrize("words", [["t"], ["-r", "^t$"]])
def test_partitions_that_are_added_are_followed_from_their_start(mk, words):
    mk.ok("produce", "t", "v")
    with mk.start("consume", *words, "-F", "-o", "end") as consumer:
        # It is there once it prints: nothing tells else that the end was taken.
        mk.ok("produce", "t", "-p", 0, "w")
        time.sleep(0.5)
        mk.ok("produce", "t", "-p", 0, "x")
        read_until(consumer.stdout.fileno(), b"x\n")
        mk.ok("topics", "alter", "t", "-p", 3, "--yes")
        mk.ok("produce", "t", "-p", 2, "in 2")
        assert read_until(consumer.stdout.fileno(), b"in 2\n") == b"in 2\n"
        mk.ok("produce", "t", "-p", 0, "in 0")
        assert read_until(consumer.stdout.fileno(), b"in 0\n") == b"in 0\n"
    with mk.start("consume", *words, "-F", "-p", "0", "-o", "end", "--idle", "1500ms") as consumer:
        time.sleep(0.5)
        mk.ok("topics", "alter", "t", "-p", 4, "--yes")
        mk.ok("produce", "t", "-p", 3, "in 3")
        assert lines_of(consumer) == b""


@pytest.mark.directory_only("Kafka renames no topics")
def test_a_topic_that_is_renamed_is_followed_and_read_once(mk):
    mk.ok("produce", "t-a", "v")
    mk.ok("produce", "t-b", "v")
    with mk.start("consume", "-r", "^t-", "-F", "-J") as consumer:
        out = consumer.stdout.fileno()
        read_until(out, b'"t-b"')
        mk.ok("topics", "rename", "t-a", "t-c", "-q")
        time.sleep(1)
        mk.ok("produce", "t-c", "more")
        assert json.loads(read_until(out, b"more").splitlines()[-1])["topic"] == "t-c"
        mk.ok("produce", "t-a", "new")
        mk.ok("produce", "t-c", "last")
        got = read_until(out, b"last")
        got += b"" if b"new" in got else read_until(out, b"new")
        assert sorted(json.loads(line)["payload"] for line in got.splitlines() if line) == ["last", "new"]


# --tail and mk tail.


def test_the_tail_over_all_partitions_and_topics(mk):
    with api.connect(mk.location, create=True) as cluster:
        for topic in ("a", "b"):
            cluster.create_topic(topic, partitions=2)
            for partition in (0, 1):
                with cluster.producer(topic, partition=partition) as producer:
                    for second in range(20):
                        time_ms = 1_700_000_000_000 + second * 1000 + partition * 100 + (topic == "b") * 10
                        producer.send(f"{topic}{partition} {second}".encode(), timestamp_ms=time_ms)
    assert mk.ok("consume", "a", "b", "--tail", 3) == b"a1 19\nb0 19\nb1 19\n"
    assert mk.ok("consume", "a", "--tail", 3) == b"a0 19\na1 18\na1 19\n"
    assert mk.ok("consume", "a", "b", "--tail", 1000) == mk.ok("consume", "a", "b")
    assert mk.ok("consume", "a", "--tail", 3, "-n", 2) == b"a0 19\na1 18\n"
    assert mk.ok("consume", "a", "--tail", 0) == b""
    assert mk.ok("consume", "a", "-p", 0, "--tail", 2, "--until", "1700000005") == b"a0 3\na0 4\n"


@pytest.mark.directory_only("Kafka has no segments that small")
def test_a_large_tail_over_many_batches_and_segments(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=65536")
    for first in range(0, 40_000, 10_000):
        mk.ok("produce", "t", stdin=numbers(first, first + 10_000))
    for count in (1, 9_999, 10_000, 10_001, 25_000, 39_999, 40_000, 50_000):
        assert mk.ok("consume", "t", "--tail", count) == numbers(max(0, 40_000 - count), 40_000)


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize("damage", ["remove", "lie"])
def test_the_tail_without_an_index_to_be_trusted(mk, damage):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=1000000")
    for first in range(0, 100_000, 10_000):
        mk.ok("produce", "t", stdin=numbers(first, first + 10_000))
    (index,) = mk.partition("t").glob("*.index")
    if damage == "remove":
        index.unlink()
    else:
        data = bytearray(index.read_bytes())
        data[3] ^= 1
        data[7] ^= 1
        index.write_bytes(data)
    assert mk.ok("consume", "t", "--tail", 95_000) == numbers(5_000, 100_000)


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_tail_that_reaches_into_damage_is_65_and_one_that_does_not_is_printed(mk):
    values = [b"%d" % number + b"x" * 100_000 + b"\n" for number in range(5)]
    for value in values:
        mk.ok("produce", "t", stdin=value)
    (segment,) = mk.segments("t")
    data = bytearray(segment.read_bytes())
    data[mk.batches("t")[2].position + 20] ^= 1
    segment.write_bytes(data)
    assert mk.ok("consume", "t", "--tail", 2) == b"".join(values[3:])
    done = mk("consume", "t", "--tail", 3)
    assert (done.status, done.out) == (65, b"")
    assert "offset 2" in done.err and "`-o 3`" in done.err


def test_tail_prints_the_last_ten_and_goes_on(mk):
    mk.ok("produce", "t", stdin=numbers(0, 100))
    with mk.start("tail", "t") as consumer:
        assert read_until(consumer.stdout.fileno(), b"99\n") == numbers(90, 100)
        mk.ok("produce", "t", "more")
        assert read_until(consumer.stdout.fileno(), b"more\n") == b"more\n"
    assert mk.ok("tail", "t", "--tail", 2, "--idle", "50ms", "-0") == b"99\0more\0"
    assert mk.ok("tail", "-r", "t", "--tail", 1, "--max-time", "2s") == b"more\n"
    assert mk("tail", "t", "--timeout", "300ms").status == 124
    assert json.loads(mk.ok("tail", "t", "-J", "--tail", 1, "--idle", "50ms"))["payload"] == "more"
    assert mk("tail").status == 2
    assert mk("tail", "t", "-n", 3).status == 2


# -D, -0 and -Z.


def test_delimiters(mk):
    mk.ok("produce", "t", "-K", "=", stdin=b"k=a\nk=b\n")
    assert mk.ok("consume", "t", "-D", "; ") == b"a; b; "
    assert mk.ok("consume", "t", "-D", "\\r\\n") == b"a\r\nb\r\n"
    assert mk.ok("consume", "t", "-D", "\\n") == b"a\nb\n"
    assert mk.ok("consume", "t", "-D", "\\x00é", "-f", "kv") == "k\ta\0ék\tb\0é".encode()
    assert [
        json.loads(piece)["payload"] for piece in mk.ok("consume", "t", "-D", "\\0\\0", "-J").split(b"\0\0")[:2]
    ] == [
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    "words",
    [["-0", "-D", ";"], ["-f", "raw", "-0"], ["-f", "raw", "-D", ";"], ["-J", "-Z"], ["-f", "raw", "-Z"], ["-D", ""]],
)
def test_what_cannot_be_together_is_refused(mk, words):
    mk.ok("produce", "t", "v")
    done = mk("consume", "t", *words)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("mk: error: ")


def test_null_can_be_told_from_empty(mk):
    with api.connect(mk.location, create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t") as producer:
            producer.send(None, b"k")
            producer.send(b"", None)
            producer.send(b"NULL", b"")
    assert mk.ok("consume", "t") == b"\n\nNULL\n"
    assert mk.ok("consume", "t", "-Z") == b"NULL\n\nNULL\n"
    assert mk.ok("consume", "t", "-Z", "-f", "kv") == b"k\tNULL\nNULL\t\n\tNULL\n"
    assert mk.ok("consume", "t", "-Z", "-0") == b"NULL\0\0NULL\0"


STOPPED_WHILE_IT_CLOSES = """
import os, signal, sys
from mk.cli.main import main
from mk.consumer.consumer import Consumer

close = Consumer.close

def stopped_and_closed(self):
    if self._sources:
        os.kill(os.getpid(), signal.SIGTERM)
    close(self)

Consumer.close = stopped_and_closed
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("words", [[], ["-n", "1"], ["-F", "-n", "1"], ["-F", "--idle", "100ms"]])
def test_a_signal_when_all_is_printed_still_ends_the_command_and_says_nothing(mk, words):
    mk.ok("produce", "t", "v")
    done = mk("consume", "t", *words, prefix=(sys.executable, "-c", STOPPED_WHILE_IT_CLOSES))
    assert (done.status, done.out, done.err) == (128 + signal.SIGTERM, b"v\n", "")
