"""Snapshots as processes: of a directory that is used at full speed, killed at any call, restored as the manual says."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from history import verify
from injection import kill_at, needs_strace, points_of, to_kill_at
from processes import ENVIRONMENT, create_topic, must, run, start

from tests.proof.figures import count


def consumed(directory, topic="t", *words):
    return [json.loads(line) for line in must(directory, "consume", topic, "-J", *words).stdout.splitlines()]


def committed(directory, group):
    (described,) = json.loads(must(directory, "groups", "describe", group, "--json").stdout)
    return {(row["topic"], row["partition"]): row["committed_offset"] for row in described["offsets"]}


def tree(directory):
    """Return what is in a directory, but for what reading it may change."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


@pytest.fixture
def used(tmp_path):
    """A directory with two topics, one of several segments, a group, a producer id and a copy of another topic."""
    directory, other = tmp_path / "log", tmp_path / "other"
    create_topic(directory, "t", 2, segment_bytes=4096)
    create_topic(directory, "keys", cleanup_policy="compact")
    must(directory, "produce", "t", "--producer-id", "import", stdin=b"".join(b"%d\n" % n * 20 for n in range(200)))
    must(directory, "produce", "keys", "-K", ":", stdin=b"a:1\nb:2\na:3\n")
    must(directory, "topics", "compact", "keys")
    must(directory, "consume", "t", "-g", "billing", "-n", "50")
    create_topic(other, "copied")
    must(other, "produce", "copied", "there")
    must(directory, "replicate", str(other), str(directory))
    return directory


def test_a_snapshot_holds_what_there_is_and_the_original_is_not_changed(used, tmp_path):
    place = tmp_path / "snapshot"
    before = {topic: consumed(used, topic) for topic in ("t", "keys", "copied")}
    offsets = committed(used, "billing")
    result = must(used, "topics", "snapshot", str(place))
    assert "made a snapshot of" in result.stderr
    for topic, records in before.items():
        assert consumed(place, topic) == records
        verify(place, topic)
        assert consumed(used, topic) == records
    assert must(place, "topics", "verify").status == 0
    assert committed(place, "billing") == offsets
    assert (place / "mk.json").read_bytes() == (used / "mk.json").read_bytes()
    active = max((place / "topics/t/0").glob("*.log"))
    assert active.stat().st_nlink == 1
    assert {path.stat().st_nlink for path in (place / "topics/t/0").glob("*.log") if path != active} <= {2}
    # What is known of producer ids goes with it.
    again = must(place, "produce", "t", "--producer-id", "import", stdin=b"".join(b"%d\n" % n * 20 for n in range(200)))
    assert "were stored before" in again.stderr
    assert run(place, "produce", "copied", "x").status == 75


def test_what_happens_to_either_leaves_the_other_as_it_is(used, tmp_path):
    place = tmp_path / "snapshot"
    must(used, "topics", "snapshot", str(place))
    before = consumed(place)
    must(used, "topics", "trim", "t", "--to", "end", "--yes")
    must(used, "topics", "compact", "keys")
    must(used, "produce", "t", "more")
    assert consumed(place) == before
    here = consumed(used)
    must(place, "produce", "t", "in the snapshot")
    must(place, "topics", "delete", "keys", "--yes")
    assert consumed(used) == here
    verify(used, "t")
    must(used, "topics", "delete", "t", "--yes")
    assert "in the snapshot" in [record["payload"] for record in consumed(place)]
    verify(place, "t")


