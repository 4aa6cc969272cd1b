"""Reading for a group: the partitions that this member owns, from where the group stands, and committing how far it got.

Delivered, then committed: what is committed was taken by whoever the records were handed to, and nothing else. So a crash
repeats records and never skips one.
Who owns what is for mk.groups.group_coordinator.
"""

from __future__ import annotations

import os
from time import monotonic

from mk.consumer.consumer import Consumer, Source
from mk.consumer.following import FollowingConsumer
from mk.errors import NoSuchTopicError, StorageError
from mk.group_errors import ClaimFencedError, CommitBeyondEndError
from mk.groups.claim_slot import NO_OFFSET
from mk.groups.group_coordinator import GroupCoordinator
from mk.groups.offset_store import earlier_incarnation, epoch_before, replicated_start, stands_at
from mk.storage import files
from mk.storage.host import allow_open_files
from mk.storage.partition_reader import PartitionReader
from mk.storage.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Protocol

    from mk.consumer.consumer import FetchedBatch
    from mk.groups.assignor import Key
    from mk.groups.claim import Claim
    from mk.records.record import ConsumerRecord
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic
else:
    Protocol = object

COMMIT_INTERVAL_MS = 5000
SESSION_TIMEOUT_MS = 10_000
_IDLE_COMMIT_SECONDS = 0.1
"""So soon after the last record, when no more come, where the group stands is committed."""

_WATCH_SECONDS = 0.002
"""How often, between two batches, who comes and goes is looked for: each look is a system call."""

_DOUBT_SECONDS = 0.01
"""How soon to look again whose a partition is that nobody owns, before leaving."""

_LOST_SECONDS = 0.5
"""How often a member that has nothing to deliver looks whether it was taken for stopped."""

_FILES_A_PARTITION = 5

ON_TRUNCATION = ("back", "start", "end", "fail")
"""What to do when the log does not have what the group has committed: back to where it still is the one that was read."""


class Delivery(Protocol):
    """Who the records are handed to, as far as the consumer needs to know: what of them has been taken.

    wake_fd: readable when `settle` would have something new, -1 if that never is so.
    """

    wake_fd: int

    def settle(self) -> None:
        """Tell the consumer by `took` what is taken by now. Does not wait."""

    def is_under_way(self) -> bool:
        """Tell whether this member has to stay for what it has handed over: others may come, go or die meanwhile."""

    def finish(self, topic: str, partition: int) -> None:
        """Wait for what is under way of a partition, which is about to be another member's, then settle."""

    def lost(self, topic: str, partition: int) -> None:
        """Forget what is under way of a partition: it is another member's, or will be."""


class GroupSource(Source):
    """A partition that this member owns.

    taken_offset: all below it has been taken; taken_epoch: of the record before it. committed_offset: what is on disk.
    """

    __slots__ = ("claim", "committed_offset", "key", "taken_epoch", "taken_offset")

    def __init__(self, topic: Topic, reader: PartitionReader, claim: Claim) -> None:
        super().__init__(topic, reader)
        self.key = (topic.topic_id, reader.partition)
        self.claim = claim
        self.committed_offset = self.taken_offset = claim.committed.offset
        self.taken_epoch = claim.committed.leader_epoch


