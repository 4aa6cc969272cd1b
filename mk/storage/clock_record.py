"""Whether the clock can be believed, before records are removed by their age.

A clock that leaps ahead ten years makes all records look ten years old. So whoever removes by age notes in locks/clock
what the clock said, and how long the system had been up: the next one to look sees whether as much time has passed by the
clock as has passed in truth. After a leap, ahead or back, the clock is believed again when it has run evenly for a day.
Only writers come here. The record is one line, overwritten in place, so that it needs no room on a full disk.
Format: man/mk-format.5, CLOCK.
"""

from __future__ import annotations

import os

from mk import clock
from mk.errors import MkError
from mk.records.codecs import crc32c
from mk.storage import files
from mk.storage.host import boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.log_directory import LogDirectory

FILE_NAME = "clock"
SIZE = 128

TOLERANCE_MS = 3_600_000
"""So much the clock may be put right by between two looks."""

LONGEST_GAP_MS = 31 * 86_400_000
"""So long the system may have been off, or nobody have looked before a restart, without a doubt about the clock."""

STEADY_MS = 86_400_000
"""So long a clock that leapt must run evenly before it is believed."""


class ClockRecord:
    """What somebody saw: the boot, the clock, the time up, and for how long the clock had then run evenly (a day at most)."""

    __slots__ = ("boot_id", "now_ms", "steady_ms", "uptime_ms")

    def __init__(self, boot_id: str, now_ms: int, uptime_ms: int, steady_ms: int) -> None:
        self.boot_id = boot_id
        self.now_ms = now_ms
        self.uptime_ms = uptime_ms
        self.steady_ms = steady_ms

    @property
    def is_believed(self) -> bool:
        return self.steady_ms >= STEADY_MS

    def then(self, boot_id: str, now_ms: int, uptime_ms: int) -> ClockRecord:
        """Return what is to be recorded of a later look.

        In the same boot, the clock must have moved as the uptime did. Over a restart nobody knows how much time has
        passed: the clock must have gone on, and not by more than LONGEST_GAP_MS.
        """
        elapsed_ms = now_ms - self.now_ms
        if self.boot_id == boot_id:
            even = abs(elapsed_ms - (uptime_ms - self.uptime_ms)) <= TOLERANCE_MS
        else:
            even = -TOLERANCE_MS <= elapsed_ms <= LONGEST_GAP_MS
        steady_ms = min(STEADY_MS, self.steady_ms + max(0, elapsed_ms)) if even else 0
        return ClockRecord(boot_id, now_ms, uptime_ms, steady_ms)

    def encode(self) -> bytes:
        line = f"boot={self.boot_id} now={self.now_ms} uptime={self.uptime_ms} steady={self.steady_ms}".encode()
        return (b"%b crc=%08x" % (line, crc32c(line))).ljust(SIZE - 1) + b"\n"


def decode(data: bytes) -> ClockRecord | None:
    """Read a record, or None if it is torn, damaged or empty."""
    line, _, crc = data.rpartition(b" crc=")
    try:
        if int(crc, 16) != crc32c(line):
            return None
        boot, now, uptime, steady = (field.partition("=")[2] for field in line.decode().split(" "))
        return ClockRecord(boot, int(now), int(uptime), int(steady))
    except ValueError:
        return None


def look(directory: LogDirectory, last_seen_ms: int) -> ClockRecord:
    """Judge the clock without recording anything.

    last_seen_ms: a time at which a clock was believed, for a directory in which nobody has looked before.
    """
    try:
        data = files.read_file(FILE_NAME, dir_fd=directory.locks_fd)
    except (OSError, MkError):
        data = b""  # Nobody has looked yet, or it is closed to us.
    before = decode(data) or ClockRecord("", last_seen_ms, 0, STEADY_MS)
    return before.then(boot_id(), clock.now_ms(), clock.uptime_ms())


def look_and_record(directory: LogDirectory, last_seen_ms: int) -> ClockRecord:
    """Judge the clock, and record it for the next look.

    A record that cannot be stored only makes the next look compare with an older one. Two who look at once write over
    each other; a torn record counts as none.
    """
    now = look(directory, last_seen_ms)
    try:
        fd = files.open_file(FILE_NAME, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=directory.locks_fd)
        try:
            files.pwrite(fd, now.encode(), 0)
        finally:
            files.close(fd)
    except OSError:
        pass
    return now
