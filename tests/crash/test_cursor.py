"""Saving a cursor, killed at any operation or with the power cut behind it: the old positions are there, or the new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mk.consumer.cursor_file import CursorFile, CursorPosition
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import Moments, Sweep

if TYPE_CHECKING:
    from pathlib import Path

    from tests.thinning import Thoroughness

DIRECTORY = "d" * 32
TOPIC = "a" * 32


def save(cursor: CursorFile, offset: int) -> None:
    cursor.positions[TOPIC, 0] = CursorPosition(TOPIC, "t", 1, 0, offset, 0)
    cursor.save()


def offset_in(cursor: CursorFile) -> int:
    return max((position.offset for position in cursor.positions.values()), default=0)


def check(root: Path, possible: set[int]) -> None:
    """Open, go on, and look again, as the next command does."""
    cursor = CursorFile(str(root / "cursor"), DIRECTORY)
    found = offset_in(cursor)
    assert found in possible, f"found {found}, expected one of {possible}"
    save(cursor, 100)
    cursor.close()
    cursor = CursorFile(str(root / "cursor"), DIRECTORY)
    assert offset_in(cursor) == 100
    cursor.close()
    # What a killed one left stays one file; the one that was made first may have another name besides.
    assert len([path for path in root.iterdir() if path.name != "cursor"]) <= 1


def outcomes(disk: RecordingDisk, count: int) -> set[int]:
    possible = {0}
    for note in disk.notes:
        if note.kind == "saved" and note.at <= count:
            possible = {note.facts}  # type: ignore[arg-type]
        elif note.kind == "tried" and note.at <= count:
            possible.add(note.facts)  # type: ignore[arg-type]
    return possible


def test_a_saved_position_is_never_lost_and_the_file_never_damaged(tmp_path: Path, thoroughness: Thoroughness) -> None:
    sweep = Sweep(tmp_path, seed=7, per_cut=6, thoroughness=thoroughness)
    moments = Moments(thoroughness, 12)
    for kill_after in moments:
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            disk.kill_after = kill_after
            cursor = None
            try:
                for offsets in ((1, 2), (3, 4)):
                    cursor = CursorFile(str(base / "cursor"), DIRECTORY)
                    for offset in offsets:
                        disk.note("tried", offset)
                        save(cursor, offset)
                        disk.note("saved", offset)
                    cursor.close()
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            end = len(disk.operations)
            if cursor is not None:
                cursor.close()
            check(base, outcomes(disk, end))

        def check_image(target: Path, count: int, disk: RecordingDisk = disk) -> None:
            with fast_disk():
                check(target, outcomes(disk, count))

        sweep.power_cuts(disk, check_image, stop=end)
    assert len(moments.kinds) > 20
