"""Opening a partition after a writer that did not finish: what may be cut, and what is proof of damage.

Every function runs under the partition's lock. The one rule: bytes below what was acknowledged are never cut. What was
acknowledged is known from the durable end in `state` and, since `state` lags behind after a power cut, from the durable
offset in every batch header that survived, also behind the first bad batch. What is cut is kept in quarantine/.
Source: man/mk-guarantees.7, RECOVERY. Ideas: Kafka's LogLoader and leader epochs (KIP-101).
"""

from __future__ import annotations

import errno
import os
import time

from mk.errors import CorruptBatchError, CorruptStateError, DataError, MkError, PartitionFailedError
from mk.storage import files
from mk.storage.host import boot_id, file_system_of
from mk.storage.leader_epochs import LeaderEpochs, write_epochs
from mk.storage.log_segment import (
    INDEX_SUFFIX,
    PRODUCERS_SUFFIX,
    UNKNOWN_CHAIN,
    find_headers,
    list_segments,
    open_segment,
    refuse_newer,
    segment_name,
    segments_among,
    validate,
)
from mk.storage.offset_index import proved_entries_up_to
from mk.storage.partition_files import FAILED_FILE, PartitionFiles
from mk.storage.partition_state import LogEnd, PartitionState, write_state
from mk.storage.quarantine import evidence_name, keep_copy, keep_segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.producer_state import ProducerState

_UNCACHED_TRIES = 20
_UNCACHED_PAUSE_SECONDS = 0.01
_MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")


def recover(
    partition: PartitionFiles, state: PartitionState | None, epochs: LeaderEpochs
) -> tuple[PartitionState, LeaderEpochs]:
    """Bring a partition to where it can be appended to, and publish the `state` that says so.

    Args:
        state: the newest valid slot; None if both are damaged.

    Raises:
        CorruptBatchError, CorruptStateError: something acknowledged is missing. Nothing was changed.
        PartitionFailedError: the disk refused to sync, and then to begin a new segment.
    """
    if state is None:
        state = _rebuild_state(partition, epochs)
    same_boot = state.boot_id == boot_id()
    if same_boot and not state.syncing:
        # From here on this is unfinished business. A kill after the cut would otherwise leave a file of just the size
        # that `state` says, and the next writer would use the cut offsets again under the old epoch.
        state = state.copy()
        state.syncing = 1
        write_state(partition.state_fd, state)
    try:
        fd = _open_own_segment(partition, state.segment)
    except FileNotFoundError:
        raise missing_segment(partition, state.segment) from None
    try:
        size = files.size(fd)
        if size < state.durable.position:
            raise _newer_than_data(partition, state, size)
        confirmed = _sync(fd)
        if (
            same_boot
            and size > state.durable.position
            and not (confirmed and _uncached(fd, state.durable.position, size))
        ):
            # What is in memory cannot be compared with what is on disk: no better than a failed sync.
            return give_up_segment(partition, state, epochs)
        # Under another boot nothing is in memory but what was read from the disk: what is valid is safe, even if the
        # disk takes nothing more, and `state` may lag far behind what was acknowledged.
        end, fault, begun = validate(fd, state.durable, size, epochs.epoch_before(state.durable.offset))
        refuse_newer(fd, end.position, end.offset, partition.segment_path(state.segment))
        _refuse_loss(partition, state, epochs, fd, end, fault, size)
        _remove_leftovers(partition, state.segment)
        had_batch = _holds_header(fd, end.position, size)
        new = state.copy()
        new.boot_id = boot_id()
        new.written = new.durable = end
        new.high_watermark = end.offset
        kept = not had_batch or _keep_evidence(partition, fd, end, size, epochs)
        proved = epochs
        if _leads(partition, epochs):  # Those of a follower are its leader's, also above its own end.
            proved = epochs.proved(state.durable.offset, begun, end.offset)
            if had_batch or not same_boot or end.offset < state.written.offset:
                # Offsets that somebody may have seen are given anew.
                proved = proved.raised(end.offset, epochs.latest.epoch + 1)
        epochs = _replace_epochs(partition, epochs, proved)
        new.leader_epoch = epochs.latest.epoch
        if not kept or not confirmed:
            # No room for the evidence, or no confirmation by the disk: leave everything where it is, behind the end of a
            # segment that is sealed here.
            cut_index(partition, state.segment, end.position)
            return begin_segment(partition, new, end), epochs
        if size > end.position:
            files.truncate(fd, end.position)
            files.fdatasync(fd)
        # Also if nothing was cut: the index may have survived the power where the batches it points to did not.
        cut_index(partition, state.segment, end.position)
    finally:
        files.close(fd)
    _publish(partition, new)
    return new, epochs


