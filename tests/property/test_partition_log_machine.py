"""A partition against a plain list: appended to, killed, torn, damaged, failed and cut off from power in any order."""

from __future__ import annotations

import errno
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mk.errors import CorruptBatchError, DataError, PartitionFailedError, StorageError
from mk.records.record_batch import encode_columns, encode_lines
from mk.storage import host
from mk.storage.partition_log import DISK, PAGE_CACHE
from tests.crash import oracle
from tests.crash.images import materialise
from tests.crash.recorder import Killed, RecordingDisk, set_boot
from tests.crash.world import TOPIC, World

if TYPE_CHECKING:
    from mk.records.record_batch import EncodedBatch
    from mk.storage.partition_log import PartitionLog
    from mk.storage.partition_reader import PartitionReader

Entry = tuple[bytes, int]
"""A record's value and time."""

SHAPES = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([0, 30, 400, 1500]), st.booleans()), min_size=1, max_size=4
)
DURABILITIES = st.sampled_from([PAGE_CACHE, DISK])


class PartitionLogMachine(RuleBasedStateMachine):
    """`log` is the plain list; the first `durable` of it survive a power cut, `indeterminate` may follow it or not."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="mk-machine-"))
        self.real_boot = host._boot_id
        self.lives = 0
        self.log: list[Entry] = []
        self.durable = 0
        self.number = 0
        self.settled = True
        self.attempted: dict[int, set[bytes]] = {}
        self.reader: PartitionReader | None = None
        self.logs: list[PartitionLog] = []

    def teardown(self) -> None:
        self.world.abandon()
        self.disk.__exit__()
        host._boot_id = self.real_boot
        shutil.rmtree(self.home)

    @initialize()
    def create(self) -> None:
        self._begin_life()
        self.world.create()
        self._open()

    # What is done to the partition.

    @rule(shapes=SHAPES, durability=DURABILITIES, who=st.integers(0, 1))
    def append(self, shapes: list[tuple[int, int, bool]], durability: int, who: int) -> None:
        batches, entries = self._batches(shapes)
        result = self.logs[who].append(batches, durability)
        self._reconcile_if_unsettled(result.first_offset)
        assert (result.first_offset, result.last_offset) == (len(self.log), len(self.log) + len(entries) - 1)
        self.log += entries
        if durability == DISK:
            self.durable = len(self.log)

    @rule(who=st.integers(0, 1))
    def reopen(self, who: int) -> None:
        self.logs[who].close()
        self.world.logs.remove(self.logs[who])
        self.logs[who] = self.world.open()

    @rule(shapes=SHAPES, durability=DURABILITIES, operations=st.integers(0, 25), who=st.integers(0, 1))
    def kill_during_append(
        self, shapes: list[tuple[int, int, bool]], durability: int, operations: int, who: int
    ) -> None:
        batches, entries = self._batches(shapes)
        self.disk.restart_count()
        self.disk.kill_after = operations
        before = len(self.disk.operations)
        try:
            result = self.logs[who].append(batches, durability)
        except Killed:
            event("killed")
            self.settled = False
            killed = self.logs[who]
            for fd in {killed._segment_fd, killed._lock_fd, killed._files.state_fd, killed._files.fd} - {-1}:
                self._close(fd)
            self.world.logs.remove(killed)
        else:
            self._reconcile_if_unsettled(result.first_offset)
            self.log += entries
            self.durable = len(self.log) if durability == DISK else self.durable
        finally:
            self.disk.revive()
        assert len(self.disk.operations) >= before
        if not self.settled:
            self.logs[who] = self.world.open()

    @rule(garbage=st.one_of(st.binary(min_size=1, max_size=300), st.integers(1, 700).map(bytes)))
    def tear(self, garbage: bytes) -> None:
        """Leave what a killed writer may leave: bytes behind the end, none of them published."""
        from mk.storage import files

        state = oracle.read_state_file((self.world.partition / "state").read_bytes())
        assert state is not None
        directory = files.open_directory(str(self.world.partition))
        fd = files.open_file(f"{int(state['segment']):020d}.log", 0o2002, dir_fd=directory)
        files.append(fd, [garbage])
        files.close(fd)
        files.close(directory)
        self.settled = False

    @rule(
        shapes=SHAPES, durability=DURABILITIES, skip=st.integers(0, 3), times=st.integers(1, 2), who=st.integers(0, 1)
    )
    def refuse_syncs(
        self, shapes: list[tuple[int, int, bool]], durability: int, skip: int, times: int, who: int
    ) -> None:
        batches, entries = self._batches(shapes)
        seen = [0]

        def fault(number: int, kind: str, name: str) -> int:
            if kind == "sync" and name.endswith(".log"):
                seen[0] += 1
                return errno.EIO if skip < seen[0] <= skip + times else 0
            return 0

        self.disk.fault = fault
        try:
            result = self.logs[who].append(batches, durability)
        except StorageError as error:
            event(f"refused: {type(error).__name__}")
            self.settled = False
            stored = error.facts["records_appended"]
            assert isinstance(stored, int)
            if durability == DISK and stored:
                event("partly stored")
        else:
            self._reconcile_if_unsettled(result.first_offset, lossy=seen[0] > skip)
            self.log += entries
            self.durable = len(self.log) if durability == DISK else self.durable
        finally:
            self.disk.fault = None
        if (self.world.partition / "FAILED").exists():
            self._failed_stops_writers_only()

    @rule(shapes=SHAPES, durability=DURABILITIES, after=st.integers(0, 12), who=st.integers(0, 1))
    def fill_the_disk(self, shapes: list[tuple[int, int, bool]], durability: int, after: int, who: int) -> None:
        batches, entries = self._batches(shapes)
        self.disk.restart_count()
        self.disk.fault = lambda number, kind, name: (
            errno.ENOSPC if number >= after and kind in ("append", "create", "mkdir", "link", "rename") else 0
        )
        try:
            result = self.logs[who].append(batches, durability)
        except StorageError as error:
            event(f"full: {type(error).__name__}")
            stored = error.facts["records_appended"]
            assert isinstance(stored, int)
            if self.settled:
                self.log += entries[:stored]
                self.durable = len(self.log) if durability == DISK and stored else self.durable
            self.settled = False
        else:
            self._reconcile_if_unsettled(result.first_offset)
            self.log += entries
            self.durable = len(self.log) if durability == DISK else self.durable
        finally:
            self.disk.fault = None

    @rule(seed=st.integers(0, 1 << 20), flip=st.booleans())
    def cut_the_power(self, seed: int, flip: bool) -> None:
        rng = random.Random(seed)
        image = rng.choice(list(self.disk.model.images(rng, 8)))
        self._note_attempts()
        self.world.abandon()
        self.disk.__exit__()
        self._begin_life()
        self.disk.__exit__()
        materialise(image, self.disk.root)
        if flip:
            self._flip_above_the_durable_end(rng)
        self._begin_life(same_directory=True)
        self.settled = False
        expected = self._read_all()
        assert expected[: self.durable] == self.log[: self.durable]
        self._open()
        self._reconcile(self._append_one())

    # What is asked of it.

    @precondition(lambda self: self.settled and self.log)
    @rule(data=st.data())
    def seek_anywhere(self, data: st.DataObject) -> None:
        reader = self.world.open_reader()
        for _ in range(3):
            offset = data.draw(st.integers(0, len(self.log)), label="offset")
            reader.seek(offset)
            assert self._drain(reader) == self.log[offset:]
        self._forget(reader)

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def ask_for_a_time(self, data: st.DataObject) -> None:
        reader = self.world.open_reader()
        times = [time for _, time in self.log]
        wanted = data.draw(st.sampled_from([*times, *[time + 1 for time in times], 0, 1 << 50]), label="time")
        found = next((offset for offset, time in enumerate(times) if time >= wanted), len(times))
        assert reader.offset_for_time(wanted) == found
        self._forget(reader)

    @precondition(lambda self: self.settled and self.log)
    @rule(data=st.data())
    def flip_a_byte_of_what_is_stored(self, data: st.DataObject) -> None:
        """It is named with its file and offset, and everything before it is read. Then it is put back."""
        stored = oracle.verify(self.world.partition)
        batch = data.draw(st.sampled_from(stored.batches), label="batch")
        base = max(base for base in stored.segments if base <= batch["base_offset"])
        path = self.world.partition / f"{base:020d}.log"
        position = batch["position"] + data.draw(st.integers(0, 127 + batch["payload_length"]), label="byte")
        original = path.read_bytes()
        self.disk.damage(path, position)
        reader = self.world.open_reader()
        found: list[Entry] = []
        with pytest.raises(CorruptBatchError) as caught:
            while batches := reader.fetch():
                found += [(r.value or b"", r.timestamp_ms) for b in batches for r in b.records(TOPIC, 0)]
        assert found == self.log[: batch["base_offset"]]
        assert caught.value.facts["offset"] == batch["base_offset"]
        assert caught.value.facts["position"] == batch["position"]
        assert caught.value.facts["path"] == str(path)
        self._forget(reader)
        self.disk.damage(path, position, original[position : position + 1])

    @precondition(lambda self: self.settled)
    @rule()
    def read_on(self) -> None:
        """A reader that stays open: it sees what is appended, or is told that what it had was cut."""
        if self.reader is None:
            self.reader = self.world.open_reader()
            self.read: list[Entry] = []
        try:
            self.read += self._drain(self.reader)
        except DataError:
            event("a reader was told of a cut")
            assert self.read != self.log[: len(self.read)]
            self.reader.seek(0)
            self.read = self._drain(self.reader)
        assert self.read == self.log

    @invariant()
    def the_list_is_what_is_stored(self) -> None:
        if not self.settled:
            return
        stored = oracle.verify(self.world.partition, settled=False)
        assert [(record.value or b"", record.timestamp_ms) for record in stored.records] == self.log

    # How it is done.

    def _begin_life(self, *, same_directory: bool = False) -> None:
        if not same_directory:
            self.lives += 1
            set_boot(f"boot-{self.lives}")
            (self.home / f"life-{self.lives}").mkdir()
        self.disk = RecordingDisk(self.home / f"life-{self.lives}")
        self.disk.__enter__()
        self.world = World(self.disk)
        self.reader = None

    def _open(self) -> None:
        self.logs = [self.world.open(), self.world.open()]

    def _batches(self, shapes: list[tuple[int, int, bool]]) -> tuple[list[EncodedBatch], list[Entry]]:
        batches, entries = [], []
        for count, size, columns in shapes:
            values, times = [], []
            for _ in range(count):
                self.number += 1
                values.append(b"%d " % self.number + b"v" * size)
                times.append(1_000_000 + self.number * 10 - (35 if self.number % 4 == 0 else 0))
            if columns:
                batches.append(encode_columns(values, base_timestamp=times[0], timestamps=times))
                # The first record's time is the base, and what comes before it in time is stored so.
            else:
                times = [times[0]] * count
                batches.append(encode_lines(b"\n".join(values) + b"\n", count=count, timestamp_ms=times[0]))
            entries += list(zip(values, times, strict=True))
        return batches, entries

    def _append_one(self) -> tuple[int, Entry]:
        batches, entries = self._batches([(1, 10, False)])
        result = self.logs[0].append(batches, DISK)
        return result.first_offset, entries[0]

    def _reconcile(self, appended: tuple[int, Entry], *, lossy: bool = True) -> None:
        """Take over what recovery made of the indeterminate, after checking that it may be so."""
        first, entry = appended
        self._reconcile_if_unsettled(first, lossy=lossy)
        assert first == len(self.log)
        self.log.append(entry)
        self.durable = len(self.log)

    def _reconcile_if_unsettled(self, first_offset: int, *, lossy: bool = True) -> None:
        """`first_offset` was appended to just now: what is before it is what recovery left."""
        if self.settled and len(self.log) == first_offset:
            return
        assert not self.settled or lossy, f"offset {first_offset} where {len(self.log)} is due"
        stored = oracle.verify(self.world.partition, settled=False).records[:first_offset]
        self._note_attempts()
        for record in stored:
            assert record.value in self.attempted[record.offset]
        found = [(record.value or b"", record.timestamp_ms) for record in stored]
        assert found[: self.durable] == self.log[: self.durable]
        assert len({value for value, _ in found}) == len(found), "a record is doubled"
        self.log = found
        self.settled = True

    def _note_attempts(self) -> None:
        for operation in self.disk.operations:
            if operation.kind == "write" and operation.text.startswith("append") and ".log" in operation.text:
                for batch in oracle.batches_in(operation.data):
                    for record in oracle.decode_records(batch):
                        self.attempted.setdefault(record.offset, set()).add(record.value or b"")

    def _failed_stops_writers_only(self) -> None:
        event("FAILED")
        for log in self.logs:
            with pytest.raises(PartitionFailedError):
                log.append(self._batches([(1, 10, False)])[0], DISK)
        assert self._read_all()[: self.durable] == self.log[: self.durable]
        (self.world.partition / "FAILED").unlink()

    def _read_all(self) -> list[Entry]:
        reader = self.world.open_reader()
        found = self._drain(reader)
        self._forget(reader)
        return found

    def _drain(self, reader: PartitionReader) -> list[Entry]:
        found = []
        start = reader.next_offset
        while batches := reader.fetch():
            for batch in batches:
                found += [(r.value or b"", r.timestamp_ms) for r in batch.records(TOPIC, 0) if r.offset >= start]
        return found

    def _forget(self, reader: PartitionReader) -> None:
        reader.close()
        self.world.readers.remove(reader)

    def _flip_above_the_durable_end(self, rng: random.Random) -> None:
        """Damage a byte of the active segment that nobody was promised."""
        state = oracle.read_state_file((self.world.partition / "state").read_bytes())
        assert state is not None
        path = self.world.partition / f"{int(state['segment']):020d}.log"
        data = bytearray(path.read_bytes())
        position, offset = 0, int(state["segment"])
        while offset < self.durable and (batch := oracle.parse_batch(bytes(data), position)) is not None:
            position += 128 + batch["payload_length"]
            offset += batch["record_count"]
        position = max(position, int(state["durable"].split(":")[0]))
        if position < len(data):
            data[rng.randrange(position, len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(bytes(data))

    def _close(self, fd: int) -> None:
        import os

        try:
            os.close(fd)
        except OSError:
            pass


TestPartitionLog = PartitionLogMachine.TestCase
# Shrinking a history takes minutes: the step that fails, and what the disk was asked, say enough in most cases.
TestPartitionLog.settings = settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])
