"""Every directory that a power cut may leave behind each operation: nothing acknowledged is lost, the next append works."""

from __future__ import annotations

import errno
import itertools
import random
from typing import TYPE_CHECKING

import pytest

from mk.errors import MkError, SyncFailedError
from mk.storage.partition_log import DISK, PAGE_CACHE
from tests.crash.images import materialise
from tests.crash.recorder import RecordingDisk, fast_disk
from tests.crash.world import Sweep, World, attempts, check_directory, in_pauses, next_boot, promised
from tests.proof import figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.thinning import Thoroughness


def single_appends(world: World) -> None:
    log = world.open()
    for _ in range(3):
        world.append(log, DISK)
    world.read(world.open_reader())


def several_batches_in_one_append(world: World) -> None:
    log = world.open()
    world.append(log, DISK, batches=3, count=3, value=200)
    world.append(log, DISK, batches=2, count=1, value=900)


def mixed_acknowledgements(world: World) -> None:
    log, other = world.open(), world.open()
    reader = world.open_reader()
    world.append(log, PAGE_CACHE, value=300)
    world.append(other, PAGE_CACHE)
    world.read(reader)
    world.append(log, DISK, value=300)
    world.append(other, PAGE_CACHE, batches=2, value=400)
    world.read(reader)


def rolls(world: World) -> None:
    log = world.open()
    reader = world.open_reader()
    for _ in range(3):
        world.append(log, DISK, value=700)
        world.append(log, PAGE_CACHE, value=700)
    world.read(reader)
    log.close()
    world.logs.remove(log)
    world.append(world.open(), DISK, value=1900)


def one_append_over_several_segments(world: World) -> None:
    log = world.open()
    world.append(log, DISK, batches=5, value=700)
    world.append(log, PAGE_CACHE, batches=5, value=700)


def appends_that_share_a_sync(world: World) -> None:
    """Three that wrote before anybody synced, beside one that leaves no sync to others, and one without any."""
    reader = world.open_reader()
    one, two, three, other = world.open_contended(), world.open_contended(), world.open_contended(), world.open()
    with in_pauses(
        lambda: world.append(two, value=300), lambda: world.append(three, batches=2), lambda: world.read(reader)
    ):
        world.append(one)
    world.append(other, PAGE_CACHE)
    with in_pauses(lambda: world.append(other, PAGE_CACHE), lambda: world.append(other, value=700)):
        world.append(one, value=400)
        world.append(two, value=400)
    world.read(reader)


def failing_syncs(world: World) -> None:
    """The disk refuses one sync, says nothing of it later, and has zeros where the bytes should be."""
    log = world.open()
    world.append(log, DISK)
    world.append(log, PAGE_CACHE, value=300)
    for skip in (0, 2):
        _refuse_sync(world, skip)
        try:
            world.append(log, DISK, batches=2, value=300)
            world.append(log, DISK, batches=2, value=300)
        except SyncFailedError:
            pass
        world.disk.fault = None
        world.append(log, DISK)


def syncs_that_fail_for_good(world: World) -> None:
    """Nothing that holds records can be synced any more: the partition fails, and somebody clears it."""
    log = world.open()
    world.append(log, DISK)
    world.disk.fault = lambda number, kind, name: errno.EIO if kind == "sync" and name != "FAILED" else 0
    for _ in range(2):
        with pytest.raises(MkError):
            world.append(log, DISK, value=300)
    world.disk.fault = None
    (world.partition / "FAILED").unlink()
    world.append(log, DISK)


def full_disk(world: World) -> None:
    """No room at one operation after another, of appends, rolls and what cleans up behind them."""
    log = world.open()
    for nth in range(0, 12, 2):
        world.disk.restart_count()
        world.disk.fault = lambda number, kind, name, nth=nth: (  # type: ignore[misc]
            (-300 if kind == "append" and nth % 4 else errno.ENOSPC)
            if number >= nth and kind in ("append", "create", "mkdir", "link", "rename")
            else 0
        )
        try:
            world.append(log, DISK, batches=2, value=900)
        except MkError:
            pass
        world.disk.fault = None
        world.append(log, DISK)


def _refuse_sync(world: World, skip: int) -> None:
    seen = itertools.count()

    def fault(number: int, kind: str, name: str) -> int:
        return errno.EIO if kind == "sync" and name.endswith(".log") and next(seen) == skip else 0

    world.disk.fault = fault


SCENARIOS = [
    single_appends,
    appends_that_share_a_sync,
    several_batches_in_one_append,
    mixed_acknowledgements,
    rolls,
    one_append_over_several_segments,
    failing_syncs,
    syncs_that_fail_for_good,
    full_disk,
]


def record(tmp_path: Path, scenario: Callable[[World], None]) -> RecordingDisk:
    base = tmp_path / "recorded"
    base.mkdir()
    with RecordingDisk(base) as disk:
        world = World(disk)
        world.create()
        try:
            scenario(world)
        finally:
            world.abandon()
    return disk


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_power_cut_loses_nothing_that_was_acknowledged_on_disk(
    tmp_path: Path, scenario: Callable[[World], None], thoroughness: Thoroughness
) -> None:
    sweep = Sweep(tmp_path, seed=1, per_cut=thoroughness.pick(4, 500), thoroughness=thoroughness, cuts=14)
    sweep.check_partition(record(tmp_path, scenario))
    assert sweep.images > 12
    print(f"{sweep.images} images")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_power_cut_during_the_recovery_from_a_power_cut_loses_no_more(
    tmp_path: Path, scenario: Callable[[World], None], thoroughness: Thoroughness
) -> None:
    """Recover from some of the first power cuts on a recording disk, and cut the power again behind each operation."""
    rng = random.Random(5)
    disk = record(tmp_path, scenario)
    numbers = itertools.count(10_000_000)
    sweep = Sweep(tmp_path, seed=5, per_cut=thoroughness.pick(3, 10), thoroughness=thoroughness, cuts=7)
    start = min(note.at for note in disk.notes)
    for number in range(thoroughness.pick(4, 240)):
        count = rng.randint(start, len(disk.operations))
        image = rng.choice(list(disk.replay(count).images(rng, 20)))
        base = tmp_path / f"recovered-{number}"
        base.mkdir()
        materialise(image, base)
        next_boot()
        expected, possible = promised(disk, count), attempts(disk, count)
        with RecordingDisk(base) as second:
            found = check_directory(base / "mk", expected, possible, numbers)
            second.note("acked", (found, DISK))
        figures.count("states")

        def check(target: Path, later: int) -> None:
            after = {**expected, **promised(second, later)}  # noqa: B023
            both = {offset: set(values) for offset, values in possible.items()}  # noqa: B023
            for offset, values in attempts(second, later).items():  # noqa: B023
                both.setdefault(offset, set()).update(values)
            with fast_disk():
                check_directory(target / "mk", after, both, numbers)

        sweep.power_cuts(second, check)
    print(f"{sweep.images} images")
    assert sweep.images > 12
