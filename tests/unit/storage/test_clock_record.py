"""The clock is believed as long as it goes as time does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.storage import clock_record
from mk.storage.clock_record import LONGEST_GAP_MS, STEADY_MS, TOLERANCE_MS, ClockRecord, decode

if TYPE_CHECKING:
    from tests.crash.world import World
    from tests.unit.storage.conftest import Hands

HOUR = 3_600_000
DAY = 24 * HOUR
YEAR = 365 * DAY


@pytest.fixture
def look(world: World, hands: Hands):  # type: ignore[no-untyped-def]
    """Return a function that looks at the clock and records it, as one who removes records does."""
    world.open_reader()
    directory = world.directory

    def look(last_seen_ms: int = hands.now_ms) -> bool:
        assert directory is not None
        return clock_record.look_and_record(directory, last_seen_ms).is_believed

    return look


@given(
    st.text("0123456789abcdef-", min_size=1, max_size=36),
    st.integers(-(10**14), 10**14),
    st.integers(0, 10**13),
    st.integers(0, STEADY_MS),
)
def test_a_record_comes_back_as_it_was_written(boot: str, now: int, uptime: int, steady: int) -> None:
    data = ClockRecord(boot, now, uptime, steady).encode()
    assert len(data) == clock_record.SIZE
    found = decode(data)
    assert found is not None
    assert (found.boot_id, found.now_ms, found.uptime_ms, found.steady_ms) == (boot, now, uptime, steady)


def test_a_torn_record_is_none() -> None:
    data = ClockRecord("boot", 1, 2, 3).encode()
    assert [decode(data[:length]) for length in range(data.index(b" crc=") + 13)] == [None] * (
        data.index(b" crc=") + 13
    )
    assert decode(b"") is None and decode(bytes(128)) is None


def test_a_clock_that_goes_as_time_does_is_believed(look, hands: Hands) -> None:  # type: ignore[no-untyped-def]
    for passed in (0, 1, HOUR, DAY, 90 * DAY, YEAR):
        hands.pass_ms(passed)
        assert look()


@pytest.mark.parametrize("leap", [10 * YEAR, -10 * YEAR, 2 * HOUR, -2 * HOUR])
def test_a_clock_that_leaps_is_believed_when_it_has_run_evenly_for_a_day(look, hands: Hands, leap: int) -> None:  # type: ignore[no-untyped-def]
    assert look()
    hands.leap_ms(leap)
    assert not look()
    for _ in range(23):
        hands.pass_ms(HOUR)
        assert not look()
    hands.leap_ms(-leap)
    assert not look()
    hands.pass_ms(DAY - 1)
    assert not look()
    hands.pass_ms(1)
    assert look()


def test_a_clock_that_is_corrected_a_little_stays_believed(look, hands: Hands) -> None:  # type: ignore[no-untyped-def]
    assert look()
    for correction in (TOLERANCE_MS, -TOLERANCE_MS):
        hands.pass_ms(HOUR)
        hands.leap_ms(correction)
        assert look()


def test_over_a_restart_it_must_have_gone_on_and_not_far(look, hands: Hands) -> None:  # type: ignore[no-untyped-def]
    assert look()
    hands.reboot("boot-2", off_ms=LONGEST_GAP_MS)
    assert look()
    hands.reboot("boot-3", off_ms=LONGEST_GAP_MS + 1)
    assert not look()
    hands.reboot("boot-4", off_ms=DAY)
    assert look()
    hands.reboot("boot-5", off_ms=-YEAR)
    assert not look()


def test_at_the_first_look_the_last_write_is_the_witness(look, hands: Hands) -> None:  # type: ignore[no-untyped-def]
    hands.leap_ms(10 * YEAR)
    assert not look()
    hands.pass_ms(DAY)
    assert look()


def test_a_record_that_cannot_be_written_changes_nothing(look, world: World, hands: Hands) -> None:  # type: ignore[no-untyped-def]
    assert look()
    before = (world.path / "locks" / "clock").read_bytes()
    world.disk.fault = lambda number, kind, name: 28 if name == "clock" else 0
    hands.pass_ms(HOUR)
    assert look()
    assert (world.path / "locks" / "clock").read_bytes() == before
    hands.leap_ms(YEAR)
    assert not look()


def test_a_damaged_record_counts_as_none(look, world: World, hands: Hands) -> None:  # type: ignore[no-untyped-def]
    assert look()
    path = world.path / "locks" / "clock"
    path.write_bytes(os.urandom(128))
    assert look(hands.now_ms)
