"""A storm over a group: members and producers are killed, stopped, continued and started at random, for some seconds.

What the members printed is compared with the log: nothing skipped, nothing altered, and, when every stop was a clean one,
nothing twice. Meanwhile the committed offsets are watched: one that went back would have been acknowledged and taken back.
"""

import contextlib
import json
import os
import random
import selectors
import signal
import subprocess
import time

import pytest
from processes import create_topic, kill_all, must, run, start

from mk.groups.claim_directory import open_claims
from mk.groups.membership import members_of
from mk.storage.log_directory import LogDirectory

SESSION_TIMEOUT = "400ms"


class Member:
    """A process that reads for the group, and what it has printed: (partition, offset, value) in order."""

    def __init__(self, directory, name, folder, words):
        self.errors = folder / f"{name}.err"
        words = ("consume", "t", "-g", "g", "-J", "--session-timeout", SESSION_TIMEOUT, *words)
        with open(self.errors, "wb") as errors:
            self.process = start(directory, *words, stdin=subprocess.DEVNULL, stderr=errors)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.printed = []
        self._data = b""

    def take(self):
        """Read what there is; False at the end of the output."""
        try:
            piece = os.read(self.process.stdout.fileno(), 1 << 18)
        except BlockingIOError:
            return True
        *lines, self._data = (self._data + piece).split(b"\n")
        for line in lines:
            record = json.loads(line)
            self.printed.append((record["partition"], record["offset"], record["payload"]))
        return bool(piece)


class GroupStorm:
    def __init__(self, directory, folder, *, partitions, members, seed, ways):
        self.directory, self.folder = directory, folder
        self.partitions, self.wanted_members = partitions, members
        self.random = random.Random(seed)
        self.ways = ways
        self.members = []
        self.ended = []
        self.stopped = {}
        self.producers = []
        self.sent = 0
        self.counts = dict.fromkeys(("start", *ways), 0)
        self.offsets = {}
        self.selector = selectors.DefaultSelector()
        self.opened = LogDirectory(str(directory))
        self.topic = self.opened.open_topic("t")

    def run(self, seconds):
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                self._step()
            self._settle()
        finally:
            processes = [one.process for one in (*self.members, *self.ended)]
            for process in (*processes, *self.producers):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
            kill_all([*processes, *self.producers])
            self.selector.close()
            self.topic.close()
            self.opened.close()
        return self

    def _step(self):
        self._produce()
        if len(self.members) < self.wanted_members:
            self._start()
        elif self.random.random() < 0.05:
            self._disturb()
        for name, (member, until) in list(self.stopped.items()):
            if time.monotonic() >= until:
                member.process.send_signal(signal.SIGCONT)
                del self.stopped[name]
        self._read(0.01)
        self._watch_commits()

    def _produce(self):
        while len(self.producers) < 2:
            self.producers.append(start(self.directory, "produce", "t", "-K", ":", "-q", stderr=subprocess.PIPE))
        producer = self.random.choice(self.producers)
        lines = []
        for _ in range(self.random.randint(1, 20)):
            self.sent += 1
            lines.append(b"k%d:%d\n" % (self.random.randint(0, 99), self.sent))
        with contextlib.suppress(BrokenPipeError):
            producer.stdin.write(b"".join(lines))
            producer.stdin.flush()
        if self.random.random() < 0.01:
            producer.kill()
            producer.wait()
            self.producers.remove(producer)
            kill_all([producer])

    def _start(self):
        member = Member(self.directory, f"m{self.counts['start']}", self.folder, ["-F"])
        self.counts["start"] += 1
        self.members.append(member)
        self.selector.register(member.process.stdout, selectors.EVENT_READ, member)

    def _disturb(self):
        member = self.random.choice(self.members)
        if member.process.pid not in {one.pid for one in members_of(self.topic.directory, "g")}:
            return  # ^C while the interpreter starts is answered by Python, not by mk.
        way = self.random.choice(self.ways)
        self.counts[way] += 1
        if way == "SIGSTOP":
            self.stopped[id(member)] = (member, time.monotonic() + self.random.choice((0.05, 0.3, 1.2)))
            member.process.send_signal(signal.SIGSTOP)
            return
        if way == "SIGTSTP":
            self.stopped[id(member)] = (member, time.monotonic() + self.random.choice((0.05, 0.3, 1.2)))
            member.process.send_signal(signal.SIGTSTP)
            return
        if id(member) in self.stopped:
            if way != "SIGKILL":
                return  # It would not be heard before it goes on.
            del self.stopped[id(member)]
        member.process.send_signal(getattr(signal, way))
        self.members.remove(member)
        self.ended.append(member)

    def _read(self, seconds):
        for key, _ in self.selector.select(seconds):
            if not key.data.take():
                self.selector.unregister(key.fileobj)

    def _watch_commits(self):
        claims = open_claims(self.topic.directory, "g", topic="t", topic_id=self.topic.topic_id)
        try:
            for partition, generations in claims.generations().items():
                slots = claims.slots(partition, generations[-1])
                if not slots:
                    continue  # Somebody is fencing, and has not said yet where it goes on from.
                offset = slots[0].offset
                before = self.offsets.get(partition, -1)
                assert offset >= before, f"partition {partition}: {before} was committed, and now it is {offset}"
                self.offsets[partition] = offset
        finally:
            claims.close()

    def _settle(self):
        """End the producers, let everybody go on, end the members cleanly, and read what is left."""
        for producer in self.producers:
            producer.stdin.close()
            assert producer.wait(60) == 0, producer.stderr.read()
        for member, _ in self.stopped.values():
            member.process.send_signal(signal.SIGCONT)
        for member in self.members:
            member.process.send_signal(signal.SIGTERM)
        self.ended += self.members
        self.members = []
        limit = time.monotonic() + 60
        while self.selector.get_map():
            assert time.monotonic() < limit, "a member does not end"
            for member in self.ended:
                # It stops itself once it has let go of its partitions, which may be after it was told to go on.
                if member.process.poll() is None:
                    member.process.send_signal(signal.SIGCONT)
            self._read(0.1)
        for member in self.ended:
            status = member.process.wait(60)
            assert status in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL), (status, member.errors.read_text())
            assert "error" not in (text := member.errors.read_text()) and "Traceback" not in text, text
        last = Member(self.directory, "last", self.folder, [])
        while last.take():
            pass
        assert last.process.wait(60) == 0, last.errors.read_text()
        self.ended.append(last)

    def check(self, *, exactly_once):
        log = {}
        for line in must(self.directory, "consume", "t", "-J").stdout.splitlines():
            record = json.loads(line)
            log[record["partition"], record["offset"]] = record["payload"]
        times = dict.fromkeys(log, 0)
        for member in self.ended:
            at = {}
            for partition, offset, value in member.printed:
                assert log[partition, offset] == value
                times[partition, offset] += 1
                if exactly_once:
                    assert offset > at.get(partition, -1), "a member printed a partition out of order"
                at[partition] = offset
        skipped = [place for place, count in times.items() if not count]
        assert not skipped, f"{len(skipped)} of {len(log)} records were skipped, such as {skipped[:5]}"
        doubled = sum(count > 1 for count in times.values())
        assert not (exactly_once and doubled), f"{doubled} records came twice, though every stop was clean"
        assert must(self.directory, "consume", "t", "-g", "g").stdout == ""
        assert run(self.directory, "topics", "verify", "t").status == 0
        print(f"{len(log)} records, {doubled} of them more than once; {self.counts}")


