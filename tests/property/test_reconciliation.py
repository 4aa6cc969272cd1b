"""What is decided of a partition, against a model that knows every record of every directory."""

import zlib

from hypothesis import event, given
from hypothesis import strategies as st

from mk.errors import DivergedLogError, ReplicationGapError, StaleSourceError, TryAgainError
from mk.replication import reconciliation
from mk.replication.reconciliation import BEGIN, BEGIN_ANEW, FOLLOW, NOTHING, REFUSE, Side, proved, reconcile
from mk.replication.replica import PartitionImage

NAMES = "abc"


class Log:
    """One directory's log: each record is (leader epoch, a number of its own), each is a batch. `first` is its start."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.first = 0
        self.records: list[tuple[int, int]] = []  # of offset 0 on, also those that were removed
        self.epochs: list[tuple[int, int, str]] = [(0, 0, "a")]

    def copy(self) -> "Log":
        new = Log(self.name)
        new.first, new.records, new.epochs = self.first, list(self.records), list(self.epochs)
        return new

    @property
    def leads(self) -> bool:
        return self.epochs[-1][2] == self.name

    @property
    def end(self) -> int:
        return len(self.records)

    def chain(self, offset: int) -> int:
        if offset == self.first and offset:
            return reconciliation.UNKNOWN_CHAIN
        return zlib.crc32(repr(self.records[:offset]).encode())

    def begin_epoch(self, epoch: int, leader: str) -> None:
        self.epochs = [entry for entry in self.epochs if entry[1] < self.end] + [(epoch, self.end, leader)]

    def image(self) -> PartitionImage:
        image = PartitionImage()
        image.partition = 0
        image.first_offset = image.log_start_offset = self.first
        image.next_offset = self.end
        image.chain = self.chain(self.end)
        image.epochs = list(self.epochs)
        image.cleaned_to = image.tombstones_dropped_to = 0
        image.is_recovered, image.lacks_producers = True, False
        return image


class World:
    def __init__(self) -> None:
        self.logs = {name: Log(name) for name in NAMES}
        self.number = 0
        self.told: list[str] = []

    def produce(self, name: str) -> None:
        log = self.logs[name]
        if log.leads:
            self.number += 1
            log.records.append((log.epochs[-1][0], self.number))

    def recover(self, name: str) -> None:
        """The last record was not on disk: a power cut takes it, and the leader goes on with a higher epoch."""
        log = self.logs[name]
        if log.leads and log.end > log.first:
            log.records.pop()
            log.begin_epoch(log.epochs[-1][0] + 1, name)

    def promote(self, name: str) -> None:
        log = self.logs[name]
        if not log.leads:
            log.begin_epoch(((log.epochs[-1][0] >> 32) + 1) << 32, name)

    def trim(self, name: str) -> None:
        log = self.logs[name]
        log.first = min(log.end, log.first + 2)

    def replicate(self, source_name: str, target_name: str, *, accept_gap: bool = False) -> None:
        source, target = self.logs[source_name], self.logs[target_name]
        before = target.copy()
        ours, theirs = Side(source.image(), source_name), Side(target.image(), target_name)
        decision = reconcile("t", ours, theirs, accept_gap=accept_gap)
        if decision.kind == FOLLOW:
            offset = decision.prefix_offset
            assert offset <= min(source.end, target.end)
            decision = proved("t", ours, theirs, decision, source.chain(offset), target.chain(offset))
        self.told.append(f"kind {decision.kind} {type(decision.error).__name__} {decision.reason}")
        self.check(source, target, decision)
        if decision.kind == REFUSE:
            return
        if decision.kind == BEGIN or decision.kind == BEGIN_ANEW:
            target.first = source.first
            kept = source.epochs
        elif decision.kind == FOLLOW:
            target.first = max(target.first, min(source.first, target.end))
            kept = [entry for entry in target.epochs if entry[1] < decision.prefix_offset]
            kept += [entry for entry in source.epochs if entry[1] >= decision.prefix_offset] or source.epochs[-1:] * (
                not kept
            )
        else:
            kept = target.epochs
        target.records = list(source.records)
        target.epochs = kept
        assert kept == source.epochs or decision.kind == NOTHING
        # A second run has nothing to do.
        again = reconcile("t", Side(source.image(), source_name), Side(target.image(), target_name))
        assert again.kind == NOTHING, (again.kind, again.error)
        assert before.end >= decision.truncated

    def check(self, source: Log, target: Log, decision) -> None:
        """Compare a decision with what the records say."""
        same = 0
        while same < min(source.end, target.end) and source.records[same] == target.records[same]:
            same += 1
        only_target = target.end - same
        if decision.kind == NOTHING:
            assert source.records == target.records
        elif decision.kind == FOLLOW:
            # Nothing that both have is sent again or cut off, and what is cut off is not the source's.
            assert decision.prefix_offset == same, (decision.prefix_offset, same)
            assert decision.truncated == only_target
            # It was cut off because another directory, or life, leads now.
            assert not only_target or source.epochs[-1][0] > target.records[-1][0]
        elif decision.kind == BEGIN:
            assert target.end == 0 < source.first
        elif decision.kind == BEGIN_ANEW:
            assert source.first > same or target.first > same
        elif isinstance(decision.error, ReplicationGapError):
            assert source.first > same and target.end > 0
        elif isinstance(decision.error, DivergedLogError):
            # Nothing was promoted twice and nothing restored, so two histories never claim one epoch.
            assert only_target
        else:
            assert isinstance(decision.error, StaleSourceError)
            newest = target.epochs[-1]
            assert newest[0] >= source.epochs[-1][0] or only_target
        assert decision.fences == (
            decision.kind == REFUSE and target.epochs[-1][0] > source.epochs[-1][0]
        ) or isinstance(decision.error, DivergedLogError)


names = st.sampled_from(NAMES)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("produce"), names),
        st.tuples(st.just("produce"), names),
        st.tuples(st.just("recover"), names),
        st.tuples(st.just("promote"), names),
        st.tuples(st.just("trim"), names),
        st.tuples(st.just("replicate"), names, names),
        st.tuples(st.just("replicate"), names, names),
    ),
    max_size=40,
)


def unique_promotions(world: World, step: tuple) -> bool:
    """Promote one copy at a time: two that are promoted apart from each other are what a person must not do."""
    name = step[1]
    newest = max(log.epochs[-1][0] for log in world.logs.values())
    return step[0] != "promote" or world.logs[name].epochs[-1][0] >> 32 == newest >> 32


@given(steps, st.booleans())
def test_histories_of_three_directories(history, accept_gap):
    world = World()
    for step in history:
        if not unique_promotions(world, step):
            continue
        if step[0] == "replicate":
            if step[1] != step[2]:
                world.replicate(step[1], step[2], accept_gap=accept_gap)
        else:
            getattr(world, step[0])(step[1])
    for told in world.told:
        event(told)


def test_two_directories_that_led_one_epoch_are_refused():
    world = World()
    world.produce("a")
    world.replicate("a", "b")
    world.replicate("a", "c")
    for name in "bc":
        world.promote(name)
        world.produce(name)
    for source, target in ("bc", "cb"):
        ours, theirs = Side(world.logs[source].image(), source), Side(world.logs[target].image(), target)
        decision = reconcile("t", ours, theirs)
        assert decision.kind == REFUSE and isinstance(decision.error, DivergedLogError)
        assert "two directories have led it" in decision.error.why


def test_a_leader_that_lost_records_is_waited_for_until_it_is_recovered_and_then_refused():
    world = World()
    for _ in range(2):
        world.produce("a")
    world.replicate("a", "b")
    world.logs["a"].records.pop()
    source = world.logs["a"].image()
    target = Side(world.logs["b"].image(), "b")
    for is_recovered, error in ((False, TryAgainError), (True, DivergedLogError)):
        source.is_recovered = is_recovered
        decision = reconcile("t", Side(source, "a"), target)
        assert decision.kind == REFUSE and type(decision.error) is error


def test_a_leader_restored_without_its_last_epoch_is_refused():
    world = World()
    world.produce("a")
    world.replicate("a", "b")
    old = world.logs["b"].copy()
    world.promote("b")
    world.replicate("b", "a")
    world.logs["b"] = old
    ours, theirs = Side(world.logs["a"].image(), "a"), Side(old.image(), "b")
    decision = reconcile("t", ours, theirs)
    assert decision.kind == REFUSE and "knows nothing of that" in decision.error.why


def test_a_copy_behind_dropped_tombstones_or_inside_a_covering_batch_is_fetched_anew():
    world = World()
    for _ in range(6):
        world.produce("a")
    world.replicate("a", "b")
    for _ in range(3):
        world.produce("a")
    source, target = world.logs["a"].image(), world.logs["b"].image()
    source.cleaned_to = source.tombstones_dropped_to = 7
    decision = reconcile("t", Side(source, "a"), Side(target, "b"))
    assert (decision.kind, decision.reason) == (BEGIN_ANEW, reconciliation.COMPACTED)
    source.tombstones_dropped_to = 6
    ours, theirs = Side(source, "a"), Side(target, "b")
    decision = reconcile("t", ours, theirs)
    assert decision.kind == FOLLOW
    decision = proved("t", ours, theirs, decision, None, target.chain)
    assert (decision.kind, decision.reason) == (BEGIN_ANEW, reconciliation.COMPACTED)
    source.cleaned_to = 6
    decision = proved("t", Side(source, "a"), theirs, reconcile("t", Side(source, "a"), theirs), None, target.chain)
    assert isinstance(decision.error, DivergedLogError)


def test_where_a_batch_of_the_target_goes_across_it_begins_anew_only_if_that_may_be_compacted():
    world = World()
    for _ in range(3):
        world.produce("a")
    world.replicate("a", "b")
    world.produce("a")
    source, target = world.logs["a"].image(), world.logs["b"].image()
    ours, theirs = Side(source, "a"), Side(target, "b")
    assert isinstance(proved("t", ours, theirs, reconcile("t", ours, theirs), 1, None).error, DivergedLogError)
    target.cleaned_to = target.next_offset + 1
    decision = proved("t", ours, theirs, reconcile("t", ours, theirs), 1, None)
    assert (decision.kind, decision.reason) == (BEGIN_ANEW, reconciliation.COMPACTED)


def test_other_records_in_front_of_the_same_offset_are_refused():
    world = World()
    for _ in range(3):
        world.produce("a")
    world.replicate("a", "b")
    world.produce("a")
    source, target = Side(world.logs["a"].image(), "a"), Side(world.logs["b"].image(), "b")
    decision = proved("t", source, target, reconcile("t", source, target), 1, 2)
    assert isinstance(decision.error, DivergedLogError)
    assert proved("t", source, target, reconcile("t", source, target), reconciliation.UNKNOWN_CHAIN, 2).kind == FOLLOW
