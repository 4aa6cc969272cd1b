"""Waiting for a Kafka cluster: for what comes of the partitions that are read, heeding meanwhile what a Watch heeds."""

from __future__ import annotations

import os
from time import monotonic

from mk.kafka_cluster.client import SLICE_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.kafka_cluster.fetcher import Fetcher

_EVENT_BYTES = 4096
_WAKER_SECONDS = 0.01
"""How soon others' wakers are heeded, as the library waits for messages alone; later, where nothing came for longer."""

_LATENESS = 0.1
"""How much later, as a part of how long nothing came; at most as late as signals are heeded."""


class KafkaWatch:
    """With the methods of a Watch, for all readers of a fetcher."""

    __slots__ = ("_came_at", "_fetcher", "_output_fd", "_patient_wakers", "_poll", "_wakers")

    def __init__(self, fetcher: Fetcher, *, output_fd: int | None = None, patient_wakers: int = 0) -> None:
        """patient_wakers: as many of the wakers may be heeded as late as signals are."""
        import select

        self._fetcher = fetcher
        self._patient_wakers = patient_wakers
        self._came_at = monotonic()
        self._poll = select.poll()
        self._wakers: set[int] = set()
        self._output_fd = -1 if output_fd is None else output_fd
        if output_fd is not None:
            self._poll.register(output_fd, 0)  # An error is reported unasked.

    def add(self, path: str) -> None:
        """All partitions that are read are watched already."""

    def add_directory(self, path: str) -> None:
        """Topics that come and go are looked for, and told by nobody."""

    def add_waker(self, fd: int) -> None:
        """End a wait also when there is something to read from `fd`, which must not block. It is read away."""
        import select

        self._wakers.add(fd)
        self._poll.register(fd, select.POLLIN)

    def wait(self, timeout_ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Sleep until something came, at most `timeout_ms`. Returns False: whether topics changed is not told.

        until: not asked: what comes is records.

        Raises BrokenPipeError when the reader of `output_fd` has gone.
        """
        self._fetcher.begin()
        end = monotonic() + timeout_ms / 1000
        while not self._heed():
            now = monotonic()
            if now >= end:
                return False
            step = SLICE_SECONDS
            if len(self._wakers) > self._patient_wakers:
                step = min(step, max(_WAKER_SECONDS, _LATENESS * (now - self._came_at)))
            if self._fetcher.take_in(min(step, end - now)):
                break
        self._came_at = monotonic()
        return False

    def close(self) -> None:
        """The fetcher is closed with its readers."""

    def _heed(self) -> bool:
        """Read away what wakers say, and tell whether they said something."""
        is_woken = False
        for fd, _ in self._poll.poll(0):
            if fd == self._output_fd:
                raise BrokenPipeError
            try:
                is_woken = bool(os.read(fd, _EVENT_BYTES)) or is_woken
            except BlockingIOError:
                continue
        return is_woken
