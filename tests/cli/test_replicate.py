"""`mk replicate SRC DST`: what is copied, what is refused, and how it says so."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import Mk, read_until

import mk as api


@pytest.fixture
def copy(tmp_path: Path) -> Mk:
    """The command line on the directory that becomes a copy; not there yet."""
    return Mk(tmp_path / "copy")


@pytest.fixture
def third(tmp_path: Path) -> Mk:
    return Mk(tmp_path / "third")


def replicate(source: Mk, target: Mk, *words: object, **keywords):
    return source("replicate", source.directory, target.directory, *words, **keywords)


def replicated(source: Mk, target: Mk, *words: object) -> str:
    done = replicate(source, target, *words)
    assert done.status == 0, done
    return done.err


def events(source: Mk, target: Mk, *words: object) -> list[dict]:
    done = replicate(source, target, "--json", *words)
    return [json.loads(line) for line in done.out.splitlines()]


def produce_each(mk: Mk, topic: str, *values: bytes, **keywords) -> None:
    """Produce values, each in a batch of its own."""
    with api.connect(str(mk.directory), create=True) as cluster:
        for number, value in enumerate(values):
            producer_id = f"p{number}" if keywords.get("producer_ids") else None
            with cluster.producer(topic, producer_id=producer_id) as producer:
                producer.send(value)


def large(count: int) -> list[bytes]:
    """Return values of which two fill a segment of 20000 bytes."""
    return [os.urandom(8000).hex().encode() for _ in range(count)]


def lines(*values: object) -> bytes:
    return b"".join(f"{value}\n".encode() for value in values)


def logs(mk: Mk, topic: str) -> dict[str, bytes]:
    """Return what each segment of a topic holds, by its path in the topic."""
    top = mk.directory / "topics" / topic
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*.log"))}


def everything(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return name, mode and content of all there is in a directory."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    }


def described(mk: Mk, topic: str) -> dict:
    (document,) = json.loads(mk.ok("topics", "describe", topic, "--json"))
    return document


def assert_is_copy(source: Mk, copy: Mk, topic: str, name: str | None = None) -> None:
    assert logs(copy, name or topic) == logs(source, topic)
    for one in (source, copy):
        assert one("topics", "verify").status == 0


def become_leader(mk: Mk, topic: str, *partitions: int) -> None:
    """Have a copy lead, as `mk replicate promote` does."""
    script = (
        "import sys\n"
        "from mk.storage.log_directory import LogDirectory\n"
        "from mk.storage.follower_log import FollowerLog\n"
        "topic = LogDirectory(sys.argv[1]).open_topic(sys.argv[2])\n"
        "for partition in map(int, sys.argv[3:]):\n"
        "    log = FollowerLog(topic, partition)\n"
        "    log.promote()\n"
        "    log.close()\n"
    )
    python = Path(mk.program).with_name("python")
    subprocess.run([python, "-c", script, mk.directory, topic, *map(str, partitions or (0,))], check=True)


# What is copied.


def test_a_copy_has_the_same_bytes_offsets_settings_and_groups(mk: Mk, copy: Mk) -> None:
    mk.ok("topics", "create", "orders", "--partitions", 3, "-c", "segment.bytes=20000", "-c", "retention.ms=-1")
    for number in range(6):
        mk.ok(
            "produce",
            "orders",
            "-k",
            f"user{number}",
            "-z",
            "zstd" if number % 2 else "none",
            stdin=os.urandom(9000).hex().encode() + b"\n" + lines(*range(50)),
        )
    mk.ok("produce", "files", "--producer-id", "job-1", stdin=lines(*range(100)))
    mk.ok("consume", "files", "-g", "billing", "-n", 40)

    assert replicated(mk, copy).splitlines()[-1].startswith("mk: 406 records, ")

    assert len(logs(mk, "orders")) > 3
    for topic in ("orders", "files"):
        assert_is_copy(mk, copy, topic)
        assert copy.offsets(topic) == mk.offsets(topic)
        assert described(copy, topic)["config"] == described(mk, topic)["config"]
    assert copy.ok("consume", "orders", "-J") == mk.ok("consume", "orders", "-J")
    # The copy tells a group that never read there where it stood.
    assert copy.ok("consume", "files", "-g", "billing") == lines(*range(40, 100))


def test_a_second_run_has_nothing_to_do_and_a_third_sends_what_is_new(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", stdin=lines(*range(10)))
    assert "mk: made topic t\n" in replicated(mk, copy)
    before = everything(copy.directory / "topics")
    assert replicated(mk, copy) == "mk: nothing new, 1 partition\n"
    assert everything(copy.directory / "topics") == before
    mk.ok("produce", "t", stdin=lines("new"))
    assert replicated(mk, copy, "-v").splitlines()[0] == "t 0 10 10"
    assert_is_copy(mk, copy, "t")


def test_one_argument_is_the_target_and_mk_dir_the_source(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", "x")
    mk.ok("replicate", copy.directory)
    mk.ok("replicate", copy.directory, "-d", mk.directory)
    assert copy.ok("consume", "t") == b"x\n"
    done = mk("replicate", "-d", mk.directory, mk.directory, copy.directory)
    assert done.status == 2 and "-d and SRC exclude each other" in done.err


def test_a_directory_called_like_a_subcommand_is_written_with_a_slash(mk: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", "x")
    mk.ok("replicate", "./run", cwd=tmp_path)
    assert Mk(tmp_path / "run").ok("consume", "t") == b"x\n"


def test_topics_are_chosen_by_their_whole_names(mk: Mk, copy: Mk) -> None:
    for topic in ("orders", "orders-old", "payments"):
        mk.ok("produce", topic, "x")
    replicated(mk, copy, "--topics", "orders.*", "--exclude", ".*old")
    assert copy.ok("topics", "-q") == b"orders\n"
    replicated(mk, copy, "--topics", "order")
    assert copy.ok("topics", "-q") == b"orders\n"
    done = replicate(mk, copy, "--topics", "(")
    assert done.status == 2 and "--topics cannot be (" in done.err


def test_two_sources_meet_in_one_target_under_their_prefixes(mk: Mk, copy: Mk, third: Mk) -> None:
    mk.ok("produce", "t", "of the first")
    copy.ok("produce", "t", "of the second")
    replicated(mk, third, "--prefix", "one")
    replicated(copy, third, "--prefix", "two")
    assert third.ok("topics", "-q") == b"one.t\ntwo.t\n"
    assert third.ok("consume", "two.t") == b"of the second\n"
    mk.ok("topics", "rename", "t", "u")
    assert "mk: topic one.t is now one.u\n" in replicated(mk, third, "--prefix", "one")
    assert_is_copy(mk, third, "u", "one.u")
    done = replicate(mk, third)
    assert done.status == 65 and "topic u of SRC is one.u in DST" in done.err
    assert third.ok("topics", "-q") == b"one.u\ntwo.t\n"


def test_new_partitions_settings_and_removals_reach_the_copy(mk: Mk, copy: Mk) -> None:
    mk.ok("topics", "create", "t", "-c", "segment.bytes=20000")
    produce_each(mk, "t", *large(8))
    replicated(mk, copy)
    assert len(copy.segments("t")) > 2
    mk.ok("topics", "alter", "t", "--partitions", 2, "-c", "retention.ms=1000")
    mk.ok("produce", "t", "-p", 1, "x")
    mk.ok("topics", "trim", "t", "--to", 5, "-p", 0, "--yes")
    replicated(mk, copy)
    assert copy.offsets("t") == mk.offsets("t") == [(5, 8), (0, 1)]
    assert_is_copy(mk, copy, "t")
    assert described(copy, "t")["config"]["retention.ms"] == 1000


def test_a_copy_begun_late_begins_where_the_source_does(mk: Mk, copy: Mk) -> None:
    mk.ok("topics", "create", "t", "-c", "segment.bytes=20000")
    produce_each(mk, "t", *large(8), producer_ids=True)
    mk.ok("topics", "trim", "t", "--to", 6, "--yes")
    replicated(mk, copy)
    assert copy.offsets("t") == mk.offsets("t")
    assert copy.ok("consume", "t") == mk.ok("consume", "t")
    assert_is_copy(mk, copy, "t")


def test_a_copy_of_a_copy_is_one_too(mk: Mk, copy: Mk, third: Mk) -> None:
    mk.ok("produce", "t", stdin=lines(*range(100)))
    mk.ok("consume", "t", "-g", "g", "-n", 7)
    replicated(mk, copy)
    replicated(copy, third)
    assert_is_copy(mk, third, "t")
    assert third.ok("consume", "t", "-g", "g", "-n", 1) == b"7\n"
    mk.ok("produce", "t", "new")
    replicated(mk, third)
    done = replicate(copy, third)
    assert done.status == 75 and logs(third, "t") == logs(mk, "t")


def test_without_groups_a_group_begins_as_a_new_one_does(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", stdin=lines(*range(9)))
    mk.ok("consume", "t", "-g", "g", "-n", 7)
    replicated(mk, copy, "--no-groups")
    assert copy.ok("consume", "t", "-g", "g") == lines(*range(9))
    assert replicate(mk, copy, "--groups", "--no-groups").status == 2


# Who leads.


def test_a_copy_refuses_producers_and_says_where_the_leader_is(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", "x")
    replicated(mk, copy, "--advertise", "web1:/srv/mk")
    done = copy("produce", "t", "y")
    assert done.status == 75 and "it is a copy of web1:/srv/mk" in done.err
    assert json.loads((mk.directory / "mk.json").read_text())["address"] == "web1:/srv/mk"


def test_the_other_way_round_is_refused(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", "x")
    replicated(mk, copy)
    done = replicate(copy, mk)
    assert done.status == 75 and "it is the other way round" in done.err
    assert_is_copy(mk, copy, "t")
    mk.ok("produce", "t", "still the leader")


def test_an_old_leader_is_fenced_and_follows_with_what_it_wrote_kept_aside(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", stdin=lines("both"))
    replicated(mk, copy)
    become_leader(copy, "t")
    mk.ok("produce", "t", stdin=lines("lost 1", "lost 2"))
    copy.ok("produce", "t", "kept")

    done = replicate(mk, copy)  # As cron still does.
    assert done.status == 75 and "the other way round" in done.err
    refused = mk("produce", "t", "too late")
    assert refused.status == 75 and "does not lead" in refused.err

    assert "cuts off 2 records" in replicated(copy, mk)
    assert_is_copy(copy, mk, "t")
    assert mk.ok("consume", "t") == b"both\nkept\n"
    evidence = [path.read_bytes() for path in (mk.directory / "quarantine").rglob("*") if path.is_file()]
    assert any(b"lost 1\nlost 2\n" in data for data in evidence)
    assert replicated(copy, mk) == "mk: nothing new, 1 partition\n"


def test_a_running_producer_of_an_old_leader_is_stopped(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", "x")
    replicated(mk, copy)
    become_leader(copy, "t")
    with mk.start("produce", "t", "-v") as producer:
        producer.stdin.write(b"one\n")
        read_until(producer.stderr.fileno(), b"t 0 1 1\n")
        assert replicate(mk, copy).status == 75
        producer.stdin.write(b"two\n")
        assert b"does not lead" in read_until(producer.stderr.fileno(), b"fix:")
        assert producer.wait(20) == 75


def test_a_source_restored_from_an_old_copy_is_not_followed(mk: Mk, copy: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", stdin=lines(*range(5)))
    subprocess.run(["cp", "-a", mk.directory, tmp_path / "old"], check=True)
    mk.ok("produce", "t", stdin=lines(*range(5)))
    replicated(mk, copy)
    before = logs(copy, "t")
    old = Mk(tmp_path / "old")
    done = replicate(old, copy)
    assert done.status == 65 and "is no copy in DST of what SRC has" in done.err
    old.ok("produce", "t", stdin=lines(*"abcdefgh"))
    done = replicate(old, copy)
    assert done.status == 65 and logs(copy, "t") == before


# Another host.


def test_copies_go_to_another_host_and_come_from_there(mk: Mk, copy: Mk, third: Mk, sshd) -> None:
    mk.ok("topics", "create", "t", "--partitions", 2, "-c", "segment.bytes=20000")
    produce_each(mk, "t", *large(6))
    mk.ok("consume", "t", "-g", "g", "-n", 2, "-p", 0)
    there = f"{sshd.host}:{copy.directory}"
    mk.ok("replicate", mk.directory, there, env=sshd.environment)
    assert_is_copy(mk, copy, "t")
    assert mk("replicate", mk.directory, there, env=sshd.environment).err == "mk: nothing new, 2 partitions\n"
    (step,) = json.loads(third.ok("replicate", there, third.directory, "--dry-run", "--json", env=sshd.environment))[
        1:2
    ]
    assert step["size_bytes"] == sum(path.stat().st_size for path in mk.segments("t", step["partition"]))
    third.ok("replicate", there, third.directory, env=sshd.environment)
    assert_is_copy(mk, third, "t")
    done = mk("replicate", mk.directory, there, "--verify", env=sshd.environment)
    assert done.status == 0 and "6 records" in done.err
    produce_each(mk, "t", b"new")
    assert mk("replicate", mk.directory, there, "--verify", env=sshd.environment).status == 3
    # What is refused there is said here.
    done = third("replicate", there, mk.directory, env=sshd.environment)
    assert done.status == 75 and "the other way round" in done.err


def test_following_reaches_another_host_too(mk: Mk, copy: Mk, sshd) -> None:
    mk.ok("produce", "t", "one")
    there = f"{sshd.host}:{copy.directory}"
    with mk.start("replicate", "-Fv", mk.directory, there, env=sshd.environment) as running:
        read_until(running.stderr.fileno(), b"t 0 0 0\n")
        mk.ok("produce", "t", "two")
        read_until(running.stderr.fileno(), b"t 0 1 1\n")
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == -signal.SIGTERM
    assert_is_copy(mk, copy, "t")


# What is refused, and that the rest goes on.


def test_a_topic_made_anew_on_the_source_is_refused_and_the_others_are_copied(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "a", "old")
    mk.ok("produce", "b", "x")
    replicated(mk, copy)
    mk.ok("topics", "delete", "a", "--yes")
    mk.ok("produce", "a", "new")
    mk.ok("produce", "b", "y")
    done = replicate(mk, copy)
    assert done.status == 65 and "then deleted from SRC and made anew" in done.err
    assert copy.ok("consume", "a") == b"old\n" and copy.ok("consume", "b") == b"x\ny\n"
    copy.ok("topics", "delete", "a", "--yes")
    replicated(mk, copy)
    assert_is_copy(mk, copy, "a")


def test_a_topic_of_that_name_that_is_no_copy_is_left_alone(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", "theirs")
    copy.ok("produce", "t", "ours")
    done = replicate(mk, copy)
    assert done.status == 65 and "it is another directory's" in done.err
    assert copy.ok("consume", "t") == b"ours\n"


def test_a_topic_deleted_from_the_source_stays_and_is_named(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "a", "x")
    mk.ok("produce", "b", "x")
    replicated(mk, copy)
    mk.ok("topics", "delete", "a", "--yes")
    assert "topic a was deleted from SRC; its copy stays" in replicated(mk, copy)
    assert copy.ok("consume", "a") == b"x\n"


def test_a_hole_is_refused_and_accepted_on_request(mk: Mk, copy: Mk) -> None:
    mk.ok("topics", "create", "t", "-c", "segment.bytes=20000")
    mk.ok("produce", "t", stdin=lines("first"))
    replicated(mk, copy)
    produce_each(mk, "t", *large(8))
    mk.ok("topics", "trim", "t", "--to", 6, "--yes")
    before = everything(copy.directory / "topics")
    done = replicate(mk, copy)
    assert done.status == 65 and "--accept-gap" in done.err and "offsets 1 to" in done.err
    assert everything(copy.directory / "topics") == before
    assert "begins anew at offset" in replicated(mk, copy, "--accept-gap")
    assert_is_copy(mk, copy, "t")
    (gaps,) = (copy.directory / "replicas").glob("*/gaps")
    assert gaps.read_text().split(" ")[3] == "1"
    assert any(b"first\n" in path.read_bytes() for path in (copy.directory / "quarantine").rglob("*") if path.is_file())
    assert replicated(mk, copy) == "mk: nothing new, 1 partition\n"


def test_damage_on_the_source_is_refused_before_it_is_written(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "good", stdin=lines(*range(50)))
    for _ in range(3):
        mk.ok("produce", "t", stdin=lines(*range(1000)))
    (segment,) = mk.segments("t")
    data = bytearray(segment.read_bytes())
    data[mk.batches("t")[1].position + 200] ^= 1
    segment.write_bytes(data)
    done = replicate(mk, copy)
    assert done.status == 65, done
    # What stands before the damage is good, and is there.
    assert copy.offsets("t") in ([(0, 0)], [(0, 1000)])
    assert copy("topics", "verify").status == 0
    assert copy.ok("consume", "good") == lines(*range(50))


def test_a_directory_is_no_copy_of_itself(mk: Mk, tmp_path: Path) -> None:
    mk.ok("produce", "t", "x")
    done = replicate(mk, mk)
    assert done.status == 2 and "are one log directory" in done.err
    subprocess.run(["cp", "-a", mk.directory, tmp_path / "by-hand"], check=True)
    assert replicate(mk, Mk(tmp_path / "by-hand")).status == 2


def test_what_is_not_there_is_said(mk: Mk, copy: Mk, tmp_path: Path) -> None:
    done = replicate(mk, copy)
    assert done.status == 66 and not copy.directory.exists()
    mk.ok("produce", "t", "x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    assert replicate(mk, Mk(tmp_path / "other")).status == 73


def test_two_runs_at_once_are_harmless(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", "x")
    replicated(mk, copy)
    with mk.start("replicate", "-F", mk.directory, copy.directory, "-v") as running:
        mk.ok("produce", "t", "y")
        read_until(running.stderr.fileno(), b"t 0 1 1\n")
        done = replicate(mk, copy)
        assert done.status == 0 and "another run copies" in done.err
        assert json.loads(replicate(mk, copy, "--json").out) == {"event": "already_running"}


# What would be, and whether it is.


def test_a_dry_run_shows_what_a_run_does_and_changes_nothing(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", stdin=lines(*range(10)))
    (row, partition) = json.loads(replicate(mk, copy, "--dry-run", "--json").out)
    assert (row["topic"], row["partition"], row["action"]) == ("t", None, "created")
    assert (partition["action"], partition["records"], partition["size_bytes"]) == (
        "begin",
        10,
        mk.segments("t")[0].stat().st_size,
    )
    assert not copy.directory.exists()
    replicated(mk, copy)
    become_leader(copy, "t")
    mk.ok("produce", "t", "lost")
    copy.ok("produce", "t", stdin=lines("a", "b"))
    before = everything(mk.directory), everything(copy.directory)
    (step,) = json.loads(replicate(copy, mk, "--dry-run", "--json").out)
    assert (step["action"], step["from"], step["to"], step["truncated"]) == ("truncate", 10, 12, 1)
    refused = replicate(mk, copy, "--dry-run")
    assert refused.status == 75 and "the other way round" in refused.err
    assert before == (everything(mk.directory), everything(copy.directory))


def test_verify_tells_a_copy_from_one_that_is_behind_and_from_one_that_differs(mk: Mk, copy: Mk) -> None:
    for _ in range(3):
        mk.ok("produce", "t", stdin=lines(*range(1000)))
    done = replicate(mk, copy, "--verify")
    assert done.status == 3 and not copy.directory.exists()
    replicated(mk, copy)
    done = replicate(mk, copy, "--verify")
    assert done.status == 0 and "1 of 1 partition the same, as far as DST goes: 3000 records" in done.err
    mk.ok("produce", "t", "new")
    before = everything(copy.directory)
    done = replicate(mk, copy, "--verify")
    assert done.status == 3 and "behind in 1 partition, by 1 record" in done.err
    (segment,) = copy.segments("t")
    data = bytearray(segment.read_bytes())
    batch = copy.batches("t")[1]
    assert everything(copy.directory) == before
    # One bit of the header that its checksum does not tell: both are made anew, as by somebody who knows how.
    data[batch.position : batch.position + batch.size_bytes] = mk_batch_of_other_time(data, batch)
    segment.write_bytes(data)
    done = replicate(mk, copy, "--verify")
    assert done.status == 65 and "at offset 1000 has other bytes" in done.err


def mk_batch_of_other_time(data: bytes, batch) -> bytes:
    """Return a batch as it stands in `data`, with another time, and whole all the same."""
    import struct

    from mk.records import record_batch
    from mk.records.codecs import crc32c

    header = bytearray(data[batch.position : batch.position + record_batch.HEADER_SIZE])
    fields = list(record_batch._FIELDS.unpack_from(header))
    fields[10] -= 1
    fields[11] -= 1
    body = record_batch._FIELDS.pack(*fields)
    own = record_batch.parse_header(bytes(header))
    assert own is not None
    for seed in (0, 1, 0xFFFFFFFF, int.from_bytes(b"\x8aMK\x01", "big")):
        if crc32c(header[:-4], seed) == struct.unpack(">I", header[-4:])[0]:
            return (
                body
                + struct.pack(">I", crc32c(body, seed))
                + data[batch.position + len(header) : batch.position + batch.size_bytes]
            )
    raise AssertionError("the checksum of a header is made in another way")


def test_options_that_exclude_each_other_are_refused(mk: Mk, copy: Mk) -> None:
    for words in (["--dry-run", "--verify"], ["--verify", "-F"], ["--dry-run", "--advertise", "x:/y"]):
        assert replicate(mk, copy, *words).status == 2, words


# What programs are told.


def test_events_are_json_lines_in_order(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", stdin=lines(*range(10)))
    copy.ok("produce", "u", "ours")
    mk.ok("produce", "u", "theirs")
    told = [event for event in events(mk, copy) if event["event"] != "progress"]  # One a second, on a slow machine.
    assert [event["event"] for event in told] == ["topic", "partition", "done", "refused", "summary"]
    assert told[1] == {
        "event": "partition",
        "topic": "t",
        "partition": 0,
        "action": "append",
        "from_offset": 0,
        "to_offset": 10,
        "truncated": 0,
    }
    assert told[2]["next_offset"] == 10
    assert told[3]["topic"] == "u" and told[3]["exit_status"] == 65 and told[3]["fix"]
    summary = told[4]
    assert (summary["records"], summary["partitions"], summary["refused"], summary["complete"]) == (10, 1, 1, False)
    assert replicate(mk, copy, "--json").status == 65


# Going on.


def test_following_copies_what_comes_new_topics_too_until_it_is_stopped(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", "one")
    with mk.start("replicate", "--follow", mk.directory, copy.directory, "-v") as running:
        read_until(running.stderr.fileno(), b"t 0 0 0\n")
        mk.ok("produce", "t", "two")
        read_until(running.stderr.fileno(), b"t 0 1 1\n")
        mk.ok("produce", "later", "three")
        read_until(running.stderr.fileno(), b"later 0 0 0\n")
        running.send_signal(signal.SIGTERM)
        assert b"mk: 3 records, " in read_until(running.stderr.fileno(), b"partitions\n")
        assert running.wait(20) == -signal.SIGTERM
    assert_is_copy(mk, copy, "t")
    assert_is_copy(mk, copy, "later")


def test_following_ends_after_its_time(mk: Mk, copy: Mk) -> None:
    mk.ok("produce", "t", "one")
    done = replicate(mk, copy, "-F", "--max-time", "4s", "--timeout", "40s")
    assert done.status == 0 and "mk: 1 record, " in done.err
    assert_is_copy(mk, copy, "t")
    mk.ok("produce", "t", "three")
    assert replicate(mk, copy, "--timeout", "0s").status == 124
    done = replicate(mk, copy, "--max-time", "0s")
    assert done.status == 75 and "not all is copied yet" in done.err


def test_a_run_that_is_stopped_keeps_what_it_has_copied_and_says_so(mk: Mk, copy: Mk) -> None:
    mk.ok("topics", "create", "t", "-c", "segment.bytes=100000000")
    mk.ok("produce", "t", stdin=(b"x" * 99 + b"\n") * 600_000)
    with mk.start("replicate", mk.directory, copy.directory, "--json") as running:
        read_until(running.stdout.fileno(), b'"partition"')
        running.send_signal(signal.SIGINT)
        told = running.stdout.read().decode()
        assert running.wait(30) in (-signal.SIGINT, 0)
    summary = json.loads(told.splitlines()[-1])
    (offsets,) = copy.offsets("t")
    assert offsets[1] == summary["records"]
    assert copy("topics", "verify").status == 0
    replicated(mk, copy)
    assert_is_copy(mk, copy, "t")


# Kills.


def kill_and_run_again(mk: Mk, copy: Mk, kills: int) -> None:
    """Kill runs at random under producers, then let one end: the copy is one, and nothing had to be repaired."""
    chance = random.Random(kills)
    mk.ok("topics", "create", "keyed", "--partitions", 4, "-c", "segment.bytes=60000")
    mk.ok("topics", "create", "plain", "-c", "segment.bytes=60000")
    feed = "i=0; while :; do i=$((i+1)); seq $i $((i+400)); done"
    with contextlib.ExitStack() as stack:
        pipes = []
        for words in (["keyed", "-K", "5"], ["plain", "--producer-id", "job"]):
            source = stack.enter_context(subprocess.Popen(["sh", "-c", feed], stdout=subprocess.PIPE))
            stack.callback(source.kill)
            pipes.append(stack.enter_context(mk.start("produce", "-q", *words, stdin=source.stdout)))
        for number in range(kills):
            follow = ["-F"] if number % 2 else []
            with mk.start("replicate", "-q", *follow, mk.directory, copy.directory) as run:
                time.sleep(chance.uniform(0.05, 0.5))  # Where it strikes is to be random; nothing waits for it.
                run.kill()
        for pipe in pipes:
            pipe.terminate()
            pipe.wait()
    replicated(mk, copy)
    done = replicate(mk, copy, "--verify")
    assert done.status == 0, done
    for topic in ("keyed", "plain"):
        assert_is_copy(mk, copy, topic)
        assert mk.offsets(topic) == copy.offsets(topic)
    assert mk.offsets("keyed") != [(0, 0)] * 4
    assert replicated(mk, copy) == "mk: nothing new, 5 partitions\n"


def test_runs_killed_at_random_leave_a_copy_that_the_next_one_completes(mk: Mk, copy: Mk) -> None:
    kill_and_run_again(mk, copy, 8)


@pytest.mark.slow
def test_many_runs_killed_at_random(mk: Mk, copy: Mk) -> None:
    kill_and_run_again(mk, copy, 200)
