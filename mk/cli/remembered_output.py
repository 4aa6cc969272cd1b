"""Output whose progress a cursor file keeps: it knows to the record what standard output has taken.

As TimedOutput, it writes pieces that a pipe takes whole or not at all. So a closed pipe or a signal finds it between two
pieces, or in a record that is larger than one; that counts as not taken, and is printed again.
"""

import os
import select

from mk.cli import signals
from mk.cli.consume import STDOUT, write_all
from mk.cli.timed_output import TimedOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options
    from mk.consumer.consumer import Consumer, FetchedBatch
    from mk.consumer.remembering import RememberingConsumer

_S_IFMT, _S_IFIFO, _S_IFREG = 0o170000, 0o010000, 0o100000


class RememberedOutput(TimedOutput):
    """A TimedOutput, with or without a time, that tells its consumer what was written."""

    def __init__(self, options: "Options", time_ms: "int | None") -> None:
        super().__init__(options, time_ms)
        # Elsewhere even a small write may wait for long, and a signal has to end that.
        self._takes_at_once = os.fstat(STDOUT).st_mode & _S_IFMT in (_S_IFIFO, _S_IFREG)

    def start(self, consumer: "Consumer") -> None:
        """Be told whose fetches will be written."""
        self._consumer: RememberingConsumer = consumer  # type: ignore[assignment]

    def write(self, fetch: "list[FetchedBatch]") -> None:
        """Write the records of a fetch, and mark what was written, also where it ends early."""
        for fetched in fetch:
            self._before = self.records_written
            try:
                try:
                    super().write([fetched])
                finally:
                    self._mark(fetched)
            except KeyboardInterrupt:
                self._mark(fetched)  # Again: it may have come while that was done. The next signal ends us anyway.
                raise
            if self.has_timed_out:
                return
            self._consumer.save_if_due()

    def _mark(self, fetched: "FetchedBatch") -> None:
        """Mark as much of a batch as was written; nothing of one whose first record was not."""
        written = self.records_written - self._before
        if written < fetched.record_count:
            if not written:
                return
            fetched.limit(written)
        self._consumer.mark(fetched.positions_behind())

    def _take(self, piece: bytes, count: int) -> None:
        if not self._takes_at_once or len(piece) > select.PIPE_BUF:
            super()._take(piece, count)
            return
        # A signal between the two lines would leave a piece that was written and does not count.
        with signals.held():
            write_all([piece])
            self.records_written += count
