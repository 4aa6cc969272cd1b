"""What groups have committed in another directory: kept, clamped, and where a group begins that has nothing of its own."""

import os
import stat
from pathlib import Path

import pytest

import mk
from mk.errors import CorruptStateError, DataError
from mk.group_errors import NoSuchGroupError
from mk.groups.claim import take
from mk.groups.claim_directory import make_claims
from mk.groups.committed_offset import UNREADABLE, CommittedOffset
from mk.groups.offset_store import group_offsets
from mk.groups.replicated_offsets import (
    committed_offsets,
    forget_group,
    replicated_group_names,
    replicated_groups,
    replicated_offset,
    store,
)
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs, read_epochs, write_epochs
from mk.storage.replica_directory import note_source

SOURCE = "a" * 32
OTHER_SOURCE = "b" * 32


def commit(topic, group, partition, offset):
    claims = make_claims(topic, group)
    claim = take(claims, partition)
    claim.commit(offset, 0)
    claim.close()
    claims.close()


def told(topic, *offsets):
    """(group, partition, offset) as another directory tells them."""
    return [CommittedOffset(group, topic.topic_id, partition, offset, 0) for group, partition, offset in offsets]


def all_ends(topic, *ends):
    return {(topic.topic_id, partition): end for partition, end in enumerate(ends)}


def kept(topic):
    return {
        (group, partition): offset.offset
        for group, offsets in replicated_groups(topic.directory).items()
        for (_, partition), offset in offsets.items()
    }


def group_file(topic, group="g", source=SOURCE):
    return os.path.join(topic.directory.path, "replicas", source, "groups", group)


def test_committed_offsets_are_those_of_all_groups_on_the_topics_asked_for(directory, topic):
    commit(topic, "g", 0, 7)
    commit(topic, "g", 1, 0)
    commit(topic, "h", 0, 3)
    make_claims(topic, "fresh").close()
    claims = make_claims(topic, "silent")
    take(claims, 0).close()
    claims.close()
    found = committed_offsets(directory, [topic.topic_id])
    assert [(one.group, one.partition, one.offset, one.leader_epoch) for one in found] == [
        ("g", 0, 7, 0),
        ("g", 1, 0, 0),
        ("h", 0, 3, 0),
    ]
    assert committed_offsets(directory, ["0" * 32]) == []
    assert committed_offsets(directory, []) == []


def test_a_claim_that_cannot_be_read_leaves_what_was_known(directory, topic):
    commit(topic, "g", 0, 7)
    path = f"{directory.path}/groups/g/claims/{topic.topic_id}/0.0000000001"
    Path(path).write_bytes(bytes(5000))
    (found,) = committed_offsets(directory, [topic.topic_id])
    assert found.offset == UNREADABLE
    store(directory, SOURCE, told(topic, ("g", 0, 5), ("g", 1, 2)), all_ends(topic, 10, 10))
    store(directory, SOURCE, told(topic, ("g", 0, UNREADABLE), ("g", 1, 3)), all_ends(topic, 10, 10))
    assert kept(topic) == {("g", 0): 5, ("g", 1): 3}
    store(directory, SOURCE, told(topic, ("new", 0, UNREADABLE)), all_ends(topic, 10, 10))
    assert kept(topic) == {}


def test_offsets_are_clamped_to_where_the_log_ends_here(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 100), ("g", 1, 3)), all_ends(topic, 6, 10))
    assert kept(topic) == {("g", 0): 6, ("g", 1): 3}
    assert replicated_offset(topic, "g", 0).offset == 6
    assert replicated_offset(topic, "h", 0) is None


def test_a_reset_to_less_a_deleted_group_and_a_partition_without_an_offset_travel_too(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 9), ("g", 1, 9), ("h", 0, 4)), all_ends(topic, 10, 10))
    store(directory, SOURCE, told(topic, ("g", 0, 2)), all_ends(topic, 10, 10))
    assert kept(topic) == {("g", 0): 2}
    assert os.listdir(os.path.dirname(group_file(topic))) == ["g"]


