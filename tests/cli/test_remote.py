"""Producing to and consuming from a log directory of another host, through a script in the place of ssh and through sshd."""

import fcntl
import os
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from running import Mk


def fake_ssh(directory: Path, *, body: str = 'exec sh -c "$*"') -> dict[str, str]:
    """Return the environment in which ssh is a script: it drops the host, and runs the rest as a login shell would."""
    script = directory / "fake-ssh"
    script.write_text(f"#!/bin/sh\nshift\n{body}\n")
    script.chmod(0o755)
    return {"MK_RSH": str(script)}


class Remote(Mk):
    """`mk` on the directory of a Mk, which it reaches as that of another host."""

    def __init__(self, near: Mk, environment: dict[str, str], *, host: str = "far") -> None:
        super().__init__(near.directory)
        self.environment.update(environment, MK_DIR=f"{host}:{near.directory}")


@pytest.fixture
def far(mk, tmp_path):
    return Remote(mk, fake_ssh(tmp_path))


@pytest.fixture
def pids(tmp_path):
    """A file in which each far side writes its process id, and the script in the place of ssh that has it do so."""
    path = tmp_path / "pids"
    return path, fake_ssh(tmp_path, body=f'echo $$ >> {path}\nexec sh -c "exec $*"')


def wait_until(is_so, seconds=30):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


# What goes in comes out.


def test_what_is_produced_there_is_what_a_local_mk_finds_and_the_other_way_round(mk, far):
    done = far("produce", "t", "-k", "u1", "-H", "a=b", "-v", "one", "two")
    assert (done.status, done.out) == (0, b"")
    assert done.err == f"mk: created topic t (1 partition) in far:{mk.directory}\nt 0 0 1\n"
    mk.ok("produce", "t", "three")
    assert mk.ok("consume", "t", "-f", "%k %h{%k=%v} %v\\n") == b"u1 a=b one\nu1 a=b two\n  three\n"
    assert far.ok("consume", "t", "-J") == mk.ok("consume", "t", "-J")


def test_records_of_every_kind_pass_both_ways_unchanged(mk, far):
    mk.ok("produce", "t", "plain", "", "-z", "zstd")
    mk.ok("produce", "t", "-k", "k", "-Z", "", "--timestamp", "1700000000000")
    mk.ok("produce", "t", "--whole", "-H", "h=1", "-H", "null", stdin=bytes(range(256)) * 5)
    lines = mk.ok("consume", "t", "-J")
    assert far.ok("consume", "t", "-J") == lines
    far.ok("produce", "u", "-J", "--acks", "0", "-z", "gzip", stdin=lines.replace(b'"topic":"t"', b'"topic":"u"'))
    assert mk.ok("consume", "u", "-J").replace(b'"topic":"u"', b'"topic":"t"') == lines


