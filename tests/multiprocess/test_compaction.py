"""Compaction as a process: killed at any call, beside producers and readers, with another one at the same work."""

import json
import random
import shutil
import signal
import time

import pytest
from history import verify
from injection import Stopped, fail_at, kill_at, needs_strace, points_of, to_kill_at
from processes import create_topic, must, run, start

from tests.proof.figures import count

COMPACT = ["topics", "compact", "t"]


def filled(directory, records=400, keys=40, **config):
    """Make a compacted topic of several small segments. Returns the last (offset, value) of each key, None if it is deleted."""
    create_topic(
        directory, "t", cleanup_policy="compact", segment_bytes=4096, **{"min_cleanable.dirty.ratio": 1, **config}
    )
    chosen = random.Random(3)
    last = {}
    for first in range(0, records, 20):
        lines = []
        for offset in range(first, first + 20):
            key = f"k{chosen.randrange(keys)}"
            value = None if chosen.random() < 0.1 else f"v{offset}" + "x" * 60
            last[key] = (offset, value)
            lines.append(json.dumps({"key": key, "payload": value}))
        must(directory, "produce", "t", "-J", stdin="\n".join(lines).encode())
    return last


def consumed(directory, *words):
    return [json.loads(line) for line in must(directory, "consume", "t", "-J", *words).stdout.splitlines()]


def last_of(records):
    return {record["key"]: (record["offset"], record["payload"]) for record in records}


def fresh(template, directory):
    if directory.exists():
        shutil.rmtree(directory)
    shutil.copytree(template, directory)


def test_each_key_keeps_its_last_record_at_its_offset_and_nothing_else_stays(tmp_path):
    last = filled(tmp_path / "log")
    must(tmp_path / "log", *COMPACT)
    records = consumed(tmp_path / "log")
    assert last_of(records) == last
    assert len(records) == len(last)
    assert verify(tmp_path / "log", "t").records == len(last)


def test_records_younger_than_the_lag_stay_and_one_of_a_year_to_come_keeps_nothing_for_ever(tmp_path):
    directory = tmp_path / "log"
    create_topic(directory, "t", cleanup_policy="compact", **{"min_compaction.lag.ms": 700})
    for value in ("1", "2"):
        must(directory, "produce", "t", "-k", "k", "--timestamp", "2099-01-01T00:00:00Z", value)
    must(directory, *COMPACT)
    assert len(consumed(directory)) == 2
    time.sleep(0.8)
    must(directory, *COMPACT)
    assert [record["payload"] for record in consumed(directory)] == ["2"]


def test_what_was_looked_through_is_clean_also_if_nothing_went(tmp_path):
    directory = tmp_path / "log"
    create_topic(directory, "t", cleanup_policy="compact", segment_bytes=4096)
    for number in range(3):
        must(directory, "produce", "t", "-k", f"k{number}", "v" * 5000)
    must(directory, *COMPACT)
    segments = {path.name: path.stat().st_ino for path in (directory / "topics/t/0").glob("*.log")}
    again = must(directory, *COMPACT)
    assert "it is clean" in again.stderr
    assert {path.name: path.stat().st_ino for path in (directory / "topics/t/0").glob("*.log")} == segments


@needs_strace
def test_killed_at_any_call_the_log_verifies_and_the_next_compaction_finishes(tmp_path, thoroughness):
    template, directory = tmp_path / "template", tmp_path / "log"
    last = filled(template)
    fresh(template, directory)
    points = to_kill_at(points_of(directory, COMPACT), thoroughness, count=12)
    for point in points:
        fresh(template, directory)
        kill_at(point, directory, COMPACT)
        verify(directory, "t")
        assert last_of(consumed(directory)) == last, point
        must(directory, "produce", "t", "-k", "new", "value")
        must(directory, *COMPACT)
        expected = {**last, "new": (400, "value")}
        assert last_of(consumed(directory)) == expected, point
        assert len(consumed(directory)) == len(expected), point
        assert not list(directory.rglob("*.cleaned")), point
        verify(directory, "t")
        count("kills")
    print(f"{len(points)} kills")


@needs_strace
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_refuses_any_call_costs_nothing_but_this_compaction(tmp_path, thoroughness, error):
    template, directory = tmp_path / "template", tmp_path / "log"
    last = filled(template)
    fresh(template, directory)
    calls = ["writev", "pwrite64", "fdatasync", "fsync", "rename", "renameat", "unlinkat", "unlink"]
    points = points_of(directory, COMPACT, calls=calls)
    points = [point for point in points if "MK_DIR" in point.line]
    for point in thoroughness.of(points, 6, kind=lambda point: point.call):
        fresh(template, directory)
        result = fail_at([(point, f"error={error}", "")], directory, COMPACT)
        assert result.status in (0, 74), (point, result)
        assert "Traceback" not in result.stderr, result
        verify(directory, "t")
        assert last_of(consumed(directory)) == last, point
        must(directory, *COMPACT)
        assert len(consumed(directory)) == len(last), point
        count("faults")


