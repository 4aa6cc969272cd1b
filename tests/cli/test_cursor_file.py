"""`--cursor-file`: positions of one reader, kept in a file; nothing is left out, and only what was in flight comes twice."""

import contextlib
import json
import os
import random
import signal
import stat
import subprocess
import time

import pytest
from running import read_to_end, read_until

pytestmark = pytest.mark.both_engines


def numbers(first, last):
    return b"".join(b"%d\n" % number for number in range(first, last))


@pytest.fixture
def cursor(tmp_path):
    return tmp_path / "cursor"


def positions(path):
    """Return the offset of each topic and partition in a cursor file, as a script would read it."""
    found = {}
    for line in path.read_text().splitlines()[2:-1]:
        fields = dict(field.split("=") for field in line.split(" "))
        found[fields["name"], int(fields["partition"])] = int(fields["offset"])
    return found


def wait_for(condition, seconds=20):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


# What it does.


@pytest.mark.directory_only("brokers verify their own files")
def test_each_run_prints_what_came_since_the_last(mk, cursor):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 0, "a", "b")
    assert mk.ok("consume", "t", "--cursor-file", cursor) == b"a\nb\n"
    assert mk.ok("consume", "t", "--cursor-file", cursor) == b""
    mk.ok("produce", "t", "-p", 1, "c")
    mk.ok("produce", "t", "-p", 0, "d")
    assert sorted(mk.ok("consume", "t", "--cursor-file", cursor).split()) == [b"c", b"d"]
    assert positions(cursor) == {("t", 0): 3, ("t", 1): 1}
    # -o decides only where there is no position yet.
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-o", "start") == b""
    assert not [path for path in cursor.parent.iterdir() if path.suffix == ".tmp"]
    done = mk("topics", "verify", "t")
    assert done.status == 0


def test_a_count_notes_so_many_records_exactly(mk, cursor):
    mk.ok("produce", "t", stdin=numbers(0, 5000))
    seen = b""
    for count in (1, 7, 1000, 1, 2000):
        out = mk.ok("consume", "t", "--cursor-file", cursor, "-n", count)
        assert out.count(b"\n") == count
        seen += out
        assert positions(cursor) == {("t", 0): seen.count(b"\n")}
    assert seen + mk.ok("consume", "t", "--cursor-file", cursor) == numbers(0, 5000)
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-n", 0) == b""


@pytest.mark.parametrize("words", [["-J"], ["-0"], ["-f", "kv", "-D", "\\t"], ["--merge"], ["--max-time", "1h"]])
def test_formats_and_merging_go_with_it(mk, cursor, words):
    mk.ok("topics", "create", "t", "-p", 2)
    for partition in range(2):
        mk.ok("produce", "t", "-p", partition, "-K", ":", stdin=b"a:b\nc:d\n\n:\n")
    expected = mk.ok("consume", "t", *words)
    out = b"".join(mk.ok("consume", "t", "--cursor-file", cursor, *words, "-n", 1) for _ in range(9))
    assert out == expected


def test_what_does_not_match_counts_as_read(mk, cursor):
    mk.ok("produce", "t", stdin=numbers(0, 100))
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-G", "v=7$", "-n", 2) == b"7\n17\n"
    assert positions(cursor) == {("t", 0): 18}
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-G", "v=^20$") == b"20\n"
    assert positions(cursor) == {("t", 0): 100}


def test_where_to_begin_is_noted_though_nothing_was_printed(mk, cursor):
    mk.ok("produce", "t", "old")
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-o", "end") == b""
    mk.ok("produce", "t", "new")
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-o", "end") == b"new\n"


def test_an_empty_result_since_a_time_is_no_failure(mk, cursor):
    mk.ok("produce", "t", "old", "--timestamp", "2020-01-01")
    for _ in range(2):
        done = mk("consume", "t", "--cursor-file", cursor, "--since", "-1h")
        assert (done.status, done.out, done.err) == (0, b"", "")
    mk.ok("produce", "t", "new")
    assert mk.ok("consume", "t", "--cursor-file", cursor, "--since", "-1h") == b"new\n"


