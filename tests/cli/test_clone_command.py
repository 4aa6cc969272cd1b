"""`mk topics clone`, with and without --rehash: what is made, what is said, and what is refused."""

import fcntl
import json
import os
import shutil
from collections import defaultdict

import pytest


@pytest.fixture
def keyed(mk):
    """A topic of three partitions, with keys that were in other partitions before there were three, and some without."""
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096", "-c", "retention.ms=-1")
    produce(mk, range(60))
    mk.ok("topics", "alter", "t", "--partitions", 3, "--yes")
    produce(mk, range(60, 200))
    return mk


def produce(mk, numbers, topic="t"):
    lines = [
        {
            "key": None if number % 10 == 9 else f"key{number % 7}",
            "payload": None if number % 13 == 0 else f"value {number} " + "x" * 50,
            "headers": [["n", str(number)], ["empty", None]] if number % 3 else [],
            "ts": 1_600_000_000_000 + number,
        }
        for number in numbers
    ]
    mk.ok("produce", topic, "-J", stdin="".join(json.dumps(line) + "\n" for line in lines).encode())


def records(mk, topic, *words):
    return [json.loads(line) for line in mk.ok("consume", topic, "-J", *words).splitlines()]


def content(record):
    return {name: record.get(name) for name in ("key", "payload", "headers", "ts")}


def document(mk, *words):
    return json.loads(mk.ok(*words, "--json"))


def described(mk, topic):
    return document(mk, "topics", "describe", topic)[0]


# Clones.


def test_a_clone_has_all_records_and_says_up_to_where(mk):
    mk.ok("topics", "create", "t", "-p", 2, "-c", "segment.bytes=4096")
    for number in range(3):
        mk.ok("produce", "t", "-p", 0, f"v{number}")
    done = mk("topics", "clone", "t", "new")
    assert done.status == 0
    assert done.out == b""
    assert "mk: cloned t as new, up to 0:3,1:0: 1 segment linked" in done.err
    strip = [{**record, "topic": "t"} for record in records(mk, "new")]
    assert strip == records(mk, "t")
    assert described(mk, "new")["config"]["segment.bytes"] == 4096
    assert b"no damage" in mk.ok("topics", "verify", "new")


def test_the_document_of_a_clone(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 1, "value")
    found = document(mk, "topics", "clone", "t", "new")
    size = found.pop("link_bytes")
    assert size > 0
    assert found == {
        "topic": "t",
        "clone": "new",
        "log_start_offsets": [0, 0],
        "next_offsets": [0, 1],
        "links": 1,
        "copied_bytes": 0,
    }


