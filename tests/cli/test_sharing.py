"""A log directory among users, on disks that are full or read-only, and with things in it that mk did not put there."""

import errno
import fcntl
import json
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from running import Mk, read_until

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user and to mount")


@pytest.fixture
def open_mk():
    """`mk` on a directory that other users can reach; pytest's own are closed to them."""
    top = Path(tempfile.mkdtemp(prefix="mk-shared-", dir="/tmp"))
    top.chmod(0o755)
    mk = Mk(top / "log")
    if shutil.which("setpriv") is None or mk("--version", prefix=NOBODY).status != 0:
        shutil.rmtree(top)
        pytest.skip("another user cannot run this mk")
    yield mk
    shutil.rmtree(top)


@pytest.fixture
def mounted(tmp_path):
    """Mount a file system; what was mounted is taken away at the end."""
    points = []

    def mount(*words):
        point = tmp_path / f"mount-{len(points)}"
        point.mkdir()
        done = subprocess.run(["mount", *words, str(point)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mount is refused here: {done.stderr.strip()}")
        points.append(point)
        return point

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", "-l", str(point)], check=True)


def listing(directory):
    """Everything about everything in a directory, but for times of access."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path)] = (
            status.st_ino,
            status.st_mode,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            content,
        )
    return found


# Another user.


@needs_root
@pytest.mark.root
def test_another_user_with_read_permission_consumes_and_creates_nothing(open_mk):
    mk = open_mk
    mk.ok("produce", "t", "--partitions", 2, stdin=b"a\nb\n")
    before = listing(mk.directory)
    for words in (["consume", "t"], ["consume", "t", "-J"], ["consume", "t", "-o", "-1"], ["topics"]):
        assert mk.ok(*words, prefix=NOBODY)
    for words in (["topics", "describe", "t"], ["topics", "offsets", "t"]):
        assert mk.ok(*words, prefix=NOBODY) == mk.ok(*words)
    assert mk.ok("consume", "t", prefix=NOBODY) == b"a\nb\n"
    assert listing(mk.directory) == before


@needs_root
@pytest.mark.root
def test_another_user_follows(open_mk):
    mk = open_mk
    mk.ok("topics", "create", "t")
    command = [*NOBODY, mk.program, "consume", "t", "-F"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=mk.environment, bufsize=0) as consumer:
        mk.ok("produce", "t", "v")
        assert read_until(consumer.stdout.fileno(), b"v\n") == b"v\n"
        consumer.kill()


@needs_root
@pytest.mark.root
def test_another_user_reads_what_a_dead_writer_left(open_mk):
    """Recovery is for writers: a reader stops at what was published, and leaves the rest as it is."""
    mk = open_mk
    mk.ok("produce", "t", *"abc")
    (segment,) = mk.segments("t")
    with segment.open("ab") as file:
        file.write(b"\x8aMK\x01 half a header")
    before = listing(mk.directory)
    assert mk.ok("consume", "t", prefix=NOBODY) == b"a\nb\nc\n"
    assert listing(mk.directory) == before


@needs_root
@pytest.mark.root
def test_another_user_cannot_write_and_is_told_so(open_mk):
    mk = open_mk
    mk.ok("produce", "t", "v")
    before = listing(mk.directory)
    for words in (
        ["produce", "t", "w"],
        ["produce", "new", "w"],
        ["topics", "create", "new"],
        ["topics", "delete", "t", "--yes"],
    ):
        done = mk(*words, prefix=NOBODY)
        assert (done.status, done.out) == (77, b""), done
        first = next(line for line in done.err.splitlines() if line.startswith("mk: error: "))
        assert str(mk.directory) in first or " t " in first
    done = mk("produce", "t", prefix=NOBODY, stdin=b"w\n")
    assert done.status == 77
    assert listing(mk.directory) == before


@needs_root
@pytest.mark.root
def test_another_user_cannot_get_at_the_locks(open_mk):
    """Whoever can open a lock file can hold it for ever."""
    mk = open_mk
    mk.ok("produce", "t", "v")
    for name in ("locks", "quarantine"):
        script = f"ls {mk.directory}/{name}"
        assert subprocess.run([*NOBODY, "sh", "-c", script], capture_output=True, check=False).returncode != 0
    # Nothing else that this user can open is ever locked by a writer.
    held = []
    try:
        for path in mk.directory.glob("topics/**/*"):
            if path.is_file():
                file = path.open("rb")
                held.append(file)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mk.ok("produce", "t", "--lock-wait", "0", "w")
        mk.ok("topics", "delete", "t", "--yes", "--lock-wait", "0")
    finally:
        for file in held:
            file.close()


@needs_root
@pytest.mark.root
def test_a_directory_closed_to_another_user(open_mk):
    mk = open_mk
    mk.ok("produce", "t", "v")
    mk.directory.chmod(0o700)
    for words in (["consume", "t"], ["topics"], ["produce", "t", "v"]):
        done = mk(*words, prefix=NOBODY)
        assert done.status == 77
        assert str(mk.directory) in done.err
        assert done.err.count("mk: error: ") == 1
    mk.directory.chmod(0o755)
    mk.partition("t").chmod(0o700)
    done = mk("consume", "t", prefix=NOBODY)
    assert done.status == 77
    assert str(mk.partition("t")) in done.err


@needs_root
@pytest.mark.root
def test_making_a_log_directory_where_one_may_not(open_mk):
    done = open_mk("produce", "t", "v", prefix=NOBODY)
    assert done.status == 77
    assert str(open_mk.directory) in done.err
    assert not open_mk.directory.exists()


# Read-only.


@needs_root
@pytest.mark.root
def test_a_read_only_mount(mk, mounted):
    mk.ok("produce", "t", stdin=b"a\nb\n")
    before = listing(mk.directory)
    point = mounted("--bind", str(mk.directory))
    if subprocess.run(["mount", "-o", "remount,bind,ro", str(point)], check=False).returncode != 0:
        pytest.skip("a bind mount cannot be made read-only here")
    frozen = Mk(point)
    assert frozen.ok("consume", "t") == b"a\nb\n"
    assert frozen.offsets("t") == [(0, 2)]
    assert json.loads(frozen.ok("topics", "--json"))[0]["records"] == 2
    for words in (["produce", "t", "v"], ["produce", "new", "v"], ["topics", "delete", "t", "--yes"]):
        done = frozen(*words)
        assert done.status == 77
        assert str(point) in done.err
        assert "ead-only file system" in done.err
    done = frozen("produce", "t", stdin=b"v\n")
    assert done.status == 77
    assert listing(mk.directory) == before
    with frozen.start("consume", "t", "-F") as consumer:
        read_until(consumer.stdout.fileno(), b"b\n")
        mk.ok("produce", "t", "c")  # The other mount of it is not read-only.
        read_until(consumer.stdout.fileno(), b"c\n")


# Full.


def fill(directory, name="filler"):
    """Leave no byte free."""
    with (directory / name).open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2


def ext4(mounted, tmp_path, size="24M"):
    image = tmp_path / "image"
    subprocess.run(["truncate", "-s", size, image], check=True)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    return mounted("-o", "loop", str(image))


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request, mounted, tmp_path):
    if request.param == "tmpfs":
        return mounted("-t", "tmpfs", "-o", "size=16m", "none")
    return ext4(mounted, tmp_path)


@needs_root
@pytest.mark.root
def test_a_disk_that_fills_up(small_disk):
    mk = Mk(small_disk / "log")
    mk.ok("topics", "create", "t", "-c", "min.free=0")
    lines = [b"%07d " % number + b"x" * 992 + b"\n" for number in range(40_000)]
    done = mk("produce", "t", "-q", stdin=b"".join(lines))
    assert done.status == 74
    assert f"no room to append to {mk.segments('t')[0]}" in done.err
    ((start, end),) = mk.offsets("t")
    assert f"{end} records stored" in done.err
    assert start == 0
    assert end > 1000
    assert mk.ok("consume", "t") == b"".join(lines[:end])
    fill(small_disk)
    done = mk("produce", "t", stdin=b"".join(lines[:1000]))
    assert done.status == 74
    assert "0 records stored" in done.err
    assert mk.ok("consume", "t") == b"".join(lines[:end])
    assert mk("topics").status == 0
    done = mk("topics", "create", "new")
    assert done.status in (0, 74)  # ext4 may have room for empty files
    assert done.status == 0 or "make room, as `mk topics clean`" in done.err
    (small_disk / "filler").unlink()
    mk.ok("produce", "t", "after")
    assert mk.ok("consume", "t") == b"".join(lines[:end]) + b"after\n"
    mk.ok("topics", "delete", "t", "--yes")
    mk.ok("produce", "t", stdin=b"".join(lines[:1000]))


@needs_root
@pytest.mark.root
def test_deleting_makes_room_on_a_disk_without_any(small_disk):
    mk = Mk(small_disk / "log")
    mk.ok("topics", "create", "t", "-c", "min.free=0")
    mk.ok("produce", "t", stdin=b"x" * 1_000_000)
    fill(small_disk)
    mk.ok("topics", "delete", "t", "--yes")
    mk.ok("produce", "t", stdin=b"y" * 500_000)


@needs_root
@pytest.mark.root
def test_first_use_of_a_full_disk(small_disk):
    fill(small_disk)
    mk = Mk(small_disk / "log")
    done = mk("produce", "t", "v")
    if done.status != 0:  # ext4 keeps room for small files
        assert done.status == 74
        assert "No space left" in done.err
    (small_disk / "filler").unlink()
    mk.ok("produce", "t", "v")
    assert mk.ok("consume", "t", "-o", -1) == b"v\n"


def test_no_temporary_directory_is_needed(mk, tmp_path):
    """As with / read-only and a volume for the log, or with /tmp as full as the log's disk."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import tempfile\n"
        "def none():\n"
        "    raise FileNotFoundError(2, 'No usable temporary directory found')\n"
        "tempfile._get_default_tempdir = none\n"
    )
    without = {"env": {"PYTHONPATH": str(tmp_path / "site")}}
    mk.ok("produce", "t", "v", **without)
    mk.ok("topics", "rename", "t", "u", **without)
    assert mk.ok("consume", "u", **without) == b"v\n"
    mk.ok("topics", "delete", "u", "--yes", **without)


def test_a_limit_on_file_sizes(mk):
    mk.ok("produce", "t", "before")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
    done = mk("produce", "t", stdin=b"x" * 1000 + b"\n" + b"y" * 200_000, preexec_fn=limit)
    assert done.status == 74
    assert "File too large" in done.err or "took" in done.err
    # Where the pipe pauses behind the first line, that is a batch of its own, and stored.
    stored = b"before\n" + (b"x" * 1000 + b"\n" if "1 record stored" in done.err else b"")
    assert stored != b"before\n" or "0 records stored" in done.err
    assert mk.ok("consume", "t") == stored
    mk.ok("produce", "t", "small", preexec_fn=limit)
    assert mk.ok("consume", "t") == stored + b"small\n"


# Descriptors.


def limited(count):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    return limit


def test_few_file_descriptors(mk):
    """Every command either works or says what is missing; it never leaves anything half done."""
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 0, "v")
    worked = set()
    stored = 1
    for count in range(4, 24):
        for words in (["produce", "t", "-p", "0", "w"], ["consume", "t", "-p", "0"], ["topics"]):
            done = mk(*words, preexec_fn=limited(count))
            if done.status == 0:
                worked.add(words[0])
                stored += words[0] == "produce"
            elif "mk: " in done.err:
                assert done.status == 74, (count, done)
                assert "Too many open files" in done.err, (count, done)
                assert words[0] not in worked, f"{words} worked with fewer than {count}"
            else:
                assert count < 12, (count, done)  # Python itself could not start.
    assert worked == {"produce", "consume", "topics"}
    assert mk.ok("consume", "t") == b"v\n" + b"w\n" * (stored - 1)


