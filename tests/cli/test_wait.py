"""`mk wait`: what it waits for, what counts as there already, and how it ends."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from running import Mk
from test_remote import Remote, fake_ssh, wait_until

from mk.cluster import connect

pytestmark = pytest.mark.both_engines

MET, TIMED_OUT = 0, 124


@pytest.fixture(params=["here", "there"])
def side(request, mk, tmp_path):
    """A directory with a topic t of three partitions, used where it is or as that of another host."""
    mk.ok("topics", "create", "t", "-p", 3)
    return mk if request.param == "here" else Remote(mk, fake_ssh(tmp_path))


def asked(mk: Mk, *words: object) -> int:
    """Return the status of a wait that only asks."""
    done = mk("wait", *words, "--timeout", 0)
    assert done.out == b"" and bool(done.err) == (done.status != MET)
    return done.status


def sleeps(process) -> bool:
    """Tell whether a process waits for something: it is told of changes, and does nothing."""
    fds = Path(f"/proc/{process.pid}/fd")
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "S" and any("inotify" in os.readlink(fd) for fd in fds.iterdir() if fd.is_symlink())


def has_read_it(side: Mk, process) -> None:
    """Return when a process waits for what comes. How that is on the far side nobody can see: it had the time of another."""
    if isinstance(side, Remote):
        assert side("wait", "t", "--timeout", 0).status in (MET, TIMED_OUT)
    else:
        wait_until(lambda: sleeps(process))
    assert process.poll() is None


def ends(process) -> int:
    return process.wait(timeout=30)


def test_records_that_are_there_count_in_all_partitions_together(side):
    assert asked(side, "t") == TIMED_OUT
    for number in range(5):
        side.ok("produce", "t", "-p", number % 3, number)
    assert [asked(side, "t", "--records", number) for number in (1, 5, 6)] == [MET, MET, TIMED_OUT]
    assert [asked(side, "t", "-p", "0,1", "--records", number) for number in (4, 5)] == [MET, TIMED_OUT]
    assert [asked(side, "t", "-o", 1, "--records", number) for number in (2, 3)] == [MET, TIMED_OUT]
    assert [asked(side, "t", "-o", -1, "--records", number) for number in (3, 4)] == [MET, TIMED_OUT]
    assert asked(side, "t", "-o", "end") == TIMED_OUT


def test_what_was_removed_does_not_count(mk):
    mk.ok("produce", "t", *range(10))
    mk.ok("topics", "trim", "t", "--to", 4, "--yes")
    assert [asked(mk, "t", "--records", number) for number in (6, 7)] == [MET, TIMED_OUT]
    assert [asked(mk, "t", "-o", 2, "--records", number) for number in (6, 7)] == [MET, TIMED_OUT]


def test_an_offset_behind_the_end_is_waited_for(side):
    side.ok("produce", "t", "-p", 0, *range(5))
    assert asked(side, "t", "-o", 5) == TIMED_OUT
    with side.start("wait", "t", "-o", 7, "--records", 2) as waiting:
        side.ok("produce", "t", "-p", 0, *range(3))
        assert waiting.poll() is None
        assert asked(side, "t", "-o", 7) == MET
        side.ok("produce", "t", "-p", 1, *range(8))
        assert ends(waiting) == MET


@pytest.mark.directory_only("it sees by its inotify that a process waits")
@pytest.mark.parametrize(
    ("words", "early", "last"),
    [
        (("--records", 3), ("-p", 2, "x"), ("-p", 0, "x")),
        (("-o", "end", "--records", 2), ("-p", 0, "x"), ("-p", 1, "x")),
        (("-G", "v=^done$"), ("not done",), ("done",)),
        (("-G", "!v=a", "--records", 2), ("a", "a"), ("c",)),
        (("-k", "u1"), ("-k", "u2", "x"), ("-k", "u1", "x")),
        (("-k", "u1"), ("-k", "u1", "-Z", ""), ("-k", "u1", "x")),
        (("-k", "u1", "-G", "v=done"), ("-k", "u1", "x"), ("-k", "u1", "done")),
        (("-k", "u1", "-G", "v=done"), ("-k", "u2", "done"), ("-k", "u1", "done")),
        (("-k", "u1", "-p", "0,2"), ("-k", "u1", "-p", 1, "x"), ("-k", "u1", "-p", 2, "x")),
        (("-k", "", "-p", 0), ("-p", 0, "x"), ("-p", 0, "-k", "", "x")),
    ],
)
def test_it_ends_with_what_it_waits_for_and_not_before(side, words, early, last):
    side.ok("produce", "t", "-k", "u0", "-p", 0, "before")
    with side.start("wait", "t", *words) as waiting:
        if not isinstance(side, Remote):
            wait_until(lambda: sleeps(waiting))
        else:
            wait_until(lambda: asked(side, "t") == MET)
        side.ok("produce", "t", *early)
        if "end" not in words:
            assert asked(side, "t", *words) == TIMED_OUT
        assert waiting.poll() is None
        side.ok("produce", "t", *last)
        if "end" in words and isinstance(side, Remote):
            while waiting.poll() is None:  # From the end as of when it got there.
                side.ok("produce", "t", *last)
        assert ends(waiting) == MET
        assert (waiting.stdout.read(), waiting.stderr.read()) == (b"", b"")
    if "end" not in words:
        assert asked(side, "t", *words) == MET


@pytest.mark.directory_only("brokers compact by themselves")
def test_the_last_record_with_a_key_counts_before_and_after_compaction(mk):
    mk.ok("topics", "create", "flags", "-c", "cleanup.policy=compact")
    mk.ok("produce", "flags", "-K", ":", "ready:1", "other:2", "gone:3")
    mk.ok("produce", "flags", "-k", "gone", "-Z", "")
    for _ in range(2):
        assert [asked(mk, "flags", "-k", key) for key in ("ready", "other", "gone", "read")] == [
            0,
            0,
            TIMED_OUT,
            TIMED_OUT,
        ]
        assert asked(mk, "flags", "-k", "ready", "-G", "v=2") == TIMED_OUT
        mk.ok("topics", "compact", "flags")
    done = mk("wait", "flags", "-k", "gone", "--timeout", 0)
    assert "the last record with the key 'gone', is a tombstone" in done.err


@pytest.mark.directory_only("a topic of Kafka keeps no partitioner")
def test_a_key_is_looked_for_where_it_belongs(mk):
    mk.ok("topics", "create", "t", "-p", 8, "-c", "partitioner=murmur2")
    for number in range(20):
        mk.ok("produce", "t", "-k", f"k{number}", "v")
        assert asked(mk, "t", "-k", f"k{number}") == MET
        assert asked(mk, "t", "-k", f"k{number + 1}") == TIMED_OUT


def test_all_topics_have_to_meet_it(mk, side):
    mk.ok("produce", "t", "x", "y")
    mk.ok("produce", "u", "z")
    with side.start("wait", "t", "u", "t", "--records", 3, "-v") as waiting:
        mk.ok("produce", "u", "1", "2", "3")
        assert asked(side, "u", "--records", 3) == MET
        assert waiting.poll() is None
        mk.ok("produce", "t", "1")
        assert ends(waiting) == MET
        lines = waiting.stderr.read().decode().splitlines()
    assert [line.partition(":")[2].partition(":")[0].strip() for line in lines] == ["t", "u"]
    done = side("wait", "t", "u", "--records", 4, "--timeout", 0)
    assert done.status == TIMED_OUT and "t: 3 records of 4" in done.err and "u" not in done.err.partition("why")[2][:20]


def test_what_a_group_has_not_read(mk, side):
    mk.ok("produce", "t", "a", "b")
    mk.ok("consume", "t", "-g", "g")
    assert asked(side, "t", "-o", "group:g") == TIMED_OUT
    mk.ok("produce", "t", "c")
    assert asked(side, "t", "-o", "group:g") == MET
    done = side("wait", "t", "-o", "group:nobody", "--timeout", 0)
    assert done.status == 66 and "no group nobody" in done.err


# How it ends.


def test_a_time_out_says_how_things_stand(side):
    side.ok("produce", "t", "x")
    done = side("wait", "t", "--records", 7, "--timeout", "150ms")
    assert (done.status, done.out) == (TIMED_OUT, b"")
    assert done.err.splitlines()[:2] == ["mk: error: not so after 0.15 s", "  why: t: 1 record of 7"]
    done = side("wait", "t", "--records", 7, "--timeout", "50ms", "-q")
    assert (done.status, done.out, done.err) == (TIMED_OUT, b"", "")
    done = side("wait", "t", "--records", 7, "--timeout", "50ms", "--json")
    error = json.loads(done.err)
    assert (error["error"], error["exit_status"]) == ("NotMetError", TIMED_OUT)
    assert error["facts"] == {"timeout_ms": 50, "state": ["t: 1 record of 7"]}


def test_a_question_reads_all_there_is(side):
    for _ in range(3):
        side.ok("produce", "t", stdin=b"x" * 100_000 + b"\n" + b"line\n" * 100_000)
    side.ok("produce", "t", "needle")
    assert asked(side, "t", "-G", "v=needle") == MET
    assert asked(side, "t", "-G", "v=line", "--records", 300_000) == MET
    assert asked(side, "t", "-G", "v=line", "--records", 300_001) == TIMED_OUT


def test_what_was_met_for_people_and_for_programs(mk):
    mk.ok("produce", "t", "-k", "a", "--timestamp", 1700000000000, "v", "w")
    done = mk("wait", "t", "-v", "--json")
    document = json.loads(done.out)
    assert document.pop("waited_ms") >= 0
    assert document == {"met": [{"topic": "t", "records": 2}]} and done.err == "mk: t: 2 records\n"
    done = mk("wait", "t", "-k", "a", "-v", "--json")
    assert json.loads(done.out)["met"] == [{"topic": "t", "partition": 0, "offset": 1, "ts": 1700000000000}]
    assert done.err == "mk: t: offset 1 of partition 0, the last record with the key 'a'\n"
    assert mk("wait", "t", "-G", "v=v", "-v").err == "mk: t: 1 matching record\n"
    mk.ok("consume", "t", "-g", "g", "-n", 1)
    done = mk("wait", "-g", "g", "--lag", 1, "-v", "--json")
    assert json.loads(done.out)["met"] == [{"group": "g", "topics": ["t"], "lag": 1}]
    assert done.err == "mk: group g: lag 1\n"


@pytest.mark.directory_only("it sees by its inotify that a process waits")
@pytest.mark.parametrize("words", [("--records", 9), ("-k", "k"), ("-G", "v=never"), ("-g", "g", "--lag", 0)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_at_once_and_quietly(mk, words, number):
    mk.ok("produce", "t", "x")
    mk.ok("consume", "t", "-g", "g")
    mk.ok("produce", "t", "y")
    with mk.start("wait", "t", *words) as waiting:
        wait_until(lambda: sleeps(waiting))
        waiting.send_signal(number)
        assert ends(waiting) == -number
        assert (waiting.stdout.read(), waiting.stderr.read()) == (b"", b"")


# What is not there.


def test_a_topic_that_is_not_there_is_an_error(side):
    done = side("wait", "t", "nope")
    assert done.status == 66 and "no topic nope" in done.err
    assert side("wait", "t", "-p", 7).status == 66
    assert side("wait", "no/name").status == 2
    assert side("wait", "no/name", "--retry").status == 2


def test_with_retry_a_topic_is_waited_for(mk, side):
    mk.ok("produce", "t", "x")
    assert asked(side, "t", "late", "--retry") == TIMED_OUT
    with side.start("wait", "t", "late", "--retry", "--records", 2) as waiting:
        mk.ok("produce", "later", "1", "2")  # A longer name.
        mk.ok("produce", "late", "1")
        mk.ok("produce", "t", "y")
        assert asked(side, "t", "late", "--retry", "--records", 2) == TIMED_OUT
        assert waiting.poll() is None
        mk.ok("produce", "late", "2")
        assert ends(waiting) == MET


@pytest.mark.directory_only("Kafka is there from the start")
def test_with_retry_the_directory_is_waited_for(mk):
    done = mk("wait", "t")
    assert done.status == 66 and "no log directory" in done.err
    assert mk("wait", "t", "--retry", "--timeout", "200ms").status == TIMED_OUT
    with mk.start("wait", "t", "--retry") as waiting:
        mk.ok("produce", "t", "x")
        assert ends(waiting) == MET


@pytest.mark.directory_only("it sees by its inotify that a process waits")
def test_a_topic_that_goes_meanwhile_is_an_error_and_with_retry_waited_for_again(mk):
    mk.ok("produce", "t", "x")
    with mk.start("wait", "t", "--records", 2) as plain, mk.start("wait", "t", "--records", 2, "--retry") as patient:
        wait_until(lambda: sleeps(plain) and sleeps(patient))
        mk.ok("topics", "delete", "t", "--yes")
        assert ends(plain) == 66 and b"t" in plain.stderr.read()
        mk.ok("produce", "t", "x")  # Another topic, of which the first record is one.
        assert asked(mk, "t", "--records", 2) == TIMED_OUT and patient.poll() is None
        mk.ok("produce", "t", "y")
        assert ends(patient) == MET


@pytest.mark.directory_only("Kafka renames no topics")
@pytest.mark.parametrize(
    ("words", "record"),
    [(("--records", 2), "x"), (("-G", "v=x", "--records", 2), "x"), (("-k", "k", "-G", "v=x"), "x")],
)
@pytest.mark.parametrize("change", ["delete", "rename"])
def test_with_retry_what_went_does_not_count_for_what_has_its_name_next(mk, side, words, record, change):
    mk.ok("topics", "create", "t", "--if-not-exists")
    mk.ok("topics", "create", "u")
    mk.ok("produce", "t", "-k", "k", record)
    with side.start("wait", "t", "u", "--retry", *words) as waiting:
        has_read_it(side, waiting)
        mk.ok("topics", "delete", "t", "--yes") if change == "delete" else mk.ok("topics", "rename", "t", "old")
        mk.ok("produce", "t", "-k", "other", record)
        mk.ok("produce", "u", "-k", "k", record, record)
        assert asked(side, "t", "u", "--retry", *words) == TIMED_OUT
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=1.2)
        mk.ok("produce", "t", "-k", "k", record)
        assert ends(waiting) == MET


@pytest.mark.directory_only("Kafka renames no topics")
def test_a_topic_that_is_renamed_is_not_there_any_more(mk, side):
    with side.start("wait", "t") as waiting:
        has_read_it(side, waiting)
        mk.ok("topics", "rename", "t", "old")
        assert ends(waiting) == 66 and b"t" in waiting.stderr.read()


def test_with_retry_a_group_that_says_where_to_begin_may_be_yet_to_come(side):
    """The first run of `mk wait t -o group:g && mk consume t -g g` is what makes the group."""
    assert asked(side, "t", "-o", "group:g", "--retry") == TIMED_OUT
    side.ok("produce", "t", "x")
    assert asked(side, "t", "-o", "group:g", "--retry") == MET


def test_a_question_is_answered_as_of_when_it_was_asked(mk):
    """A producer that is as fast as whoever reads does not keep it from ending."""
    mk.ok("produce", "t", 1, 2, 3)
    with connect(mk.location) as cluster, cluster.awaiting_consumer(["t"], max_time_ms=0) as consumer:
        seen = 0
        for fetch in consumer.fetches():
            seen += sum(len(batch) for batch in fetch)
            assert seen <= 3
            mk.ok("produce", "t", "more")
        assert seen == 3 and consumer.is_at_end


@pytest.mark.directory_only("it sees by its inotify that a process waits")
def test_partitions_that_are_added_count(mk):
    mk.ok("topics", "create", "t")
    with mk.start("wait", "t", "--records", 2) as waiting:
        wait_until(lambda: sleeps(waiting))
        mk.ok("topics", "alter", "t", "--partitions", 2)
        mk.ok("produce", "t", "-p", 0, "x")
        mk.ok("produce", "t", "-p", 1, "x")
        assert ends(waiting) == MET


# Groups.


@pytest.fixture
def read(mk):
    """Topics t and u of ten records each, of which a group g has read eight of t."""
    for topic in ("t", "u"):
        mk.ok("produce", topic, *range(10))
    mk.ok("consume", "t", "-g", "g", "-n", 8)
    return mk


def test_the_lag_is_that_of_mk_groups_describe(read):
    (document,) = json.loads(read.ok("groups", "describe", "g", "--json"))
    assert document["lag"] == 2
    assert [asked(read, "-g", "g", "--lag", lag) for lag in (1, 2, 3)] == [TIMED_OUT, MET, MET]
    assert [asked(read, "t", "-g", "g", "--lag", lag) for lag in (1, 2)] == [TIMED_OUT, MET]
    done = read("wait", "-g", "g", "--timeout", 0)
    assert done.status == TIMED_OUT and "group g: lag 2, more than 0" in done.err


def test_what_the_group_has_not_begun_is_all_lag(read):
    assert [asked(read, "u", "-g", "g", "--lag", lag) for lag in (9, 10)] == [TIMED_OUT, MET]
    assert [asked(read, "t", "u", "-g", "g", "--lag", lag) for lag in (11, 12)] == [TIMED_OUT, MET]
    read.ok("consume", "t", "-g", "g")
    read.ok("topics", "alter", "t", "--partitions", 2)
    assert asked(read, "t", "-g", "g") == MET
    read.ok("produce", "t", "-p", 1, "x", "y")
    assert [asked(read, "t", "-g", "g", "--lag", lag) for lag in (1, 2)] == [TIMED_OUT, MET]


@pytest.mark.directory_only("it sees by its inotify that a process waits")
def test_a_commit_ends_it(read):
    with read.start("wait", "-g", "g") as waiting, read.start("wait", "u", "-g", "g") as of_other:
        wait_until(lambda: sleeps(waiting) and sleeps(of_other))
        read.ok("consume", "t", "-g", "g")
        assert ends(waiting) == MET
        assert of_other.poll() is None
        read.ok("consume", "u", "-g", "g")
        assert ends(of_other) == MET


def test_a_member_that_follows_is_waited_for(read):
    with read.start("consume", "t", "-g", "g", "-F", stdout=subprocess.DEVNULL) as member:
        for number in range(3):
            read.ok("produce", "t", f"more {number}")
            assert read("wait", "t", "-g", "g", "--timeout", "30s").status == MET
            assert read.ok("groups", "describe", "g", "--offsets", "--json").count(b'"lag": 0') == 1
        member.send_signal(signal.SIGINT)
        ends(member)


@pytest.mark.directory_only("it sees by its inotify that a process waits")
def test_a_group_that_is_not_there(read):
    done = read("wait", "t", "-g", "nobody")
    assert done.status == 66 and "no group nobody" in done.err
    assert asked(read, "t", "-g", "nobody", "--retry") == TIMED_OUT
    with read.start("wait", "t", "-g", "nobody", "--retry") as waiting:
        wait_until(lambda: sleeps(waiting))
        read.ok("consume", "t", "-g", "nobody", "-n", 1)
        assert waiting.poll() is None
        read.ok("consume", "t", "-g", "nobody")
        assert ends(waiting) == MET
    assert read("wait", "nope", "-g", "g").status == 66


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_group_whose_place_is_not_known_is_no_group_that_has_read_everything(read):
    read.ok("consume", "t", "-g", "g")
    (claim,) = (read.directory / "groups/g/claims").glob("*/0.*")
    claim.write_bytes(bytes(claim.stat().st_size))
    done = read("wait", "-g", "g", "--timeout", "10s")
    assert done.status == 65 and "the lag of group g in partition 0 of t is not known" in done.err


def test_the_group_of_the_environment_is_not_meant(mk):
    mk.ok("produce", "t", "x")
    assert mk("wait", "t", env={"MK_GROUP": "g"}).status == MET
    assert mk("wait", env={"MK_TOPIC": "t"}).status == MET
    assert mk("wait").status == 2


@pytest.mark.parametrize(
    "words",
    [
        ("t", "-g", "g", "--records", 1),
        ("t", "-g", "g", "-k", "k"),
        ("t", "-g", "g", "-G", "v=x"),
        ("t", "-g", "g", "-o", "end"),
        ("t", "-g", "g", "-p", 0),
        ("-g", ""),
        ("t", "-g", ""),
        ("-g", "no/name", "--retry"),
        ("-g", "no/name", "--retry", "-d", "/nowhere"),
        ("t", "--lag", 1),
        ("t", "-k", "k", "--records", 2),
        ("t", "-G", "x"),
        ("t", "--records", 0),
        ("t", "--records", -1),
        ("t", "--timeout", "soon"),
    ],
)
def test_what_makes_no_sense_is_refused(read, words):
    done = read("wait", *words)
    assert done.status == 2 and done.out == b""


def test_a_group_of_another_host_is_asked_there(read, tmp_path):
    done = Remote(read, fake_ssh(tmp_path))("wait", "t", "-g", "g")
    assert done.status == 2 and "ssh far" in done.err and "wait t -g g" in done.err


@pytest.mark.directory_only("it looks at the files of the log")
def test_who_may_only_read_can_wait_and_changes_nothing(mk, for_reader):
    mk.ok("produce", "t", "-k", "k", "x", "y")
    copied, prefix = for_reader(mk)
    before = {path: path.stat().st_mtime_ns for path in sorted(copied.directory.rglob("*"))}
    for words in (("--records", 2), ("-k", "k"), ("-G", "v=y"), ("-o", 1)):
        assert copied("wait", "t", *words, "--timeout", "20s", prefix=prefix).status == MET
    assert copied("wait", "t", "-o", "end", "--timeout", "600ms", "-q", prefix=prefix).status == TIMED_OUT
    assert before == {path: path.stat().st_mtime_ns for path in sorted(copied.directory.rglob("*"))}


def test_many_wait_for_one_topic_and_each_ends_when_it_is_so(mk):
    """Producers and waiters at once: nobody ends before, nobody is left behind."""
    mk.ok("topics", "create", "t", "-p", 2)
    wanted = [1, 3, 10, 30, 60]
    processes = [mk.start("wait", "t", "--records", number, "--json") for number in wanted]
    waiting = [process.__enter__() for process in processes]
    try:
        for number in range(15):
            mk.ok("produce", "t", "-p", number % 2, stdin=b"v\n" * 4)
        for number, process in zip(wanted, waiting, strict=True):
            out, _ = process.communicate(timeout=30)
            assert process.returncode == MET
            assert json.loads(out)["met"][0]["records"] >= number
    finally:
        for process in processes:
            process.__exit__(None, None, None)
