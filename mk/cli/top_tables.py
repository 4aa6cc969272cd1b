"""The tables of `mk top`: which columns there are, what stands in them, and how they are laid out in the room there is. Pure."""

from __future__ import annotations

from mk.cli.drawing import bar, cells, columns, count_text, fit, rate_text, size_text, span_text
from mk.cli.notes import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from mk.cli.drawing import Letters

    Row = dict[str, Any]
    History = Mapping[tuple[str, str], Sequence[float | None]]

UNKNOWN = "-"
_GAP = 2
_MARK = 1
"""Cells before a line, for the mark of the line that is chosen."""

_LEAST_PICTURE, _MOST_PICTURE = 8, 40
_LEAST_NAME = 12
_NOISE = 0.03
"""A lag that shrinks by less than this part of what is read may as well stay: when it is gone is not known."""

# What stands in a column.
TEXT, COUNT, SIZE, RATE, SIZE_RATE, CHANGE, TIME, SPAN, SHARE, HISTORY = range(10)


class Column:
    """key: in a row. weight: what goes first where there is too little room is what weighs least; 0 never goes."""

    __slots__ = ("heading", "is_numeric", "key", "kind", "weight")

    def __init__(self, key: str, heading: str, kind: int, weight: int) -> None:
        self.key = key
        self.heading = heading
        self.kind = kind
        self.weight = weight
        self.is_numeric = kind not in (TEXT, SHARE, HISTORY)


class Table:
    """A table of one kind of thing. name: which, also for what is remembered of it. rows: with `id`, which no two have alike.

    opens: what `enter` shows of a row, "" for nothing. sort: the column that it is sorted by at first.
    """

    __slots__ = ("columns", "name", "opens", "rows", "sort")

    def __init__(self, name: str, columns: tuple[Column, ...], rows: list[Row], *, sort: str, opens: str = "") -> None:
        self.name = name
        self.columns = columns
        self.rows = rows
        self.sort = sort
        self.opens = opens


_TOPICS = (
    Column("topic", "topic", TEXT, 0),
    Column("partition_count", "parts", COUNT, 3),
    Column("records", "records", COUNT, 6),
    Column("size_bytes", "size", SIZE, 8),
    Column("records_in_per_s", "in/s", RATE, 10),
    Column("bytes_in_per_s", "bytes in/s", SIZE_RATE, 7),
    Column("records_out_per_s", "out/s", RATE, 9),
    Column("last_write_ms", "written", TIME, 4),
    Column("history", "in/s over time", HISTORY, 1),
    Column("trouble", "trouble", TEXT, 11),
)
_GROUPS = (
    Column("group", "group", TEXT, 0),
    Column("member_count", "members", COUNT, 8),
    Column("topic_count", "topics", COUNT, 2),
    Column("lag", "lag", COUNT, 10),
    Column("lag_change_per_s", "trend/s", CHANGE, 9),
    Column("records_out_per_s", "out/s", RATE, 7),
    Column("eta_ms", "done in", SPAN, 5),
    Column("last_commit_ms", "committed", TIME, 4),
    Column("history", "lag over time", HISTORY, 1),
    Column("trouble", "trouble", TEXT, 11),
)
_REPLICAS = (
    Column("replica", "replica", TEXT, 0),
    Column("role", "role", TEXT, 5),
    Column("partition_count", "parts", COUNT, 3),
    Column("lag", "lag", COUNT, 8),
    Column("lag_change_per_s", "trend/s", CHANGE, 6),
    Column("seen_ms", "seen", TIME, 7),
)
_PARTITIONS = (
    Column("partition", "partition", COUNT, 0),
    Column("log_start_offset", "start", COUNT, 4),
    Column("high_watermark", "end", COUNT, 6),
    Column("records", "records", COUNT, 7),
    Column("size_bytes", "size", SIZE, 8),
    Column("records_in_per_s", "in/s", RATE, 10),
    Column("bytes_in_per_s", "bytes in/s", SIZE_RATE, 5),
    Column("leader", "leader", TEXT, 3),
    Column("share", "records", SHARE, 9),
    Column("trouble", "trouble", TEXT, 11),
)
_READERS = (
    Column("group", "group", TEXT, 0),
    Column("partition_count", "parts", COUNT, 3),
    Column("lag", "lag", COUNT, 8),
    Column("lag_change_per_s", "trend/s", CHANGE, 6),
    Column("records_out_per_s", "out/s", RATE, 7),
    Column("trouble", "trouble", TEXT, 11),
)
_OFFSETS = (
    Column("topic", "topic", TEXT, 0),
    Column("partition", "partition", COUNT, 12),
    Column("committed_offset", "committed", COUNT, 5),
    Column("lag", "lag", COUNT, 10),
    Column("lag_change_per_s", "trend/s", CHANGE, 8),
    Column("records_out_per_s", "out/s", RATE, 7),
    Column("owner", "member", TEXT, 6),
    Column("share", "lag", SHARE, 3),
    Column("trouble", "trouble", TEXT, 11),
)
_MEMBERS = (
    Column("who", "member", TEXT, 0),
    Column("partition_count", "parts", COUNT, 6),
    Column("since_ms", "since", TIME, 4),
    Column("command", "command", TEXT, 3),
)
_COPIES = (
    Column("topic", "topic", TEXT, 0),
    Column("partition", "partition", COUNT, 12),
    Column("next_offset", "end", COUNT, 6),
    Column("lag", "lag", COUNT, 8),
    Column("seen_ms", "seen", TIME, 7),
)


