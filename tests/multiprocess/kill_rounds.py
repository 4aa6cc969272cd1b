"""What a loop of kills does to a fresh directory, and what has to hold then: one class for each kind of work.

A round hands out jobs (see fork_server), a few at a time, most of which are killed with SIGKILL at a random moment of their
work, or as soon as they have acknowledged something; it notes what they said, and in the end goes on as a user would, with
no repair step, and has the checker of anomalies look at everything.
"""

from itertools import pairwise

from fork_server import Job
from history import Anomaly, History, parse_records, read_log, read_rest, verify

from tests.proof.figures import count

SPAN = 1.0
"""Kills fall into so many times what the work takes when nobody is killed. Its end is struck by those at an answer."""


SHORTEST = 0.003
"""Seconds that any work is taken to need: the server may see a short one begin and end at once."""


class Round:
    """Work on one directory, until `kills` of its processes were killed. chance: a seeded random.Random.

    share: how many kills of this kind there are in the long run, in comparison with others: fewer of what takes long.
    """

    topics = ()
    share = 1.0

    def __init__(self, server, directory, chance, spans):
        self.server, self.directory, self.chance, self.spans = server, directory, chance, spans
        self.kills = self.stops = 0
        self.number = 0
        for name, partitions, settings in self.topics:
            words = [word for setting in settings for word in ("-c", setting)]
            server.must(directory, "topics", "create", name, "-p", str(partitions), *words)

    def run(self, kills, at_once=4):
        """Run jobs until so many were killed, and all have ended; then check, and count what has held."""
        while self.kills < kills or self.server.running:
            while self.kills < kills and self.server.running < at_once:
                self.server.submit(self.next_job())
            done = self.server.wait()
            name = done.job.words[0]
            assert done.is_killed or done.status in self.allowed(done), done
            assert "Traceback" not in done.stderr and ("error" not in done.stderr or done.status), done
            if done.status == 0 and done.job.stop is None:
                self.spans[name] = 0.9 * self.spans.get(name, done.seconds) + 0.1 * done.seconds
            self.kills += done.is_killed
            self.stops += done.stopped
            self.ended(done)
        self.check()
        count("kills", self.kills)
        count("stops", self.stops)
        return self.kills

    def job(self, *words, note=None, may_answer=True, **keywords):
        """Return a job with the way in which it shall end: most are killed, some stopped on the way, some left alone."""
        way = self.chance.random()
        span = SPAN * max(self.spans.get(words[0], 0.006), SHORTEST)
        if way < 0.08:
            pass
        elif way < 0.2 and may_answer:
            keywords["kill_at_answer"] = True
        else:
            keywords["kill_after"] = self.chance.uniform(0, span)
            if way > 0.95:
                keywords["stop"] = (self.chance.uniform(0, span), self.chance.uniform(0, 0.01))
                keywords["kill_after"] += self.chance.uniform(0, 0.01)
        return Job(self.directory, words, note=note, **keywords)

    def allowed(self, done):
        """Return the exit statuses that a job may have which is not killed."""
        return (0,)

    def next_job(self):
        raise NotImplementedError

    def ended(self, done):
        """Note what a job has said."""

    def check(self):
        raise NotImplementedError


