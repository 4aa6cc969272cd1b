"""Random histories of directories that replicate from one another: appended to, killed, cut off from power, promoted, in any order.

A history is the steps that its seed gives. One that fails is shrunk by leaving steps out, and printed; `run(seed, count,
steps)` runs it again.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import traceback
from pathlib import Path

import pytest

from tests.proof import figures
from tests.property.replicated_world import ReplicatedWorld, Step

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
        figures.count("histories")
        figures.count("broken-off", world.kills)
        figures.count("states", world.cuts)
        return "", world.report
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})", world.report
    finally:
        shutil.rmtree(root, ignore_errors=True)


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


ONCE_WRONG = {
    "a power cut leaves the locks of a copy that was being made": (
        1,
        2,
        [("replicate", 2095328386), ("replicate_without_power", 1674216077)],
    ),
    "a copy has nothing left but its log start, behind what its new leader has": (
        17,
        3,
        [("replicate", 844240211), ("append", 648177039), ("trim", 4102500629), ("promote", 901986116)],
    ),
    "only the copy has a producer id, and its log begins anew": (
        30,
        3,
        [
            ("replicate", 100974954),
            ("promote", 3458712635),
            ("append", 2886087946),
            ("append", 2429458878),
            ("replicate", 410112779),
            ("replicate", 479962666),
            ("promote", 4010409144),
        ],
    ),
    "a follower is replicated to one that is ahead of it": (
        23,
        3,
        [
            ("replicate", 368233841),
            ("replicate", 2536649320),
            ("append", 3399426334),
            ("replicate", 702591477),
            ("replicate", 353592361),
        ],
    ),
    "a fenced leader that was not cut back yet is replicated to a follower of the new one": (
        1057,
        3,
        [
            ("replicate", 1418910604),
            ("promote", 4274354560),
            ("append", 4114461689),
            ("append", 3597284178),
            ("replicate", 3644026966),
            ("replicate", 2046378066),
            ("replicate_killed", 2082973731),
        ],
    ),
    "a producer id comes while a topic is led in part here and in part there": (
        0,
        2,
        [("replicate", 2585149702), ("promote_killed", 316721330)],
    ),
    "the old leader lost all batches of its epoch with the power": (
        40,
        2,
        [("append", 2203541261), ("replicate_without_power", 2923962257), ("promote", 3767915409)],
    ),
    "a copy begins where its source is empty, and is promoted": (
        1350,
        2,
        [
            ("append", 67049505),
            ("append", 1498655438),
            ("append", 1018375833),
            ("replicate_without_power", 2458218758),
            ("replicate", 993645499),
            ("promote", 2106193293),
        ],
    ),
    "a copy is cut where its first segment begins, and promoted": (
        64,
        2,
        [
            ("append", 749744764),
            ("replicate", 2519841740),
            ("append", 4080373161),
            ("promote_killed", 1133896094),
            ("replicate", 3829557971),
            ("promote_killed", 918081049),
        ],
    ),
    "a promotion is killed between epochs and state, beside a running producer": (
        64,
        2,
        [
            ("append", 749744764),
            ("replicate", 2519841740),
            ("promote_killed", 1133896094),
            ("replicate", 3305749414),
            ("append", 1705157484),
            ("promote_killed", 918081049),
        ],
    ),
}
"""Histories that found a fault, shrunk: by what is in them, the arguments of `run`."""


@pytest.mark.parametrize("name", ONCE_WRONG)
def test_a_history_that_went_wrong_once_heals(name: str) -> None:
    seed, directories, steps = ONCE_WRONG[name]
    fault, report = run(seed, directories, [Step(*step) for step in steps])
    assert not fault, "\n".join([fault, *report])


@pytest.mark.parametrize("directories", [2, 3])
def test_a_sample_of_histories_heals(directories: int) -> None:
    for seed in range(18):
        check(seed, directories)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1500, 25))
@pytest.mark.parametrize("directories", [2, 3])
def test_many_histories_heal(start: int, directories: int) -> None:
    for seed in range(start, start + 25):
        check(seed, directories)
