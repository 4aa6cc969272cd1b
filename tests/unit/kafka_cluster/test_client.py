"""Asking a cluster, whose answers are what a test says."""

import os
import signal
from concurrent.futures import Future

import pytest

from mk.errors import PeerUnreachableError, TryAgainError
from mk.transport.kafka_address import KafkaAddress

kafka = pytest.importorskip("confluent_kafka")
client = pytest.importorskip("mk.kafka_cluster.client")

MOVES = kafka.KafkaException(kafka.KafkaError(kafka.KafkaError.NOT_LEADER_FOR_PARTITION))


class Answers:
    """Requests that get, one after the other, answers by key; None for no answer, ever."""

    def __init__(self, *rounds):
        self.rounds = list(rounds)
        self.asked = []

    def __call__(self, keys):
        self.asked.append(keys)
        return {key: self._future(answer) for key, answer in zip(keys, self.rounds.pop(0))}

    def _future(self, answer):
        future = Future()
        if isinstance(answer, Exception):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(answer)
        return future


@pytest.fixture
def cluster(monkeypatch):
    """A client of a cluster in which some broker answers, though perhaps not the one to ask."""
    made = client.Client(KafkaAddress("127.0.0.1:1", {}, 2000))
    monkeypatch.setattr(client, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(made, "look_again", lambda: True)
    yield made
    made.close()


def about(key):
    return {"what": f"{key} cannot be told", "key": key}


def test_only_what_was_not_answered_is_asked_again(cluster):
    request = Answers([1, None, MOVES], [2, 3])
    assert cluster.ask(request, "abc", about) == {"a": 1, "b": 2, "c": 3}
    assert request.asked == [["a", "b", "c"], ["b", "c"]]


def test_an_answer_that_comes_late_counts(cluster):
    late = Future()
    rounds = [{"a": late}, {"a": Future()}]

    def request(keys):
        if len(rounds) == 1:
            late.set_result("late")
        return rounds.pop(0)

    assert cluster.ask(request, "a", about) == {"a": "late"}


def test_what_one_broker_does_not_answer_while_others_do_is_for_another_try(cluster):
    request = Answers([None, 1], [None])
    found = cluster.ask(request, "ab", about, again_seconds=0)
    assert found["b"] == 1 and list(found) == ["a", "b"]
    assert isinstance(found["a"], TryAgainError) and found["a"].what == "a cannot be told"


def test_where_nobody_answers_it_is_told_in_time(cluster, monkeypatch):
    monkeypatch.setattr(cluster, "look_again", lambda: False)
    monkeypatch.setattr(cluster, "patience", 0.2)
    with pytest.raises(PeerUnreachableError, match="a cannot be told"):
        cluster.ask(Answers(*[[1, None]] * 1, *[[None]] * 50), "ba", about)


def test_a_change_is_sent_again_only_if_it_was_refused_for_now(cluster, monkeypatch):
    request = Answers([MOVES], ["done"])
    assert cluster.change(lambda: request("a")["a"], "it cannot be changed") == "done"
    monkeypatch.setattr(cluster, "patience", 0.2)
    request = Answers([None], ["twice"])
    with pytest.raises(PeerUnreachableError):
        cluster.change(lambda: request("a")["a"], "it cannot be changed")
    assert len(request.asked) == 1


def test_a_signal_in_the_midst_of_a_request_is_heard_after_it(cluster):
    class Stop(Exception):
        pass

    def stop(number, frame):
        raise Stop

    sent = []

    def request():
        os.kill(os.getpid(), signal.SIGUSR1)
        sent.append(True)
        return Future()

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Stop):
            cluster.ask_one(request, "it cannot be told")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sent == [True]
