"""Which partitions of a group this member should own, and owning them: run by each member, with no server.

Members come to the same assignment from what is in the directory (membership, assignor); a partition changes hands when the
one who should not own it lets go of its claim, or dies, and the one who should takes it. Nobody is asked and nobody waits
for all: a partition that stays where it is is read on without a break.
What happens to records that are under way when a partition is to be let go of is for the consumer.
Reasons: man/mk-guarantees.7, GROUP MEMBERS.
"""

from __future__ import annotations

from time import monotonic

from mk.errors import MkError
from mk.group_errors import ClaimFencedError
from mk.groups.assignor import assign
from mk.groups.claim import fence, take
from mk.groups.claim_directory import make_claims, open_claims, parse_claim_name
from mk.groups.membership import Membership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mk.groups.assignor import Key
    from mk.groups.claim import Claim
    from mk.groups.claim_directory import ClaimDirectory
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic
    from mk.storage.watch import Watch

_LOOK_SECONDS = 2.0
_LOOK_SECONDS_A_PARTITION = 0.01
"""How often everything is looked at again, where the kernel tells of changes; with many partitions, that takes a while."""

_FIRST_LOOK_SECONDS = 0.05
"""How soon after a change, then after twice that, and so on: who saw only half of it may have come to another answer."""

_LOOK_UNTOLD_SECONDS = 0.5
"""And where it does not."""

_CLOSING_SECONDS = 0.005
_TRY_SECONDS = 0.5
"""How often a claim is tried that somebody else holds, whatever is told."""


