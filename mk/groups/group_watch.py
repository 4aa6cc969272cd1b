"""Waiting for a group to commit: told by the kernel where it tells us, by looking again everywhere."""

from __future__ import annotations

from time import sleep

from mk.group_errors import NoSuchGroupError
from mk.groups.claim_directory import CLAIMS, GROUPS, topic_ids
from mk.storage.watch import Watch
from mk.topic_partition import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.log_directory import LogDirectory

_PAUSE_SECONDS = 0.02
"""After each commit. A group that commits record by record would have its watcher look at it all the time."""


class GroupWatch:
    """Wakes when a group may have committed. It need not be there yet."""

    def __init__(self, directory: LogDirectory, group: str) -> None:
        self._directory = directory
        self._group = check_name(group, "group")
        self._watch = Watch([])
        self._watch_claims()

    def __enter__(self) -> GroupWatch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._watch.close()

    def wait(self, timeout_ms: int) -> None:
        """Sleep until the group may have committed, at most `timeout_ms`, and not for long in any case.

        The first look of the caller has to come behind the making of this, so that nothing falls between.
        """
        self._watch.wait(timeout_ms)
        sleep(min(_PAUSE_SECONDS, timeout_ms / 1000))
        self._watch_claims()

    def _watch_claims(self) -> None:
        """Watch what the claims of the group stand in; a topic that it has begun to read is found by its name there."""
        path = f"{self._directory.path}/{GROUPS}/{self._group}/{CLAIMS}"
        self._watch.add_directory(path)
        try:
            for topic_id in topic_ids(self._directory, self._group):
                self._watch.add(f"{path}/{topic_id}")
        except NoSuchGroupError:
            pass
