"""A storm over a group: members and producers are killed, stopped, continued and started at random, for some seconds.

What producers were told, what the members printed and what was committed meanwhile goes to the checker: nothing lost,
nothing skipped, nothing altered, no commit taken back, and, when every stop was a clean one, nothing twice.
"""

import contextlib
import json
import os
import random
import selectors
import signal
import subprocess
import time

from history import History, read_log, settled_commits
from processes import create_topic, kill_all, must, run, start

from mk.groups.claim_directory import open_claims
from mk.groups.membership import members_of
from mk.storage.log_directory import LogDirectory
from tests.proof.figures import count

FEWEST = 5
"""Disturbances without which nothing is proved."""

PATIENCE = 60
"""Seconds in which there have to be so many."""


class Member:
    """A process that reads for the group."""

    def __init__(self, directory, name, group, folder, words, session_timeout):
        self.name = name
        self.group = group
        self.was_stopped = False
        self.errors = folder / f"{name}.err"
        words = ("consume", "t", "-g", group, "-J", "--session-timeout", session_timeout, *words)
        with open(self.errors, "wb") as errors:
            self.process = start(directory, *words, stdin=subprocess.DEVNULL, stderr=errors)
        os.set_blocking(self.process.stdout.fileno(), False)
        self._data = b""

    @property
    def may_repeat(self):
        """Whether it may have handed over once more what it held: somebody took it for stopped, as it was, or was too slow."""
        return self.was_stopped or "has taken partition" in self.errors.read_text()

    def take(self):
        """Read what there is: (partition, offset, (key, value)) each; None at the end of the output."""
        try:
            piece = os.read(self.process.stdout.fileno(), 1 << 18)
        except BlockingIOError:
            return []
        if not piece:
            return None
        *lines, self._data = (self._data + piece).split(b"\n")
        records = map(json.loads, lines)
        return [(one["partition"], one["offset"], (one["key"].encode(), one["payload"].encode())) for one in records]


