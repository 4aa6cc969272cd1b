"""`mk topics` end to end: list, create, describe, delete, offsets, as text and as JSON."""

import json
import os
import re

import pytest
from running import KafkaMk, read_to_end, read_until

pytestmark = pytest.mark.both_engines


def table(text):
    """Return the rows of a table as dicts; columns are told apart by two spaces or more."""
    headings, *rows = [re.split(r" {2,}", line.strip()) for line in text.decode().splitlines()]
    return [dict(zip(headings, row, strict=True)) for row in rows]


@pytest.fixture
def some(mk):
    # Which a topic of Kafka does not keep.
    partitioner = () if isinstance(mk, KafkaMk) else ("-c", "partitioner=murmur2")
    mk.ok("topics", "create", "orders", "-p", 2, "-c", "max.message.bytes=1000", *partitioner)
    mk.ok("produce", "orders", "-p", 1, *"abc")
    mk.ok("topics", "create", "empty")
    return mk


# Listing.


def test_list(some):
    rows = table(some.ok("topics"))
    assert [row["TOPIC"] for row in rows] == ["empty", "orders"]
    assert (rows[1]["PARTITIONS"], rows[1]["RECORDS"]) == ("2", "3")
    assert some.ok("topics", "list") == some.ok("topics")


@pytest.mark.directory_only("it looks at the files of the log")
def test_the_list_as_json_says_the_same(some):
    documents = json.loads(some.ok("topics", "--json"))
    assert json.loads(some.ok("topics", "list", "--json")) == documents
    assert json.loads(some.ok("--json", "topics")) == documents
    empty, orders = documents
    leader = json.loads((some.directory / "mk.json").read_text())["directory_id"]
    here = {"leads": True, "leader": leader}
    assert empty == {"topic": "empty", "partitions": 1, "records": 0, "size_bytes": 0, "last_write_ms": None, **here}
    assert (orders["topic"], orders["partitions"], orders["records"]) == ("orders", 2, 3)
    assert orders["size_bytes"] == sum(path.stat().st_size for path in some.segments("orders", 1))
    for row, document in zip(table(some.ok("topics")), documents, strict=True):
        assert row["TOPIC"] == document["topic"]
        assert row["RECORDS"] == str(document["records"])


def test_an_empty_list_is_no_error(mk):
    mk.ok("topics", "create", "t")
    mk.ok("topics", "delete", "t", "--yes")
    done = mk("topics")
    assert (done.status, done.err) == (0, "")
    assert json.loads(mk.ok("topics", "--json")) == []


@pytest.mark.directory_only("it looks at the files of the log")
def test_without_a_log_directory(mk):
    for words in (
        ["topics"],
        ["topics", "describe", "t"],
        ["topics", "offsets", "t"],
        ["topics", "delete", "t", "--yes"],
    ):
        done = mk(*words)
        assert (done.status, done.out) == (66, b"")
        assert str(mk.directory) in done.err
    assert not mk.directory.exists()


def test_nothing_is_cut_off_a_terminal(mk):
    name = "x" * 200
    mk.ok("topics", "create", name)
    out = mk.ok("topics", env={"COLUMNS": "20", "TERM": "xterm"})
    assert name.encode() in out
    assert len(out.splitlines()) == 2
    assert b"\x1b" not in out


@pytest.mark.parametrize(
    ("words", "env", "colored"),
    [([], {}, True), (["--no-color"], {}, False), ([], {"NO_COLOR": "1"}, False)],
)
def test_colors_on_a_terminal_only_and_only_if_wanted(some, terminal, words, env, colored):
    ours, theirs = terminal
    with some.start("topics", *words, stdout=theirs, env={"TERM": "xterm-256color", **env}) as process:
        os.close(theirs)
        shown = read_to_end(ours)
        assert process.wait(20) == 0
    assert b"orders" in shown
    # NO_COLOR forbids colors; bold is none.
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-9]", shown)) == colored


# Creating.


def test_create(mk):
    done = mk("topics", "create", "t", "-p", 3, "-c", "segment.bytes=1m", "-c", "compression.type=zstd")
    assert (done.status, done.out) == (0, b"")
    assert "created topic t" in done.err
    (document,) = json.loads(mk.ok("topics", "describe", "t", "--json"))
    assert document["overrides"] == {"compression.type": "zstd", "segment.bytes": 1 << 20}
    assert len(document["partitions"]) == 3


def test_create_as_json(mk):
    made = json.loads(mk.ok("topics", "create", "t", "--json"))
    assert made == {"topic": "t", "created": True, "differences": []}
    again = json.loads(mk.ok("topics", "create", "t", "--json", "--if-not-exists"))
    assert again == {"topic": "t", "created": False, "differences": []}


def test_create_what_is_there(mk):
    mk.ok("topics", "create", "t", "-p", 3)
    done = mk("topics", "create", "t", "-p", 5)
    assert done.status == 73
    assert "exists already" in done.err
    assert "--if-not-exists" in done.err
    mk.ok("topics", "create", "t", "-p", 5, "--if-not-exists")
    assert len(mk.offsets("t")) == 3


