"""Disks that are full, that go away while mk is at it, or that are of another kind: said clearly, and nothing acknowledged lost."""

import contextlib
import json
import subprocess

import pytest
from history import parse_acks
from mounts import mounts  # noqa: F401  a fixture
from processes import LineSource, create_topic, end, kill_all, must, run, start, wait_until

from tests.proof.anomalies import History
from tests.proof.figures import count

pytestmark = pytest.mark.root
# Not btrfs, which writes nothing over in place: a commit needs a block there.
KINDS = pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs"])
DISKS = pytest.mark.parametrize("kind", ["ext4", "xfs"])
LINE = b"%06d " + b"x" * 992 + b"\n"


@pytest.fixture
def running():
    """Processes to be ended with the test, before its mounts are."""
    processes = []
    yield processes
    kill_all(processes)


def mounted(mounts, kind):  # noqa: F811
    return mounts.tmpfs() if kind == "tmpfs" else mounts.disk(kind)


def numbers(directory, *options):
    """Return what stands in the topic, as (offset, number)."""
    lines = must(directory, "consume", "t", "-f", "%o %v\\n", *options).stdout.splitlines()
    return [(int(offset), int(number)) for offset, number, *_ in map(str.split, lines)]


def committed(directory):
    """Return up to where the group has read."""
    ((row,),) = (
        group["offsets"] for group in json.loads(must(directory, "groups", "describe", "g", "-o", "--json").stdout)
    )
    return row["committed_offset"]


def close(stream):
    """Close the input of a process that may be gone."""
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def check_against(directory, sent, acks):
    """Assert that what one producer was told is stored is there, once, in its order, and nothing that was not sent."""
    history = History()
    for number in range(sent):
        history.sent("producer", 0, number)
    history.sent("other", 0, 999999)
    records = numbers(directory)
    at = dict(records)
    for _, first, last in acks:
        for offset in range(first, last + 1):
            assert offset in at, f"offset {offset} was acknowledged, and is not there"
            history.acknowledged(0, at[offset], offset)
    history.polled("reader", 0, records)
    history.check()
    count("acknowledged", history.acknowledged_count)
    return len(records)


@KINDS
@pytest.mark.every_case
def test_a_disk_without_a_byte_free_takes_commits_and_clean_and_trim_make_room(mounts, kind, running):  # noqa: F811
    point = mounted(mounts, kind)
    log = point.path / "log"
    create_topic(log, "t", segment_bytes=65536, min_free=0)
    must(log, "produce", "t", stdin=b"".join(LINE % number for number in range(500)))
    must(log, "consume", "t", "-g", "g", "-n", "10")
    # It is a member from before, and stands where its reader has it wait: on the disk as it is then, nobody could become one.
    member = start(log, "consume", "t", "-g", "g", "-F", stderr=subprocess.DEVNULL)
    running.append(member)
    source = LineSource(member.stdout)
    assert source.next()[:6] == b"000010"
    point.fill()
    produced = run(log, "produce", "t", "-v", stdin=b"".join(LINE % number for number in range(500, 40_000)))
    assert produced.status == 74, produced
    assert "No space left" in produced.stderr or "no room" in produced.stderr
    point.fill()
    assert [int(source.next()[:6]) for _ in range(11, 500)] == list(range(11, 500))
    wait_until(lambda: committed(log) >= 500)
    count("commits", 490)
    for words in (["topics"], ["groups", "describe", "g"], ["topics", "offsets", "t"], ["consume", "t", "-n", "1"]):
        must(log, *words)
    (row,) = json.loads(must(log, "topics", "offsets", "t", "--json").stdout)
    stored = row["high_watermark"]
    # Not all of it: that would take a new file, and xfs has no room for one.
    must(log, "topics", "trim", "t", "--to", str(stored - 1), "--yes")
    must(log, "topics", "clean")
    must(log, "produce", "t", f"{stored:06d} after")
    (point.path / "filler").unlink()
    must(log, "produce", "t", f"{stored + 1:06d} and more")
    assert [number for _, number in numbers(log)] == list(range(stored - 1, stored + 2))
    must(log, "topics", "verify", "t")
    kill_all([member])
    assert committed(log) >= 500


