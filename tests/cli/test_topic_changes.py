"""`mk topics` alter, rename and seal end to end, and what running producers and readers see of them."""

import json
import os
import re

import pytest
from running import read_until

pytestmark = pytest.mark.both_engines


def described(mk, topic="t"):
    (document,) = json.loads(mk.ok("topics", "describe", topic, "--json"))
    return document


def overrides(mk, topic="t"):
    return described(mk, topic)["overrides"]


# Altering.


@pytest.mark.directory_only("Kafka has no segments that small")
def test_alter_shows_what_changes_and_changes_it(mk):
    mk.ok("topics", "create", "t", "-c", "flush.ms=5", "-c", "segment.bytes=8192")
    words = ("topics", "alter", "t", "-c", "segment.bytes=1M", "--unset", "flush.ms", "-c", "compression.type=zstd")
    looked = mk(*words, "--dry-run")
    assert (looked.status, looked.out) == (0, b"")
    assert overrides(mk) == {"flush.ms": 5, "segment.bytes": 8192}
    done = mk(*words)
    assert (done.status, done.out, done.err) == (0, b"", looked.err)
    assert done.err.splitlines() == [
        "mk: alters t: compression.type none (default) -> zstd",
        "mk: alters t: segment.bytes 8192 -> 1048576",
        "mk: alters t: flush.ms 5 -> 1000 (default)",
    ]
    assert overrides(mk) == {"compression.type": "zstd", "segment.bytes": 1 << 20}
    assert mk("topics", "alter", "t", "-c", "segment.bytes=1M", "--unset", "flush.ms").err.endswith(
        "like that already\n"
    )


@pytest.mark.directory_only("Kafka has defaults of its own")
def test_alter_as_json(mk):
    mk.ok("topics", "create", "t")
    words = ("topics", "alter", "t", "-c", "flush.ms=7", "-p", 3, "--json")
    plan = json.loads(mk.ok(*words, "--dry-run"))
    assert plan == {
        "topic": "t",
        "settings": [
            {"setting": "flush.ms", "old": 1000, "old_source": "default", "new": 7, "new_source": "topic"},
        ],
        "partitions": {"old": 1, "new": 3},
        "holds_keyed_records": False,
        "altered": False,
    }
    assert json.loads(mk.ok(*words)) == {**plan, "altered": True}
    assert len(mk.offsets("t")) == 3


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "nothing to alter"),
        (["-c", "nope=1"], 78, "segment.bytes"),
        (["--unset", "nope"], 78, "segment.bytes"),
        (["-c", "segment.bytes=1"], 78, "segment.bytes"),
        (["-c", "partitioner=md5"], 78, "murmur2"),
        (["-c", "flush.ms=1", "--unset", "flush.ms"], 2, "exclude"),
        (["-p", "1"], 2, "cannot go from 2 partitions to 1"),
        (["-p", "5000"], 2, "4096"),
        (["-p", "0"], 2, "-p"),
    ],
)
def test_what_cannot_be_altered_is_refused_with_nothing_changed(mk, words, status, said):
    mk.ok("topics", "create", "t", "-p", 2)
    before = (mk.directory / "topics/t/topic.json").read_bytes()
    done = mk("topics", "alter", "t", *words)
    assert done.status == status, done
    assert said in done.err or said == "-p"
    assert (mk.directory / "topics/t/topic.json").read_bytes() == before


@pytest.mark.parametrize("more", [[], ["-p", 4], ["--dry-run"]])
def test_no_plan_is_shown_of_a_setting_that_there_is_not(mk, more):
    mk.ok("topics", "create", "t")
    done = mk("topics", "alter", "t", "-c", "retention.mss=1", *more)
    assert (done.status, done.out) == (78, b"") and done.err.startswith("mk: error: "), done
    made = mk("topics", "create", "new", "-c", "retention.mss=1", *more)
    assert (made.status, made.out) == (78, b"") and made.err.startswith("mk: error: "), made
    assert mk.offsets("t") == [(0, 0)] and mk.ok("topics", "-q") == b"t\n"


@pytest.mark.directory_only("a topic of Kafka keeps no partitioner")
@pytest.mark.parametrize("change", [["--partitions", "4"], ["-c", "partitioner=murmur2"]])
@pytest.mark.parametrize("how", [["-k", "u1", "v"], ["-K", ":"]])
def test_where_keys_belong_changes_only_with_yes(mk, change, how):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "without")
    mk.ok("topics", "alter", "t", *change, "--dry-run")
    mk.ok("produce", "t", *how, stdin=b"a:1\nb:2\n")
    mk.ok("produce", "t", "without")
    done = mk("topics", "alter", "t", *change)
    assert done.status == 2
    assert "--yes" in done.err and "records with keys" in done.err
    assert described(mk)["partitioner"] == "crc32" and len(mk.offsets("t")) == 2
    looked = mk("topics", "alter", "t", *change, "--dry-run")
    assert looked.status == 0 and "needs --yes" in looked.err
    # What moves no key needs none.
    mk.ok("topics", "alter", "t", "-c", "flush.ms=9")
    mk.ok("topics", "alter", "t", *change, "--yes")
    assert described(mk)["partitioner"] == "murmur2" or len(mk.offsets("t")) == 4


