"""Record batches: the unit that is checksummed, appended, replicated and read whole.

A batch is a header of 128 bytes and a payload. All integers are big-endian; reserved bytes are zero.

      0  4s   magic             8A 4D 4B 01: the last byte is the version
      4  u32  payload_length    bytes that follow the header
      8  u32  payload_crc       CRC-32C of those bytes
     12  u32  raw_length        payload before compression, bytes
     16  u16  attributes        see the constants below
     18  u16  reserved
     20  i32  key_length        lines only: the key that all records share, at the front of the payload; -1 is no key
     24  i64  base_offset
     32  u32  record_count      0 only in a compacted batch
     36  u32  last_offset_delta  the batch covers base_offset .. base_offset + this
     40  i64  base_timestamp    ms since the epoch
     48  i64  max_timestamp     ms since the epoch
     56  u64  leader_epoch      promotions in the upper, recoveries in the lower half
     64  u64  producer_id       hash of the producer's name; 0 is none
     72  i64  first_sequence    input sequences of the first and last record; -1 without producer
     80  i64  last_sequence
     88  i64  durable_offset    everything below it was on disk when this batch was stamped
     96  u32  chain             CRC-32C over the previous chain and this batch, see chain_of
    100  24s  reserved
    124  u32  header_crc        CRC-32C of the 124 bytes before it

Two payload kinds. *lines*: newline-terminated values as a pipe delivers them, after the shared key if there is one, all
with base_timestamp. *columns*: one msgpack array of five, [values, keys, timestamps, headers, offset deltas], each but
the first nil where it says nothing; timestamps as differences to base_timestamp; the headers of a record as one flat
list, name, value, name, value.

Pure: no files, no clock, no locks. Format: man/mk-format.5, RECORD BATCH. Idea: Kafka's DefaultRecordBatch.
"""

from __future__ import annotations

from _struct import Struct

