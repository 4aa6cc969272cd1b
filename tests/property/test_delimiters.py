"""Input is cut at its delimiters as bytes.split cuts it, whatever they are and however the input arrives."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import example, given
from hypothesis import strategies as st

from mk.errors import RecordTooLargeError
from mk.formats import readers
from mk.formats.readers import LineReader, split_keys, split_values

# Few letters, so that delimiters occur, overlap themselves and each other, and are torn between two reads.
text = st.lists(st.sampled_from([b"a", b"b", b"ab", b"\n", b"\n\n", b"aaaa", b"\x00", b"x" * 20]), max_size=30).map(
    b"".join
)
delimiters = st.one_of(
    st.sampled_from(
        [b"\n", b"\x00", b"a", b"ab", b"aa", b"aaa", b"\n\n", b"aba", b"abab", b"aab", b"b\n", b"abcd", b""]
    ),
    st.text("ab", min_size=1, max_size=5).map(str.encode),
)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=10)
batch_sizes = st.sampled_from([7, 16, 100, 8 << 20])


@contextmanager
def arriving(data: bytes, read_sizes: list[int]) -> Iterator[int]:
    """A descriptor from which each read brings as many bytes as the next of `read_sizes` says, over and over."""
    position = calls = 0
    real = os.readv

    def readv(fd: int, buffers: list[memoryview]) -> int:
        nonlocal position, calls
        (room,) = buffers
        count = min(len(room), len(data) - position, read_sizes[calls % len(read_sizes)])
        room[:count] = data[position : position + count]
        position += count
        calls += 1
        return count

    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"there is always something to read")
    readers.os.readv = readv  # type: ignore[attr-defined]
    try:
        yield read_fd
    finally:
        readers.os.readv = real  # type: ignore[attr-defined]
        os.close(read_fd)
        os.close(write_fd)


def lines_of(data: bytes, delimiter: bytes) -> list[bytes]:
    if not delimiter:
        return [data] if data else []
    lines = data.split(delimiter)
    return lines if lines[-1] else lines[:-1]


def drain(reader: LineReader, delimiter: bytes, piece_bytes: int = 1 << 20) -> tuple[list[bytes], bytes]:
    """Read to the end. Returns the lines, and the input as it came."""
    lines: list[bytes] = []
    came = b""
    while (block := reader.next_block()) is not None:
        pieces = reader.pieces(piece_bytes)
        assert b"".join(bytes(piece) for piece, _ in pieces) == bytes(block)
        for piece, count in pieces:
            values = split_values(piece, delimiter)
            assert len(values) == count
            assert len(piece) <= piece_bytes or count == 1
            lines += values
        came += bytes(reader.as_it_came())
    return lines, came


@given(text, delimiters, sizes, batch_sizes, st.integers(1, 40))
@example(b"aaa", b"aa", [1], 7, 1)
@example(b"xaa", b"aa", [2, 1], 7, 40)
@example(b"\n\n\n\n\n", b"\n\n", [3], 7, 2)
def test_lines_are_what_split_makes_of_the_input(
    data: bytes, delimiter: bytes, read_sizes: list[int], batch_bytes: int, piece_bytes: int
) -> None:
    with arriving(data, read_sizes) as fd:
        lines, came = drain(LineReader(fd, delimiter=delimiter, batch_bytes=batch_bytes), delimiter, piece_bytes)
    assert lines == lines_of(data, delimiter)
    assert came == data


@given(text, delimiters, sizes, batch_sizes, st.integers(0, 25))
def test_lines_that_are_too_long_are_named_one_by_one_and_can_be_skipped(
    data: bytes, delimiter: bytes, read_sizes: list[int], batch_bytes: int, limit: int
) -> None:
    lines: list[bytes] = []
    places: list[object] = []
    with arriving(data, read_sizes) as fd:
        reader = LineReader(fd, delimiter=delimiter, batch_bytes=batch_bytes, max_line_bytes=limit)
        while True:
            try:
                block = reader.next_block()
            except RecordTooLargeError as error:
                places.append(error.facts["place"])
                reader.skip_line()
                continue
            if block is None:
                break
            lines += split_values(block, delimiter)
    expected = lines_of(data, delimiter)
    unit = "line" if delimiter == b"\n" else "record"
    assert places == [f"input {unit} {at}" for at, line in enumerate(expected, 1) if len(line) > limit]
    assert lines == [line for line in expected if len(line) <= limit]


@given(text, delimiters, sizes, batch_sizes, st.integers(0, 12))
def test_no_more_lines_than_asked_for_and_nothing_read_behind_them(
    data: bytes, delimiter: bytes, read_sizes: list[int], batch_bytes: int, count: int
) -> None:
    read: list[int] = []
    with arriving(data, read_sizes) as fd:
        taken = readers.os.readv

        def readv(fd: int, buffers: list[memoryview]) -> int:
            read.append(taken(fd, buffers))  # type: ignore[arg-type]
            return read[-1]

        readers.os.readv = readv  # type: ignore[attr-defined, assignment]
        lines, came = drain(LineReader(fd, delimiter=delimiter, batch_bytes=batch_bytes, max_lines=count), delimiter)
    expected = lines_of(data, delimiter)[:count]
    assert lines == expected
    assert data.startswith(came)
    assert sum(read) == len(came)
    if delimiter and count <= len(expected):
        assert came.split(delimiter)[:count] == expected


@given(text, st.sampled_from([b"\n", b"ab", b"aa"]), st.integers(0, 6), st.integers(1, 4))
def test_what_follows_the_last_wanted_line_of_a_file_is_left_in_it(
    data: bytes, delimiter: bytes, count: int, repeat: int
) -> None:
    """Also behind a line so long that the reader reads ahead."""
    data = (b"y" * 70_000 + delimiter + data) * repeat
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        lines, came = drain(LineReader(file.fileno(), delimiter=delimiter, max_lines=count), delimiter)
        rest = os.read(file.fileno(), len(data) + 1)
    assert lines == lines_of(data, delimiter)[:count]
    assert came + rest == data


@given(text, delimiters.filter(bool), st.binary(min_size=1, max_size=3))
def test_keys_and_values_joined_again_are_the_lines(data: bytes, line_delimiter: bytes, delimiter: bytes) -> None:
    if len(line_delimiter) == 1 and not data.endswith(line_delimiter):
        data += line_delimiter  # As the reader does.
    keys, values = split_keys(data, delimiter, line_delimiter)
    joined = [value if key is None else key + delimiter + value for key, value in zip(keys, values, strict=True)]
    assert joined == lines_of(data, line_delimiter)
    assert all(delimiter not in key for key in keys if key is not None)
