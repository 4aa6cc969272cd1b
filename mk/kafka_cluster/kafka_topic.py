"""A topic of a Kafka cluster, with the methods of one in a directory: what producers and consumers ask of it."""

from __future__ import annotations

from time import monotonic

from mk.config import COMPACT, DELETE, TOPIC_CONFIG
from mk.errors import MkError, NoSuchTopicError, NotFoundError, UsageError
from mk.storage.topic import Topic
from mk.storage.topic_pattern import TopicPattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from mk.kafka_cluster.client import Client
    from mk.kafka_cluster.fetcher import Fetcher
    from mk.kafka_cluster.kafka_log import KafkaPartitionLog
    from mk.kafka_cluster.kafka_reader import KafkaPartitionReader
    from mk.kafka_cluster.topic_news import TopicNews
    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.partition_reader import ReadBuffer
    from mk.storage.producer_pin import ProducerPin

_LOOK_SECONDS = 1.0
"""How often topics that match are looked for while others are followed."""

PARTITIONERS = {"consistent": "crc32", "consistent_random": "crc32", "murmur2": "murmur2", "murmur2_random": "murmur2"}
"""librdkafka's names for how a key finds its partition, and mk's."""

_OF_A_DIRECTORY = frozenset(("flush.ms", "compression.type"))
"""Settings that speak of something else at a broker: mk sends as it does to a directory, and librdkafka compresses."""


class KafkaDirectory:
    """A cluster, with as much of a LogDirectory as consumers ask for. fetcher: what the readers of its topics share.

    news: tells what becomes of its topics, for who follows them; None asks each time.
    """

    __slots__ = ("_directory_id", "client", "fetcher", "news", "path")

    def __init__(self, client: Client, fetcher: Fetcher | None = None, news: TopicNews | None = None) -> None:
        self.client = client
        self.path = client.location
        self._directory_id = ""
        self.fetcher = fetcher
        self.news = news

    @property
    def directory_id(self) -> str:
        """What the cluster is known by, whatever its address."""
        if not self._directory_id:
            from mk.kafka_cluster.cluster_identity import cluster_directory_id

            self._directory_id = cluster_directory_id(self.client)
        return self._directory_id

    def topic_names(self) -> list[str]:
        """Return the names of all topics, sorted."""
        metadata = self.client.call(self.client.admin.list_topics, f"the topics of {self.path} cannot be listed")
        return sorted(metadata.topics)

    def open_topic(self, name: str) -> KafkaTopic:
        return self.open_topics([name])[0]

    def open_topics(self, names: Iterable[str]) -> list[KafkaTopic]:
        """Open topics, all of them or none. Raises NoSuchTopicError."""
        names = list(names)
        described = self.describe(names)
        topics = []
        for name in names:
            if isinstance(described[name], NotFoundError):
                raise described[name]
            topics.append(KafkaTopic(self, name, described[name]))
        return topics

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the library's TopicDescription of each of these topics, NoSuchTopicError of one that is not there."""
        if not names:
            return {}
        collection = self.client.kafka.TopicCollection
        found: dict[str, Any] = self.client.ask(
            lambda some: self.client.admin.describe_topics(collection(some)),
            names,
            lambda name: {"what": f"topic {name} cannot be described", "topic": name},
        )
        for name, answer in found.items():
            if isinstance(answer, NotFoundError):
                found[name] = NoSuchTopicError(topic=name, directory=self.path)
            elif isinstance(answer, MkError):
                raise answer
        return found


