"""The first thing that anybody asks of a Kafka cluster, which then has to make the topic in which groups are remembered."""

import subprocess
import sys
from pathlib import Path

import pytest

MK = str(Path(sys.executable).with_name("mk"))


@pytest.fixture
def fresh(make_broker):
    """Return a function that runs mk on a cluster of which nothing was ever asked."""
    broker = make_broker()

    def run(*words, stdin=b""):
        command = [MK, "-d", f"kafka://{broker.address}", *words]
        return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)

    return run


def test_a_group_that_is_not_there_is_not_there_in_a_cluster_without_groups(fresh):
    done = fresh("groups", "describe", "nobody")
    assert done.returncode == 66 and b"no group nobody" in done.stderr, done
    assert fresh("groups").returncode == 0


def test_the_first_group_of_a_cluster_reads_at_once(fresh):
    assert fresh("produce", "t", "a").returncode == 0
    done = fresh("consume", "t", "-g", "g")
    assert (done.returncode, done.stdout) == (0, b"a\n"), done
    assert fresh("consume", "t", "-g", "g").stdout == b""
