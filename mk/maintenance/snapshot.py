"""`mk topics snapshot`: a whole log directory as of now, in another place, while all go on with it.

In this order, so that nothing in a snapshot leads what it stands on: where groups are, then topic by topic the input marks, the
partitions, and the pins of producer ids; then what was cut off logs, so that it is in the log or there. Each partition is taken
under its append lock, which is held while sealed segments get second names and the rest is opened, and not while bytes are
copied. A topic has a temporary name until all are there: names are those of the end, and a topic that is gone by then is not in it.
mk.json comes last, so what a kill leaves is no log directory. It has a file in it that says what it is; the next snapshot of
the same directory removes all of it, and begins anew. The directory itself is only read, but for what any writer would do.
Source: man/mk-guarantees.7, SNAPSHOTS.
"""

from __future__ import annotations

import os

from mk.errors import CorruptStateError, NoSuchTopicError, TryAgainError
from mk.groups.claim_directory import GROUPS, group_names
from mk.groups.group_copy import copy_groups
from mk.maintenance.snapshot_place import SnapshotPlace, check_destination, nearest_existing
from mk.storage import files, flat_json
from mk.storage.follower_log import FollowerLog
from mk.storage.held_log import held_log
from mk.storage.host import allow_open_files
from mk.storage.input_mark import read_marks
from mk.storage.locks import DIRECTORY_LOCK, directory_lock
from mk.storage.log_copy import NO_LINKS, LogCopy
from mk.storage.log_directory import REPLICAS
from mk.storage.log_segment import list_segments, segment_name
from mk.storage.partition_files import PartitionFiles
from mk.storage.partition_state import SNAPSHOT_BOOT
from mk.storage.quarantine import SALVAGED_SUFFIX
from mk.storage.replica_directory import MAX_FILE_BYTES
from mk.storage.replica_topic import find_topic
from mk.storage.topic import FILE_NAME as TOPIC_FILE
from mk.storage.topic import PRODUCERS_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

    Progress = Callable[[int, int], None]

QUARANTINE = "quarantine"
_TRIES = 10
_PIECE = 16 << 20
_WAIT = "wait, raise --lock-wait, or stop that process, then run it again; there is no snapshot yet"


class SnapshotReport:
    """What a snapshot is made of. links, link_bytes: files that got a second name; copied_bytes: of those that were copied."""

    __slots__ = ("copied_bytes", "groups", "link_bytes", "links", "partitions", "topics")

    def __init__(self) -> None:
        self.topics = self.partitions = self.groups = 0
        self.links = self.link_bytes = self.copied_bytes = 0

    def document(self, directory: str, destination: str) -> dict[str, object]:
        """Return it ready for JSON."""
        counts = {name: getattr(self, name) for name in ("topics", "partitions", "groups", "links")}
        sizes = {"link_bytes": self.link_bytes, "copied_bytes": self.copied_bytes}
        return {"directory": directory, "destination": destination, **counts, **sizes}


def take_snapshot(
    directory: LogDirectory, destination: str, *, wait_ms: int, progress: Progress | None = None
) -> SnapshotReport:
    """Make a snapshot of a log directory at a path that is free, or an empty directory; on disk when it returns.

    What was acknowledged before it began is in it. progress: told of bytes done, linked ones too, and of all there were.

    Raises:
        CannotCreateError: something else is at that place, or it is in a log directory.
        PermissionDeniedError: this user may not write to the directory, or may not give files to its group.
        LockTimeoutError: a partition stays locked, or another process makes a snapshot there.
        CorruptStateError, CorruptBatchError: something is damaged that has to be read.
        In all cases there is no snapshot, and nothing is left of it.
    """
    _ = directory.locks_fd  # Refuses whoever may only read.
    check_destination(directory, destination)
    total = 0
    if progress is not None:
        plan = plan_snapshot(directory, destination)
        total = plan.link_bytes + plan.copied_bytes
    place = SnapshotPlace(directory, destination)
    try:
        snapshot = _Snapshot(directory, place, wait_ms, progress, total)
        snapshot.take()
        place.finish()
        return snapshot.report
    except BaseException:
        place.give_up()
        raise
    finally:
        place.close()


def plan_snapshot(directory: LogDirectory, destination: str) -> SnapshotReport:
    """Tell what a snapshot would be made of now, without a lock and without changing anything. Raises what take_snapshot does."""
    _ = directory.locks_fd
    check_destination(directory, destination)
    report = SnapshotReport()
    can_link = os.stat(nearest_existing(destination)).st_dev == os.fstat(directory.topics_fd).st_dev
    for name in directory.topic_names():
        try:
            topic = directory.open_topic(name)
        except NoSuchTopicError:
            continue
        try:
            report.topics += 1
            for partition in range(topic.partitions):
                _plan_partition(topic, partition, report, can_link=can_link)
        except NoSuchTopicError:
            pass  # Deleted while we looked.
        finally:
            topic.close()
    report.groups = len(group_names(directory))
    return report


