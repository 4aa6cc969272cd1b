"""The members of a group, as whoever is none of them sees them: to describe them, and to leave them in peace.

Live is here who holds the lock on its file, heartbeat or not: one that is stopped may go on at any time, and commit.
"""

from __future__ import annotations

import os

from mk.groups.claim_directory import open_group_directory
from mk.groups.member import is_member_id
from mk.groups.membership import MEMBERS, held_members, remove_dead_member
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.groups.claim_directory import ClaimDirectory
    from mk.groups.member import Member
    from mk.storage.log_directory import LogDirectory


def live_members(directory: LogDirectory, group: str) -> dict[str, Member | None]:
    """Return who holds a member's file of a group, by its id; None for one whose file does not say who it is.

    None at all if there is no such group.
    """
    try:
        fd = open_group_directory(directory, [group, MEMBERS])
    except FileNotFoundError:
        return {}
    try:
        return held_members(fd)
    finally:
        files.close(fd)


def who(member_id: str, member: Member | None) -> str:
    """Return what tells a member apart for people: host, process and command."""
    if member is None:
        return f"member {member_id}, whose file does not say who it is"
    return f"process {member.pid} of {member.user} on {member.host} ({member.command})"


def document_of(member_id: str, member: Member | None) -> dict[str, Any]:
    """Return what is known of a member, ready for JSON."""
    document: dict[str, Any] = dict.fromkeys(
        ("member", "host", "pid", "user", "command", "topics", "subscribed_partitions", "since_ms")
    )
    document["member"] = member_id
    if member is not None:
        document.update(host=member.host, pid=member.pid, user=member.user, command=member.command)
        document.update(topics=sorted(member.topics.values()), since_ms=member.since_ms)
        document["subscribed_partitions"] = None if member.partitions is None else list(member.partitions)
    return document


def owner_of(claims: ClaimDirectory, partition: int, generation: int, members: dict[str, Member | None]) -> str:
    """Return which member that lives holds a partition by its newest generation, "" if none does."""
    owner = claims.owner(partition, generation)
    return owner if owner in members and claims.is_held(partition, generation) else ""


def remove_dead_members(members_fd: int) -> None:
    """Remove the files of members that live no more, and of those that were killed before they were members."""
    for name in os.listdir(members_fd):
        if is_member_id(name) or name.startswith(".tmp-"):
            remove_dead_member(name, members_fd)
