"""A partition that follows another one: what it takes, what it refuses, how it is cut, fenced and promoted."""

from __future__ import annotations

import errno
import itertools
import os
import re
from typing import TYPE_CHECKING

import pytest

from mk.errors import (
    BadCopyError,
    DataError,
    DiskFullError,
    DiskReserveError,
    DivergedLogError,
    NotLeaderError,
    PartitionFailedError,
    StaleSourceError,
    StorageError,
    SyncFailedError,
    TryAgainError,
    UnsupportedBatchError,
)
from mk.records.codecs import crc32c
from mk.records.record_batch import encode_columns, encode_lines, parse_header
from mk.storage import files, producer_state
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs, epochs_of
from mk.storage.log_segment import UNKNOWN_CHAIN
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_log import DISK, PAGE_CACHE
from mk.storage.partition_reader import PartitionReader
from mk.storage.producer_pin import pin_producer, producer_id_of
from mk.storage.topic import encode_topic
from tests.crash.pair import Place, copy, pins_of, replicate
from tests.crash.recorder import Killed, RecordingDisk
from tests.crash.world import TOPIC, drain, make_batch, next_boot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ELSEWHERE = "e" * 32


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RecordingDisk]:
    with RecordingDisk(tmp_path) as disk:
        yield disk


@pytest.fixture
def source(disk: RecordingDisk) -> Place:
    place = Place(disk.root / "source").create()
    place.append(itertools.count(), 3, 3, 3, 3)
    return place


@pytest.fixture
def target(disk: RecordingDisk, source: Place) -> Place:
    return Place(disk.root / "target").create_as_copy_of(source)


def files_of(place: Place) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.partition.iterdir() if path.name not in ("state", "epochs")}


def one_batch(place: Place, offset: int) -> bytes:
    return next(data for base, _, _, data, _ in place.batches() if base == offset)


def whole(place: Place) -> bytes:
    """The first segment of a source, all of it in one piece."""
    return place.segments()[0]


# Copies.


def test_a_copy_has_the_same_files_as_its_source(source: Place, target: Place) -> None:
    assert replicate(source, target) == 12
    assert files_of(target) == files_of(source)
    assert target.records() == source.records()
    assert target.epochs() == source.epochs()
    assert not target.damage()


def test_many_batches_may_come_in_one_piece(source: Place, target: Place) -> None:
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        assert log.append_copies(memoryview(whole(source)), 0, begins_segment=True) == 6
        assert log.sync() == 6
    assert target.segments() == {0: whole(source)}


def test_a_copy_begins_no_segment_of_its_own(disk: RecordingDisk) -> None:
    source = Place(disk.root / "source").create(segment_bytes=1 << 20)
    source.append(itertools.count(), *[3] * 10)
    target = Place(disk.root / "target").create_as_copy_of(source)
    with target.topic() as topic:
        content = encode_topic(
            TOPIC, topic.topic_id, 1, "crc32", {"segment.bytes": 4096, "segment.ms": 1, "min.free": 0}
        )
        files.replace_file("topic.json", content, dir_fd=topic.fd)
    replicate(source, target)
    assert target.segments() == source.segments()
    assert len(target.segments()) == 1


def test_readers_see_copies_when_they_are_on_disk(source: Place, target: Place) -> None:
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        log.append_copies(whole(source), 0, begins_segment=True)
        assert target.records() == {}
        assert log.sync() == 6
        assert list(target.records()) == list(range(6))


def test_what_a_killed_run_had_not_synced_is_kept_by_the_next(source: Place, target: Place) -> None:
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        log.append_copies(whole(source), 0, begins_segment=True)
    assert target.state().high_watermark == 0
    with target.follower() as log:
        assert log.attach(source.epochs(), 12, 0, 0) == 6
    replicate(source, target)
    assert files_of(target) == files_of(source)


