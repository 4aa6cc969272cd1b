import json

import pytest

from mk.formats.json_reader import read_lines
from mk.formats.record_columns import BadRecordError, RecordColumns


def read(line: object) -> RecordColumns:
    columns = RecordColumns()
    read_lines([line if isinstance(line, bytes) else json.dumps(line).encode()], 0, columns)
    assert len(columns) == 1
    return columns


def reason(line: object) -> str:
    with pytest.raises(BadRecordError) as caught:
        read(line)
    return str(caught.value)


@pytest.mark.parametrize(
    ("headers", "read_as"),
    [
        ([], ()),
        (None, ()),
        ({}, ()),
        ([["a", "1"], ["a", None]], ((b"a", b"1"), (b"a", None))),
        ([["a", {"b64": "/w=="}], [{"b64": "/g=="}, ""]], ((b"a", b"\xff"), (b"\xfe", b""))),
        (["a", "1", "b", None], ((b"a", b"1"), (b"b", None))),
        ([{"key": "a", "value": "1"}, {"key": "b"}], ((b"a", b"1"), (b"b", None))),
        ({"a": "1", "b": None, "c": {"b64": "/w=="}}, ((b"a", b"1"), (b"b", None), (b"c", b"\xff"))),
    ],
)
def test_headers_in_every_form_that_the_neighbours_print(headers, read_as):
    assert read({"payload": "v", "headers": headers}).headers == [read_as]


@pytest.mark.parametrize(
    ("members", "timestamp_ms"),
    [
        ({}, None),
        ({"ts": 5}, 5),
        ({"ts": None}, None),
        ({"timestamp": -5}, -5),
        ({"ts": 7, "timestamp": 7}, 7),
        ({"ts": -1, "tstype": "unknown"}, None),
        ({"timestamp": "2026-11-23T10:00:00.250Z"}, 1795428000250),
        ({"ts": "2026-11-23T12:00:00+02:00"}, 1795428000000),
    ],
)
def test_times(members, timestamp_ms):
    assert read({"payload": "v", **members}).timestamps == [timestamp_ms]


