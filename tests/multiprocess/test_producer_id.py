"""`mk produce --producer-id`: killed anywhere and run again with the same input, each record is stored once, in order."""

import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from history import read_log
from injection import kill_at, needs_strace, points_of, to_kill_at
from processes import TIMEOUT, create_topic, end, kill_all, must, run, start

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.crash import oracle  # noqa: E402
from tests.proof.figures import count

NAME = "import-7"
PLAIN = b"plain "


def partition_of_null(name, partitions):
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") % partitions


class Input:
    """Some tens of thousands of lines, a third of them without a key, and where each of them belongs."""

    def __init__(self, path, partitions, keyed, lines=60_000):
        self.path = path
        self.arguments = ["--producer-id", NAME, *(["-K", "\t"] if keyed else [])]
        null = partition_of_null(NAME, partitions)
        self.expected = [[] for _ in range(partitions)]
        content = []
        for number in range(lines):
            value = b"line %07d %s" % (number, b"v" * (number % 90))
            key = b"k%d" % (number * number % 41) if number % 3 else None
            content.append(value if key is None else key + b"\t" + value)
            if not keyed:
                key, value = None, content[-1]
            self.expected[null if key is None else zlib.crc32(key) % partitions].append((key, value))
        path.write_bytes(b"\n".join(content) + b"\n")

    def start(self, directory, topic, *more):
        with open(self.path, "rb") as stdin:
            return start(directory, "produce", topic, *self.arguments, *more, stdin=stdin)

    def check(self, directory, topic):
        """The topic holds each line once, in order, beside what plain writers put there."""
        for partition, expected in enumerate(self.expected):
            log = [record for record in read_log(directory, topic, partition) if not record[1].startswith(PLAIN)]
            assert len(log) == len(expected), f"partition {partition}: {len(log)} records of {len(expected)}"
            assert log == expected, f"partition {partition}"
            oracle.verify(Path(directory) / "topics" / topic / str(partition))


class PlainWriters:
    """Somebody who appends to the same topic meanwhile, without an id, one record after the other."""

    def __init__(self, directory, topic):
        self._arguments = directory, "produce", topic
        self._over = threading.Event()
        self._failures = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *exc):
        self._over.set()
        self._thread.join(TIMEOUT)
        assert not self._failures, self._failures

    def _run(self):
        number = 0
        while not self._over.is_set():
            result = run(*self._arguments, (PLAIN + b"%d" % number).decode() + "x" * 300, "-k", f"k{number}")
            number += 1
            if result.status:
                self._failures.append(result)


def kill_at_random(directory, source, kills, seed):
    """Run, kill, and run again until it ends well, on one topic after the other, until there were that many kills."""
    chosen = random.Random(seed)
    partitions = len(source.expected)
    create_topic(directory, "measured", partitions, segment_bytes=16384)
    begun = time.monotonic()
    assert end(source.start(directory, "measured")).status == 0
    whole = time.monotonic() - begun
    done = topics = 0
    while done < kills:
        topic = f"t{topics}"
        topics += 1
        create_topic(directory, topic, partitions, segment_bytes=chosen.choice([4096, 16384, 1 << 20]))
        with PlainWriters(directory, topic):
            while True:
                process = source.start(directory, topic, "--acks", chosen.choice("011"))
                try:
                    process.wait(chosen.uniform(0, whole) if done < kills else TIMEOUT)
                except subprocess.TimeoutExpired:
                    process.kill()
                result = end(process)
                assert result.status in (0, -signal.SIGKILL), result
                if result.status == 0:
                    break
                done += 1
        # Once more, with nothing left to do.
        again = end(source.start(directory, topic))
        count = sum(map(len, source.expected))
        assert (again.status, again.stderr) == (
            0,
            f"mk: {count} records were stored before under producer id {NAME}; 0 stored now\n",
        )
        source.check(directory, topic)
    print(f"{done} kills, {topics} topics")


CASES = [(1, False), (1, True), (8, False), (8, True)]


@pytest.mark.parametrize(("partitions", "keyed"), CASES)
def test_killed_at_random_and_run_again_each_line_is_stored_once(tmp_path, partitions, keyed):
    kill_at_random(tmp_path / "log", Input(tmp_path / "input", partitions, keyed), 12, seed=partitions + keyed)


@pytest.mark.slow
@pytest.mark.parametrize(("partitions", "keyed"), CASES)
def test_a_hundred_kills(tmp_path, partitions, keyed):
    source = Input(tmp_path / "input", partitions, keyed, lines=150_000)
    kill_at_random(tmp_path / "log", source, 100, seed=100 + partitions + keyed)


