"""`mk consume` end to end: which records, in which form, and how it ends."""

import json
import os
import signal
import subprocess
import time

import pytest
from running import KafkaMk, read_to_end, read_until

from mk.records.record_batch import COLUMNS, KIND_MASK
from tests.thinning import crossed

pytestmark = pytest.mark.both_engines

KINDS = ["lines", "keyed lines", "columns", "zstd lines", "zstd columns"]


@pytest.fixture
def thousand(mk, made_once, request):
    """The numbers 0 to 999 in `t`, in three batches of one kind."""
    return made_once(mk, make_thousand, request.param)


def make_thousand(mk, kind):
    for first, last in ((0, 300), (300, 301), (301, 1000)):
        numbers = range(first, last)
        options = ["-z", "zstd"] if "zstd" in kind else []
        if "columns" in kind:
            data = b"".join(b"k%d:%d\n" % (number % 7, number) for number in numbers)
            options += ["-K", ":"]
        else:
            data = b"".join(b"%d\n" % number for number in numbers)
            options += ["-k", "key"] if "keyed" in kind else []
        mk.ok("produce", "t", "-q", *options, stdin=data)
    if isinstance(mk, KafkaMk):
        return  # It has batches as it likes.
    batches = mk.batches("t")
    assert [batch.record_count for batch in batches] == [300, 1, 699]
    assert (batches[0].attributes & KIND_MASK == COLUMNS) == ("columns" in kind)
    assert bool(batches[0].codec) == ("zstd" in kind)


def numbers(first, last):
    return b"".join(b"%d\n" % number for number in range(first, last))


# Which records.


OFFSETS = [
    ("start", 0),
    ("beginning", 0),
    ("earliest", 0),
    ("end", 1000),
    ("latest", 1000),
    ("0", 0),
    ("1", 1),
    ("299", 299),
    ("300", 300),
    ("301", 301),
    ("500", 500),
    ("999", 999),
    ("1000", 1000),
    ("-1", 999),
    ("-700", 300),
    ("-701", 299),
    ("-1000", 0),
    ("-5000", 0),
    ("-0", 1000),
]


@pytest.mark.parametrize(("thousand", "place"), crossed(KINDS, OFFSETS, every=2), indirect=["thousand"])
def test_from_an_offset(thousand, place):
    offset, first = place
    assert thousand.ok("consume", "t", "-o", offset) == numbers(first, 1000)
    assert thousand.ok("consume", "t", "-o", offset, "-n", 5) == numbers(first, min(first + 5, 1000))
    records = [json.loads(line) for line in thousand.ok("consume", "t", "-J", "-o", offset).splitlines()]
    assert [record["offset"] for record in records] == list(range(first, 1000))
    assert [record["payload"] for record in records] == [str(number) for number in range(first, 1000)]


COUNTS = [0, 1, 299, 300, 301, 302, 650, 999, 1000, 1001]


@pytest.mark.parametrize(("thousand", "count"), crossed(KINDS, COUNTS, every=2), indirect=["thousand"])
def test_exactly_so_many(thousand, count):
    assert thousand.ok("consume", "t", "-n", count) == numbers(0, min(count, 1000))
    assert thousand.ok("consume", "t", "-n", count, "-0") == numbers(0, min(count, 1000)).replace(b"\n", b"\0")


def test_exactly_so_many_across_partitions(mk):
    mk.ok("topics", "create", "t", "-p", 3)
    for partition in range(3):
        mk.ok("produce", "t", "-p", partition, stdin=b"".join(b"%d-%d\n" % (partition, n) for n in range(10)))
    everything = mk.ok("consume", "t").splitlines()
    assert len(everything) == 30
    for count in (1, 9, 10, 11, 15, 29, 30, 31):
        assert mk.ok("consume", "t", "-n", count).splitlines() == everything[:count]
    assert mk.ok("consume", "t", "-o", -2).splitlines() == [b"%d-%d" % (p, n) for p in range(3) for n in (8, 9)]


