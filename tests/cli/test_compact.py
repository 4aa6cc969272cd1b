"""`mk topics compact`, what `mk topics clean` does of it, and what producers do: what they say, what they leave, how they end."""

import contextlib
import fcntl
import json
import os
import signal
import time

import pytest
from running import read_to_end
from test_remote import Remote, fake_ssh

SMALL = ("-c", "cleanup.policy=compact", "-c", "segment.bytes=4k")


def lines(start, stop, keys=7):
    return b"".join(b"k%d:%d %s\n" % (n % keys, n, b"x" * 50) for n in range(start, stop))


@pytest.fixture
def dirty(mk, made_once):
    """A topic with three sealed segments that were never compacted, and an active one."""
    return made_once(mk, make_dirty)


def make_dirty(mk):
    mk.ok("topics", "create", "t", *SMALL, "-c", "min.cleanable.dirty.ratio=1", "-c", "min.compaction.lag.ms=1h")
    for start in range(0, 160, 40):
        mk.ok("produce", "t", "-K", ":", stdin=lines(start, start + 40))
    assert len(mk.segments("t")) == 4
    mk.ok("topics", "alter", "t", "--unset", "min.compaction.lag.ms")


def values(mk, topic="t"):
    return [int(line.split()[0]) for line in mk.ok("consume", topic).splitlines()]


def test_it_keeps_the_last_of_each_key_and_says_what_went(dirty):
    done = dirty("topics", "compact", "t")
    assert (done.status, done.out) == (0, b"")
    (line,) = done.err.splitlines()
    assert line.startswith("mk: t 0: compacted up to offset 160: 153 records of 160 went, ")
    assert values(dirty) == list(range(153, 160))
    assert dirty.offsets("t") == [(0, 160)]
    assert dirty("topics", "compact", "t").err == "mk: t 0: not compacted: it is clean\n"
    assert dirty("topics", "compact", "t", "-q").err == ""


def test_for_programs(dirty):
    (document,) = json.loads(dirty.ok("topics", "compact", "t", "--json"))
    assert (document["topic"], document["partition"], document["cleaned_to"]) == ("t", 0, 160)
    assert (document["records_before"], document["records_after"]) == (160, 7)
    assert document["bytes_after"] < document["bytes_before"]
    assert (document["skipped"], document["error"]) == ("", None)


def test_a_dry_run_shows_how_much_is_new_and_changes_nothing(dirty):
    before = {path: path.read_bytes() for path in dirty.directory.rglob("*") if path.is_file()}
    (plan,) = json.loads(dirty.ok("topics", "compact", "--dry-run", "--json"))
    assert (plan["dirty_ratio"], plan["compacts"], plan["segments"], plan["cleaned_to"]) == (1.0, True, 4, 0)
    heading, row = dirty.ok("topics", "compact", "--dry-run").decode().splitlines()
    assert heading.split()[-3:] == ["DIRTY_RATIO", "COMPACTS", "WHY"]
    assert "100% of its sealed bytes are new, and the active segment is sealed first" in row
    assert before == {path: path.read_bytes() for path in dirty.directory.rglob("*") if path.is_file()}
    dirty.ok("topics", "compact", "t")
    (plan,) = json.loads(dirty.ok("topics", "compact", "t", "--dry-run", "--json"))
    assert (plan["dirty_ratio"], plan["compacts"], plan["cleaned_to"]) == (0.0, False, 160)


def test_a_topic_that_is_not_compacted_is_refused_by_name_and_left_alone_otherwise(dirty):
    dirty.ok("topics", "create", "plain")
    dirty.ok("produce", "plain", "-k", "k", "1", "2")
    done = dirty("topics", "compact", "plain", "t")
    assert done.status == 78
    assert "plain is not compacted" in done.err and "mk topics alter plain -c cleanup.policy=compact" in done.err
    assert values(dirty) == list(range(153, 160))
    for words in ((), ("-r", ".")):
        assert dirty("topics", "compact", *words).status == 0
    assert values(dirty, "plain") == [1, 2]
    done = dirty("topics", "compact", "-r", "plain")
    assert (done.status, done.err) == (0, "mk: no topic here has compact in its cleanup.policy\n")
    assert dirty("topics", "compact", "never").status == 66


