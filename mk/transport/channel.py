"""Frames over a pair of descriptors: pipes of ssh, a socket, a pair of pipes.

The side that serves begins with a banner, which no shell profile prints, and which a terminal in between would change. Then
both send frames:

    0  u32  length of the head    at most MAX_HEAD_BYTES
    4  u32  length of the body    at most MAX_BODY_BYTES
    8  u32  CRC-32C of the eight bytes before it, the head and the body
   12       head: msgpack scalars, one after another, see fields.py
            body: bytes as they stand in a segment

Big-endian. Decides how bytes become frames and when they cannot; what a frame means is for the server and the remote replica.
Lengths are bounded before anything is allocated, and memory is touched only as bytes arrive.
"""

from __future__ import annotations

import os

from mk.errors import FarSideError, PeerUnreachableError
from mk.records.codecs import crc32c, pack_scalars
from mk.transport.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Buffer = bytes | bytearray | memoryview

BANNER = b"\x89mk serve\r\n\x1a\n"
"""Eight bits, both ends of a line and an end of file, as in PNG: whatever translates one of them is found out."""

LOWEST_VERSION = HIGHEST_VERSION = 1
"""The versions of the protocol that this mk speaks."""

ANSWER, ITEM, ERROR = 0, 1, 2
"""What the head of a frame to the client begins with: the end of an answer, a part of a longer one, or what went wrong."""

STOP = "stop"
"""What a client says that wants no more of an answer. It may cross with the end of that, and then means nothing."""

MAX_LOCK_WAIT_MS = 24 * 3_600_000
"""How long a client may have the far side wait for a lock."""

MAX_HEAD_BYTES = 4 << 20
MAX_BODY_BYTES = 66 << 20
"""A batch of the largest size, with its header and a snapshot of producers."""

_HEADER_BYTES = 12
_SHOWN_NOISE_BYTES = 200
_BUFFER_BYTES = 1 << 18
_KEPT_BYTES = 16 << 20
"""What is kept for the next message: what a producer appends at once has some 8 MiB, and new memory is slow."""


