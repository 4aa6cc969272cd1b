"""Segment files: batches back to back, named by the offset of the first one.

Knows what stands in one file and proves it; which file is the active one, and who may change it, is for PartitionLog.
"""

from __future__ import annotations

import os

from mk.errors import UnsupportedBatchError
from mk.records.codecs import crc32c
from mk.records.record_batch import COMPACTED, HEADER_SIZE, MAGIC, parse_any_header, parse_header
from mk.storage import files
from mk.storage.partition_state import LogEnd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record_batch import RecordBatch

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
PRODUCERS_SUFFIX = ".producers"
CLEANED_SUFFIX = ".cleaned"
"""Behind the name of a segment, or an index, that a compaction is writing: no part of the log yet."""

UNKNOWN_CHAIN = -1
"""A LogEnd's chain where the batch before is gone: the next batch's own is believed."""

_DIGITS = 20
_PIECE = 1 << 20


def segment_name(base_offset: int, suffix: str = LOG_SUFFIX) -> str:
    """Return the file name of a segment or its index, 20 digits so that `ls` sorts it."""
    return f"{base_offset:020d}{suffix}"


def list_segments(partition_fd: int) -> list[int]:
    """Return the base offsets of the segment files there, ascending. Foreign names are ignored."""
    return segments_among(os.listdir(partition_fd))


def segments_among(names: list[str]) -> list[int]:
    """Do the same with the names in a partition's directory."""
    return sorted(
        [int(name[:_DIGITS]) for name in names if name[_DIGITS:] == LOG_SUFFIX and name[:_DIGITS].isdecimal()]
    )


def open_segment(base_offset: int, *, partition_fd: int) -> int:
    return files.open_file(segment_name(base_offset), os.O_RDONLY, dir_fd=partition_fd)


def validate(
    fd: int, start: LogEnd, stop_position: int, leader_epoch: int = -1, stop_offset: int | None = None
) -> tuple[LogEnd, str, list[tuple[int, int]]]:
    """Follow the batches from `start` as far as each one proves itself, at most up to byte `stop_position`.

    In a sealed segment the bytes behind `stop_offset` are no longer part of the log.

    A batch is proved by its header's checksum, its base offset, an epoch that does not fall, its chain and its
    payload's checksum: a block of zeros, a torn write or the rest of an older life of this file fails one of them.
    Memory stays at 1 MiB whatever the batches claim.

    Returns:
        Where the proved batches end; why the next one is not proved, "" at `stop_position`; and the (epoch, first
        offset) at which the epoch rose on the way.
    """
    position, offset, chain, max_timestamp = start.position, start.offset, start.chain, start.max_timestamp
    epochs: list[tuple[int, int]] = []
    fault = ""
    while position < stop_position and offset != stop_offset:
        batch = parse_header(files.pread(fd, HEADER_SIZE, position))
        if batch is None:
            fault = "there is no batch header"
        elif batch.base_offset != offset:
            fault = f"the batch there begins at offset {batch.base_offset}, not {offset}"
        elif batch.leader_epoch < leader_epoch:
            fault = f"the batch there is of leader epoch {batch.leader_epoch}, after one of {leader_epoch}"
        elif chain != UNKNOWN_CHAIN and not batch.attributes & COMPACTED and batch.chain != batch.chain_after(chain):
            fault = "the batch there does not continue the one before it"
        elif position + batch.size_bytes > stop_position:
            fault = "the batch there is cut short"
        elif _payload_crc(fd, position + HEADER_SIZE, batch.payload_length) != batch.payload_crc:
            fault = "the batch there has another checksum than its bytes"
        if fault:
            break
        assert batch is not None
        if batch.leader_epoch != leader_epoch:
            leader_epoch = batch.leader_epoch
            epochs.append((leader_epoch, offset))
        position += batch.size_bytes
        offset = batch.next_offset
        chain = batch.chain
        max_timestamp = max(max_timestamp, batch.max_timestamp)
    return LogEnd(position, offset, chain, max_timestamp), fault, epochs


def refuse_newer(fd: int, position: int, offset: int, path: str) -> None:
    """Raise UnsupportedBatchError if the next batch, at `offset`, is one that a newer mk wrote.

    For where a batch does not prove itself, before that is called damage or cut off as the rest of a broken append.
    """
    batch = parse_any_header(files.pread(fd, HEADER_SIZE, position))
    if batch is not None and batch.is_newer and batch.base_offset <= offset < batch.next_offset:
        raise UnsupportedBatchError(
            path=path,
            position=position,
            offset=offset,
            attributes=batch.attributes,
            readable_from=batch.next_offset,
        )


def find_headers(fd: int, position: int, stop_position: int) -> Iterator[tuple[int, RecordBatch]]:
    """Yield (position, batch) for each valid header from `position` on, also behind damage, also of a newer mk.

    Steps over the payload of a valid header, since a value may hold the bytes of a batch.
    """
    data, start = b"", position
    while stop_position - position >= HEADER_SIZE:
        if position + HEADER_SIZE > start + len(data):
            start, data = position, files.pread(fd, min(_PIECE, stop_position - position), position)
            if len(data) < HEADER_SIZE:
                return
        at = data.find(MAGIC, position - start)
        if at < 0:
            position = start + len(data) - len(MAGIC) + 1  # It may straddle two pieces.
        elif at + HEADER_SIZE > len(data):
            position = start + at
        elif (found := parse_any_header(data, at)) is None:
            position = start + at + 1
        else:
            yield start + at, found
            position = start + at + found.size_bytes


def _payload_crc(fd: int, position: int, length: int) -> int:
    crc = 0
    while length > 0:
        data = files.pread(fd, min(_PIECE, length), position)
        if not data:
            return -1
        crc = crc32c(data, crc)
        position += len(data)
        length -= len(data)
    return crc
