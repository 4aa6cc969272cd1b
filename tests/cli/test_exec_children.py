"""Children of `mk consume --exec` that do not behave, and how everything ends by a signal."""

import fcntl
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import BIN, Mk, read_until

pytestmark = pytest.mark.both_engines

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def script(tmp_path):
    """Return a function that makes an executable shell script, and returns its path."""

    def make(text, name="script"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def gate(tmp_path):
    """A fifo on which a child says that it runs, and one on which it waits to be let go."""
    said, go_path = tmp_path / "said", tmp_path / "go"
    os.mkfifo(said)
    os.mkfifo(go_path)

    class Gate:
        go = go_path
        text = f'echo "$$ $MK_REC_OFFSET" > {said}; read -r x < {go_path} || :'

        def next(self) -> tuple[int, int]:
            """Wait for a child to run; returns its process id and the offset of its record."""
            with open(said) as file:
                pid, offset = file.read().split()
            return int(pid), int(offset)

        def open(self) -> None:
            with open(go_path, "w") as file:
                file.write("x\n")

    return Gate()


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid, seconds=20):
    limit = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < limit
        time.sleep(0.002)


# Standard input.


@pytest.mark.parametrize("size", [1000, 3 << 20])
@pytest.mark.parametrize("options", [(), ("--jobs", 2), ("--dlq", "d")])
def test_a_child_that_outlives_mk_still_finds_the_whole_value(mk, tmp_path, script, size, options):
    """Without it, an orphan would take the part that it got, or nothing, for the value of its record."""
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=4MiB")
    mk.ok("produce", "t", "--whole", stdin=b"x" * size)
    command = script(f"kill -9 $PPID; wc -c > {tmp_path}/counting; mv {tmp_path}/counting {tmp_path}/counted")
    assert mk("consume", "t", "--exec", command, *options).status == 128 + signal.SIGKILL
    limit = time.monotonic() + 20
    while not (tmp_path / "counted").exists():
        assert time.monotonic() < limit
        time.sleep(0.002)
    assert int((tmp_path / "counted").read_text()) == size


def test_what_a_pipe_holds_comes_through_a_pipe_and_more_than_that_through_a_file(mk):
    mk.ok("produce", "t", "--whole", stdin=b"x" * (64 << 10))
    mk.ok("produce", "t", "--whole", stdin=b"x" * ((64 << 10) + 1))
    kinds = "sh -c 'test -p /dev/stdin && echo pipe || echo file; wc -c < /dev/stdin'"
    assert mk.ok("consume", "t", "--exec", kinds).split() == [b"pipe", b"65536", b"file", b"65537"]


@pytest.mark.parametrize("command", ["true", "head -c 1", "sh -c 'exec <&-; true'"])
@pytest.mark.parametrize("options", [(), ("--jobs", 2), ("--dlq", "d")])
def test_who_does_not_read_its_value_has_taken_it_all_the_same(mk, command, options):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=4MiB")
    mk.ok("produce", "t", "--whole", stdin=b"x" * (3 << 20))
    out = mk.ok("consume", "t", "--exec", command, *options, "-q")
    assert out == (b"x" if "head" in command else b"")


@pytest.mark.directory_only("a broker takes 1 MiB unless it is told otherwise")
def test_a_large_value_goes_through(mk):
    value = os.urandom(5 << 20)
    mk.ok("produce", "t", "--whole", stdin=value)
    for options in ((), ("--jobs", 2), ("--dlq", "d")):
        assert mk.ok("consume", "t", "--exec", "cat", *options, "-q") == value


# What they print.


