"""`mk consume` from a Kafka cluster, without a group: what other programs wrote there, as from a directory."""

import json
import shutil
import signal
import subprocess
import threading
import time

import pytest

kafka_library = pytest.importorskip("confluent_kafka")
pytest.importorskip("confluent_kafka.admin")

from tests.kafka.kafka_topics import SECONDS, Kafka, wait_until  # noqa: E402  needs the library

CODECS = ("none", "gzip", "lz4", "zstd", "snappy")


@pytest.fixture
def kafka(broker):
    kafka = Kafka(broker)
    yield kafka
    kafka.close()


@pytest.fixture
def kafka_of_its_own(make_broker):
    """A broker that the test may stop and kill."""
    kafka = Kafka(make_broker())
    yield kafka
    kafka.close()


def numbers(count, start=0):
    return [b"%d" % number for number in range(start, start + count)]


def read_line(process):
    return process.stdout.readline().decode().rstrip("\n")


def ended(process, seconds=SECONDS):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err.decode()


# What is in a record.


def test_all_that_a_record_has_comes_out_whatever_codec_it_was_compressed_with(kafka):
    kafka.create("t")
    for number, codec in enumerate(CODECS):
        record = {
            "key": b"k",
            "value": b"v" * 500,
            "headers": [("a", b"1"), ("a", None), ("\u00e9", b"")],
            "timestamp": 1_000_000_000_000 + number,
            "partition": 0,
        }
        kafka.write("t", [record], compression_type=codec)
    records = [json.loads(line) for line in kafka("consume", "t", "-J").lines]
    assert [record["ts"] - 1_000_000_000_000 for record in records] == list(range(len(CODECS)))
    assert [record["offset"] for record in records] == list(range(len(CODECS)))
    for record in records:
        assert record["payload"] == "v" * 500
        assert record["key"] == "k"
        assert record["headers"] == [["a", "1"], ["a", None], ["\u00e9", ""]]


def test_null_and_empty_stay_different(kafka):
    kafka.create("t")
    kafka.write("t", [{"key": key, "value": value, "partition": 0} for key in (None, b"") for value in (None, b"")])
    pairs = [(record["key"], record["payload"]) for record in map(json.loads, kafka("consume", "t", "-J").lines)]
    assert pairs == [(None, None), (None, ""), ("", None), ("", "")]
    assert kafka("consume", "t").out == b"\n\n\n\n"
    assert kafka("consume", "t", "-Z").out == b"NULL\n\nNULL\n\n"
    assert kafka("consume", "t", "-f", "%K %V;").out == b"-1 -1;-1 0;0 -1;0 0;"


def test_values_of_any_bytes_come_out_as_they_are(kafka):
    kafka.create("t", max_message_bytes=9_000_000)
    values = [bytes(range(256)), b"a\nb\n", b"\0" * 10, b"x" * 8_000_000]
    kafka.write("t", values, message_max_bytes=9_000_000)
    assert kafka("consume", "t", "-D", "<>").out == b"".join(value + b"<>" for value in values)
    assert kafka("consume", "t", "-f", "raw").out == b"".join(values)
    assert kafka("consume", "t").out == b"".join(value + b"\n" for value in values)
    assert kafka("consume", "t", "-0", "-n", "1").out == values[0] + b"\0"


def test_every_directive_of_a_format_says_what_kafka_says(kafka):
    kafka.create("t", 2)
    kafka.write("t", [{"key": b"k", "value": b"v", "headers": [("h", b"1")], "timestamp": 1500, "partition": 1}])
    assert kafka("consume", "t", "-f", r"%t %p %o %k %v %h{ %k=%v} %T %K %V %H %e %i %d{iso}\n").lines == [
        "t 1 0 k v  h=1 1500 1 1 1 0 1 1970-01-01T00:00:01.500Z"
    ]


@pytest.mark.skipif(shutil.which("kcat") is None, reason="confluent-kafka writes no such names, and kcat is not here")
def test_a_name_of_a_header_that_is_no_text_is_told_with_its_place_and_passed_over_by_formats_without_headers(kafka):
    kafka.create("t")
    kafka.write("t", [b"0"])
    words = ["kcat", "-P", "-b", kafka.words["bootstrap.servers"], "-t", "t", "-p", "0", "-H", b"\xff=1"]
    subprocess.run(words, input=b"1\n", check=True, timeout=SECONDS)
    kafka.write("t", [b"2"])
    done = kafka("consume", "t", "-J")
    assert done.status == 65, done
    assert b"the record at offset 1 of partition 0 of t has a header whose name is not UTF-8" in done.err
    assert kafka("consume", "t").lines == ["0", "1", "2"]
    assert [json.loads(line)["payload"] for line in kafka("consume", "t", "-J", "-p", "0", "-o", "2").lines] == ["2"]


