"""Targets: batches as they stand in a segment, what is in them, compressed payloads, and indexes."""

from __future__ import annotations

import os
import struct

from mk.records import batch_keys, bridge
from mk.records.codecs import GZIP, LZ4, MAX_RAW_BYTES, NONE, ZSTD, compress, decompress, pack
from mk.records.compaction import Compaction, OffsetMap
from mk.records.record import ConsumerRecord, Record
from mk.records.record_batch import (
    COLUMNS,
    COMPACTED,
    CONTROL,
    HEADER_SIZE,
    LOG_APPEND_TIME,
    EncodedBatch,
    RecordBatch,
    RecordBatchBuilder,
    batch_of_columns,
    encode_columns,
    encode_lines,
    parse_any_header,
    parse_header,
)
from mk.records.sequences import scan
from mk.storage import offset_index
from mk.storage.copy_proof import CopyProof
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs
from mk.storage.offset_index import ENTRY
from mk.storage.partition_state import LogEnd
from tests.crash import oracle
from tests.proof.fuzz.mending import Supply, mend_batches
from tests.proof.fuzz.target import Target, accepted, is_refused

CODECS = (NONE, GZIP, LZ4, ZSTD)
TIME = 1_700_000_000_000


def examples() -> list[EncodedBatch]:
    """Batches of every kind, as mk makes them."""
    made = []
    for codec in CODECS:
        for key in (None, b"", b"user-7"):
            made.append(encode_lines(b"a\n\nccc\n", count=3, timestamp_ms=TIME, key=key, codec=codec))
        made.append(encode_lines(b"again and again\n" * 40, count=40, timestamp_ms=TIME, codec=codec))
        made.append(encode_columns([b"one\n", None, b""], base_timestamp=TIME, keys=[b"k", None, b""], codec=codec))
        made.append(
            encode_columns(
                [b"a", b"b"],
                base_timestamp=TIME,
                timestamps=[TIME, TIME + 7],
                headers=[((b"h", b"1"), (b"h", None)), ()],
                codec=codec,
            )
        )
        covering = batch_of_columns(
            [[b"v", None], [b"k", b"x"], [0, 5], [[b"n", b""], []], [1, 6]], base_timestamp=TIME, codec=codec
        )
        covering.attributes |= COMPACTED
        covering.last_offset_delta = 9
        made.append(covering)
        numbered = encode_lines(b"x\ny\n", count=2, timestamp_ms=TIME, codec=codec)
        numbered.number(0xFEED, [3, 9])
        made.append(numbered)
    log_append = encode_lines(b"x\n", count=1, timestamp_ms=TIME)
    log_append.attributes |= LOG_APPEND_TIME
    control = encode_lines(b"", count=0, timestamp_ms=-1)
    control.attributes |= CONTROL | COMPACTED
    control.last_offset_delta = 0
    return [*made, log_append, control]


def stamped(batches: list[EncodedBatch], base_offset: int = 0) -> bytes:
    """Batches one behind the other, as they are in a segment."""
    data, chain = b"", 0
    for batch in batches:
        chain = batch.chain_after(chain)
        data += batch.stamp(base_offset, 1, base_offset, chain) + b"".join(map(bytes, batch.payload))
        base_offset += batch.last_offset_delta + 1
    return data


def _segments() -> list[bytes]:
    made = examples()
    return [*(stamped([batch], 7) for batch in made), stamped(made[:6]), bridge.bridge(3, 9, 1, 77)]


def fuzz_segment(data: bytes) -> None:
    """Whatever stands in a segment is told to be no batch, or is one within the bounds that readers rely on."""
    position = 0
    first = expected = None
    while (batch := parse_any_header(data, position)) is not None:
        check_header(batch, data[position : position + HEADER_SIZE])
        if not batch.is_newer:
            if first is None:
                first = batch.base_offset
            elif batch.base_offset != expected:
                break
            expected = batch.next_offset
        payload = data[position + HEADER_SIZE : position + batch.size_bytes]
        if not batch.is_newer and batch.check_payload(payload):
            check_content(batch, data[position : position + batch.size_bytes])
        position += batch.size_bytes
    scan(data, 0, first or 0, 1 << 63, {})
    epochs = LeaderEpochs([EpochEntry(1, 0, "0" * 32)])
    is_refused(lambda: CopyProof(LogEnd(0, first or 0, -1, -1), None).follow(memoryview(data), first or 0, epochs))


