"""Input marks: one holder at a time, replaced whole, and refused where they are not what they should be."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import (
    CorruptStateError,
    LockTimeoutError,
    NoSuchTopicError,
    PermissionDeniedError,
    StorageError,
    UsageError,
)
from mk.storage import files
from mk.storage.input_mark import InputMark, MarkFields, check_not_followed, decode_mark
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.producer_pin import pin_producer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mk.storage.topic import Topic

NAME = "shipper-1"


@pytest.fixture
def topic(tmp_path: Path) -> Iterator[Topic]:
    create_directory(str(tmp_path / "mk"))
    directory = LogDirectory(str(tmp_path / "mk"))
    directory.create_topic("t", partitions=2, partitioner="crc32", overrides={}, wait_ms=0)
    topic = directory.open_topic("t")
    pin_producer(topic, NAME, partition=None, lock_wait_ms=0)
    yield topic
    topic.close()
    directory.close()


def write(mark: InputMark, sequence: int = 7) -> None:
    mark.write(path="/logs/ä \udcff\n.log", sequence=sequence, reading="here", before="", then="there")


def test_what_is_written_is_read_by_the_next_holder(topic: Topic) -> None:
    mark = InputMark(topic, NAME, lock_wait_ms=0)
    assert mark.fields is None
    check_not_followed(topic, NAME)
    write(mark)
    mark.close()
    with pytest.raises(UsageError, match="follows files"):
        check_not_followed(topic, NAME)
    mark = InputMark(topic, NAME, lock_wait_ms=0)
    fields = mark.fields
    assert fields is not None
    assert (fields.path, fields.sequence) == ("/logs/ä \udcff\n.log", 7)
    assert (fields.reading, fields.before, fields.then) == ("here", "", "there")
    mark.close()


def test_one_holds_it_at_a_time(topic: Topic) -> None:
    mark = InputMark(topic, NAME, lock_wait_ms=0)
    with pytest.raises(LockTimeoutError, match=f"the input of producer id {NAME} in t"):
        InputMark(topic, NAME, lock_wait_ms=0)
    other = InputMark(topic, "another", lock_wait_ms=0)
    other.close()
    mark.close()
    InputMark(topic, NAME, lock_wait_ms=0).close()


def test_what_killed_processes_left_goes_with_the_next_one(topic: Topic) -> None:
    left = f"{topic.path}/producers/.tmp-0123456789abcdef"
    with open(left, "w"):
        pass
    mark = InputMark(topic, NAME, lock_wait_ms=0)
    write(mark)
    mark.close()
    assert not os.path.exists(left)


def test_a_topic_that_is_deleted_meanwhile_is_left_alone(topic: Topic) -> None:
    mark = InputMark(topic, NAME, lock_wait_ms=0)
    topic.directory.delete_topic("t", wait_ms=0)
    with pytest.raises(NoSuchTopicError):
        write(mark)
    mark.close()
    assert os.listdir(f"{topic.directory.path}/topics") == []
    with pytest.raises(NoSuchTopicError):
        InputMark(topic, NAME, lock_wait_ms=0)


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, StorageError), (errno.EACCES, PermissionDeniedError)])
def test_what_the_system_refuses_is_said(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    mark = InputMark(topic, NAME, lock_wait_ms=0)
    write(mark)

    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "replace_file", refuse)
    with pytest.raises(error):
        write(mark, 8)
    mark.close()
    mark = InputMark(topic, NAME, lock_wait_ms=0)
    assert mark.fields is not None
    assert mark.fields.sequence == 7
    mark.close()


def test_one_that_is_not_what_it_should_be_is_damaged(topic: Topic) -> None:
    path = f"{topic.path}/producers"
    mark = InputMark(topic, NAME, lock_wait_ms=0)
    mark.close()
    fields = MarkFields(path="/app.log", sequence=3, reading="here")
    with open(f"{path}/{mark.file_name}", "wb") as file:
        file.write(fields.encode("another"))
    with pytest.raises(CorruptStateError, match="another|damaged"):
        InputMark(topic, NAME, lock_wait_ms=0)
    for damaged in (
        MarkFields(path="/app.log", sequence=-1, reading="here"),
        MarkFields(path="/app.log", sequence=3, reading=None),  # type: ignore[arg-type]
    ):
        with pytest.raises(CorruptStateError):
            decode_mark(damaged.encode(NAME), "mark")
    with pytest.raises(CorruptStateError):
        decode_mark(fields.encode(NAME)[:-9], "mark")
