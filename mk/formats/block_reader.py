"""Input bytes in blocks of whatever came, for input that no delimiter cuts.

When a block is given out is decided as in readers.py: what comes slowly at once, what comes fast when there is enough of it
to be worth an append. Where a record ends in it is for others to find.
"""

from __future__ import annotations

import os
import select
from time import monotonic

_FAST_BYTES = 64 << 10
_READ_BYTES = 1 << 20
_PAUSE_MS = 2
_S_IFMT, _S_IFREG = 0o170000, 0o100000


class _Stop(BaseException):
    """Leaves a read or a wait when stop() is called by a signal handler; never leaves this module."""


class BlockReader:
    """Read a file descriptor, and give out blocks.

    A regular file: when batch_bytes are there. Anything else: at once if it brought less than 64 KiB since the last block;
    what brought more is gathered until it pauses for 2 ms, until batch_bytes are there or for flush_ms.
    """

    def __init__(self, fd: int, *, batch_bytes: int = 4 << 20, flush_ms: int = 1000) -> None:
        """Make a reader of `fd`, which stays the caller's to close; nothing is read yet."""
        self._fd = fd
        self._batch_bytes = batch_bytes
        self._flush_s = flush_ms / 1000
        self._is_file = os.fstat(fd).st_mode & _S_IFMT == _S_IFREG
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._pieces: list[bytes] = []
        self._waiting = False
        self._stopped = False
        self._ended = False

    def next_block(self) -> bytes:
        """Wait for input and return it; b"" at its end. Raises OSError if it cannot be read."""
        try:
            self._waiting = True
            if not (self._stopped or self._ended):
                self._gather()
            self._waiting = False
        except _Stop:
            pass  # What was read before is given out, then the end.
        finally:
            self._waiting = False
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def stop(self) -> None:
        """End the input here. For signal handlers, see LineReader.stop; no byte that was read is lost."""
        self._stopped = True
        if self._waiting:
            self._waiting = False
            raise _Stop

    def put_back(self, count: int) -> None:
        """Let whoever reads a regular file after us find its last bytes unread. What came through a pipe is gone."""
        if self._is_file and count:
            os.lseek(self._fd, -count, os.SEEK_CUR)

    def _gather(self) -> None:
        size = 0
        since = monotonic()
        while True:
            try:
                # Into the list in one call into C: a signal that comes as the read returns finds the bytes there.
                self._pieces.extend(map(os.read, (self._fd,), (_READ_BYTES,)))
            except BlockingIOError:
                self._poll.poll()  # Somebody who shares the descriptor made it non-blocking.
                continue
            count = len(self._pieces[-1])
            size += count
            if count == 0:
                self._ended = True
                return
            if size >= self._batch_bytes:
                return
            if self._is_file:
                continue
            if size < _FAST_BYTES or monotonic() - since >= self._flush_s or not self._poll.poll(_PAUSE_MS):
                return
