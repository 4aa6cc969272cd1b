"""Waiting for a group of a Kafka cluster to commit: nobody tells, so it is looked again."""

from __future__ import annotations

from time import sleep

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5
"""Each look is a handful of requests."""


class KafkaGroupWatch:
    """With the methods of a GroupWatch. The pauses grow, so that a long wait costs little."""

    def __init__(self) -> None:
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def __enter__(self) -> KafkaGroupWatch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""

    def wait(self, timeout_ms: int) -> None:
        """Sleep until it is time to look again, at most `timeout_ms`."""
        sleep(min(self._pause_seconds, timeout_ms / 1000))
        self._pause_seconds = min(1.5 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
