"""Every command struck at its every call: what was stored stays, the status says what happened, the same command finishes."""

import random

import pytest
from commands import COMMANDS
from injection import needs_strace
from struck import FROM_THEN_ON, KILL, ONCE, Strike, Struck

from tests.thinning import SAMPLE

pytestmark = needs_strace


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_struck_here_and_there_loses_nothing_and_the_next_one_finishes(tmp_path, name):
    struck = Struck(COMMANDS[name], tmp_path)
    faults = [fault for when in (ONCE, FROM_THEN_ON) for fault in struck.faults(when)]
    for strike in [*SAMPLE.of(struck.kills(), 3), *SAMPLE.of(faults, 5, kind=lambda fault: fault.when)]:
        struck.check(strike)


def _all_of(struck, how):
    if how == "killed":
        return struck.kills()
    return struck.faults(ONCE if how == "failing once" else FROM_THEN_ON)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "failing once", "failing from then on"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_struck_at_any_call_loses_nothing_and_the_next_one_finishes(tmp_path, name, how):
    struck = Struck(COMMANDS[name], tmp_path)
    strikes = _all_of(struck, how)
    for strike in strikes:
        struck.check(strike)
    print(f"{name} {how}: {len(strikes)} strikes, {struck.misses} missed")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_struck_and_struck_again_where_it_recovers_loses_nothing(tmp_path, name):
    struck = Struck(COMMANDS[name], tmp_path)
    chosen = random.Random(5)
    firsts = [*struck.kills(), *struck.faults(ONCE)]
    for first in chosen.sample(firsts, min(20, len(firsts))):
        struck.world.fresh()
        if struck.strike(first) is None:
            continue
        seconds = struck.count_points(ONCE, 1)
        for point in chosen.sample(seconds, min(3, len(seconds))):
            struck.check(first, Strike(point, chosen.choice((KILL, "error=EIO", "error=ENOSPC"))))
