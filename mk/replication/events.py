"""What a run of replication tells of itself, in order: for people, for programs, and for the exit status."""

from __future__ import annotations

import os

from mk.errors import MkError, PermissionDeniedError, StorageError
from mk.replication import reconciliation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.replication.reconciliation import Decision

TOPIC = "topic"
"""A topic was made or changed in the target, or is gone from the source. action: CREATED and so on."""
PARTITION = "partition"
"""Work on a partition begins. action: APPEND and so on; from_offset, to_offset; truncated: offsets that were cut off."""
PROGRESS = "progress"
"""So far, in all: records and bytes."""
DONE = "done"
"""A partition got first_offset to next_offset, on disk."""
REFUSED = "refused"
"""A topic or a partition is not as it should be, and why; the others go on."""
SUMMARY = "summary"

CREATED = "created"
UPDATED = "updated"
RENAMED = "renamed"
GONE = "gone"

APPEND = "append"
TRUNCATE = "truncate"
BEGIN = "begin"
BEGIN_ANEW = "begin_anew"


class Event:
    """kind: one of the above. partition: -1 where it is about the whole topic. error: of REFUSED."""

    __slots__ = ("error", "facts", "kind", "partition", "topic")

    def __init__(
        self, kind: str, topic: str = "", partition: int = -1, *, error: MkError | None = None, **facts: object
    ) -> None:
        self.kind = kind
        self.topic = topic
        self.partition = partition
        self.error = error
        self.facts = facts

    def document(self) -> dict[str, object]:
        """Return what JSON says of it."""
        document: dict[str, object] = {"event": self.kind}
        if self.topic:
            document["topic"] = self.topic
        if self.partition >= 0:
            document["partition"] = self.partition
        document.update(self.facts)
        if self.error is not None:
            error = self.error
            document.update(
                error=type(error).__name__,
                what=error.what,
                why=error.why,
                fix=error.fix,
                exit_status=error.exit_status,
            )
        return document


_WORST_FIRST = (65, 74, 73, 77, 78, 76, 69, 66, 75)


def worst(errors: Sequence[MkError]) -> MkError:
    """Return the error that a run of which several parts failed ends with: damage first, what time may heal last."""
    return min(
        errors, key=lambda error: _WORST_FIRST.index(error.exit_status) if error.exit_status in _WORST_FIRST else -1
    )


def as_error(failure: MkError | OSError) -> MkError:
    """Give words to what the system refused, so that it can stand beside other errors of a run."""
    if isinstance(failure, MkError):
        return failure
    place = os.fsdecode(failure.filename) if isinstance(failure.filename, (str, bytes)) else ""
    why = failure.strerror or str(failure)
    if isinstance(failure, PermissionError):
        return PermissionDeniedError(
            f"no permission to use {place or 'a file'}", why=why, fix="run as a user who may", path=place
        )
    return StorageError(
        f"cannot use {place or 'a file'}",
        why=why,
        fix="make room, or look at the disk (dmesg); then run it again",
        path=place,
    )


def action_of(decision: Decision) -> str:
    """Return what is done to a partition that is not refused."""
    if decision.kind == reconciliation.BEGIN_ANEW:
        return BEGIN_ANEW
    if decision.kind == reconciliation.BEGIN:
        return BEGIN
    return TRUNCATE if decision.truncated else APPEND