def test_a_run_with_nothing_to_do_writes_nothing(disk: RecordingDisk, source: Place, target: Place) -> None:
    replicate(source, target)
    before = len(disk.operations)
    replicate(source, target)
    assert len(disk.operations) == before


def test_two_runs_at_a_time_do_no_harm(source: Place, target: Place) -> None:
    with target.follower() as first, target.follower() as second:
        for log in (first, second):
            log.attach(source.epochs(), 12, 0, 0)
        first.append_copies(whole(source), 0, begins_segment=True)
        with pytest.raises(TryAgainError, match="is not as it was"):
            second.append_copies(whole(source), 0, begins_segment=True)
        copy(source, second, 6)
        assert first.sync() == 12
    assert files_of(target) == files_of(source)


# What is refused.


def altered(data: bytes, position: int, change: bytes) -> bytes:
    """Change a header and make its checksum right again."""
    header = data[:position] + change + data[position + len(change) : 124]
    return header + crc32c(header).to_bytes(4, "big") + data[128:]


def numbered(data: bytes, producer_id: int, first: int, last: int) -> bytes:
    """Put a producer id and input sequences into a header, and the chain that goes with them."""
    before, after = (
        parse_header(data),
        altered(data, 64, b"".join(part.to_bytes(8, "big") for part in (producer_id, first, last))),
    )
    batch = parse_header(after)
    assert before is not None
    assert batch is not None
    previous = next(chain for chain in CHAINS if before.chain_after(chain) == before.chain)
    return altered(after, 96, batch.chain_after(previous).to_bytes(4, "big"))


CHAINS: list[int] = []
"""Of the batches of a source, for whoever makes one that continues them."""


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda data: b"", None),
        (lambda data: data[:100], "there is no batch header"),
        (lambda data: data[:-1], "it is cut short"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "there is no batch header"),
        (lambda data: data[:-9] + b"y" + data[-8:], "it has another checksum than its bytes"),
        (lambda data: altered(data, 24, (6).to_bytes(8, "big")), "the batch there begins at offset 6"),
        (lambda data: altered(data, 56, (7).to_bytes(8, "big")), "it is of leader epoch 7"),
        (lambda data: altered(data, 96, b"\0\0\0\0"), "it does not continue the batch before it"),
        (lambda data: numbered(data, 0, 5, 5), "it has input sequences"),
        (lambda data: numbered(data, 9, 5, 5), "its input sequences cannot be"),
        (lambda data: data + data, "the batch there begins at offset 3, not 6|begins at offset 3"),
    ],
)
def test_a_batch_that_does_not_prove_itself_is_refused_whole(
    source: Place, target: Place, make: object, found: str | None
) -> None:
    CHAINS[:] = [source.chain_at(offset) for offset in (0, 3, 6)]
    data = make(one_batch(source, 3))  # type: ignore[operator]
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        log.append_copies(one_batch(source, 0), 0, begins_segment=True)
        if found is not None:
            with pytest.raises(BadCopyError) as refused:
                log.append_copies(data, 3, begins_segment=False)
            assert re.search(found, refused.value.why)
        assert log.sync() == 3
        log.append_copies(one_batch(source, 3), 3, begins_segment=False)
    replicate(source, target)
    assert files_of(target) == files_of(source)


def test_every_flipped_bit_of_a_batch_is_found(source: Place, target: Place) -> None:
    data = one_batch(source, 0)
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        for at in [*range(128), *range(128, len(data), 97)]:
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            with pytest.raises((BadCopyError, UnsupportedBatchError)):
                log.append_copies(bytes(flipped), 0, begins_segment=True)
    assert target.segments() == {0: b""}


def test_a_batch_of_a_newer_mk_is_told_as_such(source: Place, target: Place) -> None:
    newer = altered(one_batch(source, 0), 16, (0x8000).to_bytes(2, "big"))
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        with pytest.raises(UnsupportedBatchError):
            log.append_copies(newer, 0, begins_segment=True)


