"""A producer that compacts behind its append: what it has acknowledged stays, whatever ends it then, and it ends at once."""

import json
import shutil
import signal

import pytest
from injection import CALLS, fail_at, kill_at, needs_strace, points_of, signal_at
from processes import create_topic, must

from tests.proof.figures import count

pytestmark = needs_strace

KEYS = 10
LINES = "".join(f"k{n % KEYS}:new {n} {'x' * 60}\n" for n in range(40)).encode()
OLD = "".join(f"k{n % KEYS}:old {n} {'x' * 60}\n" for n in range(40)).encode()
LAST = {f"k{n % KEYS}": f"new {n} {'x' * 60}" for n in range(40)}

WAYS = {
    "lines": (("produce", "t", "-K", ":", "-v"), LINES),
    "values": (("produce", "t", "-K", ":", "-v", *LINES.decode().splitlines()), b""),
    "JSON to several topics": (
        ("produce", "-J", "-v"),
        b"".join(
            json.dumps({"topic": "t", "key": key, "payload": value}).encode() + b"\n"
            for key, _, value in (line.partition(":") for line in LINES.decode().splitlines())
        ),
    ),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    directory = tmp_path_factory.mktemp("template") / "log"
    create_topic(directory, "t", cleanup_policy="compact", segment_bytes=4096, min_cleanable_dirty_ratio=0.01)
    for _ in range(3):
        must(directory, "produce", "t", "-K", ":", stdin=OLD)
    return directory


@pytest.fixture
def fresh(template, tmp_path):
    def give():
        directory = tmp_path / "log"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(template, directory)
        return directory

    return give


def behind_the_append(points):
    """Return the points behind the last acknowledgement."""
    told = [at for at, point in enumerate(points) if point.call == "write" and "t 0 " in point.line]
    assert told
    behind = points[told[-1] + 1 :]
    assert any(".log.cleaned" in point.line for point in behind)
    return behind


def check(directory, context):
    """What was acknowledged is there, and what compacts next needs no repair."""
    for _ in range(2):
        records = [json.loads(line) for line in must(directory, "consume", "t", "-J").stdout.splitlines()]
        assert {record["key"]: record["payload"] for record in records} == LAST, context
        assert "no damage" in must(directory, "topics", "verify", "t").stdout, context
        must(directory, "topics", "compact", "t")
    assert len(records) == KEYS, context
    assert not list(directory.rglob("*.cleaned")), context


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_ends_it_at_once_with_everything_stored(fresh, way, number, thoroughness):
    words, stdin = WAYS[way]
    directory = fresh()
    points = behind_the_append(points_of(directory, words, stdin=stdin))
    renames = sum(point.call.startswith("rename") for point in points)
    check(directory, "not disturbed")
    for point in thoroughness.of(points, 6, kind=lambda point: point.call):
        directory = fresh()
        result = signal_at(point, number, directory, words, stdin=stdin)
        context = f"{number.name} at {point}: {result}"
        assert result.status == -number, context
        assert "Traceback" not in result.stderr and "error" not in result.stderr, context
        assert result.stderr.splitlines()[-1].startswith("t 0 "), context
        check(directory, context)
    assert renames > 1


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_costs_nothing_that_was_acknowledged(fresh, way, thoroughness):
    words, stdin = WAYS[way]
    points = behind_the_append(points_of(fresh(), words, stdin=stdin))
    changing = [point for point in points if point.changes_something]
    for point in thoroughness.of(changing, 5, kind=lambda point: point.call):
        directory = fresh()
        kill_at(point, directory, words, stdin=stdin)
        check(directory, f"killed at {point}")
        count("kills")


@pytest.mark.parametrize("way", WAYS)
def test_whatever_call_fails_the_append_does_not(fresh, way, thoroughness):
    words, stdin = WAYS[way]
    points = behind_the_append(
        points_of(fresh(), words, stdin=stdin, calls=[call for call in CALLS if call != "close"])
    )
    points = [point for point in points if not point.line.startswith("2<")]
    for point in thoroughness.of(points, 6, kind=lambda point: point.call):
        directory = fresh()
        result = fail_at([(point, "error=EIO", "")], directory, words, stdin=stdin)
        context = f"EIO at {point}: {result}"
        assert result.struck, context
        assert result.status == 0 and "error" not in result.stderr, context
        check(directory, context)
        count("faults")