def overview(document: Row) -> list[Table]:
    """Return the tables of all that there is. document: from top_rates.rated."""
    topics = [
        {**topic, "id": topic["topic"], "trouble": topic["problem"] or _failed(topic)} for topic in document["topics"]
    ]
    groups = [_group_row(group) for group in document["groups"] or ()]
    replicas = [
        {**one, "id": f"{one['directory_id']} {one['role']}", "replica": one["address"] or one["directory_id"]}
        for one in document["replicas"]
    ]
    tables = [
        Table("topics", _TOPICS, topics, sort="records_in_per_s", opens="topic"),
        Table("groups", _GROUPS, groups, sort="lag", opens="group"),
    ]
    if replicas:
        tables.append(Table("replicas", _REPLICAS, replicas, sort="lag", opens="replica"))
    return tables


def details(document: Row, kind: str, name: str) -> list[Table] | None:
    """Return the tables of one topic, group or replica, by its row's id; None if it is not there any more."""
    return {"topic": _of_topic, "group": _of_group, "replica": _of_replica}[kind](document, name)


def _of_topic(document: Row, name: str) -> list[Table] | None:
    topic = next((topic for topic in document["topics"] if topic["topic"] == name), None)
    if topic is None:
        return None
    addresses = {one["directory_id"]: one["address"] for one in document["replicas"]}
    partitions = [
        {
            **row,
            "id": str(row["partition"]),
            "leader": "this"
            if row["leader"] is not None and row["leader"] == document["directory_id"]
            else addresses.get(row["leader"]) or row["leader"],
            "share": row["records"],
            "trouble": row["problem"] or ("FAILED" if row["failed"] else _lack_of_replicas(row)),
        }
        for row in topic["partitions"]
    ]
    readers = []
    for group in document["groups"] or ():
        rows = [row for row in group["offsets"] if row["topic_id"] == topic["topic_id"]]
        if rows:
            lags = [row["lag"] for row in rows if row["lag"] is not None]
            readers.append(
                {
                    "id": group["group"],
                    "group": group["group"],
                    "partition_count": len(rows),
                    "lag": sum(lags) if lags else None,
                    "lag_change_per_s": _sum([row["lag_change_per_s"] for row in rows]),
                    "records_out_per_s": _sum([row["records_out_per_s"] for row in rows]),
                    "trouble": next((row["problem"] for row in rows if row["problem"]), None),
                }
            )
    return [
        Table("partitions", _PARTITIONS, partitions, sort="partition"),
        Table("readers", _READERS, readers, sort="lag", opens="group"),
    ]


