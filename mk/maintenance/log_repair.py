"""Repairing one partition: what cannot be read any more is kept in quarantine/ and covered by a batch without records.

No offset is given out again, so nobody who had read up to there skips anything. Only what is lost is replaced: the batches in front
of it and behind it stay, in a new file that is renamed over the old one. An active segment that is damaged is sealed: the log
goes on in a new one, which `state` names before anything is renamed. So a kill leaves damage that the next repair finds again.
A copy of another directory's log gets no such batch, which its leader would not have: it is cut back to the damage, and the next
replication brings the rest.
Source: man/mk-guarantees.7, REPAIR.
"""

from __future__ import annotations

import os
import time

from mk.errors import CorruptStateError, StorageError
from mk.maintenance.segment_scan import NEWER, UNLINKED, Fault, SegmentScan
from mk.records.bridge import bridge, chain_before
from mk.records.record_batch import COMPACTED, HEADER_SIZE, parse_header
from mk.storage import files, log_truncation, offset_index
from mk.storage.follower_log import FollowerLog
from mk.storage.held_log import held_log
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs, read_epochs, write_epochs
from mk.storage.log_recovery import begin_segment
from mk.storage.log_segment import INDEX_SUFFIX, UNKNOWN_CHAIN, list_segments, open_segment, segment_name
from mk.storage.partition_files import FAILED_FILE, TRUNCATION_FILE
from mk.storage.partition_state import LogEnd, PartitionState, write_state
from mk.storage.producer_state import ProducerState, read_snapshot
from mk.storage.quarantine import evidence_name, keep_copy
from mk.storage.replica_directory import known_replicas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.records.record_batch import RecordBatch

_WAIT = "wait, raise --lock-wait, or stop that process, then run it again"
_PIECE = 1 << 20
_PROBE_BYTES = 1 << 20
_MOST_LOST = 1 << 48


class RepairReport:
    """What was found in a partition and what became of it, or would.

    lost: ranges of offsets that cannot be read any more, both ends included. done: what was done, a sentence each. kept: files in
    quarantine/ with the damaged bytes. left: what is wrong still, and why.
    """

    __slots__ = ("done", "kept", "left", "lost", "partition")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.lost: list[tuple[int, int]] = []
        self.done: list[str] = []
        self.kept: list[str] = []
        self.left: list[str] = []

    def document(self, topic: str) -> dict[str, object]:
        """Return it ready for JSON."""
        return {"topic": topic, **{name: getattr(self, name) for name in ("partition", "lost", "done", "kept", "left")}}


class _Part:
    """A piece of a segment's new content: good bytes from start to stop, or a bridge over the offsets that were lost.

    For a bridge, start to stop are the damaged bytes, and chain is that with which the log goes on.
    """

    __slots__ = ("chain", "first_offset", "is_bridge", "next_offset", "start", "stop")

    def __init__(self, start: int, stop: int, first_offset: int, next_offset: int, *, is_bridge: bool = False) -> None:
        self.start, self.stop = start, stop
        self.first_offset, self.next_offset = first_offset, next_offset
        self.is_bridge = is_bridge
        self.chain = UNKNOWN_CHAIN


class _Segment:
    """What was found in one segment file; base: its name. exists: False if the file is missing."""

    __slots__ = ("base", "epochs", "exists", "first", "last", "left", "parts", "sequences")

    def __init__(self, base: int) -> None:
        self.base = base
        self.exists = True
        self.parts: list[_Part] = []
        self.epochs: list[tuple[int, int]] = []
        self.first: RecordBatch | None = None
        self.last: RecordBatch | None = None
        self.left: list[str] = []
        self.sequences: dict[int, int] = {}

    @property
    def is_damaged(self) -> bool:
        return any(part.is_bridge for part in self.parts)

    @property
    def next_offset(self) -> int:
        return self.parts[-1].next_offset if self.parts else self.base


