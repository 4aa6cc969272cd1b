"""What a topic looks like from outside, as documents ready for JSON. Read-only, no lock."""

from __future__ import annotations

import os

from mk.clock import now_ms
from mk.config import TOPIC_CONFIG
from mk.errors import CorruptStateError
from mk.storage import files
from mk.storage.leader_epochs import read_epochs
from mk.storage.log_segment import INDEX_SUFFIX, LOG_SUFFIX
from mk.storage.partition_files import FAILED_FILE
from mk.storage.partition_reader import PartitionReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.storage.topic import Topic


_WINDOWS = {"1m": 60, "1h": 3600}
"""What the rates are taken of: name, and length in seconds."""


def offsets(topic: Topic) -> list[dict[str, int]]:
    """Return of each partition where it begins, and up to where it may be read (that offset excluded)."""
    found = []
    for partition in range(topic.partitions):
        reader = PartitionReader(topic, partition)
        try:
            found.append(
                {
                    "partition": partition,
                    "log_start_offset": reader.log_start_offset,
                    "high_watermark": reader.high_watermark,
                    "leader_epoch": reader.leader_epoch,
                }
            )
        finally:
            reader.close()
    return found


def rates(topic: Topic) -> list[dict[str, float]]:
    """Return of each partition how fast it grew in the last minute and the last hour, by the times of its records.

    Looked up in the indexes and not measured: it costs a few reads a partition. Records that a producer dated otherwise
    count where they were dated.
    """
    now = now_ms()
    found = []
    for partition in range(topic.partitions):
        entry: dict[str, float] = {}
        reader = PartitionReader(topic, partition)
        try:
            for window, seconds in _WINDOWS.items():
                first = max(reader.offset_for_time(now - 1000 * seconds), reader.log_start_offset)
                entry[f"records_per_s_{window}"] = round((reader.high_watermark - first) / seconds, 3)
                entry[f"bytes_per_s_{window}"] = round(reader.size_from(first) / seconds, 3)
        finally:
            reader.close()
        found.append(entry)
    return found


def describe(topic: Topic) -> dict[str, object]:
    """Return a topic's identity, settings and partitions; sizes in bytes, times in ms since the epoch."""
    partitions: list[dict[str, Any]] = []
    for entry in offsets(topic):
        try:
            files_there = _describe_files(topic, entry["partition"])
        except (FileNotFoundError, CorruptStateError):
            topic.check_not_deleted()
            raise
        partitions.append(
            {
                **entry,
                "records": entry["high_watermark"] - entry["log_start_offset"],
                **files_there,
                "last_write_ms": files_there["last_write_ms"] if entry["high_watermark"] else None,
            }
        )
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "directory_id": topic.directory.directory_id,
        "created": topic.created or None,
        "sealed": topic.sealed or None,
        "sealed_by": topic.sealed_by or None,
        "partitioner": topic.partitioner,
        "records": sum(entry["high_watermark"] - entry["log_start_offset"] for entry in partitions),
        "size_bytes": sum(entry["size_bytes"] for entry in partitions),
        "config": {name: topic.config(name) for name in sorted(TOPIC_CONFIG)},
        "overrides": dict(sorted(topic.overrides.items())),
        "partitions": partitions,
    }


def _describe_files(topic: Topic, partition: int) -> dict[str, Any]:
    segments = size_bytes = last_write_ms = 0
    failed = False
    fd = files.open_directory(str(partition), dir_fd=topic.fd)
    try:
        for name in os.listdir(fd):
            failed = failed or name == FAILED_FILE
            if name.endswith((LOG_SUFFIX, INDEX_SUFFIX)):
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # Removed while we looked.
                size_bytes += status.st_size
                if name.endswith(LOG_SUFFIX):
                    segments += 1
                    last_write_ms = max(last_write_ms, status.st_mtime_ns // 1_000_000)
        leader = read_epochs(fd, f"{topic.path}/{partition}").latest.leader_id
    finally:
        files.close(fd)
    return {
        "leader": leader,
        "segments": segments,
        "size_bytes": size_bytes,
        "last_write_ms": last_write_ms,
        "failed": failed,
    }