def test_a_partition_that_stays_locked_is_left_out_and_named(mk):
    mk.ok("topics", "create", "t", *SMALL, "-p", 2)
    for partition in range(2):
        mk.ok("produce", "t", "-p", partition, "-K", ":", stdin=lines(0, 20))
    (locks,) = [path for path in (mk.directory / "locks").iterdir() if path.is_dir()]
    with (locks / "0").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = mk("topics", "compact", "t", "--lock-wait", "100ms")
    assert done.status == 75 and "partition 0 of t stayed locked" in done.err
    assert "t 1: compacted" in done.err
    assert values(mk) == [*range(20), *range(13, 20)]


def test_clean_compacts_where_enough_is_new(dirty):
    dirty.ok("produce", "t", "-K", ":", stdin=lines(160, 170))
    dirty.ok("topics", "compact", "t", "-q")
    dirty.ok("produce", "t", "-K", ":", stdin=lines(170, 210))
    dirty.ok("produce", "t", "-K", ":", stdin=lines(210, 250))  # This seals the one before.
    dirty.ok("topics", "alter", "t", "-c", "min.cleanable.dirty.ratio=0.99")
    table, plan = dirty.ok("topics", "clean", "t", "--dry-run").decode().split("\n\n")
    assert "less than min.cleanable.dirty.ratio, 99%" in plan and " no " in plan
    done = dirty("topics", "clean", "t")
    assert (done.status, done.out, done.err) == (0, b"", "")
    (document,) = json.loads(dirty.ok("topics", "clean", "t", "--json"))
    assert "less than min.cleanable.dirty.ratio" in document["compaction"]["skipped"] and document["error"] is None
    dirty.ok("topics", "alter", "t", "-c", "min.cleanable.dirty.ratio=0.5")
    (document,) = json.loads(dirty.ok("topics", "clean", "t", "--dry-run", "--json"))
    assert document["compaction"]["compacts"] is True
    assert "t 0: compacted up to offset 210" in dirty("topics", "clean").err
    # The active segment is not sealed for it.
    assert values(dirty) == [*range(203, 210), *range(210, 250)]


def test_clean_of_both_policies_removes_and_compacts(dirty):
    dirty.ok("topics", "alter", "t", "-c", "cleanup.policy=compact,delete", "-c", "retention.bytes=7k")
    err = dirty("topics", "clean").err.splitlines()
    assert "retention.bytes" in err[0] and "t 0: compacted" in err[1]
    start, end = dirty.offsets("t")[0]
    assert start > 0 and values(dirty) == [*range(113, 120), *range(120, 160)]
    assert end == 160


def test_clean_says_what_kept_it_from_compacting_and_has_removed_what_goes(dirty, tmp_path):
    dirty.ok("topics", "alter", "t", "-c", "cleanup.policy=compact,delete", "-c", "retention.bytes=7k")
    second = dirty.segments("t")[2]
    data = bytearray(second.read_bytes())
    data[200] ^= 1
    second.write_bytes(data)
    done = dirty("topics", "clean", "t")
    assert done.status == 65 and second.name in done.err
    assert dirty.offsets("t")[0][0] > 0
    (document,) = json.loads(dirty("topics", "clean", "t", "--json").out)
    assert document["error"] and document["compaction"]["error"]


def test_without_a_key_records_stay_that_were_there_before(mk):
    mk.ok("topics", "create", "t")
    mk.ok(
        "produce",
        "t",
        "-J",
        stdin=b'{"payload":"1"}\n{"key":"a","payload":"2"}\n{"payload":"3"}\n{"key":"a","payload":"4"}\n',
    )
    mk.ok("produce", "t", "-k", "", "5", "6")
    mk.ok("topics", "alter", "t", "-c", "cleanup.policy=compact")
    mk.ok("topics", "compact", "t")
    assert values(mk) == [1, 3, 4, 6]


def test_a_progress_bar_is_for_terminals(dirty, terminal):
    ours, theirs = terminal
    with dirty.start("topics", "compact", "t", stderr=theirs) as process:
        process.communicate(timeout=30)
    assert process.returncode == 0
    import os

    os.close(theirs)
    assert b"compacted up to offset 160" in read_to_end(ours)


