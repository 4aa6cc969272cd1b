"""What a target has to do to become, or stay, a copy of a source: decided from what both say of a partition.

Pure. Both images are of a moment and may be old; whoever changes the target compares all of it again under the lock.
Source of the rules: KIP-101 and KIP-279, and man/mk-guarantees.7, COPIES.
"""

from __future__ import annotations

from mk.errors import DivergedLogError, ReplicationGapError, StaleSourceError, TryAgainError
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs
from mk.storage.log_segment import UNKNOWN_CHAIN as UNKNOWN_CHAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.errors import MkError
    from mk.replication.replica import PartitionImage

# What to do. Integers and not an enum, whose import costs a third of the start-up budget.
NOTHING = 0
FOLLOW = 1
"""Go on from `prefix_offset`. What stands above it in the target is cut off, and kept as evidence."""
BEGIN = 2
"""The target never had a record: its log begins where the source's does."""
BEGIN_ANEW = 3
"""The target's log begins anew where the source's does; what it has is kept as evidence."""
REFUSE = 4

_RESTORED = (
    "restored from an old copy, `mk topics repair --restored` in SRC has it lead on as it is, and DST put aside what it alone "
    "has; `mk replicate promote` in DST, and replicating the other way, keeps that"
)

GAP = "gap"
COMPACTED = "compacted"


class Decision:
    """What to do with one partition.

    prefix_offset: below it both logs are the same, as far as epochs and chains tell. truncated: how many offsets of the
    target lie above it. reason: of BEGIN_ANEW. error: of REFUSE. fences: the source has not heard yet that it leads no
    longer, and is to be told the target's epochs.
    """

    __slots__ = ("error", "fences", "kind", "prefix_offset", "reason", "truncated")

    def __init__(
        self,
        kind: int,
        prefix_offset: int = 0,
        *,
        truncated: int = 0,
        reason: str = "",
        error: MkError | None = None,
        fences: bool = False,
    ) -> None:
        self.kind = kind
        self.prefix_offset = prefix_offset
        self.truncated = truncated
        self.reason = reason
        self.error = error
        self.fences = fences


class Side:
    """One of the two logs: an image, the id of the directory that it is of, and its epochs as such."""

    __slots__ = ("directory_id", "epochs", "image")

    def __init__(self, image: PartitionImage, directory_id: str) -> None:
        self.image = image
        self.directory_id = directory_id
        self.epochs = epochs_of(image)


def epochs_of(image: PartitionImage) -> LeaderEpochs:
    return LeaderEpochs([EpochEntry(*entry) for entry in image.epochs])


def reconcile(topic: str, source: Side, target: Side, *, accept_gap: bool = False) -> Decision:
    """Decide from epochs and ends alone. Where the logs go on from is still to be proved: see `needs_proof` and `proved`."""
    partition = source.image.partition
    refused = _refuse_leadership(topic, partition, source, target)
    if refused is not None:
        return refused
    end, source_end = target.image.next_offset, source.image.next_offset
    prefix = target.epochs.common_prefix(end, source.epochs, source_end)
    has_latest = source.epochs.latest.epoch <= target.epochs.epoch_before(end)
    follows = source.epochs.latest.leader_id != source.directory_id
    # Asked first where the source follows too: it may well be behind its leader, or fenced and not yet cut back, and then
    # nothing has diverged.
    if prefix < end and follows and (has_latest or target.epochs.common_prefix(end, source.epochs, end) == end):
        stale = StaleSourceError(
            "has not come as far in SRC as in DST",
            topic=topic,
            partition=partition,
            why=f"SRC follows the same leader, and lacks offsets {prefix} to {end - 1} so far",
            fix="run it again when it has them, or replicate from the one that leads",
        )
        return Decision(REFUSE, prefix, error=stale)
    if prefix < end and has_latest:
        return _ahead(topic, partition, prefix, end, source)
    has_records = end > target.image.log_start_offset
    if has_records and prefix < min(end, target.image.cleaned_to):
        # What is to be cut off may be why older records of the same keys are gone here, and the source has them still.
        return Decision(BEGIN_ANEW, prefix, truncated=end - prefix, reason=COMPACTED)
    if source.image.first_offset > prefix:
        return _behind_a_hole(topic, source, target, prefix, accept_gap=accept_gap)
    if has_records and prefix < source.image.tombstones_dropped_to:
        return Decision(BEGIN_ANEW, prefix, truncated=end - prefix, reason=COMPACTED)
    # Also if it has no records any more: its log cannot go on in front of where it begins.
    if prefix < target.image.first_offset:
        # The front of what both had was removed here, and the rest is not theirs: nothing is left to go on from.
        return Decision(BEGIN_ANEW, prefix, truncated=end - target.image.first_offset, reason=COMPACTED)
    if (
        prefix == end == source_end
        and source.image.log_start_offset <= target.image.log_start_offset
        and followed(target.epochs, source.epochs, prefix).encode() == target.epochs.encode()
        # Not where only the source knows the chain: the copy has to know it before it can be promoted.
        and source.image.chain in (target.image.chain, UNKNOWN_CHAIN)
        # A copy of an empty log gets its snapshot after it was begun: whoever began it may have been killed in between.
        and not (target.image.lacks_producers and not source.image.lacks_producers)
    ):
        return Decision(NOTHING, prefix)
    return Decision(FOLLOW, prefix, truncated=end - prefix)


