"""Cursor files: what is written is read back, and nothing else is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.consumer.cursor_file import CursorPosition, decode_cursor, encode_cursor
from mk.errors import CorruptStateError, MkError, UnsupportedFormatError
from mk.records.codecs import crc32c

ids = st.text("0123456789abcdef", min_size=32, max_size=32)
names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,9}[A-Za-z0-9_-])?", fullmatch=True).filter(
    lambda name: ".deleted" not in name
)


@st.composite
def cursors(draw):
    found = {}
    for _ in range(draw(st.integers(0, 4))):
        partitions = draw(st.integers(1, 9))
        partition = draw(st.integers(0, partitions - 1))
        one = CursorPosition(
            draw(ids),
            draw(names),
            partitions,
            partition,
            draw(st.integers(0, 2**63 - 1)),
            draw(st.integers(-1, 2**63 - 1)),
        )
        found[one.topic_id, partition] = one
    return list(found.values())


@given(ids, cursors(), st.integers(0, 10**15 - 1))
def test_positions_come_back(directory_id, positions, time_ms):
    assert decode_cursor(encode_cursor(directory_id, positions, time_ms), "c") == (directory_id, positions)


@given(ids, cursors(), st.data())
def test_any_damage_is_noticed(directory_id, positions, data):
    content = bytearray(encode_cursor(directory_id, positions, 5))
    at = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "double"]))
    if kind == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[at:]
    elif kind == "insert":
        content[at:at] = data.draw(st.binary(min_size=1, max_size=3))
    else:
        content += content[at:]
    with pytest.raises(CorruptStateError):
        decode_cursor(bytes(content), "c")


def sealed(text):
    """Return what somebody can write who knows the checksum."""
    return text + b"crc=%08x\n" % crc32c(text)


LINE = b"topic=%b name=t partitions=2 partition=1 offset=5 leader_epoch=0\n" % (b"a" * 32)
HEAD = b"mk-cursor 1\ndirectory=%b time=5\n" % (b"d" * 32)


@pytest.mark.parametrize(
    "body",
    [
        b"mk-cursor 1\n",
        b"mk-cursor 1\n\n",
        HEAD + LINE + LINE,
        HEAD + LINE + b"\n",
        HEAD + LINE.replace(b"offset=5", b"offset=-5"),
        HEAD + LINE.replace(b"offset=5", b"offset=9999999999999999999"),
        HEAD + LINE.replace(b"offset=5", b"offset=" + b"9" * 5000),
        HEAD + LINE.replace(b"partition=1", b"partition=2"),
        HEAD + LINE.replace(b"name=t", b"name=../t"),
        HEAD + LINE.replace(b"name=t", b"name=t x"),
        HEAD + LINE.replace(b"name=t", b"name=" + b"x" * 300),
        HEAD + LINE.replace(b"a" * 32, b"A" * 32),
        HEAD.replace(b"d" * 32, b"d" * 31) + LINE,
        HEAD + LINE[:-1] + b" more=1\n",
    ],
)
def test_what_cannot_be_is_refused_though_the_checksum_fits(body):
    assert decode_cursor(sealed(HEAD + LINE), "c")[1][0].offset == 5
    with pytest.raises(CorruptStateError):
        decode_cursor(sealed(body), "c")


def test_a_newer_version_is_no_damage():
    with pytest.raises(UnsupportedFormatError):
        decode_cursor(sealed(HEAD.replace(b"mk-cursor 1", b"mk-cursor 2") + b"anything\n"), "c")


@given(
    st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda tail: HEAD + tail)
    | st.binary(max_size=60).map(lambda body: sealed(HEAD + body))
)
def test_any_bytes_are_read_or_refused(data):
    try:
        decode_cursor(data, "c")
    except MkError as error:
        assert re.match("c (is damaged|has format version)", error.what)
