"""The topics of a log directory looked at again and again: where each partition ends, and how much was appended since.

Made for a look every second or two at thousands of partitions: what stat says is unchanged is not read again. Every append,
removal, cut and recovery publishes `state`, and every file that comes or goes changes the time of its directory, so these two
tell of everything. Read-only, no lock; nothing is held open between two looks.
"""

from __future__ import annotations

import errno
import itertools
import os
import time

from mk.errors import ConfigurationError, DataError, MkError, NotFoundError
from mk.storage import files
from mk.storage.host import boot_id
from mk.storage.leader_epochs import LeaderEpochs, read_epochs
from mk.storage.log_segment import INDEX_SUFFIX, LOG_SUFFIX, segment_name
from mk.storage.partition_files import FAILED_FILE, STATE_FILE, PartitionFiles
from mk.storage.partition_reader import PartitionReader
from mk.storage.topic import FILE_NAME as TOPIC_FILE
from mk.storage.topic import Topic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from mk.storage.log_directory import LogDirectory
    from mk.storage.partition_state import PartitionState

    Document = dict[str, Any]

_SETTLED_NS = 100_000_000
"""A file's time moves in steps of the kernel's clock, 10 ms at most. What was read so soon after its last change may have
been changed again within that step, and has to be read once more though its time is the same."""

_DIGITS = 20
_RUNS = itertools.count()
"""No two partitions have a run alike: who begins to count anew, as under another name, must not seem to go on."""


class Unchanged:
    """What stat said of a file when it was read. Made before the reading: a change in between must count as one."""

    __slots__ = ("_seen", "_until_ns")

    def __init__(self, status: os.stat_result) -> None:
        self._seen = status.st_mtime_ns, status.st_ino
        self._until_ns = time.time_ns() - _SETTLED_NS

    def is_so(self, status: os.stat_result) -> bool:
        return self._seen == (status.st_mtime_ns, status.st_ino) and status.st_mtime_ns < self._until_ns


