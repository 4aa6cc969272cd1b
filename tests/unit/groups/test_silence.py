"""Which members count as stopped: timed by whoever looks, turn by turn, on a clock that tests turn."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mk.groups import membership as membership_module
from mk.groups.member import decode_heartbeat
from mk.groups.membership import Membership, members_of
from mk.storage import files

TIMEOUT_MS = 10_000
TICK = TIMEOUT_MS / 1000 / 20


class Turns:
    """The lock that the thread of a member waits on between two turns: each wait takes so many seconds as a test says."""

    def __init__(self, clock, seconds):
        self._clock = clock
        self._seconds = list(seconds)

    def acquire(self, timeout):
        assert timeout == TICK
        if not self._seconds:
            return True
        self._clock[0] += self._seconds.pop(0)
        return False

    def release(self):
        pass


@pytest.fixture
def members(directory, monkeypatch):
    """Two members whose threads take no turns; the second is made to take some by `turns`."""
    clock = [1000.0]
    joined = []
    for _ in range(2):
        member = Membership(directory, "billing", session_timeout_ms=TIMEOUT_MS, wake_fd=-1)
        member.join({}, None)
        with member._turn:
            stop, member._stop = member._stop, None
        stop.release()
        joined.append(member)
    monkeypatch.setattr(membership_module, "monotonic", lambda: clock[0])
    monkeypatch.setattr(membership_module.os, "write", lambda fd, data: len(data))
    stopped, looking = joined

    def turns(*seconds):
        looking._stop = Turns(clock, seconds)
        looking._beat_and_listen(looking._fd, looking._stop)
        return looking.silent

    looking.refresh()
    yield stopped, looking, turns
    for member in joined:
        member.close()


def heartbeat_of(member):
    return decode_heartbeat(files.read_file(member.member_id, dir_fd=member._directory_fd)[:64])


def test_who_does_not_move_for_a_session_time_out_is_silent(members):
    stopped, _, turns = members
    assert turns(*[TICK] * 20) == frozenset()
    assert turns(*[TICK] * 22) == {stopped.member_id}


def test_who_moves_is_not_silent_and_who_lives_moves(members):
    stopped, looking, turns = members
    before = heartbeat_of(looking)
    turns(*[TICK] * 3)
    assert heartbeat_of(looking) == 3 != before
    moves = iter(range(1, 100))

    class Moving(Turns):
        def acquire(self, timeout):
            files.pwrite(stopped._fd, membership_module.encode_heartbeat(next(moves)), 0)
            return super().acquire(timeout)

    looking._stop = Moving([0.0], [TICK] * 60)
    looking._beat_and_listen(looking._fd, looking._stop)
    assert looking.silent == frozenset()


def test_a_pause_of_whoever_looks_is_no_silence_of_the_others(members):
    """All of them were stopped together, or the machine slept: the others have had no time to move either."""
    _, _, turns = members
    assert turns(TICK, 100 * TIMEOUT_MS, TICK, TICK) == frozenset()


def test_a_thread_that_wakes_when_its_member_has_left_writes_nothing(directory, tmp_path):
    """It may wake just then, and the descriptor be another file's by the time it runs."""
    member = Membership(directory, "billing", session_timeout_ms=TIMEOUT_MS, wake_fd=-1)
    member.join({}, None)
    fd, stop = member._fd, Turns([0.0], [TICK] * 2)
    member.leave()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    os.dup2(other, fd)
    member._beat_and_listen(fd, stop)
    assert os.fstat(fd).st_size == 0
    for one in {other, fd}:
        os.close(one)
    member.close()


def test_silence_is_timed_by_a_clock_that_nobody_sets():
    assert membership_module.monotonic is time.monotonic


def test_a_member_moves_by_itself_as_long_as_it_lives(directory):
    member = Membership(directory, "billing", session_timeout_ms=200, wake_fd=-1)
    member.join({}, None)
    deadline = time.monotonic() + 30
    while (heartbeat_of(member) or 0) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    member.close()


def test_a_child_of_a_fork_does_not_keep_a_member_alive_that_is_dead(directory):
    script = f"""
import os, sys, time
from mk.groups.membership import Membership, members_of
from mk.storage.log_directory import LogDirectory
member = Membership(LogDirectory({directory.path!r}), "billing", session_timeout_ms=10000, wake_fd=-1)
member.join({{}}, None)
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    child = 0
    try:
        child = int(process.stdout.readline())
        assert len(members_of(directory, "billing")) == 1
        process.kill()
        process.wait()
        deadline = time.monotonic() + 60
        while members_of(directory, "billing"):  # Until the child has come to close what the fork has copied.
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)
