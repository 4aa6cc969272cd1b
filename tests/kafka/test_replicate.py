"""`mk replicate` between a directory and a Kafka cluster: nothing lost, nothing doubled, nothing changed, and what it refuses."""

import json
import random
import signal
import time

import pytest

pytest.importorskip("confluent_kafka")
pytest.importorskip("confluent_kafka.admin")

from confluent_kafka import TopicPartition  # noqa: E402  needs the library
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from mk.kafka_cluster import kafka_copy  # noqa: E402
from mk.replication.replicas import open_replica  # noqa: E402
from mk.replication.replicator import Choice, Replicator  # noqa: E402
from mk.transport.kafka_address import parse_kafka_address  # noqa: E402
from tests.kafka.replicating import (  # noqa: E402
    Cluster,
    events,
    fill,
    replicated,
    rows_of,
    run,
    start,
    wait_until,
)

NOW = int(time.time() * 1000)


@pytest.fixture
def cluster(broker):
    return Cluster(broker)


def numbered(count, first=0, partitions=1):
    return [
        (number % partitions, b"k%d" % (number % 7), b"v%d" % number, (), NOW + number)
        for number in range(first, first + count)
    ]


def by_partition(rows, partitions=1):
    return [[row for row in rows if row[0] == number] for number in range(partitions)]


# There and back.

