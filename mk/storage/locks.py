"""Locks: the only coordinator between mk processes, and the only importer of portalocker.

All are flock(2): held by an open file description, let go by the kernel when the process dies, however it dies. Lock
files are created once, and never unlinked, renamed, replaced or truncated while what they guard lives.
"""

from __future__ import annotations

import _thread
import os
from _signal import (  # type: ignore[import-not-found]
    ITIMER_REAL,
    SIG_BLOCK,
    SIG_DFL,
    SIGALRM,
    getitimer,
    getsignal,
    pthread_sigmask,
    setitimer,
    signal,
)
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock

from mk.errors import LockTimeoutError
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORY_LOCK = "directory"
"""Held by whoever creates, deletes or renames a topic."""

_RING_SECONDS = 0.05

_SHOWN_WORDS = 4
"""As in `python3 /usr/bin/mk produce TOPIC`; what follows may be a record."""


def acquire(fd: int, *, what: str, wait_ms: int) -> None:
    """Take the exclusive lock on an open file, waiting at most `wait_ms`.

    Waiters sleep in the kernel, which wakes them within a millisecond of the holder's death or unlock, where polling
    would add its interval each time.

    Raises:
        LockTimeoutError: somebody else still holds it; the error says who. The file must then be closed, and opened anew
            for another try: the waiter that was given up shares it, and unlocks it when it gets the lock at last.
    """
    if not try_acquire(fd) and (wait_ms <= 0 or not _wait(fd, wait_ms / 1000)):
        raise LockTimeoutError(what=what, waited_ms=wait_ms, holder=describe_holder(fd))


