"""Where groups of a directory stand in the copy of its topics in Kafka: in front of the same record, under another offset.

The positions of the copy hold pairs of offsets that mean the same. Between two of them the records of Kafka are counted. Of a
topic that is compacted that says nothing, here or there: a group begins at the pair before then, and reads some again.
"""

from __future__ import annotations

from time import monotonic, sleep

from mk.config import COMPACT
from mk.errors import TryAgainError
from mk.group_errors import GroupNotEmptyError
from mk.kafka_cluster.client import SLICE_SECONDS
from mk.kafka_cluster.group_coordinators import committed_places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from mk.kafka_cluster.client import Client
    from mk.kafka_cluster.copy_position import CopyPosition
    from mk.kafka_cluster.partition_scan import PartitionScan
    from mk.replication.replica import CommittedOffset, TopicImage

    Key = tuple[str, int]

MARK = "mk-replicate"
"""The metadata of an offset that was committed for a group here. What has another one, the group has read in Kafka itself."""


_HAS_MEMBERS = frozenset(("NON_EMPTY_GROUP", "UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS"))

_MOST_FOUND = 10_000


class OffsetTranslation:
    """Commits the offsets of groups in Kafka. Remembers what it has found out and committed."""

    def __init__(self, client: Client, scan: PartitionScan) -> None:
        self._client = client
        self._scan = scan
        self._found: dict[tuple[str, int, int], int] = {}
        self._stored: dict[tuple[str, Key], int] = {}

    def look_again(self) -> None:
        """Find out anew where groups stand in Kafka: brokers forget that of a group that does nothing."""
        self._stored.clear()

    def store(
        self,
        names: Mapping[str, str],
        positions: Mapping[Key, CopyPosition],
        sources: Mapping[str, TopicImage],
        offsets: Sequence[CommittedOffset],
    ) -> None:
        """Commit for each group what it has not committed in Kafka by itself.

        names: of the topics in Kafka by the source's topic ids. positions: by name and partition. sources: by name in Kafka.
        """
        by_group: dict[str, dict[Key, int]] = {}
        for offset in offsets:
            name = names.get(offset.topic_id)
            position = None if name is None else positions.get((name, offset.partition))
            if name is None or position is None or offset.offset < 0:
                continue
            found = self._translated(name, offset.partition, offset.offset, position, sources[name])
            if self._stored.get((offset.group, (name, offset.partition))) != found:
                by_group.setdefault(offset.group, {})[name, offset.partition] = found
        for group, places in by_group.items():
            self._store_group(group, places)

    def _translated(self, name: str, partition: int, offset: int, position: CopyPosition, source: TopicImage) -> int:
        if offset >= position.offset:
            return position.kafka_offset
        place = position.place_before(offset)
        if place is None:
            return position.places[0][1]
        own, kafka_offset = place
        if own == offset:
            return kafka_offset
        image = next((image for image in source.partitions if image.partition == partition), None)
        if COMPACT in str(source.fields.get("cleanup.policy", "")) or image is None or image.cleaned_to > own:
            return kafka_offset
        key = name, partition, offset
        if key not in self._found:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()  # A run that follows would remember each offset that a group has ever had.
            self._found[key] = self._counted(name, partition, kafka_offset, position.kafka_offset, offset - own)
        return self._found[key]

    def _counted(self, name: str, partition: int, start: int, end: int, count: int) -> int:
        """Return the offset behind so many records in Kafka, which are there unless the front of them was removed."""
        from mk.kafka_cluster.partition_offsets import log_ends

        first = log_ends(self._client, [(name, partition)])[name, partition][0]
        if first > start:
            return first
        for messages in self._scan.read(name, partition, start, end):
            if len(messages) >= count:
                return int(messages[count - 1].offset()) + 1
            count -= len(messages)
        return start

    def _store_group(self, group: str, places: dict[Key, int]) -> None:
        from confluent_kafka import TopicPartition

        what = f"the offsets of group {group} cannot be committed in Kafka"
        changes = []
        for place in committed_places(self._client, {group: list(places)}, what)[group]:
            key = place.topic, place.partition
            if place.offset >= 0 and place.metadata != MARK:
                self._stored[group, key] = places[key]  # It reads in Kafka itself: nobody moves it.
            elif place.offset != places[key]:
                changes.append(TopicPartition(*key, places[key], MARK))
        if changes and not self._committed(group, changes, what):
            return
        for key, offset in places.items():
            self._stored[group, key] = offset

    def _committed(self, group: str, changes: list[Any], what: str) -> bool:
        """Commit for a group. False if it has members in Kafka by now: if they end and have committed nothing, the next run
        does it."""
        from confluent_kafka import ConsumerGroupTopicPartitions

        request = ConsumerGroupTopicPartitions(group, changes)
        end = monotonic() + self._client.timeout_seconds
        while True:
            try:
                done = self._client.change_once(
                    lambda: self._client.admin.alter_consumer_group_offsets([request])[group], what, group=group
                )
                failed = [place.error for place in done.topic_partitions if place.error is not None]
                if not failed:
                    return True
                raise self._client.error(failed[0], what, group=group)
            except GroupNotEmptyError:
                return False
            except TryAgainError as error:
                if error.facts.get("code") in _HAS_MEMBERS:
                    return False
                if monotonic() + SLICE_SECONDS >= end:
                    raise
            sleep(SLICE_SECONDS)
