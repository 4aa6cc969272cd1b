"""The order of the steps of an append, and what each of them is there for: seen from beside it, at a moment in between."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import DiskFullError, PartitionFailedError, SyncFailedError
from mk.storage.log_segment import segment_name
from mk.storage.partition_log import DISK, PAGE_CACHE
from tests.crash import oracle
from tests.crash.recorder import Killed
from tests.crash.world import drain, make_batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.world import World


def at_each(world: World, kind: str, name: str, do: Callable[[], object]) -> None:
    """Have something happen just before each operation of this kind on files of this name."""

    def fault(number: int, asked: str, asked_name: str) -> int:
        if asked == kind and name in asked_name:
            do()
        return 0

    world.disk.fault = fault


def refuse_all(world: World, *refused: tuple[str, str]) -> None:
    """Have the disk refuse every operation of these kinds on files of these names from now on."""

    def fault(number: int, asked: str, asked_name: str) -> int:
        return errno.EIO if any(asked == kind and name in asked_name for kind, name in refused) else 0

    world.disk.fault = fault


def offsets_on_disk(world: World) -> int:
    """Return up to which offset the records would be there if the power went now."""
    end = 0
    for base in oracle.segment_bases(world.partition):
        node = world.disk._node_of[(world.partition / segment_name(base)).stat().st_ino]
        for batch in oracle.batches_in(world.disk.model.nodes[node].durable):
            end = batch["base_offset"] + batch["record_count"]
    return end


def test_readers_see_nothing_that_is_not_on_disk_at_any_moment_of_an_append(world: World) -> None:
    log = world.open()
    world.append(log)
    reader = world.open_reader()
    seen = []

    def look(number: int, kind: str, name: str) -> int:
        reader.refresh()
        assert reader.high_watermark <= offsets_on_disk(world), f"before {kind} {name}"
        seen.append(reader.high_watermark)
        return 0

    world.disk.fault = look
    for _ in range(4):
        world.append(log, DISK, batches=2, value=700)
    world.disk.fault = None
    assert len(oracle.segment_bases(world.partition)) > 1
    assert len(set(seen)) > 3


def test_a_refused_append_takes_back_nothing_that_others_published_without_a_sync(world: World) -> None:
    log = world.open()
    world.append(log, DISK)
    world.append(log, PAGE_CACHE)
    for answer in (-100, errno.ENOSPC):
        world.disk.fault = lambda number, kind, name, answer=answer: answer if kind == "append" else 0
        with pytest.raises(DiskFullError):
            log.append([make_batch(world.numbers, 2, 100)], DISK)
        world.disk.fault = None
        assert len(drain(world.open_reader())) == 4
        assert len(oracle.verify(world.partition).records) == 4


def test_a_writer_whose_lock_was_broken_writes_behind_what_others_have_appended(world: World) -> None:
    """It was stopped between its look and its write, for as long as somebody took to remove the lock file."""
    log = world.open()
    world.append(log)
    path = world.partition / segment_name(0)
    before = path.read_bytes()

    def others_append() -> None:
        with open(path, "ab") as file:
            file.write(b"what others have appended")

    at_each(world, "append", ".log", others_append)
    log.append([make_batch(world.numbers, 2, 40)], PAGE_CACHE)
    world.disk.fault = None
    assert path.read_bytes().startswith(before + b"what others have appended")


def test_a_lock_file_that_was_replaced_is_locked_anew_before_anything_is_written(world: World) -> None:
    """Two files are two locks: whoever has the old one open would append beside those who open the new one."""
    log = world.open()
    world.append(log)
    (path,) = (world.path / "locks").glob("*/0")
    path.rename(path.with_name("removed"))
    path.touch(0o600)
    held: list[bool] = []

    def look() -> None:
        import fcntl

        with open(path, "r+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(False)
            except BlockingIOError:
                held.append(True)

    at_each(world, "append", ".log", look)
    world.append(log)
    assert held == [True]


def test_who_had_a_segment_open_that_others_gave_up_appends_to_the_one_in_its_place(world: World) -> None:
    """It has the same name, since nothing in it was durable; and the file in quarantine/ is nobody's log."""
    log, other = world.open(), world.open()
    world.append(log, PAGE_CACHE)
    refuse_all(world, ("sync", ".log"))
    with pytest.raises(SyncFailedError):
        world.append(other, DISK)
    world.disk.fault = None
    (kept,) = oracle.quarantined(world.path)
    world.append(other, DISK)
    world.append(log, DISK)
    assert oracle.quarantined(world.path) == [kept]
    assert len(oracle.verify(world.partition).records) == 4


