"""Appends that share a sync: what others do between the write and the sync of one, and what comes of it."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING

import pytest

from mk.errors import NoSuchTopicError, StorageError, SyncFailedError
from mk.storage import group_commit
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog
from mk.storage.topic_changes import rename_topic, seal_topic
from tests.crash import oracle
from tests.crash.test_kill import leave_torn, refuse_next_sync
from tests.crash.world import TOPIC, World, in_pauses
from tests.unit.storage.test_append_steps import offsets_on_disk, refuse_all
from tests.unit.storage.test_producer_state import batch

if TYPE_CHECKING:
    from collections.abc import Callable


def ends(world: World) -> tuple[int, int, int]:
    """Return written end, durable end and high watermark."""
    state = world.logs[0]._files.read_state()
    assert state is not None
    return state.written.offset, state.durable.offset, state.high_watermark


asked: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def note_what_is_asked(world: World) -> None:
    asked.clear()

    def fault(number: int, kind: str, name: str) -> int:
        asked.append((kind, name))
        return 0

    world.disk.fault = fault


def test_what_is_written_is_neither_read_nor_acknowledged_before_a_sync(world: World) -> None:
    log = world.open_contended()
    world.append(world.open())
    reader = world.open_reader()
    seen = []

    def look() -> None:
        reader.refresh()
        seen.append((ends(world), reader.high_watermark, len(world.acked)))

    with in_pauses(look):
        assert world.append(log) == 2
    assert seen == [((4, 2, 2), 2, 1)]
    assert ends(world) == (4, 4, 4)
    assert len(world.read(reader)) == 4


def test_one_sync_serves_all_who_have_written(world: World) -> None:
    one, two, three = (world.open_contended() for _ in range(3))
    with in_pauses(lambda: world.append(two), lambda: world.append(three)):
        world.append(one)
    assert [kind for kind, name in asked if name.endswith(".log")].count("sync") == 1
    assert ends(world) == (6, 6, 6)
    oracle.verify(world.partition)


def test_who_has_no_company_any_more_syncs_at_once(world: World) -> None:
    log, other = world.open_contended(), world.open()
    with in_pauses(lambda: world.append(other)):
        world.append(log)
    assert log._waited_seconds
    world.append(log)
    assert not log._waited_seconds
    asked.clear()
    world.append(log)
    assert [kind for kind, _ in asked] == ["append", "pwrite", "sync", "pwrite"]


def test_of_a_sync_that_fails_for_several_all_are_indeterminate_and_nothing_is_read(world: World) -> None:
    one, two, three = (world.open_contended() for _ in range(3))
    world.append(world.open())
    reader = world.open_reader()
    refused = []

    def append(log: PartitionLog, *then: Callable[[], object]) -> None:
        with pytest.raises(SyncFailedError) as caught:
            world.append(log)
        refused.append(caught.value)

    def refuse_and_append() -> None:
        refuse_next_sync(world)
        append(three)

    with in_pauses(lambda: append(two), refuse_and_append):
        append(one)
    assert [error.facts["records_appended"] for error in refused] == [0, 0, 0]
    assert world.read(reader).keys() == {0, 1}
    assert ends(world) == (2, 2, 2)
    assert world.append(one) == 2  # Their offsets are given anew, under another epoch.
    assert len(world.read(reader)) == 2
    oracle.verify(world.partition)


def test_offsets_that_were_given_anew_are_not_taken_for_ones_own(world: World) -> None:
    one, other = world.open_contended(), world.open()
    world.append(other)

    def lose_and_go_on() -> None:
        refuse_next_sync(world)
        with pytest.raises(SyncFailedError):
            world.append(other)
        assert world.append(other) == 2

    with in_pauses(lose_and_go_on), pytest.raises(SyncFailedError):
        world.append(one)
    assert len(world.read(world.open_reader())) == 4


def test_where_no_new_segment_can_be_had_either_all_are_told_that_writers_stop(world: World) -> None:
    one, two = world.open_contended(), world.open_contended()
    world.append(world.open())

    def refuse() -> None:
        refuse_all(world, ("sync", ".log"), ("open_file", ".log"), ("sync", "state"), ("open", ".log"))
        with pytest.raises(SyncFailedError):
            world.append(two)

    with in_pauses(refuse), pytest.raises(SyncFailedError) as caught:
        world.append(one)
    assert "indeterminate" in caught.value.fix
    assert ends(world)[2] == 2


@pytest.mark.parametrize("first", [PAGE_CACHE, DISK])
def test_records_without_a_sync_do_not_have_those_read_that_wait_for_one(world: World, first: int) -> None:
    one, other = world.open_contended(), world.open()
    world.append(other, first)
    reader = world.open_reader()
    seen = []

    def look(number: int, kind: str, name: str) -> int:
        reader.refresh()
        seen.append((reader.high_watermark, offsets_on_disk(world)))
        return 0

    def append_without_a_sync() -> None:
        world.disk.fault = look
        world.append(other, PAGE_CACHE)

    with in_pauses(append_without_a_sync):
        assert world.append(one) == 2
    assert seen
    # Up to 4 are records that wait; those of acks 0 that stand behind them, at 4 and 5, may be read before they are on disk.
    assert all(high_watermark <= 2 or on_disk >= 4 for high_watermark, on_disk in seen)
    assert len(world.read(reader)) == 6


def test_a_killed_neighbours_half_batch_costs_nobody_an_acknowledgement(world: World) -> None:
    one, other = world.open_contended(), world.open()
    world.append(other)

    def tear() -> None:
        leave_torn(world, other)
        world.append(other)  # Recovers first, and begins another leader epoch behind what is whole.

    with in_pauses(tear):
        assert world.append(one) == 2
    assert len(set(ends(world))) == 1
    state = one._files.read_state()
    assert state is not None and state.leader_epoch > 0
    oracle.verify(world.partition)


def test_a_segment_that_is_sealed_in_between_has_it_on_disk(world: World) -> None:
    one, other = world.open_contended(), world.open()
    with in_pauses(lambda: world.append(other, value=2040)):
        world.append(one)
    assert oracle.segment_bases(world.partition) == [0, 2]
    assert ends(world) == (4, 4, 4)


def test_a_topic_that_is_renamed_in_between_keeps_it_and_it_is_acknowledged(world: World) -> None:
    log = world.open_contended()
    assert world.directory is not None
    directory = world.directory
    with in_pauses(lambda: rename_topic(directory, TOPIC, "other", wait_ms=0)):
        world.append(log)
    assert ends(world) == (2, 2, 2)


def test_a_topic_that_is_deleted_in_between_takes_it_along(world: World) -> None:
    log = world.open_contended()
    assert world.directory is not None
    directory = world.directory
    with in_pauses(lambda: directory.delete_topic(TOPIC, wait_ms=0)), pytest.raises(NoSuchTopicError) as caught:
        world.append(log)
    assert caught.value.facts["records_appended"] == 0


def test_a_seal_comes_behind_all_that_is_written(world: World) -> None:
    log = world.open_contended()
    reader = world.open_reader()
    assert world.directory is not None
    directory = world.directory
    ends_seen = []

    def seal() -> None:
        assert seal_topic(directory, TOPIC, wait_ms=0)
        reader.refresh()
        ends_seen.append(reader.high_watermark)

    with in_pauses(seal):
        world.append(log)
    assert ends_seen == [2]


def test_who_waits_for_no_lock_waits_for_the_one_behind_its_write(world: World) -> None:
    log = world.open_contended()
    fd = os.open(next((world.path / "locks").glob("*/0")), os.O_RDWR)
    holder = threading.Timer(0.05, fcntl.flock, [fd, fcntl.LOCK_UN])

    def hold() -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        holder.start()

    try:
        with in_pauses(hold):
            world.append(log)
        holder.join()
    finally:
        os.close(fd)
    assert ends(world) == (2, 2, 2)


def test_a_lock_that_is_not_free_again_makes_it_indeterminate_and_names_the_holder(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "_HELD_OFF_MS", 10)
    log = world.open_contended()
    path = next((world.path / "locks").glob("*/0"))
    fd = os.open(path, os.O_RDWR)
    try:
        with in_pauses(lambda: fcntl.flock(fd, fcntl.LOCK_EX)), pytest.raises(SyncFailedError) as caught:
            world.append(log)
        assert str(os.getpid()) in caught.value.why
        assert caught.value.facts["records_appended"] == 0
    finally:
        os.close(fd)
    assert ends(world) == (2, 0, 0)
    # The waiter that was given up, a thread where there are others, gets the lock now and has to let go of it first.
    monkeypatch.setattr(log, "_lock_wait_ms", 10_000)
    world.append(log)
    assert ends(world) == (4, 4, 4)


def test_a_state_that_cannot_be_written_again_makes_it_indeterminate(world: World) -> None:
    log = world.open_contended()
    with in_pauses(lambda: refuse_all(world, ("pwrite", "state"))), pytest.raises(StorageError) as caught:
        world.append(log)
    assert isinstance(caught.value, SyncFailedError)


def test_a_duplicate_of_what_waits_for_a_sync_is_acknowledged_only_on_disk(world: World) -> None:
    one, two = world.open_contended(), world.open_contended()
    os.mkdir(world.partition.parent / "producers")
    results = []

    def again() -> None:
        results.append(two.append([batch(0, 1)], DISK).duplicates)
        results.append(offsets_on_disk(world))

    with in_pauses(again):
        one.append([batch(0, 1)], DISK)
    assert results == [2, 2]


def test_a_producer_that_was_refused_its_sync_may_send_the_same_again(world: World) -> None:
    log = world.open_contended()
    os.mkdir(world.partition.parent / "producers")
    with in_pauses(lambda: refuse_next_sync(world)), pytest.raises(SyncFailedError):
        log.append([batch(0, 1)], DISK)
    # It was not told that they are stored, so they are not lost.
    assert log.append([batch(0, 1)], DISK).first_offset == 0
