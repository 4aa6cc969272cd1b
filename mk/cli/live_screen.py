"""A whole terminal to draw on, and the way back: the other screen, keys one by one, and what stops, resumes and resizes it.

Only lines that have changed are written, all of a frame in one piece, so that nothing flickers. The terminal is given back
however this ends, and while a ^Z lasts; what comes by a signal is dealt with between two frames, in `wait`.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import tty

from mk.cli import signals
from mk.cli.key_input import keys_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType
    from typing import Any

    Line = tuple[str, str]

STDIN, STDOUT = 0, 1

_BEGIN = b"\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[2J"
"""The other screen, no wrapping of what is too long, no cursor, and nothing on it."""

_END = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_STYLES = {"": b"", "title": b"\x1b[1m", "heading": b"\x1b[1;36m", "selected": b"\x1b[7m", "trouble": b"\x1b[31m"}
_PLAIN_STYLES = {**_STYLES, "heading": b"\x1b[1m", "trouble": b""}
_DEFAULT_SIZE = 80, 24
_ESCAPE_SECONDS = 0.05
"""An escape that nothing follows so soon was the key of that name."""


def is_possible() -> bool:
    """Tell whether there is a terminal to draw on, and to read keys from."""
    return os.isatty(STDIN) and os.isatty(STDOUT) and os.environ.get("TERM", "dumb") not in ("dumb", "")


class LiveScreen:
    """The terminal of standard input and output, from `with` to its end. Only in the main thread.

    stopped_by: the signal that asks this process to end, 0 as long as none does.
    """

    def __init__(self, *, with_color: bool) -> None:
        self.stopped_by = 0
        self._styles = _STYLES if with_color else _PLAIN_STYLES
        self._shown: list[Line] = []
        self._rest = b""
        self._has_to_pause = self._has_to_resume = False
        self._is_open = self._is_drawing = False
        self._attributes: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._wake_fd, self._woken_fd = -1, -1

    def __enter__(self) -> LiveScreen:
        self._wake_fd, self._woken_fd = _pipe()
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
            self._handlers[number] = signal.signal(number, self._note)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._note_stop)
        try:
            self._open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A second ^C in here would leave a terminal that shows no letters.
        with signals.held():
            self._close()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers.clear()

    def wake(self) -> None:
        """Have `wait` return at once. From any thread, and from handlers of signals."""
        try:
            os.write(self._woken_fd, b"\0")
        except BlockingIOError:
            pass  # It is full of such bytes.

    def size(self) -> tuple[int, int]:
        """Return columns and lines."""
        try:
            size = os.get_terminal_size(STDOUT)
        except OSError:
            return _DEFAULT_SIZE
        return size.columns or _DEFAULT_SIZE[0], size.lines or _DEFAULT_SIZE[1]

    def wait(self, seconds: float) -> list[str]:
        """Wait for a key, a signal or `wake`, and return the keys that were pressed. Stops and resumes, if it has to.

        A terminal that is gone counts as SIGHUP.
        """
        if self._rest:
            seconds = min(seconds, _ESCAPE_SECONDS)
        ready = select.select([STDIN, self._wake_fd], [], [], max(0.0, seconds))[0]
        if self._wake_fd in ready:
            try:
                os.read(self._wake_fd, 4096)
            except BlockingIOError:
                pass
        keys: list[str] = []
        if STDIN in ready:
            try:
                data = os.read(STDIN, 1024)
            except OSError:
                data = b""
            if not data:
                self.stopped_by = self.stopped_by or signal.SIGHUP
            keys, self._rest = keys_in(self._rest + data)
        elif self._rest:
            # Nothing follows: it was an escape, and what came behind it are keys of their own.
            rest, self._rest = self._rest, b""
            keys = ["escape", *keys_in(rest[1:])[0]]
        # A terminal that goes away sends SIGHUP and SIGCONT, and there is nothing to resume on.
        if self._has_to_pause and not self.stopped_by:
            self._pause()
        if self._has_to_resume and not self.stopped_by:
            self._has_to_resume = False
            self._on_terminal(self._open)
        return keys

    def draw(self, lines: Sequence[Line]) -> None:
        """Show lines of text, each with its style and as wide as the terminal. What is shown already is not written again."""
        written = []
        for row, line in enumerate(lines):
            if row >= len(self._shown) or self._shown[row] != line:
                text, style = line
                written += [b"\x1b[%d;1H" % (row + 1), self._styles[style], text.encode(errors="replace")]
                if self._styles[style]:
                    written.append(b"\x1b[0m")
        self._shown = list(lines)
        if written:
            self._is_drawing = True
            self._on_terminal(lambda: _write(b"".join(written)))
            self._is_drawing = False

    def forget(self) -> None:
        """Draw everything the next time, on an empty screen: its size is another one."""
        self._shown = []
        self._on_terminal(lambda: _write(b"\x1b[2J"))

    def _on_terminal(self, work: Callable[[], None]) -> None:
        """Do what needs the terminal. One that is gone counts as SIGHUP, which may not have come yet."""
        try:
            work()
        except (OSError, termios.error):
            self.stopped_by = self.stopped_by or signal.SIGHUP

    def _open(self) -> None:
        if not self._is_open:
            self._attributes = termios.tcgetattr(STDIN)
        self._is_open = True
        tty.setcbreak(STDIN, termios.TCSADRAIN)
        _write(_BEGIN)
        self._shown = []

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            _write(_END)
            termios.tcsetattr(STDIN, termios.TCSADRAIN, self._attributes)
        except (OSError, termios.error):
            pass  # The terminal is gone, and needs nothing any more.

    def _pause(self) -> None:
        """Stop as a ^Z asks for, on the terminal as it was; whoever continues us has it back."""
        self._has_to_pause = False
        self._close()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note)
        self._has_to_resume = True

    def _note_stop(self, number: int, frame: FrameType | None) -> None:
        # Raised anywhere else, the second of two could leave __exit__ before the terminal is given back. Drawing alone may
        # wait for ever, on a terminal that a ^S holds.
        if self.stopped_by and self._is_drawing:
            self._is_drawing = False
            raise signals.Stopped(number)
        self.stopped_by = self.stopped_by or number
        self.wake()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTSTP:
            self._has_to_pause = True
        elif number == signal.SIGCONT:
            # Also behind a SIGSTOP, which nobody sees coming: whoever had the terminal meanwhile has changed it.
            self._has_to_resume = True
        self.wake()


def _pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    for fd in (ours, theirs):
        os.set_blocking(fd, False)
    return ours, theirs


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(STDOUT, view) :]
