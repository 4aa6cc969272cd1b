"""Following another directory, broken off anywhere: what was there is in the log or in quarantine/, and the next run ends it."""

from __future__ import annotations

import errno
import itertools
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from mk.errors import DataError, MkError, NotLeaderError
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_files import TRUNCATION_FILE
from mk.storage.partition_reader import PartitionReader
from tests.crash.images import materialise
from tests.crash.pair import Place, copy, replicate
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import TOPIC, Sweep, drain, next_boot
from tests.proof.figures import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mk.storage.follower_log import FollowerLog
    from tests.crash.world import Records

SHARED = 12
"""Records that both have in any case."""


class Case:
    """How a history begins, what is done then, and what has to come of it when somebody does it again."""

    def __init__(
        self,
        name: str,
        prepare: Callable[[Path], None],
        act: Callable[[Place, Place], object],
        *,
        cuts: bool = False,
        leads: bool = False,
    ) -> None:
        self.name = name
        self.prepare = prepare
        self.act = act
        self.cuts = cuts
        self.leads = leads


def _numbers(start: int) -> Iterator[int]:
    return itertools.count(start)


def _behind(path: Path) -> None:
    """A follower with some of its source's records, and a source with some more, in more than one segment."""
    source, target = Place(path / "source"), Place(path / "target")
    source.create().append(_numbers(0), 3, 3, 3, 3)
    target.create_as_copy_of(source)
    replicate(source, target)
    source.append(_numbers(100), 2, 4, 4, 2)


def _failed_over(path: Path) -> None:
    """An old leader with records that the new one does not have, above and below the beginning of a segment."""
    source, target = Place(path / "source"), Place(path / "target")
    target.create().append(_numbers(0), 3, 3, 3, 3)
    source.create_as_copy_of(target)
    replicate(target, source)
    target.append(_numbers(200), 1, 4, 4, 1)
    source.promote()
    source.append(_numbers(300), 2, 3)


def _follow(source: Place, target: Place) -> None:
    replicate(source, target)


def _fence(source: Place, target: Place) -> None:
    with target.follower() as log:
        log.fence(source.epochs())


def _begin_anew(source: Place, target: Place) -> None:
    """As a run does whose target has a hole: only once."""
    with target.follower() as log:
        if not target.state().cuts:
            log.restart(source.epochs(), 0)
        copy(source, log, log.sync())


def _promote(source: Place, target: Place) -> None:
    target.promote()


CASES = [
    Case("append", _behind, _follow),
    Case("cut", _failed_over, _follow, cuts=True),
    Case("fence", _failed_over, _fence),
    Case("anew", _failed_over, _begin_anew, cuts=True),
    Case("promote", _behind, _promote, leads=True),
]


class History:
    """The directories as they are before a case's action, and what their records are by then."""

    def __init__(self, path: Path, case: Case) -> None:
        self.case = case
        self.refused = False
        self.base = path / "base"
        with fast_disk():
            case.prepare(self.base)
        self.before = Place(self.base / "target").records()
        self.source = Place(self.base / "source").records()

    def begin(self, path: Path) -> tuple[Place, Place]:
        shutil.copytree(self.base, path)
        return Place(path / "source"), Place(path / "target")

    def check(self, root: Path) -> None:
        """Look at the directories after a crash, as a reader, as a producer, and as the next run."""
        source, target = Place(root / "source"), Place(root / "target")
        assert not target.damage(), target.damage()
        topic = LogDirectory(str(target.path)).open_topic(TOPIC)
        watcher = PartitionReader(topic, 0)
        seen = drain(watcher)
        assert list(seen) == list(range(len(seen)))
        assert self._is_front_of(seen, self.before) or self._is_front_of(seen, self.source), seen
        if self.case.name != "anew":
            assert len(seen) >= SHARED
        more = self._produce(target)
        assert not target.damage(), target.damage()
        self.case.act(source, target)
        assert not target.damage(), target.damage()
        left = target.records()
        if self.case.name in ("append", "cut", "anew"):
            assert left == self.source
            assert target.epochs() == source.epochs()
            # A disk that refuses a sync costs a segment more, with the same batches.
            assert b"".join(target.segments().values()) == b"".join(source.segments().values())
            assert self.refused or target.segments() == source.segments()
        self._check_watcher(watcher, seen, left)
        watcher.close()
        topic.close()
        topic.directory.close()
        kept = target.evidence()
        for offset, value in {**self.before, **more}.items():
            assert left.get(offset) == value or value in kept.get(offset, ()), f"offset {offset} is lost"
        if not self.case.cuts:  # But for what a power cut left behind a hole in what was copied.
            assert all({self.source[offset]} == values for offset, values in kept.items())
        if self.case.leads:
            target.append(_numbers(900), 1)
            assert len(target.records()) == len(left) + 1
            assert not target.damage(), target.damage()

    @staticmethod
    def _check_watcher(watcher: PartitionReader, seen: Records, left: Records) -> None:
        """What a reader had right after the crash is there still, or it is told that it was cut off."""
        try:
            seen = {**seen, **drain(watcher)}
        except DataError:
            assert any(left.get(offset) != value for offset, value in seen.items())
        else:
            assert all(left[offset] == value for offset, value in seen.items())

    @staticmethod
    def _is_front_of(found: Records, whole: Records) -> bool:
        return found == {offset: value for offset, value in whole.items() if offset < len(found)}

    def _produce(self, target: Place) -> Records:
        """Append as a producer would who knows of nothing. Returns what was acknowledged."""
        before = target.records()
        try:
            target.append(_numbers(700), 2)
        except NotLeaderError:
            assert target.records() == before
            return {}
        after = target.records()
        return {offset: value for offset, value in after.items() if before.get(offset) != value}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def history(request: pytest.FixtureRequest, tmp_path: Path) -> History:
    return History(tmp_path, request.param)


