"""Cloning a topic: the same records at the same offsets under another name, in the time that it takes to make names.

All partitions as of one moment: with all append locks held the active segments are sealed, and the sealed ones get second names.
Nothing is put on disk before the locks are free again, but for the sealing itself. The new topic appears whole, or not at all;
what a killed clone leaves, the next creation of a topic removes.
Source: man/mk-guarantees.7, CLONES.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from mk.errors import PartitionFailedError, StorageError
from mk.storage import files, flat_json
from mk.storage.append_locks import append_locks
from mk.storage.follower_log import FollowerLog
from mk.storage.held_log import deferred_signals
from mk.storage.host import allow_open_files, boot_id
from mk.storage.input_mark import read_marks
from mk.storage.leader_epochs import EpochEntry
from mk.storage.locks import directory_lock
from mk.storage.log_copy import LogCopy
from mk.storage.log_segment import UNKNOWN_CHAIN, list_segments
from mk.storage.partition_state import LogEnd
from mk.storage.topic import utc_now
from mk.topic_partition import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

_FILES_OF_A_LOG = 8
_NOT_THE_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENFILE)
"""What the system says of this process's rights and limits."""

NOT_CLONED = ("format", "checksum", "sealed", "sealed_by")
"""Fields of topic.json that a clone does not take over; what only a newer mk knows, it does."""


class CloneReport:
    """What a clone is made of. links: segments that got a second name; copied_bytes: of those that had to be copied.

    log_start_offsets, next_offsets: of each partition, where it begins and ends.
    """

    __slots__ = ("copied_bytes", "link_bytes", "links", "log_start_offsets", "next_offsets")

    def __init__(self) -> None:
        self.links = self.link_bytes = self.copied_bytes = 0
        self.log_start_offsets: list[int] = []
        self.next_offsets: list[int] = []


def clone_topic(
    directory: LogDirectory, name: str, new: str, *, wait_ms: int, progress: Callable[[int, int], None] | None = None
) -> CloneReport:
    """Make topic `new` with all records of another one, and its settings; led here, and on disk when it returns.

    Appends wait while names are made, and no longer. Producer ids go with it: the input of one is known in the clone, too.
    Groups and a seal do not. progress: told of bytes done and in all, where they have to be copied.

    Raises:
        NoSuchTopicError, TopicExistsError, LockTimeoutError, PartitionFailedError: there is no clone.
        CorruptBatchError, CorruptStateError: where the log ends cannot be told. Damage in a sealed segment is cloned as it is.
        TryAgainError: the log was cut back while bytes of it were copied. There is no clone.
        StorageError: the disk refused. There is no clone.
    """
    check_name(new)
    made = False
    try:
        with directory_lock(directory.locks_fd, wait_ms=wait_ms):
            directory.sweep()
            topic = directory.open_topic(name)
            try:
                directory.check_name_is_free(new)
                made = True
                return _make(topic, new, wait_ms, progress)
            finally:
                topic.close()
    except OSError as error:
        if error.errno in _NOT_THE_DISK:
            raise
        why = f"{files.place_of(error, directory.path)}: {os.strerror(error.errno or 0)}"
    except PartitionFailedError:
        raise
    except StorageError as error:
        why = f"{error.what}, {error.why}"  # In other words: it speaks of an append.
    # Only the very last step, by which its name is on disk, can leave it there.
    is_there = made and files.exists(new, dir_fd=directory.topics_fd)
    raise StorageError(
        f"cannot clone topic {name}",
        why=why,
        fix=f"look at the disk (dmesg); {new} is there, but a power cut may take it away: delete it, and clone it again"
        if is_there
        else "make room, or look at the disk (dmesg), then run it again; there is no clone",
        topic=name,
    )


def _make(topic: Topic, new: str, wait_ms: int, progress: Callable[[int, int], None] | None) -> CloneReport:
    topic_id = os.urandom(16).hex()
    try:
        topic_fd = topic.directory.begin_topic(topic_id, topic.partitions)
        try:
            return _fill(topic, topic_fd, topic_id, new, wait_ms, progress)
        finally:
            files.close(topic_fd)
    except BaseException:
        try:
            # Bytes that were copied take room. If that is refused too, the next change of a topic does it.
            topic.directory.sweep()
        except OSError:
            pass
        raise


def _fill(
    topic: Topic, topic_fd: int, topic_id: str, new: str, wait_ms: int, progress: Callable[[int, int], None] | None
) -> CloneReport:
    directory = topic.directory
    report = CloneReport()
    files.take_mode(topic_fd, topic.fd)
    with ExitStack() as opened:
        logs: list[FollowerLog] = []
        segments = 0
        allow_open_files(topic.partitions * _FILES_OF_A_LOG)
        for partition in range(topic.partitions):
            logs.append(FollowerLog(topic, partition, lock_wait_ms=wait_ms))
            opened.callback(logs[-1].close)
            segments += len(list_segments(logs[-1].files.fd))
        # Where links are refused, each segment is held open until it is copied.
        allow_open_files(topic.partitions * _FILES_OF_A_LOG + segments)
        copies = [_begin(topic_fd, log.partition, opened) for log in logs]
        with (
            append_locks(directory, topic.topic_id, topic.name, range(topic.partitions), wait_ms=wait_ms),
            deferred_signals(),
        ):
            for log, copy in zip(logs, copies):
                _take(log, copy, topic_id, report)
            producers = {**topic.read_pins(), **read_marks(topic)}
        _finish(copies, report, progress)
    fields = {key: value for key, value in topic.fields().items() if key not in NOT_CLONED}
    fields.update(topic_id=topic_id, name=new, created=utc_now())
    directory.finish_topic(topic_fd, topic_id, new, flat_json.encode(fields), producers)
    return report


def _begin(topic_fd: int, partition: int, opened: ExitStack) -> LogCopy:
    files.mkdir(str(partition), dir_fd=topic_fd)
    copy = LogCopy(files.open_directory(str(partition), dir_fd=topic_fd))
    opened.callback(copy.close)
    return copy


def _take(log: FollowerLog, copy: LogCopy, topic_id: str, report: CloneReport) -> None:
    """Take a partition into the new topic, its lock held; what is not taken by name is still to be copied."""
    state = log.sealed()
    if state.durable.chain == UNKNOWN_CHAIN:
        # A copy of which nothing has come yet: what is appended to its clone has to continue something.
        state = state.copy()
        state.durable = LogEnd(0, state.durable.offset, 0, -1)
    copy.take(log.files, state, _led(log, state.durable.offset), topic_id=topic_id, boot=boot_id())
    report.links += copy.links
    report.link_bytes += copy.link_bytes
    report.copied_bytes += copy.copied_bytes
    report.log_start_offsets.append(state.log_start_offset)
    report.next_offsets.append(state.durable.offset)


def _finish(copies: Sequence[LogCopy], report: CloneReport, progress: Callable[[int, int], None] | None) -> None:
    """Put all on disk, without a lock, and tell of what is copied."""
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, report.copied_bytes)

    for copy in copies:
        copy.finish(tell)


def _led(log: FollowerLog, end_offset: int) -> LeaderEpochs:
    """Return the epochs of a clone, which this directory leads whoever leads the original."""
    epochs, directory_id = log.epochs, log.files.topic.directory.directory_id
    if epochs.latest.leader_id == directory_id:
        return epochs
    return epochs.fenced(end_offset, EpochEntry(((epochs.latest.epoch >> 32) + 1) << 32, end_offset, directory_id))
