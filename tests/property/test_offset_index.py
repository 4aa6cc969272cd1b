"""A look-up in an index is what a walk over its entries gives, whatever bytes the index holds."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from mk.storage import offset_index
from mk.storage.offset_index import ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = st.lists(st.tuples(st.integers(1, 1 << 20), st.integers(1, 1 << 20), st.integers(0, 1 << 30)), max_size=60)


@contextmanager
def index_of(data: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.fileno()


def entries_of(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    found, offset, position, time = [], 0, 0, -1
    for more_offset, more_position, more_time in steps:
        offset, position, time = offset + more_offset, position + more_position, time + more_time
        found.append((offset, position, time))
    return found


@given(STEPS, st.integers(0, 1 << 25), st.binary(max_size=15))
def test_an_offset_is_found_as_by_walking(steps: list[tuple[int, int, int]], wanted: int, torn: bytes) -> None:
    entries = entries_of(steps)
    with index_of(b"".join(ENTRY.pack(*entry) for entry in entries) + torn) as fd:
        below = [entry[:2] for entry in entries if entry[0] <= wanted]
        assert offset_index.lookup_offset(fd, wanted) == (below[-1] if below else (0, 0))
        assert offset_index.last_entry(fd) == (entries[-1] if entries else None)


@given(STEPS, st.integers(-5, 1 << 34))
def test_a_time_is_found_as_by_walking(steps: list[tuple[int, int, int]], wanted: int) -> None:
    entries = entries_of(steps)
    with index_of(b"".join(ENTRY.pack(*entry) for entry in entries)) as fd:
        before = [entry[:2] for entry in entries if entry[2] < wanted]
        assert offset_index.lookup_time(fd, wanted) == (before[-1] if before else (0, 0))


@given(STEPS, st.integers(0, 1 << 25), st.binary(max_size=15))
def test_a_cut_keeps_the_entries_up_to_a_position_and_no_torn_one(
    steps: list[tuple[int, int, int]], position: int, torn: bytes
) -> None:
    entries = entries_of(steps)
    with index_of(b"".join(ENTRY.pack(*entry) for entry in entries) + torn) as fd:
        size = offset_index.whole_entries_up_to(fd, position)
        assert size == ENTRY.size * sum(entry[1] <= position for entry in entries)


@given(STEPS, st.integers(0, 1 << 25), st.binary(max_size=100))
def test_recovery_keeps_what_is_in_order_and_not_behind_the_end(
    steps: list[tuple[int, int, int]], position: int, garbage: bytes
) -> None:
    entries = entries_of(steps)
    good = sum(entry[1] <= position for entry in entries)
    with index_of(b"".join(ENTRY.pack(*entry) for entry in entries) + bytes(ENTRY.size) + garbage) as fd:
        assert offset_index.proved_entries_up_to(fd, position) == ENTRY.size * good


@given(st.binary(max_size=400), st.integers(0, 1 << 32), st.integers(-(1 << 63), (1 << 63) - 1))
def test_any_bytes_give_some_hint_and_no_error(data: bytes, offset: int, time: int) -> None:
    with index_of(data) as fd:
        for relative, position in (offset_index.lookup_offset(fd, offset), offset_index.lookup_time(fd, time)):
            assert 0 <= relative < 1 << 32
            assert 0 <= position < 1 << 32
        assert offset_index.whole_entries_up_to(fd, offset) <= os.fstat(fd).st_size
