"""A log directory on a recording disk, somebody who uses it, and the question that every crash test asks afterwards."""

from __future__ import annotations

import itertools
import os
import random
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

from mk.errors import MkError
from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.records.record_batch import EncodedBatch, encode_lines
from mk.storage import group_commit
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from tests.crash import oracle
from tests.crash.images import digest, materialise
from tests.crash.recorder import RecordingDisk, fast_disk, set_boot
from tests.proof import figures
from tests.thinning import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mk.storage.topic import Topic
    from tests.thinning import Thoroughness

TOPIC = "t"
SEGMENT_BYTES = 4096

Records = dict[int, bytes]
"""Offset -> value."""

_boots = itertools.count(2)


def next_boot() -> None:
    set_boot(f"boot-{next(_boots)}")


def make_batch(numbers: Iterator[int], count: int, value_bytes: int) -> EncodedBatch:
    """Make a batch of values that never repeat; a time that jumps back now and then."""
    values = [b"%08d." % next(numbers) + b"x" * (value_bytes - 9) for _ in range(count)]
    time = 1_000_000 + int(values[0][:8]) * 10 - (55 if int(values[0][:8]) % 3 == 0 else 0)
    return encode_lines(b"\n".join(values) + b"\n", count=count, timestamp_ms=time)


class World:
    """One directory with one topic of one partition, and a user who remembers what was promised."""

    def __init__(self, disk: RecordingDisk) -> None:
        self.disk = disk
        self.path = disk.root / "mk"
        self.numbers = itertools.count()
        self.acked: list[tuple[Records, int]] = []
        self.directory: LogDirectory | None = None
        self.topic: Topic | None = None
        self.logs: list[PartitionLog] = []
        self.readers: list[PartitionReader] = []

    @property
    def partition(self) -> Path:
        return self.path / "topics" / TOPIC / "0"

    def create(self, segment_bytes: int = SEGMENT_BYTES, config: dict[str, int | str] | None = None) -> None:
        create_directory(str(self.path))
        directory = LogDirectory(str(self.path))
        try:
            # The records' times are of 1970. The guard is off, since a full disk here is one that refuses.
            overrides: dict[str, int | str] = {"segment.bytes": segment_bytes, "retention.ms": -1, "min.free": 0}
            overrides.update(config or {})
            directory.create_topic(TOPIC, partitions=1, partitioner="crc32", overrides=overrides, wait_ms=0)
        finally:
            directory.close()

    def open(self) -> PartitionLog:
        if self.directory is None:
            self.directory = LogDirectory(str(self.path))
            self.topic = self.directory.open_topic(TOPIC)
        assert self.topic is not None
        log = PartitionLog(self.topic, 0, lock_wait_ms=0)
        self.logs.append(log)
        return log

    def open_contended(self) -> PartitionLog:
        """Open the partition as of a process that had to wait for the lock: it lets others share its sync."""
        log = self.open()
        log._waited_seconds = 0.001
        return log

    def open_reader(self) -> PartitionReader:
        if self.directory is None:
            self.directory = LogDirectory(str(self.path))
            self.topic = self.directory.open_topic(TOPIC)
        assert self.topic is not None
        reader = PartitionReader(self.topic, 0)
        self.readers.append(reader)
        return reader

    def append(
        self, log: PartitionLog, durability: int = DISK, *, batches: int = 1, count: int = 2, value: int = 40
    ) -> int:
        """Append, and remember it as promised if it comes back. Returns the first offset."""
        run = [make_batch(self.numbers, count, value) for _ in range(batches)]
        values = b"".join(b"".join(batch.payload) for batch in run).splitlines()
        try:
            result = log.append(run, durability)
        except MkError as error:
            stored = error.facts.get("records_appended", 0)
            assert isinstance(stored, int)
            if stored:
                # What it says is stored all the same was promised no less.
                first = self._last_attempt_at(values[0])
                self._acknowledge(first, values[:stored], durability)
            raise
        assert result.last_offset - result.first_offset + 1 == len(values)
        self._acknowledge(result.first_offset, values, durability)
        return result.first_offset

    def read(self, reader: PartitionReader, *, keep: bool = True) -> Records:
        """Read from where the reader is up to the end; what is on disk for sure may never vanish again."""
        found = drain(reader)
        state = oracle.read_state_file((self.partition / "state").read_bytes())
        if keep and state is not None:
            durable = int(state["durable"].split(":")[1])
            self.disk.note("delivered", {offset: value for offset, value in found.items() if offset < durable})
        return found

    def abandon(self) -> None:
        """Let go of everything as a killed process does: the kernel closes, nobody syncs or publishes."""
        for log in self.logs:
            for fd in {log._segment_fd, log._lock_fd, log._files.state_fd, log._files.fd} - {-1}:
                _close_quietly(fd)
        for reader in self.readers:
            for fd in {reader.segment_fd, reader._files.state_fd, reader._files.fd} - {-1}:
                _close_quietly(fd)
        if self.topic is not None:
            _close_quietly(self.topic.fd)
            _close_quietly(self.topic._json_fd)
        if self.directory is not None:
            for fd in {self.directory._locks_fd, self.directory.topics_fd, self.directory.fd} - {-1}:
                _close_quietly(fd)
        self.logs, self.readers, self.topic, self.directory = [], [], None, None

    def _acknowledge(self, first: int, values: list[bytes], durability: int) -> None:
        records = dict(enumerate(values, first))
        self.acked.append((records, durability))
        self.disk.note("acked", (records, durability))

    def _last_attempt_at(self, value: bytes) -> int:
        return max(offset for offset, values in attempts(self.disk).items() if value in values)


