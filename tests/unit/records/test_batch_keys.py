"""Whether a batch has records without a key, by whichever way it was made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.records.batch_keys import lacks_keys
from mk.records.codecs import CODEC_NAMES
from mk.records.record import Record
from mk.records.record_batch import RecordBatchBuilder, encode_columns, encode_lines

KEYS = st.lists(st.none() | st.binary(max_size=3), min_size=1, max_size=6)
CODECS = st.sampled_from(sorted(CODEC_NAMES.values()))


@given(KEYS, CODECS)
def test_columns_lack_keys_where_one_of_them_is_null(keys, codec):
    values = [b"v"] * len(keys)
    assert lacks_keys(encode_columns(values, base_timestamp=1, keys=keys, codec=codec)) == (None in keys)
    assert lacks_keys(encode_columns(values, base_timestamp=1, codec=codec))


@given(KEYS, st.lists(st.sampled_from([b"v", b"two\nlines", None]), min_size=6, max_size=6), CODECS)
def test_what_is_gathered_record_by_record_says_the_same(keys, values, codec):
    builder = RecordBatchBuilder()
    for key, value in zip(keys, values):
        builder.append(Record(value, key), 1)
    assert lacks_keys(builder.build(codec=codec)) == (None in keys)


@pytest.mark.parametrize(("key", "lacks"), [(None, True), (b"", False), (b"k", False)])
def test_lines_have_the_key_that_the_header_says(key, lacks):
    assert lacks_keys(encode_lines(b"v\n", count=1, timestamp_ms=1, key=key)) == lacks


def test_what_its_maker_knows_is_not_looked_up():
    batch = encode_columns([b"v"], base_timestamp=1, keys=[b"k"])
    batch.payload = [b"nothing to be unpacked"]
    batch.has_all_keys = True
    assert not lacks_keys(batch)
