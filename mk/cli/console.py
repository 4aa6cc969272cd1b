"""Documents to standard output: as JSON for programs, as text derived from the same documents for people.

The only importer of rich, and only on a terminal. Records do not come through here.
"""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from mk.cli import drawing
from mk.cli.notes import visible

_GAP = "  "
_NAMES = ("group", "topic", "partition", "segment", "replica", "member", "directory", "key")
"""Columns that say what a row is about, as long as they stand in front."""

_LEAST_NAME = 10
_LEAST_PROSE = 30
"""Cells in which sentences can be read that are folded."""

_MANY_ROWS = 500
"""From here on a table is for a pager, and a row stays one line."""

_PLAIN_TYPES = (str, int, float, bool, type(None))


def print_json(document: object) -> None:
    """Print `document` as JSON. A list of flat documents has one on each line, which is quick for many thousands too."""
    if isinstance(document, list) and document and all(map(_is_flat, document)):
        print("[\n" + ",\n".join(map(json.dumps, document)) + "\n]")
    else:
        print(json.dumps(document, indent=2))


def _is_flat(document: object) -> bool:
    return isinstance(document, dict) and all(isinstance(value, _PLAIN_TYPES) for value in document.values())


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, object]], *, no_color: bool = False) -> None:
    """Print documents as a table: of each row the keys `columns`, which become the upper case headings.

    Off a terminal nothing is ever cut or wrapped, and a line is a row. On one a table that is too wide comes in several
    blocks, with all that there is.
    """
    rows = list(rows)
    headings = [column.upper().replace(" ", "_") for column in columns]
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    numeric = [_is_numeric([row.get(column) for row in rows]) for column in columns]
    if sys.stdout.isatty() and len(rows) < _MANY_ROWS:
        _print_on_terminal(columns, [headings, *cells], numeric, no_color=no_color)
    else:
        _print_aligned([headings, *cells], numeric)


def print_fields(document: Mapping[str, object]) -> None:
    """Print one document as lines of name and value."""
    _print_aligned([[name, _cell(value)] for name, value in document.items()], [False, False])


def size_text(size_bytes: float) -> str:
    """Return a number of bytes as people read it."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    for unit in ("KiB", "MiB", "GiB"):
        size_bytes /= 1024
        if size_bytes < 1024:
            return f"{size_bytes:.4g} {unit}"
    return f"{size_bytes / 1024:.4g} TiB"


def _print_aligned(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines)]
    form = _GAP.join(f"%{width}s" if is_right else f"%-{width}s" for width, is_right in zip(widths, right))
    print("\n".join([(form % tuple(line)).rstrip() for line in lines]))


def _print_on_terminal(
    columns: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[bool], *, no_color: bool
) -> None:
    """Print a table, its headings first, in blocks of columns that fit, each with the names of its rows in front.

    A terminal wraps a long line in the middle of a word, and nobody finds the cell below its heading any more.
    """
    from rich.console import Console
    from rich.text import Text

    room, letters = shutil.get_terminal_size().columns, drawing.letters(sys.stdout)
    # None leaves it to rich, which knows NO_COLOR, and terminals that show letters and no more.
    console = Console(no_color=no_color or None, highlight=False)
    style = "" if no_color else "bold cyan"
    widths = [max(map(drawing.cells, column)) for column in zip(*lines)]
    named = next((place for place, column in enumerate(columns) if column not in _NAMES), len(columns)) or 1
    if _cells_of(widths) > room and len({tuple(line[:named]) for line in lines}) < len(lines):
        # Rows with equal names are told apart in all blocks by their number.
        lines = [["#", *lines[0]], *([str(number), *line] for number, line in enumerate(lines[1:], 1))]
        columns, right, named = ["#", *columns], [True, *right], 1 + named
        widths = [len(str(len(lines) - 1)), *widths]
    is_prose = not right[-1] and any(" " in line[-1] for line in lines[1:])
    least_last = min(widths[-1], _LEAST_PROSE) if is_prose else widths[-1]
    again = _narrower(widths[:named], room // 2)
    for number, block in enumerate(_blocks([*widths[:-1], least_last], again, room)):
        width_of = dict(enumerate(widths))
        if number:
            print()
            width_of.update(enumerate(again))
        before = sum(width_of[column] + len(_GAP) for column in block[:-1])
        for row, line in enumerate(lines):
            texts = [drawing.cut(line[column], width_of[column], letters) for column in block]
            beyond: list[str] = []
            if is_prose and block[-1] == len(columns) - 1:
                texts[-1], *beyond = textwrap.wrap(texts[-1], max(room - before, _LEAST_PROSE))
            text = _GAP.join(
                drawing.fit(text, width_of[column], letters, is_right=right[column])
                for text, column in zip(texts, block, strict=True)
            ).rstrip()
            if row:
                print("\n".join([text, *(" " * before + more for more in beyond)]))
            else:
                console.print(Text(text, style), soft_wrap=True)


def _blocks(widths: Sequence[int], again: Sequence[int], room: int) -> list[list[int]]:
    """Return which columns stand beside each other in so many cells. again: the widths of the first in all later blocks."""
    named = len(again)
    blocks = [list(range(named))]
    taken = _cells_of(widths[:named])
    for column in range(named, len(widths)):
        is_full = taken + len(_GAP) + widths[column] > room
        if is_full and (len(blocks) == 1 or len(blocks[-1]) > named):
            blocks.append(list(range(named)))
            taken = _cells_of(again)
        blocks[-1].append(column)
        taken += len(_GAP) + widths[column]
    return blocks


def _narrower(widths: Sequence[int], room: int) -> list[int]:
    """Return widths that take no more than so many cells, for which the widest give; none is less than can be read."""
    narrower = list(widths)
    while _cells_of(narrower) > room and max(narrower) > _LEAST_NAME:
        narrower[narrower.index(max(narrower))] -= 1
    return narrower


def _cells_of(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _cell(value: object) -> str:
    if type(value) is int:
        return str(value)
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ",".join(f"{visible(str(key))}={_cell(item)}" for key, item in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ",".join(map(_cell, value)) or "-"
    return visible(str(value))


def _is_numeric(values: Sequence[object]) -> bool:
    """Tell whether a column has numbers and nothing else; where something is missing it has a dash."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)
