"""Searching a partition for keys, newest records first, without a lock and without reading more than it takes.

A log is searched in stretches between two hints of an index: backwards from one to the next, forwards within each. So
memory does not grow with the log, and what was written last is found first.
"""

from __future__ import annotations

from mk.errors import CorruptBatchError
from mk.records.batch_keys import holds_keys, last_with_key, may_hold_key, may_hold_keys
from mk.records.codecs import CodecError
from mk.storage.partition_reader import PartitionReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import RecordBatch
    from mk.storage.topic import Topic


def last_record(topic: Topic, partition: int, key: bytes) -> ConsumerRecord | None:
    """Return the last record of a partition that has this key, a tombstone too; None if there is none."""
    reader = PartitionReader(topic, partition)
    try:
        for first, stop in reader.stretches():
            reader.seek(first)
            found = None
            for batch in reader.headers(stop):
                if may_hold_key(batch, key):
                    batch = reader.load(batch)
                    with _named(reader, batch):
                        found = last_with_key(batch, key, topic.name, partition, first) or found
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
            for first, stop in reader.stretches():
                reader.seek(first)
                for batch in reader.headers(stop):
                    if may_hold_keys(batch):
                        if batch.key_length < 0:
                            batch = reader.load(batch)
                        with _named(reader, batch):
                            if holds_keys(batch):
                                return True
        finally:
            reader.close()
    return False


class _named:
    """Give a CodecError that leaves this block the place of its batch."""

    def __init__(self, reader: PartitionReader, batch: RecordBatch) -> None:
        self._path = reader.segment_path
        self._batch = batch

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, CodecError):
            raise CorruptBatchError(
                path=self._path,
                position=self._batch.position,
                offset=self._batch.base_offset,
                found=str(error),
                readable_from=self._batch.next_offset,
            ) from None
