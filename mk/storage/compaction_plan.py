"""Whether partitions are compacted, and which of them are due. How it is done is log_cleaner's, which is loaded for it."""

from __future__ import annotations

import os

from mk.errors import ConfigurationError
from mk.storage.log_segment import list_segments
from mk.storage.partition_files import PartitionFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.storage.log_cleaner import CompactionReport
    from mk.storage.topic import Topic

    Document = dict[str, object]


def check_is_compacted(topic: Topic) -> None:
    """Raise ConfigurationError unless the topic's policy has compact: records without a key were let in until now."""
    if not topic.compacts:
        raise ConfigurationError(
            f"topic {topic.name} is not compacted",
            why=f"its cleanup.policy is {topic.config('cleanup.policy')}",
            fix=f"`mk topics alter {topic.name} -c cleanup.policy=compact` has it keep the last record of each key, and no "
            "longer take records without one; nothing was changed",
            topic=topic.name,
        )


def min_dirty_ratio(topic: Topic) -> float:
    """Return which part of a log must be new before it is compacted unasked. Raises ConfigurationError if it is no number."""
    ratio = topic.config("min.cleanable.dirty.ratio")
    try:
        return float(ratio)
    except ValueError:
        # From a directory of a newer mk, perhaps.
        raise ConfigurationError(
            f"min.cleanable.dirty.ratio of topic {topic.name} cannot be {ratio!a:.80}",
            fix=f"`mk topics alter {topic.name} -c min.cleanable.dirty.ratio=0.5` gives it a number; nothing was changed",
            topic=topic.name,
        ) from None


def plan_compaction(topic: Topic, partition: int, *, only_if_due: bool) -> Document:
    """Tell what compaction would do now, without a lock and without changing anything.

    only_if_due: if enough of the log is new, and of the sealed segments alone.

    Returns, ready for JSON: `topic`, `partition`, `log_start_offset`, `high_watermark`, `cleaned_to`, the number of
    `segments`, `size_bytes`, `dirty_ratio`, whether it `compacts`, and `why`.
    """
    from mk.storage.log_cleaner import dirty_ratio, has_due_tombstones

    opened = PartitionFiles(topic, partition, os.O_RDONLY)
    try:
        state = opened.wait_for_state()
        bases = [base for base in list_segments(opened.fd) if base <= state.segment]
        ratio = round(dirty_ratio(opened, state), 4)
        wanted = min_dirty_ratio(topic)
        compacts = has_due_tombstones(opened, state)
        why = f"{ratio:.0%} of its sealed bytes are new"
        if compacts:
            why += ", and tombstones are old enough to go"
        elif only_if_due:
            compacts = ratio >= wanted and ratio > 0
            relation = "at least" if ratio >= wanted else "less than"
            why += f", {relation} min.cleanable.dirty.ratio, {wanted:.0%}"
        else:
            compacts = ratio > 0 or state.written.position > 0
            if state.written.position:
                why += ", and the active segment is sealed first"
        return {
            "topic": topic.name,
            "partition": partition,
            "log_start_offset": state.log_start_offset,
            "high_watermark": state.high_watermark,
            "cleaned_to": min(state.cleaned_to, state.high_watermark),
            "segments": len(bases),
            "size_bytes": sum(_size(opened, base) for base in bases),
            "dirty_ratio": ratio,
            "compacts": compacts,
            "why": why,
        }
    finally:
        opened.close()


def compact_if_due(
    topic: Topic, partition: int, *, lock_wait_ms: int, progress: Callable[[int, int], None] | None = None
) -> CompactionReport:
    """Compact the sealed segments of a partition if enough of them is new. See log_cleaner.compact for what it raises."""
    from mk.storage.log_cleaner import compact

    return compact(
        topic,
        partition,
        seal_active=False,
        min_dirty_ratio=min_dirty_ratio(topic),
        lock_wait_ms=lock_wait_ms,
        progress=progress,
    )


def compact_after_roll(topic: Topic, partition: int, *, lock_wait_ms: int) -> None:
    """Do the same for who has just begun a new segment. Nothing that goes wrong is his business: his append is stored.

    The next roll does it, or `mk topics clean`, which says why it cannot. By an open topic of its own, since other threads may
    go on with that one meanwhile.
    """
    try:
        own = topic.directory.open_topic(topic.name)
        try:
            if own.topic_id == topic.topic_id and own.compacts:
                compact_if_due(own, partition, lock_wait_ms=lock_wait_ms)
        finally:
            own.close()
    except Exception:  # noqa: BLE001  also a bug in here must not make a stored append look as if it was not
        pass


def _size(opened: PartitionFiles, base: int) -> int:
    from mk.storage.log_segment import segment_name

    try:
        return os.stat(segment_name(base), dir_fd=opened.fd, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0  # It went while we looked.