def test_lines_that_do_not_end_are_refused(source: Place, target: Place) -> None:
    batch = encode_lines(b"a\nb\n", count=2, timestamp_ms=1)
    payload = b"a\nb!"
    batch.payload, batch.payload_crc = [payload], crc32c(payload)
    data = batch.stamp(0, 0, 0, batch.chain_after(0)) + payload
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        with pytest.raises(BadCopyError):
            log.append_copies(data, 0, begins_segment=True)


def test_a_batch_that_goes_on_into_the_next_epoch_is_refused(source: Place, target: Place) -> None:
    epochs = LeaderEpochs([*source.epochs().entries, EpochEntry(1, 2, source.epochs().latest.leader_id)])
    with target.follower() as log:
        log.attach(epochs, 12, 0, 0)
        with pytest.raises(BadCopyError) as refused:
            log.append_copies(one_batch(source, 0), 0, begins_segment=True)
        assert "beyond its leader epoch" in refused.value.why


def test_a_directory_that_leads_takes_no_copies(source: Place) -> None:
    with source.follower() as log, pytest.raises(StaleSourceError):
        log.append_copies(one_batch(source, 0), 12, begins_segment=False)


def test_no_more_is_taken_than_min_free_leaves_room_for(
    source: Place, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with target.topic() as topic:
        content = encode_topic(TOPIC, topic.topic_id, 1, "crc32", {"min.free": 1 << 56})
        files.replace_file("topic.json", content, dir_fd=topic.fd)
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        with pytest.raises(DiskReserveError):
            log.append_copies(one_batch(source, 0), 0, begins_segment=True)
    assert target.segments() == {0: b""}


def test_a_short_write_is_taken_back(disk: RecordingDisk, source: Place, target: Place) -> None:
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        disk.fault = lambda number, kind, name: -100 if kind == "append" and name.endswith(".log") else 0
        with pytest.raises(DiskFullError):
            log.append_copies(whole(source), 0, begins_segment=True)
        disk.fault = None
        assert target.segments() == {0: b""}
    replicate(source, target)
    assert files_of(target) == files_of(source)


def test_a_refused_sync_costs_nothing_that_was_seen(disk: RecordingDisk, source: Place, target: Place) -> None:
    with target.follower() as log:
        log.attach(source.epochs(), 12, 0, 0)
        log.append_copies(one_batch(source, 0), 0, begins_segment=True)
        log.sync()
        log.append_copies(one_batch(source, 3), 3, begins_segment=False)
        failed = []

        def fault(number: int, kind: str, name: str) -> int:
            if kind == "sync" and name.endswith(".log") and not failed:
                failed.append(name)
                return errno.EIO
            return 0

        disk.fault = fault
        with pytest.raises(SyncFailedError):
            log.sync()
        disk.fault = None
    assert list(target.records()) == [0, 1, 2]
    replicate(source, target)
    # In a segment more than the source has: the kernel may have dropped what was written to the old one.
    assert target.records() == source.records()
    assert target.epochs() == source.epochs()
    assert not target.damage()


# Whom to follow.


def fail_over(source: Place, target: Place) -> None:
    """Promote the target, after the source got some records that it does not have."""
    replicate(source, target)
    source.append(itertools.count(100), 2, 5, 5)
    target.promote()
    target.append(itertools.count(200), 2, 5)


def test_what_an_old_leader_had_written_is_cut_off_and_kept(source: Place, target: Place) -> None:
    fail_over(source, target)
    had = source.records()
    assert replicate(target, source) == 19
    assert source.segments() == target.segments()
    assert source.records() == target.records()
    assert source.evidence() == {offset: {value} for offset, value in had.items() if offset >= 12}
    assert not source.damage()
    with pytest.raises(NotLeaderError):
        source.append(itertools.count(300), 1)


def test_the_whole_log_may_be_another_one(disk: RecordingDisk, source: Place) -> None:
    target = Place(disk.root / "target").create_as_copy_of(source)
    target.promote()
    target.append(itertools.count(200), 2, 2)
    had = source.records()
    assert replicate(target, source) == 4
    assert source.records() == target.records()
    assert source.segments() == target.segments()
    assert source.evidence() == {offset: {value} for offset, value in had.items()}
    assert not source.damage()


def test_a_copy_made_of_hard_links_keeps_what_is_cut(source: Place, target: Place) -> None:
    replicate(source, target)
    target.promote()
    target.append(itertools.count(200), 2)
    source.append(itertools.count(100), 2, 5)
    first = min(base for base in source.segments() if base >= 6)
    clone = source.path / "clone.log"
    os.link(source.partition / f"{first:020d}.log", clone)
    before = clone.read_bytes()
    replicate(target, source)
    assert clone.read_bytes() == before
    assert source.segments() == target.segments()


def test_a_log_without_a_newer_leader_is_never_cut(disk: RecordingDisk, source: Place, target: Place) -> None:
    """As after the source was restored from an older copy."""
    replicate(source, target)
    with target.follower() as log:
        with pytest.raises(DivergedLogError, match="is no copy of its source"):
            log.attach(source.epochs(), 6, 6, source.chain_at(6))
        with pytest.raises(TryAgainError):
            log.attach(source.epochs(), 6, 3, source.chain_at(3))
    assert len(target.records()) == 12
    assert not target.evidence()


def test_a_source_that_has_not_got_all_yet_cuts_nothing(disk: RecordingDisk, source: Place, target: Place) -> None:
    """A follower of the new leader that is behind: it knows of the epoch, and has only the front of what was before."""
    replicate(source, target)
    epochs = source.epochs().fenced(12, EpochEntry(1 << 32, 12, ELSEWHERE))
    with target.follower() as log:
        with pytest.raises(StaleSourceError, match="is ahead of its source"):
            log.attach(epochs, 6, 6, source.chain_at(6))
        assert log.attach(epochs, 12, 12, source.chain_at(12)) == 12
    assert len(target.records()) == 12


def test_other_records_below_the_same_epochs_are_found(source: Place, target: Place) -> None:
    replicate(source, target)
    with target.follower() as log, pytest.raises(DivergedLogError):
        log.attach(source.epochs(), 12, 12, 12345)


def test_an_epoch_that_two_directories_led_is_divergence(source: Place, target: Place) -> None:
    replicate(source, target)
    source.append(itertools.count(100), 1)
    epochs = LeaderEpochs([EpochEntry(0, 0, ELSEWHERE), EpochEntry(1 << 32, 12, ELSEWHERE)])
    with target.follower() as log:
        with pytest.raises(DivergedLogError) as refused:
            log.attach(epochs, 13, 0, 0)
        assert "two directories" in refused.value.why
        with pytest.raises(DivergedLogError):
            log.restart(epochs, 0)
        with pytest.raises(DivergedLogError):
            log.fence(epochs)
    assert target.epochs() == source.epochs()


def test_an_epoch_that_this_directory_is_said_to_have_led_is_refused(source: Place, target: Place) -> None:
    replicate(source, target)
    with target.directory() as directory:
        own = directory.directory_id
    entries = source.epochs().entries
    with target.follower() as log:
        with pytest.raises(DivergedLogError) as refused:
            log.attach(LeaderEpochs([*entries, EpochEntry(5, 6, own), EpochEntry(9, 9, ELSEWHERE)]), 12, 6, -1)
        assert "does not know of the leader epoch 5" in refused.value.why


def test_a_source_with_an_older_leader_is_not_followed(source: Place, target: Place) -> None:
    fail_over(source, target)
    with target.follower() as log:
        with pytest.raises(StaleSourceError, match="has a newer leader"):
            log.attach(source.epochs(), 12, 12, source.chain_at(12))
        with pytest.raises(StaleSourceError):
            log.restart(source.epochs(), 0)
    with source.follower() as log, pytest.raises(StaleSourceError, match="as its source knows too"):
        log.attach(source.epochs(), 12, 12, source.chain_at(12))


def test_a_failed_partition_is_left_as_it_is(source: Place, target: Place) -> None:
    replicate(source, target)
    (target.partition / "FAILED").write_text("now\n")
    with target.follower() as log:
        for change in (
            lambda: log.attach(source.epochs(), 12, 12, -1),
            lambda: log.restart(source.epochs(), 0),
            lambda: log.fence(LeaderEpochs([EpochEntry(9, 0, ELSEWHERE)])),
            log.promote,
            log.sync,
        ):
            with pytest.raises(PartitionFailedError):
                change()


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [(0, 0, "x")],
        [(0, 0, "F" * 32)],
        [(0, 0, ELSEWHERE), (0, 5, ELSEWHERE)],
        [(0, 5, ELSEWHERE), (1, 5, ELSEWHERE)],
        [(0, -1, ELSEWHERE)],
        [(1 << 64, 0, ELSEWHERE)],
        [(True, 0, ELSEWHERE)],
        [(0, 0, ELSEWHERE)] * 20_000,
        [(0, 0)],
    ],
)
def test_epochs_that_cannot_be_are_refused(entries: list[tuple[int, int, str]]) -> None:
    with pytest.raises(ValueError, match="leader epoch"):
        epochs_of(entries)