class GroupCoordinator:
    """One member's part in its group.

    owned: the claims that this member holds, by topic id and partition. wanted: the partitions that it should own, as of
    the last look; the caller releases what it owns and should not, once what it holds of that is delivered and committed.
    """

    def __init__(
        self,
        directory: LogDirectory,
        group: str,
        *,
        partitions: tuple[int, ...] | None,
        session_timeout_ms: int,
        wake_fd: int,
    ) -> None:
        """Prepare to join. wake_fd: written to when a look is due.

        partitions: the numbers that this member takes of each topic; None for all.
        """
        self.owned: dict[Key, Claim] = {}
        self.wanted: set[Key] = set()
        self._directory = directory
        self._group = group
        self._partitions = partitions
        self._session_timeout = session_timeout_ms / 1000
        self._watch: Watch | None = None
        self._membership = Membership(directory, group, session_timeout_ms=session_timeout_ms, wake_fd=wake_fd)
        self._members_number = -1
        self._look_seconds = 0.0
        self._silent: frozenset[str] = frozenset()
        self._topics: dict[str, Topic] = {}
        self._claims: dict[str, ClaimDirectory] = {}
        self._numbers: dict[int, str] = {}
        self._counts: dict[str, int] = {}
        self._unowned_since: dict[Key, float] = {}
        self._next_look = self._next_try = 0.0

    def be_told_by(self, watch: Watch) -> None:
        """Have who comes, goes and lets go told by a watch, which the caller reads. Until then each `tend` lists the members."""
        self._watch = watch
        self._members_number = watch.add_endings(self._membership.watch_path)
        for topic_id in self._claims:
            self._hear_of(topic_id)
        watch.ended.append((-1, ""))  # What happened before, it does not tell.
        self.look_again()

    def _hear_of(self, topic_id: str) -> None:
        if self._watch is not None:
            number = self._watch.add_endings(f"/proc/self/fd/{self._claims[topic_id].fd}")
            if number >= 0:
                self._numbers[number] = topic_id

    def look_again(self) -> None:
        """Have the next `tend` look at everything, and try what falls to this member by that."""
        self._next_look = self._look_seconds = self._next_try = 0.0

    @property
    def due(self) -> float:
        """When `tend` has something to do though nothing happens, by the monotonic clock."""
        return min(self._next_look, self._next_try)

    @property
    def has_others(self) -> bool:
        """Whether somebody else is a live member of the group, as of the last look."""
        return len(self._membership.members) > 1

    @property
    def is_settled(self) -> bool:
        """Whether this member owns just what it should."""
        return self.owned.keys() == self.wanted

    def has_unowned(self) -> bool:
        """Tell whether there is a partition of its topics that some member may own, and at this moment none does.

        One has let go of it, or died, and another is about to take it; or each of two thinks that it is the other's.
        """
        members = self._membership.members
        for topic_id, topic in self._topics.items():
            claims = self._claims[topic_id]
            newest = claims.generations()
            for partition in range(topic.partitions):
                if (topic_id, partition) in self.owned:
                    continue
                if not any(member.takes(topic_id, partition) for member in members.values()):
                    continue
                owner = claims.owner(partition, newest[partition][-1]) if partition in newest else ""
                if owner not in members:
                    return True
        return False

    def look_for_others(self) -> int:
        """Return how many members there are, before joining."""
        self._membership.refresh()
        return len(self._membership.others)

    def subscribe(self, topics: Sequence[Topic]) -> None:
        """Read these topics, as they are now, from the next `tend` on; joins the group when called first."""
        self._topics = {topic.topic_id: topic for topic in topics}
        for topic_id, topic in self._topics.items():
            if topic_id not in self._claims:
                self._claims[topic_id] = make_claims(topic, self._group)
                self._hear_of(topic_id)
        for topic_id in self._claims.keys() - self._topics.keys():
            self._claims.pop(topic_id).close()  # Deleted: a pattern may see thousands come and go.
            self._numbers = {number: one for number, one in self._numbers.items() if one != topic_id}
        names = {topic.topic_id: topic.name for topic in topics}
        counts = {topic.topic_id: topic.partitions for topic in topics}
        if not self._membership.is_joined:
            self._membership.join(names, self._partitions)
            self.look_again()
        elif names.keys() != self._counts.keys():
            self._membership.change(names)
        if counts != self._counts:
            self._counts = counts
            self.look_again()

    def tend(self) -> list[Key]:
        """Do what is due, as told by the watch: see who has come and gone, take what is to be taken and free.

        Returns the partitions that were taken. Cheap when there is nothing to do.

        Raises:
            CorruptStateError: where the group stands in a partition cannot be read.
            StorageError: a claim could not be written.
        """
        membership = self._membership
        now = monotonic()
        ended: list[tuple[int, str]] = []
        if self._watch is not None:
            ended, self._watch.ended = self._watch.ended, ended
        changed = membership.silent != self._silent or (self._watch is None and membership.refresh())
        if not ended and not changed and now < self._next_look and now < self._next_try:
            return []
        names: set[str] | None = set()
        tries: set[Key] = set()
        for number, name in ended:
            if number == self._members_number and names is not None:
                names.add(name)
            elif number in self._numbers:
                parsed = parse_claim_name(name)
                if parsed is not None:
                    tries.add((self._numbers[number], parsed[0]))
            elif number < 0:
                names = None
        before = self.wanted
        if names is None or now >= self._next_look:
            is_told = names is not None and self._members_number >= 0
            changed = membership.refresh(reread=not is_told) or changed
            self._reassign(membership.silent)
            self._look_seconds = min(max(2 * self._look_seconds, _FIRST_LOOK_SECONDS), self._longest_look())
        elif (names and membership.refresh(names)) or changed:
            changed = True
            self._reassign(membership.silent)
        if changed:
            self._look_seconds = _FIRST_LOOK_SECONDS
        if names is None or now >= self._next_look or changed:
            self._next_look = now + self._look_seconds
        if changed or now >= self._next_try:
            self._next_try = now + _TRY_SECONDS
            tries = set(self.wanted)
        elif tries & self.wanted - self.owned.keys():
            # The kernel tells of a closing just before it drops the lock: who is quick finds it held, and tries once more.
            self._next_try = min(self._next_try, now + _CLOSING_SECONDS)
        tries |= self.wanted - before  # Nobody has to come or go for a second look to have another answer.
        return self._take_free(tries, now)

    def lost(self) -> list[Key]:
        """Return the partitions that another member has taken from this one, which did not move for too long."""
        return [key for key, claim in self.owned.items() if claim.is_fenced()]

    def release(self, key: Key) -> None:
        """Let go of a partition, for whoever should own it; the caller has committed."""
        claim = self.owned.pop(key, None)
        if claim is not None:
            claim.close()

    def leave(self) -> None:
        """Be no member any more, and let go of everything; in this order, so that the others know whose it is then."""
        self._membership.leave()
        for key in list(self.owned):
            self.release(key)
        self.wanted = set()
        self._counts = {}

    def close(self) -> None:
        self.leave()
        self._membership.close()
        for claims in self._claims.values():
            claims.close()
        self._claims = {}

    # Who should own what.

    def _longest_look(self) -> float:
        if self._members_number < 0:
            return _LOOK_UNTOLD_SECONDS
        return _LOOK_SECONDS + _LOOK_SECONDS_A_PARTITION * sum(self._counts.values())

    def _reassign(self, silent: frozenset[str]) -> None:
        self._silent = silent  # Read before the members: what changes meanwhile makes another look due.
        members = self._membership.members
        candidates: dict[Key, tuple[str, ...]] = {}
        owners: dict[Key, str] = {}
        have_filters = any(member.partitions is not None for member in members.values())
        for topic_id, count, claims in self._all_topics():
            takers = tuple(sorted(one for one, member in members.items() if topic_id in member.topics))
            newest = {} if claims is None else {number: ones[-1] for number, ones in claims.generations().items()}
            for partition in range(count):
                key = (topic_id, partition)
                if have_filters:
                    candidates[key] = tuple(one for one in takers if members[one].takes(topic_id, partition))
                else:
                    candidates[key] = takers
                if key in self.owned:
                    owners[key] = self._membership.member_id
                elif claims is not None and partition in newest:
                    owners[key] = claims.owner(partition, newest[partition])
        own_id = self._membership.member_id
        self.wanted = {
            key for key, member in assign(candidates, owners).items() if member == own_id and key[0] in self._topics
        }
        self._unowned_since = {key: since for key, since in self._unowned_since.items() if key in self.wanted}

    def _all_topics(self) -> Iterator[tuple[str, int, ClaimDirectory | None]]:
        """Yield the topics that any member reads, with the number of their partitions: all share the same members' time."""
        for topic_id, topic in self._topics.items():
            yield topic_id, topic.partitions, self._claims[topic_id]
        foreign: dict[str, str] = {}
        for member in self._membership.members.values():
            foreign.update(member.topics)
        for topic_id, name in sorted(foreign.items()):
            if topic_id in self._topics:
                continue
            try:
                topic = self._directory.open_topic(name)
            except (MkError, OSError):
                continue  # It is gone, or damaged: whoever reads it will see that too.
            try:
                if topic.topic_id != topic_id:
                    continue
                claims = open_claims(self._directory, self._group, topic=name, topic_id=topic_id)
                try:
                    yield topic_id, topic.partitions, claims
                finally:
                    if claims is not None:
                        claims.close()
            finally:
                topic.close()

    # Taking it.

    def _take_free(self, keys: set[Key], now: float) -> list[Key]:
        taken = []
        generations: dict[str, dict[int, list[int]]] = {}
        for key in sorted(keys & self.wanted - self.owned.keys()):
            topic_id, partition = key
            if topic_id not in generations:
                generations[topic_id] = self._claims[topic_id].generations()
            known = generations[topic_id].get(partition, [])
            try:
                claim = self._take(key, known, now)
            except ClaimFencedError:
                continue  # Somebody was faster. Whose it should be, the next look tells.
            if claim is not None:
                claim.note_owner(self._membership.member_id)
                self._unowned_since.pop(key, None)
                self.owned[key] = claim
                taken.append(key)
        return taken

    def _take(self, key: Key, listed: list[int], now: float) -> Claim | None:
        """Take a partition if it is free, or its owner is silent.

        Whether it is held is asked without opening it for writing: the closing of a descriptor that could write is what
        others, and we, are told of, so that each look would lead to the next.
        """
        topic_id, partition = key
        claims = self._claims[topic_id]
        newest = listed[-1] if listed else 0
        if newest == 0 or not claims.is_held(partition, newest):
            return take(claims, partition, listed)
        owner = claims.owner(partition, newest)
        if owner in self._membership.silent:
            return fence(claims, partition, listed)
        if owner in self._membership.members:
            self._unowned_since.pop(key, None)
            return None
        # Held by somebody who is no member: about to let go of it, or to take it. If it was stopped just then, that lasts.
        if now - self._unowned_since.setdefault(key, now) < self._session_timeout:
            return None
        del self._unowned_since[key]
        return fence(claims, partition, listed)