def test_what_children_print_at_once_is_never_mixed(mk, script):
    mk.ok("produce", "t", *map(str, range(12)))
    # 300,000 bytes each, in many pieces.
    command = script('read -r v || :; i=0; while [ $i -lt 30 ]; do printf "%010000d" "$v"; i=$((i + 1)); done; echo')
    out = mk.ok("consume", "t", "--exec", command, "--jobs", 4).splitlines()
    assert sorted(out, key=lambda line: int(line[-3:])) == [b"%010000d" % number * 30 for number in range(12)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_reader_that_goes_away_ends_it_silently(mk, jobs):
    mk.ok("produce", "t", stdin=b"".join(b"%d\n" % number for number in range(300)))
    done = mk.shell(f"mk consume t -g g --batch 1 --exec cat --jobs {jobs} | head -n 1; status")
    assert done.status == 141 and done.err == "" and done.out.count(b"\n") == 1, done
    # What the pipe did not take is not committed.
    assert len(mk.ok("consume", "t", "-g", "g").splitlines()) > 200


def test_standard_error_passes_and_its_end_is_kept(mk, script):
    mk.ok("produce", "t", "a")
    command = script(
        "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i + 1)); done; printf 'no newline\\377' >&2; exit 65"
    )
    done = mk("consume", "t", "--exec", command, "--dlq", "d")
    assert done.status == 0 and "line 0\n" in done.err and "line 1999\n" in done.err
    (dead,) = mk.ok("consume", "d", "-J").splitlines()
    assert b"line 1981\\n" in dead or b"b64" in dead
    mk.ok("consume", "d", "--exec", "env")
    headers = mk.ok("consume", "d", "--exec", "sh -c 'echo \"$MK_REC_HEADERS\"'").decode()
    assert "mk.exec.stderr" in headers and len(headers) < 10_000


# Those that they leave behind.


@pytest.mark.parametrize("options", [(), ("--dlq", "d"), ("--jobs", 2), ("--jobs", 2, "--dlq", "d")])
def test_grandchildren_that_hold_the_output_hold_up_nobody(mk, tmp_path, script, options):
    mk.ok("produce", "t", "a", "b", "c")
    # It says something once its parent has ended, and lives on.
    fifo, pids = tmp_path / "fifo", tmp_path / "pids"
    os.mkfifo(fifo)
    command = script(
        f"(read -r x < {fifo}; echo late >&2; exec sleep 300) & echo $! >> {pids}; echo early >&2; echo out"
    )
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        done = mk("consume", "t", "--exec", command, *options, "-q", stdout=out, stderr=err)
    alive = [int(line) for line in pids.read_text().split()]
    try:
        assert done.status == 0
        assert (tmp_path / "out").read_bytes() == b"out\n" * 3
        assert (tmp_path / "err").read_bytes().count(b"early\n") == 3
        assert len(alive) == 3 and all(map(is_alive, alive))
    finally:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)


def test_a_grandchild_that_speaks_later_does_not_die_of_it(mk, tmp_path, script):
    mk.ok("produce", "t", "a", "b")
    fifo, told = tmp_path / "fifo", tmp_path / "told"
    os.mkfifo(fifo)
    first = f'[ "$MK_REC_OFFSET" = 0 ] && {{ (read -r x < {fifo}; echo late >&2; echo lived > {told}) & }}'
    # The second record lets it speak, and ends when it has.
    command = script(f"{first}; [ $MK_REC_OFFSET = 0 ] || {{ echo > {fifo}; while [ ! -s {told} ]; do :; done; }}")
    done = mk("consume", "t", "--exec", command, "--dlq", "d", "-q")
    assert done.status == 0 and done.err == "late\n"


