"""Ending by a signal: finish what is held, then die of that same signal.

`_signal` is the C module behind `signal`, whose import of enum alone would cost a third of the start-up budget.
"""

import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

SIGINT: int = _signal.SIGINT
SIGPIPE: int = _signal.SIGPIPE

_STOP_SIGNALS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop. A KeyboardInterrupt, so that whoever handles ^C handles all of them."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def raise_on_stop_signals() -> None:
    """Make SIGINT, SIGTERM and SIGHUP raise Stopped in the main thread; one that is ignored (nohup, &) stays so."""
    for number in _STOP_SIGNALS:
        if _signal.getsignal(number) == _signal.SIG_DFL:
            _signal.signal(number, raise_stopped)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _die_if_stopped


def call_on_stop_signals(stop: "Callable[[], None]") -> "list[int]":
    """Have SIGINT, SIGTERM and SIGHUP call `stop` instead of raising; returns a list that will hold the first of them.

    For commands that finish what they hold first. The second signal does not wait for that: it raises Stopped.
    """
    arrived: list[int] = []

    def note(number: int, frame: object) -> None:
        arrived.append(number)
        if len(arrived) > 1:
            raise_stopped(number, frame)
        stop()

    for number in _STOP_SIGNALS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, note)
    return arrived


class held:
    """Hold off SIGINT, SIGTERM and SIGHUP for a `with` block that does not wait for anything."""

    def __enter__(self) -> None:
        self._before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _STOP_SIGNALS)

    def __exit__(self, *exc: object) -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._before)


def die_of(number: int) -> int:
    """End this process by signal `number`, so that the parent sees it; return 128 + number if it does not end."""
    # First runs what has arrived already, which Python would otherwise report as a signal that has no handler any more.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, _STOP_SIGNALS)
    _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (number,))
    os.kill(os.getpid(), number)
    return 128 + number


def raise_stopped(number: int, frame: object = None) -> "NoReturn":
    """Raise Stopped, and let the next signal end us where we are.

    A terminal that is closed sends several. Raised as well, the second would come out of what handles the first, as a
    traceback.
    """
    for each in _STOP_SIGNALS:
        if _signal.getsignal(each) != _signal.SIG_IGN:
            _signal.signal(each, _die)
    raise Stopped(number)


def _die(number: int, frame: object) -> None:
    die_of(number)


def _die_if_stopped(unraisable: "sys.UnraisableHookArgs") -> None:
    """End the process where Python would drop a Stopped or a ^C, with a traceback, and go on.

    It does so where the signal arrives in a __del__ or in a callback of a weak reference, which every import has.
    """
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        die_of(getattr(unraisable.exc_value, "signal_number", SIGINT))
    sys.__unraisablehook__(unraisable)
