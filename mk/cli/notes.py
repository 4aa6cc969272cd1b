"""What is said to people on stderr: notes (what was made, what was skipped, how much is stored), and text made safe to show.

Loaded by every start, also because an error that there are too many open files must be told without opening one.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

before_note: "Callable[[], None] | None" = None
"""Takes away the line of a progress bar, as long as there may be one: a note would be written behind it."""


def note(text: str) -> None:
    """Write one line to stderr, in one piece. A stderr that takes nothing (closed, a full disk) must not stop the work."""
    if before_note is not None:
        before_note()
    try:
        os.write(2, f"{visible(text)}\n".encode())
    except OSError:
        pass


def counted(number: int, noun: str) -> str:
    """Return "1 record" or "2 records"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def visible(text: str) -> str:
    """Return `text` with what a terminal would act on (control, format and undecodable characters) spelled out."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _spelled_out(letter) for letter in text)


def _spelled_out(letter: str) -> str:
    if 0xDC80 <= ord(letter) <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
