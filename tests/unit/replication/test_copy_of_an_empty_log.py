"""A copy of a log that is empty and does not begin at 0: what its source knows of producers has to come without a batch."""

import os
from pathlib import Path

import pytest

from mk.errors import CorruptStateError
from mk.maintenance.findings import DAMAGE
from mk.maintenance.verify import verify_topic
from mk.replication.directory_replica import DirectoryReplica
from mk.replication.promotion import Promotion
from mk.replication.replica import CopiedBatches
from mk.replication.replicator import Choice, Replicator
from mk.storage import producer_state
from mk.storage.log_recovery import begin_segment
from mk.storage.partition_cleaner import PartitionCleaner
from mk.storage.partition_log import PartitionLog
from tests.unit.replication.leaders import consume, produce

VALUES = [b"%d" % number for number in range(4)]


def empty(directory):
    """Remove all records of partition 0, and their segment, as retention does where a new one has just begun."""
    opened = directory.open_topic("t")
    log = PartitionLog(opened, 0)
    state = log._files.read_state()
    begin_segment(log._files, state, state.written)
    log.close()
    cleaner = PartitionCleaner(opened, 0, lock_wait_ms=0)
    cleaner.delete_records(state.written.offset)
    cleaner.close()
    opened.close()


def snapshots(directory):
    return {path.name: path.read_bytes() for path in Path(directory.path, "topics", "t", "0").glob("*.producers")}


def replicate(first, second):
    """Run one replication; returns its events."""
    source, target = DirectoryReplica(first.path), DirectoryReplica(second.path)
    try:
        assert target.begin(source.directory_id, "")
        replicator = Replicator(source, target, Choice())
        events = list(replicator.run())
        assert not replicator.errors
        return events
    finally:
        target.close()
        source.close()


def promote(directory):
    promotion = Promotion(directory, None, wait_ms=0)
    promotion.promote()
    assert not promotion.failures


def damage(directory):
    return [finding for finding in verify_topic(directory, "t").findings if finding.severity == DAMAGE]


@pytest.fixture
def emptied(first):
    produce(first, *VALUES, partition=0, producer_id="p")
    empty(first)
    return first


def test_a_copy_of_an_empty_log_knows_what_its_source_has_stored_of_producers(emptied, second):
    replicate(emptied, second)
    assert snapshots(second) == snapshots(emptied) and len(snapshots(second)) == 1
    promote(second)
    produce(second, *VALUES, b"new", partition=0, producer_id="p")
    assert consume(second) == {0: [b"new"]}
    assert damage(second) == []


def test_a_copy_whose_run_was_killed_before_the_snapshot_gets_it_from_the_next(emptied, second):
    replicate(emptied, second)
    for name in snapshots(second):
        os.unlink(f"{second.path}/topics/t/0/{name}")
    assert replicate(emptied, second) == []
    assert snapshots(second) == snapshots(emptied) != {}


def test_a_copy_of_an_empty_log_is_written_to_once(emptied, second, monkeypatch):
    replicate(emptied, second)
    monkeypatch.setattr(producer_state.ProducerState, "write_snapshot", None)
    monkeypatch.setattr(DirectoryReplica, "follow", None)
    assert replicate(emptied, second) == []


def test_a_source_that_cannot_tell_either_is_followed_without(emptied, second):
    for name in snapshots(emptied):
        os.unlink(f"{emptied.path}/topics/t/0/{name}")
    for _ in range(2):
        replicate(emptied, second)
    assert snapshots(second) == {}
    promote(second)
    with pytest.raises(CorruptStateError):
        produce(second, b"new", partition=0, producer_id="p")


def test_a_copy_with_a_producer_of_its_own_hears_that_an_empty_source_has_stored_nothing(first, second):
    produce(first, *VALUES, partition=0)
    replicate(first, second)
    opened = second.open_topic("t")
    opened.pin_producer("p", partition=0, lock_wait_ms=0)
    opened.close()
    empty(first)
    source, target = DirectoryReplica(first.path), DirectoryReplica(second.path)
    image = next(source.topics()).partitions[0]
    target.begin_anew("t", image, reason="compacted").close()
    target.close()
    source.close()
    assert snapshots(second) == {}
    replicate(first, second)
    ((name, data),) = snapshots(second).items()
    assert name == "00000000000000000004.producers"
    snapshot = producer_state.decode_snapshot(data, 4)
    assert (snapshot.offset, snapshot.position, snapshot.last_sequences) == (4, 0, {})
    promote(second)
    produce(second, b"new", partition=0, producer_id="p")
    assert consume(second) == {0: [b"new"]} and damage(second) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda snapshot: setattr(snapshot, "chain", snapshot.chain ^ 1),
        lambda snapshot: setattr(snapshot, "offset", 5),
        lambda snapshot: setattr(snapshot, "position", 70),
        None,
    ],
    ids=["chain", "offset", "position", "checksum"],
)
def test_a_snapshot_of_another_place_is_not_taken(emptied, second, change):
    replicate(emptied, second)
    ((name, data),) = snapshots(second).items()
    os.unlink(f"{second.path}/topics/t/0/{name}")
    if change is None:
        data = data.replace(b"crc", b"cry")
    else:
        snapshot = producer_state.decode_snapshot(data, 4)
        change(snapshot)
        data = snapshot.encode()
    target = DirectoryReplica(second.path)
    (topic,) = target.topics()
    image = topic.partitions[0]
    assert image.lacks_producers
    writer = target.follow("t", image, 4, image.chain)
    writer.append(CopiedBatches(4, 4, b"", begins_segment=True, producers=data))
    assert writer.sync() == 4
    writer.close()
    target.close()
    assert snapshots(second) == {}
