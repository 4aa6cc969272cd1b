"""segment.ms: a segment is sealed by age, by the clock of those who write and not by the records' times."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from mk.records.record_batch import encode_lines
from mk.storage.partition_log import DISK, PAGE_CACHE
from mk.storage.topic import encode_topic
from tests.crash import oracle
from tests.crash.world import TOPIC
from tests.unit.storage.conftest import NOW

if TYPE_CHECKING:
    from mk.storage.partition_log import PartitionLog
    from tests.crash.world import World
    from tests.unit.storage.conftest import Hands

DAY = 86_400_000
YEAR = 365 * DAY

numbers = itertools.count()


def append(log: PartitionLog, timestamp_ms: int = NOW, durability: int = DISK) -> None:
    log.append([encode_lines(b"%d\n" % next(numbers), count=1, timestamp_ms=timestamp_ms)], durability)


def segments(world: World) -> list[int]:
    return oracle.verify(world.partition).segments


@pytest.mark.parametrize("durability", [PAGE_CACHE, DISK])
def test_the_next_writer_seals_a_segment_that_is_old_enough(world: World, hands: Hands, durability: int) -> None:
    log = world.open()
    append(log, durability=durability)
    hands.pass_ms(7 * DAY - 1)
    append(log, durability=durability)
    assert segments(world) == [0]
    hands.pass_ms(1)
    append(world.open(), durability=durability)
    assert segments(world) == [0, 2]
    append(log, durability=durability)
    assert segments(world) == [0, 2]


def test_age_counts_from_the_first_batch_and_not_from_when_the_file_was_made(world: World, hands: Hands) -> None:
    hands.pass_ms(YEAR)
    log = world.open()
    append(log)
    append(log)
    assert segments(world) == [0]
    hands.pass_ms(7 * DAY)
    append(log)
    hands.pass_ms(7 * DAY - 1)
    append(log)
    assert segments(world) == [0, 2]


@pytest.mark.parametrize("timestamp_ms", [0, 1, NOW - 50 * YEAR, NOW + 73 * YEAR])
def test_the_times_of_records_do_not_matter(world: World, hands: Hands, timestamp_ms: int) -> None:
    log = world.open()
    for _ in range(5):
        append(log, timestamp_ms)
    assert segments(world) == [0]
    hands.pass_ms(7 * DAY)
    append(log, timestamp_ms)
    assert segments(world) == [0, 5]


@pytest.mark.parametrize("jump_ms", [10 * YEAR, -10 * YEAR])
def test_a_clock_that_jumps_and_comes_back_begins_one_segment_each_time(
    world: World, hands: Hands, jump_ms: int
) -> None:
    log = world.open()
    append(log)
    for jump in (jump_ms, -jump_ms):
        hands.leap_ms(jump)
        for _ in range(4):
            append(log)
    assert segments(world) == [0, 1, 5]


def test_a_clock_that_is_put_back_a_little_begins_none(world: World, hands: Hands) -> None:
    log = world.open()
    append(log)
    hands.leap_ms(-3_600_000)
    append(log)
    assert segments(world) == [0]


def test_where_nobody_noted_the_age_it_counts_from_the_next_append(world: World, hands: Hands) -> None:
    """After both slots of `state` were lost."""
    log = world.open()
    append(log)
    (world.partition / "state").write_bytes(bytes(4608))
    hands.pass_ms(YEAR)
    append(log)
    assert segments(world) == [0]
    hands.pass_ms(7 * DAY)
    append(log)
    assert segments(world) == [0, 2]


def test_a_changed_setting_counts_for_the_next_append(world: World, hands: Hands) -> None:
    log = world.open()
    append(log)
    hands.pass_ms(60_000)
    path = world.path / "topics" / TOPIC / "topic.json"
    path.with_name("new").write_bytes(
        encode_topic(TOPIC, world.topic.topic_id, 1, "crc32", {"segment.ms": 60_000, "retention.ms": -1})
    )  # type: ignore[union-attr]
    path.with_name("new").rename(path)
    append(log)
    assert segments(world) == [0, 1]
