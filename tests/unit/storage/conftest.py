from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk import clock
from mk.storage import host
from tests.crash.recorder import RecordingDisk
from tests.crash.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def boot() -> Iterator[None]:
    """Give each test a boot of its own, which it may end."""
    real, host._boot_id = host._boot_id, "boot-1"
    yield
    host._boot_id = real


NOW = 1_800_000_000_000


class Hands:
    """A clock that tests turn: `pass_ms` lets time pass, `leap_ms` sets the clock and no time passes."""

    def __init__(self) -> None:
        self.now_ms = NOW
        self.uptime_ms = 1_000_000

    def pass_ms(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        self.uptime_ms += milliseconds

    def leap_ms(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    def reboot(self, name: str, *, off_ms: int = 0) -> None:
        host._boot_id = name
        self.now_ms += off_ms
        self.uptime_ms = 5_000


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(clock, "now_ms", lambda: hands.now_ms)
    monkeypatch.setattr(clock, "uptime_ms", lambda: hands.uptime_ms)
    return hands


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A topic of one partition and small segments, on a disk that fails where a test wants it to."""
    with RecordingDisk(tmp_path) as disk:
        world = World(disk)
        world.create()
        yield world
        world.abandon()
