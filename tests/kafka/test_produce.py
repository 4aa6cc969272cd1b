"""`mk produce` to a Kafka: the bytes that kcat, Java and librdkafka find there, and what is left when somebody dies on the way."""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import termios
import time

import pytest

import mk as api
from tests.cli.running import Mk

kafka = pytest.importorskip("confluent_kafka")
admin = pytest.importorskip("confluent_kafka.admin")

from mk.errors import KeyRequiredError  # noqa: E402  needs the library
from mk.kafka_cluster import kafka_producer  # noqa: E402

SECONDS = 30
KEYS = [b"", b"a", b"user-1", "schlüssel".encode(), b"x" * 200, *(b"k%d" % number for number in range(40))]


@pytest.fixture
def mk(tmp_path, broker):
    """The command line on a broker without topics."""
    return on(tmp_path, broker)


def on(tmp_path, broker, **properties):
    made = Mk(tmp_path / "files")
    made.directory.mkdir(exist_ok=True)
    query = "&".join(f"{name.replace('_', '.')}={value}" for name, value in properties.items())
    made.environment["MK_DIR"] = f"kafka://{broker.address}" + (f"?{query}" if query else "")
    made.broker = broker
    return made


def create(mk, topic, partitions=1, **settings):
    config = {name.replace("_", "."): str(value) for name, value in settings.items()}
    client = admin.AdminClient(mk.broker.client())
    client.create_topics([admin.NewTopic(topic, partitions, config=config)])[topic].result(SECONDS)


