"""Cutting a log back to where it and another one, which it is to follow, hold the same records; or emptying it for good.

In this order, so that no kill and no power cut loses what was cut, or leaves half of it: what goes is in quarantine/ and on
disk; then a record of what there shall be, `truncation`, is; then epochs and `state` are brought to that, then the segments;
then the record goes. Whoever next changes the partition finishes a record that it finds. Until the record is there nothing
has changed but what a later try finds and uses again; from then on nothing but the record counts. Nobody appends meanwhile:
producers are fenced before, and a copy goes on only when it is done.
Every function runs under the partition's lock. Format: man/mk-format.5, TRUNCATION. Source: man/mk-guarantees.7, FOLLOWING.
"""

from __future__ import annotations

import os
import time

from mk.errors import CorruptStateError, DataError
from mk.records.codecs import crc32c
from mk.records.record_batch import HEADER_SIZE, parse_any_header
from mk.storage import files
from mk.storage.cleaner_checkpoint import FILE_NAME as CLEANED_FILE
from mk.storage.host import boot_id
from mk.storage.leader_epochs import LeaderEpochs, decode_epochs, read_epochs, write_epochs
from mk.storage.log_recovery import cut_index, replace_segment, unlink_if_there
from mk.storage.log_segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    PRODUCERS_SUFFIX,
    UNKNOWN_CHAIN,
    list_segments,
    open_segment,
    segment_name,
)
from mk.storage.partition_files import TRUNCATION_FILE
from mk.storage.partition_state import LogEnd, PartitionState, decode_slot, write_state
from mk.storage.producer_state import load_for_cut, read_snapshot
from mk.storage.quarantine import copy_bytes, evidence_name, keep_copy, keep_segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.partition_files import PartitionFiles

_MAX_BYTES = 4 << 20
_PIECE = 1 << 20
_SUFFIXES = (LOG_SUFFIX, INDEX_SUFFIX, PRODUCERS_SUFFIX)


class Truncation:
    """What there shall be: `state`, `epochs`, and the base of the first segment that stays.

    is_anew: the log begins anew, so nothing is known of what producers stored in front of it.
    """

    __slots__ = ("epochs", "first_segment", "is_anew", "state")

    def __init__(self, state: PartitionState, epochs: LeaderEpochs, first_segment: int, is_anew: bool) -> None:
        self.state = state
        self.epochs = epochs
        self.first_segment = first_segment
        self.is_anew = is_anew

    def encode(self) -> bytes:
        head = b"first_segment=%d anew=%d\n" % (self.first_segment, self.is_anew)
        text = head + self.state.encode() + self.epochs.encode()
        return b"%bcrc=%08x\n" % (text, crc32c(text))


def decode_truncation(data: bytes, path: str) -> Truncation:
    text, _, crc = data.rpartition(b"crc=")
    try:
        if crc != b"%08x\n" % crc32c(text):
            raise ValueError
        head, slot, lines = text.split(b"\n", 2)
        state = decode_slot(slot + b"\n")
        if state is None:
            raise ValueError
        first_segment, is_anew = (int(field.partition(b"=")[2]) for field in head.split(b" "))
        return Truncation(state, decode_epochs(lines, path), first_segment, bool(is_anew))
    except ValueError:
        raise CorruptStateError(path=path, found="it is not what its checksum says") from None


def read_truncation(partition_fd: int, path: str) -> Truncation | None:
    """Return the record that somebody left who was killed, None if there is none."""
    try:
        data = files.read_file(TRUNCATION_FILE, dir_fd=partition_fd, max_bytes=_MAX_BYTES)
    except FileNotFoundError:
        return None
    return decode_truncation(data, f"{path}/{TRUNCATION_FILE}")


def truncate_to(
    partition: PartitionFiles, state: PartitionState, segment: int, end: LogEnd, epochs: LeaderEpochs, epoch: int
) -> PartitionState:
    """Cut the log at `end`, in `segment`, and have it go on with `epochs`. Returns the published `state`.

    All of the log is on disk, and no producer may append any more. The first segment that stays holds the log start.
    epoch: the latest of the batches that go, for the name of what is kept of them.
    """
    new = state.copy()
    new.segment = segment
    new.began_ms = state.began_ms if segment == state.segment else 0
    new.written = new.durable = end
    new.high_watermark = end.offset
    new.log_start_offset = min(state.log_start_offset, end.offset)
    new.cleaned_to = min(state.cleaned_to, end.offset)
    new.tombstones_dropped_to = min(state.tombstones_dropped_to, end.offset)
    bases = list_segments(partition.fd)
    first = max((base for base in bases if base <= new.log_start_offset), default=bases[0])
    if end.position:
        _keep_tail(partition, state, segment, end, epoch)
    for base in bases:
        if segment < base <= state.segment or (base == segment and not end.position):
            _keep_whole(partition, state, base, epoch)
    _rebuild_producers(partition, segment, end, [base for base in bases if first <= base <= state.segment])
    new.cut_offset = end.offset
    return _cut(partition, state, Truncation(new, epochs, first, False))


