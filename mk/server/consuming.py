"""The operations of `mk consume -d HOST:DIR`: topics to open, partitions to read, and waiting for what comes.

A client reads ahead: it asks for the next batches before it has those before them. Each answer says where its partition stands
by then, so what is told there is never told again. Names and numbers come from the client, and offsets are judged by the reader.
"""

from __future__ import annotations

import json
import os

from mk.errors import CorruptBatchError, MkError, NoSuchTopicError
from mk.server.open_topics import MAX_NUMBER, OpenReader, OpenTopic, OpenTopics, opened_by, partition_of
from mk.storage import files
from mk.topic_partition import MAX_PARTITIONS, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.server.session import Session
    from mk.storage.topic import Topic
    from mk.transport.fields import MAX_OFFSET, Fields
else:
    from mk.transport.fields import MAX_OFFSET

_MAX_WAIT_MS = 600_000
_MIN_TIME_MS, _MAX_TIME_MS = -(1 << 62), 1 << 62
_HEADERS_AT_ONCE = 256
_BYTES_AT_ONCE = 1 << 20
_NO_OFFSET = -1
_MAX_EPOCH = (1 << 64) - 1


def open_directory(session: Session, fields: Fields) -> None:
    """CREATE -> the directory's id and path. It is made, if there is none, for whoever may make any topic there."""
    create = fields.flag()
    fields.end()
    if session.opened is not None:
        fields.refuse("the directory is open already")
    session.opened = opened = OpenTopics(session, create=create and not session.permissions.is_limited)
    session.answer(opened.directory.directory_id, opened.directory.path)


def topic_names(session: Session, fields: Fields) -> None:
    """-> nothing; a line for each name, of the topics that the client may use."""
    fields.end()
    opened = opened_by(session)
    opened.told_names = _names_changed_at(opened)
    with files.about(opened.directory.path):
        names = [name for name in opened.directory.topic_names() if session.allows(name)]
    session.answer(body=["".join(f"{name}\n" for name in names).encode()])


def open_topic(session: Session, fields: Fields) -> None:
    """NUMBER NAME -> the topic's image."""
    opened = opened_by(session)
    number = opened.new_number(fields, opened.topics)
    name = check_name(fields.text())
    fields.end()
    session.check_topic(name)
    with files.about(f"{opened.directory.path}/topics/{name}"):
        topic = OpenTopic(opened.directory.open_topic(name))
    opened.topics[number] = topic
    session.answer(*topic.image())


def close_topic(session: Session, fields: Fields) -> None:
    """NUMBER; not answered. Closes its partitions too."""
    opened = opened_by(session)
    number = fields.number(0, MAX_NUMBER)
    fields.end()
    topic = opened.topics.pop(number, None)
    if topic is None:
        return  # It could not be opened, which the client did not know yet when it said so.
    opened.forget_watch()
    for reader in [reader for reader, one in opened.readers.items() if one.opened is topic]:
        opened.readers.pop(reader).reader.close()
    try:
        topic.close()
    except (MkError, OSError):
        pass  # What was acknowledged is stored.


def open_reader(session: Session, fields: Fields) -> None:
    """NUMBER TOPIC PARTITION -> where the partition stands."""
    opened = opened_by(session)
    number = opened.new_number(fields, opened.readers)
    topic = opened.topic(fields)
    partition = partition_of(fields)
    fields.end()
    session.check_topic(topic.topic.name)
    reader = opened.readers[number] = OpenReader(topic, partition, opened.buffer)
    session.answer(*reader.state())


def close_reader(session: Session, fields: Fields) -> None:
    """NUMBER; not answered."""
    opened = opened_by(session)
    number = fields.number(0, MAX_NUMBER)
    fields.end()
    reader = opened.readers.pop(number, None)
    if reader is not None:
        opened.forget_watch()
        reader.reader.close()


