"""Two log directories, one of which follows the other: what a replication does to them, in as few words as possible."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.storage.follower_log import FollowerLog
from mk.storage.leader_epochs import LeaderEpochs, read_epochs
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.log_segment import PRODUCERS_SUFFIX, UNKNOWN_CHAIN, list_segments, segment_name
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from mk.storage.partition_state import read_state
from mk.storage.quarantine import list_quarantine, read_quarantined
from mk.storage.replica_topic import create_replica_topic
from tests.crash.recorder import Killed
from tests.crash.world import SEGMENT_BYTES, TOPIC, Records, drain, make_batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mk.storage.partition_state import PartitionState
    from mk.storage.topic import Topic


class Place:
    """A log directory with a topic of one partition, opened anew for each thing that is done to it."""

    def __init__(self, path: Path, name: str = TOPIC) -> None:
        self.path = path
        self.name = name
        self.partition = path / "topics" / name / "0"

    def create(self, *, segment_bytes: int = SEGMENT_BYTES) -> Place:
        create_directory(str(self.path))
        return self.create_beside(segment_bytes=segment_bytes)

    def create_beside(self, *, segment_bytes: int = SEGMENT_BYTES) -> Place:
        """Create the topic in a directory that there is."""
        with self.directory() as directory:
            overrides: dict[str, int | str] = {"segment.bytes": segment_bytes, "retention.ms": -1, "min.free": 0}
            directory.create_topic(self.name, partitions=1, partitioner="crc32", overrides=overrides, wait_ms=0)
        return self

    def create_as_copy_of(self, source: Place) -> Place:
        create_directory(str(self.path))
        first = list_segments(source.fd())[0]
        with source.topic() as topic, self.directory() as directory:
            create_replica_topic(
                directory,
                self.name,
                fields=topic.fields(),
                pins=pins_of(topic),
                partitions=[(source.epochs(), first)],
                wait_ms=0,
            )
        return self

    @contextlib.contextmanager
    def directory(self) -> Iterator[LogDirectory]:
        directory = LogDirectory(str(self.path))
        try:
            yield directory
        finally:
            directory.close()

    @contextlib.contextmanager
    def topic(self) -> Iterator[Topic]:
        with self.directory() as directory:
            topic = directory.open_topic(self.name)
            try:
                yield topic
            finally:
                topic.close()

    @contextlib.contextmanager
    def log(self) -> Iterator[PartitionLog]:
        with self.topic() as topic:
            log = PartitionLog(topic, 0, lock_wait_ms=0)
            with _closing(log):
                yield log

    @contextlib.contextmanager
    def follower(self) -> Iterator[FollowerLog]:
        with self.topic() as topic:
            log = FollowerLog(topic, 0, lock_wait_ms=0)
            with _closing(log):
                yield log

    def append(self, numbers: Iterator[int], *counts: int, value: int = 500) -> None:
        with self.log() as log:
            for count in counts:
                log.append([make_batch(numbers, count, value)], DISK)

    def promote(self) -> int:
        with self.follower() as log:
            return log.promote()

    def records(self) -> Records:
        with self.topic() as topic:
            reader = PartitionReader(topic, 0)
            try:
                return drain(reader)
            finally:
                reader.close()

    # As others see it.

    def fd(self) -> int:
        """Open the partition for one look; closed when the process ends, which is soon."""
        return os.open(self.partition, os.O_RDONLY)

    def state(self) -> PartitionState:
        fd = os.open(self.partition / "state", os.O_RDONLY)
        try:
            state = read_state(fd)
        finally:
            os.close(fd)
        assert state is not None
        return state

    def epochs(self) -> LeaderEpochs:
        fd = self.fd()
        try:
            return read_epochs(fd, str(self.partition))
        finally:
            os.close(fd)

    def segments(self) -> dict[int, bytes]:
        return {int(path.stem): path.read_bytes() for path in sorted(self.partition.glob("*.log"))}

    def batches(self) -> Iterator[tuple[int, int, int, bytes, bool]]:
        """Yield of each batch up to the high watermark: offset, next offset, chain, bytes, whether it begins a segment."""
        high_watermark = self.state().high_watermark
        for data in self.segments().values():
            at = 0
            while at < len(data):
                batch = parse_header(data, at)
                assert batch is not None
                if batch.base_offset >= high_watermark:
                    return
                size = HEADER_SIZE + batch.payload_length
                yield batch.base_offset, batch.next_offset, batch.chain, data[at : at + size], at == 0
                at += size

    def chain_at(self, offset: int) -> int:
        chains = {end: chain for _, end, chain, _, _ in self.batches()}
        return chains.get(offset, 0 if offset == 0 else UNKNOWN_CHAIN)

    def evidence(self) -> dict[int, set[bytes]]:
        """Return the values of the records in quarantine/ by offset; there may be those of several logs at one."""
        found: dict[int, set[bytes]] = {}
        with self.directory() as directory:
            for log in list_quarantine(directory):
                for batch in read_quarantined(directory, log.name):
                    for record in batch.records(TOPIC, 0):
                        found.setdefault(record.offset, set()).add(record.value)  # type: ignore[arg-type]
        return found

    def damage(self) -> list[object]:
        with self.directory() as directory:
            report = verify_topic(directory, self.name)
        return [finding for finding in report.findings if finding.severity == DAMAGE]


class _closing:
    """Close a log, also when the process that has it open was killed: then the kernel does."""

    def __init__(self, log: PartitionLog) -> None:
        self._log = log

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        try:
            self._log.close()
        except Killed:
            pass


def pins_of(topic: Topic) -> dict[str, bytes]:
    if not topic.has_producers():
        return {}
    fd = os.open("producers", os.O_RDONLY, dir_fd=topic.fd)
    try:
        found = {}
        for name in os.listdir(fd):
            if len(name) == 16:
                file = os.open(name, os.O_RDONLY, dir_fd=fd)
                found[name] = os.read(file, 4096)
                os.close(file)
        return found
    finally:
        os.close(fd)


def replicate(source: Place, target: Place, *, sync_every: int = 3) -> int:
    """Bring the target to where the source is, as a replication does. Returns where its log then ends."""
    epochs, high_watermark = source.epochs(), source.state().high_watermark
    with target.follower() as log:
        prefix = target.epochs().common_prefix(target.state().high_watermark, epochs, high_watermark)
        offset = log.attach(epochs, high_watermark, prefix, source.chain_at(prefix))
        return copy(source, log, offset, sync_every=sync_every)


def copy(source: Place, log: FollowerLog, offset: int, *, sync_every: int = 3) -> int:
    """Append what the source has from `offset` on."""
    pending = 0
    for base, next_offset, _, data, begins_segment in source.batches():
        if base >= offset:
            snapshot = source.partition / segment_name(base, PRODUCERS_SUFFIX)
            producers = snapshot.read_bytes() if begins_segment and snapshot.exists() else b""
            assert log.append_copies(data, base, begins_segment=begins_segment, producers=producers) == next_offset
            pending += 1
            if pending % sync_every == 0:
                log.sync()
    return log.sync()
