"""A partition that follows another directory's: it takes whole batches at the offsets that they have there.

Never trusts its source: whether its log may be followed is decided again under the lock, and each batch is proved before one
byte of it is written. What readers see is what a sync has put on disk. A follower neither raises an epoch nor begins a
segment of its own accord, so its segments are byte for byte those of the source.
Source: man/mk-guarantees.7, FOLLOWING.
"""

from __future__ import annotations

import os
import time

from mk import clock
from mk.errors import (
    BadCopyError,
    DataError,
    DivergedLogError,
    PartitionFailedError,
    StaleSourceError,
    StorageError,
    TryAgainError,
    UnsupportedBatchError,
)
from mk.storage import files, log_truncation
from mk.storage.copy_proof import BadBatchError, CopyProof
from mk.storage.held_log import held_log
from mk.storage.host import boot_id
from mk.storage.leader_epochs import FILE_NAME as EPOCHS_FILE
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs, read_epochs, write_epochs
from mk.storage.log_segment import UNKNOWN_CHAIN, find_headers, list_segments, open_segment, validate
from mk.storage.partition_files import TRUNCATION_FILE
from mk.storage.partition_log import STATE_SYNC_SECONDS, PartitionLog
from mk.storage.partition_state import LogEnd, prepare, write_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.partition_files import PartitionFiles
    from mk.storage.partition_state import PartitionState
    from mk.storage.topic import Topic

_WAIT = "wait, raise --lock-wait, or stop that process, then run it again; nothing was changed"
_WRITEBACK_BYTES = 8 << 20
"""So much is appended before the disk is told to begin with it: what a sync then has to wait for stays small."""

_PAUSE_SECONDS = 0.002
"""Between two goes at a long list of files, so that those who wait for the lock get it."""


class _held(held_log):
    """Hold the lock of a FollowerLog for a `with` block, and give words to what the system refuses in it."""

    __slots__ = ()

    def __init__(self, log: FollowerLog) -> None:
        super().__init__(log, fix=_WAIT)

    def __exit__(self, *exc: object) -> None:
        super().__exit__()
        if len(exc) > 1 and isinstance(exc[1], OSError):
            raise self._log._refused(exc[1]) from None


