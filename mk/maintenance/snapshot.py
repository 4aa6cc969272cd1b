"""A snapshot: the whole log directory as it is now, in another place, while everybody goes on.

First what groups have committed, then the logs: so no group stands behind the end of a log. Each partition is taken with its append
lock held for a moment. Sealed segments get second names where both places are on one file system; only active segments, and
small files, are copied. mk.json comes last: until then it is no log directory.
Source: man/mk-guarantees.7, SNAPSHOTS.
"""

from __future__ import annotations

import errno
import os

from mk.errors import CannotCreateError, NoSuchTopicError, PartitionFailedError
from mk.storage import files
from mk.storage.follower_log import FollowerLog
from mk.storage.held_log import held_log
from mk.storage.log_copy import LogCopy
from mk.storage.log_directory import FILE_NAME, PRIVATE
from mk.storage.topic import FILE_NAME as TOPIC_FILE
from mk.storage.topic import PRODUCERS_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

BOOT = "snapshot"
"""The boot id in the copies of `state`: nobody's. So readers look at what is there, and the first writer recovers."""

MARK = ".snapshot-of"
"""Names the directory of which a snapshot is being taken, until it is whole."""

_WAIT = "wait, raise --lock-wait, or stop that process, then run it again; the snapshot is not whole"
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)


class SnapshotReport:
    """What a snapshot is made of. links: segments that got a second name; copied_bytes: of all that was copied."""

    __slots__ = ("copied_bytes", "failed", "groups", "link_bytes", "links", "partitions", "topics")

    def __init__(self) -> None:
        self.topics = self.partitions = self.groups = 0
        self.links = self.link_bytes = self.copied_bytes = 0
        self.failed: list[str] = []
        """Partitions with FAILED, which a snapshot does not have, as `topic/partition`."""


def take_snapshot(
    directory: LogDirectory, destination: str, *, wait_ms: int, progress: Callable[[int, int], None] | None = None
) -> SnapshotReport:
    """Copy the directory to `destination`, which is made; on disk when it returns.

    What a killed run has left there is removed first. progress: told of topics done and in all.

    Raises:
        CannotCreateError: something else is there, or it is inside the directory.
        LockTimeoutError, CorruptStateError: the snapshot is not whole. The next run begins anew.
    """
    report = SnapshotReport()
    directory.locks_fd  # noqa: B018  whoever may not lock finds out before anything is made
    target_fd = _begin(directory, destination)
    try:
        _copy_groups(directory, target_fd, report)
        marks = {name: _input_marks(directory, name) for name in directory.topic_names()}
        taken: set[str] = set()
        # Again, until there is none that was not seen: one that got another name is found under that.
        while names := [name for name in directory.topic_names() if name not in taken]:
            for name in names:
                taken.add(name)
                try:
                    _copy_topic(directory, target_fd, name, marks.get(name, {}), report, wait_ms)
                except NoSuchTopicError:
                    _remove_topic(target_fd)  # Deleted or renamed while we were at it.
                if progress is not None:
                    progress(report.topics, len(names))
        for name in ("replicas", "quarantine"):
            _copy_tree(directory.fd, target_fd, name, report, links=name == "quarantine")
        files.write_new_file(FILE_NAME, files.read_file(FILE_NAME, dir_fd=directory.fd), dir_fd=target_fd)
        files.fsync(target_fd)
        files.unlink(MARK, dir_fd=target_fd)
        files.fsync(target_fd)
    finally:
        files.close(target_fd)
    return report


def check_destination(directory: LogDirectory, destination: str) -> None:
    """Raise CannotCreateError unless a snapshot can be made there."""
    path, own = os.path.realpath(destination), os.path.realpath(directory.path)
    if path == own or path.startswith(own + os.sep) or own.startswith(path + os.sep):
        raise CannotCreateError(
            f"a snapshot of {directory.path} cannot be at {destination}",
            why="one of the two would be inside the other",
            fix="name a place beside the directory; nothing was made",
        )
    try:
        there = os.listdir(destination)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise CannotCreateError(
            f"{destination} is not a directory", fix="name another place; nothing was made"
        ) from None
    if there and _mark_of(destination) != directory.directory_id:
        raise CannotCreateError(
            f"{destination} is not empty",
            why="a snapshot is made in a new or an empty directory",
            fix="name another place, or remove that one; nothing was made",
        )