@pytest.mark.parametrize(("partitions", "keyed"), CASES)
def test_two_at_once_with_the_same_id_and_input_store_each_line_once(tmp_path, partitions, keyed):
    directory = tmp_path / "log"
    source = Input(tmp_path / "input", partitions, keyed)
    create_topic(directory, "t", partitions, segment_bytes=16384)
    with PlainWriters(directory, "t"):
        both = [source.start(directory, "t", "-v") for _ in range(2)]
        try:
            results = [end(process) for process in both]
        finally:
            kill_all(both)
    assert [result.status for result in results] == [0, 0], results
    source.check(directory, "t")


def test_two_that_cut_the_same_input_differently_take_turns(tmp_path):
    """Batches of one then begin inside batches of the other."""
    directory = tmp_path / "log"
    create_topic(directory, "t", segment_bytes=16384)
    lines = [b"line %05d" % number for number in range(3000)]
    writers = [start(directory, "produce", "t", "--producer-id", NAME, "-v") for _ in range(2)]
    chosen = random.Random(3)
    sent = [0, 0]
    try:
        while min(sent) < len(lines):
            who = chosen.choice([number for number in (0, 1) if sent[number] < len(lines)])
            count = chosen.randint(1, 400)
            writers[who].stdin.write(b"".join(line + b"\n" for line in lines[sent[who] : sent[who] + count]))
            writers[who].stdin.flush()
            sent[who] += count
        results = [end(writer) for writer in writers]
    finally:
        kill_all(writers)
    assert [result.status for result in results] == [0, 0], results
    assert read_log(directory, "t") == [(None, line) for line in lines]
    oracle.verify(directory / "topics/t/0")


# At every system call.


def _pinned_before(directory):
    create_topic(directory, "t", 2, segment_bytes=4096)
    must(directory, "produce", "t", "-p", "0", "old")
    must(directory, "produce", "t", "-p", "1", "f" * 3000)


def _first_use(directory):
    """Partitions with records, one nearly full; no producer id was ever used."""
    _pinned_before(directory)


def _resumed(directory):
    """The first half is stored, but not on disk."""
    _pinned_before(directory)
    must(directory, "produce", "t", *KEYED, "--acks", "0", stdin=LINES[: len(LINES) // 2])


def _stored(directory):
    """All is stored, but not on disk."""
    _pinned_before(directory)
    must(directory, "produce", "t", *KEYED, "--acks", "0", stdin=LINES)


KEYED = ["-K", ":", "--producer-id", NAME]
LINES = b"".join(b"k%d:%04d%s\n" % (number % 5, number, b"v" * 100) for number in range(60))
PREPARED = {"first use": _first_use, "resumed": _resumed, "stored": _stored}


@needs_strace
@pytest.mark.parametrize("name", PREPARED)
def test_killed_at_any_call_the_same_command_stores_the_rest(tmp_path, name, thoroughness):
    template, directory = tmp_path / "template", tmp_path / "log"
    PREPARED[name](template)
    arguments = ["produce", "t", *KEYED, "-v"]

    def fresh():
        if directory.exists():
            subprocess.run(["rm", "-r", directory], check=True)
        subprocess.run(["cp", "-a", template, directory], check=True)

    fresh()
    points = to_kill_at(points_of(directory, arguments, stdin=LINES), thoroughness)
    expected = [[], []]
    for line in LINES.splitlines():
        key, _, value = line.partition(b":")
        expected[zlib.crc32(key) % 2].append((key, value))
    assert all(expected)
    for point in points:
        fresh()
        kill_at(point, directory, arguments, stdin=LINES)
        must(directory, *arguments, stdin=LINES)
        for partition in range(2):
            log = read_log(directory, "t", partition)[1:]
            assert log == expected[partition], f"{name}, killed at {point}: {len(log)} of {len(expected[partition])}"
            oracle.verify(directory / "topics/t" / str(partition))
        left = [path.name for path in (directory / "topics/t/producers").iterdir()]
        assert left == [f"{int.from_bytes(sha256(NAME.encode()).digest()[:8], 'big'):016x}"] or (
            # A pin's temporary name stays until the next pin is made.
            len(left) == 2 and any(entry.startswith(".tmp-") for entry in left)
        ), left
    count("kills", len(points))
    print(f"{name}: {len(points)} kills")
