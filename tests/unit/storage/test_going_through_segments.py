"""A reader that goes from segment to segment by an old listing, while they are compacted, removed or added to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk.records.record_batch import encode_columns
from mk.storage import partition_reader
from mk.storage.log_cleaner import compact
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from tests.crash.recorder import fast_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mk.storage.topic import Topic

SEGMENTS = 8
KEYS = 3


@pytest.fixture
def topic(tmp_path: Path) -> Iterator[Topic]:
    """A topic of many segments, each of one batch of two records, that is compacted where a test asks for it."""
    with fast_disk():
        create_directory(str(tmp_path))
        directory = LogDirectory(str(tmp_path))
        overrides: dict[str, int | str] = {"segment.bytes": 4096, "min.free": 0, "cleanup.policy": "compact"}
        directory.create_topic("t", partitions=1, partitioner="crc32", overrides=overrides, wait_ms=0)
        topic = directory.open_topic("t")
        append(topic, range(SEGMENTS))
        yield topic
        topic.close()
        directory.close()


def append(topic: Topic, numbers: range) -> None:
    log = PartitionLog(topic, 0, lock_wait_ms=0)
    for number in numbers:
        keys: list[bytes | None] = [b"k%d" % (number % KEYS), b"only %d" % number]
        values: list[bytes | None] = [b"%d" % number + b"x" * 2500, b"y" * 1000]
        log.append([encode_columns(values, base_timestamp=1, keys=keys)], DISK)
    log.close()


def offsets(reader: PartitionReader) -> list[int]:
    start = reader.next_offset
    batches = reader.fetch()
    return [record.offset for batch in batches for record in batch.records("t", 0) if record.offset >= start]


def rest(reader: PartitionReader) -> list[int]:
    found: list[int] = []
    while piece := offsets(reader):
        found += piece
    return found


@pytest.mark.parametrize("read_first", range(1, SEGMENTS))
def test_segments_compacted_before_a_reader_gets_there_are_read_as_they_are_now(topic: Topic, read_first: int) -> None:
    reader = PartitionReader(topic, 0)
    before = [offset for _ in range(read_first) for offset in offsets(reader)]
    assert before == list(range(2 * read_first))
    assert compact(topic, 0, seal_active=True, min_dirty_ratio=0.0, lock_wait_ms=0).error is None
    append(topic, range(SEGMENTS, SEGMENTS + 2))
    after = rest(reader)
    fresh = PartitionReader(topic, 0)
    left = rest(fresh)
    assert after == sorted(set(after)) and set(after) >= {offset for offset in left if offset >= 2 * read_first}
    assert not reader.skipped
    reader.close()
    fresh.close()


@pytest.mark.parametrize("read_first", range(1, SEGMENTS - 2))
def test_segments_removed_before_a_reader_gets_there_are_named(topic: Topic, read_first: int) -> None:
    reader = PartitionReader(topic, 0)
    for _ in range(read_first):
        offsets(reader)
    start = 2 * (SEGMENTS - 2)
    cleaner = PartitionCleaner(topic, 0, lock_wait_ms=0)
    cleaner.delete_records(start)
    cleaner.close()
    assert rest(reader) == list(range(start, 2 * SEGMENTS))
    assert reader.skipped == [(2 * read_first, start - 1)]
    reader.close()


def test_a_partition_is_listed_as_often_however_many_segments_it_has(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    list_segments = partition_reader.list_segments
    monkeypatch.setattr(partition_reader, "list_segments", lambda fd: listed.append(fd) or list_segments(fd))
    counts = []
    for more in (0, 20):
        append(topic, range(more))
        reader = PartitionReader(topic, 0)
        listed.clear()
        assert len(rest(reader)) == 2 * (SEGMENTS + more)
        counts.append(len(listed))
        reader.close()
    assert counts[0] == counts[1]
