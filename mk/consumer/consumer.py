"""Reading topics: which partition next, how far, and waiting for more."""

from __future__ import annotations

from time import monotonic

from mk.errors import CorruptBatchError, NoSuchTopicError, OffsetOutOfRangeError, UsageError
from mk.records.codecs import CodecError
from mk.records.record_batch import HEADER_SIZE
from mk.storage import files
from mk.storage.host import allow_open_files
from mk.storage.partition_reader import ReadBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Protocol

    from mk.consumer.offset_spec import OffsetLike, OffsetSpec
    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import RecordBatch
    from mk.records.record_slice import Records
    from mk.storage.partition_reader import PartitionReader
    from mk.storage.topic import Topic
    from mk.storage.topic_pattern import TopicPattern

    Position = tuple[str, int, int, int]
    """Topic, partition, the offset behind the last record, and the leader epoch of that."""
    CommittedOffset = Callable[[Topic, str, PartitionReader], int | None]
else:
    Protocol = object

_FILES_A_PARTITION = 3
_MANY_PARTITIONS = 48
"""Up to so many, the lowest usual limit of 256 open files (macOS's) is enough."""

_TRIES = 3

MAX_RECORDS = 500
"""How many records a program gets at once that does not say it: Kafka's max.poll.records."""


class FetchedBatch:
    """A batch, cut to the offsets that were asked for: `first_offset` up to `next_offset`, that one excluded.

    Valid until the next fetch. segment_fd, and batch.position, say where in which file it stands.
    """

    __slots__ = ("batch", "first_offset", "next_offset", "partition", "path", "segment_fd", "topic")

    def __init__(
        self,
        topic: str,
        partition: int,
        batch: RecordBatch,
        first_offset: int,
        next_offset: int,
        reader: PartitionReader,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.batch = batch
        self.first_offset = max(first_offset, batch.base_offset)
        self.next_offset = min(next_offset, batch.next_offset)
        self.segment_fd = reader.segment_fd
        self.path = reader.segment_path

    def __len__(self) -> int:
        """Return how many offsets the batch covers: its records, but in a compacted batch."""
        return self.next_offset - self.first_offset

    @property
    def is_whole(self) -> bool:
        return len(self) == self.batch.last_offset_delta + 1

    @property
    def values_position(self) -> int:
        """Byte in the segment where the values of plain lines stand, behind header and key."""
        return self.batch.position + HEADER_SIZE + max(self.batch.key_length, 0)

    @property
    def record_count(self) -> int:
        """Return how many records it holds. Of a compacted batch that is cut, they have to be looked at."""
        covers = self.batch.last_offset_delta + 1
        if self.batch.record_count == covers:
            return len(self)
        return self.batch.record_count if self.is_whole else sum(1 for _ in self.records())

    def limit(self, count: int) -> None:
        """Keep the first `count` records, if there are so many; at least one."""
        if self.batch.record_count == self.batch.last_offset_delta + 1:
            self.next_offset = min(self.next_offset, self.first_offset + count)
        elif self.record_count > count:
            for number, record in enumerate(self.records(), 1):
                if number == count:
                    self.next_offset = record.offset + 1
                    return

    def records(self) -> Iterator[ConsumerRecord]:
        """Yield the records. Raises CorruptBatchError where the payload is not what its header says."""
        for piece in self.record_slices():
            yield from piece

    def record_slices(self) -> Iterator[Records]:
        """Yield the records, some thousands at a time. Raises as `records` does."""
        is_whole = self.is_whole
        try:
            for piece in self.batch.record_slices(self.topic, self.partition):
                if is_whole:
                    yield piece
                else:
                    yield [record for record in piece if self.first_offset <= record.offset < self.next_offset]
        except CodecError as error:
            raise self._corrupt(error) from None

    def lines(self) -> bytes | memoryview | None:
        """Return the values as newline-terminated lines, or None if they are not stored as lines."""
        try:
            block = self.batch.lines()
        except CodecError as error:
            raise self._corrupt(error) from None
        if block is None or self.is_whole:
            return block
        data = bytes(block)
        if skip := self.first_offset - self.batch.base_offset:
            data = data.split(b"\n", skip)[-1]
        if self.next_offset < self.batch.next_offset:
            data = data[: len(data) - len(data.split(b"\n", len(self))[-1])]
        return data

    def offset_at(self, number: int) -> int:
        """Return the offset of line `number` of `lines`, counted from 0."""
        return self.first_offset + number

    def positions_behind(self) -> Iterable[Position]:
        """Return up to where each partition has been read when all of this is."""
        return ((self.topic, self.partition, self.next_offset, self.batch.leader_epoch),)

    def _corrupt(self, error: CodecError) -> CorruptBatchError:
        batch = self.batch
        return CorruptBatchError(
            path=self.path,
            position=batch.position,
            offset=batch.base_offset,
            found=str(error),
            readable_from=batch.next_offset,
        )


class Source:
    """One partition that is being read, and how far.

    first_offset: records before it are not asked for. stop_offset: where reading ends, that one excluded; None is never.
    stop_time_ms: reading ends at the first record of that time or later, which was not seen yet.
    """

    __slots__ = ("first_offset", "reader", "stop_offset", "stop_time_ms", "topic")

    def __init__(self, topic: Topic, reader: PartitionReader) -> None:
        self.topic = topic
        self.reader = reader
        self.first_offset = 0
        self.stop_offset: int | None = None
        self.stop_time_ms: int | None = None

    @property
    def is_complete(self) -> bool:
        return self.stop_offset is not None and self.reader.next_offset >= self.stop_offset

    def stop_at_time(self, batch: RecordBatch) -> None:
        """Find the stop in `batch`, which holds a record of the time to stop at."""
        for record in batch.records(self.topic.name, self.reader.partition):
            if record.timestamp_ms >= (self.stop_time_ms or 0):
                self.stop_offset = record.offset
                self.stop_time_ms = None
                return


class Consumer:
    """Reads partitions in turn, batch by batch, without a group and without writing anything. For one thread at a time.

    `for record in consumer`, `batches` and `poll` are three ways to read, of which one consumer is read in one. It ends at the
    end as of now, or follows: then it waits there for more.

    on_skip: called with topic, partition, first and last offset of records that were removed before they were read.
    on_note: called with a sentence on what else a reader of the output should know.
    has_timed_out: whether `fetches` ended because max_time_ms had passed.
    """

    _MEANWHILE = ""

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        pattern: TopicPattern | None = None,
        partitions: Sequence[int] | None = None,
        offset: OffsetLike | Mapping[int, OffsetLike] | None = None,
        stop: OffsetLike | None = None,
        tail: int | None = None,
        max_time_ms: int | None = None,
        on_skip: Callable[[str, int, int, int], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        delivery: Delivery | None = None,
        committed_offset: CommittedOffset | None = None,
        in_turn: Callable[[Sequence[Source], float | None], Sequence[Source]] | None = None,
    ) -> None:
        """Open all partitions, or those numbered `partitions` in each topic, at `offset` (default: the start).

        The topics are closed with the consumer.

        offset: a number, negative from the end, all that `-o` takes, such as "@-1h" or "10:20", or an OffsetSpec. A dict, or
            "0:5,1:-3", gives a position to each partition that is to be read, instead of `partitions`. A number behind the
            end of a partition is an error if no partition reaches it; otherwise nothing is read there before it.
        stop: where reading ends in each partition, that offset excluded; default, and at most, the end as of now.
        tail: of the records that are there, only the last so many over all partitions; see tail.py.
        pattern: where the topics came from; a partition lacking in one of them is passed over.
        max_time_ms: end after so long in any case, by a clock that nobody sets.
        delivery: what the records are handed to, if it goes on working on them after the next fetch.
        committed_offset: finds where a group stands in a partition; None looks into the topic's directory.
        in_turn: waits until there is something to fetch, at most until the deadline, and returns the partitions that have it,
            where a fetch would have to wait for one; None takes all in turn.
        """
        self._deadline = None if max_time_ms is None else monotonic() + max_time_ms / 1000
        self._on_skip = on_skip
        self._on_note = on_note
        self._delivery = delivery
        self._committed_offset = committed_offset
        self._in_turn = in_turn
        self._topics = list(topics)
        self._pattern = pattern
        self._positions: dict[int, OffsetSpec] | None = None
        self._first: OffsetSpec | None = None
        self._stop: OffsetSpec | None = None
        self._partitions = tuple(dict.fromkeys(partitions)) if partitions is not None else None
        self._buffer = self._new_buffer()
        self._sources: list[Source] = []
        self.has_timed_out = False
        self._turn_ends: float | None = None
        self._polled: Iterator[list[ConsumerRecord]] | None = None
        self._most = 1
        if pattern is not None and not topics:
            self._note(f"no topic matches {pattern.text!a}{self._MEANWHILE}")
        try:
            if offset is not None or stop is not None:
                self._read_offsets(offset, stop)
            self._open_all(self._open)
            self._check_range()
            if tail is not None:
                self._seek_tail(tail)
        except BaseException:
            self.close()
            raise

    # Opening.

    def _read_offsets(self, offset: OffsetLike | Mapping[int, OffsetLike] | None, stop: OffsetLike | None) -> None:
        from mk.consumer.offset_spec import read_offsets

        first, self._stop = read_offsets(offset, stop)
        if isinstance(first, dict):
            self._positions = first
            self._partitions = tuple(first)
        else:
            self._first = first

    def _open_all(self, open_one: Callable[[Topic, int], None]) -> None:
        """Open the partitions that are wanted and not open yet."""
        count = sum(topic.partitions for topic in self._topics)
        if count > _MANY_PARTITIONS:
            allow_open_files(_FILES_A_PARTITION * count)
        opened = {(id(source.topic), source.reader.partition) for source in self._sources}
        for topic in list(self._topics):
            try:
                for partition in self._wanted(topic):
                    if (id(topic), partition) not in opened:
                        open_one(topic, partition)
            except NoSuchTopicError:
                if self._pattern is None:
                    raise
                self._drop(topic)  # It went between being found and being opened.

    def _new_buffer(self) -> ReadBuffer | None:
        """Return the memory that all readers share, of which one fetch at a time is in use; None if they do not."""
        return ReadBuffer()

    def _wanted(self, topic: Topic) -> Sequence[int]:
        """Return the partitions of a topic that are to be read."""
        if self._partitions is None:
            return range(topic.partitions)
        if self._pattern is None:
            return self._partitions
        return [partition for partition in self._partitions if partition < topic.partitions]

    def _open_reader(self, topic: Topic, partition: int) -> Source:
        with files.about(f"{topic.path}/{partition}"):
            source = Source(topic, topic.open_reader(partition, self._buffer))
        self._sources.append(source)
        return source

    def _open(self, topic: Topic, partition: int) -> None:
        source = self._open_reader(topic, partition)
        self._set_stop(source)
        position = self._begin(source)
        if position is None:
            return
        reader = source.reader
        start, end = reader.log_start_offset, reader.high_watermark
        first = position.resolve(start, end, reader.offset_for_time, lambda group: self._committed(source, group))
        source.first_offset = first
        if first > end:
            return  # _check_range judges that, knowing the other partitions.
        if first < start:
            last = start - 1 if source.stop_offset is None else min(start, source.stop_offset) - 1
            if first <= last:
                self._report(source, [(first, last)])
            first = start
        reader.seek(first)

    def _begin(self, source: Source) -> OffsetSpec | None:
        """Return where to begin, None for the start."""
        return self._first if self._positions is None else self._positions[source.reader.partition]

    def _set_stop(self, source: Source) -> None:
        """Say where reading ends: at the end as of now."""
        end = source.reader.high_watermark
        source.stop_offset = end if self._stop is None else min(self._stop_offset(source, self._stop), end)

    def _stop_offset(self, source: Source, stop: OffsetSpec) -> int:
        reader = source.reader
        if stop.kind == "after-start":
            return reader.log_start_offset + stop.value  # Not the end, to which it is resolved, if that is nearer.
        start, end = reader.log_start_offset, reader.high_watermark
        return stop.resolve(start, end, reader.offset_for_time, lambda group: self._committed(source, group))

    def _committed(self, source: Source, group: str) -> int | None:
        if self._committed_offset is not None:
            return self._committed_offset(source.topic, group, source.reader)
        from mk.groups.offset_store import committed_offset

        return committed_offset(source.topic, group, source.reader)

    def _check_range(self) -> None:
        """Go to the end in partitions that end before the first offset asked for; refuse it if none reaches it."""
        short = [source for source in self._sources if source.first_offset > source.reader.high_watermark]
        for source in short:
            reader = source.reader
            if len(short) == len(self._sources) or self._positions is not None:
                raise OffsetOutOfRangeError(
                    topic=source.topic.name,
                    partition=reader.partition,
                    offset=source.first_offset,
                    log_start_offset=reader.log_start_offset,
                    log_end_offset=reader.high_watermark,
                )
            self._note(
                f"{source.topic.name} {reader.partition}: ends at offset {reader.high_watermark},"
                f" before {source.first_offset}"
            )
            reader.seek(reader.high_watermark)

    def _seek_tail(self, count: int) -> None:
        from mk.consumer.tail import tail_offsets

        ranges = []
        for source in self._sources:
            end = source.reader.high_watermark
            stop = end if source.stop_offset is None else min(source.stop_offset, end)
            ranges.append((source.reader, source.reader.next_offset, stop))
        for attempt in range(_TRIES):
            try:
                offsets = tail_offsets(ranges, count)
                break
            except CorruptBatchError:
                # Compaction or a recovery may have replaced what was being looked at: look again with new eyes.
                if attempt == _TRIES - 1:
                    raise
                for reader, _, _ in ranges:
                    reader.refresh()
        for (reader, _, _), offset in zip(ranges, offsets):
            reader.seek(offset)

    # Reading.

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        # `for record in cluster.consumer(...)` leaves nobody who could close it.
        self.close()

    def __iter__(self) -> Iterator[ConsumerRecord]:
        """Yield the records, one by one."""
        for fetch in self.fetches():
            for batch in fetch:
                yield from batch.records()

    def batches(self, max_records: int = MAX_RECORDS) -> Iterator[list[ConsumerRecord]]:
        """Yield the records in lists of at most so many, as they come: none is waited for to fill a list."""
        self._most = _at_least_one(max_records)
        return self._lists()

    def poll(self, timeout_ms: int = 0, max_records: int = MAX_RECORDS) -> list[ConsumerRecord]:
        """Return the next records, at most so many; [] if none came within the time, or all that is asked for was read.

        Only a consumer that follows waits.
        """
        self._most = _at_least_one(max_records)
        self._turn_ends = monotonic() + timeout_ms / 1000
        try:
            if self._polled is None:
                self._polled = self._lists()
            records = next(self._polled, [])
            if not records:
                self._polled = None
            return records
        finally:
            self._turn_ends = None

    def _lists(self) -> Iterator[list[ConsumerRecord]]:
        """Yield lists of at most `_most` records, as many as that is by then, each from one fetch."""
        from itertools import islice

        for fetch in self.fetches():
            records = (record for batch in fetch for record in batch.records())
            while many := list(islice(records, self._most)):
                yield many

    def fetches(self) -> Iterator[list[FetchedBatch]]:
        """Yield what one fetch brought, from each partition in turn, in offset order within each.

        A fetch is valid until the next one is asked for. Ends at the ends, unless following.
        """
        while True:
            progress = False
            for source in self._turn():
                if source.stop_offset is not None and source.reader.next_offset >= source.stop_offset:
                    continue
                if self._deadline is not None and self._is_late():
                    return
                fetch = self._fetch(source)
                if fetch:
                    progress = True
                    yield fetch
            if not self._go_on(progress):
                return

    def _turn(self) -> Sequence[Source]:
        """Return the partitions to fetch from in this round."""
        if self._in_turn is None:
            return self._sources
        sources = self._in_turn(
            self._sources, min((end for end in (self._deadline, self._turn_ends) if end is not None), default=None)
        )
        if not sources and not all(source.is_complete for source in self._sources):
            self._is_late()  # Where this reads to an end, the round is the last one, for that reason.
        return sources

    def _fetch(self, source: Source) -> list[FetchedBatch]:
        """Return the next batches of a partition that hold something asked for."""
        topic, reader = source.topic, source.reader
        wanted = reader.next_offset
        try:
            with files.about(f"{topic.path}/{reader.partition}"):
                fetched = reader.fetch()
        except NoSuchTopicError:
            if not self._may_lose(topic):
                raise
            return []
        if reader.skipped:
            wanted = reader.skipped[-1][1] + 1
            self._report(source, reader.skipped)
            reader.skipped = []
        if not fetched:
            return []
        if source.stop_time_ms is not None:
            for batch in fetched:
                if batch.max_timestamp >= source.stop_time_ms:
                    source.stop_at_time(batch)
                    break
        limit = fetched[-1].next_offset if source.stop_offset is None else source.stop_offset
        wanted = max(wanted, source.first_offset)
        return [
            FetchedBatch(topic.name, reader.partition, batch, wanted, limit, reader)
            for batch in fetched
            if batch.next_offset > wanted and batch.base_offset < limit
        ]

    def topic_id(self, name: str) -> str:
        """Return the id of a topic of which records were fetched."""
        return next(topic.topic_id for topic in self._topics if topic.name == name)

    def close(self) -> None:
        """Let go of all files."""
        self._polled = None
        for source in self._sources:
            source.reader.close()
        for topic in self._topics:
            topic.close()
        self._sources = []
        self._topics = []

    def _go_on(self, progress: bool) -> bool:
        """Between two rounds: tell whether there is another one. A following consumer waits here."""
        if self._delivery is not None:
            self._delivery.settle()
        return progress

    def _may_lose(self, topic: Topic) -> bool:
        """Tell whether a topic may be deleted while it is read, and reading goes on with the others."""
        return False

    def _is_turn_over(self) -> bool:
        """Tell whether `poll` has waited as long as it should."""
        return self._turn_ends is not None and monotonic() >= self._turn_ends

    def _is_late(self) -> bool:
        self.has_timed_out = self._deadline is not None and monotonic() >= self._deadline
        return self.has_timed_out

    def _drop(self, topic: Topic) -> None:
        for source in [source for source in self._sources if source.topic is topic]:
            self._sources.remove(source)
            source.reader.close()
        self._topics.remove(topic)
        topic.close()
        self._note(f"topic {topic.name} was deleted; following the others")

    def _note(self, sentence: str) -> None:
        if self._on_note is not None:
            self._on_note(sentence)

    def _report(self, source: Source, ranges: Sequence[tuple[int, int]]) -> None:
        if self._on_skip is not None:
            for first, last in ranges:
                self._on_skip(source.topic.name, source.reader.partition, first, last)


class Delivery(Protocol):
    """Who the records are handed to, as far as the consumer needs to know: what of them has been taken.

    wake_fd: readable when `settle` would have something new, -1 if that never is so.
    """

    wake_fd: int

    def settle(self) -> None:
        """Tell the consumer by `took` what is taken by now. Does not wait."""

    def is_under_way(self) -> bool:
        """Tell whether this member has to stay for what it has handed over: others may come, go or die meanwhile."""

    def finish(self, topic: str, partition: int) -> None:
        """Wait for what is under way of a partition, which is about to be another member's, then settle."""

    def lost(self, topic: str, partition: int) -> None:
        """Forget what is under way of a partition: it is another member's, or will be."""


class NothingUnderWay:
    """The delivery of who has taken all records when it asks for the next."""

    wake_fd = -1

    def settle(self) -> None:
        pass

    def is_under_way(self) -> bool:
        return False

    def finish(self, topic: str, partition: int) -> None:
        pass

    def lost(self, topic: str, partition: int) -> None:
        pass


def _at_least_one(max_records: int) -> int:
    if max_records < 1:
        raise UsageError(f"max_records cannot be {max_records}", fix="it is 1 or more; nothing was read")
    return max_records
