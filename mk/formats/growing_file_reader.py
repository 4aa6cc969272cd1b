"""Lines of a file that grows: LineReader, but for what the end of the file means.

What that is, more to wait for or the end of the input, is decided by whoever follows the file.
"""

from __future__ import annotations

import os
from time import sleep

from mk.formats.readers import LineReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Growth(Protocol):
        def await_growth(self, reader: GrowingFileReader) -> bool:
            """Wait until there is more behind `reader.read_position`; False when there will be no more."""


class GrowingFileReader(LineReader):
    """Read whole lines from where an open file stands, and have `growth` wait where it ends for now.

    A block is given out when the file has no more, or when batch_bytes are there: what was written before we came is
    read in large blocks, and what is written now is seen at once.

    limit: a position at which the input ends, -1 for none.
    """

    __slots__ = ("_growth", "_limit", "is_dropping")

    def __init__(self, fd: int, growth: Growth, *, limit: int = -1, **keywords: Any) -> None:
        super().__init__(fd, **keywords)
        # As of a pipe: what is there is given out without waiting for more.
        self._is_file = False
        self._growth = growth
        self._limit = limit
        self.is_dropping = False

    @property
    def read_position(self) -> int:
        """Up to where the file was read."""
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    @property
    def position(self) -> int:
        """Where the first line begins that was neither given out nor skipped."""
        return self.read_position - max(0, sum(self._counts) - self._added_bytes - self._given)

    def skip_line(self) -> None:
        self.is_dropping = True
        super().skip_line()
        self.is_dropping = self._stopped and self._ended  # Broken off: the position is within the line.

    def _read(self, end: int, whole: int, most: int | None) -> int:
        while True:
            if self._limit >= 0:
                left = self._limit - self.read_position
                if left <= 0:
                    return 0
                most = left if most is None else min(left, most)
            count = super()._read(end, whole, most)
            if count or not self._growth.await_growth(self):
                return count

    def _wait(self, timeout_ms: int | None) -> bool:
        """Tell whether the file has more, now or after a pause: it would always be said to be ready."""
        if self._has_more():
            return True
        if timeout_ms:
            sleep(timeout_ms / 1000)
        return bool(timeout_ms) and self._has_more()

    def _has_more(self) -> bool:
        there = os.fstat(self._fd).st_size
        return (there if self._limit < 0 else min(there, self._limit)) > self.read_position

    def _put_back(self, end: int) -> None:
        unread = sum(self._counts) - self._added_bytes - end
        super()._put_back(end)
        if unread > 0:
            os.lseek(self._fd, -unread, os.SEEK_CUR)
