"""Comparing the index of a segment with its batches, as these are read."""

from __future__ import annotations

from mk.storage import files, offset_index

_MAX_BYTES = 16 << 20
"""More than the index of any segment has; the rest is not looked at."""


class IndexCheck:
    """Follows the entries of one index beside a pass over its segment. An entry that names no batch is stale, and harmless.

    found: what is wrong with the first stale entry, "" if none is. position: where it stands in the index.
    """

    __slots__ = ("_at", "_base_offset", "_times_known", "entries", "found", "position")

    def __init__(self, fd: int, base_offset: int) -> None:
        data = files.pread(fd, min(files.size(fd), _MAX_BYTES), 0)
        whole = len(data) - len(data) % offset_index.ENTRY.size
        self.entries = list(offset_index.ENTRY.iter_unpack(data[:whole]))
        self._base_offset = base_offset
        self._at = 0
        self._times_known = True
        self.found = ""
        self.position = 0

    def hints(self) -> list[tuple[int, int]]:
        """Return (offset, position) of the entries."""
        return [(self._base_offset + entry[0], entry[1]) for entry in self.entries]

    def reach(self, position: int, offset: int, max_timestamp: int) -> None:
        """Compare the entries up to `position`, where `offset` begins and everything before is at most that late."""
        while self._at < len(self.entries) and self.entries[self._at][1] <= position:
            relative, at, timestamp = self.entries[self._at]
            if at != position or at == 0:
                self._stale(f"it points to byte {at}, where no batch begins" if at else "it is empty")
            elif self._base_offset + relative != offset:
                self._stale(f"it has offset {self._base_offset + relative} at byte {at}, where {offset} is")
            elif self._times_known and timestamp != max_timestamp:
                self._stale(f"it has time {timestamp} at byte {at}, where the largest so far is {max_timestamp}")
            self._at += 1

    def skip_to(self, position: int) -> None:
        """Leave out the entries of a part that cannot be read, and what the times in it were."""
        self._times_known = False
        while self._at < len(self.entries) and self.entries[self._at][1] < position:
            self._at += 1

    def end(self, written_position: int) -> None:
        """Take what is left as stale, if it points behind `written_position`: other entries may be newer than this pass."""
        for _, at, _ in self.entries[self._at :]:
            if at > written_position:
                self._stale(f"it points to byte {at}, behind the end")
            self._at += 1

    def _stale(self, found: str) -> None:
        if not self.found:
            self.found = f"entry {self._at}: {found}"
            self.position = self._at * offset_index.ENTRY.size
