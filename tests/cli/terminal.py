"""A terminal as a person has one: keys go in, and what stands on the screen comes out."""

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time

import pyte

SECONDS = 30


class Terminal:
    """A program on a terminal of its own, as leader of its session. size: columns and lines."""

    def __init__(self, command, *, size=(80, 24), env):
        self._ours, theirs = os.openpty()
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._resize(*size)
        self.before = termios.tcgetattr(theirs)

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env={"TERM": "xterm", **env}, preexec_fn=take_terminal
        )
        self._theirs = theirs

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        for fd in (self._ours, self._theirs):
            with contextlib.suppress(OSError):
                os.close(fd)

    @property
    def attributes(self):
        """How the terminal reads keys and writes letters now."""
        return termios.tcgetattr(self._theirs)

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, keys):
        os.write(self._ours, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns, lines):
        """Change the size, as a window does; the program hears of it by SIGWINCH."""
        self.screen.resize(lines, columns)
        self._resize(columns, lines)

    def _resize(self, columns, lines):
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hang_up(self):
        os.close(self._ours)

    def read(self, seconds):
        """Take in what is written within a time."""
        if select.select([self._ours], [], [], seconds)[0]:
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:
                return False
            self.raw += data
            self._stream.feed(data)
            return bool(data)
        return False

    def until(self, is_so, seconds=SECONDS):
        """Wait until something is so of this terminal: a text that it shows, or a function of it."""
        limit = time.monotonic() + seconds
        while not (is_so in self.text if isinstance(is_so, str) else is_so(self)):
            assert time.monotonic() < limit, f"{is_so} is not so; the screen shows\n{self.text}"
            self.read(0.1)

    def end(self, seconds=SECONDS):
        """Wait for the program, and return its status as a shell says it; all that it wrote is taken in."""
        limit = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < limit, f"it does not end; the screen shows\n{self.text}"
            self.read(0.05)
        while self.read(0.05):
            pass
        status = self.process.returncode
        return status if status >= 0 else 128 - status
