"""What topics of a Kafka cluster look like from outside, as documents ready for JSON, with the names that those of a directory have.

None stands for what brokers do not tell: bytes of partitions, numbers of segments.
"""

from __future__ import annotations

from mk.clock import now_ms
from mk.errors import MkError, NotFoundError, PermissionDeniedError, TryAgainError
from mk.kafka_cluster.kafka_topic import KafkaTopic, topic_id_of
from mk.kafka_cluster.partition_offsets import EARLIEST, LATEST, NEWEST, ask, no_leader, time_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from mk.kafka_cluster.kafka_topic import KafkaDirectory
    from mk.kafka_cluster.partition_offsets import Answers, Place

    Document = dict[str, Any]

_WINDOWS = {"1m": 60, "1h": 3600}
_MOST_SPANS = 20
_AT_ONCE = 200
"""Topics that one question is about."""


def summaries(directory: KafkaDirectory, names: Sequence[str]) -> Iterator[dict[str, object] | MkError]:
    """Yield of each of these topics what a list shows of it, or why it cannot be told; nothing of one that is gone."""
    for begin in range(0, len(names), _AT_ONCE):
        some = names[begin : begin + _AT_ONCE]
        described = directory.describe(some)
        found = {name: one for name, one in described.items() if not isinstance(one, NotFoundError)}
        places = [place for name, one in found.items() for place in _led_places(name, one)]
        answers = ask(directory.client, places, EARLIEST, LATEST, NEWEST)
        for name, one in found.items():
            yield one if isinstance(one, MkError) else _summary(name, one, *answers)


def _summary(
    name: str, description: Any, first: Answers, last: Answers, newest: Answers
) -> dict[str, object] | MkError:
    records, last_ms = 0, -1
    for partition in description.partitions:
        place = name, partition.id
        if place not in last:
            return no_leader(name, partition.id)
        start, end = first[place], last[place]
        for answer in (start, end):
            if isinstance(answer, NotFoundError):
                return NotFoundError(f"topic {name} was deleted while it was looked at", topic=name)
            if isinstance(answer, MkError):
                return answer
        records += end.offset - start.offset
        last_ms = max(last_ms, time_of(newest[place]) or -1)
    return {
        "topic": name,
        "partitions": len(description.partitions),
        "records": records,
        "size_bytes": None,
        "last_write_ms": last_ms if last_ms >= 0 else None,
        "leads": True,
        "leader": None,
        "replication_factor": max((len(partition.replicas) for partition in description.partitions), default=0),
        "under_replicated": sum(len(one.isr) < len(one.replicas) for one in description.partitions),
    }


def describe(directory: KafkaDirectory, name: str) -> Document:
    """Return a topic's identity, settings and partitions. Of one without a leader, offsets are None."""
    document, description = _settings(directory, name)
    first, last, newest = ask(directory.client, _led_places(name, description), EARLIEST, LATEST, NEWEST)
    least = document["config"].get("min.insync.replicas")
    partitions = []
    for partition in description.partitions:
        place = name, partition.id
        answers = [first.get(place), last.get(place)]
        for answer in answers:
            if isinstance(answer, MkError) and not isinstance(answer, TryAgainError):
                raise answer
        start, end = (None if isinstance(one, MkError) or one is None else one for one in answers)
        partitions.append(
            {
                "partition": partition.id,
                "log_start_offset": start and start.offset,
                "high_watermark": end and end.offset,
                "leader_epoch": end and end.leader_epoch,
                "records": None if start is None or end is None else end.offset - start.offset,
                "leader": partition.leader and partition.leader.id,
                "leader_address": partition.leader and _address_of(partition.leader),
                "replicas": [
                    {
                        "broker": node.id,
                        "address": _address_of(node),
                        "rack": node.rack,
                        "role": "leader"
                        if partition.leader is not None and node.id == partition.leader.id
                        else "follower",
                        "in_sync": any(node.id == other.id for other in partition.isr),
                    }
                    for node in partition.replicas
                ],
                "isr": [node.id for node in partition.isr],
                "segments": None,
                "size_bytes": None,
                "last_write_ms": time_of(newest.get(place)),
                "state": _state(partition, least),
            }
        )
    known = [one["records"] for one in partitions if one["records"] is not None]
    return {
        **document,
        "records": sum(known) if len(known) == len(partitions) else None,
        "size_bytes": None,
        "partitions": partitions,
    }


