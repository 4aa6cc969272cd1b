"""`mk topics` which and get end to end, describe by section, and topics found by regular expression."""

import json
import os
import re
import subprocess

import pytest
from running import Done, read_to_end

pytestmark = pytest.mark.both_engines


def rows(text):
    headings, *lines = [re.split(r" {2,}", line.strip()) for line in text.decode().splitlines()]
    return [dict(zip(headings, line, strict=True)) for line in lines]


# Which.


@pytest.mark.directory_only("a topic of Kafka keeps no partitioner")
@pytest.mark.parametrize("partitioner", ["crc32", "murmur2"])
def test_which_tells_where_produce_puts_a_key(mk, partitioner):
    mk.ok("topics", "create", "t", "-p", 7, "-c", f"partitioner={partitioner}")
    keys = [f"key{number}" for number in range(30)]
    for key in keys:
        mk.ok("produce", "t", "-k", key, "v") if key < "key2" else None
    found = {row["KEY"]: int(row["PARTITION"]) for row in rows(mk.ok("topics", "which", "t", *keys))}
    assert list(found) == keys and len(set(found.values())) > 3
    for line in mk.ok("consume", "t", "-J").splitlines():
        record = json.loads(line)
        assert found[record["key"]] == record["partition"]
    stdin = "".join(f"{key}\n" for key in keys).encode()
    assert mk.ok("topics", "which", "t", "-q", stdin=stdin) == b"".join(b"%d\n" % found[key] for key in keys)
    documents = json.loads(mk.ok("topics", "which", "t", "--json", stdin=stdin))
    assert documents == [{"key": key, "partition": found[key]} for key in keys]
    assert json.loads(mk.ok("topics", "which", "t", "--json", "-q", stdin=stdin)) == list(found.values())


def test_which_takes_any_bytes_for_a_key(mk):
    mk.ok("topics", "create", "t")
    keys = [b"\xff\xfe", b"", b"a\rb", b"c\r"]
    documents = json.loads(mk.ok("topics", "which", "t", "--json", stdin=b"\n".join(keys)))
    assert documents[0] == {"key_b64": "//4=", "partition": 0}
    assert [document.get("key") for document in documents[1:]] == ["", "a\rb", "c\r"]
    assert b"\\xff" in mk.ok("topics", "which", "t", stdin=keys[0])
    assert mk.ok("topics", "which", "t", stdin=b"") == b""
    assert mk("topics", "which", "nope", "k").status == 66


# Get.


@pytest.mark.directory_only("Kafka has no segments that small")
def test_get_prints_the_last_record_with_a_key(mk):
    mk.ok("topics", "create", "t", "-p", 3, "-c", "segment.bytes=4096")
    for number in range(6):
        mk.ok("produce", "t", "-K", ":", stdin=f"a:{number}\nb:{number}\n".encode() + b"c:" + b"x" * 2000 + b"\n")
    mk.ok("produce", "t", "-k", "single", "last\tvalue")
    assert mk.ok("topics", "get", "t", "a") == b"5\n"
    assert mk.ok("topics", "get", "t", "single") == b"last\tvalue\n"
    assert mk.ok("topics", "get", "t", "b", "-f", "kv") == b"b\t5\n"
    assert mk.ok("topics", "get", "t", "b", "-0") == b"5\0"
    assert mk.ok("topics", "get", "t", "b", "-f", "raw") == b"5"
    assert mk.ok("topics", "get", "t", "b", "-D", ";") == b"5;"
    record = json.loads(mk.ok("topics", "get", "t", "a", "-J"))
    consumed = [json.loads(line) for line in mk.ok("consume", "t", "-J").splitlines()]
    assert record == max((one for one in consumed if one["key"] == "a"), key=lambda one: one["offset"])
    assert json.loads(mk.ok("topics", "get", "t", "a", "--json")) == record


