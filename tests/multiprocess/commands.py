"""Every command of mk that touches a log directory, as a table: how things stand before it, and what holds after it."""

import json

from history import Anomaly
from processes import MK, must

import mk

STORED = 24
LINES = b"".join(b"k%d:RUN-%d\n" % (number % 7, number) for number in range(40))


def _check_nothing(case, result, seen):
    pass


class Command:
    """A command line, with LOG, COPY, WORLD and HANDED for paths, and what may come of it.

    again: statuses of the same command once it is done. statuses: of one in which a call failed. repeats: run again, it
    does the same once more. removes_by_size: how much is removed depends on how it was interrupted. rewritten: places in
    which other records take the offsets of those there. acknowledges: a topic of which -v tells what is stored.
    """

    def __init__(
        self,
        prepare,
        arguments,
        *,
        stdin=b"",
        again=(),
        statuses=(0, 74),
        statuses_unharmed=(0,),
        repeats=False,
        removes_by_size=False,
        makes_room=False,
        rewritten=(),
        acknowledges=None,
        variables=None,
        has_other_processes=False,
        check=_check_nothing,
    ):
        self.prepare = prepare
        self.arguments = arguments
        self.stdin = stdin
        self.again = again
        self.statuses = statuses
        self.statuses_unharmed = statuses_unharmed
        self.repeats = repeats
        self.removes_by_size = removes_by_size
        self.makes_room = makes_room
        self.rewritten = rewritten
        self.acknowledges = acknowledges
        self.variables = variables or {}
        self.has_other_processes = has_other_processes
        self.check = check


# How things stand.


def nothing(world):
    """There is no log directory yet."""


def filled(world, *, place="log", **config):
    """Topic t of three partitions, some segments each, and group g in the middle of it."""
    with mk.connect(str(world.path / place), create=True) as cluster:
        cluster.create_topic("t", partitions=3, config=config)
        for number in range(0, STORED, 6):
            with cluster.producer("t") as producer:
                for at in range(number, number + 6):
                    producer.send(b"before-%d" % at, key=b"k%d" % (at % 7))
    must(world.path / place, "consume", "t", "-g", "g", "-n", "9", "-q")


def sealed(world):
    filled(world)
    must(world.log, "topics", "seal", "t", "-q")


def in_segments(world, **config):
    """Topic t with a segment for each of its records, but for the last."""
    with mk.connect(str(world.log), create=True) as cluster:
        cluster.create_topic("t", config={"segment.bytes": 4096, **config})
        for number in range(5):
            with cluster.producer("t") as producer:
                producer.send(b"before-%d %s" % (number, b"x" * 3500), key=b"k%d" % (number % 2))


def almost_too_large(world):
    in_segments(world, **{"retention.bytes": 9000})


def too_large(world):
    in_segments(world)
    with mk.connect(str(world.log)) as cluster:
        cluster.alter_topic("t", config={"retention.bytes": 9000})


def to_compact(world):
    in_segments(world, **{"cleanup.policy": "compact"})


def was_reset(world):
    filled(world)
    must(world.log, "groups", "reset", "g", "t", "--to", "start", "--yes", "-q")


def exported(world):
    filled(world)
    (world.path / "offsets.csv").write_text("g,t,0,1\ng,t,1,2\ng,t,2,3\n")


def copied(world):
    """A copy that lacks the newest records and commits."""
    filled(world)
    must(world.log, "replicate", str(world.log), str(world.copy), "-q")
    must(world.log, "produce", "t", "-K", ":", "-q", stdin=b"".join(b"k%d:more-%d\n" % (at, at) for at in range(9)))
    must(world.log, "consume", "t", "-g", "g", "-n", "4", "-q")


def copied_whole(world):
    copied(world)
    must(world.log, "replicate", str(world.log), str(world.copy), "-q")


def promoted(world):
    """The copy leads, and the log that led has records that nobody else has."""
    copied(world)
    must(world.copy, "replicate", "promote", "--force", "-q")
    must(world.copy, "produce", "t", "-K", ":", "-q", stdin=b"".join(b"k%d:new-%d\n" % (at, at) for at in range(9)))


def failed_back(world):
    promoted(world)
    must(world.log, "replicate", str(world.copy), str(world.log), "-q")


def by_rsh(prepare):
    def prepared(world):
        prepare(world)
        world.rsh.write_text('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nshift\nexec sh -c "$*"\n')
        world.rsh.chmod(0o755)

    return prepared


# What holds besides.


def _printed(result):
    """Return the records that came out of -J; a last line that is cut off is none."""
    records = []
    for line in result.stdout.splitlines(keepends=True):
        if line.endswith("\n"):
            record = json.loads(line)
            records.append((record["partition"], record["offset"], record["payload"].encode()))
    return records


def prints_all_or_fails(case, result, seen):
    """What is printed are records as they stand, in order; status 0 only behind the last."""
    printed = _printed(result)
    for partition in range(3):
        there = [(at, value) for at, _, value in seen.records["log", "t", partition]]
        got = [(at, value) for number, at, value in printed if number == partition]
        if got != there[: len(got)]:
            raise Anomaly(f"printed of partition {partition}: {got}")
        if result.status == 0 and got != there:
            raise Anomaly(f"status 0, and of partition {partition} it printed {got}")


