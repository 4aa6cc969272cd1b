"""Removing records: at a roll, by clean and by hand; what goes, what stays, and what is never touched."""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import (
    DiskReserveError,
    LockTimeoutError,
    NotLeaderError,
    OffsetOutOfRangeError,
    PartitionFailedError,
    StorageError,
)
from mk.records.record_batch import encode_columns, encode_lines
from mk.storage import files, partition_reader, segment_removal
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_cleaner import PartitionCleaner, plan_clean
from mk.storage.partition_log import DISK
from mk.storage.topic import encode_topic
from tests.crash import oracle
from tests.crash.world import TOPIC, drain
from tests.unit.storage.conftest import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from mk.storage.partition_cleaner import CleanReport
    from mk.storage.partition_log import PartitionLog
    from tests.crash.world import World
    from tests.unit.storage.conftest import Hands

HOUR = 3_600_000
DAY = 24 * HOUR
YEAR = 365 * DAY
NO_LIMITS = {"segment.bytes": 4096, "retention.ms": -1, "min.free": 0}

numbers = itertools.count()


def configure(world: World, **config: int | str) -> None:
    """Change the topic's settings; retention_ms=1 is retention.ms."""
    settings = {**NO_LIMITS, **{name.replace("_", "."): value for name, value in config.items()}}
    path = world.path / "topics" / TOPIC / "topic.json"
    topic_id = oracle.topic_id(world.path, TOPIC)
    path.with_name("new").write_bytes(encode_topic(TOPIC, topic_id, 1, "crc32", settings))
    path.with_name("new").rename(path)


def append(log: PartitionLog, timestamp_ms: int = NOW, *, size: int = 3000) -> int:
    """Append a record of its own batch; one of the usual size has a segment for itself. Returns its offset."""
    value = b"%d " % next(numbers) + b"x" * size + b"\n"
    return log.append([encode_lines(value, count=1, timestamp_ms=timestamp_ms)], DISK).first_offset


def cleaner(world: World, *, lock_wait_ms: int = 0) -> PartitionCleaner:
    world.open_reader()
    assert world.topic is not None
    opened = PartitionCleaner(world.topic, 0, lock_wait_ms=lock_wait_ms)
    world.logs.append(opened)
    return opened


def clean(world: World) -> CleanReport:
    directory = LogDirectory(str(world.path))
    topic = directory.open_topic(TOPIC)
    planned = plan_clean(topic, 0)
    topic.close()
    directory.close()
    report = cleaner(world).clean()
    if report.error is None and not report.rolled:
        assert gone(planned) == gone(report), "the plan was another"
    return report


def gone(report: CleanReport) -> list[tuple[int, str]]:
    return [(verdict.segment.base_offset, verdict.reason) for verdict in report.removed]


def tear(world: World) -> None:
    """Leave bytes behind the end, as a killed writer does."""
    directory = files.open_directory(str(world.partition))
    fd = files.open_file(max(world.partition.glob("*.log")).name, os.O_WRONLY | os.O_APPEND, dir_fd=directory)
    files.append(fd, [b"torn"])
    files.close(fd)
    files.close(directory)


def files_of(world: World) -> set[str]:
    return {path.name for path in world.partition.iterdir()} - {"state", "epochs"}


def state_of(world: World) -> dict[str, str]:
    state = oracle.read_state_file((world.partition / "state").read_bytes())
    assert state is not None
    return state


def offsets(world: World) -> list[int]:
    return [record.offset for record in oracle.verify(world.partition).records]


# By the limits.


def test_a_roll_removes_what_is_too_old(world: World, hands: Hands) -> None:
    configure(world, retention_ms=DAY)
    log = world.open()
    for _ in range(4):
        append(log, hands.now_ms)
        hands.pass_ms(10 * HOUR)
    assert offsets(world) == [1, 2, 3]
    assert files_of(world) == {f"{base:020d}{suffix}" for base in (1, 2) for suffix in (".log", ".index")} | {
        f"{3:020d}.log"
    }
    assert drain(world.open_reader()).keys() == {1, 2, 3}


def test_a_roll_removes_what_is_too_much(world: World, hands: Hands) -> None:
    configure(world, retention_bytes=7000)
    log = world.open()
    for _ in range(10):
        append(log)
    # Whole segments: the log has the limit, and at most one segment more, and the one that is being written.
    assert offsets(world) == [6, 7, 8, 9]


