"""Directories in a known state, and one command on each of them to be killed or failed."""

import json
import shutil
from pathlib import Path

from history import Anomaly, parse_acks, read_log, read_state, topic_id_of, verify
from processes import create_topic, must, run

BASE = [(None, b"base-0"), (None, b"base-1"), (None, b"base-2")]
NEW = "new"
AFTER = "after"
SEGMENT_BYTES = 4096


class Scenario:
    """A prepared directory and the command to strike. `stored` are the records that must be there whatever happens."""

    def __init__(self, prepare, arguments, *, stdin=b"", stored=BASE, new=((None, b"new"),)):
        self.prepare = prepare
        self.arguments = list(arguments)
        self.stdin = stdin
        self.stored = list(stored)
        self.new = list(new)

    def fresh(self, template, directory):
        """Put a copy of the prepared directory where the command will work on it."""
        if directory.exists():
            shutil.rmtree(directory)
        if template.exists():
            shutil.copytree(template, directory, symlinks=True)


def _base(directory, **config):
    create_topic(directory, "t", **config)
    for _, value in BASE:
        must(directory, "produce", "t", value.decode())


def _sealed(directory):
    _base(directory)
    must(directory, "topics", "seal", "t")


def _nearly_full(directory):
    _base(directory, segment_bytes=SEGMENT_BYTES)
    must(directory, "produce", "t", "f" * 3000)


def _full_segments(directory):
    _nearly_full(directory)
    must(directory, "produce", "t", "g" * 3800)


def _tear(directory, keep, *, acks="1"):
    """Leave behind the base records what a writer does that dies while its batch is being written."""
    copy = Path(f"{directory}.whole")
    shutil.copytree(directory, copy)
    must(copy, "produce", "t", "torn" * 500, "--acks", acks)
    segment = f"topics/t/0/{int(read_state(directory, 't')['segment']):020d}.log"
    size = (Path(directory) / segment).stat().st_size
    whole = (copy / segment).read_bytes()
    (Path(directory) / segment).write_bytes(whole[: size + keep(len(whole) - size)])
    shutil.rmtree(copy)


def _torn_payload(directory):
    _base(directory)
    _tear(directory, lambda size: size - 700)


def _torn_header(directory):
    _base(directory)
    _tear(directory, lambda size: 100)


def _zero_tail(directory):
    _base(directory)
    segment = Path(directory) / "topics/t/0/00000000000000000000.log"
    segment.write_bytes(segment.read_bytes() + bytes(2000))


def _torn_first_batch(directory):
    create_topic(directory, "t")
    _tear(directory, lambda size: size - 700)


def _torn_in_new_segment(directory):
    """The segment that follows a roll has nothing durable in it, and a torn batch."""
    _nearly_full(directory)
    copy = Path(f"{directory}.whole")
    shutil.copytree(directory, copy)
    must(copy, "produce", "t", "torn" * 500)
    shutil.copytree(copy / "topics/t/0", Path(directory) / "topics/t/0", dirs_exist_ok=True)
    shutil.rmtree(copy)
    segment = Path(directory) / "topics/t/0/00000000000000000004.log"
    segment.write_bytes(segment.read_bytes()[:-700])
    # `state` as the roll left it: the slot of the append that followed is not there yet.
    state = Path(directory) / "topics/t/0/state"
    data = bytearray(state.read_bytes())
    newest = 0 if b"sequence=" + read_state(directory, "t")["sequence"].encode() + b" " in data[:512] else 4096
    data[newest : newest + 512] = bytes(512)
    state.write_bytes(data)


def _nothing(directory):
    pass


def _empty(directory):
    create_topic(directory, "other")


TORN_FULL = [*BASE, (None, b"f" * 3000)]
LINES = b"".join(b"line %06d %s\n" % (number, b"y" * 100) for number in range(6000))
LINE_RECORDS = [(None, line) for line in LINES.splitlines()]

SCENARIOS = {
    "a plain append": Scenario(_base, ["produce", "t", NEW, "-v"]),
    "an append that does not wait for the disk": Scenario(_base, ["produce", "t", NEW, "-v", "--acks", "0"]),
    "an append that rolls": Scenario(
        _nearly_full, ["produce", "t", "n" * 3000, "-v"], stored=TORN_FULL, new=[(None, b"n" * 3000)]
    ),
    "an append of several batches that rolls between them": Scenario(
        _full_segments,
        ["produce", "t", "-v"],
        stdin=LINES,
        stored=[*TORN_FULL, (None, b"g" * 3800)],
        new=LINE_RECORDS,
    ),
    "a recovery from a torn payload": Scenario(_torn_payload, ["produce", "t", NEW, "-v"]),
    "a recovery from a torn header": Scenario(_torn_header, ["produce", "t", NEW, "-v"]),
    "a recovery from a tail of zeros": Scenario(_zero_tail, ["produce", "t", NEW, "-v"]),
    "a recovery from a torn first batch": Scenario(_torn_first_batch, ["produce", "t", NEW, "-v"], stored=[]),
    "a recovery from a torn batch in a new segment": Scenario(
        _torn_in_new_segment, ["produce", "t", NEW, "-v"], stored=TORN_FULL
    ),
    "an append that creates the topic": Scenario(
        _empty, ["produce", "t", NEW, "-v", "--partitions", "2", "-p", "0"], stored=[]
    ),
    "an append that creates the directory": Scenario(_nothing, ["produce", "t", NEW, "-v"], stored=[]),
    "a topic's creation": Scenario(_empty, ["topics", "create", "t", "-p", "2"], stored=[], new=[]),
    "a topic's alteration": Scenario(
        _base, ["topics", "alter", "t", "--partitions", "3", "-c", "segment.bytes=8192"], new=[]
    ),
    "a topic's renaming": Scenario(_base, ["topics", "rename", "t", "u"], new=[]),
    "a topic's sealing": Scenario(_base, ["topics", "seal", "t"], new=[]),
    "a topic's opening": Scenario(_sealed, ["topics", "seal", "t", "--undo"], new=[]),
    "a topic's deletion": Scenario(_base, ["topics", "delete", "t", "--yes"], new=[]),
}


