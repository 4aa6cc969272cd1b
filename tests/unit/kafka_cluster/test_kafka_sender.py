"""Handing records to librdkafka: what it does not take ends a piece there, and all is counted. No broker is there."""

import pytest

pytest.importorskip("confluent_kafka")

from mk.errors import DataError, RecordTooLargeError
from mk.kafka_cluster.client import Client
from mk.kafka_cluster.kafka_sender import KafkaSender, SendingFailedError
from mk.kafka_cluster.record_piece import RecordPiece
from mk.transport.kafka_address import parse_kafka_address

NOW = 1_700_000_000_000


@pytest.fixture
def sender():
    client = Client(parse_kafka_address("kafka://127.0.0.1:1"))
    made = KafkaSender(client, "t", acks=None, compression=None, max_message_bytes=1000)
    yield made
    made.close()
    client.close()


@pytest.mark.parametrize("times", [None, NOW, [NOW, NOW + 1, NOW + 2]])
def test_what_stands_behind_a_refused_record_is_not_handed_over(sender, times):
    sender.begin(0, RecordPiece([b"a", b"x" * 2000, b"b"], None, times, None, 2002))
    with pytest.raises(SendingFailedError) as caught:
        sender.finish()
    lost = caught.value.lost
    assert isinstance(lost.error, RecordTooLargeError)
    # The first had not been sent, and never is.
    assert (sum(append.stored for append in lost.stored), lost.unsure) == (0, 0)


def test_a_header_that_cannot_be_sent_leaves_those_before_it(sender):
    headers = [(), ((b"n", b"v"),), ((b"\xff", b"v"),), ()]
    with pytest.raises(SendingFailedError) as caught:
        sender.begin(0, RecordPiece([b"a", b"b", b"c", b"d"], None, None, headers, 8))
    lost = caught.value.lost
    assert isinstance(lost.error, DataError)
    assert (sum(append.stored for append in lost.stored), lost.unsure) == (0, 0)


@pytest.mark.parametrize("times", [0, [NOW, 0]])
def test_a_time_that_librdkafka_takes_for_none_leaves_the_whole_piece(sender, times):
    with pytest.raises(SendingFailedError) as caught:
        sender.begin(0, RecordPiece([b"a", b"b"], None, times, None, 2))
    assert "1970-01-01" in caught.value.lost.error.what
    assert (sum(append.stored for append in caught.value.lost.stored), caught.value.lost.unsure) == (0, 0)


def test_what_is_broken_off_in_the_midst_of_a_piece_is_not_waited_for(sender):
    class Stop(BaseException):
        pass

    class Headers:
        def __iter__(self):
            yield ()
            raise Stop

    with pytest.raises(Stop):
        sender.begin(0, RecordPiece([b"a", b"b", b"c"], None, None, Headers(), 3))
    assert [append.count for append in sender._appends] == [1]