# Readers of what is cut.


def test_a_reader_is_told_what_it_has_read_and_is_no_longer_there(source: Place, target: Place) -> None:
    fail_over(source, target)
    with source.topic() as topic:
        ahead, below, fenced = (PartitionReader(topic, 0) for _ in range(3))
        drain(ahead)
        below.seek(9)
        with source.follower() as log:
            assert log.fence(target.epochs())
        drain(fenced)
        replicate(target, source)
        # By now the log has grown beyond what was cut, too.
        target.append(itertools.count(400), 9, 9)
        replicate(target, source)
        for reader in (ahead, fenced):
            with pytest.raises(DataError, match="was cut back to offset 12") as told:
                drain(reader)
            assert "another directory leads it since" in told.value.why
            assert drain(reader) == {offset: value for offset, value in target.records().items() if offset >= 12}
        assert drain(below) == {offset: value for offset, value in target.records().items() if offset >= 9}
        for reader in (ahead, below, fenced):
            reader.close()


def test_a_reader_of_a_copy_that_begins_anew_goes_on(source: Place, target: Place) -> None:
    replicate(source, target)
    with target.topic() as topic:
        reader = PartitionReader(topic, 0)
        drain(reader)
        source.append(itertools.count(100), 2)
        with target.follower() as log:
            log.restart(source.epochs(), 0)
            assert drain(reader) == {}
            copy(source, log, 0)
        assert drain(reader) == {offset: value for offset, value in source.records().items() if offset >= 12}
        reader.close()


