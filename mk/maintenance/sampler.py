"""A log directory looked at again and again, for whoever watches it live: topics, groups and copies, ready for JSON.

One document a look. Rates are for whoever compares two of them: what is counted in both is comparable as long as a partition's
`run` is the same. Read-only, no lock.
"""

from __future__ import annotations

import time

from mk.clock import now_ms
from mk.errors import MkError, PermissionDeniedError
from mk.groups.group_sampler import GroupSampler
from mk.storage import files
from mk.storage.log_directory import REPLICAS
from mk.storage.topic_sampler import TopicSampler, problem_of, raise_if_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mk.groups.group_sampler import Places
    from mk.storage.log_directory import LogDirectory

    Document = dict[str, Any]


def _any_name(name: str) -> bool:
    return True


class Sampler:
    """Looks at one directory, which stays its opener's to close.

    allows: which topics are looked at, by their names; is_limited: who asks may not know more of groups than what they have
    committed of these.
    """

    def __init__(
        self, directory: LogDirectory, *, allows: Callable[[str], bool] = _any_name, is_limited: bool = False
    ) -> None:
        self._directory = directory
        self._is_limited = is_limited
        self._topics = TopicSampler(directory, allows)
        self._groups = GroupSampler(directory)

    def sample(self, owners_of: str = "") -> Document:
        """Look once. See Cluster.sample for what it returns. Raises NoSuchDirectoryError when it was put aside."""
        self._directory.check_is_in_place()
        clock_ms, time_ms = time.monotonic() * 1000, now_ms()
        unseen: list[Document] = []
        can_see_groups = True
        try:
            self._groups.look(owners_of)
        except (MkError, OSError) as error:
            can_see_groups = False
            self._miss("groups", error, unseen)
        topics = self._topics.look()
        places: Places = {
            (topic.topic_id, partition.partition): (topic.name, partition)
            for topic in topics
            for partition in topic.partitions
        }
        replicas: list[Document] = []
        try:
            replicas = self._replicas(places)
        except (MkError, OSError) as error:
            self._miss("replicas", error, unseen)
        return {
            "directory_id": self._directory.directory_id,
            "clock_ms": clock_ms,
            "time_ms": time_ms,
            "topics": [topic.document() for topic in topics],
            "groups": self._groups.documents(places, is_limited=self._is_limited) if can_see_groups else None,
            "replicas": replicas,
            "unseen": unseen,
        }

    def _miss(self, what: str, error: MkError | OSError, unseen: list[Document]) -> None:
        """Note what cannot be looked at, and why. Raises what is the matter with this process."""
        raise_if_ours(error)
        why = error.why if isinstance(error, PermissionDeniedError) else problem_of(error, self._directory)
        unseen.append({"what": what, "why": why})

    def _replicas(self, places: Places) -> list[Document]:
        if not files.exists(REPLICAS, dir_fd=self._directory.fd):
            return []
        from mk.storage.replica_directory import known_replicas

        found = []
        for known in known_replicas(self._directory):
            for role, ends in (("leader", known.source), ("follower", known.follower)):
                rows: list[Document] = []
                for key, seen in sorted(ends.items()):
                    if key not in places:
                        continue  # It is gone, or nothing to whoever asks.
                    topic, place = places[key]
                    behind = seen.next_offset - place.high_watermark
                    lag = None if place.problem is not None else max(0, behind if role == "leader" else -behind)
                    rows.append(
                        {
                            "topic": topic,
                            "partition": key[1],
                            "next_offset": seen.next_offset,
                            "lag": lag,
                            "seen_ms": seen.seen_ms,
                        }
                    )
                if rows:
                    lags = [row["lag"] for row in rows if row["lag"] is not None]
                    found.append(
                        {
                            "directory_id": known.directory_id,
                            "address": known.address or None,
                            "role": role,
                            "lag": sum(lags) if lags else None,
                            "seen_ms": max(row["seen_ms"] for row in rows),
                            "partitions": rows,
                        }
                    )
        return found
