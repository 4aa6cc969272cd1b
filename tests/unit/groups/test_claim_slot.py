"""Slots of a claim: what was written is read, and what was not written is never read."""

from mk.groups.claim_slot import CLAIM_SIZE, SLOT_DISTANCE, SLOT_SIZE, ClaimSlot, decode_slot, decode_slots, new_claim
from mk.records.codecs import crc32c
from mk.topic_partition import MAX_NAME_LENGTH, MAX_PARTITIONS

LARGEST = (1 << 63) - 1


def slot(sequence=4, offset=1200):
    return ClaimSlot(sequence, "f" * 32, "orders", 3, 2, offset, 7, 1795428000000)


def test_a_slot_is_one_line_that_a_person_can_read():
    data = slot().encode()
    assert len(data) == SLOT_SIZE and data.endswith(b" \n") and data.count(b"\n") == 1
    assert data.startswith(
        b"sequence=4 topic="
        + b"f" * 32
        + b" name=orders partition=3 generation=2 offset=1200 leader_epoch=7 time=1795428000000 crc="
    )


def test_the_largest_numbers_and_the_longest_name_fit():
    large = ClaimSlot(
        LARGEST, "f" * 32, "n" * MAX_NAME_LENGTH, MAX_PARTITIONS - 1, 10**10 - 1, LARGEST, (1 << 64) - 1, LARGEST
    )
    assert len(large.encode()) == SLOT_SIZE
    assert decode_slot(large.encode()) == large


def test_numbers_that_nobody_commits_are_no_slot():
    assert decode_slot(slot(offset=-1).encode()) is not None
    for number in (-2, 1 << 64):
        assert decode_slot(slot(offset=number).encode()) is None


def test_slots_take_turns_and_the_newer_comes_first():
    content = bytearray(new_claim(slot(4)))
    assert len(content) == CLAIM_SIZE
    assert decode_slots(bytes(content)) == [slot(4)]
    after = slot(5, 1300)
    assert {slot(4).position, after.position} == {0, SLOT_DISTANCE}
    content[after.position : after.position + SLOT_SIZE] = after.encode()
    assert decode_slots(bytes(content)) == [after, slot(4)]


def test_a_new_generation_has_no_slot_and_all_its_room():
    assert decode_slots(new_claim(None)) == []
    assert new_claim(None) == bytes(CLAIM_SIZE)


def test_fields_of_a_newer_mk_are_ignored():
    data = slot().encode()
    line = data[: data.index(b" crc=")] + b" later=1"
    assert decode_slot((line + b" crc=%08x" % crc32c(line)).ljust(SLOT_SIZE - 1) + b"\n") == slot()


def test_what_is_no_slot_is_none():
    data = slot().encode()
    for bad in (b"", bytes(SLOT_SIZE), data[:-1], data[1:], b"\xff" * SLOT_SIZE, data.replace(b"offset=", b"offzet ")):
        assert decode_slot(bad) is None
    line = b"sequence=1"
    assert decode_slot((line + b" crc=%08x" % crc32c(line)).ljust(SLOT_SIZE - 1) + b"\n") is None
