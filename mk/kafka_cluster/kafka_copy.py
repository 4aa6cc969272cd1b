"""Topics of a Kafka cluster as copies of those in a directory: the target of a replication.

To the replicator it is like a directory whose partitions stand where the source's offsets were committed with the records. What
a topic is a copy of is known from that position too. One that has none is taken if it is empty, and refused if it is not:
nobody would know which of its records are which.
"""

from __future__ import annotations

from time import monotonic, sleep

from mk.clock import now_ms
from mk.config import TOPIC_CONFIG
from mk.errors import DataError, DivergedLogError, NotFoundError, TopicExistsError, TryAgainError
from mk.kafka_cluster.client import SLICE_SECONDS, Client
from mk.kafka_cluster.cluster_identity import cluster_directory_id
from mk.kafka_cluster.copied_offsets import OffsetTranslation
from mk.kafka_cluster.copy_position import CopyPosition, with_place
from mk.kafka_cluster.copy_writer import FRAMING_BYTES, CopyProducer, CopyWriter, position_group, usable_position
from mk.kafka_cluster.group_coordinators import committed_places
from mk.kafka_cluster.kafka_topic import KafkaDirectory, topic_id_of
from mk.kafka_cluster.partition_offsets import log_ends
from mk.kafka_cluster.partition_scan import PartitionScan
from mk.kafka_cluster.topic_config import describe_topic_config
from mk.replication.replica import TopicImage
from mk.replication.resumption import PositionImage
from mk.storage.log_segment import UNKNOWN_CHAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from mk.replication.replica import CommittedOffset, PartitionImage, PartitionWriter
    from mk.transport.kafka_address import KafkaAddress

_OPEN_PRODUCERS = 8
"""Each has its threads and connections; opening one takes some round trips."""

_RENEWAL_MS = 86_400_000
"""A position that was committed so long ago is committed again: brokers forget it after offsets.retention.minutes, a week."""

_RENEWAL_LOOK_SECONDS = 3600.0
"""How often a run that follows looks for such."""

_SMALLEST_SEGMENT = 1 << 20
_FOREVER_MS = (1 << 63) - 1
_WITHOUT_MEANING = frozenset(("compression.type", "flush.ms"))
"""Settings that speak of something else at a broker."""

_OF_DIRECTORIES = frozenset(("min.free", "retention.groups"))