def _plan_partition(topic: Topic, partition: int, report: SnapshotReport, *, can_link: bool) -> None:
    opened = PartitionFiles(topic, partition, os.O_RDONLY)
    try:
        state = opened.wait_for_state()
        bases = [base for base in list_segments(opened.fd) if base < state.segment]
        first = max((base for base in bases if base <= state.log_start_offset), default=0)
        for base in bases:
            try:
                size_bytes = os.stat(segment_name(base), dir_fd=opened.fd, follow_symlinks=False).st_size
            except FileNotFoundError:
                continue  # Removed while we looked.
            if base >= first and can_link:
                report.links += 1
                report.link_bytes += size_bytes
            elif base >= first:
                report.copied_bytes += size_bytes
        report.copied_bytes += state.durable.position
        report.partitions += 1
    finally:
        opened.close()


# What is taken.


class _TopicChangedMeanwhile(Exception):
    """A topic got its first producer id: what was taken before has no snapshots of what was stored under producer ids."""


class _Snapshot:
    __slots__ = (
        "_directory",
        "_done",
        "_fd",
        "_locks_fd",
        "_progress",
        "_taken",
        "_topics_fd",
        "_total",
        "_wait_ms",
        "report",
    )

    def __init__(
        self, directory: LogDirectory, place: SnapshotPlace, wait_ms: int, progress: Progress | None, total: int
    ) -> None:
        self._directory = directory
        self._fd = place.fd
        self._wait_ms = wait_ms
        self._progress = progress
        self._done, self._total = 0, total
        self._taken: dict[str, str] = {}  # topic id and name
        self._topics_fd = self._locks_fd = -1
        self.report = SnapshotReport()

    def take(self) -> None:
        directory = self._directory
        try:
            self._topics_fd = files.make_directory_like("topics", directory.topics_fd, dir_fd=self._fd)
            self._locks_fd = files.make_directory_like("locks", directory.locks_fd, dir_fd=self._fd)
            names = self._names()
            self._take_groups()
            for topic_id, name in names.items():
                self._take_topic(topic_id, name)
            self._take_quarantine()
            self._give_names()
            if files.exists(DIRECTORY_LOCK, dir_fd=directory.locks_fd):
                _make_empty([DIRECTORY_LOCK], self._locks_fd)
            files.take_rights_within(self._locks_fd, directory.locks_fd)
            files.fsync(self._locks_fd)
        finally:
            for fd in (self._topics_fd, self._locks_fd):
                if fd >= 0:
                    files.close(fd)

    def _tell(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)

    def _names(self) -> dict[str, str]:
        """Return all topics by id, as of one moment: a list made while one is renamed might lack it."""
        directory = self._directory
        found = {}
        with directory_lock(directory.locks_fd, wait_ms=self._wait_ms):
            for name in directory.topic_names():
                try:
                    topic = directory.open_topic(name)
                except NoSuchTopicError:
                    if any(entry.isdecimal() for entry in os.listdir(f"{directory.path}/topics/{name}")):
                        raise CorruptStateError(
                            path=f"{directory.path}/topics/{name}/{TOPIC_FILE}", found="it is missing"
                        ) from None
                    continue  # Something else.
                found[topic.topic_id] = name
                topic.close()
        return found

    def _give_names(self) -> None:
        """Give the topics the names that they have now. What was deleted since is not wanted any more."""
        names = self._names()
        for topic_id, name in self._taken.items():
            temporary = _temporary(topic_id)
            if topic_id not in names:
                self._discard(topic_id)
                self.report.topics -= 1
                continue
            if names[topic_id] != name:
                self._rename(temporary, names[topic_id])
            files.rename(temporary, names[topic_id], src_dir_fd=self._topics_fd, dst_dir_fd=self._topics_fd)
        files.fsync(self._topics_fd)

    def _rename(self, temporary: str, name: str) -> None:
        fd = files.open_directory(temporary, dir_fd=self._topics_fd)
        try:
            fields = flat_json.decode(files.read_file(TOPIC_FILE, dir_fd=fd), TOPIC_FILE)
            files.replace_file(TOPIC_FILE, flat_json.encode({**fields, "name": name}), dir_fd=fd)
        finally:
            files.close(fd)

    # Groups, and what is known of other directories.

    def _take_groups(self) -> None:
        directory = self._directory
        for name in (GROUPS, REPLICAS):
            try:
                source_fd = files.open_directory(name, dir_fd=directory.fd)
            except FileNotFoundError:
                continue
            try:
                fd = files.make_directory_like(name, source_fd, dir_fd=self._fd)
                try:
                    if name == GROUPS:
                        self.report.groups = copy_groups(directory, fd)
                    else:
                        _copy_small_files(source_fd, fd)
                finally:
                    files.close(fd)
            finally:
                files.close(source_fd)

    # Topics.

    def _take_topic(self, topic_id: str, name: str) -> None:
        """Take a topic, under whatever name it has by now; nothing if it was deleted."""
        for _ in range(_TRIES):
            try:
                topic = self._directory.open_topic(name)
                try:
                    if topic.topic_id == topic_id:
                        self._fill(topic)
                        self._taken[topic_id] = name
                        return
                finally:
                    topic.close()
            except _TopicChangedMeanwhile:
                self._discard(topic_id)
                continue
            except NoSuchTopicError:
                self._discard(topic_id)
            found = find_topic(self._directory, topic_id)
            if found is None:
                return
            name = found
        raise TryAgainError(
            f"topic {name} is changed all the time", fix="run it again; there is no snapshot yet", topic=name
        )

    def _discard(self, topic_id: str) -> None:
        for name, dir_fd in ((_temporary(topic_id), self._topics_fd), (topic_id, self._locks_fd)):
            try:
                files.remove_tree(name, dir_fd=dir_fd)
            except FileNotFoundError:
                pass

    def _fill(self, topic: Topic) -> None:
        fields, partitions = topic.fields(), range(topic.partitions)
        had_producers = topic.has_producers()
        topic_fd = files.make_directory_like(_temporary(topic.topic_id), topic.fd, dir_fd=self._topics_fd)
        try:
            self._make_locks(topic.topic_id, partitions)
            # All records before an input mark are stored.
            marks = read_marks(topic)
            for partition in partitions:
                self._take_partition(topic, topic_fd, partition)
            if topic.has_producers() != had_producers:
                raise _TopicChangedMeanwhile
            if had_producers:
                # A pin is there before the first batch that needs it.
                self._take_producers(topic, topic_fd, {**topic.read_pins(), **marks})
            files.write_new_file(TOPIC_FILE, flat_json.encode(fields), dir_fd=topic_fd)
            files.take_rights_within(topic_fd, topic.fd)
            files.fsync(topic_fd)
        finally:
            files.close(topic_fd)
        self.report.topics += 1
        self.report.partitions += len(partitions)

    def _make_locks(self, topic_id: str, partitions: range) -> None:
        source_fd = files.open_directory(topic_id, dir_fd=self._directory.locks_fd)
        try:
            fd = files.make_directory_like(topic_id, source_fd, dir_fd=self._locks_fd)
            try:
                _make_empty(map(str, partitions), fd)
                files.take_rights_within(fd, source_fd)
                files.fsync(fd)
            finally:
                files.close(fd)
        finally:
            files.close(source_fd)

    def _take_producers(self, topic: Topic, topic_fd: int, content: dict[str, bytes]) -> None:
        source_fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
        try:
            fd = files.make_directory_like(PRODUCERS_DIRECTORY, source_fd, dir_fd=topic_fd)
            try:
                for name, data in content.items():
                    files.write_new_file(name, data, dir_fd=fd)
                files.take_rights_within(fd, source_fd)
                files.fsync(fd)
            finally:
                files.close(fd)
        finally:
            files.close(source_fd)

    def _take_partition(self, topic: Topic, topic_fd: int, partition: int) -> None:
        for tries_left in reversed(range(_TRIES)):
            log = FollowerLog(topic, partition, lock_wait_ms=self._wait_ms)
            try:
                if self._copy_partition(log, topic_fd, is_last=not tries_left):
                    return
            finally:
                log.close()
            files.remove_tree(str(partition), dir_fd=topic_fd)

    def _copy_partition(self, log: FollowerLog, topic_fd: int, *, is_last: bool) -> bool:
        """Copy a partition. False if it was cut back, to follow another directory, while its bytes were copied."""
        allow_open_files(len(list_segments(log.files.fd)))  # Where all have to be copied.
        copy = LogCopy(files.make_directory_like(str(log.partition), log.files.fd, dir_fd=topic_fd))
        try:
            with held_log(log, fix=_WAIT):
                topic_id = log.files.topic.topic_id
                copy.take(log.files, log.settled(), log.epochs, topic_id=topic_id, boot=SNAPSHOT_BOOT)
            self._tell(copy.link_bytes)
            try:
                copy.finish(self._tell)
            except TryAgainError:
                if is_last:
                    raise
                return False
            files.take_rights_within(copy.target_fd, log.files.fd)
            self.report.links += copy.links
            self.report.link_bytes += copy.link_bytes
            self.report.copied_bytes += copy.copied_bytes
            return True
        finally:
            copy.close()

    # What was cut off logs.

    def _take_quarantine(self) -> None:
        try:
            source_fd = files.open_directory(QUARANTINE, dir_fd=self._directory.fd)
        except FileNotFoundError:
            return
        try:
            fd = files.make_directory_like(QUARANTINE, source_fd, dir_fd=self._fd)
            try:
                kept = [entry for entry in os.scandir(source_fd) if entry.is_file(follow_symlinks=False)]
                linked = {entry.inode() for entry in kept if _has_names(entry)}
                # A segment that was just being given up when somebody was killed has a second name here, and is a segment
                # still. Another name more, and nobody could append to it.
                shared = linked & self._segment_inodes() if linked else set()
                for entry in kept:
                    if not entry.name.startswith(".tmp-"):
                        self._take_kept(entry.name, source_fd, fd, may_link=entry.inode() not in shared)
                files.take_rights_within(fd, source_fd)
                files.fsync(fd)
            finally:
                files.close(fd)
        finally:
            files.close(source_fd)

    def _take_kept(self, name: str, source_fd: int, target_fd: int, *, may_link: bool) -> None:
        for there in (name, name + SALVAGED_SUFFIX):  # It may have been marked as that since it was listed.
            try:
                if not (may_link and self._link(there, source_fd, target_fd)):
                    self._copy(there, source_fd, target_fd)
                return
            except FileNotFoundError:
                continue

    def _link(self, name: str, source_fd: int, target_fd: int) -> bool:
        """Give a file a second name. False where that is not to be had."""
        try:
            files.link(name, name, src_dir_fd=source_fd, dst_dir_fd=target_fd)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return False
        self.report.links += 1
        self.report.link_bytes += os.stat(name, dir_fd=target_fd, follow_symlinks=False).st_size
        return True

    def _copy(self, name: str, source_fd: int, target_fd: int) -> None:
        fd = files.open_file(name, os.O_RDONLY, dir_fd=source_fd)
        try:
            copy = files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=target_fd)
            try:
                position = 0
                while count := files.copy_range(fd, copy, _PIECE, position):
                    position += count
                files.fsync(copy)
            finally:
                files.close(copy)
            self.report.copied_bytes += position
        finally:
            files.close(fd)

    def _segment_inodes(self) -> set[int]:
        """Return the inodes of all that stands in partitions."""
        found: set[int] = set()
        for topic in os.listdir(self._directory.topics_fd):
            try:
                topic_fd = files.open_directory(topic, dir_fd=self._directory.topics_fd)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                for name in os.listdir(topic_fd):
                    if name.isdecimal():
                        found |= _inodes(name, topic_fd)
            finally:
                files.close(topic_fd)
        return found


