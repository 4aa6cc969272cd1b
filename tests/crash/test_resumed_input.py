"""Input that is sent again after a power cut, or a kill, at any operation: each record of it is stored exactly once."""

from __future__ import annotations

import itertools
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from mk.errors import MkError
from mk.producer.producer import Producer
from mk.storage.log_directory import LogDirectory, create_directory
from tests.crash import oracle
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import TOPIC, Moments, Sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.thinning import Thoroughness

NAME = "import-7"
PARTITIONS = 2
NULL_PARTITION = int.from_bytes(sha256(NAME.encode()).digest()[:8], "big") % PARTITIONS
RECORDS = [
    (b"k%d" % (number % 5) if number % 4 else None, b"%04d" % number + b"v" * (number * 37 % 500))
    for number in range(48)
]
OLD = b"old"


def expected(partition: int) -> list[tuple[bytes | None, bytes | None]]:
    return [
        (key, value)
        for key, value in RECORDS
        if (NULL_PARTITION if key is None else zlib.crc32(key) % PARTITIONS) == partition
    ]


class Import:
    """The command, in this process: opens the topic, sends the input, and lets go of everything, however it ends."""

    def __init__(self, path: Path, *, piece: int, acks: int = 1) -> None:
        self.path = path
        self.piece = piece
        self.acks = acks

    def __call__(self) -> None:
        directory = LogDirectory(str(self.path))
        try:
            producer = Producer(directory.open_topic(TOPIC), producer_id=NAME, acks=self.acks, lock_wait_ms=0)
            try:
                for at in range(0, len(RECORDS), self.piece):
                    keys, values = zip(*RECORDS[at : at + self.piece], strict=True)
                    producer.send_keyed(keys, values)
                    producer.flush()
            finally:
                # A killed process closes without a word; what it would say on the disk dies with it.
                producer.close()
        finally:
            directory.close()


def create(path: Path) -> None:
    create_directory(str(path))
    directory = LogDirectory(str(path))
    overrides: dict[str, int | str] = {"segment.bytes": 4096}
    directory.create_topic(TOPIC, partitions=PARTITIONS, partitioner="crc32", overrides=overrides, wait_ms=0)
    directory.close()


def produce_plain(path: Path, partition: int, *, size: int = 0, acks: int = 1) -> None:
    directory = LogDirectory(str(path))
    with Producer(directory.open_topic(TOPIC), partition=partition, acks=acks, lock_wait_ms=0) as producer:
        producer.send(OLD + b"x" * size)
    directory.close()


def check(path: Path, *, piece: int) -> None:
    """Run the command again, and hold each partition against the input."""
    Import(path, piece=piece)()
    for partition in range(PARTITIONS):
        # With nothing to append it took no lock, and the partition may still be as it was cut off.
        produce_plain(path, partition)
        log = oracle.verify(path / "topics" / TOPIC / str(partition))
        found = [(record.key, record.value) for record in log.records if not record.value.startswith(OLD)]  # type: ignore[union-attr]
        assert found == expected(partition), f"partition {partition}: {len(found)} of {len(expected(partition))}"


def first_use(path: Path) -> None:
    Import(path, piece=48)()


def many_appends(path: Path) -> None:
    Import(path, piece=7)()


def without_waiting_for_the_disk(path: Path) -> None:
    Import(path, piece=11, acks=0)()


def stored_before_but_not_on_disk(path: Path) -> None:
    Import(path, piece=11, acks=0)()
    Import(path, piece=13, acks=1)()


def beside_plain_records(path: Path) -> None:
    produce_plain(path, 0, size=3000)
    produce_plain(path, 1, acks=0)
    Import(path, piece=16)()
    for partition in (0, 1, 0):
        produce_plain(path, partition, size=3500)


SCENARIOS = [first_use, many_appends, without_waiting_for_the_disk, stored_before_but_not_on_disk, beside_plain_records]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_after_a_power_cut_the_same_command_stores_what_is_missing(
    tmp_path: Path, scenario: Callable[[Path], None], thoroughness: Thoroughness
) -> None:
    base = tmp_path / "recorded"
    base.mkdir()
    with RecordingDisk(base) as disk:
        create(base / "mk")
        start = len(disk.operations)
        scenario(base / "mk")
    sweep = Sweep(tmp_path, seed=1, per_cut=thoroughness.pick(3, 100), thoroughness=thoroughness)
    pieces = itertools.cycle((48, 5, 17))

    def check_image(target: Path, count: int) -> None:
        with fast_disk():
            check(target / "mk", piece=next(pieces))

    sweep.power_cuts(disk, check_image, start=start)
    print(f"{sweep.images} images")
    assert sweep.images > 5


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_killed_at_any_operation_and_then_cut_off_from_power_it_stores_what_is_missing(
    tmp_path: Path, scenario: Callable[[Path], None], thoroughness: Thoroughness
) -> None:
    """A kill, the same command again, and a power cut during that."""
    sweep = Sweep(tmp_path, seed=4, per_cut=2, thoroughness=thoroughness, cuts=5)
    moments = Moments(thoroughness, 9)
    for number, kill_after in enumerate(moments):
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            create(base / "mk")
            disk.restart_count()
            disk.kill_after = kill_after
            try:
                scenario(base / "mk")
                assert kill_after == moments.NEVER
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            start = len(disk.operations)
            check(base / "mk", piece=9)

        def check_image(target: Path, count: int) -> None:
            with fast_disk():
                check(target / "mk", piece=48)

        if number % 4 == 1:
            sweep.power_cuts(disk, check_image, start=start)
    print(f"{number} kills, {sweep.images} images")
    assert len(moments.kinds) > 20


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_refused_any_operation_the_same_command_stores_what_is_missing(
    tmp_path: Path, scenario: Callable[[Path], None], thoroughness: Thoroughness
) -> None:
    """A full disk, or one that fails a sync, at one operation; then it works again."""
    base = tmp_path / "refused"
    moments = Moments(thoroughness, 12, figure="faults")
    for nth in moments:
        with RecordingDisk(tmp_path) as disk:
            path = base / str(nth)
            path.parent.mkdir(exist_ok=True)
            create(path)
            disk.restart_count()

            def fault(number: int, kind: str, name: str) -> int:
                if number == nth:  # noqa: B023
                    return 5 if kind == "sync" else 28
                return 0

            disk.fault = fault
            try:
                scenario(path)
            except (MkError, OSError):
                pass
            moments.saw(disk)
            disk.revive()
            for partition in range(PARTITIONS):
                (path / "topics" / TOPIC / str(partition) / "FAILED").unlink(missing_ok=True)
            check(path, piece=9)
    assert len(moments.kinds) > 20
