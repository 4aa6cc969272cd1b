"""Whoever shares a directory exchanges what is in it while mk runs: no harm to files outside, nothing of them shown, no hanging."""

import contextlib
import os
import shutil
import stat
import subprocess

import pytest

from mk.errors import CorruptStateError
from mk.storage import files
from tests.proof.figures import count

SECRET = b"do not touch, do not show"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")


@pytest.fixture
def outside(tmp_path):
    """A file and a directory of somebody else, beside the log directory."""
    path = tmp_path / "outside"
    (path / "0").mkdir(parents=True)
    for name in ("precious", "0/state", "0/topic.json"):
        (path / name).write_bytes(SECRET * 100)
    return path


def picture(directory):
    """All of it that a command could change: content, owner, mode, names; not how many names a file has."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[path] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


class Exchange:
    """A process that puts other things in the place of a file, and the file itself again, as fast as it can."""

    SCRIPT = """
import os, sys
path, precious, directory = sys.argv[1:]
aside, other = path + ".aside", path + ".other"
kinds = [lambda: os.symlink(precious, other), lambda: os.link(precious, other), lambda: os.symlink(directory, other),
         lambda: os.mkfifo(other), lambda: os.symlink(path, other)]
turn = 0
print("begun", flush=True)
while True:
    try:
        kinds[turn % len(kinds)]()
        turn += 1
        # mk may have made the file anew meanwhile, or taken it away.
        os.rename(path, aside)
        os.rename(other, path)
        os.rename(aside, path)
    except OSError:
        for name in (other,):
            try:
                os.unlink(name)
            except OSError:
                pass
        if not os.path.lexists(path) and os.path.lexists(aside):
            os.rename(aside, path)
"""

    def __init__(self, path, outside):
        self.process = subprocess.Popen(
            ["python3", "-I", "-c", self.SCRIPT, str(path), str(outside / "precious"), str(outside / "0")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout.readline() == b"begun\n"

    def stop(self):
        self.process.kill()
        self.process.wait(60)
        self.process.stdout.close()


PLACES = [
    "mk.json",
    "topics",
    "topics/t",
    "topics/t/topic.json",
    "topics/t/0",
    "topics/t/0/state",
    "topics/t/0/epochs",
    "topics/t/0/00000000000000000000.log",
    "topics/t/0/00000000000000000000.index",
    "locks",
    "locks/directory",
    "locks/ID",
    "locks/ID/0",
    "quarantine",
    "groups",
    "groups/g",
    "groups/g/members",
    "groups/g/claims/ID",
    "groups/g/claims/ID/0.0000000001",
]
COMMANDS = [
    ["produce", "t", "v"],
    ["consume", "t"],
    ["consume", "t", "-g", "g"],
    ["topics", "create", "new"],
    ["topics", "repair", "t", "--yes"],
    ["topics", "alter", "t", "-c", "retention.ms=1d"],
    ["topics", "delete", "t", "--yes"],
]


def make_group(mk):
    mk.ok("produce", "t", "a", "b")
    mk.ok("consume", "t", "-g", "g", "-n", 1)


def test_what_is_exchanged_while_mk_runs_does_no_harm(mk, made_once, outside, thoroughness):
    chosen = thoroughness.of(PLACES, 3)
    attempts = 0
    for place in chosen:
        made_once(mk, make_group)
        topic_id = next(path.name for path in (mk.directory / "locks").iterdir() if path.is_dir())
        before = picture(outside)
        exchange = Exchange(mk.directory / place.replace("ID", topic_id), outside)
        try:
            for words in COMMANDS if thoroughness.is_full else COMMANDS[attempts % 2 :: 2]:
                done = mk(*words, "--lock-wait", "5s") if words[0] == "produce" else mk(*words)
                assert done.status in (0, 2, 65, 66, 73, 74, 75, 77), (place, done)
                assert "Traceback" not in done.err, (place, done)
                assert SECRET not in done.out and SECRET.decode() not in done.err
                attempts += 1
        finally:
            exchange.stop()
        assert picture(outside) == before, place
        shutil.rmtree(mk.directory)
    count("attacks", attempts)


def test_the_file_that_proves_a_disk_is_a_new_one(mk, outside):
    """`topics repair` writes a file where the disk had refused; one that others put there before it is not that file."""
    mk.ok("produce", "t", "a")
    (mk.partition("t") / "FAILED").write_bytes(b"")
    os.link(outside / "precious", mk.partition("t") / ".tmp-probe")
    before = picture(outside)
    done = mk("topics", "repair", "t", "--yes")
    assert picture(outside) == before
    assert done.status == 0, done
    mk.ok("produce", "t", "b")
    assert mk.ok("consume", "t") == b"a\nb\n"
    count("attacks")


SECOND_NAMES = """
import os, sys
place, precious = sys.argv[1:]
print("begun", flush=True)
while True:
    open(place + "/.new", "w").close()
    os.rename(place + "/.new", place + "/name")
    os.link(precious, place + "/.other")
    os.rename(place + "/.other", place + "/name")
"""


@pytest.fixture
def swapped(tmp_path, outside):
    """A directory in which `name` is now a file of its own, now a second name of somebody's file, and changes all the time."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "name").write_bytes(b"x")
    command = ["python3", "-I", "-c", SECOND_NAMES, str(place), str(outside / "precious")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"begun\n"
        fd = files.open_directory(str(place))
        yield fd
        os.close(fd)
        process.kill()


def test_a_second_name_that_comes_and_goes_is_not_opened_for_writing(swapped, outside, thoroughness):
    """The name may be gone again when the names of what was opened are counted: then one is left, and it is the other one."""
    victim = (outside / "precious").stat().st_ino
    times = opened = 0
    while times < thoroughness.pick(10_000, 200_000) or opened < 100:
        times += 1
        try:
            fd = files.open_file("name", os.O_RDWR, dir_fd=swapped)
        except CorruptStateError:
            continue
        opened += 1
        assert os.fstat(fd).st_ino != victim, f"at try {times}"
        os.close(fd)
    count("attacks", times)


@needs_root
@pytest.mark.root
def test_root_gives_no_file_away_that_was_put_there_meanwhile(swapped, outside, tmp_path, thoroughness):
    """As the owner of a log directory may try while root makes a snapshot of it."""
    like = tmp_path / "like"
    like.mkdir()
    (like / "name").write_bytes(b"x")
    os.chown(like / "name", 65534, 65534)
    like_fd = files.open_directory(str(like))
    times = thoroughness.pick(3000, 100_000)
    for number in range(times):
        with contextlib.suppress(FileNotFoundError):
            files.take_rights_within(swapped, like_fd)
        assert (outside / "precious").stat().st_uid == 0, f"at try {number}"
    os.close(like_fd)
    count("attacks", times)


@pytest.mark.parametrize("kind", ["file", "link", "fifo", "hard link"])
@pytest.mark.parametrize("name", [".tmp-abc", ".deleted-" + "e" * 32, ".filling-" + "a" * 32])
def test_what_only_has_a_name_as_leftovers_have_holds_up_nobody(mk, outside, name, kind):
    mk.ok("produce", "t", "a")
    path = mk.directory / "topics" / name
    if kind == "file":
        path.write_bytes(b"x")
    elif kind == "link":
        path.symlink_to(outside / "0")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.link(outside / "precious", path)
    before = picture(outside)
    mk.ok("topics", "create", "u")
    mk.ok("topics", "rename", "u", "v")
    mk.ok("topics", "clean")
    mk.ok("topics", "delete", "v", "--yes")
    assert picture(outside) == before
    assert os.path.lexists(path), "it is not mk's to remove"
    count("attacks")
