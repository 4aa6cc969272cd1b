"""Snapshots while producers and members of a group run at full speed and topics are changed; killed and failed at any call."""

import fcntl
import json
import random
import shutil
import signal
import subprocess
import threading
from collections import defaultdict

import pytest
from history import verify
from injection import fail_at, kill_at, needs_strace, points_of, to_kill_at
from processes import LineSource, create_topic, end, kill_all, must, run, start, wait_until

import mk
from tests.proof.figures import count

PARTITIONS = 3


class Acks(threading.Thread):
    """Notes what a producer's -v says is stored: of each partition, up to where."""

    def __init__(self, process):
        super().__init__()
        self._lines = LineSource(process.stderr)
        self.ends = defaultdict(int)
        self.start()

    def run(self):
        while (line := self._lines.next()) is not None:
            words = line.split()
            if len(words) == 4 and words[3].isdigit():
                partition = int(words[1])
                self.ends[partition] = max(self.ends[partition], int(words[3]) + 1)


class Source(threading.Thread):
    """Feeds a producer for ever, as fast as it takes it."""

    def __init__(self, process, name):
        super().__init__()
        self._process = process
        self._name = name
        self.stopping = False
        self.start()

    def run(self):
        number = 0
        while not self.stopping:
            lines = [b"k%d:%s-%d %s\n" % (n % 50, self._name, n, b"x" * 80) for n in range(number, number + 100)]
            number += 100
            try:
                self._process.stdin.write(b"".join(lines))
                self._process.stdin.flush()
            except BrokenPipeError:
                return  # It ended, and the test shows why.
        self._process.stdin.close()


class Load:
    """Two producers, and two members of group g, at full speed for a `with` block."""

    def __init__(self, directory, acks="1"):
        self.directory = directory
        self.processes = [start(directory, "produce", "t", "-K", ":", "-v", "--acks", acks) for _ in range(2)]
        self.acks = [Acks(process) for process in self.processes]
        self.sources = [Source(process, b"p%d" % number) for number, process in enumerate(self.processes)]
        self.members = [
            start(directory, "consume", "t", "-g", "g", "-F", "-q", stdout=subprocess.DEVNULL) for _ in range(2)
        ]

    def __enter__(self):
        return self

    def acknowledged(self):
        return {number: max(acks.ends[number] for acks in self.acks) for number in range(PARTITIONS)}

    def __exit__(self, *exc):
        for source in self.sources:
            source.stopping = True
            source.join()
        for process, acks in zip(self.processes, self.acks):
            acks.join()
            assert process.wait(60) == 0
        for member in self.members:
            member.send_signal(signal.SIGTERM)
        for member in self.members:
            member.wait(60)
        kill_all([*self.processes, *self.members])


def snapshot(directory, target, *words):
    return must(directory, "topics", "snapshot", str(target), "--json", *words)


def found_in(directory):
    """Return log start, high watermark and committed offset of each partition."""
    with mk.connect(str(directory)) as cluster:
        rows = {row["partition"]: (row["log_start_offset"], row["high_watermark"]) for row in cluster.offsets("t")}
        committed = dict.fromkeys(rows, 0)
        if "g" in cluster.group_names():
            for row in cluster.describe_group("g")["offsets"]:
                assert not row["problem"], row
                committed[row["partition"]] = max(row["committed_offset"] or 0, 0)
    return {number: (*rows[number], committed[number]) for number in rows}


def findings(directory):
    done = must(directory, "topics", "verify", "--json")
    return json.loads(done.stdout)["findings"]


def goes_on(directory):
    """Have group g read on in a snapshot, and return the first offset that it got of each partition, and how many."""
    first, count = {}, defaultdict(int)
    for line in must(directory, "consume", "t", "-g", "g", "-J").stdout.splitlines():
        record = json.loads(line)
        first.setdefault(record["partition"], record["offset"])
        count[record["partition"]] += 1
    return first, count


