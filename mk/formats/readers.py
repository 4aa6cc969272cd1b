"""Input bytes as blocks of whole lines, and lines as keys and values.

Decides how input is cut: where a line ends, how many lines are gathered before they are given out, which line is too
long. Leaves to the producer what a line is for: batches, partitions, codecs. Nothing here runs once per record except
split_values() and split_keys(), which a caller asks for, and the search for a delimiter that overlaps itself.

A line is what a delimiter ends: a newline, or any other bytes; or all of the input, with the empty delimiter.
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
# With a limit on the number of lines, no more is read than is surely wanted: a byte at a time near the end. Behind this
# much of a line that goes on it would take too long.
_EXACT_BYTES = 64 * 1024

_NEWLINE = b"\n"
_POLLIN = 1
_S_IFMT = 0o170000
_S_IFREG = 0o100000
_S_IFIFO = 0o010000


class _Stop(BaseException):
    """Leaves a read or a wait when stop() is called by a signal handler; never leaves this module."""


class LineReader:
    """Read a file descriptor and give out blocks of whole lines.

    A block ends with a delimiter: a last line that lacks one gets it. Only where the delimiter is empty or overlaps itself
    ("aa" in "aaa": one more could make another line end) is such a line a block of its own, as it is. Lines are kept as
    they came: empty lines, carriage returns, NUL bytes, invalid UTF-8. The input is cut from left to right, as
    bytes.split does.

    When a block is given out: a regular file, when batch_bytes are there. Anything else (pipe, socket, terminal): at
    once if it brought less than 64 KiB since the last block, so that a line is seen when it is written. What brought
    more is fast, and is gathered until it pauses for 2 ms, until batch_bytes are there or for flush_ms.

    Memory: one buffer, 64 KiB at first; it grows up to batch_bytes while input is fast, and up to max_line_bytes and a
    delimiter for a line that needs it. It does not shrink.

    Signals: next_block() may be left by any exception that a signal handler raises while it reads or waits; no byte
    that was read is lost, and it may be called again. A handler that cannot know whether a block has just been
    given out calls stop() instead.
    """

    __slots__ = (
        "_added_bytes",
        "_batch_bytes",
        "_buffer",
        "_counts",
        "_delimiter",
        "_ended",
        "_fd",
        "_flush_s",
        "_given",
        "_has_tail",
        "_is_counted",
        "_is_file",
        "_is_narrow_pipe",
        "_key_bytes",
        "_lines",
        "_max_line_bytes",
        "_max_lines",
        "_overlaps",
        "_poll",
        "_size",
        "_stopped",
        "_view",
        "_waiting",
    )

    def __init__(
        self,
        fd: int,
        *,
        delimiter: bytes = b"\n",
        max_lines: int | None = None,
        max_line_bytes: int = 16 * 1024 * 1024,
        key_bytes: int = 0,
        batch_bytes: int = 8 * 1024 * 1024,
        flush_ms: int = 1000,
    ) -> None:
        """Make a reader of `fd`, which stays the caller's to close; nothing is read yet.

        Args:
            fd: open for reading; blocking or not.
            delimiter: what ends a line; empty: only the end of the input does.
            max_lines: where the input ends at the latest. What follows is left unread, except behind a line of more
                than 64 KiB; there it is put back if the input is a regular file.
            max_line_bytes: the longest line accepted, its delimiter not counted.
            key_bytes: how much of that is taken by a key and headers which every record has besides.
            batch_bytes: as much as a block gathers; a block is longer only if a single line is.
            flush_ms: as long as fast input is gathered before it is given out.
        """
        self._fd = fd
        self._delimiter = delimiter
        self._size = len(delimiter) or 1  # How much of the input a line takes at least.
        self._overlaps = any(delimiter.endswith(delimiter[:size]) for size in range(1, len(delimiter)))
        self._max_lines = max_lines
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
        self._has_tail = False  # What is left at the end of input is a line, without a delimiter.
        self._added_bytes = 0  # At the end of the buffer: a delimiter that was not in the input.
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
        """Wait for at least one whole line and return all whole lines gathered; None at the end of input or max_lines.

        The view is valid until the next call, which releases it; so must all slices made of it be (otherwise the
        buffer is copied when it has to grow).

        Raises:
            RecordTooLargeError: the next line is longer than max_line_bytes. All lines before it have been given out.
                The line stays where it is: further calls raise again, until skip_line() is called.
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
        if self._max_lines is not None:
            given = self._check_count(given)
        self._given = given
        self._view = view = memoryview(self._buffer)[:given]
        return view

    def cut(self, piece_bytes: int) -> list[memoryview]:
        """Return the block given out last, cut at line ends into pieces of at most `piece_bytes`.

        A line longer than that is a piece of its own. The views are valid as long as the block is. Nothing is copied, and
        nothing counted: who takes the lines apart knows their number, see tell_count.
        """
        given, view = self._given, self._view
        pieces: list[memoryview] = []
        start = 0
        while view is not None and start < given:
            end = given
            if end - start > piece_bytes:
                end = self._last_end(start, start + piece_bytes) or self._first_end(start, given) or given
            pieces.append(view[start:end])
            start = end
        return pieces

    def pieces(self, piece_bytes: int) -> list[tuple[memoryview, int]]:
        """Do as cut does, and return each piece with the number of its lines."""
        pieces: list[tuple[memoryview, int]] = []
        start = 0
        for piece in self.cut(piece_bytes):
            end = start + len(piece)
            pieces.append((piece, self._count(start, end)))
            start = end
        if pieces:
            self.tell_count(sum(count for _, count in pieces))
        return pieces

    def tell_count(self, lines: int) -> None:
        """Be told how many lines the block given out last holds; else they are counted when the next one is asked for."""
        if not self._is_counted:
            self._lines += lines
            self._is_counted = True

    def has_more(self) -> bool:
        """Tell, without waiting, whether there is something to read already, the end of the input too."""
        if self._is_file:
            return True
        import select

        return bool(select.select([self._fd], [], [], 0)[0])

    def holds(self, part: bytes) -> bool:
        """Tell whether `part` occurs in the block given out last."""
        return self._buffer.find(part, 0, self._given) >= 0

    def as_it_came(self) -> memoryview:
        """Return the block given out last without the delimiter that the input lacked at its end."""
        return memoryview(self._buffer)[: min(self._given, sum(self._counts) - self._added_bytes)]

    def skip_line(self) -> None:
        """Drop the line that next_block() refused, with its delimiter, however long it is.

        It counts as a line. A signal that stops the input here ends it within the line.
        """
        try:
            self._waiting = True
            if self._stopped:
                raise _Stop
            self._drop_line()
            self._waiting = False
        except _Stop:
            self._ended = True
            self._counts = [0]
        finally:
            self._waiting = False
        self._lines += 1

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
            self._lines += self._count(0, given)
        end = sum(self._counts)
        with memoryview(self._buffer) as whole:
            # Through a view, since bytearray's own slices would be copied on the way: a tail may be a line of 16 MiB.
            whole[: end - given] = whole[given:end]
            # No call between the move and these: a signal handler could run there and see the one without the others.
            self._counts = [end - given]
            self._given = 0
            self._is_counted = False

    def _whole_lines_end(self) -> int:
        return self._last_end(self._given, sum(self._counts)) or self._given

    def _last_end(self, start: int, stop: int) -> int:
        """Return where the last delimiter between two places ends, 0 if there is none; no delimiter reaches over `start`."""
        buffer, delimiter = self._buffer, self._delimiter
        if not self._overlaps:
            found = buffer.rfind(delimiter, start, stop) if delimiter else -1
            return found + len(delimiter) if found >= 0 else 0
        # The last one by its place may overlap the one before it, and not count: only going from the left tells.
        end = 0
        while (found := buffer.find(delimiter, start, stop)) >= 0:
            start = end = found + len(delimiter)
        return end

    def _first_end(self, start: int, stop: int) -> int:
        """Return where the first delimiter between two places ends, 0 if there is none."""
        found = self._buffer.find(self._delimiter, start, stop) if self._delimiter else -1
        return found + len(self._delimiter) if found >= 0 else 0

    def _count(self, start: int, end: int) -> int:
        """Return the number of lines that stand there, whole; or one that has no delimiter."""
        return (self._buffer.count(self._delimiter, start, end) if self._delimiter else 0) or 1

    def _gather(self) -> int:
        """Read until there is enough to give out, and return the end of the last whole line; 0 at the end of input."""
        end = sum(self._counts)
        left = None if self._max_lines is None else self._max_lines - self._lines
        if left is not None and left <= 0:
            self._put_back(0)
            return 0
        whole = self._last_end(0, end)
        if whole:
            # Left over when a long line or an exception came in between.
            return whole
        overlap = self._size - 1
        fresh = 0
        since: float | None = None
        while not self._ended:
            if end - whole > self._max_line_bytes + overlap:
                if whole:
                    break
                self._refuse(0, end)
            most = None
            if left is not None:
                # What there is of a line may be the first part of its delimiter.
                most = left * self._size - min(end - whole, overlap) if end - whole < _EXACT_BYTES else _EXACT_BYTES
            try:
                count = self._read(end, whole, most)
            except OSError:
                if whole:
                    break  # What came before the error is given out first; the next read meets it again.
                raise
            if count == 0:
                self._ended = True
                if end > whole:
                    if self._overlaps or not self._delimiter:
                        self._has_tail = True
                    else:
                        end = whole = self._terminate(end)
                break
            # What was there already may hold the first part of a delimiter.
            before, whole = whole, self._last_end(max(whole, end - overlap), end + count) or whole
            end += count
            fresh += count
            if not whole:
                continue
            if left is not None and whole > before:
                left -= self._count(before, whole)
                if left <= 0:
                    break
            if end >= self._batch_bytes:
                break
            if self._is_file:
                continue
            if count == most and self._wait(0):
                continue  # It brought no more only because no more was asked for.
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
        if whole == 0 and self._has_tail:
            if end > self._max_line_bytes:
                self._refuse(0, end)
            self._has_tail = False
            return end
        return whole

    def _drop_line(self) -> None:
        """Read up to the end of the line at the front of the buffer, keeping none of it, and drop it."""
        end = sum(self._counts)
        while True:
            behind = self._first_end(0, end)
            if behind or self._ended:
                break
            # The last bytes may be the first part of a delimiter.
            end = self._drop(max(0, end - self._size + 1), end)
            count = self._read(end, 0, None)
            if count == 0:
                self._ended = True
            end += count
        if not behind:
            behind = end
            self._has_tail = False
        if self._drop(behind, end) == 0:
            self._added_bytes = 0

    def _drop(self, count: int, end: int) -> int:
        """Move what stands between `count` and `end` to the front of the buffer, and return its length."""
        with memoryview(self._buffer) as whole:
            whole[: end - count] = whole[count:end]
            self._counts = [end - count]
        return end - count

    def _read(self, end: int, whole: int, most: int | None) -> int:
        """Read once behind `end`, at most so many bytes; return how many came, 0 at the end of input."""
        buffer = self._buffer
        limit = self._batch_bytes if whole else max(self._batch_bytes, self._max_line_bytes + self._size)
        if end == len(buffer):
            buffer = self._grow(min(4 * end, limit) - end)
        # A line that needed a large buffer must not make later blocks large too.
        stop = min(len(buffer), self._batch_bytes) if end < self._batch_bytes else len(buffer)
        if most is not None:
            stop = min(stop, end + most)
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
        """Give the last line the delimiter it lacks, and return the new end."""
        size = len(self._delimiter)
        if end + size > len(self._buffer):
            self._grow(end + size - len(self._buffer))
        with memoryview(self._buffer) as whole:
            whole[end : end + size] = self._delimiter
            self._counts = [end + size]
            self._added_bytes = size
        return end + size

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
        window = self._max_line_bytes + self._size
        start = 0
        # One search per window, not per line: a window that holds a delimiter lets us go on behind its last one.
        while given - start > window:
            behind = self._last_end(start, start + window)
            if not behind:
                if start == 0:
                    self._refuse(0, self._first_end(0, given) - self._size)
                return start
            start = behind
        return given

    def _check_count(self, given: int) -> int:
        """Return where the block has to end so that max_lines are not exceeded; put back what is behind that."""
        assert self._max_lines is not None
        left = self._max_lines - self._lines
        if self._count(0, given) > left:
            end = 0
            for _ in range(left):
                end = self._first_end(end, given)
            given = end
        if self._count(0, given) == left:
            self._ended = True
            self._put_back(given)
        return given

    def _put_back(self, end: int) -> None:
        """Let go of what was read behind `end`: whoever reads a regular file after us finds it unread."""
        unread = sum(self._counts) - self._added_bytes - end
        if unread > 0:
            self._counts = [end]
            self._added_bytes = 0
            if self._is_file:
                os.lseek(self._fd, -unread, os.SEEK_CUR)

    def _refuse(self, start: int, end: int) -> None:
        raise RecordTooLargeError(
            size_bytes=end - start + self._key_bytes,
            max_bytes=self._max_line_bytes + self._key_bytes,
            place=f"input {'line' if self._delimiter == _NEWLINE else 'record'} {self._lines + 1}",
        )


