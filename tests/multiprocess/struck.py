"""One command struck at one call after another, and what must hold whatever that came to.

A `World` is a folder with one log directory or two. A command is run in it once unharmed, which says what it is to come
to. Then it is struck: a call fails, or it is killed, and what is there is looked at from outside, held against what was and
against what is to be. Then the same command is run again, unharmed, and has to finish the job.
"""

import re
import shutil
import signal

from history import Anomaly, parse_acks
from injection import CALLS, READS, fail_at, paths_of, points_of, signal_at
from looking import PLACES, check_between, look
from processes import must, run

import mk
from mk.errors import NotLeaderError, TopicSealedError
from tests.proof.anomalies import History
from tests.proof.figures import count

OTHER_CALLS = (
    "read",
    "copy_file_range",
    "utimensat",
    "fchmod",
    "fchown",
    "splice",
    "fstatfs",
    "readlink",
    "inotify_add_watch",
)
ALL_CALLS = (*CALLS, *READS, *OTHER_CALLS)
ONLY_READING = ("read", "readlink", "splice", "fstatfs", "inotify_add_watch", *READS)
INTERRUPTIBLE = ("openat", "read", "write", "writev", "pread64", "pwrite64", "preadv", "fdatasync", "fsync", "flock")

TEXT = ("mk: error: ", "\n  why: ", "\n  fix: ")

ONCE, FROM_THEN_ON = "", "+"
KILL = "kill"