def check_header(batch: RecordBatch, header: bytes) -> None:
    assert 0 < batch.size_bytes <= HEADER_SIZE + MAX_RAW_BYTES
    assert 0 <= batch.base_offset < batch.next_offset < 1 << 63
    assert 0 <= batch.durable_offset <= batch.base_offset
    if batch.is_newer:
        assert parse_header(header) is None
        return
    again = EncodedBatch(
        [],
        raw_length=batch.raw_length,
        attributes=batch.attributes,
        record_count=batch.record_count,
        base_timestamp=batch.base_timestamp,
        max_timestamp=batch.max_timestamp,
        key_length=batch.key_length,
    )
    again.payload_length, again.payload_crc = batch.payload_length, batch.payload_crc
    again.last_offset_delta = batch.last_offset_delta
    again.producer_id = batch.producer_id
    again.first_sequence, again.last_sequence = batch.first_sequence, batch.last_sequence
    assert again.stamp(batch.base_offset, batch.leader_epoch, batch.durable_offset, batch.chain) == header
    if not batch.attributes & COMPACTED:
        assert batch.chain_after(bridge.chain_before(batch)) == batch.chain


def check_content(batch: RecordBatch, data: bytes) -> None:
    """What is in a batch is refused by all who look into it, or means the same to all of them."""
    decoded = accepted(batch.records, "t", 0)
    assert is_refused(batch.prove) == (not decoded), "proved, and not to be decoded; or the other way round"
    if not decoded:
        for look in (batch.lines, batch.key_of_lines, lambda: batch_keys.holds_keys(batch)):
            is_refused(look)
        is_refused(compacted, batch, data)
        return
    (records,) = decoded
    if batch.attributes & CONTROL:
        assert not records
        return
    assert len(records) == batch.record_count
    offsets = [record.offset for record in records]
    assert offsets == sorted(set(offsets))
    assert not offsets or batch.base_offset <= offsets[0] <= offsets[-1] < batch.next_offset
    lines = batch.lines()
    if lines is not None:
        assert bytes(lines) == b"".join((record.value or b"") + b"\n" for record in records)
    keys = {record.key for record in records if record.key is not None}
    assert batch_keys.holds_keys(batch) == bool(keys)
    for key in sorted(keys)[:4]:
        assert batch_keys.may_hold_key(batch, key)
        last = max(record.offset for record in records if record.key == key)
        found = batch_keys.last_with_key(batch, key, "t", 0, 0)
        assert found is not None and found.offset == last
    second = oracle.parse_batch(data, 0)
    assert second is not None
    # Of offset deltas, which only a compaction writes, that one knows nothing.
    assert (
        lines is None
        and batch.columns()[4] is not None
        or [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in oracle.decode_records(second)]
        == [(*row, content[0], content[1], content[2]) for row, content in zip(places(records), contents(records))]
    )
    check_round_trip(records, batch.codec)
    kept = compacted(batch, data)
    assert {record.key for record in kept} == {record.key for record in records}
    known = {record.offset: contents([record]) for record in records}
    assert all(known[record.offset] == contents([record]) for record in kept)


def places(records: list[ConsumerRecord]) -> list[tuple[int, int]]:
    return [(record.offset, record.timestamp_ms) for record in records]


def contents(records: list[ConsumerRecord]) -> list[tuple[object, ...]]:
    return [(record.key, record.value, tuple(record.headers)) for record in records]


def check_round_trip(records: list[ConsumerRecord], codec: int) -> None:
    """Records that came out of a batch come out of the batch that is made of them."""
    if not records or not all(-(1 << 62) <= record.timestamp_ms < 1 << 62 for record in records):
        return
    builder = RecordBatchBuilder()
    for record in records:
        builder.append(Record(record.value, record.key, tuple(record.headers)), record.timestamp_ms)
    again = parse_header(data := stamped([builder.build(codec=codec)]))
    # A time may lie before that of the first record, and then the batch is one that no writer of mk makes.
    if again is None:
        assert min(record.timestamp_ms for record in records) < records[0].timestamp_ms
        return
    assert again.check_payload(data[HEADER_SIZE:])
    found = again.records("t", 0)
    assert contents(found) == contents(records)
    assert [record.timestamp_ms for record in found] == [record.timestamp_ms for record in records]


def compacted(batch: RecordBatch, data: bytes) -> list[ConsumerRecord]:
    """Return the records that are left of a batch when it is compacted by itself, with no tombstone dropped."""
    offsets = OffsetMap()
    assert offsets.take(batch)
    compaction = Compaction(offsets, horizon=0)
    made = [*compaction.add(batch, memoryview(data)), *compaction.flush()]
    kept: list[ConsumerRecord] = []
    expected = batch.base_offset
    for one in made:
        whole = b"".join(map(bytes, one.data))
        again = parse_header(whole)
        assert again is not None, "a compaction made a batch that nobody can read"
        assert (again.base_offset, again.next_offset, len(whole)) == (expected, one.next_offset, again.size_bytes)
        assert again.check_payload(whole[HEADER_SIZE:])
        kept += again.records("t", 0)
        expected = one.next_offset
    assert expected == batch.next_offset
    return kept


# What is in a payload, behind a header and a compression that are as they should be.


_HEAD = struct.Struct(">BBBBq")
_COLUMNS_BIT, _COMPACTED_BIT = 1, 2


