"""The command that reaches another host: its words, what it inherits, and what is said when it ends."""

import os
import shlex
import sys
import time

import pytest

from mk.errors import FarSideError, PeerUnreachableError, UsageError
from mk.transport.address import parse_address
from mk.transport.channel import BANNER
from mk.transport.connection import connect
from mk.transport.ssh import RemoteCommand, command_line
from tests.transports.frames import greeting

ADDRESS = parse_address("ann@far.example:-oProxyCommand=touch /tmp/x")
SAY_BANNER = f"printf '{''.join(f'{chr(92)}{byte:03o}' for byte in BANNER)}'"
KEEPING_ALIVE = ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]


def test_the_words_hold_the_host_and_nothing_else_of_the_address():
    far = ["ann@far.example", "mk", "serve", "--stdio"]
    assert command_line(ADDRESS, environ={}) == ["ssh", *KEEPING_ALIVE, "--", *far]
    assert command_line(ADDRESS, environ={"MK_RSH": ""}) == ["ssh", *KEEPING_ALIVE, "--", *far]
    environ = {"MK_RSH": "/usr/bin/ssh -p 2222 -i 'my key'", "MK_REMOTE_PATH": "/opt/mk"}
    assert command_line(ADDRESS, environ=environ) == [
        *["/usr/bin/ssh", "-p", "2222", "-i", "my key", *KEEPING_ALIVE, "--"],
        *["ann@far.example", "/opt/mk", "serve", "--stdio"],
    ]
    # Another command may not know ssh's options.
    assert command_line(ADDRESS, rsh=r"docker exec\ -i", environ=environ)[:3] == [
        "docker",
        "exec -i",
        "ann@far.example",
    ]
    for wrong in ("'", " ", "a 'b"):
        with pytest.raises(UsageError):
            command_line(ADDRESS, rsh=wrong, environ={})


@pytest.fixture
def reach(fake_ssh):
    """Run a script as the far side's mk."""

    def run(script, rsh=fake_ssh):
        return RemoteCommand(ADDRESS, environ={"MK_RSH": rsh, "MK_REMOTE_PATH": script, "PATH": os.environ["PATH"]})

    return run


def wrong(reach, script, error_class=PeerUnreachableError, **keywords):
    with pytest.raises(error_class) as caught:
        reach(script, **keywords)
    assert caught.value.facts.get("peer", "ann@far.example") == "ann@far.example"
    return caught.value


def test_a_far_side_that_ends_is_explained_by_what_it_said_last(reach):
    error = wrong(reach, "echo one >&2; echo ssh: connect to host far.example: No route to host >&2; exit 255;")
    assert error.exit_status == 69 and error.what == "cannot reach ann@far.example"
    assert error.why == "one; ssh: connect to host far.example: No route to host"
    error = wrong(reach, "/nonexistent/mk")
    assert error.exit_status == 69 and error.what == "there is no mk on ann@far.example that can be run"
    assert "/nonexistent/mk" in error.why and "MK_REMOTE_PATH" in error.fix
    error = wrong(reach, "/dev/null")
    assert error.what == "there is no mk on ann@far.example that can be run"
    error = wrong(reach, "echo 'mk: error: there is no command serve' >&2; exit 2;", FarSideError)
    assert error.exit_status == 76 and "no command serve" in error.why and "newer mk" in error.fix
    assert "status 3" in wrong(reach, "exit 3;").what
    assert "killed by 9" in wrong(reach, "kill -9 $$;").what
    error = wrong(reach, "", rsh="/nonexistent/ssh")
    assert error.what == "cannot run /nonexistent/ssh to reach ann@far.example" and "No such file" in error.why
    error = wrong(reach, "yes 'a line that is long' | head -c 500000 >&2; echo last >&2; exit 255;")
    assert error.why.endswith("; last") and len(error.why) < 1000


def test_noise_of_a_shell_profile_is_shown(reach):
    error = wrong(reach, f"echo Welcome; {SAY_BANNER}; cat >/dev/null;", FarSideError)
    assert error.exit_status == 76 and "Welcome" in error.why


def test_what_a_far_side_that_works_says_on_stderr_is_passed_on(reach, capfd):
    command = reach(f"printf 'a warn\\033]52;ing\\n' >&2; {SAY_BANNER}; cat >/dev/null; echo bye >&2; :")
    command.close()
    command.close()
    assert capfd.readouterr().err == "a warn\\x1b]52;ing\nbye\n"