class SampledPartition:
    """One partition as of the last look at it. problem: why it cannot be told; the rest is then as of before.

    run: another number behind whatever makes what was counted before it say nothing of what came since: a cut, another leader
    epoch, another name, a segment that went before anybody knew its size. appended_bytes: how much was appended within the run, of which only the
    difference between two looks means anything.
    """

    __slots__ = (
        "_directory_seen",
        "_index_bytes",
        "_is_listed",
        "_log_bytes",
        "_seeing",
        "_state_seen",
        "appended_bytes",
        "cuts",
        "cut_offset",
        "epochs",
        "failed",
        "high_watermark",
        "last_write_ms",
        "leader_epoch",
        "log_start_offset",
        "partition",
        "position",
        "problem",
        "run",
        "segment",
    )

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._state_seen: Unchanged | None = None
        self._directory_seen: Unchanged | None = None
        self._seeing: tuple[Unchanged | None, Unchanged | None] = None, None
        self._is_listed = False
        self._log_bytes: dict[int, int] = {}
        self._index_bytes: dict[int, int] = {}
        self.epochs: LeaderEpochs | None = None
        self.problem: str | None = None
        self.failed = False
        self.last_write_ms = 0
        self.high_watermark = self.log_start_offset = self.leader_epoch = 0
        self.cuts = self.cut_offset = 0
        self.segment = self.position = -1
        self.run = next(_RUNS)
        self.appended_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes in the segments and their indexes."""
        return sum(self._log_bytes.values()) + sum(self._index_bytes.values())

    def end_of_epoch(self, leader_epoch: int) -> int | None:
        """Return up to where who has read a record of an epoch can have read this log, None if to its end."""
        return None if self.epochs is None else self.epochs.ends(self.cuts, self.cut_offset)(leader_epoch)

    def document(self) -> Document:
        """Return what is known, ready for JSON."""
        is_known = self.problem is None
        return {
            "partition": self.partition,
            "leader": self.epochs.latest.leader_id if is_known and self.epochs is not None else None,
            "leader_epoch": self.leader_epoch if is_known else None,
            "log_start_offset": self.log_start_offset if is_known else None,
            "high_watermark": self.high_watermark if is_known else None,
            "size_bytes": self.size_bytes if is_known else None,
            "last_write_ms": self.last_write_ms if is_known and self.high_watermark else None,
            "failed": self.failed,
            "run": self.run,
            "appended_bytes": self.appended_bytes,
            "problem": self.problem,
        }

    def has_changed(self, place: str, topics_fd: int) -> bool:
        """Tell by two calls of stat whether there is anything new. place: the partition's path below topics/.

        What they say counts once the partition was looked at, or could not be: what changes meanwhile is new the next time.
        """
        try:
            state = os.stat(f"{place}/{STATE_FILE}", dir_fd=topics_fd, follow_symlinks=False)
            directory = os.stat(place, dir_fd=topics_fd, follow_symlinks=False)
        except OSError:
            self._seeing = None, None  # What is the matter, whoever opens it finds out.
            self._is_listed = False
            return True
        self._is_listed = self._directory_seen is not None and self._directory_seen.is_so(directory)
        if self._is_listed and self._state_seen is not None and self._state_seen.is_so(state):
            return False
        self._seeing = Unchanged(state), Unchanged(directory)
        return True

    def look(self, topic: Topic) -> None:
        """Read it anew, behind has_changed. Raises what opening and reading a partition does."""
        partition = PartitionFiles(topic, self.partition, os.O_RDONLY)
        try:
            state = partition.wait_for_state()
            if not self._is_listed:
                self._list(partition.fd)
                self.epochs = read_epochs(partition.fd, partition.path)
            self._look_at_segment(partition.fd, state.segment)
            start, end = state.log_start_offset, state.high_watermark
            if state.boot_id != boot_id():
                # It does not know what of its last appends survived: that takes a look at the log.
                reader = PartitionReader(topic, self.partition)
                start, end = reader.log_start_offset, reader.high_watermark
                reader.close()
        finally:
            partition.close()
        self._count(state, end)
        self.high_watermark, self.log_start_offset = end, start
        self._state_seen, self._directory_seen = self._seeing
        self.problem = None

    def fail(self, problem: str) -> None:
        """Note that it cannot be looked at, and why: until something changes, since finding that out may take a while."""
        self.problem = problem
        self.run = next(_RUNS)
        self._state_seen, self._directory_seen = self._seeing

    def _list(self, fd: int) -> None:
        self._log_bytes, self._index_bytes = {}, {}
        self.last_write_ms = 0
        names = os.listdir(fd)
        self.failed = FAILED_FILE in names
        for name in names:
            for suffix, sizes in ((LOG_SUFFIX, self._log_bytes), (INDEX_SUFFIX, self._index_bytes)):
                base = name[: -len(suffix)]
                if name.endswith(suffix) and len(base) == _DIGITS and base.isdecimal():
                    self._measure(fd, name, int(base), sizes)

    def _look_at_segment(self, fd: int, base: int) -> None:
        self._measure(fd, segment_name(base), base, self._log_bytes)
        self._measure(fd, segment_name(base, INDEX_SUFFIX), base, self._index_bytes)

    def _measure(self, fd: int, name: str, base: int, sizes: dict[int, int]) -> None:
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            sizes.pop(base, None)  # Removed while we looked, or an index, which need not be there.
            return
        sizes[base] = status.st_size
        if sizes is self._log_bytes:
            self.last_write_ms = max(self.last_write_ms, status.st_mtime_ns // 1_000_000)

    def _count(self, state: PartitionState, end_offset: int) -> None:
        """Add what was appended since the last look, or begin a new run where that cannot be told."""
        appended = self._appended(state)
        is_cut = state.cuts != self.cuts or state.leader_epoch != self.leader_epoch or end_offset < self.high_watermark
        if is_cut or appended is None or appended < 0 or self.problem is not None:
            self.run = next(_RUNS)
        else:
            self.appended_bytes += appended
        self.segment, self.position = state.segment, state.written.position
        self.leader_epoch, self.cuts, self.cut_offset = state.leader_epoch, state.cuts, state.cut_offset

    def _appended(self, state: PartitionState) -> int | None:
        if state.segment == self.segment:
            return state.written.position - self.position
        # Rolled. What was sealed has its final size, unless it was compacted since, or is gone.
        if self.segment not in self._log_bytes or state.cleaned_to > self.segment:
            return None
        sealed = sum(size for base, size in self._log_bytes.items() if self.segment <= base < state.segment)
        return sealed - self.position + state.written.position


class SampledTopic:
    """One topic as of the last look at it. problem: why it cannot be read, None if it can."""

    __slots__ = ("_seen", "name", "partitions", "problem", "topic_id")

    def __init__(self, name: str) -> None:
        self.name = name
        self.topic_id = ""
        self.partitions: list[SampledPartition] = []
        self.problem: str | None = None
        self._seen: Unchanged | None = None

    def document(self) -> Document:
        """Return what is known, ready for JSON."""
        return {
            "topic": self.name,
            "topic_id": self.topic_id or None,
            "problem": self.problem,
            "partitions": [partition.document() for partition in self.partitions],
        }

    def look(self, directory: LogDirectory) -> bool:
        """Look again, and tell whether the topic is there still."""
        topic: Topic | None = None
        topics_fd = directory.topics_fd
        try:
            status = os.stat(f"{self.name}/{TOPIC_FILE}", dir_fd=topics_fd, follow_symlinks=False)
            if self._seen is None or not self._seen.is_so(status):
                seen, self._seen = Unchanged(status), None
                topic = Topic(directory, self.name)
                self._adopt(topic)
                self._seen = seen
            for partition in self.partitions:
                place = f"{self.name}/{partition.partition}"
                if not partition.has_changed(place, topics_fd):
                    continue
                if topic is None:
                    topic = Topic(directory, self.name)
                try:
                    partition.look(topic)
                except (MkError, OSError) as error:
                    raise_if_ours(error)
                    if topic.is_deleted():
                        return False
                    partition.fail(problem_of(error, directory))
            self.problem = None
        except (FileNotFoundError, NotADirectoryError, NotFoundError):
            return False  # Deleted or renamed while we looked, or a directory that is no topic.
        except (DataError, ConfigurationError, OSError) as error:
            raise_if_ours(error)
            self.problem = problem_of(error, directory)
            # What was known of it would look like what is so now.
            self._seen, self.topic_id, self.partitions = None, "", []
        finally:
            if topic is not None:
                topic.close()
        return True

    def _adopt(self, topic: Topic) -> None:
        if topic.topic_id != self.topic_id:
            self.topic_id, self.partitions = topic.topic_id, []
        del self.partitions[topic.partitions :]
        self.partitions += [SampledPartition(number) for number in range(len(self.partitions), topic.partitions)]


class TopicSampler:
    """Looks at the topics of a directory; allows: which of them, by name."""

    def __init__(self, directory: LogDirectory, allows: Callable[[str], bool]) -> None:
        self._directory = directory
        self._allows = allows
        self._topics: dict[str, SampledTopic] = {}
        self._names: list[str] = []
        self._seen: Unchanged | None = None

    def look(self) -> list[SampledTopic]:
        """Look at all topics again, and return them by name. They are the same objects each time."""
        status = os.fstat(self._directory.topics_fd)
        if self._seen is None or not self._seen.is_so(status):
            self._seen = Unchanged(status)
            self._names = [name for name in self._directory.topic_names() if self._allows(name)]
            self._topics = {name: self._topics.get(name) or SampledTopic(name) for name in self._names}
        return list(self._look())

    def _look(self) -> Iterator[SampledTopic]:
        for name in self._names:
            topic = self._topics[name]
            if topic.look(self._directory):
                yield topic
            else:
                self._topics[name] = SampledTopic(name)  # Whatever gets the name is another one.


def raise_if_ours(error: Exception) -> None:
    """Raise what is the matter with this process, and says nothing of a topic."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise error


def problem_of(error: Exception, directory: LogDirectory) -> str:
    """Return in a line why something could not be read, with paths in the log directory."""
    if isinstance(error, MkError):
        text = f"{error.what}: {error.why}" if error.why else error.what
    else:
        assert isinstance(error, OSError)
        text = f"{files.place_of(error, 'it')}: {error.strerror}"
    return text.replace(f"{directory.path}/", "")
