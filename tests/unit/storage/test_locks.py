from __future__ import annotations

import _thread
import fcntl
import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mk.errors import LockTimeoutError
from mk.storage import files, locks
from mk.storage.locks import DIRECTORY_LOCK, acquire, describe_holder, directory_lock, is_held, release

if TYPE_CHECKING:
    from pathlib import Path


def open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def test_the_lock_of_the_directory_is_a_file_in_it_wherever_the_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks, elsewhere = tmp_path / "locks", tmp_path / "elsewhere"
    locks.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    fd = files.open_directory(str(locks))
    with directory_lock(fd, wait_ms=0):
        assert os.listdir(elsewhere) == []
        assert os.listdir(locks) == [DIRECTORY_LOCK]
        monkeypatch.chdir(tmp_path)
        with pytest.raises(LockTimeoutError), directory_lock(fd, wait_ms=0):
            pass
    with directory_lock(fd, wait_ms=0):
        pass
    os.close(fd)


def test_a_held_lock_is_refused_at_once_without_waiting_and_names_its_holder(tmp_path: Path) -> None:
    first, second = open_lock(tmp_path / "lock"), open_lock(tmp_path / "lock")
    acquire(first, what="the lock", wait_ms=0)
    with pytest.raises(LockTimeoutError) as caught:
        acquire(second, what="the lock", wait_ms=0)
    assert str(os.getpid()) in str(caught.value.facts["holder"])
    assert describe_holder(second) == caught.value.facts["holder"]
    release(first)
    acquire(second, what="the lock", wait_ms=0)
    os.close(first)
    os.close(second)


def wait_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_wait", locks._acquire_in_thread)


def wait_with_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of one thread, whatever those who run the tests have."""
    monkeypatch.setattr(locks, "_thread", SimpleNamespace(_count=lambda: 0))


@pytest.fixture(params=[wait_in_a_thread, wait_with_a_timer])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    request.param(monkeypatch)


@pytest.mark.usefixtures("way")
def test_a_waiter_gets_the_lock_when_the_holder_lets_go(tmp_path: Path) -> None:
    first, second = open_lock(tmp_path / "lock"), open_lock(tmp_path / "lock")
    acquire(first, what="the lock", wait_ms=0)
    holder = threading.Timer(0.05, release, [first])
    holder.start()
    acquire(second, what="the lock", wait_ms=10_000)
    holder.join()
    with pytest.raises(LockTimeoutError):
        acquire(first, what="the lock", wait_ms=0)
    os.close(first)
    os.close(second)


def test_a_timer_is_used_only_where_nobody_else_has_one_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = open_lock(tmp_path / "lock"), open_lock(tmp_path / "lock")
    acquire(first, what="the lock", wait_ms=0)
    wait_with_a_timer(monkeypatch)
    rung = []
    for _ in range(3):
        with pytest.raises(LockTimeoutError):
            acquire(second, what="the lock", wait_ms=1)
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    release(first)
    acquire(first, what="the lock", wait_ms=0)  # None that gave up keeps it.
    monkeypatch.setattr(locks, "_thread", _thread)
    signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(LockTimeoutError):
            acquire(second, what="the lock", wait_ms=50)
        assert rung == [1]
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for fd in (first, second):
        os.close(fd)


def test_a_timer_that_whoever_started_this_process_has_set_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = open_lock(tmp_path / "lock"), open_lock(tmp_path / "lock")
    acquire(first, what="the lock", wait_ms=0)
    monkeypatch.setattr(locks, "_thread", SimpleNamespace(**{**vars(_thread), "_count": lambda: 0}))
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with pytest.raises(LockTimeoutError):
            acquire(second, what="the lock", wait_ms=1)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    for fd in (first, second):
        os.close(fd)


@pytest.mark.usefixtures("way")
def test_a_signal_is_heard_while_waiting(tmp_path: Path) -> None:
    first, second = open_lock(tmp_path / "lock"), open_lock(tmp_path / "lock")
    acquire(first, what="the lock", wait_ms=0)
    sender = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT])
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        acquire(second, what="the lock", wait_ms=10_000)
    sender.join()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    for fd in (first, second):
        os.close(fd)


def test_a_waiter_that_gave_up_does_not_keep_the_lock_it_gets_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_in_a_thread(monkeypatch)
    first, second, third = (open_lock(tmp_path / "lock") for _ in range(3))
    threads = _thread._count()
    acquire(first, what="the lock", wait_ms=0)
    with pytest.raises(LockTimeoutError):
        acquire(second, what="the lock", wait_ms=20)
    release(first)
    while _thread._count() > threads:
        time.sleep(0.001)  # It waits on, though nobody waits for it, and gets the lock now.
    acquire(third, what="the lock", wait_ms=0)
    for fd in (first, second, third):
        os.close(fd)


def test_two_who_ask_at_once_whether_a_lock_is_held_do_not_take_each_other_for_its_holder(tmp_path: Path) -> None:
    first, second = open_lock(tmp_path / "lock"), open_lock(tmp_path / "lock")
    fcntl.flock(first, fcntl.LOCK_SH | fcntl.LOCK_NB)  # In the midst of asking.
    assert not is_held(second)
    fcntl.flock(first, fcntl.LOCK_UN)
    acquire(first, what="the lock", wait_ms=0)
    assert is_held(second)
    release(first)
    assert not is_held(second)
    acquire(first, what="the lock", wait_ms=0)  # It keeps nothing.
    for fd in (first, second):
        os.close(fd)
