"""From the facts of a log directory's health to the values that thresholds are about, each with a line for people. Pure."""

from __future__ import annotations

from mk.errors import UsageError
from mk.maintenance.thresholds import DIRECTORY, GROUP, STATUS_CODES, THRESHOLDS, TOPIC, Limits, Measure, judge, worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]


def judged(
    facts: Document,
    *,
    topics: Sequence[str] = (),
    groups: Sequence[str] = (),
    warn: Mapping[str, object] | None = None,
    crit: Mapping[str, object] | None = None,
) -> Document:
    """Return the facts with `status`, `status_code` and `checks` in front of them: a verdict on each thing that is judged.

    topics, groups: those that were named. Where some are, what is about all of the directory is judged only if a limit of
    it is given; where groups are and no topics, what is about topics is not.

    Raises UsageError for limits that cannot be.
    """
    limits = Limits(warn or {}, crit or {})
    scopes = {DIRECTORY, TOPIC, GROUP}
    if topics:
        scopes = {TOPIC, GROUP}
    if groups:
        scopes = {GROUP}
    if groups and not topics:
        # Of the topics, only what the groups have claimed was looked at.
        for name in sorted(limits.asked):
            if THRESHOLDS[name].scope == TOPIC and name != "damage":
                raise UsageError(f"{name} means nothing to groups", why="it is about topics", fix="name the topics too")
    chosen = {name for name, threshold in THRESHOLDS.items() if threshold.scope in scopes} | {"damage"} | limits.asked
    measures = [measure for measure in _measures(facts) if measure.name in chosen]
    unseen = {one["what"]: one["why"] for one in facts["unseen"]}
    verdicts = judge(measures, limits, unseen)
    status = worst(verdict.status for verdict in verdicts)
    return {
        "status": status,
        "status_code": STATUS_CODES[status],
        "checks": [verdict.document() for verdict in verdicts],
        **facts,
    }


def _measures(facts: Document) -> Iterator[Measure]:
    yield from _of_partitions(facts)
    yield from _of_damage(facts)
    for group in facts["groups"]:
        yield from _of_group(group)
    yield from _of_replicas(facts)
    if facts["quarantine"] is not None:
        yield _of_quarantine(facts["quarantine"])
    yield from _of_disk(facts)
    yield from _of_topics(facts)
    if facts["clock"] is not None:
        yield _of_clock(facts["clock"])


def _of_partitions(facts: Document) -> Iterator[Measure]:
    failed = [
        f"partition {row['partition']} of {row['topic']} takes no writes: the disk refused a sync and a new segment too (FAILED)"
        for row in facts["partitions"]
        if row["failed"]
    ]
    yield _several("failed", failed, "partitions take no writes (FAILED)", "no partition has failed")


def _of_damage(facts: Document) -> Iterator[Measure]:
    found = [f"{one['path']}: {one['found']}" for one in facts["damage"]]
    yield _several(
        "damage", found, "files are missing or cannot be read", "every state, epochs and topic.json can be read"
    )


def _several(name: str, details: list[str], many: str, none: str) -> Measure:
    text = none
    if details:
        text = details[0] if len(details) == 1 else f"{len(details)} {many}"
    return Measure(name, len(details), text, details=details if len(details) > 1 else ())


def _of_group(group: Document) -> Iterator[Measure]:
    name = group["group"]
    subject = {"group": name}
    if group["lag"] is not None:
        by_topic: dict[str, int] = {}
        for row in group["offsets"]:
            if row["lag"] is not None:
                by_topic[row["topic"]] = by_topic.get(row["topic"], 0) + row["lag"]
        topic = max(by_topic, key=lambda one: by_topic[one])
        text = f"{name} is {_counted(group['lag'], 'record')} behind"
        if len(by_topic) == 1 or by_topic[topic] == group["lag"]:
            text += f" in {topic}"
        else:
            text += f", {by_topic[topic]} of them in {topic}"
        yield Measure("lag", group["lag"], text, subject)
        row = max((row for row in group["offsets"] if row["lag"] is not None), key=lambda row: row["lag"])
        text = f"{name} is {_counted(row['lag'], 'record')} behind in partition {row['partition']} of {row['topic']}"
        yield Measure(
            "partition-lag", row["lag"], text, {**subject, "topic": row["topic"], "partition": row["partition"]}
        )
    details = [
        f"{_counted(row['missed'], 'record')} of partition {row['partition']} of {row['topic']} went before {name} had read them"
        for row in group["offsets"]
        if row["missed"]
    ]
    text = (
        details[0] if len(details) == 1 else f"{_counted(group['missed'], 'record')} went before {name} had read them"
    )
    yield Measure("missed", group["missed"], text, subject, details=details if len(details) > 1 else ())
    yield Measure("members", group["members"], f"{name} has {_counted(group['members'], 'member')}", subject)
    stale = [f"{one} is a member of {name} and does not move" for one in group["stale_members"]]
    few = f"no member of {name} is stopped"
    yield _of_subject(_several("stale-members", stale, f"members of {name} do not move", few), subject)
    dead = group["dead_members"]
    yield Measure("dead-members", dead, f"killed members of {name} have left {_counted(dead, 'file')}", subject)