def storm(tmp_path, seconds, *, partitions, members, seed, ways, exactly_once=False):
    directory = tmp_path / "log"
    create_topic(directory, "t", partitions, segment_bytes=65536)
    must(directory, "consume", "t", "-g", "g")
    happening = GroupStorm(directory, tmp_path, partitions=partitions, members=members, seed=seed, ways=ways)
    happening.run(seconds).check(exactly_once=exactly_once)
    assert sum(happening.counts[way] for way in ways) >= 5, "too little happened to prove anything"


def test_members_that_are_killed_stopped_and_continued_skip_nothing(tmp_path):
    storm(tmp_path, 9, partitions=6, members=4, seed=1, ways=("SIGKILL", "SIGSTOP", "SIGTERM", "SIGTSTP"))


def test_when_every_stop_is_a_clean_one_nothing_comes_twice(tmp_path):
    storm(tmp_path, 7, partitions=5, members=3, seed=2, ways=("SIGTERM", "SIGINT"), exactly_once=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_minute_of_storm(tmp_path, seed):
    storm(
        tmp_path,
        60,
        partitions=4 + seed,
        members=3 + 2 * seed,
        seed=seed,
        ways=("SIGKILL", "SIGSTOP", "SIGTERM", "SIGTSTP"),
    )


@pytest.mark.slow
def test_a_minute_of_clean_stops(tmp_path):
    storm(tmp_path, 60, partitions=7, members=5, seed=9, ways=("SIGTERM", "SIGINT"), exactly_once=True)
