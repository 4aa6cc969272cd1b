"""Two log directories that compact one topic each on their own, one following the other, and the plain list of all records.

Whatever is killed or cut off, what a reader finds is held against that list: each record it sees is the one of its offset, the last
one of each key is there, and no key comes back that was deleted.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from mk import clock
from mk.errors import TryAgainError
from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.records.record_batch import encode_columns, encode_lines
from mk.replication.directory_replica import DirectoryReplica
from mk.replication.promotion import Promotion
from mk.replication.replicator import Choice, Replicator
from mk.storage import host
from mk.storage.log_cleaner import compact
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from tests.crash.recorder import Killed, RecordingDisk
from tests.property.power import cut_power, kinds_of_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pytest

    from mk.records.record_batch import EncodedBatch
    from mk.storage.topic import Topic

TOPIC = "t"
Row = tuple[bytes | None, bytes | None]
"""Key and value of a record."""

KINDS = (
    *["append"] * 8,
    *["compact"] * 3,
    *["compact_killed"] * 3,
    "append_killed",
    "trim",
    *["replicate"] * 3,
    "replicate_killed",
    "power_cut",
    "promote",
)


class CompactedWorld:
    """history: of each directory the records of its log, by offset, as if nothing was ever compacted.

    is_whole: it has all that is in front of its end, and not half of a copy that was broken off.
    """

    names = ("a", "b")

    def __init__(self, root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.rng = random.Random(seed)
        self.now = 1_700_000_000_000
        self.leader = "a"
        self.history: dict[str, list[Row]] = {"a": [], "b": []}
        self.is_whole = {"a": True, "b": False}
        self.start = {"a": 0, "b": 0}
        self.report: list[str] = []
        self.counts: dict[str, int] = {}
        self.kills = self.cuts = 0
        self._number = self._boots = 0
        self._patch = monkeypatch

    def __enter__(self) -> CompactedWorld:
        self._patch.setattr(clock, "now_ms", lambda: self.now)
        self._patch.setattr(clock, "uptime_ms", lambda: self.now)
        self._patch.setattr(os, "urandom", self.rng.randbytes)
        self._patch.setattr(host, "_boot_id", "boot-0")
        self.disk = RecordingDisk(self.root)
        self.disk.__enter__()
        for name in self.names:
            create_directory(str(self.root / name))
        directory = LogDirectory(str(self.root / "a"))
        overrides: dict[str, int | str] = {
            "segment.bytes": 4096,
            "min.free": 0,
            "cleanup.policy": "compact",
            "delete.retention.ms": 1000,
        }
        directory.create_topic(TOPIC, partitions=1, partitioner="crc32", overrides=overrides, wait_ms=0)
        directory.close()
        self.disk.settle()
        return self

    def __exit__(self, *exc: object) -> None:
        self.disk.__exit__()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            kind = self.rng.choice(KINDS)
            self.now += self.rng.choice((0, 1, 100, 600))
            self.report.append(kind)
            self.counts[kind] = self.counts.get(kind, 0) + 1
            getattr(self, f"_{kind}")()
            self.check()
        self.heal()

    def heal(self) -> None:
        self._append()
        for _ in range(3):
            self._replicate()
            for name in self.names:
                self._compact_one(name, seal_active=True)
        self.check(verifies=True)
        for name in self.names:
            with self._topic(name) as topic:
                report = compact(topic, 0, seal_active=True, min_dirty_ratio=0.0, lock_wait_ms=0)
                assert report.error is None
        self.check(verifies=True)

    # Steps.

    def _batches(self) -> tuple[list[EncodedBatch], list[Row]]:
        batches, rows = [], []
        for _ in range(self.rng.choice((1, 1, 2))):
            values: list[bytes | None] = []
            keys: list[bytes | None] = []
            for _ in range(self.rng.choice((1, 1, 2, 5))):
                self._number += 1
                is_tombstone = self.rng.random() < 0.25
                values.append(None if is_tombstone else b"%d." % self._number + b"x" * self.rng.choice((5, 200, 900)))
                keys.append(b"k%d" % self.rng.randrange(10) if self.rng.random() > 0.03 else None)
            if None not in values and self.rng.random() < 0.3:
                keys = [keys[0]] * len(keys)
                block = b"".join(value + b"\n" for value in values if value is not None)
                batches.append(encode_lines(block, count=len(values), timestamp_ms=self.now, key=keys[0]))
            else:
                batches.append(encode_columns(values, keys=keys, base_timestamp=self.now))
            rows += list(zip(keys, values, strict=True))
        return batches, rows

    def _append(self, maybe: list[Row] | None = None) -> None:
        """Append to the leader. maybe: what somebody who was killed had begun to append; it is there whole or not at all."""
        batches, rows = self._batches()
        history = self.history[self.leader]
        with self._topic(self.leader) as topic:
            log = PartitionLog(topic, 0, lock_wait_ms=0)
            try:
                first = log.append(batches, DISK).first_offset
            finally:
                log.close()
        if maybe is not None and first > len(history):
            history += maybe[: first - len(history)]
        assert first == len(history), f"the log goes on at {first}, and had {len(history)} records"
        history += rows

    def _append_killed(self) -> None:
        batches, rows = self._batches()

        def action() -> None:
            with self._topic(self.leader) as topic:
                PartitionLog(topic, 0, lock_wait_ms=0).append(batches, DISK)

        if not self._killed_at(12, action):
            self.history[self.leader] += rows
            return
        self._append(maybe=rows)

    def _compact(self) -> None:
        self._compact_one(self.rng.choice(self.names), seal_active=self.rng.random() < 0.5)

    def _compact_one(self, name: str, *, seal_active: bool) -> None:
        if not (self.root / name / "topics" / TOPIC).exists():
            return
        with self._topic(name) as topic:
            report = compact(topic, 0, seal_active=seal_active, min_dirty_ratio=0.0, lock_wait_ms=0)
        assert report.error is None, report.error
        self.report.append(f"  {name}: {report.document(TOPIC)}")

    def _compact_killed(self) -> None:
        name = self.rng.choice(self.names)
        seal_active = self.rng.random() < 0.5
        self._killed_at(40, lambda: self._compact_one(name, seal_active=seal_active))

    def _trim(self) -> None:
        if self.rng.random() < 0.6:
            return
        history = self.history[self.leader]
        offset = self.rng.randrange(len(history) // 2 + 1)
        with self._topic(self.leader) as topic:
            cleaner = PartitionCleaner(topic, 0, lock_wait_ms=0)
            try:
                cleaner.delete_records(offset)
            finally:
                cleaner.close()

    def _replicate(self) -> None:
        source, target = self.leader, self._other
        ours = DirectoryReplica(str(self.root / source), lock_wait_ms=0)
        try:
            theirs = DirectoryReplica(str(self.root / target), lock_wait_ms=0)
            try:
                theirs.begin(ours.directory_id, ours.address)
                replicator = Replicator(ours, theirs, Choice(accept_gap=True))
                list(replicator.run())
            finally:
                theirs.close()
        finally:
            ours.close()
        for error in replicator.errors.values():
            # A leader that was cut off from its power says with its next append from where on its epoch is another one.
            assert isinstance(error, TryAgainError), (error, error.why)
            self.report.append(f"  {error}")
        if not replicator.errors:
            self.is_whole[target] = True
            self.history[target] = list(self.history[source])

    def _replicate_killed(self) -> None:
        if self._killed_at(60, self._replicate):
            self.is_whole[self._other] = False
            # Before it is next looked at, whoever changes the log finishes a cut that was begun.
            self._replicate()

    def _promote(self) -> None:
        other = self._other
        if not self.is_whole[other] or self.rng.random() < 0.5:
            return
        directory = LogDirectory(str(self.root / other))
        try:
            promotion = Promotion(directory, None, wait_ms=0)
            promotion.promote()
            assert not promotion.failures
        finally:
            directory.close()
        self.report.append(f"  {other} leads from {len(self.history[other])} on")
        # What the old one has beyond that is to be cut off; it must not be promoted before.
        self.is_whole[self.leader] = False
        self.leader = other

    def _power_cut(self) -> None:
        how = kinds_of_cuts(self.names, self.rng)
        self._boots += 1
        self.disk = cut_power(self.disk, how, self.rng, boot=f"boot-{self._boots}")
        self.cuts += 1

    def _killed_at(self, most: int, action: Callable[[], None]) -> bool:
        self.disk.restart_count()
        self.disk.kill_after = self.rng.randrange(most)
        try:
            action()
        except Killed:
            self.kills += 1
            self.report.append(f"  killed at call {self.disk.kill_after}: {self.disk.kinds[-3:]}")
            return True
        finally:
            self.disk.revive()
        return False

    @property
    def _other(self) -> str:
        return "b" if self.leader == "a" else "a"

    def _topic(self, name: str) -> AbstractContextManager[Topic]:
        from contextlib import contextmanager

        @contextmanager
        def opened() -> Iterator[Topic]:
            directory = LogDirectory(str(self.root / name))
            try:
                topic = directory.open_topic(TOPIC)
                topic.compacts = False  # As before its policy was changed: records without a key may come.
                try:
                    yield topic
                finally:
                    topic.close()
            finally:
                directory.close()

        return opened()

    # What is held against the list.

    def _end(self, name: str) -> int:
        with self._topic(name) as topic:
            reader = PartitionReader(topic, 0)
            try:
                return reader.high_watermark
            finally:
                reader.close()

    def read(self, name: str) -> tuple[int, dict[int, Row]]:
        """Return where a log begins, and its records by offset."""
        found: dict[int, Row] = {}
        with self._topic(name) as topic:
            reader = PartitionReader(topic, 0)
            try:
                start, last = reader.log_start_offset, -1
                while batches := reader.fetch():
                    for batch in batches:
                        for record in batch.records(TOPIC, 0):
                            assert record.offset > last, f"offset {record.offset} comes after {last}"
                            last = record.offset
                            if last >= start:
                                found[last] = record.key, record.value
                assert not reader.skipped, reader.skipped
            finally:
                reader.close()
        return start, found

    def check(self, *, verifies: bool = False) -> None:
        for name in self.names:
            if not (self.root / name / "topics" / TOPIC).exists():
                continue
            self._check_one(name)
            if verifies or self.rng.random() < 0.2:
                directory = LogDirectory(str(self.root / name))
                try:
                    damage = [
                        finding for finding in verify_topic(directory, TOPIC).findings if finding.severity == DAMAGE
                    ]
                    assert damage == [], damage
                finally:
                    directory.close()

    def _check_one(self, name: str) -> None:
        start, found = self.read(name)
        history = self.history[name]
        last: dict[bytes, int] = {}
        for offset, (key, _) in enumerate(history):
            if key is not None:
                last[key] = offset
        seen: dict[bytes, int] = {}
        for offset, (key, value) in found.items():
            assert offset < len(history), f"{name} has a record at {offset}, and ends at {len(history)}"
            assert (key, value) == history[offset], f"{name} has another record at offset {offset}"
            if key is not None:
                seen[key] = offset
        if not self.is_whole[name]:
            return
        for key, offset in last.items():
            if offset < start:
                assert key not in seen, f"{key!r} has no record behind the log start"
            elif history[offset][1] is not None or key in seen:
                assert seen.get(key) == offset, (
                    f"{name}: the last record of {key!r} is at {offset}, not {seen.get(key)}"
                )
        for offset, (key, _) in enumerate(history):
            assert key is not None or offset < start or offset in found, f"{name} has lost {offset}, which has no key"
