"""Input sequences: which records of a producer's input a batch holds, and what is left of it when some are stored.

A producer with an id counts the records of its input, from 0. A batch says in its header whose it is, and the sequences of
its first and last record; between them there may be gaps, since other partitions have the rest.

Pure, as all of this package.
"""

from __future__ import annotations

from bisect import bisect_right
from struct import Struct

from mk.records.codecs import NONE, crc32c, decompress, unpack
from mk.records.record_batch import (
    CODEC_MASK,
    COMPACTED,
    HEADER_SIZE,
    KIND_MASK,
    MAGIC,
    NO_KEY,
    batch_of_columns,
    encode_lines,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.records.record_batch import EncodedBatch

# Of the header: magic, payload_length, attributes, base_offset, last_offset_delta, producer_id, last_sequence, chain,
# header_crc. What a scan needs, and no more: 0.6 us a header, where parse_header takes several times that.
_LINK = Struct(">4sI8xH6xq4xI24xQ8xq8xI24xI")
assert _LINK.size == HEADER_SIZE


def without_stored(batch: EncodedBatch, last_sequence: int) -> EncodedBatch | None:
    """Return what of a batch lies behind `last_sequence`: the batch itself, a new one, or None if nothing does."""
    if batch.first_sequence > last_sequence:
        return batch
    if batch.last_sequence <= last_sequence:
        return None
    return without_first(batch, bisect_right(batch.sequences, last_sequence))


def without_first(batch: EncodedBatch, count: int) -> EncodedBatch:
    """Make a batch of all records of `batch` but the first `count`; at least one is left."""
    codec = batch.attributes & CODEC_MASK
    raw = b"".join(batch.payload)
    if codec != NONE:
        raw = decompress(codec, raw, batch.raw_length)
    if batch.attributes & KIND_MASK:
        columns: Any = unpack(raw)
        left = [None if column is None else column[count:] for column in columns]
        base = batch.base_timestamp
        if left[2] is not None:
            # Counted from the first record, as everywhere: with all times below it the header would not be sound.
            first = left[2][0]
            base, left[2] = base + first, [delta - first for delta in left[2]]
        rest = batch_of_columns(left, base_timestamp=base, codec=codec)
    else:
        start = max(batch.key_length, 0)
        rest = encode_lines(
            raw[start:].split(b"\n", count)[count],
            count=batch.record_count - count,
            timestamp_ms=batch.base_timestamp,
            key=None if batch.key_length == NO_KEY else raw[:start],
            codec=codec,
        )
    rest.number(batch.producer_id, batch.sequences[count:])
    return rest


def scan(
    data: bytes, position: int, offset: int, stop_offset: int, last_sequences: dict[int, int]
) -> tuple[int, int, int, int]:
    """Follow the batches whose headers lie in `data`, and note the last sequence of each producer id.

    Payloads are stepped over. Ends at `stop_offset`, at the first header that is not whole in `data`, or at one that does
    not prove itself by checksum and base offset, or was compacted: what its producers had stored cannot be told.

    Args:
        position: in `data`, of the batch that begins at `offset`.

    Returns:
        Where it ended, position and offset; the chain there, -1 if that was at once; and the number of batches.
    """
    unpack_from = _LINK.unpack_from
    last_header, crc_at = len(data) - HEADER_SIZE, HEADER_SIZE - 4
    chain = -1
    count = 0
    while position <= last_header and offset < stop_offset:
        magic, length, attributes, base, delta, producer_id, sequence, link, crc = unpack_from(data, position)
        if (
            magic != MAGIC
            or base != offset
            or attributes & COMPACTED
            or crc != crc32c(data[position : position + crc_at])
        ):
            break
        if producer_id:
            last_sequences[producer_id] = sequence
        position += HEADER_SIZE + length
        offset += delta + 1
        chain = link
        count += 1
    return position, offset, chain, count
