"""What one client of produce and consume has open: topics, and partitions of them, under numbers that it chose."""

from __future__ import annotations

from mk.errors import MkError, NoSuchDirectoryError
from mk.storage import files
from mk.storage.host import allow_open_files
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_reader import ReadBuffer
from mk.topic_partition import MAX_PARTITIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mk.maintenance.sampler import Sampler
    from mk.server.session import Session
    from mk.storage.partition_log import PartitionLog
    from mk.storage.partition_reader import PartitionReader
    from mk.storage.retention import GroupOffset
    from mk.storage.topic import Topic
    from mk.storage.watch import Watch
    from mk.transport.fields import Fields

MAX_NUMBER = 1 << 24
_FILES_A_PARTITION = 4
_FILES_A_TOPIC = 3
_FILES_AT_ONCE = 256


class OpenTopic:
    """A topic that the client has open, and its partitions that it appends to.

    failed_run: of appends that were sent without waiting for the ones before them, the run in which one failed: what was
    sent behind that is not stored either, or it would stand in the log without what came before it. known_ids: the producer
    ids that are pinned here. told_version: of topic.json, as the client has been told.
    """

    __slots__ = ("failed_run", "is_told_deleted", "known_ids", "logs", "told_version", "topic")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.logs: dict[int, PartitionLog] = {}
        self.failed_run = -1
        self.known_ids: set[int] = set()
        self.told_version = topic.version
        self.is_told_deleted = False

    def path_of(self, partition: int) -> str:
        return f"{self.topic.path}/{partition}"

    def close(self) -> None:
        logs, self.logs = self.logs, {}
        with files.about(self.topic.path):
            try:
                for log in logs.values():
                    log.close()
            finally:
                self.topic.close()

    def image(self) -> list[object]:
        """Return what the client is told of the topic, which counts as told."""
        topic = self.topic
        self.told_version = topic.version
        image: list[object] = [topic.topic_id, topic.partitions, topic.partitioner]
        image += [topic.created, topic.sealed, topic.sealed_by, len(topic.overrides)]
        for name, value in topic.overrides.items():
            image += [name, value]
        return image

    def news(self) -> list[object]:
        """Return the image if it is not what the client was told, behind whether it is."""
        return [True, *self.image()] if self.topic.version != self.told_version else [False]


class OpenReader:
    """A partition that the client reads. told: its log start, high watermark and leader epoch, as the client knows them."""

    __slots__ = ("opened", "path", "reader", "told")

    def __init__(self, opened: OpenTopic, partition: int, buffer: ReadBuffer) -> None:
        self.opened = opened
        self.path = opened.path_of(partition)
        with files.about(self.path):
            self.reader: PartitionReader = opened.topic.open_reader(partition, buffer)
        self.told = (0, 0, 0)

    def state(self) -> tuple[int, int, int]:
        """Return what the client is told of the partition with each answer, which counts as told."""
        self.told = self._state()
        return self.told

    def has_news(self) -> bool:
        """Tell whether there is something that the client does not know. An error is: the next fetch says which."""
        try:
            with files.about(self.path):
                self.reader.refresh()
        except (MkError, OSError):
            return True
        return self._state() != self.told

    def _state(self) -> tuple[int, int, int]:
        reader = self.reader
        return reader.log_start_offset, reader.high_watermark, reader.leader_epoch


class OpenTopics:
    """All that a client has open. directory: the log directory, made by the first client that may and wants to.

    sampler: what looks at all of it, once the client has asked for that.
    """

    __slots__ = (
        "_allowed_files",
        "_watched",
        "buffer",
        "directory",
        "readers",
        "sampler",
        "told_names",
        "topics",
        "watch",
    )

    def __init__(self, session: Session, *, create: bool) -> None:
        path, allow_network_fs = session.path, session.allow_network_fs
        with files.about(path):
            try:
                self.directory = _open_directory(path, allow_network_fs)
            except NoSuchDirectoryError:
                if not create:
                    raise
                create_directory(path, allow_network_fs=allow_network_fs)
                self.directory = _open_directory(path, allow_network_fs)
        self.topics: dict[int, OpenTopic] = {}
        self.readers: dict[int, OpenReader] = {}
        self.buffer = ReadBuffer()
        self.watch: Watch | None = None
        self.sampler: Sampler | None = None
        self.told_names = -1
        self._watched: set[str] = set()
        self._allowed_files = 0

    def topic(self, fields: Fields) -> OpenTopic:
        """Take the number of an open topic."""
        opened = self.topics.get(fields.number(0, MAX_NUMBER))
        if opened is None:
            fields.refuse("that topic is not open")
        return opened

    def reader(self, fields: Fields) -> OpenReader:
        """Take the number of an open reader."""
        opened = self.readers.get(fields.number(0, MAX_NUMBER))
        if opened is None:
            fields.refuse("that partition is not open")
        return opened

    def new_number(self, fields: Fields, taken: dict[int, OpenTopic] | dict[int, OpenReader]) -> int:
        """Take a number that is not in use yet."""
        number = fields.number(0, MAX_NUMBER)
        if number in taken:
            fields.refuse("a number is in use")
        needed = _FILES_A_TOPIC * len(self.topics) + _FILES_A_PARTITION * len(self.readers)
        if needed + _FILES_AT_ONCE // 2 > self._allowed_files:
            self._allowed_files = needed + _FILES_AT_ONCE
            allow_open_files(self._allowed_files)
        return number

    def watched(self) -> Watch:
        """Return what wakes when something happens to any of the topics and partitions, or to the names of topics."""
        from mk.storage.watch import Watch

        if self.watch is None:
            self.watch = Watch([])
            self.watch.add_directory(f"/proc/self/fd/{self.directory.topics_fd}")
        for opened in self.topics.values():
            if opened.topic.watch_path not in self._watched:
                self._watched.add(opened.topic.watch_path)
                self.watch.add_directory(opened.topic.watch_path)
        for reader in self.readers.values():
            path = reader.reader.watch_path
            if path not in self._watched:
                self._watched.add(path)
                self.watch.add(path)
        return self.watch

    def forget_watch(self) -> None:
        """Have the next watch made anew: its descriptors may stand for other files by now."""
        if self.watch is not None:
            self.watch.close()
            self.watch = None
        self._watched.clear()

    def close(self) -> None:
        self.forget_watch()
        readers, self.readers = self.readers, {}
        topics, self.topics = self.topics, {}
        try:
            for reader in readers.values():
                reader.reader.close()
        finally:
            try:
                for opened in topics.values():
                    opened.close()
            finally:
                self.directory.close()


def opened_by(session: Session) -> OpenTopics:
    """Return what the client has open; it has asked for the directory first."""
    opened = session.opened
    if opened is None:
        from mk.errors import FarSideError

        raise FarSideError("a client asked for a topic before the directory", why="it does not keep to the protocol")
    return opened


def partition_of(fields: Fields) -> int:
    """Take the number of a partition, which the topic may have or not."""
    return fields.number(0, MAX_PARTITIONS - 1)


def _open_directory(path: str, allow_network_fs: bool) -> LogDirectory:
    return LogDirectory(path, allow_network_fs=allow_network_fs, group_offsets=_group_offsets)


def _group_offsets(topic: Topic, partition: int, wanted: str) -> Iterable[GroupOffset]:
    """Tell retention how far groups have read, as in a directory that is used here."""
    from mk.groups.offset_store import group_offsets

    return group_offsets(topic, partition, wanted)