# Beginning anew.


def test_a_log_with_a_hole_begins_anew_behind_it(source: Place, target: Place) -> None:
    replicate(source, target)
    had = target.records()
    source.append(itertools.count(100), 3, 3, 3, 3)
    with source.topic() as topic:
        cleaner = PartitionCleaner(topic, 0)
        cleaner.delete_records(18)
        cleaner.close()
    first = min(source.segments())
    assert first == 18
    with target.topic() as topic:
        reader = PartitionReader(topic, 0)
        reader.seek(6)
        with target.follower() as log:
            assert log.restart(source.epochs(), first) == first
            copy(source, log, first)
        assert list(drain(reader)) == list(range(18, 24))
        assert reader.skipped == [(6, 17)]
        reader.close()
    assert target.evidence() == {offset: {value} for offset, value in had.items()}
    assert files_of(target) == files_of(source)
    assert target.state().log_start_offset == 18
    assert not target.damage()
    replicate(source, target)
    assert target.promote() == 1 << 32
    target.append(itertools.count(500), 1)
    assert not target.damage()


def test_a_copy_that_got_no_record_yet_can_lead(source: Place, disk: RecordingDisk) -> None:
    with source.topic() as topic:
        cleaner = PartitionCleaner(topic, 0)
        cleaner.delete_records(12)
        cleaner.close()
    target = Place(disk.root / "target").create_as_copy_of(source)
    assert target.state().written.chain == UNKNOWN_CHAIN
    assert not target.damage()
    target.promote()
    target.append(itertools.count(500), 1)
    assert list(target.records()) == [12]
    assert not target.damage()


