"""Calling the library where no handler of a signal runs.

In the midst of a request it runs Python, to look a class up, and overlooks what is raised there. Its destructors look for signals, as
its calls do, and cannot raise what a handler raises. In either case that stays behind, and whatever is called next ends as a
SystemError.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
from time import sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_PAUSE_SECONDS = 0.001


def sheltered(function: Callable[[], T]) -> T:
    """Return what a function returns that does not wait for long. What a handler raises meanwhile is raised behind it."""
    if _thread._count():
        # A signal comes to another thread if this one does not let it in, and its handler runs in the main one all the same.
        return _called_in_a_thread(function)
    # All others are the library's, which let no signal in.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        return function()
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _called_in_a_thread(function: Callable[[], T]) -> T:
    returned: list[T] = []
    raised: list[BaseException] = []
    is_over = _thread.allocate_lock()
    is_over.acquire()

    def call() -> None:
        try:
            returned.append(function())
        except BaseException as error:  # noqa: BLE001  it is raised where the function was called for
            raised.append(error)
        finally:
            is_over.release()

    try:
        _thread.start_new_thread(call, ())
    except RuntimeError:
        return function()  # No more threads are to be had.
    try:
        is_over.acquire()
    except BaseException:
        # It may have come behind the lock as well, which nobody would let go of then.
        while not (returned or raised):
            sleep(_PAUSE_SECONDS)
        raise
    if raised:
        raise raised[0]
    return returned[0]
