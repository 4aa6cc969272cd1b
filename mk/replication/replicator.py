"""Keeping a target's topics copies of a source's: one pass over all of them, or one after the other while records come.

Orders the steps: pair the topics, decide on each partition, send, then tell each side about the other. What is decided is in
topic_pairs and reconciliation, how bytes move in partition_copy. A pass yields events, upward like everything that is read.
"""

from __future__ import annotations

import time

from mk.errors import (
    BadCopyError,
    MkError,
    OffsetOutOfRangeError,
    PermissionDeniedError,
    StaleSourceError,
    TryAgainError,
)
from mk.replication import partition_copy, reconciliation
from mk.replication.events import (
    CREATED,
    DONE,
    GONE,
    PARTITION,
    PROGRESS,
    REFUSED,
    RENAMED,
    SUMMARY,
    TOPIC,
    UPDATED,
    Event,
    action_of,
    as_error,
)
from mk.replication.lanes import side_by_side
from mk.replication.replica import TopicImage
from mk.replication.topic_pairs import TopicPair, gone_topics, pair_topics, unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from mk.replication.reconciliation import Decision
    from mk.replication.replica import (
        AnyReplica,
        CommittedOffset,
        PartitionImage,
        PartitionWriter,
        SourceReplica,
        TargetReplica,
    )

_TELL_SECONDS = 1.0
"""How often a run that follows tells each side about the other, and copies where groups stand."""

_LARGE_BYTES = 16 << 20
_LANES = 2
"""One that computes and one that waits for the disk."""

_LOST_CONNECTION = (69, 76)
_MAY_PASS = (OffsetOutOfRangeError, TryAgainError, StaleSourceError, BadCopyError)
"""What also comes of a partition that changed between two looks: it is looked at once more."""


class Choice:
    """Which topics of the source, and what is to be done with them.

    is_chosen: of a topic's name in the source. prefix: "" or with its dot.
    """

    __slots__ = ("accept_gap", "groups", "is_chosen", "prefix")

    def __init__(
        self,
        *,
        is_chosen: Callable[[str], bool] = lambda name: True,
        prefix: str = "",
        accept_gap: bool = False,
        groups: bool = True,
    ) -> None:
        self.is_chosen = is_chosen
        self.prefix = prefix
        self.accept_gap = accept_gap
        self.groups = groups


