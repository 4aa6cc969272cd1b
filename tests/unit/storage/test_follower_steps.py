"""What a copy says of itself while some of it is not on disk yet."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from mk.replication.directory_replica import DirectoryReplica
from tests.crash.pair import Place
from tests.crash.recorder import RecordingDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RecordingDisk]:
    with RecordingDisk(tmp_path) as disk:
        yield disk


@pytest.fixture
def source(disk: RecordingDisk) -> Place:
    place = Place(disk.root / "source").create()
    place.append(itertools.count(), 3, 3)
    return place


@pytest.fixture
def target(disk: RecordingDisk, source: Place) -> Place:
    """A copy of three records that are on disk and three that are not."""
    place = Place(disk.root / "target").create_as_copy_of(source)
    with place.follower() as log:
        log.attach(source.epochs(), 6, 0, 0)
        for base, _, _, data, begins_segment in source.batches():
            log.append_copies(data, base, begins_segment=begins_segment)
            if base == 0:
                log.sync()
    state = place.state()
    assert (state.high_watermark, state.written.offset) == (3, 6)
    return place


def test_a_copy_passes_on_only_what_it_has_on_disk(target: Place) -> None:
    replica = DirectoryReplica(str(target.path))
    (topic,) = replica.topics()
    assert topic.partitions[0].next_offset == 3
    assert sum(piece.next_offset - piece.base_offset for piece in replica.read(target.name, 0, 0, 3)) == 3
    replica.close()


def test_a_copy_that_is_promoted_has_all_of_it_on_disk_and_shows_it(
    disk: RecordingDisk, source: Place, target: Place
) -> None:
    start = len(disk.operations)
    target.promote()
    assert target.records() == source.records()
    done = [operation.text for operation in disk.operations[start:]]
    adopted = next(at for at, text in enumerate(done) if text.startswith("rename") and text.endswith(" epochs"))
    assert "sync 00000000000000000000.log" in done[:adopted]
