"""Producing again what a fail-over cut off: records that were stored under an old leader, and that the new one never had.

Each exactly once. Batches of a producer id keep it and their sequences, so the log leaves out what that producer has sent
again already; the others get a producer id made of the name of their file, and their offsets for sequences. So whatever is
killed, the same command again stores what is missing and nothing twice. Only then is the file marked, and kept.
"""

from __future__ import annotations

import os
import socket
from array import array
from hashlib import sha256

from mk.errors import DataError, MkError, NotFoundError
from mk.records.record_batch import (
    CODEC_MASK,
    COMPACTED,
    CONTROL,
    KIND_MASK,
    EncodedBatch,
    encode_columns,
)
from mk.replication.diverged import Quarantine
from mk.storage import files
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_log import DISK
from mk.storage.producer_pin import decode_pin
from mk.storage.quarantine import SALVAGED_SUFFIX, mark_salvaged
from mk.storage.replica_directory import address_of
from mk.storage.topic import PRODUCERS_DIRECTORY
from mk.topic_partition import MAX_NAME_LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import RecordBatch
    from mk.storage.partition_log import AppendResult
    from mk.storage.partition_reader import PartitionReader
    from mk.storage.producer_pin import ProducerPin
    from mk.storage.quarantine import QuarantinedLog
    from mk.storage.topic import Topic

    Document = dict[str, Any]
else:
    Protocol = object

_RUN_BYTES = 4 << 20
_RUN_BATCHES = 256
_DERIVED = "salvage-"


class TargetLog(Protocol):
    """A partition to append to, here or on another host; a PartitionLog is one."""

    def append(self, batches: Sequence[EncodedBatch], durability: int) -> AppendResult: ...

    def last_sequence(self, producer_id: int) -> int: ...

    def close(self) -> None: ...


class TargetTopic(Protocol):
    """A topic to append to; a Topic is one."""

    topic_id: str

    def open_log(self, partition: int, *, lock_wait_ms: int = 10_000) -> TargetLog: ...

    def open_reader(self, partition: int) -> PartitionReader: ...

    def pin_producer(self, name: str, *, partition: int | None, lock_wait_ms: int) -> ProducerPin: ...

    def close(self) -> None: ...


class Target(Protocol):
    """A log directory to produce to; a Cluster is one."""

    def open_topic(self, name: str) -> TargetTopic: ...

    def close(self) -> None: ...


class Salvage:
    """What one run does. plan: a document for each piece in quarantine/, ready for JSON.

    A row: name, topic, partition, first_offset, next_offset, records, diverged_records, size_bytes, salvaged, and where its
    records are to go (target), how many of them that are (wanted), and what came of it (stored, stored_before, problem).
    """

    def __init__(self, directory: LogDirectory, wanted: Sequence[str], *, into: str | None = None) -> None:
        """Make the plan: of the files that are named, all whole batches; of all others, what has diverged.

        Raises NotFoundError for a name that is not there.
        """
        self._directory = directory
        self._into = into
        self._quarantine = Quarantine(directory)
        self._logs = {log.name: log for log in self._quarantine.logs}
        self._named = {self._name_of(word) for word in wanted}
        self._addresses: dict[tuple[str, int], str | None] = {}
        self.plan = [self._plan(log) for log in self._quarantine.logs]

    def _name_of(self, word: str) -> str:
        name = os.path.basename(word)
        for found in (name, name + SALVAGED_SUFFIX):
            if found in self._logs:
                return found
        raise NotFoundError(
            f"there is no {name!a} in {self._directory.path}/quarantine",
            fix="`mk replicate salvage --dry-run` lists what there is; nothing was produced",
        )

    def _plan(self, log: QuarantinedLog) -> Document:
        row = self._quarantine.describe(log)
        if self._named:
            row["wanted"] = row["records"] if log.name in self._named else 0
        else:
            row["wanted"] = row["diverged_records"]
        if row["salvaged"]:
            row["wanted"] = 0
        row.update(target=None, stored=0, stored_before=0, problem=None)
        if row["wanted"]:
            row["target"] = self._into or self._address(log.topic, log.partition)
            if row["target"] is None:
                row["problem"] = "nobody told at what address its leader is; say it with --into"
        return row

    def _address(self, name: str, partition: int) -> str | None:
        """Return where the leader of a partition is: the path of a directory here, or `host:directory`; None if unknown."""
        key = name, partition
        if key not in self._addresses:
            self._addresses[key] = None
            try:
                topic = self._directory.open_topic(name)
            except MkError:
                return None
            try:
                leader = topic.read_epochs(partition).latest.leader_id
            finally:
                topic.close()
            if leader == self._directory.directory_id:
                self._addresses[key] = self._directory.path
            else:
                self._addresses[key] = local_path(address_of(self._directory, leader), leader) or None
        return self._addresses[key]

    @property
    def to_do(self) -> list[Document]:
        return [row for row in self.plan if row["wanted"]]

    def run(self, open_target: Callable[[str], Target], *, wait_ms: int = 10_000) -> list[MkError]:
        """Produce what is planned again, on disk when it returns. Returns the errors of the files that were left."""
        failures: list[MkError] = []
        opened: dict[str, Target] = {}
        try:
            for row in self.to_do:
                location = row["target"]
                try:
                    if location is None:
                        raise NotFoundError(
                            f"cannot salvage {row['name']}", why=row["problem"], fix="nothing of it was produced"
                        )
                    if location not in opened:
                        opened[location] = open_target(location)
                    self._salvage(row, opened[location], wait_ms)
                except MkError as error:
                    row["problem"] = f"{error.what}: {error.why}" if error.why else error.what
                    failures.append(error)
                    if location in opened:
                        opened.pop(location).close()  # It may be a connection that ended.
        finally:
            for target in opened.values():
                target.close()
        return failures

    def _salvage(self, row: Document, target: Target, wait_ms: int) -> None:
        log = self._logs[row["name"]]
        topic = target.open_topic(log.topic)
        try:
            own = self._own_topic(log.topic)
            try:
                if self._into is None and own is not None and topic.topic_id != own.topic_id:
                    raise DataError(
                        f"topic {log.topic} of {row['target']} is another one than here",
                        why=f"its id is {topic.topic_id}, and {own.topic_id} here",
                        fix=f"say with --into where the records of {log.name} belong; nothing of it was produced",
                    )
                _FileSalvage(self._quarantine, log, topic, own, row, wait_ms).run(bool(self._named))
            finally:
                if own is not None:
                    own.close()
        finally:
            topic.close()
        row["name"] = mark_salvaged(self._directory, log.name)
        row["salvaged"] = True

    def _own_topic(self, name: str) -> Topic | None:
        try:
            return self._directory.open_topic(name)
        except MkError:
            return None  # Deleted here. What --into says is the user's word.


