"""How far groups have read the topics of a Kafka cluster: what others than their members ask."""

from __future__ import annotations

from mk.errors import MkError, NotFoundError
from mk.group_errors import CommitBeyondEndError, NoSuchGroupError
from mk.kafka_cluster.group_coordinators import committed_offsets, descriptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.kafka_cluster.client import Client
    from mk.storage.partition_reader import PartitionReader
    from mk.storage.topic import Topic

_UNKNOWN = "where group {group} stands cannot be looked up"


class CommittedOffsets:
    """What groups have committed, asked for once for each group and topic: all partitions as of one moment."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, str], dict[int, int]] = {}

    def of(self, topic: Topic, group: str, reader: PartitionReader) -> int | None:
        """Return where a group stands in the partition of `reader`, None before its first commit.

        Raises NoSuchGroupError; CommitBeyondEndError, since reading on from there would skip records.
        """
        found = self._known.get((group, topic.name))
        if found is None:
            found = self._known[group, topic.name] = self._ask(topic, group)
        offset = found.get(reader.partition)
        if offset is not None and offset > reader.high_watermark:
            raise CommitBeyondEndError(
                group=group,
                topic=topic.name,
                partition=reader.partition,
                offset=offset,
                stands_at=reader.high_watermark,
            )
        return offset

    def _ask(self, topic: Topic, group: str) -> dict[int, int]:
        wanted = [(topic.name, partition) for partition in range(topic.partitions)]
        answer = committed_offsets(self._client, {group: wanted}, _UNKNOWN)[group]
        if isinstance(answer, NotFoundError):
            raise NoSuchGroupError(group=group, directory=self._client.location)
        if isinstance(answer, MkError):
            raise answer
        found = {}
        for one in answer:
            if one.error is not None:
                raise self._client.error(one.error, _UNKNOWN.format(group=group), group=group)
            if one.offset >= 0:
                found[one.partition] = one.offset
        if not found and not self._exists(group):
            raise NoSuchGroupError(group=group, directory=self._client.location)
        return found

    def _exists(self, group: str) -> bool:
        """Tell whether there is such a group: one that has committed nothing here is no error."""
        from confluent_kafka import ConsumerGroupState

        description = descriptions(self._client, (group,), _UNKNOWN)[group]
        if isinstance(description, MkError):
            return not isinstance(description, NotFoundError)
        return bool(description.state != ConsumerGroupState.DEAD)
