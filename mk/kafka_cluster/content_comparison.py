"""Whether a directory and a Kafka cluster hold the same records: key, value, headers and time of each, in the same order.

Bytes cannot be compared, since each side has batches of its own. Of a topic that is compacted each side may lack records that
the other one still has: then it is compared what both have.
"""

from __future__ import annotations

from mk.config import COMPACT
from mk.errors import MkError
from mk.kafka_cluster.message_headers import given_headers
from mk.replication.comparison import Comparison, batches_of
from mk.replication.events import as_error
from mk.replication.topic_pairs import pair_topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from mk.kafka_cluster.kafka_copy import KafkaCopy
    from mk.kafka_cluster.kafka_source import KafkaSource
    from mk.replication.replica import PartitionImage, Replica, SourceReplica
    from mk.replication.replicator import Choice
    from mk.replication.topic_pairs import TopicPair

    Content = tuple[Any, ...]
    """Key, value, headers and time of a record."""


def compare_with_source(source: KafkaSource, target: Replica | None, choice: Choice) -> Iterator[Comparison]:
    """Compare copies in a directory with the topics of a cluster; target is None where there is no directory."""

    def compare(pair: TopicPair, image: PartitionImage, found: Comparison) -> None:
        there = None if pair.target is None else _partition(pair.target.partitions, image.partition)
        if target is None or there is None or pair.target is None:
            _note_absence(image, found)
            return
        start, stop = max(image.first_offset, there.first_offset), min(image.next_offset, there.next_offset)
        found.from_offset, found.to_offset = start, max(start, stop)
        found.behind = max(0, image.next_offset - there.next_offset)
        ours = (
            (message.offset(), _content(message))
            for message in source.records(pair.source.name, image.partition, start, stop)
        )
        theirs = _records(target, pair.target.name, there, start, stop)
        _compare(found, ours, theirs, both_only=_is_compacted(pair))
        if found.differs_at < 0 and there.next_offset > image.next_offset:
            found.differs_at, found.segment = image.next_offset, start
            found.why = f"DST goes on to offset {there.next_offset - 1}, and SRC does not"

    return _compare_each(source, target, choice, compare)


def compare_with_copy(source: SourceReplica, target: KafkaCopy, choice: Choice) -> Iterator[Comparison]:
    """Compare copies in a cluster with the topics of a directory. Offsets told are the directory's."""

    def compare(pair: TopicPair, image: PartitionImage, found: Comparison) -> None:
        position = None if pair.target is None else target.position(pair.name, image.partition)
        if position is None:
            _note_absence(image, found)
            return
        found.behind = max(0, image.next_offset - position.offset)
        _compare_copy(source, target, pair, image, found)

    return _compare_each(source, target, choice, compare)


def _note_absence(image: PartitionImage, found: Comparison) -> None:
    found.from_offset = found.to_offset = image.first_offset
    found.behind = image.next_offset - image.log_start_offset


def _compare_copy(
    source: SourceReplica, target: KafkaCopy, pair: TopicPair, image: PartitionImage, found: Comparison
) -> None:
    partition, name = image.partition, pair.name
    position = target.position(name, partition)
    assert position is not None
    first = target.log_start(name, partition)
    # The first place that both sides still have, and from there on one record after the other.
    own, kafka_offset = next(
        (place for place in position.places if place[0] >= image.log_start_offset and place[1] >= first),
        position.places[-1] if position.places else (position.offset, first),
    )
    found.from_offset, found.to_offset = own, max(own, position.offset)
    ours = _records(source, pair.source.name, image, own, min(position.offset, image.next_offset))
    theirs = map(_content, target.records(name, partition, kafka_offset))
    if _is_compacted(pair):
        _compare_last(found, ours, theirs)
        return
    for offset, content in ours:
        other = next(theirs, None)
        if other != content:
            found.differs_at, found.segment = offset, own
            found.why = f"the record of offset {offset} in SRC is {'another one' if other else 'not there'} in DST"
            return
    if next(theirs, None) is not None:
        found.differs_at, found.segment = position.offset, own
        found.why = "DST has records behind those that were copied"


def _compare_last(found: Comparison, ours: Iterator[tuple[int, Content]], theirs: Iterator[Content]) -> None:
    """Compare the last record of each key that both sides have."""
    last = {content[0]: hash(content) for content in theirs}
    own = {content[0]: (offset, hash(content)) for offset, content in ours}
    differing = [offset for key, (offset, digest) in own.items() if last.get(key, digest) != digest]
    if differing:
        found.differs_at, found.segment = min(differing), found.from_offset
        found.why = f"the last record of the key at offset {found.differs_at} of SRC is another one in DST"


def _compare(
    found: Comparison,
    ours: Iterator[tuple[int, Content]],
    theirs: Iterator[tuple[int, Content]],
    *,
    both_only: bool,
) -> None:
    """Compare records at the same offsets. both_only: each side may lack some."""
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if one is not None and other is not None and one[0] == other[0]:
            if one[1] != other[1]:
                found.differs_at, found.why = one[0], f"the record at offset {one[0]} is another one"
                break
            one, other = next(ours, None), next(theirs, None)
            continue
        is_ours = other is None or (one is not None and one[0] < other[0])
        if not both_only:
            offset = one[0] if is_ours and one is not None else other[0] if other is not None else 0
            found.differs_at = offset
            found.why = f"only {'SRC' if is_ours else 'DST'} has a record at offset {offset}"
            break
        if is_ours:
            one = next(ours, None)
        else:
            other = next(theirs, None)
    if found.differs_at >= 0:
        found.segment = found.from_offset


def _compare_each(
    source: SourceReplica,
    target: Any,
    choice: Choice,
    compare: Callable[[TopicPair, PartitionImage, Comparison], None],
) -> Iterator[Comparison]:
    """Have `compare` fill in what there is to say of each partition; of a topic that can have no copy, tell why."""
    sources = list(source.topics())
    targets = [] if target is None else target.copies_of(sources, choice.prefix)
    pairs = pair_topics(
        sources, targets, prefix=choice.prefix, source_id=source.directory_id, is_chosen=choice.is_chosen
    )
    for pair in pairs:
        if pair.error is not None:
            yield Comparison(pair.name, -1, error=pair.error)
            continue
        for image in pair.source.partitions:
            found = Comparison(pair.name, image.partition)
            try:
                compare(pair, image, found)
            except (MkError, OSError) as failure:
                found.error = as_error(failure)
            yield found


def _partition(images: list[PartitionImage], number: int) -> PartitionImage | None:
    return next((image for image in images if image.partition == number), None)


def _is_compacted(pair: TopicPair) -> bool:
    return COMPACT in str(pair.source.fields.get("cleanup.policy", ""))


def _records(
    replica: SourceReplica, topic: str, image: PartitionImage, start: int, stop: int
) -> Iterator[tuple[int, Content]]:
    """Yield offset and content of a directory's records from one offset up to another, payloads checked."""
    for batch, _ in batches_of(replica, topic, image.partition, image.first_offset, image.next_offset):
        if batch.base_offset >= stop:
            return
        if batch.next_offset <= start:
            continue
        for piece in batch.record_slices(topic, image.partition):
            columns = piece.offsets, piece.keys, piece.values, piece.headers, piece.timestamps
            for offset, key, value, headers, time in zip(*columns, strict=True):
                if start <= offset < stop:
                    yield offset, (key, value, tuple(headers), time)


def _content(message: Any) -> Content:
    (headers,) = given_headers([message], type(message))
    pairs = () if not headers else tuple([(name.encode(), value) for name, value in headers])
    return message.key(), message.value(), pairs, message.timestamp()[1]
