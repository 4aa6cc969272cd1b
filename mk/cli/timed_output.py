"""Output that ends at a time, between two records, also when its reader is slow or does not read at all.

A pipe that says it has room takes one piece of PIPE_BUF bytes without making us wait. So records go out in pieces of that
size, and nothing is begun that might wait beyond the time: only a single record larger than that has to be waited for.
"""

import sys
from time import monotonic

from mk.cli.consume import STDOUT, Output, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Iterator

    from mk.cli.options import Options
    from mk.consumer.consumer import FetchedBatch
    from mk.records.record_slice import Records

_PIECE_BYTES = 4096 if sys.platform == "linux" else 512  # select.PIPE_BUF, and what POSIX promises at least


class TimedOutput(Output):
    """An Output that takes nothing more after `time_ms`, and says so in has_timed_out."""

    def __init__(self, options: "Options", time_ms: "int | None") -> None:
        super().__init__(options)
        self._deadline = None if time_ms is None else monotonic() + time_ms / 1000
        self._poll: select.poll | None = None
        # What is formatted again because it was too much together would be counted again by %i.
        self._counts = "%i" in options.format

    def write(self, fetch: "list[FetchedBatch]") -> None:
        """Write the records of a fetch, as far as there is time; only whole ones."""
        for fetched in fetch:
            for piece, records in self._pieces(fetched):
                if not self._has_room():
                    self.has_timed_out = True
                    return
                self._take(piece, records)

    def _take(self, piece: bytes, count: int) -> None:
        write_all([piece])
        self.records_written += count

    def _pieces(self, fetched: "FetchedBatch") -> "Iterator[tuple[bytes, int]]":
        """Cut a batch into pieces of whole records, each with their number."""
        block = fetched.lines() if self._takes_lines else None
        if block is None:
            return ((piece, len(records)) for piece, records in self._formatted_pieces(fetched))
        return self._pieces_of_lines(block)

    def _most_together(self) -> int:
        """Return how many records the next piece may have."""
        return sys.maxsize

    def _has_room(self) -> bool:
        """Wait until standard output takes a piece. False when the time is over first."""
        if self._poll is None:
            import select

            self._poll = select.poll()
            self._poll.register(STDOUT, select.POLLOUT)
        if self._deadline is None:
            return bool(self._poll.poll())
        left = self._deadline - monotonic()
        return left > 0 and bool(self._poll.poll(left * 1000))

    def _formatted_pieces(self, fetched: "FetchedBatch") -> "Iterator[tuple[bytes, Records]]":
        """Format as many records at a time as fit into a piece, going by those before."""
        together = 1
        for records in fetched.record_slices():
            done = 0
            while done < len(records):
                some = records[done : done + min(together, self._most_together())]
                piece = self._formatted(some)
                if len(piece) > _PIECE_BYTES and len(some) > 1:
                    together = 1  # They are larger than those before.
                    continue
                yield piece, some
                done += len(some)
                together = 1 if self._counts else max(1, int(len(some) * _PIECE_BYTES * 0.8) // max(1, len(piece)))

    def _pieces_of_lines(self, block: bytes | memoryview) -> "Iterator[tuple[bytes, int]]":
        data = bytes(block)
        start = 0
        while start < len(data):
            first_end = data.index(b"\n", start) + 1
            end = first_end
            if self._most_together() > 1:
                end = data.rfind(b"\n", start, start + _PIECE_BYTES) + 1 or first_end
            yield data[start:end], data.count(b"\n", start, end)
            start = end
