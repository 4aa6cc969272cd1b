"""Batches of a log directory made of what Kafka holds, offset by offset. Pure.

Marks of transactions, aborted records and those that were compacted away leave holes in Kafka's offsets. The batches of a
directory tile them: one with a hole, or behind which there is one, is flagged as compacted and says of each record where it
is; where there is no record at all, a bridge stands.
"""

from __future__ import annotations

from mk.kafka_cluster.message_headers import given_headers
from mk.records.bridge import bridge
from mk.records.record_batch import COMPACTED, LOG_APPEND_TIME, RecordBatchBuilder, batch_of_columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.records.record_batch import EncodedBatch

    _Pairs = tuple[tuple[bytes, bytes | None], ...]

_BATCH_BYTES = 1 << 20
_LONGEST_COVER = 1 << 31
_LOG_APPEND_TYPE = 2
"""The library's number for a time that the broker has given."""


class BatchMaker:
    """Makes the bytes of batches that continue a log, one behind the other.

    next_offset: where the next one begins. chain: of the last one. epoch: leader epoch of all of them.
    """

    __slots__ = ("_codec", "chain", "epoch", "next_offset")

    def __init__(self, next_offset: int, chain: int, epoch: int, codec: int) -> None:
        self.next_offset = next_offset
        self.chain = chain
        self.epoch = epoch
        self._codec = codec

    def batches(self, messages: Sequence[Any]) -> list[bytes | memoryview]:
        """Return the bytes of batches with these messages of the library, which are of ascending offsets at or behind
        next_offset."""
        # The methods of the class by `map`: that is half the time of asking each message.
        kind_of = type(messages[0])
        values = list(map(kind_of.value, messages))
        keys = list(map(kind_of.key, messages))
        offsets = list(map(kind_of.offset, messages))
        kinds, times = map(list, zip(*map(kind_of.timestamp, messages)))
        headers = given_headers(messages, kind_of)
        pairs: list[_Pairs] = list(map(_pairs_of, headers)) if any(headers) else [()] * len(headers)
        out: list[bytes | memoryview] = []
        start = 0
        for stop in _cuts(kinds, values, keys, pairs):
            some = slice(start, stop)
            kind = LOG_APPEND_TIME if kinds[start] == _LOG_APPEND_TYPE else 0
            self._add(out, values[some], keys[some], offsets[some], times[some], pairs[some], kind)
            start = stop
        return out

    def cover_to(self, offset: int) -> bytes:
        """Return batches without records up to an offset, b"" if it is reached."""
        data = bridge(self.next_offset, offset, self.epoch, self.chain) if self.next_offset < offset else b""
        self.next_offset = max(self.next_offset, offset)
        return data

    def _add(
        self,
        out: list[bytes | memoryview],
        values: list[bytes | None],
        keys: list[bytes | None],
        offsets: list[int],
        times: list[int],
        headers: list[_Pairs],
        kind: int,
    ) -> None:
        base, last = self.next_offset, offsets[-1]
        if last - base >= _LONGEST_COVER:
            out.append(self.cover_to(offsets[0]))
            base = offsets[0]
        if last - base + 1 == len(offsets):
            builder = RecordBatchBuilder()
            builder.extend((values, keys, times, headers), 0)
            batch = builder.build(codec=self._codec)
        else:
            batch = _with_holes(values, keys, offsets, times, headers, base, self._codec)
        batch.attributes |= kind
        self.chain = batch.chain_after(self.chain)
        out.append(batch.stamp(base, self.epoch, 0, self.chain))
        out += batch.payload
        self.next_offset = last + 1


def _with_holes(
    values: list[bytes | None],
    keys: list[bytes | None],
    offsets: list[int],
    times: list[int],
    headers: list[_Pairs],
    base: int,
    codec: int,
) -> EncodedBatch:
    flat = [[part for header in of_record for part in header] for of_record in headers] if any(headers) else None
    first = times[0]
    batch = batch_of_columns(
        [
            values,
            None if keys.count(None) == len(keys) else keys,
            None if times.count(first) == len(times) else [time - first for time in times],
            flat,
            [offset - base for offset in offsets],
        ],
        base_timestamp=first,
        codec=codec,
    )
    batch.last_offset_delta = offsets[-1] - base
    batch.attributes |= COMPACTED
    return batch


def _pairs_of(headers: list[tuple[str, bytes | None]] | None) -> _Pairs:
    return () if not headers else tuple([(name.encode(), value) for name, value in headers])


def _cuts(
    kinds: list[int],
    values: list[bytes | None],
    keys: list[bytes | None],
    headers: list[_Pairs],
) -> list[int]:
    """Return where batches end: each has one kind of time, and a bounded size."""
    size = sum(map(len, filter(None, values))) + sum(map(len, filter(None, keys)))
    count = len(values)
    if size < _BATCH_BYTES and kinds.count(_LOG_APPEND_TYPE) in (0, count) and not any(headers):
        return [count]
    cuts, held = [], 0
    for at, (value, key, pairs) in enumerate(zip(values, keys, headers)):
        more = len(value or b"") + len(key or b"") + sum(16 + len(name) + len(text or b"") for name, text in pairs)
        is_other = at and (kinds[at] == _LOG_APPEND_TYPE) != (kinds[at - 1] == _LOG_APPEND_TYPE)
        if held and (held + more > _BATCH_BYTES or is_other):
            cuts.append(at)
            held = 0
        held += more + 1
    cuts.append(count)
    return cuts
