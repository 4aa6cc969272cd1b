"""The cluster that is one log directory on another host, behind `ssh HOST mk serve --stdio`."""

from __future__ import annotations

from mk.errors import UsageError
from mk.remote_cluster.conversation import Conversation
from mk.remote_cluster.remote_topic import RemoteDirectory
from mk.transport.connection import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from mk.consumer.awaiting import AwaitingConsumer
    from mk.consumer.consumer import Consumer, Delivery
    from mk.consumer.offset_spec import OffsetLike
    from mk.errors import MkError
    from mk.producer.producer import Producer
    from mk.records.record_batch import EncodedBatch
    from mk.storage.partition_log import AppendResult
    from mk.storage.partition_reader import PartitionReader
    from mk.storage.topic import Topic
    from mk.storage.topic_pattern import TopicPattern
    from mk.transport.address import Address

_MAX_PATH = 4096
_DESCRIBED_AT_ONCE = 64
ELSEWHERE = frozenset(
    (
        "alter_topic",
        "change_offsets",
        "check_group_is_empty",
        "check_name_is_free",
        "clean",
        "clone_topic",
        "compact",
        "delete_group",
        "delete_offsets",
        "delete_records",
        "delete_topic",
        "describe_group",
        "describe_groups",
        "dump_partition",
        "find_member",
        "group_changes",
        "group_consumer",
        "group_names",
        "has_keyed_records",
        "health",
        "kick_member",
        "last_record",
        "old_generations",
        "rehash_topic",
        "remove_old_generations",
        "rename_topic",
        "repair",
        "reset_group",
        "seal_topic",
        "snapshot",
        "sweep",
        "unseal_topic",
        "verify_groups",
        "verify_topic",
        "watch_group",
    )
)
"""What a cluster has, and has to be asked for where the directory is."""


