"""A snapshot that the power cuts off behind any operation is none; one that was done is whole after any power cut."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from mk.errors import NoSuchDirectoryError
from mk.groups.claim import take
from mk.groups.claim_directory import make_claims, open_claims
from mk.maintenance.findings import DAMAGE
from mk.maintenance.group_check import check_groups
from mk.maintenance.snapshot import take_snapshot
from mk.maintenance.verify import verify_topic
from mk.storage import files
from mk.storage.log_directory import LogDirectory
from mk.storage.producer_pin import pin_producer
from tests.crash.pair import Place
from tests.crash.recorder import RecordingDisk, fast_disk
from tests.crash.world import TOPIC, Sweep

if TYPE_CHECKING:
    from pathlib import Path

    from tests.thinning import Thoroughness


def prepare(place: Place) -> None:
    """Make a directory with sealed segments, a group, a producer id and something in quarantine/."""
    place.create()
    with place.topic() as topic:
        pin_producer(topic, "p", partition=None, lock_wait_ms=0)
    place.append(itertools.count(), 3, 3, 3, 3)
    with place.topic() as topic:
        claims = make_claims(topic, "g")
        claim = take(claims, 0)
        assert claim is not None
        claim.commit(7, 0)
        claim.close()
        claims.close()
        fd = topic.directory.open_quarantine()
        files.write_new_file("t-0-1-0-00000001.log", b"cut", dir_fd=fd)
        files.fsync(fd)
        files.close(fd)


def check_whole(place: Place) -> None:
    assert len(place.records()) == 12
    with place.topic() as topic:
        claims = open_claims(topic.directory, "g", topic=TOPIC, topic_id=topic.topic_id)
        assert claims is not None
        slot = claims.newest(0)
        assert slot is not None and slot.offset == 7
        claims.close()
        assert len(topic.read_pins()) == 1
        found = verify_topic(topic.directory, TOPIC).findings + check_groups(topic.directory)
        assert [one for one in found if one.severity == DAMAGE] == []
    assert (place.path / "quarantine/t-0-1-0-00000001.log").read_bytes() == b"cut"
    place.append(itertools.count(100), 1)
    assert len(place.records()) == 13


def test_a_power_cut_at_any_operation_leaves_a_whole_snapshot_or_none(
    tmp_path: Path, thoroughness: Thoroughness
) -> None:
    base = tmp_path / "recorded"
    base.mkdir()
    with RecordingDisk(base) as disk:
        live = Place(base / "mk")
        prepare(live)
        start = len(disk.operations)
        with live.directory() as directory:
            take_snapshot(directory, str(base / "snapshot"), wait_ms=0)
        disk.note("done", "")
        done = len(disk.operations)

    def check(target: Path, count: int) -> None:
        with fast_disk():
            live, taken = Place(target / "mk"), Place(target / "snapshot")
            try:
                LogDirectory(str(taken.path)).close()
            except NoSuchDirectoryError:
                assert count < done, "it was done, and is not there"
                # What there is of it gives way to another one.
                with live.directory() as directory:
                    take_snapshot(directory, str(taken.path), wait_ms=0)
            check_whole(taken)
            check_whole(live)

    sweep = Sweep(tmp_path, seed=11, per_cut=thoroughness.pick(4, 10), thoroughness=thoroughness, cuts=16)
    sweep.power_cuts(disk, check, start=start)
    assert sweep.images > 16
    print(f"{sweep.images} images")
