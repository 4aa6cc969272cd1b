"""Where groups go on in a topic that holds another one's records in other partitions.

A group has read up to an offset of each partition there. Here that is no place: what it has read stands between what it has not.
So it goes on in each partition at the first record that it has not read, and gets some again; none is skipped.
"""

from __future__ import annotations

from mk.errors import MkError, TryAgainError
from mk.groups.claim import take
from mk.groups.claim_directory import make_claims
from mk.groups.offset_store import committed_offset, epoch_before, known_groups
from mk.storage.host import allow_open_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mk.storage.partition_reader import PartitionReader
    from mk.storage.topic import Topic

_FILES_OF_A_GROUP = 8


class RehashedOffsets:
    """Finds those offsets while the records are produced, each to be told of in the order of its old and its new partition."""

    __slots__ = ("_counts", "_first", "_pending", "_waiting")

    def __init__(self, stands: Mapping[str, Sequence[int]], partitions: int) -> None:
        """stands: of each group, up to where it has read each old partition. partitions: how many new ones there are."""
        self._counts = [0] * partitions
        self._first: dict[str, dict[int, int]] = {group: {} for group in stands}
        old = len(next(iter(stands.values()), ()))
        # Of each old partition: the groups that have still read what comes, the first to be through last; and those that have
        # not, as long as there is a new partition in which they have no place yet.
        self._pending = [
            sorted(((offsets[at], group) for group, offsets in stands.items()), reverse=True) for at in range(old)
        ]
        self._waiting: list[list[str]] = [[] for _ in range(old)]

    def produced(self, old: int, offsets: Iterable[int], new: Sequence[int]) -> None:
        """Take note of records of one old partition, ascending, each with the partition that it goes to now."""
        counts, pending, waiting = self._counts, self._pending[old], self._waiting[old]
        for offset, partition in zip(offsets, new):
            while pending and pending[-1][0] <= offset:
                waiting.append(pending.pop()[1])
            if waiting:
                self._note(waiting, partition)
            counts[partition] += 1

    def _note(self, waiting: list[str], partition: int) -> None:
        is_complete = False
        for group in waiting:
            first = self._first[group]
            if partition not in first:
                first[partition] = self._counts[partition]
                is_complete = True
        if is_complete:
            waiting[:] = [group for group in waiting if len(self._first[group]) < len(self._counts)]

    def of(self, group: str) -> list[int]:
        """Return where a group goes on in each new partition: at its end, if it has read all of it."""
        first = self._first[group]
        return [first.get(partition, end) for partition, end in enumerate(self._counts)]


def stands_of_groups(topic: Topic, readers: Sequence[PartitionReader]) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Return up to where each group has read the partitions of a topic, and of those of which that cannot be told, why.

    readers: one of each partition. Of a partition of which a group has committed nothing it has read nothing. Groups that have
    committed nothing at all are left out.
    """
    stands: dict[str, list[int]] = {}
    problems: dict[str, str] = {}
    for group in known_groups(topic.directory):
        try:
            offsets = [committed_offset(topic, group, reader) for reader in readers]
        except MkError as error:
            problems[group] = f"{error.what}: {error.why}" if error.why else error.what
            continue
        if any(offset is not None for offset in offsets):
            stands[group] = [offset or 0 for offset in offsets]
    return stands, problems


def commit_beforehand(topic: Topic, name: str, group: str, offsets: Sequence[int]) -> None:
    """Commit where a group goes on in a topic that nobody can see yet, and that will have this name; on disk on return.

    Members may live: none can have claimed anything of it.
    """
    allow_open_files(_FILES_OF_A_GROUP)
    claims = make_claims(topic, group)
    claims.topic = name
    try:
        listed = claims.generations()
        for partition, offset in enumerate(offsets):
            claim = take(claims, partition, listed.get(partition, []))
            if claim is None:
                raise TryAgainError(f"partition {partition} of {name} is owned by somebody in group {group} already")
            try:
                claim.commit(offset, epoch_before(topic, partition, offset))
            finally:
                claim.close()
    finally:
        claims.close()
