"""What goes of a group, and what must stay: old generations, claims that somebody holds, members that come in between."""

import os
import time

import pytest

from mk.errors import LockTimeoutError, TryAgainError
from mk.group_errors import GroupNotEmptyError
from mk.groups import claim as claims_module
from mk.groups import group_removal
from mk.groups.claim import fence, take
from mk.groups.claim_directory import claim_name, group_names, make_claims
from mk.groups.group_removal import delete_claims, old_generations, remove_old_generations
from mk.groups.membership import Membership
from mk.storage import files
from mk.storage.log_directory import LogDirectory, create_directory

DAY = 24 * 3600


@pytest.fixture
def topic(tmp_path):
    create_directory(str(tmp_path / "log"))
    directory = LogDirectory(str(tmp_path / "log"))
    directory.create_topic("t", partitions=2, partitioner="crc32", overrides={}, wait_ms=0)
    topic = directory.open_topic("t")
    yield topic
    topic.close()
    directory.close()


@pytest.fixture
def claims(topic):
    claims = make_claims(topic, "g")
    yield claims
    for claim in list(claims_module._held):
        claim.close()
    claims.close()


def make_generations(claims, count, *, partition=0):
    """Have a partition fenced again and again; returns the claims, all held."""
    made = [take(claims, partition)]
    made[0].commit(1, 0)
    for number in range(2, count + 1):
        made.append(fence(claims, partition))
        made[-1].commit(number, 0)
    return made


def age(claims, generations, *, partition=0, seconds=DAY + 60):
    for generation in generations:
        at = time.time() - seconds
        os.utime(f"{claims.path}/{claim_name(partition, generation)}", (at, at))


def left(claims, partition=0):
    return claims.generations().get(partition, [])


def test_old_generations_go_but_for_two(topic, claims):
    for claim in make_generations(claims, 5):
        claim.close()
    age(claims, range(1, 6))
    assert [number for _, _, number in old_generations(topic.directory, "g")] == [1, 2, 3]
    assert left(claims) == [1, 2, 3, 4, 5]
    assert remove_old_generations(topic.directory, "g") == 3
    assert left(claims) == [4, 5]
    assert claims.newest(0).offset == 5
    assert take(claims, 0).committed.offset == 5
    assert remove_old_generations(topic.directory, "g") == 0


def test_young_ones_stay_with_all_above_them(topic, claims):
    for claim in make_generations(claims, 6):
        claim.close()
    age(claims, [1, 3, 4])
    age(claims, [2], seconds=DAY - 600)
    assert remove_old_generations(topic.directory, "g") == 1
    assert left(claims) == [2, 3, 4, 5, 6]


def test_nothing_goes_above_one_that_is_still_held(topic, claims):
    """Its owner is stopped. When it goes on it looks for the next generation, to see that it was fenced."""
    made = make_generations(claims, 6)
    for claim in made[:1] + made[2:]:
        claim.close()
    age(claims, range(1, 7))
    assert remove_old_generations(topic.directory, "g") == 1
    assert left(claims) == [2, 3, 4, 5, 6]
    with pytest.raises(TryAgainError):
        made[1].commit(9, 0)
    assert remove_old_generations(topic.directory, "g") == 0  # It has just been written to.
    age(claims, range(2, 7))
    assert remove_old_generations(topic.directory, "g") == 3


def test_the_newest_that_can_be_read_stays_however_many_stand_above_it(topic, claims):
    for claim in make_generations(claims, 3):
        claim.close()
    for generation in (4, 5, 6):  # Of fencers that were killed before they had written anything.
        with open(f"{claims.path}/{claim_name(0, generation)}", "wb") as file:
            file.write(bytes(4608))
    age(claims, range(1, 7))
    assert remove_old_generations(topic.directory, "g") == 2
    assert left(claims) == [3, 4, 5, 6]
    assert take(claims, 0).committed.offset == 3


