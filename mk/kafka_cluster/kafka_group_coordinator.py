"""A member's part in a group of Kafka: which partitions the coordinator at the brokers gives to it, and committing.

The library tells of partitions that come and go within a call that asks it for records, and waits there until we are done
with that. What is to be done then is for whoever joined: it is called from there.
"""

from __future__ import annotations

from time import monotonic, sleep

from mk.errors import MkError, NoSuchTopicError, NotFoundError
from mk.group_errors import NoSuchGroupError
from mk.kafka_cluster.group_admin import description_of
from mk.kafka_cluster.group_coordinators import descriptions
from mk.kafka_cluster.kafka_errors import is_unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from confluent_kafka import KafkaError

    from mk.groups.assignor import Key
    from mk.kafka_cluster.group_fetcher import GroupFetcher
    from mk.storage.topic import Topic
    from mk.storage.watch import Watch

    class Member(Protocol):
        """Who reads for the group. Called from within a call of the library, which is not to be asked for records then."""

        def take(self, claims: Sequence[KafkaClaim]) -> dict[Key, int]:
            """Open partitions that are this member's by now, and return at which offset each begins."""

        def give_up(self, keys: Sequence[Key]) -> None:
            """Finish and commit what is under way of partitions that will be other members', and forget them."""

        def lose(self, keys: Sequence[Key]) -> None:
            """Forget partitions that are other members' already."""


NO_OFFSET = NO_EPOCH = -1

COMMITTED, FENCED, LATER = "committed", "fenced", "later"
"""What becomes of a commit: it is stored; it does not count, since others have the partitions; the group is being rebalanced."""

