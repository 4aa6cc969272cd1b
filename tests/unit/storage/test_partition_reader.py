"""Reading without a lock while others append, roll, recover and give segments up."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptBatchError, DataError, OffsetOutOfRangeError, SyncFailedError, UnsupportedBatchError
from mk.records.record_batch import encode_lines
from mk.storage import backward_reader, offset_index, partition_reader
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog
from tests.crash import oracle
from tests.crash.recorder import Killed
from tests.crash.world import drain, next_boot

if TYPE_CHECKING:
    from typing import Any

    from tests.crash.world import World


def refuse_next_sync(world: World) -> None:
    left = [1]

    def fault(number: int, kind: str, name: str) -> int:
        if left[0] and kind == "sync" and name.endswith(".log"):
            left[0] = 0
            return errno.EIO
        return 0

    world.disk.fault = fault


def give_up(world: World, log: PartitionLog, value: int = 40) -> None:
    refuse_next_sync(world)
    with pytest.raises(SyncFailedError):
        world.append(log, DISK, value=value)
    world.disk.fault = None


def stored(world: World) -> dict[int, bytes]:
    return drain(world.open_reader())


def test_a_reader_whose_segment_was_replaced_does_not_read_what_was_given_up(world: World) -> None:
    log, reader = world.open(), world.open_reader()
    assert drain(reader) == {}
    refuse_next_sync(world)
    # The reader opens the file while it holds the bytes that the disk is about to refuse.
    reader.high_watermark = 2
    assert reader._open_at(0)
    with pytest.raises(SyncFailedError):
        world.append(log, DISK)
    reader.high_watermark = 0
    world.disk.fault = None
    world.append(log, DISK)
    assert drain(reader) == stored(world)


def test_a_following_reader_is_told_that_what_it_read_was_cut_even_if_the_log_has_grown_beyond_again(
    world: World,
) -> None:
    log, reader = world.open(), world.open_reader()
    world.append(log, DISK)
    world.append(log, PAGE_CACHE)
    assert len(drain(reader)) == 4
    give_up(world, log)
    for _ in range(4):
        world.append(log, DISK)
    with pytest.raises(DataError) as caught:
        drain(reader)
    assert (caught.value.facts["offset"], caught.value.facts["next_offset"]) == (2, 4)
    reader.seek(2)
    assert list(drain(reader)) == list(range(2, 10))


def test_a_reader_that_had_not_yet_read_what_was_cut_goes_on_with_what_took_its_place(world: World) -> None:
    log, reader = world.open(), world.open_reader()
    world.append(log, PAGE_CACHE)
    reader.refresh()
    give_up(world, log)
    assert drain(reader) == {}
    world.append(log, DISK)
    assert drain(reader) == stored(world)


def test_bytes_behind_the_next_segments_base_are_ignored(world: World) -> None:
    log, reader = world.open(), world.open_reader()
    world.append(log, DISK)
    world.append(log, PAGE_CACHE)
    world.append(log, PAGE_CACHE)
    given_up = (world.partition / "00000000000000000000.log").read_bytes()
    give_up(world, log)
    world.append(log, DISK)
    # As if the disk had refused the cut as well.
    (world.partition / "00000000000000000000.log").write_bytes(given_up)
    assert drain(reader) == {
        offset: value for records, acks in world.acked if acks == DISK for offset, value in records.items()
    }
    assert reader.offset_for_time(0) == 0
    assert reader.offset_for_time(1_000_000_000) == reader.high_watermark == 4


def test_a_lock_free_reader_after_a_reboot_sees_all_that_is_whole_and_then_what_a_writer_adds(world: World) -> None:
    before = (world.partition / "state").read_bytes()
    log = world.open()
    for _ in range(3):
        world.append(log, DISK)
    (world.partition / "state").write_bytes(before)
    next_boot()
    reader = world.open_reader()
    assert len(drain(reader)) == 6
    world.append(world.open(), DISK)
    assert len(drain(reader)) == 2


def test_an_append_that_was_never_published_is_not_read(world: World) -> None:
    log, reader = world.open(), world.open_reader()
    world.append(log, DISK)

    def fault(number: int, kind: str, name: str) -> int:
        if kind == "sync":
            world.disk.kill_after = 0
            raise Killed
        return 0

    world.disk.fault = fault
    with pytest.raises(Killed):
        world.append(world.open(), DISK)
    world.disk.revive()
    assert len(drain(reader)) == 2
    world.append(log, DISK)
    assert len(drain(reader)) == 4  # The killed one's records, which turned out whole, and the new ones.


def test_seeking_into_the_middle_of_a_batch_returns_the_batch_that_holds_the_offset(world: World) -> None:
    log = world.open()
    world.append(log, DISK, batches=3, count=5)
    reader = world.open_reader()
    for offset in range(15):
        reader.seek(offset)
        batch = reader.fetch()[0]
        assert batch.base_offset == offset // 5 * 5
        assert reader.next_offset == 15
    reader.seek(15)
    assert reader.fetch() == []
    for beyond in (-1, 16):
        with pytest.raises(OffsetOutOfRangeError):
            reader.seek(beyond)


@pytest.mark.parametrize("position", [0, 130], ids=["header", "payload"])
def test_damage_below_the_high_watermark_is_named_with_file_position_and_offset(world: World, position: int) -> None:
    log, reader = world.open(), world.open_reader()
    world.append(log, DISK, count=2)
    size = (world.partition / "00000000000000000000.log").stat().st_size
    world.append(log, DISK, count=2)
    world.disk.damage(world.partition / "00000000000000000000.log", size + position)
    assert [batch.base_offset for batch in reader.fetch()] == [0]
    with pytest.raises(CorruptBatchError) as caught:
        reader.fetch()
    assert caught.value.facts["position"] == size
    assert caught.value.facts["offset"] == 2
    assert str(caught.value.facts["path"]).endswith("topics/t/0/00000000000000000000.log")


def append_newer(world: World, log: PartitionLog) -> int:
    """Append a batch as a newer mk might, with a bit that this one does not know, and return its offset."""
    batch = encode_lines(b"a\nb\n", count=2, timestamp_ms=1)
    batch.attributes |= 0x1000
    return log.append([batch], DISK).first_offset


def test_a_batch_of_a_newer_mk_is_named_as_such_and_can_be_stepped_over(world: World) -> None:
    log = world.open()
    world.append(log, DISK)
    offset = append_newer(world, log)
    world.append(log, DISK)
    for start in (0, offset, offset + 1):
        reader = world.open_reader()
        reader.seek(start)
        with pytest.raises(UnsupportedBatchError) as caught:
            drain(reader)
        assert reader.next_offset == max(start, offset)
        assert caught.value.exit_status == 78
        assert caught.value.facts["attributes"] == 0x1000
        assert caught.value.facts["readable_from"] == offset + 2
    reader = world.open_reader()
    reader.seek(offset + 2)
    assert list(drain(reader)) == [offset + 2, offset + 3]


def test_after_a_reboot_a_batch_of_a_newer_mk_is_not_taken_for_the_end(world: World) -> None:
    log = world.open()
    world.append(log, DISK)
    before = (world.partition / "state").read_bytes()
    append_newer(world, log)
    (world.partition / "state").write_bytes(before)
    next_boot()
    with pytest.raises(UnsupportedBatchError):
        world.open_reader()


def test_hints_that_lead_nowhere_only_cost_a_longer_walk(world: World) -> None:
    log = world.open()
    for _ in range(3):
        world.append(log, DISK, count=3)
    for entry in (
        b"\0\0\0\2\0\0\0\7" + bytes(8),
        b"\0\0\0\2\xff\xff\xff\xff" + bytes(8),
        b"\xff" * 16,
        b"\0\0\0\1" + bytes(12),
        b"x" * 15,
    ):
        (world.partition / "00000000000000000000.index").write_bytes(entry)
        reader = world.open_reader()
        for offset in range(9):
            reader.seek(offset)
            assert reader.fetch()[0].base_offset == offset // 3 * 3


def test_a_hint_to_a_batch_of_another_offset_only_costs_a_longer_walk(world: World) -> None:
    log = world.open()
    for _ in range(4):
        world.append(log, DISK, count=3)
    batches = oracle.verify(world.partition).batches
    for one in batches[1:]:
        for other in batches[1:]:
            entry = offset_index.ENTRY.pack(one["base_offset"], other["position"], -1)
            (world.partition / "00000000000000000000.index").write_bytes(entry)
            reader = world.open_reader()
            for offset in range(12):
                reader.seek(offset)
                assert reader.fetch()[0].base_offset == offset // 3 * 3


def test_a_batch_that_belongs_elsewhere_is_damage_and_not_given_out(world: World) -> None:
    """Each of its checksums fits: it was written over another one, as by a disk that mixes up its blocks."""
    log = world.open()
    for _ in range(4):
        world.append(log, DISK)
    batches = oracle.verify(world.partition).batches
    path = world.partition / "00000000000000000000.log"
    data = path.read_bytes()
    size = batches[2]["position"] - batches[1]["position"]
    for at in (batches[2]["position"], 0):
        with open(path, "r+b") as file:
            file.seek(batches[1]["position"])
            file.write(data[at : at + size])
        reader = world.open_reader()
        reader.seek(2)
        with pytest.raises(CorruptBatchError) as caught:
            reader.fetch()
        assert caught.value.facts["offset"] == 2
        assert caught.value.facts["position"] == batches[1]["position"]


def test_a_state_older_than_one_that_was_seen_is_not_believed(world: World) -> None:
    """While the newest slot is overwritten, a reader without a lock may find the other one alone."""
    log = world.open()
    world.append(log, DISK)
    path = world.partition / "state"
    older = path.read_bytes()
    give_up(world, log)
    world.append(log, DISK)
    reader = world.open_reader()
    assert len(drain(reader)) == 4
    newest = path.read_bytes()
    for content in (older, newest, older, newest):
        path.write_bytes(content)
        assert not reader.refresh()
        assert (reader.high_watermark, reader.leader_epoch) == (4, 1)
    world.append(log, DISK)
    assert len(drain(reader)) == 2


def test_a_reader_that_follows_the_batches_while_a_writer_recovers_goes_by_what_that_one_publishes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it finds behind the end by then may be what the writer has written since, and not synced."""
    world.append(world.open(), DISK)
    world.abandon()
    next_boot()
    real = partition_reader.open_segment

    def open_late(base_offset: int, *, partition_fd: int) -> int:
        monkeypatch.setattr(partition_reader, "open_segment", real)
        written = [False]

        def fault(number: int, kind: str, name: str) -> int:
            if written[0] and kind == "sync" and name.endswith(".log"):
                world.disk.kill_after = 0
                raise Killed
            written[0] = written[0] or kind == "append"
            return 0

        world.disk.fault = fault
        with pytest.raises(Killed):
            world.append(world.open(), DISK)
        world.disk.revive()
        return real(base_offset, partition_fd=partition_fd)

    monkeypatch.setattr(partition_reader, "open_segment", open_late)
    assert world.open_reader().high_watermark == 2


