"""Waiting for a file to be written to, where the kernel tells of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mk.storage.watch import Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "names").mkdir()
    (tmp_path / "file").write_bytes(b"")
    return tmp_path / "file"


@pytest.fixture
def watch(path: Path) -> Iterator[Watch]:
    watch = Watch([str(path)])
    watch.add_directory(str(path.parent / "names"))
    yield watch
    watch.close()


def write(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"!")


def test_a_wait_goes_on_until_what_is_written_is_what_is_waited_for(path: Path, watch: Watch) -> None:
    asked = 0

    def until() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            write(path)  # Behind a mark comes what it announced.
        return asked == 2

    write(path)
    assert watch.wait(60_000, until) is False
    assert asked == 2


def test_a_wait_for_what_never_comes_ends_in_time_though_the_file_is_written_to_all_the_time(
    path: Path, watch: Watch
) -> None:
    write(path)
    assert watch.wait(20, lambda: write(path) is not None) is False


@pytest.mark.parametrize("what", ["names", "waker"])
def test_whatever_else_happens_ends_a_wait(path: Path, watch: Watch, what: str) -> None:
    read, waker = os.pipe()
    os.set_blocking(read, False)
    watch.add_waker(read)
    write(path)
    if what == "names":
        write(path.parent / "names" / "new")
    else:
        os.write(waker, b"!")
    assert watch.wait(60_000, lambda: pytest.fail("asked")) is (what == "names")
    for fd in (read, waker):
        os.close(fd)
