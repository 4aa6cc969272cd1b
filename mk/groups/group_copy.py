"""The groups of a log directory once more, in a copy of it: where each stands, and what was changed of that by hand.

Without a lock, beside members that commit. So of each claim the newest slot alone is taken, as whoever asks for it gets it,
and not the file: that may be half overwritten, or one that nobody goes on from any more. Claims first, then the journal: a
change that is in there and was not made yet is seen by comparing; one that was made and is not in there could not be undone.
Members are not taken, since none lives in a copy.
"""

from __future__ import annotations

from mk.errors import CorruptStateError
from mk.group_errors import NoSuchGroupError
from mk.groups.claim_directory import CLAIMS, claim_name, group_names, open_claims, open_group, topic_ids
from mk.groups.claim_slot import CLAIM_SIZE, new_claim
from mk.groups.reset_journal import JOURNAL, OLD_JOURNAL
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.groups.claim_directory import ClaimDirectory
    from mk.storage.log_directory import LogDirectory

_MAX_JOURNAL_BYTES = 1 << 26


def copy_groups(directory: LogDirectory, target_fd: int) -> int:
    """Copy all groups into an open, empty directory, on disk but for its own name; returns how many there are.

    Raises PermissionDeniedError: they are closed to this user.
    """
    count = 0
    for group in group_names(directory):
        try:
            _copy_group(directory, group, target_fd)
        except (NoSuchGroupError, FileNotFoundError):
            # Deleted while we read it. A part of it would be another group: some partitions would be new to it.
            try:
                files.remove_tree(group, dir_fd=target_fd)
            except FileNotFoundError:
                pass
            continue
        count += 1
    files.fsync(target_fd)
    return count


def _copy_group(directory: LogDirectory, group: str, target_fd: int) -> None:
    source_fd = open_group(directory, group)
    try:
        group_fd = files.make_directory_like(group, source_fd, dir_fd=target_fd)
        try:
            ids = topic_ids(directory, group)
            if ids:
                _copy_claims(directory, group, ids, source_fd, group_fd)
            _copy_journal(source_fd, group_fd)
            files.take_rights_within(group_fd, source_fd)
            files.fsync(group_fd)
        finally:
            files.close(group_fd)
    finally:
        files.close(source_fd)


def _copy_claims(directory: LogDirectory, group: str, ids: list[str], source_fd: int, group_fd: int) -> None:
    like_fd = files.open_directory(CLAIMS, dir_fd=source_fd)
    try:
        claims_fd = files.make_directory_like(CLAIMS, like_fd, dir_fd=group_fd)
    finally:
        files.close(like_fd)
    try:
        for topic_id in ids:
            claims = open_claims(directory, group, topic="", topic_id=topic_id)
            if claims is None:
                continue  # Deleted meanwhile.
            try:
                fd = files.make_directory_like(topic_id, claims.fd, dir_fd=claims_fd)
                try:
                    for partition, generations in claims.generations().items():
                        _copy_claim(claims, partition, generations, fd)
                    files.take_rights_within(fd, claims.fd)
                    files.fsync(fd)
                finally:
                    files.close(fd)
            finally:
                claims.close()
        files.fsync(claims_fd)
    finally:
        files.close(claims_fd)


def _copy_claim(claims: ClaimDirectory, partition: int, generations: list[int], target_fd: int) -> None:
    """Write the slot that counts, in the generation in which it was found: a next one begins behind it, as here."""
    try:
        slot = claims.newest(partition, generations)
    except CorruptStateError:
        # As it is: without it the group would be new to the partition, and might begin at its end.
        name = claim_name(partition, generations[-1])
        data = files.read_file(name, dir_fd=claims.fd, max_bytes=CLAIM_SIZE)
    else:
        if slot is None:
            return  # Deleted meanwhile.
        name, data = claim_name(partition, slot.generation), new_claim(slot)
    files.write_new_file(name, data, dir_fd=target_fd, mode=0o600)


def _copy_journal(source_fd: int, target_fd: int) -> None:
    """Copy both files, the newer one first: a line that moves to the older one meanwhile is then in both, and not missed."""
    for name in (JOURNAL, OLD_JOURNAL):
        try:
            data = files.read_file(name, dir_fd=source_fd, max_bytes=_MAX_JOURNAL_BYTES)
        except FileNotFoundError:
            continue
        # A line without an end is being written: its change is not begun before it is on disk.
        files.write_new_file(name, data[: data.rfind(b"\n") + 1], dir_fd=target_fd, mode=0o600)
