"""Following the batches of one segment file to its end, through all damage on the way.

Says what stands there: batches, and faults with how far each reaches. What a fault means (damage, an append that was broken
off, a copy made too early) is for the caller, who knows `state`. No lock; works on any bytes; memory stays at a block, or at
the largest batch that proves itself.
"""

from __future__ import annotations

import os

from mk.records.codecs import CodecError
from mk.records.record_batch import COMPACTED, HEADER_SIZE, parse_any_header
from mk.storage.log_segment import UNKNOWN_CHAIN, find_headers
from mk.storage.partition_reader import ReadBuffer
from mk.storage.partition_state import LogEnd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mk.records.record_batch import RecordBatch

BLOCK_BYTES = 2 << 20
"""What one read asks for. Larger ones fall out of the processor's cache between the read and the checksum."""

_CANDIDATES = 1000
"""Headers that are looked at behind the first whole batch, for one that leads further: a bound on the work where damage is
everywhere."""

# What can be wrong at a place.
NO_BATCH = "no-batch"  # no header, or one of another place
DAMAGED = "damaged"  # the header is right, its payload is not
GAP = "gap"  # a batch further on in the log stands where another one is due
CUT_SHORT = "cut-short"  # the file ends within a batch
NEWER = "newer"  # a batch that a newer mk wrote: it is whole, and what it holds cannot be told
UNLINKED = "unlinked"  # a batch that proves itself, but does not continue the one before it


class Fault:
    """What is wrong at `position`, where `offset` is due. `next_offset` is the first behind it that can be read: -1 if the
    rest of the segment cannot. Unreadable are the offsets in between; none of an unlinked batch.
    """

    __slots__ = ("found", "kind", "next_offset", "offset", "position")

    def __init__(self, kind: str, position: int, offset: int, found: str, next_offset: int) -> None:
        self.kind = kind
        self.position = position
        self.offset = offset
        self.found = found
        self.next_offset = next_offset


class Window:
    """A block of a file, read again only where it does not cover what is asked for."""

    __slots__ = ("_buffer", "_data", "_fd", "_length", "_report", "_start", "stop_position")

    def __init__(self, fd: int, stop_position: int, report: Callable[[int], None] | None, buffer: ReadBuffer) -> None:
        self._fd = fd
        self._buffer = buffer
        self._data = memoryview(b"")
        self._start = self._length = 0
        self._report = report
        self.stop_position = stop_position

    def view(self, position: int, size_bytes: int) -> memoryview:
        """Return the bytes there, fewer only where the file or the part to be read ends. Valid until the next call."""
        size_bytes = max(0, min(size_bytes, self.stop_position - position))
        at = position - self._start
        if at < 0 or at + size_bytes > self._length:
            self._fill(position, size_bytes)
            at = 0
        return self._data[at : min(at + size_bytes, self._length)]

    def _fill(self, position: int, size_bytes: int) -> None:
        wanted = min(max(size_bytes, BLOCK_BYTES), self.stop_position - position)
        self._data = self._buffer.view(max(wanted, 0), 0)
        self._start, self._length = position, 0
        while self._length < wanted:
            count = os.preadv(self._fd, [self._data[self._length :]], position + self._length)
            if count == 0:
                break
            self._length += count
        if self._report is not None:
            self._report(self._length)


