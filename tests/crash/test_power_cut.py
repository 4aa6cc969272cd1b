"""Every directory that a power cut may leave behind each operation: nothing acknowledged is lost, the next append works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk.storage.partition_log import DISK, PAGE_CACHE
from tests.crash.recorder import RecordingDisk
from tests.crash.world import Sweep, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PER_CUT = 10


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


SCENARIOS = [single_appends, several_batches_in_one_append, mixed_acknowledgements, rolls, one_append_over_several_segments]


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
def test_a_power_cut_loses_nothing_that_was_acknowledged_on_disk(tmp_path: Path, scenario: Callable[[World], None]) -> None:
    sweep = Sweep(tmp_path, seed=1, per_cut=PER_CUT)
    sweep.check_partition(record(tmp_path, scenario))
    assert sweep.images > 80
