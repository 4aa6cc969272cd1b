"""Records on their way out of one topic and into another: JSON lines, frames and formats, as real processes and pipes."""

import json
import os
import random
import select
import signal
import sys

import msgpack
import pytest
from running import read_until

import mk as api

pytestmark = pytest.mark.both_engines

COUNT = 20_000
LENGTHS = "%T{big64}%K{big32}%k%V{big32}%v%H{big32}%h{%K{big32}%k%V{big32}%v}"
BY_LENGTH = ["-f", "%V{big32}%v"]


def any_bytes(source: random.Random) -> bytes:
    kind = source.randrange(6)
    if kind == 0:
        return source.randbytes(source.randrange(40))
    if kind == 1:
        return "".join(chr(source.choice([10, 34, 92, 233, 0x2028, 0x1F9C0, 65])) for _ in range(6)).encode()
    if kind == 2:
        return source.choice([b"", b"\n", b"\0", b"null", b"NULL", b'{"b64":"YQ=="}', b"\xed\xa0\x80", b"\xef\xbb\xbf"])
    return b"value %d" % source.randrange(10**9)


def some(source: random.Random) -> bytes | None:
    return None if source.random() < 0.1 else any_bytes(source)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log directory whose topic `a`, with three partitions, holds random records, and these by partition."""
    from running import Mk

    mk = Mk(tmp_path_factory.mktemp("made") / "log")
    source = random.Random(7)
    with api.connect(mk.location, create=True) as cluster:
        cluster.create_topic("a", partitions=3, config={"retention.ms": -1})
        with cluster.producer("a") as producer:
            for _ in range(COUNT // 1000):
                headers = [
                    tuple((any_bytes(source), some(source)) for _ in range(source.randrange(1, 4)))
                    if source.random() < 0.2
                    else ()
                    for _ in range(1000)
                ]
                times = [source.randrange(1 << 41) for _ in range(1000)]
                records = [some(source) for _ in range(1000)], [some(source) for _ in range(1000)]
                producer.send_records(*records, headers, times)
    return mk, stored(mk, "a")


def stored(mk, topic):
    """Return what each partition of a topic holds."""
    found: dict[int, list] = {}
    with api.connect(mk.location) as cluster:
        for record in cluster.consumer([topic]):
            content = (record.key, record.value, record.headers, record.timestamp_ms)
            found.setdefault(record.partition, []).append(content)
    return found


@pytest.mark.parametrize("form", ["-J", "-f framed", f"-f '{LENGTHS}%p{{big32}}'"], ids=["json", "framed", "lengths"])
def test_what_consume_prints_is_what_produce_stores(made, form):
    mk, records = made
    assert sum(map(len, records.values())) == COUNT
    copy = f"b{len(form)}"
    mk.ok("topics", "create", copy, "--partitions", 3, "-c", "retention.ms=-1")
    keep = "" if "%p" in form else "--keep-partition"
    done = mk.shell(f"mk consume a {form} | mk produce {copy} -q {form} {keep}")
    assert (done.status, done.err) == (0, "")
    assert stored(mk, copy) == records


def test_a_key_finds_its_partition_whatever_partition_the_input_names(made):
    mk, records = made
    done = mk.shell("mk consume a -p 0 -J | mk produce c -q -J --partitions 3")
    assert (done.status, done.err) == (0, "")
    copied = stored(mk, "c")
    keyed = {content for content in copied.pop(0) if content[0] is not None}
    assert keyed == {content for content in records[0] if content[0] is not None}
    assert not any(content[0] for of_one in copied.values() for content in of_one)


# Bad input.


@pytest.mark.parametrize(
    ("words", "good", "bad", "says"),
    [
        (["-J"], b'{"payload":"%d"}\n', b'{"payload":\n', "input line 301 is no record"),
        (["-J", "-0"], b'{"payload":"%d"}\0', b"{}\0", "input record 301 is no record"),
        (["-f", r"%k=%v\n"], b"k=%d\n", b"no key\n", "input line 301 is no record"),
        (["-f", "%V %v,"], None, b"x 1,", "input record 301 is no record"),
        (["-f", "%V{big32}%v"], None, b"\xff\xff\xff\x00", "input record 301 is no record"),
        (["-f", "framed"], None, b"\xc1", "input record 301 is no record"),
        (["-f", "framed"], None, msgpack.packb([1, 2]), "input record 301 is no record"),
    ],
)
def test_a_bad_record_is_65_with_its_number_and_all_before_it_is_stored(mk, words, good, bad, says):
    def record(number: int) -> bytes:
        if good is not None:
            return good % number
        value = b"%d" % number
        if words[1] == "framed":
            return msgpack.packb([None] * 5 + [None, value])
        return b"%d %s," % (len(value), value) if " " in words[1] else len(value).to_bytes(4, "big") + value

    before = [record(number) for number in range(1000, 1300)]
    behind = [record(number) for number in range(1301, 1401)]
    done = mk("produce", "t", "-q", *words, stdin=b"".join([*before, bad, *behind]))
    assert done.status == 65
    assert says in done.err and "mk: 300 records stored" in done.err
    assert mk.ok("consume", "t") == b"".join(b"%d\n" % number for number in range(1000, 1300))
    as_json = mk("produce", "u", "-q", "--json", *words, stdin=b"".join([*before, bad, *behind]))
    told = json.loads(as_json.err.splitlines()[-1])
    assert (told["error"], told["facts"]["records_stored"]) == ("BadInputError", 300)
    skipped = mk("produce", "v", "-q", "--skip-bad", *words, stdin=b"".join([*before, bad, *behind]))
    is_lost = "%V" in words[-1] or bad == b"\xc1"
    assert skipped.status == (65 if is_lost else 1)
    assert len(mk.ok("consume", "v").splitlines()) == (300 if is_lost else 400)
    if not is_lost:
        assert "mk: 400 records stored, 1 skipped" in skipped.err and f"skipped: {says}" in skipped.err


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_record_that_is_too_large_for_the_topic_costs_itself_alone(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=1000")
    lines = b"".join(b'{"payload":"%s"}\n' % (b"x" * size) for size in (10, 1001, 1000, 5000, 20))
    done = mk("produce", "t", "-q", "-J", stdin=lines)
    assert done.status == 65 and "input line 2 has 1001 bytes" in done.err and "1 record stored" in done.err
    done = mk("produce", "t", "-q", "-J", "--skip-bad", stdin=lines)
    assert done.status == 1 and "3 records stored, 2 skipped" in done.err
    assert [len(line) for line in mk.ok("consume", "t").splitlines()] == [10, 10, 1000, 20]


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_line_of_json_may_be_six_times_as_long_as_its_record(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=100000")
    mk.ok("produce", "t", "-q", "-J", stdin=b'{"payload":"%s"}\n' % (b"\\u0000" * 100_000))
    assert mk.ok("consume", "t", "-f", "raw") == bytes(100_000)


def test_exit_status_is_not_0_when_a_frame_is_cut_off(mk):
    frames = msgpack.packb([None] * 5 + [None, b"whole"]) + msgpack.packb([None] * 5 + [None, b"torn"])[:-2]
    done = mk("produce", "t", "-q", "-f", "framed", stdin=frames)
    assert done.status == 65 and "input record 2" in done.err and "the input ends within it" in done.err
    assert mk.ok("consume", "t") == b"whole\n"


def test_a_partition_that_the_topic_does_not_have_is_bad_input(mk):
    mk.ok("topics", "create", "t", "--partitions", 2)
    lines = b"0 a\n1 b\n2 c\n0 d\n"
    done = mk("produce", "t", "-q", "-f", r"%p %v\n", stdin=lines)
    assert done.status == 65 and "input line 3" in done.err and "no partition 2" in done.err
    done = mk("produce", "t", "-q", "--skip-bad", "-f", r"%p %v\n", stdin=lines)
    assert done.status == 1
    assert mk.ok("consume", "t", "-f", r"%p %v\n") == b"0 a\n0 a\n0 d\n1 b\n1 b\n"
    assert mk.ok("produce", "t", "-q", "-p", 1, "-f", r"%p %v\n", stdin=b"0 x\n7 y\n") == b""
    assert mk.ok("consume", "t", "-p", 1, "-o", -2) == b"x\ny\n"


# Which topic.


def test_topic_and_environment_win_over_the_topic_of_a_record(mk):
    line = b'{"topic":"own","payload":"v"}\n'
    mk.ok("produce", "named", "-q", "-J", stdin=line)
    mk.ok("produce", "-q", "-J", stdin=line, env={"MK_TOPIC": "environment"})
    mk.ok("produce", "-q", "-J", stdin=line)
    mk.ok("produce", "-q", "-J", stdin=b'{"payload":"v"}\n')
    mk.ok("produce", "-q", "-f", r"%t %v\n", stdin=b"format v\n")
    assert mk.ok("topics", "-q").split() == [b"default", b"environment", b"format", b"named", b"own"]


def test_records_of_a_dead_letter_topic_go_back_to_where_they_are_from(mk):
    for topic in ("orders", "bills"):
        mk.ok("produce", topic, "-q", "-k", topic, topic)
    kept = mk.ok("consume", "orders", "bills", "-J")
    for topic in ("orders", "bills"):
        mk.ok("topics", "delete", topic, "--yes")
    mk.ok("produce", "-q", "-J", stdin=kept)
    assert mk.ok("consume", "orders", "bills", "-f", r"%t %k %v\n") == b"orders orders orders\nbills bills bills\n"


def test_any_number_of_topics_in_one_run_each_in_its_order(mk):
    names = [f"t{number}" for number in range(100)]
    source = random.Random(3)
    sent = [(source.choice(names), number) for number in range(1000)]
    lines = b"".join(b'{"topic":"%s","payload":"%d"}\n' % (name.encode(), number) for name, number in sent)
    done = mk("produce", "-q", "-J", "--acks", 0, stdin=lines)
    assert (done.status, done.err) == (0, "")
    printed = mk.ok("consume", "-r", "^t", "-f", r"%t %v\n").split(b"\n")[:-1]
    expected: dict[str, list[int]] = {}
    for name, number in sent:
        expected.setdefault(name, []).append(number)
    found: dict[str, list[int]] = {}
    for line in printed:
        name, number = line.split()
        found.setdefault(name.decode(), []).append(int(number))
    assert found == expected


def test_a_topic_that_cannot_be_costs_its_record_and_one_that_must_not_be_made_ends_it(mk):
    lines = b'{"topic":"a","payload":"1"}\n{"topic":"../b","payload":"2"}\n{"topic":"c","payload":"3"}\n'
    done = mk("produce", "-q", "-J", stdin=lines)
    assert done.status == 65 and "input line 2" in done.err and "no name that a topic can have" in done.err
    assert mk.ok("topics", "-q").split() == [b"a"]
    done = mk("produce", "-q", "-J", "--no-create", "--skip-bad", stdin=lines)
    assert done.status == 66 and "no topic c" in done.err
    assert mk.ok("consume", "a") == b"1\n1\n"


# Again, under a producer id.


@pytest.mark.directory_only("brokers remember no producer that was started again")
@pytest.mark.parametrize("form", ["-J", "-f framed", f"-f '{LENGTHS}'"], ids=["json", "framed", "lengths"])
@pytest.mark.parametrize("topic", ["t", ""])
def test_input_that_is_sent_again_under_a_producer_id_is_stored_once(mk, form, topic):
    if not topic and "%T" in form:
        form = form.replace("%T", "%t{json}%T")
    for name in "tuv":
        mk.ok("topics", "create", name, "--partitions", 3)
    source = random.Random(5)
    lines = []
    for number in range(400):
        key = source.choice([None, "a", "b", "c", "d"])
        lines.append({"topic": source.choice("tuv"), "key": key, "payload": str(number), "ts": number})
    feed = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    mk.ok("topics", "create", "in")
    mk.ok("produce", "in", "-q", "-J", stdin=feed)
    if not topic:  # What it names is where it goes: have it name other topics than the one it is read from.
        mk.ok("produce", "-q", "-J", "--producer-id", "x", stdin=b"".join(feed.splitlines(keepends=True)[:150]))
        again = mk("produce", "-J", "--producer-id", "x", stdin=feed)
    else:
        printed = mk.ok("consume", "in", *(["-J"] if form == "-J" else ["-f", form[3:].strip("'")]))
        words = ["-J"] if form == "-J" else ["-f", form[3:].strip("'")]
        first = mk.ok("consume", "in", "-n", 150, *words)
        mk.ok("produce", "t", "-q", *words, "--producer-id", "x", stdin=first)
        again = mk("produce", "t", *words, "--producer-id", "x", stdin=printed)
    assert again.status == 0 and "150 records were stored before under producer id x; 250 stored now" in again.err
    topics = [topic] if topic else list("tuv")
    numbers = [int(line) for line in mk.ok("consume", *topics).split()]
    assert sorted(numbers) == list(range(400))
    for partitions in (stored(mk, name) for name in topics):
        for of_one in partitions.values():
            values = [int(content[1]) for content in of_one]
            assert values == sorted(values)


# While it comes.


@pytest.mark.parametrize("words", [["-J"], ["-f", r"%k %v\n"], ["-f", "framed"], BY_LENGTH])
def test_a_record_that_comes_alone_is_stored_at_once_and_printed_at_once(mk, words):
    def record(value: bytes) -> bytes:
        if words == ["-J"]:
            return b'{"payload":"%s"}\n' % value
        if "framed" in words:
            return msgpack.packb([None] * 5 + [b"k", value])
        return len(value).to_bytes(4, "big") + value if words is BY_LENGTH else b"k %s\n" % value

    mk.ok("topics", "create", "t")
    with mk.start("produce", "t", *words) as producer, mk.start("consume", "t", "-F", "-f", r"[%v]\n") as consumer:
        for value in (b"one", b"two", b"three"):
            producer.stdin.write(record(value))
            assert read_until(consumer.stdout.fileno(), b"]\n") == b"[%s]\n" % value
        torn = record(b"torn")[:-2]
        producer.stdin.write(torn)
        assert not select.select([consumer.stdout], [], [], 0.1)[0]
        producer.send_signal(signal.SIGTERM)
        assert producer.wait(20) == -signal.SIGTERM
        assert producer.stderr.read() == b""
    assert mk.ok("consume", "t") == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("words", [["-J"], ["-f", "%k %v,"], ["-f", "framed"], ["-f", r"%V{big32}%v"]])
def test_a_closed_pipe_ends_every_format_silently(mk, words):
    mk.ok("produce", "t", "-q", stdin=b"x" * 40 + b"\n" + b"y\n" * 500_000)
    done = mk.shell(f"mk consume t {words[0]} {repr(words[1]) if words[1:] else ''} | head -c 1 | wc -c; status")
    assert (done.status, done.out.strip(), done.err) == (141, b"1", "")


# Options.


def test_options_fill_in_what_a_record_does_not_say(mk):
    lines = b'{"payload":"1","key":"own","ts":5,"headers":[["a","b"]]}\n{"payload":"2"}\n{"payload":""}\n'
    mk.ok("produce", "t", "-q", "-J", "-k", "k", "--timestamp", "1970-01-01T00:00:07Z", "-H", "h=1", "-Z", stdin=lines)
    assert mk.ok("consume", "t", "-Z", "-f", r"%T %k %v%h{ %k=%v}\n") == (
        b"5 own 1 a=b h=1\n7000 k 2 h=1\n7000 k NULL h=1\n"
    )


@pytest.mark.parametrize("words", [["-J"], ["-f", r"%k:%v\n"], ["-f", "framed"], BY_LENGTH])
def test_the_input_is_passed_on_as_it_came_and_a_count_ends_it(mk, words, tmp_path):
    mk.ok("produce", "a", "-q", "-k", "k", *"abcdefgh")
    printed = mk.ok("consume", "a", *words)
    assert mk.ok("produce", "b", "-q", "-T", *words, stdin=printed) == printed
    (tmp_path / "in").write_bytes(printed)
    with (tmp_path / "in").open("rb") as file:
        taken = mk.ok("produce", "c", "-q", "-T", "-n", 3, *words, stdin=file.fileno())
        rest = os.read(file.fileno(), 1 << 20)
    assert taken + rest == printed
    assert mk.ok("consume", "c") == b"a\nb\nc\n"
    assert mk.ok("produce", "c", "-q", *words, stdin=rest) == b""
    assert mk.ok("consume", "c") == mk.ok("consume", "a")


def test_who_copies_old_records_is_told_that_they_will_not_stay(mk):
    mk.ok("topics", "create", "kept", "-c", "retention.ms=-1")
    mk.ok("topics", "create", "not", "-c", "retention.ms=7d")
    lines = b'{"topic":"kept","payload":"v","ts":1000}\n{"topic":"not","payload":"v","ts":1000}\n'
    done = mk("produce", "-J", stdin=lines)
    assert done.status == 0
    assert "some of these records are older than not keeps any" in done.err and "than kept" not in done.err
    assert "older than" not in mk("produce", "t", "-J", stdin=b'{"payload":"v"}\n').err


def test_files_are_read_one_after_another_and_named_in_errors(mk, tmp_path):
    (tmp_path / "a").write_bytes(b'{"payload":"1"}\n\n')
    (tmp_path / "b").write_bytes(b'\xef\xbb\xbf{"payload":"2"}')
    done = mk("produce", "t", "-q", "-J", "--skip-bad", "--file", tmp_path / "a", "--file", tmp_path / "b")
    assert done.status == 1 and f"{tmp_path / 'a'}: line 2 is no record: it is empty" in done.err
    assert mk.ok("consume", "t") == b"1\n2\n"


def test_get_and_tail_take_a_format(mk):
    mk.ok("produce", "t", "-q", "-k", "k", "-H", "a=1", "v")
    assert mk.ok("topics", "get", "t", "k", "-f", r"%t/%p:%o %v%h{ %k}\n") == b"t/0:0 v a\n"
    assert mk.ok("tail", "t", "--max-time", "2s", "-f", "%i%v;") == b"1v;"


def test_a_counter_counts_each_record_once_also_where_pieces_are_small(mk):
    mk.ok("produce", "t", "-q", stdin=b"x\n" * 300 + (b"y" * 3000 + b"\n") * 30 + b"z\n" * 300)
    printed = mk.ok("consume", "t", "--max-time", "1h", "-f", r"%i\n")
    assert printed == mk.ok("consume", "t", "-f", r"%i\n") == b"".join(b"%d\n" % number for number in range(1, 631))


@pytest.mark.directory_only("brokers take no times before 1970, and none far ahead")
def test_times_that_no_calendar_has_are_printed_and_read_as_numbers(mk):
    mk.ok("produce", "t", "-q", "-f", r"%T %v\n", stdin=b"4611686018427387904 a\n-62135596800001 b\n-1 c\n")
    mk.ok("topics", "create", "u", "-c", "retention.ms=-1")
    printed = mk.ok("consume", "t", "-f", r"%d{iso} %v\n")
    assert printed == b"4611686018427387904 a\n-62135596800001 b\n1969-12-31T23:59:59.999Z c\n"
    mk.ok("produce", "u", "-q", "-f", r"%d{iso} %v\n", stdin=printed)
    assert mk.ok("consume", "u", "-f", r"%d{iso} %v\n") == printed
    assert mk.ok("consume", "t", "-o", 2, "-f", "%d{strftime[%FT%T %Z %%Z]}") == b"1969-12-31T23:59:59 UTC %Z"


MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", [["-J"], ["-f", "framed"], BY_LENGTH, ["-f", r"%k %v\n"]])
def test_memory_does_not_grow_with_the_input(mk, words, tmp_path):
    peaks = []
    for count in (200_000, 1_000_000):
        topic = f"t{count}"
        mk.ok("produce", topic, "-q", "-k", "key", stdin=b"a value of some length, as they are\n" * count)
        with (tmp_path / "printed").open("wb") as file:
            out = mk("consume", topic, *words, stdout=file, stderr=-1, prefix=(sys.executable, "-c", MEMORY))
        with (tmp_path / "printed").open("rb") as file:
            back = mk("produce", f"{topic}b", "-q", *words, stdin=file.fileno(), prefix=(sys.executable, "-c", MEMORY))
        assert (out.status, back.status) == (0, 0), (out, back)
        peaks.append((int(out.err), int(back.err)))
    assert max(peaks[1]) < 96 << 10
    for small, large in zip(*peaks, strict=True):
        assert large < small + (16 << 10)


def test_newlines_and_binary_in_values_neither_split_nor_merge_records(mk):
    values = [b"two\nlines", b"", b"\n", b"\xff\x00\n\xfe", "k\u00e4se\tx".encode()]
    mk.ok("produce", "a", "-q", "-f", "%V{big32}%v", stdin=b"".join(len(v).to_bytes(4, "big") + v for v in values))
    for words in (
        ["-J"],
        ["-f", "framed"],
        BY_LENGTH,
        ["-f", r"%v{base64}\n"],
        ["-f", r"%v{hex}\n"],
        ["-f", r"%v{json},"],
    ):
        printed = mk.ok("consume", "a", *words)
        if words == ["-J"]:
            assert len([json.loads(line) for line in printed.decode().splitlines()]) == len(values)
        topic = f"b{abs(hash(words[-1]))}"
        mk.ok("produce", topic, "-q", *words, stdin=printed)
        assert [content[1] for content in stored(mk, topic)[0]] == values


def test_a_key_may_hold_whatever_separates_it_from_the_value(mk):
    mk.ok("produce", "a", "-q", "-k", "k\tx:=", "v\ty")
    for words in (["-J"], ["-f", "framed"], ["-f", r"%k{json} %v{json}\n"], ["-f", r"%K %k:%v\n"]):
        mk.ok("produce", "b", "-q", *words, stdin=mk.ok("consume", "a", *words))
    assert {content[:2] for content in stored(mk, "b")[0]} == {(b"k\tx:=", b"v\ty")}


def test_values_as_arguments_leave_the_input_alone(mk):
    with mk.start("produce", "t", "-q", "v", "-f", "value") as producer:
        assert producer.wait(20) == 0  # With an input that never ends.
    assert mk.ok("consume", "t") == b"v\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "whole", "half"),
    [
        (["-J"], b'{"payload":"whole"}\n', b'{"payload":"half"}'),
        (["-f", r"%k=%v\n"], b"k=whole\n", b"k=half"),
        (["-f", "%V{big32}%v"], b"\0\0\0\5whole", b"\0\0\0\5half"),
        (["-f", "framed"], msgpack.packb([None] * 6 + [b"whole"]), msgpack.packb([None] * 6 + [b"half"])[:-1]),
    ],
)
def test_a_signal_stores_the_whole_records_that_came_and_no_half_of_one(mk, words, whole, half, number):
    mk.ok("topics", "create", "t")
    with mk.start("consume", "t", "-F") as consumer, mk.start("produce", "t", *words) as producer:
        producer.stdin.write(whole + half)
        assert consumer.stdout.readline() == b"whole\n"
        producer.send_signal(number)
        assert producer.wait(20) == -number
        assert producer.stderr.read() == b""
    assert mk.ok("consume", "t") == b"whole\n"


def test_a_count_counts_records_and_not_offsets(mk):
    mk.ok("produce", "t", "-q", "-K", ":", stdin=b"a:1\nb:2\na:3\n")
    assert mk.ok("consume", "t", "-n", 2, "-f", "%i:%k%v,") == b"1:a1,2:b2,"
    assert mk.ok("consume", "t", "--tail", 1, "-f", "%i:%o%v,") == b"1:23,"


def test_a_whole_file_may_have_a_key(mk, tmp_path):
    (tmp_path / "a").write_bytes(b"k\tline 1\nline 2\n")
    mk.ok("produce", "t", "-q", "--whole", "-f", "kv", "--file", tmp_path / "a")
    assert mk.ok("consume", "t", "-f", "%k=%v") == b"k=line 1\nline 2\n"
