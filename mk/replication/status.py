"""What a log directory is to others: what it leads and follows, how far copies are behind, what was cut off. Read-only, no lock.

A document ready for JSON. What cannot be read is named in it, and keeps nobody from seeing the rest.
"""

from __future__ import annotations

from mk.errors import MkError, PermissionDeniedError
from mk.groups.replicated_offsets import damaged_files
from mk.replication.diverged import Quarantine
from mk.storage.partition_reader import PartitionReader
from mk.storage.replica_directory import known_replicas
from mk.storage.replica_lag import describe_replicas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.log_directory import LogDirectory
    from mk.storage.replica_directory import KnownReplica
    from mk.storage.topic import Topic

    Document = dict[str, Any]

LEADER = "leader"
FOLLOWER = "follower"
FENCED = "fenced"
"""It led, another directory was promoted, and it does not follow that one yet."""


def replication_status(directory: LogDirectory, names: Sequence[str] | None = None) -> Document:
    """Return the status of some topics, or of all; of those that are damaged, why."""
    known = known_replicas(directory)
    partitions: list[Document] = []
    problems = [f"{path}: {found}" for replica in known for path, found in replica.problems]
    topic_names: dict[str, str] = {}
    for name in directory.topic_names() if names is None else names:
        try:
            topic = directory.open_topic(name)
        except MkError as error:
            if names is not None:
                raise
            problems.append(f"{error.what}: {error.why}" if error.why else error.what)
            continue
        try:
            topic_names[topic.topic_id] = topic.name
            for partition in range(topic.partitions):
                try:
                    partitions.append(_describe_partition(topic, partition, known))
                except MkError as error:
                    if topic.is_deleted():
                        break
                    problems.append(f"{error.what}: {error.why}" if error.why else error.what)
        finally:
            topic.close()
    try:
        problems += [f"{path}: {count} of its lines cannot be read" for path, count in damaged_files(directory)]
    except PermissionDeniedError:
        pass  # The groups are closed to whoever may only read.
    quarantined, unreadable = _quarantine(directory, names)
    return {
        "directory_id": directory.directory_id,
        "partitions": partitions,
        "replicas": [_describe_replica(replica, topic_names) for replica in known],
        "quarantine": quarantined,
        "problems": problems + unreadable,
    }


def _describe_partition(topic: Topic, partition: int, known: list[KnownReplica]) -> Document:
    reader = PartitionReader(topic, partition)
    try:
        start, end = reader.log_start_offset, reader.high_watermark
    finally:
        reader.close()
    epochs = topic.read_epochs(partition)
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "partition": partition,
        "role": role_of(topic, partition, epochs, known),
        "leader": epochs.latest.leader_id,
        "leader_epoch": epochs.latest.epoch,
        "log_start_offset": start,
        "high_watermark": end,
        "replicas": describe_replicas(topic, partition, epochs.latest.leader_id, end, known),
    }


def role_of(topic: Topic, partition: int, epochs: LeaderEpochs, known: list[KnownReplica]) -> str:
    """Return what this directory is to a partition.

    The epochs alone do not tell a leader that was fenced from one that follows already and has got nothing yet: who follows
    has noted where the source's log ended, and who is promoted forgets it.
    """
    own, leader, key = topic.directory.directory_id, epochs.latest.leader_id, (topic.topic_id, partition)
    if leader == own:
        return LEADER
    if any(key in replica.source for replica in known):
        return FOLLOWER
    # Of a log without a record, the epoch in which this directory led it is gone.
    led = any(entry.leader_id == own for entry in epochs.entries) or any(
        replica.directory_id == leader and key in replica.follower for replica in known
    )
    return FENCED if led else FOLLOWER


def _describe_replica(replica: KnownReplica, topic_names: dict[str, str]) -> Document:
    return {
        "directory_id": replica.directory_id,
        "address": replica.address or None,
        "seen_ms": replica.seen_ms or None,
        # Who was promoted, and is followed here now, has followed this directory before.
        "follows": len(replica.follower.keys() - replica.source.keys()),
        "followed": len(replica.source),
        "gaps": [
            {
                "topic": topic_names.get(gap.topic_id),
                "topic_id": gap.topic_id,
                "partition": gap.partition,
                "from_offset": gap.from_offset,
                "to_offset": gap.to_offset,
                "records": gap.to_offset - gap.from_offset,
                "time_ms": gap.time_ms,
            }
            for gap in replica.gaps
        ],
    }


def _quarantine(directory: LogDirectory, names: Sequence[str] | None) -> tuple[list[Document], list[str]]:
    try:
        quarantine = Quarantine(directory)
    except PermissionError:
        return [], [f"{directory.path}/quarantine: it is closed to you"]
    return [quarantine.describe(log) for log in quarantine.logs if names is None or log.topic in names], []
