"""Reading a partition for a copy: whole batches as they stand, many at once, not decoded and not checked.

Up to the high watermark, without a lock, from sealed and active segments alike. Only headers are looked at, to tell where a
batch ends; whoever stores the bytes proves them. What is here decides nothing about the copy.
"""

from __future__ import annotations

import os

from mk.errors import CorruptBatchError, CorruptStateError, OffsetOutOfRangeError, TryAgainError
from mk.records.record_batch import COMPACTED, HEADER_SIZE, parse_any_header, parse_header
from mk.storage import files, offset_index
from mk.storage.host import boot_id
from mk.storage.log_segment import PRODUCERS_SUFFIX, UNKNOWN_CHAIN, list_segments, open_segment, segment_name
from mk.storage.log_truncation import read_truncation
from mk.storage.partition_reader import PartitionReader
from mk.storage.partition_state import LogEnd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record_batch import RecordBatch
    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.log_truncation import Truncation

PIECE_BYTES = 2 << 20
_MAX_SNAPSHOT_BYTES = 1 << 28
_TRIES = 3


class Piece:
    """Whole batches of one segment, one behind the other. data: valid until the next piece is asked for.

    segment: its base offset. position: of the first byte, in the segment.
    """

    __slots__ = ("base_offset", "data", "next_offset", "position", "segment")

    def __init__(self, segment: int, position: int, base_offset: int, next_offset: int, data: memoryview) -> None:
        self.segment = segment
        self.position = position
        self.base_offset = base_offset
        self.next_offset = next_offset
        self.data = data