class RemoteCluster:
    """See `help(mk.Cluster)` for what the methods do. Not for two threads.

    It has the topics there to produce to and to consume without a group, and what is known of them. Whatever else a cluster
    has is done there: `ssh HOST mk ...`.
    """

    has_producer_ids = True

    def __init__(self, address: Address, *, create: bool, allow_network_fs: bool) -> None:
        self._destination = address.destination
        connection = connect(address, allow_network_fs=allow_network_fs)
        self._conversation = Conversation(connection)
        try:
            fields = self._conversation.request("open_directory", create)
            directory_id, path = fields.id(), fields.text(_MAX_PATH)
            fields.end()
        except BaseException:
            self.close()
            raise
        host = str(address)[: len(str(address)) - len(address.directory)]
        self._directory = RemoteDirectory(self._conversation, host, path, directory_id)
        self.location = self._directory.path

    def __enter__(self) -> RemoteCluster:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._conversation.close()

    def __getattr__(self, name: str) -> Any:
        """Refuse what a cluster has and this one has not. Raises UsageError."""
        if name not in ELSEWHERE:
            raise AttributeError(name)
        raise UsageError(
            f"{name} is not offered on another host",
            why="what produces and consumes is, and what lists and describes topics",
            fix=f"do it there: ssh {self._destination} mk ...; nothing was done",
        )

    def open_topic(self, name: str) -> Topic:
        return self._directory.open_topic(name)

    def topic_names(self) -> list[str]:
        return self._directory.topic_names()

    def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        partitioner: str = "crc32",
        config: Mapping[str, int | str] | None = None,
        replication_factor: int | None = None,
        wait_ms: int = 10_000,
    ) -> None:
        from mk.config import check_no_replication

        check_no_replication(replication_factor)
        settings = [part for key, value in (config or {}).items() for part in (key, str(value))]
        self._conversation.request(
            "make_topic", name, partitions, partitioner, len(settings) // 2, *settings, wait_ms
        ).end()

    def summaries(self, names: Sequence[str] | None = None) -> Iterator[dict[str, object] | MkError]:
        from mk.errors import FarSideError, MkError, NoSuchTopicError, PeerUnreachableError
        from mk.remote_cluster.documents import take_document

        names = self.topic_names() if names is None else names
        for at in range(0, len(names), _DESCRIBED_AT_ONCE):
            asked = [
                self._conversation.post("describe", "summary", name) for name in names[at : at + _DESCRIBED_AT_ONCE]
            ]
            for pending in asked:
                try:
                    fields = self._conversation.wait_for(pending)
                    fields.end()
                except NoSuchTopicError:
                    continue  # Deleted while we looked, or a directory that is no topic.
                except (FarSideError, PeerUnreachableError):
                    raise
                except MkError as error:
                    yield error
                else:
                    yield take_document("summary", pending.body, fields)

    def describe_topic(self, name: str) -> dict[str, object]:
        return self._described("topic", name)  # type: ignore[no-any-return]

    def partitions(self, name: str) -> int:
        topic = self._directory.open_topic(name)
        topic.close()
        return topic.partitions

    def offsets(self, name: str) -> list[dict[str, int]]:
        return self._described("offsets", name)  # type: ignore[no-any-return]

    def topic_settings(self, name: str) -> dict[str, object]:
        return self._described("settings", name)  # type: ignore[no-any-return]

    def topic_rates(self, name: str) -> list[dict[str, float]]:
        return self._described("rates", name)  # type: ignore[no-any-return]

    def topic_times(self, name: str) -> dict[str, Any]:
        return self._described("times", name)  # type: ignore[no-any-return]

    def sample(self, owners_of: str = "") -> dict[str, Any]:
        from mk.remote_cluster.documents import take_document

        fields = self._conversation.request("sample", owners_of)
        fields.end()
        return take_document("sample", self._conversation.body, fields)  # type: ignore[no-any-return]

    def topic_config(self, name: str) -> dict[str, int | str]:
        return self._described("config", name)  # type: ignore[no-any-return]

    def key_partitioner(self, name: str) -> Callable[[bytes], int]:
        from mk.producer.partitioner import partitioner

        topic = self._directory.open_topic(name)
        topic.close()
        partition_of, partitions = partitioner(topic.partitioner), topic.partitions
        return lambda key: partition_of(key, partitions)

    def offset_for_time(self, name: str, partition: int, timestamp_ms: int) -> int:
        topic = self._directory.open_topic(name)
        reader = topic.open_reader(partition)
        try:
            return reader.offset_for_time(timestamp_ms)
        finally:
            reader.close()
            topic.close()

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        opened = self._directory.open_topic(topic)
        reader = opened.open_reader(partition)
        try:
            return reader.committed_offset(group)
        finally:
            reader.close()
            opened.close()

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
        from mk.remote_cluster.remote_producer import RemoteProducer

        opened = self._directory.open_topic(topic)
        try:
            return RemoteProducer(
                opened,
                acks=acks,
                partition=partition,
                compression=compression,
                producer_id=producer_id,
                lock_wait_ms=lock_wait_ms,
                on_append=on_append,
            )
        except BaseException:
            opened.close()
            raise

    def append_batches(
        self, name: str, partition: int, batches: Sequence[EncodedBatch], *, wait_ms: int = 10_000
    ) -> AppendResult:
        topic = self._directory.open_topic(name)
        try:
            return topic.append_batches(partition, batches, lock_wait_ms=wait_ms)
        finally:
            topic.close()

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
        opened, pattern = self._open_topics(topics, regex)
        for topic in opened:
            topic.expect_readers(_wanted(topic, partitions, offset))
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
            "committed_offset": _committed_offset,
        }
        if follow:
            options.update(idle_ms=idle_ms, output_fd=output_fd, open_watch=self._open_watch)
        if merge or reverse or cursor_file is not None:
            from mk.consumer.selecting import selecting_consumer

            if cursor_file is not None:
                options["printed_to"] = output_fd
            return selecting_consumer(
                self._directory,  # type: ignore[arg-type]  # It answers what is asked of one.
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

        if retry:
            from mk.storage.topic_pattern import regex_of

            opened, pattern = self._open_topics((), regex_of(topics))
        else:
            opened, pattern = self._open_topics(topics, None)
        only = None if key is None else lambda topic: partitioner(topic.partitioner)(key, topic.partitions)
        for topic in opened:
            topic.expect_readers(_wanted(topic, partitions, offset) if only is None else [only(topic)])
        return AwaitingConsumer(
            opened,
            pattern=pattern,
            partitions=partitions,
            offset=offset,
            only_partition=only,
            max_time_ms=max_time_ms,
            open_watch=self._open_watch,
            committed_offset=_committed_offset,
        )

    def _open_watch(self, paths: Sequence[str], *, output_fd: int | None = None) -> Any:
        from mk.remote_cluster.remote_watch import RemoteWatch

        return RemoteWatch(self._conversation, output_fd=output_fd)

    def _open_topics(self, topics: Sequence[str], regex: str | None) -> tuple[list[Any], TopicPattern | None]:
        if topics and regex is not None:
            raise UsageError("topics by name and by a regular expression exclude each other", fix="leave one out")
        if regex is None:
            names = (topics,) if isinstance(topics, str) else topics
            return list(self._directory.open_topics(dict.fromkeys(names))), None
        from mk.remote_cluster.remote_topic import RemoteTopicPattern

        pattern = RemoteTopicPattern(self._directory, regex)
        return pattern.open_new([]), pattern

    def _described(self, what: str, name: str) -> Any:
        from mk.remote_cluster.documents import take_document

        fields = self._conversation.request("describe", what, name)
        fields.end()
        return take_document(what, self._conversation.body, fields)


def _wanted(
    topic: Topic, partitions: Sequence[int] | None, offset: OffsetLike | Mapping[int, OffsetLike] | None
) -> Sequence[int]:
    """Return the partitions of a topic that will be read."""
    if isinstance(offset, dict):
        return list(offset)
    return range(topic.partitions) if partitions is None else list(partitions)


def _committed_offset(topic: Topic, group: str, reader: PartitionReader) -> int | None:
    return reader.committed_offset(group)  # type: ignore[attr-defined, no-any-return]  # Those of this cluster have it.
