"""`mk topics clone` end to end: what a clone has, what becomes of it, and another number of partitions."""

import json

import pytest


def consumed(mk, topic, *words):
    return [json.loads(line) for line in mk.ok("consume", topic, "-J", *words).splitlines()]


def content(records):
    return [{key: value for key, value in record.items() if key != "topic"} for record in records]


@pytest.fixture
def filled(mk):
    """A topic of two partitions with keys, in several segments."""
    mk.ok("topics", "create", "t", "-p", "2", "-c", "segment.bytes=4096", "-c", "retention.ms=-1")
    for first in range(0, 300, 50):
        lines = "".join(f"k{number % 10}:{number}{'x' * 60}\n" for number in range(first, first + 50))
        mk.ok("produce", "t", "-K", ":", stdin=lines.encode())
    return mk


def test_a_clone_has_the_records_at_their_offsets_and_the_settings(filled):
    mk = filled
    result = mk("topics", "clone", "t", "u")
    assert result.status == 0
    assert result.out == b""
    assert "cloned t as u" in result.err
    assert content(consumed(mk, "u")) == content(consumed(mk, "t"))
    (one,), (other,) = (json.loads(mk.ok("topics", "describe", topic, "--json")) for topic in ("t", "u"))
    assert one["overrides"] == other["overrides"]
    assert one["topic_id"] != other["topic_id"]
    mk.ok("topics", "verify")


@pytest.mark.parametrize(
    "change",
    [
        ("topics", "trim", "{}", "--to", "end", "--yes"),
        ("topics", "delete", "{}", "--yes"),
        ("produce", "{}", "more", "-p", "0"),
        ("topics", "alter", "{}", "-c", "cleanup.policy=compact"),
    ],
    ids=lambda change: "-".join(change[:2]),
)
@pytest.mark.parametrize("changed", ["t", "u"])
def test_what_is_done_to_one_leaves_the_other_as_it_is(filled, change, changed):
    mk = filled
    mk.ok("topics", "clone", "t", "u")
    kept = "u" if changed == "t" else "t"
    before = consumed(mk, kept)
    mk.ok(*(word.format(changed) for word in change))
    if "alter" in change:
        mk.ok("topics", "compact", changed)
        assert len(consumed(mk, changed)) == 10
    assert consumed(mk, kept) == before
    mk.ok("topics", "verify")
    mk.ok("produce", kept, "still", "-k", "k1")


def test_a_clone_knows_what_was_stored_under_a_producer_id(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096")
    lines = b"".join(b"%d\n" % number * 20 for number in range(100))
    mk.ok("produce", "t", "--producer-id", "import", stdin=lines)
    mk.ok("topics", "clone", "t", "u")
    again = mk("produce", "u", "--producer-id", "import", stdin=lines)
    assert "2000 records were stored before" in again.err


def test_a_clone_of_a_copy_is_led_here_and_takes_records(mk, tmp_path):
    mk.ok("produce", "t", "one", "two")
    copy = tmp_path / "copy"
    mk.ok("replicate", mk.directory, copy)
    mk.ok("topics", "clone", "t", "u", "-d", copy)
    assert mk("produce", "t", "x", "-d", copy).status == 75
    mk.ok("produce", "u", "three", "-d", copy)
    assert mk.ok("consume", "u", "-d", copy) == b"one\ntwo\nthree\n"
    mk.ok("topics", "verify", "-d", copy)


def test_a_seal_stays_with_the_original(mk):
    mk.ok("produce", "t", "one")
    mk.ok("topics", "seal", "t")
    mk.ok("topics", "clone", "t", "u")
    mk.ok("produce", "u", "two")
    assert mk("produce", "t", "x").status == 77


def test_a_name_that_is_taken_and_flags_that_do_not_go_together_change_nothing(filled):
    mk = filled
    mk.ok("produce", "u", "mine")
    assert mk("topics", "clone", "t", "u").status == 73
    assert mk("topics", "clone", "nothing", "v").status == 66
    assert mk("topics", "clone", "t", "../v").status == 2
    assert mk("topics", "clone", "t", "v", "-p", "3").status == 2
    assert mk("topics", "clone", "t", "v", "--partitioner", "murmur2").status == 2
    assert "clones t as v: 300 records" in mk("topics", "clone", "t", "v", "--dry-run").err
    assert mk.ok("topics", "-q") == b"t\nu\n"


def test_a_rehash_keeps_each_key_in_order_in_the_partition_where_it_belongs(filled):
    mk = filled
    # Keys that have been in another partition once.
    mk.ok("topics", "alter", "t", "-p", "3", "--yes")
    mk.ok("produce", "t", "-K", ":", "-H", "h=1", stdin="".join(f"k{n % 10}:later{n}\n" for n in range(20)).encode())
    result = mk("topics", "clone", "t", "w", "--rehash", "-p", "5", "--json")
    document = json.loads(result.out)
    assert (document["records"], document["partitions"]) == (320, 5)
    before, after = consumed(mk, "t", "--merge"), consumed(mk, "w")
    fields = ("key", "payload", "ts", "headers")
    for key in {record["key"] for record in before}:
        assert [[record[name] for name in fields] for record in after if record["key"] == key] == [
            [record[name] for name in fields] for record in before if record["key"] == key
        ]
        partition = int(mk.ok("topics", "which", "w", key).split()[-1])
        assert {record["partition"] for record in after if record["key"] == key} == {partition}
    (described,) = json.loads(mk.ok("topics", "describe", "w", "--json"))
    assert described["overrides"] == {"segment.bytes": 4096, "retention.ms": -1}
