"""`mk serve --stdio` as a process: what it says to whom, and how it ends."""

import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from mk import errors
from mk.cli.definitions.serve import SERVE
from mk.replication.remote_replica import RemoteReplica
from mk.transport.address import parse_address
from mk.transport.channel import BANNER, Channel
from tests.multiprocess.processes import MK, TIMEOUT
from tests.transports.conftest import ROOT
from tests.transports.fake_replica import DIRECTORY_ID, partition_image
from tests.transports.frames import client_hello, frame, raw_frame
from tests.transports.test_hostile_clients import FOLLOWED

OPEN = client_hello("/srv/mk") + frame("open_replica", False)
COMMAND = [sys.executable, "-m", "tests.transports.fake_replica", "serve", "--stdio"]


@contextmanager
def serving(*words, said=b"", **variables):
    """Start it with pipes on all ends, and say something."""
    environment = {"PATH": os.environ["PATH"], **{name: str(value) for name, value in variables.items()}}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*COMMAND, *words], cwd=ROOT, env=environment, bufsize=0, **pipes)
    try:
        process.stdin.write(said)
        yield process
    finally:
        process.kill()
        process.wait(TIMEOUT)
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def channel_of(process):
    return Channel(process.stdout.fileno(), process.stdin.fileno(), peer="the server")


def opened(process):
    """Return a channel on which the replica is open."""
    channel = channel_of(process)
    channel.receive_banner()
    for _ in range(3):
        last = channel.receive()
    assert (last.number(), last.id()) == (0, DIRECTORY_ID)
    return channel


def test_it_begins_with_the_banner_and_ends_silently_with_its_client():
    with serving() as process:
        out, err = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, err) == (0, b"")
        assert out.startswith(BANNER) and len(out) < 60
    with serving(said=OPEN[:-3]) as process:
        out, err = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, err) == (0, b"")
    with serving(said=OPEN + frame("read", "orders", 0, 0, 1 << 60), FAKE_ENDLESS=1) as process:
        channel = opened(process)
        assert channel.receive().number() == 1
        # Nobody reads any more.
        process.stdout.close()
        assert process.wait(TIMEOUT) == 0 and process.stderr.read() == b""


def test_a_client_that_goes_away_while_it_waits_is_not_waited_for():
    with serving(said=OPEN + frame("wait", 3_600_000)) as process:
        opened(process)
        process.stdin.close()
        assert process.wait(TIMEOUT) == 0


def test_what_is_not_understood_ends_it_with_76_and_is_told_to_both():
    with serving(said=OPEN + frame("rm", "-rf")) as process:
        channel = opened(process)
        answer = channel.receive()
        assert (answer.number(), answer.text(), answer.number()) == (2, "FarSideError", 76)
        assert channel.receive() is None
        assert process.wait(TIMEOUT) == 76
        assert b"there is no operation 'rm'" in process.stderr.read()


def test_what_is_printed_never_gets_into_the_channel():
    said = OPEN + FOLLOWED + frame("append", 0, 0, 1, True, 0, body=b"x") + frame("sync", 0)
    with serving(said=said) as process:
        channel = opened(process)
        for values in ([0, 0, 0], [0, 1]):
            fields = channel.receive()
            assert [fields.number() for _ in values] == values
            fields.end()
        _, err = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, err) == (0, b"a line that somebody prints\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("doing", ["waiting for the client", "waiting for news", "sending to who does not read"])
def test_a_signal_ends_it_with_all_closed(number, doing, tmp_path):
    said = {
        "waiting for the client": b"",
        "waiting for news": frame("wait", 3_600_000),
        "sending to who does not read": frame("read", "orders", 0, 0, 1 << 60),
    }[doing]
    told = tmp_path / "told"
    with serving(said=OPEN + FOLLOWED + said, FAKE_TOLD=told, FAKE_ENDLESS=1) as process:
        channel = opened(process)
        channel.receive()
        if "sending" in doing:
            assert channel.receive().number() == 1
        process.send_signal(number)
        assert process.wait(TIMEOUT) == -number
        assert process.stderr.read() == b""
    assert [line.split('"')[1] for line in told.read_text().splitlines()[-2:]] == ["close_writer", "close"]


def test_it_is_for_ssh_and_says_so():
    def status(*words, **keywords):
        done = subprocess.run([MK, "serve", *words], capture_output=True, check=False, timeout=TIMEOUT, **keywords)
        return done.returncode, done.stderr.decode(), done.stdout

    code, err, out = status(stdin=subprocess.DEVNULL)
    assert code == 2 and "`mk serve --stdio`" in err and out == b""
    ours, theirs = pty.openpty()
    code, err, out = status("--stdio", stdin=theirs)
    assert code == 2 and "not for a terminal" in err and "another mk runs it" in err and out == b""
    os.close(ours)
    os.close(theirs)
    code, err, out = status("--stdio", "--root", "", stdin=subprocess.DEVNULL)
    assert code == 2 and "--root is empty" in err and out == b""
    for words in (["--only", "read:x"], ["--only", "pull:("], ["--only", "pull"]):
        code, err, out = status("--stdio", *words, stdin=subprocess.DEVNULL)
        assert code == 2 and "--only cannot be" in err and out == b""


def test_it_starts_with_little():
    script = "import sys, os; os.dup2(2, 9); sys.argv[1:] = ['serve', '--stdio', '--only', 'pull:orders']\n"
    script += "from mk.cli.main import main; main(); os.write(2, ' '.join(sys.modules).encode())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {[*filter(None, sys.path)]!r}\n{script}"],
        input=client_hello("/srv/mk"),
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    loaded = set(done.stderr.decode().split())
    assert "mk.server.session" in loaded
    heavy = {
        "re",
        "json",
        "subprocess",
        "typer",
        "typing",
        "dataclasses",
        "enum",
        "pathlib",
        "select",
        "signal",
        "mk.storage",
    }
    assert not loaded & heavy


