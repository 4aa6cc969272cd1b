"""A partition that a member of a group owns: how far what it gave out is taken and committed, and whether it is still the member's."""

from __future__ import annotations

from time import monotonic

from mk.consumer.consumer import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.groups.claim import Claim
    from mk.storage.partition_reader import PartitionReader
    from mk.storage.topic import Topic

_PROVED_SECONDS = 0.005
"""How long a look at whose a partition is counts: each look is a system call."""


class GroupSource(Source):
    """A partition that this member owns.

    taken_offset: all below it has been taken; taken_epoch: of the record before it. committed_offset: what is on disk.
    """

    __slots__ = ("_proved_until", "claim", "committed_offset", "key", "taken_epoch", "taken_offset")

    def __init__(self, topic: Topic, reader: PartitionReader, claim: Claim) -> None:
        super().__init__(topic, reader)
        self.key = (topic.topic_id, reader.partition)
        self.claim = claim
        self.committed_offset = self.taken_offset = claim.committed.offset
        self.taken_epoch = claim.committed.leader_epoch
        self._proved_until = 0.0

    def is_lost(self) -> bool:
        """Tell whether another member has the partition. To be asked before each fetch that is handed over.

        Others take it from a member that has not moved for its session time-out, at least twenty times as long as a look counts.
        Stopped between the last look and here, we find by the clock that it does not count any more. Stopped behind this, we may
        hand over the fetch in hand, as we might if we looked each time. Only who was kicked, or lives and cannot write its
        heartbeat, may hand over what comes until the next look.
        """
        now = monotonic()  # Before the look: of what becomes of us while we look, it says nothing.
        if now < self._proved_until:
            return False
        self._proved_until = now + _PROVED_SECONDS
        return self.claim.is_fenced()
