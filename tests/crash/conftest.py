from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk.storage import host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def boot() -> Iterator[None]:
    """Give each test a boot of its own, which it may end."""
    real, host._boot_id = host._boot_id, "boot-1"
    yield
    host._boot_id = real
