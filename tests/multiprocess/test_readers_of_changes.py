"""Readers of a log that changes under them: each record once and in order, or a gap that is named, or an error; never in silence.

Three kinds: one that reads what is there and ends, again and again; one that follows; and one that begins with the last few
records and follows, by the Python API. They meet recoveries from torn tails, rolls, retention and compaction.
"""

import random
import re

import pytest
from followers import TAIL, followers_of
from fork_server import Job
from history import History, parse_records, read_log, read_rest, verify
from processes import kill_all, wait_until

from tests.proof.figures import count

GONE = re.compile(r"^mk: t (\d+): offsets (\d+) to (\d+) are gone", re.MULTILINE)
LAST = (b"last", b"the end")


class Race:
    """Changes and readers side by side, a few at a time, through the server; and followers all the while."""

    settings = ("segment.bytes=4096",)

    def __init__(self, server, folder, seed):
        self.server, self.folder = server, folder
        self.directory = folder / "log"
        self.chance = random.Random(seed)
        self.number = 0
        self.kills = self.stops = 0
        self.history = History(is_gone=self.is_gone)
        self.readings = []
        words = [word for setting in self.settings for word in ("-c", setting)]
        server.must(self.directory, "topics", "create", "t", *words)

    def is_gone(self, partition, offset):
        return False

    def run(self, rounds):
        followers = followers_of(self.directory, self.folder)
        try:
            for _ in range(rounds):
                jobs = [self.producer() for _ in range(2)] + [self.reader(), *self.changes()]
                self.chance.shuffle(jobs)
                for job in jobs:
                    self.server.submit(job)
                while self.server.running:
                    self.take(self.server.wait())
                if self.chance.random() < 0.2:
                    self.chance.choice(followers).toggle()
                    self.stops += 1
            self.history.checker.sent("last", 0, LAST)
            self.server.must(self.directory, "produce", "t", LAST[1].decode(), "-k", LAST[0].decode(), "-q")
            for follower in followers:
                follower.go_on()
                wait_until(lambda follower=follower: follower.has_seen(LAST) or follower.process.poll() is not None)
                follower.end()
        finally:
            kill_all([follower.process for follower in followers])
        for follower in followers:
            self.readings.append((follower.name, follower.records(), follower.errors.read_text()))
        self.check()
        count("kills", self.kills)
        count("stops", self.stops)

    def producer(self):
        """A producer, with keys, which is killed now and then: what it leaves torn is mended by the next one."""
        self.number += 1
        name = f"p{self.number}"
        records = [
            (b"k%d" % self.chance.randint(0, 9), b"%s-%d-%s" % (name.encode(), n, b"x" * self.chance.randint(0, 200)))
            for n in range(self.chance.randint(1, 20))
        ]
        for key, value in records:
            self.history.note_sent(name, value, key)
        stdin = [b"".join(key + b":" + value + b"\n" for key, value in records)]
        kill_after = self.chance.uniform(0, 0.03) if self.chance.random() < 0.4 else None
        return Job(self.directory, ("produce", "t", "-v", "-K", ":"), stdin=stdin, kill_after=kill_after, note=name)

    def reader(self):
        some = ("--tail", str(TAIL)) if self.chance.random() < 0.3 else ()
        return Job(self.directory, ("consume", "t", "-J", *some))

    def changes(self):
        return []

    def take(self, done):
        assert done.is_killed or done.status == 0, done
        self.kills += done.is_killed
        if done.job.words[0] == "produce":
            self.history.note_acks(done.job.note, done.stderr)
        elif done.job.words[0] == "consume":
            self.number += 1
            self.readings.append((f"r{self.number}", parse_records(done.stdout), done.stderr))

    def check(self):
        for name, records, errors in self.readings:
            for run in self.runs_of(name, records, errors):
                self.history.checker.assigned(name, 0)
                self.history.checker.polled(name, 0, run)
        self.history.check([self.log()])
        verify(self.directory, "t")
        begun = sum(len(records) for _, records, _ in self.readings)
        print(
            f"{type(self).__name__}: {self.kills} kills, {self.stops} stops, {len(self.readings)} readers of {begun} records"
        )

    def runs_of(self, name, records, errors):
        """Return what a reader was given in pieces: one ends where it was told what is gone. Nothing else ends one."""
        gone = {at for _, first, last in GONE.findall(errors) for at in range(int(first), int(last) + 1)}
        unexplained = [line for line in errors.splitlines() if not GONE.match(line)]
        assert not unexplained, (name, unexplained)
        runs = [[]]
        for _, offset, record in records:
            if runs[-1] and offset > (due := runs[-1][-1][0] + 1) and gone.issuperset(range(due, offset)):
                runs.append([])
            runs[-1].append((offset, record))
        for offset in gone:
            assert self.is_gone(0, offset), f"{name} was told that {offset} is gone, and it is there"
        return [run for run in runs if run]

    def log(self):
        return read_log(self.directory, "t")


