"""The topics of a Kafka cluster: making, describing, changing and deleting them.

What is changed is asked for of the controller, and then looked for: whoever runs the next command finds it done.
"""

from __future__ import annotations

from time import monotonic, sleep

from mk.errors import (
    MkError,
    NoSuchTopicError,
    NotFoundError,
    PeerUnreachableError,
    TopicExistsError,
    TryAgainError,
    UsageError,
)
from mk.kafka_cluster.partition_offsets import LATEST, ask, log_ends
from mk.topic_partition import check_name, check_partition_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from typing import Any

    from mk.kafka_cluster.client import Client
    from mk.kafka_cluster.kafka_topic import KafkaDirectory, KafkaTopic
    from mk.records.record import ConsumerRecord

_PAUSE_SECONDS = 0.05
"""Between two looks for what was changed."""

_UNKNOWN_OUTCOME = "`mk topics` shows whether it was done; look whether the brokers run, and run it again"


class TopicAdmin:
    """The part of KafkaCluster that is about topics. See `help(mk.Cluster)` for what the methods do."""

    _client: Client
    _directory: KafkaDirectory

    def topic_names(self) -> list[str]:
        """Return the names of all topics, sorted, but for those that Kafka keeps for itself."""
        from mk.kafka_cluster.kafka_topic import is_internal

        return [name for name in self._directory.topic_names() if not is_internal(name)]

    def open_topic(self, name: str) -> KafkaTopic:
        return self._directory.open_topic(name)

    # Making, changing and deleting.

    def check_name_is_free(self, name: str, *, but: str = "") -> None:
        check_name(name)
        if name in self._directory.topic_names() and name != but:
            raise TopicExistsError(topic=name, existing=name)

    def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        partitioner: str = "crc32",
        config: Mapping[str, int | str] | None = None,
        replication_factor: int | None = None,
        wait_ms: int = 10_000,
        dry_run: bool = False,
    ) -> None:
        """Create a topic; its partitions have leaders when it returns.

        replication_factor: None is the cluster's default. dry_run: let the cluster only say whether it would.
        """
        from mk.kafka_cluster.topic_config import check_partitioner_is_known, parse_kafka_config

        check_name(name)
        check_partition_count(partitions)
        check_partitioner_is_known(partitioner)
        settings = parse_kafka_config(config or {})
        new = self._client.admin_module.NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=-1 if replication_factor is None else replication_factor,
            config={key: str(value) for key, value in settings.items()},
        )
        self._change(
            lambda: self._client.admin.create_topics([new], validate_only=dry_run, **self._times())[name],
            f"topic {name} cannot be made",
            topic=name,
        )
        if not dry_run:
            self._await(lambda: self._has_leaders(name, partitions), f"topic {name} was made, but cannot be used yet")

    def delete_topic(self, name: str, *, wait_ms: int = 10_000) -> None:
        self._change(
            lambda: self._client.admin.delete_topics([name], **self._times())[name],
            f"topic {name} cannot be deleted",
            topic=name,
        )
        self._await(lambda: self._is_gone(name), f"topic {name} was deleted, but is still listed")

    def alter_topic(
        self,
        name: str,
        *,
        config: Mapping[str, int | str] | None = None,
        unset: Sequence[str] = (),
        partitions: int | None = None,
        wait_ms: int = 10_000,
        dry_run: bool = False,
    ) -> None:
        """Change settings and add partitions. dry_run: let the cluster only say whether it would."""
        from mk.kafka_cluster.topic_config import check_are_of_kafka, parse_kafka_config

        settings = parse_kafka_config(config or {})
        check_are_of_kafka(unset)
        before = self._directory.open_topic(name).partitions
        if partitions is not None:
            check_partition_count(partitions)
            if partitions < before:
                raise UsageError(
                    f"topic {name} cannot go from {before} partitions to {partitions}",
                    why="the records of those that go would go with them",
                    fix="make a new topic, and produce there what this one holds; nothing was changed",
                )
        # Both are first only checked: a setting that cannot be must not leave a topic with more partitions.
        for only_checks in (True,) if dry_run else (True, False):
            if settings or unset:
                self._alter_settings(name, settings, unset, dry_run=only_checks)
            if partitions is not None and partitions > before:
                self._add_partitions(name, partitions, dry_run=only_checks)

    def delete_records(self, name: str, partition: int, before_offset: int, *, wait_ms: int = 10_000) -> dict[str, Any]:
        topic = self._directory.open_topic(name)
        topic.check_partition(partition)
        start, end, _ = log_ends(self._client, [(name, partition)])[name, partition]
        if before_offset > end:
            from mk.errors import OffsetOutOfRangeError

            raise OffsetOutOfRangeError(
                topic=name,
                partition=partition,
                offset=before_offset,
                log_start_offset=start,
                log_end_offset=end,
                fix="`--to end` removes all there is; nothing was removed",
            )
        if before_offset > start:
            place = self._client.kafka.TopicPartition(name, partition, before_offset)
            deleted = self._change(
                lambda: self._client.admin.delete_records([place], **self._times())[place],
                f"records of partition {partition} of {name} cannot be removed",
                topic=name,
                partition=partition,
            )
            start = deleted.low_watermark
        return {"topic": name, "partition": partition, "log_start_offset": start, "files": None, "bytes": None}

    # Looking.

    def partitions(self, name: str) -> int:
        return self._directory.open_topic(name).partitions

    def offsets(self, name: str) -> list[dict[str, int]]:
        topic = self._directory.open_topic(name)
        ends = log_ends(self._client, [(name, number) for number in range(topic.partitions)])
        return [
            {"partition": number, "log_start_offset": start, "high_watermark": end, "leader_epoch": epoch}
            for (_, number), (start, end, epoch) in ends.items()
        ]

    def summaries(self, names: Sequence[str] | None = None) -> Iterator[dict[str, object] | MkError]:
        from mk.kafka_cluster.topic_description import summaries

        return summaries(self._directory, self.topic_names() if names is None else names)

    def describe_topic(self, name: str) -> dict[str, object]:
        from mk.kafka_cluster.topic_description import describe

        return describe(self._directory, name)

    def topic_settings(self, name: str) -> dict[str, object]:
        from mk.kafka_cluster.topic_description import settings

        return settings(self._directory, name)

    def topic_config(self, name: str) -> dict[str, int | str]:
        from mk.kafka_cluster.topic_config import config_document, describe_topic_config

        return dict(config_document(describe_topic_config(self._client, name))["config"])

    def topic_rates(self, name: str) -> list[dict[str, Any]]:
        from mk.kafka_cluster.topic_description import rates

        return rates(self._directory, name)

    def topic_times(self, name: str) -> dict[str, Any]:
        from mk.kafka_cluster.topic_description import times

        return times(self._directory, name)

    def key_partitioner(self, name: str) -> Callable[[bytes], int]:
        from mk.producer.partitioner import partitioner

        topic = self._directory.open_topic(name)
        partition_of, partitions = partitioner(topic.partitioner), topic.partitions
        return lambda key: partition_of(key, partitions)

    def has_keyed_records(self, name: str) -> bool:
        from mk.kafka_cluster.key_search import has_keyed_records

        return has_keyed_records(self, name)  # type: ignore[arg-type]  # It is the cluster that this is a part of.

    def last_record(self, name: str, partition: int, key: bytes) -> ConsumerRecord | None:
        from mk.kafka_cluster.key_search import last_record

        return last_record(self, name, partition, key)  # type: ignore[arg-type]  # As above.

    def sample(self, owners_of: str = "") -> dict[str, Any]:
        from mk.kafka_cluster.sampler import sample

        return sample(self, self._directory)  # type: ignore[arg-type]  # As above.

    # What the cluster does when it is asked.

    def _times(self) -> dict[str, float]:
        """How long the library may try to send a change: not longer than we wait, or it would be done after we said it failed."""
        seconds = 0.9 * self._client.patience
        return {"request_timeout": seconds, "operation_timeout": seconds}

    def _change(
        self, request: Callable[[], Future[Any]], what: str, *, topic: str, partition: int | None = None
    ) -> Any:
        """Return what a change of a topic, or of a partition of it, gives."""
        facts: dict[str, Any] = {"topic": topic} if partition is None else {"topic": topic, "partition": partition}
        try:
            return self._client.change(request, what, **facts)
        except PeerUnreachableError as error:
            raise PeerUnreachableError(error.what, why=error.why, fix=_UNKNOWN_OUTCOME, **error.facts) from None
        except NotFoundError as error:
            if isinstance(error, NoSuchTopicError) or partition is not None:
                raise
            raise NoSuchTopicError(topic=topic, directory=self._directory.path) from None

    def _await(self, is_so: Callable[[], bool], what: str) -> None:
        """Look until what was changed is seen. Raises TryAgainError when the time is up."""
        end = monotonic() + self._client.timeout_seconds
        while not is_so():
            if monotonic() >= end:
                raise TryAgainError(
                    what, why="the brokers have not all heard of it yet", fix="`mk topics` shows when it is done"
                )
            sleep(_PAUSE_SECONDS)

    def _has_leaders(self, name: str, partitions: int) -> bool:
        description = self._directory.describe([name])[name]
        if isinstance(description, MkError) or len(description.partitions) < partitions:
            return False
        # That a leader is named is heard before the leader itself has heard of it.
        (answers,) = ask(self._client, [(name, number) for number in range(partitions)], LATEST)
        for answer in answers.values():
            if isinstance(answer, MkError) and answer.facts.get("code") != "TOPIC_AUTHORIZATION_FAILED":
                return False
        return True

    def _is_gone(self, name: str) -> bool:
        return isinstance(self._directory.describe([name])[name], MkError)

    def _alter_settings(
        self, name: str, settings: dict[str, int | str], unset: Sequence[str], *, dry_run: bool
    ) -> None:
        admin = self._client.admin_module
        set_, delete = admin.AlterConfigOpType.SET, admin.AlterConfigOpType.DELETE
        entries = [
            *(admin.ConfigEntry(key, str(value), incremental_operation=set_) for key, value in settings.items()),
            *(admin.ConfigEntry(key, None, incremental_operation=delete) for key in unset),
        ]
        resource = admin.ConfigResource(admin.ResourceType.TOPIC, name, incremental_configs=entries)
        seconds = self._times()["request_timeout"]
        self._change(
            lambda: self._client.admin.incremental_alter_configs(
                [resource], validate_only=dry_run, request_timeout=seconds
            )[resource],
            f"the settings of topic {name} cannot be changed",
            topic=name,
        )
        if not dry_run:
            self._await(
                lambda: self._is_configured(name, settings), f"topic {name} was changed, but does not show it yet"
            )

    def _is_configured(self, name: str, settings: dict[str, int | str]) -> bool:
        from mk.kafka_cluster.topic_config import describe_topic_config

        entries = describe_topic_config(self._client, name)
        return all(entries[key].value == str(value) for key, value in settings.items() if key in entries)

    def _add_partitions(self, name: str, partitions: int, *, dry_run: bool) -> None:
        new = self._client.admin_module.NewPartitions(name, partitions)
        self._change(
            lambda: self._client.admin.create_partitions([new], validate_only=dry_run, **self._times())[name],
            f"topic {name} cannot have {partitions} partitions",
            topic=name,
        )
        if not dry_run:
            self._await(
                lambda: self._has_leaders(name, partitions),
                f"topic {name} has more partitions, but they cannot be used yet",
            )