def give_up_segment(
    partition: PartitionFiles, state: PartitionState, epochs: LeaderEpochs
) -> tuple[PartitionState, LeaderEpochs]:
    """Go on in a new segment at the durable end, since the disk did not confirm what lies above it.

    Only in the boot in which `state` was written: then its durable end is exact.
    The file is not appended to again: a second fdatasync would report success for bytes that the kernel has dropped, and
    writing them again does not put them on disk either (ext4). Killed before the new segment is there, we leave `syncing`
    set, and the next recovery goes on from the durable end with what the disk itself shows. If even a new segment cannot
    be had, FAILED stops all writers; reading goes on.
    """
    end = state.durable
    try:
        fd = partition.open_segment_for_append(state.segment)
        try:
            size = files.size(fd)
            _refuse_loss(partition, state, epochs, fd, end, "the disk did not confirm what stands there", size)
            had_batch = _holds_header(fd, end.position, size)
            # Without anything durable in it the whole file goes to quarantine/, see begin_segment.
            if end.position > 0 and (not had_batch or _keep_evidence(partition, fd, end, size, epochs)):
                _cut_unsynced(fd, end.position)
        finally:
            files.close(fd)
        cut_index(partition, state.segment, end.position)
        new = state.copy()
        new.boot_id = boot_id()
        if (had_batch or end.offset < state.written.offset) and _leads(partition, epochs):
            epochs = _replace_epochs(partition, epochs, epochs.raised(end.offset, epochs.latest.epoch + 1))
        new.leader_epoch = epochs.latest.epoch
        return begin_segment(partition, new, end), epochs
    except DataError:
        raise
    except (OSError, MkError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # This process's limits say nothing of the disk.
        _mark_failed(partition, error)
        raise PartitionFailedError(
            topic=partition.topic.name, partition=partition.partition, path=f"{partition.path}/{FAILED_FILE}"
        ) from None


def begin_segment(
    partition: PartitionFiles, state: PartitionState, end: LogEnd, producers: ProducerState | None = None
) -> PartitionState:
    """Create the segment that begins at `end`, and publish it in `state`; both are on disk on return.

    A file already there under that name is a leftover of a roll that did not get as far as `state`, or a segment given up
    before it held anything durable: the first is removed, the second kept in quarantine/. `producers` spares reading the
    old segment's headers, if it is as of `end`.
    """
    _remove_leftovers(partition, state.segment)
    if partition.topic.has_producers():
        from mk.storage import producer_state

        # First, while what it is made of stands at its place; a kill behind it leaves a leftover.
        producer_state.begin_segment(partition, state.segment, end, producers)
    name = segment_name(end.offset)
    if end.offset == state.segment:
        replace_segment(partition, end.offset, evidence_name(partition, end.offset, state.leader_epoch))
        unlink_if_there(partition, segment_name(end.offset, INDEX_SUFFIX))
    else:
        files.close(files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=partition.fd))
    files.fsync(partition.fd)
    new = state.copy()
    new.segment = end.offset
    new.began_ms = 0
    new.written = new.durable = LogEnd(0, end.offset, end.chain, -1)
    new.high_watermark = end.offset
    # On disk, or a power cut could bring back a `state` that ends in the old segment, and what is acknowledged in the
    # new one would be a leftover.
    _publish(partition, new)
    return new


def missing_segment(partition: PartitionFiles, base_offset: int) -> CorruptStateError:
    return CorruptStateError(
        path=partition.segment_path(base_offset),
        found="it is missing, and `state` names it as the active segment",
    )


def _publish(partition: PartitionFiles, state: PartitionState) -> None:
    """Put `state` on disk, and only then have appends rely on it.

    In two steps: if the sync is refused, the slot stands there all the same, and the next writer, seeing no mark in it,
    would acknowledge records in a segment that the `state` on disk does not name.
    """
    state.syncing = 1
    write_state(partition.state_fd, state)
    files.fdatasync(partition.state_fd)
    state.syncing = 0
    write_state(partition.state_fd, state)


def _replace_epochs(partition: PartitionFiles, old: LeaderEpochs, new: LeaderEpochs) -> LeaderEpochs:
    """Put the new epochs on disk if they differ, and return them."""
    if new.encode() != old.encode():
        write_epochs(partition.fd, new)
    return new


def _sync(fd: int) -> bool:
    try:
        files.fdatasync(fd)
    except OSError:
        return False
    return True


