"""Where a producer with an id is in its input, and which of the records it was given are stored already.

Every record handed to the producer counts, from 0. The number goes with the record into the batch, and the next run of
the same command, which counts in the same way, leaves out what it finds in the log. Per partition the stored ones are
always the first ones: records are appended in order, and each partition is a pure function of record and producer id.
What stands here saves work; what is stored is decided by PartitionLog, under the lock.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

from mk.topic_partition import check_producer_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mk.records.record_batch import EncodedBatch
    from mk.storage.producer_pin import ProducerPin
    from mk.storage.topic import Topic

_SHORT = 4096
"""Runs of consecutive sequences below this are kept as 8 bytes each; a longer one costs more as an object of its own."""


def resume(topic: Topic, name: str, *, partition: int | None, lock_wait_ms: int) -> InputSequence:
    """Begin with the input of a producer id, which is pinned to what the topic is if it is new."""
    check_producer_id(name)
    return InputSequence(topic.pin_producer(name, partition=partition, lock_wait_ms=lock_wait_ms))


class InputSequence:
    """Counts the input of one producer id.

    next_sequence: of the next record. stored_sequences: per partition the last one known to be stored, -1 for none.
    records_stored_before: how many records were left out. flushed_sequence: all before it are stored. failed: what waited
    for an append was dropped, so nothing may follow before it is sent again.
    """

    __slots__ = (
        "_waiting",
        "failed",
        "flushed_sequence",
        "next_sequence",
        "pin",
        "records_stored_before",
        "stored_sequences",
    )

    def __init__(self, pin: ProducerPin) -> None:
        self.pin = pin
        self.next_sequence = 0
        self.flushed_sequence = 0
        self.records_stored_before = 0
        self.failed = False
        self.stored_sequences: dict[int, int] = {}
        self._waiting: dict[int, list[Sequence[int]]] = {}

    @property
    def null_key_partition(self) -> int:
        """The partition of records without a key: always the same one, since a rotation would not be the same again."""
        return self.pin.producer_id % self.pin.partitions

    def take(self, partition: int, count: int) -> int:
        """Count records that go to one partition, and return how many of them, the first ones, are to be left out."""
        first = self.next_sequence
        self.next_sequence = first + count
        start = min(max(first, self.stored_sequences[partition] + 1), first + count)
        if start < first + count:
            self._wait(partition, range(start, first + count))
        self.records_stored_before += start - first
        return start - first

    def take_if_stored(self, count: int) -> bool:
        """Count records if all of them are to be left out, wherever they go. The last sequence of each partition is known."""
        last = self.next_sequence + count - 1
        if count and last > min(self.stored_sequences.values()):
            return False
        self.next_sequence += count
        self.records_stored_before += count
        return True

    def routed(self, keys: Sequence[bytes | None], hash_of: Callable[[bytes], int]) -> list[list[int]]:
        """Return per partition the sequences of the records that go there, of those that come next."""
        partitions, null_key_partition = self.pin.partitions, self.null_key_partition
        sequences_of: list[list[int]] = [[] for _ in range(partitions)]
        for sequence, key in enumerate(keys, self.next_sequence):
            sequences_of[null_key_partition if key is None else hash_of(key) % partitions].append(sequence)
        return sequences_of

    @staticmethod
    def lines_behind(block: bytes | memoryview, count: int) -> memoryview:
        """Return what follows the first `count` lines of a block, which are to be left out."""
        rest = bytes(block).split(b"\n", count)[count]
        return memoryview(block)[len(block) - len(rest) :]

    def take_routed(self, partition: int, sequences: list[int]) -> int:
        """Do as `take` does for records that the caller counts, since those between them go to other partitions."""
        stored = self.stored_sequences[partition]
        skip = 0 if sequences[0] > stored else bisect_right(sequences, stored)
        if skip < len(sequences):
            self._wait(partition, sequences[skip:])
        self.records_stored_before += skip
        return skip

    def number(self, partition: int, batches: Sequence[EncodedBatch]) -> None:
        """Give the batches of a partition, which hold all that waits for it, their sequences."""
        waiting = self._waiting.pop(partition, [])
        if sum(map(len, waiting)) != sum(batch.record_count for batch in batches):
            raise ValueError(
                "a record was refused after it was counted; open the producer again, and send from the start"
            )
        at = 0
        for batch in batches:
            sequences = waiting[at]
            while len(sequences) < batch.record_count:
                at += 1
                sequences = array("q", (*sequences, *waiting[at]))
            batch.number(self.pin.producer_id, sequences[: batch.record_count])
            waiting[at] = sequences[batch.record_count :]
            if not waiting[at]:
                at += 1

    def restart_at(self, sequence: int) -> None:
        """Go on with another sequence, with nothing waiting. Raises ValueError for one that would leave records out."""
        if self.failed and sequence > self.flushed_sequence:
            raise ValueError(f"records from {self.flushed_sequence} on were not stored, and have to be sent again")
        self._waiting = {}
        self.failed = False
        self.next_sequence = sequence
        self.flushed_sequence = min(sequence, self.flushed_sequence)

    def _wait(self, partition: int, sequences: range | list[int]) -> None:
        waiting = self._waiting.setdefault(partition, [])
        last = waiting[-1] if waiting else ()
        if isinstance(last, range) and isinstance(sequences, range) and last.stop == sequences.start:
            waiting[-1] = range(last.start, sequences.stop)
        elif isinstance(last, array) and len(sequences) < _SHORT:
            last.extend(sequences)
        else:
            waiting.append(sequences if isinstance(sequences, range) else array("q", sequences))
