"""The Python API: what a program sees that says `import mk`."""

import copy
import fcntl
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import mk
from mk import errors


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "log")


@pytest.fixture
def cluster(path):
    with mk.connect(path, create=True) as cluster:
        yield cluster


def values(cluster, *topics, **keywords):
    with cluster.consumer(topics, **keywords) as consumer:
        return [record.value for record in consumer]


def test_the_example_of_the_package(path):
    with mk.connect(path, create=True) as cluster:
        cluster.create_topic("orders", partitions=8)
        with cluster.producer("orders") as producer:
            producer.send(b"a value", key=b"u1")
        (record,) = cluster.consumer(["orders"])
        assert (record.topic, record.offset, record.key, record.value, record.headers) == (
            "orders",
            0,
            b"u1",
            b"a value",
            (),
        )
        assert abs(record.timestamp_ms - time.time() * 1000) < 60_000


def test_what_there_is_can_be_found_and_read_about():
    assert dir(mk) == sorted(mk.__all__)
    for name in mk.__all__:
        assert name == "__version__" or getattr(mk, name).__doc__, name
    for name in dir(mk.Cluster):
        assert name.startswith("_") or name in ("close",) or getattr(mk.Cluster, name).__doc__, name


def test_connect_without_a_directory(path):
    with pytest.raises(errors.NoSuchDirectoryError) as failed:
        mk.connect(path)
    assert isinstance(failed.value, mk.MkError)
    assert failed.value.facts == {"path": path}
    assert not os.path.exists(path)


def test_connect_where_the_environment_says(path, monkeypatch):
    monkeypatch.setenv("MK_DIR", path)
    with mk.connect(create=True) as cluster:
        assert cluster.location == path


def test_connect_takes_a_path_object(tmp_path):
    with mk.connect(tmp_path / "log", create=True) as cluster:
        cluster.create_topic("t")
    with mk.connect(tmp_path / "log") as cluster:
        assert cluster.topic_names() == ["t"]


def test_topics(cluster):
    assert cluster.topic_names() == []
    cluster.create_topic(
        "b", partitions=3, partitioner="murmur2", config={"segment.bytes": 4096, "compression.type": "zstd"}
    )
    cluster.create_topic("a")
    assert cluster.topic_names() == ["a", "b"]
    described = cluster.describe_topic("b")
    assert described["partitioner"] == "murmur2"
    assert described["overrides"] == {"segment.bytes": 4096, "compression.type": "zstd"}
    assert cluster.topic_config("b")["segment.bytes"] == 4096
    assert cluster.topic_config("a")["segment.bytes"] == 128 << 20
    assert [entry["high_watermark"] for entry in cluster.offsets("b")] == [0, 0, 0]
    cluster.delete_topic("b")
    assert cluster.topic_names() == ["a"]


