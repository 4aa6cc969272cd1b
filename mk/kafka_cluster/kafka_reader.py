"""Reading a partition of a Kafka cluster: the methods of a PartitionReader, over what a fetcher brings."""

from __future__ import annotations

from collections import deque

from mk.errors import DataError, OffsetOutOfRangeError
from mk.kafka_cluster.kafka_batch import EmptyBatch, FetchedStoredBatch, batches_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from mk.kafka_cluster.fetcher import Fetcher
    from mk.kafka_cluster.kafka_topic import KafkaTopic
    from mk.records.record_batch import RecordBatch
    from mk.storage.backward_reader import StoredBatch

_MESSAGE_BYTES = 256
"""What a message takes beside its value, about."""

_FIRST_STEP = 256
_LARGEST_STEP = 1 << 15
_STEP_BYTES = 4 << 20
"""How much is read at once on the way back, in offsets and about in bytes."""


class KafkaPartitionReader:
    """One partition, at `next_offset`. See PartitionReader.

    high_watermark: up to where can be read, as far as was told: with what came, and where an end was reached. Behind it lie open
    transactions. is_lost: what stands at wanted_offset has to be looked up. segment_fd: none, so that what is read is copied.
    """

    __slots__ = (
        "_arrived",
        "_back",
        "_end",
        "_fetcher",
        "_fields",
        "_topic",
        "high_watermark",
        "is_lost",
        "leader_epoch",
        "log_start_offset",
        "next_offset",
        "partition",
        "place",
        "segment_fd",
        "skipped",
        "waiting_bytes",
        "wanted_offset",
    )

    def __init__(self, topic: KafkaTopic, partition: int, fetcher: Fetcher) -> None:
        self._topic = topic
        self._fetcher = fetcher
        self._fields = fetcher.client.kafka.Message
        self._arrived: deque[tuple[list[Any], int]] = deque()
        self._end = -1  # Where a partition that was read to its end goes on: behind markers and what was compacted.
        self._back = -1  # From where on it comes for who reads backward, before that asks for it.
        self.partition = partition
        self.place = topic.name, partition
        self.segment_fd = -1
        self.skipped: list[tuple[int, int]] = []
        self.is_lost = False
        self.waiting_bytes = 0
        offsets = fetcher.offsets_of(self.place)
        self.log_start_offset, self.high_watermark = offsets.start, offsets.end
        self.leader_epoch = offsets.leader_epoch
        self.next_offset = self.wanted_offset = offsets.start  # The second one is that behind all that arrived.
        fetcher.add(self.place, self)

    def close(self) -> None:
        self._forget()
        self._fetcher.remove(self.place)

    # Where it stands.

    @property
    def is_ready(self) -> bool:
        """Whether a fetch has something to give, or to say, without waiting."""
        return bool(self._arrived) or self.is_lost

    @property
    def is_short(self) -> bool:
        """Whether it is known that there is more, which has not come as yet."""
        return not self._arrived and self.next_offset < self.high_watermark

    @property
    def may_begin(self) -> bool:
        """Whether more is wanted: nothing waits to be taken."""
        return not self._arrived and not self.is_lost

    def refresh(self) -> bool:
        """Take in what came. Returns whether there is now something to read at `next_offset`."""
        self._fetcher.take_in()
        return self.is_ready or self.next_offset < self.high_watermark

    def seek(self, offset: int) -> None:
        """Go to `offset`, which may be the end. Raises OffsetOutOfRangeError for one that was never written."""
        if not 0 <= offset <= self.high_watermark:
            raise OffsetOutOfRangeError(
                topic=self._topic.name,
                partition=self.partition,
                offset=offset,
                log_start_offset=self.log_start_offset,
                log_end_offset=self.high_watermark,
            )
        if offset == self.wanted_offset:
            self._forget()  # It comes next.
        elif offset != self.next_offset or self._back >= 0:
            self._reposition(offset)
        self.next_offset = offset

    def fetch(self) -> list[RecordBatch]:
        """Return the next batches; [] at the end. Waits for what is known to be there."""
        if self._back >= 0:
            self._reposition(self.next_offset)
        if not self._arrived:
            self._fetcher.take_in()
        while not self._arrived:
            if self.is_lost:
                self.find_again()
            if self.next_offset >= self.high_watermark:
                return []
            self._fetcher.await_ready([self])
        batches = batches_of(self._next_arrived(), self._fields)
        self.next_offset = batches[-1].next_offset
        self.leader_epoch = batches[-1].leader_epoch
        self._heed_end()
        return batches

    def take(self, messages: list[Any]) -> int:
        """Keep what came, in offset order, and return its size in bytes."""
        if messages[0].offset() < self.wanted_offset:
            # What was on its way from before a seek, or whole batches of the broker.
            messages = [message for message in messages if message.offset() >= self.wanted_offset]
            if not messages:
                return 0
        size_bytes = _size(messages)
        self._arrived.append((messages, size_bytes))
        self.wanted_offset = messages[-1].offset() + 1
        self.high_watermark = max(self.high_watermark, self.wanted_offset)
        self.waiting_bytes += size_bytes
        return size_bytes

    def take_end(self, offset: int) -> None:
        """Heed that there is nothing below `offset`, behind what arrived, and as yet nothing there."""
        # A new leader may know less for a moment than what was told at first.
        if offset >= self.high_watermark and offset >= self.wanted_offset:
            self._end = self.high_watermark = self.wanted_offset = offset
            if self._back < 0:
                self._heed_end()
            else:
                # All came that is wanted. A broker answers for all partitions at once: who waits at an end keeps up the others.
                self._fetcher.let_go(self.place)

    def find_again(self) -> None:
        """Look up where the partition begins and ends, and go on there; what was removed is noted in `skipped`.

        To be called when what arrived was taken.

        Raises DataError if the log was cut below what was read.
        """
        self.check_topic_now()
        offsets = self._fetcher.look_up([self.place])[self.place]
        self.log_start_offset = offsets.start
        if offsets.end < self.high_watermark:
            had, cut_to = self.high_watermark, min(self.next_offset, offsets.end)
            self._forget()
            self.next_offset = self.wanted_offset = cut_to
            self.high_watermark = offsets.end
            self.is_lost = False
            raise DataError(
                f"partition {self.partition} of {self._topic.name} was cut back to offset {offsets.end}",
                why=f"a replica that did not have more leads it since; records up to {had - 1} had been there",
                fix=f"read on with -o {cut_to}; --acks all and unclean.leader.election.enable=false prevent it",
                offset=offsets.end,
                next_offset=had,
            )
        self.high_watermark = offsets.end
        if self.wanted_offset < offsets.start:
            self.skipped.append((self.next_offset, offsets.start - 1))
            self.next_offset = self.wanted_offset = offsets.start
        self.is_lost = False

    def offset_for_time(self, timestamp_ms: int) -> int:
        """Return the first offset whose record's time is `timestamp_ms` or later; the high watermark if there is none."""
        offset = self._fetcher.offset_for_time(self.place, timestamp_ms)
        return self.high_watermark if offset < 0 else min(offset, self.high_watermark)

    def end_of_epoch(self, leader_epoch: int) -> int | None:
        """The cluster looks after that itself: librdkafka asks when a leader changes."""
        return None

    def batches_backward(self, end_offset: int) -> Iterator[StoredBatch]:
        """Yield what is stored below `end_offset`, the last first: steps of offsets, each read forward."""
        above, step = end_offset, _FIRST_STEP
        self._fetcher.look_back(step)
        while above > self.log_start_offset:
            low = max(self.log_start_offset, above - step)
            messages = self._range(low, above)
            if low < self.log_start_offset:
                return  # They were removed meanwhile.
            for batch in reversed(batches_of(messages, self._fields) if messages else []):
                yield FetchedStoredBatch(self.segment_path, batch)
            if (first := messages[0].offset() if messages else above) > low:
                yield FetchedStoredBatch(self.segment_path, EmptyBatch(low, first))
            above = low
            size_bytes = _size(messages)
            if 2 * size_bytes < _STEP_BYTES:
                step = min(_LARGEST_STEP, 4 * step)
            elif size_bytes > 4 * _STEP_BYTES:
                step = max(1, step // 4)

    @property
    def segment_path(self) -> str:
        return f"{self._topic.path}/{self.partition}"

    @property
    def watch_path(self) -> str:
        return ""  # All partitions are watched together.

    def check_topic(self) -> None:
        """Raise NoSuchTopicError if the topic was deleted while we read it."""
        self._topic.check_not_deleted()

    def check_topic_now(self) -> None:
        """Ask the cluster, and raise NoSuchTopicError if the topic is not there any more."""
        self._topic.check_identity()

    def look_back(self, step: int) -> bool:
        """Have the last records come, if nothing is known to be wanted as yet. Returns whether they will."""
        if self._back >= 0 or self._arrived or self.is_lost or self._fetcher.is_begun(self.place):
            return False
        self._back = self.wanted_offset = max(self.log_start_offset, self.high_watermark - step)
        return self._back < self.high_watermark

    def _range(self, low: int, high: int) -> list[Any]:
        """Return the messages from one offset up to another."""
        kept = self.next_offset
        if self._back != low:
            self._reposition(low)
        self._back = -1
        self.next_offset = low
        found: list[Any] = []
        try:
            while self.next_offset < high:
                self._fetcher.await_ready([self])
                if self.is_lost:
                    self.find_again()
                    self.skipped.clear()  # Who reads backward sees by itself what is gone.
                    continue
                if not self._arrived:
                    break
                messages = self._next_arrived()
                self.next_offset = messages[-1].offset() + 1
                self._heed_end()
                found += messages if self.next_offset <= high else [one for one in messages if one.offset() < high]
        finally:
            self._reposition(kept)
            self.next_offset = kept
        return found

    def _reposition(self, offset: int) -> None:
        """Have what comes next begin at an offset."""
        self._fetcher.let_go(self.place)
        self._forget()
        self.wanted_offset = offset

    def _next_arrived(self) -> list[Any]:
        messages, size_bytes = self._arrived.popleft()
        self.waiting_bytes -= size_bytes
        self._fetcher.waiting_bytes -= size_bytes
        return messages

    def _heed_end(self) -> None:
        if not self._arrived and self._end > self.next_offset:
            self.next_offset = self._end

    def _forget(self) -> None:
        self._arrived.clear()
        self._fetcher.waiting_bytes -= self.waiting_bytes
        self.waiting_bytes = 0
        self._end = self._back = -1


def _size(messages: list[Any]) -> int:
    return sum(map(len, messages)) + _MESSAGE_BYTES * len(messages)
