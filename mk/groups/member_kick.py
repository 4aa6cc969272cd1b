"""Taking its partitions away from a member that lives, or is stopped."""

from __future__ import annotations

from mk.errors import CorruptStateError
from mk.group_errors import ClaimFencedError, NoSuchMemberError
from mk.groups.claim import fence
from mk.groups.claim_directory import open_claims, open_group, topic_ids
from mk.groups.group_members import live_members, owner_of, who
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.log_directory import LogDirectory


def find_member(directory: LogDirectory, group: str, wanted: str) -> str:
    """Return the id of the member that lives and whose id begins so, or whose process has that number.

    Raises:
        NoSuchMemberError: there is none, or more than one.
    """
    files.close(open_group(directory, group))
    members = live_members(directory, group)
    # Both at once: a process number may be how another member's id begins, and that one is not to be hit.
    found = [
        member_id
        for member_id, member in members.items()
        if (wanted and member_id.startswith(wanted)) or (member is not None and str(member.pid) == wanted)
    ]
    if len(found) == 1:
        return found[0]
    raise NoSuchMemberError(
        group=group, member=wanted, members=[f"{one}, {who(one, member)}" for one, member in members.items()]
    )


def kick_member(directory: LogDirectory, group: str, member_id: str) -> list[tuple[str, int]]:
    """Fence each claim that a member holds, and let go of it; return topic and partition of each.

    What it has committed stands. It sees that within milliseconds, or before it hands over the next records, and may join again.
    """
    _ = directory.locks_fd
    kicked = []
    for topic_id in topic_ids(directory, group):
        claims = open_claims(directory, group, topic="", topic_id=topic_id)
        if claims is None:
            continue
        try:
            for partition, generations in claims.generations().items():
                if not owner_of(claims, partition, generations[-1], {member_id: None}):
                    continue
                try:
                    slot = claims.newest(partition, generations)
                    claims.topic = slot.topic if slot is not None else ""
                    claim = fence(claims, partition, generations)
                except (ClaimFencedError, CorruptStateError):
                    continue  # Somebody else was faster; or nobody can go on there, and verify says so.
                if claim is not None:
                    claim.close()
                    kicked.append((claims.topic, partition))
        finally:
            claims.close()
    return kicked
