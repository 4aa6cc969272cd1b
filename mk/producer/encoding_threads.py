"""Compressing batches on the other processors, while more input is read and counted.

A compressor takes nearly all of the time that a batch costs, and lets other threads run meanwhile.
"""

from __future__ import annotations

import os
from _queue import SimpleQueue
from _signal import SIG_SETMASK, pthread_sigmask, valid_signals  # type: ignore[import-not-found]
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.records.record_batch import EncodedBatch

_MOST_THREADS = 3
"""Beside the one that reads: one reader can keep no more of them busy."""

_queue: SimpleQueue[EncodingJob] = SimpleQueue()
_pid = _threads = 0


class EncodingJob:
    """A batch that is still to be made, by whichever thread comes to it first: at the latest by the one that wants it.

    What it is made of has to stay as it is until then.
    """

    __slots__ = ("_batch", "_claim", "_done", "_encode", "_error")

    def __init__(self, encode: Callable[[], EncodedBatch]) -> None:
        self._encode: Callable[[], EncodedBatch] | None = encode
        self._batch: EncodedBatch | None = None
        self._error: BaseException | None = None
        self._claim, self._done = allocate_lock(), allocate_lock()
        self._done.acquire()

    def run(self) -> None:
        """Make the batch, unless another thread does or did."""
        if not self._claim.acquire(False):
            return
        try:
            assert self._encode is not None
            self._batch = self._encode()
        except BaseException as error:
            self._error = error
        finally:
            self._encode = None  # With the buffer that it holds.
            self._done.release()

    def batch(self) -> EncodedBatch:
        """Return the batch when it is made. Raises what making it raised."""
        self.run()
        with self._done:
            if self._error is not None:
                raise self._error
            assert self._batch is not None
            return self._batch


def hand_over(job: EncodingJob) -> None:
    """Have another thread do a job, if there is a processor for one and it comes to it before its batch is asked for."""
    if _pid != os.getpid():
        _start()
    if _threads:
        _queue.put(job)


def _start() -> None:
    """Start the threads of this process; those of a parent are not in it, and its queue may be in somebody's hands."""
    global _queue, _pid, _threads
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _queue, _pid, _threads = SimpleQueue(), os.getpid(), min(processors - 1, _MOST_THREADS)
    # A signal that came to one of them would be handled although the thread that appends holds it off; and ^Z would stop us
    # with a lock that everybody else waits for.
    mask = pthread_sigmask(SIG_SETMASK, valid_signals())
    try:
        for _ in range(_threads):
            start_new_thread(_work, (_queue,))
    finally:
        pthread_sigmask(SIG_SETMASK, mask)


def _work(queue: SimpleQueue[EncodingJob]) -> None:
    while True:
        queue.get().run()
