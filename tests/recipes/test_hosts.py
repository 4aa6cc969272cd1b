"""Keys that can do one thing, with a real sshd, and containers, in namespaces: what mk-recipes(7) says of them."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from recipe_blocks import place, recipe, wait_until  # noqa: F401  a fixture

KEYS = "Keys that can do one thing"
CONTAINERS = "Containers"


@pytest.fixture
def keys(place, sshd):  # noqa: F811
    """The other host, and what mk is to be run with there for each key: ship, read and copy."""
    there = place.top / "backup"
    (place.bin / "ssh").unlink()  # Here it is the real one.
    lines, _ = recipe(KEYS)
    words = {}
    for line in lines.splitlines()[1:]:
        options, name = re.fullmatch(r"(.*) ssh-ed25519 AAAA\.\.\. (\w+)", line).groups()
        options = options.replace("/usr/local/bin/mk", str(place.bin / "mk")).replace("/srv/mk", str(there / "srv/mk"))
        words[name] = sshd.authorize(options)
    place.shell(f"seq 5 | mk produce orders -q -d {there}/srv/mk; mk topics create app -q -d {there}/srv/mk")
    # The block says `backup:`, which is where sshd listens.
    commands = [line.replace("backup:", f"{sshd.host}:") for line in recipe(KEYS)[1].splitlines()]
    return there / "srv/mk", words, dict(zip(("ship", "read", "copy"), commands, strict=True))


def test_each_key_does_what_it_is_for(place, keys):  # noqa: F811
    there, words, commands = keys
    (place.work / "app.log").write_text("a\nb\n")
    place.shell("mk produce clicks -q 1 2 3")
    for read in ("1\n2\n3\n4\n5\n", ""):
        shown = {name: place.shell(line, MK_RSH=words[name]).stdout for name, line in commands.items()}
        assert shown["read"] == read
    assert place.values("app", directory=there) == ["a", "b"]
    assert place.values("web1.clicks", directory=there) == ["1", "2", "3"]


def test_each_key_does_nothing_else(place, sshd, keys):  # noqa: F811
    there, words, commands = keys
    (place.work / "app.log").write_text("a\nb\n")
    place.shell("mk produce clicks -q 1 2 3")
    for name, line in commands.items():
        for other in set(words) - {name}:
            done = place.shell(line, check=False, MK_RSH=words[other])
            assert done.returncode and not done.stdout and "Traceback" not in done.stderr, (name, other)
    assert place.values("app", directory=there) == []
    assert "web1" not in place.shell(f"mk topics -q -d {there}").stdout
    for rsh in words.values():
        # No command of one's own: what is asked for is not looked at, and mk is what answers.
        done = sshd.run(rsh, "touch", str(place.work / "owned"))
        assert not (place.work / "owned").exists() and b"mk" in done.stdout


@pytest.fixture
def containers(place):  # noqa: F811
    """The stand-in for docker; what it started is gone behind the test."""
    probe = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--ipc",
        "--uts",
        "true",
    ]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no unshare: {error}")
    if done.returncode:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    place.program(
        "work",
        f'#!/bin/sh\nread -r job\nprintf "%s %s\\n" "$job" "$(readlink /proc/self/ns/pid)" >> {place.work}/done\n',
    )
    started = []
    yield started
    for pid in started:
        kill(pid)


def kill(pid):
    """As docker kill does: all of a container at once."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    # It is a child of a process that is gone, so somebody else takes its status.
    wait_until(
        lambda: "State:\tZ" in Path(f"/proc/{pid}/status").read_text() if os.path.exists(f"/proc/{pid}") else True
    )


def run_block(place, started):  # noqa: F811
    done = place.shell(recipe(CONTAINERS)[0])
    started += map(int, done.stdout.split())


def done_jobs(place):  # noqa: F811
    file = place.work / "done"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def members(place):  # noqa: F811
    found = re.search(r"members +(\d+)", place.shell("mk groups describe work", check=False).stdout)
    return found and int(found[1])


def test_containers_share_the_work_and_take_over_from_each_other(place, containers):  # noqa: F811
    place.shell("mk topics create jobs -q -p 4")
    (worker, _) = re.split(r"(?m)^(?=docker run --rm)", recipe(CONTAINERS)[0])
    containers += map(int, place.shell(worker).stdout.split())
    wait_until(lambda: members(place) == 1)
    run_block(place, containers)
    numbers = {str(number) for number in range(1, 1001)}
    wait_until(lambda: {job for job, _ in done_jobs(place)} == numbers)
    assert len(done_jobs(place)) == 1000, "each was done once"
    assert members(place) == 2
    # One dies, and nothing is left of it that the other would wait for, although it cannot see its processes.
    kill(containers[0])
    place.shell("seq 1001 1100 | sed 's/.*/&\\t&/' | mk produce jobs -q -K '\\t'")
    wait_until(lambda: len(done_jobs(place)) == 1100)
    assert len({job for job, _ in done_jobs(place)}) == 1100 and members(place) == 1


def test_a_container_is_stopped_as_by_a_signal(place, containers):  # noqa: F811
    place.shell("mk topics create jobs -q")
    run_block(place, containers)
    wait_until(lambda: done_jobs(place))
    (unshare,) = containers
    (first,) = map(int, Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split())
    assert re.search(r"NSpid:\s+\d+\s+1$", Path(f"/proc/{first}/status").read_text(), flags=re.MULTILINE)
    os.kill(first, signal.SIGTERM)  # To the first process of the container, as docker stop does.
    wait_until(lambda: not os.path.exists(f"/proc/{first}"))
    jobs = [job for job, _ in done_jobs(place)]
    assert len(jobs) == len(set(jobs))
    left = place.shell("mk consume jobs -g work").stdout.split()
    assert sorted(map(int, jobs + left)) == list(range(1, 1001)), "what was done is committed, and nothing else"
