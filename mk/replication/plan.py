"""What a run of replication would do: decided as a run decides it, with no lock taken and nothing changed."""

from __future__ import annotations

from mk.errors import MkError
from mk.replication import partition_copy, reconciliation
from mk.replication.events import CREATED, REFUSED, RENAMED, UPDATED, action_of, as_error
from mk.replication.topic_pairs import pair_topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.replication.replica import PartitionImage, SourceReplica, TargetReplica
    from mk.replication.replicator import Choice
    from mk.replication.topic_pairs import TopicPair


class Step:
    """What would be done to a partition, or to a topic (partition -1).

    from_offset to to_offset would be sent, size_bytes of them; truncated: offsets that would be cut off. error: of REFUSED.
    """

    __slots__ = ("action", "error", "from_offset", "partition", "size_bytes", "to_offset", "topic", "truncated")

    def __init__(
        self,
        topic: str,
        partition: int,
        action: str,
        *,
        from_offset: int = 0,
        to_offset: int = 0,
        size_bytes: int = 0,
        truncated: int = 0,
        error: MkError | None = None,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.action = action
        self.from_offset = from_offset
        self.to_offset = to_offset
        self.size_bytes = size_bytes
        self.truncated = truncated
        self.error = error


def plan(source: SourceReplica, target: TargetReplica | None, choice: Choice) -> Iterator[Step]:
    """Yield the steps of a run; target is None where there is no log directory yet. What is as it should be has none."""
    sources = list(source.topics())
    targets = [] if target is None else target.copies_of(sources, choice.prefix)
    pairs = pair_topics(
        sources, targets, prefix=choice.prefix, source_id=source.directory_id, is_chosen=choice.is_chosen
    )
    for pair in pairs:
        if pair.error is not None:
            yield Step(pair.name, -1, REFUSED, error=pair.error)
            continue
        if pair.target is None:
            yield Step(pair.name, -1, CREATED)
        elif pair.differs:
            yield Step(pair.name, -1, RENAMED if pair.is_renamed else UPDATED)
        there = {} if pair.target is None else {image.partition: image for image in pair.target.partitions}
        for image in pair.source.partitions:
            try:
                step = _step(source, target, pair, image, there.get(image.partition), choice)
            except (MkError, OSError) as failure:
                step = Step(pair.name, image.partition, REFUSED, error=as_error(failure))
            if step is not None:
                yield step


def _step(
    source: SourceReplica,
    target: TargetReplica | None,
    pair: TopicPair,
    image: PartitionImage,
    there: PartitionImage | None,
    choice: Choice,
) -> Step | None:
    if target is None or there is None:
        decision = reconciliation.Decision(reconciliation.BEGIN, image.first_offset)
    else:
        # By the name that it has now: the chains are asked for under it.
        name = pair.name if pair.target is None else pair.target.name
        decision = partition_copy.decide(
            source, target, pair.source.name, name, image, there, accept_gap=choice.accept_gap
        )[0]
    if decision.kind == reconciliation.NOTHING:
        return None
    if decision.error is not None:
        return Step(pair.name, image.partition, REFUSED, error=decision.error)
    anew = decision.kind in (reconciliation.BEGIN, reconciliation.BEGIN_ANEW)
    from_offset = image.first_offset if anew else decision.prefix_offset
    to_offset = max(image.next_offset, from_offset)
    if from_offset == to_offset and not decision.truncated:
        return None  # At most its log start moves, or who leads it.
    return Step(
        pair.name,
        image.partition,
        action_of(decision),
        from_offset=from_offset,
        to_offset=to_offset,
        size_bytes=source.size_bytes(pair.source.name, image.partition, from_offset, to_offset),
        truncated=decision.truncated,
    )