class KafkaTopic(Topic):
    """A topic as it was last described. topic_id: Kafka's, as 32 hex digits.

    overrides: the settings that the topic has of its own, as far as mk knows them; asked for when they are first needed,
    and none where the cluster does not let us look.
    """

    __slots__ = ("_configured", "_is_deleted")

    directory: KafkaDirectory  # type: ignore[assignment]  # What is asked of one, it answers.

    def __init__(self, directory: KafkaDirectory, name: str, description: Any) -> None:
        self.directory = directory
        self.name = name
        self.fd = self._json_fd = -1
        self.version = 1
        self.created = self.sealed = self.sealed_by = ""
        self.topic_id = topic_id_of(description)
        self.partitions = len(description.partitions)
        self.partitioner = self._partitioner()
        self._configured: dict[str, int | str] | None = None
        self._is_deleted = False

    def close(self) -> None:
        if self.directory.news is not None:
            self.directory.news.forget(self.name)

    @property
    def path(self) -> str:
        return f"{self.directory.path}/{self.name}"

    @property
    def overrides(self) -> dict[str, int | str]:  # type: ignore[override]
        if self._configured is None:
            from mk.kafka_cluster.topic_config import read_topic_config

            self._configured = read_topic_config(self.directory.client, self.name)
        return self._configured

    def forget_settings(self) -> None:
        """Ask for the settings anew when they are needed next."""
        self._configured = None

    @property
    def compacts(self) -> bool:  # type: ignore[override]
        return COMPACT in str(self.config("cleanup.policy"))

    @property
    def deletes(self) -> bool:  # type: ignore[override]
        return DELETE in str(self.config("cleanup.policy"))

    def config(self, name: str) -> int | str:
        return TOPIC_CONFIG[name].default if name in _OF_A_DIRECTORY else super().config(name)

    def refresh(self) -> bool:
        """Look again how many partitions it has, and whether it is still there: as was told last, where that is followed."""
        news = self.directory.news
        if news is None:
            return self._adopt_description(self.directory.describe([self.name])[self.name])
        description = news.description_of(self.name)
        return description is not None and self._adopt_description(description)

    def _adopt_description(self, description: Any) -> bool:
        if isinstance(description, NotFoundError) or topic_id_of(description) != self.topic_id:
            self._is_deleted = True
            return False
        grown = len(description.partitions) != self.partitions
        self.partitions = len(description.partitions)
        self.version += grown
        return grown

    def check_identity(self) -> None:
        self._adopt_description(self.directory.describe([self.name])[self.name])
        self.check_not_deleted()

    def is_deleted(self) -> bool:
        """Tell whether the last look found it deleted, or made anew."""
        return self._is_deleted

    def check_name(self) -> None:
        self.refresh()
        self.check_not_deleted()

    def has_producers(self) -> bool:
        return False

    @property
    def watch_path(self) -> str:
        return ""  # All partitions are watched together.

    # What producers and consumers ask for.

    def open_log(self, partition: int, *, lock_wait_ms: int = 10_000) -> KafkaPartitionLog:  # type: ignore[override]
        from mk.kafka_cluster.kafka_log import KafkaPartitionLog

        return KafkaPartitionLog(self, self.check_partition(partition))

    def open_reader(self, partition: int, buffer: ReadBuffer | None = None) -> KafkaPartitionReader:  # type: ignore[override]
        from mk.kafka_cluster.fetcher import Fetcher
        from mk.kafka_cluster.kafka_reader import KafkaPartitionReader

        self.check_partition(partition)
        if self.directory.fetcher is None:
            self.directory.fetcher = Fetcher(self.directory.client)
        return KafkaPartitionReader(self, partition, self.directory.fetcher)

    def pin_producer(self, name: str, *, partition: int | None, lock_wait_ms: int) -> ProducerPin:
        raise no_producer_ids()

    def check_not_followed(self, name: str) -> None:
        """Nothing is followed where there are no producer ids."""

    def read_epochs(self, partition: int) -> LeaderEpochs:
        from mk.storage.leader_epochs import EpochEntry, LeaderEpochs

        return LeaderEpochs([EpochEntry(0, 0, "")])

    def _partitioner(self) -> str:
        return producers_partitioner(self.directory.client)

    def _gone(self, why: str) -> NoSuchTopicError:
        return NoSuchTopicError(topic=self.name, directory=self.directory.path, why=why)


def no_producer_ids() -> UsageError:
    """Return the error for a producer id, which no broker would remember."""
    return UsageError(
        "--producer-id is not offered on a Kafka cluster",
        why="its brokers do not remember the input of a producer that was started again",
        fix="leave it out: within one run, each record is stored once; nothing was done",
    )


def producers_partitioner(client: Client) -> str:
    """Return which partitioner, by mk's name, the properties of the connection say. Raises UsageError for an unknown one."""
    named = client.property("partitioner", "consistent_random")
    if named not in PARTITIONERS:
        raise UsageError(
            f"partitioner cannot be {named!a}",
            fix="of librdkafka's, mk knows " + ", ".join(PARTITIONERS) + "; nothing was done",
        )
    return PARTITIONERS[named]


class KafkaTopicPattern(TopicPattern):
    """The topics of the cluster whose names match, also those that appear later; not those that Kafka keeps for itself."""

    __slots__ = ("_cluster", "_next_look")

    def __init__(self, directory: KafkaDirectory, text: str) -> None:
        super().__init__(directory, text)  # type: ignore[arg-type]
        self._cluster = directory
        self._next_look = 0.0

    def open_new(self, known: Sequence[Topic]) -> list[Topic]:
        """Open the topics that match and are not among `known`, if the last look is some time ago."""
        if monotonic() < self._next_look:
            return []
        names = {topic.name for topic in known}
        wanted = [
            name
            for name in self._cluster.topic_names()
            if name not in names and self._search(name) and not is_internal(name)
        ]
        described = self._cluster.describe(wanted)
        self._next_look = monotonic() + _LOOK_SECONDS
        return [
            KafkaTopic(self._cluster, name, described[name])
            for name in wanted
            if not isinstance(described[name], NotFoundError)
        ]

    @property
    def watch_path(self) -> str:
        return ""


def topic_id_of(description: Any) -> str:
    """Return Kafka's id of a topic as mk writes one."""
    topic_id = description.topic_id
    bits = topic_id.get_most_significant_bits() << 64 | topic_id.get_least_significant_bits() & (1 << 64) - 1
    return f"{bits & (1 << 128) - 1:032x}"


def is_internal(name: str) -> bool:
    """Tell whether Kafka keeps a topic for itself, as __consumer_offsets."""
    return name.startswith("__")
