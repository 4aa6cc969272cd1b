"""Output that knows what its reader has taken: what a member of a group may commit.

A pipe takes more than its reader has read, and `mk consume -g ... | head -5` must not lose what head never saw. So each piece is
noted with where it ends, and counts as taken when that much has left the pipe. When the reader is gone, even what left it
may not have been used: `head` reads a block and looks at five lines of it. Therefore the first records go out one by one,
each when the one before has been read; and of what came in larger pieces, what the reader may have got with its last read
is not counted. A crash of the reader thus repeats records, and loses none.
A file, a terminal or a socket has taken what was written to it.
"""

import os
import sys
import time
from fcntl import ioctl
from time import monotonic

from mk.cli.consume import STDOUT, Output, write_all
from mk.cli.timed_output import TimedOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.cli.options import Options
    from mk.consumer.consumer import FetchedBatch
    from mk.consumer.group_consumer import GroupConsumer

_FIONREAD = 0x541B if sys.platform == "linux" else 0x4004667F
_S_IFMT, _S_IFIFO = 0o170000, 0o010000

_SINGLES = 100
"""So many records go out one by one: enough for what people ask `head` for, and done in a millisecond or two."""

_SLOW_SECONDS = 0.2
"""A reader that takes longer for the first records is slow: it gets small pieces, so that what it took can be committed."""

_PATIENCE_SECONDS = 1.0
"""A reader that takes nothing for so long is alive and busy, or waits for us to end: it is not waited for."""

_LONGEST_READ = 1 << 20
"""What a reader got with its last read is at most this: the size that pipes are given."""

_PAUSE_SECONDS = 0.00005
_LONGEST_PAUSE_SECONDS = 0.002


class GroupOutput(TimedOutput):
    """An Output of a member of a group, and the Delivery that its consumer asks. time_ms: see TimedOutput; None is no end.

    consumer: to be set before anything is written. is_hurried: do not wait for the reader any more.
    """

    consumer: "GroupConsumer"
    wake_fd = -1

    def __init__(self, options: "Options", time_ms: "int | None") -> None:
        super().__init__(options, time_ms)
        self.is_hurried = False
        self._has_deadline = time_ms is not None
        self._is_pipe = os.fstat(STDOUT).st_mode & _S_IFMT == _S_IFIFO and self._unread() is not None
        self._singles = _SINGLES if self._is_pipe else 0
        self._waited = 0.0
        self._written = 0
        # Where in the output the records of a partition below an offset end: that position, whether the record before was read
        # before it came, topic, partition, the offset, and the leader epoch of the record before it.
        self._marks: list[tuple[int, bool, str, int, int, int]] = []
        self._is_filtered = bool(options.grep)
        if self._is_pipe:
            import select

            self._errors = select.poll()
            self._errors.register(STDOUT, 0)

    def write(self, fetch: "list[FetchedBatch]") -> None:
        """Write the records of a fetch, all of them unless the time is over or the consumer is to stop."""
        while self._singles or self._has_deadline or self._waited > _SLOW_SECONDS:
            if not fetch or not self._write_pieces(fetch[0]):
                return
            fetch = fetch[1:]
        if fetch:
            Output.write(self, fetch)
            last = fetch[-1]
            self._marks.append(
                (self._written, False, last.topic, last.partition, last.next_offset, last.batch.leader_epoch)
            )

    def _write_pieces(self, fetched: "FetchedBatch") -> bool:
        is_single = True
        for piece, count, next_offset in self._places(fetched):
            if self._has_deadline and not self._has_room():
                self.has_timed_out = True
                return False
            if self.consumer.is_stopping:
                return False
            write_all([piece])
            self._written += len(piece)
            self.records_written += count
            is_single = self._singles > 0 and count == 1
            self._mark(fetched, next_offset, alone=is_single)
            if is_single:
                started = monotonic()
                is_taken = self._await_reader()
                if self._singles < _SINGLES:  # For the first one the reader may only be starting.
                    self._waited += monotonic() - started
                self._singles = self._singles - 1 if is_taken else 0
            self.consumer.commit_if_due()
        # What is not printed, behind the last record that is, has been read too.
        self._mark(fetched, fetched.next_offset, alone=is_single)
        return True

    def _places(self, fetched: "FetchedBatch") -> "Iterator[tuple[bytes, int, int]]":
        """Cut a batch into pieces of whole records, each with their number and the offset behind them."""
        # A line does not tell the offset of what -G has passed over before it.
        block = fetched.lines() if self._takes_lines and not self._is_filtered else None
        if block is None:
            for piece, records in self._formatted_pieces(fetched):
                yield piece, len(records), records[-1].offset + 1
            return
        offset = fetched.first_offset
        for piece, count in self._pieces_of_lines(block):
            offset += count
            yield piece, count, offset

    def _most_together(self) -> int:
        return 1 if self._singles else sys.maxsize

    def _put(self, buffers: "list[bytes | memoryview]") -> None:
        size_bytes = sum(map(len, buffers)) if self._is_pipe else 0
        write_all(buffers)
        self._written += size_bytes

    def _splice(self, fetched: "FetchedBatch", block: bytes | memoryview) -> None:
        super()._splice(fetched, block)
        self._written += len(block)

    def _mark(self, fetched: "FetchedBatch", next_offset: int, *, alone: bool) -> None:
        epoch = fetched.batch.leader_epoch
        self._marks.append((self._written, alone, fetched.topic, fetched.partition, next_offset, epoch))

    # What has been taken.

    def settle(self) -> None:
        """See Delivery."""
        unread = (self._unread() or 0) if self._is_pipe else 0
        is_gone = self._is_pipe and bool(self._errors.poll(0))
        taken = self._written - unread
        count = 0
        for end, alone, *_ in self._marks:
            if end > taken or (is_gone and not alone and taken - end < _LONGEST_READ):
                break
            count += 1
        self._took(count)

    def is_under_way(self) -> bool:
        """See Delivery. What is in a pipe stays there when we have gone."""
        return False

    def finish(self, topic: str, partition: int) -> None:
        """See Delivery."""
        if self._marks and not self.is_hurried:
            try:
                self._await_reader()
            except BrokenPipeError:
                self.settle()
                return
            self._took(len(self._marks))  # The pipe has it, and its reader lives.
        self.settle()

    def lost(self, topic: str, partition: int) -> None:
        """See Delivery."""
        self._marks = [mark for mark in self._marks if mark[2:4] != (topic, partition)]

    def _took(self, count: int) -> None:
        newest = {mark[2:4]: mark[2:] for mark in self._marks[:count]}
        del self._marks[:count]
        for taken in newest.values():
            self.consumer.took(*taken)

    def _await_reader(self) -> bool:
        """Wait until the reader has taken all; False if it takes nothing for too long, or we are to stop.

        Raises BrokenPipeError when it is gone.
        """
        if not self._is_pipe:
            return True
        last, since = -1, monotonic()
        pause = _PAUSE_SECONDS
        while True:
            unread = self._unread()
            if self._errors.poll(0):
                raise BrokenPipeError
            if not unread:
                return True
            now = monotonic()
            if unread != last:
                last, since, pause = unread, now, _PAUSE_SECONDS
            elif self.is_hurried or now - since > _PATIENCE_SECONDS:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    @staticmethod
    def _unread() -> "int | None":
        """Return how many bytes the pipe holds; None where that is not told. Those of other writers count too."""
        try:
            return int.from_bytes(ioctl(STDOUT, _FIONREAD, bytes(4)), sys.byteorder)
        except OSError:
            return None
