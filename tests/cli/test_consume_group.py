"""`mk consume -g`: where a group goes on, what it commits, how its members share, and how each of them ends."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from committing import committed, members, owners
from running import read_to_end, read_until

pytestmark = pytest.mark.both_engines


def numbers(first, last):
    return b"".join(b"%d\n" % number for number in range(first, last))


def wait_for(condition, seconds=30):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def topic(mk):
    """Ten records in one partition."""
    mk.ok("produce", "t", stdin=numbers(0, 10))
    return mk


# Where it goes on.


def test_a_group_reads_everything_once_and_goes_on_where_it_stands(topic):
    assert topic.ok("consume", "t", "-g", "g") == numbers(0, 10)
    assert topic.ok("consume", "t", "-g", "g") == b""
    topic.ok("produce", "t", stdin=numbers(10, 15))
    assert topic.ok("consume", "t", "-g", "g") == numbers(10, 15)
    assert topic.ok("consume", "t", "-g", "other") == numbers(0, 15)
    assert committed(topic) == {0: 15}
    assert members(topic) == []
    topic.verify("t")


def test_the_group_may_come_from_the_environment_and_a_flag_beats_it(topic):
    assert topic.ok("consume", "t", env={"MK_GROUP": "g"}) == numbers(0, 10)
    assert topic.ok("consume", "t", env={"MK_GROUP": "g"}) == b""
    assert topic.ok("consume", "t", "-g", "h", env={"MK_GROUP": "g"}) == numbers(0, 10)


@pytest.mark.parametrize(
    ("spec", "read"), [("end", 0), ("-3", 3), ("4", 6), ("start", 10), ("committed", 10), ("4:6", 2)]
)
def test_an_offset_only_decides_where_a_group_begins_that_never_read(topic, spec, read):
    assert topic.ok("consume", "t", "-g", "g", "-o", spec).count(b"\n") == read
    topic.ok("produce", "t", "more")
    assert topic.ok("consume", "t", "-g", "g", "-o", "start").endswith(b"more\n")
    assert topic.ok("consume", "t", "-g", "g", "-o", "start") == b""


def test_a_group_that_began_at_the_end_keeps_that_place_though_nothing_came(topic):
    assert topic.ok("consume", "t", "-g", "g", "-o", "end") == b""
    topic.ok("produce", "t", "after")
    assert topic.ok("consume", "t", "-g", "g", "-o", "end") == b"after\n"


def test_exactly_so_many_records_as_were_asked_for_are_committed(topic):
    assert topic.ok("consume", "t", "-g", "g", "-n", "3") == numbers(0, 3)
    assert topic.ok("consume", "t", "-g", "g", "-n", "0") == b""
    assert topic.ok("consume", "t", "-g", "g", "-n", "2", "-J").count(b"\n") == 2
    assert topic.ok("consume", "t", "-g", "g") == numbers(5, 10)


def test_without_commit_the_next_one_reads_the_same(topic):
    assert topic.ok("consume", "t", "-g", "g", "-n", "4") == numbers(0, 4)
    assert topic.ok("consume", "t", "-g", "g", "--no-commit") == numbers(4, 10)
    assert topic.ok("consume", "t", "-g", "g") == numbers(4, 10)


def test_peeking_at_what_a_group_has_not_read_does_not_join_it(topic):
    assert topic.ok("consume", "t", "-g", "g", "-n", "4") == numbers(0, 4)
    assert topic.ok("consume", "t", "-o", "group:g") == numbers(4, 10)
    assert topic.ok("consume", "t", "-g", "g") == numbers(4, 10)


def test_several_topics_and_those_of_a_pattern_are_one_groups_work(mk):
    for name in ("a1", "a2", "b"):
        mk.ok("topics", "create", name, "-p", "2")
        mk.ok("produce", name, "-p", "1", name)
    assert sorted(mk.ok("consume", "a1", "b", "-g", "g").split()) == [b"a1", b"b"]
    assert mk.ok("consume", "-r", "^a", "-g", "g") == b"a2\n"
    assert mk.ok("consume", "-r", "^zzz", "-g", "g", "-q") == b""


def test_members_take_up_partitions_that_are_added_and_topics_that_appear(mk):
    mk.ok("produce", "a1", "one")
    with mk.start("consume", "-r", "^a", "-g", "g", "-F") as member:
        read_until(member.stdout.fileno(), b"one\n")
        mk.ok("topics", "alter", "a1", "--partitions", "3")
        mk.ok("produce", "a1", "-p", "2", "two")
        read_until(member.stdout.fileno(), b"two\n")
        mk.ok("produce", "a2", "three")
        read_until(member.stdout.fileno(), b"three\n")
        mk.ok("topics", "delete", "a1", "--yes")
        mk.ok("produce", "a3", "four")
        read_until(member.stdout.fileno(), b"four\n")
        member.terminate()
        assert member.wait(20) == -signal.SIGTERM
        assert b"topic a1 was deleted" in member.stderr.read()
    assert mk.ok("consume", "-r", "^a", "-g", "g") == b""


@pytest.mark.directory_only("the coordinator of a Kafka's group shares all partitions")
def test_only_some_partitions_are_for_this_member_and_the_others_for_others(mk):
    mk.ok("topics", "create", "t", "-p", "3")
    for partition in range(3):
        mk.ok("produce", "t", "-p", str(partition), str(partition))
    assert sorted(mk.ok("consume", "t", "-g", "g", "-p", "0,2").split()) == [b"0", b"2"]
    assert mk.ok("consume", "t", "-g", "g") == b"1\n"
    done = mk("consume", "t", "-g", "g", "-p", "7")
    assert done.status == 66 and "no partition 7" in done.err


# What it commits.


def test_what_head_did_not_take_is_not_lost(topic):
    done = topic.shell("mk consume t -g g | head -4; status")
    assert (done.out, done.err) == (numbers(0, 4), "")
    done = topic.shell("mk consume t -g g | head -3")
    assert done.out == numbers(4, 7)
    assert topic.ok("consume", "t", "-g", "g") == numbers(7, 10)


@pytest.mark.parametrize("form", ["value", "json"])
@pytest.mark.parametrize("count", [1, 50, 150, 5000])
def test_a_reader_that_goes_away_in_the_middle_of_much_repeats_and_never_skips(mk, form, count):
    mk.ok("produce", "t", stdin=numbers(0, 60_000))
    taken = mk.shell(f"mk consume t -g g -f {form} | head -{count}").out
    rest = mk.ok("consume", "t", "-g", "g", "-f", form)

    def values(output):
        lines = output.split()
        return [int(json.loads(line)["payload"]) if form == "json" else int(line) for line in lines]

    first, following = values(taken), values(rest)
    assert first == list(range(count))
    assert following == list(range(following[0], 60_000))
    assert following[0] <= count
    if count <= 50:
        assert following[0] == count


def test_a_reader_that_takes_its_time_gets_all_and_is_not_hurried(mk):
    mk.ok("produce", "t", stdin=numbers(0, 50_000))
    done = mk.shell("mk consume t -g g | (sleep 1.5; wc -l); status")
    assert (done.status, done.out.strip()) == (0, b"50000")
    assert committed(mk) == {0: 50_000}


def test_what_a_slow_reader_took_of_one_large_batch_is_committed_when_a_signal_comes(mk):
    mk.ok("produce", "t", stdin=numbers(0, 50_000))
    printed = b""
    with mk.start("consume", "t", "-g", "g") as member:
        while piece := os.read(member.stdout.fileno(), 10):
            printed += piece
            time.sleep(0.003 if printed.count(b"\n") < 400 else 0.0003)
            if printed.count(b"\n") == 400:
                member.terminate()
        assert member.wait(20) == -signal.SIGTERM
    read = printed.count(b"\n")
    assert printed == numbers(0, read)
    # What it took counts, but for the piece that it was at when the wait for it was over.
    assert read - 20_000 < committed(mk)[0] <= read and committed(mk)[0] > 400
    stood = committed(mk)[0]
    assert mk.ok("consume", "t", "-g", "g") == numbers(stood, 50_000)


def test_what_is_still_in_the_pipe_is_not_committed(mk):
    """Its reader may die with it unread; and nothing more comes, so that the member commits what was taken by now."""
    mk.ok("produce", "t", stdin=numbers(0, 5000))
    read = b""
    with mk.start("consume", "t", "-g", "g", "-F") as member:
        while read.count(b"\n") < 150:
            read += os.read(member.stdout.fileno(), 10)
        deadline = time.monotonic() + 60
        while committed(mk).get(0, -1) < 100:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        member.kill()
        member.wait()
    assert committed(mk)[0] <= read.count(b"\n")


def test_a_program_that_reads_only_when_we_have_ended_is_not_waited_for_for_ever(topic):
    process = subprocess.Popen(
        [topic.program, "consume", "t", "-g", "g"], stdout=subprocess.PIPE, env=topic.environment
    )
    with process:
        assert process.wait(30) == 0
        assert process.stdout.read() == numbers(0, 10)
    assert committed(topic) == {0: 10}


def test_a_file_has_taken_what_was_written_to_it(topic, tmp_path):
    with open(tmp_path / "out", "wb") as out:
        assert topic("consume", "t", "-g", "g", stdout=out).status == 0
    assert (tmp_path / "out").read_bytes() == numbers(0, 10)
    assert committed(topic) == {0: 10}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_commits_what_was_printed_and_ends_the_member(topic, number):
    with topic.start("consume", "t", "-g", "g", "-F") as member:
        read_until(member.stdout.fileno(), b"9\n")
        member.send_signal(number)
        assert member.wait(20) == -number
        assert (member.stdout.read(), member.stderr.read()) == (b"", b"")
    assert committed(topic) == {0: 10}
    assert members(topic) == []


def test_a_signal_ends_a_member_whose_reader_does_not_read(mk):
    mk.ok("produce", "t", stdin=(b"x" * 99 + b"\n") * 100_000)
    with mk.start("consume", "t", "-g", "g", "-F") as member:
        wait_for(lambda: members(mk))
        read_until(member.stdout.fileno(), b"\n")
        time.sleep(0.3)
        member.terminate()
        assert member.wait(20) == -signal.SIGTERM
        taken = len(read_to_end(member.stdout.fileno())) // 100
        assert member.stderr.read() == b""
    assert 0 <= committed(mk)[0] <= taken + 1 + (1 << 20) // 100


def test_nothing_comes_and_the_commit_is_there_all_the_same_also_after_a_kill(topic):
    with topic.start("consume", "t", "-g", "g", "-F") as member:
        read_until(member.stdout.fileno(), b"9\n")
        wait_for(lambda: committed(topic) == {0: 10})
        member.kill()
        member.wait()
    assert topic.ok("consume", "t", "-g", "g") == b""


@pytest.mark.directory_only("Kafka is hardly connected to in so short a time")
def test_a_cron_window_ends_and_the_next_one_goes_on(topic):
    assert topic.ok("consume", "t", "-g", "g", "-F", "--max-time", "500ms") == numbers(0, 10)
    topic.ok("produce", "t", "more")
    assert topic.ok("consume", "t", "-g", "g", "-F", "--idle", "100ms") == b"more\n"
    done = topic("consume", "t", "-g", "g", "-F", "--timeout", "300ms")
    assert done.status == 124
    assert committed(topic) == {0: 11}


# Sharing.


def test_two_members_share_and_each_partition_is_read_by_one(mk):
    mk.ok("topics", "create", "t", "-p", "4")
    with mk.start("consume", "t", "-g", "g", "-F", "-J") as one, mk.start("consume", "t", "-g", "g", "-F", "-J") as two:
        wait_for(lambda: len(owners(mk)) == 2 and sorted(owners(mk).values()) == [2, 2])
        for partition in range(4):
            mk.ok("produce", "t", "-p", str(partition), stdin=numbers(0, 5))
        seen = [{json.loads(line)["partition"] for line in take_lines(process, 10)} for process in (one, two)]
        assert [len(partitions) for partitions in seen] == [2, 2] and seen[0] | seen[1] == {0, 1, 2, 3}
        one.terminate()
        assert one.wait(20) == -signal.SIGTERM
        wait_for(lambda: list(owners(mk).values()) == [4])
        two.send_signal(signal.SIGINT)
        assert two.wait(20) == -signal.SIGINT
    assert mk.ok("consume", "t", "-g", "g") == b""


def take_lines(process, count):
    data = b""
    while data.count(b"\n") < count:
        data += read_until(process.stdout.fileno(), b"\n")
    return data.splitlines()


def test_the_third_of_two_partitions_stands_by_and_takes_over(mk):
    mk.ok("topics", "create", "t", "-p", "2")
    words = ("consume", "t", "-g", "g", "-F")
    with mk.start(*words) as one, mk.start(*words) as two:
        wait_for(lambda: len(owners(mk)) == 2)
        busy = set(owners(mk))
        with mk.start(*words) as three:
            wait_for(lambda: len(members(mk)) == 3)
            time.sleep(0.2)
            assert set(owners(mk)) == busy
            one.kill()
            one.wait()
            wait_for(lambda: len(owners(mk)) == 2 and set(owners(mk)) != busy)
            for process in (two, three):
                process.terminate()
                assert process.wait(20) == -signal.SIGTERM


@pytest.mark.directory_only("Kafka counts a member that was killed until its session ends")
def test_a_run_that_finds_another_one_leaves_it_the_work_if_it_was_told_to(topic):
    with topic.start("consume", "t", "-g", "g", "-F") as member:
        read_until(member.stdout.fileno(), b"9\n")
        done = topic("consume", "t", "-g", "g", "--or-skip")
        assert (done.status, done.out) == (0, b"")
        assert "group g has 1 other member; left it the work" in done.err
        assert topic("consume", "t", "-g", "g", "--or-skip", "-q").err == ""
        member.kill()
        member.wait()
    topic.ok("produce", "t", "more")
    assert topic.ok("consume", "t", "-g", "g", "--or-skip") in (b"more\n", numbers(0, 10) + b"more\n")


def test_two_runs_that_overlap_print_everything_once_between_them(mk):
    mk.ok("topics", "create", "t", "-p", "6")
    for partition in range(6):
        mk.ok("produce", "t", "-p", str(partition), stdin=b"".join(b"%d-%d\n" % (partition, n) for n in range(2000)))
    script = "for i in 1 2 3; do mk consume t -g g > out.$i & done; wait"
    subprocess.run(["bash", "-c", script], cwd=mk.directory.parent, env=mk.environment, check=True, timeout=60)
    lines = [line for n in (1, 2, 3) for line in (mk.directory.parent / f"out.{n}").read_bytes().split()]
    assert len(lines) == 12_000 == len(set(lines))


def test_control_z_lets_go_of_the_partitions_and_going_on_takes_them_up(topic):
    with topic.start("consume", "t", "-g", "g", "-F") as member:
        read_until(member.stdout.fileno(), b"9\n")
        (before,) = members(topic)
        member.send_signal(signal.SIGTSTP)
        wait_for(lambda: members(topic) == [])
        wait_for(lambda: Path(f"/proc/{member.pid}/stat").read_text().split(") ")[1].startswith("T"))
        topic.ok("produce", "t", "while it slept")
        assert topic.ok("consume", "t", "-g", "g") == b"while it slept\n"
        member.send_signal(signal.SIGCONT)
        wait_for(lambda: owners(topic))
        assert members(topic) != [before]
        topic.ok("produce", "t", "after")
        assert read_until(member.stdout.fileno(), b"after\n") == b"after\n"
        member.terminate()
        assert member.wait(20) == -signal.SIGTERM


def test_having_been_stopped_does_not_make_a_member_impatient(topic):
    """The alarm that ends the patience with ^Z comes when the process goes on, if it was stopped for longer than that."""
    with topic.start("consume", "t", "-g", "g", "-F", "-n", "11") as member:
        read_until(member.stdout.fileno(), b"9\n")
        member.send_signal(signal.SIGTSTP)
        status = Path(f"/proc/{member.pid}/status")
        alarm = 1 << (signal.SIGALRM - 1)
        wait_for(lambda: int(status.read_text().split("ShdPnd:")[1].split()[0], 16) & alarm)
        member.send_signal(signal.SIGCONT)
        wait_for(lambda: owners(topic))
        topic.ok("produce", "t", "last")
        assert member.wait(20) == 0  # Nobody has read it yet: that is waited for, and then the pipe has it.
        assert read_to_end(member.stdout.fileno()) == b"last\n"
    assert committed(topic) == {0: 11}


@pytest.mark.directory_only("a session of a Kafka's group is longer")
def test_a_stopped_member_is_fenced_and_says_so_when_it_goes_on(topic):
    with topic.start("consume", "t", "-g", "g", "-F", "--session-timeout", "500ms") as member:
        read_until(member.stdout.fileno(), b"9\n")
        member.send_signal(signal.SIGSTOP)
        with topic.start("consume", "t", "-g", "g", "-F", "--session-timeout", "500ms") as other:
            topic.ok("produce", "t", "for the other")
            read_until(other.stdout.fileno(), b"for the other\n")
            wait_for(lambda: committed(topic) == {0: 11})
            member.send_signal(signal.SIGCONT)
            error = read_until(member.stderr.fileno(), b"\n")
            assert b"another member of group g has taken partition 0 of t" in error
            other.terminate()
            assert other.wait(20) == -signal.SIGTERM
        topic.ok("produce", "t", "for the first again")
        assert read_until(member.stdout.fileno(), b"again\n") == b"for the first again\n"
        member.terminate()
        member.wait(20)
    assert committed(topic) == {0: 12}


# What it refuses, and what it says.


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--tail", "3"), "--tail and -g exclude each other"),
        (("-o", "0:1,1:2"), "an -o that names partitions and -g exclude each other"),
        (("--idle", "1s"), "--idle means nothing without -F"),
        (("--session-timeout", "50ms"), "it is at least 100ms"),
        (("--on-truncation", "ignore"), "it is one of: back, start, end, fail"),
    ],
)
def test_what_means_nothing_to_a_group_is_refused(topic, words, why):
    done = topic("consume", "t", "-g", "g", *words)
    assert (done.status, done.out) == (2, b"") and why in done.err
    assert "g" not in topic.ok("groups").decode().split()


@pytest.mark.parametrize(
    "words",
    [
        ("--no-commit",),
        ("--or-skip",),
        ("--on-truncation", "end"),
        ("--session-timeout", "5s"),
        ("--allow-network-fs",),
    ],
)
def test_what_only_a_group_has_is_refused_without_one(topic, words):
    done = topic("consume", "t", *words)
    assert done.status == 2 and "means nothing without -g" in done.err


def test_a_group_without_a_name_is_refused(topic):
    done = topic("consume", "t", "-g", "")
    assert (done.status, done.out) == (2, b"") and "name" in done.err


@pytest.mark.directory_only("a group of Kafka may have any name")
@pytest.mark.parametrize("name", ["../x", "", "a b", ".hidden", "x" * 201])
def test_a_name_that_no_group_can_have_is_refused(topic, name):
    done = topic("consume", "t", "-g", name)
    assert done.status == 2 and "cannot be the name of a group" in done.err


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_directory_that_may_only_be_read_says_why_a_group_needs_more(topic, for_reader):
    copy, prefix = for_reader(topic)
    done = copy("consume", "t", "-g", "g", prefix=prefix)
    assert (done.status, done.out) == (77, b"")
    assert "a group keeps its members, their locks and its offsets in" in done.err
    assert "Traceback" not in done.err
    assert copy("consume", "t", prefix=prefix).out == numbers(0, 10)


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.root
def test_a_mount_that_may_only_be_read_does_so_too(topic):
    if os.geteuid():
        pytest.skip("mounting needs root")
    topic.ok("consume", "t", "-g", "g", "-n", "1")
    script = (
        f"mount --bind '{topic.directory}' '{topic.directory}' && mount -o remount,ro,bind '{topic.directory}' || exit 99;"
        f" exec '{topic.program}' consume t -g g"
    )
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], env=topic.environment, capture_output=True, timeout=60
    )
    if done.returncode in (1, 99):
        pytest.skip(f"no mounts here: {done.stderr!r}")
    assert (done.returncode, done.stdout) == (77, b""), done
    assert b"a group keeps its members" in done.stderr


@pytest.mark.directory_only("Kafka forgets what a group had committed of a topic that is deleted")
def test_a_topic_made_anew_is_read_from_its_start_and_that_is_said(topic):
    topic.ok("consume", "t", "-g", "g")
    topic.ok("topics", "delete", "t", "--yes")
    topic.ok("produce", "t", "new")
    done = topic("consume", "t", "-g", "g", "--on-truncation", "fail")
    assert (done.status, done.out) == (65, b"") and "--on-truncation back" in done.err
    done = topic("consume", "t", "-g", "g", "-o", "end")
    assert (done.status, done.out) == (0, b"new\n")
    assert (
        "group g has committed offset 10 of partition 0 of t, and the log is another one; reading on at 0" in done.err
    )
    assert topic("consume", "t", "-g", "g").err == ""


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize(("choice", "read"), [("back", 0), ("start", 6), ("end", 0), (None, 0)])
def test_a_log_that_is_shorter_than_what_was_committed_is_named_and_never_jumped(topic, choice, read):
    before = topic.directory.parent / "before"
    topic.ok("consume", "t", "-g", "g", "-n", "6")
    shutil.copytree(topic.directory / "topics", before)
    topic.ok("produce", "t", stdin=numbers(10, 20))
    assert topic.ok("consume", "t", "-g", "g") == numbers(6, 20)
    shutil.rmtree(topic.directory / "topics")
    before.rename(topic.directory / "topics")
    words = () if choice is None else ("--on-truncation", choice)
    failed = topic("consume", "t", "-g", "g", "--on-truncation", "fail")
    assert (failed.status, failed.out) == (65, b"")
    done = topic("consume", "t", "-g", "g", *words)
    assert done.status == 0
    assert "group g has committed offset 20 of partition 0 of t, and the log is another one" in done.err
    assert done.out == (numbers(0, 10) if choice == "start" else b"")
    topic.ok("produce", "t", "new")
    assert topic("consume", "t", "-g", "g").out == b"new\n"


def test_records_that_retention_removed_before_the_group_read_them_are_named(topic):
    topic.ok("consume", "t", "-g", "g", "-n", "2")
    topic.ok("topics", "trim", "t", "--to", "5", "--yes")
    done = topic("consume", "t", "-g", "g")
    assert done.out == numbers(5, 10)
    assert "offsets 2 to 4 are gone" in done.err


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_claim_that_cannot_be_read_stops_the_group_and_is_named(topic):
    topic.ok("consume", "t", "-g", "g")
    (claim,) = (topic.directory / "groups" / "g" / "claims").glob("*/0.*")
    claim.write_bytes(b"x" * claim.stat().st_size)
    done = topic("consume", "t", "-g", "g")
    assert (done.status, done.out) == (65, b"")
    assert str(claim) in done.err and "restore the file from a copy" in done.err


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.root
def test_commits_work_on_a_full_disk(topic):
    if os.geteuid():
        pytest.skip("mounting needs root")
    script = f"""
    set -e
    mkdir -p '{topic.directory}.small'; mount -t tmpfs -o size=2M,nr_inodes=200 none '{topic.directory}.small' || exit 99
    export MK_DIR='{topic.directory}.small'
    seq 1000 | mk produce t -q -z none
    mk consume t -g g -n 10 > /dev/null
    mkfifo ../pipe.$$; exec 9<>../pipe.$$; rm ../pipe.$$
    mk consume t -g g -F -n 990 > ../out.$$ 2> ../err.$$ & member=$!
    until [ "$(wc -l < ../out.$$)" = 990 ]; do sleep 0.01; done
    wait $member
    mk consume t -g g -n 5; (seq 200 | mk produce t -q)
    mk consume t -g g -F > ../out.$$ & member=$!
    until [ "$(wc -l < ../out.$$)" = 200 ]; do sleep 0.01; done
    dd if=/dev/zero of=$MK_DIR/fill bs=4k 2> /dev/null || true
    (echo x > $MK_DIR/y) 2> /dev/null && cat $MK_DIR/y && exit 98
    kill -TERM $member; wait $member || status=$?
    [ "$status" = 143 ] || exit 97
    rm $MK_DIR/fill
    mk consume t -g g | wc -l
    """
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script],
        cwd=topic.directory,
        env=topic.environment,
        capture_output=True,
        timeout=120,
    )
    if done.returncode in (1, 99) and b"mount" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr!r}")
    assert (done.returncode, done.stdout.strip()) == (0, b"0"), done


# The Python API.


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_program_reads_for_a_group_record_by_record(topic):
    import mk as api

    with api.connect(str(topic.directory)) as cluster:
        with cluster.group_consumer("g", ["t"]) as consumer:
            for record in consumer:
                if record.value == b"4":
                    break  # It is not counted: nobody said that it was done with.
        with cluster.group_consumer("g", ["t"]) as consumer:
            assert [record.value for record in consumer] == numbers(4, 10).split()
        with cluster.group_consumer("g", ["t"]) as consumer:
            assert list(consumer) == []
