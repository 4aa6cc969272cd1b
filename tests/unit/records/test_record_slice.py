"""Columns that stand for records: every way of asking for their fields says what the records themselves say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.formats.writers import writer
from mk.records.record import ConsumerRecord
from mk.records.record_slice import RecordSlice, column_of, fields_of

DATA = (
    st.none() | st.binary(max_size=9) | st.text(max_size=9).map(str.encode) | st.sampled_from([b"\x7f", b'"', b"\\n\n"])
)
ROWS = st.lists(st.tuples(st.integers(0, 9), DATA, DATA, st.sampled_from([(), ((b"h", None),)])), max_size=9)
FIELDS = ConsumerRecord.__slots__


def columns(rows) -> RecordSlice:
    times, keys, values, headers = ([row[at] for row in rows] for at in range(4))
    return RecordSlice("t", 3, range(7, 7 + len(rows)), times, keys, values, headers, 5)


def seen(record: ConsumerRecord) -> tuple:
    return tuple(getattr(record, name) for name in FIELDS)


@given(ROWS)
def test_columns_say_what_their_records_say(rows) -> None:
    some = columns(rows)
    records = list(some)
    assert [seen(record) for record in records] == [
        seen(ConsumerRecord("t", 3, at, time, key, value, headers, 5))
        for at, (time, key, value, headers) in enumerate(rows, 7)
    ]
    assert len(some) == len(records)
    assert list(fields_of(some, *FIELDS)) == list(fields_of(records, *FIELDS)) == [seen(record) for record in records]
    for name in FIELDS:
        assert list(column_of(some, name)) == list(column_of(iter(records), name))


@given(ROWS.filter(len), st.data())
def test_a_part_of_the_columns_is_that_part_of_the_records(rows, data) -> None:
    some = columns(rows)
    start, stop = sorted(data.draw(st.integers(0, len(rows))) for _ in range(2))
    assert [seen(record) for record in some[start:stop]] == [seen(record) for record in list(some)[start:stop]]
    at = data.draw(st.integers(-len(rows), len(rows) - 1))
    assert seen(some[at]) == seen(list(some)[at])


@pytest.mark.parametrize(
    "name", ["value", "kv", "raw", "json", "framed", "%o %T %p %t %e %k=%v %h %i%%", "%h{%k:%V,}%H"]
)
@given(rows=ROWS)
def test_columns_are_printed_as_each_of_their_records(name, rows) -> None:
    print_many, print_each = writer(name, null=b"~"), writer(name, null=b"~")
    some = columns(rows)
    assert print_many(some) == b"".join([print_each([record]) for record in some])
