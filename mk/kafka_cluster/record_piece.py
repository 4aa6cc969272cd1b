"""Records of one partition on their way to a Kafka cluster: columns, as they came, which librdkafka makes batches of."""

from __future__ import annotations

from mk.producer.record_accumulator import BATCH_BYTES, RECORD_BYTES, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.records.record import Header, Record


class RecordPiece:
    """Some records, in order, handed over at once.

    values: None is a tombstone. keys: of each record; None is no key for any. times: of each record, in ms; one for all; or
    None, the time at which they are handed over. headers: of each record; None is no headers for any.
    size_bytes: of values, keys and headers, roughly.
    """

    __slots__ = ("headers", "keys", "size_bytes", "times", "values")

    def __init__(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None,
        times: Sequence[int] | int | None,
        headers: Sequence[tuple[Header, ...]] | None,
        size_bytes: int,
    ) -> None:
        self.values = values
        self.keys = keys
        self.times = times
        self.headers = headers
        self.size_bytes = size_bytes

    def __len__(self) -> int:
        return len(self.values)


class LinesPiece:
    """A block of newline-terminated values with one key and one time, taken apart when it is handed over."""

    __slots__ = ("_block", "_count", "_key", "_time", "size_bytes")

    def __init__(self, block: bytes | memoryview, count: int, time: int | None, key: bytes | None) -> None:
        self._block = block
        self._count = count
        self._time = time
        self._key = key
        self.size_bytes = len(block) + count * len(key or b"")

    def __len__(self) -> int:
        return self._count

    def taken_apart(self) -> RecordPiece:
        values = bytes(self._block[:-1]).split(b"\n")
        keys = None if self._key is None else [self._key] * len(values)
        return RecordPiece(values, keys, self._time, None, self.size_bytes)


class PieceAccumulator:
    """What waits for one partition, with the methods of a RecordAccumulator; nothing is encoded.

    batches: the pieces that are closed.
    """

    __slots__ = ("_headers", "_keys", "_open_bytes", "_times", "_values", "batches", "has_all_keys", "size_bytes")

    def __init__(self) -> None:
        self.batches: list[RecordPiece | LinesPiece] = []
        self.has_all_keys = False
        self.size_bytes = 0
        self._begin()

    def append(self, record: Record, timestamp_ms: int) -> int:
        """Take one record; returns, as the others do, what size_bytes grew by."""
        self._values.append(record.value)
        self._keys.append(record.key)
        self._times.append(timestamp_ms)
        self._headers.append(record.headers)
        added = RECORD_BYTES + len(record.value or b"") + len(record.key or b"") + size_of(record.headers)
        return self._grew(added)

    def append_records(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        timestamps: Sequence[int],
        headers: Sequence[tuple[Header, ...]],
    ) -> int:
        """Take records that each have a key, a time and headers of their own, as parallel columns."""
        self._values += values
        self._keys += keys
        self._times += timestamps
        self._headers += headers
        added = RECORD_BYTES * len(values) + sum(map(len, filter(None, values))) + sum(map(len, filter(None, keys)))
        if any(headers):
            added += sum(map(size_of, headers))
        return self._grew(added)

    def append_lines(self, block: bytes | memoryview, count: int, timestamp_ms: int | None, key: bytes | None) -> None:
        """Take `count` newline-terminated values. The block is not copied, and not touched until drained."""
        self._close()
        self._add(LinesPiece(block, count, timestamp_ms, key))
        self.size_bytes += len(block)

    def append_columns(
        self,
        keys: Sequence[bytes | None] | None,
        values: Sequence[bytes | None],
        headers: tuple[Header, ...],
        timestamp_ms: int | None,
    ) -> int:
        """Take parallel keys and values; keys None is no key for any. Headers and time are those of each."""
        self._close()
        size = sum(map(len, filter(None, values))) + (0 if keys is None else sum(map(len, filter(None, keys))))
        added = size + (RECORD_BYTES + size_of(headers)) * len(values)
        each = [headers] * len(values) if headers else None
        self._add(RecordPiece(values, keys, timestamp_ms, each, added))
        self.size_bytes += added
        return added

    def drain(self) -> list[RecordPiece | LinesPiece]:
        """Return all that waits, and begin anew."""
        self._close()
        pieces, self.batches, self.size_bytes = self.batches, [], 0
        return pieces

    def _begin(self) -> None:
        self._values: list[bytes | None] = []
        self._keys: list[bytes | None] = []
        self._times: list[int] = []
        self._headers: list[tuple[Header, ...]] = []
        self._open_bytes = 0

    def _grew(self, added: int) -> int:
        self.size_bytes += added
        self._open_bytes += added
        if self._open_bytes >= BATCH_BYTES:
            self._close()
        return added

    def _close(self) -> None:
        if self._values:
            headers: Any = self._headers if any(self._headers) else None
            self._add(RecordPiece(self._values, self._keys, self._times, headers, self._open_bytes))
            self._begin()

    def _add(self, piece: RecordPiece | LinesPiece) -> None:
        self.batches.append(piece)