def test_with_many_segments_only_some_rolls_look_at_what_may_go(
    world: World, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_removal, "_SEGMENTS_A_ROLL", 2)
    configure(world, retention_bytes=7000)
    log = world.open()
    starts = [offsets(world)[0] for _ in range(20) if append(log) >= 0]
    # Four segments are left after a look, so two rolls do not look, and the third does.
    assert len({start for start in starts if start}) == len(starts) // 3 - 1
    assert all(len(range(start, number)) <= 6 for number, start in enumerate(starts))
    log.close()
    append(world.open())
    assert len(offsets(world)) == 4, "another writer looks at its first roll"


def test_a_removal_that_the_disk_refuses_does_not_fail_the_append(world: World, hands: Hands) -> None:
    configure(world, retention_bytes=0)
    log = world.open()
    append(log)
    for kind in ("unlink", "pwrite"):
        world.disk.fault = lambda number, asked, name, kind=kind: errno.EIO if asked == kind and "log" in name else 0  # type: ignore[misc]
        append(log)
    world.disk.fault = None
    append(log)
    assert offsets(world) == [3]


def test_a_quiet_topic_is_cleaned_too(world: World, hands: Hands) -> None:
    """All records are in the active segment, and nobody writes any more."""
    configure(world, retention_ms=DAY)
    log = world.open()
    for _ in range(3):
        append(log, hands.now_ms, size=10)
    hands.pass_ms(DAY)
    report = clean(world)
    assert (gone(report), report.rolled) == ([], False)
    hands.pass_ms(1)
    report = clean(world)
    assert (gone(report), report.rolled) == ([(0, "retention.ms")], True)
    assert offsets(world) == []
    assert files_of(world) == {f"{3:020d}.log"}
    assert append(log) == 3
    assert drain(world.open_reader()).keys() == {3}


def test_an_old_segment_of_a_quiet_topic_is_sealed_so_that_the_rest_may_go_by_and_by(
    world: World, hands: Hands
) -> None:
    configure(world, segment_ms=DAY)
    append(world.open(), size=10)
    hands.pass_ms(DAY)
    assert clean(world).rolled
    assert oracle.verify(world.partition).segments == [0, 1]
    assert not clean(world).rolled


def test_nothing_is_done_where_nothing_is_due(world: World, hands: Hands) -> None:
    configure(world, retention_ms=DAY, retention_bytes=1 << 30)
    append(world.open())
    clean(world)
    before = (world.partition / "state").read_bytes()
    report = clean(world)
    assert (report.files, report.bytes, report.rolled, gone(report)) == (0, 0, False, [])
    assert [verdict.why for verdict in report.kept] == [
        "without it the log would be below retention.bytes, 1073741824; its last record is 0 s old, and retention.ms 1 d"
    ]
    assert (world.partition / "state").read_bytes() == before


def test_an_empty_log_is_left_alone(world: World, hands: Hands) -> None:
    configure(world, retention_ms=0, retention_bytes=0)
    assert clean(world).files == 0
    assert files_of(world) == {f"{0:020d}.log", f"{0:020d}.index"}


# Clocks.


@pytest.mark.parametrize("leap", [10 * YEAR, -10 * YEAR])
def test_a_clock_that_leaps_removes_nothing_neither_at_a_roll_nor_by_clean(
    world: World, hands: Hands, leap: int
) -> None:
    configure(world, retention_ms=7 * DAY)
    log = world.open()
    for _ in range(3):
        append(log, hands.now_ms)
    hands.leap_ms(leap)
    for _ in range(3):
        append(log, hands.now_ms)
        clean(world)
        hands.pass_ms(HOUR)
    hands.leap_ms(-leap)
    for _ in range(30):
        assert gone(clean(world)) == []
        hands.pass_ms(HOUR)
    append(log, hands.now_ms)
    assert offsets(world)[:3] == [0, 1, 2] if leap > 0 else offsets(world) == [*range(7)]


@pytest.mark.parametrize("leap", [10 * YEAR, -10 * YEAR])
def test_nor_where_nobody_has_looked_at_the_clock_before(world: World, hands: Hands, leap: int) -> None:
    configure(world, retention_ms=7 * DAY)
    log = world.open()
    append(log, hands.now_ms)
    hands.leap_ms(leap)
    assert gone(clean(world)) == []
    append(log, hands.now_ms)
    append(log, hands.now_ms)
    assert offsets(world) == [0, 1, 2]


