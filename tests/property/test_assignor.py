"""Who owns what: every partition exactly once, balanced to within one, with as few moves as that takes, and agreed on."""

import hypothesis.strategies as st
from hypothesis import given

from mk.groups.assignor import assign

MEMBERS = st.lists(st.text("abcdef", min_size=1, max_size=3), unique=True, max_size=12).map(sorted).map(tuple)
PARTITIONS = st.integers(0, 40).map(lambda count: [("t", number) for number in range(count)])


def loads(assignment, members):
    return [sum(owner == member for owner in assignment.values()) for member in members]


@given(MEMBERS, PARTITIONS, st.data())
def test_members_that_may_own_the_same_get_the_same_to_within_one(members, partitions, data):
    owners = {key: data.draw(st.sampled_from([*members, "gone"])) for key in partitions if data.draw(st.booleans())}
    assignment = assign(dict.fromkeys(partitions, members), owners)
    assert set(assignment) == (set(partitions) if members else set())
    assert not members or max(loads(assignment, members)) - min(loads(assignment, members)) <= 1
    moved = sum(1 for key, owner in owners.items() if owner in members and assignment[key] != owner)
    # Nobody keeps more than the larger share, and as many members as the remainder allows keep that.
    if members:
        share, remainder = divmod(len(partitions), len(members))
        before = sorted(loads({key: owner for key, owner in owners.items() if owner in members}, members), reverse=True)
        must_go = sum(max(0, load - (share + (place < remainder))) for place, load in enumerate(before))
        assert moved == must_go


@given(MEMBERS, PARTITIONS, st.data())
def test_what_is_assigned_is_assigned_so_again(members, partitions, data):
    candidates = dict.fromkeys(partitions, members)
    owners = {key: data.draw(st.sampled_from([*members, "gone"])) for key in partitions}
    assignment = assign(candidates, owners)
    assert assign(candidates, assignment) == assignment


@given(MEMBERS.filter(bool), PARTITIONS, st.data())
def test_whoever_looks_when_some_of_it_has_been_let_go_of_comes_to_a_balance_too(members, partitions, data):
    candidates = dict.fromkeys(partitions, members)
    owners = {key: data.draw(st.sampled_from(members)) for key in partitions}
    goal = assign(candidates, owners)
    halfway = {key: owner for key, owner in owners.items() if goal[key] == owner or data.draw(st.booleans())}
    for key in data.draw(st.permutations(partitions)):
        if key not in halfway and data.draw(st.booleans()):
            halfway[key] = goal[key]
    again = assign(candidates, halfway)
    assert max(loads(again, members)) - min(loads(again, members)) <= 1


@given(st.data())
def test_members_of_different_topics_share_what_they_can(data):
    members = data.draw(MEMBERS)
    topics = {topic: data.draw(st.integers(1, 6)) for topic in "xyz"}
    reads = {member: data.draw(st.sets(st.sampled_from("xyz"))) for member in members}
    takers = {topic: tuple(member for member in members if topic in reads[member]) for topic in topics}
    candidates = {(topic, number): takers[topic] for topic, count in topics.items() for number in range(count)}
    owners = {key: data.draw(st.sampled_from([*members, "gone"])) for key in candidates}
    assignment = assign(candidates, owners)
    assert set(assignment) == {key for key, ones in candidates.items() if ones}
    assert all(owner in candidates[key] for key, owner in assignment.items())
    # Balanced: no chain of partitions leads from one member to another that has two fewer.
    count = dict(zip(members, loads(assignment, members), strict=True))
    for first in members:
        reached, ring = {first}, [first]
        while ring:
            ring = [
                taker
                for key, owner in assignment.items()
                if owner in ring
                for taker in candidates[key]
                if taker not in reached and not reached.add(taker)
            ]
        assert count[first] - min(count[member] for member in reached) <= 1


def test_a_member_that_joins_gets_its_share_and_nothing_else_moves():
    partitions = [("t", number) for number in range(8)]
    alone = assign(dict.fromkeys(partitions, ("a",)), {})
    both = assign(dict.fromkeys(partitions, ("a", "b")), alone)
    assert sum(both[key] != alone[key] for key in partitions) == 4
    three = assign(dict.fromkeys(partitions, ("a", "b", "c")), both)
    assert sum(three[key] != both[key] for key in partitions) == 2
    left = assign(dict.fromkeys(partitions, ("a", "c")), three)
    assert all(left[key] == owner for key, owner in three.items() if owner != "b")


def test_a_thousand_members_on_four_thousand_partitions_take_no_time_to_speak_of():
    members = tuple(f"{number:04}" for number in range(200))
    partitions = [("t", number) for number in range(4096)]
    assert len(assign(dict.fromkeys(partitions, members), {})) == 4096
