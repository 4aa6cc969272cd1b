"""Handing records to librdkafka, and learning what became of them: the one place that has a producer of it.

librdkafka gathers, compresses, sends and sends again on its own thread. How much it holds is counted here, not there: where its
queue is full, the first records of a list may be refused and those behind them taken, in an order that nobody wants.
"""

from __future__ import annotations

from array import array
from collections import deque
from contextlib import suppress
from itertools import repeat
from operator import length_hint
from time import monotonic

from mk.config import COMPACT
from mk.errors import DataError, KeyRequiredError, MkError, NoSuchTopicError, RecordTooLargeError, TryAgainError
from mk.kafka_cluster.client import SLICE_SECONDS
from mk.kafka_cluster.kafka_errors import is_denied
from mk.kafka_cluster.message_headers import HeaderNameError, headers_to_send
from mk.kafka_cluster.signal_shelter import sheltered
from mk.kafka_cluster.topic_config import read_topic_config
from mk.storage.partition_log import AppendResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from confluent_kafka import KafkaError

    from mk.kafka_cluster.client import Client
    from mk.kafka_cluster.record_piece import RecordPiece

ALL = "all"
ACKS = (0, 1, ALL)

BATCH_OVERHEAD_BYTES = 96
"""What max.message.bytes counts at a broker beside key, value and headers of a record: the header of its batch, and lengths."""

_MOST_BYTES = 24 << 20
_MESSAGE_BYTES = 200
"""What a record takes in librdkafka, and its report on the way back, beside its bytes."""
_MOST_BATCH_BYTES = 1_000_000
"""librdkafka's own limit of a batch. A broker refuses a batch of small records too, where max.message.bytes is less."""
_STOP_SECONDS = 5.0
"""How long somebody who wants to stop waits for what is on its way."""
_LOOK_SECONDS = 2.0
_HURRIES = 5
"""So often at most, a tenth of a second or two each, a producer id is hurried for: brokers may be far away, or there are none."""

_NOT_SENT = frozenset(
    ["MSG_SIZE_TOO_LARGE", "_MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD", "INVALID_TIMESTAMP"]
)
"""Refusals after which the rest of what librdkafka holds is as sound as before."""
_UNSURE = frozenset(
    [
        "_MSG_TIMED_OUT",
        "_TIMED_OUT",
        "_TRANSPORT",
        "_PURGE_QUEUE",
        "_PURGE_INFLIGHT",
        "REQUEST_TIMED_OUT",
        "NETWORK_EXCEPTION",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "_FATAL",
        "_STATE",
        "_DESTROY",
    ]
)
"""Ends after which a record may be stored: it was sent, perhaps, and no answer came."""
_NEVER_SENT = ("_PURGE_QUEUE", "_FATAL")
"""Of these, ends of what has not reached a broker, if it is dropped since something else was refused."""


class SentAppend:
    """Records of one partition that were handed over together. stored: how many are, once that is known. offsets: of those that
    are acknowledged, where they are told; negative where no broker tells (acks 0). errors: where failures are noted.
    lacks_key: whether one that failed has no key."""

    __slots__ = ("count", "errors", "lacks_key", "offsets", "partition", "size_bytes", "stored")

    def __init__(self, partition: int, count: int, size_bytes: int, errors: list[tuple[KafkaError, int]]) -> None:
        self.partition = partition
        self.count = count
        self.size_bytes = size_bytes
        self.stored = 0
        self.offsets = array("q")
        self.errors = errors
        self.lacks_key = False

    def took(self, error: KafkaError | None, message: Any) -> None:
        """Note what became of one of its records."""
        if error is None:
            offset = message.offset()
            self.offsets.append(-1 if offset is None else offset)
        else:
            self.errors.append((error, self.partition))
            self.lacks_key = self.lacks_key or message.key() is None

    def results(self) -> Iterator[AppendResult]:
        """Yield where its records landed: once, unless another producer came between them."""
        offsets = self.offsets
        if not offsets or offsets[0] < 0:
            return
        if offsets[-1] - offsets[0] + 1 == len(offsets):
            yield AppendResult(self.partition, offsets[0], offsets[-1])
            return
        first = last = -1
        for offset in sorted(one for one in offsets if one >= 0):
            if offset != last + 1 or first < 0:
                if first >= 0:
                    yield AppendResult(self.partition, first, last)
                first = offset
            last = offset
        yield AppendResult(self.partition, first, last)