def broken_off(history: History, tmp_path: Path, number: int, *, error: int = 0) -> tuple[RecordingDisk, bool]:
    """Do the case's action with a kill, or a refusal, at the operation with that number. Returns whether it was all done."""
    root = tmp_path / f"broken-{number}-{error}"
    source, target = history.begin(root)
    with RecordingDisk(root) as disk:
        if error:
            disk.fault = lambda at, kind, name: error if at == number else 0
        else:
            disk.kill_after = number
        try:
            history.case.act(source, target)
        except Killed:
            return disk, False
        except (MkError, OSError):
            assert error
        return disk, disk.asked <= number


def sweep_kills(history: History, tmp_path: Path, *, per_cut: int, cut_every: int, step: int = 1) -> None:
    sweep = Sweep(tmp_path, seed=7, per_cut=per_cut)
    for number in itertools.count(0, step):
        disk, done = broken_off(history, tmp_path, number)

        def check_image(target: Path, count: int) -> None:
            with fast_disk():
                history.check(target)

        if number % cut_every == 0 or done:
            sweep.power_cuts(disk, check_image, start=max(0, len(disk.operations) - 1) if number else 0)
        with fast_disk():
            history.check(disk.root)
        shutil.rmtree(disk.root)
        if done:
            break
        count("broken-off")
    assert number >= 5
    print(f"{history.case.name}: {number} kills, {sweep.images} images")


def sweep_refusals(history: History, tmp_path: Path, errors: list[int]) -> None:
    history.refused = True
    for error in errors:
        for number in itertools.count():
            disk, done = broken_off(history, tmp_path, number, error=error)
            with fast_disk():
                (disk.root / "target" / "topics" / "t" / "0" / "FAILED").unlink(missing_ok=True)
                history.check(disk.root)
            shutil.rmtree(disk.root)
            if done:
                break
            count("faults")


def test_broken_off_anywhere_the_next_run_ends_it(history: History, tmp_path: Path) -> None:
    is_short = history.case.name in ("fence", "promote")
    sweep_kills(history, tmp_path, per_cut=1, cut_every=6, step=1 if is_short else 3)


@pytest.mark.slow
def test_with_the_power_cut_behind_each_operation(history: History, tmp_path: Path) -> None:
    sweep_kills(history, tmp_path, per_cut=12, cut_every=1)


@pytest.mark.slow
def test_refused_anywhere_the_next_run_ends_it(history: History, tmp_path: Path) -> None:
    sweep_refusals(history, tmp_path, [errno.EIO, errno.ENOSPC])


def test_what_was_cut_off_is_not_back_after_a_power_cut(tmp_path: Path) -> None:
    """Also where the segment was not cut on disk, and `state` is of another boot, or older than the cut: whoever finishes that
    tells nobody."""
    history = History(tmp_path, next(case for case in CASES if case.name == "cut"))
    cuts = 0
    for number in itertools.count():
        disk, is_done = broken_off(history, tmp_path, number)
        for image in disk.model.images(random.Random(number), 2):
            materialise(image, disk.root)
            next_boot()
            target = Place(disk.root / "target")
            if target.state().cuts or (target.partition / TRUNCATION_FILE).exists():
                cuts += 1
                assert History._is_front_of(target.records(), history.source)
        shutil.rmtree(disk.root)
        if is_done:
            break
    assert cuts > 5
    count("states", cuts)


