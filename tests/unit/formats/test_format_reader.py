import json
import subprocess
import sys

import pytest

from mk.formats.format_reader import FormatReader
from mk.formats.record_columns import BadRecordError, RecordColumns


def read(form: str, line: bytes, **options: object) -> RecordColumns:
    reader = FormatReader(form, **options)  # type: ignore[arg-type]
    assert reader.delimiter is not None
    columns = RecordColumns()
    reader.read_lines([line], 0, columns)
    return columns


@pytest.mark.parametrize(
    ("form", "line", "says"),
    [
        (r"%k:%v\n", b"no colon", "there is no ':' behind %k"),
        (r"<%v>\n", b"x>", "'<' is not where the format has it"),
        (r"%p %v\n", b"x y", "%p is no number"),
        (r"%p %v\n", b" y", "%p is no number"),
        (r"%p %v\n", b"1x y", "' ' is not where the format has it"),
        (r"%p %v\n", b"99999999999 y", "its partition is no number"),
        (r"%T %v\n", b"99999999999999999999 y", "its time is no number"),
        (r"%v{hex}\n", b"abc", "%v is not hexadecimal"),
        (r"%v{hex}\n", b"zz", "%v is not hexadecimal"),
        (r"%v{hex}\n", b"ab ab", "%v is not hexadecimal"),
        (r"%v{base64}\n", b"YQ", "%v is not base64"),
        (r"%v{base64}\n", b"Y\xff==", "%v is not base64"),
        (r"%v{json}\n", b"text", "%v is no JSON string, null or"),
        (r"%v{json}\n", b'"a" ', "something follows what the format ends with"),
        (r"%v{json}\n", b'"\\q"', "a string of JSON is not valid"),
        (r"%v{json}\n", b'"\xff"', "%v is not UTF-8"),
        (r"%v{json}\n", b'{"b64":"!"}', "not valid base64"),
        (r"%v{json}\n", b'"\\ud800"', "half a character"),
        (r"%d{iso} %v\n", b"yesterday v", "%d is no time as the format has it"),
        (r"%d{iso} %v\n", b"2026-13-01T00:00:00.000Z v", "%d is no time as the format has it"),
        (r"%d{strftime[%F %T]} %v\n", b"2026-11-23 v", "there is no ' ' behind %d"),
        (r"%t %v\n", b"\xff v", "its topic is not UTF-8"),
        (r"%v|%h{%k=%v;}\n", b"v|a=1", "its headers do not match the format"),
        (r"%v|%h{%k=%v;}\n", b"v|a;", "there is no '=' behind %k"),
    ],
)
def test_a_line_that_does_not_match_is_refused_with_the_reason(form, line, says):
    with pytest.raises(BadRecordError) as caught:
        read(form, line)
    assert says in str(caught.value)


def test_a_field_ends_at_the_first_place_where_what_follows_begins():
    columns = read(r"%k: %v\n", b"a:b: c: d")
    assert (columns.keys, columns.values) == ([b"a:b"], [b"c: d"])


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%F %T", b"2026-11-23 10:00:00"),
        ("%d %b %Y %H:%M:%S", b"23 Nov 2026 10:00:00"),
        ("%FT%T%z", b"2026-11-23T12:00:00+0200"),
        ("%D %R", b"11/23/26 10:00"),
    ],
)
def test_times_in_the_pattern_of_strftime(pattern, text):
    assert read("%d{strftime[" + pattern + r"]} %v\n", text + b" v").timestamps == [1795428000000]


def test_what_may_be_a_delimiter_within_a_json_string_does_not_end_it():
    columns = read(r"%k{json}\t%v{json}\n", b'"a\\tb"\t"c\\nd"')
    assert (columns.keys, columns.values) == ([b"a\tb"], [b"c\nd"])


@pytest.mark.parametrize("text", [r"\\", r"\\\"", r"\"", r"a\"\\", r"\\\\", r"\u0022", ""])
def test_a_json_string_ends_at_the_quote_that_no_backslash_belongs_to(text):
    value = json.loads(f'"{text}"').encode()
    columns = read(r"%k{json}%v{json}\n", f'"{text}""{text}"'.encode())
    assert (columns.keys, columns.values) == ([value], [value])
    stream = FormatReader("%p{big32}%k{json}%v{json}").stream()
    columns = RecordColumns()
    for byte in f'\0\0\0\0"{text}""{text}"'.encode():
        stream.feed(bytes((byte,)))
        stream.read(columns, 1)
    assert (columns.keys, columns.values) == ([value], [value])


LONG_STRING = """
import resource
from mk.formats.format_reader import FormatReader
from mk.formats.record_columns import RecordColumns
line = b'"' + b"x" * (8 << 20) + b'"'
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
FormatReader("%v{json}" + chr(10)).read_lines([line], 0, RecordColumns())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_long_json_string_takes_a_few_times_its_length():
    done = subprocess.run([sys.executable, "-c", LONG_STRING], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 << 10


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("%V{big32}%v", b"\xff\xff\xff\xfe"),
        ("%V %v", b"-2 x"),
        ("%V %v", b"x"),
        ("%V %v", b"99999999999999999999999 "),
        ("%H{big32}%h{%k=%v,}%v{json}", b"\xff\xff\xff\xff"),
        ("%V{hex32}%v", b"0000000g"),
        ("%V{big32}%v|", b"\x00\x00\x00\x01xx"),
    ],
)
def test_a_stream_that_does_not_match_is_lost(form, data):
    stream = FormatReader(form).stream()
    stream.feed(data)
    with pytest.raises(BadRecordError):
        stream.read(RecordColumns(), 10)
    assert stream.is_lost


def test_a_length_that_nobody_can_mean_is_not_waited_for():
    stream = FormatReader("%V{big32}%v").stream()
    stream.feed(b"\x7f\xff\xff\xff")
    with pytest.raises(BadRecordError, match="%V is no length that a record can have"):
        stream.read(RecordColumns(), 10)
    assert stream.is_lost


def test_text_whose_end_does_not_come_is_not_waited_for_for_ever():
    stream = FormatReader("%p{big32}%v|").stream()
    stream.feed(b"\0\0\0\0")
    columns = RecordColumns()
    with pytest.raises(BadRecordError, match="longer than any record"):
        for _ in range(9):
            stream.feed(bytes(8 << 20))
            stream.read(columns, 10)
    assert stream.is_lost and not len(columns)