def test_consume_into_produce_of_a_directory_is_the_identity(kafka, tmp_path):
    kafka.create("t")
    kafka.write(
        "t",
        [
            {"key": b"\xff", "value": None, "headers": [("h", b"\xfe")], "timestamp": 5, "partition": 0},
            {"key": None, "value": b"\xff", "timestamp": 4, "partition": 0},
        ],
    )
    records = kafka("consume", "t", "-J").out
    directory = str(tmp_path / "log")
    assert kafka("produce", "t", "-J", "-d", directory, stdin=records).status == 0
    assert kafka("consume", "t", "-J", "-d", directory).out == records


# Where to begin and where to end.


def test_each_spelling_of_an_offset_means_what_it_means_on_a_directory(kafka, tmp_path):
    kafka.create("t", 2)
    times = [1_000_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000]
    records = [
        {"key": None, "value": f"{partition}:{offset}".encode(), "timestamp": at, "partition": partition}
        for partition in (0, 1)
        for offset, at in enumerate(times)
    ]
    kafka.write("t", records)
    directory = str(tmp_path / "log")
    kafka("topics", "create", "t", "-p", "2", "-d", directory)
    for partition in (0, 1):
        lines = "".join(
            json.dumps({"payload": f"{partition}:{offset}", "ts": at}) + "\n" for offset, at in enumerate(times)
        )
        assert kafka("produce", "t", "-J", "-p", partition, "-d", directory, stdin=lines.encode()).status == 0
    for words in (
        ["-o", "start"],
        ["-o", "beginning"],
        ["-o", "end"],
        ["-o", "2"],
        ["-o", "-2"],
        ["-o", "+3"],
        ["-o", "start+1"],
        ["-o", "end-1"],
        ["-o", "1:3"],
        ["-o", ":2"],
        ["-o", "-3:-1"],
        ["-o", "0:5,1:-3"],
        ["-o", "1:1"],
        ["-o", "@1970-01-01T00:33:20Z"],
        ["-o", "@1500:3500"],
        ["-o", "s@2000000"],
        ["-o", "s@1500000", "-o", "e@3000000"],
        ["-o", "e@2000000"],
        ["-o", "@99999"],
        ["-o", "6"],
        ["-o", "0:9"],
        ["--from", "1", "--to", "4"],
        ["--since", "@2000", "--until", "@4000"],
        ["-p", "1", "-o", "3"],
        ["-p", "7"],
        ["--tail", "3"],
        ["--tail", "100"],
        ["--tail", "0"],
        ["-n", "3"],
        ["-n", "0"],
        ["--reverse"],
        ["--reverse", "--merge"],
        ["--merge"],
        ["--merge", "-o", "1:4"],
        ["--reverse", "-o", "1:4"],
        ["-G", "v=:[34]"],
        ["-G", "!v=:[34]", "-n", "2"],
        ["-o", "committed"],
        ["-o", "group:nobody"],
    ):
        here, there = (kafka("consume", "t", *words), kafka("consume", "t", *words, "-d", directory))
        ours, theirs = here.lines, there.lines
        if "--merge" not in words and "--reverse" not in words:
            # Which partition comes first is nobody's promise.
            ours, theirs = sorted(ours), sorted(theirs)
        assert (words, here.status, ours) == (words, there.status, theirs), here.err


def test_a_group_says_where_to_begin_whoever_committed(kafka):
    kafka.create("t", 2)
    kafka.write("t", [{"value": b"%d" % number, "partition": number % 2} for number in range(10)])
    consumer = kafka_library.Consumer({**kafka.words, "group.id": "g"})
    consumer.commit(offsets=[kafka_library.TopicPartition("t", 0, 4)], asynchronous=False)
    consumer.close()
    assert sorted(kafka("consume", "t", "-o", "group:g").lines) == ["1", "3", "5", "7", "8", "9"]


def test_a_group_that_has_committed_behind_the_end_is_an_error(kafka):
    kafka.create("t")
    kafka.write("t", numbers(3))
    consumer = kafka_library.Consumer({**kafka.words, "group.id": "g"})
    consumer.commit(offsets=[kafka_library.TopicPartition("t", 0, 9)], asynchronous=False)
    consumer.close()
    done = kafka("consume", "t", "-o", "group:g")
    assert (done.status, done.out) == (65, b"")
    assert b"-p 0 -o 3" in done.err


