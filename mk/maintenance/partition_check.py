"""Checking one partition, byte by byte: read-only, without a lock, also while others append, roll, remove and recover.

One pass takes `state` as it is at its beginning, and holds against it what can no longer change from there on: what lies below
the durable end, and in this boot below the written end. Where a pass finds damage while the log moves, another one follows;
only what two of them find alike is damage. A log that stands still is read once.
"""

from __future__ import annotations

import os
from stat import S_ISLNK

from mk.errors import CorruptStateError
from mk.maintenance import findings as kinds
from mk.maintenance.epoch_check import EpochCheck
from mk.maintenance.findings import DAMAGE, NOTE, WARNING, Finding
from mk.maintenance.index_check import IndexCheck
from mk.maintenance.producer_check import ProducerCheck
from mk.maintenance.segment_scan import CUT_SHORT, GAP, NEWER, UNLINKED, Fault, SegmentScan
from mk.maintenance.state_check import StateCheck, contradictions
from mk.storage import files
from mk.storage.cleaner_checkpoint import FILE_NAME as CLEANED_FILE
from mk.storage.cleaner_checkpoint import decode_checkpoint
from mk.storage.host import boot_id
from mk.storage.leader_epochs import FILE_NAME as EPOCHS_FILE
from mk.storage.leader_epochs import read_epochs
from mk.storage.log_segment import (
    CLEANED_SUFFIX,
    INDEX_SUFFIX,
    PRODUCERS_SUFFIX,
    UNKNOWN_CHAIN,
    find_headers,
    list_segments,
    open_segment,
    segment_name,
)
from mk.storage.log_truncation import read_truncation
from mk.storage.partition_files import FAILED_FILE, STATE_FILE, TRUNCATION_FILE
from mk.storage.partition_reader import ReadBuffer
from mk.storage.partition_state import LogEnd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.records.record_batch import RecordBatch
    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.log_truncation import Truncation
    from mk.storage.partition_state import PartitionState
    from mk.storage.topic import Topic

_PASSES = 5
"""Passes over a log that moves all the time; what the last two of them find alike counts."""

MAX_FINDINGS = 1000
"""Findings that are kept of one partition. A file of noise would have millions."""


