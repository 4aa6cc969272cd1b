"""Reading on where a cursor file says that reading ended; and noting there what was taken.

Whoever takes records says so by `mark`, and they are noted within a second; `close` notes the rest. So what was marked and not
noted, when the process is killed, is read again, and nothing else.
"""

from __future__ import annotations

import os
from stat import S_ISREG
from time import monotonic

from mk.consumer.consumer import Consumer
from mk.consumer.cursor_file import CursorFile, CursorPosition
from mk.consumer.following import FollowingConsumer
from mk.consumer.merging import FollowingMergingConsumer, MergingConsumer
from mk.consumer.offset_spec import OffsetSpec
from mk.errors import CursorBeyondEndError, MkError
from mk.groups.claim_slot import ClaimSlot
from mk.groups.offset_store import epoch_before, stands_at
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mk.consumer.consumer import Position, Source
    from mk.records.record import ConsumerRecord
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

_SAVE_SECONDS = 0.5
"""How often what was marked is noted. A consumer that waits looks around as often, so it is a second at most."""


class RememberingConsumer(Consumer):
    """A Consumer that begins, in each partition, where a cursor file says; where that says nothing, as Consumer does.

    A topic that took the place of one that was read is read from its start, and so is a partition that was added since.
    """

    _is_built = False

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        directory: LogDirectory,
        cursor_file: str,
        printed_to: int | None,
        **options: object,
    ) -> None:
        """Open the partitions, and lock the file until `close`.

        printed_to: where what is marked was written to. If that is a file, it is put on disk before it is noted.

        Raises:
            CursorBeyondEndError: a position is not one of this log. Reading on from there would skip records.
        """
        self._cursor: CursorFile | None = None
        self._directory = directory
        self._is_begun = self._is_dirty = False
        self._last_save = monotonic()
        self._seen: dict[str, int] = {}
        self._by_name: dict[tuple[str, int], Source] = {}
        self._synced_fd = -1
        if printed_to is not None and S_ISREG(os.fstat(printed_to).st_mode):
            self._synced_fd = printed_to
        try:
            self._cursor = CursorFile(cursor_file, directory.directory_id)
        except BaseException:
            for topic in topics:
                topic.close()
            raise
        for position in self._cursor.positions.values():
            self._seen[position.topic_id] = max(self._seen.get(position.topic_id, 0), position.partitions)
        self._is_built = True
        super().__init__(topics, **options)  # type: ignore[arg-type]
        # Before anything is read: what `-o end` left out must not be left out again when records have come.
        self._is_begun = True
        self.save()

    def __iter__(self) -> Iterator[ConsumerRecord]:
        """Yield the records; asking for the next one marks the one before."""
        for (record,) in self.batches(1):
            yield record

    def _lists(self) -> Iterator[list[ConsumerRecord]]:
        """Yield lists of records; asking for the next one marks the one before."""
        from itertools import islice

        for fetch in self.fetches():
            for batch in fetch:
                records = batch.records()
                while many := list(islice(records, self._most)):
                    yield many
                    last = {(record.topic, record.partition): record for record in many}
                    self.mark((*place, record.offset + 1, record.leader_epoch) for place, record in last.items())
                self.mark(batch.positions_behind())
                self.save_if_due()

    def mark(self, positions: Iterable[Position]) -> None:
        """Say that records were taken, up to these positions."""
        assert self._cursor is not None
        for name, partition, offset, leader_epoch in positions:
            topic = self._source(name, partition).topic
            self._set(topic, partition, offset, leader_epoch)

    def save_if_due(self) -> None:
        """Save what was marked if that is some time ago."""
        if self._is_dirty and monotonic() - self._last_save >= _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Put on disk what was marked, the output first. See CursorFile.save."""
        if not self._is_dirty or self._cursor is None:
            return
        if self._synced_fd >= 0:
            files.fdatasync(self._synced_fd)
        self._cursor.save()
        self._is_dirty = False
        self._last_save = monotonic()

    def close(self) -> None:
        """Save, and close all. Also after an error: what was marked was taken."""
        if not self._is_built:
            return  # The file was refused, and nothing opened.
        try:
            if self._is_begun:
                self._is_begun = False
                self.save()
        finally:
            super().close()
            if self._cursor is not None:
                self._cursor.close()
                self._cursor = None

    # Where to begin.

    def _open_all(self, open_one: Callable[[Topic, int], None]) -> None:
        super()._open_all(open_one)
        assert self._cursor is not None
        for source in self._sources:
            topic, reader = source.topic, source.reader
            if (topic.topic_id, reader.partition) in self._cursor.positions:
                continue
            # One that ends before what is asked for has no position until it gets there.
            if source.first_offset <= reader.next_offset:
                epoch = epoch_before(topic, reader.partition, reader.next_offset)
                self._set(topic, reader.partition, reader.next_offset, epoch)
        for topic in self._topics:
            if self._seen.get(topic.topic_id) != topic.partitions:
                self._seen[topic.topic_id] = topic.partitions
                for position in self._cursor.positions.values():
                    if position.topic_id == topic.topic_id:
                        position.partitions = topic.partitions
                        self._is_dirty = True

    def _begin(self, source: Source) -> OffsetSpec | None:
        assert self._cursor is not None
        topic, partition = source.topic, source.reader.partition
        position = self._cursor.positions.get((topic.topic_id, partition))
        if position is not None:
            self._check(source, position)
            return OffsetSpec("at", position.offset)
        seen = self._seen.get(topic.topic_id)
        if seen is None:
            return None if self._took_the_place(topic) else super()._begin(source)
        if partition >= seen:
            return None  # Added since: all that it holds came since.
        return super()._begin(source)

    def _check(self, source: Source, position: CursorPosition) -> None:
        """Raise CursorBeyondEndError unless the log still is the one that was read up to there."""
        assert self._cursor is not None
        topic = source.topic
        slot = ClaimSlot(
            0, topic.topic_id, topic.name, position.partition, 0, position.offset, position.leader_epoch, 0
        )
        end = stands_at("", slot, source.reader)
        if end < position.offset:
            raise CursorBeyondEndError(
                path=self._cursor.path,
                topic=topic.name,
                partition=position.partition,
                offset=position.offset,
                stands_at=end,
            )

    def _took_the_place(self, topic: Topic) -> bool:
        """Tell whether a topic has the name of another one that was read. Positions of one that is gone are dropped."""
        assert self._cursor is not None
        others = {one.topic_id for one in self._cursor.positions.values() if one.topic == topic.name}
        if not others:
            return False
        gone = others - self._topic_ids()
        for key in [key for key in self._cursor.positions if key[0] in gone]:
            del self._cursor.positions[key]
            self._is_dirty = True
        self._seen[topic.topic_id] = 0  # So that its other partitions are judged alike, and this is said once.
        self._note(
            f"topic {topic.name} is another one than the one that was read, which "
            f"{'was deleted' if gone else 'has another name now'}; reading it from its start"
        )
        return True

    def _topic_ids(self) -> set[str]:
        """Return the ids of all topics there are, but for those that cannot be read."""
        ids = set()
        for name in self._directory.topic_names():
            try:
                topic = self._directory.open_topic(name)
            except (MkError, OSError):
                continue
            ids.add(topic.topic_id)
            topic.close()
        return ids

    # What was taken.

    def _set(self, topic: Topic, partition: int, offset: int, leader_epoch: int) -> None:
        assert self._cursor is not None
        partitions = max(self._seen.get(topic.topic_id, 0), partition + 1)
        self._cursor.positions[topic.topic_id, partition] = CursorPosition(
            topic.topic_id, topic.name, partitions, partition, offset, leader_epoch
        )
        self._is_dirty = True

    def _source(self, name: str, partition: int) -> Source:
        """Return the source of a partition, by the name that its topic has now."""
        source = self._by_name.get((name, partition))
        if source is None or source.topic.name != name:
            self._by_name = {(one.topic.name, one.reader.partition): one for one in self._sources}
            source = self._by_name[name, partition]
        return source

    def _go_on(self, progress: bool) -> bool:
        if not progress:
            self.save_if_due()
        return super()._go_on(progress)


class FollowingRememberingConsumer(RememberingConsumer, FollowingConsumer):
    """A RememberingConsumer that goes on at the end."""


class MergingRememberingConsumer(RememberingConsumer, MergingConsumer):
    """A RememberingConsumer of all partitions in the order of the records' times."""


class FollowingMergingRememberingConsumer(RememberingConsumer, FollowingMergingConsumer):
    """The same, going on at the end."""