class LostRecords:
    """What became of records when sending them failed. stored: for sure. unsure: stored or not."""

    __slots__ = ("error", "stored", "unsure")

    def __init__(self, error: MkError, stored: list[SentAppend], unsure: int) -> None:
        self.error = error
        self.stored = stored
        self.unsure = unsure


class SendingFailedError(Exception):
    """Records were not stored; never leaves this package. lost: which, and why."""

    def __init__(self, lost: LostRecords) -> None:
        super().__init__(lost.error.what)
        self.lost = lost


class KafkaSender:
    """A producer of librdkafka for one topic. Not for two threads; of no use after a failure."""

    def __init__(
        self,
        client: Client,
        topic: str,
        *,
        acks: int | str | None,
        compression: str | None,
        max_message_bytes: int,
        tells_offsets: bool = True,
    ) -> None:
        """Connect. acks: 0, 1 or ALL; None is what the properties say, else ALL. compression: None is what they say.

        tells_offsets: whether appends are to tell where they landed: for a million records, half a second of this thread.
        """
        self.tells_offsets = tells_offsets
        self._errors: list[tuple[KafkaError, int]] = []
        self._count = 0
        self._client = client
        self._topic = topic
        self._max_message_bytes = max_message_bytes
        self._appends: deque[SentAppend] = deque()
        self._bytes = 0
        self._stop_at = float("inf")
        self._hurries = _HURRIES
        properties = _properties(client, acks, compression, max_message_bytes)
        self._producer = client.new_producer(**properties, delivery_report_only_error=not tells_offsets)

    def begin(self, partition: int, piece: RecordPiece) -> list[SentAppend]:
        """Hand over records, and return the appends that were done meanwhile, in the order in which they began.

        Waits only where too much is on its way. Raises SendingFailedError.
        """
        size_bytes = piece.size_bytes + _MESSAGE_BYTES * len(piece)
        done = self._until(max(0, _MOST_BYTES - size_bytes), is_flush=False)
        append = SentAppend(partition, len(piece), size_bytes, self._errors)
        self._appends.append(append)
        self._bytes += size_bytes
        self._count += append.count
        try:
            self._hand_over(append, piece)
        except MkError as error:
            lost = self._give_up(error, is_refused=True)
            raise SendingFailedError(LostRecords(error, done + lost.stored, lost.unsure)) from None
        with suppress(self._client.kafka.KafkaException):
            self._producer.poll(0)  # What it cannot send any more, the next wait tells.
        return done

    def finish(self) -> list[SentAppend]:
        """Wait until all is acknowledged, and return what was not returned before. Raises SendingFailedError."""
        return self._until(0, is_flush=True)

    def stop_soon(self) -> None:
        """Wait some seconds more, and no longer. For handlers of signals."""
        self._stop_at = min(self._stop_at, monotonic() + _STOP_SECONDS)

    def close(self) -> None:
        """Let go of it. What is on its way may be stored."""
        if self._appends:
            self._producer.purge()
            self._appends.clear()
        producers, self._producer = [self._producer], None
        sheltered(producers.clear)

    def _hand_over(self, append: SentAppend, piece: RecordPiece) -> None:
        """Hand over a piece up to the first record that librdkafka does not take, whose error is noted; those behind it do not count.

        Raises DataError for what it would take for something else.
        """
        times, values = piece.times, iter(piece.values)
        columns: list[Iterable[Any]] = [repeat(self._topic), values, piece.keys or repeat(None)]
        columns += [repeat(append.partition), repeat(append.took)]
        if times is not None or piece.headers is not None:
            each_time = repeat(times or 0) if times is None or isinstance(times, int) else times
            if times == 0 or (times is each_time and 0 in each_time):
                # It would take that for now.
                self._leave_out(append, append.count)
                raise DataError(
                    f"a record for topic {self._topic} has the time 0, 1970-01-01",
                    why="librdkafka can send no record with it",
                    fix="give it another time; nothing of its part of the input is stored",
                )
            headers = ((headers_to_send(own) if own else None) for own in piece.headers or repeat(()))
            columns += [repeat(None), each_time, headers]
        try:
            # Called from C, and by place, this takes two thirds of the time of produce_batch, and a quarter of a loop with names.
            deque(map(self._producer.produce, *columns), maxlen=0)
        except HeaderNameError as failure:
            self._leave_out(append, length_hint(values) + 1)
            raise DataError(
                f"a record for topic {self._topic} has a header whose name is not UTF-8, or has a NUL byte in it",
                why=failure.why,
                fix="name it otherwise; the records before it are stored",
            ) from None
        except self._client.kafka.KafkaException as failure:
            self._leave_out(append, length_hint(values))
            self._errors.append((failure.args[0], append.partition))
        except BaseException:
            self._leave_out(
                append, length_hint(values) + 1
            )  # A ^C while headers were made: or the rest is waited for in vain.
            raise

    def _leave_out(self, append: SentAppend, count: int) -> None:
        """Take back what was to be handed over last."""
        self._count -= count
        append.count -= count

    def _until(self, most_bytes: int, *, is_flush: bool) -> list[SentAppend]:
        """Wait until no more than so many bytes are on their way; return the appends that are done."""
        done: list[SentAppend] = []
        while True:
            if self._errors:
                lost = self._give_up_for(*self._errors[0])
                raise SendingFailedError(LostRecords(lost.error, done + lost.stored, lost.unsure))
            while self._appends and self._is_done(self._appends[0]):
                append = self._appends.popleft()
                append.stored = append.count
                self._bytes -= append.size_bytes
                self._count -= append.count
                done.append(append)
            if self._bytes <= most_bytes:
                if done:
                    self._hurries = 0
                    self._client.heed_nothing()
                return done
            if self._hurries:
                self._hurries -= 1
                self._client.hurry(self._producer, self._topic)
            try:
                if is_flush:
                    self._producer.flush(SLICE_SECONDS)  # It does not linger meanwhile.
                else:
                    self._producer.poll(SLICE_SECONDS)
            except self._client.kafka.KafkaException as failure:
                # It can send nothing any more.
                error = failure.args[0]
                lost = self._give_up(self._client.error(error, self._what()), is_refused=is_denied(error))
                raise SendingFailedError(LostRecords(lost.error, done + lost.stored, lost.unsure)) from None
            try:
                if monotonic() >= self._stop_at:
                    raise self._client.no_answer(self._what())
                self._client.raise_if_denied(self._what())
            except MkError as error:
                lost = self._give_up(error, is_refused=False)
                raise SendingFailedError(LostRecords(lost.error, done + lost.stored, lost.unsure)) from None

    def _is_done(self, first: SentAppend) -> bool:
        """Tell whether all of the append that began first are acknowledged; nothing has failed so far.

        Where that is not told of each record: whether so many are, whichever. The count is right then, and how many bytes are on
        their way nearly so, with one partition behind the others.
        """
        if self.tells_offsets:
            return len(first.offsets) == first.count
        return self._count - first.count >= len(self._producer)

    def _give_up_for(self, error: KafkaError, partition: int) -> LostRecords:
        if error.name() in ("MSG_SIZE_TOO_LARGE", "_MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"):
            place = f"a batch for partition {partition} of topic {self._topic}"
            known: MkError = RecordTooLargeError(
                size_bytes=self._max_message_bytes, max_bytes=self._max_message_bytes, place=place
            )
        elif error.name() in ("_MSG_TIMED_OUT", "_TIMED_OUT", "REQUEST_TIMED_OUT"):
            known = self._timed_out(partition, error)
        elif error.name() in _GONE:
            known = NoSuchTopicError(
                topic=self._topic, directory=self._client.location, why="it was deleted while records were sent to it"
            )
        else:
            known = self._client.error(error, self._what(), topic=self._topic, partition=partition)
        appends = list(self._appends)
        lost = self._give_up(known, is_refused=error.name() in _NOT_SENT)
        # A broker that refuses a batch does not say why. Compacted since it was opened, the topic takes no record without a key.
        if error.name() == "INVALID_RECORD" and any(append.lacks_key for append in appends) and self._is_compacted():
            lost.error = KeyRequiredError(topic=self._topic)
        return lost

    def _is_compacted(self) -> bool:
        """Tell whether the topic is compacted by now, False if that is not told."""
        try:
            return COMPACT in str(read_topic_config(self._client, self._topic).get("cleanup.policy"))
        except MkError:
            return False

    def _give_up(self, error: MkError, *, is_refused: bool) -> LostRecords:
        """Drop what was not sent, learn what became of the rest, and return what is known.

        is_refused: what is on its way is answered, as ever; otherwise nobody waits for that.
        """
        self._producer.purge(in_queue=True, in_flight=not is_refused)
        end = min(monotonic() + self._client.timeout_seconds, self._stop_at + 1)
        while len(self._producer) and monotonic() < end:
            self._poll()
        names = [error.name() for error, _ in self._errors]
        left = self._count - len(names) - sum(len(one.offsets) for one in self._appends)
        unsure = sum(name in _UNSURE and not (is_refused and name in _NEVER_SENT) for name in names)
        stored = list(self._appends)
        for append in stored:
            append.stored = len(append.offsets)
        if self.tells_offsets:
            unsure += left
        else:
            # Whose they are is not known, nor has to be.
            unanswered = min(left, len(self._producer))
            unsure += unanswered
            stored = [SentAppend(0, 0, 0, [])]
            stored[0].stored = left - unanswered
        self._appends.clear()
        return LostRecords(error, stored, unsure)

    def _poll(self) -> None:
        """Take in reports, also of one that can send nothing any more, which it says each time."""
        with suppress(self._client.kafka.KafkaException):
            self._producer.poll(SLICE_SECONDS)

    def _timed_out(self, partition: int, error: KafkaError) -> MkError:
        """Return why no answer came in time: librdkafka tries again until the time is up, and then says no more than that."""
        facts: dict[str, Any] = {"topic": self._topic, "partition": partition}
        try:
            topic = self._producer.list_topics(self._topic, timeout=_LOOK_SECONDS).topics[self._topic]
            state = topic.partitions.get(partition)
        except (self._client.kafka.KafkaException, KeyError):
            return self._client.error(error, self._what(), **facts)
        if state is None or state.leader < 0:
            why = f"partition {partition} has no leader"
        elif len(state.isrs) < len(state.replicas):
            why = f"of {len(state.replicas)} replicas of partition {partition}, {len(state.isrs)} are in sync"
        else:
            return self._client.error(error, self._what(), **facts)
        return TryAgainError(self._what(), why=why, fix="run it again when they are back", code=error.name(), **facts)

    def _what(self) -> str:
        return f"the records for topic {self._topic} were not acknowledged"