def await_open(process, directory):
    """Wait until a command has something of the log directory open, or has ended."""
    limit = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < limit:
        with contextlib.suppress(OSError):  # What it closed meanwhile.
            fds = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
            if any(path.startswith(str(directory)) for path in fds):
                return
        time.sleep(0.002)


def test_ctrl_c_leaves_a_log_that_is_whole(mk):
    mk.ok(
        "topics",
        "create",
        "t",
        "-c",
        "cleanup.policy=compact",
        "-c",
        "segment.bytes=64k",
        "-c",
        "min.compaction.lag.ms=1h",
    )
    for start in range(0, 30_000, 600):
        mk.ok("produce", "t", "-K", ":", "--acks", 0, stdin=lines(start, start + 600, keys=5000))
    mk.ok("topics", "alter", "t", "-c", "min.compaction.lag.ms=0")
    for wait in (0, 0.05, 0.1, 0.15):
        with mk.start("topics", "compact", "t") as process:
            await_open(process, mk.directory)  # Before that Python starts, which ^C ends in its own way.
            time.sleep(wait)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            assert process.returncode in (0, -signal.SIGINT)
        last = {line.split()[0]: line for line in mk.ok("consume", "t", "-f", "%k %v\\n").splitlines()}
        assert sorted(int(line.split()[1]) for line in last.values()) == list(range(25_000, 30_000))
    mk.ok("topics", "compact", "t")
    assert values(mk) == list(range(25_000, 30_000))
    assert not list(mk.directory.rglob("*.cleaned"))


# By whoever begins a new segment.


@pytest.fixture(params=["here", "there"])
def side(request, mk, tmp_path):
    return mk if request.param == "here" else Remote(mk, fake_ssh(tmp_path))


@pytest.mark.parametrize("words", [(), ("--producer-id", "p"), ("--acks", 0)])
def test_whoever_begins_a_segment_compacts(mk, side, words):
    mk.ok("topics", "create", "t", *SMALL)
    numbered = "--producer-id" in words
    for run in range(6):
        start = 0 if numbered else 40 * run
        side.ok("produce", "t", "-q", "-K", ":", *words, stdin=lines(start, 40 * run + 40))
    # A far side may be at it for a moment when its client has ended.
    deadline = time.monotonic() + 30
    while len(values(mk)) > 7 + 2 * 40:
        assert time.monotonic() < deadline
    assert values(mk)[-40:] == list(range(200, 240))
    assert mk.offsets("t") == [(0, 240)]
    assert "no damage" in mk.ok("topics", "verify", "t").decode()


def test_a_stream_goes_on_when_it_has_compacted(mk):
    mk.ok("topics", "create", "t", *SMALL)
    with mk.start("produce", "t", "-K", ":", "-T") as producer:
        for start in range(0, 400, 40):
            data = lines(start, start + 40)
            producer.stdin.write(data)
            passed = b""
            while len(passed) < len(data):
                passed += producer.stdout.read(len(data) - len(passed))
            assert passed == data
        producer.stdin.close()
        assert producer.wait(30) == 0
    assert len(mk.segments("t")) < 5 and values(mk)[-40:] == list(range(360, 400))


def test_without_permission_or_room_to_compact_records_are_stored(mk):
    mk.ok("topics", "create", "t", *SMALL)
    # A directory in the place of what would be written.
    (mk.partition("t") / "00000000000000000000.log.cleaned").mkdir()
    for start in range(0, 160, 40):
        done = mk("produce", "t", "-K", ":", stdin=lines(start, start + 40))
        assert (done.status, done.err) == (0, "")
    assert values(mk) == list(range(160))
    done = mk("topics", "compact", "t")
    assert done.status in (65, 74) and "00000000000000000000.log.cleaned" in done.err