@pytest.mark.parametrize("acks", ["1", "0"])
def test_a_snapshot_beside_full_speed_has_what_was_acknowledged_and_no_commit_ahead(tmp_path, thoroughness, acks):
    directory = tmp_path / "log"
    create_topic(directory, "t", PARTITIONS, segment_bytes=1 << 18)
    with Load(directory, acks) as load:
        for number in range(thoroughness.pick(2, 60)):
            # Each of them has something new, and members have begun.
            before = load.acknowledged()
            wait_until(lambda: load.acknowledged() != before and (directory / "groups/g/claims").exists())  # noqa: B023
            acknowledged = load.acknowledged()
            target = tmp_path / f"snapshot-{number}"
            snapshot(directory, target)
            assert findings(target) == []
            found = found_in(target)
            for partition, (_, end_offset, committed) in found.items():
                assert acknowledged[partition] <= end_offset
                assert committed <= end_offset
            assert len(must(target, "consume", "t").stdout.splitlines()) == sum(row[1] for row in found.values())
            # It is written to in the live directory's place, here as if that were gone.
            must(target, "produce", "t", "-p", "0", "more")
            first, count = goes_on(target)
            for partition, (_, end_offset, committed) in found.items():
                left = end_offset + (partition == 0) - committed
                assert count[partition] == left
                assert first.get(partition, committed) == committed
            verify(target, "t")
            shutil.rmtree(target)
    verify(directory, "t")
    assert found_in(directory)[0][1] == max(acks.ends[0] for acks in load.acks)


def change_all_the_time(directory, stop):
    """Retention, compaction, new segments, and topics that come, go and change their names."""
    chosen = random.Random(5)
    while not stop.is_set():
        run(directory, "topics", "compact", "t")
        run(directory, "topics", "clean")
        run(directory, "topics", "trim", "u", "--to", "-100", "--yes")
        new = f"n{chosen.randrange(3)}"
        run(directory, "topics", "rename", "u", "v")
        run(directory, "produce", new, "x")
        run(directory, "topics", "rename", "v", "u")
        run(directory, "topics", "delete", new, "--yes")
        run(directory, "topics", "alter", "u", "-c", "retention.bytes=40k")


def test_a_snapshot_beside_all_that_changes_topics_is_whole(tmp_path, thoroughness):
    directory = tmp_path / "log"
    create_topic(directory, "t", PARTITIONS, segment_bytes=1 << 14, cleanup_policy="compact")
    create_topic(directory, "u", 2, segment_bytes=4096)
    stop = threading.Event()
    changes = threading.Thread(target=change_all_the_time, args=(directory, stop))
    changes.start()
    writer = start(directory, "produce", "t", "-K", ":", "-q")
    source = Source(writer, b"p")
    try:
        for number in range(thoroughness.pick(4, 60)):
            must(directory, "topics", "list")
            run(directory, "produce", "u", stdin=b"".join(b"%d %s\n" % (n, b"y" * 50) for n in range(200)))
            target = tmp_path / f"snapshot-{number}"
            snapshot(directory, target)
            assert [one for one in findings(target) if one["severity"] != "note"] == []
            names = set(must(target, "topics", "-q").stdout.split())
            assert {"t"} < names and names & {"u", "v"}
            for name in names:
                must(target, "consume", name)
            assert not list(target.glob("**/.tmp-*")) and not list(target.glob("**/*.cleaned"))
            must(target, "topics", "create", "w")
            shutil.rmtree(target)
    finally:
        stop.set()
        source.stopping = True
        source.join()
        changes.join()
        kill_all([writer])
    verify(directory, "t")


