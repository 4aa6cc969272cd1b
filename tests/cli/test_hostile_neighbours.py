"""Whoever else can write to the log directory plants things in it, and gives hostile names: no harm outside, one clear error."""

import os
import shutil
import socket
import stat
import subprocess

import pytest

from mk.cli import definition
from tests.thinning import crossed

SECRET = b"do not touch"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make devices and to give files away")


@pytest.fixture
def outside(tmp_path):
    """Somebody's own directory beside the log directory, with everything that could happen to it."""
    path = tmp_path / "outside"
    (path / "directory" / "0").mkdir(parents=True)
    (path / "precious").write_bytes(SECRET)
    (path / "directory" / "precious").write_bytes(SECRET)
    return path


def picture(directory):
    """Everything about everything there that a command could change: content, owner, mode, names."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)
    return found


def plant(kind, path, outside):
    """Put something else in the place of what mk has at `path`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
    if kind == "hard link":
        os.link(outside / "precious", path)
    elif kind == "link to a file":
        path.symlink_to(outside / "precious")
    elif kind == "link to a directory":
        path.symlink_to(outside / "directory")
    elif kind == "dangling link":
        path.symlink_to(outside / "new")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # Its name is short, the path may not be.
        with socket.socket(socket.AF_UNIX) as endpoint:
            endpoint.bind(path.name)
        os.chdir(here)
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: read to its end, it never ends
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"{\n" * 1000)


KINDS = [
    "hard link",
    "link to a file",
    "link to a directory",
    "dangling link",
    "fifo",
    "socket",
    pytest.param("device", marks=[pytest.mark.root, needs_root]),
    "directory",
    "other content",
]
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
    "topics/t/0/FAILED",
    "topics/t/0/00000000000000000099.log",
    "locks",
    "locks/directory",
    "locks/ID",
    "locks/ID/0",
    "quarantine",
]
COMMANDS = [
    (["consume", "t"], b""),
    (["consume", "t", "-o", "1"], b""),
    (["topics"], b""),
    (["topics", "describe", "t"], b""),
    (["topics", "offsets", "t"], b""),
    (["produce", "t", "w"], b""),
    (["produce", "t"], b"w\n" * 3),
    (["topics", "create", "new"], b""),
    (["produce", "another", "w"], b""),
    (["topics", "delete", "t", "--yes"], b""),
]


def make_abc(mk):
    mk.ok("produce", "t", *"abc")


@pytest.mark.parametrize(("kind", "place"), crossed(KINDS, PLACES, every=4))
def test_what_is_planted_does_no_harm(mk, made_once, outside, kind, place):
    made_once(mk, make_abc)
    topic_id = next(path.name for path in (mk.directory / "locks").iterdir() if path.is_dir())
    path = mk.directory / place.replace("ID", topic_id)
    plant(kind, path, outside)
    before = picture(outside)
    for words, data in COMMANDS:
        done = mk(*words, stdin=data, timeout=30)
        assert done.status in (0, 65, 66, 73, 74, 75, 77), done
        assert "Traceback" not in done.err, done
        assert done.err.count("mk: error: ") == (done.status != 0), done
        assert SECRET not in done.out
        assert SECRET.decode() not in done.err
        assert picture(outside) == before, words


@pytest.mark.parametrize("kind", ["hard link", "link to a file", "fifo", "socket", "directory"])
def test_an_index_is_a_hint_also_when_it_is_due_an_entry(mk, outside, kind):
    """What is in its place costs a look-up time, and an append nothing."""
    mk.ok("topics", "create", "t", "-c", "segment.bytes=2m")
    plant(kind, mk.partition("t") / "00000000000000000000.index", outside)
    data = b"".join(b"%06d" % number + b"x" * 100 + b"\n" for number in range(50_000))
    mk.ok("produce", "t", stdin=data)
    assert len(mk.segments("t")) > 1
    assert mk.ok("consume", "t") == data
    assert mk.ok("consume", "t", "-o", 9_000, "-n", 1) == data.splitlines(keepends=True)[9_000]
    assert (outside / "precious").read_bytes() == SECRET


