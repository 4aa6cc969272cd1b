"""The sparse index of a segment: from an offset or a time to a place near it.

File `<base offset>.index`: 16-byte entries, big-endian, never decreasing in any column.

     0  u32  relative_offset  offset - base_offset of the segment
     4  u32  position         where that offset's batch starts in the .log, bytes
     8  i64  max_timestamp    largest record time in the segment before that position, ms; -1 where there is none

A hint, never the truth: neither checksummed nor synced. Whoever looks up compares the batch header at the position with
the offset it asked for; on disagreement it scans from the segment's start. A torn last entry is ignored. When a segment
is sealed, a last entry marks its end, so that its largest time is known without reading it.
One writer under the partition's lock, any number of readers.
Format: man/mk-format.5, INDEX. Idea: Kafka's OffsetIndex and TimeIndex in one; ours is read with pread, not mapped.
"""

from __future__ import annotations

from _struct import Struct

from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY = Struct(">IIq")
MAX_RELATIVE = 0xFFFFFFFF
"""Offsets further from the segment's base get no entry: well compressed, a segment can hold more."""

INTERVAL_BYTES = 64 << 10
"""An entry for the first batch that starts behind each multiple of this: a look-up reads at most so much too far,
or one batch."""


def entry_due(position: int, next_position: int) -> bool:
    """Tell whether the batch that will start at `next_position`, after one at `position`, gets an entry."""
    return position // INTERVAL_BYTES != next_position // INTERVAL_BYTES


def lookup_offset(fd: int, relative_offset: int) -> tuple[int, int]:
    """Return (relative offset, position) of the last entry at or before `relative_offset`; (0, 0) if there is none."""
    entry = _last_entry(fd, lambda entry: entry[0] <= relative_offset)
    return (0, 0) if entry is None else (entry[0], entry[1])


def lookup_time(fd: int, timestamp_ms: int) -> tuple[int, int]:
    """Return (relative offset, position) from where a record of `timestamp_ms` or later may first stand."""
    entry = _last_entry(fd, lambda entry: entry[2] < timestamp_ms)
    return (0, 0) if entry is None else (entry[0], entry[1])


def last_entry(fd: int) -> tuple[int, int, int] | None:
    """Return (relative offset, position, max timestamp) of the last whole entry."""
    count = files.size(fd) // ENTRY.size
    return _entry(fd, count - 1) if count else None


def first_behind(fd: int, position: int) -> tuple[int, int]:
    """Return (relative offset, position) of the first entry behind `position`; (0, 0) if there is none."""
    number = whole_entries_up_to(fd, position) // ENTRY.size
    if (number + 1) * ENTRY.size > files.size(fd):
        return 0, 0
    return _entry(fd, number)[:2]


def whole_entries_up_to(fd: int, position: int) -> int:
    """Return the size in bytes of the part of the index that speaks of batches up to `position`."""
    size = files.size(fd)
    low, high = 0, size // ENTRY.size
    while low < high:
        middle = (low + high) // 2
        if _entry(fd, middle)[1] <= position:
            low = middle + 1
        else:
            high = middle
    return low * ENTRY.size


def proved_entries_up_to(fd: int, position: int) -> int:
    """Return the size in bytes of the front of the index that is in order and speaks of batches up to `position`.

    Read from the front and not bisected: a power cut may leave zeros behind stale entries, which a bisection takes for
    positions that lie far in front.
    """
    size = files.size(fd)
    kept, before = 0, (0, 0, -1)
    data = files.pread(fd, size - size % ENTRY.size, 0)
    for entry in ENTRY.iter_unpack(data[: len(data) - len(data) % ENTRY.size]):
        if not 0 < entry[1] <= position or any(now < then for now, then in zip(entry, before)):
            break
        kept, before = kept + ENTRY.size, entry
    return kept


def _last_entry(fd: int, holds: Callable[[tuple[int, int, int]], bool]) -> tuple[int, int, int] | None:
    """Bisect for the last entry of which `holds` is true, given that it is true of a prefix."""
    low, high = 0, files.size(fd) // ENTRY.size
    found = None
    while low < high:
        middle = (low + high) // 2
        entry = _entry(fd, middle)
        if holds(entry):
            found = entry
            low = middle + 1
        else:
            high = middle
    return found


def _entry(fd: int, number: int) -> tuple[int, int, int]:
    data = files.pread(fd, ENTRY.size, number * ENTRY.size)
    # Cut meanwhile by a recovery: an entry that nothing can lie behind.
    if len(data) < ENTRY.size:
        return (1 << 32, 1 << 32, 1 << 62)
    return ENTRY.unpack(data)
