"""The open files of one partition, shared by those who append, recover and read."""

from __future__ import annotations

import os
import time

from mk.errors import CorruptStateError, DiskReserveError
from mk.storage import files, offset_index
from mk.storage.log_segment import INDEX_SUFFIX, segment_name
from mk.storage.partition_state import PartitionState, read_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.topic import Topic

STATE_FILE = "state"
FAILED_FILE = "FAILED"
TRUNCATION_FILE = "truncation"

_LARGEST_RESERVE = 1 << 30
_STATE_TRIES = 100
_STATE_PAUSE_SECONDS = 0.002


class PartitionFiles:
    """A partition's directory and `state`, held open. `flags` is O_RDONLY for readers, O_RDWR for writers.

    rolls_before_retention: so many rolls do not look at what may go; see segment_removal.
    """

    __slots__ = ("fd", "partition", "path", "rolls_before_retention", "state_fd", "topic")

    def __init__(self, topic: Topic, partition: int, flags: int) -> None:
        self.topic = topic
        self.rolls_before_retention = 0
        self.partition = topic.check_partition(partition)
        self.path = f"{topic.path}/{partition}"
        try:
            self.fd = files.open_directory(str(partition), dir_fd=topic.fd)
        except FileNotFoundError:
            topic.check_not_deleted()
            raise CorruptStateError(path=self.path, found="the partition's directory is missing") from None
        except NotADirectoryError:
            raise CorruptStateError(path=self.path, found="it is not a directory") from None
        try:
            self.state_fd = files.open_file(STATE_FILE, flags, dir_fd=self.fd)
        except FileNotFoundError:
            files.close(self.fd)
            topic.check_not_deleted()
            raise CorruptStateError(path=f"{self.path}/{STATE_FILE}", found="it is missing") from None
        except BaseException:
            files.close(self.fd)
            raise

    def close(self) -> None:
        files.close(self.state_fd)
        files.close(self.fd)

    def read_state(self, known: PartitionState | None = None) -> PartitionState | None:
        """Return the newest valid slot; None if there is none, see partition_state.read_state."""
        state = read_state(self.state_fd, known)
        if state is not None and state.topic_id != self.topic.topic_id:
            raise CorruptStateError(path=f"{self.path}/{STATE_FILE}", found=f"it belongs to topic id {state.topic_id}")
        return state

    def wait_for_state(self, known: PartitionState | None = None) -> PartitionState:
        """Return the newest valid slot, for those without the lock: where both are being overwritten, read them again."""
        for _ in range(_STATE_TRIES):
            state = self.read_state(known)
            if state is not None:
                return state
            time.sleep(_STATE_PAUSE_SECONDS)
        raise CorruptStateError(
            path=f"{self.path}/{STATE_FILE}",
            found="neither of its slots can be read",
            fix="the next `mk produce` to this topic rebuilds it from the segments, if they are whole",
        )

    def segment_path(self, base_offset: int) -> str:
        return f"{self.path}/{segment_name(base_offset)}"

    def open_index(self, base_offset: int) -> int:
        """Open a segment's index for reading; -1 if it has none that can be used, which only makes a look-up longer."""
        try:
            return files.open_file(segment_name(base_offset, INDEX_SUFFIX), os.O_RDONLY, dir_fd=self.fd)
        except (FileNotFoundError, PermissionError, CorruptStateError):
            return -1

    def open_segment_for_append(self, base_offset: int, *, linked: bool = False) -> int:
        """linked: it may have a second name, in quarantine/, where a kill left it while it was being given up."""
        return files.open_file(segment_name(base_offset), os.O_RDWR | os.O_APPEND, dir_fd=self.fd, linked=linked)

    def open_index_for_append(self, base_offset: int) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        return files.open_file(segment_name(base_offset, INDEX_SUFFIX), flags, dir_fd=self.fd)

    def append_to_index(self, base_offset: int, entries: bytes) -> None:
        """Add entries to a segment's index. It is a hint: where it takes none, a look-up reads further, and no append fails."""
        try:
            fd = self.open_index_for_append(base_offset)
        except (OSError, CorruptStateError):
            return
        try:
            if files.append(fd, [entries]) != len(entries):
                # Every later entry would be read from a wrong byte.
                size = files.size(fd)
                files.truncate(fd, size - size % offset_index.ENTRY.size)
        except OSError:
            pass
        finally:
            files.close(fd)

    def check_room(self, wanted_bytes: int) -> None:
        """Refuse an append that would leave less than min.free on the file system.

        A disk that is full to the last byte takes no new segment, no evidence of a recovery, nothing of any other program.
        Here, before the first byte, since what was written cannot be taken back without being lost to readers.
        """
        reserve_bytes = int(self.topic.config("min.free"))
        if reserve_bytes == 0:
            return
        status = os.fstatvfs(self.fd)
        if status.f_blocks == 0:
            return  # A file system that does not tell.
        if reserve_bytes < 0:
            reserve_bytes = min(status.f_blocks * status.f_frsize // 100, _LARGEST_RESERVE)
        free_bytes = status.f_bavail * status.f_frsize
        if free_bytes - wanted_bytes < reserve_bytes:
            raise DiskReserveError(
                path=self.path, free_bytes=free_bytes, wanted_bytes=wanted_bytes, reserve_bytes=reserve_bytes
            )