@pytest.mark.parametrize("name", ["state", "00000000000000000000.log"])
def test_a_file_with_another_name_is_not_written_to(mk, outside, name):
    """As a copy by `cp -al` makes them: an append to one would change the other."""
    mk.ok("produce", "t", "a")
    path = mk.partition("t") / name
    os.link(path, outside / "copy")
    before = (outside / "copy").read_bytes()
    done = mk("produce", "t", "b")
    assert done.status == 65
    assert "2 names" in done.err
    assert mk.ok("consume", "t") == b"a\n", "reading does no harm"
    assert (outside / "copy").read_bytes() == before
    # What the error says to type makes it good.
    subprocess.run(["sh", "-c", done.err.split("content of its own: ")[1].splitlines()[0]], check=True)
    mk.ok("produce", "t", "c")
    assert mk.ok("consume", "t") == b"a\nc\n"
    assert (outside / "copy").read_bytes() == before


@needs_root
@pytest.mark.root
def test_files_of_other_owners_are_used_or_ignored_but_never_given_away(mk):
    mk.ok("produce", "t", "a")
    for path in [mk.directory, *mk.directory.rglob("*")]:
        os.chown(path, 65534, 65534)
    for name in ("topics/x", "locks/x", "quarantine/x", "topics/t/x", "topics/t/0/x"):
        (mk.directory / name).write_bytes(b"")
        os.chown(mk.directory / name, 12345, 12345)
    mk.ok("produce", "t", "b")
    mk.ok("topics", "create", "u")
    assert mk.ok("consume", "t") == b"a\nb\n"
    assert mk.segments("t")[0].stat().st_uid == 65534
    assert (mk.directory / "topics/t/0/x").stat().st_uid == 12345
    mk.ok("topics", "delete", "t", "--yes")


def test_evidence_is_not_put_where_a_link_leads(mk, outside):
    mk.ok("produce", "t", "a")
    (segment,) = mk.segments("t")
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:-1])  # a whole header, and not all of its payload
    (mk.directory / "quarantine").rmdir()
    (mk.directory / "quarantine").symlink_to(outside / "directory")
    before = picture(outside)
    mk.ok("produce", "t", "b")
    assert mk.ok("consume", "t") == b"a\nb\n"
    assert picture(outside) == before


# Names.

HOSTILE = [
    "",
    ".",
    "..",
    "../outside",
    "../../outside/directory",
    "/etc",
    "t/0",
    "t/",
    "-x",
    "a" * 201,
    "new\nline",
    "nul\\0".replace("\\0", "\x01"),
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "tab\t",
    "ümlaut",
    "\u202egnp.exe",
    "\u200b",
    "name.",
    ".hidden",
    "x.deleted-y",
    "a b",
    "$(touch x)",
    "t*",
    "\udcff",
]


def commands_with_topics():
    """Every command that takes a topic, from the definition, with what else it needs."""
    for command in definition.commands():
        arguments = [parameter for parameter in command.parameters if not parameter.flags]
        if any(parameter.complete == definition.TOPIC for parameter in arguments) or command.path[-1] == "create":
            yield command, arguments


@pytest.mark.parametrize(
    ("command", "arguments"), list(commands_with_topics()), ids=lambda value: "-".join(getattr(value, "path", ()))
)
def test_hostile_names_of_topics(mk, outside, command, arguments, thoroughness):
    mk.ok("produce", "t", "v")
    before, log = picture(outside), picture(mk.directory)
    topics = [parameter for parameter in arguments if parameter.complete == definition.TOPIC] or arguments[:1]
    flags = ["--yes"] if any(parameter.name == "yes" for parameter in command.parameters) else []
    others = {"values": "v", "keys": "k", "key": "segment.bytes", "new_name": "u", "new": "u"}
    # Of the sample, other names for each command.
    turn = len(" ".join(command.path))
    for name in thoroughness.of(HOSTILE[turn:] + HOSTILE[:turn], 6):
        if name == "" and topics[0].environment:
            continue  # asked of the environment, and then of the default
        words = [
            name if parameter is topics[0] else others.get(parameter.name, "x")
            for parameter in arguments
            if parameter.required or parameter is topics[0] or not parameter.multiple
        ]
        done = mk(*command.path, *flags, "--", *words, timeout=30)
        if command.path[0] == "check":
            # It speaks as Nagios plugins do, whatever is wrong.
            assert done.status == 3, (name, done)
            assert done.out.startswith(b"MK UNKNOWN - ")
            assert done.out.decode(errors="replace").rstrip("\n").isprintable()
        else:
            assert done.status in (2, 66), (name, done)
            assert done.err.count("mk: error: ") == 1, done
        check_shown(done)
        assert picture(outside) == before
        assert picture(mk.directory) == log, name


