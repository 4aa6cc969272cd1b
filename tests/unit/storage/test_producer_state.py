"""The last sequences of producers: what is appended, what is left out, and what snapshots are believed."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptBatchError, CorruptStateError, StorageError, SyncFailedError
from mk.records.record_batch import EncodedBatch, encode_columns, encode_lines
from mk.storage import files, producer_state
from mk.storage.log_cleaner import compact
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_files import PartitionFiles
from mk.storage.partition_log import DISK, PAGE_CACHE
from mk.storage.partition_state import LogEnd
from mk.storage.producer_state import ProducerState, decode_snapshot, ensure_snapshot, load
from tests.crash import oracle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mk.storage.partition_log import AppendResult, PartitionLog
    from tests.crash.world import World

ME, OTHER = 7, 8


def batch(first: int, last: int, producer_id: int = ME, size: int = 20) -> EncodedBatch:
    """Lines that say their sequence, from `first` up to `last`, both included."""
    count = last - first + 1
    block = b"".join(b"%d:%06d" % (producer_id, number) + b"v" * size + b"\n" for number in range(first, last + 1))
    made = encode_lines(block, count=count, timestamp_ms=1)
    made.number(producer_id, range(first, last + 1))
    return made


def plain(size: int = 20) -> EncodedBatch:
    return encode_lines(b"plain" + b"x" * size + b"\n", count=1, timestamp_ms=1)


@pytest.fixture
def log(world: World) -> PartitionLog:
    """A partition of a topic in which a producer id was used."""
    (world.path / "topics/t/producers").mkdir()
    return world.open()


@pytest.fixture
def partition(log: PartitionLog, world: World) -> Iterator[PartitionFiles]:
    assert world.topic is not None
    opened = PartitionFiles(world.topic, 0, 2)
    yield opened
    opened.close()


def stored(world: World, producer_id: int = ME) -> list[int]:
    """Return the sequences that the log holds of a producer, in order, as its values say."""
    found = [record.value or b"" for record in oracle.verify(world.partition).records]
    return [int(value[2:8]) for value in found if value.startswith(b"%d:" % producer_id)]


def snapshots(world: World) -> list[int]:
    return sorted(int(path.stem) for path in world.partition.glob("*.producers"))


def written(partition: PartitionFiles) -> tuple[int, LogEnd]:
    state = partition.read_state()
    assert state is not None
    return state.segment, state.written


def told(result: AppendResult) -> tuple[int, int, int]:
    return result.first_offset, result.last_offset, result.duplicates


# What is appended.


def test_what_is_stored_is_left_out_and_counted(world: World, log: PartitionLog) -> None:
    assert told(log.append([batch(0, 4)], DISK)) == (0, 4, 0)
    assert told(log.append([batch(0, 4)], DISK)) == (5, 4, 5)
    assert told(log.append([batch(0, 2), batch(3, 9), batch(10, 11)], DISK)) == (5, 11, 5)
    assert stored(world) == list(range(12))


def test_another_process_finds_it_in_the_log(world: World, log: PartitionLog) -> None:
    log.append([batch(0, 4)], DISK)
    log.append([batch(5, 6, OTHER)], DISK)
    again = world.open()
    assert told(again.append([batch(3, 7)], DISK)) == (7, 9, 2)
    assert told(log.append([batch(6, 9)], DISK)) == (10, 11, 2)
    assert stored(world) == list(range(10))
    assert stored(world, OTHER) == [5, 6]


def test_gaps_between_sequences_are_normal(world: World, log: PartitionLog) -> None:
    made = encode_lines(b"7:000003\n7:000010\n7:000020\n", count=3, timestamp_ms=1)
    made.number(ME, [3, 10, 20])
    log.append([batch(0, 0)], DISK)
    log.append([made], DISK)
    made.number(ME, [3, 10, 20])
    assert told(log.append([made], DISK)) == (4, 3, 3)
    later = encode_lines(b"7:000020\n7:000025\n", count=2, timestamp_ms=1)
    later.number(ME, [20, 25])
    assert told(log.append([later], DISK)) == (4, 4, 1)
    assert stored(world) == [0, 3, 10, 20, 25]


def test_each_of_several_batches_is_compared_with_the_one_before_it(world: World, log: PartitionLog) -> None:
    assert told(log.append([batch(0, 5), batch(3, 8), batch(2, 4), batch(9, 9)], DISK)) == (0, 9, 6)
    assert stored(world) == list(range(10))


def test_plain_records_and_other_producers_stand_in_between(world: World, log: PartitionLog) -> None:
    for number in range(0, 60, 3):
        log.append([batch(number, number + 2)], DISK)
        world.open().append([plain(200)], PAGE_CACHE)
        world.open().append([batch(number, number + 2, OTHER, size=100)], DISK)
    assert stored(world) == stored(world, OTHER) == list(range(60))
    assert len(snapshots(world)) > 2


def test_what_was_stored_without_a_sync_is_synced_before_it_counts(world: World, log: PartitionLog) -> None:
    log.append([batch(0, 4)], PAGE_CACHE)
    again = world.open()
    assert again.last_sequence(ME) == -1
    before = len(world.disk.operations)
    assert told(again.append([batch(0, 4)], PAGE_CACHE)) == (5, 4, 5)
    assert not [done for done in world.disk.operations[before:] if done.kind == "sync"]
    assert told(again.append([batch(0, 4)], DISK)) == (5, 4, 5)
    assert [done.text for done in world.disk.operations[before:] if done.kind == "sync"] == [f"sync {0:020d}.log"]
    assert world.open().last_sequence(ME) == 4
    oracle.verify(world.partition)


def test_a_producer_whose_records_were_lost_is_stopped_before_it_leaves_a_gap(world: World, log: PartitionLog) -> None:
    """A sync that another writer asks for fails, and takes with it what was not on disk."""
    log.append([batch(0, 1)], DISK)
    log.append([batch(2, 4)], PAGE_CACHE)
    world.disk.fault = lambda number, kind, name: errno.EIO if kind == "sync" and name.endswith(".log") else 0
    with pytest.raises(SyncFailedError):
        world.open().append([plain()], DISK)
    world.disk.fault = None
    with pytest.raises(StorageError) as caught:
        log.append([batch(5, 6)], DISK)
    assert "same producer id again" in caught.value.fix
    assert told(world.open().append([batch(0, 6)], DISK)) == (2, 6, 2)
    assert stored(world) == list(range(7))


def test_after_an_append_that_found_no_room_nothing_wrong_is_remembered(world: World, log: PartitionLog) -> None:
    log.append([batch(0, 0)], DISK)
    world.disk.fault = lambda number, kind, name: errno.ENOSPC if kind == "append" else 0
    with pytest.raises(StorageError):
        log.append([batch(1, 3)], DISK)
    world.disk.fault = None
    assert told(log.append([batch(0, 3)], DISK)) == (1, 3, 1)
    assert stored(world) == list(range(4))


# Snapshots.


def test_a_snapshot_is_read_as_it_was_written() -> None:
    state = ProducerState(5, 300, 70, 12345, {1: 0, (1 << 64) - 1: (1 << 63) - 1, 77: 3})
    found = decode_snapshot(state.encode(), 5)
    assert found is not None
    assert (found.segment, found.position, found.offset, found.chain) == (5, 300, 70, 12345)
    assert found.last_sequences == state.last_sequences


def test_a_damaged_snapshot_is_none() -> None:
    data = ProducerState(5, 300, 70, 12345, {77: 3, 1: 9}).encode()
    for at in range(len(data)):
        assert decode_snapshot(data[:at], 5) is None, at
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            assert decode_snapshot(bytes(damaged), 5) is None, (at, bit)
    assert decode_snapshot(b"", 5) is None


def test_every_roll_writes_one_whoever_rolls(world: World, log: PartitionLog) -> None:
    log.append([batch(0, 0, size=3000)], DISK)
    world.open().append([plain(3000)], PAGE_CACHE)
    log.append([batch(1, 1, size=3000)], DISK)
    segments = oracle.verify(world.partition).segments
    assert segments == [0, 1, 2]
    assert snapshots(world) == [1, 2]


def test_a_topic_without_producers_has_none(world: World) -> None:
    log = world.open()
    for _ in range(3):
        log.append([plain(3000)], DISK)
    assert snapshots(world) == []


def test_only_what_follows_a_snapshot_is_read(
    world: World, log: PartitionLog, partition: PartitionFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        log.append([batch(number, number, size=3000)], DISK)
    end = written(partition)
    read = []
    real = files.pread
    monkeypatch.setattr(files, "pread", lambda fd, size, position: read.append(fd) or real(fd, size, position))
    found = load(partition, *end)
    assert found.last_sequences == {ME: 3}
    assert len(read) == 3  # The snapshot, the header that continues it, and those behind it.


def test_one_is_due_after_so_many_batches(world: World, log: PartitionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_state, "_SNAPSHOT_BATCHES", 5)
    for number in range(4):
        log.append([batch(number, number)], DISK)
    assert snapshots(world) == []
    log.append([batch(4, 4)], PAGE_CACHE)
    assert snapshots(world) == []  # It would speak of what is not on disk.
    log.append([batch(5, 5)], DISK)
    place, sequences = oracle.read_producers_file((world.partition / f"{0:020d}.producers").read_bytes())
    assert (place["offset"], sequences) == (6, {ME: 5})
    assert told(world.open().append([batch(0, 9)], DISK)) == (6, 9, 6)
    oracle.verify(world.partition)


def test_a_snapshot_that_cannot_be_written_costs_nothing_but_at_a_roll(
    world: World, log: PartitionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_state, "_SNAPSHOT_BATCHES", 2)
    world.disk.fault = lambda number, kind, name: errno.ENOSPC if kind in ("create", "rename") else 0
    for number in range(6):
        log.append([batch(number, number)], DISK)
    with pytest.raises(StorageError):
        log.append([batch(6, 6, size=4000)], DISK)
    world.disk.fault = None
    assert told(log.append([batch(0, 6, size=600)], DISK)) == (6, 6, 6)
    assert stored(world) == list(range(7))


def replace(path: Path, state: ProducerState) -> None:
    path.write_bytes(state.encode())


def test_a_snapshot_that_is_not_of_this_log_is_ignored(
    world: World, log: PartitionLog, partition: PartitionFiles
) -> None:
    """Ahead of what a recovery left, of another life of the log, or of no place between batches."""
    for number in range(6):
        log.append([batch(number, number, size=1500)], DISK)
    end = written(partition)
    newest = snapshots(world)[-1]
    path = world.partition / f"{newest:020d}.producers"
    true = decode_snapshot(path.read_bytes(), newest)
    assert true is not None
    segment, (position, offset, chain) = true.segment, (true.position, true.offset, true.chain)
    for wrong in (
        (position, offset, chain + 1),
        (position, offset + 1, chain),
        (position + 1, offset, chain),
        (end[1].position, end[1].offset, chain),
        (end[1].position + 1000, end[1].offset + 1, chain),
        (end[1].position, end[1].offset + 1, end[1].chain),
        (1 << 40, offset, chain),
    ):
        replace(path, ProducerState(segment, *wrong, {ME: 1000}))
        assert load(partition, *end).last_sequences == {ME: 5}, wrong
        assert told(world.open().append([batch(5, 5)], DISK))[2] == 1
    replace(path, ProducerState(segment, end[1].position, end[1].offset, end[1].chain, {ME: 5}))
    assert load(partition, *end).last_sequences == {ME: 5}


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"offset=1\n")])
def test_without_a_good_snapshot_an_older_one_is_used_then_the_log(
    world: World, log: PartitionLog, partition: PartitionFiles, damage
) -> None:
    for number in range(8):
        log.append([batch(number, number, size=1500)], DISK)
    bases = snapshots(world)
    assert len(bases) > 2
    for base in reversed(bases):
        damage(world.partition / f"{base:020d}.producers")
        assert load(partition, *written(partition)).last_sequences == {ME: 7}
    assert told(world.open().append([batch(0, 7)], DISK))[2] == 8


def test_what_cannot_be_told_is_never_guessed(world: World, log: PartitionLog) -> None:
    """No snapshot is left, and neither is the start of the log."""
    for number in range(5):
        log.append([batch(number, number, size=3000)], DISK)
    for base in snapshots(world):
        (world.partition / f"{base:020d}.producers").write_bytes(b"damaged")
    (world.partition / f"{0:020d}.log").unlink()
    again = world.open()
    assert again.last_sequence(ME) == -1
    with pytest.raises(CorruptStateError) as caught:
        again.append([batch(0, 0)], DISK)
    assert caught.value.facts["path"] == str(world.partition / f"{4:020d}.producers")
    # Others go on, also over a roll, and it does not become better or worse by that.
    again.append([plain(3000)], DISK)
    assert snapshots(world)[-1] == 4
    with pytest.raises(CorruptStateError):
        world.open().append([batch(0, 0)], DISK)


def test_a_damaged_header_is_named_and_nothing_is_appended(world: World, log: PartitionLog) -> None:
    for number in range(4):
        log.append([batch(number, number)], DISK)
    path = world.partition / f"{0:020d}.log"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptBatchError) as caught:
        world.open().append([batch(0, 9)], DISK)
    assert caught.value.facts["offset"] == 1
    assert path.read_bytes() == data


def test_snapshots_of_leftover_segments_are_removed(world: World, log: PartitionLog) -> None:
    log.append([batch(0, 0, size=3000)], DISK)
    for name in (f"{99:020d}.producers", f"{1:020d}.producers"):
        (world.partition / name).write_bytes(b"left by a roll that was killed")
    log.append([batch(1, 1, size=3000)], DISK)
    assert snapshots(world) == [1]
    oracle.verify(world.partition)


def test_a_place_whose_segment_was_removed_is_looked_up_anew(world: World, log: PartitionLog) -> None:
    log.append([batch(0, 0, size=3000)], DISK)
    for _ in range(3):
        world.open().append([plain(3000)], DISK)
    (world.partition / f"{0:020d}.log").unlink()
    assert told(log.append([batch(0, 1, size=100)], DISK)) == (4, 4, 1)


# Retention.


def test_ensure_snapshot_keeps_what_is_known_of_the_segments_that_go(
    world: World, log: PartitionLog, partition: PartitionFiles
) -> None:
    for number in range(8):
        log.append([batch(number, number, number % 3 + 5, size=1500)], DISK)
    expected = load(partition, *written(partition)).last_sequences
    bases = oracle.verify(world.partition).segments
    for path in world.partition.glob("*.producers"):
        path.write_bytes(b"damaged")
    ensure_snapshot(partition, bases[2])
    assert load(partition, *written(partition)).last_sequences == expected
    for base in bases[:2]:
        (world.partition / f"{base:020d}.log").unlink()
    assert load(partition, *written(partition)).last_sequences == expected


def test_ensure_snapshot_replaces_one_that_is_of_another_log_and_keeps_a_good_one(
    world: World, log: PartitionLog, partition: PartitionFiles
) -> None:
    for number in range(8):
        log.append([batch(number, number, size=1500)], DISK)
    base = snapshots(world)[1]
    path = world.partition / f"{base:020d}.producers"
    good = path.read_bytes()
    inode = path.stat().st_ino
    ensure_snapshot(partition, base)
    assert path.stat().st_ino == inode
    true = decode_snapshot(good, base)
    assert true is not None
    replace(path, ProducerState(base, 0, base, true.chain + 1, {ME: 1000}))
    ensure_snapshot(partition, base)
    assert path.read_bytes() == good


def test_what_was_stored_is_known_when_the_segments_that_said_so_were_removed(
    world: World, log: PartitionLog, partition: PartitionFiles
) -> None:
    for number in range(8):
        log.append([batch(number, number, number % 3 + 5, size=1500)], DISK)
    expected = load(partition, *written(partition)).last_sequences
    bases = oracle.verify(world.partition).segments
    for path in world.partition.glob("*.producers"):
        path.unlink()
    assert world.topic is not None
    cleaner = PartitionCleaner(world.topic, 0, lock_wait_ms=0)
    cleaner.delete_records(bases[2])
    cleaner.close()
    assert oracle.segment_bases(world.partition) == bases[2:]
    assert load(partition, *written(partition)).last_sequences == expected


def test_what_was_stored_is_known_when_the_batches_that_said_so_were_compacted(
    world: World, log: PartitionLog, partition: PartitionFiles
) -> None:
    for number in range(8):
        made = encode_columns([b"v" * 1500], keys=[b"k"], base_timestamp=1)
        made.number(number % 3 + 5, [number])
        log.append([made], DISK)
    expected = load(partition, *written(partition)).last_sequences
    for path in world.partition.glob("*.producers"):
        path.unlink()
    assert world.topic is not None
    report = compact(world.topic, 0, seal_active=False, min_dirty_ratio=0.0, lock_wait_ms=0)
    assert report.error is None and report.records_after < report.records_before
    assert load(partition, *written(partition)).last_sequences == expected


def test_ensure_snapshot_writes_nothing_where_there_is_nothing_to_keep(world: World) -> None:
    log = world.open()
    for _ in range(3):
        log.append([plain(3000)], DISK)
    assert world.topic is not None
    opened = PartitionFiles(world.topic, 0, 2)
    ensure_snapshot(opened, 2)
    assert snapshots(world) == []
    (world.path / "topics/t/producers").mkdir()
    ensure_snapshot(opened, 0)
    assert snapshots(world) == []
    opened.close()
