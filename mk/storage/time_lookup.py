"""From a time to an offset: by a few entries of each segment's index, and the headers behind one of them."""

from __future__ import annotations

import os

from mk.records.record_batch import COMPACTED, HEADER_SIZE, parse_header
from mk.storage import files, offset_index
from mk.storage.backward_reader import StoredBatch
from mk.storage.log_segment import INDEX_SUFFIX, list_segments, open_segment, segment_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.partition_files import PartitionFiles


_ENTRY_SIZE = offset_index.ENTRY.size


def offset_for_time(
    partition: PartitionFiles, active_segment: int, log_start_offset: int, high_watermark: int, timestamp_ms: int
) -> int:
    """Return the first offset whose record's time is `timestamp_ms` or later; the high watermark if there is none.

    Raises:
        CorruptBatchError: the batch that would tell does not prove itself.
    """
    segments = [base for base in list_segments(partition.fd) if base <= active_segment]
    for base, following in zip(segments, [*segments[1:], None], strict=True):
        if following is not None and following <= log_start_offset:
            continue
        if following is not None and _is_older(partition, base, following, timestamp_ms):
            continue
        start = (0, 0)
        index_fd = partition.open_index(base)
        if index_fd >= 0:
            try:
                start = offset_index.lookup_time(index_fd, timestamp_ms)
            finally:
                files.close(index_fd)
        stop = high_watermark if following is None else min(following, high_watermark)
        found = _scan(partition, base, start, stop, log_start_offset, timestamp_ms)
        if found >= 0:
            return max(found, log_start_offset)
    return high_watermark


def _is_older(partition: PartitionFiles, base: int, following: int, timestamp_ms: int) -> bool:
    """Tell whether the index of a sealed segment says that all its records are older than a time.

    Asked of each segment in turn, since times may go up and down: so with four calls of the system and nothing else. What
    is no regular file has no size or cannot be read, and is looked at as any index is.
    """
    try:
        fd = os.open(segment_name(base, INDEX_SUFFIX), files.READ_FLAGS, dir_fd=partition.fd)
    except OSError:
        return False
    try:
        position = os.fstat(fd).st_size // _ENTRY_SIZE * _ENTRY_SIZE - _ENTRY_SIZE
        data = os.pread(fd, _ENTRY_SIZE, position) if position >= 0 else b""
    except OSError:
        return False  # A directory, say.
    finally:
        files.close(fd)
    if len(data) != _ENTRY_SIZE:
        return False
    relative, _, max_timestamp = offset_index.ENTRY.unpack(data)
    return bool(base + relative == following and max_timestamp < timestamp_ms)


def _scan(
    partition: PartitionFiles, base: int, start: tuple[int, int], stop: int, log_start_offset: int, timestamp_ms: int
) -> int:
    """Return the first offset of that time or later in one segment, from a hint on; -1 if there is none."""
    try:
        fd = open_segment(base, partition_fd=partition.fd)
    except FileNotFoundError:
        partition.topic.check_not_deleted()
        return -1  # Removed since we looked.
    try:
        for relative, position in (start, (0, 0)):
            hinted = expected = base + relative
            while expected < stop:
                batch = parse_header(files.pread(fd, HEADER_SIZE, position))
                if batch is None or batch.base_offset != expected:
                    break
                batch.position = position
                if batch.max_timestamp >= timestamp_ms and batch.next_offset > log_start_offset:
                    is_first = batch.base_offset >= log_start_offset and not batch.attributes & COMPACTED
                    if batch.base_timestamp >= timestamp_ms and is_first:
                        return batch.base_offset
                    stored = StoredBatch(fd, partition.segment_path(base), batch)
                    for offset, time in stored.offsets_and_times():
                        if time >= timestamp_ms and offset >= log_start_offset:
                            return offset
                position += batch.size_bytes
                expected = batch.next_offset
            if hinted < expected:
                break  # Otherwise the hint led nowhere: walk from the segment's start.
    finally:
        files.close(fd)
    # Short of the end is damage, for whoever reads there to name: what it hides may be of that time.
    return expected if expected < stop else -1
