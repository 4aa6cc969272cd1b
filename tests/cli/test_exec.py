"""`mk consume --exec` end to end: what a child gets, what its status does, and what becomes of the record."""

import json
import os
import re
from collections import Counter, defaultdict

import pytest

pytestmark = pytest.mark.both_engines

STATUSES = "--retries", 2, "--backoff", "5ms"


@pytest.fixture
def script(tmp_path):
    """Return a function that makes an executable shell script, and returns its path."""

    def make(text, name="script"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return make


def records(mk, *words):
    return [json.loads(line) for line in mk.ok("consume", *words, "-J").splitlines()]


def headers_of(record):
    return dict(record["headers"])


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


# A thousand records, every seventh of them bad.

FAILS_ON_SEVENTHS = """
read -r value
echo "$value $MK_REC_TRY" >> "{log}"
if [ $((value % 7)) -eq 0 ]; then echo "cannot do $value" >&2; exit 1; fi
"""


def check_thousand(mk, tmp_path, partitions):
    tries = Counter(lines(tmp_path / "told"))
    for number in range(1000):
        expected = 3 if number % 7 == 0 else 1
        assert [tries.pop(f"{number} {attempt}", 0) for attempt in range(1, expected + 1)] == [1] * expected, number
    assert not tries
    where = {record["payload"]: record for record in records(mk, "t")}
    dead = records(mk, "dead")
    assert sorted(int(record["payload"]) for record in dead) == list(range(0, 1000, 7))
    topic_id = json.loads(mk.ok("topics", "describe", "t", "--json"))[0]["topic_id"]
    last = defaultdict(lambda: -1)
    for record in dead:
        headers = headers_of(record)
        source = where[record["payload"]]
        assert record["key"] == source["key"] and record["headers"][0] == ["own", "1"]
        assert headers["mk.source.topic"] == "t" and headers["mk.source.topic_id"] == topic_id
        assert int(headers["mk.source.partition"]) == source["partition"]
        assert int(headers["mk.source.offset"]) == source["offset"]
        assert int(headers["mk.source.ts"]) == source["ts"]
        assert headers["mk.exec.status"] == "1" and headers["mk.exec.tries"] == "3"
        assert headers["mk.exec.stderr"] == f"cannot do {record['payload']}"
        # In offset order, wherever each of them is.
        place = source["partition"], record["partition"]
        assert source["offset"] > last[place]
        last[place] = source["offset"]
    assert len({record["partition"] for record in dead}) <= partitions


@pytest.mark.parametrize("group", [(), ("-g", "g")])
def test_each_good_one_is_done_once_and_each_bad_one_is_a_dead_letter_once(mk, tmp_path, script, group):
    mk.ok("produce", "t", "-H", "own=1", stdin=b"".join(b"%d\n" % number for number in range(1000)))
    command = script(FAILS_ON_SEVENTHS.format(log=tmp_path / "told"))
    words = "consume", "t", *group, "--exec", command, "--retries", 2, "--backoff", "1ms", "--dlq", "dead"
    done = mk(*words)
    assert done.status == 0 and done.out == b"", done
    assert "143 records were put into dead" in done.err
    check_thousand(mk, tmp_path, 1)
    assert [int(line.split()[0]) for line in lines(tmp_path / "told") if line.endswith(" 1")] == list(range(1000))
    if group:
        assert mk(*words).err == ""
        assert mk.ok("consume", "t", "-o", "group:g") == b""


def test_several_at_a_time_keep_the_order_of_each_key(mk, tmp_path, script):
    mk.ok("topics", "create", "t", "-p", 3)
    data = b"".join(b"k%d:%d\n" % (number % 11, number) for number in range(1000))
    mk.ok("produce", "t", "-K", ":", "-H", "own=1", stdin=data)
    text = FAILS_ON_SEVENTHS + 'echo "$MK_REC_KEY $value" >> "{log}.keys"'
    # The last try, too, is before what comes next of its key.
    text = text.replace("exit 1", '[ "$MK_REC_TRY" -lt 3 ] || echo "$MK_REC_KEY $value" >> "{log}.keys"; exit 1')
    command = script(text.format(log=tmp_path / "told"))
    words = "consume", "t", "-g", "g", "--exec", command, "--retries", 2, "--backoff", "1ms", "--dlq", "dead"
    assert mk(*words, "--jobs", 4).status == 0
    check_thousand(mk, tmp_path, 3)
    of_key = defaultdict(list)
    for line in lines(tmp_path / "told.keys"):
        key, value = line.split()
        of_key[key].append(int(value))
    assert len(of_key) == 11
    for key, values in of_key.items():
        assert values == [number for number in range(1000) if f"k{number % 11}" == key]
    assert mk.offsets("dead") and len(mk.offsets("dead")) == 3


def test_a_record_that_waits_holds_back_its_own_key_only(mk, tmp_path, script):
    mk.ok("produce", "t", "-K", ":", stdin=b"a:1\na:2\nb:3\n:4\nb:5\na:6\n")
    log = tmp_path / "told"
    command = script(f'read -r v; echo $v >> {log}; [ "$v$MK_REC_TRY" != 11 ]')
    mk.ok("consume", "t", "--exec", command, "--jobs", 2, "--backoff", "1s")
    done = lines(log)
    assert set(done[:4]) == {"1", "3", "4", "5"} and done[4:] == ["1", "2", "6"]


def test_one_at_a_time_keeps_the_order_of_each_partition(mk, tmp_path, script):
    mk.ok("topics", "create", "t", "-p", 2)
    for partition in range(2):
        mk.ok("produce", "t", "-p", partition, stdin=b"".join(b"%d-%d\n" % (partition, n) for n in range(3)))
    log = tmp_path / "told"
    command = script(f'read -r v; echo $v >> {log}; [ "$v$MK_REC_TRY" != 0-01 ]')
    mk.ok("consume", "t", "--exec", command, "--backoff", "1s")
    # Partition 1 goes on while partition 0 waits.
    assert lines(log) == ["0-0", "1-0", "1-1", "1-2", "0-0", "0-1", "0-2"]


# What a status does.


@pytest.mark.parametrize("status", [1, 2, 66, 99])
def test_a_failure_is_tried_again_and_then_stops_or_is_put_aside(mk, tmp_path, script, status):
    mk.ok("produce", "t", "a", "b")
    command = script(f'echo $MK_REC_OFFSET >> {tmp_path}/told; [ "$MK_REC_OFFSET" != 0 ] || exit {status}')
    stopped = mk("consume", "t", "-g", "g", "--exec", command, *STATUSES)
    assert stopped.status == 1
    assert f"offset 0 of partition 0 of t: status {status}, after 3 tries" in stopped.err
    assert "--dlq" in stopped.err and "Traceback" not in stopped.err
    assert lines(tmp_path / "told") == ["0"] * 3
    assert mk.ok("consume", "t", "-g", "g", "--exec", command, *STATUSES, "--dlq", "d") == b""
    assert lines(tmp_path / "told")[3:] == ["0"] * 3 + ["1"]
    assert [headers_of(record)["mk.exec.status"] for record in records(mk, "d")] == [str(status)]


@pytest.mark.parametrize("status", [65, 100, 139, 254])
def test_poison_is_never_tried_again(mk, tmp_path, script, status):
    mk.ok("produce", "t", "a", "b")
    command = script(f'echo $MK_REC_OFFSET >> {tmp_path}/told; [ "$MK_REC_OFFSET" != 0 ] || exit {status}')
    stopped = mk("consume", "t", "--exec", command, *STATUSES)
    assert stopped.status == 1 and f"status {status}, after 1 try\n" in stopped.err
    assert mk.ok("consume", "t", "--exec", command, *STATUSES, "--dlq", "d") == b""
    assert lines(tmp_path / "told") == ["0", "0", "1"]
    (dead,) = records(mk, "d")
    assert (headers_of(dead)["mk.exec.status"], headers_of(dead)["mk.exec.tries"]) == (str(status), "1")


@pytest.mark.parametrize("status", [126, 127, 255])
def test_a_command_that_cannot_be_run_stops_also_with_a_place_for_the_dead(mk, script, status):
    mk.ok("produce", "t", "a", "b", "c")
    command = script(f'[ "$MK_REC_OFFSET" != 1 ] || exit {status}')
    stopped = mk("consume", "t", "-g", "g", "--exec", command, *STATUSES, "--dlq", "d")
    assert stopped.status == 1
    assert f"offset 1 of partition 0 of t: status {status}, after 1 try\n" in stopped.err
    assert records(mk, "d") == []
    assert mk.ok("consume", "t", "-o", "group:g") == b"b\nc\n"


def test_not_now_is_tried_again_as_often_as_it_takes(mk, tmp_path, script):
    mk.ok("produce", "t", "a", "b")
    command = script('[ "$MK_REC_TRY" -gt 9 ] || exit 75; echo $MK_REC_OFFSET $MK_REC_TRY')
    assert mk.ok("consume", "t", "--exec", command, "--retries", 0, "--backoff", "0ms") == b"0 10\n1 10\n"


def test_death_by_a_signal_is_a_failure(mk, script):
    mk.ok("produce", "t", "a")
    command = script("kill -9 $$")
    stopped = mk("consume", "t", "--exec", command, *STATUSES)
    assert stopped.status == 1 and "killed by signal 9, after 3 tries" in stopped.err
    assert mk.ok("consume", "t", "--exec", command, *STATUSES, "--dlq", "d") == b""
    assert headers_of(records(mk, "d")[0])["mk.exec.status"] == "signal 9"


def test_others_finish_what_they_are_at_when_one_stops(mk, tmp_path, script):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 0, "bad", "never")
    mk.ok("produce", "t", "-p", 1, "slow", "never")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The bad one fails once the slow one runs, which ends some time after.
    command = script(
        f'read -r v || :; case "$v" in bad*) read -r x < {fifo}; exit 65;; slow*) echo > {fifo}; sleep 0.3;; esac'
    )
    stopped = mk("consume", "t", "-g", "g", "--exec", command, "--jobs", 2)
    assert stopped.status == 1 and "offset 0 of partition 0" in stopped.err and "1 record is done" in stopped.err
    assert mk.ok("consume", "t", "-o", "group:g") == b"bad\nnever\nnever\n"


