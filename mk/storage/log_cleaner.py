"""Compaction: of each key, the log keeps the last record.

Which records stay is decided in records/compaction; here is when, and in which order the files change. Only sealed segments are
cleaned. Neighbours that are small together become one, written beside them as `<base>.log.cleaned` without the append lock. Under
it, that file is renamed over the first of them, and the others are unlinked. Batches end where one of the old segments
begins, and a segment ends where the next one begins: so whatever a kill leaves in between is a log, and needs no journal.
Source: man/mk-guarantees.7, COMPACTION. Idea: Kafka's LogCleaner.
"""

from __future__ import annotations

import errno
import os

from mk import clock
from mk.errors import CorruptBatchError, MkError, StorageError
from mk.records.codecs import CodecError
from mk.records.compaction import Compaction, OffsetMap
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.storage import clock_record, files, offset_index
from mk.storage.cleaner_checkpoint import NO_TIME, CleanerCheckpoint, Cleaning
from mk.storage.held_log import held_log
from mk.storage.locks import release, try_acquire
from mk.storage.log_segment import (
    CLEANED_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    PRODUCERS_SUFFIX,
    list_segments,
    open_segment,
    refuse_newer,
    segment_name,
)
from mk.storage.partition_cleaner import WAIT, PartitionCleaner
from mk.storage.partition_state import write_state
from mk.storage.producer_state import ensure_snapshot, read_snapshot
from mk.storage.segment_removal import FUTURE_MS, group_hold, largest_timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mk.records.compaction import CompactedBatch
    from mk.records.record_batch import RecordBatch
    from mk.storage.partition_files import PartitionFiles
    from mk.storage.partition_state import PartitionState
    from mk.storage.topic import Topic

    Progress = Callable[[int, int], None]

_PIECE = 1 << 20
_WRITEBACK_BYTES = 8 << 20
_LARGEST_GROUP = 32
"""Segments that become one at a time: a sync for each, with the append lock held."""

IS_CLEAN = "it is clean"
IN_USE = "another process compacts it"
CHANGED = "its segments were changed meanwhile"


class CompactionReport:
    """What became of a partition.

    first_dirty_offset: up to there the log was clean before. cleaned_to: up to there it is clean now. segments, bytes: of
    the part that was looked at. records_before: how many were read there. passes: how often it was gone through, since the
    map of keys is bounded. skipped: why nothing was done, "" if something was. error: what kept it from being finished.
    """

    __slots__ = (
        "bytes_after",
        "bytes_before",
        "cleaned_to",
        "error",
        "first_dirty_offset",
        "partition",
        "passes",
        "records_after",
        "records_before",
        "segments_after",
        "segments_before",
        "skipped",
        "tombstones_dropped",
    )

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.first_dirty_offset = self.cleaned_to = 0
        self.segments_before = self.segments_after = 0
        self.bytes_before = self.bytes_after = 0
        self.records_before = self.records_after = 0
        self.tombstones_dropped = 0
        self.passes = 0
        self.skipped = ""
        self.error: MkError | None = None

    def document(self, topic: str) -> dict[str, object]:
        """Return it ready for JSON; `error` stays the error."""
        return {"topic": topic, **{name: getattr(self, name) for name in _FIELDS}}


_FIELDS = (
    "partition",
    "first_dirty_offset",
    "cleaned_to",
    "segments_before",
    "segments_after",
    "bytes_before",
    "bytes_after",
    "records_before",
    "records_after",
    "tombstones_dropped",
    "passes",
    "skipped",
    "error",
)