class PartitionCheck:
    """The check of one partition. `findings`, `records` and `size_bytes` are those of the last pass."""

    __slots__ = (
        "_chain",
        "_buffer",
        "_epoch_check",
        "_epochs",
        "_fd",
        "_left_out",
        "_producers",
        "_report",
        "_state",
        "_state_file",
        "_topic",
        "_truncation",
        "findings",
        "partition",
        "path",
        "records",
        "size_bytes",
    )

    _fd: int
    _state_file: StateCheck

    def __init__(self, topic: Topic, partition: int, buffer: ReadBuffer, report: Callable[[int], None] | None) -> None:
        self._topic = topic
        self.partition = partition
        self.path = f"topics/{topic.name}/{partition}"
        self._buffer = buffer
        self._report = report
        self._begin()

    def _begin(self) -> None:
        self.findings: list[Finding] = []
        self.records = self.size_bytes = 0
        self._left_out = 0
        self._chain = UNKNOWN_CHAIN
        self._epoch_check = EpochCheck()
        self._producers = ProducerCheck()
        self._epochs: LeaderEpochs | None = None
        self._state: PartitionState | None = None
        self._truncation: Truncation | None = None

    @property
    def producer_ids(self) -> set[int]:
        """The producer ids of the batches that could be read."""
        return self._producers.seen

    def run(self) -> None:
        """Check the partition. Raises NoSuchTopicError if the topic is deleted meanwhile."""
        before: set[Finding] | None = None
        for _ in range(_PASSES):
            self._begin()
            moved = self._pass()
            damage = {finding for finding in self.findings if finding.severity == DAMAGE}
            if damage:
                # What is missing from a topic that is being deleted is no damage.
                self._topic.check_not_deleted()
            if not damage or not moved or damage == before:
                break
            confirmed = damage if before is None else damage & before
            before = damage
        else:
            self.findings = [finding for finding in self.findings if finding.severity != DAMAGE or finding in confirmed]
        if self._left_out:
            self._add(kinds.MORE, DAMAGE, "", f"{self._left_out} findings more", limit=MAX_FINDINGS + 1)

    # One pass.

    def _pass(self) -> bool:
        """Look at everything once. Returns whether the log moved meanwhile."""
        try:
            self._fd = files.open_directory(str(self.partition), dir_fd=self._topic.fd)
        except (FileNotFoundError, NotADirectoryError):
            self._add(kinds.MISSING_PARTITION, DAMAGE, "", "the partition's directory is missing")
            return True
        try:
            self._state_file = StateCheck(self._fd, self._topic.topic_id)
            try:
                self._look()
                return self._state_file.has_moved()
            finally:
                self._state_file.close()
        finally:
            files.close(self._fd)

    def _look(self) -> None:
        for kind, severity, found, position in self._state_file.faults:
            self._add(kind, severity, STATE_FILE, found, position=position)
        self._state = self._state_file.state
        self._read_epochs()
        self._read_truncation()
        state = self._state
        names = set(os.listdir(self._fd))
        bases = list_segments(self._fd)
        self._check_names(names, bases)
        active = state.segment if state is not None else max(bases, default=0)
        log_start = state.log_start_offset if state is not None else min(bases, default=0)
        # Not above the active one: of a roll that was broken off there may be one at the log start, where all was trimmed.
        first = max((base for base in bases if base <= min(log_start, active)), default=-1)
        is_made_anew = False
        if self._truncation is not None:
            # Killed between `state` and the segments, whoever begins a log anew leaves those of the old log, and not yet the
            # first of the new one.
            first = self._truncation.first_segment
            is_made_anew = not self._truncation.state.written.position
        live = [base for base in bases if max(first, 0) <= base <= active]
        if state is not None:
            for offset, found in contradictions(state):
                self._mismatch(offset, found)
        begins_at = live[0] if live else active
        if first < 0 and log_start < begins_at:
            without_log = [int(name[:20]) for name in names if name[20:] == INDEX_SUFFIX and name[:20].isdecimal()]
            base = max((base for base in without_log if base <= log_start), default=log_start)
            self._missing(log_start, begins_at, "it is missing, and the log begins in it", base=base)
        if active not in live and not is_made_anew:
            end = self._floor(state).offset if state is not None else active
            self._missing(active, end, "it is missing, and `state` names it as the active segment")
        self._chain = 0 if live and live[0] == 0 else UNKNOWN_CHAIN
        if self._chain == UNKNOWN_CHAIN:
            self._producers.lose()
        for base, following in zip(live, [*live[1:], None]):
            is_active = base == active
            if not is_active and following is None:
                following = active  # Its file is missing.
            self._check_segment(base, None if is_active else following)
        self._check_epochs(state)
        self._check_leftovers(state, bases, first)
        if live and live[0] > 0 and self._topic.has_producers() and not self._producers.known:
            found = "no snapshot can be used, and the log no longer begins at 0: what is stored of producer ids cannot be told"
            severity = DAMAGE
            if self._follows():
                # It may have begun at an offset whose snapshot comes with what is copied next.
                found, severity = f"{found}; nobody has to while another directory leads the partition", WARNING
            self._add(
                kinds.MISSING_SNAPSHOT, severity, segment_name(live[-1], PRODUCERS_SUFFIX), found, offset=live[-1]
            )

    def _floor(self, state: PartitionState) -> LogEnd:
        """Return up to where the log has to be whole, as far as `state` knows."""
        return state.written if state.boot_id == boot_id() and not state.syncing else state.durable

    # `state` and the other small files.

    def _mismatch(self, offset: int, found: str) -> None:
        self._add(kinds.STATE_MISMATCH, DAMAGE, STATE_FILE, found, offset=offset)

    def _read_epochs(self) -> None:
        try:
            self._epochs = read_epochs(self._fd, self.path)
        except CorruptStateError as error:
            self._add(kinds.DAMAGED_FILE, DAMAGE, EPOCHS_FILE, error.why)

    def _read_truncation(self) -> None:
        """Where a truncation was broken off, hold what is there against what it leaves: that is what will be.

        Until somebody finishes it `state`, `epochs` and the segments may be as they were or as they shall be.
        """
        try:
            self._truncation = read_truncation(self._fd, self.path)
        except CorruptStateError as error:
            self._add(kinds.DAMAGED_FILE, DAMAGE, TRUNCATION_FILE, error.why)
            return
        if self._truncation is not None:
            end = self._truncation.state.written.offset
            found = (
                f"the log is being cut at offset {end}, to follow another one; whoever changes it next finishes that"
            )
            self._add(kinds.UNFINISHED_TRUNCATION, NOTE, TRUNCATION_FILE, found, offset=end)
            self._state, self._epochs = self._truncation.state, self._truncation.epochs

    def _follows(self) -> bool:
        """Tell whether another directory leads the partition, and `state` knows it: then only copies come behind it."""
        epochs, state = self._epochs, self._state
        return (
            epochs is not None
            and epochs.latest.leader_id != self._topic.directory.directory_id
            and (state is None or state.leader_epoch == epochs.latest.epoch)
        )

    def _check_epochs(self, state: PartitionState | None) -> None:
        if self._epochs is None:
            return
        bound = state.durable.offset if state is not None else 0
        for offset, found in self._epoch_check.differences(self._epochs, bound):
            self._add(kinds.EPOCHS_MISMATCH, DAMAGE, EPOCHS_FILE, found, offset=offset)
        latest = self._epochs.latest.epoch
        if state is not None and latest < state.leader_epoch:
            found = f"it ends with leader epoch {latest}, and `state` has {state.leader_epoch}"
            self._add(kinds.EPOCHS_MISMATCH, DAMAGE, EPOCHS_FILE, found, offset=state.durable.offset)

    def _check_names(self, names: set[str], bases: list[int]) -> None:
        own = {STATE_FILE, EPOCHS_FILE, FAILED_FILE, TRUNCATION_FILE, CLEANED_FILE}
        for name in sorted(names):
            stem, dot, suffix = name.partition(".")
            if name == FAILED_FILE:
                found = "the disk refused a sync and a new segment too: writers stop while it is there"
                self._add(kinds.FAILED, WARNING, name, found)
            elif name.startswith(".tmp-"):
                self._add(kinds.LEFTOVER, NOTE, name, "a process was killed while it wrote this file")
            elif name.endswith(CLEANED_SUFFIX) and stem.isdecimal():
                self._add(kinds.LEFTOVER, NOTE, name, "a process compacts the log, or was killed while it did")
            elif name == CLEANED_FILE:
                self._check_checkpoint()
            elif name not in own and not (
                len(stem) == 20 and stem.isdecimal() and dot and suffix in ("log", "index", "producers")
            ):
                self._add(kinds.UNKNOWN_FILE, NOTE, name, "mk has no file of that name")
            self._check_mode(name)
        self._check_mode(".")
        for base in bases[:-1]:  # The last one may have none yet.
            if segment_name(base, INDEX_SUFFIX) not in names:
                found = "it is missing: looking up an offset or a time reads more"
                self._add(kinds.MISSING_INDEX, NOTE, segment_name(base, INDEX_SUFFIX), found)

    def _check_checkpoint(self) -> None:
        try:
            is_sound = decode_checkpoint(files.read_file(CLEANED_FILE, dir_fd=self._fd)) is not None
        except FileNotFoundError:
            return  # The log was cut back meanwhile.
        except CorruptStateError:
            is_sound = False
        if not is_sound:
            found = (
                "it is not what its checksums say: the next compaction goes through the whole log, and writes it anew"
            )
            self._add(kinds.DAMAGED_FILE, WARNING, CLEANED_FILE, found)

    def _check_mode(self, name: str) -> None:
        try:
            mode = os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if mode & 0o002 and not S_ISLNK(mode):
            self._add(kinds.UNSAFE_MODE, WARNING, "" if name == "." else name, "everybody may write to it")

    # Segments.

    def _check_segment(self, base: int, following: int | None) -> None:
        """Check one segment: a sealed one up to the base of the `following`, the active one up to its end."""
        name = segment_name(base)
        try:
            fd = open_segment(base, partition_fd=self._fd)
        except FileNotFoundError:
            # It was there a moment ago: removed from the front, or the next pass says so again.
            self._missing(base, base if following is None else following, "it is missing")
            self._chain = UNKNOWN_CHAIN
            return
        except CorruptStateError as error:
            self._add(
                kinds.MISSING_SEGMENT, DAMAGE, name, error.why, offset=base, last_offset=self._last(following, base)
            )
            self._chain = UNKNOWN_CHAIN
            return
        try:
            index = self._open_index(base)
            self._producers.begin(self._fd, base)
            size = files.size(fd)
            self.size_bytes += size
            start = LogEnd(0, base, self._chain, -1)
            if following is not None:
                self._check_sealed(fd, name, start, size, following, index)
            elif self._state is not None:
                self._check_active(fd, name, start, size, index, self._state)
            else:
                self._check_tail(fd, name, start, size)
        finally:
            files.close(fd)
        for kind, severity, found in self._producers.end(moved=following is None and self._state_file.has_moved()):
            self._add(kind, severity, segment_name(base, PRODUCERS_SUFFIX), found, offset=base)
        if index is not None and index.found:
            found = f"{index.found}; nobody relies on it"
            self._add(kinds.STALE_INDEX, NOTE, segment_name(base, INDEX_SUFFIX), found, position=index.position)

    def _open_index(self, base: int) -> IndexCheck | None:
        try:
            fd = files.open_file(segment_name(base, INDEX_SUFFIX), os.O_RDONLY, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except CorruptStateError as error:
            self._add(kinds.UNKNOWN_FILE, WARNING, segment_name(base, INDEX_SUFFIX), error.why)
            return None
        try:
            return IndexCheck(fd, base)
        finally:
            files.close(fd)

    def _scan(
        self, fd: int, start: LogEnd, stop_position: int, stop_offset: int | None, index: IndexCheck | None
    ) -> SegmentScan:
        return SegmentScan(
            fd,
            start,
            stop_position,
            leader_epoch=self._epoch_check.leader_epoch,
            stop_offset=stop_offset,
            hints=index.hints() if index is not None else None,
            report=self._report,
            buffer=self._buffer,
        )

    def _check_sealed(
        self, fd: int, name: str, start: LogEnd, size: int, following: int, index: IndexCheck | None
    ) -> None:
        scan = self._scan(fd, start, size, following, index)
        last = None
        for item in scan.run():
            self._take(item, scan, name, index, following)
            last = item
        self._producers.reach(scan.position, scan.offset, scan.chain)
        if index is not None:
            index.reach(scan.position, scan.offset, scan.max_timestamp)
            index.end(scan.position)
        self._chain = scan.chain
        ended = not isinstance(last, Fault) or last.next_offset >= 0
        if scan.offset < following and ended:
            self._chain = UNKNOWN_CHAIN
            self._epoch_check.lose(scan.offset)
            if size == 0 or (index is not None and any(entry[1] > size for entry in index.entries)):
                found = f"it ends there, and the next segment begins at offset {following}"
                self._damage(kinds.TRUNCATED_SEGMENT, name, found, size, scan.offset, following)
            else:
                found = f"{name} ends at offset {scan.offset}, and the next segment begins at {following}"
                self._missing(scan.offset, following, found)
        elif scan.offset == following and size > scan.position:
            found = f"{size - scan.position} bytes behind the end of a sealed segment, which nobody reads"
            self._add(kinds.UNACKNOWLEDGED_TAIL, NOTE, name, found, position=scan.position, offset=following)

    def _check_active(
        self, fd: int, name: str, start: LogEnd, size: int, index: IndexCheck | None, state: PartitionState
    ) -> None:
        floor = self._floor(state)
        scan = self._scan(fd, start, min(size, floor.position), None, index)
        ends = [("written end", state.written)] if floor is state.written else []
        ends.append(("durable end", state.durable))
        whole = True
        cut: Fault | None = None
        for item in scan.run():
            if isinstance(item, Fault):
                if item.kind == CUT_SHORT and size < floor.position:
                    cut = item
                    break
                whole = whole and item.kind == UNLINKED
                self._take(item, scan, name, index, floor.offset)
                continue
            self._compare_ends(ends, scan, whole)
            self._take(item, scan, name, index, floor.offset)
        if size < floor.position:
            found = f"`state` has {floor.position} bytes of it, {size} are there"
            position, offset = (cut.position, cut.offset) if cut is not None else (scan.position, scan.offset)
            self._damage(kinds.STATE_NEWER, name, found, position, offset, floor.offset)
            return
        self._compare_ends(ends, scan, whole)
        for what, end in ends if whole else ():
            self._mismatch(end.offset, f"its {what} is byte {end.position} of {name}, where no batch ends")
        self._chain = scan.chain
        self._producers.reach(scan.position, scan.offset, scan.chain)
        if index is not None:
            index.reach(scan.position, scan.offset, scan.max_timestamp)
        end_position = self._check_tail(fd, name, floor, size)
        if index is not None:
            index.end(1 << 32 if self._state_file.has_moved() else max(end_position, state.written.position))

    def _compare_ends(self, ends: list[tuple[str, LogEnd]], scan: SegmentScan, whole: bool) -> None:
        """Compare the place that the pass is at with what `state` says of it."""
        here = scan.end
        for what, end in list(ends):
            if end.position != here.position:
                continue
            ends.remove((what, end))
            if here.chain == UNKNOWN_CHAIN:
                here.chain = end.chain
            if not whole:
                here.max_timestamp = end.max_timestamp
            if here != end:
                self._mismatch(end.offset, f"its {what} is {end}, and the segment has {here} there")

    def _take(
        self, item: RecordBatch | Fault, scan: SegmentScan, name: str, index: IndexCheck | None, end_offset: int
    ) -> None:
        """Take a batch or a fault of a part that has to be whole."""
        if not isinstance(item, Fault):
            if index is not None:
                index.reach(scan.position, scan.offset, scan.max_timestamp)
            self._epoch_check.take(item)
            self._producers.take(item, scan.position, scan.chain)
            log_start = self._state.log_start_offset if self._state is not None else 0
            self.records += max(0, min(item.record_count, item.next_offset - log_start))
            return
        if item.kind == UNLINKED:
            self._add(kinds.BROKEN_CHAIN, DAMAGE, name, item.found, position=item.position, offset=item.offset)
            return
        if item.kind == NEWER:
            text = f"{item.found}; install a newer mk"
            self._add(kinds.NEWER_BATCH, WARNING, name, text, position=item.position, offset=item.offset)
        self._epoch_check.lose(item.offset)
        self._producers.lose()
        next_offset = item.next_offset if item.next_offset >= 0 else end_offset
        kind = kinds.GAP if item.kind == GAP else kinds.DAMAGED_BATCH
        if item.kind == CUT_SHORT:
            kind = kinds.TRUNCATED_SEGMENT
            next_offset = max(next_offset, end_offset)
        if index is not None:
            index.skip_to(scan.position)
        if item.kind != NEWER:
            self._damage(kind, name, item.found, item.position, item.offset, next_offset)

    # Above what has to be whole.

    def _check_tail(self, fd: int, name: str, start: LogEnd, size: int) -> int:
        """Check what lies above the end that `state` knows: after a reboot it is the log as far as it proves itself.

        What does not prove itself is the rest of a broken-off append, unless a header behind it says that records up to
        above it were on disk by then. Returns the position up to where it proves itself.
        """
        state = self._state
        bound = start.offset
        scan = self._scan(fd, start, size, None, None)
        readable = state is None or state.boot_id != boot_id()
        known_to = -1 if state is None else state.high_watermark
        end: LogEnd | None = None
        found = ""
        for item in scan.run():
            if not isinstance(item, Fault):
                if readable or item.next_offset <= known_to:
                    self.records += item.record_count
                if end is None:
                    self._epoch_check.take(item)
                continue
            if end is None:
                # Before this pass steps over it: what stands from here on proves nothing unless it was acknowledged.
                end, found = LogEnd(item.position, item.offset, 0, -1), item.found
                bound = max(bound, self._acknowledged_to(fd, item.position, item.offset, size))
            if item.offset >= bound:
                break
            next_offset = item.next_offset if item.next_offset >= 0 else bound
            kind = kinds.BROKEN_CHAIN if item.kind == UNLINKED else kinds.DAMAGED_BATCH
            self._damage(kind, name, item.found, item.position, item.offset, next_offset)
        proved = end or scan.end
        if proved.offset >= bound and size > (proved if readable else start).position:
            self._note_tail(name, start, proved, size, found)
        return proved.position

    def _acknowledged_to(self, fd: int, position: int, offset: int, size: int) -> int:
        """Return up to which offset the headers from `position` on say that the log was on disk when they were written."""
        directory_id = self._topic.directory.directory_id
        bound = offset
        for at, batch in find_headers(fd, position, size):
            led_here = self._epochs is None or (
                not self._follows() and self._epochs.led_by(batch.leader_epoch, directory_id)
            )
            if led_here and batch.durable_offset > bound:
                bound = batch.durable_offset
            if self._state is None and at > position and batch.base_offset > bound:
                bound = batch.base_offset
        return bound

    def _note_tail(self, name: str, start: LogEnd, end: LogEnd, size: int, found: str) -> None:
        if self._state_file.has_moved():
            return  # Somebody appends: what stood there is no tail any more.
        text = f"{size - start.position} bytes above the end that `state` knows"
        if end.offset > start.offset:
            text += f"; offsets {start.offset} to {end.offset - 1} are whole"
        if size > end.position:
            text += f"; from byte {end.position} on: {found}"
        text += "; an append under way or broken off, which the next writer sees to"
        self._add(kinds.UNACKNOWLEDGED_TAIL, NOTE, name, text, position=start.position, offset=start.offset)

    def _check_leftovers(self, state: PartitionState | None, bases: list[int], first: int) -> None:
        """Look at segments that are not part of the log: below its start, and above the active one."""
        for base in bases:
            if self._truncation is not None:
                if not first <= base <= self._truncation.state.segment:
                    self._add(kinds.LEFTOVER, NOTE, segment_name(base), "the truncation removes it")
            elif base < first:
                self._add(
                    kinds.LEFTOVER, NOTE, segment_name(base), "the log begins behind it; the next clean removes it"
                )
            elif state is not None and base > state.segment:
                try:
                    size = os.stat(segment_name(base), dir_fd=self._fd, follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
                # In this order: a segment is named in `state` before its first byte.
                now = self._state_file.newest()
                if now is None or now.segment >= base:
                    continue
                if size:
                    found = f"it ends in segment {state.segment}, and {segment_name(base)} holds {size} bytes"
                    self._add(kinds.STATE_OLDER, DAMAGE, STATE_FILE, found, offset=base)
                else:
                    self._add(kinds.LEFTOVER, NOTE, segment_name(base), "of a roll that was broken off")

    # Findings.

    def _last(self, following: int | None, base: int) -> int | None:
        if following is not None:
            return following - 1
        end = self._floor(self._state).offset if self._state is not None else base
        return end - 1 if end > base else None

    def _missing(self, offset: int, next_offset: int, found: str, *, base: int = -1) -> None:
        self._epoch_check.lose(offset)
        self._producers.lose()
        last_offset = next_offset - 1 if next_offset > offset else None
        name = segment_name(base if base >= 0 else offset)
        self._add(kinds.MISSING_SEGMENT, DAMAGE, name, found, offset=offset, last_offset=last_offset)

    def _damage(self, kind: str, name: str, found: str, position: int, offset: int, next_offset: int) -> None:
        last_offset = next_offset - 1 if next_offset > offset else None
        self._add(kind, DAMAGE, name, found, position=position, offset=offset, last_offset=last_offset)

    def _add(
        self,
        kind: str,
        severity: str,
        name: str,
        found: str,
        *,
        position: int | None = None,
        offset: int | None = None,
        last_offset: int | None = None,
        limit: int = MAX_FINDINGS,
    ) -> None:
        if len(self.findings) >= limit:
            self._left_out += severity == DAMAGE
            return
        path = f"{self.path}/{name}" if name else self.path
        self.findings.append(
            Finding(self._topic.name, self.partition, kind, severity, path, found, position, offset, last_offset)
        )