# What a child gets.


def test_the_environment(mk, script):
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 1, "-k", "clé\n-x", "-H", "a=1", "-H", "b", "--timestamp", "1700000000000", "v")
    seen = mk.ok("consume", "t", "--exec", "env -0", env={"MK_REC_KEY": "of another", "OWN": "1"}).split(b"\0")
    found = dict(entry.split(b"=", 1) for entry in seen if entry)
    assert found[b"OWN"] == b"1"
    identity = found.pop(b"MK_REC_ID").decode()
    assert re.fullmatch(r"[0-9a-f]{32}-1-0", identity)
    assert {name: value for name, value in found.items() if name.startswith(b"MK_REC")} == {
        b"MK_REC_TOPIC": b"t",
        b"MK_REC_PARTITION": b"1",
        b"MK_REC_OFFSET": b"0",
        b"MK_REC_TRY": b"1",
        b"MK_REC_TS": b"1700000000000",
        b"MK_REC_KEY": "clé\n-x".encode(),
        b"MK_REC_KEY_B64": b"Y2zDqQoteA==",
        b"MK_REC_HEADERS": b'[["a","1"],["b",null]]',
    }
    command = script("echo $MK_REC_ID")
    assert mk.ok("consume", "t", "--exec", command).decode() == f"{identity}\n"
    mk.ok("topics", "delete", "t", "--yes")
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("produce", "t", "-p", 1, "v")
    assert mk.ok("consume", "t", "--exec", command).decode() != f"{identity}\n"


