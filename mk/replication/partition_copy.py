"""Bringing one partition of a target to where the source's was, batch by batch."""

from __future__ import annotations

from mk.errors import MkError
from mk.replication import reconciliation, resumption
from mk.replication.reconciliation import (
    BEGIN,
    BEGIN_ANEW,
    FOLLOW,
    Decision,
    Side,
    proved,
    reconcile,
)
from mk.storage.log_segment import UNKNOWN_CHAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mk.replication.replica import PartitionImage, PartitionWriter, SourceReplica, TargetReplica

SYNC_BYTES = 64 << 20
"""So much is on its way to the disk at most: what a kill costs, and what may wait in memory."""


def decide(
    source: SourceReplica,
    target: TargetReplica,
    source_topic: str,
    topic: str,
    source_image: PartitionImage,
    target_image: PartitionImage,
    *,
    accept_gap: bool,
) -> tuple[Decision, int]:
    """Return what to do with a partition, and the source's chain where it goes on."""
    if isinstance(target_image, resumption.PositionImage):
        return _decide_position(source, source_topic, topic, source_image, target_image, accept_gap=accept_gap)
    ours = Side(source_image, source.directory_id)
    theirs = Side(target_image, target.directory_id)
    decision = reconcile(topic, ours, theirs, accept_gap=accept_gap)
    if decision.kind != FOLLOW:
        return decision, UNKNOWN_CHAIN
    offset, partition = decision.prefix_offset, source_image.partition
    # Both images tell it of their ends, so that a partition with little to send costs no more questions than that.
    source_chain: int | None = source_image.chain
    if offset != source_image.next_offset:
        source_chain = source.chain_at(source_topic, partition, offset)
    target_chain: int | None = target_image.chain
    if offset != target_image.next_offset:
        target_chain = target.chain_at(topic, partition, offset)
    decision = proved(topic, ours, theirs, decision, source_chain, target_chain)
    return decision, UNKNOWN_CHAIN if source_chain is None else source_chain


def _decide_position(
    source: SourceReplica,
    source_topic: str,
    topic: str,
    source_image: PartitionImage,
    copy: resumption.PositionImage,
    *,
    accept_gap: bool,
) -> tuple[Decision, int]:
    decision = resumption.resume(topic, source_image, source.directory_id, copy, accept_gap=accept_gap)
    if decision.kind != FOLLOW or decision.reason:
        return decision, UNKNOWN_CHAIN
    chain = source.chain_at(source_topic, source_image.partition, decision.prefix_offset)
    decision = resumption.proved_again(topic, source_image, copy, decision, chain)
    return decision, UNKNOWN_CHAIN if chain is None else chain


def open_writer(
    target: TargetReplica, topic: str, image: PartitionImage, decision: Decision, source_chain: int
) -> PartitionWriter:
    """Open a partition of the target as was decided; the target decides again, under its lock."""
    if decision.kind in (BEGIN, BEGIN_ANEW):
        return target.begin_anew(topic, image, reason=decision.reason or reconciliation.COMPACTED)
    return target.follow(topic, image, decision.prefix_offset, source_chain)


def copy(
    source: SourceReplica,
    source_topic: str,
    writer: PartitionWriter,
    image: PartitionImage,
    is_stopping: Callable[[], bool],
) -> Iterator[tuple[int, int, int]]:
    """Send what the source had when `image` was made and the writer lacks; yields (next offset, records, bytes) of each piece.

    The caller syncs at the end. What was yielded is on disk also when this ends before, but for a failure of the disk. Stops
    between two pieces when it is told to.
    """
    unsynced = 0
    lacks_none = writer.next_offset == image.next_offset
    try:
        if writer.next_offset < image.next_offset:
            for batches in source.read(source_topic, image.partition, writer.next_offset, image.next_offset):
                size_bytes = len(batches.data)
                writer.append(batches)
                unsynced += size_bytes
                if unsynced >= SYNC_BYTES:
                    unsynced = 0
                    writer.sync()
                yield batches.next_offset, batches.records, size_bytes
                if is_stopping():
                    return
        if image.next_offset and (lacks_none or image.cleaned_to > image.first_offset) and not image.lacks_producers:
            # No batch brings what was stored of producer ids in front of the first, nor in batches that were compacted, and
            # promoted without it this log could not say.
            for batches in source.read(source_topic, image.partition, image.next_offset, image.next_offset):
                writer.append(batches)
    except BaseException:
        # What came before is good: the next run need not send it again.
        try:
            writer.sync()
        except (MkError, OSError):
            pass  # What went wrong first is what is told.
        raise
