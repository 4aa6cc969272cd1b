"""Looking at a directory again and again tells what describing it anew does, whatever happened to it in between."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mk
from mk.errors import MkError
from mk.groups.offset_reset import OffsetChange
from mk.storage import topic_sampler

NAMES = st.sampled_from(["a", "b", "c"])
GROUPS = st.sampled_from(["g", "h"])
NUMBERS = st.integers(0, 40)
SEGMENT = 64 << 10
STEPS = st.one_of(
    st.tuples(st.just("produce"), NAMES, NUMBERS),
    st.tuples(st.just("create"), NAMES, st.integers(1, 3)),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("alter"), NAMES, st.integers(2, 4)),
    st.tuples(st.just("trim"), NAMES, NUMBERS),
    st.tuples(st.just("commit"), GROUPS, NAMES, NUMBERS),
    st.tuples(st.just("forget"), GROUPS),
    st.tuples(st.just("read"), GROUPS, NAMES),
)


def do(cluster, step):
    kind, name, *rest = step
    if kind == "create":
        cluster.create_topic(name, partitions=rest[0], config={"segment.bytes": SEGMENT})
    elif kind == "produce":
        with cluster.producer(name, acks=0) as producer:
            for number in range(rest[0]):
                producer.send(b"x" * 1000 * number, key=b"%d" % number)
                if number % 10 == 9:
                    producer.flush()
    elif kind == "delete":
        cluster.delete_topic(name)
    elif kind == "rename":
        cluster.rename_topic(name, rest[0])
    elif kind == "alter":
        cluster.alter_topic(name, partitions=rest[0])
    elif kind == "trim":
        for row in cluster.offsets(name):
            cluster.delete_records(name, row["partition"], min(rest[0], row["high_watermark"]))
    elif kind == "commit":
        topic, offset = rest
        row = cluster.offsets(topic)[0]
        topic_id = cluster.topic_settings(topic)["topic_id"]
        here = -1
        with contextlib.suppress(MkError):
            found = cluster.committed_offset(name, topic, 0)
            here = -1 if found is None else found
        change = OffsetChange(topic, topic_id, 0, before=here, after=min(offset, row["high_watermark"]))
        cluster.change_offsets(name, [change], kind="reset")
    elif kind == "forget":
        cluster.delete_group(name)
    elif kind == "read":
        with cluster.group_consumer(name, [rest[0]]) as consumer:
            for _ in consumer:
                pass


def described(cluster):
    topics = {}
    for name in cluster.topic_names():
        document = cluster.describe_topic(name)
        keys = (
            "partition",
            "leader",
            "leader_epoch",
            "log_start_offset",
            "high_watermark",
            "size_bytes",
            "last_write_ms",
        )
        topics[name] = document["topic_id"], [[row[key] for key in keys] for row in document["partitions"]]
    groups = {}
    keys = ("topic", "partition", "committed_offset", "committed_ms", "lag", "problem")
    for group in cluster.describe_groups(cluster.group_names()):
        rows = [row for row in group["offsets"] if not row["topic_is_gone"]]
        groups[group["group"]] = [[row[key] for key in keys] for row in rows]
    return topics, groups


def sampled(cluster):
    document = cluster.sample()
    keys = ("partition", "leader", "leader_epoch", "log_start_offset", "high_watermark", "size_bytes", "last_write_ms")
    topics = {
        topic["topic"]: (topic["topic_id"], [[row[key] for key in keys] for row in topic["partitions"]])
        for topic in document["topics"]
    }
    assert all(row["problem"] is None for topic in document["topics"] for row in (topic, *topic["partitions"]))
    keys = ("topic", "partition", "committed_offset", "committed_ms", "lag", "problem")
    groups = {group["group"]: [[row[key] for key in keys] for row in group["offsets"]] for group in document["groups"]}
    return topics, groups


@pytest.mark.every_case
@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=14))
def test_a_sample_is_what_describing_says(tmp_path_factory, steps):
    with mk.connect(str(tmp_path_factory.mktemp("sampled") / "log"), create=True) as cluster:
        cluster.create_topic("a", partitions=2, config={"segment.bytes": SEGMENT})
        for step in steps:
            with contextlib.suppress(MkError):
                do(cluster, step)
            assert sampled(cluster) == described(cluster), step


@pytest.mark.every_case
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 200), st.integers(0, 3)), max_size=12))
def test_bytes_are_counted_exactly_as_long_as_a_run_lasts(tmp_path_factory, appends):
    with mk.connect(str(tmp_path_factory.mktemp("counted") / "log"), create=True) as cluster:
        cluster.create_topic("t", config={"segment.bytes": SEGMENT})
        before, appended = None, 0
        for records, size, trim in appends:
            with cluster.producer("t", acks=0) as producer:
                for _ in range(records):
                    producer.send(b"x" * 100 * size)
                    producer.flush()
            end = cluster.offsets("t")[0]["high_watermark"]
            log = log_bytes(cluster)
            (row,) = cluster.sample()["topics"][0]["partitions"]
            if before is not None and before["run"] == row["run"]:
                assert row["appended_bytes"] - before["appended_bytes"] == log - appended
            before, appended = row, log
            assert row["high_watermark"] == end
            if trim == 0:
                cluster.delete_records("t", 0, end)
                appended = log_bytes(cluster)


def log_bytes(cluster):
    from pathlib import Path

    return sum(path.stat().st_size for path in Path(cluster.location).rglob("*.log"))


def test_a_change_within_the_same_step_of_the_clock_is_seen(tmp_path, monkeypatch):
    import os

    monkeypatch.setattr(topic_sampler, "_SETTLED_NS", 60_000_000_000)  # A busy machine takes long for one round.
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t")
        state = tmp_path / "log/topics/t/0/state"
        cluster.sample()
        for number in range(1, 20):
            before = state.stat()
            with cluster.producer("t", acks=0) as producer:
                producer.send(b"x")
            os.utime(state, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert cluster.sample()["topics"][0]["partitions"][0]["high_watermark"] == number


def test_what_has_not_changed_is_not_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr(topic_sampler, "_SETTLED_NS", 0)
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        for name in ("idle", "busy"):
            cluster.create_topic(name, partitions=3)
        with cluster.group_consumer("g", ["idle"]) as consumer:
            assert list(consumer) == []
        cluster.sample()
        opened = []
        real = topic_sampler.PartitionFiles
        monkeypatch.setattr(
            topic_sampler, "PartitionFiles", lambda topic, *rest: opened.append(topic.name) or real(topic, *rest)
        )
        cluster.sample()
        assert opened == []
        with cluster.producer("busy", partition=1) as producer:
            producer.send(b"x")
        cluster.sample()
        assert opened == ["busy"]
