import base64
import json

import pytest

from mk.errors import UsageError
from mk.formats.writers import PRESETS, value_block, writer
from mk.records.record import ConsumerRecord


def record(
    value: bytes | None,
    key: bytes | None = None,
    headers: tuple[tuple[bytes, bytes | None], ...] = (),
    offset: int = 7,
    topic: str = "t",
) -> ConsumerRecord:
    return ConsumerRecord(topic, 3, offset, 1700000000000, key, value, headers)


@pytest.mark.parametrize(
    ("name", "delimiter", "printed"),
    [
        ("value", b"\n", b"one\n\n\ntwo\r\n"),
        ("value", b"\0", b"one\0\0\0two\r\0"),
        ("value", b"", b"onetwo\r"),
        ("kv", b"\n", b"k\tone\n\t\n\t\nl\ttwo\r\n"),
        ("kv", b"--\xff", b"k\tone--\xff\t--\xff\t--\xffl\ttwo\r--\xff"),
        ("raw", b"\n", b"onetwo\r"),
    ],
)
def test_records_are_printed_in_order_and_null_as_empty(name: str, delimiter: bytes, printed: bytes) -> None:
    records = [record(b"one", b"k"), record(None), record(b""), record(b"two\r", b"l")]
    assert writer(name, delimiter=delimiter)(records) == printed
    assert writer(name, delimiter=delimiter)(iter(records)) == printed


@pytest.mark.parametrize("name", PRESETS)
def test_no_records_print_nothing(name: str) -> None:
    assert writer(name)([]) == b""


@pytest.mark.parametrize("name", ["value", "kv", "raw"])
def test_values_keep_their_bytes(name: str) -> None:
    assert b"\xff\x00\n\xed\xa0\x80" in writer(name)([record(b"\xff\x00\n\xed\xa0\x80")])


def test_json_has_its_members_in_order_and_no_spaces() -> None:
    assert writer("json")([record(b"v", b"k", ((b"h", b"1"), (b"h", None))), record(None, offset=8, topic="u")]) == (
        b'{"topic":"t","partition":3,"offset":7,"ts":1700000000000,"headers":[["h","1"],["h",null]]'
        b',"key":"k","payload":"v"}\n'
        b'{"topic":"u","partition":3,"offset":8,"ts":1700000000000,"headers":[],"key":null,"payload":null}\n'
    )


def test_json_keeps_text_as_utf_8_and_escapes_what_it_must() -> None:
    printed = writer("json")([record('käse "quoted" \\ \n\t\x00\x1b \U0001f9c0'.encode())])
    assert b"\n" not in printed[:-1]
    assert "käse".encode() in printed and "\U0001f9c0".encode() in printed
    assert json.loads(printed)["payload"] == 'käse "quoted" \\ \n\t\x00\x1b \U0001f9c0'


@pytest.mark.parametrize(
    "data", [b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"\xed\xb2\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
)
def test_json_writes_bytes_that_are_not_utf_8_in_base64(data: bytes) -> None:
    line = json.loads(writer("json")([record(data, data, ((data, data), (b"text", b"b64")))]))
    assert list(line) == ["topic", "partition", "offset", "ts", "headers", "key_b64", "payload_b64"]
    assert base64.b64decode(line["key_b64"]) == base64.b64decode(line["payload_b64"]) == data
    name, value = line["headers"][0]
    assert base64.b64decode(name["b64"]) == base64.b64decode(value["b64"]) == data
    assert line["headers"][1] == ["text", "b64"]


def test_json_tells_a_key_that_is_not_utf_8_from_a_value_that_is() -> None:
    line = json.loads(writer("json")([record(b"text", b"\xff")]))
    assert line["payload"] == "text"
    assert base64.b64decode(line["key_b64"]) == b"\xff"


def test_json_objects_end_with_the_delimiter() -> None:
    printed = writer("json", delimiter=b"\xff\0")([record(b"a\nb"), record(b"c")])
    assert [json.loads(part)["payload"] for part in printed.split(b"\xff\0")[:-1]] == ["a\nb", "c"]
    assert printed.endswith(b"}\xff\0")


def test_an_unknown_format_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(UsageError, match="no format xml") as caught:
        writer("xml")
    assert "value, kv, json, raw" in caught.value.fix


@pytest.mark.parametrize(
    ("delimiter", "expected"), [(b"\0", b"a\0\0b\r\0"), (b"--", b"a----b\r--"), (b"", b"ab\r"), (b"\n", b"a\n\nb\r\n")]
)
def test_a_block_gets_another_delimiter(delimiter: bytes, expected: bytes) -> None:
    assert bytes(value_block(b"a\n\nb\r\n", delimiter)) == expected
    assert bytes(value_block(memoryview(b"a\n\nb\r\n"), delimiter)) == expected


def test_a_block_of_lines_is_passed_on_as_it_is() -> None:
    payload = memoryview(b"a\n")
    assert value_block(payload, b"\n") is payload


def test_one_door_for_presets_and_formats_with_and_without_a_delimiter() -> None:
    records = [record(b"v", b"k"), record(None, None, offset=8)]
    for name in PRESETS:
        assert writer(name)(records) == writer(name, delimiter=None)(iter(records))
    assert writer("%o=%v")(records) == b"7=v8="
    assert writer("%o=%v", delimiter=b"\0", null=b"-")(records) == b"7=v\x008=-\0"
    assert writer(r"\n")(records) == b"\n\n" and writer("%i")([]) == b""


def test_a_counter_goes_on_from_one_call_to_the_next() -> None:
    write = writer("%i ")
    assert write([record(b"a"), record(b"b")]) + write([record(b"c")]) == b"1 2 3 "
    assert writer("%i ")([record(b"a")]) == b"1 "


def test_nothing_of_a_format_is_run_as_code() -> None:
    hostile = '"""\');import os#%k{json}{value}\\x22%{%}\udcff'
    assert writer(hostile)([record(b"v", b"k")]) == b'"""\');import os#"k"{value}"{}\xff'


def test_the_topic_of_each_record_is_printed_also_where_it_changes() -> None:
    assert writer("%t,")([record(b"", topic="a"), record(b"", topic="b"), record(b"", topic="a")]) == b"a,b,a,"