_FENCING = frozenset(("UNKNOWN_MEMBER_ID", "FENCED_INSTANCE_ID", "FENCED_MEMBER_EPOCH", "_ASSIGNMENT_LOST"))
_REBALANCING = frozenset(("REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "STALE_MEMBER_EPOCH"))
"""The group knows this member, which has not heard of the next generation yet. It keeps what the library does not take from it:
given up for that, a partition would be read by nobody."""
_GONE = frozenset(("UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"))
_PAUSE_SECONDS = 0.01
_UNOWNED_SECONDS = 0.2
"""How often the brokers are asked whose the partitions are, by a member that has nothing more to read."""

_LEAVING_SECONDS = 1.0
"""How long it is waited for the library to have told the brokers; else they find out by themselves."""


class Committed:
    """Where the group stands in a partition: -1 if nowhere. leader_epoch: of the record before it, -1 if that is not known."""

    __slots__ = ("leader_epoch", "offset")

    def __init__(self, offset: int, leader_epoch: int) -> None:
        self.offset = offset
        self.leader_epoch = leader_epoch


class KafkaClaim:
    """A partition that is this member's, with the methods of a Claim. committed: as of when it became so."""

    __slots__ = ("_coordinator", "committed", "is_lost", "key")

    def __init__(self, coordinator: KafkaGroupCoordinator, key: Key, committed: Committed) -> None:
        self._coordinator = coordinator
        self.key = key
        self.committed = committed
        self.is_lost = False

    def is_fenced(self) -> bool:
        """Tell whether it is another member's, as far as the library has told."""
        return self.is_lost

    def close(self) -> None:
        """Nothing is held: the coordinator at the brokers takes partitions, and gives them."""


class KafkaGroupCoordinator:
    """With the methods of a GroupCoordinator. owned: the claims on what was given to this member.

    has_failed: the last commit has raised an error, as the next one would.
    """

    def __init__(self, fetcher: GroupFetcher, group: str, member: Member, *, wake: Callable[[], None]) -> None:
        """Prepare to join. wake: ends a wait for records, since something is to be looked at."""
        self.owned: dict[Key, KafkaClaim] = {}
        self._fetcher = fetcher
        self._client = fetcher.client
        self._group = group
        self._member = member
        self._wake = wake
        self._topics: dict[str, Topic] = {}
        self.has_failed = False
        self._is_joined = False
        self._next_proof = 0.0
        self._places: set[tuple[str, int]] = set()
        self._was_unowned, self._next_unowned = False, 0.0

    @property
    def wanted(self) -> set[Key]:
        """What it should own, which is what it owns: what it should not, it gives up when it is told."""
        return set(self.owned)

    @property
    def due(self) -> float:
        """When `tend` has something to do though nothing happens: the library looks after time by itself."""
        return self._next_proof if not self._is_joined else monotonic() + 60

    @property
    def is_settled(self) -> bool:
        """Whether the group has told what is this member's, and is not about to say otherwise, as far as it was told.

        Who reads no topic, as of a pattern that none matches, is told nothing.
        """
        return self._is_joined or not self._topics

    def has_unowned(self) -> bool:
        """Tell whether a partition is about to be given to some member, as far as the brokers tell.

        Where all are given at once, there is none. Where they come and go one by one, one that was taken from a member is given
        to the next one in a second round: both would leave in between, each sure that it is the other's.
        """
        if not self._fetcher.is_incremental:
            return False
        if monotonic() >= self._next_unowned:
            self._was_unowned = self._look_for_unowned()
            self._next_unowned = monotonic() + _UNOWNED_SECONDS
        return self._was_unowned

    def _look_for_unowned(self) -> bool:
        try:
            description = description_of(self._client, self._group)
        except MkError:
            return False  # Whoever may not look, reads what it is given.
        if description.state != self._client.kafka.ConsumerGroupState.STABLE:
            return True
        owned = {
            (one.topic, one.partition)
            for member in description.members
            if member.assignment is not None
            for one in member.assignment.topic_partitions
        }
        return not owned.issuperset(self._places)

    def look_again(self) -> None:
        """Nothing is looked at: the library is told."""

    def be_told_by(self, watch: Watch) -> None:
        """The library tells, in whatever call."""

    def look_for_others(self) -> int:
        """Return how many members there are, before joining."""
        try:
            return len(description_of(self._client, self._group).members)
        except NoSuchGroupError:
            return 0

    def subscribe(self, topics: Sequence[Topic]) -> None:
        """Read these topics from now on; joins the group when called first."""
        wanted = {topic.name: topic for topic in topics}
        before = {name: topic.topic_id for name, topic in self._topics.items()}
        self._topics = wanted
        if {name: topic.topic_id for name, topic in wanted.items()} == before:
            return
        self._is_joined = False
        self._next_proof = monotonic() + self._client.timeout_seconds
        # As of now: of partitions that are made later, the members hear in their own time.
        self._places = {(topic.name, partition) for topic in topics for partition in range(topic.partitions)}
        consumer = self._fetcher.consumer
        if not wanted:
            consumer.unsubscribe()
            return
        consumer.subscribe(sorted(wanted), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def tend(self) -> list[Key]:
        """Let the library tell what has changed. Returns nothing: what is new was taken then.

        Raises:
            PeerUnreachableError: nobody answers who could take this member into the group.
        """
        self._fetcher.tend()
        if not self._is_joined and self._topics and monotonic() >= self._next_proof:
            # To join may take as long as any member needs to give up what it has. That the brokers are there can be told.
            self._next_proof = monotonic() + self._client.timeout_seconds
            found = descriptions(self._client, (self._group,), "group {group} cannot be joined")[self._group]
            if isinstance(found, MkError) and not isinstance(found, NotFoundError):
                raise found
        return []

    def lost(self) -> list[Key]:
        return [key for key, claim in self.owned.items() if claim.is_lost]

    def release(self, key: Key) -> None:
        """Forget a partition. It stays this member's for the brokers until they say otherwise."""
        self.owned.pop(key, None)

    def commit(self, offsets: Mapping[Key, tuple[int, int]]) -> str:
        """Commit offsets, with the leader epoch of the record before each; stored by the brokers when it returns.

        Returns COMMITTED, FENCED or LATER, for all of them.

        Raises:
            NoSuchTopicError: a topic is gone. The others are committed.
            PeerUnreachableError, TryAgainError: the brokers did not take it in time.
        """
        names = {topic.topic_id: name for name, topic in self._topics.items()}
        partition_of = self._client.kafka.TopicPartition
        wanted = [
            partition_of(names[topic_id], partition, offset, leader_epoch=epoch)
            if epoch >= 0
            else partition_of(names[topic_id], partition, offset)
            for (topic_id, partition), (offset, epoch) in offsets.items()
            if topic_id in names
        ]
        end = monotonic() + self._client.timeout_seconds
        self.has_failed = True
        while wanted:
            refused = self._refusal(wanted)
            if refused is None:
                break
            error, topic = refused
            name = error.name()
            if name in _FENCING or name in _REBALANCING:
                self.has_failed = False
                return FENCED if name in _FENCING else LATER
            if name in _GONE:
                raise NoSuchTopicError(topic=topic or wanted[0].topic, directory=self._client.location)
            if not (error.retriable() or is_unreachable(error)) or monotonic() >= end:
                raise self._client.error(
                    error,
                    f"group {self._group} cannot commit",
                    fix="what was read since its last commit will be read again; run it again",
                    group=self._group,
                )
            sleep(_PAUSE_SECONDS)
        self.has_failed = False
        return COMMITTED

    def _refusal(self, wanted: Sequence[Any]) -> tuple[KafkaError, str] | None:
        """Ask for a commit once. Returns what kept it from being done, and in which topic."""
        try:
            answers = self._fetcher.consumer.commit(offsets=list(wanted), asynchronous=False)
        except self._client.kafka.KafkaException as failure:
            return failure.args[0], ""
        return next(((one.error, one.topic) for one in answers if one.error is not None), None)

    def leave(self) -> None:
        """Be no member any more; what this member has should be given up already."""
        if self._topics:
            consumer = self._fetcher.consumer
            consumer.unsubscribe()
            end = monotonic() + _LEAVING_SECONDS
            while consumer.memberid() and monotonic() < end:
                self._fetcher.tend()
                sleep(_PAUSE_SECONDS)
            self._topics = {}
        self.owned = {}
        self._is_joined = False

    def close(self) -> None:
        """Leave the group; the library calls `give_up` for what is left."""
        self._fetcher.leave()
        self.owned = {}
        self._topics = {}

    # Told by the library, within a call of ours.

    def _on_assign(self, consumer: Any, partitions: Sequence[Any]) -> None:
        begins: list[Any] = []
        try:
            if self._fetcher.is_leaving:
                return  # Nobody would read them; the library wants to be answered all the same.
            claims = self._new_claims(consumer, partitions)
            for claim in claims:
                self.owned[claim.key] = claim
            names = {topic.topic_id: name for name, topic in self._topics.items()}
            for (topic_id, partition), offset in self._member.take(claims).items():
                begins.append(self._client.kafka.TopicPartition(names[topic_id], partition, offset))
            self._is_joined = True
        finally:
            # Also after an error, which ends it all: the library waits for an answer.
            self._fetcher.assign(begins)
            self._wake()

    def _on_revoke(self, consumer: Any, partitions: Sequence[Any]) -> None:
        keys = self._keys(partitions)
        self._is_joined = False
        self._next_proof = monotonic() + self._client.timeout_seconds
        try:
            self._member.give_up([key for key in keys if key in self.owned])
        finally:
            for key in keys:
                self.owned.pop(key, None)
            self._fetcher.unassign(partitions)
            self._wake()

    def _on_lost(self, consumer: Any, partitions: Sequence[Any]) -> None:
        keys = self._keys(partitions)
        self._is_joined = False
        self._next_proof = monotonic() + self._client.timeout_seconds
        try:
            for key in keys:
                if key in self.owned:
                    self.owned[key].is_lost = True
            self._member.lose([key for key in keys if key in self.owned])
        finally:
            for key in keys:
                self.owned.pop(key, None)
            self._fetcher.unassign(partitions)
            self._wake()

    def _new_claims(self, consumer: Any, partitions: Sequence[Any]) -> list[KafkaClaim]:
        if not partitions:
            return []
        what = f"the offsets of group {self._group} cannot be read"
        committed = self._client.call(consumer.committed, what, list(partitions), group=self._group)
        claims = []
        for key, one in zip(self._keys(committed), committed):
            if one.error is not None:
                raise self._client.error(one.error, what, group=self._group, topic=one.topic, partition=one.partition)
            epoch = NO_EPOCH if one.leader_epoch is None else one.leader_epoch
            stands = Committed(one.offset, epoch) if one.offset >= 0 else Committed(NO_OFFSET, NO_EPOCH)
            claims.append(KafkaClaim(self, key, stands))
        return [claim for claim in claims if claim.key[0]]

    def _keys(self, partitions: Iterable[Any]) -> list[Key]:
        """Return the keys of partitions; without an id where the topic is not read any more."""
        return [
            (self._topics[one.topic].topic_id if one.topic in self._topics else "", one.partition) for one in partitions
        ]
