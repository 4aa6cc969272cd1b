"""Cloning a topic: the same records at the same offsets under another name, in the time that it takes to make names.

All partitions as of one moment: with all append locks held the active segments are sealed, and the sealed ones get second names.
The new topic appears whole, or not at all; what a killed clone leaves, the next creation of a topic removes.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from mk.storage import files
from mk.storage.follower_log import FollowerLog
from mk.storage.held_log import held_log
from mk.storage.host import allow_open_files, boot_id
from mk.storage.leader_epochs import EpochEntry
from mk.storage.locks import directory_lock
from mk.storage.log_copy import LogCopy
from mk.storage.log_segment import UNKNOWN_CHAIN
from mk.storage.partition_state import LogEnd
from mk.storage.topic import encode_topic
from mk.topic_partition import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

_WAIT = "wait, raise --lock-wait, or stop that process, then run it again; there is no clone yet"
_FILES_OF_A_LOG = 8


class CloneReport:
    """What a clone is made of. links: segments that got a second name; copied_bytes: of those that had to be copied.

    next_offsets: of each partition, where it ends.
    """

    __slots__ = ("copied_bytes", "link_bytes", "links", "next_offsets")

    def __init__(self) -> None:
        self.links = self.link_bytes = self.copied_bytes = 0
        self.next_offsets: list[int] = []


def clone_topic(
    directory: LogDirectory, name: str, new: str, *, wait_ms: int, progress: Callable[[int], None] | None = None
) -> CloneReport:
    """Make topic `new` with all records of another one, and its settings; led here, and on disk when it returns.

    Appends wait while names are made, and no longer. Producer ids go with it: the input of one is known in the clone, too.
    Groups and a seal do not. progress: told of bytes that are copied, where links are refused.

    Raises NoSuchTopicError, TopicExistsError, LockTimeoutError, PartitionFailedError: there is no clone.
    """
    check_name(new)
    with directory_lock(directory.locks_fd, wait_ms=wait_ms):
        directory.sweep()
        topic = directory.open_topic(name)
        try:
            directory.check_name_is_free(new)
            topic_id = os.urandom(16).hex()
            topic_fd = directory.begin_topic(topic_id, topic.partitions)
            try:
                return _fill(topic, topic_fd, topic_id, new, wait_ms, progress)
            except BaseException:
                directory.sweep()
                raise
            finally:
                files.close(topic_fd)
        finally:
            topic.close()


def _fill(
    topic: Topic, topic_fd: int, topic_id: str, new: str, wait_ms: int, progress: Callable[[int], None] | None
) -> CloneReport:
    directory = topic.directory
    report = CloneReport()
    allow_open_files(topic.partitions * _FILES_OF_A_LOG)
    with ExitStack() as opened:
        copies = []
        with ExitStack() as held:
            logs = []
            for partition in range(topic.partitions):
                log = FollowerLog(topic, partition, lock_wait_ms=wait_ms)
                opened.callback(log.close)
                # In order, partition 0 first, as all do who want several.
                held.enter_context(held_log(log, fix=_WAIT))
                logs.append(log)
            for log in logs:
                copy, end = _take(log, topic_fd, topic_id)
                opened.callback(copy.close)
                copies.append(copy)
                report.next_offsets.append(end)
            pins = topic.read_pins()
        for copy in copies:
            report.links += copy.links
            report.link_bytes += copy.link_bytes
            report.copied_bytes += copy.copied_bytes
            copy.finish(progress)
        content = encode_topic(new, topic_id, topic.partitions, topic.partitioner, topic.overrides)
        directory.finish_topic(topic_fd, topic_id, new, content, pins)
    return report


def _take(log: FollowerLog, topic_fd: int, topic_id: str) -> tuple[LogCopy, int]:
    """Take a partition into the new topic, its lock held. Returns the copy, to be finished, and where it ends."""
    state = log.sealed()
    if state.durable.chain == UNKNOWN_CHAIN:
        # A copy of which nothing has come yet: what is appended to its clone has to continue something.
        state = state.copy()
        state.durable = LogEnd(0, state.durable.offset, 0, -1)
    name = str(log.partition)
    files.mkdir(name, dir_fd=topic_fd)
    copy = LogCopy(files.open_directory(name, dir_fd=topic_fd))
    copy.take(log.files, state, _led(log, state.durable.offset), topic_id=topic_id, boot=boot_id())
    return copy, state.durable.offset


def _led(log: FollowerLog, end_offset: int) -> LeaderEpochs:
    """Return the epochs of a clone, which this directory leads whoever leads the original."""
    epochs, directory_id = log.epochs, log.files.topic.directory.directory_id
    if epochs.latest.leader_id == directory_id:
        return epochs
    return epochs.fenced(end_offset, EpochEntry(((epochs.latest.epoch >> 32) + 1) << 32, end_offset, directory_id))
