"""What a reader of another host's partition sees, and what it does not believe."""

import pytest

import mk
from mk.cluster import Cluster
from mk.errors import CorruptBatchError, FarSideError, OffsetOutOfRangeError, UsageError
from mk.remote_cluster.cluster import ELSEWHERE, RemoteCluster
from mk.remote_cluster.documents import take_document
from mk.remote_cluster.remote_watch import RemoteWatch
from mk.transport.fields import Fields
from tests.unit.server.far_side import directory_of, far_side


@pytest.fixture
def cluster(tmp_path):
    with mk.connect(str(tmp_path / "log"), create=True) as opened:
        opened.create_topic("t", partitions=2)
        yield opened


def produce(cluster, *values, partition=0):
    with cluster.producer("t", partition=partition) as producer:
        for value in values:
            producer.send(value)


@pytest.fixture
def conversation(tmp_path, cluster):
    with far_side(tmp_path / "log") as opened:
        yield opened


@pytest.fixture
def topic(conversation):
    return directory_of(conversation).open_topic("t")


def values_of(batches):
    return [record.value for batch in batches for record in batch.records("t", 0)]


def test_a_reader_reads_ahead_and_goes_on_behind_the_end_when_more_has_come(cluster, topic):
    for number in range(40):
        produce(cluster, b"%d" % number)
    reader = topic.open_reader(0)
    found = []
    while batches := reader.fetch():
        found += values_of(batches)
    assert found == [b"%d" % number for number in range(40)]
    produce(cluster, b"more")
    while not reader.refresh():
        pass  # What was told just now is believed for some milliseconds.
    assert values_of(reader.fetch()) == [b"more"]


def test_seeking_drops_what_was_asked_for_ahead(cluster, topic):
    for number in range(30):
        produce(cluster, b"%d" % number)
    reader = topic.open_reader(0)
    reader.fetch()
    reader.seek(7)
    first = reader.fetch()[0]
    assert first.base_offset <= 7 < first.next_offset
    with pytest.raises(OffsetOutOfRangeError):
        reader.seek(31)
    reader.seek(30)
    assert reader.fetch() == []
    assert topic.conversation.ahead_bytes == 0


def test_what_an_answer_said_of_the_end_is_known_also_if_nobody_takes_its_records(cluster, conversation, topic):
    """The far side does not say it again."""
    for number in range(4):
        produce(cluster, b"%d" % number)
    reader = topic.open_reader(0)
    while reader.next_offset < 4:
        reader.fetch()
    reader.seek(0)
    reader.fetch()
    produce(cluster, b"more")
    # Asked for ahead, and answered with the new end; then dropped.
    reader._window = 3
    reader._read_ahead()
    reader.seek(4)
    conversation.request("topic_names")
    assert values_of(reader.fetch()) == [b"more"]


def test_what_a_watch_says_of_a_partition_that_is_being_opened_is_not_lost(cluster, conversation, topic):
    topic.expect_readers([0])
    conversation.request("topic_names")
    produce(cluster, b"new")
    topic.refresh()
    reader = topic.open_reader(0)
    conversation.request("topic_names")
    assert reader.high_watermark == 1


def test_what_was_removed_before_it_was_read_is_said(cluster, topic):
    cluster.alter_topic("t", config={"segment.bytes": 4096})
    for number in range(60):
        produce(cluster, b"%d" % number * 40)
    reader = topic.open_reader(0)
    cluster.delete_records("t", 0, 50)
    reader.seek(3)
    batches = reader.fetch()
    assert reader.skipped and reader.skipped[0][0] == 3
    assert batches[0].base_offset <= reader.skipped[-1][1] + 1 < batches[0].next_offset


def test_a_watch_tells_of_records_partitions_topics_and_deletion(cluster, conversation, topic):
    readers = [topic.open_reader(number) for number in range(2)]
    conversation.look()
    watch = RemoteWatch(conversation)
    assert watch.wait(0) is False
    produce(cluster, b"v", partition=1)
    while not readers[1].refresh():
        watch.wait(10_000)
    assert not readers[0].refresh()
    cluster.alter_topic("t", partitions=3)
    while topic.partitions == 2:
        watch.wait(10_000)
    version = conversation.names_version
    cluster.create_topic("u")
    while conversation.names_version == version:
        watch.wait(10_000)
    cluster.delete_topic("t")
    while not topic.is_deleted():
        watch.wait(10_000)
    # A request ends a watch, and its answer is not taken for that of the watch.
    conversation.begin_watch()
    assert directory_names(conversation) == ["u"]


def directory_names(conversation):
    conversation.request("topic_names")
    return conversation.body.decode().split()


def test_what_comes_is_proved_again(cluster, topic):
    produce(cluster, b"value")
    reader = topic.open_reader(0)
    real = topic.conversation.wait_for

    def flipped(pending):
        fields = real(pending)
        body = bytearray(pending.body)
        body[-2] ^= 1
        pending.body = bytes(body)
        return fields

    topic.conversation.wait_for = flipped
    with pytest.raises(CorruptBatchError):
        reader.fetch()
    topic.conversation.wait_for = real
    assert values_of(reader.fetch()) == [b"value"]


def test_batches_come_backward_by_their_headers_and_their_payloads_when_they_are_loaded(cluster, topic):
    for number in range(3):
        produce(cluster, b"%d" % number)
    reader = topic.open_reader(0)
    stored = list(reader.batches_backward(3))
    assert [one.header.base_offset for one in stored] == [2, 1, 0]
    assert values_of([one.load() for one in stored]) == [b"2", b"1", b"0"]
    assert stored[0].path.startswith("far:/")


def test_whatever_a_cluster_has_is_there_or_refused_with_where_to_do_it():
    has = {name for name, value in vars(Cluster).items() if not name.startswith("_") and callable(value)}
    offered = {name for name, value in vars(RemoteCluster).items() if not name.startswith("_") and callable(value)}
    assert has == offered | ELSEWHERE and not offered & ELSEWHERE
    cluster = object.__new__(RemoteCluster)
    cluster._destination = "far"
    with pytest.raises(UsageError, match="not offered on another host"):
        cluster.sweep()
    assert not hasattr(cluster, "nothing")


def test_what_was_fetched_stays_while_other_things_are_asked_for(cluster, topic):
    produce(cluster, b"a" * 1000)
    produce(cluster, b"b" * 1000, partition=1)
    first = topic.open_reader(0).fetch()
    second = topic.open_reader(1).fetch()
    directory_names(topic.conversation)
    assert values_of(first) + values_of(second) == [b"a" * 1000, b"b" * 1000]


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("summary", b""),
        ("summary", b"\xff"),
        ("summary", b"[" * 100_000),
        ("summary", b"[]"),
        ("offsets", b'[{"partition": 0, "log_start_offset": 0, "high_watermark": "9", "leader_epoch": 0}]'),
        ("rates", b'[{"records_per_s_1m": NaN, "bytes_per_s_1m": 0, "records_per_s_1h": 0, "bytes_per_s_1h": 0}]'),
        ("config", b'{"retention.ms": 1e9}'),
        ("config", b'{"retention.ms": %d}' % (1 << 64)),
        ("config", b'{"retention.ms": 1, "new": []}'),
        ("topic", b"{}"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_description_that_is_none_is_refused_before_it_is_looked_into(what, data):
    with pytest.raises(FarSideError):
        take_document(what, data, Fields(b"", "far"))


def test_a_description_may_say_more_in_a_later_version():
    data = b'{"retention.ms": 1, "new": "x", "newer": null}'
    assert take_document("config", data, Fields(b"", "far"))["newer"] is None
