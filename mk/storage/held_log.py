"""The lock of an open partition, held for a `with` block by whoever changes more of it than an append does."""

from __future__ import annotations

from _signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask  # type: ignore[import-not-found]

from mk.errors import LockTimeoutError
from mk.storage.locks import release
from mk.storage.partition_log import DEFERRED_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.partition_log import PartitionLog


class held_log:
    """Hold the lock of a PartitionLog, with the signals held off that could stop us meanwhile.

    fix: what to say if somebody else keeps it.
    """

    __slots__ = ("_fix", "_log", "_mask")

    def __init__(self, log: PartitionLog, *, fix: str) -> None:
        self._log = log
        self._fix = fix

    def __enter__(self) -> None:
        self._mask = pthread_sigmask(SIG_BLOCK, DEFERRED_SIGNALS)
        try:
            self._log._acquire(self._mask)
        except LockTimeoutError as error:
            self.__exit__()
            error.fix = self._fix
            raise
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc: object) -> None:
        release(self._log._lock_fd)
        pthread_sigmask(SIG_SETMASK, self._mask)


class deferred_signals:
    """Hold off, for a `with` block, the signals that could stop or end us, with everybody else waiting for locks that we hold."""

    __slots__ = ("_mask",)

    def __enter__(self) -> None:
        self._mask = pthread_sigmask(SIG_BLOCK, DEFERRED_SIGNALS)

    def __exit__(self, *exc: object) -> None:
        pthread_sigmask(SIG_SETMASK, self._mask)
