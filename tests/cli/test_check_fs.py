"""`mk check fs`: what it finds where all is well and where it is not, and that it leaves nothing."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from mk.maintenance import file_system_check


def facts(document):
    return {fact["name"]: fact["result"] for fact in document["facts"]}


def test_a_file_system_as_mk_wants_it(mk, tmp_path):
    result = mk("check", "fs", tmp_path, "--json")
    document = json.loads(result.out)
    assert document["status_code"] == result.status
    found = facts(document)
    for name in ("lock", "unlock", "link", "append", "rename", "sync", "sync-names", "times"):
        assert found[name] == "ok", document
    assert os.listdir(tmp_path) == []
    text = mk("check", "fs", tmp_path).out.decode()
    assert text.splitlines()[-1].startswith(f"{tmp_path}: ")
    assert len(text.splitlines()) == len(found) + 1


def test_where_a_directory_would_be_made_is_looked_at_and_it_is_not_made(mk, tmp_path):
    document = json.loads(mk("check", "fs", tmp_path / "not" / "yet", "--json").out)
    assert document["place"] == str(tmp_path)
    assert os.listdir(tmp_path) == []


def test_memory_is_said_not_to_be_a_disk(mk):
    if not os.path.isdir("/dev/shm"):
        pytest.skip("needs a file system in memory")
    result = mk("check", "fs", "/dev/shm")
    if b"tmpfs" not in result.out:
        pytest.skip("/dev/shm is none here")
    assert result.status == 1
    assert b"gone when the host is off" in result.out


def test_where_nothing_can_be_made_it_says_so(mk):
    result = mk("check", "fs", "/proc")
    assert result.status == 73
    assert "nothing can be made in /proc" in result.err


def test_what_a_killed_run_left_the_next_one_removes(mk, tmp_path):
    left = tmp_path / (file_system_check.PREFIX + "0" * 16)
    left.mkdir()
    (left / "lock").touch()
    (left / "held").touch()
    mk("check", "fs", tmp_path)
    assert not left.exists()


@pytest.mark.parametrize(
    ("file_system", "status"), [("nfs4", 2), ("fuse.sshfs", 2), ("9p", 2), ("tmpfs", 1)], ids=lambda value: str(value)
)
def test_the_type_alone_says_what_no_program_can_prove(tmp_path, monkeypatch, file_system, status):
    monkeypatch.setattr(file_system_check, "file_system_of", lambda fd: file_system)
    document = file_system_check.check_file_system(str(tmp_path)).document()
    assert document["status_code"] == status
    assert facts(document)["type"] != "ok"


def test_locks_that_keep_nobody_out_are_not_to_be_trusted(tmp_path):
    """With flock(2) that says yes to all, as where a daemon for it does not run."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    words = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:retval=0"]
    command = [*words, sys.executable, "-m", "mk", "check", "fs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("this system does not let strace trace")
    assert done.returncode == 2, done
    assert "two processes hold one lock" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("nothing is to be trusted to it")


def test_a_disk_that_does_not_sync_is_not_to_be_trusted(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    words = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"]
    command = [*words, sys.executable, "-m", "mk", "check", "fs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert "nothing could be acknowledged" in done.stdout
