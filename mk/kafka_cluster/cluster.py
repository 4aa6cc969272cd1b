"""The cluster that is an Apache Kafka."""

from __future__ import annotations

from mk.errors import UsageError
from mk.kafka_cluster.client import Client
from mk.kafka_cluster.committed_offsets import CommittedOffsets
from mk.kafka_cluster.fetcher import Fetcher
from mk.kafka_cluster.group_admin import GroupAdmin
from mk.kafka_cluster.kafka_topic import KafkaDirectory, no_producer_ids, producers_partitioner
from mk.kafka_cluster.topic_admin import TopicAdmin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from mk.consumer.awaiting import AwaitingConsumer
    from mk.consumer.consumer import Consumer, Delivery
    from mk.consumer.offset_spec import OffsetLike
    from mk.producer.producer import Producer
    from mk.records.record_batch import EncodedBatch
    from mk.storage.partition_log import AppendResult
    from mk.storage.topic import Topic
    from mk.storage.topic_pattern import TopicPattern
    from mk.transport.kafka_address import KafkaAddress

ONLY_OF_DIRECTORIES = frozenset(
    (
        "clean",
        "clone_topic",
        "compact",
        "dump_partition",
        "health",
        "kick_member",
        "old_generations",
        "rehash_topic",
        "remove_old_generations",
        "rename_topic",
        "repair",
        "seal_topic",
        "snapshot",
        "sweep",
        "unseal_topic",
        "verify_groups",
        "verify_topic",
    )
)
"""What a cluster has that is a directory, and Kafka does in its own way or not at all."""


