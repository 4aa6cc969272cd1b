"""Reading partitions of Kafka from one offset to another: committed records only, one partition after the other.

For copies, which want all of a range as fast as it comes, and whose ends are known before.
"""

from __future__ import annotations

import gc
from time import monotonic

from mk.errors import DivergedLogError, OffsetOutOfRangeError, TryAgainError
from mk.kafka_cluster.client import SLICE_SECONDS
from mk.kafka_cluster.kafka_errors import is_unreachable
from mk.kafka_cluster.partition_offsets import log_ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from mk.errors import MkError
    from mk.kafka_cluster.client import Client

    Places = Mapping[tuple[str, int], int]

_MOST_MESSAGES = 5000
"""Of one go: more do not come any faster, and less of them is in the processor's cache."""


class PartitionScan:
    """A consumer for ranges of partitions. Made when it is first needed; open until `close`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._made: Any = None

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    @property
    def _consumer(self) -> Any:
        if self._made is None:
            self._made = self._client.new_consumer(
                group_id="mk-replicate",  # Wanted by the library, and never used.
                enable_auto_commit=False,
                enable_auto_offset_store=False,
                auto_offset_reset="error",
                isolation_level="read_committed",
                enable_partition_eof=True,
                check_crcs=True,
                fetch_wait_max_ms=100,
                fetch_queue_backoff_ms=10,
                # Counted with what stands around a message; by default the queue runs empty all the time.
                queued_min_messages=300_000,
                queued_max_messages_kbytes=65_536,
                fetch_max_bytes=33_554_432,
                max_partition_fetch_bytes=10_485_760,
                fetch_error_backoff_ms=50,
            )
        return self._made

    def read(
        self, topic: str, partition: int, from_offset: int, to_offset: int, epoch: int = -1
    ) -> Iterator[list[Any]]:
        """Yield the library's messages of a partition from one offset up to another, some thousands at a time.

        to_offset: at most the last stable one; where less is shown, it is waited for. epoch: Kafka's leader epoch that the reader knows the log by; what of the log
        another leader has cut off since is an error then.

        Raises OffsetOutOfRangeError: some are there no longer, or others are in their place; TryAgainError: the end has gone
        back; PeerUnreachableError.
        """
        consumer, kafka = self._consumer, self._client.kafka
        what = f"partition {partition} of {topic} cannot be read"
        start = kafka.TopicPartition(topic, partition, from_offset)
        if epoch >= 0 and from_offset:
            start = kafka.TopicPartition(topic, partition, from_offset, leader_epoch=epoch)
        consumer.assign([start])
        # A million messages, and not one cycle among them: looking for some takes a fifth of the time.
        was_collecting = gc.isenabled()
        gc.disable()
        try:
            next_offset, alive = from_offset, monotonic()
            while next_offset < to_offset:
                first = consumer.poll(SLICE_SECONDS)
                if first is None:
                    self._client.raise_if_denied(what, topic=topic)
                    if monotonic() - alive > self._client.timeout_seconds:
                        raise self._short(what, topic, partition, next_offset, to_offset)
                    continue
                messages = [first, *consumer.consume(_MOST_MESSAGES, 0)]
                alive = monotonic()
                at_end = False
                errors = [error for error in map(kafka.Message.error, messages) if error is not None]
                if errors:
                    # In the midst, it is an end that was none any more when the next ones came, or what mends itself.
                    is_last = messages[-1].error() is not None
                    ends = [self._is_end(error, what, topic, partition, next_offset) for error in errors]
                    # A new leader may know less of what is committed for a moment than the one that told to_offset. What it
                    # does not show yet is no hole: taken for one, those records would be left out of the copy for ever.
                    at_end = is_last and ends[-1] and messages[-1].offset() >= to_offset
                    messages = [message for message in messages if message.error() is None]
                if messages:
                    self._client.heed_nothing()
                    next_offset = messages[-1].offset() + 1
                    if next_offset > to_offset:
                        messages = [message for message in messages if message.offset() < to_offset]
                    yield messages
                if at_end:
                    return
        finally:
            if was_collecting:
                gc.enable()
            consumer.unassign()

    def holds_records(self, starts: Places) -> list[tuple[str, int, int]]:
        """Return of these topics and partitions those that have a committed record at or behind an offset, and which."""
        found, left = [], dict(starts)
        kafka, consumer = self._client.kafka, self._consumer
        consumer.assign([kafka.TopicPartition(*key, offset) for key, offset in starts.items()])
        try:
            alive = monotonic()
            while left:
                message = consumer.poll(SLICE_SECONDS)
                if message is None:
                    if monotonic() - alive > self._client.timeout_seconds:
                        raise self._client.no_answer("it cannot be seen whether topics are empty")
                    continue
                alive = monotonic()
                key = message.topic(), message.partition()
                error = message.error()
                if error is None:
                    if left.pop(key, None) is not None:
                        found.append((*key, message.offset()))
                elif self._is_end(error, f"partition {key[1]} of {key[0]} cannot be read", *key, left.get(key, 0)):
                    left.pop(key, None)
        finally:
            consumer.unassign()
        return found

    def _short(self, what: str, topic: str, partition: int, next_offset: int, to_offset: int) -> MkError:
        """Return why nothing more comes though there is more, as was told."""
        _, end, _ = log_ends(self._client, [(topic, partition)])[topic, partition]
        if end >= to_offset:
            return self._client.no_answer(what, topic=topic)
        return TryAgainError(
            what,
            why=f"it ends at offset {end} now, and {to_offset} was told before: its leader has changed, or it was made anew",
            fix=f"run it again; up to offset {next_offset} it was read",
            topic=topic,
            partition=partition,
        )

    def _is_end(self, error: Any, what: str, topic: str, partition: int, offset: int) -> bool:
        name = error.name()
        if name == "_PARTITION_EOF":
            return True
        if name == "_LOG_TRUNCATION":
            raise DivergedLogError(
                "is no copy in DST of what SRC has",
                topic=topic,
                partition=partition,
                why=f"a new leader in Kafka has cut off records below offset {offset}, and has others in their place",
                fix="`mk topics delete` the topic in DST and run it again; nothing of it was changed",
            )
        if name in ("OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET"):
            start, end, _ = log_ends(self._client, [(topic, partition)])[topic, partition]
            raise OffsetOutOfRangeError(
                topic=topic,
                partition=partition,
                offset=offset,
                log_start_offset=start,
                log_end_offset=end,
                fix="it was removed while it was to be read; run the same command again",
            )
        if not (is_unreachable(error) or error.retriable()):
            raise self._client.error(error, what, topic=topic)
        return False
