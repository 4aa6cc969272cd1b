"""`mk produce --follow` on the command line: with every other flag, and what it says."""

import json
import os
import signal
import time

import pytest
from running import read_to_end, read_until

NAME = "shipper-1"
LINES = b"".join(b"k%d\tvalue %d\n" % (number % 7, number) for number in range(300))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(LINES)
    return path


def records(mk, topic, partition):
    return [
        tuple(record[name] for name in ("key", "payload", "headers"))
        for record in map(json.loads, mk.ok("consume", topic, "-J", "-p", partition).splitlines())
    ]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-k", "user"),
        ("-K", r"\t"),
        ("-p", "2"),
        ("-z", "zstd"),
        ("-K", r"\t", "-H", "a=b", "-z", "gzip"),
        ("-D", "value "),
        ("-Z", "-K", r"\t"),
        ("--timestamp", "1700000000000"),
        ("--skip-bad",),
    ],
)
def test_it_stores_what_produce_does_and_goes_on_whatever_the_flags(mk, log, words):
    """Half of the file, the rest of it behind a rotation; against produce from a file with the whole."""
    for topic in ("t", "plain"):
        mk.ok("topics", "create", topic, "-p", 4, "-c", "retention.ms=-1")
    cut = LINES.index(b"211\n") + 4 if "-D" not in words else LINES.index(b"211\n")
    total = LINES.count(b"value ") if "-D" in words else 300
    log.write_bytes(LINES[:cut])
    first = LINES[:cut].count(b"value " if "-D" in words else b"\n")
    follow = ("produce", "t", "--follow", log, "--producer-id", NAME, *words)
    mk.ok(*follow, "-n", 100)
    mk.ok(*follow, "-n", first - 100)
    log.rename(f"{log}.1")
    log.write_bytes(LINES[cut:])
    mk.ok(*follow, "-n", total - first)
    mk.ok("produce", "plain", "--producer-id", NAME, *words, "-n", total, stdin=LINES)
    for partition in range(4):
        assert records(mk, "t", partition) == records(mk, "plain", partition)
    mk.verify()


def test_it_passes_on_what_is_stored_and_says_which_offsets(mk, log):
    with mk.start("produce", "t", "--follow", log, "-T", "-v") as process:
        assert read_until(process.stdout.fileno(), b"value 299\n") == LINES
        with open(log, "ab") as file:
            file.write(b"one more\n")
        assert read_until(process.stdout.fileno(), b"\n") == b"one more\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
        assert read_to_end(process.stderr.fileno()).endswith(b"t 0 0 299\nt 0 300 300\n")


def test_without_an_id_each_start_begins_at_the_start(mk, log):
    for _ in range(2):
        mk.ok("produce", "t", "--follow", log, "-n", 300)
    assert mk.ok("consume", "t") == LINES * 2


def test_nul_bytes_end_records_with_0(mk, log):
    log.write_bytes(b"a\nb\0c\0d")
    mk.ok("produce", "t", "--follow", log, "-0", "-n", 2, "-q")
    assert mk.ok("consume", "t", "-0") == b"a\nb\0c\0"


def test_a_line_that_is_too_long_stops_it_there_or_is_skipped_and_named(mk, log):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=1000")
    log.write_bytes(b"a\n" + b"x" * 5000 + b"\nb\n" + b"y" * 100_000 + b"\nc\n")
    follow = ("produce", "t", "--follow", log, "--producer-id", NAME)
    done = mk(*follow)
    assert done.status == 65
    assert f"{log}: line 2" in done.err
    assert mk.ok("consume", "t") == b"a\n"
    done = mk(*follow, "--skip-bad", "-n", 4)
    assert done.status == 1
    assert f"skipped: {log}: line 2" in done.err
    assert f"skipped: {log}: line 4" in done.err
    assert mk.ok("consume", "t") == b"a\nb\nc\n"


def test_so_many_records_are_those_that_were_not_there(mk, log):
    follow = ("produce", "t", "--follow", log, "--producer-id", NAME, "-n")
    for count in (3, 1, 100):
        mk.ok(*follow, count)
    assert mk.ok("consume", "t") == b"".join(LINES.splitlines(keepends=True)[:104])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--follow", "x", "value"), "VALUE and --follow exclude each other"),
        (("--follow", "x", "--file", "y"), "--file and --follow exclude each other"),
        (("--follow", "x", "--whole"), "--whole and --follow exclude each other"),
        (("--follow", "x", "--producer-id", "p", "--acks", "0"), "--acks 0 and --follow with --producer-id"),
        (("--accept-gap",), "--accept-gap goes with --follow"),
    ],
)
def test_what_contradicts_itself_is_refused(mk, words, said):
    done = mk("produce", "t", *words)
    assert done.status == 2
    assert said in done.err
    assert not mk.directory.exists()


def test_what_is_no_regular_file_is_refused(mk, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        done = mk("produce", "t", "--follow", path)
        assert done.status == 66
        assert "only a regular file can be followed" in done.err


def test_a_file_that_nobody_may_read_is_refused(mk, log):
    if not os.geteuid():
        pytest.skip("root may read everything")
    log.chmod(0)
    assert mk("produce", "t", "--follow", log).status == 66


def test_a_signal_ends_the_wait_for_a_file(mk, tmp_path):
    with mk.start("produce", "t", "--follow", tmp_path / "later.log") as process:
        read_until(process.stderr.fileno(), b"waiting for")
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM


def test_a_gap_is_an_error_as_json_too(mk, log):
    mk.ok("produce", "t", "--follow", log, "--producer-id", NAME, "-n", 300)
    log.unlink()
    done = mk("produce", "t", "--follow", log, "--producer-id", NAME, "--json")
    assert done.status == 65
    error = json.loads(done.err.splitlines()[-1])
    assert error["facts"] == {"path": str(log), "records_stored": 0}


def test_a_damaged_mark_is_an_error_and_found_by_verify(mk, log):
    mk.ok("produce", "t", "--follow", log, "--producer-id", NAME, "-n", 3)
    (mark,) = mk.directory.glob("topics/t/producers/*.input")
    mark.write_bytes(mark.read_bytes().replace(b"position=", b"position=1"))
    done = mk("produce", "t", "--follow", log, "--producer-id", NAME)
    assert done.status == 65
    assert str(mark) in done.err
    done = mk("topics", "verify")
    assert done.status == 65
    assert mark.name in done.out.decode() + done.err
    mark.rename(mark.with_name("0123456789abcdef.input"))
    assert mk("topics", "verify").status == 65


def test_waiting_costs_next_to_nothing(mk, log):
    with mk.start("produce", "t", "--follow", log, "-v") as process:
        read_until(process.stderr.fileno(), b"299\n")
        fields = f"/proc/{process.pid}/stat"
        if not os.path.exists(fields):
            pytest.skip("the system does not say what a process has used")

        def used():
            with open(fields) as file:
                return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")

        before = used()
        time.sleep(2)  # What is measured is a time in which nothing happens.
        assert used() - before <= 0.04