def test_get_tells_a_missing_key_from_a_deleted_one(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-k", "a", "1")
    missing = mk("topics", "get", "t", "b")
    assert (missing.status, missing.out) == (3, b"")
    assert "no record" in missing.err and "--all-partitions" in missing.err
    assert "--all-partitions" not in mk("topics", "get", "t", "b", "--all-partitions").err
    script = "import mk\nwith mk.connect() as c, c.producer('t') as p: p.send(None, key=b'a')"
    assert mk.shell(f'python -c "{script}"').status == 0
    deleted = mk("topics", "get", "t", "a")
    assert (deleted.status, deleted.out) == (3, b"")
    assert "tombstone" in deleted.err
    assert json.loads(mk("topics", "get", "t", "a", "--json").err)["error"] == "KeyDeletedError"
    mk.ok("produce", "t", "-k", "a", "2")
    assert mk.ok("topics", "get", "t", "a") == b"2\n"


def test_get_looks_elsewhere_when_told_to(mk):
    mk.ok("topics", "create", "t", "-p", 4)
    own = int(mk.ok("topics", "which", "t", "a", "-q"))
    other = (own + 1) % 4
    mk.ok("produce", "t", "-k", "a", "-p", other, "elsewhere")
    assert mk("topics", "get", "t", "a").status == 3
    assert mk.ok("topics", "get", "t", "a", "-p", other) == b"elsewhere\n"
    assert mk.ok("topics", "get", "t", "a", "-p", f"{own},{other}") == b"elsewhere\n"
    assert mk.ok("topics", "get", "t", "a", "--all-partitions") == b"elsewhere\n"
    mk.ok("produce", "t", "-k", "a", "home")
    assert mk.ok("topics", "get", "t", "a", "--all-partitions") == b"home\n"
    mk.ok("produce", "t", "-k", "a", "-p", other, "elsewhere again")
    assert mk.ok("topics", "get", "t", "a", "--all-partitions") == b"elsewhere again\n"
    assert mk.ok("topics", "get", "t", "a") == b"home\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["t", "k", "-p", "4"], 66),
        (["nope", "k"], 66),
        (["t", "k", "-p", "0", "--all-partitions"], 2),
        (["t", "k", "-0", "-D", ";"], 2),
        (["t", "k", "-f", "raw", "-0"], 2),
        (["t"], 2),
    ],
)
def test_get_what_cannot_be(mk, words, status):
    mk.ok("topics", "create", "t", "-p", 2)
    assert mk("topics", "get", *words).status == status


@pytest.mark.parametrize(
    ("key", "shown"), [("caf\u00e9", "'caf\u00e9'"), (b"\xff\n", r"'\xff\n'"), ("\x1b[0m", r"'\x1b[0m'")]
)
def test_get_says_which_key_it_did_not_find(mk, key, shown):
    mk.ok("topics", "create", "t")
    done = Done(subprocess.run([mk.program, "topics", "get", "t", key], env=mk.environment, capture_output=True))
    assert (done.status, done.err) == (3, f"mk: error: no record in topic t has the key {shown}\n")
    subprocess.run([mk.program, "produce", "t", "-Z", "-k", key, ""], env=mk.environment, check=True)
    done = Done(subprocess.run([mk.program, "topics", "get", "t", key], env=mk.environment, capture_output=True))
    assert done.status == 3 and f"the key {shown} was deleted" in done.err


def test_get_escapes_on_a_terminal_only(mk, terminal):
    mk.ok("produce", "t", "-k", "k", "\x1b[31mred")
    assert mk.ok("topics", "get", "t", "k") == b"\x1b[31mred\n"
    ours, theirs = terminal
    with mk.start("topics", "get", "t", "k", stdout=theirs) as process:
        os.close(theirs)
        assert b"\\x1b[31mred" in read_to_end(ours)
        assert process.wait(20) == 0


@pytest.mark.directory_only("it looks at the files of the log")
def test_get_names_damage_and_does_not_pass_over_it(mk):
    mk.ok("produce", "t", "-k", "a", "value")
    segment = mk.segments("t")[0]
    data = bytearray(segment.read_bytes())
    data[-3] ^= 1
    segment.write_bytes(data)
    done = mk("topics", "get", "t", "a")
    assert done.status == 65 and "offset 0" in done.err


