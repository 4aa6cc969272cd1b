"""Another number of partitions for a topic with keys: its records produced again, each to the partition of its key.

Adding partitions to a topic sends a key's next record to another partition than those before it. Here all of them go to a new
topic, in their order, before anybody reads there: until it is whole nobody can see it, and what a killed run leaves, the next
change of the directory's topics removes.
"""

from __future__ import annotations

import os
from itertools import groupby

from mk.config import TOPIC_CONFIG
from mk.consumer.consumer import Consumer
from mk.consumer.merging import MergingConsumer
from mk.errors import MkError
from mk.groups.rehashed_offsets import RehashedOffsets, commit_beforehand, stands_of_groups
from mk.producer.partitioner import partitioner as partitioner_of
from mk.producer.producer import Producer
from mk.storage.filling_topic import FillingTopic
from mk.storage.topic_clone import NOT_CLONED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mk.records.record import ConsumerRecord
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

_WHILE_IT_IS_FILLED: dict[str, int | str] = {
    "cleanup.policy": "delete",
    "retention.ms": -1,
    "retention.bytes": -1,
    "max.message.bytes": TOPIC_CONFIG["max.message.bytes"].maximum,
}
"""Nothing is removed before all of it is there, and nothing refused that was taken under other settings."""

_WITHOUT_KEY = 1000
"""So many records without a key go to one partition before the next one gets some: as those of about one batch do."""


def rehash_topic(
    directory: LogDirectory,
    name: str,
    new: str,
    *,
    partitions: int | None,
    partitioner: str | None,
    groups: bool,
    wait_ms: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """See Cluster.rehash_topic.

    Raises NoSuchTopicError, TopicExistsError; TryAgainError where another process makes a topic of that name. Whatever is raised,
    there is no new topic.
    """
    topic = directory.open_topic(name)
    try:
        count = topic.partitions if partitions is None else partitions
        chosen = partitioner or topic.partitioner
        filling = FillingTopic(
            directory,
            new,
            os.urandom(16).hex(),
            partitions=count,
            partitioner=chosen,
            overrides={**topic.overrides, **_WHILE_IT_IS_FILLED},
            wait_ms=wait_ms,
        )
        with filling:
            rehash = _Rehash(topic, count, chosen, groups=groups)
            rehash.run(filling.open(), progress)
            told = rehash.commit(filling, new)
            topic.refresh()
            filling.finish({key: value for key, value in topic.fields().items() if key not in NOT_CLONED})
    finally:
        topic.close()
    return {
        "topic": name,
        "clone": new,
        "partitions": count,
        "partitioner": chosen,
        "records": rehash.records,
        "skipped": rehash.skipped,
        "next_offsets": rehash.next_offsets,
        "groups": told,
    }


class _Rehash:
    """What was read and produced so far. records: so many. skipped: so many were removed before they could be read.

    next_offsets: up to where each partition of the original was read.
    """

    def __init__(self, topic: Topic, partitions: int, partitioner: str, *, groups: bool) -> None:
        self._topic = topic
        self._partitions = partitions
        self._partition_of = partitioner_of(partitioner)
        self._without_key = 0
        self.records = self.skipped = 0
        stands: dict[str, list[int]] = {}
        self._problems: dict[str, str] = {}
        readers = [topic.open_reader(partition) for partition in range(topic.partitions)]
        try:
            self.next_offsets = [reader.log_start_offset for reader in readers]
            self._total = sum(reader.high_watermark - reader.log_start_offset for reader in readers)
            if groups:
                stands, self._problems = stands_of_groups(topic, readers)
        finally:
            for reader in readers:
                reader.close()
        self._groups = sorted(stands)
        self._offsets = RehashedOffsets(stands, partitions)

    def run(self, target: Topic, progress: Callable[[int, int], None] | None) -> None:
        """Produce all records to `target`, which is closed then; on disk when it returns."""
        with Producer(target) as producer:
            consumer = self._open_consumer()
            try:
                for fetch in consumer.fetches():
                    for batch in fetch:
                        for records in batch.record_slices():
                            self._produce(list(records), producer)
                        for _, partition, offset, _ in batch.positions_behind():
                            self.next_offsets[partition] = offset
                    if progress is not None:
                        progress(min(self.records, self._total), self._total)
            finally:
                consumer.close()

    def _open_consumer(self) -> Consumer:
        source = self._topic.directory.open_topic(self._topic.name)
        if source.topic_id != self._topic.topic_id:
            source.close()
            self._topic.check_identity()
        if source.partitions == 1:
            return Consumer([source], on_skip=self._skip)
        # By time: where partitions were added, older records of a key are in another one than its younger ones.
        return MergingConsumer([source], on_skip=self._skip)

    def _skip(self, topic: str, partition: int, first_offset: int, last_offset: int) -> None:
        self.skipped += last_offset - first_offset + 1

    def _produce(self, records: list[ConsumerRecord], producer: Producer) -> None:
        partition_of, count = self._partition_of, self._partitions
        sticky = self._without_key // _WITHOUT_KEY % count
        targets = [sticky if (key := record.key) is None else partition_of(key, count) for record in records]
        producer.send_records(
            [record.value for record in records],
            [record.key for record in records],
            [record.headers for record in records],
            [record.timestamp_ms for record in records],
            targets,
        )
        self._without_key += sum(record.key is None for record in records)
        self.records += len(records)
        if not self._groups:
            return
        for partition, run in groupby(zip(records, targets), key=_partition_of_pair):
            pairs = list(run)
            self._offsets.produced(partition, [record.offset for record, _ in pairs], [target for _, target in pairs])

    def commit(self, filling: FillingTopic, new: str) -> list[dict[str, Any]]:
        """Commit where groups go on in the new topic, while nobody can see it, and return of each what became of it."""
        told: list[dict[str, Any]] = []
        for group in sorted({*self._groups, *self._problems}):
            row: dict[str, Any] = {"group": group, "offsets": None, "problem": self._problems.get(group)}
            told.append(row)
            if row["problem"] is None:
                offsets = self._offsets.of(group)
                topic = filling.open()
                try:
                    commit_beforehand(topic, new, group, offsets)
                    row["offsets"] = offsets
                except MkError as error:
                    row["problem"] = f"{error.what}: {error.why}" if error.why else error.what
                finally:
                    topic.close()
        return told


def _partition_of_pair(pair: tuple[ConsumerRecord, int]) -> int:
    return pair[0].partition
