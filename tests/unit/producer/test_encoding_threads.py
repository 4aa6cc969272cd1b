"""Batches that are compressed beside the reading of the next."""

import _thread
import os
import signal
import threading
from pathlib import Path

import pytest

import mk
from mk.producer import encoding_threads
from mk.producer.encoding_threads import EncodingJob, hand_over

LINES = [b"".join(b"%d of batch %d\n" % (number, batch) for number in range(20_000)) for batch in range(12)]
"""Each makes a batch of its own."""


@pytest.fixture
def processors(monkeypatch):
    """Have two, wherever this runs, and threads that begin anew."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(encoding_threads, "_pid", 0)


def produce(path, blocks):
    with mk.connect(path) as cluster, cluster.producer("t", compression="zstd") as producer:
        for block in blocks:
            producer.send_lines(block)


def values(path):
    with mk.connect(path) as cluster, cluster.consumer(["t"]) as consumer:
        return b"".join(record.value + b"\n" for record in consumer)


@pytest.fixture
def path(tmp_path):
    with mk.connect(tmp_path / "log", create=True) as cluster:
        cluster.create_topic("t")
    return tmp_path / "log"


def test_a_job_is_done_once_by_whoever_comes_first():
    done = []
    job = EncodingJob(lambda: done.append(threading.get_ident()) or "batch")
    threads = [threading.Thread(target=job.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert job.batch() == "batch"
    for thread in threads:
        thread.join()
    assert len(done) == 1


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_what_a_job_raises_comes_to_who_wants_its_batch(is_elsewhere):
    def encode():
        raise MemoryError("too much")

    job = EncodingJob(encode)
    if is_elsewhere:
        thread = threading.Thread(target=job.run)
        thread.start()
        thread.join()
    with pytest.raises(MemoryError, match="too much"):
        job.batch()


@pytest.mark.usefixtures("processors")
def test_another_thread_does_what_is_handed_over():
    done = threading.Event()
    job = EncodingJob(lambda: done.set() or threading.get_ident())
    hand_over(job)
    assert done.wait(10)
    assert job.batch() != threading.get_ident()


def test_with_one_processor_nobody_is_started(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    monkeypatch.setattr(encoding_threads, "_pid", 0)
    before = _thread._count()
    job = EncodingJob(threading.get_ident)
    hand_over(job)
    assert job.batch() == threading.get_ident()
    assert _thread._count() == before


@pytest.mark.usefixtures("processors")
def test_batches_keep_their_order(path):
    produce(path, LINES)
    assert values(path) == b"".join(LINES)


@pytest.mark.usefixtures("processors")
def test_a_child_of_a_process_that_has_threads_gets_its_own(path):
    produce(path, LINES[:3])
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # Waiting for its parent's threads, it would wait for ever.
        try:
            produce(path, LINES[3:6])
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert values(path) == b"".join(LINES[:6])


@pytest.mark.usefixtures("processors")
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="asks /proc what a thread blocks")
def test_no_signal_goes_to_a_thread():
    before = set(os.listdir("/proc/self/task"))
    hand_over(EncodingJob(int))
    for task in set(os.listdir("/proc/self/task")) - before:
        status = Path(f"/proc/self/task/{task}/status").read_text()
        (blocked,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
            assert int(blocked, 16) >> (number - 1) & 1, number
