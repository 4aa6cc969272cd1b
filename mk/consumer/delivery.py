"""What a consumer asks of those who are given its records and go on working on them: children of a command, for one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Delivery(Protocol):
    """Records that were handed out, and are not all done.

    wake_fd: readable when settle() has something to do; -1 if never. The consumer's waits end when it is.
    """

    wake_fd: int

    def settle(self) -> None:
        """Tell the consumer what is done by now, without waiting. May raise to end its fetches."""

    def finish(self, topic: str, partition: int) -> None:
        """Start no more records of a partition that is about to be released, wait for those that run, settle, forget the rest."""

    def lost(self, topic: str, partition: int) -> None:
        """Forget a partition that another member has taken; what runs does not count."""
