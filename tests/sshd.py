"""A real sshd on loopback, for tests of what goes to another host: `sshd` is a fixture of all tests, skipped where there is none."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

MK = str(Path(sys.executable).with_name("mk"))
TIMEOUT = 60

_CONFIG = """
ListenAddress {host}
Port {port}
HostKey {top}/host_key
AuthorizedKeysFile {top}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
"""


class Sshd:
    """A running sshd that lets this user in with a key.

    host: as in `host:directory`. environment: what `mk` needs to get there, and to find mk there.
    """

    def __init__(self, top: Path, program: str, *, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> None:
        """prefix: the words that put it somewhere else, where `host` is its address."""
        self.top = top
        self.host = host
        self._keys = 0
        self._make_key("host_key")
        self.authorized_keys = top / "authorized_keys"
        self.authorized_keys.touch()
        for _ in range(5):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            (top / "sshd_config").write_text(_CONFIG.format(host=host, port=self.port, top=top))
            # -e: it says on stderr when it listens.
            self.process = subprocess.Popen(
                [*prefix, program, "-D", "-e", "-f", top / "sshd_config"],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            lines = []
            for line in self.process.stderr:
                lines.append(line.decode(errors="replace").strip())
                if "Server listening" in lines[-1]:
                    # What it says of connections goes on; nobody reads it, and it must not fill the pipe.
                    self._drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)
                    self.process.stderr.close()
                    self.rsh = self.authorize()
                    return
            self.process.wait(TIMEOUT)
        pytest.skip(f"sshd does not start: {lines}")

    @property
    def environment(self) -> dict[str, str]:
        return {"MK_RSH": self.rsh, "MK_REMOTE_PATH": MK}

    def authorize(self, options: str = "") -> str:
        """Make a key and let it in, with options as in authorized_keys; returns the words of the ssh that uses it."""
        self._keys += 1
        name = f"key{self._keys}"
        public = self._make_key(name)
        with self.authorized_keys.open("a") as file:
            file.write(f"{options} {public}\n" if options else f"{public}\n")
        settings = {
            "IdentityFile": self.top / name,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.top / "known_hosts",
            "StrictHostKeyChecking": "no",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "Port": self.port,
        }
        words = [shlex.quote(f"{key}={value}") for key, value in settings.items()]
        return "ssh -F none " + " ".join(f"-o {word}" for word in words)

    def run(self, rsh: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command there, as ssh does."""
        return subprocess.run(
            [*shlex.split(rsh), self.host, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
        )

    def stop(self) -> None:
        """Let no more connections in; those that are open go on."""
        self.process.kill()
        self.process.wait(TIMEOUT)
        # Sessions have its stderr too, and may go on: what reads that is not waited for.
        self._drain.kill()
        self._drain.wait(TIMEOUT)

    def _make_key(self, name: str) -> str:
        path = self.top / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, timeout=TIMEOUT)
        return path.with_suffix(".pub").read_text().strip()


def sshd_program() -> str:
    """Return where sshd is; skips where it is not, or no ssh to go with it."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    for needed, found in (("sshd", program), ("ssh", shutil.which("ssh")), ("ssh-keygen", shutil.which("ssh-keygen"))):
        if found is None:
            pytest.skip(f"{needed} is not installed")
    if os.geteuid() == 0:
        # Where it separates privileges; a service makes it otherwise.
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    return program


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    """An sshd of this test run; nobody stops it but a test that has made another one."""
    server = Sshd(tmp_path_factory.mktemp("sshd"), sshd_program())
    try:
        probe = server.run(server.rsh, "true")
        if probe.returncode:
            pytest.skip(f"sshd lets nobody in: {probe.stderr.decode(errors='replace')}")
        yield server
    finally:
        server.stop()
