from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A topic of one partition and small segments, on a disk that fails where a test wants it to."""
    with RecordingDisk(tmp_path) as disk:
        world = World(disk)
        world.create()
        yield world
        world.abandon()
