"""Where to begin, so that the last N records of several partitions together are read.

Partitions are compared from their ends: of their last records the newest is taken, then the next, until there are N. What
is taken of a partition is so its last k records, and where times increase within each partition, all of it is the N newest.
Records are counted, not offsets, of which a compacted batch has more.

Batches of lines are counted by their headers. Of the others, the times of one batch a partition are held at once, and only
if the count reaches into it; equal ones count as one. So memory does not grow with N.
"""

from __future__ import annotations

from array import array
from heapq import heapify, heappop, heapreplace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.storage.backward_reader import StoredBatch
    from mk.storage.partition_reader import PartitionReader


def tail_offsets(ranges: Sequence[tuple[PartitionReader, int, int]], count: int) -> list[int]:
    """Return the offset in each range from which on its part of the last `count` records stands.

    ranges: a reader, the first offset, and the one behind the last. A range of which nothing is taken begins at its end.
    """
    ends = [_End(reader, low, high) for reader, low, high in ranges]
    if not count:
        return [end.offset for end in ends]
    # Newest first; of equal times, the partition that is named later counts as newer.
    heap = [(-end.newest, -number, end) for number, end in enumerate(ends) if end.step_back()]
    heapify(heap)
    while heap:
        _, number, end = heap[0]
        rest = -heap[1][0] if len(heap) > 1 else None
        if len(heap) > 2:
            rest = max(-heap[1][0], -heap[2][0])
        count -= end.take(count, rest)
        if not count:
            break  # Before another batch is looked at: it may be damaged, and nobody asked for it.
        if end.step_back():
            heapreplace(heap, (-end.newest, number, end))
        else:
            heappop(heap)
    return [end.offset for end in ends]


class _End:
    """What is left of one range, seen from its end.

    offset: where what was taken begins. newest: the time of the last record that is left, or, as long as its batch was
    not decoded, of the newest in the batch. What was looked at but not taken are runs of records with one time and
    consecutive offsets: a batch has one or few, unless somebody gave every record a time of its own.
    """

    __slots__ = ("_batches", "_counts", "_low", "_starts", "_times", "_undecoded", "newest", "offset")

    def __init__(self, reader: PartitionReader, low: int, high: int) -> None:
        self._low = low
        self.offset = max(low, high)
        self._batches = reader.batches_backward(high) if low < high else iter(())
        self._starts = array("q")
        self._counts = array("q")
        self._times = array("q")
        self._undecoded: StoredBatch | None = None
        self.newest = 0

    def step_back(self) -> bool:
        """Make sure that a record, or a batch to be decoded, is in view. False at the start of the range."""
        while not (self._times or self._undecoded):
            batch = next(self._batches, None)
            if batch is None or batch.header.next_offset <= self._low:
                return False
            header = batch.header
            if header.record_count == 0:
                continue
            self.newest = header.max_timestamp
            if header.has_one_time:
                first = max(header.base_offset, self._low)
                self._push(first, min(header.next_offset, self.offset) - first, self.newest)
            else:
                self._undecoded = batch
        if self._times:
            self.newest = self._times[-1]
        return True

    def take(self, count: int, rest: int | None) -> int:
        """Take up to `count` records, after the first run those newer than `rest`, the newest of the others; return how many.

        0 if the batch had to be decoded first.
        """
        if self._undecoded is not None:
            for offset, time in self._undecoded.offsets_and_times():
                if self._low <= offset < self.offset:
                    self._push(offset, 1, time)
            self._undecoded = None
            return 0
        taken = 0
        while self._times and taken < count and (taken == 0 or rest is None or self._times[-1] > rest):
            of_run = min(count - taken, self._counts[-1])
            self._counts[-1] -= of_run
            self.offset = self._starts[-1] + self._counts[-1]
            taken += of_run
            if not self._counts[-1]:
                self._starts.pop()
                self._counts.pop()
                self._times.pop()
        return taken

    def _push(self, first_offset: int, count: int, time: int) -> None:
        if self._times and self._times[-1] == time and self._starts[-1] + self._counts[-1] == first_offset:
            self._counts[-1] += count
        else:
            self._starts.append(first_offset)
            self._counts.append(count)
            self._times.append(time)