def test_a_topic_with_another_policy_is_never_compacted(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4k")
    for start in range(0, 160, 40):
        mk.ok("produce", "t", "-K", ":", stdin=lines(start, start + 40))
    mk.ok("topics", "clean")
    assert values(mk) == list(range(160))
    assert not list(mk.directory.rglob("cleaned")) and not list(mk.directory.rglob("*.cleaner"))


def test_producers_that_compact_at_the_same_time_lose_nothing(mk):
    """Each its own keys, in order; others compact and clean all the while, and somebody reads."""
    mk.ok("topics", "create", "t", *SMALL, "-c", "min.cleanable.dirty.ratio=0.1")
    with contextlib.ExitStack() as running:
        follower = running.enter_context(mk.start("consume", "t", "-F", "-f", "%k %v\\n", "--idle", "3s"))
        producers = [running.enter_context(mk.start("produce", "t", "-K", ":")) for _ in range(3)]
        for start in range(0, 600, 30):
            for number, producer in enumerate(producers):
                data = b"".join(b"p%d-%d:%d %s\n" % (number, n % 5, n, b"x" * 40) for n in range(start, start + 30))
                producer.stdin.write(data)
            if start % 90 == 0:
                mk.ok("topics", "compact" if start % 180 else "clean", "t", "-q")
        for producer in producers:
            producer.stdin.close()
            assert producer.wait(60) == 0, producer.stderr.read()
        read = follower.stdout.read()
        assert follower.wait(30) == 0, follower.stderr.read()
    mk.ok("topics", "compact", "t")
    expected = {f"p{number}-{n % 5}": n for number in range(3) for n in range(595, 600)}
    found = dict(line.split()[:2] for line in mk.ok("consume", "t", "-f", "%k %v\\n").decode().splitlines())
    assert {key: int(value) for key, value in found.items()} == expected
    assert len(values(mk)) == 15
    seen = {}
    for line in read.decode().splitlines():
        key, value = line.split()[:2]
        assert int(value) > seen.get(key, -1), "out of order, or twice"
        seen[key] = int(value)
    assert seen == expected
    assert "no damage" in mk.ok("topics", "verify", "t").decode()


def test_a_tombstone_goes_some_time_after_the_others_of_its_key(mk):
    mk.ok("topics", "create", "t", "-c", "cleanup.policy=compact", "-c", "min.cleanable.dirty.ratio=1")
    mk.ok("produce", "t", "-K", ":", "-Z", stdin=b"a:1\nb:2\na:\nc:3\n")
    mk.ok("topics", "compact", "t")
    assert mk.ok("consume", "t", "-f", "%o %k\\n") == b"1 b\n2 a\n3 c\n"
    assert mk("topics", "get", "t", "a").status == 3
    assert mk("topics", "clean", "t").err == ""
    (document,) = json.loads(mk.ok("topics", "clean", "t", "--dry-run", "--json"))
    assert document["compaction"]["compacts"] is False
    mk.ok("topics", "alter", "t", "-c", "delete.retention.ms=1")
    time.sleep(0.01)
    (document,) = json.loads(mk.ok("topics", "clean", "t", "--dry-run", "--json"))
    assert document["compaction"]["compacts"] is True and "tombstones" in document["compaction"]["why"]
    done = mk("topics", "clean", "t")
    assert "t 0: compacted up to offset 4: 1 record of 3 went, 1 tombstone among them" in done.err
    assert mk.ok("consume", "t", "-f", "%o %k\\n") == b"1 b\n3 c\n"
    assert "no record" in mk("topics", "get", "t", "a").err


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("cleanup.policy=compact, delete", "compact,delete"),
        ("cleanup.policy=both", None),
        ("cleanup.policy=", None),
        ("min.cleanable.dirty.ratio=0.25", "0.25"),
        ("min.cleanable.dirty.ratio=1.5", None),
        ("min.cleanable.dirty.ratio=-0", None),
        ("min.cleanable.dirty.ratio=nan", None),
        ("min.compaction.lag.ms=1h", 3_600_000),
        ("delete.retention.ms=2d", 172_800_000),
        ("delete.retention.ms=-1", None),
    ],
)
def test_what_the_settings_may_be(mk, setting, kept):
    done = mk("topics", "create", "t", "-c", setting)
    assert done.status == (78 if kept is None else 0), done
    if kept is None:
        assert setting.partition("=")[0] in done.err and not mk.directory.exists()
    else:
        (document,) = json.loads(mk.ok("topics", "describe", "t", "--json"))
        assert document["config"][setting.partition("=")[0]] == kept
