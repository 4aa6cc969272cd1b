"""Reading a partition from its end to its start, by batch headers: for the last N records, or the last with some key.

Batches are linked forward only. The index of a segment holds a place every 64 KiB: from the last of them the headers are
read forward, then from the one before it, and so on. Held are the headers between two of these places; where the index is
missing, the last few thousand, and where the others begin.
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


_MOST_HEADERS = 8192
"""What is held at once, some 3 MiB. Between two entries of an index there are a few hundred."""


class StoredBatch:
    """A batch of which only the header was read, in a segment that is open. Valid as long as that is."""

    __slots__ = ("_fd", "header", "path")

    def __init__(self, fd: int, path: str, header: RecordBatch) -> None:
        self._fd = fd
        self.path = path
        self.header = header

    def offsets_and_times(self) -> Iterator[tuple[int, int]]:
        """Yield offset and time of each record, in offset order. Reads the payload; raises CorruptBatchError."""
        with self.loaded() as batch:
            for piece in batch.record_slices("", 0):
                for record in piece:
                    yield record.offset, record.timestamp_ms

    def loaded(self) -> _Loaded:
        """Return the batch with its payload, for a `with` block in which a payload that is none raises CorruptBatchError."""
        return _Loaded(self)

    def load(self) -> RecordBatch:
        """Read the payload. Raises CorruptBatchError if it is not the one that the header was written for."""
        header = self.header
        if header.payload is None and not header.check_payload(
            files.pread(self._fd, header.payload_length, header.position + HEADER_SIZE)
        ):
            raise self.damaged("the batch there has another checksum than its bytes")
        return header

    def raw(self, *, is_whole: bool) -> bytes:
        """Return the header as it stands, or all of the batch; its payload is not checked."""
        return files.pread(self._fd, self.header.size_bytes if is_whole else HEADER_SIZE, self.header.position)

    def damaged(self, found: str) -> CorruptBatchError:
        header = self.header
        return CorruptBatchError(
            path=self.path,
            position=header.position,
            offset=header.base_offset,
            found=found,
            readable_from=header.next_offset,
        )


class _Loaded:
    __slots__ = ("_stored",)

    def __init__(self, stored: StoredBatch) -> None:
        self._stored = stored

    def __enter__(self) -> RecordBatch:
        return self._stored.load()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, CodecError):
            raise self._stored.damaged(str(error)) from None


def batches_backward(partition: PartitionFiles, active_segment: int, end_offset: int) -> Iterator[StoredBatch]:
    """Yield the batches that begin below `end_offset`, the last one first, back to where the log starts.

    Where segments vanish meanwhile, it ends at the first one that is still there.

    Raises:
        CorruptBatchError: something that is no batch lies between two that are.
        UnsupportedBatchError: only a newer mk can read what lies there.
    """
    above = end_offset
    bases = list_segments(partition.fd)
    while bases:
        base = bases.pop()
        if base > active_segment or base >= above:
            continue
        try:
            fd = open_segment(base, partition_fd=partition.fd)
        except FileNotFoundError:
            # It was removed with all before it, or merged into the one before.
            bases = list_segments(partition.fd)
            continue
        try:
            for relative, position in _places_backward(partition, base):
                if base + relative >= above:
                    continue
                places = [(base + relative, position)]
                while places:
                    headers = _last_headers(fd, partition.segment_path(base), places, above)
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


def _last_headers(fd: int, path: str, places: list[tuple[int, int]], end_offset: int) -> list[RecordBatch]:
    """Take the last of `places`, and return the headers from there up to `end_offset`: the last of them, if they are many.

    Where the others can be found again is added to `places`. A place is an offset and the position at which it should begin.
    [] if that is none: an index is a hint. Once it has proved itself, the next header has to as well.
    """
    first_offset, position = places.pop()
    headers: list[RecordBatch] = []
    expected = first_offset
    while expected < end_offset:
        header = parse_header(files.pread(fd, HEADER_SIZE, position))
        if header is None or header.base_offset != expected:
            if position and expected == first_offset:
                return []
            refuse_newer(fd, position, expected, path)
            raise CorruptBatchError(
                path=path,
                position=position,
                offset=expected,
                found="there is no batch header" if header is None else "another offset begins there",
                readable_from=end_offset,
            )
        if len(headers) == _MOST_HEADERS:
            places.append((headers[0].base_offset, headers[0].position))
            headers = []
        header.position = position
        headers.append(header)
        position += header.size_bytes
        expected = header.next_offset
    return headers
