"""Log directories that hold one topic, whoever leads it there, and what readers see of it from one look to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mk.errors import NoSuchTopicError
from mk.storage import host
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_reader import PartitionReader
from tests.crash import oracle

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "t"

Records = dict[int, bytes]
"""Offset -> value."""


class Place(NamedTuple):
    """One partition in one directory."""

    directory: str
    partition: int


class Ack:
    """What was promised of one value. is_kept: nothing may cost it but a trim; one of acks 0 may be lost with the power.

    on_disk_in: the directories that acknowledged it so.
    """

    __slots__ = ("is_kept", "on_disk_in", "partition")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.on_disk_in: set[str] = set()
        self.is_kept = True


class SeenDirectories:
    """Log directories with one topic, and what readers saw there when it was last looked at.

    seen: what readers see, by place. acked: by value. report: what happened, for whoever looks into a failure.
    """

    def __init__(self, root: Path, names: str) -> None:
        self.root = root
        self.names = names
        self.partitions = 1
        self.ids: dict[str, str] = {}
        self.report: list[str] = []
        self.seen: dict[Place, Records] = {}
        self.acked: dict[bytes, Ack] = {}
        self._state: dict[Place, bytes] = {}
        self._start: dict[Place, int] = {}

    def _path(self, name: str) -> str:
        return str(self.root / name)

    def _partition_path(self, place: Place) -> Path:
        return self.root / place.directory / "topics" / TOPIC / str(place.partition)

    def note(self, text: str) -> None:
        self.report[-1] += f" {text}"

    def epochs_of(self, place: Place) -> list[tuple[int, int, str]]:
        return oracle.read_epochs_file((self._partition_path(place) / "epochs").read_bytes())

    def _leads(self, place: Place) -> bool:
        return self.ids[self.epochs_of(place)[-1][2]] == place.directory

    def _is_unrecovered(self, place: Place) -> bool:
        state = oracle.read_state_file((self._partition_path(place) / "state").read_bytes())
        return self._leads(place) and (state is None or state["boot"] != host.boot_id())

    def observe(self, *, cut: set[str] | frozenset[str] = frozenset(), lost: bool = False) -> None:
        """Read all that has changed. cut: where records may be gone, to quarantine/; lost: or with the power."""
        for name in self.names:
            for partition in range(self.partitions):
                place = Place(name, partition)
                path = self._partition_path(place) / "state"
                state = path.read_bytes() if path.exists() else b""
                if not state or (state == self._state.get(place) and not lost):
                    continue
                found = self._read(place)
                if found is None:
                    continue
                self._state[place] = state
                start, records = found
                before = self.seen.get(place, {})
                gone = {offset: value for offset, value in before.items() if records.get(offset) != value}
                for offset, value in list(gone.items()):
                    if offset < start and offset >= self._start.get(place, 0):
                        del gone[offset]
                        if value in self.acked:
                            self.acked[value].is_kept = False  # It was removed.
                self._start[place] = start
                if gone:
                    assert name in cut, f"{place} lost {short(gone)}"
                    self._check_kept(place, gone, records, lost=lost)
                self.seen[place] = records

    def _check_kept(self, place: Place, gone: Records, records: Records, *, lost: bool) -> None:
        kept = {value for value, _ in self.quarantined(place)} | set(records.values())
        for offset, value in gone.items():
            ack = self.acked.get(value)
            if ack is not None and ack.is_kept and (not lost or place.directory in ack.on_disk_in):
                assert value in kept, f"{place} lost {value[:10]!r} at offset {offset}, and has it nowhere"

    def _read(self, place: Place) -> tuple[int, Records] | None:
        directory = LogDirectory(self._path(place.directory))
        try:
            try:
                topic = directory.open_topic(TOPIC)
            except NoSuchTopicError:
                return None
            try:
                reader = PartitionReader(topic, place.partition)
                try:
                    found: Records = {}
                    while batches := reader.fetch():
                        for batch in batches:
                            for record in batch.records(TOPIC, place.partition):
                                if record.offset >= reader.log_start_offset:
                                    found[record.offset] = record.value  # type: ignore[assignment]
                    return reader.log_start_offset, found
                finally:
                    reader.close()
            finally:
                topic.close()
        finally:
            directory.close()

    def quarantined(self, place: Place) -> list[tuple[bytes, tuple[str, int]]]:
        """Return each value of a partition in quarantine/ with where it is: the file, and its batch's checksum."""
        found = []
        directory = self.root / place.directory / "quarantine"
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if path.name.startswith(f"{TOPIC}-{place.partition}-"):
                data = path.read_bytes()
                for batch in oracle.batches_in(data[max(0, data.find(b"\x8aMK\x01")) :]):
                    for record in oracle.decode_records(batch):
                        assert record.value is not None
                        found.append((record.value, (path.name, batch["header_crc"])))
        return found

    def _log_bytes(self, place: Place) -> dict[int, bytes]:
        """Return the bytes of each batch, by its offset, with those of its segment's place."""
        path = self._partition_path(place)
        found = {}
        for base in oracle.segment_bases(path):
            data = (path / f"{base:020d}.log").read_bytes()
            batches = oracle.batches_in(data)
            for batch in batches:
                stop = batch["position"] + 128 + batch["payload_length"]
                found[batch["base_offset"]] = data[batch["position"] : stop]
            assert not data or stop == len(data), f"{place}: segment {base} has bytes behind its last batch"
        return found

    def _check_same(self, source: Place, target: Place) -> None:
        """Compare what both have; the copy may have removed more, by itself, when it led."""
        ours, theirs = self.seen[source], self.seen[target]
        start = max(self._start[source], self._start[target])
        ours = {offset: value for offset, value in ours.items() if offset >= start}
        assert theirs == ours, f"{target} is no copy of {source}: {short(theirs)}, and not {short(ours)}"


def short(records: Records) -> str:
    return ", ".join(f"{offset}: {value[:10]!r}" for offset, value in records.items()) or "nothing"
