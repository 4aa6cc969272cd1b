"""The groups of a log directory looked at again and again: who is a member, and how far they have committed.

Commits overwrite a claim in place, and a new generation is a new name: what stat says is unchanged is not read again, as in
topic_sampler. Read-only, beside members that commit. How far behind the end that is, is for whoever knows where logs end.
"""

from __future__ import annotations

import os

from mk.errors import CorruptStateError, MkError
from mk.group_errors import NoSuchGroupError
from mk.groups.claim_directory import CLAIMS, GROUPS, claim_name, group_names, open_claims, topic_ids
from mk.groups.claim_slot import NO_OFFSET
from mk.groups.group_members import document_of, live_members, owner_of
from mk.storage import files
from mk.storage.log_directory import REPLICAS
from mk.storage.retention import GroupOffset
from mk.storage.topic_sampler import Unchanged, problem_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from mk.groups.claim_directory import ClaimDirectory
    from mk.groups.claim_slot import ClaimSlot
    from mk.groups.committed_offset import CommittedOffset
    from mk.groups.member import Member
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic_sampler import SampledPartition

    Document = dict[str, Any]
    Committed = ClaimSlot | CommittedOffset | MkError
    Places = Mapping[tuple[str, int], tuple[str, SampledPartition]]


class _Claims:
    """What a group has committed of one topic, as of the last look."""

    __slots__ = ("_generations", "_place", "_read", "_seen", "slots", "topic_id")

    def __init__(self, group: str, topic_id: str) -> None:
        self.topic_id = topic_id
        self._place = f"{GROUPS}/{group}/{CLAIMS}/{topic_id}"
        self._seen: Unchanged | None = None
        self._generations: dict[int, list[int]] = {}
        self._read: dict[int, Unchanged] = {}
        self.slots: dict[int, ClaimSlot | MkError] = {}

    def look(
        self, directory: LogDirectory, group: str, *, owner: Callable[[ClaimDirectory, int, int], None] | None
    ) -> bool:
        """Look again; False if the group has nothing there any more. owner: told of each newest generation."""
        claims: ClaimDirectory | None = None
        try:
            status = os.stat(self._place, dir_fd=directory.fd, follow_symlinks=False)
            if self._seen is None or not self._seen.is_so(status) or owner is not None:
                claims = open_claims(directory, group, topic="", topic_id=self.topic_id)
                if claims is None:
                    return False
                self._seen = Unchanged(status)
                self._generations = claims.generations()
                self._read = {number: seen for number, seen in self._read.items() if number in self._generations}
                self.slots = {number: slot for number, slot in self.slots.items() if number in self._generations}
            for partition, generations in self._generations.items():
                place = f"{self._place}/{claim_name(partition, generations[-1])}"
                status = os.stat(place, dir_fd=directory.fd, follow_symlinks=False)
                seen = self._read.get(partition)
                if seen is None or not seen.is_so(status):
                    if claims is None:
                        claims = open_claims(directory, group, topic="", topic_id=self.topic_id)
                        if claims is None:
                            return False
                    self._look_at_claim(claims, partition, generations, Unchanged(status))
                if owner is not None and claims is not None:
                    owner(claims, partition, generations[-1])
        except (FileNotFoundError, NotADirectoryError, NoSuchGroupError):
            # Deleted, or there is a new generation since the listing: all anew the next time.
            self._seen = None
        finally:
            if claims is not None:
                claims.close()
        return True

    def _look_at_claim(self, claims: ClaimDirectory, partition: int, generations: list[int], seen: Unchanged) -> None:
        self._read.pop(partition, None)
        try:
            slot = claims.newest(partition, generations)
        except CorruptStateError as error:
            self.slots[partition] = error
            self._read[partition] = seen
            return
        if slot is None:
            self.slots.pop(partition, None)
            return
        self.slots[partition] = slot
        if slot.generation == generations[-1]:
            self._read[partition] = (
                seen  # Otherwise the newest one is empty as yet, and an older one counts that may be written to.
            )