@DISKS
@pytest.mark.every_case
def test_a_disk_that_goes_away_and_comes_back_has_what_was_acknowledged(mounts, kind, running):  # noqa: F811
    """The device is pulled out: nothing of what was not on it by then is there when it is back, as after a power cut."""
    point = mounted(mounts, kind)
    log = point.path / "log"
    create_topic(log, "t", segment_bytes=65536, flush_ms=1)
    producer = start(log, "produce", "t", "-v", "--producer-id", "p")
    running.append(producer)
    member = start(log, "consume", "t", "-g", "g", "-F", stderr=subprocess.DEVNULL)
    running.append(member)
    sent, read = 0, []
    source = LineSource(member.stdout)
    while sent < 300:
        for _ in range(20):
            producer.stdin.write(LINE % sent)
            sent += 1
        producer.stdin.flush()
        while len(read) < sent - 100:
            read.append(int(source.next()[:6]))
    point.shut_down()
    count("faults")
    try:
        for number in range(sent, sent + 2000):
            producer.stdin.write(LINE % number)
    except BrokenPipeError:
        pass
    close(producer.stdin)
    producer.stdin = None
    broken = end(producer)
    assert broken.status == 74, broken
    assert "Input/output error" in broken.stderr
    refused = run(log, "produce", "t", "w")
    assert refused.status in (66, 73, 74), refused
    member.kill()
    read += [int(line[:6]) for line in end(member).stdout.splitlines() if len(line) > 900]
    point.unmount()
    point.mount()
    # Readers do not go beyond what `state` on the disk says until a writer has recovered. Not by the same input under its
    # id, which would store again what was lost.
    assert numbers(log) == [(number, number) for number in range(len(numbers(log)))]
    must(log, "produce", "t", "-p", "0", "999999 of somebody else")
    stored = check_against(log, sent + 2000, parse_acks(broken.stderr))
    # What the group has read by then does not vanish, and it goes on at or before where it was.
    assert stored >= len(read)
    lines = b"".join(LINE % number for number in range(sent + 2000))
    must(log, "produce", "t", "--producer-id", "p", stdin=lines)
    assert [number for _, number in numbers(log) if number != 999999] == list(range(sent + 2000))
    rest = [int(line[:6]) for line in must(log, "consume", "t", "-g", "g").stdout.splitlines()]
    assert [number for number in rest if number != 999999] == list(range(rest[0], sent + 2000))
    assert rest[0] <= len(read)
    count("commits", rest[0])
    must(log, "topics", "verify", "t")


def test_a_mount_that_is_taken_away_under_a_follower(mounts, running):  # noqa: F811
    """Lazily, as administrators do: who has it open goes on there; who comes then finds no log, and is told so."""
    point = mounts.disk("ext4")
    log = point.path / "log"
    must(log, "produce", "t", "before")
    follower = start(log, "consume", "t", "-F")
    producer = start(log, "produce", "t", "--lock-wait", "10s")
    running += [follower, producer]
    source = LineSource(follower.stdout)
    assert source.next() == b"before"
    producer.stdin.write(b"meanwhile\n")
    producer.stdin.flush()
    assert source.next() == b"meanwhile"
    point.unmount("-l")
    assert run(log, "consume", "t").status == 66
    assert run(log, "topics", "describe", "t").status == 66
    producer.stdin.write(b"after\n")
    producer.stdin.close()
    producer.stdin = None
    produced = end(producer)
    kill_all([follower])
    wait_until(lambda: not is_mounted(point.image))
    point.mount()
    values = must(log, "consume", "t").stdout.split()
    assert values == ["before", "meanwhile", "after"][: len(values)]
    assert produced.status == 0 and len(values) == 3 or produced.status in (66, 74) and len(values) == 2, produced
    must(log, "produce", "t", "again")
    must(log, "topics", "verify", "t")


