"""Reading backward: the newest records first, of each partition or by their times over all of them.

From the end as of now, or where the range ends, back to where it begins. The log is read by its headers from the end, and
held are, of each partition, a few batches and the headers between two entries of an index.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heapreplace

from mk.consumer.consumer import Consumer, FetchedBatch
from mk.consumer.merging import Head, Pending, second
from mk.errors import CorruptBatchError
from mk.records.codecs import CodecError
from mk.records.record import ConsumerRecord
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mk.consumer.consumer import Position, Source
    from mk.storage.backward_reader import StoredBatch
    from mk.storage.topic import Topic

_FETCH_BYTES = 64 << 10
"""So much of a partition is read at once, or one batch."""

_PIECE_BYTES = 64 << 10
_PIECE_RECORDS = 1 << 16
"""What is turned round at once, of lines and of columns."""

_SLICE_RECORDS = 4096
_TRIES = 3


class ReversedBatch(FetchedBatch):
    """A batch, cut to the offsets that were asked for, whose last record comes first."""

    is_whole = False  # What is stored is never what is printed.

    def __init__(self, source: Source, stored: StoredBatch, first_offset: int, next_offset: int) -> None:
        super().__init__(
            source.topic.name, source.reader.partition, stored.load(), first_offset, next_offset, source.reader
        )
        self.path = stored.path
        self.segment_fd = -1

    def limit(self, count: int) -> None:
        """Keep the last `count` records, which come first, if there are so many; at least one."""
        if self.batch.record_count == self.batch.last_offset_delta + 1:
            self.first_offset = max(self.first_offset, self.next_offset - count)
            return
        last = deque((record.offset for piece in super().record_slices() for record in piece), maxlen=count)
        if len(last) == count:
            self.first_offset = last[0]

    def record_slices(self) -> Iterator[list[ConsumerRecord]]:
        """Yield the records, the last one first."""
        if (block := super().lines()) is not None and self.batch.record_count:
            yield from self._slices_of_lines(bytes(block))
            return
        # Once for each piece: a batch may hold very many small records.
        stop = self.next_offset
        while stop > self.first_offset:
            start = max(self.first_offset, stop - _PIECE_RECORDS)
            records: list[ConsumerRecord] = []
            for piece in super().record_slices():
                records += (record for record in piece if start <= record.offset < stop)
            if records:
                records.reverse()
                yield records
            stop = start

    def _slices_of_lines(self, block: bytes) -> Iterator[list[ConsumerRecord]]:
        batch = self.batch
        if block.count(b"\n") != len(self) or block[-1:] != b"\n":
            raise self._corrupt(CodecError(f"the payload does not hold {batch.record_count} lines"))
        key, time, epoch = batch.key_of_lines(), batch.base_timestamp, batch.leader_epoch
        offset = self.next_offset
        for many in _lines_backward(block):
            for at in range(0, len(many), _SLICE_RECORDS):
                values = many[at : at + _SLICE_RECORDS]
                offset -= len(values)
                yield [
                    ConsumerRecord(self.topic, self.partition, offset + behind, time, key, value, (), epoch)
                    for behind, value in zip(range(len(values) - 1, -1, -1), values)
                ]

    def lines(self) -> bytes | None:
        """Return the values as newline-terminated lines, the last one first, or None if they are not stored as lines."""
        block = super().lines()
        if block is None:
            return None
        return b"".join([b"\n".join([*values, b""]) for values in _lines_backward(bytes(block))])

    def offset_at(self, number: int) -> int:
        """Return the offset of line `number` of `lines`, counted from 0."""
        return self.next_offset - 1 - number

    def positions_behind(self) -> Iterable[Position]:
        """Nobody goes on behind what was read backward."""
        return ()


def _lines_backward(block: bytes) -> Iterator[list[bytes]]:
    """Yield the lines of a block without their newlines, the last one first, many at a time."""
    stop = len(block)
    while stop > 0:
        start = block.rfind(b"\n", 0, max(0, stop - _PIECE_BYTES)) + 1
        values = block[start : stop - 1].split(b"\n")
        values.reverse()
        yield values
        stop = start


class ReversingConsumer(Consumer):
    """A Consumer of what there is, the newest first: of each partition in turn, or merged by the records' times.

    Merged, of the records that are last in each partition the newest goes first; of equal times, the one of the topic and
    partition that is named last. Where times increase in each partition, that is the order of merging turned round.
    """

    def __init__(self, topics: Sequence[Topic], *, merge: bool = False, **options: object) -> None:
        self._merge = merge
        super().__init__(topics, **options)  # type: ignore[arg-type]

    def fetches(self) -> Iterator[list[FetchedBatch]]:
        """Yield what one fetch brought, in turn or merged, its records backward."""
        backward = [_Backward(self, source) for source in self._sources]
        if self._merge:
            yield from self._merged(backward)
        while backward and not self._merge:
            for one in list(backward):
                if self._deadline is not None and self._is_late():
                    return
                fetch = one.fetch()
                if fetch:
                    yield fetch
                else:
                    backward.remove(one)

    def _merged(self, backward: list[_Backward]) -> Iterator[list[FetchedBatch]]:
        in_order = sorted(backward, key=lambda one: (one.source.topic.name, one.source.reader.partition))
        by_source = {one.source: (one, (-rank,)) for rank, one in enumerate(in_order)}
        heap = [head for one, place in by_source.values() if (head := self._head(one, place)) is not None]
        heapify(heap)
        pending = Pending()
        while heap and not self.has_timed_out:
            head = heap[0]
            behind = second(heap)
            pending.add(head, None if behind is None else behind.key)
            if pending.is_full:
                yield pending.pop()
            if head.step():
                heapreplace(heap, head)
                continue
            if pending:
                yield pending.pop()
            next_head = self._head(*by_source[head.source])
            if next_head is None:
                heappop(heap)
            else:
                heapreplace(heap, next_head)
        if pending:
            yield pending.pop()

    def _head(self, one: _Backward, place: tuple[int, ...]) -> Head | None:
        if self._deadline is not None and self._is_late():
            return None
        while fetch := one.fetch():
            head = Head(one.source, fetch, place, backward=True)
            if head.step():
                return head
        return None

    def say_gone(self, source: Source, first: int, last: int) -> None:
        self._note(
            f"{source.topic.name} {source.reader.partition}: offsets {first} to {last} are gone; nothing older is there"
        )


class _Backward:
    """One partition that is read backward: of its offsets from `_low` on, those below `_above` are left."""

    def __init__(self, consumer: ReversingConsumer, source: Source) -> None:
        self.source = source
        self._consumer = consumer
        reader = source.reader
        stop = reader.high_watermark if source.stop_offset is None else source.stop_offset
        self._low = max(reader.next_offset, source.first_offset)
        self._above = stop
        self._batches: Iterator[StoredBatch] | None = None
        if self._low < stop:
            reader.seek(stop)  # So that it is noticed if the log is cut below what was given out.

    def fetch(self) -> list[FetchedBatch]:
        """Return the next batches; [] at the start of the range.

        Raises:
            CorruptBatchError: what lies there is damaged, also if it is looked at again.
        """
        topic, reader = self.source.topic, self.source.reader
        with files.about(f"{topic.path}/{reader.partition}"):
            for attempt in range(_TRIES):
                above = self._above
                try:
                    return self._read()
                except CorruptBatchError:
                    # Compaction or a recovery may have replaced what was being looked at: look again with new eyes.
                    if attempt == _TRIES - 1:
                        raise
                    self._above = above
                    self._batches = None
                    reader.refresh()
        raise AssertionError("unreachable")

    def _read(self) -> list[FetchedBatch]:
        fetched: list[FetchedBatch] = []
        size_bytes = 0
        while self._above > self._low and size_bytes < _FETCH_BYTES:
            try:
                stored = self._next()
                if stored is None:
                    break
                if stored.header.record_count:
                    fetched.append(ReversedBatch(self.source, stored, self._low, self._above))
            except CorruptBatchError:
                if not fetched:
                    raise
                self._batches = None  # First what lies behind the damage: perhaps no more is asked for.
                break
            size_bytes += stored.header.size_bytes
            self._above = stored.header.base_offset
        return fetched

    def _next(self) -> StoredBatch | None:
        """Return the next batch of the range, None if there is none; say what was removed before it was read."""
        reader = self.source.reader
        if self._batches is None:
            self._batches = reader.batches_backward(self._above)
        stored = next(self._batches, None)
        if stored is None:
            reader.refresh()
            reader.check_topic()
            self._consumer.say_gone(self.source, self._low, self._above - 1)
        elif stored.header.next_offset > self._low:
            return stored
        self._above = self._low
        return None