@pytest.mark.directory_only("it looks at the files of the log")
def test_children_hold_nothing_but_their_three_streams(mk, script, gate):
    mk.ok("produce", "t", "-k", "k", "a", "b")
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    command = script(f"{gate.text.partition(';')[0]}; exec dd status=none if={gate.go}")
    try:
        with mk.start(
            "consume", "t", "-g", "g", "--exec", command, "--dlq", "d", "--jobs", 2, pass_fds=[writer]
        ) as process:
            for _ in range(2):
                pid, _ = gate.next()
                while Path(f"/proc/{pid}/comm").read_text() != "dd\n":
                    pass  # Still the shell, which holds the script that it reads.
                deadline = time.monotonic() + 20
                while not (held := {int(name) for name in os.listdir(f"/proc/{pid}/fd")}) <= {0, 1, 2}:
                    # dd itself looks for its messages as it starts; then it waits for the fifo.
                    assert time.monotonic() < deadline, [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in held]
                gate.open()
            assert process.wait(30) == 0
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.directory_only("it looks at the files of the log")
def test_locks_are_free_at_once_when_mk_is_killed_and_a_child_runs_on(mk, script):
    mk.ok("produce", "t", "a", "b")
    command = script("echo $$; exec sleep 300")
    with mk.start("consume", "t", "-g", "g", "--exec", command, "--dlq", "d") as process:
        child = int(read_until(process.stdout.fileno(), b"\n"))
        locks = [path for path in mk.directory.rglob("*") if path.is_file() and not path.name.endswith(".log")]
        held = [path for path in locks if is_locked(path)]
        assert any("claims" in str(path) for path in held) and any("members" in str(path) for path in held)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20  # The child would hold what it has inherited for five minutes.
        try:
            while any(map(is_locked, held)):
                assert time.monotonic() < deadline
            assert is_alive(child)
            assert mk.ok("consume", "t", "-g", "g") == b"a\nb\n"
        finally:
            os.kill(child, signal.SIGKILL)


def is_locked(path):
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


# Signals and time.


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("options", [(), ("-F",), ("--jobs", "3")])
def test_a_signal_waits_for_what_runs_and_starts_nothing_more(mk, script, gate, number, options):
    mk.ok("produce", "t", "-k", "k", "a", "b", "c")
    with mk.start("consume", "t", "-g", "g", "--exec", script(f"{gate.text}; cat"), *options) as process:
        gate.next()
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        gate.open()
        assert process.wait(30) == -number
        assert process.stdout.read() == b"a"
        assert b"not all is done of t 0 from offset 1 on" in process.stderr.read()
    assert mk.ok("consume", "t", "-g", "g") == b"b\nc\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_passes_on_a_sigterm_and_leaves(mk, script, gate, number):
    mk.ok("produce", "t", "a", "b")
    with mk.start("consume", "t", "-g", "g", "--exec", script(f'trap "exit 0" TERM; {gate.text}; cat')) as process:
        child, _ = gate.next()
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.send_signal(number)
        assert process.wait(30) == -number
        assert b"Traceback" not in process.stderr.read()
    wait_until_gone(child)
    assert mk.ok("consume", "t", "-g", "g") == b"a\nb\n"


def test_two_signals_at_once_leave_too(mk, script, gate):
    mk.ok("produce", "t", "a", "b")
    with mk.start("consume", "t", "-g", "g", "--exec", script(f"{gate.text}; cat")) as process:
        child, _ = gate.next()
        process.send_signal(signal.SIGSTOP)  # So that it finds both.
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        status = process.wait(30)
        assert b"Traceback" not in process.stderr.read()
        assert status in (-signal.SIGINT, -signal.SIGTERM)
    wait_until_gone(child)
    assert mk.ok("consume", "t", "-g", "g") == b"a\nb\n"


def test_how_a_child_ended_is_known_also_where_that_was_ignored(mk):
    """A SIGCHLD that is ignored, as some programs hand it on, has the kernel throw exit statuses away."""
    mk.ok("produce", "t", "a")

    def ignore():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    done = mk("consume", "t", "-g", "g", "--exec", "false", "--retries", 0, preexec_fn=ignore)
    assert done.status == 1 and "status 1, after 1 try" in done.err
    assert mk.ok("consume", "t", "-g", "g") == b"a\n"


