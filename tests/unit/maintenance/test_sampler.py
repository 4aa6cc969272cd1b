"""What cannot be told of one thing is said of that one, and the rest is told; and what has healed is told again."""

import os

import pytest

import mk
from mk.cli.top_rates import rated
from mk.errors import NoSuchDirectoryError


def rows(cluster, name="t"):
    (topic,) = [topic for topic in cluster.sample()["topics"] if topic["topic"] == name]
    return topic, topic["partitions"]


def made(tmp_path, partitions=1):
    cluster = mk.connect(str(tmp_path / "log"), create=True)
    cluster.create_topic("t", partitions=partitions)
    cluster.create_topic("other")
    return cluster


def send(cluster, count, topic="t"):
    with cluster.producer(topic, partition=0, acks=0) as producer:
        for _ in range(count):
            producer.send(b"x")


def test_a_damaged_state_is_a_problem_of_its_partition_until_it_is_whole_again(tmp_path):
    with made(tmp_path, partitions=2) as cluster:
        send(cluster, 3)
        before = rows(cluster)[1]
        state = tmp_path / "log/topics/t/0/state"
        whole = state.read_bytes()
        state.write_bytes(b"\0" * len(whole))
        damaged = rows(cluster)[1]
        assert damaged[0]["high_watermark"] is None
        assert damaged[0]["problem"].startswith("topics/t/0/state is damaged: neither of its slots")
        assert damaged[1] == before[1]
        state.write_bytes(whole)
        healed = rows(cluster)[1]
        assert (healed[0]["high_watermark"], healed[0]["problem"]) == (3, None)
        # What was counted before says nothing of what came meanwhile.
        assert healed[0]["run"] > before[0]["run"]


def test_a_damaged_topic_shows_nothing_of_what_it_was(tmp_path):
    with made(tmp_path) as cluster:
        send(cluster, 3)
        assert rows(cluster)[1][0]["high_watermark"] == 3
        path = tmp_path / "log/topics/t/topic.json"
        whole = path.read_bytes()
        path.write_bytes(b"{")
        topic, partitions = rows(cluster)
        assert partitions == [] and topic["topic_id"] is None and "topics/t/topic.json" in topic["problem"]
        assert rows(cluster, "other")[0]["problem"] is None
        path.write_bytes(whole)
        assert rows(cluster)[1][0]["high_watermark"] == 3


def test_a_damaged_claim_is_a_problem_of_its_row(tmp_path):
    with made(tmp_path) as cluster:
        send(cluster, 3)
        with cluster.group_consumer("g", ["t", "other"]) as consumer:
            assert len(list(consumer)) == 3
        (group,) = cluster.sample()["groups"]
        assert [row["lag"] for row in group["offsets"]] == [0, 0]
        topic_id = cluster.topic_settings("t")["topic_id"]
        (claim,) = (tmp_path / f"log/groups/g/claims/{topic_id}").iterdir()
        claim.write_bytes(b"\0" * 100)
        (group,) = cluster.sample()["groups"]
        found = {row["topic"]: row for row in group["offsets"]}
        assert found["t"]["lag"] is None and "neither of its slots" in found["t"]["problem"]
        assert found["other"]["lag"] == 0 and found["other"]["problem"] is None


def test_a_failed_partition_is_told(tmp_path):
    with made(tmp_path) as cluster:
        assert rows(cluster)[1][0]["failed"] is False
        (tmp_path / "log/topics/t/0/FAILED").write_bytes(b"")
        assert rows(cluster)[1][0]["failed"] is True
        os.unlink(tmp_path / "log/topics/t/0/FAILED")
        assert rows(cluster)[1][0]["failed"] is False


def test_a_topic_made_anew_under_its_name_is_another_one(tmp_path):
    with made(tmp_path) as cluster:
        send(cluster, 5)
        before = cluster.sample()
        cluster.delete_topic("t")
        cluster.create_topic("t")
        send(cluster, 7)
        now = cluster.sample()
        topic = next(topic for topic in rated(before, now, "x")["topics"] if topic["topic"] == "t")
        assert topic["records"] == 7
        assert topic["records_in_per_s"] is None


def test_a_group_that_was_set_back_has_no_rate_and_one_that_goes_on_has(tmp_path):
    with made(tmp_path) as cluster:
        send(cluster, 10)
        with cluster.group_consumer("g", ["t"]) as consumer:
            assert len(list(consumer)) == 10
        first = cluster.sample()
        send(cluster, 4)
        with cluster.group_consumer("g", ["t"]) as consumer:
            assert len(list(consumer)) == 4
        second = cluster.sample()
        (group,) = rated(first, second, "x")["groups"]
        seconds = (second["clock_ms"] - first["clock_ms"]) / 1000
        assert abs(group["records_out_per_s"] - 4 / seconds) < 0.01
        assert group["lag_change_per_s"] == 0
        assert group["lag"] == 0
        with cluster.group_consumer("g", ["t"]) as consumer:
            pass
        topic_id = cluster.topic_settings("t")["topic_id"]
        from mk.groups.offset_reset import OffsetChange

        cluster.change_offsets("g", [OffsetChange("t", topic_id, 0, before=14, after=2)], kind="reset")
        third = cluster.sample()
        document = rated(second, third, "x")
        (group,) = document["groups"]
        assert group["records_out_per_s"] is None and group["lag"] == 12
        topic = next(topic for topic in document["topics"] if topic["topic"] == "t")
        assert topic["records_out_per_s"] is None
        assert next(topic for topic in document["topics"] if topic["topic"] == "other")["records_out_per_s"] == 0


def test_a_topic_that_is_renamed_has_no_rate_until_it_was_looked_at_twice(tmp_path):
    with made(tmp_path) as cluster:
        send(cluster, 5)
        samples = [cluster.sample()]
        send(cluster, 5)
        samples.append(cluster.sample())
        os.rename(tmp_path / "log/topics/t", tmp_path / "log/topics/u")
        for _ in range(2):
            send(cluster, 1, "u")
            samples.append(cluster.sample())
        rates = []
        for before, now in zip(samples, samples[1:]):
            (topic,) = [topic for topic in rated(before, now, "x")["topics"] if topic["topic"] in ("t", "u")]
            rates.append((topic["bytes_in_per_s"], topic["records_in_per_s"]))
        assert rates[1] == (None, None)
        assert all(rate > 0 for rate in rates[0] + rates[2])


def test_what_is_closed_or_no_directory_keeps_nobody_from_seeing_the_rest(tmp_path):
    with made(tmp_path) as cluster:
        for what in ("groups", "replicas"):
            path = tmp_path / "log" / what
            path.exists() and path.rmdir()
            path.symlink_to(tmp_path)  # Which is not followed: root may look into whatever is closed.
            sample = cluster.sample()
            assert [topic["topic"] for topic in sample["topics"]] == ["other", "t"]
            # Where groups stood in the directory that leads is in replicas/.
            assert [one["what"] for one in sample["unseen"]] == {
                "groups": ["groups"],
                "replicas": ["groups", "replicas"],
            }[what]
            assert all(what in one["why"] for one in sample["unseen"])
            path.unlink()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_directory_that_was_put_aside_is_not_looked_at_for_ever(tmp_path, is_replaced):
    with made(tmp_path) as cluster:
        cluster.sample()
        (tmp_path / "log").rename(tmp_path / "log.aside")
        if is_replaced:
            made(tmp_path).close()
        with pytest.raises(NoSuchDirectoryError, match="no log directory") as caught:
            cluster.sample()
        assert ("another one" in caught.value.why) == is_replaced