def test_a_full_stderr_keeps_nobody_waiting(reach, capfd):
    spam = "yes 0123456789abcde | head -c 400000 >&2"
    command = reach(f"{spam}; {SAY_BANNER}; {spam}; cat; {spam}; :")
    data = bytes(range(256)) * 100
    for _ in range(4):
        command.channel.send(data)
        assert command.channel.receive().data(1 << 20) == data
    command.close()
    assert "\n0123456789abcde\n" in capfd.readouterr().err


def test_the_command_gets_three_descriptors_and_the_usual_signals(reach, tmp_path):
    held = os.open(os.devnull, os.O_RDONLY)
    script = (
        "import os, sys; fds = os.listdir('/proc/self/fd'); fds = [fd for fd in fds if os.path.exists('/proc/self/fd/' + fd)];"
        "open(sys.argv[1], 'w').write(' '.join(fds))"
    )
    words = shlex.join([sys.executable, "-c", script, str(tmp_path / "fds")])
    ignored = f"grep -i sigign /proc/self/status >{shlex.quote(str(tmp_path / 'signals'))}"
    # Whoever started the tests may have left some to everybody.
    everybodys = {fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")}
    everybodys = {fd for fd in everybodys if os.get_inheritable(fd)}
    assert held not in everybodys
    reach(f"{ignored}; {words}; {SAY_BANNER}; cat >/dev/null; :").close()
    os.close(held)
    assert set(map(int, (tmp_path / "fds").read_text().split())) <= {0, 1, 2} | everybodys
    assert int((tmp_path / "signals").read_text().split()[1], 16) & (1 << 12) == 0  # SIGPIPE, number 13


@pytest.mark.parametrize("seconds", [0, 0.3])
def test_a_far_side_that_goes_away_is_explained_at_the_next_request(fake_ssh, tmp_path, seconds):
    (tmp_path / "said").write_bytes(greeting())
    script = f"cat {shlex.quote(str(tmp_path / 'said'))}; head -c 20 >/dev/null; echo the disk burns >&2; exit 1;"
    connection = connect(ADDRESS, environ={"MK_RSH": fake_ssh, "MK_REMOTE_PATH": script, "PATH": os.environ["PATH"]})
    time.sleep(
        seconds
    )  # Then it has said so before it is asked, and that has been shown when it turns out to have ended.
    with pytest.raises(PeerUnreachableError, match="connection to ann@far.example ended") as caught:
        connection.do("anything")
    assert "the disk burns" in caught.value.why and "acknowledged is stored" in caught.value.fix
    # Its descriptors are closed, and their numbers may be others' now: nothing is written to those.
    victim = os.open(tmp_path / "victim", os.O_RDWR | os.O_CREAT)
    with pytest.raises(PeerUnreachableError):
        connection.do("anything")
    assert os.path.getsize(tmp_path / "victim") == 0
    os.close(victim)
    connection.close()


def test_a_far_side_that_does_not_end_is_ended(reach, monkeypatch):
    from mk.transport import ssh

    monkeypatch.setattr(ssh, "_END_SECONDS", 0.05)
    command = reach(f"trap '' TERM; {SAY_BANNER}; while :; do sleep 60; done; :")
    command.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(command._pid, 0)


def test_a_real_ssh_that_nobody_answers(sshd):
    environ = {**os.environ, "MK_RSH": sshd.rsh.replace(f"Port={sshd.port}", "Port=1")}
    with pytest.raises(PeerUnreachableError, match="cannot reach 127.0.0.1") as caught:
        RemoteCommand(parse_address("127.0.0.1:/srv"), environ=environ)
    assert "onnection refused" in caught.value.why
    environ["MK_RSH"] = sshd.rsh.replace("key1", "host_key")
    with pytest.raises(PeerUnreachableError, match="cannot reach 127.0.0.1") as caught:
        RemoteCommand(parse_address("127.0.0.1:/srv"), environ=environ)
    assert "Permission denied" in caught.value.why
    with pytest.raises(PeerUnreachableError, match="there is no mk"):
        RemoteCommand(
            parse_address("127.0.0.1:/srv"), environ={**environ, "MK_RSH": sshd.rsh, "MK_REMOTE_PATH": "/no/mk"}
        )
