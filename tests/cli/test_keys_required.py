"""A topic that is compacted takes no record without a key, whichever way it comes."""

import json
import os
import time

import pytest
from running import KafkaMk, Mk
from test_remote import Remote, fake_ssh

pytestmark = pytest.mark.both_engines

KEEPS_LAST = ("-c", "cleanup.policy=compact")


@pytest.fixture
def compacted(mk: Mk) -> Mk:
    """A directory with a topic t that is compacted, and a plain one u."""
    mk.ok("topics", "create", "t", *KEEPS_LAST)
    mk.ok("topics", "create", "u")
    return mk


@pytest.fixture(params=["here", "there"])
def side(request, compacted, tmp_path):
    """The same, used in its directory or through another host."""
    return compacted if request.param == "here" else Remote(compacted, fake_ssh(tmp_path))


def stored(mk, topic="t"):
    return [
        (record["key"], record["payload"]) for record in map(json.loads, mk.ok("consume", topic, "-J").splitlines())
    ]


FRAMED = b"\x84\xa5topic\xa1t\xa3key\xc0\xa5value\xc4\x01b\xa2ts\x01"

REFUSED = {
    "lines": ((), b"b\n", "input line 1"),
    "a line without the delimiter of keys": (("-K", ":"), b"a:1\nb\nc:3\n", "input line 2"),
    "a null key in JSON": (("-J",), b'{"key":"a","payload":"1"}\n{"key":null,"payload":"b"}\n', "input line 2"),
    "no key in JSON": (("-J",), b'{"payload":"b"}\n', "input line 1"),
    "a format without a key": (("-f", "%v\\n"), b"b\n", "input line 1"),
    "a value": (("b",), b"", "value 1"),
    "the second value": (("-K", ":", "a:1", "b"), b"", "value 2"),
    "all of the input": (("--whole",), b"b", "standard input"),
    "other delimiters": (("-0",), b"b\0c\0", "input record 1"),
    "with headers": (("-H", "x=1"), b"b\n", "input line 1"),
    "a tombstone": (("-Z",), b"\n", "input line 1"),
    "a length and no key": (("-f", "%V{big32}%v"), b"\0\0\0\1b", "input record 1"),
}


@pytest.mark.parametrize(("words", "data", "place"), REFUSED.values(), ids=REFUSED)
def test_a_record_without_a_key_is_refused_and_those_before_it_are_stored(side, words, data, place):
    done = side("produce", "t", *words, stdin=data)
    assert done.status == 65
    assert f"{place} has no key, and topic t wants one" in done.err and "-k" in done.err
    before = stored(side)
    assert before == ([("a", "1")] if place.endswith("2") else [])
    assert f"{len(before)} record{'' if before else 's'} stored" in done.err
    done = side("produce", "t", "--skip-bad", *words, stdin=data)
    assert done.status == 1 and f"skipped: {place} has no key" in done.err
    assert [key for key, _ in stored(side)] == ["a"] * len(before) + (
        ["a", "c"] if b"c:3" in data else ["a"] if before else []
    )
    assert side("produce", "u", *words, stdin=data).status == 0


def test_an_empty_key_is_a_key_and_a_fixed_one_is_one_for_all(side):
    side.ok("produce", "t", "-k", "", "one")
    side.ok("produce", "t", "-k", "k", stdin=b"two\nthree\n")
    side.ok("produce", "t", "-K", ":", stdin=b":four\n")
    side.ok("produce", "t", "-K", ":", "-k", "other", "-Z", stdin=b"five\na:\n")
    side.ok("produce", "t", "-J", "-k", "other", stdin=b'{"payload":"six"}\n')
    assert stored(side) == [
        ("", "one"),
        ("k", "two"),
        ("k", "three"),
        ("", "four"),
        ("other", "five"),
        ("a", None),
        ("other", "six"),
    ]


def test_both_policies_together_want_keys_too(mk):
    mk.ok("topics", "create", "t", "-c", "cleanup.policy=delete,compact")
    (topic,) = json.loads(mk.ok("topics", "describe", "t", "--json"))
    assert sorted(topic["config"]["cleanup.policy"].split(",")) == ["compact", "delete"]
    assert mk("produce", "t", "x").status == 65


def test_of_a_topic_of_several_only_that_record_is_refused(side):
    lines = b'{"topic":"u","payload":"1"}\n{"topic":"t","payload":"2"}\n{"topic":"t","key":"k","payload":"3"}\n'
    done = side("produce", "-J", stdin=lines)
    assert done.status == 65 and "input line 2 has no key, and topic t wants one" in done.err
    assert (stored(side), stored(side, "u")) == ([], [(None, "1")])
    assert side("produce", "-J", "--skip-bad", stdin=lines).status == 1
    assert stored(side) == [("k", "3")]


@pytest.mark.directory_only("brokers remember no producer that was started again")
def test_a_followed_file_is_refused_with_its_line(compacted, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"a:1\nb\n")
    for _ in range(2):
        done = compacted("produce", "t", "-K", ":", "--follow", log, "--producer-id", "p")
        assert done.status == 65 and f"{log}: line 2 has no key" in done.err
        assert stored(compacted) == [("a", "1")]
    with log.open("ab") as more:
        more.write(b"c:3\n")
    done = compacted("produce", "t", "-K", ":", "--follow", log, "--producer-id", "p", "--skip-bad", "-n", 2)
    assert done.status == 1
    assert stored(compacted) == [("a", "1"), ("c", "3")]


