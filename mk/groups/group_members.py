"""The members of a group, as whoever is none of them sees them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.groups.claim_directory import ClaimDirectory
    from mk.storage.log_directory import LogDirectory


MEMBERS = "members"


class LiveMember:
    """A member that lives: who it is, and what it reads."""

    __slots__ = ("command", "host", "member", "pid", "since_ms", "topics", "user")

    def __init__(
        self, member: str, host: str, pid: int, user: str, command: str, topics: tuple[str, ...], since_ms: int
    ) -> None:
        self.member = member
        self.host = host
        self.pid = pid
        self.user = user
        self.command = command
        self.topics = topics
        self.since_ms = since_ms

    def who(self) -> str:
        """Return what tells it apart for people: host, process and command."""
        return f"process {self.pid} of {self.user} on {self.host} ({self.command})"

    def document(self) -> dict[str, Any]:
        return {
            "member": self.member,
            "host": self.host,
            "pid": self.pid,
            "user": self.user,
            "command": self.command,
            "topics": list(self.topics),
            "since_ms": self.since_ms,
        }


def live_members(directory: LogDirectory, group: str) -> list[LiveMember]:
    """Return the members of a group that live; none if there is no such group."""
    return []


def owner_of(claims: ClaimDirectory, partition: int, members: dict[str, LiveMember]) -> LiveMember | None:
    """Return which of the members that live holds a partition, None if none does."""
    return None


def remove_dead_members(directory: LogDirectory, group: str) -> None:
    """Remove the files of members that live no more."""