def test_taken_while_producers_and_groups_run_it_has_all_that_was_acknowledged_before(tmp_path, thoroughness):
    directory = tmp_path / "log"
    create_topic(directory, "t", 2, segment_bytes=65536)
    feed = "i=0; while :; do echo $1-$i-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done"
    feeders = [
        subprocess.Popen(
            ["sh", "-c", feed, "sh", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT
        )
        for name in "ab"
    ]
    acks = [tmp_path / name for name in ("acks-a", "acks-b")]
    processes = []
    try:
        for feeder, path in zip(feeders, acks, strict=True):
            with open(path, "wb") as stderr:
                processes.append(
                    start(
                        directory, "produce", "t", "-v", stdin=feeder.stdout, stdout=subprocess.DEVNULL, stderr=stderr
                    )
                )
            feeder.stdout.close()
        for _ in range(2):
            words = ["consume", "t", "-g", "billing", "-F"]
            processes.append(
                start(directory, *words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
        time.sleep(0.5)
        for number in range(thoroughness.pick(3, 30)):
            acknowledged = {0: -1, 1: -1}
            for path in acks:
                for line in path.read_text().splitlines(keepends=True):
                    if line.startswith("t ") and line.endswith("\n"):
                        _, partition, _, last = line.split()
                        acknowledged[int(partition)] = max(acknowledged[int(partition)], int(last))
            place = tmp_path / f"snapshot-{number}"
            must(directory, "topics", "snapshot", str(place))
            verify(place, "t")
            ends = {
                row["partition"]: row["high_watermark"]
                for row in json.loads(must(place, "topics", "offsets", "t", "--json").stdout)
            }
            assert all(ends[partition] > last for partition, last in acknowledged.items())
            for (_, partition), offset in committed(place, "billing").items():
                assert offset is None or offset <= ends[partition]
            assert must(place, "topics", "verify").status == 0
            shutil.rmtree(place)
    finally:
        for process in (*feeders, *processes):
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert max(acknowledged.values()) > 0
    verify(directory, "t")


@needs_strace
def test_killed_at_any_call_nothing_is_changed_and_the_next_one_works(used, tmp_path, thoroughness):
    place = tmp_path / "snapshot"
    words = ["topics", "snapshot", str(place)]
    must(used, *words)
    shutil.rmtree(place)
    points = points_of(used, words)
    shutil.rmtree(place)
    records = consumed(used)
    for point in to_kill_at(points, thoroughness, count=8):
        kill_at(point, used, words)
        if (place / "mk.json").exists() and not (place / ".snapshot-of").exists():
            assert consumed(place) == records
            shutil.rmtree(place)
        must(used, *words)
        assert consumed(place) == records, point
        assert must(place, "topics", "verify").status == 0
        assert not list(place.rglob(".tmp-*"))
        shutil.rmtree(place)
        assert consumed(used) == records
        count("kills")
    verify(used, "t")


def test_restored_as_the_manual_says_groups_go_on_without_skipping(used, tmp_path):
    place = tmp_path / "snapshot"
    must(used, "topics", "snapshot", str(place))
    stood = committed(used, "billing")
    must(used, "consume", "t", "-g", "billing")
    must(used, "produce", "t", "lost with the host")
    used.rename(tmp_path / "old")
    subprocess.run(["cp", "-a", str(place), str(used)], check=True)
    assert committed(used, "billing") == stood
    must(used, "produce", "t", "-p", "0", "after")
    rest = consumed(used, "t", "-g", "billing")
    everything = consumed(used)
    expected = [record for record in everything if record["offset"] >= (stood.get(("t", record["partition"])) or 0)]
    order = lambda record: (record["partition"], record["offset"])  # noqa: E731
    assert sorted(rest, key=order) == sorted(expected, key=order)
    verify(used, "t")


@pytest.mark.parametrize("where", ["log/inside", "log", ".", "taken", "file"])
def test_a_place_that_cannot_be_is_refused_before_anything_is_made(used, tmp_path, where):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = tree(tmp_path)
    result = run(used, "topics", "snapshot", str(tmp_path / where))
    assert result.status == 73, result
    assert len(result.stderr.splitlines()) <= 3
    assert tree(tmp_path) == before


def test_who_may_only_read_is_told_so(used, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    subprocess.run(["chmod", "-R", "go+rX", str(used)], check=True)
    for private in ("locks", "groups", "quarantine"):
        if (used / private).exists():
            (used / private).chmod(0o700)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o777)
    for above in (tmp_path, *tmp_path.parents[:3]):
        above.chmod(above.stat().st_mode | 0o055)
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    result = run(used, "topics", "snapshot", str(tmp_path / "mine" / "copy"), prefix=prefix)
    assert result.status == 77, result
    assert not (tmp_path / "mine" / "copy").exists()
