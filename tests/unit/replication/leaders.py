"""Two log directories of which one follows the other, and commands on them, for tests of who leads."""

import os

import mk
from mk.groups import replicated_offsets
from mk.groups.claim import take
from mk.groups.claim_directory import make_claims
from mk.replication.directory_replica import DirectoryReplica
from mk.replication.replicator import Choice, Replicator
from mk.storage.follower_log import FollowerLog
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.log_segment import UNKNOWN_CHAIN
from mk.storage.partition_reader import PartitionReader
from mk.storage.replica_directory import note_follower, note_source
from mk.storage.replica_topic import create_replica_topic


def address_of(directory):
    return f"{os.uname().nodename}:{directory.path}"


def make_directory(path):
    create_directory(str(path))
    return LogDirectory(str(path))


def produce(directory, *values, topic="t", partition=None, producer_id=None, keys=None, timestamp_ms=None):
    with (
        mk.connect(directory.path) as cluster,
        cluster.producer(topic, partition=partition, producer_id=producer_id) as producer,
    ):
        for number, value in enumerate(values):
            producer.send(value, keys[number] if keys else None, (), timestamp_ms)


def consume(directory, topic="t"):
    """Return of each partition the values that are there."""
    found = {}
    with mk.connect(directory.path) as cluster, cluster.consumer([topic]) as consumer:
        for record in consumer:
            found.setdefault(record.partition, []).append(record.value)
    return found


def commit(directory, group, partition, offset, topic="t"):
    opened = directory.open_topic(topic)
    claims = make_claims(opened, group)
    claim = take(claims, partition)
    claim.commit(offset, opened.read_epochs(partition).epoch_before(offset))
    claim.close()
    claims.close()
    opened.close()


def committed(directory, group):
    """Return what a group has committed in a directory, by partition, or what it is told it has where it leads."""
    with mk.connect(directory.path) as cluster:
        return {
            row["partition"]: (row["committed_offset"], row["is_replicated"])
            for row in cluster.describe_group(group)["offsets"]
        }


def follow(source, target, topic="t", *, up_to=None):
    """Copy what the source has of a topic, and note it, as a replication does. up_to: no further than that offset."""
    from_topic = source.open_topic(topic)
    pins = {}
    if from_topic.has_producers():
        for name in os.listdir(f"{from_topic.path}/producers"):
            with open(f"{from_topic.path}/producers/{name}", "rb") as file:
                pins[name] = file.read()
    epochs = [from_topic.read_epochs(partition) for partition in range(from_topic.partitions)]
    if topic not in target.topic_names():
        create_replica_topic(
            target,
            topic,
            fields=from_topic.fields(),
            pins=pins,
            partitions=[(one, 0) for one in epochs],
            wait_ms=0,
        )
    to_topic = target.open_topic(topic)
    ends, seen = {}, []
    for partition in range(from_topic.partitions):
        reader, own = PartitionReader(from_topic, partition), PartitionReader(to_topic, partition)
        end = own.high_watermark
        own.close()
        prefix = to_topic.read_epochs(partition).common_prefix(end, epochs[partition], reader.high_watermark)
        log = FollowerLog(to_topic, partition)
        at = log.attach(epochs[partition], reader.high_watermark, prefix, UNKNOWN_CHAIN)
        reader.seek(at)
        while batches := reader.fetch():
            for batch in batches:
                if up_to is not None and batch.next_offset > up_to:
                    break
                data = os.pread(reader.segment_fd, batch.size_bytes, batch.position)
                log.append_copies(data, batch.base_offset, begins_segment=batch.position == 0)
        ends[to_topic.topic_id, partition] = log.sync()
        seen.append((to_topic.topic_id, partition, reader.high_watermark))
        reader.close()
        log.close()
    note_source(target, source.directory_id, address_of(source), seen)
    told = [(topic_id, partition, end) for (topic_id, partition), end in ends.items()]
    assert note_follower(source, target.directory_id, address_of(target), told) == ""
    offsets = replicated_offsets.committed_offsets(source, [to_topic.topic_id])
    replicated_offsets.store(target, source.directory_id, offsets, ends)
    from_topic.close()
    to_topic.close()


def replicate(first, second):
    """Run one replication; returns its errors."""
    source, target = DirectoryReplica(first.path), DirectoryReplica(second.path)
    try:
        assert target.begin(source.directory_id, "")
        replicator = Replicator(source, target, Choice())
        list(replicator.run())
        return replicator.errors
    finally:
        target.close()
        source.close()
