"""What `mk top` shows, and what the keys do: from documents and keys to the lines of a terminal. Pure.

Each frame has exactly as many lines as the terminal, each exactly as wide: nothing wraps, and nothing is left from before.
"""

from __future__ import annotations

import re
import time
from collections import deque

from mk.cli import key_input as keys
from mk.cli.drawing import count_text, fit, rate_text, size_text, span_text
from mk.cli.notes import counted, visible
from mk.cli.top_rates import GroupLook, rated
from mk.cli.top_tables import HISTORY, SHARE, Layout, details, ordered, overview

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mk.cli.drawing import Letters
    from mk.cli.top_tables import Table

    Document = dict[str, Any]
    Line = tuple[str, str]

_KEPT = 64
"""Looks that are remembered for the pictures over time."""

_GROUPS_OVER_MS, _LOOKS_APART_MS = 15_000, 2000
"""Groups are rated over some of their commits, and of so many looks. A look at many partitions takes room."""

_PATIENCE_MS = 3000
"""A look that takes longer is worth a word."""

_HELP = (
    ("up down j k", "choose a line; PgUp PgDn Home End in larger steps"),
    ("tab", "go to the next table"),
    ("enter", "open a topic's partitions, a group's, a copy's"),
    ("esc left", "go back"),
    ("s r", "sort by the next column; the other way round"),
    ("/", "show only names in which a regular expression is found"),
    ("q", "quit"),
    ("", ""),
    ("in/s", "records a second that were appended between the last two looks"),
    ("out/s", "records a second that groups committed, over 15 s"),
    ("trend/s", "how much a group's lag grew (+) or shrank (-) a second, over 15 s"),
    ("done in", "when the lag is gone if it goes on so"),
    ("5+", "a sum of what is known: some of it is not"),
    ("-", "not known: no earlier look, or cut, reset or new since"),
)


class _Place:
    """What is remembered of one table: what is chosen, from where on it is shown, how it is sorted, how wide its columns were."""

    __slots__ = ("chosen", "is_backward", "shown_rows", "sort", "top", "widths")

    def __init__(self) -> None:
        self.chosen = ""
        self.top = 0
        self.sort = ""
        self.is_backward = False
        self.widths: dict[str, int] = {}
        self.shown_rows = 1


