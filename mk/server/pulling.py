"""The operations of a client that reads logs, and those that also one needs that writes them."""

from __future__ import annotations

from mk.errors import PermissionDeniedError
from mk.replication.image_codec import (
    LISTINGS,
    MAX_ADDRESS,
    MAX_ROWS,
    MAX_WAIT_MS,
    PAGE_BYTES,
    committed_values,
    take_ends,
    take_name,
    topic_values,
)
from mk.server.permissions import PUSH
from mk.topic_partition import MAX_PARTITIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mk.replication.replica import Replica
    from mk.server.session import Session
    from mk.transport.fields import Fields

PAGE_IMAGES = 256
_ROWS_AT_ONCE = 1024
_LOOK_MS = 500


def open_replica(session: Session, fields: Fields) -> None:
    """Open the client's directory: (create) -> (directory id, address)."""
    create = fields.flag()
    fields.end()
    if session.replica is not None:
        fields.refuse("the directory is open already")
    if create:
        session.permissions.check_any((PUSH,), "making a log directory")
    from mk.replication.replicas import open_directory

    session.replica = open_directory(
        session.path, create=create, allow_network_fs=session.allow_network_fs, lock_wait_ms=session.lock_wait_ms
    )
    session.answer(session.replica.directory_id, session.replica.address)


def topics(session: Session, fields: Fields) -> None:
    """Send images of topics, a page of them: (listing, has names, number, names...) -> images, (more to come)."""
    listing = fields.number(0, LISTINGS - 1)
    names = None
    if fields.flag():
        names = [take_name(fields) for _ in range(fields.number(0, MAX_ROWS))]
    fields.end()
    if names is not None:
        # What may not be seen is not there, whether asked for or not.
        names = [name for name in names if session.allows(name)]
    session.listings[listing] = iter(replica_of(session, fields).topics(names))
    _send_page(session, listing)


def more_topics(session: Session, fields: Fields) -> None:
    """Send the next page: (listing) -> images, (more to come)."""
    listing = fields.number(0, LISTINGS - 1)
    fields.end()
    if listing not in session.listings:
        fields.refuse("no listing of topics is under way")
    _send_page(session, listing)


def _send_page(session: Session, listing: int) -> None:
    sent = count = 0
    for image in session.listings[listing]:
        if not session.allows(image.name):
            continue
        session.listed.add(image.topic_id)
        sent += session.item(*topic_values(image))
        count += 1
        if sent >= PAGE_BYTES or count >= PAGE_IMAGES:
            session.answer(True)
            return
    del session.listings[listing]
    session.answer(False)


def chain_at(session: Session, fields: Fields) -> None:
    """(topic, partition, offset) -> (whether a batch ends there, its chain)."""
    topic, partition = take_partition_of(session, fields)
    offset = fields.number()
    fields.end()
    chain = replica_of(session, fields).chain_at(topic, partition, offset)
    session.answer(*((False,) if chain is None else (True, chain)))


def read(session: Session, fields: Fields) -> None:
    """(topic, partition, from, to) -> (base, next, begins a segment, length of producers) with batches, ()."""
    topic, partition = take_partition_of(session, fields)
    from_offset = fields.number()
    to_offset = fields.number(from_offset)
    fields.end()
    copied = replica_of(session, fields).read(topic, partition, from_offset, to_offset)
    for batches in copied:
        session.item(
            batches.base_offset,
            batches.next_offset,
            batches.begins_segment,
            len(batches.producers),
            body=(batches.data, batches.producers),
        )
        if session.is_stopping:
            break
    session.answer()


def size_bytes(session: Session, fields: Fields) -> None:
    """(topic, partition, from, to) -> (bytes)."""
    topic, partition = take_partition_of(session, fields)
    from_offset = fields.number()
    to_offset = fields.number(from_offset)
    fields.end()
    session.answer(replica_of(session, fields).size_bytes(topic, partition, from_offset, to_offset))


def digests(session: Session, fields: Fields) -> None:
    """(topic, partition, from, to) -> (number, rows...), ()."""
    topic, partition = take_partition_of(session, fields)
    from_offset = fields.number()
    to_offset = fields.number(from_offset)
    fields.end()
    rows = replica_of(session, fields).digests(topic, partition, from_offset, to_offset)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        session.item(len(part), *(value for row in part for value in row))
    session.answer()


def committed_offsets(session: Session, fields: Fields) -> None:
    """(number, topic ids...) -> (number, committed offsets...), ()."""
    topic_ids = [fields.id() for _ in range(fields.number(0, MAX_ROWS))]
    fields.end()
    if session.permissions.is_limited:
        topic_ids = [topic_id for topic_id in topic_ids if topic_id in session.listed]
    offsets = replica_of(session, fields).committed_offsets(topic_ids)
    for start in range(0, len(offsets), _ROWS_AT_ONCE):
        session.item(*committed_values(offsets[start : start + _ROWS_AT_ONCE]))
    session.answer()


def wait(session: Session, fields: Fields) -> None:
    """(milliseconds) -> (whether there may be something new)."""
    left_ms = fields.number(0, MAX_WAIT_MS)
    fields.end()
    replica = replica_of(session, fields)
    # In turns: a client that has gone away, or has changed its mind, is not waited for.
    while not (is_new := replica.wait(min(left_ms, _LOOK_MS))) and left_ms > _LOOK_MS and not session.is_stopping:
        left_ms -= _LOOK_MS
    session.answer(is_new)


def note_follower(session: Session, fields: Fields) -> None:
    """(directory id, address, ends) -> ()."""
    directory_id, address = fields.id(), fields.text(MAX_ADDRESS)
    ends = take_ends(fields)
    fields.end()
    check_listed(session, (topic_id for topic_id, _, _ in ends))
    replica_of(session, fields).note_follower(directory_id, address, ends)
    session.answer()


def replica_of(session: Session, fields: Fields) -> Replica:
    """Return the open directory; without one the client does not keep to the order of things."""
    if session.replica is None:
        fields.refuse("no replica is open")
    return session.replica


def take_partition_of(session: Session, fields: Fields) -> tuple[str, int]:
    """Return the topic, which the operation has to be allowed on, and partition that it is about."""
    topic, partition = take_name(fields), fields.number(0, MAX_PARTITIONS - 1)
    session.check_topic(topic)
    return topic, partition


def check_listed(session: Session, topic_ids: Iterable[str]) -> None:
    """Raise PermissionDeniedError for a topic that a limited client has not been told of: its id names it nevertheless."""
    if session.permissions.is_limited and not session.listed.issuperset(topic_ids):
        raise PermissionDeniedError(
            "a topic is not yours here",
            why="`mk serve` was started with --only, and that topic is none that was listed",
            fix="leave it out; nothing was changed",
        )
