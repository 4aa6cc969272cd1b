"""A leader that lost records of acks 0 with its power, and a follower that has them."""

import pytest

from mk.errors import TryAgainError
from mk.replication.directory_replica import DirectoryReplica
from mk.storage import files
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog
from tests.crash.recorder import set_boot
from tests.unit.replication.leaders import consume, replicate


@pytest.fixture(autouse=True)
def _boots(monkeypatch):
    from mk.storage import host

    monkeypatch.setattr(host, "_boot_id", "boot-1")


def append(directory, value, durability):
    from mk.records.record_batch import encode_columns

    opened = directory.open_topic("t")
    log = PartitionLog(opened, 0)
    log.append([encode_columns([value], base_timestamp=1)], durability)
    log.close()
    opened.close()


def lose_power(directory):
    """Leave of partition 0 what its `state` says is on disk, under another boot."""
    opened = directory.open_topic("t")
    log = PartitionLog(opened, 0)
    state = log._files.read_state()
    fd = log._files.open_segment_for_append(state.segment)
    files.truncate(fd, state.durable.position)
    files.close(fd)
    log.close()
    opened.close()
    set_boot("boot-2")


def is_recovered(directory):
    replica = DirectoryReplica(directory.path)
    (topic,) = replica.topics()
    replica.close()
    return topic.partitions[0].is_recovered


def test_a_follower_of_a_leader_that_was_not_recovered_yet_is_told_to_try_again(first, second):
    append(first, b"kept", DISK)
    append(first, b"lost", PAGE_CACHE)
    assert not replicate(first, second) and is_recovered(first)
    lose_power(first)
    assert not is_recovered(first)
    for _ in range(2):
        (error,) = replicate(first, second).values()
        assert type(error) is TryAgainError and "was not recovered in SRC" in error.what
        assert "`mk produce` one record there" in error.fix
        assert consume(second) == {0: [b"kept", b"lost"]}
    append(first, b"new", DISK)
    assert is_recovered(first)
    assert not replicate(first, second)
    assert consume(second) == consume(first) == {0: [b"kept", b"new"]}


def test_a_leader_that_lost_nothing_with_its_power_is_followed_before_it_is_recovered(first, second):
    append(first, b"one", DISK)
    assert not replicate(first, second)
    append(first, b"two", DISK)
    lose_power(first)
    assert not replicate(first, second)
    assert consume(second) == {0: [b"one", b"two"]} and not is_recovered(first)
