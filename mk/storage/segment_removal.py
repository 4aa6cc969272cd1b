"""Removing segments from the front of a log, in an order that a kill or a power cut cannot turn into a hole.

First `state` says, on disk, that the log begins behind them; only then are they unlinked. They are not renamed first:
`state` already tells everybody that they are dead, whoever is killed in between leaves files that the next roll or clean
knows by their base, and on a full disk a longer name may find no room. Whoever removes holds the partition's lock, needs no
recovery first, and leaves the slot's boot id and ends as it found them.
A log start that is read there may be of somebody who was killed before it was on disk: so whoever unlinks publishes it again.
Source: man/mk-guarantees.7, REMOVING RECORDS.
"""

from __future__ import annotations

import errno
import os
import time
from bisect import bisect_right

from mk import clock
from mk.errors import CorruptStateError, MkError
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.storage import clock_record, files, offset_index
from mk.storage.leader_epochs import read_epochs
from mk.storage.log_segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    PRODUCERS_SUFFIX,
    list_segments,
    open_segment,
    segment_name,
    segments_among,
)
from mk.storage.partition_state import write_state
from mk.storage.retention import NO_LIMIT, Hold, SegmentFacts, hold_of, judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.storage.partition_files import PartitionFiles
    from mk.storage.partition_state import PartitionState
    from mk.storage.retention import Verdict

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
FUTURE_MS = 3_600_000
"""A record time further ahead than this is no time of a record; the file's last write counts instead."""

WITNESS_MS = 3_600_000
"""Index and file agree on when a segment's last record came, if no more than this lies between them."""

_SUFFIXES = (LOG_SUFFIX, INDEX_SUFFIX, PRODUCERS_SUFFIX)
_SEGMENTS_A_ROLL = 200

_SLICE_SECONDS = 0.05
"""So long unlinking may go on under the lock: writers wait for it."""


def retain_at_roll(partition: PartitionFiles, state: PartitionState, began_ms: int) -> PartitionState:
    """Remove the oldest segments as the topic's limits ask, now that there is a new one, as `retain` and what follows it.

    No append fails for it. A look takes a time that grows with the segments, and with thousands of them as long as one takes to be
    filled: so a writer of n segments looks at every n/200th roll, when the log has grown by half a hundredth. With fewer than 200, at each.
    """
    if partition.rolls_before_retention > 0:
        partition.rolls_before_retention -= 1
        return state
    try:
        state = retain(partition, state, began_ms)
        remove_dead_segments(partition, state, state.log_start_offset)
        partition.rolls_before_retention = len(list_segments(partition.fd)) // _SEGMENTS_A_ROLL
    except (OSError, MkError):
        pass  # The next roll or `mk topics clean` does it, and says why it cannot.
    return state


def retain(partition: PartitionFiles, state: PartitionState, began_ms: int) -> PartitionState:
    """Move the log start as the topic's limits ask, and return the published `state`; what is dead then is not removed yet.

    For whoever has just begun a new segment. began_ms: when the one before it began.
    """
    log_start = -1
    for verdict in verdicts(partition, state, record_clock=True, last_seen_ms=began_ms):
        if not verdict.goes or verdict.segment.base_offset >= state.segment:
            break
        log_start = max(state.log_start_offset, verdict.segment.next_offset)
    if log_start < 0:
        return state
    keep_producers(partition, state, log_start)
    return move_log_start(partition, state, log_start)


def verdicts(
    partition: PartitionFiles, state: PartitionState, *, record_clock: bool, last_seen_ms: int = 0
) -> Iterator[Verdict]:
    """Judge the segments by the topic's limits, the active one last; each is looked into only when its turn comes."""
    topic = partition.topic
    retention_ms = retention_bytes = NO_LIMIT
    if topic.deletes:
        retention_ms, retention_bytes = int(topic.config("retention.ms")), int(topic.config("retention.bytes"))
    bases = [base for base in list_segments(partition.fd) if base <= state.segment]
    sizes = {base: _stat(partition, base) for base in bases}
    is_believed = True
    now_ms = clock.now_ms()
    if retention_ms != NO_LIMIT:
        # Where nobody has looked at the clock yet, the last write is the last time at which somebody relied on it.
        last_seen_ms = last_seen_ms or state.began_ms or max((at for _, at in sizes.values()), default=now_ms)
        look = clock_record.look_and_record if record_clock else clock_record.look
        is_believed = look(topic.directory, last_seen_ms).is_believed
        if record_clock and is_believed:
            _touch_files_of_the_future(partition, sizes, now_ms)
    return judge(
        _facts(partition, state, sizes, now_ms, needs_time=retention_ms != NO_LIMIT),
        total_bytes=sum(size for size, _ in sizes.values()),
        now_ms=now_ms,
        retention_ms=retention_ms,
        retention_bytes=retention_bytes,
        log_start_offset=state.log_start_offset,
        keep_from=state.high_watermark,
        hold=group_hold(partition) if retention_ms != NO_LIMIT else None,
        clock_is_believed=is_believed,
        no_limit="no limit is set" if topic.deletes else "with cleanup.policy=compact no limit removes records",
    )


