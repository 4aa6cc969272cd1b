"""One producer used from several threads, after a time-out, and on both sides of a fork."""

import _thread
import os
import threading
import time
from pathlib import Path

import pytest

import mk
from mk.errors import LockTimeoutError


@pytest.fixture
def cluster(tmp_path: Path):
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t")
        yield cluster


def values(cluster: mk.Cluster) -> "list[bytes]":
    return [record.value for record in cluster.consumer(["t"])]


def lock_of(cluster: mk.Cluster) -> Path:
    (path,) = Path(cluster.location, "locks").glob("*/0")
    return path


def test_threads_that_share_a_producer_lose_and_double_nothing(cluster: mk.Cluster) -> None:
    def send(name: bytes) -> None:
        for number in range(100):
            producer.send(b"%b %d" % (name, number))
            producer.flush()

    with cluster.producer("t") as producer:
        threads = [threading.Thread(target=send, args=(name,)) for name in (b"a", b"b", b"c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert producer.records_stored == 300
    assert sorted(values(cluster)) == sorted(b"%b %d" % (name, n) for name in (b"a", b"b", b"c") for n in range(100))


def test_a_retry_after_a_time_out_does_not_share_the_lock_with_the_waiter_that_was_given_up(
    cluster: mk.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    from mk.storage import locks

    monkeypatch.setattr(locks, "_wait", locks._acquire_in_thread)  # As beside another thread.

    with cluster.producer("t", lock_wait_ms=20) as producer, open(lock_of(cluster), "r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        producer.send(b"first")
        threads = _thread._count()
        with pytest.raises(LockTimeoutError):
            producer.flush()
        (log,) = producer._logs.values()
        fcntl.flock(holder, fcntl.LOCK_UN)
        # The waiter that was given up gets the lock now, and lets it go: on an open file that nobody else uses.
        fcntl.flock(log._lock_fd, fcntl.LOCK_EX)
        deadline = time.monotonic() + 0.2  # Unless we were faster: then it waits on.
        while _thread._count() > threads and time.monotonic() < deadline:
            time.sleep(0.001)
        with pytest.raises(BlockingIOError):
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(log._lock_fd, fcntl.LOCK_UN)
        producer.send(b"second")
        producer.flush()
    assert values(cluster) == [b"second"]


def test_children_of_a_fork_take_locks_of_their_own_and_leave_what_waits_to_the_parent(cluster: mk.Cluster) -> None:
    producer = cluster.producer("t")
    producer.send(b"before")
    producer.flush()
    producer.send(b"waiting")
    children = []
    for child in range(3):
        if (pid := os.fork()) == 0:
            for number in range(50):
                producer.send(b"%d %d" % (child, number))
                producer.flush()
            os._exit(0 if producer.records_stored == 51 else 1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    producer.flush()
    producer.close()
    expected = [b"before", b"waiting", *(b"%d %d" % (child, n) for child in range(3) for n in range(50))]
    assert sorted(values(cluster)) == sorted(expected)


@pytest.mark.parametrize(
    "send",
    [
        lambda producer: producer.send(b"v", headers=(("name", b"text"),)),
        lambda producer: producer.send(b"v", headers=((b"name", "text"),)),
        lambda producer: producer.send(b"v", headers=((None, b"no name"),)),
        lambda producer: producer.send(b"v", timestamp_ms=1.5),
        lambda producer: producer.send(b"v", timestamp_ms=1 << 63),
        lambda producer: producer.send_keyed(["text"], [b"v"]),
        lambda producer: producer.send_keyed([b"k"], [b"v", b"w"]),
        lambda producer: producer.send_lines(b"no newline"),
        lambda producer: producer.send_lines(b"v\n", key="text"),
    ],
)
def test_what_could_not_be_read_is_refused_before_it_waits_with_others(cluster: mk.Cluster, send) -> None:
    with cluster.producer("t") as producer:
        producer.send(b"good")
        with pytest.raises((TypeError, ValueError)):
            send(producer)
        producer.send_lines(b"")
    assert values(cluster) == [b"good"]


def test_a_closed_producer_says_so(cluster: mk.Cluster) -> None:
    producer = cluster.producer("t")
    producer.close()
    with pytest.raises(ValueError, match="closed"):
        producer.send(b"v")


def test_a_topic_whose_name_another_one_has_stays_refused(cluster: mk.Cluster) -> None:
    producer = cluster.producer("t")
    cluster.delete_topic("t")
    cluster.create_topic("t")
    for _ in range(2):
        producer.send(b"v")
        with pytest.raises(mk.MkError) as caught:
            producer.flush()
        assert caught.value.exit_status == 66
    producer.close()
    assert values(cluster) == []


def test_a_child_that_is_forked_while_another_thread_appends_does_not_wait_for_it(cluster: mk.Cluster) -> None:
    import fcntl

    with cluster.producer("t") as producer, open(lock_of(cluster), "r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        producer.send(b"parent")
        thread = threading.Thread(target=producer.flush)
        thread.start()
        while " -> " not in Path("/proc/locks").read_text():
            time.sleep(0.001)
        if (pid := os.fork()) == 0:
            holder.close()
            producer.send(b"child")
            producer.flush()
            os._exit(0)
        fcntl.flock(holder, fcntl.LOCK_UN)
        thread.join()
        deadline = time.monotonic() + 20
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, 9)
            time.sleep(0.01)
    assert sorted(values(cluster)) == [b"child", b"parent"]