class CopyReader(PartitionReader):
    """One partition, open for being copied or compared. Others append, roll and remove segments meanwhile."""

    __slots__ = ()

    def epochs(self) -> LeaderEpochs:
        return self._read_epochs()

    def truncation(self) -> Truncation | None:
        """Return what a killed process was about to leave of this log, None if nothing of the kind is there."""
        return read_truncation(self._files.fd, self._files.path)

    def first_offset(self) -> int:
        """Return the base of the segment that holds the log start."""
        return self._floor(self.log_start_offset)

    def end_chain(self) -> int:
        """Return the chain of the batch that ends at the high watermark; UNKNOWN_CHAIN if it cannot be told."""
        chain = self.chain_at(self.high_watermark)
        return UNKNOWN_CHAIN if chain is None else chain

    def chain_at(self, offset: int) -> int | None:
        """Return the chain of the batch that ends at `offset`; UNKNOWN_CHAIN if it is gone, None if no batch ends there."""
        if offset == 0:
            return 0
        if self.state.boot_id == boot_id() and self.state.written.offset == offset:
            return self.state.written.chain
        if self.state.durable.offset == offset:
            return self.state.durable.chain
        if offset > self.high_watermark:
            return None
        bases = self._bases()
        base = max((base for base in bases if base < offset), default=-1)
        if base < 0:
            return UNKNOWN_CHAIN
        try:
            fd = open_segment(base, partition_fd=self._files.fd)
        except FileNotFoundError:
            return UNKNOWN_CHAIN  # Removed while we looked.
        try:
            position, batch = self._locate(fd, base, offset - 1)
            if batch is None:
                self._refuse(base, position, offset - 1, "there is no batch header")
            assert batch is not None
            return batch.chain if batch.next_offset == offset else None
        finally:
            files.close(fd)

    def pieces(self, from_offset: int, to_offset: int) -> Iterator[Piece]:
        """Yield the batches from one offset up to another, both between two batches, in pieces of about 2 MiB.

        Raises OffsetOutOfRangeError if they are there no longer.
        """
        offset = from_offset
        while offset < to_offset:
            base = self._open_for_copy(offset)
            try:
                for piece in self._pieces_of(base, offset, to_offset):
                    yield piece
                    offset = piece.next_offset
            finally:
                self._close_segment()

    def extents(self, from_offset: int, to_offset: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield of each segment's batches in between: base of the segment, first offset, next offset, and from where to where
        they stand in the file."""
        offset = from_offset
        while offset < to_offset:
            base = self._open_for_copy(offset)
            try:
                stop = min(self._segment_end, to_offset) if self._segment_end >= 0 else to_offset
                found = base, offset, stop, self._position_between(base, offset), self._position_between(base, stop)
            finally:
                self._close_segment()
            yield found
            offset = stop

    def bytes_of(self, base: int, position: int, stop: int) -> Iterator[memoryview]:
        """Yield the bytes of a segment between two positions; each piece is valid until the next one is asked for."""
        fd = open_segment(base, partition_fd=self._files.fd)
        try:
            while position < stop:
                view = self._buffer.view(min(PIECE_BYTES, stop - position), 0)
                count = os.preadv(fd, [view], position)
                if count == 0:
                    self._refuse(base, position, base, "the segment ends there")
                yield view[:count]
                position += count
        finally:
            files.close(fd)

    def producers_of(self, base_offset: int) -> bytes:
        """Return the snapshot of a segment's producers, b"" if it has none.

        In a topic that never had a producer with an id it is known all the same, behind the segment's first batch, or at its
        start if it is empty: a copy may have had one, of an old leader, and could not say then what is stored.
        """
        if not self._files.topic.has_producers():
            return self._no_producers(base_offset)
        try:
            name = segment_name(base_offset, PRODUCERS_SUFFIX)
            return files.read_file(name, dir_fd=self._files.fd, max_bytes=_MAX_SNAPSHOT_BYTES)
        except FileNotFoundError:
            return b""

    def lacks_producers(self, chain: int) -> bool:
        """Tell whether nobody can say what is stored of producer ids: in a log that has no batch but its start, or ends in
        batches that were compacted somewhere else, of which the snapshot did not come.

        chain: with which it goes on there.
        """
        from mk.storage.producer_state import knows_end, knows_start

        if not self._files.topic.has_producers():
            return False
        state = self.state
        if self.high_watermark == state.segment:
            return not knows_start(self._files, LogEnd(0, self.high_watermark, chain, -1))
        return state.cleaned_to > state.segment and not knows_end(self._files, state)

    def _no_producers(self, base_offset: int) -> bytes:
        from mk.storage.producer_state import ProducerState

        try:
            fd = open_segment(base_offset, partition_fd=self._files.fd)
        except FileNotFoundError:
            return b""
        try:
            batch = parse_header(files.pread(fd, HEADER_SIZE, 0))
        finally:
            files.close(fd)
        if batch is None and base_offset == self.high_watermark:
            return ProducerState(base_offset, 0, base_offset, self.end_chain(), {}).encode()
        if batch is None or batch.producer_id:
            return b""
        return ProducerState(base_offset, batch.size_bytes, batch.next_offset, batch.chain, {}).encode()

    def _bases(self) -> list[int]:
        return [base for base in list_segments(self._files.fd) if base <= self.active_segment]

    def _open_for_copy(self, offset: int) -> int:
        """Open the segment that holds `offset`, and return its base."""
        for _ in range(_TRIES):
            base = self._floor(offset)
            try:
                if base <= offset:
                    self.segment_fd = open_segment(base, partition_fd=self._files.fd)
                    self._segment = base
                    self._find_segment_end()
                    return base
            except FileNotFoundError:
                pass  # Removed between the listing and the opening.
            self.check_topic()
            self.refresh()
        if offset < max(self.log_start_offset, self._floor(offset)):
            raise OffsetOutOfRangeError(
                topic=self._files.topic.name,
                partition=self.partition,
                offset=offset,
                log_start_offset=self.log_start_offset,
                log_end_offset=self.high_watermark,
                fix="it was removed while it was to be read; run the same command again",
            )
        raise CorruptStateError(
            path=self._files.segment_path(self._floor(offset)), found=f"it is missing, and should hold offset {offset}"
        )

    def _pieces_of(self, base: int, offset: int, to_offset: int) -> Iterator[Piece]:
        """Yield the pieces of the open segment from `offset` on."""
        position = self._position_between(base, offset)
        if self._segment_end >= 0:
            to_offset = min(to_offset, self._segment_end)
        failures, wanted = 0, PIECE_BYTES
        while offset < to_offset:
            data = self._read_at(position, wanted)
            is_last = len(data) < wanted
            size, next_offset, wanted, fault = self._whole_batches(data, offset, to_offset, is_last)
            if size:
                yield Piece(base, position, offset, next_offset, data[:size])
                position, offset, failures = position + size, next_offset, 0
            elif fault:
                # It may be a file that was replaced: look again with new eyes, by its name.
                failures += 1
                if failures == _TRIES:
                    self._refuse(base, position, offset, fault)
                self._close_segment()
                self.refresh()
                if self._open_for_copy(offset) != base:
                    return
                position = self._position_between(base, offset)

    def _whole_batches(self, data: memoryview, offset: int, to_offset: int, is_last: bool) -> tuple[int, int, int, str]:
        """Follow the headers in `data`, which begins at `offset`; is_last: nothing comes behind it in the file.

        Returns the bytes of the whole batches and the offset behind them, how much to read next, and what is wrong with the
        first one if there is none.
        """
        at = 0
        while offset < to_offset:
            batch = parse_header(data, at)
            if batch is None:
                return at, offset, PIECE_BYTES, "there is no batch header"
            if batch.base_offset != offset:
                return at, offset, PIECE_BYTES, f"the batch there begins at offset {batch.base_offset}"
            if batch.next_offset > to_offset:
                return at, offset, PIECE_BYTES, f"the batch there goes beyond offset {to_offset}"
            if len(data) - at < batch.size_bytes:
                wanted = PIECE_BYTES if at else batch.size_bytes
                return at, offset, wanted, "the batch there is cut short" if is_last else ""
            at += batch.size_bytes
            offset = batch.next_offset
        return at, offset, PIECE_BYTES, ""

    def _read_at(self, position: int, size_bytes: int) -> memoryview:
        view = self._buffer.view(size_bytes, 0)
        count = 0
        while count < size_bytes:
            got = os.preadv(self.segment_fd, [view[count:]], position + count)
            if got == 0:
                break
            count += got
        return view[:count]

    def _position_between(self, base: int, offset: int) -> int:
        """Return where in the open segment the batch that begins at `offset` starts, or the one before it ends."""
        if offset == base:
            return 0
        position, batch = self._locate(self.segment_fd, base, offset - 1)
        if batch is not None and batch.next_offset > offset and batch.attributes & COMPACTED:
            # Since it was looked at: whoever looks again finds that the copy cannot go on there.
            raise TryAgainError(
                f"partition {self.partition} of {self._files.topic.name} was compacted while it was copied",
                why=f"offset {offset} lies within a batch now that covers offsets {batch.base_offset} to {batch.next_offset - 1}",
                fix="run the same command again; what is copied is whole",
            )
        if batch is None or batch.next_offset != offset:
            self._refuse(base, position, offset, "no batch begins there")
        assert batch is not None
        return position + batch.size_bytes

    def _locate(self, fd: int, base: int, offset: int) -> tuple[int, RecordBatch | None]:
        """Return the batch of a segment that holds `offset`, and where it starts; None if there is none."""
        start = (0, 0)
        index_fd = self._files.open_index(base)
        if index_fd >= 0:
            try:
                start = offset_index.lookup_offset(index_fd, offset - base)
            finally:
                files.close(index_fd)
        for relative, position in (start, (0, 0)):
            expected = base + relative
            while True:
                batch = parse_any_header(files.pread(fd, HEADER_SIZE, position))
                if batch is None or batch.base_offset != expected:
                    break
                if batch.next_offset > offset:
                    return position, batch
                position += batch.size_bytes
                expected = batch.next_offset
        return position, None

    def _refuse(self, base: int, position: int, offset: int, fault: str) -> None:
        self.check_topic()
        self.next_offset = offset
        self._refuse_newer(base, position)
        raise CorruptBatchError(
            path=self._files.segment_path(base),
            position=position,
            offset=offset,
            found=fault,
            readable_from=self._readable_from(base, position, offset),
        )
