"""Right checksums for wrong bytes, so that a fuzzer reaches what is behind them; and values made of bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mk.records.codecs import crc32c
from mk.records.record_batch import CODEC_MASK, HEADER_SIZE, MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTHS = struct.Struct(">4sIIIH")


def mend_batches(data: bytes) -> bytes:
    """Give each batch its magic, a length within the data, and both checksums. Without a codec, the raw length is that length."""
    mended = b""
    while len(data) >= HEADER_SIZE:
        _, length, _, raw_length, attributes = _LENGTHS.unpack_from(data)
        if length > len(data) - HEADER_SIZE:
            length = len(data) - HEADER_SIZE
        payload = data[HEADER_SIZE : HEADER_SIZE + length]
        if not attributes & CODEC_MASK:
            raw_length = length
        header = _LENGTHS.pack(MAGIC, length, crc32c(payload), raw_length, attributes) + data[_LENGTHS.size : 124]
        mended += header + crc32c(header).to_bytes(4, "big") + payload
        data = data[HEADER_SIZE + length :]
    return mended + data


def mend_tail(mark: bytes, end: bytes) -> Callable[[bytes], bytes]:
    """Return what puts the checksum of a whole text behind the last `mark`, and `end` behind that."""

    def mend(data: bytes) -> bytes:
        text, found, _ = data.rpartition(mark)
        text = text if found else data
        return b"%b%b%08x%b" % (text, mark, crc32c(text), end)

    return mend


def mend_lines(mark: bytes) -> Callable[[bytes], bytes]:
    """Return what puts the checksum of each line behind the last `mark` in it."""

    def mend(data: bytes) -> bytes:
        lines = []
        for line in data.split(b"\n"):
            text, found, _ = line.rpartition(mark)
            lines.append(b"%b%b%08x" % (text, mark, crc32c(text)) if found else line)
        return b"\n".join(lines)

    return mend


def mend_slots(size: int, distance: int) -> Callable[[bytes], bytes]:
    """Return what makes two slots of text, so far apart, valid and filled up with blanks."""

    def mend(data: bytes) -> bytes:
        mended = bytearray(data.ljust(distance + size, b"\0")[: distance + size])
        for at in (0, distance):
            slot = bytes(mended[at : at + size])
            text, found, _ = slot.rpartition(b" crc=")
            if found:
                mended[at : at + size] = (b"%b crc=%08x" % (text, crc32c(text))).ljust(size - 1)[: size - 1] + b"\n"
        return bytes(mended)

    return mend


class Supply:
    """Values taken from the front of some bytes; zeros and nothing where these are at their end."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def byte(self) -> int:
        taken, self.rest = self.rest[:1], self.rest[1:]
        return taken[0] if taken else 0

    def number(self, size: int = 8, *, signed: bool = False) -> int:
        taken, self.rest = self.rest[:size], self.rest[size:]
        return int.from_bytes(taken.ljust(size, b"\0"), "big", signed=signed)

    def piece(self) -> bytes:
        """Take a piece of at most 255 bytes, whose length the next byte says."""
        size = self.byte()
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def maybe(self) -> bytes | None:
        """Take a piece or nothing at all."""
        return self.piece() if self.byte() % 4 else None