def test_keys_and_headers_that_no_environment_holds(mk, script):
    mk.ok("produce", "t", "-0", "-K", "\t", stdin=b"k" * 200_000 + b"\tv\0")
    command = script('echo "${MK_REC_KEY-none} ${MK_REC_KEY_B64-none} $MK_REC_OMITTED"; cat')
    assert mk.ok("consume", "t", "--exec", command) == b"none none MK_REC_KEY MK_REC_KEY_B64\nv"


@pytest.mark.parametrize("value", [b"", b"v", b"no newline", b"-rf\n$(date)`x`'\"\\", bytes(range(256)) * 20])
def test_a_value_comes_as_it_is(mk, value):
    mk.ok("produce", "t", "--whole", stdin=value)
    assert mk.ok("consume", "t", "--exec", "cat") == value
    assert mk.ok("consume", "t", "--exec", "cat", "-D", "||") == value + b"||"


def test_a_null_can_be_told_from_an_empty_value(mk, script):
    mk.ok("produce", "t", "-Z", "-k", "k", "")
    mk.ok("produce", "t", "-k", "k", "")
    command = script('echo "<$(cat)>${MK_REC_NULL-}"')
    assert mk.ok("consume", "t", "--exec", command) == b"<>1\n<>\n"
    assert mk.ok("consume", "t", "--exec", command, "-Z") == b"<NULL>1\n<>\n"


