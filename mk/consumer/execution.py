"""Running a command for the records that a consumer reads: several at a time, in order where order counts.

Children run in worker threads. The main thread feeds a bounded window, tells the consumer up to where all is done and sends
dead letters; it alone touches the consumer, the dead letters and the cluster. Workers find the next task themselves, so that
a retry that falls due, or the next record of a key, does not wait for the main thread to come round.
"""

from __future__ import annotations

import os
import select
from heapq import heappop, heappush
from math import inf
from random import random
from threading import Condition, Lock, Thread
from time import monotonic

from mk.consumer import verdicts
from mk.consumer.child import Child, Outcome, last_lines
from mk.consumer.child_environment import base_environment, describe_batch, describe_record
from mk.consumer.record_window import RecordWindow, Task, size_of
from mk.errors import MkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from typing import Protocol

    from mk.consumer.child import Output
    from mk.consumer.consumer import FetchedBatch
    from mk.consumer.dead_letters import DeadLetters
    from mk.consumer.record_window import Place
    from mk.records.record import ConsumerRecord

    class Owner(Protocol):
        """What is told how far the records are done."""

        def took(self, topic: str, partition: int, next_offset: int, leader_epoch: int) -> None: ...

        def tend(self) -> None: ...

        def commit(self) -> None: ...


_WINDOW_RECORDS = 1000
_WINDOW_BYTES = 16 << 20
_BATCH_BYTES = 4 << 20
"""Records of one child may be fewer than asked for, rather than larger than this together."""

_TURN_SECONDS = 0.1
"""How often the consumer is tended while there is nothing else to do."""

_STALE_SECONDS = 2.0
"""Of a member of a group that did not look after it: longer than the consumer waits, shorter than others wait for it."""

_MOST_BACKOFF_SECONDS = 300.0
_MOST_DOUBLINGS = 30


class Halted(Exception):
    """No more records are wanted: a signal came, the time is over, or a record has failed for good."""


class Failure:
    """A record that failed for good while nobody takes dead letters, or a command that cannot be run."""

    __slots__ = ("outcome", "task")

    def __init__(self, task: Task, outcome: Outcome) -> None:
        self.task = task
        self.outcome = outcome


class Policy:
    """What to run, and what to do when it fails.

    records_each: None is one record a child, without framing; else at most so many. framed: makes of records what a child
    finds on standard input. retries: of what failed, as against what asks to be tried again. backoff_ms: before the first
    retry; doubled with each.
    """

    __slots__ = ("arguments", "backoff_ms", "framed", "jobs", "output", "records_each", "retries")

    def __init__(
        self,
        arguments: Sequence[str],
        framed: Callable[[Sequence[ConsumerRecord]], bytes],
        *,
        output: Output | None,
        records_each: int | None = None,
        jobs: int = 1,
        retries: int = 3,
        backoff_ms: int = 1000,
    ) -> None:
        self.arguments = arguments
        self.framed = framed
        self.output = output
        self.records_each = records_each
        self.jobs = jobs
        self.retries = retries
        self.backoff_ms = backoff_ms


class NoGroup:
    """Keeps no offsets: the owner where nobody reads on from where we stood."""

    def took(self, topic: str, partition: int, next_offset: int, leader_epoch: int) -> None:
        pass

    def tend(self) -> None:
        pass

    def commit(self) -> None:
        pass


