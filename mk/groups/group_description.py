"""What is known of a group: its members, where it stands in each partition, and how far that is from the end.

Read-only and without a lock, beside members that commit: each partition is as it was at some moment while we looked.
What cannot be told of one partition is said of that one, and keeps nobody from seeing the others.
"""

from __future__ import annotations

import os

from mk.errors import CorruptStateError, DataError, MkError, NotFoundError
from mk.group_errors import NoSuchGroupError
from mk.groups.claim_directory import open_claims, open_group, topic_ids
from mk.groups.claim_slot import NO_OFFSET
from mk.groups.group_members import document_of, live_members, owner_of
from mk.groups.offset_store import stands_at
from mk.storage import files
from mk.storage.log_directory import REPLICAS
from mk.storage.partition_reader import PartitionReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.groups.claim_directory import ClaimDirectory
    from mk.groups.claim_slot import ClaimSlot
    from mk.groups.committed_offset import CommittedOffset
    from mk.groups.member import Member
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

    Document = dict[str, Any]

# The states of a group, in Kafka's words.
EMPTY = "Empty"
STABLE = "Stable"
REBALANCING = "PreparingRebalance"

_OWNER = ("member", "host", "pid", "user", "command", "since_ms")


class GroupDescriber:
    """Describes groups of one directory; what it has found out of the topics serves for all of them."""

    def __init__(self, directory: LogDirectory) -> None:
        self._directory = directory
        self._names_by_id: dict[str, str] | None = None
        self._unreadable: set[str] = set()
        self._replicated: dict[str, dict[tuple[str, int], CommittedOffset]] | None = None

    def describe(self, group: str) -> Document:
        """Return what is known of a group, ready for JSON, also of one that is known from its leader only.

        Raises NoSuchGroupError.
        """
        replicated = self._replicated_offsets().get(group, {})
        try:
            group_fd = open_group(self._directory, group)
            made_ms = os.fstat(group_fd).st_mtime_ns // 1_000_000
            files.close(group_fd)
            members = live_members(self._directory, group)
        except NoSuchGroupError:
            if not replicated:
                raise
            made_ms, members = 0, {}
        offsets: list[Document] = []
        for topic_id in topic_ids(self._directory, group):
            claims = open_claims(self._directory, group, topic="", topic_id=topic_id)
            if claims is not None:
                try:
                    offsets += self._describe_claims(claims, members)
                finally:
                    claims.close()
        self._add_replicated(offsets, replicated)
        offsets.sort(key=lambda row: (row["topic"], row["topic_id"], row["partition"]))
        documents = [self._describe_member(document_of(*member), offsets) for member in members.items()]
        documents.sort(key=lambda member: (member["since_ms"] or 0, member["member"]))
        lags = [row["lag"] for row in offsets if row["lag"] is not None]
        return {
            "group": group,
            "state": self._state(members, offsets),
            "members": documents,
            "topics": list(dict.fromkeys(row["topic"] for row in offsets if row["topic"])),
            "lag": sum(lags) if lags else None,
            "last_commit_ms": max((row["committed_ms"] or 0 for row in offsets), default=made_ms),
            "offsets": offsets,
        }

    def _replicated_offsets(self) -> dict[str, dict[tuple[str, int], CommittedOffset]]:
        if self._replicated is None:
            self._replicated = {}
            if files.exists(REPLICAS, dir_fd=self._directory.fd):
                from mk.groups.replicated_offsets import replicated_groups

                self._replicated = replicated_groups(self._directory)
        return self._replicated

    def _add_replicated(self, offsets: list[Document], replicated: dict[tuple[str, int], CommittedOffset]) -> None:
        """Add where the group begins that has committed nothing here, and has in the directory that leads."""
        own = {(row["topic_id"], row["partition"]): row for row in offsets}
        for (topic_id, partition), offset in replicated.items():
            row = own.get((topic_id, partition))
            if row is not None and (row["committed_offset"] is not None or row["problem"]):
                continue
            topic = self._open_topic(topic_id, "")
            if topic is None:
                continue  # It is gone here, and what is known of its groups means nothing.
            try:
                described = self._describe_offset(offset.group, topic, partition, offset, is_gone=False)
                name = topic.name
            finally:
                topic.close()
            described["is_replicated"] = True
            if row is not None:
                row.update(described)
            else:
                place = {"topic": name, "topic_id": topic_id, "partition": partition}
                offsets.append({**place, **described, **dict.fromkeys(_OWNER)})

    def _describe_claims(self, claims: ClaimDirectory, members: dict[str, Member | None]) -> list[Document]:
        rows = []
        partitions = claims.generations()
        slots: dict[int, ClaimSlot | MkError | None] = {}
        for partition in partitions:
            try:
                slots[partition] = claims.newest(partition, partitions[partition])
            except CorruptStateError as error:
                slots[partition] = error
        name = next((slot.topic for slot in slots.values() if slot is not None and not isinstance(slot, MkError)), "")
        topic = self._open_topic(claims.topic_id, name)
        try:
            if topic is not None:
                claims.topic = topic.name
            for partition, slot in slots.items():
                if slot is None:
                    continue  # Deleted while we looked.
                row = {
                    "topic": topic.name if topic is not None else name,
                    "topic_id": claims.topic_id,
                    "partition": partition,
                    **self._describe_offset(
                        claims.group, topic, partition, slot, is_gone=self._is_gone(claims.topic_id, name, topic)
                    ),
                }
                owner = owner_of(claims, partition, partitions[partition][-1], members)
                owned = document_of(owner, members[owner]) if owner else {}
                rows.append({**row, **{key: owned.get(key) for key in _OWNER}})
        finally:
            if topic is not None:
                topic.close()
        return rows

    def _describe_offset(
        self,
        group: str,
        topic: Topic | None,
        partition: int,
        slot: ClaimSlot | CommittedOffset | MkError,
        *,
        is_gone: bool,
    ) -> Document:
        """Return where the group stands in one partition, and what is the matter with that.

        stands_at: the committed offset, or less: as far as the log that is there is the one that the group has read.
        is_replicated: committed in the directory that leads, and not here.
        """
        row: Document = dict.fromkeys(
            ("committed_offset", "stands_at", "leader_epoch", "sequence", "log_start_offset", "high_watermark", "lag")
        )
        row.update(committed_ms=None, topic_is_gone=is_gone, is_replicated=False, problem=None)
        if isinstance(slot, MkError):
            row["problem"] = f"{slot.what}: {slot.why}"
        else:
            row["committed_ms"] = slot.time_ms
            row["sequence"] = getattr(slot, "sequence", None)
            if slot.offset != NO_OFFSET:
                row["committed_offset"] = row["stands_at"] = slot.offset
                row["leader_epoch"] = slot.leader_epoch
        if topic is None:
            what = "the topic is gone" if is_gone else "the topic cannot be read"
            row["problem"] = what + (f"; {row['problem']}" if row["problem"] else "")
            return row
        try:
            reader = PartitionReader(topic, partition)
            try:
                row["log_start_offset"] = reader.log_start_offset
                row["high_watermark"] = reader.high_watermark
                if not isinstance(slot, MkError):
                    self._compare(group, topic, slot, reader, row)
            finally:
                reader.close()
        except (DataError, NotFoundError) as error:
            row["problem"] = f"{error.what}: {error.why}" if error.why else error.what
        return row

    @staticmethod
    def _compare(
        group: str, topic: Topic, slot: ClaimSlot | CommittedOffset, reader: PartitionReader, row: Document
    ) -> None:
        """Add to a row how far behind the end of its log it is, or that it is not an offset of it."""
        if slot.offset == NO_OFFSET:
            row["lag"] = reader.high_watermark - reader.log_start_offset
            return
        offset = stands_at(group, slot, reader)
        row["high_watermark"] = reader.high_watermark
        row["stands_at"] = offset
        if offset < slot.offset:
            row["problem"] = f"the log is the one that the group has read up to offset {offset} only: records were lost"
            return
        if offset < reader.log_start_offset:
            row["problem"] = f"offsets {offset} to {reader.log_start_offset - 1} were removed before they were read"
        row["lag"] = reader.high_watermark - max(offset, reader.log_start_offset)

    def _open_topic(self, topic_id: str, name: str) -> Topic | None:
        """Open the topic of that id; `name` is what it was called once. None if it is gone."""
        topic = self._open_if_it_is(name, topic_id) if name else None
        if topic is None:
            if self._names_by_id is None:
                self._names_by_id = self._topic_names()
            name = self._names_by_id.get(topic_id, "")
            topic = self._open_if_it_is(name, topic_id) if name else None
        return topic

    def _is_gone(self, topic_id: str, name: str, topic: Topic | None) -> bool:
        """Tell whether a topic that could not be opened is gone for good. As long as it lives it has locks."""
        if topic is not None or files.exists(f"locks/{topic_id}", dir_fd=self._directory.fd):
            return False
        return name not in self._unreadable

    def _open_if_it_is(self, name: str, topic_id: str) -> Topic | None:
        try:
            topic = self._directory.open_topic(name)
        except (MkError, OSError):
            return None
        if topic.topic_id == topic_id:
            return topic
        topic.close()
        return None

    def _topic_names(self) -> dict[str, str]:
        found = {}
        for name in self._directory.topic_names():
            try:
                topic = self._directory.open_topic(name)
            except (MkError, OSError):
                self._unreadable.add(name)  # Which one it is cannot be told.
                continue
            found[topic.topic_id] = name
            topic.close()
        return found

    @staticmethod
    def _describe_member(document: Document, offsets: list[Document]) -> Document:
        owned: dict[str, list[int]] = {}
        for row in offsets:
            if row["member"] == document["member"]:
                owned.setdefault(row["topic"], []).append(row["partition"])
        document["partitions"] = sum(map(len, owned.values()))
        document["assignment"] = [f"{topic}:{','.join(map(str, owned[topic]))}" for topic in owned]
        return document

    def _state(self, members: dict[str, Member | None], offsets: list[Document]) -> str:
        if not members:
            return EMPTY
        owned = {(row["topic_id"], row["partition"]) for row in offsets if row["member"]}
        for member in members.values():
            for topic_id, name in member.topics.items() if member is not None else ():
                for partition in range(self._partitions(topic_id, name)):
                    if member is not None and member.takes(topic_id, partition) and (topic_id, partition) not in owned:
                        return REBALANCING
        return STABLE

    def _partitions(self, topic_id: str, name: str) -> int:
        topic = self._open_topic(topic_id, name)
        if topic is None:
            return 0
        topic.close()
        return topic.partitions