def test_json_of_one_record(mk):
    mk.ok("produce", "t", "-k", "k", "v")
    (line,) = mk.ok("consume", "t", "--exec", "cat", "-J").splitlines()
    assert json.loads(line)["key"] == "k"


def test_a_command_is_split_into_words_and_no_shell_sees_it(mk, tmp_path):
    mk.ok("produce", "t", "v")
    assert mk.ok("consume", "t", "--exec", r"printf '%s|' 'a b' $HOME \> * \"") == b'a b|$HOME|>|*|"|'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [b"0\n1\n2\n", b"3\n4\n5\n", b"6\n"]),
        (("-0",), [b"0\x001\x002\x00", b"3\x004\x005\x00", b"6\x00"]),
        (("-D", ", "), [b"0, 1, 2, ", b"3, 4, 5, ", b"6, "]),
        (("-f", "raw"), [b"012", b"345", b"6"]),
        (("-f", "%o:%v|"), [b"0:0|1:1|2:2|", b"3:3|4:4|5:5|", b"6:6|"]),
        (("-f", "kv"), [b"\t0\n\t1\n\t2\n", b"\t3\n\t4\n\t5\n", b"\t6\n"]),
    ],
)
def test_a_batch_is_framed_as_it_would_be_printed(mk, script, options, expected):
    mk.ok("produce", "t", stdin=b"".join(b"%d\n" % number for number in range(3)))
    for number in range(3, 7):  # Also over what one fetch, and one append, brought.
        mk.ok("produce", "t", number)
    out = mk.ok("consume", "t", "--batch", 3, "--exec", script("cat; printf END"), *options)
    assert out.split(b"END")[:-1] == expected


def test_a_batch_in_json_and_what_it_is_told(mk, script):
    mk.ok("topics", "create", "t", "-p", 2)
    for partition in range(2):
        mk.ok("produce", "t", "-p", partition, "-k", "a", *(f"{partition}{n}" for n in range(5)))
    told = (
        'echo "$MK_REC_PARTITION $MK_REC_OFFSET $MK_REC_LAST_OFFSET $MK_REC_COUNT ${MK_REC_KEY-none} $MK_REC_ID"; cat'
    )
    out = mk.ok("consume", "t", "--batch", 4, "-J", "--exec", script(told)).splitlines()
    batches = [line.split() for line in out if not line.startswith(b"{")]
    assert sorted([int(word) for word in words[:4]] for words in batches) == [
        [0, 0, 3, 4],
        [0, 4, 4, 1],
        [1, 0, 3, 4],
        [1, 4, 4, 1],
    ]
    assert {words[4] for words in batches} == {b"none"}
    assert len({words[5] for words in batches}) == 4
    found = [json.loads(line) for line in out if line.startswith(b"{")]
    assert sorted(record["payload"] for record in found) == [f"{p}{n}" for p in range(2) for n in range(5)]