class Execution:
    """Records that are handed out to children, as a consumer and its owner see them: a Delivery.

    owner: what is told how far it is. records_done: how many are done with, dead letters included. dead: how many of them became dead letters. failure: what
    ended it. output_is_closed: it ended because nobody reads standard output any more. has_timed_out: max_time_ms passed.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        dead_letters: DeadLetters | None = None,
        max_time_ms: int | None = None,
    ) -> None:
        self._policy = policy
        self.owner: Owner = NoGroup()
        self._is_shared = False
        self._topic_id_of: Callable[[str], str] = str
        self._dead_letters = dead_letters
        self._deadline = None if max_time_ms is None else monotonic() + max_time_ms / 1000
        self.wake_fd, self._alarm_fd = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self._alarm_fd, False)
        self._poll = select.poll()
        self._poll.register(self.wake_fd, select.POLLIN)
        self._environment = base_environment()
        # Under the lock: all that workers and the main thread share.
        self._lock = Lock()
        self._changed = Condition(self._lock)
        each = policy.records_each or 1
        self._window = RecordWindow(max(_WINDOW_RECORDS, 2 * policy.jobs * each), _WINDOW_BYTES)
        self._retries: list[tuple[float, int, Task]] = []
        self._retries_made = 0
        self._running: dict[Task, Child | None] = {}
        self._finishing: set[Place] = set()
        self._is_halted = False
        self._is_feeding = False
        self._is_left = False
        self._is_closed = False
        self._tended = monotonic()
        self._asleep = 0
        self._threads: list[Thread] = []
        self.failure: Failure | None = None
        self.output_is_closed = False
        self._error: BaseException | None = None
        # The main thread's own.
        self._topic_ids: dict[Place, str] = {}
        self._gathered: dict[Place, list[ConsumerRecord]] = {}
        self._gathered_sizes: dict[Place, int] = {}
        self._gathered_records = self._gathered_bytes = 0
        self._stuck: set[Place] = set()
        self._has_come = False
        self._given_up: set[Place] = set()
        self._next_tend = 0.0
        self.has_timed_out = False
        self.records_done = 0
        self.dead = 0

    def attach(self, *, topic_id_of: Callable[[str], str], owner: Owner | None = None) -> None:
        """Say whose records they are, once a consumer that knows of us is there. owner: a member of a group."""
        self._topic_id_of = topic_id_of
        if owner is not None:
            self.owner = owner
            self._is_shared = True
        self._is_feeding = True
        self._tended = monotonic()

    # For whoever reads.

    def hand_over(self, fetch: Iterable[FetchedBatch]) -> None:
        """Take the records of a fetch, waiting for room. Raises Halted when no more are wanted."""
        self._given_up.clear()
        for batch in fetch:
            place = batch.topic, batch.partition
            self._topic_ids[place] = self._topic_id_of(batch.topic)
            for records in batch.record_slices():
                self._has_come = True
                for record in records:
                    self._wait_for_room(size_of(record))
                    if place in self._given_up:
                        break  # While waiting for room we lost the partition: the rest is read by somebody else.
                    self._take(place, record)
            if place not in self._given_up:
                self._pass_over(place, batch.next_offset, batch.batch.leader_epoch)
        self._settle()

    def drain(self) -> None:
        """Wait until all that was handed over is done with, retries included. Raises Halted if something prevents it."""
        self._start_gathered()
        while True:
            self._settle()
            with self._lock:
                if not self._window.records:
                    self._is_feeding = False
                    return
            self._raise_if_halted()
            self._wait()

    def halt(self) -> None:
        """Start nothing more. For signal handlers too, so it neither waits for a lock nor takes one."""
        self._is_halted = True
        self._alarm()

    def wind_down(self) -> None:
        """Start nothing more, wait for the children that run, and settle what is done then."""
        self.halt()
        self._is_feeding = False
        while True:
            with self._lock:
                self._changed.notify_all()
                if not self._running:
                    break
            self._wait()
            self._settle()
        self._settle()

    def terminate(self) -> None:
        """Ask the running children to end, for whoever leaves without waiting for them."""
        self._is_halted = self._is_left = True
        self._is_feeding = False
        for child in list(self._running.values()):
            if child is not None:
                child.terminate()

    def unfinished(self) -> list[Task]:
        """Return the first task of each partition that is not done with."""
        with self._lock:
            return self._window.unfinished()

    def close(self) -> None:
        """Let the workers end. None of them has a child any more, unless they are left to themselves."""
        with self._lock:
            self._is_halted = self._is_closed = True
            self._changed.notify_all()
            is_idle = not self._running
        if is_idle:
            for thread in self._threads:
                thread.join()
            for fd in (self.wake_fd, self._alarm_fd):
                os.close(fd)

    # For the consumer: a Delivery.

    def settle(self) -> None:
        """Tell the owner what is done by now, and send the dead letters whose turn it is; without waiting.

        Raises Halted when no more records are wanted, which ends the fetches of the consumer that called.
        """
        if self._is_left:
            return
        self._settle()
        self._tended = monotonic()
        if not self._has_come:
            self._start_gathered()  # Nothing came since the last time: more is not to be had now.
        self._has_come = False
        self._raise_if_halted()

    def finish(self, topic: str, partition: int) -> None:
        """Start no more records of a partition, wait for those that run, settle, and forget the rest."""
        if self._is_left:
            return  # Nobody waits any more, and what runs is not counted.
        place = topic, partition
        self._withdraw_gathered(place)
        self._given_up.add(place)
        with self._lock:
            self._window.withdraw(place)
            self._finishing.add(place)
            self._put_off_retries(place)
        while True:
            with self._lock:
                if not any(task.place == place for task in self._running):
                    break
            self._wait(is_tending=False)
            self._settle()
        self._settle()
        self._forget(place)

    def lost(self, topic: str, partition: int) -> None:
        """Forget a partition that somebody else has by now. What runs is not counted."""
        place = topic, partition
        self._withdraw_gathered(place)
        self._given_up.add(place)
        self._forget(place)

    # Feeding.

    def _take(self, place: Place, record: ConsumerRecord) -> None:
        each = self._policy.records_each
        if each is None:
            self._add([record])
            return
        gathered = self._gathered.setdefault(place, [])
        gathered.append(record)
        size = size_of(record)
        self._gathered_records += 1
        self._gathered_bytes += size
        self._gathered_sizes[place] = self._gathered_sizes.get(place, 0) + size
        if len(gathered) >= each or self._gathered_sizes[place] >= _BATCH_BYTES:
            self._add(self._withdraw_gathered(place))

    def _withdraw_gathered(self, place: Place) -> list[ConsumerRecord]:
        records = self._gathered.pop(place, [])
        self._gathered_records -= len(records)
        self._gathered_bytes -= self._gathered_sizes.pop(place, 0)
        return records

    def _start_gathered(self) -> None:
        """Hand over what was gathered of each partition, though it is less than was asked for."""
        for place in list(self._gathered):
            self._add(self._withdraw_gathered(place))

    def _add(self, records: Sequence[ConsumerRecord]) -> None:
        place = records[0].topic, records[0].partition
        task = Task(records, self._lanes(place, records), self._topic_ids[place])
        with self._lock:
            self._window.add(task)
            if self._asleep:
                self._changed.notify()
            elif len(self._threads) < self._policy.jobs:
                thread = Thread(target=self._work, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _lanes(self, place: Place, records: Sequence[ConsumerRecord]) -> Sequence[Hashable]:
        """Return what has to stay in order: with one job the whole partition, else the records of each key."""
        if self._policy.jobs == 1:
            return (place,)
        return [(place, record.key) for record in records if record.key is not None]

    def _pass_over(self, place: Place, next_offset: int, leader_epoch: int) -> None:
        """Say that a partition was read up to `next_offset`, where its last records are gone."""
        if place in self._gathered:
            return  # What is gathered will be counted up to its last record, which is near enough.
        with self._lock:
            if self._window.pass_over(place, next_offset, leader_epoch):
                return
        if place not in self._stuck:
            self.owner.took(*place, next_offset, leader_epoch)

    def _wait_for_room(self, size_bytes: int) -> None:
        while not self._has_room(size_bytes):
            self._start_gathered()
            self._wait()
            self._has_come = True
            self.settle()
        self._raise_if_halted()

    def _has_room(self, size_bytes: int) -> bool:
        with self._lock:
            return self._window.has_room(self._gathered_records + 1, self._gathered_bytes + size_bytes)

    def _raise_if_halted(self) -> None:
        if not self._is_feeding:
            return  # The consumer, which is being closed, asks for what is done.
        if self._deadline is not None and monotonic() >= self._deadline:
            self.has_timed_out = True
            self._is_halted = True
        if self._is_halted:
            raise Halted

    def _wait(self, *, is_tending: bool = True) -> None:
        """Sleep until something has ended, a tenth of a second at most."""
        seconds = _TURN_SECONDS
        if self._deadline is not None and not self._is_halted:
            seconds = min(seconds, max(0.0, self._deadline - monotonic()))
        self._poll.poll(seconds * 1000 + 1)
        if is_tending and monotonic() >= self._next_tend:
            try:
                self.owner.tend()
            except BrokenPipeError:
                self.output_is_closed = self._is_halted = True
            self._next_tend = monotonic() + _TURN_SECONDS
        self._tended = monotonic()

    # Settling.

    def _settle(self) -> None:
        try:
            while os.read(self.wake_fd, 4096):
                pass
        except BlockingIOError:
            pass
        with self._lock:
            finished: dict[Place, list[Task]] = {}
            for task in self._window.take_finished():
                finished.setdefault(task.place, []).append(task)
            error, self._error = self._error, None
        for place, tasks in finished.items():
            if place in self._stuck:
                continue
            # Until all of it went well: what finishes later must not be counted past a dead letter that was not sent.
            self._stuck.add(place)
            try:
                self._settle_partition(place, tasks)
                self._stuck.discard(place)
            except MkError as refused:
                error = error or refused  # Those of other partitions are done all the same.
        if error is not None:
            self._is_halted = True
            raise error

    def _settle_partition(self, place: Place, finished: Sequence[Task]) -> None:
        """Count tasks as done. Before a dead letter is on disk, nothing counts from its record on."""
        first = next((at for at, task in enumerate(finished) if task.result is not None), None)
        if first is not None and self._dead_letters is not None:
            if first:
                self._count(place, finished[:first])
                finished = finished[first:]
            dead = [task for task in finished if task.result is not None]
            for task in dead:
                assert isinstance(task.result, Outcome)
                self._dead_letters.send(
                    task.records,
                    topic_id=task.topic_id,
                    is_batch=self._policy.records_each is not None,
                    status=verdicts.spelled(task.result.status),
                    tries=task.tries,
                    stderr=last_lines(task.result.stderr) or task.result.why.encode(),
                )
            self._dead_letters.flush(place)
            self.dead += sum(len(task.records) for task in dead)
        self._count(place, finished)

    def _count(self, place: Place, finished: Sequence[Task]) -> None:
        self.records_done += sum(len(task.records) for task in finished)
        self.owner.took(*place, finished[-1].next_offset, finished[-1].leader_epoch)

    def _put_off_retries(self, place: Place) -> None:
        """Put off what waits for another try, for ever: it is forgotten soon. Under the lock."""
        self._retries = sorted((inf if task.place == place else due, at, task) for due, at, task in self._retries)

    def _forget(self, place: Place) -> None:
        with self._lock:
            self._window.forget(place)
            for _, _, task in self._retries:
                if task.place == place:
                    self._window.finish(task)
            self._retries = sorted(entry for entry in self._retries if entry[2].place != place)
            self._finishing.discard(place)
        self._stuck.discard(place)
        if self._dead_letters is not None:
            self._dead_letters.release(place)

    # The workers.

    def _work(self) -> None:
        while (task := self._next_task()) is not None:
            try:
                outcome = self._run(task)
                with self._lock:
                    self._judge(task, outcome)
            except BaseException as error:  # noqa: BLE001  the main thread raises it: nobody would see it here
                with self._lock:
                    self._error = self._error or error
            with self._lock:
                del self._running[task]
                self._changed.notify_all()
            self._alarm()

    def _run(self, task: Task) -> Outcome:
        child = self._child(task)
        with self._lock:
            self._running[task] = child
        return child.run()

    def _next_task(self) -> Task | None:
        """Wait for a task to work on. None when there will be none."""
        with self._lock:
            while True:
                if self._is_closed:
                    return None
                seconds = None
                if self._is_stale():
                    seconds = _TURN_SECONDS
                elif not self._is_halted:
                    seconds = self._seconds_to_retry()
                    task = heappop(self._retries)[2] if seconds == 0 else self._window.start()
                    if task is not None:
                        task.tries += 1
                        self._running[task] = None
                        return task
                self._asleep += 1
                self._changed.wait(seconds)
                self._asleep -= 1

    def _is_stale(self) -> bool:
        """Tell whether we were perhaps stopped for so long that others have what we hold: then the main thread looks first."""
        return self._is_shared and monotonic() - self._tended > _STALE_SECONDS

    def _seconds_to_retry(self) -> float | None:
        """Return how long it is until something is to be tried again; None is never."""
        due = self._retries[0][0] if self._retries else inf
        return None if due == inf else max(0.0, due - monotonic())

    def _child(self, task: Task) -> Child:
        policy = self._policy
        if policy.records_each is None:
            described = describe_record(task.records[0], task.topic_id, task.tries)
        else:
            described = describe_batch(task.records, task.topic_id, task.tries)
        return Child(
            policy.arguments,
            {**self._environment, **described},
            policy.framed(task.records),
            output=policy.output,
            keep_stderr=self._dead_letters is not None,
        )

    def _judge(self, task: Task, outcome: Outcome) -> None:
        """Decide what becomes of a task whose child has ended."""
        verdict = verdicts.verdict(outcome.status)
        if outcome.output_is_closed:
            self.output_is_closed = self._is_halted = True
        elif not task.counts or verdict == verdicts.DONE:
            self._window.finish(task)
        elif self._is_halted and (verdict != verdicts.POISON or verdicts.was_ended_by_hand(outcome.status)):
            pass  # Perhaps it was told to stop, as we were: the record is neither done nor bad.
        elif verdict == verdicts.RETRY:
            self._retry(task)
        elif verdict == verdicts.FAILED and task.failures < self._policy.retries:
            task.failures += 1
            self._retry(task)
        elif verdict == verdicts.STOP or self._dead_letters is None:
            self.failure = self.failure or Failure(task, outcome)
            self._is_halted = True
        else:
            task.result = outcome
            self._window.finish(task)

    def _retry(self, task: Task) -> None:
        doubled = self._policy.backoff_ms / 1000 * 2 ** min(task.tries - 1, _MOST_DOUBLINGS)
        # Between half and all of it, so that what failed together does not come back together.
        seconds = min(doubled, _MOST_BACKOFF_SECONDS) * (0.5 + random() / 2)
        due = inf if task.place in self._finishing else monotonic() + seconds
        self._retries_made += 1
        heappush(self._retries, (due, self._retries_made, task))

    def _alarm(self) -> None:
        try:
            os.write(self._alarm_fd, b"!")
        except BlockingIOError:
            pass  # It is full, which wakes as well.
