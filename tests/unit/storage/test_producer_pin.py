"""Pins: made once and on disk, refused to whoever means something else by the same name."""

from __future__ import annotations

import errno
import json
import os
import threading
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mk.errors import CorruptStateError, LockTimeoutError, NoSuchTopicError, StorageError, UsageError
from mk.records.record_batch import encode_lines
from mk.storage import files, producer_pin
from mk.storage.locks import acquire
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog
from mk.storage.producer_pin import pin_producer, producer_id_of
from mk.storage.topic import Topic
from tests.crash import oracle
from tests.crash.recorder import Killed, RecordingDisk
from tests.crash.world import TOPIC, Sweep, World

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "import-7"
FILE = f"{int.from_bytes(sha256(NAME.encode()).digest()[:8], 'big'):016x}"


@pytest.fixture
def topic(tmp_path: Path) -> Iterator[Topic]:
    with RecordingDisk(tmp_path) as disk:
        world = World(disk)
        world.create()
        directory = LogDirectory(str(world.path))
        directory.create_topic("many", partitions=3, partitioner="crc32", overrides={}, wait_ms=0)
        topic = directory.open_topic("many")
        yield topic
        topic.close()
        directory.close()


def append(topic: Topic, partition: int, durability: int = DISK, size: int = 10) -> None:
    log = PartitionLog(topic, partition, lock_wait_ms=0)
    log.append([encode_lines(b"x" * size + b"\n", count=1, timestamp_ms=1)], durability)
    log.close()


def pin(topic: Topic, name: str = NAME, partition: int | None = None):  # type: ignore[no-untyped-def]
    return pin_producer(topic, name, partition=partition, lock_wait_ms=0)


def names(topic: Topic) -> list[str]:
    return sorted(os.listdir(f"{topic.path}/producers"))


def change_topic(topic: Topic, **fields: object) -> Topic:
    """Replace topic.json, and return the topic as somebody opens it who comes later."""
    from mk.storage import flat_json

    path = f"{topic.path}/topic.json"
    with open(path, "rb") as file:
        content = flat_json.decode(file.read(), path)
    del content["format"]
    fd = files.open_directory(topic.path)
    files.replace_file("topic.json", flat_json.encode({**content, **fields}), dir_fd=fd)  # type: ignore[dict-item]
    files.close(fd)
    return Topic(topic.directory, topic.name)


def test_a_pin_says_what_the_topic_was_like_at_first_use(topic: Topic) -> None:
    made = pin(topic, partition=2)
    assert (made.name, made.partitions, made.partitioner, made.partition) == (NAME, 3, "crc32", 2)
    assert made.producer_id == int(FILE, 16)
    assert names(topic) == [FILE]
    with open(f"{topic.path}/producers/{FILE}", "rb") as file:
        content = json.load(file)
    assert {key: content[key] for key in ("name", "partitions", "partitioner", "partition")} == {
        "name": NAME,
        "partitions": 3,
        "partitioner": "crc32",
        "partition": 2,
    }
    before = os.stat(f"{topic.path}/producers/{FILE}").st_ino
    again = pin(topic, partition=2)
    assert (again.name, again.partitions, again.partition) == (NAME, 3, 2)
    assert os.stat(f"{topic.path}/producers/{FILE}").st_ino == before


def test_the_number_of_a_name_is_never_the_one_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zeros:
        def __init__(self, data: bytes) -> None:
            pass

        def digest(self) -> bytes:
            return bytes(32)

    assert producer_id_of(NAME) == int(FILE, 16)
    monkeypatch.setattr(producer_pin, "sha256", Zeros)
    assert producer_id_of(NAME) == 1


@pytest.mark.parametrize("name", ["ä ö", 'quote " and \\ backslash', "a/b", "..", "x" * 200, '": ', "日本"])
def test_any_printable_name_will_do(topic: Topic, name: str) -> None:
    pin(topic, name)
    assert pin(topic, name).name == name
    assert len(names(topic)) == 1


