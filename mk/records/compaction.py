"""Which records of a log stay when it is compacted, and the batches that hold them afterwards.

Of each key the last record stays, at its offset. A batch that loses none is kept byte for byte; others are merged into
covering batches, which cover the offsets of all that they replace, so that batches still tile the offsets.

Pure: no files, no clock, no locks. Format: man/mk-format.5, COMPACTED BATCHES. Idea: Kafka's Cleaner and OffsetMap.
"""

from __future__ import annotations

from mk.records.codecs import MAX_RAW_BYTES, NONE
from mk.records.record_batch import (
    CODEC_MASK,
    COLUMNS,
    COMPACTED,
    CONTROL,
    HEADER_SIZE,
    KIND_MASK,
    LOG_APPEND_TIME,
    RecordBatch,
    batch_of_columns,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

MAP_BYTES = 96 << 20
"""What the keys of one pass may take, by estimate: 600,000 keys of 20 bytes."""

_ENTRY_BYTES = 140
"""What a key of no bytes takes in the map: the object, its offset, its place in the dict, which grows by doubling."""

_SHORT_KEY_BYTES = 32
"""Longer keys are kept as a digest of so many bytes and one more in front, which makes it equal to no short key."""

TARGET_BYTES = 256 << 10
"""Payload at which a covering batch is closed. Larger ones were slower to read."""

_SMALL_BYTES = 4 << 10
"""A batch below this is merged with its neighbours even if it loses nothing: records that came one by one stay together."""

_RECORD_BYTES = 16
_LONGEST_COVER = 1 << 31
"""Offsets that one batch may cover."""


class OffsetMap:
    """Of each key in part of a log, the offset of its last record. Its memory is bounded: see `take`."""

    __slots__ = ("_max_bytes", "_offsets", "size_bytes")

    def __init__(self, max_bytes: int = MAP_BYTES) -> None:
        self._offsets: dict[bytes | None, int] = {}
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._offsets)

    def take(self, batch: RecordBatch) -> bool:
        """Take the keys of the next batch, its payload checked. False if there is no room for them: nothing was taken.

        A single batch always fits. Records without a key are passed over. Raises CodecError.
        """
        if batch.attributes & CONTROL or not batch.record_count:
            return True
        offsets = self._offsets
        if not batch.attributes & KIND_MASK:
            key = batch.key_of_lines()
            if key is None:
                return True
            if self.size_bytes + len(key) + _ENTRY_BYTES > self._max_bytes and offsets:
                return False
            count = len(offsets)
            # Not where the batch ends: one that covers more offsets than it has lines would lose the last of them.
            offsets[_short(key)] = batch.base_offset + batch.record_count - 1
            self.size_bytes += (len(offsets) - count) * (len(key) + _ENTRY_BYTES)
            return True
        _, keys, _, _, deltas = batch.columns()
        if keys is None:
            return True
        keys, length = _shortened(keys)
        if self.size_bytes + len(keys) * (length + _ENTRY_BYTES) > self._max_bytes and offsets:
            return False
        count = len(offsets)
        offsets.update(zip(keys, offsets_of(batch, deltas), strict=True))
        offsets.pop(None, None)
        self.size_bytes += (len(offsets) - count) * (length + _ENTRY_BYTES)
        return True

    def latest(self, keys: Sequence[bytes | None]) -> list[int]:
        """Return of each key the offset of its last record; -1 where nothing is known of it, or it is None."""
        get = self._offsets.get
        return [get(key, -1) for key in _shortened(keys)[0]]


def offsets_of(batch: RecordBatch, deltas: Sequence[int] | None) -> Sequence[int]:
    """Return the offset of each record of a batch, given its column of offset deltas."""
    if deltas is None:
        return range(batch.base_offset, batch.base_offset + batch.record_count)
    base = batch.base_offset
    return [base + delta for delta in deltas]


def _shortened(keys: Sequence[bytes | None]) -> tuple[Sequence[bytes | None], int]:
    """Return the keys as the map has them, and about how many bytes one of them has."""
    longest = max((len(key) for key in keys if key is not None), default=0) if None in keys else max(map(len, keys))  # type: ignore[arg-type]
    if longest > _SHORT_KEY_BYTES:
        keys = [None if key is None else _short(key) for key in keys]
    return keys, min(longest, _SHORT_KEY_BYTES + 1)


def _short(key: bytes) -> bytes:
    if len(key) <= _SHORT_KEY_BYTES:
        return key
    from hashlib import blake2b

    return b"\0" + blake2b(key, digest_size=_SHORT_KEY_BYTES).digest()


class CompactedBatch:
    """A batch of the compacted log: `data` as it is to be written, one after the other, and where it ends.

    is_new: it is not byte for byte as it was.
    """

    __slots__ = ("data", "is_new", "max_timestamp", "next_offset", "size_bytes")

    def __init__(
        self, data: Sequence[bytes | memoryview], size_bytes: int, next_offset: int, max_timestamp: int, *, is_new: bool
    ) -> None:
        self.data = data
        self.size_bytes = size_bytes
        self.next_offset = next_offset
        self.max_timestamp = max_timestamp
        self.is_new = is_new


