"""`cleaned`: when a partition was compacted, and up to where; see log_cleaner.

One line for each cleaning, the oldest first, each with its checksum. Replaced by rename under the append lock, when what it says
is on disk. If it is lost, or a line is damaged, the log counts as dirty from its start, and tombstones stay longer.
Format: man/mk-format.5, CLEANED. Idea: Kafka's cleaner-offset-checkpoint, and its delete horizon.
"""

from __future__ import annotations

from mk.errors import MkError
from mk.records.codecs import crc32c
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FILE_NAME = "cleaned"
MAX_ENTRIES = 64
NO_TIME = (1 << 63) - 1
"""The time of a cleaning when the clock could not be believed: no tombstone goes by it."""


class Cleaning:
    """Of each key that has a record below `offset`, by `time_ms` all records but the last one in front of it were gone.

    horizon: tombstones below it went. tombstones: how many stayed.
    """

    __slots__ = ("horizon", "offset", "time_ms", "tombstones")

    def __init__(self, time_ms: int, offset: int, horizon: int, tombstones: int) -> None:
        self.time_ms = time_ms
        self.offset = offset
        self.horizon = horizon
        self.tombstones = tombstones

    def encode(self) -> bytes:
        line = f"time={self.time_ms} offset={self.offset} horizon={self.horizon} tombstones={self.tombstones}".encode()
        return b"%b crc=%08x\n" % (line, crc32c(line))


class CleanerCheckpoint:
    """All cleanings that are remembered, the oldest first."""

    __slots__ = ("entries",)

    def __init__(self, entries: Sequence[Cleaning] = ()) -> None:
        self.entries = tuple(entries)

    @staticmethod
    def read(partition_fd: int, cleaned_to: int) -> CleanerCheckpoint:
        """Read it, without any entries if it is not there, cannot be read, or is damaged.

        cleaned_to: of `state`. No entry goes beyond it, in case that the file is from another life of the log.
        """
        try:
            found = decode_checkpoint(files.read_file(FILE_NAME, dir_fd=partition_fd)) or CleanerCheckpoint()
        except (OSError, MkError):
            return CleanerCheckpoint()
        return CleanerCheckpoint(
            [
                Cleaning(entry.time_ms, min(entry.offset, cleaned_to), min(entry.horizon, cleaned_to), entry.tombstones)
                for entry in found.entries
            ]
        )

    def write(self, partition_fd: int) -> None:
        """Put it on disk. The caller holds the append lock."""
        files.replace_file(FILE_NAME, self.encode(), dir_fd=partition_fd)

    def encode(self) -> bytes:
        return b"".join(entry.encode() for entry in self.entries)

    @property
    def first_dirty_offset(self) -> int:
        """Up to where the log is clean."""
        return self.entries[-1].offset if self.entries else 0

    def then(self, cleaning: Cleaning, retained_since_ms: int) -> CleanerCheckpoint:
        """Return it with one entry more.

        retained_since_ms: a tombstone that stood by then may go. Of the entries from before, the last one says all. Of too many
        others, one goes that leaves the smallest gap between its neighbours: a tombstone then counts as cleaned at the time of
        the next one, and stays longer, by a small part of the time that it stays anyway.
        """
        # A clock that was put back makes of several entries one of now.
        entries = [
            entry for entry in self.entries if entry.time_ms < cleaning.time_ms and entry.offset <= cleaning.offset
        ]
        while len(entries) > 1 and entries[1].time_ms <= retained_since_ms:
            del entries[0]
        entries.append(cleaning)
        while len(entries) > MAX_ENTRIES:
            # Never the first: it is the next to let tombstones go, and would not come to it if there is always another one.
            gaps = [after.time_ms - before.time_ms for before, after in zip(entries, entries[2:], strict=False)]
            del entries[1 + gaps.index(min(gaps))]
        return CleanerCheckpoint(entries)

    def cleaned_before(self, time_ms: int) -> int:
        """Return up to which offset the log was clean at a time."""
        return max((entry.offset for entry in self.entries if entry.time_ms <= time_ms), default=0)

    def tombstones_below(self, horizon: int) -> bool:
        """Tell whether a cleaning with this horizon may find tombstones that the last one left."""
        return bool(self.entries and self.entries[-1].tombstones and horizon > self.entries[-1].horizon)


def decode_checkpoint(data: bytes) -> CleanerCheckpoint | None:
    """Read the file's content, or None if a line of it is damaged."""
    entries = []
    for line in data.splitlines():
        text, _, crc = line.rpartition(b" crc=")
        try:
            if int(crc, 16) != crc32c(text):
                return None
            numbers = [int(field.partition("=")[2]) for field in text.decode().split(" ")]
            if min(numbers[1:]) < 0:  # No log has such an offset, whoever wrote the checksum.
                return None
            entries.append(Cleaning(*numbers))
        except (ValueError, TypeError):
            return None
    return CleanerCheckpoint(entries)
