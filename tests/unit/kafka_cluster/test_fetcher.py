"""Readers of a Kafka cluster over a consumer that a test plays: what is kept, where reading ends, what is said of losses."""

import pytest

pytest.importorskip("confluent_kafka")

from mk.errors import DataError  # noqa: E402  needs the library
from mk.kafka_cluster import fetcher as fetcher_module  # noqa: E402
from mk.kafka_cluster.fetcher import Fetcher, Offsets  # noqa: E402
from mk.kafka_cluster.kafka_reader import KafkaPartitionReader  # noqa: E402


class Message:
    def __init__(self, partition, offset, value=b"v", epoch=0, error=None):
        self._place, self._offset, self._value, self._epoch, self._error = partition, offset, value, epoch, error

    def topic(self):
        return "t"

    def partition(self):
        return self._place

    def offset(self):
        return self._offset

    def value(self):
        return self._value

    def key(self):
        return None

    def headers(self):
        return None

    def timestamp(self):
        return (1, 1000 + self._offset)

    def leader_epoch(self):
        return self._epoch

    def error(self):
        return self._error

    def __len__(self):
        return len(self._value)


class Error:
    def __init__(self, name):
        self._name = name

    def name(self):
        return self._name

    def retriable(self):
        return False


class PlayedConsumer:
    """Gives what the test puts into `coming`, a list of messages a call, and notes what it is told.

    behind: of a partition and an offset, what comes when it is begun there.
    """

    def __init__(self):
        self.coming = []
        self.behind = {}
        self.told = []

    def consume(self, count, timeout):
        return self.coming.pop(0) if self.coming else []

    def poll(self, timeout):
        assert self.coming, "it waits for what nobody has written"
        first, *rest = self.coming.pop(0)
        if rest:
            self.coming.insert(0, rest)
        return first

    def incremental_assign(self, partitions):
        for one in partitions:
            self.told.append(("begin", one.partition, one.offset))
            self.coming += self.behind.pop((one.partition, one.offset), [])

    def incremental_unassign(self, partitions):
        self.told += [("end", one.partition) for one in partitions]

    def close(self):
        self.told.append(("close",))


class PlayedClient:
    location = "kafka://nowhere"
    timeout_seconds = 1

    class kafka:  # noqa: N801  as the library is called
        Message = Message

    def heed(self, error):
        pass

    def heed_nothing(self):
        pass

    def raise_if_denied(self, what):
        pass


class PlayedFetcher(Fetcher):
    def __init__(self):
        super().__init__(PlayedClient())
        self.played = PlayedConsumer()
        self.brokers_say = {}

    def _prepare(self):
        self._consumer = self.played

    def look_up(self, places):
        return {place: self.brokers_say[place] for place in places}


class PlayedTopic:
    name = "t"
    path = "kafka://nowhere/t"

    def check_identity(self):
        pass


@pytest.fixture
def fetcher():
    return PlayedFetcher()


def reader_of(fetcher, partition=0, start=0, end=0):
    fetcher.brokers_say["t", partition] = Offsets(start, end, 0)
    return KafkaPartitionReader(PlayedTopic(), partition, fetcher)


def messages(partition, *offsets, **words):
    return [Message(partition, offset, **words) for offset in offsets]


def offsets(batches):
    return [record.offset for batch in batches for record in batch.records("t", 0)]


def end_at(partition, offset):
    return [Message(partition, offset, error=Error("_PARTITION_EOF"))]


def test_what_comes_of_another_partition_is_kept_for_its_reader(fetcher):
    one, other = reader_of(fetcher, 0, end=2), reader_of(fetcher, 1, end=3)
    fetcher.begin()
    fetcher.played.coming = [[*messages(1, 0, 1), *messages(0, 0, 1), *messages(1, 2)]]
    assert offsets(one.fetch()) == [0, 1]
    assert offsets(other.fetch()) == [0, 1]
    assert offsets(other.fetch()) == [2]
    assert one.fetch() == other.fetch() == []
    assert fetcher.waiting_bytes == 0


def test_holes_are_no_losses_and_offsets_stay_right(fetcher):
    reader = reader_of(fetcher, end=10)
    fetcher.played.coming = [messages(0, 2, 3, 7), end_at(0, 10)]
    (batch,) = reader.fetch()
    assert [record.offset for record in batch.records("t", 0)] == [2, 3, 7]
    assert (batch.record_count, batch.base_offset, batch.next_offset) == (3, 2, 8)
    assert batch.columns() == [[b"v"] * 3, None, [0, 1, 5], None, [0, 1, 5]]
    assert reader.fetch() == []
    assert reader.next_offset == 10
    assert reader.skipped == []


def test_each_batch_has_one_leader_epoch(fetcher):
    reader = reader_of(fetcher, end=5)
    fetcher.played.coming = [[*messages(0, 0, 1, epoch=3), *messages(0, 2, epoch=4), *messages(0, 3, 4, epoch=6)]]
    batches = reader.fetch()
    assert [(batch.leader_epoch, batch.base_offset, batch.record_count) for batch in batches] == [
        (3, 0, 2),
        (4, 2, 1),
        (6, 3, 2),
    ]
    assert reader.leader_epoch == 6