class Compaction:
    """Turns the batches of a log, handed over in order, into those that it has when it is compacted.

    records_before, records_after, tombstones_dropped, tombstones_kept: so far. dropped_to: behind the last tombstone dropped.
    """

    __slots__ = (
        "_boundaries",
        "_horizon",
        "_map",
        "_pending",
        "dropped_to",
        "records_after",
        "records_before",
        "tombstones_dropped",
        "tombstones_kept",
    )

    def __init__(self, offset_map: OffsetMap, *, horizon: int, boundaries: Iterable[int] = ()) -> None:
        """horizon: below it, tombstones go. boundaries: offsets at which a batch has to end if one did before."""
        self._map = offset_map
        self._horizon = horizon
        self._boundaries = frozenset(boundaries)
        self._pending: _Cover | None = None
        self.records_before = self.records_after = 0
        self.tombstones_dropped = self.tombstones_kept = 0
        self.dropped_to = 0

    def add(self, batch: RecordBatch, data: memoryview) -> Iterator[CompactedBatch]:
        """Take the next batch, its payload checked, of which `data` are all its bytes. Yields what is complete then.

        `data` is kept until it was yielded. Raises CodecError.
        """
        columns = None if batch.attributes & (CONTROL | KIND_MASK) != COLUMNS else batch.columns()
        kept = self._kept(batch, columns)
        if kept is None and (batch.size_bytes >= _SMALL_BYTES or batch.attributes & CONTROL):
            yield from self.flush()
            self.records_before += batch.record_count
            self.records_after += batch.record_count
            yield CompactedBatch([data], len(data), batch.next_offset, batch.max_timestamp, is_new=False)
            return
        pending = self._pending
        if pending is not None and not pending.takes(batch):
            yield from self.flush()
            pending = None
        if pending is None:
            pending = self._pending = _Cover(batch)
        self.records_before += batch.record_count
        self.records_after += pending.add(batch, data, kept, columns)
        if pending.size_bytes >= TARGET_BYTES or pending.next_offset in self._boundaries:
            yield from self.flush()

    def flush(self) -> Iterator[CompactedBatch]:
        """Yield what is held back, if anything is. The next batch begins a new one."""
        pending, self._pending = self._pending, None
        if pending is not None:
            yield from pending.batches()

    def _kept(self, batch: RecordBatch, columns: list[Any] | None) -> list[int] | None:
        """Return the places in a batch of the records that stay, None if all do."""
        if batch.attributes & CONTROL:
            return None
        count = batch.record_count
        if columns is None:
            key = batch.key_of_lines()
            last = -1 if key is None else self._map.latest([key])[0]
            # All have one key: what is in front of its last record goes. Behind it are those that the map does not reach.
            return None if last <= batch.base_offset else list(range(last - batch.base_offset, count))
        values, keys, _, _, deltas = columns
        if keys is None:
            return None
        offsets = offsets_of(batch, deltas)
        stay = [
            at for at, (last, offset) in enumerate(zip(self._map.latest(keys), offsets, strict=True)) if last <= offset
        ]
        if None in values:
            stay = self._without_old_tombstones(stay, values, keys, offsets)
        return None if len(stay) == count else stay

    def _without_old_tombstones(
        self, stay: list[int], values: Sequence[bytes | None], keys: Sequence[bytes | None], offsets: Sequence[int]
    ) -> list[int]:
        left = []
        for at in stay:
            if values[at] is None and keys[at] is not None:
                if offsets[at] < self._horizon:
                    self.tombstones_dropped += 1
                    self.dropped_to = max(self.dropped_to, offsets[at] + 1)
                    continue
                self.tombstones_kept += 1
            left.append(at)
        return left


