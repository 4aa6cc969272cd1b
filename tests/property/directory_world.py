"""Two log directories on one recording disk, and everybody who uses them: producers, readers, members of a group, and commands.

Whoever runs on has a `Process`; what it has open is known, so that a kill can close it as the kernel does. After each step
all that readers see is held against plain lists, see directory_model.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

import pytest

import mk
from mk import clock
from mk.consumer import following, group_consumer
from mk.errors import (
    DataError,
    MkError,
    NoSuchTopicError,
    NotLeaderError,
    ReplicationGapError,
    StaleSourceError,
    TryAgainError,
)
from mk.group_errors import CommitBeyondEndError, NoSuchGroupError
from mk.groups import claim as claims
from mk.groups import group_coordinator, membership
from mk.groups.replicated_offsets import replicated_groups
from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.replication.directory_replica import DirectoryReplica
from mk.replication.promotion import Promotion
from mk.replication.replicator import Choice, Replicator
from mk.storage import host, partition_log
from mk.storage.log_cleaner import compact
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_reader import PartitionReader
from mk.storage.quarantine import list_quarantine, read_quarantined
from tests.crash import oracle
from tests.crash.recorder import Killed, RecordingDisk
from tests.proof.anomalies import History
from tests.property.directory_model import Copy, Entry, View, last_of_keys, name_of
from tests.property.power import cut_power, kinds_of_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mk.consumer.group_consumer import GroupConsumer, GroupSource
    from mk.producer.producer import Producer
    from mk.storage.partition_log import AppendResult

TOPIC = "t"
GROUP = "g"
NAMES = ("a", "b")
NO_KILL = -1
DAY_MS = 86_400_000

Place = tuple[str, int]
Key = tuple[str, int, int]
"""A place, and which of the logs that it has had."""

Result = TypeVar("Result")


class Process:
    """Somebody who has files open."""

    def __init__(self) -> None:
        self.fds: set[int] = set()

    def die(self) -> None:
        """Have the kernel close what is open, and nobody do anything more."""
        for member in [one for one in membership._joined if one._fd in self.fds]:
            if member._stop.locked():  # Else it was about to leave, and its thread has ended.
                member._stop.release()
                member._ended.acquire()
            member._fd = -1
            membership._joined.discard(member)
        for claim in [one for one in claims._held if one._fd in self.fds]:
            claim._fd = -1
            claims._held.discard(claim)
        for fd in self.fds:
            os.close(fd)
        self.fds = set()


class ProducerProcess(Process):
    producer: Producer

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.acknowledged: list[AppendResult] = []


class ReaderProcess(Process):
    """A reader that stays, and what it has been given of the log as it is."""

    reader: PartitionReader

    def __init__(self, name: str, place: Place, generation: int) -> None:
        super().__init__()
        self.name = name
        self.place = place
        self.generation = generation
        self.given: dict[int, bytes] = {}
        self.looks = "", ""


class MemberProcess(Process):
    """sources: the partitions it has had, up to where it was told that they are committed, and of which log it had the last record."""

    consumer: GroupConsumer

    def __init__(self, name: str, directory: str) -> None:
        super().__init__()
        self.name = name
        self.directory = directory
        self.sources: dict[GroupSource, tuple[int, Key]] = {}

    def die(self) -> None:
        super().die()
        if hasattr(self, "consumer"):
            # Or it would commit when it is collected, with descriptors that are somebody else's by then.
            consumer = self.consumer
            consumer._by_key, consumer._sources, consumer._topics = {}, [], []
            consumer._coordinator = consumer._watch = None
            consumer._wake_fd = consumer._waker = -1


class Killing(Exception):
    """What was asked for was killed on the way."""


class DirectoryWorld:
    """config: of the topic, as the settings are called in topic.json. is_keyed: its records have keys."""

    def __init__(self, root: Path, seed: int, *, partitions: int, is_keyed: bool, config: dict[str, int | str]) -> None:
        self.root = root
        self.partitions = partitions
        self.is_keyed = is_keyed
        self.config: dict[str, int | str] = {"min.free": 0, "retention.ms": -1, **config}
        self.compacts = config.get("cleanup.policy") == "compact"
        self.rng = random.Random(seed)
        self.now_ms = 1_700_000_000_000
        self.uptime = 1000.0
        self.boots = self.kills = self.cuts = self.commits = 0
        self.report: list[str] = []
        self.numbers = 0
        self.places = [(name, partition) for name in NAMES for partition in range(partitions)]
        self.copies = {place: Copy(compacts=self.compacts) for place in self.places}
        self.first = dict.fromkeys(range(partitions), 0)
        self.given: dict[int, set[tuple[int, bytes]]] = {partition: set() for partition in range(partitions)}
        self.history = History(self._is_gone)
        self._told: dict[Key, set[bytes]] = {}
        self._checks: dict[Key, Callable[[int], bool]] = {}
        self.producers: dict[tuple[object, ...], ProducerProcess] = {}
        self.readers: dict[tuple[object, ...], ReaderProcess] = {}
        self.members: dict[tuple[object, ...], MemberProcess] = {}

    def __enter__(self) -> DirectoryWorld:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(clock, "now_ms", lambda: self.now_ms)
        self._patch.setattr(clock, "uptime_ms", lambda: int(self.uptime * 1000))
        for module in (group_coordinator, group_consumer, following):
            self._patch.setattr(module, "monotonic", lambda: self.uptime)
        self._patch.setattr(partition_log, "time", SimpleNamespace(monotonic=lambda: self.uptime))
        self._patch.setattr(os, "urandom", self.rng.randbytes)
        self._patch.setattr(host, "_boot_id", "boot-0")
        self.disk = RecordingDisk(self.root)
        self.disk.__enter__()
        for name in NAMES:
            create_directory(str(self.root / name))
        with mk.connect(str(self.root / "a")) as cluster:
            cluster.create_topic(TOPIC, partitions=self.partitions, config=self.config)
        self.ids = {}
        for name in NAMES:
            directory = LogDirectory(str(self.root / name))
            self.ids[directory.directory_id] = name
            directory.close()
        self.disk.settle()
        return self

    def __exit__(self, *exc: object) -> None:
        self._abandon()
        self.disk.__exit__()
        self._patch.undo()

    def say(self, text: str) -> None:
        self.report.append(text)

    def pass_time(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        self.uptime += milliseconds / 1000

    # Who does it, and who dies of it.

    def _run(self, process: Process, kill: int, action: Callable[[], Result]) -> Result:
        """Do something as a process, which is killed at its call of the disk with that number. Raises Killing if it was."""
        self.pass_time(60)
        self.disk.restart_count()
        self.disk.kill_after = kill
        before = _open_fds()
        is_killed = False
        try:
            return action()
        except Killed:
            is_killed = True
            self.say(f"  killed at call {kill}, behind {self.disk.kinds[-3:]}")
        finally:
            self.disk.revive()
            after = _open_fds()
            process.fds = (process.fds & after) | (after - before)
        assert is_killed
        process.fds &= _open_fds()
        process.die()
        self.kills += 1
        raise Killing

    def _abandon(self) -> None:
        for process in [*self.producers.values(), *self.readers.values(), *self.members.values()]:
            process.die()
        self.producers, self.readers, self.members = {}, {}, {}

    @contextmanager
    def _topic(self, name: str) -> Iterator[mk.storage.topic.Topic]:  # type: ignore[name-defined]
        with mk.connect(str(self.root / name)) as cluster:
            topic = cluster.open_topic(TOPIC)
            try:
                yield topic
            finally:
                topic.close()

    def has_topic(self, name: str) -> bool:
        return (self.root / name / "topics" / TOPIC / "topic.json").exists()

    def _partition_path(self, place: Place) -> Path:
        return self.root / place[0] / "topics" / TOPIC / str(place[1])

    def epochs_of(self, place: Place) -> list[tuple[int, int, str]]:
        return oracle.read_epochs_file((self._partition_path(place) / "epochs").read_bytes())

    def leads(self, place: Place) -> bool:
        return self.has_topic(place[0]) and self.ids[self.epochs_of(place)[-1][2]] == place[0]

    def place(self, partition: int, *, leads: bool) -> Place:
        """Return a partition in the directory that leads it, or in the other one."""
        partition %= self.partitions
        name = "b" if self.leads(("b", partition)) and (not self.leads(("a", partition)) or self.numbers % 2) else "a"
        return (name if leads else other(name)), partition

    # Producing.

    def produce(self, place: Place, who: int, acks: int, records: list[tuple[int, int, bool]], kill: int) -> None:
        """records: of each the number of its key, its size, and whether it is a tombstone."""
        name, partition = place
        if not self.has_topic(name):
            return
        fixed = None if self.is_keyed else partition
        known = (who, name, acks, fixed)
        process = self.producers.get(known)
        if process is None:
            self.numbers += 1
            process = ProducerProcess(f"p{self.numbers}")
        entries: dict[int, list[Entry]] = {}

        def action() -> None:
            if known not in self.producers:
                cluster = mk.connect(str(self.root / name))
                process.producer = cluster.producer(
                    TOPIC, acks=acks, partition=fixed, lock_wait_ms=0, on_append=process.acknowledged.append
                )
                self.producers[known] = process
            for number, size, is_tombstone in records:
                self.numbers += 1
                key = b"k%d" % number if self.is_keyed else None
                sign = b"-" if is_tombstone and key is not None else b""
                entry = Entry(sign + b"%d" % self.numbers, key, self.now_ms, process.name)
                target = _partition_of(key, self.partitions) if key is not None else partition
                entries.setdefault(target, []).append(entry)
                value = None if sign else entry.name + b"." + b"x" * size
                process.producer.send(value, key, ((b"n", entry.name),) if sign else (), entry.time_ms)
            process.acknowledged.clear()
            process.producer.flush()

        is_over = True
        try:
            self._run(process, kill, action)
        except Killing:
            self.producers.pop(known, None)
            is_over = False
        except NotLeaderError:
            assert any(not self.leads((name, target)) for target in entries), f"{name} leads, and refuses a producer"
        else:
            assert len(process.acknowledged) == len(entries), "a flush came back, and not all is acknowledged"
        acked = {}
        for result in process.acknowledged:
            sent = entries.pop(result.partition)
            assert result.last_offset - result.first_offset + 1 == len(sent)
            acked[name, result.partition] = result.first_offset, sent
            self._tell((name, result.partition), sent, result.first_offset)
        process.acknowledged.clear()
        for target, sent in entries.items():
            if not is_over:
                self.copies[name, target].maybe.append(sent)
                self._tell((name, target), sent)
        self.look(name, acked=acked)
        for place in acked:
            if acks:
                self.copies[place].durable = len(self.copies[place].log)
            self._raise_epoch(place)

    def _tell(self, place: Place, entries: list[Entry], first_offset: int | None = None) -> None:
        """Have the history know of records that were sent, and at which offset they were acknowledged."""
        key = self._key(place)
        told = self._told.setdefault(key, set())
        for at, entry in enumerate(entries):
            if entry.name not in told:
                told.add(entry.name)
                self.history.sent(entry.producer, key, entry.name)
                if first_offset is not None:
                    self.history.acknowledged(key, entry.name, first_offset + at)

    def _key(self, place: Place) -> Key:
        return *place, self.copies[place].generation

    # Reading.

    def read(self, place: Place, who: int) -> None:
        name = place[0]
        if not self.has_topic(name):
            return
        known = who, *place
        process = self.readers.get(known)
        if process is None:
            self.numbers += 1
            process = ReaderProcess(f"r{self.numbers}", place, self.copies[place].generation)
        copy = self.copies[place]

        def action() -> dict[int, bytes]:
            if known not in self.readers:
                process.reader = PartitionReader(mk.connect(str(self.root / name)).open_topic(TOPIC), place[1])
                self.readers[known] = process
            return _drain(process.reader, place[1])

        try:
            before = process.reader.next_offset if hasattr(process, "reader") else copy.view.start
            found = self._run(process, NO_KILL, action)
        except DataError as error:
            assert type(error) is DataError, error
            self.say(f"  {process.name} was told of a cut: {error.why}")
            assert process.generation != copy.generation or process.looks != self._looks(place), "nothing was cut"
            cut_to = int(str(error.facts["offset"]))
            process.given = {offset: value for offset, value in process.given.items() if offset < cut_to}
        else:
            for first, last in process.reader.skipped:
                assert last < copy.view.start, f"{process.name} skipped {first} to {last} of {copy.view}"
            process.reader.skipped.clear()
            assert process.reader.next_offset == copy.view.end, f"{process.name} did not come to {copy.view.end}"
            missing = {o: v for o, v in copy.view.names.items() if o >= before and found.get(o) != v}
            assert not missing, f"{process.name} was not given {missing}"
            process.given.update(found)
            self.history.polled(process.name, self._key(place), found.items())
        for offset, value in process.given.items():
            assert copy.log[offset].name == value, (
                f"{process.name} has {value!r} at {offset}, which is another record now"
            )
        process.generation, process.looks = copy.generation, self._looks(place)

    def _looks(self, place: Place) -> tuple[str, str]:
        """Return what changes when a log is cut, or begun anew with the same records."""
        state = oracle.read_state_file((self._partition_path(place) / "state").read_bytes())
        assert state is not None
        return state.get("cuts", ""), state["leader_epoch"]

    # Consuming in a group.

    def consume(self, place: Place, who: int, fetches: int, *, commits: bool, kill: int) -> None:
        name = place[0]
        if not self.has_topic(name):
            return
        process = self.members.get((who, name))
        if process is None:
            self.numbers += 1
            process = MemberProcess(f"m{self.numbers}", name)

        def action() -> None:
            if (who, name) not in self.members:
                self.history.joined(process.name, GROUP)
                cluster = mk.connect(str(self.root / name))
                process.consumer = cluster.group_consumer(
                    GROUP, [TOPIC], follow=True, idle_ms=0, session_timeout_ms=DAY_MS, commit_interval_ms=DAY_MS
                )
                self.members[who, name] = process
            consumer = process.consumer
            for _, fetch in zip(range(fetches), consumer.fetches()):
                self._look_at_sources(process)
                for batch in fetch:
                    self._give(process, batch.partition, [(r.offset, name_of(r)) for r in batch.records()])
            if commits:
                consumer.commit()

        self._as_member((who, name), process, kill, action)

    def leave(self, place: Place, who: int, kill: int) -> None:
        name = place[0]
        process = self.members.get((who, name))
        if process is not None:
            self._as_member((who, name), process, kill, process.consumer.close)
            self.members.pop((who, name), None)

    def die(self, place: Place, who: int) -> None:
        """A member is killed while it does nothing."""
        process = self.members.pop((who, place[0]), None)
        if process is not None:
            process.die()
            self.kills += 1

    def _as_member(self, key: tuple[int, str], process: MemberProcess, kill: int, action: Callable[[], None]) -> None:
        try:
            self._run(process, kill, action)
        except Killing:
            self.members.pop(key, None)
        except DataError as error:
            assert type(error) is DataError, error
            self.say(f"  {process.name} was told of a cut: {error.why}")
            # It ends as a command does, and commits what it took.
            self._run(process, NO_KILL, process.consumer.close)
            self.members.pop(key)
        self._look_at_sources(process)
        self.look(key[1])

    def _look_at_sources(self, process: MemberProcess) -> None:
        """Note which partitions a member has got, and what it was told that is committed."""
        if not hasattr(process, "consumer"):
            return
        for source in process.consumer._by_key.values():
            if source not in process.sources:
                key = self._key((process.directory, source.key[1]))
                process.sources[source] = source.committed_offset, key
                self.history.assigned(process.name, key)
                self.history.resumed(GROUP, key, source.first_offset)
        for source, (before, key) in process.sources.items():
            if source.committed_offset != before:
                process.sources[source] = source.committed_offset, key
                self.commits += 1
                self.history.committed(GROUP, key, source.committed_offset)

    def _give(self, process: MemberProcess, partition: int, records: list[tuple[int, bytes]]) -> None:
        place = process.directory, partition
        for offset, value in records:
            assert self.copies[place].log[offset].name == value, f"{process.name} was given {value!r} at {offset}"
        self.given[partition].update(records)
        self.history.polled(process.name, self._key(place), records)
        for source, (committed, _) in process.sources.items():
            if source.key[1] == partition:
                process.sources[source] = committed, self._key(place)

    def _check_group(self, name: str) -> None:
        """Every record in front of where the group stands was given to it, unless it was gone before."""
        for partition in range(self.partitions):
            copy = self.copies[name, partition]
            with mk.connect(str(self.root / name)) as cluster:
                try:
                    stands = cluster.committed_offset(GROUP, TOPIC, partition)
                except NoSuchGroupError:
                    return
                except CommitBeyondEndError as error:
                    stands = int(str(error.facts["stands_at"]))
            if stands is None:
                continue
            assert stands <= copy.view.end, f"the group stands at {stands} in a log that ends at {copy.view.end}"
            last = last_of_keys(copy.log)
            for offset, value in copy.view.names.items():
                if self.first[partition] <= offset < stands and (offset, value) not in self.given[partition]:
                    assert copy.may_be_compacted(copy.log, offset, last), (
                        f"the group stands at {stands} of {name}/{partition}, and was never given {value!r} at {offset}"
                    )

    # Commands.

    def trim(self, place: Place, part: float, kill: int) -> None:
        name = place[0]
        offset = int(len(self.copies[place].log) * part)
        if not self.has_topic(name):
            return

        def action() -> None:
            with self._topic(name) as topic, _cleaner(topic, place[1]) as cleaner:
                cleaner.delete_records(offset)

        is_done = True
        try:
            self._run(Process(), kill, action)
        except Killing:
            is_done = False
        except NotLeaderError:
            assert not self.leads(place), f"{place} leads, and refuses a trim"
            is_done, offset = False, 0
        self.look(name, trims={place: offset})
        if is_done:
            copy = self.copies[place]
            assert copy.view.start >= offset
            copy.floor = copy.view.start
            copy.durable = max(copy.durable, offset)

    def clean(self, place: Place, kill: int) -> None:
        """Remove what the limits let go, and seal a segment that is old."""
        name = place[0]
        if not self.has_topic(name):
            return

        def action() -> None:
            with self._topic(name) as topic:
                for partition in range(self.partitions):
                    with _cleaner(topic, partition) as cleaner:
                        report = cleaner.clean()
                    assert report.error is None, report.error

        is_done = self._done(kill, action)
        self.look(name)
        for partition in range(self.partitions if is_done else 0):
            copy = self.copies[name, partition]
            copy.floor = max(copy.floor, copy.view.start)

    def compact(self, place: Place, *, seals: bool, kill: int) -> None:
        """Compact a partition; of a topic that is not compacted, clean it."""
        name, partition = place
        if not self.compacts:
            self.clean(place, kill)
            return
        if not self.has_topic(name):
            return

        def action() -> None:
            with self._topic(name) as topic:
                report = compact(topic, partition, seal_active=seals, min_dirty_ratio=0.0, lock_wait_ms=0)
            assert report.error is None, report.error

        self._done(kill, action)
        self.look(name)

    def _done(self, kill: int, action: Callable[[], None]) -> bool:
        try:
            self._run(Process(), kill, action)
        except Killing:
            return False
        return True

    def promote(self, place: Place, *, forces: bool, kill: int) -> None:
        name = other(place[0])
        if not self.has_topic(name):
            return

        def action() -> None:
            directory = LogDirectory(str(self.root / name))
            try:
                promotion = Promotion(directory, None, wait_ms=0)
                if not forces:
                    promotion.check_not_behind()
                promotion.promote()
                assert not promotion.failures, promotion.failures
            finally:
                directory.close()

        try:
            is_done = self._done(kill, action)
        except TryAgainError:
            self.say("  is behind")
            is_done = False
        self.look(name)
        for partition in range(self.partitions if is_done else 0):
            assert self.leads((name, partition)), f"{name} was promoted, and does not lead {partition}"
            self._raise_epoch((name, partition))

    def replicate(self, place: Place, *, accepts_gap: bool, kill: int) -> None:
        """Copy all that one directory has to the other."""
        source, target = place[0], other(place[0])
        for partition in range(self.partitions):
            ours, theirs = self.copies[source, partition], self.copies[target, partition]
            theirs.heading.append(ours.log)
            theirs.others += [last_of_keys(ours.log), *ours.others]
        errors: dict[tuple[str, int], MkError] = {}

        def action() -> None:
            ours = DirectoryReplica(str(self.root / source), lock_wait_ms=0)
            try:
                theirs = DirectoryReplica(str(self.root / target), lock_wait_ms=0)
                try:
                    assert theirs.begin(ours.directory_id, ours.address), "another run has the lock"
                    replicator = Replicator(ours, theirs, Choice(accept_gap=accepts_gap))
                    run = replicator.run()
                    try:
                        for _ in run:
                            pass
                    finally:
                        run.close()
                    errors.update(replicator.errors)
                finally:
                    theirs.close()
            finally:
                ours.close()

        is_done = self._done(kill, action)
        is_unrecovered = {place for place in self.places if self._is_unrecovered(place)}
        self.look(source, target)
        for (_, partition), error in errors.items():
            self.say(f"  {partition}: {type(error).__name__}")
            if isinstance(error, ReplicationGapError):
                assert not accepts_gap, error
            elif not isinstance(error, StaleSourceError):
                waits = isinstance(error, TryAgainError) and (source, partition) in is_unrecovered
                assert waits, f"partition {partition}: {error} ({error.why})"
        if not is_done or not self.has_topic(source):
            return
        for partition in range(self.partitions):
            if (TOPIC, partition) not in errors and (TOPIC, -1) not in errors:
                self._check_copied(source, target, partition)
        self._check_replicated_groups(target)

    def _check_copied(self, source: str, target: str, partition: int) -> None:
        ours, theirs = self.copies[source, partition], self.copies[target, partition]
        assert [one.name for one in theirs.log] == [one.name for one in ours.log], (
            f"{target}/{partition} ends at {theirs.view.end}, and is no copy of {source}, which ends at {ours.view.end}"
        )
        assert theirs.view.start >= ours.view.start
        if not self.compacts:
            left = {offset: name for offset, name in ours.view.names.items() if offset >= theirs.view.start}
            assert theirs.view.names == left
        theirs.heading = []
        theirs.others = list(ours.others)
        theirs.durable, theirs.floor = len(theirs.log), theirs.view.start
        self._raise_epoch((target, partition))

    def _check_replicated_groups(self, name: str) -> None:
        directory = LogDirectory(str(self.root / name))
        try:
            for offsets in replicated_groups(directory).values():
                for (_, partition), offset in offsets.items():
                    end = self.copies[name, partition].view.end
                    assert offset.offset <= end, f"the group is told {offset.offset} of a copy that ends at {end}"
        finally:
            directory.close()

    def _is_unrecovered(self, place: Place) -> bool:
        if not self.leads(place):
            return False
        state = oracle.read_state_file((self._partition_path(place) / "state").read_bytes())
        return state is None or state["boot"] != host.boot_id()

    def cut_the_power(self, seed: int) -> None:
        rng = random.Random(seed)
        how = kinds_of_cuts(NAMES, rng)
        self.say(f"  {how}")
        self._abandon()
        self.boots += 1
        self.disk = cut_power(self.disk, how, rng, boot=f"boot-{self.boots}")
        self.look(*NAMES, is_lost=True)
        self.cuts += 1

    # What is held against the lists.

    def look(
        self,
        *names: str,
        acked: dict[Place, tuple[int, list[Entry]]] | None = None,
        trims: dict[Place, int] | None = None,
        is_lost: bool = False,
    ) -> None:
        """Look at all that readers see. acked: what was appended, and where; trims: the offsets below which was trimmed."""
        for place in self.places:
            if place[0] in names:
                view = self._see(place)
                if view is None:
                    assert not self.copies[place].log, f"{place} is gone"
                    continue
                try:
                    self._compare(place, view, (acked or {}).get(place), (trims or {}).get(place), is_lost)
                except AssertionError as error:
                    raise AssertionError(f"{place}: {error}") from error
        for name in names:
            if self.has_topic(name):
                self._verify(name)
                self._check_group(name)

    def _compare(
        self, place: Place, view: View, acked: tuple[int, list[Entry]] | None, trim: int | None, is_lost: bool
    ) -> None:
        copy = self.copies[place]
        before, generation, durable = copy.view, self._key(place), copy.durable
        if acked is not None:
            copy.acknowledge(*acked, view)
            gone = ""
        else:
            gone = copy.become(view, is_lost=is_lost)
        if gone:
            self.say(f"  {place}: {gone} from {copy.generation - 1}")
            self.history.polled("observer", generation, sorted(before.names.items()))
            went = {offset: name for offset, name in copy.went(view).items() if not is_lost or offset < durable}
            lost = set(went.values()) - set(view.names.values()) - self._kept(place)
            assert not lost, f"{lost} were cut off, and are not in quarantine/"
        elif view.start < before.start:
            assert copy.heading or (is_lost and view.start >= copy.floor), f"the log begins at {view.start} again"
        elif view.start > before.start:
            others = [self.copies[name, place[1]].view.start for name in NAMES]
            may = view.start == trim or (copy.heading and view.start <= max(others))
            assert may or self._may_go(place, view.start), f"records up to {view.start} were removed"
        self._check_epochs(place, is_lost=is_lost)
        copy.view = view
        self.first[place[1]] = max(self.first[place[1]], view.start)
        self._tell_of_all(place)

    def _tell_of_all(self, place: Place) -> None:
        """What stands there by now was sent, whoever appended it, or copied it here."""
        told = self._told.setdefault(self._key(place), set())
        log = self.copies[place].log
        if len(told) < len(log) or not told.issuperset(entry.name for entry in log):
            self._tell(place, log)

    def _may_go(self, place: Place, start: int) -> bool:
        """Tell whether the limits let all go that lies in front of an offset."""
        oldest = int(self.config["retention.ms"])
        records = self.copies[place].log[self.copies[place].view.start : start]
        if oldest >= 0 and all(self.now_ms - entry.time_ms > oldest for entry in records):
            return True
        size = sum(path.stat().st_size for path in self._partition_path(place).glob("*.log"))
        return size >= int(self.config.get("retention.bytes", size + 1))

    def _check_epochs(self, place: Place, *, is_lost: bool) -> None:
        copy = self.copies[place]
        epochs = [epoch for epoch, _, _ in self.epochs_of(place)]
        assert epochs == sorted(set(epochs))
        assert epochs[-1] >= copy.epoch, f"the leader epoch went back from {copy.epoch} to {epochs[-1]}"

    def _raise_epoch(self, place: Place) -> None:
        self.copies[place].epoch = self.epochs_of(place)[-1][0]

    def _see(self, place: Place) -> View | None:
        try:
            with self._topic(place[0]) as topic:
                reader = PartitionReader(topic, place[1])
                try:
                    found = _drain(reader, place[1])
                    assert not reader.skipped, reader.skipped
                    return View(reader.log_start_offset, reader.high_watermark, found)
                finally:
                    reader.close()
        except NoSuchTopicError:
            return None

    def _kept(self, place: Place) -> set[bytes]:
        directory = LogDirectory(str(self.root / place[0]))
        try:
            return {
                name_of(record)
                for log in list_quarantine(directory)
                if log.name.startswith(f"{TOPIC}-{place[1]}-")
                for batch in read_quarantined(directory, log.name)
                for record in batch.records(TOPIC, place[1])
            }
        finally:
            directory.close()

    def _verify(self, name: str) -> None:
        directory = LogDirectory(str(self.root / name))
        try:
            damage = [finding for finding in verify_topic(directory, TOPIC).findings if finding.severity == DAMAGE]
        finally:
            directory.close()
        assert not damage, f"{name}: {damage}"

    # The end.

    def heal(self) -> None:
        """Have whoever leads go on and the other follow, and hold all against what was promised."""
        leaders = {}
        for partition in range(self.partitions):
            _, _, leader_id = max(self.epochs_of((name, partition))[-1] for name in NAMES if self.has_topic(name))
            leaders[partition] = self.ids[leader_id]
        self.say(f"heal {leaders}")
        for partition, name in leaders.items():
            for key in range(20):
                if not self.is_keyed or _partition_of(b"k%d" % key, self.partitions) == partition:
                    self.produce((name, partition), 0, 1, [(key, 10, False)], NO_KILL)
                    break
        for _ in range(2):
            for source in sorted(set(leaders.values())):
                self.replicate((source, 0), accepts_gap=True, kill=NO_KILL)
        for partition, name in leaders.items():
            follower = other(name)
            self._check_copied(name, follower, partition)
            mine, copied = (self.epochs_of((one, partition)) for one in (name, follower))
            assert mine == copied, f"{follower} has the epochs {copied} of {partition}, and its leader {mine}"
        for place in self.places:
            view = self.copies[place].view
            self.history.polled("end", self._key(place), sorted(view.names.items()))
        self.history.check()

    def _is_gone(self, key: Key, offset: int) -> bool:  # type: ignore[override]
        if key not in self._checks:
            self._checks[key] = self.copies[key[:2]].may_be_gone(key[2])
        return offset < self.first[key[1]] or self._checks[key](offset)


def other(name: str) -> str:
    return "b" if name == "a" else "a"


@contextmanager
def _cleaner(topic: object, partition: int) -> Iterator[PartitionCleaner]:
    cleaner = PartitionCleaner(topic, partition, lock_wait_ms=0)  # type: ignore[arg-type]
    try:
        yield cleaner
    finally:
        cleaner.close()


def _open_fds() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue  # The one by which they were listed.
        found.add(int(name))
    return found


def _drain(reader: PartitionReader, partition: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while True:
        start = reader.next_offset
        batches = reader.fetch()
        if not batches:
            return found
        for batch in batches:
            for record in batch.records(TOPIC, partition):
                if record.offset >= max(start, reader.log_start_offset):
                    assert record.offset > max(found, default=-1), f"offset {record.offset} comes again"
                    found[record.offset] = name_of(record)


def _partition_of(key: bytes, partitions: int) -> int:
    import zlib

    return zlib.crc32(key) % partitions
