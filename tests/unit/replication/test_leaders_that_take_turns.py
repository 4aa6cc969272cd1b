"""An old leader that was fenced with records of its own, and leads again before it was cut back: who read in between."""

import pytest

import mk
from mk.errors import StaleSourceError
from mk.replication.promotion import Promotion
from tests.unit.replication.leaders import commit, produce, replicate


def promote(directory):
    promotion = Promotion(directory, None)
    promotion.promote()
    assert promotion.failures == []


def lead_in_turns(first, second):
    """Have what only the first one had take the place of what a group read of the second one, which led in between."""
    produce(first, b"a", b"b", partition=0)
    assert replicate(first, second) == {}
    produce(first, b"x", b"y", b"z", partition=0)
    promote(second)
    produce(second, b"p", b"q", partition=0)
    commit(second, "g", 0, 4)
    assert {type(error) for error in replicate(first, second).values()} == {
        StaleSourceError
    }  # It hears that it is fenced.
    promote(first)
    assert replicate(first, second) == {}


def read_by_group(directory, group):
    with mk.connect(directory.path) as cluster, cluster.group_consumer(group, ["t"]) as consumer:
        return [record.value for record in consumer if record.partition == 0]


def test_a_group_is_given_what_took_the_place_of_what_it_read(first, second):
    lead_in_turns(first, second)
    assert read_by_group(second, "g") == [b"x", b"y", b"z"]
    assert read_by_group(second, "g") == []


def test_after_several_cuts_a_group_begins_anew_and_skips_nothing(first, second):
    lead_in_turns(first, second)
    produce(first, b"1", partition=0)
    promote(second)
    replicate(first, second)
    produce(second, b"2", partition=0)
    promote(first)
    assert replicate(first, second) == {}
    assert read_by_group(second, "g") == [b"a", b"b", b"x", b"y", b"z", b"1"]


def test_a_command_says_how_far_the_group_has_read_what_is_there(first, second):
    lead_in_turns(first, second)
    with mk.connect(second.path) as cluster:
        (row,) = (row for row in cluster.describe_group("g")["offsets"] if row["partition"] == 0)
        assert (row["committed_offset"], row["stands_at"]) == (4, 2)
        with pytest.raises(mk.MkError) as caught:
            cluster.committed_offset("g", "t", 0)
    assert caught.value.facts["stands_at"] == 2


def test_retention_keeps_for_the_group_what_it_has_not_read(first, second):
    from mk.groups import offset_store
    from mk.storage.log_directory import LogDirectory
    from mk.storage.partition_files import PartitionFiles
    from mk.storage.segment_removal import group_hold

    lead_in_turns(first, second)
    directory = LogDirectory(second.path, group_offsets=offset_store.group_offsets)
    topic = directory.open_topic("t")
    topic.overrides["retention.groups"] = "g"
    partition = PartitionFiles(topic, 0, 0)
    assert group_hold(partition).offset == 2
    partition.close()
    topic.close()
    directory.close()
