"""Compacting where a producer has begun a new segment, when its append is acknowledged: nobody else may ever come by."""

from __future__ import annotations

from mk.storage.compaction_plan import compact_after_roll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.topic import Topic


class _Stop(KeyboardInterrupt):
    """Leaves the compaction when stop() is called by a signal handler; never leaves this module."""


class RollCompaction:
    """Compacts partitions of a topic that are due, when there is time. No failure of it is one of the producer.

    An exception of a signal handler may leave it, as ^C does; what it was at is then as it was before. A handler that wants
    the producer to go on with what it has calls stop() instead.

    partitions: in which a new segment was begun since the last run.
    """

    def __init__(self, topic: Topic, *, lock_wait_ms: int) -> None:
        self.partitions: set[int] = set()
        self._topic = topic
        self._lock_wait_ms = lock_wait_ms
        self._is_running = self._is_stopped = False

    def run(self) -> None:
        try:
            self._is_running = True
            if self._is_stopped:
                raise _Stop
            # Two threads may get the same ones: the second finds the first one at it.
            partitions, self.partitions = self.partitions, set()
            for partition in sorted(partitions):
                compact_after_roll(self._topic, partition, lock_wait_ms=self._lock_wait_ms)
            self._is_running = False
        except _Stop:
            pass
        finally:
            self._is_running = False

    def stop(self) -> None:
        """End it here, and have it not begin again. For signal handlers in the thread that runs it."""
        self._is_stopped = True
        if self._is_running:
            self._is_running = False
            raise _Stop
