"""Changing the committed offsets of a group by hand: exactly, or not at all where members live.

In this order: the journal is locked; the claim of each partition concerned is taken, so that no member can own one; then
live members are looked for, and the offsets compared with those that the plan was made from; then the journal is written;
then each offset is committed into its claim. A member that comes in between finds the claims locked, and goes on from what
was committed when it gets them. Whatever is killed, its locks are gone, and the journal says what was begun.
"""

from __future__ import annotations

import os
import time

from mk.errors import LockTimeoutError, MkError, NoSuchTopicError
from mk.group_errors import GroupNotEmptyError, OffsetsMovedError
from mk.groups.claim import take
from mk.groups.claim_directory import claim_name, make_claims, open_group
from mk.groups.claim_slot import NO_EPOCH, NO_OFFSET
from mk.groups.group_members import live_members, who
from mk.groups.reset_journal import JOURNAL, ChangedOffset, Journal
from mk.storage import files
from mk.storage.host import allow_open_files
from mk.storage.leader_epochs import read_epochs
from mk.storage.locks import describe_holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.groups.claim import Claim
    from mk.groups.claim_directory import ClaimDirectory
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic


PAUSE_SECONDS = 0.005
_MIN_WAIT_MS = 100
_MAX_WAIT_MS = 2000


def tries(wait_ms: int) -> int:
    """Return how often a claim is tried that somebody else holds, PAUSE_SECONDS apart.

    Whoever asks whether one is held, or looks for a free one, holds it for a moment; a member that leaves, a little longer.
    Not for long: members that join wait for the claims that we hold already, and take us for stopped in the end.
    """
    return int(min(max(wait_ms, _MIN_WAIT_MS), _MAX_WAIT_MS) / (PAUSE_SECONDS * 1000))


class OffsetChange:
    """What is to become of one partition: from `before`, as the plan found it, to `after`; -1 is no committed offset.

    leader_epoch: of the record before `after`; None looks it up.
    """

    __slots__ = ("after", "before", "leader_epoch", "partition", "topic", "topic_id")

    def __init__(
        self, topic: str, topic_id: str, partition: int, before: int, after: int, leader_epoch: int | None = None
    ) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.partition = partition
        self.before = before
        self.after = after
        self.leader_epoch = leader_epoch


def check_is_empty(directory: LogDirectory, group: str) -> None:
    """Raise GroupNotEmptyError, with who they are, if a group has members that live."""
    members = live_members(directory, group)
    if members:
        raise GroupNotEmptyError(group=group, members=[who(*member) for member in members.items()])


def open_journal(directory: LogDirectory, group: str, group_fd: int, *, wait_ms: int) -> Journal:
    path = f"{directory.path}/groups/{group}/{JOURNAL}"
    return Journal(group_fd, group=group, path=path, directory=directory.path, wait_ms=wait_ms)


def change_offsets(
    directory: LogDirectory,
    group: str,
    changes: Sequence[OffsetChange],
    *,
    kind: str,
    undoes: int | None = None,
    wait_ms: int,
) -> int:
    """Commit offsets for a group, which is made if need be; on disk when it returns the change's number in the journal.

    Raises:
        GroupNotEmptyError, LockTimeoutError: members live, or somebody else holds a partition. Nothing was changed.
        OffsetsMovedError: the group does not stand where the plan says. Nothing was changed.
        NoSuchTopicError: a topic is gone, or was made anew. Nothing was changed.
        StorageError: the disk refused. The error says how many partitions were changed.
    """
    _ = directory.locks_fd  # Refuses whoever may only read, and a file system on which locks are not proven.
    check_is_empty(directory, group)
    allow_open_files(len(changes) + 4 * len({change.topic for change in changes}))
    reset = _Reset(directory, group)
    try:
        reset.lock(changes, wait_ms)
        return reset.commit(changes, kind, undoes)
    finally:
        reset.close()


