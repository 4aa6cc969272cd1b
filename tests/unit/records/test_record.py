from __future__ import annotations

from mk.records.record import ConsumerRecord, Record


def test_a_record_is_a_value_and_what_else_was_said_of_it() -> None:
    record = Record(b"v", b"k", ((b"h", None),), 5)
    assert (record.value, record.key, record.headers, record.timestamp_ms) == (b"v", b"k", ((b"h", None),), 5)
    bare = Record(None)
    assert (bare.value, bare.key, bare.headers, bare.timestamp_ms) == (None, None, (), None)


def test_a_consumed_record_prints_its_place_and_not_its_value() -> None:
    record = ConsumerRecord("orders", 3, 42, 5, b"k", b"secret")
    assert "orders-3@42" in repr(record) and "secret" not in repr(record)