def check_shown(done):
    """Assert that a terminal would show what is on stderr, and not obey it."""
    for line in done.err.splitlines():
        assert line.isprintable(), repr(line)
    for letter in "\u202e\u200b\x1b\x07\x01":
        assert letter not in done.err
        assert letter.encode() not in done.out


@pytest.mark.parametrize("letter", ["\x1b]52;c;aGk=\x07", "\u202e", "\x9b31m", "\udcff", "\r", "\n"])
def test_what_was_typed_is_shown_and_not_obeyed(mk, tmp_path, letter, thoroughness):
    mk.ok("produce", "t", "v")
    hostile = f"x{letter}y"
    lines = [
        [hostile],
        ["topics", hostile],
        ["help", hostile],
        ["completion", hostile],
        ["consume", "t", f"--{hostile}"],
        ["consume", "t", "-o", hostile],
        ["consume", "t", "-p", hostile],
        ["consume", "t", "-f", hostile],
        ["consume", "t", "-d", tmp_path / hostile],
        ["produce", "t", "--acks", hostile, "v"],
        ["produce", "t", "--lock-wait", hostile, "v"],
        ["topics", "create", "u", "-c", hostile],
        ["topics", "create", "u", "-c", f"{hostile}=1"],
        ["topics", "create", "u", "-c", f"partitioner={hostile}"],
        ["topics", "create", "u", "-c", f"segment.bytes={hostile}"],
        ["topics", "create", "u", "--shared-group", hostile],
    ]
    # Of the sample, other command lines for each letter, so that each line has one.
    turn = ord(letter[-1]) % 7
    both = [[*words, *more] for words in lines[turn:] + lines[:turn] for more in ([], ["--json"])]
    for words in thoroughness.of(both, 9):
        done = mk(*words, timeout=30)
        assert done.status in (2, 66, 78), done
        for line in done.err.splitlines():
            assert line.isprintable(), (words, repr(line))


def test_hostile_names_and_contents_in_the_directory_are_shown_and_not_obeyed(mk, tmp_path):
    mk.directory = tmp_path / "log\x1b[31m\u202e"
    mk.environment["MK_DIR"] = str(mk.directory)
    mk.ok("produce", "t", "-q", "v")
    done = mk("produce", "new", "v")
    assert done.status == 0
    check_shown(done)
    (mk.partition("t") / "state").write_bytes(b"\x1b[31m" * 1000)
    (mk.partition("new") / "epochs").write_bytes(b"0 0 \x1b[31m 00000000\n")
    for words in (
        ["consume", "t"],
        ["produce", "new", "v"],
        ["topics"],
        ["topics", "describe", "t"],
        ["topics", "describe", "new"],
    ):
        check_shown(mk(*words))
    for words in (["consume", "t", "--json"], ["topics", "--json"]):
        check_shown(mk(*words))


def test_keys_and_values_are_in_no_error(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=100", "-p", 2)
    secret = "SECRET"
    for words, data in (
        (["produce", "t", secret * 100], b""),
        (["produce", "t"], secret.encode() * 100 + b"\n"),
        (["produce", "t", "-k", secret * 100, "v"], b""),
        (["produce", "t", "-K", ":"], secret.encode() * 100 + b":v\n"),
        (["produce", "t", "-p", "7", "-k", secret, secret], b""),
        (["produce", "nope", "--no-create", "-k", secret, secret], b""),
        (["produce", "t", "--acks", "0", "-k", secret, "-d", "/proc/nowhere", secret], b""),
    ):
        for more in ([], ["--json"]):
            done = mk(*words, *more, stdin=data)
            assert done.status not in (0, 70), done
            assert secret not in done.err, done
    mk.ok("produce", "t", "-k", secret, secret, secret)
    segment = next(path for number in (0, 1) for path in mk.segments("t", number) if path.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    done = mk("consume", "t")
    assert done.status == 65
    assert secret not in done.err
