"""The errors of consumer groups; the tree that they are part of is in mk.errors."""

from mk.errors import DataError, NotFoundError, TryAgainError


class CommitBeyondEndError(DataError):
    """A committed offset that is not one of this log: it was cut, or is a copy, or its topic another one.

    stands_at: up to where the log is the one that the group has read.
    """

    def __init__(
        self, *, group: str, topic: str, partition: int, offset: int, stands_at: int, is_member: bool = False
    ) -> None:
        super().__init__(
            f"group {group} has committed offset {offset} of partition {partition} of {topic}, and the log is another one",
            why=f"it is the one that the group has read up to offset {stands_at} only: records were lost, as when a "
            "copy was restored or the topic was made anew; others have their offsets, or will have them",
            fix="`--on-truncation back` reads on there, `start` reads all there is, `end` only what comes; nothing was changed"
            if is_member
            else f"`-p {partition} -o {stands_at}` goes on there, `-o start` reads all there is, `-o end` only what comes; "
            "nothing was changed",
            group=group,
            topic=topic,
            partition=partition,
            offset=offset,
            stands_at=stands_at,
        )


class NoSuchGroupError(NotFoundError):
    def __init__(self, *, group: str, directory: str) -> None:
        super().__init__(
            f"no group {group} in {directory}",
            fix="a group begins with the first consumer that joins it; nothing was changed",
            group=group,
            directory=directory,
        )


class NoSuchMemberError(NotFoundError):
    """members: a text about each that lives."""

    def __init__(self, *, group: str, member: str, members: list[str]) -> None:
        super().__init__(
            f"group {group} has no member {member}, or more than one that begins so",
            why="members: " + "; ".join(members) if members else "it has no member that lives",
            fix=f"`mk groups describe {group}` shows them; nothing was changed",
            group=group,
            member=member,
            members=members,
        )


class ClaimFencedError(TryAgainError):
    """Another member owns the partition now. committed: the last offset that was acknowledged to this one, -1 if none."""

    def __init__(self, *, group: str, topic: str, partition: int, generation: int, committed: int) -> None:
        super().__init__(
            f"partition {partition} of {topic} is another member's of group {group} now",
            why=f"this process did nothing for too long, and its claim, generation {generation}, was replaced",
            fix="this commit does not count; what was read since the one before it will be read again by that member; "
            "join again",
            group=group,
            topic=topic,
            partition=partition,
            generation=generation,
            committed=committed,
        )


class GroupNotEmptyError(TryAgainError):
    """The offsets of a group are not changed while it has members. members: a text about each, to tell them by."""

    def __init__(self, *, group: str, members: list[str]) -> None:
        count = f"{len(members)} members that live" if len(members) > 1 else "a member that lives"
        super().__init__(
            f"group {group} has {count}",
            why="; ".join(members),
            fix="end them first, or let --wait 30s wait until they have gone; nothing was changed",
            group=group,
            members=members,
        )


class OffsetsMovedError(TryAgainError):
    """Between the plan and the change, the group has committed: what it has read since would be read again, or skipped."""

    def __init__(self, *, group: str, topic: str, partition: int, planned: int, found: int) -> None:
        super().__init__(
            f"group {group} has committed since the plan was made",
            why=f"in partition {partition} of {topic} it stood at {planned}, and stands at {found} now"
            if min(planned, found) >= 0
            else f"partition {partition} of {topic} is not as it was",
            fix="look at the plan again; nothing was changed",
            group=group,
            topic=topic,
            partition=partition,
            planned=planned,
            found=found,
        )
