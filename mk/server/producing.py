"""The operations of `mk produce -d HOST:DIR`: topics to make, producer ids to pin, and batches to append.

A client sends batches ahead: the next ones before it is told where those before them landed. So that no record is stored behind
one that was refused, appends come in runs: once one of a run has failed, the rest of the run is. A batch that is sent is as
little trusted as a file: header, checksum, contents and sequences are proved before one byte of it is written.
"""

from __future__ import annotations

import sys
from array import array
from operator import ge

from mk.errors import MkError, RecordTooLargeError, UsageError
from mk.records.codecs import CodecError
from mk.records.record_batch import COMPACTED, CONTROL, HEADER_SIZE, LOG_APPEND_TIME, EncodedBatch, parse_header
from mk.server.open_topics import OpenTopic, opened_by, partition_of
from mk.storage import files
from mk.storage.partition_log import DISK, PAGE_CACHE
from mk.storage.topic import PRODUCERS_DIRECTORY
from mk.topic_partition import MAX_PARTITIONS, check_name, check_producer_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.records.record import ConsumerRecord
    from mk.server.session import Session
    from mk.storage.partition_log import PartitionLog
    from mk.transport.fields import Fields

MAX_BATCHES = 1 << 16
NOT_APPENDED = -1
"""The answer to an append behind one that failed."""

_MAX_WAIT_MS = 24 * 3_600_000
_MAX_ID = (1 << 64) - 1
_MAX_RUN = 1 << 62
_SEQUENCE_BYTES = 8
_FORBIDDEN = COMPACTED | CONTROL | LOG_APPEND_TIME
"""What only those who write logs may say of a batch."""


def make_topic(session: Session, fields: Fields) -> None:
    """NAME PARTITIONS PARTITIONER, a count of settings with name and value each, WAIT ->"""
    from mk.config import TOPIC_CONFIG, check_partitioner, parse_topic_config

    directory = opened_by(session).directory
    name = check_name(fields.text())
    partitions = fields.number(1, MAX_PARTITIONS)
    partitioner = check_partitioner(fields.text())
    given = {fields.text(): str(fields.scalar(4096)) for _ in range(fields.number(0, len(TOPIC_CONFIG)))}
    wait_ms = fields.number(0, _MAX_WAIT_MS)
    fields.end()
    session.check_topic(name)
    with files.about(directory.path):
        directory.create_topic(
            name,
            partitions=partitions,
            partitioner=partitioner,
            overrides=parse_topic_config(given),
            wait_ms=wait_ms,
        )
    session.answer()


def pin_producer(session: Session, fields: Fields) -> None:
    """TOPIC NAME PARTITION WAIT -> partitions, partitioner and partition that the id is pinned to; -1 is none."""
    opened = opened_by(session).topic(fields)
    name = check_producer_id(fields.text(4096))
    partition = fields.number(-1, MAX_PARTITIONS - 1)
    wait_ms = fields.number(0, _MAX_WAIT_MS)
    fields.end()
    topic = opened.topic
    session.check_topic(topic.name)
    with files.about(topic.path):
        pin = topic.pin_producer(name, partition=None if partition < 0 else partition, lock_wait_ms=wait_ms)
    opened.known_ids.add(pin.producer_id)
    session.answer(pin.partitions, pin.partitioner, -1 if pin.partition is None else pin.partition, *opened.news())


def check_not_followed(session: Session, fields: Fields) -> None:
    """TOPIC NAME -> nothing, or the error that says that files are followed under that producer id."""
    opened = opened_by(session).topic(fields)
    name = check_producer_id(fields.text(4096))
    fields.end()
    session.check_topic(opened.topic.name)
    with files.about(opened.topic.path):
        opened.topic.check_not_followed(name)
    session.answer()


def last_sequence(session: Session, fields: Fields) -> None:
    """TOPIC PARTITION WAIT ID -> up to which input sequence the records of a producer id are on disk; -1 if none are."""
    opened = opened_by(session).topic(fields)
    partition = partition_of(fields)
    wait_ms = fields.number(0, _MAX_WAIT_MS)
    producer_id = fields.number(1, _MAX_ID)
    fields.end()
    session.check_topic(opened.topic.name)
    with files.about(opened.path_of(partition)):
        session.answer(_log(opened, partition, wait_ms).last_sequence(producer_id))