def _of_group(document: Row, name: str) -> list[Table] | None:
    group = next((group for group in document["groups"] or () if group["group"] == name), None)
    if group is None:
        return None
    who = {member["member"]: _who(member) for member in group["members"]}
    offsets = [
        {
            **row,
            "id": f"{row['topic']} {row['partition']}",
            "owner": who.get(row["member"], row["member"]),
            "share": row["lag"],
            "trouble": row["problem"],
        }
        for row in group["offsets"]
    ]
    members = [
        {
            **member,
            "id": member["member"],
            "who": who[member["member"]],
            "partition_count": sum(row["member"] == member["member"] for row in group["offsets"]),
        }
        for member in group["members"]
    ]
    return [
        Table("offsets", _OFFSETS, offsets, sort="topic"),
        Table("members", _MEMBERS, members, sort="who"),
    ]


def _of_replica(document: Row, name: str) -> list[Table] | None:
    for one in document["replicas"]:
        if f"{one['directory_id']} {one['role']}" == name:
            rows = [{**row, "id": f"{row['topic']} {row['partition']}"} for row in one["partitions"]]
            return [Table("copies", _COPIES, rows, sort="lag")]
    return None


def _group_row(group: Row) -> Row:
    lag, change = group["lag"], group["lag_change_per_s"]
    eta_ms = None
    if lag == 0:
        eta_ms = 0
    elif lag and change is not None and -change > _NOISE * (group["records_out_per_s"] or 0):
        eta_ms = 1000 * lag / -change
    return {
        **group,
        "id": group["group"],
        "topic_count": len(group["topics"]),
        "eta_ms": eta_ms,
        "trouble": group["problem"],
    }


def _failed(topic: Row) -> str | None:
    failed = sum(row["failed"] for row in topic["partitions"])
    if failed:
        return f"{failed} FAILED"
    lacking = sum(_lack_of_replicas(row) is not None for row in topic["partitions"])
    return f"{lacking} under-replicated" if lacking else None


def _lack_of_replicas(row: Row) -> str | None:
    """Say which brokers lack what a partition of a Kafka cluster holds; None if none does."""
    lacking = [str(broker) for broker in row.get("replicas", ()) if broker not in row["isr"]]
    return f"under-replicated: not on {', '.join(lacking)}" if lacking else None


def _who(member: Row) -> str:
    if member["host"] is None:
        return str(member["member"])[:8]
    if member["pid"] is None:
        return f"{member['client_id']} on {member['host']}"  # Of a Kafka cluster.
    return f"{member['host']}:{member['pid']}"


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


# Order.


def ordered(rows: Sequence[Row], key: str, *, is_backward: bool) -> list[Row]:
    """Return rows in the order of a column: the largest number first, text by the alphabet; what is not known comes last."""
    known = [row for row in rows if row.get(key) is not None]
    others = [row for row in rows if row.get(key) is None]
    is_text = any(isinstance(row[key], str) for row in known)
    known.sort(key=lambda row: row["id"])
    if key == "topic":
        known.sort(key=lambda row: row.get("partition") or 0)
    known.sort(key=lambda row: row[key], reverse=is_backward if is_text or key == "partition" else not is_backward)
    others.sort(key=lambda row: row["id"])
    return known + others


# Layout.