def _mark_of(destination: str) -> str:
    try:
        with open(os.path.join(destination, MARK), "rb") as file:
            return file.read(64).decode("ascii", "replace").strip()
    except OSError:
        return ""


def _begin(directory: LogDirectory, destination: str) -> int:
    """Make the place, empty but for its mark and the directories, and open it."""
    check_destination(directory, destination)
    status = os.fstat(directory.fd)
    try:
        files.mkdir(destination)
    except FileExistsError:
        pass
    fd = files.open_directory(destination)
    try:
        for name in os.listdir(fd):
            # Of a killed run. The mark goes last: without it nobody would know any more whose that is.
            if name != MARK:
                _remove(name, fd)
        if files.exists(MARK, dir_fd=fd):
            files.unlink(MARK, dir_fd=fd)
        if status.st_uid == os.geteuid() or os.geteuid() == 0:
            os.fchown(fd, -1, status.st_gid)
            os.fchmod(fd, status.st_mode & 0o7777)
        files.write_new_file(MARK, directory.directory_id.encode() + b"\n", dir_fd=fd)
        for name, mode in (("topics", 0o755), ("locks", PRIVATE), ("quarantine", PRIVATE)):
            files.mkdir(name, mode, dir_fd=fd)
        files.fsync(fd)
        parent_fd = files.open_directory(os.path.dirname(os.path.abspath(destination)))
        try:
            files.fsync(parent_fd)
        finally:
            files.close(parent_fd)
    except BaseException:
        files.close(fd)
        raise
    return fd


def _remove(name: str, dir_fd: int) -> None:
    try:
        files.unlink(name, dir_fd=dir_fd)
    except (IsADirectoryError, PermissionError):
        files.remove_tree(name, dir_fd=dir_fd)


# Topics.


def _copy_topic(
    directory: LogDirectory,
    target_fd: int,
    name: str,
    marks: dict[str, bytes],
    report: SnapshotReport,
    wait_ms: int,
) -> None:
    topic = directory.open_topic(name)
    try:
        content = topic.fields()
        topics_fd = files.open_directory("topics", dir_fd=target_fd)
        try:
            files.mkdir(_TEMPORARY, dir_fd=topics_fd)
            topic_fd = files.open_directory(_TEMPORARY, dir_fd=topics_fd)
            try:
                partitions = topic.partitions
                for partition in range(partitions):
                    _copy_partition(topic, topic_fd, partition, report, wait_ms)
                _copy_producers(topic, topic_fd, marks)
                # As it was before its partitions were taken: one more may have been added since.
                files.write_new_file(TOPIC_FILE, _encode(content), dir_fd=topic_fd)
                files.fsync(topic_fd)
            finally:
                files.close(topic_fd)
            _make_locks(target_fd, topic.topic_id, partitions)
            # Renamed meanwhile it might be there twice, with one id.
            topic.check_identity()
            files.rename(_TEMPORARY, name, src_dir_fd=topics_fd, dst_dir_fd=topics_fd)
            files.fsync(topics_fd)
        finally:
            files.close(topics_fd)
    finally:
        topic.close()
    report.topics += 1
    report.partitions += partitions


_TEMPORARY = ".tmp-snapshot"


def _encode(fields: dict[str, str | int | bool | None]) -> bytes:
    from mk.storage import flat_json

    return flat_json.encode(fields)


def _remove_topic(target_fd: int) -> None:
    topics_fd = files.open_directory("topics", dir_fd=target_fd)
    try:
        if files.exists(_TEMPORARY, dir_fd=topics_fd):
            files.remove_tree(_TEMPORARY, dir_fd=topics_fd)
    finally:
        files.close(topics_fd)


def _copy_partition(topic: Topic, topic_fd: int, partition: int, report: SnapshotReport, wait_ms: int) -> None:
    name = str(partition)
    files.mkdir(name, dir_fd=topic_fd)
    copy = LogCopy(files.open_directory(name, dir_fd=topic_fd))
    try:
        log = FollowerLog(topic, partition, lock_wait_ms=wait_ms)
        try:
            with held_log(log, fix=_WAIT):
                try:
                    state = log.settled()
                except PartitionFailedError:
                    # Up to where the disk has taken it. Another disk may take the rest.
                    state = log.files.wait_for_state()
                    report.failed.append(f"{topic.name}/{partition}")
                copy.take(log.files, state, log.epochs, topic_id=topic.topic_id, boot=BOOT)
        finally:
            log.close()
        copy.finish()
        report.links += copy.links
        report.link_bytes += copy.link_bytes
        report.copied_bytes += copy.copied_bytes
    finally:
        copy.close()


