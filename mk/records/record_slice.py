"""Some thousand records of a batch as columns: whoever prints fields needs no records, which take longer to make than to print.

The one door to fields of many records, for those that come as columns and for those that come as records.
"""

from __future__ import annotations

from itertools import repeat
from operator import attrgetter

from mk.records.record import ConsumerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, TypeAlias

    from mk.records.record import Header

    Records: TypeAlias = "Sequence[ConsumerRecord] | RecordSlice"


class RecordSlice:
    """Records of one partition and leader epoch as parallel columns; iterated, the records, made one by one."""

    __slots__ = ("headers", "keys", "leader_epoch", "offsets", "partition", "timestamps", "topic", "values")

    def __init__(
        self,
        topic: str,
        partition: int,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Sequence[tuple[Header, ...]],
        leader_epoch: int,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offsets = offsets
        self.timestamps = timestamps
        self.keys = keys
        self.values = values
        self.headers = headers
        self.leader_epoch = leader_epoch

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[ConsumerRecord]:
        place = repeat(self.topic), repeat(self.partition)
        columns = self.offsets, self.timestamps, self.keys, self.values, self.headers
        return map(ConsumerRecord, *place, *columns, repeat(self.leader_epoch))

    def __getitem__(self, at: Any) -> Any:
        """Return one record by its place, or a slice of them."""
        if not isinstance(at, slice):
            return next(iter(self[at : at + 1 or None]))
        return RecordSlice(
            self.topic,
            self.partition,
            self.offsets[at],
            self.timestamps[at],
            self.keys[at],
            self.values[at],
            self.headers[at],
            self.leader_epoch,
        )


_COLUMNS = {"offset": "offsets", "timestamp_ms": "timestamps", "key": "keys", "value": "values", "headers": "headers"}


def column_of(records: Iterable[ConsumerRecord] | RecordSlice, name: str) -> Iterable[Any]:
    """Return one field of each record, by the name that it has in ConsumerRecord."""
    if not isinstance(records, RecordSlice):
        return map(attrgetter(name), records)
    column = _COLUMNS.get(name)
    return repeat(getattr(records, name), len(records)) if column is None else getattr(records, column)


def fields_of(records: Iterable[ConsumerRecord] | RecordSlice, *names: str) -> Iterator[tuple[Any, ...]]:
    """Return some fields of each record, as tuples."""
    if not isinstance(records, RecordSlice) and len(names) > 1:
        return map(attrgetter(*names), records)
    return zip(*[column_of(records, name) for name in names])