def _rebuild_state(partition: PartitionFiles, epochs: LeaderEpochs) -> PartitionState:
    """Find out from the segments alone where the log ends, when neither slot of `state` can be read.

    Whatever is valid counts as acknowledged, so nothing is cut below it and damage in front of it is refused. The
    next step validates the last segment again, from disk.
    """
    segments = list_segments(partition.fd)
    if not segments:
        raise CorruptStateError(
            path=f"{partition.path}/state", found="both its slots are damaged, and no segment is left"
        )
    state = PartitionState(partition.topic.topic_id, "unknown")
    # Readers that saw the lost `state` believe only a newer one: no count of appends gets as far as the time.
    state.sequence = time.time_ns()
    state.log_start_offset = segments[0]
    state.leader_epoch = epochs.latest.epoch
    end = LogEnd(0, segments[0], 0 if segments[0] == 0 else UNKNOWN_CHAIN, -1)
    for base, following in zip(segments, [*segments[1:], None], strict=True):
        fd = open_segment(base, partition_fd=partition.fd)
        try:
            start = LogEnd(0, base, end.chain, -1)
            end, fault, _ = validate(fd, start, files.size(fd), stop_offset=following)
            state.segment = base
            state.durable = state.written = start
            if following is None:
                break
            if end.offset != following:
                refuse_newer(fd, end.position, end.offset, partition.segment_path(base))
                raise CorruptBatchError(
                    path=partition.segment_path(base),
                    position=end.position,
                    offset=end.offset,
                    found=fault or "it ends there",
                )
        finally:
            files.close(fd)
    if end.chain == UNKNOWN_CHAIN:
        raise CorruptStateError(
            path=f"{partition.path}/state", found="both its slots are damaged, and no batch is left"
        )
    return state


def _open_own_segment(partition: PartitionFiles, base_offset: int) -> int:
    """Open the active segment, taking back the name in quarantine/ that it got if a kill struck while it was given up.

    It stays the segment after all, and what is appended to it must not change the evidence. If it has yet another name,
    that is nobody's of ours, and it is refused.
    """
    fd = partition.open_segment_for_append(base_offset, linked=True)
    try:
        status = os.fstat(fd)
        if status.st_nlink > 1:
            quarantine_fd = partition.topic.directory.open_quarantine()
            try:
                for name in os.listdir(quarantine_fd):
                    there = os.stat(name, dir_fd=quarantine_fd, follow_symlinks=False)
                    if (there.st_ino, there.st_dev) == (status.st_ino, status.st_dev):
                        files.unlink(name, dir_fd=quarantine_fd)
                files.fsync(quarantine_fd)
            finally:
                files.close(quarantine_fd)
    finally:
        files.close(fd)
    return partition.open_segment_for_append(base_offset)


def replace_segment(partition: PartitionFiles, base_offset: int, kept_name: str = "") -> None:
    """Put an empty segment in the place of one that is kept in quarantine/, or will be, as `kept_name`.

    By a second name and a rename over the first, so that no kill leaves a moment without the file that `state` names. The
    caller syncs the directory.
    """
    temporary = f".tmp-{os.urandom(8).hex()}"
    files.write_new_file(temporary, b"", dir_fd=partition.fd)
    if kept_name:
        keep_segment(partition, base_offset, kept_name)
    files.rename(temporary, segment_name(base_offset), src_dir_fd=partition.fd, dst_dir_fd=partition.fd)


def _newer_than_data(partition: PartitionFiles, state: PartitionState, size: int) -> CorruptStateError:
    return CorruptStateError(
        path=partition.segment_path(state.segment),
        found=f"state is newer than the data: {state.durable.position} bytes of it were on disk, {size} are there",
        fix="this is what a copy made file by file looks like; restore a snapshot, or the missing file, or accept it with `mk topics repair --restored`; nothing was changed",
    )


def _refuse_loss(
    partition: PartitionFiles,
    state: PartitionState,
    epochs: LeaderEpochs,
    fd: int,
    end: LogEnd,
    fault: str,
    size: int,
) -> None:
    """Raise unless all that lies above `end` may be cut.

    A header with a durable offset above `end` was written after somebody was told that records up to there are safe:
    the bad batch is not a torn write but damage. Only headers of epochs led here count, since a follower copies what
    its leader had made durable, which says nothing of this disk. Not these either once this directory follows, and `state`
    knows it: they are copied back from where they were copied to, and `state` then had all of its own that was on disk.
    """
    directory_id = partition.topic.directory.directory_id
    follows = not _leads(partition, epochs) and state.leader_epoch == epochs.latest.epoch
    for position, batch in find_headers(fd, end.position, size):
        beyond = batch.durable_offset > end.offset and not follows and epochs.led_by(batch.leader_epoch, directory_id)
        if beyond or (state.boot_id == "unknown" and position > end.position and batch.base_offset > end.offset):
            raise CorruptBatchError(
                path=partition.segment_path(state.segment), position=end.position, offset=end.offset, found=fault
            )


