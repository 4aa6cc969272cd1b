"""An input file that is held open, whatever becomes of its name."""

from __future__ import annotations

import os
import sys

from mk.producer.rotation import HEAD_BYTES, TAIL_BYTES, Place
from mk.records.codecs import crc32c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_S_IFMT, _S_IFREG = 0o170000, 0o100000

# Linux's statx(2), which Python does not offer yet: the struct's size, where the birth time is in it, and its bit.
_STATX_BYTES, _STATX_MASK_AT, _STATX_BTIME_AT, _STATX_BTIME = 256, 0, 80, 0x800
_AT_EMPTY_PATH = 0x1000


class InputFile:
    """One file of those that make up an input. position, records, limit: as in a Place, of what comes next.

    head, tail: the first bytes of the file and the last ones in front of the position, as they were read, and not as they
    are now: a place that is made of them is never found in what was written over them.
    modified_ns and size are as of now. born_ns is 0 where the system does not say it.
    """

    __slots__ = ("born_ns", "fd", "head", "inode", "limit", "name", "position", "records", "tail")

    def __init__(self, fd: int, name: str) -> None:
        """Take over an open file, which `close` closes."""
        self.fd = fd
        self.name = name
        self.inode = os.fstat(fd).st_ino
        self.born_ns = _birth_of(fd)
        self.position = self.records = 0
        self.limit = -1
        self.head = self.tail = b""

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    @property
    def modified_ns(self) -> int:
        return os.fstat(self.fd).st_mtime_ns

    @property
    def is_unlinked(self) -> bool:
        return os.fstat(self.fd).st_nlink == 0

    def is_same_as(self, other: InputFile) -> bool:
        return (self.inode, self.born_ns) == (other.inode, other.born_ns)

    def checksum(self, start: int, stop: int) -> int:
        return crc32c(self.read(start, stop))

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes there, fewer where the file ends."""
        data = b""
        while start < stop and (piece := os.pread(self.fd, stop - start, start)):
            data += piece
            start += len(piece)
        return data

    def place(self) -> Place:
        return Place(
            position=self.position,
            records=self.records,
            limit=self.limit,
            inode=self.inode,
            born_ns=self.born_ns,
            modified_ns=self.modified_ns,
            head_size=len(self.head),
            head_crc=crc32c(self.head),
            tail_size=len(self.tail),
            tail_crc=crc32c(self.tail),
        )

    def go_to(self, place: Place) -> None:
        """Go on at a place that is in this file."""
        self.position, self.records, self.limit = place.position, place.records, place.limit
        self.head = self.read(0, place.head_size)
        self.tail = self.read(place.position - place.tail_size, place.position)

    def has_read(self, block: bytes | memoryview) -> None:
        """Take note of the bytes at the position, before they are handed over."""
        behind = len(self.head) - self.position
        if len(self.head) < HEAD_BYTES and 0 <= behind < len(block):
            self.head += bytes(block[behind : HEAD_BYTES - self.position])

    def hand_over(self, block: bytes | memoryview) -> None:
        """Go on behind the bytes at the position."""
        self.position += len(block)
        self.tail = (self.tail + bytes(block[-TAIL_BYTES:]))[-TAIL_BYTES:]

    def skip_to(self, position: int) -> None:
        """Go on behind something that was not handed over."""
        if position != self.position:
            self.position = position
            self.tail = self.read(max(0, position - TAIL_BYTES), position)

    def is_as_it_was(self) -> bool:
        """Tell whether the head, and what stands in front of the position, are still what was read there."""
        return (
            self.size >= self.position
            and self.read(self.position - len(self.tail), self.position) == self.tail
            and self.read(0, len(self.head)) == self.head
        )

    def again(self) -> InputFile:
        """Return the same file, to be read from its start."""
        return InputFile(os.dup(self.fd), self.name)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_input_file(path: str) -> InputFile | None:
    """Open a file, None if it is not there or not a regular one. Raises PermissionError."""
    try:
        # Without waiting: a pipe in its place has to be seen, not opened.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return None
    if os.fstat(fd).st_mode & _S_IFMT != _S_IFREG:
        os.close(fd)
        return None
    return InputFile(fd, path)


def _birth_of(fd: int) -> int:
    """Return when a file was made, in ns: an inode number is soon used again, together with its birth time never."""
    global _statx
    if _statx is None:
        _statx = _find_statx()
    return _statx(fd)


def _find_statx() -> Callable[[int], int]:
    if sys.platform == "linux":
        import ctypes

        call = getattr(ctypes.CDLL(None), "statx", None)
        if call is not None:

            def birth(fd: int) -> int:
                buffer = ctypes.create_string_buffer(_STATX_BYTES)
                if call(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer):
                    return 0
                raw = buffer.raw
                if not int.from_bytes(raw[_STATX_MASK_AT : _STATX_MASK_AT + 4], sys.byteorder) & _STATX_BTIME:
                    return 0
                seconds = int.from_bytes(raw[_STATX_BTIME_AT : _STATX_BTIME_AT + 8], sys.byteorder, signed=True)
                nanoseconds = int.from_bytes(raw[_STATX_BTIME_AT + 8 : _STATX_BTIME_AT + 12], sys.byteorder)
                return seconds * 1_000_000_000 + nanoseconds

            return birth

    def from_stat(fd: int) -> int:
        return int(getattr(os.fstat(fd), "st_birthtime", 0) * 1_000_000_000)

    return from_stat


_statx: Callable[[int], int] | None = None
