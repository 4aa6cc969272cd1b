"""Input bytes as blocks of whole lines, and lines as keys and values.

Decides how input is cut: where a line ends, how many lines are gathered before they are given out, which line is too
long. Leaves to the producer what a line is for: batches, partitions, codecs. Nothing here runs once per record except
split_keys(), which a caller asks for.
"""

from __future__ import annotations

import os
from time import monotonic

from mk.errors import RecordTooLargeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

# What one read asks for at first. Small, so that a few lines touch little memory; it is also what a pipe holds by
# default, so that a read which fills it tells that the writer is ahead of us.
_FIRST_READ_BYTES = 64 * 1024
# Input that brings this much between two blocks is fast: worth a wait, since each block costs the producer an fdatasync.
_FAST_BYTES = 64 * 1024
# How long a fast input may pause before what it brought is given out. A writer on the same machine that has more to
# say refills its pipe well within this; a person does not notice it.
_PAUSE_MS = 2
# Room that a fast pipe is given, so that its writer can go on while a block is being made durable. More than
# /proc/sys/fs/pipe-max-size (1 MiB by default) is refused to ordinary users.
_PIPE_BYTES = 1024 * 1024
# Linux's number for setting it; fcntl has the name on Linux only.
_F_SETPIPE_SZ = 1031

_POLLIN = 1
_S_IFMT = 0o170000
_S_IFREG = 0o100000
_S_IFIFO = 0o010000


class _Stop(BaseException):
    """Leaves a read or a wait when stop() is called by a signal handler; never leaves this module."""