def split_values(block: bytes | bytearray | memoryview, line_delimiter: bytes = _NEWLINE) -> list[bytes]:
    """Return the lines of a block as a list; with the empty delimiter the block is the only one."""
    data = bytes(block)
    if not line_delimiter:
        return [data]
    lines = data.split(line_delimiter)
    if not lines[-1]:
        lines.pop()
    return lines


def split_keys(
    block: bytes | bytearray | memoryview, delimiter: bytes, line_delimiter: bytes = _NEWLINE
) -> tuple[list[bytes | None], list[bytes]]:
    """Split each line of a block at its first delimiter, into a list of keys and a list of values.

    A line without the delimiter has no key (None), and all of it is the value, as in kcat. An empty key is a key.
    The lists take up to 50 times the room of very short lines: pass pieces of some 256 KiB, not a block of many MiB.

    Args:
        block: whole lines, as LineReader gives them out.
        delimiter: one byte or more; what ends a line is not found within one.
        line_delimiter: what ends a line.
    """
    if len(delimiter) == 1 == len(line_delimiter) and delimiter != line_delimiter:
        # Lines with exactly one delimiter each, the usual case, need no loop: without all other bytes they read
        # delimiter, newline, delimiter, newline, ... Takes three quarters of the time of the loop below.
        data = block = bytes(block)
        skeleton = data.translate(None, _all_bytes_but(delimiter + line_delimiter))
        if skeleton == (delimiter + line_delimiter) * (len(skeleton) // 2):
            fields = data.replace(line_delimiter, delimiter).split(delimiter)
            fields.pop()
            return fields[::2], fields[1::2]  # type: ignore[return-value]
    keys: list[bytes | None] = []
    values: list[bytes] = []
    for line in split_values(block, line_delimiter):
        key, found, value = line.partition(delimiter)
        if found:
            keys.append(key)
            values.append(value)
        else:
            keys.append(None)
            values.append(line)
    return keys, values


_OTHER_BYTES: dict[bytes, bytes] = {}


def _all_bytes_but(kept: bytes) -> bytes:
    others = _OTHER_BYTES.get(kept)
    if others is None:
        others = _OTHER_BYTES[kept] = bytes(byte for byte in range(256) if byte not in kept)
    return others
