"""A Producer whose topic is on another host: appends are on their way while the next ones are made."""

from __future__ import annotations

from collections import deque

from mk.errors import MkError, PeerUnreachableError
from mk.producer.producer import Producer
from mk.remote_cluster.remote_log import NotAppendedError, parts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.remote_cluster.remote_log import RemoteAppend, RemotePartitionLog
    from mk.remote_cluster.remote_topic import RemoteTopic
    from mk.storage.partition_log import AppendResult

_MOST_BYTES_ON_THE_WAY = 24 << 20


class RemoteProducer(Producer):
    """See Producer. `flush_later` sends what is buffered, and waits only if too much is on its way already.

    All of one flush, whatever the partition, is sent before the first of it is acknowledged. When an append fails, nothing that
    was sent behind it is stored.
    """

    def __init__(self, topic: RemoteTopic, **options: Any) -> None:
        self._sent: deque[tuple[RemoteAppend, int]] = deque()
        self._sent_bytes = 0
        super().__init__(topic, **options)

    def flush(self) -> list[AppendResult]:
        """Append all that is buffered; acknowledged when it returns. See Producer.flush."""
        with self._lock:
            results = self._send()
            results += self._collect(0)
            self._note_flushed()
        return results

    def flush_later(self) -> None:
        with self._lock:
            self._send()
            if self._input is not None:
                self._input.failed = False  # As far as anybody knows.

    def close(self) -> None:
        """Let go of the topic. What was sent may be stored, and nothing else."""
        with self._lock:
            self._sent.clear()
            super().close()

    def _send(self) -> list[AppendResult]:
        results: list[AppendResult] = []
        for partition, batches in self._drained():
            log: RemotePartitionLog = self._log(partition)  # type: ignore[assignment]
            for part in parts_of(batches):
                size_bytes = sum(batch.size_bytes for batch in part)
                results += self._collect(max(0, _MOST_BYTES_ON_THE_WAY - size_bytes))
                try:
                    self._sent.append((log.begin(part, self._durability), size_bytes))
                except PeerUnreachableError as error:
                    raise self._lost(error, sum(batch.record_count for batch in part)) from None
                self._sent_bytes += size_bytes
        return results

    def _collect(self, most_bytes: int) -> list[AppendResult]:
        """Take in what became of appends, until no more than so many bytes are on their way."""
        results: list[AppendResult] = []
        while self._sent and self._sent_bytes > most_bytes:
            append, size_bytes = self._sent[0]
            log: RemotePartitionLog = self._log(append.partition)  # type: ignore[assignment]
            try:
                result = log.finish(append)
            except PeerUnreachableError as error:
                raise self._lost(error, 0) from None
            except MkError as error:
                self._sent.popleft()
                self._fail(error)
                raise
            self._sent.popleft()
            self._sent_bytes -= size_bytes
            self._acknowledge(result, results)
        return results

    def _fail(self, error: MkError) -> None:
        """Count what is stored of what was sent: of the append that failed what it says, of those behind it nothing."""
        self._count_failed(error)
        if self._input is not None:
            self._input.failed = True
        self._sent_bytes = 0
        while self._sent:
            append, _ = self._sent.popleft()
            log: RemotePartitionLog = self._log(append.partition)  # type: ignore[assignment]
            try:
                self._acknowledge(log.finish(append), [])
            except PeerUnreachableError:
                self._sent.clear()
            except NotAppendedError:
                pass
            except MkError as other:
                self._count_failed(other)

    def _lost(self, error: PeerUnreachableError, records: int) -> PeerUnreachableError:
        """Return the error that says what is known of the records when the connection is gone."""
        unsure = records + sum(append.records for append, _ in self._sent)
        self._sent.clear()
        self._sent_bytes = 0
        if self._input is not None:
            self._input.failed = True
            again = "run the command again: what is stored under its producer id is left out"
        else:
            again = (
                "look at the end of the topic before the rest is produced again; with --producer-id nobody has to look"
            )
        sure = f"{self.records_stored} {'record is' if self.records_stored == 1 else 'records are'} stored for sure"
        if unsure:
            sure += f", the {unsure} sent last may be stored or not"
        return PeerUnreachableError(error.what, why=error.why, fix=f"{sure}; {again}", **error.facts)
