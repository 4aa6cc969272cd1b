"""Every command struck at its every call: what was stored stays, the status says what happened, the same command finishes."""

import random

import pytest
from commands import COMMANDS
from injection import needs_strace
from struck import FROM_THEN_ON, HOW, KILL, ONCE, Strike, Struck

from tests.thinning import SAMPLE

pytestmark = needs_strace


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_struck_here_and_there_loses_nothing_and_the_next_one_finishes(tmp_path, name):
    struck = Struck(COMMANDS[name], tmp_path)
    chosen = random.Random(len(name))
    for how in HOW:
        strikes = struck.strikes(how)
        for strike in chosen.sample(strikes, min(len(strikes), 1)):
            struck.check(strike)


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_struck_at_any_call_loses_nothing_and_the_next_one_finishes(tmp_path, name, how):
    struck = Struck(COMMANDS[name], tmp_path)
    strikes = struck.strikes(how)
    for strike in strikes:
        struck.check(strike)
    print(f"{name}, {how}: {len(strikes)} strikes, {struck.misses} missed")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_struck_and_struck_again_where_it_recovers_loses_nothing(tmp_path, name):
    struck = Struck(COMMANDS[name], tmp_path)
    chosen = random.Random(5)
    firsts = [*struck.strikes("killed"), *struck.strikes("EIO in what it changes"), *struck.strikes("a full disk")]
    done = 0
    for first in chosen.sample(firsts, min(40, len(firsts))):
        struck.world.fresh()
        if struck.strike(first) is None:
            continue
        seconds = [point for point in struck.count_points(ONCE, 1) if point.call != "close"]
        for point in chosen.sample(seconds, min(5, len(seconds))):
            done += struck.check(first, Strike(point, chosen.choice((KILL, "error=EIO", "error=ENOSPC"))))
    print(f"{name}, twice: {done} pairs")


@pytest.mark.parametrize("name", ["consume in a group", "consume --exec in a group", "groups import", "groups copy"])
def test_a_commit_that_the_disk_refuses_ends_with_the_error_of_the_disk(tmp_path, name):
    """Of a group's claims no name can be put on disk any more, from one of them on."""
    struck = Struck(COMMANDS[name], tmp_path)
    syncs = [point for point in struck.points[FROM_THEN_ON] if point.call == "fsync" and "/claims/" in point.line]
    for point in SAMPLE.of(syncs, 2):
        struck.check(Strike(point, "error=EIO", FROM_THEN_ON))


def test_a_source_that_the_disk_does_not_give_is_not_taken_for_damaged(tmp_path):
    struck = Struck(COMMANDS["replicate to a copy"], tmp_path)
    reads = [point for point in struck.points[ONCE] if point.call == "pread64" and "/epochs>" in point.line]
    for point in SAMPLE.of(reads, 2):
        struck.check(Strike(point, "error=EIO"))