def test_a_count_ends_following_too(mk):
    mk.ok("produce", "t", stdin=numbers(0, 10))
    assert mk.ok("consume", "t", "-F", "-n", 3) == numbers(0, 3)
    with mk.start("consume", "t", "-F", "-n", "12") as consumer:
        read_until(consumer.stdout.fileno(), b"9\n")
        mk.ok("produce", "t", stdin=numbers(10, 20))
        assert read_to_end(consumer.stdout.fileno()) == b"10\n11\n"
        assert consumer.wait(20) == 0


def test_only_some_partitions(mk):
    mk.ok("topics", "create", "t", "-p", 4)
    for partition in range(4):
        mk.ok("produce", "t", "-p", partition, f"in {partition}")
    assert mk.ok("consume", "t", "-p", 2) == b"in 2\n"
    # A Kafka cluster sends what it has of several in any order.
    assert sorted(mk.ok("consume", "t", "-p", "3,0").splitlines()) == [b"in 0", b"in 3"]
    assert sorted(mk.ok("consume", "t", "-p", 3, "-p", 1).splitlines()) == [b"in 1", b"in 3"]


def test_several_topics(mk):
    mk.ok("produce", "a", "of a")
    mk.ok("produce", "b", "of b")
    assert mk.ok("consume", "a", "b") == b"of a\nof b\n"
    assert mk.ok("consume", "b", "a", "-n", 1) == b"of b\n"


def test_an_empty_topic(mk):
    mk.ok("topics", "create", "t")
    for words in ([], ["-J"], ["-f", "raw"], ["-o", "end"], ["-o", "-5"], ["-n", 3], ["-e"]):
        assert mk.ok("consume", "t", *words) == b""


WAYS_TO_READ = [[], ["-f", r"%v\n"], ["--merge"], ["--reverse"], ["--merge", "--reverse"], ["-G", "v=."], ["-g", "one"]]


@pytest.mark.parametrize("words", WAYS_TO_READ, ids=" ".join)
def test_only_what_is_there_when_it_begins(mk, words):
    """A consumer that does not follow ends, however fast others produce."""
    mk.ok("produce", "t", "v")
    endless = ["sh", "-c", "while :; do echo y; done"]
    with mk.start("produce", "t") as producer, subprocess.Popen(endless, stdout=producer.stdin.fileno()) as flood:
        for run in range(5 if not words else 2):
            ((_, end),) = mk.offsets("t")
            lines = mk.ok("consume", "t", *words).splitlines()
            if words[:1] == ["-g"] and run:
                assert set(lines) <= {b"y"}  # What came since the first.
                continue
            if "--reverse" in words:
                lines.reverse()
            assert len(lines) >= end
            assert (lines[0], set(lines[1:])) in ((b"v", set()), (b"v", {b"y"}))
        flood.kill()


# What is not there.


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nope"], "no topic nope"),
        (["t", "nope"], "no topic nope"),
        (["t", "-p", "2"], "no partition 2"),
        (["t", "-p", "0,7"], "no partition 7"),
        (["t", "-o", "4"], "no offset 4"),
        (["t", "-o", "999999999999999999"], "no offset 999999999999999999"),
    ],
)
def test_what_is_not_there_is_66_with_one_clear_line_and_nothing_else(mk, words, says):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 0, *"abc")
    mk.ok("produce", "t", "-p", 1, *"abc")
    for follow in ([], ["-F"]):
        done = mk("consume", *words, *follow)
        assert (done.status, done.out) == (66, b"")
        first, *rest = done.err.splitlines()
        assert first.startswith("mk: error: ")
        assert says in first
        assert all(line.startswith(("  why: ", "  fix: ")) for line in rest)


@pytest.mark.directory_only("it looks at the files of the log")
def test_no_log_directory(mk):
    done = mk("consume", "t")
    assert done.status == 66
    assert str(mk.directory) in done.err
    assert not mk.directory.exists()
    mk.directory.mkdir()
    assert mk("consume", "t").status == 66
    assert os.listdir(mk.directory) == []


@pytest.mark.parametrize(
    "words", [["t", "-o", "x"], ["t", "-n", "-1"], ["t", "-p", "x"], ["t", "-f", "xml"], [], ["t", "--nope"]]
)
def test_usage_errors(mk, words):
    mk.ok("topics", "create", "t")
    done = mk("consume", *words)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("mk: error: ")


