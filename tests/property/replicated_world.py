"""Log directories that replicate from one another on one recording disk, and a plain list of who acknowledged what.

A step is a kind and a seed: what it does follows from the seed and from what is there, so a history stays itself when steps
are left out of it. After each step what readers see is held against what they saw before.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, NamedTuple

from mk.errors import (
    NoSuchTopicError,
    NotLeaderError,
    ReplicationGapError,
    StaleSourceError,
    TryAgainError,
)
from mk.groups.replicated_offsets import replicated_groups
from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.records.record_batch import encode_columns
from mk.replication.directory_replica import DirectoryReplica
from mk.replication.promotion import Promotion
from mk.replication.replicator import Choice, Replicator
from mk.storage import host
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog
from tests.crash.recorder import Killed, RecordingDisk, set_boot
from tests.property.power import cut_power, kinds_of_cuts
from tests.property.seen_directories import TOPIC, Ack, Place, Records, SeenDirectories
from tests.unit.replication.leaders import commit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mk.records.record_batch import EncodedBatch
    from mk.replication.events import Event

PRODUCERS = ("p", "q")
SIZES = (10, 10, 200, 1500)


class Step(NamedTuple):
    kind: str
    seed: int


class ReplicatedWorld(SeenDirectories):
    """Some directories, the first of which has a topic to begin with.

    protected: of each partition, what the latest promotion that made a leader found there; it must outlive every promotion
    that is not forced.
    """

    def __init__(self, root: Path, seed: int, directories: int) -> None:
        super().__init__(root, "abc"[:directories])
        self.attempted: set[bytes] = set()
        self.protected: dict[int, Records] = {}
        self.counts: dict[str, int] = {}
        self.kills = self.cuts = 0
        self._logs: dict[Place, PartitionLog] = {}
        self._number = 0
        self._boots = 0
        self._random = random.Random(seed)
        self._real_boot, self._real_urandom = host._boot_id, os.urandom

    def __enter__(self) -> ReplicatedWorld:
        os.urandom = self._random.randbytes  # type: ignore[assignment]
        set_boot("boot-0")
        self.disk = RecordingDisk(self.root)
        self.disk.__enter__()
        self.partitions = self._random.choice((1, 1, 2, 3))
        for name in self.names:
            create_directory(self._path(name))
        for name in self.names:
            directory = LogDirectory(self._path(name))
            self.ids[directory.directory_id] = name
            if name == "a":
                overrides: dict[str, int | str] = {"segment.bytes": 4096, "min.free": 0}
                if self._random.random() < 0.2:
                    overrides["retention.bytes"] = 8192
                directory.create_topic(
                    TOPIC, partitions=self.partitions, partitioner="crc32", overrides=overrides, wait_ms=0
                )
            directory.close()
        self.disk.settle()
        return self

    def __exit__(self, *exc: object) -> None:
        self._abandon()
        self.disk.__exit__()
        os.urandom = self._real_urandom  # type: ignore[assignment]
        host._boot_id = self._real_boot

    # Steps.

    def take(self, step: Step) -> None:
        rng = random.Random(step.seed)
        self.report.append(f"{step.kind} {step.seed}:")
        getattr(self, f"_{step.kind}")(rng)
        self.counts[step.kind] = self.counts.get(step.kind, 0) + 1

    def _append(self, rng: random.Random) -> None:
        self._append_to(Place(rng.choice(self.names), rng.randrange(self.partitions)), rng)

    def _append_killed(self, rng: random.Random) -> None:
        place = Place(rng.choice(self.names), rng.randrange(self.partitions))
        is_killed = self._killed_at(rng.choice((1, 3, 6, 12)), rng, lambda: self._append_to(place, rng, observes=False))
        if is_killed:
            self._abandon()
        self.observe()

    def _append_to(
        self, place: Place, rng: random.Random, *, durability: int | None = None, observes: bool = True
    ) -> None:
        if durability is None:
            durability = rng.choice((DISK, PAGE_CACHE))
        self.note(f"{place.directory}/{place.partition} acks {durability}")
        log = self._open_log(place)
        if log is None:
            return
        try:
            name = rng.choice((None, None, *PRODUCERS))
            batches = [self._batch(rng) for _ in range(rng.choice((1, 1, 2, 4)))]
            if name is not None:
                batches = self._input_of(name, place, log, rng)
            values = [value for batch in batches for value in self._values_of(batch)]
            self.attempted.update(values)
            result = log.append(batches, durability)
        except NotLeaderError:
            self.note("refused")
            assert not self._leads(place), f"{place} leads, and refuses a producer"
            return
        finally:
            if self.disk.kill_after >= 0:
                self._forget(place)
        self.note(f"at {result.first_offset} to {result.last_offset} of {name or 'nobody'}")
        new = values[result.duplicates :]
        assert len(new) == result.last_offset - result.first_offset + 1
        seen = self.seen.setdefault(place, {})
        seen.update(dict(enumerate(new, result.first_offset)))
        there = set(seen.values())
        for value in values:
            if value in there:  # Else it is input that was stored before, and trimmed.
                ack = self.acked.setdefault(value, Ack(place.partition))
                ack.is_kept = True
                if durability == DISK:
                    ack.on_disk_in.add(place.directory)
        if observes:
            self.observe()

    def _batch(self, rng: random.Random) -> EncodedBatch:
        values = []
        for _ in range(rng.choice((1, 1, 2, 5))):
            self._number += 1
            values.append(b"%06d." % self._number + b"x" * rng.choice(SIZES))
        return encode_columns(values, base_timestamp=1_000_000 + self._number)

    @staticmethod
    def _values_of(batch: EncodedBatch) -> list[bytes]:
        import msgpack

        return list(msgpack.unpackb(b"".join(batch.payload))[0])

    def _input_of(self, name: str, place: Place, log: PartitionLog, rng: random.Random) -> list[EncodedBatch]:
        """Return what a producer with an id sends: its input from where the log has it on, or some that is stored again."""
        topic = log._files.topic
        pin = topic.pin_producer(name, partition=None, lock_wait_ms=0)
        first = max(0, log.last_sequence(pin.producer_id) + 1 - rng.choice((0, 0, 0, 2)))
        batches = []
        for _ in range(rng.choice((1, 2))):
            sequences = list(range(first, first + rng.choice((1, 3))))
            first = sequences[-1] + 1
            values = [b"%b-%d-%d." % (name.encode(), place.partition, number) for number in sequences]
            values = [value + b"y" * SIZES[number % 4] for value, number in zip(values, sequences, strict=True)]
            batch = encode_columns(values, base_timestamp=2_000_000)
            batch.number(pin.producer_id, sequences)
            batches.append(batch)
        return batches

    def _open_log(self, place: Place) -> PartitionLog | None:
        """Return the log of a producer that runs all the time, until it is killed or the power goes."""
        if place not in self._logs:
            try:
                topic = LogDirectory(self._path(place.directory)).open_topic(TOPIC)
            except NoSuchTopicError:
                self.note("has no topic")
                return None
            self._logs[place] = PartitionLog(topic, place.partition, lock_wait_ms=0)
        return self._logs[place]

    def _trim(self, rng: random.Random) -> None:
        place = Place(rng.choice(self.names), rng.randrange(self.partitions))
        records = self.seen.get(place)
        if not records:
            return
        offset = rng.choice([*records, max(records) + 1])
        self.note(f"{place.directory}/{place.partition} below {offset}")
        directory = LogDirectory(self._path(place.directory))
        topic = directory.open_topic(TOPIC)
        cleaner = PartitionCleaner(topic, place.partition, lock_wait_ms=0)
        try:
            cleaner.delete_records(offset)
        except NotLeaderError:
            self.note("refused")
            assert not self._leads(place), f"{place} leads, and refuses a trim"
        finally:
            cleaner.close()
            topic.close()
            directory.close()
        self.observe()

    def _commit(self, rng: random.Random) -> None:
        place = Place(rng.choice(self.names), rng.randrange(self.partitions))
        records = self.seen.get(place)
        if records:
            directory = LogDirectory(self._path(place.directory))
            offset = rng.choice([*records, max(records) + 1])
            self.note(f"{place.directory}/{place.partition} at {offset}")
            try:
                commit(directory, rng.choice("gh"), place.partition, offset, TOPIC)
            finally:
                directory.close()

    def _replicate(self, rng: random.Random) -> None:
        source, target = rng.sample(self.names, 2)
        self._replicate_from(source, target, accepts_gap=rng.random() < 0.5)

    def _replicate_killed(self, rng: random.Random) -> None:
        source, target = rng.sample(self.names, 2)
        accepts_gap = rng.random() < 0.5
        self._killed_at(
            rng.choice((20, 60, 150)), rng, lambda: self._replicate_from(source, target, accepts_gap=accepts_gap)
        )
        self.observe(cut={source, target})

    def _power_cut(self, rng: random.Random) -> None:
        self._cut_power(rng)

    def _replicate_without_power(self, rng: random.Random) -> None:
        self._replicate_killed(rng)
        self._cut_power(rng)

    def _promote(self, rng: random.Random) -> None:
        self._promote_one(rng.choice(self.names), is_forced=rng.random() < 0.3)

    def _promote_killed(self, rng: random.Random) -> None:
        name, is_forced = rng.choice(self.names), rng.random() < 0.3
        self._killed_at(rng.choice((5, 20, 60)), rng, lambda: self._promote_one(name, is_forced=is_forced))
        self.observe(cut={name})

    def _promote_one(self, name: str, *, is_forced: bool) -> None:
        self.note(name)
        before = self._led_by(name)
        if before is None or not self._has_heard_of_all(name):
            self.note("not")
            return
        directory = LogDirectory(self._path(name))
        try:
            promotion = Promotion(directory, None, wait_ms=0)
            if not is_forced:
                try:
                    promotion.check_not_behind()
                except TryAgainError:
                    self.note("is behind")
                    return
            try:
                promotion.promote()
            finally:
                for partition in sorted((self._led_by(name) or set()) - before):
                    self.note(f"leads {partition} from {self.epochs_of(Place(name, partition))[-1][1]} on")
                    self._protect(Place(name, partition), is_forced=is_forced)
            assert not promotion.failures, promotion.failures
        finally:
            directory.close()
        self.observe(cut={name})  # It finishes what a killed replication has begun to cut.

    def _led_by(self, name: str) -> set[int] | None:
        """Return the partitions that a directory thinks it leads; None where it has none."""
        places = [Place(name, partition) for partition in range(self.partitions)]
        if not all((self._partition_path(place) / "epochs").exists() for place in places):
            return None
        return {place.partition for place in places if self._leads(place)}

    def _has_heard_of_all(self, name: str) -> bool:
        """Tell whether a directory knows of every promotion: of two that do not, whoever promotes both has two leaders."""
        for partition in range(self.partitions):
            if not self._leads(Place(name, partition)):
                latest = [
                    self.epochs_of(Place(other, partition))[-1][0] >> 32
                    for other in self.names
                    if (self._partition_path(Place(other, partition)) / "epochs").exists()
                ]
                if self.epochs_of(Place(name, partition))[-1][0] >> 32 < max(latest):
                    return False
        return True

    def _protect(self, place: Place, *, is_forced: bool) -> None:
        found = self._read(place)
        assert found is not None
        start, records = found
        if not is_forced:
            for offset, value in self.protected.get(place.partition, {}).items():
                ack = self.acked.get(value)
                if offset >= start and ack is not None and ack.is_kept:
                    assert records.get(offset) == value, (
                        f"{place} was promoted without force, and lacks {value[:10]!r} at offset {offset}"
                    )
        self.protected[place.partition] = records

    # What may strike.

    def _killed_at(self, most: int, rng: random.Random, action: Callable[[], None]) -> bool:
        """Do something, killed at one of its first calls of the disk."""
        self.disk.restart_count()
        self.disk.kill_after = rng.randrange(most)
        try:
            action()
        except Killed:
            self.kills += 1
            last = self.disk.operations[-1].text if self.disk.operations else "nothing"
            self.note(f"killed at call {self.disk.kill_after}, behind {last}")
            return True
        finally:
            self.disk.revive()
        return False

    def _cut_power(self, rng: random.Random) -> None:
        """Take the power from all: of what was not synced some is there, or all, or nothing, in each directory."""
        self._abandon()
        how = kinds_of_cuts(self.names, rng)
        self.note(f"power cut: {how}")
        self._boots += 1
        self.disk = cut_power(self.disk, how, rng, boot=f"boot-{self._boots}")
        self.cuts += 1
        for ack in self.acked.values():
            if not ack.on_disk_in:
                ack.is_kept = False
        self._state.clear()
        self.observe(cut=set(self.names), lost=True)

    def _forget(self, place: Place) -> None:
        log = self._logs.pop(place, None)
        if log is not None:
            directory = log._files.topic.directory
            for fd in {
                log._segment_fd,
                log._lock_fd,
                log._files.state_fd,
                log._files.fd,
                log._files.topic.fd,
                log._files.topic._json_fd,
                directory._locks_fd,
                directory.topics_fd,
                directory.fd,
            } - {-1}:
                os.close(fd)

    def _abandon(self) -> None:
        """Let go of the running producers, as a kill does."""
        for place in list(self._logs):
            self._forget(place)

    # Replication.

    def _replicate_from(self, source_name: str, target_name: str, *, accepts_gap: bool) -> list[Event]:
        self.note(f"{source_name} -> {target_name}{', gaps' if accepts_gap else ''}")
        source = DirectoryReplica(self._path(source_name), lock_wait_ms=0)
        try:
            target = DirectoryReplica(self._path(target_name), lock_wait_ms=0)
            try:
                if not target.begin(source.directory_id, source.address):
                    raise AssertionError("another run has the lock")
                replicator = Replicator(source, target, Choice(accept_gap=accepts_gap))
                run = replicator.run()
                events: list[Event] = []
                try:
                    for event in run:
                        events.append(event)
                finally:
                    run.close()
            finally:
                target.close()
        finally:
            source.close()
        assert replicator.is_complete
        for (_, partition), error in replicator.errors.items():
            self.note(f"{partition}: {type(error).__name__}")
            if isinstance(error, ReplicationGapError):
                assert not accepts_gap, error
            elif not isinstance(error, StaleSourceError):
                # A leader that lost records with its power says so with the epoch of its recovery, and that is the next
                # append's.
                waits = isinstance(error, TryAgainError) and self._is_unrecovered(Place(source_name, partition))
                assert waits, f"partition {partition}: {error} ({error.why})"
        self.observe(cut={source_name, target_name})
        for partition in range(self.partitions):
            if (TOPIC, partition) not in replicator.errors and (TOPIC, -1) not in replicator.errors:
                self._check_copied(source_name, target_name, partition)
        return events

    def _check_copied(self, source: str, target: str, partition: int) -> None:
        if not self._partition_path(Place(source, partition)).exists():
            return
        self._check_same(Place(source, partition), Place(target, partition))

    # The end.

    def heal(self) -> None:
        """Have every leader go on, and all others follow it; then hold everything against what was promised."""
        self.report.append("heal:")
        leaders = {}
        for partition in range(self.partitions):
            epoch, _, leader_id = max(
                self.epochs_of(Place(name, partition))[-1]
                for name in self.names
                if (self._partition_path(Place(name, partition)) / "epochs").exists()
            )
            leaders[partition] = self.ids[leader_id]
            self.note(f"{partition} led by {leaders[partition]} in {epoch >> 32}.{epoch & 0xFFFFFFFF};")
        for partition, name in leaders.items():
            self._append_to(Place(name, partition), random.Random(partition), durability=DISK)
        for _ in range(2):
            for source in sorted(set(leaders.values())):
                for target in self.names:
                    if source != target:
                        self._replicate_from(source, target, accepts_gap=True)
        before = self._files()
        for source in sorted(set(leaders.values())):
            for target in self.names:
                if source != target:
                    events = self._replicate_from(source, target, accepts_gap=True)
                    assert all(event.kind in ("refused",) for event in events), [event.kind for event in events]
        after = self._files()
        assert before == after, f"a run with nothing to do changed {_differences(before, after)}"
        for partition, leader in leaders.items():
            self._check_healed(partition, leader)
        self._check_topics()

    def _files(self) -> dict[str, bytes]:
        found = {}
        for name in self.names:
            for kind in ("topics", "quarantine", "groups"):
                for directory, _, names in os.walk(self.root / name / kind):
                    for file in names:
                        path = os.path.join(directory, file)
                        with open(path, "rb") as opened:
                            found[os.path.relpath(path, self.root)] = opened.read()
        return found

    def _check_healed(self, partition: int, leader: str) -> None:
        healed = self.seen[Place(leader, partition)]
        values = list(healed.values())
        assert len(values) == len(set(values)), f"partition {partition} has records twice"
        assert set(values) <= self.attempted
        epochs = self.epochs_of(Place(leader, partition))
        kept: set[bytes] = set(values)
        for name in self.names:
            place = Place(name, partition)
            self._check_same(Place(leader, partition), place)
            assert self.epochs_of(place) == epochs, f"{place}: {self.epochs_of(place)}, and the leader {epochs}"
            self._check_bytes(place, Place(leader, partition))
            kept |= self._check_quarantine(place, set(values))
        for value, ack in self.acked.items():
            if ack.partition == partition and ack.is_kept:
                assert value in kept, f"{value[:10]!r} of partition {partition} was acknowledged, and is nowhere"
        start = self._start[Place(leader, partition)]
        for offset, value in self.protected.get(partition, {}).items():
            protected = self.acked.get(value)
            if offset >= start and protected is not None and protected.is_kept:
                assert healed.get(offset) == value, f"{value[:10]!r} at offset {offset} outlived no fail-over"

    def _check_quarantine(self, place: Place, healed: set[bytes]) -> set[bytes]:
        """Return the values there; each batch that is in no log any more is there once."""
        found = self.quarantined(place)
        files: dict[tuple[bytes, int], set[str]] = {}
        for value, (name, crc) in found:
            files.setdefault((value, crc), set()).add(name)
        for (value, _), names in files.items():
            if value not in healed and value in self.acked and self.acked[value].is_kept:
                assert len(names) == 1, f"{value[:10]!r} of {place} is in quarantine/ twice: {sorted(names)}"
        return {value for value, _ in found}

    def _check_bytes(self, place: Place, leader: Place) -> None:
        ours, theirs = self._log_bytes(place), self._log_bytes(leader)
        common = ours.keys() & theirs.keys()
        behind = min([*theirs, self._start[leader]])
        assert all(offset < behind for offset in ours.keys() - common), (place, sorted(ours), sorted(theirs))
        for offset in common:
            assert ours[offset] == theirs[offset], f"{place} has other bytes at offset {offset}"

    def _check_topics(self) -> None:
        for name in self.names:
            directory = LogDirectory(self._path(name))
            try:
                report = verify_topic(directory, TOPIC)
                assert [finding for finding in report.findings if finding.severity == DAMAGE] == []
                ends = {place.partition: max(records, default=-1) + 1 for place, records in self.seen.items()}
                for group, offsets in replicated_groups(directory).items():
                    for (_, partition), offset in offsets.items():
                        assert offset.offset <= max(ends[partition], self._start[Place(name, partition)]), (
                            f"group {group} stands at {offset.offset} of {name}/{partition}, which ends at {ends}"
                        )
            finally:
                directory.close()


def _differences(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