def is_mounted(image):
    """Tell whether a loop device still has a file."""
    shown = subprocess.run(["losetup", "-j", image], capture_output=True, text=True, check=True).stdout
    return bool(shown.strip())


def test_a_layer_over_a_log_is_a_log_of_its_own(mounts, tmp_path, running):  # noqa: F811
    """As in a container: what is written is written above, and those below see nothing of it."""
    below = tmp_path / "below" / "log"
    must(below, "produce", "t", "a", "b")
    must(below, "consume", "t", "-g", "g", "-n", "1")
    point = mounts.overlay(below.parent)
    log = point.path / "log"
    with_file_open = start(log, "produce", "t")
    running.append(with_file_open)
    must(log, "produce", "t", "c")
    with_file_open.stdin.write(b"d\n")
    with_file_open.stdin.close()
    with_file_open.stdin = None
    assert end(with_file_open).status == 0
    assert must(log, "consume", "t").stdout.split() == ["a", "b", "c", "d"]
    assert must(log, "consume", "t", "-g", "g").stdout.split() == ["b", "c", "d"]
    # A directory of the lower layer cannot be moved. Nothing happens to it then.
    for words in (["rename", "t", "u"], ["delete", "u", "--yes"]):
        done = run(log, "topics", *words)
        if done.status:
            assert done.status == 74 and "cross-device" in done.stderr, done
            assert must(log, "consume", "t").stdout.split() == ["a", "b", "c", "d"]
            break
    must(log, "topics", "verify")
    assert must(below, "consume", "t").stdout.split() == ["a", "b"]
    assert must(below, "consume", "t", "-g", "g").stdout.split() == ["b"]
    must(below, "topics", "verify")


READING = [
    ["consume", "t"],
    ["consume", "t", "-o", "group:g"],
    ["topics"],
    ["topics", "describe", "t"],
    ["topics", "offsets", "t"],
    ["topics", "verify"],
    ["topics", "dump", "t"],
    ["groups"],
    ["groups", "describe", "g"],
]
WRITING = [
    ["produce", "t", "w"],
    ["produce", "new", "w"],
    ["consume", "t", "-g", "g"],
    ["consume", "t", "-g", "new"],
    ["topics", "create", "new"],
    ["topics", "delete", "t", "--yes"],
    ["topics", "alter", "t", "-c", "retention.ms=1d"],
    ["topics", "trim", "t", "--to", "1", "--yes"],
    ["topics", "rename", "t", "u"],
    ["groups", "reset", "g", "--to", "0", "--yes"],
    ["groups", "delete", "g", "--yes"],
]


@pytest.mark.parametrize("how", ["mount", "modes"])
@pytest.mark.every_case
def test_what_may_not_be_written_to_can_be_read(mounts, tmp_path, how):  # noqa: F811
    log = tmp_path / "log"
    must(log, "produce", "t", "a", "b")
    must(log, "consume", "t", "-g", "g", "-n", "1")
    prefix = ()
    if how == "mount":
        place, why = mounts.read_only(log).path, "Read-only file system"
    else:
        place, why = log, ""
        # root may do what modes forbid; but not without its capabilities.
        prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
        subprocess.run(["chmod", "-R", "a-w", log], check=True)
        if run(place, "produce", "t", "x", prefix=prefix).status == 0:
            pytest.skip("root cannot be kept from writing here")
    for words in READING:
        assert must(place, *words, prefix=prefix).stdout
    for words in WRITING:
        done = run(place, *words, prefix=prefix)
        assert done.status == 77, (words, done)
        assert done.stderr.count("mk: error: ") == 1, done
        assert why in done.stderr or "you may not" in done.stderr or "closed" in done.stderr, done
        count("faults")
    subprocess.run(["chmod", "-R", "u+w", log], check=True)
    assert must(log, "consume", "t", "-g", "g").stdout == "b\n"
    must(log, "produce", "t", "c")
    must(log, "topics", "verify")
