"""Two log directories with everybody who uses them, in any order and killed anywhere, against plain lists."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.proof import figures
from tests.property.directory_users import NO_KILL
from tests.property.directory_world import DirectoryWorld

if TYPE_CHECKING:
    from collections.abc import Callable

HOURS = 3_600_000

CONFIGS = st.sampled_from(
    [
        {"segment.bytes": 4096},
        {"segment.bytes": 4096, "segment.ms": 2 * HOURS},
        {"segment.bytes": 4096, "retention.bytes": 9000},
        {"segment.bytes": 4096, "retention.ms": 5 * HOURS, "segment.ms": HOURS},
        {"segment.bytes": 4096, "cleanup.policy": "compact", "delete.retention.ms": 1000},
        {"segment.bytes": 4096, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"},
    ]
)


def kills(most: int) -> st.SearchStrategy[int]:
    """Return at which call of the disk somebody dies: in one of four times at any."""
    return st.sampled_from([NO_KILL, NO_KILL, NO_KILL, 0]).flatmap(
        lambda kill: st.integers(0, most) if kill == 0 else st.just(NO_KILL)
    )


WHO = st.integers(0, 1)
PARTITION = st.integers(0, 1)
LEADS = st.sampled_from([True, True, True, True, False])
"""Whether it happens where the partition is led."""

RECORD = st.tuples(
    st.integers(0, 7), st.sampled_from([5, 300, 900, 1500]), st.sampled_from([False, False, False, True])
)

STEPS: dict[str, tuple[int, dict[str, st.SearchStrategy[object]]]] = {
    "produce": (
        10,
        {"who": WHO, "acks": WHO, "records": st.lists(RECORD, min_size=1, max_size=8), "kill": kills(15)},
    ),
    "read": (4, {"who": WHO}),
    "consume": (6, {"who": WHO, "fetches": st.integers(1, 4), "commits": st.booleans(), "kill": kills(30)}),
    "leave": (1, {"who": WHO, "kill": kills(8)}),
    "die": (1, {"who": WHO}),
    "trim": (1, {"part": st.sampled_from([0.2, 0.5, 1.0]), "kill": kills(12)}),
    "clean": (1, {"kill": kills(15)}),
    "compact": (3, {"seals": st.booleans(), "kill": kills(40)}),
    "replicate": (6, {"accepts_gap": st.booleans(), "kill": kills(80)}),
    "promote": (2, {"forces": st.booleans(), "kill": kills(40)}),
    "pass_time": (1, {"milliseconds": st.sampled_from([1000, HOURS, 6 * HOURS])}),
    "cut_the_power": (2, {"seed": st.integers(0, 1 << 16)}),
}
"""What may happen, how often it does, and what is drawn for it."""

STEP = st.sampled_from([kind for kind, (weight, _) in STEPS.items() for _ in range(weight)]).flatmap(
    lambda kind: st.tuples(st.just(kind), st.fixed_dictionaries(STEPS[kind][1]))
)


class DirectoryMachine(RuleBasedStateMachine):
    """`a` leads to begin with. Everything is held against the lists by the world, after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="mk-directories-"))
        self.world: DirectoryWorld | None = None
        self.failed = True  # Until there is a world.

    def teardown(self) -> None:
        world = self.world
        try:
            if world is not None:
                try:
                    if not self.failed:
                        self._do("heal", world.heal)
                        figures.count("histories")
                        figures.count("states", world.cuts)
                        figures.count("broken-off", world.kills)
                        figures.count("acknowledged", world.history.acknowledged_count)
                        figures.count("commits", world.commits)
                finally:
                    world.__exit__()
        finally:
            shutil.rmtree(self.home)

    def _do(self, what: str, action: Callable[..., object], *args: object, **options: object) -> None:
        assert self.world is not None
        self.world.say(f"{what} {args} {options}")
        try:
            action(*args, **options)
        except BaseException:
            self.failed = True
            print("\n".join(self.world.report))
            raise

    @initialize(seed=st.integers(0, 1 << 16), partitions=st.integers(1, 2), is_keyed=st.booleans(), config=CONFIGS)
    def create(self, seed: int, partitions: int, is_keyed: bool, config: dict[str, int | str]) -> None:
        is_keyed = is_keyed or "cleanup.policy" in config
        self.world = DirectoryWorld(self.home, seed, partitions=partitions, is_keyed=is_keyed, config=config)
        self.world.__enter__()
        self.failed = False

    @rule(step=STEP, leads=LEADS, partition=PARTITION)
    def step(self, step: tuple[str, dict[str, object]], leads: bool, partition: int) -> None:
        assert self.world is not None
        kind, options = step
        place = self.world.place(partition, leads=leads)
        where = [] if kind in ("pass_time", "cut_the_power") else [place]
        self._do(kind, getattr(self.world, kind), *where, **options)


TestDirectory = DirectoryMachine.TestCase
# Shrinking a history takes minutes, and its report says what happened.
TestDirectory.settings = settings(
    max_examples=max(20, settings().max_examples // 5), phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