def followed(target: LeaderEpochs, source: LeaderEpochs, prefix_offset: int) -> LeaderEpochs:
    """Return the epochs of a target that goes on as the source from an offset on."""
    return LeaderEpochs(
        [entry for entry in target.entries if entry.first_offset < prefix_offset]
        + [entry for entry in source.entries if entry.first_offset >= prefix_offset]
        or source.entries[-1:]
    )


def proved(
    topic: str, source: Side, target: Side, decision: Decision, source_chain: int | None, target_chain: int | None
) -> Decision:
    """Decide again, now that the chains of both where FOLLOW would go on are known; None is no batch ends there."""
    partition, offset = source.image.partition, decision.prefix_offset
    if source_chain is None:
        if offset < source.image.cleaned_to:
            return Decision(BEGIN_ANEW, offset, truncated=decision.truncated, reason=COMPACTED)
        return _diverged(topic, partition, offset, f"no batch of SRC ends at offset {offset}, where one of DST does")
    if target_chain is None:
        if offset < target.image.cleaned_to:
            # A batch here covers it that was compacted.
            return Decision(BEGIN_ANEW, offset, truncated=decision.truncated, reason=COMPACTED)
        # The epochs say that both are the same up to here, and they are not, as after the target was restored from an old
        # copy and led on. Begun anew, what it alone has in front of this would count as copied, and never be salvaged.
        return _diverged(topic, partition, offset, f"no batch of DST ends at offset {offset}, where one of SRC does")
    if UNKNOWN_CHAIN not in (source_chain, target_chain) and source_chain != target_chain:
        return _diverged(
            topic, partition, offset, f"the records in front of offset {offset} are others in SRC than in DST"
        )
    return decision


def _refuse_leadership(topic: str, partition: int, source: Side, target: Side) -> Decision | None:
    """Refuse what cannot be two copies of one log, and a source that follows, or should."""
    ours = {entry.epoch: entry for entry in target.epochs.entries}
    for entry in source.epochs.entries:
        own = ours.get(entry.epoch)
        if own is not None and own.leader_id != entry.leader_id:
            return _diverged(
                topic,
                partition,
                min(own.first_offset, entry.first_offset),
                f"two directories have led it in one leader epoch, {entry.epoch}: {entry.leader_id} and {own.leader_id}",
            )
    latest, own_latest = source.epochs.latest, target.epochs.latest
    leads = own_latest.leader_id == target.directory_id
    if own_latest.epoch > latest.epoch or (own_latest.epoch == latest.epoch and leads):
        stale = StaleSourceError(
            "is not led by SRC",
            topic=topic,
            partition=partition,
            why="DST leads it: it is the other way round"
            if leads
            else f"directory {own_latest.leader_id} does, as DST knows, and SRC not yet",
            fix="replicate from the one that leads",
        )
        return Decision(REFUSE, error=stale, fences=own_latest.epoch > latest.epoch)
    # An older one than DST knows of was its own, and lost with the power and all its batches: a recovery's took its place.
    claimed = [
        entry
        for entry in source.epochs.entries
        if entry.leader_id == target.directory_id and entry.epoch not in ours and entry.epoch > own_latest.epoch
    ]
    if claimed:
        return _diverged(
            topic,
            partition,
            claimed[0].first_offset,
            f"SRC says that DST has led it in leader epoch {claimed[0].epoch}, and DST knows nothing of that, as after it was "
            "restored from an old copy",
        )
    return None


def _behind_a_hole(topic: str, source: Side, target: Side, prefix: int, *, accept_gap: bool) -> Decision:
    end, first = target.image.next_offset, source.image.first_offset
    if end == target.image.log_start_offset == 0:
        return Decision(BEGIN, first)
    if accept_gap:
        return Decision(BEGIN_ANEW, prefix, truncated=end - prefix, reason=GAP)
    return Decision(
        REFUSE,
        prefix,
        error=ReplicationGapError(
            f"is no longer whole in SRC: offsets {prefix} to {first - 1} are gone",
            topic=topic,
            partition=source.image.partition,
            why=f"they were removed there before DST had them, which ends at {end}; SRC begins at {first}",
            fix=f"--accept-gap goes on at {first}, and puts what DST has into its quarantine/",
        ),
    )


def _ahead(topic: str, partition: int, prefix: int, end: int, source: Side) -> Decision:
    leads = source.epochs.latest.leader_id == source.directory_id
    if leads and not source.image.is_recovered:
        # What it lost with the power, the epoch of its recovery will say, and nobody has appended there since.
        unrecovered = TryAgainError(
            f"partition {partition} of {topic} was not recovered in SRC since its host was started",
            why=f"DST has records up to offset {end - 1}, and SRC only up to {prefix - 1}: those of acks 0 may have gone with "
            "the power",
            fix="`mk produce` one record there, and run it again: what SRC lost then goes into quarantine/ of DST. If SRC was "
            f"{_RESTORED}; nothing was changed",
            topic=topic,
            partition=partition,
        )
        return Decision(REFUSE, prefix, error=unrecovered)
    decision = _diverged(
        topic,
        partition,
        prefix,
        f"DST has records up to offset {end - 1} there, of the leader that SRC has its own from, and SRC has not",
    )
    if leads:
        assert decision.error is not None
        decision.error.fix = f"if SRC was {_RESTORED}"
    return decision


def _diverged(topic: str, partition: int, offset: int, why: str) -> Decision:
    return Decision(
        REFUSE,
        offset,
        error=DivergedLogError(
            "is no copy in DST of what SRC has",
            topic=topic,
            partition=partition,
            why=why,
            fix="--verify shows from where on; keep what DST alone has from there (`mk consume -o`), `mk topics delete` the topic "
            "in DST, and run it again",
        ),
    )