def settings(directory: KafkaDirectory, name: str) -> Document:
    """Return what a topic is, without its offsets, for which all its leaders must answer."""
    return _settings(directory, name)[0]


def _settings(directory: KafkaDirectory, name: str) -> tuple[Document, Any]:
    from mk.kafka_cluster.topic_config import config_document, describe_topic_config

    description = directory.describe([name])[name]
    if isinstance(description, MkError):
        raise description
    try:
        configs = config_document(describe_topic_config(directory.client, name))
    except PermissionDeniedError:
        configs = {"config": {}, "defaults": {}, "overrides": {}, "sources": {}}
    return {
        "topic": name,
        "topic_id": topic_id_of(description),
        "directory_id": None,
        "created": None,
        "sealed": None,
        "sealed_by": None,
        "partitioner": KafkaTopic(directory, name, description).partitioner,
        "partition_count": len(description.partitions),
        "replication_factor": max((len(one.replicas) for one in description.partitions), default=0),
        **configs,
    }, description


def rates(directory: KafkaDirectory, name: str) -> list[Document]:
    """Return of each partition how many records a second have the times of the last minute and hour; bytes are not told."""
    places = _led_places(name, _described(directory, name))
    now = now_ms()
    last, *since = ask(directory.client, places, LATEST, *(now - 1000 * seconds for seconds in _WINDOWS.values()))
    rows = []
    for place in places:
        row: Document = {}
        for (window, seconds), begun in zip(_WINDOWS.items(), since):
            end, first = last[place], begun[place]
            is_known = not (isinstance(end, MkError) or isinstance(first, MkError))
            count = end.offset - (first.offset if first.offset >= 0 else end.offset) if is_known else None
            row[f"records_per_s_{window}"] = None if count is None else round(max(0, count) / seconds, 3)
            row[f"bytes_per_s_{window}"] = None
        rows.append(row)
    return rows


def times(directory: KafkaDirectory, name: str) -> Document:
    """Return how many records there are of each span of time, see Cluster.topic_times: asked of the brokers' indexes."""
    from mk.storage.description import spans

    places = _led_places(name, _described(directory, name))
    first, last, oldest, newest = ask(directory.client, places, EARLIEST, LATEST, 0, NEWEST)
    begun = [known for place in places if (known := time_of(oldest[place])) is not None]
    ended = [known for place in places if (known := time_of(newest[place])) is not None]
    if not begun or not ended:
        return {"from_ms": None, "step_ms": None, "records": []}
    begin, step, count = spans(min(begun), max(ended), _MOST_SPANS)
    bounds = [first, *ask(directory.client, places, *(begin + step * number for number in range(1, count))), last]
    records = [0] * count
    for place in places:
        if isinstance(last[place], MkError) or isinstance(first[place], MkError):
            continue
        end, reached = last[place].offset, first[place].offset
        for number, bound in enumerate(bounds[1:]):
            answer = bound[place]
            offset = end if isinstance(answer, MkError) or answer.offset < 0 else answer.offset
            # A record that was dated before one that is older counts to the time of that one.
            records[number] += max(0, offset - reached)
            reached = max(reached, offset)
    return {"from_ms": begin, "step_ms": step, "records": records}


def _described(directory: KafkaDirectory, name: str) -> Any:
    description = directory.describe([name])[name]
    if isinstance(description, MkError):
        raise description
    return description


def _led_places(name: str, description: Any) -> list[Place]:
    """Return the partitions that have a leader, of whom alone anything can be asked."""
    if isinstance(description, MkError):
        return []
    return [(name, one.id) for one in description.partitions if one.leader is not None and one.leader.id >= 0]


def _state(partition: Any, least: Any) -> str:
    if partition.leader is None or partition.leader.id < 0:
        return "NO LEADER"
    if isinstance(least, int) and len(partition.isr) < least:
        return "UNDER MIN ISR"
    return "UNDER REPLICATED" if len(partition.isr) < len(partition.replicas) else "ok"


def _address_of(node: Any) -> str:
    return f"{node.host}:{node.port}"
