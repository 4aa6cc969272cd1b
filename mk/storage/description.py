"""What a topic looks like from outside, as documents ready for JSON. Read-only, no lock."""

from __future__ import annotations

import os

from mk.config import TOPIC_CONFIG
from mk.storage.leader_epochs import read_epochs
from mk.storage.log_segment import INDEX_SUFFIX, LOG_SUFFIX
from mk.storage.partition_files import FAILED_FILE
from mk.storage.partition_reader import PartitionReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.storage.topic import Topic


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


def describe(topic: Topic) -> dict[str, object]:
    """Return a topic's identity, settings and partitions; sizes in bytes, times in ms since the epoch."""
    partitions: list[dict[str, Any]] = []
    for entry in offsets(topic):
        path = f"{topic.path}/{entry['partition']}"
        segments = size_bytes = last_write_ms = 0
        failed = False
        for file in os.scandir(path):
            failed = failed or file.name == FAILED_FILE
            if file.name.endswith((LOG_SUFFIX, INDEX_SUFFIX)):
                try:
                    status = file.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # Removed while we looked.
                size_bytes += status.st_size
                if file.name.endswith(LOG_SUFFIX):
                    segments += 1
                    last_write_ms = max(last_write_ms, status.st_mtime_ns // 1_000_000)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            leader = read_epochs(fd, path).latest.leader_id
        finally:
            os.close(fd)
        partitions.append(
            {
                **entry,
                "leader": leader,
                "segments": segments,
                "size_bytes": size_bytes,
                "last_write_ms": last_write_ms if entry["high_watermark"] else None,
                "failed": failed,
            }
        )
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "partitioner": topic.partitioner,
        "records": sum(entry["high_watermark"] - entry["log_start_offset"] for entry in partitions),
        "size_bytes": sum(entry["size_bytes"] for entry in partitions),
        "config": {name: topic.config(name) for name in sorted(TOPIC_CONFIG)},
        "overrides": dict(sorted(topic.overrides.items())),
        "partitions": partitions,
    }