def test_memory_is_bounded_whatever_a_client_says():
    def peak_mib(said, pieces=()):
        with serving(said=OPEN + said) as process:
            channel = opened(process)
            for piece in pieces:
                process.stdin.write(piece)
            process.stdin.close()
            while channel.receive() is not None:
                pass
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss >> 10

    plain = peak_mib(b"")
    # A length is not yet memory.
    assert peak_mib(raw_frame(b"", head_length=4 << 20, body_length=66 << 20)) < plain + 4
    appends = (frame("append", 0, at, at + 1, False, 0, body=bytes(1 << 20)) for at in range(60))
    assert peak_mib(FOLLOWED, appends) < plain + 12
    many = raw_frame(b"\xa6topics\x00\xc3\xce\x00\x04\x00\x00" + b"\xa1x" * (1 << 18))
    assert peak_mib(b"", [many] * 4) < plain + 24


# Behind a real sshd.


def test_the_examples_of_the_manual_limit_a_key(sshd, tmp_path):
    """With the lines of authorized_keys that `mk serve --help` shows, but for the place of mk and of the directory."""
    (pull_line, _), (push_line, _), (produce_line, _) = SERVE.examples
    evil = tmp_path / "evil"

    def connect(line, directory=""):
        options = re.fullmatch(r'(restrict,command=".*") KEY', line)[1]
        program = f"cd {ROOT}; exec env FAKE_TOLD={tmp_path}/told {sys.executable} -m tests.transports.fake_replica "
        rsh = sshd.authorize(options.replace("mk serve", f"{program} serve"))
        # What is asked for instead is not looked at, by the shell or by mk.
        environ = {**os.environ, "MK_RSH": rsh, "MK_REMOTE_PATH": f"touch {evil}; mk serve --stdio --root /; "}
        return RemoteReplica(parse_address(f"{sshd.host}:{directory}"), environ=environ), rsh

    replica, rsh = connect(pull_line)
    assert replica.address == "here:/srv/mk"
    assert [image.name for image in replica.topics()] == ["orders"]
    assert len(list(replica.read("orders", 0, 0, 80))) == 8
    with pytest.raises(errors.PermissionDeniedError, match="secrets is not yours to pull"):
        list(replica.read("secrets", 0, 0, 80))
    with pytest.raises(errors.PermissionDeniedError):
        replica.begin(DIRECTORY_ID, "")
    replica.close()
    shell = sshd.run(rsh, f"touch {evil}")
    assert shell.stdout.startswith(BANNER)
    with pytest.raises(errors.PermissionDeniedError, match="not served here"):
        connect(pull_line, "/etc")
    replica, _ = connect(push_line, "/srv/mk")
    assert [image.name for image in replica.topics()] == []
    replica.follow("s7.orders", partition_image(0), 0, 0).close()
    with pytest.raises(errors.PermissionDeniedError, match="not yours to push"):
        replica.follow("s8.orders", partition_image(0), 0, 0)
    with pytest.raises(errors.PermissionDeniedError):
        list(replica.read("s7.orders", 0, 0, 80))
    replica.close()
    with pytest.raises(errors.PermissionDeniedError, match="open_replica is not allowed here"):
        connect(produce_line)
    assert not evil.exists()
