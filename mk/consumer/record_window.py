"""Records that were read and are not yet all done: which may be worked on now, and up to where a partition is done.

Pure bookkeeping, for whoever runs several things at once: no clock, no processes, no locks of its own.

What is worked on at once is a Task: a record, or some of one partition. Tasks that share a lane run one after another, in
the order in which they were added; others in any order. Whatever the order in which tasks finish, each partition gives
them back in the order in which they were added, as far as all before them are finished too: so its offset never runs ahead
of a record that is still being worked on.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from mk.records.record import ConsumerRecord

    Place = tuple[str, int]

_WAITING = 0
_RUNNING = 1
_FINISHED = 2
_FORGOTTEN = 3


class Task:
    """Some records of one partition that are handed over together, in offset order; at least one.

    next_offset: where the partition stands when they are done; records in between are gone. lanes: what it has to wait its
    turn for; a lane belongs to one partition. topic_id, tries, failures, result: for whoever works on it.
    """

    __slots__ = (
        "_blocked_by",
        "_number",
        "_state",
        "failures",
        "lanes",
        "leader_epoch",
        "next_offset",
        "place",
        "records",
        "result",
        "size_bytes",
        "topic_id",
        "tries",
    )

    def __init__(self, records: Sequence[ConsumerRecord], lanes: Iterable[Hashable] = (), topic_id: str = "") -> None:
        first, last = records[0], records[-1]
        self.place = first.topic, first.partition
        self.records = records
        self.lanes = tuple(dict.fromkeys(lanes))
        self.next_offset = last.offset + 1
        self.leader_epoch = last.leader_epoch
        self.size_bytes = sum(map(size_of, records))
        self.topic_id = topic_id
        self.tries = 0
        self.failures = 0
        self.result: object = None
        self._number = -1
        self._blocked_by = 0
        self._state = _WAITING

    @property
    def first_offset(self) -> int:
        return self.records[0].offset

    @property
    def last_offset(self) -> int:
        return self.records[-1].offset

    @property
    def counts(self) -> bool:
        """Whether anybody still wants to know how it ends: not when its partition was given up meanwhile."""
        return self._state != _FORGOTTEN


def size_of(record: ConsumerRecord) -> int:
    """Return about how many bytes a record takes while it waits."""
    size = 200 + len(record.value or b"") + len(record.key or b"")
    for name, value in record.headers:
        size += 100 + len(name) + len(value or b"")
    return size


class RecordWindow:
    """The tasks between being added and being given back.

    Bounded: at most `most_records` records and `most_bytes` bytes, but one task whatever its size. Finished tasks that wait
    for others before them count too: they are what a crash would repeat.
    """

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._tasks: dict[Place, deque[Task]] = {}
        self._lanes: dict[Hashable, deque[Task]] = {}
        self._startable: list[tuple[int, Task]] = []
        self._added = 0
        self.records = 0
        self.size_bytes = 0

    def has_room(self, records: int = 1, size_bytes: int = 0) -> bool:
        """Tell whether so much more may be added now."""
        return not self.records or (
            self.records + records <= self._most_records and self.size_bytes + size_bytes <= self._most_bytes
        )

    def add(self, task: Task) -> None:
        """Take a task, behind all that were added before it."""
        task._number = self._added
        self._added += 1
        self.records += len(task.records)
        self.size_bytes += task.size_bytes
        self._tasks.setdefault(task.place, deque()).append(task)
        for lane in task.lanes:
            queue = self._lanes.setdefault(lane, deque())
            task._blocked_by += bool(queue)
            queue.append(task)
        if not task._blocked_by:
            heappush(self._startable, (task._number, task))

    def start(self) -> Task | None:
        """Return the oldest task whose turn it is in all of its lanes, which then is being worked on; None without one."""
        while self._startable:
            task = heappop(self._startable)[1]
            if task._state == _WAITING:
                task._state = _RUNNING
                return task
        return None

    def finish(self, task: Task) -> None:
        """Say that a task is done, in whatever way, so that those behind it in its lanes may start."""
        for lane in task.lanes:
            queue = self._lanes[lane]
            assert queue[0] is task
            queue.popleft()
            if not queue:
                del self._lanes[lane]
                continue
            behind = queue[0]
            behind._blocked_by -= 1
            if not behind._blocked_by:
                heappush(self._startable, (behind._number, behind))
        if task._state == _RUNNING:
            task._state = _FINISHED

    def take_finished(self) -> Iterator[Task]:
        """Yield, and let go of, the tasks of each partition that are finished, up to the first that is not."""
        for place in list(self._tasks):
            yield from self.take_finished_of(place)

    def take_finished_of(self, place: Place) -> Iterator[Task]:
        """Do so for one partition."""
        queue = self._tasks.get(place)
        while queue and queue[0]._state == _FINISHED:
            task = queue.popleft()
            self._count_out(task)
            if not queue:
                del self._tasks[place]
            yield task

    def pass_over(self, place: Place, next_offset: int, leader_epoch: int) -> bool:
        """Say that a partition has no records up to `next_offset`. False if nothing of it is here that could remember it."""
        queue = self._tasks.get(place)
        if not queue:
            return False
        queue[-1].next_offset = max(queue[-1].next_offset, next_offset)
        queue[-1].leader_epoch = leader_epoch
        return True

    def withdraw(self, place: Place) -> None:
        """Forget the tasks of a partition that were not started, and what stands behind the first of them.

        What was done behind it cannot be given back: the offset would pass over a record that nobody has worked on.
        """
        queue = self._tasks.get(place, ())
        first = next((at for at, task in enumerate(queue) if task._state == _WAITING), None)
        if first is None:
            return
        kept = list(queue)
        for task in kept[first:]:
            if task._state == _WAITING:
                self._leave_lanes(task)
            self._count_out(task)
            task._state = _FORGOTTEN
        if first:
            self._tasks[place] = deque(kept[:first])
        else:
            del self._tasks[place]

    def forget(self, place: Place) -> None:
        """Forget a partition: what is being worked on does not count any more.

        It stays in its lanes until it is finished. The partition may come back before that, and another record of the same
        key must not run beside it.
        """
        for task in self._tasks.pop(place, ()):
            if task._state == _WAITING:
                self._leave_lanes(task)
            self._count_out(task)
            task._state = _FORGOTTEN

    def unfinished(self) -> list[Task]:
        """Return the first task of each partition that is not finished."""
        firsts = (next((task for task in queue if task._state != _FINISHED), None) for queue in self._tasks.values())
        return [task for task in firsts if task is not None]

    def _leave_lanes(self, task: Task) -> None:
        """Take out a task that waits. All behind it in its lanes are of the same partition, and go with it."""
        for lane in task.lanes:
            queue = self._lanes[lane]
            queue.remove(task)
            if not queue:
                del self._lanes[lane]

    def _count_out(self, task: Task) -> None:
        self.records -= len(task.records)
        self.size_bytes -= task.size_bytes
