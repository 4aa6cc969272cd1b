"""A kill at every operation of an append, a roll, a recovery or a segment given up, each followed by others' work and a power cut.

The kernel keeps what was written; what the process knew is gone. Somebody who had the partition open all the time
appends next, so that what it remembers is put to the test too.
"""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING

import pytest

from mk.errors import SyncFailedError
from mk.storage.partition_log import DISK, PAGE_CACHE
from tests.crash.recorder import Killed, RecordingDisk
from tests.crash.world import Moments, Sweep, World, attempts, check_directory, drain, in_pauses, next_boot, promised

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mk.storage.partition_log import PartitionLog
    from tests.thinning import Thoroughness

Action = "Callable[[World, PartitionLog], None]"


def refuse_next_sync(world: World, count: int = 1) -> None:
    """Have the next syncs of a segment fail, and the disk lose what they should have written."""
    left = [count]

    def fault(number: int, kind: str, name: str) -> int:
        if left[0] and kind == "sync" and name.endswith(".log"):
            left[0] -= 1
            return errno.EIO
        return 0

    world.disk.fault = fault


def nothing(world: World, log: PartitionLog) -> None:
    pass


def some_records(world: World, log: PartitionLog) -> None:
    world.append(log, DISK, batches=2)
    world.append(log, PAGE_CACHE, value=600)


def almost_full_segment(world: World, log: PartitionLog) -> None:
    for _ in range(2):
        world.append(log, DISK, value=700)
    world.append(log, PAGE_CACHE, value=200)


def unfinished_append(world: World, log: PartitionLog) -> None:
    """Leave a whole batch and half of another behind what is published."""
    some_records(world, log)
    leave_torn(world, log)


def leave_torn(world: World, log: PartitionLog) -> None:
    def fault(number: int, kind: str, name: str) -> int:
        if kind == "append":
            world.disk.kill_after = number + 1
            return -900
        return 0

    world.disk.fault = fault
    with pytest.raises(Killed):
        world.append(world.open(), DISK, batches=3, value=300)
    world.disk.revive()


def torn_after_reboot(world: World, log: PartitionLog) -> None:
    unfinished_append(world, log)
    world.disk.settle()
    next_boot()


def first_segment_only_torn(world: World, log: PartitionLog) -> None:
    leave_torn(world, log)


def unsynced_in_a_new_segment(world: World, log: PartitionLog) -> None:
    almost_full_segment(world, log)
    world.append(log, PAGE_CACHE, value=1500)
    world.append(log, PAGE_CACHE, value=500)


def append_on_disk(world: World, log: PartitionLog) -> None:
    world.append(world.open(), DISK, batches=2)


def append_to_cache(world: World, log: PartitionLog) -> None:
    world.append(world.open(), PAGE_CACHE, batches=2)


def appends_that_share_a_sync(world: World, log: PartitionLog) -> None:
    one, two = world.open_contended(), world.open_contended()
    with in_pauses(lambda: world.append(two, DISK, batches=2)):
        world.append(one, DISK, value=300)


def written_and_not_synced(world: World, log: PartitionLog) -> None:
    """Leave what a process wrote that was killed before anybody synced."""
    some_records(world, log)

    def kill() -> None:
        raise Killed

    with in_pauses(kill), pytest.raises(Killed):
        world.append(world.open_contended(), DISK, value=300)


def append_over_segments(world: World, log: PartitionLog) -> None:
    world.append(world.open(), DISK, batches=4, value=700)


def sync_refused(world: World, log: PartitionLog) -> None:
    refuse_next_sync(world)
    with pytest.raises(SyncFailedError):
        world.append(world.open(), DISK, batches=2, value=300)
    world.append(world.open(), DISK)


def sync_refused_twice(world: World, log: PartitionLog) -> None:
    """The cut of the given-up segment is not confirmed either."""
    refuse_next_sync(world, 2)
    with pytest.raises(SyncFailedError):
        world.append(world.open(), DISK, batches=2, value=300)
    world.append(world.open(), DISK)


