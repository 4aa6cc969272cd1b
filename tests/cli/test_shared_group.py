"""A log directory shared by a group: two of its members, with different umasks, and somebody who only reads."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from running import Mk

GROUP = 4100


def user(uid, *groups):
    """Return the words that make a command another user's; numbers need no entry in /etc/passwd."""
    groups = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", *groups)


ANN, BOB, EVE = user(4001, GROUP), user(4002, GROUP), user(4003)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be several users"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, to be several users"),
]


def with_umask(mask):
    return {"preexec_fn": lambda: os.umask(mask)}


@pytest.fixture
def place():
    """A directory of Ann's that all can reach; pytest's own are closed to other users."""
    top = Path(tempfile.mkdtemp(prefix="mk-shared-", dir="/tmp"))
    top.chmod(0o755)
    os.chown(top, 4001, 4001)
    mk = Mk(top / "log")
    if mk("--version", prefix=EVE).status != 0:
        shutil.rmtree(top)
        pytest.skip("another user cannot run this mk")
    yield mk
    shutil.rmtree(top)


@pytest.fixture(params=["all", "group"])
def shared(place, request):
    """Such a directory, with a topic of small segments, made by Ann under the closest umask."""
    words = ["topics", "create", "t", "-c", "segment.bytes=4096", "--shared-group", GROUP]
    place.ok(*words, "--shared-readers", request.param, prefix=ANN, **with_umask(0o077))
    place.readers = request.param
    return place


def check_modes(mk):
    """Assert that everything is the group's, and others have what they shall have."""
    for path in [mk.directory, *mk.directory.rglob("*")]:
        status = path.lstat()
        if path.name.startswith(".tmp-") and path.is_file():
            continue  # A killed process left it; nobody reads it.
        assert status.st_gid == GROUP, path
        closed = mk.readers == "group" or bool({"locks", "quarantine", "groups"} & set(path.parts))
        if path.is_dir():
            assert status.st_mode & 0o7777 == (0o2770 if closed else 0o2775), path
        else:
            assert status.st_mode & 0o7777 == (0o660 if closed else 0o664), path


def test_members_write_in_turn_whatever_their_umask(shared):
    mk = shared
    expected = b""
    for number in range(6):
        member, mask = ((ANN, 0o077), (BOB, 0o022))[number % 2]
        value = b"%d " % number + b"x" * 3000  # The second of two does not fit into a segment.
        mk.ok("produce", "t", stdin=value + b"\n", prefix=member, **with_umask(mask))
        mk.ok("produce", f"new{number}", "v", "--partitions", 2, prefix=member, **with_umask(mask))
        expected += value + b"\n"
    assert len(mk.segments("t")) == 6
    assert {path.stat().st_uid for path in mk.segments("t")} == {4001, 4002}
    for member in (ANN, BOB):
        assert mk.ok("consume", "t", prefix=member) == expected
    mk.ok("topics", "delete", "new0", "new1", "--yes", prefix=BOB)
    check_modes(mk)


@pytest.mark.parametrize("rehash", [(), ("--rehash", "-p", "2", "--groups")], ids=["clone", "rehash"])
def test_a_member_clones_what_another_wrote_and_both_go_on_in_it(shared, rehash):
    mk = shared
    mk.ok("produce", "t", "-k", "key", "--producer-id", "id", "first" + "x" * 3000, prefix=ANN, **with_umask(0o077))
    for _ in range(2):
        mk.ok("produce", "t", "-k", "key", "x" * 3000, prefix=ANN, **with_umask(0o077))
    mk.ok("consume", "t", "-g", "g", "-n", "1", prefix=ANN, **with_umask(0o077))
    mk.ok("topics", "clone", "t", "new", *rehash, prefix=BOB, **with_umask(0o077))
    for number, member in enumerate((BOB, ANN, BOB)):
        for topic in ("t", "new"):
            mk.ok("produce", topic, "-k", "key", f"after {number}", prefix=member, **with_umask(0o022))
    assert mk.ok("consume", "new", prefix=ANN) == mk.ok("consume", "t", prefix=BOB)
    mk.ok("topics", "verify", "new", prefix=ANN)
    mk.ok("topics", "delete", "t", "--yes", prefix=BOB)
    assert mk.ok("consume", "new", prefix=ANN).count(b"\n") == 6
    check_modes(mk)