class _Reset:
    """What is held while offsets are changed."""

    def __init__(self, directory: LogDirectory, group: str) -> None:
        self._directory = directory
        self._group = group
        self._topics: dict[str, Topic] = {}
        self._directories: dict[str, ClaimDirectory] = {}
        self._claims: list[Claim] = []
        self._group_fd = -1
        self._journal: Journal | None = None

    def close(self) -> None:
        for claim in self._claims:
            claim.close()
        if self._journal is not None:
            self._journal.close()
        if self._group_fd >= 0:
            files.close(self._group_fd)
        for claims in self._directories.values():
            claims.close()
        for topic in self._topics.values():
            topic.close()

    def lock(self, changes: Sequence[OffsetChange], wait_ms: int) -> None:
        """Take the journal, and then all partitions or none."""
        for change in changes:
            if change.topic not in self._topics:
                topic = self._directory.open_topic(change.topic)
                self._topics[change.topic] = topic
                if topic.topic_id != change.topic_id:
                    raise NoSuchTopicError(
                        topic=change.topic,
                        directory=self._directory.path,
                        why="it was deleted, and made anew, since the plan was made",
                    )
                topic.check_partition(max(one.partition for one in changes if one.topic == change.topic))
        for name, topic in self._topics.items():
            self._directories[name] = make_claims(topic, self._group)
        self._group_fd = open_group(self._directory, self._group)
        self._journal = open_journal(self._directory, self._group, self._group_fd, wait_ms=wait_ms)
        listed = {topic: claims.generations() for topic, claims in self._directories.items()}
        for change in changes:
            claims = self._directories[change.topic]
            claim = None
            for tries_left in reversed(range(tries(wait_ms))):
                claim = take(claims, change.partition, listed[change.topic].get(change.partition, []))
                if claim is not None:
                    break
                # By a member, which is then named, or by one that is about to join or to leave.
                check_is_empty(self._directory, self._group)
                if not tries_left:
                    newest = (claims.generations_of(change.partition) or [0])[-1]
                    raise held_error(claims, change.partition, newest, wait_ms)
                time.sleep(PAUSE_SECONDS)
            assert claim is not None
            self._claims.append(claim)
        # Only now: whoever joined before we had all claims is seen here, and who joins later gets none before we are done.
        check_is_empty(self._directory, self._group)

    def commit(self, changes: Sequence[OffsetChange], kind: str, undoes: int | None) -> int:
        assert self._journal is not None
        offsets = []
        for change, claim in zip(changes, self._claims):
            committed = claim.committed
            if committed.offset != change.before:
                raise OffsetsMovedError(
                    group=self._group,
                    topic=change.topic,
                    partition=change.partition,
                    planned=change.before,
                    found=committed.offset,
                )
            epoch = self._epoch(change)
            before = committed.offset, committed.leader_epoch, committed.sequence
            offsets.append(ChangedOffset(change.topic, change.topic_id, change.partition, *before, change.after, epoch))
        number = self._journal.append(kind, offsets, undoes=undoes)
        for done, (offset, claim) in enumerate(zip(offsets, self._claims)):
            try:
                claim.commit(offset.after, offset.after_epoch)
            except MkError as error:
                error.fix = (
                    f"{done} of {len(offsets)} partitions were changed before it; change {number} in the journal of "
                    f"group {self._group} says what was meant: do it again, or undo it"
                )
                raise
        return number

    def _epoch(self, change: OffsetChange) -> int:
        """Return the leader epoch of the record before the offset that is to be committed."""
        if change.after == NO_OFFSET:
            return NO_EPOCH
        if change.leader_epoch is not None:
            return change.leader_epoch
        topic = self._topics[change.topic]
        fd = files.open_directory(str(change.partition), dir_fd=topic.fd)
        try:
            return read_epochs(fd, f"{topic.path}/{change.partition}").epoch_before(change.after)
        finally:
            files.close(fd)


def held_error(claims: ClaimDirectory, partition: int, generation: int, wait_ms: int) -> LockTimeoutError:
    """Return the error that somebody who is no member that lives holds a generation of a claim."""
    holder = "whoever it was has let go by now"
    try:
        fd = files.open_file(claim_name(partition, generation), os.O_RDONLY, dir_fd=claims.fd)
    except FileNotFoundError:
        pass
    else:
        holder = describe_holder(fd)
        files.close(fd)
    return LockTimeoutError(
        what=f"partition {partition} of {claims.topic} for group {claims.group}",
        waited_ms=int(tries(wait_ms) * PAUSE_SECONDS * 1000),
        holder=holder,
        fix="end that process, or try again; nothing was changed",
    )
