from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptStateError
from mk.storage import files
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs, read_epochs, write_epochs

if TYPE_CHECKING:
    from pathlib import Path

US, THEM = "a" * 32, "b" * 32


def epochs(*entries: tuple[int, int]) -> LeaderEpochs:
    return LeaderEpochs([EpochEntry(epoch, offset, US) for epoch, offset in entries])


def pairs(found: LeaderEpochs) -> list[tuple[int, int]]:
    return [(entry.epoch, entry.first_offset) for entry in found.entries]


def test_epochs_come_back_as_they_were_written(tmp_path: Path) -> None:
    fd = files.open_directory(str(tmp_path))
    write_epochs(fd, epochs((0, 0), (1, 5), (1 << 32, 9)))
    assert pairs(read_epochs(fd, "p")) == [(0, 0), (1, 5), (1 << 32, 9)]
    assert [path.name for path in tmp_path.iterdir()] == ["epochs"]
    files.close(fd)


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    fd = files.open_directory(str(tmp_path))
    original = epochs((0, 0), (7, 5))
    data = original.encode()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "epochs").write_bytes(changed)
        try:
            assert pairs(read_epochs(fd, "p")) == pairs(original)
        except CorruptStateError as error:
            assert error.facts["path"] == "p/epochs"
    files.close(fd)


@pytest.mark.parametrize(
    "data",
    [b"", b"x\n", EpochEntry(1, 0, US).encode() + EpochEntry(1, 5, US).encode(), EpochEntry(0, 0, US).encode()[:-3]],
    ids=["empty", "garbage", "not rising", "cut"],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "epochs").write_bytes(data)
    fd = files.open_directory(str(tmp_path))
    with pytest.raises(CorruptStateError):
        read_epochs(fd, "p")
    files.close(fd)


def test_an_epoch_that_got_no_batch_is_replaced_by_the_next_one() -> None:
    assert pairs(epochs((0, 0), (1, 5)).raised(5, 2)) == [(0, 0), (2, 5)]
    assert pairs(epochs((0, 0), (1, 5)).raised(8, 2)) == [(0, 0), (1, 5), (2, 8)]
    assert pairs(epochs((0, 0)).raised(0, 1)) == [(1, 0)]


def test_epochs_are_those_that_batches_prove_and_the_latest_goes_on_behind_them() -> None:
    # Nothing new was found: all stays.
    assert pairs(epochs((0, 0), (1, 5)).proved(9, [], 9)) == [(0, 0), (1, 5)]
    assert pairs(epochs((0, 0)).proved(0, [], 0)) == [(0, 0)]
    assert pairs(epochs((0, 0)).proved(0, [(0, 0)], 4)) == [(0, 0)]
    # Epoch 1 was written for offset 5, where a batch of epoch 0 turns out to stand.
    assert pairs(epochs((0, 0), (1, 5)).proved(5, [], 8)) == [(0, 0), (1, 8)]
    assert pairs(epochs((0, 0), (1, 5)).proved(5, [(1, 6)], 8)) == [(0, 0), (1, 6)]
    # Epoch 1 got no batch and 2 did.
    assert pairs(epochs((0, 0), (1, 5), (2, 6)).proved(4, [(2, 6)], 8)) == [(0, 0), (2, 6)]


def test_who_led_an_epoch_is_known_from_its_line_alone() -> None:
    both = LeaderEpochs([EpochEntry(0, 0, THEM), EpochEntry(1, 5, US)])
    assert both.led_by(0, THEM) and both.led_by(1, US)
    assert not both.led_by(0, US) and not both.led_by(2, US)
    assert both.proved(3, [(1, 5)], 9).led_by(1, US)


def test_two_logs_are_the_same_as_far_as_each_epoch_goes_in_both() -> None:
    old, new = epochs((0, 0)), epochs((0, 0), (1, 5))
    assert old.common_prefix(8, new, 9) == new.common_prefix(9, old, 8) == 5
    assert old.common_prefix(4, new, 9) == new.common_prefix(9, old, 4) == 4
    assert new.common_prefix(7, new, 9) == 7
    # Nobody led epoch 1 in one of them; from offset 5 on each goes its own way, also where the epochs meet again.
    other = epochs((0, 0), (2, 5))
    assert new.common_prefix(9, other, 9) == other.common_prefix(9, new, 9) == 5
    longer = epochs((0, 0), (1, 3), (2, 5))
    assert longer.common_prefix(9, other, 9) == other.common_prefix(9, longer, 9) == 3
    assert old.common_prefix(0, new, 9) == 0
    assert epochs((1, 0)).common_prefix(5, epochs((2, 0)), 5) == 0