def test_a_batch_fails_as_a_whole(mk, script):
    mk.ok("produce", "t", *"abcde")
    command = script("! grep -q c")
    assert mk.ok("consume", "t", "--batch", 2, "--exec", command, *STATUSES, "--dlq", "d") == b""
    dead = records(mk, "d")
    assert [record["payload"] for record in dead] == ["c", "d"]
    assert {headers_of(record)["mk.exec.batch"] for record in dead} == {"2-3"}
    stopped = mk("consume", "t", "--batch", 2, "--exec", command, "--retries", 0)
    assert "offsets 2 to 3 of partition 0 of t: status 1, after 1 try\n" in stopped.err


# Which records, and where the dead go.


def test_so_many_records_are_handed_over(mk):
    mk.ok("produce", "t", *"abcdef")
    assert mk.ok("consume", "t", "--exec", "cat", "-n", 2) == b"ab"
    assert mk.ok("consume", "t", "--exec", "cat", "-n", 0) == b""
    assert mk.ok("consume", "t", "--exec", "cat", "-o", "-2") == b"ef"
    assert mk.ok("consume", "t", "--exec", "cat", "--tail", 3) == b"def"
    assert mk.ok("consume", "t", "-g", "g", "--exec", "cat", "-n", 4, "--batch", 3) == b"a\nb\nc\nd\n"
    assert mk.ok("consume", "t", "-g", "g") == b"e\nf\n"


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_the_topic_of_the_dead_is_made_like_that_of_the_living(mk):
    mk.ok("topics", "create", "t", "-p", 4, "-c", "max.message.bytes=100000")
    mk.ok("produce", "t", "-k", "k", "--whole", stdin=b"x" * 99_990)
    done = mk("consume", "t", "--exec", "sh -c 'exit 65'", "--dlq", "dead")
    assert done.status == 0 and "created topic dead (4 partitions)" in done.err
    (dead,) = records(mk, "dead")
    (living,) = records(mk, "t")
    assert dead["partition"] == living["partition"] and len(dead["payload"]) == 99_990


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_topic_for_the_dead_that_is_there_is_taken_as_it_is(mk):
    mk.ok("topics", "create", "dead", "-c", "max.message.bytes=100")
    mk.ok("produce", "t", "a", "x" * 80, "b")
    words = "consume", "t", "-g", "g", "--exec", "sh -c 'exit 65'", "--dlq", "dead", "-q"
    refused = mk(*words)
    assert refused.status == 65 and "offset 0 of partition 0 of t, as a dead letter" in refused.err
    assert mk.ok("consume", "t", "-o", "group:g").count(b"\n") == 3
    mk.ok("topics", "alter", "dead", "-c", "max.message.bytes=10000")
    mk.ok(*words)
    assert len(records(mk, "dead")) == 3


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("t", "--exec", ""), 2, "--exec cannot be empty"),
        (("t", "--exec", "cat 'a"), 2, "split into words"),
        (("t", "--exec", "no-such-command-here -x"), 66, "there is no command no-such-command-here"),
        (("t", "--exec", "/nonexistent/x"), 66, "no such file"),
        (("t", "--exec", "/etc/passwd"), 77, "cannot be executed"),
        (("t", "--exec", "/etc"), 77, "a directory"),
        (("t", "--exec", "cat", "--dlq", "t"), 2, "--dlq cannot be t"),
        (("-r", "^t", "--exec", "cat", "--dlq", "top"), 2, "-r finds it too"),
        (("t", "--exec", "cat", "--dlq", "../x"), 2, "../x"),
        (("t", "--exec", "cat", "--dlq", "none", "--no-create"), 66, "no topic none"),
        (("t", "--exec", "cat", "--no-create"), 2, "--dlq"),
        (("t", "--exec", "cat", "--jobs", "0"), 2, "at least 1"),
        (("t", "--exec", "cat", "--batch", "0"), 2, "at least 1"),
        (("t", "--exec", "cat", "--raw"), 2, "--raw"),
        (("t", "--exec", "cat", "-f", "json", "-Z"), 2, "-Z"),
        (("t", "--exec", "cat", "--idle", "1s"), 2, "--idle"),
        (("t", "--exec", "cat", "--allow-network-fs"), 2, "-g"),
        (("t", "--jobs", "2"), 2, "--jobs means nothing without --exec"),
        (("t", "--batch", "2"), 2, "--batch means nothing without --exec"),
        (("t", "--retries", "0"), 2, "--retries means nothing without --exec"),
        (("t", "--backoff", "1s"), 2, "--backoff means nothing without --exec"),
        (("t", "--dlq", "d"), 2, "--dlq means nothing without --exec"),
        (("t", "-g", "g", "--no-create"), 2, "--no-create means nothing without --exec"),
    ],
)
def test_what_cannot_be_is_noticed_at_once(mk, words, status, said):
    mk.ok("produce", "t", "v")
    refused = mk("consume", *words)
    assert refused.status == status and said in refused.err, refused
    assert refused.out == b"" and "Traceback" not in refused.err
    assert mk.ok("topics", "-q").split() == [b"t"]


