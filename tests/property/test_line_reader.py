"""Any bytes, cut into any chunks on their way through a real pipe, come out as the same lines."""

import os
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from mk.errors import RecordTooLargeError
from mk.formats.readers import LineReader, split_keys

# Newlines and delimiters often enough to matter; any other byte too.
data = st.lists(
    st.one_of(st.sampled_from([b"\n", b"\t", b"\r\n", b"\x00", b"\n\n", b"word", b"\xff"]), st.binary(max_size=300)),
    max_size=40,
).map(b"".join)


def through_a_pipe(chunks: list[bytes], reader_options: dict[str, int]) -> tuple[list[bytes], str]:
    read_fd, write_fd = os.pipe()

    def write() -> None:
        for chunk in chunks:
            os.write(write_fd, chunk)
        os.close(write_fd)

    thread = threading.Thread(target=write)
    blocks = []
    place = ""
    try:
        reader = LineReader(read_fd, **reader_options)
        thread.start()
        while (block := reader.next_block()) is not None:
            blocks.append(bytes(block))
    except RecordTooLargeError as error:
        place = str(error.facts["place"])
    finally:
        thread.join()
        os.close(read_fd)
    return blocks, place


def lines_of(written: bytes) -> list[bytes]:
    lines = written.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return lines


@given(st.lists(data, max_size=12), st.sampled_from([7, 64, 1000, 8 * 1024 * 1024]))
def test_lines_come_out_as_they_went_in(chunks: list[bytes], batch_bytes: int) -> None:
    blocks, _ = through_a_pipe(chunks, {"batch_bytes": batch_bytes})
    assert all(block.endswith(b"\n") for block in blocks)
    assert lines_of(b"".join(blocks)) == lines_of(b"".join(chunks))


@given(st.lists(data, max_size=12), st.integers(0, 60), st.sampled_from([7, 64, 1000, 8 * 1024 * 1024]))
def test_all_lines_before_the_first_too_long_one_come_out(
    chunks: list[bytes], max_line_bytes: int, batch_bytes: int
) -> None:
    blocks, place = through_a_pipe(chunks, {"batch_bytes": batch_bytes, "max_line_bytes": max_line_bytes})
    expected = lines_of(b"".join(chunks))
    too_long = [number for number, line in enumerate(expected) if len(line) > max_line_bytes]
    if too_long:
        assert place == f"input line {too_long[0] + 1}"
        expected = expected[: too_long[0]]
    else:
        assert place == ""
    assert lines_of(b"".join(blocks)) == expected


@settings(max_examples=300)
@given(data, st.binary(min_size=1, max_size=3).filter(lambda delimiter: b"\n" not in delimiter))
def test_keys_and_values_joined_again_are_the_lines(written: bytes, delimiter: bytes) -> None:
    block = written + b"\n"
    keys, values = split_keys(block, delimiter)
    joined = [value if key is None else key + delimiter + value for key, value in zip(keys, values, strict=True)]
    assert joined == block.split(b"\n")[:-1]
    assert all(delimiter not in key for key in keys if key is not None)
    assert all(delimiter not in value for key, value in zip(keys, values, strict=True) if key is None)


@given(data, st.integers(1, 100))
def test_pieces_are_the_block(written: bytes, piece_bytes: int) -> None:
    read_fd, write_fd = os.pipe()
    try:
        os.write(write_fd, written + b"\n")
        reader = LineReader(read_fd)
        block = reader.next_block()
        assert block is not None
        pieces = reader.pieces(piece_bytes)
        assert b"".join(bytes(piece) for piece, _ in pieces) == bytes(block)
        for piece, lines in pieces:
            assert bytes(piece).endswith(b"\n")
            assert bytes(piece).count(b"\n") == lines
            assert len(piece) <= piece_bytes or lines == 1
    finally:
        os.close(read_fd)
        os.close(write_fd)
