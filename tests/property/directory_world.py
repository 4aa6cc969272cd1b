"""Two log directories with all who use them, commands that look after them, copies, fail-overs and power cuts."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mk.errors import MkError, NotLeaderError, ReplicationGapError, StaleSourceError, TryAgainError
from mk.groups.replicated_offsets import replicated_groups
from mk.replication.directory_replica import DirectoryReplica
from mk.replication.promotion import Promotion
from mk.replication.replicator import Choice, Replicator
from mk.storage import host
from mk.storage.log_cleaner import compact
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_cleaner import PartitionCleaner
from tests.crash import oracle
from tests.property.directory_lists import NAMES, TOPIC, other
from tests.property.directory_model import last_of_keys
from tests.property.directory_processes import Killing, Process
from tests.property.directory_users import NO_KILL, DirectoryUsers, partition_of
from tests.property.power import cut_power, kinds_of_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.property.directory_processes import Place


class DirectoryWorld(DirectoryUsers):
    """Each command is a process of its own, in which it may be killed."""

    # Commands.

    def trim(self, place: Place, part: float, kill: int) -> None:
        name = place[0]
        offset = int(len(self.copies[place].log) * part)
        if not self.has_topic(name):
            return

        def action() -> None:
            with self._topic(name) as topic, _cleaner(topic, place[1]) as cleaner:
                cleaner.delete_records(offset)

        is_done = True
        try:
            self._run(Process(), kill, action)
        except Killing:
            is_done = False
        except NotLeaderError:
            assert not self.leads(place), f"{place} leads, and refuses a trim"
            is_done, offset = False, 0
        self.look(name, trims={place: offset})
        if is_done:
            copy = self.copies[place]
            assert copy.view.start >= offset
            copy.floor = copy.view.start
            copy.durable = max(copy.durable, offset)

    def clean(self, place: Place, kill: int) -> None:
        """Remove what the limits let go, and seal a segment that is old."""
        name = place[0]
        if not self.has_topic(name):
            return

        def action() -> None:
            with self._topic(name) as topic:
                for partition in range(self.partitions):
                    with _cleaner(topic, partition) as cleaner:
                        report = cleaner.clean()
                    assert report.error is None, report.error

        is_done = self._done(kill, action)
        self.look(name)
        for partition in range(self.partitions if is_done else 0):
            copy = self.copies[name, partition]
            copy.floor = max(copy.floor, copy.view.start)

    def compact(self, place: Place, *, seals: bool, kill: int) -> None:
        """Compact a partition; of a topic that is not compacted, clean it."""
        name, partition = place
        if not self.compacts:
            self.clean(place, kill)
            return
        if not self.has_topic(name):
            return

        def action() -> None:
            with self._topic(name) as topic:
                report = compact(topic, partition, seal_active=seals, min_dirty_ratio=0.0, lock_wait_ms=0)
            assert report.error is None, report.error

        self._done(kill, action)
        self.look(name)

    def _done(self, kill: int, action: Callable[[], None]) -> bool:
        try:
            self._run(Process(), kill, action)
        except Killing:
            return False
        return True

    def promote(self, place: Place, *, forces: bool, kill: int) -> None:
        name = other(place[0])
        if not self.has_topic(name):
            return

        def action() -> None:
            directory = LogDirectory(str(self.root / name))
            try:
                promotion = Promotion(directory, None, wait_ms=0)
                if not forces:
                    promotion.check_not_behind()
                promotion.promote()
                assert not promotion.failures, promotion.failures
            finally:
                directory.close()

        try:
            is_done = self._done(kill, action)
        except TryAgainError:
            self.say("  is behind")
            is_done = False
        self.look(name)
        for partition in range(self.partitions if is_done else 0):
            assert self.leads((name, partition)), f"{name} was promoted, and does not lead {partition}"
            self._raise_epoch((name, partition))

    def replicate(self, place: Place, *, accepts_gap: bool, kill: int) -> None:
        """Copy all that one directory has to the other."""
        source, target = place[0], other(place[0])
        for partition in range(self.partitions):
            ours, theirs = self.copies[source, partition], self.copies[target, partition]
            theirs.heading.append(ours.log)
            theirs.others += [last_of_keys(ours.log), *ours.others]
        errors: dict[tuple[str, int], MkError] = {}

        def action() -> None:
            ours = DirectoryReplica(str(self.root / source), lock_wait_ms=0)
            try:
                theirs = DirectoryReplica(str(self.root / target), lock_wait_ms=0)
                try:
                    assert theirs.begin(ours.directory_id, ours.address), "another run has the lock"
                    replicator = Replicator(ours, theirs, Choice(accept_gap=accepts_gap))
                    run = replicator.run()
                    try:
                        for _ in run:
                            pass
                    finally:
                        run.close()
                    errors.update(replicator.errors)
                finally:
                    theirs.close()
            finally:
                ours.close()

        is_done = self._done(kill, action)
        is_unrecovered = {place for place in self.places if self._is_unrecovered(place)}
        self.look(source, target)
        for (_, partition), error in errors.items():
            self.say(f"  {partition}: {type(error).__name__}")
            if isinstance(error, ReplicationGapError):
                assert not accepts_gap, error
            elif not isinstance(error, StaleSourceError):
                waits = isinstance(error, TryAgainError) and (source, partition) in is_unrecovered
                assert waits, f"partition {partition}: {error} ({error.why})"
        if not is_done or not self.has_topic(source):
            return
        for partition in range(self.partitions):
            if (TOPIC, partition) not in errors and (TOPIC, -1) not in errors:
                self._check_copied(source, target, partition)
        self._check_replicated_groups(target)

    def _check_copied(self, source: str, target: str, partition: int) -> None:
        ours, theirs = self.copies[source, partition], self.copies[target, partition]
        assert [one.name for one in theirs.log] == [one.name for one in ours.log], (
            f"{target}/{partition} ends at {theirs.view.end}, and is no copy of {source}, which ends at {ours.view.end}"
        )
        assert theirs.view.start >= ours.view.start
        if not self.compacts:
            left = {offset: name for offset, name in ours.view.names.items() if offset >= theirs.view.start}
            assert theirs.view.names == left
        theirs.heading = []
        theirs.others = list(ours.others)
        theirs.durable, theirs.floor = len(theirs.log), theirs.view.start
        self._raise_epoch((target, partition))

    def _check_replicated_groups(self, name: str) -> None:
        directory = LogDirectory(str(self.root / name))
        try:
            for offsets in replicated_groups(directory).values():
                for (_, partition), offset in offsets.items():
                    end = self.copies[name, partition].view.end
                    assert offset.offset <= end, f"the group is told {offset.offset} of a copy that ends at {end}"
        finally:
            directory.close()

    def _is_unrecovered(self, place: Place) -> bool:
        if not self.leads(place):
            return False
        state = oracle.read_state_file((self._partition_path(place) / "state").read_bytes())
        return state is None or state["boot"] != host.boot_id()

    def cut_the_power(self, seed: int) -> None:
        rng = random.Random(seed)
        how = kinds_of_cuts(NAMES, rng)
        self.say(f"  {how}")
        self._abandon()
        self.boots += 1
        self.disk = cut_power(self.disk, how, rng, boot=f"boot-{self.boots}")
        self.look(*NAMES, is_lost=True)
        self.cuts += 1

    # The end.

    def heal(self) -> None:
        """Have whoever leads go on and the other follow, and hold all against what was promised."""
        leaders = {}
        for partition in range(self.partitions):
            _, _, leader_id = max(self.epochs_of((name, partition))[-1] for name in NAMES if self.has_topic(name))
            leaders[partition] = self.ids[leader_id]
        self.say(f"heal {leaders}")
        for partition, name in leaders.items():
            for key in range(20):
                if not self.is_keyed or partition_of(b"k%d" % key, self.partitions) == partition:
                    self.produce((name, partition), 0, 1, [(key, 10, False)], NO_KILL)
                    break
        for _ in range(2):
            for source in sorted(set(leaders.values())):
                self.replicate((source, 0), accepts_gap=True, kill=NO_KILL)
        for partition, name in leaders.items():
            follower = other(name)
            self._check_copied(name, follower, partition)
            mine, copied = (self.epochs_of((one, partition)) for one in (name, follower))
            assert mine == copied, f"{follower} has the epochs {copied} of {partition}, and its leader {mine}"
        for place in self.places:
            view = self.copies[place].view
            self.history.polled("end", self._key(place), sorted(view.names.items()))
        self.history.check()


@contextmanager
def _cleaner(topic: object, partition: int) -> Iterator[PartitionCleaner]:
    cleaner = PartitionCleaner(topic, partition, lock_wait_ms=0)  # type: ignore[arg-type]
    try:
        yield cleaner
    finally:
        cleaner.close()
