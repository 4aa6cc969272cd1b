"""Random histories of a compacted topic and its copy: never a last value lost, never a deleted key back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.proof import figures
from tests.property.compacted_world import CompactedWorld

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.thinning import Thoroughness


def test_no_last_value_is_lost_and_no_deleted_key_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thoroughness: Thoroughness
) -> None:
    counts: dict[str, int] = {}
    histories = thoroughness.pick(25, 1500)
    for seed in range(histories):
        root = tmp_path / str(seed)
        root.mkdir()
        with monkeypatch.context() as patch, CompactedWorld(root, seed, patch) as world:
            try:
                world.run(40)
            except BaseException:
                print("\n".join(world.report))
                print(f"seed {seed}")
                raise
        figures.count("histories")
        figures.count("broken-off", world.kills)
        figures.count("states", world.cuts)
        for kind, count in world.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    print(f"{histories} histories: {counts}")
