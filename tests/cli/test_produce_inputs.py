"""What `mk produce` reads, end to end: delimiters, files, whole inputs, headers, times and nulls, bad records, passing on."""

import json
import os
import signal
import subprocess

import pytest
from running import read_to_end, read_until

from tests.thinning import crossed

pytestmark = pytest.mark.both_engines

MIB = 1 << 20


def values(mk, topic="t", *words):
    """Return the values of a topic, which may hold anything but NUL."""
    return mk.ok("consume", topic, "-0", *words).split(b"\0")[:-1]


def documents(mk, topic="t"):
    return [json.loads(line) for line in mk.ok("consume", topic, "-J").splitlines()]


# Delimiters.


DELIMITED = [
    (["-0"], b"a\0b\nc\0d", [b"a", b"b\nc", b"d"]),
    (["--null"], b"a\0\0", [b"a", b""]),
    (["-D", r"\0"], b"a\0b", [b"a", b"b"]),
    (["-D", ","], b"a,b\n,c\n", [b"a", b"b\n", b"c\n"]),
    (["-D", ","], b"a,b,,c", [b"a", b"b", b"", b"c"]),
    (["-D", ","], b",", [b""]),
    (["-D", ","], b"", []),
    (["-D", r"\r\n"], b"a\r\nb\nc\rd\r\n", [b"a", b"b\nc\rd"]),
    (["--delimiter", "END"], b"oneENDtwo\nENDENE", [b"one", b"two\n", b"ENE"]),
    (["-D", r"\n\n"], b"p 1\nstill\n\n\np 2\n", [b"p 1\nstill", b"\np 2\n"]),
    (["-D", "aa"], b"xaaayaaaa", [b"x", b"ay", b""]),
    (["-D", "aa"], b"xaaa", [b"x", b"a"]),
    (["-D", r"\n"], b"a\nb", [b"a", b"b"]),
]
MORE = [(), ("-z", "lz4"), ("-H", "h=1"), ("-k", "key"), ("-Z",)]


@pytest.mark.parametrize(("case", "more"), crossed(DELIMITED, MORE, every=2))
def test_a_record_is_what_stands_between_delimiters(mk, case, more):
    options, data, expected = case
    mk.ok("produce", "t", *options, *more, stdin=data)
    if not data:
        mk.ok("topics", "create", "t", "--if-not-exists")
    assert values(mk) == expected
    for document in documents(mk):
        assert document["key"] == ("key" if "-k" in more else None)
        assert document["headers"] == ([["h", "1"]] if "-H" in more else [])
        assert (document["payload"] is None) == ("-Z" in more and document["payload"] in ("", None))


def test_names_from_find_come_back_by_xargs(mk, tmp_path):
    (tmp_path / "a b").touch()
    (tmp_path / "new\nline").touch()
    done = mk.shell(
        f"cd {tmp_path}; find . -type f -name '*[ \n]*' -print0 | mk produce t -q -0; mk consume t -0 | xargs -0 ls -d | cat"
    )
    assert done.out == b"./a b\n./new\nline\n"


def test_a_million_records_by_another_delimiter(mk):
    done = mk.shell(
        "set -e -o pipefail; seq 1 1000000 | tr '\\n' '\\0' | mk produce t -q -0; mk consume t | cmp - <(seq 1 1000000);"
        "seq 1 1000000 | sed 's/$/--/' | tr -d '\\n' | mk produce u -q -D --; mk consume u | cmp - <(seq 1 1000000)"
    )
    assert (done.status, done.out, done.err) == (0, b"", "")


def test_keys_are_split_off_records_as_off_lines(mk):
    mk.ok("produce", "t", "-0", "-K", ":", "-k", "fixed", stdin=b"k:v\nw\0none\0:empty key\0k::\0")
    assert [(one["key"], one["payload"]) for one in documents(mk)] == [
        ("k", "v\nw"),
        ("fixed", "none"),
        ("", "empty key"),
        ("k", ":"),
    ]
    mk.ok("produce", "u", "-0", "-K", r"\n", stdin=b"title\nbody\nmore\0")
    assert [(one["key"], one["payload"]) for one in documents(mk, "u")] == [("title", "body\nmore")]