def fetch(session: Session, fields: Fields) -> None:
    """READER OFFSET -> where it stands, the next offset, what was skipped, the segment's path and the position in it; batches.

    OFFSET: -1 to go on where the last fetch ended.
    """
    opened = opened_by(session).reader(fields)
    offset = fields.number(_NO_OFFSET)
    fields.end()
    reader = opened.reader
    with files.about(opened.path):
        if offset != _NO_OFFSET:
            if offset > reader.high_watermark:
                reader.refresh()
            reader.seek(offset)
        raw, path, position = reader.fetch_raw()
    skipped, reader.skipped = reader.skipped, []
    session.answer(
        *opened.state(),
        reader.next_offset,
        len(skipped),
        *(end for both in skipped for end in both),
        path,
        position,
        body=[raw],
    )


def offset_for_time(session: Session, fields: Fields) -> None:
    """READER TIME -> an offset."""
    opened = opened_by(session).reader(fields)
    timestamp_ms = fields.number(_MIN_TIME_MS, _MAX_TIME_MS)
    fields.end()
    with files.about(opened.path):
        opened.reader.refresh()
        session.answer(opened.reader.offset_for_time(timestamp_ms), *opened.state())


def batches_backward(session: Session, fields: Fields) -> None:
    """READER END WHOLE -> a count, and of each batch, the last one first, path and position; their headers, or all of them.

    None of them if the log begins at END.
    """
    opened = opened_by(session).reader(fields)
    end_offset = fields.number()
    is_whole = fields.flag()
    fields.end()
    values: list[object] = []
    pieces: list[bytes] = []
    size_bytes = 0
    with files.about(opened.path):
        opened.reader.refresh()
        end_offset = min(end_offset, opened.reader.high_watermark)
        try:
            for stored in opened.reader.batches_backward(end_offset):
                pieces.append(stored.raw(is_whole=is_whole))
                values += (stored.path, stored.header.position)
                size_bytes += len(pieces[-1])
                if size_bytes >= _BYTES_AT_ONCE or len(pieces) == _HEADERS_AT_ONCE:
                    break
        except CorruptBatchError:
            if not pieces:
                raise  # Otherwise it is met again, by who wants what lies before it.
    session.answer(len(pieces), *values, body=pieces)


def epochs(session: Session, fields: Fields) -> None:
    """TOPIC PARTITION -> a count, and of each epoch its number, first offset and leader."""
    opened = opened_by(session)
    topic = opened.topic(fields)
    partition = topic.topic.check_partition(partition_of(fields))
    fields.end()
    session.check_topic(topic.topic.name)
    with files.about(topic.path_of(partition)):
        entries = topic.topic.read_epochs(partition).entries
    session.answer(
        len(entries), *(value for entry in entries for value in (entry.epoch, entry.first_offset, entry.leader_id))
    )


def end_of_epoch(session: Session, fields: Fields) -> None:
    """READER EPOCH -> up to where who has read a record of that epoch can have read the log, -1 if to its end; where the
    partition stands."""
    opened = opened_by(session).reader(fields)
    epoch = fields.number(0, _MAX_EPOCH)
    fields.end()
    with files.about(opened.path):
        offset = opened.reader.end_of_epoch(epoch)
    session.answer(_NO_OFFSET if offset is None else offset, *opened.state())


def committed_offset(session: Session, fields: Fields) -> None:
    """READER GROUP -> the offset, -1 before the group's first commit; where the partition stands."""
    from mk.groups.offset_store import committed_offset as find

    opened = opened_by(session).reader(fields)
    group = check_name(fields.text(), "group")
    fields.end()
    with files.about(opened.path):
        offset = find(opened.opened.topic, group, opened.reader)
    session.answer(_NO_OFFSET if offset is None else offset, *opened.state())


