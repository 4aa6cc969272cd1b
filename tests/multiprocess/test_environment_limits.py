"""Limits of a process: of open files, of a file's size, of memory, of processes. Each is said clearly, and nothing acknowledged is lost."""

import contextlib
import os
import resource
import shutil

import pytest
from history import parse_acks
from processes import create_topic, end, must, run, start

from tests.proof.anomalies import History
from tests.proof.figures import count

PARTITIONS = 3
FIRST, LAST = 4, 34
SOME = (6, 8, 13, 20, 33)
"""Open files with which Python itself hardly starts, and with which all of these work."""

COMMANDS = {
    "produce": (["produce", "t", "-v"], 0),
    "produce with an id": (["produce", "t", "-v", "--producer-id", "p"], 0),
    "consume": (["consume", "t"], 0),
    "consume in a group": (["consume", "t", "-g", "g"], 0),
    "consume with a cursor": (["consume", "t", "--cursor-file", "CURSOR"], 0),
    "execute": (["consume", "t", "--exec", "cat"], 0),
    "topics": (["topics"], 0),
    "describe": (["topics", "describe", "t"], 0),
    "verify": (["topics", "verify", "t"], 0),
    "clean": (["topics", "clean"], 0),
    "compact": (["topics", "compact", "keyed"], 0),
    "groups": (["groups"], 0),
    "replicate": (["replicate", "LOG", "COPY"], 0),
    "check": (["check"], 0),
    "snapshot": (["topics", "snapshot", "SNAPSHOT"], 0),
}


def records(directory, *options):
    lines = must(directory, "consume", "t", "-f", "%p %o %v\\n", *options).stdout.splitlines()
    return [(int(partition), int(offset), value) for partition, offset, value in map(str.split, lines)]


def limited(number):
    return ("prlimit", f"--nofile={number}:{number}")


@pytest.fixture
def log(tmp_path):
    """A topic of some partitions, a group that has read a little, and a topic that is compacted."""
    directory = tmp_path / "log"
    create_topic(directory, "t", PARTITIONS, segment_bytes=4096)
    create_topic(directory, "keyed", 1, cleanup_policy="compact", segment_bytes=4096)
    for topic in ("t", "keyed"):
        lines = b"".join(b"%d:%s%d\n" % (number, b"x" * 90, number) for number in range(200))
        must(directory, "produce", topic, "-K", ":", stdin=lines)
    must(directory, "consume", "t", "-g", "g", "-n", "5")
    return directory


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit")
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.every_case
def test_too_few_open_files(log, tmp_path, name, thoroughness):
    words, _ = COMMANDS[name]
    copy, snapshot = tmp_path / "copy", tmp_path / "snapshot"
    places = {"LOG": log, "COPY": copy, "SNAPSHOT": snapshot, "CURSOR": tmp_path / "cursor"}
    words = [str(places.get(word, word)) for word in words]
    history = History()
    before = records(log)
    for partition, _, value in before:
        history.sent("before", partition, value)
    seen = [value for _, _, value in before]
    worked = refused = 0
    for number in range(FIRST, LAST) if thoroughness.is_full else SOME:
        value = f"value{number}"
        if words[0] == "produce":
            for partition in range(PARTITIONS):
                history.sent("limited", partition, value)
        done = run(log, *words, prefix=limited(number), stdin=f"{value}\n".encode() if words[0] == "produce" else b"")
        if done.status == 0:
            worked += 1
        elif "mk: " in done.stderr or done.stdout.startswith("MK "):
            # 65 and 2: of a topic that it could not look into, and said so.
            assert done.status in ((2, 3) if name == "check" else (65, 74) if name == "replicate" else (74,)), (
                number,
                done,
            )
            assert "Too many open files" in done.stderr + done.stdout, (number, done)
            assert "mk itself failed" not in done.stderr
            refused += 1
        else:
            assert number < 8 and done.status, (number, done)  # Python could not start.
        for partition, first, last in parse_acks(done.stderr):
            assert first == last
            history.acknowledged(partition, value, first)
        shutil.rmtree(snapshot, ignore_errors=True)
        count("faults")
    assert worked and refused
    after = records(log)
    for partition in range(PARTITIONS):
        history.polled("reader", partition, [(offset, value) for number, offset, value in after if number == partition])
    assert [value for _, _, value in after if value in set(seen)] == seen
    found = [anomaly for anomaly in history.anomalies() if anomaly.kind != "reordered"]
    assert found == []
    # The next one works, and the group has passed over nothing.
    must(log, *words, stdin=b"last\n" if words[0] == "produce" else b"")
    must(log, "topics", "verify", "t")
    if name == "consume in a group":
        assert must(log, "consume", "t", "-g", "g").stdout == ""
    if name == "replicate":
        assert records(copy) == after


