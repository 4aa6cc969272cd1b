"""Gathering keys and values, with headers and time in common, into a columns batch: packed as they come.

Not when the batch is full: the records of one partition lie scattered among those of all others then, no longer in the
processor's cache, and packing them takes three times as long (measured with 8 partitions).
"""

from __future__ import annotations

from mk.records.codecs import LARGE_BYTES, NONE, ItemPacker, array_header, pack
from mk.records.record_batch import batch_of_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.records.record import Header
    from mk.records.record_batch import EncodedBatch

_FEW_RECORDS = 64
"""Fewer wait for more: with 1000 partitions a piece of input has two or three records for each of them, and a call into
msgpack takes as long as packing twenty."""

_NIL = b"\xc0"


class ColumnsBuilder:
    """The records of one columns batch, until it is built. len() is how many there are.

    size_bytes: what they take, roughly while they are few.
    """

    __slots__ = (
        "_count",
        "_flat_headers",
        "_has_keys",
        "_keys",
        "_packed_keys",
        "_packed_values",
        "_packer",
        "_timestamp_ms",
        "_values",
        "_waiting_bytes",
        "size_bytes",
    )

    def __init__(self, headers: tuple[Header, ...], timestamp_ms: int) -> None:
        """Begin a batch. All its records have these headers and this time, in ms since the epoch."""
        self._flat_headers = pack([part for header in headers for part in header]) if headers else b""
        self._timestamp_ms = timestamp_ms
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._waiting_bytes = 0
        self._packer = ItemPacker()
        self._packed_keys: list[bytes | memoryview] = []
        self._packed_values: list[bytes | memoryview] = []
        self._has_keys = False
        self._count = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, keys: Sequence[bytes | None] | None, values: Sequence[bytes | None]) -> None:
        """Take parallel keys and values; keys None is no key for any."""
        if keys is None:
            self._keys += [None] * len(values)
        else:
            self._has_keys = True
            self._keys += keys
        self._values += values
        self._count += len(values)
        if len(self._values) >= _FEW_RECORDS:
            self._pack()
        else:
            added = sum(map(len, filter(None, values))) + (0 if keys is None else sum(map(len, filter(None, keys))))
            added += len(self._flat_headers) * len(values)
            self._waiting_bytes += added
            self.size_bytes += added

    def build(self, codec: int) -> EncodedBatch:
        """Return the batch."""
        self._pack()
        header = array_header(self._count)
        headers = [header, self._flat_headers * self._count] if self._flat_headers else [_NIL]
        keys = [header, *self._packed_keys] if self._has_keys else [_NIL]
        parts = [array_header(5), header, *self._packed_values, *keys, _NIL, *headers, _NIL]
        if codec != NONE or self.size_bytes <= LARGE_BYTES:
            parts = [b"".join(parts)]
        return batch_of_payload(parts, self._count, self._timestamp_ms, self._timestamp_ms, codec)

    def _pack(self) -> None:
        values, keys = self._values, self._keys
        packed_values = self._packer.pack(values)
        packed_keys = self._packer.pack(keys) if self._has_keys else _NIL * len(keys)
        self._packed_values.append(packed_values)
        self._packed_keys.append(packed_keys)
        added = len(packed_values) + len(packed_keys) + len(self._flat_headers) * len(values)
        self.size_bytes += added - self._waiting_bytes
        self._keys, self._values, self._waiting_bytes = [], [], 0
