"""Reading a partition of another host: the methods of a PartitionReader, with the next batches asked for before they are needed.

What comes is proved again here, as what stands in a file is: header, checksum, and that each batch begins where the one before it
ended.
"""

from __future__ import annotations

from collections import deque

from mk.errors import CorruptBatchError, OffsetOutOfRangeError, UnsupportedBatchError
from mk.records.record_batch import HEADER_SIZE, parse_any_header, parse_header
from mk.storage.backward_reader import StoredBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record_batch import RecordBatch
    from mk.remote_cluster.conversation import Pending
    from mk.remote_cluster.remote_topic import RemoteTopic
    from mk.transport.fields import Fields

_MOST_AHEAD = 16
_AHEAD_BYTES = 8 << 20
"""What one connection has asked for ahead, about: enough for 80 MiB a second at a distance of 100 ms."""

_FIRST_GUESS_BYTES = 64 << 10
_MAX_PATH = 16_384
_MAX_EPOCH = (1 << 64) - 1
_MAX_SKIPPED = 1 << 16
_MAX_BACKWARD = 1 << 16
_GO_ON = -1


class RemotePartitionReader:
    """One partition, open there under a number, at `next_offset` here. See PartitionReader.

    segment_fd: none, so that what is read is copied to where it goes. log_start_offset, high_watermark: as last told.
    """

    __slots__ = (
        "_ahead",
        "_at",
        "_loaded",
        "_number",
        "_path",
        "_size_bytes",
        "_topic",
        "_window",
        "high_watermark",
        "leader_epoch",
        "log_start_offset",
        "next_offset",
        "partition",
        "segment_fd",
        "skipped",
    )

    def __init__(self, topic: RemoteTopic, partition: int, number: int, opening: Pending) -> None:
        self._topic = topic
        self._number = number
        self._ahead: deque[tuple[Pending, int]] = deque()
        self._at = _GO_ON  # Where the next request begins: behind the one before it, or at an offset.
        self._window = 1
        self._size_bytes = _FIRST_GUESS_BYTES
        self._path = ""
        self._loaded: dict[int, memoryview] = {}
        self.partition = partition
        self.segment_fd = -1
        self.log_start_offset = self.high_watermark = self.leader_epoch = 0
        self.skipped: list[tuple[int, int]] = []
        fields = topic.conversation.wait_for(opening)
        self.take_state(fields)
        fields.end()
        if (news := topic.conversation.opening.pop(number, None)) is not None:
            self.adopt(*news)
        self.next_offset = self.log_start_offset
        topic.conversation.readers[number] = self

    def close(self) -> None:
        if self._number >= 0:
            self._forget_ahead()
            self._topic.conversation.readers.pop(self._number, None)
            self._topic.conversation.mention("close_reader", self._number)
            self._number = -1

    def adopt(self, log_start_offset: int, high_watermark: int, leader_epoch: int) -> None:
        """Take over where the partition stands."""
        self.log_start_offset = max(self.log_start_offset, log_start_offset)
        self.high_watermark = (
            max(self.high_watermark, high_watermark) if leader_epoch == self.leader_epoch else high_watermark
        )
        self.leader_epoch = leader_epoch

    def refresh(self) -> bool:
        """Learn where the partition stands. Returns whether there is now something to read at `next_offset`."""
        if self.next_offset >= self.high_watermark:
            self._topic.conversation.look()
        return self.next_offset < self.high_watermark

    def seek(self, offset: int) -> None:
        """Go to `offset`, which may be the end. Raises OffsetOutOfRangeError for one that was never written."""
        if not 0 <= offset <= self.high_watermark:
            raise OffsetOutOfRangeError(
                topic=self._topic.name,
                partition=self.partition,
                offset=offset,
                log_start_offset=self.log_start_offset,
                log_end_offset=self.high_watermark,
            )
        self._go_to(offset)

    def fetch(self) -> list[RecordBatch]:
        """Return the next whole batches, their payloads checked; [] at the high watermark. See PartitionReader.fetch."""
        while self.next_offset < self.high_watermark or self.refresh():
            self._read_ahead()
            pending, size_bytes = self._ahead.popleft()
            conversation = self._topic.conversation
            conversation.ahead_bytes -= size_bytes
            try:
                fields = conversation.wait_for(pending)
                batches = self._take(fields, pending.body, pending.high_watermark)
            except BaseException:
                # What was asked for behind it would begin elsewhere.
                self._go_to(self.next_offset)
                raise
            if batches:
                self._window = min(2 * self._window, _MOST_AHEAD)
                return batches
            self._window = 1
        return []

    def offset_for_time(self, timestamp_ms: int) -> int:
        """Return the first offset whose record's time is `timestamp_ms` or later; the high watermark if there is none."""
        fields = self._topic.conversation.request("offset_for_time", self._number, timestamp_ms)
        offset = fields.number()
        self.take_state(fields)
        fields.end()
        return offset

    def end_of_epoch(self, leader_epoch: int) -> int | None:
        """Return up to where who has read a record of an epoch can have read this log; None if to its end."""
        fields = self._topic.conversation.request("end_of_epoch", self._number, leader_epoch)
        offset = fields.number(-1)
        self.take_state(fields)
        fields.end()
        return None if offset < 0 else offset

    def committed_offset(self, group: str) -> int | None:
        """Return where a group stands here, None before its first commit."""
        fields = self._topic.conversation.request("committed_offset", self._number, group)
        offset = fields.number(-1)
        self.take_state(fields)
        fields.end()
        return None if offset < 0 else offset

    def batches_backward(self, end_offset: int) -> Iterator[StoredBatch]:
        """Yield the batches that begin below `end_offset`, the last one first; their payloads come when they are loaded."""
        above = end_offset
        while above > 0:
            found = self._backward(above, is_whole=False)
            if not found:
                return
            for header, path, _ in found:
                yield _RemoteStoredBatch(self, path, header)
            above = found[-1][0].base_offset

    def load(self, header: RecordBatch) -> memoryview | None:
        """Return the payload of a batch that batches_backward gave, None if it is not there any more. With those before it."""
        payload = self._loaded.pop(header.base_offset, None)
        if payload is None or len(payload) != header.payload_length:
            found = self._backward(header.next_offset, is_whole=True)
            self._loaded = {one.base_offset: payload for one, _, payload in found}
            payload = self._loaded.pop(header.base_offset, None)
        return payload

    @property
    def segment_path(self) -> str:
        return self._path or f"{self._topic.path}/{self.partition}"

    @property
    def watch_path(self) -> str:
        return ""  # All that is open there is watched together.

    def check_topic(self) -> None:
        """Raise NoSuchTopicError if the topic was deleted while we read it."""
        self._topic.check_not_deleted()

    # What is on its way.

    def _go_to(self, offset: int) -> None:
        self._forget_ahead()
        self._at = self.next_offset = offset
        self._window = 1

    def _forget_ahead(self) -> None:
        for pending, size_bytes in self._ahead:
            pending.is_wanted = False
            self._topic.conversation.ahead_bytes -= size_bytes
        self._ahead.clear()

    def _read_ahead(self) -> None:
        """Ask for what comes next; the more, the longer it goes on, and always for one."""
        conversation = self._topic.conversation
        while not self._ahead or (
            len(self._ahead) < self._window and conversation.ahead_bytes + self._size_bytes <= _AHEAD_BYTES
        ):
            pending = conversation.post("fetch", self._number, self._at)
            pending.reader = self
            self._ahead.append((pending, self._size_bytes))
            conversation.ahead_bytes += self._size_bytes
            self._at = _GO_ON

    # What came.

    def take_state(self, fields: Fields) -> int:
        """Take over where an answer says that the partition stands, and return its high watermark."""
        log_start_offset, high_watermark = fields.number(), fields.number()
        self.adopt(log_start_offset, high_watermark, fields.number(0, _MAX_EPOCH))
        return high_watermark

    def _take(self, fields: Fields, raw: bytes, high_watermark: int) -> list[RecordBatch]:
        next_offset = fields.number()
        for _ in range(fields.number(0, _MAX_SKIPPED)):
            first, last = fields.number(), fields.number()
            self.skipped.append((first, last))
            self.next_offset = last + 1
        self._path = self._topic.directory.host + fields.text(_MAX_PATH)
        position = fields.number()
        fields.end()
        if not raw:
            if next_offset < high_watermark or next_offset < self.next_offset:
                fields.refuse("a partition that goes on has nothing to read")
            self.next_offset = next_offset
            return []
        self._size_bytes = max(len(raw), _FIRST_GUESS_BYTES)
        view = memoryview(raw)
        batches: list[RecordBatch] = []
        at = 0
        offset = self.next_offset
        while at < len(view):
            batch = parse_header(view, at)
            if batch is None:
                self._refuse_newer(view, at, position, batches)
                break
            is_first = not batches and batch.base_offset <= offset < batch.next_offset
            payload = view[at + HEADER_SIZE : at + batch.size_bytes]
            if not (batch.base_offset == offset or is_first) or not batch.check_payload(payload):
                raise CorruptBatchError(
                    path=self._path, position=position + at, offset=offset, found="what came is another batch"
                )
            batch.position = position + at
            batches.append(batch)
            at += batch.size_bytes
            offset = batch.next_offset
        if batches:
            self.next_offset = offset
        return batches

    def _refuse_newer(self, view: memoryview, at: int, position: int, batches: list[RecordBatch]) -> None:
        """Raise what is wrong with a batch that this mk cannot read, unless there are others before it."""
        if batches:
            # These first; then it is asked for again.
            self.next_offset = batches[-1].next_offset
            self._go_to(self.next_offset)
            return
        newer = parse_any_header(view, at)
        if newer is None:
            raise CorruptBatchError(
                path=self._path, position=position + at, offset=self.next_offset, found="what came is no batch"
            )
        raise UnsupportedBatchError(
            path=self._path,
            position=position + at,
            offset=self.next_offset,
            attributes=newer.attributes,
            readable_from=newer.next_offset,
        )

    def _backward(self, end_offset: int, *, is_whole: bool) -> list[tuple[RecordBatch, str, memoryview]]:
        conversation = self._topic.conversation
        fields = conversation.request("batches_backward", self._number, end_offset, is_whole)
        body = memoryview(conversation.body)
        found: list[tuple[RecordBatch, str, memoryview]] = []
        at = 0
        above = end_offset
        for _ in range(fields.number(0, _MAX_BACKWARD)):
            path, position = self._topic.directory.host + fields.text(_MAX_PATH), fields.number()
            header = parse_header(body, at)
            if header is None or not header.base_offset < above <= header.next_offset:
                fields.refuse("a batch is none, or not the one before")
            at += HEADER_SIZE
            stop = at + header.payload_length if is_whole else at
            found.append((header, path, body[at:stop]))
            header.position = position
            at, above = stop, header.base_offset
        fields.end()
        return found


class _RemoteStoredBatch(StoredBatch):
    """A batch of which only the header came."""

    __slots__ = ("_reader",)

    def __init__(self, reader: RemotePartitionReader, path: str, header: RecordBatch) -> None:
        super().__init__(-1, path, header)
        self._reader = reader

    def load(self) -> RecordBatch:
        """Ask for the payload. Raises CorruptBatchError if it is not the one that the header was written for."""
        header = self.header
        if header.payload is None:
            payload = self._reader.load(header)
            if payload is None or not header.check_payload(payload):
                raise self.damaged("the batch there has another checksum than its bytes")
        return header
