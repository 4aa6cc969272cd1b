"""The moment before records are handed over, and before a claim is taken: whose the partition is by then."""

import os
import time
from collections import Counter

import pytest

import mk
from mk.consumer import group_consumer, group_source
from mk.group_errors import GroupNotEmptyError, OffsetsMovedError
from mk.groups import group_removal, offset_reset
from mk.groups.claim import fence, take
from mk.groups.claim_directory import make_claims
from mk.groups.member_kick import kick_member
from mk.groups.membership import Membership


def test_a_claim_that_was_fenced_and_let_go_between_look_and_lock_is_not_taken(topic, claims):
    stopped = take(claims, 0)
    stopped.commit(3, 0)
    listed = claims.generations()[0]
    fencer = fence(make_claims(topic, "billing"), 0)
    stopped.close()
    assert take(claims, 0, listed) is None
    fencer.commit(5, 0)
    fencer.close()
    claim = take(claims, 0, listed)
    assert (claim.generation, claim.committed.offset) == (2, 5)
    claim.close()


@pytest.mark.parametrize("how", ["fetch", "record"])
def test_a_member_that_was_stopped_and_fenced_hands_over_nothing_more(directory, topic, monkeypatch, how):
    """However soon after its last look at what it has lost. Here it gets the partition back, and begins where the group stands."""
    stopped_seconds = 0.0
    monkeypatch.setattr(group_source, "monotonic", lambda: time.monotonic() + stopped_seconds)
    monkeypatch.setattr(group_consumer, "_LOST_SECONDS", 1e9)
    notes = []
    with mk.connect(directory.path) as cluster:
        with cluster.producer("t", partition=1) as producer:
            for number in range(6):
                producer.send(b"%d" % number * 100_000)
                producer.flush()
        options = {"partitions": [1], "session_timeout_ms": 200, "on_note": notes.append}
        with cluster.group_consumer("billing", ["t"], **options) as consumer:
            given = consumer.fetches() if how == "fetch" else iter(consumer)
            first = next(given)
            fencer = fence(make_claims(topic, "billing"), 1)
            assert not consumer.holds("t", 1)
            stopped_seconds += 0.2
            again = next(given)
            assert fencer.is_fenced(), "it went on with what is another's"
            if how == "record":
                assert (first.offset, again.offset) == (0, 0)
        assert ["another member" in note for note in notes] == [True]
        fencer.close()


def test_a_partition_of_a_member_that_lives_is_waited_for_until_it_lets_go(directory):
    with mk.connect(directory.path) as cluster, cluster.group_consumer("billing", ["t"]) as first:
        first.tend()
        assert len(first._coordinator.owned) == 2
        with cluster.group_consumer("billing", ["t"]) as second:
            for _ in range(20):
                second._coordinator.look_again()
                second.tend()
            assert second._coordinator.wanted and not second._coordinator.owned
            assert first._coordinator.lost() == []
            deadline = time.monotonic() + 60
            while not second._coordinator.owned:
                assert time.monotonic() < deadline
                for member in (first, second):
                    member._coordinator.look_again()
                    member.tend()
            assert len(first._coordinator.owned) == len(second._coordinator.owned) == 1


def test_a_member_that_is_alone_sets_up_nothing_to_be_told_and_shares_with_who_comes(directory):
    with mk.connect(directory.path) as cluster, cluster.group_consumer("billing", ["t"]) as first:
        first.tend()
        assert len(first._coordinator.owned) == 2 and first._watch is None
        with cluster.group_consumer("billing", ["t"]) as second:
            deadline = time.monotonic() + 60
            while len(second._coordinator.owned) != 1:
                assert time.monotonic() < deadline
                for member in (first, second):
                    member.tend()
            first.tend()
            assert len(first._coordinator.owned) == 1
            assert first._watch is not None and second._watch is not None