def test_the_log_begins_where_the_source_does(source: Place, target: Place) -> None:
    replicate(source, target)
    with source.topic() as topic:
        cleaner = PartitionCleaner(topic, 0)
        cleaner.delete_records(7)
        cleaner.close()
    with target.follower() as log:
        assert log.advance_log_start(7) == 7
        assert log.advance_log_start(3) == 7
        assert log.advance_log_start(99) == 12
    assert target.state().log_start_offset == 12
    assert list(target.segments()) == [6] or list(target.segments()) == [max(source.segments())]
    assert not target.damage()


# Who leads.


def test_a_fenced_directory_takes_no_more_records(source: Place, target: Place) -> None:
    with source.log() as producer:
        producer.append([make_batch(itertools.count(50), 1, 40)], PAGE_CACHE)
        latest = EpochEntry(1 << 32, 3, ELSEWHERE)
        epochs = LeaderEpochs([*source.epochs().entries, latest])
        with source.follower() as log:
            assert log.fence(epochs)
            assert not log.fence(epochs)
        with pytest.raises(NotLeaderError) as refused:
            producer.append([make_batch(itertools.count(60), 1, 40)], DISK)
        assert refused.value.facts["leader"] == ELSEWHERE
    # What was acknowledged is on disk, and the epoch begins behind it.
    assert [(entry.epoch, entry.first_offset) for entry in source.epochs().entries] == [(0, 0), (1 << 32, 13)]
    assert source.state().durable.offset == 13
    assert not source.damage()


def test_a_producer_that_comes_while_a_fencing_is_killed_is_refused(disk: RecordingDisk, source: Place) -> None:
    epochs = LeaderEpochs([*source.epochs().entries, EpochEntry(1 << 32, 12, ELSEWHERE)])
    with source.log() as producer:
        producer.append([make_batch(itertools.count(50), 1, 40)], DISK)
        disk.restart_count()

        def fault(number: int, kind: str, name: str) -> int:
            if kind == "pwrite" and name == "state" and source.epochs().latest.epoch:
                raise Killed
            return 0

        disk.fault = fault
        with pytest.raises(Killed), source.follower() as log:
            log.fence(epochs)
        disk.revive()
        with pytest.raises(NotLeaderError):
            producer.append([make_batch(itertools.count(60), 1, 40)], DISK)
    assert len(source.records()) == 13
    assert not source.damage()


def test_promotion_counts_in_the_upper_half(source: Place, target: Place) -> None:
    replicate(source, target)
    assert target.promote() == 1 << 32
    assert target.promote() == 1 << 32
    target.append(itertools.count(100), 2)
    replicate(target, source)
    assert source.promote() == 2 << 32
    assert [entry.epoch for entry in source.epochs().entries] == [0, 1 << 32, 2 << 32]
    replicate(source, target)
    assert target.records() == source.records()


def test_a_copy_never_raises_an_epoch(disk: RecordingDisk, source: Place, target: Place) -> None:
    with source.log() as log:
        log.append([make_batch(itertools.count(50), 1, 40)], DISK)
    epochs = LeaderEpochs([*source.epochs().entries, EpochEntry(4, 100, source.epochs().latest.leader_id)])
    with target.follower() as log:
        log.attach(epochs, 13, 0, 0)
        log.append_copies(whole(source), 0, begins_segment=True)
    with open(target.partition / f"{0:020d}.log", "ab") as file:
        file.write(one_batch(source, 6)[:700])
    next_boot()
    with target.follower() as log:
        assert log.sync() == 6
    assert target.epochs() == epochs
    assert not target.damage()


