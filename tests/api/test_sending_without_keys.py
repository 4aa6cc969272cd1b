"""What a program that produces is told where a topic that is compacted wants keys."""

import pytest

import mk
from mk.errors import KeyRequiredError
from mk.records.record_batch import encode_columns, encode_lines


@pytest.fixture
def cluster(tmp_path):
    with mk.connect(str(tmp_path / "log"), create=True) as opened:
        opened.create_topic("t", partitions=2, config={"cleanup.policy": "compact"})
        yield opened


def stored(cluster):
    with cluster.consumer(["t"]) as consumer:
        return sorted((record.key, record.value) for record in consumer)


WAYS = {
    "send": lambda producer: producer.send(b"v"),
    "send_lines": lambda producer: producer.send_lines(b"v\n"),
    "send_keyed without keys": lambda producer: producer.send_keyed(None, [b"v"]),
    "send_keyed with a null": lambda producer: producer.send_keyed([b"k", None], [b"v", b"w"]),
    "send_records": lambda producer: producer.send_records([b"v", b"w"], [b"k", None], [(), ()], [None, None]),
}


@pytest.mark.parametrize("partition", [None, 1])
@pytest.mark.parametrize("producer_id", [None, "p"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_has_no_key_is_refused_when_it_is_sent_and_the_rest_is_stored(cluster, way, producer_id, partition):
    with cluster.producer("t", producer_id=producer_id, partition=partition) as producer:
        producer.send(b"1", b"a")
        with pytest.raises(KeyRequiredError):
            way(producer)
        producer.send(b"2", b"")
        producer.send_keyed([b"b", b"c"], [b"3", None])
    assert stored(cluster) == [(b"", b"2"), (b"a", b"1"), (b"b", b"3"), (b"c", None)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_was_buffered_before_the_policy_changed_is_refused_by_the_append(cluster, way):
    cluster.alter_topic("t", config={"cleanup.policy": "delete"})
    with pytest.raises(KeyRequiredError), cluster.producer("t") as producer:
        way(producer)
        cluster.alter_topic("t", config={"cleanup.policy": "compact"})
    assert producer.records_stored == 0
    assert stored(cluster) == []


def test_a_key_that_was_not_asked_for_meanwhile_is_asked_for_again(cluster):
    with cluster.producer("t", partition=0) as producer:
        cluster.alter_topic("t", config={"cleanup.policy": "delete"})
        producer.send(b"1", b"a")
        producer.flush()
        producer.send(b"2", b"b")
        producer.send(b"3")
        cluster.alter_topic("t", config={"cleanup.policy": "compact"})
        with pytest.raises(KeyRequiredError, match="a record has no key"):
            producer.flush()
        producer.send(b"4", b"c")
        producer.flush()
    assert stored(cluster) == [(b"a", b"1"), (b"c", b"4")]


@pytest.mark.parametrize(
    "batch", [encode_lines(b"v\n", count=1, timestamp_ms=1), encode_columns([b"v"], base_timestamp=1, keys=[None])]
)
def test_batches_that_somebody_else_made_are_looked_into(cluster, batch):
    with pytest.raises(KeyRequiredError) as raised:
        cluster.append_batches("t", 0, [encode_lines(b"v\n", count=1, timestamp_ms=1, key=b"k"), batch])
    assert "nothing of this append is stored" in raised.value.fix
    assert raised.value.facts["records_appended"] == 0
    assert stored(cluster) == []
