"""Gathering records into batches, per partition, without any lock."""

from __future__ import annotations

from mk.clock import now_ms
from mk.errors import RecordTooLargeError
from mk.records.record_batch import RecordBatchBuilder, encode_columns, encode_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mk.records.record import Header, Record
    from mk.records.record_batch import EncodedBatch

BATCH_BYTES = 256 << 10
"""Where a batch closes. Larger ones leave the CPU's cache between checksum and write (measured: 2.5 x slower to consume
at 1 MiB), smaller ones pay the header's Python more often."""

_BYTES_OR_NONE = {bytes, type(None)}
_MAX_TIMESTAMP_MS = 1 << 62
"""Far from where differences between two timestamps would not fit 64 bits."""

_RECORD_BYTES = 16
"""What a record counts beside its key and value: two references, while it waits."""


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
        "_column_bytes",
        "_column_headers",
        "_columns_timestamp",
        "_has_keys",
        "_keys",
        "_timestamp_asked",
        "_values",
        "batches",
        "has_all_keys",
        "size_bytes",
    )

    def __init__(self, codec: int, *, has_all_keys: bool = False) -> None:
        self._codec = codec
        self.has_all_keys = has_all_keys
        self._builder = RecordBatchBuilder()
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._has_keys = False
        self._column_bytes = 0
        self._column_headers: tuple[Header, ...] = ()
        self._columns_timestamp = 0
        self._timestamp_asked: int | None = None
        self.batches: list[EncodedBatch] = []
        self.size_bytes = 0

    def append(self, record: Record, timestamp_ms: int) -> None:
        self._close_columns()
        before = self._builder.size_bytes
        self._builder.append(record, timestamp_ms)
        self.size_bytes += self._builder.size_bytes - before
        if self._builder.size_bytes >= BATCH_BYTES:
            self._close_builder()

    def append_records(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        timestamps: Sequence[int],
        headers: Sequence[tuple[Header, ...]],
    ) -> None:
        """Take records that each have a key, a time and headers of their own, as parallel columns."""
        self._close_columns()
        sizes = [_RECORD_BYTES + len(value or b"") + len(key or b"") for value, key in zip(values, keys)]
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

    def append_lines(self, block: bytes | memoryview, count: int, timestamp_ms: int, key: bytes | None) -> None:
        """Take `count` newline-terminated values as one batch. The block is not copied, and not touched until drained."""
        self._close()
        self.batches.append(encode_lines(block, count=count, timestamp_ms=timestamp_ms, key=key, codec=self._codec))
        self.size_bytes += len(block)

    def append_columns(
        self,
        keys: Sequence[bytes | None] | None,
        values: Sequence[bytes | None],
        size_bytes: int,
        headers: tuple[Header, ...],
        timestamp_ms: int | None,
    ) -> None:
        """Take parallel keys and values; keys None is no key for any. timestamp_ms None is the time of the first of a batch.

        size_bytes: what size_of_columns says of them.
        """
        self._close_builder()
        if self._values and (timestamp_ms != self._timestamp_asked or headers != self._column_headers):
            self._close_columns()
        if not self._values:
            self._columns_timestamp = now_ms() if timestamp_ms is None else timestamp_ms
            self._timestamp_asked, self._column_headers = timestamp_ms, headers
        # A record costs memory even if it is empty.
        size = _RECORD_BYTES * len(values) + size_bytes
        if keys is None:
            self._keys += [None] * len(values)
        else:
            self._has_keys = True
            self._keys += keys
        self._values += values
        self._column_bytes += size
        self.size_bytes += size
        if self._column_bytes >= BATCH_BYTES:
            self._close_columns()

    def drain(self) -> list[EncodedBatch]:
        """Return all that waits, and begin anew."""
        self._close()
        batches, self.batches, self.size_bytes = self.batches, [], 0
        if self.has_all_keys:
            for batch in batches:
                batch.has_all_keys = True
        return batches

    def _close(self) -> None:
        self._close_builder()
        self._close_columns()

    def _close_builder(self) -> None:
        if len(self._builder):
            self.batches.append(self._builder.build(codec=self._codec))
            self._builder = RecordBatchBuilder()

    def _close_columns(self) -> None:
        """Encode the columns, as several batches if one call brought more than one should hold."""
        keys, values = self._keys, self._values
        if values:
            step = max(1, len(values) * 2 * BATCH_BYTES // max(self._column_bytes, 1))
            for at in range(0, len(values), step):
                self.batches.append(
                    encode_columns(
                        values[at : at + step],
                        base_timestamp=self._columns_timestamp,
                        keys=keys[at : at + step] if self._has_keys else None,
                        shared_headers=self._column_headers,
                        codec=self._codec,
                    )
                )
            self._keys, self._values, self._column_bytes, self._has_keys = [], [], 0, False


def size_of(headers: tuple[Header, ...]) -> int:
    """Return the bytes of headers that max.message.bytes counts."""
    return sum(len(name) + len(value or b"") for name, value in headers)


def _size_with_frames(headers: tuple[Header, ...]) -> int:
    return size_of(headers) + _RECORD_BYTES * len(headers)


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
