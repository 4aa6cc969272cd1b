"""Records packed as they come make the same batch, byte for byte, as records packed at once."""

from hypothesis import given
from hypothesis import strategies as st

from mk.producer.record_accumulator import RecordAccumulator
from mk.records import columns_builder
from mk.records.codecs import CODEC_NAMES, ItemPacker, array_header, pack
from mk.records.columns_builder import ColumnsBuilder
from mk.records.record_batch import encode_columns

DATA = st.none() | st.binary(max_size=5)
PIECE = st.lists(st.tuples(DATA, DATA), max_size=40).flatmap(
    lambda pairs: st.booleans().map(
        lambda has_keys: ([key for key, _ in pairs] if has_keys else None, [v for _, v in pairs])
    )
)
HEADERS = st.sampled_from([(), ((b"a", b"1"), (b"b", None))])


@given(
    st.lists(PIECE, max_size=6).filter(lambda pieces: any(values for _, values in pieces)),
    HEADERS,
    st.sampled_from(sorted(CODEC_NAMES.values())),
)
def test_a_batch_does_not_tell_in_which_pieces_its_records_came(pieces, headers, codec) -> None:
    builder = ColumnsBuilder(headers, 1_700_000_000_000)
    values, keys, has_keys = [], [], False
    for of_piece, own in pieces:
        builder.extend(of_piece, own)
        values += own
        keys += of_piece or [None] * len(own)
        has_keys = has_keys or of_piece is not None
    assert len(builder) == len(values)
    expected = encode_columns(
        values,
        base_timestamp=1_700_000_000_000,
        keys=keys if has_keys else None,
        headers=[headers] * len(values) if headers else None,
        codec=codec,
    )
    assert builder.build(codec).stamp(0, 0, 0, 0) == expected.stamp(0, 0, 0, 0)


@given(st.lists(st.integers(1, 3 * columns_builder._FEW_RECORDS), min_size=1, max_size=5))
def test_size_is_that_of_what_was_taken(counts) -> None:
    builder = ColumnsBuilder((), 0)
    for count in counts:
        before = builder.size_bytes
        builder.extend([b"key"] * count, [b"value"] * count)
        assert builder.size_bytes - before >= count * 8
    assert sum(counts) * 8 <= builder.size_bytes <= len(builder.build(0).payload[0])


def test_headers_count_also_while_records_are_few() -> None:
    accumulator = RecordAccumulator(0)
    headers = ((b"name", b"x" * (1 << 20)),)
    for _ in range(2 * columns_builder._FEW_RECORDS):
        assert accumulator.append_columns([b"k"], [b"v"], headers, 0) >= 1 << 20
        assert len(accumulator.drain()) == 1


@given(st.sampled_from([0, 1, 15, 16, 17, 65535, 65536, 65537]))
def test_items_behind_the_header_of_their_array_are_the_array(count) -> None:
    packer = ItemPacker()
    items = [b"x"] * count
    assert (
        array_header(count) + bytes(packer.pack(items))
        == pack(items)
        == array_header(count) + bytes(packer.pack(items))
    )
