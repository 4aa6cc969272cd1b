"""kill -9 at every system call of a command that changes the directory; the next command works, and nothing is lost."""

import random

import pytest
from history import parse_acks, read_log
from injection import kill_at, needs_strace, points_of, to_kill_at
from scenarios import SCENARIOS, Scenario, check_after

from tests.proof.figures import count

pytestmark = needs_strace

ALIKE = ("a topic's creation", "a recovery from a torn header")
"""Scenarios that make the same calls as others, for the slow part alone."""
ALL = [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in SCENARIOS]


@pytest.fixture
def prepared(tmp_path):
    """Return a function that prepares a scenario and returns it with template, working directory and points."""

    def prepare(name, **keywords):
        scenario = SCENARIOS[name]
        template, directory = tmp_path / "template", tmp_path / "log"
        scenario.prepare(template)
        scenario.fresh(template, directory)
        points = points_of(directory, scenario.arguments, stdin=scenario.stdin, **keywords)
        return scenario, template, directory, points

    return prepare


@pytest.mark.parametrize("name", ALL)
def test_a_kill_at_any_call_costs_nothing_acknowledged_and_needs_no_repair(prepared, name, thoroughness):
    scenario, template, directory, points = prepared(name)
    points = to_kill_at(points, thoroughness)
    for point in points:
        scenario.fresh(template, directory)
        result = kill_at(point, directory, scenario.arguments, stdin=scenario.stdin)
        check_after(scenario, directory, result, f"{name}, killed at {point}")
        count("kills")
    print(f"{name}: {len(points)} kills")


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("a plain append", "an append that rolls") else pytest.param(name, marks=pytest.mark.slow)
        for name in SCENARIOS
        if "several" not in name and "topic's" not in name
    ],
)
def test_a_second_kill_in_the_recovery_from_the_first_costs_nothing_either(prepared, name, thoroughness):
    scenario, template, directory, points = prepared(name)
    chosen = random.Random(1)
    for _ in range(thoroughness.pick(6, 400)):
        first = chosen.choice(points)
        scenario.fresh(template, directory)
        result = kill_at(first, directory, scenario.arguments, stdin=scenario.stdin)
        # The same command again, as cron would: it recovers, and is killed in turn.
        after_first = directory.with_name("after first")
        Scenario.fresh(scenario, directory, after_first)
        second = chosen.choice(points_of(after_first, scenario.arguments, stdin=scenario.stdin))
        again = kill_at(second, directory, scenario.arguments, stdin=scenario.stdin)
        twice = Scenario(
            scenario.prepare, scenario.arguments, stored=scenario.stored, new=[*scenario.new, *scenario.new]
        )
        context = f"{name}, killed at {first} and then at {second}"
        acknowledged = len(parse_acks(result.stderr)) + len(parse_acks(again.stderr))
        new = check_after(twice, directory, result, context)
        assert len(new) >= acknowledged, f"{context}: {acknowledged} acknowledged, {new} there"
        assert read_log(directory, "t")
        count("kills", 2)
