"""Running a command for the records that a consumer reads: what is fed to the workers, and what is done with what they finish.

All of this is the main thread's: it feeds a bounded window, tells the owner of the offsets up to where all is done, and sends
dead letters. It alone touches the consumer, the dead letters and the cluster.
"""

from __future__ import annotations

import os
import select
from time import monotonic

from mk.consumer import verdicts
from mk.consumer.child import Outcome, last_lines, pass_on_last_words
from mk.consumer.record_window import size_of
from mk.consumer.worker_pool import WorkerPool
from mk.errors import MkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from mk.consumer.consumer import FetchedBatch
    from mk.consumer.dead_letters import DeadLetters
    from mk.consumer.record_window import Place, Task
    from mk.consumer.worker_pool import Failure, Policy
    from mk.records.record import ConsumerRecord

    class Owner(Protocol):
        """What is told how far the records are done."""

        def took(self, topic: str, partition: int, next_offset: int, leader_epoch: int) -> None: ...

        def tend(self) -> None: ...

        def commit(self) -> None: ...


_BATCH_BYTES = 4 << 20
"""Records of one child may be fewer than asked for, rather than larger than this together."""

_TURN_SECONDS = 0.1
"""How often the owner is tended while there is nothing else to do."""

_STALE_SECONDS = 2.0
"""Of a member of a group that did not look after it: longer than its consumer waits, shorter than others wait for it."""


class Halted(Exception):
    """No more records are wanted: a signal came, the time is over, or a record has failed for good."""


class NoGroup:
    """Keeps no offsets: the owner where nobody reads on from where we stood."""

    def took(self, topic: str, partition: int, next_offset: int, leader_epoch: int) -> None:
        pass

    def tend(self) -> None:
        pass

    def commit(self) -> None:
        pass