def _input_marks(directory: LogDirectory, name: str) -> dict[str, bytes]:
    """Return how far producers had read the files that they follow: before the logs, or a mark could be ahead of its log."""
    try:
        topic = directory.open_topic(name)
    except NoSuchTopicError:
        return {}
    try:
        fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
    except FileNotFoundError:
        return {}
    finally:
        topic.close()
    try:
        return {mark: files.read_file(mark, dir_fd=fd) for mark in os.listdir(fd) if mark.endswith(".input")}
    finally:
        files.close(fd)


def _copy_producers(topic: Topic, topic_fd: int, marks: dict[str, bytes]) -> None:
    """Copy the pins, behind the logs: each producer id in them has one."""
    if not topic.has_producers():
        return
    files.mkdir(PRODUCERS_DIRECTORY, dir_fd=topic_fd)
    fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic_fd)
    try:
        for name, data in {**topic.read_pins(), **marks}.items():
            files.write_new_file(name, data, dir_fd=fd)
        files.fsync(fd)
    finally:
        files.close(fd)


def _make_locks(target_fd: int, topic_id: str, partitions: int) -> None:
    locks_fd = files.open_directory("locks", dir_fd=target_fd)
    try:
        files.mkdir(topic_id, PRIVATE, dir_fd=locks_fd)
        fd = files.open_directory(topic_id, dir_fd=locks_fd)
        try:
            for partition in range(partitions):
                files.write_new_file(str(partition), b"", dir_fd=fd, mode=0o600)
            files.fsync(fd)
        finally:
            files.close(fd)
        files.fsync(locks_fd)
    finally:
        files.close(locks_fd)


# Groups, and what is kept of others.


def _copy_groups(directory: LogDirectory, target_fd: int, report: SnapshotReport) -> None:
    """Copy what groups have committed, and what was changed of it by hand; members live here and nowhere else."""
    _copy_tree(directory.fd, target_fd, "groups", report, leaves_out=("members",))
    try:
        fd = files.open_directory("groups", dir_fd=target_fd)
    except FileNotFoundError:
        return
    try:
        report.groups = sum(1 for _ in os.scandir(fd))
    finally:
        files.close(fd)


def _copy_tree(
    source_fd: int,
    target_fd: int,
    name: str,
    report: SnapshotReport,
    *,
    links: bool = False,
    leaves_out: tuple[str, ...] = (),
) -> None:
    """Copy a directory of small files with all in it, but for temporary ones. links: nothing in it ever changes."""
    try:
        from_fd = files.open_directory(name, dir_fd=source_fd)
    except FileNotFoundError:
        return
    try:
        try:
            files.mkdir(name, os.fstat(from_fd).st_mode & 0o777, dir_fd=target_fd)
        except FileExistsError:
            pass
        to_fd = files.open_directory(name, dir_fd=target_fd)
        try:
            for entry, is_directory in _entries(from_fd):
                if is_directory and entry not in leaves_out:
                    _copy_tree(from_fd, to_fd, entry, report, links=links, leaves_out=leaves_out)
                elif not is_directory:
                    report.copied_bytes += _copy_file(from_fd, to_fd, entry, links=links)
            files.fsync(to_fd)
        finally:
            files.close(to_fd)
    finally:
        files.close(from_fd)


def _entries(fd: int) -> Iterator[tuple[str, bool]]:
    for entry in sorted(os.scandir(fd), key=lambda entry: entry.name):
        is_directory = entry.is_dir(follow_symlinks=False)
        if not entry.name.startswith(".tmp-") and (is_directory or entry.is_file(follow_symlinks=False)):
            yield entry.name, is_directory


def _copy_file(from_fd: int, to_fd: int, name: str, *, links: bool) -> int:
    if links:
        try:
            files.link(name, name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
            return 0
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
    try:
        fd = files.open_file(name, os.O_RDONLY, dir_fd=from_fd)
    except FileNotFoundError:
        return 0  # Replaced or removed since it was listed.
    try:
        size_bytes = files.size(fd)
        mode = os.fstat(fd).st_mode & 0o777
        copy = files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=to_fd)
        try:
            position = 0
            while position < size_bytes and (count := files.copy_range(fd, copy, size_bytes - position, position)):
                position += count
            files.fsync(copy)
        finally:
            files.close(copy)
        return position
    finally:
        files.close(fd)