@pytest.mark.parametrize("words", [(), ("-J",), ("-K", ":")])
def test_a_policy_that_changes_is_seen_by_a_running_producer_at_its_next_append(mk, tmp_path, words):
    mk.ok("topics", "create", "t")
    for one in (mk,) if isinstance(mk, KafkaMk) else (mk, Remote(mk, fake_ssh(tmp_path))):
        mk.ok("topics", "alter", "t", "-c", "cleanup.policy=delete")
        with one.start("produce", "t", *words) as producer:
            line = b'{"payload":"x"}\n' if words == ("-J",) else b"x\n"
            count = len(stored(mk))
            producer.stdin.write(line)
            deadline = time.monotonic() + 30
            while len(stored(mk)) == count:
                assert time.monotonic() < deadline
            mk.ok("topics", "alter", "t", "-c", "cleanup.policy=compact")
            producer.stdin.write(line)
            _, error = producer.communicate(timeout=30)
            assert producer.returncode == 65
            assert b"1 record stored" in error and b"has no key" in error and b"nothing of this append" in error
            assert len(stored(mk)) == count + 1


def test_the_other_way_round_a_running_producer_goes_on(mk):
    mk.ok("topics", "create", "t", *KEEPS_LAST)
    with mk.start("produce", "t", "-K", ":", "-v") as producer:
        producer.stdin.write(b"a:1\n")
        os.read(producer.stderr.fileno(), 100)
        mk.ok("topics", "alter", "t", "-c", "cleanup.policy=delete")
        producer.stdin.write(b"b:2\n")  # An append, by which it learns of it.
        os.read(producer.stderr.fileno(), 100)
        producer.stdin.write(b"c\n")
        producer.communicate(timeout=30)
        assert producer.returncode == 0
    assert stored(mk) == [("a", "1"), ("b", "2"), (None, "c")]


@pytest.mark.parametrize("group", [(), ("-g", "g")])
def test_a_dead_letter_without_a_key_is_not_lost_and_not_stored(compacted, group):
    compacted.ok("produce", "u", "bad")
    words = ("consume", "u", *group, "--exec", "false", "--retries", 0, "--dlq", "t")
    done = compacted(*words)
    assert done.status == 65
    assert "offset 0 of partition 0 of u, as a dead letter, has no key" in done.err
    assert "mk topics alter" in done.err and "do not count as consumed" in done.err
    assert stored(compacted) == []
    compacted.ok("topics", "alter", "t", "-c", "cleanup.policy=delete")
    compacted.ok(*words)
    assert stored(compacted) == [(None, "bad")]


def test_what_a_program_gets(compacted):
    done = compacted("produce", "t", "--json", stdin=b"x\n")
    (document,) = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    assert (document["error"], document["exit_status"]) == ("KeyRequiredError", 65)
    assert document["facts"] == {"topic": "t", "place": "input line 1", "records_stored": 0}


@pytest.mark.directory_only("the brokers of the tests keep all, however old")
def test_old_times_are_no_matter_where_nothing_goes_by_its_age(compacted):
    assert compacted("produce", "t", "-k", "k", "--timestamp", "1000", "v").err == ""
    assert "older than u keeps" in compacted("produce", "u", "-k", "k", "--timestamp", "1000", "v").err


KEYED = ("-K", "\t"), b"no key\n" + 1_700_000 * b"k\tv\n"
UNKEYED = ("-f", "%v\\n"), 700_000 * b"v\n"


@pytest.mark.parametrize("words", [(), ("--skip-bad",)])
def test_what_an_append_refuses_in_the_midst_of_a_block_is_an_error_and_no_bad_record(mk, tmp_path, words):
    is_refused_in_the_midst(mk, tmp_path, *UNKEYED, words)


@pytest.mark.directory_only("batches behind one that brokers refuse may be stored")
@pytest.mark.parametrize("words", [(), ("--skip-bad",), ("--skip-bad", "--producer-id", "me")])
def test_what_has_keys_is_not_stored_behind_what_an_append_refuses(mk, tmp_path, words):
    is_refused_in_the_midst(mk, tmp_path, *KEYED, words)


@pytest.mark.directory_only("brokers remember no producer that was started again")
def test_with_a_producer_id_what_an_append_refuses_is_no_bad_record_either(mk, tmp_path):
    is_refused_in_the_midst(mk, tmp_path, *UNKEYED, ("--skip-bad", "--producer-id", "me"))


def is_refused_in_the_midst(mk, tmp_path, form, data, words):
    """Produce more than is buffered, to a topic that is compacted from when it was opened on."""
    mk.ok("topics", "create", "t")
    gate, rest = tmp_path / "gate", tmp_path / "rest"
    os.mkfifo(gate)
    rest.write_bytes(data)
    with mk.start("produce", "t", *form, *words, "--file", gate, "--file", rest) as producer:
        writer = os.open(gate, os.O_WRONLY)  # Which waits until the producer has its topic open.
        mk.ok("topics", "alter", "t", *KEEPS_LAST)
        os.close(writer)
        error = producer.communicate(timeout=60)[1].decode()
    assert producer.returncode == 65, error
    assert error.startswith("mk: 0 records stored\n") and "nothing of this append is stored" in error
    assert mk.ok("consume", "t") == b""