class Tearing(Race):
    """Rolls, and tails that look like much: a batch that does not fit there, a part of one, zeros."""

    def changes(self):
        if self.chance.random() < 0.5:
            partition = self.directory / "topics" / "t" / "0"
            segment = max(partition.glob("*.log"))
            with segment.open("ab") as file:
                first = min(partition.glob("*.log")).read_bytes()
                file.write(self.chance.choice((first[:400], first[:130], first[:50], bytes(500))))
        return []


class Trimming(Race):
    """What a reader has not read yet is removed: it says which offsets, and goes on behind."""

    settings = ("segment.bytes=4096", "retention.bytes=12000")

    def __init__(self, *given):
        super().__init__(*given)
        self.start = 0

    def is_gone(self, partition, offset):
        return offset < self.start

    def changes(self):
        if self.chance.random() < 0.5:
            return [Job(self.directory, ("topics", "clean", "-q"))]
        to = str(self.chance.randint(0, 40 * self.number // 10))
        return [Job(self.directory, ("topics", "trim", "t", "--to", to, "--yes", "-q"), note="trim")]

    def take(self, done):
        # Trimming to behind the end is refused.
        if done.job.note == "trim" and done.status:
            assert done.status == 66, done
            return
        super().take(done)

    def log(self):
        return read_rest(self.directory, "t")

    def check(self):
        self.start = min(self.log())
        super().check()
        named = sum(bool(GONE.search(errors)) for _, _, errors in self.readings)
        print(f"{named} readers were told of what was gone")


class Compacting(Race):
    """Segments are replaced by compacted ones: a reader sees each record, or a later one of its key."""

    settings = ("segment.bytes=4096", "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01")

    def __init__(self, *given):
        super().__init__(*given)
        self.keys, self.last = {}, {}

    def changes(self):
        return [Job(self.directory, ("topics", "compact", "t", "-q"))]

    def is_gone(self, partition, offset):
        return offset not in self.log_records and offset < self.last.get(self.keys.get(offset), -1)

    def log(self):
        return self.log_records

    def check(self):
        last = self.server.must(self.directory, "consume", "t", "-J", "-q")
        self.log_records = {offset: record for _, offset, record in parse_records(last.stdout)}
        for _, records, _ in (*self.readings, (None, parse_records(last.stdout), "")):
            for _, offset, (key, _) in records:
                self.keys[offset] = key
                self.last[key] = max(self.last.get(key, -1), offset)
        # Of what no reader was given, the key is what its producer was told.
        for (producer, _), sent in self.history.sent.items():
            told = [offset for _, first, last in self.history.acks[producer] for offset in range(first, last + 1)]
            self.keys.update((offset, key) for offset, (key, _) in zip(told, sent))
        super().check()


@pytest.mark.parametrize("kind", [Tearing, Trimming, Compacting], ids=lambda kind: kind.__name__)
@pytest.mark.every_case
def test_readers_of_a_log_that_changes_are_given_each_record_once_or_told_of_a_gap(
    server, tmp_path, kind, thoroughness
):
    kind(server, tmp_path, kind.__name__).run(thoroughness.pick(25, 400))
