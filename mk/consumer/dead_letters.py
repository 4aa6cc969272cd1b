"""Dead letters: records for which a command failed for good, put aside in a topic of their own.

A group stores each of them once, although it may be killed between appending it and committing its offset. The producer
id is made of group, topic id and partition, the sequence is the offset, and dead letters of a partition are sent in offset
order: whoever takes the partition over sends the same again under the same numbers, and the log leaves out what it has.

It also leaves out what it does not have, once a group was reset: a record that failed only when it was read again may be
older than the last one that failed before. So what the log says it has is looked for, and sent without a number if it is
not there. One process at a time works on a partition, so nobody sends it between our look and our append.
A Kafka knows no such ids. There all are looked for.
"""

from __future__ import annotations

from hashlib import sha256

from mk.errors import KeyRequiredError, RecordTooLargeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mk.consumer.record_window import Place
    from mk.producer.producer import Producer
    from mk.records.record import ConsumerRecord, Header

TOPIC, TOPIC_ID = b"mk.source.topic", b"mk.source.topic_id"
PARTITION, OFFSET, TIMESTAMP = b"mk.source.partition", b"mk.source.offset", b"mk.source.ts"
GROUP = b"mk.group"
STATUS, TRIES, STDERR, BATCH = b"mk.exec.status", b"mk.exec.tries", b"mk.exec.stderr", b"mk.exec.batch"

HEADERS = (
    (TOPIC, "the topic that the record comes from"),
    (TOPIC_ID, "its id, which a topic of the same name made later does not have"),
    (PARTITION, "the partition"),
    (OFFSET, "the offset"),
    (
        TIMESTAMP,
        "the time of the record, in milliseconds since 1970; a dead letter has the time at which it became one",
    ),
    (GROUP, "the group; not there without one"),
    (STATUS, 'the last exit status of the command, or "signal N"'),
    (TRIES, "how often it was tried"),
    (STDERR, "the last lines that the command wrote to standard error; at most 20, and 4 KiB"),
    (BATCH, "with --batch: first and last offset of the records that failed together, as FIRST-LAST"),
)
"""What a dead letter has behind the headers that it had, for people."""

HEADER_BYTES = 64 << 10
"""More than these headers take together."""

_LONGEST_GROUP = 100
_Letter = tuple["ConsumerRecord", "tuple[Header, ...]"]
_Origin = tuple["bytes | None", ...]


