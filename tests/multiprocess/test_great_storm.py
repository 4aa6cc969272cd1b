"""Everything at once: producers, members of two groups, replication, compaction and snapshots, all of them ended again and again.

In the end the checker of anomalies has looked at the records, what readers were given and what was committed; the copy is
one, and was the front of one whenever its replication was killed; the snapshots are what was there.
"""

import json
import signal
import subprocess

import pytest
from group_storm import GroupStorm, storm
from history import Anomaly, History, parse_records, read_rest, verify
from processes import TIMEOUT, create_topic, kill_all, must, run, start

from tests.proof.figures import count

WAYS = ("SIGKILL", "SIGSTOP", "SIGTERM", "SIGINT", "SIGTSTP")
KEYS = 12


class GreatStorm(GroupStorm):
    """A GroupStorm beside which more happens: see the module."""

    def __init__(self, directory, folder, **keywords):
        super().__init__(directory, folder, **keywords)
        self.copy = folder / "copy"
        self.actors = {}
        self.snapshots = []
        self.seen_copies = []
        self.started = 0
        self.compacted = History(is_gone=self._is_gone)
        self.last, self.keys = {}, {}
        create_topic(directory, "k", cleanup_policy="compact", segment_bytes=4096, min_cleanable_dirty_ratio=0.01)
        self.counts.update(dict.fromkeys(("replicate", "compact", "snapshot", "produce"), 0))
        self.other_kills = self.other_stops = 0

    def run(self, seconds):
        try:
            return super().run(seconds)
        finally:
            for actor in self.actors.values():
                actor.send_signal(signal.SIGCONT)
            kill_all(self.actors.values())

    def _step(self):
        super()._step()
        self._keep("replicate", "replicate", str(self.directory), str(self.copy), "-F", "-q")
        self._keep("produce", "produce", "k", "-K", ":", "-v", "--lock-wait", "60s", stdin=subprocess.PIPE)
        if self.random.random() < 0.05:
            self._keep("compact", "topics", "compact", "k", "-q")
        if self.random.random() < 0.01 and "snapshot" not in self.actors:
            self.snapshots.append(self.folder / f"snapshot{len(self.snapshots)}")
            self._keep("snapshot", "topics", "snapshot", str(self.snapshots[-1]), "-q")
        self._feed()
        for name, actor in list(self.actors.items()):
            if actor.poll() is not None:
                self._ended(name)
            elif self.random.random() < (0.02 if name == "compact" else 0.007):
                if self.random.random() < 0.2:
                    actor.send_signal(signal.SIGSTOP)
                    self._read(self.random.random() * 0.05)
                    actor.send_signal(signal.SIGCONT)
                    self.other_stops += 1
                    continue
                actor.kill()
                actor.wait(TIMEOUT)
                self.other_kills += 1
                self._ended(name)

    def _keep(self, name, *words, stdin=subprocess.DEVNULL):
        """Start a command, unless one of its kind runs."""
        if name in self.actors:
            return
        self.started += 1
        self.counts[name] += 1
        with open(self.folder / f"{name}-{self.started}", "wb") as stderr:
            actor = start(self.directory, *words, stdin=stdin, stdout=stderr, stderr=stderr)
        actor.name = f"{name}-{self.started}"
        self.actors[name] = actor

    def _feed(self):
        """Give the producer of the topic that is compacted a few records."""
        actor = self.actors["produce"]
        lines = []
        for _ in range(self.random.randint(0, 5)):
            self.sent += 1
            key, value = b"k%d" % self.random.randrange(KEYS), b"%d-%s" % (self.sent, b"x" * 50)
            self.compacted.note_sent(actor.name, value, key)
            lines.append(key + b":" + value + b"\n")
        try:
            actor.stdin.write(b"".join(lines))
            actor.stdin.flush()
        except BrokenPipeError:
            pass  # Why it has ended is looked at when that is noticed.

    def _ended(self, name):
        """Look at what a command has come to that is not there any more, and, of replication, at what it has done by then."""
        actor = self.actors.pop(name)
        kill_all([actor])
        text = (self.folder / actor.name).read_text()
        assert actor.returncode in (0, -signal.SIGKILL, -signal.SIGTERM), (actor.name, actor.returncode, text)
        assert "error" not in text and "Traceback" not in text, (actor.name, text)
        if name == "produce":
            self.compacted.note_acks(actor.name, text)
        elif name == "replicate" and (self.copy / "topics" / "t").exists():
            self.seen_copies.append([self._read_copy(partition) for partition in range(self.partitions)])
        elif name == "snapshot" and actor.returncode:
            self.snapshots.pop()

    def _read_copy(self, partition):
        try:
            return read_rest(self.copy, "t", partition, quiet=False)
        except FileNotFoundError:
            return {}  # The partition was not made yet.

    def _settle(self):
        for name, actor in list(self.actors.items()):
            actor.send_signal(signal.SIGTERM)
            if name == "produce":
                actor.stdin.close()
            actor.wait(TIMEOUT)
            self._ended(name)
        super()._settle()

    def check(self):
        logs = super().check()
        must(self.directory, "replicate", str(self.directory), str(self.copy), "-q")
        compared = run(self.directory, "replicate", str(self.directory), str(self.copy), "--verify")
        assert compared.status == 0, compared
        whole = [dict(enumerate(log)) for log in logs]
        if [self._read_copy(partition) for partition in range(self.partitions)] != whole:
            raise Anomaly("the copy is not what it is a copy of")
        for seen in self.seen_copies:
            self._check_front("a copy whose replication was killed", seen, whole)
        for place in self.snapshots:
            seen = [read_rest(place, "t", partition, quiet=False) for partition in range(self.partitions)]
            self._check_front(str(place), seen, whole)
            verify(place, "t")
            verify(place, "k")
        for place in (self.directory, self.copy):
            verify(place, "k")
        self._check_compacted()
        # A group goes on in the copy where it stood.
        must(self.copy, "replicate", "promote", "-q")
        for group in self.groups:
            assert must(self.copy, "consume", "t", "-g", group).stdout == ""
        count("kills", self.other_kills)
        count("stops", self.other_stops)
        print(f"{self.other_kills} other kills, {len(self.seen_copies)} copies, {len(self.snapshots)} snapshots")

    @staticmethod
    def _check_front(what, seen, whole):
        for partition, found in enumerate(seen):
            if found != {offset: whole[partition].get(offset) for offset in range(len(found))}:
                raise Anomaly(f"{what} is not the front of partition {partition}")

    def _check_compacted(self):
        """Of each key the last record is there, in the source and in the copy; and nothing else than was sent."""
        found = [
            parse_records(must(place, "consume", "k", "-J", "-q").stdout.encode())
            for place in (self.directory, self.copy)
        ]
        for records in found:
            for _, offset, (key, _) in records:
                self.last[key] = max(self.last.get(key, -1), offset)
        for (producer, _), sent in self.compacted.sent.items():
            told = [offset for _, first, end in self.compacted.acks[producer] for offset in range(first, end + 1)]
            self.keys.update(zip(told, (key for key, _ in sent)))
        for name, records in zip(("source", "copy"), found):
            self.compacted.checker.polled(name, 0, [(offset, record) for _, offset, record in records])
        self.compacted.check([])

    def _is_gone(self, partition, offset):
        return offset < self.last.get(self.keys.get(offset), -1)


def test_everything_at_once_and_nothing_is_lost(tmp_path, thoroughness):
    great_storm(tmp_path, thoroughness.pick(8, 120), seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_the_same_for_two_minutes(tmp_path, seed):
    great_storm(tmp_path, 120, seed=seed)


def great_storm(tmp_path, seconds, seed):
    happening = storm(
        tmp_path,
        seconds,
        kind=GreatStorm,
        partitions=4,
        members=5,
        seed=seed,
        ways=WAYS,
        groups=("g", "h"),
    )
    described = json.loads(must(happening.directory, "groups", "--json").stdout)
    assert {group["group"] for group in described} == {"g", "h"}
