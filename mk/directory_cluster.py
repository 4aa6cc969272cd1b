"""The cluster that is one log directory."""

from __future__ import annotations

import errno

from mk.directory_care import DirectoryCare
from mk.errors import (
    ConfigurationError,
    CorruptStateError,
    DataError,
    NoSuchDirectoryError,
    NoSuchTopicError,
    PermissionDeniedError,
    StorageError,
    UsageError,
)
from mk.storage import files
from mk.storage.log_directory import LogDirectory, create_directory
from mk.topic_partition import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from mk.consumer.awaiting import AwaitingConsumer
    from mk.consumer.consumer import Consumer, Delivery
    from mk.consumer.group_consumer import GroupConsumer
    from mk.consumer.offset_spec import OffsetLike
    from mk.errors import MkError
    from mk.groups.group_watch import GroupWatch
    from mk.groups.offset_reset import OffsetChange
    from mk.maintenance.sampler import Sampler
    from mk.producer.producer import Producer
    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import EncodedBatch
    from mk.storage.partition_log import AppendResult
    from mk.storage.retention import GroupOffset
    from mk.storage.topic import Topic
    from mk.storage.topic_pattern import TopicPattern


def _group_offsets(topic: Topic, partition: int, wanted: str) -> Iterable[GroupOffset]:
    """Tell retention how far groups have read. It is loaded when a topic asks for it, not with each producer."""
    from mk.groups.offset_store import group_offsets

    return group_offsets(topic, partition, wanted)


