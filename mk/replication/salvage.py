"""Producing again what a fail-over cut off: records that were stored under an old leader, and that the new one never had.

Each exactly once. Batches of a producer id keep it and their sequences, so the log leaves out what that producer has sent
again already; the others get a producer id made of the name of their file, and their offsets for sequences. So whatever is
killed, the same command again stores what is missing and nothing twice. Only then is the file marked, and kept.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Sequence as AbstractSequence
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
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.producer_pin import decode_pin
from mk.storage.quarantine import SALVAGED_SUFFIX, mark_salvaged
from mk.storage.replica_directory import address_of
from mk.storage.topic import PRODUCERS_DIRECTORY
from mk.topic_partition import MAX_NAME_LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from mk.records.record_batch import RecordBatch
    from mk.storage.partition_log import AppendResult
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
        for row in self.to_do:
            try:
                if row["target"] is None:
                    raise NotFoundError(
                        f"cannot salvage {row['name']}", why=row["problem"], fix="nothing of it was produced"
                    )
                target = open_target(row["target"])
                try:
                    self._salvage(row, target, wait_ms)
                finally:
                    target.close()
            except MkError as error:
                row["problem"] = f"{error.what}: {error.why}" if error.why else error.what
                failures.append(error)
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
        self._target: TargetLog | None = None

    def run(self, all_of_it: bool) -> None:
        target = self._topic.open_log(self._log.partition, lock_wait_ms=self._wait_ms)
        try:
            run: list[EncodedBatch] = []
            for batch in self._quarantine.batches(self._log, all_of_them=all_of_it):
                encoded = self._encoded(batch)
                if encoded is None:
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
        if not isinstance(target, PartitionLog):
            run = self._with_sequences(target, run)
            if not run:
                return
        result = target.append(run, DISK)
        self._row["stored"] += result.last_offset - result.first_offset + 1
        self._row["stored_before"] += result.duplicates

    def _with_sequences(self, target: TargetLog, run: list[EncodedBatch]) -> list[EncodedBatch]:
        """Return a run as it can be sent to another host, with a sequence for each record, without what is stored there.

        Between the first and the last one they are not known; the log over there needs them only for a batch of which it has
        a part, and such a batch is refused here.
        """
        if not any(isinstance(batch.sequences, _UnknownSequences) for batch in run):
            return run
        last = target.last_sequence(run[0].producer_id)
        left = []
        for batch in run:
            if batch.last_sequence <= last:
                self._row["stored_before"] += batch.record_count
                continue
            if isinstance(batch.sequences, _UnknownSequences):
                if batch.first_sequence <= last:
                    raise batch.sequences.error
                first = batch.first_sequence
                batch.number(
                    batch.producer_id, array("q", (*range(first, first + batch.record_count - 1), batch.last_sequence))
                )
            left.append(batch)
        return left

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
        elif batch.last_sequence - batch.first_sequence + 1 == batch.record_count:
            encoded.number(batch.producer_id, range(batch.first_sequence, batch.last_sequence + 1))
        else:
            encoded.producer_id = batch.producer_id
            encoded.first_sequence, encoded.last_sequence = batch.first_sequence, batch.last_sequence
            encoded.sequences = _UnknownSequences(self._log.name, batch)
        return encoded

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


class _UnknownSequences(AbstractSequence[int]):
    """The sequences of a batch between whose records there are others, in other partitions: only first and last are known.

    Asked for by who has to take a batch apart, because it has stored a part of it; which one, nobody can tell.
    """

    def __init__(self, name: str, batch: RecordBatch) -> None:
        self.error = DataError(
            f"{name} cannot be salvaged from offset {batch.base_offset} on",
            why=f"some of the {batch.record_count} records of the batch there were sent again by their producer, and which "
            "ones cannot be told",
            fix="run that producer once more, with the same producer id and input: it stores what is missing, and then "
            "this command goes on; what stands in front of it is produced",
            path=name,
            offset=batch.base_offset,
        )

    def __len__(self) -> int:
        raise self.error

    def __getitem__(self, _: Any) -> Any:
        raise self.error


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
