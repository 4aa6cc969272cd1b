"""Snapshots of what is not at rest, or not sound: taken again, left out, or carried as it is."""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptStateError, LockTimeoutError, NotLeaderError, UnsupportedFormatError
from mk.groups.claim import fence, take
from mk.groups.claim_directory import make_claims, open_claims
from mk.maintenance import snapshot as snapshots
from mk.maintenance.findings import NOTE
from mk.maintenance.group_check import check_groups
from mk.maintenance.snapshot import SnapshotReport, take_snapshot
from mk.maintenance.snapshot_place import SnapshotPlace
from mk.maintenance.verify import verify_topic
from mk.storage import files, host
from mk.storage.log_copy import LogCopy
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_log import PAGE_CACHE
from mk.storage.producer_pin import pin_producer
from mk.storage.topic_changes import alter_topic, rename_topic, seal_topic
from tests.crash.pair import Place, replicate
from tests.crash.recorder import Killed, RecordingDisk
from tests.crash.world import TOPIC, make_batch, next_boot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RecordingDisk]:
    with RecordingDisk(tmp_path) as disk:
        yield disk


@pytest.fixture
def place(disk: RecordingDisk) -> Place:
    place = Place(disk.root / "log").create()
    place.append(itertools.count(), 3, 3, 3, 3)
    return place


@pytest.fixture
def target(disk: RecordingDisk) -> Path:
    return disk.root / "snapshot"


def snapshot(place: Place, target: Path, **keywords: object) -> SnapshotReport:
    with place.directory() as directory:
        return take_snapshot(directory, str(target), wait_ms=0, **keywords)  # type: ignore[arg-type]


def found(target: Path) -> list[object]:
    """Return what is wrong with a snapshot, notes aside."""
    directory = LogDirectory(str(target))
    try:
        reports = [verify_topic(directory, name).findings for name in directory.topic_names()]
        return [one for one in itertools.chain(*reports, check_groups(directory)) if one.severity != NOTE]
    finally:
        directory.close()


class Meanwhile:
    """Have something happen when a method of a class is called for the so-manieth time, before it does anything."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, cls: type, name: str, action: Callable[[], object], number: int = 1
    ) -> None:
        real = getattr(cls, name)
        calls = itertools.count(1)

        def method(*arguments: object, **keywords: object) -> object:
            if next(calls) == number:
                action()
            return real(*arguments, **keywords)

        monkeypatch.setattr(cls, name, method)


def names_in(target: Path) -> list[str]:
    return sorted(path.name for path in (target / "topics").iterdir())


# Topics that are changed.


def do(place: Place, change: Callable[..., object], *arguments: object, **keywords: object) -> None:
    with place.directory() as directory:
        change(directory, *arguments, wait_ms=0, **keywords)


def test_a_topic_that_is_renamed_has_its_new_name_and_all_its_records(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Meanwhile(monkeypatch, LogCopy, "finish", lambda: do(place, rename_topic, TOPIC, "new"))
    snapshot(place, target)
    assert names_in(target) == ["new"]
    assert b'"name": "new"' in (target / "topics/new/topic.json").read_bytes()
    assert Place(target, "new").records() == Place(place.path, "new").records()
    assert found(target) == []


def test_topics_that_change_names_among_them_are_all_there(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is taken; then it gives its name to the other one, which would be passed over, or stand in its place."""
    other = Place(place.path, "u").create_beside()
    other.append(itertools.count(50), 2)

    def swap() -> None:
        do(place, rename_topic, TOPIC, "was-t")
        do(place, rename_topic, "u", TOPIC)

    Meanwhile(monkeypatch, LogCopy, "finish", swap)
    report = snapshot(place, target)
    assert names_in(target) == [TOPIC, "was-t"]
    assert len(Place(target, "was-t").records()) == 12
    assert len(Place(target, TOPIC).records()) == 2
    assert (report.topics, found(target)) == (2, [])


