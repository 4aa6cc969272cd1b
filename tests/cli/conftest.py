"""Fixtures for tests that run commands; what they need is in running.py."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import KafkaMk, Mk

KAFKA_SECONDS = 120


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have what is marked both_engines run on a Kafka too. Its name on the directory stays what it was."""
    mark = metafunc.definition.get_closest_marker
    alone = mark("directory_only")
    assert alone is None or (alone.args and mark("both_engines")), f"{metafunc.definition.nodeid}: alone for no reason"
    if mark("both_engines") and alone is None and "engine" in metafunc.fixturenames:
        directory = pytest.param("directory", id=pytest.HIDDEN_PARAM)
        metafunc.parametrize("engine", [directory, pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is not: a Kafka behind ssh, where a test is of a directory here and `there`."""

    def is_possible(item: pytest.Item) -> bool:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        return params.get("engine") != "kafka" or params.get("side") != "there"

    items[:] = filter(is_possible, items)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """`directory` or `kafka`: what is behind the commands."""
    return getattr(request, "param", "directory")


@pytest.fixture
def mk(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mk]:
    """The command line on a log directory of the test's own, which does not exist yet, or on a Kafka without topics."""
    if engine == "kafka":
        broker = request.getfixturevalue("broker")
        with no_longer_than(KAFKA_SECONDS):
            yield KafkaMk(tmp_path / "log", broker)
    else:
        yield Mk(tmp_path / "log")


@contextlib.contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Fail a test that waits for what has gone, such as for the other end of a pipe, while others wait for its broker."""

    def fail(*_: object) -> None:
        raise AssertionError(f"it took longer than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Return a function that gives a Mk a copy of the log directory that `make` makes, which it does once a session.

    On a Kafka it is made each time.
    """
    templates = {}

    def give(mk: Mk, make: Callable[..., object], *arguments: str) -> Mk:
        if isinstance(mk, KafkaMk):
            make(mk, *arguments)
            return mk
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
