"""A copy of a partition's log in another place: sealed segments by second names where the file system has them, the rest as bytes.

Sealed segments never change, so a name is a copy; whoever replaces or removes one does it by name, and the other stays.
The active segment is appended to, and index, snapshots and the small files may be written to: those are copied.
Used under the partition's lock, but for the bytes, which may be many: they are copied from open files when the lock is free again.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISREG

from mk.errors import CorruptStateError, TryAgainError
from mk.storage import files, offset_index
from mk.storage.cleaner_checkpoint import FILE_NAME as CLEANED_FILE
from mk.storage.leader_epochs import FILE_NAME as EPOCHS_FILE
from mk.storage.log_segment import INDEX_SUFFIX, PRODUCERS_SUFFIX, list_segments, open_segment, segment_name
from mk.storage.partition_files import STATE_FILE
from mk.storage.partition_state import PartitionState, initial_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.partition_files import PartitionFiles

NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)
"""With these a second name is refused where bytes may do: another file system, one without links, another user's file."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_PIECE = 16 << 20
_MAX_SNAPSHOT_BYTES = 1 << 28


class LogCopy:
    """A copy of one partition on its way into a new directory, whose open descriptor it takes over.

    links, link_bytes: segments that got a second name; copied_bytes: of those that were copied, or are still to be.
    """

    __slots__ = ("_cuts", "_partition", "_pending", "_unsynced", "copied_bytes", "link_bytes", "links", "target_fd")

    def __init__(self, target_fd: int) -> None:
        self.target_fd = target_fd
        self._pending: list[tuple[int, str, int, int]] = []
        self._unsynced: list[str] = []
        self._partition: PartitionFiles | None = None
        self._cuts = 0
        self.links = self.link_bytes = self.copied_bytes = 0

    def take(
        self, partition: PartitionFiles, state: PartitionState, epochs: LeaderEpochs, *, topic_id: str, boot: str
    ) -> None:
        """Take all but the bytes that are to be copied. The caller holds the partition's lock, and keeps it open for `finish`.

        Nothing is synced yet: others wait for the lock. state: where the log ends; what is not on disk yet is left out.
        epochs: who leads the copy. boot: the boot id in the copy's `state`.
        """
        self._partition, self._cuts = partition, state.cuts
        bases = [base for base in list_segments(partition.fd) if base <= state.segment]
        first = max((base for base in bases if base <= state.log_start_offset), default=state.segment)
        for base in bases:
            if base >= first:
                if base < state.segment:
                    self._take_sealed(partition, base)
                self._copy_small(partition, segment_name(base, PRODUCERS_SUFFIX))
        self._take_active(partition, state)
        self._copy_small(partition, CLEANED_FILE)
        self._write(EPOCHS_FILE, epochs.encode())
        new = PartitionState(topic_id, boot)
        new.segment, new.written, new.durable = state.segment, state.durable, state.durable
        new.high_watermark, new.log_start_offset = state.durable.offset, state.log_start_offset
        new.leader_epoch, new.began_ms = epochs.latest.epoch, state.began_ms
        new.cleaned_to, new.tombstones_dropped_to = state.cleaned_to, state.tombstones_dropped_to
        self._write(STATE_FILE, initial_state(new))

    def finish(self, progress: Callable[[int], None] | None = None) -> None:
        """Copy the bytes that are still to be copied, without the lock; all is on disk when it returns.

        Raises TryAgainError: the log was cut back meanwhile, as it is to follow another one.
        """
        if self._pending:
            try:
                while self._pending:
                    self._copy(*self._pending[-1], progress)
                    files.close(self._pending.pop()[0])
            except EOFError:
                pass
            self._check_not_cut()
        for name in self._unsynced:
            fd = files.open_file(name, os.O_RDONLY, dir_fd=self.target_fd)
            try:
                files.fsync(fd)
            finally:
                files.close(fd)
        files.fsync(self.target_fd)

    def close(self) -> None:
        """Let go of the directory, and of files that were not copied."""
        for fd, *_ in self._pending:
            files.close(fd)
        self._pending = []
        files.close(self.target_fd)

    def _copy(
        self, fd: int, name: str, size_bytes: int, last_write_ns: int, progress: Callable[[int], None] | None
    ) -> None:
        copy = files.open_file(name, _NEW_FILE, dir_fd=self.target_fd)
        try:
            position = 0
            while position < size_bytes:
                count = files.copy_range(fd, copy, min(_PIECE, size_bytes - position), position)
                if count == 0:
                    raise EOFError
                position += count
                if progress is not None:
                    progress(count)
            files.set_last_write(copy, last_write_ns)
            files.fsync(copy)
        finally:
            files.close(copy)

    def _check_not_cut(self) -> None:
        """Raise TryAgainError if what was copied may be another log's by now.

        A segment that is cut, and goes on as another log's, is the same file. Before its first byte is another, `state` has
        counted the cut. A file that was too short is one that was cut by somebody who counts nothing.
        """
        partition = self._partition
        assert partition is not None
        if partition.wait_for_state().cuts != self._cuts or self._pending:
            raise TryAgainError(
                f"partition {partition.partition} of {partition.topic.name} was cut back while it was copied",
                why="it follows another directory, which has other records" if not self._pending else "",
                fix="run it again; there is no copy yet",
                topic=partition.topic.name,
                partition=partition.partition,
            )

    def _take_sealed(self, partition: PartitionFiles, base: int) -> None:
        name = segment_name(base)
        try:
            files.link(name, name, src_dir_fd=partition.fd, dst_dir_fd=self.target_fd)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            self._copy_later(partition, base, -1)
        else:
            # By what it got, and not by what stood there before: somebody may have put something else in its place.
            status = os.stat(name, dir_fd=self.target_fd, follow_symlinks=False)
            if not S_ISREG(status.st_mode):
                raise CorruptStateError(
                    path=partition.segment_path(base),
                    found="it is not a regular file",
                    fix="move it away, and put the file that belongs there in its place, from a copy; there is no copy yet",
                )
            self.links += 1
            self.link_bytes += status.st_size
        self._copy_index(partition, base, -1)

    def _take_active(self, partition: PartitionFiles, state: PartitionState) -> None:
        if state.durable.position:
            self._copy_later(partition, state.segment, state.durable.position)
        else:
            self._write(segment_name(state.segment), b"", is_hint=True)  # Empty: its name is all there is to it.
        self._copy_index(partition, state.segment, state.durable.position)

    def _copy_later(self, partition: PartitionFiles, base: int, size_bytes: int) -> None:
        fd = open_segment(base, partition_fd=partition.fd)
        status = os.fstat(fd)
        size_bytes = status.st_size if size_bytes < 0 else size_bytes
        self._pending.append((fd, segment_name(base), size_bytes, status.st_mtime_ns))
        self.copied_bytes += size_bytes

    def _copy_index(self, partition: PartitionFiles, base: int, position: int) -> None:
        """Copy an index, up to a position in its segment. Not synced, as no index is: it is a hint."""
        data = b""
        fd = partition.open_index(base)
        if fd >= 0:
            try:
                size_bytes = files.size(fd) if position < 0 else offset_index.whole_entries_up_to(fd, position)
                data = files.pread(fd, size_bytes, 0)
            finally:
                files.close(fd)
        self._write(segment_name(base, INDEX_SUFFIX), data, is_hint=True)

    def _copy_small(self, partition: PartitionFiles, name: str) -> None:
        try:
            data = files.read_file(name, dir_fd=partition.fd, max_bytes=_MAX_SNAPSHOT_BYTES)
        except FileNotFoundError:
            return
        self._write(name, data)

    def _write(self, name: str, data: bytes, *, is_hint: bool = False) -> None:
        """Make a small file. is_hint: it need not be on disk."""
        fd = files.open_file(name, _NEW_FILE, dir_fd=self.target_fd)
        try:
            if data:
                files.pwrite(fd, data, 0)
        finally:
            files.close(fd)
        if not is_hint:
            self._unsynced.append(name)
