"""How far a group has read a partition, as one log directory tells it to another."""

from __future__ import annotations


class CommittedOffset:
    """How far a group has read a partition: offset of the next record, and leader epoch of the one before it.

    offset: UNREADABLE where the group has a claim that cannot be read: what was known of it before stays.
    time_ms: when it was noted here, of one that another directory told.
    """

    __slots__ = ("group", "leader_epoch", "offset", "partition", "time_ms", "topic_id")

    def __init__(
        self, group: str, topic_id: str, partition: int, offset: int, leader_epoch: int, time_ms: int = 0
    ) -> None:
        self.group = group
        self.topic_id = topic_id
        self.partition = partition
        self.offset = offset
        self.leader_epoch = leader_epoch
        self.time_ms = time_ms

    @property
    def key(self) -> tuple[str, int]:
        return self.topic_id, self.partition


UNREADABLE = -2