def _begin_behind_a_hole(source: Place, target: Place) -> None:
    with target.follower() as log:
        log.restart(source.epochs(), 1000)


def _follow_to_a_trimmed_end_and_lead(source: Place, target: Place) -> None:
    """Of the copy, all is trimmed and nothing sealed; then it is to lead, and to be cleaned."""
    replicate(source, target)
    with target.follower() as log:
        log.advance_log_start(log.sync())
        log.promote()
    with target.topic() as topic:
        cleaner = PartitionCleaner(topic, 0, lock_wait_ms=0)
        try:
            assert cleaner.clean().rolled
        finally:
            cleaner.close()


@pytest.mark.parametrize("act", [_begin_behind_a_hole, _follow_to_a_trimmed_end_and_lead])
def test_killed_anywhere_a_copy_is_not_damaged(tmp_path: Path, act: Callable[[Place, Place], None]) -> None:
    for number in itertools.count():
        root = tmp_path / str(number)
        root.mkdir()
        with fast_disk():
            _behind(root)
        source, target = Place(root / "source"), Place(root / "target")
        with RecordingDisk(root) as disk:
            disk.kill_after = number
            try:
                act(source, target)
                is_done = True
            except Killed:
                is_done = False
        assert not target.damage(), target.damage()
        with fast_disk(), target.follower() as log:
            log.fence(source.epochs())  # Whoever changes it finishes what was begun.
        assert not target.damage(), target.damage()
        if is_done:
            break
        count("broken-off")
    assert number > 15


@pytest.fixture
def cut(tmp_path: Path) -> History:
    return History(tmp_path, next(case for case in CASES if case.name == "cut"))


def attach(log: FollowerLog, source: Place) -> None:
    log.attach(source.epochs(), source.state().high_watermark, SHARED, source.chain_at(SHARED))


def test_a_cut_is_on_disk_when_it_is_done_and_half_done_it_is_finished(cut: History, tmp_path: Path) -> None:
    source, target = cut.begin(tmp_path / "disk")
    images = tmp_path / "images"
    images.mkdir()
    with RecordingDisk(tmp_path / "disk") as disk:
        with target.follower() as log:
            attach(log, source)
            done = len(disk.operations)
        del disk.operations[done:]

    def check_done(root: Path, at: int) -> None:
        target = Place(root / "target")
        assert not (target.partition / TRUNCATION_FILE).exists(), "it would cut off what is copied from here on"
        assert target.records() == {offset: value for offset, value in cut.before.items() if offset < SHARED}

    def check_image(root: Path, at: int) -> None:
        with fast_disk():
            cut.check(root)

    sweep = Sweep(images, seed=7, per_cut=30)
    sweep.power_cuts(disk, check_done, start=done)
    sweep.power_cuts(disk, check_image, start=done - 3)
    count("states", sweep.images)


def test_what_is_copied_behind_a_cut_that_a_kill_broke_off_stays(tmp_path: Path) -> None:
    """The record of the cut is gone for all to see, and would come back with the power."""
    source, target = Place(tmp_path / "disk" / "source"), Place(tmp_path / "disk" / "target")
    images, gone = tmp_path / "images", [False]
    images.mkdir()
    with fast_disk():
        target.create().append(_numbers(0), 3, value=50)
        source.create_as_copy_of(target)
        replicate(target, source)
        target.append(_numbers(200), 2, value=50)
        source.promote()
        source.append(_numbers(300), 4, value=50)

    def die_behind_the_record(number: int, kind: str, name: str) -> int:
        if gone[0]:
            disk.kill_after = 0
            raise Killed
        gone[0] = kind == "unlink" and name == TRUNCATION_FILE
        return 0

    with RecordingDisk(tmp_path / "disk") as disk:
        disk.fault = die_behind_the_record
        with pytest.raises(Killed):
            replicate(source, target)
        disk.revive()
        # In the segment that was cut: a new one would have the names in the directory put on disk.
        replicate(source, target)
        assert len(target.segments()) == 1

    def check_image(root: Path, at: int) -> None:
        with fast_disk():
            target = Place(root / "target")
            assert not (target.partition / TRUNCATION_FILE).exists(), "it would cut off what was copied"
            assert target.records() == source.records()

    sweep = Sweep(images, seed=7, per_cut=12)
    sweep.power_cuts(disk, check_image, start=len(disk.operations))
    count("states", sweep.images)
