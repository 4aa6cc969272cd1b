"""A Producer whose topic is in a Kafka cluster: mk chooses the partition of each record, librdkafka sends."""

from __future__ import annotations

from contextlib import suppress
from os import getpid
from time import monotonic

from mk.errors import KeyRequiredError, MkError, UsageError
from mk.kafka_cluster.kafka_sender import (
    ACKS,
    BATCH_OVERHEAD_BYTES,
    KafkaSender,
    LostRecords,
    SendingFailedError,
    chosen_acks,
)
from mk.kafka_cluster.record_piece import LinesPiece, PieceAccumulator
from mk.producer.producer import Producer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.kafka_cluster.kafka_sender import SentAppend
    from mk.kafka_cluster.kafka_topic import KafkaTopic
    from mk.kafka_cluster.record_piece import RecordPiece
    from mk.storage.partition_log import AppendResult

_SETTINGS_SECONDS = 1.0
"""How often, at most, settings are asked for again because of what they do not let in."""

_LOOK_SECONDS = 60.0
"""How often it is looked whether the topic has changed."""


class KafkaProducer(Producer):
    """See Producer. `flush_later` hands over what is buffered, and waits only if too much is on its way already.

    Records of one partition are stored in the order in which they were sent, each once. When some of them fail, those that were
    handed over behind them are stored or not. tells_appends: whether it is known where they land.
    """

    def __init__(
        self, topic: KafkaTopic, *, acks: int | str | None = None, compression: str | None = None, **options: Any
    ) -> None:
        """acks: 0, nobody waits for an answer; 1, the leader of the partition has it; "all", all replicas that are in sync have it,
        as by default. compression: None takes the property compression.codec."""
        if acks is not None and acks not in ACKS:
            raise UsageError(f"acks cannot be {acks!r}", fix="it is 0, 1 or all")
        self._acks = acks
        self.tells_appends = chosen_acks(topic.directory.client, acks) != "0"
        self._looked_at = monotonic()
        self._settings_at = 0.0
        self._sender: KafkaSender | None = None
        self._of_parent: KafkaSender | None = None
        super().__init__(topic, compression=compression, **options)

    def flush(self) -> list[AppendResult]:
        """Send all that is buffered; acknowledged when it returns. See Producer.flush.

        No results unless needs_results, or there is somebody to be told of appends: asking for them takes half as long again.
        """
        results: list[AppendResult] = []
        with self._lock:
            self._send(results)
            if self._sender is not None:
                try:
                    self._took(self._sender.finish(), results)
                except SendingFailedError as failure:
                    raise self._failed(failure.lost, results) from None
        return results

    def flush_later(self) -> None:
        with self._lock:
            self._send([])

    def stop_soon(self) -> None:
        if self._sender is not None:
            self._sender.stop_soon()

    def close(self) -> None:
        """Let go of the topic. What was handed over may be stored, and nothing else."""
        with self._lock:
            self._let_go()
            super().close()

    def _send(self, results: list[AppendResult]) -> None:
        """Hand over all that is buffered, partitions in ascending order."""
        needed_keys = self._needs_keys
        self._look_again()
        for partition, pieces in self._drained():
            for piece in pieces:
                apart: RecordPiece = (
                    piece.taken_apart() if isinstance(piece, LinesPiece) else piece  # type: ignore[assignment]
                )  # Of its own accumulators.
                if self._needs_keys and not needed_keys and (apart.keys is None or None in apart.keys):
                    # They were taken before we knew. Handed over with acks 0, they would be lost, and nobody would say so.
                    raise self._failed(self._finished(KeyRequiredError(topic=self._topic.name)), results)
                if self._sender is None:
                    self._sender = KafkaSender(
                        self._topic.directory.client,  # type: ignore[attr-defined]  # It is a KafkaTopic.
                        self._topic.name,
                        acks=self._acks,
                        compression=self._compression,
                        max_message_bytes=int(self._topic.config("max.message.bytes")),
                        tells_offsets=self.needs_results or self._on_append is not None,
                    )
                try:
                    self._took(self._sender.begin(partition, apart), results)
                except SendingFailedError as failure:
                    raise self._failed(failure.lost, results) from None

    def _finished(self, error: MkError) -> LostRecords:
        """Send what was handed over before the records that an error is about, and return what became of it."""
        try:
            return LostRecords(error, [] if self._sender is None else self._sender.finish(), 0)
        except SendingFailedError as failure:
            return failure.lost

    def _look_again(self) -> None:
        """Learn every now and then whether the topic has more partitions, or was made anew. Raises NoSuchTopicError.

        With acks 0 also whether it wants keys: brokers that refuse records say nothing then.
        """
        if monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = monotonic()
        try:
            self._topic.refresh()
            if not self.tells_appends and not self._topic.is_deleted():
                self._ask_settings()
        except MkError:
            return  # Who does not answer now, may when the records are sent; else those will tell.
        self._topic.check_not_deleted()
        if self._topic.version != self._version:
            self._adopt_settings()

    def _refuse_keyless(self) -> None:
        """Raise KeyRequiredError if the topic still is compacted: nobody tells us that it was altered."""
        if monotonic() - self._settings_at >= _SETTINGS_SECONDS:
            with suppress(MkError):  # Who does not answer now leaves it at what was known.
                self._ask_settings()
        if self._needs_keys:
            super()._refuse_keyless()

    def _ask_settings(self) -> None:
        self._settings_at = monotonic()
        self._topic.forget_settings()  # type: ignore[attr-defined]  # It is a KafkaTopic.
        self._adopt_settings()

    def _adopt_settings(self) -> None:
        super()._adopt_settings()
        self.max_message_bytes = max(1, self.max_message_bytes - BATCH_OVERHEAD_BYTES)

    def _new_accumulator(self) -> PieceAccumulator:  # type: ignore[override]  # Drained here.
        return PieceAccumulator()

    def _took(self, done: list[SentAppend], results: list[AppendResult]) -> None:
        """Count what is stored, add where it landed to `results`, and tell whoever wants to know."""
        found: list[AppendResult] = []
        for append in done:
            self.records_stored += append.stored
            for result in append.results():
                before = found[-1] if found else None
                if (
                    before is not None
                    and before.partition == result.partition
                    and before.last_offset + 1 == result.first_offset
                ):
                    before.last_offset = result.last_offset
                else:
                    found.append(result)
        results += found
        if self._on_append is not None:
            for result in found:
                self._on_append(result)

    def _failed(self, lost: LostRecords, results: list[AppendResult]) -> MkError:
        """Return the error that says what is known of the records, and let go of what cannot go on."""
        self._let_go()
        self._took(lost.stored, results)
        error = lost.error
        sure = f"{self.records_stored} {'record is' if self.records_stored == 1 else 'records are'} " + (
            "stored for sure" if self.tells_appends else "sent, and with acks 0 no broker tells whether they are stored"
        )
        if lost.unsure:
            sure += f", {lost.unsure} more may be stored or not: look at the end of the topic before they are produced again"
        error.fix = f"{sure}; {error.fix}" if error.fix else sure
        error.facts["records_unsure"] = lost.unsure
        error.is_of_append = True
        return error

    def _let_go(self) -> None:
        if self._sender is not None:
            sender, self._sender = self._sender, None
            sender.close()

    def _forget_what_a_parent_buffered(self) -> None:
        if self._pid != getpid():
            # Its threads are not here; whoever tidied it up would wait for them for ever.
            self._of_parent, self._sender = self._sender, None
        super()._forget_what_a_parent_buffered()
