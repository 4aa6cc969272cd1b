"""Removing what groups have on disk: claims of a topic, a whole group, generations that nobody can need any more.

Claims are removed while all of them are locked, the old generations too, and while no member lives. So nobody is left who
could write into a file that has no name any more and believe that it counts, and of each partition the newest generation
goes last: who looks in between never sees an older one as the newest.
"""

from __future__ import annotations

import errno
import os
import time

from mk.errors import CorruptStateError
from mk.group_errors import GroupNotEmptyError, NoSuchGroupError
from mk.groups.claim_directory import CLAIMS, GROUPS, claim_name, open_claims, open_group, topic_ids
from mk.groups.claim_slot import NO_EPOCH, NO_OFFSET
from mk.groups.group_members import remove_dead_members
from mk.groups.membership import MEMBERS
from mk.groups.offset_reset import PAUSE_SECONDS, check_is_empty, held_error, open_journal, tries
from mk.groups.offset_store import known_groups
from mk.groups.reset_journal import JOURNAL, OLD_JOURNAL, ChangedOffset
from mk.storage import files
from mk.storage.host import allow_open_files
from mk.storage.locks import try_acquire
from mk.storage.log_directory import REPLICAS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.groups.claim_directory import ClaimDirectory
    from mk.storage.log_directory import LogDirectory

MIN_AGE_SECONDS = 24 * 3600
"""A process that was just about to lock a generation when it was stopped has long noticed that there are newer ones."""

KEPT_GENERATIONS = 2


class DeletedClaims:
    """What was removed of a group: the number of claims, and whether the group itself went."""

    __slots__ = ("claims", "group_is_gone")

    def __init__(self, claims: int, group_is_gone: bool) -> None:
        self.claims = claims
        self.group_is_gone = group_is_gone


def delete_group(directory: LogDirectory, group: str, *, idle_since_ms: int | None = None, wait_ms: int) -> bool:
    """Remove a group with all that it has committed, here or as its leader told. False if it is not idle, or begun anew.

    Raises GroupNotEmptyError, LockTimeoutError, NoSuchGroupError: as delete_claims, nothing was removed.
    """
    is_replicated = group in known_groups(directory)
    try:
        is_gone = delete_claims(directory, group, None, idle_since_ms=idle_since_ms, wait_ms=wait_ms).group_is_gone
    except NoSuchGroupError:
        if not is_replicated:
            raise
        is_gone = True
    if is_gone and is_replicated and files.exists(REPLICAS, dir_fd=directory.fd):
        from mk.groups.replicated_offsets import forget_group

        forget_group(directory, group)  # Otherwise a group of that name would begin where this one stood.
    return is_gone


def delete_claims(
    directory: LogDirectory, group: str, wanted: Sequence[str] | None, *, idle_since_ms: int | None = None, wait_ms: int
) -> DeletedClaims:
    """Remove what a group has committed of some topics, by their ids; None is all there is of it, the group too.

    idle_since_ms: only if it has committed nothing since, else nothing is removed.

    Raises:
        GroupNotEmptyError, LockTimeoutError: members live, or somebody else holds a partition. Nothing was removed.
        NoSuchGroupError: there is none.
    """
    _ = directory.locks_fd  # Refuses whoever may only read, and a file system on which locks are not proven.
    check_is_empty(directory, group)
    group_fd = open_group(directory, group)
    opened: list[ClaimDirectory] = []
    held: list[int] = []
    locked: list[dict[int, list[int]]] = []
    journal = None
    try:
        journal = open_journal(directory, group, group_fd, wait_ms=wait_ms)
        for topic_id in topic_ids(directory, group) if wanted is None else wanted:
            claims = open_claims(directory, group, topic="", topic_id=topic_id)
            if claims is not None:
                opened.append(claims)
        offsets: list[ChangedOffset] = []
        latest_ms = 0
        for claims in opened:
            locked.append(_lock_all(claims, held, directory, group, wait_ms))
            for offset, time_ms in _offsets(claims, locked[-1]):
                offsets.append(offset)
                latest_ms = max(latest_ms, time_ms)
        # Only now: whoever joined before we had all claims is seen here, and who joins later gets none.
        check_is_empty(directory, group)
        if idle_since_ms is not None and latest_ms > idle_since_ms:
            return DeletedClaims(0, False)
        if offsets:
            journal.append("delete", offsets)
        if wanted is None:
            _remove_members(directory, group, group_fd)
        for claims, generations in zip(opened, locked):
            _remove_claims(claims, generations, group_fd)
        is_gone = wanted is None and _remove_group(directory, group, group_fd)
        return DeletedClaims(len(offsets), is_gone)
    finally:
        for fd in held:
            files.close(fd)
        if journal is not None:
            journal.close()
        for claims in opened:
            claims.close()
        files.close(group_fd)


def _lock_all(
    claims: ClaimDirectory, held: list[int], directory: LogDirectory, group: str, wait_ms: int
) -> dict[int, list[int]]:
    """Lock every generation of every claim, and return them by partition.

    Old ones too: their owners may be stopped, and not know that they were fenced.
    """
    generations = claims.generations()
    claims.topic = next((slot.topic for one, ones in generations.items() for slot in claims.slots(one, ones[-1])), "")
    allow_open_files(sum(map(len, generations.values())) + len(held))
    for partition, numbers in generations.items():
        for generation in numbers:
            name = claim_name(partition, generation)
            try:
                fd = files.open_file(name, os.O_RDWR, dir_fd=claims.fd, linked=True)
            except FileNotFoundError:
                continue  # Too old, and removed meanwhile.
            held.append(fd)
            for tries_left in reversed(range(tries(wait_ms))):
                if try_acquire(fd):
                    break
                check_is_empty(directory, group)
                if not tries_left:
                    raise held_error(claims, partition, generation, wait_ms)
                time.sleep(PAUSE_SECONDS)
    if claims.generations() != generations:
        check_is_empty(directory, group)
        raise GroupNotEmptyError(group=group, members=["somebody has just taken a partition"])
    return generations