from mk.errors import RecordTooLargeError
from mk.records.codecs import (
    GZIP,
    LZ4,
    MAX_RATIO,
    MAX_RAW_BYTES,
    NONE,
    ZSTD,
    CodecError,
    compress,
    crc32c,
    decompress,
    pack,
    unpack,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from mk.records.record import ConsumerRecord, Header, Record
    from mk.records.record_slice import RecordSlice

MAGIC = b"\x8aMK\x01"
HEADER_SIZE = 128

# Attributes. Bits not named here are reserved and zero.
CODEC_MASK = 0x0007
LOG_APPEND_TIME = 0x0008
CONTROL = 0x0020
COMPACTED = 0x0040
KIND_MASK = 0x0300
LINES = 0x0000
COLUMNS = 0x0100
_KNOWN_ATTRIBUTES = CODEC_MASK | LOG_APPEND_TIME | CONTROL | COMPACTED | COLUMNS
_KNOWN_CODECS = (NONE, GZIP, LZ4, ZSTD)

NO_KEY = -1
NO_SEQUENCE = -1
_MAX_INT64 = (1 << 63) - 1
_RESERVED = bytes(24)
_SLICE_RECORDS = 1024
"""Records that are decoded at once: what is printed of them stays in the processor's cache, and in memory used before."""

_FIELDS = Struct(">4sIIIHHiqIIqqQQqqqI24s")
_CRC = Struct(">I")
CHAIN = Struct(">IIQqq")
assert _FIELDS.size + _CRC.size == HEADER_SIZE


def chain_of(previous: int, payload_crc: int, count: int, producer_id: int, first: int, last: int) -> int:
    """Link a batch to all before it, so that equal chains at equal offsets mean equal histories.

    Independent of what a leader stamps (epoch, durable offset), so a copy can be compared batch by batch.
    """
    return crc32c(CHAIN.pack(payload_crc, count, producer_id, first, last), previous)


class EncodedBatch:
    """A batch with everything but its place in the log: made without the lock, stamped under it.

    payload: buffers that follow the header on disk, in order; they may be views of a reader's buffer, which the
    producer keeps untouched until the append returns. sequences: of each record, if the producer has an id. has_all_keys:
    whether each record has a key; None until somebody wants to know, see batch_keys.lacks_keys.
    """

    __slots__ = (
        "attributes",
        "base_timestamp",
        "first_sequence",
        "has_all_keys",
        "key_length",
        "last_offset_delta",
        "last_sequence",
        "max_timestamp",
        "payload",
        "payload_crc",
        "payload_length",
        "producer_id",
        "raw_length",
        "record_count",
        "sequences",
    )

    def __init__(
        self,
        payload: list[bytes | memoryview],
        *,
        raw_length: int,
        attributes: int,
        record_count: int,
        base_timestamp: int,
        max_timestamp: int,
        key_length: int = NO_KEY,
    ) -> None:
        if raw_length > MAX_RAW_BYTES:
            # No reader would take it.
            raise RecordTooLargeError(size_bytes=raw_length, max_bytes=MAX_RAW_BYTES, place="a batch")
        self.payload = payload
        crc = length = 0
        for part in payload:
            crc = crc32c(part, crc)
            length += len(part)
        self.payload_crc, self.payload_length = crc, length
        self.raw_length = raw_length
        self.attributes = attributes
        self.key_length = key_length
        self.record_count = record_count
        self.last_offset_delta = record_count - 1
        self.base_timestamp, self.max_timestamp = base_timestamp, max_timestamp
        self.producer_id = 0
        self.first_sequence = self.last_sequence = NO_SEQUENCE
        self.sequences: Sequence[int] = ()
        self.has_all_keys: bool | None = None

    def number(self, producer_id: int, sequences: Sequence[int]) -> None:
        """Say whose records these are, and which of the input: one ascending sequence for each of them."""
        self.producer_id = producer_id
        self.sequences = sequences
        self.first_sequence = sequences[0]
        self.last_sequence = sequences[-1]

    @property
    def size_bytes(self) -> int:
        return HEADER_SIZE + self.payload_length

    def stamp(self, base_offset: int, leader_epoch: int, durable_offset: int, chain: int) -> bytes:
        """Return the header for this place in the log. `chain` is this batch's own, from chain_of."""
        fields = _FIELDS.pack(
            MAGIC,
            self.payload_length,
            self.payload_crc,
            self.raw_length,
            self.attributes,
            0,
            self.key_length,
            base_offset,
            self.record_count,
            self.last_offset_delta,
            self.base_timestamp,
            self.max_timestamp,
            leader_epoch,
            self.producer_id,
            self.first_sequence,
            self.last_sequence,
            durable_offset,
            chain,
            _RESERVED,
        )
        return fields + _CRC.pack(crc32c(fields))

    def chain_after(self, previous: int) -> int:
        return chain_of(
            previous, self.payload_crc, self.record_count, self.producer_id, self.first_sequence, self.last_sequence
        )


def encode_lines(
    block: bytes | memoryview, *, count: int, timestamp_ms: int, key: bytes | None = None, codec: int = NONE
) -> EncodedBatch:
    """Make a lines batch of `block`: `count` newline-terminated values, and the key that they share."""
    key_length = NO_KEY if key is None else len(key)
    parts: list[bytes | memoryview] = [key, block] if key else [block]
    raw_length = len(block) + max(key_length, 0)
    if codec != NONE:
        parts = [compress(codec, b"".join(parts))]
        if raw_length > MAX_RATIO * len(parts[0]):
            return encode_lines(block, count=count, timestamp_ms=timestamp_ms, key=key)
    return EncodedBatch(
        parts,
        raw_length=raw_length,
        attributes=LINES | codec,
        record_count=count,
        base_timestamp=timestamp_ms,
        max_timestamp=timestamp_ms,
        key_length=key_length,
    )


def encode_columns(
    values: Sequence[bytes | None],
    *,
    base_timestamp: int,
    keys: Sequence[bytes | None] | None = None,
    timestamps: Sequence[int] | None = None,
    headers: Sequence[tuple[Header, ...]] | None = None,
    codec: int = NONE,
) -> EncodedBatch:
    """Make a columns batch. Sequences are parallel; `timestamps` are absolute ms, None when all are base_timestamp."""
    deltas = None if timestamps is None else [timestamp - base_timestamp for timestamp in timestamps]
    flat = None if headers is None else [[part for header in of_record for part in header] for of_record in headers]
    return batch_of_columns([values, keys, deltas, flat, None], base_timestamp=base_timestamp, codec=codec)


def batch_of_columns(columns: Sequence[Sequence[Any] | None], *, base_timestamp: int, codec: int) -> EncodedBatch:
    """Make a columns batch of the five columns as they are stored."""
    values, deltas = columns[0] or (), columns[2]
    max_timestamp = base_timestamp + max(deltas) if deltas else base_timestamp
    return batch_of_payload([pack(columns)], len(values), base_timestamp, max_timestamp, codec)


def batch_of_payload(
    parts: list[bytes | memoryview], count: int, base_timestamp: int, max_timestamp: int, codec: int
) -> EncodedBatch:
    """Make a columns batch of its payload before compression, five columns of `count` records; one part with a codec."""
    raw_length = sum(map(len, parts))
    if codec != NONE and raw_length <= MAX_RATIO * len(smaller := compress(codec, parts[0])):
        parts = [smaller]
    else:
        codec = NONE
    return EncodedBatch(
        parts,
        raw_length=raw_length,
        attributes=COLUMNS | codec,
        record_count=count,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
    )


class RecordBatchBuilder:
    """Gather records for one partition until they make a batch."""

    __slots__ = ("_headers", "_keys", "_timestamps", "_values", "size_bytes")

    def __init__(self) -> None:
        self._values: list[bytes | None] = []
        self._keys: list[bytes | None] = []
        self._timestamps: list[int] = []
        self._headers: list[tuple[Header, ...]] = []
        self.size_bytes = 0
        """Bytes of keys, values and headers so far, with a few for each record's framing."""

    def __len__(self) -> int:
        return len(self._values)

    def append(self, record: Record, timestamp_ms: int) -> None:
        """Take one record, whose time is `timestamp_ms`."""
        self._values.append(record.value)
        self._keys.append(record.key)
        self._timestamps.append(timestamp_ms)
        self._headers.append(record.headers)
        self.size_bytes += record_size(record)

    def extend(self, columns: Sequence[Sequence[Any]], size_bytes: int) -> None:
        """Take records as parallel columns: values, keys, times, headers. size_bytes: what they count, as in append."""
        for own, more in zip((self._values, self._keys, self._timestamps, self._headers), columns, strict=True):
            own += more  # type: ignore[operator]
        self.size_bytes += size_bytes

    def build(self, *, codec: int = NONE) -> EncodedBatch:
        """Return the records as one batch: lines where that loses nothing, else columns."""
        values, keys, timestamps = self._values, self._keys, self._timestamps
        has_headers = any(self._headers)
        one_time = timestamps.count(timestamps[0]) == len(timestamps)
        one_key = keys.count(keys[0]) == len(keys)
        if one_time and one_key and not has_headers and None not in values:
            block = b"\n".join(values) + b"\n"  # type: ignore[arg-type]
            if block.count(b"\n") == len(values):
                return encode_lines(block, count=len(values), timestamp_ms=timestamps[0], key=keys[0], codec=codec)
        return encode_columns(
            values,
            base_timestamp=timestamps[0],
            keys=None if one_key and keys[0] is None else keys,
            timestamps=None if one_time else timestamps,
            headers=self._headers if has_headers else None,
            codec=codec,
        )


def record_size(record: Record) -> int:
    """Return the bytes of a record that max.message.bytes bounds, framing included roughly (at most 16 a part)."""
    size = 16 + len(record.value or b"") + len(record.key or b"")
    for name, value in record.headers:
        size += 16 + len(name) + len(value or b"")
    return size


class RecordBatch:
    """A batch as it stands in a log: the header's fields, and the payload once it was read.

    Immutable. `payload` is None until the caller that read it has it checked by `check_payload`. `position` is the byte
    in its segment at which the header stands, for whoever can move bytes from file to pipe. `is_newer` tells that it has
    a codec, kind or bit of which this mk knows nothing: its place and extent can be relied on, its records not read.
    """

    __slots__ = (
        "attributes",
        "base_offset",
        "base_timestamp",
        "chain",
        "durable_offset",
        "first_sequence",
        "is_newer",
        "key_length",
        "last_offset_delta",
        "last_sequence",
        "leader_epoch",
        "max_timestamp",
        "payload",
        "payload_crc",
        "payload_length",
        "position",
        "producer_id",
        "raw_length",
        "record_count",
    )

    payload_length: int
    payload_crc: int
    raw_length: int
    attributes: int
    key_length: int
    base_offset: int
    record_count: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    leader_epoch: int
    producer_id: int
    first_sequence: int
    last_sequence: int
    durable_offset: int
    chain: int
    position: int
    payload: bytes | memoryview | None
    is_newer: bool

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def size_bytes(self) -> int:
        return HEADER_SIZE + self.payload_length

    @property
    def codec(self) -> int:
        return self.attributes & CODEC_MASK

    @property
    def is_plain_lines(self) -> bool:
        """Tell whether the payload, behind the key, is the values themselves, a newline after each."""
        return not self.attributes & (KIND_MASK | CODEC_MASK | CONTROL)

    @property
    def has_one_time(self) -> bool:
        """Tell whether all records are of `max_timestamp`, at every offset one: lines are, of columns it is not known."""
        return not self.attributes & (KIND_MASK | CONTROL) and self.record_count == self.last_offset_delta + 1

    def chain_after(self, previous: int) -> int:
        return chain_of(
            previous, self.payload_crc, self.record_count, self.producer_id, self.first_sequence, self.last_sequence
        )

    def check_payload(self, payload: bytes | memoryview) -> bool:
        """Keep `payload` if it is the one this header was written for."""
        if len(payload) != self.payload_length or crc32c(payload) != self.payload_crc:
            return False
        self.payload = payload
        return True

    def lines(self) -> bytes | memoryview | None:
        """Return the newline-terminated values of a lines batch, without the key; None for columns and control."""
        if self.attributes & (KIND_MASK | CONTROL):
            return None
        return self._raw()[max(self.key_length, 0) :]

    def key_of_lines(self) -> bytes | None:
        """Return the key that the records of a lines batch share."""
        return bytes(self._raw()[: self.key_length]) if self.key_length >= 0 else None

    def records(self, topic: str, partition: int) -> list[ConsumerRecord]:
        """Decode all records, in offset order. Raises CodecError where the payload is not what the header says."""
        return [record for piece in self.record_slices(topic, partition) for record in piece]

    def record_slices(self, topic: str, partition: int) -> Iterator[RecordSlice]:
        """Decode the records some thousands at a time: a batch of empty lines has 2000 times its size in records."""
        if self.attributes & CONTROL:
            return iter(())
        if not self.attributes & KIND_MASK:
            return self._slices_of_lines(topic, partition)
        return self._slices_of_columns(topic, partition)

    def prove(self) -> None:
        """Raise CodecError unless the payload holds what the header says, as `records` does, without making records."""
        if self.attributes & CONTROL:
            return
        if self.attributes & KIND_MASK:
            self.columns()
            return
        block = bytes(self._raw()[max(self.key_length, 0) :])
        if block.count(b"\n") != self.record_count or (block and block[-1:] != b"\n"):
            raise CodecError(f"the payload does not hold {self.record_count} lines")

    def _raw(self) -> bytes | memoryview:
        assert self.payload is not None
        if not self.attributes & CODEC_MASK:
            return self.payload
        return decompress(self.attributes & CODEC_MASK, self.payload, self.raw_length)

    def _slices_of_lines(self, topic: str, partition: int) -> Iterator[RecordSlice]:
        from mk.records.record_slice import RecordSlice

        raw = self._raw()
        start = max(self.key_length, 0)
        key = None if self.key_length < 0 else bytes(raw[:start])
        if self.record_count == 0 and len(raw) == start:
            return  # All were compacted away.
        # Split only where there is something to split: a single value may be large, and one copy of it is enough.
        block = bytes(raw[start:-1])
        values = block.split(b"\n") if self.record_count != 1 else [block]
        if len(raw) <= start or raw[-1:] != b"\n" or len(values) != self.record_count or b"\n" in values[0]:
            raise CodecError(f"the payload does not hold {self.record_count} lines")
        base, time, epoch = self.base_offset, self.base_timestamp, self.leader_epoch
        for at in range(0, len(values), _SLICE_RECORDS):
            some = values[at : at + _SLICE_RECORDS]
            offsets, each = range(base + at, base + at + len(some)), len(some)
            yield RecordSlice(topic, partition, offsets, [time] * each, [key] * each, some, [()] * each, epoch)

    def _slices_of_columns(self, topic: str, partition: int) -> Iterator[RecordSlice]:
        from mk.records.record_slice import RecordSlice

        values, keys, deltas, headers, offset_deltas = self.columns()
        base, time, epoch, count = self.base_offset, self.base_timestamp, self.leader_epoch, self.record_count
        for at in range(0, count, _SLICE_RECORDS):
            some = slice(at, at + _SLICE_RECORDS)
            each = len(values[some])
            offsets = (
                range(base, base + count)[some] if offset_deltas is None else [base + i for i in offset_deltas[some]]
            )
            times = [time] * each if deltas is None else [time + i for i in deltas[some]]
            own_keys = [None] * each if keys is None else keys[some]
            own_headers = [()] * each if headers is None else [_pairs(flat) for flat in headers[some]]
            yield RecordSlice(topic, partition, offsets, times, own_keys, values[some], own_headers, epoch)

    def columns(self) -> list[Any]:
        """Unpack and check the five columns of a columns batch; each is None or as long as it has records. Raises CodecError."""
        columns = unpack(self._raw())
        if type(columns) is not list or len(columns) != 5 or type(columns[0]) is not list:
            raise CodecError("a columns payload is not an array of five")
        for column, kinds in zip(columns, _COLUMN_TYPES, strict=True):
            if column is not None and (
                type(column) is not list or len(column) != self.record_count or not kinds.issuperset(map(type, column))
            ):
                raise CodecError("a column is not what it should be")
        headers = columns[3]
        if headers is not None:
            for flat in headers:
                if (
                    len(flat) % 2
                    or not all(type(name) is bytes for name in flat[::2])
                    or not all(value is None or type(value) is bytes for value in flat[1::2])
                ):
                    raise CodecError("headers are not pairs of name and value")
        deltas = columns[4]
        if deltas is None:
            if self.record_count != self.last_offset_delta + 1:
                raise CodecError("offset deltas are missing")
        elif any(b <= a for a, b in zip([-1, *deltas], [*deltas, self.last_offset_delta + 1], strict=True)):
            raise CodecError("offset deltas do not increase")
        return columns


_NONE = type(None)
_COLUMN_TYPES = (
    frozenset((bytes, _NONE)),
    frozenset((bytes, _NONE)),
    frozenset((int,)),
    frozenset((list,)),
    frozenset((int,)),
)


def _pairs(flat: list[bytes | None]) -> tuple[Header, ...]:
    return tuple(zip(flat[::2], flat[1::2], strict=True))  # type: ignore[arg-type]


def parse_header(buffer: bytes | memoryview, position: int = 0) -> RecordBatch | None:
    """Read the header at `position`, or None if what stands there is not a header that this mk could have written.

    The checksum proves bytes, not sense: every field is bounded as well, so that no caller allocates or loops on
    somebody's word. The caller still has to compare base offset, epoch and chain with what it expects there.
    """
    batch = parse_any_header(buffer, position)
    return None if batch is None or batch.is_newer else batch


def parse_any_header(buffer: bytes | memoryview, position: int = 0) -> RecordBatch | None:
    """Read the header at `position` as parse_header does, also if only a newer mk could have written it (is_newer).

    For whoever has to tell such a batch from damage, and must not cut it off.
    """
    if len(buffer) - position < HEADER_SIZE:
        return None
    end = position + HEADER_SIZE - _CRC.size
    if buffer[position : position + len(MAGIC)] != MAGIC or _CRC.unpack_from(buffer, end)[0] != crc32c(
        buffer[position:end]
    ):
        return None
    batch = RecordBatch()
    (
        _,
        batch.payload_length,
        batch.payload_crc,
        batch.raw_length,
        batch.attributes,
        reserved,
        batch.key_length,
        batch.base_offset,
        batch.record_count,
        batch.last_offset_delta,
        batch.base_timestamp,
        batch.max_timestamp,
        batch.leader_epoch,
        batch.producer_id,
        batch.first_sequence,
        batch.last_sequence,
        batch.durable_offset,
        batch.chain,
        more_reserved,
    ) = _FIELDS.unpack_from(buffer, position)
    batch.payload = None
    batch.is_newer = bool(
        batch.attributes & ~_KNOWN_ATTRIBUTES
        or batch.attributes & CODEC_MASK not in _KNOWN_CODECS
        or reserved
        or more_reserved != _RESERVED
    )
    is_sound = _is_in_place(batch) and (batch.is_newer or _is_sound(batch))
    return batch if is_sound else None


def _is_in_place(batch: RecordBatch) -> bool:
    """Tell whether the batch covers bytes and offsets that a batch may, in any version that has this header."""
    covers = batch.last_offset_delta + 1
    return (
        batch.payload_length <= MAX_RAW_BYTES
        and 0 <= batch.base_offset <= _MAX_INT64 - covers
        and 0 <= batch.durable_offset <= batch.base_offset
    )


def _is_sound(batch: RecordBatch) -> bool:
    """Tell whether the fields make sense together, in the bounds that every reader relies on."""
    covers = batch.last_offset_delta + 1
    return not (
        (
            batch.payload_length != batch.raw_length
            if batch.attributes & CODEC_MASK == NONE
            else batch.raw_length > MAX_RATIO * batch.payload_length
        )
        or batch.raw_length > MAX_RAW_BYTES
        or not NO_KEY <= batch.key_length <= batch.raw_length
        or (batch.attributes & KIND_MASK and batch.key_length != NO_KEY)
        or batch.record_count > covers
        or (batch.record_count != covers and not batch.attributes & COMPACTED)
        or batch.record_count > max(batch.raw_length, 1)
        or batch.max_timestamp < batch.base_timestamp
        or batch.last_sequence < batch.first_sequence
    )
