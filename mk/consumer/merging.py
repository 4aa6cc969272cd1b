"""Reading several partitions as one, in the order of the records' times.

Each partition keeps its order: of the records that are next in each, the oldest goes first; of equal times, the one of the topic
and partition that is named first. So a record that is older than the one before it in its partition follows that one at once.

Held are one fetch of each partition, and of one batch in it some thousand records. Batches of lines have one time and are
passed on as they are stored.

Following, something older may still come in a partition that is at its end. Records are stamped before they are visible, by
a producer at most flush.ms before; so where a partition is at its end, a record goes on when it is a second old by the clock, or
has been there for a second, if its time lies in the future. What is produced with an older time than that comes too late.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from time import monotonic

from mk.clock import now_ms
from mk.consumer.consumer import Consumer
from mk.consumer.following import FollowingConsumer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from mk.consumer.consumer import FetchedBatch, Position, Source
    from mk.records.record import ConsumerRecord
    from mk.storage.partition_reader import ReadBuffer
    from mk.storage.topic import Topic

    Key = tuple[Any, ...]

_HOLD_MS = 1000
_MOST_RECORDS = 4096
"""Records of several partitions that are passed on together."""


class MergedRecords:
    """Records of several partitions in their order, with the methods of a FetchedBatch."""

    __slots__ = ("_records",)

    batch = None
    is_whole = False

    def __init__(self) -> None:
        self._records: list[ConsumerRecord] = []

    def extend(self, records: Sequence[ConsumerRecord]) -> None:
        self._records += records

    @property
    def record_count(self) -> int:
        return len(self._records)

    def limit(self, count: int) -> None:
        del self._records[count:]

    def records(self) -> Iterator[ConsumerRecord]:
        return iter(self._records)

    def record_slices(self) -> Iterator[list[ConsumerRecord]]:
        yield self._records

    def lines(self) -> None:
        return None

    def positions_behind(self) -> Iterable[Position]:
        last = {(record.topic, record.partition): record for record in self._records}
        return [(topic, number, record.offset + 1, record.leader_epoch) for (topic, number), record in last.items()]


class Head:
    """What was fetched of one partition and not passed on yet; `key` is that of its next record.

    place: what decides between equal times. backward: the newest goes first.
    fetched: the next batch, all of one time; else None, and the next records stand in `records`, from `at` on.
    """

    __slots__ = (
        "_batches",
        "_sign",
        "_slices",
        "at",
        "fetched",
        "key",
        "max_time",
        "place",
        "records",
        "since",
        "source",
    )

    def __init__(self, source: Source, batches: Sequence[FetchedBatch], place: Key, *, backward: bool = False) -> None:
        self.source = source
        self.place = place
        self.since = 0.0
        self.key: Key = ()
        self.fetched: FetchedBatch | None = None
        self.records: list[ConsumerRecord] = []
        self.at = 0
        self.max_time = 0
        self._sign = -1 if backward else 1
        self._batches = iter(batches)
        self._slices: Iterator[list[ConsumerRecord]] = iter(())

    def __lt__(self, other: Head) -> bool:
        return self.key < other.key

    @property
    def time(self) -> int:
        return self.fetched.batch.max_timestamp if self.fetched is not None else self.records[self.at].timestamp_ms

    def step(self) -> bool:
        """Go to the next batch or record that was not passed on. False if there is none."""
        self.fetched = None
        while self.at >= len(self.records):
            piece = next(self._slices, None)
            if piece is not None:
                self.records, self.at = piece, 0  # Of a batch that is cut, it may be empty.
                continue
            batch = next(self._batches, None)
            if batch is None:
                return False
            if not batch.record_count:
                continue
            self.max_time = batch.batch.max_timestamp
            if batch.batch.has_one_time:
                self.fetched = batch
                break
            self._slices = map(list, batch.record_slices())
        self.key = (self.time * self._sign, *self.place)
        return True

    def take(self, limit: Key | None) -> list[ConsumerRecord]:
        """Return the next record, and those behind it that come before `limit` too."""
        records, start = self.records, self.at
        end = start + 1
        if limit is None or (self._sign > 0 and (self.max_time,) < limit[:1]):
            end = len(records)
        else:
            sign, place = self._sign, self.place
            while end < len(records) and (records[end].timestamp_ms * sign, *place) < limit:
                end += 1
        self.at = end
        return records[start:end]


class Pending:
    """What is to be passed on together."""

    __slots__ = ("_items", "_records")

    def __init__(self) -> None:
        self._items: list[FetchedBatch | MergedRecords] = []
        self._records = 0

    def add(self, head: Head, limit: Key | None) -> None:
        """Take what `head` has before `limit`."""
        if head.fetched is not None:
            self._items.append(head.fetched)
            return
        if not self._items or not isinstance(self._items[-1], MergedRecords):
            self._items.append(MergedRecords())
        records = head.take(limit)
        self._records += len(records)
        self._items[-1].extend(records)  # type: ignore[union-attr]

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def is_full(self) -> bool:
        return self._records >= _MOST_RECORDS

    def pop(self) -> list[FetchedBatch]:
        items, self._items, self._records = self._items, [], 0
        return items  # type: ignore[return-value]  # They have the same methods.


def second(heap: list[Head]) -> Head | None:
    """Return the smallest but one of a heap."""
    return min(heap[1:3], default=None)


class MergingConsumer(Consumer):
    """A Consumer of all its partitions in the order of the records' times."""

    def __init__(self, topics: Sequence[Topic], **options: object) -> None:
        self._heap: list[Head] = []
        self._dry: set[Source] = set()
        self._known: dict[Source, tuple[int, float]] = {}
        super().__init__(topics, **options)  # type: ignore[arg-type]

    def _new_buffer(self) -> ReadBuffer | None:
        return None  # One each: several fetches are held at once.

    def fetches(self) -> Iterator[list[FetchedBatch]]:
        """Yield pieces of what was fetched, in the order of the times. See Consumer.fetches."""
        while True:
            progress = False
            looked_at = now_ms()
            held = {head.source for head in self._heap}
            self._dry = set()
            for source in self._sources:
                if source not in held:
                    self._refill(source)
            for fetch in self._released(looked_at):
                progress = True
                yield fetch
                self._taken()
            if self.has_timed_out or not self._go_on(progress):
                return

    def _released(self, looked_at: int) -> Iterator[list[FetchedBatch]]:
        """Yield what can go on, given that partitions without anything had nothing at `looked_at`."""
        heap = self._heap
        pending = Pending()
        while heap and not self.has_timed_out:
            head = heap[0]
            behind = second(heap)
            limit = None if behind is None else behind.key
            if self._dry:
                release: Key = (looked_at - _HOLD_MS,)
                if head.key > release:
                    if monotonic() - head.since < _HOLD_MS / 1000:
                        break
                    limit = head.key  # This one has waited long enough; of those behind it, each is asked again.
                elif limit is None or release < limit:
                    limit = release
            pending.add(head, limit)
            if pending.is_full:
                yield pending.pop()
            if head.step():
                heapreplace(heap, head)
                continue
            if pending:
                yield pending.pop()  # Before its memory is used for the next fetch.
            heappop(heap)
            self._refill(head.source)
        if pending:
            yield pending.pop()

    def _refill(self, source: Source) -> None:
        """Fetch more of a partition of which nothing is held, or note that there is nothing more."""
        reader = source.reader
        while not source.is_complete:
            if self._deadline is not None and self._is_late():
                return
            position = reader.next_offset
            batches = self._fetch(source)
            head = Head(source, batches, (source.topic.name, reader.partition))
            if batches and head.step():
                known, head.since = self._known.get(source, (-1, 0.0))
                if batches[0].first_offset >= known:
                    head.since = monotonic()
                    self._known[source] = reader.high_watermark, head.since
                heappush(self._heap, head)
                return
            if reader.next_offset == position:
                self._note_dry(source)
                return

    def _note_dry(self, source: Source) -> None:
        """Nothing is waited for where reading ends at the end."""

    def _taken(self) -> None:
        pass

    def _drop(self, topic: Topic) -> None:
        super()._drop(topic)
        # What is held of it would be read from files that are closed.
        self._heap = [head for head in self._heap if head.source.topic is not topic]
        heapify(self._heap)
        self._dry = {source for source in self._dry if source.topic is not topic}
        self._known = {source: known for source, known in self._known.items() if source.topic is not topic}


class FollowingMergingConsumer(MergingConsumer, FollowingConsumer):
    """A MergingConsumer that goes on at the end; see FollowingConsumer for when it ends."""

    def _note_dry(self, source: Source) -> None:
        self._dry.add(source)

    def _taken(self) -> None:
        self._last_taken = monotonic()

    def _awaits(self, source: Source) -> bool:
        return source in self._dry or (source not in self._known and not source.is_complete)

    def _go_on(self, progress: bool) -> bool:
        if not self._heap:
            return super()._go_on(progress)
        now = monotonic()
        # What is held has come and will be taken: that is not idle. It is looked at again when it may go.
        self._last_taken = now
        head = self._heap[0]
        wait_ms = min(head.time + _HOLD_MS - now_ms(), (head.since - now) * 1000 + _HOLD_MS)
        self._next_look = min(self._next_look, now + max(wait_ms, 1) / 1000)
        # If it is over because all that is asked for is there, what is held is passed on first.
        return super()._go_on(progress) or not (self.has_timed_out or self._is_turn_over())
