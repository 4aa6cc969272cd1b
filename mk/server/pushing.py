"""The operations of a client that writes copies of logs: topics that follow its own, and batches for their partitions."""

from __future__ import annotations

from mk.errors import MkError, PermissionDeniedError
from mk.replication.image_codec import (
    MAX_ADDRESS,
    take_chain,
    take_committed,
    take_ends,
    take_epochs,
    take_partition,
    take_topic,
)
from mk.replication.replica import CopiedBatches
from mk.server.pulling import check_listed, replica_of, take_partition_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.replication.replica import PartitionImage, PartitionWriter, TopicImage
    from mk.server.session import Session
    from mk.transport.fields import Fields

MAX_PRODUCERS_BYTES = 1 << 20
_MAX_WRITERS = 64
_MAX_NUMBER = (1 << 31) - 1
_REASONS = ("gap", "compacted")


class PushedWriter:
    """A partition that is written to without an answer for each append: its first error waits for the next sync."""

    __slots__ = ("error", "writer")

    def __init__(self, writer: PartitionWriter) -> None:
        self.writer = writer
        self.error: MkError | OSError | None = None

    def append(self, batches: CopiedBatches) -> None:
        """Append, unless an append failed: what comes behind that belongs to nothing."""
        if self.error is None:
            try:
                self.writer.append(batches)
            except (MkError, OSError) as error:
                self.error = error

    def check(self) -> None:
        """Raise what an append ended with."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.writer.close()


def fence(session: Session, fields: Fields) -> None:
    """(topic, partition, epochs) -> (whether it was news)."""
    topic, partition = take_partition_of(session, fields)
    epochs = take_epochs(fields)
    fields.end()
    session.answer(replica_of(session, fields).fence(topic, partition, epochs))


def begin(session: Session, fields: Fields) -> None:
    """(directory id, address) -> (whether the lock was got)."""
    directory_id, address = fields.id(), fields.text(MAX_ADDRESS)
    fields.end()
    session.answer(replica_of(session, fields).begin(directory_id, address))


def create_topic(session: Session, fields: Fields) -> None:
    """(image) -> ()."""
    image = _take_topic(session, fields)
    replica_of(session, fields).create_topic(image)
    session.listed.add(image.topic_id)
    session.answer()


def update_topic(session: Session, fields: Fields) -> None:
    """(image) -> ()."""
    image = _take_topic(session, fields)
    replica = replica_of(session, fields)
    if session.permissions.is_limited and not any(
        there.topic_id == image.topic_id for there in replica.topics([image.name])
    ):
        # It has another name here: a client that may push to the new one could take any topic for itself.
        for there in replica.topics():
            if there.topic_id == image.topic_id:
                session.check_topic(there.name)
    replica.update_topic(image)
    session.listed.add(image.topic_id)
    session.answer()


def follow(session: Session, fields: Fields) -> None:
    """(topic, image, prefix offset, chain) -> (number of the writer, next offset)."""
    topic, image = _take_partition(session, fields)
    prefix_offset, chain = fields.number(), take_chain(fields)
    fields.end()
    replica = replica_of(session, fields)
    number = _free_number(session, fields)
    _answer_writer(session, number, replica.follow(topic, image, prefix_offset, chain))


def begin_anew(session: Session, fields: Fields) -> None:
    """(topic, image, reason) -> (number of the writer, next offset)."""
    topic, image = _take_partition(session, fields)
    reason = fields.text()
    fields.end()
    if reason not in _REASONS:
        fields.refuse("the reason is none")
    replica = replica_of(session, fields)
    number = _free_number(session, fields)
    _answer_writer(session, number, replica.begin_anew(topic, image, reason=reason))


def append(session: Session, fields: Fields) -> None:
    """(writer, base, next, begins a segment, length of producers) with batches: no answer."""
    writer = _take_writer(session, fields)
    base_offset = fields.number()
    next_offset = fields.number(base_offset)
    begins_segment = fields.flag()
    body = session.channel.body
    length = len(body) - fields.number(0, min(MAX_PRODUCERS_BYTES, len(body)))
    fields.end()
    is_empty = next_offset == base_offset
    if is_empty == bool(length) or (is_empty and not (begins_segment and body)):
        fields.refuse("batches are empty, or hold no offset")
    writer.append(
        CopiedBatches(
            base_offset,
            next_offset,
            body[:length],
            begins_segment=begins_segment,
            producers=bytes(body[length:]),
        )
    )


def sync(session: Session, fields: Fields) -> None:
    """(writer) -> (where the log ends)."""
    writer = _take_writer(session, fields)
    fields.end()
    writer.check()
    session.answer(writer.writer.sync())


def advance_log_start(session: Session, fields: Fields) -> None:
    """(writer, offset) -> ()."""
    writer = _take_writer(session, fields)
    offset = fields.number()
    fields.end()
    writer.check()
    writer.writer.advance_log_start(offset)
    session.answer()


def close_writer(session: Session, fields: Fields) -> None:
    """(writer) -> ()."""
    writer = _take_writer(session, fields)
    fields.end()
    for number, open_writer in list(session.writers.items()):
        if open_writer is writer:
            del session.writers[number]
    writer.close()
    session.answer()


def store_committed_offsets(session: Session, fields: Fields) -> None:
    """(directory id, committed offsets) -> ()."""
    directory_id = fields.id()
    offsets = take_committed(fields)
    fields.end()
    check_listed(session, (one.topic_id for one in offsets))
    replica_of(session, fields).store_committed_offsets(directory_id, offsets)
    session.answer()


def note_source(session: Session, fields: Fields) -> None:
    """(directory id, address, ends) -> ()."""
    directory_id, address = fields.id(), fields.text(MAX_ADDRESS)
    ends = take_ends(fields)
    fields.end()
    replica = replica_of(session, fields)
    if session.permissions.is_limited and any(topic_id not in session.listed for topic_id, _, _ in ends):
        # It is said before topics are made, also of those that are about to be; of them there is nothing to tell yet.
        here = {image.topic_id for image in replica.topics()}
        ends = [end for end in ends if end[0] in here]
    check_listed(session, (topic_id for topic_id, _, _ in ends))
    replica.note_source(directory_id, address, ends)
    session.answer()


def _take_topic(session: Session, fields: Fields) -> TopicImage:
    image = take_topic(fields)
    fields.end()
    if image.problem:
        fields.refuse("a topic that cannot be read is pushed")
    session.check_topic(image.name)
    return image


def _take_partition(session: Session, fields: Fields) -> tuple[str, PartitionImage]:
    topic, partition = take_partition_of(session, fields)
    image = take_partition(fields)
    if image.partition != partition:
        fields.refuse("the image is another partition's")
    return topic, image


def _take_writer(session: Session, fields: Fields) -> PushedWriter:
    writer = session.writers.get(fields.number(0, _MAX_NUMBER))
    if writer is None:
        fields.refuse("no such partition is being written to")
    return writer


def _free_number(session: Session, fields: Fields) -> int:
    if len(session.writers) >= _MAX_WRITERS:
        raise PermissionDeniedError(
            f"more than {_MAX_WRITERS} partitions at once are not written to",
            fix="close one first; nothing was changed",
        )
    return next(number for number in range(_MAX_WRITERS) if number not in session.writers)


def _answer_writer(session: Session, number: int, writer: PartitionWriter) -> None:
    session.writers[number] = PushedWriter(writer)
    session.answer(number, writer.next_offset)