def test_null_missing_and_empty_are_three_things():
    assert read({"payload": None, "key": ""}).values == [None]
    assert read({"payload": "", "key": None}).values == [b""]
    assert read({"payload": "", "key": None}).keys == read({"payload": ""}).keys == [None]
    assert read({"payload": "", "key": ""}).keys == [b""]
    assert "no payload" in reason({"key": "k"})
    assert "no payload" in reason({"user": 1, "name": "x"})
    # rpk leaves out what is null, but says where it was.
    assert read({"topic": "t", "partition": 0, "offset": 1, "key": "k"}).values == [None]
    assert "no payload" in reason({"topic": "t", "partition": 0, "offset": 1, "value_size": 5})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "it is empty"),
        (b"  \t ", "it is empty"),
        (b"{", "not valid JSON"),
        (b'{"payload":"a"', "not valid JSON at character 15"),
        (b'{"payload":"a"} {"payload":"b"}', "something follows its JSON at character 16"),
        (b'{"payload":"a"}x', "something follows"),
        (b'{"payload":"a",}', "not valid JSON"),
        (b"{'payload':'a'}", "not valid JSON"),
        (b'{"payload":"a\nb"}', "not valid JSON"),
        (b'{"payload":"a\x00b"}', "not valid JSON"),
        (b'{"payload":"\xff"}', "not UTF-8 at byte 13"),
        (b'{"payload":"\xed\xa0\x80"}', "not UTF-8 at byte 13"),
        (b'{"payload":"\\ud800"}', "half a character"),
        (b'{"payload":"\\udc00\\ud800"}', "half a character"),
        (b'{"payload":"v","headers":[["\\ud800","v"]]}', "half a character"),
        (b"[1,2]", "it is a list, and no object"),
        (b'"text"', "it is a string, and no object"),
        (b"17", "it is a number, and no object"),
        (b"null", "it is null, and no object"),
        (b"true", "it is true or false, and no object"),
        (b"NaN", "NaN is no value"),
        (b'{"payload":"a","x":NaN}', "NaN is no value"),
        (b'{"payload":"a","x":-Infinity}', "-Infinity is no value"),
        (b'{"payload":"a","ts":' + b"9" * 5000 + b"}", "a number that is too long"),
        (b'{"payload":"a","ts":' + b"9" * 30 + b"}", "time is no number of milliseconds"),
        (b'{"payload":"a","ts":1e3}', "ts is a number, and not a number of milliseconds"),
        (b'{"payload":"a","ts":true}', "ts is true or false"),
        (b'{"payload":"a","ts":"now"}', "no time in RFC 3339"),
        (b'{"payload":"a","ts":"-1h"}', "no time in RFC 3339"),
        (b'{"payload":"a","ts":1,"timestamp":2}', "ts and timestamp both say its time"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"payload":' * 50_000, "nested too deep"),
        (b'{"payload":{"a":1}}', "payload is an object, and not a string or null"),
        (b'{"payload":1}', "payload is a number"),
        (b'{"payload":["a"]}', "payload is a list"),
        (b'{"payload":"a","key":1}', "key is a number"),
        (b'{"payload":"a","key":{"b64":"YQ=="}}', "key is an object"),
        (b'{"payload":"a","payload_b64":"YQ=="}', "payload and payload_b64 both say its payload"),
        (b'{"payload":"a","value":"b"}', "payload and value both say its payload"),
        (b'{"payload":"a","key":"b","key_b64":"YQ=="}', "key and key_b64 both say its key"),
        (b'{"payload_b64":"!"}', "payload_b64 is not valid base64"),
        (b'{"payload_b64":"YQ"}', "payload_b64 is not valid base64"),
        (b'{"payload_b64":"Y Q=="}', "payload_b64 is not valid base64"),
        (b'{"payload_b64":5}', "payload_b64 is a number"),
        (b'{"payload":"a","topic":5}', "topic is a number"),
        (b'{"payload":"a","partition":"0"}', "partition is a string"),
        (b'{"payload":"a","partition":-1}', "its partition is no number"),
        (b'{"payload":"a","partition":true}', "partition is true or false"),
        (b'{"payload":"a","headers":"x"}', "headers is a string"),
        (b'{"payload":"a","headers":""}', "headers is a string"),
        (b'{"payload":"a","headers":false}', "headers is true or false"),
        (b'{"payload":"a","headers":0}', "headers is a number"),
        (b'{"payload":"a","headers":["x"]}', "a name without a value"),
        (b'{"payload":"a","headers":[["x"]]}', "no pairs"),
        (b'{"payload":"a","headers":[["x","y","z"]]}', "no pairs"),
        (b'{"payload":"a","headers":[[null,"y"]]}', "the name of a header is null"),
        (b'{"payload":"a","headers":[["x",1]]}', "a header is a number"),
        (b'{"payload":"a","headers":[["x",{"b64":"!"}]]}', "not valid base64"),
        (b'{"payload":"a","headers":[["x",{"b64":"YQ==","c":1}]]}', "a header is an object"),
        (b'{"payload":"a","headers":[{"key":"x","other":"y"}]}', "no pairs"),
        (b'{"payload":"a","headers":[{"key":"x"},["y","z"]]}', "no pairs"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason_and_without_its_values(line, says):
    told = reason(line)
    assert says in told
    assert "\n" not in told and len(told) < 200


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'\xef\xbb\xbf{"payload":"a"}', b"a"),
        (b' {"payload" : "a" }\r', b"a"),
        (b'{"payload":"\\u0000\\ud83e\\uddc0"}', "\0\U0001f9c0".encode()),
        (b'{"payload":"first","payload":"last"}', b"last"),
        (b'{"p\\u0061yload":"a"}', b"a"),
        (b'{"payload":"a","unknown":{"deep":[1,2,{"x":null}]},"n":1e400}', b"a"),
        (b'{"value_b64":""}', b""),
        (b'{"payload":"' + b"x" * 100_000 + b'"}', b"x" * 100_000),
    ],
)
def test_what_is_unusual_and_still_says_what_it_means_is_taken(line, value):
    assert read(line).values == [value]


def test_the_record_before_a_bad_line_is_kept_and_reading_goes_on_behind_it():
    lines = [b'{"payload":"a"}', b"{", b'{"payload":"b"}']
    columns = RecordColumns()
    with pytest.raises(BadRecordError):
        read_lines(lines, 0, columns)
    assert columns.values == [b"a"]
    read_lines(lines, 2, columns)
    assert columns.values == [b"a", b"b"]