def test_a_deletion_is_refused_while_anybody_holds_any_generation(topic, claims):
    made = make_generations(claims, 3)
    while made:
        with pytest.raises(LockTimeoutError) as caught:
            delete_claims(topic.directory, "g", None, wait_ms=0)
        assert caught.value.exit_status == 75 and str(os.getpid()) in caught.value.why
        assert "partition 0 of t for group g" in caught.value.what
        assert left(claims) == [1, 2, 3]
        made.pop().close()
    assert delete_claims(topic.directory, "g", None, wait_ms=0).group_is_gone


def test_a_member_that_has_only_just_joined_keeps_its_group(topic, claims, monkeypatch):
    make_generations(claims, 1)[0].close()
    read, write = os.pipe()
    members = []

    def join_first(*arguments):
        member = Membership(topic.directory, "g", session_timeout_ms=10_000, wake_fd=write)
        member.join({topic.topic_id: "t"}, None)
        members.append(member)
        return remove(*arguments)

    remove = group_removal._remove_members
    monkeypatch.setattr(group_removal, "_remove_members", join_first)
    try:
        with pytest.raises(GroupNotEmptyError):
            delete_claims(topic.directory, "g", None, wait_ms=0)
        assert left(claims) == [1]
    finally:
        for member in members:
            member.close()
        os.close(read)
        os.close(write)


def test_who_joins_a_group_as_it_is_deleted_is_told_to_try_again(topic, claims):
    make_generations(claims, 1)[0].close()
    read, write = os.pipe()
    member = Membership(topic.directory, "g", session_timeout_ms=10_000, wake_fd=write)
    try:
        assert delete_claims(topic.directory, "g", None, wait_ms=0).group_is_gone
        with pytest.raises(TryAgainError):
            member.join({topic.topic_id: "t"}, None)
        with pytest.raises(TryAgainError):
            take(claims, 0)
    finally:
        member.close()
        os.close(read)
        os.close(write)
    assert group_names(topic.directory) == []
    again = make_claims(topic, "g")
    assert take(again, 0).generation == 1
    again.close()


def test_who_was_about_to_lock_a_claim_that_was_deleted_takes_none_without_a_name(topic, claims, monkeypatch):
    make_generations(claims, 1)[0].close()
    real = claims_module.try_acquire

    def delete_first(fd):
        monkeypatch.setattr(claims_module, "try_acquire", real)
        os.unlink(f"{claims.path}/{claim_name(0, 1)}")
        return real(fd)

    monkeypatch.setattr(claims_module, "try_acquire", delete_first)
    claim = take(claims, 0)
    assert (claim.generation, claim.committed.offset) == (1, -1)
    claim.commit(3, 0)
    assert claims.newest(0).offset == 3


def test_what_somebody_has_used_since_is_not_idle(topic, claims):
    make_generations(claims, 1)[0].close()
    newest = claims.newest(0).time_ms
    assert not delete_claims(topic.directory, "g", None, idle_since_ms=newest - 1, wait_ms=0).group_is_gone
    assert left(claims) == [1]
    assert delete_claims(topic.directory, "g", None, idle_since_ms=newest, wait_ms=0).group_is_gone


def test_files_of_dead_members_go_with_the_group(topic, claims):
    make_generations(claims, 1)[0].close()
    members = f"{topic.directory.path}/groups/g/members"
    os.mkdir(members)
    for name in ("ab" * 16, ".tmp-0011223344556677"):
        with open(f"{members}/{name}", "wb"):
            pass
    assert delete_claims(topic.directory, "g", None, wait_ms=0).group_is_gone
    assert group_names(topic.directory) == []


def test_who_makes_a_directory_that_is_deleted_as_it_is_made_makes_it_again(topic, claims, monkeypatch):
    make_generations(claims, 1)[0].close()
    real = files.open_directory
    deleted = []

    def delete_first(name, **keywords):
        if name == topic.topic_id and not deleted:
            deleted.append(name)
            assert delete_claims(topic.directory, "g", None, wait_ms=0).group_is_gone
        return real(name, **keywords)

    monkeypatch.setattr(files, "open_directory", delete_first)
    again = make_claims(topic, "g")
    monkeypatch.undo()
    assert deleted and take(again, 0).committed.offset == -1
    again.close()
