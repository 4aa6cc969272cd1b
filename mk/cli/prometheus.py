"""Metrics in the text exposition format of Prometheus, from the document of `mk check`. Pure: a document in, text out.

Gauges only: what is there now. Names begin with mk_ and end with their unit; times are seconds since 1970. Each has the label
`directory`, so that the files of several directories may lie beside each other. No timestamps, which the textfile collector
of node_exporter refuses. Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from mk.maintenance.thresholds import STATUS_CODES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Document = dict[str, Any]
    Sample = tuple[str, Mapping[str, object], float]

_HELP = {
    "mk_up": "Whether the log directory could be looked at.",
    "mk_check_status": "What mk check says: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
    "mk_check_time_seconds": "When it was looked at.",
    "mk_disk_free_bytes": "Free space of the disk for those who are not root.",
    "mk_disk_size_bytes": "Size of the disk.",
    "mk_clock_believed": "0 while the clock is not believed after a leap, and nothing is removed by age.",
    "mk_failed_partitions": "Partitions that take no writes (FAILED).",
    "mk_damaged_files": "Files that are missing or cannot be read.",
    "mk_quarantine_files": "Files in quarantine/, by whether they are salvaged.",
    "mk_quarantine_bytes": "Size of the files in quarantine/, by whether they are salvaged.",
    "mk_topic_partitions": "Partitions of a topic.",
    "mk_topic_sealed": "Whether a topic takes no more records.",
    "mk_topic_min_free_bytes": "Free space that producers to a topic must leave.",
    "mk_partition_log_start_offset": "First offset of a partition.",
    "mk_partition_high_watermark": "Offset behind the last record of a partition.",
    "mk_partition_leader": "Whether this directory leads a partition.",
    "mk_partition_leader_epoch": "Leader epoch of a partition, of which promotions count in the upper 32 bits.",
    "mk_partition_failed": "Whether a partition takes no writes (FAILED).",
    "mk_partition_segments": "Segments of a partition.",
    "mk_partition_size_bytes": "Size of the segments of a partition.",
    "mk_partition_last_write_time_seconds": "When a partition was last written to.",
    "mk_partition_max_record_time_seconds": "Latest time of the records in the newest segment of a partition.",
    "mk_group_members": "Members of a group that live.",
    "mk_group_stale_members": "Members of a group that are stopped, hang, or were fenced for it.",
    "mk_group_dead_members": "Files that killed members of a group have left.",
    "mk_group_committed_offset": "Offset that a group has committed.",
    "mk_group_lag_records": "Records that a group is behind.",
    "mk_group_missed_records": "Records that went before a group had read them.",
    "mk_group_commit_time_seconds": "When a group last committed.",
    "mk_replica_next_offset": "Where the log of another directory ended when it was seen last; role is its own.",
    "mk_replica_lag_records": "Records that the follower of the two lacked when it was seen last.",
    "mk_replica_seen_time_seconds": "When another directory was seen last.",
    "mk_replica_gap_records": "Records of another directory that never came here.",
}


def exposition(document: Document) -> str:
    """Return the metrics of a log directory."""
    return _text(document["directory"], [*_of_directory(document), *_of_topics(document), *_of_others(document)])


def exposition_of_failure(directory: str) -> str:
    """Return the metrics of a log directory that could not be looked at."""
    return _text(directory, [("mk_up", {}, 0), ("mk_check_status", {}, STATUS_CODES["UNKNOWN"])])


def _of_directory(document: Document) -> Iterator[Sample]:
    yield "mk_up", {}, 1
    yield "mk_check_status", {}, document["status_code"]
    yield "mk_check_time_seconds", {}, document["time_ms"] / 1000
    if document["disk"] is not None:
        yield "mk_disk_free_bytes", {}, document["disk"]["free_bytes"]
        yield "mk_disk_size_bytes", {}, document["disk"]["size_bytes"]
    if document["clock"] is not None:
        yield "mk_clock_believed", {}, document["clock"]["believed"]
    yield "mk_failed_partitions", {}, sum(row["failed"] for row in document["partitions"])
    yield "mk_damaged_files", {}, len(document["damage"])
    if document["quarantine"] is not None:
        for salvaged in (False, True):
            some = [one for one in document["quarantine"] if one["salvaged"] == salvaged]
            labels = {"salvaged": "true" if salvaged else "false"}
            yield "mk_quarantine_files", labels, len(some)
            yield "mk_quarantine_bytes", labels, sum(one["size_bytes"] for one in some)


def _of_topics(document: Document) -> Iterator[Sample]:
    for topic in document["topics"]:
        labels = {"topic": topic["topic"]}
        yield "mk_topic_partitions", labels, topic["partitions"]
        yield "mk_topic_sealed", labels, topic["sealed"]
        yield "mk_topic_min_free_bytes", labels, topic["min_free_bytes"]
    for row in document["partitions"]:
        labels = {"topic": row["topic"], "partition": row["partition"]}
        for metric, name in (
            ("mk_partition_log_start_offset", "log_start_offset"),
            ("mk_partition_high_watermark", "high_watermark"),
            ("mk_partition_leader", "leads"),
            ("mk_partition_leader_epoch", "leader_epoch"),
            ("mk_partition_failed", "failed"),
            ("mk_partition_segments", "segments"),
            ("mk_partition_size_bytes", "size_bytes"),
        ):
            if row[name] is not None:
                yield metric, labels, row[name]
        yield from _time("mk_partition_last_write_time_seconds", labels, row["last_write_ms"])
        yield from _time("mk_partition_max_record_time_seconds", labels, row["max_timestamp_ms"])


def _of_others(document: Document) -> Iterator[Sample]:
    for group in document["groups"]:
        labels = {"group": group["group"]}
        yield "mk_group_members", labels, group["members"]
        yield "mk_group_stale_members", labels, len(group["stale_members"])
        yield "mk_group_dead_members", labels, group["dead_members"]
        for row in group["offsets"]:
            if row["topic"] is None:
                continue
            labels = {"group": group["group"], "topic": row["topic"], "partition": row["partition"]}
            if row["committed_offset"] is not None:
                yield "mk_group_committed_offset", labels, row["committed_offset"]
            if row["lag"] is not None:
                yield "mk_group_lag_records", labels, row["lag"]
                yield "mk_group_missed_records", labels, row["missed"]
            yield from _time("mk_group_commit_time_seconds", labels, row["committed_ms"])
    for replica in document["replicas"]:
        for row in replica["partitions"]:
            labels = {
                "replica": replica["address"] or replica["directory_id"],
                "directory_id": replica["directory_id"],
                "role": replica["role"],
                "topic": row["topic"],
                "partition": row["partition"],
            }
            yield "mk_replica_next_offset", labels, row["next_offset"]
            yield "mk_replica_lag_records", labels, row["lag"]
            yield from _time("mk_replica_seen_time_seconds", labels, row["seen_ms"])
    gaps: dict[tuple[str, str, int], int] = {}
    for gap in document["gaps"]:
        key = gap["directory_id"], gap["topic"], gap["partition"]
        gaps[key] = gaps.get(key, 0) + gap["records"]
    for (directory_id, name, partition), records in gaps.items():
        labels = {"directory_id": directory_id, "topic": name, "partition": partition}
        yield "mk_replica_gap_records", labels, records


def _time(metric: str, labels: Mapping[str, object], time_ms: int | None) -> Iterator[Sample]:
    if time_ms:
        yield metric, labels, time_ms / 1000


def _text(directory: str, samples: list[Sample]) -> str:
    by_metric: dict[str, list[str]] = {}
    for metric, labels, value in samples:
        written = ",".join(
            f'{name}="{_escaped(str(text))}"' for name, text in {"directory": directory, **labels}.items()
        )
        by_metric.setdefault(metric, []).append(f"{metric}{{{written}}} {_number(value)}\n")
    return "".join(
        f"# HELP {metric} {text}\n# TYPE {metric} gauge\n{''.join(by_metric[metric])}"
        for metric, text in _HELP.items()
        if metric in by_metric
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
