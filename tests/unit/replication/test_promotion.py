"""A follower that is made the leader: the plan, what it refuses, the epochs, and the groups that go on there."""

import os

import pytest

from mk.errors import CorruptStateError, NotLeaderError, TryAgainError
from mk.groups.claim_directory import open_group
from mk.groups.membership import Membership
from mk.groups.replicated_offsets import replicated_groups
from mk.groups.reset_journal import read_changes
from mk.replication import promotion as promotion_module
from mk.replication.directory_replica import DirectoryReplica
from mk.replication.promotion import Promotion
from mk.replication.replicator import Choice, Replicator
from mk.storage import files
from tests.unit.replication.leaders import address_of, commit, committed, consume, follow, produce

PROMOTED = 1 << 32


def promote(directory, names=None):
    promotion = Promotion(directory, names)
    promotion.promote()
    return promotion


def test_the_plan_says_who_led_where_it_ended_and_what_is_missing(first, second):
    produce(first, b"a", b"b", partition=0)
    produce(first, b"c", partition=1)
    follow(first, second, up_to=1)
    promotion = Promotion(second, None)
    rows = [
        (
            row["partition"],
            row["seen_next_offset"],
            row["next_offset"],
            row["behind"],
            row["leader_epoch"],
            row["new_epoch"],
        )
        for row in promotion.plan
    ]
    # Both records of partition 0 are one batch, and a batch is copied whole or not at all.
    assert rows == [(0, 2, 0, 2, 0, PROMOTED), (1, 1, 1, 0, 0, PROMOTED)]
    assert {(row["old_leader"], row["old_address"], row["leads"]) for row in promotion.plan} == {
        (first.directory_id, address_of(first), False)
    }
    with pytest.raises(TryAgainError, match="lacks 2 records"):
        promotion.check_not_behind()
    with pytest.raises(NotLeaderError) as refused:
        produce(second, b"x", partition=0)
    assert address_of(first) in str(refused.value.why)
    assert refused.value.exit_status == 75


def test_a_source_that_is_lost_on_the_way_is_known_to_have_had_more(first, second):
    produce(first, b"a", b"b", partition=0)
    source, target = DirectoryReplica(first.path), DirectoryReplica(second.path)
    assert target.begin(source.directory_id, source.address)
    run = Replicator(source, target, Choice()).run()
    # The topic is there, and nothing of its records yet.
    assert next(event.kind for event in run if event.kind != "topic") == "partition"
    run.close()
    target.close()
    source.close()
    with pytest.raises(TryAgainError, match="lacks 2 records"):
        Promotion(second, None).check_not_behind()


def test_what_is_promoted_takes_records_from_its_end_on(first, second):
    produce(first, b"a", b"b", partition=0)
    follow(first, second)
    promotion = promote(second)
    assert [(row["leads"], row["new_epoch"]) for row in promotion.plan] == [(True, PROMOTED)] * 2
    assert promotion.failures == []
    produce(second, b"c", partition=0)
    assert consume(second) == {0: [b"a", b"b", b"c"]}
    topic = second.open_topic("t")
    assert [(entry.epoch, entry.first_offset, entry.leader_id) for entry in topic.read_epochs(0).entries] == [
        (0, 0, first.directory_id),
        (PROMOTED, 2, second.directory_id),
    ]
    topic.close()


def test_a_directory_that_leads_has_nothing_to_do(first):
    produce(first, b"a", partition=0)
    assert Promotion(first, None).plan == []
    promotion = promote(first, ["t"])
    assert [row["leads"] for row in promotion.plan] == [True, True]
    assert promotion.to_do == []
    assert [row["new_epoch"] for row in promotion.plan] == [0, 0]


def test_groups_go_on_where_they_stood_and_none_is_moved_back(first, second):
    produce(first, *[b"%d" % number for number in range(10)], partition=0)
    for group, there in (("new", 6), ("behind", 7), ("ahead", 3)):
        commit(first, group, 0, there)
    follow(first, second)
    commit(second, "behind", 0, 2)
    commit(second, "ahead", 0, 9)
    promotion = promote(second)
    assert {(row["group"], row["committed_offset"], row["new_offset"]) for row in promotion.groups} == {
        ("new", None, 6),
        ("behind", 2, 7),
        ("ahead", 9, 9),
    }
    assert {group: committed(second, group) for group in ("new", "behind", "ahead")} == {
        "new": {0: (6, False)},
        "behind": {0: (7, False)},
        "ahead": {0: (9, False)},
    }
    fd = open_group(second, "behind")
    (change,) = read_changes(fd)
    files.close(fd)
    assert change["kind"] == "promote"
    assert [(offset["before"], offset["after"]) for offset in change["offsets"]] == [(2, 7)]
    # What is kept of them has done its work: a reset must not be undone by the next promotion.
    assert replicated_groups(second) == {}


