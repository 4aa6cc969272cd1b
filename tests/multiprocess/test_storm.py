"""Many producers at once, half of them killed or stopped at any moment, over and over; then every record is accounted for."""

import os
import random
import signal
import time

import pytest
from history import History, parse_records, read_log, verify
from processes import TIMEOUT, create_topic, kill_all, must, start

from tests.proof.figures import count

PRODUCERS = 20
FEWEST_KILLS = 10


class Storm:
    """Keeps producers running on one topic, feeds them, and ends half of them again and again."""

    def __init__(self, directory, folder, *, partitions=1, acks=("1",), keyed=False, seed=1):
        self.directory = directory
        self.folder = folder
        self.random = random.Random(seed)
        self.acks = acks
        self.keyed = keyed
        self.history = History(partitions)
        self.running = {}
        self.started = []
        self.count = {}
        self.kills = self.stops = 0

    def run(self, seconds):
        """Storm for so many seconds, longer on a machine that is too busy for much to happen in that time.

        Returns when all producers have ended, half of the last ones by the end of input.
        """
        deadline = time.monotonic() + seconds
        limit = deadline + TIMEOUT
        try:
            while (now := time.monotonic()) < deadline or (self.kills < FEWEST_KILLS and now < limit):
                while len(self.running) < PRODUCERS:
                    self._start()
                pause = min(self.random.expovariate(15), max(deadline - now, 0.1))
                now = time.monotonic()
                while time.monotonic() < now + pause:
                    self._feed(self.random.choice(list(self.running)))
                for name in self.random.sample(list(self.running), PRODUCERS // 2):
                    self._kill(name)
            for process in self.running.values():
                process.send_signal(signal.SIGCONT)
            for name, process in list(self.running.items()):
                process.stdin.close()
                status = process.wait(TIMEOUT)
                assert status == 0, (name, status, self._stderr(name))
                # It ended well, so all that it was sent has to be acknowledged.
                self._note(name)
                sent = self.count[name]
                told = sum(last - first + 1 for _, first, last in self.history.acks[name])
                assert told == sent, f"{name} ended with status 0 after {told} of {sent} records"
        finally:
            kill_all(self.running.values())
        for name in self.started:
            self._note(name)

    def _start(self):
        name = f"p{len(self.started)}"
        # A busy machine may leave all of twenty waiting for longer than the ten seconds that they wait by default.
        options = ["--lock-wait", "60s", *(["-K", ":"] if self.keyed else [])]
        acks = self.random.choice(self.acks)
        with open(self.folder / name, "wb") as stderr:
            self.running[name] = process = start(
                self.directory, "produce", "storm", "-v", "--acks", acks, *options, stdout=stderr, stderr=stderr
            )
        os.set_blocking(process.stdin.fileno(), False)
        self.started.append(name)
        self.count[name] = 0

    def _feed(self, name):
        """Write some lines, in one write of less than PIPE_BUF: the pipe takes all of it, or nothing."""
        process, lines, records = self.running[name], b"", []
        for _ in range(self.random.randint(1, 12)):
            value = f"{name}-{self.count[name] + len(records)}-{'x' * self.random.randint(0, 200)}".encode()
            key = f"k{self.random.randint(0, 50)}".encode() if self.keyed else None
            records.append((value, key))
            lines += value + b"\n" if key is None else key + b":" + value + b"\n"
        try:
            assert os.write(process.stdin.fileno(), lines) == len(lines)
        except (BlockingIOError, BrokenPipeError):
            # A full pipe is no matter. A producer that ended by itself is: its status is looked at below.
            status = process.poll()
            assert status is None or status >= 0, (name, status)
            assert not status, f"{name} ended with status {status}: {self._stderr(name)}"
            time.sleep(0.0005)
            return
        for value, key in records:
            self.history.note_sent(name, value, key)
        self.count[name] += len(records)

    def _kill(self, name):
        process = self.running[name]
        if self.random.random() < 0.2:
            # Stopped for a while, perhaps with the lock: the others wait, and it goes on later or dies so.
            process.send_signal(signal.SIGSTOP)
            if self.random.random() < 0.5:
                until = time.monotonic() + self.random.random() * 0.05
                while time.monotonic() < until:
                    self._feed(self.random.choice(list(self.running)))
                process.send_signal(signal.SIGCONT)
                self.stops += 1
                return
        process.kill()
        process.wait(TIMEOUT)
        process.stdin.close()
        del self.running[name]
        self.kills += 1

    def _stderr(self, name):
        return (self.folder / name).read_text()

    def _note(self, name):
        text = self._stderr(name)
        assert "error" not in text and "Traceback" not in text, f"{name}: {text[-2000:]}"
        self.history.note_acks(name, text)


def check(storm, directory, partitions):
    """Recover by producing once more, then compare everything with everything."""
    for partition in range(partitions):
        done = must(directory, "produce", "storm", "last", "-v", "-p", str(partition))
        assert "storm" in done.stderr
    logs = [read_log(directory, "storm", partition) for partition in range(partitions)]
    for partition, log in enumerate(logs):
        assert log.pop() == (None, b"last")
        storm.history.note_given("a consumer", _consumed(directory, partition, log))
    storm.history.check(logs)
    assert verify(directory, "storm").records == sum(map(len, logs)) + partitions
    print(
        f"{storm.kills} kills of {len(storm.started)} producers; {storm.history.acknowledged} records acknowledged,"
        f" {sum(map(len, logs))} stored"
    )
    count("kills", storm.kills)
    count("stops", storm.stops)
    assert storm.kills >= FEWEST_KILLS and storm.history.acknowledged > 100, "too little happened to prove anything"


def _consumed(directory, partition, log):
    """Return what a consumer prints of a partition, but for the last record: (partition, offset, (key, value)) each."""
    consumed = parse_records(must(directory, "consume", "storm", "-J", "-p", str(partition)).stdout.encode())
    assert len(consumed) == len(log) + 1
    return consumed[:-1]


def storm(tmp_path, seconds, *, partitions=1, segment_bytes=128 << 20, **keywords):
    directory = tmp_path / "log"
    create_topic(directory, "storm", partitions, segment_bytes=segment_bytes)
    happening = Storm(directory, tmp_path, partitions=partitions, **keywords)
    happening.run(seconds)
    check(happening, directory, partitions)


def test_twenty_producers_on_one_partition_lose_and_double_nothing_when_half_of_them_are_killed(tmp_path):
    storm(tmp_path, 9)


def test_the_same_through_keys_several_partitions_and_segments_that_roll_all_the_time(tmp_path):
    storm(tmp_path, 8, partitions=4, segment_bytes=4096, keyed=True, seed=2)


def test_the_same_with_some_producers_that_do_not_wait_for_the_disk(tmp_path):
    storm(tmp_path, 5, segment_bytes=16384, acks=("0", "1"), seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("acks", [("1",), ("0", "1"), ("0",)], ids="-".join)
def test_a_minute_of_storm(tmp_path, seed, acks):
    storm(tmp_path, 60, partitions=1 + seed, segment_bytes=(4096, 65536)[seed % 2], acks=acks, keyed=True, seed=seed)
