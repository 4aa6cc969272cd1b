"""What a group has committed and who its members are, as the files or Kafka say; and committing an offset as a member does, which no
command does by hand."""

import os

from running import KafkaMk

from mk.groups.claim import take
from mk.groups.claim_directory import make_claims
from mk.storage.log_directory import LogDirectory

_SECONDS = 30


def commit(mk, group, topic, partition, offset, *, leader_epoch=0):
    """Take a partition for a group, commit an offset unless it is None, and let go."""
    if isinstance(mk, KafkaMk):
        _commit_to(mk.broker.client(), group, topic, partition, offset)
        return
    opened = LogDirectory(str(mk.directory))
    found = opened.open_topic(topic)
    claims = make_claims(found, group)
    claim = take(claims, partition)
    assert claim is not None, "somebody holds it"
    if offset is not None:
        claim.commit(offset, leader_epoch)
    claim.close()
    claims.close()
    found.close()
    opened.close()


def committed(mk, group="g"):
    """Return what the group has committed, by partition of the one topic that it reads."""
    if isinstance(mk, KafkaMk):
        return _committed_to(mk.broker.client(), group)
    found = {}
    for path in sorted((mk.directory / "groups" / group / "claims").glob("*/[0-9]*")):
        data = path.read_bytes()
        slots = [
            dict(word.split("=", 1) for word in slot.decode().split())
            for slot in (data[:512], data[4096:4608])
            if slot.strip(b"\0")
        ]
        if not slots:
            continue  # A generation that is just being made.
        newest = max(slots, key=lambda slot: int(slot["sequence"]))
        found[int(newest["partition"])] = int(newest["offset"])
    return found


def members(mk, group="g"):
    """Return the ids of the members that the group has now."""
    if isinstance(mk, KafkaMk):
        return [member.member_id for member in _members_at(mk.broker.client(), group)]
    path = mk.directory / "groups" / group / "members"
    return [name for name in os.listdir(path) if not name.startswith(".")] if path.exists() else []


def owners(mk, group="g"):
    """Return how many partitions each live member says that it owns."""
    found = {}
    if isinstance(mk, KafkaMk):
        for member in _members_at(mk.broker.client(), group):
            if member.assignment.topic_partitions:
                found[member.member_id] = len(member.assignment.topic_partitions)
        return found
    live = members(mk, group)
    for path in (mk.directory / "groups" / group / "claims").glob("*/[0-9]*"):
        note = path.read_bytes()[1024:1088].rstrip(b"\0\n")
        if note:
            member = note.split(b" ")[0].removeprefix(b"member=").decode()
            if member in live:
                found[member] = found.get(member, 0) + 1
    return found


def _commit_to(words, group, topic, partition, offset):
    from confluent_kafka import Consumer, TopicPartition

    assert offset is not None, "Kafka knows no group that has committed nothing"
    member = Consumer({**words, "group.id": group})
    member.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    member.close()


def _committed_to(words, group):
    from confluent_kafka import ConsumerGroupTopicPartitions
    from confluent_kafka.admin import AdminClient

    client = AdminClient(words)
    (found,) = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    return {place.partition: place.offset for place in found.result(_SECONDS).topic_partitions}


def _members_at(words, group):
    from confluent_kafka.admin import AdminClient

    client = AdminClient(words)
    (found,) = client.describe_consumer_groups([group]).values()
    return found.result(_SECONDS).members
