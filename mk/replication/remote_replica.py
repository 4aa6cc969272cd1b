"""A log directory of another host as one side of a replication: requests to the `mk serve --stdio` there.

What the far side says is checked as it comes, in type and in bounds, and costs no more memory than one message and what an
answer may hold; what batches hold is for the target to prove. A far side that lies gives FarSideError.
"""

from __future__ import annotations

from mk.errors import PermissionDeniedError
from mk.replication.image_codec import (
    LISTINGS,
    MAX_ADDRESS,
    MAX_WAIT_MS,
    PAGE_BYTES,
    committed_values,
    end_values,
    epoch_values,
    partition_values,
    take_chain,
    take_committed,
    take_topic,
    topic_values,
)
from mk.replication.replica import CopiedBatches
from mk.transport.channel import MAX_HEAD_BYTES
from mk.transport.connection import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mk.replication.replica import CommittedOffset, PartitionImage, PartitionWriter, TopicImage
    from mk.transport.address import Address
    from mk.transport.connection import Connection
    from mk.transport.fields import Fields

_MAX_PAGE_BYTES = PAGE_BYTES + MAX_HEAD_BYTES
_MAX_TOPICS = 1 << 17
_MAX_ROWS = 1 << 20
_MAX_PRODUCERS_BYTES = 1 << 20
_MAX_WRITERS = 1 << 16
_DIGEST_BYTES = 32