class _Cover:
    """Neighbouring batches on their way to be one.

    They are of one leader epoch and one kind of time. A single one that loses nothing stays as it is.
    """

    __slots__ = (
        "_base_offset",
        "_chain",
        "_codec",
        "_durable_offset",
        "_epoch",
        "_headers",
        "_keys",
        "_log_append_time",
        "_max_timestamp",
        "_offsets",
        "_only",
        "_times",
        "_values",
        "next_offset",
        "size_bytes",
    )

    def __init__(self, first: RecordBatch) -> None:
        self._base_offset = self.next_offset = first.base_offset
        self._epoch = first.leader_epoch
        self._log_append_time = first.attributes & LOG_APPEND_TIME
        self._durable_offset = first.durable_offset
        self._chain = first.chain
        self._codec = NONE
        self._max_timestamp = -1
        self._only: memoryview | None = None
        self._values: list[bytes | None] = []
        self._keys: list[bytes | None] = []
        self._times: list[int] = []
        self._headers: list[list[bytes | None]] = []
        self._offsets: list[int] = []
        self.size_bytes = 0

    def takes(self, batch: RecordBatch) -> bool:
        """Tell whether the next batch can become part of this one."""
        return (
            batch.leader_epoch == self._epoch
            and batch.attributes & LOG_APPEND_TIME == self._log_append_time
            and batch.next_offset - self._base_offset <= _LONGEST_COVER
        )

    def add(self, batch: RecordBatch, data: memoryview, kept: list[int] | None, columns: list[Any] | None) -> int:
        """Take the records of a batch that stay, all if `kept` is None. Returns how many they are."""
        # Of several, no bytes are needed any more: of those without a record that stays there may be very many.
        self._only = data if kept is None and self.next_offset == self._base_offset else None
        self._chain, self._codec = batch.chain, batch.attributes & CODEC_MASK
        self.next_offset = batch.next_offset
        count = batch.record_count if kept is None else len(kept)
        if not count:
            return 0
        values, keys, times, headers, offsets = _records_of(batch, columns)
        if kept is not None:
            values, keys, times, offsets = ([column[at] for at in kept] for column in (values, keys, times, offsets))
            headers = [headers[at] for at in kept] if headers else headers
        self._values += values
        self._keys += keys
        self._times += times
        self._headers += headers or [[] for _ in values]
        self._offsets += offsets
        self._max_timestamp = max(self._max_timestamp, max(times))
        self.size_bytes += sum(len(value) for value in values if value) + sum(len(key) for key in keys if key)
        self.size_bytes += _RECORD_BYTES * count
        return count

    def batches(self) -> Iterator[CompactedBatch]:
        if self._only is not None:
            yield CompactedBatch([self._only], len(self._only), self.next_offset, self._max_timestamp, is_new=False)
            return
        base, start = self._base_offset, 0
        for stop in self._stops():
            next_offset = self.next_offset if stop == len(self._offsets) else self._offsets[stop - 1] + 1
            yield self._encode(slice(start, stop), base, next_offset)
            base, start = next_offset, stop

    def _stops(self) -> Iterator[int]:
        """Yield how many records are in the first batch, in the first two, and so on: one, but for what no reader would take."""
        size_bytes = 0
        if self.size_bytes > MAX_RAW_BYTES // 2:
            for at, (value, key, headers) in enumerate(zip(self._values, self._keys, self._headers, strict=True)):
                size_of_record = _RECORD_BYTES + sum(
                    len(part) + _RECORD_BYTES for part in (value, key, *headers) if part
                )
                if size_bytes and size_bytes + size_of_record > MAX_RAW_BYTES // 2:
                    yield at
                    size_bytes = 0
                size_bytes += size_of_record
        yield len(self._values)

    def _encode(self, part: slice, base_offset: int, next_offset: int) -> CompactedBatch:
        values, keys, times = self._values[part], self._keys[part], self._times[part]
        headers, offsets = self._headers[part], self._offsets[part]
        base_timestamp = times[0] if times else -1
        columns: list[Sequence[Any] | None] = [
            values,
            keys if any(key is not None for key in keys) else None,
            [time - base_timestamp for time in times] if times.count(base_timestamp) != len(times) else None,
            headers if any(headers) else None,
            [offset - base_offset for offset in offsets] if len(offsets) != next_offset - base_offset else None,
        ]
        encoded = batch_of_columns(columns, base_timestamp=base_timestamp, codec=self._codec)
        encoded.attributes |= COMPACTED | self._log_append_time
        encoded.last_offset_delta = next_offset - base_offset - 1
        header = encoded.stamp(base_offset, self._epoch, self._durable_offset, self._chain)
        size_bytes = HEADER_SIZE + encoded.payload_length
        return CompactedBatch([header, *encoded.payload], size_bytes, next_offset, encoded.max_timestamp, is_new=True)


def _records_of(
    batch: RecordBatch, columns: list[Any] | None
) -> tuple[Sequence[Any], Sequence[Any], Sequence[int], Sequence[Any], Sequence[int]]:
    """Return values, keys, times, headers and offsets of a batch's records; no headers where none has any."""
    count = batch.record_count
    if columns is None:
        # A writer with a bug, or with something in mind, may have said another number: the records would get wrong offsets.
        batch.prove()
        values = bytes(batch.lines() or b"")[:-1].split(b"\n")
        offsets = range(batch.base_offset, batch.base_offset + count)
        return values, [batch.key_of_lines()] * count, [batch.base_timestamp] * count, [], offsets
    values, keys, deltas, headers, offset_deltas = columns
    base = batch.base_timestamp
    return (
        values,
        [None] * count if keys is None else keys,
        [base] * count if deltas is None else [base + delta for delta in deltas],
        headers or [],
        offsets_of(batch, offset_deltas),
    )
