"""Records of a Kafka partition as they came from the library, in the shape of a batch of a log: as columns, made when asked for.

Most formats print one or two fields, so the others are never taken out of a message.
"""

from __future__ import annotations

from mk.kafka_cluster.message_headers import given_headers
from mk.records.record_batch import COLUMNS, COMPACTED, NO_KEY, NO_SEQUENCE, RecordBatch
from mk.records.record_slice import RecordSlice
from mk.storage.backward_reader import StoredBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from mk.records.record import Header

_FRAMING_BYTES = 32


class KafkaBatch(RecordBatch):
    """Messages of one partition and leader epoch, in offset order, at least one; where offsets have holes, as if compacted."""

    __slots__ = ("_fields", "_messages")

    def __init__(self, messages: Sequence[Any], fields: type, *, leader_epoch: int) -> None:
        """fields: the class of the messages. leader_epoch: of all of them."""
        self._messages = messages
        self._fields: Any = fields
        self.base_offset = messages[0].offset()
        self.last_offset_delta = messages[-1].offset() - self.base_offset
        self.record_count = len(messages)
        is_dense = self.record_count == self.last_offset_delta + 1
        self.attributes = COLUMNS if is_dense else COLUMNS | COMPACTED
        self.leader_epoch = leader_epoch
        self.key_length = NO_KEY
        self.producer_id = self.position = self.durable_offset = self.chain = self.payload_crc = 0
        self.first_sequence = self.last_sequence = NO_SEQUENCE
        self.payload = None
        self.is_newer = False

    # What a header would say, looked at when it is asked for.

    @property
    def payload_length(self) -> int:  # type: ignore[override]
        return sum(map(len, self._messages)) + _FRAMING_BYTES * self.record_count

    @property
    def raw_length(self) -> int:  # type: ignore[override]
        return self.payload_length

    @property
    def base_timestamp(self) -> int:  # type: ignore[override]
        return self._messages[0].timestamp()[1]  # type: ignore[no-any-return]

    @property
    def max_timestamp(self) -> int:  # type: ignore[override]
        return max(self._times())

    def prove(self) -> None:
        """The library has proved what came."""

    def record_slices(self, topic: str, partition: int) -> Iterator[RecordSlice]:
        """Yield all records, fields made when they are asked for."""
        yield _MessageSlice(self, topic, partition)

    def columns(self) -> list[Any]:
        """Return the five columns as a log has them; see record_batch."""
        base, first = self.base_timestamp, self.base_offset
        times, keys, headers = self._times(), self._column("key"), self._headers()
        return [
            self._column("value"),
            None if keys.count(None) == len(keys) else keys,
            None if times.count(base) == len(times) else [time - base for time in times],
            [[part for header in of_record for part in header] for of_record in headers] if any(headers) else None,
            [offset - first for offset in self._offsets()] if self.attributes & COMPACTED else None,
        ]

    def _column(self, name: str) -> list[Any]:
        return list(map(getattr(self._fields, name), self._messages))

    def _offsets(self) -> Sequence[int]:
        if self.attributes & COMPACTED:
            return self._column("offset")
        return range(self.base_offset, self.base_offset + self.record_count)

    def _times(self) -> list[int]:
        return [time for _, time in map(self._fields.timestamp, self._messages)]

    def _headers(self) -> list[tuple[Header, ...]]:
        return [
            () if not headers else tuple([(name.encode(), value) for name, value in headers])
            for headers in given_headers(self._messages, self._fields)
        ]


class EmptyBatch(RecordBatch):
    """Offsets of which no record is left, or ever was one that can be read: compacted, aborted, markers."""

    __slots__ = ()

    def __init__(self, base_offset: int, next_offset: int) -> None:
        self.base_offset = base_offset
        self.last_offset_delta = next_offset - base_offset - 1
        self.attributes = COLUMNS | COMPACTED
        self.key_length = NO_KEY
        self.first_sequence = self.last_sequence = NO_SEQUENCE
        self.record_count = self.base_timestamp = self.max_timestamp = self.leader_epoch = self.payload_length = 0

    def record_slices(self, topic: str, partition: int) -> Iterator[RecordSlice]:
        return iter(())


class _MessageSlice(RecordSlice):
    """All records of a batch. Each column is made when it is asked for."""

    __slots__ = ("_batch",)

    def __init__(self, batch: KafkaBatch, topic: str, partition: int) -> None:
        self._batch = batch
        self.topic = topic
        self.partition = partition
        self.leader_epoch = batch.leader_epoch

    def __len__(self) -> int:
        return self._batch.record_count

    @property
    def offsets(self) -> Sequence[int]:  # type: ignore[override]
        return self._batch._offsets()

    @property
    def timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return self._batch._times()

    @property
    def keys(self) -> Sequence[bytes | None]:  # type: ignore[override]
        return self._batch._column("key")

    @property
    def values(self) -> Sequence[bytes | None]:  # type: ignore[override]
        return self._batch._column("value")

    @property
    def headers(self) -> Sequence[tuple[Header, ...]]:  # type: ignore[override]
        return self._batch._headers()


class FetchedStoredBatch(StoredBatch):
    """A batch that was read backward, with all that it holds."""

    __slots__ = ()

    def __init__(self, path: str, batch: RecordBatch) -> None:
        super().__init__(-1, path, batch)

    def load(self) -> RecordBatch:
        return self.header


def batches_of(messages: list[Any], fields: type) -> list[RecordBatch]:
    """Return messages of one partition, in offset order, as batches: one for each leader epoch, of which there rarely are two."""
    first, last = messages[0].leader_epoch() or 0, messages[-1].leader_epoch() or 0
    if first == last:
        return [KafkaBatch(messages, fields, leader_epoch=max(first, 0))]
    batches: list[RecordBatch] = []
    run: list[Any] = []
    for message in messages:
        if run and message.leader_epoch() != run[0].leader_epoch():
            batches.append(KafkaBatch(run, fields, leader_epoch=max(run[0].leader_epoch() or 0, 0)))
            run = []
        run.append(message)
    batches.append(KafkaBatch(run, fields, leader_epoch=max(run[0].leader_epoch() or 0, 0)))
    return batches
