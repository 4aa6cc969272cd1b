"""Who waits for whom: stopped and killed holders, signals under the lock, creation by many at once, and children."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from history import parse_acks, read_log, topic_id_of
from processes import TIMEOUT, LineSource, create_topic, end, kill_all, must, run, start, wait_until


@pytest.fixture
def directory(tmp_path):
    create_topic(tmp_path / "log", "t")
    return tmp_path / "log"


@pytest.fixture
def running():
    """Processes to be ended with the test."""
    processes = []
    yield processes
    kill_all(processes)


HOLD = """
import os, sys, fcntl
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def lock_path(directory, topic="t", partition=0):
    return directory / "locks" / topic_id_of(directory, topic) / str(partition)


def hold_lock(directory, running, path=None):
    """Start a process that holds a partition's lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path or lock_path(directory))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    running.append(process)
    assert LineSource(process.stdout).next() == b"held"
    return process


def is_waiting_for_lock(pid):
    """Tell whether a thread of this process sleeps in the kernel for a lock, as /proc/locks has it."""
    return any(" -> " in line and f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_waiter_gives_up_with_75_and_names_the_holder(directory, running, stopped):
    holder = hold_lock(directory, running)
    if stopped:
        holder.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_of(holder.pid) == "T")
    began = time.monotonic()
    result = run(directory, "produce", "t", "x", "--lock-wait", "300ms")
    assert result.status == 75, result
    assert str(holder.pid) in result.stderr and "0 records stored" in result.stderr, result
    assert ("stopped" in result.stderr) == stopped, result
    assert 0.25 < time.monotonic() - began < 10
    holder.kill()
    holder.wait(TIMEOUT)
    must(directory, "produce", "t", "y")
    assert read_log(directory, "t") == [(None, b"y")]


def test_a_waiter_goes_on_as_soon_as_the_holder_is_killed_even_a_stopped_one(directory, running):
    holder = hold_lock(directory, running)
    holder.send_signal(signal.SIGSTOP)
    waiter = start(directory, "produce", "t", "x", "-v")
    running.append(waiter)
    wait_until(lambda: is_waiting_for_lock(waiter.pid))
    holder.kill()
    result = end(waiter)
    assert result.status == 0 and parse_acks(result.stderr) == [(0, 0, 0)], result


def test_an_alarm_that_was_set_before_ends_a_waiter_and_who_has_waited(directory, running):
    holder = hold_lock(directory, running)
    alarm = ["perl", "-e", "alarm 2; exec @ARGV"]
    producer = start(directory, "produce", "t", "-v", prefix=alarm)
    running.append(producer)
    producer.stdin.write(b"x\n")
    producer.stdin.flush()
    wait_until(lambda: is_waiting_for_lock(producer.pid))
    holder.kill()
    assert LineSource(producer.stderr).next() == b"t 0 0 0"
    assert producer.wait(TIMEOUT) == -signal.SIGALRM


def test_creating_a_topic_waits_for_the_directorys_lock_and_names_its_holder(directory, running):
    holder = hold_lock(directory, running, directory / "locks/directory")
    result = run(directory, "topics", "delete", "t", "--yes", "--lock-wait", "200ms")
    assert result.status == 75 and str(holder.pid) in result.stderr, result
    assert read_log(directory, "t") == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -2), (signal.SIGTERM, -15), (signal.SIGHUP, -1)])
def test_a_streaming_producer_stores_the_whole_lines_it_read_and_dies_of_the_signal(directory, running, number, status):
    process = start(directory, "produce", "t", "-v")
    running.append(process)
    errors = LineSource(process.stderr)
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert errors.next() == b"t 0 0 0"
    # The second line stands in the pipe with half of a third: a record is a whole line.
    process.stdin.write(b"two\nhal")
    process.stdin.flush()
    assert errors.next() == b"t 0 1 1"
    process.send_signal(number)
    assert end(process).status == status
    assert process.stderr.closed or errors.next() is None
    assert read_log(directory, "t") == [(None, b"one"), (None, b"two")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_of_a_fast_stream_leaves_whole_lines_and_the_right_status(directory, running, number):
    expected = []
    for round_ in range(6):
        process = start(directory, "produce", "t", "-v")
        running.append(process)
        sent = []

        def pour(process=process, sent=sent, round_=round_):
            try:
                for count in itertools.count():
                    line = b"%d-%d" % (round_, count)
                    sent.append(line)
                    process.stdin.write(line + b"\n")
                    process.stdin.flush()
            except (BrokenPipeError, ValueError):
                pass

        writer = threading.Thread(target=pour)
        writer.start()
        errors = LineSource(process.stderr)
        acks = [errors.next() for _ in range(1 + round_)]
        process.send_signal(number)
        acks += iter(errors.next, None)
        assert process.wait(TIMEOUT) == -number
        writer.join(TIMEOUT)
        told = sum(last - first + 1 for _, first, last in parse_acks(b"\n".join(acks).decode()))
        assert len(parse_acks(b"\n".join(acks).decode())) == len(acks), acks
        # Ended by a signal and not killed: what is stored is what was acknowledged, no more and no less.
        expected += sent[:told]
        assert [value for _, value in read_log(directory, "t")] == expected


@pytest.mark.parametrize("words", [("consume", "t", "-F"), ("produce", "t", "-v")], ids=" ".join)
def test_several_stop_signals_at_once_end_a_command_as_silently_as_one(directory, running, words):
    """As from a terminal that is closed, or a ^C by somebody impatient."""
    run(directory, "produce", "t", "v")
    statuses = set()
    for round_ in range(30):
        process = start(directory, *words)
        running.append(process)
        if words[0] == "consume":
            assert process.stdout.read(2) == b"v\n"
        else:
            process.stdin.write(b"v\n")
            process.stdin.flush()
            assert process.stderr.readline().startswith(b"t 0 ")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
            time.sleep(0.0002 * (round_ % 5))
        statuses.add(process.wait(TIMEOUT))
        assert process.stderr.read() == b""
    assert statuses <= {-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP}


def test_a_stop_signal_waits_until_the_lock_is_let_go(directory, running):
    """^Z at random moments of a stream: whenever the producer is stopped, the lock is free."""
    # A group of its own: ^Z is nothing to a group that has no parent in its session, as that of a test run in the background.
    process = start(directory, "produce", "t", stderr=subprocess.DEVNULL, preexec_fn=os.setpgrp)
    running.append(process)
    stop = threading.Event()

    def pour():
        try:
            while not stop.is_set():
                process.stdin.write(b"line\n")
                process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    writer = threading.Thread(target=pour)
    writer.start()
    try:
        wait_until(lambda: must(directory, "consume", "t", "-n", "1").stdout)
        for _ in range(20):
            process.send_signal(signal.SIGTSTP)
            wait_until(lambda: state_of(process.pid) == "T")
            result = run(directory, "produce", "t", "other", "--lock-wait", "0")
            assert result.status == 0, result
            process.send_signal(signal.SIGCONT)
            wait_until(lambda: state_of(process.pid) != "T")
    finally:
        stop.set()
        process.send_signal(signal.SIGCONT)
    writer.join(TIMEOUT)
    process.stdin.close()
    assert process.wait(TIMEOUT) == 0
    assert read_log(directory, "t").count((None, b"other")) == 20


@pytest.mark.parametrize("round_", range(3))
def test_ten_producers_at_once_make_one_directory_and_one_topic_and_lose_nothing(tmp_path, running, round_):
    processes = [start(tmp_path / "a/b/log", "produce", "t", f"v{index}", "-v") for index in range(10)]
    running += processes
    results = [end(process) for process in processes]
    assert [result.status for result in results] == [0] * 10, results
    assert sum("created topic" in result.stderr for result in results) == 1, results
    log = read_log(tmp_path / "a/b/log", "t")
    assert sorted(log) == sorted((None, f"v{index}".encode()) for index in range(10))
    for index, result in enumerate(results):
        ((_, first, last),) = parse_acks(result.stderr)
        assert first == last and log[first] == (None, f"v{index}".encode())
    assert [name for name in os.listdir(tmp_path / "a/b/log") if name.startswith(".tmp-")] == []


def test_ten_creations_of_one_topic_have_one_winner(directory, running):
    processes = [start(directory, "topics", "create", "u", "-p", "3") for _ in range(10)]
    running += processes
    assert sorted(end(process).status for process in processes) == [0] + [73] * 9
    must(directory, "produce", "u", "x", "-p", "2")
    assert read_log(directory, "u", 2) == [(None, b"x")]


FORK = """
import os, subprocess, sys
import mk
cluster = mk.connect(sys.argv[1])
producer = cluster.producer("t")
producer.send(b"x")
producer.flush()
child = subprocess.Popen([sys.executable, "-c", "import os, sys; print(sorted(os.listdir('/proc/self/fd')), flush=True);"
                          "sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
print(child.stdout.readline().decode(), end="", flush=True)
sys.stdin.read()
"""


def test_a_child_inherits_no_descriptor_of_the_log(directory, running):
    """Also one that is started without closing descriptors: each of them is close-on-exec."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORK, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    running.append(process)
    line = LineSource(process.stdout).next()
    # 0, 1 and 2, and the one that lists them.
    assert line == b"['0', '1', '2', '3']", line
    targets = {os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert str(lock_path(directory)) in targets, "the parent has the lock file open"
