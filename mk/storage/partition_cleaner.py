"""Removing records from one partition by its limits or by hand, and what killed processes left there.

What may go is decided in retention, and how it goes is in segment_removal; here is when: under the lock, a little at a time.
"""

from __future__ import annotations

import os
import time

from mk.errors import MkError, OffsetOutOfRangeError, StorageError
from mk.storage import files
from mk.storage.held_log import held_log
from mk.storage.leader_epochs import read_epochs
from mk.storage.log_segment import list_segments
from mk.storage.partition_files import TRUNCATION_FILE, PartitionFiles
from mk.storage.partition_log import PartitionLog
from mk.storage.segment_removal import NO_ROOM, keep_producers, move_log_start, remove_dead_segments, verdicts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.partition_state import PartitionState
    from mk.storage.retention import Verdict
    from mk.storage.topic import Topic

_PAUSE_SECONDS = 0.002
"""Between two goes at a long list of files, so that those who wait for the lock get it."""

# The partition may have lost a part already, and with it the lock for a moment; and this is no append.
WAIT = "wait, raise --lock-wait, or stop that process, then run it again; what is not removed is whole"


class CleanReport:
    """What became of a partition.

    removed: the segments that went, and why. kept: those that stay, and why. rolled: the active segment was sealed.
    files, bytes: what was unlinked, with what killed processes had left. error: what kept it from being finished.
    """

    __slots__ = ("bytes", "error", "files", "kept", "log_start_offset", "partition", "removed", "rolled")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.log_start_offset = 0
        self.removed: list[Verdict] = []
        self.kept: list[Verdict] = []
        self.rolled = False
        self.files = self.bytes = 0
        self.error: MkError | None = None

    def document(self, topic: str) -> dict[str, object]:
        """Return it ready for JSON; `error` stays the error."""
        return {
            "topic": topic,
            "partition": self.partition,
            "log_start_offset": self.log_start_offset,
            "rolled": self.rolled,
            "removed": [_segment(verdict) for verdict in self.removed],
            "kept": [_segment(verdict) for verdict in self.kept],
            "files": self.files,
            "bytes": self.bytes,
            "error": self.error,
        }


def _segment(verdict: Verdict) -> dict[str, object]:
    segment = verdict.segment
    return {
        "segment": segment.base_offset,
        "last_offset": segment.next_offset - 1 if segment.next_offset > segment.base_offset else None,
        "size_bytes": segment.size_bytes,
        "reason": verdict.reason or None,
        "why": verdict.why,
    }


