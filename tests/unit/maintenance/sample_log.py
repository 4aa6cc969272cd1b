"""A small log with one of everything, and what reading and verifying it comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mk.errors import MkError
from mk.maintenance.verify import verify_topic
from mk.records.codecs import ZSTD, CodecError
from mk.records.record_batch import encode_columns, encode_lines, parse_header
from mk.storage import host
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog
from mk.storage.partition_reader import PartitionReader
from mk.storage.producer_pin import pin_producer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mk.maintenance.findings import Report
    from mk.records.record_batch import EncodedBatch, RecordBatch

TOPIC = "t"
TIME = 1_700_000_000_000

Records = dict[int, object]


def lines(*values: bytes, key: bytes | None = None, codec: int = 0, time: int = TIME) -> EncodedBatch:
    block = b"".join(value + b"\n" for value in values)
    return encode_lines(block, count=len(values), timestamp_ms=time, key=key, codec=codec)


def batches(partition: int) -> Iterator[EncodedBatch]:
    """Yield batches of every kind, of about 150 to 300 bytes."""
    for number in range(5):
        text = b"%d-%d" % (partition, number)
        yield lines(b"a " + text, b"", b"c" * 20, time=TIME + number)
        yield lines(b"keyed " + text, key=b"user")
        yield encode_columns(
            [b"one\n" + text, None],
            base_timestamp=TIME,
            keys=[b"k", None],
            timestamps=[TIME, TIME + 7],
            headers=[((b"h", b"1"), (b"h", None)), ()],
        )
        yield lines(*[b"the same again"] * 20, text, codec=ZSTD)


def build(path: Path, *, producers: bool = False) -> None:
    """Make a log directory with a topic of two partitions: several segments, two epochs, and a tail that was not synced."""
    create_directory(str(path))
    directory = LogDirectory(str(path))
    overrides: dict[str, int | str] = {"segment.bytes": 1200, "retention.ms": -1}
    directory.create_topic(TOPIC, partitions=2, partitioner="crc32", overrides=overrides, wait_ms=0)
    topic = directory.open_topic(TOPIC)
    pin = pin_producer(topic, "shop", partition=None, lock_wait_ms=0) if producers else None
    sequence = 0
    for partition in range(2):
        for boot in (1, 2):
            host._boot_id = f"boot-{boot}"
            log = PartitionLog(topic, partition)
            for batch in list(batches(partition))[:: 3 - boot]:
                if pin is not None:
                    batch.number(pin.producer_id, range(sequence, sequence + batch.record_count))
                    sequence += batch.record_count
                log.append([batch], DISK)
            log.append([lines(b"not synced", b"nor this")], PAGE_CACHE)
            log.close()
    topic.close()
    directory.close()


def verify(path: Path, topic: str = TOPIC) -> Report:
    directory = LogDirectory(str(path))
    try:
        return verify_topic(directory, topic)
    finally:
        directory.close()


def consume(path: Path, partition: int) -> tuple[Records, MkError | None]:
    """Return the records that a consumer gets of a partition, by offset, and the error that stops it."""
    found: Records = {}
    try:
        directory = LogDirectory(str(path))
    except MkError as error:
        return found, error
    try:
        topic = directory.open_topic(TOPIC)
        try:
            reader = PartitionReader(topic, partition)
            try:
                while fetched := reader.fetch():
                    for batch in fetched:
                        for record in batch.records(TOPIC, partition):
                            found[record.offset] = (record.timestamp_ms, record.key, record.value, record.headers)
            finally:
                reader.close()
        finally:
            topic.close()
    except MkError as error:
        return found, error
    except CodecError as error:
        return found, MkError(str(error))
    finally:
        directory.close()
    return found, None


def headers(segment: Path) -> list[RecordBatch]:
    """Return the batches of an undamaged segment file, with their positions."""
    data = segment.read_bytes()
    found = []
    position = 0
    while position < len(data):
        batch = parse_header(data, position)
        assert batch is not None
        batch.position = position
        found.append(batch)
        position += batch.size_bytes
    return found


def flip(path: Path, position: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes((byte ^ mask,)))