def test_a_partition_that_ends_before_what_is_asked_for_gets_no_position(mk, cursor):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 0, *"abcd")
    mk.ok("produce", "t", "-p", 1, *"v")
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-o", 3, "-q") == b"d\n"
    mk.ok("produce", "t", "-p", 1, *"wxyz")
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-o", 3) == b"y\nz\n"


@pytest.mark.directory_only("Kafka renames no topics")
def test_several_topics_share_a_file_and_each_is_found_again(mk, cursor):
    mk.ok("produce", "a", "a1")
    mk.ok("produce", "b", "b1")
    assert mk.ok("consume", "a", "--cursor-file", cursor) == b"a1\n"
    assert mk.ok("consume", "-r", ".", "--cursor-file", cursor) == b"b1\n"
    mk.ok("produce", "c", "c1")
    mk.ok("topics", "rename", "a", "aa")
    mk.ok("produce", "aa", "a2")
    assert mk.ok("consume", "-r", ".", "--cursor-file", cursor) == b"a2\nc1\n"
    assert positions(cursor) == {("aa", 0): 2, ("b", 0): 1, ("c", 0): 1}


def test_partitions_that_were_added_are_read_from_their_start(mk, cursor):
    mk.ok("produce", "t", "a")
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-o", "end") == b""
    mk.ok("topics", "alter", "t", "--partitions", 2, "--yes")
    mk.ok("produce", "t", "-p", 1, "b")
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-o", "end") == b"b\n"


# Following.


def test_following_saves_while_nothing_comes_and_while_much_does(mk, cursor):
    mk.ok("produce", "t", "a")
    with mk.start("consume", "-r", ".", "-F", "--cursor-file", cursor, "-q") as consumer:
        read_until(consumer.stdout.fileno(), b"a\n")
        wait_for(lambda: positions(cursor) == {("t", 0): 1}, 5)
        mk.ok("produce", "t", "b")
        read_until(consumer.stdout.fileno(), b"b\n")
        mk.ok("produce", "u", "c")
        read_until(consumer.stdout.fileno(), b"c\n")
        wait_for(lambda: positions(cursor) == {("t", 0): 2, ("u", 0): 1}, 5)
        mk.ok("topics", "alter", "u", "--partitions", 2, "--yes")
        mk.ok("produce", "u", "-p", 1, "d")
        read_until(consumer.stdout.fileno(), b"d\n")
        wait_for(lambda: positions(cursor).get(("u", 1)) == 1, 5)
        consumer.kill()
    assert mk.ok("consume", "-r", ".", "--cursor-file", cursor) == b""
    for _ in range(4):
        mk.ok("produce", "t", stdin=numbers(0, 2000))
    with mk.start("consume", "t", "-F", "--cursor-file", cursor, "-J") as consumer:
        # Its reader is slow, so it never waits for records, and saves between two batches.
        count = 0
        while positions(cursor)["t", 0] == 2:
            piece = os.read(consumer.stdout.fileno(), 10_000)
            count += piece.count(b"\n")
            assert count < 8000
            time.sleep(0.02)
        consumer.kill()


@pytest.mark.parametrize(("name", "words"), [("SIGINT", []), ("SIGTERM", ["-F"]), ("SIGHUP", ["-J"]), ("SIGTERM", [])])
def test_a_signal_saves_what_was_written_to_the_record_and_is_died_of(mk, cursor, name, words):
    number = getattr(signal, name)
    mk.ok("produce", "t", stdin=numbers(0, 200_000))
    with mk.start("consume", "t", "--cursor-file", cursor, *words) as consumer:
        out = os.read(consumer.stdout.fileno(), 1000)
        time.sleep(random.Random(name + str(words)).random() * 0.3)
        consumer.send_signal(number)
        consumer.wait(20)
        assert consumer.returncode == -number
        out += read_to_end(consumer.stdout.fileno())
        assert consumer.stderr.read() == b""
    # What stands in the pipe was written, and is exactly what is noted.
    assert positions(cursor) == {("t", 0): out.count(b"\n")}
    assert out.endswith(b"\n") and out.count(b"\n") < 200_000
    assert out + mk.ok("consume", "t", "--cursor-file", cursor, *[word for word in words if word != "-F"]) == mk.ok(
        "consume", "t", *[word for word in words if word != "-F"]
    )


