"""What keeps the topics of a log directory healthy: removing what may go, proving what is there.

The half of DirectoryCluster that `mk topics clean`, `verify` and their like ask for; a command that produces or consumes
needs none of it.
"""

from __future__ import annotations

from mk.errors import MkError
from mk.storage import files
from mk.topic_partition import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from mk.consumer.offset_spec import OffsetLike
    from mk.maintenance.dump import Item
    from mk.maintenance.findings import Finding, Report
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic


class DirectoryCare:
    """See `help(mk.Cluster)` for what the methods do."""

    location: str
    _directory: LogDirectory

    def _open(self, name: str) -> Topic:
        with files.about(f"{self.location}/topics/{name}"):
            return self._directory.open_topic(name)

    def clean(
        self,
        name: str,
        partition: int,
        *,
        dry_run: bool = False,
        wait_ms: int = 10_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        from mk.storage.compaction_plan import compact_if_due, plan_compaction
        from mk.storage.partition_cleaner import PartitionCleaner, plan_clean

        with files.about(f"{self.location}/topics/{name}/{partition}"):
            topic = self._open(name)
            try:
                if dry_run:
                    document = plan_clean(topic, topic.check_partition(partition)).document(name)
                    document["compaction"] = None
                    if topic.compacts:
                        document["compaction"] = plan_compaction(topic, partition, only_if_due=True)
                    return document
                cleaner = PartitionCleaner(topic, partition, lock_wait_ms=wait_ms)
                try:
                    document = cleaner.clean().document(name)
                finally:
                    cleaner.close()
                document["compaction"] = None
                if topic.compacts and document["error"] is None:
                    try:
                        report = compact_if_due(topic, partition, lock_wait_ms=wait_ms, progress=progress)
                    except MkError as error:
                        document["error"] = error  # What was removed before is.
                    else:
                        document["compaction"] = report.document(name)
                        document["error"] = report.error
                return document
            finally:
                topic.close()

    def compact(
        self,
        name: str,
        partition: int,
        *,
        dry_run: bool = False,
        wait_ms: int = 10_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        from mk.storage.compaction_plan import check_is_compacted, plan_compaction

        with files.about(f"{self.location}/topics/{name}/{partition}"):
            topic = self._open(name)
            try:
                check_is_compacted(topic)
                topic.check_partition(partition)
                if dry_run:
                    return plan_compaction(topic, partition, only_if_due=False)
                from mk.storage.log_cleaner import compact

                return compact(
                    topic, partition, seal_active=True, min_dirty_ratio=0.0, lock_wait_ms=wait_ms, progress=progress
                ).document(name)
            finally:
                topic.close()

    def delete_records(self, name: str, partition: int, before_offset: int, *, wait_ms: int = 10_000) -> dict[str, Any]:
        from mk.storage.partition_cleaner import PartitionCleaner

        with files.about(f"{self.location}/topics/{name}/{partition}"):
            topic = self._open(name)
            try:
                cleaner = PartitionCleaner(topic, partition, lock_wait_ms=wait_ms)
                try:
                    return cleaner.delete_records(before_offset).document(name)
                finally:
                    cleaner.close()
            finally:
                topic.close()

    def clone_topic(
        self, name: str, new: str, *, wait_ms: int = 10_000, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        from mk.storage.topic_clone import clone_topic

        with files.about(self.location):
            report = clone_topic(self._directory, name, new, wait_ms=wait_ms, progress=progress)
        keys = ("log_start_offsets", "next_offsets", "links", "link_bytes", "copied_bytes")
        return {"topic": name, "clone": new, **{key: getattr(report, key) for key in keys}}

    def repair(
        self,
        name: str,
        *,
        partitions: Sequence[int] = (),
        restored: bool = False,
        dry_run: bool = False,
        wait_ms: int = 10_000,
    ) -> list[dict[str, Any]]:
        from mk.maintenance.repair import repair_topic

        with files.about(f"{self.location}/topics/{name}"):
            return repair_topic(
                self._directory, name, partitions=partitions, restored=restored, dry_run=dry_run, wait_ms=wait_ms
            )

    def rehash_topic(
        self,
        name: str,
        new: str,
        *,
        partitions: int | None = None,
        partitioner: str | None = None,
        groups: bool = False,
        wait_ms: int = 10_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        from mk.directory_rehash import rehash_topic

        with files.about(self.location):
            return rehash_topic(
                self._directory,
                name,
                new,
                partitions=partitions,
                partitioner=partitioner,
                groups=groups,
                wait_ms=wait_ms,
                progress=progress,
            )

    def snapshot(
        self,
        destination: str,
        *,
        dry_run: bool = False,
        wait_ms: int = 10_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        from mk.maintenance.snapshot import plan_snapshot, take_snapshot

        with files.about(self.location):
            if dry_run:
                report = plan_snapshot(self._directory, destination)
            else:
                report = take_snapshot(self._directory, destination, wait_ms=wait_ms, progress=progress)
        return report.document(self.location, destination)

    def sweep(self, *, wait_ms: int = 10_000) -> int:
        with files.about(self.location):
            return self._directory.remove_leftovers(wait_ms=wait_ms)

    def verify_topic(
        self, name: str, *, partitions: Sequence[int] = (), progress: Callable[[int, int], None] | None = None
    ) -> Report:
        from mk.maintenance.verify import verify_topic

        with files.about(f"{self.location}/topics/{name}"):
            return verify_topic(self._directory, check_name(name), partitions=partitions, progress=progress)

    def verify_groups(self) -> list[Finding]:
        from mk.maintenance.group_check import check_groups
        from mk.maintenance.replica_check import check_replicas

        with files.about(self.location):
            return check_groups(self._directory) + check_replicas(self._directory)

    def health(
        self,
        *,
        topics: Sequence[str] = (),
        groups: Sequence[str] = (),
        warn: Mapping[str, object] | None = None,
        crit: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        from mk.maintenance.health import health
        from mk.maintenance.health_measures import judged

        with files.about(self.location):
            facts = health(
                self._directory,
                topics=[check_name(name) for name in topics],
                groups=[check_name(name, "group") for name in groups],
            )
        return judged(facts, topics=topics, groups=groups, warn=warn, crit=crit)

    def dump_partition(
        self, name: str, partition: int, *, records: bool = False, from_offset: int = 0
    ) -> Iterator[Item]:
        from mk.maintenance.dump import dump_partition

        with files.about(f"{self.location}/topics/{name}"):
            topic = self._open(name)
            try:
                yield from dump_partition(topic, partition, records=records, from_offset=from_offset)
            finally:
                topic.close()

    def reset_group(
        self,
        group: str,
        topics: str | Sequence[str] = (),
        *,
        to: OffsetLike | Mapping[int, OffsetLike],
        dry_run: bool = False,
        wait_ms: int = 10_000,
    ) -> list[dict[str, Any]]:
        from mk.group_plan import reset_group

        return reset_group(self, group, topics, to, dry_run=dry_run, wait_ms=wait_ms)  # type: ignore[arg-type]  # With its other half.
