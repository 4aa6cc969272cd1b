"""From two looks at a log directory to what `mk top` shows: rates are differences of what was seen over the time between. Pure.

A rate is None where it cannot be told: of the first look, of what was not there before, of what was cut or reset between, and of
a group that has not committed between them but did shortly before.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Document = dict[str, Any]

_DECIMALS = 3
_LEAST_SECONDS = 0.001
"""What a time of commits in milliseconds can tell."""

_BETWEEN_COMMITS_MS = 6000
"""Members commit every 5 s. Counted by looks that come oftener, a group that keeps up stands still in most of them, and falls behind."""


class GroupLook:
    """What is kept of a look to rate groups by: when it was, and what they had committed."""

    __slots__ = ("clock_ms", "groups", "rows", "time_ms")

    def __init__(self, sample: Document) -> None:
        self.clock_ms: float = sample.get("clock_ms", 0.0)
        self.time_ms: int = sample.get("time_ms", 0)
        self.groups = {group["group"] for group in sample["groups"] or ()}
        self.rows: dict[tuple[str, str, int], Document] = {
            (group["group"], row["topic_id"], row["partition"]): row
            for group in sample["groups"] or ()
            for row in group["offsets"]
        }


def rated(before: Document | None, now: Document, location: str, *, earlier: Sequence[GroupLook] = ()) -> Document:
    """Return what was seen last with its rates since `before`, as `mk top --once --json` prints it; both from Cluster.sample.

    earlier: looks since which groups are rated, the oldest first; without any, since `before`.
    """
    seconds = (now["clock_ms"] - before["clock_ms"]) / 1000 if before is not None else 0.0
    if before is None or seconds <= 0:
        before, seconds = {"topics": [], "groups": [], "replicas": []}, 1.0
        elapsed_ms = None
    else:
        elapsed_ms = round(seconds * 1000, _DECIMALS)
    groups = None
    if now["groups"] is not None:
        looks = earlier if earlier and elapsed_ms is not None else [GroupLook(before)]
        groups = [_group(group, looks, now) for group in now["groups"]]
    is_first = elapsed_ms is None
    out = None if groups is None or is_first else _out_of_topics(groups)
    topics = {topic["topic_id"]: topic for topic in before["topics"] if topic["topic_id"]}
    replicas = {(one["directory_id"], one["role"]): one for one in before["replicas"]}
    return {
        "directory": location,
        "directory_id": now["directory_id"],
        "time_ms": now["time_ms"],
        "elapsed_ms": elapsed_ms,
        "topics": [_topic(topic, topics.get(topic["topic_id"]), out, seconds) for topic in now["topics"]],
        "groups": groups,
        "replicas": [
            _replica(one, replicas.get((one["directory_id"], one["role"])), seconds) for one in now["replicas"]
        ],
        "unseen": now["unseen"],
    }


def _topic(now: Document, before: Document | None, out: dict[str, float | None] | None, seconds: float) -> Document:
    rows = {row["partition"]: row for row in before["partitions"]} if before is not None else {}
    partitions = [_partition(row, rows.get(row["partition"]), seconds) for row in now["partitions"]]
    sound = [row for row in partitions if row["problem"] is None]
    sizes = [row["size_bytes"] for row in sound]
    problem = now["problem"]
    if problem is None:
        problem = next(
            (f"partition {row['partition']}: {row['problem']}" for row in partitions if row["problem"]), None
        )
    # Of none that can be read, nothing is known; of some, what they have.
    is_readable = now["problem"] is None and (bool(sound) or not partitions)
    return {
        "topic": now["topic"],
        "topic_id": now["topic_id"],
        "partition_count": len(partitions) if now["problem"] is None else None,
        "records": sum(row["records"] for row in sound) if is_readable else None,
        "size_bytes": sum(sizes) if is_readable and None not in sizes else None,
        "last_write_ms": max((row["last_write_ms"] or 0 for row in sound), default=0) or None,
        "records_in_per_s": _sum(row["records_in_per_s"] for row in sound)
        if before is not None and is_readable
        else None,
        "bytes_in_per_s": _sum(row["bytes_in_per_s"] for row in sound) if before is not None and is_readable else None,
        "records_out_per_s": None if out is None or not is_readable else out.get(now["topic_id"], 0.0),
        "problem": problem,
        "partitions": partitions,
    }


def _partition(now: Document, before: Document | None, seconds: float) -> Document:
    records = size_bytes = None
    if before is not None and before["run"] == now["run"] and before["problem"] is None and now["problem"] is None:
        records = _rate(now["high_watermark"] - before["high_watermark"], seconds)
        if now["appended_bytes"] is not None:  # A Kafka cluster does not tell.
            size_bytes = _rate(now["appended_bytes"] - before["appended_bytes"], seconds)
    is_known = now["problem"] is None
    return {
        "partition": now["partition"],
        "leader": now["leader"],
        "leader_epoch": now["leader_epoch"],
        "log_start_offset": now["log_start_offset"],
        "high_watermark": now["high_watermark"],
        "records": now["high_watermark"] - now["log_start_offset"] if is_known else None,
        "size_bytes": now["size_bytes"],
        "last_write_ms": now["last_write_ms"],
        "records_in_per_s": records,
        "bytes_in_per_s": size_bytes,
        "failed": now["failed"],
        "problem": now["problem"],
        **{name: now[name] for name in ("replicas", "isr") if name in now},
    }


def _group(now: Document, looks: Sequence[GroupLook], at: Document) -> Document:
    is_known = any(now["group"] in look.groups for look in looks)
    offsets = [_offset(now["group"], row, looks, at) for row in now["offsets"]]
    told = [row for row in offsets if row["lag"] is not None]
    problem = now["problem"]
    if problem is None:
        problem = next(
            (f"partition {row['partition']} of {row['topic']}: {row['problem']}" for row in offsets if row["problem"]),
            None,
        )
    return {
        "group": now["group"],
        "member_count": len(now["members"]),
        "topics": list(dict.fromkeys(row["topic"] for row in offsets)),
        "lag": now["lag"],
        "lag_change_per_s": _sum(row["lag_change_per_s"] for row in told) if told and is_known else None,
        "records_out_per_s": _sum(row["records_out_per_s"] for row in told) if is_known else None,
        "last_commit_ms": now["last_commit_ms"],
        "problem": problem,
        "members": now["members"],
        "offsets": offsets,
    }


def _offset(group: str, now: Document, looks: Sequence[GroupLook], at: Document) -> Document:
    change = out = None
    for look in looks:
        before = look.rows.get((group, now["topic_id"], now["partition"]))
        if before is not None and _goes_on(before, now):
            out, change = _out_and_change(before, look, now, at)
            break
    return {
        "topic": now["topic"],
        "topic_id": now["topic_id"],
        "partition": now["partition"],
        "committed_offset": now["committed_offset"],
        "committed_ms": now["committed_ms"],
        "lag": now["lag"],
        "lag_change_per_s": change,
        "records_out_per_s": out,
        "is_replicated": now["is_replicated"],
        "member": now["member"],
        "problem": now["problem"],
    }


def _goes_on(before: Document, now: Document) -> bool:
    """Tell whether what was committed since is what there is more: it was not set back, or committed for the first time."""
    was, committed = before["committed_offset"], now["committed_offset"]
    if was is None or committed is None:
        return was is committed
    return bool(was <= committed)


def _out_and_change(
    before: Document, look: GroupLook, now: Document, at: Document
) -> tuple[float | None, float | None]:
    """Return how many records a second were committed since a look, and by how many a second the lag grew."""
    seconds = (at["clock_ms"] - look.clock_ms) / 1000
    if seconds <= 0:
        return None, None
    lags_are_known = before["lag"] is not None and now["lag"] is not None
    if now["committed_offset"] is None:
        return 0.0, _rate(now["lag"] - before["lag"], seconds) if lags_are_known else None
    read = now["committed_offset"] - before["committed_offset"]
    age_ms = _age_ms(now, at["time_ms"])
    if not read and age_ms and before["committed_ms"] == now["committed_ms"]:
        return None, None  # It is the commit that was there before: the next one tells.
    working = seconds + (_age_ms(before, look.time_ms) - age_ms) / 1000
    out = _rate(read, working if working >= _LEAST_SECONDS else seconds)
    if not lags_are_known:
        return out, None
    if before["problem"] or now["problem"]:
        return out, _rate(now["lag"] - before["lag"], seconds)
    end_moved = now["lag"] + now["committed_offset"] - before["lag"] - before["committed_offset"]
    return out, round(_rate(end_moved, seconds) - out, _DECIMALS)


def _age_ms(row: Document, time_ms: int) -> int:
    """Return how long before a look the last commit was, if that is what its offset stands for: 0 if it stands for the look.

    It does where there was nothing more to commit, or has not been for so long that nobody is at work.
    """
    age_ms = time_ms - (row["committed_ms"] or 0)
    return age_ms if row["lag"] and 0 <= age_ms <= _BETWEEN_COMMITS_MS else 0


def _out_of_topics(groups: list[Document]) -> dict[str, float | None]:
    """Return of each topic how many records all groups together committed in it."""
    found: dict[str, list[float | None]] = {}
    for group in groups:
        for row in group["offsets"]:
            if row["problem"] is None or row["records_out_per_s"] is not None:
                found.setdefault(row["topic_id"], []).append(row["records_out_per_s"])
    return {topic_id: _sum(rates) for topic_id, rates in found.items()}


def _replica(now: Document, before: Document | None, seconds: float) -> Document:
    change = None
    if before is not None and before["lag"] is not None and now["lag"] is not None:
        change = _rate(now["lag"] - before["lag"], seconds)
    return {
        "directory_id": now["directory_id"],
        "address": now["address"],
        "role": now["role"],
        "partition_count": len(now["partitions"]),
        "lag": now["lag"],
        "lag_change_per_s": change,
        "seen_ms": now["seen_ms"],
        "partitions": now["partitions"],
    }


def _rate(difference: int, seconds: float) -> float:
    return round(difference / seconds, _DECIMALS)


def _sum(rates: Iterable[float | None]) -> float | None:
    """Return the sum, None if one of them is not known: what is left out would look like less."""
    total = 0.0
    for rate in rates:
        if rate is None:
            return None
        total += rate
    return round(total, _DECIMALS)