def _holds_header(fd: int, position: int, size: int) -> bool:
    return next(find_headers(fd, position, size), None) is not None


def _uncached(fd: int, start: int, size: int) -> bool:
    """Have the next reads come from the disk, or find that from `start` on they would be the same.

    A reader may pin a page for a moment; hence the tries. It may also pin it for hours, in a pipe that nobody empties, and
    giving up the segment would then cost records of acks 0 that are safe on disk.
    """
    for _ in range(_UNCACHED_TRIES):
        if files.drop_cache(fd, size):
            return True
        if file_system_of(fd) in _MEMORY_FILE_SYSTEMS:
            return True  # There is no disk to compare with: memory is all there is.
        time.sleep(_UNCACHED_PAUSE_SECONDS)
    return files.is_on_disk(fd, start, size)


def _keep_evidence(partition: PartitionFiles, fd: int, end: LogEnd, size: int, epochs: LeaderEpochs) -> bool:
    """Copy what lies above `end` to quarantine/, on disk on return. False if it cannot be stored."""
    try:
        keep_copy(partition, fd, end.position, size, evidence_name(partition, end.offset, epochs.latest.epoch))
    except OSError:
        return False
    return True


def _cut_unsynced(fd: int, position: int) -> None:
    """Cut a segment that is being given up. If it cannot be cut, readers ignore what lies behind the next one's base."""
    try:
        files.truncate(fd, position)
        files.fdatasync(fd)
    except OSError:
        pass


def cut_index(partition: PartitionFiles, segment: int, position: int) -> None:
    """Drop the hints that point beyond `position`. Nothing depends on it, so a refusal is no matter.

    On disk: after another power cut they would be back, by then in front of the end, and a hint to an offset that is right
    by chance still tells the wrong time.
    """
    try:
        fd = partition.open_index_for_append(segment)
    except (OSError, CorruptStateError):
        return
    try:
        size_bytes = proved_entries_up_to(fd, position)
        if size_bytes != files.size(fd):
            files.truncate(fd, size_bytes)
            files.fdatasync(fd)
    except OSError:
        pass
    finally:
        files.close(fd)


def _remove_leftovers(partition: PartitionFiles, active_segment: int) -> None:
    """Remove what killed processes left: segments behind the active one, which a roll made that did not get as far as
    `state`, and temporary files.

    The directory is synced in any case: a name that a killed process made or replaced is seen by all, but may be gone
    with the power, and with it what is appended from here on.

    Raises:
        CorruptStateError: such a segment holds bytes. No kill leaves that, since `state` names a segment on disk before
            its first byte: the newest slot is gone, and with it went what it said was acknowledged.
    """
    # Most are of segments before: to take each name apart, and twice, is what a roll would cost with thousands of them.
    following = segment_name(active_segment + 1, "")
    names = [name for name in os.listdir(partition.fd) if name >= following or name.startswith(".tmp-")]
    for base_offset in segments_among(names):
        if base_offset > active_segment:
            try:
                fd = open_segment(base_offset, partition_fd=partition.fd)
            except PermissionError:
                # Another user's, killed before it could share the file it had just made.
                size = os.stat(segment_name(base_offset), dir_fd=partition.fd, follow_symlinks=False).st_size
            else:
                size = files.size(fd)
                files.close(fd)
            if size:
                raise CorruptStateError(
                    path=f"{partition.path}/state",
                    found=f"it ends in segment {active_segment}, and {segment_name(base_offset)} holds {size} bytes",
                )
            files.unlink(segment_name(base_offset), dir_fd=partition.fd)
            unlink_if_there(partition, segment_name(base_offset, INDEX_SUFFIX))
    for name in names:
        base, dot, _ = name.partition(PRODUCERS_SUFFIX)
        # A snapshot is there before its segment is.
        if name.startswith(".tmp-") or (dot and base.isdecimal() and int(base) > active_segment):
            files.unlink(name, dir_fd=partition.fd)
    files.fsync(partition.fd)


def unlink_if_there(partition: PartitionFiles, name: str) -> None:
    try:
        files.unlink(name, dir_fd=partition.fd)
    except FileNotFoundError:
        pass


def _leads(partition: PartitionFiles, epochs: LeaderEpochs) -> bool:
    return epochs.latest.leader_id == partition.topic.directory.directory_id


def _mark_failed(partition: PartitionFiles, error: Exception) -> None:
    try:
        note = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {error}\n".encode()
        files.write_new_file(FAILED_FILE, note, dir_fd=partition.fd)
        files.fsync(partition.fd)
    except OSError:
        pass  # `state` still has `syncing`: the next writer tries the disk again, and never trusts the cache.
