"""Dead letters of a group: each once, whoever was killed when, and whatever was reset."""

import pytest

import mk
from mk.consumer.dead_letters import (
    GROUP,
    OFFSET,
    PARTITION,
    STDERR,
    TIMESTAMP,
    TOPIC,
    TOPIC_ID,
    DeadLetters,
    producer_name,
)
from mk.consumer.offset_spec import OffsetSpec
from mk.errors import RecordTooLargeError
from mk.records.record import ConsumerRecord
from mk.topic_partition import check_producer_id

ID = "0123456789abcdef0123456789abcdef"
OTHER_ID = "f" * 32


@pytest.fixture(params=[1, 3])
def cluster(tmp_path, request):
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("dead", partitions=request.param)
        yield cluster


def open_letters(cluster, group="g"):
    return DeadLetters(
        open_producer=lambda producer_id: cluster.producer("dead", producer_id=producer_id),
        read=lambda positions: cluster.consumer(
            ["dead"],
            offset={one: OffsetSpec("at", positions.get(one, 0)) for one in range(cluster.partitions("dead"))},
        ),
        group=group,
    )


def record(offset, partition=0, key=None):
    return ConsumerRecord("t", partition, offset, 1000 + offset, key, b"v%d" % offset, ((b"own", None),))


def send(letters, offsets, partition=0, topic_id=ID, key=None, flush=True):
    for offset in offsets:
        letters.send(
            [record(offset, partition, key)], topic_id=topic_id, is_batch=False, status="1", tries=2, stderr=b"no\nway"
        )
    if flush:
        letters.flush(("t", partition))


def stored(cluster, partition=0, topic_id=ID):
    found = [dict(letter.headers) for letter in cluster.consumer(["dead"])]
    return [
        int(headers[OFFSET])
        for headers in found
        if headers[PARTITION] == b"%d" % partition and headers[TOPIC_ID] == topic_id.encode()
    ]


def test_a_dead_letter_is_the_record_and_says_where_it_comes_from(cluster):
    letters = open_letters(cluster)
    send(letters, [7], partition=2, key=b"k")
    letters.close()
    (letter,) = cluster.consumer(["dead"])
    assert (letter.key, letter.value) == (b"k", b"v7")
    assert letter.headers[0] == (b"own", None)
    headers = dict(letter.headers)
    assert headers[TOPIC] == b"t" and headers[PARTITION] == b"2" and headers[OFFSET] == b"7"
    assert headers[TOPIC_ID] == ID.encode() and headers[TIMESTAMP] == b"1007" and headers[GROUP] == b"g"
    assert headers[STDERR] == b"no\nway"
    assert letter.timestamp_ms > 10**12  # Its own: retention goes by it.


def test_who_goes_on_after_a_crash_stores_nothing_twice(cluster):
    send(open_letters(cluster), [3, 7, 9])
    letters = open_letters(cluster)
    send(letters, [7, 9, 12])
    send(letters, [13])
    letters.close()
    assert stored(cluster) == [3, 7, 9, 12, 13]


def test_what_was_not_flushed_is_sent_again(cluster):
    letters = open_letters(cluster)
    send(letters, [3])
    send(letters, [7], flush=False)
    letters.close()
    send(open_letters(cluster), [7, 9])
    assert stored(cluster) == [3, 7, 9]


def test_a_partition_that_comes_back_is_gone_on_with(cluster):
    letters = open_letters(cluster)
    send(letters, [3, 7])
    letters.release(("t", 0))
    send(open_letters(cluster), [7, 8])
    send(letters, [7, 8, 20])
    assert stored(cluster) == [3, 7, 8, 20]


def test_after_a_reset_what_fails_only_then_is_not_taken_for_what_failed_before(cluster):
    send(open_letters(cluster), [3, 9])
    letters = open_letters(cluster)
    send(letters, [3, 5])
    send(letters, [7])
    send(letters, [9, 11])
    letters.close()
    assert sorted(stored(cluster)) == [3, 5, 7, 9, 11]
    again = open_letters(cluster)
    send(again, [5, 7, 9])
    send(again, [10])
    assert sorted(stored(cluster)) == [3, 5, 7, 9, 10, 11]


def test_two_that_think_they_hold_the_partition_store_each_once(cluster):
    """One was stopped for too long and goes on: the log tells under its lock."""
    first, second = open_letters(cluster), open_letters(cluster)
    send(first, [1])
    send(second, [1])
    send(second, [3, 6])
    send(first, [3, 5, 6])
    assert sorted(stored(cluster)) == [1, 3, 5, 6]


def test_partitions_and_topics_and_groups_are_kept_apart(cluster):
    letters = open_letters(cluster)
    send(letters, [9])
    send(letters, [5], partition=1)
    send(letters, [7, 9], partition=1)
    letters.release(("t", 0))
    send(letters, [2], topic_id=OTHER_ID)
    letters.close()
    send(open_letters(cluster, "h"), [9])
    assert stored(cluster) == [9, 9]
    assert stored(cluster, partition=1) == [5, 7, 9]
    assert stored(cluster, topic_id=OTHER_ID) == [2]


def test_without_a_group_nothing_is_left_out(cluster):
    for _ in range(2):
        letters = open_letters(cluster, None)
        send(letters, [3, 2])
        letters.close()
    assert sorted(stored(cluster)) == [2, 2, 3, 3]
    assert not any(GROUP in dict(letter.headers) for letter in cluster.consumer(["dead"]))


def test_foreign_records_among_them_do_no_harm(cluster):
    with cluster.producer("dead") as producer:
        producer.send(b"x")
        producer.send(b"x", headers=((GROUP, b"g"), (TOPIC_ID, ID.encode()), (PARTITION, b"0"), (OFFSET, b"x")))
        producer.send(b"x", headers=((GROUP, b"g"), (TOPIC_ID, ID.encode()), (PARTITION, b"0")))
    send(open_letters(cluster), [4])
    send(open_letters(cluster), [3, 4])
    found = [letter for letter in cluster.consumer(["dead"]) if letter.value != b"x"]
    assert sorted(letter.value for letter in found) == [b"v3", b"v4"]


def test_one_that_is_too_large_is_an_error_that_says_which(cluster):
    cluster.create_topic("small", config={"max.message.bytes": 100})
    letters = DeadLetters(
        open_producer=lambda producer_id: cluster.producer("small", producer_id=producer_id),
        read=lambda positions: [],
        group="g",
    )
    with pytest.raises(RecordTooLargeError, match="offset 7 of partition 0 of t") as caught:
        send(letters, [7])
    assert "max.message.bytes" in caught.value.fix


def test_a_producer_id_holds_any_group():
    for group in ("g", "g" * 200):
        assert check_producer_id(producer_name(group, ID, 4095))
    assert producer_name("g" * 200, ID, 0) != producer_name("g" * 199, ID, 0)
