"""Reading one partition: without a lock, without write permission, up to the high watermark and never beyond.

Others append, roll and remove segments meanwhile. A header or payload that does not prove itself is forgotten and read
again from a newly opened file; it is damage only if it still does not prove itself below the high watermark.
"""

from __future__ import annotations

import os
import time
from _bisect import bisect_left

from mk.errors import CorruptBatchError, CorruptStateError, DataError, OffsetOutOfRangeError
from mk.records.record_batch import HEADER_SIZE, parse_any_header, parse_header
from mk.storage import files, offset_index
from mk.storage.host import boot_id
from mk.storage.log_segment import (
    list_segments,
    open_segment,
    refuse_newer,
    segment_name,
    validate,
)
from mk.storage.partition_files import TRUNCATION_FILE, PartitionFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record_batch import RecordBatch
    from mk.storage.backward_reader import StoredBatch
    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.partition_state import PartitionState
    from mk.storage.topic import Topic

_FIRST_READ = 64 << 10
"""What one read asks for: many small batches at once, or the front of a large one, whose rest is then read exactly."""


_LOOKS = 3
_LOOK_PAUSE_SECONDS = 0.01


class ReadBuffer:
    """Memory for one fetch, shared by readers of which only one fetch is in use at a time."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def view(self, size_bytes: int, keep_bytes: int) -> memoryview:
        """Return room for `size_bytes`, the first `keep_bytes` as they were. It grows, and does not shrink."""
        if len(self._data) < size_bytes:
            larger = bytearray(size_bytes)
            larger[:keep_bytes] = memoryview(self._data)[:keep_bytes]
            self._data = larger
        return memoryview(self._data)[:size_bytes]


class PartitionReader:
    """One partition, open for reading at `next_offset`.

    state, log_start_offset, high_watermark: as of the last `refresh`. skipped: ranges of offsets, both ends included, that were
    removed before they could be read; the caller reports and clears them.
    """

    __slots__ = (
        "_listing",
        "_buffer",
        "_cuts",
        "_files",
        "_leader_epoch",
        "_position",
        "_seen",
        "_segment",
        "_segment_end",
        "_sequence",
        "_validated",
        "active_segment",
        "high_watermark",
        "log_start_offset",
        "next_offset",
        "segment_fd",
        "skipped",
        "state",
    )

    def __init__(self, topic: Topic, partition: int, buffer: ReadBuffer | None = None) -> None:
        self._files = PartitionFiles(topic, partition, os.O_RDONLY)
        self._buffer = buffer or ReadBuffer()
        self._segment = self.segment_fd = -1
        self._segment_end = -1  # offset at which a sealed segment ends; -1 for the active one
        self._listing: list[int] = []  # the segments as they were last listed; [] once that may mislead
        self._position = 0
        self._seen: PartitionState | None = None  # All that follows from it is done.
        self._sequence = -1
        self._validated = -1
        self._leader_epoch = self._cuts = 0
        self.active_segment = 0
        self.log_start_offset = self.high_watermark = self.next_offset = 0
        self.skipped: list[tuple[int, int]] = []
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise
        self.next_offset = self.log_start_offset

    @property
    def partition(self) -> int:
        return self._files.partition

    def close(self) -> None:
        self._close_segment()
        self._files.close()

    def refresh(self) -> bool:
        """Read `state` again. Returns whether there is now something to read at `next_offset`.

        Raises:
            DataError: the log was cut below what this reader has been given: records that were acknowledged without a
                sync, or that the directory did not have that was promoted to lead. Never silently.
        """
        state = self._files.wait_for_state(self._seen)
        if state is self._seen:
            return self.next_offset < self.high_watermark
        self.state = state
        if state.sequence >= self._sequence:
            high_watermark = self._high_watermark_of(state)
            self.log_start_offset = max(self.log_start_offset, state.log_start_offset)
            if state.segment != self.active_segment:
                self.active_segment = state.segment
                self._find_segment_end()
            self._sequence = state.sequence
            epoch, self._leader_epoch = self._leader_epoch, state.leader_epoch
            cuts, self._cuts = state.cuts - self._cuts, state.cuts
            if state.leader_epoch > epoch or cuts:
                # The open file may be one that was given up: what stands there at our next offset is no longer the log.
                self._close_segment()
                self.high_watermark = high_watermark
                if cuts:
                    self.log_start_offset = state.log_start_offset  # It may begin anew, and earlier.
                if self.next_offset:
                    self._refuse_truncation(epoch, cuts, state.cut_offset)
            self.high_watermark = max(self.high_watermark, high_watermark)
        self._seen = state
        return self.next_offset < self.high_watermark

    def seek(self, offset: int) -> None:
        """Go to `offset`, which may be the end. Raises OffsetOutOfRangeError for one that was never written."""
        if not 0 <= offset <= self.high_watermark:
            raise OffsetOutOfRangeError(
                topic=self._files.topic.name,
                partition=self.partition,
                offset=offset,
                log_start_offset=self.log_start_offset,
                log_end_offset=self.high_watermark,
            )
        self._close_segment()
        self.next_offset = offset

    def fetch(self) -> list[RecordBatch]:
        """Read the next whole batches, their payloads checked; [] at the high watermark.

        The first one may begin before `next_offset`, if that lies inside it; the caller drops the records before it.
        Payloads are views of a buffer that the next call uses again. `segment_fd` is the file they came from.
        """
        if self.next_offset >= self.high_watermark and not self.refresh():
            return []
        if self.next_offset < self.log_start_offset:
            self._close_segment()
        for attempt in range(3):
            if 0 <= self._segment_end <= self.next_offset:
                listing = self._listing
                self._close_segment()
                self._listing = listing
            if self.segment_fd < 0 and not self._open_at(self.next_offset):
                return []
            batches, fault = self._read_batches()
            if batches:
                self.next_offset = batches[-1].next_offset
                return batches
            # It may be a half-seen write, or a file that was replaced: look again with new eyes.
            position = self._position
            self._close_segment()
            self.refresh()
            if self.next_offset >= self.high_watermark:
                return []
            if self.next_offset < self.log_start_offset:
                return self.fetch()  # Removed before our eyes: that is no damage.
            if attempt:
                time.sleep(0.01 * attempt)
        base = self._floor(self.next_offset)
        self._refuse_newer(base, position)
        raise CorruptBatchError(
            path=self._files.segment_path(base),
            position=position,
            offset=self.next_offset,
            found=fault,
            readable_from=self._readable_from(base, position, self.next_offset),
        )

    def fetch_raw(self) -> tuple[memoryview, str, int]:
        """Do what fetch does, and return the batches as they stand, the segment's path and their position in it."""
        batches = self.fetch()
        size_bytes = sum(batch.size_bytes for batch in batches)
        raw = self._buffer.view(size_bytes, size_bytes)
        return (raw, self.segment_path, batches[0].position) if batches else (raw, "", 0)

    def offset_for_time(self, timestamp_ms: int, from_offset: int = 0) -> int:
        """Return the first offset whose record's time is `timestamp_ms` or later; the high watermark if there is none.

        Reads an index entry or two of each segment, and the headers behind one of them; never the log. What is below the
        log start, or `from_offset`, does not count, even where it is still there.
        """
        from mk.storage.time_lookup import offset_for_time

        start = max(self.log_start_offset, from_offset)
        return offset_for_time(self._files, self.active_segment, start, self.high_watermark, timestamp_ms)

    def size_from(self, offset: int) -> int:
        """Return the bytes that the log takes from the batch on that holds `offset`."""
        self.seek(offset)
        if offset >= self.high_watermark or not self._open_at(offset):
            return 0
        size_bytes = -self._position
        for base in list_segments(self._files.fd):
            if self._segment <= base <= self.active_segment:
                try:
                    size_bytes += os.stat(segment_name(base), dir_fd=self._files.fd, follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # Removed while we looked.
        return max(size_bytes, 0)

    def batches_backward(self, end_offset: int) -> Iterator[StoredBatch]:
        """Yield the batches that begin below `end_offset`, at most the high watermark, the last one first."""
        from mk.storage.backward_reader import batches_backward

        return batches_backward(self._files, self.active_segment, end_offset)

    def end_of_epoch(self, leader_epoch: int) -> int | None:
        """Return up to where who has read a record of an epoch can have read this log; None if to its end."""
        epochs = self._files.topic.read_epochs(self.partition)
        if not epochs.has(leader_epoch):
            self.refresh()  # `state` tells of a cut, and was read before `epochs`.
        return epochs.ends(self.state.cuts, self.state.cut_offset)(leader_epoch)

    @property
    def leader_epoch(self) -> int:
        return self._leader_epoch

    @property
    def watch_path(self) -> str:
        """A path to watch for changes of `state`, true also after a rename."""
        return f"/proc/self/fd/{self._files.state_fd}"

    @property
    def segment_path(self) -> str:
        return self._files.segment_path(self._segment)

    # Where the log ends.

    def _high_watermark_of(self, state: PartitionState) -> int:
        """Return the high watermark, which a `state` from before a reboot does not know.

        What was in memory then is gone, and what is readable now is on disk: follow it from the durable end. Then look
        at `state` again: if a writer has recovered meanwhile, it may have cut and rewritten what we just saw.
        """
        while state.boot_id != boot_id():
            if state.sequence == self._validated:
                return self.high_watermark
            try:
                # Before the segment: whoever finishes a cut removes the record of it last.
                cut = self._cut_that_was_broken_off(state)
                is_told = cut is not None and cut.cuts == state.cuts
                fd = -1 if is_told else open_segment(state.segment, partition_fd=self._files.fd)
            except FileNotFoundError:
                fd = -1
            if fd < 0:
                end_offset = state.durable.offset
            else:
                try:
                    floor = self._read_epochs().epoch_before(state.durable.offset)
                    end = validate(fd, state.durable, files.size(fd), floor)[0]
                    refuse_newer(fd, end.position, end.offset, self._files.segment_path(state.segment))
                    end_offset = end.offset
                finally:
                    files.close(fd)
            if cut is not None:
                end_offset = min(end_offset, cut.durable.offset)
            again = self._files.wait_for_state()
            if again.sequence == state.sequence:
                self._validated = state.sequence
                return end_offset
            state = again
        return state.high_watermark

    def _cut_that_was_broken_off(self, state: PartitionState) -> PartitionState | None:
        """Return the `state` with which a cut ends that the power broke off, None if there is no such cut.

        The log ends there, whatever stands behind it, and whether `state` tells of the cut or lost that with the power. Read as a
        tail, what was cut off would be back until somebody finishes the cut, and then nobody who had read it would be told.
        """
        if not files.exists(TRUNCATION_FILE, dir_fd=self._files.fd):
            return None
        from mk.storage.log_truncation import read_truncation

        record = read_truncation(self._files.fd, self._files.path)
        return record.state if record is not None and record.state.cuts >= state.cuts else None

    def _refuse_truncation(self, epoch: int, cuts: int, cut_offset: int) -> None:
        """Raise DataError if the log was cut below what was read, since `epoch` and in so many `cuts`.

        The end alone does not tell: it may have grown beyond the cut again before we looked. Nor has it to be above what was
        read where a copy begins anew with the same records.
        """
        had = self.next_offset
        begun = [entry.first_offset for entry in self._read_epochs().entries if entry.epoch > epoch]
        # Of several cuts we know where the last one was.
        cut_to = min([*begun, cut_offset if cuts else self.high_watermark])
        if cuts > 1:
            cut_to = min(cut_to, self.high_watermark)
        if had > cut_to:
            self.next_offset = cut_to  # For a caller that goes on all the same: nothing is skipped.
            raise DataError(
                f"partition {self.partition} of {self._files.topic.name} was cut back to offset {cut_to}",
                why=(
                    "another directory leads it since, and did not have what came behind"
                    if cuts
                    else "the disk lost records that were acknowledged without a sync"
                )
                + f"; up to {had - 1} had been read",
                fix=f"read on with -o {cut_to}; "
                + ("what was cut is in quarantine/" if cuts else "produce with --acks 1 what must not be lost"),
                offset=cut_to,
                next_offset=had,
            )

    def _read_epochs(self) -> LeaderEpochs:
        from mk.storage.leader_epochs import read_epochs

        try:
            return read_epochs(self._files.fd, self._files.path)
        except CorruptStateError:
            self.check_topic()
            raise

    # Where the segments are.

    def _close_segment(self) -> None:
        if self.segment_fd >= 0:
            files.close(self.segment_fd)
        self._segment = self.segment_fd = self._segment_end = -1
        self._listing = []

    def _floor(self, offset: int) -> int:
        """Return the base offset of the segment that holds `offset`, or of the first one if it is before that."""
        below = [base for base in list_segments(self._files.fd) if base <= self.active_segment]
        return max((base for base in below if base <= offset), default=below[0] if below else 0)

    def _find_segment_end(self) -> None:
        """Learn where the open segment ends: at the base of the next one, whatever bytes may follow that."""
        self._listing = [base for base in list_segments(self._files.fd) if base <= self.active_segment]
        self._segment_end = min((base for base in self._listing if base > self._segment), default=-1)

    def _open_listed(self, offset: int) -> bool:
        """Open the segment that begins at `offset` and ends where the next one begins, both by the last listing.

        To list for each of n segments is to read n times n names. An old listing misleads nobody who goes on from one
        segment to the next: one that was removed, or compacted into another, is not there to be opened, and then we list
        again; one that took the place of several ends later than listed, and what follows is found by another look.
        """
        at = bisect_left(self._listing, offset)
        if at + 1 >= len(self._listing) or self._listing[at] != offset:
            return False
        try:
            self.segment_fd = open_segment(offset, partition_fd=self._files.fd)
        except FileNotFoundError:
            return False
        self._segment, self._segment_end, self._position = offset, self._listing[at + 1], 0
        return True

    def _open_at(self, offset: int) -> bool:
        """Open the segment that holds `offset`, at the batch that does. False if nothing is there to read any more."""
        self.refresh()
        if offset < self.log_start_offset:
            self._skip_to(self.log_start_offset)
            return self._open_at(self.log_start_offset)
        if self._open_listed(offset):
            return self.next_offset < self.high_watermark
        tried, looks = -1, 0
        while True:
            base = self._floor(offset)
            if base > offset and self.log_start_offset <= offset and looks < _LOOKS:
                # A listing made while a compacted segment takes the place of others may lack both.
                looks += 1
                time.sleep(_LOOK_PAUSE_SECONDS)
                self.refresh()
                continue
            try:
                fd = open_segment(base, partition_fd=self._files.fd)
            except FileNotFoundError:
                self.check_topic()
                if base == tried:
                    raise CorruptStateError(
                        path=self._files.segment_path(base), found=f"it is missing, and should hold offset {offset}"
                    ) from None
                tried = base  # Removed between the listing and the opening, as may be the one behind it.
                self.refresh()
                continue
            self._segment = base
            self._find_segment_end()
            if not 0 <= self._segment_end <= offset or looks == _LOOKS:
                break
            # The next one begins there or before, and was not listed: as above.
            files.close(fd)
            looks += 1
        if base > offset or self.log_start_offset > offset:
            # Removed before we got here: say which, go on behind.
            files.close(fd)
            self._skip_to(max(base, self.log_start_offset))
            return self._open_at(self.next_offset)
        self.segment_fd = fd
        self._position = self._position_of(offset)
        return self.next_offset < self.high_watermark

    def _skip_to(self, offset: int) -> None:
        """Go on at `offset`, the first that is still there, and note what was removed before it was read."""
        self.skipped.append((self.next_offset, offset - 1))
        self._close_segment()
        self.next_offset = offset

    def check_topic(self) -> None:
        """Raise NoSuchTopicError if the topic was deleted while we read it."""
        self._files.topic.check_not_deleted()

    def _position_of(self, offset: int) -> int:
        """Return where the batch that holds `offset` starts in the open segment."""
        start = (0, 0)
        if offset > self._segment:
            index_fd = self._files.open_index(self._segment)
            if index_fd >= 0:
                try:
                    start = offset_index.lookup_offset(index_fd, offset - self._segment)
                finally:
                    files.close(index_fd)
        for relative, position in (start, (0, 0)):
            hinted = expected = self._segment + relative
            while expected < offset or expected == hinted:
                batch = parse_any_header(files.pread(self.segment_fd, HEADER_SIZE, position))
                if batch is None or batch.base_offset != expected:
                    break
                if batch.next_offset > offset:
                    return position
                position += batch.size_bytes
                expected = batch.next_offset
            if expected != hinted:
                break  # Otherwise the hint led nowhere: walk from the segment's start.
        # The end of what is written, or damage before `offset`: reading from there tells which.
        self.next_offset = min(expected, offset)
        return position

    def _refuse_newer(self, base: int, position: int) -> None:
        """Raise UnsupportedBatchError if the next batch is there, and only a newer mk can read it."""
        try:
            fd = open_segment(base, partition_fd=self._files.fd)
        except FileNotFoundError:
            return
        try:
            refuse_newer(fd, position, self.next_offset, self._files.segment_path(base))
        finally:
            files.close(fd)

    def _readable_from(self, base: int, position: int, offset: int) -> int:
        """Return the first offset behind damage at `position` where a batch can be found again; -1 if there is none.

        By what writers noted of their batches and not by looking for headers, since a value may hold what looks like one.
        """
        try:
            fd = open_segment(base, partition_fd=self._files.fd)
        except FileNotFoundError:
            return -1
        try:
            batch = parse_header(files.pread(fd, HEADER_SIZE, position))
            if batch is not None and batch.base_offset == offset:
                return batch.next_offset  # Only its payload is damaged.
            index_fd = self._files.open_index(base)
            if index_fd >= 0:
                try:
                    relative, entry_position = offset_index.first_behind(index_fd, position)
                finally:
                    files.close(index_fd)
                batch = parse_header(files.pread(fd, HEADER_SIZE, entry_position))
                if batch is not None and batch.base_offset == base + relative > offset:
                    return batch.base_offset
        finally:
            files.close(fd)
        following = (other for other in list_segments(self._files.fd) if base < other <= self.active_segment)
        return min(following, default=-1)

    # What stands there.

    def _read_batches(self) -> tuple[list[RecordBatch], str]:
        """Read batches from the current position. Returns those that prove themselves, and why the next does not."""
        data = self._read(_FIRST_READ)
        batches: list[RecordBatch] = []
        at, offset = 0, self.next_offset
        fault = "the segment ends there"
        while offset < self.high_watermark:
            if offset >= self._segment_end >= 0:
                fault = "the next segment does not begin there"
                break
            batch = parse_header(data, at)
            if batch is None:
                if len(data) - at >= HEADER_SIZE:
                    fault = "there is no batch header"
                break
            first = not batches and batch.base_offset <= offset < batch.next_offset
            if batch.base_offset != offset and not first:
                fault = f"the batch there begins at offset {batch.base_offset}"
                break
            if batch.next_offset > self.high_watermark:
                fault = "the batch there goes beyond the high watermark"
                break
            size = batch.size_bytes
            if len(data) - at < size:
                if batches:
                    break
                data = self._read(size, len(data))
                if len(data) < size:
                    fault = "the batch there is cut short"
                    break
            if not batch.check_payload(data[at + HEADER_SIZE : at + size]):
                fault = "the batch there has another checksum than its bytes"
                break
            batch.position = self._position + at
            batches.append(batch)
            at += size
            offset = batch.next_offset
        self._position += at
        return batches, fault

    def _read(self, size_bytes: int, have: int = 0) -> memoryview:
        """Read up to `size_bytes` at the current position, of which the first `have` are in the buffer already; where none is,
        what one call brings.
        """
        view = self._buffer.view(size_bytes, have)
        count = have
        while count < size_bytes:
            got = os.preadv(self.segment_fd, [view[count:]], self._position + count)
            count += got
            if got == 0 or have == 0:
                break
        return view[:count]
