"""How the records of a topic are spread, as bars: over its partitions, and over time. Pure."""

from __future__ import annotations

import time

from mk.cli.drawing import bar, cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.cli.drawing import Letters

_MOST_CELLS = 60
_LEAST_CELLS = 8
_DAY_MS = 86_400_000


def over_partitions(partitions: Sequence[dict[str, Any]], width: int, drawn: Letters) -> list[str]:
    """Return a line for each partition, in at most `width` cells. partitions: as describe_topic has them."""
    names = [str(row["partition"]) for row in partitions]
    return _bars("records by partition", names, [row["records"] for row in partitions], width, drawn)


def over_time(times: dict[str, Any], width: int, drawn: Letters) -> list[str]:
    """Return a line for each span of time, by the clock of TZ; none where there is no record. times: from topic_times."""
    records, step = times["records"], times["step_ms"]
    if not records or step is None or times["from_ms"] is None:
        return []
    begins = [(times["from_ms"] + step * number) / 1000 for number in range(len(records))]
    form = "%Y-%m-%d" if step >= _DAY_MS else "%H:%M:%S" if step < 60_000 else "%H:%M"
    if step < _DAY_MS and time.localtime(begins[0])[:3] != time.localtime(begins[-1])[:3]:
        form = f"%m-%d {form}"
    names = [time.strftime(form, time.localtime(begin)) for begin in begins]
    return _bars(f"records by time, {_step_text(step)} a line", names, records, width, drawn)


def _bars(title: str, names: Sequence[str], values: Sequence[int], width: int, drawn: Letters) -> list[str]:
    name_cells = max(map(len, names), default=0)
    value_cells = max((len(str(value)) for value in values), default=0)
    room = max(_LEAST_CELLS, min(_MOST_CELLS, width - name_cells - value_cells - 6))
    largest = max(values, default=0)
    lines = [
        f"  {name:>{name_cells}}  {value:>{value_cells}}  {bar(value, largest, room, drawn)}".rstrip()
        for name, value in zip(names, values)
    ]
    return [cut(line, width, drawn) for line in (title, *lines)]


def _step_text(step_ms: int) -> str:
    for size, unit in ((_DAY_MS, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if step_ms >= size and step_ms % size == 0:
            return f"{step_ms // size} {unit}"
    return f"{step_ms} ms"