class DeadLetters:
    """Sends dead letters; on disk when `flush` returns."""

    def __init__(
        self,
        *,
        open_producer: Callable[[str | None], Producer],
        read: Callable[[dict[int, int]], Iterable[ConsumerRecord]],
        group: str | None,
        has_producer_ids: bool = True,
    ) -> None:
        """open_producer: returns a producer to their topic, with that producer id. read: yields all that the topic holds, of
        the partitions that it is told a position of, from there.

        group: without one there is nobody who would go on after a crash, and so nothing to be left out.
        has_producer_ids: whether the log leaves out what it has. Where it does not, the topic is read for that when a partition has
            its first dead letter.
        """
        self._open_producer = open_producer
        self._read = read
        self._group = group
        self._has_producer_ids = has_producer_ids
        self._looked: set[Place] = set()
        self._plain: Producer | None = None
        self._producers: dict[Place, Producer] = {}
        self._pending: dict[Place, list[_Letter]] = {}
        self._stored_before: dict[Place, int] = {}
        self._positions: dict[int, int] = {}
        self._known: dict[_Origin, set[int]] = {}

    def send(
        self,
        records: Sequence[ConsumerRecord],
        *,
        topic_id: str,
        is_batch: bool,
        status: str,
        tries: int,
        stderr: bytes,
    ) -> None:
        """Send the records of one run of the command, of one partition, behind all that were sent before of it."""
        place = records[0].topic, records[0].partition
        said: list[Header] = [(STATUS, status.encode()), (TRIES, b"%d" % tries), (STDERR, stderr)]
        if is_batch:
            said.append((BATCH, b"%d-%d" % (records[0].offset, records[-1].offset)))
        for record in records:
            source = [
                (TOPIC, record.topic.encode()),
                (TOPIC_ID, topic_id.encode()),
                (PARTITION, b"%d" % record.partition),
                (OFFSET, b"%d" % record.offset),
                (TIMESTAMP, b"%d" % record.timestamp_ms),
            ]
            if self._group is not None:
                source.append((GROUP, self._group.encode()))
            headers = (*record.headers, *source, *said)
            if self._group is None:
                self._append(self._plain_producer(), record, headers)
                continue
            if not self._has_producer_ids:
                self._append_unless_known(place, record, headers)
                continue
            producer = self._producer(place, topic_id)
            if record.offset < producer.next_sequence:
                producer.next_sequence = record.offset  # Its partition went, and came back further behind.
            producer.skip_sequences(record.offset - producer.next_sequence)
            self._append(producer, record, headers)
            self._pending.setdefault(place, []).append((record, headers))

    def flush(self, place: Place) -> None:
        """Have all that was sent of a partition on disk."""
        if self._group is None or not self._has_producer_ids:
            self._plain_producer().flush()
            return
        producer = self._producers[place]
        producer.flush()
        letters = self._pending.pop(place, [])
        if producer.records_stored_before != self._stored_before[place]:
            self._stored_before[place] = producer.records_stored_before
            self._look()
            missing = [letter for letter in letters if letter[0].offset not in self._known.get(_origin(letter[1]), ())]
            if missing:
                plain = self._plain_producer()
                for record, headers in missing:
                    self._append(plain, record, headers)
                plain.flush()

    def release(self, place: Place) -> None:
        """Forget a partition that is somebody else's now."""
        self._looked.discard(place)
        producer = self._producers.pop(place, None)
        self._pending.pop(place, None)
        self._stored_before.pop(place, None)
        if producer is not None:
            producer.close()

    def close(self) -> None:
        """Let go of the topic. What was not flushed is dropped."""
        for place in list(self._producers):
            self.release(place)
        if self._plain is not None:
            self._plain.close()
            self._plain = None

    def _producer(self, place: Place, topic_id: str) -> Producer:
        producer = self._producers.get(place)
        if producer is None:
            assert self._group is not None
            producer = self._open_producer(producer_name(self._group, topic_id, place[1]))
            self._producers[place] = producer
            self._stored_before[place] = 0
        return producer

    def _plain_producer(self) -> Producer:
        if self._plain is None:
            self._plain = self._open_producer(None)
        return self._plain

    def _append_unless_known(self, place: Place, record: ConsumerRecord, headers: tuple[Header, ...]) -> None:
        if place not in self._looked:
            self._looked.add(place)
            self._look()  # Whoever had the partition before may have been killed before it committed.
        if record.offset not in self._known.get(_origin(headers), ()):
            self._append(self._plain_producer(), record, headers)

    def _append(self, producer: Producer, record: ConsumerRecord, headers: tuple[Header, ...]) -> None:
        try:
            producer.send(record.value, record.key, headers)
        except (RecordTooLargeError, KeyRequiredError) as error:
            error = error.at(
                f"offset {record.offset} of partition {record.partition} of {record.topic}, as a dead letter,"
            )
            setting = "cleanup.policy=delete" if isinstance(error, KeyRequiredError) else "a larger max.message.bytes"
            error.fix = (
                f"`mk topics alter` gives the topic of the dead letters {setting}; this record, and those behind it in its "
                "partition, do not count as consumed"
            )
            raise error from None

    def _look(self) -> None:
        """Learn which dead letters of this group there are by now: all of them at first, then what came since."""
        assert self._group is not None
        for letter in self._read(self._positions):
            self._positions[letter.partition] = letter.offset + 1
            named = dict(letter.headers)
            offset = named.get(OFFSET)
            if named.get(GROUP) == self._group.encode() and offset is not None and offset.isdigit():
                self._known.setdefault(_origin(letter.headers), set()).add(int(offset))


def producer_name(group: str, topic_id: str, partition: int) -> str:
    """Return the producer id of a group's dead letters of one partition."""
    if len(group) > _LONGEST_GROUP:
        group = sha256(group.encode()).hexdigest()  # A producer id has 200 letters at most, as a group has.
    return f"dlq/{group}/{topic_id}/{partition}"


def _origin(headers: Sequence[Header]) -> _Origin:
    """Return group, topic id and partition of a dead letter. A record that died twice has them twice: the last count."""
    named = dict(headers)
    return named.get(GROUP), named.get(TOPIC_ID), named.get(PARTITION)
