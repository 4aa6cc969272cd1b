#!/usr/bin/env python3
"""Make the README's table and the picture of a run's results.

    python benchmarks/report.py [FILE]

Without FILE it takes the newest of benchmarks/results. The picture goes beside it, and the table into README.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from targets import TARGETS, Target, is_met, measured

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- speed -->\n", "<!-- end of speed -->\n"


def newest() -> Path:
    return max(RESULTS.glob("20*.json"))


def show(value: float | None, unit: str = "") -> str:
    """Return a figure with two significant places, or three from 1 on."""
    if value is None:
        return "–"
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{text} {unit}".strip() if unit != "×" else f"{text} ×"


def name_of(target: Target) -> str:
    return target.way or "the worst of all bulk paths"


NOUNS = {
    "seconds": "time",
    "rate": "records a second",
    "peak_bytes": "peak memory",
    "p50_ms": "record to reader, median",
    "p99_ms": "record to reader, 99th percentile",
    "cpu_percent": "processor, nothing coming",
    "records_per_second": "records a second, in sum",
    "fastest_to_slowest": "fastest to slowest of them",
}


def verdict(value: float | None, target: Target) -> str:
    """Return how far a target is reached: "met", "beyond" its stretch, "missed", or "not measured"."""
    if value is None:
        return "not measured"
    if target.stretch is not None and is_met(value, target.stretch, more=target.more):
        return "beyond"
    return "met" if is_met(value, target.target, more=target.more) else "missed"


def rows_of(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return for each target: what, measured in, beside what, figure, target, stretch, verdict."""
    rows: list[tuple[str, ...]] = []
    for target in TARGETS:
        value = measured(results, target)
        sign = "≥" if target.more else "≤"
        beside = f"{target.beside}, beyond it" if target.difference else target.beside
        stretch = "" if target.stretch is None else f"{sign} {show(target.stretch)}"
        wanted = f"{sign} {show(target.target)}"
        figure = show(value, target.unit)
        rows.append((name_of(target), NOUNS[target.measure], beside, figure, wanted, stretch, verdict(value, target)))
    return rows


def summary(results: dict[str, Any]) -> str:
    """Return the targets of the workloads in `results` as lines of text."""
    lines = ["measured  target   stretch"]
    for target, row in zip(TARGETS, rows_of(results)):
        if target.workload in results["workloads"]:
            what, noun, beside, figure, wanted, stretch, said = row
            beside = f" beside {beside}" if beside else ""
            lines.append(f"{figure:<22} {wanted:<8} {stretch:<8} {said:<12} {noun}: {what}{beside}")
    return "\n".join(lines)


def table(results: dict[str, Any]) -> str:
    """Return the targets as Markdown, and below it where and when they were measured."""
    lines = ["| what | measured in | beside | figure | target | stretch |", "|---|---|---|---|---|---|"]
    for what, noun, beside, figure, wanted, stretch, said in rows_of(results):
        figure = f"**{figure}**, missed" if said == "missed" else figure
        name, comma, rest = beside.partition(", beyond it")
        what, beside = _code(what), _code(name) + comma + rest
        lines.append(f"| {what} | {noun} | {beside} | {figure} | {wanted} | {stretch} |")
    return "\n".join([*lines, "", _caption(results)])


def _code(text: str) -> str:
    """Return a command as code, fit for a cell; words as they are."""
    return text if not text or text.startswith("the ") else "`" + text.replace("|", "\\|") + "`"


def _caption(results: dict[str, Any]) -> str:
    workloads = results["workloads"].values()
    days = sorted({str(one["date"])[:10] for one in workloads})
    commits = sorted({str(one["commit"]) for one in workloads})
    lines = sorted({one["lines"] for one in workloads})
    versions = [
        f"{key} {one[key]}"
        for one in results["neighbours"].values()
        if isinstance(one, dict)
        for key in one
        if key in VERSIONS
    ]
    return (
        f"{' and '.join(days)}, commit {' and '.join(commits)}; {' and '.join(f'{count:,}' for count in lines)} lines of about"
        f" 100 bytes;\n{results['machine']}; {results['kernel']}, {results['file_system']}; Python {results['python']};"
        f" {', '.join(versions)}."
    )


VERSIONS = ("kafka", "kcat", "librdkafka", "confluent-kafka", "redis", "nats")


def section(results: dict[str, Any], name: str) -> str:
    """Return what stands between the marks in the README. name: of the file of results, without its ending."""
    path = f"benchmarks/results/{name}"
    picture = f"![Records a second of mk, of the machine's limits and of its neighbours]({path}.svg)"
    return f"{BEGIN}{picture}\n\n{table(results)}\n\nAll of it, with minima and maxima, is in `{path}.json`.\n"


def main() -> int:
    from plot import picture

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else newest()
    results = json.loads(path.read_text())
    path.with_suffix(".svg").write_text(picture(results))
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(before + section(results, path.stem) + END + rest.partition(END)[2], encoding="utf-8")
    print(f"{path.with_suffix('.svg')} and {README}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