@pytest.mark.directory_only("to Kafka they are two names")
def test_create_with_a_name_that_differs_only_in_case(mk):
    mk.ok("topics", "create", "orders")
    for words in ([], ["--if-not-exists"]):
        done = mk("topics", "create", "ORDERS", *words)
        assert done.status == 73
        assert "orders" in done.err
    assert [row["topic"] for row in json.loads(mk.ok("topics", "--json"))] == ["orders"]


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize(
    "setting",
    [
        "nope=1",
        "segment.bytes=1",
        "segment.bytes=-1",
        "segment.bytes=x",
        "segment.bytes=9999999999999",
        "segment.bytes=",
        "compression.type=snappy",
        "partitioner=md5",
        "max.message.bytes=0",
        "flush.ms=1.5.2",
        "flush.ms=99999999999999999999999999999999",
    ],
)
def test_settings_that_cannot_be(mk, setting):
    done = mk("topics", "create", "t", "-c", setting)
    assert done.status == 78, done
    assert setting.partition("=")[0] in done.err
    assert not mk.directory.exists()


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize("words", [["t", "-c", "nope"], ["t", "-p", "0"], ["t", "-p", "4097"], ["t", "-p", "x"], []])
def test_create_with_a_wrong_command_line(mk, words):
    assert mk("topics", "create", *words).status == 2
    assert not mk.directory.exists()


@pytest.mark.directory_only("it looks at the files of the log")
def test_what_is_in_the_way_of_a_name_is_left_alone(mk, tmp_path):
    mk.ok("topics", "create", "t")
    outside = tmp_path / "outside"
    outside.mkdir()
    topics = mk.directory / "topics"
    (topics / "link").symlink_to(outside)
    (topics / "file").write_text("mine")
    os.mkfifo(topics / "fifo")
    before = sorted(os.listdir(topics))
    for name in ("link", "file", "fifo"):
        for words in (["topics", "create", name], ["produce", name, "v"]):
            done = mk(*words)
            assert done.status == 73
            assert f"topics/{name} is in the way" in done.err
        assert mk("consume", name).status == 66
        assert mk("topics", "delete", name, "--yes").status == 66
    assert sorted(os.listdir(topics)) == before
    assert os.listdir(outside) == []
    assert [row["topic"] for row in json.loads(mk.ok("topics", "--json"))] == ["t"]


# Describing.


@pytest.mark.directory_only("a topic of Kafka keeps no partitioner")
def test_describe(some):
    text = some.ok("topics", "describe", "orders").decode()
    (document,) = json.loads(some.ok("topics", "describe", "orders", "--json"))
    assert document["topic"] == "orders"
    assert document["partitioner"] == "murmur2"
    assert document["records"] == 3
    assert document["overrides"] == {"max.message.bytes": 1000}
    assert document["config"]["segment.bytes"] == 128 << 20
    assert [partition["high_watermark"] for partition in document["partitions"]] == [0, 3]
    assert document["topic_id"] in text
    fields, settings, partitions = text.split("\n\n")
    sources = {row["KEY"]: (row["VALUE"], row["SOURCE"]) for row in table(settings.encode())}
    assert sources["max.message.bytes"] == ("1000", "topic")
    assert sources["segment.bytes"] == ("134217728", "default")
    assert sources.keys() == document["config"].keys()
    rows = table(partitions.encode())
    for row, partition in zip(rows, document["partitions"], strict=True):
        assert row["PARTITION"] == str(partition["partition"])
        assert row["HIGH_WATERMARK"] == str(partition["high_watermark"])


def test_describe_several(some):
    documents = json.loads(some.ok("topics", "describe", "orders", "empty", "--json"))
    assert [document["topic"] for document in documents] == ["orders", "empty"]
    assert some.ok("topics", "describe", "orders", "empty").count(b"topic_id") == 2


@pytest.mark.directory_only("a topic of Kafka keeps no partitioner")
def test_describe_what_is_not_there(some):
    done = some("topics", "describe", "nope", "orders")
    assert done.status == 66
    assert b"murmur2" in done.out, "the others are shown all the same"
    done = some("topics", "describe", "nope", "--json")
    assert json.loads(done.err)["error"] == "NoSuchTopicError"


