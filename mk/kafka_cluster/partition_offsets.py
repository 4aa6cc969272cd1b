"""Where partitions of a Kafka cluster begin and end, and where a time stands in them: asked of all of them at once.

Offsets are those that a reader of committed records sees: an end does not go beyond a transaction that is open.
"""

from __future__ import annotations

from mk.errors import MkError, PermissionDeniedError, TryAgainError
from mk.kafka_cluster.client import BROKER_IS_AWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mk.kafka_cluster.client import Client

    Place = tuple[str, int]
    """Topic and partition."""

    Answers = dict[Place, Any]
    """Of each place the library's ListOffsetsResultInfo (`offset`, `timestamp`: -1 for none, `leader_epoch`), or an MkError."""

EARLIEST, LATEST, NEWEST = "earliest", "latest", "max_timestamp"
"""What is asked for: the first offset, the end, the record with the latest time. A number is a time: its first record."""

_LEADERLESS = ("_NOENT", "LEADER_NOT_AVAILABLE", BROKER_IS_AWAY)
"""Codes of errors for a partition without a leader, or with one that is away."""


def ask(
    client: Client,
    places: Iterable[Place],
    *wanted: str | int,
    committed: bool = True,
    again_seconds: float | None = None,
) -> list[Answers]:
    """Return what is known of some partitions, for each of what is `wanted`.

    What stands between us and one partition, such as that it has no leader, is an answer. One that has none is asked again
    until the time is up, or for `again_seconds`. committed: as who reads only that; otherwise ends are high watermarks.
    Raises PeerUnreachableError and PermissionDeniedError for what concerns them all.
    """
    places = list(places)
    level = client.kafka.IsolationLevel
    isolation = level.READ_COMMITTED if committed else level.READ_UNCOMMITTED

    def request(keys: list[tuple[str | int, Place]]) -> dict[tuple[str | int, Place], Any]:
        futures = {}
        for one in dict.fromkeys(wanted):
            spec = _spec(client, one)
            some = {client.kafka.TopicPartition(*place): spec for of, place in keys if of == one}
            if some:
                for key, future in client.admin.list_offsets(some, isolation_level=isolation).items():
                    futures[one, (key.topic, key.partition)] = future
        return futures

    found = client.ask(
        request,
        [(one, place) for one in wanted for place in places],
        lambda key: _about(*key[1]),
        again_seconds=again_seconds,
        passes=lambda error: isinstance(error, TryAgainError) or _is_leaderless(error),
    )
    return [{place: _answer(place, found[one, place]) for place in places} for one in wanted]


def log_ends(client: Client, places: Iterable[Place], *, committed: bool = True) -> dict[Place, tuple[int, int, int]]:
    """Return first offset, end and leader epoch, 0 if that is not told, of partitions. Raises the error of the first that has
    none."""
    first, last = ask(client, places, EARLIEST, LATEST, committed=committed)
    for answer in (*first.values(), *last.values()):
        if isinstance(answer, MkError):
            raise answer
    return {place: (first[place].offset, last[place].offset, max(0, last[place].leader_epoch or 0)) for place in first}


def no_leader(topic: str, partition: int) -> TryAgainError:
    """Return the error of a partition that nobody can be asked about."""
    return TryAgainError(
        f"partition {partition} of {topic} has no leader",
        why="the brokers that have its records are away",
        fix=f"`mk topics describe {topic}` shows which; start them again",
        topic=topic,
        partition=partition,
        code="LEADER_NOT_AVAILABLE",
    )


def time_of(answer: Any) -> int | None:
    """Return the time of a record, None if there is none or it is not known, as of brokers before Kafka 3.0."""
    if answer is None or isinstance(answer, MkError) or answer.timestamp < 0:
        return None
    time_ms: int = answer.timestamp
    return time_ms


def _spec(client: Client, wanted: str | int) -> Any:
    spec = client.admin_module.OffsetSpec
    if isinstance(wanted, int):
        return spec.for_timestamp(wanted)
    return {EARLIEST: spec.earliest, LATEST: spec.latest, NEWEST: spec.max_timestamp}[wanted]()


def _about(topic: str, partition: int) -> dict[str, Any]:
    what = f"the offsets of partition {partition} of {topic} cannot be told"
    return {"what": what, "topic": topic, "partition": partition}


def _is_leaderless(error: MkError) -> bool:
    return error.facts.get("code") in _LEADERLESS


def _answer(place: Place, answer: Any) -> Any:
    if isinstance(answer, PermissionDeniedError) and answer.facts.get("code") != "TOPIC_AUTHORIZATION_FAILED":
        raise answer
    return no_leader(*place) if isinstance(answer, MkError) and _is_leaderless(answer) else answer
