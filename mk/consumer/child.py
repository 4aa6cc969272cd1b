"""One run of a command: records in, an exit status out.

The arguments are a list and never go through a shell, and what a record holds is never one of them: it comes on standard
input, and what describes it in the environment.

Children inherit the three standard streams and nothing else. Not by fork, after which a child of ours would go on
holding locks when we are killed: subprocess closes every other descriptor before the command begins.

What a child is to read is there, all of it, before it begins. Were it written while the child runs, one that outlives us
when we are killed would take what came until then for the whole value, and do something with a value that never was.
"""

from __future__ import annotations

import errno
import os
import select
import subprocess
import tempfile
from threading import Lock, Thread
from time import monotonic, sleep

from mk.consumer.verdicts import was_ended_by_hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

STDOUT, STDERR = 1, 2
_PIECE_BYTES = 64 << 10
_PIPE_BYTES = 64 << 10
"""What a pipe holds, on Linux, unless its user has very many of them."""

_TAIL_BYTES = 4096
_TAIL_LINES = 20
_GRACE_SECONDS = 0.1
_LOOK_MS = 20
"""How often we look whether a child has ended, where the kernel cannot tell us."""

_MOST_LINGERING = 32
_NOT_FOUND, _NOT_EXECUTABLE, _TRY_AGAIN = 127, 126, 75
_SHORT_OF = (errno.EAGAIN, errno.ENOMEM, errno.ENFILE)


class Outcome:
    """How a child ended. status: of its exit, -N for a death by signal N. stderr: its last lines, if they were asked for.

    why: what kept it from running at all. output_is_closed: nobody reads standard output any more.
    """

    __slots__ = ("output_is_closed", "status", "stderr", "why")

    def __init__(self, status: int, *, stderr: bytes = b"", why: str = "", output_is_closed: bool = False) -> None:
        self.status = status
        self.stderr = stderr
        self.why = why
        self.output_is_closed = output_is_closed


class Output:
    """Standard output, shared by children that run at once: what one of them prints comes out in one piece.

    Each prints into a nameless file of its own, so that one which prints gigabytes neither waits for its turn nor fills
    our memory, and grandchildren that keep it open hold nobody up.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._lock = Lock()

    def open(self) -> BinaryIO:
        try:
            return tempfile.TemporaryFile(buffering=0)
        except FileNotFoundError:
            # No directory for such files can be written to, as in a read-only container: that stays so, and each record
            # would be tried again for ever. What is printed then takes memory.
            return _nameless_file()

    def pass_on(self, file: BinaryIO) -> None:
        """Print what a child has printed up to now. Raises BrokenPipeError when nobody reads it."""
        left = os.fstat(file.fileno()).st_size
        if not left:
            return
        position = 0
        with self._lock:
            while left and (piece := os.pread(file.fileno(), min(left, 1 << 20), position)):
                self._write(piece)
                position += len(piece)
                left -= len(piece)


class Child:
    """A command about to run, once, by `run`. Any thread may `terminate` it."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: dict[bytes, bytes],
        data: bytes,
        *,
        output: Output | None,
        keep_stderr: bool,
    ) -> None:
        """data: all that it finds on standard input. output: None is standard output itself. keep_stderr: for its last
        lines; otherwise standard error, too, is its own."""
        self._arguments = arguments
        self._environment = environment
        self._data = data
        self._output = output
        self._keep_stderr = keep_stderr
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> Outcome:
        """Run to the end, which may take hours.

        Raises OSError where this process may open no more files: it will not be able to later either, and would try for ever.
        """
        try:
            stdout = self._output.open() if self._output is not None else None
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise
            return Outcome(_TRY_AGAIN, why=f"no temporary file for its output: {error.strerror}")
        try:
            outcome = self._run(stdout)
            # Before it counts as done: a record whose output went nowhere comes again.
            if stdout is not None and self._output is not None:
                self._output.pass_on(stdout)
        except BrokenPipeError:
            return Outcome(1, output_is_closed=True)
        finally:
            if stdout is not None:
                stdout.close()
        if stdout is None and outcome.status and _is_closed(STDOUT):
            outcome.output_is_closed = True
        if was_ended_by_hand(outcome.status):
            # ^C reaches children before us. Let our own signal arrive first, or this would count as a failure.
            sleep(_GRACE_SECONDS)
        return outcome

    def terminate(self) -> None:
        """Ask it to end, if it runs."""
        if self._process is not None:
            self._process.terminate()

    def _run(self, stdout: BinaryIO | None) -> Outcome:
        try:
            stdin = _filled(self._data)
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise
            return Outcome(_TRY_AGAIN, why=f"no room for what it should read: {os.strerror(error.errno or 0)}")
        try:
            process = subprocess.Popen(
                self._arguments,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE if self._keep_stderr else None,
                env=self._environment,
                bufsize=0,
            )
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise
            return Outcome(_status_of(error), why=os.strerror(error.errno or 0))
        finally:
            os.close(stdin)
        self._process = process
        conversation = _Conversation(process)
        try:
            conversation.hold()
        finally:
            conversation.close()
        return Outcome(process.wait(), stderr=conversation.tail)