def test_errors_as_json(mk):
    mk.ok("topics", "create", "t")
    done = mk("consume", "nope", "--json")
    assert json.loads(done.err)["facts"]["topic"] == "nope"
    assert done.status == 66


# In which form.


def test_formats(mk):
    mk.ok("produce", "t", "-K", "=", stdin=b"k=v\nno key\n=\n")
    assert mk.ok("consume", "t") == mk.ok("consume", "t", "-f", "value") == b"v\nno key\n\n"
    assert mk.ok("consume", "t", "-f", "kv") == b"k\tv\n\tno key\n\t\n"
    assert mk.ok("consume", "t", "-f", "raw") == b"vno key"
    assert mk.ok("consume", "t", "-0") == b"v\0no key\0\0"
    assert mk.ok("consume", "t", "-0", "-f", "kv") == b"k\tv\0\tno key\0\t\0"
    assert mk.ok("consume", "t", "-J") == mk.ok("consume", "t", "-f", "json") == mk.ok("consume", "t", "--json")
    records = [json.loads(line) for line in mk.ok("consume", "t", "-J").splitlines()]
    assert [(record["key"], record["payload"]) for record in records] == [("k", "v"), (None, "no key"), ("", "")]
    assert list(records[0]) == ["topic", "partition", "offset", "ts", "headers", "key", "payload"]
    assert records[0]["topic"] == "t"
    assert abs(records[0]["ts"] / 1000 - time.time()) < 60


