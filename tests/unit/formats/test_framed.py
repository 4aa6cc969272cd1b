import resource
import subprocess
import sys

import msgpack
import pytest

from mk.formats.framed import FrameReader
from mk.formats.record_columns import BadRecordError, RecordColumns


def frame(*, topic="t", partition=0, offset=0, time=5, headers=(), key=b"k", value=b"v") -> bytes:
    return msgpack.packb([topic, partition, offset, time, headers, key, value])


def read(data: bytes, *, ended: bool = False) -> tuple[RecordColumns, FrameReader]:
    reader = FrameReader()
    reader.feed(data)
    if ended:
        reader.end()
    columns = RecordColumns()
    before = -1
    while before != len(columns):
        before = len(columns)
        reader.read(columns, 1000)
    return columns, reader


def test_text_and_nil_are_taken_where_bytes_and_numbers_are_meant():
    columns, _ = read(msgpack.packb([None, None, None, None, None, "k", "v"]))
    assert (columns.values, columns.keys, columns.headers) == ([b"v"], [b"k"], [()])
    assert (columns.topics, columns.partitions, columns.timestamps) == ([None], [None], [None])
    columns, _ = read(frame(topic=b"t", headers=[["h", None], [b"\xff", "x"]]))
    assert (columns.topics, columns.headers) == (["t"], [((b"h", None), (b"\xff", b"x"))])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (msgpack.packb(7), "no array of seven"),
        (msgpack.packb([1, 2]), "no array of seven"),
        (frame(partition="0"), "not integers"),
        (frame(time=1.5), "not integers"),
        (frame(time=True), "not integers"),
        (frame(time=2**63), "no number of milliseconds"),
        (frame(partition=-1), "its partition"),
        (frame(value=7), "not text or bytes"),
        (frame(key=[1]), "not text or bytes"),
        (frame(topic=b"\xff"), "its topic is not UTF-8"),
        (frame(headers=7), "headers are no array"),
        (frame(headers=[["a"]]), "not arrays of two"),
        (frame(headers=[[None, b"v"]]), "not arrays of two"),
        (frame(headers=[[b"a", 7]]), "not arrays of two"),
    ],
)
def test_a_frame_that_is_no_record_is_refused_and_those_around_it_are_read(data, says):
    reader = FrameReader()
    reader.feed(frame(value=b"before") + data + frame(value=b"behind"))
    columns = RecordColumns()
    with pytest.raises(BadRecordError, match=says):
        reader.read(columns, 1000)
    assert columns.values == [b"before"] and not reader.is_lost
    reader.read(columns, 1000)
    assert columns.values == [b"before", b"behind"]


def test_a_record_may_have_a_great_many_headers():
    columns, _ = read(frame(headers=[[b"k", b"v"]] * 100_000))
    assert len(columns.headers[0]) == 100_000


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xc1", "begins no value"),  # never used
        (b"\xc7\xff\x00", "ends within it"),  # an extension, cut off
        (b"\xd4\x01b", "max_ext_len"),  # an extension
        (b"\x81\xa1a\x01", "max_map_len"),  # a map
        (b"\xdd\xff\xff\xff\xff", "max_array_len"),  # an array of four billion
        (b"\xc6\xff\xff\xff\xff", "ends within it"),  # bytes, four billion
        (b"\xdb\xff\xff\xff\xff", "ends within it"),  # text, four billion
        (b"\x91" * 5000, "nested too deep"),
        (
            b"\xdd\x00\x0f\xff\xff" * 3000,
            "nested too deep|more values than there is memory for",
        ),  # each claims a million
    ],
)
def test_what_is_no_msgpack_of_ours_ends_the_stream_behind_what_was_whole(data, says):
    reader = FrameReader()
    reader.feed(frame(value=b"before") + data)
    columns = RecordColumns()
    with pytest.raises(BadRecordError, match=says):
        for _ in range(3):
            reader.read(columns, 1000)
            reader.end()
    assert columns.values == [b"before"] and reader.is_lost


@pytest.mark.parametrize("left", range(1, len(frame())))
def test_a_frame_that_is_cut_off_waits_and_is_refused_at_the_end(left):
    whole = frame()
    columns, reader = read(whole + whole[:left])
    assert len(columns) == 1 and reader.waiting_bytes == left
    with pytest.raises(BadRecordError, match="the input ends within it"):
        read(whole[:left], ended=True)


CLAIMS = """
import resource, sys
from mk.formats.framed import FrameReader
from mk.formats.record_columns import BadRecordError, RecordColumns
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reader, columns = FrameReader(), RecordColumns()
try:
    for _ in range(200):
        reader.feed({data} * 100)
        reader.read(columns, 1000)
except BadRecordError:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    "data", [r"b'\xdc\xff\xff'", r"b'\xdd\x00\x0f\xff\xff'", r"b'\x97\xc6\x03\xff\xff\xff'", r"b'\x91'"]
)
def test_what_a_few_bytes_claim_is_not_given_memory(data):
    assert resource.getpagesize()
    script = CLAIMS.format(data=data)
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 64 << 10


def test_an_array_that_claims_more_than_a_million_values_is_not_waited_for():
    reader = FrameReader()
    reader.feed(b"\xdd\x00\x10\x00\x01")
    with pytest.raises(BadRecordError):
        reader.read(RecordColumns(), 1000)
