"""Appending to one partition: the only way in which bytes enter a log.

Orders the steps, and does each by the module whose noun it is: lock, re-read `state`, recover if the last writer did not
finish, roll if due, write once, sync, publish. Recovery is in log_recovery, reading in partition_reader, and what many
producers share of a sync in group_commit.
Source: the append protocol of man/mk-guarantees.7.
"""

from __future__ import annotations

import errno
import os
import time
from _signal import SIG_BLOCK, SIG_SETMASK, SIGHUP, SIGINT, SIGTERM, SIGTSTP, pthread_sigmask  # type: ignore[import-not-found]

from mk import clock
from mk.errors import (
    CorruptStateError,
    DiskFullError,
    MkError,
    NoSuchTopicError,
    PartitionFailedError,
    PermissionDeniedError,
    StorageError,
    SyncFailedError,
)
from mk.storage import files, offset_index
from mk.storage.host import boot_id
from mk.storage.leader_epochs import read_epochs
from mk.storage.locks import acquire, release, try_acquire
from mk.storage.log_segment import segment_name
from mk.storage.partition_files import FAILED_FILE, PartitionFiles
from mk.storage.partition_state import LogEnd, PartitionState, prepare, write_slot, write_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.records.record_batch import EncodedBatch
    from mk.storage.producer_state import ProducerState
    from mk.storage.topic import Topic

# What an acknowledged record survives. Integers and not an enum, whose import costs a third of the start-up budget.
PAGE_CACHE = 0
"""This process's end, however it ends; not a power cut."""
DISK = 1
"""Also a power cut: the segment was synced before the acknowledgement."""
_DEFERRED = 2
"""The same, by a sync that comes later; nobody reads it until then."""

DEFERRED_SIGNALS = (SIGINT, SIGTERM, SIGHUP, SIGTSTP)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STATE_SYNC_SECONDS = 1.0
_GROUPED_BYTES = 256 << 10
"""From this size on an append syncs itself, and with it what others have written."""


class AppendResult:
    """Where an append landed: first and last offset, both included.

    duplicates: records that were stored before under the same producer id, and were not appended again. If all were, then
    last_offset is first_offset - 1. began_segment: a segment was full or old, and sealed on the way.
    """

    __slots__ = ("began_segment", "duplicates", "first_offset", "last_offset", "partition")

    def __init__(
        self, partition: int, first_offset: int, last_offset: int, duplicates: int = 0, *, began_segment: bool = False
    ) -> None:
        self.partition = partition
        self.first_offset = first_offset
        self.last_offset = last_offset
        self.duplicates = duplicates
        self.began_segment = began_segment

    def __repr__(self) -> str:
        return f"<AppendResult partition {self.partition}, offsets {self.first_offset} to {self.last_offset}>"