def test_each_record_of_a_slow_pipe_is_visible_at_once(mk):
    mk.ok("topics", "create", "t")
    with mk.start("consume", "t", "-F", "-0") as consumer, mk.start("produce", "t", "-D", "::") as producer:
        for number in range(5):
            producer.stdin.write(b"record\n%d::" % number)
            read_until(consumer.stdout.fileno(), b"record\n%d\0" % number, seconds=10)
        producer.stdin.write(b"half:")
        producer.send_signal(signal.SIGTERM)
        assert producer.wait(20) == -signal.SIGTERM
        assert producer.stderr.read() == b""
    assert mk.offsets("t") == [(0, 5)]


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_record_over_the_limit_is_named_by_its_number(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=10")
    done = mk("produce", "t", "-0", stdin=b"a\nb\0" + b"x" * 11 + b"\0c")
    assert done.status == 65
    assert "input record 2 has 11 bytes or more, over max.message.bytes (10)" in done.err
    assert "1 record stored" in done.err
    assert values(mk) == [b"a\nb"]


# Files, and whole inputs.


@pytest.fixture
def inputs(tmp_path):
    """Files: a with two lines, the last one not ended; b empty; c with one line; big with 300,000."""
    (tmp_path / "a").write_bytes(b"a1\na2")
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "c").write_bytes(b"c1\n")
    (tmp_path / "big").write_bytes(b"".join(b"%d\n" % number for number in range(300_000)))
    return tmp_path


def test_files_are_read_in_their_order(mk, inputs):
    mk.ok(
        "produce",
        "t",
        "--file",
        inputs / "a",
        "--file",
        "-",
        "--file",
        inputs / "b",
        f"--file={inputs}/c",
        stdin=b"in\n",
    )
    assert mk.ok("consume", "t") == b"a1\na2\nin\nc1\n"


def test_a_large_file_between_small_ones(mk, inputs):
    big = (inputs / "big").read_bytes()
    done = mk("produce", "t", "-q", "-T", *(f"--file={inputs}/{name}" for name in ("a", "big", "c", "big", "a")))
    assert (done.status, done.err) == (0, "")
    assert done.out == b"a1\na2" + big + b"c1\n" + big + b"a1\na2"
    assert mk.ok("consume", "t") == b"a1\na2\n" + big + b"c1\n" + big + b"a1\na2\n"


def test_many_small_files_are_stored_by_few_appends(mk, tmp_path):
    words = []
    for number in range(200):
        (tmp_path / str(number)).write_bytes(b"%d\n" % number)
        words += ["--file", tmp_path / str(number)]
    done = mk("produce", "t", "-v", "-q", "-T", *words)
    lines = b"".join(b"%d\n" % number for number in range(200))
    assert (done.status, done.out) == (0, lines)
    assert len(done.err.splitlines()) < 100
    assert mk.ok("consume", "t") == lines


def test_a_file_that_cannot_be_opened_ends_it_there(mk, inputs):
    for bad in ("missing", ""):
        done = mk("produce", "t", "-q", "--file", inputs / "a", "--file", bad and inputs / bad, "--file", inputs / "c")
        assert done.status == 66
        assert "2 records stored" in done.err
        assert (str(inputs / bad) if bad else "cannot read") in done.err
        assert "No such file" in done.err
    done = mk("produce", "t", "--file", inputs)
    assert done.status == 66
    assert "it is a directory" in done.err
    assert "0 records stored" in done.err
    assert mk.ok("consume", "t") == b"a1\na2\na1\na2\n"


def test_errors_of_files_as_json(mk, inputs):
    done = mk("produce", "t", "-q", "--json", "--file", inputs / "a", "--file", inputs / "missing")
    document = json.loads(done.err.splitlines()[-1])
    assert document["error"] == "UnreadableInputError"
    assert document["facts"] == {"path": str(inputs / "missing"), "records_stored": 2}


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_line_over_the_limit_is_named_by_its_file_and_number(mk, inputs):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=2")
    (inputs / "long").write_bytes(b"ok\nlong\n")
    done = mk("produce", "t", "--file", inputs / "a", "--file", inputs / "long")
    assert done.status == 65
    assert f"{inputs}/long: line 2 has 4 bytes" in done.err
    assert "3 records stored" in done.err


