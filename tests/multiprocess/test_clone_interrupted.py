"""Clones beside producers, consumers and each other, and killed or refused at any call."""

import json
import os
import random
import shutil
import signal
import threading

import pytest
from history import read_log, verify
from injection import Stopped, fail_at, kill_at, needs_strace, points_of, to_kill_at
from processes import create_topic, end, kill_all, must, run, start, wait_until

import mk
from mk.consumer.offset_spec import parse_offset_spec
from tests.proof.figures import count
from tests.thinning import crossed

CLONE = ["topics", "clone", "t", "new"]
REHASH = [*CLONE, "--rehash", "-p", "3", "--groups"]
RECORDS = 60


def fresh(template, directory):
    if directory.exists():
        shutil.rmtree(directory)
    shutil.copytree(template, directory)


def key_of(number):
    return b"key%d" % (number % 5)


def value_of(number):
    return b"%03d " % number + b"x" * 200


def filled(directory, *, tail=True):
    """Make a topic of two partitions and several segments, with a producer id, a group, and a tail that is not on disk."""
    create_topic(directory, "t", 2, segment_bytes=4096, retention_ms=-1)
    with mk.connect(str(directory)) as cluster:
        with cluster.producer("t", producer_id="shop") as producer:
            for number in range(RECORDS):
                producer.send(value_of(number), key=key_of(number))
                if number % 15 == 0:
                    producer.flush()
        if tail:
            with cluster.producer("t", acks=0) as producer:
                producer.send(b"last", key=b"key0")
    must(directory, "consume", "t", "-g", "readers", "-n", "25")


def values(directory, topic, group=None):
    """Return key and value of the records of a topic, as they stand in each partition; of a group, those it has not read."""
    found = {}
    with mk.connect(str(directory)) as cluster:
        offset = None if group is None else parse_offset_spec(f"group:{group}")
        with cluster.consumer([topic], offset=offset) as consumer:
            for record in consumer:
                found.setdefault(record.partition, []).append((record.key, record.value))
    return found


def by_key(found):
    keys = {}
    for records in found.values():
        for key, value in records:
            keys.setdefault(key, []).append(value)
    return keys


def check_after(directory, had, command, context):
    """After whatever became of it: the original is whole, the clone is or is not there, and all that is there can be used."""
    with mk.connect(str(directory)) as cluster:
        topics = cluster.topic_names()
        assert topics in (["t"], ["new", "t"]), context
        assert values(directory, "t") == had, context
        verify(directory, "t")
        if "new" not in topics:
            must(directory, *command)
        check_clone(directory, had, command, context)
        for topic in ("t", "new"):
            with cluster.producer(topic) as producer:
                producer.send(b"after", key=b"key0")
            verify(directory, topic)
        cluster.delete_topic("t")
        verify(directory, "new")
        cluster.create_topic("other")
    assert sorted(os.listdir(directory / "topics")) == ["new", "other"], context
    assert len([name for name in os.listdir(directory / "locks") if len(name) == 32]) == 2, context
    assert not [path for path in directory.rglob(".tmp-*") if "groups" not in path.parts], context


def check_clone(directory, had, command, context):
    if command == CLONE:
        assert values(directory, "new") == had, context
        # The input that the original has is known in the clone.
        with mk.connect(str(directory)) as cluster, cluster.producer("new", producer_id="shop") as producer:
            for number in range(RECORDS):
                producer.send(value_of(number), key=key_of(number))
        assert values(directory, "new") == had, context
    else:
        assert by_key(values(directory, "new")) == by_key(had), context
        unread = by_key(values(directory, "t", "readers"))
        got = by_key(values(directory, "new", "readers"))
        for key, expected in unread.items():
            assert got[key][-len(expected) :] == expected, f"{context}: the group skips records"
    verify(directory, "new")


@needs_strace
@pytest.mark.parametrize("command", [CLONE, REHASH], ids=["clone", "rehash"])
def test_killed_at_any_call_nothing_of_the_original_is_lost_and_the_same_command_works(tmp_path, thoroughness, command):
    template, directory = tmp_path / "template", tmp_path / "log"
    filled(template)
    had = values(template, "t")
    fresh(template, directory)
    points = to_kill_at(points_of(directory, command), thoroughness, count=4)
    for point in points:
        fresh(template, directory)
        kill_at(point, directory, command)
        check_after(directory, had, command, point)
        count("kills")
    print(f"{len(points)} kills")


@needs_strace
@pytest.mark.parametrize(("command", "error"), crossed([CLONE, REHASH], ["ENOSPC", "EIO"], every=2), ids=str)
def test_a_disk_that_refuses_any_call_costs_nothing_but_this_clone(tmp_path, thoroughness, command, error):
    template, directory = tmp_path / "template", tmp_path / "log"
    filled(template, tail=False)  # Which a disk that refuses to sync may take, of whoever syncs next.
    had = values(template, "t")
    fresh(template, directory)
    calls = ["writev", "pwrite64", "fdatasync", "fsync", "rename", "renameat", "link", "linkat", "mkdir", "mkdirat"]
    points = [point for point in points_of(directory, command, calls=calls) if "MK_DIR" in point.line]
    for point in thoroughness.of(points, 2):
        fresh(template, directory)
        result = fail_at([(point, f"error={error}", "")], directory, command)
        assert result.status in (0, 1, 74), (point, result)
        assert "Traceback" not in result.stderr, (point, result)
        check_after(directory, had, command, point)
        count("faults")