class _Begun:
    """How far the records of one producer id are done.

    first_sequence: of the first of them in the file. records: how many were looked at. last_stored: the last sequence that the
    log there has, -2 where nobody has asked yet. stored: digests of what was sent again.
    """

    __slots__ = ("first_sequence", "last_stored", "records", "stored")

    def __init__(self, first_sequence: int) -> None:
        self.first_sequence = first_sequence
        self.records = 0
        self.last_stored = -2
        self.stored: list[bytes] | None = None


class _FileSalvage:
    """Appends the batches of one file to a partition of a topic."""

    def __init__(
        self,
        quarantine: Quarantine,
        log: QuarantinedLog,
        topic: TargetTopic,
        own: Topic | None,
        row: Document,
        wait_ms: int,
    ) -> None:
        self._quarantine = quarantine
        self._log = log
        self._topic = topic
        self._own = own
        self._row = row
        self._wait_ms = wait_ms
        self._ids: dict[int, int] = {}
        self._begun: dict[int, _Begun] = {}

    def run(self, all_of_it: bool) -> None:
        target = self._topic.open_log(self._log.partition, lock_wait_ms=self._wait_ms)
        try:
            run: list[EncodedBatch] = []
            for batch in self._quarantine.batches(self._log, all_of_them=all_of_it):
                encoded = self._encoded(batch)
                if encoded is None:
                    continue
                if not encoded.producer_id and not self._number(target, batch, encoded):
                    self._row["stored_before"] += batch.record_count
                    continue
                if run and (
                    encoded.producer_id != run[0].producer_id
                    or len(run) == _RUN_BATCHES
                    or sum(one.size_bytes for one in run) + encoded.size_bytes > _RUN_BYTES
                ):
                    self._append(target, run)
                    run = []
                run.append(encoded)
            if run:
                self._append(target, run)
        finally:
            target.close()

    def _append(self, target: TargetLog, run: list[EncodedBatch]) -> None:
        result = target.append(run, DISK)
        self._row["stored"] += result.last_offset - result.first_offset + 1
        self._row["stored_before"] += result.duplicates

    def _encoded(self, batch: RecordBatch) -> EncodedBatch | None:
        """Return a batch as a producer would send it, with the same records; None if there are none in it."""
        if batch.attributes & CONTROL or not batch.record_count:
            return None
        if batch.attributes & COMPACTED:
            records = batch.records(self._log.topic, self._log.partition)
            encoded = encode_columns(
                [record.value for record in records],
                base_timestamp=records[0].timestamp_ms,
                keys=[record.key for record in records],
                timestamps=[record.timestamp_ms for record in records],
                headers=[record.headers for record in records],
            )
            encoded.number(self._derived_id(), [record.offset for record in records])
            return encoded
        assert batch.payload is not None
        encoded = EncodedBatch(
            [batch.payload],
            raw_length=batch.raw_length,
            attributes=batch.attributes & (CODEC_MASK | KIND_MASK),
            record_count=batch.record_count,
            base_timestamp=batch.base_timestamp,
            max_timestamp=batch.max_timestamp,
            key_length=batch.key_length,
        )
        if not batch.producer_id or not self._pinned(batch.producer_id):
            encoded.number(self._derived_id(), range(batch.base_offset, batch.next_offset))
        return encoded

    def _number(self, target: TargetLog, batch: RecordBatch, encoded: EncodedBatch) -> bool:
        """Give a batch of a producer with an id its sequences; False if all of it is stored.

        Where other partitions have some in between, only the first and the last one are known. What the log leaves out then
        depends on how many of the records it has; between those and the last one, as high as they can be: should the same
        producer be running, a record may be stored twice, and none is lost.
        """
        producer_id, count = batch.producer_id, batch.record_count
        first, last = batch.first_sequence, batch.last_sequence
        begun = self._begun.setdefault(producer_id, _Begun(first))
        if begun.last_stored < -1:
            begun.last_stored = target.last_sequence(producer_id)
        sequences: Sequence[int] = range(first, last + 1)
        if last > begun.last_stored and len(sequences) != count:
            stored = self._count_stored(batch, begun) if first <= begun.last_stored else 1
            sequences = array("q", (*range(first, first + stored), *range(last - (count - stored) + 1, last + 1)))
        begun.records += count
        if last <= begun.last_stored:
            return False
        begun.last_stored = last
        encoded.number(producer_id, sequences)
        return True

    def _count_stored(self, batch: RecordBatch, begun: _Begun) -> int:
        """Return how many records of a batch, the first ones, its producer has sent again, by what stands in the log there."""
        if begun.stored is None:
            begun.stored = self._stored_again(batch.producer_id, begun.first_sequence)
        wanted = begun.stored[begun.records : begun.records + batch.record_count]
        found = [_digest(record) for record in batch.records("", 0)[: len(wanted)]]
        if not wanted or wanted != found or len(wanted) == batch.record_count:
            raise DataError(
                f"{self._log.name} cannot be salvaged from offset {batch.base_offset} on",
                why=f"some of the {batch.record_count} records of the batch there were sent again by their producer, and "
                "which ones cannot be told",
                fix="run that producer once more, with the same producer id and input: it stores what is missing, and "
                "then this command goes on; what stands in front of it is produced",
                path=self._log.name,
                offset=batch.base_offset,
            )
        return len(wanted)

    def _stored_again(self, producer_id: int, first_sequence: int) -> list[bytes]:
        """Return of each record that a producer has stored there since the logs parted, from a sequence on, a digest."""
        parted = min(
            log.first_offset
            for log in self._quarantine.logs
            if (log.topic, log.partition) == (self._log.topic, self._log.partition)
        )
        found: list[bytes] = []
        reader = self._topic.open_reader(self._log.partition)
        try:
            if parted < reader.log_start_offset:
                return []
            reader.seek(min(parted, reader.high_watermark))
            while batches := reader.fetch():
                for batch in batches:
                    if batch.producer_id == producer_id and batch.last_sequence >= first_sequence:
                        found += map(_digest, batch.records("", 0))
        finally:
            reader.close()
        return found

    def _pinned(self, producer_id: int) -> bool:
        """Have the target know of a producer id as this directory does; False if it is not known here either."""
        if producer_id not in self._ids:
            pin = None if self._own is None else _read_pin(self._own, producer_id)
            if pin is not None:
                self._topic.pin_producer(pin.name, partition=pin.partition, lock_wait_ms=self._wait_ms)
            self._ids[producer_id] = pin is not None
        return bool(self._ids[producer_id])

    def _derived_id(self) -> int:
        name = derived_name(self._log.name)
        if 0 not in self._ids:
            pin = self._topic.pin_producer(name, partition=self._log.partition, lock_wait_ms=self._wait_ms)
            self._ids[0] = pin.producer_id
        return self._ids[0]


