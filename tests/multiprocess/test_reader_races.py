"""Readers beside writers that are killed, recover, tear their tails and roll: what was read stays, dense and in order."""

import os
import random
import select
import signal
import subprocess
import threading
import time

import pytest
from history import read_log, read_state, segments_of
from injection import fail_at, needs_strace, points_of
from processes import TIMEOUT, LineSource, create_topic, end, kill_all, must, run, start, wait_until

from tests.proof.figures import count


class Following:
    """A `mk consume -F` whose output is read as it comes."""

    def __init__(self, directory, *options):
        self.process = start(directory, "consume", "t", "-F", *options, stdin=subprocess.DEVNULL)
        self.lines = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        self.lines += (line.rstrip(b"\n") for line in iter(self.process.stdout.readline, b""))

    def wait_for(self, line):
        """Wait until `line` was read, then end by ^C, and return all that was read."""
        wait_until(lambda: line in self.lines[-50:])
        self.process.send_signal(signal.SIGINT)
        self._thread.join(TIMEOUT)
        assert self.process.wait(TIMEOUT) == -signal.SIGINT
        assert self.process.stderr.read() == b""
        return self.lines

    def close(self):
        self.process.kill()
        self._thread.join(TIMEOUT)
        kill_all([self.process])


def race(directory, seconds, acks, seed):
    """Kill producers at random while readers follow and drain; returns what each of them saw, and the log in the end."""
    chosen = random.Random(seed)
    followers = [Following(directory) for _ in range(3)]
    drains, producers, kills = [], [], 0
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            while len(producers) < 4:
                producers.append(start(directory, "produce", "t", "-q", "--acks", chosen.choice(acks)))
                os.set_blocking(producers[-1].stdin.fileno(), False)
            for _ in range(chosen.randint(1, 60)):
                process = chosen.choice(producers)
                lines = b"".join(b"%d %s\n" % (chosen.getrandbits(60), b"z" * chosen.randint(0, 300)) for _ in range(8))
                try:
                    os.write(process.stdin.fileno(), lines)
                except (BlockingIOError, BrokenPipeError):
                    assert not process.poll() or process.poll() < 0, process.stderr.read()
            if chosen.random() < 0.3:
                follower = chosen.choice(followers).process
                follower.send_signal(signal.SIGSTOP if chosen.random() < 0.5 else signal.SIGCONT)
            if chosen.random() < 0.3:
                result = must(directory, "consume", "t")
                drains.append(result.stdout.encode().splitlines())
            victim = producers.pop(chosen.randrange(len(producers)))
            kill_all([victim])
            kills += 1
        kill_all(producers)
        must(directory, "produce", "t", "the end")
        for follower in followers:
            follower.process.send_signal(signal.SIGCONT)
        seen = [follower.wait_for(b"the end") for follower in followers]
    finally:
        kill_all(producers)
        for follower in followers:
            follower.close()
    log = [value for _, value in read_log(directory, "t")]
    print(f"{kills} kills, {len(log)} records, {len(segments_of(directory, 't'))} segments, {len(drains)} drains")
    assert kills > 5 and len(log) > 100
    for lines in seen:
        assert lines == log
    for lines in drains:
        assert lines == log[: len(lines)]
    count("kills", kills)