def check_after(scenario, directory, result, context, *, indeterminate=True):
    """Go on as a user would, with no repair step, and compare everything: returns the records the topic now holds.

    indeterminate: records of the struck command that were not acknowledged may be there, a prefix of them, once.
    """
    deleting = "delete" in scenario.arguments
    try:
        _check_changed(scenario.arguments, directory, result)
    except (Anomaly, AssertionError) as anomaly:
        raise Anomaly(f"after {context}\n{result}\n{anomaly}") from None
    acks = parse_acks(result.stderr)
    told = sum(last - first + 1 for _, first, last in acks)
    if (Path(directory) / "topics" / "t").exists():
        verify(directory, "t")
    after = run(directory, "produce", "t", AFTER, "-v", "-p", "0")
    if after.status != 0:
        raise Anomaly(f"after {context}\n{result}\nthe next command fails: {after}")
    try:
        log = read_log(directory, "t")
        expected = scenario.stored
        if deleting and (result.status == 0 or len(log) == 1):
            expected = []
        if log[: len(expected)] != expected:
            raise Anomaly(f"lost or altered: {log[:6]}")
        if log.pop() != (None, AFTER.encode()):
            raise Anomaly("the next command's record is not the last one")
        new = log[len(expected) :]
        if new != scenario.new[: len(new)]:
            raise Anomaly(f"doubled, altered or foreign: {new[:6]}")
        if len(new) < told or (not indeterminate and len(new) > told):
            raise Anomaly(f"{told} records were acknowledged, {len(new)} are there")
        if result.status == 0 and new != scenario.new:
            raise Anomaly(f"exit status 0, and {len(new)} of {len(scenario.new)} records are there")
        consumed = must(directory, "consume", "t", "-p", "0").stdout.encode().splitlines()
        if consumed != [value for _, value in [*log, (None, AFTER.encode())]]:
            raise Anomaly(f"mk consume prints something else than is there: {consumed[:6]}")
        if verify(directory, "t").records != sum(
            len(read_log(directory, "t", p)) for p in partitions_of(directory, "t")
        ):
            raise Anomaly("verify counts other records than are there")
        if "creat" in context or "deletion" in context:
            check_tidy(directory)
    except (Anomaly, OSError, ValueError) as anomaly:
        raise Anomaly(f"after {context}\n{result}\n{anomaly}") from None
    return new


def _check_changed(arguments, directory, result):
    """A change of a topic is done or not done, and can be done, or done again, by the next command."""
    if arguments[:2] == ["topics", "rename"]:
        names = must(directory, "topics", "-q").stdout.split()
        if names not in ([["u"]] if result.status == 0 else [["t"], ["u"]]):
            raise Anomaly(f"the topics are {names}")
        if names == ["u"]:
            must(directory, "topics", "rename", "u", "t")
    elif arguments[:2] == ["topics", "seal"]:
        wanted = "--undo" not in arguments
        sealed = json.loads(must(directory, "topics", "describe", "t", "--json").stdout)[0]["sealed"] is not None
        if result.status == 0 and sealed != wanted:
            raise Anomaly("it is not done")
        if sealed and run(directory, "produce", "t", "x").status != 77:
            raise Anomaly("a sealed topic takes records")
        must(directory, "topics", "seal", "t", "--undo")
    elif arguments[:2] == ["topics", "alter"]:
        (topic,) = json.loads(must(directory, "topics", "describe", "t", "--json").stdout)
        found = (len(topic["partitions"]), topic["overrides"])
        if found not in ((1, {}), (3, {"segment.bytes": 8192})) or (result.status == 0 and found[0] != 3):
            raise Anomaly(f"neither the old topic nor the new one: {found}")
        must(directory, *arguments)
        for partition in ("1", "2"):
            must(directory, "produce", "t", "x", "-p", partition)
        there = sorted(path.name for path in (Path(directory) / "topics/t").iterdir())
        if there != ["0", "1", "2", "topic.json"]:
            raise Anomaly(f"left in the topic: {there}")


def partitions_of(directory, topic):
    return sorted(int(path.name) for path in (Path(directory) / "topics" / topic).iterdir() if path.name.isdecimal())


def check_tidy(directory):
    """The next creation removes what a killed one or a killed deletion left: no topic, no lock outlives its use."""
    topics = sorted(path.name for path in (Path(directory) / "topics").iterdir())
    if any(name.startswith(".") for name in topics):
        must(directory, "topics", "create", "sweeper")
        topics = sorted(path.name for path in (Path(directory) / "topics").iterdir())
    if any(name.startswith(".") for name in topics):
        raise Anomaly(f"left in topics/: {topics}")
    locks = {path.name for path in (Path(directory) / "locks").iterdir() if path.is_dir()}
    if locks != {topic_id_of(directory, name) for name in topics}:
        raise Anomaly(f"left in locks/: {locks}")
