"""The Python API on a log directory of another host."""

import sys
from pathlib import Path

import pytest

import mk
from mk.records.record_batch import encode_lines

BIN = Path(sys.executable).parent


@pytest.fixture
def location(tmp_path, monkeypatch):
    script = tmp_path / "fake-ssh"
    script.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    script.chmod(0o755)
    monkeypatch.setenv("MK_RSH", str(script))
    monkeypatch.setenv("MK_REMOTE_PATH", str(BIN / "mk"))
    return f"far:{tmp_path}/log"


def test_a_consumer_and_a_producer_share_a_connection(location):
    with mk.connect(location, create=True) as cluster:
        assert cluster.location == location
        cluster.create_topic("a", partitions=2)
        cluster.create_topic("b")
        with cluster.producer("a") as producer:
            for number in range(300):
                producer.send(b"%d" % number, b"%d" % number)
        with cluster.consumer(["a"]) as consumer, cluster.producer("b") as producer:
            for record in consumer:
                producer.send(record.value, record.key)
                if record.offset % 50 == 0:
                    producer.flush()
        with cluster.consumer(["b"]) as consumer:
            assert sorted(int(record.value) for record in consumer) == list(range(300))
        assert cluster.partitions("a") == 2
        assert cluster.offset_for_time("b", 0, 0) == 0
        assert cluster.topic_names() == ["a", "b"]


def test_encoded_batches_are_appended_as_they_are_here_and_there(location):
    for where in (location, location.removeprefix("far:")):
        with mk.connect(where, create=True) as cluster:
            if "t" not in cluster.topic_names():
                cluster.create_topic("t")
            cluster.producer("t", producer_id="p").close()
            batches = []
            for number in range(2):
                batch = encode_lines(b"a\nb\n", count=2, timestamp_ms=1)
                batch.number(mk_id("p"), range(2 * number, 2 * number + 2))
                batches.append(batch)
            result = cluster.append_batches("t", 0, batches)
            # The second time they are there.
            assert result.duplicates == (0 if where == location else 4)
    with mk.connect(location) as cluster, cluster.consumer(["t"]) as consumer:
        assert [record.value for record in consumer] == [b"a", b"b", b"a", b"b"]


def mk_id(name):
    from mk.storage.producer_pin import producer_id_of

    return producer_id_of(name)