def test_what_was_taken_of_a_partition_is_committed_before_it_is_let_go_of(directory, topic):
    taken = {0: 7, 1: 3}
    with mk.connect(directory.path) as cluster:
        with cluster.producer("t", partition=1) as producer:
            for number in range(5):
                producer.send(b"%d" % number)
        with cluster.group_consumer("billing", ["t"]) as first:
            first.tend()
            for partition, offset in taken.items():
                first.took("t", partition, offset, 0)
            with cluster.group_consumer("billing", ["t"]) as second:
                deadline = time.monotonic() + 60
                while not second._coordinator.owned:
                    assert time.monotonic() < deadline
                    for member in (first, second):
                        member._coordinator.look_again()
                        member.tend()
                (((_, partition), claim),) = second._coordinator.owned.items()
                assert claim.committed.offset == taken[partition]
    claims = make_claims(topic, "billing")
    assert {partition: claims.newest(partition).offset for partition in taken} == taken
    claims.close()


def test_what_was_handed_over_is_committed_when_it_is_taken_and_not_before(directory, claims):
    with (
        mk.connect(directory.path) as cluster,
        cluster.group_consumer("billing", ["t"], partitions=[0], commit_interval_ms=0) as consumer,
    ):
        given = consumer.fetches()
        assert next(given)[-1].next_offset == 10
        assert claims.newest(0).offset < 10
        assert next(given, None) is None
        assert claims.newest(0).offset == 10


@pytest.fixture
def joins(directory):
    """Return a function that makes a member, which lives until the end of the test and owns nothing."""
    members = []

    def join(*_):
        member = Membership(directory, "billing", session_timeout_ms=10_000, wake_fd=-1)
        member.join({}, None)
        members.append(member)

    yield join
    for member in members:
        member.close()


def then(function, do):
    """Return a function that does what one does, and then something else."""

    def both(*arguments, **keywords):
        result = function(*arguments, **keywords)
        do()
        return result

    return both


def test_who_joins_while_claims_are_locked_for_a_reset_keeps_it_from_being_done(directory, topic, monkeypatch, joins):
    change = offset_reset.OffsetChange("t", topic.topic_id, 0, -1, 5)
    monkeypatch.setattr(offset_reset, "take", then(offset_reset.take, joins))
    with pytest.raises(GroupNotEmptyError):
        offset_reset.change_offsets(directory, "billing", [change], kind="reset", wait_ms=0)
    claims = make_claims(topic, "billing")
    assert claims.newest(0).offset == -1
    claims.close()


def test_a_reset_is_not_done_where_the_group_stands_elsewhere_than_its_plan_says(directory, topic, claims):
    claim = take(claims, 0)
    claim.commit(5, 0)
    claim.close()
    changes = [offset_reset.OffsetChange("t", topic.topic_id, partition, -1, 3) for partition in (1, 0)]
    with pytest.raises(OffsetsMovedError):
        offset_reset.change_offsets(directory, "billing", changes, kind="reset", wait_ms=0)
    assert (claims.newest(0).offset, claims.newest(1).offset) == (5, -1)


def test_who_joins_while_claims_are_locked_for_a_deletion_keeps_them(directory, topic, claims, monkeypatch, joins):
    claim = take(claims, 0)
    claim.commit(5, 0)
    claim.close()
    monkeypatch.setattr(group_removal, "_lock_all", then(group_removal._lock_all, joins))
    with pytest.raises(GroupNotEmptyError):
        group_removal.delete_claims(directory, "billing", [topic.topic_id], wait_ms=0)
    assert claims.newest(0).offset == 5


def test_a_member_lists_the_claims_a_few_times_however_many_partitions_it_takes_or_loses(directory, monkeypatch):
    listings = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda place: listings.append(place) or real(place))
    with mk.connect(directory.path) as cluster:
        cluster.create_topic("many", partitions=40)
        counts = []
        for group in ("new", "new", "stopped"):
            del listings[:]
            with cluster.group_consumer(group, ["many"]) as consumer:
                consumer.tend()
                assert len(consumer._coordinator.owned) == 40
                counts.append(max(Counter(listings).values()))
                if group == "stopped":
                    del listings[:]
                    member_id = consumer._coordinator._membership.member_id
                    assert len(kick_member(directory, group, member_id)) == 40
                    counts.append(max(Counter(listings).values()))
        assert max(counts) < 5, counts