class Channel:
    """Both directions of one connection. Not for two threads.

    peer: the other end, for people. wait: called before what may block, with a descriptor and whether it is to be read;
    returns when it is ready. Without it, descriptors block by themselves. Closing them is for whoever opened them, who
    says `forget` first.
    """

    __slots__ = ("_buffer", "_end", "_read_fd", "_start", "_wait", "_write_fd", "body", "frame_bytes", "peer")

    def __init__(
        self, read_fd: int, write_fd: int, *, peer: str, wait: Callable[[int, bool], None] | None = None
    ) -> None:
        self.peer = peer
        self.body: memoryview = memoryview(b"")
        """Of the frame that came last, valid until the next one is asked for."""
        self.frame_bytes = 0
        """How long that frame is."""
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._wait = wait
        self._buffer = bytearray(_BUFFER_BYTES)
        # What has arrived and is not taken yet.
        self._start = self._end = 0

    def send_banner(self) -> None:
        self._write([BANNER])

    def send(self, *values: object, body: Sequence[Buffer] = ()) -> int:
        """Send one frame: a head of `values`, and a body of pieces, none of which is copied. Returns how long it is.

        Raises PeerUnreachableError if nobody reads any more.
        """
        head = pack_scalars(values)
        length = sum(map(len, body))
        if len(head) > MAX_HEAD_BYTES or length > MAX_BODY_BYTES:
            raise FarSideError(
                f"too much for one message to {self.peer}",
                why=f"it has {len(head)} and {length} bytes, and takes {MAX_HEAD_BYTES} and {MAX_BODY_BYTES}",
                fix="name fewer topics; what was sent before it counts",
            )
        lengths = len(head).to_bytes(4, "big") + length.to_bytes(4, "big")
        crc = crc32c(head, crc32c(lengths))
        for piece in body:
            crc = crc32c(piece, crc)
        self._write([lengths + crc.to_bytes(4, "big") + head, *body])
        return _HEADER_BYTES + len(head) + length

    def receive_banner(self) -> None:
        """Read what the other side has to say first. Raises FarSideError, showing what it said instead."""
        while self._end - self._start < len(BANNER):
            arrived = bytes(self._buffer[self._start : self._end])
            if not BANNER.startswith(arrived) or not self._fill():
                break
        if not self._buffer.startswith(BANNER, self._start, self._end):
            if self._start == self._end:
                raise self.gone("it said nothing")
            noise = bytes(self._buffer[self._start : self._end][:_SHOWN_NOISE_BYTES])
            raise FarSideError(
                f"what answers on {self.peer} is not mk",
                why=f"it began with: {noise.decode(errors='backslashreplace').strip()!r}",
                fix="if a shell profile there prints that, have it do so only on a terminal; nothing was sent",
                noise=noise.decode(errors="backslashreplace"),
            )
        self._start += len(BANNER)

    def receive(self) -> Fields | None:
        """Return the head of the next frame, its body in `body`; None if the other side has closed its end.

        Raises FarSideError for what is no frame, PeerUnreachableError for a part of one.
        """
        self.body = memoryview(b"")
        if not self._have(_HEADER_BYTES):
            if self._start == self._end:
                return None
            raise self.gone("the connection ended within a message")
        header = bytes(self._buffer[self._start : self._start + _HEADER_BYTES])
        head_length = int.from_bytes(header[:4], "big")
        body_length = int.from_bytes(header[4:8], "big")
        if head_length > MAX_HEAD_BYTES or body_length > MAX_BODY_BYTES:
            raise self.broken(f"a message claims {head_length} and {body_length} bytes")
        if not self._have(_HEADER_BYTES + head_length + body_length):
            raise self.gone("the connection ended within a message")
        start = self._start + _HEADER_BYTES
        frame = memoryview(self._buffer)[start : start + head_length + body_length]
        if crc32c(frame, crc32c(header[:8])) != int.from_bytes(header[8:], "big"):
            raise self.broken("the checksum of a message is wrong")
        self._start = start + len(frame)
        self.body = frame[head_length:]
        self.frame_bytes = _HEADER_BYTES + len(frame)
        return Fields(bytes(frame[:head_length]), self.peer)

    def forget(self) -> None:
        """Use the descriptors no more: once closed, their numbers may be those of a segment."""
        self._read_fd = self._write_fd = -1

    @property
    def read_fd(self) -> int:
        """The descriptor to wait on for what comes; has_input knows what has been read of it already."""
        return self._read_fd

    def has_input(self) -> bool:
        """Tell, without waiting, whether the other side has sent something, or closed its end."""
        if self._start < self._end:
            return True
        import select

        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN)
        return bool(poll.poll(0))

    def gone(self, why: str) -> PeerUnreachableError:
        """Return the error of a connection that ended."""
        return PeerUnreachableError(
            f"the connection to {self.peer} ended",
            why=why,
            fix="run the command again, it goes on where this one ended; what was acknowledged is stored",
            peer=self.peer,
        )

    def broken(self, why: str) -> FarSideError:
        """Return the error of a connection that does not keep to the protocol."""
        return FarSideError(
            f"{self.peer} does not speak as mk does",
            why=why,
            fix="nothing of that message was used; see that nothing prints into the connection or changes it",
            peer=self.peer,
        )

    def _have(self, length: int) -> bool:
        """See that so many bytes are in the buffer, in one piece; False at the end of the input."""
        if self._start == self._end:
            self._start = self._end = 0
        if len(self._buffer) > _KEPT_BYTES and length <= _KEPT_BYTES and self._end - self._start <= _KEPT_BYTES:
            self._move(_KEPT_BYTES)
        elif self._start and self._start + length > len(self._buffer):
            self._move(len(self._buffer))
        while self._end - self._start < length:
            if self._end == len(self._buffer):
                # By what has come, not by what a length claims: a few bytes may claim any.
                self._move(min(length, 2 * len(self._buffer)))
            if not self._fill():
                return False
        return True

    def _move(self, size: int) -> None:
        """Have what is not taken yet at the beginning of a buffer of `size` bytes."""
        rest = memoryview(self._buffer)[self._start : self._end]
        if size != len(self._buffer):
            # A new one: views of the old one may be about.
            self._buffer = bytearray(size)
        self._buffer[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _fill(self) -> bool:
        """Read what is there, waiting for something; False at the end of the input."""
        while self._read_fd >= 0:
            if self._wait is not None:
                self._wait(self._read_fd, True)
            try:
                count = os.readv(self._read_fd, [memoryview(self._buffer)[self._end :]])
            except BlockingIOError:
                continue
            except ConnectionError:
                return False
            self._end += count
            return count > 0
        return False

    def _write(self, pieces: Sequence[Buffer]) -> None:
        if self._write_fd < 0:
            raise self.gone("it was closed")
        views = [memoryview(piece) for piece in pieces if len(piece)]
        try:
            while views:
                if self._wait is not None:
                    self._wait(self._write_fd, False)
                try:
                    count = os.writev(self._write_fd, views)
                except BlockingIOError:
                    continue
                while views and count >= len(views[0]):
                    count -= len(views.pop(0))
                if count:
                    views[0] = views[0][count:]
        except (BrokenPipeError, ConnectionError):
            raise self.gone("nobody reads there any more") from None