def goes_on_where_it_stood(case, result, seen):
    """No member of the group passes over a record, and nothing is committed that was not printed."""
    reader = f"member {case.runs}"
    case.history.joined(reader, "g")
    printed = _printed(result)
    for partition in range(3):
        key = ("log", "t", partition)
        got = [(at, value) for number, at, value in printed if number == partition]
        if got:
            case.history.resumed("g", key, got[0][0])
            case.history.polled(reader, key, got)
        committed = seen.commits.get(("log", "g", "t", partition))
        if committed is None:
            continue
        stood = case.struck.before.commits["log", "g", "t", partition]
        highest = max([at + 1 for number, at, _ in case.outputs + printed if number == partition], default=stood)
        if committed > highest:
            raise Anomaly(f"committed {committed} of partition {partition}, printed was up to {highest}")
        case.history.committed("g", key, committed)
    case.outputs += printed


def hands_over_what_it_commits(case, result, seen):
    """Each record that the group has committed was handed to a command."""
    try:
        handed = set(case.world.handed.read_bytes().splitlines())
    except FileNotFoundError:
        handed = set()
    for partition in range(3):
        stood = case.struck.before.commits["log", "g", "t", partition]
        committed = seen.commits.get(("log", "g", "t", partition), stood)
        for offset, _, value in seen.records["log", "t", partition]:
            if stood <= offset < committed and value not in handed:
                raise Anomaly(f"committed and never handed over: {value!r}")


def leaves_nothing_out(case, result, seen):
    """What --cursor-file begins behind was printed before."""
    case.outputs += _printed(result)
    if result.status == 0:
        printed = {(number, at) for number, at, _ in case.outputs}
        there = {(key[2], at) for key, found in seen.records.items() for at, _, _ in found}
        if printed != there:
            raise Anomaly(f"never printed: {sorted(there - printed)}")


def stores_before_it_prints(case, result, seen):
    """What `produce -T` has written to standard output is stored."""
    there = {value for found in seen.records.values() for _, _, value in found}
    for line in result.stdout.splitlines():
        if line.partition(":")[2].encode() not in there:
            raise Anomaly(f"printed, and not stored: {line}")
    if result.status == 0 and result.stdout.encode() != case.struck.stdin(case.runs):
        raise Anomaly("status 0, and not all of the input came out")


def says_the_same(case, result, seen):
    """Status 0 only with the whole answer."""
    if result.status == 0 and result.stdout != case.struck.output:
        raise Anomaly(f"status 0, and another answer than\n{case.struck.output}")


def keeps_what_it_cuts_off(case, result, seen):
    """What only the old leader has is in its log still, or in quarantine/."""
    there = b"".join(path.read_bytes() for path in (case.world.log / "quarantine").glob("*") if path.is_file())
    for key, records in case.struck.before.records.items():
        for record in records:
            if key[0] == "log" and record not in seen.records[key] and record[2] not in there:
                raise Anomaly(f"neither in the log nor in quarantine: {key} {record}")


RSH = {"MK_RSH": "RSH", "MK_REMOTE_PATH": MK}

IN_VAIN = {"again": (124,), "statuses": (74, 124), "statuses_unharmed": (124,)}

