"""`mk topics clean` and `mk topics trim` as processes: what they say, what they leave, how they end."""

import contextlib
import fcntl
import json
import shutil
import time

import pytest
from running import Mk

HOUR = 3600


@pytest.fixture
def mk(tmp_path):
    return Mk(tmp_path / "log")


def fill(mk, topic, count, *, partition="0"):
    """Produce records of 3000 bytes, each into a segment of its own if these have 4 KiB."""
    for number in range(count):
        mk.ok("produce", topic, "-p", partition, stdin=b"%d " % number + b"x" * 3000)


def segments(mk, topic, partition=0):
    folder = mk.directory / "topics" / topic / str(partition)
    return sorted(int(path.stem) for path in folder.glob("*.log"))


@contextlib.contextmanager
def locked(path):
    """Hold a lock as a writer would that does not let go."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def large(mk, made_once):
    """Two partitions over their limit of 7000 bytes, as they are when the limit was set only now."""
    return made_once(mk, make_large)


def make_large(mk):
    mk.ok("topics", "create", "t", "-p", "2", "-c", "segment.bytes=4k", "-c", "retention.ms=-1")
    fill(mk, "t", 5)
    fill(mk, "t", 4, partition="1")
    mk.ok("topics", "alter", "t", "-c", "retention.bytes=7000", "--yes")


def test_a_dry_run_says_what_would_go_and_why_the_rest_stays(large):
    done = large("topics", "clean", "--dry-run")
    assert (done.status, done.err) == (0, "")
    heading, *rows = done.out.decode().splitlines()
    assert heading.split() == ["TOPIC", "PARTITION", "SEGMENT", "LAST_OFFSET", "SIZE", "GOES", "WHY"]
    goes = [row.split()[6] for row in rows]
    assert goes == ["yes", "yes", "no", "no", "no", "yes", "no", "no", "no"]
    assert "the log has 7000 bytes without it" in rows[0]
    assert "below retention.bytes, 7000" in rows[2]
    assert "a segment before it stays" in rows[3]
    assert segments(large, "t") == [0, 1, 2, 3, 4]
    documents = json.loads(large.ok("topics", "clean", "--dry-run", "--json"))
    assert [len(document["removed"]) for document in documents] == [2, 1]
    assert documents[0]["removed"][0]["reason"] == "retention.bytes"
    assert documents[0]["log_start_offset"] == 2


def test_where_only_compaction_removes_records_no_limit_does_and_trim_still_does(large):
    large.ok("topics", "alter", "t", "-c", "cleanup.policy=compact", "-c", "retention.ms=1")
    done = large("topics", "clean", "--dry-run")
    table, compaction = done.out.decode().split("\n\n")
    assert [row.split()[6] for row in table.splitlines()[1:]] == ["no"] * 9
    assert compaction.split()[:5] == ["TOPIC", "PARTITION", "DIRTY_RATIO", "COMPACTS", "WHY"]
    assert done.out.count(b"with cleanup.policy=compact no limit removes records") == 2
    assert (large("topics", "clean").out, segments(large, "t")) == (b"", [0, 1, 2, 3, 4])
    # Nor does whoever begins a new segment.
    large.ok("produce", "t", "-p", "0", "-k", "k", stdin=b"x" * 3000)
    assert segments(large, "t") == [0, 1, 2, 3, 4, 5]
    large.ok("topics", "trim", "t", "--to", "2", "-p", "0", "--yes")
    assert segments(large, "t") == [2, 3, 4, 5]
    large.ok("topics", "alter", "t", "-c", "cleanup.policy=compact,delete", "-c", "retention.ms=-1")
    assert "retention.bytes" in large("topics", "clean").err
    assert segments(large, "t") == [3, 4, 5]


def test_it_says_on_stderr_what_it_removed_and_nothing_where_there_was_nothing(large):
    done = large("topics", "clean")
    assert (done.status, done.out) == (0, b"")
    assert done.err.splitlines() == [
        "mk: t 0: removed 2 segments, offsets 0 to 1, 6.146 KiB (retention.bytes)",
        "mk: t 1: removed 1 segment, offsets 0 to 0, 3.073 KiB (retention.bytes)",
    ]
    assert segments(large, "t") == [2, 3, 4]
    done = large("topics", "clean")
    assert (done.status, done.out, done.err) == (0, b"", "")
    assert [json.loads(line)["offset"] for line in large.ok("consume", "t", "-p", "0", "-J").splitlines()] == [2, 3, 4]
    done = large("consume", "t", "-p", "0", "-o", "0")
    assert done.err == "mk: t 0: offsets 0 to 1 are gone; reading on at 2\n"
    assert "2 " in large.ok("topics", "offsets", "t").decode()


def test_with_q_it_is_silent(large):
    done = large("topics", "clean", "-q")
    assert (done.status, done.out, done.err) == (0, b"", "")
    assert segments(large, "t") == [2, 3, 4]


def test_json_says_what_was_done(large):
    first, second = json.loads(large.ok("topics", "clean", "--json", "-q"))
    assert (first["topic"], first["partition"], first["log_start_offset"], first["rolled"]) == ("t", 0, 2, False)
    assert [segment["segment"] for segment in first["removed"]] == [0, 1]
    assert [segment["segment"] for segment in first["kept"]] == [2, 3, 4]
    assert first["bytes"] == sum(segment["size_bytes"] + 16 for segment in first["removed"])
    assert first["error"] is None and second["files"] == 2


def test_topics_are_chosen_by_name_and_by_regex(mk):
    for name in ("app", "apple", "web"):
        mk.ok("topics", "create", name, "-c", "segment.bytes=4k", "-c", "retention.ms=-1")
        fill(mk, name, 3)
        mk.ok("topics", "alter", name, "-c", "retention.bytes=0", "--yes")
    mk.ok("topics", "clean", "app")
    assert (segments(mk, "app"), segments(mk, "apple")) == ([3], [0, 1, 2])
    mk.ok("topics", "clean", "-r", "^app")
    assert (segments(mk, "apple"), segments(mk, "web")) == ([3], [0, 1, 2])
    done = mk("topics", "clean", "none", "web")
    assert done.status == 66
    assert "no topic none" in done.err
    assert segments(mk, "web") == [3]
    assert mk("topics", "clean", "-r", "(").status == 2


def test_a_quiet_topic_loses_what_is_too_old(mk):
    mk.ok("topics", "create", "t", "-c", "retention.ms=1")
    mk.ok("produce", "t", "a", "b")
    time.sleep(0.01)
    done = mk("topics", "clean")
    assert done.err.splitlines()[0] == "mk: t 0: sealed the active segment"
    assert mk.ok("consume", "t") == b""
    assert segments(mk, "t") == [2]
    mk.ok("produce", "t", "c")
    assert json.loads(mk.ok("consume", "t", "-J"))["offset"] == 2


def test_a_sealed_topic_is_cleaned_too(large):
    large.ok("topics", "seal", "t")
    large.ok("topics", "clean")
    assert segments(large, "t") == [2, 3, 4]
    large.ok("topics", "trim", "t", "--to", "end", "--yes")
    assert segments(large, "t") == [5]


def test_a_locked_partition_is_named_and_the_others_are_cleaned(large):
    (lock,) = (large.directory / "locks").glob("*/0")
    with locked(lock):
        done = large("topics", "clean", "-q", "--lock-wait", "0")
    assert done.status == 75
    assert "partition 0 of t stayed locked" in done.err
    assert "what is not removed is whole" in done.err and "append" not in done.err
    assert segments(large, "t", 0) == [0, 1, 2, 3, 4]
    assert segments(large, "t", 1) == [1, 2, 3]


def test_what_killed_processes_left_is_removed(mk):
    mk.ok("produce", "t", "v")
    topics = mk.directory / "topics"
    (topics / ".deleted-00000000000000000000000000000000" / "0").mkdir(parents=True)
    (topics / ".tmp-00000000000000000000000000000001").mkdir()
    (topics / "t" / "0" / ".tmp-0123456789abcdef").write_bytes(b"x")
    done = mk("topics", "clean")
    assert done.status == 0
    assert "mk: t 0: removed 1 file left behind, " in done.err
    assert "mk: removed what 2 broken off" in done.err
    assert sorted(path.name for path in topics.iterdir()) == ["t"]
    assert not list((topics / "t" / "0").glob(".tmp-*"))


def test_damage_in_one_partition_does_not_keep_the_others_from_being_cleaned(large):
    (large.directory / "topics/t/0/epochs").write_bytes(b"?")
    done = large("topics", "clean")
    assert done.status == 65
    assert segments(large, "t", 1) == [1, 2, 3]


def test_what_is_wrong_with_all_partitions_is_said_once(large):
    shutil.rmtree(large.directory / "locks")
    done = large("topics", "clean")
    assert done.status == 65
    assert done.err.count("locks is damaged") == 1, done.err


def test_whoever_may_only_read_may_look(large, for_reader):
    mk, as_reader = for_reader(large)
    assert mk("topics", "clean", "--dry-run", prefix=as_reader).status == 0
    assert mk("topics", "clean", prefix=as_reader).status == 77


# Trimming.


@pytest.fixture
def hundred(mk, made_once):
    """Two partitions of a hundred records, in segments of ten or twenty."""
    return made_once(mk, make_hundred)


def make_hundred(mk):
    mk.ok("topics", "create", "t", "-p", "2", "-c", "segment.bytes=4k")
    for partition in ("0", "1"):
        for start in range(0, 100, 10):
            lines = b"".join(b"%d %s\n" % (number, b"x" * 200) for number in range(start, start + 10))
            mk.ok("produce", "t", "-p", partition, stdin=lines)


def first(mk, partition):
    return json.loads(mk.ok("topics", "offsets", "t", "--json"))[partition]["log_start_offset"]


@pytest.mark.parametrize(
    ("spec", "starts"),
    [
        ("25", (25, 25)),
        ("-10", (90, 90)),
        ("end-1", (99, 99)),
        ("+7", (7, 7)),
        ("end", (100, 100)),
        ("start", (0, 0)),
        ("0:33,1:end", (33, 100)),
        ("1:5", None),
        ("@2020-01-01", (0, 0)),
        ("@2100-01-01", (100, 100)),
    ],
)
def test_the_log_begins_where_it_was_trimmed_to(hundred, spec, starts):
    done = hundred("topics", "trim", "t", "--to", spec, "--yes")
    if starts is None:
        assert done.status == 2  # A range, since only a comma makes a list of partitions.
        return
    assert done.status == 0, done.err
    assert (first(hundred, 0), first(hundred, 1)) == starts
    for partition, start in enumerate(starts):
        values = hundred.ok("consume", "t", "-p", str(partition)).split(b"\n")[:-1]
        assert [int(value.split()[0]) for value in values] == [*range(start, 100)]
        assert len(hundred.ok("consume", "t", "-p", str(partition), "--tail", "50").splitlines()) == min(
            50, 100 - start
        )
    hundred.ok("topics", "verify", "t")
    hundred.ok("produce", "t", "-p", "0", "more")
    assert hundred.ok("consume", "t", "-p", "0", "-o", "-1") == b"more\n"


def test_only_the_partitions_that_are_named(hundred):
    hundred.ok("topics", "trim", "t", "--to", "50", "-p", "1", "--yes")
    assert (first(hundred, 0), first(hundred, 1)) == (0, 50)
    assert hundred("topics", "trim", "t", "--to", "50", "-p", "2", "--yes").status == 66
    assert hundred("topics", "trim", "t", "--to", "0:5,1:6", "-p", "1", "--yes").status == 2


def test_nothing_goes_without_a_yes(hundred):
    done = hundred("topics", "trim", "t", "--to", "50")
    assert done.status == 2
    assert "needs --yes" in done.err
    assert first(hundred, 0) == 0
    done = hundred("topics", "trim", "t", "--to", "50", "--dry-run")
    assert done.status == 0
    assert [line.split() for line in done.out.decode().splitlines()] == [
        ["TOPIC", "PARTITION", "LOG_START_OFFSET", "HIGH_WATERMARK", "TO", "RECORDS"],
        ["t", "0", "0", "100", "50", "50"],
        ["t", "1", "0", "100", "50", "50"],
    ]
    assert first(hundred, 0) == 0


def test_where_there_is_nothing_to_remove_nobody_is_asked(hundred):
    done = hundred("topics", "trim", "t", "--to", "start")
    assert (done.status, done.out, done.err) == (0, b"", "")


def test_beyond_the_end_of_one_partition_nothing_is_removed_from_any(hundred):
    hundred.ok("produce", "t", "-p", "0", "more")
    done = hundred("topics", "trim", "t", "--to", "101", "--yes")
    assert done.status == 66
    assert "partition 1 of t has no offset 101" in done.err
    assert "--to end" in done.err and "nothing was removed" in done.err and "-o start" not in done.err
    assert first(hundred, 0) == 0


def test_a_partition_that_cannot_be_trimmed_is_named_and_the_others_are(hundred):
    (lock,) = (hundred.directory / "locks").glob("*/0")
    with locked(lock):
        done = hundred("topics", "trim", "t", "--to", "50", "--yes", "--lock-wait", "0")
        again = hundred("topics", "trim", "t", "--to", "60", "--yes", "--lock-wait", "0", "--json")
    assert (done.status, again.status) == (75, 75)
    assert "mk: t 0: not done\n" in done.err and "mk: t 1: not done" not in done.err
    assert "what is not removed is whole" in done.err
    assert [(row["partition"], row["to"], row["records"]) for row in json.loads(again.out)] == [(1, 60, 10)]
    assert (first(hundred, 0), first(hundred, 1)) == (0, 60)


def test_a_trim_as_json(hundred):
    rows = json.loads(hundred.ok("topics", "trim", "t", "--to", "0:50,1:0", "--yes", "--json"))
    assert [(row["partition"], row["to"], row["records"]) for row in rows] == [(0, 50, 50), (1, 0, 0)]
    assert rows[0]["bytes"] > 4096 and rows[1]["bytes"] == 0


def test_a_follower_goes_on_and_says_what_it_missed(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4k")
    fill(mk, "t", 4)
    mk.ok("topics", "trim", "t", "--to", "2", "--yes")
    done = mk("consume", "t", "-o", "1", "-F", "-n", "2")
    assert done.err == "mk: t 0: offsets 1 to 1 are gone; reading on at 2\n"
    assert [line.split()[0] for line in done.out.splitlines()] == [b"2", b"3"]


# A full disk.


def test_the_reserve_is_a_setting(mk):
    mk.ok("produce", "t", "before")
    mk.ok("topics", "alter", "t", "-c", f"min.free={1 << 56}", "--yes")
    done = mk("produce", "t", "v")
    assert done.status == 74
    assert "mk: 0 records stored" in done.err
    assert "are kept free (min.free)" in done.err
    assert "`mk topics clean`" in done.err
    assert mk.ok("consume", "t") == b"before\n"
    mk.ok("topics", "alter", "t", "-c", "min.free=0", "--yes")
    mk.ok("produce", "t", "v")
