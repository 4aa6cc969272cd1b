"""Worker threads that run a command for records, each when its turn comes, and judge by the exit status what becomes of them.

Threads wait for children; they touch nothing else. Which records there are, and what is done with those that are finished, is
for the main thread (execution.py). Workers find the next task themselves, so that a retry that falls due, or the next record
of a key, does not wait for the main thread to come round.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from random import random
from threading import Condition, Lock, Thread
from time import monotonic

from mk.consumer import verdicts
from mk.consumer.child import Child, Outcome
from mk.consumer.child_environment import base_environment, describe_batch, describe_record
from mk.consumer.record_window import RecordWindow, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from mk.consumer.child import Output
    from mk.consumer.record_window import Place
    from mk.records.record import ConsumerRecord

_WINDOW_RECORDS = 1000
_WINDOW_BYTES = 16 << 20
_MOST_BACKOFF_SECONDS = 300.0
_MOST_DOUBLINGS = 30
_STALE_TURN_SECONDS = 0.1


class Policy:
    """What to run, and what to do when it fails.

    records_each: None is one record a child, without framing; else at most so many. framed: makes of records what a child
    finds on standard input. output: see Child. retries: of what failed, as against what asks to be tried again. backoff_ms:
    before the first retry; doubled with each. has_dead_letters: whether what failed for good is given back as finished.
    """

    __slots__ = (
        "arguments",
        "backoff_ms",
        "framed",
        "has_dead_letters",
        "jobs",
        "output",
        "records_each",
        "retries",
    )

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
        has_dead_letters: bool = False,
    ) -> None:
        self.arguments = arguments
        self.framed = framed
        self.output = output
        self.records_each = records_each
        self.jobs = jobs
        self.retries = retries
        self.backoff_ms = backoff_ms
        self.has_dead_letters = has_dead_letters


class Failure:
    """A task that failed for good while nobody takes dead letters, or a command that cannot be run."""

    __slots__ = ("outcome", "task")

    def __init__(self, task: Task, outcome: Outcome) -> None:
        self.task = task
        self.outcome = outcome


class WorkerPool:
    """At most `policy.jobs` children at a time. A finished task whose `result` is an Outcome is a dead letter.

    is_halted: nothing more is started; set by whoever wants that, also by a signal handler. failure: what halted it.
    output_is_closed: it is halted because nobody reads standard output any more. may_start_until: by this time the main thread
    has looked whether the records are still ours, or nothing is started.
    """

    def __init__(self, policy: Policy, *, alarm: Callable[[], None]) -> None:
        """alarm: called by a worker whose child has ended, not after `close`, and waits for nothing. Threads begin with the first
        tasks."""
        self.policy = policy
        self.is_halted = False
        self.output_is_closed = False
        self.failure: Failure | None = None
        self.may_start_until = inf
        self._alarm = alarm
        self._environment = base_environment()
        self._threads: list[Thread] = []
        self._lock = Lock()
        self._changed = Condition(self._lock)
        # Under the lock: all that follows.
        each = policy.records_each or 1
        self._window = RecordWindow(max(_WINDOW_RECORDS, 2 * policy.jobs * each), _WINDOW_BYTES)
        self._retries: list[tuple[float, int, Task]] = []
        self._retries_made = 0
        self._running: dict[Task, Child | None] = {}
        self._withdrawn: set[Place] = set()
        self._is_closed = False
        self._error: BaseException | None = None

    # For the main thread.

    def has_room(self, records: int, size_bytes: int) -> bool:
        with self._lock:
            return self._window.has_room(records, size_bytes)

    def add(self, place: Place, records: Sequence[ConsumerRecord], topic_id: str) -> None:
        """Have some records of one partition worked on, by one child."""
        task = Task(records, self._lanes(place, records), topic_id)
        with self._lock:
            self._window.add(task)
            self._changed.notify()
            # Also beside one that sleeps: that one may have been woken for a task before this, and not be up yet.
            if len(self._threads) < self.policy.jobs:
                thread = Thread(target=self._work, daemon=True)
                self._threads.append(thread)
                thread.start()

    def pass_over(self, place: Place, next_offset: int, leader_epoch: int) -> bool:
        """See RecordWindow."""
        with self._lock:
            return self._window.pass_over(place, next_offset, leader_epoch)

    def take_finished(self) -> dict[Place, list[Task]]:
        """Take what is finished in each partition, up to the first task that is not. Raises what a worker met instead."""
        finished: dict[Place, list[Task]] = {}
        with self._lock:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            for task in self._window.take_finished():
                finished.setdefault(task.place, []).append(task)
        return finished

    def withdraw(self, place: Place) -> None:
        """Start nothing more of a partition, which is then to be forgotten."""
        with self._lock:
            self._window.withdraw(place)
            self._withdrawn.add(place)
            # What waits for another try waits for ever. It stays in its lanes until it is forgotten.
            self._retries = sorted((inf if task.place == place else due, at, task) for due, at, task in self._retries)

    def forget(self, place: Place) -> None:
        """Forget a partition, with what is running: that does not count any more."""
        with self._lock:
            self._window.forget(place)
            for _, _, task in self._retries:
                if task.place == place:
                    self._window.finish(task)
            self._retries = sorted(entry for entry in self._retries if entry[2].place != place)
            self._withdrawn.discard(place)
            self._changed.notify_all()

    def is_running(self, place: Place | None = None) -> bool:
        """Tell whether there are children, of a partition or at all."""
        with self._lock:
            return any(place is None or task.place == place for task in self._running)

    def is_done(self) -> bool:
        """Tell whether there is nothing to work on any more."""
        with self._lock:
            return not self._window.records and not self._running

    def unfinished(self) -> list[Task]:
        """Return the first task of each partition that is not finished."""
        with self._lock:
            return self._window.unfinished()

    def terminate(self) -> None:
        """Ask the children that run to end. Without the lock, since it is called when a signal has broken off anything."""
        self.is_halted = True
        for child in list(self._running.values()):
            if child is not None:
                child.terminate()

    def close(self) -> None:
        """Let the threads end. Those whose child runs are left to it."""
        with self._lock:
            self.is_halted = self._is_closed = True
            self._changed.notify_all()
            is_idle = not self._running
        if is_idle:
            for thread in self._threads:
                thread.join()

    def _lanes(self, place: Place, records: Sequence[ConsumerRecord]) -> Sequence[Hashable]:
        """Return what has to stay in order: with one job the whole partition, else the records of each key."""
        if self.policy.jobs == 1:
            return (place,)
        return [(place, record.key) for record in records if record.key is not None]

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
                    self.is_halted = True
            with self._lock:
                del self._running[task]
                self._changed.notify_all()
                if not self._is_closed:  # Else the descriptor may be somebody else's.
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
                if monotonic() > self.may_start_until:
                    seconds = _STALE_TURN_SECONDS  # We were stopped, perhaps: others may have what we hold.
                elif not self.is_halted:
                    seconds = self._seconds_to_retry()
                    task = heappop(self._retries)[2] if seconds == 0 else self._window.start()
                    if task is not None:
                        task.tries += 1
                        self._running[task] = None
                        return task
                self._changed.wait(seconds)

    def _seconds_to_retry(self) -> float | None:
        """Return how long it is until something is to be tried again; None is never."""
        due = self._retries[0][0] if self._retries else inf
        return None if due == inf else max(0.0, due - monotonic())

    def _child(self, task: Task) -> Child:
        policy = self.policy
        if policy.records_each is None:
            described = describe_record(task.records[0], task.topic_id, task.tries)
        else:
            described = describe_batch(task.records, task.topic_id, task.tries)
        return Child(
            policy.arguments,
            {**self._environment, **described},
            policy.framed(task.records),
            output=policy.output,
            keep_stderr=policy.has_dead_letters,
        )

    def _judge(self, task: Task, outcome: Outcome) -> None:
        """Decide what becomes of a task whose child has ended."""
        verdict = verdicts.verdict(outcome.status)
        if outcome.output_is_closed:
            self.output_is_closed = self.is_halted = True
        elif not task.counts or verdict == verdicts.DONE:
            self._window.finish(task)
        elif self.is_halted and (verdict != verdicts.POISON or verdicts.was_ended_by_hand(outcome.status)):
            pass  # Perhaps it was told to stop, as we were: the record is neither done nor bad.
        elif verdict == verdicts.RETRY:
            self._retry(task)
        elif verdict == verdicts.FAILED and task.failures < self.policy.retries:
            task.failures += 1
            self._retry(task)
        elif verdict == verdicts.STOP or not self.policy.has_dead_letters:
            self.failure = self.failure or Failure(task, outcome)
            self.is_halted = True
        else:
            task.result = outcome
            self._window.finish(task)

    def _retry(self, task: Task) -> None:
        doubled = self.policy.backoff_ms / 1000 * 2 ** min(task.tries - 1, _MOST_DOUBLINGS)
        # Between half and all of it, so that what failed together does not come back together.
        seconds = min(doubled, _MOST_BACKOFF_SECONDS) * (0.5 + random() / 2)
        due = inf if task.place in self._withdrawn else monotonic() + seconds
        self._retries_made += 1
        heappush(self._retries, (due, self._retries_made, task))