@contextmanager
def in_pauses(*steps: Callable[[], object]) -> Iterator[None]:
    """Do these one by one, each while an append lets others write before it looks for a sync."""
    left, real = list(steps), group_commit.time

    def sleep(seconds: float) -> None:
        if left:
            left.pop(0)()

    group_commit.time = SimpleNamespace(sleep=sleep)  # type: ignore[assignment]
    try:
        yield
    finally:
        group_commit.time = real
    assert not left, "there was no pause to do this in"


def _close_quietly(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass


def drain(reader: PartitionReader) -> Records:
    found: Records = {}
    start = reader.next_offset
    while batches := reader.fetch():
        for batch in batches:
            for record in batch.records(TOPIC, 0):
                if record.offset >= start:
                    assert record.offset not in found, f"offset {record.offset} delivered twice"
                    found[record.offset] = record.value  # type: ignore[assignment]
    return found


def attempts(disk: RecordingDisk, count: int | None = None) -> dict[int, set[bytes]]:
    """Return for each offset the values that somebody tried to store there: what a reader may ever see."""
    found: dict[int, set[bytes]] = {}
    for operation in disk.operations[:count]:
        if operation.kind == "write" and operation.text.startswith("append") and ".log" in operation.text:
            for batch in oracle.batches_in(operation.data):
                for record in oracle.decode_records(batch):
                    found.setdefault(record.offset, set()).add(record.value)  # type: ignore[arg-type]
    return found


def promised(disk: RecordingDisk, count: int, durability: int = DISK) -> Records:
    """Return what must be there after a crash behind the first `count` operations."""
    found: Records = {}
    for note in disk.notes:
        if note.at > count:
            continue
        if note.kind == "acked":
            records, acks = note.facts  # type: ignore[misc]
            if acks >= durability:
                found.update(records)
        elif note.kind == "delivered":
            found.update(note.facts)  # type: ignore[call-overload]
    return found


def check_directory(path: Path, expected: Records, possible: dict[int, set[bytes]], numbers: Iterator[int]) -> Records:
    """Use a directory after a crash as anybody would, and hold what is found against what was promised.

    A lock-free reader looks first, then somebody appends, then all is read again, and the oracle walks the files.
    Returns all records, the appended ones last.
    """
    partition = path / "topics" / TOPIC / "0"
    tail = _tail(partition)
    directory = LogDirectory(str(path))
    _check_undamaged(directory, "before any writer")
    topic = directory.open_topic(TOPIC)
    reader = PartitionReader(topic, 0)
    log = PartitionLog(topic, 0, lock_wait_ms=0)
    try:
        seen = drain(reader)
        _hold_against(seen, expected, possible, "a reader before any writer")
        _check_times(reader, partition)
        (partition / "FAILED").unlink(missing_ok=True)  # Readers go on; for writers, this is what `repair` does.
        batch = make_batch(numbers, 1, 40)
        value = b"".join(batch.payload)[:-1]
        result = log.append([batch], DISK)
        assert result.first_offset >= len(seen), f"offset {result.first_offset} is given anew, a reader had {len(seen)}"
        later = drain(reader)
        assert later[result.first_offset] == value
        stored = oracle.verify(partition)
        found = {record.offset: record.value for record in stored.records}
        assert found.pop(result.first_offset) == value
        _hold_against(found, expected, possible, "after recovery")  # type: ignore[arg-type]
        assert {**seen, **later} == {**found, result.first_offset: value}, "a reader and the files disagree"
        _check_times(reader, partition)
        _check_evidence(path, partition, tail)
        leftovers = [name for name in os.listdir(partition) if name.startswith(".tmp")]
        assert not leftovers, leftovers
        log.append([make_batch(numbers, 1, 40)], DISK)
        assert _check_undamaged(directory, "after recovery") == len(found) + 2
        return {record.offset: record.value for record in oracle.verify(partition).records}  # type: ignore[misc]
    finally:
        log.close()
        reader.close()
        topic.close()
        directory.close()


def _check_undamaged(directory: LogDirectory, when: str) -> int:
    """Have `verify` prove the topic, and return the number of records that it has found."""
    report = verify_topic(directory, TOPIC)
    damage = [finding for finding in report.findings if finding.severity == DAMAGE]
    assert not damage, f"{when}: {damage}"
    return report.records


def _hold_against(found: Records, expected: Records, possible: dict[int, set[bytes]], who: str) -> None:
    assert list(found) == list(range(len(found))), f"{who}: offsets are not dense: {list(found)}"
    for offset, value in expected.items():
        if found.get(offset) != value:
            held = found.get(offset, b"nothing")[:12]
            raise AssertionError(f"{who}: offset {offset} should hold {value[:12]!r}, holds {held!r}")
    for offset, value in found.items():
        if value not in possible.get(offset, ()):
            raise AssertionError(f"{who}: nobody wrote {value[:12]!r} at offset {offset}")


def _check_times(reader: PartitionReader, partition: Path) -> None:
    """Ask for times: the answer is the first record of that time or later, as the list of all records has it."""
    position = reader.next_offset
    reader.seek(0)
    times: list[int] = []
    while batches := reader.fetch():
        for batch in batches:
            times += [record.timestamp_ms for record in batch.records(TOPIC, 0)]
    for time in {*times[:1], *times[-1:], *times[len(times) // 2 :][:1]}:
        wanted = next((offset for offset, at in enumerate(times) if at >= time), len(times))
        assert reader.offset_for_time(time) == wanted, f"time {time}"
    reader.seek(position)


def _tail(partition: Path) -> bytes:
    """Return what stands in the active segment behind its proved batches."""
    state = oracle.read_state_file((partition / "state").read_bytes())
    if state is None:
        return b""
    data = (partition / f"{int(state['segment']):020d}.log").read_bytes()
    position, offset = map(int, state["durable"].split(":")[:2])
    while (batch := oracle.parse_batch(data, position)) is not None and batch["base_offset"] == offset:
        position += 128 + batch["payload_length"]
        offset += batch["record_count"]
    return data[position:]


def _check_evidence(path: Path, partition: Path, tail: bytes) -> None:
    """Where a whole batch was cut off, all that was cut is kept, or stands where it stood in a sealed segment."""
    whole = (oracle.parse_batch(tail, at) for at in range(len(tail) - 127) if tail[at : at + 4] == b"\x8aMK\x01")
    if any(batch is not None for batch in whole):
        kept = oracle.quarantined(path) + [file.read_bytes() for file in partition.glob("*.log")]
        assert any(tail in data for data in kept), "a whole batch was cut off and not kept"


class Moments:
    """The operations of an action, for a loop that breaks it off at each of them, or at some `count` of each kind.

    The first pass gets NEVER, and lets the action end; by `saw` it tells, before the disk is revived, what was asked of it.
    figure: what each of them counts as, once the loop comes back for the next.
    """

    NEVER = -1

    def __init__(self, thoroughness: Thoroughness, count: int, *, figure: str = "broken-off") -> None:
        self.thoroughness = thoroughness
        self.count = count
        self.figure = figure
        self.kinds: list[str] = []

    def __iter__(self) -> Iterator[int]:
        yield self.NEVER
        assert self.kinds
        # What it stands between: a kill behind a rename is another thing than one before it.
        between = list(itertools.pairwise(["", *self.kinds]))
        for moment in self.thoroughness.of(range(len(self.kinds)), self.count, kind=between.__getitem__):
            yield moment
            figures.count(self.figure)

    def saw(self, disk: RecordingDisk) -> None:
        if not self.kinds:
            self.kinds = disk.kinds


class Sweep:
    """Check the directories that a power cut may leave behind each operation of a recorded history, each once.

    Of each cut, at most `per_cut` images; of the cuts, all or a sample of `cuts`.
    """

    def __init__(
        self, tmp_path: Path, *, seed: int, per_cut: int, thoroughness: Thoroughness = FULL, cuts: int = 8
    ) -> None:
        self.rng = random.Random(seed)
        self.per_cut = per_cut
        self.thoroughness = thoroughness
        self.cuts = cuts
        self.images = 0
        self._seen: set[tuple[bytes, int]] = set()
        self._target = tmp_path / "image"
        self._target.mkdir()

    def power_cuts(
        self,
        disk: RecordingDisk,
        check: Callable[[Path, int], None],
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        """Call `check` with each directory and the number of operations done, from `start` to `stop`, on another boot."""
        model = disk.replay(start)
        done = range(start, (len(disk.operations) if stop is None else stop) + 1)
        before = self.images
        chosen = set(self.thoroughness.of(done, self.cuts, kind=lambda count: disk.operations[count - 1].kind))
        for count in done:
            if count > start:
                model.apply(disk.operations[count - 1])
            if count not in chosen:
                continue
            notes = sum(note.at <= count for note in disk.notes)
            for image in model.images(self.rng, self.per_cut):
                fingerprint = (digest(image), notes)
                if fingerprint in self._seen:
                    continue
                self._seen.add(fingerprint)
                materialise(image, self._target)
                next_boot()
                self.images += 1
                try:
                    check(self._target, count)
                except BaseException as error:
                    history = "\n".join(
                        f"{at:4d} {operation.kind} {operation.text} {operation.position} {len(operation.data)}"
                        for at, operation in enumerate(disk.operations[:count])
                    )
                    print(f"power cut after operation {count}, image {self.images}, {error}:\n{history}")
                    raise
        figures.count("states", self.images - before)

    def check_partition(self, disk: RecordingDisk) -> None:
        """Check every power cut of a World's history."""
        numbers = itertools.count(10_000_000)

        def check(target: Path, count: int) -> None:
            if not (target / "mk" / "topics" / TOPIC).exists():
                assert not promised(disk, count)
                return
            with fast_disk():
                check_directory(target / "mk", promised(disk, count), attempts(disk, count), numbers)

        self.power_cuts(disk, check)