def test_own_records_that_are_copied_back_are_no_proof_of_what_was_on_disk(
    disk: RecordingDisk, source: Place, target: Place
) -> None:
    """An old leader that lost its disk, and was cut off from power while it got its records back."""
    replicate(source, target)
    target.promote()
    target.append(itertools.count(100), 2)
    with source.follower() as log:
        log.restart(target.epochs(), 0)
        log.append_copies(one_batch(target, 0), 0, begins_segment=True)
        log.sync()
        log.append_copies(one_batch(target, 3), 3, begins_segment=False)
    path = source.partition / f"{0:020d}.log"
    data = bytearray(path.read_bytes())
    start = len(one_batch(target, 0))
    data[start : start + 600] = bytes(600)
    path.write_bytes(bytes(data) + one_batch(target, 6))
    next_boot()
    assert not source.damage()
    replicate(target, source)
    assert source.records() == target.records()


# Producers with an id.


def produce(place: Place, name: str, sequences: range) -> None:
    with place.topic() as topic:
        pin_producer(topic, name, partition=None, lock_wait_ms=100)
    with place.log() as log:
        batch = encode_columns([b"%d" % number + b"." * 300 for number in sequences], base_timestamp=1)
        batch.number(producer_id_of(name), list(sequences))
        log.append([batch], DISK)


def last_sequence(place: Place, name: str) -> int:
    with place.log() as log:
        return log.last_sequence(producer_id_of(name))


def test_a_copy_knows_what_is_stored_of_each_producer(disk: RecordingDisk) -> None:
    source = Place(disk.root / "source").create()
    for start in range(0, 80, 8):
        produce(source, "one", range(start, start + 8))
    target = Place(disk.root / "target").create_as_copy_of(source)
    replicate(source, target)
    assert files_of(target) == files_of(source)
    assert last_sequence(target, "one") == 79
    target.promote()
    produce(target, "one", range(70, 90))
    assert last_sequence(target, "one") == 89
    assert not target.damage()
    produce(source, "one", range(80, 88))
    replicate(target, source)
    assert last_sequence(source, "one") == 89
    assert source.records() == target.records()
    assert not source.damage()


