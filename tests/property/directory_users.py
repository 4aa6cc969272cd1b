"""Producers, readers and members of a group that run on from step to step, until they are killed, or the power goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import mk
from mk.errors import DataError, NotLeaderError
from mk.storage.partition_reader import PartitionReader
from tests.crash import oracle
from tests.crash.recorder import Killed
from tests.property.directory_lists import GROUP, TOPIC, DirectoryLists, drain
from tests.property.directory_model import Entry, name_of
from tests.property.directory_processes import (
    Killing,
    MemberProcess,
    Process,
    ProducerProcess,
    ReaderProcess,
    open_fds,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.property.directory_processes import Place

Result = TypeVar("Result")

NO_KILL = -1
DAY_MS = 86_400_000


class DirectoryUsers(DirectoryLists):
    """Each step is done by one of them, in whom it may be killed."""

    def __init__(self, root: Path, seed: int, *, partitions: int, is_keyed: bool, config: dict[str, int | str]) -> None:
        super().__init__(root, seed, partitions=partitions, is_keyed=is_keyed, config=config)
        self.producers: dict[tuple[object, ...], ProducerProcess] = {}
        self.readers: dict[tuple[object, ...], ReaderProcess] = {}
        self.members: dict[tuple[object, ...], MemberProcess] = {}

    def __exit__(self, *exc: object) -> None:
        self._abandon()
        super().__exit__(*exc)

    # Who does it, and who dies of it.

    def _run(self, process: Process, kill: int, action: Callable[[], Result]) -> Result:
        """Do something as a process, which is killed at its call of the disk with that number. Raises Killing if it was."""
        self.pass_time(60)
        self.disk.restart_count()
        self.disk.kill_after = kill
        before = open_fds()
        is_killed = False
        try:
            return action()
        except Killed:
            is_killed = True
            self.say(f"  killed at call {kill}, behind {self.disk.kinds[-3:]}")
        finally:
            self.disk.revive()
            after = open_fds()
            process.fds = (process.fds & after) | (after - before)
        assert is_killed
        process.fds &= open_fds()
        process.die()
        self.kills += 1
        raise Killing

    def _abandon(self) -> None:
        for process in [*self.producers.values(), *self.readers.values(), *self.members.values()]:
            process.die()
        self.producers, self.readers, self.members = {}, {}, {}

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
                target = partition_of(key, self.partitions) if key is not None else partition
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
            return drain(process.reader, place[1])

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
                self.committed[key[:2]] = source.committed_offset, key[2]

    def _give(self, process: MemberProcess, partition: int, records: list[tuple[int, bytes]]) -> None:
        place = process.directory, partition
        for offset, value in records:
            assert self.copies[place].log[offset].name == value, f"{process.name} was given {value!r} at {offset}"
        self.given[partition].update(records)
        self.history.polled(process.name, self._key(place), records)
        for source, (committed, _) in process.sources.items():
            if source.key[1] == partition:
                process.sources[source] = committed, self._key(place)


def partition_of(key: bytes, partitions: int) -> int:
    import zlib

    return zlib.crc32(key) % partitions
