"""Fixtures for tests that run commands; what they need is in running.py."""

import contextlib
import os
from pathlib import Path

import pytest
from running import Mk


@pytest.fixture
def mk(tmp_path: Path) -> Mk:
    """The command line on a log directory of the test's own, which does not exist yet."""
    return Mk(tmp_path / "log")


@pytest.fixture
def terminal():
    """A pseudo-terminal: (the side that a person has, the side that a program has)."""
    ours, theirs = os.openpty()
    yield ours, theirs
    for descriptor in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(descriptor)
