"""What gets a client to a `mk serve --stdio`: a script in place of ssh, or the real one. The far side holds a FakeReplica."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from mk.replication.remote_replica import RemoteReplica
from mk.transport.address import parse_address

ROOT = Path(__file__).parents[2]
FAKE = f"{shlex.quote(sys.executable)} -m tests.transports.fake_replica"


class FarSide:
    """A way to a far side. open: a RemoteReplica there; told: what its FakeReplica was told."""

    def __init__(self, tmp_path, host, rsh):
        self.tmp_path = tmp_path
        self.host = host
        self.rsh = rsh
        self._opened = []

    def environment(self, **variables):
        told = {"FAKE_TOLD": str(self.tmp_path / "told"), **variables}
        words = " ".join(shlex.quote(f"{name}={value}") for name, value in told.items())
        program = f"cd {shlex.quote(str(ROOT))} && exec env {words} {FAKE}"
        return {"MK_RSH": self.rsh, "MK_REMOTE_PATH": program, "PATH": os.environ["PATH"]}

    def open(self, directory="/srv/mk", *, variables=None, environ=None, **keywords):
        address = parse_address(f"{self.host}:{directory}")
        environ = environ or self.environment(**(variables or {}))
        replica = RemoteReplica(address, environ=environ, **keywords)
        self._opened.append(replica)
        return replica

    def told(self):
        """Everything but how it was opened, in order; what is asked for and answered is there by then."""
        lines = (self.tmp_path / "told").read_text().splitlines()
        return [what for what in map(json.loads, lines) if what[0] != "open"]

    def close(self):
        for replica in self._opened:
            replica.close()


def make_fake_ssh(directory):
    """Return a script that does what ssh does, but for the network: it drops its options and the host, and has a shell run the words."""
    script = directory / "fake-ssh"
    script.write_text('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nshift\nexec sh -c "$*"\n')
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def fake_ssh(tmp_path):
    return make_fake_ssh(tmp_path)


@pytest.fixture
def far_side(tmp_path, fake_ssh):
    side = FarSide(tmp_path, "far.example", fake_ssh)
    yield side
    side.close()


@pytest.fixture(params=["pipes", "sshd"])
def any_far_side(request, tmp_path, fake_ssh):
    if request.param == "pipes":
        side = FarSide(tmp_path, "far.example", fake_ssh)
    else:
        sshd = request.getfixturevalue("sshd")
        side = FarSide(tmp_path, sshd.host, sshd.rsh)
    yield side
    side.close()
