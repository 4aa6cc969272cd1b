"""Changing a topic that is there: its settings, its number of partitions, its name, and whether it takes records.

All changes of a directory's topics take turns by the directory's lock. topic.json is what makes a change true: it is
only ever replaced whole, holding partition 0's append lock, and what it is going to name is on disk before. So a kill
at any moment leaves the topic as it was or as it shall be; what was prepared in vain is removed by the next change.
Removing a topic is in log_directory, but for one whose topic.json is damaged.
"""

from __future__ import annotations

import getpass
import os

from mk.errors import (
    ConfigurationError,
    CorruptStateError,
    DataError,
    NoSuchTopicError,
    UsageError,
)
from mk.storage import files, flat_json
from mk.storage.append_locks import append_locks
from mk.storage.leader_epochs import read_epochs
from mk.storage.locks import directory_lock
from mk.storage.partition_files import STATE_FILE, PartitionFiles
from mk.storage.partition_state import read_state
from mk.storage.replica_directory import not_leader
from mk.storage.topic import FILE_NAME, Topic, utc_now
from mk.topic_partition import check_name, check_partition_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mk.storage.log_directory import LogDirectory

    Fields = dict[str, str | int | bool | None]
    """All of a topic.json, `format` and `checksum` aside."""


def alter_topic(
    directory: LogDirectory,
    name: str,
    *,
    settings: Mapping[str, int | str],
    unset: Sequence[str],
    partitions: int | None,
    wait_ms: int,
) -> None:
    """Change settings, checked by the caller, and add partitions. On disk when it returns, all of it or nothing.

    settings: may have `partitioner` among them. Running producers see the change at their next append.
    Raises UsageError for fewer partitions.
    """
    with directory_lock(directory.locks_fd, wait_ms=wait_ms):
        directory.sweep()
        topic = directory.open_topic(name)
        try:
            fields = topic.fields()
            for key in unset:
                fields.pop(key, None)
            fields.update(settings)
            if partitions is not None and partitions != topic.partitions:
                check_more_partitions(name, topic.partitions, partitions)
                # Without an append lock: nobody looks for them before topic.json counts them.
                _add_partitions(topic, partitions)
                fields["partitions"] = partitions
            if fields == topic.fields():
                _settle(topic)
                return
            with append_locks(directory, topic.topic_id, name, [0], wait_ms=wait_ms):
                replace_topic(topic, fields)
        finally:
            topic.close()


def check_more_partitions(name: str, there: int, wanted: int) -> None:
    """Raise UsageError unless a topic may go from `there` to `wanted` partitions."""
    check_partition_count(wanted)
    if wanted < there:
        raise UsageError(
            f"topic {name} cannot go from {there} partitions to {wanted}",
            why="the records of those that go would go with them",
            fix="make a new topic, and produce there what this one holds; nothing was changed",
            topic=name,
            partitions=there,
            wanted=wanted,
        )


def rename_topic(directory: LogDirectory, old: str, new: str, *, wait_ms: int) -> None:
    """Give a topic another name; id, locks, offsets and settings stay. On disk when it returns.

    With all append locks: an append that got its lock before us is acknowledged under the old name; one that gets it
    after us finds nothing there. Readers that have the topic open go on.
    """
    check_name(new)
    with directory_lock(directory.locks_fd, wait_ms=wait_ms):
        directory.sweep()
        topic = directory.open_topic(old)
        try:
            directory.check_name_is_free(new, but=old)
            with append_locks(directory, topic.topic_id, old, range(topic.partitions), wait_ms=wait_ms):
                # First, since it may find no room. Killed in between, the topic has its old name: the directory's counts.
                replace_topic(topic, {**topic.fields(), "name": new})
                files.rename(old, new, src_dir_fd=directory.topics_fd, dst_dir_fd=directory.topics_fd)
                files.fsync(directory.topics_fd)
        finally:
            topic.close()


