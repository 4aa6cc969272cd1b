"""`mk topics`, `mk top` and `mk check` on a Kafka cluster: what they make is what Kafka's own clients see, and the other way round."""

import json
import time

import pytest

from tests.cli.running import Mk
from tests.cli.terminal import Terminal

kafka = pytest.importorskip("confluent_kafka")
admin = pytest.importorskip("confluent_kafka.admin")

SECONDS = 30


@pytest.fixture
def mk(broker, tmp_path):
    command = Mk(tmp_path / "log")
    command.environment["MK_DIR"] = broker.url
    return command


def client_of(broker):
    return admin.AdminClient({**broker.client(), "log_level": 0})


def described(broker, topic):
    client = client_of(broker)
    (future,) = client.describe_topics(kafka.TopicCollection([topic])).values()
    return future.result(SECONDS)


def config_of(broker, topic):
    client = client_of(broker)
    (future,) = client.describe_configs([admin.ConfigResource(admin.ResourceType.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result(SECONDS).items()}


def produce(broker, topic, *records):
    """Store (partition, timestamp, key, value), as another client does."""
    producer = kafka.Producer({**broker.client(), "log_level": 0})
    for partition, timestamp_ms, key, value in records:
        producer.produce(topic, value, key, partition=partition, timestamp=timestamp_ms)
    assert producer.flush(SECONDS) == 0


def rows(output):
    """Return a table as a dict for each line, by its headings."""
    headings, *lines = output.decode().splitlines()
    return [dict(zip(headings.split(), line.split())) for line in lines]


def test_a_topic_that_was_made_is_there_for_the_next_client(mk, broker):
    done = mk("topics", "create", "orders", "-p", 3, "-c", "retention.ms=1h", "-c", "max.compaction.lag.ms=2d")
    assert (done.status, done.err) == (0, "mk: created topic orders\n")
    assert len(described(broker, "orders").partitions) == 3
    config = config_of(broker, "orders")
    assert config["retention.ms"] == "3600000" and config["max.compaction.lag.ms"] == "172800000"


def test_a_topic_that_is_there_already_is_not_made_again(mk):
    mk.ok("topics", "create", "orders", "-p", 2, "-c", "retention.ms=2h")
    again = mk("topics", "create", "orders")
    assert again.status == 73 and "exists already" in again.err
    accepted = mk("topics", "create", "orders", "-p", 5, "-c", "retention.ms=1h", "--if-not-exists")
    assert accepted.status == 0
    assert "it has partitions=2, not 5" in accepted.err and "it has retention.ms=7200000, not 3600000" in accepted.err


def test_what_would_be_made_is_shown_and_not_made(mk, broker):
    done = mk("topics", "create", "orders", "-p", 4, "--replication-factor", 1, "--dry-run")
    assert (done.status, done.err) == (0, "mk: creates orders: 4 partitions, partitioner=crc32, 1 replica\n")
    assert mk.ok("topics", "-q") == b""
    mk.ok("topics", "create", "orders")
    assert mk("topics", "create", "orders", "--dry-run").status == 73


@pytest.mark.parametrize(
    "words, status, why",
    [
        (("-c", "nosuch.setting=1"), 78, "nosuch.setting"),
        (("-c", "retention.ms=soon"), 78, "soon"),
        (("-c", "min.free=1G"), 2, "watches their disks"),
        (("-c", "partitioner=murmur2"), 2, "-X partitioner"),
        (("--replication-factor", "3"), 2, "only 1 broker"),
    ],
)
def test_what_a_topic_of_kafka_cannot_have_is_refused_and_nothing_made(mk, words, status, why):
    done = mk("topics", "create", "orders", *words)
    assert done.status == status and why in done.err
    assert mk.ok("topics", "-q") == b""


def test_a_directory_has_no_replication_factor(tmp_path):
    directory = Mk(tmp_path / "log")
    for words in (("topics", "create", "orders"), ("produce", "orders", "x")):
        done = directory(*words, "--replication-factor", 1)
        assert done.status == 2 and "kafka://" in done.err
    assert not (tmp_path / "log").exists()


def test_kafkas_own_topics_are_neither_listed_nor_found_by_a_regex(mk, broker):
    mk.ok("topics", "create", "orders")
    mk.ok("consume", "orders", "-g", "g")
    assert "__consumer_offsets" in client_of(broker).list_topics(timeout=SECONDS).topics
    assert mk.ok("topics", "-q") == b"orders\n"
    assert mk("topics", "delete", "-r", ".", "--dry-run").err == "mk: deletes orders: 0 records\n"
    assert b"cleanup.policy" in mk.ok("topics", "describe", "__consumer_offsets")


def test_the_list_tells_records_and_the_time_of_the_newest(mk, broker):
    mk.ok("topics", "create", "orders", "-p", 2, "-c", "retention.ms=-1")
    mk.ok("topics", "create", "empty")
    produce(
        broker, "orders", (0, 1_700_000_000_000, b"k", b"v"), (1, 1_700_000_005_000, None, b"w"), (1, 1, None, b"x")
    )
    assert rows(mk.ok("topics")) == [
        {"TOPIC": "empty", "PARTITIONS": "1", "RECORDS": "0", "SIZE": "-", "LAST_WRITE": "-", "REPLICAS": "1"},
        {
            "TOPIC": "orders",
            "PARTITIONS": "2",
            "RECORDS": "3",
            "SIZE": "-",
            "LAST_WRITE": "2023-11-14T22:13:25Z",
            "REPLICAS": "1",
        },
    ]
    (_, orders) = json.loads(mk.ok("topics", "--json"))
    assert (orders["records"], orders["size_bytes"], orders["under_replicated"]) == (3, None, 0)


def test_the_description_tells_leaders_and_replicas_as_kafka_does(mk, broker):
    mk.ok("topics", "create", "orders", "-p", 2, "-c", "retention.ms=-1")
    produce(broker, "orders", (1, 1_700_000_000_000, b"k", b"v"))
    theirs = described(broker, "orders")
    (mine,) = json.loads(mk.ok("topics", "describe", "orders", "--json"))
    assert bytes.fromhex(mine["topic_id"]) == (
        theirs.topic_id.get_most_significant_bits() % 2**64 << 64 | theirs.topic_id.get_least_significant_bits() % 2**64
    ).to_bytes(16, "big")
    assert mine["replication_factor"] == 1 and mine["records"] == 1
    for row, partition in zip(mine["partitions"], theirs.partitions):
        assert row["leader"] == partition.leader.id and row["isr"] == [node.id for node in partition.isr]
        assert [one["broker"] for one in row["replicas"]] == [node.id for node in partition.replicas]
        assert row["state"] == "ok" and row["size_bytes"] is None
    assert [row["high_watermark"] for row in mine["partitions"]] == [0, 1]
    assert mine["overrides"] == {"retention.ms": -1} and mine["sources"]["retention.ms"] == "topic"
    assert mine["config"]["segment.bytes"] == int(config_of(broker, "orders")["segment.bytes"])
    text = rows(mk.ok("topics", "describe", "-p", "orders"))
    assert [(row["PARTITION"], row["LEADER"], row["REPLICAS"], row["ISR"], row["STATE"]) for row in text] == [
        ("0", "1", "1", "1", "ok"),
        ("1", "1", "1", "1", "ok"),
    ]


def test_settings_are_changed_and_given_back(mk, broker):
    mk.ok("topics", "create", "orders", "-c", "retention.ms=1h")
    done = mk("topics", "alter", "orders", "-c", "retention.ms=2h", "-c", "min.insync.replicas=1", "--dry-run")
    assert done.status == 0 and "retention.ms 3600000 -> 7200000" in done.err
    assert config_of(broker, "orders")["retention.ms"] == "3600000"
    mk.ok("topics", "alter", "orders", "-c", "retention.ms=2h")
    assert config_of(broker, "orders")["retention.ms"] == "7200000"
    mk.ok("topics", "alter", "orders", "--unset", "retention.ms")
    assert json.loads(mk.ok("topics", "describe", "orders", "--json"))[0]["overrides"] == {}


def test_partitions_are_added_and_never_taken_away(mk, broker):
    mk.ok("topics", "create", "orders", "-p", 2)
    mk.ok("topics", "alter", "orders", "-p", 4, "--yes")
    assert len(json.loads(mk.ok("topics", "offsets", "orders", "--json"))) == 4
    fewer = mk("topics", "alter", "orders", "-p", 3, "--yes")
    assert fewer.status == 2 and "from 4 partitions to 3" in fewer.err
    assert len(described(broker, "orders").partitions) == 4


def test_a_change_of_which_half_is_refused_changes_nothing(mk, broker):
    mk.ok("topics", "create", "orders", "-p", 2)
    done = mk("topics", "alter", "orders", "-c", "nosuch.setting=1", "-p", 4, "--yes")
    assert done.status == 78
    assert len(described(broker, "orders").partitions) == 2


def test_a_deleted_topic_is_gone_for_the_next_command(mk, broker):
    mk.ok("topics", "create", "orders")
    assert mk("topics", "delete", "orders").status == 2
    mk.ok("topics", "delete", "orders", "--yes")
    assert "orders" not in client_of(broker).list_topics(timeout=SECONDS).topics
    missing = mk("topics", "delete", "orders", "--yes")
    assert missing.status == 66 and f"no topic orders in {broker.url}" in missing.err
    mk.ok("topics", "delete", "orders", "--yes", "--if-exists")
    mk.ok("topics", "create", "orders")


def test_trimming_moves_the_start_of_the_log(mk, broker):
    mk.ok("topics", "create", "orders", "-p", 2, "-c", "retention.ms=-1")
    produce(broker, "orders", *((number % 2, 1_700_000_000_000 + number, None, b"v") for number in range(10)))
    done = mk("topics", "trim", "orders", "--to", "0:3,1:end", "--yes")
    assert done.status == 0 and "offsets 0 to 2, 3 records" in done.err
    found = json.loads(mk.ok("topics", "offsets", "orders", "--json"))
    assert [(row["log_start_offset"], row["high_watermark"]) for row in found] == [(3, 5), (5, 5)]
    beyond = mk("topics", "trim", "orders", "--to", 6, "--yes")
    assert beyond.status == 66 and "no offset 6" in beyond.err
    consumer = kafka.Consumer({**broker.client(), "group.id": "g", "log_level": 0})
    assert consumer.get_watermark_offsets(kafka.TopicPartition("orders", 0), timeout=SECONDS) == (3, 5)
    consumer.close()


def test_keys_belong_where_librdkafka_puts_them(mk, broker):
    mk.ok("topics", "create", "orders", "-p", 7)
    keys = [f"user{number}" for number in range(40)]
    landed = {}
    producer = kafka.Producer({**broker.client(), "log_level": 0})
    for key in keys:
        producer.produce(
            "orders", b"v", key, on_delivery=lambda _, record: landed.update({record.key(): record.partition()})
        )
    assert producer.flush(SECONDS) == 0
    told = json.loads(mk.ok("topics", "which", "orders", *keys, "--json"))
    assert {row["key"].encode(): row["partition"] for row in told} == landed
    murmur = json.loads(mk.ok("topics", "which", "orders", *keys, "--json", "-X", "partitioner=murmur2_random"))
    assert murmur != told


def test_top_tells_what_was_appended_between_two_looks(mk, broker):
    mk.ok("topics", "create", "orders", "-p", 2, "-c", "retention.ms=-1")
    produce(broker, "orders", (0, 1_700_000_000_000, None, b"v"))
    (orders,) = json.loads(mk.ok("top", "--once", "--json", "--interval", "100ms"))["topics"]
    assert (orders["records"], orders["size_bytes"], orders["records_in_per_s"]) == (1, None, 0.0)
    assert [row["isr"] for row in orders["partitions"]] == [[1], [1]]
    assert b"cluster" in mk.ok("top", "--once", "--interval", "100ms")


@pytest.mark.parametrize(
    "command", ["rename orders o", "seal orders", "clean", "clone orders o", "verify", "repair orders"]
)
def test_what_only_a_directory_has_says_so(mk, command):
    done = mk("topics", *command.split())
    assert done.status == 2 and "does not work on a Kafka cluster" in done.err and "why:" in done.err


def test_a_topic_that_is_not_there_is_66_for_all_that_look_at_one(mk):
    for words in ("describe", "offsets", "which", "alter", "trim"):
        more = {"alter": ["-p", 2], "trim": ["--to", "end"], "which": ["key"]}.get(words, [])
        done = mk("topics", words, "orders", *more)
        assert done.status == 66 and "no topic orders" in done.err, words


def test_partitions_behind_their_leader_and_without_one_stand_out(make_brokers, tmp_path):
    brokers = make_brokers(3, settings={"broker.session.timeout.ms": 3000})
    mk = Mk(tmp_path / "log")
    mk.environment["MK_DIR"] = f"kafka://{brokers.address}"
    mk.ok("topics", "create", "all", "--replication-factor", 3)
    mk.ok("topics", "create", "one", "--replication-factor", 1, "-p", 6)
    one = json.loads(mk.ok("topics", "describe", "one", "--json"))[0]
    there = [row["partition"] for row in one["partitions"] if row["leader"] == 2]
    assert there and len(there) < 6
    for number, row in enumerate(one["partitions"]):
        produce(brokers, "one", (row["partition"], 1_700_000_000_000 + number, b"k", b"v"))
    brokers.nodes[2].kill()
    limit = time.monotonic() + 2 * SECONDS
    while True:
        (whole,) = json.loads(mk.ok("topics", "describe", "all", "--json"))
        if sorted(whole["partitions"][0]["isr"]) == [1, 3]:
            break
        assert time.monotonic() < limit, whole
    assert whole["partitions"][0]["state"] == "UNDER REPLICATED" and whole["partitions"][0]["leader"] != 2
    assert b"UNDER REPLICATED: partition 0" in mk.ok("topics", "describe", "-s", "all")
    (one,) = json.loads(mk.ok("topics", "describe", "one", "--json"))
    assert [row["partition"] for row in one["partitions"] if row["state"] == "NO LEADER"] == there
    assert all((row["records"] is None) == (row["partition"] in there) for row in one["partitions"])
    listed = mk("topics", "-X", "mk.timeout.ms=3000")
    assert listed.status == 75 and f"partition {there[0]} of one has no leader" in listed.err
    assert "1 partition UNDER REPLICATED" in listed.out.decode()
    asked = mk("topics", "offsets", "one", "-X", "mk.timeout.ms=3000")
    assert asked.status == 75 and "no leader" in asked.err.lower(), asked
    trouble = mk.ok("top", "--once", "--interval", "100ms").decode()
    assert "it has no leader" in trouble


def test_top_on_a_terminal_shows_partitions_and_nothing_of_bytes(mk, broker):
    mk.ok("topics", "create", "orders", "-p", 2, "-c", "retention.ms=-1")
    produce(broker, "orders", (1, 1_700_000_000_000, None, b"v"))
    command = [mk.program, "top", "-i", "200ms"]
    with Terminal(command, size=(120, 20), env=mk.environment) as terminal:
        terminal.until("1 topic, in 0/s")
        assert " B" not in terminal.text.splitlines()[1]
        terminal.type("\r")
        terminal.until("LEADER")
        terminal.type("q")
        assert terminal.end() == 0
