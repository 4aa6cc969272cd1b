"""Comparing the `.producers` snapshots of a partition with the sequences in its batches."""

from __future__ import annotations

import os

from mk.errors import CorruptStateError
from mk.maintenance import findings as kinds
from mk.maintenance.findings import DAMAGE, NOTE, WARNING
from mk.records.record_batch import COMPACTED
from mk.storage import files
from mk.storage.log_segment import PRODUCERS_SUFFIX, UNKNOWN_CHAIN, segment_name
from mk.storage.producer_state import decode_snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.records.record_batch import RecordBatch
    from mk.storage.producer_state import ProducerState

_MAX_BYTES = 64 << 20
"""Room for three million producer ids; what is longer is taken for damage."""


class ProducerCheck:
    """Follows the last sequence of each producer id through a log, and compares the snapshots that it comes by.

    known: whether that is known of all of them, from the log's start or from a snapshot. seen: the ids of the batches.
    """

    __slots__ = ("_faults", "_last", "_snapshot", "known", "seen")

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._snapshot: ProducerState | None = None
        self._faults: list[tuple[str, str, str]] = []
        self.known = True
        self.seen: set[int] = set()

    def lose(self) -> None:
        """Take note that batches cannot be read, or are no longer there: only the next snapshot tells what was stored."""
        self.known = False

    def begin(self, partition_fd: int, base_offset: int) -> None:
        """Take the snapshot that stands beside a segment, if there is one."""
        self._faults = []
        self._snapshot = None
        try:
            fd = files.open_file(segment_name(base_offset, PRODUCERS_SUFFIX), os.O_RDONLY, dir_fd=partition_fd)
        except FileNotFoundError:
            return
        except CorruptStateError as error:
            self._faults.append((kinds.DAMAGED_SNAPSHOT, WARNING, error.why))
            return
        try:
            self._snapshot = decode_snapshot(files.pread(fd, min(files.size(fd), _MAX_BYTES), 0), base_offset)
        finally:
            files.close(fd)
        if self._snapshot is None:
            found = "it is not what its checksum says; an older one is used, if there is one"
            self._faults.append((kinds.DAMAGED_SNAPSHOT, NOTE if self.known else WARNING, found))

    def take(self, batch: RecordBatch, position: int, chain: int) -> None:
        """Take a batch at `position`, behind one with `chain`."""
        self.reach(position, batch.base_offset, chain)
        if batch.attributes & COMPACTED:
            self.known = False  # What its producers had stored cannot be told.
        if batch.producer_id:
            self._last[batch.producer_id] = batch.last_sequence
            self.seen.add(batch.producer_id)

    def reach(self, position: int, offset: int, chain: int) -> None:
        """Compare the snapshot if it is of this place between two batches, `offset` being the next one's."""
        snapshot = self._snapshot
        if snapshot is None or snapshot.position > position:
            return
        self._snapshot = None
        if (snapshot.position, snapshot.offset) != (position, offset) or chain not in (snapshot.chain, UNKNOWN_CHAIN):
            found = f"it is of byte {snapshot.position}, offset {snapshot.offset}, where this log has another place"
            self._faults.append((kinds.STALE_SNAPSHOT, NOTE, found))
            return
        if self.known and snapshot.last_sequences != self._last:
            differing = sorted(set(snapshot.last_sequences.items()) ^ set(self._last.items()))
            found = f"it has other sequences than the batches, such as of producer id {differing[0][0]:016x}"
            self._faults.append((kinds.WRONG_SNAPSHOT, DAMAGE, found))
            return
        self._last = dict(snapshot.last_sequences)
        self.known = True

    def end(self, *, moved: bool) -> list[tuple[str, str, str]]:
        """Return (kind, severity, what is wrong) with the snapshot of the segment that ends here.

        moved: the log went on meanwhile, and the snapshot may be of a place further on.
        """
        if self._snapshot is not None and not moved:
            found = f"it is of byte {self._snapshot.position}, which is behind the end"
            self._faults.append((kinds.STALE_SNAPSHOT, NOTE, found))
        self._snapshot = None
        return self._faults