class GroupConsumer(FollowingConsumer):
    """A FollowingConsumer of the partitions that its group gives to it, which may come and go.

    Without `follow` it ends when all that it should own is read to the end, as of when it took it. But for the heartbeat,
    everything happens in the caller's thread, between two fetches or in `tend`.
    """

    _delivery: Delivery

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        directory: LogDirectory,
        group: str,
        follow: bool = False,
        commit: bool = True,
        commit_interval_ms: int = COMMIT_INTERVAL_MS,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
        on_truncation: str = "back",
        or_skip: bool = False,
        delivery: Delivery | None = None,
        partitions: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        """Join the group, with `options` as in FollowingConsumer; offset only says where partitions begin that it never read.

        commit: False reads as a member and leaves the committed offsets as they are. or_skip: do not join a group that
            has a live member; is_skipped tells, and others how many there are.
        delivery: who has the records; by default, who asks for the next fetch, or record, has taken those before.

        Raises:
            PermissionDeniedError: a group writes to the directory, and this process may not.
            CommitBeyondEndError: with on_truncation "fail".
        """
        self.group = group
        self.is_skipped = False
        self.others = 0
        self._may_commit = commit
        self._follow = follow
        self._commit_seconds = commit_interval_ms / 1000
        self._session_timeout_ms = session_timeout_ms
        self._on_truncation = on_truncation
        self._delivery = delivery or NothingUnderWay()
        self._takes_fetches = delivery is None
        self._by_key: dict[Key, GroupSource] = {}
        self.is_stopping = self.is_suspending = self._is_in_doubt = False
        self._next_commit = self._next_lost = self._next_watch = 0.0
        self._wake_fd, self._waker = os.pipe()  # And not pipe2, which macOS lacks.
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(self._waker, False)
        watch = Watch([], output_fd=options.get("output_fd"))
        watch.add_waker(self._wake_fd)
        if self._delivery.wake_fd >= 0:
            watch.add_waker(self._delivery.wake_fd)
        self._coordinator: GroupCoordinator | None = None
        self._topics = list(topics)
        self._sources = []
        self._watch = None
        try:
            self._coordinator = GroupCoordinator(
                directory,
                group,
                partitions=tuple(dict.fromkeys(partitions)) if partitions is not None else None,
                session_timeout_ms=session_timeout_ms,
                watch=watch,
                wake_fd=self._waker,
            )
            if or_skip:
                self.others = self._coordinator.look_for_others()
                self.is_skipped = self.others > 0
            super().__init__(topics, partitions=partitions, delivery=self._delivery, **options)
        except BaseException:
            self.close()
            watch.close()
            raise
        self._watch = watch
        for topic in self._topics:
            watch.add_directory(topic.watch_path)
        if self._pattern is not None:
            watch.add_directory(self._pattern.watch_path)
        self._next_commit = monotonic() + self._commit_seconds

    # What the caller does while it has records.

    def took(self, topic: str, partition: int, next_offset: int, leader_epoch: int) -> None:
        """Note that all records of a partition below an offset are taken: what the next commit commits.

        leader_epoch: of the record before that offset. Of a partition that is another member's by now, it is forgotten.
        """
        for source in self._by_key.values():
            if source.reader.partition == partition and source.topic.name == topic:
                source.taken_offset = next_offset
                source.taken_epoch = leader_epoch

    def commit(self) -> None:
        """Commit what is taken; it is on disk on return."""
        self._next_commit = monotonic() + self._commit_seconds
        self._delivery.settle()
        for source in list(self._by_key.values()):
            self._commit(source)

    def commit_if_due(self) -> None:
        """Commit if the last time is long enough ago: for who takes long over what it was given."""
        if monotonic() >= self._next_commit:
            self.commit()

    def tend(self) -> None:
        """Look after the group: to be called every 100 ms or so by who works on records without asking for more."""
        if self.is_suspending:
            self._suspend()
        now = monotonic()
        if now >= self._next_watch:
            self._watch_now()
            self._next_watch = now + _WATCH_SECONDS
        self._rebalance(now)
        self.commit_if_due()

    def holds(self, topic: str, partition: int) -> bool:
        """Tell whether a partition is still this member's. To be asked before each hand-over."""
        for source in self._by_key.values():
            if source.reader.partition == partition and source.topic.name == topic:
                return not source.claim.is_fenced()
        return False

    def stop(self) -> None:
        """Have `fetches` end as soon as what it has given out is taken. For signal handlers."""
        self.is_stopping = True
        self._wake()

    def suspend(self) -> None:
        """Have this process stop, as by ^Z, once it has let go of its partitions. For signal handlers."""
        self.is_suspending = True
        self._wake()

    # Reading.

    def __iter__(self) -> Iterator[ConsumerRecord]:
        self._takes_fetches = False
        for fetch in self.fetches():
            for batch in fetch:
                for record in batch.records():
                    yield record
                    self.took(record.topic, record.partition, record.offset + 1, record.leader_epoch)

    def fetches(self) -> Iterator[list[FetchedBatch]]:
        """Yield what comes, see Consumer.fetches. Before each hand-over the partition is proved to be this member's."""
        if self.is_skipped:
            return
        self.tend()
        while not self.is_stopping:
            progress = False
            for source in list(self._by_key.values()):
                if source.is_complete or self._by_key.get(source.key) is not source:
                    continue
                if self._deadline is not None and self._is_late():
                    return
                if source.claim.is_fenced():
                    self._lose(source)
                    continue
                fetch = self._fetch(source)
                if not fetch:
                    continue
                progress = True
                yield fetch
                self._last_taken = monotonic()
                if self._takes_fetches and self._by_key.get(source.key) is source:
                    source.taken_offset = fetch[-1].next_offset
                    source.taken_epoch = fetch[-1].batch.leader_epoch
                if self.is_stopping:
                    return
                if self.is_suspending:
                    break
                self.tend()
            if not self._go_on(progress):
                return

    def close(self) -> None:
        """Commit what is taken, and leave the group."""
        coordinator, self._coordinator = self._coordinator, None
        try:
            try:
                for source in list(self._by_key.values()):
                    self._delivery.finish(source.topic.name, source.reader.partition)
            finally:
                self.commit()  # Also what was taken by then when a signal ends the wait.
        finally:
            if coordinator is not None:
                coordinator.close()
            self._by_key = {}
            super().close()
            self._close_wakers()

    def _go_on(self, progress: bool) -> bool:
        now = monotonic()
        if self.is_suspending:
            self._suspend()
        if self.is_stopping:
            return False
        if now >= self._next_look:
            self._look_around()
            self._next_look = now + 0.5
        self.tend()
        self._delivery.settle()
        if self._is_over():
            return False
        if progress:
            return True
        if self._idle_seconds is not None and now - self._last_taken >= self._idle_seconds:
            return False
        if self._deadline is not None and self._is_late():
            return False
        is_taken = any(source.taken_offset != source.committed_offset for source in self._by_key.values())
        if is_taken and self._may_commit and now - self._last_taken >= _IDLE_COMMIT_SECONDS:
            self.commit()
            is_taken = False
        seconds = _IDLE_COMMIT_SECONDS if is_taken and self._may_commit else _LOST_SECONDS
        self._wait_for_more(now, _DOUBT_SECONDS if self._is_in_doubt else seconds)
        self._is_in_doubt = False
        return True

    def _wait_for_more(self, now: float, seconds: float) -> None:
        if any(source.reader.refresh() for source in self._by_key.values() if not source.is_complete):
            return
        assert self._coordinator is not None
        ends = [self._next_look, now + seconds, self._coordinator.due]
        if self._deadline is not None:
            ends.append(self._deadline)
        if self._idle_seconds is not None:
            ends.append(self._last_taken + self._idle_seconds)
        assert self._watch is not None
        if self._watch.wait(max(0, int((min(ends) - now) * 1000) + 1)):
            self._next_look = now

    def _is_over(self) -> bool:
        """Tell whether everything that this member should own is read as far as was asked for."""
        if self._follow and self._stop is None:
            return False
        coordinator = self._coordinator
        assert coordinator is not None
        if not coordinator.is_settled or not all(source.is_complete for source in self._sources):
            return False
        if self._delivery.is_under_way():
            # Until that has ended we may get what another member leaves behind, or lose and get back what we have.
            return False
        if coordinator.has_unowned():
            # Otherwise two that leave at once, each sure that it is the other's, would leave a partition unread.
            coordinator.look_again()
            self._is_in_doubt = True
            return False
        return bool(self._sources) or not self._follow

    # Owning.

    def _open_all(self, open_one: Callable[[Topic, int], None]) -> None:
        """Have the group know what this member reads; what it gets of that is opened when it has it."""
        if self.is_skipped or self._coordinator is None:
            return
        count = sum(topic.partitions for topic in self._topics)
        allow_open_files(_FILES_A_PARTITION * count)
        for topic in list(self._topics):
            try:
                if self._pattern is None:
                    for partition in self._wanted(topic):
                        topic.check_partition(partition)
                topic.check_not_deleted()
            except NoSuchTopicError:
                if self._pattern is None:
                    raise
                self._drop(topic)
        self._coordinator.subscribe(self._topics)

    def _rebalance(self, now: float) -> None:
        coordinator = self._coordinator
        if coordinator is None:
            return
        for key in coordinator.tend():
            topic = next(topic for topic in self._topics if topic.topic_id == key[0])
            try:
                self._open_owned(topic, key[1], coordinator.owned[key])
            except NoSuchTopicError:
                coordinator.release(key)
                if self._pattern is None:
                    raise  # Otherwise the next look drops it.
        for key in coordinator.owned.keys() - coordinator.wanted:
            self._release(key)
        if now >= self._next_lost:
            self._next_lost = now + _LOST_SECONDS
            for key in coordinator.lost():
                if key in self._by_key:
                    self._lose(self._by_key[key])

    def _open_owned(self, topic: Topic, partition: int, claim: Claim) -> None:
        with files.about(f"{topic.path}/{partition}"):
            source = GroupSource(topic, PartitionReader(topic, partition, self._buffer), claim)
            self._sources.append(source)
            self._by_key[source.key] = source
            reader = source.reader
            first = self._position(source)
            source.first_offset = first
            if self._follow:
                FollowingConsumer._set_stop(self, source)
            else:
                Consumer._set_stop(self, source)
            if first < reader.log_start_offset:
                self._report(source, [(first, reader.log_start_offset - 1)])
                first = source.first_offset = reader.log_start_offset
            if first > reader.high_watermark:
                first = source.first_offset = reader.high_watermark
                self._note(f"{topic.name} {partition}: ends at offset {first}; the group begins there")
            reader.seek(first)
            if source.taken_offset != first:
                source.taken_offset = first
                source.taken_epoch = epoch_before(topic, partition, first)
        if self._watch is not None:
            self._watch.add(reader.watch_path)

    def _position(self, source: GroupSource) -> int:
        """Return where to read on: where the group stands, here or else where the leader is, or else where `offset` says."""
        topic, reader = source.topic, source.reader
        start, end = reader.log_start_offset, reader.high_watermark
        slot = source.claim.committed
        if slot.offset == NO_OFFSET:
            source.committed_offset = NO_OFFSET
            replicated = replicated_start(topic, self.group, reader)
            if replicated is not None:
                return replicated
            earlier = earlier_incarnation(topic, self.group)
            if earlier is not None:
                return self._truncated(source, earlier, 0)
            if self._first is None or self._first.kind == "committed":
                return start
            return self._first.resolve(start, end, reader.offset_for_time, lambda group: self._committed(source, group))
        stands = stands_at(self.group, slot, reader)
        return slot.offset if stands == slot.offset else self._truncated(source, slot.offset, stands)

    def _truncated(self, source: GroupSource, committed: int, stands: int) -> int:
        """Return where to go on in a log that is not the one in which the group has committed, and say so."""
        reader = source.reader
        error = CommitBeyondEndError(
            group=self.group,
            topic=source.topic.name,
            partition=reader.partition,
            offset=committed,
            stands_at=stands,
            is_member=True,
        )
        if self._on_truncation == "fail":
            raise error
        offset = {"start": reader.log_start_offset, "end": reader.high_watermark}.get(self._on_truncation, stands)
        self._note(f"{error.what}; reading on at {offset}, as --on-truncation {self._on_truncation} says")
        return offset

    def _release(self, key: Key) -> None:
        """Give up a partition that another member should own, after what is under way of it."""
        source = self._by_key.get(key)
        if source is not None:
            self._delivery.finish(source.topic.name, source.reader.partition)
            self._commit(source)
            self._forget(source)
        if self._coordinator is not None:
            self._coordinator.release(key)

    def _commit(self, source: GroupSource) -> None:
        if not self._may_commit or source.taken_offset == source.committed_offset:
            return
        try:
            source.claim.commit(source.taken_offset, source.taken_epoch)
        except ClaimFencedError:
            self._lose(source)
            return
        except StorageError:
            # The claim was let go. Kept, it would be asked again by the commit at close, whose error would hide this one.
            self._forget(source)
            raise
        source.committed_offset = source.taken_offset

    def _lose(self, source: GroupSource) -> None:
        """Let go of a partition that another member has taken, since this one was stopped for too long."""
        if self._by_key.get(source.key) is not source:
            return
        topic, partition = source.topic.name, source.reader.partition
        self._note(
            f"another member of group {self.group} has taken partition {partition} of {topic}, since this one did not"
            f" move for {self._session_timeout_ms / 1000:g} s or was kicked; what it had not committed is read there again"
        )
        self._delivery.lost(topic, partition)
        self._forget(source)
        if self._coordinator is not None:
            self._coordinator.release(source.key)
            self._coordinator.look_again()

    def _forget(self, source: GroupSource) -> None:
        self._by_key.pop(source.key, None)
        if source in self._sources:
            self._sources.remove(source)
            source.reader.close()

    def _drop(self, topic: Topic) -> None:
        for source in [source for source in self._by_key.values() if source.topic is topic]:
            self._delivery.lost(topic.name, source.reader.partition)
            self._by_key.pop(source.key)
            if self._coordinator is not None:
                self._coordinator.release(source.key)
        super()._drop(topic)

    def _suspend(self) -> None:
        """Let go of everything, stop, and be a new member when it goes on."""
        from _signal import SIGSTOP  # type: ignore[import-not-found]

        coordinator = self._coordinator
        assert coordinator is not None
        self.commit()
        for source in list(self._by_key.values()):
            self._delivery.lost(source.topic.name, source.reader.partition)
            self._forget(source)
        coordinator.leave()
        if self.is_suspending:  # Not if it took so long that it was stopped on the way: once for one ^Z.
            self.is_suspending = False
            os.kill(os.getpid(), SIGSTOP)
        coordinator.subscribe(self._topics)

    # Waking.

    def _watch_now(self) -> None:
        if self._watch is not None and self._watch.wait(0):
            self._next_look = 0.0

    def _wake(self) -> None:
        try:
            os.write(self._waker, b"!")
        except OSError:
            pass  # It is full: it will be read. Or closed: then nobody waits.

    def _close_wakers(self) -> None:
        for fd in (self._wake_fd, self._waker):
            if fd >= 0:
                os.close(fd)
        self._wake_fd = self._waker = -1


class NothingUnderWay:
    """The delivery of who has taken all records when it asks for the next."""

    wake_fd = -1

    def settle(self) -> None:
        pass

    def is_under_way(self) -> bool:
        return False

    def finish(self, topic: str, partition: int) -> None:
        pass

    def lost(self, topic: str, partition: int) -> None:
        pass
