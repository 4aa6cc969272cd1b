"""Removing records, killed at any operation or with the power cut behind it: what stays is whole, and the next one works."""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING

import pytest

from mk.errors import MkError
from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.storage import files
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog
from mk.storage.partition_reader import PartitionReader
from mk.storage.topic import encode_topic
from tests.crash import oracle
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import TOPIC, Moments, Records, Sweep, World, drain, make_batch, promised

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.thinning import Thoroughness


def cleaner(world: World) -> PartitionCleaner:
    world.open_reader()
    assert world.topic is not None
    opened = PartitionCleaner(world.topic, 0, lock_wait_ms=0)
    world.logs.append(opened)
    return opened


def configure(world: World, **config: int) -> None:
    settings = {"segment.bytes": 4096, "retention.ms": -1, "min.free": 0}
    settings |= {name.replace("_", "."): value for name, value in config.items()}
    content = encode_topic(TOPIC, oracle.topic_id(world.path, TOPIC), 1, "crc32", settings)  # type: ignore[arg-type]
    directory = files.open_directory(str(world.path / "topics" / TOPIC))
    files.replace_file("topic.json", content, dir_fd=directory)
    files.close(directory)


def roll_that_removes(world: World) -> None:
    configure(world, retention_bytes=5000)
    world.append(world.open(), DISK, value=1700)


def clean_by_size(world: World) -> None:
    configure(world, retention_bytes=5000)
    report = cleaner(world).clean()
    if report.error is not None:
        raise report.error


def clean_a_quiet_topic(world: World) -> None:
    configure(world, retention_ms=1000)
    report = cleaner(world).clean()
    if report.error is not None:
        raise report.error


def trim_into_a_segment(world: World) -> None:
    cleaner(world).delete_records(7)


def trim_to_the_end(world: World) -> None:
    cleaner(world).delete_records(max(offset for records, _ in world.acked for offset in records) + 1)


ACTIONS = [roll_that_removes, clean_by_size, clean_a_quiet_topic, trim_into_a_segment, trim_to_the_end]


def check(path: Path, expected: Records, limit: int) -> Records:
    """What is at or above `limit` is there; what is below it may be gone, from the front. Then use the log, and clean it."""
    partition = path / "topics" / TOPIC / "0"
    directory = LogDirectory(str(path))
    topic = directory.open_topic(TOPIC)
    reader = PartitionReader(topic, 0)
    log = PartitionCleaner(topic, 0, lock_wait_ms=0)
    try:
        found = drain(reader)
        first = min(found, default=reader.high_watermark)
        assert list(found) == list(range(first, first + len(found)))
        assert first <= limit, f"the log begins at {first}, nobody removed what is above {limit}"
        for offset, value in expected.items():
            assert offset < first or found.get(offset) == value, f"offset {offset} is lost or altered"
        assert sum(last - start + 1 for start, last in reader.skipped) <= first
        result = log.append([make_batch(itertools.count(90_000_000), 1, 40)], DISK)
        assert result.first_offset == max([*found, *expected, limit - 1]) + 1
        report = log.clean()
        assert report.error is None
        stored = oracle.verify(partition)
        left = {record.offset: record.value for record in stored.records}
        assert {offset: value for offset, value in found.items() if offset in left} == {
            offset: value for offset, value in left.items() if offset < result.first_offset
        }
        assert min([*left, result.last_offset + 1]) >= first
        assert drain(reader).keys() >= {result.first_offset} & left.keys()
        return left  # type: ignore[return-value]
    finally:
        log.close()
        reader.close()
        topic.close()
        directory.close()


def life(world: World) -> PartitionLog:
    """Some segments of 4 KiB, with two or four records each."""
    world.create()
    log = world.open()
    for number in range(6):
        world.append(log, DISK, value=800 + 100 * number)
    return log