def test_the_whole_input_is_one_record(mk):
    data = bytes(range(1, 256)) * 3 + b"\n\n"
    mk.ok("produce", "t", "--whole", stdin=data)
    mk.ok("produce", "t", "--whole", stdin=b"")
    mk.ok("produce", "t", "--whole", "-k", "k", "-Z", stdin=b"")
    mk.ok("produce", "t", "--whole", "-K", ": ", "-H", "h", stdin=b"key: value\nmore\n")
    mk.ok("produce", "t", "--whole", "-T", stdin=b"one line")
    assert values(mk) == [data, b"", b"", b"value\nmore\n", b"one line"]
    assert [one["key"] for one in documents(mk)] == [None, None, "k", "key", None]
    assert [one.get("payload", "binary") is None for one in documents(mk)] == [False, False, True, False, False]


@pytest.mark.directory_only("a broker takes 1 MiB unless it is told otherwise")
def test_whole_files_are_a_record_each(mk, inputs):
    done = mk("produce", "t", "-q", "--whole", "-T", *(f"--file={inputs}/{name}" for name in ("a", "b", "big", "c")))
    big = (inputs / "big").read_bytes()
    assert (done.status, done.err, done.out) == (0, "", b"a1\na2" + big + b"c1\n")
    assert values(mk) == [b"a1\na2", b"", big, b"c1\n"]


@pytest.mark.directory_only("a broker takes 1 MiB unless it is told otherwise")
def test_a_file_over_the_limit_is_named(mk, inputs):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=1m")
    words = [f"--file={inputs}/{name}" for name in ("a", "big", "c")]
    done = mk("produce", "t", "--whole", *words)
    assert done.status == 65
    assert f"{inputs}/big has" in done.err
    assert "1 record stored" in done.err
    done = mk("produce", "t", "--whole", "--skip-bad", *words)
    assert done.status == 1
    assert done.err.count("skipped: ") == 1
    assert "2 records stored, 1 skipped" in done.err
    assert mk("produce", "t", "--whole", stdin=b"x" * (MIB + 1)).err.startswith("mk: 0 records stored")
    assert "standard input has" in mk("produce", "t", "--whole", stdin=b"x" * (MIB + 1)).err
    assert mk("produce", "t", "--whole", stdin=b"x" * MIB).status == 0
    assert [len(value) for value in values(mk)] == [5, 5, 3, MIB]


def test_a_signal_stores_no_half_of_a_whole_input(mk, inputs):
    mk.ok("topics", "create", "t")
    with mk.start("produce", "t", "--whole", "--file", inputs / "a", "--file", "-") as producer:
        while not mk.ok("consume", "t"):
            pass
        producer.stdin.write(b"half of it")
        producer.send_signal(signal.SIGINT)
        assert producer.wait(20) == -signal.SIGINT
        assert producer.stderr.read() == b""
    assert values(mk) == [b"a1\na2"]


def test_a_signal_while_a_named_pipe_waits_for_its_writer(mk, inputs):
    os.mkfifo(inputs / "pipe")
    mk.ok("topics", "create", "t")
    with mk.start(
        "produce", "t", "-T", "--file", inputs / "a", "--file", inputs / "pipe", "--file", inputs / "c"
    ) as producer:
        read_until(producer.stdout.fileno(), b"a1\na2")
        with open(inputs / "pipe", "wb") as pipe:
            pipe.write(b"from the pipe\n")
        read_until(producer.stdout.fileno(), b"c1\n")
        assert producer.wait(20) == 0
    with mk.start(
        "produce", "t", "--file", inputs / "a", "--file", inputs / "pipe", "--file", inputs / "c"
    ) as producer:
        while mk.offsets("t") != [(0, 6)]:
            pass
        producer.send_signal(signal.SIGTERM)
        assert producer.wait(20) == -signal.SIGTERM
        assert producer.stderr.read() == b""
    assert mk.ok("consume", "t") == b"a1\na2\nfrom the pipe\nc1\na1\na2\n"