def test_the_report_says_that_the_clock_is_not_believed(world: World, hands: Hands) -> None:
    configure(world, retention_ms=DAY)
    append(world.open())
    clean(world)
    hands.leap_ms(YEAR)
    verdict, *_ = clean(world).kept
    assert verdict.why == "the clock has leapt, and is believed when it has run evenly for a day"


def test_a_clock_that_is_not_believed_does_not_keep_the_size_from_being_limited(world: World, hands: Hands) -> None:
    configure(world, retention_ms=DAY, retention_bytes=4000)
    log = world.open()
    append(log)
    hands.leap_ms(10 * YEAR)
    for _ in range(4):
        append(log)
    assert offsets(world) == [2, 3, 4]


def test_records_of_a_year_to_come_do_not_pin_what_is_behind_them(world: World, hands: Hands) -> None:
    """Their segment counts as written when its file was."""
    configure(world)
    log = world.open()
    append(log, NOW + 73 * YEAR)
    append(log)
    append(log)
    os.utime(world.partition / f"{0:020d}.log", (NOW / 1000, NOW / 1000))
    configure(world, retention_ms=DAY)
    assert gone(clean(world)) == []
    hands.pass_ms(DAY + HOUR)
    assert gone(clean(world)) == [(0, "retention.ms"), (1, "retention.ms"), (2, "retention.ms")]


def test_nor_does_a_file_that_was_written_in_a_year_to_come(world: World, hands: Hands) -> None:
    """Under a clock that was set to 2099: it counts as written when somebody first noticed."""
    configure(world)
    log = world.open()
    append(log, NOW + 73 * YEAR)
    append(log)
    configure(world, retention_ms=DAY)
    path = world.partition / f"{0:020d}.log"
    os.utime(path, ((NOW + 73 * YEAR) / 1000, (NOW + 73 * YEAR) / 1000))
    assert gone(clean(world)) == []
    assert path.stat().st_mtime * 1000 < NOW + HOUR
    os.utime(path, (NOW / 1000, NOW / 1000))
    hands.pass_ms(DAY + 1)
    assert gone(clean(world))[0] == (0, "retention.ms")


def test_an_index_that_says_something_else_than_the_batches_removes_nothing(world: World, hands: Hands) -> None:
    configure(world, retention_ms=DAY)
    log = world.open()
    append(log)
    append(log)
    for name in ("00000000000000000000.log", "00000000000000000001.log"):
        os.utime(world.partition / name, (NOW / 1000, NOW / 1000))
    index = world.partition / "00000000000000000000.index"
    data = index.read_bytes()
    for changed in (data[:-8] + bytes(8), bytes(len(data)), b"", data[:-3]):
        index.write_bytes(changed)
        assert gone(clean(world)) == []
    index.unlink()
    assert gone(clean(world)) == []
    hands.pass_ms(DAY + 1)
    assert len(gone(clean(world))) == 2


# What is never touched.


def test_sealed_segments_of_another_boot_go_without_a_recovery(world: World, hands: Hands) -> None:
    configure(world)
    for _ in range(4):
        append(world.open())
    configure(world, retention_bytes=3000)
    hands.reboot("boot-2")
    before = state_of(world)
    report = clean(world)
    assert gone(report) == [(0, "retention.bytes"), (1, "retention.bytes"), (2, "retention.bytes")]
    after = state_of(world)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"sequence", "log_start"}
    assert drain(world.open_reader()).keys() == {3}
    assert append(world.open()) == 4
    assert state_of(world)["boot"] == "boot-2"


def test_so_do_those_of_a_partition_that_needs_a_recovery(world: World, hands: Hands) -> None:
    configure(world)
    log = world.open()
    for _ in range(3):
        append(log)
    tear(world)
    configure(world, retention_bytes=3000)
    assert gone(clean(world)) == [(0, "retention.bytes"), (1, "retention.bytes")]
    assert (world.partition / f"{2:020d}.log").read_bytes().endswith(b"torn")
    assert append(world.open()) == 3
    assert offsets(world) == [2, 3]


def test_before_an_active_segment_goes_it_is_recovered(world: World, hands: Hands) -> None:
    """The `state` of another boot may know less than is there: a young record keeps its segment."""
    configure(world, retention_ms=DAY)
    log = world.open()
    append(log, NOW, size=10)
    older = (world.partition / "state").read_bytes()
    append(log, NOW + DAY, size=10)
    (world.partition / "state").write_bytes(older)
    hands.pass_ms(DAY + 1)
    hands.reboot("boot-2")
    report = cleaner(world).clean()
    assert (gone(report), report.rolled) == ([], False)
    assert offsets(world) == [0, 1]