def test_a_cut_takes_back_what_is_known_of_producers(disk: RecordingDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    # A snapshot after each append: of places that the cut takes away.
    monkeypatch.setattr(producer_state, "_SNAPSHOT_BATCHES", 1)
    source = Place(disk.root / "source").create()
    for start in range(0, 40, 8):
        produce(source, "one", range(start, start + 8))
    with source.topic() as topic:
        cleaner = PartitionCleaner(topic, 0)
        cleaner.delete_records(33)
        cleaner.close()
    target = Place(disk.root / "target").create_as_copy_of(source)
    replicate(source, target)
    produce(source, "one", range(40, 42))
    target.promote()
    produce(target, "two", range(3))
    with target.topic() as there, source.topic() as here:
        for name, data in pins_of(there).items():
            fd = os.open("producers", os.O_RDONLY, dir_fd=here.fd)
            files.replace_file(name, data, dir_fd=fd)
            os.close(fd)
    replicate(target, source)
    assert last_sequence(source, "one") == 39
    assert last_sequence(source, "two") == 2
    assert not source.damage()


def test_a_log_that_begins_late_takes_the_snapshot_of_its_source(disk: RecordingDisk) -> None:
    source = Place(disk.root / "source").create()
    for start in range(0, 80, 8):
        produce(source, "one" if start < 40 else "two", range(start, start + 8))
    with source.topic() as topic:
        cleaner = PartitionCleaner(topic, 0)
        cleaner.delete_records(60)
        cleaner.close()
    first = min(source.segments())
    assert first > 40
    target = Place(disk.root / "target").create_as_copy_of(source)
    assert not target.damage()
    replicate(source, target)
    assert files_of(target) == files_of(source)
    assert (last_sequence(target, "one"), last_sequence(target, "two")) == (39, 79)
    assert not target.damage()


def test_a_batch_of_a_producer_without_any_pin_waits_for_it(disk: RecordingDisk) -> None:
    source = Place(disk.root / "source").create()
    target = Place(disk.root / "target").create_as_copy_of(source)
    produce(source, "one", range(3))
    with pytest.raises(TryAgainError, match="is not as it was"):
        replicate(source, target)
    assert target.segments() == {0: b""}


def test_input_that_was_stored_before_is_refused(disk: RecordingDisk) -> None:
    source = Place(disk.root / "source").create(segment_bytes=1 << 20)
    produce(source, "one", range(3))
    produce(source, "one", range(3, 5))
    target = Place(disk.root / "target").create_as_copy_of(source)
    data = one_batch(source, 3)
    CHAINS[:] = [source.chain_at(3)]
    with target.follower() as log:
        log.attach(source.epochs(), 5, 0, 0)
        log.append_copies(one_batch(source, 0), 0, begins_segment=True)
        with pytest.raises(BadCopyError) as refused:
            log.append_copies(numbered(data, producer_id_of("one"), 2, 3), 3, begins_segment=False)
        assert "stored before" in refused.value.why


# Retention on a copy.


def test_a_copy_removes_by_its_limits_and_seals_nothing(source: Place, target: Place) -> None:
    replicate(source, target)
    with target.topic() as topic:
        config: dict[str, int | str] = {"retention.bytes": 1, "segment.ms": 1, "min.free": 0}
        files.replace_file("topic.json", encode_topic(TOPIC, topic.topic_id, 1, "crc32", config), dir_fd=topic.fd)
    active = max(target.segments())
    with target.topic() as topic:
        cleaner = PartitionCleaner(topic, 0)
        report = cleaner.clean()
        assert report.error is None
        assert not report.rolled
        assert list(target.segments()) == [active]
        with pytest.raises(NotLeaderError):
            cleaner.delete_records(12)
        with pytest.raises(NotLeaderError):
            cleaner.delete_records(active)
        cleaner.close()
    assert not target.damage()
    source.append(itertools.count(100), 4, 4)
    replicate(source, target)
    assert not target.damage()


def test_cleaning_ends_a_cut_that_was_broken_off(disk: RecordingDisk, source: Place, target: Place) -> None:
    fail_over(source, target)

    def fault(number: int, kind: str, name: str) -> int:
        if kind == "unlink" and name.endswith(".log"):
            raise Killed
        return 0

    disk.fault = fault
    with pytest.raises(Killed):
        replicate(target, source)
    disk.revive()
    assert (source.partition / "truncation").exists()
    assert not source.damage()
    with source.topic() as topic:
        cleaner = PartitionCleaner(topic, 0)
        assert cleaner.clean().error is None
        cleaner.close()
    assert not (source.partition / "truncation").exists()
    assert list(source.records()) == list(range(12))
    assert not source.damage()


def test_what_is_cut_stays_where_it_is_if_it_cannot_be_kept(disk: RecordingDisk, source: Place, target: Place) -> None:
    fail_over(source, target)
    had = source.records()
    disk.fault = lambda number, kind, name: errno.ENOSPC if kind in ("create", "link") and "t-0-" in name else 0
    with pytest.raises(StorageError, match="cannot change"):
        replicate(target, source)
    disk.revive()
    assert source.records() == had
    assert not source.damage()
    replicate(target, source)
    assert source.records() == target.records()
    assert source.evidence() == {offset: {value} for offset, value in had.items() if offset >= 12}
