"""Reading topics: which partition next, how far, and waiting for more."""

from __future__ import annotations

from mk.errors import CorruptBatchError
from mk.records.codecs import CodecError
from mk.records.record_batch import HEADER_SIZE
from mk.storage import files
from mk.storage.host import allow_open_files
from mk.storage.partition_reader import PartitionReader, ReadBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mk.consumer.offset_spec import OffsetSpec
    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import RecordBatch
    from mk.storage.topic import Topic
    from mk.storage.watch import Watch

_FILES_A_PARTITION = 3
_MANY_PARTITIONS = 48
"""Up to so many, the lowest usual limit of 256 open files (macOS's) is enough."""


class FetchedBatch:
    """A batch, cut to the offsets that were asked for: `first_offset` up to `next_offset`, that one excluded.

    Valid until the next fetch. segment_fd, and batch.position, say where in which file it stands.
    """

    __slots__ = ("batch", "first_offset", "next_offset", "partition", "path", "segment_fd", "topic")

    def __init__(
        self,
        topic: str,
        partition: int,
        batch: RecordBatch,
        first_offset: int,
        next_offset: int,
        reader: PartitionReader,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.batch = batch
        self.first_offset = max(first_offset, batch.base_offset)
        self.next_offset = min(next_offset, batch.next_offset)
        self.segment_fd = reader.segment_fd
        self.path = reader.segment_path

    def __len__(self) -> int:
        """Return how many offsets the batch covers: its records, but in a compacted batch."""
        return self.next_offset - self.first_offset

    @property
    def is_whole(self) -> bool:
        return len(self) == self.batch.last_offset_delta + 1

    @property
    def values_position(self) -> int:
        """Byte in the segment where the values of plain lines stand, behind header and key."""
        return self.batch.position + HEADER_SIZE + max(self.batch.key_length, 0)

    def limit(self, count: int) -> None:
        """Keep the first `count` records."""
        self.next_offset = min(self.next_offset, self.first_offset + count)

    def records(self) -> Iterator[ConsumerRecord]:
        """Yield the records. Raises CorruptBatchError where the payload is not what its header says."""
        for piece in self.record_slices():
            yield from piece

    def record_slices(self) -> Iterator[list[ConsumerRecord]]:
        """Yield the records as lists of some thousands. Raises as `records` does."""
        is_whole = self.is_whole
        try:
            for piece in self.batch.record_slices(self.topic, self.partition):
                if not is_whole:
                    piece = [record for record in piece if self.first_offset <= record.offset < self.next_offset]
                yield piece
        except CodecError as error:
            raise self._corrupt(error) from None

    def lines(self) -> bytes | memoryview | None:
        """Return the values as newline-terminated lines, or None if they are not stored as lines."""
        try:
            block = self.batch.lines()
        except CodecError as error:
            raise self._corrupt(error) from None
        if block is None or self.is_whole:
            return block
        data = bytes(block)
        if skip := self.first_offset - self.batch.base_offset:
            data = data.split(b"\n", skip)[-1]
        if self.next_offset < self.batch.next_offset:
            data = data[: len(data) - len(data.split(b"\n", len(self))[-1])]
        return data

    def _corrupt(self, error: CodecError) -> CorruptBatchError:
        batch = self.batch
        return CorruptBatchError(
            path=self.path,
            position=batch.position,
            offset=batch.base_offset,
            found=str(error),
            readable_from=batch.next_offset,
        )


class Consumer:
    """Reads partitions in turn, batch by batch, without a group and without writing anything.

    on_skip: called with topic, partition, first and last offset of records that were removed before they were read.
    """

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        partitions: Sequence[int] | None = None,
        offset: OffsetSpec | None = None,
        follow: bool = False,
        output_fd: int | None = None,
        on_skip: Callable[[str, int, int, int], None] | None = None,
    ) -> None:
        """Open all partitions, or those numbered `partitions` in each topic, at `offset` (default: the start).

        The topics are closed with the consumer.

        Without `follow`, reading ends where the partitions end now. With it, a wait for more ends with BrokenPipeError
        when nobody reads the pipe `output_fd` any more.
        """
        self._follow = follow
        self._output_fd = output_fd
        self._on_skip = on_skip
        self._watch: Watch | None = None
        self._topics = topics
        self._buffer = ReadBuffer()
        self._readers: list[tuple[Topic, PartitionReader]] = []
        self._ends: dict[PartitionReader, int] = {}
        if sum(topic.partitions for topic in topics) > _MANY_PARTITIONS:
            allow_open_files(_FILES_A_PARTITION * sum(topic.partitions for topic in topics))
        try:
            for topic in topics:
                for partition in range(topic.partitions) if partitions is None else dict.fromkeys(partitions):
                    self._open(topic, partition, offset)
        except BaseException:
            self.close()
            raise

    def _open(self, topic: Topic, partition: int, offset: OffsetSpec | None) -> None:
        with files.about(f"{topic.path}/{partition}"):
            reader = PartitionReader(topic, partition, self._buffer)
        self._readers.append((topic, reader))
        self._ends[reader] = reader.high_watermark
        if offset is not None:
            start = offset.resolve(reader.log_start_offset, reader.high_watermark)
            if start < reader.log_start_offset:
                self._report(topic, reader, [(start, reader.log_start_offset - 1)])
                start = reader.log_start_offset
            reader.seek(start)

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        # `for record in cluster.consumer(...)` leaves nobody who could close it.
        self.close()

    def __iter__(self) -> Iterator[ConsumerRecord]:
        for fetch in self.fetches():
            for batch in fetch:
                yield from batch.records()

    def fetches(self) -> Iterator[list[FetchedBatch]]:
        """Yield what one fetch brought, from each partition in turn, in offset order within each.

        A fetch is valid until the next one is asked for. Ends at the ends, unless following.
        """
        while True:
            progress = False
            for topic, reader in self._readers:
                end = self._ends[reader]
                if not self._follow and reader.next_offset >= end:
                    continue
                wanted = reader.next_offset
                with files.about(f"{topic.path}/{reader.partition}"):
                    fetched = reader.fetch()
                if reader.skipped:
                    wanted = reader.skipped[-1][1] + 1
                    self._report(topic, reader, reader.skipped)
                    reader.skipped = []
                if fetched:
                    progress = True
                    limit = fetched[-1].next_offset if self._follow else end
                    yield [
                        FetchedBatch(topic.name, reader.partition, batch, wanted, limit, reader)
                        for batch in fetched
                        if batch.next_offset > wanted and batch.base_offset < limit
                    ]
            if not progress:
                if not self._follow:
                    return
                self._wait()

    def close(self) -> None:
        for _, reader in self._readers:
            reader.close()
        for topic in self._topics:
            topic.close()
        self._readers = []
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _wait(self) -> None:
        """Sleep until there may be more. The watch is set up before the last look, so that nothing falls between."""
        if self._watch is None:
            from mk.storage.watch import Watch

            self._watch = Watch([reader.watch_path for _, reader in self._readers], output_fd=self._output_fd)
        elif not any(reader.refresh() for _, reader in self._readers):
            self._watch.wait()
            for topic in self._topics:
                topic.check_not_deleted()

    def _report(self, topic: Topic, reader: PartitionReader, ranges: Sequence[tuple[int, int]]) -> None:
        if self._on_skip is not None:
            for first, last in ranges:
                self._on_skip(topic.name, reader.partition, first, last)