def _of_subject(measure: Measure, subject: Mapping[str, object]) -> Measure:
    measure.subject = dict(subject)
    return measure


def _of_topics(facts: Document) -> Iterator[Measure]:
    for topic in facts["topics"]:
        subject = {"topic": topic["topic"]}
        if topic["last_write_ms"] is not None:
            idle_ms = max(0, facts["time_ms"] - topic["last_write_ms"])
            yield Measure(
                "idle", idle_ms, f"nothing was written to {topic['topic']} for {duration_text(idle_ms)}", subject
            )
        if topic["max_timestamp_ms"] is not None:
            ahead_ms = max(0, topic["max_timestamp_ms"] - facts["time_ms"])
            text = f"records of {topic['topic']} are dated {duration_text(ahead_ms)} ahead of the clock"
            yield Measure("future", ahead_ms, text, subject)


def _of_replicas(facts: Document) -> Iterator[Measure]:
    for replica in facts["replicas"]:
        place = replica["address"] or replica["directory_id"]
        subject = {"directory_id": replica["directory_id"], "address": replica["address"], "role": replica["role"]}
        worst_row = max(replica["partitions"], key=lambda row: row["lag"])
        lacks = f"{_counted(replica['lag'], 'record')}"
        if replica["lag"]:
            lacks += f", {worst_row['lag']} of them in partition {worst_row['partition']} of {worst_row['topic']}"
        oldest = min(replica["partitions"], key=lambda row: row["seen_ms"])
        age_ms = max(0, facts["time_ms"] - replica["seen_ms"])
        if replica["role"] == "follower":
            lag_text, who = f"the copy at {place} lacked {lacks}", f"the copy at {place}"
        else:
            lag_text, who = f"this copy lacks {lacks} that the leader at {place} had", f"the leader at {place}"
        yield Measure("replica-lag", replica["lag"], lag_text, subject)
        age_text = (
            f"{who} was seen last {duration_text(age_ms)} ago, in partition {oldest['partition']} of {oldest['topic']}"
        )
        yield Measure("replica-age", age_ms, age_text, subject)


def _of_quarantine(quarantined: list[Document]) -> Measure:
    names = [f"quarantine/{one['name']} is not salvaged" for one in quarantined if not one["salvaged"]]
    return _several(
        "quarantine", names, "files in quarantine/ are not salvaged", "nothing in quarantine/ is to be salvaged"
    )


def _of_disk(facts: Document) -> Iterator[Measure]:
    disk = facts["disk"]
    if disk is None:
        return
    free, size = disk["free_bytes"], disk["size_bytes"]
    text = f"{size_text(free)} of {size_text(size)} are free ({percent_text(free, size)})"
    yield Measure("disk-free", free, text, whole=size)
    by_reserve: dict[int, list[str]] = {}
    for topic in facts["topics"]:
        if topic["leads"] and not topic["sealed"] and topic["min_free_bytes"]:
            by_reserve.setdefault(topic["min_free_bytes"], []).append(topic["topic"])
    for reserve, topics in sorted(by_reserve.items(), reverse=True):
        which = topics[0] if len(topics) == 1 else f"{topics[0]} and {len(topics) - 1} more"
        above = free - reserve
        if above > 0:
            text = f"{size_text(above)} are free above min.free ({size_text(reserve)}) of {which}"
        else:
            text = f"producers to {which} are refused: {size_text(free)} are free, and min.free is {size_text(reserve)}"
        yield Measure("reserve", above, text, {"topics": topics})


def _of_clock(seen: Document) -> Measure:
    if seen["believed"]:
        return Measure("clock", 0, "the clock is believed")
    text = "the clock has leapt: nothing is removed by age until it has run evenly for a day"
    return Measure("clock", 1, f"{text}, and it has for {duration_text(seen['steady_ms'])}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration_text(milliseconds: int) -> str:
    """Return a time as people read it."""
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if milliseconds >= size:
            return f"{milliseconds / size:.3g} {unit}"
    return f"{milliseconds / 1000:.3g} s"


def size_text(size_bytes: int) -> str:
    """Return a number of bytes as people read it."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def percent_text(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %"