class DirectoryCluster(DirectoryCare):
    """See `help(mk.Cluster)` for what the methods do. A log directory is made by the first process that asks for it with `create`."""

    has_producer_ids = True

    def __init__(
        self, path: str, *, create: bool, allow_network_fs: bool, shared_group: str | None, shared_readers: str
    ) -> None:
        self.location = path
        self._sampler: Sampler | None = None
        sharing = None
        if shared_group is not None:
            from mk.storage.sharing import Sharing

            sharing = Sharing(shared_group, shared_readers)
        with files.about(path):
            try:
                self._directory = self._open_directory(path, allow_network_fs)
            except NoSuchDirectoryError:
                if not create:
                    raise
                create_directory(path, sharing=sharing, allow_network_fs=allow_network_fs)
                self._directory = self._open_directory(path, allow_network_fs)
            if sharing is not None:
                try:
                    self._directory.check_sharing(sharing)
                except BaseException:
                    self._directory.close()
                    raise

    @staticmethod
    def _open_directory(path: str, allow_network_fs: bool) -> LogDirectory:
        return LogDirectory(path, allow_network_fs=allow_network_fs, group_offsets=_group_offsets)

    def __enter__(self) -> DirectoryCluster:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._directory.close()

    def open_topic(self, name: str) -> Topic:
        return self._open(name)

    def topic_names(self) -> list[str]:
        return self._directory.topic_names()

    def check_name_is_free(self, name: str, *, but: str = "") -> None:
        with files.about(self.location):
            self._directory.check_name_is_free(name, but=but)

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
        from mk.config import check_no_replication, check_partitioner, parse_topic_config

        check_no_replication(replication_factor)
        check_partitioner(partitioner)
        overrides = parse_topic_config({key: str(value) for key, value in (config or {}).items()})
        with files.about(self.location):
            self._directory.create_topic(
                name, partitions=partitions, partitioner=partitioner, overrides=overrides, wait_ms=wait_ms
            )

    def delete_topic(self, name: str, *, wait_ms: int = 10_000) -> None:
        with files.about(self.location):
            try:
                self._directory.delete_topic(name, wait_ms=wait_ms)
            except (CorruptStateError, NoSuchTopicError) as error:
                if isinstance(error, NoSuchTopicError):
                    is_damaged = name in self.topic_names()
                else:
                    is_damaged = str(error.facts["path"]).endswith("/topic.json")
                if not is_damaged:
                    raise
                from mk.storage.topic_changes import delete_damaged_topic

                delete_damaged_topic(self._directory, name, wait_ms=wait_ms)

    def alter_topic(
        self,
        name: str,
        *,
        config: Mapping[str, int | str] | None = None,
        unset: Sequence[str] = (),
        partitions: int | None = None,
        wait_ms: int = 10_000,
    ) -> None:
        from mk.config import PARTITIONERS, check_partitioner, check_setting_names, parse_topic_config
        from mk.storage.topic_changes import alter_topic

        given = {key: str(value) for key, value in (config or {}).items()}
        check_setting_names(unset)
        settings: dict[str, int | str] = {}
        if "partitioner" in given:
            settings["partitioner"] = check_partitioner(given.pop("partitioner"))
        elif "partitioner" in unset:
            settings["partitioner"] = PARTITIONERS[0]
        settings.update(parse_topic_config(given))
        unset = [key for key in unset if key != "partitioner"]
        with files.about(self.location):
            alter_topic(self._directory, name, settings=settings, unset=unset, partitions=partitions, wait_ms=wait_ms)

    def rename_topic(self, old: str, new: str, *, wait_ms: int = 10_000) -> None:
        from mk.storage.topic_changes import rename_topic

        with files.about(self.location):
            rename_topic(self._directory, old, new, wait_ms=wait_ms)

    def seal_topic(self, name: str, *, wait_ms: int = 10_000) -> bool:
        from mk.storage.topic_changes import seal_topic

        with files.about(self.location):
            return seal_topic(self._directory, name, wait_ms=wait_ms)

    def unseal_topic(self, name: str, *, wait_ms: int = 10_000) -> bool:
        from mk.storage.topic_changes import unseal_topic

        with files.about(self.location):
            return unseal_topic(self._directory, name, wait_ms=wait_ms)

    def summaries(self, names: Sequence[str] | None = None) -> Iterator[dict[str, object] | MkError]:
        from mk.storage.description import summarize
        from mk.storage.topic import Topic

        for name in self.topic_names() if names is None else names:
            try:
                topic = Topic(self._directory, name)
                try:
                    yield summarize(topic)
                finally:
                    topic.close()
            except NoSuchTopicError:
                continue  # Deleted while we looked, or a directory that is no topic.
            except (DataError, ConfigurationError) as error:
                yield error
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise  # This process's limits say nothing of the topic.
                path = files.place_of(error, f"{self.location}/topics/{name}")
                kind = PermissionDeniedError if isinstance(error, PermissionError) else StorageError
                yield kind(f"cannot read topic {name}", why=f"{path}: {error.strerror}", fix="look at that path")

    def describe_topic(self, name: str) -> dict[str, object]:
        from mk.storage.description import describe

        with files.about(f"{self.location}/topics/{name}"):
            topic = self._open(name)
            try:
                return describe(topic)
            finally:
                topic.close()

    def partitions(self, name: str) -> int:
        topic = self._open(name)
        try:
            return topic.partitions
        finally:
            topic.close()

    def offsets(self, name: str) -> list[dict[str, int]]:
        from mk.storage.description import offsets

        with files.about(f"{self.location}/topics/{name}"):
            topic = self._open(name)
            try:
                return offsets(topic)
            finally:
                topic.close()

    def topic_settings(self, name: str) -> dict[str, object]:
        from mk.storage.description import settings

        topic = self._open(name)
        try:
            return settings(topic)
        finally:
            topic.close()

    def topic_rates(self, name: str) -> list[dict[str, float]]:
        from mk.storage.description import rates

        with files.about(f"{self.location}/topics/{name}"):
            topic = self._open(name)
            try:
                return rates(topic)
            finally:
                topic.close()

    def topic_times(self, name: str) -> dict[str, Any]:
        from mk.storage.description import times

        with files.about(f"{self.location}/topics/{name}"):
            topic = self._open(name)
            try:
                return times(topic)
            finally:
                topic.close()

    def sample(self, owners_of: str = "") -> dict[str, Any]:
        from mk.maintenance.sampler import Sampler

        if self._sampler is None:
            self._sampler = Sampler(self._directory)
        with files.about(self.location):
            return self._sampler.sample(owners_of)

    def has_keyed_records(self, name: str) -> bool:
        from mk.storage.key_search import has_keyed_records

        with files.about(f"{self.location}/topics/{name}"):
            topic = self._open(name)
            try:
                return has_keyed_records(topic)
            finally:
                topic.close()

    def key_partitioner(self, name: str) -> Callable[[bytes], int]:
        from mk.producer.partitioner import partitioner

        topic = self._open(name)
        topic.close()
        partition_of, partitions = partitioner(topic.partitioner), topic.partitions
        return lambda key: partition_of(key, partitions)

    def last_record(self, name: str, partition: int, key: bytes) -> ConsumerRecord | None:
        from mk.storage.key_search import last_record

        with files.about(f"{self.location}/topics/{name}"):
            topic = self._open(name)
            try:
                return last_record(topic, partition, key)
            finally:
                topic.close()

    def offset_for_time(self, name: str, partition: int, timestamp_ms: int) -> int:
        from mk.storage.partition_reader import PartitionReader

        topic = self._open(name)
        try:
            reader = PartitionReader(topic, partition)
            try:
                return reader.offset_for_time(timestamp_ms)
            finally:
                reader.close()
        finally:
            topic.close()

    def topic_config(self, name: str) -> dict[str, int | str]:
        from mk.config import TOPIC_CONFIG

        topic = self._open(name)
        try:
            return {key: topic.config(key) for key in sorted(TOPIC_CONFIG)}
        finally:
            topic.close()

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        from mk.groups.offset_store import committed_offset
        from mk.storage.partition_reader import PartitionReader

        opened = self._open(topic)
        try:
            reader = PartitionReader(opened, partition)
            try:
                return committed_offset(opened, group, reader)
            finally:
                reader.close()
        finally:
            opened.close()

    def group_names(self) -> list[str]:
        from mk.groups.offset_store import known_groups

        with files.about(self.location):
            return known_groups(self._directory)

    def describe_groups(self, groups: Sequence[str]) -> Iterator[dict[str, Any] | MkError]:
        from mk.group_errors import NoSuchGroupError
        from mk.groups.group_description import GroupDescriber

        describer = GroupDescriber(self._directory)
        for group in groups:
            with files.about(f"{self.location}/groups/{group}"):
                try:
                    yield describer.describe(group)
                except (DataError, NoSuchGroupError) as error:
                    yield error

    def describe_group(self, group: str) -> dict[str, Any]:
        from mk.groups.group_description import GroupDescriber

        with files.about(f"{self.location}/groups/{group}"):
            return GroupDescriber(self._directory).describe(group)

    def watch_group(self, group: str) -> GroupWatch:
        from mk.groups.group_watch import GroupWatch

        with files.about(f"{self.location}/groups/{group}"):
            return GroupWatch(self._directory, group)

    def check_group_is_empty(self, group: str) -> None:
        from mk.groups.offset_reset import check_is_empty

        with files.about(f"{self.location}/groups/{group}"):
            check_is_empty(self._directory, check_name(group, "group"))

    def change_offsets(
        self,
        group: str,
        changes: Sequence[OffsetChange],
        *,
        kind: str,
        undoes: int | None = None,
        wait_ms: int = 10_000,
    ) -> int:
        from mk.groups.offset_reset import change_offsets

        with files.about(f"{self.location}/groups/{group}"):
            return change_offsets(self._directory, group, changes, kind=kind, undoes=undoes, wait_ms=wait_ms)

    def group_changes(self, group: str) -> list[dict[str, Any]]:
        from mk.groups.claim_directory import open_group
        from mk.groups.reset_journal import read_changes

        with files.about(f"{self.location}/groups/{group}"):
            group_fd = open_group(self._directory, group)
            try:
                return read_changes(group_fd)
            finally:
                files.close(group_fd)

    def delete_offsets(
        self, group: str, topic_ids: Sequence[str], *, idle_since_ms: int | None = None, wait_ms: int = 10_000
    ) -> int:
        from mk.groups.group_removal import delete_claims

        with files.about(f"{self.location}/groups/{group}"):
            options: dict[str, Any] = {"idle_since_ms": idle_since_ms, "wait_ms": wait_ms}
            return delete_claims(self._directory, group, topic_ids, **options).claims

    def delete_group(self, group: str, *, idle_since_ms: int | None = None, wait_ms: int = 10_000) -> bool:
        from mk.groups.group_removal import delete_group

        with files.about(f"{self.location}/groups/{group}"):
            return delete_group(self._directory, group, idle_since_ms=idle_since_ms, wait_ms=wait_ms)

    def old_generations(self, group: str) -> int:
        from mk.groups.group_removal import old_generations

        with files.about(f"{self.location}/groups/{group}"):
            return len(old_generations(self._directory, group))

    def remove_old_generations(self, group: str) -> int:
        from mk.groups.group_removal import remove_old_generations

        with files.about(f"{self.location}/groups/{group}"):
            return remove_old_generations(self._directory, group)

    def find_member(self, group: str, member: str) -> dict[str, Any]:
        from mk.groups.group_members import document_of, live_members
        from mk.groups.member_kick import find_member

        with files.about(f"{self.location}/groups/{group}"):
            member_id = find_member(self._directory, group, member)
            return document_of(member_id, live_members(self._directory, group).get(member_id))

    def kick_member(self, group: str, member: str) -> list[tuple[str, int]]:
        from mk.groups.member_kick import find_member, kick_member

        with files.about(f"{self.location}/groups/{group}"):
            return kick_member(self._directory, group, find_member(self._directory, group, member))

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
        from mk.producer.producer import Producer

        opened = self._open(topic)
        try:
            return Producer(
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
        topic = self._open(name)
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
        opened, pattern = self._open_topics(topics, regex)
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
        }
        if merge or reverse or cursor_file is not None:
            from mk.consumer.selecting import selecting_consumer

            if follow:
                options.update(idle_ms=idle_ms, output_fd=output_fd)
            if cursor_file is not None:
                options["printed_to"] = output_fd
            return selecting_consumer(
                self._directory, opened, options, follow=follow, merge=merge, reverse=reverse, cursor_file=cursor_file
            )
        if not follow:
            return Consumer(opened, **options)
        from mk.consumer.following import FollowingConsumer

        return FollowingConsumer(opened, idle_ms=idle_ms, output_fd=output_fd, **options)

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
        return AwaitingConsumer(
            opened,
            pattern=pattern,
            partitions=partitions,
            offset=offset,
            only_partition=None if key is None else lambda topic: partitioner(topic.partitioner)(key, topic.partitions),
            max_time_ms=max_time_ms,
        )

    def group_consumer(
        self,
        group: str,
        topics: Sequence[str] = (),
        *,
        regex: str | None = None,
        follow: bool = False,
        idle_ms: int | None = None,
        **options: Any,
    ) -> GroupConsumer:
        from mk.consumer.group_consumer import GroupConsumer

        check_name(group, "group")
        if idle_ms is not None and not follow:
            raise UsageError("idle_ms means nothing without follow", fix="without it, reading ends at the end anyway")
        opened, pattern = self._open_topics(topics, regex)
        with files.about(f"{self.location}/groups/{group}"):
            return GroupConsumer(
                opened,
                directory=self._directory,
                group=group,
                pattern=pattern,
                follow=follow,
                idle_ms=idle_ms,
                **options,
            )

    def _open_topics(self, topics: Sequence[str], regex: str | None) -> tuple[list[Topic], TopicPattern | None]:
        if topics and regex is not None:
            raise UsageError("topics by name and by a regular expression exclude each other", fix="leave one out")
        if regex is not None:
            from mk.storage.topic_pattern import TopicPattern

            pattern = TopicPattern(self._directory, regex)
            return pattern.open_new([]), pattern
        opened: list[Topic] = []
        try:
            for name in dict.fromkeys((topics,) if isinstance(topics, str) else topics):
                opened.append(self._open(name))
        except BaseException:
            for topic in opened:
                topic.close()
            raise
        return opened, None
