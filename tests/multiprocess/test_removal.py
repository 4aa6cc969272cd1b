"""Removing records under real processes: killed at every system call, and beside a producer and a follower."""

import json
import re
import shutil
import subprocess
import threading
import time

import pytest
from history import read_state
from injection import kill_at, needs_strace, points_of, to_kill_at
from processes import ENVIRONMENT, MK, create_topic, end, kill_all, must, run, start, wait_until

from tests.proof.figures import count


def _segments(directory, **config):
    """Ten records, each in a segment of its own but for the last two."""
    create_topic(directory, "t", segment_bytes=4096, **config)
    for number in range(9):
        must(directory, "produce", "t", f"{number} " + "x" * 3000)
    must(directory, "produce", "t", "9")


def _limited(directory):
    _segments(directory)
    must(directory, "topics", "alter", "t", "-c", "retention.bytes=7000", "--yes")


def _old(directory):
    _segments(directory)
    must(directory, "topics", "alter", "t", "-c", "retention.ms=1", "--yes")


# Of each: how it is prepared, the command, and the offset below which records may be gone afterwards.
REMOVALS = {
    "a clean": (_limited, ["topics", "clean", "-q"], 6),
    "a clean of all there is": (_old, ["topics", "clean", "-q"], 10),
    "a roll that removes": (_limited, ["produce", "t", "n" * 3500, "-v"], 8),
    "a trim into a segment": (_segments, ["topics", "trim", "t", "--to", "9", "--yes"], 9),
    "a trim to the end": (_segments, ["topics", "trim", "t", "--to", "end", "--yes"], 10),
}


def _check(directory, limit, context, *, may_append):
    """Read, append, clean and verify as a user would, with no repair step."""
    lines = must(directory, "consume", "t", "-J", "-q").stdout.splitlines()
    records = [json.loads(line) for line in lines]
    offsets = [record["offset"] for record in records]
    first = offsets[0] if offsets else 10
    assert first <= limit, f"{context}: the log begins at {first}"
    assert offsets == [*range(first, first + len(offsets))], context
    assert first + len(offsets) in ((10, 11) if may_append else (10,)), context
    for record in records[: 10 - first]:
        assert record["payload"].split()[0] == str(record["offset"]), context
    after = run(directory, "produce", "t", "after", "-v")
    assert after.status == 0, f"{context}: {after}"
    must(directory, "topics", "verify", "t")
    must(directory, "topics", "clean")
    verified = must(directory, "topics", "verify", "t", "--json")
    findings = json.loads(verified.stdout)["findings"]
    assert not findings, f"{context}: {findings}"
    names = {path.name for path in (directory / "topics/t/0").iterdir()}
    assert not [name for name in names if name.startswith(".tmp") or name.endswith(".deleted")], context
    state = read_state(directory, "t")
    bases = sorted(int(name[:20]) for name in names if name.endswith(".log"))
    assert bases[0] <= int(state["log_start"]), context
    assert len(bases) == 1 or bases[1] > int(state["log_start"]), f"{context}: {bases}, {state['log_start']}"


@needs_strace
@pytest.mark.parametrize("name", REMOVALS)
def test_a_kill_at_any_call_leaves_a_log_that_works(tmp_path, name, thoroughness):
    prepare, arguments, limit = REMOVALS[name]
    template, directory = tmp_path / "template", tmp_path / "log"
    prepare(template)
    shutil.copytree(template, directory)
    points = to_kill_at(points_of(directory, arguments), thoroughness)
    assert points
    for point in points:
        shutil.rmtree(directory)
        shutil.copytree(template, directory)
        kill_at(point, directory, arguments)
        _check(directory, limit, f"{name}, killed at {point}", may_append="produce" in arguments)
        count("kills")
    print(f"{name}: {len(points)} kills")


def test_a_producer_a_follower_and_clean_side_by_side(tmp_path, thoroughness):
    """The log stays within its limits, and the follower has each record or is told that it is gone, once and in order."""
    directory, seconds = tmp_path / "log", thoroughness.pick(2, 60)
    limit, segment = 1 << 20, 64 << 10
    create_topic(directory, "t", segment_bytes=segment, retention_bytes=limit)
    must(directory, "produce", "t", "0")
    follower = start(directory, "consume", "t", "-F", "-J", stdin=subprocess.DEVNULL)
    producer = start(directory, "produce", "t", "-q")
    seen, notes, sizes, cleans = [], [], [], []

    def read():
        for line in follower.stdout:
            seen.append(json.loads(line)["offset"])
            if len(seen) % 5000 == 0:
                time.sleep(0.3)  # Slow enough to be overtaken.

    def hear():
        notes.extend(follower.stderr)

    readers = [threading.Thread(target=read), threading.Thread(target=hear)]
    for thread in readers:
        thread.start()
    try:
        wait_until(lambda: seen)  # What was removed before it began, it is not told of.
        stop = time.monotonic() + seconds
        number = 1
        while time.monotonic() < stop:
            producer.stdin.write(b"".join(b"%d %s\n" % (number + i, b"x" * 150) for i in range(1000)))
            producer.stdin.flush()
            number += 1000
            if number % 10_000 == 1:
                cleans.append(run(directory, "topics", "clean", "-q"))
                sizes.append(sum(path.stat().st_size for path in (directory / "topics/t/0").glob("*.log")))
        producer.stdin.close()
        producer.stdin = None
        assert end(producer).status == 0
        must(directory, "topics", "clean")
        high = json.loads(must(directory, "topics", "offsets", "t", "--json").stdout)[0]["high_watermark"]
        assert high == number
        wait = time.monotonic() + 60
        while (not seen or seen[-1] != high - 1) and time.monotonic() < wait:
            time.sleep(0.01)
    finally:
        kill_all([producer])
        follower.kill()
        for thread in readers:
            thread.join()
        kill_all([follower])
    assert not [clean for clean in cleans if clean.status or clean.stderr], cleans
    # A batch of 256 KiB has a segment for itself; the producer goes on while we look.
    assert cleans and max(sizes) <= limit + 4 * (256 << 10), sizes
    skipped = []
    for line in notes:
        match = re.fullmatch(rb"mk: t 0: offsets (\d+) to (\d+) are gone; reading on at (\d+)\n", line)
        assert match, line
        first, last, following = map(int, match.groups())
        assert following == last + 1
        skipped += range(first, last + 1)
    assert seen == sorted(seen)
    assert sorted(seen + skipped) == [*range(high)], "a record was neither read nor named"
    must(directory, "topics", "verify", "t")
    print(f"{high} records, {len(skipped)} of them overtaken, {len(cleans)} cleans, at most {max(sizes)} bytes")


def test_two_cleans_at_once_hurt_nobody(tmp_path):
    directory = tmp_path / "log"
    _limited(directory)
    environment = {**ENVIRONMENT, "MK_DIR": str(directory)}
    processes = [
        subprocess.Popen([MK, "topics", "clean", "-q"], env=environment, stderr=subprocess.PIPE) for _ in range(4)
    ]
    assert [(process.wait(60), process.stderr.read()) for process in processes] == [(0, b"")] * 4
    for process in processes:
        process.stderr.close()
    _check(directory, 6, "four cleans", may_append=False)