COMMANDS = {
    # produce
    "produce with keys": Command(
        filled, ["produce", "t", "-K", ":", "-v"], stdin=LINES, repeats=True, acknowledges="t"
    ),
    "produce as an id": Command(
        filled, ["produce", "t", "-K", ":", "-v", "--producer-id", "import"], stdin=LINES, acknowledges="t"
    ),
    "produce -T": Command(
        filled,
        ["produce", "t", "-K", ":", "-v", "-T"],
        stdin=LINES,
        repeats=True,
        acknowledges="t",
        check=stores_before_it_prints,
    ),
    "produce that rolls and removes": Command(
        almost_too_large,
        ["produce", "t", "-v", "--producer-id", "import"],
        stdin=b"RUN-%s\n" % (b"x" * 3500),
        removes_by_size=True,
    ),
    "produce to topics it makes": Command(
        nothing,
        ["produce", "-J", "-v", "--producer-id", "import"],
        stdin=b"".join(b'{"topic":"t%d","key":"k","payload":"RUN-%d"}\n' % (at % 2, at) for at in range(6)),
    ),
    "produce by ssh": Command(
        by_rsh(filled),
        ["produce", "-d", "host:LOG", "t", "-K", ":", "-v", "--producer-id", "import"],
        stdin=LINES,
        statuses=(0, 69, 74),
        acknowledges="t",
        variables=RSH,
        has_other_processes=True,
    ),
    # consume
    "consume": Command(filled, ["consume", "t", "-J"], check=prints_all_or_fails),
    "consume -F": Command(filled, ["consume", "t", "-J", "-F", "-n", str(STORED)], check=prints_all_or_fails),
    "consume in a group": Command(filled, ["consume", "t", "-g", "g", "-J"], check=goes_on_where_it_stood),
    "consume in a new group": Command(filled, ["consume", "t", "-g", "new", "-q"]),
    "consume --exec in a group": Command(
        filled,
        ["consume", "t", "-g", "g", "--exec", "sh -c 'cat >> HANDED; echo >> HANDED'"],
        has_other_processes=True,
        check=hands_over_what_it_commits,
    ),
    "consume with a cursor": Command(
        filled, ["consume", "t", "-J", "--cursor-file", "WORLD/cursor"], check=leaves_nothing_out
    ),
    # topics
    "topics create": Command(filled, ["topics", "create", "u", "-p", "2", "-c", "segment.bytes=8192"], again=(73,)),
    "topics create in a new directory": Command(nothing, ["topics", "create", "t"], again=(73,)),
    "topics alter": Command(filled, ["topics", "alter", "t", "--partitions", "5", "-c", "segment.bytes=8192", "--yes"]),
    "topics rename": Command(filled, ["topics", "rename", "t", "u"], again=(66,)),
    "topics seal": Command(filled, ["topics", "seal", "t"]),
    "topics seal --undo": Command(sealed, ["topics", "seal", "t", "--undo"]),
    "topics delete": Command(filled, ["topics", "delete", "t", "--yes"], again=(66,)),
    "topics clean": Command(too_large, ["topics", "clean"], makes_room=True),
    "topics trim": Command(in_segments, ["topics", "trim", "t", "--to", "3", "--yes"], makes_room=True),
    "topics compact": Command(to_compact, ["topics", "compact", "t"]),
    "topics clone": Command(filled, ["topics", "clone", "t", "u"], again=(73,)),
    "topics snapshot": Command(filled, ["topics", "snapshot", "COPY"], again=(73,)),
    "topics verify": Command(filled, ["topics", "verify", "--json"], check=says_the_same),
    "topics list": Command(filled, ["topics", "list", "-q"], check=says_the_same),
    "topics describe": Command(filled, ["topics", "describe", "t"]),
    "topics offsets": Command(filled, ["topics", "offsets", "t", "--json"], check=says_the_same),
    "topics get": Command(filled, ["topics", "get", "t", "k1"], check=says_the_same),
    "topics dump": Command(filled, ["topics", "dump", "t"], check=says_the_same),
    "wait": Command(filled, ["wait", "t", "--records", str(STORED)]),
    "wait -k": Command(filled, ["wait", "t", "-k", "k1"]),
    "wait -g": Command(filled, ["wait", "t", "-g", "g", "--lag", str(STORED - 9)]),
    # Whatever fails, what is not so is not said to be so.
    "wait in vain": Command(filled, ["wait", "t", "--records", str(STORED + 1), "--timeout", "0"], **IN_VAIN),
    "wait -k in vain": Command(filled, ["wait", "t", "-k", "nobody", "--timeout", "0"], **IN_VAIN),
    "wait -g in vain": Command(
        filled, ["wait", "t", "-g", "g", "--lag", str(STORED - 10), "--timeout", "0"], **IN_VAIN
    ),
    # groups
    "groups list": Command(filled, ["groups", "list", "-q"], check=says_the_same),
    "groups describe": Command(filled, ["groups", "describe", "g", "--json"], check=says_the_same),
    "groups export": Command(filled, ["groups", "export", "g"], check=says_the_same),
    "groups reset": Command(filled, ["groups", "reset", "g", "t", "--to", "start", "--yes"]),
    "groups import": Command(exported, ["groups", "import", "WORLD/offsets.csv", "--yes"], statuses=(0, 66, 74)),
    "groups copy": Command(filled, ["groups", "copy", "g", "new", "--yes"]),
    "groups undo": Command(was_reset, ["groups", "undo", "g", "--yes"], again=(66,)),
    "groups delete": Command(filled, ["groups", "delete", "g", "--yes"], again=(66,)),
    # replicate
    "replicate to a new copy": Command(filled, ["replicate", "LOG", "COPY"]),
    "replicate to a copy": Command(copied, ["replicate", "LOG", "COPY"]),
    "replicate back after a fail-over": Command(
        promoted, ["replicate", "COPY", "LOG"], rewritten=("log",), check=keeps_what_it_cuts_off
    ),
    "replicate by ssh": Command(
        by_rsh(copied),
        ["replicate", "LOG", "host:COPY"],
        # 65: of a topic there, this side hears that it cannot be read, and not whether the disk refused.
        statuses=(0, 65, 69, 74),
        variables=RSH,
        has_other_processes=True,
    ),
    "replicate --verify": Command(copied_whole, ["replicate", "LOG", "COPY", "--verify"]),
    "replicate promote": Command(copied_whole, ["replicate", "promote", "-d", "COPY"]),
    "replicate salvage": Command(failed_back, ["replicate", "salvage", "--yes"]),
    "replicate status": Command(copied, ["replicate", "status"]),
    # check
    "check": Command(filled, ["check"], statuses=(0, 2, 3)),
    "check --prometheus": Command(filled, ["check", "--prometheus", "--output", "WORLD/mk.prom"], statuses=(0, 3)),
}