@pytest.mark.parametrize("number", [1, 2])
def test_a_topic_that_is_deleted_is_not_in_it(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    Place(place.path, "u").create_beside()

    def delete() -> None:
        with place.directory() as directory:
            directory.delete_topic(TOPIC, wait_ms=0)

    Meanwhile(monkeypatch, LogCopy, "finish", delete, number)
    report = snapshot(place, target)
    assert (names_in(target), report.topics) == (["u"], 1)
    assert len(list((target / "locks").glob("*/0"))) == 1


def test_a_topic_that_is_altered_is_as_it_was_when_it_was_begun(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = {"settings": {"retention.ms": 7}, "unset": [], "partitions": 3}
    Meanwhile(monkeypatch, LogCopy, "finish", lambda: do(place, alter_topic, TOPIC, **change))
    snapshot(place, target)
    with Place(target).topic() as topic:
        assert (topic.partitions, topic.config("retention.ms")) == (1, -1)
    assert found(target) == []


def test_a_seal_goes_with_a_topic(place: Place, target: Path) -> None:
    do(place, seal_topic, TOPIC)
    snapshot(place, target)
    with Place(target).topic() as topic, place.topic() as live:
        assert topic.sealed == live.sealed != ""


def test_the_first_producer_id_of_a_topic_has_it_taken_again(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken before, a log that does not begin at 0 had no snapshot of what is stored under producer ids."""
    from mk.storage.partition_cleaner import PartitionCleaner

    with place.topic() as topic:
        cleaner = PartitionCleaner(topic, 0, lock_wait_ms=0)
        cleaner.delete_records(8)
        cleaner.close()

    def pin() -> None:
        with place.topic() as topic:
            pin_producer(topic, "p", partition=None, lock_wait_ms=0)

    Meanwhile(monkeypatch, LogCopy, "finish", pin)
    snapshot(place, target)
    assert len(list((target / "topics/t/producers").iterdir())) == 1
    assert list((target / "topics/t/0").glob("*.producers"))
    assert found(target) == []


# Logs.


@pytest.mark.parametrize("can_link", [True, False])
def test_a_copy_that_is_cut_while_it_is_copied_is_taken_again(
    place: Place, target: Path, disk: RecordingDisk, monkeypatch: pytest.MonkeyPatch, can_link: bool
) -> None:
    if not can_link:
        disk.fault = no_links
    follower = Place(disk.root / "follower").create_as_copy_of(place)
    replicate(place, follower)
    other = Place(disk.root / "other").create_as_copy_of(place)
    replicate(place, other)
    place.append(itertools.count(100), 2, 2, value=300)
    replicate(place, follower)
    other.promote()
    other.append(itertools.count(200), 4, value=300)
    Meanwhile(monkeypatch, LogCopy, "_copy", lambda: replicate(other, follower))
    snapshot(follower, target)
    taken = Place(target)
    assert taken.records() == other.records() == follower.records()
    assert found(target) == []
    assert taken.evidence() == follower.evidence()
    with pytest.raises(NotLeaderError):
        taken.append(itertools.count(), 1)


def no_links(number: int, kind: str, name: str) -> int:
    return errno.EXDEV if kind == "link" and len(name) == 24 and name.endswith(".log") else 0


def test_records_that_nobody_synced_are_on_disk_in_it(place: Place, target: Path) -> None:
    numbers = itertools.count(70)
    with place.log() as log:
        log.append([make_batch(numbers, 2, 50)], PAGE_CACHE)
        snapshot(place, target)
    state = Place(target).state()
    assert (state.boot_id, state.durable.offset, state.written.offset) == ("snapshot", 14, 14)
    assert Place(target).records() == place.records()
    assert found(target) == []


def test_nobody_has_appended_since_the_host_was_started(place: Place, target: Path) -> None:
    next_boot()
    snapshot(place, target)
    assert Place(target).records() == place.records()
    place.append(itertools.count(90), 1)
    assert found(target) == []


@pytest.mark.parametrize("rebooted", [False, True])
def test_a_log_whose_disk_has_failed_is_in_it_up_to_where_it_is_on_disk(
    place: Place, target: Path, rebooted: bool
) -> None:
    (place.partition / "FAILED").write_text("the disk refused\n")
    if rebooted:
        next_boot()
    snapshot(place, target)
    assert not (target / "topics/t/0/FAILED").exists()
    assert Place(target).records() == place.records()
    Place(target).append(itertools.count(90), 1)
    assert found(target) == []


def test_damage_that_it_has_to_read_makes_no_snapshot(place: Place, target: Path) -> None:
    (place.partition / "epochs").write_bytes(b"0 0 nobody 00000000\n")
    with pytest.raises(CorruptStateError, match="damaged"):
        snapshot(place, target)
    assert not target.exists()
    (place.partition.parent / "topic.json").unlink()
    with pytest.raises(CorruptStateError, match="topic.json"):
        snapshot(place, target)
    assert not target.exists()


def test_a_disk_that_refuses_leaves_nothing_of_it(place: Place, target: Path, disk: RecordingDisk) -> None:
    target.mkdir()
    for wanted in (("rename", "mk.json"), ("create", "topic.json"), ("mkdir", "locks")):
        disk.fault = lambda number, kind, name, wanted=wanted: errno.EIO if (kind, name) == wanted else 0
        with pytest.raises(OSError):
            snapshot(place, target)
        disk.fault = None
        assert list(target.iterdir()) == []
    snapshot(place, target)


def test_a_directory_of_a_newer_mk_is_refused(place: Place, target: Path) -> None:
    data = (place.path / "topics/t/topic.json").read_bytes()
    body = data.replace(b'"format": 1', b'"format": 2')[: data.rindex(b'"checksum"')]
    from mk.records.codecs import crc32c

    (place.path / "topics/t/topic.json").write_bytes(b'%b"checksum": "%08x"\n}\n' % (body, crc32c(body)))
    with pytest.raises(UnsupportedFormatError):
        snapshot(place, target)
    assert not target.exists()


# Groups.


def test_of_each_claim_the_newest_slot_is_taken_in_its_generation(place: Place, target: Path) -> None:
    with place.topic() as topic:
        claims = make_claims(topic, "g")
        first = take(claims, 0)
        assert first is not None
        first.commit(3, 0)
        second = fence(claims, 0)
        assert second is not None
        second.commit(6, 0)
        snapshot(place, target)
        newest = claims.newest(0)
        second.close()
        first.close()
        claims.close()
    with Place(target).topic() as topic:
        taken = open_claims(topic.directory, "g", topic=TOPIC, topic_id=topic.topic_id)
        assert taken is not None
        assert taken.generations() == {0: [2]}
        assert taken.newest(0) == newest
        claim = take(taken, 0)
        assert claim is not None and claim.committed.offset == 6
        claim.close()
        taken.close()
    assert found(target) == []


def test_a_claim_that_is_being_fenced_is_taken_from_the_generation_before(place: Place, target: Path) -> None:
    with place.topic() as topic:
        claims = make_claims(topic, "g")
        first = take(claims, 0)
        assert first is not None
        first.commit(3, 0)
        first.close()
        # Who fences it is killed before anything is in the next one.
        (place.path / "groups/g/claims" / topic.topic_id / "0.0000000002").write_bytes(bytes(4608))
        snapshot(place, target)
        claims.close()
    with Place(target).topic() as topic:
        taken = open_claims(topic.directory, "g", topic=TOPIC, topic_id=topic.topic_id)
        assert taken is not None and taken.generations() == {0: [1]}
        slot = taken.newest(0)
        assert slot is not None and slot.offset in (-1, 3)
        taken.close()


def test_a_claim_that_cannot_be_read_is_damaged_in_it_too(place: Place, target: Path) -> None:
    with place.topic() as topic:
        claims = make_claims(topic, "g")
        claim = take(claims, 0)
        assert claim is not None
        claim.commit(3, 0)
        claim.close()
        claims.close()
        path = place.path / "groups/g/claims" / topic.topic_id / "0.0000000001"
        path.write_bytes(b"x" * path.stat().st_size)
    snapshot(place, target)
    assert [one.kind for one in found(target)] == ["damaged-claim"]  # type: ignore[attr-defined]


def test_a_group_that_is_deleted_while_it_is_read_is_not_in_it(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mk.groups import group_copy
    from mk.groups.group_removal import delete_group

    with place.topic() as topic:
        for group in ("g", "h"):
            claims = make_claims(topic, group)
            claim = take(claims, 0)
            assert claim is not None
            claim.close()
            claims.close()
    real = group_copy._copy_claims

    def copy_claims(directory: LogDirectory, group: str, *rest: object) -> None:
        if group == "g":
            delete_group(directory, group, wait_ms=0)
        real(directory, group, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(group_copy, "_copy_claims", copy_claims)
    assert snapshot(place, target).groups == 1
    assert [path.name for path in (target / "groups").iterdir()] == ["h"]


# quarantine/.


def test_what_was_cut_off_is_linked_but_not_a_segment_that_has_a_name_there(
    place: Place, target: Path, disk: RecordingDisk
) -> None:
    quarantine = place.path / "quarantine"
    fd = os.open(quarantine, os.O_RDONLY)
    files.write_new_file("t-0-1-0-00000001.log", b"cut", dir_fd=fd)
    # The disk failed while the active segment was being given up. Whoever writes next takes that name back, and it must be the
    # only other one.
    (place.partition / "FAILED").write_text("the disk refused\n")
    active = sorted(place.partition.glob("*.log"))[-1]
    files.link(active.name, "t-0-9-0-00000002.log", src_dir_fd=place.fd(), dst_dir_fd=fd)
    for copy in (target, disk.root / "second"):
        snapshot(place, copy)
        assert os.path.samefile(quarantine / "t-0-1-0-00000001.log", copy / "quarantine/t-0-1-0-00000001.log")
        assert (copy / "quarantine/t-0-9-0-00000002.log").read_bytes() == active.read_bytes()
        assert active.stat().st_nlink == 2
    (place.partition / "FAILED").unlink()
    next_boot()
    place.append(itertools.count(80), 1)
    assert active.stat().st_nlink == 1


# The place.


def test_of_two_at_once_one_has_the_place(place: Place, target: Path) -> None:
    with place.directory() as directory:
        held = SnapshotPlace(directory, str(target))
        try:
            with pytest.raises(LockTimeoutError, match="snapshot"):
                snapshot(place, target)
            held.give_up()
        finally:
            held.close()
    snapshot(place, target)


def test_progress_ends_with_all_that_there_was(place: Place, target: Path) -> None:
    told: list[tuple[int, int]] = []
    snapshot(place, target, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == sum(len(data) for data in place.segments().values())


# Power cuts: in tests/crash. Here: what a kill leaves, from the inside.


def test_killed_before_any_change_it_is_no_log_directory_and_the_next_one_is_whole(
    place: Place, target: Path, disk: RecordingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(disk.operations)
    snapshot(place, target)
    steps = len(disk.operations) - count
    monkeypatch.setattr(snapshots.SnapshotPlace, "give_up", lambda self: None)
    for step in range(1, steps, 7):
        files.remove_tree("snapshot", dir_fd=os.open(disk.root, os.O_RDONLY))
        disk.kill_after = len(disk.operations) + step
        try:
            snapshot(place, target)
        except Killed:
            pass
        disk.revive()
        if not (target / "mk.json").exists():
            snapshot(place, target)
        assert Place(target).records() == place.records()
        assert found(target) == []


@pytest.fixture(autouse=True)
def boot() -> Iterator[None]:
    real = host._boot_id
    next_boot()
    yield
    host._boot_id = real
