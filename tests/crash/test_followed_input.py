"""Files that are followed, and a power cut, a kill or a refusal at any operation: each line is stored exactly once."""

from __future__ import annotations

import itertools
import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mk.cli.produce_follow import FollowInput
from mk.errors import MkError
from mk.producer import followed_files
from mk.producer.producer import Producer
from mk.storage.log_directory import LogDirectory
from tests.crash import oracle
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.test_resumed_input import create, produce_plain
from tests.crash.world import TOPIC, Sweep
from tests.proof import figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Steps = tuple[Callable[["Logs"], None], ...]

NAME = "import-7"  # Its records without a key go to partition 0 of 2.
OLD = b"old"


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_files, "_REST_S", 0.0)


class EndWhenIdle:
    """In place of the wait for more: there is none, so a signal ends the command."""

    def __init__(self, source: FollowInput) -> None:
        self.source = source

    def wait(self, timeout_ms: int = 0) -> None:
        self.source.stop()

    def add(self, path: str) -> None:
        """Nothing is waited for."""

    add_directory = add

    def close(self) -> None:
        """Nothing is open."""


class Logs:
    """What a program writes, and somebody rotates, in steps; and the command after each of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "app.log"
        self.lines: list[bytes] = []
        self.late: list[bytes] = []
        root.mkdir()

    def append(self, count: int, *, to: str = "app.log", end: bytes = b"\n") -> None:
        for _ in range(count):
            line = b"line %04d %s" % (len(self.lines), b"x" * (len(self.lines) * 37 % 300))
            with open(self.root / to, "ab") as file:
                file.write(line + end)
            self.lines.append(line)

    def make_room(self) -> None:
        for number in (3, 2, 1):
            if (self.root / f"app.log.{number}").exists():
                (self.root / f"app.log.{number}").rename(self.root / f"app.log.{number + 1}")

    def rename(self) -> None:
        self.make_room()
        self.path.rename(self.root / "app.log.1")

    def copytruncate(self) -> None:
        self.make_room()
        shutil.copyfile(self.path, self.root / "app.log.1")
        os.truncate(self.path, 0)


def follow(path: Path, logs: Logs) -> None:
    """The command, in this process, until there is no more to read."""
    options = SimpleNamespace(
        follow=str(logs.path),
        accept_gap=False,
        quiet=True,
        producer_id=NAME,
        key=None,
        key_delimiter=None,
        headers=(),
        timestamp_ms=None,
        whole=False,
        null=False,
        delimiter=None,
        count=None,
        null_value=False,
        skip_bad=False,
        tee=False,
        files=(),
    )
    directory = LogDirectory(str(path))
    try:
        producer = Producer(directory.open_topic(TOPIC), producer_id=NAME, lock_wait_ms=0)
        try:
            source = FollowInput(producer, options)  # type: ignore[arg-type]
            source._files._watch.close()
            source._files._watch = EndWhenIdle(source)  # type: ignore[assignment]
            source.send()
        finally:
            producer.close()
    finally:
        directory.close()


def stored(path: Path) -> list[bytes]:
    found: list[bytes] = []
    for partition in range(2):
        produce_plain(path, partition)
        log = oracle.verify(path / "topics" / TOPIC / str(partition))
        found += [record.value for record in log.records if not record.value.startswith(OLD)]  # type: ignore[union-attr, misc]
    return found


def assert_all_are_there(path: Path, logs: Logs) -> None:
    """Each line once and in order; those that came late to a file, behind or in front of what its successor had."""
    found = stored(path)
    assert sorted(found) == logs.lines
    for lines in (logs.late, [line for line in logs.lines if line not in logs.late]):
        assert [line for line in found if line in lines] == lines


def first_use(logs: Logs) -> None:
    logs.append(8)


def more(logs: Logs) -> None:
    logs.append(9)


def rotated(logs: Logs) -> None:
    logs.append(2)
    logs.rename()
    logs.append(3)


def rotated_within_a_line(logs: Logs) -> None:
    logs.append(2)
    logs.append(1, end=b"")
    logs.rename()
    logs.append(3)


def written_to_late(logs: Logs) -> None:
    logs.append(2, to="app.log.1")
    logs.late += logs.lines[-2:]


def rotated_twice(logs: Logs) -> None:
    rotated(logs)
    rotated(logs)


def copied_and_emptied(logs: Logs) -> None:
    logs.append(4)
    logs.copytruncate()
    logs.append(4)


SCENARIOS = [
    (first_use, more, more),
    (first_use, rotated, rotated_within_a_line),
    (first_use, rotated, written_to_late, more),
    (first_use, rotated_twice, copied_and_emptied),
    (first_use, copied_and_emptied, rotated),
]
NAMES = ["-".join(step.__name__ for step in steps[1:]) for steps in SCENARIOS]


SOME = pytest.mark.parametrize("steps", SCENARIOS[1::2], ids=NAMES[1::2])
ALL = pytest.mark.parametrize("steps", SCENARIOS, ids=NAMES)


@pytest.mark.parametrize("steps", SCENARIOS[3:4], ids=NAMES[3:4])
def test_after_a_power_cut_it_goes_on_where_the_topic_ends(tmp_path: Path, steps: Steps) -> None:
    power_cuts(tmp_path, steps, per_cut=1)


@pytest.mark.slow
@ALL
def test_after_any_of_many_power_cuts(tmp_path: Path, steps: Steps) -> None:
    power_cuts(tmp_path, steps, per_cut=10)


def power_cuts(tmp_path: Path, steps: Steps, *, per_cut: int) -> None:
    base = tmp_path / "recorded"
    base.mkdir()
    logs = Logs(tmp_path / "logs")
    with RecordingDisk(base) as disk:
        create(base / "mk")
        start = len(disk.operations)
        for step in steps:
            step(logs)
            follow(base / "mk", logs)
    assert_all_are_there(base / "mk", logs)
    last = logs.path.read_bytes().splitlines()
    sweep = Sweep(tmp_path, seed=1, per_cut=per_cut)

    def check_image(target: Path, count: int) -> None:
        """All was rotated in the meantime: one cut in front of its first mark is used for the first time."""
        is_known = list((target / "mk" / "topics" / TOPIC).glob("producers/*.input"))
        with fast_disk():
            follow(target / "mk", logs)
            if is_known:
                assert_all_are_there(target / "mk", logs)
            else:
                assert stored(target / "mk") == last

    sweep.power_cuts(disk, check_image, start=start)
    print(f"{sweep.images} images")
    assert sweep.images > 20


@SOME
def test_killed_at_an_operation_it_goes_on_where_the_topic_ends(tmp_path: Path, steps: Steps) -> None:
    kills(tmp_path, steps, step=7)


@pytest.mark.slow
@ALL
def test_killed_at_any_operation(tmp_path: Path, steps: Steps) -> None:
    kills(tmp_path, steps, step=1)


def kills(tmp_path: Path, steps: Steps, *, step: int) -> None:
    for kill_after in itertools.count(step=step):
        logs = Logs(tmp_path / f"logs-{kill_after}")
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            create(base / "mk")
            steps[0](logs)
            follow(base / "mk", logs)
            disk.restart_count()
            disk.kill_after = kill_after
            was_killed = False
            for happens in steps[1:]:
                happens(logs)
                try:
                    follow(base / "mk", logs)
                except Killed:
                    was_killed = True
                    disk.revive()
        follow(base / "mk", logs)
        assert_all_are_there(base / "mk", logs)
        if not was_killed:
            break
        figures.count("broken-off")
    assert kill_after > 10


@SOME
def test_refused_an_operation_it_goes_on_where_the_topic_ends(tmp_path: Path, steps: Steps) -> None:
    refusals(tmp_path, steps, step=9)


@pytest.mark.slow
@ALL
def test_refused_any_operation(tmp_path: Path, steps: Steps) -> None:
    refusals(tmp_path, steps, step=1)


def refusals(tmp_path: Path, steps: Steps, *, step: int) -> None:
    """A full disk, or one that fails a sync, at one operation; then it works again."""
    for nth in itertools.count(step=step):
        logs = Logs(tmp_path / f"logs-{nth}")
        path = tmp_path / f"refused-{nth}"
        with RecordingDisk(tmp_path) as disk:
            create(path)
            steps[0](logs)
            follow(path, logs)
            disk.restart_count()
            asked = False

            def fault(number: int, kind: str, name: str) -> int:
                nonlocal asked
                if number == nth:  # noqa: B023
                    asked = True
                    return 5 if kind == "sync" else 28
                return 0

            disk.fault = fault
            for happens in steps[1:]:
                happens(logs)
                try:
                    follow(path, logs)
                except (MkError, OSError):
                    pass
            disk.revive()
            for partition in range(2):
                (path / "topics" / TOPIC / str(partition) / "FAILED").unlink(missing_ok=True)
            follow(path, logs)
        assert_all_are_there(path, logs)
        if not asked:
            break
        figures.count("faults")
    assert nth > 10
