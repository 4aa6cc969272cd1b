"""Three directories that copy, fail over and diverge in any order, against plain lists."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mk.errors import DivergedLogError, NotLeaderError, StaleSourceError
from mk.storage import host
from tests.crash.pair import Place, replicate
from tests.crash.recorder import fast_disk
from tests.crash.world import next_boot

if TYPE_CHECKING:
    from mk.storage.leader_epochs import LeaderEpochs

WHO = st.integers(0, 2)


class FollowerMachine(RuleBasedStateMachine):
    """`logs` has of each place the values it should hold; `cut` those that some fail-over took away there."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="mk-follower-"))
        self.real_boot = host._boot_id
        self.disk = fast_disk()
        self.disk.__enter__()
        self.numbers = itertools.count()

    def teardown(self) -> None:
        self.disk.__exit__()
        host._boot_id = self.real_boot
        shutil.rmtree(self.home)

    @initialize(count=st.integers(0, 5))
    def create(self, count: int) -> None:
        self.places = [Place(self.home / name) for name in "abc"]
        self.places[0].create()
        for place in self.places[1:]:
            place.create_as_copy_of(self.places[0])
        self.logs: list[list[bytes]] = [[], [], []]
        self.cut: list[list[tuple[int, bytes]]] = [[], [], []]
        if count:
            self._append(0, [3] * count)

    def _settle(self, who: int) -> None:
        """Have a place recover, so that what is done next does not raise its epoch for that reason."""
        with self.places[who].follower() as log:
            assert not log.fence(self._epochs(who))

    def _append(self, who: int, counts: list[int]) -> None:
        self.places[who].append(self.numbers, *counts)
        self.logs[who] = self._read(who)

    def _read(self, who: int) -> list[bytes]:
        return list(self.places[who].records().values())

    def _leads(self, who: int) -> bool:
        with self.places[who].directory() as directory:
            return self._epochs(who).latest.leader_id == directory.directory_id

    def _epochs(self, who: int) -> LeaderEpochs:
        return self.places[who].epochs()

    @rule(who=WHO, counts=st.lists(st.integers(1, 6), min_size=1, max_size=4))
    def produce(self, who: int, counts: list[int]) -> None:
        had = self.logs[who]
        try:
            self._append(who, counts)
        except NotLeaderError:
            assert not self._leads(who)
            assert self._read(who) == had
        else:
            assert self.logs[who][: len(had)] == had
            assert len(self.logs[who]) == len(had) + sum(counts)

    @rule(who=WHO)
    def promote(self, who: int) -> None:
        self._settle(who)
        before = self._epochs(who).latest.epoch
        led = self._leads(who)
        after = self.places[who].promote()
        assert after == before if led else after > before
        assert self._leads(who)

    @rule(leader=WHO, follower=WHO, sync_every=st.integers(1, 4))
    def copy(self, leader: int, follower: int, sync_every: int) -> None:
        if leader == follower:
            return
        self._settle(follower)
        had, theirs = self.logs[follower], self.logs[leader]
        own, epochs = self._epochs(follower), self._epochs(leader)
        led = self._leads(follower)
        try:
            replicate(self.places[leader], self.places[follower], sync_every=sync_every)
        except StaleSourceError:
            event("the source was behind")
            behind = own.latest.epoch > epochs.latest.epoch or (led and own.latest.epoch == epochs.latest.epoch)
            assert behind or had[: len(theirs)] == theirs
            assert (self._read(follower), self._epochs(follower)) == (had, own)
        except DivergedLogError:
            event("both were led at once")
            led_by = {entry.epoch: entry.leader_id for entry in own.entries}
            two_leaders = any(led_by.get(entry.epoch, entry.leader_id) != entry.leader_id for entry in epochs.entries)
            with self.places[follower].directory() as directory:
                own_id = directory.directory_id
            unknown = any(entry.leader_id == own_id and entry.epoch not in led_by for entry in epochs.entries)
            assert two_leaders or unknown or own.latest.epoch == epochs.latest.epoch
            assert (self._read(follower), self._epochs(follower)) == (had, own)
        else:
            common = next(
                (at for at, (one, other) in enumerate(zip(had, theirs)) if one != other), min(len(had), len(theirs))
            )
            if common < len(had):
                event("records were cut off")
                self.cut[follower] += list(enumerate(had))[common:]
            self.logs[follower] = theirs
            assert self._read(follower) == theirs
            assert self._epochs(follower) == epochs
            assert b"".join(self.places[follower].segments().values()) == b"".join(
                self.places[leader].segments().values()
            )

    @rule(leader=WHO, follower=WHO)
    def fence(self, leader: int, follower: int) -> None:
        self._settle(follower)
        epochs = self._epochs(leader)
        before = self._epochs(follower).latest
        try:
            with self.places[follower].follower() as log:
                fenced = log.fence(epochs)
        except (DivergedLogError, StaleSourceError):
            return
        assert fenced == (epochs.latest.epoch > before.epoch)
        assert self._epochs(follower).latest.epoch == max(before.epoch, epochs.latest.epoch)
        assert self._read(follower) == self.logs[follower]

    @rule()
    def reboot(self) -> None:
        next_boot()

    @invariant()
    def nothing_is_lost(self) -> None:
        for place, log, cut in zip(self.places, self.logs, self.cut):
            assert list(place.records().values()) == log
            kept = place.evidence()
            assert all(value in kept[offset] for offset, value in cut)

    @invariant()
    def nothing_is_damaged(self) -> None:
        for place in self.places:
            assert not place.damage(), place.damage()


TestFollower = FollowerMachine.TestCase
TestFollower.settings = settings(
    max_examples=max(10, settings().max_examples // 6), stateful_step_count=settings().stateful_step_count // 2
)
