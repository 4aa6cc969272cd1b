"""A cursor file that its holder replaces, as each save does, while somebody else is about to lock it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk.consumer import cursor_file
from mk.consumer.cursor_file import CursorFile, CursorPosition
from mk.errors import CursorInUseError

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY, TOPIC = "d" * 32, "e" * 32


@pytest.mark.parametrize("lets_go", [True, False])
def test_who_locks_a_file_that_was_replaced_meanwhile_takes_the_one_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lets_go: bool
) -> None:
    path = str(tmp_path / "cursor")
    CursorFile(path, DIRECTORY).close()
    holder = CursorFile(path, DIRECTORY)
    real = cursor_file.locks.try_acquire

    def lock_late(fd: int) -> bool:
        monkeypatch.setattr(cursor_file.locks, "try_acquire", real)
        holder.positions[TOPIC, 0] = CursorPosition(TOPIC, "t", 1, 0, 42, 0)
        holder.save()
        if lets_go:
            holder.close()
        return real(fd)

    monkeypatch.setattr(cursor_file.locks, "try_acquire", lock_late)
    if lets_go:
        late = CursorFile(path, DIRECTORY)
        assert [position.offset for position in late.positions.values()] == [42]
        late.close()
    else:
        with pytest.raises(CursorInUseError):
            CursorFile(path, DIRECTORY)
        holder.close()
