"""Reading on: waiting for records, partitions and topics that come, for as long as it was said."""

from __future__ import annotations

from time import monotonic

from mk.consumer.consumer import Consumer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from mk.consumer.consumer import FetchedBatch, Source
    from mk.storage.topic import Topic
    from mk.storage.watch import Watch

_LOOK_SECONDS = 0.5
"""How often a following consumer looks for topics and partitions that came or went, where it is not told of them."""

_LATE_MS = 1000
"""Records are stamped before they are visible: flush.ms is how long a stream may gather them."""


class FollowingConsumer(Consumer):
    """A Consumer that goes on at the end. It ends when every partition has reached `stop`, or nothing comes any more.

    Partitions that are added are taken up, and topics of a pattern that appear: they are read as if they had been there
    from the beginning, empty. A topic of a pattern that is deleted is dropped.
    """

    _MEANWHILE = ", waiting for one"

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        idle_ms: int | None = None,
        output_fd: int | None = None,
        open_watch: Callable[..., Watch] | None = None,
        **options: Any,
    ) -> None:
        """Open partitions as Consumer does, with `options` as there.

        stop: where reading ends, never by default. What was not written yet is waited for; a time, until it has passed.
        idle_ms: end when nothing came for so long, counted from when the last batch was taken, or from now.
        output_fd: a wait ends with BrokenPipeError when nobody reads this pipe any more.
        open_watch: makes what a wait waits with, as Watch is made; None is Watch.
        """
        self._open_watch = open_watch
        self._idle_seconds = None if idle_ms is None else idle_ms / 1000
        self._output_fd = output_fd
        self._watch: Watch | None = None
        super().__init__(topics, **options)
        self._last_taken = self._next_look = monotonic()

    def fetches(self) -> Iterator[list[FetchedBatch]]:
        """Yield what comes, see Consumer.fetches."""
        for fetch in super().fetches():
            yield fetch
            self._last_taken = monotonic()

    def close(self) -> None:
        super().close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _set_stop(self, source: Source) -> None:
        if self._stop is None:
            return
        offset = self._stop_offset(source, self._stop)
        if self._stop.kind == "time" and offset == source.reader.high_watermark:
            source.stop_time_ms = self._stop.value
        else:
            source.stop_offset = offset

    def _open_new(self, topic: Topic, partition: int) -> None:
        """Open a partition that appeared while following: all that it holds came since."""
        source = self._open_reader(topic, partition)
        position = self._begin(source)
        if position is not None and position.kind == "at":
            source.first_offset = position.value
        if self._stop is not None and self._stop.kind == "time":
            self._set_stop(source)
        elif self._stop is not None:
            source.stop_offset = self._stop.value if self._stop.kind in ("at", "after-start") else 0
        if self._watch is not None:
            self._watch.add(source.reader.watch_path)

    def _go_on(self, progress: bool) -> bool:
        """Between two rounds of following: wait if the last one brought nothing. False when it is over."""
        if self._delivery is not None:
            self._delivery.settle()
        now = monotonic()
        if now >= self._next_look:
            self._look_around()
            self._next_look = now + _LOOK_SECONDS
        if self._sources and all(source.is_complete for source in self._sources):
            return False
        if progress:
            return True
        if self._idle_seconds is not None and now - self._last_taken >= self._idle_seconds:
            return False
        if self._is_turn_over() or (self._deadline is not None and self._is_late()):
            return False
        self._wait(now)
        return True

    def _wait(self, now: float) -> None:
        """Sleep until there may be more. The watch is set up before the last look, so that nothing falls between."""
        if self._watch is None:
            self._watch = self._start_watch()
            self._next_look = now
        elif not self._has_come():
            ends = [self._next_look]
            ends += (end for end in (self._deadline, self._turn_ends) if end is not None)
            if self._idle_seconds is not None:
                ends.append(self._last_taken + self._idle_seconds)
            if self._watch.wait(max(0, int((min(ends) - now) * 1000) + 1), self._has_come):
                self._next_look = now

    def _has_come(self) -> bool:
        """Tell whether there is more to read."""
        return any(source.reader.refresh() for source in self._sources if self._awaits(source))

    def _start_watch(self) -> Watch:
        if self._open_watch is None:
            from mk.storage.watch import Watch

            self._open_watch = Watch
        watch = self._open_watch([source.reader.watch_path for source in self._sources], output_fd=self._output_fd)
        if self._delivery is not None and self._delivery.wake_fd >= 0:
            watch.add_waker(self._delivery.wake_fd)
        for topic in self._topics:
            watch.add_directory(topic.watch_path)
        if self._pattern is not None:
            watch.add_directory(self._pattern.watch_path)
        return watch

    def _awaits(self, source: Source) -> bool:
        """Tell whether a wait is over when there is something new in this partition."""
        return not source.is_complete

    def _look_around(self) -> None:
        """Take up what appeared, let go of what was deleted, and end partitions whose time to stop has passed.

        Raises:
            NoSuchTopicError: a topic that was named is gone.
        """
        for topic in list(self._topics):
            topic.refresh()
            if self._pattern is None:
                topic.check_not_deleted()
            elif topic.is_deleted():
                self._drop(topic)
        if self._pattern is not None:
            for topic in self._pattern.open_new(self._topics):
                self._topics.append(topic)
                if self._watch is not None:
                    self._watch.add_directory(topic.watch_path)
        self._open_all(self._open_new)
        if self._stop is not None and self._stop.kind == "time":
            from mk.clock import now_ms

            if now_ms() > self._stop.value + _LATE_MS:
                for source in self._sources:
                    if source.stop_time_ms is not None and not source.reader.refresh():
                        source.stop_offset = source.reader.high_watermark

    def _may_lose(self, topic: Topic) -> bool:
        return self._pattern is not None  # The next look drops it.