class LineReader:
    """Read a file descriptor and give out blocks of whole lines.

    A block ends with a newline, always: a last line that lacks one gets it. Lines are kept as they came: empty lines,
    carriage returns, NUL bytes, invalid UTF-8.

    When a block is given out: a regular file, when batch_bytes are there. Anything else (pipe, socket, terminal): at
    once if it brought less than 64 KiB since the last block, so that a line is seen when it is written. What brought
    more is fast, and is gathered until it pauses for 2 ms, until batch_bytes are there or for flush_ms.

    Memory: one buffer, 64 KiB at first; it grows up to batch_bytes while input is fast, and up to max_line_bytes + 1 for
    a line that needs it. It does not shrink.

    Signals: next_block() may be left by any exception that a signal handler raises while it reads or waits; no byte
    that was read is lost, and it may be called again. A handler that cannot know whether a block has just been
    given out calls stop() instead.
    """

    __slots__ = (
        "_batch_bytes",
        "_buffer",
        "_counts",
        "_ended",
        "_fd",
        "_flush_s",
        "_given",
        "_is_counted",
        "_is_file",
        "_is_narrow_pipe",
        "_key_bytes",
        "_lines",
        "_max_line_bytes",
        "_poll",
        "_stopped",
        "_view",
        "_waiting",
    )

    def __init__(
        self,
        fd: int,
        *,
        max_line_bytes: int = 16 * 1024 * 1024,
        key_bytes: int = 0,
        batch_bytes: int = 8 * 1024 * 1024,
        flush_ms: int = 1000,
    ) -> None:
        """Make a reader of `fd`, which stays the caller's to close; nothing is read yet.

        Args:
            fd: open for reading; blocking or not.
            max_line_bytes: the longest line accepted, its newline not counted.
            key_bytes: how much of that is taken by a key which every record has besides.
            batch_bytes: as much as a block gathers; a block is longer only if a single line is.
            flush_ms: as long as fast input is gathered before it is given out.
        """
        self._fd = fd
        self._key_bytes = key_bytes
        self.set_limits(max_line_bytes=max_line_bytes, flush_ms=flush_ms)
        self._batch_bytes = batch_bytes
        kind = os.fstat(fd).st_mode & _S_IFMT
        self._is_file = kind == _S_IFREG
        self._is_narrow_pipe = kind == _S_IFIFO
        self._buffer = bytearray(min(_FIRST_READ_BYTES, batch_bytes))
        # How many bytes of the buffer are filled, as a sum. See _read() for why it is one.
        self._counts: list[int] = [0]
        self._given = 0  # The first bytes of the buffer, which are the block that is out.
        self._view: memoryview | None = None
        self._lines = 0  # Lines in all earlier blocks; in the one that is out too, once counted:
        self._is_counted = False
        self._ended = False
        self._poll: select.poll | None = None
        self._waiting = False
        self._stopped = False

    def set_limits(self, *, max_line_bytes: int, flush_ms: int) -> None:
        """Go by other limits from the next block on: somebody has altered the topic."""
        if self._key_bytes > max_line_bytes:
            raise RecordTooLargeError(size_bytes=self._key_bytes, max_bytes=max_line_bytes, place="the key alone")
        self._max_line_bytes = max_line_bytes - self._key_bytes
        self._flush_s = flush_ms / 1000

    def next_block(self) -> memoryview | None:
        """Wait for at least one whole line and return all whole lines gathered; None at the end of input.

        The view is valid until the next call, which releases it; so must all slices made of it be (otherwise the
        buffer is copied when it has to grow).

        Raises:
            RecordTooLargeError: the next line is longer than max_line_bytes. All lines before it have been given out.
                The line stays where it is: further calls raise again.
            OSError: the descriptor cannot be read (a directory; a terminal that went away). Lines gathered before are
                in pending().
        """
        self._take_back()
        try:
            self._waiting = True
            if self._stopped:
                raise _Stop
            given = self._gather()
            self._waiting = False
        except _Stop:
            self._ended = True
            given = self._whole_lines_end()
        finally:
            self._waiting = False
        if given == 0:
            return None
        given = self._check_lengths(given)
        self._given = given
        self._view = view = memoryview(self._buffer)[:given]
        return view

    def pieces(self, piece_bytes: int) -> list[tuple[memoryview, int]]:
        """Return the block given out last, cut at line ends into pieces of at most `piece_bytes`, with their line counts.

        A line longer than that is a piece of its own. The views are valid as long as the block is. Nothing is copied.
        """
        buffer, given, view = self._buffer, self._given, self._view
        pieces: list[tuple[memoryview, int]] = []
        if view is None:
            return pieces
        start = 0
        lines = 0
        while start < given:
            end = given
            if end - start > piece_bytes:
                end = buffer.rfind(b"\n", start, start + piece_bytes) + 1
                if end == 0:
                    end = buffer.index(b"\n", start, given) + 1
            count = buffer.count(b"\n", start, end)
            pieces.append((view[start:end], count))
            lines += count
            start = end
        if not self._is_counted:
            self._lines += lines
            self._is_counted = True
        return pieces

    def pending(self) -> memoryview:
        """Return the whole lines that were read but not given out; reads nothing and takes nothing.

        For use after an exception left next_block(). A line without its newline yet is not a record and not in it.
        """
        return memoryview(self._buffer)[self._given : self._whole_lines_end()]

    def stop(self) -> None:
        """End the input here: next_block() returns the whole lines gathered, then None. For signal handlers.

        A wait inside next_block() is left at once. Called at any other moment it takes effect at the next call, so that a
        block is never lost between its being given out and its being stored. A line without its newline yet is dropped.
        """
        self._stopped = True
        if self._waiting:
            # Lowered first: a second signal must not raise again while the first is being dealt with.
            self._waiting = False
            raise _Stop

    def _take_back(self) -> None:
        """Release the block that is out and move what follows it to the front of the buffer."""
        view, given = self._view, self._given
        if view is not None:
            view.release()
            self._view = None
        if not given:
            return
        if not self._is_counted:
            self._lines += self._buffer.count(b"\n", 0, given)
        end = sum(self._counts)
        with memoryview(self._buffer) as whole:
            # Through a view, since bytearray's own slices would be copied on the way: a tail may be a line of 16 MiB.
            whole[: end - given] = whole[given:end]
            # No call between the move and these: a signal handler could run there and see the one without the others.
            self._counts = [end - given]
            self._given = 0
            self._is_counted = False

    def _whole_lines_end(self) -> int:
        return self._buffer.rfind(b"\n", self._given, sum(self._counts)) + 1 or self._given

    def _gather(self) -> int:
        """Read until there is enough to give out, and return the end of the last whole line; 0 at the end of input."""
        end = sum(self._counts)
        whole = self._buffer.rfind(b"\n", 0, end) + 1
        if whole:
            # Left over when a long line or an exception came in between.
            return whole
        fresh = 0
        since: float | None = None
        while not self._ended:
            if end - whole > self._max_line_bytes:
                if whole:
                    break
                self._refuse(0, end)
            try:
                count = self._read(end, whole)
            except OSError:
                if whole:
                    break  # What came before the error is given out first; the next read meets it again.
                raise
            if count == 0:
                self._ended = True
                if end > whole:
                    end = whole = self._terminate(end)
                break
            whole = self._buffer.rfind(b"\n", end, end + count) + 1 or whole
            end += count
            fresh += count
            if not whole:
                continue
            if end >= self._batch_bytes:
                break
            if self._is_file:
                continue
            if fresh < _FAST_BYTES:
                break
            now = monotonic()
            if since is None:
                since = now
                if self._is_narrow_pipe:
                    self._widen_pipe()
            elif now - since >= self._flush_s:
                break
            if not self._wait(_PAUSE_MS):
                break
        return whole

    def _read(self, end: int, whole: int) -> int:
        """Read once behind `end`, and return how many bytes came; 0 at the end of input."""
        buffer = self._buffer
        limit = self._batch_bytes if whole else max(self._batch_bytes, self._max_line_bytes + 1)
        if end == len(buffer):
            buffer = self._grow(min(4 * end, limit) - end)
        # A line that needed a large buffer must not make later blocks large too.
        stop = min(len(buffer), self._batch_bytes) if end < self._batch_bytes else len(buffer)
        counts = self._counts = [end]
        while True:
            try:
                # The number of bytes read reaches the list inside one call into C. A plain `n = os.readv(...)` would
                # lose them all to a signal that comes as the read returns: its handler runs before `n` is assigned.
                with memoryview(buffer) as view, view[end:stop] as room:
                    counts.extend(map(os.readv, (self._fd,), ((room,),)))
                return counts[-1]
            except BlockingIOError:
                # Somebody who shares the descriptor made it non-blocking.
                self._wait(None)

    def _wait(self, timeout_ms: int | None) -> bool:
        """Wait for input, its end or an error; False when `timeout_ms` has passed without any (None: for ever)."""
        if self._poll is None:
            import select

            poll = select.poll()
            poll.register(self._fd, _POLLIN)
            self._poll = poll
        return bool(self._poll.poll(timeout_ms))

    def _grow(self, more: int) -> bytearray:
        try:
            self._buffer += bytes(more)
        except BufferError:
            # The caller still holds a slice of an earlier block.
            self._buffer = self._buffer + bytes(more)
        return self._buffer

    def _terminate(self, end: int) -> int:
        """Give the last line the newline it lacks, and return the new end."""
        if end == len(self._buffer):
            self._grow(1)
        self._buffer[end] = 0x0A
        self._counts = [end + 1]
        return end + 1

    def _widen_pipe(self) -> None:
        from fcntl import fcntl

        self._is_narrow_pipe = False
        try:
            fcntl(self._fd, _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            # Over what the user may have, or not Linux: the pipe works as it is.
            return

    def _check_lengths(self, given: int) -> int:
        """Return where the block has to end so that no line in it is too long; raise if its first line is."""
        window = self._max_line_bytes + 1
        start = 0
        # One search per window, not per line: a window that holds a newline lets us go on behind its last one.
        while given - start > window:
            newline = self._buffer.rfind(b"\n", start, start + window)
            if newline < 0:
                if start == 0:
                    self._refuse(0, self._buffer.index(b"\n", 0, given))
                return start
            start = newline + 1
        return given

    def _refuse(self, start: int, end: int) -> None:
        raise RecordTooLargeError(
            size_bytes=end - start + self._key_bytes,
            max_bytes=self._max_line_bytes + self._key_bytes,
            place=f"input line {self._lines + 1}",
        )


def split_keys(block: bytes | bytearray | memoryview, delimiter: bytes) -> tuple[list[bytes | None], list[bytes]]:
    """Split each line of a block at its first delimiter, into a list of keys and a list of values.

    A line without the delimiter has no key (None), and all of it is the value, as in kcat. An empty key is a key.
    The lists take up to 50 times the room of very short lines: pass pieces of some 256 KiB, not a block of many MiB.

    Args:
        block: whole lines, each ending with a newline.
        delimiter: one byte or more, without a newline.
    """
    data = bytes(block)
    if len(delimiter) == 1:
        # Lines with exactly one delimiter each, the usual case, need no loop: without all other bytes they read
        # delimiter, newline, delimiter, newline, ... Takes three quarters of the time of the loop below.
        skeleton = data.translate(None, _all_bytes_but(delimiter))
        if skeleton == (delimiter + b"\n") * (len(skeleton) // 2):
            fields = data.replace(b"\n", delimiter).split(delimiter)
            fields.pop()
            return fields[::2], fields[1::2]  # type: ignore[return-value]
    lines = data.split(b"\n")
    lines.pop()
    keys: list[bytes | None] = []
    values: list[bytes] = []
    for line in lines:
        key, found, value = line.partition(delimiter)
        if found:
            keys.append(key)
            values.append(value)
        else:
            keys.append(None)
            values.append(line)
    return keys, values


_OTHER_BYTES: dict[bytes, bytes] = {}


def _all_bytes_but(delimiter: bytes) -> bytes:
    others = _OTHER_BYTES.get(delimiter)
    if others is None:
        others = _OTHER_BYTES[delimiter] = bytes(range(256)).replace(b"\n", b"").replace(delimiter, b"")
    return others
