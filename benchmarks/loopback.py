"""An sshd on loopback for benchmarks, which lets this user in with a key of its own. Needs sshd, ssh and ssh-keygen."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path


class LoopbackSshd:
    """A running sshd. ssh: the words that run a command through it, the host last. Until `close`."""

    host = "127.0.0.1"

    def __init__(self, directory: Path) -> None:
        """Raises OSError, saying why, where there is none or it does not answer."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None or not shutil.which("ssh") or not shutil.which("ssh-keygen"):
            raise OSError("sshd, ssh or ssh-keygen is not installed")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        directory.mkdir()
        for key in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
        shutil.copy(directory / "key.pub", directory / "authorized_keys")
        with socket.socket() as free:
            free.bind((self.host, 0))
            port = free.getsockname()[1]
        (directory / "sshd_config").write_text(
            f"ListenAddress {self.host}\nPort {port}\nHostKey {directory}/host_key\nPidFile none\nUsePAM no\n"
            f"StrictModes no\nPermitRootLogin yes\nAuthorizedKeysFile {directory}/authorized_keys\n"
        )
        with open(directory / "log", "wb") as log:
            self._process = subprocess.Popen([program, "-D", "-e", "-f", directory / "sshd_config"], stderr=log)
        options = f"-F none -o IdentityFile={directory}/key -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR"
        known = f"-o UserKnownHostsFile={directory}/known -o StrictHostKeyChecking=no"
        self.ssh = f"ssh {options} {known} -p {port}"
        limit = time.monotonic() + 10
        while subprocess.run([*self.ssh.split(), self.host, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            if time.monotonic() > limit or self._process.poll() is not None:
                self.close()
                raise OSError("it lets nobody in: " + (directory / "log").read_text(errors="replace")[-300:])
            time.sleep(0.1)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
