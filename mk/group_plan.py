"""Planning where a group is to stand: what is asked for, held against what its logs hold and where it stands now.

Whoever has a plan carried out has it compared again, while nobody can commit, with what it was made from: see
mk.groups.offset_reset.
"""

from __future__ import annotations

from mk.errors import NoSuchPartitionError, UsageError
from mk.group_errors import NoSuchGroupError
from mk.groups.offset_reset import OffsetChange
from mk.topic_partition import check_name_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from mk.cluster import Cluster
    from mk.consumer.offset_spec import OffsetLike, OffsetSpec

    Document = dict[str, Any]


class ResetTarget:
    """Where each partition is moved to.

    by_partition: only these partitions, each to its own position. Else `position` for all; else by `shift` offsets from
    where the group stands, which is also what a shift of 0 is: there it stays, unless its log was cut below.
    """

    __slots__ = ("by_partition", "position", "shift")

    def __init__(
        self,
        position: OffsetSpec | None = None,
        *,
        shift: int = 0,
        by_partition: dict[int, OffsetSpec] | None = None,
    ) -> None:
        self.position = position
        self.shift = shift
        self.by_partition = by_partition

    def needs_committed(self) -> bool:
        """Tell whether it means nothing for a partition in which the group has committed nothing."""
        return self.position is None and self.by_partition is None

    def resolve(
        self,
        partition: int,
        stands_at: int | None,
        start: int,
        end: int,
        offset_for_time: Callable[[int], int],
        committed_offset: Callable[[str], int | None],
    ) -> int | None:
        """Return the offset that is meant in a partition, which may lie outside of its log; None if it is not concerned."""
        position = self.position if self.by_partition is None else self.by_partition.get(partition)
        if position is not None:
            return position.resolve(start, end, offset_for_time, committed_offset)
        if self.by_partition is not None or stands_at is None:
            return None
        return stands_at + self.shift


class OffsetPlanner:
    """Makes the plan of one group: what becomes of each partition, with what is known of its log. `rows` is the plan."""

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._cluster = cluster
        self._group = check_name_at(cluster.location, group, "group")
        try:
            self.document: Document | None = cluster.describe_group(group)
        except NoSuchGroupError:
            self.document = None
        self._rows = {(row["topic_id"], row["partition"]): row for row in self.offsets}
        self._topics: dict[str, tuple[str, list[dict[str, int]]]] = {}
        self.rows: list[Document] = []

    @property
    def offsets(self) -> list[Document]:
        return self.document["offsets"] if self.document is not None else []

    def topics(self) -> list[str]:
        """Return the topics that are there and that the group has claims on. Raises NoSuchGroupError."""
        if self.document is None:
            self._cluster.describe_group(self._group)
        return list(dict.fromkeys(row["topic"] for row in self.offsets if row["high_watermark"] is not None))

    def partitions(self, topic: str) -> int:
        return len(self._log(topic)[1])

    def add(self, topic: str, partition: int, target: ResetTarget) -> None:
        """Plan one partition. What lies outside of its log becomes its start or end, with a note, as in Kafka."""
        topic_id, log = self._log(topic)
        if partition >= len(log):
            raise NoSuchPartitionError(topic=topic, partition=partition, partitions=len(log))
        start, end = log[partition]["log_start_offset"], log[partition]["high_watermark"]
        stands_at = self.committed(topic_id, partition).get("stands_at")
        said = ""

        def offset_for_time(timestamp_ms: int) -> int:
            return self._cluster.offset_for_time(topic, partition, timestamp_ms)

        def committed_offset(group: str) -> int | None:
            return self._cluster.committed_offset(group, topic, partition)

        after = target.resolve(partition, stands_at, start, end, offset_for_time, committed_offset)
        if after is None:
            if not target.needs_committed():
                return
            said = "nothing is committed, and it stays so"
        elif after > end:
            said = f"{after} is behind the end"
            after = end
        elif after < start:
            said = f"{after} is before the start"
            after = start
        self.add_exactly(topic, topic_id, partition, after, said=said, start=start, end=end)

    def add_exactly(
        self,
        topic: str,
        topic_id: str,
        partition: int,
        after: int | None,
        *,
        leader_epoch: int | None = None,
        said: str = "",
        start: int | None = None,
        end: int | None = None,
    ) -> None:
        """Plan one partition to stand at an offset, whatever its log holds; at none, if that is None."""
        before = self.committed(topic_id, partition)
        self.rows.append(
            {
                "group": self._group,
                "topic": topic,
                "topic_id": topic_id,
                "partition": partition,
                # Where it would begin by what its leader tells is nothing that it has committed here.
                "committed_offset": None if before.get("is_replicated") else before.get("committed_offset"),
                "new_offset": after,
                "new_leader_epoch": leader_epoch,
                "log_start_offset": start,
                "high_watermark": end,
                "note": said or None,
            }
        )

    def not_done(self, change: Document) -> list[Document]:
        """Return the offsets of a change that it was killed before it came to: where the group stands is what it found."""
        found = []
        for offset in change["offsets"]:
            row = self.committed(offset["topic_id"], offset["partition"])
            if row.get("high_watermark") is not None and row["sequence"] == offset["sequence"]:
                stands = -1 if row["committed_offset"] is None else row["committed_offset"]
                if stands == offset["before"] != offset["after"]:
                    found.append({**offset, "topic": row["topic"]})
        return found

    def committed(self, topic_id: str, partition: int) -> Document:
        return self._rows.get((topic_id, partition), {})

    def _log(self, topic: str) -> tuple[str, list[dict[str, int]]]:
        if topic not in self._topics:
            # The id first: if the topic is made anew in between, its claims have another one, and nothing is changed.
            topic_id = str(self._cluster.topic_settings(topic)["topic_id"])
            self._topics[topic] = topic_id, self._cluster.offsets(topic)
        return self._topics[topic]


def is_change(row: Document, *, to_none: bool = False) -> bool:
    """Tell whether a row of a plan changes anything. to_none: a partition may also be left without a committed offset."""
    return row["new_offset"] != row["committed_offset"] and (to_none or row["new_offset"] is not None)


def change_of(row: Document) -> OffsetChange:
    """Return what carries out a row of a plan."""
    before, after = (-1 if row[key] is None else row[key] for key in ("committed_offset", "new_offset"))
    return OffsetChange(
        row["topic"], row["topic_id"], row["partition"], before, after, leader_epoch=row["new_leader_epoch"]
    )


def reset_group(
    cluster: Cluster,
    group: str,
    topics: str | Sequence[str],
    to: OffsetLike | Mapping[int, OffsetLike],
    *,
    dry_run: bool,
    wait_ms: int,
) -> list[Document]:
    """See Cluster.reset_group."""
    from mk.consumer.offset_spec import read_offsets

    first, stop = read_offsets(to, None)
    if stop is not None:
        raise UsageError(
            f"a group cannot be moved to {to!a}",
            why="it is a range, and a group stands at one offset in each partition",
            fix="name the next offset to read; nothing was changed",
        )
    target = ResetTarget(by_partition=first) if isinstance(first, dict) else ResetTarget(first)
    if not dry_run:
        cluster.check_group_is_empty(group)
    planner = OffsetPlanner(cluster, group)
    for topic in ((topics,) if isinstance(topics, str) else dict.fromkeys(topics)) or planner.topics():
        for partition in sorted(target.by_partition or range(planner.partitions(topic))):
            planner.add(topic, partition, target)
    changes = [change_of(row) for row in planner.rows if is_change(row)]
    if changes and not dry_run:
        cluster.change_offsets(group, changes, kind="reset", wait_ms=wait_ms)
    return planner.rows
