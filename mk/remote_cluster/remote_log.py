"""Appending to a partition of another host: the methods of a PartitionLog, and appends that are sent before those before them
are acknowledged."""

from __future__ import annotations

import sys

from mk.errors import MkError
from mk.records.record_batch import HEADER_SIZE
from mk.remote_cluster.conversation import take_news
from mk.storage.partition_log import AppendResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mk.records.record_batch import EncodedBatch
    from mk.remote_cluster.conversation import Pending
    from mk.remote_cluster.remote_topic import RemoteTopic

MOST_BYTES = 32 << 20
"""What one append sends at most, unless a single batch is larger: it is held in memory there."""

_MOST_BATCHES = 4096
_MOST_PIECES = 512
_NOT_APPENDED = -1


class NotAppendedError(Exception):
    """An append was left alone, since one before it in its run has failed; that one says why, and this is never shown."""


class RemoteAppend:
    """An append that was sent. records: how many it is of."""

    __slots__ = ("partition", "pending", "records", "run")

    def __init__(self, pending: Pending, partition: int, records: int, run: int) -> None:
        self.pending = pending
        self.partition = partition
        self.records = records
        self.run = run


class RemotePartitionLog:
    """One partition of a topic that is open there, for appending. See PartitionLog."""

    __slots__ = ("_lock_wait_ms", "_partition", "_topic")

    def __init__(self, topic: RemoteTopic, partition: int, *, lock_wait_ms: int = 10_000) -> None:
        self._topic = topic
        self._partition = partition
        self._lock_wait_ms = lock_wait_ms

    def append(self, batches: Sequence[EncodedBatch], durability: int) -> AppendResult:
        """Append batches one behind the other and tell where they landed, see PartitionLog.append.

        More than MOST_BYTES are several appends there, with others' records between them perhaps.

        Raises PeerUnreachableError too: what was on its way is stored or not.
        """
        results: list[AppendResult] = []
        for part in parts_of(batches):
            try:
                results.append(self.finish(self.begin(part, durability)))
            except MkError as error:
                before = sum(one.last_offset - one.first_offset + 1 for one in results)
                appended = error.facts.get("records_appended", 0)
                error.facts["records_appended"] = before + (appended if isinstance(appended, int) else 0)
                raise
        duplicates = sum(one.duplicates for one in results)
        return AppendResult(self._partition, results[0].first_offset, results[-1].last_offset, duplicates)

    def begin(self, batches: Sequence[EncodedBatch], durability: int) -> RemoteAppend:
        """Send batches, which may be changed when this returns. `finish` tells what became of them."""
        topic = self._topic
        pieces: list[bytes | memoryview] = []
        counts: list[int] = []
        for batch in batches:
            pieces.append(batch.stamp(0, 0, 0, 0))
            pieces += batch.payload
            sequences = _sequences_of(batch)
            counts.append(len(sequences) // 8)
            if sequences:
                pieces.append(sequences)
        if len(pieces) > _MOST_PIECES:
            pieces = [b"".join(pieces)]
        head = (topic.number, self._partition, topic.run, self._lock_wait_ms, durability, len(counts), *counts)
        records = sum(batch.record_count for batch in batches)
        pending = topic.conversation.post("produce", *head, body=pieces)
        return RemoteAppend(pending, self._partition, records, topic.run)

    def finish(self, append: RemoteAppend) -> AppendResult:
        """Return where an append landed. Raises what PartitionLog.append does, of it or, as NotAppendedError, of one before it."""
        topic = self._topic
        try:
            fields = topic.conversation.wait_for(append.pending)
        except MkError:
            if topic.run == append.run:
                topic.run += 1
            raise
        first_offset = fields.number(_NOT_APPENDED)
        if first_offset == _NOT_APPENDED:
            fields.end()
            raise NotAppendedError("an append before it failed")
        last_offset, duplicates = fields.number(-1), fields.number(0, append.records)
        topic.adopt(take_news(fields), is_deleted=False)
        if last_offset - first_offset + 1 + duplicates != append.records:
            fields.refuse("what was appended is not what was sent")
        fields.end()
        return AppendResult(append.partition, first_offset, last_offset, duplicates)

    def last_sequence(self, producer_id: int) -> int:
        """Return up to which input sequence the records of a producer id are on disk there; -1 if none are known to be."""
        topic = self._topic
        fields = topic.conversation.request(
            "last_sequence", topic.number, self._partition, self._lock_wait_ms, producer_id
        )
        sequence = fields.number(-1)
        fields.end()
        return sequence

    def close(self) -> None:
        """It is closed there when its topic is."""


def parts_of(batches: Sequence[EncodedBatch]) -> Iterator[Sequence[EncodedBatch]]:
    """Yield batches as they are sent: together, up to MOST_BYTES."""
    start = size_bytes = 0
    for at, batch in enumerate(batches):
        size = batch.size_bytes + 8 * len(batch.sequences)
        if at > start and (size_bytes + size > MOST_BYTES or at - start == _MOST_BATCHES):
            yield batches[start:at]
            start, size_bytes = at, 0
        size_bytes += size
    yield batches[start:]


def _sequences_of(batch: EncodedBatch) -> bytes:
    """Return the sequences of a batch, big-endian; b"" where first and last say them all."""
    if not batch.producer_id or batch.last_sequence - batch.first_sequence + 1 == batch.record_count:
        return b""
    from array import array

    sequences = array("q", batch.sequences)
    if sys.byteorder == "little":
        sequences.byteswap()
    return sequences.tobytes()


assert MOST_BYTES > HEADER_SIZE
