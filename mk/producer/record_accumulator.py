"""Gathering records into batches, per partition, without any lock."""

from __future__ import annotations

from mk.clock import now_ms
from mk.errors import RecordTooLargeError
from mk.records.codecs import MAX_RAW_BYTES, NONE
from mk.records.record_batch import EncodedBatch, RecordBatchBuilder, encode_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mk.producer.encoding_threads import EncodingJob
    from mk.records.columns_builder import ColumnsBuilder
    from mk.records.record import Header, Record

BATCH_BYTES = 256 << 10
"""Where a batch closes. Larger ones leave the CPU's cache between checksum and write (measured: 2.5 x slower to consume
at 1 MiB), smaller ones pay the header's Python more often."""

_BYTES_OR_NONE = {bytes, type(None)}
_MAX_TIMESTAMP_MS = 1 << 62
"""Far from where differences between two timestamps would not fit 64 bits."""

RECORD_BYTES = 16
"""What a record counts beside its key, value and headers: some references, while it waits."""


class RecordAccumulator:
    """The batches of one partition that wait for the next append.

    Records come in three ways: one by one, as a block of lines that makes a batch as it stands, or as parallel keys and
    values, which have their headers and time in common. Their order is kept: what came one way is closed before the first
    that comes another way.

    has_all_keys: each of its records has a key, as whoever brings them makes sure.
    """

    __slots__ = (
        "_builder",
        "_codec",
        "_columns",
        "_columns_extras",
        "batches",
        "has_all_keys",
        "size_bytes",
    )

    def __init__(self, codec: int, *, has_all_keys: bool = False) -> None:
        self._codec = codec
        self.has_all_keys = has_all_keys
        self._builder = RecordBatchBuilder()
        self._columns: ColumnsBuilder | None = None
        self._columns_extras: tuple[tuple[Header, ...], int | None] = ((), None)
        self.batches: list[EncodedBatch | EncodingJob] = []
        self.size_bytes = 0

    def append(self, record: Record, timestamp_ms: int) -> int:
        """Take one record; returns, as the others do, what size_bytes grew by."""
        self._close_columns()
        before = self._builder.size_bytes
        self._builder.append(record, timestamp_ms)
        added = self._builder.size_bytes - before
        self.size_bytes += added
        if self._builder.size_bytes >= BATCH_BYTES:
            self._close_builder()
        return added

    def append_records(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        timestamps: Sequence[int],
        headers: Sequence[tuple[Header, ...]],
    ) -> int:
        """Take records that each have a key, a time and headers of their own, as parallel columns."""
        self._close_columns()
        before = self.size_bytes
        sizes = [RECORD_BYTES + len(value or b"") + len(key or b"") for value, key in zip(values, keys)]
        if any(headers):
            sizes = [size + _size_with_frames(of_record) for size, of_record in zip(sizes, headers)]
        start = 0
        while start < len(values):
            # As many as make a batch: by their own sizes, since one of them may be as large as thousands.
            stop, size = start, 0
            room = BATCH_BYTES - self._builder.size_bytes
            if start == 0 and (total := sum(sizes)) <= room:
                stop, size = len(values), total
            while stop < len(values) and size < room:
                size += sizes[stop]
                stop += 1
            some = slice(start, stop)
            self._builder.extend((values[some], keys[some], timestamps[some], headers[some]), size)
            self.size_bytes += size
            start = stop
            if self._builder.size_bytes >= BATCH_BYTES:
                self._close_builder()
        return self.size_bytes - before

    def append_lines(self, block: bytes | memoryview, count: int, timestamp_ms: int | None, key: bytes | None) -> None:
        """Take `count` newline-terminated values as one batch. The block is not copied, and not touched until drained."""
        self._close()
        codec, time = self._codec, now_ms() if timestamp_ms is None else timestamp_ms
        if len(block) > MAX_RAW_BYTES - len(key or b""):
            raise RecordTooLargeError(size_bytes=len(block), max_bytes=MAX_RAW_BYTES, place="a batch")
        self._add(lambda: encode_lines(block, count=count, timestamp_ms=time, key=key, codec=codec))
        self.size_bytes += len(block)

    def append_columns(
        self,
        keys: Sequence[bytes | None] | None,
        values: Sequence[bytes | None],
        headers: tuple[Header, ...],
        timestamp_ms: int | None,
    ) -> int:
        """Take parallel keys and values, no more of them than a batch should hold; keys None is no key for any.

        timestamp_ms None is the time of the first of a batch.
        """
        self._close_builder()
        if self._columns is not None and self._columns_extras != (headers, timestamp_ms):
            self._close_columns()
        if self._columns is None:
            from mk.records.columns_builder import ColumnsBuilder

            self._columns = ColumnsBuilder(headers, now_ms() if timestamp_ms is None else timestamp_ms)
            self._columns_extras = headers, timestamp_ms
        columns = self._columns
        before = columns.size_bytes
        columns.extend(keys, values)
        added = columns.size_bytes - before
        self.size_bytes += added
        # A record costs whoever reads it memory even if it is empty.
        if columns.size_bytes + RECORD_BYTES * len(columns) >= BATCH_BYTES:
            self._close_columns()
        return added

    def drain(self) -> list[EncodedBatch]:
        """Return all that waits, and begin anew."""
        self._close()
        for job in reversed(self.batches):
            # From the end, while the other threads come from the front: to ask for one that they are at would be to wait.
            if not isinstance(job, EncodedBatch):
                job.run()
        made = [batch if isinstance(batch, EncodedBatch) else batch.batch() for batch in self.batches]
        batches, self.batches, self.size_bytes = made, [], 0
        if self.has_all_keys:
            for batch in batches:
                batch.has_all_keys = True
        return batches

    def _close(self) -> None:
        self._close_builder()
        self._close_columns()

    def _close_builder(self) -> None:
        if len(self._builder):
            builder, codec = self._builder, self._codec
            self._add(lambda: builder.build(codec=codec))
            self._builder = RecordBatchBuilder()

    def _close_columns(self) -> None:
        if self._columns is not None:
            columns, codec = self._columns, self._codec
            self._add(lambda: columns.build(codec))
            self._columns = None

    def _add(self, encode: Callable[[], EncodedBatch]) -> None:
        if self._codec == NONE:
            self.batches.append(encode())
            return
        from mk.producer.encoding_threads import EncodingJob, hand_over

        # The last one is left for us: alone, as of a slow pipe, it is made sooner than a thread is started.
        if self.batches and isinstance(self.batches[-1], EncodingJob):
            hand_over(self.batches[-1])
        self.batches.append(EncodingJob(encode))