# What records carry.


def test_headers(mk):
    words = ["-H", "a=1", "-H", "a:2=3", "--header", "null", "-H", "empty=", "-H", "c=d:e"]
    expected = [["a", "1"], ["a", "2=3"], ["null", None], ["empty", ""], ["c", "d:e"]]
    mk.ok("produce", "t", *words, "value", "-k", "k")
    mk.ok("produce", "t", *words, stdin=b"line 1\nline 2\n")
    mk.ok("produce", "t", *words, "-K", ":", stdin=b"k:v\n")
    assert [one["headers"] for one in documents(mk)] == [expected] * 4
    assert [one["key"] for one in documents(mk)] == ["k", None, None, "k"]


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize("header", ["", "=v", ":v"])
def test_a_header_without_a_name_is_refused(mk, header):
    done = mk("produce", "t", "-H", header, "v")
    assert done.status == 2
    assert "NAME=VALUE" in done.err
    assert not mk.directory.exists()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("1700000000", 1_700_000_000_000),
        ("1700000000123", 1_700_000_000_123),
        ("1700000000123456789", 1_700_000_000_123),
        ("2026-11-23T10:00:00.5Z", 1_795_428_000_500),
        ("2026-11-23", 1_795_392_000_000),
    ],
)
def test_the_time_of_every_record(mk, time, expected):
    mk.ok("produce", "t", "--timestamp", time, "value")
    mk.ok("produce", "t", "--timestamp", time, stdin=b"a\nb\n")
    mk.ok("produce", "t", "--timestamp", time, "-K", ":", "-H", "h", stdin=b"a:\nb\n")
    assert [one["ts"] for one in documents(mk)] == [expected] * 5


def test_a_time_so_long_ago(mk):
    mk.ok("produce", "t", "now")
    mk.ok("produce", "t", "--timestamp", "-1h", "then")
    now, then = (one["ts"] for one in documents(mk))
    assert abs(now - then - 3_600_000) < 60_000


@pytest.mark.directory_only("it looks at the files of the log")
def test_what_is_no_time_is_refused(mk):
    done = mk("produce", "t", "--timestamp", "soon", "v")
    assert done.status == 2
    assert "--timestamp" in done.err
    assert not mk.directory.exists()