@pytest.mark.parametrize("trapped", ["", "trap 'exit 130' INT"])
def test_ctrl_c_at_a_terminal_reaches_children_too_and_is_no_failure(mk, script, gate, trapped):
    mk.ok("produce", "t", "a", "b")
    ours, theirs = pty.openpty()
    words = "consume", "t", "-g", "g", "--exec", script(f"{trapped}\n{gate.text}"), "--retries", 0, "--dlq", "d"
    try:
        process = subprocess.Popen(
            ["setsid", "-c", "-w", str(BIN / "mk"), *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=mk.environment,
        )
        gate.next()
        os.write(ours, b"\x03")
        assert process.wait(30) in (-signal.SIGINT, 130)
    finally:
        os.close(ours)
        os.close(theirs)
    assert mk.ok("consume", "d") == b""
    assert mk.ok("consume", "t", "-g", "g") == b"a\nb\n"


@pytest.mark.directory_only("how long it takes to be a member of a group on Kafka is not known")
@pytest.mark.parametrize(("option", "status"), [("--max-time", 0), ("--timeout", 124)])
def test_when_the_time_is_over_what_runs_is_waited_for(mk, script, option, status):
    mk.ok("produce", "t", "a", "b", "c")
    done = mk("consume", "t", "-g", "g", "-F", "--exec", script("sleep 1; cat"), option, "1500ms")
    assert done.status == status and done.out == b"ab", done
    assert ("2 records were done by then" in done.err) == (status == 124)
    assert mk.ok("consume", "t", "-g", "g") == b"c\n"


@pytest.mark.directory_only("Kafka is hardly connected to in so short a time")
def test_time_is_over_also_for_what_waits_to_be_tried_again(mk):
    mk.ok("produce", "t", "a")
    done = mk("consume", "t", "-g", "g", "--exec", "sh -c 'exit 75'", "--backoff", "10s", "--max-time", "300ms")
    assert done.status == 0 and "not all is done of t 0 from offset 0 on" in done.err


def test_a_follower_hands_over_what_comes_at_once(mk):
    mk.ok("topics", "create", "t")
    with mk.start("consume", "t", "-F", "--exec", "cat", "--batch", 100) as process:
        for value in ("one", "two"):
            mk.ok("produce", "t", value)
            assert read_until(process.stdout.fileno(), b"\n") == value.encode() + b"\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


def test_as_many_run_at_once_as_may_also_after_a_time_with_little_to_do(mk, tmp_path, script):
    """Each waits for the other: one behind the other, neither would end."""
    mk.ok("produce", "t", "-k", "first", "0")
    text = f"""
read -r value
case $value in
    0) echo ready ;;
    1) mkfifo {tmp_path}/met; echo x > {tmp_path}/met; echo met ;;
    2) while [ ! -p {tmp_path}/met ]; do sleep 0.01; done; read -r x < {tmp_path}/met ;;
esac
"""
    with mk.start("consume", "t", "-F", "--jobs", 2, "--exec", script(text)) as process:
        assert read_until(process.stdout.fileno(), b"\n") == b"ready\n"
        mk.ok("produce", "t", stdin=b"1\n2\n")
        assert read_until(process.stdout.fileno(), b"\n") == b"met\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


def test_a_follower_ends_when_nothing_comes_and_all_is_done(mk, script):
    mk.ok("produce", "t", "a", "b")
    assert mk.ok("consume", "t", "-F", "--idle", "200ms", "--exec", script("sleep 0.4; cat")) == b"ab"


def test_a_topic_that_is_deleted_ends_a_follower_once_its_records_are_done(mk, script, gate):
    mk.ok("produce", "t", "a")
    with mk.start("consume", "t", "-F", "--exec", script(f"{gate.text}; cat")) as process:
        gate.next()
        mk.ok("topics", "delete", "t", "--yes")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        gate.open()
        assert process.wait(30) == 66
        assert process.stdout.read() == b"a"
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.directory_only("it looks at the files of the log")
def test_memory_does_not_grow_with_the_log(mk, tmp_path):
    data = b"".join(b"%099d\n" % number for number in range(200_000))
    mk.ok("produce", "t", stdin=data)
    wrapped = Mk(mk.directory)
    done = wrapped(
        "consume", "t", "--batch", 20_000, "--jobs", 2, "--exec", "wc -l", prefix=("prlimit", "--as=900000000")
    )
    assert done.status == 0 and sum(map(int, done.out.split())) == 200_000
