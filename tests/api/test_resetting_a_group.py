"""Moving a group from Python: to where it is told, as a plan first, and not while it has members."""

import pytest

import mk


@pytest.fixture
def cluster(tmp_path):
    with mk.connect(tmp_path / "log", create=True) as cluster:
        for topic in ("orders", "payments"):
            cluster.create_topic(topic, partitions=2)
            for partition in (0, 1):
                with cluster.producer(topic, partition=partition) as producer:
                    for number in range(10):
                        producer.send(b"%d" % number, timestamp_ms=1000 * number)
        with cluster.group_consumer("g", ["orders", "payments"]) as consumer:
            assert len(list(consumer)) == 40
        yield cluster


def stands(cluster, group="g"):
    rows = cluster.describe_group(group)["offsets"]
    return {(row["topic"], row["partition"]): row["committed_offset"] for row in rows}


def all_at(offset, *topics):
    return {(topic, partition): offset for topic in topics or ("orders", "payments") for partition in (0, 1)}


@pytest.mark.parametrize(
    ("to", "offset"), [("start", 0), ("end", 10), (3, 3), (-4, 6), ("@5.000", 5), (99, 10), (mk.OffsetSpec("at", 2), 2)]
)
def test_all_that_a_group_reads_is_moved(cluster, to, offset):
    rows = cluster.reset_group("g", to=to)
    assert stands(cluster) == all_at(offset)
    assert {(row["topic"], row["partition"]): row["new_offset"] for row in rows} == all_at(offset)
    assert all(row["committed_offset"] == 10 for row in rows)
    assert all(bool(row["note"]) == (to == 99) for row in rows)


def test_one_topic_or_some_partitions_are_moved_and_the_rest_stays(cluster):
    cluster.reset_group("g", "orders", to=5)
    assert stands(cluster) == all_at(10) | all_at(5, "orders")
    cluster.reset_group("g", ["payments"], to={1: "start"})
    assert stands(cluster) == all_at(10) | all_at(5, "orders") | {("payments", 1): 0}


def test_a_plan_changes_nothing(cluster):
    rows = cluster.reset_group("g", to="start", dry_run=True)
    assert [row["new_offset"] for row in rows] == [0] * 4
    assert stands(cluster) == all_at(10)
    assert cluster.group_changes("g") == []


def test_a_group_is_made_by_being_told_where_to_begin(cluster):
    cluster.reset_group("new", "orders", to=-1)
    with cluster.group_consumer("new", "orders") as consumer:
        assert [record.value for record in consumer] == [b"9", b"9"]
    with pytest.raises(mk.errors.NoSuchGroupError):
        cluster.reset_group("nobody", to="start")


def test_a_group_that_has_members_is_not_moved(cluster):
    with cluster.group_consumer("g", "orders", follow=True) as consumer:
        assert consumer.poll() == []
        with pytest.raises(mk.errors.GroupNotEmptyError) as failed:
            cluster.reset_group("g", to="start")
        assert failed.value.retriable
        assert len(cluster.reset_group("g", to="start", dry_run=True)) == 4
    assert stands(cluster) == all_at(10)


def test_a_range_is_no_place_to_stand(cluster):
    with pytest.raises(mk.errors.UsageError):
        cluster.reset_group("g", to="1:2")
    assert stands(cluster) == all_at(10)


def test_the_journal_names_the_program_that_did_it(cluster):
    cluster.reset_group("g", to="start")
    (change,) = cluster.group_changes("g")
    assert change["kind"] == "reset" and not change["command"].startswith("mk ")
