"""Finding an offset or a time reads a bounded number of bytes, however large the log is."""

import os

import pytest

import mk
from mk import OffsetSpec
from mk.storage.offset_index import INTERVAL_BYTES

SEGMENTS = 300
HOUR_MS = 3_600_000


class Reads:
    """Counts what is read of files at a position."""

    def __init__(self, monkeypatch):
        self.calls = self.size_bytes = 0
        pread, preadv = os.pread, os.preadv

        def counted_pread(*arguments):
            data = pread(*arguments)
            self._count(len(data))
            return data

        def counted_preadv(*arguments):
            count = preadv(*arguments)
            self._count(count)
            return count

        monkeypatch.setattr(os, "pread", counted_pread)
        monkeypatch.setattr(os, "preadv", counted_preadv)

    def _count(self, size):
        self.calls += 1
        self.size_bytes += size

    def clear(self):
        self.calls = self.size_bytes = 0


@pytest.fixture(scope="module")
def many_segments(tmp_path_factory):
    """`t`: a segment for each two batches of one record, whose times are an hour apart."""
    path = str(tmp_path_factory.mktemp("many") / "log")
    with mk.connect(path, create=True) as cluster:
        cluster.create_topic("t", config={"segment.bytes": 4096, "retention.ms": -1})
        with cluster.producer("t", acks=0) as producer:
            for number in range(2 * SEGMENTS):
                producer.send(b"%d " % number + b"x" * 1700, timestamp_ms=number * HOUR_MS)
                producer.flush()
        (partition,) = cluster.describe_topic("t")["partitions"]
        assert partition["segments"] == SEGMENTS
        yield cluster


@pytest.fixture(scope="module")
def large_segment(tmp_path_factory):
    """`t`: 100 MB in one segment, 1000 records of 100 kB with times a second apart; and `small`, 50,000 small batches' worth."""
    path = str(tmp_path_factory.mktemp("large") / "log")
    with mk.connect(path, create=True) as cluster:
        cluster.create_topic("t", config={"segment.bytes": 1 << 30})
        with cluster.producer("t", acks=0) as producer:
            for number in range(1000):
                producer.send(b"%d " % number + b"x" * 100_000, timestamp_ms=number * 1000)
        cluster.create_topic("small")
        with cluster.producer("small", acks=0) as producer:
            for number in range(5000):
                producer.send(b"%d" % number, timestamp_ms=number * 1000)
                producer.flush()
        yield cluster


def first(cluster, topic, offset):
    return next(iter(cluster.consumer([topic], offset=OffsetSpec("at", offset))))


@pytest.mark.parametrize("offset", [0, 1, 2, SEGMENTS, SEGMENTS + 1, 2 * SEGMENTS - 1])
def test_an_offset_among_many_segments(many_segments, monkeypatch, offset):
    reads = Reads(monkeypatch)
    record = first(many_segments, "t", offset)
    assert (record.offset, record.value.split()[0]) == (offset, b"%d" % offset)
    assert reads.size_bytes < 3 * INTERVAL_BYTES
    assert reads.calls < 40


@pytest.mark.parametrize("number", [0, 1, SEGMENTS, 2 * SEGMENTS - 1])
def test_a_time_among_many_segments(many_segments, monkeypatch, number):
    reads = Reads(monkeypatch)
    for time, offset in (
        (number * HOUR_MS, number),
        (number * HOUR_MS - 1, number),
        (number * HOUR_MS + 1, number + 1),
    ):
        reads.clear()
        assert many_segments.offset_for_time("t", 0, time) == offset
        # An entry of each segment's index, and the headers of one.
        assert reads.size_bytes < SEGMENTS * 64 + INTERVAL_BYTES
        assert reads.calls < SEGMENTS * 2 + 40


def test_a_time_before_and_behind_all(many_segments):
    assert many_segments.offset_for_time("t", 0, -1) == 0
    assert many_segments.offset_for_time("t", 0, 1 << 62) == 2 * SEGMENTS


def test_opening_many_segments_reads_only_state(many_segments, monkeypatch):
    reads = Reads(monkeypatch)
    (offsets,) = many_segments.offsets("t")
    assert offsets["high_watermark"] == 2 * SEGMENTS
    assert reads.size_bytes < 4 * 8192
    many_segments.consumer(["t"], offset=OffsetSpec("end")).close()
    assert reads.size_bytes < 8 * 8192


def test_appending_to_many_segments_reads_only_small_files(many_segments, monkeypatch):
    reads = Reads(monkeypatch)
    producer = many_segments.producer("t")
    producer.send(b"more", timestamp_ms=2 * SEGMENTS * HOUR_MS)
    producer.flush()
    assert reads.size_bytes < 8 * 8192
    producer.close()


@pytest.mark.parametrize("offset", [0, 1, 499, 500, 998, 999])
def test_an_offset_in_a_large_segment(large_segment, monkeypatch, offset):
    reads = Reads(monkeypatch)
    record = first(large_segment, "t", offset)
    assert record.value.startswith(b"%d " % offset)
    # Some 64 KiB of headers at most, then one batch, up to 256 KiB and a record.
    assert reads.size_bytes < 600_000
    assert reads.calls < 50


@pytest.mark.parametrize("number", [0, 1, 499, 500, 998, 999])
def test_a_time_in_a_large_segment(large_segment, monkeypatch, number):
    reads = Reads(monkeypatch)
    assert large_segment.offset_for_time("t", 0, number * 1000) == number
    assert large_segment.offset_for_time("t", 0, number * 1000 - 999) == number
    assert reads.size_bytes < 2 * 600_000
    assert reads.calls < 100


@pytest.mark.parametrize("offset", [0, 1, 2499, 2500, 4998, 4999])
def test_an_offset_among_small_batches(large_segment, monkeypatch, offset):
    reads = Reads(monkeypatch)
    assert first(large_segment, "small", offset).value == b"%d" % offset
    assert large_segment.offset_for_time("small", 0, offset * 1000) == offset
    assert reads.size_bytes < 8 * INTERVAL_BYTES
    # A header each, for as many as lie between two entries of the index.
    assert reads.calls < 3 * INTERVAL_BYTES // 128