@pytest.mark.parametrize(
    ("call", "error", "facts"),
    [
        (lambda c: c.create_topic("t"), errors.TopicExistsError, {"topic": "t", "existing": "t"}),
        (lambda c: c.create_topic("T"), errors.TopicExistsError, {"topic": "T", "existing": "t"}),
        (lambda c: c.create_topic("../x"), errors.UsageError, {"name": "../x"}),
        (lambda c: c.create_topic("u", partitions=0), errors.UsageError, {}),
        (lambda c: c.create_topic("u", partitioner="md5"), errors.ConfigurationError, {}),
        (lambda c: c.create_topic("u", config={"nope": 1}), errors.ConfigurationError, {"name": "nope"}),
        (
            lambda c: c.create_topic("u", config={"segment.bytes": 1}),
            errors.ConfigurationError,
            {"name": "segment.bytes"},
        ),
        (lambda c: c.delete_topic("nope"), errors.NoSuchTopicError, {"topic": "nope"}),
        (lambda c: c.describe_topic("nope"), errors.NoSuchTopicError, {"topic": "nope"}),
        (lambda c: c.offsets("nope"), errors.NoSuchTopicError, {"topic": "nope"}),
        (lambda c: c.topic_config("nope"), errors.NoSuchTopicError, {"topic": "nope"}),
        (lambda c: c.producer("nope"), errors.NoSuchTopicError, {"topic": "nope"}),
        (lambda c: c.consumer(["t", "nope"]), errors.NoSuchTopicError, {"topic": "nope"}),
        (lambda c: c.producer("t", partition=2), errors.NoSuchPartitionError, {"partition": 2, "partitions": 2}),
        (lambda c: c.consumer(["t"], partitions=[2]), errors.NoSuchPartitionError, {"partition": 2}),
        (lambda c: c.consumer(["t"], partitions=[-1]), errors.NoSuchPartitionError, {"partition": -1}),
        (lambda c: c.offset_for_time("t", 2, 0), errors.NoSuchPartitionError, {"partition": 2}),
        (lambda c: c.consumer(["t"], offset=mk.OffsetSpec("at", 1)), errors.OffsetOutOfRangeError, {"offset": 1}),
        (lambda c: c.producer("t", acks=2), errors.UsageError, {}),
        (lambda c: c.producer("t", compression="snappy"), errors.UsageError, {}),
        (lambda c: mk.parse_offset_spec("nope"), errors.UsageError, {"offset": "nope"}),
    ],
)
def test_errors_are_one_tree_and_have_facts(cluster, call, error, facts):
    cluster.create_topic("t", partitions=2)
    with pytest.raises(mk.MkError) as failed:
        call(cluster)
    assert type(failed.value) is error
    assert failed.value.facts.items() >= facts.items()
    assert failed.value.exit_status == error.exit_status
    assert cluster.topic_names() == ["t"]


