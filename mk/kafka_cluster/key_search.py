"""Searching a partition of a Kafka cluster for keys: by reading it, from the end in pieces, the newest piece first.

Brokers keep no index of keys. So what is found near the end is found at once, and what is not there costs the whole partition.
"""

from __future__ import annotations

from mk.consumer.offset_spec import OffsetSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.consumer.consumer import Consumer
    from mk.kafka_cluster.cluster import KafkaCluster
    from mk.records.record import ConsumerRecord

_FIRST_PIECE, _LARGEST_PIECE = 1000, 1_000_000
"""Offsets in a piece; each is twice as long as the one before, up to the second: in each, a reader has to be opened."""


def last_record(cluster: KafkaCluster, topic: str, partition: int, key: bytes) -> ConsumerRecord | None:
    """Return the last record of a partition with that key, a tombstone too; None if there is none."""
    for consumer in _newest_first(cluster, topic, partition):
        found = None
        for record in consumer:
            if record.key == key:
                found = record
        if found is not None:
            return found
    return None


def has_keyed_records(cluster: KafkaCluster, topic: str) -> bool:
    """Tell whether any record of a topic has a key. It stops at the first one that has."""
    for partition in range(cluster.partitions(topic)):
        for consumer in _newest_first(cluster, topic, partition):
            if any(record.key is not None for record in consumer):
                return True
    return False


def _newest_first(cluster: KafkaCluster, topic: str, partition: int) -> Iterator[Consumer]:
    row = cluster.offsets(topic)[partition]
    start, stop = row["log_start_offset"], row["high_watermark"]
    size = _FIRST_PIECE
    while stop > start:
        begin = max(start, stop - size)
        # What is removed meanwhile is skipped, and what is produced meanwhile lies behind the end as of now.
        with cluster.consumer(
            [topic], partitions=[partition], offset=OffsetSpec("at", begin), stop=OffsetSpec("at", stop)
        ) as consumer:
            yield consumer
        stop, size = begin, min(2 * size, _LARGEST_PIECE)