def try_acquire(fd: int) -> bool:
    """Take the exclusive lock if it is free."""
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(fd: int) -> bool:
    """Tell whether somebody holds the exclusive lock on a file, which is open for this question only.

    Asked by trying a shared lock, so that two who ask at the same time do not take each other for the holder.
    """
    try:
        flock(fd, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return True
    flock(fd, LOCK_UN)
    return False


def release(fd: int) -> None:
    flock(fd, LOCK_UN)


class _TimeIsUp(Exception):
    """Breaks off a wait. Nobody sees it."""


def _wait(fd: int, timeout: float) -> bool:
    """Wait for the lock in the kernel, with a timer to end that where one can be had.

    Many waiters take turns at a lock that each holds for a moment: a thread to wait in costs more than that moment, and its
    hand-over to us lies within it.
    """
    if (
        _thread._count()
        or getsignal(SIGALRM) != SIG_DFL
        or SIGALRM in pthread_sigmask(SIG_BLOCK, ())
        or getitimer(ITIMER_REAL)[0]
    ):
        # The signal is somebody else's, or could reach another thread than the one that sleeps; the timer may have been set
        # by whoever started us, as in `perl -e 'alarm 60; exec @ARGV' mk ...`.
        return _acquire_in_thread(fd, timeout)
    waiting = True

    def ring(*_: object) -> None:
        if waiting:
            raise _TimeIsUp

    signal(SIGALRM, ring)
    try:
        # More than once: the first may come just before the kernel has us asleep.
        setitimer(ITIMER_REAL, timeout, _RING_SECONDS)
        flock(fd, LOCK_EX)
        waiting = False  # No call in between, so nothing can ring.
    except _TimeIsUp:
        waiting = False
        flock(fd, LOCK_UN)  # It may have rung just as the lock was got.
    except BaseException:
        waiting = False
        raise
    else:
        return True
    finally:
        setitimer(ITIMER_REAL, 0)
        signal(SIGALRM, SIG_DFL)
    return False


def _acquire_in_thread(fd: int, timeout: float) -> bool:
    """Wait for the lock in a thread, so that the wait can end and a ^C be heard.

    The thread locks through a descriptor of its own on the same open file description. If nobody waits any more when it
    gets the lock, it lets go again: otherwise a producer that gave up would block all others as long as it lives.
    """
    own_fd = os.dup(fd)
    done, decision = _thread.allocate_lock(), _thread.allocate_lock()
    done.acquire()
    locked = abandoned = False
    error: OSError | None = None

    def wait() -> None:
        nonlocal locked, error
        try:
            flock(own_fd, LOCK_EX)
            with decision:
                if abandoned:
                    flock(own_fd, LOCK_UN)
                else:
                    locked = True
        except OSError as failure:
            error = failure
        finally:
            files.close(own_fd)
            done.release()

    _thread.start_new_thread(wait, ())
    try:
        done.acquire(timeout=timeout)
    except BaseException:
        with decision:
            abandoned = True
            if locked:
                flock(fd, LOCK_UN)
        raise
    with decision:
        abandoned = not locked
    if error is not None:
        raise error
    return locked


def describe_holder(fd: int) -> str:
    """Say who holds the lock on an open file, as far as the kernel tells: pid and command, or that it does not."""
    status = os.fstat(fd)
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            for line in locks:
                fields = line.split()
                if "->" not in fields and len(fields) > 5 and fields[5] == wanted and fields[3] == "WRITE":
                    return _describe_process(fields[4])
    except OSError:
        pass
    return "another process holds it; the system does not say which"


def _describe_process(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = _public_words(file.read(1000).split(b"\0"))
        with open(f"/proc/{pid}/stat", "rb") as file:
            stopped = file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return f"process {pid} holds it"
    return f"process {pid} ({command}) holds it" + (", and is stopped; `kill -CONT` it or end it" if stopped else "")


def _public_words(words: list[bytes]) -> str:
    """Return what may go into an error, and with it into the logs of other users: the program and what it is at.

    Not what follows from the first option on, where keys and values of records stand.
    """
    shown = words[:_SHOWN_WORDS]
    named = next((at for at, word in enumerate(shown) if word[:1] == b"-"), len(shown))
    return b" ".join(shown[:named]).decode(errors="replace").strip()


def _import_portalocker() -> Any:
    """Import portalocker, which asks for the temporary directory as it is loaded, though nothing here needs one.

    To find it, tempfile writes a file to each candidate, and fails if none can be written to: with /tmp full or
    read-only nobody could delete a topic, though the log directory has all that it takes.
    """
    import tempfile

    before = tempfile.tempdir
    tempfile.tempdir = before or "/"
    try:
        import portalocker
    finally:
        tempfile.tempdir = before
    return portalocker


class ThreadLock:
    """A lock among the threads of a process, which one of them may take again; in a fork it is free.

    The thread that held it in the parent is not there to let go of it.
    """

    __slots__ = ("_lock", "_pid")

    def __init__(self) -> None:
        self._lock, self._pid = _thread.RLock(), os.getpid()

    def __enter__(self) -> None:
        if self._pid != os.getpid():
            self._lock, self._pid = _thread.RLock(), os.getpid()
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


class directory_lock:
    """Hold the lock under which topics come and go, for a `with` block. Not on the path of records."""

    def __init__(self, locks_fd: int, *, wait_ms: int) -> None:
        portalocker = _import_portalocker()

        def opener(_: str, flags: int) -> int:
            # Not by the name given here, which portalocker has made absolute, from whatever directory we are in.
            flags = os.O_RDWR | os.O_CREAT
            return files.open_file(DIRECTORY_LOCK, flags, 0o600, dir_fd=locks_fd, linked=True)

        self._wait_ms = wait_ms
        self._locked_elsewhere = portalocker.exceptions.LockException
        self._locks_fd = locks_fd
        self._lock = portalocker.Lock(
            DIRECTORY_LOCK,
            "rb+",
            timeout=wait_ms / 1000,
            check_interval=0.005,
            flags=portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING,
            opener=opener,
        )

    def __enter__(self) -> None:
        try:
            self._lock.acquire()
        except self._locked_elsewhere as error:
            for cause in (*error.args, error.__cause__, error.__context__):
                if isinstance(cause, OSError) and not isinstance(cause, BlockingIOError):
                    # Nobody holds it: there are no locks to be had here (ENOLCK), or the disk fails.
                    raise OSError(cause.errno, os.strerror(cause.errno or 0), DIRECTORY_LOCK) from None
            fd = files.open_file(DIRECTORY_LOCK, os.O_RDONLY, dir_fd=self._locks_fd)
            try:
                holder = describe_holder(fd)
            finally:
                files.close(fd)
            raise LockTimeoutError(
                what="the list of topics",
                waited_ms=self._wait_ms,
                holder=holder,
                fix="wait, or stop that process; nothing was changed",
            ) from None

    def __exit__(self, *exc: object) -> None:
        self._lock.release()
