"""What becomes of topics while they are followed: asked in the background, so that nobody who reads has to wait for the answer.

One request for all of them, a second after the answer to the one before.
"""

from __future__ import annotations

from time import monotonic

from mk.errors import MkError, NotFoundError, PeerUnreachableError, TryAgainError
from mk.kafka_cluster.signal_shelter import sheltered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Any

    from mk.kafka_cluster.client import Client

_LOOK_SECONDS = 1.0


class TopicNews:
    """Descriptions of topics, as last told. Not for two threads."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: set[str] = set()
        self._known: dict[str, Any] = {}
        self._asked: dict[str, Future[Any]] = {}
        self._next_look = self._answered_at = monotonic()
        self._next_help = 0.0

    def description_of(self, name: str) -> Any:
        """Return the library's TopicDescription of a topic, NotFoundError if it is gone, None if nothing is told as yet.

        Raises PeerUnreachableError if the cluster has not answered for as long as a request may take.
        """
        if name not in self._names:
            self._names.add(name)
            self._next_look = monotonic()
        self._look()
        return self._known.get(name)

    def forget(self, name: str) -> None:
        """Ask no more for a topic that nobody follows."""
        self._names.discard(name)
        self._known.pop(name, None)

    def _look(self) -> None:
        now = monotonic()
        if self._asked and all(future.done() for future in self._asked.values()):
            self._take_in(now)
        if not self._asked and self._names and now >= self._next_look:
            topics = self._client.kafka.TopicCollection(list(self._names))
            self._asked = sheltered(lambda: self._client.admin.describe_topics(topics))
            self._next_help = now + _LOOK_SECONDS
        if self._asked and now >= self._next_help:
            self._client.look_again()  # It would wait for a broker that died, and followers would end though others serve them.
            self._next_help = monotonic() + _LOOK_SECONDS
        if self._asked and now - self._answered_at > self._client.timeout_seconds + _LOOK_SECONDS:
            raise self._client.no_answer(f"the topics of {self._client.location} cannot be looked at")

    def _take_in(self, now: float) -> None:
        asked, self._asked = self._asked, {}
        self._next_look = now + _LOOK_SECONDS
        for name, future in asked.items():
            answer = self._client.outcome(future, f"topic {name} cannot be described", topic=name)
            if isinstance(answer, (PeerUnreachableError, TryAgainError)):
                continue  # It is asked again; for how long is looked after where it is asked.
            if isinstance(answer, MkError) and not isinstance(answer, NotFoundError):
                raise answer
            self._known[name] = answer
            self._answered_at = now
