from __future__ import annotations

import os
import tempfile

from hypothesis import given
from hypothesis import strategies as st

from mk.records.codecs import crc32c
from mk.storage.partition_state import (
    SLOT_DISTANCE,
    SLOT_SIZE,
    STATE_SIZE,
    LogEnd,
    PartitionState,
    decode_slot,
    initial_state,
    read_state,
    write_state,
)

NUMBERS = st.integers(0, (1 << 63) - 1)
ENDS = st.builds(
    LogEnd, st.integers(0, 1 << 33), NUMBERS, st.integers(0, (1 << 32) - 1), st.integers(-1, (1 << 63) - 1)
)


def state_of(**fields: object) -> PartitionState:
    state = PartitionState("f" * 32, "01234567-89ab-cdef-0123-456789abcdef")
    for name, value in fields.items():
        setattr(state, name, value)
    return state


@given(NUMBERS, NUMBERS, ENDS, ENDS, NUMBERS, st.integers(0, (1 << 64) - 1), st.integers(0, 1), st.integers(0, 10**15))
def test_a_state_comes_back_as_it_was_written(
    sequence: int,
    segment: int,
    written: LogEnd,
    durable: LogEnd,
    high_watermark: int,
    epoch: int,
    syncing: int,
    began: int,
) -> None:
    # As in any log: the segment begins in front of what is on disk, and that ends in front of what is written.
    segment, durable.offset, written.offset = sorted((segment, durable.offset, written.offset))
    state = state_of(
        sequence=sequence,
        segment=segment,
        written=written,
        durable=durable,
        high_watermark=high_watermark,
        leader_epoch=epoch,
        syncing=syncing,
        began_ms=began,
    )
    state.slot = slot = state.encode()
    assert len(slot) == SLOT_SIZE
    found = decode_slot(slot)
    assert found is not None
    assert {name: getattr(found, name) for name in PartitionState.__slots__} == {
        name: getattr(state, name) for name in PartitionState.__slots__
    }


def test_the_largest_numbers_fit_into_a_slot() -> None:
    largest = (1 << 63) - 1
    end = LogEnd(1 << 33, largest, (1 << 32) - 1, largest)
    state = state_of(
        sequence=largest,
        segment=largest,
        written=end,
        durable=end,
        high_watermark=largest,
        log_start_offset=largest,
        leader_epoch=(1 << 64) - 1,
        cleaned_to=largest,
        tombstones_dropped_to=largest,
        syncing=1,
        began_ms=10**15,
    )
    assert len(state.encode()) == SLOT_SIZE
    assert decode_slot(state.encode()) is not None


def test_a_slot_without_the_time_at_which_the_segment_began_is_read() -> None:
    slot = state_of(sequence=3, syncing=1).encode()
    line = slot[: slot.index(b" began=")]
    found = decode_slot((line + b" crc=%08x" % crc32c(line)).ljust(SLOT_SIZE - 1) + b"\n")
    assert found is not None and (found.sequence, found.syncing, found.began_ms) == (3, 1, 0)


def test_every_flipped_bit_of_a_slot_is_noticed_or_harmless() -> None:
    state = state_of(sequence=7, written=LogEnd(1, 2, 3, 4))
    slot = state.encode()
    length = slot.rindex(b" crc=") + 13
    for bit in range(SLOT_SIZE * 8):
        changed = bytearray(slot)
        changed[bit // 8] ^= 1 << bit % 8
        found = decode_slot(bytes(changed))
        if bit // 8 < length:
            # The checksum's digits may be upper case as well.
            assert found is None or str(found.written) == str(state.written) and found.sequence == 7
        else:
            assert found is None or found.encode() == slot


def test_the_newest_valid_slot_counts_and_a_torn_one_does_not() -> None:
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        os.pwrite(fd, initial_state(state_of()), 0)
        assert os.fstat(fd).st_size == STATE_SIZE
        state = state_of()
        for number in range(1, 6):
            state = state.copy()
            state.high_watermark = number
            write_state(fd, state)
            found = read_state(fd)
            assert found is not None and (found.sequence, found.high_watermark) == (number, number)
        newest = SLOT_DISTANCE * (5 & 1)
        os.pwrite(fd, b"\0" * 100, newest + 100)
        found = read_state(fd)
        assert found is not None and found.high_watermark == 4
        os.pwrite(fd, b"?", SLOT_DISTANCE - newest)
        assert read_state(fd) is None


def test_a_state_is_written_over_the_older_slot() -> None:
    with tempfile.TemporaryFile() as file:
        os.pwrite(file.fileno(), initial_state(state_of()), 0)
        state = state_of()
        write_state(file.fileno(), state)
        first = os.pread(file.fileno(), SLOT_SIZE, 0)
        assert decode_slot(first).sequence == 0  # type: ignore[union-attr]
        write_state(file.fileno(), state.copy())
        assert decode_slot(os.pread(file.fileno(), SLOT_SIZE, 0)).sequence == 2  # type: ignore[union-attr]
        assert decode_slot(os.pread(file.fileno(), SLOT_SIZE, SLOT_DISTANCE)).sequence == 1  # type: ignore[union-attr]


def test_a_state_that_is_known_is_taken_for_what_stands_there_only_if_it_is_the_same() -> None:
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        os.pwrite(fd, initial_state(state_of()), 0)
        known = state_of()
        write_state(fd, known)
        assert read_state(fd, known) is known
        assert read_state(fd, known.copy()) is not known
        of_another = known.copy()
        of_another.high_watermark = 7
        write_state(fd, of_another)
        found = read_state(fd, known)
        assert found is not None and (found.sequence, found.high_watermark) == (2, 7)
        assert read_state(fd, found) is found
        os.pwrite(fd, b"?", 100)  # The newer slot is torn.
        found = read_state(fd, found)
        assert found is not None and found.sequence == 1


def test_an_empty_short_or_foreign_file_has_no_state() -> None:
    for data in (b"", b"\0" * STATE_SIZE, b"x" * 100, b"\xff" * STATE_SIZE, b" crc=00000000".ljust(STATE_SIZE)):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            assert read_state(file.fileno()) is None
