"""The Python API of producers with an id: counting, going back after an error, threads and forks."""

import os
import threading

import pytest

import mk
from mk.errors import DiskFullError, UsageError
from mk.storage import files

NAME = "import-7"


@pytest.fixture
def cluster(tmp_path):
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t", partitions=3)
        yield cluster


def open_producer(cluster, **keywords):
    return cluster.producer("t", producer_id=NAME, **keywords)


def values(cluster):
    return sorted(int(record.value) for record in cluster.consumer(["t"]))


def send(producer, numbers):
    for number in numbers:
        producer.send(b"%d" % number, b"k%d" % (number % 10) if number % 3 else None)


def test_each_way_of_sending_counts_the_same_input(cluster):
    """Begun one by one, gone on with as columns, ended as lines, and run again each way."""
    keys = [b"k%d" % (number % 10) for number in range(90)]
    data = [b"%d" % number for number in range(90)]
    with open_producer(cluster) as producer:
        for key, value in zip(keys[:20], data[:20], strict=True):
            producer.send(value, key)
        producer.flush()
        producer.send_keyed(keys[20:50], data[20:50])
        assert producer.next_sequence == 50
    with open_producer(cluster) as producer:
        producer.send_keyed(keys[:30], data[:30])
        for key, value in zip(keys[30:70], data[30:70], strict=True):
            producer.send(value, key)
        producer.flush()
        assert (producer.records_stored_before, producer.records_stored) == (50, 20)
    with open_producer(cluster) as producer:
        producer.send_keyed(keys, data)
    assert values(cluster) == list(range(90))
    for partition in range(3):
        found = [int(record.value) for record in cluster.consumer(["t"], partitions=[partition])]
        assert found == sorted(found)


def test_lines_are_cut_where_the_stored_ones_end(cluster):
    lines = [b"%d\n" % number for number in range(100)]
    with open_producer(cluster, compression="zstd") as producer:
        producer.send_lines(b"".join(lines[:37]))
    with open_producer(cluster) as producer:
        producer.send_lines(b"".join(lines[:30]), 30)
        producer.send_lines(memoryview(b"".join(lines[30:60])))
        producer.send_lines(b"".join(lines[60:]))
        producer.flush()
        assert (producer.records_stored_before, producer.records_stored) == (37, 63)
    assert values(cluster) == list(range(100))


def test_two_producers_in_turn_leave_nothing_out(cluster):
    """Each has opened the partition before the other appends, so what is left out is found under the lock."""
    with open_producer(cluster) as first, open_producer(cluster) as second:
        for producer, count in ((first, 7), (second, 3), (second, 9), (first, 2), (second, 20), (first, 30)):
            send(producer, range(producer.next_sequence, producer.next_sequence + count))
            producer.flush()
        assert first.records_stored + second.records_stored == 39
        assert first.records_stored_before + second.records_stored_before == 39 + 32 - 39
    assert values(cluster) == list(range(39))


def test_a_buffer_that_fills_while_records_are_routed(cluster):
    """Some partitions are appended to before others have got their records of the same call."""
    keys = [b"k%d" % (number % 50) for number in range(3000)]
    data = [b"%d" % number + b" " * 9000 for number in range(3000)]
    for count in (1500, 3000):
        with open_producer(cluster) as producer:
            for at in range(0, count, 300):
                producer.send_keyed(keys[at : at + 300], data[at : at + 300])
    assert values(cluster) == list(range(3000))


def test_skipped_records_keep_their_numbers(cluster):
    with open_producer(cluster) as producer:
        send(producer, [0, 1])
        producer.skip_sequences(3)
        send(producer, [5])
        assert producer.next_sequence == 6
    with open_producer(cluster) as producer:
        send(producer, [0, 1])
        producer.skip_sequences(3)
        send(producer, [5, 6])
    assert values(cluster) == [0, 1, 5, 6]


def test_the_next_sequence_can_be_set(cluster):
    with open_producer(cluster) as producer:
        producer.next_sequence = 100
        send(producer, range(100, 110))
        producer.next_sequence = 105
        send(producer, range(105, 115))
    assert values(cluster) == list(range(100, 115))
    assert cluster.producer("t").next_sequence == -1
    with pytest.raises(ValueError):
        cluster.producer("t").next_sequence = 3


def test_after_an_error_nothing_follows_before_what_was_lost_is_sent_again(cluster, monkeypatch):
    def refuse(fd, buffers):
        raise OSError(28, "No space left on device")

    with open_producer(cluster) as producer:
        send(producer, range(5))
        producer.flush()
        with monkeypatch.context() as patch:
            patch.setattr(files, "append", refuse)
            send(producer, range(5, 10))
            with pytest.raises(DiskFullError):
                producer.flush()
        for again in (lambda: send(producer, [10]), producer.flush, lambda: producer.send_lines(b"10\n")):
            with pytest.raises(ValueError, match="records from 5 on were not stored"):
                again()
        with pytest.raises(ValueError):
            producer.next_sequence = 6
        producer.next_sequence = 4
        send(producer, range(4, 12))
        producer.flush()
        assert (producer.records_stored, producer.records_stored_before) == (12, 1)
    assert values(cluster) == list(range(12))


def test_threads_share_one_count(cluster):
    with open_producer(cluster) as producer:
        threads = [threading.Thread(target=send, args=(producer, range(at, 300, 3))) for at in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert producer.next_sequence == 300
    assert values(cluster) == list(range(300))


def test_a_fork_cannot_go_on_counting(cluster):
    with open_producer(cluster) as producer:
        send(producer, range(3))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                producer.send(b"3")
            except ValueError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        send(producer, range(3, 6))
    assert values(cluster) == list(range(6))


@pytest.mark.parametrize("name", ["", "tab\t", "x" * 201])
def test_a_name_that_cannot_be_is_refused(cluster, name):
    with pytest.raises(UsageError):
        cluster.producer("t", producer_id=name)
