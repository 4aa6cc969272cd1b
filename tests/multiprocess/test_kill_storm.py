"""Kills by the thousand: real commands, forked from one warm process, killed with SIGKILL at any moment of their work."""

import itertools
import os
import random
import tempfile
import time

import pytest
from fork_server import Job
from group_rounds import Fencing, Grouping
from kill_rounds import Cleaning, Compacting, Importing, Producing, ProducingByKey, Replicating
from processes import create_topic, must

ROUNDS = (Producing, ProducingByKey, Importing, Grouping, Fencing, Cleaning, Compacting, Replicating)

KILLS = 115_000
"""In full, so that they are more than 100,000, though some kinds have fewer."""

KILLS_A_ROUND = 300
MEMORY = "/dev/shm"


def test_the_server_has_one_thread_and_nothing_of_a_log_open(server, tmp_path):
    create_topic(tmp_path / "log", "t")
    for number in range(20):
        server.submit(Job(tmp_path / "log", ["produce", "t", "-v"], stdin=[b"%d\n" % number], kill_after=number / 4000))
    while server.running:
        server.wait()
    assert server.holds() == (1, [])
    # Nothing that a killed child held is held still.
    must(tmp_path / "log", "produce", "t", "after", "--lock-wait", "0s")


def test_a_child_is_the_command_that_it_runs(server, tmp_path):
    directory = tmp_path / "log"
    done = server.must(directory, "produce", "t", "-v", stdin=[b"a\nb\n", b"c\n"])
    assert [line for line in done.stderr.splitlines() if not line.startswith("mk:")] == ["t 0 0 1", "t 0 2 2"]
    assert server.must(directory, "consume", "t").stdout == b"a\nb\nc\n"
    assert server.run(directory, "consume", "nowhere").status == 66
    done = server.run(directory, "produce", "t", "-v", stdin=[b"a\n", b"b\n", b"c\n"], kill_at_answer=True)
    assert done.is_killed and done.stderr.startswith("t 0 3 3\n")
    done = server.must(directory, "consume", "t", "-F", "--idle", "500ms", stop=(0.01, 0.05))
    assert done.stopped and done.stdout == b"a\nb\nc\na\n"


@pytest.mark.parametrize("kind", ROUNDS, ids=lambda kind: kind.__name__)
@pytest.mark.every_case
def test_killed_at_any_moment_nothing_acknowledged_is_lost_doubled_or_reordered(server, tmp_path, kind, thoroughness):
    chance = random.Random(kind.__name__)
    wanted = int(thoroughness.pick(100, KILLS // len(ROUNDS)) * kind.share)
    # A kill costs nothing that the kernel has, whatever is below; in memory there are more of them in an hour.
    places = itertools.cycle([tmp_path, *([MEMORY] * 3 if os.access(MEMORY, os.W_OK) else [])])
    begun, kills, spans = time.monotonic(), 0, {}
    while kills < wanted:
        with tempfile.TemporaryDirectory(dir=next(places)) as place:
            kills += kind(server, f"{place}/log", chance, spans).run(min(wanted - kills, KILLS_A_ROUND))
    print(f"{kills} kills in {time.monotonic() - begun:.0f} s, {spans}")