class FollowerLog(PartitionLog):
    """One partition, open for copies of another directory's batches, and for changes of who leads it.

    Others may do the same meanwhile. Each call takes the partition's lock and finishes first what a killed one has left.
    """

    __slots__ = ("_epochs_file", "_names_are_synced")

    def __init__(self, topic: Topic, partition: int, *, lock_wait_ms: int = 10_000) -> None:
        super().__init__(topic, partition, lock_wait_ms=lock_wait_ms)
        self._epochs_file = (0, 0)
        self._names_are_synced = False

    @property
    def partition(self) -> int:
        return self._files.partition

    @property
    def files(self) -> PartitionFiles:
        """The open files, for who holds the lock and copies them."""
        return self._files

    @property
    def epochs(self) -> LeaderEpochs:
        """Who leads and led, as of the last look under the lock."""
        return self._epochs

    # What a replication does.

    def attach(self, epochs: LeaderEpochs, end_offset: int, prefix_offset: int, chain: int) -> int:
        """Follow a log from where both hold the same records. Returns where the next batch has to begin.

        epochs, end_offset: of that log. prefix_offset: up to there both are the same, as far as epochs tell; chain: of its
        batch that ends there, UNKNOWN_CHAIN if that cannot be told, and then the first batch has to prove it. What stands
        here above goes to quarantine/, if the other log has a newer leader. All on disk when it returns.

        Raises:
            DivergedLogError: this log has records that the other one does not have, and no newer leader took them away.
            StaleSourceError: this directory leads, or knows of a newer leader than the other one.
            TryAgainError: this log is no longer as the caller saw it. In all cases, nothing was changed.
        """
        with _held(self):
            state = self._changeable()
            self._check_source(epochs, end_offset)
            own, end = self._epochs, state.written.offset
            common = own.common_prefix(end, epochs, end_offset)
            if common != prefix_offset and common < end:
                raise self._moved(f"it is the source's up to offset {common}, and was up to {prefix_offset}")
            adopted = self._adopted(common, epochs)
            cut = self._place_of(common, state) if common < end else (state.segment, state.written)
            if cut is None:
                raise self._diverged(f"no batch ends here at offset {common}, from which on the records are different")
            # Beyond our end, since the caller looked we lost what was not on disk, or finished what a killed one had begun:
            # the first batch has to prove it.
            own_chain = self._chain_at(prefix_offset, state) if prefix_offset <= end else UNKNOWN_CHAIN
            if UNKNOWN_CHAIN not in (chain, own_chain) and chain != own_chain:
                raise self._diverged(f"the records below offset {prefix_offset} are not the same here and there")
            segment, place = cut
            if place.chain == UNKNOWN_CHAIN and common == prefix_offset:
                # Promoted without it, this log would go on with a chain that no other one continues.
                known = own_chain if chain == UNKNOWN_CHAIN else chain
                place = place.chained(UNKNOWN_CHAIN if known is None else known)
            if common < end:
                self._check_cut(common, end, epochs)
                state = self._make_all_durable(state)
                if self._leads():
                    state = self._adopt(state, own.fenced(end, epochs.latest))
                epoch = own.epoch_before(end)
                log_truncation.truncate_to(self._files, state, segment, place, adopted, epoch)
                self._forget(adopted)
            elif adopted != own or state.leader_epoch != adopted.latest.epoch or place != state.written:
                state = self._make_all_durable(state).copy()
                state.written = state.durable = place
                self._adopt(state, adopted)
            return common

    def restart(self, epochs: LeaderEpochs, first_offset: int) -> int:
        """Begin the log anew at `first_offset`, to follow another one from there; all that is here goes to quarantine/.

        On disk when it returns. Raises DivergedLogError, StaleSourceError: nothing was changed.
        """
        with _held(self):
            state = self._changeable()
            self._check_source(epochs, first_offset)
            state = self._make_all_durable(state)
            own, end = self._epochs, state.written.offset
            if self._leads():
                state = self._adopt(state, own.fenced(end, epochs.latest))
            common, epoch = own.common_prefix(end, epochs, 1 << 63), max(own.epoch_before(end), 0)
            log_truncation.begin_anew(self._files, state, first_offset, common, epochs, epoch)
            self._forget(epochs)
            return first_offset

    def append_copies(
        self, data: bytes | memoryview, base_offset: int, *, begins_segment: bool, producers: bytes = b""
    ) -> int:
        """Append whole batches of the log that is followed, all of them or none. Returns where the next one has to begin.

        None at all, where the log has none yet: then there is nothing but the snapshot, which is on disk when it returns.
        Else not on disk, and not seen by readers, before `sync`. begins_segment: a segment of the source begins at base_offset,
        and so does one here. producers: its `.producers` snapshot, which is used where this log cannot tell by itself.

        Raises:
            BadCopyError: a batch does not prove itself, or does not fit here.
            StaleSourceError, TryAgainError: this directory leads now, or somebody else appended copies.
            DiskFullError: no room. In all cases, nothing was written.
        """
        with _held(self):
            state = self._refresh()
            if base_offset != state.written.offset:
                raise self._moved(f"its next offset is {state.written.offset}, and was {base_offset}")
            if not data:
                self._keep_start(producers, state)
                return base_offset
            rolls = begins_segment and state.segment != base_offset
            self._load_producers(state)
            proof = self._prove(memoryview(data), base_offset if rolls else state.segment, state, rolls)
            self._files.check_room(len(data))
            if not self._names_are_synced:
                # A record of a truncation may be gone for us and not on disk: it would come back with the power, and cut
                # off what we append.
                files.fsync(self._files.fd)
                self._names_are_synced = True
            if rolls:
                state = self._roll(state)
            if begins_segment and base_offset > 0:
                self._keep_snapshot(base_offset, producers, data)
            self._write([data], len(data), state)
            new = state.copy()
            new.written = proof.end
            new.began_ms = state.began_ms or clock.now_ms()
            new.cleaned_to = max(state.cleaned_to, proof.compacted_to)
            new.tombstones_dropped_to = max(state.tombstones_dropped_to, proof.compacted_to)
            prepare(new)
            self._publish(new)
            if self._producers is not None:
                self._producers.copied(proof.last_sequences, proof.batches, new.segment, proof.end)
            if proof.entries:
                self._files.append_to_index(new.segment, proof.entries)
            begun = state.written.position // _WRITEBACK_BYTES * _WRITEBACK_BYTES
            if proof.end.position - begun >= _WRITEBACK_BYTES:
                files.begin_writeback(self._segment_fd, begun, proof.end.position - begun)
            return proof.end.offset

    def sync(self) -> int:
        """Put all that was appended on disk, let it be read, and return where the log ends now."""
        with _held(self):
            state = self._refresh()
            if state.durable.offset < state.written.offset or state.high_watermark < state.written.offset:
                state = self._make_all_durable(state)
                self._state_unsynced = True
            if self._producers is not None:
                self._save_producers(self._producers, state)
        if time.monotonic() - self._state_synced_at > STATE_SYNC_SECONDS:
            self._sync_state()
        return state.high_watermark

    def advance_log_start(self, offset: int) -> int:
        """Have the log begin at `offset`, as its source does, and remove the segments below it. Returns where it begins.

        Never beyond what is on disk here: a log must not begin behind its end. An offset at which it has begun already, or
        that is lower, changes nothing.
        """
        from mk.storage.segment_removal import keep_producers, move_log_start, remove_dead_segments

        while True:
            with _held(self):
                state = self._refresh()
                start = max(state.log_start_offset, min(offset, state.durable.offset))
                bases = [base for base in list_segments(self._files.fd) if base <= start]
                if start == state.log_start_offset and len(bases) < 2:
                    return start
                keep_producers(self._files, state, start)
                # Also where it is there already: who moved it may have been killed before it was on disk.
                state = move_log_start(self._files, state, start)
                if not remove_dead_segments(self._files, state, start)[2]:
                    return start
            time.sleep(_PAUSE_SECONDS)

    # Who leads.

    def fence(self, epochs: LeaderEpochs) -> bool:
        """Have this directory know, on disk, of a newer leader than its own latest. False if it knew already.

        When it returns no append of a producer is under way here, and none will be: the next one is refused.
        """
        with _held(self):
            state = self._changeable()
            own, latest = self._epochs, epochs.latest
            if latest.epoch <= own.latest.epoch:
                return False
            self._check_source(epochs, latest.first_offset)
            self._adopt(self._make_all_durable(state), own.fenced(state.written.offset, latest))
            return True

    def promote(self) -> int:
        """Have this directory lead the partition from its end on, on disk, and return the leader epoch.

        One that leads already goes on with the epoch that it has.
        """
        with _held(self):
            state = self._changeable()
            if not self._leads():
                state = self._make_all_durable(state)
                end = state.written
                if end.chain == UNKNOWN_CHAIN:
                    # Nothing was copied yet, and what comes has to continue something.
                    state = state.copy()
                    state.written = state.durable = LogEnd(0, end.offset, 0, -1)
                epoch = ((self._epochs.latest.epoch >> 32) + 1) << 32
                led = EpochEntry(epoch, end.offset, self._files.topic.directory.directory_id)
                self._adopt(state, self._epochs.fenced(end.offset, led))
            return self._epochs.latest.epoch

    # Under the lock from here on.

    def settled(self) -> PartitionState:
        """Return `state` with all that is written on disk. For a copy.

        Of a log that takes no more since the disk refused a sync, that is all that is known to be on disk.
        """
        try:
            return self._make_all_durable(self._changeable())
        except PartitionFailedError:
            state = self._files.read_state()
            if state is None or files.exists(TRUNCATION_FILE, dir_fd=self._files.fd):
                raise
            self._epochs = read_epochs(self._files.fd, self._files.path)
            if state.boot_id != boot_id():
                state = state.copy()
                state.written = state.durable = self._proved_end(state)
            return state

    def _proved_end(self, state: PartitionState) -> LogEnd:
        """Return up to where the log proves itself above its durable end, behind which `state` may lag since another boot."""
        fd = open_segment(state.segment, partition_fd=self._files.fd)
        try:
            floor = self._epochs.epoch_before(state.durable.offset)
            return validate(fd, state.durable, files.size(fd), floor)[0]
        finally:
            files.close(fd)

    def sealed(self) -> PartitionState:
        """Return `state` with all that is written on disk, and in sealed segments if this directory leads. For a copy.

        One that follows begins no segment of its own accord: its active one has records.
        """
        state = self._make_all_durable(self._changeable())
        return self._roll(state) if self._leads() and state.written.position else state

    def _look(self) -> PartitionState | None:
        state = super()._look()
        files_ = self._files
        record = log_truncation.read_truncation(files_.fd, files_.path)
        if record is not None:
            state = log_truncation.finish(files_, record, state)
            self._forget(record.epochs)
        status = os.stat(EPOCHS_FILE, dir_fd=files_.fd, follow_symlinks=False)
        if (status.st_ino, status.st_mtime_ns) != self._epochs_file:
            # Another run may have adopted others with the same latest one.
            self._epochs = read_epochs(files_.fd, files_.path)
            self._epochs_file = (status.st_ino, status.st_mtime_ns)
        return state

    def _check_leads(self) -> None:
        if self._leads():
            raise self._stale("is led by this directory", "it was promoted, or never was another one's copy")

    def _changeable(self) -> PartitionState:
        """Return `state` with this partition ready for a change, whoever leads it."""
        return self._prepare(self._look())

    def _make_all_durable(self, state: PartitionState) -> PartitionState:
        """Put all that is written on disk, and publish it to readers too."""
        if state.durable.offset == state.high_watermark == state.written.offset:
            return state
        return self._make_durable(state)

    def _adopt(self, state: PartitionState, epochs: LeaderEpochs) -> PartitionState:
        """Have these epochs on disk, then the `state` that goes with them. All that is written is on disk already.

        With `syncing` set in between, so that a producer who comes when we are killed looks at the epochs again before it
        appends, and does not go by what it knows.
        """
        marked = state.copy()
        marked.syncing = 1
        write_state(self._files.state_fd, marked)
        write_epochs(self._files.fd, epochs)
        new = marked.copy()
        new.leader_epoch = epochs.latest.epoch
        log_truncation.publish(self._files, new)
        self._epochs = epochs
        return new

    def _forget(self, epochs: LeaderEpochs) -> None:
        """Let go of what is remembered of a log that was cut."""
        self._close_segment()
        self._producers = None
        self._epochs = epochs
        self._names_are_synced = True

    def _check_source(self, epochs: LeaderEpochs, end_offset: int) -> None:
        """Raise unless a log with these epochs, which ends at `end_offset`, may be followed by this one."""
        own, latest = self._epochs, epochs.latest
        directory_id = self._files.topic.directory.directory_id
        leaders = {entry.epoch: entry.leader_id for entry in own.entries}
        for entry in epochs.entries:
            if leaders.get(entry.epoch, entry.leader_id) != entry.leader_id:
                raise self._diverged(f"leader epoch {entry.epoch} was led by two directories")
        if latest.epoch < own.latest.epoch:
            raise self._stale(
                "has a newer leader than its source knows of",
                f"leader epoch {own.latest.epoch} is known here, and {latest.epoch} there",
            )
        ends = [*(entry.first_offset for entry in epochs.entries[1:]), end_offset]
        for entry, end in zip(epochs.entries, ends):
            # One without a record may have been replaced here since; so may one whose records the power took, by the newer
            # epoch of a recovery.
            is_unknown = entry.leader_id == directory_id and entry.epoch not in leaders and entry.first_offset < end
            if is_unknown and entry.epoch > own.latest.epoch:
                raise self._diverged(
                    f"this directory does not know of the leader epoch {entry.epoch} that it led there"
                )
        if latest.leader_id == directory_id:
            raise self._stale("is led by this directory, as its source knows too", "it is the other one that follows")

    def _adopted(self, offset: int, epochs: LeaderEpochs) -> LeaderEpochs:
        adopted = self._epochs.adopted(offset, epochs)
        entries = adopted.entries
        if (
            not entries
            or any(now.epoch >= then.epoch for now, then in zip(entries, entries[1:]))
            or entries[-1].epoch != epochs.latest.epoch
        ):
            raise self._diverged(f"its leader epochs do not go on here from offset {offset}")
        return adopted

    def _check_cut(self, offset: int, end: int, epochs: LeaderEpochs) -> None:
        """Raise unless a newer leader took away what stands here from `offset` up to `end`."""
        own = self._epochs
        if epochs.latest.epoch <= own.epoch_before(end):
            raise self._diverged(
                f"offsets {offset} to {end - 1} are here and not there, or are others, and of no older leader epoch"
            )
        if own.common_prefix(end, epochs, end) == end:
            # The other one will hold the same, as its epochs say: it has not got them yet.
            raise self._stale("is ahead of its source", f"offsets {offset} to {end - 1} are not there yet")
        if epochs.latest.epoch >> 32 == own.epoch_before(end) >> 32 and self._was_on_disk(offset):
            # No promotion took it away, but a recovery, and what that finds lost was never on disk.
            error = self._diverged(f"the source had records above offset {offset} on its disk, and lacks them now")
            error.fix = (
                "if it was restored from an old copy, `mk topics repair --restored` there has it lead on as it is, and this "
                "directory put aside what it alone has; `mk replicate promote` here, and replicating the other way, keeps "
                "that; nothing was changed"
            )
            raise error

    def _was_on_disk(self, offset: int) -> bool:
        """Tell whether a batch here says that its leader had more than `offset` on disk when it was written."""
        bases = [base for base in list_segments(self._files.fd) if base <= offset][-1:]
        bases += [base for base in list_segments(self._files.fd) if base > offset]
        for base in bases:
            fd = open_segment(base, partition_fd=self._files.fd)
            try:
                for _, batch in find_headers(fd, 0, files.size(fd)):
                    if batch.base_offset >= offset and batch.durable_offset > offset:
                        return True
            finally:
                files.close(fd)
        return False

    def _place_of(self, offset: int, state: PartitionState) -> tuple[int, LogEnd] | None:
        """Return the segment that a cut at `offset` makes the last one, and the place in it; None if no batch ends there."""
        bases = [base for base in list_segments(self._files.fd) if base <= state.segment]
        first = max((base for base in bases if base <= state.log_start_offset), default=state.segment)
        # The one that ends there rather than the one that begins: the source may go on in it.
        segment = max((base for base in bases if first <= base < offset), default=first)
        if offset < segment:
            return None
        end = log_truncation.find_end(self._files, segment, offset)
        if end is not None and end.chain == UNKNOWN_CHAIN and state.durable.offset == offset:
            end = end.chained(state.durable.chain)
        return None if end is None else (segment, end)

    def _chain_at(self, offset: int, state: PartitionState) -> int | None:
        """Return the chain of the batch that ends at `offset`, UNKNOWN_CHAIN if it is gone, None if none ends there."""
        for end in (state.written, state.durable):
            if end.offset == offset:
                return end.chain
        found = self._place_of(offset, state)
        return found[1].chain if found is not None else None

    def _load_producers(self, state: PartitionState) -> None:
        """Have the last sequences as of the end; None where nobody uses any here, or nobody can tell."""
        known, self._producers = self._producers, None
        if self._files.topic.has_producers():
            from mk.storage.producer_state import refreshed

            try:
                self._producers = refreshed(known, self._files, state)
            except DataError:
                pass

    def _prove(self, data: memoryview, segment: int, state: PartitionState, rolls: bool) -> CopyProof:
        start = state.written.begun() if rolls else state.written
        proof = CopyProof(start, None if self._producers is None else self._producers.last_sequences)
        try:
            proof.follow(data, segment, self._epochs)
        except BadBatchError as error:
            if error.newer is not None:
                raise UnsupportedBatchError(
                    path=self._files.segment_path(segment),
                    position=start.position,
                    offset=error.offset,
                    attributes=error.newer.attributes,
                    readable_from=error.newer.next_offset,
                ) from None
            raise self._bad(error.found, error.offset) from None
        if proof.last_sequences and not self._files.topic.has_producers():
            raise self._moved("its source has producer ids that were not there when it was looked at")
        return proof

    def _keep_snapshot(self, base_offset: int, producers: bytes, data: bytes | memoryview) -> None:
        """Keep the source's snapshot of a segment where this log cannot say by itself what was stored in front of it.

        One that is damaged, or that this log does not go on from, is left out, as every reader of it would.
        """
        from mk.storage.producer_state import decode_snapshot, read_snapshot

        if not producers or not self._files.topic.has_producers():
            return
        snapshot = decode_snapshot(producers, base_offset)
        if snapshot is not None and snapshot.fits(data) and read_snapshot(self._files, base_offset) is None:
            snapshot.write_snapshot(self._files)

    def _keep_start(self, producers: bytes, state: PartitionState) -> None:
        """Keep the source's snapshot of a segment without batches where both logs end, if this one cannot say by itself what
        was stored in front of it: because it begins there, or because that was compacted."""
        from mk.storage.producer_state import decode_snapshot, knows_end, knows_start

        end, start = state.written, state.written.begun()
        if not end.offset or not self._files.topic.has_producers():
            return
        snapshot = decode_snapshot(producers, end.offset)
        # Not where the chain is unknown here: it could be what another log has stored.
        if snapshot is None or end.chain == UNKNOWN_CHAIN or not snapshot.is_at(end.offset, start):
            return
        if end.position and not knows_end(self._files, self._make_all_durable(state)):
            self._roll(state)
        elif end.position or knows_start(self._files, start):
            return
        snapshot.write_snapshot(self._files)

    # What to say.

    def _refused(self, error: OSError) -> StorageError:
        path = files.place_of(error, self._files.path)
        return StorageError(
            f"cannot change {self._files.path}",
            why=f"{path}: {os.strerror(error.errno or 0)}",
            fix="make room, or look at the disk (dmesg), then run it again: it goes on from there",
            path=self._files.path,
        )

    def _where(self) -> dict[str, object]:
        return {"topic": self._files.topic.name, "partition": self._files.partition}

    def _diverged(self, why: str) -> DivergedLogError:
        fix = "look at both with `mk topics describe`; to have the source's, delete the topic here and replicate again"
        return DivergedLogError("is no copy of its source", why=why, fix=fix, **self._where())  # type: ignore[arg-type]

    def _stale(self, what: str, why: str) -> StaleSourceError:
        fix = "replicate from the directory that leads it"
        return StaleSourceError(what, why=why, fix=fix, **self._where())  # type: ignore[arg-type]

    def _bad(self, found: str, offset: int) -> BadCopyError:
        return BadCopyError(
            f"cannot take what its source sent for offset {offset}",
            why=found,
            fix="`mk topics verify` there tells more",
            **self._where(),  # type: ignore[arg-type]
        )

    def _moved(self, why: str) -> TryAgainError:
        partition, topic = self._files.partition, self._files.topic.name
        return TryAgainError(
            f"partition {partition} of {topic} is not as it was when this replication looked at it",
            why=why,
            fix="run it again: it goes on from there",
            **self._where(),
        )
