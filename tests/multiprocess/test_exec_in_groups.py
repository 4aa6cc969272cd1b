"""Commands run by members of a group that come, go, are stopped and are killed: nothing is skipped, no dead letter is doubled."""

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from processes import create_topic, end, kill_all, must, run, start, wait_until

RECORDS = 120


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def script(tmp_path):
    def make(text):
        path = tmp_path / "script"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make


def fill(directory, partitions=1, records=RECORDS):
    create_topic(directory, "t", partitions=partitions)
    data = b"".join(b"k%d:%d\n" % (number % 9, number) for number in range(records))
    must(directory, "produce", "t", "-K", ":", stdin=data)


def dead_letters(directory):
    """Return (partition, offset) of each, in the order in which they were stored."""
    lines = must(directory, "consume", "dead", "-J").stdout.splitlines()
    headers = [dict(json.loads(line)["headers"]) for line in lines]
    return [(int(one["mk.source.partition"]), int(one["mk.source.offset"])) for one in headers]


def places(directory):
    records = map(json.loads, must(directory, "consume", "t", "-J").stdout.splitlines())
    return sorted((record["partition"], record["offset"]) for record in records)


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_each_dead_letter_is_stored_once_whatever_is_killed_when(directory, script, jobs):
    """Killed as soon as there is another one, which is mostly between its append and its commit."""
    fill(directory, partitions=2)
    create_topic(directory, "dead", partitions=2)
    words = "consume", "t", "-g", "g", "--exec", script("exit 65"), "--dlq", "dead", "--jobs", jobs
    segments = [directory / "topics" / "dead" / str(number) / f"{0:020}.log" for number in range(2)]
    rng = random.Random(7)

    def size():
        return sum(path.stat().st_size for path in segments)

    for _ in range(12):
        before = size()
        process = start(directory, *words)
        try:
            wait_until(lambda: size() > before or process.poll() is not None)  # noqa: B023
            time.sleep(rng.random() * 0.01)
        finally:
            kill_all([process])
    done = must(directory, *words)
    assert done.stdout == ""
    found = dead_letters(directory)
    assert sorted(found) == places(directory)
    must(directory, "topics", "verify", "dead")
    assert must(directory, "consume", "t", "-g", "g").stdout == ""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_partition_that_changes_hands_is_gone_on_with(directory, tmp_path, script, jobs):
    fill(directory, partitions=4)
    told = tmp_path / "told"
    command = script(f'echo "$MK_REC_PARTITION $MK_REC_OFFSET" >> {told}; sleep 0.02; [ $((MK_REC_OFFSET % 5)) != 0 ]')
    words = "consume", "t", "-g", "g", "--exec", command, "--jobs", str(jobs), "--retries", "0", "--dlq", "dead"

    def count():
        return len(told.read_text().splitlines()) if told.exists() else 0

    members = [start(directory, *words)]
    try:
        for number in (10, 25, 40):
            wait_until(lambda: count() >= number)  # noqa: B023
            members.append(start(directory, *words))
        wait_until(lambda: count() >= 60)
        members[0].send_signal(signal.SIGTERM)
        results = [end(member) for member in members]
    finally:
        kill_all(members)
    # The first one may have come to the end of its share before the signal did.
    assert results[0].status in (-signal.SIGTERM, 0), results
    assert [result.status for result in results[1:]] == [0, 0, 0], results
    last = run(directory, *words)
    assert last.status == 0 and "Traceback" not in last.stderr
    tries = Counter(tuple(map(int, line.split())) for line in told.read_text().splitlines())
    assert sorted(tries) == places(directory)
    if jobs == 1:  # Else what was done behind a record that was not is done again.
        # Of the one that ran while the signal came, and failed, nobody knows whether that was for the signal.
        again = [place for place, count in tries.items() if count > 1]
        assert len(again) <= 1 and all(offset % 5 == 0 and tries[partition, offset] == 2 for partition, offset in again)
    assert sorted(dead_letters(directory)) == [place for place in places(directory) if place[1] % 5 == 0]