class Producing(Round):
    """Producers of lines, without keys to one partition or with keys to several, in segments that roll all the time."""

    partitions = 1
    settings = ("segment.bytes=4096",)
    acks = ("1", "1", "1", "0")

    def __init__(self, *given):
        self.topics = (("t", self.partitions, self.settings),)
        self.history = History(self.partitions)
        self.pieces = {}
        super().__init__(*given)

    def next_job(self):
        return self.producer() if self.chance.random() < 0.95 else self.reader()

    def producer(self, *more):
        self.number += 1
        name = f"p{self.number}"
        pieces, numbers = [], iter(range(1000))
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            piece = []
            for _ in range(self.chance.randint(1, 40)):
                key = b"k%d" % self.chance.randint(0, 40) if self.partitions > 1 else None
                piece.append((key, b"%s-%d-%s" % (name.encode(), next(numbers), b"x" * self.chance.randint(0, 120))))
            pieces.append(piece)
        stdin = [b"".join(self.line(*record) for record in piece) for piece in pieces]
        keyed = ("-K", ":") if self.partitions > 1 else ()
        words = "produce", "t", "-v", "--acks", self.chance.choice(self.acks), *keyed, *more
        is_file = len(stdin) == 1 and self.chance.random() < 0.5
        return self.job(*words, stdin=stdin, is_file=is_file, note=(name, pieces))

    @staticmethod
    def line(key, value):
        return value + b"\n" if key is None else key + b":" + value + b"\n"

    def reader(self):
        return self.job("consume", "t", "-J", "-q", may_answer=False)

    def ended(self, done):
        if done.job.words[0] == "produce":
            name, pieces = done.job.note
            records = [record for piece in pieces[: done.given] for record in piece]
            for key, value in records:
                self.history.note_sent(name, value, key)
            self.history.note_acks(name, done.stderr)
            if done.status == 0:
                told = sum(last - first + 1 for _, first, last in self.history.acks[name])
                assert told == len(records) == sum(map(len, pieces)), done
        elif done.job.words[0] == "consume" and "-g" not in done.job.words:
            self.number += 1
            self.history.note_given(f"r{self.number}", parse_records(done.stdout))

    def check(self):
        self.history.check(self.logs())
        verify(self.directory, "t")
        print(f"{type(self).__name__}: {self.kills} kills, {self.history.acknowledged} records acknowledged")

    def logs(self):
        """Have somebody append to each partition, with which what was left torn is mended, and read all strictly."""
        logs = []
        for partition in range(self.partitions):
            self.history.checker.sent("last", partition, (None, b"last"))
            self.server.must(self.directory, "produce", "t", "last", "-q", "-p", str(partition))
            logs.append(self.read(partition))
        return logs

    def read(self, partition):
        return read_log(self.directory, "t", partition)


class ProducingByKey(Producing):
    partitions = 3


class Importing(Producing):
    """Inputs under producer ids, each started again and again until it ends well, beside producers that have none."""

    partitions = 2
    inputs = 3

    def __init__(self, *given):
        super().__init__(*given)
        self.unfinished = {}
        self.under_way = set()
        self.finished = {}

    def next_job(self):
        free = self.unfinished.keys() - self.under_way
        if len(self.unfinished) < self.inputs:
            self.number += 1
            name = f"i{self.number}"
            lines = [(b"k%d" % (n * n % 13), b"%s-%d-%s" % (name.encode(), n, b"y" * (n % 90))) for n in range(150)]
            self.unfinished[name] = lines
            for key, value in lines:
                self.history.note_sent(name, value, key)
            free.add(name)
        if not free or self.chance.random() < 0.4:
            return self.producer()
        name = self.chance.choice(sorted(free))
        self.under_way.add(name)
        return self.import_job(name)

    def import_job(self, name):
        stdin = [b"".join(self.line(*record) for record in self.unfinished[name])]
        return self.job(
            "produce",
            "t",
            "-v",
            "-K",
            ":",
            "--producer-id",
            name,
            stdin=stdin,
            note=name,
            is_file=len(stdin[0]) % 2 == 0,
        )

    def ended(self, done):
        if not isinstance(done.job.note, str):
            super().ended(done)
            return
        self.under_way.remove(done.job.note)
        if done.status == 0:
            self.finished[done.job.note] = self.unfinished.pop(done.job.note)

    def check(self):
        for name in list(self.unfinished):
            job = self.import_job(name)
            self.server.must(self.directory, *job.words, stdin=job.stdin)
            self.finished[name] = self.unfinished.pop(name)
        logs = self.logs()
        for name, lines in self.finished.items():
            for partition, log in enumerate(logs):
                wanted = [record for record in lines if self.history.partition_of(record[0]) == partition]
                found = [record for record in log if record[1].startswith(name.encode() + b"-")]
                if found != wanted:
                    raise Anomaly(f"import {name}: {len(found)} records in partition {partition}, not {len(wanted)}")
            count("acknowledged", len(lines))
        self.history.check(logs)
        verify(self.directory, "t")
        print(f"Importing: {self.kills} kills, {len(self.finished)} inputs, {self.history.acknowledged} others")