class _Silence:
    """What librdkafka tells of a producer that can send no more: an error says it, in our words."""

    def log(self, *words: object) -> None:
        pass


def chosen_acks(client: Client, acks: int | str | None) -> str:
    """Return the level of acks that holds, as librdkafka spells it: None is what the properties say, else ALL."""
    chosen = client.property("acks") or client.property("request.required.acks") or ALL if acks is None else str(acks)
    return ALL if chosen == "-1" else chosen


def _properties(
    client: Client, acks: int | str | None, compression: str | None, max_message_bytes: int
) -> dict[str, object]:
    """Return the properties of a producer. The user's count more, but for those on which the order and the count rest."""
    chosen = chosen_acks(client, acks)
    properties: dict[str, object] = {}
    idempotence = client.property("enable.idempotence") or ("true" if chosen == ALL else "false")
    defaults: dict[str, object] = {
        "enable.idempotence": idempotence,
        "linger.ms": 20,
        "batch.size": max(1, min(_MOST_BATCH_BYTES, max_message_bytes)),
        "message.max.bytes": max(1000, max_message_bytes),
        "message.timeout.ms": int(client.delivery_seconds * 1000),
        # So long it waits for a topic to be heard of, also for one that was deleted.
        "topic.metadata.propagation.max.ms": 5000,
    }
    if idempotence != "true":
        # What is sent again would come behind what was sent after it.
        defaults["max.in.flight.requests.per.connection"] = 1
    for name, value in defaults.items():
        if not any(client.property(spelled) for spelled in (name, *_SPELLINGS.get(name, ()))):
            properties[name.replace(".", "_")] = value
    properties["acks"] = chosen
    if compression is not None:
        properties["compression_codec"] = compression
    return {
        **properties,
        "queue_buffering_max_messages": 10_000_000,
        "queue_buffering_max_kbytes": 2_097_151,
        "logger": _Silence(),
    }


_GONE = ("_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_OR_PART")
"""Names of errors for records of a topic that was there when it was opened."""

_SPELLINGS = {
    "linger.ms": ("queue.buffering.max.ms",),
    "max.in.flight.requests.per.connection": ("max.in.flight",),
    "message.timeout.ms": ("delivery.timeout.ms",),
}
