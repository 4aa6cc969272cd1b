"""A leader that is an older copy of itself: its followers give up nothing for its recovery, and all for its promotion."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING

import pytest

from mk.errors import DivergedLogError
from mk.storage.held_log import held_log
from mk.storage.partition_log import PAGE_CACHE
from tests.crash.pair import Place, replicate
from tests.crash.world import make_batch, next_boot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def boot() -> Iterator[None]:
    from mk.storage import host

    real = host._boot_id
    next_boot()
    yield
    host._boot_id = real


@pytest.fixture
def source(tmp_path: Path) -> Place:
    place = Place(tmp_path / "source").create()
    place.append(itertools.count(), 3, 3)
    return place


@pytest.fixture
def target(tmp_path: Path, source: Place) -> Place:
    return Place(tmp_path / "target").create_as_copy_of(source)


def restore(source: Place, old: Path) -> None:
    shutil.rmtree(source.path)
    shutil.copytree(old, source.path)
    next_boot()


def test_what_it_had_on_its_disk_is_not_cut_off_for_a_recovery(source: Place, target: Place, tmp_path: Path) -> None:
    shutil.copytree(source.path, tmp_path / "old")
    source.append(itertools.count(50), 2, 2)
    replicate(source, target)
    had = target.records()
    restore(source, tmp_path / "old")
    # Which recovers it, and begins another leader epoch.
    source.append(itertools.count(90), 1)
    assert [entry.first_offset for entry in source.epochs().entries] == [0, 6]
    for _ in range(2):
        with pytest.raises(DivergedLogError) as refused:
            replicate(source, target)
        assert "on its disk" in refused.value.why and "mk topics repair --restored" in refused.value.fix
    assert target.records() == had and not target.evidence()
    # As it is after that command: an epoch as of a promotion, from its end on.
    with source.follower() as log, held_log(log, fix=""):
        log._adopt(log.settled(), log.epochs.raised(7, 1 << 32))
    source.append(itertools.count(95), 1)
    replicate(source, target)
    assert target.records() == source.records()
    assert set(target.evidence()) == {6, 7, 8, 9}


def test_what_it_never_had_on_its_disk_is_cut_off_as_ever(source: Place, target: Place, tmp_path: Path) -> None:
    """The power took it: nobody had been told that it was stored."""
    shutil.copytree(source.path, tmp_path / "old")
    with source.log() as log:
        for number in (50, 60):
            log.append([make_batch(itertools.count(number), 2, 50)], PAGE_CACHE)
    replicate(source, target)
    assert len(target.records()) == 10
    restore(source, tmp_path / "old")
    source.append(itertools.count(90), 1)
    replicate(source, target)
    assert target.records() == source.records()
    assert set(target.evidence()) == {6, 7, 8, 9}
