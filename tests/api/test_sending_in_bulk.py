"""Lines and parallel columns through the Python API: the same as records one by one, with headers and times, within limits."""

import pytest

import mk
from mk import errors

HEADERS = ((b"a", b"1"), (b"a", None), (b"b", b""))


@pytest.fixture
def cluster(tmp_path):
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t")
        yield cluster


def stored(cluster, topic="t"):
    with cluster.consumer([topic]) as consumer:
        return [(one.key, one.value, one.headers, one.timestamp_ms) for one in consumer]


def test_columns_with_headers_and_a_time(cluster):
    with cluster.producer("t") as producer:
        producer.send_keyed([b"k", None], [b"v", None], HEADERS, 5)
        producer.send_keyed(None, [b"w\n", b""], HEADERS, 5)
        producer.send_keyed(None, [b"x"], (), 6)
        producer.send_keyed([b"l"], [b"y"], timestamp_ms=-7)
    assert stored(cluster) == [
        (b"k", b"v", HEADERS, 5),
        (None, None, HEADERS, 5),
        (None, b"w\n", HEADERS, 5),
        (None, b"", HEADERS, 5),
        (None, b"x", (), 6),
        (b"l", b"y", (), -7),
    ]


def test_ways_of_sending_keep_their_order(cluster):
    with cluster.producer("t") as producer:
        producer.send(b"0", timestamp_ms=1)
        producer.send_lines(b"1\n2\n", timestamp_ms=2)
        producer.send_keyed(None, [b"3"], HEADERS, 3)
        producer.send(b"4", None, HEADERS, 4)
        producer.send_keyed(None, [b"5"], (), 3)
        producer.send_lines(b"6\n", 1, b"k", 5)
    assert [(value, time) for _, value, _, time in stored(cluster)] == [
        (b"0", 1),
        (b"1", 2),
        (b"2", 2),
        (b"3", 3),
        (b"4", 4),
        (b"5", 3),
        (b"6", 5),
    ]


def test_many_columns_make_several_batches_and_are_all_there(cluster):
    values = [b"%d" % number for number in range(200_000)]
    with cluster.producer("t") as producer:
        producer.send_keyed(None, values, HEADERS)
    found = stored(cluster)
    assert [value for _, value, _, _ in found] == values
    assert {headers for _, _, headers, _ in found} == {HEADERS}


def test_columns_without_keys_go_batch_by_batch_over_the_partitions(cluster):
    cluster.create_topic("many", partitions=3)
    with cluster.producer("many") as producer:
        for number in range(6):
            producer.send_keyed(None, [b"%d" % number] * 2)
    assert [row["high_watermark"] for row in cluster.offsets("many")] == [4, 4, 4]


@pytest.mark.parametrize("partitions", [1, 3])
def test_one_record_over_the_limit_refuses_the_call_and_nothing_of_it_is_sent(cluster, partitions):
    cluster.create_topic("small", partitions=partitions, config={"max.message.bytes": 10})
    with cluster.producer("small") as producer:
        for send in (
            lambda: producer.send_keyed([b"k" * 5, b"k"], [b"v" * 6, b"v"]),
            lambda: producer.send_keyed(None, [b"v", b"v" * 7], HEADERS),
            lambda: producer.send_lines(b"v\n" + b"v" * 11 + b"\nv\n"),
            lambda: producer.send_lines(b"v\n" + b"v" * 6 + b"\n", key=b"k" * 5),
            lambda: producer.send_lines(b"\n", key=b"k" * 11),
            lambda: producer.send(b"v" * 7, None, HEADERS),
        ):
            with pytest.raises(errors.RecordTooLargeError) as caught:
                send()
            assert caught.value.facts["size_bytes"] == 11
        producer.send_keyed([b"k" * 5] * 2, [b"v" * 5, b""])
        producer.send_keyed(None, [b"v" * 6] * 3, HEADERS)
        producer.send_lines((b"v" * 5 + b"\n") * 4, key=b"k" * 5)
    assert sum(row["high_watermark"] for row in cluster.offsets("small")) == 9


@pytest.mark.parametrize(
    "extras", [(((b"name", "text"),), None), (((None, b"v"),), None), ((), 1.5), ((), 1 << 63), ((("a", b"v"),), None)]
)
def test_headers_and_times_that_are_none_are_refused(cluster, extras):
    with cluster.producer("t") as producer:
        with pytest.raises(TypeError):
            producer.send_keyed(None, [b"v"], *extras)
        if extras[1] is not None:
            with pytest.raises(TypeError):
                producer.send_lines(b"v\n", timestamp_ms=extras[1])
    assert stored(cluster) == []