class View:
    """The state of the screen. quits: the q was pressed."""

    def __init__(self, location: str, drawn: Letters, *, interval_ms: int, pattern: str = "") -> None:
        self.quits = False
        self.document: Document | None = None
        self._location = location
        self._letters = drawn
        self._interval_ms = interval_ms
        self._sample: Document | None = None
        self._looks: deque[GroupLook] = deque()
        self._history: dict[str, dict[tuple[str, str], deque[float | None]]] = {}
        self._stack: list[tuple[str, str]] = []
        self._places: dict[tuple[object, ...], _Place] = {}
        self._focus: dict[tuple[tuple[str, str], ...], int] = {}
        self._tables: list[Table] = []
        self._size = (0, 0)
        self._has_help = False
        self._typed: str | None = None
        self._pattern = pattern
        self._message = ""
        self._in_sight = ""

    @property
    def owners_of(self) -> str:
        """The group of which the owners of partitions are shown, "" for none."""
        return self._stack[-1][1] if self._stack and self._stack[-1][0] == "group" else ""

    def take(self, sample: Document) -> None:
        """Take what a look has found."""
        while len(self._looks) > 1 and sample["clock_ms"] - self._looks[0].clock_ms > _GROUPS_OVER_MS:
            self._looks.popleft()
        self.document = rated(self._sample, sample, self._location, earlier=self._looks)
        self._sample = sample
        if not self._looks or not 0 <= sample["clock_ms"] - self._looks[-1].clock_ms < _LOOKS_APART_MS:
            self._looks.append(GroupLook(sample))
        if self.document["elapsed_ms"] is None:
            return
        for table, heading, name, value, rows in (
            ("topics", "in/s over time", "topic", "records_in_per_s", self.document["topics"]),
            ("groups", "lag over time", "group", "lag", self.document["groups"] or ()),
        ):
            before = self._history.get(table, {})
            found = self._history[table] = {}
            for row in rows:
                key = row[name], heading
                found[key] = before.get(key) or deque(maxlen=_KEPT)
                found[key].append(row[value])

    # Keys.

    def press(self, key: str) -> None:
        """Do what a key stands for."""
        self._message = ""
        if self._typed is not None:
            self._type(key)
        elif self._has_help:
            self._has_help = False
            self.quits = key == "q"
        elif key == "q":
            self.quits = True
        elif key == "?":
            self._has_help = True
        elif key == "/":
            self._typed = self._pattern
        elif key in (keys.ESCAPE, keys.LEFT, keys.BACKSPACE):
            if self._stack:
                self._stack.pop()
            elif key == keys.ESCAPE:
                self._pattern = ""
        else:
            self._move(key)

    def _type(self, key: str) -> None:
        assert self._typed is not None
        if key == keys.ESCAPE:
            self._typed = None
        elif key == keys.BACKSPACE:
            self._typed = self._typed[:-1]
        elif key == keys.ENTER:
            try:
                re.compile(self._typed)
            except (re.error, OverflowError, RecursionError) as error:
                self._message = f"no regular expression: {error}"
                return
            self._pattern, self._typed = self._typed, None
        elif len(key) == 1:
            self._typed += key

    def _move(self, key: str) -> None:
        tables = self._tables
        if not tables:
            return
        focus = self._focused()
        table, place = tables[focus], self._place(tables[focus])
        rows = self._rows(table, place)
        at = next((number for number, row in enumerate(rows) if row["id"] == place.chosen), 0)
        step = max(1, place.shown_rows - 1)
        to = {
            keys.UP: at - 1,
            "k": at - 1,
            keys.DOWN: at + 1,
            "j": at + 1,
            keys.PAGE_UP: max(0, at - step),
            keys.PAGE_DOWN: min(len(rows) - 1, at + step),
            keys.HOME: 0,
            "g": 0,
            keys.END: len(rows) - 1,
            "G": len(rows) - 1,
        }.get(key)
        if to is not None:
            if to < 0 and self._next_table(focus, -1):
                return
            if to >= len(rows) and self._next_table(focus, 1):
                return
            if rows:
                place.chosen = rows[min(max(to, 0), len(rows) - 1)]["id"]
        elif key in (keys.TAB, keys.BACK_TAB):
            self._focus[tuple(self._stack)] = (focus + (1 if key == keys.TAB else -1)) % len(tables)
        elif key in (keys.ENTER, keys.RIGHT) and table.opens and rows:
            self._stack.append((table.opens, rows[at]["id"]))
        elif key == "s":
            self._sort_by_next(table, place)
        elif key in ("r", "S"):
            place.is_backward = not place.is_backward

    def _next_table(self, focus: int, step: int) -> bool:
        """Go on from the end of a table into the next one that has rows."""
        to = focus + step
        while 0 <= to < len(self._tables):
            table = self._tables[to]
            if table.rows:
                place = self._place(table)
                rows = self._rows(table, place)
                place.chosen = rows[0 if step > 0 else -1]["id"]
                self._focus[tuple(self._stack)] = to
                return True
            to += step
        return False

    def _sort_by_next(self, table: Table, place: _Place) -> None:
        sortable = [
            column.key
            for column in table.columns
            if column is table.columns[0]
            or (column.key in place.widths and column.kind != SHARE and column.key != "trouble")
        ]
        now = place.sort or table.sort
        place.sort = sortable[(sortable.index(now) + 1) % len(sortable)] if now in sortable else sortable[0]
        place.is_backward = False

    def _focused(self) -> int:
        return min(self._focus.get(tuple(self._stack), 0), max(0, len(self._tables) - 1))

    def _place(self, table: Table) -> _Place:
        return self._places.setdefault((*self._stack, table.name), _Place())

    def _rows(self, table: Table, place: _Place) -> list[dict[str, Any]]:
        return ordered(table.rows, place.sort or table.sort, is_backward=place.is_backward)

    # Frames.

    def frame(self, width: int, height: int, *, waiting_ms: float = 0.0) -> list[Line]:
        """Return the lines of the screen. waiting_ms: how long the next look has taken by now, 0 if there is none."""
        if self._size != (width, height):
            self._size = width, height
            for place in self._places.values():
                place.widths = {}
        lines: list[Line] = [self._title(width), (self._totals(), "")]
        room = max(0, height - len(lines) - 1)
        body = self._help() if self._has_help else self._body(width, room)
        lines += (body + [("", "")] * room)[:room]
        lines.append(self._footer(width, waiting_ms))
        return [(fit(text, width, self._letters), style) for text, style in lines[:height]]

    def _title(self, width: int) -> Line:
        shown = " - ".join(["mk top", self._location, *(name.split(" ")[0] for _, name in self._stack)])
        left = visible(shown)
        right = f"every {_seconds(self._interval_ms)}"
        if self.document is not None:
            at = time.strftime("%H:%M:%S", time.localtime(self.document["time_ms"] / 1000))
            elapsed_ms = self.document["elapsed_ms"]
            over = "no rates yet" if elapsed_ms is None else f"rates over {_seconds(elapsed_ms)}"
            right = f"{at}  {right}  {over}"
        room = width - len(right) - 2
        if room < 20:
            return left, "title"
        return fit(left, room, self._letters) + "  " + right, "title"

    def _totals(self) -> str:
        document = self.document
        if document is None:
            return f"looking at {visible(self._location)}"
        topics, groups = document["topics"], document["groups"]
        # Brokers of Kafka tell no sizes.
        tells_bytes = not topics or any(topic["size_bytes"] is not None for topic in topics)
        said = [counted(len(topics), "topic")]
        if tells_bytes:
            said.append(size_text(sum(topic["size_bytes"] or 0 for topic in topics)))
        if document["elapsed_ms"] is None:
            said.append(f"first look, rates come with the next, in {_seconds(self._interval_ms)}")
            return ", ".join(said)
        records, size = (
            self._total(topics, f"{what}_in_per_s", text)
            for what, text in (("records", rate_text), ("bytes", size_text))
        )
        said.append(f"in {records}/s {size}/s" if tells_bytes else f"in {records}/s")
        if groups is not None:
            said.append(f"out {self._total(topics, 'records_out_per_s', rate_text)}/s")
            said.append(
                f"{counted(len(groups), 'group')}, lag {count_text(sum(group['lag'] or 0 for group in groups))}"
            )
        said += [visible(f"{unseen['what']}: {unseen['why']}") for unseen in document["unseen"]]
        return ", ".join(said)

    @staticmethod
    def _total(rows: list[Document], key: str, text: Callable[[float], str]) -> str:
        """Return a sum, marked where some of it is not known."""
        known = [row[key] for row in rows if row[key] is not None]
        return text(sum(known)) + ("" if len(known) == len(rows) else "+")

    def _body(self, width: int, room: int) -> list[Line]:
        if self.document is None:
            return []
        tables = None
        while self._stack and tables is None:
            tables = details(self.document, *self._stack[-1])
            if tables is None:
                kind, name = self._stack.pop()
                self._message = visible(f"{kind} {name.split(' ')[0]} is gone")
        if tables is None:
            tables = overview(self.document)
            if self._pattern:
                pattern = re.compile(self._pattern)
                for table in tables:
                    name = table.columns[0].key
                    table.rows = [row for row in table.rows if pattern.search(str(row[name]))]
        self._tables = tables
        places = [self._place(table) for table in tables]
        rows = [self._rows(table, place) for table, place in zip(tables, places)]
        heights = shares(room - 2 * len(tables) + 1, [len(some) for some in rows])
        focus = self._focused()
        lines: list[Line] = []
        for number, (table, place) in enumerate(zip(tables, places)):
            if lines:
                lines.append(("", ""))
            lines += self._table(table, place, rows[number], width, heights[number], is_focused=number == focus)
        return lines

    def _table(
        self,
        table: Table,
        place: _Place,
        rows: list[dict[str, Any]],
        width: int,
        height: int,
        *,
        is_focused: bool,
    ) -> list[Line]:
        assert self.document is not None
        layout = Layout(
            table,
            width,
            self._letters,
            now_ms=self.document["time_ms"],
            history=self._history.get(table.name, {}),
            before=place.widths,
        )
        place.widths = {column.key: layout.widths[column.key] for column in layout.chosen if column.kind != HISTORY}
        place.widths.pop(table.columns[0].key, None)
        place.shown_rows = height
        at = next((number for number, row in enumerate(rows) if row["id"] == place.chosen), 0)
        if rows:
            place.chosen = rows[at]["id"] if place.chosen else ""
        # So that the chosen row is in sight, no room is left empty, and as little moves as can be.
        place.top = max(0, min(max(place.top, at - height + 1), at, len(rows) - height))
        lines: list[Line] = [(layout.heading(place.sort or table.sort, is_backward=place.is_backward), "heading")]
        if is_focused:
            self._in_sight = f"{place.top + 1}-{place.top + height} of {len(rows)}" if len(rows) > height else ""
        if not rows:
            nothing = f"no {table.name}"
            if self._pattern and not self._stack:
                nothing += f" with {visible(self._pattern)} in their names"
            elif table.name == "groups" and self.document["groups"] is None:
                nothing = "groups cannot be looked at"
            return [*lines, (f" {nothing}", "")]
        for number, row in list(enumerate(rows))[place.top : place.top + height]:
            is_chosen = is_focused and number == at
            style = "selected" if is_chosen else "trouble" if row.get("trouble") else ""
            lines.append((layout.line(row, is_chosen=is_chosen), style))
        return lines

    def _help(self) -> list[Line]:
        return (
            [("", "")] + [(f"  {name:<13}{text}", "") for name, text in _HELP] + [("", ""), ("  any key goes back", "")]
        )

    def _footer(self, width: int, waiting_ms: float) -> Line:
        if self._typed is not None:
            prompt = f"/{visible(self._typed)}_"
            return (
                f"{self._message}  {prompt}" if self._message else prompt + "   enter: use it, esc: leave it"
            ), "title"
        if waiting_ms > max(_PATIENCE_MS, 2 * self._interval_ms):
            return f"no answer for {span_text(waiting_ms)}: what is shown is as of before", "trouble"
        if self._message:
            return self._message, "trouble"
        said = ["q quit", "? help", "s sort", "/ filter"]
        if self._pattern:
            said[-1] = f"/{visible(self._pattern)} (esc: all)"
        said.append("esc back" if self._stack else "enter open")
        if len(self._tables) > 1:
            said.append("tab next table")
        left, right = "  ".join(said), "" if self._has_help else self._in_sight
        return fit(left, width - len(right) - 1, self._letters) + " " + right, "title"


def shares(room: int, wants: list[int]) -> list[int]:
    """Return how many lines of `room` each of several tables gets: what it wants, or as much as any other. At least one."""
    given = [0] * len(wants)
    left = max(room, len(wants))
    waiting = list(range(len(wants)))
    while waiting:
        share = left // len(waiting)
        content = [number for number in waiting if max(1, wants[number]) <= share]
        if not content:
            for number in waiting:
                given[number] = max(1, left // len(waiting))
                left -= given[number]
                waiting = waiting[1:]
            break
        for number in content:
            given[number] = max(1, wants[number])
            left -= given[number]
            waiting.remove(number)
    return given


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.3g}s" if milliseconds < 100_000 else span_text(milliseconds)
