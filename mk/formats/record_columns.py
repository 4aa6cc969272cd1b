"""Records that were read from input and say more of themselves than a value: gathered as columns, for the producer."""

from __future__ import annotations

from mk.records.codecs import MAX_RAW_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.records.record import Header

MAX_TIMESTAMP_MS = 1 << 62
MAX_PARTITION = 1 << 31
MAX_FRAME_BYTES = MAX_RAW_BYTES + (1 << 20)
"""More than any record that mk stores takes: what claims to be longer is not waited for."""


class RecordColumns:
    """Parallel columns: what each record says of itself. None in topics, partitions and timestamps: it does not say."""

    __slots__ = ("headers", "keys", "partitions", "timestamps", "topics", "values")

    def __init__(self) -> None:
        self.topics: list[str | None] = []
        self.partitions: list[int | None] = []
        self.timestamps: list[int | None] = []
        self.headers: list[tuple[Header, ...]] = []
        self.keys: list[bytes | None] = []
        self.values: list[bytes | None] = []

    def __len__(self) -> int:
        return len(self.values)

    def append(
        self,
        value: bytes | None,
        key: bytes | None,
        headers: tuple[Header, ...],
        timestamp_ms: int | None,
        partition: int | None,
        topic: str | None,
    ) -> None:
        """Take one record. Raises BadRecordError where its time or partition is a number that none can have."""
        if timestamp_ms is not None and not -MAX_TIMESTAMP_MS <= timestamp_ms <= MAX_TIMESTAMP_MS:
            raise BadRecordError("its time is no number of milliseconds that a record can have")
        if partition is not None and not 0 <= partition < MAX_PARTITION:
            raise BadRecordError("its partition is no number that a partition can have")
        self.topics.append(topic)
        self.partitions.append(partition)
        self.timestamps.append(timestamp_ms)
        self.headers.append(headers)
        self.keys.append(key)
        self.values.append(value)

    def part(self, chosen: Sequence[int]) -> RecordColumns:
        """Return some of the records, by their places."""
        part = RecordColumns()
        for name in RecordColumns.__slots__:
            column = getattr(self, name)
            setattr(part, name, [column[at] for at in chosen])
        return part


class BadRecordError(ValueError):
    """What stands in the input is no record of its format. The text says why, as the end of a sentence, without values."""