def limit_of(tmp_path: Path, action: Callable[[World], None]) -> int:
    """Return where the log begins when nobody kills the action."""
    base = tmp_path / "whole"
    base.mkdir()
    with RecordingDisk(base) as disk:
        world = World(disk)
        life(world)
        action(world)
        state = oracle.read_state_file((world.partition / "state").read_bytes())
        assert state is not None
        oracle.verify(world.partition)
        world.abandon()
    limit = int(state["log_start"])
    assert limit > 0
    return limit


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_killed_at_any_operation_nothing_above_the_log_start_is_lost(
    tmp_path: Path, action: Callable[[World], None], thoroughness: Thoroughness
) -> None:
    limit = limit_of(tmp_path, action)
    sweep = Sweep(tmp_path, seed=5, per_cut=thoroughness.pick(2, 20), thoroughness=thoroughness)
    moments = Moments(thoroughness, 8)
    for number, kill_after in enumerate(moments):
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            world = World(disk)
            survivor = life(world)
            follower = world.open_reader()
            follower.fetch()
            start = len(disk.operations)
            disk.restart_count()
            disk.kill_after = kill_after
            try:
                action(world)
                assert kill_after == moments.NEVER
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            end = len(disk.operations)
            position = follower.next_offset
            world.append(survivor, DISK, value=60)
            had = promised(disk, len(disk.operations))
            found = check(world.path, had, limit)
            # A batch may begin below the log start: who reads drops what is named as skipped.
            rest = drain(follower).keys()
            skipped = {offset for first, last in follower.skipped for offset in range(first, last + 1)}
            assert sorted(skipped | rest) == list(range(position, follower.high_watermark))
            assert {offset for offset in found if offset >= position} <= rest - skipped
            world.abandon()

        def check_image(target: Path, count: int, disk: RecordingDisk = disk) -> None:
            with fast_disk():
                check(target / "mk", promised(disk, count), limit)

        if thoroughness.is_full or number % 3 == 0:
            sweep.power_cuts(disk, check_image, start=start, stop=end)
    assert len(moments.kinds) >= 3
    print(f"{action.__name__}: {number} kills, {sweep.images} images")


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "refused"])
@pytest.mark.parametrize("action", [clean_by_size, trim_to_the_end], ids=lambda action: action.__name__)
def test_nothing_is_unlinked_by_a_log_start_that_somebody_did_not_come_to_put_on_disk(
    tmp_path: Path, action: Callable[[World], None], is_killed: bool, thoroughness: Thoroughness
) -> None:
    """Break an action off at each operation, by a kill or a refusal, clean, and cut the power anywhere behind it."""
    sweep = Sweep(tmp_path, seed=5, per_cut=3, thoroughness=thoroughness)
    moments = Moments(thoroughness, 8, figure="broken-off" if is_killed else "faults")
    for number in moments:
        base = tmp_path / f"broken-{number}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            world = World(disk)
            life(world)
            disk.restart_count()
            if is_killed:
                disk.kill_after = number
            else:
                disk.fault = lambda at, kind, name, number=number: errno.EIO if at == number else 0
            try:
                action(world)
            except (Killed, MkError, OSError):
                pass
            moments.saw(disk)
            disk.revive()
            start = len(disk.operations)
            (world.partition / "FAILED").unlink(missing_ok=True)
            cleaner(world).clean()
            world.abandon()

        def check_image(target: Path, count: int) -> None:
            with fast_disk():
                directory = LogDirectory(str(target / "mk"))
                found = [finding for finding in verify_topic(directory, TOPIC).findings if finding.severity == DAMAGE]
                directory.close()
            assert not found, found

        sweep.power_cuts(disk, check_image, start=start)
    assert len(moments.kinds) >= 3


def test_trimming_again_what_a_kill_broke_off_is_on_disk(tmp_path: Path) -> None:
    with RecordingDisk(tmp_path) as disk:
        world = World(disk)
        life(world)
        disk.restart_count()
        # The new log start is published, and not on disk.
        disk.kill_after = 1
        with pytest.raises(Killed):
            trim_into_a_segment(world)
        disk.revive()
        trim_into_a_segment(world)
        world.abandon()
    images = tmp_path / "images"
    images.mkdir()

    def check_image(target: Path, count: int) -> None:
        state = oracle.read_state_file((target / "mk" / "topics" / TOPIC / "0" / "state").read_bytes())
        assert state is not None
        assert state["log_start"] == "7"

    Sweep(images, seed=5, per_cut=5).power_cuts(disk, check_image, start=len(disk.operations))


def test_a_trim_never_begins_the_log_behind_what_a_power_cut_leaves_of_it(tmp_path: Path) -> None:
    with RecordingDisk(tmp_path) as disk:
        world = World(disk)
        world.create(segment_bytes=1 << 20)
        world.append(world.open(), PAGE_CACHE, batches=4, count=5)
        start = len(disk.operations)
        cleaner(world).delete_records(8)
        world.abandon()
    images = tmp_path / "images"
    images.mkdir()

    def check_image(target: Path, count: int) -> None:
        with fast_disk():
            directory = LogDirectory(str(target / "mk"))
            topic = directory.open_topic(TOPIC)
            log = PartitionLog(topic, 0, lock_wait_ms=0)
            result = log.append([make_batch(itertools.count(90_000_000), 1, 40)], DISK)
            reader = PartitionReader(topic, 0)
            assert result.first_offset in drain(reader), "acknowledged, and nobody can read it"
            for opened in (reader, log, topic, directory):
                opened.close()

    Sweep(images, seed=5, per_cut=5).power_cuts(disk, check_image, start=start)
