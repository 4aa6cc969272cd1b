"""Bridges: batches without records, in the place of batches that are lost.

Batches tile the offsets, and no offset is ever given out again. So where a part of a log cannot be read any more and is to go
on all the same, a batch that is flagged as compacted, of no record, covers the offsets that are lost. The batch behind it
continues a chain: which one can be told from that batch alone, as CRC-32C runs backwards as well as forwards.

Pure, as all of this package. Format: man/mk-format.5, COMPACTED BATCHES.
"""

from __future__ import annotations

from mk.records.codecs import crc32c
from mk.records.record_batch import CHAIN, COMPACTED, EncodedBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.records.record_batch import RecordBatch

_MOST_OFFSETS = 1 << 32
"""What one batch may cover: its last offset delta has 32 bits."""

_POLYNOMIAL = 0x82F63B78
"""CRC-32C's, reflected, as its table is made of it."""

_MASK = 0xFFFFFFFF


def bridge(first_offset: int, next_offset: int, leader_epoch: int, chain: int) -> bytes:
    """Return the batches that cover the offsets from one up to another, that one excluded: one batch as a rule.

    chain: with which the log goes on behind them.
    """
    batches = []
    while first_offset < next_offset:
        covered = min(next_offset - first_offset, _MOST_OFFSETS)
        # Times of -1: it is of no time that anybody may look for, and makes no segment younger.
        batch = EncodedBatch(
            [], raw_length=0, attributes=COMPACTED, record_count=0, base_timestamp=-1, max_timestamp=-1
        )
        batch.last_offset_delta = covered - 1
        # What lies in front of it was on disk when it was made, or had been before it was lost.
        batches.append(batch.stamp(first_offset, leader_epoch, first_offset, chain))
        first_offset += covered
    return b"".join(batches)


def chain_before(batch: RecordBatch) -> int:
    """Return the chain that the batch in front of this one ended with: the only one that this batch continues.

    Of a batch that was compacted it says nothing, as that continues any.
    """
    fields = batch.payload_crc, batch.record_count, batch.producer_id, batch.first_sequence, batch.last_sequence
    return crc32c_before(CHAIN.pack(*fields), batch.chain)


def crc32c_before(data: bytes, crc: int) -> int:
    """Return the only value that crc32c(data, value) makes `crc` of.

    A step forward is crc = (crc >> 8) ^ table[(crc ^ byte) & 255]. As no two entries of the table have the same top byte,
    and the shifted crc has none, the top byte of the result tells which entry it was.
    """
    table, entry_of = _tables()
    crc ^= _MASK
    for byte in reversed(data):
        entry = entry_of[crc >> 24]
        crc = ((crc ^ table[entry]) << 8 | entry ^ byte) & _MASK
    return crc ^ _MASK


def _tables() -> tuple[list[int], list[int]]:
    """Return the table of CRC-32C, and of each top byte which entry has it."""
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (_POLYNOMIAL if entry & 1 else 0)
        table.append(entry)
    entry_of = [0] * 256
    for entry, value in enumerate(table):
        entry_of[value >> 24] = entry
    assert crc32c(b"\0") == table[_MASK & 255] ^ _MASK >> 8 ^ _MASK
    return table, entry_of
