"""Comparing `epochs` with the epochs that the batches carry."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.records.record_batch import RecordBatch
    from mk.storage.leader_epochs import LeaderEpochs


class EpochCheck:
    """Takes note of where epochs begin in a log, batch by batch, and says what `epochs` has otherwise.

    Only below the durable end must the file be right: a recovery that was cut short may have written an epoch that no batch
    above it bears out.
    """

    __slots__ = ("_begun", "_lost", "_lost_from", "leader_epoch")

    def __init__(self) -> None:
        self._begun: list[tuple[int, int, int]] = []  # epoch; the first and last offset at which it may begin
        self._lost: list[tuple[int, int]] = []
        self._lost_from = -1
        self.leader_epoch = -1

    def lose(self, offset: int) -> None:
        """Take note that what follows from `offset` on cannot be read: epochs may begin there unseen."""
        if self._lost_from < 0:
            self._lost_from = offset

    def take(self, batch: RecordBatch) -> None:
        offset = batch.base_offset
        if batch.leader_epoch != self.leader_epoch:
            self.leader_epoch = batch.leader_epoch
            earliest = self._lost_from if self._lost_from >= 0 else offset
            self._begun.append((batch.leader_epoch, min(earliest, offset), offset))
        if self._lost_from >= 0:
            self._lost.append((self._lost_from, offset))
            self._lost_from = -1

    def differences(self, epochs: LeaderEpochs, durable_offset: int) -> list[tuple[int, str]]:
        """Return (offset, what is wrong) wherever `epochs` contradicts the batches below `durable_offset`."""
        found = []
        first_offsets = {entry.epoch: entry.first_offset for entry in epochs.entries}
        for number, (epoch, earliest, latest) in enumerate(self._begun):
            if latest >= durable_offset:
                break
            first = first_offsets.get(epoch, -1)
            covering = max((entry.epoch for entry in epochs.entries if entry.first_offset <= latest), default=-1)
            # What stood before the first batch that is left may have had this epoch already.
            if covering != epoch or first > latest or (number and first < earliest):
                begins = f"begins at {first}" if first >= 0 else "is unknown"
                found.append(
                    (latest, f"leader epoch {epoch} {begins} there, and its first batch is at offset {latest}")
                )
        lost = [*self._lost, (self._lost_from, durable_offset)] if self._lost_from >= 0 else self._lost
        seen = {epoch for epoch, _, _ in self._begun}
        start = self._begun[0][2] if self._begun else durable_offset
        for entry in epochs.entries:
            offset = entry.first_offset
            unread = any(low <= offset <= high for low, high in lost)
            if start < offset < durable_offset and entry.epoch not in seen and not unread:
                found.append((offset, f"leader epoch {entry.epoch} begins there, and no batch has it"))
        return found
