"""Of what a consumer fetched, the records that a filter wants, as if nothing else had been fetched.

What is printed as it is stored stays a block of lines; see RecordFilter. What was passed over counts as read: whoever keeps a
position keeps the one behind it.
"""

from __future__ import annotations

from mk.records.record import ConsumerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mk.consumer.consumer import FetchedBatch, Position
    from mk.formats.record_filter import RecordFilter, Selector

_SLICE_RECORDS = 1024
"""Records that are made at once: of a batch of empty lines all of them would take some hundred times its size."""


def matching(fetches: Iterable[list[FetchedBatch]], selectors: Sequence[Selector]) -> Iterator[list[FetchedBatch]]:
    """Yield the fetches with only those of their records that all selectors want; also where that is none."""
    from mk.formats.record_filter import RecordFilter  # Which loads `re`; who only asks for a MatchingBatch needs none.

    wanted = RecordFilter(selectors)
    for fetch in fetches:
        yield [MatchingBatch(fetched, wanted) for fetched in fetch]  # type: ignore[misc]  # They have its methods.


class MatchingBatch:
    """The wanted records of one FetchedBatch, or of whatever else has its methods. Valid as long as that is."""

    __slots__ = ("_count", "_fetched", "_wanted", "batch")

    is_whole = False

    def __init__(self, fetched: FetchedBatch, wanted: RecordFilter) -> None:
        self._fetched = fetched
        self._wanted = wanted
        self._count: int | None = None
        self.batch = fetched.batch

    @property
    def topic(self) -> str:
        return self._fetched.topic

    @property
    def partition(self) -> int:
        return self._fetched.partition

    @property
    def next_offset(self) -> int:
        return self._fetched.next_offset

    @property
    def record_count(self) -> int:
        """Return how many records are wanted. They have to be looked at."""
        if self._count is None:
            self._count = self._records_up_to(None)[1]
        return self._count

    def limit(self, count: int) -> None:
        """Keep the first `count` wanted records, if there are so many, and nothing behind the last of them."""
        if count >= self._fetched.record_count:
            return
        passed, found = self._records_up_to(count)
        if found == count:
            self._fetched.limit(passed)
        self._count = found

    def records(self) -> Iterator[ConsumerRecord]:
        for piece in self.record_slices():
            yield from piece

    def record_slices(self) -> Iterator[list[ConsumerRecord]]:
        """Yield the wanted records as lists, none of them empty."""
        block = self._fetched.lines()
        if block is not None:
            data = bytes(block)
            if data.count(b"\n") == len(self._fetched):  # Otherwise it is damaged, and who takes it apart says how.
                if self._wants_lines():
                    yield from self._slices_of_lines(data)
                return
        wants = self._wanted.wants
        for records in self._fetched.record_slices():
            if kept := [record for record in records if wants(record)]:
                yield kept

    def _slices_of_lines(self, block: bytes) -> Iterator[list[ConsumerRecord]]:
        """Make records of the wanted lines only."""
        fetched, batch = self._fetched, self._fetched.batch
        key, time, epoch = batch.key_of_lines(), batch.base_timestamp, batch.leader_epoch
        passed = 0
        for piece, wanted in self._wanted.pieces(block):
            if wanted:
                kept = set(wanted[:-1].split(b"\n"))
                values = piece[:-1].split(b"\n")
                for first in range(0, len(values), _SLICE_RECORDS):
                    records = [
                        ConsumerRecord(
                            fetched.topic, fetched.partition, fetched.offset_at(number), time, key, value, (), epoch
                        )
                        for number, value in enumerate(values[first : first + _SLICE_RECORDS], passed + first)
                        if value in kept
                    ]
                    if records:
                        yield records
            passed += piece.count(b"\n")

    def lines(self) -> bytes | None:
        """Return the wanted values as newline-terminated lines, or None if they are not stored as lines."""
        block = self._fetched.lines()
        if block is None:
            return None
        if not self._wants_lines():
            return b""
        return b"".join([wanted for _, wanted in self._wanted.pieces(bytes(block))])

    def positions_behind(self) -> Iterable[Position]:
        return self._fetched.positions_behind()

    def _wants_lines(self) -> bool:
        batch = self._fetched.batch
        assert batch is not None  # Only what is stored as one has lines.
        return self._wanted.wants_lines(batch.key_of_lines())

    def _records_up_to(self, count: int | None) -> tuple[int, int]:
        """Return how many records there are up to the wanted one number `count`, or all of them, and how many are wanted."""
        block = self._fetched.lines()
        if block is not None:
            return self._lines_up_to(bytes(block), count)
        passed = found = 0
        wants = self._wanted.wants
        for records in self._fetched.record_slices():
            for record in records:
                passed += 1
                if wants(record):
                    found += 1
                    if found == count:
                        return passed, found
        return passed, found

    def _lines_up_to(self, block: bytes, count: int | None) -> tuple[int, int]:
        if not self._wants_lines():
            return 0, 0
        passed = found = 0
        for piece, wanted in self._wanted.pieces(block):
            of_piece = wanted.count(b"\n")
            if count is not None and found + of_piece >= count:
                kept = set(wanted[:-1].split(b"\n"))
                for value in piece.split(b"\n"):
                    passed += 1
                    found += value in kept
                    if found == count:
                        return passed, found
            found += of_piece
            passed += piece.count(b"\n")
        return passed, found