@pytest.mark.parametrize("words", ["", "-F -J", "--merge -G v=1"])
def test_a_closed_pipe_is_silent_and_notes_nothing_past_what_it_took(mk, cursor, words):
    mk.ok("produce", "t", stdin=numbers(0, 200_000))
    done = mk.shell(f"mk consume t --cursor-file {cursor} {words} | head -1; status")
    assert (done.status, done.err) == (141, "")
    assert done.out.count(b"\n") == 1
    noted = positions(cursor)["t", 0]
    # A pipe holds 64 KiB, and head read some of it.
    assert 0 < noted < 60_000
    with mk.start("consume", "t", "--cursor-file", cursor, *words.split()) as consumer:
        consumer.stdout.close()
        assert consumer.wait(20) == -signal.SIGPIPE
        assert consumer.stderr.read() == b""
    assert positions(cursor)["t", 0] == noted


def test_a_reader_that_goes_while_nothing_comes_ends_it(mk, cursor):
    mk.ok("produce", "t", "a")
    with mk.start("consume", "t", "-F", "--cursor-file", cursor) as consumer:
        read_until(consumer.stdout.fileno(), b"a\n")
        consumer.stdout.close()
        assert consumer.wait(20) == -signal.SIGPIPE
    assert positions(cursor) == {("t", 0): 1}


def test_max_time_notes_what_was_written(mk, cursor):
    mk.ok("produce", "t", stdin=numbers(0, 200_000))
    with mk.start("consume", "t", "--cursor-file", cursor, "--max-time", "500ms") as consumer:
        assert consumer.wait(20) == 0
        out = read_to_end(consumer.stdout.fileno())
    assert positions(cursor) == {("t", 0): out.count(b"\n")}
    assert out + mk.ok("consume", "t", "--cursor-file", cursor) == numbers(0, 200_000)


