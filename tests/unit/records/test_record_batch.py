from __future__ import annotations

import pytest

from mk.errors import RecordTooLargeError
from mk.records.codecs import GZIP, MAX_RAW_BYTES, NONE, ZSTD, CodecError
from mk.records.record import Record
from mk.records.record_batch import (
    COLUMNS,
    COMPACTED,
    CONTROL,
    HEADER_SIZE,
    KIND_MASK,
    EncodedBatch,
    RecordBatch,
    RecordBatchBuilder,
    batch_of_columns,
    chain_of,
    encode_columns,
    encode_lines,
    parse_any_header,
    parse_header,
)


def read(batch: EncodedBatch, base_offset: int = 0, durable: int = 0) -> RecordBatch:
    header = batch.stamp(base_offset, 0, durable, 0)
    assert len(header) == HEADER_SIZE
    found = parse_header(header)
    assert found is not None
    assert found.check_payload(b"".join(map(bytes, batch.payload)))
    return found


def built(*records: Record, codec: int = NONE) -> RecordBatch:
    builder = RecordBatchBuilder()
    for record in records:
        builder.append(record, record.timestamp_ms or 0)
    return read(builder.build(codec=codec))


def test_values_alone_become_lines_that_are_stored_as_they_came() -> None:
    batch = built(Record(b"a"), Record(b""), Record(b"c\r"))
    assert batch.is_plain_lines
    assert batch.payload == b"a\n\nc\r\n"


def test_one_key_for_all_records_stands_in_front_of_the_lines() -> None:
    for key in (b"", b"k"):
        batch = built(Record(b"a", key), Record(b"b", key))
        assert batch.is_plain_lines and batch.key_length == len(key)
        assert bytes(batch.lines() or b"") == b"a\nb\n"
        assert [record.key for record in batch.records("", 0)] == [key, key]


@pytest.mark.parametrize(
    "records",
    [
        [Record(b"a\nb")],
        [Record(None)],
        [Record(b"a", b"k"), Record(b"b")],
        [Record(b"a", headers=((b"h", b"v"),))],
        [Record(b"a", timestamp_ms=1), Record(b"b", timestamp_ms=2)],
    ],
    ids=["newline", "tombstone", "two keys", "headers", "two times"],
)
def test_what_lines_cannot_hold_becomes_columns(records: list[Record]) -> None:
    batch = built(*records)
    assert batch.attributes & KIND_MASK == COLUMNS
    assert batch.lines() is None and not batch.is_plain_lines
    assert [record.value for record in batch.records("", 0)] == [record.value for record in records]


def test_a_payload_that_compresses_beyond_what_a_reader_believes_is_stored_as_it_is() -> None:
    assert read(encode_lines(b"\n" * (1 << 22), count=1 << 22, timestamp_ms=0, codec=ZSTD)).codec == NONE
    assert read(encode_lines(b"abc\n" * 1000, count=1000, timestamp_ms=0, codec=ZSTD)).codec == ZSTD
    assert read(encode_columns([b"x" * (1 << 24)], base_timestamp=0, codec=ZSTD)).records("", 0)[0].value == b"x" * (
        1 << 24
    )


def test_a_batch_that_no_reader_would_take_is_not_encoded() -> None:
    with pytest.raises(RecordTooLargeError):
        encode_lines(b"x" * MAX_RAW_BYTES + b"\n", count=1, timestamp_ms=0)


def test_the_largest_record_there_may_be_is_read_again() -> None:
    read(encode_lines(b"x" * (MAX_RAW_BYTES - 1) + b"\n", count=1, timestamp_ms=0))


def test_a_chain_depends_on_all_before_it_and_not_on_what_a_leader_stamps() -> None:
    first, second = encode_lines(b"a\n", count=1, timestamp_ms=0), encode_lines(b"b\n", count=1, timestamp_ms=9)
    assert first.chain_after(0) != second.chain_after(0)
    assert second.chain_after(first.chain_after(0)) != second.chain_after(0)
    assert chain_of(7, 1, 2, 3, 4, 5) == chain_of(7, 1, 2, 3, 4, 5)
    header = second.stamp(5, 3, 2, second.chain_after(1))
    parsed = parse_header(header)
    assert parsed is not None and parsed.chain == parsed.chain_after(1) == second.chain_after(1)


def test_a_durable_offset_ahead_of_the_batch_cannot_be() -> None:
    batch = encode_lines(b"a\n", count=1, timestamp_ms=0)
    assert parse_header(batch.stamp(5, 0, 5, 0)) is not None
    assert parse_header(batch.stamp(5, 0, 6, 0)) is None


def test_a_batch_without_records_is_one_of_compaction() -> None:
    batch = encode_columns([], base_timestamp=0)
    batch.last_offset_delta = 4
    assert parse_header(batch.stamp(5, 0, 0, 0)) is None
    batch.attributes |= COMPACTED
    parsed = parse_header(batch.stamp(5, 0, 0, 0))
    assert parsed is not None and (parsed.record_count, parsed.next_offset) == (0, 10)


def test_a_control_batch_holds_no_records_for_readers() -> None:
    batch = encode_lines(b"a\n", count=1, timestamp_ms=0)
    batch.attributes |= CONTROL
    parsed = read(batch)
    assert parsed.records("", 0) == [] and parsed.lines() is None and not parsed.is_plain_lines


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_lines_than_announced_is_refused(count: int) -> None:
    with pytest.raises(CodecError):
        read(encode_lines(b"a\nb\n", count=count, timestamp_ms=0)).records("", 0)


@pytest.mark.parametrize("key", [b"k", b"k\n"])
def test_one_line_announced_where_there_is_none_but_a_key_is_refused(key: bytes) -> None:
    batch = read(encode_lines(b"", count=1, timestamp_ms=5, key=key))
    with pytest.raises(CodecError):
        batch.records("t", 0)


@pytest.mark.parametrize("key", [None, b"k"])
def test_lines_of_which_compaction_kept_none(key: bytes | None) -> None:
    batch = encode_lines(b"", count=1, timestamp_ms=5, key=key)
    batch.attributes |= COMPACTED
    batch.record_count = 0
    assert read(batch).records("t", 0) == []


@pytest.mark.parametrize("deltas", [[0, 0, 3], [2, 1, 3], [-1, 0, 1], [0, 1, 4], [0, 1, 9]])
def test_offsets_that_do_not_increase_within_the_batch_are_refused(deltas: list[int]) -> None:
    batch = batch_of_columns([[b"a", b"b", b"c"], None, None, None, deltas], base_timestamp=0, codec=NONE)
    batch.attributes |= COMPACTED
    batch.last_offset_delta = 3
    with pytest.raises(CodecError):
        read(batch).records("t", 0)


@pytest.mark.parametrize("attributes", [GZIP, 0x4000], ids=["compressed", "of a newer mk"])
def test_a_payload_longer_than_any_is_no_batch(attributes: int) -> None:
    """Whoever steps over it, or makes room for it, goes by what the header says."""
    batch = encode_lines(b"a\n", count=1, timestamp_ms=0)
    batch.attributes |= attributes
    batch.payload_length = MAX_RAW_BYTES
    assert parse_any_header(batch.stamp(0, 0, 0, 0)) is not None
    batch.payload_length += 1
    assert parse_any_header(batch.stamp(0, 0, 0, 0)) is None