class GroupStorm:
    """Keeps members and two producers running on topic `t`, and disturbs them in some of the ways, which are signals.

    exactly_once: every way is a clean one, and no record may come twice. pauses: for how long somebody is stopped.
    """

    def __init__(
        self,
        directory,
        folder,
        *,
        partitions,
        members,
        seed,
        ways,
        exactly_once=False,
        session_timeout="400ms",
        pauses=(0.05, 0.3, 1.2),
        groups=("g",),
    ):
        self.directory, self.folder = directory, folder
        self.partitions, self.wanted_members = partitions, members
        self.random = random.Random(seed)
        self.ways = ways
        self.exactly_once = exactly_once
        self.session_timeout = session_timeout
        self.pauses = pauses
        self.groups = groups
        self.history = History(partitions)
        self.events = []  # (member, what it was given), or ((group, partition), what was committed)
        self.times = {}
        self.members = []
        self.ended = []
        self.stopped = {}
        self.producers = {}
        self.started_producers = 0
        self.sent = 0
        self.counts = dict.fromkeys(("start", "kills of producers", *ways), 0)
        self.offsets = {}
        self.commits = 0
        self.selector = selectors.DefaultSelector()
        self.opened = LogDirectory(str(directory))
        self.topic = self.opened.open_topic("t")

    def run(self, seconds):
        """Storm for so many seconds; longer on a machine that is too busy for much to happen in that time."""
        deadline = time.monotonic() + seconds
        try:
            while (now := time.monotonic()) < deadline or (self.disturbances < FEWEST and now < deadline + PATIENCE):
                self._step()
            self._settle()
        finally:
            processes = [one.process for one in (*self.members, *self.ended)]
            for process in (*processes, *self.producers.values()):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
            kill_all([*processes, *self.producers.values()])
            self.selector.close()
            self.topic.close()
            self.opened.close()
        return self

    @property
    def disturbances(self):
        return sum(self.counts[way] for way in set(self.ways))

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
            name = f"p{self.started_producers}"
            self.started_producers += 1
            with open(self.folder / name, "wb") as stderr:
                self.producers[name] = start(
                    self.directory, "produce", "t", "-K", ":", "-v", "--lock-wait", "60s", stderr=stderr
                )
        name = self.random.choice(list(self.producers))
        producer = self.producers[name]
        lines = []
        for _ in range(self.random.randint(1, 20)):
            self.sent += 1
            key, value = b"k%d" % self.random.randint(0, 99), b"%d" % self.sent
            self.history.note_sent(name, value, key)
            lines.append(key + b":" + value + b"\n")
        with contextlib.suppress(BrokenPipeError):
            producer.stdin.write(b"".join(lines))
            producer.stdin.flush()
        if self.random.random() < 0.01:
            kill_all([self.producers.pop(name)])
            self.counts["kills of producers"] += 1

    def _start(self):
        name, group = f"m{self.counts['start']}", self.groups[self.counts["start"] % len(self.groups)]
        member = Member(self.directory, name, group, self.folder, ["-F"], self.session_timeout)
        self.counts["start"] += 1
        self.members.append(member)
        self.selector.register(member.process.stdout, selectors.EVENT_READ, member)

    def _disturb(self):
        member = self.random.choice(self.members)
        if member.process.pid not in {one.pid for one in members_of(self.topic.directory, member.group)}:
            return  # ^C while the interpreter starts is answered by Python, not by mk.
        way = self.random.choice(self.ways)
        self.counts[way] += 1
        if way in ("SIGSTOP", "SIGTSTP"):
            self.stopped[id(member)] = (member, time.monotonic() + self.random.choice(self.pauses))
            member.was_stopped = True
            member.process.send_signal(getattr(signal, way))
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
            if not self._take(key.data):
                self.selector.unregister(key.fileobj)

    def _take(self, member):
        records = member.take()
        if records is None:
            return False
        self.events.append((member, records))
        for partition, offset, _ in records:
            place = member.group, partition, offset
            self.times[place] = self.times.get(place, 0) + 1
        return True

    def _watch_commits(self):
        for group in self.groups:
            claims = open_claims(self.topic.directory, group, topic="t", topic_id=self.topic.topic_id)
            try:
                for partition, offset in settled_commits(claims):
                    self._see_commit(group, partition, offset)
            finally:
                claims.close()

    def _see_commit(self, group, partition, offset):
        if offset != self.offsets.get((group, partition)):
            self.events.append(((group, partition), offset))
            self.offsets[group, partition] = offset
            self.commits += 1

    def _settle(self):
        """End the producers, let everybody go on, end the members cleanly, and read what is left."""
        for name, producer in self.producers.items():
            producer.stdin.close()
            assert producer.wait(60) == 0, (self.folder / name).read_text()
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
        for group in self.groups:
            last = Member(self.directory, f"last of {group}", group, self.folder, [], self.session_timeout)
            os.set_blocking(last.process.stdout.fileno(), True)
            while self._take(last):
                pass
            assert last.process.wait(60) == 0, last.errors.read_text()
            self.ended.append(last)
        self._watch_commits()

    def check(self):
        for number in range(self.started_producers):
            self.history.note_acks(f"p{number}", (self.folder / f"p{number}").read_text())
        for who, what in self.events:
            if isinstance(who, tuple):
                self.history.checker.committed(*who, what)
            else:
                given = {"is_strict": self.exactly_once, "was_stopped": who.may_repeat}
                self.history.note_given(who.name, what, group=who.group, **given)
        logs = [read_log(self.directory, "t", partition) for partition in range(self.partitions)]
        ends = {(group, partition): len(log) for group in self.groups for partition, log in enumerate(logs)}
        assert self.offsets == ends
        self.history.check(logs)
        doubled = sum(times > 1 for times in self.times.values())
        assert not (self.exactly_once and doubled), f"{doubled} records came twice, though every stop was clean"
        for group in self.groups:
            assert must(self.directory, "consume", "t", "-g", group).stdout == ""
        assert run(self.directory, "topics", "verify", "t").status == 0
        count("kills", self.counts.get("SIGKILL", 0) + self.counts["kills of producers"])
        count("stops", self.counts.get("SIGSTOP", 0) + self.counts.get("SIGTSTP", 0))
        count("commits", self.commits)
        print(f"{sum(map(len, logs))} records, {doubled} more than once; {self.commits} commits; {self.counts}")
        return logs


def storm(tmp_path, seconds, *, partitions, kind=GroupStorm, **keywords):
    """Storm over a fresh topic, check it, and return what happened."""
    directory = tmp_path / "log"
    create_topic(directory, "t", partitions, segment_bytes=65536)
    for group in keywords.get("groups", ("g",)):
        must(directory, "consume", "t", "-g", group)
    happening = kind(directory, tmp_path, partitions=partitions, **keywords)
    happening.run(seconds).check()
    assert happening.disturbances >= FEWEST, "too little happened to prove anything"
    return happening