def test_when_members_are_killed_nothing_is_skipped_and_no_dead_letter_is_doubled(directory, tmp_path, script):
    fill(directory, partitions=3)
    told = tmp_path / "told"
    command = script(f'[ $((MK_REC_OFFSET % 4)) != 0 ] || exit 65; echo "$MK_REC_PARTITION $MK_REC_OFFSET" >> {told}')
    words = "consume", "t", "-g", "g", "-F", "--exec", command, "--jobs", "2", "--dlq", "dead"
    create_topic(directory, "dead", partitions=3)
    members = []
    try:
        for turn in range(8):
            members += [start(directory, *words) for _ in range(2 - len(members))]
            goal = (len(told.read_text().splitlines()) if told.exists() else 0) + 5
            wait_until(
                lambda: told.exists() and len(told.read_text().splitlines()) >= min(goal, RECORDS * 2 // 3)  # noqa: B023
            )
            kill_all([members.pop(turn % 2)])
    finally:
        kill_all(members)
    must(directory, *[word for word in words if word != "-F"])
    done = {tuple(map(int, line.split())) for line in told.read_text().splitlines()}
    everything = places(directory)
    assert sorted(done) == [place for place in everything if place[1] % 4]
    assert sorted(dead_letters(directory)) == [place for place in everything if place[1] % 4 == 0]


def test_who_was_stopped_for_too_long_starts_nothing_of_what_others_have(directory, tmp_path, script):
    fill(directory)
    told = tmp_path / "told"
    command = script(f'echo "$WHO $MK_REC_OFFSET" >> {told}; sleep 0.005')
    words = "consume", "t", "-g", "g", "-F", "--exec", command, "--session-timeout", "500ms"
    os.environ["WHO"] = "x"

    def of(who):
        return [int(line.split()[1]) for line in lines() if line.split()[0] == who] if told.exists() else []

    def lines():
        return told.read_text().splitlines()

    def start_as(who):
        return start(directory, *words, prefix=("env", f"WHO={who}"))

    stopped = start_as("stopped")
    members = [stopped]
    try:
        wait_until(lambda: len(of("stopped")) >= 10)
        stopped.send_signal(signal.SIGSTOP)
        members.append(start_as("other"))
        wait_until(lambda: len(of("other")) >= 10)
        before = len(of("stopped"))
        stopped.send_signal(signal.SIGCONT)
        wait_until(lambda: (of("other") or [0])[-1] == RECORDS - 1)
        # What it had begun ends, and what it did not tell in time is done again; it begins nothing more.
        assert len(of("stopped")) <= before + 1
        assert sorted(set(of("stopped")) | set(of("other"))) == list(range(RECORDS))
        assert of("other") == sorted(of("other"))
    finally:
        kill_all(members)


def test_what_was_let_go_of_while_all_was_handed_over_is_done_all_the_same(directory, tmp_path, script):
    """^Z gives up what was read and not yet done; a member that then takes it again has to read it again."""
    create_topic(directory, "t")
    must(directory, "produce", "t", stdin=b"a\nb\nc\n")
    told, go = tmp_path / "told", tmp_path / "go"
    command = script(f"echo $MK_REC_OFFSET >> {told}; while [ ! -e {go} ]; do sleep 0.01; done")
    members = [start(directory, "consume", "t", "-g", "g", "--exec", command)]
    try:
        wait_until(told.exists)
        members[0].send_signal(signal.SIGTSTP)
        stat = Path(f"/proc/{members[0].pid}/stat")
        wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T")
        go.touch()
        members[0].send_signal(signal.SIGCONT)
        assert end(members[0]).status == 0
    finally:
        kill_all(members)
    assert set(told.read_text().split()) == {"0", "1", "2"}
    assert must(directory, "consume", "t", "-g", "g").stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_storm_of_members_skips_nothing_and_doubles_no_dead_letter(directory, tmp_path, script, seed):
    rng = random.Random(seed)
    fill(directory, partitions=4, records=600)
    told = tmp_path / "told"
    told.touch()
    # Some fail once, some for good, some are slow, so that much is done out of order.
    command = script(
        f"[ $((MK_REC_OFFSET % 11)) != 3 ] || exit 65; [ $((MK_REC_OFFSET % 7)) != 2 ] || sleep 0.05; "
        f'[ "$((MK_REC_OFFSET % 5))$MK_REC_TRY" != 11 ] || exit 1; echo "$MK_REC_PARTITION $MK_REC_OFFSET" >> {told}'
    )
    words = "consume", "t", "-g", "g", "-F", "--exec", command, "--dlq", "dead", "--backoff", "20ms"
    create_topic(directory, "dead", partitions=2)
    members = []
    try:
        for _ in range(40):
            while len(members) < 3:
                members.append(start(directory, *words, "--jobs", str(rng.randint(1, 4))))
            time.sleep(rng.random() * 0.3)
            member = members.pop(rng.randrange(len(members)))
            member.send_signal(rng.choice([signal.SIGTERM, signal.SIGKILL]))
            if rng.random() < 0.5:
                member.kill()
            result = end(member)
            assert "Traceback" not in result.stderr and "error" not in result.stderr, result
    finally:
        kill_all(members)
    must(directory, *[word for word in words if word != "-F"])
    everything = places(directory)
    done = {tuple(map(int, line.split())) for line in told.read_text().splitlines()}
    assert sorted(done) == [place for place in everything if place[1] % 11 != 3]
    assert sorted(dead_letters(directory)) == [place for place in everything if place[1] % 11 == 3]
