"""Appending: what is stored, what is said of it, and what a refusing disk leaves."""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import DiskFullError, MkError, NoSuchTopicError, PartitionFailedError, StorageError, SyncFailedError
from mk.records.record_batch import encode_lines
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_files import PartitionFiles
from mk.storage.partition_log import DISK, PAGE_CACHE
from tests.crash import oracle
from tests.crash.world import TOPIC, drain, make_batch

if TYPE_CHECKING:
    from tests.crash.world import World


def refuse(world: World, kind: str, name: str, *, skip: int = 0, times: int = 1, error: int = errno.EIO) -> None:
    """Have the disk refuse operations of this kind on files of this name, after `skip` of them."""
    seen = itertools.count()

    def fault(number: int, asked: str, asked_name: str) -> int:
        return error if asked == kind and name in asked_name and skip <= next(seen) < skip + times else 0

    world.disk.fault = fault


def stored_values(world: World) -> list[bytes]:
    return [record.value or b"" for record in oracle.verify(world.partition).records]


def test_batches_of_one_append_stand_one_behind_the_other(world: World) -> None:
    log = world.open()
    result = log.append([make_batch(world.numbers, 3, 20), make_batch(world.numbers, 2, 20)], DISK)
    assert (result.partition, result.first_offset, result.last_offset) == (0, 0, 4)
    result = log.append([make_batch(world.numbers, 1, 20)], PAGE_CACHE)
    assert (result.first_offset, result.last_offset) == (5, 5)
    assert [batch["base_offset"] for batch in oracle.verify(world.partition).batches] == [0, 3, 5]


def test_a_batch_larger_than_a_segment_has_one_for_itself(world: World) -> None:
    log = world.open()
    log.append([encode_lines(b"x" * 10_000 + b"\n", count=1, timestamp_ms=0)], DISK)
    log.append([encode_lines(b"y\n", count=1, timestamp_ms=0)], DISK)
    log.append([encode_lines(b"z" * 10_000 + b"\n", count=1, timestamp_ms=0)], DISK)
    assert oracle.verify(world.partition).segments == [0, 1, 2]


def test_two_who_append_in_turn_see_each_others_records(world: World) -> None:
    first, second = world.open(), world.open()
    offsets = [world.append(log, value=900) for log in (first, second, first, second, second, first)]
    assert offsets == [0, 2, 4, 6, 8, 10]
    assert len(oracle.verify(world.partition).segments) > 1


@pytest.mark.parametrize("durability", [PAGE_CACHE, DISK])
def test_an_append_that_found_no_room_in_its_second_segment_tells_how_much_is_stored(
    world: World, durability: int
) -> None:
    log = world.open()
    world.append(log)
    refuse(world, "append", ".log", skip=1, error=errno.ENOSPC)
    with pytest.raises(DiskFullError) as caught:
        log.append([make_batch(world.numbers, 2, 1500) for _ in range(3)], durability)
    world.disk.fault = None
    assert caught.value.facts["records_appended"] == 2
    world.append(log)
    assert len(stored_values(world)) == 2 + 2 + 2


def test_records_without_a_sync_count_as_lost_when_the_sync_before_the_next_segment_fails(world: World) -> None:
    """They were written and published, and go with the segment that is given up."""
    log = world.open()
    world.append(log)
    refuse(world, "sync", ".log")
    with pytest.raises(SyncFailedError) as caught:
        log.append([make_batch(world.numbers, 2, 1500) for _ in range(3)], PAGE_CACHE)
    world.disk.fault = None
    assert caught.value.facts["records_appended"] == 0
    world.append(log)
    assert len(stored_values(world)) == 4