def _temporary(topic_id: str) -> str:
    return f".tmp-{topic_id}"


def _has_names(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_nlink > 1
    except FileNotFoundError:
        return False


def _inodes(name: str, dir_fd: int) -> set[int]:
    try:
        fd = files.open_directory(name, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    try:
        return {entry.inode() for entry in os.scandir(fd)}
    finally:
        files.close(fd)


def _make_empty(names: Iterable[str], dir_fd: int) -> None:
    """Make empty files. Their names are all there is to them, and the caller syncs the directory."""
    for name in names:
        files.close(files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=dir_fd))


def _copy_small_files(source_fd: int, target_fd: int) -> None:
    """Copy files that are replaced whole, and the directories that they are in; on disk but for the first one's name."""
    for entry in list(os.scandir(source_fd)):
        if entry.name.startswith(".tmp-"):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                below_fd = files.open_directory(entry.name, dir_fd=source_fd)
                try:
                    fd = files.make_directory_like(entry.name, below_fd, dir_fd=target_fd)
                    try:
                        _copy_small_files(below_fd, fd)
                    finally:
                        files.close(fd)
                finally:
                    files.close(below_fd)
            elif entry.is_file(follow_symlinks=False):
                data = files.read_file(entry.name, dir_fd=source_fd, max_bytes=MAX_FILE_BYTES)
                files.write_new_file(entry.name, data, dir_fd=target_fd, mode=0o600)
        except FileNotFoundError:
            continue  # Removed meanwhile, as when there were too many.
    files.take_rights_within(target_fd, source_fd)
    files.fsync(target_fd)