def test_without_keys_partitions_can_be_added(mk):
    mk.ok("produce", "t", stdin=b"".join(b"%d\n" % number for number in range(5000)))
    mk.ok("topics", "alter", "t", "-p", 3)
    for partition in range(3):
        mk.ok("produce", "t", "-p", partition, "v")
    assert [end for _, end in mk.offsets("t")] == [5001, 1, 1]


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"n\n", 2)])
def test_alter_asks_on_a_terminal(mk, terminal, answer, status):
    mk.ok("produce", "t", "-k", "k", "v")
    ours, theirs = terminal
    with mk.start("topics", "alter", "t", "-p", 2, stdin=theirs) as process:
        asked = read_until(process.stderr.fileno(), b"[y/N]")
        assert b"partitions 1 -> 2" in asked and b"records with keys" in asked
        os.write(ours, answer)
        assert process.wait(20) == status
    assert len(mk.offsets("t")) == (2 if status == 0 else 1)


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_running_producer_goes_by_what_was_altered_from_its_next_append_on(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=100")
    with mk.start("produce", "t", "-v", "-K", ":") as process:

        def send(line, wanted):
            process.stdin.write(line)
            return read_until(process.stderr.fileno(), wanted)

        send(b"k:one\n", b"t 0 0 0\n")
        mk.ok("topics", "alter", "t", "-c", "compression.type=zstd", "-c", "max.message.bytes=1000", "-p", 4, "--yes")
        # This append still goes where the key belonged when it was read, and learns of the change.
        send(b"k:" + b"x" * 90 + b"\n", b"t 0 1 1\n")
        (which,) = json.loads(mk.ok("topics", "which", "t", "k", "--json"))
        assert which["partition"] != 0
        send(b"k:" + b"y" * 900 + b"\n", b"t %d 0 0\n" % which["partition"])
        mk.ok("topics", "alter", "t", "-c", "max.message.bytes=50")
        send(b"k:z\n", b"t %d 1 1\n" % which["partition"])
        assert b"max.message.bytes (50)" in send(b"k:" + b"z" * 60 + b"\n", b"fix:")
        assert process.wait(20) == 65
    codecs = [batch.codec for batch in mk.batches("t", which["partition"])]
    assert codecs[0] != 0, "the topic's new compression is used"


# Renaming.


@pytest.mark.directory_only("it looks at the files of the log")
def test_rename_keeps_everything_but_the_name(mk):
    mk.ok("topics", "create", "t", "-p", 2, "-c", "flush.ms=5")
    mk.ok("produce", "t", "-p", 1, "a", "b")
    before = described(mk)
    looked = mk("topics", "rename", "t", "u", "--dry-run")
    assert (looked.status, looked.err) == (0, "mk: renames t to u\n")
    assert json.loads(mk.ok("topics", "rename", "t", "u", "--json")) == {"topic": "t", "new_name": "u", "renamed": True}
    assert mk.ok("topics", "-q") == b"u\n"
    assert json.loads((mk.directory / "topics/u/topic.json").read_text())["name"] == "u"
    after = described(mk, "u")
    for key in ("topic_id", "created", "overrides", "records"):
        assert after[key] == before[key]
    mk.ok("produce", "u", "-p", 1, "c")
    assert mk.ok("consume", "u") == b"a\nb\nc\n"
    assert mk("consume", "t").status == 66


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_name_that_is_taken_or_cannot_be_is_refused(mk):
    for name in ("t", "other", "UPPER"):
        mk.ok("topics", "create", name)
    (mk.directory / "topics/file").write_text("mine")
    for new, status in (("other", 73), ("upper", 73), ("file", 73), ("../x", 2), (".x", 2), ("t", 2), ("x" * 201, 2)):
        done = mk("topics", "rename", "t", new)
        assert done.status == status, done
        assert "exists" in done.err or status == 2 or "in the way" in done.err
        assert "choose another name" in done.err and "--if-not-exists" not in done.err
    assert mk("topics", "rename", "nope", "u").status == 66
    assert mk.ok("topics", "-q") == b"UPPER\nother\nt\n"
    # Only the case of its own name.
    mk.ok("topics", "rename", "t", "T")
    assert mk.ok("topics", "-q") == b"T\nUPPER\nother\n"


@pytest.mark.directory_only("Kafka renames no topics")
def test_a_producer_is_told_the_new_name_and_a_follower_reads_on(mk):
    mk.ok("produce", "t", "one")
    with mk.start("consume", "t", "-F") as reader, mk.start("produce", "t", "-v") as writer:
        assert read_until(reader.stdout.fileno(), b"one\n")
        writer.stdin.write(b"two\n")
        read_until(writer.stderr.fileno(), b"t 0 1 1\n")
        read_until(reader.stdout.fileno(), b"two\n")
        mk.ok("topics", "rename", "t", "u")
        mk.ok("produce", "u", "three")
        assert read_until(reader.stdout.fileno(), b"three\n")
        mk.ok("topics", "alter", "u", "-c", "flush.ms=5")
        mk.ok("produce", "u", "four")
        assert read_until(reader.stdout.fileno(), b"four\n")
        writer.stdin.write(b"lost\n")
        writer.stdin.close()
        told = read_until(writer.stderr.fileno(), b"fix:")
        assert writer.wait(20) == 66
        assert b"renamed, to u" in told and b"mk: 1 record stored" in told
    assert mk.ok("consume", "u") == b"one\ntwo\nthree\nfour\n"


# Sealing.


@pytest.mark.directory_only("Kafka seals no topics")
def test_a_sealed_topic_takes_no_records_and_gives_all_it_has(mk):
    mk.ok("produce", "t", "a")
    looked = mk("topics", "seal", "t", "--dry-run")
    assert looked.status == 0 and "seals t" in looked.err
    mk.ok("produce", "t", "b")
    mk.ok("topics", "seal", "t")
    for words in (["x"], [], ["x", "--acks", "0"]):
        done = mk("produce", "t", *words, stdin=b"x\n")
        assert done.status == 77, done
        assert "t is sealed" in done.err and "mk topics seal t --undo" in done.err
    assert json.loads(mk("produce", "t", "x", "--json").err.splitlines()[-1])["error"] == "TopicSealedError"
    assert mk.ok("consume", "t") == b"a\nb\n"
    assert b"sealed" in mk.ok("topics", "describe", "t", "-p")
    assert described(mk)["sealed"] and described(mk)["sealed_by"]
    assert "sealed already" in mk("topics", "seal", "t").err
    mk.ok("topics", "rename", "t", "u")
    mk.ok("topics", "alter", "u", "-c", "flush.ms=5")
    assert mk("produce", "u", "x").status == 77
    mk.ok("topics", "delete", "u", "--yes")


@pytest.mark.directory_only("Kafka seals no topics")
def test_a_seal_can_be_undone(mk):
    mk.ok("produce", "t", "a")
    sealed = json.loads(mk.ok("topics", "seal", "t", "--json"))
    assert sealed == {"topic": "t", "sealed": True, "changed": True}
    looked = json.loads(mk.ok("topics", "seal", "t", "--undo", "--dry-run", "--json"))
    assert looked == {"topic": "t", "sealed": True, "changed": False}
    undone = json.loads(mk.ok("topics", "seal", "t", "--undo", "--json"))
    assert undone == {"topic": "t", "sealed": False, "changed": True}
    assert "not sealed" in mk("topics", "seal", "t", "--undo").err
    mk.ok("produce", "t", "b")
    document = described(mk)
    assert (document["sealed"], document["sealed_by"]) == (None, None)


@pytest.mark.directory_only("Kafka seals no topics")
def test_a_running_producer_is_told_of_the_seal(mk):
    with mk.start("produce", "t", "-v") as process:
        process.stdin.write(b"one\n")
        read_until(process.stderr.fileno(), b"t 0 0 0\n")
        mk.ok("topics", "seal", "t")
        process.stdin.write(b"two\n")
        told = read_until(process.stderr.fileno(), b"fix:")
        assert process.wait(20) == 77
        assert b"is sealed" in told and b"1 record stored" in told
    assert mk.ok("consume", "t") == b"one\n"


# What they share.


@pytest.mark.directory_only("Kafka seals no topics")
def test_if_exists_makes_a_missing_topic_no_error(mk):
    mk.ok("topics", "create", "other")
    for words in (["alter", "t", "-p", 2], ["rename", "t", "u"], ["seal", "t"], ["seal", "t", "--undo"]):
        assert mk("topics", *words).status == 66
        done = mk("topics", *words, "--if-exists")
        assert done.status == 0 and "no topic t" in done.err
        assert json.loads(mk.ok("topics", *words, "--if-exists", "--json"))["topic"] == "t"
        assert mk("topics", *words, "--if-exists", "-q").err == ""


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_change_waits_for_an_append_and_not_for_ever(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    lock = next((mk.directory / "locks").glob("*/1"))
    for words in (["rename", "t", "u"], ["seal", "t"], ["delete", "t", "--yes"]):
        done = mk("topics", *words, "--lock-wait", "50ms", prefix=("flock", str(lock)))
        assert done.status == 75, done
        assert "partition 1 of t" in done.err
    # Settings need partition 0 alone.
    mk.ok("topics", "alter", "t", "-c", "flush.ms=5", "--lock-wait", "50ms", prefix=("flock", str(lock)))
    mk.ok("produce", "t", "-p", 1, "v")


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_damaged_partition_does_not_keep_a_topic_from_being_changed(mk):
    mk.ok("produce", "t", "-k", "k", "v")
    state = mk.partition("t") / "state"
    state.write_bytes(b"\xff" * state.stat().st_size)
    mk.ok("topics", "alter", "t", "-c", "flush.ms=5", "-p", 2, "--yes")
    mk.ok("topics", "seal", "t")
    mk.ok("topics", "rename", "t", "u")


@pytest.mark.directory_only("it looks at the files of the log")
def test_what_a_killed_change_left_is_swept_away(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    topic = mk.directory / "topics/t"
    (topic / "2").mkdir()
    (topic / "2" / "junk").write_text("x")
    (topic / ".tmp-0123456789abcdef").write_text("x")
    mk.ok("topics", "alter", "t", "-p", 3)
    mk.ok("produce", "t", "-p", 2, "v")
    assert sorted(os.listdir(topic)) == ["0", "1", "2", "topic.json"]


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_topic_whose_topic_json_is_damaged_or_missing_can_be_deleted(mk):
    for damage in (lambda path: path.write_bytes(b"nonsense"), lambda path: path.unlink()):
        mk.ok("topics", "create", "t", "-p", 2)
        mk.ok("topics", "create", "other")
        damage(mk.directory / "topics/t/topic.json")
        done = mk("topics", "delete", "t", "--yes")
        assert done.status == 0, done
        assert "t, which is damaged" in done.err
        assert sorted(os.listdir(mk.directory / "topics")) == ["other"]
        assert len([path for path in (mk.directory / "locks").iterdir() if path.is_dir()]) == 1
        mk.ok("topics", "delete", "other", "--yes")


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize("how", ["missing", "a file", "a link"])
def test_a_partition_that_is_no_directory_is_damage_and_its_topic_can_be_deleted(mk, tmp_path, how):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 1, "v")
    partition = mk.partition("t")
    partition.rename(tmp_path / "away")
    if how == "a file":
        partition.write_text("")
    elif how == "a link":
        partition.symlink_to(tmp_path / "away")
    for words in (
        [],
        ["describe", "t"],
        ["offsets", "t"],
        ["alter", "t", "-p", 3],
        ["clean"],
        ["verify"],
        ["dump", "t"],
    ):
        done = mk("topics", *words)
        assert done.status == 65, done
        assert "topics/t/0" in done.err + done.out.decode(), done
    assert mk.ok("consume", "t", "-p", 1) == b"v\n"
    mk.ok("topics", "delete", "t", "--yes")
    assert os.listdir(mk.directory / "topics") == []
    assert (tmp_path / "away" / "state").exists()


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_damaged_topic_is_left_alone_if_its_locks_cannot_be_told(mk):
    mk.ok("topics", "create", "t")
    mk.ok("topics", "create", "other")
    # A copy by hand has the locks of the original.
    mk.shell(f"cp -a {mk.directory}/topics/other {mk.directory}/topics/copy")
    (mk.directory / "topics/copy/topic.json").write_text("nonsense")
    done = mk("topics", "delete", "copy", "--yes")
    assert done.status == 65 and "those of other" in done.err, done
    state = mk.partition("t") / "state"
    state.write_bytes(b"\xff" * state.stat().st_size)
    (mk.directory / "topics/t/topic.json").write_text("nonsense")
    done = mk("topics", "delete", "t", "--yes")
    assert done.status == 65 and "nothing was changed" in done.err, done
    assert sorted(os.listdir(mk.directory / "topics")) == ["copy", "other", "t"]
    mk.ok("produce", "other", "v")


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_damaged_topic_is_deleted_only_with_its_append_locks(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    (mk.directory / "topics/t/topic.json").write_text("nonsense")
    lock = next((mk.directory / "locks").glob("*/1"))
    done = mk("topics", "delete", "t", "--yes", "--lock-wait", "50ms", prefix=("flock", str(lock)))
    assert done.status == 75 and "partition 1 of t" in done.err, done
    mk.ok("topics", "delete", "t", "--yes")


@pytest.mark.directory_only("it looks at the files of the log")
def test_help_has_examples(mk):
    for command in ("alter", "rename", "seal", "which", "get", "describe", "list", "create", "delete"):
        text = mk.ok("topics", command, "--help").decode()
        assert 2 <= len(re.findall(r"^  mk ", text.partition("Examples:")[2], re.MULTILINE)) <= 4
