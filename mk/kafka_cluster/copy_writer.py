"""Writing what a directory holds into a topic of Kafka: records and the position of the copy in one transaction.

A transaction that was begun and not committed leaves nothing that a reader sees, so whoever is killed has either copied some
batches and their position, or neither. The transactional id is the topic's: another run that begins fences this one, and
finds what it had committed, however it ended.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from operator import length_hint
from time import monotonic

from mk.clock import now_ms
from mk.errors import DataError, MkError, RecordTooLargeError, TryAgainError
from mk.kafka_cluster.client import SLICE_SECONDS
from mk.kafka_cluster.copy_position import CopyPosition, decode_position, with_place
from mk.kafka_cluster.kafka_errors import is_unreachable
from mk.kafka_cluster.message_headers import HeaderNameError, headers_to_send
from mk.kafka_cluster.signal_shelter import sheltered
from mk.records.record_batch import HEADER_SIZE, parse_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from mk.kafka_cluster.client import Client
    from mk.records.record_batch import RecordBatch
    from mk.records.record_slice import RecordSlice
    from mk.replication.replica import CopiedBatches

_TRANSACTION_BYTES = 64 << 20
_TRANSACTION_SECONDS = 5.0
"""So much is in one transaction at most: what a kill costs, and for how long readers of Kafka wait for the first of it."""

_POLL_RECORDS = 1000
"""So many are handed over between two looks at what became of those before them."""

_TRANSACTION_TIMEOUT_MS = 300_000
"""After so long the coordinator aborts a transaction that nobody ends; at most transaction.max.timeout.ms of the brokers."""


FRAMING_BYTES = 4096
"""What a record takes in a batch of Kafka besides key, value and headers, at most."""


def position_group(topic: str) -> str:
    """Return the group, and transactional id, under which the positions of the copy in a topic of Kafka are committed."""
    return f"mk-replicate-{topic}"


class CopyProducer:
    """The transactional producer for one topic of Kafka. Fences all others for it; open until `close`.

    max_bytes: the topic's max.message.bytes. is_lost: it can write nothing any more, as when it was fenced; another one may.
    """

    def __init__(self, client: Client, topic: str, *, max_bytes: int) -> None:
        self._client = client
        self.topic = topic
        self.group = position_group(topic)
        self.max_bytes = max_bytes
        self.is_open = self.is_lost = False
        self._kafka = client.kafka
        self.producer: Any = client.new_producer(
            transactional_id=self.group,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            message_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            linger_ms=20,
            # One record alone may have as many; a batch of more than one is smaller by itself.
            message_max_bytes=max(1000, min(max_bytes, 1_000_000_000)),
            batch_size=max(1, min(1_000_000, max_bytes - 200)),
            batch_num_messages=10_000,
            queue_buffering_max_messages=200_000,
            queue_buffering_max_kbytes=65_536,
            retry_backoff_ms=20,
            # That it is fenced, it would write to stderr.
            logger=_silent_logger(),
        )
        self._positions_consumer = client.new_consumer(
            group_id=self.group, enable_auto_commit=False, isolation_level="read_committed"
        )
        client.hurry(self.producer, topic)
        try:
            self._call(self.producer.init_transactions, f"no transaction can be had for topic {topic}")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End, and leave nothing half done: what is not committed is aborted."""
        if self.is_open:
            self.abort()
        self._positions_consumer.close()
        producers, self.producer = [self.producer], None
        sheltered(producers.clear)

    def position(self, partition: int, copy_id: str) -> CopyPosition | None:
        """Return how far a partition is copied: exactly so, since nobody else writes now. None if nothing is."""
        consumer = self._positions_consumer
        what = f"the position of the copy in topic {self.topic} cannot be read"
        (found,) = self._client.call(
            consumer.committed, what, [self._kafka.TopicPartition(self.topic, partition)], topic=self.topic
        )
        if found.error is not None:
            raise self._client.error(found.error, what, topic=self.topic)
        return usable_position(found.offset, found.metadata, copy_id)

    def begin(self) -> None:
        if not self.is_open:
            self._guarded(self.producer.begin_transaction)
            self.is_open = True

    def send(self, partition: int, columns: Sequence[Sequence[Any]], on_last: Callable[[Any, Any], None]) -> None:
        """Hand over some records: columns of values, keys and times, and of headers if there are any.

        on_last: told of what became of the last of them.
        """
        count, begin = len(columns[0]), 0
        reports = [*repeat(None, count - 1), on_last]
        while begin < count:
            some = slice(begin, begin + _POLL_RECORDS)
            values, keys, *others = (column[some] for column in columns)
            left = iter(values)
            rows = [repeat(self.topic), left, keys, repeat(partition), reports[some], repeat(None), *others]
            try:
                # Called from C, and by place, this takes half the time of a loop.
                deque(map(self.producer.produce, *rows), maxlen=0)
                begin += len(values)
            except BufferError:
                begin += len(values) - length_hint(left) - 1  # The one that found no room was taken out as well.
                self._wait_for_room()
            except self._kafka.KafkaException as failure:
                raise self.error(failure.args[0], f"the records for topic {self.topic} cannot be stored") from None
            self.poll(0)

    def _wait_for_room(self) -> None:
        alive, left = monotonic(), len(self.producer)
        while len(self.producer) >= left:
            self.poll(SLICE_SECONDS)
            self.check_alive(alive)

    def wait_for_all(self) -> None:
        """Wait until all that was produced is at the broker, or has failed. Raises PeerUnreachableError."""
        left, alive = len(self.producer), monotonic()
        while left:
            now_left = self.flush(SLICE_SECONDS)
            if now_left < left:
                alive = monotonic()
                self._client.heed_nothing()
            left = now_left
            self.check_alive(alive)

    def flush(self, seconds: float) -> int:
        """Send for some time, and return how many records are left. Raises TryAgainError for one that is fenced."""
        try:
            return int(self.producer.flush(seconds))
        except self._kafka.KafkaException as failure:
            raise self.error(failure.args[0], f"the records for topic {self.topic} cannot be stored") from None

    def poll(self, seconds: float) -> None:
        """Hear what became of records. Raises what flush raises."""
        try:
            self.producer.poll(seconds)
        except self._kafka.KafkaException as failure:
            raise self.error(failure.args[0], f"the records for topic {self.topic} cannot be stored") from None

    def check_alive(self, since: float) -> None:
        what = f"the records for topic {self.topic} cannot be stored"
        self._client.raise_if_denied(what, topic=self.topic)
        if monotonic() - since > self._client.timeout_seconds:
            raise self._client.no_answer(what, topic=self.topic)

    def commit(self, positions: Sequence[tuple[int, CopyPosition]]) -> None:
        """Commit what was produced together with the positions of partitions; all of it is stored when it returns."""
        places = [
            self._kafka.TopicPartition(self.topic, partition, position.offset, position.encode())
            for partition, position in positions
        ]
        what = f"the records for topic {self.topic} cannot be committed"
        metadata = self._positions_consumer.consumer_group_metadata()
        self._call(lambda timeout: self.producer.send_offsets_to_transaction(places, metadata, timeout), what)
        self._call(self.producer.commit_transaction, what)
        self.is_open = False

    def renew(self, partitions: Sequence[int], copy_id: str, age_ms: int) -> dict[int, CopyPosition]:
        """Commit once more what was committed so long ago, and return how far these partitions are copied.

        Nobody else writes now, and what is read is committed as it is: a copy stays just where it was.
        """
        found = {partition: self.position(partition, copy_id) for partition in partitions}
        positions = {partition: position for partition, position in found.items() if position is not None}
        old = [
            (partition, position) for partition, position in positions.items() if position.is_older(age_ms, now_ms())
        ]
        if old:
            for _, position in old:
                position.committed_ms = now_ms()
            try:
                self.begin()
                self.commit(old)
            finally:
                if self.is_open:
                    self.abort()
        return positions

    def abort(self) -> None:
        """Have nothing of what was produced since `begin` be seen. What cannot be said to the broker, it finds out itself."""
        self.is_open = False
        try:
            self._call(self.producer.abort_transaction, "")
        except MkError:
            pass  # Without an end, the next run or the coordinator aborts it.

    def _call(self, function: Callable[[float], object], what: str) -> None:
        """Call what takes a timeout, again as long as that is what it is for. Not longer than a request may take."""
        end = monotonic() + self._client.timeout_seconds
        while True:
            try:
                function(max(0.001, min(1.0, end - monotonic())))
                return
            except self._kafka.KafkaException as failure:
                error = failure.args[0]
                self._client.raise_if_denied(what, topic=self.topic)
                if not (error.retriable() or is_unreachable(error)) or error.fatal() or monotonic() >= end:
                    self.is_lost = True  # What became of its transaction, only the next one finds out.
                    raise self.error(error, what) from None

    def _guarded(self, function: Callable[[], object]) -> None:
        try:
            function()
        except self._kafka.KafkaException as failure:
            raise self.error(failure.args[0], f"no transaction can be begun for topic {self.topic}") from None

    def error(self, error: Any, what: str) -> MkError:
        """Return the error of mk. Of one that is fatal, the library tells the reason beside."""
        if error.name() == "_FATAL":
            self.is_lost = True
            try:
                self.producer.poll(SLICE_SECONDS)
            except self._kafka.KafkaException as failure:
                error = failure.args[0]
            if error.name() == "_FATAL":
                error = self._client.told() or error
        if error.name() in ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"):
            self.is_lost = True
            return TryAgainError(
                f"another run of `mk replicate` writes to topic {self.topic} of DST now",
                why="it has begun after this one, and goes on where this one has come to",
                fix="wait for it; what this one has not committed is not stored",
                topic=self.topic,
            )
        return self._client.error(error, what, topic=self.topic)


