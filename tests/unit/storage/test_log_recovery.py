"""What may be cut, what is kept, and what is refused, one interleaving at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from mk.errors import CorruptStateError
from mk.storage.log_segment import segment_name
from mk.storage.partition_log import DISK

from tests.crash import oracle
from tests.crash.recorder import Killed
from tests.crash.world import next_boot

if TYPE_CHECKING:
    from tests.crash.world import World


def kill_append_at(world: World, kind: str, name: str, durability: int = DISK, **append: int) -> None:
    """Append in a process that is killed at the first operation of this kind on a file of this name."""

    def fault(number: int, asked: str, asked_name: str) -> int:
        if asked == kind and name in asked_name:
            world.disk.kill_after = 0
            raise Killed
        return 0

    log = world.open()
    world.disk.fault = fault
    with pytest.raises(Killed):
        world.append(log, durability, **append)
    world.disk.revive()


def test_an_empty_segment_that_a_killed_roll_left_is_removed_by_the_next_append(world: World) -> None:
    log = world.open()
    world.append(log, value=1500)
    (world.partition / segment_name(2)).touch()
    kill_append_at(world, "pwrite", "state")
    world.append(log)
    assert oracle.segment_bases(world.partition) == [0]
    oracle.verify(world.partition)


def test_a_segment_with_bytes_behind_the_active_one_is_never_removed(world: World) -> None:
    """Bit rot in the newest slot of `state` brings back an older one, which knows nothing of the newest segment."""
    log = world.open()
    world.append(log, value=1500)
    before = (world.partition / "state").read_bytes()
    world.append(log, value=1500)
    assert len(oracle.segment_bases(world.partition)) == 2
    (world.partition / "state").write_bytes(before)
    segments = {path.name: path.read_bytes() for path in world.partition.glob("*.log")}
    next_boot()
    with pytest.raises(CorruptStateError, match="state"):
        world.append(world.open())
    assert {path.name: path.read_bytes() for path in world.partition.glob("*.log")} == segments


def test_temporary_files_of_killed_processes_are_removed(world: World) -> None:
    (world.partition / ".tmp-0123456789abcdef").write_bytes(b"x")
    next_boot()
    world.append(world.open())
    assert not [name for name in os.listdir(world.partition) if name.startswith(".tmp")]