def test_a_failed_partition_loses_sealed_segments_only_and_says_so(world: World, hands: Hands) -> None:
    configure(world, retention_ms=DAY)
    log = world.open()
    append(log)
    append(log)
    (world.partition / "FAILED").write_text("when and why\n")
    hands.pass_ms(2 * DAY)
    report = cleaner(world).clean()
    assert gone(report) == [(0, "retention.ms")]
    assert isinstance(report.error, PartitionFailedError)
    assert drain(world.open_reader()).keys() == {1}


def test_a_lock_that_is_not_got_is_waited_for_and_named(world: World, hands: Hands) -> None:
    configure(world, retention_ms=0)
    append(world.open())
    assert world.topic is not None
    from mk.storage.locks import acquire

    hands.pass_ms(1)
    fd = world.topic.open_lock(0)
    acquire(fd, what="it", wait_ms=0)
    with pytest.raises(LockTimeoutError):
        cleaner(world).clean()
    os.close(fd)
    assert gone(clean(world)) == [(0, "retention.ms")]


# What killed processes left.


def test_segments_below_the_log_start_and_temporary_files_are_removed(world: World, hands: Hands) -> None:
    configure(world)
    log = world.open()
    for _ in range(4):
        append(log)
    opened = cleaner(world)
    world.disk.fault = lambda number, kind, name: errno.EIO if kind == "unlink" else 0
    with pytest.raises(StorageError):
        opened.delete_records(2)
    world.disk.fault = None
    (world.partition / f"{0:020d}.producers").write_bytes(b"")
    (world.partition / ".tmp-0123456789abcdef").write_bytes(b"")
    assert f"{0:020d}.log" in files_of(world)
    assert drain(world.open_reader()).keys() == {2, 3}
    report = clean(world)
    assert gone(report) == [(0, "log start"), (1, "log start")]
    assert report.files == 6
    assert offsets(world) == [2, 3]
    assert not [name for name in files_of(world) if "producers" in name or "tmp" in name]


def test_the_next_roll_removes_them_too(world: World, hands: Hands) -> None:
    configure(world)
    log = world.open()
    for _ in range(4):
        append(log)
    world.disk.fault = lambda number, kind, name: errno.EIO if kind == "unlink" else 0
    with pytest.raises(StorageError):
        cleaner(world).delete_records(2)
    world.disk.fault = None
    append(log)
    assert offsets(world) == [2, 3, 4]


def test_many_segments_go_a_few_at_a_time_and_others_get_the_lock_in_between(
    world: World, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_removal, "_SLICE_SECONDS", -1.0)  # One file at a time.
    configure(world)
    log = world.open()
    for _ in range(6):
        append(log)
    report = cleaner(world).delete_records(5)
    assert report.files == 10
    assert offsets(world) == [5]


# No room.


def test_a_state_that_finds_no_room_is_written_when_the_segments_are_gone(world: World, hands: Hands) -> None:
    """On a file system that copies on write, even a slot that is overwritten may need a new block."""
    configure(world)
    log = world.open()
    for _ in range(4):
        append(log)
    configure(world, retention_bytes=3000)
    full = [True]

    def fault(number: int, kind: str, name: str) -> int:
        if kind == "unlink":
            full[0] = False
        return errno.ENOSPC if full[0] and kind in ("pwrite", "create", "append") else 0

    world.disk.fault = fault
    assert len(gone(clean(world))) == 3
    world.disk.fault = None
    assert offsets(world) == [3]


def test_and_if_there_is_still_none_readers_find_out_by_the_files(world: World, hands: Hands) -> None:
    configure(world)
    log = world.open()
    for _ in range(4):
        append(log)
    configure(world, retention_bytes=3000)
    world.disk.fault = lambda number, kind, name: errno.ENOSPC if kind == "pwrite" else 0
    report = cleaner(world).clean()
    world.disk.fault = None
    assert report.error is None
    assert state_of(world)["log_start"] == "0"
    reader = world.open_reader()
    assert drain(reader).keys() == {3}
    assert reader.skipped == [(0, 2)]
    append(log)
    append(log)
    assert state_of(world)["log_start"] == "4"
    assert offsets(world) == [4, 5]


