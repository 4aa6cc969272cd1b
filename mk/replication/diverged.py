"""Which records in quarantine/ are in no log any more, because another directory was promoted without them.

What a recovery cut off was never acknowledged, or is damaged; what was put aside to fetch a partition anew is in the log as
far as there still is one. Neither is to be produced again unasked: it would be stored twice. The leader epochs tell: a batch
has diverged if the log, in its place, is of a later promotion.
"""

from __future__ import annotations

from mk.errors import MkError
from mk.storage.quarantine import list_quarantine, read_quarantined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from mk.records.record_batch import RecordBatch
    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.log_directory import LogDirectory
    from mk.storage.quarantine import QuarantinedLog

    Document = dict[str, Any]


class Quarantine:
    """What is in quarantine/ of a directory, by topic, partition and offset. Raises PermissionError where it is closed."""

    def __init__(self, directory: LogDirectory) -> None:
        self._directory = directory
        self._epochs: dict[tuple[str, int], LeaderEpochs | None] = {}
        self.logs = list_quarantine(directory)

    def batches(self, log: QuarantinedLog, *, all_of_them: bool = False) -> Iterator[RecordBatch]:
        """Yield the batches of a piece that have diverged, or all, whole and in the order in which they stand there."""
        is_diverged = self._judge(log)
        for batch in read_quarantined(self._directory, log.name):
            if all_of_them or is_diverged(batch):
                yield batch

    def describe(self, log: QuarantinedLog) -> Document:
        """Return a piece ready for JSON. diverged_records: how many of its records are in no log any more."""
        is_diverged = self._judge(log)
        count = 0
        if any(_promotions(epoch) < self._latest_promotions(log) for epoch in log.epochs):
            count = sum(
                batch.record_count for batch in read_quarantined(self._directory, log.name) if is_diverged(batch)
            )
        return {**log.document(), "diverged_records": count}

    def _judge(self, log: QuarantinedLog) -> Callable[[RecordBatch], bool]:
        epochs = self._epochs_of(log)
        if epochs is None or self._was_written_anew(log):
            return lambda _: False
        return lambda batch: _promotions(batch.leader_epoch) < _promotions(epochs.epoch_before(batch.base_offset + 1))

    def _was_written_anew(self, log: QuarantinedLog) -> bool:
        """Tell whether a recovery cut this off, and what came in its place under the same leader was cut off as well."""
        return any(
            other.first_offset <= log.first_offset < other.next_offset
            and _promotions(other.epochs[-1]) == _promotions(log.epochs[-1])
            and other.epochs[-1] > log.epochs[-1]
            for other in self.logs
            if (other.topic, other.partition) == (log.topic, log.partition) and other.epochs and log.epochs
        )

    def _latest_promotions(self, log: QuarantinedLog) -> int:
        epochs = self._epochs_of(log)
        return -1 if epochs is None else _promotions(epochs.latest.epoch)

    def _epochs_of(self, log: QuarantinedLog) -> LeaderEpochs | None:
        """Return the epochs of the log that a piece was cut off, None if it is gone or cannot be read."""
        key = log.topic, log.partition
        if key not in self._epochs:
            self._epochs[key] = None
            try:
                topic = self._directory.open_topic(log.topic)
                try:
                    self._epochs[key] = topic.read_epochs(log.partition)
                finally:
                    topic.close()
            except (MkError, OSError):
                pass  # Then nobody can say what came in its place.
        return self._epochs[key]


def _promotions(epoch: int) -> int:
    """Return how many promotions came before an epoch: its upper half; -1 for no epoch."""
    return epoch >> 32
