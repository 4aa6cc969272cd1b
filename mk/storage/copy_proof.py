"""Proving batches that another directory sent, before one byte of them is written.

Nothing is believed: each batch has to have a sound header, the payload that its checksums say, to continue the log at this
place and no other, and to be of the leader epoch that `epochs` has there. No record is decoded: that is for readers, whom
bounds and checksums keep safe.
"""

from __future__ import annotations

from mk.records.codecs import crc32c
from mk.records.record_batch import COMPACTED, HEADER_SIZE, NO_SEQUENCE, parse_any_header
from mk.storage import offset_index
from mk.storage.log_segment import UNKNOWN_CHAIN
from mk.storage.partition_state import LogEnd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.records.record_batch import RecordBatch
    from mk.storage.leader_epochs import LeaderEpochs

LARGEST_POSITION = (2 << 30) + (64 << 20) + HEADER_SIZE
"""Where the last batch of a segment may end: segment.bytes is at most 2 GiB, and one batch may go beyond."""


class BadBatchError(Exception):
    """A batch that is not proved. offset: where it should begin. newer: itself, if only a newer mk can read it."""

    def __init__(self, found: str, offset: int, newer: RecordBatch | None = None) -> None:
        super().__init__(found)
        self.found = found
        self.offset = offset
        self.newer = newer


class CopyProof:
    """Follows batches from the end of a log on, and gathers what an append has to note of them.

    end: where they end. entries: of the segment's index. batches: how many there are. last_sequences: of each producer id
    among them. compacted_to: behind the last batch that was rewritten, 0 if none was.
    """

    __slots__ = ("_known", "batches", "compacted_to", "end", "entries", "last_sequences")

    def __init__(self, end: LogEnd, known: dict[int, int] | None) -> None:
        """known: what is stored of each producer id; None if that cannot be told."""
        self.end = end
        self.entries = b""
        self.batches = 0
        self.last_sequences: dict[int, int] = {}
        self.compacted_to = 0
        self._known = known or {}

    def follow(self, data: memoryview, segment: int, epochs: LeaderEpochs) -> None:
        """Prove all of `data`, which is to be appended to `segment`. Raises BadBatchError; what was gathered is void then."""
        start = self.end
        position, offset, chain, max_timestamp = start.position, start.offset, start.chain, start.max_timestamp
        entries = epochs.entries
        number = max((at for at, entry in enumerate(entries) if entry.first_offset <= offset), default=-1)
        at, size = 0, len(data)
        while at < size:
            batch = parse_any_header(data, at)
            if batch is None or batch.base_offset != offset:
                raise BadBatchError(_header_fault(batch), offset)
            if batch.is_newer:
                raise BadBatchError(f"its attributes are {batch.attributes:#06x}", offset, batch)
            next_offset = batch.next_offset
            while number + 1 < len(entries) and entries[number + 1].first_offset <= offset:
                number += 1
            if number < 0 or batch.leader_epoch != entries[number].epoch:
                raise BadBatchError(f"it is of leader epoch {batch.leader_epoch}, which did not begin there", offset)
            if number + 1 < len(entries) and next_offset > entries[number + 1].first_offset:
                raise BadBatchError(f"it goes on to offset {next_offset - 1}, beyond its leader epoch", offset)
            if chain != UNKNOWN_CHAIN and batch.chain != batch.chain_after(chain) and not batch.attributes & COMPACTED:
                raise BadBatchError("it does not continue the batch before it", offset)
            payload = data[at + HEADER_SIZE : at + batch.size_bytes]
            if len(payload) != batch.payload_length:
                raise BadBatchError("it is cut short", offset)
            if crc32c(payload) != batch.payload_crc:
                raise BadBatchError("it has another checksum than its bytes", offset)
            self._check_sense(batch, payload)
            at += batch.size_bytes
            next_position = position + batch.size_bytes
            if next_position > LARGEST_POSITION:
                raise BadBatchError(f"its segment would have {next_position} bytes", offset)
            offset, chain = next_offset, batch.chain
            self.batches += 1
            max_timestamp = max(max_timestamp, batch.max_timestamp)
            if offset_index.entry_due(position, next_position) and offset - segment <= offset_index.MAX_RELATIVE:
                self.entries += offset_index.ENTRY.pack(offset - segment, next_position, max_timestamp)
            position = next_position
            if batch.attributes & COMPACTED:
                self.compacted_to = offset
        self.end = LogEnd(position, offset, chain, max_timestamp)

    def _check_sense(self, batch: RecordBatch, payload: memoryview) -> None:
        """Compare what a header says of its records, as far as that costs nothing to speak of."""
        # The lines themselves are not counted: at 0.9 GB/s that takes as long as all the rest. A reader does it again anyway.
        if batch.is_plain_lines and batch.record_count and (not payload or payload[-1] != 10):
            raise BadBatchError(f"it does not hold {batch.record_count} lines", batch.base_offset)
        if not batch.producer_id:
            if batch.first_sequence != NO_SEQUENCE or batch.last_sequence != NO_SEQUENCE:
                raise BadBatchError("it has input sequences, and no producer id", batch.base_offset)
            return
        if batch.first_sequence < 0 or batch.last_sequence - batch.first_sequence < batch.record_count - 1:
            raise BadBatchError("its input sequences cannot be", batch.base_offset)
        known = self._known.get(batch.producer_id, NO_SEQUENCE)
        if batch.first_sequence <= self.last_sequences.get(batch.producer_id, known):
            raise BadBatchError("it holds input that was stored before it already", batch.base_offset)
        self.last_sequences[batch.producer_id] = batch.last_sequence


def _header_fault(batch: RecordBatch | None) -> str:
    if batch is None:
        return "there is no batch header"
    return f"the batch there begins at offset {batch.base_offset}"
