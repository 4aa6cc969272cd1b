"""A log directory as a source: its images, its bytes, and what it tells of both when others change it meanwhile."""

import threading
from hashlib import sha256

import pytest

from mk.errors import CorruptBatchError, OffsetOutOfRangeError
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.replication.directory_replica import DirectoryReplica
from mk.storage.copy_reader import PIECE_BYTES
from mk.storage.log_segment import UNKNOWN_CHAIN
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.topic_changes import alter_topic
from tests.unit.replication.leaders import produce

SEGMENT_BYTES = 20_000


@pytest.fixture
def source(first):
    """A replica of a directory with four segments of two batches each in partition 0."""
    alter_topic(first, "t", settings={"segment.bytes": SEGMENT_BYTES}, unset=(), partitions=None, wait_ms=0)
    for number in range(8):
        produce(first, b"%d" % number, b"x" * 9_000, partition=0)
    replica = DirectoryReplica(first.path)
    yield replica
    replica.close()


def image_of(replica, partition=0):
    (topic,) = replica.topics(["t"])
    return topic.partitions[partition]


def segments(first):
    return sorted(int(path.stem) for path in _partition(first).glob("*.log"))


def _partition(first):
    from pathlib import Path

    return Path(first.path, "topics", "t", "0")


def bytes_of_log(first):
    return [path.read_bytes() for path in sorted(_partition(first).glob("*.log"))]


def headers(data):
    found, at = [], 0
    while at < len(data):
        found.append(parse_header(data, at))
        at += found[-1].size_bytes
    return found


def test_an_image_says_where_a_log_begins_and_ends_and_who_leads_it(first, source):
    (topic,) = source.topics()
    assert (topic.name, topic.problem, topic.fields["segment.bytes"]) == ("t", "", SEGMENT_BYTES)
    image, empty = topic.partitions
    assert (image.log_start_offset, image.first_offset, image.next_offset) == (0, 0, 16)
    assert image.epochs == [(0, 0, first.directory_id)]
    assert image.chain == headers(bytes_of_log(first)[-1])[-1].chain
    assert (empty.next_offset, empty.chain) == (0, 0)


def test_an_image_after_a_trim_begins_with_the_segment_that_holds_the_start(first, source):
    opened = first.open_topic("t")
    cleaner = PartitionCleaner(opened, 0, lock_wait_ms=0)
    cleaner.delete_records(segments(first)[1] + 1)
    cleaner.close()
    opened.close()
    image = image_of(source)
    assert (image.log_start_offset, image.first_offset) == (segments(first)[0] + 1, segments(first)[0])
    assert source.chain_at("t", 0, image.first_offset) == UNKNOWN_CHAIN
    with pytest.raises(OffsetOutOfRangeError):
        list(source.read("t", 0, 0, 16))


def test_a_topic_that_cannot_be_read_is_named_with_its_problem_and_one_that_is_gone_is_left_out(first, source):
    (_partition(first) / "epochs").write_bytes(b"nonsense\n")
    (topic,) = source.topics(["nope", "t"])
    assert topic.partitions == [] and "epochs is damaged" in topic.problem


def test_batches_come_as_they_stand_and_say_where_segments_begin(first, source):
    pieces = []
    for batches in source.read("t", 0, 0, 16):
        pieces.append((batches.base_offset, batches.next_offset, bytes(batches.data), batches.begins_segment))
    assert b"".join(piece[2] for piece in pieces) == b"".join(bytes_of_log(first))
    assert [piece[0] for piece in pieces if piece[3]] == segments(first)
    assert [piece[1] for piece in pieces[:-1]] == [piece[0] for piece in pieces[1:]]


def test_reading_begins_and_ends_between_any_two_batches(first, source):
    all_headers = [header for data in bytes_of_log(first) for header in headers(data)]
    ends = [0, *(header.next_offset for header in all_headers)]
    whole = b"".join(bytes_of_log(first))
    positions = [0]
    for header in all_headers:
        positions.append(positions[-1] + header.size_bytes)
    for start in range(len(ends)):
        for stop in range(start, len(ends)):
            wanted = whole[positions[start] : positions[stop]]
            found = b"".join(bytes(piece.data) for piece in source.read("t", 0, ends[start], ends[stop]))
            assert found == wanted
            assert source.size_bytes("t", 0, ends[start], ends[stop]) == len(wanted)
            digests = source.digests("t", 0, ends[start], ends[stop])
            if len(digests) == 1:
                assert digests[0] == (ends[start], ends[stop], sha256(wanted).digest())


def test_the_chain_is_told_at_the_end_of_each_batch_and_nowhere_else(first, source):
    all_headers = [header for data in bytes_of_log(first) for header in headers(data)]
    assert source.chain_at("t", 0, 0) == 0
    ends = {header.next_offset: header.chain for header in all_headers}
    for offset in range(1, 16):
        assert source.chain_at("t", 0, offset) == ends.get(offset)
    assert source.chain_at("t", 0, 16) == ends[16]
    assert source.chain_at("t", 0, 17) is None


def test_a_batch_larger_than_a_piece_comes_whole(first, source):
    produce(first, b"y" * (2 * PIECE_BYTES), b"z", partition=1)
    end = image_of(source, 1).next_offset
    data = [bytes(batches.data) for batches in source.read("t", 1, 0, end)]
    assert max(map(len, data)) > 2 * PIECE_BYTES


def test_a_damaged_header_is_named_and_nothing_of_it_is_sent(first, source):
    path = sorted(_partition(first).glob("*.log"))[1]
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    sent = []
    with pytest.raises(CorruptBatchError) as caught:
        for batches in source.read("t", 0, 0, 16):
            sent.append(batches.next_offset)
    assert caught.value.facts["offset"] == segments(first)[1] == sent[-1]


def test_what_was_appended_after_the_look_is_waited_for_no_longer(first, source):
    list(source.topics())
    assert source.wait(0)  # The first time it only begins to watch, and what came before is not known.
    list(source.topics())
    assert not source.wait(0)
    produce(first, b"new", partition=1)
    assert source.wait(0)
    list(source.topics())
    assert not source.wait(0)


def test_waiting_ends_with_an_append_a_new_topic_and_new_partitions(first, source):
    changes = [
        lambda: produce(first, b"new", partition=1),
        lambda: first.create_topic("u", partitions=1, partitioner="crc32", overrides={}, wait_ms=0),
        lambda: alter_topic(first, "t", settings={}, unset=(), partitions=3, wait_ms=0),
    ]
    list(source.topics())
    source.wait(0)
    for change in changes:
        list(source.topics())
        while source.wait(0):
            list(source.topics())
        thread = threading.Thread(target=change)
        thread.start()
        assert source.wait(30_000)
        thread.join()


def test_a_second_run_does_not_get_the_lock_of_the_first(first, second):
    target, other = DirectoryReplica(second.path), DirectoryReplica(second.path)
    assert target.begin(first.directory_id, "host:/first")
    assert not other.begin(first.directory_id, "host:/first")
    target.close()
    assert other.begin(first.directory_id, "host:/first")
    other.close()


def test_a_header_alone_is_never_a_piece(first, source):
    assert all(len(batches.data) > HEADER_SIZE for batches in source.read("t", 0, 0, 16))
