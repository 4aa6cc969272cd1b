"""Documents to standard output: as JSON for programs, as text derived from the same documents for people.

The only importer of rich, and only on a terminal. Records do not come through here.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from mk.cli.notes import visible

_GAP = "  "
_ANY_WIDTH = 10_000
_BAR_AFTER_SECONDS = 1.0
"""Shorter work needs none."""
_MANY_ROWS = 500
"""From here on a table is for a pager: rich would take a second for each few thousand rows."""

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

    Off a terminal nothing is ever cut or wrapped, and a line is a row.
    """
    rows = list(rows)
    headings = [column.upper().replace(" ", "_") for column in columns]
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    numeric = [bool(rows) and all(_is_number(row.get(column)) for row in rows) for column in columns]
    if sys.stdout.isatty() and len(rows) < _MANY_ROWS:
        _print_rich_table(headings, cells, numeric, no_color=no_color)
    else:
        _print_aligned([headings, *cells], numeric)


def print_fields(document: Mapping[str, object]) -> None:
    """Print one document as lines of name and value."""
    _print_aligned([[name, _cell(value)] for name, value in document.items()], [False, False])


@contextmanager
def progress_bar(
    label: str, *, quiet: bool, no_color: bool, counts_bytes: bool = True
) -> Iterator[Callable[[int, int], None] | None]:
    """Give a function to tell (bytes done, bytes in all); a bar on stderr shows it, on a terminal and after a second.

    counts_bytes: it is bytes that are counted, and not records.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    began = time.monotonic()
    bar = task = None

    def tell(done: int, total: int) -> None:
        nonlocal bar, task
        if bar is None:
            if time.monotonic() - began < _BAR_AFTER_SECONDS:
                return
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                MofNCompleteColumn,
                Progress,
                ProgressColumn,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn()]
            columns += [DownloadColumn(), TransferSpeedColumn()] if counts_bytes else [MofNCompleteColumn()]
            columns.append(TimeRemainingColumn())
            bar = Progress(*columns, console=Console(stderr=True, no_color=no_color or None), transient=True)
            task = bar.add_task(visible(label), total=total)
            bar.start()
        bar.update(task, completed=done)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.stop()


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


def _print_rich_table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool], *, no_color: bool
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    style = "" if no_color else "bold cyan"
    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style=style)
    for heading, is_numeric in zip(headings, numeric):
        table.add_column(heading, justify="right" if is_numeric else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    # None leaves it to rich, which knows NO_COLOR.
    # Wide enough for any table: a terminal wraps a long line more readably than cells folded to letters.
    Console(no_color=no_color or None, highlight=False, width=_ANY_WIDTH).print(table)


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


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
