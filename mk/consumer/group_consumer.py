"""Reading for a group: the partitions that this member owns, from where the group stands, and committing how far it got.

Delivered, then committed: what is committed was taken by whoever the records were handed to, and nothing else. So a crash
repeats records and never skips one.
Who owns what is for mk.groups.group_coordinator.
"""

from __future__ import annotations

import os
from time import monotonic

from mk.consumer.consumer import Consumer, NothingUnderWay
from mk.consumer.following import FollowingConsumer
from mk.consumer.group_source import GroupSource
from mk.errors import NoSuchTopicError, StorageError, UsageError
from mk.group_errors import ClaimFencedError, CommitBeyondEndError
from mk.groups.claim_slot import NO_OFFSET
from mk.groups.group_coordinator import GroupCoordinator
from mk.groups.offset_store import earlier_incarnation, epoch_before, replicated_start, stands_at
from mk.storage import files
from mk.storage.host import allow_open_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from mk.consumer.consumer import Delivery, FetchedBatch
    from mk.groups.assignor import Key
    from mk.groups.claim import Claim
    from mk.records.record import ConsumerRecord
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic
    from mk.storage.watch import Watch

COMMIT_INTERVAL_MS = 5000
SESSION_TIMEOUT_MS = 10_000
_IDLE_COMMIT_SECONDS = 0.1
"""So soon after the last record, when no more come, where the group stands is committed."""

_TURN_SECONDS = 0.005
"""How often, between two fetches of many, all else is looked after: who comes and goes, what is taken, whether it is over."""

_UNTOLD_SECONDS = 0.5
"""So long a member that is alone looks who comes and has nobody tell it: to set that up, and to end it, takes longer than
reading 100 MB."""

_TEND_SECONDS = 0.1
"""How often, between two records of one fetch, the group is looked after."""

_DOUBT_SECONDS = 0.01
"""How soon to look again whose a partition is that nobody owns, before leaving."""

_LOST_SECONDS = 0.5
"""How often a member that has nothing to deliver looks whether it was taken for stopped."""

_FILES_A_PARTITION = 5
_MANY_PARTITIONS = 32  # Up to so many, the lowest usual limit of 256 open files (macOS's) is enough.

ON_TRUNCATION = ("back", "start", "end", "fail")
"""What to do when the log does not have what the group has committed: back to where it still is the one that was read."""


