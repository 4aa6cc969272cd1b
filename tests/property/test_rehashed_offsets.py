"""Where groups go on in other partitions: nothing that they had not read is skipped, and no later place would do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mk.groups.rehashed_offsets import RehashedOffsets


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]], dict[str, list[int]], list[int]]:
    """Old and new partitions, records as (old, new partition) in their order, where groups stand, and where pieces end."""
    old, new = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    records = draw(st.lists(st.tuples(st.integers(0, old - 1), st.integers(0, new - 1)), max_size=40))
    counts = [sum(1 for at, _ in records if at == partition) for partition in range(old)]
    stand = st.tuples(*[st.integers(0, count + 2) for count in counts]).map(list)
    groups = draw(st.dictionaries(st.sampled_from(["a", "b", "c"]), stand, max_size=3))
    cuts = draw(st.lists(st.integers(0, len(records)), max_size=5))
    return old, new, records, groups, sorted(cuts)


@given(histories())
def test_a_group_goes_on_at_the_first_record_of_each_partition_that_it_had_not_read(
    history: tuple[int, int, list[tuple[int, int]], dict[str, list[int]], list[int]],
) -> None:
    old, new, records, groups, cuts = history
    found = RehashedOffsets(groups, new)
    next_offset = [0] * old
    place = [0] * new
    unread: dict[str, list[list[int]]] = {group: [[] for _ in range(new)] for group in groups}
    for start, stop in zip([0, *cuts], [*cuts, len(records)]):
        at = start
        while at < stop:
            run = at
            while run < stop and records[run][0] == records[at][0]:
                run += 1
            partition = records[at][0]
            offsets = range(next_offset[partition], next_offset[partition] + run - at)
            for offset, (_, target) in zip(offsets, records[at:run]):
                for group, stands in groups.items():
                    if offset >= stands[partition]:
                        unread[group][target].append(place[target])
                place[target] += 1
            next_offset[partition] = offsets.stop
            if groups:
                found.produced(partition, offsets, [target for _, target in records[at:run]])
            at = run
    for group in groups:
        expected = [min(places, default=end) for places, end in zip(unread[group], place)]
        assert found.of(group) == expected
