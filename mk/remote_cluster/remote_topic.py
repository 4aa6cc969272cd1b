"""A topic of another host, with the methods of one that is here: what producers and consumers ask for goes through ssh."""

from __future__ import annotations

from mk.remote_cluster.conversation import take_image
from mk.storage.topic import Topic
from mk.storage.topic_pattern import TopicPattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mk.remote_cluster.conversation import Conversation, Pending
    from mk.remote_cluster.remote_log import RemotePartitionLog
    from mk.remote_cluster.remote_reader import RemotePartitionReader
    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.partition_reader import ReadBuffer
    from mk.storage.producer_pin import ProducerPin

_MAX_EPOCHS = 1 << 20
_MAX_EPOCH = (1 << 64) - 1
_MAX_NAMES_BYTES = 66 << 20
_OPENED_AT_ONCE = 256


class RemoteDirectory:
    """The log directory behind a conversation, with as much of a LogDirectory as consumers ask for.

    host: with a colon behind it, what makes a path there one that says where it is. path: such a one.
    """

    __slots__ = ("conversation", "directory_id", "host", "path")

    def __init__(self, conversation: Conversation, host: str, path: str, directory_id: str) -> None:
        self.conversation = conversation
        self.host = host
        self.path = f"{host}{path}"
        self.directory_id = directory_id

    def topic_names(self) -> list[str]:
        """Return the names of the topics there that we may use, sorted."""
        from mk.topic_partition import is_valid_name

        conversation = self.conversation
        conversation.request("topic_names").end()
        names = conversation.body.decode(errors="replace").splitlines()
        return sorted(name for name in names if is_valid_name(name))

    def open_topic(self, name: str) -> RemoteTopic:
        return self.open_topics([name])[0]

    def open_topics(self, names: Iterable[str]) -> list[RemoteTopic]:
        """Open topics, all of them or none; the requests go together."""
        topics = [RemoteTopic(self, name) for name in names]
        try:
            for topic in topics:
                topic.finish_opening()
        except BaseException:
            for topic in topics:
                topic.close()
            raise
        return topics


