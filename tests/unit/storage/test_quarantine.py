"""What was cut off a log: named, listed, read again, and marked as salvaged."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptStateError
from mk.storage.quarantine import QuarantinedLog, list_quarantine, mark_salvaged, read_quarantined
from tests.crash.pair import Place, replicate
from tests.crash.recorder import RecordingDisk
from tests.crash.world import TOPIC
from tests.unit.storage.test_follower_log import produce

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def old_leader(tmp_path: Path) -> Iterator[Place]:
    with RecordingDisk(tmp_path):
        old, new = Place(tmp_path / "old").create(), Place(tmp_path / "new")
        old.append(itertools.count(), 3, 3)
        new.create_as_copy_of(old)
        replicate(old, new)
        old.append(itertools.count(100), 2, 4)
        produce(old, "one", range(5))
        new.promote()
        replicate(new, old)
        yield old


def test_what_was_cut_is_listed_with_what_is_in_it(old_leader: Place) -> None:
    with old_leader.directory() as directory:
        logs = list_quarantine(directory)
        assert [(log.topic, log.partition, log.first_offset, log.next_offset, log.records) for log in logs] == [
            (TOPIC, 0, 6, 12, 6),
            (TOPIC, 0, 12, 17, 5),
        ]
        assert [log.epochs for log in logs] == [[0], [0]]
        assert [log.epoch for log in logs] == [0, 0]
        assert [len(log.producer_ids) for log in logs] == [0, 1]
        assert [log.size_bytes for log in logs] == [
            os.path.getsize(old_leader.path / "quarantine" / log.name) for log in logs
        ]
        assert not any(log.salvaged for log in logs)
        assert logs[1].document()["producer_ids"] == [f"{logs[1].producer_ids[0]:016x}"]


def test_what_was_cut_can_be_read_again(old_leader: Place) -> None:
    with old_leader.directory() as directory:
        for log in list_quarantine(directory):
            batches = list(read_quarantined(directory, log.name))
            assert [batches[0].base_offset, batches[-1].next_offset] == [log.first_offset, log.next_offset]
            assert sum(len(batch.records(TOPIC, 0)) for batch in batches) == log.records


def test_what_is_damaged_in_it_is_left_out(old_leader: Place) -> None:
    with old_leader.directory() as directory:
        log = list_quarantine(directory)[0]
        path = old_leader.path / "quarantine" / log.name
        data = path.read_bytes()
        path.write_bytes(b"torn" + data[:200] + b"y" + data[201:])
        assert [batch.base_offset for batch in read_quarantined(directory, log.name)] == [8]


def test_a_salvaged_one_stays_and_says_so(old_leader: Place) -> None:
    with old_leader.directory() as directory:
        first, second = list_quarantine(directory)
        marked = mark_salvaged(directory, first.name)
        assert mark_salvaged(directory, first.name) == marked
        assert mark_salvaged(directory, marked) == marked
        logs = list_quarantine(directory)
        assert {log.name: log.salvaged for log in logs} == {marked: True, second.name: False}
        assert next(log for log in logs if log.salvaged).records == first.records
        with pytest.raises(FileNotFoundError):
            mark_salvaged(directory, second.name.replace("-12-", "-13-"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "t-0-1-2.log",
        "t-0-1-2-abcdef01",
        "-0-1-2-abcdef01.log",
        "../t-0-1-2-abcdef01.log",
        "t-x-1-2-abcdef01.log",
    ],
)
def test_a_name_that_is_none_is_refused_and_not_listed(old_leader: Place, name: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        QuarantinedLog(name)
    with old_leader.directory() as directory:
        with pytest.raises(ValueError, match=r".*"):
            mark_salvaged(directory, name)
        with pytest.raises(ValueError, match=r".*"):
            list(read_quarantined(directory, name))
        if name and "/" not in name:
            (old_leader.path / "quarantine" / name).write_bytes(b"")
        assert len(list_quarantine(directory)) == 2


def test_a_topic_may_have_dashes_in_its_name() -> None:
    log = QuarantinedLog("a-b-7-3-12-4294967296-0badcafe.log.salvaged")
    assert (log.topic, log.partition, log.first_offset, log.epoch) == ("a-b-7", 3, 12, 1 << 32)
    assert log.salvaged


def test_a_planted_link_is_not_followed(old_leader: Place) -> None:
    (old_leader.path / "quarantine" / "t-0-1-2-abcdef01.log").symlink_to("/etc/passwd")
    with old_leader.directory() as directory, pytest.raises(CorruptStateError):
        list_quarantine(directory)


def test_nothing_was_cut_where_there_is_no_such_directory(old_leader: Place) -> None:
    for path in (old_leader.path / "quarantine").iterdir():
        path.unlink()
    (old_leader.path / "quarantine").rmdir()
    with old_leader.directory() as directory:
        assert list_quarantine(directory) == []