def test_a_run_of_other_partitions_leaves_the_rest(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 9), ("g", 1, 8)), all_ends(topic, 10, 10))
    store(directory, SOURCE, told(topic, ("g", 0, 10)), all_ends(topic, 10))
    assert kept(topic) == {("g", 0): 10, ("g", 1): 8}
    store(directory, SOURCE, [], {})
    assert kept(topic) == {("g", 0): 10, ("g", 1): 8}


def test_nothing_is_written_where_nothing_is_new(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 9)), all_ends(topic, 10))
    before = os.stat(group_file(topic)).st_ino
    store(directory, SOURCE, told(topic, ("g", 0, 9)), all_ends(topic, 10))
    assert os.stat(group_file(topic)).st_ino == before
    assert stat.S_IMODE(os.stat(os.path.dirname(group_file(topic))).st_mode) == 0o700


def test_names_that_are_none_make_no_file(directory, topic):
    for bad in ("../../evil", "", ".hidden", "a/b", "x" * 300):
        with pytest.raises(DataError):
            store(directory, SOURCE, told(topic, (bad, 0, 9)), all_ends(topic, 10))
    assert replicated_group_names(directory) == []


def test_a_damaged_line_is_an_error_only_where_a_group_could_skip(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 9), ("g", 1, 8)), all_ends(topic, 10, 10))
    path = group_file(topic)
    data = Path(path).read_bytes()
    Path(path).write_bytes(data.replace(b" 0 9 ", b" 0 1 "))
    assert replicated_offset(topic, "g", 1).offset == 8
    with pytest.raises(CorruptStateError, match="groups/g is damaged"):
        replicated_offset(topic, "g", 0)
    assert replicated_offset(topic, "other", 0) is None
    (trouble,) = group_offsets(topic, 0, "g")
    assert "damaged" in trouble.trouble
    # A run that does not look at all that comes from there cannot know of which partition the line was.
    note_source(directory, SOURCE, "a:/mk", [(topic.topic_id, 0, 10), (topic.topic_id, 1, 10)])
    store(directory, SOURCE, told(topic, ("g", 1, 10)), {(topic.topic_id, 1): 10})
    with pytest.raises(CorruptStateError):
        replicated_offset(topic, "g", 0)
    store(directory, SOURCE, told(topic, ("g", 0, 9), ("g", 1, 8)), all_ends(topic, 10, 10))
    assert kept(topic) == {("g", 0): 9, ("g", 1): 8}
    assert len(Path(path).read_bytes().splitlines()) == 2


def lead(topic, partition, *leaders):
    """Have a partition led by one directory after the other."""
    fd = os.open(f"{topic.path}/{partition}", os.O_RDONLY)
    entries = [EpochEntry(number << 32, number, leader) for number, leader in enumerate(leaders)]
    write_epochs(fd, LeaderEpochs(entries))
    os.close(fd)


def test_of_several_sources_the_leader_counts_then_the_one_before_then_the_last_seen(directory, topic, monkeypatch):
    now = [1_800_000_000_000]
    monkeypatch.setattr(mk.clock, "now_ms", lambda: now[0])
    for source, offset in ((SOURCE, 3), (OTHER_SOURCE, 8)):
        now[0] += 60_000
        store(directory, source, told(topic, ("g", 0, offset), ("g", 1, offset)), all_ends(topic, 10, 10))
        note_source(directory, source, "x:/mk", [(topic.topic_id, 0, 10)])
    assert replicated_offset(topic, "g", 0).offset == 8
    lead(topic, 0, OTHER_SOURCE, SOURCE)
    lead(topic, 1, SOURCE, OTHER_SOURCE)
    assert kept(topic) == {("g", 0): 3, ("g", 1): 8}
    assert replicated_offset(topic, "g", 0).offset == 3
    lead(topic, 0, OTHER_SOURCE, SOURCE, directory.directory_id)
    assert replicated_offset(topic, "g", 0).offset == 3
    # The leader's word counts also where it knows nothing of the group: what the other one says is of another time.
    store(directory, SOURCE, told(topic, ("h", 0, 1)), all_ends(topic, 10, 10))
    assert replicated_offset(topic, "g", 0) is None
    assert kept(topic) == {("h", 0): 1, ("g", 1): 8}