@pytest.mark.parametrize("rehash", [(), ("--rehash", "-p", "5")])
def test_a_dry_run_says_up_to_where_and_makes_nothing(mk, rehash):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 1, "a", "b")
    before = sorted(mk.directory.rglob("*"))
    done = mk("topics", "clone", "t", "new", "--dry-run", *rehash)
    assert done.status == 0
    assert "2 records" in done.err
    assert "up to 0:0,1:2 as of now" in done.err
    plan = document(mk, "topics", "clone", "t", "new", "--dry-run", *rehash)
    assert plan["next_offsets"] == [0, 2]
    assert plan["partitions"] == (5 if rehash else 2)
    assert sorted(mk.directory.rglob("*")) == before
    assert mk("topics", "clone", "t", "t", "--dry-run").status == 73
    assert mk("topics", "clone", "missing", "new", "--dry-run").status == 66


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("t", "t"), 73, "exists already"),
        (("t", "T"), 73, "exists already, as t"),
        (("t", "../up"), 2, "cannot be the name of a topic"),
        (("t", ".filling-" + "0" * 32), 2, "cannot be the name of a topic"),
        (("t", "a.deleted"), 2, "cannot be the name of a topic"),
        (("missing", "new"), 66, "missing"),
        (("t", "new", "-p", "3"), 2, "--partitions needs --rehash"),
        (("t", "new", "--partitioner", "murmur2"), 2, "--partitioner needs --rehash"),
        (("t", "new", "--groups"), 2, "mk groups copy"),
        (("t", "new", "--rehash", "-p", "5000"), 2, "1 to 4096 partitions"),
        (("t", "t", "--rehash"), 73, "exists already"),
        (("missing", "new", "--rehash"), 66, "missing"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_there_afterwards(mk, words, status, said):
    mk.ok("topics", "create", "t")
    done = mk("topics", "clone", *words)
    assert (done.status, done.out) == (status, b"")
    assert said in done.err
    assert os.listdir(mk.directory / "topics") == ["t"]


def test_damage_in_a_sealed_segment_is_cloned_as_it_is_and_verify_tells(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096")
    for _ in range(4):
        mk.ok("produce", "t", "x" * 3000)
    segment = mk.directory / "topics/t/0/00000000000000000001.log"
    data = bytearray(segment.read_bytes())
    data[1000] ^= 1
    segment.write_bytes(data)
    mk.ok("topics", "clone", "t", "new")
    for topic in ("t", "new"):
        assert mk("topics", "verify", topic).status == 65
        assert mk("consume", topic, "-o", 2).status == 0


def test_a_clone_of_a_topic_without_locks_is_refused(mk):
    """As in a copy of a directory made by somebody who may only read."""
    mk.ok("produce", "t", "value")
    shutil.rmtree(mk.directory / "locks")
    done = mk("topics", "clone", "t", "new")
    assert done.status == 65
    assert os.listdir(mk.directory / "topics") == ["t"]


def test_who_may_only_read_cannot_clone(mk, for_reader):
    mk.ok("produce", "t", "value")
    copied, prefix = for_reader(mk)
    for words in ((), ("--rehash", "-p", "2")):
        done = copied("topics", "clone", "t", "new", *words, prefix=prefix)
        assert done.status == 77
        assert "Traceback" not in done.err
    assert os.listdir(copied.directory / "topics") == ["t"]


def test_a_clone_is_as_closed_as_its_original(mk):
    mk.ok("produce", "t", "value")
    (mk.directory / "topics/t").chmod(0o700)
    mk.ok("topics", "clone", "t", "new")
    assert (mk.directory / "topics/new").stat().st_mode & 0o777 == 0o700


# Rehashed topics.


@pytest.mark.parametrize("partitions", [1, 3, 7])
def test_a_rehash_keeps_every_record_and_the_order_of_each_key(keyed, partitions):
    had = records(keyed, "t", "--merge")
    done = keyed("topics", "clone", "t", "new", "--rehash", "-p", partitions)
    assert done.status == 0, done
    assert "mk: produced 200 records of t again to new" in done.err
    now = records(keyed, "new")
    by_key, expected, places = defaultdict(list), defaultdict(list), defaultdict(set)
    for record in had:
        expected[record["key"]].append(content(record))
    for record in now:
        by_key[record["key"]].append(content(record))
        places[record["key"]].add(record["partition"])
    assert {key: rows for key, rows in by_key.items() if key} == {key: rows for key, rows in expected.items() if key}
    assert sorted(map(json.dumps, by_key[None])) == sorted(map(json.dumps, expected[None]))
    for key, found in places.items():
        if key is not None:
            assert found == {json.loads(keyed.ok("topics", "which", "new", key, "--json"))[0]["partition"]}
    assert b"no damage" in keyed.ok("topics", "verify", "new")
    ends = dict(part.split(":") for part in done.err.rpartition("read up to ")[2].strip().split(","))
    assert sum(map(int, ends.values())) == 200


def test_a_rehashed_topic_has_the_settings_of_its_original_though_they_would_have_removed_its_records(keyed):
    settings = ("max.message.bytes=80", "cleanup.policy=compact,delete", "retention.ms=1", "retention.bytes=1")
    keyed.ok("topics", "alter", "t", *(word for setting in settings for word in ("-c", setting)))
    keyed.ok("topics", "clone", "t", "new", "--rehash", "-p", 4, "--partitioner", "murmur2")
    ours, theirs = (described(keyed, topic) for topic in ("t", "new"))
    assert theirs["config"] == ours["config"]
    assert theirs["partitioner"] == "murmur2"
    assert theirs["records"] == 200
    text = (keyed.directory / "topics/new/topic.json").read_text()
    assert json.loads(text)["name"] == "new"
    assert "filling" not in text


def test_a_group_gets_in_the_rehashed_topic_all_that_it_had_not_read(keyed):
    assert len(records(keyed, "t", "-g", "some", "-n", 70)) == 70
    assert len(records(keyed, "t", "-g", "all")) == 200
    unread = [content(record) for record in records(keyed, "t", "-o", "group:some")]
    assert len(unread) == 130
    found = document(keyed, "topics", "clone", "t", "new", "--rehash", "-p", 4, "--groups")
    assert [(row["group"], row["problem"]) for row in found["groups"]] == [("all", None), ("some", None)]
    got = [content(record) for record in records(keyed, "new", "-g", "some")]
    assert all(record in got for record in unread)
    assert records(keyed, "new", "-g", "all") == []
    assert [row["topic"] for row in document(keyed, "groups", "describe", "all")[0]["offsets"]].count("new") == 4


def test_a_groups_members_may_live_while_it_is_taken_along(keyed):
    with keyed.start("consume", "t", "-g", "live", "-F") as member:
        assert member.stdout.readline()
        found = document(keyed, "topics", "clone", "t", "new", "--rehash", "-p", 2, "--groups")
        assert [(row["group"], row["problem"]) for row in found["groups"]] in ([("live", None)], [])
        member.terminate()
        member.wait(60)


def test_a_group_that_cannot_be_read_is_named_and_the_topic_is_made(keyed):
    records(keyed, "t", "-g", "bad", "-n", 5)
    records(keyed, "t", "-g", "good", "-n", 5)
    (claims,) = (keyed.directory / "groups/bad/claims").iterdir()
    for claim in claims.iterdir():
        claim.write_bytes(bytes(claim.stat().st_size))
    done = keyed("topics", "clone", "t", "new", "--rehash", "-p", 2, "--groups")
    assert done.status == 1
    assert "mk: group bad has no offsets in new" in done.err
    assert "mk: group good goes on at" in done.err
    assert len(records(keyed, "new")) == 200


def test_a_topic_of_that_name_made_meanwhile_stays_and_nothing_is_left_of_ours(keyed):
    other = keyed.directory.parent / "script.py"
    other.write_text(
        "import sys, mk, mk.errors\n"
        "from mk.storage.filling_topic import FillingTopic\n"
        "finish = FillingTopic.finish\n"
        "def late(self, fields):\n"
        "    with mk.connect(sys.argv[1]) as other: other.create_topic('new')\n"
        "    finish(self, fields)\n"
        "FillingTopic.finish = late\n"
        "with mk.connect(sys.argv[1]) as cluster:\n"
        "    try: cluster.rehash_topic('t', 'new', partitions=2)\n"
        "    except mk.errors.TopicExistsError: print('refused')\n"
    )
    done = keyed.shell(f"python {other} {keyed.directory}")
    assert done.out == b"refused\n", done
    assert sorted(os.listdir(keyed.directory / "topics")) == ["new", "t"]
    assert records(keyed, "new") == []
    assert len([name for name in os.listdir(keyed.directory / "locks") if len(name) == 32]) == 2


def filling(mk, wanted):
    """Leave what a killed rehash to `wanted` leaves, and return its lock file."""
    mk.ok("topics", "create", "half", "-p", 2)
    topic_id = json.loads((mk.directory / "topics/half/topic.json").read_text())["topic_id"]
    script = (
        "import sys; from mk.storage import flat_json\n"
        "path = sys.argv[1] + '/topics/half/topic.json'\n"
        "fields = flat_json.decode(open(path, 'rb').read(), path)\n"
        "fields.pop('format')\n"
        f"open(path, 'wb').write(flat_json.encode({{**fields, 'filling_for': {wanted!r}}}))\n"
    )
    path = mk.directory.parent / "mark.py"
    path.write_text(script)
    assert mk.shell(f"python {path} {mk.directory}").status == 0
    (mk.directory / "topics/half").rename(mk.directory / f"topics/.filling-{topic_id}")
    lock = mk.directory / f"locks/{topic_id}/filling"
    lock.touch(0o600)
    return lock


def test_what_a_killed_rehash_left_goes_with_the_next_change_and_nobody_sees_it_before(keyed):
    filling(keyed, "new")
    assert document(keyed, "topics")[0]["topic"] == "t"
    assert len(document(keyed, "topics")) == 1
    assert "1 broken off" in keyed("topics", "clean").err
    filling(keyed, "new")
    keyed.ok("topics", "clone", "t", "new", "--rehash", "-p", 2)
    assert sorted(os.listdir(keyed.directory / "topics")) == ["new", "t"]


def test_two_that_make_the_same_topic_exclude_each_other_and_others_go_on(keyed):
    lock = filling(keyed, "New")
    with open(lock, "r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = keyed("topics", "clone", "t", "new", "--rehash", "-p", 2)
        assert done.status == 75
        assert "is just being made by another process" in done.err
        keyed.ok("topics", "clone", "t", "other", "--rehash", "-p", 2)
        keyed.ok("topics", "clean")
        assert lock.exists()
    assert [row["topic"] for row in document(keyed, "topics")] == ["other", "t"]
    keyed.ok("topics", "clone", "t", "new", "--rehash", "-p", 2)
    assert not lock.exists()


def test_a_damaged_original_is_not_rehashed_in_part(keyed):
    segment = sorted((keyed.directory / "topics/t/0").glob("*.log"))[1]
    data = bytearray(segment.read_bytes())
    data[300] ^= 1
    segment.write_bytes(data)
    done = keyed("topics", "clone", "t", "new", "--rehash", "-p", 2)
    assert done.status == 65
    assert os.listdir(keyed.directory / "topics") == ["t"]
