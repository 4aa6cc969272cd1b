"""A certificate authority of a test, made by openssl: who is signed by it is trusted, and by another one is not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.kafka.jars import Unavailable


class Authority:
    """certificate: the file by which a client trusts what this authority has signed."""

    def __init__(self, top: Path, name: str = "authority") -> None:
        """Make it in a directory. Raises Unavailable."""
        if shutil.which("openssl") is None:
            raise Unavailable("there is no openssl")
        self._top = top
        self._name = name
        self.certificate = top / f"{name}.pem"
        self._key = top / f"{name}.key"
        _openssl(
            top, "req", "-x509", *_new_key(self._key), "-out", self.certificate, "-subj", f"/CN={name}", "-days", "2"
        )

    def issue(self, name: str, directory: Path) -> Path:
        """Return a new file with a key and its certificate for `name`, who is at 127.0.0.1 and localhost."""
        key, request, certificate = (directory / f"{name}.{ending}" for ending in ("key", "csr", "crt"))
        extensions = directory / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        _openssl(directory, "req", *_new_key(key), "-out", request, "-subj", f"/CN={name}")
        signer = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions]
        _openssl(directory, "x509", "-req", "-in", request, *signer, "-out", certificate, "-days", "2")
        both = directory / f"{name}.pem"
        both.write_text(key.read_text() + certificate.read_text())
        both.chmod(0o600)
        return both


def _new_key(path: Path) -> list[object]:
    return ["-newkey", "rsa:2048", "-nodes", "-keyout", path]


def _openssl(directory: Path, *words: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, words)], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