SELECTIONS = [
    ("--tail", "7"),
    ("--reverse", "-J"),
    ("--merge", "-J"),
    ("--from", "2", "--to", "5", "-f", "%p %o\\n"),
    ("-o", "@1700000000100", "-f", "%T %v\\n"),
    ("-p", "1", "-G", "k=^3", "-J"),
    ("-o", "group:g", "-f", "%p %o\\n"),
    ("--exec", "cat", "--batch", "50", "-n", "50"),
]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A directory with 1200 records in three partitions: lines, keys, times and compressed ones; group g has read some."""
    top = tmp_path_factory.mktemp("sample")
    mk = Mk(top / "log")
    rows = [b'{"key":"%d","payload":"v%d","ts":%d}\n' % (n, n, 1_700_000_000_000 + n) for n in range(400)]
    mk.ok("produce", "t", "-J", "--partitions", "3", stdin=b"".join(rows))
    for partition in range(3):
        mk.ok("produce", "t", "-p", partition, "-z", "lz4", stdin=b"".join(b"line %d\n" % n for n in range(200)))
    mk.ok("produce", "t", "-K", ":", stdin=b"".join(b"%d:%d\n" % (n, n) for n in range(200)))
    mk.ok("consume", "t", "-g", "g", "-n", "90")
    return mk, Remote(mk, fake_ssh(top))


@pytest.mark.parametrize("words", SELECTIONS, ids=" ".join)
def test_what_is_selected_there_is_what_is_selected_here(sample, words):
    near, far = sample
    assert far.ok("consume", "t", *words) == near.ok("consume", "t", *words) != b""


def test_a_cursor_file_here_remembers_positions_there(sample, tmp_path):
    near, far = sample
    words = ("consume", "t", "--cursor-file", tmp_path / "cursor")
    first = far.ok(*words, "-n", "1000")
    assert first.count(b"\n") == 1000
    assert far.ok(*words) == near.ok("consume", "t").removeprefix(first) != b""
    assert far.ok(*words) == b""


def test_topics_there_are_listed_and_described(sample):
    near, far = sample
    assert far.ok("topics", "--json") == near.ok("topics", "--json")
    assert far.ok("topics", "offsets", "t") == near.ok("topics", "offsets", "t")
    assert far.ok("topics", "which", "t", "k") == near.ok("topics", "which", "t", "k")


# Following.


def test_what_is_produced_is_followed_and_a_new_topic_of_a_pattern_too(mk, far):
    mk.ok("produce", "t-1", "before")
    with far.start("consume", "-r", "^t-", "-F", "-n", "4") as follower:
        assert follower.stdout.readline() == b"before\n"
        mk.ok("produce", "t-1", "here")
        assert follower.stdout.readline() == b"here\n"
        far.ok("produce", "t-1", "there")
        assert follower.stdout.readline() == b"there\n"
        mk.ok("produce", "t-2", "in a new one")
        assert follower.stdout.readline() == b"in a new one\n"
        assert follower.wait(30) == 0


def test_a_slow_pipe_is_visible_at_once(mk, far):
    mk.ok("produce", "t", "first")
    with (
        mk.start("consume", "t", "-F", "-n", "3") as follower,
        far.start("produce", "t", stdin=subprocess.PIPE) as producer,
    ):
        assert follower.stdout.readline() == b"first\n"
        for line in (b"a\n", b"b\n"):
            producer.stdin.write(line)
            producer.stdin.flush()
            assert follower.stdout.readline() == line
        producer.stdin.close()
        assert producer.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE])
def test_the_far_side_ends_with_a_follower_whatever_that_ends_of(mk, pids, number):
    path, environment = pids
    far = Remote(mk, environment)
    mk.ok("produce", "t", "v")
    with far.start("consume", "t", "-F") as follower:
        assert follower.stdout.readline() == b"v\n"
        if number == signal.SIGPIPE:
            follower.stdout.close()
        else:
            follower.send_signal(number)
        assert follower.wait(30) == -number
        wait_until(lambda: has_ended(int(path.read_text())))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_read_when_a_terminal_ends_both_mk_and_ssh_is_stored(mk, pids, number):
    path, environment = pids
    far = Remote(mk, environment)
    mk.ok("topics", "create", "t")
    with far.start("produce", "t", start_new_session=True) as producer:
        producer.stdin.write(b"one\n")
        wait_until(lambda: mk.ok("consume", "t") == b"one\n")
        os.kill(int(path.read_text()), signal.SIGSTOP)
        producer.stdin.write(b"two\nthr")
        wait_until(lambda: fcntl.ioctl(producer.stdin, termios.FIONREAD, bytes(4)) == bytes(4))
        os.killpg(producer.pid, number)
        os.kill(int(path.read_text()), signal.SIGCONT)
        assert (producer.wait(30), producer.stderr.read()) == (-number, b"")
    assert mk.ok("consume", "t") == b"one\ntwo\n"


# Exactly once.


@pytest.mark.parametrize("killed", ["client", "far side", "both"])
def test_an_import_with_a_producer_id_that_was_killed_is_stored_once_when_it_is_run_again(mk, pids, killed):
    path, environment = pids
    far = Remote(mk, environment)
    lines = [b"%d %s\n" % (n, b"x" * 90) for n in range(60_000)]
    words = ("produce", "t", "--partitions", "3", "-K", " ", "--producer-id", "import", "-q")
    with far.start(*words, stdin=subprocess.PIPE) as producer:
        producer.stdin.write(b"".join(lines[:50_000]))
        producer.stdin.flush()
        segment = mk.directory / "topics/t/0/00000000000000000000.log"
        wait_until(lambda: segment.exists() and segment.stat().st_size)
        if killed != "far side":
            producer.kill()
        if killed != "client":
            os.kill(int(path.read_text().split()[-1]), signal.SIGKILL)
        if killed == "far side":
            _, err = producer.communicate(timeout=30)
            assert producer.returncode == 69
            assert b"for sure" in err and b"run the command again" in err
        producer.wait(30)
    assert far(*words, stdin=b"".join(lines)).status == 0
    assert sorted(mk.ok("consume", "t", "-f", "%k %v\\n").splitlines(True)) == sorted(lines)


def test_without_a_producer_id_a_lost_connection_says_what_is_sure(mk, pids):
    path, environment = pids
    far = Remote(mk, environment)
    mk.ok("produce", "t", "v")
    with far.start("produce", "t", stdin=subprocess.PIPE) as producer:
        producer.stdin.write(b"a\nb\n")
        producer.stdin.flush()
        wait_until(lambda: mk.ok("consume", "t") == b"v\na\nb\n")
        os.kill(int(path.read_text()), signal.SIGKILL)
        _, err = producer.communicate(b"c\n", timeout=30)
        assert producer.returncode == 69
        assert b"mk: 2 records stored\nmk: error: the connection to far ended\n" in err
        assert b"2 records are stored for sure, the 1 sent last may be stored or not" in err


# What goes wrong there.


def test_behind_an_append_that_failed_nothing_is_stored(mk, tmp_path):
    """Several appends are on their way when the first of them finds no room."""
    far = Remote(mk, fake_ssh(tmp_path, body='ulimit -f 24000; exec sh -c "$*"'))
    lines = b"".join(b"%d %s\n" % (n, b"x" * 90) for n in range(300_000))
    done = far("produce", "t", stdin=lines)
    assert done.status == 74
    assert f"mk: error: on far: no room to append to {mk.directory}/topics/t/0/" in done.err
    stored = mk.ok("consume", "t")
    assert 0 < len(stored) < len(lines)
    assert lines.startswith(stored)
    assert f"mk: {stored.count(10)} records stored\n" in done.err


def test_errors_of_the_far_side_are_what_they_are_here_and_name_it(mk, far):
    mk.ok("topics", "create", "sealed")
    mk.ok("topics", "seal", "sealed")
    for status, words, said in (
        (66, ("consume", "none"), f"on far: no topic none in {mk.directory}"),
        (66, ("consume", "sealed", "-o", "group:none"), "on far: no group none"),
        (66, ("consume", "sealed", "-p", "3"), "topic sealed has no partition 3"),
        (77, ("produce", "sealed", "v"), "topic sealed is sealed"),
    ):
        done = far(*words)
        assert (done.status, said in done.err) == (status, True), done
    done = far("consume", "t", "-d", f"far:{mk.directory}-none")
    assert done.status == 66 and f"on far: no log directory at {mk.directory}-none" in done.err


def test_damage_there_is_named(mk, far):
    mk.ok("produce", "t", "value")
    segment = mk.directory / "topics/t/0/00000000000000000000.log"
    data = bytearray(segment.read_bytes())
    data[-2] ^= 1
    segment.write_bytes(data)
    for words in ((), ("--reverse",)):
        done = far("consume", "t", *words)
        assert done.status == 65
        assert str(segment) in done.err and "far" in done.err


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ('exec sh -c "no-such-$*"', 69, "there is no mk on far that can be run"),
        ("echo no route >&2; exit 255", 69, "cannot reach far"),
        ('echo Welcome; exec sh -c "$*"', 76, "Welcome"),
    ],
)
def test_a_host_that_is_not_as_it_should_be_is_told_apart(mk, tmp_path, body, status, said):
    far = Remote(mk, fake_ssh(tmp_path, body=body))
    for words in (("produce", "t", "v"), ("consume", "t")):
        done = far(*words)
        assert (done.status, said in done.err) == (status, True), done
    assert not mk.directory.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("consume", "t", "-g", "g"),
        ("produce", "t", "--follow", "f", "--producer-id", "i"),
        ("topics", "create", "t"),
        ("topics", "alter", "t", "-c", "retention.ms=1"),
        ("groups",),
    ],
    ids=" ".join,
)
def test_what_only_works_where_the_directory_is_is_refused_with_the_command_to_run_there(mk, far, words):
    done = far(*words)
    assert done.status == 2
    assert f"ssh far mk -d {mk.directory} {' '.join(words)}; nothing was done\n" in done.err
    assert len(done.err.splitlines()) == 3
    assert not mk.directory.exists()


def test_a_path_with_a_colon_behind_a_slash_is_of_this_host(mk, tmp_path):
    mk.ok("produce", "t", "v", "-d", "./a:b", cwd=tmp_path)
    assert (tmp_path / "a:b" / "mk.json").exists()


# A real sshd.


def test_a_round_trip_through_sshd(mk, sshd):
    far = Remote(mk, sshd.environment, host=sshd.host)
    lines = b"".join(b"%d\n" % n for n in range(300_000))
    assert far.ok("produce", "t", "-q", stdin=lines) == b""
    assert far.ok("consume", "t") == lines
    assert far.ok("consume", "t", "--tail", "2") == lines[-14:]


def test_a_key_that_may_only_produce_to_some_topics_can_do_nothing_else(mk, sshd):
    mk.ok("produce", "logs", "mine")
    mk.ok("produce", "other", "secret")
    serve = f"{mk.program} serve --stdio --root {mk.directory} --only produce:logs --only produce:new"
    far = Remote(mk, {"MK_RSH": sshd.authorize(f'restrict,command="{serve}"')})
    far.environment["MK_DIR"] = f"{sshd.host}:"
    far.ok("produce", "logs", "theirs")
    far.ok("produce", "new", "made", "-q")
    assert mk.ok("consume", "logs") == b"mine\ntheirs\n"
    assert mk.ok("consume", "new") == b"made\n"
    for words in (
        ("produce", "newer", "v"),
        ("consume", "logs", "--tail", "1"),
        ("topics", "describe", "other"),
        ("topics", "describe", "logs", "-d", f"{sshd.host}:/etc"),
    ):
        done = far(*words)
        assert (done.status, b"secret" in done.out) == (77, False), (words, done)
    assert b"other" not in far.ok("topics")
    assert mk.ok("consume", "other") == b"secret\n"
    assert "newer" not in os.listdir(mk.directory / "topics")