def test_a_reader_in_the_middle_sees_increasing_offsets_and_no_record_twice(tmp_path, thoroughness):
    directory = tmp_path / "log"
    create_topic(directory, "t", cleanup_policy="compact", segment_bytes=4096)
    with (
        start(directory, "consume", "t", "-F", "-f", "%o %k %v\\n") as follower,
        start(directory, "produce", "t", "-K", ":") as producer,
    ):
        last = {}
        chosen = random.Random(4)
        for round_number in range(thoroughness.pick(8, 80)):
            lines = []
            for _ in range(200):
                key, value = f"k{chosen.randrange(30)}", f"{round_number}-{chosen.random()}" + "x" * 30
                last[key] = value
                lines.append(f"{key}:{value}\n".encode())
            producer.stdin.writelines(lines)
            producer.stdin.flush()
            must(directory, *COMPACT)
            seen = [
                line.split(" ") for line in must(directory, "consume", "t", "-f", "%o %k %v\\n").stdout.splitlines()
            ]
            offsets = [int(offset) for offset, _, _ in seen]
            assert offsets == sorted(set(offsets))
        producer.stdin.close()
        assert producer.wait(60) == 0
        must(directory, *COMPACT)
        end = json.loads(must(directory, "topics", "offsets", "t", "--json").stdout)[0]["high_watermark"]
        followed = []
        while not followed or int(followed[-1][0]) < end - 1:
            followed.append(follower.stdout.readline().decode().rstrip("\n").split(" "))
        follower.send_signal(signal.SIGTERM)
        assert follower.wait(60) == -signal.SIGTERM
        assert follower.stderr.read() == b""
    offsets = [int(offset) for offset, _, _ in followed]
    assert offsets == sorted(set(offsets))
    assert {key: value for _, key, value in followed} == last
    assert last_of(consumed(directory)) == {
        key: (int(offset), value) for offset, key, value in followed if last[key] == value
    }
    verify(directory, "t")


@needs_strace
def test_one_at_a_time_and_the_other_says_so(tmp_path):
    template, directory = tmp_path / "template", tmp_path / "log"
    last = filled(template)
    fresh(template, directory)
    point = next(
        point for point in points_of(directory, COMPACT) if ".cleaned" in point.line and point.call == "writev"
    )
    fresh(template, directory)
    stopped = Stopped(point, directory, COMPACT)
    stopped.wait()
    # It holds no lock that anybody else needs.
    must(directory, "produce", "t", "-k", "k1", "meanwhile")
    other = run(directory, *COMPACT)
    assert other.status == 0
    assert "another process compacts it" in other.stderr
    must(directory, "topics", "trim", "t", "--to", "10", "--yes")
    assert stopped.finish().status == 0
    verify(directory, "t")
    must(directory, *COMPACT)
    last["k1"] = (400, "meanwhile")
    assert last_of(consumed(directory)) == {key: at for key, at in last.items() if at[0] >= 10}


def test_tombstones_go_when_they_have_stood_long_enough(tmp_path):
    directory = tmp_path / "log"
    create_topic(directory, "t", cleanup_policy="compact", **{"delete_retention.ms": 3_600_000})
    must(directory, "produce", "t", "-K", ":", "-Z", stdin=b"a:1\nb:2\na:\n")
    must(directory, *COMPACT)
    assert [(record["key"], record["payload"]) for record in consumed(directory)] == [("b", "2"), ("a", None)]
    must(directory, *COMPACT)
    assert len(consumed(directory)) == 2
    must(directory, "topics", "alter", "t", "-c", "delete.retention.ms=1")
    time.sleep(0.01)
    must(directory, *COMPACT)
    assert [(record["key"], record["payload"]) for record in consumed(directory)] == [("b", "2")]
    verify(directory, "t")


def test_a_producer_id_knows_what_it_has_stored_after_a_compaction_and_after_a_fail_over(tmp_path):
    directory, copy = tmp_path / "log", tmp_path / "copy"
    create_topic(directory, "t", cleanup_policy="compact", segment_bytes=4096)
    lines = b"".join(b"k%d:v%d%s\n" % (number % 7, number, b"x" * 50) for number in range(500))
    must(directory, "produce", "t", "-K", ":", "--producer-id", "import", stdin=lines)
    must(directory, *COMPACT)
    must(directory, "replicate", str(directory), str(copy))
    must(copy, *COMPACT)
    must(copy, "replicate", "promote")
    for place in (directory, copy):
        again = run(place, "produce", "t", "-K", ":", "--producer-id", "import", "-v", stdin=lines)
        # The old leader knows nothing of the fail-over yet: nobody told it.
        assert again.status == 0, again
        records = consumed(place)
        assert (len(records), records[-1]["offset"]) == (7, 499)
