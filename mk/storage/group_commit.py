"""Group commit: one sync for all who queue for a partition.

An append that has to wait for the lock has company. So it writes, publishes the written end alone, lets go and pauses, for
the others to write too. Whoever comes back first syncs what all have written; the others find that done. Until then nobody
reads these records: the high watermark moves with the sync, and `syncing` is set around that sync as around any other.
Source: man/mk-guarantees.7, MANY PRODUCERS.
"""

from __future__ import annotations

import os
import time
from _signal import SIG_BLOCK, pthread_sigmask  # type: ignore[import-not-found]

from mk.errors import LockTimeoutError, MkError, NoSuchTopicError, PartitionFailedError, SyncFailedError
from mk.storage.locks import release, try_acquire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.partition_log import PartitionLog
    from mk.storage.partition_state import PartitionState

_SHORTEST_PAUSE_SECONDS = 0.00005
_LONGEST_PAUSE_SECONDS = 0.002
_PAUSES = 20
"""After so many it queues like everybody else, which has an end."""

_HELD_OFF_MS = 1000
"""What is written is mostly on disk long before that; so the exit status of a command that ^C ends is exact."""


def confirm(log: PartitionLog, own: PartitionState, outer_mask: set[int], waited_seconds: float) -> bool:
    """Return when what an append has written is on disk and can be read, by whosever sync, and whether others write there.

    The caller does not hold the lock, and holds off signals; if the lock is not free for a second, those that `outer_mask` lets
    through get through. `own` is what the append published, waited_seconds how long it once waited for the lock: that
    measures how many they are, and how long a sync takes.

    Raises:
        SyncFailedError: indeterminate. A sync was refused, and the log cut; or the lock was not got in time.
        NoSuchTopicError: the topic was deleted, and the records with it.
    """
    pause_seconds = min(max(waited_seconds / 2, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
    path = log._files.segment_path(own.segment)
    try:
        for _ in range(_PAUSES):
            time.sleep(pause_seconds)
            # Without the lock: nobody cuts below a durable end, and in one epoch no offset is given out twice.
            state = log._files.read_state()
            if state is not None and state.leader_epoch == own.leader_epoch and _covers(state, own):
                return True
            if try_acquire(log._lock_fd):
                break
        else:
            _acquire_again(log, outer_mask)
        return _confirm_locked(log, own, path, outer_mask)
    except (SyncFailedError, NoSuchTopicError):
        raise
    except PartitionFailedError as failed:
        raise SyncFailedError(path=path, why=failed.why, failed_path=str(failed.facts["path"])) from None
    except MkError as error:
        # It says that nothing was written, which is so of an append that begins with it.
        raise SyncFailedError(path=path, why=f"{error.what}: {error.why}") from None
    except OSError as error:
        raise SyncFailedError(path=path, why=os.strerror(error.errno or 0)) from None
    finally:
        release(log._lock_fd)


def _confirm_locked(log: PartitionLog, own: PartitionState, path: str, outer_mask: set[int]) -> bool:
    topic = log._files.topic
    if not topic.directory.lock_is_current(log._lock_fd, topic.topic_id, log._files.partition):
        # The topic was deleted, and its locks with it; or somebody replaced the file. A rename changes neither.
        log._acquire(outer_mask)
    state = log._look()
    if state is None or not _covers(state, own):
        state = log._prepare(state)
    is_ours = _is_kept(log, state, own)
    others_wrote = state.written.offset > own.written.offset
    if is_ours and not _covers(state, own) and own.written.offset <= state.written.offset:
        state = log._make_durable(state)
    if not (is_ours and _covers(state, own)):
        raise SyncFailedError(path=path, why="the log was cut in front of it, as after another process's failed sync")
    if log._producers is not None:
        log._save_producers(log._producers, state)
    return others_wrote


def _covers(state: PartitionState, own: PartitionState) -> bool:
    return state.cuts == own.cuts and own.written.offset <= min(state.durable.offset, state.high_watermark)


def _is_kept(log: PartitionLog, state: PartitionState, own: PartitionState) -> bool:
    """Tell whether the log still holds what was written: it was cut, if at all, behind that.

    So it is where a killed process left half a batch there, or where another directory leads now.
    """
    begun = [entry.first_offset for entry in log._epochs.entries if entry.epoch > own.leader_epoch]
    return state.leader_epoch == own.leader_epoch or min(begun, default=-1) >= own.written.offset


def _acquire_again(log: PartitionLog, outer_mask: set[int]) -> None:
    try:
        # Also who waits for no lock waits so long for this one: what is written cannot be taken back.
        log._lock(pthread_sigmask(SIG_BLOCK, ()), _HELD_OFF_MS)
    except LockTimeoutError:
        if log._lock_wait_ms <= _HELD_OFF_MS:
            raise
        log._lock(outer_mask, log._lock_wait_ms - _HELD_OFF_MS)