def records(mk, topic, client=None):
    """Return all messages of a topic as librdkafka reads them, partition by partition."""
    consumer = kafka.Consumer(
        {
            **(client or mk.broker.client()),
            "group.id": "reader",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    partitions = sorted(consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions)
    consumer.assign([kafka.TopicPartition(topic, one, kafka.OFFSET_BEGINNING) for one in partitions])
    found, ended, limit = [], set(), time.monotonic() + 2 * SECONDS
    while len(ended) < len(partitions):
        assert time.monotonic() < limit
        for message in consumer.consume(10000, 0.2):
            if message.error() is None:
                found.append(message)
            else:
                assert message.error().code() == kafka.KafkaError._PARTITION_EOF, message.error()
                ended.add(message.partition())
    consumer.close()
    return sorted(found, key=lambda one: (one.partition(), one.offset()))


def values(mk, topic):
    return [message.value() for message in records(mk, topic)]


def wait_until_read(process, seconds=SECONDS):
    """Wait until a process has read what was written to it."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        waiting = fcntl.ioctl(process.stdin.fileno(), termios.FIONREAD, bytes(4))
        if int.from_bytes(waiting, "little") == 0:
            return
        time.sleep(0.02)
    pytest.fail("it does not read its input")


# Bytes.


def test_the_topic_is_made_with_the_partitions_asked_for_and_the_line_stored(mk):
    done = mk("produce", "t", "--partitions", 3, stdin=b"one\ntwo\n")
    assert done.status == 0, done
    assert "created topic t (3 partitions)" in done.err
    assert sorted(values(mk, "t")) == [b"one", b"two"]
    assert len(kafka.Producer(mk.broker.client()).list_topics("t", timeout=SECONDS).topics["t"].partitions) == 3


def test_nothing_is_made_with_no_create(mk):
    done = mk("produce", "t", "--no-create", "v")
    assert done.status == 66, done
    assert "t" not in kafka.Producer(mk.broker.client()).list_topics(timeout=SECONDS).topics


def test_nulls_and_empty_parts_are_what_they_are(mk):
    create(mk, "t")
    lines = [
        {"key": None, "payload": None},
        {"key": "", "payload": ""},
        {"key": "k", "payload": None, "headers": [["a", None], ["b", ""], ["a", "2"]]},
        {"key_b64": "/wA=", "payload_b64": "AP8K", "ts": 1700000000123},
    ]
    mk.ok("produce", "t", "-J", stdin=b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    found = records(mk, "t")
    assert [(one.key(), one.value()) for one in found] == [
        (None, None),
        (b"", b""),
        (b"k", None),
        (b"\xff\0", b"\0\xff\n"),
    ]
    assert [one.headers() for one in found] == [None, None, [("a", None), ("b", b""), ("a", b"2")], None]
    assert found[3].timestamp() == (kafka.TIMESTAMP_CREATE_TIME, 1700000000123)


@pytest.mark.parametrize("words", [[], ["-k", "k"], ["-K", ":"], ["-H", "a=b"], ["--timestamp", "-1h"], ["-z", "zstd"]])
def test_each_way_in_keeps_values_and_order(mk, words):
    create(mk, "t", max_message_bytes=2_000_000)
    lines = [b"%d:%s" % (number, b"x" * (number % 300)) for number in range(5000)] + [b"", b"\0", b"y" * 1_500_000]
    before = int(time.time() * 1000)
    mk.ok("produce", "t", *words, stdin=b"".join(line + b"\n" for line in lines))
    found = records(mk, "t")
    keyed = "-K" in words
    assert [one.value() for one in found] == [
        line.partition(b":")[2] if keyed and b":" in line else line for line in lines
    ]
    assert [one.key() for one in found] == [
        b"k" if "-k" in words else line.partition(b":")[0] if keyed and b":" in line else None for line in lines
    ]
    assert {tuple(one.headers() or ()) for one in found} == {(("a", b"b"),) if "-H" in words else ()}
    ago = 3_600_000 if "--timestamp" in words else 0
    assert all(before - ago - 1000 <= one.timestamp()[1] <= time.time() * 1000 - ago + 1000 for one in found)


def test_what_consume_prints_as_json_is_produced_the_same(mk):
    create(mk, "t", 3)
    create(mk, "u", 3)
    lines = b"".join(
        b'{"key":"k%d","payload":"v%d","headers":[["n","%d"]],"ts":%d}\n' % (n, n, n, 1700000000000 + n)
        for n in range(50)
    )
    mk.ok("produce", "t", "-J", stdin=lines)
    mk.ok("produce", "u", "-J", stdin=mk.ok("consume", "t", "-J"))
    parts = [
        [
            (one.partition(), one.offset(), one.key(), one.value(), one.headers(), one.timestamp())
            for one in records(mk, topic)
        ]
        for topic in ("t", "u")
    ]
    assert parts[0] == parts[1]


def test_a_line_for_each_acknowledged_append_says_where_it_landed(mk):
    create(mk, "t", 2)
    mk.ok("produce", "t", "-p", "1", stdin=b"a\nb\n")
    done = mk("produce", "t", "-p", "1", "-v", stdin=b"".join(b"%d\n" % number for number in range(1000)))
    rows = [line.split() for line in done.err.splitlines()]
    assert {tuple(row[:2]) for row in rows} == {("t", "1")}
    assert sorted(offset for _, _, first, last in rows for offset in range(int(first), int(last) + 1)) == list(
        range(2, 1002)
    )


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["-H", "\udcff=v", "v"], "header whose name is not UTF-8"),
        (["--timestamp", "0", "v"], "has the time 0"),
        (["v" * 2000], "over max.message.bytes"),
    ],
)
def test_what_a_broker_would_not_take_as_it_is_is_refused(mk, words, what):
    create(mk, "t", max_message_bytes=1500)
    done = mk("produce", "t", *words)
    assert done.status == 65, done
    assert what in done.err
    assert "0 records stored" in done.err
    assert values(mk, "t") == []


def test_a_name_of_a_header_with_a_nul_is_refused_and_not_cut_off_there(mk):
    create(mk, "t")
    done = mk("produce", "t", "-J", stdin=b'{"payload":"v","headers":[["a\\u0000b","1"]]}\n')
    assert done.status == 65, done
    assert "a NUL byte in it" in done.err
    assert values(mk, "t") == []


def test_small_records_make_no_batch_that_is_too_large(mk):
    create(mk, "t", max_message_bytes=500)
    mk.ok("produce", "t", stdin=b"".join(b"%0100d\n" % number for number in range(2000)))
    assert len(values(mk, "t")) == 2000


def test_a_record_too_large_leaves_those_before_it(mk):
    create(mk, "t", max_message_bytes=1500)
    done = mk("produce", "t", stdin=b"a\nb\n" + b"x" * 3000 + b"\nc\n")
    assert done.status == 65, done
    assert "input line 3 has 3000 bytes" in done.err
    assert "2 records stored" in done.err
    assert values(mk, "t") == [b"a", b"b"]
    done = mk("produce", "t", "--skip-bad", stdin=b"d\n" + b"x" * 3000 + b"\ne\n")
    assert done.status == 1, done
    assert values(mk, "t") == [b"a", b"b", b"d", b"e"]


def test_each_record_goes_to_the_topic_that_it_names(mk):
    lines = b"".join(b'{"topic":"t%d","payload":"%d"}\n' % (number % 3, number) for number in range(300))
    mk.ok("produce", "-J", "-q", stdin=lines)
    for topic in range(3):
        assert values(mk, f"t{topic}") == [b"%d" % number for number in range(topic, 300, 3)]


def test_a_producer_id_is_refused(mk):
    create(mk, "t")
    done = mk("produce", "t", "--producer-id", "p", "v")
    assert done.status == 2, done
    assert values(mk, "t") == []


@pytest.mark.parametrize("words", [("--producer-id", "p"), ("-X", "partitioner=crc16")])
def test_what_is_refused_makes_no_topic(mk, words):
    done = mk("produce", "t", *words, "v")
    assert done.status == 2 and done.err.endswith("nothing was done\n"), done
    assert "created" not in done.err
    assert mk("topics", "describe", "t").status == 66


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_each_level_of_acks_stores_everything(mk, acks):
    create(mk, "t")
    lines = [b"%d" % number for number in range(20000)]
    mk.ok("produce", "t", stdin=b"\n".join(lines), env={"MK_ACKS": acks})
    assert values(mk, "t") == lines


def test_with_acks_0_it_is_noticed_by_a_look_that_the_topic_wants_keys_since(mk, monkeypatch):
    create(mk, "t")
    with api.connect(mk.environment["MK_DIR"]) as cluster, cluster.producer("t", acks=0) as producer:
        producer.send(b"a")
        producer.flush()
        change = admin.ConfigEntry("cleanup.policy", "compact", incremental_operation=admin.AlterConfigOpType.SET)
        resource = admin.ConfigResource("topic", "t", incremental_configs=[change])
        client = admin.AdminClient(mk.broker.client())
        client.incremental_alter_configs([resource])[resource].result(SECONDS)
        monkeypatch.setattr(kafka_producer, "_LOOK_SECONDS", 0)
        producer.send(b"of key", b"k")
        producer.send(b"of none")  # Taken: nobody has looked.
        with pytest.raises(KeyRequiredError):
            producer.flush()
        with pytest.raises(KeyRequiredError):
            producer.send(b"of none")
        producer.send(b"b", b"k")
        producer.flush()
        wait_for = time.monotonic() + SECONDS
        while (found := values(mk, "t")) != [b"a", b"b"]:
            assert time.monotonic() < wait_for, found


@pytest.mark.parametrize("words", [("--acks", "0"), ("-X", "acks=0")])
def test_without_acknowledgements_it_is_said_once_that_nobody_tells_where_records_land(mk, words):
    create(mk, "t")
    done = mk("produce", "t", "-v", *words, stdin=b"a\nb\n")
    assert (done.status, done.err) == (0, "mk: where records land in t is not shown: with acks 0 no broker tells it\n")
    assert mk("produce", "t", *words, "c").err == ""
    assert mk("produce", "t", "-v", "--acks", "1", "d").err == "t 0 3 3\n"


def test_all_is_no_level_of_a_directory(tmp_path):
    mk = Mk(tmp_path / "d")
    for words, variables in ((["--acks", "all"], {}), ([], {"MK_ACKS": "all"})):
        done = mk("produce", "t", "v", *words, env=variables)
        assert done.status == 2, done
        assert "cannot be all for a log directory" in done.err
    assert not mk.directory.exists()


# Partitions.


@pytest.mark.parametrize("partitioner", ["consistent_random", "murmur2_random"])
def test_a_key_goes_where_kcat_and_java_put_it(mk, partitioner):
    create(mk, "t", 7)
    create(mk, "u", 7)
    lines = b"".join(b"%s\tv\n" % key for key in KEYS if key)
    mk.ok("produce", "t", "-X", f"partitioner={partitioner}", "-K", r"\t", stdin=lines)
    if partitioner == "consistent_random":
        words = ["kcat", "-P", "-b", mk.broker.address, "-t", "u", "-K", "\t"]
        subprocess.run(words, input=lines, check=True, timeout=SECONDS)
    else:
        words = ["--topic", "u", "--property", "parse.key=true"]
        done = mk.broker.tool("ConsoleProducer", *words, stdin=lines)
        assert done.returncode == 0, done
    placed = [{one.key(): one.partition() for one in records(mk, topic)} for topic in ("t", "u")]
    assert placed[0] == placed[1]
    assert len(placed[0]) == len(KEYS) - 1


def test_records_without_a_key_are_spread(mk):
    create(mk, "t", 4)
    mk.ok("produce", "t", stdin=b"".join(b"%0200d\n" % number for number in range(30000)))
    found = records(mk, "t")
    assert {one.partition() for one in found} == {0, 1, 2, 3}
    assert sorted(int(one.value()) for one in found) == list(range(30000))


# Streams.


def test_a_slow_pipe_has_each_line_stored_at_once(mk):
    create(mk, "t")
    with mk.start("produce", "t", "-v") as process:
        for number in range(3):
            process.stdin.write(b"%d\n" % number)
            assert process.stderr.readline() == b"t 0 %d %d\n" % (number, number)
        assert values(mk, "t") == [b"0", b"1", b"2"]
        process.stdin.close()
        assert process.wait(SECONDS) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_read_when_a_signal_comes_is_stored(mk, number):
    create(mk, "t")
    with mk.start("produce", "t") as process:
        process.stdin.write(b"a\nb\nhalf")
        wait_until_read(process)
        process.send_signal(number)
        assert process.wait(SECONDS) == -number
    assert values(mk, "t") == [b"a", b"b"]


def test_much_input_is_stored_whole_in_little_memory(mk):
    create(mk, "t", 8)
    lines = b"".join(b"k%d:%0100d\n" % (number % 1000, number) for number in range(400_000))
    report = mk.directory / "memory"
    done = mk("produce", "t", "-K", ":", stdin=lines, prefix=("/usr/bin/time", "-f", "%M", "-o", str(report)))
    assert done.status == 0, done
    assert int(report.read_text()) < 110 << 10
    last = {}
    found = records(mk, "t")
    assert len(found) == 400_000
    for one in found:
        number = int(one.value())
        assert one.key() == b"k%d" % (number % 1000)
        assert last.get(one.partition(), -1) < number, "in the order of the input"
        last[one.partition()] = number


def test_a_killed_one_leaves_a_beginning_of_its_input(mk):
    create(mk, "t")
    with mk.start("produce", "t", "-v", stderr=subprocess.PIPE) as process:
        os.set_blocking(process.stdin.fileno(), False)
        data = memoryview(b"".join(b"%d\n" % number for number in range(2_000_000)))
        acknowledged, limit = b"", time.monotonic() + SECONDS
        os.set_blocking(process.stderr.fileno(), False)
        while acknowledged.count(b"\n") < 3 and time.monotonic() < limit:
            data = data[process.stdin.write(data) or 0 :]
            acknowledged += process.stderr.read(65536) or b""
        process.kill()
        process.wait()
        acknowledged += process.stderr.read() or b""
    highest = max(int(line.split()[3]) for line in acknowledged.splitlines(keepends=True) if line.endswith(b"\n"))
    found = values(mk, "t")
    assert found == [b"%d" % number for number in range(len(found))]
    assert highest < len(found) < 2_000_000


# Brokers that fail.


def tell(process, line):
    try:
        process.stdin.write(line)
    except BrokenPipeError:
        pytest.fail(f"it ended: {process.stderr.read().decode()}")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_nothing_is_lost_doubled_or_reordered_while_the_broker_is_away(tmp_path, make_broker, how):
    broker = make_broker()
    mk = on(tmp_path, broker)
    create(mk, "t", 3)
    lines = [b"%d" % number for number in range(4000)]
    with mk.start("produce", "t", "-K", ":") as process:
        for at in range(0, 4000, 1000):
            for line in lines[at : at + 1000]:
                tell(process, b"k%d:%s\n" % (int(line) % 17, line))
            wait_until_read(process)
            if at in (1000, 2000):
                getattr(broker, how)()
                time.sleep(0.3)
                broker.start()
        process.stdin.close()
        assert process.wait(60) == 0, process.stderr.read()
    found = records(mk, "t")
    assert sorted(int(one.value()) for one in found) == list(range(4000))
    for partition in range(3):
        own = [int(one.value()) for one in found if one.partition() == partition]
        assert own == sorted(own)


def test_a_bulk_load_goes_on_where_a_broker_was_killed(tmp_path, make_broker):
    broker = make_broker()
    mk = on(tmp_path, broker)
    create(mk, "t")
    lines = [b"%0200d" % number for number in range(400_000)]
    (tmp_path / "input").write_bytes(b"\n".join(lines))
    with open(tmp_path / "input", "rb") as source, mk.start("produce", "t", "-v", stdin=source) as process:
        for _ in range(3):
            process.stderr.readline()
        broker.kill()
        broker.start()
        said = process.stderr.read()
        assert process.wait(60) == 0, said
    assert values(mk, "t") == lines


def test_a_broker_that_goes_away_is_told_of_with_what_is_stored(tmp_path, make_broker):
    broker = make_broker()
    mk = on(tmp_path, broker, mk_timeout_ms=3000)
    create(mk, "t")
    with mk.start("produce", "t", "-v") as process:
        process.stdin.write(b"a\n")
        assert process.stderr.readline() == b"t 0 0 0\n"
        broker.kill()
        began = time.monotonic()
        process.stdin.write(b"b\n")
        said = process.stderr.read().decode()
        assert process.wait(SECONDS) == 69, said
        assert time.monotonic() - began < 6
    assert "1 record stored" in said
    assert "1 record is stored for sure, 1 more may be stored or not" in said
    broker.start()
    assert values(mk, "t")[:1] == [b"a"]


@pytest.mark.parametrize("words", [[], ["-v"], ["-H", "a=b"]])
def test_a_bulk_load_that_is_broken_off_counts_what_is_stored(tmp_path, make_broker, words):
    broker = make_broker()
    mk = on(tmp_path, broker, mk_timeout_ms=6_000)  # Also what waits behind a slow broker counts.
    create(mk, "t")
    with mk.start("produce", "t", *words) as process:
        data = memoryview(b"".join(b"%0100d\n" % number for number in range(400_000)))
        half, size = len(data) // 2, 1 << 20
        for at in range(0, half, size):
            process.stdin.write(data[at : min(half, at + size)])
        broker.kill()
        with contextlib.suppress(BrokenPipeError):
            for at in range(half, len(data), size):
                process.stdin.write(data[at : at + size])
            process.stdin.close()
        said = process.stderr.read().decode()
        assert process.wait(SECONDS) == 69, said
    sure, unsure = map(int, re.search(r"(\d+) records? (?:is|are) stored for sure, (\d+) more may", said).groups())
    assert f"{sure} records stored" in said
    broker.start()
    found = values(mk, "t")
    assert found == [b"%0100d" % number for number in range(len(found))]
    assert sure <= len(found) <= sure + unsure


def test_a_broker_that_stands_still_is_told_of_in_time(tmp_path, make_broker):
    broker = make_broker()
    mk = on(tmp_path, broker, mk_timeout_ms=3000)
    create(mk, "t")
    with mk.start("produce", "t", "-v") as process:
        process.stdin.write(b"a\n")
        assert process.stderr.readline() == b"t 0 0 0\n"
        with broker.paused():
            began = time.monotonic()
            process.stdin.write(b"b\n")
            said = process.stderr.read().decode()
            assert process.wait(SECONDS) == 69, said
            assert time.monotonic() - began < 7
    assert "1 record stored" in said
    assert "1 more may be stored or not" in said


def test_a_signal_does_not_wait_for_a_broker_that_is_away(tmp_path, make_broker):
    broker = make_broker()
    mk = on(tmp_path, broker)
    create(mk, "t")
    with mk.start("produce", "t", "-v") as process:
        process.stdin.write(b"a\n")
        process.stderr.readline()
        with broker.paused():
            process.stdin.write(b"b\n")
            time.sleep(1)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            assert process.wait(SECONDS) != 0
            assert time.monotonic() - began < 10


def test_who_may_not_write_is_told_so(tmp_path, make_broker):
    broker = make_broker(users={"reader": "secret-word"}, acls=True)
    mk = on(tmp_path, broker)
    client = admin.AdminClient({"bootstrap.servers": broker.open_address})
    client.create_topics([admin.NewTopic("t", 1)])["t"].result(SECONDS)
    rule = admin.AclBinding(
        admin.ResourceType.TOPIC,
        "t",
        admin.ResourcePatternType.LITERAL,
        "User:reader",
        "*",
        admin.AclOperation.DESCRIBE,
        admin.AclPermissionType.ALLOW,
    )
    client.create_acls([rule])[rule].result(SECONDS)
    profile = tmp_path / "profile"
    profile.write_text(
        "".join(f"{name}={value}\n" for name, value in broker.client().items() if name != "bootstrap.servers")
    )
    done = mk("produce", "t", "-X", f"profile={profile}", stdin=b"a\nb\n")
    assert done.status == 77, done
    assert "0 records stored" in done.err
    assert "secret-word" not in done.err