def test_records_that_were_deleted_are_reported_and_the_rest_is_read(kafka):
    kafka.create("t")
    kafka.write("t", numbers(10))
    partition = kafka_library.TopicPartition("t", 0, 6)
    next(iter(kafka.admin.delete_records([partition]).values())).result(SECONDS)
    assert kafka("consume", "t").lines == ["6", "7", "8", "9"]
    done = kafka("consume", "t", "-o", "2")
    assert done.lines == ["6", "7", "8", "9"]
    assert b"offsets 2 to 5 are gone" in done.err


def test_what_is_deleted_before_a_follower_comes_to_it_is_reported(kafka):
    kafka.create("t")
    kafka.write("t", numbers(10))
    process = kafka.start("consume", "t", "-F", "-o", "9", "-f", r"%o\n")
    assert read_line(process) == "9"
    process.send_signal(signal.SIGSTOP)
    kafka.write("t", numbers(100, 10))
    partition = kafka_library.TopicPartition("t", 0, 60)
    next(iter(kafka.admin.delete_records([partition]).values())).result(SECONDS)
    process.send_signal(signal.SIGCONT)
    wait = threading.Timer(20, process.terminate)
    wait.start()
    offsets = [9]
    for line in process.stdout:
        offsets.append(int(line))
        if offsets[-1] == 109:
            break
    process.terminate()
    wait.cancel()
    error = process.stderr.read().decode()
    process.wait()
    gone = [number for number in range(9, 110) if number not in offsets]
    assert offsets == sorted(set(offsets))
    if gone:
        assert gone == list(range(gone[0], 60))
        assert f"offsets {gone[0]} to 59 are gone" in error


# Transactions and compaction: offsets with holes.


def test_what_was_aborted_is_passed_over_and_the_end_is_found_behind_it(kafka):
    kafka.create("t")
    kafka.in_transaction("t", numbers(3), commit=True)  # Offsets 0 to 2, a marker at 3.
    kafka.in_transaction("t", [b"never"] * 3, commit=False)  # 4 to 6, 7.
    kafka.in_transaction("t", numbers(2, 10), commit=True)  # 8 and 9, 10.
    kafka.in_transaction("t", [b"never"] * 2, commit=False)
    assert kafka("consume", "t", "-f", r"%o %v\n").lines == ["0 0", "1 1", "2 2", "8 10", "9 11"]
    assert kafka("consume", "t", "-o", "4", "-f", r"%o\n").lines == ["8", "9"]
    assert kafka("consume", "t", "-o", "10").out == b""
    assert kafka("consume", "t", "-o", "1:9", "-f", r"%o\n").lines == ["1", "2", "8"]
    assert kafka("consume", "t", "-n", "4", "-f", r"%o\n").lines == ["0", "1", "2", "8"]
    assert kafka("consume", "t", "--tail", "3", "-f", r"%o\n").lines == ["2", "8", "9"]
    assert kafka("consume", "t", "--reverse", "-f", r"%o\n").lines == ["9", "8", "2", "1", "0"]
    assert kafka("consume", "t", "--reverse", "-n", "3", "-f", r"%o\n").lines == ["9", "8", "2"]
    assert kafka("consume", "t", "--merge", "-f", r"%o\n").lines == ["0", "1", "2", "8", "9"]


def test_a_topic_of_nothing_but_aborted_records_is_empty(kafka):
    kafka.create("t")
    kafka.in_transaction("t", [b"never"] * 5, commit=False)
    for words in ([], ["--tail", "2"], ["--reverse"], ["--merge"], ["-n", "1"], ["-o", "3"]):
        done = kafka("consume", "t", *words)
        assert (done.status, done.out, done.err) == (0, b"", b""), words


def test_an_open_transaction_is_the_end_and_a_follower_waits_for_it(kafka):
    kafka.create("t")
    kafka.write("t", numbers(2))
    producer = kafka.producer(transactional_id="open")
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    producer.produce("t", b"2", partition=0)
    producer.flush(SECONDS)
    kafka.write("t", [b"3"])
    assert kafka("consume", "t").lines == ["0", "1"]
    process = kafka.start("consume", "t", "-F", "-n", "4")
    assert [read_line(process), read_line(process)] == ["0", "1"]
    producer.commit_transaction(SECONDS)
    assert ended(process)[:2] == (0, b"2\n3\n")


