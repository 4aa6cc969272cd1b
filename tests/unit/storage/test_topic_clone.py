"""Clones: what they share with their original, what they do not, and that neither feels what is done to the other."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import (
    CannotCreateError,
    CorruptStateError,
    LockTimeoutError,
    NoSuchTopicError,
    PartitionFailedError,
    StorageError,
    TopicExistsError,
    TryAgainError,
    UsageError,
)
from mk.records.record_batch import encode_columns
from mk.storage import files
from mk.storage.input_mark import InputMark
from mk.storage.log_cleaner import compact
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog
from mk.storage.producer_pin import pin_producer
from mk.storage.topic_changes import rename_topic, replace_topic, seal_topic
from mk.storage.topic_clone import CloneReport, clone_topic
from tests.crash.pair import Place, replicate
from tests.crash.recorder import RecordingDisk
from tests.crash.world import TOPIC, make_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NEW = "new"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RecordingDisk]:
    with RecordingDisk(tmp_path) as disk:
        yield disk


@pytest.fixture
def original(disk: RecordingDisk) -> Place:
    place = Place(disk.root / "log").create()
    place.append(itertools.count(), 3, 3, 3, 3)
    return place


def clone(place: Place, new: str = NEW, **keywords: object) -> tuple[Place, CloneReport]:
    with place.directory() as directory:
        report = clone_topic(directory, place.name, new, wait_ms=0, **keywords)  # type: ignore[arg-type]
    return Place(place.path, new), report


def sealed(place: Place) -> dict[int, bytes]:
    return {base: data for base, data in place.segments().items() if base < place.state().segment}


def inodes(place: Place) -> dict[str, tuple[int, int]]:
    """Inode and number of names of each file of a partition."""
    return {path.name: (path.stat().st_ino, path.stat().st_nlink) for path in place.partition.iterdir()}


@contextlib.contextmanager
def cleaner_of(place: Place) -> Iterator[PartitionCleaner]:
    with place.topic() as topic:
        cleaner = PartitionCleaner(topic, 0, lock_wait_ms=0)
        try:
            yield cleaner
        finally:
            cleaner.close()


def trim(place: Place, offset: int) -> None:
    with cleaner_of(place) as cleaner:
        cleaner.delete_records(offset)


def check_whole(*places: Place) -> None:
    for place in places:
        assert not place.damage()


# What a clone is.


def test_a_clone_has_the_same_records_at_the_same_offsets_and_its_own_end(original: Place) -> None:
    had = original.records()
    copy, report = clone(original)
    assert copy.records() == original.records() == had
    assert sealed(copy) == sealed(original)
    assert (report.log_start_offsets, report.next_offsets, report.copied_bytes) == ([0], [12], 0)
    assert report.links == len(sealed(copy))
    assert report.link_bytes == sum(map(len, sealed(copy).values()))
    copy.append(itertools.count(500), 2)
    original.append(itertools.count(700), 1)
    assert list(copy.records()) == list(range(14))
    assert list(original.records()) == list(range(13))
    assert copy.records()[12] != original.records()[12]
    check_whole(original, copy)


def test_only_sealed_segments_have_two_names(original: Place) -> None:
    copy, _ = clone(original)
    ours, theirs = inodes(original), inodes(copy)
    active = f"{copy.state().segment:020d}.log"
    for name, (inode, names) in theirs.items():
        is_sealed = name.endswith(".log") and name != active
        assert names == (2 if is_sealed else 1), name
        assert (ours.get(name, (0, 0))[0] == inode) == is_sealed, name


def test_a_clone_of_a_clone_and_of_an_empty_topic(original: Place) -> None:
    first, _ = clone(original)
    second, report = clone(first, "second")
    assert second.records() == original.records()
    assert {names for name, (_, names) in inodes(second).items() if name.endswith(".log")} == {1, 3}
    empty = Place(original.path, "empty").create_beside()
    nothing, report = clone(empty, "nothing")
    assert (report.links, report.next_offsets, nothing.records()) == (0, [0], {})
    nothing.append(itertools.count(), 1)
    assert empty.records() == {}
    check_whole(first, second, empty, nothing)


def test_settings_and_what_only_a_newer_mk_knows_go_along_and_a_seal_does_not(original: Place) -> None:
    with original.topic() as topic:
        replace_topic(topic, {**topic.fields(), "from.the.future": "yes"})
    with original.directory() as directory:
        seal_topic(directory, TOPIC, wait_ms=0)
    copy, _ = clone(original)
    with original.topic() as ours, copy.topic() as theirs:
        own, fields = ours.fields(), theirs.fields()
        assert theirs.overrides == ours.overrides
        assert fields.pop("from.the.future") == "yes"
        assert ours.sealed
        assert not theirs.sealed
        assert fields["name"] == NEW
        assert fields["topic_id"] != own["topic_id"]
        assert set(fields) == set(own) - {"from.the.future", "sealed", "sealed_by"}
    copy.append(itertools.count(), 1)


def test_a_trimmed_log_begins_where_it_began(original: Place) -> None:
    trim(original, 7)
    copy, report = clone(original)
    assert report.log_start_offsets == [7]
    assert copy.state().log_start_offset == 7
    assert list(copy.records()) == list(range(7, 12))
    assert min(copy.segments()) == min(original.segments())
    check_whole(copy)


def test_what_was_not_on_disk_yet_is_in_the_clone_too(original: Place) -> None:
    with original.log() as log:
        log.append([make_batch(itertools.count(90), 2, 30)], PAGE_CACHE)
    copy, report = clone(original)
    assert report.next_offsets == [14]
    assert len(copy.records()) == 14
    check_whole(original, copy)


def test_what_a_killed_writer_left_is_recovered_first(original: Place) -> None:
    active = original.partition / f"{original.state().segment:020d}.log"
    fd = os.open(active, os.O_WRONLY | os.O_APPEND)
    files.append(fd, [b"\x8aMK\x01 torn"])
    os.close(fd)
    copy, report = clone(original)
    assert report.next_offsets == [12]
    check_whole(original, copy)


def test_the_same_input_run_again_on_the_clone_is_known(original: Place) -> None:
    sequences = itertools.count()

    def produce(place: Place, count: int) -> int:
        with place.topic() as topic:
            pin = pin_producer(topic, "shop", partition=None, lock_wait_ms=0)
            log = PartitionLog(topic, 0, lock_wait_ms=0)
            batch = make_batch(itertools.count(40), count, 30)
            batch.number(pin.producer_id, [next(sequences) for _ in range(count)])
            try:
                return log.append([batch], DISK).duplicates
            finally:
                log.close()

    assert produce(original, 5) == 0
    copy, _ = clone(original)
    sequences = itertools.count(2)
    assert produce(copy, 5) == 3
    sequences = itertools.count(0)
    assert produce(original, 5) == 5
    check_whole(original, copy)
    # And when nothing but the snapshot can tell.
    trim(original, 17)
    later, _ = clone(original, "later")
    sequences = itertools.count(0)
    assert produce(later, 6) == 5
    check_whole(later)


def test_the_place_in_files_that_are_followed_goes_along(original: Place) -> None:
    with original.topic() as topic:
        pin_producer(topic, "logs", partition=None, lock_wait_ms=0)
        mark = InputMark(topic, "logs", lock_wait_ms=0)
        mark.write(path="/var/log/x", sequence=7, reading="inode:5 at:100", before="", then="")
        mark.close()
    copy, _ = clone(original)
    with copy.topic() as topic:
        mark = InputMark(topic, "logs", lock_wait_ms=0)
        assert mark.fields is not None
        assert (mark.fields.sequence, mark.fields.reading) == (7, "inode:5 at:100")
        mark.close()


def test_a_segments_last_write_stays_for_retention_also_where_it_is_copied(
    original: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {}
    for number, base in enumerate(sorted(original.segments())):
        path = original.partition / f"{base:020d}.log"
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
        times[path.name] = path.stat().st_mtime_ns
    refuse_links(monkeypatch, errno.EXDEV)
    copy, _ = clone(original)
    active = f"{copy.state().segment:020d}.log"
    for path in copy.partition.glob("*.log"):
        if path.name != active:
            assert path.stat().st_mtime_ns == times[path.name]


# Of another directory's topic.


def test_a_clone_of_a_copy_is_led_here_and_the_copy_goes_on(disk: RecordingDisk, original: Place) -> None:
    follower = Place(disk.root / "follower").create_as_copy_of(original)
    replicate(original, follower)
    segments = follower.segments()
    copy, report = clone(follower)
    # Its active segment is not sealed, since its segments are those of its source.
    assert follower.segments() == segments == original.segments()
    assert report.copied_bytes == len(segments[max(segments)])
    assert copy.records() == original.records()
    with copy.directory() as directory:
        latest = copy.epochs().latest
        assert latest.leader_id == directory.directory_id
    assert latest.epoch == 1 << 32
    assert latest.first_offset == 12
    copy.append(itertools.count(50), 2)
    original.append(itertools.count(60), 3, 3)
    replicate(original, follower)
    assert follower.records() == original.records()
    assert len(copy.records()) == 14
    check_whole(follower, copy)


def test_a_clone_of_a_copy_that_has_nothing_yet_begins_where_it_will(disk: RecordingDisk, original: Place) -> None:
    trim(original, 12)
    follower = Place(disk.root / "follower").create_as_copy_of(original)
    copy, report = clone(follower)
    assert report.next_offsets == [follower.state().written.offset]
    copy.append(itertools.count(), 2)
    assert len(copy.records()) == 2
    check_whole(copy)


def test_a_clone_keeps_what_its_original_has_to_give_up(disk: RecordingDisk, original: Place) -> None:
    """An old leader whose sealed segments are cut, as it follows a newer one."""
    other = Place(disk.root / "other").create_as_copy_of(original)
    replicate(original, other)
    other.promote()
    other.append(itertools.count(200), 2)
    original.append(itertools.count(100), 2, 5, 5, 5)
    copy, _ = clone(original)
    had, files_had = copy.records(), copy.segments()
    assert len(had) == 29
    replicate(other, original)
    assert original.records() == other.records()
    assert (copy.records(), copy.segments()) == (had, files_had)
    check_whole(original, copy)
    # And what is appended behind the cut, in what was a sealed segment, is not appended to the clone's.
    other.append(itertools.count(300), 2)
    replicate(other, original)
    assert copy.segments() == files_had
    copy.append(itertools.count(400), 1)
    check_whole(original, other, copy)


# Neither feels what is done to the other.


def _trim(place: Place) -> None:
    trim(place, 7)


def _trim_all(place: Place) -> None:
    trim(place, 12)


def _delete(place: Place) -> None:
    with place.directory() as directory:
        directory.delete_topic(place.name, wait_ms=0)


def _compact(place: Place) -> None:
    with place.topic() as topic:
        report = compact(topic, 0, seal_active=True, min_dirty_ratio=0.0, lock_wait_ms=0)
    assert report.error is None
    assert report.records_after < report.records_before


def _rename(place: Place) -> None:
    with place.directory() as directory:
        rename_topic(directory, place.name, "renamed", wait_ms=0)


def _retain(place: Place) -> None:
    with place.topic() as topic:
        replace_topic(topic, {**topic.fields(), "retention.bytes": 1})
    with cleaner_of(place) as cleaner:
        assert cleaner.clean().removed


@pytest.mark.parametrize("change", [_trim, _trim_all, _delete, _compact, _rename, _retain])
@pytest.mark.parametrize("changed", ["the original", "the clone"])
def test_what_is_done_to_one_leaves_the_other_as_it_was(
    original: Place, change: Callable[[Place], None], changed: str
) -> None:
    keys = [b"a", b"b", b"a"]
    with original.log() as log:
        for number in range(8):
            values = [b"%d-%d" % (number, at) + b"x" * 300 for at in range(3)]
            log.append([encode_columns(values, base_timestamp=1_700_000_000_000, keys=keys)], DISK)
    copy, _ = clone(original)
    target, other = (original, copy) if changed == "the original" else (copy, original)
    had, files_had = other.records(), other.segments()
    change(target)
    assert (other.records(), other.segments()) == (had, files_had)
    check_whole(other)
    other.append(itertools.count(900), 1)
    assert len(other.records()) == len(had) + 1
    check_whole(other)


# What is refused.


def test_a_name_that_is_taken_or_can_be_none_changes_nothing(original: Place) -> None:
    with original.directory() as directory:
        for name, kind in ((TOPIC, TopicExistsError), ("T", TopicExistsError), ("../x", UsageError), ("", UsageError)):
            with pytest.raises(kind):
                clone_topic(directory, TOPIC, name, wait_ms=0)
        (original.path / "topics" / "file").write_text("in the way")
        with pytest.raises(CannotCreateError):
            clone_topic(directory, TOPIC, "file", wait_ms=0)
        with pytest.raises(NoSuchTopicError):
            clone_topic(directory, "missing", NEW, wait_ms=0)
    assert sorted(os.listdir(original.path / "topics")) == ["file", TOPIC]


def test_a_partition_that_stays_locked_leaves_no_clone(original: Place) -> None:
    with original.log() as log, original.directory() as directory:
        log._acquire(set())
        with pytest.raises(LockTimeoutError):
            clone_topic(directory, TOPIC, NEW, wait_ms=0)
    assert_nothing_left(original)


def test_a_partition_that_failed_leaves_no_clone(original: Place) -> None:
    (original.partition / "FAILED").write_text("the disk")
    with original.directory() as directory, pytest.raises(PartitionFailedError):
        clone_topic(directory, TOPIC, NEW, wait_ms=0)
    (original.partition / "FAILED").unlink()
    assert_nothing_left(original)


def test_a_link_in_the_place_of_a_segment_is_not_cloned(original: Place, tmp_path: Path) -> None:
    segment = original.partition / f"{0:020d}.log"
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    segment.unlink()
    segment.symlink_to(secret)
    with original.directory() as directory, pytest.raises(CorruptStateError) as caught:
        clone_topic(directory, TOPIC, NEW, wait_ms=0)
    assert "not a regular file" in caught.value.why
    assert os.listdir(original.path / "topics") == [TOPIC]
    assert secret.read_text() == "of somebody else"


def assert_nothing_left(original: Place) -> None:
    assert os.listdir(original.path / "topics") == [TOPIC]
    with original.topic() as topic:
        locks = [name for name in os.listdir(original.path / "locks") if len(name) == 32]
        assert locks == [topic.topic_id]
    original.append(itertools.count(900), 1)
    check_whole(original)


# Where there are no links, and where the disk refuses.


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(old: str, new: str, **fds: int) -> None:
        raise OSError(number, os.strerror(number), old)

    monkeypatch.setattr(files, "link", refused)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_where_links_are_refused_the_bytes_are_copied(
    original: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_links(monkeypatch, number)
    told: list[tuple[int, int]] = []
    copy, report = clone(original, progress=lambda done, total: told.append((done, total)))
    size = sum(map(len, original.segments().values()))
    assert (report.links, report.copied_bytes) == (0, size)
    assert told[-1] == (size, size)
    assert copy.records() == original.records()
    assert {names for _, names in inodes(copy).values()} == {1}
    check_whole(copy)


def test_a_log_that_is_cut_while_it_is_copied_is_not_taken_for_whole(
    disk: RecordingDisk, original: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Place(disk.root / "other").create_as_copy_of(original)
    replicate(original, other)
    other.promote()
    other.append(itertools.count(200), 2, 2, 2)
    original.append(itertools.count(100), 2, 5, 5)
    refuse_links(monkeypatch, errno.EXDEV)
    real = files.copy_range
    cut = []

    def cut_meanwhile(*arguments: int) -> int:
        if not cut:
            cut.append(True)
            monkeypatch.undo()  # Which brings links back, for the evidence.
            replicate(other, original)
            monkeypatch.setattr(files, "copy_range", real)
        return real(*arguments)

    monkeypatch.setattr(files, "copy_range", cut_meanwhile)
    with original.directory() as directory, pytest.raises(TryAgainError, match="was cut back while it was copied"):
        clone_topic(directory, TOPIC, NEW, wait_ms=0)
    assert cut
    assert os.listdir(original.path / "topics") == [TOPIC]
    copy, _ = clone(original)
    assert copy.records() == other.records()
    check_whole(copy, original)


@pytest.mark.parametrize("links", [True, False])
def test_a_disk_that_refuses_any_operation_leaves_no_clone_and_nothing_lost(
    disk: RecordingDisk, original: Place, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        refuse_links(monkeypatch, errno.EXDEV)
    had = original.records()
    asked, last_step_failed = 0, False
    for number in itertools.count():
        disk.restart_count()
        disk.fault = lambda at, kind, name, number=number: errno.ENOSPC if at == number else 0  # type: ignore[misc]
        try:
            clone(original, f"n{number}")
        except StorageError as error:
            disk.fault = None
            is_there = (original.path / "topics" / f"n{number}").exists()
            assert ("there is no clone" in error.fix) == (not is_there)
            last_step_failed = is_there
        else:
            is_struck = disk.asked > number
            disk.fault = None
            if not is_struck:
                break
        asked += 1
        assert [name for name in os.listdir(original.path / "topics") if name.startswith(".tmp-")] == []
        assert original.records() == had
        if number % 9 == 0:
            original.append(itertools.count(1000 + number), 1)
            had = original.records()
    assert asked > 20
    assert last_step_failed, "its name could not be put on disk, which the error has to say"
    check_whole(original)
