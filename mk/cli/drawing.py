"""Pictures made of letters: bars, lines of little columns, and text cut to so many cells of a terminal. Pure, but for `letters`.

A cell is what a terminal shows of one letter; some letters take two, and some none.
"""

from __future__ import annotations

import os
import sys
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

_THOUSANDS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Letters:
    """What is drawn with. bar: from an eighth of a cell to a whole one; columns: from the lowest to the highest."""

    __slots__ = ("bar", "columns", "cut", "falling", "rising")

    def __init__(self, bar: str, columns: str, cut: str, rising: str, falling: str) -> None:
        self.bar = bar
        self.columns = columns
        self.cut = cut
        self.rising = rising
        self.falling = falling


BLOCKS = Letters("▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█", "…", "▲", "▼")
ASCII = Letters("#", "_.-=*#", "~", "^", "v")


def letters(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Letters:
    """Return what can be drawn with on the terminal behind a stream."""
    try:
        (BLOCKS.bar + BLOCKS.columns + BLOCKS.cut).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS if _is_for_unicode(environ) else ASCII


def _is_for_unicode(environ: Mapping[str, str]) -> bool:
    """Tell whether the user's locale is one of UTF-8. In the C locale Python writes that all the same, and sets LC_CTYPE."""
    ctype = environ.get("LC_CTYPE", "")
    is_python_s = bool(sys.flags.utf8_mode) and ctype.startswith("C.")
    locale = environ.get("LC_ALL") or ("" if is_python_s else ctype) or environ.get("LANG", "")
    return "utf" in locale.casefold()


def cells(text: str) -> int:
    """Return how many cells a text takes, in which nothing is left that a terminal acts on."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int, drawn: Letters) -> str:
    """Return a text in at most `width` cells, with a sign where it was longer."""
    if cells(text) <= width:
        return text
    room = width - 1
    kept = ""
    for letter in text if room >= 0 else "":
        room -= _cells_of(letter)
        if room < 0:
            break
        kept += letter
    return kept + drawn.cut if width > 0 else ""


def fit(text: str, width: int, drawn: Letters, *, is_right: bool = False) -> str:
    """Return a text in exactly `width` cells."""
    text = cut(text, width, drawn)
    space = " " * (width - cells(text))
    return space + text if is_right else text + space


def bar(value: float, largest: float, width: int, drawn: Letters) -> str:
    """Return a bar of at most `width` cells, so long as `value` is to `largest`. Whatever is more than nothing shows."""
    if value <= 0 or largest <= 0 or width <= 0:
        return ""
    steps = len(drawn.bar)
    length = max(1, round(min(value / largest, 1.0) * width * steps))
    whole, part = divmod(length, steps)
    return drawn.bar[-1] * whole + (drawn.bar[part - 1] if part else "")


def columns(values: Sequence[float | None], largest: float, drawn: Letters) -> str:
    """Return a letter for each value, as high as it is to `largest`; a space where it is not known."""
    steps = len(drawn.columns) - 1
    return "".join(
        " "
        if value is None
        else drawn.columns[0]
        if value <= 0 or largest <= 0
        else drawn.columns[min(steps, max(1, round(value / largest * steps)))]
        for value in values
    )


def count_text(number: float) -> str:
    """Return a number as people read it where room is scarce: six digits of it, else three with their unit."""
    if abs(number) < 999_999.5:
        return f"{number:.0f}"
    return _shortened(number)


def size_text(size_bytes: float) -> str:
    """Return a number of bytes as people read it where room is scarce, in at most eight letters."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.3g} TiB"


def rate_text(per_second: float) -> str:
    """Return a number a second: one decimal where that says something."""
    if abs(per_second) < 9.95:
        return (
            f"{per_second:.1f}".removesuffix(".0").replace("-0", "0") if abs(per_second) < 0.05 else f"{per_second:.1f}"
        )
    if abs(per_second) < 99_999.5:
        return f"{per_second:.0f}"
    return _shortened(per_second)


def _shortened(number: float) -> str:
    for size, unit in _THOUSANDS:
        if abs(number) >= size * 0.9995:
            return f"{number / size:#.3g}".rstrip(".") + unit
    return f"{number:.0f}"


def span_text(milliseconds: float) -> str:
    """Return a time in the largest unit of which it has one: 5s, 3m, 7h, 12d."""
    seconds = max(0.0, milliseconds) / 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"
