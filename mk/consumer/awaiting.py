"""Waiting until topics hold what is asked for, of which nothing is printed: what `mk wait` waits with."""

from __future__ import annotations

from time import sleep

from mk.consumer.following import FollowingConsumer
from mk.errors import NoSuchTopicError
from mk.group_errors import NoSuchGroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from mk.consumer.consumer import Source
    from mk.storage.topic import Topic

_PAUSE_SECONDS = 0.01
"""Between two counts. A busy producer would wake who only counts thousands of times a second."""


class AwaitingConsumer(FollowingConsumer):
    """A FollowingConsumer that also counts what is there without reading it.

    Where it is to begin behind the end, the log is waited for to get there.
    """

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        only_partition: Callable[[Topic], int] | None = None,
        max_time_ms: int | None = None,
        **options: Any,
    ) -> None:
        """Open partitions as FollowingConsumer does, with `options` as there.

        only_partition: tells the one partition of a topic that is read. max_time_ms: 0 ends behind what is there now.
        pattern: topics, and the group that says where to begin, are waited for.
        """
        self._only_partition = only_partition
        self._looks_once = max_time_ms == 0
        super().__init__(topics, max_time_ms=max_time_ms or None, **options)

    @property
    def topics(self) -> dict[str, Topic]:
        """The topics that are there, of those waited for. What has a name again that went is another object."""
        return {topic.name: topic for topic in self._topics}

    @property
    def is_at_end(self) -> bool:
        """Whether all has been read that was there at the last look."""
        return all(
            source.is_complete or source.reader.next_offset >= source.reader.high_watermark for source in self._sources
        )

    def counts(self) -> Iterator[dict[str, int]]:
        """Yield how many records each topic that is there holds from where reading begins, and again when that may differ.

        By their offsets: what compaction took out counts, what was removed does not. Instead of `fetches`.
        """
        while True:
            counted = dict.fromkeys(self.topics, 0)
            for source in self._sources:
                reader = source.reader
                try:
                    reader.refresh()
                except NoSuchTopicError:
                    if not self._may_lose(source.topic):
                        raise
                    continue
                # As if it had been read: a wait is over when there is more than that.
                reader.seek(reader.high_watermark)
                first = max(source.first_offset, reader.log_start_offset)
                counted[source.topic.name] += max(0, reader.high_watermark - first)
            yield counted
            if not self._go_on(False):
                return
            sleep(_PAUSE_SECONDS)

    def _wanted(self, topic: Topic) -> Sequence[int]:
        return super()._wanted(topic) if self._only_partition is None else (self._only_partition(topic),)

    def _set_stop(self, source: Source) -> None:
        # Who only asks would read for ever behind a producer that is as fast.
        source.stop_offset = source.reader.high_watermark if self._looks_once else None

    def _committed(self, source: Source, group: str) -> int | None:
        try:
            return super()._committed(source, group)
        except NoSuchGroupError:
            if self._pattern is None:
                raise
            return None  # It has not read anything as yet, and its first run may be what waits for this one.

    def _look_around(self) -> None:
        """Let go also of what was renamed: it is waited for what has the name, and not for what had it."""
        for topic in list(self._topics):
            if topic.is_deleted():
                continue
            try:
                topic.check_name()
            except NoSuchTopicError:
                if self._pattern is None:
                    raise
                self._drop(topic)
        super()._look_around()

    def _check_range(self) -> None:
        for source in self._sources:
            if source.first_offset > source.reader.high_watermark:
                source.reader.seek(source.reader.high_watermark)

    def _go_on(self, progress: bool) -> bool:
        return progress if self._looks_once else super()._go_on(progress)
