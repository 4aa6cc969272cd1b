from __future__ import annotations

import tempfile

from mk.storage.offset_index import (
    ENTRY,
    INTERVAL_BYTES,
    entry_due,
    last_entry,
    lookup_offset,
    lookup_time,
    whole_entries_up_to,
)


def test_an_entry_is_due_behind_each_multiple_of_the_interval() -> None:
    assert not entry_due(0, INTERVAL_BYTES - 1)
    assert entry_due(0, INTERVAL_BYTES)
    assert entry_due(INTERVAL_BYTES - 1, 5 * INTERVAL_BYTES)
    assert not entry_due(INTERVAL_BYTES, 2 * INTERVAL_BYTES - 1)


def test_an_empty_index_hints_at_the_segments_start() -> None:
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        assert lookup_offset(fd, 9) == lookup_time(fd, 9) == (0, 0)
        assert last_entry(fd) is None
        assert whole_entries_up_to(fd, 9) == 0


def test_an_entry_is_sixteen_bytes_big_endian() -> None:
    assert ENTRY.pack(1, 2, -1) == b"\0\0\0\1\0\0\0\2" + b"\xff" * 8


def test_a_time_is_looked_for_from_the_last_entry_before_which_all_is_earlier() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(ENTRY.pack(10, 100, 5) + ENTRY.pack(20, 200, 5) + ENTRY.pack(30, 300, 9) + b"torn")
        file.flush()
        fd = file.fileno()
        assert lookup_time(fd, 5) == (0, 0)
        assert lookup_time(fd, 6) == (20, 200)
        assert lookup_time(fd, 10) == (30, 300)
        assert lookup_offset(fd, 29) == (20, 200)
        assert whole_entries_up_to(fd, 250) == 32
