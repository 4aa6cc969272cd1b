"""Pins: what a producer id stands for in a topic, for as long as the topic lives.

A producer that resumes must send each record to the partition to which it sent it the first time, or it is stored twice.
So partition count, partitioner and, if there is one, the partition named by hand are written down before the first
record is, in `producers/<hash of the name>` of the topic, and never change. Decides what is pinned and who may use it;
which partition follows from that is the producer's business.
Format: man/mk-format.5, PRODUCERS.
"""

from __future__ import annotations

import os
from hashlib import sha256

from mk.errors import CorruptStateError, PermissionDeniedError, StorageError, UsageError
from mk.storage import files, flat_json
from mk.storage.append_locks import append_locks
from mk.storage.partition_files import PartitionFiles
from mk.storage.topic import PRODUCERS_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.topic import Topic


class ProducerPin:
    """What is pinned. producer_id: 64 bits, never 0. partition: named by hand, or None."""

    __slots__ = ("name", "partition", "partitioner", "partitions", "producer_id")

    def __init__(self, name: str, partitions: int, partitioner: str, partition: int | None) -> None:
        self.name = name
        self.producer_id = producer_id_of(name)
        self.partitions = partitions
        self.partitioner = partitioner
        self.partition = partition

    def encode(self) -> bytes:
        return flat_json.encode(
            {
                "name": self.name,
                "partitions": self.partitions,
                "partitioner": self.partitioner,
                "partition": self.partition,
            }
        )


