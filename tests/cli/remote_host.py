"""Another host for tests: one that is this machine, behind a script in the place of ssh, or behind a real sshd on loopback."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SSHD = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin")
SSH = shutil.which("ssh")


def fake_ssh(directory: Path, *, body: str = 'exec sh -c "$*"') -> dict[str, str]:
    """Return the environment in which ssh is a script: it drops the host, and runs the rest as a login shell would."""
    script = directory / "fake-ssh"
    script.write_text(f"#!/bin/sh\nshift\n{body}\n")
    script.chmod(0o755)
    return {"MK_RSH": str(script)}


class Sshd:
    """A real sshd on a port of its own, for the user who runs the tests. `environment` leads to it as host `far`."""

    def __init__(self, directory: Path, *, command: str = "") -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        for key in ("host", "client"):
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key)
        line = (directory / "client.pub").read_text()
        self.keys = directory / "authorized_keys"
        self.keys.write_text(f'restrict,command="{command}" {line}' if command else line)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (directory / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile {directory}/pid\n"
            f"AuthorizedKeysFile {self.keys}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            f"SetEnv PATH={BIN}:/usr/bin:/bin\n"
        )
        (directory / "ssh_config").write_text(
            f"Host far\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {directory}/client\n IdentitiesOnly yes\n"
            f" StrictHostKeyChecking no\n UserKnownHostsFile {directory}/known\n LogLevel ERROR\n BatchMode yes\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", directory / "sshd_config"], stderr=log)
        self.environment = {"MK_RSH": f"{SSH} -F {directory}/ssh_config"}
        self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.close()
                    pytest.skip("sshd does not run here: " + (self.directory / "log").read_text()[-300:])
                time.sleep(0.02)

    def close(self) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)
        self._process.wait(10)

    @staticmethod
    def _run(*words) -> None:
        subprocess.run(list(map(str, words)), check=True, stdout=subprocess.DEVNULL, timeout=60)


def needs_sshd() -> None:
    if SSHD is None or SSH is None:
        pytest.skip("no sshd or ssh is installed")
    if os.geteuid() != 0 and not Path("/run/sshd").exists():
        pytest.skip("sshd wants /run/sshd, which only root can make")