def recovery_finds_a_refusing_disk(world: World, log: PartitionLog) -> None:
    refuse_next_sync(world)
    world.append(world.open(), DISK)


CASES: list[tuple[Callable[[World, PartitionLog], None], Callable[[World, PartitionLog], None]]] = [
    (nothing, append_on_disk),
    (nothing, appends_that_share_a_sync),
    (almost_full_segment, appends_that_share_a_sync),
    (unfinished_append, appends_that_share_a_sync),
    (written_and_not_synced, append_on_disk),
    (written_and_not_synced, append_to_cache),
    (written_and_not_synced, append_over_segments),
    (some_records, append_on_disk),
    (some_records, append_to_cache),
    (almost_full_segment, append_over_segments),
    (unfinished_append, append_on_disk),
    (torn_after_reboot, append_on_disk),
    (first_segment_only_torn, append_on_disk),
    (nothing, sync_refused),
    (some_records, sync_refused),
    (almost_full_segment, sync_refused),
    (unsynced_in_a_new_segment, sync_refused),
    (some_records, sync_refused_twice),
    (unfinished_append, recovery_finds_a_refusing_disk),
    (torn_after_reboot, recovery_finds_a_refusing_disk),
    (first_segment_only_torn, recovery_finds_a_refusing_disk),
]


@pytest.mark.parametrize(("before", "action"), CASES, ids=lambda function: function.__name__)
def test_killed_at_any_operation_the_next_append_works_and_nothing_is_lost(
    tmp_path: Path,
    before: Callable[[World, PartitionLog], None],
    action: Callable[[World, PartitionLog], None],
    thoroughness: Thoroughness,
) -> None:
    sweep = Sweep(tmp_path, seed=3, per_cut=thoroughness.pick(2, 20), thoroughness=thoroughness, cuts=6)
    moments = Moments(thoroughness, 8)
    for number, kill_after in enumerate(moments):
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            world = World(disk)
            world.create()
            survivor = world.open()
            watcher = world.open_reader()
            before(world, survivor)
            seen = world.read(watcher)
            start = len(disk.operations)
            disk.restart_count()
            disk.kill_after = kill_after
            try:
                action(world, survivor)
                assert kill_after == moments.NEVER
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            # Records without a sync may go with a failed one; nothing else may.
            level = DISK if "refus" in action.__name__ else PAGE_CACHE
            try:
                world.append(survivor, DISK, value=60)
                level_records = promised(disk, len(disk.operations), level)
                found = check_directory(world.path, level_records, attempts(disk), itertools.count(20_000_000))
                disk.note("acked", (found, DISK))
                check_watcher(watcher, seen, found, strict=level == PAGE_CACHE)
            except BaseException:
                print(f"killed after {kill_after} operations: {[o.text or o.kind for o in disk.operations[start:]]}")
                raise
            world.abandon()
        if thoroughness.is_full or number % 3 == 0:
            sweep_cuts(sweep, disk, start)
    assert len(moments.kinds) >= 2
    print(f"{number} kills, {sweep.images} images")


def check_watcher(watcher, seen, found, *, strict):  # type: ignore[no-untyped-def]
    """A reader from before the crash goes on: what follows is what is stored, or it is told that its past was cut."""
    from mk.errors import DataError

    try:
        later = drain(watcher)
    except DataError:
        assert not strict, "a reader was told of a loss where nothing may be lost"
        assert any(found.get(offset) != value for offset, value in seen.items()), "nothing it had read was lost"
        watcher.seek(watcher.high_watermark)
        return
    for offset, value in {**seen, **later}.items():
        if found[offset] != value:
            raise AssertionError(
                f"offset {offset}: a following reader had {value[:12]!r}, stored is {found[offset][:12]!r}"
            )


def sweep_cuts(sweep: Sweep, disk: RecordingDisk, start: int) -> None:
    from tests.crash.recorder import fast_disk

    numbers = itertools.count(30_000_000)

    def check(target: Path, count: int) -> None:
        with fast_disk():
            check_directory(target / "mk", promised(disk, count), attempts(disk, count), numbers)

    sweep.power_cuts(disk, check, start=start)
