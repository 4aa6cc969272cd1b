"""Running one command: what it needs of the system, and goes without."""

import os
import tempfile

import pytest

from mk.consumer.child import Child, Output


@pytest.fixture
def nowhere(monkeypatch):
    """Nothing can be written where temporary files go, as where all is read-only."""
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: iter(["x"] * 1000))
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/self"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(FileNotFoundError):
        tempfile.gettempdir()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no nameless files in memory here")
def test_a_command_prints_also_where_no_temporary_file_can_be_made(nowhere):
    printed = []
    output = Output(printed.append)
    child = Child(["sh", "-c", "cat; seq 20000"], dict(os.environb), b"record\n", output=output, keep_stderr=False)
    assert child.run().status == 0
    assert b"".join(printed) == b"record\n" + b"".join(b"%d\n" % number for number in range(1, 20001))