def group_hold(partition: PartitionFiles) -> Hold | None:
    """Return what the groups of retention.groups have not read, as of now. What cannot be read holds everything."""
    topic = partition.topic
    wanted = str(topic.config("retention.groups"))
    if not wanted:
        return None
    if topic.directory.group_offsets is None:
        return Hold(0, "what groups have read cannot be told here")
    try:
        epochs, state = read_epochs(partition.fd, partition.path), partition.wait_for_state()
    except CorruptStateError as error:
        return Hold(0, f"{error.what}, which tells whose offsets are of this log")
    end_of_epoch = epochs.ends(state.cuts, state.cut_offset)
    return hold_of(topic.directory.group_offsets(topic, partition.partition, wanted), end_of_epoch)


def keep_producers(partition: PartitionFiles, state: PartitionState, offset: int) -> None:
    """Before the log begins at `offset`, keep what is known of producer ids and will not be read from the log any more."""
    if partition.topic.has_producers():
        from mk.storage.producer_state import ensure_snapshot

        bases = [base for base in list_segments(partition.fd) if base <= min(offset, state.segment)]
        if bases:
            ensure_snapshot(partition, bases[-1])


def move_log_start(partition: PartitionFiles, state: PartitionState, offset: int) -> PartitionState:
    """Have the log begin at `offset`, on disk on return. Nothing else in `state` changes."""
    new = state.copy()
    new.log_start_offset = offset
    write_state(partition.state_fd, new)
    files.fdatasync(partition.state_fd)
    return new


def remove_dead_segments(
    partition: PartitionFiles, state: PartitionState, log_start_offset: int
) -> tuple[int, int, bool]:
    """Unlink what ends at or below `log_start_offset`, the oldest first, for a short while.

    log_start_offset: one that the caller has put on disk, and not merely found in `state`.

    Returns how many files and bytes went, and whether there is more to remove: let others have the lock first.
    """
    stop = time.monotonic() + _SLICE_SECONDS
    names = os.listdir(partition.fd)
    bases = segments_among(names)
    at = bisect_right(bases, min(log_start_offset, state.segment))
    first = segment_name(bases[at - 1], "") if at else ""
    count = size_bytes = 0
    for name in sorted(name for name in names if name < first):
        digits, suffix = name[:20], name[20:]
        if suffix in _SUFFIXES and len(digits) == 20 and digits.isdecimal():
            if count and time.monotonic() > stop:
                files.fsync(partition.fd)
                return count, size_bytes, True
            size_bytes += os.stat(name, dir_fd=partition.fd, follow_symlinks=False).st_size
            files.unlink(name, dir_fd=partition.fd)
            count += 1
    if count:
        files.fsync(partition.fd)
    return count, size_bytes, False


def _facts(
    partition: PartitionFiles,
    state: PartitionState,
    sizes: dict[int, tuple[int, int]],
    now_ms: int,
    *,
    needs_time: bool,
) -> Iterator[SegmentFacts]:
    bases = list(sizes)
    for base, following in zip(bases, [*bases[1:], None], strict=True):
        size_bytes, last_write_ms = sizes[base]
        time_ms = 0
        if following is None:
            end, time_ms = state.written.offset, state.written.max_timestamp
        else:
            end = following
            if needs_time:
                time_ms = largest_timestamp(partition, base, following, last_write_ms)
        if needs_time and (time_ms < 0 or time_ms > now_ms + FUTURE_MS):
            # Written under a clock that was set to a year to come, or given a time that has not come yet: the segment
            # would stay until then, and keep all behind it.
            time_ms = min(last_write_ms, now_ms)
        yield SegmentFacts(base, end, size_bytes, time_ms)


def _touch_files_of_the_future(partition: PartitionFiles, sizes: dict[int, tuple[int, int]], now_ms: int) -> None:
    """Let what was written under a clock that was far ahead count as written now, since nobody knows when it was."""
    for base, (size_bytes, last_write_ms) in sizes.items():
        if last_write_ms > now_ms + FUTURE_MS:
            try:
                files.touch(segment_name(base), dir_fd=partition.fd)
            except OSError:
                continue
            sizes[base] = size_bytes, now_ms


def _stat(partition: PartitionFiles, base_offset: int) -> tuple[int, int]:
    """Return size and last write of a segment; it may be gone, where no lock is held."""
    try:
        status = os.stat(segment_name(base_offset), dir_fd=partition.fd, follow_symlinks=False)
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns // 1_000_000


def largest_timestamp(partition: PartitionFiles, base: int, end_offset: int, last_write_ms: int) -> int:
    """Return the largest record time of a sealed segment.

    The index says it in its last entry, and nothing vouches for an index: it is believed where the file was last written at
    about that time. Otherwise the headers tell; where they cannot be followed to the end, the last write does.
    """
    index_fd = partition.open_index(base)
    if index_fd >= 0:
        try:
            entry = offset_index.last_entry(index_fd)
        finally:
            files.close(index_fd)
        if entry is not None and base + entry[0] == end_offset and abs(last_write_ms - entry[2]) <= WITNESS_MS:
            return entry[2]
    offset, position, max_timestamp = base, 0, -1
    try:
        fd = open_segment(base, partition_fd=partition.fd)
    except FileNotFoundError:
        return last_write_ms
    try:
        while offset < end_offset:
            batch = parse_header(files.pread(fd, HEADER_SIZE, position))
            if batch is None or batch.base_offset != offset:
                return last_write_ms
            max_timestamp = max(max_timestamp, batch.max_timestamp)
            position += batch.size_bytes
            offset = batch.next_offset
    finally:
        files.close(fd)
    return max_timestamp
