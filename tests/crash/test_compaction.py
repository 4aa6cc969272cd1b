"""A compaction broken off at every operation, and the power cut behind each: of each key the last record stays, at its offset.

Whatever is left is a log without damage, in which what was not compacted yet still is; the next append and the next compaction
work.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.records.record_batch import encode_columns
from mk.storage.held_log import held_log
from mk.storage.log_cleaner import CHANGED, LogCleaner, compact
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_files import PartitionFiles
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from mk.storage.partition_state import read_state, write_state
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import TOPIC, Moments, Sweep, World
from tests.proof.figures import count

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mk.storage.topic import Topic
    from tests.thinning import Thoroughness

KEYS = (b"a", b"b", b"c")
Found = dict[int, tuple[bytes | None, bytes | None]]
"""Offset -> key and value."""


def life(world: World) -> Found:
    """Segments of one or two batches, most records of which have a successor in a later one: several become one."""
    world.create(config={"cleanup.policy": "compact", "delete.retention.ms": 0})
    log = world.open()
    written: Found = {}
    numbers = itertools.count()
    for number, size in enumerate((100, 150, 100, 300, 100, 100, 1800, 100, 100)):
        keys = [KEYS[(number + at) % 3] for at in range(2)]
        values: list[bytes | None] = [b"%03d" % next(numbers) + b"x" * size for _ in keys]
        batch = encode_columns(values, keys=keys, base_timestamp=1_000_000 + number)
        first = log.append([batch], DISK).first_offset
        written.update({first + at: (key, value) for at, (key, value) in enumerate(zip(keys, values))})
        if number % 3:
            with held_log(log, fix=""):
                log._roll(log._refresh())
    return written


def run(topic: Topic) -> str:
    report = compact(topic, 0, seal_active=True, min_dirty_ratio=0.0, lock_wait_ms=0)
    if report.error is not None:
        raise report.error
    return report.skipped


def read(topic: Topic) -> Found:
    reader = PartitionReader(topic, 0)
    try:
        found: Found = {}
        while batches := reader.fetch():
            for batch in batches:
                for record in batch.records(TOPIC, 0):
                    assert record.offset not in found
                    found[record.offset] = (record.key, record.value)
        assert reader.skipped == []
        return found
    finally:
        reader.close()


def last_of_each(records: Found) -> Found:
    newest = {key: offset for offset, (key, _) in records.items()}
    return {offset: records[offset] for offset in sorted(newest.values())}


def check_undamaged(directory: LogDirectory) -> None:
    damage = [finding for finding in verify_topic(directory, TOPIC).findings if finding.severity == DAMAGE]
    assert not damage, damage


def check(path: Path, written: Found) -> None:
    """Read, append, compact and read again."""
    directory = LogDirectory(str(path))
    topic = directory.open_topic(TOPIC)
    log = PartitionLog(topic, 0, lock_wait_ms=0)
    try:
        found = read(topic)
        assert found.items() <= written.items(), "what was never written there"
        assert last_of_each(written).items() <= found.items(), "the last record of a key is gone"
        check_undamaged(directory)
        batch = encode_columns([b"later"], keys=[b"d"], base_timestamp=2_000_000)
        offset = log.append([batch], DISK).first_offset
        assert offset == len(written)
        run(topic)
        whole = {**last_of_each(written), offset: (b"d", b"later")}
        assert read(topic) == whole
        check_undamaged(directory)
    finally:
        log.close()
        topic.close()
        directory.close()


def test_broken_off_at_any_operation_the_last_record_of_each_key_stays(
    tmp_path: Path, thoroughness: Thoroughness
) -> None:
    sweep = Sweep(tmp_path, seed=3, per_cut=thoroughness.pick(4, 20), thoroughness=thoroughness, cuts=24)
    moments = Moments(thoroughness, 12)
    for number, kill_after in enumerate(moments):
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            world = World(disk)
            written = life(world)
            disk.settle()
            start = len(disk.operations)
            disk.restart_count()
            disk.kill_after = kill_after
            assert world.topic is not None
            try:
                run(world.topic)
                assert kill_after == moments.NEVER
                assert read(world.topic) == last_of_each(written)
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            end = len(disk.operations)
            world.abandon()
            check(world.path, written)
            count("kills")

        def check_image(target: Path, at: int, written: Found = written, end: int = end) -> None:
            if at <= end:
                with fast_disk():
                    check(target / "mk", written)

        if thoroughness.is_full or number == 0:
            sweep.power_cuts(disk, check_image, start=start)
    count("states", sweep.images)
    assert len(moments.kinds) >= 10
    print(f"{number} kills, {sweep.images} images")


def remove_the_front(world: World) -> None:
    """As retention does, or somebody who trims."""
    assert world.topic is not None
    cleaner = PartitionCleaner(world.topic, 0, lock_wait_ms=0)
    cleaner.delete_records(4)
    cleaner.close()


def note_a_cut(world: World) -> None:
    """As if the log had been cut back, and others' records had come in the place of its own."""
    assert world.topic is not None
    files = PartitionFiles(world.topic, 0, 2)
    state = read_state(files.state_fd)
    assert state is not None
    state.cuts += 1
    write_state(files.state_fd, state)
    files.close()


@pytest.mark.parametrize("change", [remove_the_front, note_a_cut], ids=lambda change: change.__name__)
def test_what_changed_while_it_was_compacted_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[World], None]
) -> None:
    real, changed = LogCleaner._swap, []

    def swap_late(self: LogCleaner, *arguments: object) -> None:
        if not changed:
            change(world)
            changed.append(files_of(world))
        real(self, *arguments)  # type: ignore[arg-type]

    def files_of(world: World) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in world.partition.glob("*.log")}

    with RecordingDisk(tmp_path) as disk:
        world = World(disk)
        life(world)
        monkeypatch.setattr(LogCleaner, "_swap", swap_late)
        assert world.topic is not None
        assert run(world.topic) == CHANGED
        assert [files_of(world)] == changed
        world.abandon()


def test_each_step_of_a_swap_is_on_disk_before_the_next(tmp_path: Path) -> None:
    """`state`, by which a copy knows what it can go on from; the new segment; then the names that it makes needless, one by one:
    one that is there in front of one that is gone would end in a hole."""
    with RecordingDisk(tmp_path) as disk:
        world = World(disk)
        life(world)
        start = len(disk.operations)
        assert world.topic is not None
        run(world.topic)
        done = [operation.text for operation in disk.operations[start:]]
        world.abandon()
    steps = [
        (at, text.split()[0], text.split()[1].removesuffix(".cleaned"))
        for at, text in enumerate(done)
        if text.startswith(("rename", "unlink")) and text.endswith(".log")
    ]
    kinds = [kind for _, kind, _ in steps]
    assert ("unlink", "unlink") in zip(kinds, kinds[1:]), "no three segments became one"
    last = -1
    for at, kind, name in steps:
        between = done[last + 1 : at]
        if kind == "rename":
            assert between[::-1].index("sync state") < between[::-1].index("pwrite state"), "state is not on disk"
            assert f"sync {name}.cleaned" in between, "what is put in the place of others is not on disk"
        elif last >= 0:
            assert "sync 0" in between, f"{done[last]} is not on disk when {name} goes"
        last = at