class GroupConsumer(FollowingConsumer):
    """A FollowingConsumer of the partitions that its group gives to it, which may come and go.

    A record, or a list of `batches` or `poll`, is done when the next one is asked for; what is done is committed now and then,
    when a partition goes to another member, and at `close`. What was in hand when the loop was left is read again.

    Without `follow` it ends when all that it should own is read to the end, as of when it took it. But for the heartbeat,
    everything happens in the caller's thread, between two fetches or in `tend`.
    """

    _delivery: Delivery
    _is_closed = True  # Until there is something to close: one whose making has failed is tidied up, too.

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        directory: LogDirectory,
        group: str,
        follow: bool = False,
        commit: bool = True,
        auto_commit: bool = True,
        commit_interval_ms: int = COMMIT_INTERVAL_MS,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
        on_truncation: str = "back",
        or_skip: bool = False,
        delivery: Delivery | None = None,
        partitions: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        """Join the group, with `options` as in FollowingConsumer; offset only says where partitions begin that it never read.

        commit: False reads as a member and leaves the committed offsets as they are. auto_commit: False has `commit` alone
            say what is taken; what it did not say is read again. or_skip: do not join a group that
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
        self._auto_commit = auto_commit
        self._takes_fetches = delivery is None and auto_commit
        self._handed: dict[GroupSource, ConsumerRecord] = {}
        self._pid = os.getpid()
        self._by_key: dict[Key, GroupSource] = {}
        self.is_stopping = self.is_suspending = self._is_in_doubt = False
        self._next_commit = self._next_lost = self._next_turn = self._next_tend = 0.0
        self._wake_fd, self._waker = os.pipe()  # And not pipe2, which macOS lacks.
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(self._waker, False)
        self._coordinator: GroupCoordinator | None = None
        self._topics = list(topics)
        self._sources = []
        self._watch = None
        self._is_closed = False
        try:
            chosen = tuple(dict.fromkeys(partitions)) if partitions is not None else None
            self._coordinator = self._new_coordinator(directory, chosen)
            if or_skip:
                self.others = self._coordinator.look_for_others()
                self.is_skipped = self.others > 0
            super().__init__(topics, partitions=partitions, delivery=self._delivery, **options)
            if self._positions is not None:
                why = "which ones a member reads changes as others come and go"
                raise UsageError("a group has one offset to begin at", why=why, fix="give it one; nothing was read")
        except BaseException:
            self.close()
            raise
        now = monotonic()
        self._next_commit = now + self._commit_seconds
        self._untold_until = now + _UNTOLD_SECONDS

    def _new_coordinator(self, directory: LogDirectory, partitions: tuple[int, ...] | None) -> GroupCoordinator:
        """Return what tells which partitions are this member's."""
        return GroupCoordinator(
            directory,
            self.group,
            partitions=partitions,
            session_timeout_ms=self._session_timeout_ms,
            wake_fd=self._waker,
        )

    # What the caller does while it has records.

    def took(self, topic: str, partition: int, next_offset: int, leader_epoch: int) -> None:
        """Note that all records of a partition below an offset are taken: what the next commit commits.

        leader_epoch: of the record before that offset. Of a partition that is another member's by now, it is forgotten.
        """
        source = self._source(topic, partition)
        if source is not None:
            source.taken_offset = next_offset
            source.taken_epoch = leader_epoch

    def commit(self) -> None:
        """Commit all records that were given out, also those in hand; it is on disk on return.

        Of what `fetches` gives out, and of what a delivery has, it is what is taken.
        """
        for source, record in self._handed.items():
            self._take(source, record)
        self._handed.clear()
        self._commit_taken()

    def _commit_taken(self) -> None:
        self._next_commit = monotonic() + self._commit_seconds
        self._delivery.settle()
        self._commit_all(list(self._by_key.values()))

    def _commit_all(self, sources: Sequence[GroupSource]) -> None:
        for source in sources:
            self._commit(source)

    def commit_if_due(self) -> None:
        """Commit if the last time is long enough ago: for who takes long over what it was given."""
        if monotonic() >= self._next_commit:
            self._commit_taken()

    def tend(self) -> None:
        """Look after the group: to be called every 100 ms or so by who works on records without asking for more."""
        if self.is_suspending:
            self._suspend()
        now = monotonic()
        self._next_turn = now + _TURN_SECONDS
        if self._watch is not None:
            if self._watch.wait(0):
                self._next_look = 0.0
        elif self._has_to_be_told(now):
            self._watch = self._start_watch()
        self._rebalance(now)
        self.commit_if_due()

    def holds(self, topic: str, partition: int) -> bool:
        """Tell whether a partition is still this member's. To be asked before each hand-over."""
        source = self._source(topic, partition)
        return source is not None and not source.claim.is_fenced()

    def _source(self, topic: str, partition: int) -> GroupSource | None:
        for opened in self._topics:
            if opened.name == topic and (source := self._by_key.get((opened.topic_id, partition))) is not None:
                return source
        return None

    def stop(self) -> None:
        """Have `fetches` end as soon as what it has given out is taken. For signal handlers."""
        self.is_stopping = True
        self._wake()

    def suspend(self) -> None:
        """Have this process stop, as by ^Z, once it has let go of its partitions. For signal handlers."""
        self.is_suspending = True
        self._wake()

    # Reading.

    def __enter__(self) -> GroupConsumer:
        return self

    def __iter__(self) -> Iterator[ConsumerRecord]:
        """Yield the records. With auto_commit, asking for the next one says that the one before is done, and may be committed."""
        for source, records in self._pieces():
            for record in records:
                self._handed[source] = record
                yield record
                if not self._goes_on_with(source):
                    break

    def _lists(self) -> Iterator[list[ConsumerRecord]]:
        from itertools import islice

        for source, records in self._pieces():
            while many := list(islice(records, self._most)):
                self._handed[source] = many[-1]
                yield many
                if not self._goes_on_with(source):
                    break

    def _pieces(self) -> Iterator[tuple[GroupSource, Iterator[ConsumerRecord]]]:
        self._takes_fetches = False
        for fetch in self.fetches():
            source = self._source(fetch[0].topic, fetch[0].partition)
            assert source is not None
            yield source, (record for batch in fetch for record in batch.records())

    def _goes_on_with(self, source: GroupSource) -> bool:
        """Note what was handed out as taken, look after the group now and then, and tell whether the rest of a fetch is wanted."""
        if self._auto_commit and (record := self._handed.pop(source, None)) is not None:
            self._take(source, record)
        if (now := monotonic()) >= self._next_tend:
            # A fetch may be an hour of work: others wait to be given their share, and what is done to be committed.
            self._next_tend = now + _TEND_SECONDS
            self.tend()
        return self._by_key.get(source.key) is source and not self.is_stopping

    def _take(self, source: GroupSource, record: ConsumerRecord) -> None:
        """Note that a record is taken, and those before it, unless its partition is another member's by now."""
        if self._by_key.get(source.key) is source:
            source.taken_offset, source.taken_epoch = record.offset + 1, record.leader_epoch

    def fetches(self) -> Iterator[list[FetchedBatch]]:
        """Yield what comes, see Consumer.fetches. Before each hand-over the partition is proved to be this member's."""
        if self.is_skipped:
            return
        self.tend()
        while not self.is_stopping:
            progress = has_more = is_due = False
            for source in self._next_sources():
                if source.is_complete or self._by_key.get(source.key) is not source:
                    continue
                if self._deadline is not None and self._is_late():
                    return
                if source.is_lost():
                    self._lose(source)
                    continue
                fetch = self._fetch(source)
                if not fetch:
                    continue
                progress = True
                yield fetch
                self._last_taken = now = monotonic()
                if self._takes_fetches and self._by_key.get(source.key) is source:
                    source.taken_offset = fetch[-1].next_offset
                    source.taken_epoch = fetch[-1].batch.leader_epoch
                if self.is_stopping:
                    return
                if self.is_suspending:
                    break
                if now >= self._next_turn:
                    is_due = True
                    self.tend()
                has_more = has_more or source.reader.next_offset < source.reader.high_watermark
            if has_more and not is_due and not self.is_suspending:
                continue
            if not self._go_on(progress):
                return

    def _next_sources(self) -> Sequence[GroupSource]:
        """Return the partitions to look into next."""
        return list(self._by_key.values())

    def close(self) -> None:
        """Commit what is taken, and leave the group. Does nothing when that is done."""
        if self._is_closed:
            return  # Tidied up later, it would ask a delivery that is closed too, whose descriptors may be others' by then.
        coordinator, self._coordinator = self._coordinator, None
        try:
            try:
                for source in list(self._by_key.values()):
                    self._delivery.finish(source.topic.name, source.reader.partition)
            finally:
                if self._pid == os.getpid():  # The partitions of a fork are its parent's.
                    self._commit_taken()  # Also what was taken by then when a signal ends the wait.
        finally:
            if coordinator is not None:
                coordinator.close()
            self._by_key = {}
            super().close()
            # Forgotten first: the handler of a signal in between would write to what is somebody else's by then.
            fds, self._wake_fd, self._waker = (self._wake_fd, self._waker), -1, -1
            for fd in fds:
                if fd >= 0:
                    os.close(fd)
            self._is_closed = True

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
        if self._is_turn_over() or (self._deadline is not None and self._is_late()):
            return False
        is_taken = any(source.taken_offset != source.committed_offset for source in self._by_key.values())
        if is_taken and self._may_commit and now - self._last_taken >= _IDLE_COMMIT_SECONDS:
            self._commit_taken()
            is_taken = False
        seconds = _IDLE_COMMIT_SECONDS if is_taken and self._may_commit else _LOST_SECONDS
        self._wait_for_more(now, _DOUBT_SECONDS if self._is_in_doubt else seconds)
        self._is_in_doubt = False
        return True

    def _wait_for_more(self, now: float, seconds: float) -> None:
        if self._has_come():
            return
        assert self._coordinator is not None
        ends = [self._next_look, now + seconds, self._coordinator.due]
        ends += (end for end in (self._deadline, self._turn_ends) if end is not None)
        if self._idle_seconds is not None:
            ends.append(self._last_taken + self._idle_seconds)
        if self._watch is None:
            self._watch = self._start_watch()  # And looks again before it waits, so that nothing falls between.
        elif self._watch.wait(max(0, int((min(ends) - now) * 1000) + 1), self._has_come):
            self._next_look = now

    def _has_come(self) -> bool:
        # A copy: on a Kafka, partitions come and go within a refresh.
        return any(source.reader.refresh() for source in list(self._by_key.values()) if not source.is_complete)

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

    def _has_to_be_told(self, now: float) -> bool:
        """Tell whether something is to be heard of at once: that others die, or let go of what is to be this member's."""
        coordinator = self._coordinator
        return coordinator is not None and (
            now >= self._untold_until or coordinator.has_others or not coordinator.is_settled
        )

    def _start_watch(self) -> Watch:
        watch = super()._start_watch()
        watch.add_waker(self._wake_fd)
        assert self._coordinator is not None
        self._coordinator.be_told_by(watch)
        self._next_look = 0.0
        return watch

    # Owning.

    def _open_all(self, open_one: Callable[[Topic, int], None]) -> None:
        """Have the group know what this member reads; what it gets of that is opened when it has it."""
        if self.is_skipped or self._coordinator is None:
            return
        count = sum(topic.partitions for topic in self._topics)
        if count > _MANY_PARTITIONS:
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
            source = GroupSource(topic, topic.open_reader(partition, self._buffer), claim)
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
                source.taken_epoch = self._epoch_before(topic, partition, first)
        if self._watch is not None:
            self._watch.add(reader.watch_path)

    def _epoch_before(self, topic: Topic, partition: int, offset: int) -> int:
        return epoch_before(topic, partition, offset)

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
        self._note(self._why_lost(topic, partition))
        self._delivery.lost(topic, partition)
        self._forget(source)
        if self._coordinator is not None:
            self._coordinator.release(source.key)
            self._coordinator.look_again()

    def _why_lost(self, topic: str, partition: int) -> str:
        return (
            f"another member of group {self.group} has taken partition {partition} of {topic}, since this one did not"
            f" move for {self._session_timeout_ms / 1000:g} s or was kicked; what it had not committed is read there again"
        )

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
        self._commit_taken()
        for source in list(self._by_key.values()):
            self._delivery.lost(source.topic.name, source.reader.partition)
            self._forget(source)
        coordinator.leave()
        if self.is_suspending:  # Not if it took so long that it was stopped on the way: once for one ^Z.
            self.is_suspending = False
            os.kill(os.getpid(), SIGSTOP)
        coordinator.subscribe(self._topics)

    # Waking.

    def _wake(self) -> None:
        try:
            os.write(self._waker, b"!")
        except OSError:
            pass  # It is full: it will be read. Or closed: then nobody waits.
