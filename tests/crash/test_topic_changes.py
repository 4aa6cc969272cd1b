"""Altering, renaming and sealing a topic: killed at any operation, or the power cut behind it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from mk.errors import TopicSealedError
from mk.storage import topic_changes
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from tests.crash import oracle
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import Moments, Sweep, drain, make_batch
from tests.proof.figures import count

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.thinning import Thoroughness

    Step = Callable[[LogDirectory], object]

CHANGES: dict[str, Step] = {
    "altered": lambda directory: topic_changes.alter_topic(
        directory, "a", settings={"segment.bytes": 8192}, unset=["flush.ms"], partitions=4, wait_ms=0
    ),
    "renamed": lambda directory: topic_changes.rename_topic(directory, "a", "b", wait_ms=0),
    "sealed": lambda directory: topic_changes.seal_topic(directory, name_of(directory), wait_ms=0),
    "unsealed": lambda directory: topic_changes.unseal_topic(directory, name_of(directory), wait_ms=0),
}


def name_of(directory: LogDirectory) -> str:
    (name,) = directory.topic_names()
    return name


def produce(root: Path, partition: int, disk: RecordingDisk) -> None:
    directory = LogDirectory(str(root))
    topic = directory.open_topic(name_of(directory))
    log = PartitionLog(topic, partition, lock_wait_ms=0)
    try:
        log.append([make_batch(itertools.count(7), 2, 20)], DISK)
        disk.note("produced", partition)
    finally:
        log.close()
        topic.close()
        directory.close()


def prepare(root: Path) -> None:
    create_directory(str(root))
    directory = LogDirectory(str(root))
    try:
        overrides: dict[str, int | str] = {"flush.ms": 5}
        directory.create_topic("a", partitions=2, partitioner="crc32", overrides=overrides, wait_ms=0)
    finally:
        directory.close()


def change(root: Path, what: str, disk: RecordingDisk) -> None:
    directory = LogDirectory(str(root))
    try:
        disk.note("began", what)
        CHANGES[what](directory)
        disk.note("done", what)
    finally:
        directory.close()


def life(root: Path, disk: RecordingDisk) -> None:
    produce(root, 1, disk)
    change(root, "altered", disk)
    produce(root, 3, disk)
    change(root, "renamed", disk)
    change(root, "sealed", disk)
    change(root, "unsealed", disk)
    produce(root, 0, disk)


def facts(disk: RecordingDisk, count: int) -> dict[str, set[object]]:
    found: dict[str, set[object]] = {"began": set(), "done": set(), "produced": set()}
    for note in disk.notes:
        if note.at <= count:
            found[note.kind].add(note.facts)
    return found


def use(root: Path, known: dict[str, set[object]]) -> None:
    """Hold the one topic that is there against what was promised, change it again, and write to all of it."""
    began, done = known["began"], known["done"]
    directory = LogDirectory(str(root))
    try:
        name = name_of(directory)
        assert name in ("a", "b")
        assert name == "b" or "renamed" not in done
        assert name == "a" or "renamed" in began
        topic = directory.open_topic(name)
        assert topic.partitions in (2, 4)
        is_altered = topic.partitions == 4
        assert is_altered or "altered" not in done, "the change was lost"
        # All of it or nothing.
        expected = {"segment.bytes": 8192} if is_altered else {"flush.ms": 5}
        assert topic.overrides == expected
        assert topic.sealed or "sealed" not in done or "unsealed" in began
        assert not topic.sealed or ("sealed" in began and "unsealed" not in done)
        for partition in known["produced"]:
            assert isinstance(partition, int)
            assert partition < topic.partitions, f"partition {partition} has acknowledged records and is not counted"
        if topic.sealed:
            log = PartitionLog(topic, 0, lock_wait_ms=0)
            with pytest.raises(TopicSealedError):
                log.append([make_batch(itertools.count(50), 1, 20)], DISK)
            log.close()
        topic.close()
        topic_changes.unseal_topic(directory, name, wait_ms=0)
        topic_changes.alter_topic(directory, name, settings={}, unset=[], partitions=5, wait_ms=0)
        topic_changes.rename_topic(directory, name, "c", wait_ms=0)
        topic = directory.open_topic("c")
        for partition in range(5):
            reader = PartitionReader(topic, partition)
            had = drain(reader)
            assert len(had) >= 2 or partition not in known["produced"], f"records of partition {partition} are gone"
            log = PartitionLog(topic, partition, lock_wait_ms=0)
            log.append([make_batch(itertools.count(50), 1, 20)], DISK)
            log.close()
            assert len(drain(reader)) >= 1
            reader.close()
            oracle.verify(root / "topics" / "c" / str(partition))
        there = sorted(path.name for path in (root / "topics" / "c").iterdir())
        assert there == ["0", "1", "2", "3", "4", "topic.json"]
        topic.close()
        directory.delete_topic("c", wait_ms=0)
        assert not list((root / "topics").iterdir())
        assert not [path for path in (root / "locks").iterdir() if path.is_dir()]
    finally:
        directory.close()


def test_a_power_cut_at_any_operation_leaves_the_old_or_the_new_topic(
    tmp_path: Path, thoroughness: Thoroughness
) -> None:
    base = tmp_path / "recorded"
    base.mkdir()
    prepare(base / "mk")
    with RecordingDisk(base) as disk:
        life(base / "mk", disk)

    def check(target: Path, count: int) -> None:
        with fast_disk():
            use(target / "mk", facts(disk, count))

    sweep = Sweep(tmp_path, seed=5, per_cut=thoroughness.pick(8, 24), thoroughness=thoroughness, cuts=16)
    sweep.power_cuts(disk, check)
    assert sweep.images > 20
    print(f"{sweep.images} images")


@pytest.mark.every_case
@pytest.mark.parametrize("what", ["altered", "renamed"])
def test_a_change_is_on_disk_when_it_is_done_and_never_in_part(tmp_path: Path, what: str) -> None:
    """Behind each of its last operations, with anything kept or lost of what is not on disk by then."""
    base, images = tmp_path / "recorded", tmp_path / "images"
    base.mkdir()
    images.mkdir()
    prepare(base / "mk")
    with RecordingDisk(base) as disk:
        change(base / "mk", what, disk)

    def check(root: Path, at: int) -> None:
        with fast_disk():
            use(root / "mk", facts(disk, at))

    sweep = Sweep(images, seed=3, per_cut=30)
    sweep.power_cuts(disk, check, start=len(disk.operations) - 3)
    count("states", sweep.images)


@pytest.mark.parametrize("what", ["altered", "renamed", "sealed"])
def test_killed_at_any_operation_others_go_on_and_a_power_cut_takes_nothing_from_them(
    tmp_path: Path, what: str, thoroughness: Thoroughness
) -> None:
    """Whoever appends to a new partition before the killed one had its name on disk must not lose that."""
    sweep = Sweep(tmp_path, seed=6, per_cut=4, thoroughness=thoroughness)
    moments = Moments(thoroughness, 10)
    for kill_after in moments:
        base = tmp_path / f"{what}-{kill_after}"
        base.mkdir()
        prepare(base / "mk")
        with RecordingDisk(base) as disk:
            disk.kill_after = kill_after
            try:
                change(base / "mk", what, disk)
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            start = len(disk.operations)
            directory = LogDirectory(str(base / "mk"))
            topic = directory.open_topic(name_of(directory))
            partitions, sealed = topic.partitions, topic.sealed
            topic.close()
            directory.close()
            if not sealed:
                produce(base / "mk", partitions - 1, disk)
        known = facts(disk, len(disk.operations))

        def check(target: Path, count: int, disk: RecordingDisk = disk, known: dict[str, set[object]] = known) -> None:
            if count == len(disk.operations):
                with fast_disk():
                    use(target / "mk", known)

        sweep.power_cuts(disk, check, start=start)
    assert sweep.images > 6
    print(f"{sweep.images} images")


@pytest.mark.parametrize("what", ["altered", "sealed"])
def test_a_change_that_a_kill_broke_off_is_on_disk_when_it_is_made_again(
    tmp_path: Path, what: str, thoroughness: Thoroughness
) -> None:
    sweep = Sweep(tmp_path, seed=7, per_cut=4, thoroughness=thoroughness)
    moments = Moments(thoroughness, 10)
    for kill_after in moments:
        base = tmp_path / f"{what}-{kill_after}"
        base.mkdir()
        prepare(base / "mk")
        with RecordingDisk(base) as disk:
            disk.kill_after = kill_after
            try:
                change(base / "mk", what, disk)
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            change(base / "mk", what, disk)

        def check(target: Path, count: int, disk: RecordingDisk = disk) -> None:
            with fast_disk():
                use(target / "mk", facts(disk, count))

        sweep.power_cuts(disk, check, start=len(disk.operations))
    assert len(moments.kinds) >= 3