def size_of(headers: tuple[Header, ...]) -> int:
    """Return the bytes of headers that max.message.bytes counts."""
    return sum(len(name) + len(value or b"") for name, value in headers)


def _size_with_frames(headers: tuple[Header, ...]) -> int:
    return size_of(headers) + RECORD_BYTES * len(headers)


def size_of_columns(
    keys: Sequence[bytes | None] | None, values: Sequence[bytes | None], headers: tuple[Header, ...]
) -> int:
    """Return the bytes of keys, values and the headers that each of these records has."""
    size = size_of(headers) * len(values) + sum(map(len, filter(None, values)))
    return size if keys is None else size + sum(map(len, filter(None, keys)))


def check_bytes(parts: Iterable[object]) -> None:
    """Raise TypeError unless all parts are bytes or None."""
    kinds = set(map(type, parts)) - _BYTES_OR_NONE
    if kinds:
        raise TypeError(f"keys, values and headers are bytes or None, not {kinds.pop().__name__}")


def check_extras(headers: Iterable[Header], timestamp_ms: int | None) -> None:
    """Raise TypeError unless these can be stored."""
    for name, value in headers:
        check_bytes((name, value))
        if name is None:
            raise TypeError("the name of a header is bytes, not None")
    if timestamp_ms is not None and (type(timestamp_ms) is not int or abs(timestamp_ms) > _MAX_TIMESTAMP_MS):
        raise TypeError(f"a timestamp is a whole number of milliseconds, not {timestamp_ms!r}")


def check_line_lengths(block: bytes | memoryview, key_bytes: int, max_bytes: int) -> None:
    """Raise RecordTooLargeError if a line is too long, by looking for one newline in so many bytes, not for each."""
    data = bytes(block)
    window = max_bytes - key_bytes + 1
    start = 0
    while len(data) - start > window:
        behind = data.rfind(b"\n", start, start + window) + 1 if window > 0 else 0
        if not behind:
            raise RecordTooLargeError(size_bytes=data.index(b"\n", start) - start + key_bytes, max_bytes=max_bytes)
        start = behind


def check_lengths(
    keys: Sequence[bytes | None] | None, values: Sequence[bytes | None], header_bytes: int, max_bytes: int
) -> None:
    """Raise RecordTooLargeError if a record is too large."""
    for key, value in zip(keys or [None] * len(values), values, strict=True):
        size = len(key or b"") + len(value or b"") + header_bytes
        if size > max_bytes:
            raise RecordTooLargeError(size_bytes=size, max_bytes=max_bytes)
