"""`quarantine/`: what was cut off a log, kept until a person has looked at it.

A file is named for where its first batch stood, and holds batches back to back, as a segment does; what a recovery cut off
may begin with bytes that are none. Nothing in here is ever removed or overwritten by mk.
Format: man/mk-format.5, QUARANTINE.
"""

from __future__ import annotations

import os

from mk.records.record_batch import HEADER_SIZE
from mk.storage import files
from mk.storage.log_segment import LOG_SUFFIX, find_headers, segment_name
from mk.topic_partition import is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record_batch import RecordBatch
    from mk.storage.log_directory import LogDirectory
    from mk.storage.partition_files import PartitionFiles

SALVAGED_SUFFIX = ".salvaged"
_PIECE = 1 << 20
_NAME_PARTS = 5


def evidence_name(partition: PartitionFiles, offset: int, epoch: int, tag: int | None = None) -> str:
    """Return a name for what is cut off from `offset` on. tag: 32 bits that tell it from others, at random if not given."""
    number = int.from_bytes(os.urandom(4), "big") if tag is None else tag
    return f"{partition.topic.name}-{partition.partition}-{offset}-{epoch}-{number:08x}{LOG_SUFFIX}"


def keep_copy(partition: PartitionFiles, fd: int, position: int, stop_position: int, name: str) -> None:
    """Copy bytes of an open segment to quarantine/, on disk on return. Raises OSError with nothing left of it."""
    quarantine_fd = partition.topic.directory.open_quarantine()
    try:
        copy = files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=quarantine_fd)
        try:
            copy_bytes(fd, position, stop_position, copy)
            files.fsync(copy)
        except OSError:
            files.unlink(name, dir_fd=quarantine_fd)
            raise
        finally:
            files.close(copy)
        files.fsync(quarantine_fd)
    finally:
        files.close(quarantine_fd)


def copy_bytes(fd: int, position: int, stop_position: int, copy: int) -> None:
    """Write a piece of one file to the front of another, new one. Memory stays at 1 MiB."""
    start = position
    while position < stop_position:
        data = files.pread(fd, min(_PIECE, stop_position - position), position)
        if not data:
            break
        files.pwrite(copy, data, position - start)
        position += len(data)


def keep_segment(partition: PartitionFiles, base_offset: int, name: str) -> None:
    """Give a segment a second name in quarantine/, on disk on return, so that it can be given up without a copy of it."""
    quarantine_fd = partition.topic.directory.open_quarantine()
    try:
        files.link(segment_name(base_offset), name, src_dir_fd=partition.fd, dst_dir_fd=quarantine_fd)
        files.fsync(quarantine_fd)
    finally:
        files.close(quarantine_fd)


class QuarantinedLog:
    """A piece of a log that was cut off, as its name and the headers in it tell.

    topic, partition: what it was cut off; the topic may have another name by now, or be gone. first_offset: where it was
    cut. next_offset: behind its last batch. epoch: of the log when it was cut. epochs, producer_ids: of its batches,
    ascending. salvaged: somebody has marked it as such.
    """

    __slots__ = (
        "epoch",
        "epochs",
        "first_offset",
        "name",
        "next_offset",
        "partition",
        "producer_ids",
        "records",
        "salvaged",
        "size_bytes",
        "topic",
    )

    def __init__(self, name: str) -> None:
        """Read a name. Raises ValueError if it is none of a quarantined log."""
        self.name = name
        self.salvaged = name.endswith(SALVAGED_SUFFIX)
        stem = name.removesuffix(SALVAGED_SUFFIX)
        parts = stem.removesuffix(LOG_SUFFIX).rsplit("-", _NAME_PARTS - 1)
        if not stem.endswith(LOG_SUFFIX) or len(parts) != _NAME_PARTS or not is_valid_name(parts[0]):
            raise ValueError(name)
        self.topic = parts[0]
        self.partition, self.first_offset, self.epoch = (_number(part) for part in parts[1:4])
        self.next_offset = self.first_offset
        self.records = self.size_bytes = 0
        self.epochs: list[int] = []
        self.producer_ids: list[int] = []

    def document(self) -> dict[str, object]:
        """Return it ready for JSON."""
        document = {name: getattr(self, name) for name in self.__slots__}
        return {**document, "producer_ids": [f"{producer_id:016x}" for producer_id in self.producer_ids]}


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ValueError(text)
    return int(text)


def list_quarantine(directory: LogDirectory) -> list[QuarantinedLog]:
    """Return what is in quarantine/, by topic, partition and offset. Names that are none of ours are ignored."""
    found: list[QuarantinedLog] = []
    try:
        quarantine_fd = files.open_directory("quarantine", dir_fd=directory.fd)
    except FileNotFoundError:
        return found
    try:
        for name in os.listdir(quarantine_fd):
            try:
                log = QuarantinedLog(name)
            except ValueError:
                continue
            try:
                fd = files.open_file(name, os.O_RDONLY, dir_fd=quarantine_fd)
            except FileNotFoundError:
                continue  # Marked meanwhile, under another name.
            try:
                _look_into(log, fd)
            finally:
                files.close(fd)
            found.append(log)
    finally:
        files.close(quarantine_fd)
    return sorted(found, key=lambda log: (log.topic, log.partition, log.first_offset, log.name))


def _look_into(log: QuarantinedLog, fd: int) -> None:
    log.size_bytes = files.size(fd)
    epochs, producer_ids = set(), set()
    for _, batch in find_headers(fd, 0, log.size_bytes):
        log.next_offset = max(log.next_offset, batch.next_offset)
        log.records += batch.record_count
        epochs.add(batch.leader_epoch)
        producer_ids.add(batch.producer_id)
    log.epochs, log.producer_ids = sorted(epochs), sorted(producer_ids - {0})


def read_quarantined(directory: LogDirectory, name: str) -> Iterator[RecordBatch]:
    """Yield the batches of one piece, their payloads checked. What does not prove itself is left out.

    Raises FileNotFoundError if it is not there, ValueError for a name that cannot be.
    """
    log = QuarantinedLog(name)
    quarantine_fd = files.open_directory("quarantine", dir_fd=directory.fd)
    try:
        fd = files.open_file(log.name, os.O_RDONLY, dir_fd=quarantine_fd)
    finally:
        files.close(quarantine_fd)
    try:
        for position, batch in find_headers(fd, 0, files.size(fd)):
            if not batch.is_newer and batch.check_payload(
                files.pread(fd, batch.payload_length, position + HEADER_SIZE)
            ):
                batch.position = position
                yield batch
    finally:
        files.close(fd)


def mark_salvaged(directory: LogDirectory, name: str) -> str:
    """Say of a piece that its records are somewhere else now, on disk on return. Returns its new name.

    It stays: whether it is needed any more is not for us to say. Marking it again changes nothing.
    """
    log = QuarantinedLog(name)
    marked = name if log.salvaged else name + SALVAGED_SUFFIX
    quarantine_fd = files.open_directory("quarantine", dir_fd=directory.fd)
    try:
        try:
            files.rename(name, marked, src_dir_fd=quarantine_fd, dst_dir_fd=quarantine_fd)
        except FileNotFoundError:
            if not files.exists(marked, dir_fd=quarantine_fd):
                raise
        files.fsync(quarantine_fd)
    finally:
        files.close(quarantine_fd)
    return marked
