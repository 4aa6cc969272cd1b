"""Topics that are filled before anybody sees them, and get their name when they are whole.

Until then such a topic stands beside the others as `.filling-<topic id>`, which nobody can ask for, and whoever fills it holds the
lock `locks/<topic id>/filling`. Whatever ends that process, the kernel lets go of the lock, and the next change of the
directory's topics removes what it has left, as it does with topics that are half made.
"""

from __future__ import annotations

from mk.errors import TryAgainError
from mk.storage import files
from mk.storage.append_locks import append_locks
from mk.storage.locks import describe_holder, directory_lock, try_acquire
from mk.storage.log_directory import FILLING_LOCK, FILLING_PREFIX
from mk.storage.topic import Topic, encode_topic, utc_now
from mk.storage.topic_changes import replace_topic
from mk.topic_partition import check_name, check_partition_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic_changes import Fields

_FOR = "filling_for"
"""Field of topic.json, as long as it is being filled: the name that it is going to have."""


class FillingTopic:
    """A topic on its way to a name, for a `with` block; removed at its end, unless it was finished.

    name: by which it can be opened meanwhile, see `open`.
    """

    __slots__ = ("_directory", "_lock_fd", "_new", "_wait_ms", "name", "topic_id")

    def __init__(
        self,
        directory: LogDirectory,
        new: str,
        topic_id: str,
        *,
        partitions: int,
        partitioner: str,
        overrides: dict[str, int | str],
        wait_ms: int,
    ) -> None:
        """Make it, empty, with a topic id that is nobody's. overrides: its settings until it is finished.

        Raises:
            TopicExistsError: `new` is the name of a topic.
            TryAgainError: another process fills a topic that is to have that name. Nothing was made.
        """
        check_name(new)
        check_partition_count(partitions)
        self._directory = directory
        self._new = new
        self._wait_ms = wait_ms
        self.topic_id = topic_id
        self.name = FILLING_PREFIX + topic_id
        with directory_lock(directory.locks_fd, wait_ms=wait_ms):
            directory.sweep()
            directory.check_name_is_free(new)
            self._check_nobody_else()
            content = encode_topic(new, topic_id, partitions, partitioner, {**overrides, _FOR: new})
            directory.make_topic(self.name, topic_id, content, [(b"", 0)] * partitions)
            # Before anybody else can look at it: that takes the lock that we hold.
            self._lock_fd = directory.open_lock(topic_id, FILLING_LOCK, create=True)
            try_acquire(self._lock_fd)

    def __enter__(self) -> FillingTopic:
        return self

    def __exit__(self, *exc: object) -> None:
        files.close(self._lock_fd)
        if files.exists(self.name, dir_fd=self._directory.topics_fd):
            # It may hold gigabytes. What cannot be removed now, the next change of a topic removes.
            try:
                with directory_lock(self._directory.locks_fd, wait_ms=self._wait_ms):
                    self._directory.sweep()
            except (OSError, TryAgainError):
                pass

    def open(self) -> Topic:
        """Open it, to append to it. Nobody else does."""
        return Topic(self._directory, self.name)

    def finish(self, fields: Fields) -> None:
        """Give it its name, and these fields of topic.json; on disk when it returns. Its records are on disk already.

        Raises TopicExistsError: somebody has made a topic of that name meanwhile.
        """
        directory = self._directory
        with directory_lock(directory.locks_fd, wait_ms=self._wait_ms):
            directory.check_name_is_free(self._new)
            topic = self.open()
            try:
                own: Fields = {
                    "topic_id": self.topic_id,
                    "name": self._new,
                    "partitions": topic.partitions,
                    "partitioner": topic.partitioner,
                    "created": utc_now(),
                }
                with append_locks(directory, self.topic_id, self._new, range(topic.partitions), wait_ms=self._wait_ms):
                    # First: with its name it has its settings. Killed in between, nobody has seen it.
                    replace_topic(topic, {**own, **{key: fields[key] for key in fields if key not in own}})
                    files.rename(self.name, self._new, src_dir_fd=directory.topics_fd, dst_dir_fd=directory.topics_fd)
                    files.fsync(directory.topics_fd)
            finally:
                topic.close()

    def _check_nobody_else(self) -> None:
        """Raise TryAgainError if another process fills a topic for that name; those that nobody fills were just swept."""
        directory = self._directory
        for name in directory.filling_topics():
            topic = Topic(directory, name)
            try:
                wanted = str(topic.fields().get(_FOR))
            finally:
                topic.close()
            if wanted.casefold() == self._new.casefold():
                lock_fd = directory.open_lock(topic.topic_id, FILLING_LOCK)
                try:
                    holder = describe_holder(lock_fd)
                finally:
                    files.close(lock_fd)
                raise TryAgainError(
                    f"topic {self._new} is just being made by another process",
                    why=holder,
                    fix="wait until it is done, or stop it; nothing was made",
                    topic=self._new,
                )