def test_a_group_is_never_moved_beyond_what_is_here(first, second):
    produce(first, b"a", partition=0)
    follow(first, second)
    produce(first, b"b", b"c", partition=0)
    commit(first, "g", 0, 3)
    follow(first, second, up_to=1)
    promote(second)
    assert committed(second, "g") == {0: (1, False)}


def test_a_group_with_members_is_left_and_the_next_run_moves_it(first, second):
    produce(first, b"a", b"b", partition=0)
    commit(first, "g", 0, 2)
    commit(first, "h", 0, 1)
    follow(first, second)
    topic = second.open_topic("t")
    read, write = os.pipe()
    member = Membership(second, "g", session_timeout_ms=10_000, wake_fd=write)
    member.join({topic.topic_id: "t"}, None)
    try:
        promotion = promote(second)
        assert {row["group"]: bool(row["problem"]) for row in promotion.groups} == {"g": True, "h": False}
        assert "a member that lives" in next(row["problem"] for row in promotion.groups if row["group"] == "g")
        assert promotion.failures == []
        assert committed(second, "g") == {0: (2, True)}
    finally:
        member.close()
        topic.close()
        os.close(read)
        os.close(write)
    again = promote(second)
    assert again.to_do == []
    assert committed(second, "g") == {0: (2, False)}
    assert promote(second).groups == []


def test_killed_between_the_partitions_and_the_groups_it_is_run_again(first, second, monkeypatch):
    produce(first, b"a", b"b", partition=0)
    commit(first, "g", 0, 2)
    follow(first, second)

    class Killed(BaseException):
        pass

    promoted = []

    def kill_after_the_first(row):
        promoted.append(row)
        raise Killed

    with pytest.raises(Killed):
        Promotion(second, None).promote(kill_after_the_first)
    assert len(promoted) == 1
    monkeypatch.setattr(promotion_module, "change_offsets", lambda *_, **__: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        promote(second)
    monkeypatch.undo()
    assert committed(second, "g") == {0: (2, True)}
    last = promote(second)
    assert last.to_do == [] and last.failures == []
    assert committed(second, "g") == {0: (2, False)}
    topic = second.open_topic("t")
    assert [topic.read_epochs(partition).latest.epoch for partition in (0, 1)] == [PROMOTED, PROMOTED]
    topic.close()


def test_one_partition_that_cannot_be_promoted_does_not_stop_the_others(first, second):
    produce(first, b"a", partition=0)
    produce(first, b"b", partition=1)
    commit(first, "g", 0, 1)
    commit(first, "g", 1, 1)
    follow(first, second)
    topic = second.open_topic("t")
    lock_fd = topic.open_lock(0)
    from mk.storage.locks import try_acquire

    assert try_acquire(lock_fd)
    promotion = Promotion(second, None, wait_ms=10)
    promotion.promote()
    assert [type(error).__name__ for error in promotion.failures] == ["LockTimeoutError"]
    assert [row["leads"] for row in promotion.plan] == [False, True]
    assert committed(second, "g") == {0: (1, True), 1: (1, False)}
    files.close(lock_fd)
    topic.close()
    promote(second)
    assert committed(second, "g") == {0: (1, False), 1: (1, False)}


def test_damaged_topics_are_named_where_all_is_asked_for_and_refused_by_name(first, second):
    produce(first, b"a", partition=0)
    follow(first, second)
    second.create_topic("damaged", partitions=1, partitioner="crc32", overrides={}, wait_ms=0)
    with open(f"{second.path}/topics/damaged/topic.json", "r+b") as file:
        file.write(b"xx")
    promotion = promote(second)
    assert [type(error) for error in promotion.failures] == [CorruptStateError]
    assert [row["leads"] for row in promotion.plan] == [True, True]
    with pytest.raises(CorruptStateError):
        Promotion(second, ["damaged"])
