"""Producers against a plain count: appends that overlap, rolls, lost snapshots and removed segments, in any order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.errors import CorruptStateError
from mk.records.record_batch import encode_columns, encode_lines
from mk.storage import producer_state
from mk.storage.log_segment import list_segments
from mk.storage.partition_files import PartitionFiles
from mk.storage.partition_log import DISK, PAGE_CACHE
from mk.storage.producer_state import ensure_snapshot, load
from tests.crash import oracle
from tests.crash.recorder import RecordingDisk
from tests.crash.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record_batch import EncodedBatch

PRODUCERS = (11, 12, (1 << 64) - 1)

APPEND = st.tuples(
    st.just("append"),
    st.sampled_from(PRODUCERS),
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), min_size=1, max_size=4),
    st.sampled_from([0, 400, 1500]),
    st.sampled_from([PAGE_CACHE, DISK]),
    st.integers(0, 1),
)
STEPS = st.lists(
    APPEND
    | st.tuples(st.just("plain"), st.sampled_from([0, 3000]), st.sampled_from([PAGE_CACHE, DISK]))
    | st.tuples(st.just("reopen"), st.integers(0, 1))
    | st.tuples(st.just("lose"), st.integers(0, 5), st.booleans())
    | st.tuples(st.just("retain"), st.integers(0, 3)),
    max_size=25,
)


@pytest.fixture(autouse=True, scope="module")
def frequent_snapshots() -> Iterator[None]:
    kept, producer_state._SNAPSHOT_BATCHES = producer_state._SNAPSHOT_BATCHES, 5
    yield
    producer_state._SNAPSHOT_BATCHES = kept


def make(producer_id: int, first: int, count: int, size: int) -> EncodedBatch:
    values = [b"%d:%d:" % (producer_id, number) + b"v" * size for number in range(first, first + count)]
    if first % 2:
        batch = encode_columns(values, base_timestamp=5)
    else:
        batch = encode_lines(b"\n".join(values) + b"\n", count=count, timestamp_ms=5)
    batch.number(producer_id, range(first, first + count))
    return batch


@given(STEPS)
def test_each_sequence_is_stored_once_whatever_happens_to_snapshots(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    home = Path(tempfile.mkdtemp(prefix="mk-producers-"))
    try:
        with RecordingDisk(home) as disk:
            world = World(disk)
            world.create()
            (world.path / "topics/t/producers").mkdir()
            try:
                follow(world, steps)
            finally:
                world.abandon()
    finally:
        shutil.rmtree(home)


def follow(world: World, steps: list[tuple]) -> None:  # type: ignore[type-arg]
    logs = [world.open(), world.open()]
    stored = dict.fromkeys(PRODUCERS, 0)
    assert world.topic is not None
    partition = PartitionFiles(world.topic, 0, 2)
    may_be_unknown = False
    try:
        for kind, *rest in steps:
            if kind == "append":
                producer_id, shapes, size, durability, who = rest
                batches, reached, new = [], stored[producer_id], 0
                for back, count in shapes:
                    first = max(0, reached - back)
                    batches.append(make(producer_id, first, count, size))
                    new += max(0, first + count - reached)
                    reached = max(reached, first + count)
                try:
                    result = logs[who].append(batches, durability)
                except CorruptStateError:
                    assert may_be_unknown
                    return
                assert result.last_offset - result.first_offset + 1 == new
                assert result.duplicates == sum(count for _, count in shapes) - new
                stored[producer_id] = reached
            elif kind == "plain":
                size, durability = rest
                logs[0].append([encode_lines(b"x" * size + b"\n", count=1, timestamp_ms=1)], durability)
            elif kind == "reopen":
                logs[rest[0]] = world.open()
            elif kind == "lose":
                which, damaged = rest
                snapshots = sorted(world.partition.glob("*.producers"))
                if snapshots:
                    path = snapshots[which % len(snapshots)]
                    path.write_bytes(path.read_bytes()[:-5]) if damaged else path.unlink()
                    may_be_unknown = may_be_unknown or list_segments(partition.fd)[0] > 0
            else:
                bases = list_segments(partition.fd)
                keep = bases[min(rest[0], len(bases) - 1)]
                ensure_snapshot(partition, keep)
                for base in bases:
                    if base < keep:
                        (world.partition / f"{base:020d}.log").unlink()
                        (world.partition / f"{base:020d}.producers").unlink(missing_ok=True)
            check(world, partition, stored, may_be_unknown)
    finally:
        partition.close()


def check(world: World, partition: PartitionFiles, stored: dict[int, int], may_be_unknown: bool) -> None:
    state = partition.read_state()
    assert state is not None
    try:
        found = load(partition, state.segment, state.written)
    except CorruptStateError:
        assert may_be_unknown
    else:
        assert found.last_sequences == {producer_id: count - 1 for producer_id, count in stored.items() if count}
    sequences: dict[int, list[int]] = {producer_id: [] for producer_id in PRODUCERS}
    for path in sorted(world.partition.glob("*.log")):
        for batch in oracle.batches_in(path.read_bytes()):
            for record in oracle.decode_records(batch):
                if batch["producer_id"]:
                    producer_id, number, _ = (record.value or b"").split(b":")
                    sequences[int(producer_id)].append(int(number))
    for producer_id, numbers in sequences.items():
        assert numbers == list(range(stored[producer_id] - len(numbers), stored[producer_id]))
