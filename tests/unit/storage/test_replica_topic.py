"""Topics that are copies: made and kept as they are on the source, and nothing made of what cannot be."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from mk.errors import (
    CannotCreateError,
    ConfigurationError,
    CorruptStateError,
    DataError,
    DivergedLogError,
    MkError,
    NotLeaderError,
    StaleSourceError,
    TopicExistsError,
    UsageError,
)
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs
from mk.storage.log_directory import create_directory
from mk.storage.partition_log import PartitionLog
from mk.storage.replica_topic import create_replica_topic, find_topic, update_replica_topic
from mk.storage.topic_changes import alter_topic
from tests.crash.pair import Place, pins_of, replicate
from tests.crash.recorder import Killed, RecordingDisk
from tests.crash.world import TOPIC
from tests.unit.storage.test_follower_log import last_sequence, produce

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID, LEADER = "a" * 32, "b" * 32
EPOCHS = LeaderEpochs([EpochEntry(0, 0, LEADER)])
FIELDS: dict[str, Any] = {
    "format": 1,
    "topic_id": ID,
    "name": "there",
    "partitions": 1,
    "partitioner": "murmur2",
    "created": "2026-11-01T00:00:00Z",
    "retention.ms": -1,
    "retention.groups": "a,b",
    "later.setting": "of a newer mk",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RecordingDisk]:
    with RecordingDisk(tmp_path) as disk:
        yield disk


@pytest.fixture
def here(disk: RecordingDisk) -> Place:
    place = Place(disk.root / "here")
    create_directory(str(place.path))
    return place


def create(place: Place, name: str = TOPIC, *, partitions: int = 1, pins: Any = None, **fields: Any) -> None:
    with place.directory() as directory:
        create_replica_topic(
            directory,
            name,
            fields={**FIELDS, "partitions": partitions, **fields},
            pins=pins or {},
            partitions=[(EPOCHS, 7 * number) for number in range(partitions)],
            wait_ms=0,
        )


def update(
    place: Place,
    name: str = TOPIC,
    *,
    new_name: str = "",
    partitions: int = 1,
    pins: Any = None,
    epochs: LeaderEpochs = EPOCHS,
    **fields: Any,
) -> bool:
    with place.directory() as directory:
        return update_replica_topic(
            directory,
            name,
            new_name=new_name or name,
            fields={**FIELDS, "partitions": partitions, **fields},
            pins=pins or {},
            partitions=[(epochs, 7 * number) for number in range(partitions)],
            wait_ms=0,
        )


def test_a_copy_has_what_the_source_has(here: Place) -> None:
    create(here, partitions=2)
    with here.topic() as topic:
        assert topic.fields() == {**FIELDS, "name": TOPIC, "partitions": 2}
        assert topic.config("retention.groups") == "a,b"
        log = PartitionLog(topic, 1)
        assert log._epochs == EPOCHS
        with pytest.raises(NotLeaderError):
            log.append([], 0)
        log.close()
    state = Place(here.path)
    state.partition = here.path / "topics" / TOPIC / "1"
    assert (state.state().log_start_offset, list(state.segments())) == (7, [7])
    assert not here.damage()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"topic_id": "x"}, DataError),
        ({"topic_id": "A" * 32}, DataError),
        ({"topic_id": "../" + "a" * 29}, DataError),
        ({"topic_id": 5}, DataError),
        ({"partitions": 2}, DataError),
        ({"partitions": True}, DataError),
        ({"partitioner": "rot13"}, ConfigurationError),
        ({"created": 5}, DataError),
        ({"sealed": 5}, DataError),
        ({"format": 2}, DataError),
        ({"retention.ms": -2}, ConfigurationError),
        ({"retention.ms": "-1"}, ConfigurationError),
        ({"retention.ms": True}, ConfigurationError),
        ({"segment.bytes": 1 << 40}, ConfigurationError),
        ({"segment.bytes": 1}, ConfigurationError),
        ({"compression.type": "rar"}, ConfigurationError),
        ({"retention.groups": "a, b"}, ConfigurationError),
        ({"retention.groups": "../x"}, ConfigurationError),
        ({'x": 1,\n"y': 1}, DataError),
        ({"": 1}, DataError),
        ({"k" * 101: 1}, DataError),
        ({"x": "v" * 5000}, DataError),
        ({"x": 1 << 70}, DataError),
        ({"x": 1.5}, DataError),
        ({"x": [1]}, DataError),
        ({f"k{number}": 1 for number in range(300)}, DataError),
    ],
)
def test_what_cannot_be_is_refused(here: Place, fields: dict[str, Any], error: type[MkError]) -> None:
    with here.directory() as directory, pytest.raises(error):
        create_replica_topic(
            directory, TOPIC, fields={**FIELDS, **fields}, pins={}, partitions=[(EPOCHS, 0)], wait_ms=0
        )
    create(here)
    with here.directory() as directory, pytest.raises(error):
        update_replica_topic(
            directory,
            TOPIC,
            new_name=TOPIC,
            fields={**FIELDS, **fields},
            pins={},
            partitions=[(EPOCHS, 0)],
            wait_ms=0,
        )
    with here.topic() as topic:
        assert topic.fields() == {**FIELDS, "name": TOPIC}


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", "", "x" * 300, "-e", "a\nb"])
def test_a_name_that_cannot_be_is_refused(here: Place, name: str) -> None:
    with pytest.raises(UsageError):
        create(here, name)
    create(here)
    with pytest.raises(UsageError):
        update(here, new_name=name or "\0")


@pytest.mark.parametrize("pins", [{"../../x": b""}, {"0" * 16: b"{}"}, {"0" * 16: b"x" * 5000}])
def test_a_pin_that_cannot_be_is_refused(here: Place, pins: dict[str, bytes]) -> None:
    with pytest.raises(DataError):
        create(here, pins=pins)
    create(here)
    with pytest.raises(DataError):
        update(here, pins=pins)


def test_too_many_or_no_partitions_are_refused(here: Place) -> None:
    for count in (0, 5000):
        with pytest.raises(UsageError):
            create(here, partitions=count)


def test_a_name_or_an_id_is_there_once(here: Place) -> None:
    create(here)
    with pytest.raises(TopicExistsError):
        create(here, TOPIC.upper(), topic_id="c" * 32)
    with pytest.raises(CannotCreateError, match="cannot be made") as refused:
        create(here, "other")
    assert TOPIC in refused.value.why
    with here.directory() as directory:
        assert find_topic(directory, ID) == TOPIC
        assert find_topic(directory, LEADER) is None


def test_an_id_is_there_once_also_where_its_topic_cannot_be_read(here: Place) -> None:
    create(here)
    (here.path / "topics" / TOPIC / "topic.json").write_text("{")
    with pytest.raises(CannotCreateError, match="cannot be made"):
        create(here, "other")


def test_a_topic_that_was_deleted_can_be_copied_again(here: Place) -> None:
    create(here)
    with here.topic() as topic:
        log = PartitionLog(topic, 0)
        with here.directory() as directory:
            directory.delete_topic(TOPIC, wait_ms=0)
        create(here)
        # Somebody who had it open does not go on in what is gone.
        with pytest.raises(MkError):
            log.append([], 0)
        log.close()
    assert not here.damage()


def test_settings_partitions_and_name_follow_the_source(here: Place) -> None:
    create(here)
    assert not update(here)
    assert update(here, new_name="renamed", partitions=3, **{"retention.ms": 5, "sealed": "2026"})
    assert not update(here, "renamed", partitions=3, **{"retention.ms": 5, "sealed": "2026"})
    with here.directory() as directory:
        assert directory.topic_names() == ["renamed"]
        topic = directory.open_topic("renamed")
        assert (topic.partitions, topic.config("retention.ms"), topic.sealed) == (3, 5, "2026")
        log = PartitionLog(topic, 2)
        assert log._epochs == EPOCHS
        log.close()
        topic.close()
    update(here, "renamed", partitions=3)
    with here.directory() as directory:
        topic = directory.open_topic("renamed")
        assert (topic.config("retention.ms"), topic.sealed) == (-1, "")
        topic.close()


def test_partitions_are_never_taken_away(here: Place) -> None:
    create(here, partitions=2)
    with pytest.raises(DivergedLogError):
        update(here, partitions=1)
    with pytest.raises(DivergedLogError):
        update(here, partitions=2, topic_id="c" * 32)


def test_a_topic_that_is_led_here_keeps_its_settings(here: Place) -> None:
    create(here)
    here.promote()
    with pytest.raises(StaleSourceError):
        update(here, **{"retention.ms": 5})
    newer = LeaderEpochs([*EPOCHS.entries, EpochEntry(2 << 32, 0, LEADER)])
    assert update(here, epochs=newer, **{"retention.ms": 5})


def test_partitions_of_a_copy_are_not_added_by_hand(here: Place) -> None:
    create(here)
    with here.directory() as directory, pytest.raises(NotLeaderError):
        alter_topic(directory, TOPIC, settings={}, unset=[], partitions=2, wait_ms=0)


def test_pins_that_come_later_are_there_before_the_records(disk: RecordingDisk) -> None:
    source = Place(disk.root / "source").create()
    source.append(itertools.count(), 3, 3, 3)
    target = Place(disk.root / "target").create_as_copy_of(source)
    replicate(source, target)
    for name in ("one", "two"):
        produce(source, name, range(4))
        with source.topic() as topic, target.directory() as directory:
            fields, pins = topic.fields(), pins_of(topic)
            for changed in (True, False):
                assert changed == update_replica_topic(
                    directory,
                    TOPIC,
                    new_name=TOPIC,
                    fields=fields,
                    pins=pins,
                    partitions=[(source.epochs(), 0)],
                    wait_ms=0,
                )
        replicate(source, target)
        with target.topic() as topic:
            assert pins_of(topic) == pins
        assert last_sequence(target, name) == 3
    assert not target.damage()


def test_killed_anywhere_the_next_one_makes_it(here: Place, disk: RecordingDisk) -> None:
    for number in itertools.count():
        disk.restart_count()
        disk.kill_after = number
        try:
            create(here)
            killed = False
        except Killed:
            killed = True
        disk.revive()
        if not killed:
            break
        try:
            create(here)
        except CannotCreateError:
            pass  # It was all done.
        assert not here.damage()
        with here.directory() as directory:
            directory.delete_topic(TOPIC, wait_ms=0)
    assert number > 10


def test_killed_anywhere_the_next_one_updates_it(here: Place, disk: RecordingDisk) -> None:
    for number in itertools.count():
        create(here)
        disk.restart_count()
        disk.kill_after = number
        try:
            update(here, new_name="renamed", partitions=3, **{"retention.ms": 5})
            killed = False
        except Killed:
            killed = True
        disk.revive()
        with here.directory() as directory:
            (name,) = directory.topic_names()
        update(here, name, new_name="renamed", partitions=3, **{"retention.ms": 5})
        with here.directory() as directory:
            topic = directory.open_topic("renamed")
            assert (topic.partitions, topic.config("retention.ms")) == (3, 5)
            topic.close()
            directory.delete_topic("renamed", wait_ms=0)
        if not killed:
            break
    assert number > 10


def test_a_damaged_pin_is_named(here: Place) -> None:
    with pytest.raises(CorruptStateError):
        create(here, pins={"0" * 16: b"\x00"})