def test_an_append_whose_sync_failed_is_indeterminate_also_without_a_file_left_to_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = world.open()
    world.append(log)
    refuse(world, "sync", ".log")

    def no_files_left(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(PartitionFiles, "open_segment_for_append", no_files_left)
        with pytest.raises(SyncFailedError, match="did not confirm"):
            log.append([make_batch(world.numbers, 2, 40)], DISK)
    world.disk.fault = None
    world.append(log)
    assert len(stored_values(world)) == 4


def test_records_synced_into_a_full_segment_count_as_stored_when_the_next_one_fails(world: World) -> None:
    log = world.open()
    refuse(world, "sync", "00000000000000000002.log", skip=0)
    with pytest.raises(SyncFailedError) as caught:
        log.append([make_batch(world.numbers, 2, 1500) for _ in range(3)], DISK)
    world.disk.fault = None
    assert caught.value.facts["records_appended"] == 2
    world.append(log)
    assert len(stored_values(world)) == 4


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("durability", [PAGE_CACHE, DISK])
@pytest.mark.parametrize("for_ever", [False, True])
def test_any_refused_operation_is_an_error_of_mk_and_loses_nothing_that_was_acknowledged(
    world: World, error: int, durability: int, for_ever: bool
) -> None:
    log = world.open()
    reader = world.open_reader()
    for nth in range(60):
        world.disk.restart_count()
        refused = [False]

        def fault(number: int, kind: str, name: str, nth: int = nth, refused: list[bool] = refused) -> int:
            if number == nth or (for_ever and number > nth):
                refused[0] = True
                return error
            return 0

        world.disk.fault = fault
        try:
            world.append(log, durability, batches=3, count=1, value=1500)
        except MkError as caught:
            assert isinstance(caught, StorageError), caught
            if isinstance(caught, PartitionFailedError):
                world.disk.fault = None
                (world.partition / "FAILED").unlink(missing_ok=True)  # What `mk topics repair` does.
        world.disk.fault = None
        world.append(log, DISK)
        if not refused[0]:
            break
    else:
        pytest.fail("the append never came through")
    values = stored_values(world)
    assert len(set(values)) == len(values), "a record is doubled"
    durable = [value for records, acks in world.acked if acks == DISK for value in records.values()]
    assert [value for value in values if value in set(durable)] == durable
    if durability == DISK:
        assert list(drain(reader).values()) == values


def test_a_short_write_is_taken_back_whole(world: World) -> None:
    log = world.open()
    world.append(log)
    world.disk.fault = lambda number, kind, name: -100 if kind == "append" else 0
    with pytest.raises(DiskFullError):
        log.append([make_batch(world.numbers, 2, 100)], DISK)
    world.disk.fault = None
    assert len(stored_values(world)) == 2
    world.append(log)
    assert len(stored_values(world)) == 4
    assert oracle.verify(world.partition).epochs[-1][0] == 0  # Nobody can have seen what was taken back.


def test_the_first_append_puts_the_names_above_it_on_disk(world: World) -> None:
    """Whoever made the topic may have been killed between its rename and the sync of topics/."""
    start = len(world.disk.operations)
    log = world.open()
    world.append(log)
    asked = [operation.text for operation in world.disk.operations[start:]]
    assert asked.index("sync topics") < asked.index("append 00000000000000000000.log")
    assert "sync mk" in asked
    start = len(world.disk.operations)
    world.append(log)
    assert "sync topics" not in [operation.text for operation in world.disk.operations[start:]]


def test_a_torn_index_entry_does_not_shift_those_behind_it(world: World) -> None:
    world.disk.fault = lambda number, kind, name: -5 if kind == "append" and name.endswith(".index") else 0
    log = world.open()
    world.append(log, value=2000)
    world.append(log, value=2000)
    world.disk.fault = None
    assert (world.partition / "00000000000000000000.index").stat().st_size % 16 == 0
    oracle.verify(world.partition)


def test_an_append_to_a_deleted_topic_is_refused(world: World) -> None:
    log = world.open()
    world.append(log)
    directory = LogDirectory(str(world.path))
    directory.delete_topic(TOPIC, wait_ms=0)
    directory.close()
    with pytest.raises(NoSuchTopicError):
        log.append([make_batch(world.numbers, 1, 20)], DISK)


def test_an_append_to_a_topic_made_anew_under_the_name_is_refused(world: World) -> None:
    log = world.open()
    world.append(log)
    directory = LogDirectory(str(world.path))
    directory.delete_topic(TOPIC, wait_ms=0)
    directory.create_topic(TOPIC, partitions=1, partitioner="crc32", overrides={}, wait_ms=0)
    directory.close()
    with pytest.raises(NoSuchTopicError):
        log.append([make_batch(world.numbers, 1, 20)], DISK)
    assert (world.partition / "00000000000000000000.log").stat().st_size == 0


def test_failed_stops_writers_and_not_readers(world: World) -> None:
    log = world.open()
    world.append(log)
    (world.partition / "FAILED").write_text("x")
    with pytest.raises(PartitionFailedError):
        world.append(log)
    assert len(drain(world.open_reader())) == 2
