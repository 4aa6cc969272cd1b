"""Producers to the topics that the input names, opened as they come up."""

from __future__ import annotations

from mk.config import TOPIC_CONFIG
from mk.errors import MkError
from mk.storage.host import allow_open_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mk.producer.producer import Producer
    from mk.records.record import Header

MOST_OPEN = 64
"""Topics that are kept open: each has some open files, and a buffer."""


_MANY_TOPICS = 16
_FILES_A_TOPIC = 8


class CannotOpenError(Exception):
    """There is no producer to a topic. error: why. What was buffered before is not affected."""

    def __init__(self, error: MkError) -> None:
        super().__init__(error.what)
        self.error = error


class TopicProducers:
    """A producer for each topic, at most MOST_OPEN of them at a time: for one more, the one unused longest is flushed and closed.

    All count the same input: with a producer id, the number of a record is its place in all of the input, whatever topics
    the others went to. So each topic has what is numbered in the same way each time.
    """

    def __init__(self, open_producer: Callable[[str], Producer]) -> None:
        """open_producer: opens, and where it may makes, the topic of a name."""
        self._open_producer = open_producer
        self._producers: dict[str, Producer] = {}
        self._closed_records = [0, 0]
        self._next_sequence = 0
        self._may_compact = True
        self.max_message_bytes = int(TOPIC_CONFIG["max.message.bytes"].default)
        self.flush_ms = int(TOPIC_CONFIG["flush.ms"].default)

    @property
    def records_stored(self) -> int:
        return self._closed_records[0] + sum(one.records_stored for one in self._producers.values())

    @property
    def records_stored_before(self) -> int:
        return self._closed_records[1] + sum(one.records_stored_before for one in self._producers.values())

    def producer(self, topic: str) -> Producer:
        """Return the producer to a topic. Raises CannotOpenError, and what appending to another topic raises."""
        producer = self._producers.pop(topic, None)
        if producer is None:
            if len(self._producers) >= MOST_OPEN:
                self._close_oldest()
            if len(self._producers) == _MANY_TOPICS:
                allow_open_files(_FILES_A_TOPIC * MOST_OPEN)
            try:
                producer = self._open_producer(topic)
            except MkError as error:
                raise CannotOpenError(error) from error
            if not self._may_compact:
                producer.stop_compacting()
            self.max_message_bytes = max(self.max_message_bytes, producer.max_message_bytes)
            self.flush_ms = min(self.flush_ms, producer.flush_ms)
        self._producers[topic] = producer  # Behind all others: it was used last.
        return producer

    def send_records(
        self,
        topics: Sequence[str],
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[tuple[Header, ...]],
        timestamps: Sequence[int | None],
        partitions: Sequence[int | None] | None,
    ) -> None:
        """Buffer records of at most MOST_OPEN topics: all of them, or none. Raises CannotOpenError, and what
        Producer.send_records does."""
        chosen_of: dict[str, list[int]] = {}
        for at, topic in enumerate(topics):
            chosen_of.setdefault(topic, []).append(at)
        first = self._next_sequence
        parts = []
        for topic, chosen in chosen_of.items():
            columns = (
                [values[at] for at in chosen],
                [keys[at] for at in chosen],
                [headers[at] for at in chosen],
                [timestamps[at] for at in chosen],
                None if partitions is None else [partitions[at] for at in chosen],
            )
            producer = self.producer(topic)
            producer.check_records(*columns)
            parts.append((producer, columns, [first + at for at in chosen]))
        for producer, columns, sequences in parts:
            producer.send_records(*columns, sequences)
        self._next_sequence = first + len(topics)

    def skip_sequences(self, count: int) -> None:
        """Count records of the input that are not sent, so that those behind them keep their numbers."""
        self._next_sequence += count

    def flush(self) -> None:
        """Append all that is buffered, in every topic; where one cannot be appended to, in all others."""
        failures = []
        for producer in self._producers.values():
            try:
                producer.flush()
            except (MkError, OSError) as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def flush_later(self) -> None:
        """Do the same, not waiting for what has a long way, see Producer.flush_later."""
        for producer in self._producers.values():
            producer.flush_later()

    def stop_compacting(self) -> None:
        """See Producer.stop_compacting."""
        self._may_compact = False
        left: KeyboardInterrupt | None = None
        for producer in list(self._producers.values()):
            try:
                producer.stop_compacting()
            except KeyboardInterrupt as stop:
                left = stop  # Of the one that is at it, once all are told.
        if left is not None:
            raise left

    def stop_soon(self) -> None:
        """See Producer.stop_soon."""
        self.stop_compacting()
        for producer in list(self._producers.values()):
            producer.stop_soon()

    def close(self) -> None:
        """Let go of the topics. What was not flushed is dropped."""
        for producer in self._producers.values():
            producer.close()

    def _close_oldest(self) -> None:
        topic = next(iter(self._producers))
        producer = self._producers[topic]
        producer.flush()
        del self._producers[topic]
        self._closed_records[0] += producer.records_stored
        self._closed_records[1] += producer.records_stored_before
        producer.close()
