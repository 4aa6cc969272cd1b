"""The picture of a run's results: a panel for each workload that people compare, with a bar for each way, as SVG.

A bar is a median, the line in it goes from the minimum to the maximum. It brings its own ground, in light and in dark.
"""

from __future__ import annotations

import statistics
from html import escape
from typing import Any, NamedTuple

WIDTH, MARGIN = 860, 20
LABELS, BARS = 330, 400
"""Widths of the names and of the longest bar; what is left is for the figures."""
ROW, BAR, HEAD = 21, 13, 44

STYLE = """
  .ground { fill: #ffffff; stroke: #d0d7de } text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 13px } .note { fill: #59636e }
  .mk { fill: #d9480f } .limit { fill: #8c959f } .neighbour { fill: #54aeff } .spread { stroke: #1f2328 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d } text { fill: #f0f6fc } .note { fill: #9198a1 }
    .mk { fill: #f76707 } .limit { fill: #656c76 } .neighbour { fill: #1f6feb } .spread { stroke: #f0f6fc }
  }
"""


class Panel(NamedTuple):
    """measure: as in the results; "rate" for a million records a second, "seconds" are shown in ms."""

    workload: str
    title: str
    measure: str
    unit: str
    note: str = ""


ON_DISK = "; at exit on disk: the limit, mk, and Redis with appendfsync always"

PANELS = [
    Panel("bulk-produce", "Lines from a pipe into a log (longer is better)", "rate", "M records/s", ON_DISK),
    Panel("keyed-produce", "Lines with keys into 8 partitions (longer is better)", "rate", "M records/s", ON_DISK),
    Panel("bulk-consume", "Lines out of a log into a pipe (longer is better)", "rate", "M records/s"),
    Panel("group-consume", "The same for a group, with commits (longer is better)", "rate", "M records/s"),
    Panel("cold-start", "One record, one process (shorter is better)", "seconds", "ms"),
    Panel("latency", "Record to reader at 200 records/s, median (shorter is better)", "p50_ms", "ms"),
    Panel("kafka-produce", "Lines from a pipe into a topic of Kafka (longer is better)", "rate", "M records/s"),
    Panel("kafka-consume", "Lines out of a topic of Kafka into a pipe (longer is better)", "rate", "M records/s"),
    Panel("kafka-start", "One record, one process, on Kafka (shorter is better)", "seconds", "ms"),
    Panel("kafka-latency", "Record to reader through Kafka, median (shorter is better)", "p50_ms", "ms"),
]


def picture(results: dict[str, Any]) -> str:
    """Return the SVG. Ways that were left out have no bar, and workloads that were not measured no panel."""
    parts: list[str] = []
    top = MARGIN + 22
    for panel in PANELS:
        bars = _bars(results, panel)
        if not bars:
            continue
        parts.append(
            _text(MARGIN, top + 14, f"{panel.title}", "title")
            + _text(MARGIN, top + 30, panel.unit + panel.note, "note")
        )
        longest = max(high for _, _, _, _, high in bars)
        for number, (name, role, median, low, high) in enumerate(bars):
            y = top + HEAD + number * ROW
            x = MARGIN + LABELS
            parts.append(_text(x - 8, y + 11, name, "", "end"))
            parts.append(
                f'<rect class="{role}" x="{x}" y="{y}" width="{max(1, median / longest * BARS):.1f}" height="{BAR}"/>'
            )
            ends = (x + value / longest * BARS for value in (low, high))
            parts.append(
                '<line class="spread" x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}"/>'.format(*ends, y=y + BAR / 2)
            )
            parts.append(_text(x + high / longest * BARS + 6, y + 11, _figure(median)))
        top += HEAD + len(bars) * ROW + 14
    x = MARGIN
    legend = []
    for role, name in (("mk", "mk"), ("limit", "limit of the machine"), ("neighbour", "neighbours")):
        legend.append(
            f'<rect class="{role}" x="{x}" y="{MARGIN}" width="12" height="12"/>' + _text(x + 18, MARGIN + 11, name)
        )
        x += 40 + 7 * len(name)
    legend.append(_text(x, MARGIN + 11, f"{results['machine']}, {results['kernel']}", "note"))
    size = f'width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}"'
    ground = f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{top - 1}" rx="6"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f"<style>{STYLE}</style>",
            ground,
            *legend,
            *parts,
            "</svg>",
            "",
        ]
    )


def _bars(results: dict[str, Any], panel: Panel) -> list[tuple[str, str, float, float, float]]:
    """Return name, role, median, minimum and maximum of each way of a workload."""
    bars = []
    for row in results["workloads"].get(panel.workload, {"rows": []})["rows"]:
        if "failure" in row or (panel.measure == "rate" and "records" not in row):
            continue
        values = row["measures"]["seconds" if panel.measure == "rate" else panel.measure]
        if panel.measure == "rate":
            values = [row["records"] / seconds / 1e6 for seconds in values]
        elif panel.measure == "seconds":
            values = [seconds * 1000 for seconds in values]
        bars.append((row["name"], row["role"], statistics.median(values), min(values), max(values)))
    return bars


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