def produce(session: Session, fields: Fields) -> None:
    """TOPIC PARTITION RUN WAIT DURABILITY, a count of batches, and of each how many sequences come behind it; the batches ->

    first and last offset, how many records were stored before, and the topic's news; or NOT_APPENDED alone.
    """
    opened = opened_by(session).topic(fields)
    partition = partition_of(fields)
    run = fields.number(0, _MAX_RUN)
    wait_ms = fields.number(0, _MAX_WAIT_MS)
    durability = fields.number(PAGE_CACHE, DISK)
    count = fields.number(1, MAX_BATCHES)
    sequence_counts = [fields.number(0, len(session.channel.body) // _SEQUENCE_BYTES) for _ in range(count)]
    fields.end()
    if run == opened.failed_run:
        session.answer(NOT_APPENDED)
        return
    try:
        session.check_topic(opened.topic.name)
        batches = _batches(opened, fields, session.channel.body, sequence_counts)
        with files.about(opened.path_of(partition)):
            result = _log(opened, partition, wait_ms).append(batches, durability)
    except (MkError, OSError):
        opened.failed_run = run
        raise
    session.answer(result.first_offset, result.last_offset, result.duplicates, *opened.news())
    if result.began_segment and opened.topic.compacts:
        from mk.storage.compaction_plan import compact_after_roll

        # Now that the client knows: as where a producer is in the directory, what it sends next waits.
        session.until_stopped(lambda: compact_after_roll(opened.topic, partition, lock_wait_ms=wait_ms))


def _log(opened: OpenTopic, partition: int, wait_ms: int) -> PartitionLog:
    log = opened.logs.get(partition)
    if log is None:
        log = opened.logs[partition] = opened.topic.open_log(partition, lock_wait_ms=wait_ms)
    return log


def _batches(opened: OpenTopic, fields: Fields, body: memoryview, sequence_counts: Sequence[int]) -> list[EncodedBatch]:
    """Return the batches in a body, proved. What is none ends the session; one that may not be here is an error."""
    batches: list[EncodedBatch] = []
    producer_id = -1
    at = 0
    limit = int(opened.topic.config("max.message.bytes"))
    for sequence_count in sequence_counts:
        batch = parse_header(body, at)
        if batch is None or batch.attributes & _FORBIDDEN or not batch.record_count:
            fields.refuse("a batch is none")
        at += HEADER_SIZE
        payload = batch.payload = body[at : at + batch.payload_length]
        at += batch.payload_length
        try:
            encoded = EncodedBatch(
                [payload],
                raw_length=batch.raw_length,
                attributes=batch.attributes,
                record_count=batch.record_count,
                base_timestamp=batch.base_timestamp,
                max_timestamp=batch.max_timestamp,
                key_length=batch.key_length,
            )
            if len(payload) != batch.payload_length or encoded.payload_crc != batch.payload_crc:
                fields.refuse("a batch has another checksum than its bytes")
            batch.prove()
            if batch.raw_length > limit:
                _check_lengths(batch.records("", 0), limit)
        except CodecError as error:
            fields.refuse(f"a batch cannot be read: {error}")
        if producer_id not in (-1, batch.producer_id):
            fields.refuse("batches of several producers came together")
        producer_id = batch.producer_id
        if producer_id:
            at = _number(encoded, fields, body, at, (batch.first_sequence, batch.last_sequence), sequence_count)
            encoded.producer_id = producer_id
        batches.append(encoded)
    if at != len(body):
        fields.refuse("more came than batches")
    if producer_id and producer_id not in opened.known_ids:
        _check_is_pinned(opened, producer_id)
    return batches


def _number(
    batch: EncodedBatch, fields: Fields, body: memoryview, at: int, ends: tuple[int, int], sequence_count: int
) -> int:
    """Give a batch the sequences of its records: those that stand at `at`, or if there are none all from first to last.

    Returns where what comes next stands.
    """
    first, last = ends
    if first < 0:
        fields.refuse("a sequence is below 0")
    if not sequence_count:
        if last - first + 1 != batch.record_count:
            fields.refuse("a batch has other sequences than records")
        batch.number(batch.producer_id, range(first, last + 1))
        return at
    stop = at + sequence_count * _SEQUENCE_BYTES
    if sequence_count != batch.record_count or stop > len(body):
        fields.refuse("a batch has other sequences than records")
    sequences = array("q", bytes(body[at:stop]))
    if sys.byteorder == "little":
        sequences.byteswap()
    if sequences[0] != first or sequences[-1] != last or any(map(ge, sequences, sequences[1:])):
        fields.refuse("the sequences of a batch do not ascend")
    batch.number(batch.producer_id, sequences)
    return stop


def _check_lengths(records: Sequence[ConsumerRecord], max_bytes: int) -> None:
    """Raise RecordTooLargeError if a record is over the limit, which only a client could send that does not look."""
    for record in records:
        size = len(record.key or b"") + len(record.value or b"")
        size += sum(len(name) + len(value or b"") for name, value in record.headers)
        if size > max_bytes:
            raise RecordTooLargeError(size_bytes=size, max_bytes=max_bytes)


def _check_is_pinned(opened: OpenTopic, producer_id: int) -> None:
    """Raise UsageError unless a producer id was pinned: without that, nobody keeps in view what is stored under it."""
    if not files.exists(f"{PRODUCERS_DIRECTORY}/{producer_id:016x}", dir_fd=opened.topic.fd):
        raise UsageError(
            f"producer id {producer_id:016x} is not known in topic {opened.topic.name}",
            why="whoever appends under an id pins it first",
            fix="nothing was written",
        )
    opened.known_ids.add(producer_id)
