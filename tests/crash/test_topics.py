"""Making a directory, making and deleting topics: killed at any operation, or the power cut behind it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from mk.errors import NoSuchDirectoryError
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from tests.crash import oracle
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import Moments, Sweep, drain, make_batch
from tests.proof.figures import count

if TYPE_CHECKING:
    from pathlib import Path

    from tests.thinning import Thoroughness

NAMES = ("a", "b")


def create(root: Path, name: str) -> None:
    directory = LogDirectory(str(root))
    try:
        directory.create_topic(name, partitions=2, partitioner="crc32", overrides={}, wait_ms=0)
    finally:
        directory.close()


def delete(root: Path, name: str) -> None:
    directory = LogDirectory(str(root))
    try:
        directory.delete_topic(name, wait_ms=0)
    finally:
        directory.close()


def produce(root: Path, name: str, disk: RecordingDisk) -> None:
    directory = LogDirectory(str(root))
    topic = directory.open_topic(name)
    log = PartitionLog(topic, 1, lock_wait_ms=0)
    try:
        log.append([make_batch(itertools.count(7), 2, 20)], DISK)
        disk.note("produced", name)
    finally:
        log.close()
        topic.close()
        directory.close()


def whole_life(root: Path, disk: RecordingDisk) -> None:
    create_directory(str(root))
    disk.note("directory", "")
    create(root, "a")
    disk.note("created", "a")
    produce(root, "a", disk)
    create(root, "b")
    disk.note("created", "b")
    disk.note("deleting", "a")
    delete(root, "a")
    disk.note("deleted", "a")
    produce(root, "b", disk)


def facts(disk: RecordingDisk, count: int) -> dict[str, set[object]]:
    found: dict[str, set[object]] = {}
    for note in disk.notes:
        if note.at <= count:
            found.setdefault(note.kind, set()).add(note.facts)
    return found


def use(root: Path, known: dict[str, set[object]]) -> None:
    """Open what is there, and make and use each topic: with no repair step."""
    try:
        directory = LogDirectory(str(root))
    except NoSuchDirectoryError:
        assert "directory" not in known
        create_directory(str(root))
        directory = LogDirectory(str(root))
    try:
        names = directory.topic_names()
        for name in known.get("created", set()) - known.get("deleting", set()):
            assert name in names, f"{name} was created and is gone"
        for name in known.get("deleted", set()):
            assert name not in names, f"{name} was deleted and is there again"
        for name in NAMES:
            if name not in names:
                directory.create_topic(name, partitions=2, partitioner="crc32", overrides={}, wait_ms=0)
            topic = directory.open_topic(name)
            for partition in (0, 1):
                reader = PartitionReader(topic, partition)
                had = drain(reader)
                if partition and name in known.get("produced", set()) - known.get("deleting", set()):
                    assert len(had) >= 2, f"records of {name} are gone"
                log = PartitionLog(topic, partition, lock_wait_ms=0)
                log.append([make_batch(itertools.count(50), 1, 20)], DISK)
                log.close()
                assert len(drain(reader)) >= 1
                reader.close()
                oracle.verify(root / "topics" / name / str(partition))
            topic.close()
        directory.create_topic("c", partitions=1, partitioner="crc32", overrides={}, wait_ms=0)
        for name in [*NAMES, "c"]:
            directory.delete_topic(name, wait_ms=0)
        assert directory.topic_names() == []
        assert not [path.name for path in (root / "topics").iterdir()]
    finally:
        directory.close()


def test_a_power_cut_at_any_operation_leaves_topics_whole_or_absent(tmp_path: Path, thoroughness: Thoroughness) -> None:
    base = tmp_path / "recorded"
    base.mkdir()
    with RecordingDisk(base) as disk:
        whole_life(base / "deep" / "mk", disk)

    def check(target: Path, count: int) -> None:
        with fast_disk():
            use(target / "deep" / "mk", facts(disk, count))

    sweep = Sweep(tmp_path, seed=3, per_cut=thoroughness.pick(6, 12), thoroughness=thoroughness, cuts=20)
    sweep.power_cuts(disk, check)
    assert sweep.images > 25
    print(f"{sweep.images} images")


def test_killed_at_any_operation_the_next_process_goes_on(tmp_path: Path, thoroughness: Thoroughness) -> None:
    sweep = Sweep(tmp_path, seed=4, per_cut=3)
    moments = Moments(thoroughness, 25)
    for kill_after in moments:
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            disk.kill_after = kill_after
            try:
                whole_life(base / "mk", disk)
            except Killed:
                pass
            moments.saw(disk)
            start = len(disk.operations)
            disk.revive()
            known = facts(disk, start)
            # Somebody else goes on: what he is told is done stands on what the killed one left.
            try:
                LogDirectory(str(base / "mk")).close()
            except NoSuchDirectoryError:
                create_directory(str(base / "mk"))
                disk.note("directory", "")
            directory = LogDirectory(str(base / "mk"))
            names = directory.topic_names()
            directory.close()
            for name in NAMES:
                if name in names:
                    produce(base / "mk", name, disk)
                    disk.note("created", name)
                    disk.note("directory", "")
            if not names:
                create(base / "mk", "b")
                disk.note("created", "b")
                disk.note("directory", "")
            produced = facts(disk, len(disk.operations))
            produced["deleting"] = known.get("deleting", set()) - set(names)
            produced["deleted"] = known.get("deleted", set())

        def check(
            target: Path, count: int, produced: dict[str, set[object]] = produced, disk: RecordingDisk = disk
        ) -> None:
            if count == len(disk.operations):
                with fast_disk():
                    use(target / "mk", produced)

        sweep.power_cuts(disk, check, start=len(disk.operations))
    assert sweep.images > 15
    print(f"{sweep.images} images")


def test_a_directory_that_is_half_made_when_the_power_goes_is_made_by_the_next(tmp_path: Path) -> None:
    base, images = tmp_path / "recorded", tmp_path / "images"
    base.mkdir()
    images.mkdir()
    with RecordingDisk(base) as disk:
        create_directory(str(base / "mk"))
        disk.note("made", None)

    def check(root: Path, at: int) -> None:
        assert (root / "mk" / "mk.json").exists() or not any(note.at <= at for note in disk.notes)
        with fast_disk():
            create_directory(str(root / "mk"))
            create(root / "mk", "a")
            produce(root / "mk", "a", disk)

    sweep = Sweep(images, seed=3, per_cut=20)
    sweep.power_cuts(disk, check)
    count("states", sweep.images)
