"""What a topic looks like from outside, as documents ready for JSON. Read-only, no lock."""

from __future__ import annotations

import os

from mk.clock import now_ms
from mk.config import TOPIC_CONFIG
from mk.errors import CorruptStateError
from mk.storage import files
from mk.storage.host import boot_id
from mk.storage.leader_epochs import read_epochs
from mk.storage.log_directory import REPLICAS
from mk.storage.log_segment import INDEX_SUFFIX, LOG_SUFFIX, segment_name
from mk.storage.partition_files import FAILED_FILE, STATE_FILE
from mk.storage.partition_reader import PartitionReader
from mk.storage.partition_state import read_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mk.storage.partition_state import PartitionState
    from mk.storage.replica_directory import KnownReplica
    from mk.storage.topic import Topic

_FIRST_SEGMENT = (segment_name(0), segment_name(0, INDEX_SUFFIX))


_MAX_RECOVERIES = (1 << 32) - 1
"""The upper half of a leader epoch counts promotions."""

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
        for tries_left in (2, 1, 0):
            try:
                found.append(_rates(topic, partition, now))
                break
            except FileNotFoundError:
                # A segment was removed between our list of them and our look at it: list again.
                topic.check_not_deleted()
                if not tries_left:
                    raise
    return found


def _rates(topic: Topic, partition: int, now: int) -> dict[str, float]:
    entry: dict[str, float] = {}
    reader = PartitionReader(topic, partition)
    try:
        for window, seconds in _WINDOWS.items():
            first = max(reader.offset_for_time(now - 1000 * seconds), reader.log_start_offset)
            entry[f"records_per_s_{window}"] = round((reader.high_watermark - first) / seconds, 3)
            entry[f"bytes_per_s_{window}"] = round(reader.size_from(first) / seconds, 3)
    finally:
        reader.close()
    return entry


def summarize(topic: Topic) -> dict[str, object]:
    """Return what a list of topics shows of one.

    leads: whether this directory leads all of it. leader: the id of the directory that does, None if several share it.

    For directories of many thousands: what `state` tells is not looked up elsewhere, and nothing is opened twice. So where
    nothing was ever replicated, nor a leader lost, nobody looks who leads.
    """
    records = size_bytes = last_write_ms = 0
    leaders = set()
    is_replicated = files.exists(REPLICAS, dir_fd=topic.directory.fd)
    for partition in range(topic.partitions):
        try:
            fd = files.open_directory(str(partition), dir_fd=topic.fd)
        except (FileNotFoundError, NotADirectoryError):
            PartitionReader(topic, partition).close()  # Says what is the matter.
            continue
        try:
            state = _fresh_state(topic, fd)
            if is_replicated or state is None or state.leader_epoch > _MAX_RECOVERIES:
                leaders.add(read_epochs(fd, f"{topic.path}/{partition}").latest.leader_id)
            else:
                leaders.add(topic.directory.directory_id)
            if state is not None:
                start, end = state.log_start_offset, state.high_watermark
            else:
                reader = PartitionReader(topic, partition)
                start, end = reader.log_start_offset, reader.high_watermark
                reader.close()
            # Segments behind the active one are leftovers, so if that is the first there can be, it is the only one.
            only_one = state is not None and state.segment == 0
            _, size, last_write = _sizes(fd, _FIRST_SEGMENT if only_one else os.listdir(fd))
        finally:
            files.close(fd)
        records += end - start
        size_bytes += size
        if end:
            last_write_ms = max(last_write_ms, last_write)
    return {
        "topic": topic.name,
        "partitions": topic.partitions,
        "records": records,
        "size_bytes": size_bytes,
        "last_write_ms": last_write_ms or None,
        "leads": leaders == {topic.directory.directory_id},
        "leader": leaders.pop() if len(leaders) == 1 else None,
    }


def _fresh_state(topic: Topic, partition_fd: int) -> PartitionState | None:
    """Return a partition's `state` if all it says can be believed as it stands; None leaves it to a PartitionReader."""
    try:
        fd = files.open_file(STATE_FILE, os.O_RDONLY, dir_fd=partition_fd)
    except FileNotFoundError:
        return None
    try:
        state = read_state(fd)
    finally:
        files.close(fd)
    fresh = state is not None and state.boot_id == boot_id() and state.topic_id == topic.topic_id
    return state if fresh else None


def describe(topic: Topic) -> dict[str, object]:
    """Return a topic's identity, settings and partitions; sizes in bytes, times in ms since the epoch."""
    partitions: list[dict[str, Any]] = []
    replicas: list[KnownReplica] = []
    if files.exists(REPLICAS, dir_fd=topic.directory.fd):
        from mk.storage.replica_directory import known_replicas

        replicas = known_replicas(topic.directory)
    for entry in offsets(topic):
        try:
            files_there = _describe_files(topic, entry["partition"])
        except (FileNotFoundError, CorruptStateError):
            topic.check_not_deleted()
            raise
        leader, end = str(files_there["leader"]), entry["high_watermark"]
        copies = []
        if replicas or leader != topic.directory.directory_id:
            from mk.storage.replica_lag import describe_replicas

            copies = describe_replicas(topic, entry["partition"], leader, end, replicas)
        partitions.append(
            {
                **entry,
                "records": entry["high_watermark"] - entry["log_start_offset"],
                **files_there,
                "leader_address": next((copy["address"] for copy in copies if copy["role"] == "leader"), None),
                "replicas": copies,
                "last_write_ms": files_there["last_write_ms"] if entry["high_watermark"] else None,
            }
        )
    return {
        **settings(topic),
        "records": sum(entry["high_watermark"] - entry["log_start_offset"] for entry in partitions),
        "size_bytes": sum(entry["size_bytes"] for entry in partitions),
        "partitions": partitions,
    }


def settings(topic: Topic) -> dict[str, object]:
    """Return what a topic is, without looking at its partitions, which may be damaged."""
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "directory_id": topic.directory.directory_id,
        "created": topic.created or None,
        "sealed": topic.sealed or None,
        "sealed_by": topic.sealed_by or None,
        "partitioner": topic.partitioner,
        "partition_count": topic.partitions,
        "config": {name: topic.config(name) for name in sorted(TOPIC_CONFIG)},
        "defaults": {name: TOPIC_CONFIG[name].default for name in sorted(TOPIC_CONFIG)},
        "overrides": dict(sorted(topic.overrides.items())),
    }


def _describe_files(topic: Topic, partition: int) -> dict[str, Any]:
    fd = files.open_directory(str(partition), dir_fd=topic.fd)
    try:
        names = os.listdir(fd)
        segments, size_bytes, last_write_ms = _sizes(fd, names)
        leader = read_epochs(fd, f"{topic.path}/{partition}").latest.leader_id
    finally:
        files.close(fd)
    return {
        "leader": leader,
        "segments": segments,
        "size_bytes": size_bytes,
        "last_write_ms": last_write_ms,
        "failed": FAILED_FILE in names,
    }


def _sizes(partition_fd: int, names: Iterable[str]) -> tuple[int, int, int]:
    """Return how many segments there are, the bytes in them and their indexes, and when one was last written to."""
    segments = size_bytes = last_write_ms = 0
    for name in names:
        if name.endswith((LOG_SUFFIX, INDEX_SUFFIX)):
            try:
                status = os.stat(name, dir_fd=partition_fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # Removed while we looked, or an index, which need not be there.
            size_bytes += status.st_size
            if name.endswith(LOG_SUFFIX):
                segments += 1
                last_write_ms = max(last_write_ms, status.st_mtime_ns // 1_000_000)
    return segments, size_bytes, last_write_ms