class RemoteTopic(Topic):
    """A topic that is open there, under `number`. What is cached of it is what the last answer said.

    run: of appends that are sent without waiting for those before them. The far side stores nothing of a run behind an append
    that failed; whoever has heard of that begins another run.
    """

    __slots__ = ("_expected", "_is_deleted", "_named_at", "_opening", "conversation", "number", "run")

    directory: RemoteDirectory  # type: ignore[assignment]  # What is asked of one, it answers.

    def __init__(self, directory: RemoteDirectory, name: str) -> None:
        """Ask for it; finish_opening says whether it is there."""
        self.directory = directory
        self.conversation = directory.conversation
        self.name = name
        self.version = 0
        self.fd = self._json_fd = -1
        self.run = 0
        self.number = self.conversation.new_number()
        self._is_deleted = False
        self._named_at = self.conversation.names_version
        self._expected: dict[int, tuple[int, Pending]] = {}
        self._opening: Pending | None = self.conversation.post("open_topic", self.number, name)

    def finish_opening(self) -> None:
        """Raises NoSuchTopicError, PermissionDeniedError."""
        assert self._opening is not None
        fields = self.conversation.wait_for(self._opening)
        self._opening = None
        self._adopt(take_image(fields))
        fields.end()
        self.conversation.topics[self.number] = self

    def close(self) -> None:
        if self.number < 0:
            return
        self.conversation.topics.pop(self.number, None)
        self.conversation.mention("close_topic", self.number)
        self.number = -1

    def adopt(self, image: dict[str, object] | None, *, is_deleted: bool) -> None:
        """Take over what the far side tells of it."""
        self._is_deleted = self._is_deleted or is_deleted
        if image is not None and image["topic_id"] == self.topic_id:
            self._adopt(image)

    def refresh(self) -> bool:
        version = self.version
        self.conversation.look()
        return self.version != version

    def is_deleted(self) -> bool:
        self.conversation.look()
        return self._is_deleted

    def check_name(self) -> None:
        conversation = self.conversation
        conversation.look()
        if conversation.names_version == self._named_at:
            return
        named_at = conversation.names_version
        other = RemoteTopic(self.directory, self.name)
        other.finish_opening()
        other.close()
        if other.topic_id != self.topic_id:
            raise self._gone("another topic has its name now")
        self._named_at = named_at

    @property
    def watch_path(self) -> str:
        return ""  # All that is open there is watched together.

    # What producers and consumers ask for.

    def open_log(self, partition: int, *, lock_wait_ms: int = 10_000) -> RemotePartitionLog:  # type: ignore[override]
        from mk.remote_cluster.remote_log import RemotePartitionLog

        return RemotePartitionLog(self, self.check_partition(partition), lock_wait_ms=lock_wait_ms)

    def expect_readers(self, partitions: Sequence[int]) -> None:
        """Ask for partitions that will be opened for reading, so that not each of them has to be waited for."""
        for partition in partitions[:_OPENED_AT_ONCE]:
            if 0 <= partition < self.partitions and partition not in self._expected:
                number = self.conversation.new_number()
                self.conversation.opening[number] = None
                self._expected[partition] = (
                    number,
                    self.conversation.post("open_reader", number, self.number, partition),
                )

    def open_reader(self, partition: int, buffer: ReadBuffer | None = None) -> RemotePartitionReader:  # type: ignore[override]
        from mk.remote_cluster.remote_reader import RemotePartitionReader

        self.check_partition(partition)
        if partition not in self._expected:
            self.expect_readers([partition])
        number, opening = self._expected.pop(partition)
        return RemotePartitionReader(self, partition, number, opening)

    def pin_producer(self, name: str, *, partition: int | None, lock_wait_ms: int) -> ProducerPin:
        from mk.remote_cluster.conversation import take_news
        from mk.storage.producer_pin import ProducerPin
        from mk.topic_partition import MAX_PARTITIONS

        named = -1 if partition is None else partition
        fields = self.conversation.request("pin_producer", self.number, name, named, lock_wait_ms)
        partitions, partitioner = fields.number(1, MAX_PARTITIONS), fields.text()
        pinned = fields.number(-1, MAX_PARTITIONS - 1)
        self.adopt(take_news(fields), is_deleted=False)
        fields.end()
        return ProducerPin(name, partitions, partitioner, None if pinned < 0 else pinned)

    def check_not_followed(self, name: str) -> None:
        self.conversation.request("check_not_followed", self.number, name).end()

    def read_epochs(self, partition: int) -> LeaderEpochs:
        from mk.storage.leader_epochs import EpochEntry, LeaderEpochs

        fields = self.conversation.request("epochs", self.number, partition)
        entries = [
            EpochEntry(fields.number(0, _MAX_EPOCH), fields.number(), fields.id())
            for _ in range(fields.number(1, _MAX_EPOCHS))
        ]
        fields.end()
        return LeaderEpochs(entries)


class RemoteTopicPattern(TopicPattern):
    """The topics there whose names match, also those that appear later."""

    __slots__ = ("_looked_at", "_remote")

    def __init__(self, directory: RemoteDirectory, text: str) -> None:
        super().__init__(directory, text)  # type: ignore[arg-type]
        self._remote = directory
        self._looked_at = -1

    def open_new(self, known: Sequence[Topic]) -> list[Topic]:
        """Open the topics that match and are not among `known`. One of `known` that has another name now gets that."""
        from mk.errors import NoSuchTopicError

        conversation = self._remote.conversation
        conversation.look()
        if conversation.names_version == self._looked_at:
            return []
        self._looked_at = conversation.names_version
        by_id = {topic.topic_id: topic for topic in known}
        names = {topic.name for topic in known}
        wanted = [name for name in self._remote.topic_names() if self._search(name) and name not in names]
        topics = [RemoteTopic(self._remote, name) for name in wanted]
        found: list[Topic] = []
        for topic in topics:
            try:
                topic.finish_opening()
            except NoSuchTopicError:
                continue  # It went before it could be opened.
            if (renamed := by_id.get(topic.topic_id)) is not None:
                renamed.name = topic.name
                topic.close()
            else:
                found.append(topic)
        return found

    @property
    def watch_path(self) -> str:
        return ""