def test_a_full_disk_at_the_start_leaves_all_as_it_was(tmp_path):
    """With links there is next to nothing to write; what there is has to have room."""
    directory = tmp_path / "log"
    filled(directory)
    had = values(directory, "t")
    result = run(directory, *CLONE, prefix=("prlimit", "--fsize=100"))
    assert result.status == 74, result
    check_after(directory, had, CLONE, "no room")


def test_a_clone_is_of_one_moment_beside_producers_of_all_partitions(tmp_path, thoroughness):
    """A producer appends to one partition and, once that is acknowledged, to the next. So of what a clone has of a later
    partition, it has all that came before it in the earlier ones."""
    directory = tmp_path / "log"
    partitions = 3
    create_topic(directory, "t", partitions, segment_bytes=8192, retention_ms=-1)
    stop = threading.Event()
    acknowledged = []

    def produce():
        with mk.connect(str(directory)) as cluster:
            producers = [cluster.producer("t", partition=partition) for partition in range(partitions)]
            number = 0
            while not stop.is_set():
                for producer in producers:
                    producer.send(b"%d" % number + b"y" * 100)
                    producer.flush()
                number += 1
                acknowledged.append(number)
            for producer in producers:
                producer.close()

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        for round_number in range(thoroughness.pick(3, 60)):
            reached = len(acknowledged)
            wait_until(lambda reached=reached: len(acknowledged) > reached + 3)
            before = acknowledged[-1]
            must(directory, "topics", "clone", "t", f"c{round_number}")
            ends = [
                row["high_watermark"]
                for row in json.loads(must(directory, "topics", "offsets", f"c{round_number}", "--json").stdout)
            ]
            assert ends == sorted(ends, reverse=True)
            assert ends[0] - ends[-1] <= 1
            assert ends[-1] >= before
            verify(directory, f"c{round_number}")
            for partition in range(partitions):
                found = [value.split(b"y")[0] for _, value in read_log(directory, f"c{round_number}", partition)]
                assert found == [b"%d" % number for number in range(ends[partition])]
    finally:
        stop.set()
        thread.join()


def test_clones_beside_retention_compaction_renames_and_each_other(tmp_path, thoroughness):
    """What goes on with the original meanwhile, a clone is whole, of one moment, and stays so."""
    directory = tmp_path / "log"
    create_topic(
        directory,
        "t",
        2,
        segment_bytes=4096,
        retention_ms=-1,
        cleanup_policy="compact",
        **{"min.cleanable.dirty.ratio": 0},
    )
    chosen = random.Random(5)
    producer = start(directory, "produce", "t", "-K", ":")
    contents = {}
    try:
        for number in range(thoroughness.pick(4, 60)):
            lines = [b"k%d:%d %s\n" % (chosen.randrange(30), number, b"z" * 100) for _ in range(60)]
            producer.stdin.writelines(lines)
            producer.stdin.flush()
            others = [
                start(directory, "topics", "compact", "t"),
                start(directory, "topics", "clean", "t"),
                start(directory, "topics", "trim", "t", "--to", "-200", "--yes", "-q"),
                start(directory, "topics", "clone", "t", f"b{number}"),
            ]
            result = run(directory, "topics", "clone", "t", f"a{number}")
            assert result.status == 0, result
            for process in others:
                other = end(process)
                assert "Traceback" not in other.stderr, other
                assert other.status in (0, 75), other
            for name in (f"a{number}", f"b{number}"):
                verify(directory, name)
                contents[name] = values(directory, name)
        producer.stdin.close()
        assert producer.wait(60) == 0
        must(directory, "topics", "delete", "t", "--yes")
        for name, content in contents.items():
            assert values(directory, name) == content, name
            verify(directory, name)
            must(directory, "produce", name, "-k", "key", "after")
    finally:
        kill_all([producer])


@needs_strace
@pytest.mark.parametrize("command", [CLONE, REHASH], ids=["clone", "rehash"])
def test_the_original_deleted_or_the_new_name_taken_meanwhile(tmp_path, command):
    """Stopped in the middle, with no lock but that of the directory's topics: others wait for it, or are told, and it is told."""
    template, directory = tmp_path / "template", tmp_path / "log"
    filled(template)
    fresh(template, directory)
    points = points_of(directory, command, calls=["pwrite64", "writev"])
    inside = [point for point in points if ("/.tmp-" if command == CLONE else "writev") in f"{point.call} {point.line}"]
    point = inside[len(inside) // 2]
    fresh(template, directory)
    stopped = Stopped(point, directory, command)
    stopped.wait()
    try:
        deleted = run(directory, "topics", "delete", "t", "--yes", "--lock-wait", "200ms")
        taken = run(directory, "topics", "create", "new", "--lock-wait", "200ms")
    finally:
        result = stopped.finish()
    assert "Traceback" not in result.stderr + deleted.stderr + taken.stderr
    if command == CLONE:
        assert (deleted.status, taken.status, result.status) == (75, 75, 0)
        assert "process" in deleted.stderr
    else:
        assert (deleted.status, taken.status) == (0, 0)
        assert result.status in (66, 73), result
        assert values(directory, "new") == {}
        must(directory, "topics", "create", "other")
        assert sorted(os.listdir(directory / "topics")) == ["new", "other"]


@needs_strace
def test_an_interrupt_ends_a_rehash_and_leaves_nothing(tmp_path):
    template, directory = tmp_path / "template", tmp_path / "log"
    filled(template)
    fresh(template, directory)
    points = points_of(directory, REHASH, calls=["writev"])
    fresh(template, directory)
    stopped = Stopped(points[0], directory, REHASH)
    stopped.wait()
    os.kill(stopped.pid, signal.SIGTERM)
    result = stopped.finish()
    assert result.status == -signal.SIGTERM, result
    assert os.listdir(directory / "topics") == ["t"]
