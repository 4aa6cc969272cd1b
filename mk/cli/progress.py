"""How far long work has come: one line on stderr, on a terminal and after a second, gone when the work ends or says something.

It is drawn by whoever does the work, as often as the eye wants it and no thread beside, so that work without it costs nothing.
"""

from __future__ import annotations

import os
import sys
import time

from mk.cli import notes
from mk.cli.drawing import bar, count_text, cut, fit, letters, rate_text, size_text, span_text
from mk.cli.notes import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_STDERR = 2
_AFTER_SECONDS = 1.0
"""Shorter work needs none."""

_PAUSE_SECONDS = 0.1
_BAR_CELLS = 20
_DEFAULT_WIDTH = 80
_CLEAR = b"\r\x1b[K"


class progress_bar:
    """Give a `with` block a function to tell (done, in all), None where nobody would see the line.

    counts_bytes: it is bytes that are counted, and not records.
    """

    def __init__(self, label: str, *, quiet: bool, counts_bytes: bool = True) -> None:
        self._label = visible(label)
        self._is_wanted = not quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")
        self._text = size_text if counts_bytes else count_text
        self._began = self._next = 0.0
        self._is_shown = False

    def __enter__(self) -> Callable[[int, int], None] | None:
        if not self._is_wanted:
            return None
        self._letters = letters(sys.stderr)
        self._began = time.monotonic()
        self._next = self._began + _AFTER_SECONDS
        notes.before_note = self.clear
        return self.tell

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_wanted:
            notes.before_note = None
            self.clear()

    def tell(self, done: int, total: int) -> None:
        """Show how far it is, unless that was a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PAUSE_SECONDS
        self._is_shown = True
        try:
            width = os.get_terminal_size(_STDERR).columns or _DEFAULT_WIDTH
            line = self.line(done, total, now - self._began, width - 1)
            os.write(_STDERR, _CLEAR + line.encode(errors="replace"))
        except OSError:
            pass  # Nobody can be shown it, which must not stop the work.

    def line(self, done: int, total: int, seconds: float, width: int) -> str:
        """Return the line, in at most `width` cells: a terminal would wrap a longer one, and keep its beginning."""
        done = min(done, total) if total else done
        rate = done / seconds if seconds > 0 else 0.0
        said = f"{self._text(done)} of {self._text(total)}"
        said += f"  {size_text(rate) if self._text is size_text else rate_text(rate)}/s"
        if rate and total:
            said += f"  {span_text(1000 * (total - done) / rate)} left"
        picture = fit(bar(done, total, _BAR_CELLS, self._letters), _BAR_CELLS, self._letters)
        percent = f"{100 * done // total if total else 0:3d} %"
        return cut(f"{self._label}  {picture} {percent}  {said}", width, self._letters)

    def clear(self) -> None:
        """Take the line away, if it is there: it comes again with what is told next."""
        if self._is_shown:
            self._is_shown = False
            try:
                os.write(_STDERR, _CLEAR)
            except OSError:
                pass