def test_a_segment_that_a_listing_lacks_for_a_moment_is_not_taken_for_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that is listed while one name in it takes the place of another may show neither."""
    log = world.open()
    for _ in range(3):
        world.append(log, DISK, value=1500)
    real = partition_reader.list_segments
    for missing in (0, 2):
        reader = world.open_reader()
        looks = iter([True, True, False])
        monkeypatch.setattr(
            partition_reader,
            "list_segments",
            lambda fd, looks=looks, missing=missing: [
                base for base in real(fd) if base != missing or not next(looks, False)
            ],
        )
        reader.seek(missing)
        assert list(drain(reader)) == list(range(missing, 6))
        assert reader.skipped == []


def test_a_missing_index_only_costs_a_longer_walk(world: World) -> None:
    log = world.open()
    for _ in range(3):
        world.append(log, DISK, count=3)
    (world.partition / "00000000000000000000.index").unlink()
    reader = world.open_reader()
    reader.seek(7)
    assert reader.fetch()[0].base_offset == 6
    assert reader.offset_for_time(1_000_000_000) == 9


def test_a_directory_in_place_of_an_index_only_costs_a_longer_walk(world: World) -> None:
    log = world.open()
    for _ in range(3):
        world.append(log, DISK, value=2040)
    index = world.partition / "00000000000000000000.index"
    index.unlink()
    index.mkdir()
    assert len(oracle.segment_bases(world.partition)) > 1
    assert world.open_reader().offset_for_time(1_000_000_000) == 6


def test_a_time_behind_damage_is_looked_for_at_the_damage(world: World) -> None:
    log = world.open()
    for _ in range(3):
        world.append(log, DISK, count=2)
    size = (world.partition / "00000000000000000000.log").stat().st_size // 3
    world.disk.damage(world.partition / "00000000000000000000.log", size)
    reader = world.open_reader()
    assert reader.offset_for_time(1_000_000_000) == 2
    reader.seek(2)
    with pytest.raises(CorruptBatchError):
        reader.fetch()


def test_a_segment_without_index_is_read_backward_a_few_headers_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = world.open()
    world.append(log, batches=20, count=1, value=10)
    (world.partition / "00000000000000000000.index").unlink()
    held: list[int] = []
    last_headers = backward_reader._last_headers

    def noted(*arguments: Any) -> Any:
        headers = last_headers(*arguments)
        held.append(len(headers))
        return headers

    monkeypatch.setattr(backward_reader, "_MOST_HEADERS", 3)
    monkeypatch.setattr(backward_reader, "_last_headers", noted)
    reader = world.open_reader()
    assert [stored.header.base_offset for stored in reader.batches_backward(20)] == list(range(19, -1, -1))
    assert max(held) == 3
    segment = world.partition / "00000000000000000000.log"
    segment.write_bytes(b"damaged" + segment.read_bytes()[7:])
    with pytest.raises(CorruptBatchError):
        list(reader.batches_backward(20))
