"""`mk topics repair`: bringing a damaged topic to where it can be read, appended to and copied, losing only what is lost already.

Never unasked. What is done to one partition is in log_repair; here are the topic's own small files.
"""

from __future__ import annotations

import os

from mk.errors import CorruptStateError, NoSuchTopicError
from mk.maintenance.log_repair import LogRepair
from mk.storage import files, flat_json
from mk.storage.locks import directory_lock
from mk.storage.partition_files import STATE_FILE
from mk.storage.partition_state import STATE_SIZE, read_state
from mk.storage.topic import FILE_NAME, encode_topic
from mk.topic_partition import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.maintenance.log_repair import RepairReport
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

_KEPT: dict[str, int | str] = {"retention.ms": -1, "retention.bytes": -1}
"""Settings of a topic whose own are lost: by the defaults, the next roll would remove what it was to keep."""

_STATE_MISSING = "`state` is made again of the segments; what is damaged in them is named when it is done"


def repair_topic(
    directory: LogDirectory,
    name: str,
    *,
    partitions: Sequence[int] = (),
    restored: bool,
    dry_run: bool,
    wait_ms: int,
) -> list[dict[str, Any]]:
    """Repair a topic, or tell what would be done: a document for each partition, and one of partition None for topic.json.

    Raises NoSuchTopicError; CorruptStateError where topic.json cannot be made again.
    """
    documents: list[dict[str, Any]] = []
    try:
        topic = directory.open_topic(name)
    except (CorruptStateError, NoSuchTopicError):
        done = _repair_topic_file(directory, check_name(name), dry_run=dry_run, wait_ms=wait_ms)
        documents.append({"topic": name, "partition": None, "lost": [], "done": [done], "kept": [], "left": []})
        if dry_run:
            return documents
        topic = directory.open_topic(name)
    try:
        for partition in partitions or range(topic.partitions):
            if not _has_state(topic, topic.check_partition(partition), makes_it=not dry_run):
                documents.append(
                    {
                        "topic": name,
                        "partition": partition,
                        "lost": [],
                        "done": [_STATE_MISSING],
                        "kept": [],
                        "left": [],
                    }
                )
                continue
            log = LogRepair(topic, partition, lock_wait_ms=wait_ms)
            try:
                report: RepairReport = log.plan(restored=restored) if dry_run else log.repair(restored=restored)
            finally:
                log.close()
            documents.append(report.document(name))
    finally:
        topic.close()
    return documents


def _has_state(topic: Topic, partition: int, *, makes_it: bool) -> bool:
    """Tell whether a partition has a `state`. makes_it: if not, make one that says nothing, as one that is spoiled."""
    try:
        fd = files.open_directory(str(partition), dir_fd=topic.fd)
    except FileNotFoundError:
        topic.check_not_deleted()
        raise CorruptStateError(path=f"{topic.path}/{partition}", found="it is missing") from None
    try:
        if files.exists(STATE_FILE, dir_fd=fd):
            return True
        if makes_it:
            files.write_new_file(STATE_FILE, bytes(STATE_SIZE), dir_fd=fd)
            files.fsync(fd)
        return makes_it
    finally:
        files.close(fd)


def _repair_topic_file(directory: LogDirectory, name: str, *, dry_run: bool, wait_ms: int) -> str:
    """Make topic.json again of what the partitions and pins say. Its settings are lost. Returns what was done."""
    with directory_lock(directory.locks_fd, wait_ms=wait_ms):
        try:
            topic_fd = files.open_directory(name, dir_fd=directory.topics_fd)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchTopicError(topic=name, directory=directory.path) from None
        try:
            numbers = sorted(int(entry) for entry in os.listdir(topic_fd) if entry.isascii() and entry.isdecimal())
            ids = {_topic_id(topic_fd, number) for number in numbers} - {""}
            if len(ids) != 1 or numbers != list(range(len(numbers))):
                raise CorruptStateError(
                    path=f"{directory.path}/topics/{name}/{FILE_NAME}",
                    found="and its partitions do not tell which topic it was",
                    fix="restore the file from a copy or a snapshot; nothing was changed",
                )
            topic_id, partitioner = ids.pop(), _partitioner(topic_fd)
            done = (
                f"topic.json is made again: {len(numbers)} partitions, partitioner {partitioner}, and settings by which nothing "
                "is removed; `mk topics alter` gives it those that it had"
            )
            if not dry_run:
                content = encode_topic(name, topic_id, len(numbers), partitioner, dict(_KEPT))
                files.replace_file(FILE_NAME, content, dir_fd=topic_fd)
            return done
        finally:
            files.close(topic_fd)


def _topic_id(topic_fd: int, partition: int) -> str:
    try:
        partition_fd = files.open_directory(str(partition), dir_fd=topic_fd)
        try:
            fd = files.open_file(STATE_FILE, os.O_RDONLY, dir_fd=partition_fd)
            try:
                state = read_state(fd)
            finally:
                files.close(fd)
        finally:
            files.close(partition_fd)
    except (OSError, CorruptStateError):
        return ""
    return "" if state is None else state.topic_id


def _partitioner(topic_fd: int) -> str:
    """Return the partitioner that a pin of a producer id names, else the default."""
    try:
        fd = files.open_directory("producers", dir_fd=topic_fd)
    except FileNotFoundError:
        return "crc32"
    try:
        for name in os.listdir(fd):
            try:
                found = flat_json.decode(files.read_file(name, dir_fd=fd), name).get("partitioner")
            except (OSError, ValueError, CorruptStateError):
                continue
            if found in ("crc32", "murmur2"):
                return str(found)
    finally:
        files.close(fd)
    return "crc32"