def test_a_compacted_topic_is_read_over_its_holes_in_every_way(kafka):
    kafka.create("t", cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio=0.01, delete_retention_ms=100)
    for number in range(8):
        # Each in a segment of its own, or nearly.
        kafka.write("t", [{"key": b"k%d" % (number % 2), "value": b"%d" % number, "partition": 0}])
        time.sleep(0.15)

    def offsets(*words):
        return list(map(int, kafka("consume", "t", "-f", r"%o\n", *words).lines))

    wait_until(lambda: len(offsets()) < 5)
    found = offsets()
    assert found[-1] == 7
    assert found == sorted(set(found))
    assert offsets("--tail", "2") == found[-2:]
    assert offsets("--reverse") == found[::-1]
    assert offsets("-o", "1") == [offset for offset in found if offset >= 1]
    assert offsets("-o", ":7") == [offset for offset in found if offset < 7]
    assert offsets("-n", "1") == found[:1]


# Several topics and partitions.


def test_several_topics_and_those_of_a_regular_expression_are_read(kafka):
    for topic in ("orders-a", "orders-b", "other"):
        kafka.create(topic, 3)
        kafka.write(topic, [{"value": f"{topic} {number}", "partition": number % 3} for number in range(9)])
    expected = [f"{topic} {number}" for topic in ("orders-a", "orders-b") for number in range(9)]
    assert sorted(kafka("consume", "orders-a", "orders-b").lines) == expected
    assert sorted(kafka("consume", "-r", "^orders").lines) == expected
    assert sorted(kafka("consume", "-r", "^orders", "-p", "2", "-n", "4", "-f", "%p ").out.split()) == [b"2"] * 4
    done = kafka("consume", "-r", "nothing")
    assert (done.status, done.out) == (0, b"")
    assert b"no topic matches" in done.err


def test_merged_partitions_come_in_the_order_of_their_times(kafka):
    kafka.create("t", 4)
    kafka.write(
        "t", [{"value": b"%d" % at, "timestamp": at, "partition": at * 7 % 4} for at in range(1_000_000, 1_005_000)]
    )
    assert kafka("consume", "t", "--merge").lines == [str(at) for at in range(1_000_000, 1_005_000)]
    assert kafka("consume", "t", "--merge", "--reverse", "-n", "500").lines == [
        str(at) for at in range(1_004_999, 1_004_499, -1)
    ]
    assert kafka("consume", "t", "--tail", "50", "--merge").lines == [str(at) for at in range(1_004_950, 1_005_000)]


def test_much_is_read_whole_and_in_order_in_every_partition(kafka):
    kafka.create("t", 3)
    kafka.write(
        "t",
        [{"value": b"%d" % number, "key": b"k", "partition": number % 3} for number in range(60_000)],
        compression_type="lz4",
    )
    lines = kafka("consume", "t", "-f", r"%p %o %v\n").lines
    by_partition = {str(number): [] for number in range(3)}
    for line in lines:
        partition, offset, value = line.split()
        by_partition[partition].append((int(offset), int(value)))
    for partition, found in by_partition.items():
        assert found == [(offset, 3 * offset + int(partition)) for offset in range(20_000)]
    backward = kafka("consume", "t", "-p", "1", "--reverse", "-f", r"%o\n").lines
    assert backward == [str(offset) for offset in range(19_999, -1, -1)]


def test_partitions_by_the_hundred_are_opened_together(kafka):
    kafka.create("t", 200)
    kafka.write("t", [{"value": b"%d" % number, "partition": number} for number in range(0, 200, 10)])
    began = time.monotonic()
    assert sorted(map(int, kafka("consume", "t").lines)) == list(range(0, 200, 10))
    assert time.monotonic() - began < 10, "they were opened one by one"


# Following.


def test_a_follower_prints_each_record_as_it_comes(kafka):
    kafka.create("t")
    process = kafka.start("consume", "t", "-F", "-n", "6")
    producer = kafka.producer(linger_ms=0)
    producer.produce("t", b"0", partition=0)
    producer.flush(SECONDS)
    assert read_line(process) == "0"
    delays = []
    for number in range(1, 6):
        time.sleep(0.1)
        began = time.monotonic()
        producer.produce("t", b"%d" % number, partition=0)
        producer.flush(SECONDS)
        assert read_line(process) == str(number)
        delays.append(time.monotonic() - began)
    assert process.wait(SECONDS) == 0
    assert min(delays) < 0.09, "it looks from time to time only"


