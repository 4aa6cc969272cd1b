"""What a child is told of its record, whatever bytes that holds."""

import base64
import json
import os

import pytest

from mk.consumer.child_environment import VARIABLES, base_environment, describe_batch, describe_record
from mk.records.record import ConsumerRecord

ID = "0123456789abcdef0123456789abcdef"


def described(key=b"k", value=b"v", headers=(), tries=1):
    return describe_record(ConsumerRecord("orders", 3, 42, 1700000000000, key, value, headers), ID, tries)


def test_a_record():
    assert described(headers=((b"a", b"1"), (b"a", None)), tries=2) == {
        b"MK_REC_TOPIC": b"orders",
        b"MK_REC_PARTITION": b"3",
        b"MK_REC_OFFSET": b"42",
        b"MK_REC_TRY": b"2",
        b"MK_REC_ID": ID.encode() + b"-3-42",
        b"MK_REC_TS": b"1700000000000",
        b"MK_REC_KEY": b"k",
        b"MK_REC_KEY_B64": b"aw==",
        b"MK_REC_HEADERS": b'[["a","1"],["a",null]]',
    }


@pytest.mark.parametrize("key", [b"", b"a b\n$(x)'\"", bytes(range(1, 256)), b"-rf", b"x" * 60_000])
def test_a_key_is_there_as_it_is(key):
    found = described(key)
    assert found[b"MK_REC_KEY"] == key
    assert base64.b64decode(found[b"MK_REC_KEY_B64"]) == key


def test_a_key_with_a_nul_byte_is_there_in_base64_only():
    found = described(b"a\0b")
    assert b"MK_REC_KEY" not in found
    assert base64.b64decode(found[b"MK_REC_KEY_B64"]) == b"a\0b"


def test_no_key_is_not_an_empty_one():
    assert not [name for name in described(None) if b"KEY" in name]


def test_no_value_is_not_an_empty_one():
    assert described(value=None)[b"MK_REC_NULL"] == b"1"
    assert b"MK_REC_NULL" not in described(value=b"")


def test_what_is_too_long_is_left_out_and_named():
    found = described(b"k" * 200_000, headers=((b"h", b"v" * 200_000),))
    assert found[b"MK_REC_OMITTED"].split() == [b"MK_REC_HEADERS", b"MK_REC_KEY", b"MK_REC_KEY_B64"]
    assert not {b"MK_REC_KEY", b"MK_REC_KEY_B64", b"MK_REC_HEADERS"} & set(found)


def test_headers_that_are_no_text():
    found = described(headers=((b"\xff", b"a\0"), (b"n", b"\n\x80")))
    assert json.loads(found[b"MK_REC_HEADERS"]) == [[{"b64": "/w=="}, "a\0"], ["n", {"b64": "CoA="}]]
    assert b"\0" not in found[b"MK_REC_HEADERS"]


def test_a_batch_says_from_where_to_where():
    records = [ConsumerRecord("orders", 0, offset, 5, b"k", b"v") for offset in (7, 8, 12)]
    assert describe_batch(records, ID, 1) == {
        b"MK_REC_TOPIC": b"orders",
        b"MK_REC_PARTITION": b"0",
        b"MK_REC_OFFSET": b"7",
        b"MK_REC_LAST_OFFSET": b"12",
        b"MK_REC_COUNT": b"3",
        b"MK_REC_TRY": b"1",
        b"MK_REC_ID": ID.encode() + b"-0-7-12",
    }


def test_every_variable_is_explained():
    told = {name for name, _ in VARIABLES}
    used = set(described(b"a", None)) | set(described(b"k" * 200_000))
    used |= set(describe_batch([ConsumerRecord("t", 0, 1, 2, None, None)], ID, 1))
    assert {name.decode() for name in used} == told


def test_what_a_consumer_around_us_says_of_its_record_is_not_passed_on(monkeypatch):
    monkeypatch.setenv("MK_REC_KEY", "another's")
    monkeypatch.setenv("MK_DIR", "there")
    assert os.environb[b"MK_REC_KEY"]
    base = base_environment()
    assert b"MK_REC_KEY" not in base and base[b"MK_DIR"] == b"there"
