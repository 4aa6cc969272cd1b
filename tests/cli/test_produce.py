"""`mk produce` end to end: what goes in comes out, as it was, where it belongs, and what did not go in is said."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from zlib import crc32

import pytest
from running import read_to_end, read_until

from mk.records.codecs import CODEC_NAMES, ZSTD
from tests.thinning import crossed

pytestmark = pytest.mark.both_engines

MIB = 1 << 20

# Kafka's UtilsTest.testMurmur2, as Java's signed integers.
MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_a_million_lines_come_out_as_they_went_in(mk):
    done = mk.shell("set -e -o pipefail; seq 1 1000000 | mk produce n -q; mk consume n | cmp - <(seq 1 1000000)")
    assert (done.status, done.out, done.err) == (0, b"", "")
    assert mk.offsets("n") == [(0, 1_000_000)]


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize("partitioner", ["crc32", "murmur2"])
def test_each_key_keeps_its_order_and_lands_where_the_published_partitioner_says(mk, partitioner):
    mk.ok("topics", "create", "t", "-p", 8, "-c", f"partitioner={partitioner}")
    keys = [*MURMUR2] if partitioner == "murmur2" else [b"user-%d" % number for number in range(100)]
    lines = [(keys[number * 7919 % len(keys)], b"%d" % number) for number in range(60_000)]
    mk.ok("produce", "t", "-K", r"\t", stdin=b"".join(b"%b\t%b\n" % line for line in lines))
    seen = {key: [] for key in keys}
    for partition in range(8):
        for line in mk.ok("consume", "t", "-p", partition, "-f", "kv").splitlines():
            key, _, value = line.partition(b"\t")
            expected = MURMUR2[key] & 0x7FFFFFFF if partitioner == "murmur2" else crc32(key)
            assert expected % 8 == partition
            seen[key].append(value)
    for key in keys:
        assert seen[key] == [value for its_key, value in lines if its_key == key]


UNUSUAL = [
    b"",
    b"\n",
    b"\n\n\n",
    b"a\r\nb\r\n",
    b"\r",
    b"no newline at the end",
    b"a\n\nno newline at the end",
    b"\xff\xfe invalid \xc3\x28 utf-8 \xed\xa0\x80\n",
    b"nul \0 in the middle\n\0\n\0\0\n",
    b"\x8aMK\x01 what a batch begins with\n" * 40,
    bytes(range(256)).replace(b"\n", b"") + b"\n",
    b" leading and trailing \t\n",
    b"-F\n--\n%v\\n\n",
]


WAYS_TO_STORE = [(), ("-k", "key"), ("-K", ":::"), ("-z", "zstd"), ("-K", ":::", "-z", "zstd")]


@pytest.mark.parametrize(("data", "options"), crossed(UNUSUAL, WAYS_TO_STORE, every=2))
def test_lines_are_unchanged_whatever_they_hold(mk, data, options):
    mk.ok("produce", "t", *options, stdin=data)
    expected = data + b"\n" if data and data[-1:] != b"\n" else data
    assert mk.ok("consume", "t") == expected
    assert mk.offsets("t") == [(0, expected.count(b"\n"))]


@pytest.mark.directory_only("a broker takes 1 MiB unless it is told otherwise")
@pytest.mark.parametrize(("codec", "options"), crossed(["none", "gzip", "lz4", "zstd"], [(), ("-K", ":")], every=2))
def test_values_of_ten_megabytes(mk, codec, options):
    big = os.urandom(5 * MIB).hex().encode() + b"x"
    data = b"k:%b\nk:small\nk:%b\n" % (big, big[::-1])
    mk.ok("produce", "t", "-z", codec, *options, stdin=data)
    assert mk.ok("consume", "t") == (data.replace(b"k:", b"") if options else data)
    assert mk.ok("consume", "t", "-o", 1, "-n", 1) == (b"small\n" if options else b"k:small\n")


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_line_over_the_limit_is_named_and_what_came_before_is_stored(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=1000")
    done = mk("produce", "t", stdin=b"a\n\n" + b"b" * 1000 + b"\n" + b"c" * 1001 + b"\nd\n")
    assert done.status == 65
    assert "input line 4" in done.err
    assert "max.message.bytes" in done.err
    assert "3 records stored" in done.err
    assert mk.ok("consume", "t") == b"a\n\n" + b"b" * 1000 + b"\n"


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_line_over_the_limit_far_into_the_input_is_named_by_its_number(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=100")
    lines = b"".join(b"%d\n" % number for number in range(1, 300_001))
    done = mk("produce", "t", stdin=lines + b"x" * 101)
    assert done.status == 65
    assert "input line 300001" in done.err
    assert "300000 records stored" in done.err
    assert mk.ok("consume", "t") == lines


@pytest.mark.directory_only("a broker takes 1 MiB unless it is told otherwise")
def test_the_default_limit_is_16_mib(mk):
    with mk.start("produce", "t") as process:
        _, errors = process.communicate(b"first\n" + b"x" * (16 * MIB + 1) + b"\n", timeout=30)
    assert process.returncode == 65
    assert b"16777216" in errors
    assert mk.ok("consume", "t") == b"first\n"
    assert mk("produce", "t", stdin=b"x" * (16 * MIB) + b"\n").status == 0
    assert len(mk.ok("consume", "t", "-o", "1")) == 16 * MIB + 1


def test_an_endless_line_is_refused_without_reading_it_all(mk):
    mk.ok("topics", "create", "t")
    done = mk.shell("tr '\\0' x < /dev/zero | mk produce t; status")
    assert done.status == 141 or "input line 1" in done.err  # what bash saw first
    assert "input line 1" in done.err


@pytest.mark.directory_only("Kafka's max.message.bytes counts the head of a batch, too")
def test_a_key_counts_towards_the_limit(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=100")
    assert mk("produce", "t", "-k", "k" * 50, stdin=b"v" * 50).status == 0
    assert mk("produce", "t", "-k", "k" * 50, stdin=b"v" * 51).status == 65
    assert mk("produce", "t", "-k", "k" * 50, "v" * 50).status == 0
    assert mk("produce", "t", "-k", "k" * 50, "v" * 51).status == 65
    assert mk("produce", "t", "-K", ":", stdin=b"%b:%b" % (b"k" * 50, b"v" * 51)).status == 65
    assert mk.offsets("t") == [(0, 2)]


def test_values_as_arguments(mk):
    values = ["a", "", "with\nnewlines\n", "-F", "--", "é", "\udcff\udcfe"]
    mk.ok("produce", "t", "--", *values)
    assert mk.ok("consume", "t", "-0") == b"".join(os.fsencode(value) + b"\0" for value in values)
    assert mk.offsets("t") == [(0, len(values))]


def test_a_single_empty_argument_is_a_record(mk):
    mk.ok("produce", "t", "")
    assert mk.ok("consume", "t") == b"\n"


def test_with_values_standard_input_is_left_alone(mk):
    with open("/dev/zero", "rb") as endless:
        mk.ok("produce", "t", "value", stdin=endless.fileno())
    done = mk.shell("printf 'rest\\n' | { mk produce t second; cat; }")
    assert done.out == b"rest\n"
    assert mk.shell("mk produce t third <&-").status == 0
    assert mk.ok("consume", "t") == b"value\nsecond\nthird\n"


@pytest.mark.directory_only("a broker takes 1 MiB unless it is told otherwise")
def test_a_value_over_the_limit_is_named_and_what_came_before_is_stored(mk):
    mk.ok("topics", "create", "t", "-c", "max.message.bytes=10")
    done = mk("produce", "t", "one", "two", "x" * 11, "four")
    assert done.status == 65
    assert "value 3" in done.err
    assert "2 records stored" in done.err
    assert mk.ok("consume", "t") == b"one\ntwo\n"


def test_a_fixed_key(mk):
    mk.ok("produce", "t", "-k", "u1", "a", "b")
    mk.ok("produce", "t", "-k", "", stdin=b"c\nd\n")
    mk.ok("produce", "t", "e")
    assert mk.ok("consume", "t", "-f", "kv") == b"u1\ta\nu1\tb\n\tc\n\td\n\te\n"
    keys = [line.split(b'"key":')[1].split(b",")[0] for line in mk.ok("consume", "t", "-J").splitlines()]
    assert keys == [b'"u1"', b'"u1"', b'""', b'""', b"null"]


def test_a_parsed_key_wins_over_a_fixed_one(mk):
    mk.ok("produce", "t", "-k", "fixed", "-K", "=", stdin=b"own=1\nnone\n=empty\nown=a=b\n")
    mk.ok("produce", "t", "-k", "fixed", "-K", "=", "own=2", "none")
    assert mk.ok("consume", "t", "-f", "kv") == (b"own\t1\nfixed\tnone\n\tempty\nown\ta=b\nown\t2\nfixed\tnone\n")


def test_a_key_delimiter_of_several_bytes_and_with_escapes(mk):
    mk.ok("produce", "t", "-K", r"\x01\x01", stdin=b"k\x01\x01v\x01w\nk\x01v\n")
    assert mk.ok("consume", "t", "-f", "kv") == b"k\tv\x01w\n\tk\x01v\n"


def test_a_chosen_partition_takes_every_key(mk):
    mk.ok("topics", "create", "t", "-p", 4)
    mk.ok("produce", "t", "-p", 3, "-K", ":", stdin=b"a:1\nb:2\n3\n")
    mk.ok("produce", "t", "-p", 3, "4")
    assert mk.offsets("t") == [(0, 0), (0, 0), (0, 0), (0, 4)]


def test_a_partition_that_is_not_there(mk):
    mk.ok("topics", "create", "t", "-p", 4)
    done = mk("produce", "t", "-p", 4, stdin=b"a\n")
    assert done.status == 66
    assert "no partition 4" in done.err
    assert mk.offsets("t") == [(0, 0)] * 4


@pytest.mark.parametrize("words", [("-p", 1, "v"), ("-p", 2, "--partitions", 2)])
def test_a_partition_that_the_topic_would_not_have_leaves_no_topic(mk, words):
    mk.ok("topics", "create", "other")
    done = mk("produce", "t", *words, stdin=b"v\n")
    assert done.status == 66 and "would have no partition" in done.err, done
    assert mk.ok("topics", "-q") == b"other\n"


def test_records_without_a_key_stay_together_batch_by_batch(mk):
    mk.ok("topics", "create", "t", "-p", 4)
    mk.ok("produce", "t", *"abc")
    assert sorted(end for _, end in mk.offsets("t")) == [0, 0, 0, 3]


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
@pytest.mark.parametrize("options", [(), ("-K", " ")])
def test_compression(mk, codec, options):
    data = b"".join(b"line %d of many that look alike\n" % number for number in range(50_000))
    mk.ok("produce", "t", "-z", codec, *options, stdin=data)
    assert {batch.codec for batch in mk.batches("t")} == {CODEC_NAMES[codec]}
    assert mk.segments("t")[0].stat().st_size < len(data) / 3
    assert mk.ok("consume", "t") == (data.replace(b"line ", b"") if options else data)
    assert mk.ok("consume", "t", "-o", -1) == data.splitlines(keepends=True)[-1].replace(
        b"line ", b"" if options else b"line "
    )


@pytest.mark.directory_only("it looks at the files of the log")
def test_compression_type_of_the_topic_unless_told_otherwise(mk):
    mk.ok("topics", "create", "t", "-c", "compression.type=zstd")
    mk.ok("produce", "t", stdin=b"x" * 1000)
    mk.ok("produce", "t", "x" * 1000)
    mk.ok("produce", "t", "-z", "none", stdin=b"x" * 1000)
    assert [batch.codec for batch in mk.batches("t")] == [ZSTD, ZSTD, 0]
    assert mk.ok("consume", "t") == (b"x" * 1000 + b"\n") * 3


@pytest.mark.directory_only("a broker takes 1 MiB unless it is told otherwise")
@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_what_compresses_too_well_is_stored_plain(mk, codec):
    """A reader refuses a payload that claims to grow more than a thousandfold."""
    mk.ok("produce", "t", "-z", codec, stdin=b"\0" * (10 * MIB))
    assert mk.ok("consume", "t") == b"\0" * (10 * MIB) + b"\n"


@pytest.mark.parametrize("acks", [0, 1])
def test_acks(mk, acks):
    mk.ok("produce", "t", "--acks", acks, stdin=b"a\nb\n")
    mk.ok("produce", "t", "c", env={"MK_ACKS": str(acks)})
    assert mk.ok("consume", "t") == b"a\nb\nc\n"


@pytest.mark.directory_only("brokers leave the sync to the kernel")
def test_acks_0_does_not_sync_and_acks_1_does(mk, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("there is no strace")
    strace = ("strace", "-f", "-o", str(tmp_path / "trace"), "-e", "trace=fdatasync")
    if mk("--version", prefix=strace).status != 0:
        pytest.skip("strace does not work here")
    mk.ok("topics", "create", "t")
    counts = []
    for acks in (0, 1):
        mk.ok("produce", "t", "--acks", acks, "v", prefix=strace)
        counts.append((tmp_path / "trace").read_text().count("fdatasync("))
    assert counts[0] == 0
    assert counts[1] > 0


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize("acks", ["all", "2", "-1"])
def test_other_acks_are_refused(mk, acks):
    assert mk("produce", "t", f"--acks={acks}", "v").status == 2
    assert not mk.directory.exists()


@pytest.mark.directory_only("it looks at the files of the log")
def test_the_topic_is_made_on_first_use_and_stderr_says_so(mk):
    done = mk("produce", "t", "--partitions", 3, "v")
    assert done.status == 0
    assert done.err == f"mk: created topic t (3 partitions) in {mk.directory}\n"
    done = mk("produce", "t", "--partitions", 5, "v")
    assert (done.status, done.err) == (0, "")
    assert len(mk.offsets("t")) == 3


def test_quiet_says_nothing(mk):
    assert mk("produce", "t", "-q", "v").err == ""


@pytest.mark.directory_only("it looks at the files of the log")
def test_no_create(mk):
    done = mk("produce", "t", "--no-create", "v")
    assert done.status == 66
    assert "no log directory" in done.err
    assert not mk.directory.exists()
    mk.ok("topics", "create", "other")
    done = mk("produce", "t", "--no-create", stdin=b"v\n")
    assert done.status == 66
    assert "no topic t" in done.err
    assert mk("consume", "t").status == 66


def test_topic_from_the_environment_else_default(mk):
    mk.ok("produce", stdin=b"a\n")
    mk.ok("produce", stdin=b"b\n", env={"MK_TOPIC": "named"})
    mk.ok("produce", "argument", stdin=b"c\n", env={"MK_TOPIC": "named"})
    mk.ok("produce", stdin=b"d\n", env={"MK_TOPIC": ""})
    assert mk.ok("consume", "default") == b"a\nd\n"
    assert mk.ok("consume", env={"MK_TOPIC": "named"}) == b"b\n"
    assert mk.ok("consume", "argument") == b"c\n"


@pytest.mark.directory_only("it looks at the files of the log")
def test_the_directory_from_the_option_the_environment_or_the_users_own(mk, tmp_path):
    mk.ok("produce", "t", "v", "-d", tmp_path / "option")
    assert (tmp_path / "option" / "mk.json").exists()
    assert not mk.directory.exists()
    mk.ok("produce", "t", "v", env={"MK_DIR": "", "XDG_DATA_HOME": str(tmp_path / "xdg")})
    assert (tmp_path / "xdg" / "mk" / "mk.json").exists()
    mk.ok("produce", "t", "v", env={"MK_DIR": ""})
    assert (tmp_path / ".local" / "share" / "mk" / "mk.json").exists()


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_directory_with_other_things_in_it_is_not_made_a_log_directory(mk):
    mk.directory.mkdir()
    (mk.directory / "letter.txt").write_text("dear")
    done = mk("produce", "t", "v")
    assert done.status == 73
    assert "letter.txt" in done.err
    assert os.listdir(mk.directory) == ["letter.txt"]
    (mk.directory / "letter.txt").unlink()
    mk.ok("produce", "t", "v")


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_directory_below_a_file(mk):
    mk.directory.write_text("a file")
    assert mk("produce", "t", "v").status == 73
    assert mk("produce", "t", "v", "-d", mk.directory / "below").status == 73
    assert mk("consume", "t").status == 66


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize(
    "name", ["../evil", ".hidden", "a/b", "dot.", "x" * 201, "", "a b", "ä", "..", ".", "-x", "x\n"]
)
def test_names_that_no_topic_may_have(mk, name):
    for words in (["produce", "--", name, "v"], ["topics", "create", "--", name]):
        done = mk(*words)
        assert done.status == 2
        assert "cannot be the name of a topic" in done.err
        assert not mk.directory.exists(), "a refused command leaves nothing behind"
    mk.ok("topics", "create", "ok")
    before = sorted(mk.directory.rglob("*"))
    for words in (["produce", "--", name, "v"], ["consume", "--", name], ["topics", "delete", "--yes", "--", name]):
        assert mk(*words).status == 2
    assert sorted(mk.directory.rglob("*")) == before
    assert not (mk.directory.parent / "evil").exists()


def test_the_longest_name(mk):
    name = "x" * 200
    mk.ok("produce", name, "v")
    assert mk.ok("consume", name) == b"v\n"
    mk.ok("topics", "delete", name, "--yes")


@pytest.mark.directory_only("to Kafka they are two names")
def test_a_name_that_differs_only_in_case(mk):
    mk.ok("produce", "orders", "v")
    done = mk("produce", "Orders", "v")
    assert done.status == 73
    assert "orders" in done.err
    assert "--if-not-exists" not in done.err, "that would not help"
    assert mk.offsets("orders") == [(0, 1)]


# Slow and fast input.


@pytest.mark.directory_only("it looks at the files of the log")
def test_each_line_of_a_slow_pipe_is_visible_at_once(mk):
    mk.ok("topics", "create", "t")
    with mk.start("consume", "t", "-F") as consumer, mk.start("produce", "t") as producer:
        for number in range(20):
            line = b"line %d\n" % number
            producer.stdin.write(line)
            read_until(consumer.stdout.fileno(), line, seconds=10)
        producer.stdin.close()
        assert producer.wait(10) == 0
    assert len(mk.batches("t")) == 20


def test_half_a_line_waits_for_its_other_half(mk):
    mk.ok("topics", "create", "t")
    with mk.start("consume", "t", "-F") as consumer, mk.start("produce", "t") as producer:
        producer.stdin.write(b"one\ntw")
        read_until(consumer.stdout.fileno(), b"one\n")
        time.sleep(0.2)
        assert mk.ok("consume", "t") == b"one\n"
        producer.stdin.write(b"o\n")
        read_until(consumer.stdout.fileno(), b"two\n")


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_fast_pipe_goes_in_blocks(mk):
    data = b"".join(b"%d\n" % number for number in range(1_000_000))
    mk.ok("produce", "t", stdin=data)
    # Mostly 26; more if the machine is busy and the pipe pauses.
    assert len(data) // (256 << 10) <= len(mk.batches("t")) < 1000


def test_a_log_file_through_tail(mk, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"old 1\nold 2\n")
    mk.ok("topics", "create", "default")
    with (
        subprocess.Popen(["tail", "-n", "+1", "-f", log], stdout=subprocess.PIPE) as tail,
        mk.start("produce", stdin=tail.stdout) as producer,
    ):
        with mk.start("consume", "default", "-F") as consumer:
            read_until(consumer.stdout.fileno(), b"old 2\n")
            for number in range(5):
                with log.open("ab") as file:
                    file.write(b"new %d\n" % number)
                read_until(consumer.stdout.fileno(), b"new %d\n" % number)
            consumer.send_signal(signal.SIGINT)
            assert consumer.wait(10) == -signal.SIGINT
            assert consumer.stderr.read() == b""
        producer.send_signal(signal.SIGINT)
        assert producer.wait(10) == -signal.SIGINT
        assert producer.stderr.read() == b""
        tail.kill()
    assert mk.ok("consume", "default") == log.read_bytes()


# A terminal.


def test_on_a_terminal_it_says_what_it_waits_for_and_d_ends(mk, terminal):
    ours, theirs = terminal
    mk.ok("topics", "create", "t")
    with mk.start("produce", "t", stdin=theirs) as producer:
        read_until(producer.stderr.fileno(), b"^D")
        os.write(ours, b"typed\n")
        while not mk.ok("consume", "t"):
            pass
        os.write(ours, b"more\n\x04")
        assert producer.wait(20) == 0
        assert producer.stderr.read() == b""
    assert mk.ok("consume", "t") == b"typed\nmore\n"


def test_on_a_terminal_quiet_and_values_say_nothing(mk, terminal):
    ours, theirs = terminal
    mk.ok("topics", "create", "t")
    with mk.start("produce", "t", "-q", stdin=theirs) as producer:
        os.write(ours, b"\x04")
        assert producer.wait(20) == 0
        assert producer.stderr.read() == b""
    with mk.start("produce", "t", "v", stdin=theirs) as producer:
        assert producer.wait(20) == 0
        assert producer.stderr.read() == b""


# Ends.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_input_where_it_stands(mk, number):
    mk.ok("topics", "create", "t")
    with mk.start("consume", "t", "-F") as consumer, mk.start("produce", "t") as producer:
        producer.stdin.write(b"whole\nhalf")
        read_until(consumer.stdout.fileno(), b"whole\n")
        producer.send_signal(number)
        assert producer.wait(20) == -number
        assert producer.stderr.read() == b""
    assert mk.ok("consume", "t") == b"whole\n"


def test_a_signal_in_the_middle_of_a_flood_loses_nothing_that_was_taken(mk):
    mk.ok("topics", "create", "t")
    for _ in range(3):
        with (
            mk.start("produce", "t") as producer,
            subprocess.Popen(["yes", "0123456789"], stdout=producer.stdin.fileno(), stderr=subprocess.DEVNULL) as flood,
        ):
            before = mk.offsets("t")
            while mk.offsets("t") == before:
                pass
            producer.send_signal(signal.SIGTERM)
            assert producer.wait(20) == -signal.SIGTERM
            flood.kill()
    lines = mk.ok("consume", "t").splitlines()
    assert set(lines) == {b"0123456789"}
    assert mk.offsets("t") == [(0, len(lines))]


def wait_until_it_waits(process):
    """Wait until a process sleeps for a lock that somebody else holds."""
    limit = time.monotonic() + 20
    while not any("->" in line and f" {process.pid} " in line for line in Path("/proc/locks").read_text().splitlines()):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.directory_only("it looks at the files of the log")
def test_c_is_heard_while_waiting_for_a_lock(mk):
    """Lines that were read are worth a wait, so there it takes two; the second one does not wait for anything."""
    mk.ok("produce", "t", "v")
    (lock,) = mk.directory.glob("locks/*/0")
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with mk.start("produce", "t", "v", "--lock-wait", "1h") as producer:
            wait_until_it_waits(producer)
            producer.send_signal(signal.SIGINT)
            assert producer.wait(20) == -signal.SIGINT
            assert producer.stderr.read() == b""
        with mk.start("produce", "t", "--lock-wait", "1h") as producer:
            producer.stdin.write(b"v\n")
            wait_until_it_waits(producer)
            producer.send_signal(signal.SIGINT)
            time.sleep(0.3)  # Two that come at once are one.
            assert producer.poll() is None
            producer.send_signal(signal.SIGINT)
            assert producer.wait(20) == -signal.SIGINT
            assert producer.stderr.read() == b""
    assert mk.offsets("t") == [(0, 1)]


@pytest.mark.directory_only("it looks at the files of the log")
def test_after_c_what_was_read_is_stored_when_the_lock_comes_free(mk):
    mk.ok("produce", "t", "v")
    (lock,) = mk.directory.glob("locks/*/0")
    with mk.start("produce", "t", "--lock-wait", "1h") as producer:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            producer.stdin.write(b"w\n")
            wait_until_it_waits(producer)
            producer.send_signal(signal.SIGINT)
        assert producer.wait(20) == -signal.SIGINT
    assert mk.ok("consume", "t") == b"v\nw\n"


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_lock_that_is_not_got_in_time(mk):
    mk.ok("produce", "t", "v")
    (lock,) = mk.directory.glob("locks/*/0")
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for done in (
            mk("produce", "t", "--lock-wait", "50ms", "v"),
            mk("produce", "t", env={"MK_LOCK_WAIT": "50ms"}, stdin=b"v\n"),
        ):
            assert done.status == 75
            assert f"process {os.getpid()} " in done.err
            assert "0 records stored" in done.err
    mk.ok("produce", "t", "--lock-wait", "0", "v")
    assert mk.offsets("t") == [(0, 2)]


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full"])
def test_notes_that_nobody_can_read_stop_nothing(mk, redirect):
    assert mk.shell(f"mk produce t -v one {redirect}").status == 0
    assert mk.shell(f"seq 3 | mk produce new -v {redirect}").status == 0
    assert mk.shell(f"mk topics create other {redirect}").status == 0
    assert (mk.ok("consume", "t"), mk.ok("consume", "new")) == (b"one\n", b"1\n2\n3\n")
    mk.ok("topics", "create", "small", "-c", "max.message.bytes=10")
    assert mk.shell(f"mk produce small 12345678901 {redirect}").status == 65


def test_closed_standard_input(mk):
    done = mk.shell("mk produce t <&-")
    assert done.status == 74
    assert "standard input" in done.err


def test_closed_standard_output_does_not_matter(mk):
    assert mk.shell("mk produce t v >&-").status == 0
    assert mk.shell("echo w | mk produce t >&-").status == 0
    assert mk.ok("consume", "t") == b"v\nw\n"


def test_each_acknowledged_append_is_told_when_asked(mk):
    done = mk("produce", "t", "-q", "-v", "a", "b")
    assert done.err == "t 0 0 1\n"
    done = mk("produce", "t", "-v", stdin=b"c\n")
    assert done.err == "t 0 2 2\n"


def test_a_topic_deleted_under_a_producer(mk):
    mk.ok("topics", "create", "t")
    with mk.start("produce", "t") as producer:
        producer.stdin.write(b"first\n")
        while not mk.ok("consume", "t"):
            pass
        mk.ok("topics", "delete", "t", "--yes")
        producer.stdin.write(b"second\n")
        assert producer.wait(20) == 66
        errors = producer.stderr.read()
    assert b"1 record stored" in errors
    assert b"deleted" in errors
    assert mk("consume", "t").status == 66


@pytest.mark.directory_only("librdkafka sends to whatever has the name; who produces to Kafka looks once a minute")
def test_a_topic_made_anew_under_a_producer_takes_nothing_from_it(mk):
    mk.ok("topics", "create", "t")
    with mk.start("produce", "t") as producer:
        producer.stdin.write(b"first\n")
        while not mk.ok("consume", "t"):
            pass
        mk.ok("topics", "delete", "t", "--yes")
        mk.ok("topics", "create", "t")
        producer.stdin.write(b"second\n")
        assert producer.wait(20) == 66
    assert mk.ok("consume", "t") == b""


def test_many_producers_at_once_make_one_topic(mk):
    script = "for i in $(seq 10); do mk produce t -q v$i & done; wait"
    assert mk.shell(script).err == ""
    assert sorted(mk.ok("consume", "t").split()) == sorted(b"v%d" % number for number in range(1, 11))


@pytest.mark.directory_only("it looks at the files of the log")
def test_reading_what_a_producer_reports_on_a_terminal(mk, terminal):
    """Notes go to stderr even if that is a terminal, one a line."""
    ours, theirs = terminal
    with mk.start("produce", "t", "v", stderr=theirs) as producer:
        assert producer.wait(20) == 0
    os.close(theirs)
    assert read_to_end(ours) == f"mk: created topic t (1 partition) in {mk.directory}\r\n".encode()
