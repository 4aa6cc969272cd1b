"""What plain commands load: start-up is interface, and each of these modules would cost a good part of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).parent / "mk")

HEAVY = {
    "argparse",
    "dataclasses",
    "enum",
    "json",
    "pathlib",
    "portalocker",
    "random",
    "re",
    "rich",
    "signal",
    "subprocess",
    "typer",
    "typing",
}

# Runs `mk` as it is installed, without what the environment's own start-up files import, and tells what it loaded.
WRAPPER = """
import os, sys
sys.path[:] = {path!r}
sys.argv[1:] = {words!r}
leave = os._exit
def tell(status):
    os.write({descriptor}, " ".join(sys.modules).encode())
    leave(status)
os._exit = tell
exec(compile(open({program!r}).read(), {program!r}, "exec"))
"""


def loaded(words, directory, stdin=b""):
    """Return the modules that a command loaded, and its output."""
    reader, writer = os.pipe()
    script = WRAPPER.format(path=[*filter(None, sys.path)], words=words, descriptor=writer, program=PROGRAM)
    with open(reader, "rb") as told:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script],
            input=stdin,
            capture_output=True,
            env={"MK_DIR": str(directory), "PATH": os.environ["PATH"]},
            pass_fds=[writer],
            check=False,
            timeout=60,
        )
        os.close(writer)
        assert done.returncode == 0, done.stderr
        names = told.read().decode().split()
    assert "mk.cli.main" in names
    return set(names), done.stdout


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "log"
    subprocess.run([PROGRAM, "produce", "t", "-q", "-d", path, "v"], check=True, timeout=60)
    return path


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (["produce", "t", "-k", "u1", "v"], b""),
        (["produce", "t", "v"], b""),
        (["produce", "t"], b"a\nb\n"),
        (["produce", "t", "-k", "u1", "-q", "--acks", "0"], b"a\nb\n"),
        (["consume", "t"], b""),
        (["consume", "t", "-n", "1", "-o", "-1"], b""),
        (["consume", "t", "-F", "-n", "1"], b""),
        (["consume", "t", "-g", "g"], b""),
        (["wait", "t"], b""),
        (["--version"], b""),
    ],
)
def test_plain_commands_load_nothing_heavy(directory, words, stdin):
    names, _ = loaded(words, directory, stdin)
    assert not {name.split(".")[0] for name in names} & HEAVY


def test_a_consumer_loads_nothing_of_a_producer_and_the_other_way_round(directory):
    names, output = loaded(["consume", "t"], directory)
    assert output == b"v\n"
    assert not any(
        name.startswith(("mk.producer.", "mk.storage.partition_log", "mk.storage.log_rec")) for name in names
    )
    names, _ = loaded(["produce", "t", "v"], directory)
    assert not any(
        name.startswith(
            (
                "mk.consumer.",
                "mk.storage.partition_reader",
                "mk.storage.log_rec",
                "mk.storage.watch",
                "mk.storage.input_mark",
            )
        )
        for name in names
    )


@pytest.mark.parametrize(("policy", "loads"), [("delete", False), ("compact", True)])
def test_what_compacts_is_loaded_only_when_a_topic_that_is_compacted_has_a_new_segment(directory, policy, loads):
    settings = ["-c", f"cleanup.policy={policy}", "-c", "segment.bytes=4096"]
    subprocess.run([PROGRAM, "topics", "create", "u", "-d", directory, "-q", *settings], check=True, timeout=60)
    value = "x" * 3000
    for is_full in (False, True):
        names, _ = loaded(["produce", "u", "-k", "k", value], directory)
        assert ("mk.storage.log_cleaner" in names) == (loads and is_full)
        assert not {name.split(".")[0] for name in names} & HEAVY


def test_the_version_loads_next_to_nothing(directory):
    names, output = loaded(["--version"], directory)
    assert output.startswith(b"mk ")
    assert not any(name.startswith(("mk.storage", "mk.producer", "mk.consumer")) for name in names)
