"""What there is to know of the health of groups: how far they are behind, who is a member, and who only seems to be one.

A member is stale whose lock is held and whose heartbeat has not moved for its session time-out. Members time each other's
heartbeats on clocks of their own; one look cannot, and goes by when the file was written last. So it is told, and nothing
is done about it. Read-only, beside members that commit.
"""

from __future__ import annotations

import os

from mk.errors import CorruptStateError, MkError
from mk.group_errors import NoSuchGroupError
from mk.groups.claim_directory import group_names, open_claims, open_group_directory, topic_ids
from mk.groups.claim_slot import NO_OFFSET
from mk.groups.group_members import who
from mk.groups.member import is_member_id
from mk.groups.membership import MEMBERS, held_members
from mk.storage import files
from mk.storage.log_directory import REPLICAS
from mk.storage.retention import GroupOffset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.groups.claim_directory import ClaimDirectory
    from mk.groups.claim_slot import ClaimSlot
    from mk.groups.committed_offset import CommittedOffset
    from mk.groups.member import Member
    from mk.maintenance.health import HealthLook, Place
    from mk.storage.log_directory import LogDirectory

    Document = dict[str, Any]
    Key = tuple[str, int]
    Committed = ClaimSlot | CommittedOffset | MkError

_SESSION_TIMEOUT_MS = 10_000
"""Of a member whose file does not say who it is."""


class GroupClaims:
    """What groups have committed, read before anybody looks where the logs end.

    Raises:
        NoSuchGroupError: a group that is named is not there.
        PermissionDeniedError: the groups are closed to this process.
    """

    def __init__(self, directory: LogDirectory, names: Sequence[str]) -> None:
        self._directory = directory
        self._named = bool(names)
        self._replicated: dict[str, dict[Key, CommittedOffset]] = {}
        if files.exists(REPLICAS, dir_fd=directory.fd):
            from mk.groups.replicated_offsets import replicated_groups

            self._replicated = replicated_groups(directory)
        there = group_names(directory)
        for name in names:
            if name not in there and name not in self._replicated:
                raise NoSuchGroupError(group=name, directory=directory.path)
        self._paths: dict[tuple[str, str], str] = {}
        self._committed: dict[str, dict[Key, Committed]] = {}
        self._fenced: dict[str, set[str]] = {}
        for group in dict.fromkeys(names) if names else there:
            self._fenced[group] = set()
            self._committed[group] = self._read(group) if group in there else {}
            for key, offset in self._replicated.get(group, {}).items():
                # It begins where it stood in the directory that leads, as long as it has committed nothing here.
                own = self._committed[group].get(key)
                if own is None or (not isinstance(own, MkError) and own.offset == NO_OFFSET):
                    self._committed[group][key] = offset

    def keys(self) -> set[Key]:
        """Return the partitions, by topic id and number, that the groups have read."""
        return {key for committed in self._committed.values() for key in committed}

    def _read(self, group: str) -> dict[Key, Committed]:
        found: dict[Key, Committed] = {}
        for topic_id in topic_ids(self._directory, group):
            try:
                claims = open_claims(self._directory, group, topic="", topic_id=topic_id)
            except NoSuchGroupError:
                return {}  # Deleted while we looked.
            if claims is None:
                continue
            self._paths[group, topic_id] = claims.path
            try:
                for partition, generations in claims.generations().items():
                    try:
                        slot = claims.newest(partition, generations)
                    except CorruptStateError as error:
                        found[topic_id, partition] = error
                        continue
                    if slot is not None:
                        found[topic_id, partition] = slot
                    self._note_fenced(group, claims, partition, generations[:-1])
            finally:
                claims.close()
        return found

    def _note_fenced(self, group: str, claims: ClaimDirectory, partition: int, older: list[int]) -> None:
        """Note who still holds a claim that another member has taken: it is stopped, or it would have let go."""
        for generation in older:
            if claims.is_held(partition, generation):
                self._fenced[group].add(claims.owner(partition, generation))

    def describe(self, look: HealthLook, topics: Sequence[str]) -> list[Document]:
        """Return what is known of the groups, given the partitions that `look` has seen; damaged claims are told to it.

        topics: only where the groups stand in these, and only groups that have read one of them, unless they are named.
        """
        found = []
        for group, committed in self._committed.items():
            rows = []
            for key in sorted(committed):
                place = look.places.get(key)
                if place is None and topics:
                    continue
                row = self._row(look, group, key, committed[key], place)
                if row is not None:
                    rows.append(row)
            if topics and not rows and not self._named:
                continue
            lags = [row["lag"] for row in rows if row["lag"] is not None]
            found.append(
                {
                    "group": group,
                    "lag": sum(lags) if lags else None,
                    "partition_lag": max(lags, default=None),
                    "missed": sum(row["missed"] for row in rows),
                    **self._members(look, group),
                    "offsets": rows,
                }
            )
        return found

    def _row(
        self, look: HealthLook, group: str, key: Key, committed: Committed, place: Place | None
    ) -> Document | None:
        """Return where a group stands in one partition; None if the topic is gone, so that it means nothing any more."""
        topic = look.names.get(key[0])
        if topic is None and not files.exists(f"locks/{key[0]}", dir_fd=self._directory.fd):
            return None
        row: Document = {
            "topic": topic,
            "topic_id": key[0],
            "partition": key[1],
            "committed_offset": None,
            "committed_ms": None,
            "lag": None,
            "missed": 0,
        }
        if isinstance(committed, MkError):
            path = str(committed.facts.get("path") or self._paths[group, key[0]])
            look.note_damage(path, committed.why, topic=topic, partition=key[1], group=group)
            return row
        row["committed_ms"] = committed.time_ms
        if committed.offset != NO_OFFSET:
            row["committed_offset"] = committed.offset
        start, end = (None, None) if place is None else (place.start_offset, place.end_offset)
        if place is None or start is None or end is None:
            return row
        if committed.offset == NO_OFFSET:
            row["lag"] = end - start
            return row
        stands_at = committed.offset
        if place.epochs is not None and place.state is not None:
            offset = GroupOffset(group, committed.offset, committed.leader_epoch)
            stands_at = offset.in_log(place.epochs.ends(place.state.cuts, place.state.cut_offset))
        if place.end_is_known:
            # Beyond the end, it has read records that were lost. Not so where the end is only known to be there or later.
            stands_at = min(stands_at, end)
        row["missed"] = max(0, start - stands_at) + committed.offset - stands_at
        row["lag"] = max(0, end - max(stands_at, start))
        return row

    def _members(self, look: HealthLook, group: str) -> Document:
        try:
            fd = open_group_directory(self._directory, [group, MEMBERS])
        except FileNotFoundError:
            return {"members": 0, "stale_members": [], "dead_members": 0}
        try:
            held = held_members(fd)
            stale = [
                who(member_id, member)
                for member_id, member in held.items()
                if member_id in self._fenced[group] or _is_silent(fd, member_id, member, look.now_ms)
            ]
            files_there = sum(map(is_member_id, os.listdir(fd)))
        finally:
            files.close(fd)
        return {"members": len(held), "stale_members": stale, "dead_members": max(0, files_there - len(held))}


def _is_silent(fd: int, member_id: str, member: Member | None, now_ms: int) -> bool:
    timeout_ms = _SESSION_TIMEOUT_MS if member is None else member.session_timeout_ms
    try:
        beaten_ms = os.stat(member_id, dir_fd=fd, follow_symlinks=False).st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return False  # It has left.
    return now_ms - beaten_ms > timeout_ms
