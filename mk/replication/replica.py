"""What a replication needs of a log directory, whether it is here or behind ssh.

A run of `mk replicate` has two of them, a source and a target, and moves whole batches from one to the other. Images are what
one side tells the other: as of a moment, without a lock, and never trusted. Whatever changes a directory is done, and checked
again under its lock, by the process that has it open.
"""

from __future__ import annotations

from mk.groups.committed_offset import CommittedOffset as CommittedOffset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol
else:
    Protocol = object


class PartitionImage:
    """One partition as it stood when it was looked at.

    log_start_offset: of the first record that may be read. first_offset: base of the segment that holds it, where a copy
    that begins anew begins. next_offset: the high watermark; on a follower, the end of what is on disk. chain: of the batch
    that ends there, UNKNOWN_CHAIN if nobody can tell. epochs: (epoch, first offset, id of the directory that led it),
    ascending; the last one leads now. cleaned_to, tombstones_dropped_to: up to where the log cleaner has worked.
    is_recovered: somebody has opened the log for a change since its host was started; before that it may have lost records
    with the power, and no leader epoch says so yet. lacks_producers: nothing tells what is stored of producer ids, in a
    log without a batch that does not begin at 0, or behind batches that were compacted.
    """

    __slots__ = (
        "chain",
        "cleaned_to",
        "epochs",
        "first_offset",
        "is_recovered",
        "lacks_producers",
        "log_start_offset",
        "next_offset",
        "partition",
        "tombstones_dropped_to",
    )

    partition: int
    log_start_offset: int
    first_offset: int
    next_offset: int
    chain: int
    epochs: list[tuple[int, int, str]]
    cleaned_to: int
    tombstones_dropped_to: int
    is_recovered: bool
    lacks_producers: bool


class TopicImage:
    """One topic as it stood when it was looked at.

    fields: all of topic.json, also what only a newer mk knows. pins: name and content of each file in producers/.
    partitions: by number. problem: why it cannot be read, "" if it can; there are no partitions then. is_refused: it is
    the disk that refuses, and nothing is known to be damaged. Not told to another host.
    """

    __slots__ = ("fields", "is_refused", "name", "partitions", "pins", "problem", "topic_id")

    name: str
    topic_id: str
    fields: dict[str, str | int | bool | None]
    pins: dict[str, bytes]
    partitions: list[PartitionImage]
    problem: str

    def __init__(self) -> None:
        self.is_refused = False


class CopiedBatches:
    """Whole batches of one segment, one behind the other, as they stand there.

    data: valid until the next one is asked for. begins_segment: base_offset is where a segment of the source begins, so the
    copy begins one there too, and the files are the same. producers: then the content of its `.producers` snapshot, b"" if
    it has none. Of a log that does not begin at 0 and is empty that alone is sent, with no batches. records: how many there
    are, as far as offsets tell where nobody has counted them.
    """

    __slots__ = ("base_offset", "begins_segment", "data", "next_offset", "producers", "records")

    def __init__(
        self,
        base_offset: int,
        next_offset: int,
        data: bytes | memoryview,
        *,
        begins_segment: bool,
        producers: bytes = b"",
        records: int | None = None,
    ) -> None:
        self.records = next_offset - base_offset if records is None else records
        self.base_offset = base_offset
        self.next_offset = next_offset
        self.data = data
        self.begins_segment = begins_segment
        self.producers = producers


class PartitionWriter(Protocol):
    """A partition of a target that takes batches. Errors of an append may come with the next sync."""

    next_offset: int
    """Where the next batch has to begin."""

    def append(self, batches: CopiedBatches) -> None:
        """Take batches: each is proved before one byte of it is written. Not on disk, and not read by anybody, before sync."""

    def sync(self) -> int:
        """Put all that was taken on disk, let it be read, and return where the log ends now."""

    def advance_log_start(self, offset: int) -> None:
        """Have the log begin at `offset`, as on the source, and remove the segments below it."""

    def close(self) -> None: ...