class GroupSampler:
    """Looks at the groups of a directory: first at what they have committed, then it tells how that stands to the logs.

    In this order: an end that is looked at later is never short of what a group has read by then.
    """

    def __init__(self, directory: LogDirectory) -> None:
        self._directory = directory
        self._claims: dict[str, dict[str, _Claims]] = {}
        self._members: dict[str, dict[str, Member | None]] = {}
        self._problems: dict[str, str] = {}
        self._owners: dict[tuple[str, int], str] = {}
        self._replicated: dict[str, dict[tuple[str, int], CommittedOffset]] = {}

    def look(self, owners_of: str = "") -> None:
        """Look at all groups again. owners_of: the group of which it is also asked who owns which partition.

        Raises PermissionDeniedError where the groups are closed to this process.
        """
        directory = self._directory
        names = group_names(directory)
        self._replicated = {}
        if files.exists(REPLICAS, dir_fd=directory.fd):
            from mk.groups.replicated_offsets import replicated_groups

            self._replicated = replicated_groups(directory)
        self._problems, self._owners = {}, {}
        self._claims = {name: self._claims.get(name, {}) for name in sorted({*names, *self._replicated})}
        self._members = dict.fromkeys(self._claims, {})
        for group in names:
            try:
                self._members[group] = live_members(directory, group)
                self._look_at_claims(group, is_asked_for_owners=group == owners_of)
            except (MkError, OSError) as error:
                self._problems[group] = problem_of(error, directory)

    def _look_at_claims(self, group: str, *, is_asked_for_owners: bool) -> None:
        before = self._claims[group]
        found = self._claims[group] = {}
        members = self._members[group]

        def own(claims: ClaimDirectory, partition: int, generation: int) -> None:
            self._owners[claims.topic_id, partition] = owner_of(claims, partition, generation, members)

        for topic_id in topic_ids(self._directory, group):
            claims = before.get(topic_id) or _Claims(group, topic_id)
            if claims.look(self._directory, group, owner=own if is_asked_for_owners else None):
                found[topic_id] = claims

    def documents(self, places: Places, *, is_limited: bool = False) -> list[Document]:
        """Return what is known of the groups, ready for JSON. places: of each partition its topic's name and where it ends.

        What was committed of other topics is left out. is_limited: and so are groups that have nothing in these, and who
        the members are.
        """
        found = []
        for group, by_topic in self._claims.items():
            committed: dict[tuple[str, int], Committed] = {
                (topic_id, partition): slot
                for topic_id, claims in by_topic.items()
                for partition, slot in claims.slots.items()
            }
            replicated = self._replicated.get(group, {})
            for key, offset in replicated.items():
                own = committed.get(key)
                # It begins where it stood in the directory that leads, as long as it has committed nothing here.
                if own is None or (not isinstance(own, MkError) and own.offset == NO_OFFSET):
                    committed[key] = offset
            rows = [
                self._row(group, key, committed[key], *places[key], is_replicated=committed[key] is replicated.get(key))
                for key in committed
                if key in places
            ]
            if is_limited and not rows:
                continue
            rows.sort(key=lambda row: (row["topic"], row["partition"]))
            members = [
                document_of(member_id, None if is_limited else member)
                for member_id, member in self._members[group].items()
            ]
            members.sort(key=lambda member: (member["since_ms"] or 0, member["member"]))
            lags = [row["lag"] for row in rows if row["lag"] is not None]
            found.append(
                {
                    "group": group,
                    "members": members,
                    "lag": sum(lags) if lags else None,
                    "last_commit_ms": max((row["committed_ms"] or 0 for row in rows), default=0) or None,
                    "problem": self._problems.get(group),
                    "offsets": rows,
                }
            )
        return found

    def _row(
        self,
        group: str,
        key: tuple[str, int],
        committed: Committed,
        topic: str,
        place: SampledPartition,
        *,
        is_replicated: bool,
    ) -> Document:
        row: Document = {
            "topic": topic,
            "topic_id": key[0],
            "partition": key[1],
            "committed_offset": None,
            "committed_ms": None,
            "lag": None,
            "is_replicated": is_replicated,
            "member": self._owners.get(key) or None,
            "problem": place.problem,
        }
        if isinstance(committed, MkError):
            row["problem"] = problem_of(committed, self._directory)
            return row
        row["committed_ms"] = committed.time_ms
        start, end = place.log_start_offset, place.high_watermark
        if committed.offset < 0:
            row["lag"] = end - start if place.problem is None else None
            return row
        row["committed_offset"] = committed.offset
        if place.problem is None:
            offset = GroupOffset(group, committed.offset, committed.leader_epoch)
            stands_at = min(offset.in_log(place.end_of_epoch), end)
            row["lag"] = max(0, end - max(stands_at, start))
            if stands_at < committed.offset:
                row["problem"] = (
                    f"the log is the one that the group has read up to offset {stands_at} only: records were lost"
                )
            elif stands_at < start:
                row["problem"] = f"offsets {stands_at} to {start - 1} were removed before they were read"
        return row
