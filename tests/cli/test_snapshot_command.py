"""`mk topics snapshot`: what it says, where it is refused, and a restore, as the manual has it."""

import json
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from running import Mk

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def taken(mk: Mk, tmp_path: Path) -> Mk:
    """A snapshot of five records in a topic, two of which group g has read; and then the directory goes on."""
    mk.ok("produce", "t", stdin=b"0\n1\n2\n3\n4\n")
    mk.ok("consume", "t", "-g", "g", "-n", 2)
    mk.ok("topics", "snapshot", tmp_path / "snapshot")
    return Mk(tmp_path / "snapshot")


def lines(mk: Mk, *words: object) -> list[bytes]:
    return mk.ok("consume", "t", *words).splitlines()


def restore(mk: Mk, taken: Mk) -> None:
    mk.directory.rename(mk.directory.with_name("aside"))
    subprocess.run(["cp", "-a", taken.directory, mk.directory], check=True)


def test_it_says_what_it_is_made_of_before_and_after(mk: Mk, tmp_path: Path) -> None:
    mk.ok("topics", "create", "t", "--partitions", 2, "-c", "segment.bytes=4096")
    for number in range(6):
        mk.ok("produce", "t", "-p", 0, stdin=b"%d\n" % number * 600)
    target = tmp_path / "snapshot"
    planned = json.loads(mk.ok("topics", "snapshot", target, "--dry-run", "--json"))
    assert not target.exists()
    done = json.loads(mk.ok("topics", "snapshot", target, "--json"))
    assert done == planned
    assert (done["topics"], done["partitions"], done["groups"], done["destination"]) == (1, 2, 0, str(target))
    sealed = mk.segments("t")[:-1]
    assert done["links"] == len(sealed) > 0
    assert done["link_bytes"] == sum(path.stat().st_size for path in sealed)
    assert done["copied_bytes"] == mk.segments("t")[-1].stat().st_size
    assert all(os.path.samefile(path, target / path.relative_to(mk.directory)) for path in sealed)
    told = mk("topics", "snapshot", tmp_path / "other")
    assert "made a snapshot" in told.err and "1 topic, 2 partitions, 0 groups" in told.err
    assert mk("topics", "snapshot", tmp_path / "third", "-q").err == ""


def test_what_is_done_to_the_directory_later_leaves_a_snapshot_as_it_is(mk: Mk, tmp_path: Path) -> None:
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096")
    for number in range(6):
        mk.ok("produce", "t", "-k", number % 2, b"%d" % number * 2000)
    taken = Mk(tmp_path / "snapshot")
    mk.ok("topics", "snapshot", taken.directory)
    before = {path: path.read_bytes() for path in taken.directory.rglob("*") if path.is_file()}
    mk.ok("topics", "alter", "t", "-c", "cleanup.policy=compact")
    mk.ok("topics", "compact", "t")
    mk.ok("produce", "t", "-k", 1, "more")
    mk.ok("topics", "trim", "t", "--to", "end", "--yes")
    mk.ok("topics", "delete", "t", "--yes")
    assert {path: path.read_bytes() for path in taken.directory.rglob("*") if path.is_file()} == before
    assert len(lines(taken)) == 6


def test_a_place_that_holds_something_is_refused_and_left_alone(mk: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / f"unfinished/snapshot-of-{'0' * 32}.unfinished").write_text("")
    other = Mk(tmp_path / "other")
    other.ok("produce", "t", "y")
    for place, why in (
        ("full", "it holds 'mine'"),
        ("file", "is not a directory"),
        ("unfinished", "of a snapshot of another directory"),
        ("other", "is a log directory already"),
        ("other/new", "is inside a log directory"),
        ("log/new", "is inside a log directory"),
        ("log", "is a log directory already"),
    ):
        for more in ((), ("--dry-run",)):
            done = mk("topics", "snapshot", tmp_path / place, *more)
            assert done.status == 73 and why in done.err, done
    assert os.listdir(tmp_path / "full") == ["mine"]
    assert len(os.listdir(tmp_path / "unfinished")) == 1
    (tmp_path / "empty").mkdir()
    mk.ok("topics", "snapshot", tmp_path / "empty")
    mk.ok("topics", "snapshot", tmp_path / "not/there/yet")


