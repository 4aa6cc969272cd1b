"""Two log directories on one recording disk, and the plain lists that all is held against which readers see there.

What is looked at after each step: every record that is there is the one of its offset, and each that is missing is missing for
a reason; commits lie in the log, and the group was given all in front of them; no epoch goes back; verify finds no damage.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import mk
from mk import clock
from mk.consumer import following, group_consumer
from mk.errors import NoSuchTopicError
from mk.group_errors import CommitBeyondEndError, NoSuchGroupError
from mk.groups import group_coordinator
from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.storage import host, partition_log
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_reader import PartitionReader
from mk.storage.quarantine import list_quarantine, read_quarantined
from tests.crash import oracle
from tests.crash.recorder import RecordingDisk
from tests.proof.anomalies import History
from tests.property.directory_model import Copy, Entry, View, last_of_keys, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mk.storage.topic import Topic
    from tests.property.directory_processes import Key, Place

TOPIC = "t"
GROUP = "g"
NAMES = ("a", "b")


class DirectoryLists:
    """config: of the topic, as the settings are called in topic.json. is_keyed: its records have keys.

    first: of each partition where the log begins, in the directory that has removed most. given: what members of the group
    were given of it. committed: up to where they were told in a place that they have read, and of which of its logs.
    """

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
        self.committed: dict[Place, tuple[int, int]] = {}
        self.history = History(self._is_gone)
        self._told: dict[Key, set[bytes]] = {}
        self._checks: dict[Key, Callable[[int], bool]] = {}

    def __enter__(self) -> DirectoryLists:
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
        self.disk.__exit__()
        self._patch.undo()

    def say(self, text: str) -> None:
        self.report.append(text)

    def pass_time(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        self.uptime += milliseconds / 1000

    @contextmanager
    def _topic(self, name: str) -> Iterator[Topic]:
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
                    found = drain(reader, place[1])
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

    def _check_group(self, name: str) -> None:
        """Every record in front of where the group stands was given to it, unless it was gone before."""
        for partition in range(self.partitions):
            copy = self.copies[name, partition]
            with mk.connect(str(self.root / name)) as cluster:
                try:
                    stands = cluster.committed_offset(GROUP, TOPIC, partition)
                except NoSuchGroupError:
                    stands = None
                except CommitBeyondEndError as error:
                    stands = int(str(error.facts["stands_at"]))
            committed, generation = self.committed.get((name, partition), (-1, 0))
            if generation < copy.generation:
                committed = -1  # Of a log that was cut back more than once, the group may have to begin anew.
            assert (-1 if stands is None else stands) >= committed, (
                f"the group stands at {stands} of {name}/{partition}, and has committed {committed}"
            )
            if stands is None:
                continue
            assert stands <= copy.view.end, f"the group stands at {stands} in a log that ends at {copy.view.end}"
            last = last_of_keys(copy.log)
            for offset, value in copy.view.names.items():
                if self.first[partition] <= offset < stands and (offset, value) not in self.given[partition]:
                    assert copy.may_be_compacted(copy.log, offset, last), (
                        f"the group stands at {stands} of {name}/{partition}, and was never given {value!r} at {offset}"
                    )

    def _is_gone(self, key: Key, offset: int) -> bool:  # type: ignore[override]
        if key not in self._checks:
            self._checks[key] = self.copies[key[:2]].may_be_gone(key[2])
        return offset < self.first[key[1]] or self._checks[key](offset)


def other(name: str) -> str:
    return "b" if name == "a" else "a"


def drain(reader: PartitionReader, partition: int) -> dict[int, bytes]:
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
