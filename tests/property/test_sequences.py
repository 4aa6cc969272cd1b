"""What is left of a batch is what its records say; and a scan of headers sees what reading every header sees."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mk.records.codecs import CODEC_NAMES
from mk.records.record import Record
from mk.records.record_batch import EncodedBatch, RecordBatchBuilder, encode_lines, parse_header
from mk.records.sequences import scan, without_first, without_stored

VALUES = st.none() | st.binary(max_size=6) | st.just(b"x" * 3000)
KEYS = st.none() | st.sampled_from([b"", b"k", b"key"])
HEADERS = st.lists(st.tuples(st.binary(max_size=3), st.none() | st.binary(max_size=3)), max_size=2).map(tuple)
RECORDS = st.lists(st.tuples(VALUES, KEYS, HEADERS, st.integers(0, 50)), min_size=2, max_size=30)
PLAIN = st.lists(st.tuples(st.binary(max_size=6), st.just(b"k"), st.just(()), st.just(5)), min_size=2, max_size=30)


def build(records: list[tuple[bytes | None, bytes | None, tuple, int]], codec: int) -> EncodedBatch:  # type: ignore[type-arg]
    builder = RecordBatchBuilder()
    for value, key, headers, time in records:
        builder.append(Record(value, key, headers), 1000 + time)
    return builder.build(codec=codec)


def decode(batch: EncodedBatch) -> list[tuple[bytes | None, bytes | None, tuple, int]]:  # type: ignore[type-arg]
    header = parse_header(batch.stamp(0, 0, 0, 0))
    assert header is not None
    assert header.check_payload(b"".join(batch.payload))
    return [(record.value, record.key, record.headers, record.timestamp_ms - 1000) for record in header.records("t", 0)]


@given(RECORDS | PLAIN, st.sampled_from(sorted(CODEC_NAMES.values())), st.data())
def test_what_is_left_of_a_batch_is_its_last_records(records, codec, data) -> None:  # type: ignore[no-untyped-def]
    batch = build(records, codec)
    sequences = data.draw(
        st.lists(st.integers(0, 200), min_size=len(records), max_size=len(records), unique=True).map(sorted)
    )
    batch.number(77, sequences)
    count = data.draw(st.integers(0, len(records) - 1))
    rest = without_first(batch, count)
    assert decode(rest) == decode(batch)[count:]
    assert list(rest.sequences) == sequences[count:]
    assert (rest.producer_id, rest.first_sequence, rest.last_sequence) == (77, sequences[count], sequences[-1])

    last = data.draw(st.integers(-1, 201))
    left = without_stored(batch, last)
    assert ([] if left is None else list(left.sequences)) == [number for number in sequences if number > last]
    assert (left is batch) == (last < sequences[0])


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 60)), max_size=20),
    st.integers(0, 20),
    st.integers(0, 4000),
)
def test_a_scan_sees_what_reading_every_header_sees(shapes: list[tuple[int, int, int]], stop_at: int, cut: int) -> None:
    data, offset, chain = b"", 0, 0
    offsets, positions = [0], [0]
    sequences = dict.fromkeys(range(4), 0)
    for count, producer, size in shapes:
        batch = encode_lines((b"v" * size + b"\n") * count, count=count, timestamp_ms=1)
        if producer:
            first = sequences[producer]
            batch.number(producer, range(first, first + count))
            sequences[producer] += count
        chain = batch.chain_after(chain)
        data += batch.stamp(offset, 0, 0, chain) + b"".join(batch.payload)
        offset += count
        offsets.append(offset)
        positions.append(len(data))
    data = data[: max(0, len(data) - cut)]
    found: dict[int, int] = {}
    stop_offset = offsets[min(stop_at, len(shapes))]
    position, reached, last_chain, count = scan(data, 0, 0, stop_offset, found)
    expected: dict[int, int] = {}
    at = chain = 0
    number = 0
    while at < stop_offset and (batch := parse_header(data, positions[number])) is not None:
        if batch.producer_id:
            expected[batch.producer_id] = batch.last_sequence
        at, chain, number = batch.next_offset, batch.chain, number + 1
    assert (position, reached, count) == (positions[number], at, number)
    assert last_chain == (chain if number else -1)
    assert found == expected


def test_a_scan_stops_at_what_is_not_the_next_header() -> None:
    batch = encode_lines(b"v\n", count=1, timestamp_ms=1)
    batch.number(9, range(1))
    good = batch.stamp(0, 0, 0, batch.chain_after(0))
    for position in range(128):
        damaged = bytearray(good)
        damaged[position] ^= 1
        found: dict[int, int] = {}
        assert scan(bytes(damaged), 0, 0, 10, found) == (0, 0, -1, 0), position
        assert not found
    assert scan(good, 0, 1, 10, {}) == (0, 1, -1, 0)
    assert scan(bytes(500), 0, 0, 10, {}) == (0, 0, -1, 0)