def fuzz_payload(data: bytes) -> None:
    """A payload of any bytes under a header that fits: what it holds, or a refusal."""
    if len(data) < _HEAD.size:
        return
    bits, count, covers, key_length, time = _HEAD.unpack_from(data)
    raw = data[_HEAD.size :]
    is_columns = bits & _COLUMNS_BIT
    codec = CODECS[bits >> 2 & 3]
    payload = raw if codec == NONE else compress(codec, raw)
    attributes = codec | (COLUMNS if is_columns else 0) | (COMPACTED if bits & _COMPACTED_BIT else 0)
    batch = EncodedBatch(
        [payload],
        raw_length=len(raw),
        attributes=attributes,
        record_count=count,
        base_timestamp=time,
        max_timestamp=time,
        key_length=-1 if is_columns else key_length - 1,
    )
    batch.last_offset_delta = covers if bits & _COMPACTED_BIT else count - 1
    if batch.last_offset_delta < 0:
        return
    whole = stamped([batch], 1000)
    header = parse_header(whole)
    if header is not None:
        assert header.check_payload(payload)
        check_content(header, whole)


def _payloads() -> list[bytes]:
    made = []
    for number, _ in enumerate(CODECS):
        bits = number << 2
        made += [
            _HEAD.pack(bits, 2, 0, 0, TIME) + b"a\nb\n",
            _HEAD.pack(bits, 1, 0, 4, TIME) + b"key" + b"value\n",
            _HEAD.pack(bits | _COLUMNS_BIT, 2, 0, 0, TIME) + pack([[b"v", None], None, None, None, None]),
            _HEAD.pack(bits | _COLUMNS_BIT, 2, 0, 0, TIME)
            + pack([[b"v", b""], [b"k", None], [0, -7], [[b"h", b"1", b"g", None], []], None]),
            _HEAD.pack(bits | _COLUMNS_BIT | _COMPACTED_BIT, 2, 9, 0, TIME)
            + pack([[b"v", None], [b"k", b"k"], [0, 1], None, [3, 8]]),
            _HEAD.pack(bits | _COMPACTED_BIT, 0, 9, 0, TIME),
        ]
    return made


def fuzz_codec(data: bytes) -> None:
    """What decompresses is as long as announced, and comes to no more memory than that."""
    supply = Supply(data)
    codec, length = supply.byte() % 8, supply.number(4)
    found = accepted(decompress, codec, supply.rest, length)
    if found:
        assert len(found[0]) == length
        assert decompress(codec, compress(codec, found[0]), length) == found[0] or length > 1000 * len(supply.rest)


def _frames() -> list[bytes]:
    made = []
    for raw in (b"", b"a\n" * 300, bytes(range(256)), b"\0" * 3000):
        for codec in (GZIP, LZ4, ZSTD):
            made.append(bytes([codec]) + len(raw).to_bytes(4, "big") + compress(codec, raw))
    return made


# Indexes.

_memory = os.memfd_create("mk-fuzz")


def fuzz_index(data: bytes) -> None:
    """Any bytes are an index that gives some hint; where they are in order, the right one."""
    supply = Supply(data)
    wanted, time = supply.number(4), supply.number(signed=True)
    os.ftruncate(_memory, 0)
    os.pwrite(_memory, supply.rest, 0)
    whole = len(supply.rest) // ENTRY.size
    entries = list(ENTRY.iter_unpack(supply.rest[: whole * ENTRY.size]))
    offset_hint, time_hint = offset_index.lookup_offset(_memory, wanted), offset_index.lookup_time(_memory, time)
    assert {offset_hint, time_hint} <= {(0, 0), *(entry[:2] for entry in entries)}
    if entries == sorted(entries):
        below = [entry[:2] for entry in entries if entry[0] <= wanted]
        assert offset_hint == (below[-1] if below else (0, 0))
    assert offset_index.last_entry(_memory) == (entries[-1] if entries else None)
    assert offset_index.first_behind(_memory, wanted) in {(0, 0), *(entry[:2] for entry in entries)}
    for size in (
        offset_index.whole_entries_up_to(_memory, wanted),
        offset_index.proved_entries_up_to(_memory, wanted),
    ):
        assert 0 <= size <= len(supply.rest) and not size % ENTRY.size


def _indexes() -> list[bytes]:
    entries = [(10 * number, 70_000 * number, TIME + number) for number in range(1, 12)]
    wanted = (35).to_bytes(4, "big") + TIME.to_bytes(8, "big")
    return [wanted, wanted + b"".join(ENTRY.pack(*entry) for entry in entries), wanted + ENTRY.pack(1, 65536, -1) * 3]


TARGETS = [
    Target("segment", fuzz_segment, _segments, mend_batches),
    Target("payload", fuzz_payload, _payloads, max_bytes=2048),
    Target("codec", fuzz_codec, _frames),
    Target("index", fuzz_index, _indexes, max_bytes=512),
]
