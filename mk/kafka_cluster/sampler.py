"""A Kafka cluster looked at again and again, for whoever watches it live: as mk.maintenance.sampler looks at a directory.

A look is a handful of requests, however many topics there are: metadata, both ends of all partitions, all groups.
"""

from __future__ import annotations

import time

from mk.clock import now_ms
from mk.errors import MkError, PeerUnreachableError
from mk.kafka_cluster.kafka_topic import is_internal, topic_id_of
from mk.kafka_cluster.partition_offsets import EARLIEST, LATEST, NEWEST, ask, time_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.kafka_cluster.cluster import KafkaCluster
    from mk.kafka_cluster.kafka_topic import KafkaDirectory
    from mk.kafka_cluster.partition_offsets import Answers

    Document = dict[str, Any]

_NO_LEADER = "it has no leader: the brokers that have its records are away"


def sample(cluster: KafkaCluster, directory: KafkaDirectory) -> Document:
    """Look once. See Cluster.sample for what it returns. Who owns what is told of all groups: it costs nothing more."""
    clock_ms, time_ms = time.monotonic() * 1000, now_ms()
    unseen: list[Document] = []
    topics = _topics(directory)
    groups: list[Document] | None = None
    try:
        groups = _groups(cluster, {topic["topic"]: topic["topic_id"] for topic in topics})
    except PeerUnreachableError:
        raise
    except MkError as error:
        unseen.append({"what": "groups", "why": error.why or error.what})
    return {
        "directory_id": None,
        "clock_ms": clock_ms,
        "time_ms": time_ms,
        "topics": topics,
        "groups": groups,
        "replicas": [],
        "unseen": unseen,
    }


def _topics(directory: KafkaDirectory) -> list[Document]:
    described = directory.describe([name for name in directory.topic_names() if not is_internal(name)])
    found = {name: one for name, one in described.items() if not isinstance(one, MkError)}
    places = [
        (name, partition.id)
        for name, one in found.items()
        for partition in one.partitions
        if partition.leader is not None
    ]
    answers = ask(directory.client, places, EARLIEST, LATEST, NEWEST, again_seconds=0)
    return [
        {
            "topic": name,
            "topic_id": topic_id_of(one),
            "problem": None,
            "partitions": [_partition(name, partition, *answers) for partition in one.partitions],
        }
        for name, one in found.items()
    ]


def _groups(cluster: KafkaCluster, topic_ids: dict[str, str]) -> list[Document]:
    found = []
    for group in cluster.describe_groups(cluster.group_names()):
        if isinstance(group, MkError):
            continue  # It was deleted while we looked.
        rows = [
            {
                "topic": row["topic"],
                "topic_id": topic_ids[row["topic"]],
                "partition": row["partition"],
                "committed_offset": row["committed_offset"],
                "committed_ms": row.get("committed_ms"),
                "lag": row["lag"],
                "is_replicated": False,
                "member": row.get("member"),
                "problem": row["problem"],
            }
            for row in group["offsets"]
            if row["topic"] in topic_ids
        ]
        found.append(
            {
                "group": group["group"],
                "members": group["members"],
                "lag": group["lag"],
                "last_commit_ms": group["last_commit_ms"],
                "problem": group.get("problem"),
                "offsets": rows,
            }
        )
    return found


def _partition(topic: str, partition: Any, first: Answers, last: Answers, newest: Answers) -> Document:
    place = topic, partition.id
    start: Any = first.get(place)
    end: Any = last.get(place)
    written = newest.get(place)
    problem = _NO_LEADER if end is None else None
    for answer in (start, end):
        if isinstance(answer, MkError):
            problem = answer.why or answer.what
    return {
        "partition": partition.id,
        "leader": partition.leader.id if partition.leader is not None else None,
        "leader_epoch": None if problem else end.leader_epoch,
        "log_start_offset": None if problem else start.offset,
        "high_watermark": None if problem else end.offset,
        "size_bytes": None,
        "last_write_ms": None if problem else time_of(written),
        "failed": False,
        "replicas": [node.id for node in partition.replicas],
        "isr": [node.id for node in partition.isr],
        "run": 0,
        "appended_bytes": None,
        "problem": problem,
    }