class PartitionLog:
    """One partition, open for appending. Others may append, roll, delete or rename between any two calls.

    Everything remembered between calls is a guess until it is compared with `state` under the lock.
    """

    __slots__ = (
        "_epochs",
        "_files",
        "_lock_fd",
        "_lock_wait_ms",
        "_pid",
        "_producers",
        "_published",
        "_segment",
        "_segment_fd",
        "_segment_inode",
        "_state_synced_at",
        "_state_unsynced",
        "_told_sequences",
        "_waited_seconds",
    )
    _read_epochs = staticmethod(read_epochs)

    def __init__(self, topic: Topic, partition: int, *, lock_wait_ms: int = 10_000) -> None:
        try:
            self._files = PartitionFiles(topic, partition, os.O_RDWR)
        except PermissionError:
            raise PermissionDeniedError(
                f"you may read topic {topic.name} but not write to it",
                fix="become a user who may; nothing was written",
            ) from None
        self._lock_fd = -1
        self._lock_wait_ms = lock_wait_ms
        try:
            self._reopen_lock()
            self._epochs = self._read_epochs(self._files.fd, self._files.path)
        except BaseException as error:
            if self._lock_fd >= 0:
                files.close(self._lock_fd)
            self._files.close()
            if isinstance(error, CorruptStateError):
                topic.check_not_deleted()
            raise
        self._segment = self._segment_fd = self._segment_inode = -1
        self._published: PartitionState | None = None  # What we published last; it may have been overwritten since.
        self._producers: ProducerState | None = None
        self._told_sequences: dict[int, int] = {}
        self._waited_seconds = 0.0
        self._state_synced_at = time.monotonic()
        self._state_unsynced = False

    def append(self, batches: Sequence[EncodedBatch], durability: int) -> AppendResult:
        """Append batches one behind the other and tell where they landed.

        Takes the partition's lock, waiting at most lock_wait_ms. INT, TERM, HUP and TSTP are held off while the lock is
        held, so that ^Z cannot stop a process with everybody else waiting for it.

        Args:
            batches: at least one; their buffers stay untouched until this returns. Of one producer, with an id or not;
                of one with an id in the order of its input: what is stored under that id already is left out.
            durability: PAGE_CACHE, or DISK: synced before this returns.

        Raises:
            LockTimeoutError, NoSuchTopicError, TopicSealedError, KeyRequiredError, NotLeaderError, PartitionFailedError:
            nothing was written.
            DiskFullError: no room; taken back.
            SyncFailedError: indeterminate.
            CorruptBatchError, CorruptStateError: the log is damaged; nothing was written.
            Any of them carries `records_appended` in its facts: how many of the first records are stored all the same,
            because segments were full in between.
        """
        first_offset, duplicates, began_segment = -1, 0, False
        state = None
        self._files.topic.look_at_keys(batches)
        mask = pthread_sigmask(SIG_BLOCK, ())
        try:
            # In here, since a handler that runs as this returns may raise.
            pthread_sigmask(SIG_BLOCK, DEFERRED_SIGNALS)
            try:
                self._acquire(mask)
                # Which has looked at topic.json; whoever sets a seal holds our lock, so there is none until we let go.
                self._files.topic.check_not_sealed()
                self._files.topic.check_keys(batches)
                state = self._refresh()
                first_offset = state.written.offset
                producer_id = batches[0].producer_id
                if producer_id:
                    batches, duplicates = self._without_stored(batches, state)
                    if not batches and durability == DISK and state.durable.offset < first_offset:
                        # Stored, but by somebody who did not wait for the disk, or not yet.
                        state = self._make_durable(state)
                else:
                    self._producers = None  # Not brought up to date, so it must not go on with what is appended now.
                if batches:
                    self._files.check_room(sum(batch.size_bytes for batch in batches))
                if durability == PAGE_CACHE and state.high_watermark < first_offset:
                    # Somebody waits for these to be on disk, and ours would have them read before they are.
                    state = self._make_durable(state)
                at = 0
                while at < len(batches):
                    if self._is_full(state.written.position, batches[at]) or self._is_aged(state):
                        state = self._retain(self._roll(state), state.began_ms)
                        began_segment = True
                    stop = self._run_end(batches, at, state.written.position)
                    if self._waited_seconds and stop == len(batches) and durability == DISK and _is_small(batches[at:]):
                        durability = _DEFERRED  # Others are here too: one of us syncs when all have written.
                    state = self._append_run(batches[at:stop], state, durability)
                    at = stop
                self._published = state
                if producer_id and self._producers is not None:
                    self._save_producers(self._producers, state)
            except (MkError, OSError) as failure:
                raise self._counted(failure, first_offset, state) from None
            finally:
                release(self._lock_fd)  # Also if it was never got: that does nothing.
            if durability == _DEFERRED:
                from mk.storage.group_commit import confirm

                try:
                    if not confirm(self, state, mask, self._waited_seconds):
                        self._waited_seconds = 0.0
                except MkError as error:
                    raise self._counted(error, first_offset, state) from None
            if producer_id and self._producers is not None:
                self._told_sequences[producer_id] = self._producers.last_sequence(producer_id)
        finally:
            pthread_sigmask(SIG_SETMASK, mask)
        if durability != PAGE_CACHE:
            self._state_unsynced = True
            if time.monotonic() - self._state_synced_at > STATE_SYNC_SECONDS:
                self._sync_state()
        last = state.written.offset - 1
        return AppendResult(self._files.partition, first_offset, last, duplicates, began_segment=began_segment)

    def last_sequence(self, producer_id: int) -> int:
        """Return up to which input sequence the records of a producer id are on disk here; -1 if none are known to be.

        Without the lock, so it may be too low, also because a file cannot be read: `append` compares again. Records of
        acks 0 are not counted, since a failing sync may still cost them.
        """
        from mk.storage import producer_state

        try:
            state = self._files.read_state()
            if state is None:
                return -1
            self._producers = producer_state.load(self._files, state.segment, state.durable)
        except (MkError, OSError):
            return -1
        self._producers.leader_epoch = state.leader_epoch
        self._told_sequences[producer_id] = self._producers.last_sequence(producer_id)
        return self._told_sequences[producer_id]

    def _counted(self, failure: MkError | OSError, first_offset: int, state: PartitionState | None) -> MkError:
        """Return what an append raises for a failure, with how many of its first records are stored all the same."""
        self._producers = None
        error = failure if isinstance(failure, MkError) else self._refused(failure)
        stored = first_offset
        if state is not None:
            # A failed sync takes with it what was not on disk yet, also of this append; so does who deletes the topic.
            lost = isinstance(error, (SyncFailedError, PartitionFailedError, NoSuchTopicError))
            stored = state.durable.offset if lost else state.written.offset
        error.facts["records_appended"] = max(0, stored - first_offset)
        return error

    def _refused(self, error: OSError) -> StorageError:
        """Give words to what the system refused outside of the append itself: a new segment, `state`, a recovery."""
        path = files.place_of(error, self._files.path)
        return StorageError(
            f"cannot append to {self._files.path}",
            why=f"{path}: {os.strerror(error.errno or 0)}",
            fix="make room, or look at the disk (dmesg); what was not acknowledged is not stored",
            path=self._files.path,
        )

    def close(self) -> None:
        """Sync `state`, so that a power cut leaves little to validate, and let go of the files."""
        try:
            self._sync_state()
        finally:
            if self._segment_fd >= 0:
                files.close(self._segment_fd)
                self._segment_fd = -1
            files.close(self._lock_fd)
            self._files.close()

    # Under the lock from here on.

    def _acquire(self, outer_mask: set[int]) -> None:
        """Take the lock of the topic that is at this name."""
        topic = self._files.topic
        while True:
            self._lock(outer_mask, self._lock_wait_ms)
            topic.check_identity()
            if topic.directory.lock_is_current(self._lock_fd, topic.topic_id, self._files.partition):
                return
            # Somebody replaced the lock file: two inodes are two locks, so take the one at the path.
            self._reopen_lock()

    def _lock(self, outer_mask: set[int], wait_ms: int) -> None:
        if self._pid != os.getpid():
            # A fork shares the open file, and with it the lock: parent and child would both hold it.
            self._reopen_lock()
        if try_acquire(self._lock_fd):
            return
        asked_at = time.monotonic()
        try:
            # Waiting may take seconds: let ^C through meanwhile. Not ^Z: it could stop us just as the lock is ours.
            pthread_sigmask(SIG_SETMASK, outer_mask | {SIGTSTP})
            what = f"partition {self._files.partition} of {self._files.topic.name}"
            acquire(self._lock_fd, what=what, wait_ms=wait_ms)
        except BaseException:
            # The waiter that was given up shares this open file, and will unlock it some day.
            self._reopen_lock()
            raise
        finally:
            pthread_sigmask(SIG_BLOCK, DEFERRED_SIGNALS)
            self._waited_seconds = time.monotonic() - asked_at

    def _reopen_lock(self) -> None:
        """Have a lock file that nobody else in or below this process has open."""
        lock_fd = self._files.topic.open_lock(self._files.partition)
        if self._lock_fd >= 0:
            files.close(self._lock_fd)
        self._lock_fd, self._pid = lock_fd, os.getpid()

    def _refresh(self) -> PartitionState:
        """Return `state` with this partition ready for an append, its active segment open."""
        state = self._look()
        self._check_leads()
        state = self._prepare(state)
        # Again: whoever was killed while it fenced this directory may have come as far as `epochs`.
        self._check_leads()
        return state

    def _look(self) -> PartitionState | None:
        """Return `state` as it stands, None if it cannot be read, with the epochs that go with it."""
        files_ = self._files
        if files.exists(FAILED_FILE, dir_fd=files_.fd):
            raise PartitionFailedError(
                topic=files_.topic.name, partition=files_.partition, path=f"{files_.path}/{FAILED_FILE}"
            )
        state = files_.read_state(self._published)
        # With `syncing` set, who changed the leader may have been killed between `epochs` and `state`.
        if state is None or state.syncing or state.leader_epoch != self._epochs.latest.epoch:
            self._epochs = read_epochs(files_.fd, files_.path)
        return state

    def _leads(self) -> bool:
        return self._epochs.latest.leader_id == self._files.topic.directory.directory_id

    def _check_leads(self) -> None:
        """Raise unless this directory may append here: a subclass says otherwise who may."""
        if not self._leads():
            from mk.storage.replica_directory import not_leader

            raise not_leader(self._files.topic, self._files.partition, self._epochs.latest.leader_id)

    def _prepare(self, state: PartitionState | None) -> PartitionState:
        """Recover if the last writer did not finish, and open the active segment."""
        files_ = self._files
        if (
            state is not None
            and state.boot_id == boot_id()
            and not state.syncing
            and self._open_segment(state.segment) == state.written.position
        ):
            if not state.sequence:
                # Whoever made the topic, or this partition of it, may have been killed before its name, or the
                # topic.json that counts it, was on disk.
                files.fsync(files_.topic.fd)
                files.fsync(files_.topic.directory.topics_fd)
                files.fsync(files_.topic.directory.fd)
            return state
        from mk.storage.log_recovery import recover

        self._close_segment()
        # Whatever `state` says: a recovery that was killed may have raised the epoch and not come to publish it.
        self._epochs = read_epochs(files_.fd, files_.path)
        state, self._epochs = recover(files_, state, self._epochs)
        self._open_segment(state.segment)
        return state

    def _without_stored(self, batches: Sequence[EncodedBatch], state: PartitionState) -> tuple[list[EncodedBatch], int]:
        """Return what of `batches` is not stored yet under their producer's id, and how many records are."""
        from mk.records.sequences import without_stored
        from mk.storage.producer_state import lost_records, refreshed

        self._producers = refreshed(self._producers, self._files, state)
        producer_id = batches[0].producer_id
        last = self._producers.last_sequence(producer_id)
        if last < self._told_sequences.get(producer_id, last):
            # What we send now lies behind what was lost: stored, it would make the next run take that for stored too.
            raise lost_records(self._files)
        left: list[EncodedBatch] = []
        for batch in batches:
            rest = without_stored(batch, last)
            if rest is not None:
                left.append(rest)
                last = rest.last_sequence
        return left, sum(batch.record_count for batch in batches) - sum(batch.record_count for batch in left)

    def _make_durable(self, state: PartitionState) -> PartitionState:
        """Put on disk what others have written, and let it be read."""
        new = state.copy()
        new.durable = state.written
        new.high_watermark = state.written.offset
        self._sync_and_publish(state, new)
        return new

    def _save_producers(self, producers: ProducerState, state: PartitionState) -> None:
        """Write a snapshot if one is due and all is on disk, so that the next one to open has little to read."""
        if producers.snapshot_due() and producers.segment == state.segment and producers.offset <= state.durable.offset:
            try:
                producers.write_snapshot(self._files)
            except OSError:
                pass  # The append is stored. Without it more is read, and the next one is due in a while.

    def _open_segment(self, base_offset: int) -> int:
        """Have the segment at this name open for append, and return its size.

        A descriptor from an earlier call is used only if it is still the file at that name: a segment that was given up
        lives on in quarantine/, and what is appended to it there is lost.
        """
        try:
            there = os.stat(segment_name(base_offset), dir_fd=self._files.fd, follow_symlinks=False)
            if self._segment == base_offset and self._segment_inode == there.st_ino:
                return there.st_size
            self._close_segment()
            self._segment_fd = self._files.open_segment_for_append(base_offset)
        except FileNotFoundError:
            from mk.storage.log_recovery import missing_segment

            raise missing_segment(self._files, base_offset) from None
        self._segment = base_offset
        self._segment_inode = there.st_ino
        return there.st_size

    def _close_segment(self) -> None:
        if self._segment_fd >= 0:
            files.close(self._segment_fd)
        self._segment = self._segment_fd = -1

    def _is_full(self, position: int, batch: EncodedBatch) -> bool:
        """Tell whether `batch` goes into the next segment. A batch larger than a segment has one for itself."""
        limit = self._files.topic.config("segment.bytes")
        return position > 0 and position + batch.size_bytes > limit  # type: ignore[operator]

    def _is_aged(self, state: PartitionState) -> bool:
        return state.is_aged(clock.now_ms(), int(self._files.topic.config("segment.ms")))

    def _run_end(self, batches: Sequence[EncodedBatch], start: int, position: int) -> int:
        """Return where the run that begins at `start` ends: what one write puts into this segment."""
        at, buffers = start, 0
        while at < len(batches):
            buffers += 1 + len(batches[at].payload)
            if at > start and (buffers > files.MAX_BUFFERS or self._is_full(position, batches[at])):
                break
            position += batches[at].size_bytes
            at += 1
        return at

    def _append_run(self, run: Sequence[EncodedBatch], state: PartitionState, durability: int) -> PartitionState:
        start = state.written
        position, offset, chain, max_timestamp = start.position, start.offset, start.chain, start.max_timestamp
        buffers: list[bytes | memoryview] = []
        entries = b""
        for batch in run:
            chain = batch.chain_after(chain)
            buffers.append(batch.stamp(offset, state.leader_epoch, state.durable.offset, chain))
            buffers += batch.payload
            next_position = position + batch.size_bytes
            offset += batch.record_count
            max_timestamp = max(max_timestamp, batch.max_timestamp)
            if offset_index.entry_due(position, next_position) and offset - state.segment <= offset_index.MAX_RELATIVE:
                entries += offset_index.ENTRY.pack(offset - state.segment, next_position, max_timestamp)
            position = next_position
        end = LogEnd(position, offset, chain, max_timestamp)
        self._write(buffers, position - start.position, state)
        new = state.copy()
        new.written = end
        new.began_ms = state.began_ms or clock.now_ms()
        if durability != _DEFERRED:
            new.high_watermark = end.offset
        if durability == DISK:
            new.durable = end
            self._sync_and_publish(state, new)
        else:
            prepare(new)
            self._publish(new)
        if self._producers is not None:
            self._producers.appended(run, new.segment, end)
        if entries:
            self._files.append_to_index(new.segment, entries)
        return new

    def _write(self, buffers: Sequence[bytes | memoryview], size_bytes: int, state: PartitionState) -> None:
        path = self._files.segment_path(state.segment)
        try:
            written = files.append(self._segment_fd, buffers)
        except OSError as error:
            raise self._not_written(state, error) from None
        if written != size_bytes:
            # The rest in a second write could land behind somebody else's bytes, or never.
            why = f"the file system took {written} of {size_bytes} bytes"
            self._take_back(state, path, why)
            raise DiskFullError(path=path, why=why)

    def _not_written(self, state: PartitionState, error: OSError) -> StorageError:
        """Take a refused append back, and return what to raise."""
        path = self._files.segment_path(state.segment)
        why = os.strerror(error.errno or 0)
        self._take_back(state, path, why)
        if error.errno in _NO_ROOM:
            return DiskFullError(path=path, why=why)
        return StorageError(
            f"cannot append to {path}",
            why=why,
            fix="look at the disk (dmesg); this append was taken back whole",
            path=path,
        )

    def _take_back(self, state: PartitionState, path: str, why: str) -> None:
        """Cut off what a refused write left. If even that fails, the next writer sees the wrong size and recovers: what
        is whole by then stays, so nobody can say yet whether the append is stored."""
        try:
            files.truncate(self._segment_fd, state.written.position)
        except OSError:
            raise SyncFailedError(path=path, why=why) from None

    def _sync(self, state: PartitionState) -> None:
        """Put the segment on disk. `state` stays the last published one, but for `syncing`.

        syncing is on record first: if the sync fails and this process dies before it can say so, the next one's sync of
        the same bytes would succeed, although the kernel has dropped them. Seeing the mark, it reads the disk instead.
        """
        marked = state.copy()
        marked.syncing = 1
        try:
            write_state(self._files.state_fd, marked)
        except OSError as error:
            raise self._not_written(state, error) from None
        try:
            files.fdatasync(self._segment_fd)
        except OSError as error:
            from mk.storage.log_recovery import give_up_segment

            why = os.strerror(error.errno or 0)
            path = self._files.segment_path(state.segment)
            self._close_segment()
            try:
                _, self._epochs = give_up_segment(self._files, marked, self._epochs)
            except PartitionFailedError as failed:
                raise SyncFailedError(path=path, why=why, failed_path=str(failed.facts["path"])) from None
            except OSError:
                pass  # No open files left, say: `syncing` stays set, and the next writer does it.
            raise SyncFailedError(path=path, why=why) from None

    def _sync_and_publish(self, state: PartitionState, new: PartitionState) -> None:
        new.sequence = state.sequence + 1  # The mark takes one.
        prepare(new)  # Not behind the sync: readers wait by then, and to whoever has slept it takes ten times as long.
        self._sync(state)
        self._publish(new)

    def _publish(self, state: PartitionState) -> None:
        try:
            write_slot(self._files.state_fd, state)
        except OSError as error:
            raise SyncFailedError(path=f"{self._files.path}/state", why=os.strerror(error.errno or 0)) from None

    def _roll(self, state: PartitionState) -> PartitionState:
        """Seal the active segment and begin the next one, which `state` names on disk before its first byte.

        In this order: sync the old segment, so that the durable end is its end; create the new file and sync the
        directory, so that its name survives what is acknowledged in it; name it in `state`.
        """
        from mk.storage.log_recovery import begin_segment

        self._sync(state)
        end = state.written
        if end.offset - state.segment <= offset_index.MAX_RELATIVE:
            entry = offset_index.ENTRY.pack(end.offset - state.segment, end.position, end.max_timestamp)
            self._files.append_to_index(state.segment, entry)
        self._close_segment()
        new = state.copy()
        new.sequence = state.sequence + 1
        new.durable = end
        new = begin_segment(self._files, new, end, self._producers)
        self._open_segment(new.segment)
        return new

    def _retain(self, state: PartitionState, began_ms: int) -> PartitionState:
        from mk.storage.segment_removal import retain_at_roll

        return retain_at_roll(self._files, state, began_ms)

    def _sync_state(self) -> None:
        """Put `state` on disk. Not under the lock: it says no more than what is true already.

        A failure changes nothing that was promised: the records are on disk, and `state` may lag behind them.
        """
        if self._state_unsynced:
            self._state_unsynced = False
            self._state_synced_at = time.monotonic()
            try:
                files.fdatasync(self._files.state_fd)
            except OSError:
                pass


def _is_small(batches: Sequence[EncodedBatch]) -> bool:
    """Tell whether a sync costs more than what of these it puts on disk."""
    return sum(batch.size_bytes for batch in batches) < _GROUPED_BYTES
