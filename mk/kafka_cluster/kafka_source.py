"""A Kafka cluster as the source of a replication: its topics, to be followed by a directory at the same offsets.

Only what is committed is read, up to the last stable offset. Kafka's batches are not a directory's, so they are made here, to
continue those that the copy has; it proves them as it proves all that comes. Leader epochs are Kafka's, as of when a record
was copied: what was committed then, a log that has that epoch holds, so where a later leader has cut it off, it is noticed.
"""

from __future__ import annotations

from time import monotonic, sleep

from mk.config import TOPIC_CONFIG, parse_topic_config
from mk.errors import ConfigurationError, NoSuchTopicError, NotFoundError, PermissionDeniedError
from mk.kafka_cluster.client import SLICE_SECONDS, Client
from mk.kafka_cluster.cluster_identity import cluster_directory_id
from mk.kafka_cluster.copied_batches import BatchMaker
from mk.kafka_cluster.copy_writer import FRAMING_BYTES, position_group
from mk.kafka_cluster.group_coordinators import committed_places
from mk.kafka_cluster.kafka_topic import KafkaDirectory, is_internal, topic_id_of
from mk.kafka_cluster.partition_offsets import log_ends
from mk.kafka_cluster.partition_scan import PartitionScan
from mk.kafka_cluster.topic_config import describe_topic_config
from mk.records.codecs import NONE
from mk.replication.replica import CommittedOffset, CopiedBatches, PartitionImage, TopicImage
from mk.storage import flat_json
from mk.storage.log_segment import UNKNOWN_CHAIN
from mk.topic_partition import is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from mk.replication.replica import TargetReplica
    from mk.transport.kafka_address import KafkaAddress

    Key = tuple[str, int]

_PROVED_BYTES = 8 << 20
"""So much is read at most before it is seen whose it is, and waits in memory until then."""

_LOOK_SECONDS = 0.2
"""How often a run that follows asks whether something has come."""

_GROUPS_SHARE = 20
"""A run that follows asks where groups stand when this many times as long has gone by as asking took."""

_SETTINGS_SECONDS = 30
"""How often a run that follows asks for the settings of topics, one by one."""

_LARGEST_SEGMENT = 1 << 30
_NOT_COPIED = frozenset(("compression.type", "flush.ms", "min.free", "retention.groups"))
"""Settings that Kafka has not, or means otherwise."""


