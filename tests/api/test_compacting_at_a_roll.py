"""When a producer compacts: who waits for it, what ends it, and that nothing of it is an error of the append."""

import fcntl
import signal
import threading

import pytest

import mk
from mk.errors import PartitionFailedError, StorageError
from mk.storage import log_cleaner

VALUE = b"x" * 3000
"""Of two of these, each has a segment for itself."""


@pytest.fixture
def cluster(tmp_path):
    with mk.connect(str(tmp_path / "log"), create=True) as opened:
        config = {"cleanup.policy": "compact", "segment.bytes": 4096, "min.cleanable.dirty.ratio": "0.25"}
        opened.create_topic("t", partitions=2, config=config)
        yield opened


@pytest.fixture
def compacted(monkeypatch):
    """Has compaction do nothing but note its partition, and what `do` does; of what it was asked, in `asked`."""

    class Compacted:
        def __init__(self):
            self.partitions, self.asked, self.do = [], {}, lambda: None

        def __call__(self, topic, partition, **asked):
            self.partitions.append(partition)
            self.asked = asked
            self.do()
            return log_cleaner.CompactionReport(partition)

    compacted = Compacted()
    monkeypatch.setattr(log_cleaner, "compact", compacted)
    return compacted


def send_to_both(producer):
    producer.send_records([VALUE] * 2, [b"k"] * 2, [()] * 2, [None] * 2, [0, 1])


def values(cluster):
    with cluster.consumer(["t"]) as consumer:
        return len(list(consumer))


def test_it_is_done_behind_the_append_that_began_a_segment_with_no_lock_held(cluster, compacted, tmp_path):
    acknowledged = []
    (locks,) = [path for path in (tmp_path / "log" / "locks").iterdir() if path.is_dir()]

    def look():
        assert len(acknowledged) == 2
        with (locks / "0").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    compacted.do = look
    with cluster.producer("t", partition=0, on_append=acknowledged.append) as producer:
        producer.send(VALUE, b"k")
        producer.flush()
        assert compacted.partitions == []
        producer.send(VALUE, b"k")
        assert len(producer.flush()) == 1
        assert compacted.partitions == [0]
        assert (compacted.asked["seal_active"], compacted.asked["min_dirty_ratio"]) == (False, 0.25)
    assert compacted.partitions == [0]


def test_what_rolled_is_compacted_at_the_close_where_the_append_to_another_partition_failed(
    cluster, compacted, tmp_path
):
    producer = cluster.producer("t")
    send_to_both(producer)
    producer.flush()
    (tmp_path / "log/topics/t/1/FAILED").touch()
    send_to_both(producer)
    with pytest.raises(PartitionFailedError):
        producer.flush()
    assert compacted.partitions == []
    producer.close()
    assert compacted.partitions == [0]
    producer.close()
    assert compacted.partitions == [0]


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), StorageError("no", fix="no"), RuntimeError("a bug"), MemoryError()]
)
def test_whatever_goes_wrong_the_records_are_stored_and_nobody_is_told_otherwise(cluster, compacted, error):
    def fail():
        raise error

    compacted.do = fail
    with cluster.producer("t", partition=0) as producer:
        for _ in range(3):
            producer.send(VALUE, b"k")
            producer.flush()
    assert producer.records_stored == 3
    assert len(compacted.partitions) == 2
    assert values(cluster) == 3


def test_a_topic_that_is_not_compacted_any_more_is_left_alone(cluster, compacted):
    with cluster.producer("t", partition=0) as producer:
        producer.send(VALUE, b"k")
        producer.flush()
        cluster.alter_topic("t", config={"cleanup.policy": "delete"})
        producer.send(VALUE, b"k")
        producer.flush()
    assert compacted.partitions == []


def test_a_handler_of_signals_ends_it_and_the_producer_goes_on(cluster, compacted):
    with cluster.producer("t", partition=0) as producer:
        before = signal.signal(signal.SIGUSR1, lambda *_: producer.stop_compacting())
        try:
            reached = []

            def wait_for_the_signal():
                signal.raise_signal(signal.SIGUSR1)
                reached.append(True)

            compacted.do = wait_for_the_signal
            for _ in range(4):
                producer.send(VALUE, b"k")
                producer.flush()
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert producer.records_stored == 4
    assert (compacted.partitions, reached) == ([0], [])
    assert values(cluster) == 4


def test_an_interrupt_leaves_it_at_once_and_the_records_are_stored(cluster, compacted):
    def interrupt():
        raise KeyboardInterrupt

    compacted.do = interrupt
    with pytest.raises(KeyboardInterrupt), cluster.producer("t") as producer:
        send_to_both(producer)
        producer.flush()
        send_to_both(producer)
        producer.flush()
    assert len(compacted.partitions) == 1
    assert producer.records_stored == values(cluster) > 0


def test_other_threads_send_meanwhile(cluster, compacted):
    entered, done = threading.Event(), threading.Event()

    def wait():
        entered.set()
        assert done.wait(30)

    with cluster.producer("t", partition=0) as producer:
        producer.send(VALUE, b"k")
        producer.flush()
        compacted.do = wait
        producer.send(VALUE, b"k")
        one = threading.Thread(target=producer.flush)
        one.start()
        assert entered.wait(30)
        compacted.do = lambda: None
        producer.send(b"small", b"k")
        producer.flush()
        assert values(cluster) == 3
        done.set()
        one.join(30)
    assert compacted.partitions[0] == 0


def test_who_appends_batches_as_they_are_compacts_too(cluster, compacted):
    from mk.records.record_batch import encode_lines

    for _ in range(2):
        cluster.append_batches("t", 1, [encode_lines(VALUE + b"\n", count=1, timestamp_ms=1, key=b"k")])
    assert compacted.partitions == [1]
