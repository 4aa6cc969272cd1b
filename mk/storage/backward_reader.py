"""Reading a partition from its end to its start, by batch headers: for the last N records, wherever they begin.

Batches are linked forward only. The index of a segment holds a place every 64 KiB: from the last of them the headers are
read forward, then from the one before it, and so on. What is held is the headers between two of these places.
"""

from __future__ import annotations

from mk.errors import CorruptBatchError
from mk.records.codecs import CodecError
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.storage import files
from mk.storage.log_segment import list_segments, open_segment, refuse_newer
from mk.storage.offset_index import ENTRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record_batch import RecordBatch
    from mk.storage.partition_files import PartitionFiles


class StoredBatch:
    """A batch of which only the header was read, in a segment that is open. Valid as long as that is."""

    __slots__ = ("_fd", "_path", "header")

    def __init__(self, fd: int, path: str, header: RecordBatch) -> None:
        self._fd = fd
        self._path = path
        self.header = header

    def offsets_and_times(self) -> Iterator[tuple[int, int]]:
        """Yield offset and time of each record, in offset order. Reads the payload; raises CorruptBatchError."""
        header = self.header
        fault = "the batch there has another checksum than its bytes"
        if header.check_payload(files.pread(self._fd, header.payload_length, header.position + HEADER_SIZE)):
            try:
                for piece in header.record_slices("", 0):
                    for record in piece:
                        yield record.offset, record.timestamp_ms
                return
            except CodecError as error:
                fault = str(error)
        raise CorruptBatchError(
            path=self._path,
            position=header.position,
            offset=header.base_offset,
            found=fault,
            readable_from=header.next_offset,
        )


def batches_backward(partition: PartitionFiles, active_segment: int, end_offset: int) -> Iterator[StoredBatch]:
    """Yield the batches that begin below `end_offset`, the last one first, back to where the log starts.

    Where segments vanish meanwhile, it ends at the first one that is still there.

    Raises:
        CorruptBatchError: something that is no batch lies between two that are.
        UnsupportedBatchError: only a newer mk can read what lies there.
    """
    above = end_offset
    while True:
        # Listed anew for each: a segment that has gone was removed with all before it, or merged into the one before.
        base = max(
            (base for base in list_segments(partition.fd) if base <= active_segment and base < above), default=-1
        )
        if base < 0:
            return
        try:
            fd = open_segment(base, partition_fd=partition.fd)
        except FileNotFoundError:
            continue
        try:
            for relative, position in _places_backward(partition, base):
                if base + relative >= above:
                    continue
                headers = _headers(fd, partition.segment_path(base), base + relative, position, above)
                if headers:
                    above = headers[0].base_offset
                while headers:
                    yield StoredBatch(fd, partition.segment_path(base), headers.pop())
        finally:
            files.close(fd)


def _places_backward(partition: PartitionFiles, base: int) -> Iterator[tuple[int, int]]:
    """Yield (relative offset, position) of the index's entries, the last one first, and of the segment's start."""
    data = b""
    index_fd = partition.open_index(base)
    if index_fd >= 0:
        try:
            data = files.pread(index_fd, files.size(index_fd), 0)
        finally:
            files.close(index_fd)
    for at in range(len(data) // ENTRY.size - 1, -1, -1):
        relative, position, _ = ENTRY.unpack_from(data, at * ENTRY.size)
        if relative and position:
            yield relative, position
    yield 0, 0


def _headers(fd: int, path: str, first_offset: int, position: int, end_offset: int) -> list[RecordBatch]:
    """Return the headers from `position`, where `first_offset` should begin, up to `end_offset`.

    [] if that place is none: an index is a hint. Once it has proved itself, the next header has to as well.
    """
    headers: list[RecordBatch] = []
    expected = first_offset
    while expected < end_offset:
        header = parse_header(files.pread(fd, HEADER_SIZE, position))
        if header is None or header.base_offset != expected:
            if position and not headers:
                return []
            refuse_newer(fd, position, expected, path)
            raise CorruptBatchError(
                path=path,
                position=position,
                offset=expected,
                found="there is no batch header" if header is None else "another offset begins there",
                readable_from=end_offset,
            )
        header.position = position
        headers.append(header)
        position += header.size_bytes
        expected = header.next_offset
    return headers
