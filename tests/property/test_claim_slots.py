"""Whatever happens to one write of a claim, what is read is the commit before it or that commit, never another."""

from hypothesis import given
from hypothesis import strategies as st

from mk.groups.claim_slot import SLOT_DISTANCE, SLOT_SIZE, ClaimSlot, decode_slot, decode_slots, new_claim

slots = st.builds(
    ClaimSlot,
    st.integers(0, 1 << 62),
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.text("abcXYZ019._-", min_size=1, max_size=200),
    st.integers(0, 4095),
    st.integers(1, 10**10 - 1),
    st.integers(-1, (1 << 63) - 1),
    st.integers(-1, (1 << 63) - 1),
    st.integers(0, 1 << 50),
)


@given(slots)
def test_what_was_written_is_read(slot):
    assert decode_slot(slot.encode()) == slot
    assert decode_slots(new_claim(slot)) == [slot]


def file_of(slot, offsets):
    """Return a claim file as commits of these offsets leave it, and its two last slots."""
    content = bytearray(new_claim(slot))
    last = [slot]
    for offset in offsets:
        slot = ClaimSlot(
            slot.sequence + 1, slot.topic_id, slot.topic, slot.partition, slot.generation, offset, 0, slot.time_ms
        )
        content[slot.position : slot.position + SLOT_SIZE] = slot.encode()
        last = [slot, *last[:1]]
    return content, last


@given(slots, st.lists(st.integers(0, 1 << 40), max_size=4), st.integers(0, 1 << 40), st.data())
def test_a_torn_commit_leaves_the_one_before_it_or_is_whole(slot, offsets, offset, data):
    content, last = file_of(slot, offsets)
    torn, (new, *_) = file_of(slot, [*offsets, offset])
    kept = data.draw(st.lists(st.booleans(), min_size=8, max_size=8))
    for number, is_kept in enumerate(kept):
        at = new.position + number * SLOT_SIZE // 8
        if is_kept:
            content[at : at + SLOT_SIZE // 8] = torn[at : at + SLOT_SIZE // 8]
    found = decode_slots(bytes(content))
    assert found[0] in (new, last[0])
    assert found[0] == new or found[0].offset == last[0].offset
    if all(kept):
        assert found[0] == new


@given(slots, st.lists(st.integers(0, 1 << 40), max_size=4), st.data())
def test_a_flipped_bit_costs_at_most_the_slot_that_it_is_in(slot, offsets, data):
    content, last = file_of(slot, offsets)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    found = decode_slots(bytes(content))
    assert found in (last, last[:1], last[1:])
    in_slot = [one for one in last if one.position <= bit // 8 < one.position + SLOT_SIZE]
    if not in_slot:
        assert found == last
    assert bit // 8 < SLOT_SIZE or bit // 8 >= SLOT_DISTANCE or found == last
