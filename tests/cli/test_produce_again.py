"""`mk produce --producer-id` on the command line: with every other flag, and what it says."""

import json
import os
import subprocess
from hashlib import sha256
from zlib import crc32

import pytest

NAME = "import-7"
NUMBER = int.from_bytes(sha256(NAME.encode()).digest()[:8], "big")
LINES = b"".join(b"k%d\tvalue %d\n" % (number % 7, number) for number in range(500))


def note(before, now):
    were = "1 record was" if before == 1 else f"{before} records were"
    return f"mk: {were} stored before under producer id {NAME}; {now} stored now\n"


def records(mk, partitions=1, topic="t"):
    return [
        [
            tuple(record[name] for name in ("key", "payload", "headers"))
            for record in map(json.loads, mk.ok("consume", topic, "-J", "-p", partition).splitlines())
        ]
        for partition in range(partitions)
    ]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-k", "user"),
        ("-K", r"\t"),
        ("-K", r"\t", "-k", "user"),
        ("-p", "2"),
        ("-K", r"\t", "-p", "2"),
        ("-z", "zstd"),
        ("-K", r"\t", "-z", "gzip"),
        ("-K", r"\t", "-H", "a=b"),
        ("-H", "a=b"),
        ("-D", "value "),
        ("-D", "value ", "-K", "k"),
        ("--whole",),
        ("-Z", "-K", r"\t"),
        ("--timestamp", "1700000000000"),
        ("-n", "321"),
        ("-n", "321", "-K", r"\t"),
        ("--acks", "0"),
        ("-T", "-q"),
    ],
)
def test_run_again_it_stores_only_what_is_missing_whatever_the_flags(mk, words):
    """Once with the front of the input, cut at a record's end; then with all of it, twice. The same without an id."""
    for topic in ("t", "plain"):
        mk.ok("topics", "create", topic, "-p", 4, "-c", "retention.ms=-1")
    cut = b"211\n" if "-D" in words else b"k1\tvalue 211\n"
    front = LINES if "--whole" in words else LINES[: LINES.index(cut)]
    arguments = ["produce", "t", "--producer-id", NAME, *words]
    assert mk(*arguments, stdin=front).status == 0
    second = mk(*arguments, stdin=LINES)
    assert second.status == 0, second
    mk.ok("produce", "plain", *words, stdin=LINES)
    # All of them in order; records without a key go to one partition, and elsewhere without an id.
    found, expected = records(mk, 4), records(mk, 4, "plain")
    assert sorted(sum(found, []), key=str) == sorted(sum(expected, []), key=str)
    for number in range(4):
        keyed = [record for record in found[number] if record[0] is not None]
        assert keyed == [record for record in expected[number] if record[0] is not None]
        assert len(keyed) == len(found[number]) or number == (2 if "-p" in words else NUMBER % 4)
    third = mk(*arguments, stdin=LINES)
    count = len(sum(found, []))
    assert (third.status, third.err) == (0, "" if "-q" in words else note(count, 0))
    assert records(mk, 4) == found


def test_values_as_arguments_are_the_input(mk):
    done = mk("produce", "t", "--producer-id", NAME, "-q", "a", "b")
    assert (done.status, done.err) == (0, "")
    done = mk("produce", "t", "--producer-id", NAME, "-v", "a", "b", "c", "d")
    assert (done.status, done.err) == (0, "t 0 2 3\n" + note(2, 2))
    assert mk.ok("consume", "t") == b"a\nb\nc\nd\n"
    assert mk("produce", "t", "--producer-id", NAME, "a").err == note(1, 0)


def test_records_without_a_key_stay_together_and_keys_go_where_they_always_do(mk):
    mk.ok("topics", "create", "t", "-p", 8)
    lines = b"".join(
        b"only a value %d\n" % number if number % 2 else b"k%d\tv%d\n" % (number, number) for number in range(200)
    )
    mk.ok("produce", "t", "--producer-id", NAME, "-K", r"\t", stdin=lines)
    for partition, log in enumerate(records(mk, 8)):
        for key, _, _ in log:
            assert partition == (NUMBER if key is None else crc32(key.encode())) % 8