_bytes = st.none() | st.binary(max_size=20)
_names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5).map(str.encode)
_rows = st.lists(
    st.tuples(
        st.integers(0, 1),
        _bytes,
        _bytes,
        st.lists(st.tuples(_names, _bytes), max_size=2).map(tuple),
        st.sampled_from([NOW, NOW + 1, NOW - 86_400_000_000, 1, NOW + 10**11]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(_rows, min_size=1, max_size=3), batch=st.integers(1, 50))
def test_there_and_back_is_the_identity(tmp_path_factory, cluster, parts, batch):
    top = tmp_path_factory.mktemp("identity")
    topic = top.name
    stored = []
    for rows in parts:
        fill(top / "a", topic, rows, partitions=2, batch=batch)
        stored += rows
        replicated(top / "a", cluster.url)
        assert cluster.read(topic, 2) == by_partition(stored, 2)
        replicated(cluster.url, top / "b", "--topics", topic)
        assert rows_of(top / "b", topic, 2) == by_partition(stored, 2)
    for source, target in ((top / "a", cluster.url), (cluster.url, top / "b")):
        done = run("replicate", source, target, "--verify", "--topics", topic)
        assert done.status == 0, done
    assert run("topics", "verify", "-d", top / "b").status == 0


def test_a_copy_in_kafka_has_the_partitions_and_the_settings_of_its_source(tmp_path, cluster):
    run("topics", "create", "t", "-p", 3, "-c", "retention.ms=-1", "-c", "cleanup.policy=compact", "-d", tmp_path / "a")
    replicated(tmp_path / "a", cluster.url)
    done = cluster.broker.tool("TopicCommand", "--describe", "--topic", "t")
    assert b"PartitionCount: 3" in done.stdout
    assert b"cleanup.policy=compact" in done.stdout
    assert b"retention.ms=-1" in done.stdout
    replicated(cluster.url, tmp_path / "b")
    described = json.loads(run("topics", "describe", "t", "--json", "-d", tmp_path / "b").out)
    text = json.dumps(described)
    assert '"cleanup.policy"' in text
    assert "compact" in text
    assert run("replicate", cluster.url, tmp_path / "b").err == "mk: nothing new, 3 partitions\n"


def test_partitions_that_the_source_gets_are_made_in_kafka_too(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", cluster.url)
    assert run("topics", "alter", "t", "-p", 2, "--yes", "-d", tmp_path / "a").status == 0
    more = [(1, None, b"x", (), NOW)]
    fill(tmp_path / "a", "t", more)
    replicated(tmp_path / "a", cluster.url)
    assert cluster.read("t", 2) == by_partition(numbered(10) + more, 2)


# From Kafka: holes, transactions, compaction, ends.


def test_only_what_is_committed_is_copied_at_the_offsets_that_it_has(tmp_path, cluster):
    cluster.create("t")
    cluster.write("t", numbered(5))
    cluster.write("t", numbered(3, 100), transaction="abort")
    cluster.write("t", numbered(5, 5), transaction="commit")
    cluster.write("t", numbered(2, 200), transaction="abort")
    replicated(cluster.url, tmp_path / "b")
    assert rows_of(tmp_path / "b", "t") == [numbered(10)]
    out = run("consume", "t", "-J", "-d", tmp_path / "b").out
    ours = [json.loads(line)["offset"] for line in out.splitlines()]
    assert ours == [offset for offset, _ in cluster.read_with_offsets("t")[0]]
    # Up to the mark of the last transaction: the next run has nothing to do, and the one after it goes on behind it.
    assert "nothing new" in replicated(cluster.url, tmp_path / "b")
    cluster.write("t", numbered(5, 10))
    replicated(cluster.url, tmp_path / "b")
    assert rows_of(tmp_path / "b", "t") == [numbered(15)]
    assert run("replicate", cluster.url, tmp_path / "b", "--verify").status == 0


def test_a_transaction_that_is_open_is_copied_when_it_is_committed(tmp_path, cluster):
    import confluent_kafka

    cluster.create("t")
    cluster.write("t", numbered(3))
    producer = confluent_kafka.Producer({**cluster.words, "transactional.id": "open"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("t", b"late", partition=0, timestamp=NOW)
    producer.flush(30)
    replicated(cluster.url, tmp_path / "b")
    assert rows_of(tmp_path / "b", "t") == [numbered(3)]
    producer.commit_transaction(30)
    replicated(cluster.url, tmp_path / "b")
    assert rows_of(tmp_path / "b", "t") == [[*numbered(3), (0, None, b"late", (), NOW)]]


def test_a_compacted_topic_is_copied_with_its_holes_and_found_to_be_the_same(tmp_path, cluster):
    cluster.create(
        "t", cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio=0.01, min_compaction_lag_ms=0
    )
    rows = [(0, b"k%d" % (number % 5), b"v%d" % number, (), int(time.time() * 1000)) for number in range(200)]
    cluster.write("t", rows[:100])
    time.sleep(0.3)
    cluster.write("t", rows[100:])
    time.sleep(0.3)
    cluster.write("t", [(0, b"last", b"x", (), int(time.time() * 1000))])
    wait_until(lambda: len(cluster.read("t")[0]) < 100)
    replicated(cluster.url, tmp_path / "b")
    assert rows_of(tmp_path / "b", "t") == cluster.read("t")
    assert run("replicate", cluster.url, tmp_path / "b", "--verify").status == 0
    assert run("topics", "verify", "-d", tmp_path / "b").status == 0


def test_times_that_brokers_gave_stay_marked_as_theirs(tmp_path, cluster):
    cluster.create("t", message_timestamp_type="LogAppendTime")
    cluster.write("t", numbered(3))
    replicated(cluster.url, tmp_path / "b")
    assert rows_of(tmp_path / "b", "t") == cluster.read("t")


def test_a_topic_that_was_deleted_in_kafka_and_made_anew_is_refused(tmp_path, cluster):
    cluster.create("t")
    cluster.write("t", numbered(3))
    replicated(cluster.url, tmp_path / "b")
    cluster.delete("t")
    cluster.create("t")
    cluster.write("t", numbered(3, 50))
    done = run("replicate", cluster.url, tmp_path / "b")
    assert done.status == 65
    assert "deleted from SRC and made anew" in done.err
    assert rows_of(tmp_path / "b", "t") == [numbered(3)]


def test_records_that_kafka_removed_before_they_were_copied_are_a_gap(tmp_path, cluster):
    import confluent_kafka

    cluster.create("t")
    cluster.write("t", numbered(3))
    replicated(cluster.url, tmp_path / "b")
    cluster.write("t", numbered(7, 3))
    place = confluent_kafka.TopicPartition("t", 0, 6)
    cluster.admin.delete_records([place])[place].result(30)
    done = run("replicate", cluster.url, tmp_path / "b")
    assert done.status == 65
    assert "offsets 3 to 5 are gone" in done.err
    replicated(cluster.url, tmp_path / "b", "--accept-gap")
    assert rows_of(tmp_path / "b", "t") == [numbered(4, 6)]


def test_a_copy_of_kafka_is_promoted_and_used(tmp_path, cluster):
    cluster.create("t")
    cluster.write("t", numbered(5), transaction="commit")
    replicated(cluster.url, tmp_path / "b")
    refused = run("produce", "t", "-d", tmp_path / "b", "more")
    assert refused.status == 75
    assert cluster.url in refused.err
    assert run("replicate", "promote", "-d", tmp_path / "b").status == 0
    assert run("produce", "t", "-d", tmp_path / "b", "more").status == 0
    assert [row[2] for row in rows_of(tmp_path / "b", "t")[0]] == [b"v0", b"v1", b"v2", b"v3", b"v4", b"more"]
    done = run("replicate", cluster.url, tmp_path / "b")
    assert done.status == 75
    assert "DST leads it" in done.err


# To Kafka: what it goes on from, and what it refuses.


def test_a_topic_with_records_of_others_is_refused_and_left_as_it_is(tmp_path, cluster):
    cluster.create("t")
    cluster.write("t", numbered(1, 99))
    fill(tmp_path / "a", "t", numbered(10))
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status == 65
    assert "t of DST is no copy of t of SRC" in done.err
    assert cluster.read("t") == [numbered(1, 99)]


def test_records_of_others_behind_a_copy_end_it(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", cluster.url)
    cluster.write("t", numbered(1, 99))
    assert "nothing new" in replicated(tmp_path / "a", cluster.url)
    fill(tmp_path / "a", "t", numbered(10, 10))
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status == 65
    assert "did not come from SRC" in done.err
    assert cluster.read("t") == [numbered(10) + numbered(1, 99)]
    done = run("replicate", tmp_path / "a", cluster.url, "--verify")
    assert done.status == 65


def test_an_empty_topic_that_somebody_has_made_is_taken_if_it_has_as_many_partitions(tmp_path, cluster):
    cluster.create("t", 2)
    cluster.create("more", 3)
    cluster.create("fewer", 1)
    rows = numbered(10, partitions=2)
    for topic in ("t", "more", "fewer"):
        fill(tmp_path / "a", topic, rows, partitions=2)
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status == 65
    assert "3 partitions in DST" in done.err
    assert "it has 1 partitions there, and 2 in SRC" in done.err
    assert cluster.read("t", 2) == by_partition(rows, 2)
    assert cluster.read("fewer") == [[]]


def test_a_source_that_was_made_anew_under_its_name_is_refused(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", cluster.url)
    run("topics", "delete", "t", "--yes", "-d", tmp_path / "a")
    fill(tmp_path / "a", "t", numbered(20))
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status == 65
    assert cluster.read("t") == [numbered(10)]


def test_a_source_that_went_back_to_an_old_copy_is_refused(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    run("topics", "snapshot", tmp_path / "old", "-d", tmp_path / "a")
    fill(tmp_path / "a", "t", numbered(10, 10))
    replicated(tmp_path / "a", cluster.url)
    (tmp_path / "a").rename(tmp_path / "aside")
    (tmp_path / "old").rename(tmp_path / "a")
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status in (65, 75)
    assert run("topics", "repair", "--restored", "--yes", "t", "-d", tmp_path / "a").status == 0
    fill(tmp_path / "a", "t", numbered(30, 1000))
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status == 65, done
    assert cluster.read("t") == [numbered(20)]


def test_a_copy_goes_on_from_the_directory_that_was_promoted(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", tmp_path / "b")
    replicated(tmp_path / "a", cluster.url)
    assert run("replicate", "promote", "-d", tmp_path / "b").status == 0
    fill(tmp_path / "b", "t", numbered(10, 10))
    replicated(tmp_path / "b", cluster.url)
    assert cluster.read("t") == [numbered(20)]
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status == 75
    assert "is not led by SRC" in done.err


def test_records_that_were_removed_before_they_were_copied_are_a_gap_unless_it_is_accepted(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", cluster.url)
    fill(tmp_path / "a", "t", numbered(20, 10))
    assert run("topics", "trim", "t", "--to", 20, "--yes", "-d", tmp_path / "a").status == 0
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status == 65
    assert "offsets 10 to 19 are gone" in done.err
    replicated(tmp_path / "a", cluster.url, "--accept-gap")
    assert cluster.read("t") == [numbered(10) + numbered(10, 20)]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ((0, None, b"of old", (), 0), "1970-01-01"),
        ((0, None, b"v", ((b"\xff", b""),), NOW), "no UTF-8 text"),
        ((0, None, b"v", ((b"a\0b", b""),), NOW), "a NUL byte in it"),
    ],
)
def test_what_kafka_cannot_hold_stops_the_copy_in_front_of_it(tmp_path, cluster, row, why):
    good = numbered(250)
    fill(tmp_path / "a", "t", good)
    fill(tmp_path / "a", "t", [row])
    for _ in range(2):
        done = run("replicate", tmp_path / "a", cluster.url)
        assert done.status == 65
        assert why in done.err
        assert "offset 250" in done.err
        assert cluster.read("t") == [good]


def test_a_record_that_is_too_large_for_the_topic_stops_the_copy_in_front_of_it(tmp_path, cluster):
    cluster.create("t", max_message_bytes=10_000)
    fill(tmp_path / "a", "t", numbered(50))
    fill(tmp_path / "a", "t", [(0, None, b"x" * 20_000, (), NOW)])
    done = run("replicate", tmp_path / "a", cluster.url)
    assert done.status == 65
    assert "offset 50" in done.err
    assert "max.message.bytes" in done.err
    assert cluster.read("t") == [numbered(50)]


def test_large_records_are_copied_both_ways(tmp_path, cluster):
    rows = [(0, b"k", bytes([number]) * 5_000_000, (), NOW) for number in range(4)]
    fill(tmp_path / "a", "t", rows)
    replicated(tmp_path / "a", cluster.url)
    replicated(cluster.url, tmp_path / "b")
    assert rows_of(tmp_path / "b", "t") == [rows]


def test_two_runs_at_once_store_each_record_once(tmp_path, cluster):
    rows = numbered(30_000)
    fill(tmp_path / "a", "t", rows, batch=300)
    for _ in range(3):
        running = [start("replicate", tmp_path / "a", cluster.url) for _ in range(3)]
        ended = [(one.communicate(timeout=60)[1], one.returncode) for one in running]
        assert {status for _, status in ended} <= {0, 75}, ended
    replicated(tmp_path / "a", cluster.url)
    assert cluster.read("t") == [rows]


def test_a_run_that_follows_goes_on_behind_another_one_that_came_between(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    running = start("replicate", "-F", tmp_path / "a", cluster.url)
    wait_until(lambda: bool(cluster.admin.list_topics(timeout=30).topics.get("t")))
    wait_until(lambda: cluster.read("t") == [numbered(10)])
    running.send_signal(signal.SIGSTOP)
    fill(tmp_path / "a", "t", numbered(10, 10))
    replicated(tmp_path / "a", cluster.url)
    running.send_signal(signal.SIGCONT)
    # Fenced, it does nothing; and looks anew when more comes.
    for number in range(2, 5):
        fill(tmp_path / "a", "t", numbered(10, 10 * number))
        time.sleep(1)
    wait_until(lambda: cluster.read("t") == [numbered(50)])
    running.terminate()
    _, err = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGTERM, err


# What both ways have in common.


def test_two_clusters_are_left_to_mirror_maker(cluster):
    done = run("replicate", cluster.url, cluster.url)
    assert done.status == 2
    assert "MirrorMaker" in done.err


def test_a_dry_run_shows_what_would_be_done_and_does_nothing(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    done = run("replicate", tmp_path / "a", cluster.url, "--dry-run", "--json")
    steps = json.loads(done.out)
    assert [(step["action"], step["records"]) for step in steps] == [("created", 0), ("begin", 10)]
    assert "t" not in cluster.admin.list_topics(timeout=30).topics
    replicated(tmp_path / "a", cluster.url)
    done = run("replicate", cluster.url, tmp_path / "b", "--dry-run", "--json")
    assert [(step["action"], step["to"]) for step in json.loads(done.out)] == [("created", None), ("begin", 11)]
    assert not (tmp_path / "b").exists()


def test_verify_tells_what_is_behind_and_what_is_another(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", cluster.url)
    fill(tmp_path / "a", "t", numbered(5, 10))
    done = run("replicate", tmp_path / "a", cluster.url, "--verify")
    assert done.status == 3
    assert "by 5 records" in done.err


def test_verify_compares_the_others_beside_a_topic_that_can_have_no_copy(tmp_path, cluster):
    for topic in ("a" * 230, "t", "u"):
        cluster.create(topic)
    cluster.write("t", numbered(10))
    cluster.write("u", numbered(5))
    assert run("replicate", cluster.url, tmp_path / "b").status == 65
    done = run("replicate", cluster.url, tmp_path / "b", "--verify", "--json")
    assert done.status == 65
    assert "a name has at most" in done.err
    compared = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["topic"], one["to"], one["differs_at"]) for one in compared if one["partition"] == 0] == [
        ("t", 10, None),
        ("u", 5, None),
    ]


def test_names_are_chosen_and_get_a_prefix(tmp_path, cluster):
    for topic in ("one", "two"):
        fill(tmp_path / "a", topic, numbered(3))
    replicated(tmp_path / "a", cluster.url, "--topics", "one", "--prefix", "site")
    assert [name for name in cluster.admin.list_topics(timeout=30).topics if name[0] != "_"] == ["site.one"]
    replicated(cluster.url, tmp_path / "b", "--prefix", "back")
    assert rows_of(tmp_path / "b", "back.site.one") == [numbered(3)]


@pytest.mark.parametrize("towards", ["kafka", "directory"])
def test_a_run_that_follows_copies_what_comes_until_it_is_stopped(tmp_path, cluster, towards):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", cluster.url)
    if towards == "kafka":
        running = start("replicate", "-F", tmp_path / "a", cluster.url, "--json")
    else:
        running = start("replicate", "-F", cluster.url, tmp_path / "b", "--json")
        wait_until(lambda: (tmp_path / "b/topics/t").exists())
    for number in range(1, 4):
        fill(tmp_path / "a", "t", numbered(10, 10 * number))
        if towards == "kafka":
            wait_until(lambda: cluster.read("t") == [numbered(10 * number + 10)])  # noqa: B023
        else:
            replicated(tmp_path / "a", cluster.url)
            wait_until(lambda: rows_of(tmp_path / "b", "t") == [numbered(10 * number + 10)])  # noqa: B023
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == -signal.SIGINT, err
    assert json.loads(out.splitlines()[-1])["event"] == "summary"


def test_a_broker_that_is_away_ends_it_with_69_within_the_time(tmp_path):
    fill(tmp_path / "a", "t", numbered(3))
    for words in ((tmp_path / "a", "kafka://127.0.0.1:1"), ("kafka://127.0.0.1:1", tmp_path / "b")):
        began = time.monotonic()
        done = run("replicate", *words, "--timeout", "2s")
        assert done.status == 69, done
        assert time.monotonic() - began < 8


# Groups.


def test_a_group_goes_on_in_kafka_in_front_of_the_record_that_it_had_come_to(tmp_path, cluster):
    rows = numbered(1000)
    for at in range(0, 1000, 100):
        fill(tmp_path / "a", "t", rows[at : at + 100])
        replicated(tmp_path / "a", cluster.url)
    for group, count in (("early", 1), ("mid", 437), ("late", 999), ("done", 1000)):
        run("consume", "t", "-g", group, "-n", count, "-q", "-d", tmp_path / "a")
    replicated(tmp_path / "a", cluster.url)
    stored = cluster.read_with_offsets("t")[0]
    for group, count in (("early", 1), ("mid", 437), ("late", 999), ("done", 1000)):
        offset = cluster.committed(group, "t")
        assert [row for at, row in stored if at >= offset] == rows[count:], group


def test_a_group_is_carried_over_also_while_the_brokers_do_not_show_the_position_that_was_just_committed(
    tmp_path, cluster, monkeypatch
):
    fill(tmp_path / "a", "t", numbered(10))
    run("consume", "t", "-g", "g", "-q", "-d", tmp_path / "a")
    source = open_replica(str(tmp_path / "a"))
    target = kafka_copy.KafkaCopy(parse_kafka_address(cluster.url))

    def not_shown_yet(client, groups, what):
        return {group: [TopicPartition(*place) for place in places] for group, places in groups.items()}

    monkeypatch.setattr(kafka_copy, "committed_places", not_shown_yet)
    try:
        list(Replicator(source, target, Choice()).run())
    finally:
        target.close()
        source.close()
    assert cluster.committed("g", "t") == 10


def test_a_group_that_reads_in_kafka_itself_is_not_moved(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    run("consume", "t", "-g", "g", "-n", 4, "-q", "-d", tmp_path / "a")
    replicated(tmp_path / "a", cluster.url)
    assert cluster.committed("g", "t") == 4
    run("consume", "t", "-g", "g", "-n", 2, "-q", "-d", tmp_path / "a")
    replicated(tmp_path / "a", cluster.url)
    assert cluster.committed("g", "t") == 6
    cluster.commit("g", "t", 2)
    replicated(tmp_path / "a", cluster.url)
    assert cluster.committed("g", "t") == 2


def test_a_group_with_members_in_kafka_keeps_neither_records_nor_other_groups_from_being_copied(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", cluster.url, "--no-groups")
    for group in ("a", "b", "c"):
        run("consume", "t", "-g", group, "-n", 4, "-q", "-d", tmp_path / "a")
    member = start("consume", "t", "-g", "b", "-F", "--no-commit", "-d", cluster.url)
    assert member.stdout is not None
    assert member.stdout.readline() == b"v0\n"
    replicated(tmp_path / "a", cluster.url)
    assert [cluster.committed(group, "t") < 0 for group in ("a", "b", "c")] == [False, True, False]
    member.terminate()
    member.communicate(timeout=60)
    replicated(tmp_path / "a", cluster.url)
    assert cluster.committed("b", "t") == 4


def test_no_groups_leaves_them_out(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    run("consume", "t", "-g", "g", "-n", 4, "-q", "-d", tmp_path / "a")
    replicated(tmp_path / "a", cluster.url, "--no-groups")
    assert cluster.committed("g", "t") < 0


def test_groups_of_kafka_go_on_in_a_directory(tmp_path, cluster):
    cluster.create("t")
    cluster.write("t", numbered(10), transaction="commit")
    cluster.commit("g", "t", 4)
    replicated(cluster.url, tmp_path / "b")
    out = run("consume", "t", "-g", "g", "-d", tmp_path / "b").out
    assert out == b"".join(b"v%d\n" % number for number in range(4, 10))


def test_groups_of_copies_are_no_groups_of_a_directory(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    replicated(tmp_path / "a", cluster.url)
    replicated(cluster.url, tmp_path / "b")
    assert run("groups", "list", "--json", "-d", tmp_path / "b").out.strip() in (b"[]", b"")


# Killed.


def copied_under_fire(tmp_path, cluster, rows, partitions, kills, *, restart=None, restarts=0, seconds=1.5):
    """Copy to Kafka and on to a directory while records come, with runs killed at random times, and the broker restarted now
    and then."""
    chosen = random.Random(1)
    due = [kills * (number + 1) // (restarts + 1) for number in range(restarts)]
    count, stored, part = 0, 0, len(rows) // 10
    while count < kills:
        # There is always something to copy when a run is killed.
        if stored <= len(rows) * count // kills:
            fill(tmp_path / "a", "t", rows[stored : stored + part], partitions=partitions, batch=part // 5)
            stored += part
        # Both at once, as they would run in production.
        running = [
            start("replicate", tmp_path / "a", cluster.url),
            start("replicate", cluster.url, tmp_path / "b"),
        ]
        time.sleep(chosen.uniform(0.1, seconds))
        if due and count >= due[0]:
            due.pop(0)
            restart()
        # One that has ended by itself, since all was there or the broker was away, was not killed.
        alive = sum(one.poll() is None for one in running)
        for one in running:
            one.kill()
            one.communicate()
        count += alive
        if not alive:
            seconds = max(0.15, 0.8 * seconds)  # It is a fast machine.
    fill(tmp_path / "a", "t", rows[stored:], partitions=partitions, batch=part)
    for words in ((tmp_path / "a", cluster.url), (cluster.url, tmp_path / "b")):
        for _ in range(20):
            done = run("replicate", *words)
            if done.status == 0:
                break
            assert done.status in (69, 75), done
        assert done.status == 0, done


def test_killed_again_and_again_nothing_is_lost_and_nothing_doubled(tmp_path, cluster):
    rows = numbered(60_000, partitions=3)
    copied_under_fire(tmp_path, cluster, rows, 3, kills=6)
    assert cluster.read("t", 3) == by_partition(rows, 3)
    assert rows_of(tmp_path / "b", "t", 3) == by_partition(rows, 3)
    assert run("topics", "verify", "-d", tmp_path / "b").status == 0


@pytest.mark.slow
def test_a_million_records_are_there_once_behind_fifty_kills_and_three_restarts_of_the_broker(tmp_path, make_broker):
    broker = make_broker()
    cluster = Cluster(broker)

    def restart():
        broker.kill()
        broker.start()

    rows = numbered(1_000_000, partitions=4)
    copied_under_fire(tmp_path, cluster, rows, 4, kills=50, restart=restart, restarts=3, seconds=6)
    assert cluster.read("t", 4) == by_partition(rows, 4)
    assert rows_of(tmp_path / "b", "t", 4) == by_partition(rows, 4)
    assert run("topics", "verify", "-d", tmp_path / "b", timeout=600).status == 0


def test_events_tell_of_each_partition(tmp_path, cluster):
    fill(tmp_path / "a", "t", numbered(10))
    told = [
        (event["event"], event.get("action"))
        for event in events(tmp_path / "a", cluster.url)
        if event["event"] != "progress"  # Of which there are some where a broker takes its time.
    ]
    assert told == [("topic", "created"), ("partition", "begin"), ("done", None), ("summary", None)]
    # The mark of the transaction has an offset in Kafka, and is no record.
    (summary,) = [event for event in events(cluster.url, tmp_path / "b") if event["event"] == "summary"]
    assert summary["records"] == 10