def test_a_large_append_makes_an_index_for_all(shared):
    mk = shared
    mk.ok("topics", "create", "big", prefix=ANN, **with_umask(0o077))
    index = mk.partition("big") / "00000000000000000000.index"
    index.unlink()
    data = b"".join(b"%06d" % number + b"x" * 100 + b"\n" for number in range(20_000))
    mk.ok("produce", "big", stdin=data, prefix=ANN, **with_umask(0o077))
    size = index.stat().st_size
    assert size > 0
    mk.ok("produce", "big", stdin=data, prefix=BOB)
    assert index.stat().st_size > size
    assert mk.ok("consume", "big", "-o", 39_999, prefix=BOB) == data.splitlines(keepends=True)[-1]
    check_modes(mk)


def test_who_only_reads_cannot_change_or_block_anything(shared):
    mk = shared
    mk.ok("produce", "t", "a", prefix=ANN)
    done = mk("consume", "t", prefix=EVE)
    if mk.readers == "all":
        assert (done.status, done.out) == (0, b"a\n")
    else:
        assert (done.status, done.out) == (77, b"")
        assert str(mk.directory) in done.err
    before = {path: path.lstat().st_ctime_ns for path in mk.directory.rglob("*")}
    for words in (
        ["produce", "t", "v"],
        ["produce", "new", "v"],
        ["topics", "create", "n"],
        ["topics", "clone", "t", "n"],
        ["topics", "clone", "t", "n", "--rehash", "-p", "2"],
        ["topics", "delete", "t", "--yes"],
    ):
        done = mk(*words, prefix=EVE)
        assert (done.status, done.err.count("mk: error: ")) == (77, 1), done
    # Not one file under locks/ can be opened, nor can anything be put anywhere.
    script = (
        'find "$MK_DIR"; for f in $(cat); do : < "$f"; done; for d in "$MK_DIR" "$MK_DIR"/*; do : > "$d/mine"; done'
    )
    locks = "\n".join(str(path) for path in (mk.directory / "locks").rglob("*"))
    assert locks.count("\n") >= 2
    done = subprocess.run(
        [*EVE, "sh", "-c", script], input=locks.encode(), env=mk.environment, capture_output=True, check=False
    )
    assert not any(line in done.stdout.decode().splitlines() for line in locks.splitlines())
    assert {path: path.lstat().st_ctime_ns for path in mk.directory.rglob("*")} == before
    readable = []
    try:
        for path in (mk.directory / "topics").rglob("*"):
            if path.is_file() and mk.readers == "all":
                readable.append(path.open("rb"))
                fcntl.flock(readable[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        mk.ok("produce", "t", "b", "--lock-wait", 0, prefix=BOB)
    finally:
        for file in readable:
            file.close()


def test_another_member_recovers_what_a_killed_writer_left(shared):
    mk = shared
    mk.ok("produce", "t", "a", prefix=ANN)
    (segment,) = mk.segments("t")
    whole = segment.read_bytes()
    mk.ok("produce", "t", "b", prefix=ANN)
    # As killed before it could publish: another append is there whole, and half of one more.
    state = mk.partition("t") / "state"
    kept = state.read_bytes()
    mk.ok("produce", "t", "c", prefix=ANN)
    state.write_bytes(kept)
    with segment.open("ab") as file:
        file.write(whole[: len(whole) // 2])
    mk.ok("produce", "t", "d", prefix=BOB, **with_umask(0o077))
    assert mk.ok("consume", "t", prefix=ANN) == b"a\nb\nc\nd\n"
    mk.ok("produce", "t", "e", prefix=ANN)
    check_modes(mk)


STRACE = shutil.which("strace")


def killed_at(mk, member, call, number, *words):
    """Run a command that is killed as it makes the `number`th such call. False if it did not make so many."""
    trace = [
        STRACE,
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when={number}",
    ]
    done = mk(*words, prefix=(*trace, *member), **with_umask(0o077))
    assert done.status in (0, 137), done
    return done.status == 137


@pytest.mark.skipif(STRACE is None, reason="needs strace, to kill at a system call")
@pytest.mark.parametrize("shared", ["all"], indirect=True)
def test_a_member_killed_before_it_shares_what_it_made_shuts_nobody_out(shared, thoroughness):
    """Between making something under its umask and giving it to the group, it is the maker's alone."""
    mk = shared
    number = stored = 0
    kills = 1
    while kills:
        number += thoroughness.pick(2, 1)
        kills = killed_at(mk, ANN, "fchmod", number, "topics", "create", f"t{number}")
        mk.ok("topics", "create", f"u{number}", prefix=BOB)
        # This one rolls, and makes an index.
        kills += killed_at(mk, ANN, "fchmod", number, "produce", "t", "x" * 3000)
        mk.ok("produce", "t", "y" * 3000, prefix=BOB)
        stored += 1
    assert number > 5
    assert mk.ok("consume", "t", prefix=BOB).count(b"y" * 3000) == stored
    check_modes(mk)


@pytest.mark.skipif(STRACE is None, reason="needs strace, to kill at a system call")
@pytest.mark.parametrize("shared", ["all"], indirect=True)
@pytest.mark.parametrize("words", [["topics", "alter", "t", "--partitions"], ["produce", "t", "v", "--producer-id"]])
def test_a_member_killed_while_adding_to_a_topic_shuts_nobody_out(shared, words):
    mk = shared
    number, killed = 1, True
    while killed:
        number += 1
        killed = killed_at(mk, ANN, "fchmod", number - 1, *words, number)
        mk.ok(*words, number, prefix=BOB)
        mk.ok("produce", "t", "-p", 0, "v", prefix=BOB)
        check_modes(mk)
    assert number > 2


@pytest.mark.skipif(STRACE is None, reason="needs strace, to kill at a system call")
def test_first_use_can_be_killed_at_any_change_of_a_mode(place, thoroughness):
    mk = place
    number, killed = 0, True
    while killed:
        number += thoroughness.pick(2, 1)
        shutil.rmtree(mk.directory, ignore_errors=True)
        words = ("topics", "create", "t", "--shared-group", GROUP)
        killed = killed_at(mk, ANN, "fchmod", number, *words)
        mk.ok(*words, "--if-not-exists", prefix=ANN)
        mk.ok("topics", "create", "u", prefix=BOB, **with_umask(0o077))
        mk.ok("produce", "t", "v", prefix=BOB)
        mk.readers = "all"
        check_modes(mk)
    assert number > 5


def test_an_existing_directory_is_only_taken_for_what_it_is(place):
    mk = place
    mk.ok("topics", "create", "t", prefix=ANN)
    before = {path: path.lstat().st_ctime_ns for path in mk.directory.rglob("*")}
    done = mk("topics", "create", "u", "--shared-group", GROUP, prefix=ANN)
    assert done.status == 73
    assert "not shared so" in done.err
    assert {path: path.lstat().st_ctime_ns for path in mk.directory.rglob("*")} == before
    # What the error says to type does it.
    script = done.err.split("share it yourself: ")[1].split("; nothing")[0]
    subprocess.run([*ANN, "sh", "-c", script], check=True)
    mk.ok("topics", "create", "u", "--shared-group", GROUP, prefix=ANN)
    mk.ok("produce", "t", "v", prefix=BOB, **with_umask(0o077))
    assert mk.ok("consume", "t", prefix=EVE) == b"v\n"
    done = mk("topics", "create", "w", "--shared-group", GROUP, "--shared-readers", "group", prefix=ANN)
    assert done.status == 73
    assert mk("topics", "create", "w", "--shared-group", 4999).status == 73
    mk.ok("topics", "create", "t", "--shared-group", GROUP, "--if-not-exists", prefix=BOB)
    mk.readers = "all"
    check_modes(mk)


def test_a_directory_shared_by_hand_is_shared(place):
    """As an administrator makes it: install -d -m 2775 -g GROUP."""
    mk = place
    mk.directory.mkdir()
    os.chown(mk.directory, 0, GROUP)
    mk.directory.chmod(0o2775)
    mk.ok("produce", "t", "v", prefix=BOB, **with_umask(0o077))
    mk.ok("produce", "t", "w", prefix=ANN, **with_umask(0o077))
    mk.readers = "all"
    assert mk.ok("consume", "t", prefix=EVE) == b"v\nw\n"
    for path in mk.directory.rglob("*"):
        assert path.lstat().st_gid == GROUP
        assert path.lstat().st_mode & 0o060 == 0o060


def test_what_cannot_be_shared(place):
    mk = place
    for words, status, said in (
        (["--shared-group", "no-such-group"], 2, "no group"),
        (["--shared-group", "99999999999"], 2, "no group"),
        (["--shared-group", "-1"], 2, "no group"),
        (["--shared-group", ""], 2, "no group"),
        (["--shared-group", "4999"], 77, "not one of its members"),
        (["--shared-readers", "all"], 2, "--shared-group"),
        (["--shared-group", GROUP, "--shared-readers", "some"], 2, "all"),
    ):
        done = mk("topics", "create", "t", *words, prefix=ANN)
        assert (done.status, said in done.err) == (status, True), done
        assert not mk.directory.exists()


def test_a_directory_that_is_not_shared_stays_its_owners(place):
    """Also in one that belongs to a group: only the log directory's own mode counts."""
    mk = place
    top = mk.directory.parent
    os.chown(top, 4001, GROUP)
    top.chmod(0o2775)
    mk.ok("produce", "t", "v", prefix=ANN)
    for path in [mk.directory, *mk.directory.rglob("*")]:
        assert not path.lstat().st_mode & 0o022, path
    assert mk("produce", "t", "w", prefix=BOB).status == 77
