"""One topic of a log directory: its identity and settings, and whether it is still the one that was opened."""

from __future__ import annotations

import os
import time

from mk.config import COMPACT, DELETE, TOPIC_CONFIG
from mk.errors import CorruptStateError, KeyRequiredError, NoSuchPartitionError, NoSuchTopicError, TopicSealedError
from mk.storage import files, flat_json
from mk.topic_partition import MAX_PARTITIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.records.record_batch import EncodedBatch
    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.log_directory import LogDirectory
    from mk.storage.partition_log import AppendResult, PartitionLog
    from mk.storage.partition_reader import PartitionReader, ReadBuffer
    from mk.storage.producer_pin import ProducerPin

FILE_NAME = "topic.json"
PRODUCERS_DIRECTORY = "producers"
_PIN_NAME_LENGTH = 16
_MAX_BYTES = 1 << 20


class Topic:
    """An open topic.

    Held open: its directory, so that reading goes on after a rename; and topic.json, so that the inode cannot be used
    again and a comparison with what stands at its path now is exact.

    topic_id: 32 hex digits, never used twice. overrides: the settings that differ from the defaults. created, sealed:
    when, as in topic.json; "" is unknown, and not sealed. compacts, deletes: what its cleanup.policy has done to old
    records. version: grows whenever topic.json was read again, so that
    whoever keeps something of it knows when to look.

    All but the id are cached; check_identity() and refresh() read them again when topic.json was replaced.
    """

    topic_id: str
    partitions: int
    partitioner: str
    overrides: dict[str, int | str]
    created: str
    sealed: str
    sealed_by: str
    compacts: bool
    deletes: bool

    __slots__ = (
        "_json_fd",
        "compacts",
        "created",
        "deletes",
        "directory",
        "fd",
        "name",
        "overrides",
        "partitioner",
        "partitions",
        "sealed",
        "sealed_by",
        "topic_id",
        "version",
    )

    def __init__(self, directory: LogDirectory, name: str) -> None:
        self.directory = directory
        self.name = name
        self.version = 0
        try:
            self.fd = files.open_directory(name, dir_fd=directory.topics_fd)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchTopicError(topic=name, directory=directory.path) from None
        try:
            self._json_fd = files.open_file(FILE_NAME, os.O_RDONLY, dir_fd=self.fd)
        except FileNotFoundError:
            files.close(self.fd)
            raise NoSuchTopicError(topic=name, directory=directory.path, why="its topic.json is missing") from None
        except BaseException:
            files.close(self.fd)
            raise
        try:
            self._adopt(self._read(self._json_fd))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for fd in (self._json_fd, self.fd):
            if fd >= 0:
                files.close(fd)
        self._json_fd = self.fd = -1

    @property
    def path(self) -> str:
        return f"{self.directory.path}/topics/{self.name}"

    def config(self, name: str) -> int | str:
        """Return a setting's value, the default if the topic does not override it."""
        return self.overrides.get(name, TOPIC_CONFIG[name].default)

    def check_partition(self, partition: int) -> int:
        if not 0 <= partition < self.partitions:
            raise NoSuchPartitionError(topic=self.name, partition=partition, partitions=self.partitions)
        return partition

    def check_identity(self) -> None:
        """Make sure, under a partition's lock, that the topic at this name is still the one that was opened.

        Without this, a topic deleted or renamed between our open and our lock would take an append into files that
        nobody will ever read, and the acknowledgement would be a lie.
        """
        opened = os.fstat(self._json_fd)
        try:
            there = os.stat(f"{self.name}/{FILE_NAME}", dir_fd=self.directory.topics_fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            raise self._moved() from None
        if (opened.st_ino, opened.st_dev) == (there.st_ino, there.st_dev):
            return
        # By its path and not by self.fd: after a rename that descriptor leads to the renamed topic.
        try:
            topic_fd = files.open_directory(self.name, dir_fd=self.directory.topics_fd)
            try:
                is_ours = os.path.sameopenfile(topic_fd, self.fd)
                json_fd = files.open_file(FILE_NAME, os.O_RDONLY, dir_fd=topic_fd)
            finally:
                files.close(topic_fd)
        except (FileNotFoundError, NotADirectoryError):
            raise self._moved() from None
        self._take(json_fd)
        if not is_ours:
            # A copy of another directory's topic has the same id again when it was deleted and copied anew.
            raise self._gone("it was deleted and made anew")

    def refresh(self) -> bool:
        """Read topic.json again if it was replaced, and tell whether it was. For readers: it takes no lock.

        By the directory's descriptor, so that a reader follows its topic to another name.
        """
        opened = os.fstat(self._json_fd)
        try:
            there = os.stat(FILE_NAME, dir_fd=self.fd, follow_symlinks=False)
            if (opened.st_ino, opened.st_dev) == (there.st_ino, there.st_dev):
                return False
            json_fd = files.open_file(FILE_NAME, os.O_RDONLY, dir_fd=self.fd)
        except FileNotFoundError:
            return False  # It is being deleted, which is_deleted tells.
        self._take(json_fd)
        return True

    def check_not_sealed(self) -> None:
        """Raise TopicSealedError if the topic takes no more records, as of the last look at topic.json."""
        if self.sealed:
            raise TopicSealedError(topic=self.name, since=self.sealed, by=self.sealed_by)

    def look_at_keys(self, batches: Sequence[EncodedBatch]) -> None:
        """Find out before the lock is taken what check_keys will want to know under it: columns are unpacked for it."""
        if self.compacts:
            from mk.records.batch_keys import lacks_keys

            for batch in batches:
                lacks_keys(batch)

    def check_keys(self, batches: Sequence[EncodedBatch]) -> None:
        """Raise KeyRequiredError if a record has no key and the topic is compacted, as of the last look at topic.json."""
        if self.compacts:
            from mk.records.batch_keys import lacks_keys

            if any(map(lacks_keys, batches)):
                raise KeyRequiredError(topic=self.name)

    def fields(self) -> dict[str, str | int | bool | None]:
        """Return all of topic.json as it was when last read, also what only a newer mk knows."""
        return self._read(self._json_fd)

    def has_producers(self) -> bool:
        """Tell whether a batch of this topic may be of a producer with an id. Under a partition's lock it stays so."""
        return files.exists(PRODUCERS_DIRECTORY, dir_fd=self.fd)

    def read_pins(self) -> dict[str, bytes]:
        """Return file name and content of the pin of each producer id."""
        try:
            fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=self.fd)
        except FileNotFoundError:
            return {}
        try:
            names = sorted(name for name in os.listdir(fd) if len(name) == _PIN_NAME_LENGTH and name.isalnum())
            return {name: files.read_file(name, dir_fd=fd) for name in names}
        finally:
            files.close(fd)

    # What producers and consumers ask of a topic, and nothing else: a topic behind ssh answers the same.

    def open_log(self, partition: int, *, lock_wait_ms: int = 10_000) -> PartitionLog:
        """Open a partition for appending."""
        from mk.storage.partition_log import PartitionLog

        return PartitionLog(self, partition, lock_wait_ms=lock_wait_ms)

    def append_batches(
        self, partition: int, batches: Sequence[EncodedBatch], *, lock_wait_ms: int = 10_000
    ) -> AppendResult:
        """Append encoded batches as they are, on disk when it returns. See PartitionLog.append for what it raises."""
        from mk.storage.partition_log import DISK

        log = self.open_log(partition, lock_wait_ms=lock_wait_ms)
        try:
            result = log.append(batches, DISK)
        finally:
            log.close()
        if result.began_segment and self.compacts:
            from mk.storage.compaction_plan import compact_after_roll

            compact_after_roll(self, partition, lock_wait_ms=lock_wait_ms)
        return result

    def open_reader(self, partition: int, buffer: ReadBuffer | None = None) -> PartitionReader:
        """Open a partition for reading, at its log start."""
        from mk.storage.partition_reader import PartitionReader

        return PartitionReader(self, partition, buffer)

    def pin_producer(self, name: str, *, partition: int | None, lock_wait_ms: int) -> ProducerPin:
        """Return what a producer id stands for here, see producer_pin."""
        from mk.storage.producer_pin import pin_producer

        return pin_producer(self, name, partition=partition, lock_wait_ms=lock_wait_ms)

    def check_not_followed(self, name: str) -> None:
        """Raise UsageError if the input of a producer id is files that are followed, see input_mark."""
        from mk.storage.input_mark import check_not_followed

        check_not_followed(self, name)

    def read_epochs(self, partition: int) -> LeaderEpochs:
        """Return the leader epochs of a partition, as they are on disk."""
        from mk.storage.leader_epochs import read_epochs

        fd = files.open_directory(str(partition), dir_fd=self.fd)
        try:
            return read_epochs(fd, f"{self.path}/{partition}")
        finally:
            files.close(fd)

    def open_cleaner_lock(self, partition: int) -> int:
        """Open the lock file of whoever compacts a partition, which is made with the first of them."""
        try:
            return self.directory.open_lock(self.topic_id, f"{partition}.cleaner", create=True)
        except FileNotFoundError:
            self.check_not_deleted()
            raise

    def open_lock(self, partition: int) -> int:
        """Open the lock file of a partition, anew for each caller: who shares an open file shares its lock."""
        try:
            return self.directory.open_lock(self.topic_id, str(partition))
        except FileNotFoundError:
            self.check_not_deleted()
            self.check_identity()
            raise CorruptStateError(
                path=f"{self.directory.path}/locks/{self.topic_id}/{partition}",
                found="it is missing, as in a copy made by somebody who may only read",
                fix="such a copy can be read, not written to; nothing was changed",
            ) from None

    @property
    def watch_path(self) -> str:
        """A path of the directory to watch for a new topic.json, true also after a rename."""
        return f"/proc/self/fd/{self.fd}"

    def is_deleted(self) -> bool:
        """Tell whether this topic was deleted since it was opened, or is being deleted: what is missing then is no damage.

        In this order: the directory under that name is removed after topic.json in it. Not by the open topic.json, which
        also a change of the topic leaves without a name; and not by the topic's path, which a rename takes away.
        """
        return files.exists(f".deleted-{self.topic_id}", dir_fd=self.directory.topics_fd) or not files.exists(
            FILE_NAME, dir_fd=self.fd
        )

    def check_not_deleted(self) -> None:
        """Raise NoSuchTopicError if the topic was deleted since it was opened."""
        if self.is_deleted():
            raise self._gone("it was deleted")

    def check_name(self) -> None:
        """Raise NoSuchTopicError if nothing, or another topic, has the name by now that this one was found by."""
        try:
            there = os.stat(self.name, dir_fd=self.directory.topics_fd, follow_symlinks=False)
        except FileNotFoundError:
            raise self._moved() from None
        opened = os.fstat(self.fd)
        if (opened.st_ino, opened.st_dev) != (there.st_ino, there.st_dev):
            raise self._moved()

    def _take(self, json_fd: int) -> None:
        """Go on with a topic.json that was opened anew, which must be this topic's."""
        try:
            fields = self._read(json_fd)
            if fields["topic_id"] != self.topic_id:
                raise self._gone("another topic has its name now")
        except BaseException:
            # What was opened first stays: the next comparison must fail as well.
            files.close(json_fd)
            raise
        files.close(self._json_fd)
        self._json_fd = json_fd
        self._adopt(fields)

    def _moved(self) -> NoSuchTopicError:
        """Return what to say when nothing is at this topic's name any more, with its new name if it has one."""
        if not self.is_deleted():
            for name in self.directory.topic_names():
                try:
                    there = os.stat(name, dir_fd=self.directory.topics_fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if (there.st_ino, there.st_dev) == (os.fstat(self.fd).st_ino, os.fstat(self.fd).st_dev):
                    return self._gone(f"it was renamed, to {name}")
        return self._gone("it was deleted or renamed")

    def _gone(self, why: str) -> NoSuchTopicError:
        return NoSuchTopicError(topic=self.name, directory=self.directory.path, why=why)

    def _read(self, json_fd: int) -> dict[str, str | int | bool | None]:
        path = f"{self.path}/{FILE_NAME}"
        fields = flat_json.decode(files.pread(json_fd, min(files.size(json_fd), _MAX_BYTES), 0), path)
        topic_id, partitions, partitioner = fields.get("topic_id"), fields.get("partitions"), fields.get("partitioner")
        if (
            type(topic_id) is not str
            or len(topic_id) != 32
            or not topic_id.isalnum()
            or type(partitions) is not int
            or not 1 <= partitions <= MAX_PARTITIONS
            or type(partitioner) is not str
        ):
            raise CorruptStateError(path=path, found="a field is missing or impossible")
        return fields

    def _adopt(self, fields: dict[str, Any]) -> None:
        self.topic_id = fields["topic_id"]
        self.partitions = fields["partitions"]
        self.partitioner = fields["partitioner"]
        self.created = str(fields.get("created") or "")
        self.sealed = str(fields.get("sealed") or "")
        self.sealed_by = str(fields.get("sealed_by") or "")
        self.version += 1
        # A setting of a newer mk is none of ours; one of ours has the type that was checked when it was set.
        self.overrides = {
            name: value
            for name, value in fields.items()
            if name in TOPIC_CONFIG and type(value) is type(TOPIC_CONFIG[name].default)
        }
        policy = str(self.config("cleanup.policy"))
        self.compacts, self.deletes = COMPACT in policy, DELETE in policy


def encode_topic(name: str, topic_id: str, partitions: int, partitioner: str, overrides: dict[str, int | str]) -> bytes:
    """Return the content of topic.json for a topic that is made now."""
    return flat_json.encode(
        {
            "topic_id": topic_id,
            "name": name,
            "partitions": partitions,
            "partitioner": partitioner,
            "created": utc_now(),
            **overrides,
        }
    )


def utc_now() -> str:
    """Return the present time as the JSON files have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