class KafkaCluster(TopicAdmin, GroupAdmin):
    """See `help(mk.Cluster)` for what the methods do. Not for two threads."""

    has_producer_ids = False

    def __init__(self, address: KafkaAddress) -> None:
        """Raises ConfigurationError where librdkafka is not installed. Connects when it is first asked for something."""
        self._client = Client(address)
        self._directory = KafkaDirectory(self._client)
        self.location = self._client.location

    def __enter__(self) -> KafkaCluster:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def producer(
        self,
        topic: str,
        *,
        acks: int | str | None = None,
        partition: int | None = None,
        compression: str | None = None,
        producer_id: str | None = None,
        lock_wait_ms: int = 10_000,
        on_append: Callable[[AppendResult], None] | None = None,
    ) -> Producer:
        from mk.kafka_cluster.kafka_producer import KafkaProducer

        # Before the topic is looked for: whoever is told that there is none makes it, and only then would be refused.
        if producer_id is not None:
            raise no_producer_ids()
        producers_partitioner(self._client)
        return KafkaProducer(
            self._directory.open_topic(topic),
            acks=acks,
            partition=partition,
            compression=compression,
            producer_id=producer_id,
            lock_wait_ms=lock_wait_ms,
            on_append=on_append,
        )

    def append_batches(
        self, name: str, partition: int, batches: Sequence[EncodedBatch], *, wait_ms: int = 10_000
    ) -> AppendResult:
        return self._directory.open_topic(name).append_batches(partition, batches, lock_wait_ms=wait_ms)

    def offset_for_time(self, name: str, partition: int, timestamp_ms: int) -> int:
        reader = self._directory.open_topic(name).open_reader(partition)
        try:
            return reader.offset_for_time(timestamp_ms)
        finally:
            reader.close()

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        opened = self._directory.open_topic(topic)
        reader = opened.open_reader(partition)
        try:
            return CommittedOffsets(self._client).of(opened, group, reader)  # type: ignore[arg-type]  # As of a PartitionReader.
        finally:
            reader.close()

    def consumer(
        self,
        topics: Sequence[str] = (),
        *,
        regex: str | None = None,
        partitions: Sequence[int] | None = None,
        offset: OffsetLike | Mapping[int, OffsetLike] | None = None,
        stop: OffsetLike | None = None,
        tail: int | None = None,
        follow: bool = False,
        idle_ms: int | None = None,
        max_time_ms: int | None = None,
        merge: bool = False,
        reverse: bool = False,
        cursor_file: str | None = None,
        output_fd: int | None = None,
        on_skip: Callable[[str, int, int, int], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        delivery: Delivery | None = None,
    ) -> Consumer:
        from mk.consumer.consumer import Consumer

        if idle_ms is not None and not follow:
            raise UsageError("idle_ms means nothing without follow", fix="without it, reading ends at the end anyway")
        if offset is not None or stop is not None:
            from mk.consumer.offset_spec import read_offsets

            offset, stop = read_offsets(offset, stop)
        directory = self._for_reading(follow=follow)
        opened, pattern = _open_topics(directory, topics, regex)
        _expect(directory, opened, partitions, offset, stop)
        options: dict[str, Any] = {
            "pattern": pattern,
            "partitions": partitions,
            "offset": offset,
            "stop": stop,
            "tail": tail,
            "max_time_ms": max_time_ms,
            "on_skip": on_skip,
            "on_note": on_note,
            "delivery": delivery,
            "committed_offset": CommittedOffsets(self._client).of,
            "in_turn": directory.fetcher.sources_in_turn,
        }
        if follow:
            options.update(idle_ms=idle_ms, output_fd=output_fd, open_watch=_watch_of(directory))
        if merge or reverse or cursor_file is not None:
            from mk.consumer.selecting import selecting_consumer

            if cursor_file is not None:
                options["printed_to"] = output_fd
            return selecting_consumer(
                directory,  # It answers what is asked of one.
                opened,
                options,
                follow=follow,
                merge=merge,
                reverse=reverse,
                cursor_file=cursor_file,
            )
        if not follow:
            return Consumer(opened, **options)
        from mk.consumer.following import FollowingConsumer

        return FollowingConsumer(opened, **options)

    def awaiting_consumer(
        self,
        topics: Sequence[str],
        *,
        partitions: Sequence[int] | None = None,
        offset: OffsetLike | None = None,
        key: bytes | None = None,
        max_time_ms: int | None = None,
        retry: bool = False,
    ) -> AwaitingConsumer:
        from mk.consumer.awaiting import AwaitingConsumer
        from mk.producer.partitioner import partitioner

        if offset is not None:
            from mk.consumer.offset_spec import read_offsets

            offset = read_offsets(offset, None)[0]  # type: ignore[assignment]  # No mapping is given.
        directory = self._for_reading(follow=True)
        if retry:
            from mk.storage.topic_pattern import regex_of

            opened, pattern = _open_topics(directory, (), regex_of(topics))
        else:
            opened, pattern = _open_topics(directory, topics, None)
        only = None if key is None else lambda topic: partitioner(topic.partitioner)(key, topic.partitions)
        _expect(directory, opened, partitions, offset, None, only)
        return AwaitingConsumer(
            opened,
            pattern=pattern,
            partitions=partitions,
            offset=offset,
            only_partition=only,
            max_time_ms=max_time_ms,
            open_watch=_watch_of(directory),
            committed_offset=CommittedOffsets(self._client).of,
            in_turn=directory.fetcher.sources_in_turn,
        )

    def _for_reading(self, *, follow: bool) -> Any:
        """Return the cluster as one consumer has it: with a fetcher of its own, since in each a partition stands at one place."""
        if not follow:
            return KafkaDirectory(self._client, Fetcher(self._client))
        from mk.kafka_cluster.topic_news import TopicNews

        return KafkaDirectory(self._client, Fetcher(self._client, follow=True), TopicNews(self._client))

    def __getattr__(self, name: str) -> Any:
        """Refuse what a cluster has and this one has not. Raises UsageError."""
        if name not in ONLY_OF_DIRECTORIES:
            raise AttributeError(name)
        raise UsageError(
            f"{name} is not offered on a Kafka cluster",
            why="it is work on the files of a log directory, which brokers do in their own way",
            fix="use it on a directory, or Kafka's own tools here; nothing was done",
        )


def _watch_of(directory: Any) -> Callable[..., Any]:
    def open_watch(paths: Sequence[str], *, output_fd: int | None = None) -> Any:
        from mk.kafka_cluster.kafka_watch import KafkaWatch

        return KafkaWatch(directory.fetcher, output_fd=output_fd)

    return open_watch


def _open_topics(
    directory: KafkaDirectory, topics: Sequence[str], regex: str | None
) -> tuple[list[Any], TopicPattern | None]:
    if topics and regex is not None:
        raise UsageError("topics by name and by a regular expression exclude each other", fix="leave one out")
    if regex is None:
        names = (topics,) if isinstance(topics, str) else topics
        return list(directory.open_topics(dict.fromkeys(names))), None
    from mk.kafka_cluster.kafka_topic import KafkaTopicPattern

    pattern = KafkaTopicPattern(directory, regex)
    return list(pattern.open_new([])), pattern


def _expect(
    directory: Any,
    topics: Sequence[Topic],
    partitions: Sequence[int] | None,
    offset: Any,
    stop: Any,
    only_partition: Callable[[Topic], int] | None = None,
) -> None:
    """Look up at once what the readers will ask for that are about to be opened."""
    places = []
    for topic in topics:
        wanted: Sequence[int] = range(topic.partitions)
        if only_partition is not None:
            wanted = (only_partition(topic),)
        elif isinstance(offset, dict):
            wanted = list(offset)
        elif partitions is not None:
            wanted = list(partitions)
        places += [(topic.name, partition) for partition in wanted if 0 <= partition < topic.partitions]
    specs = [*(offset.values() if isinstance(offset, dict) else [offset]), stop]
    directory.fetcher.expect(places, {spec.value for spec in specs if spec is not None and spec.kind == "time"})