class AnyReplica(Protocol):
    """One side of a replication. Open until `close`."""

    location: str
    """As the user named it, for people."""
    directory_id: str
    address: str
    """How others reach it, `host:directory`, from its mk.json."""
    takes_threads: bool
    """Whether several partitions can be read, or written to, at once, each by a thread of its own."""

    def topics(self, names: Sequence[str] | None = None) -> Iterator[TopicImage]:
        """Yield an image of each of these topics, or of all, by name. One that is not there is left out."""

    def chain_at(self, topic: str, partition: int, offset: int) -> int | None:
        """Return the chain of the batch that ends at `offset`; UNKNOWN_CHAIN if it is gone, None if no batch ends there."""

    def close(self) -> None: ...


class SourceReplica(AnyReplica, Protocol):
    """The side that is copied. Nothing here changes a log."""

    def read(self, topic: str, partition: int, from_offset: int, to_offset: int) -> Iterator[CopiedBatches]:
        """Yield the batches from one offset up to another, both between two batches. Not checked: the target does that.

        From the end of the log up to it, where its last segment begins: the snapshot of that segment, with no batches.
        """

    def size_bytes(self, topic: str, partition: int, from_offset: int, to_offset: int) -> int:
        """Return how many bytes the batches from one offset up to another take, both between two batches."""

    def committed_offsets(self, topic_ids: Sequence[str]) -> list[CommittedOffset]:
        """Return what groups have committed of these topics, and on a follower what it has of its leader's groups."""

    def wait(self, timeout_ms: int) -> bool:
        """Sleep until something may have been appended to what `topics` was last asked for. False if the time ran out."""

    def digests(self, topic: str, partition: int, from_offset: int, to_offset: int) -> list[tuple[int, int, bytes]]:
        """Return of each segment's batches in between: first offset, next offset, and SHA-256 of their bytes."""

    def note_follower(self, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
        """Note how far a follower has got: topic id, partition, and where its log ends. Nothing depends on it."""

    def fence(self, topic: str, partition: int, epochs: Sequence[tuple[int, int, str]]) -> bool:
        """Have this directory know, on disk, of a leader epoch above its own. False if it knew, or may not be changed."""


class TargetReplica(AnyReplica, Protocol):
    """The side that becomes a copy."""

    def copies_of(self, sources: Sequence[TopicImage], prefix: str) -> list[TopicImage]:
        """Return an image of each topic that may be a copy of one of these, or has the name of one, with `prefix` in front."""

    def begin(self, directory_id: str, address: str) -> bool:
        """Take the lock of replications from that source; False if another run has it. Held until `close`."""

    def create_topic(self, image: TopicImage) -> None:
        """Make a topic that follows the source's: `image` is the source's, but for its name here."""

    def update_topic(self, image: TopicImage) -> None:
        """Have a topic's settings, partitions and pins as in `image`, and its name, if it has another one here."""

    def follow(self, topic: str, image: PartitionImage, prefix_offset: int, chain: int) -> PartitionWriter:
        """Open a partition that is to become, or go on as, a follower of the source's.

        image: the source's. Below prefix_offset both logs are the same, as far as epochs tell; chain is the source's there,
        UNKNOWN_CHAIN if it cannot be told. Under the lock all of this is compared again with what stands here; what is
        here above prefix_offset goes to quarantine/. A directory that leads with a lower epoch does so no longer.

        Raises DivergedLogError, StaleSourceError: nothing was changed.
        """

    def begin_anew(self, topic: str, image: PartitionImage, *, reason: str) -> PartitionWriter:
        """Open a partition whose log begins anew at image.first_offset; what is here goes to quarantine/.

        reason: "gap", of which a mark stays, or "compacted".
        """

    def store_committed_offsets(self, directory_id: str, offsets: Sequence[CommittedOffset]) -> None:
        """Keep what groups have committed on the source, as far as this log goes: for groups with no offset of their own."""

    def note_source(self, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
        """Note where the source's logs ended when it was last seen: topic id, partition, next offset."""


class Replica(SourceReplica, TargetReplica, Protocol):
    """A log directory, which can be either."""