def test_what_a_killed_one_left_is_no_log_directory_and_gives_way_to_the_next(mk: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", "x")
    place = tmp_path / "snapshot"
    directory_id = json.loads((mk.directory / "mk.json").read_text())["directory_id"]
    (place / "topics/.tmp-1").mkdir(parents=True)
    (place / "groups/old").mkdir(parents=True)
    (place / f"snapshot-of-{directory_id}.unfinished").write_text("")
    assert mk("consume", "t", "-d", place).status == 66
    done = mk("produce", "t", "x", "-d", place)
    assert done.status == 73 and "unfinished" in done.err
    mk.ok("topics", "snapshot", place)
    assert sorted(os.listdir(place)) == ["locks", "mk.json", "quarantine", "topics"]


def test_a_producer_id_and_the_place_in_a_followed_file_are_known_in_it(mk: Mk, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("a\nb\n")
    words = ("produce", "t", "--follow", log, "--producer-id", "app", "-n")
    mk.ok(*words, 2)
    mk.ok("produce", "t", "--producer-id", "import", stdin=b"1\n2\n")
    mk.ok("topics", "snapshot", tmp_path / "snapshot")
    taken = Mk(tmp_path / "snapshot")
    with log.open("a") as file:
        file.write("c\n")
    taken.ok(*words, 1)
    taken.ok("produce", "t", "--producer-id", "import", stdin=b"1\n2\n3\n")
    assert lines(taken) == [b"a", b"b", b"1", b"2", b"c", b"3"]
    assert json.loads(taken.ok("topics", "verify", "--json"))["findings"] == []


# A restore.


def test_restored_it_is_the_directory_as_it_was_and_groups_go_on_without_skipping(mk: Mk, taken: Mk) -> None:
    mk.ok("produce", "t", stdin=b"5\n6\n")
    mk.ok("consume", "t", "-g", "g")
    restore(mk, taken)
    assert lines(mk) == [b"0", b"1", b"2", b"3", b"4"]
    assert "no damage" in mk.ok("topics", "verify").decode()
    mk.ok("produce", "t", "new")
    assert lines(mk, "-g", "g") == [b"2", b"3", b"4", b"new"]
    # Whoever appends first has begun another leader epoch, by which what was read of the old ones is told apart.
    epochs = (mk.partition("t") / "epochs").read_text().splitlines()
    assert [line.split()[:2] for line in epochs] == [["0", "0"], ["1", "5"]]
    assert lines(taken) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_cursor_that_is_ahead_of_what_was_restored_says_so(mk: Mk, taken: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", stdin=b"5\n6\n")
    mk.ok("consume", "t", "--cursor-file", tmp_path / "cursor")
    restore(mk, taken)
    mk.ok("produce", "t", stdin=b"x\ny\nz\n")
    done = mk("consume", "t", "--cursor-file", tmp_path / "cursor")
    assert done.status == 65 and done.out == b"", done


def test_a_follower_that_is_not_ahead_goes_on(mk: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", stdin=b"0\n1\n")
    mk.ok("replicate", tmp_path / "copy")
    mk.ok("topics", "snapshot", tmp_path / "snapshot")
    mk.ok("produce", "t", "lost")
    restore(mk, Mk(tmp_path / "snapshot"))
    assert mk("replicate", tmp_path / "copy").status == 0
    mk.ok("produce", "t", "2")
    mk.ok("replicate", tmp_path / "copy")
    mk.ok("replicate", tmp_path / "copy", "--verify")
    assert lines(Mk(tmp_path / "copy")) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("led_on", [False, True])
def test_a_follower_that_is_ahead_is_refused_and_it_says_what_to_type(
    mk: Mk, taken: Mk, tmp_path: Path, led_on
) -> None:
    for value in (5, 6):
        mk.ok("produce", "t", value)
    copy = Mk(tmp_path / "copy")
    mk.ok("replicate", copy.directory)
    restore(mk, taken)
    if led_on:
        mk.ok("produce", "t", stdin=b"x\ny\nz\n")
    done = mk("replicate", copy.directory)
    assert done.status == 65, done
    assert "mk topics repair --restored" in done.err and "mk replicate promote" in done.err
    assert lines(copy) == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]
    assert not list((copy.directory / "quarantine").iterdir())
    # The other way: what only the copy has is kept.
    copy.ok("replicate", "promote", *["--force"] * led_on)
    done = copy("replicate", copy.directory, mk.directory)
    assert done.status == 0, done
    assert lines(mk) == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]


def test_a_snapshot_of_a_follower_follows_when_it_is_restored(mk: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", stdin=b"0\n1\n")
    mk.ok("consume", "t", "-g", "g", "-n", 1)
    copy = Mk(tmp_path / "copy")
    mk.ok("replicate", copy.directory)
    copy.ok("topics", "snapshot", tmp_path / "snapshot")
    shutil.rmtree(copy.directory)
    (tmp_path / "snapshot").rename(copy.directory)
    assert copy("produce", "t", "x").status == 75
    assert lines(copy, "-o", "group:g") == [b"1"]
    mk.ok("produce", "t", "2")
    mk.ok("replicate", copy.directory)
    mk.ok("replicate", copy.directory, "--verify")
    assert lines(copy) == [b"0", b"1", b"2"]


# Who may, and who may then.


def test_whoever_may_only_read_is_told_so(mk: Mk, for_reader, tmp_path: Path) -> None:
    mk.ok("produce", "t", "x")
    readable, prefix = for_reader(mk)
    place = readable.directory.parent / "snapshot"
    done = readable("topics", "snapshot", place, prefix=prefix)
    assert done.status == 77 and "may read" in done.err and "not write" in done.err
    assert not place.exists()


def test_modes_are_those_of_the_directory_whatever_the_umask(mk: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", "x", umask=0o022)
    mk.ok("consume", "t", "-g", "g", umask=0o022)
    mk.directory.chmod(0o750)
    mk.ok("topics", "snapshot", tmp_path / "snapshot", umask=0o077)
    for path in [mk.directory, *mk.directory.rglob("*")]:
        there = tmp_path / "snapshot" / path.relative_to(mk.directory)
        if "members" not in path.parts:
            assert stat.S_IMODE(there.stat().st_mode) == stat.S_IMODE(path.stat().st_mode), path


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_one_that_root_takes_is_the_users_whose_directory_it_is() -> None:
    top = Path(tempfile.mkdtemp(prefix="mk-snapshot-", dir="/tmp"))
    try:
        top.chmod(0o777)
        mk = Mk(top / "log")
        if mk("--version", prefix=NOBODY).status:
            pytest.skip("another user cannot run this mk")
        mk.ok("topics", "create", "t", "-c", "segment.bytes=4096", prefix=NOBODY)
        for number in range(3):
            mk.ok("produce", "t", stdin=b"%d\n" % number * 3000, prefix=NOBODY)
        mk.ok("consume", "t", "-g", "g", "-n", 1, prefix=NOBODY)
        mk.ok("topics", "snapshot", top / "snapshot")
        for path in [top / "snapshot", *(top / "snapshot").rglob("*")]:
            assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534), path
        taken = Mk(top / "snapshot")
        taken.ok("produce", "t", "x", prefix=NOBODY)
        taken.ok("consume", "t", "-g", "g", prefix=NOBODY)
        # And one of the user's own, by second names of what is the user's.
        mk.ok("topics", "snapshot", top / "own", prefix=NOBODY)
    finally:
        shutil.rmtree(top)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to a group")
def test_one_of_a_shared_directory_is_shared(mk: Mk, tmp_path: Path) -> None:
    mk.ok("topics", "create", "t", "--shared-group", "12345", "--shared-readers", "group")
    mk.ok("produce", "t", "x")
    mk.ok("topics", "snapshot", tmp_path / "snapshot")
    for path in [mk.directory, *mk.directory.rglob("*")]:
        there = (tmp_path / "snapshot" / path.relative_to(mk.directory)).stat()
        assert (there.st_gid, there.st_mode) == (12345, path.stat().st_mode), path
    taken = Mk(tmp_path / "snapshot")
    taken.ok("topics", "create", "u", "--shared-group", "12345", "--shared-readers", "group")


def test_on_another_file_system_all_is_copied(mk: Mk, tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs another file system")
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096")
    for number in range(4):
        mk.ok("produce", "t", stdin=b"%d\n" % number * 3000)
    place = Path(tempfile.mkdtemp(dir=memory))
    try:
        planned = json.loads(mk.ok("topics", "snapshot", place, "--json", "--dry-run"))
        assert json.loads(mk.ok("topics", "snapshot", place, "--json")) == planned
        assert planned["links"] == 0 and planned["copied_bytes"] == sum(one.stat().st_size for one in mk.segments("t"))
        taken = Mk(place)
        assert lines(taken) == lines(mk)
        assert json.loads(taken.ok("topics", "verify", "--json"))["findings"] == []
        times = [path.stat().st_mtime_ns for path in mk.segments("t")]
        assert [path.stat().st_mtime_ns for path in taken.segments("t")] == times
    finally:
        shutil.rmtree(place)
