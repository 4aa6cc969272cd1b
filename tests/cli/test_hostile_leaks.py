"""What goes where others see it: words of a command line, what was cut off a log; and what a few bytes, or many files, may cost."""

import json
import os
import subprocess
import sys

import pytest

from tests.proof.figures import count

HOLD = "import fcntl, os, sys, time; fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX); print(flush=True); time.sleep(600)"


@pytest.mark.parametrize(
    "words",
    [
        ["mk", "produce", "t", "SECRET"],
        ["mk", "produce", "t", "-k", "SECRET", "SECRET"],
        ["mk", "produce", "-kSECRET", "t", "v"],
    ],
    ids=lambda words: words[2],
)
def test_who_waits_for_a_lock_is_not_told_the_records_of_its_holder(mk, tmp_path, words):
    mk.ok("produce", "t", "v")
    topic_id = json.loads((mk.directory / "topics/t/topic.json").read_bytes())["topic_id"]
    program = tmp_path / "mk"
    program.write_text(HOLD.replace("sys.argv[1]", repr(str(mk.directory / "locks" / topic_id / "0"))))
    holder = subprocess.Popen([sys.executable, program, *words[1:]], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"\n"
        for more in ([], ["--json"]):
            done = mk("produce", "t", "w", "--lock-wait", "10ms", *more)
            assert done.status == 75, done
            assert str(holder.pid) in done.err and "produce" in done.err
            assert "SECRET" not in done.err
            count("attacks")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_what_is_cut_off_is_for_its_owner_alone(mk):
    """Whatever the umask: it holds records, and readers of the topic need not be readers of what was cut off it."""
    mk.ok("produce", "t", "a", preexec_fn=lambda: os.umask(0))
    (segment,) = mk.segments("t")
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:-1])
    mk.ok("produce", "t", "b", preexec_fn=lambda: os.umask(0))
    (kept,) = (mk.directory / "quarantine").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    for name in ("quarantine", "locks", "groups"):
        if name == "groups":
            mk.ok("consume", "t", "-g", "g", preexec_fn=lambda: os.umask(0))
        assert (mk.directory / name).stat().st_mode & 0o777 == 0o700
    count("attacks")


HOSTILE_FORMATS = [
    "'''+__import__('os').system('touch owned')+'''",
    '"""\n__import__("os").system("touch owned")\n"""',
    "%v\\n{__import__('os').system('touch owned')}",
    "\\\\'+open('owned','w').name+'",
    "%{__class__}%v",
    "\\x22+open(\\x22owned\\x22,\\x22w\\x22).name+\\x22",
    "%k\n  open('owned', 'w')\n%v\n",
]


@pytest.mark.parametrize("number", range(len(HOSTILE_FORMATS)))
def test_a_format_is_text_and_no_program(mk, tmp_path, number):
    """A reader and a writer are made of it as functions of their own; also when it is from $MK_FORMAT."""
    form = HOSTILE_FORMATS[number]
    mk.ok("produce", "t", "-k", "k", "v")
    for words, env in (
        (["consume", "t", "-f", form], None),
        (["consume", "t"], {"MK_FORMAT": form}),
        (["produce", "t", "-f", form, "-q"], None),
    ):
        done = mk(*words, env=env, stdin=b"k v\n", cwd=tmp_path)
        assert done.status in (0, 2, 65), done
        assert "mk itself failed" not in done.err, done
        assert not list(tmp_path.rglob("owned"))
        count("attacks")


def test_thousands_of_files_in_members_are_looked_at_once_and_swept(mk):
    mk.ok("produce", "t", "a", "b")
    mk.ok("consume", "t", "-g", "g", "-n", 1)
    members = mk.directory / "groups" / "g" / "members"
    for number in range(3000):
        (members / f"{number:032x}").write_bytes(b"")
    assert mk.ok("consume", "t", "-g", "g") == b"b\n"
    assert list(members.iterdir()) == []
    count("attacks")


def test_more_members_than_there_may_be_do_not_stop_one_from_reading(mk):
    """1100 of them, which want nothing: no more than 1024 are counted."""
    mk.ok("produce", "t", "a")
    mk.ok("consume", "t", "-g", "g")
    members = mk.directory / "groups" / "g" / "members"
    script = (
        "import fcntl, os, resource, sys, time\n"
        "from mk.groups.member import DOCUMENT_POSITION, Member\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))\n"
        "for number in range(1100):\n"
        "    fd = os.open(f'{sys.argv[1]}/{number:032x}', os.O_RDWR | os.O_CREAT)\n"
        "    fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "    member = Member(f'{number:032x}', host='h', pid=1, user='u', boot_id='b', command='c', topics={},\n"
        "                    partitions=None, since_ms=0, session_timeout_ms=10_000)\n"
        "    os.pwrite(fd, member.encode(), DOCUMENT_POSITION)\n"
        "print(flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, members], stdout=subprocess.PIPE) as holder:
        try:
            if holder.stdout.readline() != b"\n":
                pytest.skip("so many files cannot be open here")
            done = mk("groups", "describe", "g", "-m", "--json")
            assert done.status == 0, done
            member = mk("consume", "t", "-g", "g", "--max-time", "1s")
            assert member.status == 0, member
        finally:
            holder.kill()
    mk.ok("produce", "t", "b")
    assert mk.ok("consume", "t", "-g", "g") == b"b\n"
    count("attacks")


@pytest.mark.parametrize("partitions", ["4097", "1000000", "-1", "0", "9" * 30])
def test_more_partitions_than_there_may_be_are_refused_before_one_is_made(mk, partitions):
    done = mk("topics", "create", "t", "-p", partitions)
    assert done.status in (2, 78), done
    assert not (mk.directory / "topics").exists() or not list((mk.directory / "topics").iterdir())
    count("attacks")