# Describe, by section.


@pytest.fixture
def two(mk):
    mk.ok("topics", "create", "app-a", "-p", 2, "-c", "flush.ms=5")
    mk.ok("topics", "create", "app-b")
    mk.ok("topics", "create", "other")
    mk.ok("produce", "app-a", "-p", 1, *"abcdef")
    return mk


@pytest.mark.directory_only("it looks at the leader, which a directory is")
def test_sections_alone_and_together(two):
    summary = two.ok("topics", "describe", "app-a", "-s")
    configs = two.ok("topics", "describe", "app-a", "-c")
    partitions = two.ok("topics", "describe", "app-a", "-p")
    assert {row["KEY"]: row["SOURCE"] for row in rows(configs)}["flush.ms"] == "topic"
    everything = two.ok("topics", "describe", "app-a")
    assert everything == two.ok("topics", "describe", "app-a", "-a") == two.ok("topics", "describe", "app-a", "-scp")
    assert [part.split(b"\n")[0].split()[0] for part in everything.split(b"\n\n")] == [b"topic", b"KEY", b"PARTITION"]
    assert b"this directory" in summary and b"created" in summary
    first, second = rows(partitions)
    assert (first["RECORDS"], second["RECORDS"], second["STATE"], second["LEADER"]) == ("0", "6", "ok", "this")
    assert second["RECORDS_PER_S_1M"] == "0.1"
    assert not any(" " in heading for heading in second)


@pytest.mark.directory_only("it looks at the files of the log")
def test_sections_as_json(two):
    (document,) = json.loads(two.ok("topics", "describe", "app-a", "--json", "-s"))
    assert "partitions" not in document and "config" not in document
    assert document["records"] == 6 and document["created"] and document["sealed"] is None
    assert document["records_per_s_1m"] == 0.1
    (document,) = json.loads(two.ok("topics", "describe", "app-a", "--json", "-p"))
    assert set(document) == {"topic", "topic_id", "partitions"}
    segment = two.segments("app-a", 1)[0]
    assert document["partitions"][1]["bytes_per_s_1h"] == round(segment.stat().st_size / 3600, 3)
    (document,) = json.loads(two.ok("topics", "describe", "app-a", "--json", "-c"))
    assert document["overrides"] == {"flush.ms": 5}


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_failed_partition_is_marked(two):
    (two.partition("app-a", 1) / "FAILED").write_text("")
    assert [row["STATE"] for row in rows(two.ok("topics", "describe", "app-a", "-p"))] == ["ok", "FAILED"]
    two.ok("topics", "seal", "app-a")
    assert [row["STATE"] for row in rows(two.ok("topics", "describe", "app-a", "-p"))] == ["sealed", "FAILED,sealed"]


def test_records_of_another_time_count_where_they_were_dated(two):
    script = "import mk\nwith mk.connect() as c, c.producer('other') as p: p.send(b'v', timestamp_ms=1000)"
    assert two.shell(f'python -c "{script}"').status == 0
    (document,) = json.loads(two.ok("topics", "describe", "other", "--json"))
    assert (document["records"], document["records_per_s_1h"]) == (1, 0)


# Regular expressions.


def test_topics_are_found_by_a_regular_expression(two):
    assert two.ok("topics", "-q") == b"app-a\napp-b\nother\n"
    assert two.ok("topics", "list", "-q", "-r", "^app") == b"app-a\napp-b\n"
    assert two.ok("topics", "-r", "b$|oth", "-q") == b"app-b\nother\n"
    assert json.loads(two.ok("topics", "-q", "--json", "-r", "other")) == ["other"]
    assert [row["topic"] for row in json.loads(two.ok("topics", "--json", "-r", "^app"))] == ["app-a", "app-b"]
    assert two.ok("topics", "-r", "nothing") == b""
    described = json.loads(two.ok("topics", "describe", "--json", "other", "-r", "^app|other"))
    assert [document["topic"] for document in described] == ["other", "app-a", "app-b"]
    for words in (["list"], ["describe"], ["delete", "--yes"]):
        done = two("topics", *words, "-r", "(")
        assert done.status == 2 and "regular expression" in done.err
    assert two("topics", "describe").status == two("topics", "delete", "--yes").status == 2


