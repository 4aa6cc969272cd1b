"""Whether two logs that should be copies are: every byte of what both have, and nothing sent but digests where they are equal.

Below the place up to which the log cleaner has worked on either side, batches may be others, and records are compared.
"""

from __future__ import annotations

from mk.errors import DataError, MkError
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.replication.events import as_error
from mk.replication.lanes import results
from mk.replication.topic_pairs import pair_topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import RecordBatch
    from mk.replication.replica import PartitionImage, Replica, SourceReplica
    from mk.replication.replicator import Choice
    from mk.replication.topic_pairs import TopicPair

    Digests = list[tuple[int, int, bytes]]


class Comparison:
    """How a partition of a target, or a topic (partition -1), compares with the source's.

    from_offset to to_offset were compared. behind: records that the target lacks at its end. differs_at: first offset that
    is another one, in the segment at `segment`; -1 if there is none. error: why it could not be compared.
    """

    __slots__ = ("behind", "differs_at", "error", "from_offset", "partition", "segment", "to_offset", "topic", "why")

    def __init__(self, topic: str, partition: int, *, error: MkError | None = None) -> None:
        self.topic = topic
        self.partition = partition
        self.from_offset = self.to_offset = self.behind = 0
        self.differs_at = self.segment = -1
        self.why = ""
        self.error = error


def compare(source: Replica, target: Replica | None, choice: Choice) -> Iterator[Comparison]:
    """Compare partition by partition; target is None where there is no log directory. Changes nothing."""
    sources = list(source.topics())
    targets = [] if target is None else list(target.topics())
    pairs = pair_topics(
        sources, targets, prefix=choice.prefix, source_id=source.directory_id, is_chosen=choice.is_chosen
    )
    for pair in pairs:
        if pair.error is not None:
            yield Comparison(pair.name, -1, error=pair.error)
            continue
        there = {} if pair.target is None else {image.partition: image for image in pair.target.partitions}
        for image in pair.source.partitions:
            found = Comparison(pair.name, image.partition)
            copy = there.get(image.partition)
            if target is None or copy is None:
                found.from_offset = found.to_offset = image.first_offset
                found.behind = image.next_offset - image.log_start_offset
                yield found
                continue
            try:
                _compare_partition(source, target, pair, image, copy, found)
            except (MkError, OSError) as failure:
                found.error = as_error(failure)
            yield found


def _compare_partition(
    source: Replica, target: Replica, pair: TopicPair, image: PartitionImage, copy: PartitionImage, found: Comparison
) -> None:
    if copy.next_offset > image.next_offset:
        # The copy was looked at last: what came in between is there, and is no difference.
        for topic in source.topics([pair.source.name]):
            image = next((one for one in topic.partitions if one.partition == image.partition), image)
    start = max(image.first_offset, copy.first_offset)
    stop = min(image.next_offset, copy.next_offset)
    found.from_offset, found.to_offset = start, max(start, stop)
    found.behind = max(0, image.next_offset - copy.next_offset)
    assert pair.target is not None
    sides = (source, pair.source.name), (target, pair.target.name)
    cleaned_to = min(max(image.cleaned_to, copy.cleaned_to), stop)
    if start < cleaned_to:
        _compare_records(sides, (image, copy), start, cleaned_to, found)
    if found.differs_at < 0 and max(start, cleaned_to) < stop:
        ends = image.next_offset, copy.next_offset
        if not _differs_in_batches(sides, image.partition, max(start, cleaned_to), stop, ends, found):
            _compare_bytes(sides, image.partition, max(start, cleaned_to), stop, found)
    if found.differs_at < 0 and copy.next_offset > image.next_offset:
        found.differs_at, found.segment = image.next_offset, copy.first_offset
        found.why = f"DST has {copy.next_offset - image.next_offset} records behind the end of SRC's log"


def _differs_in_batches(
    sides: tuple[tuple[Replica, str], tuple[Replica, str]],
    partition: int,
    start: int,
    stop: int,
    ends: tuple[int, int],
    found: Comparison,
) -> bool:
    """Tell whether a batch of one side goes across where those of the other begin or end: no damage, but other records.

    Only between two batches can a log be read.
    """
    for offset in (start, stop):
        for replica, topic in sides:
            if replica.chain_at(topic, partition, offset) is None:
                found.segment = start
                found.differs_at = start if offset == start else _first_difference(sides, partition, start, ends)
                found.why = f"the batches from offset {found.differs_at} on are others"
                return True
    return False


