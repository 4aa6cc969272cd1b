"""Files in groups/ that no mk has written, and limits that a member runs into: one clear error or none, and no hanging."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
from running import read_until

import mk as mk_package
from mk.consumer.group_consumer import NothingUnderWay
from mk.groups.claim_slot import decode_slots
from mk.groups.member import DOCUMENT_POSITION, Member
from mk.records.codecs import crc32c

INTRUDER = "a" * 32


@pytest.fixture
def topic(mk):
    """Ten records in one partition, of which group g has read one."""
    mk.ok("produce", "t", stdin=b"".join(b"%d\n" % number for number in range(10)))
    mk.ok("consume", "t", "-g", "g", "-n", "1")
    return mk


def plant_member(mk, *, member_id=INTRUDER, heartbeat=b"", since_ms=0):
    """Make the file of a member that this process holds, until what is returned is closed."""
    member = Member(
        member_id,
        host="h",
        pid=1,
        user="u",
        boot_id="b",
        command="mk",
        topics={},
        partitions=None,
        since_ms=since_ms,
        session_timeout_ms=10_000,
    )
    new = mk.directory.parent / member_id
    file = new.open("w+b")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(heartbeat.ljust(DOCUMENT_POSITION, b"\0") + member.encode())
    file.flush()
    # Locked before anybody sees it: the file of a dead process would be swept away.
    new.rename(mk.directory / "groups" / "g" / "members" / member_id)
    return file


def test_a_heartbeat_that_is_no_number_neither_hangs_a_member_nor_makes_it_traceback(topic):
    line = b"heartbeat=forever"
    with (
        plant_member(topic, heartbeat=b"%b crc=%08x\n" % (line, crc32c(line))),
        topic.start("consume", "t", "-g", "g", "-F", "--session-timeout", "100ms") as member,
    ):
        read_until(member.stdout.fileno(), b"9\n")
        topic.ok("produce", "t", "one more, to be sure that its thread has looked")
        read_until(member.stdout.fileno(), b"looked\n")
        member.terminate()
        assert member.wait(20) == -signal.SIGTERM
        assert member.stderr.read() == b""


@pytest.mark.parametrize("since_ms", [10**30, -1])
def test_a_member_from_an_impossible_time_is_shown_as_one_that_does_not_say_who_it_is(topic, since_ms):
    with plant_member(topic, since_ms=since_ms):
        done = topic("groups", "describe", "g", "-m")
    assert (done.status, done.err) == (0, "")
    assert INTRUDER[:8] in done.out.decode()


@pytest.mark.parametrize("numbers", [{"time_ms": 10**30}, {"offset": -7}, {"leader_epoch": 10**30}])
def test_a_claim_with_numbers_that_nobody_commits_is_read_by_its_other_slot(topic, numbers):
    (path,) = (topic.directory / "groups" / "g" / "claims").glob("*/0.*")
    newest = decode_slots(path.read_bytes())[0]
    newest.sequence += 1
    for name, number in numbers.items():
        setattr(newest, name, number)
    with path.open("r+b") as file:
        file.seek(newest.position)
        file.write(newest.encode())
    done = topic("groups", "describe", "g", "-o")
    assert (done.status, done.err) == (0, "")
    assert topic("consume", "t", "-g", "g").out == b"".join(b"%d\n" % number for number in range(1, 10))


def test_who_may_start_no_more_threads_is_told_so(topic):
    """The real limit (ulimit -u) counts all that a user runs: the system's refusal comes by hand here."""
    script = (
        "import _thread, sys\n"
        "def refuse(*_):\n"
        '    raise RuntimeError("can\'t start new thread")\n'
        "_thread.start_new_thread = refuse\n"
        "from mk.cli.main import main\n"
        "sys.argv = ['mk', 'consume', 't', '-g', 'g']\n"
        "sys.exit(main())\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=topic.environment, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (75, b""), done
    assert b"no thread can be started" in done.stderr
    assert os.listdir(topic.directory / "groups" / "g" / "members") == []


def test_no_more_open_files_than_allowed_is_said_as_that(topic):
    said = set()
    for limit in range(12, 30, 2):
        done = topic("consume", "t", "-g", "new", prefix=("prlimit", f"--nofile={limit}:{limit}"))
        if done.status:
            assert done.status == 74 and "Too many open files" in done.err, (limit, done)
            said.add("ulimit -n" in done.err)
    assert said == {True}


def test_a_topic_that_goes_is_let_go_of(mk):
    """A group that reads what a pattern finds, for months: no descriptor may stay for each topic that was there once."""
    mk.ok("produce", "stays", "x")
    with mk.start("consume", "-r", ".", "-g", "g", "-F") as member:
        read_until(member.stdout.fileno(), b"x\n")

        def descriptors():
            return [os.readlink(f"/proc/{member.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{member.pid}/fd")]

        before = [path for path in descriptors() if "/claims/" in path]
        for name in ("comes-1", "comes-2"):
            mk.ok("produce", name, name)
            read_until(member.stdout.fileno(), name.encode() + b"\n")
            assert len([path for path in descriptors() if "/claims/" in path]) > len(before)
            mk.ok("topics", "delete", name, "--yes")
            read_until(member.stderr.fileno(), b"following the others\n")
        limit = time.monotonic() + 20
        while sorted(path for path in descriptors() if "/claims/" in path) != sorted(before):
            assert time.monotonic() < limit, descriptors()
            time.sleep(0.01)
        mk.ok("produce", "stays", "still")
        assert read_until(member.stdout.fileno(), b"still\n") == b"still\n"


def test_a_process_number_that_is_how_another_members_id_begins_kicks_nobody(topic):
    with topic.start("consume", "t", "-g", "g", "-F", "--session-timeout", "30s") as member:
        read_until(member.stdout.fileno(), b"9\n")
        name = f"{member.pid}".ljust(32, "0")
        with plant_member(topic, member_id=name):
            done = topic("groups", "kick", "g", member.pid)
            assert done.status == 66 and "more than one" in done.err
        assert topic.ok("groups", "kick", "g", member.pid, "--json").startswith(b"{")


def test_a_system_without_pipe2_has_groups_too(topic):
    """As macOS: it lacks the call, and nothing else that a member cannot do without."""
    script = (
        "import os, sys\n"
        "del os.pipe2\n"
        "from mk.cli.main import main\n"
        "sys.argv = ['mk', 'consume', 't', '-g', 'g']\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=topic.environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr) == (0, 9, b"")


def test_who_was_stopped_on_the_way_to_stopping_is_not_stopped_again(topic, monkeypatch):
    """An alarm stops a member as it is that cannot let go in time; when it goes on, it goes on."""

    class Slow(NothingUnderWay):
        def lost(self, topic, partition):
            consumer.is_suspending = False  # as the handler of the alarm does, with SIGSTOP

    stops = []
    monkeypatch.setattr(os, "kill", lambda pid, number: stops.append(number))
    with (
        mk_package.connect(str(topic.directory)) as cluster,
        cluster.group_consumer("g", ["t"], follow=True, delivery=Slow()) as consumer,
    ):
        consumer.tend()
        assert consumer.holds("t", 0)
        consumer.suspend()
        consumer.tend()
        assert stops == []
        consumer.tend()
        assert consumer.holds("t", 0)
