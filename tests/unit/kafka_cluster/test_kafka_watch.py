"""How often a wait for a Kafka cluster looks whether somebody else has something to say."""

import os

import pytest

from mk.kafka_cluster import kafka_watch
from mk.kafka_cluster.kafka_watch import KafkaWatch


class Fetcher:
    """To whom nothing comes. steps: for how long it was asked each time. now: the time that this has taken."""

    def __init__(self):
        self.steps = []
        self.now = 0.0

    def begin(self):
        pass

    def take_in(self, seconds):
        self.steps.append(round(seconds, 3))
        self.now += seconds
        return False


@pytest.fixture
def fetcher(monkeypatch):
    fetcher = Fetcher()
    monkeypatch.setattr(kafka_watch, "monotonic", lambda: fetcher.now)
    return fetcher


@pytest.fixture
def pipe():
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    yield ends
    for fd in ends:
        os.close(fd)


def test_a_waker_is_looked_at_ever_more_rarely_while_nothing_comes_and_often_again_when_it_has_spoken(fetcher, pipe):
    waker, alarm = pipe
    watch = KafkaWatch(fetcher)
    watch.add_waker(waker)
    watch.wait(500)
    assert fetcher.steps[0] == 0.01
    assert fetcher.steps == sorted(fetcher.steps[:-1]) + fetcher.steps[-1:]
    watch.wait(2000)
    assert max(fetcher.steps) == 0.1
    fetcher.steps.clear()
    os.write(alarm, b"!")
    watch.wait(500)
    assert fetcher.steps == []
    watch.wait(500)
    assert fetcher.steps[0] == 0.01


def test_patient_wakers_and_none_are_looked_at_as_rarely_as_signals(fetcher, pipe):
    watch = KafkaWatch(fetcher, patient_wakers=1)
    watch.wait(100)
    watch.add_waker(pipe[0])
    watch.wait(100)
    assert fetcher.steps == [0.1, 0.1]
