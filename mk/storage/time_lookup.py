"""Finding the first record of a time or later, by the indexes and the headers behind one of their entries.

Without a lock, as all reading. What is below the log start does not count, even where it is still there.
"""

from __future__ import annotations

import os

from mk.errors import CorruptBatchError
from mk.records.codecs import CodecError
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.storage import files, offset_index
from mk.storage.log_segment import INDEX_SUFFIX, list_segments, open_segment, segment_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.records.record_batch import RecordBatch
    from mk.storage.partition_files import PartitionFiles


def first_offset_of_time(
    partition: PartitionFiles, timestamp_ms: int, *, active_segment: int, log_start_offset: int, high_watermark: int
) -> int:
    """Return the first offset whose record's time is `timestamp_ms` or later; the high watermark if there is none.

    Reads an index entry or two of each segment, and the headers behind one of them; never the log.

    Raises:
        CorruptBatchError: the batch that should tell is damaged.
    """
    segments = [base for base in list_segments(partition.fd) if base <= active_segment]
    for base, following in zip(segments, [*segments[1:], None], strict=True):
        if following is not None and following <= log_start_offset:
            continue
        start = (0, 0)
        try:
            index_fd = files.open_file(segment_name(base, INDEX_SUFFIX), os.O_RDONLY, dir_fd=partition.fd)
        except FileNotFoundError:
            pass
        else:
            try:
                last = offset_index.last_entry(index_fd)
                if last and following is not None and last[0] + base == following and last[2] < timestamp_ms:
                    continue
                start = offset_index.lookup_time(index_fd, timestamp_ms)
            finally:
                files.close(index_fd)
        try:
            fd = open_segment(base, partition_fd=partition.fd)
        except FileNotFoundError:
            partition.topic.check_not_deleted()
            continue  # Removed since we looked.
        try:
            stop = high_watermark if following is None else min(following, high_watermark)
            path = partition.segment_path(base)
            found = _scan(fd, path, base, start, stop, timestamp_ms, log_start_offset)
        finally:
            files.close(fd)
        if found >= 0:
            return max(found, log_start_offset)
    return high_watermark


def _scan(
    fd: int, path: str, base: int, start: tuple[int, int], stop: int, timestamp_ms: int, log_start_offset: int
) -> int:
    """Return the first offset of that time or later in one segment, from a hint on; -1 if there is none."""
    for relative, position in (start, (0, 0)):
        hinted = expected = base + relative
        while expected < stop:
            batch = parse_header(files.pread(fd, HEADER_SIZE, position))
            if batch is None or batch.base_offset != expected:
                break
            if batch.max_timestamp >= timestamp_ms and batch.next_offset > log_start_offset:
                found = _first_record(fd, path, position, batch, timestamp_ms, log_start_offset)
                if found < batch.next_offset:
                    return found
            position += batch.size_bytes
            expected = batch.next_offset
        if hinted < expected:
            break  # Otherwise the hint led nowhere: walk from the segment's start.
    # Short of the end is damage, for whoever reads there to name: what it hides may be of that time.
    return expected if expected < stop else -1


def _first_record(
    fd: int, path: str, position: int, batch: RecordBatch, timestamp_ms: int, log_start_offset: int
) -> int:
    """Return the first offset of that time or later in a batch; the next batch's if those are below the log start."""
    if batch.base_timestamp >= timestamp_ms and batch.base_offset >= log_start_offset:
        return batch.base_offset
    fault = "the batch there has another checksum than its bytes"
    if batch.check_payload(files.pread(fd, batch.payload_length, position + HEADER_SIZE)):
        try:
            for record in batch.records("", 0):
                if record.timestamp_ms >= timestamp_ms and record.offset >= log_start_offset:
                    return record.offset
            return batch.next_offset
        except CodecError as error:
            fault = str(error)
    raise CorruptBatchError(
        path=path, position=position, offset=batch.base_offset, found=fault, readable_from=batch.next_offset
    )
