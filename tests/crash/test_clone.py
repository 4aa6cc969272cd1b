"""Cloning a topic: killed at any operation, or the power cut behind it, with links and where they are refused."""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.storage import files
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from mk.storage.producer_pin import pin_producer
from mk.storage.topic_clone import clone_topic
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import Moments, Sweep, drain, make_batch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.thinning import Thoroughness

PARTITIONS = 2
BEFORE = 9
"""Records of each partition when it is cloned."""


def produce(directory: LogDirectory, name: str, count: int, disk: RecordingDisk | None = None) -> None:
    """Append so many records to each partition, as the input of a producer that goes on where it stands."""
    topic = directory.open_topic(name)
    try:
        pin = pin_producer(topic, "shop", partition=None, lock_wait_ms=0)
        for partition in range(PARTITIONS):
            log = PartitionLog(topic, partition, lock_wait_ms=0)
            try:
                first = log.last_sequence(pin.producer_id) + 1
                batch = make_batch(itertools.count(first), count, 700)
                batch.number(pin.producer_id, range(first, first + count))
                log.append([batch], DISK)
            finally:
                log.close()
    finally:
        topic.close()
    if disk is not None:
        disk.note("produced", (name, count))


def prepare(root: Path) -> None:
    create_directory(str(root))
    directory = LogDirectory(str(root))
    try:
        overrides: dict[str, int | str] = {"segment.bytes": 4096, "retention.ms": -1, "min.free": 0}
        directory.create_topic("a", partitions=PARTITIONS, partitioner="crc32", overrides=overrides, wait_ms=0)
        for _ in range(3):
            produce(directory, "a", BEFORE // 3)
    finally:
        directory.close()


def clone(root: Path, disk: RecordingDisk, *, links: bool) -> None:
    directory = LogDirectory(str(root))
    link = files.link
    if not links:
        files.link = refused
    try:
        clone_topic(directory, "a", "b", wait_ms=0)
        disk.note("cloned", "b")
    finally:
        files.link = link
        directory.close()


def refused(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), old)


def go_on(root: Path, disk: RecordingDisk) -> None:
    """Use both, and then remove what the original has; what it shared with its clone is the clone's."""
    directory = LogDirectory(str(root))
    try:
        produce(directory, "a", 1, disk)
        if "b" in directory.topic_names():
            produce(directory, "b", 2, disk)
            topic = directory.open_topic("a")
            cleaner = PartitionCleaner(topic, 1, lock_wait_ms=0)
            disk.note("trimming", "a")
            cleaner.delete_records(BEFORE)
            cleaner.close()
            topic.close()
            disk.note("deleting", "a")
            directory.delete_topic("a", wait_ms=0)
    finally:
        directory.close()


def check(root: Path, disk: RecordingDisk, count: int) -> None:
    """Hold what is there against what was promised, then clone again and use all of it."""
    known = [(note.kind, note.facts) for note in disk.notes if note.at <= count]
    produced = {
        name: sum(facts[1] for kind, facts in known if kind == "produced" and facts[0] == name) for name in "ab"
    }  # type: ignore[index]
    directory = LogDirectory(str(root))
    try:
        names = directory.topic_names()
        assert "a" in names or ("deleting", "a") in known, "the original is gone"
        assert "b" in names or ("cloned", "b") not in known, "the clone is gone"
        for name in names:
            found = records(directory, name)
            for partition, had in enumerate(found):
                start = BEFORE if name == "a" and partition == 1 and ("trimming", "a") in known and min(had) else 0
                offsets = list(had)
                assert offsets == list(range(start, len(had) + start))
                assert offsets[-1] + 1 >= BEFORE + produced[name], f"records of {name} are lost"
                assert [int(value[:8]) for value in had.values()] == offsets, "not the records that were produced"
            assert not damage(directory, name)
        for name in names:
            produce(directory, name, 1)
        if "a" in names:
            clone_topic(directory, "a", "c", wait_ms=0)
            produce(directory, "c", 1)
            assert not damage(directory, "c")
        assert not [name for name in os.listdir(root / "topics") if name.startswith(".")] or "a" not in names
        directory.create_topic("d", partitions=1, partitioner="crc32", overrides={}, wait_ms=0)
        assert sorted(os.listdir(root / "topics")) == directory.topic_names(), "something was left behind"
        ids = {id_of(directory, name) for name in directory.topic_names()}
        assert {name for name in os.listdir(root / "locks") if len(name) == 32} == ids, "locks were left behind"
    finally:
        directory.close()


def records(directory: LogDirectory, name: str) -> list[dict[int, bytes]]:
    topic = directory.open_topic(name)
    try:
        found = []
        for partition in range(topic.partitions):
            reader = PartitionReader(topic, partition)
            found.append(drain(reader))
            reader.close()
        return found
    finally:
        topic.close()


def id_of(directory: LogDirectory, name: str) -> str:
    topic = directory.open_topic(name)
    topic.close()
    return topic.topic_id


def damage(directory: LogDirectory, name: str) -> list[object]:
    return [finding for finding in verify_topic(directory, name).findings if finding.severity == DAMAGE]


LINKS = pytest.mark.parametrize("links", [True, False], ids=["linked", "copied"])


@LINKS
def test_a_power_cut_at_any_operation_leaves_a_whole_clone_or_none(
    tmp_path: Path, thoroughness: Thoroughness, links: bool
) -> None:
    base = tmp_path / "recorded"
    base.mkdir()
    prepare(base / "mk")
    with RecordingDisk(base) as disk:
        clone(base / "mk", disk, links=links)
        go_on(base / "mk", disk)

    def check_image(target: Path, count: int) -> None:
        with fast_disk():
            check(target / "mk", disk, count)

    sweep = Sweep(tmp_path, seed=11, per_cut=thoroughness.pick(5, 16), thoroughness=thoroughness, cuts=16)
    sweep.power_cuts(disk, check_image)
    assert sweep.images > 20
    print(f"{sweep.images} images")


@LINKS
def test_killed_at_any_operation_others_go_on_and_a_power_cut_takes_nothing_from_them(
    tmp_path: Path, thoroughness: Thoroughness, links: bool
) -> None:
    """Also where the kill came between the clone's name and the disk that knows it: who appends to the clone relies on it."""
    sweep = Sweep(tmp_path, seed=12, per_cut=3, thoroughness=thoroughness, cuts=3)
    moments = Moments(thoroughness, 6)
    for kill_after in moments:
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        prepare(base / "mk")
        with RecordingDisk(base) as disk:
            disk.kill_after = kill_after
            try:
                clone(base / "mk", disk, links=links)
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            start = len(disk.operations)
            go_on(base / "mk", disk)

        def check_image(target: Path, count: int, disk: RecordingDisk = disk) -> None:
            with fast_disk():
                check(target / "mk", disk, count)

        sweep.power_cuts(disk, check_image, start=start)
    assert sweep.images > 10
    print(f"{sweep.images} images")
