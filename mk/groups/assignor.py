"""Which member of a group is to own which partition: balanced to within one, and moving as little as that takes.

A pure function of who may own what and who owns what, so that all members, each for itself, come to the same answer from
the same directory. Where two saw it at different moments, locks keep their partitions apart until they have looked again.
Idea: Kafka's StickyAssignor.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Key = tuple[str, int]
"""Topic id and number of a partition."""


def assign(candidates: Mapping[Key, Sequence[str]], owners: Mapping[Key, str]) -> dict[Key, str]:
    """Return the member that is to own each partition; one that nobody may own is left out.

    candidates: of each partition, the members that may own it. owners: who owns it now, as far as somebody does.

    Among members that may own the same partitions, none gets two more than another. A partition stays with its owner
    unless that one has more than its share.
    """
    assignment: dict[Key, str] = {}
    owned: dict[str, list[Key]] = {member: [] for members in candidates.values() for member in members}
    free = []
    for key in sorted(candidates):
        owner = owners.get(key, "")
        if owner in candidates[key]:
            assignment[key] = owner
            owned[owner].append(key)
        elif candidates[key]:
            free.append(key)
    for key in free:
        member = min(candidates[key], key=lambda member: (len(owned[member]), member))
        assignment[key] = member
        owned[member].append(key)
    while path := _way_down(candidates, owned):
        for giver, key, taker in path:
            owned[giver].remove(key)
            owned[taker] = sorted([*owned[taker], key])
            assignment[key] = taker
    return assignment


def _way_down(
    candidates: Mapping[Key, Sequence[str]], owned: dict[str, list[Key]]
) -> list[tuple[str, Key, str]] | None:
    """Find partitions to hand on, so that in the end one goes from a member with too many to one with two fewer or less.

    Mostly that is one partition. Where members may own different ones, it may take a chain: what the first may not have,
    somebody between them may, who gives up another one for it. Returns steps of giver, partition and taker.
    """
    fewest = min(map(len, owned.values()), default=0)
    for first in sorted(owned, key=lambda member: (-len(owned[member]), member)):
        limit = len(owned[first]) - 2
        if fewest > limit:
            return None
        reached: dict[str, tuple[str, Key]] = {first: ("", ("", 0))}
        ring = [first]
        while ring:
            outer = []
            for giver in ring:
                asked: set[int] = set()
                for key in reversed(owned[giver]):
                    if id(candidates[key]) in asked:
                        continue  # Those who may own this one were reached through another.
                    asked.add(id(candidates[key]))
                    for taker in candidates[key]:
                        if taker not in reached:
                            reached[taker] = (giver, key)
                            outer.append(taker)
            lowest = min(outer, key=lambda member: (len(owned[member]), member), default=first)
            if len(owned[lowest]) <= limit:
                return _path(reached, lowest)
            ring = outer
    return None


def _path(reached: dict[str, tuple[str, Key]], last: str) -> list[tuple[str, Key, str]]:
    steps = []
    while reached[last][0]:
        giver, key = reached[last]
        steps.append((giver, key, last))
        last = giver
    return steps
