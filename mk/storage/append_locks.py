"""Several append locks of a topic at once, mostly all: to delete, rename or seal it, or begin with producer ids.

While all are held no append is under way, and none begins. Taken in order, partition 0 first, so that two who want
them all cannot each hold what the other waits for; a producer holds one at a time.
"""

from __future__ import annotations

import time
from _signal import SIG_BLOCK, SIG_SETMASK, SIGTSTP, pthread_sigmask  # type: ignore[import-not-found]

from mk.errors import CorruptStateError, LockTimeoutError
from mk.storage import files
from mk.storage.host import allow_open_files
from mk.storage.locks import acquire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mk.storage.log_directory import LogDirectory


class append_locks:
    """Hold append locks of a topic for a `with` block, waiting for all of them together at most `wait_ms`.

    ^Z is held off meanwhile: it would stop us with everybody else waiting. A kill lets go of all.
    Raises LockTimeoutError, with none of them held and nothing changed.
    """

    def __init__(
        self, directory: LogDirectory, topic_id: str, name: str, partitions: Iterable[int], *, wait_ms: int
    ) -> None:
        self._directory = directory
        self._topic_id = topic_id
        self._name = name
        self._partitions = sorted(partitions)
        self._wait_ms = wait_ms
        self._fds: list[int] = []
        self._mask: set[int] = set()

    def __enter__(self) -> None:
        allow_open_files(len(self._partitions))
        until = time.monotonic() + self._wait_ms / 1000
        self._mask = pthread_sigmask(SIG_BLOCK, (SIGTSTP,))
        try:
            for partition in self._partitions:
                try:
                    self._fds.append(self._directory.open_lock(self._topic_id, str(partition)))
                except FileNotFoundError:
                    raise CorruptStateError(
                        path=f"{self._directory.path}/locks/{self._topic_id}/{partition}",
                        found="it is missing, as in a copy made by somebody who may only read",
                        fix="such a copy can be read, not changed; nothing was changed",
                    ) from None
                what = f"partition {partition} of {self._name}"
                left_ms = max(0, round((until - time.monotonic()) * 1000))
                try:
                    acquire(self._fds[-1], what=what, wait_ms=left_ms)
                except LockTimeoutError as error:
                    raise LockTimeoutError(
                        what=what,
                        waited_ms=self._wait_ms,
                        holder=str(error.facts["holder"]),
                        fix="wait, raise --lock-wait, or stop that process; nothing was changed",
                    ) from None
        except BaseException:
            self._let_go()
            raise

    def __exit__(self, *exc: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        # The kernel unlocks when the last descriptor of the open file is closed; that of a waiter that was given up
        # unlocks it itself.
        for fd in self._fds:
            files.close(fd)
        self._fds = []
        pthread_sigmask(SIG_SETMASK, self._mask)