def test_all_errors_are_had_from_one_module_that_needs_no_import_of_its_own():
    script = """
import mk, pickle
for name in "MkError NoSuchTopicError NoSuchGroupError ClaimFencedError".split():
    assert issubclass(getattr(mk.errors, name), mk.MkError), name
assert not hasattr(mk.errors, "NoSuchError")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_error_goes_from_one_process_to_another_whole(cluster):
    with pytest.raises(mk.MkError) as failed:
        cluster.describe_group("nope")
    came = pickle.loads(pickle.dumps(failed.value))
    assert type(came) is mk.errors.NoSuchGroupError
    assert (str(came), came.fix, came.facts) == (str(failed.value), failed.value.fix, failed.value.facts)
    assert str(copy.copy(came)) == str(came)


def test_every_kind_of_record(cluster):
    cluster.create_topic("t")
    sent = [
        (b"", None, ()),
        (None, b"k", ()),
        (b"v", b"", ((b"h", b"1"), (b"h", None), (b"", b""))),
        (b"two\nlines\n", b"\0\xff", ()),
        (b"x" * 1_000_000, b"k", ()),
    ]
    with cluster.producer("t") as producer:
        for number, (value, key, headers) in enumerate(sent):
            producer.send(value, key, headers, timestamp_ms=number)
    got = list(cluster.consumer(["t"]))
    assert [(record.value, record.key, record.headers) for record in got] == sent
    assert [(record.offset, record.timestamp_ms) for record in got] == [(number, number) for number in range(len(sent))]


def test_a_record_goes_to_the_partition_that_is_named_with_it(cluster):
    cluster.create_topic("t", partitions=3)
    with cluster.producer("t") as producer:
        for partition in (2, 0, 2, 1):
            producer.send(b"v", b"same key", partition=partition)
        with pytest.raises(errors.NoSuchPartitionError):
            producer.send(b"v", partition=3)
    assert [entry["high_watermark"] for entry in cluster.offsets("t")] == [1, 1, 2]


def test_headers_may_be_a_list_that_is_changed_afterwards(cluster):
    cluster.create_topic("t")
    headers = [(b"h", b"1")]
    with cluster.producer("t") as producer:
        producer.send(b"a", headers=headers)
        headers.append((b"i", None))
        producer.send(b"b", headers=headers)
    assert [record.headers for record in cluster.consumer("t")] == [((b"h", b"1"),), ((b"h", b"1"), (b"i", None))]


def test_what_is_not_bytes_is_refused_at_once(cluster):
    cluster.create_topic("t")
    with cluster.producer("t") as producer:
        for words in (("text",), (b"v", "text"), (5,)):
            with pytest.raises(TypeError, match="bytes"):
                producer.send(*words)
        producer.send(b"fine")
    assert values(cluster, "t") == [b"fine"]


def test_flush_tells_where_records_landed(cluster):
    cluster.create_topic("t")
    told = []
    with cluster.producer("t", on_append=told.append) as producer:
        producer.send(b"a")
        producer.send(b"b")
        (result,) = producer.flush()
        assert (result.partition, result.first_offset, result.last_offset) == (0, 0, 1)
        assert producer.flush() == []
        producer.send(b"c")
        assert producer.records_stored == 2
    assert producer.records_stored == 3
    assert [(result.first_offset, result.last_offset) for result in told] == [(0, 1), (2, 2)]


def test_a_producer_left_by_an_exception_stores_nothing_more(cluster):
    cluster.create_topic("t")
    with pytest.raises(RuntimeError), cluster.producer("t") as producer:
        producer.send(b"before")
        producer.flush()
        producer.send(b"unfinished")
        raise RuntimeError
    assert values(cluster, "t") == [b"before"]


def test_a_record_too_large(cluster):
    cluster.create_topic("t", config={"max.message.bytes": 10})
    with cluster.producer("t") as producer:
        with pytest.raises(errors.RecordTooLargeError) as failed:
            producer.send(b"x" * 8, b"key")
        assert failed.value.facts["max_bytes"] == 10
        producer.send(b"x" * 7, b"key")
    assert values(cluster, "t") == [b"x" * 7]


def test_consuming_from_an_offset(cluster):
    cluster.create_topic("t")
    with cluster.producer("t") as producer:
        for number in range(10):
            producer.send(b"%d" % number)
    assert values(cluster, "t", offset=mk.parse_offset_spec("-2")) == [b"8", b"9"]
    assert values(cluster, "t", offset=mk.OffsetSpec("at", 7)) == [b"7", b"8", b"9"]
    assert values(cluster, "t", offset=mk.OffsetSpec("end")) == []


def test_following_from_another_thread(cluster, path):
    cluster.create_topic("t")
    got = []

    def follow():
        with mk.connect(path) as own, own.consumer(["t"], follow=True) as consumer:
            for record in consumer:
                got.append(record.value)
                if record.value == b"last":
                    return

    thread = threading.Thread(target=follow)
    thread.start()
    with cluster.producer("t") as producer:
        for number in range(20):
            producer.send(b"%d" % number)
            producer.flush()
        producer.send(b"last")
    thread.join(20)
    assert not thread.is_alive()
    assert got == [*(b"%d" % number for number in range(20)), b"last"]


def test_many_threads_with_a_producer_each(cluster, path):
    cluster.create_topic("t", partitions=2)

    def produce(name):
        with mk.connect(path) as own, own.producer("t", partition=0) as producer:
            for number in range(50):
                producer.send(b"%d %d" % (name, number))
                producer.flush()

    threads = [threading.Thread(target=produce, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    records = list(cluster.consumer(["t"]))
    assert [record.offset for record in records] == list(range(200))
    for name in range(4):
        own = [record.value for record in records if record.value.startswith(b"%d " % name)]
        assert own == [b"%d %d" % (name, number) for number in range(50)]


def test_a_lock_time_out_in_a_thread(cluster, path):
    cluster.create_topic("t")
    (lock,) = Path(path).glob("locks/*/0")
    failures = []

    def produce():
        with cluster.producer("t", lock_wait_ms=50) as producer:
            producer.send(b"v")
            try:
                producer.flush()
            except errors.LockTimeoutError as error:
                failures.append(error)

    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=produce)
        thread.start()
        thread.join(20)
    (error,) = failures
    assert error.retriable
    assert error.facts["waited_ms"] == 50
    assert str(os.getpid()) in error.facts["holder"]
    assert values(cluster, "t") == []
    # Not without any wait: the waiter that was given up gets the lock now, and lets it go at once.
    with cluster.producer("t", lock_wait_ms=10_000) as producer:
        producer.send(b"free again")
    assert values(cluster, "t") == [b"free again"]


def test_waiting_for_a_lock_ends_when_it_comes_free(cluster, path):
    cluster.create_topic("t")
    (lock,) = Path(path).glob("locks/*/0")
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.2, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with cluster.producer("t", lock_wait_ms=20_000) as producer:
            producer.send(b"v")
            producer.flush()
    assert values(cluster, "t") == [b"v"]


def test_offset_for_time(cluster):
    cluster.create_topic("t")
    with cluster.producer("t") as producer:
        for time_ms in (1000, 3000, 2000, 4000):
            producer.send(b"v", timestamp_ms=time_ms)
    assert [cluster.offset_for_time("t", 0, time_ms) for time_ms in (0, 1000, 1001, 3000, 3001, 4000, 4001)] == [
        0, 0, 1, 1, 3, 3, 4,
    ]  # fmt: skip


def test_closing_lets_go_of_every_file(path):
    def open_files():
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    with mk.connect(path, create=True) as cluster:
        cluster.create_topic("t", partitions=3)
        held = open_files()
        for _ in range(3):
            with cluster.producer("t") as producer:
                producer.send(b"v", b"k")
            assert values(cluster, "t")[0] == b"v"
            for _ in cluster.consumer(["t"]):
                pass
            cluster.describe_topic("t")
            cluster.offsets("t")
            cluster.offset_for_time("t", 0, 0)
            for wrong in (
                lambda: cluster.consumer(["t"], partitions=[0, 9]),
                lambda: cluster.consumer(["t", "nope"]),
                lambda: cluster.producer("t", partition=9),
                lambda: cluster.consumer(["t"], offset=mk.OffsetSpec("at", 999)),
            ):
                with pytest.raises(mk.MkError):
                    wrong()
        # The first producer opens locks/, which stays with the cluster.
        assert open_files() <= held + 1
        cluster.create_topic("u")
        cluster.delete_topic("u")
        assert open_files() <= held + 1
    assert open_files() == before


def test_closing_twice_does_no_harm(cluster):
    cluster.create_topic("t")
    producer = cluster.producer("t")
    producer.send(b"v")
    producer.flush()
    producer.close()
    producer.close()
    consumer = cluster.consumer(["t"])
    consumer.close()
    consumer.close()
    other = mk.connect(cluster.location)
    other.close()
    other.close()


def test_records_show_what_they_are_but_not_their_values(cluster):
    cluster.create_topic("t")
    with cluster.producer("t") as producer:
        producer.send(b"secret", b"k")
    (record,) = cluster.consumer(["t"])
    assert "t-0@0" in repr(record)
    assert "secret" not in repr(record)


def test_a_consumer_of_a_range_of_some_partitions_and_of_a_tail(cluster):
    cluster.create_topic("t", partitions=2)
    cluster.create_topic("other")
    for partition in (0, 1):
        with cluster.producer("t", partition=partition) as producer:
            for number in range(10):
                producer.send(b"%d-%d" % (partition, number), timestamp_ms=1000 * number + partition)
    assert values(cluster, "t", offset=mk.parse_offset_spec("8")) == [b"0-8", b"0-9", b"1-8", b"1-9"]
    assert values(cluster, "t", stop=mk.parse_offset_spec("+1")) == [b"0-0", b"1-0"]
    assert values(cluster, "t", offset=mk.OffsetSpec("time", 7000), stop=mk.OffsetSpec("time", 8001)) == [
        b"0-7",
        b"0-8",
        b"1-7",
    ]
    assert values(cluster, "t", offset={1: mk.OffsetSpec("before-end", 1)}) == [b"1-9"]
    assert values(cluster, "t", tail=3) == [b"0-9", b"1-8", b"1-9"]
    assert values(cluster, regex="^t", tail=1) == [b"1-9"]
    assert values(cluster, "t", tail=1, follow=True, idle_ms=50) == [b"1-9"]
    with cluster.consumer(["t"], follow=True, max_time_ms=50) as consumer:
        assert len(list(consumer)) == 20
        assert consumer.has_timed_out
    with pytest.raises(errors.UsageError):
        cluster.consumer(["t"], regex="t")
    with pytest.raises(errors.UsageError):
        cluster.consumer(regex="(")
    with pytest.raises(errors.OffsetOutOfRangeError):
        cluster.consumer(["t"], offset={0: mk.OffsetSpec("at", 3), 1: mk.OffsetSpec("at", 11)})


def test_a_topic_is_cloned_and_rehashed(cluster):
    cluster.create_topic("t", partitions=2)
    with cluster.producer("t") as producer:
        for number in range(50):
            producer.send(b"%d" % number, key=b"k%d" % (number % 7))
    told = []
    document = cluster.clone_topic("t", "clone", progress=lambda *done: told.append(done))
    assert (document["clone"], sum(document["next_offsets"]), document["copied_bytes"], told) == ("clone", 50, 0, [])
    document = cluster.rehash_topic("t", "more", partitions=5, progress=lambda *done: told.append(done))
    assert (document["records"], document["partitions"], document["groups"]) == (50, 5, [])
    assert told[-1] == (50, 50)
    assert sorted(values(cluster, "clone")) == sorted(values(cluster, "more")) == sorted(values(cluster, "t"))
    with pytest.raises(errors.TopicExistsError):
        cluster.clone_topic("t", "more")


def test_a_position_is_said_as_it_is_on_the_command_line(cluster):
    cluster.create_topic("many-letters", partitions=2)
    for partition in (0, 1):
        with cluster.producer("many-letters", partition=partition) as producer:
            for number in range(10):
                producer.send(b"%d-%d" % (partition, number), timestamp_ms=1000 * number)

    def read(**keywords):
        return values(cluster, "many-letters", **keywords)

    assert (
        read(offset=8)
        == read(offset="8")
        == read(offset=-2)
        == read(offset="end-2")
        == [b"0-8", b"0-9", b"1-8", b"1-9"]
    )
    assert read(offset="3:4") == read(offset=3, stop=4) == read(offset="@3.000:@4.000") == [b"0-3", b"1-3"]
    assert read(offset={1: -1}) == read(offset="1:-1,0:end") == [b"1-9"]
    assert read(stop="start+1") == [b"0-0", b"1-0"]
    assert [record.value for record in cluster.consumer("many-letters", offset="9")] == [b"0-9", b"1-9"]
    for keywords in ({"offset": "yesterdays"}, {"offset": "1:2", "stop": 3}, {"offset": {0: "1:2"}}):
        with pytest.raises(errors.UsageError):
            cluster.consumer("many-letters", **keywords)


def test_batches_hold_what_is_there_and_never_more_than_asked_for(cluster):
    cluster.create_topic("t", partitions=2)
    for partition, count in ((0, 7), (1, 2)):
        with cluster.producer("t", partition=partition) as producer:
            for number in range(count):
                producer.send(b"%d" % number)
                producer.flush()
    with cluster.consumer("t") as consumer:
        assert [[record.value for record in batch] for batch in consumer.batches(3)] == [
            [b"0", b"1", b"2"],
            [b"3", b"4", b"5"],
            [b"6"],
            [b"0", b"1"],
        ]
        assert consumer.poll() == []
    with cluster.consumer("t", merge=True) as consumer:
        sizes = [len(batch) for batch in consumer.batches(5)]
        assert sum(sizes) == 9 and max(sizes) == 5
    with pytest.raises(errors.UsageError):
        cluster.consumer("t").batches(0)


@pytest.mark.parametrize("options", [{}, {"merge": True}, {"cursor_file": "cursor"}], ids=str)
def test_polling_waits_as_long_as_it_is_told_to_and_misses_nothing(cluster, tmp_path, options):
    if "cursor_file" in options:
        options = {"cursor_file": str(tmp_path / "cursor")}
    cluster.create_topic("t", partitions=3)
    with cluster.consumer("t", follow=True, **options) as consumer, cluster.producer("t") as producer:
        assert consumer.poll() == []
        began = time.monotonic()
        assert consumer.poll(timeout_ms=300) == []
        assert 0.29 < time.monotonic() - began < 10
        got = []
        for number in range(3):
            producer.send(b"%d" % number)
            producer.flush()
            while not (records := consumer.poll(timeout_ms=60_000, max_records=1)):
                pass
            got += [record.value for record in records]
            assert len(records) == 1
        producer.send(b"a")
        producer.send(b"b")
        threading.Timer(0.2, producer.flush).start()
        while len(got) < 5:
            got += [record.value for record in consumer.poll(timeout_ms=60_000)]
        assert got == [*(b"%d" % number for number in range(3)), b"a", b"b"]
