"""Appending encoded batches to one partition of a Kafka cluster: the methods of a PartitionLog, record by record."""

from __future__ import annotations

from mk.errors import UsageError
from mk.kafka_cluster.kafka_sender import KafkaSender, SendingFailedError
from mk.kafka_cluster.record_piece import RecordPiece
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.storage.partition_log import AppendResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mk.kafka_cluster.kafka_sender import SentAppend
    from mk.kafka_cluster.kafka_topic import KafkaTopic
    from mk.records.record_batch import EncodedBatch


class KafkaPartitionLog:
    """One partition, for appending. See PartitionLog."""

    __slots__ = ("_partition", "_sender", "_topic")

    def __init__(self, topic: KafkaTopic, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._sender: KafkaSender | None = None

    def append(self, batches: Sequence[EncodedBatch], durability: int) -> AppendResult:
        """Append batches one behind the other, acknowledged as the property acks says, by default by all replicas in sync.

        Returns the first and the last offset; records of others may stand between. Raises UsageError for batches of a producer
        id, of which brokers know nothing.
        """
        if any(batch.producer_id for batch in batches):
            raise UsageError(
                "records with a producer id cannot be appended to a Kafka cluster",
                why="its brokers do not remember the input of a producer that was started again",
                fix="produce them without it; nothing was done",
            )
        if self._sender is None:
            self._sender = KafkaSender(
                self._topic.directory.client,
                self._topic.name,
                acks=None,
                compression=None,
                max_message_bytes=int(self._topic.config("max.message.bytes")),
            )
        done: list[SentAppend] = []
        try:
            for piece in _pieces_of(batches):
                done += self._sender.begin(self._partition, piece)
            done += self._sender.finish()
        except SendingFailedError as failure:
            self.close()
            error = failure.lost.error
            error.facts["records_appended"] = sum(one.stored for one in done + failure.lost.stored)
            error.facts["records_unsure"] = failure.lost.unsure
            raise error from None
        results = [result for append in done for result in append.results()]
        return AppendResult(self._partition, results[0].first_offset, results[-1].last_offset)

    def last_sequence(self, producer_id: int) -> int:
        """Return -1: no records of a producer id are known."""
        return -1

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close()
            self._sender = None


def _pieces_of(batches: Sequence[EncodedBatch]) -> Iterator[RecordPiece]:
    for encoded in batches:
        batch = parse_header(encoded.stamp(0, 0, 0, 0))
        assert batch is not None
        batch.payload = b"".join(encoded.payload)
        for piece in batch.record_slices("", 0):
            yield RecordPiece(
                piece.values, piece.keys, list(piece.timestamps), piece.headers, HEADER_SIZE + encoded.raw_length
            )
