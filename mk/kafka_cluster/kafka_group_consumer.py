"""Reading for a group of Kafka: a GroupConsumer whose partitions the brokers give and take.

They are taken within a call of the library that was to bring records. Who is about to read one then finds it gone.
"""

from __future__ import annotations

from time import monotonic

from mk.consumer.group_consumer import GroupConsumer
from mk.consumer.group_source import GroupSource
from mk.errors import NoSuchTopicError
from mk.kafka_cluster.client import SLICE_SECONDS
from mk.kafka_cluster.group_fetcher import GroupFetcher
from mk.kafka_cluster.kafka_group_coordinator import FENCED, LATER, NO_EPOCH, NO_OFFSET, KafkaGroupCoordinator
from mk.kafka_cluster.kafka_watch import KafkaWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.consumer.consumer import FetchedBatch, Source
    from mk.groups.assignor import Key
    from mk.groups.group_coordinator import GroupCoordinator
    from mk.kafka_cluster.kafka_group_coordinator import KafkaClaim
    from mk.kafka_cluster.kafka_topic import KafkaDirectory
    from mk.storage.topic import Topic


class KafkaGroupConsumer(GroupConsumer):
    """See GroupConsumer. directory: of this consumer alone, since its topics are read through the group's member."""

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        directory: KafkaDirectory,
        group: str,
        session_timeout_ms: int,
        follow: bool = False,
        **options: Any,
    ) -> None:
        self._fetcher = GroupFetcher(directory.client, group, session_timeout_ms=session_timeout_ms, follow=follow)
        directory.fetcher = self._fetcher
        self._last_came = monotonic()
        self._given: dict[Key, int | None] = {}  # Up to where each partition was given out; None while more is fetched.
        super().__init__(
            topics,
            directory=directory,  # type: ignore[arg-type]  # What is asked of one, it answers.
            group=group,
            session_timeout_ms=session_timeout_ms,
            follow=follow,
            open_watch=self._open_kafka_watch,
            **options,
        )

    def _open_kafka_watch(self, paths: Sequence[str], *, output_fd: int | None) -> KafkaWatch:
        # Our own waker is for signals, and for what the library tells within the wait.
        return KafkaWatch(self._fetcher, output_fd=output_fd, patient_wakers=1)

    def _has_to_be_told(self, now: float) -> bool:
        return True  # The library tells within its calls alone.

    def _new_coordinator(self, directory: Any, partitions: Any) -> GroupCoordinator:
        self._committer = KafkaGroupCoordinator(self._fetcher, self.group, self, wake=self._wake)
        return self._committer  # type: ignore[return-value]  # It has the methods of one.

    # For the coordinator, which calls within a call of the library.

    def take(self, claims: Sequence[KafkaClaim]) -> dict[Key, int]:
        """See Member."""
        topics = {topic.topic_id: topic for topic in self._topics}
        times = [self._first.value] if self._first is not None and self._first.kind == "time" else []
        self._fetcher.expect(
            [(topics[topic_id].name, partition) for topic_id, partition in (c.key for c in claims)], times
        )
        begins: dict[Key, int] = {}
        for claim in claims:
            topic_id, partition = claim.key
            try:
                if partition >= topics[topic_id].partitions:
                    topics[topic_id].refresh()  # It was added since our last look, and the coordinator knew it first.
                self._open_owned(topics[topic_id], partition, claim)  # type: ignore[arg-type]  # As of a directory.
            except NoSuchTopicError:
                self._committer.release(claim.key)
                if self._pattern is None:
                    raise
                continue  # The next look drops it.
            begins[claim.key] = self._by_key[claim.key].reader.next_offset
        return begins

    def give_up(self, keys: Sequence[Key]) -> None:
        """See Member."""
        sources = [self._by_key[key] for key in keys if key in self._by_key]
        try:
            for source in sources:
                self._delivery.finish(source.topic.name, source.reader.partition)
            if not self._committer.has_failed:
                self._commit_all(sources)
        finally:
            for source in sources:
                self._forget(source)

    def lose(self, keys: Sequence[Key]) -> None:
        """See Member."""
        for key in keys:
            if key in self._by_key:
                self._lose(self._by_key[key])

    # What is done otherwise.

    def _rebalance(self, now: float) -> None:
        if self._coordinator is not None:
            self._coordinator.tend()

    def _next_sources(self) -> Sequence[GroupSource]:
        """Return where something has come, waiting for that a little: in a fetch from one, others would wait with it."""
        fetcher = self._fetcher
        wanted = []
        for source in self._by_key.values():
            if source.is_complete:
                fetcher.let_go(source.reader.place)  # type: ignore[attr-defined]  # They are readers of this fetcher.
            else:
                wanted.append(source)
        end = monotonic() + SLICE_SECONDS
        fetcher.await_ready(
            [source.reader for source in wanted],  # type: ignore[misc]
            end if self._deadline is None else min(end, self._deadline),
        )
        ready = [source for source in wanted if source.reader.is_ready]  # type: ignore[attr-defined]
        now = monotonic()
        if ready or not any(source.reader.is_short for source in wanted):  # type: ignore[attr-defined]
            self._last_came = now
        elif now - self._last_came >= fetcher.client.timeout_seconds:
            self._last_came = now
            fetcher.explain([source.reader for source in wanted])  # type: ignore[misc]
        return ready

    def _fetch(self, source: Source) -> list[FetchedBatch]:
        assert isinstance(source, GroupSource)
        given = self._given.get(source.key, source.first_offset)
        # Interrupted behind the fetch, what it brought is given to nobody, and must not be taken for a hole at close.
        self._given[source.key] = None
        fetch = super()._fetch(source)
        if self._by_key.get(source.key) is not source:
            return []
        self._given[source.key] = fetch[-1].next_offset if fetch else given
        return fetch

    def _commit_all(self, sources: Sequence[GroupSource]) -> None:
        """Commit with one request. While the group is being rebalanced, what is taken stays to be committed."""
        if not self._may_commit:
            return
        for source in sources:
            self._take_holes(source)
        moved = [source for source in sources if source.taken_offset != source.committed_offset]
        if not moved:
            return
        taken = {source.key: (source.taken_offset, source.taken_epoch) for source in moved}
        try:
            became = self._committer.commit(taken)
        except NoSuchTopicError:
            if self._pattern is None:
                raise
            return  # The next look drops it.
        if became == LATER:
            return
        for source in moved:
            if became == FENCED:
                self._lose(source)
            else:
                source.committed_offset = taken[source.key][0]

    def _take_holes(self, source: GroupSource) -> None:
        """Count what no record stands in, behind all that was given out and is taken: the ends of transactions."""
        if source.taken_offset == self._given.get(source.key, source.first_offset):
            read = source.reader.next_offset
            end = read if source.stop_offset is None else min(read, source.stop_offset)
            source.taken_offset = max(source.taken_offset, end)

    def _commit(self, source: GroupSource) -> None:
        self._commit_all([source])

    def _forget(self, source: GroupSource) -> None:
        super()._forget(source)
        self._given.pop(source.key, None)
        # Whoever is waiting for its records, and called what led here, finds that there are none.
        source.reader.high_watermark = source.reader.next_offset

    def _why_lost(self, topic: str, partition: int) -> str:
        return (
            f"the brokers have taken partition {partition} of {topic} from this member of group {self.group}, of which they"
            " heard nothing for too long; what it had not committed is read again by whoever has it"
        )

    def _epoch_before(self, topic: Topic, partition: int, offset: int) -> int:
        return NO_EPOCH

    def _position(self, source: GroupSource) -> int:
        """Return where to read on: where the group stands, or else where `offset` says."""
        reader = source.reader
        start, end = reader.log_start_offset, reader.high_watermark
        committed = source.claim.committed.offset
        if committed == NO_OFFSET:
            if self._first is None or self._first.kind == "committed":
                return start
            return self._first.resolve(start, end, reader.offset_for_time, lambda group: self._committed(source, group))
        return committed if committed <= end else self._truncated(source, committed, end)
