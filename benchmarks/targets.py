"""What mk is to reach: each target with what it is measured in and beside, and how it is worked out of a run's results."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple


class Target(NamedTuple):
    """One figure to reach.

    way: its name in the workload; empty for the worst of all that are mk's. beside: the way that it is compared with; empty
    for a figure of its own. measure: what is compared; of "seconds", those for each record where records are counted.
    unit: "×" for a ratio, else that of the figure after `scale`. more: the larger the better. stretch: what would be great.
    difference: what it takes more than `beside`, and not a ratio.
    """

    workload: str
    way: str
    beside: str
    target: float
    stretch: float | None = None
    measure: str = "seconds"
    unit: str = "×"
    scale: float = 1
    more: bool = False
    difference: bool = False


SYNC = "cat f | cat >> log && sync log"
START = "python -I -c pass"
TAIL = "mk produce t, mk consume t -F"
TAIL_KAFKA = "mk produce t, mk consume t -F, kafka://"
SIXTEEN = "16 × mk produce t -v"
SEEK = "mk consume t -o"

TARGETS = [
    Target("bulk-produce", "cat f | mk produce t", SYNC, 3.0, 2.2),
    Target("bulk-produce", "cat f | mk produce t", "cat f | kcat -P", 1 / 3, 1 / 5),
    Target("keyed-produce", "cat f | mk produce k -K TAB", "cat f | kcat -P -K TAB", 1.0, 0.5),
    Target("bulk-consume", "mk consume t | wc -l", "cat f | wc -l", 1.3, 1.0),
    Target("bulk-consume", "mk consume t | wc -l", "kcat -C | wc -l", 1 / 12),
    Target("group-consume", "mk consume t -g g | wc -l", "mk consume t | wc -l", 1.15),
    Target("consume-formats", "mk consume k -f '%k %v\\n' | wc -l", "", 0.4, 1.0, "rate", "M records/s", 1e-6, True),
    Target("consume-formats", "mk consume k -J | wc -l", "", 0.3, 0.7, "rate", "M records/s", 1e-6, True),
    Target("zstd-produce", "cat f | mk produce t -z zstd", "the library compresses", 1.3),
    Target("zstd-consume", "mk consume z | wc -l", "the library decompresses", 1.3),
    Target("cold-start", "mk produce t -k u1 v", START, 2.2, 1.5),
    Target("cold-start", "mk consume t -n 1", START, 2.2, 1.5),
    Target("cold-start", "mk topics --json", START, 3.0),
    Target("latency", TAIL, "", 0.8, 0.4, "p50_ms", "ms"),
    Target("latency", TAIL, "", 5.0, None, "p99_ms", "ms"),
    Target("idle", "mk consume t -F", "", 0.5, None, "cpu_percent", "% of a core"),
    Target("producers", SIXTEEN, "mk produce t -v, alone", 0.4, 1.5, "records_per_second", more=True),
    Target("producers", SIXTEEN, "", 3.0, None, "fastest_to_slowest"),
    Target("partitions", "many partitions: mk produce u v", "few partitions: mk produce u v", 1.2),
    Target("partitions", "many partitions: mk consume u -n 1", "few partitions: mk consume u -n 1", 1.2),
    Target("partitions", "many partitions: mk consume u -n 1 -g g", "few partitions: mk consume u -n 1 -g g", 1.2),
    Target(
        "seek",
        f"many segments: {SEEK} N -n 1",
        f"one segment: {SEEK} 5 -n 1",
        20,
        None,
        "seconds",
        "ms",
        1e3,
        difference=True,
    ),
    Target(
        "seek",
        f"many segments: {SEEK} @TIME -n 1",
        f"one segment: {SEEK} @TIME -n 1",
        20,
        None,
        "seconds",
        "ms",
        1e3,
        difference=True,
    ),
    Target("seek", f"many segments: {SEEK} N -n 1", f"one segment: {SEEK} 5 -n 1", 1.2, None, "peak_bytes"),
    Target("replicate", "mk replicate SRC DST", "cp -r && sync -f", 1.5, 1.1),
    Target("replicate-ssh", "mk replicate SRC HOST:DST", "rsync -e ssh && sync -f", 1.5, 1.1),
    Target("memory", "", "", 60, None, "peak_bytes", "MB", 1e-6),
    Target("kafka-produce", "cat f | mk produce t -d kafka://", "cat f | kcat -P", 0.5, 0.8, "rate", more=True),
    Target("kafka-consume", "mk consume t -d kafka:// | wc -l", "kcat -C | wc -l, tuned", 0.5, 0.8, "rate", more=True),
    Target(
        "kafka-consume",
        "mk consume t -g g -d kafka:// | wc -l",
        "kcat -G g | wc -l, tuned",
        0.5,
        0.8,
        "rate",
        more=True,
    ),
    Target("kafka-replicate-to", "mk replicate SRC kafka://", "kcat -P < f", 0.5, 0.8, "rate", more=True),
    Target(
        "kafka-replicate-from", "mk replicate kafka:// DST", "kcat -C > f && sync f, tuned", 0.5, 0.8, "rate", more=True
    ),
    Target("kafka-produce", "cat f | mk produce t -d kafka://", "cat f | kcat -P", 2.0, None, "peak_bytes"),
    Target("kafka-consume", "mk consume t -d kafka:// | wc -l", "kcat -C | wc -l, tuned", 2.0, None, "peak_bytes"),
    Target("kafka-replicate-to", "mk replicate SRC kafka://", "kcat -P < f", 2.0, None, "peak_bytes"),
    Target(
        "kafka-replicate-from", "mk replicate kafka:// DST", "kcat -C > f && sync f, tuned", 2.0, None, "peak_bytes"
    ),
    Target("kafka-start", "mk produce t -k u1 v -d kafka://", "kcat -P -k u1", 3.0),
    Target("kafka-start", "mk topics -d kafka://", "kcat -L", 3.0),
    Target("kafka-latency", TAIL_KAFKA, "kcat -P, kcat -C -u", 1.0, None, "p50_ms"),
    Target("kafka-latency", TAIL_KAFKA, "kcat -P, kcat -C -u", 1.0, None, "p99_ms"),
]


def measured(results: dict[str, Any], target: Target) -> float | None:
    """Return what a run has of a target's figure, in its unit; None where it, or what it is compared with, was left out."""
    rows = {row["name"]: row for row in results["workloads"].get(target.workload, {"rows": []})["rows"]}
    names = [target.way] if target.way else [name for name, row in rows.items() if row["role"] == "mk"]
    values = [value_of(rows.get(name), target.measure) for name in names]
    if not values or None in values:
        return None
    value = max(one for one in values if one is not None) * target.scale
    if not target.beside:
        return value
    base = value_of(rows.get(target.beside), target.measure)
    if not base:
        return None
    base *= target.scale
    return value - base if target.difference else value / base


def value_of(row: dict[str, Any] | None, measure: str) -> float | None:
    """Return the median of a measure of a row, by the record where records are counted; `rate` is records a second."""
    if row is None or "failure" in row:
        return None
    rate = measure == "rate"
    values = row["measures"].get("seconds" if rate else measure)
    if not values:
        return None
    median = float(statistics.median(values))
    if rate:
        return float(row["records"]) / median
    return median / row.get("records", 1) if measure == "seconds" else median


def is_met(value: float, limit: float, *, more: bool) -> bool:
    return value >= limit if more else value <= limit