class KafkaCopy:
    """See mk.replication.replica.TargetReplica, which this is. Not for two threads."""

    takes_threads = False

    def __init__(self, address: KafkaAddress) -> None:
        """Raises PeerUnreachableError and PermissionDeniedError."""
        self._client = Client(address)
        self._directory = KafkaDirectory(self._client)
        self.location = self.address = self._client.location
        self.directory_id = cluster_directory_id(self._client)
        self._scan = PartitionScan(self._client)
        self._producers: dict[str, CopyProducer] = {}
        self._translation = OffsetTranslation(self._client, self._scan)
        # Of the topics that were looked at last, by their names here: the source's, Kafka's id, and where they stand.
        self._wanted: dict[str, TopicImage] = {}
        self._copy_ids: dict[str, str] = {}
        self._positions: dict[tuple[str, int], CopyPosition] = {}
        self._writers: dict[tuple[str, int], CopyWriter] = {}
        self._told: list[tuple[str, int, str, int]] = []
        """Where groups stood in the source when that was committed here last."""
        self._next_renewal = 0.0

    def close(self) -> None:
        for producer in self._producers.values():
            producer.close()
        self._producers.clear()
        self._scan.close()
        self._client.close()

    def begin(self, directory_id: str, address: str) -> bool:
        """Take no lock: who begins to write to a topic fences whoever did so before."""
        return True

    def copies_of(self, sources: Sequence[TopicImage], prefix: str) -> list[TopicImage]:
        """Return an image of each topic that has the name of a copy of one of these."""
        # Not before the next pass: a run that was fenced makes way for the one that did it, and goes on behind it.
        self._close_lost_producers()
        self._wanted = {prefix + image.name: image for image in sources}
        return list(self.topics(list(self._wanted)))

    def topics(self, names: Sequence[str] | None = None) -> Iterator[TopicImage]:
        """Yield an image of each of these topics; of None, those that `copies_of` was asked for."""
        names = list(self._wanted) if names is None else names
        there = self._described(names)
        positions = self._committed_positions(there)
        unknown = [
            name for name in there if not any((name, p) in positions for p in range(len(there[name].partitions)))
        ]
        filled = self._topics_with_records({name: there[name] for name in unknown})
        # Committed after the first look, records and position: only both tell whose records they are.
        positions.update(self._committed_positions({name: there[name] for name in filled}))
        for name, description in there.items():
            source = self._wanted.get(name)
            if source is None:
                continue
            self._copy_ids[name] = topic_id_of(description)
            yield self._image(name, source, description, positions, is_taken=name in filled)

    def _image(
        self,
        name: str,
        source: TopicImage,
        description: Any,
        positions: dict[tuple[str, int], CopyPosition],
        *,
        is_taken: bool,
    ) -> TopicImage:
        count = len(description.partitions)
        image = TopicImage()
        image.name, image.problem, image.pins = name, "", source.pins
        own = [positions.get((name, partition)) for partition in range(count)]
        ids = [position.topic_id for position in own if position is not None and position.topic_id]
        # One that has records of nobody knows where is a topic of its own, with Kafka's id.
        image.topic_id = ids[0] if ids else self._copy_ids[name] if is_taken else source.topic_id
        image.fields = {**source.fields, "name": name, "partitions": count}
        image.partitions = [_partition_image(partition, own[partition]) for partition in range(count)]
        for partition, position in enumerate(own):
            if position is not None:
                self._positions[name, partition] = position
        return image

    def _committed_positions(self, described: dict[str, Any]) -> dict[tuple[str, int], CopyPosition]:
        """Return what is committed as of now. One of a run that was killed may be about to be: who writes looks again."""
        wanted = {
            position_group(name): [(name, partition) for partition in range(len(description.partitions))]
            for name, description in described.items()
        }
        found = {}
        answers = committed_places(self._client, wanted, "how far topics are copied cannot be read")
        for place in (place for places in answers.values() for place in places):
            position = usable_position(place.offset, place.metadata, topic_id_of(described[place.topic]))
            # Just committed, it may not be seen yet: the mark that makes it valid comes a little later.
            if (writer := self._writers.get((place.topic, place.partition))) is not None:
                written = writer.position if writer.committed else None
                if written is not None and (position is None or position.offset < written.offset):
                    position = written if written.copy_id == topic_id_of(described[place.topic]) else position
            if position is not None:
                found[place.topic, place.partition] = position
        return found

    def _topics_with_records(self, described: dict[str, Any]) -> set[str]:
        """Return the names of those topics that hold a committed record."""
        keys = [(name, p) for name, description in described.items() for p in range(len(description.partitions))]
        ends = log_ends(self._client, keys, committed=False)
        # What an aborted transaction left takes offsets, and is no record.
        doubtful = {key: start for key, (start, end, _) in ends.items() if start < end}
        return {name for name, _, _ in self._scan.holds_records(doubtful)} if doubtful else set()

    # As a target.

    def create_topic(self, image: TopicImage) -> None:
        """Make a topic with the partitions of the source's, and of its settings those that Kafka has."""
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

        name = image.name
        new = NewTopic(name, len(image.partitions), config=kafka_settings(image.fields))
        what = f"topic {name} cannot be made"
        try:
            self._client.change(lambda: self._client.admin.create_topics([new])[name], what, topic=name)
        except TopicExistsError:
            pass  # Another run has made it meanwhile, or somebody else has: whoever looks again finds out.
        end = monotonic() + self._client.timeout_seconds
        while isinstance(self._directory.describe([name])[name], NotFoundError):
            # The controller has made it, and the broker that we ask has not heard of it yet.
            if monotonic() > end:
                raise self._client.no_answer(what, topic=name)
            sleep(SLICE_SECONDS)

    def update_topic(self, image: TopicImage) -> None:
        """Add the partitions that the source has more. Settings are the cluster's own, once the topic is made."""
        name, wanted = image.name, len(image.partitions)
        description = self._directory.describe([name])[name]
        count = 0 if isinstance(description, NotFoundError) else len(description.partitions)
        if count > wanted:
            raise DivergedLogError(
                "is not there in SRC",
                topic=name,
                partition=wanted,
                why=f"the topic has {count} partitions in DST, and {wanted} in SRC",
                fix="choose another name for it with --prefix; nothing was changed",
            )
        if count == wanted:
            return
        if not any((name, partition) in self._positions for partition in range(count)):
            raise DataError(
                f"topic {name} of DST cannot be a copy of {name} of SRC",
                why=f"it has {count} partitions there, and {wanted} in SRC",
                fix="`mk topics alter` it there, or delete it: then it is made as in SRC; nothing was changed",
                topic=name,
            )
        from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

        what = f"topic {name} cannot get more partitions"
        new = NewPartitions(name, wanted)
        self._client.change(lambda: self._client.admin.create_partitions([new])[name], what, topic=name)
        end = monotonic() + self._client.timeout_seconds
        while len(self._directory.describe([name])[name].partitions) < wanted:
            if monotonic() > end:
                raise self._client.no_answer(what, topic=name)
            sleep(SLICE_SECONDS)

    def follow(self, topic: str, image: PartitionImage, prefix_offset: int, chain: int) -> PartitionWriter:
        """Open a partition that goes on where it was committed. Raises TryAgainError if that is not prefix_offset any more."""
        producer = self._producer(topic)
        position = producer.position(image.partition, self._copy_ids[topic])
        if position is None or (position.offset != prefix_offset and prefix_offset != image.first_offset):
            raise self._moved(topic, image.partition)
        self._check_nothing_else(topic, image.partition, position)
        if position.is_by_hand:
            end = self._ends(topic, image.partition)[1]
            position = self._begun(topic, image, position.offset, end)
        if position.offset < image.log_start_offset and position.places:
            # The gap that was accepted has no records, of which groups could be said to have read some.
            position.places = with_place(position.places, (image.log_start_offset, position.kafka_offset))
        position.leader_id = image.epochs[-1][2]
        writer = CopyWriter(producer, image.partition, position, prefix_offset, first_offset=image.log_start_offset)
        return self._opened(topic, image, writer)

    def begin_anew(self, topic: str, image: PartitionImage, *, reason: str) -> PartitionWriter:
        """Open a partition that has nothing yet. Raises DataError if somebody else has written to it."""
        producer = self._producer(topic)
        if producer.position(image.partition, self._copy_ids[topic]) is not None:
            raise self._moved(topic, image.partition)
        start, end = self._ends(topic, image.partition)
        if start < end:
            self._check_holds_nothing(topic, image.partition, start, None)
        position = self._begun(topic, image, image.log_start_offset, end)
        writer = CopyWriter(
            producer, image.partition, position, image.first_offset, first_offset=image.log_start_offset
        )
        return self._opened(topic, image, writer)

    def _opened(self, topic: str, image: PartitionImage, writer: CopyWriter) -> CopyWriter:
        self._writers[topic, image.partition] = writer
        return writer

    def _begun(self, topic: str, image: PartitionImage, offset: int, end: int) -> CopyPosition:
        return CopyPosition(
            offset,
            self._wanted[topic].topic_id,
            self._copy_ids[topic],
            leader_id=image.epochs[-1][2],
            places=[(offset, end)],
        )

    def _producer(self, topic: str) -> CopyProducer:
        self._told = []
        producer = self._producers.pop(topic, None)
        if producer is None:
            while len(self._producers) >= _OPEN_PRODUCERS:
                self._producers.pop(next(iter(self._producers))).close()
            entry = describe_topic_config(self._client, topic).get("max.message.bytes")
            producer = CopyProducer(self._client, topic, max_bytes=int(entry.value) if entry is not None else 1_048_588)
        self._producers[topic] = producer  # The one that was used last stands last.
        return producer

    def _close_lost_producers(self) -> None:
        for name in [name for name, producer in self._producers.items() if producer.is_lost]:
            self._producers.pop(name).close()

    def _ends(self, topic: str, partition: int) -> tuple[int, int]:
        start, end, _ = log_ends(self._client, [(topic, partition)], committed=False)[topic, partition]
        return start, end

    def _check_nothing_else(self, topic: str, partition: int, position: CopyPosition) -> None:
        """Raise DataError if records of others stand behind those that were copied: the order would be nobody's."""
        known = position.kafka_offset
        start, end = self._ends(topic, partition)
        # Behind the last record stands the mark of its transaction, which is no record.
        if known < 0 or end <= known + 1:
            return
        self._check_holds_nothing(topic, partition, max(start, known), position)

    def _check_holds_nothing(self, topic: str, partition: int, offset: int, position: CopyPosition | None) -> None:
        found = self._scan.holds_records({(topic, partition): offset})
        if not found:
            return
        # They may be of a run that has begun since, and has fenced this one.
        now = self._producer(topic).position(partition, self._copy_ids[topic])
        if (None if now is None else now.offset) != (None if position is None else position.offset):
            raise self._moved(topic, partition)
        raise self._foreign(topic, partition, found[0][2])

    def _foreign(self, topic: str, partition: int, offset: int) -> DataError:
        return DataError(
            f"partition {partition} of topic {topic} of DST has records that did not come from SRC",
            why=f"one stands at Kafka's offset {offset}; behind it, those of SRC would be out of order, or twice",
            fix="if its producers write to the cluster now, it is no copy any more; else choose another name with --prefix, or "
            f"`mk topics delete {topic}` there. Kafka forgets how far a copy was when it was not replicated for a week "
            f"(offsets.retention.minutes): `mk groups reset {position_group(topic)}` there says it again",
            topic=topic,
            partition=partition,
            offset=offset,
        )

    def _moved(self, topic: str, partition: int) -> TryAgainError:
        return TryAgainError(
            f"partition {partition} of {topic} is not as it was when this replication looked at it",
            why="another run has copied to it meanwhile",
            fix="run it again: it goes on from there",
            topic=topic,
            partition=partition,
        )

    def store_committed_offsets(self, directory_id: str, offsets: Sequence[CommittedOffset]) -> None:
        """Commit in Kafka where groups stand in the source, in front of the same records, for those that read nothing there."""
        told = [(*offset.key, offset.group, offset.offset) for offset in offsets]
        if told == self._told:
            return  # Nobody has read, and nothing was copied, since they were committed.
        names = {source.topic_id: name for name, source in self._wanted.items()}
        self._translation.store(names, self._current_positions(), self._wanted, offsets)
        self._told = told

    def _current_positions(self) -> dict[tuple[str, int], CopyPosition]:
        names = [name for name in self._wanted if name in self._copy_ids]
        found = self._committed_positions(self._described(names))
        return {key: position for key, position in found.items() if position.places}

    def note_source(self, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
        """Note nothing of it: no copy in Kafka is promoted. What the brokers would forget of the copy, they are told again."""
        if monotonic() < self._next_renewal:
            return
        self._next_renewal = monotonic() + _RENEWAL_LOOK_SECONDS
        self._told = []
        self._translation.look_again()
        self._renew_positions()

    def _renew_positions(self) -> None:
        """Commit positions again that are old, since nothing was copied."""
        self._close_lost_producers()
        old: dict[str, list[int]] = {}
        for (name, partition), position in self._positions.items():
            source, writer = self._wanted.get(name), self._writers.get((name, partition))
            if writer is not None and writer.committed:
                position = writer.position
            # What is another one's copy, that one looks after.
            is_ours = source is not None and position.topic_id in (source.topic_id, "")
            if is_ours and position.is_older(_RENEWAL_MS, now_ms()):
                old.setdefault(name, []).append(partition)
        for name, description in self._described(list(old)).items():
            try:
                renewed = self._producer(name).renew(old[name], topic_id_of(description), _RENEWAL_MS)
            except TryAgainError:
                continue  # Another run has begun since, and looks after it.
            for partition, position in renewed.items():
                self._positions[name, partition] = position

    def _described(self, names: Sequence[str]) -> dict[str, Any]:
        described = self._directory.describe(names)
        return {name: found for name, found in described.items() if not isinstance(found, NotFoundError)}

    def position(self, topic: str, partition: int) -> CopyPosition | None:
        """Return how far a partition was copied when it was looked at, None if it is not."""
        return self._positions.get((topic, partition))

    def records(self, topic: str, partition: int, from_offset: int) -> Iterator[Any]:
        """Yield the library's messages at or behind an offset of Kafka, for a comparison."""
        start, end, _ = log_ends(self._client, [(topic, partition)])[topic, partition]
        for messages in self._scan.read(topic, partition, max(start, from_offset), end):
            yield from messages

    def log_start(self, topic: str, partition: int) -> int:
        """Return the first offset that Kafka still has."""
        return self._ends(topic, partition)[0]

    def chain_at(self, topic: str, partition: int, offset: int) -> int | None:
        """Return the chain of the source's batch that ends where the copy goes on; of another place, nobody can tell."""
        position = self._positions.get((topic, partition))
        return position.chain if position is not None and position.offset == offset else UNKNOWN_CHAIN


def kafka_settings(fields: dict[str, str | int | bool | None]) -> dict[str, str]:
    """Return the settings of a topic in Kafka that is to hold what one in a directory holds.

    Also the defaults, where Kafka has others or has them set by its own: records must not go there that stay here.
    """
    config: dict[str, str] = {}
    for name, key in TOPIC_CONFIG.items():
        if name not in _WITHOUT_MEANING | _OF_DIRECTORIES:
            config[name] = str(fields.get(name, key.default))
    config["segment.bytes"] = str(max(_SMALLEST_SEGMENT, min(int(config["segment.bytes"]), (1 << 31) - 1)))
    config["max.message.bytes"] = str(int(config["max.message.bytes"]) + FRAMING_BYTES)
    # Times are copied as they are, however old or new.
    config["message.timestamp.type"] = "CreateTime"
    config["message.timestamp.before.max.ms"] = config["message.timestamp.after.max.ms"] = str(_FOREVER_MS)
    return config


def _partition_image(partition: int, position: CopyPosition | None) -> PositionImage:
    image = PositionImage()
    image.partition = partition
    image.is_begun = position is not None
    image.log_start_offset = image.first_offset = 0
    image.next_offset = 0 if position is None else position.offset
    image.chain = -1 if position is None else position.chain
    image.epochs = [(-1, 0, "")] if position is None else [(position.epoch, 0, position.leader_id)]
    image.cleaned_to = image.tombstones_dropped_to = 0
    image.is_recovered, image.lacks_producers = True, False
    return image
