from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import (
    CannotCreateError,
    CorruptStateError,
    LockTimeoutError,
    MkError,
    NoSuchDirectoryError,
    NoSuchTopicError,
    TopicExistsError,
)
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_log import DISK, PartitionLog
from tests.crash import oracle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[LogDirectory]:
    create_directory(str(tmp_path / "mk"))
    directory = LogDirectory(str(tmp_path / "mk"))
    yield directory
    directory.close()


def create(directory: LogDirectory, name: str, partitions: int = 1) -> None:
    directory.create_topic(name, partitions=partitions, partitioner="crc32", overrides={}, wait_ms=0)


def test_a_directory_is_made_with_those_above_it_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "mk"
    create_directory(str(path))
    identity = (path / "mk.json").read_bytes()
    create_directory(str(path))
    assert (path / "mk.json").read_bytes() == identity
    assert sorted(entry.name for entry in path.iterdir()) == ["locks", "mk.json", "quarantine", "topics"]
    assert oct(os.stat(path / "locks").st_mode & 0o777) == "0o700"


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(CannotCreateError):
        create_directory(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    with pytest.raises(CannotCreateError):
        create_directory(str(tmp_path / "photo.jpg"))


def test_what_is_no_log_directory_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NoSuchDirectoryError) as caught:
            LogDirectory(str(path))
        assert caught.value.facts["path"] == str(path)


def test_a_damaged_identity_is_refused(tmp_path: Path, directory: LogDirectory) -> None:
    path = tmp_path / "mk" / "mk.json"
    path.write_bytes(path.read_bytes().replace(b"directory_id", b"directory_ic"))
    with pytest.raises(CorruptStateError):
        LogDirectory(str(tmp_path / "mk"))


def test_topics_are_listed_by_name_and_what_is_no_topic_is_ignored(tmp_path: Path, directory: LogDirectory) -> None:
    for name in ("b", "a"):
        create(directory, name)
    (tmp_path / "mk" / "topics" / ".tmp-x").mkdir()
    (tmp_path / "mk" / "topics" / "file").touch()
    assert directory.topic_names() == ["a", "b"]


def test_names_that_differ_in_case_only_clash(directory: LogDirectory) -> None:
    create(directory, "Orders")
    for name in ("orders", "Orders"):
        with pytest.raises(TopicExistsError) as caught:
            create(directory, name)
        assert caught.value.facts["existing"] == "Orders"


@pytest.mark.parametrize("name", ["../etc", ".hidden", "a/b", "", "a" * 201, "a\n", "-x"])
def test_a_name_that_is_none_is_refused_before_anything_is_touched(
    tmp_path: Path, directory: LogDirectory, name: str
) -> None:
    with pytest.raises(MkError):
        create(directory, name)
    with pytest.raises(MkError):
        directory.open_topic(name)
    assert not list((tmp_path / "mk" / "topics").iterdir())


def test_what_killed_creates_and_deletes_left_is_swept_by_the_next_one(tmp_path: Path, directory: LogDirectory) -> None:
    for prefix in (".tmp-", ".deleted-"):
        left = tmp_path / "mk" / "topics" / f"{prefix}{'0' * 32}"
        (left / "0").mkdir(parents=True)
        (left / "0" / "state").touch()
    (tmp_path / "mk" / "locks" / ("0" * 32)).mkdir()
    create(directory, "a")
    assert [path.name for path in (tmp_path / "mk" / "topics").iterdir()] == ["a"]
    assert sorted(path.name for path in (tmp_path / "mk" / "locks").iterdir())[0] != "0" * 32


def test_a_new_partition_verifies(tmp_path: Path, directory: LogDirectory) -> None:
    create(directory, "a", 3)
    for partition in range(3):
        log = oracle.verify(tmp_path / "mk" / "topics" / "a" / str(partition))
        assert (log.records, log.segments) == ([], [0])
        assert log.epochs == [(0, 0, directory.directory_id)]


def test_a_topic_is_deleted_with_its_locks(tmp_path: Path, directory: LogDirectory) -> None:
    create(directory, "a", 2)
    directory.delete_topic("a", wait_ms=0)
    assert directory.topic_names() == []
    assert [path.name for path in (tmp_path / "mk" / "locks").iterdir()] == ["directory"]
    with pytest.raises(NoSuchTopicError):
        directory.delete_topic("a", wait_ms=0)


def test_deleting_waits_for_an_append_under_way(directory: LogDirectory) -> None:
    create(directory, "a")
    topic = directory.open_topic("a")
    log = PartitionLog(topic, 0)
    import fcntl

    fcntl.flock(log._lock_fd, fcntl.LOCK_EX)
    with pytest.raises(LockTimeoutError):
        directory.delete_topic("a", wait_ms=0)
    assert directory.topic_names() == ["a"]
    fcntl.flock(log._lock_fd, fcntl.LOCK_UN)
    directory.delete_topic("a", wait_ms=0)
    with pytest.raises(NoSuchTopicError):
        log.append([], DISK)
    log.close()
    topic.close()