def test_another_name_with_the_same_number_is_refused(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(topic)
    monkeypatch.setattr(producer_pin, "producer_id_of", lambda name: int(FILE, 16))
    with pytest.raises(UsageError, match="producer id other cannot be used") as caught:
        pin(topic, "other")
    assert NAME in caught.value.why
    assert pin(topic).name == NAME


@pytest.mark.parametrize(("first", "second"), [(None, 1), (1, None), (1, 2), (0, None)])
def test_another_partition_named_by_hand_is_refused(topic: Topic, first: int | None, second: int | None) -> None:
    pin(topic, partition=first)
    with pytest.raises(UsageError, match="with another partition"):
        pin(topic, partition=second)
    assert pin(topic, partition=first).partition == first


def test_another_partitioner_is_refused(topic: Topic) -> None:
    pin(topic)
    later = change_topic(topic, partitioner="murmur2")
    with pytest.raises(UsageError, match="with another partitioner") as caught:
        pin(later)
    assert "crc32" in caught.value.why and "murmur2" in caught.value.why
    assert pin(later, "new").partitioner == "murmur2"
    later.close()


def test_partitions_that_the_topic_gets_later_are_not_used(topic: Topic) -> None:
    pin(topic)
    later = change_topic(topic, partitions=5)
    assert pin(later).partitions == 3
    assert pin(later, "new").partitions == 5
    later.close()


def test_a_topic_that_was_opened_before_it_got_more_partitions_understands_later_pins(topic: Topic) -> None:
    pin(topic, "before")
    later = change_topic(topic, partitions=5)
    pin(later)
    assert pin(topic).partitions == 5
    later.close()


def test_a_pin_that_does_not_fit_the_topic_is_damage(topic: Topic) -> None:
    pin(topic)
    later = change_topic(topic, partitions=2)
    with pytest.raises(CorruptStateError):
        pin(later)
    later.close()


def test_of_two_first_uses_at_once_one_counts(topic: Topic) -> None:
    made: list[int | None] = []
    barrier = threading.Barrier(2)

    def use(partition: int) -> None:
        own = Topic(topic.directory, topic.name)
        barrier.wait()
        try:
            made.append(pin_producer(own, NAME, partition=partition, lock_wait_ms=10_000).partition)
        except UsageError:
            pass
        own.close()

    threads = [threading.Thread(target=use, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert names(topic) == [FILE]
    assert pin(topic, partition=made[0]).partition == made[0]


def test_a_pin_that_somebody_made_since_we_looked_is_not_written_over(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_producer(topic, NAME, partition=0, lock_wait_ms=0)
    content = Path(topic.path, "producers", FILE).read_bytes()
    real, is_early = producer_pin._read, [True]

    def read_late(*arguments: object) -> object:
        return None if is_early and is_early.pop() else real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(producer_pin, "_read", read_late)
    with pytest.raises(UsageError):
        pin_producer(topic, NAME, partition=1, lock_wait_ms=0)
    assert Path(topic.path, "producers", FILE).read_bytes() == content
    assert names(topic) == [FILE]


def test_a_pin_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    base, images = tmp_path / "disk", tmp_path / "images"
    base.mkdir()
    images.mkdir()
    with RecordingDisk(base) as disk:
        world = World(disk)
        world.create()
        world.open_reader()
        assert world.topic is not None
        pin_producer(world.topic, NAME, partition=None, lock_wait_ms=0)
        world.abandon()

    def check_image(target: Path, count: int) -> None:
        assert (target / "mk" / "topics" / TOPIC / "producers" / FILE).exists()

    Sweep(images, seed=1, per_cut=10).power_cuts(disk, check_image, start=len(disk.operations))


def test_partitions_with_records_get_a_snapshot_before_the_first_pin(topic: Topic) -> None:
    append(topic, 0)
    append(topic, 0, PAGE_CACHE)
    append(topic, 2, PAGE_CACHE)
    pin(topic)
    found = {
        number: [name for name in os.listdir(f"{topic.path}/{number}") if "producers" in name] for number in range(3)
    }
    assert found == {0: [f"{0:020d}.producers"], 1: [], 2: []}
    with open(f"{topic.path}/0/{0:020d}.producers", "rb") as file:
        place, sequences = oracle.read_producers_file(file.read())
    # Up to what is on disk, and no further.
    assert (place["offset"], sequences) == (1, {})
    inode = os.stat(f"{topic.path}/0/{0:020d}.producers").st_ino
    pin(topic, "second")
    assert os.stat(f"{topic.path}/0/{0:020d}.producers").st_ino == inode


def test_pins_that_were_removed_do_not_make_mk_forget_what_is_stored(topic: Topic) -> None:
    made = pin(topic)
    batch = encode_lines(b"a\nb\n", count=2, timestamp_ms=1)
    batch.number(made.producer_id, range(2))
    log = PartitionLog(topic, 0, lock_wait_ms=0)
    append(topic, 0, size=1000)
    log.append([batch], DISK)
    os.unlink(f"{topic.path}/producers/{FILE}")
    os.rmdir(f"{topic.path}/producers")
    pin(topic)
    assert PartitionLog(topic, 0, lock_wait_ms=0).append([batch], DISK).duplicates == 2
    log.close()


def test_a_first_use_waits_for_writers_no_longer_than_it_may(topic: Topic) -> None:
    held = topic.open_lock(2)
    acquire(held, what="it", wait_ms=0)
    with pytest.raises(LockTimeoutError):
        pin(topic)
    assert not topic.has_producers()
    files.close(held)
    pin(topic)


def test_a_deleted_topic_gets_no_pin(topic: Topic) -> None:
    other = LogDirectory(topic.directory.path)
    opened = other.open_topic("many")
    topic.directory.delete_topic("many", wait_ms=0)
    with pytest.raises(NoSuchTopicError):
        pin(opened)
    opened.close()
    other.close()


def test_a_disk_that_takes_no_pin_is_an_error_and_the_next_use_makes_it(tmp_path: Path) -> None:
    with RecordingDisk(tmp_path) as disk:
        world = World(disk)
        world.create()
        directory = LogDirectory(str(world.path))
        topic = directory.open_topic("t")
        append(topic, 0)
        refused = 0
        for nth in range(20):
            disk.restart_count()
            disk.fault = lambda number, kind, name, nth=nth: errno.ENOSPC if number == nth else 0  # type: ignore[misc]
            try:
                pin(topic, f"name {nth}")
            except StorageError as error:
                refused += 1
                assert error.why == "No space left on device" and error.fix.endswith("no record was written")
            disk.fault = None
            assert pin(topic, f"name {nth}").name == f"name {nth}"
        assert 5 < refused < 20
        topic.close()
        directory.close()


def test_killed_at_any_operation_the_next_use_makes_it(tmp_path: Path) -> None:
    for kill_after in range(100):
        base = tmp_path / str(kill_after)
        base.mkdir()
        with RecordingDisk(base) as disk:
            world = World(disk)
            world.create()
            directory = LogDirectory(str(world.path))
            topic = directory.open_topic("t")
            append(topic, 0)
            disk.restart_count()
            disk.kill_after = kill_after
            finished = False
            try:
                pin(topic)
                finished = True
            except Killed:
                pass
            disk.revive()
            # Others go on meanwhile, over a roll too, pin or no pin.
            append(topic, 0, size=4000)
            append(topic, 0, size=4000)
            assert pin(topic).partitions == 1
            append(topic, 0, size=4000)
            pin(topic, "second")
            assert [name for name in names(topic) if name.startswith(".")] == []
            oracle.verify(world.partition)
            # Each partition can be told of, also if its first segments go.
            os.unlink(world.partition / f"{0:020d}.log")
            batch = encode_lines(b"a\n", count=1, timestamp_ms=1)
            batch.number(5, range(1))
            log = PartitionLog(topic, 0, lock_wait_ms=0)
            assert log.append([batch], DISK).duplicates == 0
            log.close()
            topic.close()
            directory.close()
        if finished:
            break
    assert 8 < kill_after < 99