def test_delete_by_regular_expression_shows_the_plan_first(two):
    assert two("topics", "delete", "-r", "^app").status == 2
    looked = two("topics", "delete", "-r", "^app", "--dry-run")
    assert looked.status == 0
    assert "deletes app-a: 6 records" in looked.err and "deletes app-b: 0 records" in looked.err
    assert two.ok("topics", "-q") == b"app-a\napp-b\nother\n"
    two.ok("topics", "delete", "-r", "^app", "--yes")
    assert two.ok("topics", "-q") == b"other\n"
    done = two("topics", "delete", "-r", "^app")
    assert done.status == 0 and "nothing to delete" in done.err


@pytest.mark.directory_only("it looks at the files of the log")
def test_one_topic_that_cannot_be_deleted_does_not_keep_the_others(two):
    topic = json.loads((two.directory / "topics/app-b/topic.json").read_text())
    lock = two.directory / "locks" / topic["topic_id"] / "0"
    done = two("topics", "delete", "-r", ".", "--yes", "--lock-wait", "50ms", "--json", prefix=("flock", str(lock)))
    assert done.status == 75
    assert [row["topic"] for row in json.loads(done.out)] == ["app-a", "other"]
    assert two.ok("topics", "-q") == b"app-b\n"


# Creating.


@pytest.mark.directory_only("it looks at the files of the log")
def test_create_only_to_look(mk):
    words = ("topics", "create", "t", "-p", 3, "-c", "flush.ms=5", "--dry-run")
    done = mk(*words)
    assert done.status == 0
    assert done.err == "mk: creates t: 3 partitions, partitioner=crc32, flush.ms=5\n"
    document = json.loads(mk.ok(*words, "--json"))
    assert document["created"] is False and document["plan"]["partitions"] == 3
    assert not mk.directory.exists()
    mk.ok("topics", "create", "T")
    assert mk(*words).status == 73
    assert mk(*words, "--if-not-exists").status == 73
    assert mk.ok("topics", "-q") == b"T\n"
    (mk.directory / "topics/file").write_text("mine")
    assert "in the way" in mk("topics", "create", "file", "--dry-run").err
    assert mk("topics", "create", "u", "--dry-run", "--shared-group", "no-such-group").status == 2


@pytest.mark.directory_only("a topic of Kafka keeps no partitioner")
def test_create_what_is_there_says_what_is_different(mk):
    mk.ok("topics", "create", "t", "-p", 3, "-c", "flush.ms=5")
    words = ("topics", "create", "t", "--if-not-exists")
    assert mk(*words).err == "mk: there is already a topic t\n"
    assert mk(*words, "-p", 3, "-c", "flush.ms=5").err == "mk: there is already a topic t\n"
    done = mk(*words, "-p", 5, "-c", "flush.ms=6", "-c", "partitioner=murmur2")
    assert done.status == 0
    assert done.err.splitlines()[1:] == [
        "mk: it has partitions=3, not 5",
        "mk: it has partitioner=crc32, not murmur2",
        "mk: it has flush.ms=5, not 6",
    ]
    document = json.loads(mk.ok(*words, "-p", 5, "--json"))
    assert document["differences"] == [{"setting": "partitions", "wanted": 5, "there": 3}]


@pytest.mark.directory_only("brokers verify their own files")
def test_one_is_not_many(mk):
    mk.ok("produce", "t", "v")
    assert "deletes t: 1 record, " in mk("topics", "delete", "t", "--dry-run").err
    assert b", 1 record, no damage" in mk.ok("topics", "verify", "t")
    assert mk("topics", "trim", "t", "--to", "end", "--yes").err == "mk: removes from t 0: offsets 0 to 0, 1 record\n"
    done = mk("produce", "t", stdin=b"v\n" + b"x" * 17_000_000)
    assert done.status == 65 and "mk: 1 record stored" in done.err
