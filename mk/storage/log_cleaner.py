"""Compaction: of each key, the log keeps the last record.

Which records stay is decided in records/compaction; here is when, and in which order the files change.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.errors import MkError
    from mk.storage.partition_files import PartitionFiles
    from mk.storage.partition_state import PartitionState
    from mk.storage.topic import Topic


class CompactionReport:
    """What became of a partition.

    first_dirty_offset: up to there the log was clean before. cleaned_to: up to there it is clean now. segments, bytes: of
    the part that was looked at. records_before: how many were read there. passes: how often it was gone through, since the
    map of keys is bounded. skipped: why nothing was done, "" if something was. error: what kept it from being finished.
    """

    __slots__ = (
        "bytes_after",
        "bytes_before",
        "cleaned_to",
        "error",
        "first_dirty_offset",
        "partition",
        "passes",
        "records_after",
        "records_before",
        "segments_after",
        "segments_before",
        "skipped",
        "tombstones_dropped",
    )

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.first_dirty_offset = self.cleaned_to = 0
        self.segments_before = self.segments_after = 0
        self.bytes_before = self.bytes_after = 0
        self.records_before = self.records_after = 0
        self.tombstones_dropped = 0
        self.passes = 0
        self.skipped = ""
        self.error: MkError | None = None

    def document(self, topic: str) -> dict[str, object]:
        """Return it ready for JSON; `error` stays the error."""
        return {"topic": topic, **{name: getattr(self, name) for name in _FIELDS}}


_FIELDS = (
    "partition",
    "first_dirty_offset",
    "cleaned_to",
    "segments_before",
    "segments_after",
    "bytes_before",
    "bytes_after",
    "records_before",
    "records_after",
    "tombstones_dropped",
    "passes",
    "skipped",
    "error",
)


def compact(
    topic: Topic,
    partition: int,
    *,
    seal_active: bool,
    min_dirty_ratio: float,
    lock_wait_ms: int = 10_000,
    progress: Callable[[int, int], None] | None = None,
) -> CompactionReport:
    """Keep of each key the last record, in the sealed segments of a partition.

    Args:
        seal_active: begin a new segment first, where this directory leads the partition, so that all its records count.
        min_dirty_ratio: do nothing if less of the log's bytes is dirty; 0.0 is always.
        progress: told how many bytes of how many were read.

    Raises:
        LockTimeoutError, NoSuchTopicError, PermissionDeniedError: nothing was done. What goes wrong later is in the report.
    """
    report = CompactionReport(topic.check_partition(partition))
    report.skipped = "it is not built yet"
    return report


def dirty_ratio(partition: PartitionFiles, state: PartitionState) -> float:
    """Return which part of the bytes of the sealed segments was not compacted yet, by their sizes alone."""
    return 0.0
