"""Producers that queue for one partition and share syncs: real processes, let go at once, some of them killed meanwhile."""

import random
import signal
import time

import pytest
from history import parse_acks, read_log, read_state, verify
from processes import create_topic, end, kill_all, must, start, wait_until
from test_locks_between_processes import hold_lock, is_waiting_for_lock

PRODUCERS = 6


@pytest.fixture
def directory(tmp_path):
    create_topic(tmp_path / "log", "t")
    return tmp_path / "log"


@pytest.fixture
def running():
    processes = []
    yield processes
    kill_all(processes)


def queue_up(directory, running, values):
    """Start a producer for each value, and return them when all wait for the lock, with whoever holds it."""
    holder = hold_lock(directory, running)
    producers = [start(directory, "produce", "t", "-v") for _ in values]
    running += producers
    for value, producer in zip(values, producers):
        producer.stdin.write(value.encode() + b"\n")
        producer.stdin.flush()
    wait_until(lambda: all(is_waiting_for_lock(producer.pid) for producer in producers))
    return holder, producers


def test_all_who_queue_are_acknowledged_where_they_stand(directory, running):
    values = [f"value-{number}" for number in range(PRODUCERS)]
    holder, producers = queue_up(directory, running, values)
    holder.stdin.close()
    results = [end(producer) for producer in producers]
    assert [result.status for result in results] == [0] * PRODUCERS, results
    stored = read_log(directory, "t")
    for value, result in zip(values, results):
        ((_, first, last),) = parse_acks(result.stderr)
        assert first == last and stored[first] == (None, value.encode())
    verify(directory, "t")


def test_whoever_of_those_that_queue_is_killed_no_other_fails_and_nothing_acknowledged_is_lost(
    directory, running, thoroughness
):
    chance = random.Random(5)
    told = {}
    for number in range(thoroughness.pick(8, 200)):
        values = [f"{number}-{place}" for place in range(PRODUCERS)]
        holder, producers = queue_up(directory, running, values)
        victims = chance.sample(producers, chance.randint(1, PRODUCERS - 1))
        holder.stdin.close()
        for victim in victims:
            time.sleep(chance.random() * 0.002)
            victim.send_signal(signal.SIGKILL)
        for value, producer in zip(values, producers):
            result = end(producer)
            assert result.status == 0 or (producer in victims and result.status == -signal.SIGKILL), result
            for _, first, _ in parse_acks(result.stderr):
                told[first] = value.encode()
    must(directory, "produce", "t", "last")
    stored = [value for _, value in read_log(directory, "t")]
    assert {offset: stored[offset] for offset in told} == told
    assert len(set(stored)) == len(stored) and stored[-1] == b"last"
    state = read_state(directory, "t")
    assert state["high_watermark"] == state["written"].split(":")[1]
    verify(directory, "t")


def test_who_stops_in_the_midst_keeps_nobody_from_being_acknowledged(directory, running):
    holder, producers = queue_up(directory, running, ["a", "b", "c"])
    holder.stdin.close()
    # Whenever that is: it holds the lock, and then nobody gets it, or it waits for a sync, and others do that.
    producers[0].send_signal(signal.SIGSTOP)
    time.sleep(0.02)
    producers[0].send_signal(signal.SIGCONT)
    assert [end(producer).status for producer in producers] == [0, 0, 0]
    assert sorted(value for _, value in read_log(directory, "t")) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_comes_while_syncs_are_shared_leaves_an_exact_status(directory, running, number):
    chance = random.Random(number)
    for _ in range(5):
        holder, producers = queue_up(directory, running, ["a", "b", "c"])
        before = len(read_log(directory, "t", quiet=False))
        holder.stdin.close()
        time.sleep(chance.random() * 0.003)
        for producer in producers:
            producer.send_signal(number)
        results = [end(producer) for producer in producers]
        # Each was read before its signal came.
        assert [len(parse_acks(result.stderr)) for result in results] == [1, 1, 1], results
        assert {abs(result.status) % 128 for result in results} == {number}, results
        assert len(read_log(directory, "t")) == before + 3
    verify(directory, "t")