def test_tail_prints_the_last_records_and_then_what_comes(kafka):
    kafka.create("t")
    kafka.write("t", numbers(20))
    process = kafka.start("tail", "t")
    assert [read_line(process) for _ in range(10)] == [str(number) for number in range(10, 20)]
    kafka.write("t", numbers(1, 20))
    assert read_line(process) == "20"
    process.send_signal(signal.SIGINT)
    assert ended(process) == (-signal.SIGINT, b"", "")


def test_a_follower_ends_when_nothing_comes_or_its_time_is_up(kafka):
    kafka.create("t")
    kafka.write("t", numbers(2))
    assert kafka("consume", "t", "-F", "--idle", "500ms").lines == ["0", "1"]
    assert kafka("consume", "t", "-F", "--max-time", "4s").lines == ["0", "1"]
    done = kafka("consume", "t", "-F", "--timeout", "4s")
    assert (done.status, done.lines) == (124, ["0", "1"])
    assert kafka("consume", "t", "-F", "-o", "1:2").lines == ["1"]


def test_a_follower_ends_with_its_reader_though_nothing_comes(kafka):
    kafka.create("t")
    kafka.write("t", numbers(2))
    process = kafka.start("consume", "t", "-F")
    read_line(process)
    process.stdout.close()
    assert process.wait(SECONDS) == -signal.SIGPIPE
    assert process.stderr.read() == b""


def test_a_follower_takes_up_partitions_and_topics_that_appear(kafka):
    kafka.create("t-1")
    process = kafka.start("consume", "-r", "^t-", "-F", "-f", r"%t %p %v\n")
    kafka.write("t-1", [b"a"])
    assert read_line(process) == "t-1 0 a"
    kafka.admin.create_partitions([kafka_library.admin.NewPartitions("t-1", 2)])["t-1"].result(SECONDS)
    kafka.write("t-1", [{"value": b"b", "partition": 1}])
    assert read_line(process) == "t-1 1 b"
    kafka.create("t-2")
    kafka.write("t-2", [b"c"])
    assert read_line(process) == "t-2 0 c"
    kafka.admin.delete_topics(["t-2"])["t-2"].result(SECONDS)
    assert b"t-2 was deleted" in process.stderr.readline()
    kafka.write("t-1", [b"d"])
    assert read_line(process) == "t-1 0 d"
    process.terminate()
    assert process.wait(SECONDS) == -signal.SIGTERM


def test_a_topic_that_is_deleted_while_it_is_followed_ends_that_with_66(kafka):
    kafka.create("t")
    kafka.write("t", numbers(1))
    process = kafka.start("consume", "t", "-F")
    assert read_line(process) == "0"
    kafka.admin.delete_topics(["t"])["t"].result(SECONDS)
    status, out, err = ended(process)
    assert (status, out) == (66, b"")
    assert "no topic t" in err


def test_a_pipe_that_takes_no_more_ends_it_at_once(kafka):
    kafka.create("t")
    kafka.write("t", [b"x" * 100] * 20_000)
    process = kafka.start("consume", "t")
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(SECONDS) == -signal.SIGPIPE


# What else consume can do.


def test_each_record_is_handed_to_a_command(kafka):
    kafka.create("t", 2)
    kafka.write("t", [{"value": b"%d" % number, "key": b"k", "partition": number % 2} for number in range(6)])
    command = 'echo "$MK_REC_TOPIC/$MK_REC_PARTITION/$MK_REC_OFFSET/$MK_REC_KEY $(cat)"'
    done = kafka("consume", "t", "--exec", f"sh -c '{command}'")
    assert done.status == 0, done
    assert sorted(done.lines) == sorted(f"t/{number % 2}/{number // 2}/k {number}" for number in range(6))


def test_a_cursor_file_remembers_where_reading_ended(kafka, tmp_path):
    kafka.create("t", 2)
    kafka.write("t", [{"value": b"%d" % number, "partition": number % 2} for number in range(6)])
    cursor = tmp_path / "cursor"
    assert sorted(kafka("consume", "t", "--cursor-file", cursor).lines) == list("012345")
    assert kafka("consume", "t", "--cursor-file", cursor).out == b""
    kafka.write("t", [b"6"])
    assert kafka("consume", "t", "--cursor-file", cursor).lines == ["6"]


