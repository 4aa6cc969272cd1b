"""Random histories of directories that replicate from one another: appended to, killed, cut off from power, promoted, in any order.

A history is the steps that its seed gives. One that fails is shrunk by leaving steps out, and printed; `run(seed, count,
steps)` runs it again.
"""

from __future__ import annotations

import random
import tempfile
import traceback
from pathlib import Path

import pytest

from tests.property.replicated_world import ReplicatedWorld, Step, remove

KINDS = {
    "append": 12,
    "append_killed": 2,
    "replicate": 8,
    "replicate_killed": 4,
    "replicate_without_power": 1,
    "power_cut": 1,
    "promote": 3,
    "promote_killed": 1,
    "trim": 1,
    "commit": 2,
}
"""How often each of them comes."""


def steps_of(seed: int) -> list[Step]:
    rng = random.Random(seed)
    kinds = rng.choices(list(KINDS), list(KINDS.values()), k=rng.randint(4, 28))
    return [Step(kind, rng.getrandbits(32)) for kind in kinds]


def run(seed: int, directories: int, steps: list[Step]) -> tuple[str, list[str]]:
    """Run a history. Returns what went wrong, "" if nothing did, and what happened."""
    root = Path(tempfile.mkdtemp(prefix="mk-histories-"))
    world = ReplicatedWorld(root, seed, directories)
    try:
        with world:
            for step in steps:
                world.take(step)
            world.heal()
        return "", world.report
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})", world.report
    finally:
        remove(root)


def shrunk(seed: int, directories: int, steps: list[Step]) -> list[Step]:
    """Leave out what is not needed for a failure."""
    size = len(steps) // 2
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if run(seed, directories, fewer)[0]:
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def check(seed: int, directories: int) -> None:
    steps = steps_of(seed)
    if run(seed, directories, steps)[0]:
        steps = shrunk(seed, directories, steps)
        fault, report = run(seed, directories, steps)
        told = "\n".join(report)
        pytest.fail(f"run({seed}, {directories}, {[tuple(step) for step in steps]})\n{fault}\n{told}", pytrace=False)


@pytest.mark.parametrize("directories", [2, 3])
def test_a_sample_of_histories_heals(directories: int) -> None:
    for seed in range(20):
        check(seed, directories)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1500, 25))
@pytest.mark.parametrize("directories", [2, 3])
def test_many_histories_heal(start: int, directories: int) -> None:
    for seed in range(start, start + 25):
        check(seed, directories)