class RemoteReplica:
    """See mk.replication.replica.Replica, which this is. Its methods raise also PeerUnreachableError and FarSideError."""

    takes_threads = False  # There is one channel.

    __slots__ = ("_connection", "_listing", "address", "directory_id", "location")

    def __init__(
        self,
        address: Address,
        *,
        create: bool = False,
        rsh: str | None = None,
        allow_network_fs: bool = False,
        lock_wait_ms: int = 10_000,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Open the directory at an address. create: make it one if there is none; rsh: the command in place of ssh."""
        self.location = str(address)
        self._connection = connect(
            address, rsh=rsh, allow_network_fs=allow_network_fs, lock_wait_ms=lock_wait_ms, environ=environ
        )
        self._listing = 0
        try:
            fields = self._connection.request("open_replica", create)
            self.directory_id = fields.id()
            self.address = fields.text(MAX_ADDRESS)
            fields.end()
        except BaseException:
            self.close()
            raise

    def topics(self, names: Sequence[str] | None = None) -> Iterator[TopicImage]:
        self._listing = listing = self._listing + 1
        request: list[object] = ["topics", listing % LISTINGS, names is not None]
        if names is not None:
            request += [len(names), *names]
        wanted = None if names is None else frozenset(names)
        last_name = ""
        count = 0
        while True:
            # A whole page before the first of it is given away: whoever gets an image may ask for other things.
            images, is_more = self._page(request)
            for image in images:
                count += 1
                is_asked_for = wanted is None or image.name in wanted
                if not is_asked_for or (wanted is None and image.name <= last_name) or count > _MAX_TOPICS:
                    self._refuse("a topic is not asked for, or not in order")
                last_name = image.name
                yield image
            if not is_more:
                return
            if self._listing - listing >= LISTINGS:
                raise RuntimeError(f"more than {LISTINGS} iterations over topics at once")
            request = ["more_topics", listing % LISTINGS]

    def _page(self, request: Sequence[object]) -> tuple[list[TopicImage], bool]:
        images = []
        size = 0
        parts = self._connection.parts(*request)
        for fields in parts:
            images.append(take_topic(fields))
            fields.end()
            size += self._connection.channel.frame_bytes
            if size > _MAX_PAGE_BYTES:
                fields.refuse("images of topics do not end")
        is_more = parts.end.flag()
        parts.end.end()
        if is_more and not images:
            parts.end.refuse("a page of topics is empty")
        return images, is_more

    def chain_at(self, topic: str, partition: int, offset: int) -> int | None:
        fields = self._connection.request("chain_at", topic, partition, offset)
        chain = take_chain(fields) if fields.flag() else None
        fields.end()
        return chain

    def read(self, topic: str, partition: int, from_offset: int, to_offset: int) -> Iterator[CopiedBatches]:
        next_offset, is_told = from_offset, False
        parts = self._connection.parts("read", topic, partition, from_offset, to_offset)
        channel = self._connection.channel
        for fields in parts:
            base_offset = fields.number(next_offset, next_offset)
            next_offset = fields.number(base_offset + (from_offset < to_offset), to_offset)
            begins_segment = fields.flag()
            body = channel.body
            length = len(body) - fields.number(0, min(len(body), _MAX_PRODUCERS_BYTES))
            fields.end()
            if bool(length) != (from_offset < to_offset) or (not length and not (begins_segment and body)) or is_told:
                fields.refuse("batches are empty, or come where there are none")
            is_told = not length
            yield CopiedBatches(
                base_offset,
                next_offset,
                body[:length],
                begins_segment=begins_segment,
                producers=bytes(body[length:]),
            )
        parts.end.end()
        if next_offset != to_offset:
            parts.end.refuse(f"batches end at offset {next_offset}, and not at {to_offset}")

    def size_bytes(self, topic: str, partition: int, from_offset: int, to_offset: int) -> int:
        fields = self._connection.request("size_bytes", topic, partition, from_offset, to_offset)
        size = fields.number()
        fields.end()
        return size

    def committed_offsets(self, topic_ids: Sequence[str]) -> list[CommittedOffset]:
        offsets: list[CommittedOffset] = []
        asked = frozenset(topic_ids)
        parts = self._connection.parts("committed_offsets", len(topic_ids), *topic_ids)
        for fields in parts:
            part = take_committed(fields, _MAX_ROWS - len(offsets))
            fields.end()
            if not part or not asked.issuperset(one.topic_id for one in part):
                fields.refuse("committed offsets are none, or of other topics")
            offsets += part
        parts.end.end()
        return offsets

    def wait(self, timeout_ms: int) -> bool:
        fields = self._connection.request("wait", min(timeout_ms, MAX_WAIT_MS))
        is_new = fields.flag()
        fields.end()
        return is_new

    def digests(self, topic: str, partition: int, from_offset: int, to_offset: int) -> list[tuple[int, int, bytes]]:
        rows: list[tuple[int, int, bytes]] = []
        next_offset = from_offset
        parts = self._connection.parts("digests", topic, partition, from_offset, to_offset)
        for fields in parts:
            for _ in range(fields.number(1, _MAX_ROWS - len(rows))):
                first_offset = fields.number(next_offset, to_offset)
                next_offset = fields.number(first_offset + 1, to_offset)
                digest = fields.data(_DIGEST_BYTES)
                if len(digest) != _DIGEST_BYTES:
                    fields.refuse("a digest is none")
                rows.append((first_offset, next_offset, digest))
            fields.end()
        parts.end.end()
        return rows

    def note_follower(self, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
        self._connection.do("note_follower", directory_id, address, *end_values(ends))

    def fence(self, topic: str, partition: int, epochs: Sequence[tuple[int, int, str]]) -> bool:
        try:
            return self._flag("fence", topic, partition, *epoch_values(epochs))
        except PermissionDeniedError:
            # Who may only pull from an old leader cannot tell it that it is one; it stays the stale one all the same.
            return False

    def copies_of(self, sources: Sequence[TopicImage], prefix: str) -> list[TopicImage]:
        return list(self.topics())

    def begin(self, directory_id: str, address: str) -> bool:
        return self._flag("begin", directory_id, address)

    def create_topic(self, image: TopicImage) -> None:
        self._connection.do("create_topic", *topic_values(image))

    def update_topic(self, image: TopicImage) -> None:
        self._connection.do("update_topic", *topic_values(image))

    def follow(self, topic: str, image: PartitionImage, prefix_offset: int, chain: int) -> PartitionWriter:
        return RemoteWriter(
            self._connection,
            self._connection.request("follow", topic, image.partition, *partition_values(image), prefix_offset, chain),
        )

    def begin_anew(self, topic: str, image: PartitionImage, *, reason: str) -> PartitionWriter:
        return RemoteWriter(
            self._connection,
            self._connection.request("begin_anew", topic, image.partition, *partition_values(image), reason),
        )

    def store_committed_offsets(self, directory_id: str, offsets: Sequence[CommittedOffset]) -> None:
        self._connection.do("store_committed_offsets", directory_id, *committed_values(offsets))

    def note_source(self, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
        self._connection.do("note_source", directory_id, address, *end_values(ends))

    def close(self) -> None:
        self._connection.close()

    def _flag(self, *values: object) -> bool:
        fields = self._connection.request(*values)
        flag = fields.flag()
        fields.end()
        return flag

    def _refuse(self, why: str) -> None:
        raise self._connection.channel.broken(why)


class RemoteWriter:
    """A partition there that takes batches: appends are sent and not waited for, what went wrong comes with the next sync."""

    __slots__ = ("_connection", "_is_open", "_number", "next_offset")

    def __init__(self, connection: Connection, fields: Fields) -> None:
        self._connection = connection
        self._number = fields.number(0, _MAX_WRITERS)
        self.next_offset = fields.number()
        fields.end()
        self._is_open = True

    def append(self, batches: CopiedBatches) -> None:
        self._connection.post(
            "append",
            self._number,
            batches.base_offset,
            batches.next_offset,
            batches.begins_segment,
            len(batches.producers),
            body=(batches.data, batches.producers),
        )
        self.next_offset = batches.next_offset

    def sync(self) -> int:
        fields = self._connection.request("sync", self._number)
        # That and nothing else is what was sent: less would be a loss that nobody notices.
        end_offset = fields.number(self.next_offset, self.next_offset)
        fields.end()
        return end_offset

    def advance_log_start(self, offset: int) -> None:
        self._connection.do("advance_log_start", self._number, offset)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._connection.do("close_writer", self._number)
