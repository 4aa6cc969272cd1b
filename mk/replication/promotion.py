"""Making this directory the leader of what it follows, when the leader is lost.

First a plan, from what is known without a lock. Then, partition by partition, a higher leader epoch, by which the old leader
is fenced as soon as it hears of it; then the groups that have committed less here than they had there get those offsets.
Killed in between, the next run goes on: what leads is left as it is, and what was kept of a group's offsets is forgotten
only once they are committed here.
Source: man/mk-guarantees.7, FAILING OVER. Idea: KIP-101.
"""

from __future__ import annotations

from mk.errors import MkError, TryAgainError
from mk.group_errors import GroupNotEmptyError
from mk.groups.claim_directory import open_claims
from mk.groups.claim_slot import NO_OFFSET
from mk.groups.offset_reset import OffsetChange, change_offsets
from mk.groups.offset_store import stands_at
from mk.groups.replicated_offsets import forget_offsets, replicated_groups
from mk.storage.follower_log import FollowerLog
from mk.storage.partition_reader import PartitionReader
from mk.storage.replica_directory import forget_source, known_replicas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from mk.groups.committed_offset import CommittedOffset
    from mk.storage.log_directory import LogDirectory
    from mk.storage.replica_directory import KnownReplica
    from mk.storage.topic import Topic

    Document = dict[str, Any]
    Key = tuple[str, int]

_SHOWN = 10

KIND = "promote"
"""What the change is called in the journals of groups."""


