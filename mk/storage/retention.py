"""Which segments may go, and why the others stay. Pure: no files, no clock; who removes them is for PartitionLog and
its cleaner.

Whole segments go, from the front, one after the other, and the first one that stays keeps all behind it. A segment goes
when all its records are below the log start, when the largest time in it is more than retention.ms ago, or when
the log has at least retention.bytes without it. Of a topic that is compacted and nothing else, whoever asks passes no limit.
What a group has not read, where retention.groups asks for it, does not go for its age, but for retention.bytes it does:
otherwise a group that nobody runs any more would fill the disk.
Source: Kafka's UnifiedLog.deleteOldSegments, whose three passes come to the same.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LOG_START = "log start"
RETENTION_MS = "retention.ms"
RETENTION_BYTES = "retention.bytes"

NO_LIMIT = -1
"""A retention.ms or retention.bytes that removes nothing."""


class SegmentFacts:
    """What is known of one segment: it holds offsets from base_offset up to next_offset, that one excluded.

    time_ms: its largest record time, or the best that is known instead. None is asked for where no limit needs it.
    """

    __slots__ = ("base_offset", "next_offset", "size_bytes", "time_ms")

    def __init__(self, base_offset: int, next_offset: int, size_bytes: int, time_ms: int) -> None:
        self.base_offset = base_offset
        self.next_offset = next_offset
        self.size_bytes = size_bytes
        self.time_ms = time_ms


class Verdict:
    """What becomes of one segment. reason: one of the constants above if it goes, else ""; why: the same for people."""

    __slots__ = ("reason", "segment", "why")

    def __init__(self, segment: SegmentFacts, reason: str, why: str) -> None:
        self.segment = segment
        self.reason = reason
        self.why = why

    @property
    def goes(self) -> bool:
        return bool(self.reason)


class GroupOffset:
    """How far a group has read a partition: it has committed `offset`, -1 for nothing yet.

    leader_epoch: of the record before it, -1 where that is not known. trouble: why it cannot be told, else "".
    """

    __slots__ = ("group", "leader_epoch", "offset", "trouble")

    def __init__(self, group: str, offset: int, leader_epoch: int, trouble: str = "") -> None:
        self.group = group
        self.offset = offset
        self.leader_epoch = leader_epoch
        self.trouble = trouble

    def in_log(self, end_of_epoch: Callable[[int], int | None]) -> int:
        """Return up to where the group has read the log that is there, given where a later epoch than one began in it.

        Records of a log that was cut since, and has grown again, have the same offsets and a later epoch.
        """
        end = end_of_epoch(self.leader_epoch) if self.leader_epoch >= 0 else None
        return self.offset if end is None else min(self.offset, end)


class Hold:
    """From which offset on no record goes for its age, and why."""

    __slots__ = ("offset", "why")

    def __init__(self, offset: int, why: str) -> None:
        self.offset = offset
        self.why = why


def hold_of(groups: Iterable[GroupOffset], end_of_epoch: Callable[[int], int | None]) -> Hold | None:
    """Return what the slowest of some groups holds; None if there are none. Who cannot be asked holds everything."""
    holds = []
    for group in groups:
        if group.trouble:
            holds.append(Hold(0, f"how far group {group.group} has read is not known: {group.trouble}"))
        elif group.offset < 0:
            holds.append(Hold(0, f"group {group.group} has committed nothing yet"))
        else:
            offset = group.in_log(end_of_epoch)
            holds.append(Hold(offset, f"group {group.group} has read up to offset {offset}"))
    return min(holds, key=lambda hold: hold.offset, default=None)


def judge(
    segments: Iterable[SegmentFacts],
    *,
    total_bytes: int,
    now_ms: int,
    retention_ms: int,
    retention_bytes: int,
    log_start_offset: int,
    keep_from: int,
    hold: Hold | None = None,
    clock_is_believed: bool = True,
    no_limit: str = "no limit is set",
) -> Iterator[Verdict]:
    """Yield a verdict on each segment, the oldest first. No segment is asked for before the verdict on it is.

    Args:
        total_bytes: size of all segments.
        keep_from: the offset from which on all stays whatever the limits say: the high watermark.
        hold: what groups have not read.
        clock_is_believed: else nothing goes by its time.
        no_limit: why a segment stays if there is neither limit.
    """
    kept = False
    for segment in segments:
        reason = why = ""
        if segment.next_offset == segment.base_offset:
            why = "it is empty"
        elif segment.next_offset <= log_start_offset:
            reason, why = LOG_START, f"it ends below the log start, {log_start_offset}"
        elif kept:
            why = "a segment before it stays"
        elif segment.next_offset > keep_from:
            why = f"it reaches beyond offset {keep_from}, up to which records may be read"
        else:
            reason, why = _by_limits(
                segment, total_bytes, now_ms - segment.time_ms, retention_ms, retention_bytes, hold, clock_is_believed
            )
            why = why or no_limit
        kept = kept or not reason
        total_bytes -= segment.size_bytes
        yield Verdict(segment, reason, why)


def _by_limits(
    segment: SegmentFacts,
    total_bytes: int,
    age_ms: int,
    retention_ms: int,
    retention_bytes: int,
    hold: Hold | None,
    clock_is_believed: bool,
) -> tuple[str, str]:
    stays = []
    if retention_bytes != NO_LIMIT:
        if total_bytes - segment.size_bytes >= retention_bytes:
            return RETENTION_BYTES, f"the log has {retention_bytes} bytes without it"
        stays.append(f"without it the log would be below retention.bytes, {retention_bytes}")
    if retention_ms != NO_LIMIT:
        if not clock_is_believed:
            stays.append("the clock has leapt, and is believed when it has run evenly for a day")
        elif age_ms > retention_ms and hold is not None and segment.next_offset > hold.offset:
            stays.append(f"{hold.why}, and retention.groups keeps the rest for it")
        elif age_ms > retention_ms:
            return RETENTION_MS, f"its last record is {_duration(age_ms)} old"
        else:
            stays.append(f"its last record is {_duration(age_ms)} old, and retention.ms {_duration(retention_ms)}")
    return "", "; ".join(stays)


def _duration(milliseconds: int) -> str:
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if abs(milliseconds) >= size:
            return f"{milliseconds / size:.3g} {unit}"
    return f"{milliseconds / 1000:.3g} s"