class _Conversation:
    """What comes out of a running child, until it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.tail = b""
        self._process = process
        self._poll = select.poll()
        self._stderr = -1 if process.stderr is None else process.stderr.fileno()
        self._pidfd = _pidfd_of(process.pid)
        if self._stderr >= 0:
            os.set_blocking(self._stderr, False)
            self._poll.register(self._stderr, select.POLLIN)
        if self._pidfd >= 0:
            self._poll.register(self._pidfd, select.POLLIN)

    def hold(self) -> None:
        """Read until the child has ended, whoever else holds the other end by then."""
        while True:
            for fd, _ in self._poll.poll(None if self._pidfd >= 0 else _LOOK_MS):
                if fd == self._stderr:
                    self._read()
                else:
                    return
            if self._pidfd < 0 and self._process.poll() is not None:
                return

    def close(self) -> None:
        """Let go of it, with the last words of those that it leaves behind."""
        if self._pidfd >= 0:
            self._poll.unregister(self._pidfd)
            os.close(self._pidfd)
        # A process that it started may still hold its standard error. What such a one says at once belongs to the
        # record; for longer it holds up nobody.
        deadline = monotonic() + _GRACE_SECONDS
        while self._stderr >= 0:
            self._read()
            if self._stderr >= 0 and not self._poll.poll(max(0, deadline - monotonic()) * 1000):
                _pass_on_later(os.dup(self._stderr))
                self._close_stderr()

    def _read(self) -> None:
        try:
            piece = os.read(self._stderr, _PIECE_BYTES)
        except BlockingIOError:
            return
        if not piece:
            self._close_stderr()
            return
        _say(piece)
        self.tail = (self.tail + piece)[-_TAIL_BYTES:]

    def _close_stderr(self) -> None:
        self._poll.unregister(self._stderr)
        self._stderr = -1
        assert self._process.stderr is not None
        self._process.stderr.close()


def _filled(data: bytes) -> int:
    """Return a descriptor at which `data` can be read to its end: a pipe, or a nameless file for what no pipe holds."""
    if len(data) <= _PIPE_BYTES:
        fd, end = os.pipe()
        try:
            os.set_blocking(end, False)
            if os.write(end, data) == len(data):
                return fd
        except BlockingIOError:
            pass
        except BaseException:
            os.close(fd)
            raise
        finally:
            os.close(end)
        os.close(fd)  # A small one, of a user who has too many.
    with _nameless_file() as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        file.seek(0)
        return os.dup(file.fileno())


def _nameless_file() -> BinaryIO:
    try:
        return open(os.memfd_create("mk-record"), "w+b", buffering=0)
    except AttributeError:
        return tempfile.TemporaryFile(buffering=0)


def last_lines(data: bytes) -> bytes:
    """Return the last whole lines of what a child said, or the end of a line that is too long."""
    lines = data.rstrip(b"\n").split(b"\n")
    if len(data) == _TAIL_BYTES and len(lines) > 1:
        del lines[0]
    return b"\n".join(lines[-_TAIL_LINES:])


def _status_of(error: OSError) -> int:
    """Return the status by which a shell would say that a command cannot be run."""
    if error.errno in _SHORT_OF:
        return _TRY_AGAIN  # Of processes or memory, just now.
    return _NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else _NOT_EXECUTABLE


def _pidfd_of(pid: int) -> int:
    """Return a descriptor that is readable once a process has ended, -1 where there are none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _is_closed(fd: int) -> bool:
    """Tell whether the reader of a pipe has gone."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _say(piece: bytes) -> None:
    """Pass on what a child says to standard error. One that takes nothing must not stop the work."""
    try:
        while piece:
            piece = piece[os.write(STDERR, piece) :]
    except OSError:
        pass


_lingering: set[int] = set()
_speaking = Lock()
"""Held from reading what a descriptor has to passing it on, so that whoever gets it finds nothing half said."""


def _pass_on_later(fd: int) -> None:
    """Go on passing on what comes from `fd`, so that whoever a child left behind does not die of a closed pipe."""
    if len(_lingering) >= _MOST_LINGERING:
        os.close(fd)
        return
    _lingering.add(fd)
    Thread(target=_pass_on, args=(fd,), daemon=True).start()


def _pass_on(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    is_open = True
    while is_open:
        poll.poll()
        with _speaking:
            is_open = _pass_on_piece(fd)


def _pass_on_piece(fd: int) -> bool:
    """Pass on what there is; False if no more will come, and `fd` is closed."""
    try:
        piece = os.read(fd, _PIPE_BYTES)
    except BlockingIOError:
        return True
    if piece:
        _say(piece)
    else:
        _lingering.discard(fd)
        os.close(fd)
    return bool(piece)


def pass_on_last_words() -> None:
    """Pass on what those that children left behind have said up to now: the threads that would do it end with this process."""
    if not _speaking.acquire(timeout=_GRACE_SECONDS):
        return  # Standard error takes nothing.
    try:
        for fd in list(_lingering):
            _pass_on_piece(fd)
    finally:
        _speaking.release()
