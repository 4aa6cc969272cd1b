"""Lines of a file that grows: where it ends is asked for, and the position is always that of the next line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import RecordTooLargeError
from mk.formats.growing_file_reader import GrowingFileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Script:
    """What happens each time the end is reached; the input ends when nothing is left to happen."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self.positions: list[tuple[int, int]] = []

    def await_growth(self, reader: GrowingFileReader) -> bool:
        self.positions.append((reader.position, reader.read_position))
        if not self.steps:
            return False
        self.steps.pop(0)()
        return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def adds(path: Path, data: bytes) -> Callable[[], object]:
    def add() -> None:
        with open(path, "ab") as file:
            file.write(data)

    return add


def blocks(reader: GrowingFileReader) -> list[tuple[bytes, int]]:
    found = []
    while (block := reader.next_block()) is not None:
        found.append((bytes(block), reader.position))
    return found


def test_a_line_is_given_out_when_it_ends(path: Path, fd: int) -> None:
    adds(path, b"a\nb")()
    script = Script(adds(path, b"c\nd\n"), adds(path, b"e"))
    assert blocks(GrowingFileReader(fd, script)) == [(b"a\n", 2), (b"bc\nd\n", 7), (b"e\n", 8)]
    assert script.positions == [(2, 3), (7, 7), (7, 8)]


def test_it_ends_at_the_limit_and_goes_no_further(path: Path, fd: int) -> None:
    adds(path, b"a\nbc\nd\n")()
    assert blocks(GrowingFileReader(fd, Script(), limit=3)) == [(b"a\n", 2), (b"b\n", 3)]
    assert os.lseek(fd, 0, os.SEEK_CUR) == 3
    assert blocks(GrowingFileReader(fd, Script())) == [(b"c\nd\n", 7)]


def test_behind_so_many_lines_nothing_is_read(path: Path, fd: int) -> None:
    adds(path, b"a\nb\nc\n")()
    reader = GrowingFileReader(fd, Script(adds(path, b"d\n")), max_lines=2)
    assert b"".join(block for block, _ in blocks(reader)) == b"a\nb\n"
    assert reader.position == 4
    assert blocks(GrowingFileReader(fd, Script(), max_lines=1)) == [(b"c\n", 6)]


def test_a_line_that_is_skipped_is_behind_the_position(path: Path, fd: int) -> None:
    adds(path, b"a\n" + b"x" * 100)()
    script = Script(adds(path, b"y" * 100), adds(path, b"\nb\n"))
    reader = GrowingFileReader(fd, script, max_line_bytes=50)
    assert reader.next_block() == b"a\n"
    with pytest.raises(RecordTooLargeError):
        reader.next_block()
    assert reader.position == 2
    reader.skip_line()
    assert not reader.is_dropping
    assert reader.position == 203
    assert blocks(reader) == [(b"b\n", 205)]


def test_a_large_backlog_comes_in_large_blocks(path: Path, fd: int) -> None:
    adds(path, b"x" * 99 * 1000 + b"\n")()
    adds(path, (b"y" * 99 + b"\n") * 10_000)()
    found = blocks(GrowingFileReader(fd, Script(), batch_bytes=1 << 18))
    assert sum(len(block) for block, _ in found) == path.stat().st_size
    assert len(found) < 10