def test_partitions_that_are_added_later_are_not_used(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    arguments = ("produce", "t", "--producer-id", NAME, "-K", r"\t")
    mk.ok(*arguments, stdin=b"".join(LINES.splitlines(keepends=True)[:300]))
    mk.ok("topics", "alter", "t", "--partitions", 5, "--yes")
    mk.ok(*arguments, stdin=LINES)
    found = records(mk, 5)
    assert [len(log) > 0 for log in found] == [True, True, False, False, False]
    assert sum(map(len, found)) == 500
    mk.ok("produce", "t", "--producer-id", "later", "-K", r"\t", stdin=LINES)
    assert any(records(mk, 5)[2:])


def test_skipped_records_count_as_input(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=20")
    arguments = ("produce", "t", "--producer-id", NAME, "--skip-bad")
    long = b"x" * 50 + b"\n"
    first = mk(*arguments, stdin=b"a\n" + long + b"b\n")
    assert first.status == 1
    second = mk(*arguments, stdin=b"a\n" + long + b"b\n" + long + b"c\n")
    assert second.status == 1
    assert second.err.endswith(note(2, 1))
    assert mk.ok("consume", "t") == b"a\nb\nc\n"
    assert [(batch.first_sequence, batch.last_sequence) for batch in mk.batches("t")][-1] == (4, 4)
    assert mk(*arguments, *["a", "b"], "x" * 50, "c", "d").status == 1
    assert mk.ok("consume", "t") == b"a\nb\nc\n"


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "x" * 201, b"\xff"])
def test_a_name_that_cannot_be_is_refused_before_anything_is_made(mk, name):
    done = mk("produce", "t", "--producer-id", os.fsdecode(name), "v")
    assert done.status == 2
    assert "producer" in done.err
    assert not mk.directory.exists()


def test_what_was_pinned_otherwise_is_refused_with_the_reason(mk):
    mk.ok("topics", "create", "t", "-p", 3)
    mk.ok("produce", "t", "--producer-id", NAME, "v")
    done = mk("produce", "t", "--producer-id", NAME, "-p", 1, "v")
    assert done.status == 2
    assert done.err == (
        f"mk: error: producer id {NAME} cannot go on in topic t with another partition\n"
        "  why: it was first used without -p, and is used with -p 1 now; what is stored could be stored again elsewhere\n"
        "  fix: run the command as it was, or choose another producer id; nothing was written\n"
    )
    as_json = mk("produce", "t", "--producer-id", NAME, "-p", 1, "--json", "v")
    assert as_json.status == 2
    assert json.loads(as_json.err)["facts"]["producer_id"] == NAME
    assert mk.offsets("t").count((0, 1)) == 1


def test_an_error_says_what_was_stored_before_too(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=20")
    mk.ok("produce", "t", "--producer-id", NAME, "a", "b")
    done = mk("produce", "t", "--producer-id", NAME, stdin=b"a\nb\nc\n" + b"x" * 50 + b"\n")
    assert done.status == 65
    assert done.err.startswith("mk: 1 record stored\nmk: 2 records were stored before")
    assert mk.ok("consume", "t") == b"a\nb\nc\n"


def test_a_signal_ends_the_input_and_the_next_run_goes_on(mk):
    arguments = ("produce", "t", "--producer-id", NAME, "-v")
    with mk.start(*arguments) as process:
        process.stdin.write(b"a\nb\n")
        assert process.stderr.readline().startswith(b"mk: created")
        while b"t 0" not in process.stderr.readline():
            pass
        process.terminate()
        process.wait(60)
    assert process.returncode == -15
    assert mk(*arguments, stdin=b"a\nb\nc\n").err == "t 0 2 2\n" + note(2, 1)


def test_another_topic_knows_nothing_of_it(mk):
    for topic in ("t", "u"):
        assert mk("produce", topic, "--producer-id", NAME, "-q", "a").err == ""
    assert mk.ok("consume", "u") == b"a\n"
    mk.ok("topics", "delete", "t", "--yes")
    mk.ok("produce", "t", "--producer-id", NAME, "a")
    assert mk.ok("consume", "t") == b"a\n"


def test_it_is_written_to_a_sealed_topic_no_more_than_anything(mk):
    mk.ok("produce", "t", "--producer-id", NAME, "a")
    mk.ok("topics", "seal", "t")
    assert mk("produce", "t", "--producer-id", NAME, "a", "b").status != 0
    assert mk.ok("consume", "t") == b"a\n"


def test_verify_finds_nothing_wrong(mk):
    mk.ok("topics", "create", "t", "-p", 2, "-c", "segment.bytes=4096")
    for count in (100, 300, 500):
        lines = b"".join(LINES.splitlines(keepends=True)[:count])
        mk.ok("produce", "t", "--producer-id", NAME, "-K", r"\t", stdin=lines)
        mk.ok("produce", "t", "-p", 0, "x" * 3000)
    assert list(mk.partition("t").glob("*.producers"))
    done = mk("topics", "verify", "t")
    assert done.status == 0, done


def test_a_plain_produce_loads_nothing_of_it(mk):
    mk.ok("produce", "t", "--producer-id", NAME, "a")
    traced = subprocess.run(
        ["python", "-X", "importtime", mk.program, "produce", "t", "b"],
        env=mk.environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    for module in (b"producer_state", b"producer_pin", b"input_sequence", b"mk.records.sequences"):
        assert module not in traced.stderr