def _offsets(claims: ClaimDirectory, locked: dict[int, list[int]]) -> list[tuple[ChangedOffset, int]]:
    """Return of each claim what goes with it, and when that was committed."""
    found = []
    for partition, generations in locked.items():
        try:
            slot = claims.newest(partition, generations)
        except CorruptStateError:
            slot = None
        offset, epoch = (None, NO_EPOCH) if slot is None else (slot.offset, slot.leader_epoch)
        topic, sequence = ("", -1) if slot is None else (slot.topic, slot.sequence)
        changed = ChangedOffset(topic, claims.topic_id, partition, offset, epoch, sequence, NO_OFFSET, NO_EPOCH)
        found.append((changed, 0 if slot is None else slot.time_ms))
    return found


def _remove_claims(claims: ClaimDirectory, locked: dict[int, list[int]], group_fd: int) -> None:
    """Remove the generations that we hold, and the directory they were in if nobody has begun anew in it."""
    for partition, generations in locked.items():
        for generation in generations:
            _unlink(claim_name(partition, generation), claims.fd)
    for name in os.listdir(claims.fd):
        if name.startswith(".tmp-"):
            _unlink(name, claims.fd)
    files.fsync(claims.fd)
    above = files.open_directory(CLAIMS, dir_fd=group_fd)
    try:
        if _rmdir(claims.topic_id, above):
            files.fsync(above)
    finally:
        files.close(above)


def _remove_members(directory: LogDirectory, group: str, group_fd: int) -> None:
    """Remove the directory in which members register: who did so in the last moment is seen, and keeps the group."""
    try:
        members_fd = files.open_directory(MEMBERS, dir_fd=group_fd)
    except FileNotFoundError:
        return
    try:
        remove_dead_members(members_fd)
        files.rmdir(MEMBERS, dir_fd=group_fd)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        check_is_empty(directory, group)
        raise
    finally:
        files.close(members_fd)


def _remove_group(directory: LogDirectory, group: str, group_fd: int) -> bool:
    """Remove the group itself, the journal last. False if somebody begins it anew, whose files stay."""
    if not _rmdir(CLAIMS, group_fd):
        return False
    files.fsync(group_fd)
    for name in (OLD_JOURNAL, JOURNAL):
        _unlink(name, group_fd)
    groups_fd = files.open_directory(GROUPS, dir_fd=directory.fd)
    try:
        is_gone = _rmdir(group, groups_fd)
        files.fsync(groups_fd)
    finally:
        files.close(groups_fd)
    return is_gone


def _unlink(name: str, dir_fd: int) -> None:
    try:
        files.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        pass


def _rmdir(name: str, dir_fd: int) -> bool:
    """Remove a directory; False if there is something in it."""
    try:
        files.rmdir(name, dir_fd=dir_fd)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def old_generations(directory: LogDirectory, group: str) -> list[tuple[str, int, int]]:
    """Return the generations that may go, as (topic id, partition, generation): see remove_old_generations."""
    found = []
    for topic_id in topic_ids(directory, group):
        claims = open_claims(directory, group, topic="", topic_id=topic_id)
        if claims is not None:
            try:
                found += [(topic_id, *numbers) for numbers in _removable(claims, remove=False)]
            finally:
                claims.close()
    return found


def remove_old_generations(directory: LogDirectory, group: str) -> int:
    """Remove generations of claims that lie two below the newest or lower and are older than a day; return how many.

    From the lowest up to the first that must stay: whoever was fenced looks for the next generation behind its own, and
    must find it. So nothing goes above one whose owner still holds it, however long that has been stopped. Members may live.
    """
    _ = directory.locks_fd
    removed = 0
    for topic_id in topic_ids(directory, group):
        claims = open_claims(directory, group, topic="", topic_id=topic_id)
        if claims is not None:
            try:
                removed += len(_removable(claims, remove=True))
            finally:
                claims.close()
    return removed


def _removable(claims: ClaimDirectory, *, remove: bool) -> list[tuple[int, int]]:
    found = []
    for partition, generations in claims.generations().items():
        readable = next((one for one in reversed(generations) if claims.slots(partition, one)), 0)
        for generation in generations:
            # Those above the newest that can be read may be of fencers that were killed: it says where the group stands.
            if generation > generations[-1] - KEPT_GENERATIONS or generation >= readable:
                break
            name = claim_name(partition, generation)
            try:
                fd = files.open_file(name, os.O_RDWR if remove else os.O_RDONLY, dir_fd=claims.fd, linked=True)
            except FileNotFoundError:
                continue
            try:
                is_old = os.fstat(fd).st_mtime < time.time() - MIN_AGE_SECONDS
                if not is_old or (remove and not try_acquire(fd)):
                    break
                if remove:
                    files.unlink(name, dir_fd=claims.fd)
            finally:
                files.close(fd)
            found.append((partition, generation))
    return found