def producer_id_of(name: str) -> int:
    """Return the number that stands for a name in batch headers: the first 8 bytes of its SHA-256; 0 is taken, so 1."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") or 1


def pin_producer(topic: Topic, name: str, *, partition: int | None, lock_wait_ms: int) -> ProducerPin:
    """Return the pin of a producer id, made now if this is its first use; on disk in any case.

    partition: the one named by hand, which has to be the same each time.

    Raises:
        NoSuchPartitionError: the topic has no such partition.
        UsageError: it is pinned to something else, or another name has the same hash.
        StorageError, PermissionDeniedError: it cannot be written down. As with the others, no record was written.
    """
    if partition is not None and partition >= topic.partitions:
        # A client of `mk serve` may name any: its pin would be one that nobody can use, for as long as the topic lives.
        topic.refresh()
        topic.check_partition(partition)
    file_name = f"{producer_id_of(name):016x}"
    try:
        pin = _read(topic, file_name)
        if pin is None:
            _make(topic, file_name, ProducerPin(name, topic.partitions, topic.partitioner, partition), lock_wait_ms)
            # Another run of the same command may have been faster; what it pinned counts.
            pin = _read(topic, file_name)
            assert pin is not None
    except PermissionError as error:
        raise PermissionDeniedError(
            f"you may not use a producer id in topic {topic.name}",
            why=f"{files.place_of(error, topic.path)}: {os.strerror(error.errno or 0)}",
            fix="become a user who may; nothing was written",
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot keep producer id {name} in {topic.path}",
            why=os.strerror(error.errno or 0),
            fix="make room, or look at the disk (dmesg); no record was written",
            path=topic.path,
        ) from None
    _check(pin, topic, name, partition)
    return pin


def _read(topic: Topic, file_name: str) -> ProducerPin | None:
    """Return the pin, on disk by then whoever made it; None if there is none."""
    try:
        fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
    except FileNotFoundError:
        return None
    except PermissionError:
        if not files.is_shared(topic.fd):
            raise
        return None  # Its maker was killed before sharing it: whoever makes the pin makes it again.
    try:
        data = files.read_file(file_name, dir_fd=fd)
        # A process that made it may have been killed before its name was on disk.
        files.fsync(fd)
        files.fsync(topic.fd)
    except FileNotFoundError:
        return None
    finally:
        files.close(fd)
    return decode_pin(data, topic, f"{topic.path}/{PRODUCERS_DIRECTORY}/{file_name}")


def decode_pin(data: bytes, topic: Topic, path: str) -> ProducerPin:
    """Read the content of a pin. Raises CorruptStateError where it is damaged or does not fit the topic."""
    partitions = flat_json.decode(data, path).get("partitions")
    if type(partitions) is int and partitions > topic.partitions:
        topic.refresh()  # Somebody has added partitions since it was opened.
    return parse_pin(data, topic.partitions, path)


def parse_pin(data: bytes, most_partitions: int, path: str) -> ProducerPin:
    """Read the content of a pin of a topic with so many partitions. Raises CorruptStateError."""
    fields = flat_json.decode(data, path)
    name, partitions, partitioner = fields.get("name"), fields.get("partitions"), fields.get("partitioner")
    partition = fields.get("partition")
    if (
        type(name) is not str
        or type(partitions) is not int
        or not 1 <= partitions <= most_partitions
        or type(partitioner) is not str
        or (partition is not None and (type(partition) is not int or not 0 <= partition < most_partitions))
    ):
        raise CorruptStateError(path=path, found="a field is missing, or does not fit the topic")
    return ProducerPin(name, partitions, partitioner, partition)


def _check(pin: ProducerPin, topic: Topic, name: str, partition: int | None) -> None:
    if pin.name != name:
        raise UsageError(
            f"producer id {name} cannot be used in topic {topic.name}",
            why=f"it has the same hash as {pin.name}, which is used there already",
            fix="choose another name; nothing was written",
            producer_id=name,
            pinned=pin.name,
        )
    for what, then, now in (
        ("partition", _with_partition(pin.partition), _with_partition(partition)),
        ("partitioner", f"with {pin.partitioner}", f"with {topic.partitioner}"),
    ):
        if now != then:
            raise UsageError(
                f"producer id {name} cannot go on in topic {topic.name} with another {what}",
                why=f"it was first used {then}, and is used {now} now; what is stored could be stored again elsewhere",
                fix="run the command as it was, or choose another producer id; nothing was written",
                producer_id=name,
                pinned=then,
                found=now,
            )


def _with_partition(partition: int | None) -> str:
    return "without -p" if partition is None else f"with -p {partition}"


def _make(topic: Topic, file_name: str, pin: ProducerPin, lock_wait_ms: int) -> None:
    """Write a pin under the append lock of partition 0, of all partitions if it is the topic's first.

    So the topic is not deleted meanwhile, and nobody rolls or removes segments between the first snapshots and the
    directory that says that there have to be some.
    """
    first = not topic.has_producers()
    locked = range(topic.partitions if first else 1)
    try:
        with append_locks(topic.directory, topic.topic_id, topic.name, locked, wait_ms=lock_wait_ms):
            topic.check_identity()
            if not topic.has_producers():
                from mk.storage.producer_state import begin_producers

                for number in locked:
                    opened = PartitionFiles(topic, number, os.O_RDWR)
                    try:
                        begin_producers(opened)
                    finally:
                        opened.close()
            _write(topic, file_name, pin)
    except CorruptStateError:
        topic.check_not_deleted()
        raise


def _write(topic: Topic, file_name: str, pin: ProducerPin) -> None:
    """Write a pin that appears whole or not at all; one that is there already stays."""
    try:
        files.mkdir(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
    except FileExistsError:
        pass
    fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
    try:
        for entry in os.listdir(fd):
            if entry.startswith(".tmp-"):
                files.unlink(entry, dir_fd=fd)
        temporary = f".tmp-{os.urandom(8).hex()}"
        files.write_new_file(temporary, pin.encode(), dir_fd=fd)
        try:
            files.link(temporary, file_name, src_dir_fd=fd, dst_dir_fd=fd)
        except FileExistsError:
            pass  # Made once: the first one counts.
        files.unlink(temporary, dir_fd=fd)
    finally:
        files.close(fd)