def begin_anew(
    partition: PartitionFiles,
    state: PartitionState,
    first_offset: int,
    prefix_offset: int,
    epochs: LeaderEpochs,
    epoch: int,
) -> PartitionState:
    """Put the whole log into quarantine/ and begin another one at `first_offset`. Returns the published `state`.

    prefix_offset: up to there the other one holds the same records, or had them once: its readers go on.
    """
    new = state.copy()
    new.segment = new.log_start_offset = new.high_watermark = first_offset
    new.written = new.durable = LogEnd(0, first_offset, UNKNOWN_CHAIN if first_offset else 0, -1)
    new.began_ms = new.cleaned_to = new.tombstones_dropped_to = 0
    for base in list_segments(partition.fd):
        if base <= state.segment:
            _keep_whole(partition, state, base, epoch)
    new.cut_offset = prefix_offset
    return _cut(partition, state, Truncation(new, epochs, first_offset, True))


def _cut(partition: PartitionFiles, state: PartitionState, record: Truncation) -> PartitionState:
    new = record.state
    new.leader_epoch = record.epochs.latest.epoch
    new.syncing = 0
    new.cuts = state.cuts + 1
    files.replace_file(TRUNCATION_FILE, record.encode(), dir_fd=partition.fd)
    return finish(partition, record, state)


def finish(partition: PartitionFiles, record: Truncation, state: PartitionState | None) -> PartitionState:
    """Bring a partition to what a record says, from wherever whoever wrote it has come. Returns the published `state`."""
    if read_epochs(partition.fd, partition.path) != record.epochs:
        write_epochs(partition.fd, record.epochs)
    new = record.state.copy()
    new.boot_id = boot_id()
    # Readers believe only what is newer than what they have seen.
    new.sequence = max(new.sequence, state.sequence if state is not None else time.time_ns())
    publish(partition, new)
    for name in os.listdir(partition.fd):
        digits, suffix = name[:20], name[20:]
        is_segment = suffix in _SUFFIXES and len(digits) == 20 and digits.isdecimal()
        if is_segment and not record.first_segment <= int(digits) <= new.segment:
            files.unlink(name, dir_fd=partition.fd)
    # What it says was clean may come anew, as other records.
    unlink_if_there(partition, CLEANED_FILE)
    _cut_segment(partition, new.segment, new.written)
    snapshot = read_snapshot(partition, new.segment)
    if record.is_anew or snapshot is None or snapshot.offset > new.written.offset:
        # Of another log, or of a place above the cut: in the way of a better one.
        unlink_if_there(partition, segment_name(new.segment, PRODUCERS_SUFFIX))
    files.fsync(partition.fd)
    files.unlink(TRUNCATION_FILE, dir_fd=partition.fd)
    files.fsync(partition.fd)
    return new


def publish(partition: PartitionFiles, state: PartitionState) -> None:
    """Put `state` on disk in both slots, so that no power cut brings back the one before; only then have others rely on it."""
    for syncing in (1, 0):
        state.syncing = syncing
        write_state(partition.state_fd, state)
        files.fdatasync(partition.state_fd)


def find_end(partition: PartitionFiles, segment: int, offset: int) -> LogEnd | None:
    """Return the place in a segment at which a batch ends in front of `offset`, or the segment's start; None if none does.

    By the headers alone: what they lead to was proved when it was written.
    """
    end = LogEnd(0, segment, UNKNOWN_CHAIN if segment else 0, -1)
    fd = open_segment(segment, partition_fd=partition.fd)
    try:
        data, start = b"", 0
        while end.offset < offset:
            if end.position + HEADER_SIZE > start + len(data):
                start, data = end.position, files.pread(fd, _PIECE, end.position)
            batch = parse_any_header(data, end.position - start)
            if batch is None or batch.base_offset != end.offset:
                return None
            end = LogEnd(
                end.position + batch.size_bytes,
                batch.next_offset,
                batch.chain,
                max(end.max_timestamp, batch.max_timestamp),
            )
    finally:
        files.close(fd)
    return end if end.offset == offset else None


# What goes.


def _keep_tail(partition: PartitionFiles, state: PartitionState, segment: int, end: LogEnd, epoch: int) -> None:
    """Copy what lies above the cut in the segment that is cut."""
    fd = open_segment(segment, partition_fd=partition.fd)
    try:
        stop = state.written.position if segment == state.segment else files.size(fd)
        if stop > end.position:
            _copy_once(partition, state, fd, segment, end, stop, epoch)
    finally:
        files.close(fd)


