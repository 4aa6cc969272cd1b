"""When a compaction lets a tombstone go: when it has stood long enough, by a clock that is believed, and was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk.records.record_batch import encode_columns
from mk.storage.log_cleaner import compact
from mk.storage.partition_log import DISK
from mk.storage.retention import GroupOffset
from tests.crash.world import drain
from tests.unit.storage.test_partition_cleaner import DAY, HOUR, YEAR, configure

if TYPE_CHECKING:
    from tests.crash.world import World
    from tests.unit.storage.conftest import Hands

SETTINGS = {"cleanup.policy": "compact", "delete.retention.ms": DAY}


def offsets_after_compaction(world: World) -> list[int]:
    world.open_reader()
    assert world.topic is not None
    report = compact(world.topic, 0, seal_active=True, min_dirty_ratio=0.0, lock_wait_ms=0)
    assert report.error is None
    return list(drain(world.open_reader()))


@pytest.fixture
def deleted(world: World, hands: Hands) -> World:
    """A topic with a key that was deleted, at offset 1, and another at 2; compacted once."""
    configure(world, **SETTINGS)
    batch = encode_columns([b"v", None, b"w"], keys=[b"k", b"k", b"l"], base_timestamp=hands.now_ms)
    world.open().append([batch], DISK)
    assert offsets_after_compaction(world) == [1, 2]
    return world


def test_a_tombstone_goes_when_it_has_stood_long_enough(deleted: World, hands: Hands) -> None:
    for _ in range(23):
        hands.pass_ms(HOUR)
        assert offsets_after_compaction(deleted) == [1, 2]
    hands.pass_ms(2 * HOUR)
    assert offsets_after_compaction(deleted) == [2]


@pytest.mark.parametrize("leap", [YEAR, 10 * YEAR])
def test_a_tombstone_stays_while_the_clock_is_not_believed(deleted: World, hands: Hands, leap: int) -> None:
    hands.leap_ms(leap)
    for _ in range(20):
        assert offsets_after_compaction(deleted) == [1, 2]
        hands.pass_ms(HOUR)


def test_a_tombstone_stays_until_the_groups_that_hold_records_have_read_it(deleted: World, hands: Hands) -> None:
    configure(deleted, **SETTINGS, **{"retention.groups": "g"})
    deleted.abandon()
    deleted.open_reader()
    assert deleted.directory is not None
    read = [1]
    deleted.directory.group_offsets = lambda topic, partition, wanted: [GroupOffset("g", read[0], 0)]
    for _ in range(30):
        hands.pass_ms(HOUR)
        assert offsets_after_compaction(deleted) == [1, 2]
    read[0] = 2
    assert offsets_after_compaction(deleted) == [2]


def test_records_younger_than_the_lag_are_left_alone(world: World, hands: Hands) -> None:
    configure(world, **SETTINGS, **{"min.compaction.lag.ms": HOUR})
    log = world.open()
    for value in (b"v", b"w"):
        log.append([encode_columns([value], keys=[b"k"], base_timestamp=hands.now_ms)], DISK)
    hands.pass_ms(HOUR - 1000)
    assert offsets_after_compaction(world) == [0, 1]
    hands.pass_ms(2000)
    assert offsets_after_compaction(world) == [1]