def test_a_trim_into_a_segment_that_cannot_be_recorded_is_an_error(world: World, hands: Hands) -> None:
    configure(world, segment_bytes=1 << 20)
    log = world.open()
    for _ in range(4):
        append(log)
    world.disk.fault = lambda number, kind, name: errno.ENOSPC if kind == "pwrite" else 0
    with pytest.raises(StorageError, match="cannot remove records"):
        cleaner(world).delete_records(2)
    world.disk.fault = None
    assert offsets(world) == [0, 1, 2, 3]


@pytest.mark.parametrize(("reserve", "refused"), [(-1, True), (0, False), (1 << 20, True), (1 << 10, False)])
def test_an_append_leaves_what_is_kept_free(
    world: World, hands: Hands, monkeypatch: pytest.MonkeyPatch, reserve: int, refused: bool
) -> None:
    configure(world, min_free=reserve)
    log = world.open()
    append(log, size=10)

    class Status:
        f_frsize = 4096
        f_blocks = 100_000
        f_bavail = 255

    monkeypatch.setattr(os, "fstatvfs", lambda fd: Status)
    if not refused:
        append(log, size=10)
        return
    with pytest.raises(DiskReserveError) as caught:
        append(log, size=10)
    assert caught.value.facts["free_bytes"] == 255 * 4096
    assert caught.value.facts["records_appended"] == 0
    assert caught.value.exit_status == 74
    assert offsets(world) == [0]
    Status.f_bavail = 1 << 20
    append(log, size=10)


def test_what_is_kept_free_counts_with_the_append_itself(
    world: World, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(world, min_free=1000)
    log = world.open()

    class Status:
        f_frsize = 1
        f_blocks = 1 << 40
        f_bavail = 1000 + 128 + 11

    monkeypatch.setattr(os, "fstatvfs", lambda fd: Status)
    batch = encode_lines(b"0123456789\n", count=1, timestamp_ms=NOW)
    assert batch.size_bytes == 128 + 11
    log.append([batch], DISK)
    Status.f_bavail -= 1
    with pytest.raises(DiskReserveError):
        log.append([encode_lines(b"0123456789\n", count=1, timestamp_ms=NOW)], DISK)


# By hand.


@pytest.fixture
def ten(world: World, hands: Hands) -> World:
    """Records 0 to 9: two batches a segment, of one and of two records."""
    configure(world)
    log = world.open()
    for number in range(3):
        append(log, NOW + number, size=1000)
        values = [b"%d " % next(numbers) + b"x" * 500 for _ in range(2)]
        log.append([encode_columns(values, base_timestamp=NOW, timestamps=[NOW + 100, NOW + 5])], DISK)
    append(log, NOW + 50, size=1000)
    return world


@pytest.mark.parametrize("offset", range(11))
def test_the_log_begins_exactly_where_it_was_trimmed_to(ten: World, offset: int) -> None:
    before = oracle.verify(ten.partition)
    early = ten.open_reader()
    report = cleaner(ten).delete_records(offset)
    assert report.log_start_offset == offset
    assert offsets(ten) == [*range(offset, 10)]
    after = oracle.verify(ten.partition)
    assert after.segments[0] == max(
        [base for base in [*before.segments, 10] if base <= offset and base != 10] + ([10] if offset == 10 else [])
    )
    reader = ten.open_reader()
    assert reader.log_start_offset == reader.next_offset == offset
    assert sorted(drain(reader)) == [*range(offset, 10)]
    assert reader.skipped == []
    # One that was there before, and one that asks for what is gone.
    early.refresh()
    seeker = ten.open_reader()
    seeker.seek(0)
    for behind in (early, seeker):
        assert [number for number in sorted(drain(behind)) if number >= offset] == [*range(offset, 10)]
        assert behind.skipped == ([(0, offset - 1)] if offset else [])
    assert append(ten.open()) == 10


@pytest.mark.parametrize("offset", range(10))
@pytest.mark.parametrize("time", [0, 1, 3, 5, 50, 51, 100, 101])
def test_a_time_is_found_among_what_is_left(ten: World, offset: int, time: int) -> None:
    """Times do not ascend: a record below the log start must not stand for one behind it."""
    cleaner(ten).delete_records(offset)
    left = oracle.verify(ten.partition).records
    wanted = next((record.offset for record in left if record.timestamp_ms >= NOW + time), 10)
    assert ten.open_reader().offset_for_time(NOW + time) == wanted


def test_trimming_below_the_log_start_changes_nothing(ten: World) -> None:
    cleaner(ten).delete_records(5)
    before = {**state_of(ten), "sequence": ""}
    assert cleaner(ten).delete_records(2).log_start_offset == 5
    assert {**state_of(ten), "sequence": ""} == before


def test_trimming_beyond_the_end_is_refused(ten: World) -> None:
    with pytest.raises(OffsetOutOfRangeError):
        cleaner(ten).delete_records(11)
    assert offsets(ten) == [*range(10)]


def test_trimming_an_empty_log_to_its_end_changes_nothing(world: World, hands: Hands) -> None:
    assert cleaner(world).delete_records(0).files == 0
    assert offsets(world) == []


@pytest.mark.parametrize("offset", [1, 10])
def test_only_the_leader_trims(ten: World, offset: int) -> None:
    from mk.storage.leader_epochs import EpochEntry

    (ten.partition / "epochs").write_bytes(EpochEntry(0, 0, "f" * 32).encode())
    with pytest.raises(NotLeaderError):
        cleaner(ten).delete_records(offset)


def test_a_log_trimmed_to_its_end_and_then_without_a_state_goes_on_where_it_ended(ten: World) -> None:
    append(ten.open())
    cleaner(ten).delete_records(11)
    append(ten.open())
    (ten.partition / "state").write_bytes(bytes(4608))
    assert append(ten.open()) == 12
    assert offsets(ten) == [11, 12]


def test_a_recovery_keeps_the_log_start(ten: World) -> None:
    cleaner(ten).delete_records(4)
    tear(ten)
    assert append(ten.open()) == 10
    assert offsets(ten) == [*range(4, 11)]


# Readers under way.


def removed_when(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], module: ModuleType = partition_reader
) -> None:
    """Have `act` done between the listing of segments and the opening of one."""
    real = module.open_segment
    done = []

    def open_segment(base: int, *, partition_fd: int) -> int:
        if not done:
            done.append(1)
            act()
        return real(base, partition_fd=partition_fd)

    monkeypatch.setattr(module, "open_segment", open_segment)


