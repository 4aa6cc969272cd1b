"""Batches made of Kafka's messages: they tile the offsets, continue one another, and hold the records where they were."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mk.kafka_cluster.copied_batches import BatchMaker
from mk.records.codecs import NONE
from mk.records.record_batch import COMPACTED, HEADER_SIZE, LOG_APPEND_TIME, parse_header
from mk.storage.copy_proof import CopyProof
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs
from mk.storage.partition_state import LogEnd

EPOCHS = LeaderEpochs([EpochEntry(3, 0, "a" * 32)])


class Message:
    """As much of the library's message as is asked for."""

    def __init__(self, offset, key, value, kind_and_time, headers):
        self._fields = offset, key, value, kind_and_time, headers

    def offset(self):
        return self._fields[0]

    def key(self):
        return self._fields[1]

    def value(self):
        return self._fields[2]

    def timestamp(self):
        return self._fields[3]

    def headers(self):
        return self._fields[4]


_bytes = st.none() | st.binary(max_size=8)
_times = st.tuples(st.sampled_from([0, 1, 2]), st.integers(-5, 1 << 45))
_headers = st.none() | st.lists(st.tuples(st.text(max_size=4), _bytes), min_size=1, max_size=2)
_messages = st.lists(st.tuples(st.integers(1, 4), _bytes, _bytes, _times, _headers), min_size=1, max_size=30)


def parsed(data):
    at = 0
    while at < len(data):
        batch = parse_header(data, at)
        assert batch is not None
        assert batch.check_payload(data[at + HEADER_SIZE : at + batch.size_bytes])
        yield batch
        at += batch.size_bytes


@given(first=st.integers(0, 1 << 40), pieces=st.lists(_messages, min_size=1, max_size=3), behind=st.integers(0, 3))
def test_records_are_where_they_were_and_a_follower_takes_the_batches(first, pieces, behind):
    maker = BatchMaker(first, 17, 3, NONE)
    expected, data, offset = [], b"", first - 1
    for piece in pieces:
        messages = []
        for step, key, value, time, headers in piece:
            offset += step
            messages.append(Message(offset, key, value, time, headers))
            pairs = tuple((name.encode(), text) for name, text in headers or ())
            expected.append((offset, key, value, pairs, time[1], time[0] == 2))
        data += b"".join(maker.batches(messages))
    data += maker.cover_to(offset + 1 + behind)
    assert maker.next_offset == offset + 1 + behind
    found, next_offset = [], first
    for batch in parsed(data):
        assert batch.base_offset == next_offset
        next_offset = batch.next_offset
        is_append_time = bool(batch.attributes & LOG_APPEND_TIME)
        for record in batch.records("t", 0):
            found.append((record.offset, record.key, record.value, record.headers, record.timestamp_ms, is_append_time))
    assert found == expected
    assert next_offset == maker.next_offset
    proof = CopyProof(LogEnd(0, first, 17, -1), None)
    proof.follow(memoryview(data), first, EPOCHS)
    assert proof.end.offset == maker.next_offset
    assert proof.end.chain == maker.chain


def test_where_there_are_no_holes_nothing_counts_as_compacted():
    maker = BatchMaker(5, 0, 3, NONE)
    data = b"".join(maker.batches([Message(5 + number, None, b"x", (1, number), None) for number in range(10)]))
    (batch,) = parsed(data)
    assert not batch.attributes & COMPACTED


def test_a_batch_is_bounded_in_size():
    maker = BatchMaker(0, 0, 3, NONE)
    messages = [Message(number, None, b"x" * 300_000, (1, 1), None) for number in range(20)]
    sizes = [batch.size_bytes for batch in parsed(b"".join(maker.batches(messages)))]
    assert max(sizes) < 2 << 20
    assert len(sizes) > 4


def test_a_hole_of_billions_of_offsets_is_bridged():
    maker = BatchMaker(0, 0, 3, NONE)
    far = 5 << 31
    data = b"".join(maker.batches([Message(far, None, b"x", (1, 1), None)]))
    batches = list(parsed(data))
    assert batches[-1].base_offset == far
    assert [after.base_offset for after in batches[1:]] == [
        batch.next_offset for batch in itertools.islice(batches, len(batches) - 1)
    ]
