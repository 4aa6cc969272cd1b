"""What the exit status of a child says of the record that it was given."""

from __future__ import annotations

DONE = "done"
RETRY = "retry"  # as often as it takes
FAILED = "failed"  # tried again up to --retries times
POISON = "poison"  # never tried again
STOP = "stop"  # says something about the command, not about the record

_POISON_FROM = 100
_STOP_STATUSES = (126, 127, 255)
_ENDED_BY_HAND = (1, 2, 15)  # SIGHUP, SIGINT, SIGTERM

TABLE = (
    ("0", "done: the record counts as consumed"),
    ("75", "not now: it is tried again after --backoff, as often as it takes"),
    ("65, 100 to 254", "it cannot be done, ever: to the --dlq at once, or stop"),
    ("126, 127, 255", "the command cannot be run: stop; the record does not count as consumed"),
    ("any other", "it failed: it is tried again up to --retries times, then to the --dlq, or stop"),
    ("killed by a signal", "it failed, as with any other status"),
)
"""The same for people: exit status of the command, and what follows. `verdict` decides it."""


def verdict(status: int) -> str:
    """Return what follows from an exit status; -N is a death by signal N.

    A signal says nothing about the record, whatever its number: the kernel kills for want of memory, people kill by
    mistake. A shell that reports such a death says 128 + N, which does count as poison.
    """
    if status == 0:
        return DONE
    if status in _STOP_STATUSES:
        return STOP
    if status == 75:
        return RETRY
    if status == 65 or status >= _POISON_FROM:
        return POISON
    return FAILED


def reason(status: int) -> str:
    """Return why a record whose command ended with `status` is not tried any more."""
    verdict_of = verdict(status)
    if verdict_of == POISON:
        return f"status {status} says that this record cannot be done, ever"
    if status == 255:
        return "status 255 says to stop, as it does to xargs, and is what ssh says when it has no connection"
    if verdict_of == STOP:
        return f"status {status} says that the command {'was not found' if status == 127 else 'cannot be executed'}"
    return "it failed as often as --retries allows"


def was_ended_by_hand(status: int) -> bool:
    """Tell whether a child ended as one does that was asked to: by ^C, a closed terminal or `kill`, or saying so."""
    return (-status if status < 0 else status - 128) in _ENDED_BY_HAND


def spelled(status: int) -> str:
    """Return a status as people and dead letters have it: "7", or "signal 9"."""
    return f"signal {-status}" if status < 0 else str(status)