def compact(
    topic: Topic,
    partition: int,
    *,
    seal_active: bool,
    min_dirty_ratio: float,
    lock_wait_ms: int = 10_000,
    progress: Progress | None = None,
) -> CompactionReport:
    """Keep of each key the last record, in the sealed segments of a partition.

    Readers and producers go on meanwhile: the append lock is held for moments. It may be killed at any time, and the next
    one goes on. One process at a time does it.

    Args:
        seal_active: begin a new segment first, where this directory leads the partition, so that all its records count.
        min_dirty_ratio: do nothing if less of the log's bytes is dirty, and no tombstone is due; 0.0 is always.
        progress: told how many bytes of how many were read.

    Raises:
        LockTimeoutError, NoSuchTopicError, PermissionDeniedError: nothing was done. What goes wrong later is in the report.
    """
    report = CompactionReport(topic.check_partition(partition))
    cleaner = LogCleaner(topic, partition, lock_wait_ms=lock_wait_ms)
    try:
        lock_fd = topic.open_cleaner_lock(partition)
        try:
            if not try_acquire(lock_fd):
                report.skipped = IN_USE
                return report
            try:
                cleaner.compact(report, seal_active=seal_active, min_dirty_ratio=min_dirty_ratio, progress=progress)
            finally:
                release(lock_fd)
        finally:
            files.close(lock_fd)
    finally:
        cleaner.close()
    return report


def dirty_ratio(partition: PartitionFiles, state: PartitionState) -> float:
    """Return which part of the bytes of the sealed segments was not compacted yet, by their sizes alone."""
    first_dirty = CleanerCheckpoint.read(partition.fd, state.cleaned_to).first_dirty_offset
    segments = _sealed(partition, state)
    total = sum(segment.size_bytes for segment in segments)
    return (
        sum(segment.size_bytes for segment in segments if segment.next_offset > first_dirty) / total if total else 0.0
    )


def has_due_tombstones(partition: PartitionFiles, state: PartitionState) -> bool:
    """Tell whether tombstones that the last compaction left may go by now."""
    checkpoint = CleanerCheckpoint.read(partition.fd, state.cleaned_to)
    return checkpoint.tombstones_below(_horizon(partition, checkpoint, state))


def _horizon(partition: PartitionFiles, checkpoint: CleanerCheckpoint, state: PartitionState) -> int:
    """Return below which offset tombstones may go: all that they delete went when the log was cleaned up to there."""
    if not _clock_is_believed(partition, state):
        return 0
    horizon = checkpoint.cleaned_before(_retained_since(partition))
    hold = group_hold(partition) if horizon else None
    return horizon if hold is None else min(horizon, hold.offset)


def _clock_is_believed(partition: PartitionFiles, state: PartitionState) -> bool:
    """Tell whether the clock says how long a tombstone has stood; see clock_record."""
    last_seen_ms = state.began_ms or clock.now_ms()
    return clock_record.look(partition.topic.directory, last_seen_ms).is_believed


def _retained_since(partition: PartitionFiles) -> int:
    return clock.now_ms() - int(partition.topic.config("delete.retention.ms"))


class _Segment:
    """A sealed segment as it was when we looked: it covers offsets from base_offset up to next_offset, that one excluded."""

    __slots__ = ("base_offset", "last_write_ns", "next_offset", "size_bytes")

    def __init__(self, base_offset: int, next_offset: int, size_bytes: int, last_write_ns: int) -> None:
        self.base_offset = base_offset
        self.next_offset = next_offset
        self.size_bytes = size_bytes
        self.last_write_ns = last_write_ns


