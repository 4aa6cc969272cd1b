"""How far copies of a partition are behind, as far as this directory knows: documents ready for JSON. Read-only, no lock.

A leader knows of each follower where its log ended at the last contact; a follower, where its leader's did. What happened
since, nobody can tell without asking: so each says when that was.
"""

from __future__ import annotations

from mk.clock import now_ms
from mk.errors import DataError, NotFoundError
from mk.storage.partition_reader import PartitionReader
from mk.storage.replica_directory import address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.storage.replica_directory import KnownReplica
    from mk.storage.topic import Topic

    Document = dict[str, Any]


def describe_replicas(
    topic: Topic, partition: int, leader_id: str, end_offset: int, replicas: list[KnownReplica]
) -> list[Document]:
    """Return of each other directory that has this partition where its log ended, the leader's first.

    end_offset: where it ends here. next_offset: where it ended there, None if that is not known. lag: how many records the
    follower of the two lacks, as of then; lag_ms: since when it lacks the first of them, 0 if it lacks none, None if that
    cannot be told here. in_sync: nothing is known that it lacks. seen_ms: when that was.
    """
    found = []
    key = topic.topic_id, partition
    if leader_id != topic.directory.directory_id:
        leader = next((replica for replica in replicas if replica.directory_id == leader_id), None)
        seen = leader.source.get(key) if leader is not None else None
        lag = None if seen is None else max(0, seen.next_offset - end_offset)
        found.append(
            {
                "directory_id": leader_id,
                "address": address_of(topic.directory, leader_id) or None,
                "role": "leader",
                "next_offset": None if seen is None else seen.next_offset,
                "lag": lag,
                "lag_ms": None if lag != 0 else 0,
                "in_sync": lag == 0,
                "seen_ms": None if seen is None else seen.seen_ms,
            }
        )
    for replica in replicas:
        seen = replica.follower.get(key)
        if seen is None or replica.directory_id == leader_id:
            continue
        lag = max(0, end_offset - seen.next_offset)
        found.append(
            {
                "directory_id": replica.directory_id,
                "address": replica.address or None,
                "role": "follower",
                "next_offset": seen.next_offset,
                "lag": lag,
                "lag_ms": _lag_ms(topic, partition, seen.next_offset) if lag else 0,
                "in_sync": lag == 0,
                "seen_ms": seen.seen_ms,
            }
        )
    return found


def _lag_ms(topic: Topic, partition: int, next_offset: int) -> int | None:
    """Return how long ago the first record was made that a follower lacks, None if it cannot be read."""
    try:
        reader = PartitionReader(topic, partition)
        try:
            reader.seek(max(next_offset, reader.log_start_offset))
            batches = reader.fetch()
        finally:
            reader.close()
    except (DataError, NotFoundError):
        return None
    return max(0, now_ms() - batches[0].base_timestamp) if batches else 0