def test_a_segment_without_anything_durable_is_kept_whole_when_it_is_given_up(world: World) -> None:
    log = world.open()
    path = world.partition / segment_name(0)
    inode = path.stat().st_ino
    refuse_all(world, ("sync", ".log"))
    with pytest.raises(SyncFailedError):
        world.append(log, DISK)
    world.disk.fault = None
    (kept,) = oracle.quarantined(world.path)
    assert [batch["record_count"] for batch in oracle.batches_in(kept)] == [2]
    assert path.stat().st_ino != inode
    world.append(log, DISK)
    assert len(oracle.verify(world.partition).records) == 2


def test_where_no_new_segment_can_be_had_either_writers_stop_until_somebody_repairs_it(world: World) -> None:
    log, other = world.open(), world.open()
    world.append(log, DISK)
    refuse_all(world, ("sync", ".log"), ("create", ".log"))
    with pytest.raises(SyncFailedError):
        world.append(log, DISK)
    world.disk.fault = None
    assert (world.partition / "FAILED").exists()
    for writer in (log, other):
        with pytest.raises(PartitionFailedError):
            world.append(writer, DISK)
    assert len(drain(world.open_reader())) == 2
    os.unlink(world.partition / "FAILED")
    world.append(other, DISK)
    assert len(oracle.verify(world.partition).records) == 4


def test_a_segment_that_a_killed_process_began_is_no_obstacle_to_the_next_that_gives_up(world: World) -> None:
    log, other = world.open(), world.open()
    world.append(log, DISK)
    state = world.partition / "state"
    began = [False]

    def fault(number: int, asked: str, name: str) -> int:
        if began[0]:
            world.disk.kill_after = 0
            raise Killed
        began[0] = asked == "create" and name == segment_name(2)
        return errno.EIO if asked == "sync" and name.endswith(".log") else 0

    world.disk.fault = fault
    with pytest.raises(Killed):
        world.append(log, DISK)
    world.disk.revive()
    assert oracle.segment_bases(world.partition) == [0, 2]
    assert b"segment=2 " not in state.read_bytes()
    refuse_all(world, ("sync", segment_name(0)))
    world.append(other, DISK)
    world.disk.fault = None
    assert not (world.partition / "FAILED").exists()
    assert len(oracle.verify(world.partition).records) == 4


def test_offsets_of_an_append_that_was_given_up_are_given_anew_under_a_new_epoch(world: World) -> None:
    log = world.open()
    world.append(log, DISK)
    refuse_all(world, ("sync", segment_name(0)))
    with pytest.raises(SyncFailedError):
        world.append(log, DISK)
    world.disk.fault = None
    (kept,) = oracle.quarantined(world.path)
    (given_up,) = oracle.batches_in(kept)
    world.append(log, DISK)
    anew = oracle.verify(world.partition).batches[-1]
    assert anew["base_offset"] == given_up["base_offset"]
    assert anew["leader_epoch"] > given_up["leader_epoch"]


def test_what_a_recovery_cuts_is_cut_on_disk_before_anybody_is_told(world: World) -> None:
    log, other = world.open(), world.open()
    world.append(log, DISK)
    world.disk.fault = lambda number, kind, name: errno.EIO if kind == "truncate" else -150 if kind == "append" else 0
    with pytest.raises(SyncFailedError):
        world.append(log, DISK)
    world.disk.fault = None
    start = len(world.disk.operations)
    world.append(other, DISK)
    done = [operation.text for operation in world.disk.operations[start:]]
    cut = done.index(f"truncate {segment_name(0)}")
    assert f"sync {segment_name(0)}" in done[cut : done.index("pwrite state", cut)]