class Cleaning(Producing):
    """Producers, and retention that is killed: what it has not removed is there, what it has is its beginning."""

    settings = ("segment.bytes=4096", "retention.bytes=20000")

    def __init__(self, *given):
        super().__init__(*given)
        self.start = 0
        self.history = History(1, is_gone=lambda partition, offset: offset < self.start)

    def next_job(self):
        if self.chance.random() < 0.3:
            return self.job("topics", "clean", "-q", may_answer=False)
        return super().next_job()

    def read(self, partition):
        rest = read_rest(self.directory, "t", partition)
        self.start = min(rest)
        return rest


class Compacting(Producing):
    """Producers with few keys, and compactions that are killed: of each key, the last record stays."""

    settings = ("segment.bytes=4096", "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01")
    partitions = 2

    def __init__(self, *given):
        super().__init__(*given)
        self.last = {}
        self.offsets = {}
        self.history = History(self.partitions, is_gone=self.is_gone)

    def is_gone(self, partition, offset):
        key = self.offsets.get((partition, offset))
        return offset < self.last.get((partition, key), -1)

    def next_job(self):
        if self.chance.random() < 0.3:
            return self.job("topics", "compact", "t", "-q", may_answer=False)
        return super().next_job()

    def reader(self):
        # Its polls would be held to be skips where a compaction has come between two of them.
        return self.producer()

    def check(self):
        for partition in range(self.partitions):
            self.history.checker.sent("last", partition, (b"last", b"last"))
            words = "produce", "t", "last", "-k", "last", "-q", "-p", str(partition)
            self.server.must(self.directory, *words)
        for _ in range(2):
            records = parse_records(self.server.must(self.directory, "consume", "t", "-J", "-q").stdout)
            verify(self.directory, "t")
            self.server.must(self.directory, "topics", "compact", "t", "-q")
        logs = [{} for _ in range(self.partitions)]
        for partition, offset, (key, value) in records:
            logs[partition][offset] = key, value
            self.last[partition, key] = offset
        for log in logs:
            assert all(before < after for before, after in pairwise(log))
        for (producer, partition), sent in self.history.sent.items():
            told = [(first, last) for number, first, last in self.history.acks[producer] if number == partition]
            offsets = [offset for first, last in told for offset in range(first, last + 1)]
            self.offsets.update(((partition, offset), key) for offset, (key, _) in zip(offsets, sent))
        self.history.check(logs)
        print(f"Compacting: {self.kills} kills, {self.history.acknowledged} acknowledged, {len(records)} left")


class Replicating(Producing):
    """Producers, and replications of what they store, several of which may run at once: the copy is always the front of it."""

    partitions = 2

    def __init__(self, server, directory, *given):
        super().__init__(server, directory, *given)
        self.copy = f"{directory}-copy"
        self.seen = []

    def next_job(self):
        if self.chance.random() < 0.5:
            words = ("replicate", str(self.directory), self.copy, "-q")
            return self.job(*words, may_answer=False)
        return super().next_job()

    def ended(self, done):
        super().ended(done)
        if done.is_killed and done.job.words[0] == "replicate" and self.chance.random() < 0.1:
            self.seen.append(self.read_copy(quiet=False))

    def read_copy(self, **keywords):
        """Return what the copy holds; nothing where it, or a part of it, is not made yet."""
        logs = []
        for partition in range(self.partitions):
            try:
                logs.append(read_log(self.copy, "t", partition, **keywords))
            except FileNotFoundError:
                logs.append([])
        return logs

    def check(self):
        super().check()
        logs = [read_log(self.directory, "t", partition) for partition in range(self.partitions)]
        self.server.must(self.directory, "replicate", str(self.directory), self.copy, "-q")
        self.server.must(self.directory, "replicate", str(self.directory), self.copy, "--verify")
        verify(self.copy, "t")
        if self.read_copy() != logs:
            raise Anomaly("the copy is not what it is a copy of")
        for seen in self.seen:
            if any(found != log[: len(found)] for found, log in zip(seen, logs)):
                raise Anomaly("after a kill, the copy was not the front of what it is a copy of")