class Promotion:
    """What one run does. plan, groups: documents ready for JSON, `plan` by topic and partition; see PLAN and GROUP below.

    A plan's row: topic, topic_id, partition, leads (it does already: nothing is done), old_leader and its address,
    seen_next_offset and seen_ms (where its log ended, None if that was never told), next_offset (where it ends here), behind
    (records that it lacks), leader_epoch (as it is), new_epoch (as it is to be; what was made in the end, once it is).
    A group's: group, topic, topic_id, partition, committed_offset (here, None if none), new_offset, problem (why it was left).
    """

    def __init__(self, directory: LogDirectory, names: Sequence[str] | None, *, wait_ms: int = 10_000) -> None:
        """Make the plan, for these topics, or for all in which this directory does not lead every partition."""
        self._directory = directory
        self._wait_ms = wait_ms
        self._known = known_replicas(directory)
        self._names: dict[str, str] = {}
        self.plan: list[Document] = []
        self.groups: list[Document] = []
        self.failures: list[MkError] = []
        for name in directory.topic_names() if names is None else names:
            try:
                topic = directory.open_topic(name)
            except MkError as error:
                if names is not None:
                    raise
                self.failures.append(error)
                continue
            try:
                rows = [self._plan_partition(topic, partition) for partition in range(topic.partitions)]
            except MkError as error:
                if names is not None:
                    raise
                self.failures.append(error)
                continue
            finally:
                topic.close()
            if names is not None or not all(row["leads"] for row in rows):
                self.plan += rows
            self._names[topic.topic_id] = topic.name
        self._is_for_all = names is None

    def _plan_partition(self, topic: Topic, partition: int) -> Document:
        latest = topic.read_epochs(partition).latest
        leads = latest.leader_id == self._directory.directory_id
        reader = PartitionReader(topic, partition)
        try:
            end = reader.high_watermark
        finally:
            reader.close()
        leader = self._replica(latest.leader_id)
        seen = None if leader is None else leader.source.get((topic.topic_id, partition))
        return {
            "topic": topic.name,
            "topic_id": topic.topic_id,
            "partition": partition,
            "leads": leads,
            "old_leader": None if leads else latest.leader_id,
            "old_address": None if leads or leader is None else leader.address or None,
            "seen_next_offset": None if leads or seen is None else seen.next_offset,
            "seen_ms": None if leads or seen is None else seen.seen_ms,
            "next_offset": end,
            "behind": 0 if leads or seen is None else max(0, seen.next_offset - end),
            "leader_epoch": latest.epoch,
            "new_epoch": latest.epoch if leads else ((latest.epoch >> 32) + 1) << 32,
        }

    def _replica(self, directory_id: str) -> KnownReplica | None:
        return next((replica for replica in self._known if replica.directory_id == directory_id), None)

    @property
    def to_do(self) -> list[Document]:
        """The rows of partitions that are led by somebody else."""
        return [row for row in self.plan if not row["leads"]]

    def check_not_behind(self) -> None:
        """Raise TryAgainError if the leader was seen to have records that this directory lacks."""
        behind = [row for row in self.to_do if row["behind"]]
        if behind:
            count = sum(row["behind"] for row in behind)
            lacks = [f"partition {row['partition']} of {row['topic']} lacks {row['behind']}" for row in behind]
            raise TryAgainError(
                f"this directory lacks {count} {'record' if count == 1 else 'records'} that the leader was seen to have",
                why="; ".join(lacks[:_SHOWN]) + ("; and more" if len(lacks) > _SHOWN else ""),
                fix="if the leader can be reached, `mk replicate` brings them; if it is lost, --force goes on without "
                "them; nothing was changed",
                behind=count,
            )

    def promote(self, on_promoted: Callable[[Document], None] | None = None) -> None:
        """Have this directory lead, and the groups go on here. What is refused is among `failures`, and the rest is done."""
        for row in self.to_do:
            try:
                row["new_epoch"] = self._promote_partition(row)
            except MkError as error:
                self.failures.append(error)
                continue
            row["leads"] = True
            if on_promoted is not None:
                on_promoted(row)
        self.plan_groups()
        self._adopt_groups()
        forget_source(self._directory, [(row["topic_id"], row["partition"]) for row in self.plan if row["leads"]])

    def _promote_partition(self, row: Document) -> int:
        topic = self._directory.open_topic(row["topic"])
        try:
            log = FollowerLog(topic, row["partition"], lock_wait_ms=self._wait_ms)
            try:
                return log.promote()
            finally:
                log.close()
        finally:
            topic.close()

    # Groups.

    def plan_groups(self) -> None:
        """Find out which groups stood further in the old leader's directory than they do here.

        Of the partitions of the plan; and where all was asked for, also of those that lead already, in case the run that
        promoted them was killed before it came to the groups.
        """
        wanted = {(row["topic_id"], row["partition"]): row["leads"] for row in self.plan}
        ids = self._names if self._is_for_all else {row["topic_id"] for row in self.plan}
        self.groups = []
        for _, offsets in sorted(replicated_groups(self._directory, ids).items()):
            for key in sorted(offsets):
                if key in wanted or (self._is_for_all and self._leads(key)):
                    self.groups.append(self._plan_group(offsets[key]))

    def _leads(self, key: Key) -> bool:
        topic = self._directory.open_topic(self._names[key[0]])
        try:
            return topic.read_epochs(key[1]).latest.leader_id == self._directory.directory_id
        finally:
            topic.close()

    def _plan_group(self, offset: CommittedOffset) -> Document:
        topic = self._directory.open_topic(self._names[offset.topic_id])
        try:
            reader = PartitionReader(topic, offset.partition)
            try:
                there = stands_at(offset.group, offset, reader)
                own, here = self._own_offset(topic, offset.group, reader)
            finally:
                reader.close()
        finally:
            topic.close()
        return {
            "group": offset.group,
            "topic": topic.name,
            "topic_id": offset.topic_id,
            "partition": offset.partition,
            "committed_offset": own,
            "new_offset": there if here is None or here < there else own,
            "problem": None,
        }

    def _own_offset(self, topic: Topic, group: str, reader: PartitionReader) -> tuple[int | None, int | None]:
        """Return what a group has committed here, and up to where that is of the log that is there; None for nothing."""
        try:
            claims = open_claims(self._directory, group, topic=topic.name, topic_id=topic.topic_id)
        except MkError:
            return None, None
        if claims is None:
            return None, None
        try:
            slot = claims.newest(reader.partition)
        finally:
            claims.close()
        if slot is None or slot.offset == NO_OFFSET:
            return None, None
        return slot.offset, stands_at(group, slot, reader)

    def _adopt_groups(self) -> None:
        leading = {(row["topic_id"], row["partition"]) for row in self.plan if row["leads"]}
        planned = {(row["topic_id"], row["partition"]) for row in self.plan}
        for group in dict.fromkeys(row["group"] for row in self.groups):
            rows = [row for row in self.groups if row["group"] == group]
            # Not of a partition whose promotion was refused.
            rows = [
                row for row in rows if (key := (row["topic_id"], row["partition"])) in leading or key not in planned
            ]
            changes = [
                OffsetChange(
                    row["topic"],
                    row["topic_id"],
                    row["partition"],
                    NO_OFFSET if row["committed_offset"] is None else row["committed_offset"],
                    row["new_offset"],
                )
                for row in rows
                if row["new_offset"] != row["committed_offset"]
            ]
            try:
                if changes:
                    change_offsets(self._directory, group, changes, kind=KIND, wait_ms=self._wait_ms)
                # Only behind that: killed before it, the next run finds them again. And they must not stay: a group that is
                # reset later on would be moved forward by the next promotion.
                forget_offsets(self._directory, group, [(row["topic_id"], row["partition"]) for row in rows])
            except MkError as error:
                if not isinstance(error, GroupNotEmptyError):
                    self.failures.append(error)
                for row in rows:
                    row["problem"] = f"{error.what}: {error.why}" if error.why else error.what
