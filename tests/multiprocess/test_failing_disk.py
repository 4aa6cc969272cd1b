"""Every system call of a command failing: the exit status says so, nothing acknowledged is lost, the next command works."""

import random
import re

import pytest
from history import parse_acks
from injection import CALLS, READS, fail_at, needs_strace, paths_of, points_of
from processes import must, run
from scenarios import SCENARIOS, check_after

from tests.proof.figures import count

pytestmark = needs_strace

ERRORS = ("ENOSPC", "EIO", "EDQUOT")

ONCE, FROM_THEN_ON = "", "+"

ALIKE = (
    "a topic's creation",
    "a topic's sealing",
    "a topic's opening",
    "a recovery from a torn first batch",
    "a recovery from a tail of zeros",
)
"""Scenarios that make the same calls as others, for the slow part alone."""


class Prepared:
    """A scenario, its template, and its calls, counted once among all and once among those of its own files.

    A call that fails once is chosen among all; one that fails from then on, among those of the directory's own files, so
    that Python can still import.
    """

    def __init__(self, name, folder):
        self.scenario = SCENARIOS[name]
        self.template, self.directory = folder / "template", folder / "log"
        self.scenario.prepare(self.template)
        self.fresh()
        self.only = paths_of(self.directory)
        self.points = {}
        for when in (ONCE, FROM_THEN_ON):
            self.fresh()
            only = self.only if when else []
            counted = points_of(
                self.directory, self.scenario.arguments, stdin=self.scenario.stdin, calls=[*CALLS, *READS], only=only
            )
            # Standard error is not the disk.
            self.points[when] = [point for point in counted if not point.line.startswith("2<")]

    def fresh(self):
        self.scenario.fresh(self.template, self.directory)

    def faults(self, when):
        """Return every fault: (point, what, when)."""
        return [(point, what, when) for point in self.points[when] for what in outcomes(point, when)]

    def strike(self, faults):
        """Run the command with these faults, and check how it ended and what is left."""
        scenario, directory = self.scenario, self.directory
        only = self.only if faults[0][2] else []
        for _ in range(10):
            # A pipe may bring the input in fewer pieces than it did when the calls were counted, and there are fewer then.
            self.fresh()
            result = fail_at(faults, directory, scenario.arguments, stdin=scenario.stdin, only=only)
            if result.struck:
                break
        context = "; ".join(f"{what}{' from then on' if when else ''} at {point}" for point, what, when in faults)
        explain = f"{context}\n{result}"
        assert result.struck, f"nothing was struck: {explain}"
        assert result.status in (0, 74), explain
        assert "Traceback" not in result.stderr, explain
        told = sum(last - first + 1 for _, first, last in parse_acks(result.stderr))
        stored = re.search(r"^mk: (\d+) records? stored$", result.stderr, re.MULTILINE)
        if result.status:
            assert "mk: error: " in result.stderr and "  why: " in result.stderr and "  fix: " in result.stderr, explain
            assert "standard input or output" not in result.stderr, f"it blames the wrong file: {explain}"
        clear_failed_mark(directory, explain)
        new = check_after(scenario, directory, result, context)
        assert stored or result.status == 0 or not new, f"it does not say how many records are stored: {explain}"
        if result.status and stored:
            assert told <= int(stored[1]) <= len(new), f"{told} acknowledged, {len(new)} there: {explain}"
        count("faults", len(faults))


def outcomes(point, when):
    """Return what may happen at one call: an error, or that fewer bytes are written than were given.

    strace only claims that 17 bytes were written. In `state`, once, that is a torn write; of another file, or of every
    write, it is a kernel that stores nothing and says it does, against which nothing helps.
    """
    found = [f"error={error}" for error in (("EIO",) if point.call in READS else ERRORS)]
    if point.call == "writev" or (
        point.call == "pwrite64" and when == ONCE and "/state>" in point.line and "tmp" not in point.line
    ):
        found += ["retval=17"]
    return found


def clear_failed_mark(directory, explain):
    """Where the disk refused a new segment too, all writers are refused until somebody has looked; reading goes on."""
    mark = directory / "topics/t/0/FAILED"
    if mark.exists():
        refused = run(directory, "produce", "t", "refused")
        assert refused.status == 74 and "FAILED" in refused.stderr, f"{explain}\n{refused}"
        must(directory, "consume", "t", "-q")
        mark.unlink()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in SCENARIOS]
)
def test_a_call_that_fails_gives_status_74_or_does_not_matter(tmp_path, name, thoroughness):
    """Every error at every call, once and from then on; of the sample, one at each kind of call."""
    prepared = Prepared(name, tmp_path)
    faults = [fault for when in (ONCE, FROM_THEN_ON) for fault in prepared.faults(when)]
    if not thoroughness.is_full:
        faults = [fault for fault in faults if fault[0].call not in ("close", "newfstatat")]
    faults = thoroughness.of(faults, 10, kind=lambda fault: fault[0].call)
    for fault in faults:
        prepared.strike([fault])
    print(f"{name}: {len(faults)} faults")


TWICE = ("a plain append", "an append that rolls", "a recovery from a torn payload")


@pytest.mark.parametrize(
    "name", [name if name in TWICE else pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS]
)
def test_two_faults_in_one_command(tmp_path, name, thoroughness):
    """The second is often in what the first one set off."""
    prepared = Prepared(name, tmp_path)
    chosen = random.Random(2)
    done = 0
    while done < thoroughness.pick(5, 300):
        # Not at a close by default: where a pipe brings its input in other pieces, the one of that number may be a stream's.
        faults = [
            fault
            for fault in prepared.faults(chosen.choice((ONCE, FROM_THEN_ON)))
            if thoroughness.is_full or fault[0].call != "close"
        ]
        first, second = chosen.choice(faults), chosen.choice(faults)
        if first[0].call != second[0].call:
            prepared.strike([first, second])
            done += 1