def _digest(record: ConsumerRecord) -> bytes:
    return sha256(repr((record.key, record.value, record.headers)).encode()).digest()[:16]


def _read_pin(topic: Topic, producer_id: int) -> ProducerPin | None:
    name = f"{PRODUCERS_DIRECTORY}/{producer_id:016x}"
    try:
        fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
    except FileNotFoundError:
        return None
    try:
        data = files.read_file(f"{producer_id:016x}", dir_fd=fd)
    except FileNotFoundError:
        return None
    finally:
        files.close(fd)
    return decode_pin(data, topic, f"{topic.path}/{name}")


def derived_name(name: str) -> str:
    """Return the producer id for records of a file that have none: the same whatever was marked since."""
    stem = name.removesuffix(SALVAGED_SUFFIX)
    if len(_DERIVED) + len(stem) > MAX_NAME_LENGTH:
        stem = sha256(stem.encode()).hexdigest()
    return _DERIVED + stem


def local_path(address: str, directory_id: str) -> str:
    """Return the path of a directory whose address is of this host and that is there; else the address as it is."""
    host, colon, path = address.partition(":")
    if colon and host == socket.gethostname():
        try:
            directory = LogDirectory(path)
        except (MkError, OSError):
            return address
        directory.close()
        if directory.directory_id == directory_id:
            return path
    return address