class PartitionCleaner(PartitionLog):
    """One partition, open for removing records. It can append too, though nobody asks it to."""

    __slots__ = ()

    def clean(self) -> CleanReport:
        """Remove the segments that the topic's limits let go, and seal the active one if it is due.

        The sealed segments first, for which no recovery is needed and no room on the disk. An active segment that is older
        than segment.ms, or all of whose records may go, is sealed like that of an append, so that a topic to which
        nobody writes any more is cleaned too.

        Raises:
            LockTimeoutError, NoSuchTopicError: nothing was removed. What goes wrong later is in the report.
        """
        report = CleanReport(self._files.partition)
        more = False
        with held_log(self, fix=WAIT):
            try:
                state = self._remove_by_limits(self._state(), report)
                more = self._remove_files(state, report)
                self._remove_temporaries(report)
                if self._is_due(state, report):
                    # A recovery may find more records than the `state` of another boot knows, and younger ones.
                    state = self._remove_by_limits(self._refresh(), report)
                if self._is_due(state, report):
                    began_ms = state.began_ms
                    state = self._roll(state)
                    report.rolled = True
                    state = self._remove_by_limits(state, report, began_ms)
                    more = self._remove_files(state, report)
            except MkError as error:
                report.error = error
            except OSError as error:
                report.error = self._refused(error)
        self._remove_the_rest(more, report)
        return report

    def delete_records(self, before_offset: int) -> CleanReport:
        """Remove the records below an offset: the log begins there from now on. Whole segments below it go.

        At the end of the log, the active segment is sealed first, so that its bytes go too. An offset at which the log
        has begun already, or that is lower, changes nothing.

        Raises:
            OffsetOutOfRangeError: it lies beyond the high watermark. Nothing was removed.
            NotLeaderError: another directory leads the partition. Nothing was removed.
        """
        report = CleanReport(self._files.partition)
        with held_log(self, fix=WAIT):
            state = self._state()
            if before_offset > state.segment:
                state = self._refresh()
            self._check_leads()
            if before_offset > state.high_watermark:
                raise OffsetOutOfRangeError(
                    topic=self._files.topic.name,
                    partition=self._files.partition,
                    offset=before_offset,
                    log_start_offset=state.log_start_offset,
                    log_end_offset=state.high_watermark,
                )
            if before_offset == state.written.offset and state.written.position:
                state = self._roll(state)
                report.rolled = True
            elif before_offset > state.durable.offset:
                # Or a power cut leaves a log that ends in front of its start, and what is appended there nobody reads.
                state = self._make_durable(state)
            if log_start := max(before_offset, state.log_start_offset):
                # Also where it is there already: who moved it may have been killed before it was on disk.
                state = self._move_log_start(state, log_start, report)
            report.log_start_offset = state.log_start_offset
            try:
                more = self._remove_files(state, report)
            except OSError as error:
                raise self._refused(error) from None
        self._remove_the_rest(more, report)
        return report

    # Under the lock.

    def _state(self) -> PartitionState:
        """Return `state` as it stands, of whatever boot; only where it cannot be read does it need a recovery.

        A truncation that was broken off is finished first: what we took for the log might be what it cuts off.
        """
        files_ = self._files
        state = files_.read_state()
        self._epochs = read_epochs(files_.fd, files_.path)
        if files.exists(TRUNCATION_FILE, dir_fd=files_.fd):
            from mk.storage.log_truncation import finish, read_truncation

            record = read_truncation(files_.fd, files_.path)
            if record is not None:
                state, self._epochs = finish(files_, record, state), record.epochs
        return self._prepare(self._look()) if state is None else state

    def _is_due(self, state: PartitionState, report: CleanReport) -> bool:
        """Tell whether the active segment is to be sealed; judged just now, so that an empty one is among those kept.

        Never that of a follower, whose segments begin where its leader's do.
        """
        return self._leads() and (self._is_aged(state) or not report.kept)

    def _remove_by_limits(self, state: PartitionState, report: CleanReport, last_seen_ms: int = 0) -> PartitionState:
        """Move the log start behind the sealed segments that may go. `report.kept` is empty if the active one may go too."""
        found = list(verdicts(self._files, state, record_clock=True, last_seen_ms=last_seen_ms))
        report.kept = [verdict for verdict in found if not verdict.goes]
        known = {verdict.segment.base_offset for verdict in report.removed}
        going = [verdict for verdict in found if verdict.goes and verdict.segment.base_offset < state.segment]
        if going:
            log_start = max(state.log_start_offset, going[-1].segment.next_offset)
            state = self._move_log_start(state, log_start, report)
        report.removed += [verdict for verdict in going if verdict.segment.base_offset not in known]
        report.log_start_offset = state.log_start_offset
        return state

    def _move_log_start(self, state: PartitionState, offset: int, report: CleanReport) -> PartitionState:
        """Publish the log start, on disk on return. On a file system that copies on write, even that may find no room: then files go first.

        If there is still none, and the log now begins with a whole segment, that is no matter: readers find out by the
        files, and the next `state` that is published says so too.
        """
        try:
            keep_producers(self._files, state, offset)
        except OSError as error:
            raise self._refused(error) from None
        try:
            return move_log_start(self._files, state, offset)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise self._refused(error) from None
        new = state.copy()
        new.log_start_offset = report.log_start_offset = offset
        self._remove_files(new, report)
        try:
            return move_log_start(self._files, state, offset)
        except OSError as error:
            if error.errno not in NO_ROOM or offset not in list_segments(self._files.fd):
                raise self._refused(error) from None
        return new

    def _refused(self, error: OSError) -> StorageError:
        path = error.filename or self._files.path
        return StorageError(
            f"cannot remove records from {self._files.path}",
            why=f"{path}: {os.strerror(error.errno or 0)}",
            fix="look at the disk (dmesg), then run it again; what is not removed is whole",
            path=self._files.path,
        )

    def _remove_files(self, state: PartitionState, report: CleanReport) -> bool:
        """Unlink what is dead by the log start in `report`, for a short while. Returns whether there is more."""
        count, size_bytes, more = remove_dead_segments(self._files, state, report.log_start_offset)
        report.files += count
        report.bytes += size_bytes
        return more

    def _remove_temporaries(self, report: CleanReport) -> None:
        """Remove what killed processes left: whoever makes such a file in here holds the lock that we hold."""
        for name in os.listdir(self._files.fd):
            if name.startswith(".tmp-"):
                files.unlink(name, dir_fd=self._files.fd)
                report.files += 1

    # Without the lock.

    def _remove_the_rest(self, more: bool, report: CleanReport) -> None:
        while more:
            time.sleep(_PAUSE_SECONDS)
            with held_log(self, fix=WAIT):
                # What this process has put on disk: somebody else's log start need not be.
                more = self._remove_files(self._state(), report)


def plan_clean(topic: Topic, partition: int) -> CleanReport:
    """Tell what `clean` would do now, without a lock and without changing anything."""
    opened = PartitionFiles(topic, partition, os.O_RDONLY)
    try:
        state = opened.wait_for_state()
        report = CleanReport(partition)
        found = list(verdicts(opened, state, record_clock=False))
        report.removed = [verdict for verdict in found if verdict.goes]
        report.kept = [verdict for verdict in found if not verdict.goes]
        report.log_start_offset = max(
            [state.log_start_offset, *(verdict.segment.next_offset for verdict in report.removed)]
        )
        return report
    finally:
        opened.close()
