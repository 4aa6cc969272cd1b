"""A log directory of this host as one side of a replication.

As a source it is read without a lock, and on a read-only disk as well. As a target it changes under the locks that its own
producers take, each change by the module of mk.storage whose noun it is; here stands what belongs together.
"""

from __future__ import annotations

import os
import time

from mk.errors import (
    ConfigurationError,
    MkError,
    NoSuchDirectoryError,
    NoSuchTopicError,
    PermissionDeniedError,
    StorageError,
)
from mk.groups import replicated_offsets
from mk.replication.reconciliation import GAP
from mk.replication.replica import CopiedBatches, PartitionImage, TopicImage
from mk.storage import files, flat_json, replica_directory
from mk.storage.copy_reader import CopyReader
from mk.storage.host import boot_id
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs
from mk.storage.locks import try_acquire
from mk.storage.log_directory import FILE_NAME, LogDirectory
from mk.storage.log_segment import UNKNOWN_CHAIN
from mk.storage.partition_reader import ReadBuffer
from mk.storage.partition_state import SNAPSHOT_BOOT
from mk.storage.topic import Topic
from mk.storage.watch import POLL_MS, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mk.replication.replica import CommittedOffset, PartitionWriter


class DirectoryReplica:
    """An open log directory. location: as the user named it. takes_threads: see Replica."""

    takes_threads = True

    __slots__ = (
        "_buffer",
        "_directory",
        "_ends",
        "_lock_wait_ms",
        "_names",
        "_noted",
        "_run_lock_fd",
        "_seen",
        "_source_id",
        "_watch",
        "_watched",
        "address",
        "directory_id",
        "location",
    )

    def __init__(self, path: str, *, allow_network_fs: bool = False, lock_wait_ms: int = 10_000) -> None:
        self.location = path
        self._directory = LogDirectory(path, allow_network_fs=allow_network_fs)
        self.directory_id = self._directory.directory_id
        self.address = str(self._identity().get("address") or "")
        self._lock_wait_ms = lock_wait_ms
        self._buffer = ReadBuffer()
        self._run_lock_fd = -1
        self._source_id = ""
        self._noted: list[tuple[str, int]] = []
        # Of the topics that were looked at last: their names, and where their partitions end.
        self._names: dict[str, str] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._watch: Watch | None = None
        self._watched: set[tuple[str, int]] = set()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._run_lock_fd >= 0:
            files.close(self._run_lock_fd)
            self._run_lock_fd = -1
        self._directory.close()

    def set_address(self, address: str) -> None:
        """Have this directory call itself `address` from now on; on disk when it returns."""
        fields = self._identity()
        if fields.get("address") == address:
            return
        _ = self._directory.locks_fd  # Refuses whoever may only read.
        fields["address"] = address
        files.replace_file(FILE_NAME, flat_json.encode(fields), dir_fd=self._directory.fd)
        self.address = address

    def _identity(self) -> dict[str, str | int | bool | None]:
        data = files.read_file(FILE_NAME, dir_fd=self._directory.fd)
        return flat_json.decode(data, f"{self._directory.path}/{FILE_NAME}")

    # As a source.

    def topics(self, names: Sequence[str] | None = None) -> Iterator[TopicImage]:
        """Yield an image of each of these topics, or of all, by name. One that is not there is left out."""
        if names is None:
            # Deleted while it is followed, it would be one whose topics were all deleted, and be followed for ever.
            if not files.exists(FILE_NAME, dir_fd=self._directory.fd):
                raise NoSuchDirectoryError(path=self.location)
            self._seen.clear()
            names = self._directory.topic_names()
        for name in names:
            try:
                topic = self._directory.open_topic(name)
            except NoSuchTopicError:
                continue
            except (MkError, OSError) as error:
                yield _unreadable(name, "", error)
                continue
            try:
                image = self._topic_image(topic)
            except (MkError, OSError) as error:
                if topic.is_deleted():
                    continue
                image = _unreadable(name, topic.topic_id, error)
            finally:
                topic.close()
            yield image

    def chain_at(self, topic: str, partition: int, offset: int) -> int | None:
        """Return the chain of the batch that ends at `offset`; UNKNOWN_CHAIN if it is gone, None if no batch ends there."""
        with _Opened(self._directory, topic, partition, self._buffer) as reader:
            return reader.chain_at(offset)

    def read(self, topic: str, partition: int, from_offset: int, to_offset: int) -> Iterator[CopiedBatches]:
        """Yield the batches from one offset up to another, both between two batches; see Replica.read."""
        # A buffer of its own: another thread may read another partition.
        with _Opened(self._directory, topic, partition, ReadBuffer()) as reader:
            if from_offset == to_offset == reader.active_segment:
                producers = reader.producers_of(to_offset) if to_offset else b""
                if producers:
                    yield CopiedBatches(to_offset, to_offset, b"", begins_segment=True, producers=producers)
                return
            for piece in reader.pieces(from_offset, to_offset):
                begins_segment = piece.position == 0
                yield CopiedBatches(
                    piece.base_offset,
                    piece.next_offset,
                    piece.data,
                    begins_segment=begins_segment,
                    producers=reader.producers_of(piece.segment) if begins_segment else b"",
                )

    def size_bytes(self, topic: str, partition: int, from_offset: int, to_offset: int) -> int:
        """Return how many bytes the batches from one offset up to another take, both between two batches."""
        with _Opened(self._directory, topic, partition, self._buffer) as reader:
            return sum(stop - start for *_, start, stop in reader.extents(from_offset, to_offset))

    def digests(self, topic: str, partition: int, from_offset: int, to_offset: int) -> list[tuple[int, int, bytes]]:
        """Return of each segment's batches in between: first offset, next offset, and SHA-256 of their bytes."""
        from hashlib import sha256

        found = []
        with _Opened(self._directory, topic, partition, self._buffer) as reader:
            for segment, first_offset, next_offset, position, stop in reader.extents(from_offset, to_offset):
                digest = sha256()
                for data in reader.bytes_of(segment, position, stop):
                    digest.update(data)
                found.append((first_offset, next_offset, digest.digest()))
        return found

    def committed_offsets(self, topic_ids: Sequence[str]) -> list[CommittedOffset]:
        """Return what groups have committed of these topics, and on a follower what it has of its leader's groups."""
        return replicated_offsets.committed_offsets(self._directory, topic_ids)

    def wait(self, timeout_ms: int) -> bool:
        """Sleep until something may have been appended to what `topics` was last asked for. False if the time ran out."""
        if self._watch is None:
            # What came before there was a watch, nobody told us.
            self._watch = Watch([])
            self._watch.add_directory(os.path.join(self._directory.path, "topics"))
            for name, partition in self._seen:
                self._watch_partition(name, partition)
            return True
        until = time.monotonic() + timeout_ms / 1000
        while True:
            left_ms = max(0, int((until - time.monotonic()) * 1000))
            names_changed = self._watch.wait(min(left_ms, POLL_MS))
            if names_changed or self._has_changed():
                return True
            if left_ms == 0:
                return False

    def note_follower(self, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
        """Note how far a follower has got. Nothing depends on it, so it may fail, as on a read-only disk."""
        replica_directory.note_follower(self._directory, directory_id, address, ends)

    def _topic_image(self, topic: Topic) -> TopicImage:
        image = TopicImage()
        image.name = topic.name
        image.topic_id = topic.topic_id
        image.fields = topic.fields()
        image.problem = ""
        image.partitions = []
        self._names[topic.topic_id] = topic.name
        for partition in range(topic.partitions):
            reader = CopyReader(topic, partition, self._buffer)
            try:
                self._ends[topic.topic_id, partition] = reader.high_watermark
                if self._watch is not None and (topic.name, partition) not in self._watched:
                    self._watch_partition(topic.name, partition)
                    reader.refresh()  # What came before it was watched, nobody told us.
                self._seen[topic.name, partition] = reader.state.sequence
                image.partitions.append(_partition_image(reader))
            finally:
                reader.close()
        # Last, so that whose batches are in the partitions is among them.
        image.pins = topic.read_pins()
        return image

    def _watch_partition(self, topic: str, partition: int) -> None:
        assert self._watch is not None
        path = f"{self._directory.path}/topics/{topic}"
        if partition == 0:
            self._watch.add_directory(path)
        self._watch.add(f"{path}/{partition}/state")
        self._watched.add((topic, partition))

    def _has_changed(self) -> bool:
        """Tell whether a partition's state was written since it was looked at: not everywhere does the kernel tell."""
        from mk.storage.partition_state import read_state

        for (name, partition), sequence in self._seen.items():
            try:
                fd = files.open_file(f"{name}/{partition}/state", os.O_RDONLY, dir_fd=self._directory.topics_fd)
            except (OSError, MkError):
                return True
            try:
                state = read_state(fd)
            finally:
                files.close(fd)
            if state is None or state.sequence != sequence:
                return True
        return False

    def fence(self, topic: str, partition: int, epochs: Sequence[tuple[int, int, str]]) -> bool:
        """Have this directory know, on disk, of a leader epoch above its own. False if it knew, or may not be changed."""
        from mk.storage.follower_log import FollowerLog

        with _OpenedTopic(self._directory, topic) as opened:
            try:
                log = FollowerLog(opened, partition, lock_wait_ms=self._lock_wait_ms)
            except (PermissionDeniedError, ConfigurationError):
                return False
            try:
                return log.fence(_epochs(epochs))
            finally:
                log.close()

    # As a target.

    def copies_of(self, sources: Sequence[TopicImage], prefix: str) -> list[TopicImage]:
        return list(self.topics())

    def begin(self, directory_id: str, address: str) -> bool:
        """Take the lock of replications from that source; False if another run has it. Held until `close`."""
        replica_directory.check_directory_id(self._directory, directory_id)
        # Kept for ever, as all locks are: a second file under that name would be a second lock.
        name = f"replica-{directory_id}"
        fd = files.open_file(name, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self._directory.locks_fd)
        if not try_acquire(fd):
            files.close(fd)
            return False
        self._run_lock_fd = fd
        self._source_id = directory_id
        files.close(replica_directory.make_replica_directory(self._directory, directory_id, address))
        return True

    def create_topic(self, image: TopicImage) -> None:
        """Make a topic that follows the source's: `image` is the source's, but for its name here."""
        from mk.storage.replica_topic import create_replica_topic

        create_replica_topic(
            self._directory,
            image.name,
            fields=image.fields,
            pins=image.pins,
            partitions=_partitions(image),
            wait_ms=self._lock_wait_ms,
        )

    def update_topic(self, image: TopicImage) -> None:
        """Have a topic's settings, partitions and pins as in `image`, and its name, if it has another one here."""
        from mk.storage.replica_topic import find_topic, update_replica_topic

        name = find_topic(self._directory, image.topic_id)
        if name is None:
            raise NoSuchTopicError(topic=image.name, directory=self.location, why=f"none has the id {image.topic_id}")
        update_replica_topic(
            self._directory,
            name,
            new_name=image.name,
            fields=image.fields,
            pins=image.pins,
            partitions=_partitions(image),
            wait_ms=self._lock_wait_ms,
        )

    def follow(self, topic: str, image: PartitionImage, prefix_offset: int, chain: int) -> PartitionWriter:
        """Open a partition that is to become, or go on as, a follower of the source's."""
        writer = DirectoryWriter(self._directory, topic, image.partition, self._lock_wait_ms)
        try:
            writer.attach(_epochs(image.epochs), image.next_offset, prefix_offset, chain)
        except BaseException:
            writer.close()
            raise
        return writer

    def begin_anew(self, topic: str, image: PartitionImage, *, reason: str) -> PartitionWriter:
        """Open a partition whose log begins anew at image.first_offset; what is here goes to quarantine/."""
        writer = DirectoryWriter(self._directory, topic, image.partition, self._lock_wait_ms)
        try:
            if reason == GAP:
                # First: killed behind this, the run comes here again; behind the restart, nobody would know of the hole.
                with _Opened(self._directory, topic, image.partition, self._buffer) as reader:
                    end_offset = reader.high_watermark
                if end_offset < image.first_offset:
                    replica_directory.note_gap(
                        self._directory,
                        self._source_id,
                        writer.topic_id,
                        image.partition,
                        end_offset,
                        image.first_offset,
                    )
            writer.restart(_epochs(image.epochs), image.first_offset)
            if image.next_offset == image.first_offset:
                # No batch will tell the chain there; promoted without it, this log would be continued by no other one.
                writer.attach(_epochs(image.epochs), image.next_offset, image.first_offset, image.chain)
        except BaseException:
            writer.close()
            raise
        return writer

    def store_committed_offsets(self, directory_id: str, offsets: Sequence[CommittedOffset]) -> None:
        """Keep what groups have committed on the source, as far as this log goes: for groups with no offset of their own."""
        # All partitions that this run is about, as note_source was told; of others, what was kept stays.
        ends = dict.fromkeys(self._noted, 0)
        for name in dict.fromkeys(self._names[offset.topic_id] for offset in offsets if offset.topic_id in self._names):
            for _ in self.topics([name]):
                pass
        ends.update((offset.key, self._ends.get(offset.key, 0)) for offset in offsets if offset.key in ends)
        replicated_offsets.store(self._directory, directory_id, offsets, ends)

    def note_source(self, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
        """Note where the source's logs ended when it was last seen: topic id, partition, next offset."""
        self._noted = [(topic_id, partition) for topic_id, partition, _ in ends]
        replica_directory.note_source(self._directory, directory_id, address, ends)


class DirectoryWriter:
    """A partition of a log directory that takes batches as a follower. next_offset: where the next one has to begin."""

    __slots__ = ("_log", "_topic", "next_offset")

    def __init__(self, directory: LogDirectory, topic: str, partition: int, lock_wait_ms: int) -> None:
        from mk.storage.follower_log import FollowerLog

        self.next_offset = -1
        self._topic = directory.open_topic(topic)
        try:
            self._log = FollowerLog(self._topic, partition, lock_wait_ms=lock_wait_ms)
        except BaseException:
            self._topic.close()
            raise

    @property
    def topic_id(self) -> str:
        return self._topic.topic_id

    def attach(self, epochs: LeaderEpochs, end_offset: int, prefix_offset: int, chain: int) -> None:
        self.next_offset = self._log.attach(epochs, end_offset, prefix_offset, chain)

    def restart(self, epochs: LeaderEpochs, first_offset: int) -> None:
        self.next_offset = self._log.restart(epochs, first_offset)

    def append(self, batches: CopiedBatches) -> None:
        """Take batches: each is proved before one byte of it is written. Not read by anybody before `sync`."""
        self.next_offset = self._log.append_copies(
            batches.data, batches.base_offset, begins_segment=batches.begins_segment, producers=batches.producers
        )

    def sync(self) -> int:
        """Put all that was taken on disk, let it be read, and return where the log ends now."""
        return self._log.sync()

    def advance_log_start(self, offset: int) -> None:
        """Have the log begin at `offset`, as on the source, and remove the segments below it."""
        self._log.advance_log_start(offset)

    def close(self) -> None:
        self._log.close()
        self._topic.close()


class _OpenedTopic:
    """A topic, open for a `with` block."""

    __slots__ = ("_topic",)

    def __init__(self, directory: LogDirectory, topic: str) -> None:
        self._topic = directory.open_topic(topic)

    def __enter__(self) -> Topic:
        return self._topic

    def __exit__(self, *exc: object) -> None:
        self._topic.close()


class _Opened(_OpenedTopic):
    """A partition, open for reading for a `with` block."""

    __slots__ = ("_reader",)

    def __init__(self, directory: LogDirectory, topic: str, partition: int, buffer: ReadBuffer) -> None:
        super().__init__(directory, topic)
        try:
            self._reader = CopyReader(self._topic, partition, buffer)
        except BaseException:
            self._topic.close()
            raise

    def __enter__(self) -> CopyReader:  # type: ignore[override]
        return self._reader

    def __exit__(self, *exc: object) -> None:
        self._reader.close()
        self._topic.close()


def _partitions(image: TopicImage) -> list[tuple[LeaderEpochs, int]]:
    return [(_epochs(partition.epochs), partition.first_offset) for partition in image.partitions]


def _epochs(entries: Sequence[tuple[int, int, str]]) -> LeaderEpochs:
    return LeaderEpochs([EpochEntry(*entry) for entry in entries])


def _partition_image(reader: CopyReader) -> PartitionImage:
    image = PartitionImage()
    image.partition = reader.partition
    image.log_start_offset = reader.log_start_offset
    image.first_offset = reader.first_offset()
    image.next_offset = reader.high_watermark
    image.chain = reader.end_chain()
    image.epochs = [(entry.epoch, entry.first_offset, entry.leader_id) for entry in reader.epochs().entries]
    image.cleaned_to = reader.state.cleaned_to
    image.tombstones_dropped_to = reader.state.tombstones_dropped_to
    # A snapshot has all that was on disk, and loses nothing with any power.
    image.is_recovered = reader.state.boot_id in (boot_id(), SNAPSHOT_BOOT)
    is_empty = 0 < image.first_offset == image.next_offset
    image.lacks_producers = (is_empty or image.cleaned_to > image.first_offset) and reader.lacks_producers(image.chain)
    truncation = reader.truncation()
    if truncation is not None:
        # What it leaves is the log, whatever it has come to: of epochs and `state` one may be new already and one still old.
        state = truncation.state
        image.log_start_offset, image.first_offset = state.log_start_offset, truncation.first_segment
        # Not its chain: a copy of which it is known is done, and nobody would finish this one.
        image.next_offset, image.chain = state.written.offset, UNKNOWN_CHAIN
        image.epochs = [(entry.epoch, entry.first_offset, entry.leader_id) for entry in truncation.epochs.entries]
        image.cleaned_to, image.tombstones_dropped_to = state.cleaned_to, state.tombstones_dropped_to
    return image


def _unreadable(name: str, topic_id: str, error: MkError | OSError) -> TopicImage:
    image = TopicImage()
    image.name = name
    image.topic_id = topic_id
    image.fields, image.pins, image.partitions = {}, {}, []
    if isinstance(error, MkError):
        image.problem = f"{error.what}: {error.why}" if error.why else error.what
    else:
        image.problem = f"{files.place_of(error, name)}: {error.strerror or error}"
    image.is_refused = isinstance(error, (OSError, StorageError)) and not isinstance(error, PermissionError)
    return image
