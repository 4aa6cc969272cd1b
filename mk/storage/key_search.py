"""Searching a partition for keys, newest records first, without a lock and without reading more than it takes."""

from __future__ import annotations

from mk.records.batch_keys import holds_keys, last_with_key, may_hold_key, may_hold_keys
from mk.storage.partition_reader import PartitionReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record import ConsumerRecord
    from mk.storage.backward_reader import StoredBatch
    from mk.storage.topic import Topic


def last_record(topic: Topic, partition: int, key: bytes) -> ConsumerRecord | None:
    """Return the last record of a partition that has this key, a tombstone too; None if there is none."""
    reader = PartitionReader(topic, partition)
    try:
        for stored in _newest_first(reader):
            if may_hold_key(stored.header, key):
                with stored.loaded() as batch:
                    found = last_with_key(batch, key, topic.name, partition, reader.log_start_offset)
                if found is not None:
                    return found
        return None
    finally:
        reader.close()


def has_keyed_records(topic: Topic) -> bool:
    """Tell whether any record of a topic has a key. Mostly by headers; it stops at the first one that has."""
    for partition in range(topic.partitions):
        reader = PartitionReader(topic, partition)
        try:
            for stored in _newest_first(reader):
                if may_hold_keys(stored.header):
                    if stored.header.key_length >= 0:
                        return True
                    with stored.loaded() as batch:
                        if holds_keys(batch):
                            return True
        finally:
            reader.close()
    return False


def _newest_first(reader: PartitionReader) -> Iterator[StoredBatch]:
    for stored in reader.batches_backward(reader.high_watermark):
        if stored.header.next_offset <= reader.log_start_offset:
            return
        yield stored