def test_more_partitions_than_descriptors_by_default(mk):
    """macOS starts processes with 256, Linux with 1024, and both let them ask for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("the hard limit on descriptors is low here")
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # noqa: E731
    mk.ok("topics", "create", "t", "-p", 300, preexec_fn=limit)
    data = b"".join(b"%d:%d\n" % (number, number) for number in range(3000))
    mk.ok("produce", "t", "-K", ":", stdin=data, preexec_fn=limit)
    assert len(mk.ok("consume", "t", preexec_fn=limit).splitlines()) == 3000
    assert sum(end for _, end in mk.offsets("t")) == 3000
    mk.ok("topics", "describe", "t", preexec_fn=limit)
    mk.ok("topics", "delete", "t", "--yes", preexec_fn=limit)


# What others planted.


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside"
    path.mkdir()
    (path / "precious").write_bytes(b"do not touch")
    return path


@pytest.mark.parametrize("name", ["state", "epochs", "00000000000000000000.log", "00000000000000000000.index"])
@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_planted_things_in_a_partition_do_no_harm(mk, outside, name, kind):
    mk.ok("produce", "t", "v")
    path = mk.partition("t") / name
    path.unlink()
    if kind == "link":
        path.symlink_to(outside / "precious")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    for words, data in ((["consume", "t"], b""), (["produce", "t", "w"], b""), (["produce", "t"], b"w\n")):
        done = mk(*words, stdin=data, timeout=20)
        if name.endswith("index"):
            assert done.status == 0, "an index is a hint"
        elif done.status != 0 or name != "epochs":
            assert done.status == 65, done
            assert str(path) in done.err
            assert "Traceback" not in done.err
    assert (outside / "precious").read_bytes() == b"do not touch"
    if name.endswith("index"):
        assert mk.ok("consume", "t") == b"v\nw\nw\n"


@pytest.mark.parametrize("name", ["mk.json", "topics", "topics/t", "topics/t/topic.json", "topics/t/0", "locks"])
@pytest.mark.parametrize("kind", ["link", "fifo", "file"])
def test_planted_things_above_a_partition_do_no_harm(mk, outside, name, kind):
    mk.ok("produce", "t", "v")
    path = mk.directory / name
    path.rename(outside / "real")
    before = None
    if kind == "link":
        path.symlink_to(outside / "real")
        before = listing(outside)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
    for words, data in ((["produce", "t", "w"], b""), (["produce", "t"], b"w\n"), (["consume", "t"], b"")):
        done = mk(*words, stdin=data, timeout=20)
        assert "Traceback" not in done.err, done
        if words[0] == "produce":
            assert done.status in (65, 66, 73, 74, 77), done
            assert done.err.startswith("mk: ")
            assert name.split("/")[-1] in done.err
        elif name != "locks":
            assert done.status in (65, 66, 74), done
    if before:
        assert listing(outside) == before


def test_foreign_files_are_ignored(mk):
    mk.ok("produce", "t", "v")
    for path in (
        mk.directory / "README",
        mk.directory / "topics" / "notes.txt",
        mk.directory / "topics" / "..weird",
        mk.directory / "topics" / "with space",
        mk.partition("t") / "core",
        mk.partition("t") / "00000000000000000000.log.bak",
        mk.partition("t") / "0.log",
        mk.partition("t") / "99999999999999999999.log",
        mk.partition("t") / "-0000000000000000001.log",
        mk.partition("t").parent / "7x",
    ):
        path.write_bytes(b"\x8aMK\x01 junk")
    (mk.directory / "topics" / "backup").mkdir()
    mk.ok("produce", "t", "w")
    assert mk.ok("consume", "t") == b"v\nw\n"
    assert mk.ok("consume", "t", "-o", 1) == b"w\n"
    assert [row["topic"] for row in json.loads(mk.ok("topics", "--json"))] == ["t"]
    mk.ok("topics", "delete", "t", "--yes")


def test_a_log_directory_reached_through_a_link_is_the_users_own_choice(mk, tmp_path):
    mk.ok("produce", "t", "v")
    (tmp_path / "link").symlink_to(mk.directory)
    assert mk.ok("consume", "t", "-d", tmp_path / "link") == b"v\n"
    mk.ok("produce", "t", "w", "-d", tmp_path / "link")
    assert mk.ok("consume", "t") == b"v\nw\n"


def test_a_dangling_link_as_log_directory(mk, tmp_path):
    mk.directory.symlink_to(tmp_path / "nowhere")
    assert mk("consume", "t").status == 66
    assert mk("produce", "t", "v").status == 73


def test_restrictive_and_open_umasks(mk):
    for umask, name in ((0o077, "strict"), (0, "open")):
        directory = mk.directory.parent / name
        mk.ok("produce", "t", "v", "-d", directory, preexec_fn=lambda umask=umask: os.umask(umask))
        for path in directory.rglob("*"):
            assert not path.stat().st_mode & 0o022, f"{path} can be written by others"
        assert (directory / "locks").stat().st_mode & 0o077 == 0


@needs_root
@pytest.mark.root
def test_a_disk_is_not_filled_to_the_last_byte_and_clean_and_trim_make_room_again(small_disk):
    mk = Mk(small_disk / "log")
    mk.ok("topics", "create", "t", "-c", "segment.bytes=1M")
    lines = [b"%07d " % number + b"x" * 992 + b"\n" for number in range(40_000)]
    done = mk("produce", "t", "-q", stdin=b"".join(lines))
    assert done.status == 74
    assert "are kept free (min.free)" in done.err
    status = os.statvfs(small_disk)
    assert status.f_bavail * status.f_frsize >= status.f_blocks * status.f_frsize // 100
    ((_, end),) = mk.offsets("t")
    assert f"{end} records stored" in done.err
    # Somebody else takes what is left.
    fill(small_disk)
    assert mk("produce", "t", "v").status == 74
    mk.ok("topics", "trim", "t", "--to", "3000", "--yes")
    assert mk.ok("consume", "t", "-n", "1") == lines[3000]
    mk.ok("produce", "t", "v")
    fill(small_disk, name="more")
    done = mk("topics", "alter", "t", "-c", "retention.bytes=2M", "--yes")
    if done.status:  # A new topic.json needs a block, which tmpfs no longer has.
        mk.ok("topics", "trim", "t", "--to", "5000", "--yes")
        mk.ok("topics", "alter", "t", "-c", "retention.bytes=2M", "--yes")
    mk.ok("topics", "clean", "-q")
    ((start, _),) = mk.offsets("t")
    assert start > 5000
    mk.ok("produce", "t", stdin=b"".join(lines[:500]))
    mk.ok("topics", "verify", "t")
