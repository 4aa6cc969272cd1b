"""Two members step by step: whatever one does between any two operations of the other, no acknowledged commit is lost."""

import itertools

import pytest

from mk.group_errors import ClaimFencedError
from mk.groups.claim import fence, take
from mk.groups.claim_directory import make_claims
from mk.storage import files

STEPS = ("exists", "fdatasync", "fsync", "link", "open_file", "pread", "pwrite", "read_file", "unlink")


def interrupt(monkeypatch, at, action):
    """Run `action` before the operation number `at` of those that follow, once."""
    count = itertools.count()
    state = {"done": False}

    def wrapped(real):
        def step(*arguments, **keywords):
            if not state["done"] and next(count) == at:
                state["done"] = True
                action()
            return real(*arguments, **keywords)

        return step

    for name in STEPS:
        monkeypatch.setattr(files, name, wrapped(getattr(files, name)))
    return state


def commit(claim, offset, acknowledged):
    try:
        claim.commit(offset, 0)
    except ClaimFencedError:
        return
    acknowledged.append(offset)


@pytest.mark.parametrize("at", range(40))
def test_a_member_that_is_fenced_between_any_two_steps_of_a_commit(topic, claims, monkeypatch, at):
    owner, acknowledged, taken = take(claims, 0), [], []
    commit(owner, 5, acknowledged)
    other = make_claims(topic, "billing")
    with monkeypatch.context() as patch:
        state = interrupt(patch, at, lambda: taken.append(fence(other, 0)))
        commit(owner, 6, acknowledged)
    if state["done"]:
        assert taken[0].committed.offset >= max(acknowledged), "an acknowledged commit was rolled back"
        assert taken[0].committed.offset in (5, 6)
        assert claims.newest(0).offset == taken[0].committed.offset
        taken[0].close()
    else:
        assert at > 2 and acknowledged == [5, 6]
    owner.close()
    other.close()


@pytest.mark.parametrize("at", range(60))
def test_a_fencer_that_is_stopped_between_any_two_steps_while_the_owner_commits(topic, claims, monkeypatch, at):
    owner, acknowledged = take(claims, 0), []
    commit(owner, 5, acknowledged)
    other = make_claims(topic, "billing")
    seen = []

    def commits():
        commit(owner, 6, acknowledged)
        seen.append(claims.newest(0).offset)
        if owner._fd >= 0:
            commit(owner, 7, acknowledged)

    with monkeypatch.context() as patch:
        state = interrupt(patch, at, commits)
        claim = fence(other, 0)
    assert claim is not None
    assert claim.committed.offset >= max(acknowledged), "an acknowledged commit was rolled back"
    assert not seen or seen[0] <= claim.committed.offset, "a reader was ahead of who took over"
    if not state["done"]:
        assert at > 10
    claim.close()
    owner.close()
    other.close()


@pytest.mark.parametrize("at", range(60))
def test_a_fencer_that_is_fenced_between_any_two_steps(topic, claims, monkeypatch, at):
    owner, acknowledged = take(claims, 0), []
    commit(owner, 5, acknowledged)
    other, third = make_claims(topic, "billing"), make_claims(topic, "billing")
    later = []

    def overtake():
        claim = fence(third, 0)
        if claim is not None:
            later.append(claim)
            commit(claim, 6, acknowledged)

    with monkeypatch.context() as patch:
        interrupt(patch, at, overtake)
        try:
            claim = fence(other, 0)
        except ClaimFencedError:
            claim = None
    if claim is not None:
        commit(claim, claim.committed.offset + 1, acknowledged)
        claim.close()
    for one in later:
        one.close()
    owner.close()
    assert claims.newest(0).offset >= max(acknowledged)
    after = take(claims, 0)
    assert after.committed.offset >= max(acknowledged), "an acknowledged commit was rolled back"
    after.close()
    other.close()
    third.close()


@pytest.mark.parametrize("at", range(30))
def test_two_that_make_the_first_claim_at_once(topic, claims, monkeypatch, at):
    other = make_claims(topic, "billing")
    got = []
    with monkeypatch.context() as patch:
        interrupt(patch, at, lambda: got.append(take(other, 0)))
        got.append(take(claims, 0))
    owners = [claim for claim in got if claim is not None]
    assert len(owners) == 1 and owners[0].generation == 1
    owners[0].commit(3, 0)
    assert claims.newest(0).offset == 3
    owners[0].close()
    other.close()


@pytest.mark.parametrize("at", range(10))
def test_a_reader_that_is_overtaken_between_any_two_steps(topic, claims, monkeypatch, at):
    """It must not come back with what a fenced member wrote and nobody goes on from: records would go by it."""
    owner, acknowledged, taken = take(claims, 0), [], []
    commit(owner, 5, acknowledged)
    other, reader = make_claims(topic, "billing"), make_claims(topic, "billing")

    def overtake():
        taken.append(fence(other, 0))
        commit(owner, 6, acknowledged)

    with monkeypatch.context() as patch:
        state = interrupt(patch, at, overtake)
        seen = reader.newest_on_disk(0).offset
    assert acknowledged == [5] and seen == 5
    assert state["done"] or at > 3
    for one in (*taken, owner, other, reader):
        one.close()