def seal_topic(directory: LogDirectory, name: str, *, wait_ms: int) -> bool:
    """Close a topic to new records. When it returns, no append is under way and none will be. False if it was sealed."""
    return _set_seal(directory, name, {"sealed": utc_now(), "sealed_by": _user()}, wait_ms=wait_ms)


def unseal_topic(directory: LogDirectory, name: str, *, wait_ms: int) -> bool:
    """Open a sealed topic to new records again. False if it was not sealed."""
    return _set_seal(directory, name, {}, wait_ms=wait_ms)


def _set_seal(directory: LogDirectory, name: str, seal: Fields, *, wait_ms: int) -> bool:
    with directory_lock(directory.locks_fd, wait_ms=wait_ms):
        directory.sweep()
        topic = directory.open_topic(name)
        try:
            if bool(topic.sealed) == bool(seal):
                _settle(topic)
                return False
            fields = {key: value for key, value in topic.fields().items() if key not in ("sealed", "sealed_by")}
            with append_locks(directory, topic.topic_id, name, range(topic.partitions), wait_ms=wait_ms):
                if seal:
                    _finish_appends(topic)
                replace_topic(topic, {**fields, **seal})
            return True
        finally:
            topic.close()


def _finish_appends(topic: Topic) -> None:
    """Have all that is written read; the caller holds all append locks.

    Whoever wrote it may have let go of the lock for others to share its sync, and would be acknowledged behind the seal: a
    reader that took the end for the last one, since the topic is sealed, would miss those records.
    """
    from mk.storage.follower_log import FollowerLog

    for partition in range(topic.partitions):
        partition_files = PartitionFiles(topic, partition, os.O_RDONLY)
        try:
            state = partition_files.read_state()
        finally:
            partition_files.close()
        if state is not None and state.high_watermark < state.written.offset:
            log = FollowerLog(topic, partition)
            try:
                log.settled()
            finally:
                log.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"  # Without a name, as in a container.


def replace_topic(topic: Topic, fields: Fields) -> None:
    """Replace topic.json; the caller holds the directory's lock, and partition 0's append lock at least."""
    for name in os.listdir(topic.fd):
        if name.startswith(".tmp-"):
            files.unlink(name, dir_fd=topic.fd)  # Of a change that was killed: nobody else is at it.
    files.replace_file(FILE_NAME, flat_json.encode(fields), dir_fd=topic.fd)


def _settle(topic: Topic) -> None:
    """Have topic.json on disk as it is: whoever made it so may have been killed before that."""
    files.fsync(topic.fd)


def _add_partitions(topic: Topic, partitions: int) -> None:
    """Make the partitions above those that topic.json counts, up to so many; on disk when it returns."""
    _check_leader(topic)
    make_partitions(topic, [(b"", 0)] * (partitions - topic.partitions))


def make_partitions(topic: Topic, partitions: Sequence[tuple[bytes, int]]) -> None:
    """Make partitions above those that topic.json counts, and their locks; on disk when it returns.

    What stands there already was left by a change that was killed, or is what a power cut kept of it. It was never
    counted, so nobody wrote to it: the first append to a partition puts the topic.json that counts it on disk before it
    is acknowledged. partitions: of each its epochs and its first offset, see LogDirectory.create_partition.
    """
    directory = topic.directory
    for name in os.listdir(topic.fd):
        if name.isascii() and name.isdecimal() and int(name) >= topic.partitions:
            files.remove_tree(name, dir_fd=topic.fd)
    directory.create_locks(topic.topic_id, range(topic.partitions, topic.partitions + len(partitions)))
    for partition, (epochs, first_offset) in enumerate(partitions, topic.partitions):
        directory.create_partition(topic.fd, topic.topic_id, partition, epochs, first_offset)
    files.fsync(topic.fd)


def _check_leader(topic: Topic) -> None:
    """Raise NotLeaderError where another directory leads: it must be the one that makes new partitions."""
    try:
        fd = files.open_directory("0", dir_fd=topic.fd)
    except (FileNotFoundError, NotADirectoryError):
        raise CorruptStateError(path=f"{topic.path}/0", found="the partition's directory is missing") from None
    try:
        leader = read_epochs(fd, f"{topic.path}/0").latest.leader_id
    finally:
        files.close(fd)
    if leader != topic.directory.directory_id:
        raise not_leader(topic, 0, leader)