def test_a_command_that_goes_away_stops(mk, script):
    mk.ok("produce", "t", "a", "b")
    command = script("echo done; rm $0")
    stopped = mk("consume", "t", "-g", "g", "--exec", command, "--dlq", "d")
    assert stopped.status == 1 and stopped.out == b"done\n"
    assert "offset 1 of partition 0 of t: status 127" in stopped.err and "No such file" in stopped.err
    assert mk.ok("consume", "t", "-g", "g") == b"b\n"


def test_errors_as_json(mk):
    mk.ok("produce", "t", "a")
    stopped = mk("consume", "t", "--exec", "false", "--retries", 1, "--backoff", "0s", "--json")
    document = json.loads(stopped.err)
    assert document["error"] == "RecordFailedError" and document["exit_status"] == 1
    assert document["facts"]["offset"] == 0 and document["facts"]["tries"] == 2


def test_the_help_has_one_table(mk):
    text = mk.ok("help", "exec").decode()
    for word in ("126, 127, 255", "MK_REC_KEY_B64", "mk.source.offset"):
        assert word in text


def test_a_group_that_is_reset_makes_no_dead_letter_twice_and_misses_none(mk, tmp_path, script):
    mk.ok("produce", "t", *"abcdef")
    bad = tmp_path / "bad"
    command = script(f'grep -q "$(cat)" {bad} && exit 65; true')
    words = "consume", "t", "-g", "g", "--exec", command, "--dlq", "d"
    bad.write_text("b\ne\n")
    mk.ok(*words)
    # Read again, c fails too, which is before the last one that has failed already.
    mk.ok("groups", "reset", "g", "t", "--to", "start", "--yes")
    bad.write_text("b\nc\ne\nf\n")
    mk.ok(*words)
    assert sorted(record["payload"] for record in records(mk, "d")) == ["b", "c", "e", "f"]


def test_what_is_not_wanted_is_passed_over_and_committed(mk):
    mk.ok("produce", "t", *"abcabd")
    words = "consume", "t", "-g", "g", "-G", "v=^[ab]$", "--exec", "cat"
    assert mk.ok(*words, "-n", 3) == b"aba"
    assert mk.ok(*words) == b"b"
    assert mk.ok("consume", "t", "-g", "g") == b""
