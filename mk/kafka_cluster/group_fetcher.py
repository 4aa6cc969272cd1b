"""A fetcher whose consumer is a member of a group: which partitions come is said by the group's coordinator at the brokers.

What is let go of for a while is paused, and stays this member's.
"""

from __future__ import annotations

from time import monotonic, sleep

from mk.kafka_cluster.fetcher import Fetcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from confluent_kafka import KafkaError

    from mk.kafka_cluster.client import Client
    from mk.kafka_cluster.kafka_reader import KafkaPartitionReader
    from mk.kafka_cluster.partition_offsets import Place

_MOST_WAITING_BYTES = 32 << 20
"""What is kept for a member that takes long over what it has, before nothing more is let in."""

_PAUSE_SECONDS = 0.01
_LONGEST_POLL_MS = 300_000
_TEND_SECONDS = 0.1
"""How often it is seen to that the library has been asked, while there is enough to work on."""

_METADATA_MS = 1000
"""How often it is looked for partitions that were added: five minutes, the default, is long for who waits for a record."""

_REJOINED = frozenset(("_MAX_POLL_EXCEEDED", "_ASSIGNMENT_LOST", "UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION"))
"""What a member is told that took too long: what it lost it is told of apart, and it is a member again by itself."""


class GroupFetcher(Fetcher):
    """See Fetcher. It connects at once, and lets go when it is told to leave.

    is_incremental: partitions come and go one by one, and one that was taken from a member may be nobody's for a while.
    """

    _is_alone = False

    def __init__(self, client: Client, group: str, *, session_timeout_ms: int, follow: bool) -> None:
        """session_timeout_ms: how long the member may be silent, unless the user says another one of librdkafka's."""
        super().__init__(client, follow=follow)
        self._leaving: Any = None
        self._assigned: set[Place] = set()
        self._is_rebalanced = False
        self._next_tend = 0.0
        self._own: dict[str, object] = {"group.id": group}
        if not client.property("topic.metadata.refresh.interval.ms"):
            self._own["topic.metadata.refresh.interval.ms"] = _METADATA_MS
        is_new = client.property("group.protocol").lower() == "consumer"
        if not is_new and not client.property("session.timeout.ms"):
            self._own["session.timeout.ms"] = session_timeout_ms
            if session_timeout_ms > _LONGEST_POLL_MS and not client.property("max.poll.interval.ms"):
                self._own["max.poll.interval.ms"] = session_timeout_ms  # The library wants no less.
        # The library wants to be answered in the way of the protocol that the group has chosen.
        self.is_incremental = is_new or "cooperative" in client.property("partition.assignment.strategy")
        self._prepare()

    @property
    def consumer(self) -> Any:
        """The member. While it leaves, it still commits."""
        return self._consumer or self._leaving

    @property
    def is_leaving(self) -> bool:
        """Whether the library is being told that this member goes. It may give partitions to it meanwhile."""
        return self._leaving is not None

    def close(self) -> None:
        """Nothing: a member without partitions is one still."""

    def leave(self) -> None:
        """Leave the group, and let go of the connections."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            self._leaving = consumer  # Which tells meanwhile what we do not have any more.
            self._close(consumer)
            self._leaving = None
        self._begun.clear()
        self._assigned.clear()

    def tend(self) -> None:
        """Show that this member is alive, and heed what is told of its partitions. What comes meanwhile is kept."""
        now = monotonic()
        if self.waiting_bytes and now < self._next_tend:
            return  # Each time more would come than is taken.
        self._next_tend = now + _TEND_SECONDS
        if self.waiting_bytes > _MOST_WAITING_BYTES:
            for place, reader in self._readers.items():
                if reader.waiting_bytes:
                    self.let_go(place)
        self.take_in()

    def explain(self, readers: Sequence[KafkaPartitionReader]) -> None:
        """Raise why nothing comes of partitions, of which some are short of their ends, if there is a reason."""
        self._explain([reader for reader in readers if reader.is_short])

    # What the group says.

    def assign(self, begins: Sequence[Any]) -> None:
        """Have these partitions come, each from its offset on, for which there are readers."""
        from confluent_kafka import TopicPartition

        places = [(one.topic, one.partition) for one in begins]
        if self.is_incremental:
            self.consumer.incremental_assign(list(begins))
        else:
            self.consumer.assign(list(begins))
            self._assigned.clear()
            self._begun.clear()
        if begins:
            # The library remembers that a partition was paused when it comes back to the same member, and would bring nothing.
            self.consumer.resume([TopicPartition(*place) for place in places])
        self._assigned.update(places)
        self._begun.update(places)
        self._ever_begun.update(places)
        self._is_rebalanced = True

    def unassign(self, partitions: Sequence[Any]) -> None:
        """Have these partitions come no more."""
        places = [(one.topic, one.partition) for one in partitions]
        self._begun.difference_update(places)
        self._assigned.difference_update(places)
        if self.is_incremental:
            self.consumer.incremental_unassign(list(partitions))
        else:
            self.consumer.unassign()
        self._is_rebalanced = True

    # Reading.

    def take_in(self, seconds: float = 0.0) -> bool:
        self._is_rebalanced = False
        return super().take_in(seconds)

    def _heed(self, error: KafkaError, place: Place, offset: int) -> None:
        if self._is_rebalanced and error.name() == "_PARTITION_EOF":
            self.let_go(place)  # It may be of before the change, as in _hand_out.
        elif error.name() not in _REJOINED:
            super()._heed(error, place, offset)

    def _hand_out(self, messages: list[Any]) -> None:
        if not (messages and self._is_rebalanced):
            super()._hand_out(messages)
            return
        # Some of them may have been taken from the library before the change: taken for what comes after it, records between
        # would be passed over. All partitions come once more, each from where its reader is.
        for place in list(self._begun):
            self.let_go(place)

    def _properties(self) -> dict[str, object]:
        return {**super()._properties(), **self._own}

    def _begin(self, starts: dict[Place, int]) -> None:
        from confluent_kafka import TopicPartition

        for place, offset in starts.items():
            if place not in self._assigned:
                self._begun.discard(place)
                continue
            self._seek(TopicPartition(*place, offset))
            self._consumer.resume([TopicPartition(*place)])

    def _seek(self, partition: Any) -> None:
        end = monotonic() + self.client.timeout_seconds
        while True:
            try:
                self._consumer.seek(partition)
                return
            except self.client.kafka.KafkaException as failure:
                # One that was assigned a moment ago has not begun as yet.
                if failure.args[0].name() != "_STATE" or monotonic() >= end:
                    what = f"partition {partition.partition} of {partition.topic} cannot be read"
                    raise self.client.error(failure.args[0], what, topic=partition.topic) from None
            sleep(_PAUSE_SECONDS)

    def _end(self, places: Sequence[Place]) -> None:
        from confluent_kafka import TopicPartition

        assigned = [TopicPartition(*place) for place in places if place in self._assigned]
        if assigned and self._consumer is not None:
            self._consumer.pause(assigned)