@pytest.mark.parametrize("acks", [("1",), ("0", "1")], ids="-".join)
def test_readers_see_every_record_once_in_order_while_writers_die_and_segments_roll(tmp_path, acks):
    create_topic(tmp_path / "log", "t", segment_bytes=4096)
    race(tmp_path / "log", 4, acks, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("segment_bytes", [4096, 65536, 1 << 27])
def test_a_longer_race_with_readers(tmp_path, seed, segment_bytes):
    create_topic(tmp_path / "log", "t", segment_bytes=segment_bytes)
    race(tmp_path / "log", 30, ("0", "1"), seed)


def test_each_line_of_a_slow_pipe_is_seen_soon(tmp_path):
    """Generous bounds; the benchmark says how soon."""
    create_topic(tmp_path / "log", "t")
    reader = start(tmp_path / "log", "consume", "t", "-F", stdin=subprocess.DEVNULL)
    writer = start(tmp_path / "log", "produce", "t")
    try:
        lines = LineSource(reader.stdout)
        for number in range(30):
            writer.stdin.write(b"%d\n" % number)
            writer.stdin.flush()
            assert lines.next(timeout=20 if number == 0 else 2) == b"%d" % number
    finally:
        kill_all([reader, writer])


def test_a_torn_tail_and_its_repair_are_never_seen(tmp_path):
    """Many torn tails, each of them whole in its header, are cut while a reader waits right there."""
    directory = tmp_path / "log"
    create_topic(directory, "t")
    must(directory, "produce", "t", "begin")
    segment = directory / "topics/t/0/00000000000000000000.log"
    batch = segment.read_bytes()
    follower = Following(directory)
    try:
        for number in range(20):
            with segment.open("ab") as file:
                # The first batch again, at a place where its offset does not fit; or a part of it, or zeros.
                file.write((batch, batch[:130], batch[:50], bytes(500))[number % 4])
            must(directory, "produce", "t", f"v{number}")
        must(directory, "produce", "t", "the end")
        seen = follower.wait_for(b"the end")
    finally:
        follower.close()
    assert seen == [value for _, value in read_log(directory, "t")]
    assert len(seen) == 22


def test_a_reader_whose_output_nobody_takes_costs_no_acknowledged_record(tmp_path):
    """Pages on their way through a pipe cannot be dropped from memory, so a recovery cannot compare them with the disk.

    Records of acks 0 are promised to survive the end of any process.
    """
    directory = tmp_path / "log"
    create_topic(directory, "t")
    lines = b"".join(b"%07d %s\n" % (number, b"w" * 90) for number in range(2000))
    must(directory, "produce", "t", "--acks", "0", stdin=lines)
    stuck = start(directory, "consume", "t", "-F", stdin=subprocess.DEVNULL)
    try:
        # All of it is one batch, which goes into the pipe as it stands in the page cache, and stays there.
        wait_until(lambda: select.select([stuck.stdout], [], [], 0)[0])
        segment = segments_of(directory, "t")[-1]
        with segment.open("ab") as file:
            file.write(b"torn")
        must(directory, "produce", "t", "after", "--acks", "0")
        assert [value for _, value in read_log(directory, "t")] == [*lines.splitlines(), b"after"]
        assert len(stuck.stdout.read(len(lines))) == len(lines)
    finally:
        kill_all([stuck])


@needs_strace
def test_a_reader_is_told_when_records_it_read_without_a_sync_were_lost_by_the_disk(tmp_path):
    """acks 0, then a sync that fails, then other records at the same offsets, all while the reader is stopped."""
    directory = tmp_path / "log"
    create_topic(directory, "t")
    must(directory, "produce", "t", "a")
    reader = start(directory, "consume", "t", "-F", stdin=subprocess.DEVNULL)
    try:
        lines = LineSource(reader.stdout)
        must(directory, "produce", "t", "b", "c", "--acks", "0")
        assert [lines.next(), lines.next(), lines.next()] == [b"a", b"b", b"c"]
        reader.send_signal(signal.SIGSTOP)
        _fail_sync(directory, tmp_path)
        must(directory, "produce", "t", "B", "C", "D", "E")
        reader.send_signal(signal.SIGCONT)
        result = end(reader)
        assert result.status == 65 and result.stdout == "", result
        assert "cut back to offset 1" in result.stderr, result
    finally:
        kill_all([reader])
    assert [value for _, value in read_log(directory, "t")] == [b"a", b"B", b"C", b"D", b"E"]


def _fail_sync(directory, tmp_path):
    """Have an append fail at its fdatasync."""
    create_topic(tmp_path / "other", "t")
    must(tmp_path / "other", "produce", "t", "a")
    points = points_of(tmp_path / "other", ["produce", "t", "x"])
    sync = next(point for point in points if point.call == "fdatasync")
    result = fail_at([(sync, "error=EIO", "")], directory, ["produce", "t", "x", "-v"])
    assert result.status == 74 and "indeterminate" in result.stderr, result
    assert "mk: 0 records stored" in result.stderr, result


@needs_strace
@pytest.mark.parametrize("base", [[], ["a"]], ids=["in an empty segment", "behind durable records"])
def test_an_append_that_cannot_be_synced_is_cut_kept_as_evidence_and_followed_by_a_new_segment(tmp_path, base):
    directory = tmp_path / "log"
    create_topic(directory, "t")
    if base:
        must(directory, "produce", "t", *base)
    _fail_sync(directory, tmp_path)
    assert [value for _, value in read_log(directory, "t")] == [value.encode() for value in base]
    (evidence,) = (directory / "quarantine").iterdir()
    assert b"x\n" in evidence.read_bytes()
    must(directory, "produce", "t", "next")
    assert [value for _, value in read_log(directory, "t")] == [*(value.encode() for value in base), b"next"]
    assert len(segments_of(directory, "t")) == 1 + len(base)
    assert int(read_state(directory, "t")["leader_epoch"]) == 1
    assert run(directory, "consume", "t").stdout.splitlines() == [*base, "next"]
