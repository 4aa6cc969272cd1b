"""Waiting for a file to change: told by the kernel where it tells us, by looking again everywhere.

inotify is a hint only: it overflows, and says nothing of what other hosts do. Whoever waits looks again after
`POLL_MS` in any case.
"""

from __future__ import annotations

import os
import sys
from _struct import Struct
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POLL_MS = 500
_IN_MODIFY = 0x2
_IN_NAMES = 0x80 | 0x100 | 0x200 | 0x40  # moved in, created, deleted, moved out
_IN_ENDS = 0x8 | 0x80 | 0x100 | 0x200  # closed after it could be written to, moved in, created, deleted
_IN_Q_OVERFLOW = 0x4000
_WOKEN = 1 << 31  # No event of the kernel's.
_EVENT_BYTES = 4096
_EVENT = Struct("=iIII")  # number, mask, cookie, length of the name that follows


class Watch:
    """Wakes when a watched file is written to, when names in a watched directory change, when another thread or process
    says so through a pipe, or when nobody reads the pipe `output_fd` any more.

    ended: (what add_endings returned, name) of files that came, went or were let go of since the caller last cleared it;
    (-1, "") when there were more than the kernel names.
    """

    __slots__ = ("_add", "_beside_fd", "_fd", "_output_fd", "_poll", "_wakers", "ended")

    def __init__(self, paths: Sequence[str], *, output_fd: int | None = None) -> None:
        import select

        self._fd = self._beside_fd = -1
        self._wakers: set[int] = set()
        self.ended: list[tuple[int, str]] = []
        self._poll = select.poll()
        self._output_fd = -1 if output_fd is None else output_fd
        if output_fd is not None:
            self._poll.register(output_fd, 0)  # An error is reported unasked.
        if sys.platform == "linux":
            import ctypes

            libc = ctypes.CDLL(None, use_errno=True)
            self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
            self._add = libc.inotify_add_watch
        if self._fd >= 0:
            self._poll.register(self._fd, select.POLLIN)
            for path in paths:
                self.add(path)

    def add(self, path: str) -> None:
        """Watch one more file. A refusal (too many watches, a file system that does not tell) leaves polling."""
        if self._fd >= 0:
            self._add(self._fd, os.fsencode(path), _IN_MODIFY)

    def add_directory(self, path: str) -> None:
        """Watch the names in one more directory, as far as `add` can."""
        if self._fd >= 0:
            self._add(self._fd, os.fsencode(path), _IN_NAMES)

    def add_endings(self, path: str) -> int:
        """Watch one more directory for files that appear, are deleted, or are closed by who could write to them.

        The kernel closes the files of a process that dies, whatever it dies of. Returns a number that stands for the
        directory in `ended`, -1 where nothing is told.
        """
        if self._fd < 0:
            return -1
        number: int = self._add(self._fd, os.fsencode(path), _IN_ENDS)
        return number

    def add_waker(self, fd: int) -> None:
        """End a wait also when there is something to read from `fd`, which must not block. It is read away."""
        import select

        self._wakers.add(fd)
        self._poll.register(fd, select.POLLIN)

    def wait_beside(self, fd: int, timeout_ms: int) -> bool:
        """Wait as `wait` does, and no longer than until there is something to read from `fd`, which is left there."""
        import select

        self._beside_fd = fd
        self._poll.register(fd, select.POLLIN)
        try:
            return self.wait(timeout_ms)
        finally:
            self._poll.unregister(fd)
            self._beside_fd = -1

    def wait(self, timeout_ms: int = POLL_MS, until: Callable[[], bool] | None = None) -> bool:
        """Sleep until a watched file may have changed, at most `timeout_ms`. Returns whether names in a directory did.

        until: asked when a watched file was written to; as long as it says no, and nothing else has happened, the sleep goes on.
            Whoever appends writes to `state` twice, before its sync and behind it.

        Raises BrokenPipeError when the reader of `output_fd` has gone: `mk consume -F | head -1` ends with head, and
        not at the next record.
        """
        left_ms = min(timeout_ms, POLL_MS)
        end = monotonic() + left_ms / 1000
        while True:
            seen = 0
            for fd, _ in self._poll.poll(left_ms):
                seen |= self._take(fd)
            if until is None or seen != _IN_MODIFY or until() or (now := monotonic()) >= end:
                return bool(seen & (_IN_NAMES | _IN_Q_OVERFLOW))
            left_ms = int((end - now) * 1000) + 1

    def _take(self, fd: int) -> int:
        """Read away what there is to read, and return the kinds of events that it told of; _WOKEN for what is none."""
        if fd == self._output_fd:
            raise BrokenPipeError
        if fd == self._beside_fd:
            return _WOKEN
        try:
            events = os.read(fd, _EVENT_BYTES)
        except BlockingIOError:
            return _WOKEN
        if fd in self._wakers:
            return _WOKEN
        at = seen = 0
        while at < len(events):
            number, mask, _, length = _EVENT.unpack_from(events, at)
            begin = at + _EVENT.size
            at = begin + length
            seen |= mask
            if mask & _IN_Q_OVERFLOW:
                self.ended.append((-1, ""))
            elif mask & _IN_ENDS:
                self.ended.append((number, os.fsdecode(events[begin:at].rstrip(b"\0"))))
        return seen

    def close(self) -> None:
        fd, self._fd = self._fd, -1  # So that no signal in between has it closed twice.
        if fd >= 0:
            os.close(fd)
