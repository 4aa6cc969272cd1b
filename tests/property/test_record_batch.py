"""Whatever goes into a batch comes out, whatever is changed in it is noticed, and no header makes a reader work for long."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mk.records.codecs import GZIP, LZ4, MAX_RAW_BYTES, NONE, ZSTD, CodecError, compress, crc32c, decompress
from mk.records.record import Record
from mk.records.record_batch import (
    HEADER_SIZE,
    MAGIC,
    EncodedBatch,
    RecordBatch,
    RecordBatchBuilder,
    encode_columns,
    encode_lines,
    parse_any_header,
    parse_header,
)
from tests.crash import oracle

CODECS = st.sampled_from([NONE, GZIP, LZ4, ZSTD])
TIMES = st.integers(min_value=-(1 << 62), max_value=(1 << 62) - 1)
SMALL_TIMES = st.integers(min_value=0, max_value=1 << 45)
VALUES = st.one_of(
    st.none(), st.binary(max_size=40), st.sampled_from([b"", b"\n", b"a\nb", b"\r", b"x" * 300, MAGIC * 40])
)
KEYS = st.one_of(st.none(), st.binary(max_size=10))
HEADERS = st.lists(st.tuples(st.binary(max_size=5), st.one_of(st.none(), st.binary(max_size=5))), max_size=3).map(tuple)
RECORDS = st.lists(st.builds(Record, VALUES, KEYS, HEADERS, SMALL_TIMES), min_size=1, max_size=12)


def on_disk(batch: EncodedBatch, base_offset: int = 0, epoch: int = 0, durable: int = 0, chain: int = 0) -> bytes:
    return b"".join([batch.stamp(base_offset, epoch, durable, batch.chain_after(chain)), *map(bytes, batch.payload)])


def read(data: bytes) -> RecordBatch:
    batch = parse_header(data)
    assert batch is not None
    assert batch.size_bytes == len(data)
    assert batch.check_payload(data[HEADER_SIZE:])
    return batch


@given(
    RECORDS,
    CODECS,
    st.booleans(),
    st.integers(min_value=0, max_value=1 << 60),
    st.integers(min_value=0, max_value=(1 << 64) - 1),
)
def test_records_come_out_of_a_batch_as_they_went_in(
    records: list[Record], codec: int, one_time: bool, base_offset: int, epoch: int
) -> None:
    builder = RecordBatchBuilder()
    times = [records[0].timestamp_ms if one_time else record.timestamp_ms for record in records]
    for record, time in zip(records, times, strict=True):
        builder.append(record, time or 0)
    data = on_disk(builder.build(codec=codec), base_offset, epoch, base_offset)
    batch = read(data)
    found = batch.records("topic", 3)
    assert [(r.offset, r.timestamp_ms, r.key, r.value, tuple(r.headers)) for r in found] == [
        (base_offset + at, times[at] or 0, record.key, record.value, tuple(record.headers))
        for at, record in enumerate(records)
    ]
    assert {(r.topic, r.partition, r.leader_epoch) for r in found} == {("topic", 3, epoch)}
    assert batch.max_timestamp == max(time or 0 for time in times)
    assert batch.next_offset == base_offset + len(records)
    second = oracle.parse_batch(data, 0)
    assert second is not None
    assert [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in oracle.decode_records(second)] == [
        (r.offset, r.timestamp_ms, r.key, r.value, tuple(r.headers)) for r in found
    ]


@given(
    st.lists(st.binary(max_size=30).map(lambda v: v.replace(b"\n", b"")), min_size=1, max_size=20), KEYS, CODECS, TIMES
)
def test_lines_come_out_as_the_block_that_went_in(
    values: list[bytes], key: bytes | None, codec: int, time: int
) -> None:
    block = b"".join(value + b"\n" for value in values)
    batch = read(on_disk(encode_lines(block, count=len(values), timestamp_ms=time, key=key, codec=codec)))
    lines = batch.lines()
    assert lines is not None and bytes(lines) == block
    assert [(r.key, r.value, r.timestamp_ms) for r in batch.records("", 0)] == [(key, value, time) for value in values]


@given(RECORDS, CODECS, st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_every_flipped_bit_of_a_batch_is_noticed(records: list[Record], codec: int, byte: int, bit: int) -> None:
    builder = RecordBatchBuilder()
    for record in records:
        builder.append(record, record.timestamp_ms or 0)
    data = bytearray(on_disk(builder.build(codec=codec), 7, 1, 3, 5))
    data[byte % len(data)] ^= 1 << bit
    assert not_accepted(bytes(data))


@pytest.mark.parametrize("codec", [NONE, GZIP, LZ4, ZSTD])
def test_every_single_bit_of_a_small_batch_is_guarded(codec: int) -> None:
    for batch in (
        encode_lines(b"a\nb\n", count=2, timestamp_ms=5, key=b"k", codec=codec),
        encode_columns([b"a\n", None], base_timestamp=5, headers=[((b"h", None),), ()], codec=codec),
    ):
        data = on_disk(batch, 7, 1, 3, 5)
        assert not not_accepted(data)
        for bit in range(len(data) * 8):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            assert not_accepted(bytes(changed)), f"bit {bit % 8} of byte {bit // 8}"


@pytest.mark.parametrize("size", range(HEADER_SIZE))
def test_a_header_cut_anywhere_is_none(size: int) -> None:
    data = on_disk(encode_lines(b"a\n", count=1, timestamp_ms=5))
    assert parse_header(data[:size]) is None
    assert parse_header(data[:size] + bytes(HEADER_SIZE)) is None


def not_accepted(data: bytes) -> bool:
    batch = parse_header(data)
    return (
        batch is None or batch.size_bytes > len(data) or not batch.check_payload(data[HEADER_SIZE : batch.size_bytes])
    )


@given(st.binary(min_size=HEADER_SIZE, max_size=2 * HEADER_SIZE))
@example(bytes(HEADER_SIZE))
@example(MAGIC + bytes(HEADER_SIZE))
@example(b"\xff" * HEADER_SIZE)
def test_no_header_is_found_where_there_is_none(data: bytes) -> None:
    assert parse_header(data) is None


FIELDS = struct.Struct(">4sIIIHHiqIIqqQQqqqI24s")


@st.composite
def hostile_batches(draw: st.DrawFn) -> bytes:
    """Headers with a right checksum and any content, each over a payload of which at least the checksum is right."""

    def number(bits: int, signed: bool = False) -> int:
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        return draw(st.one_of(st.integers(0, 4), st.integers(low, high), st.sampled_from([low, high, high - 1])))

    payload = draw(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [b"\x95\xdd\xff\xff\xff\xff", b"\x95\xc0\xc0\xc0\xc0\xc0", b"\xdd\x7f\xff\xff\xff" * 3, b"\n" * 9]
            ),
            st.just(b"".join(map(bytes, encode_columns([b"v", b"w"], base_timestamp=1).payload))),
            st.sampled_from([GZIP, LZ4, ZSTD]).map(lambda codec: compress(codec, b"v\n" * 1000)),
        )
    )
    length = draw(st.sampled_from([len(payload), len(payload), number(32)]))
    count = draw(st.sampled_from([0, 1, 2, 9, 1000, number(32)]))
    fields = FIELDS.pack(
        MAGIC,
        length,
        crc32c(payload),
        draw(st.sampled_from([length, 2000, number(32)])),
        draw(st.sampled_from([0, 1, 3, 4, 0x100, 0x101, 0x103, 0x104, 0x40, 0x140, 0x20, number(16)])),
        draw(st.sampled_from([0, 0, 0, number(16)])),
        draw(st.sampled_from([-1, 0, 1, number(32, True)])),
        number(64, True),
        count,
        draw(st.sampled_from([max(0, count - 1), number(32)])),
        draw(st.sampled_from([0, number(64, True)])),
        draw(st.sampled_from([0, (1 << 63) - 1, number(64, True)])),
        number(64),
        number(64),
        draw(st.sampled_from([-1, number(64, True)])),
        draw(st.sampled_from([-1, number(64, True)])),
        draw(st.sampled_from([0, number(64, True)])),
        number(32),
        draw(st.sampled_from([bytes(24), bytes(23) + b"\1"])),
    )
    return fields + struct.pack(">I", crc32c(fields)) + payload


@given(hostile_batches())
def test_a_hostile_batch_with_right_checksums_is_refused_or_decoded_within_bounds(data: bytes) -> None:
    batch = parse_header(data)
    if batch is None:
        return
    assert batch.size_bytes <= HEADER_SIZE + MAX_RAW_BYTES
    assert batch.next_offset <= (1 << 63) - 1
    assert 0 <= batch.durable_offset <= batch.base_offset
    if not batch.check_payload(data[HEADER_SIZE : HEADER_SIZE + batch.payload_length]):
        return
    for decode in (lambda: batch.records("", 0), batch.lines):
        try:
            decode()
        except CodecError:
            pass


@given(
    st.sampled_from([GZIP, LZ4, ZSTD]),
    st.one_of(st.binary(max_size=300), st.binary(max_size=30).map(lambda data: data * 50)),
    st.data(),
)
def test_a_frame_that_was_cut_extended_or_changed_gives_what_was_announced_or_an_error(
    codec: int, raw: bytes, data: st.DataObject
) -> None:
    frame = bytearray(compress(codec, raw))
    at = data.draw(st.integers(0, len(frame) - 1))
    change = data.draw(st.sampled_from(["cut", "extend", "flip", "insert"]))
    if change == "cut":
        del frame[at:]
    elif change == "extend":
        frame += data.draw(st.one_of(st.binary(min_size=1, max_size=20), st.just(bytes(frame))))
    elif change == "insert":
        frame[at:at] = data.draw(st.binary(min_size=1, max_size=5))
    else:
        frame[at] ^= 1 << data.draw(st.integers(0, 7))
    length = data.draw(st.sampled_from([len(raw), 0, len(raw) + 1, 10 * len(raw), MAX_RAW_BYTES]))
    try:
        found = decompress(codec, bytes(frame), length)
    except CodecError:
        return
    assert len(found) == length
    assert change not in ("cut", "extend")


@given(st.integers(min_value=0, max_value=0xFFFF), st.binary(min_size=24, max_size=24))
def test_a_header_that_only_a_newer_mk_could_write_is_told_from_damage(attributes: int, reserved: bytes) -> None:
    batch = encode_lines(b"a\nb\n", count=2, timestamp_ms=5)
    fields = bytearray(on_disk(batch, 7, 1, 3)[: HEADER_SIZE - 4])
    struct.pack_into(">H", fields, 16, attributes)
    fields[100:124] = reserved
    data = bytes(fields) + struct.pack(">I", crc32c(fields))
    known = not attributes & ~0x016F and attributes & 7 in (0, 1, 3, 4) and not any(reserved)
    found = parse_any_header(data)
    if known:
        assert (found is None) == (parse_header(data) is None)
        assert found is None or not found.is_newer
    else:
        assert parse_header(data) is None
        assert found is not None and found.is_newer
        assert (found.base_offset, found.next_offset, found.size_bytes) == (7, 9, HEADER_SIZE + 4)
        changed = bytearray(data)
        changed[16] ^= 1
        assert parse_any_header(bytes(changed)) is None


def test_a_payload_that_claims_to_be_large_costs_no_memory_before_it_is_refused() -> None:
    small = encode_columns([b"v"], base_timestamp=1)
    for payload in (b"\x95\xdd\x03\xff\xff\xff", b"\x95\xc6\x03\xff\xff\xff", b"\xdd\x03\xff\xff\xff" + b"\xc0" * 100):
        small.payload, small.payload_length, small.raw_length = [payload], len(payload), len(payload)
        small.payload_crc = crc32c(payload)
        batch = read(on_disk(small))
        tracemalloc.start()
        with pytest.raises(CodecError):
            batch.records("", 0)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
