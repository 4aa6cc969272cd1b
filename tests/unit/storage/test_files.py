from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptStateError
from mk.storage import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = files.open_directory(str(tmp_path))
    yield fd
    os.close(fd)


def test_a_link_planted_under_a_name_is_not_followed(tmp_path: Path, fd: int) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "state").symlink_to(tmp_path / "victim")
    (tmp_path / "0").symlink_to(tmp_path)
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT):
        with pytest.raises(CorruptStateError):
            files.open_file("state", flags, dir_fd=fd)
    with pytest.raises(OSError):
        files.open_directory("0", dir_fd=fd)
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_planted_pipe_or_directory_is_refused_and_does_not_hang(tmp_path: Path, fd: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "directory"):
        with pytest.raises(CorruptStateError):
            files.open_file(name, os.O_RDONLY, dir_fd=fd)


def test_a_file_that_was_put_there_and_taken_away_again_is_not_written_to(
    tmp_path: Path, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its names are counted when one of them is gone: the one that is left stands somewhere else."""
    (tmp_path / "victim").write_bytes(b"precious")
    os.link(tmp_path / "victim", tmp_path / "log")
    real = files._open_regular

    def open_early(name: str, flags: int, mode: int, dir_fd: int) -> int:
        monkeypatch.setattr(files, "_open_regular", real)
        opened = real(name, flags, mode, dir_fd)
        (tmp_path / "log").unlink()
        (tmp_path / "log").touch()
        return opened

    monkeypatch.setattr(files, "_open_regular", open_early)
    opened = files.open_file("log", os.O_RDWR, dir_fd=fd)
    files.pwrite(opened, b"written", 0)
    os.close(opened)
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / "log").read_bytes() == b"written"


def test_a_file_is_replaced_whole_and_a_refusal_leaves_the_old_one(
    tmp_path: Path, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.replace_file("epochs", b"old", dir_fd=fd)
    files.replace_file("epochs", b"new", dir_fd=fd)
    assert (tmp_path / "epochs").read_bytes() == b"new"
    for name in ("rename", "fsync", "pwrite"):

        def refuse(*args: object, **names: object) -> None:
            raise OSError(errno.ENOSPC, "no room")

        with monkeypatch.context() as patched:
            patched.setattr(files, name, refuse)
            with pytest.raises(OSError):
                files.replace_file("epochs", b"newer", dir_fd=fd)
        assert [path.name for path in tmp_path.iterdir()] == ["epochs"]
        assert (tmp_path / "epochs").read_bytes() == b"new"


def test_a_new_file_needs_a_free_name(tmp_path: Path, fd: int) -> None:
    files.write_new_file("a", b"1", dir_fd=fd)
    with pytest.raises(FileExistsError):
        files.write_new_file("a", b"2", dir_fd=fd)
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_tree_is_removed_without_leaving_it_through_a_link(tmp_path: Path, fd: int) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").touch()
    (tmp_path / "tree" / "way_out").symlink_to(tmp_path / "outside")
    files.remove_tree("tree", dir_fd=fd)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside"]
    assert (tmp_path / "outside" / "file").exists()


def test_what_is_appended_lands_behind_what_others_appended(tmp_path: Path, fd: int) -> None:
    first = files.open_file("log", os.O_RDWR | os.O_CREAT | os.O_APPEND, dir_fd=fd)
    second = files.open_file("log", os.O_RDWR | os.O_APPEND, dir_fd=fd)
    assert files.append(first, [b"a", memoryview(b"b")]) == 2
    assert files.append(second, [b"c"]) == 1
    assert files.append(first, [b"d"]) == 1
    assert files.pread(second, 100, 1) == b"bcd"
    os.close(first)
    os.close(second)


def is_dropped_soon(file: int, size_bytes: int) -> bool:
    """The kernel itself may hold a page for a moment."""
    return any(files.drop_cache(file, size_bytes) or time.sleep(0.01) for _ in range(200))


def test_the_cache_is_dropped_and_that_is_proved(tmp_path: Path, fd: int) -> None:
    file = files.open_file("log", os.O_RDWR | os.O_CREAT, dir_fd=fd)
    files.pwrite(file, b"x" * 10_000, 0)
    files.fdatasync(file)
    # A file system that is nothing but memory cannot; any other one must, with nobody else at the file.
    assert is_dropped_soon(file, 10_000) or os.statvfs(file).f_fsid == 0
    assert files.pread(file, 10, 9_990) == b"x" * 10
    assert files.drop_cache(file, 0)
    os.close(file)


@pytest.mark.skipif(not hasattr(os, "splice"), reason="needs splice(2)")
def test_a_cache_that_somebody_pins_is_noticed(tmp_path: Path, fd: int) -> None:
    """As does a pipe into which the bytes went without a copy, and that nobody empties."""
    file = files.open_file("log", os.O_RDWR | os.O_CREAT, dir_fd=fd)
    files.pwrite(file, b"x" * 5000, 0)
    files.fdatasync(file)
    if not is_dropped_soon(file, 5000):
        pytest.skip("this file system keeps its files in memory, or cannot prove anything")
    reader, writer = os.pipe()
    files.pread(file, 5000, 0)
    assert os.splice(file, writer, 5000, offset_src=0) == 5000
    assert not files.drop_cache(file, 5000)
    for one in (file, reader, writer):
        os.close(one)


def test_a_close_that_fails_is_no_failure_but_one_too_many_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    real = os.close

    def refuse(fd: int) -> None:
        real(fd)
        raise OSError(errno.EIO, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", refuse)
        files.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        files.close(fd)


def test_an_error_that_names_a_descriptor_is_not_about_a_number() -> None:
    assert files.place_of(OSError(errno.EIO, "refused", 11), "topics/t") == "topics/t"
    assert files.place_of(OSError(errno.EIO, "refused", b"topics/u"), "topics/t") == "topics/u"
