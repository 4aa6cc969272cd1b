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
from tests.property.directory_world import NO_KILL, DirectoryWorld

if TYPE_CHECKING:
    from collections.abc import Callable

WHO = st.integers(0, 1)
NAME = st.sampled_from("aaab")
PARTITION = st.integers(0, 1)
RECORDS = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from([5, 300, 900, 1500]), st.booleans()), min_size=1, max_size=5
)
HOURS = 3_600_000


def kills(most: int) -> st.SearchStrategy[int]:
    """Return at which call of the disk somebody dies: in one of three times at any."""
    return st.one_of(st.just(NO_KILL), st.just(NO_KILL), st.integers(0, most))


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

    @rule(who=WHO, name=NAME, acks=st.integers(0, 1), partition=PARTITION, records=RECORDS, kill=kills(15))
    def produce(self, **options: object) -> None:
        self._do("produce", self.world.produce, **options)

    @rule(who=WHO, name=NAME, acks=st.integers(0, 1), partition=PARTITION, records=RECORDS)
    def produce_more(self, **options: object) -> None:
        self._do("produce", self.world.produce, kill=NO_KILL, **options)

    @rule(who=WHO, name=st.sampled_from("ab"), partition=PARTITION)
    def read(self, **options: object) -> None:
        self._do("read", self.world.read, **options)

    @rule(who=WHO, name=NAME, fetches=st.integers(0, 3), commits=st.booleans(), kill=kills(30))
    def consume(self, **options: object) -> None:
        self._do("consume", self.world.consume, **options)

    @rule(who=WHO, name=NAME, kill=kills(8))
    def leave(self, **options: object) -> None:
        self._do("leave", self.world.leave, **options)

    @rule(who=WHO, name=NAME)
    def die(self, **options: object) -> None:
        self._do("die", self.world.die, **options)

    @rule(name=NAME, partition=PARTITION, part=st.sampled_from([0.2, 0.5, 1.0]), kill=kills(12))
    def trim(self, **options: object) -> None:
        self._do("trim", self.world.trim, **options)

    @rule(name=NAME, kill=kills(15))
    def clean(self, **options: object) -> None:
        self._do("clean", self.world.clean, **options)

    @rule(name=NAME, partition=PARTITION, seals=st.booleans(), kill=kills(40))
    def compact(self, **options: object) -> None:
        self._do("compact", self.world.compact, **options)

    @rule(source=NAME, accepts_gap=st.booleans(), kill=kills(80))
    def replicate(self, source: str, **options: object) -> None:
        self._do("replicate", self.world.replicate, source, "b" if source == "a" else "a", **options)

    @rule(name=st.sampled_from("ab"), forces=st.booleans(), kill=kills(40))
    def promote(self, **options: object) -> None:
        self._do("promote", self.world.promote, **options)

    @rule(milliseconds=st.sampled_from([1000, HOURS, 6 * HOURS]))
    def pass_time(self, **options: object) -> None:
        self._do("pass time", self.world.pass_time, **options)

    @rule(seed=st.integers(0, 1 << 16))
    def cut_the_power(self, **options: object) -> None:
        self._do("cut the power", self.world.cut_the_power, **options)


TestDirectory = DirectoryMachine.TestCase
# Shrinking a history takes minutes, and its report says what happened.
TestDirectory.settings = settings(
    max_examples=max(20, settings().max_examples // 4), phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
