"""What may be cut, what is kept, and what is refused, one interleaving at a time."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptBatchError, CorruptStateError, StorageError, UnsupportedBatchError
from mk.records.record_batch import encode_lines
from mk.storage.log_segment import segment_name
from mk.storage.partition_log import DISK, PAGE_CACHE
from tests.crash import oracle
from tests.crash.recorder import Killed
from tests.crash.world import next_boot

if TYPE_CHECKING:
    from tests.crash.world import World


def kill_append_at(world: World, kind: str, name: str, durability: int = DISK, **append: int) -> None:
    """Append in a process that is killed at the first operation of this kind on a file of this name."""

    def fault(number: int, asked: str, asked_name: str) -> int:
        if asked == kind and name in asked_name:
            world.disk.kill_after = 0
            raise Killed
        return 0

    log = world.open()
    world.disk.fault = fault
    with pytest.raises(Killed):
        world.append(log, durability, **append)
    world.disk.revive()


def refuse(world: World, kind: str, name: str, times: int = 1, error: int = errno.EIO) -> None:
    """Have the disk refuse the next operations of this kind on files of this name."""
    left = [times]

    def fault(number: int, asked: str, asked_name: str) -> int:
        if left[0] and asked == kind and name in asked_name:
            left[0] -= 1
            return error
        return 0

    world.disk.fault = fault


def values(world: World) -> list[bytes]:
    return [record.value or b"" for record in oracle.verify(world.partition).records]


def promised_values(world: World, durability: int = DISK) -> list[bytes]:
    return [value for records, acks in world.acked if acks >= durability for value in records.values()]


def test_an_empty_segment_that_a_killed_roll_left_is_removed_by_the_next_append(world: World) -> None:
    log = world.open()
    world.append(log, value=1500)
    (world.partition / segment_name(2)).touch()
    kill_append_at(world, "pwrite", "state")
    world.append(log)
    assert oracle.segment_bases(world.partition) == [0]
    oracle.verify(world.partition)


def test_a_segment_with_bytes_behind_the_active_one_is_never_removed(world: World) -> None:
    """Bit rot in the newest slot of `state` brings back an older one, which knows nothing of the newest segment."""
    log = world.open()
    world.append(log, value=1500)
    before = (world.partition / "state").read_bytes()
    world.append(log, value=1500)
    assert len(oracle.segment_bases(world.partition)) == 2
    (world.partition / "state").write_bytes(before)
    segments = {path.name: path.read_bytes() for path in world.partition.glob("*.log")}
    next_boot()
    with pytest.raises(CorruptStateError, match="state"):
        world.append(world.open())
    assert {path.name: path.read_bytes() for path in world.partition.glob("*.log")} == segments


def test_temporary_files_of_killed_processes_are_removed(world: World) -> None:
    (world.partition / ".tmp-0123456789abcdef").write_bytes(b"x")
    next_boot()
    world.append(world.open())
    assert not [name for name in os.listdir(world.partition) if name.startswith(".tmp")]


def test_offsets_cut_by_a_recovery_that_was_killed_before_it_published_are_given_anew_under_a_new_epoch(
    world: World,
) -> None:
    """After the cut the file is of just the size that `state` says: without a mark the next writer would go on as if
    nothing had been, and two histories would share offset and epoch.
    """
    survivor = world.open()
    world.append(survivor)
    kill_append_at(world, "pwrite", "state")
    path = world.partition / segment_name(0)
    size = path.stat().st_size
    world.disk.damage(path, -1)
    cut = [False]

    def fault(number: int, kind: str, name: str) -> int:
        if cut[0]:
            world.disk.kill_after = 0
            raise Killed
        cut[0] = kind == "truncate" and name.endswith(".log")
        return 0

    world.disk.fault = fault
    with pytest.raises(Killed):
        world.append(world.open())
    world.disk.revive()
    assert path.stat().st_size == size // 2
    world.append(survivor)
    stored = oracle.verify(world.partition)
    assert [batch["leader_epoch"] for batch in stored.batches][0] == 0
    assert stored.batches[1]["leader_epoch"] > 0
    assert oracle.quarantined(world.path)


def test_a_disk_that_refuses_to_sync_after_a_reboot_costs_nothing_that_was_acknowledged(world: World) -> None:
    """`state` lags behind after a power cut, so that its durable end is no place to go on from in a new segment."""
    before = (world.partition / "state").read_bytes()
    log = world.open()
    for _ in range(3):
        world.append(log)
    (world.partition / "state").write_bytes(before)
    next_boot()
    refuse(world, "sync", segment_name(0))
    world.append(world.open())
    assert values(world) == promised_values(world)
    assert oracle.segment_bases(world.partition) == [0, 6]


def test_a_reader_that_pins_a_page_after_a_reboot_costs_nothing_that_was_acknowledged(world: World) -> None:
    before = (world.partition / "state").read_bytes()
    log = world.open()
    for _ in range(3):
        world.append(log)
    (world.partition / "state").write_bytes(before)
    next_boot()
    world.disk.pinned = True
    world.append(world.open())
    assert values(world) == promised_values(world)


def test_a_state_that_the_disk_refused_at_a_roll_is_not_relied_on(world: World) -> None:
    """What the next writer acknowledged in the new segment would be in a leftover after a power cut."""
    log = world.open()
    world.append(log, value=1500)
    refuse(world, "sync", "state")
    with pytest.raises(StorageError):
        world.append(log, value=1500)
    world.disk.fault = None
    start = len(world.disk.operations)
    world.append(log, value=1500)
    on_disk = [operation.text for operation in world.disk.operations[start:]]
    assert on_disk.index("sync state") < on_disk.index(f"append {segment_name(2)}")
    assert values(world) == promised_values(world)


def test_published_records_that_the_disk_lost_as_zeros_are_given_anew_under_a_new_epoch(world: World) -> None:
    """No header is left of them to tell that a batch was cut: `state` tells."""
    log = world.open()
    world.append(log)
    world.append(log, PAGE_CACHE, value=600)
    refused = [False]

    def fault(number: int, kind: str, name: str) -> int:
        if refused[0]:
            world.disk.kill_after = 0
            raise Killed
        refused[0] = kind == "sync" and name.endswith(".log")
        return errno.EIO if refused[0] else 0

    world.disk.fault = fault
    with pytest.raises(Killed):
        world.append(world.open(), value=300)
    world.disk.revive()
    world.append(log)
    stored = oracle.verify(world.partition)
    assert [batch["leader_epoch"] for batch in stored.batches] == [0, 1]
    assert values(world) == promised_values(world)


def test_hints_to_batches_that_the_power_took_are_dropped(world: World) -> None:
    """The file may end just where its last durable batch does, while the index kept entries beyond."""
    log = world.open()
    world.append(log)
    path = world.partition / "00000000000000000000.index"
    path.write_bytes(oracle.struct.pack(">IIq", 200, 70_000, 5) + b"torn")
    next_boot()
    world.append(world.open())
    assert path.read_bytes() == b""
    oracle.verify(world.partition)


def test_an_epoch_without_batches_is_dropped_when_an_older_one_goes_on_there(world: World) -> None:
    """A segment was to be given up, the epoch was raised, the power went, and the batch turned out whole after all."""
    log = world.open()
    world.append(log)
    kill_append_at(world, "pwrite", "state")
    leader = oracle.read_epochs_file((world.partition / "epochs").read_bytes())[0][2]
    from mk.storage import files
    from mk.storage.leader_epochs import EpochEntry, LeaderEpochs, read_epochs, write_epochs

    fd = files.open_directory(str(world.partition))
    write_epochs(fd, LeaderEpochs([*read_epochs(fd, "").entries, EpochEntry(1, 2, leader)]))
    files.close(fd)
    next_boot()
    world.append(world.open())
    assert oracle.verify(world.partition).epochs == [(0, 0, leader), (2, 4, leader)]


def test_damage_below_a_durable_offset_found_behind_it_is_refused_and_nothing_is_changed(world: World) -> None:
    before = (world.partition / "state").read_bytes()
    log = world.open()
    for _ in range(3):
        world.append(log)
    (world.partition / "state").write_bytes(before)
    path = world.partition / segment_name(0)
    world.disk.damage(path, 150)
    data = path.read_bytes()
    next_boot()
    with pytest.raises(CorruptBatchError) as caught:
        world.append(world.open())
    assert (caught.value.facts["offset"], caught.value.facts["position"]) == (0, 0)
    assert path.read_bytes() == data
    assert not oracle.quarantined(world.path)


def damage_both_slots(world: World) -> None:
    for slot in (0, 4096):
        world.disk.damage(world.partition / "state", slot + 20, b"????")


def test_state_is_rebuilt_from_the_segments_when_both_slots_are_damaged(world: World) -> None:
    log, reader = world.open(), world.open_reader()
    for _ in range(5):
        world.append(log, value=900)
    reader.refresh()
    damage_both_slots(world)
    world.append(log)
    assert values(world) == promised_values(world)
    # A reader from before believes only what is newer than what it saw.
    assert reader.refresh()
    assert reader.high_watermark == 12


def test_a_rebuilt_state_ignores_what_stands_behind_the_end_of_a_given_up_segment(world: World) -> None:
    log = world.open()
    world.append(log)
    world.append(log, PAGE_CACHE)
    refuse(world, "sync", ".log", times=2)  # The append's, and then the evidence's: so nothing is cut.
    with pytest.raises(StorageError):
        world.append(log)
    world.disk.fault = None
    world.append(log)
    assert len(oracle.batches_in((world.partition / segment_name(0)).read_bytes())) == 3
    assert oracle.segment_bases(world.partition) == [0, 2]
    damage_both_slots(world)
    world.append(log)
    assert values(world) == promised_values(world)


def test_a_damaged_batch_in_a_sealed_segment_stops_the_rebuilding_of_state(world: World) -> None:
    log = world.open()
    for _ in range(4):
        world.append(log, value=1000)
    world.disk.damage(world.partition / segment_name(0), 200)
    damage_both_slots(world)
    with pytest.raises(CorruptBatchError) as caught:
        world.append(log)
    assert caught.value.facts["offset"] == 0


def test_one_damaged_slot_costs_nothing(world: World) -> None:
    log = world.open()
    for number in range(6):
        world.append(log, value=700)
        for slot in (0, 4096):
            original = (world.partition / "state").read_bytes()
            world.disk.damage(world.partition / "state", slot + 30)
            world.append(log, value=700)
            assert values(world) == promised_values(world), (number, slot)
            assert len(original) == oracle.STATE_SIZE


def test_a_segment_shorter_than_its_durable_end_is_refused(world: World) -> None:
    log = world.open()
    world.append(log)
    os.truncate(world.partition / segment_name(0), 100)
    with pytest.raises(CorruptStateError, match="damaged") as caught:
        world.append(log)
    assert "newer than the data" in caught.value.why


def test_a_missing_active_segment_is_refused(world: World) -> None:
    world.append(world.open())
    (world.partition / segment_name(0)).unlink()
    with pytest.raises(CorruptStateError) as caught:
        world.append(world.open())
    assert "missing" in caught.value.why


def test_a_tail_that_cannot_be_kept_as_evidence_is_left_behind_a_new_segment(world: World) -> None:
    world.append(world.open())
    kill_append_at(world, "pwrite", "state", batches=2)
    world.disk.damage(world.partition / segment_name(0), -1)
    tail = (world.partition / segment_name(0)).read_bytes()
    next_boot()
    # No room in quarantine/, where files are named by topic and partition.
    refuse(world, "pwrite", "t-0-", error=errno.ENOSPC)
    world.append(world.open())
    assert (world.partition / segment_name(0)).read_bytes() == tail
    assert oracle.segment_bases(world.partition) == [0, 4]
    oracle.verify(world.partition)


def test_a_pinned_tail_that_is_on_disk_as_it_stands_in_memory_is_kept(world: World) -> None:
    log = world.open()
    world.append(log)
    world.append(log, PAGE_CACHE)
    kill_append_at(world, "pwrite", "state")
    world.disk.pinned = True
    world.append(log)
    assert oracle.segment_bases(world.partition) == [0]
    assert set(promised_values(world, PAGE_CACHE)) <= set(values(world))


def test_a_pinned_tail_that_differs_from_the_disk_is_given_up(world: World) -> None:
    """Its sync was refused, the process killed, and a second sync succeeds, for bytes that the kernel has dropped."""
    log = world.open()
    world.append(log)
    refused = [False]

    def fault(number: int, kind: str, name: str) -> int:
        if refused[0]:
            world.disk.kill_after = 0
            raise Killed
        refused[0] = kind == "sync" and name.endswith(".log")
        return errno.EIO if refused[0] else 0

    world.disk.fault = fault
    with pytest.raises(Killed):
        world.append(world.open(), value=300)
    world.disk.revive()
    world.disk.pinned = True
    world.append(log)
    assert oracle.segment_bases(world.partition) == [0, 2]
    assert values(world) == promised_values(world)


def test_hints_in_front_of_the_zeros_that_a_power_cut_left_are_dropped(world: World) -> None:
    log = world.open()
    world.append(log)
    path = world.partition / "00000000000000000000.index"
    good = oracle.struct.pack(">IIq", 2, 210, 1_000_000 - 55)
    path.write_bytes(good + oracle.struct.pack(">IIq", 200, 70_000, 5_000_000) + bytes(4000))
    next_boot()
    world.append(world.open())
    assert path.read_bytes() == good
    oracle.verify(world.partition)


@pytest.mark.parametrize("is_torn", [False, True], ids=["whole", "torn"])
def test_a_batch_of_a_newer_mk_is_refused_and_not_cut(world: World, is_torn: bool) -> None:
    """Even without its whole payload: what this mk does not know it cannot call unfinished."""
    log = world.open()
    world.append(log)
    before = (world.partition / "state").read_bytes()
    batch = encode_lines(b"a\n" * 100, count=100, timestamp_ms=1)
    batch.attributes |= 2  # Kafka's snappy
    log.append([batch], DISK)
    segment = world.partition / segment_name(0)
    if is_torn:
        os.truncate(segment, segment.stat().st_size - 50)
    data = segment.read_bytes()
    (world.partition / "state").write_bytes(before)
    next_boot()
    for _ in range(2):
        with pytest.raises(UnsupportedBatchError) as caught:
            world.append(world.open())
        assert caught.value.facts["offset"] == 2
    assert segment.read_bytes() == data
    assert oracle.quarantined(world.disk.root) == []


def test_a_batch_of_a_newer_mk_behind_damage_is_proof_of_what_was_acknowledged(world: World) -> None:
    log = world.open()
    world.append(log)
    before = (world.partition / "state").read_bytes()
    damaged = (world.partition / segment_name(0)).stat().st_size
    world.append(log)
    batch = encode_lines(b"a\n", count=1, timestamp_ms=1)
    batch.attributes |= 0x8000
    log.append([batch], DISK)
    segment = world.partition / segment_name(0)
    data = bytearray(segment.read_bytes())
    data[damaged + 130] ^= 1
    segment.write_bytes(data)
    (world.partition / "state").write_bytes(before)
    next_boot()
    with pytest.raises(CorruptBatchError):
        world.append(world.open())
    assert segment.read_bytes() == data