def _sealed(partition: PartitionFiles, state: PartitionState) -> list[_Segment]:
    """Return the sealed segments that hold records, ascending."""
    bases = [base for base in list_segments(partition.fd) if base <= state.segment]
    found = []
    for base, following in zip(bases, bases[1:], strict=False):
        if following > state.log_start_offset:
            try:
                status = os.stat(segment_name(base), dir_fd=partition.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # Removed since they were listed.
            found.append(_Segment(base, following, status.st_size, status.st_mtime_ns))
    return found


class _ChangedMeanwhile(Exception):
    """Somebody removed, replaced or cut what is being cleaned. What was done so far is whole; the rest is left alone."""


class LogCleaner(PartitionCleaner):
    """One partition, open for compaction by the one who holds its cleaner's lock."""

    __slots__ = ()

    def compact(
        self, report: CompactionReport, *, seal_active: bool, min_dirty_ratio: float, progress: Progress | None
    ) -> None:
        """See `compact`. Raises only what is raised before anything was done."""
        with held_log(self, fix=WAIT):
            self._look()  # Not where the disk has refused a sync.
            state = self._state()
            # Where nothing goes by its age nobody else does: behind a leap no tombstone would seem too young to the next one.
            clock_record.look_and_record(self._files.topic.directory, state.began_ms or clock.now_ms())
            if seal_active and self._leads() and state.written.position:
                state = self._refresh()
                if state.written.position:
                    state = self._roll(state)
            self._remove_leftovers()
        try:
            self._compact(state, report, min_dirty_ratio, progress)
        except _ChangedMeanwhile:
            report.skipped = CHANGED
        except MkError as error:
            report.error = error
        except OSError as error:
            report.error = self._refused(error)
        finally:
            self._remove_leftovers()

    def _compact(
        self, state: PartitionState, report: CompactionReport, min_dirty_ratio: float, progress: Progress | None
    ) -> None:
        segments = self._cleanable(state)
        checkpoint = CleanerCheckpoint.read(self._files.fd, state.cleaned_to)
        first_dirty = max(checkpoint.first_dirty_offset, state.log_start_offset)
        horizon = _horizon(self._files, checkpoint, state)
        report.first_dirty_offset = report.cleaned_to = first_dirty
        report.segments_before = report.segments_after = len(segments)
        report.bytes_before = report.bytes_after = sum(segment.size_bytes for segment in segments)
        dirty_bytes = sum(segment.size_bytes for segment in segments if segment.next_offset > first_dirty)
        if not segments or (not dirty_bytes and not checkpoint.tombstones_below(horizon)):
            report.skipped = IS_CLEAN
            return
        if dirty_bytes < min_dirty_ratio * report.bytes_before and not checkpoint.tombstones_below(horizon):
            report.skipped = (
                f"{dirty_bytes} of {report.bytes_before} bytes are dirty, less than min.cleanable.dirty.ratio"
            )
            return
        told = _Told(progress, dirty_bytes + report.bytes_before)
        while True:
            report.passes += 1
            offset_map, map_end = self._build_map(segments, first_dirty, told)
            result = Compaction(offset_map, horizon=horizon, boundaries=self._boundaries(segments) | {map_end})
            for group in self._groups(segments, map_end):
                self._clean_group(group, result, state, map_end, told)
            with held_log(self, fix=WAIT):
                state = self._unchanged(state)
                if state.cleaned_to < map_end:
                    # Nothing was replaced. It is looked through all the same, and no entry counts for more than this.
                    state = state.copy()
                    state.cleaned_to = map_end
                    write_state(self._files.state_fd, state)
                    files.fdatasync(self._files.state_fd)
                # Of now, when what the tombstones delete is gone.
                is_believed = _clock_is_believed(self._files, state)
                time_ms = clock.now_ms() if is_believed else NO_TIME
                cleaning = Cleaning(time_ms, map_end, horizon, result.tombstones_kept)
                checkpoint = checkpoint.then(cleaning, _retained_since(self._files))
                checkpoint.write(self._files.fd)
            first_dirty = report.cleaned_to = map_end
            if report.passes == 1:
                report.records_before = result.records_before
            report.records_after = result.records_after
            report.tombstones_dropped += result.tombstones_dropped
            end = segments[-1].next_offset
            segments = [segment for segment in _sealed(self._files, state) if segment.base_offset < end]
            report.segments_after = len(segments)
            report.bytes_after = sum(segment.size_bytes for segment in segments)
            if map_end >= end:
                return
            told.restart(report.bytes_after * 2)

    # What is to be cleaned.

    def _cleanable(self, state: PartitionState) -> list[_Segment]:
        """Return the sealed segments in front of the first one with a record younger than min.compaction.lag.ms."""
        segments = _sealed(self._files, state)
        lag_ms = int(self._files.topic.config("min.compaction.lag.ms"))
        if lag_ms:
            now_ms = clock.now_ms()
            for at, segment in enumerate(segments):
                last_write_ms = segment.last_write_ns // 1_000_000
                time_ms = largest_timestamp(self._files, segment.base_offset, segment.next_offset, last_write_ms)
                if time_ms < 0 or time_ms > now_ms + FUTURE_MS:
                    # No time of a record, as in retention: one of a year to come would keep all behind it until then.
                    time_ms = min(last_write_ms, now_ms)
                if time_ms > now_ms - lag_ms:
                    return segments[:at]
        return segments

    def _boundaries(self, segments: Sequence[_Segment]) -> set[int]:
        """Return where a batch must end if one does: where segments begin, and where the logs of followers end, who would
        otherwise find no batch that they can go on with, and fetch all anew."""
        from mk.storage.replica_directory import follower_ends

        topic = self._files.topic
        ends = follower_ends(topic.directory, topic.topic_id, self._files.partition)
        return {segment.next_offset for segment in segments}.union(ends)

    def _build_map(self, segments: Sequence[_Segment], first_dirty: int, told: _Told) -> tuple[OffsetMap, int]:
        """Return the keys of the dirty part, and up to which offset there was room for them."""
        offset_map = OffsetMap()
        end = first_dirty
        for segment in segments:
            if segment.next_offset <= first_dirty:
                continue
            fd = self._open(segment)
            try:
                for batch, data in self._batches(fd, segment):
                    told.add(len(data))
                    if batch.next_offset > first_dirty:
                        try:
                            if not offset_map.take(batch):
                                return offset_map, end
                        except CodecError as error:
                            raise self._damaged(segment, batch.position, batch.base_offset, str(error)) from None
                        end = batch.next_offset
            finally:
                files.close(fd)
        return offset_map, max(end, segments[-1].next_offset if segments else 0)

    def _groups(self, segments: Sequence[_Segment], map_end: int) -> Iterator[list[_Segment]]:
        """Yield neighbours that together are no larger than a segment may be."""
        limit = int(self._files.topic.config("segment.bytes"))
        group: list[_Segment] = []
        size_bytes = 0
        for segment in segments:
            if segment.base_offset >= map_end:
                break
            is_far = group and segment.next_offset - group[0].base_offset > offset_index.MAX_RELATIVE
            if group and (size_bytes + segment.size_bytes > limit or is_far or len(group) == _LARGEST_GROUP):
                yield group
                group, size_bytes = [], 0
            group.append(segment)
            size_bytes += segment.size_bytes
        if group:
            yield group

    def _open(self, segment: _Segment) -> int:
        try:
            return open_segment(segment.base_offset, partition_fd=self._files.fd)
        except FileNotFoundError:
            raise _ChangedMeanwhile from None

    def _batches(self, fd: int, segment: _Segment) -> Iterator[tuple[RecordBatch, memoryview]]:
        """Yield the batches of a segment, each proved by its checksums, with all its bytes."""
        position, offset = 0, segment.base_offset
        start, data = 0, b""
        while offset < segment.next_offset:
            at = position - start
            if at + HEADER_SIZE > len(data):
                start, at, data = position, 0, files.pread(fd, _PIECE, position)
            batch = parse_header(data, at)
            if batch is None or batch.base_offset != offset:
                refuse_newer(fd, position, offset, self._files.segment_path(segment.base_offset))
                found = (
                    "there is no batch header" if batch is None else f"the batch there begins at {batch.base_offset}"
                )
                raise self._damaged(segment, position, offset, found)
            if at + batch.size_bytes > len(data):
                start, at, data = position, 0, files.pread(fd, max(_PIECE, batch.size_bytes), position)
            whole = memoryview(data)[at : at + batch.size_bytes]
            if not batch.check_payload(whole[HEADER_SIZE:]):
                raise self._damaged(segment, position, offset, "the batch there has another checksum than its bytes")
            batch.position = position
            yield batch, whole
            position += batch.size_bytes
            offset = batch.next_offset

    def _damaged(self, segment: _Segment, position: int, offset: int, found: str) -> CorruptBatchError:
        path = self._files.segment_path(segment.base_offset)
        return CorruptBatchError(path=path, position=position, offset=offset, found=found)

    # Cleaning.

    def _clean_group(
        self, group: Sequence[_Segment], result: Compaction, state: PartitionState, map_end: int, told: _Told
    ) -> None:
        """Write what stays of some segments beside them, and put it in their place if it is not the same."""
        fds = []
        try:
            for segment in group:
                fds.append(self._open(segment))
            self._files.check_room(sum(segment.size_bytes for segment in group))
            new = _CleanedSegment(self._files, group[0].base_offset)
            try:
                for segment, fd in zip(group, fds, strict=True):
                    for batch, data in self._batches(fd, segment):
                        told.add(len(data))
                        try:
                            for compacted in result.add(batch, data):
                                new.append(compacted)
                        except CodecError as error:
                            raise self._damaged(segment, batch.position, batch.base_offset, str(error)) from None
                    # One that the last segment's end does not close is held back no further than that.
                    for compacted in result.flush():
                        new.append(compacted)
                if len(group) > 1 or new.is_changed:
                    new.finish(max(segment.last_write_ns for segment in group))
                    self._swap(group, fds, new, result.dropped_to, map_end, state)
            finally:
                new.close()
        finally:
            for fd in fds:
                files.close(fd)

    def _swap(
        self,
        group: Sequence[_Segment],
        fds: Sequence[int],
        new: _CleanedSegment,
        tombstones_dropped_to: int,
        map_end: int,
        before: PartitionState,
    ) -> None:
        first, end, dir_fd = group[0].base_offset, group[-1].next_offset, self._files.fd
        with held_log(self, fix=WAIT):
            state = self._unchanged(before).copy()
            if end not in list_segments(dir_fd):
                raise _ChangedMeanwhile
            for segment, fd in zip(group, fds, strict=True):
                # Ours are open, so no new file can have got one's number.
                if not _is_at(segment_name(segment.base_offset), fd, dir_fd):
                    raise _ChangedMeanwhile
            # While the headers are there of which it may have to be made: a covering batch does not say whose its records were.
            ensure_snapshot(self._files, end)
            snapshot = read_snapshot(self._files, first)
            if snapshot is not None and snapshot.position:
                # Of a place within the segment, which will be another one.
                _unlink_if_there(segment_name(first, PRODUCERS_SUFFIX), dir_fd)
            # All that had a say in which records go, also where no batch is another yet: if the log is cut back below it to
            # follow another one, what went because of records that are cut off has to come back.
            state.cleaned_to = max(state.cleaned_to, end, map_end)
            state.tombstones_dropped_to = max(state.tombstones_dropped_to, tombstones_dropped_to)
            # On disk before the first byte is another: a copy that took our word for older bytes would go on behind them.
            write_state(self._files.state_fd, state)
            files.fdatasync(self._files.state_fd)
            # The index goes first: none is better than one of other positions.
            _unlink_if_there(segment_name(first, INDEX_SUFFIX), dir_fd)
            name = segment_name(first)
            files.rename(name + CLEANED_SUFFIX, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            files.fsync(dir_fd)
            index = segment_name(first, INDEX_SUFFIX)
            files.rename(index + CLEANED_SUFFIX, index, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            # In this order, also on disk: the new segment covers each of them up to the first one that is still there, and
            # one that is there in front of one that is gone would end in a hole.
            for segment in group[1:]:
                for suffix in (LOG_SUFFIX, INDEX_SUFFIX, PRODUCERS_SUFFIX):
                    _unlink_if_there(segment_name(segment.base_offset, suffix), dir_fd)
                files.fsync(dir_fd)
            # Again, for whoever began to check the log after the first time, and found a segment gone.
            write_state(self._files.state_fd, state)

    def _unchanged(self, before: PartitionState) -> PartitionState:
        """Return `state` as it is now, under the lock. Raises _ChangedMeanwhile if the log was cut back since."""
        state = self._state()
        if state.cuts != before.cuts or state.topic_id != before.topic_id or state.segment < before.segment:
            raise _ChangedMeanwhile
        return state

    def _refused(self, error: OSError) -> StorageError:
        path = files.place_of(error, self._files.path)
        return StorageError(
            f"cannot compact {self._files.path}",
            why=f"{path}: {os.strerror(error.errno or 0)}",
            fix="make room, or look at the disk (dmesg), then run it again; the log is whole, with what was not compacted yet",
            path=self._files.path,
        )

    def _remove_leftovers(self) -> None:
        """Remove what a killed cleaner left: we hold its lock."""
        for name in os.listdir(self._files.fd):
            if name.endswith(CLEANED_SUFFIX) and name[:20].isdecimal():
                _unlink_if_there(name, self._files.fd)


class _CleanedSegment:
    """A segment that is being written, with its index. Until it is put in its place it is no part of the log."""

    __slots__ = (
        "_base_offset",
        "_entries",
        "_fd",
        "_files",
        "_max_timestamp",
        "_next_offset",
        "_position",
        "_told",
        "is_changed",
    )

    def __init__(self, partition: PartitionFiles, base_offset: int) -> None:
        self._files = partition
        self._base_offset = self._next_offset = base_offset
        self._position = self._told = 0
        self._max_timestamp = -1
        self._entries: list[bytes] = []
        self.is_changed = False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._fd = files.open_file(segment_name(base_offset) + CLEANED_SUFFIX, flags, dir_fd=partition.fd)

    def append(self, batch: CompactedBatch) -> None:
        if files.append(self._fd, batch.data) != batch.size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        position, self._position = self._position, self._position + batch.size_bytes
        self._next_offset = batch.next_offset
        self._max_timestamp = max(self._max_timestamp, batch.max_timestamp)
        self.is_changed = self.is_changed or batch.is_new
        if offset_index.entry_due(position, self._position):
            self._add_entry()
        if self._position - self._told >= _WRITEBACK_BYTES:
            files.begin_writeback(self._fd, self._told, self._position - self._told)
            self._told = self._position

    def _add_entry(self) -> None:
        relative = self._next_offset - self._base_offset
        if relative <= offset_index.MAX_RELATIVE:
            self._entries.append(offset_index.ENTRY.pack(relative, self._position, self._max_timestamp))

    def finish(self, last_write_ns: int) -> None:
        """Put it on disk. Its last write is that of what it replaces: retention goes by it."""
        self._add_entry()
        files.set_last_write(self._fd, last_write_ns)
        files.fdatasync(self._fd)
        name = segment_name(self._base_offset, INDEX_SUFFIX) + CLEANED_SUFFIX
        files.write_new_file(name, b"".join(self._entries), dir_fd=self._files.fd)

    def close(self) -> None:
        """Let go of it, and remove it unless it was put in its place."""
        files.close(self._fd)
        for suffix in (LOG_SUFFIX, INDEX_SUFFIX):
            _unlink_if_there(segment_name(self._base_offset, suffix) + CLEANED_SUFFIX, self._files.fd)


class _Told:
    """Tells how far the work has come."""

    __slots__ = ("_done", "_progress", "_total")

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._done, self._total = 0, total

    def add(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)

    def restart(self, total: int) -> None:
        self._done, self._total = 0, total


def _is_at(name: str, fd: int, dir_fd: int) -> bool:
    ours = os.fstat(fd)
    try:
        there = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (ours.st_ino, ours.st_dev) == (there.st_ino, there.st_dev)


def _unlink_if_there(name: str, dir_fd: int) -> None:
    try:
        files.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        pass