def _copy_once(
    partition: PartitionFiles,
    state: PartitionState,
    fd: int,
    segment: int,
    start: LogEnd,
    stop_position: int,
    epoch: int,
) -> None:
    """Copy a piece of a segment to quarantine/, unless an earlier try that was killed came as far as that.

    The name is that of what is in it: two pieces that begin at the same offset and end with the same chain are the same.
    An earlier copy may be cut short, or not on disk: then there is another one, since nothing in there is overwritten.
    """
    size = stop_position - start.position
    name = evidence_name(partition, start.offset, epoch, _chain_at_end(partition, state, segment))
    quarantine_fd = partition.topic.directory.open_quarantine()
    try:
        there = _stat(name, quarantine_fd)
        if there is not None and there.st_size == size:
            kept = files.open_file(name, os.O_RDONLY, dir_fd=quarantine_fd)
            try:
                if _same_bytes(fd, start.position, kept, size):
                    files.fsync(kept)
                    files.fsync(quarantine_fd)
                    return
            finally:
                files.close(kept)
    finally:
        files.close(quarantine_fd)
    if there is not None:
        name = evidence_name(partition, start.offset, epoch)
    keep_copy(partition, fd, start.position, stop_position, name)


def _keep_whole(partition: PartitionFiles, state: PartitionState, base: int, epoch: int) -> None:
    """Keep a whole segment, a sealed one by a second name, for which there is always room.

    The active one is copied: with a second name it would be no good for an append, if we are killed and nobody cuts it.
    """
    fd = open_segment(base, partition_fd=partition.fd)
    try:
        status = os.fstat(fd)
        if status.st_size == 0:
            return
        if base == state.segment:
            _copy_once(partition, state, fd, base, LogEnd(0, base, 0, -1), state.written.position, epoch)
            return
        name = evidence_name(partition, base, epoch, _chain_at_end(partition, state, base))
        quarantine_fd = partition.topic.directory.open_quarantine()
        try:
            there = _stat(name, quarantine_fd)
            if there is not None and (there.st_ino, there.st_dev) == (status.st_ino, status.st_dev):
                files.fsync(quarantine_fd)
                return
        finally:
            files.close(quarantine_fd)
        if there is not None:
            name = evidence_name(partition, base, epoch)
        keep_segment(partition, base, name)
    finally:
        files.close(fd)


def _chain_at_end(partition: PartitionFiles, state: PartitionState, segment: int) -> int:
    """Return the chain with which a segment ends, 0 where it cannot be told."""
    if segment == state.segment:
        return max(state.written.chain, 0)
    following = min(base for base in list_segments(partition.fd) if base > segment)
    end = find_end(partition, segment, following)
    return max(end.chain, 0) if end is not None else 0


def _stat(name: str, dir_fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _same_bytes(fd: int, position: int, kept: int, size: int) -> bool:
    for at in range(0, size, _PIECE):
        count = min(_PIECE, size - at)
        if files.pread(fd, count, position + at) != files.pread(kept, count, at):
            return False
    return True


def _rebuild_producers(partition: PartitionFiles, segment: int, end: LogEnd, bases: list[int]) -> None:
    """Have a snapshot of what was stored under producer ids up to the cut, while it can still be read from what goes.

    The one beside the segment may be of a place above the cut, and then nobody could tell any more. This one is as good
    for the log as it stands, if nothing comes of the cut.
    """
    if partition.topic.has_producers():
        try:
            load_for_cut(partition, segment, end, bases).write_snapshot(partition)
        except DataError:
            pass  # It could not be told before either.


def _cut_segment(partition: PartitionFiles, segment: int, end: LogEnd) -> None:
    name = segment_name(segment)
    if end.position == 0:
        try:
            is_empty = os.stat(name, dir_fd=partition.fd, follow_symlinks=False).st_size == 0
        except FileNotFoundError:
            is_empty = False
        if not is_empty:
            replace_segment(partition, segment)
        unlink_if_there(partition, segment_name(segment, INDEX_SUFFIX))
        return
    fd = partition.open_segment_for_append(segment, linked=True)
    try:
        status = os.fstat(fd)
        if status.st_size < end.position:
            raise CorruptStateError(
                path=partition.segment_path(segment),
                found=f"it has {status.st_size} bytes, and is to be cut at {end.position}, as {TRUNCATION_FILE} says",
            )
        if status.st_nlink > 1:
            # Somebody has a copy of it made of a hard link, in which nothing may change; and it is appended to from now on.
            _replace_by_prefix(partition, fd, name, end.position)
        else:
            if status.st_size > end.position:
                files.truncate(fd, end.position)
            # Also if nothing is left to cut: who did it may have been killed here, and with the power it would all be back.
            files.fdatasync(fd)
    finally:
        files.close(fd)
    cut_index(partition, segment, end.position)


def _replace_by_prefix(partition: PartitionFiles, fd: int, name: str, size: int) -> None:
    temporary = f".tmp-{os.urandom(8).hex()}"
    copy = files.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=partition.fd)
    try:
        copy_bytes(fd, 0, size, copy)
        files.fsync(copy)
    finally:
        files.close(copy)
    files.rename(temporary, name, src_dir_fd=partition.fd, dst_dir_fd=partition.fd)