def test_a_topic_or_partition_that_is_not_there_is_66(kafka):
    kafka.create("t")
    for words in (["nonesuch"], ["t", "-p", "3"], ["t", "-o", "5"], ["t", "nonesuch"]):
        done = kafka("consume", *words)
        assert (done.status, done.out) == (66, b""), words
        assert done.err.startswith(b"mk: error: "), words


# Brokers that are away.


def test_a_broker_that_is_not_there_is_69_within_the_timeout(kafka, tmp_path):
    began = time.monotonic()
    done = kafka("consume", "t", "-d", "kafka://127.0.0.1:1", "--timeout", "2")
    assert (done.status, done.out) == (69, b"")
    assert b"Connection refused" in done.err
    assert time.monotonic() - began < 6


def test_a_broker_that_goes_is_69_and_one_that_is_back_in_time_is_read_on(kafka_of_its_own):
    kafka, broker = kafka_of_its_own, kafka_of_its_own.broker
    kafka.create("t")
    kafka.write("t", numbers(2))
    follower = kafka.start("consume", "t", "-F", "-X", "mk.timeout.ms=20000")
    impatient = kafka.start("consume", "t", "-F", "-X", "mk.timeout.ms=2000")
    for process in (follower, impatient):
        assert [read_line(process), read_line(process)] == ["0", "1"]
    broker.kill()
    status, out, err = ended(impatient)
    assert (status, out) == (69, b"")
    assert len(err.splitlines()) <= 3
    broker.start()
    kafka.write("t", numbers(2, 2))
    assert [read_line(follower), read_line(follower)] == ["2", "3"]
    follower.send_signal(signal.SIGINT)
    assert ended(follower)[0] == -signal.SIGINT


def test_a_read_that_a_broker_leaves_in_the_midst_goes_on_when_it_is_back(kafka_of_its_own):
    kafka, broker = kafka_of_its_own, kafka_of_its_own.broker
    kafka.create("t")
    values = [b"%d %s" % (number, b"x" * 1000) for number in range(100_000)]
    kafka.write("t", values, queue_buffering_max_kbytes=1_000_000)
    # What is read ahead is little, so that the rest has to be asked for.
    process = kafka.start(
        "consume", "t", "-X", "queued.max.messages.kbytes=1000", "-X", "max.partition.fetch.bytes=100000"
    )
    found = [process.stdout.readline() for _ in range(10)]
    broker.kill()
    broker.start()
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"".join(found) + rest == b"".join(value + b"\n" for value in values)


def test_signals_end_a_read_that_waits_for_a_broker(kafka_of_its_own):
    kafka, broker = kafka_of_its_own, kafka_of_its_own.broker
    kafka.create("t")
    kafka.write("t", numbers(1))
    process = kafka.start("consume", "t", "-F")
    assert read_line(process) == "0"
    with broker.paused():
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == -signal.SIGINT
        assert time.monotonic() - began < 3


def test_waiting_for_a_record_ends_as_it_comes(kafka):
    kafka.create("t")
    process = kafka.start("wait", "t", "--records", "2", "--timeout", "30")
    kafka.write("t", numbers(1))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    kafka.write("t", numbers(1))
    assert process.wait(SECONDS) == 0
    assert kafka("wait", "t", "--records", "3", "--timeout", "0").status == 124
    assert kafka("wait", "t", "-G", "v=0", "--timeout", "5").status == 0


def test_a_partition_that_has_lost_its_leader_is_75_within_the_timeout(make_brokers):
    brokers = make_brokers(3)
    kafka = Kafka(brokers)
    new = kafka_library.admin.NewTopic("t", 3, replication_factor=1)
    kafka.admin.create_topics([new])["t"].result(SECONDS)
    kafka.write("t", [{"value": b"%d" % number, "partition": number} for number in range(3)])
    described = kafka.admin.describe_topics(kafka_library.TopicCollection(["t"]))["t"].result(SECONDS)
    lost = next(partition.id for partition in described.partitions if partition.leader.id == brokers.nodes[3].node_id)
    brokers.nodes[3].kill()
    kept = [number for number in range(3) if number != lost]
    wait_until(lambda: kafka("consume", "t", "-p", lost, "--timeout", "2").status == 75)
    began = time.monotonic()
    done = kafka("consume", "t", "--timeout", "2")
    assert (done.status, done.out) == (75, b"")
    assert f"partition {lost} of t".encode() in done.err
    assert time.monotonic() - began < 8
    assert sorted(kafka("consume", "t", "-p", ",".join(map(str, kept))).lines) == [str(number) for number in kept]