class LogRepair(FollowerLog):
    """One partition, open for repair."""

    __slots__ = ()

    @staticmethod
    def _read_epochs(partition_fd: int, path: str) -> LeaderEpochs:
        """Read `epochs`; where they are damaged, nobody leads until they are made again."""
        try:
            return read_epochs(partition_fd, path)
        except CorruptStateError:
            return LeaderEpochs([EpochEntry(0, 0, "")])

    def plan(self, *, restored: bool) -> RepairReport:
        """Tell what `repair` would do, without a lock and without changing anything."""
        report = RepairReport(self.partition)
        if files.exists(FAILED_FILE, dir_fd=self._files.fd):
            report.done.append("the disk is tried, and FAILED is removed if it takes what it is given")
        state, epochs, segments = self._find(report)
        self._tell(state, epochs, segments, report, restored=restored)
        return report

    def repair(self, *, restored: bool) -> RepairReport:
        """Repair the partition; all is on disk when it returns.

        Raises:
            StorageError: FAILED is set, and the disk refuses still.
            LockTimeoutError: nothing was changed.
        """
        report = RepairReport(self.partition)
        with held_log(self, fix=_WAIT):
            if files.exists(TRUNCATION_FILE, dir_fd=self._files.fd):
                self._finish_truncation()
            failed = files.exists(FAILED_FILE, dir_fd=self._files.fd)
            if failed:
                self._prove_disk()
                files.unlink(FAILED_FILE, dir_fd=self._files.fd)
                files.fsync(self._files.fd)
            state, epochs, segments = self._find(report)
            self._tell(state, epochs, segments, report, restored=restored)
            if report.done:
                self._change(state, epochs, segments, report, restored=restored)
            if failed:
                report.done.append("the disk takes what it is given again: FAILED is removed")
            self._changeable()
        return report

    # Looking.

    def _find(self, report: RepairReport) -> tuple[PartitionState | None, LeaderEpochs | None, list[_Segment]]:
        state = self._files.read_state()
        try:
            epochs: LeaderEpochs | None = read_epochs(self._files.fd, self._files.path)
        except CorruptStateError as error:
            epochs = None
            self._refuse_copy(error)
        bases = list_segments(self._files.fd)
        if state is not None:
            bases = [base for base in bases if base <= state.segment]
            first = max((base for base in bases if base <= state.log_start_offset), default=-1)
            bases = [base for base in bases if base >= first]
        segments: list[_Segment] = []
        offset = state.log_start_offset if state is not None else (bases[0] if bases else 0)
        if bases and bases[0] <= offset:
            offset = bases[0]
        chain, epoch = (0 if offset == 0 else UNKNOWN_CHAIN), -1
        for number, base in enumerate(bases):
            if base > offset:
                segments.append(self._missing(offset, base))
                chain = UNKNOWN_CHAIN
            following = bases[number + 1] if number + 1 < len(bases) else None
            if following is None and state is not None and state.segment > base:
                following = state.segment  # Whose file is missing.
            found, chain, epoch = self._scan(base, following, state, chain, epoch)
            segments.append(found)
            offset = max(found.next_offset, base)
        if state is not None and state.segment not in bases and offset < state.durable.offset:
            segments.append(self._missing(offset, state.durable.offset))
        report.left += [left for segment in segments for left in segment.left]
        _chain_bridges(segments, state)
        return state, epochs, segments

    def _refuse_copy(self, error: CorruptStateError) -> None:
        """Raise for a copy of another directory's log: with epochs of our making, two would lead it."""
        topic = self._files.topic
        for replica in known_replicas(topic.directory):
            if (topic.topic_id, self.partition) in replica.source:
                raise CorruptStateError(
                    path=str(error.facts["path"]),
                    found=f"{error.why}; and it is a copy of what {replica.address or replica.directory_id} leads, or led",
                    fix=f"`mk topics delete {topic.name}` here, and replicate it again; nothing was changed",
                )

    def _missing(self, first_offset: int, next_offset: int) -> _Segment:
        segment = _Segment(first_offset)
        segment.exists = False
        segment.parts.append(_Part(0, 0, first_offset, next_offset, is_bridge=True))
        return segment

    def _scan(
        self, base: int, following: int | None, state: PartitionState | None, chain: int, epoch: int
    ) -> tuple[_Segment, int, int]:
        segment = _Segment(base)
        fd = open_segment(base, partition_fd=self._files.fd)
        try:
            size = files.size(fd)
            stop_offset = following
            end_offset = following
            if following is None and state is not None and state.segment == base:
                end_offset = state.durable.offset
            scan = SegmentScan(fd, LogEnd(0, base, chain, -1), size, leader_epoch=epoch, stop_offset=stop_offset)
            for item in scan.run():
                if isinstance(item, Fault):
                    self._take_fault(segment, item, scan, size, end_offset)
                    continue
                batch = item
                if not segment.epochs or batch.leader_epoch != segment.epochs[-1][0]:
                    segment.epochs.append((batch.leader_epoch, batch.base_offset))
                parts = segment.parts
                if parts and not parts[-1].is_bridge and parts[-1].stop == batch.position:
                    parts[-1].stop += batch.size_bytes
                    parts[-1].next_offset = batch.next_offset
                else:
                    at = batch.position
                    parts.append(_Part(at, at + batch.size_bytes, batch.base_offset, batch.next_offset))
                if len(parts) > 1 and parts[-2].is_bridge and parts[-1].first_offset == batch.base_offset:
                    parts[-2].chain = _before(batch, parts[-2].chain)
                segment.first = segment.first or parse_header(files.pread(fd, HEADER_SIZE, batch.position))
                segment.last = batch
                if batch.producer_id:
                    segment.sequences[batch.producer_id] = batch.last_sequence
            if end_offset is not None and segment.next_offset < end_offset:
                segment.parts.append(_Part(scan.position, size, segment.next_offset, end_offset, is_bridge=True))
            return segment, scan.chain, scan.leader_epoch
        finally:
            files.close(fd)

    @staticmethod
    def _take_fault(segment: _Segment, fault: Fault, scan: SegmentScan, size: int, end_offset: int | None) -> None:
        if fault.kind == NEWER:
            segment.left.append(f"offset {fault.offset}: {fault.found}; a newer mk can read it")
            segment.parts.append(_Part(fault.position, scan.position, fault.offset, fault.next_offset))
            return
        if fault.kind == UNLINKED:
            segment.left.append(f"offset {fault.offset}: {fault.found}; its records can be read, and are kept")
            return
        next_offset = fault.next_offset if fault.next_offset >= 0 else -1
        if next_offset < 0 and (end_offset is None or end_offset <= fault.offset):
            return  # Behind the end of what is known to have been acknowledged: a recovery cuts that.
        if next_offset < 0:
            assert end_offset is not None
            next_offset = end_offset
        stop = scan.position if scan.offset == next_offset else size
        segment.parts.append(_Part(fault.position, stop, fault.offset, next_offset, is_bridge=True))

    def _tell(
        self,
        state: PartitionState | None,
        epochs: LeaderEpochs | None,
        segments: list[_Segment],
        report: RepairReport,
        *,
        restored: bool,
    ) -> None:
        if epochs is None:
            report.done.append("`epochs` is made again of the batches; this directory leads")
        if state is None:
            report.done.append("`state` is made again of the segments")
        leads = epochs is None or epochs.latest.leader_id == self._files.topic.directory.directory_id
        lost = [part for segment in segments for part in segment.parts if part.is_bridge]
        if restored and leads and state is not None:
            report.done.append("goes on under a later leader epoch; what followers have more goes to their quarantine/")
        if not lost:
            return
        report.lost = [(part.first_offset, part.next_offset - 1) for part in lost]
        ranges = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in report.lost)
        if not leads:
            report.lost = []
            report.done.append(
                f"the copy is cut back to offset {lost[0].first_offset}; `mk replicate` from its leader brings the rest"
            )
        elif restored and lost[-1].next_offset == segments[-1].next_offset and state is not None:
            report.done.append(
                f"offsets {ranges} are not in this copy, and are given out again under a later leader epoch"
                if len(lost) == 1
                else f"offsets {ranges} are lost; the last of them are given out again under a later leader epoch"
            )
        else:
            if any(one.next_offset - one.first_offset > _MOST_LOST for one in lost):
                # What covers them is written batch by batch: a state that names an end like 2^63 would fill the disk.
                raise CorruptStateError(
                    path=f"{self._files.path}/state",
                    found=f"it would have offsets {ranges} lost, more than any log has had",
                    fix="restore the files of this partition from a copy; nothing was changed",
                )
            report.done.append(f"offsets {ranges} are lost, and are not given out again")

    # Changing, under the lock.

    def _change(
        self,
        state: PartitionState | None,
        epochs: LeaderEpochs | None,
        segments: list[_Segment],
        report: RepairReport,
        *,
        restored: bool,
    ) -> None:
        directory_id = self._files.topic.directory.directory_id
        if epochs is None:
            epochs = _epochs_of(segments, directory_id)
            write_epochs(self._files.fd, epochs)
        self._epochs = epochs
        damaged = [segment for segment in segments if segment.is_damaged]
        if state is None:
            state = _state_of(self._files.topic.topic_id, epochs, segments)
            damaged = damaged or segments[-1:]
            if not segments:
                raise CorruptStateError(path=f"{self._files.path}/state", found="no slot and no segment is left")
        elif not damaged:
            if restored and epochs.latest.leader_id == directory_id:
                self._begin_epoch(restored=True)
            return
        if epochs.latest.leader_id != directory_id:
            self._cut_copy(state, epochs, damaged[0], report)
            return
        last = segments[-1]
        end_offset, epoch = last.next_offset, _later(epochs.latest.epoch, restored=restored)
        cut = None
        if restored and last.parts and last.parts[-1].is_bridge:
            cut = last.parts.pop()
            end_offset = cut.first_offset
        for segment in damaged:
            for part in (*segment.parts, *([cut] if cut is not None and segment is last else [])):
                if part.is_bridge and part.stop > part.start:
                    report.kept.append(self._keep(segment, part, epochs))
        # From here on the log ends where it did, or would have: the next append is of another epoch.
        new_epochs = epochs.raised(end_offset, epoch)
        state = state.copy()
        if last.is_damaged or cut is not None or state.boot_id == _UNKNOWN:
            chain = _end_chain(last, state)
            if last.base != end_offset or files.exists(segment_name(last.base), dir_fd=self._files.fd):
                write_epochs(self._files.fd, new_epochs)
                self._epochs = new_epochs
                state.leader_epoch = new_epochs.latest.epoch
                state.cleaned_to = max(state.cleaned_to, *(segment.next_offset for segment in damaged))
                state.cleaned_to = min(state.cleaned_to, end_offset)
                state.log_start_offset = min(state.log_start_offset, end_offset)
                state.segment = min(state.segment, last.base) if last.exists else state.segment
                state.sequence = max(state.sequence, 1)
                self._close_segment()
                end = LogEnd(1, end_offset, chain, -1)
                begin_segment(self._files, state, end)
                self._keep_producers(segments, end_offset, chain)
            for segment in damaged:
                if segment.parts:
                    self._put(segment, self._write_anew(segment, epochs))
        else:
            state.cleaned_to = max(state.cleaned_to, *(segment.next_offset for segment in damaged))
            write_state(self._files.state_fd, state)
            files.fdatasync(self._files.state_fd)
            for segment in damaged:
                self._put(segment, self._write_anew(segment, epochs))
            self._begin_epoch(restored=restored)

    def _begin_epoch(self, *, restored: bool) -> None:
        """Raise the leader epoch where the log ends, on disk on return."""
        state = self._make_all_durable(self._changeable())
        epoch = _later(self._epochs.latest.epoch, restored=restored)
        self._adopt(state, self._epochs.raised(state.written.offset, epoch))

    def _cut_copy(self, state: PartitionState, epochs: LeaderEpochs, segment: _Segment, report: RepairReport) -> None:
        """Cut a copy back to its first damage: what is behind goes to quarantine/, and comes again from its leader."""
        good = segment.parts[0] if segment.parts and not segment.parts[0].is_bridge else None
        position = good.stop if good is not None else 0
        offset = good.next_offset if good is not None else segment.base
        chain = segment.last.chain if good is not None and len(segment.parts) == 2 and segment.last else UNKNOWN_CHAIN
        place = LogEnd(position, offset, chain, -1)
        kept = LeaderEpochs([entry for entry in epochs.entries if entry.first_offset < offset] or epochs.entries[:1])
        if kept.latest.epoch < epochs.latest.epoch:
            kept = kept.fenced(offset, epochs.latest)
        log_truncation.truncate_to(self._files, state, segment.base, place, kept, max(epochs.epoch_before(offset), 0))
        self._forget(kept)

    def _keep(self, segment: _Segment, part: _Part, epochs: LeaderEpochs) -> str:
        name = evidence_name(self._files, part.first_offset, max(epochs.epoch_before(part.first_offset + 1), 0))
        fd = open_segment(segment.base, partition_fd=self._files.fd)
        try:
            keep_copy(self._files, fd, part.start, part.stop, name)
        finally:
            files.close(fd)
        return name

    def _keep_producers(self, segments: list[_Segment], offset: int, chain: int) -> None:
        """Write down what is stored of producer ids, in front of the new segment: what can be read. Input that was lost is stored
        again by who runs his command again, unless later input of his came behind it."""
        if not self._files.topic.has_producers() or read_snapshot(self._files, offset) is not None:
            return
        known: dict[int, int] = {}
        for segment in segments:
            snapshot = read_snapshot(self._files, segment.base)
            for sequences in (snapshot.last_sequences if snapshot is not None else {}, segment.sequences):
                for producer_id, last in sequences.items():
                    known[producer_id] = max(last, known.get(producer_id, -1))
        ProducerState(offset, 0, offset, chain, known).write_snapshot(self._files)

    def _write_anew(self, segment: _Segment, epochs: LeaderEpochs) -> str:
        """Write the new content of a segment beside it, on disk on return, and return the name."""
        temporary = f".tmp-{os.urandom(8).hex()}"
        source = open_segment(segment.base, partition_fd=self._files.fd) if segment.exists else -1
        fd = files.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=self._files.fd)
        try:
            position = 0
            for part in segment.parts:
                if part.is_bridge:
                    data = _bridge(part, epochs)
                    files.pwrite(fd, data, position)
                    position += len(data)
                    continue
                at = part.start
                while at < part.stop:
                    data = files.pread(source, min(_PIECE, part.stop - at), at)
                    if not data:
                        raise CorruptStateError(path=self._files.segment_path(segment.base), found="it became shorter")
                    files.pwrite(fd, data, position)
                    at, position = at + len(data), position + len(data)
            if source >= 0:
                files.set_last_write(fd, os.fstat(source).st_mtime_ns)
            files.fsync(fd)
        finally:
            files.close(fd)
            if source >= 0:
                files.close(source)
        return temporary

    def _put(self, segment: _Segment, temporary: str) -> None:
        """Put the new content in the place of a segment, with an index of it. Killed in between it has none, which is only slow."""
        dir_fd = self._files.fd
        try:
            files.unlink(segment_name(segment.base, INDEX_SUFFIX), dir_fd=dir_fd)
        except FileNotFoundError:
            pass
        files.rename(temporary, segment_name(segment.base), src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        files.fsync(dir_fd)
        fd = self._files.open_index_for_append(segment.base)
        try:
            files.pwrite(fd, self._index_of(segment.base), 0)
        finally:
            files.close(fd)

    def _index_of(self, base: int) -> bytes:
        """Return the index of a segment that is whole, by its headers."""
        fd = open_segment(base, partition_fd=self._files.fd)
        try:
            entries, position, max_timestamp = [], 0, -1
            while (batch := parse_header(files.pread(fd, HEADER_SIZE, position))) is not None:
                start, position = position, position + batch.size_bytes
                max_timestamp = max(max_timestamp, batch.max_timestamp)
                relative = batch.next_offset - base
                is_last = position >= files.size(fd)
                if relative <= offset_index.MAX_RELATIVE and (is_last or offset_index.entry_due(start, position)):
                    entries.append(offset_index.ENTRY.pack(relative, position, max_timestamp))
            return b"".join(entries)
        finally:
            files.close(fd)

    def _finish_truncation(self) -> None:
        record = log_truncation.read_truncation(self._files.fd, self._files.path)
        if record is not None:
            log_truncation.finish(self._files, record, self._files.read_state())

    def _prove_disk(self) -> None:
        """Write, sync and read back, from the disk where that can be had. Raises StorageError if it refuses."""
        data = os.urandom(_PROBE_BYTES)
        # A new file under a name that nobody knows before: under a fixed one somebody else could have put a second name of a
        # file of ours, which would be emptied and written over as it is opened.
        probe = f".tmp-{os.urandom(8).hex()}"
        try:
            fd = files.open_file(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, dir_fd=self._files.fd)
            try:
                files.pwrite(fd, data, 0)
                files.fsync(fd)
                files.drop_cache(fd, len(data))
                is_same = files.pread(fd, len(data), 0) == data
            finally:
                files.close(fd)
                files.unlink(probe, dir_fd=self._files.fd)
            files.fsync(self._files.fd)
            why = "" if is_same else "what was written there came back as something else"
        except OSError as error:
            why = os.strerror(error.errno or 0)
        if why:
            raise StorageError(
                f"the disk of {self._files.path} refuses still",
                why=why,
                fix="look at it (dmesg), make room, or copy the directory to another disk; FAILED stays, nothing was changed",
                path=self._files.path,
            )


_UNKNOWN = "unknown"


def _later(epoch: int, *, restored: bool) -> int:
    """Return the leader epoch after this one: of a repair, as of a recovery; of an older copy, as of a promotion."""
    return ((epoch >> 32) + 1) << 32 if restored else epoch + 1


def _before(batch: RecordBatch, known: int) -> int:
    return known if batch.attributes & COMPACTED else chain_before(batch)


def _chain_bridges(segments: list[_Segment], state: PartitionState | None) -> None:
    """Have each bridge at the end of a segment lead to what comes behind it."""
    for number, segment in enumerate(segments):
        if not segment.is_damaged:
            continue
        following = next((other.first for other in segments[number + 1 :] if other.first is not None), None)
        previous = 0
        for part in segment.parts:
            if part.is_bridge and part.chain == UNKNOWN_CHAIN:
                if part is segment.parts[-1] and following is not None:
                    part.chain = _before(following, previous)
                elif state is not None and part.next_offset == state.durable.offset:
                    part.chain = max(state.durable.chain, 0)
                else:
                    part.chain = previous
            if part.is_bridge:
                previous = part.chain


def _bridge(part: _Part, epochs: LeaderEpochs) -> bytes:
    """Return the batches that cover what was lost; none of two leader epochs."""
    data, first = b"", part.first_offset
    stops = [
        entry.first_offset for entry in epochs.entries if part.first_offset < entry.first_offset < part.next_offset
    ]
    for stop in (*stops, part.next_offset):
        data += bridge(first, stop, max(epochs.epoch_before(first + 1), 0), part.chain)
        first = stop
    return data


def _end_chain(last: _Segment, state: PartitionState) -> int:
    if last.parts and last.parts[-1].is_bridge:
        return max(last.parts[-1].chain, 0)
    if last.last is not None:
        return last.last.chain
    return max(state.durable.chain, 0)


def _epochs_of(segments: list[_Segment], directory_id: str) -> LeaderEpochs:
    entries: list[EpochEntry] = []
    for segment in segments:
        for epoch, first_offset in segment.epochs:
            if not entries or epoch > entries[-1].epoch:
                entries.append(EpochEntry(epoch, first_offset, directory_id))
    return LeaderEpochs(entries or [EpochEntry(0, 0, directory_id)])


def _state_of(topic_id: str, epochs: LeaderEpochs, segments: list[_Segment]) -> PartitionState:
    state = PartitionState(topic_id, _UNKNOWN)
    # Readers that saw the lost one believe only a newer one.
    state.sequence = time.time_ns()
    state.log_start_offset = segments[0].base if segments else 0
    state.leader_epoch = epochs.latest.epoch
    state.segment = segments[-1].base if segments else 0
    state.written = state.durable = LogEnd(0, state.segment, UNKNOWN_CHAIN, -1)
    return state
