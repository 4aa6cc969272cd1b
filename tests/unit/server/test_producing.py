"""What a client may append, and what it is not believed."""

from array import array

import pytest

import mk
from mk.errors import (
    FarSideError,
    KeyRequiredError,
    PeerUnreachableError,
    PermissionDeniedError,
    RecordTooLargeError,
    TopicSealedError,
    UsageError,
)
from mk.records.codecs import NONE, ZSTD
from mk.records.record_batch import CONTROL, encode_columns, encode_lines
from mk.remote_cluster.remote_log import NotAppendedError, RemotePartitionLog
from mk.storage.partition_log import DISK
from mk.storage.producer_pin import producer_id_of
from tests.unit.server.far_side import directory_of, far_side


@pytest.fixture
def directory(tmp_path):
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t", partitions=2, config={"max.message.bytes": 1000})
    return tmp_path / "log"


@pytest.fixture
def conversation(directory):
    with far_side(directory) as opened:
        yield opened


@pytest.fixture
def topic(conversation):
    return directory_of(conversation).open_topic("t")


def lines(*values):
    return encode_lines(b"".join(value + b"\n" for value in values), count=len(values), timestamp_ms=5)


def values_in(directory, partition=0):
    with mk.connect(str(directory)) as cluster, cluster.consumer(["t"], partitions=[partition]) as consumer:
        return [record.value for record in consumer]


def test_batches_are_appended_as_they_were_made(directory, topic):
    log = RemotePartitionLog(topic, 1)
    result = log.append([lines(b"a", b"b"), encode_columns([b"c", None], base_timestamp=7)], DISK)
    assert (result.partition, result.first_offset, result.last_offset, result.duplicates) == (1, 0, 3, 0)
    assert values_in(directory, 1) == [b"a", b"b", b"c", None]


def test_sequences_with_gaps_come_along_and_what_is_stored_is_left_out(directory, topic):
    pin = topic.pin_producer("p", partition=None, lock_wait_ms=1000)
    log = RemotePartitionLog(topic, 0)

    def numbered(values, sequences):
        batch = lines(*values)
        batch.number(pin.producer_id, array("q", sequences))
        return batch

    assert log.append([numbered([b"a", b"b"], [1, 5])], DISK).duplicates == 0
    assert log.last_sequence(pin.producer_id) == 5
    result = log.append([numbered([b"b", b"c", b"d"], [5, 6, 9])], DISK)
    assert (result.first_offset, result.last_offset, result.duplicates) == (2, 3, 1)
    assert values_in(directory) == [b"a", b"b", b"c", b"d"]
    assert log.last_sequence(pin.producer_id) == 9


def test_an_id_that_nobody_pinned_is_refused(directory, topic):
    batch = lines(b"a")
    batch.number(producer_id_of("p"), range(1))
    with pytest.raises(UsageError, match="is not known in topic t"):
        RemotePartitionLog(topic, 0).append([batch], DISK)
    assert values_in(directory) == []


@pytest.mark.parametrize("codec", [NONE, ZSTD])
def test_a_client_that_does_not_look_is_refused_what_has_no_key(directory, topic, codec):
    with mk.connect(str(directory)) as cluster:
        cluster.alter_topic("t", config={"cleanup.policy": "compact"})
    log = RemotePartitionLog(topic, 0)
    whole = encode_columns([b"a", b"b"], base_timestamp=7, keys=[b"k", b""], codec=codec)
    log.append([whole], DISK)
    broken = encode_columns([b"a", b"b"], base_timestamp=7, keys=[b"k", None], codec=codec)
    broken.has_all_keys = True  # What it says of itself does not come along.
    for batches in ([broken], [whole, broken], [lines(b"a")]):
        with pytest.raises(KeyRequiredError, match="a record has no key"):
            log.append(batches, DISK)
    assert values_in(directory) == [b"a", b"b"]


def wrong_checksum():
    batch = lines(b"a")
    batch.payload = [b"b\n"]
    return batch