def test_a_follower_passes_on_what_it_knows_of_its_leaders_groups(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 3), ("g", 1, 4), ("h", 0, 5)), all_ends(topic, 10, 10))
    commit(topic, "g", 0, 7)
    found = committed_offsets(directory, [topic.topic_id])
    assert {(one.group, one.partition): one.offset for one in found} == {("g", 0): 7, ("g", 1): 4, ("h", 0): 5}


def read(path, group, **options):
    with mk.connect(path) as cluster, cluster.group_consumer(group, ["t"], **options) as consumer:
        return [record.offset for record in consumer if record.partition == 0]


def test_a_group_without_an_offset_of_its_own_begins_where_the_leader_has_it(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 6), ("damaged", 0, 6)), all_ends(topic, 10, 10))
    options = {"offset": mk.OffsetSpec("end")}
    assert read(directory.path, "g", **options) == [6, 7, 8, 9]
    assert read(directory.path, "g") == []
    store(directory, SOURCE, told(topic, ("g", 0, 2)), all_ends(topic, 10, 10))
    assert read(directory.path, "g") == []
    path = group_file(topic, "damaged")
    store(directory, SOURCE, told(topic, ("damaged", 0, 6)), all_ends(topic, 10, 10))
    data = Path(path).read_bytes()
    Path(path).write_bytes(data.replace(b" 0 6 ", b" 0 5 "))
    with pytest.raises(CorruptStateError):
        read(directory.path, "damaged")


def test_describe_and_list_show_it_and_committed_offset_tells_it(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 6), ("h", 0, 4)), all_ends(topic, 10, 10))
    commit(topic, "h", 1, 0)
    with mk.connect(directory.path) as cluster:
        assert cluster.group_names() == ["g", "h"]
        document = cluster.describe_group("g")
        (row,) = document["offsets"]
        assert (row["committed_offset"], row["stands_at"], row["lag"], row["is_replicated"]) == (6, 6, 4, True)
        assert document["state"] == "Empty"
        rows = cluster.describe_group("h")["offsets"]
        assert [(row["partition"], row["committed_offset"], row["is_replicated"]) for row in rows] == [
            (0, 4, True),
            (1, 0, False),
        ]
        assert cluster.committed_offset("g", "t", 0) == 6
        assert cluster.committed_offset("g", "t", 1) is None
        assert cluster.committed_offset("h", "t", 0) == 4
        with pytest.raises(NoSuchGroupError):
            cluster.committed_offset("nobody", "t", 0)


def test_retention_counts_what_a_group_has_read_there(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 6)), all_ends(topic, 10, 10))
    assert [(one.group, one.offset, one.trouble) for one in group_offsets(topic, 0, "g,h")] == [
        ("g", 6, ""),
        ("h", -1, ""),
    ]
    assert [(one.group, one.offset) for one in group_offsets(topic, 0, "all")] == [("g", 6)]
    commit(topic, "g", 0, 8)
    assert [(one.group, one.offset) for one in group_offsets(topic, 0, "all")] == [("g", 8)]


def test_a_deleted_group_does_not_come_back_from_what_was_kept_of_it(directory, topic):
    store(directory, SOURCE, told(topic, ("g", 0, 6), ("h", 0, 4)), all_ends(topic, 10, 10))
    commit(topic, "g", 1, 0)
    with mk.connect(directory.path) as cluster:
        assert cluster.delete_group("g")
        assert cluster.delete_group("h")
        assert cluster.group_names() == []
        with pytest.raises(NoSuchGroupError):
            cluster.delete_group("h")
    assert forget_group(directory, "g") == 0
    fd = os.open(f"{topic.path}/0", os.O_RDONLY)
    assert read_epochs(fd, "t").latest.leader_id == directory.directory_id
    os.close(fd)