def test_kills_leave_nothing_out_and_repeat_only_what_was_in_flight(mk, cursor, tmp_path, thoroughness):
    chosen = random.Random(5)
    mk.ok("topics", "create", "t", "-p", 2)
    total = 0
    out = []
    for kill in range(thoroughness.pick(5, 8)):
        for partition in range(2):
            mk.ok("produce", "t", "-q", "-p", partition, stdin=numbers(total, total + 10_000))
        total += 10_000
        words = chosen.choice([[], ["-F"], ["--merge", "-F"], ["-n", "3000"]])
        noted = positions(cursor) if cursor.exists() else {}
        with (
            (tmp_path / f"out{kill}").open("wb") as file,
            mk.start("consume", "t", "-J", "--cursor-file", cursor, *words, stdout=file) as consumer,
            contextlib.suppress(subprocess.TimeoutExpired),
        ):
            consumer.wait(chosen.uniform(0.02, 0.9))
        data = (tmp_path / f"out{kill}").read_bytes()
        rows = [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
        for partition in range(2):
            of_it = [row["offset"] for row in rows if row["partition"] == partition]
            # It went on exactly where the file said, and the file never says more than was written.
            start = noted.get(("t", partition), 0)
            assert of_it == list(range(start, start + len(of_it)))
            if cursor.exists():
                assert positions(cursor).get(("t", partition), 0) <= start + len(of_it)
        out += [(row["partition"], row["offset"], row["payload"]) for row in rows]
    rest = mk.ok("consume", "t", "-J", "--cursor-file", cursor)
    out += [(row["partition"], row["offset"], row["payload"]) for row in map(json.loads, rest.splitlines())]
    assert set(out) == {(partition, offset, str(offset)) for partition in range(2) for offset in range(total)}
    assert len([path for path in cursor.parent.iterdir() if path.suffix == ".tmp"]) <= 3


# Whose it is.


def test_a_second_reader_is_refused_while_the_first_one_lives(mk, cursor):
    mk.ok("produce", "t", "a")
    with mk.start("consume", "t", "-F", "--cursor-file", cursor) as consumer:
        read_until(consumer.stdout.fileno(), b"a\n")
        done = mk("consume", "t", "--cursor-file", cursor)
        assert (done.status, done.out) == (75, b"")
        assert f"cursor file {cursor} is in use" in done.err and str(consumer.pid) in done.err
        assert "wait until it is done, or name another file" in done.err
        consumer.kill()
    assert mk("consume", "t", "--cursor-file", cursor).status == 0


def test_readers_that_start_at_once_print_each_record_once(mk, cursor):
    mk.ok("produce", "t", stdin=numbers(0, 1000))
    script = f"for i in 1 2 3 4 5 6; do mk consume t --cursor-file {cursor} -n 100 2>/dev/null & done; wait"
    lines = []
    for _ in range(3):
        lines += mk.shell(script).out.split()
    assert len(lines) == len(set(lines)) and len(lines) >= 300


def test_a_file_that_was_taken_away_meanwhile_is_not_written(mk, cursor):
    mk.ok("produce", "t", "a")
    with mk.start("consume", "t", "-F", "--cursor-file", cursor) as consumer:
        read_until(consumer.stdout.fileno(), b"a\n")
        wait_for(lambda: positions(cursor) == {("t", 0): 1})
        cursor.unlink()
        assert mk.ok("consume", "t", "--cursor-file", cursor) == b"a\n"
        mk.ok("produce", "t", "b")
        assert consumer.wait(20) == 75
        assert "replaced or removed" in consumer.stderr.read().decode()
    assert mk.ok("consume", "t", "--cursor-file", cursor) == b"b\n"


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_reader_who_may_write_nothing_else_can_keep_one(mk, for_reader, tmp_path):
    mk.ok("produce", "t", "a")
    copied, prefix = for_reader(mk)
    home = copied.directory.parent / "home"
    home.mkdir()
    if not os.geteuid():
        os.chown(home, 65534, 65534)
    path = home / "cursor"
    before = sorted(copied.directory.rglob("*"))
    assert copied.ok("consume", "t", "--cursor-file", path, prefix=prefix) == b"a\n"
    assert copied.ok("consume", "t", "--cursor-file", path, prefix=prefix) == b""
    assert sorted(copied.directory.rglob("*")) == before
    if not os.geteuid():
        done = copied("consume", "t", "--cursor-file", copied.directory / "cursor", prefix=prefix)
        assert (done.status, done.out) == (77, b"")
        assert "cannot write cursor file" in done.err and "nothing was printed" in done.err


def test_its_mode_stays(mk, cursor):
    mk.ok("produce", "t", "a")
    mk.ok("consume", "t", "--cursor-file", cursor)
    cursor.chmod(0o600)
    mk.ok("produce", "t", "a")
    mk.ok("consume", "t", "--cursor-file", cursor)
    assert stat.S_IMODE(cursor.stat().st_mode) == 0o600


# What does not fit.


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other", "directory", "link", "fifo"])
def test_a_damaged_file_is_65_and_stays_as_it_is(mk, cursor, tmp_path, damage):
    mk.ok("produce", "t", "a", "b")
    mk.ok("consume", "t", "--cursor-file", cursor, "-n", 1)
    data = cursor.read_bytes()
    changed = {"flipped": data.replace(b"offset=1", b"offset=2"), "cut": data[:-20], "empty": b"", "other": b"hello\n"}
    if damage in changed:
        cursor.write_bytes(changed[damage])
    else:
        cursor.rename(tmp_path / "real")
        {"directory": os.mkdir, "link": lambda path: os.symlink(tmp_path / "real", path), "fifo": os.mkfifo}[damage](
            cursor
        )
    done = mk("consume", "t", "--cursor-file", cursor)
    assert (done.status, done.out) == (65, b""), done
    assert str(cursor) in done.err and "Traceback" not in done.err and "fix: nothing was changed" in done.err
    if damage in changed:
        assert cursor.read_bytes() == changed[damage]


def test_a_cursor_of_another_directory_is_refused(mk, cursor, tmp_path):
    mk.ok("produce", "t", "a")
    mk.ok("consume", "t", "--cursor-file", cursor)
    before = cursor.read_bytes()
    mk.ok("produce", "t", "b", "-d", tmp_path / "other")
    done = mk("consume", "t", "--cursor-file", cursor, "-d", tmp_path / "other")
    assert (done.status, done.out) == (2, b"")
    assert "belongs to another log directory" in done.err
    assert cursor.read_bytes() == before


@pytest.mark.directory_only("Kafka renames no topics")
def test_a_topic_made_anew_is_noticed_and_read_from_its_start(mk, cursor):
    mk.ok("produce", "t", *"abc")
    mk.ok("consume", "t", "--cursor-file", cursor)
    mk.ok("topics", "delete", "t", "--yes")
    mk.ok("produce", "t", *"vwxyz")
    done = mk("consume", "t", "--cursor-file", cursor, "-o", "end")
    assert (done.status, done.out) == (0, b"v\nw\nx\ny\nz\n")
    assert done.err == (
        "mk: topic t is another one than the one that was read, which was deleted; reading it from its start\n"
    )
    done = mk("consume", "t", "--cursor-file", cursor)
    assert (done.status, done.out, done.err) == (0, b"", "")
    assert positions(cursor) == {("t", 0): 5} and len(cursor.read_text().splitlines()) == 4
    # One that has another name now keeps its position.
    mk.ok("topics", "rename", "t", "u")
    mk.ok("produce", "t", "new")
    done = mk("consume", "t", "--cursor-file", cursor, "-q")
    assert (done.out, done.err) == (b"new\n", "")
    assert mk.ok("consume", "u", "--cursor-file", cursor) == b""


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_log_that_was_cut_is_noticed_and_not_jumped_over(mk, cursor, tmp_path):
    mk.ok("produce", "t", *"ab")
    mk.ok("topics", "verify", "-q")
    subprocess.run(["cp", "-a", mk.directory, tmp_path / "copy"], check=True)
    mk.ok("produce", "t", *"cde")
    mk.ok("consume", "t", "--cursor-file", cursor)
    before = cursor.read_bytes()
    done = mk("consume", "t", "--cursor-file", cursor, "-d", tmp_path / "copy")
    assert (done.status, done.out) == (65, b"")
    assert f"cursor file {cursor} is at offset 5 of partition 0 of t" in done.err and "`-p 0 -o 2`" in done.err
    done = mk("consume", "t", "--cursor-file", cursor, "-d", tmp_path / "copy", "-o", "start", "-F")
    assert done.status == 65
    assert cursor.read_bytes() == before


def test_what_was_removed_before_it_was_read_is_named(mk, cursor):
    mk.ok("produce", "t", *"abcdef")
    mk.ok("consume", "t", "--cursor-file", cursor, "-n", 1)
    mk.ok("topics", "trim", "t", "--to", 4, "--yes")
    done = mk("consume", "t", "--cursor-file", cursor)
    assert (done.status, done.out) == (0, b"e\nf\n")
    assert done.err == "mk: t 0: offsets 1 to 3 are gone; reading on at 4\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--tail", "3"], "both say where to begin"), (["--reverse"], "one offset in each partition")],
)
def test_what_makes_no_sense_with_it_is_refused(mk, cursor, words, says):
    mk.ok("produce", "t", "a")
    done = mk("consume", "t", "--cursor-file", cursor, *words)
    assert (done.status, done.out) == (2, b"")
    assert says in done.err
    assert not cursor.exists()


def test_a_place_where_none_can_be_is_named(mk, cursor):
    mk.ok("produce", "t", "a")
    done = mk("consume", "t", "--cursor-file", cursor / "there")
    assert (done.status, done.out) == (73, b"") and "cannot make cursor file" in done.err
    assert mk("consume", "t", "--cursor-file", "").status == 2
    assert mk("consume", "t", "--cursor-file", f"{cursor.parent}/").status == 2
    done = mk("consume", "t", "--cursor-file", cursor.parent / ("x" * 255))
    assert (done.status, done.out) == (74, b"") and "nothing was printed" in done.err


def test_a_disk_that_takes_no_position_fails_the_command(mk, cursor):
    mk.ok("produce", "t", *"abc")
    mk.ok("consume", "t", "--cursor-file", cursor, "-n", 1)
    before = cursor.read_bytes()
    limited = ("prlimit", "--fsize=100")
    done = mk("consume", "t", "--cursor-file", cursor, prefix=limited)
    assert done.status == 74 and done.out == b"b\nc\n"
    assert f"cannot write cursor file {cursor}" in done.err and "is printed again" in done.err
    assert cursor.read_bytes() == before
    assert mk.ok("consume", "t", "--cursor-file", cursor) == b"b\nc\n"