def _silent_logger() -> Any:
    import logging

    logger = logging.Logger("mk")
    logger.addHandler(logging.NullHandler())
    return logger


def usable_position(offset: int, metadata: str | None, copy_id: str) -> CopyPosition | None:
    """Return the position that was committed, None if there is none, or none for the topic that is there now."""
    if offset < 0:
        return None
    position = decode_position(offset, metadata)
    return None if position.copy_id not in ("", copy_id) else position


class CopyWriter:
    """One partition of a topic of Kafka that takes batches of a directory's. See mk.replication.replica.PartitionWriter.

    next_offset: of the directory, where the next batch has to begin.
    """

    def __init__(
        self,
        producer: CopyProducer,
        partition: int,
        position: CopyPosition,
        start_offset: int,
        *,
        first_offset: int,
    ) -> None:
        """Begin at start_offset, between two batches of the directory. first_offset: of the first record that is to be had.

        Of what is read in front of it, nothing is copied: it is there already, or removed from the directory.
        """
        self._first_offset = max(position.offset, first_offset)
        self.next_offset = start_offset
        self._producer = producer
        self._partition = partition
        self._position = position
        self._committed = position.offset
        self._chain, self._epoch = position.chain, position.epoch
        self._unsent_bytes = 0
        self._began = 0.0
        self._last_offset = -1
        self._failure: Any = None
        self._has_committed = False
        self._is_broken = False

    @property
    def committed(self) -> bool:
        """Tell whether this writer has committed anything."""
        return self._has_committed

    @property
    def position(self) -> CopyPosition:
        """Where the copy is, as committed."""
        return self._position

    def append(self, batches: CopiedBatches) -> None:
        """Produce all records of some batches, each batch proved before. Commits now and then."""
        view, at = memoryview(batches.data), 0
        try:
            while at < len(view):
                batch = parse_header(view, at)
                payload = None if batch is None else view[at + HEADER_SIZE : at + batch.size_bytes]
                if batch is None or payload is None or not batch.check_payload(payload):
                    raise DataError(
                        f"partition {self._partition} of {self._producer.topic} is damaged in SRC at offset {self.next_offset}",
                        fix="`mk topics verify` there shows where; what stands before it is copied",
                    )
                at += batch.size_bytes
                self._append_batch(batch)
                self.next_offset = batch.next_offset
                self._chain, self._epoch = batch.chain, batch.leader_epoch
                self._unsent_bytes += batch.size_bytes
        except BaseException:
            self._settle_failure()
            raise
        if self._unsent_bytes >= _TRANSACTION_BYTES or (
            self._unsent_bytes and monotonic() - self._began > _TRANSACTION_SECONDS
        ):
            self.sync()

    def _append_batch(self, batch: RecordBatch) -> None:
        """Produce the records of one batch, all of them or, if one cannot be had in Kafka, none."""
        pieces = list(batch.record_slices(self._producer.topic, self._partition))
        if batch.base_offset < self._first_offset:
            pieces = [_from_offset(piece, self._first_offset) for piece in pieces]
        columns = [self._columns_of(piece, batch.raw_length) for piece in pieces if len(piece)]
        if not columns:
            return
        producer = self._producer
        if not producer.is_open:
            producer.begin()
            self._began = monotonic()
        # From here on it is half done until the last one is taken.
        self._is_broken = True
        for some in columns:
            producer.send(self._partition, some, self._was_delivered)
        self._is_broken = False

    def _columns_of(self, piece: RecordSlice, raw_length: int) -> list[Sequence[Any]]:
        """Return values, keys, times and, if there are any, headers as the library takes them. Raises DataError for what it cannot."""
        times, limit = piece.timestamps, self._producer.max_bytes
        if 0 in times:
            raise self._refused(
                piece, list(times).index(0), "its time is 1970-01-01 00:00:00, which librdkafka takes for none"
            )
        if raw_length > limit:
            for at, (value, key) in enumerate(zip(piece.values, piece.keys)):
                if (size := len(value or b"") + len(key or b"")) > limit:
                    raise RecordTooLargeError(
                        size_bytes=size, max_bytes=limit, place=f"the record at offset {piece.offsets[at]} of SRC"
                    )
        columns: list[Sequence[Any]] = [piece.values, piece.keys, times]
        if any(piece.headers):
            headers: list[Any] = [None] * len(times)
            for at, pairs in enumerate(piece.headers):
                if pairs:
                    try:
                        headers[at] = headers_to_send(pairs)
                    except HeaderNameError as failure:
                        why = f"the name of a header is no UTF-8 text, or has a NUL byte in it: {failure.why}"
                        raise self._refused(piece, at, why) from None
            columns.append(headers)
        return columns

    def _refused(self, piece: RecordSlice, at: int, why: str) -> DataError:
        return DataError(
            f"the record at offset {piece.offsets[at]} of partition {self._partition} of {self._producer.topic} cannot be in Kafka",
            why=why,
            fix="what stands before its batch is copied; nothing of it is changed or left out",
            topic=self._producer.topic,
            partition=self._partition,
            offset=piece.offsets[at],
        )

    def _was_delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failure = self._failure or error
        else:
            self._last_offset = max(self._last_offset, message.offset())

    def _settle_failure(self) -> None:
        """Commit what is whole, if it is; what is half done must never be."""
        if self._is_broken:
            self._producer.abort()
            self.next_offset = self._committed
            self._unsent_bytes = 0
            return
        try:
            self.sync()
        except MkError:
            pass  # What went wrong first is what is told.

    def sync(self) -> int:
        """Commit all that was taken, with where it ends, and return that."""
        if self._is_broken:
            raise TryAgainError(
                f"the last records for topic {self._producer.topic} were not stored",
                fix="run it again: it goes on from there",
            )
        if self.next_offset <= self._committed:
            return self.next_offset
        producer = self._producer
        self._is_broken = True
        try:
            producer.begin()
            producer.wait_for_all()
            if self._failure is not None:
                raise producer.error(self._failure, f"the records for topic {producer.topic} cannot be stored")
            old = self._position
            places = old.places
            if self._last_offset >= 0:
                places = with_place(places, (self.next_offset, self._last_offset + 1))
            elif places:
                places = with_place(places, (self.next_offset, places[-1][1]))
            new = CopyPosition(
                self.next_offset,
                old.topic_id,
                old.copy_id,
                chain=self._chain,
                epoch=self._epoch,
                leader_id=old.leader_id,
                places=places,
                committed_ms=now_ms(),
            )
            producer.commit([(self._partition, new)])
        except BaseException:
            if producer.is_open:
                producer.abort()
            raise
        self._is_broken = False
        self._has_committed = True
        self._position = new
        self._committed = self.next_offset
        self._unsent_bytes = 0
        self._last_offset = -1
        return self.next_offset

    def advance_log_start(self, offset: int) -> None:
        """Leave that to Kafka, which removes what is old by its own settings."""

    def close(self) -> None:
        """Let go. What was taken and not synced is not stored."""
        if self._producer.is_open:
            self._producer.abort()


def _from_offset(piece: RecordSlice, offset: int) -> RecordSlice:
    """Return the records of a piece at or behind an offset."""
    from bisect import bisect_left

    found: RecordSlice = piece[bisect_left(piece.offsets, offset) :]
    return found