class SegmentScan:
    """One pass over the batches of a segment, from `start` to `stop_position` or `stop_offset`, whichever is first.

    position, offset, chain, max_timestamp, leader_epoch: where the pass is, as of the last batch. A chain that is not known,
    at the start or behind damage, is believed.
    """

    __slots__ = (
        "_fd",
        "_hints",
        "_known",
        "_stop_offset",
        "_stop_position",
        "_window",
        "chain",
        "leader_epoch",
        "max_timestamp",
        "offset",
        "position",
    )

    def __init__(
        self,
        fd: int,
        start: LogEnd,
        stop_position: int,
        *,
        leader_epoch: int = -1,
        stop_offset: int | None = None,
        hints: list[tuple[int, int]] | None = None,
        report: Callable[[int], None] | None = None,
        buffer: ReadBuffer | None = None,
    ) -> None:
        """hints: (offset, position) of batches, from the index, ascending: never trusted, but good evidence behind damage.

        report: told of the bytes of each block that is read. buffer: memory to use, which grows.
        """
        self._fd = fd
        self._stop_position = stop_position
        self._stop_offset = stop_offset
        self._hints = hints or []
        self._known = frozenset((place, offset) for offset, place in self._hints)
        self._window = Window(fd, stop_position, report, buffer or ReadBuffer())
        self.position = start.position
        self.offset = start.offset
        self.chain = start.chain
        self.max_timestamp = start.max_timestamp
        self.leader_epoch = leader_epoch

    @property
    def end(self) -> LogEnd:
        return LogEnd(self.position, self.offset, self.chain, self.max_timestamp)

    def run(self) -> Iterator[RecordBatch | Fault]:
        """Yield what stands there, in order: batches that can be read, with payload, and faults.

        A batch's payload is valid until the next step. A fault comes before the batch it is about, if that can be read.
        """
        while self.position < self._stop_position and self.offset != self._stop_offset:
            batch = parse_any_header(self._window.view(self.position, HEADER_SIZE))
            fault = self._fault_of_header(batch)
            if fault is None:
                assert batch is not None
                batch.position = self.position
                fault = self._fault_of_payload(batch)
                if fault is not None:
                    self._step_over(batch)
                    yield fault
                    continue
                if why := self._unlinked(batch):
                    yield Fault(UNLINKED, self.position, self.offset, why, batch.next_offset)
                self.leader_epoch = max(self.leader_epoch, batch.leader_epoch)
                yield batch
                self._step_over(batch)
                continue
            yield fault
            if fault.next_offset < 0:
                return

    def _step_over(self, batch: RecordBatch) -> None:
        self.position += batch.size_bytes
        self.offset = batch.next_offset
        self.chain = batch.chain
        self.max_timestamp = max(self.max_timestamp, batch.max_timestamp)

    def _fault_of_header(self, batch: RecordBatch | None) -> Fault | None:
        """Return what is wrong if no batch begins here at this offset, with this pass moved to where one does."""
        position, offset = self.position, self.offset
        if batch is not None and batch.base_offset == offset and self._fits(batch):
            return None
        if batch is not None and batch.base_offset > offset and self._fits(batch):
            self.offset, self.chain = batch.base_offset, UNKNOWN_CHAIN
            found = f"the batch there begins at offset {batch.base_offset}, not {offset}"
            return Fault(GAP, position, offset, found, batch.base_offset)
        if batch is None:
            found = "there is no batch header"
            if self._stop_position - position < HEADER_SIZE:
                return Fault(CUT_SHORT, position, offset, "the batch there is cut short", -1)
        elif batch.base_offset == offset:
            found = f"the batch there goes on to offset {batch.next_offset - 1}, and the segment ends before that"
        else:
            found = f"the batch there begins at offset {batch.base_offset}, not {offset}"
        found_again = self._find_again(position + 1, offset)
        if found_again is None:
            self.chain = UNKNOWN_CHAIN
            return Fault(NO_BATCH, position, offset, found, -1)
        self.position, self.offset = found_again
        self.chain = UNKNOWN_CHAIN
        return Fault(NO_BATCH, position, offset, found, self.offset)

    def _fault_of_payload(self, batch: RecordBatch) -> Fault | None:
        if batch.position + batch.size_bytes > self._stop_position:
            return Fault(
                CUT_SHORT, batch.position, batch.base_offset, "the batch there is cut short", batch.next_offset
            )
        payload = self._window.view(batch.position, batch.size_bytes)[HEADER_SIZE:]
        if len(payload) < batch.payload_length:
            return Fault(
                CUT_SHORT, batch.position, batch.base_offset, "the batch there is cut short", batch.next_offset
            )
        if not batch.check_payload(payload):
            found = "the batch there has another checksum than its bytes"
            return Fault(DAMAGED, batch.position, batch.base_offset, found, batch.next_offset)
        if batch.is_newer:
            found = f"a newer mk wrote the batch there; its attributes are {batch.attributes:#06x}"
            return Fault(NEWER, batch.position, batch.base_offset, found, batch.next_offset)
        try:
            batch.prove()
        except CodecError as error:
            return Fault(DAMAGED, batch.position, batch.base_offset, str(error), batch.next_offset)
        return None

    def _unlinked(self, batch: RecordBatch) -> str:
        """Return why a whole batch does not continue the log, "" if it does."""
        if batch.leader_epoch < self.leader_epoch:
            return f"the batch there is of leader epoch {batch.leader_epoch}, after one of {self.leader_epoch}"
        if (
            self.chain != UNKNOWN_CHAIN
            and not batch.attributes & COMPACTED
            and batch.chain != batch.chain_after(self.chain)
        ):
            return "the batch there does not continue the one before it"
        return ""

    def _fits(self, batch: RecordBatch) -> bool:
        return self._stop_offset is None or batch.next_offset <= self._stop_offset

    # Behind damage.

    def _find_again(self, position: int, offset: int) -> tuple[int, int] | None:
        """Return (position, offset) of the first batch from `position` on that surely is one of this log.

        A value may hold the bytes of batches, so a header that looks right is not enough: from it the batches must lead,
        one continuing the other, to the segment's end or to a place that the index names. One that does not, because
        there is more damage behind, counts if it is whole and its offsets lie in front of those that do.
        """
        whole: tuple[int, int] | None = None
        whole_to = refused_to = -1
        left = _CANDIDATES
        for at, batch in find_headers(self._fd, position, self._stop_position):
            if whole is not None:
                left -= 1
                if not left:
                    break
            if at < refused_to or batch.base_offset < offset or not self._is_whole(at, batch):
                continue
            refused_to, end_offset, leads = self._follow(at, batch)
            if leads:
                return whole if whole is not None and whole_to <= batch.base_offset else (at, batch.base_offset)
            if whole is None:
                whole, whole_to = (at, batch.base_offset), end_offset
        for hinted_offset, hinted_position in self._hints:
            if hinted_position >= position and hinted_offset >= offset:
                hinted = parse_any_header(self._window.view(hinted_position, HEADER_SIZE))
                if hinted is not None and hinted.base_offset == hinted_offset and self._fits(hinted):
                    return (
                        whole if whole is not None and whole_to <= hinted_offset else (hinted_position, hinted_offset)
                    )
        return whole

    def _is_whole(self, position: int, batch: RecordBatch) -> bool:
        if not self._fits(batch) or position + batch.size_bytes > self._stop_position:
            return False
        return batch.check_payload(self._window.view(position, batch.size_bytes)[HEADER_SIZE:])

    def _follow(self, position: int, batch: RecordBatch) -> tuple[int, int, bool]:
        """Follow the headers from a batch on: return the position and offset where they end, and whether that, or a place
        on the way, is known to be one of this log."""
        while True:
            if (position, batch.base_offset) in self._known:
                return position, batch.base_offset, True
            position += batch.size_bytes
            offset = batch.next_offset
            if offset == self._stop_offset or position == self._stop_position:
                return position, offset, True
            following = parse_any_header(self._window.view(position, HEADER_SIZE))
            if (
                following is None
                or following.base_offset != offset
                or not self._fits(following)
                or (not following.attributes & COMPACTED and following.chain != following.chain_after(batch.chain))
            ):
                return position, offset, False
            batch = following
