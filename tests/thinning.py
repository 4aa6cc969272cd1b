"""How much a run takes of sweeps, and of tests with many cases: a sample by default, all of it with the slow tests.

A sweep strikes a command, or a file, at each of many places: a kill at every call, every bit flipped, every image that a
power cut may leave. The fixture `thoroughness` runs such a test twice: as `sample`, and, marked slow, as `full`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from pathlib import Path

Case = TypeVar("Case")


class Thoroughness:
    """Whether a sweep takes all of its cases, or a sample that is the same on every run."""

    __slots__ = ("is_full",)

    def __init__(self, *, full: bool) -> None:
        self.is_full = full

    def of(
        self, cases: Iterable[Case], count: int, *, kind: Callable[[Case], Hashable] = lambda case: None
    ) -> list[Case]:
        """Return all cases; of the sample about `count`: the first, the last, one of each kind, others evenly spread."""
        cases = list(cases)
        if self.is_full or len(cases) <= count:
            return cases
        of_kind: dict[Hashable, list[int]] = {}
        for number, case in enumerate(cases):
            of_kind.setdefault(kind(case), []).append(number)
        last = len(cases) - 1
        chosen = {0, last}
        for place, numbers in enumerate(of_kind.values()):
            if chosen.isdisjoint(numbers):
                # Of each kind another one: of the early, of the late, of those between.
                chosen.add(numbers[len(numbers) * (2 * place + 1) // 5 % len(numbers)])
        if (more := count - len(chosen)) > 0:
            chosen.update(round(last * at / (more + 1)) for at in range(1, more + 1))
        return [cases[number] for number in sorted(chosen)]

    def pick(self, sample: int, full: int) -> int:
        """Return one of two numbers: of examples, of rounds, of bytes."""
        return full if self.is_full else sample


SAMPLE, FULL = Thoroughness(full=False), Thoroughness(full=True)


def crossed(first: Sequence[object], second: Sequence[object], *, every: int) -> list[object]:
    """Return all pairs of two lists, for parametrize; all but each `every`th diagonal are marked slow.

    So each value of one list is met by default, with about one of `every` values of the other.
    """
    found = []
    for (row, one), (column, other) in itertools.product(enumerate(first), enumerate(second)):
        values, marks = [], []
        for value in (one, other):
            is_param = hasattr(value, "marks")
            values += value.values if is_param else [value]  # type: ignore[attr-defined]
            marks += value.marks if is_param else []  # type: ignore[attr-defined]
        if (row + column) % every:
            marks.append(pytest.mark.slow)
        found.append(pytest.param(*values, marks=marks))
    return found


_COSTLY = ("cli", "crash", "kafka", "multiprocess")
"""Where each case starts processes, or builds directories again and again."""

_FEWEST = 3


def leave_cases_to_the_slow(items: Iterable[pytest.Item]) -> None:
    """Mark as slow most cases of a costly test that has many: the first, the last and every sixth in between stay.

    Not of a test that is marked `every_case`: each of its cases is the only one of its kind.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        is_costly = item.path.parent.name in _COSTLY and hasattr(item, "callspec")
        if is_costly and not item.get_closest_marker("slow") and not item.get_closest_marker("every_case"):
            # What is left of a test on one engine is what is left of it on the other.
            engine = item.callspec.params.get("engine")  # type: ignore[attr-defined]
            cases.setdefault(f"{item.nodeid.partition('[')[0]} {engine}", []).append(item)
    for of_one_test in cases.values():
        chosen = SAMPLE.of(of_one_test, max(_FEWEST, -(-len(of_one_test) // 6)))
        for item in of_one_test:
            if item not in chosen:
                item.add_marker(pytest.mark.slow)


_OF_BOTH_ENGINES, _OF_KAFKA_ALONE = 16, 3


def leave_most_of_kafka_to_the_slow(items: Iterable[pytest.Item]) -> None:
    """Mark as slow most of what runs on a Kafka: in each module one of some stays, of what has no other engine more."""
    of_module: dict[tuple[Path, int], list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("kafka") and not item.get_closest_marker("slow"):
            of_how_many = _OF_BOTH_ENGINES if item.get_closest_marker("both_engines") else _OF_KAFKA_ALONE
            of_module.setdefault((item.path, of_how_many), []).append(item)
    for (_, of_how_many), candidates in of_module.items():
        chosen = SAMPLE.of(candidates, max(1, round(len(candidates) / of_how_many)))
        for item in candidates:
            if item not in chosen:
                item.add_marker(pytest.mark.slow)