@pytest.mark.directory_only("it looks at the files of the log")
def test_describe_counts_segments(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096")
    for _ in range(4):
        mk.ok("produce", "t", "x" * 3000)
    (document,) = json.loads(mk.ok("topics", "describe", "t", "--json"))
    assert document["partitions"][0]["segments"] == len(mk.segments("t")) == 4


# Offsets.


def test_offsets(some):
    assert table(some.ok("topics", "offsets", "orders")) == [
        {"PARTITION": "0", "LOG_START_OFFSET": "0", "HIGH_WATERMARK": "0", "LEADER_EPOCH": "0"},
        {"PARTITION": "1", "LOG_START_OFFSET": "0", "HIGH_WATERMARK": "3", "LEADER_EPOCH": "0"},
    ]
    assert json.loads(some.ok("topics", "offsets", "orders", "--json", "-p", 1)) == [
        {"partition": 1, "log_start_offset": 0, "high_watermark": 3, "leader_epoch": 0}
    ]
    assert some("topics", "offsets", "orders", "-p", 2).status == 66
    assert some("topics", "offsets", "nope").status == 66


# Deleting.


@pytest.mark.directory_only("it looks at the files of the log")
def test_delete(some):
    done = some("topics", "delete", "orders", "--yes")
    assert (done.status, done.out) == (0, b"")
    assert "deletes orders: 3 records" in done.err
    assert some("consume", "orders").status == 66
    assert sorted(os.listdir(some.directory / "topics")) == ["empty"]
    assert len(list((some.directory / "locks").glob("*/*"))) == 1
    some.ok("produce", "orders", "new")
    assert some.ok("consume", "orders") == b"new\n"


def test_delete_needs_yes_when_nobody_can_be_asked(some):
    done = some("topics", "delete", "orders")
    assert done.status == 2
    assert "--yes" in done.err
    assert some.shell("mk topics delete orders <&-").status == 2
    assert some.offsets("orders") == [(0, 0), (0, 3)]


def test_delete_only_to_look(some):
    done = some("topics", "delete", "orders", "--dry-run")
    assert done.status == 0
    assert "deletes orders: 3 records" in done.err
    assert json.loads(some.ok("topics", "delete", "orders", "empty", "--dry-run", "--json"))[0]["records"] == 3
    assert some.offsets("orders") == [(0, 0), (0, 3)]


def test_delete_as_json(some):
    (row,) = json.loads(some.ok("topics", "delete", "orders", "--yes", "--json"))
    assert (row["topic"], row["records"]) == ("orders", 3)


def test_delete_what_is_not_there(some):
    done = some("topics", "delete", "nope", "empty", "--yes")
    assert done.status == 66
    assert some.offsets("empty") == [(0, 0)], "nothing is deleted when something is wrong with the plan"
    some.ok("topics", "delete", "nope", "empty", "--yes", "--if-exists")
    assert some("topics", "offsets", "empty").status == 66
    some.ok("topics", "delete", "nope", "--if-exists")
    assert json.loads(some.ok("topics", "delete", "nope", "--if-exists", "--json")) == []


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"yes\n", 0), (b"n\n", 2), (b"\n", 2), (b"\x04", 2)])
def test_delete_asks_on_a_terminal(some, terminal, answer, status):
    ours, theirs = terminal
    with some.start("topics", "delete", "orders", stdin=theirs) as process:
        asked = read_until(process.stderr.fileno(), b"[y/N]")
        assert b"deletes orders: 3 records" in asked
        os.write(ours, answer)
        assert process.wait(20) == status
    assert (some("topics", "offsets", "orders").status == 0) == (status == 2)


@pytest.mark.directory_only("it looks at the files of the log")
def test_deleting_a_damaged_topic_works(some):
    """Whoever has given up on a topic must be able to get rid of it."""
    state = some.partition("orders", 1) / "state"
    state.write_bytes(b"\xff" * state.stat().st_size)
    some.segments("orders", 0)[0].unlink()
    done = some("topics", "delete", "orders", "--yes")
    assert done.status == 0, done
    assert sorted(os.listdir(some.directory / "topics")) == ["empty"]


@pytest.mark.directory_only("it looks at the files of the log")
def test_one_damaged_topic_does_not_hide_the_others(some):
    state = some.partition("empty") / "state"
    state.write_bytes(b"\xff" * state.stat().st_size)
    done = some("topics")
    assert done.status == 65
    assert "empty/0/state" in done.err
    assert [row["TOPIC"] for row in table(done.out)] == ["orders"]
    done = some("topics", "--json")
    assert done.status == 65
    assert [row["topic"] for row in json.loads(done.out)] == ["orders"]


@pytest.mark.directory_only("it looks at the files of the log")
def test_what_a_killed_create_or_delete_left_is_swept_away(some):
    topics = some.directory / "topics"
    (topics / (".tmp-" + "0" * 32)).mkdir()
    (topics / (".deleted-" + "1" * 32) / "0").mkdir(parents=True)
    (some.directory / "locks" / ("1" * 32)).mkdir()
    some.ok("topics", "create", "t")
    assert sorted(os.listdir(topics)) == ["empty", "orders", "t"]
    assert len([path for path in (some.directory / "locks").iterdir() if path.is_dir()]) == 3


def test_output_that_cannot_be_written(some):
    for words in ("topics", "topics --json", "topics describe orders", "topics offsets orders"):
        for redirect in (">&-", "> /dev/full"):
            done = some.shell(f"mk {words} {redirect}")
            assert done.status == 74
            assert "standard input or output failed" in done.err
    assert some.shell("mk topics | true; status").status in (0, 141)