def test_an_empty_value_is_a_null_when_asked_for(mk):
    mk.ok("produce", "t", "-Z", "-k", "user", "", "x")
    mk.ok("produce", "t", "-Z", stdin=b"\na\n\n\nb\n")
    mk.ok("produce", "t", "-Z", "-K", ":", stdin=b"gone:\nkept:v\n:\n")
    mk.ok("produce", "t", stdin=b"\n")
    assert [(one["key"], one["payload"]) for one in documents(mk)] == [
        ("user", None),
        ("user", "x"),
        (None, None),
        (None, "a"),
        (None, None),
        (None, None),
        (None, "b"),
        ("gone", None),
        ("kept", "v"),
        ("", None),
        (None, ""),
    ]


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_key_and_headers_count_towards_the_limit(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=100")
    for words in (["-H", "h=" + "x" * 49], ["-k", "k" * 50], ["-k", "k" * 25, "-H", "h=" + "x" * 24]):
        for more in ([], ["-D", ","], ["-0"], ["--whole"], ["-Z"]):
            assert mk("produce", "t", *words, *more, stdin=b"v" * 50).status == 0
            assert mk("produce", "t", *words, *more, stdin=b"v" * 51).status == 65, (words, more)
        assert mk("produce", "t", *words, "v" * 50).status == 0
        assert mk("produce", "t", *words, "v" * 51).status == 65
    assert mk("produce", "t", "-K", "::", "-H", "h=1", stdin=b"k" * 48 + b"::" + b"v" * 50).status == 0
    assert mk("produce", "t", "-K", "::", "-H", "h=1", stdin=b"k" * 48 + b"::" + b"v" * 51).status == 65
    done = mk("produce", "t", "-H", "h=" + "x" * 100, stdin=b"v\n")
    assert done.status == 65
    assert "key and headers alone has 101 bytes" in done.err
    assert mk.offsets("t") == [(0, 19)]


# So many records and no more.


@pytest.mark.parametrize("count", [0, 1, 3, 100, 99_999, 200_000])
def test_it_stops_after_so_many_records(mk, count):
    mk.ok("topics", "create", "t")
    lines = b"".join(b"line %d\n" % number for number in range(100_000))
    expected = b"".join(lines.splitlines(keepends=True)[:count])
    done = mk("produce", "t", "-q", "-T", "-n", count, stdin=lines)
    assert (done.status, done.err) == (0, "")
    assert done.out == expected
    assert mk.ok("consume", "t") == expected


@pytest.mark.parametrize("source", ["seq 0 200000 |", "< lines"])
def test_the_rest_of_the_input_is_left_to_others(mk, tmp_path, source):
    (tmp_path / "lines").write_bytes(b"".join(b"%d\n" % number for number in range(200_001)))
    script = "{ mk produce t -q -n 3; mk produce t -q -n 2; mk produce t -q -n 100000 -T; head -n 1; cat >/dev/null; }"
    done = mk.shell(f"cd {tmp_path}; {source if '|' in source else ''} {script} {source if '<' in source else ''}")
    expected = b"".join(b"%d\n" % number for number in range(100_005))
    assert mk.ok("consume", "t") == expected
    assert done.out == expected[len(b"0\n1\n2\n3\n4\n") :] + b"100005\n"


def test_the_rest_behind_a_delimiter_of_several_bytes(mk):
    done = mk.shell("printf 'a--b-c--d--e' | { mk produce t -q -n 2 -D --; cat; }")
    assert done.out == b"d--e"
    assert mk.ok("consume", "t") == b"a\nb-c\n"


def test_a_count_over_several_files(mk, inputs):
    words = [f"--file={inputs}/{name}" for name in ("a", "c", "missing")]
    mk.ok("produce", "t", "-n", 3, *words)
    mk.ok("produce", "t", "-n", 1, *words)
    assert mk.ok("consume", "t") == b"a1\na2\nc1\na1\n"


# Passing the input on.


def test_what_is_passed_on_is_stored(mk):
    mk.ok("topics", "create", "t")
    with mk.start("produce", "t", "-T") as producer:
        for number in range(10):
            line = b"line %d\n" % number
            producer.stdin.write(line)
            read_until(producer.stdout.fileno(), line)
            assert mk.offsets("t") == [(0, number + 1)]
        producer.stdin.write(b"not ended")
        producer.stdin.close()
        assert read_to_end(producer.stdout.fileno()) == b"not ended"
        assert producer.wait(20) == 0


@pytest.mark.directory_only("a broker takes 1 MiB unless it is told otherwise")
@pytest.mark.parametrize("options", [[], ["-K", ":"], ["-0"], ["-D", "34"], ["-H", "h"], ["-z", "gzip"], ["--whole"]])
def test_a_lot_is_passed_on_as_it_came(mk, options):
    done = mk.shell(f"set -o pipefail; seq 1 300000 | mk produce t -q -T {' '.join(options)} | cmp - <(seq 1 300000)")
    assert (done.status, done.out, done.err) == (0, b"", "")


def test_a_closed_pipe_ends_it_and_what_is_stored_is_said(mk):
    done = mk.shell("seq 1 3000000 | mk produce t -q -T | head -n 1; echo ${PIPESTATUS[1]}")
    assert done.out == b"1\n141\n"
    stored = mk.offsets("t")[0][1]
    assert done.err == f"mk: {stored} records stored\n"
    assert 0 < stored < 3_000_000
    assert mk.shell("echo a | mk produce t -q -T >&-").status == 74
    assert mk.offsets("t") == [(0, stored + 1)]


def test_a_terminal_is_shown_what_is_passed_on_and_not_steered(mk, terminal):
    ours, theirs = terminal
    mk.ok("topics", "create", "t")
    with mk.start("produce", "t", "-T", stdout=theirs) as producer:
        producer.stdin.write(b"\x1b[31mred\n")
        assert b"\\x1b[31mred" in read_until(ours, b"red")
        producer.stdin.close()
        assert producer.wait(20) == 0
    assert mk.ok("consume", "t") == b"\x1b[31mred\n"


# Bad records.


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
@pytest.mark.parametrize("options", [[], ["-0"], ["-D", "ab"], ["-D", "aa"], ["-K", ":"], ["-H", "h=1"], ["-Z"]])
def test_bad_records_are_skipped_and_named(mk, options):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=10")
    end = {"-0": b"\0", "-D": options[-1].encode() if options else b""}.get(options[0] if options else "", b"\n")
    records = [b"ok", b"x" * 11, b"", b"y" * 200_000, b"z" * 8, b"w" * 12]
    done = mk("produce", "t", "-T", "--skip-bad", *options, stdin=end.join(records))
    good = [b"ok", b"", b"z" * 8]
    assert done.status == 1
    assert values(mk) == good
    assert done.out == b"".join(record + end for record in good)
    unit = "line" if end == b"\n" else "record"
    notes = done.err.splitlines()
    assert [note.split(" has ")[0] for note in notes[:-1]] == [
        f"mk: skipped: input {unit} {number}" for number in (2, 4, 6)
    ]
    assert notes[-1] == "mk: 3 records stored, 3 skipped"


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_bad_record_among_good_ones_of_a_block_is_skipped_alone(mk):
    """Too large only by its key: the reader cannot tell."""
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=20")
    data = b"".join(b"k:%d\n" % number for number in range(1000)) + b"x" * 21 + b"\nk:" + b"y" * 19 + b"\nlast"
    done = mk("produce", "t", "-K", "::", "-k", "12", "-T", "--skip-bad", stdin=data)
    assert done.status == 1
    assert "input line 1001 has" in done.err
    assert "input line 1002 has" in done.err
    assert "1001 records stored, 2 skipped" in done.err
    assert done.out == b"".join(b"k:%d\n" % number for number in range(1000)) + b"last"
    done = mk("produce", "t", "-K", "::", "-k", "12", "-T", stdin=data)
    assert done.status == 65
    assert "1000 records stored" in done.err
    assert done.out == b"".join(b"k:%d\n" % number for number in range(1000))


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_bad_values_are_skipped(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=3")
    done = mk("produce", "t", "--skip-bad", "a", "long", "b")
    assert done.status == 1
    assert "skipped: value 2 has 4 bytes" in done.err
    assert mk.ok("consume", "t") == b"a\nb\n"
    assert mk("produce", "t", "--skip-bad", "c").status == 0


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_skipped_record_keeps_its_place_under_a_producer_id(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=3")
    data = b"a\nlong\nb\n"
    assert mk("produce", "t", "--producer-id", "p", "--skip-bad", stdin=data).status == 1
    done = mk("produce", "t", "--producer-id", "p", "--skip-bad", stdin=data + b"c\n")
    assert done.status == 1
    assert mk.ok("consume", "t") == b"a\nb\nc\n"


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_skipped_records_count_as_read(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=3")
    done = mk.shell("printf 'a\\nlong\\nb\\nc\\n' | { mk produce t --skip-bad -n 3; }")
    assert done.status == 1
    assert mk.ok("consume", "t") == b"a\nb\n"


# What cannot be together, and the environment.


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize(
    "words",
    [
        ["-D", ",", "-0"],
        ["-D", ",", "--whole"],
        ["-0", "--whole"],
        ["--file", "x", "v"],
        ["-D", ",", "v"],
        ["-0", "v"],
        ["--whole", "v"],
        ["-T", "v"],
        ["-n", "0", "v"],
        ["--file", "-", "--file", "-"],
        ["-K", "\\n"],
        ["-0", "-K", "\\0"],
        ["-D", ",", "-K", "a,b"],
        ["-D", ""],
        ["-n", "-1"],
        ["-z", "snappy"],
    ],
)
def test_what_contradicts_itself_is_refused(mk, words):
    done = mk("produce", "t", *words, stdin=b"a\n")
    assert done.status == 2, done
    assert done.err.startswith("mk: error: ")
    assert not mk.directory.exists()


@pytest.mark.directory_only("brokers have no locks to wait for")
@pytest.mark.parametrize(
    ("variable", "good", "bad"), [("MK_ACKS", "0", "all"), ("MK_LOCK_WAIT", "50ms", "soon"), ("MK_ACKS", "", "2")]
)
def test_what_the_environment_says(mk, variable, good, bad):
    assert mk("produce", "t", "v", env={variable: good}).status == 0
    for words, stdin in ((["v"], b""), ([], b"v\n")):
        done = mk("produce", "t", *words, stdin=stdin, env={variable: bad})
        assert done.status == 2
        assert variable in done.err
    flag = {"MK_ACKS": "--acks=1", "MK_LOCK_WAIT": "--lock-wait=1s"}[variable]
    assert mk("produce", "t", flag, "v", env={variable: bad}).status == 0, "a flag beats the environment"
    assert mk.ok("consume", "t") == b"v\nv\n"


def test_an_input_that_fails_is_named(mk):
    done = mk("produce", "t", "--file", f"/proc/{os.getpid()}/mem")
    assert done.status == 74
    assert f"/proc/{os.getpid()}/mem" in done.err
    assert "0 records stored" in done.err


def test_a_terminal_is_told_what_is_wanted(mk, terminal):
    ours, theirs = terminal
    mk.ok("topics", "create", "t")
    for options, said in ((["-0"], b"each ends with the delimiter"), (["--whole"], b"all of it is one")):
        with mk.start("produce", "t", *options, stdin=theirs) as producer:
            read_until(producer.stderr.fileno(), said)
            os.write(ours, b"typed\n\x04")
            assert producer.wait(20) == 0
    assert values(mk) == [b"typed\n", b"typed\n"]


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_everything_at_once(mk, inputs):
    (inputs / "mixed").write_bytes(b"k1=v\n1||k2=||none||" + b"x" * 101 + b"||k3=v3||never read")
    mk.ok("topics", "create", "t", "-p", 3, "-c", "max.message.bytes=100")
    with subprocess.Popen(
        [mk.program, "consume", "t", "-F", "-J"], env=mk.environment, stdout=subprocess.PIPE
    ) as follower:
        done = mk(
            *[
                "produce",
                "t",
                "-D",
                "||",
                "-K",
                "=",
                "-k",
                "k0",
                "-H",
                "h=1",
                "-H",
                "n",
                "-Z",
                "--timestamp",
                "1700000000",
            ],
            *["-z", "lz4", "--acks", "0", "-n", "5", "-T", "--skip-bad", "-p", "2", "--file", inputs / "mixed"],
        )
        got = [json.loads(follower.stdout.readline()) for _ in range(4)]
        follower.kill()
    assert done.status == 1
    assert "mixed: record 4 has" in done.err
    assert done.out == b"k1=v\n1||k2=||none||k3=v3||"
    assert [(one["key"], one["payload"]) for one in got] == [("k1", "v\n1"), ("k2", None), ("k0", "none"), ("k3", "v3")]
    assert {json.dumps([one["partition"], one["headers"], one["ts"]]) for one in got} == {
        json.dumps([2, [["h", "1"], ["n", None]], 1_700_000_000_000])
    }


@pytest.mark.directory_only("the brokers of the tests keep what is old")
def test_records_that_will_not_stay_are_announced(mk):
    done = mk("produce", "t", "--timestamp", "2024-01-01", "old")
    assert done.status == 0
    assert "retention.ms=604800000" in done.err
    mk.ok("topics", "alter", "t", "-c", "retention.ms=-1")
    assert mk("produce", "t", "--timestamp", "2024-01-01", "old").err == ""
    assert mk("produce", "t", "--timestamp", "-6d", "new").err == ""