def wrong_count():
    batch = lines(b"a", b"b")
    batch.record_count, batch.last_offset_delta = 1, 0
    return batch


def control():
    batch = lines(b"a")
    batch.attributes |= CONTROL
    return batch


def no_columns():
    batch = encode_columns([b"a", b"b"], base_timestamp=1)
    batch.record_count, batch.last_offset_delta = 3, 2
    return batch


def falling_sequences():
    batch = lines(b"a", b"b", b"c")
    batch.number(7, array("q", [3, 3, 9]))
    return batch


def negative_sequences():
    batch = lines(b"a", b"b")
    batch.number(7, range(-2, 0))
    return batch


@pytest.mark.parametrize(
    "make", [wrong_checksum, wrong_count, control, no_columns, falling_sequences, negative_sequences]
)
def test_what_is_no_batch_ends_the_session_and_leaves_nothing(directory, topic, make):
    with pytest.raises(FarSideError):
        RemotePartitionLog(topic, 0).append([make()], DISK)
    assert values_in(directory) == []


def test_a_record_over_the_limit_of_the_topic_is_refused_also_if_the_client_does_not_look(directory, topic):
    with pytest.raises(RecordTooLargeError):
        RemotePartitionLog(topic, 0).append([lines(b"a", b"x" * 1001)], DISK)
    # Many small ones may be more than that together.
    RemotePartitionLog(topic, 0).append([lines(*[b"x" * 100] * 30)], DISK)
    assert len(values_in(directory)) == 30


def test_of_a_run_nothing_is_stored_behind_an_append_that_failed(directory, topic):
    logs = [RemotePartitionLog(topic, number) for number in range(2)]
    with mk.connect(str(directory)) as cluster:
        assert logs[0].append([lines(b"a")], DISK).last_offset == 0
        cluster.seal_topic("t")
        sent = [(log, log.begin([lines(b"b")], DISK)) for log in logs]
        with pytest.raises(TopicSealedError):
            logs[0].finish(sent[0][1])
        cluster.unseal_topic("t")
        # Sent before we knew; it may arrive long after the seal was undone.
        with pytest.raises(NotAppendedError):
            logs[1].finish(sent[1][1])
        assert logs[1].append([lines(b"c")], DISK).last_offset == 0
    assert (values_in(directory), values_in(directory, 1)) == ([b"a"], [b"c"])


def test_a_client_that_is_limited_may_use_no_other_topic_and_make_no_directory(directory, tmp_path):
    with far_side(directory, "produce:u", "pull:v") as conversation:
        there = directory_of(conversation)
        assert there.topic_names() == []
        for request in (
            ("open_topic", 1, "t"),
            ("make_topic", "x", 1, "crc32", 0, 1000),
            ("describe", "topic", "t"),
        ):
            with pytest.raises(PermissionDeniedError):
                conversation.request(*request)
        conversation.request("make_topic", "u", 1, "crc32", 0, 1000)
        topic = there.open_topic("u")
        with pytest.raises(PermissionDeniedError):
            topic.open_reader(0)
        assert RemotePartitionLog(topic, 0).append([lines(b"a")], DISK).last_offset == 0
        assert there.topic_names() == ["u"]
    with far_side(tmp_path / "none", "produce:u") as conversation, pytest.raises(mk.MkError, match="no log directory"):
        directory_of(conversation)


@pytest.mark.parametrize(
    "request_",
    [
        ("fetch", 1, -1),
        ("produce", 1, 0, 0, 0, 1, 1, 0),
        ("open_reader", 1, 1, 0),
        ("open_directory", True),
        ("watch", -1),
        ("fetch", 1 << 40, 0),
        ("describe", "everything", "t"),
        ("produce", 0),
        ("no such operation",),
    ],
    ids=str,
)
def test_a_request_that_means_nothing_ends_the_session(conversation, request_):
    directory_of(conversation)
    with pytest.raises(FarSideError):
        conversation.request(*request_)
    with pytest.raises((FarSideError, PeerUnreachableError)):
        conversation.request("topic_names")