def watch(session: Session, fields: Fields) -> None:
    """TIMEOUT -> what the client does not know yet of all that it has open, waiting for it for so long.

    What it says next ends the wait. Answered are: whether names of topics came or went; of readers a count, and their number
    and where they stand; of topics a count, and their number, whether they were deleted, and their news.
    """
    from time import monotonic

    opened = opened_by(session)
    timeout_ms = fields.number(0, _MAX_WAIT_MS)
    fields.end()
    deadline = monotonic() + timeout_ms / 1000
    # Before the first look, so that nothing falls between.
    watched = opened.watched() if timeout_ms else None
    while True:
        readers = [(number, reader) for number, reader in opened.readers.items() if reader.has_news()]
        topics = [(number, topic) for number, topic in opened.topics.items() if _has_news(topic)]
        changed_at = _names_changed_at(opened)
        if readers or topics or changed_at != opened.told_names:
            break
        left_ms = int((deadline - monotonic()) * 1000)
        if watched is None or left_ms <= 0 or session.is_stopping:
            break
        watched.wait_beside(session.channel.read_fd, left_ms)
    values: list[object] = [changed_at != opened.told_names, len(readers)]
    opened.told_names = changed_at
    for number, reader in readers:
        values += (number, *reader.state())
    values.append(len(topics))
    for number, topic in topics:
        topic.is_told_deleted = topic.topic.is_deleted()
        values += (number, topic.is_told_deleted, *topic.news())
    session.answer(*values)


def describe(session: Session, fields: Fields) -> None:
    """WHAT TOPIC -> what `mk topics` shows of a topic, as JSON. Nothing is left open."""
    what = fields.text()
    name = check_name(fields.text())
    fields.end()
    session.check_topic(name)
    describing = _DESCRIBING.get(what)
    if describing is None:
        fields.refuse(f"there is no description {what[:40]!a}")
    directory = opened_by(session).directory
    with files.about(f"{directory.path}/topics/{name}"):
        topic = directory.open_topic(name)
        try:
            document = describing(topic)
        finally:
            topic.close()
    session.answer(body=[json.dumps(document).encode()])


def sample(session: Session, fields: Fields) -> None:
    """GROUP -> topics, groups and copies as JSON, see Cluster.sample; owners of partitions of that group, "" for none.

    A client that may not use everything is told nothing of other topics, nor who the members of groups are.
    """
    from mk.maintenance.sampler import Sampler

    opened = opened_by(session)
    group = fields.text()
    fields.end()
    if opened.sampler is None:
        opened.sampler = Sampler(opened.directory, allows=session.allows, is_limited=session.permissions.is_limited)
    with files.about(opened.directory.path):
        document = opened.sampler.sample("" if session.permissions.is_limited else group)
    session.answer(body=[json.dumps(document).encode()])


def _describe(function: str) -> Callable[[Topic], object]:
    def run(topic: Topic) -> object:
        from mk.storage import description

        return getattr(description, function)(topic)

    return run


def _config(topic: Topic) -> object:
    from mk.config import TOPIC_CONFIG

    return {key: topic.config(key) for key in sorted(TOPIC_CONFIG)}


_DESCRIBING: dict[str, Callable[[Topic], object]] = {
    "summary": _describe("summarize"),
    "topic": _describe("describe"),
    "offsets": _describe("offsets"),
    "settings": _describe("settings"),
    "rates": _describe("rates"),
    "times": _describe("times"),
    "config": _config,
}


def _has_news(opened: OpenTopic) -> bool:
    topic = opened.topic
    try:
        topic.refresh()
        return topic.version != opened.told_version or topic.is_deleted() != opened.is_told_deleted
    except NoSuchTopicError:
        return not opened.is_told_deleted
    except (MkError, OSError):
        return False  # Whoever uses it is told why it cannot be.


def _names_changed_at(opened: OpenTopics) -> int:
    return os.stat(opened.directory.topics_fd).st_mtime_ns


assert MAX_PARTITIONS <= MAX_NUMBER and MAX_OFFSET > MAX_NUMBER