class World:
    """A folder in a known state: log directories, and what else a command reads and writes."""

    def __init__(self, folder, prepare):
        self.path, self._template = folder / "world", folder / "template"
        self.path.mkdir()
        prepare(self)
        # Made where it is used: a log directory knows its own path.
        self.path.rename(self._template)
        self.fresh()

    def fresh(self):
        """Have all as it was prepared."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self._template, self.path, symlinks=True)
        self.handed.unlink(missing_ok=True)

    @property
    def rsh(self):
        """What stands in for ssh; outside, as ssh is."""
        return self.path.with_name("rsh")

    @property
    def handed(self):
        """What the commands of --exec were given: outside, so that they are not struck."""
        return self.path.with_name("handed")

    @property
    def log(self):
        return self.path / "log"

    @property
    def copy(self):
        return self.path / "copy"

    def words(self, arguments):
        """Return a command line in which LOG, COPY, WORLD and HANDED are paths."""
        places = {"LOG": self.log, "COPY": self.copy, "WORLD": self.path, "HANDED": self.handed, "RSH": self.rsh}
        return [re.sub("|".join(places), lambda match: str(places[match[0]]), word) for word in arguments]


class Strike:
    """What is done to a command: `what`, KILL or "error=EIO", at a Point; ONCE, or FROM_THEN_ON at each call of that name."""

    def __init__(self, point, what, when=ONCE):
        self.point, self.what, self.when = point, what, when

    @property
    def kind(self):
        return (self.what, self.when, self.point.call)

    def __repr__(self):
        what = "killed" if self.what == KILL else f"{self.what}{' from then on' if self.when else ''}"
        return f"{what} at {self.point}"


class Struck:
    """A command, what it comes to unharmed, and every Strike that there is."""

    def __init__(self, command, folder):
        self.command = command
        self.world = World(folder, command.prepare)
        self.variables = dict(zip(command.variables, self.world.words(command.variables.values()), strict=True))
        self.before = look(self.world)
        own = set(paths_of(self.world.path))
        result = self.run(0)
        assert result.status in command.statuses_unharmed and "Traceback" not in result.stderr, result
        self.output = result.stdout
        self.after = look(self.world)
        # Also what it makes, as far as the names are the same each time.
        self.own = [
            word for path in sorted(own | set(paths_of(self.world.path))) if path != "-P" for word in ("-P", path)
        ]
        self.has_many = False
        self.points = {when: self.count_points(when) for when in (ONCE, FROM_THEN_ON)}
        if len({point.thread for point in self.points[ONCE]}) > 1 or command.has_other_processes:
            # The calls of each are counted from 1, and those of its start are not to be struck.
            self.has_many = True
            self.points[ONCE] = self.points[FROM_THEN_ON]
        self.misses = 0

    def count_points(self, when, run_number=0):
        """Return the Points of the command as the world is now, or as it was prepared."""
        if not run_number:
            self.world.fresh()
        found = points_of(
            self.world.log,
            self.arguments(),
            stdin=self.stdin(run_number),
            calls=ALL_CALLS,
            only=self.only(when),
            within=self.world.path,
            variables=self.variables,
            statuses=(*self.command.statuses_unharmed, *self.command.again),
        )
        # Standard output and error are not the disk.
        return [point for point in found if not point.line.startswith(("1<", "2<"))]

    def only(self, when):
        return self.own if when or self.has_many else ()

    def arguments(self):
        return self.world.words(self.command.arguments)

    def stdin(self, run_number):
        return self.command.stdin.replace(b"RUN", b"r%d" % (run_number if self.command.repeats else 0))

    def run(self, run_number):
        return run(
            self.world.log,
            *self.arguments(),
            stdin=self.stdin(run_number),
            prefix=("env", *(f"{name}={value}" for name, value in self.variables.items())),
        )

    def strikes(self, how):
        """Return all Strikes of a kind of HOW."""
        return HOW[how](self)

    def kills(self):
        """Return a kill before each call that changes something: before any other call, it leaves what the next one leaves."""
        return [Strike(point, KILL) for point in self.points[ONCE] if point.changes_something]

    def faults(self, error, when, *, calls=lambda point: True, every=1):
        points = [point for point in self.points[when] if calls(point)]
        return [Strike(point, f"error={error}", when) for point in points[::every]]

    def strike(self, strike, run_number=0):
        """Run the command, struck. Returns None if its threads or processes came another way and it was not struck."""
        words = {"stdin": self.stdin(run_number), "variables": self.variables}
        if strike.what == KILL:
            result = signal_at(
                strike.point, signal.SIGKILL, self.world.log, self.arguments(), only=self.only(strike.when), **words
            )
            return result if result.struck else None
        fault = (strike.point, strike.what, strike.when)
        result = fail_at([fault], self.world.log, self.arguments(), only=self.only(strike.when), **words)
        return result if result.struck else None

    def check(self, *strikes):
        """Strike the command as it was prepared, and then again what each strike left; then let it finish.

        Returns whether it was struck each time.
        """
        self.world.fresh()
        case = _Case(self)
        for number, strike in enumerate(strikes):
            result = self.strike(strike, number)
            if result is None:
                self.misses += 1
                return False
            case.after_strike(strike, result)
        case.finish()
        for strike in strikes:
            count("kills" if strike.what == KILL else "faults")
        return True


def _reads(point):
    return point.call in ONLY_READING or (point.call == "openat" and "O_CREAT" not in point.line)


def _changes(point):
    return not _reads(point) and point.call != "close"


def _may_not_close(point):
    """strace does not make a call that is to fail, and a lock that is not closed is held: no disk does that."""
    return point.call == "close" and not re.search("/(locks|claims|members)", point.line)


def _may_be_interrupted(point):
    return point.call in INTERRUPTIBLE


HOW = {
    "killed": Struck.kills,
    "EIO in what it reads": lambda struck: struck.faults("EIO", ONCE, calls=_reads),
    "EIO in what it changes": lambda struck: struck.faults(
        "EIO", ONCE, calls=lambda point: _changes(point) or _may_not_close(point)
    ),
    "a full disk": lambda struck: (
        struck.faults("ENOSPC", ONCE, calls=_changes) + struck.faults("EDQUOT", ONCE, calls=_changes, every=5)
    ),
    # strace counts the calls of each process alone: of two, it may strike a listing, which Python does not ask for again, and which
    # no disk of this host interrupts, in the place of the call that was meant.
    "interrupted calls": lambda struck: (
        struck.faults("EINTR", ONCE, calls=_may_be_interrupted)
        if not any(":" in word for word in struck.command.arguments)
        else []
    ),
    "EIO from then on": lambda struck: struck.faults("EIO", FROM_THEN_ON, calls=lambda point: point.call != "close"),
    "a full disk from then on": lambda struck: struck.faults(
        "ENOSPC",
        FROM_THEN_ON,
        calls=lambda point: _changes(point) and not (struck.command.makes_room and point.call == "pwrite64"),
    ),
}
"""What is done to a command, and where."""


class _Case:
    """One preparation, its strikes, and the run that finishes it."""

    def __init__(self, struck):
        self.struck, self.command, self.world = struck, struck.command, struck.world
        self.context = f"{' '.join(self.command.arguments)}:"
        self.runs = 0
        self.outputs = []
        self.history = History(self._is_gone)
        for partition, records in struck.before.records.items():
            if partition[0] in self.command.rewritten:
                continue
            for offset, _, value in records:
                self.history.sent("before", partition, value)
                self.history.acknowledged(partition, value, offset)
        for (place, group, topic, partition), offset in struck.before.commits.items():
            self.history.committed(group, (place, topic, partition), offset)

    def _is_gone(self, partition, offset):
        return all(offset != there for there, _, _ in self.struck.after.records.get(partition, ()))

    def fail(self, why):
        raise Anomaly(f"{self.context}\n{why}") from None

    def after_strike(self, strike, result):
        """The exit status and the error say what happened, and what is there is what was, or is to be, or between."""
        self.context += f"\n{strike}\n{result}"
        self._check_ending(strike, result)
        self._repair_what_failed(strike)
        try:
            self._note(result, look(self.world))
        except (Anomaly, mk.MkError) as problem:
            self.fail(problem)

    def _check_ending(self, strike, result):
        if "Traceback" in result.stderr or result.status in (1, 70, 120) and 1 not in self.command.statuses:
            self.fail("a bug")
        if strike.what == KILL:
            return
        if result.status not in (*self.command.statuses, *(self.command.again if self.runs else ())):
            self.fail(f"the status is {result.status}")
        if strike.what == "error=EINTR" and result.status not in self.command.statuses_unharmed and not self.runs:
            self.fail("an interrupted call is made again")
        if result.status == 74:
            what, why, fix = ('{"error": ', '"why": "', '"fix": "') if "--json" in self.command.arguments else TEXT
            if why not in result.stderr or fix not in result.stderr or result.stderr.count(what) != 1:
                self.fail("it does not say what, why and what to do, once")
            if "standard input or output" in result.stderr or re.search(r"why: \d+: ", result.stderr):
                self.fail("it blames the wrong file, or a descriptor")

    def _repair_what_failed(self, strike):
        """Where the disk refused a sync and a new segment too, writers are refused until somebody has looked."""
        for place in PLACES:
            marks = list((self.world.path / place).glob("topics/*/*/FAILED"))
            if marks and strike.when == ONCE:
                self.fail(f"one fault, and {marks[0]} closes a partition")
            if marks:
                must(self.world.path / place, "topics", "repair", "--yes")

    def _note(self, result, seen):
        before, after = self.struck.before, self.struck.after
        self._note_records(result, seen)
        if not self.command.repeats:
            check_between(before.records, seen.records, after.records)
        for name in seen.topics.keys() | before.topics.keys() | after.topics.keys():
            if seen.topics.get(name) not in (before.topics.get(name), after.topics.get(name)):
                # Partitions first, settings then, or the other way round.
                raise Anomaly(f"neither the old topic nor the new one: {name} {seen.topics.get(name)}")
        for name in (seen.commits.keys() | before.commits.keys()) - seen.half_taken:
            low, high = sorted((before.commits.get(name, -1), after.commits.get(name, -1)))
            if not low <= seen.commits.get(name, -1) <= high:
                raise Anomaly(f"{name} stands at {seen.commits.get(name)}, not from {low} to {high}")
        if result.status == 0 and not self.command.repeats:
            self._check_done(seen, "exit status 0, and ")
        self.command.check(self, result, seen)
        self.runs += 1
        self.history.check()

    def _note_records(self, result, seen):
        """Tell the history what this run sent, what was acknowledged to it, and what is there now."""
        for partition, records in self.struck.after.records.items():
            if partition[0] in self.command.rewritten:
                continue
            old = {value for _, _, value in self.struck.before.records.get(partition, ())}
            new = [value for _, _, value in records if value not in old]
            place, topic, number = partition
            if self.runs and not self.command.repeats:
                continue
            new = [value if value is None else value.replace(b"r0-", b"r%d-" % self.runs) for value in new]
            for value in new:
                self.history.sent(f"run {self.runs}", partition, value)
            if self.command.acknowledges == topic and place == "log":
                told = [
                    offset
                    for at, first, last in parse_acks(result.stderr)
                    if at == number
                    for offset in range(first, last + 1)
                ]
                for value, offset in zip(new, told):
                    self.history.acknowledged(partition, value, offset)
        for partition, records in seen.records.items():
            if partition[0] not in self.command.rewritten:
                self.history.polled(f"after run {self.runs}", partition, [(at, value) for at, _, value in records])

    def finish(self):
        """The same command, unharmed, finishes the job; and whatever comes next works too."""
        result = self.struck.run(self.runs)
        self.context += f"\nand then unharmed\n{result}"
        if result.status not in (*self.command.statuses_unharmed, *self.command.again) or "Traceback" in result.stderr:
            self.fail("the same command again does not work")
        try:
            seen = look(self.world, whole=True)
            self._note(result, seen)
            if not self.command.repeats:
                self._check_done(seen)
            self._go_on()
        except (Anomaly, AssertionError, mk.MkError) as problem:
            self.fail(problem)

    def _check_done(self, seen, when=""):
        after = self.struck.after
        found, wanted = [seen.topics, seen.commits, seen.records], [after.topics, after.commits, after.records]
        if self.command.removes_by_size:
            found[2], wanted[2] = ({key: records[-1:] for key, records in one.records.items()} for one in (seen, after))
        if found != wanted:
            raise Anomaly(f"{when}it comes to\n{found}\nand not to\n{wanted}")

    def _go_on(self):
        for place in PLACES:
            if not (self.world.path / place / "mk.json").exists():
                continue
            with mk.connect(str(self.world.path / place)) as cluster:
                for topic in cluster.topic_names():
                    for partition in range(cluster.partitions(topic)):
                        try:
                            with cluster.producer(topic, partition=partition) as producer:
                                producer.send(b"afterwards", key=b"afterwards")
                        except (NotLeaderError, TopicSealedError):
                            break
        look(self.world, whole=True)