# Killed, and refused.


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A directory with one of everything."""
    directory = tmp_path_factory.mktemp("template") / "log"
    create_topic(directory, "t", 2, segment_bytes=4096)
    for number in range(12):
        must(directory, "produce", "t", "-p", str(number % 2), stdin=b"%d %s\n" % (number, b"x" * 900))
    must(directory, "produce", "t", "-p", "0", "--producer-id", "id", stdin=b"one\ntwo\n")
    must(directory, "consume", "t", "-g", "g", "-n", "5")
    must(directory, "groups", "reset", "other", "t", "--to", "2", "--yes")
    must(directory, "topics", "create", "empty")
    must(directory, "replicate", str(directory), str(directory.parent / "follower"))
    (directory / "quarantine/t-0-3-0-00000001.log").write_bytes(b"cut")
    return directory


def content(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def check_whole(target):
    assert findings(target) == []
    with mk.connect(str(target)) as cluster:
        assert cluster.topic_names() == ["empty", "t"]
        assert [row["high_watermark"] for row in cluster.offsets("t")] == [8, 6]
        assert cluster.group_names() == ["g", "other"]
        assert sum(row["committed_offset"] for row in cluster.describe_group("g")["offsets"]) == 5
        assert len(cluster.group_changes("other")) == 1
    assert (target / "quarantine/t-0-3-0-00000001.log").read_bytes() == b"cut"
    assert len(list(target.glob("replicas/*/follower"))) == 1
    assert not list(target.glob("*.unfinished"))


@needs_strace
def test_killed_at_any_call_the_directory_is_as_it_was_and_the_next_snapshot_works(template, tmp_path, thoroughness):
    directory, target = tmp_path / "log", tmp_path / "snapshot"
    shutil.copytree(template, directory)
    before = content(directory)
    words = ["topics", "snapshot", str(target)]
    points = points_of(tmp_path, ["-d", str(directory), *words])
    assert content(directory) == before
    check_whole(target)
    for point in to_kill_at(points, thoroughness, count=9):
        shutil.rmtree(target, ignore_errors=True)
        kill_at(point, directory, words)
        assert content(directory) == before, point
        again = run(directory, *words)
        if again.status == 73:
            # It was whole, and the last thing to do was to say so.
            assert (target / "mk.json").exists(), (point, again)
        else:
            assert again.status == 0, (point, again)
        for path in target.glob("*.unfinished"):
            path.unlink()
        check_whole(target)
        assert content(directory) == before, point
        count("kills")
    print(f"{len(points)} points")


@needs_strace
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_refuses_any_call_leaves_no_snapshot_and_nothing_else(template, tmp_path, thoroughness, error):
    directory, target = tmp_path / "log", tmp_path / "snapshot"
    shutil.copytree(template, directory)
    before = content(directory)
    words = ["topics", "snapshot", str(target)]
    calls = ["pwrite64", "fsync", "mkdir", "mkdirat", "linkat", "copy_file_range", "rename", "renameat"]
    points = points_of(tmp_path, ["-d", str(directory), *words], calls=calls)
    points = [point for point in points if "snapshot" in point.line]
    for point in thoroughness.of(points, 5, kind=lambda point: point.call):
        shutil.rmtree(target, ignore_errors=True)
        done = fail_at([(point, f"error={error}", "")], directory, words)
        assert done.status == 74 and "Traceback" not in done.stderr, (point, done)
        assert content(directory) == before, point
        if target.exists():
            # Only when it was whole already is it there.
            check_whole(target)
        else:
            must(directory, *words)
            check_whole(target)
        count("faults")


def test_of_two_snapshots_into_one_place_one_is_made(tmp_path):
    directory, target = tmp_path / "log", tmp_path / "snapshot"
    create_topic(directory, "t", 20)
    processes = [start(directory, "topics", "snapshot", str(target)) for _ in range(4)]
    statuses = sorted(end(process).status for process in processes)
    assert statuses[0] == 0 and set(statuses[1:]) <= {73, 75}, statuses
    assert findings(target) == []
    assert not list(target.glob("*.unfinished"))


def test_a_partition_that_stays_locked_makes_no_snapshot_and_is_named(tmp_path):
    directory, target = tmp_path / "log", tmp_path / "snapshot"
    create_topic(directory, "t", 2)
    with open(next((directory / "locks").glob("*/1"))) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(directory, "topics", "snapshot", str(target), "--lock-wait", "100ms")
    assert done.status == 75 and "partition 1 of t" in done.stderr
    assert not target.exists()
