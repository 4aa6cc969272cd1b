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
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from mk.storage.partition_state import PartitionState
    from mk.storage.replica_directory import KnownReplica
    from mk.storage.topic import Topic

    Found = TypeVar("Found")

_FIRST_SEGMENT = (segment_name(0), segment_name(0, INDEX_SUFFIX))


_MAX_RECOVERIES = (1 << 32) - 1
"""The upper half of a leader epoch counts promotions."""

_WINDOWS = {"1m": 60, "1h": 3600}
"""What the rates are taken of: name, and length in seconds."""

_SECOND, _HOUR, _DAY = 1000, 3_600_000, 86_400_000
_STEPS_MS = (
    *(_SECOND * n for n in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)
"""How long a span of a picture over time may be."""

_MOST_SPANS, _FEWEST_SPANS = 20, 8
_MOST_LOOKUPS = 1000
"""In all partitions together: about a quarter of a second."""


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
    return [_patiently(_rates, topic, partition, now) for partition in range(topic.partitions)]


def _patiently(look: Callable[..., Found], topic: Topic, partition: int, *arguments: object) -> Found:
    """Look into a partition; again where a segment was removed between our list of them and our look at it."""
    for tries_left in (2, 1, 0):
        try:
            return look(topic, partition, *arguments)
        except FileNotFoundError:
            topic.check_not_deleted()
            if not tries_left:
                raise
    raise AssertionError


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


def times(topic: Topic) -> dict[str, Any]:
    """Return how many records there are of each span of time, as of all partitions: `from_ms`, `step_ms`, `records`.

    The spans are as long as fits into a picture, and begin where clocks show a round time. Looked up in the indexes, as `rates`
    are: a record that was dated before one that was appended earlier counts to the time of that one.
    """
    looks = (_patiently(_first_and_last_ms, topic, partition) for partition in range(topic.partitions))
    ends = [found for found in looks if found is not None]
    if not ends:
        return {"from_ms": None, "step_ms": None, "records": []}
    most = max(_FEWEST_SPANS, min(_MOST_SPANS, _MOST_LOOKUPS // topic.partitions))
    begin, step, count = spans(min(first for first, _ in ends), max(last for _, last in ends), most)
    records = [0] * count
    for partition in range(topic.partitions):
        bounds = _patiently(_offsets_at, topic, partition, [begin + step * number for number in range(1, count)])
        for number in range(count):
            records[number] += bounds[number + 1] - bounds[number]
    return {"from_ms": begin, "step_ms": step, "records": records}


def spans(first_ms: int, last_ms: int, most: int) -> tuple[int, int, int]:
    """Return where to begin, how long a step is and how many there are, at most `most` (2 at least), to hold both times."""
    for step in _STEPS_MS:
        begin = first_ms // step * step
        count = (last_ms - begin) // step + 1
        if count <= most:
            return begin, step, count
    step = (last_ms - first_ms) // (most - 1) + 1
    return first_ms, step, (last_ms - first_ms) // step + 1


def _first_and_last_ms(topic: Topic, partition: int) -> tuple[int, int] | None:
    """Return the time of the first record of a partition, and the latest of its newest; None where there is none."""
    reader = PartitionReader(topic, partition)
    try:
        last = next(iter(reader.batches_backward(reader.high_watermark)), None)
        first = reader.fetch() if last is not None else []
        if last is None or not first:
            return None
        latest = max(last.header.max_timestamp, reader.state.written.max_timestamp)
        return first[0].base_timestamp, max(latest, first[0].base_timestamp)
    finally:
        reader.close()


def _offsets_at(topic: Topic, partition: int, times_ms: Sequence[int]) -> list[int]:
    """Return where a partition begins, its first offset of each of some ascending times or later, and where it ends."""
    reader = PartitionReader(topic, partition)
    try:
        found = [reader.log_start_offset]
        for time_ms in times_ms:
            found.append(reader.offset_for_time(time_ms, found[-1]))
        return [*found, reader.high_watermark]
    finally:
        reader.close()


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
