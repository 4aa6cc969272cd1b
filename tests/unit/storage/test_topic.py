from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptStateError, NoSuchPartitionError, NoSuchTopicError
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.topic import encode_topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[LogDirectory]:
    create_directory(str(tmp_path / "mk"))
    directory = LogDirectory(str(tmp_path / "mk"))
    directory.create_topic("t", partitions=3, partitioner="murmur2", overrides={"segment.bytes": 4096}, wait_ms=0)
    yield directory
    directory.close()


def test_a_topic_knows_its_settings_and_their_defaults(directory: LogDirectory) -> None:
    topic = directory.open_topic("t")
    assert (topic.partitions, topic.partitioner, topic.overrides) == (3, "murmur2", {"segment.bytes": 4096})
    assert topic.config("segment.bytes") == 4096
    assert topic.config("flush.ms") == 1000
    assert [topic.check_partition(number) for number in range(3)] == [0, 1, 2]
    for number in (-1, 3):
        with pytest.raises(NoSuchPartitionError):
            topic.check_partition(number)
    topic.close()


def test_settings_of_a_newer_mk_and_of_another_type_are_left_alone(tmp_path: Path, directory: LogDirectory) -> None:
    path = tmp_path / "mk" / "topics" / "t" / "topic.json"
    path.write_bytes(encode_topic("t", "0" * 32, 3, "crc32", {"new.one": 1, "segment.bytes": "x", "flush.ms": 5}))
    topic = directory.open_topic("t")
    assert topic.overrides == {"flush.ms": 5}
    topic.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        encode_topic("t", "short", 1, "crc32", {}),
        encode_topic("t", "0" * 32, 0, "crc32", {}),
        encode_topic("t", "0" * 32, 1 << 40, "crc32", {}),
        encode_topic("t", "../" + "0" * 29, 1, "crc32", {}),
    ],
    ids=["empty", "id", "no partition", "too many", "path"],
)
def test_an_impossible_topic_is_refused(tmp_path: Path, directory: LogDirectory, content: bytes) -> None:
    path = tmp_path / "mk" / "topics" / "t" / "topic.json"
    path.write_bytes(content)
    with pytest.raises(CorruptStateError) as caught:
        directory.open_topic("t")
    assert caught.value.facts["path"] == str(path)


def test_a_topic_that_was_renamed_is_not_the_one_at_its_name(tmp_path: Path, directory: LogDirectory) -> None:
    topic = directory.open_topic("t")
    topic.check_identity()
    (tmp_path / "mk" / "topics" / "t").rename(tmp_path / "mk" / "topics" / "u")
    with pytest.raises(NoSuchTopicError):
        topic.check_identity()
    topic.close()


def test_changed_settings_are_read_again_where_the_topic_is_the_same(tmp_path: Path, directory: LogDirectory) -> None:
    topic = directory.open_topic("t")
    path = tmp_path / "mk" / "topics" / "t" / "topic.json"
    new = path.with_name("new")
    new.write_bytes(encode_topic("t", topic.topic_id, 4, "murmur2", {"flush.ms": 7}))
    new.rename(path)
    topic.check_identity()
    assert (topic.partitions, topic.config("flush.ms")) == (4, 7)
    topic.close()