class Layout:
    """How wide the columns of a table are in `width` cells, for all of its rows.

    before: the widths that they had a moment ago: they only grow, or the table would dance with its numbers.
    """

    __slots__ = ("_largest", "_letters", "_now_ms", "_history", "chosen", "widths")

    def __init__(
        self,
        table: Table,
        width: int,
        drawn: Letters,
        *,
        now_ms: int,
        history: History,
        before: Mapping[str, int],
    ) -> None:
        self._letters = drawn
        self._now_ms = now_ms
        self._history = history
        self._largest: dict[str, float] = {}
        self.widths: dict[str, int] = {}
        shown = [column for column in table.columns if _says_something(column, table.rows)]
        name = shown[0]
        for column in shown:
            if column.kind in (SHARE, HISTORY):
                self.widths[column.key] = _LEAST_PICTURE
                if column.kind == SHARE:
                    self._largest[column.key] = max((row[column.key] or 0 for row in table.rows), default=0)
            else:
                needed = max((cells(self._text(column, row)) for row in table.rows), default=0)
                # One more for the mark of the order.
                self.widths[column.key] = max(needed, len(column.heading) + 1, before.get(column.key, 0))
        room = width - _MARK
        wanted = self.widths[name.key]
        least = min(wanted, _LEAST_NAME)

        def needs(columns: Sequence[Column]) -> int:
            others = sum(self.widths[column.key] + _GAP for column in columns if column is not name)
            return least + others

        while len(shown) > 1 and needs(shown) > room:
            longest = max(
                (column for column in shown if column is not name and column.kind == TEXT),
                default=None,
                key=lambda column: self.widths[column.key],
            )
            over = needs(shown) - room
            if longest is not None and self.widths[longest.key] - over >= _LEAST_NAME:
                self.widths[longest.key] -= over
                break
            shown.remove(min((column for column in shown if column is not name), key=lambda column: column.weight))
        left = room - needs(shown) + least
        self.widths[name.key] = max(0, min(wanted, left))
        pictures = [column for column in shown if column.kind in (SHARE, HISTORY)]
        if pictures:
            spare = max(0, left - self.widths[name.key])
            self.widths[pictures[0].key] = min(_MOST_PICTURE, _LEAST_PICTURE + spare)
        self.chosen = tuple(shown)

    def heading(self, sort: str, *, is_backward: bool) -> str:
        """Return the line of headings, with a mark where it is sorted."""
        texts = []
        for column in self.chosen:
            is_rising = is_backward != (column.kind == TEXT or column.key == "partition")
            mark = self._letters.rising if is_rising else self._letters.falling
            texts.append(column.heading.upper() + (mark if column.key == sort else ""))
        return self._line(" ", texts)

    def line(self, row: Row, *, is_chosen: bool) -> str:
        """Return the line of a row."""
        return self._line(">" if is_chosen else " ", [self._text(column, row) for column in self.chosen])

    def _line(self, mark: str, texts: Sequence[str]) -> str:
        return mark + (" " * _GAP).join(
            fit(text, self.widths[column.key], self._letters, is_right=column.is_numeric)
            for column, text in zip(self.chosen, texts)
        )

    def _text(self, column: Column, row: Row) -> str:
        if column.kind == HISTORY:
            values = list(self._history.get((str(row["id"]), column.heading), ()))[-self.widths[column.key] :]
            largest = max((value for value in values if value is not None), default=0.0)
            return columns(values, largest, self._letters)
        value = row.get(column.key)
        if value is None:
            return "" if column.key == "trouble" else UNKNOWN
        if column.kind == SHARE:
            return bar(value, self._largest[column.key], self.widths[column.key], self._letters)
        if column.kind == TIME:
            return span_text(self._now_ms - value)
        return _TEXTS[column.kind](value)


def _says_something(column: Column, rows: Sequence[Row]) -> bool:
    if column.key == "leader":
        return any(row["leader"] != "this" for row in rows)
    return column.key != "trouble" or any(row.get("trouble") for row in rows)


def _change(value: float) -> str:
    text = rate_text(value)
    return text if value <= 0 or text == "0" else f"+{text}"


_TEXTS: dict[int, Callable[[Any], str]] = {
    TEXT: lambda value: visible(str(value)),
    COUNT: count_text,
    SIZE: size_text,
    RATE: rate_text,
    SIZE_RATE: size_text,
    CHANGE: _change,
    SPAN: span_text,
}