def file_size(limit):
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))}


@pytest.mark.parametrize("limit", [4607, 4700, 9000, 20_000])
def test_files_that_may_not_grow(tmp_path, limit):
    """Below the size of a segment it is as with a full disk; below that of `state`, nothing can be written at all."""
    log = tmp_path / "log"
    create_topic(log, "t", segment_bytes=65536)
    must(log, "produce", "t", "before")
    sent = [f"{number:04d}{'x' * 95}" for number in range(500)]
    producer = start(log, "produce", "t", "-v", **file_size(limit))
    stdin = producer.stdin
    with contextlib.suppress(BrokenPipeError):
        for value in sent:
            stdin.write(f"{value}\n".encode())
            stdin.flush()
    with contextlib.suppress(BrokenPipeError):
        stdin.close()
    producer.stdin = None
    done = end(producer)
    assert done.status == 74, done
    assert "File too large" in done.stderr or "took" in done.stderr, done
    acks = parse_acks(done.stderr)
    values = must(log, "consume", "t").stdout.split()
    assert values == ["before", *sent[: len(values) - 1]]
    assert len(values) == 1 + sum(last - first + 1 for _, first, last in acks)
    count("faults")
    count("acknowledged", len(values) - 1)
    # Through rolls, with a limit that each segment stays below.
    create_topic(log, "u", segment_bytes=8192)
    through = run(
        log, "produce", "u", stdin="".join(f"{value}\n" for value in sent).encode(), prefix=("prlimit", "--fsize=60000")
    )
    assert through.status == 0, through
    assert must(log, "consume", "u").stdout.split() == sent
    must(log, "produce", "t", "after")
    must(log, "topics", "verify")


@pytest.mark.parametrize("size", [40, 60, 90, 140])
def test_little_memory(tmp_path, size, thoroughness):
    """Python may not even start; a command that runs out of memory says so or is a bug, and the log is whole in any case."""
    log = tmp_path / "log"
    must(log, "produce", "t", "before")
    line = b"y" * (8 << 20)
    for words, stdin in (
        (["produce", "t", "-v"], line + b"\n"),
        (["produce", "t", "-v", "-z", "zstd"], line + b"\n"),
        (["consume", "t"], b""),
        (["consume", "t", "-J"], b""),
    ):
        done = run(log, *words, stdin=stdin, prefix=("prlimit", f"--as={size << 20}"))
        assert done.status in (0, 1, 70, 74, 75, 127, -6, -11), (words, size, done.status, done.stderr[-500:])
        assert bool(parse_acks(done.stderr)) == (done.status == 0 and words[0] == "produce")
        count("faults")
    values = must(log, "consume", "t").stdout.splitlines()
    assert values[0] == "before" and set(values[1:]) <= {line.decode()}
    must(log, "topics", "verify")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be a user with few processes")
@pytest.mark.root
def test_no_more_processes(tmp_path_factory):
    """A limit on a user's processes and threads (ulimit -u), as a container sets it."""
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    top = tmp_path_factory.mktemp("processes")
    for path in (top, *top.parents[: len(top.parents) - 2]):
        path.chmod(path.stat().st_mode | 0o055)
    log = top / "log"
    must(log, "produce", "t", "a", "b")
    for path in (log, *log.rglob("*")):
        os.chown(path, 4177, 4177)
    prefix = ("prlimit", "--nproc=1:1", "setpriv", "--reuid=4177", "--regid=4177", "--clear-groups")
    if run(log, "--version", prefix=prefix).status:
        pytest.skip("another user cannot run this mk")
    must(log, "produce", "t", "c", prefix=prefix)
    member = run(log, "consume", "t", "-g", "g", prefix=prefix)
    assert member.status == 75 and "thread" in member.stderr, member
    assert member.stdout == ""
    for words in (["consume", "t"], ["topics"], ["topics", "verify", "t"], ["groups"]):
        must(log, *words, prefix=prefix)
    count("faults")
    plain = prefix[2:]
    assert must(log, "consume", "t", "-g", "g", prefix=plain).stdout.split() == ["a", "b", "c"]