class Replicator:
    """A run of replication from one directory to another. The caller has begun it at the target.

    records, bytes: sent so far. errors: of the last pass, by topic and partition. is_complete: the last pass went over all.
    records_expected: what it had to send when it began. until: when to stop, by the monotonic clock.
    """

    __slots__ = (
        "_choice",
        "_is_abandoned",
        "_is_idle",
        "_reached",
        "_refused",
        "_source",
        "_sources",
        "_stopped",
        "_target",
        "_told_at",
        "_touched",
        "bytes",
        "errors",
        "is_complete",
        "partitions_seen",
        "records",
        "records_expected",
        "until",
    )

    def __init__(self, source: SourceReplica, target: TargetReplica, choice: Choice) -> None:
        self._source = source
        self._target = target
        self._choice = choice
        self._is_idle = self._stopped = self._is_abandoned = False
        self.until: float | None = None
        self._sources: list[TopicImage] = []
        self._reached: dict[tuple[str, int], int] = {}
        self._refused: set[tuple[str, int, str]] = set()
        self._touched: set[tuple[str, int]] = set()
        self._told_at = 0.0
        self.records = self.bytes = self.partitions_seen = self.records_expected = 0
        self.errors: dict[tuple[str, int], MkError] = {}
        self.is_complete = False

    def stop(self) -> None:
        """Have it end behind the piece that is on its way; for a signal handler."""
        self._stopped = True
        if self._is_idle:
            raise KeyboardInterrupt

    def is_stopping(self) -> bool:
        return self._stopped or self._is_abandoned or (self.until is not None and time.monotonic() >= self.until)

    def run(self) -> Generator[Event, None, None]:
        """Copy what the source has now and the target lacks."""
        self.is_complete = self._is_abandoned = False
        self.errors.clear()
        sources = list(self._source.topics())
        targets = self._target.copies_of(sources, self._choice.prefix)
        prefix, source_id, is_chosen = self._choice.prefix, self._source.directory_id, self._choice.is_chosen
        pairs = pair_topics(sources, targets, prefix=prefix, source_id=source_id, is_chosen=is_chosen)
        self._look(pairs)
        if self.records_expected > self.records:
            # Before the first record: if the source is lost on the way, a promotion has to know what it had.
            yield from self._note_source()
        pairs = self._stepped_aside(pairs)
        large: list[Callable[[], Iterator[Event]]] = []
        for pair in pairs:
            if self.is_stopping():
                break
            for event in self._run_topic(pair, large):
                yield self._counted(event)
        lanes = side_by_side(large, _LANES, self._end_lanes) if large else ()
        for event in lanes:
            yield self._counted(event)
        for name in gone_topics(sources, targets, prefix=prefix, source_id=source_id, is_chosen=is_chosen):
            if (name, -1, GONE) not in self._refused:
                self._refused.add((name, -1, GONE))
                yield Event(TOPIC, name, action=GONE)
        self._is_abandoned = False
        yield from self._tell_both()
        self.is_complete = not self.is_stopping()

    def follow(self) -> Generator[Event, None, None]:
        """Copy what the source has, and then what comes, until it is stopped."""
        while True:
            yield from self.run()
            try:
                self._is_idle = True
                while not self.is_stopping():
                    left = _TELL_SECONDS if self.until is None else min(_TELL_SECONDS, self.until - time.monotonic())
                    if self._source.wait(max(0, int(left * 1000))):
                        break
                    yield from self._tell_both()
                if self.is_stopping():
                    return
            except KeyboardInterrupt:
                if not self._stopped:
                    raise
                return
            finally:
                self._is_idle = False

    def summary(self, seconds: float) -> Event:
        return Event(
            SUMMARY,
            records=self.records,
            bytes=self.bytes,
            seconds=round(seconds, 3),
            partitions=len(self._touched),
            partitions_in_all=self.partitions_seen,
            refused=len(self.errors),
            complete=self.is_complete and not self.errors,
        )

    def _counted(self, event: Event) -> Event:
        """Add up what was sent, and have the event tell of all of it."""
        if event.kind == PROGRESS:
            self.records += int(str(event.facts["records"]))
            self.bytes += int(str(event.facts["bytes"]))
            event.facts.update(records=self.records, bytes=self.bytes)
        return event

    def _end_lanes(self) -> None:
        """Have partitions that are on their way in threads end; does nothing when all have come to their ends."""
        self._is_abandoned = True

    def _stepped_aside(self, pairs: list[TopicPair]) -> list[TopicPair]:
        """Have copies whose names are exchanged make room for each other, and return the pairs as they are then.

        Killed behind it, the next run finds them by their ids.
        """
        if not any(pair.interim for pair in pairs) or not all(self._may_change(p) for p in pairs if p.is_renamed):
            return pairs
        try:
            for pair in pairs:
                if pair.interim:
                    self._target.update_topic(_named(pair.source, pair.interim))
        except (MkError, OSError) as failure:
            if as_error(failure).exit_status in _LOST_CONNECTION:
                raise
            # It is told when it has that name still, and is to get the other one.
        return [self._look_again(pair, pair.interim) if pair.interim else pair for pair in pairs]

    def _run_topic(self, pair: TopicPair, large: list[Callable[[], Iterator[Event]]]) -> Iterator[Event]:
        """Bring a topic up to date, but for partitions with much to send: what does those is added to `large`."""
        if pair.error is not None:
            yield from self._refuse(pair.name, -1, pair.error)
            return
        try:
            if pair.target is None:
                self._target.create_topic(_named(pair.source, pair.name))
                yield Event(TOPIC, pair.name, action=CREATED)
                pair = self._look_again(pair)
            elif pair.differs and self._may_change(pair):
                action = RENAMED if pair.is_renamed else UPDATED
                changed = pair.changed_fields
                self._target.update_topic(_named(pair.source, pair.name))
                yield Event(TOPIC, pair.name, action=action, before=pair.before, changed=changed)
                pair = self._look_again(pair)
        except (MkError, OSError) as failure:
            yield from self._refuse(pair.name, -1, as_error(failure))
            return
        if pair.error is not None:
            yield from self._refuse(pair.name, -1, pair.error)
            return
        there = {image.partition: image for image in pair.target.partitions} if pair.target is not None else {}
        for image in pair.source.partitions:
            if self.is_stopping():
                return
            copy = there.get(image.partition)
            if copy is None:
                continue
            if self._is_large(pair, image, copy):
                large.append(self._later(pair, image, copy))
            else:
                yield from self._run_partition(pair, image, copy)

    def _later(self, pair: TopicPair, image: PartitionImage, copy: PartitionImage) -> Callable[[], Iterator[Event]]:
        return lambda: self._run_partition(pair, image, copy)

    def _is_large(self, pair: TopicPair, image: PartitionImage, copy: PartitionImage) -> bool:
        """Tell whether there is so much to send that it is worth a thread: here, not through a channel of which there is one."""
        if image.next_offset <= copy.next_offset or not (self._source.takes_threads and self._target.takes_threads):
            return False
        start = max(copy.next_offset, image.first_offset)
        try:
            size_bytes = self._source.size_bytes(pair.source.name, image.partition, start, image.next_offset)
        except (MkError, OSError):
            return False  # Who copies it finds out, and says it.
        return size_bytes >= _LARGE_BYTES

    def _may_change(self, pair: TopicPair) -> bool:
        """Tell whether the source may change a topic of the target. Where it leads some partitions only, it adds the pins that
        their records need, and nothing else."""
        assert pair.target is not None
        there = {image.partition: image for image in pair.target.partitions}
        are_stale = [
            isinstance(self._decide(pair, image, there[image.partition])[0].error, StaleSourceError)
            for image in pair.source.partitions
            if image.partition in there
        ]
        return not any(are_stale) or (pair.lacks_pins and not all(are_stale))

    def _run_partition(self, pair: TopicPair, image: PartitionImage, there: PartitionImage) -> Iterator[Event]:
        for is_last_try in (False, True):
            try:
                if is_last_try:
                    # It has changed since we looked at it: segments were removed, or it is led by another one.
                    found = self._images(pair, image.partition)
                    if found is None:
                        return
                    image, there = found
                decision, chain = self._decide(pair, image, there)
                if decision.kind == reconciliation.NOTHING:
                    return
                if decision.error is not None:
                    if decision.fences:
                        self._fence(pair, there)
                    yield from self._refuse(pair.name, image.partition, decision.error)
                    return
                yield from self._send(pair, image, decision, chain)
                return
            except (MkError, OSError) as failure:
                error = as_error(failure)
                if error.exit_status in _LOST_CONNECTION:
                    raise
                if is_last_try or type(error) not in _MAY_PASS:
                    yield from self._refuse(pair.name, image.partition, error)
                    return

    def _decide(self, pair: TopicPair, image: PartitionImage, there: PartitionImage) -> tuple[Decision, int]:
        return partition_copy.decide(
            self._source,
            self._target,
            pair.source.name,
            # By the name that it has now: it may be about to get another one.
            pair.name if pair.target is None else pair.target.name,
            image,
            there,
            accept_gap=self._choice.accept_gap,
        )

    def _send(self, pair: TopicPair, image: PartitionImage, decision: Decision, chain: int) -> Iterator[Event]:
        partition = image.partition
        writer = partition_copy.open_writer(self._target, pair.name, image, decision, chain)
        try:
            first_offset = writer.next_offset
            if first_offset < image.next_offset or decision.truncated:
                yield Event(
                    PARTITION,
                    pair.name,
                    partition,
                    action=action_of(decision),
                    from_offset=first_offset,
                    to_offset=image.next_offset,
                    truncated=decision.truncated,
                )
            next_offset = first_offset
            sent: list[tuple[int, int, int]] = []
            try:
                for next_offset, records, size_bytes in partition_copy.copy(
                    self._source, pair.source.name, writer, image, self.is_stopping
                ):
                    sent.append((next_offset, records, size_bytes))
                    yield Event(PROGRESS, pair.name, partition, offset=next_offset, records=records, bytes=size_bytes)
                self._reached[pair.source.topic_id, partition] = self._settle(writer, image)
            except (MkError, OSError) as failure:
                yield from self._not_stored(pair, partition, sent, first_offset, as_error(failure))
                raise
        finally:
            writer.close()
        if next_offset > first_offset or decision.truncated:
            self._touched.add((pair.name, partition))
            yield Event(DONE, pair.name, partition, first_offset=first_offset, next_offset=next_offset)

    def _not_stored(
        self, pair: TopicPair, partition: int, sent: list[tuple[int, int, int]], first_offset: int, error: MkError
    ) -> Iterator[Event]:
        """Take back the count of what was sent and is not there: through a channel, it is only known at the next sync."""
        end_offset = first_offset
        if sent and error.exit_status not in _LOST_CONNECTION:
            try:
                found = self._images(pair, partition)
            except (MkError, OSError):
                found = None  # What went wrong first is what is told.
            if found is not None:
                end_offset = found[1].next_offset
        missing = [(records, size_bytes) for next_offset, records, size_bytes in sent if next_offset > end_offset]
        if missing:
            records, size_bytes = (-sum(numbers) for numbers in zip(*missing, strict=True))
            yield Event(PROGRESS, pair.name, partition, offset=end_offset, records=records, bytes=size_bytes)

    def _settle(self, writer: PartitionWriter, image: PartitionImage) -> int:
        end_offset = writer.sync()
        if image.log_start_offset > 0:
            writer.advance_log_start(min(image.log_start_offset, end_offset))
        return end_offset

    def _refuse(self, topic: str, partition: int, error: MkError) -> Iterator[Event]:
        """Note an error, and tell it once, however many passes meet it."""
        self.errors[topic, partition] = error
        if (topic, partition, error.what) not in self._refused:
            self._refused.add((topic, partition, error.what))
            yield Event(REFUSED, topic, partition, error=error)

    def _fence(self, pair: TopicPair, there: PartitionImage) -> None:
        """Tell the source that it leads no longer, so that its producers stop: what they write is lost to all others."""
        try:
            self._source.fence(pair.source.name, there.partition, there.epochs)
        except (MkError, OSError) as failure:
            if as_error(failure).exit_status in _LOST_CONNECTION:
                raise
            # It may not be written to, by us at least. Then a later run tells it, or who promotes it.

    def _look_again(self, pair: TopicPair, name: str = "") -> TopicPair:
        """Return the pair with the target's topic as it is now, under its name or another one."""
        target = next(iter(self._target.topics([name or pair.name])), None)
        found = TopicPair(pair.source, target, pair.name)
        if target is not None and target.problem:
            # It has no partitions then: there would be nothing to copy, and the run would end with status 0.
            found.error = unreadable(f"topic {pair.name} of DST", target)
        if name:
            found.before = pair.before
        return found

    def _images(self, pair: TopicPair, partition: int) -> tuple[PartitionImage, PartitionImage] | None:
        """Return both images of a partition as they are now; None if one is gone."""
        found = []
        sides: tuple[tuple[AnyReplica, str], ...] = (self._source, pair.source.name), (self._target, pair.name)
        for replica, name in sides:
            for topic in replica.topics([name]):
                if topic.problem:
                    raise unreadable(f"topic {name} of {'SRC' if replica is self._source else 'DST'}", topic)
                if topic.topic_id == pair.source.topic_id:
                    found += [image for image in topic.partitions if image.partition == partition]
        return (found[0], found[1]) if len(found) == 2 else None

    def _note_source(self) -> Iterator[Event]:
        """Have the target note where the source's logs ended as of the last look at it."""
        ends = [(t.topic_id, p.partition, p.next_offset) for t in self._sources for p in t.partitions]
        try:
            self._target.note_source(self._source.directory_id, self._source.address, ends)
        except (MkError, OSError) as failure:
            yield from self._untold(failure)

    def _untold(self, failure: MkError | OSError) -> Iterator[Event]:
        error = as_error(failure)
        if error.exit_status in _LOST_CONNECTION:
            raise failure
        yield from self._refuse("", -1, error)

    def _look(self, pairs: list[TopicPair]) -> None:
        """Take note of where both sides are, for the notes that each keeps of the other."""
        self._sources = [pair.source for pair in pairs if pair.error is None]
        self.partitions_seen = sum(len(pair.source.partitions) for pair in pairs)
        self.records_expected = self.records
        self._reached = {}
        for pair in pairs:
            there = [] if pair.target is None else pair.target.partitions
            ends = {image.partition: image.next_offset for image in there}
            for image in pair.source.partitions:
                end = ends.get(image.partition, image.first_offset)
                self.records_expected += max(0, image.next_offset - end)
                if pair.error is None:
                    self._reached[pair.source.topic_id, image.partition] = end

    def _tell_both(self) -> Iterator[Event]:
        """Copy where groups stand, behind the records, and note on each side how far the other is."""
        now = time.monotonic()
        if self._told_at and now - self._told_at < _TELL_SECONDS and not self.is_stopping():
            return
        self._told_at = now
        source, target = self._source, self._target
        yield from self._note_source()
        try:
            if self._choice.groups:
                offsets = self._committed_offsets()
                target.store_committed_offsets(source.directory_id, offsets)
        except (MkError, OSError) as failure:
            yield from self._untold(failure)
        reached = [(topic_id, partition, end) for (topic_id, partition), end in self._reached.items()]
        source.note_follower(target.directory_id, target.address, reached)

    def _committed_offsets(self) -> list[CommittedOffset]:
        try:
            return self._source.committed_offsets([image.topic_id for image in self._sources])
        except PermissionDeniedError as error:
            error.fix = "--no-groups leaves out where groups stand; the records are copied all the same"
            raise


def _named(image: TopicImage, name: str) -> TopicImage:
    """Return the image of a topic as it is to be under another name."""
    new = TopicImage()
    new.name = name
    new.topic_id = image.topic_id
    new.fields = {**image.fields, "name": name}
    new.pins = image.pins
    new.partitions = image.partitions
    new.problem = ""
    return new
