"""How far groups have read: what others than their members ask of committed offsets. Read-only, without a lock."""

from __future__ import annotations

from mk.config import ALL_GROUPS, parse_groups
from mk.errors import CorruptStateError, MkError
from mk.group_errors import CommitBeyondEndError, NoSuchGroupError
from mk.groups.claim_directory import group_names, open_claims, topic_ids
from mk.groups.claim_slot import NO_EPOCH, NO_OFFSET
from mk.storage import files
from mk.storage.log_directory import REPLICAS
from mk.storage.retention import GroupOffset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.groups.claim_slot import ClaimSlot
    from mk.groups.committed_offset import CommittedOffset
    from mk.storage.log_directory import LogDirectory
    from mk.storage.partition_reader import PartitionReader
    from mk.storage.topic import Topic


def committed_offset(topic: Topic, group: str, reader: PartitionReader) -> int | None:
    """Return where a group stands in the partition of `reader`, which is brought up to date; None before its first commit.

    One that has committed nothing here stands where it did in the directory that leads the partition, if that is known.

    Raises:
        NoSuchGroupError: there is no such group. One that has not read this topic is no error.
        CommitBeyondEndError: what it has committed is no offset of this log. Reading on from there would skip records.
        CorruptStateError: it cannot be read.
    """
    try:
        claims = open_claims(topic.directory, group, topic=topic.name, topic_id=topic.topic_id)
    except NoSuchGroupError:
        if group not in known_groups(topic.directory):
            raise
        claims = None
    if claims is None:
        return replicated_start(topic, group, reader)
    try:
        slot = claims.newest(reader.partition)
    finally:
        claims.close()
    if slot is None or slot.offset == NO_OFFSET:
        return replicated_start(topic, group, reader)
    offset = stands_at(group, slot, reader)
    if offset < slot.offset:
        raise CommitBeyondEndError(
            group=group, topic=topic.name, partition=reader.partition, offset=slot.offset, stands_at=offset
        )
    return slot.offset


def known_groups(directory: LogDirectory) -> list[str]:
    """Return the names of all groups, those too that are known from a leader only, sorted."""
    names = group_names(directory)
    if files.exists(REPLICAS, dir_fd=directory.fd):
        from mk.groups.replicated_offsets import replicated_group_names

        names = sorted({*names, *replicated_group_names(directory)})
    return names


def replicated_start(topic: Topic, group: str, reader: PartitionReader) -> int | None:
    """Return where a group begins that has committed nothing here, as the directory that leads told; None if it did not.

    Raises CorruptStateError where that cannot be read: taken for a new group, it could begin at the end.
    """
    if not files.exists(REPLICAS, dir_fd=topic.directory.fd):
        return None
    from mk.groups.replicated_offsets import replicated_offset

    found = replicated_offset(topic, group, reader.partition)
    return None if found is None else stands_at(group, found, reader)


def stands_at(group: str, slot: ClaimSlot | CommittedOffset, reader: PartitionReader) -> int:
    """Return up to where a group has read the log that is there, which may have been cut and have grown again.

    That is what it has committed, or less. reader: of the partition; it is brought up to date.
    """
    if slot.offset > reader.high_watermark:
        reader.refresh()  # Records may have come, and been read by the group, since the reader looked.
    return min(_group_offset(group, slot).in_log(reader.end_of_epoch), reader.high_watermark)


def epoch_before(topic: Topic, partition: int, offset: int) -> int:
    """Return the leader epoch of the record before an offset, NO_EPOCH if there is none."""
    return topic.read_epochs(partition).epoch_before(offset)


def earlier_incarnation(topic: Topic, group: str) -> int | None:
    """Return up to where a group has read a topic that had this name and is gone; None if it has read none.

    The largest offset of any partition, to be told to people: it means nothing in the topic that is there now.
    """
    found = None
    directory = topic.directory
    for topic_id in topic_ids(directory, group):
        if topic_id == topic.topic_id or files.exists(topic_id, dir_fd=directory.locks_fd):
            continue  # As long as a topic lives it has locks.
        claims = open_claims(directory, group, topic=topic.name, topic_id=topic_id)
        if claims is None:
            continue
        try:
            for partition, generations in claims.generations().items():
                slot = claims.newest(partition, generations)
                if slot is not None and slot.topic == topic.name and slot.offset > 0:
                    found = max(found or 0, slot.offset)
        except CorruptStateError:
            pass  # Of a topic that is gone; verify names it.
        finally:
            claims.close()
    return found


def group_offsets(topic: Topic, partition: int, wanted: str) -> list[GroupOffset]:
    """Return how far each group that a value of retention.groups names has read, as it is on disk.

    `all` is every group that has a claim on any partition of the topic, or is known to have in the directory that leads.
    A group that is named has read nothing as long as it has no claim on this one, here or there.
    """
    names = parse_groups(wanted)
    if names == (ALL_GROUPS,):
        try:
            names = tuple(known_groups(topic.directory))
        except MkError as error:
            return [GroupOffset(ALL_GROUPS, NO_OFFSET, NO_EPOCH, error.why)]
        except OSError as error:
            return [
                GroupOffset(ALL_GROUPS, NO_OFFSET, NO_EPOCH, f"{files.place_of(error, 'groups')}: {error.strerror}")
            ]
    return [offset for name in names if (offset := _offset_on_disk(topic, partition, name, wanted)) is not None]


def _offset_on_disk(topic: Topic, partition: int, group: str, wanted: str) -> GroupOffset | None:
    """Return how far one group has read, or why that cannot be told; None if it is meant by `all` and has no claim."""
    found = _own_offset_on_disk(topic, partition, group, wanted)
    if found is not None and (found.trouble or found.offset != NO_OFFSET):
        return found
    if not files.exists(REPLICAS, dir_fd=topic.directory.fd):
        return found
    from mk.groups.replicated_offsets import replicated_offset

    try:
        replicated = replicated_offset(topic, group, partition)
    except MkError as error:
        return GroupOffset(group, NO_OFFSET, NO_EPOCH, f"{error.what}, {error.why}")
    except OSError as error:
        return GroupOffset(group, NO_OFFSET, NO_EPOCH, f"{files.place_of(error, group)}: {error.strerror}")
    return found if replicated is None else _group_offset(group, replicated)


def _own_offset_on_disk(topic: Topic, partition: int, group: str, wanted: str) -> GroupOffset | None:
    """Do the same for what it has committed here."""
    nothing = None if wanted == ALL_GROUPS else GroupOffset(group, NO_OFFSET, NO_EPOCH)
    try:
        claims = open_claims(topic.directory, group, topic=topic.name, topic_id=topic.topic_id)
        if claims is None:
            return nothing
        try:
            if wanted == ALL_GROUPS and not claims.generations():
                return None
            slot = claims.newest_on_disk(partition)
        finally:
            claims.close()
    except NoSuchGroupError:
        return nothing
    except CorruptStateError as error:
        return GroupOffset(group, NO_OFFSET, NO_EPOCH, f"{error.what}, {error.why}")
    except MkError as error:
        return GroupOffset(group, NO_OFFSET, NO_EPOCH, error.why)
    except OSError as error:
        return GroupOffset(group, NO_OFFSET, NO_EPOCH, f"{files.place_of(error, group)}: {error.strerror}")
    return GroupOffset(group, NO_OFFSET, NO_EPOCH) if slot is None else _group_offset(group, slot)


def _group_offset(group: str, slot: ClaimSlot | CommittedOffset) -> GroupOffset:
    return GroupOffset(group, slot.offset, slot.leader_epoch)