def delete_damaged_topic(directory: LogDirectory, name: str, *, wait_ms: int) -> None:
    """Delete a topic whose topic.json is damaged or missing, if its locks can be told without it.

    The partitions' `state` files have the topic id, by which the locks go. With all of these nobody appends: a producer
    that had the topic open from before the damage still could.

    Raises CorruptStateError if no `state` can be read, they disagree, or another topic may be using these locks; nothing
    was changed then.
    """
    with directory_lock(directory.locks_fd, wait_ms=wait_ms):
        directory.sweep()
        try:
            directory.open_topic(name).close()
        except (CorruptStateError, NoSuchTopicError):
            pass
        else:
            # Whole after all: made anew since the caller looked, or restored. That is for somebody to look at again.
            raise CorruptStateError(
                path=f"{directory.path}/topics/{name}/{FILE_NAME}",
                found="it was, and is not any more",
                fix="look at the topic, and delete it again if that is still wanted; nothing was changed",
            )
        topic_id = _id_by_states(directory, name)
        _check_only_owner(directory, name, topic_id)
        locks_fd = files.open_directory(topic_id, dir_fd=directory.locks_fd)
        try:
            partitions = [int(lock) for lock in os.listdir(locks_fd) if lock.isascii() and lock.isdecimal()]
        finally:
            files.close(locks_fd)
        directory.remove_topic(name, topic_id, partitions, wait_ms=wait_ms)


def _id_by_states(directory: LogDirectory, name: str) -> str:
    """Return the topic id that all readable `state` files of a topic agree on, and that has locks."""
    ids = set()
    try:
        topic_fd = files.open_directory(name, dir_fd=directory.topics_fd)
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchTopicError(topic=name, directory=directory.path) from None
    try:
        for entry in os.listdir(topic_fd):
            if not (entry.isascii() and entry.isdecimal()):
                continue
            try:
                fd = files.open_directory(entry, dir_fd=topic_fd)
            except NotADirectoryError:
                continue
            try:
                state_fd = files.open_file(STATE_FILE, os.O_RDONLY, dir_fd=fd)
                try:
                    state = read_state(state_fd)
                finally:
                    files.close(state_fd)
            except (FileNotFoundError, CorruptStateError):
                continue
            finally:
                files.close(fd)
            if state is not None:
                ids.add(state.topic_id)
    finally:
        files.close(topic_fd)
    if len(ids) != 1:
        raise _locks_unknown(directory, name, f"{len(ids) or 'no'} topic ids are in the state files of its partitions")
    topic_id = ids.pop()
    if len(topic_id) != 32 or not topic_id.isalnum() or not files.exists(topic_id, dir_fd=directory.locks_fd):
        raise _locks_unknown(directory, name, f"there are no locks of topic id {topic_id}")
    return topic_id


def _check_only_owner(directory: LogDirectory, name: str, topic_id: str) -> None:
    """Refuse if another topic has that id, as after a copy by hand: its locks would go with this one."""
    for other in directory.topic_names():
        if other == name:
            continue
        try:
            topic = directory.open_topic(other)
            topic.close()
            other_id = topic.topic_id
        except NoSuchTopicError:
            continue
        except (DataError, ConfigurationError):
            other_id = _id_by_states(directory, other)
        if other_id == topic_id:
            raise _locks_unknown(directory, name, f"they are those of {other}, which has the same id")


def _locks_unknown(directory: LogDirectory, name: str, why: str) -> CorruptStateError:
    return CorruptStateError(
        path=f"{directory.path}/topics/{name}/{FILE_NAME}",
        found=f"and which locks keep producers out of this topic cannot be told: {why}",
        fix="nothing was changed; restore topic.json from a copy, or, when no mk runs, remove the topic's directory by hand",
    )
