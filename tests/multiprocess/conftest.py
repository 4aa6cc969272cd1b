"""A server of warm commands, for tests that need so many that starting each would take nearly all of their time."""

import os

import pytest
from fork_server import ForkServer
from processes import ENVIRONMENT

LINES = [b"a:1\nb:2\n"]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server that has imported what tests run on it."""
    if not hasattr(os, "pidfd_open") or not hasattr(os, "memfd_create"):
        pytest.skip("needs Linux 5.3, for descriptors of processes")
    server = ForkServer(ENVIRONMENT)
    try:
        _warm(server, tmp_path_factory)
        yield server
    finally:
        server.close()


def _warm(server, tmp_path_factory):
    directory, copy = tmp_path_factory.mktemp("warm") / "log", tmp_path_factory.mktemp("warm") / "copy"
    for words, stdin in (
        (("topics", "create", "t", "-p", "2", "-c", "cleanup.policy=compact,delete"), [b""]),
        (("produce", "t", "-v", "-K", ":", "--producer-id", "i"), LINES),
        (("produce", "t", "value", "-k", "key", "-q"), [b""]),
        (("consume", "t", "-J", "-q"), [b""]),
        (("consume", "t", "-J", "--tail", "1"), [b""]),
        (("consume", "t", "-g", "g", "-J", "-n", "1"), [b""]),
        (("topics", "clean", "-q"), [b""]),
        (("topics", "compact", "t", "-q"), [b""]),
        (("topics", "trim", "t", "--to", "0", "--yes", "-q"), [b""]),
        (("topics", "offsets", "t", "--json"), [b""]),
        (("replicate", str(directory), str(copy), "-q"), [b""]),
        (("replicate", str(directory), str(copy), "--verify"), [b""]),
    ):
        done = server.run(directory, *words, stdin=stdin, learn=True)
        assert done.status == 0, done
    # What is torn has to be mended, which takes modules that nothing else does.
    for partition in ("0", "1"):
        with max((directory / "topics" / "t" / partition).glob("*.log")).open("ab") as segment:
            segment.write(b"torn")
        done = server.run(directory, "produce", "t", "value", "-k", "key", "-p", partition, learn=True)
        assert done.status == 0, done