def test_a_segment_that_goes_between_the_listing_and_the_opening_is_named(
    ten: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ten.open_reader()
    removed_when(monkeypatch, lambda: cleaner(ten).delete_records(7))
    assert sorted(drain(reader)) == [7, 8, 9]
    assert reader.skipped == [(0, 6)]


def test_so_it_is_when_all_go_and_the_reader_knows_none_of_the_new_ones(
    ten: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ten.open_reader()

    def act() -> None:
        for _ in range(3):
            append(ten.open())
        cleaner(ten).delete_records(12)

    removed_when(monkeypatch, act)
    assert sorted(drain(reader)) == [12]
    assert reader.skipped == [(0, 11)]


def test_a_time_is_looked_up_while_segments_go(ten: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from mk.storage import time_lookup

    reader = ten.open_reader()
    removed_when(monkeypatch, lambda: cleaner(ten).delete_records(7), time_lookup)
    assert reader.offset_for_time(NOW + 2) >= 3


def test_a_reader_in_a_segment_that_goes_finishes_it_and_names_what_follows(ten: World) -> None:
    reader = ten.open_reader()
    first = reader.fetch()
    assert first[0].base_offset == 0
    position = reader.next_offset
    append(ten.open())
    cleaner(ten).delete_records(10)
    found = sorted(drain(reader))
    assert found[-1] == 10
    skipped = [offset for first, last in reader.skipped for offset in range(first, last + 1)]
    assert sorted(found + skipped) == [*range(position, 11)]
    assert skipped


def test_two_who_clean_at_once_hurt_nobody(ten: World, hands: Hands) -> None:
    configure(ten, retention_bytes=2500)
    first, second = cleaner(ten), cleaner(ten)
    assert gone(first.clean())
    assert not gone(second.clean())
    assert sorted(drain(ten.open_reader())) == offsets(ten)


def test_a_deleted_topic_is_not_cleaned(ten: World) -> None:
    from mk.errors import NoSuchTopicError

    opened = cleaner(ten)
    directory = LogDirectory(str(ten.path))
    directory.delete_topic(TOPIC, wait_ms=0)
    directory.close()
    with pytest.raises(NoSuchTopicError):
        opened.clean()
