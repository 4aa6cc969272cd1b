"""Fixtures for tests that run commands; what they need is in running.py."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Mk


@pytest.fixture
def mk(tmp_path: Path) -> Mk:
    """The command line on a log directory of the test's own, which does not exist yet."""
    return Mk(tmp_path / "log")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Return a function that gives a Mk a copy of the log directory that `make` makes, which it does once a session."""
    templates = {}

    def give(mk: Mk, make: Callable[..., object], *arguments: str) -> Mk:
        key = make, *arguments
        if key not in templates:
            template = Mk(tmp_path_factory.mktemp("template") / "log")
            make(template, *arguments)
            templates[key] = template.directory
        shutil.copytree(templates[key], mk.directory)
        return mk

    return give


@pytest.fixture
def for_reader():
    """Return a function that makes of a Mk one on a copy that everybody may read, and the words before `mk` that make
    it run as somebody who may do no more. pytest's own directories are closed to others."""
    tops = []

    def copy(mk: Mk) -> tuple[Mk, tuple[str, ...]]:
        top = Path(tempfile.mkdtemp(prefix="mk-reader-", dir="/tmp"))
        tops.append(top)
        top.chmod(0o755)
        copied = Mk(top / "log")
        shutil.copytree(mk.directory, copied.directory)
        if os.geteuid():
            (copied.directory / "locks").chmod(0)
            return copied, ()
        prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        if copied("--version", prefix=prefix).status:
            pytest.skip("another user cannot run this mk")
        return copied, prefix

    yield copy
    for top in tops:
        (top / "log" / "locks").chmod(0o700)
        shutil.rmtree(top)


@pytest.fixture
def terminal():
    """A pseudo-terminal: (the side that a person has, the side that a program has)."""
    ours, theirs = os.openpty()
    yield ours, theirs
    for descriptor in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(descriptor)
