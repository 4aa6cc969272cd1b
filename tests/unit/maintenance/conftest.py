from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mk.storage import host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once at what looks damaged: nobody is writing."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture(autouse=True)
def boot() -> Iterator[None]:
    """Give each test a boot of its own, which it may end."""
    real, host._boot_id = host._boot_id, "boot-2"
    yield
    host._boot_id = real