def _compare_bytes(
    sides: tuple[tuple[Replica, str], tuple[Replica, str]], partition: int, start: int, stop: int, found: Comparison
) -> None:
    # Both at once: it is mostly SHA-256, and perhaps on two hosts.
    (one, our_topic), (other, their_topic) = sides
    ours, theirs = results(
        [
            lambda: one.digests(our_topic, partition, start, stop),
            lambda: other.digests(their_topic, partition, start, stop),
        ]
    )
    for first_offset, next_offset, is_same in _ranges(ours, theirs):
        if not is_same:
            at = _first_difference(sides, partition, first_offset, (next_offset, next_offset))
            if at >= 0:
                found.differs_at, found.segment = at, first_offset
                found.why = f"the batch at offset {at} has other bytes"
                return


def _ranges(ours: Digests, theirs: Digests) -> Iterator[tuple[int, int, bool]]:
    """Yield the parts in which both have a segment each, or several that end together: and whether they are the same, which
    cannot be told of several."""
    left, right = iter(ours), iter(theirs)
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        if one[:2] == other[:2]:
            yield *one[:2], one[2] == other[2]
        else:
            first_offset = one[0]
            while one is not None and other is not None and one[1] != other[1]:
                if one[1] < other[1]:
                    one = next(left, None)
                else:
                    other = next(right, None)
            if one is None or other is None:
                return
            yield first_offset, one[1], False
        one, other = next(left, None), next(right, None)


def _first_difference(
    sides: tuple[tuple[Replica, str], tuple[Replica, str]], partition: int, start: int, stops: tuple[int, int]
) -> int:
    """Return the base offset of the first batch that is another one; -1 if all are the same after all."""
    one, other = (
        batches_of(replica, topic, partition, start, stop) for (replica, topic), stop in zip(sides, stops, strict=True)
    )
    for batch in one:
        theirs = next(other, None)
        if theirs is None or theirs[1] != batch[1]:
            return batch[0].base_offset
    return -1


def _compare_records(
    sides: tuple[tuple[Replica, str], tuple[Replica, str]],
    images: tuple[PartitionImage, PartitionImage],
    start: int,
    stop: int,
    found: Comparison,
) -> None:
    """Compare the records that both sides still have, in a part of which one end may lie within a batch of a side."""
    one, other = (
        _records(replica, topic, image, start, stop) for (replica, topic), image in zip(sides, images, strict=True)
    )
    ours, theirs = next(one, None), next(other, None)
    while ours is not None and theirs is not None:
        if ours.offset < theirs.offset:
            ours = next(one, None)
        elif ours.offset > theirs.offset:
            theirs = next(other, None)
        else:
            if _content(ours) != _content(theirs):
                found.differs_at, found.segment = ours.offset, start
                found.why = f"the record at offset {ours.offset} is another one"
                return
            ours, theirs = next(one, None), next(other, None)


def _content(record: ConsumerRecord) -> tuple[object, ...]:
    return record.key, record.value, record.headers, record.timestamp_ms


def _records(replica: Replica, topic: str, image: PartitionImage, start: int, stop: int) -> Iterator[ConsumerRecord]:
    for batch, _ in batches_of(replica, topic, image.partition, image.first_offset, image.next_offset):
        if batch.base_offset >= stop:
            return
        if batch.next_offset > start:
            for record in batch.records(topic, image.partition):
                if start <= record.offset < stop:
                    yield record


def batches_of(
    replica: SourceReplica, topic: str, partition: int, start: int, stop: int
) -> Iterator[tuple[RecordBatch, bytes]]:
    """Yield each batch, its payload checked, with all its bytes."""
    for piece in replica.read(topic, partition, start, stop):
        data = bytes(piece.data)
        at = 0
        while at < len(data):
            batch = parse_header(data, at)
            if batch is None or not batch.check_payload(memoryview(data)[at + HEADER_SIZE : at + batch.size_bytes]):
                raise DataError(
                    f"partition {partition} of {topic} in {replica.location} is damaged behind offset {piece.base_offset}",
                    fix="`mk topics verify` there shows where",
                )
            yield batch, data[at : at + batch.size_bytes]
            at += batch.size_bytes