def test_null_values_and_keys_and_headers(mk):
    import mk as api

    with api.connect(mk.location, create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t") as producer:
            producer.send(None, b"gone", timestamp_ms=1000)
            producer.send(b"", None, timestamp_ms=2000)
            producer.send(b"\xff", b"\xfe", headers=((b"h", b"1"), (b"h", None)), timestamp_ms=3000)
    assert mk.ok("consume", "t") == b"\n\n\xff\n"
    assert mk.ok("consume", "t", "-f", "kv") == b"gone\t\n\t\n\xfe\t\xff\n"
    first, second, third = (json.loads(line) for line in mk.ok("consume", "t", "-J").splitlines())
    assert (first["key"], first["payload"], first["ts"]) == ("gone", None, 1000)
    assert (second["key"], second["payload"], second["ts"]) == (None, "", 2000)
    assert (third["key_b64"], third["payload_b64"]) == ("/g==", "/w==")
    assert third["headers"] == [["h", "1"], ["h", None]]


def test_json_of_values_that_json_has_to_escape(mk):
    values = ['"', "\\", "\t\x01\x7f", "é漢🎉", "\u2028", "a\nb"]
    mk.ok("produce", "t", "--", *values)
    out = mk.ok("consume", "t", "-J")
    assert [json.loads(line)["payload"] for line in out.split(b"\n")[:-1]] == values
    assert out.count(b"\n") == len(values)
    assert mk.ok("consume", "t", "-J", "-0").count(b"\0") == len(values)


def test_values_with_newlines_come_out_as_they_are(mk):
    mk.ok("produce", "t", "a\nb", "c")
    assert mk.ok("consume", "t") == b"a\nb\nc\n"
    assert mk.ok("consume", "t", "-0") == b"a\nb\0c\0"
    assert mk.ok("consume", "t", "-f", "raw") == b"a\nbc"


def test_a_binary_file_through_raw(mk, tmp_path):
    data = os.urandom(100_000).replace(b"\0", b"x")
    mk.ok("produce", "t", stdin=data.replace(b"\n", b"y"))
    assert mk.ok("consume", "t", "-f", "raw") == data.replace(b"\n", b"y")


@pytest.mark.parametrize("words", [[], ["-J"], ["-f", "kv"], ["-0"], ["-o", "7"], ["-n", "99999"]])
@pytest.mark.parametrize("size", [20, 200_000])
def test_to_a_file_a_pipe_and_a_socket_alike(mk, tmp_path, words, size):
    mk.ok("produce", "t", stdin=(b"x" * size + b"\n") * (2_000_000 // size))
    expected = mk.ok("consume", "t", *words)
    with (tmp_path / "out").open("wb") as file:
        mk.ok("consume", "t", *words, stdout=file)
    assert (tmp_path / "out").read_bytes() == expected
    with (tmp_path / "out").open("ab") as file:  # os.splice refuses a file open for append
        mk.ok("consume", "t", *words, stdout=file)
    assert (tmp_path / "out").read_bytes() == expected * 2
    import socket

    ours, theirs = socket.socketpair()
    with ours, mk.start("consume", "t", *words, stdout=theirs) as consumer:
        theirs.close()
        got = read_to_end(ours.fileno())
        assert consumer.wait(20) == 0
    assert got == expected


@pytest.mark.parametrize("size", [20, 200_000])
def test_to_a_pipe_that_does_not_block(mk, size):
    """Some parents hand over such pipes; a full one is no error."""
    mk.ok("produce", "t", stdin=(b"x" * size + b"\n") * (4_000_000 // size))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with mk.start("consume", "t", stdout=writer) as consumer:
        os.close(writer)
        time.sleep(0.3)
        got = len(read_to_end(reader))
        os.close(reader)
        assert consumer.wait(20) == 0, consumer.stderr.read()
    assert got == (size + 1) * (4_000_000 // size)


# Following.


@pytest.mark.directory_only("it looks at the files of the log")
def test_following_sees_new_records_and_rolls(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096", "-p", 2)
    with mk.start("consume", "t", "-F") as consumer:
        for number in range(12):
            for partition in (0, 1):
                line = b"%d-%d " % (number, partition) + b"x" * 2500 + b"\n"
                mk.ok("produce", "t", "-p", partition, stdin=line)
                assert read_until(consumer.stdout.fileno(), line) == line
    assert len(mk.segments("t")) > 5


def test_following_from_the_end(mk):
    mk.ok("produce", "t", "old")
    with mk.start("consume", "t", "-F", "-o", "end") as consumer:
        # There is no sign from outside that it waits; what is produced until it does is old to it.
        for number in range(100):
            mk.ok("produce", "t", f"new {number}")
            import select

            if select.select([consumer.stdout], [], [], 0.1)[0]:
                break
        assert read_until(consumer.stdout.fileno(), b"\n").startswith(b"new ")


def test_following_a_topic_that_is_deleted(mk):
    mk.ok("produce", "t", "v")
    with mk.start("consume", "t", "-F") as consumer:
        read_until(consumer.stdout.fileno(), b"v\n")
        mk.ok("topics", "delete", "t", "--yes")
        assert consumer.wait(20) == 66
        assert b"deleted" in consumer.stderr.read()


def test_following_to_a_file(mk, tmp_path):
    mk.ok("produce", "t", "v")
    with (tmp_path / "out").open("wb") as file, mk.start("consume", "t", "-F", stdout=file):
        mk.ok("produce", "t", "w")
        limit = time.monotonic() + 20
        while (tmp_path / "out").read_bytes() != b"v\nw\n":
            assert time.monotonic() < limit
            time.sleep(0.01)


# How it ends.


def test_head_ends_it_at_once_silently_and_with_status_141(mk):
    mk.ok("produce", "t", stdin=numbers(0, 500_000))
    done = mk.shell("mk consume t | head -1; status")
    assert (done.status, done.out, done.err) == (141, b"0\n", "")
    done = mk.shell("mk consume t -J | head -1 | wc -l; status")
    assert (done.status, done.out, done.err) == (141, b"1\n", "")


def test_head_ends_following_too_while_nothing_comes(mk):
    mk.ok("produce", "t", stdin=b"a\nb\n")
    done = mk.shell("mk consume t -F | head -1; status", timeout=20)
    assert (done.status, done.out, done.err) == (141, b"a\n", "")


@pytest.mark.parametrize("words", [["-F"], ["-F", "-J"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_silently(mk, words, number):
    mk.ok("produce", "t", "v")
    with mk.start("consume", "t", *words) as consumer:
        read_until(consumer.stdout.fileno(), b"v")
        consumer.send_signal(number)
        assert consumer.wait(20) == -number
        assert consumer.stderr.read() == b""


def test_a_signal_while_the_reader_does_not_read(mk):
    mk.ok("produce", "t", stdin=numbers(0, 1_000_000))
    with mk.start("consume", "t") as consumer:
        assert os.read(consumer.stdout.fileno(), 2) == b"0\n"
        time.sleep(0.3)
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait(20) == -signal.SIGTERM


def test_a_stopped_reader_slows_it_and_loses_nothing(mk):
    mk.ok("produce", "t", stdin=numbers(0, 300_000))
    done = mk.shell("mk consume t | (sleep 0.5; md5sum); seq 0 299999 | md5sum")
    first, second = done.out.splitlines()
    assert first == second


@pytest.mark.parametrize("words", ["", "-J", "-0", "-F", "-f raw"])
@pytest.mark.parametrize("size", [1, 100_000])
def test_closed_and_full_standard_output(mk, words, size):
    mk.ok("produce", "t", "x" * size)
    for redirect in (">&-", "> /dev/full"):
        done = mk.shell(f"mk consume t {words} {redirect}", timeout=20)
        assert done.status == 74
        assert "standard input or output failed" in done.err
        assert len(done.err.splitlines()) == 3


def test_closed_standard_input_and_error_do_not_matter(mk):
    mk.ok("produce", "t", "v")
    done = mk.shell("mk consume t <&- 2>&-")
    assert (done.status, done.out) == (0, b"v\n")
    assert mk.shell("mk consume nope <&- 2>&-").status == 66


# A terminal.

DANGEROUS = b"\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b\xc2\x9b\x7f\r\x08 \xe2\x80\xae \xff tab\t \xc3\xa9"
SHOWN = rb"\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b\xc2\x9b\x7f\x0d\x08 \xe2\x80\xae \xff tab" + b"\t \xc3\xa9"


def on_terminal(mk, terminal, *words):
    ours, theirs = terminal
    with mk.start("consume", *words, stdout=theirs) as consumer:
        os.close(theirs)
        shown = read_to_end(ours)
        assert consumer.wait(20) == 0
    return shown.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("options", [[], ["-k", "key"], ["-z", "zstd"]])
def test_on_a_terminal_control_characters_are_shown_not_executed(mk, terminal, options):
    mk.ok("produce", "t", *options, stdin=DANGEROUS + b"\nplain\n")
    assert on_terminal(mk, terminal, "t") == SHOWN + b"\nplain\n"


def test_on_a_terminal_keys_are_made_safe_too(mk, terminal):
    mk.ok("produce", "t", "-k", "\x1b[2J", "v")
    assert on_terminal(mk, terminal, "t", "-f", "kv") == b"\\x1b[2J\tv\n"


def test_on_a_terminal_json_has_no_control_characters(mk, terminal):
    mk.ok("produce", "t", stdin=DANGEROUS)
    assert not set(on_terminal(mk, terminal, "t", "-J")) & {0x1B, 0x07, 0x9B, 0x7F, 0x08}


def test_json_on_a_terminal_is_json_still(mk, terminal):
    text = "\u009b31m \x7f \u202e \x1b[2J"
    mk.ok("produce", "t", text)
    assert json.loads(on_terminal(mk, terminal, "t", "-J"))["payload"] == text


def test_raw_sends_a_terminal_the_bytes(mk, terminal):
    mk.ok("produce", "t", stdin=b"\x1b[1mbold\x1b[0m\n")
    assert on_terminal(mk, terminal, "t", "--raw") == b"\x1b[1mbold\x1b[0m\n"


def test_a_pipe_gets_the_bytes(mk):
    mk.ok("produce", "t", stdin=DANGEROUS)
    assert mk.ok("consume", "t") == DANGEROUS + b"\n"


def test_names_in_errors_are_made_safe(mk):
    mk.ok("topics", "create", "t")
    done = mk("consume", "\x1b[2J")
    assert done.status == 2
    assert "\x1b" not in done.err


# Damage below what was acknowledged is in test_damage.py; reading as another user in test_sharing.py.