class Execution:
    """Records that are handed out to children, as a consumer sees them: a Delivery.

    owner: what is told how far it is. records_done: how many are done with, dead letters included. dead: how many of them
    became dead letters. has_timed_out: max_time_ms passed.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        dead_letters: DeadLetters | None = None,
        max_time_ms: int | None = None,
    ) -> None:
        self.owner: Owner = NoGroup()
        self.has_timed_out = False
        self.records_done = 0
        self.dead = 0
        self.wake_fd, self._alarm_fd = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self._alarm_fd, False)
        self._poll = select.poll()
        self._poll.register(self.wake_fd, select.POLLIN)
        self._policy = policy
        self._pool = WorkerPool(policy, alarm=self._alarm)
        self._dead_letters = dead_letters
        self._deadline = None if max_time_ms is None else monotonic() + max_time_ms / 1000
        self._topic_id_of: Callable[[str], str] = str
        self._topic_ids: dict[Place, str] = {}
        self._is_member = self._is_feeding = self._is_left = False
        self._next_tend = 0.0
        # Of --batch: what is less than a child should get, and may become more.
        self._gathered: dict[Place, list[ConsumerRecord]] = {}
        self._gathered_sizes: dict[Place, int] = {}
        self._gathered_records = self._gathered_bytes = 0
        self._has_come = False
        self._given_up: set[Place] = set()
        self._stuck: set[Place] = set()

    def attach(self, *, topic_id_of: Callable[[str], str], owner: Owner | None = None) -> None:
        """Say whose records they are, once a consumer that knows of us is there. owner: a member of a group."""
        self._topic_id_of = topic_id_of
        if owner is not None:
            self.owner = owner
            self._is_member = True
        self._is_feeding = True
        self._has_looked()

    @property
    def failure(self) -> Failure | None:
        """What ended it, if that was a record or the command."""
        return self._pool.failure

    @property
    def output_is_closed(self) -> bool:
        """Whether it ended because nobody reads standard output any more."""
        return self._pool.output_is_closed

    # For whoever reads.

    def hand_over(self, fetch: Iterable[FetchedBatch]) -> None:
        """Take the records of a fetch, waiting for room. Raises Halted when no more are wanted."""
        self._given_up.clear()
        for batch in fetch:
            place = batch.topic, batch.partition
            if place in self._given_up:
                continue  # Its topic may be gone, too.
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
            if self._pool.is_done():
                self._is_feeding = False
                return
            self._raise_if_halted()
            self._wait()

    def halt(self) -> None:
        """Start nothing more. For signal handlers too, so it neither waits for a lock nor takes one."""
        self._pool.is_halted = True
        self._alarm()

    def wind_down(self) -> None:
        """Start nothing more, wait for the children that run, and settle what is done then."""
        self.halt()
        self._is_feeding = False
        while self._pool.is_running():
            self._wait()
            self._settle()
        self._settle()

    def commit(self) -> None:
        """Have the owner commit what is done, once nothing more is handed over. Never raises Halted."""
        self._is_feeding = False
        self.owner.commit()

    def terminate(self) -> None:
        """Ask the running children to end, for whoever leaves without waiting for them."""
        self._is_left = True
        self._is_feeding = False
        self._pool.terminate()

    def unfinished(self) -> list[Task]:
        """Return the first task of each partition that is not done with."""
        return self._pool.unfinished()

    def close(self) -> None:
        """Let the workers end, all of whose children have. From then on there is nothing to settle."""
        self._is_left = True
        self._pool.close()
        pass_on_last_words()
        fds = self.wake_fd, self._alarm_fd
        # First, since a signal may come in between: its handler would write to what is somebody else's by then.
        self.wake_fd = self._alarm_fd = -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    # For the consumer: a Delivery.

    def settle(self) -> None:
        """Tell the owner what is done by now, and send the dead letters whose turn it is; without waiting.

        Raises Halted when no more records are wanted, which ends the fetches of the consumer that called.
        """
        if self._is_left:
            return
        self._settle()
        self._has_looked()
        if not self._has_come:
            self._start_gathered()  # Nothing came since the last time: more is not to be had now.
        self._has_come = False
        self._raise_if_halted()

    def is_under_way(self) -> bool:
        """Tell whether records are still worked on, or wait to be."""
        return bool(self._gathered) or not self._pool.is_done()

    def finish(self, topic: str, partition: int) -> None:
        """Start no more records of a partition, wait for those that run, settle, and forget the rest."""
        if self._is_left:
            return  # Nobody waits any more, and what runs is not counted.
        place = topic, partition
        self._withdraw_gathered(place)
        self._given_up.add(place)
        self._pool.withdraw(place)
        while self._pool.is_running(place):
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
        self._pool.add(place, records, self._topic_ids[place])

    def _pass_over(self, place: Place, next_offset: int, leader_epoch: int) -> None:
        """Say that a partition was read up to `next_offset`, where its last records are gone."""
        if place in self._gathered:
            return  # What is gathered will be counted up to its last record, which is near enough.
        if not self._pool.pass_over(place, next_offset, leader_epoch) and place not in self._stuck:
            self.owner.took(*place, next_offset, leader_epoch)

    def _wait_for_room(self, size_bytes: int) -> None:
        while not self._has_room(size_bytes):
            self._start_gathered()
            self._wait()
            self._has_come = True
            self.settle()
        self._raise_if_halted()

    def _has_room(self, size_bytes: int) -> bool:
        return self._pool.has_room(self._gathered_records + 1, self._gathered_bytes + size_bytes)

    def _raise_if_halted(self) -> None:
        if not self._is_feeding:
            return  # The consumer, which is being closed, asks for what is done.
        if self._deadline is not None and monotonic() >= self._deadline:
            self.has_timed_out = True
            self._pool.is_halted = True
        if self._pool.is_halted:
            raise Halted

    def _wait(self, *, is_tending: bool = True) -> None:
        """Sleep until something has ended, a tenth of a second at most."""
        seconds = _TURN_SECONDS
        if self._deadline is not None and not self._pool.is_halted:
            seconds = min(seconds, max(0.0, self._deadline - monotonic()))
        self._poll.poll(seconds * 1000 + 1)
        if is_tending and monotonic() >= self._next_tend:
            try:
                self.owner.tend()
            except BrokenPipeError:
                self._pool.output_is_closed = self._pool.is_halted = True
            self._next_tend = monotonic() + _TURN_SECONDS
        # Inside finish() the owner is busy with us. If we were stopped meanwhile, it has to look before anything is started.
        if is_tending or monotonic() <= self._pool.may_start_until:
            self._has_looked()

    def _has_looked(self) -> None:
        """Note that the owner was tended. A member that was stopped for too long starts nothing before it has looked again."""
        if self._is_member:
            self._pool.may_start_until = monotonic() + _STALE_SECONDS

    # Settling.

    def _settle(self) -> None:
        try:
            while os.read(self.wake_fd, 4096):
                pass
        except BlockingIOError:
            pass
        finished = self._pool.take_finished()
        error: MkError | None = None
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
            self._pool.is_halted = True
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

    def _forget(self, place: Place) -> None:
        self._pool.forget(place)
        self._stuck.discard(place)
        if self._dead_letters is not None:
            self._dead_letters.release(place)

    def _alarm(self) -> None:
        try:
            os.write(self._alarm_fd, b"!")
        except OSError:
            pass  # It is full, which wakes as well. Or closed: then nobody waits.