def test_an_end_below_what_was_told_is_no_end(fetcher):
    """A new leader may know less for a moment."""
    reader = reader_of(fetcher, end=4)
    fetcher.played.coming = [messages(0, 0, 1), end_at(0, 2), messages(0, 2, 3)]
    assert offsets(reader.fetch()) == [0, 1]
    assert offsets(reader.fetch()) == [2, 3]


def test_what_was_removed_before_it_was_read_is_noted_behind_what_arrived(fetcher):
    reader = reader_of(fetcher, end=10)
    fetcher.brokers_say["t", 0] = Offsets(6, 10, 0)
    fetcher.played.coming = [[*messages(0, 0, 1), Message(0, 2, error=Error("_AUTO_OFFSET_RESET"))]]
    fetcher.played.behind = {(0, 6): [messages(0, 6, 7, 8, 9)]}
    assert offsets(reader.fetch()) == [0, 1]
    assert offsets(reader.fetch()) == [6, 7, 8, 9]
    assert reader.skipped == [(2, 5)]
    assert fetcher.played.told[-1] == ("begin", 0, 6)


@pytest.mark.parametrize("how", ["_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE", "_LOG_TRUNCATION"])
def test_a_log_that_was_cut_back_is_an_error_and_can_be_read_on(fetcher, how):
    reader = reader_of(fetcher, end=10)
    fetcher.brokers_say["t", 0] = Offsets(0, 1, 0)
    fetcher.played.coming = [[*messages(0, 0, 1), Message(0, 2, error=Error(how))]]
    assert offsets(reader.fetch()) == [0, 1]
    with pytest.raises(DataError, match="cut back to offset 1"):
        reader.fetch()
    assert (reader.next_offset, reader.high_watermark) == (1, 1)


def test_what_is_on_its_way_from_before_a_seek_is_not_taken_for_what_comes(fetcher):
    reader = reader_of(fetcher, end=100)
    fetcher.played.coming = [messages(0, 0, 1)]
    assert offsets(reader.fetch()) == [0, 1]
    reader.seek(50)
    fetcher.played.coming = [messages(0, 2, 3)]
    fetcher.played.behind = {(0, 50): [messages(0, 50, 51)]}
    fetcher.take_in(1)
    assert fetcher.played.told == [("begin", 0, 0), ("end", 0)]
    assert offsets(reader.fetch()) == [50, 51]
    assert fetcher.played.told[-1] == ("begin", 0, 50)


def test_a_partition_of_which_too_much_waits_is_let_go_of_and_read_on_where_it_was(fetcher, monkeypatch):
    monkeypatch.setattr(fetcher_module, "_MOST_WAITING_BYTES", 8000)
    slow, fast = reader_of(fetcher, 0, end=1), reader_of(fetcher, 1, end=100)
    fetcher.begin()
    fetcher.played.coming = [messages(1, number) for number in range(40)] + [messages(0, 0)]
    assert offsets(slow.fetch()) == [0]
    kept = fast.waiting_bytes
    assert 8000 < kept < 9000
    assert ("end", 1) in fetcher.played.told
    found = []
    while fast.waiting_bytes:
        found += offsets(fast.fetch())
    assert found == list(range(len(found)))
    fetcher.played.behind = {(1, len(found)): [messages(1, *range(len(found), 100))]}
    found += offsets(fast.fetch())
    assert found == list(range(100))


def test_what_still_comes_of_a_partition_that_was_let_go_of_is_nobody_elses(fetcher):
    one, other = reader_of(fetcher, 0, end=2), reader_of(fetcher, 1, end=50)
    fetcher.begin()
    other.seek(20)
    fetcher.played.coming = [
        [*messages(1, 0, 1), *end_at(1, 50), *messages(1, 2)],
        messages(1, 3),
        messages(0, 0, 1),
    ]
    assert offsets(one.fetch()) == [0, 1]


def test_reading_backward_gives_each_record_once_and_covers_the_holes(fetcher):
    reader = reader_of(fetcher, end=300)
    fetcher.played.behind = {(0, 44): [messages(0, 50, 60, 299)], (0, 0): [messages(0, 40, 41, 50, 60)]}
    found, above = [], 300
    for stored in reader.batches_backward(300):
        batch = stored.load()
        assert batch.next_offset <= above
        above = batch.base_offset
        found += [record.offset for record in batch.records("t", 0)][::-1]
    assert found == [299, 60, 50, 41, 40]
    assert above == 0
    assert reader.next_offset == 0


def test_the_last_reader_closes_the_connections(fetcher):
    one, other = reader_of(fetcher, 0, end=2), reader_of(fetcher, 1, end=2)
    fetcher.begin()
    one.close()
    assert ("close",) not in fetcher.played.told
    other.close()
    assert fetcher.played.told[-1] == ("close",)
