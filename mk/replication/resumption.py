"""How a copy goes on that has offsets of its own, and only knows up to which of the source's it has come.

Pure. Nothing can be cut off there and nothing begun anew, so what a directory would put into quarantine/ is refused here.
The chain of the last batch that was copied tells whether the source still is the log that it was.
"""

from __future__ import annotations

from mk.errors import DivergedLogError, ReplicationGapError, StaleSourceError, TryAgainError
from mk.replication.reconciliation import BEGIN, COMPACTED, FOLLOW, GAP, NOTHING, REFUSE, Decision
from mk.replication.replica import PartitionImage
from mk.storage.log_segment import UNKNOWN_CHAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.errors import MkError


class PositionImage(PartitionImage):
    """A partition of such a copy. next_offset, chain: of the source, where it goes on. is_begun: something was copied.

    epochs: of the last batch that was copied, as the source had it.
    """

    __slots__ = ("is_begun",)

    is_begun: bool


def resume(
    topic: str, source: PartitionImage, source_id: str, copy: PositionImage, *, accept_gap: bool = False
) -> Decision:
    """Decide from offsets and epochs alone. A FOLLOW without a reason is still to be proved, see `proved_again`.

    One with a reason reads SRC from where its log begins, and passes over what is copied.
    """
    partition, offset = source.partition, copy.next_offset
    if not copy.is_begun:
        if source.next_offset <= source.log_start_offset:
            return Decision(NOTHING)
        return Decision(BEGIN, source.first_offset)
    epoch, _, leader_id = copy.epochs[-1]
    latest = source.epochs[-1]
    if leader_id and epoch > latest[0]:
        stale = StaleSourceError(
            "is not led by SRC",
            topic=topic,
            partition=partition,
            why=f"DST has records of leader epoch {epoch}, of which SRC does not know",
            fix="replicate from the directory that leads it",
        )
        return Decision(REFUSE, offset, error=stale)
    if offset > source.next_offset:
        return Decision(REFUSE, offset, error=_ahead(topic, source, source_id, offset))
    if offset < source.log_start_offset or offset < min(source.tombstones_dropped_to, source.next_offset):
        if offset >= source.next_offset:
            return Decision(NOTHING, offset)
        if accept_gap:
            return Decision(FOLLOW, source.first_offset, reason=GAP)
        return Decision(REFUSE, offset, error=_gap(topic, source, offset))
    if offset == source.next_offset and source.chain in (copy.chain, UNKNOWN_CHAIN):
        return Decision(NOTHING, offset)
    return Decision(FOLLOW, offset)


def proved_again(
    topic: str, source: PartitionImage, copy: PositionImage, decision: Decision, source_chain: int | None
) -> Decision:
    """Decide again, now that the source's chain at that place is known; None is no batch ends there."""
    offset = decision.prefix_offset
    if source_chain is None and offset < source.cleaned_to:
        # It was compacted since, and a batch covers the place: which one, only who reads from the front finds out.
        return Decision(FOLLOW, source.first_offset, reason=COMPACTED)
    if source_chain is None:
        return _refused(topic, source, offset, f"no batch of SRC ends at offset {offset}, up to which it was copied")
    if UNKNOWN_CHAIN not in (source_chain, copy.chain) and source_chain != copy.chain:
        why = f"the records in front of offset {offset} are others in SRC than those that were copied"
        return _refused(topic, source, offset, why)
    return Decision(NOTHING, offset) if offset == source.next_offset else decision


def _ahead(topic: str, source: PartitionImage, source_id: str, offset: int) -> MkError:
    partition = source.partition
    if source.epochs[-1][2] != source_id:
        return StaleSourceError(
            "has not come as far in SRC as in DST",
            topic=topic,
            partition=partition,
            why=f"SRC follows another directory, and lacks offsets {source.next_offset} to {offset - 1} so far",
            fix="run it again when it has them, or replicate from the one that leads",
        )
    why = f"DST has records up to offset {offset - 1}, and SRC only up to {source.next_offset - 1}"
    if not source.is_recovered:
        return TryAgainError(
            f"partition {partition} of {topic} was not recovered in SRC since its host was started",
            why=f"{why}: those of acks 0 may have gone with the power",
            fix="`mk produce` one record there, and run it again; nothing was changed",
            topic=topic,
            partition=partition,
        )
    error = _refused(topic, source, offset, why).error
    assert error is not None
    return error


def _gap(topic: str, source: PartitionImage, offset: int) -> ReplicationGapError:
    first = max(source.log_start_offset, offset)
    is_gone = first > offset
    what = f"offsets {offset} to {first - 1} are gone" if is_gone else "tombstones were compacted away"
    return ReplicationGapError(
        f"is no longer whole in SRC: {what}",
        topic=topic,
        partition=source.partition,
        why=f"they were removed there before DST had them, which has all up to {offset}"
        + (f"; SRC begins at {first}" if is_gone else ""),
        fix=f"--accept-gap goes on at {first}; what DST has stays",
    )


def _refused(topic: str, source: PartitionImage, offset: int, why: str) -> Decision:
    error = DivergedLogError(
        "is no copy in DST of what SRC has",
        topic=topic,
        partition=source.partition,
        why=why,
        fix="`mk topics delete` the topic in DST and run it again, which copies all of it, or choose another --prefix",
    )
    return Decision(REFUSE, offset, error=error)