class KafkaSource:
    """See mk.replication.replica.SourceReplica, which this is. Not for two threads."""

    takes_threads = False

    def __init__(self, address: KafkaAddress) -> None:
        """Raises PeerUnreachableError and PermissionDeniedError."""
        self._client = Client(address)
        self._directory = KafkaDirectory(self._client)
        self.location = self.address = self._client.location
        self.directory_id = cluster_directory_id(self._client)
        self._scan = PartitionScan(self._client)
        self._target: TargetReplica | None = None
        # Of the topics that were looked at last: the copy by id, the id by name, and of each partition what its image said.
        self._copies: dict[str, TopicImage] = {}
        self._ids: dict[str, str] = {}
        self._images: dict[Key, PartitionImage] = {}
        self._segment_bytes: dict[str, int] = {}
        self._in_segment: dict[tuple[str, int], int] = {}
        self._settings: dict[str, dict[str, int | str]] = {}
        self._settings_due = 0.0
        self._groups: list[CommittedOffset] = []
        self._groups_due = 0.0

    def close(self) -> None:
        self._scan.close()
        self._client.close()

    def continue_in(self, target: TargetReplica) -> None:
        """Make batches that continue those of the copies in `target`."""
        self._target = target

    def topics(self, names: Sequence[str] | None = None) -> Iterator[TopicImage]:
        """Yield an image of each of these topics, or of all but those that Kafka keeps for itself, by name.

        Of these topics: one that was made anew since all were looked at is not among them, and is left out.
        """
        is_of_all = names is None
        if names is None:
            names = [name for name in self._directory.topic_names() if not is_internal(name)]
            self._ids.clear()
            self._images.clear()
            if monotonic() > self._settings_due:
                self._settings.clear()
                self._settings_due = monotonic() + _SETTINGS_SECONDS
        there, ends = self._look_at(names)
        if self._target is not None:
            self._copies = {image.topic_id: image for image in self._target.copies_of([], "")}
        for name, description in there.items():
            if is_of_all or self._ids.get(name) == topic_id_of(description):
                try:
                    image = self._image(name, description, ends)
                except NotFoundError:
                    continue  # It was deleted before its settings could be asked for.
                yield image

    def _look_at(self, names: Sequence[str]) -> tuple[dict[str, Any], dict[Key, tuple[int, int, int]]]:
        """Return the descriptions of those topics that are there, and where each of their partitions begins and ends.

        Ends are asked for by name: of a topic that is deleted meanwhile and made anew, they would be another one's.
        """
        there = self._described(names)
        while True:
            failure: NotFoundError | None = None
            ends: dict[Key, tuple[int, int, int]] = {}
            keys = [(name, p) for name, found in there.items() for p in range(len(found.partitions))]
            try:
                ends = log_ends(self._client, keys)
            except NotFoundError as error:
                failure = error
            before, there = there, self._described(names)
            if {name: topic_id_of(found) for name, found in there.items()} == {
                name: topic_id_of(found) for name, found in before.items()
            }:
                if failure is not None:
                    raise failure
                return before, ends

    def _described(self, names: Sequence[str]) -> dict[str, Any]:
        described = self._directory.describe(names)
        return {name: found for name, found in described.items() if not isinstance(found, NotFoundError)}

    def _image(self, name: str, description: Any, ends: dict[Key, tuple[int, int, int]]) -> TopicImage:
        count, topic_id = len(description.partitions), topic_id_of(description)
        if name not in self._settings:
            self._settings[name] = self._settings_of(name)
        self._ids[name] = topic_id
        image = TopicImage()
        image.name, image.topic_id, image.problem, image.pins = name, topic_id, "", {}
        image.fields = {
            "format": flat_json.FORMAT_VERSION,
            "name": name,
            "topic_id": topic_id,
            "partitions": count,
            "partitioner": self._directory_partitioner(),
            **self._settings[name],
        }
        copy = self._copies.get(topic_id)
        own = {} if copy is None else {one.partition: one for one in copy.partitions}
        image.partitions = []
        for partition in range(count):
            made = self._partition_image(partition, ends[name, partition], own.get(partition))
            self._images[name, partition] = made
            image.partitions.append(made)
        return image

    def _partition_image(
        self, partition: int, ends: tuple[int, int, int], copy: PartitionImage | None
    ) -> PartitionImage:
        start, end, epoch = ends
        image = PartitionImage()
        image.partition = partition
        image.log_start_offset = image.first_offset = start
        image.next_offset = end
        image.chain = UNKNOWN_CHAIN
        known = [] if copy is None else [entry for entry in copy.epochs if entry[2] == self.directory_id]
        if not known:
            image.epochs = [(epoch, start, self.directory_id)]
        elif known[-1][0] >= epoch or copy is None:
            image.epochs = known
        else:
            begins = min(copy.next_offset, end)
            image.epochs = [entry for entry in known if entry[1] < begins] + [(epoch, begins, self.directory_id)]
        image.cleaned_to = image.tombstones_dropped_to = 0
        image.is_recovered, image.lacks_producers = True, True
        return image

    def _directory_partitioner(self) -> str:
        from mk.kafka_cluster.kafka_topic import PARTITIONERS

        return PARTITIONERS.get(self._client.property("partitioner", "consistent_random"), "crc32")

    def _settings_of(self, name: str) -> dict[str, int | str]:
        """Return the settings that a directory can have too and that differ from its defaults."""
        try:
            entries = describe_topic_config(self._client, name)
        except PermissionDeniedError:
            return {}
        found: dict[str, int | str] = {}
        for key, setting in TOPIC_CONFIG.items():
            entry = entries.get(key)
            if key in _NOT_COPIED or entry is None or entry.value is None:
                continue
            text = str(entry.value)
            if key == "max.message.bytes":
                text = str(int(text) - FRAMING_BYTES)  # There it bounds a batch, here a record.
            if isinstance(setting.default, int):
                text = str(min(max(int(text), setting.minimum), setting.maximum))
            try:
                value = parse_topic_config({key: text})[key]
            except ConfigurationError:
                continue
            if value != setting.default:
                found[key] = value
        return found

    def chain_at(self, topic: str, partition: int, offset: int) -> int | None:
        """Return that nobody can tell: Kafka has no chain. The copy's is continued as it is."""
        return UNKNOWN_CHAIN

    def read(self, topic: str, partition: int, from_offset: int, to_offset: int) -> Iterator[CopiedBatches]:
        """Yield batches that continue those of the copy from one offset up to another.

        Raises NoSuchTopicError if the topic is deleted, or made anew; of another one under its name, nothing is yielded.
        """
        held: list[CopiedBatches] = []
        size = 0
        for piece in self._read(topic, partition, from_offset, to_offset):
            held.append(piece)
            size += len(piece.data)
            if size >= _PROVED_BYTES:
                self._check_is_same(topic)
                yield from held
                held, size = [], 0
        if held:
            self._check_is_same(topic)
            yield from held

    def _check_is_same(self, topic: str) -> None:
        """Raise NoSuchTopicError if a topic is not the one that was looked at. What was read before is of that one otherwise:
        no id comes back."""
        found = self._directory.describe([topic])[topic]
        if isinstance(found, NotFoundError):
            raise found
        if topic_id_of(found) != self._ids[topic]:
            raise NoSuchTopicError(
                topic=topic,
                directory=self.location,
                why="it was deleted while it was copied, and another one made under its name",
            )

    def _read(self, topic: str, partition: int, from_offset: int, to_offset: int) -> Iterator[CopiedBatches]:
        image = self._images[topic, partition]
        epoch = image.epochs[-1][0]
        key = self._ids[topic], partition
        maker = BatchMaker(from_offset, self._chain_of_copy(key, from_offset), epoch, NONE)
        limit = min(
            _LARGEST_SEGMENT, int(self._settings[topic].get("segment.bytes", TOPIC_CONFIG["segment.bytes"].default))
        )
        if key not in self._in_segment:
            self._in_segment[key] = self._bytes_of_copy(key, from_offset) % limit
        for messages in self._scan.read(topic, partition, from_offset, to_offset, _kafka_epoch(image, from_offset)):
            base = maker.next_offset
            if messages:
                data = b"".join(maker.batches(messages))
                yield self._piece(key, limit, base, data, maker.next_offset, len(messages))
        if maker.next_offset < to_offset:
            base = maker.next_offset
            yield self._piece(key, limit, base, maker.cover_to(to_offset), to_offset, 0)

    def _piece(self, key: Key, limit: int, base: int, data: bytes, next_offset: int, records: int) -> CopiedBatches:
        size = self._in_segment[key]
        # Where a segment begins, the source says: a follower begins none of its own accord.
        begins = size + len(data) > limit and size > 0
        self._in_segment[key] = len(data) if begins else size + len(data)
        return CopiedBatches(base, next_offset, data, begins_segment=begins, records=records)

    def _chain_of_copy(self, key: Key, offset: int) -> int:
        """Return the chain that the next batch continues. Of a log that begins there, none is known and any will do."""
        copy = self._copies.get(key[0])
        if copy is None and self._target is not None:
            self._copies = {image.topic_id: image for image in self._target.copies_of([], "")}
            copy = self._copies.get(key[0])
        if copy is None or self._target is None:
            return 0
        chain = self._target.chain_at(copy.name, key[1], offset)
        return 0 if chain is None or chain == UNKNOWN_CHAIN else chain

    def _bytes_of_copy(self, key: Key, offset: int) -> int:
        """Return about how many bytes of batches the copy has."""
        copy = self._copies.get(key[0])
        image = None if copy is None else next((one for one in copy.partitions if one.partition == key[1]), None)
        if copy is None or image is None or image.first_offset >= offset or self._target is None:
            return 0
        size: int = self._target.size_bytes(copy.name, key[1], image.first_offset, offset)  # type: ignore[attr-defined]
        return size

    def records(self, topic: str, partition: int, from_offset: int, to_offset: int) -> Iterator[Any]:
        """Yield the library's messages from one offset up to another, for a comparison."""
        for messages in self._scan.read(topic, partition, from_offset, to_offset):
            yield from messages

    def size_bytes(self, topic: str, partition: int, from_offset: int, to_offset: int) -> int:
        """Return 0: Kafka does not tell how many bytes some records take."""
        return 0

    def committed_offsets(self, topic_ids: Sequence[str]) -> list[CommittedOffset]:
        """Return what groups have committed of these topics. As of some seconds ago, where there are many groups."""
        began = monotonic()
        if began < self._groups_due:
            return self._groups
        what = "where groups stand cannot be read in Kafka"
        listed = self._listed_groups(what)
        asked = frozenset(topic_ids)
        ids = {name: topic_id for name, topic_id in self._ids.items() if topic_id in asked}
        ours = {position_group(name) for name in self._ids}
        # What a directory has no name for, it has no group for.
        groups = [name for one in listed.valid if (name := str(one.group_id)) not in ours and is_valid_name(name)]
        found = []
        for group, places in committed_places(self._client, dict.fromkeys(groups), what).items():
            found += [(group, place) for place in places if place.topic in ids and place.offset >= 0]
        # They are told by name: of a topic that was made anew by then, they may be another one's.
        there = self._described(list({place.topic for _, place in found}))
        same = {name for name, description in there.items() if topic_id_of(description) == ids[name]}
        self._groups = [
            CommittedOffset(group, ids[place.topic], place.partition, place.offset, -1)
            for group, place in found
            if place.topic in same
        ]
        self._groups_due = monotonic() + _GROUPS_SHARE * (monotonic() - began)
        return self._groups

    def _listed_groups(self, what: str) -> Any:
        """Return the list of all groups. One that lacks those of a broker would say of them that they stand nowhere."""
        end = monotonic() + self._client.timeout_seconds
        while True:
            listed = self._client.ask_one(self._client.admin.list_consumer_groups, what)
            if not listed.errors:
                return listed
            error = self._client.error(listed.errors[0], what)
            if not error.retriable or monotonic() + SLICE_SECONDS >= end:
                raise error
            sleep(SLICE_SECONDS)

    def wait(self, timeout_ms: int) -> bool:
        """Sleep until a partition has more than when it was looked at last, or topics or partitions have come or gone.

        False if the time ran out.
        """
        until = monotonic() + timeout_ms / 1000
        while True:
            left = until - monotonic()
            if left <= 0:
                return self._have_others_come()
            sleep(min(left, _LOOK_SECONDS))
            try:
                ends = log_ends(self._client, list(self._images))
            except NotFoundError:
                return True  # A topic was deleted, which the next look tells.
            if any(end != self._images[key].next_offset for key, (_, end, _) in ends.items()):
                return True

    def _have_others_come(self) -> bool:
        listed = self._client.call(self._client.admin.list_topics, f"the topics of {self.location} cannot be listed")
        return any(
            (name, len(topic.partitions) - 1) not in self._images
            for name, topic in listed.topics.items()
            if topic.partitions and not is_internal(name)
        )

    def digests(self, topic: str, partition: int, from_offset: int, to_offset: int) -> list[tuple[int, int, bytes]]:
        """Return none: bytes in Kafka are others. Records are compared."""
        return []

    def note_follower(self, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
        """Note nothing: Kafka keeps no account of who copies from it."""

    def fence(self, topic: str, partition: int, epochs: Sequence[tuple[int, int, str]]) -> bool:
        """Return that it cannot be: Kafka has leaders of its own."""
        return False


def _kafka_epoch(image: PartitionImage, offset: int) -> int:
    """Return the leader epoch of Kafka in which the copy got what stands in front of an offset, -1 if it got nothing."""
    return max((epoch for epoch, first_offset, _ in image.epochs if first_offset < offset), default=-1)
