"""What the library cannot do where a handler of a signal runs: make a request, and be tidied up."""

import os
import signal
import threading

import pytest

pytest.importorskip("confluent_kafka")

from mk.kafka_cluster.client import Client  # noqa: E402  needs the library
from mk.kafka_cluster.copy_writer import CopyProducer  # noqa: E402
from mk.kafka_cluster.kafka_sender import KafkaSender  # noqa: E402
from mk.kafka_cluster.signal_shelter import sheltered  # noqa: E402
from mk.transport.kafka_address import parse_kafka_address  # noqa: E402


class Fake:
    """A producer or consumer. gone: of those that were tidied up, whether a signal could have been handled then."""

    def __init__(self, gone):
        self.gone = gone

    def __del__(self):
        is_let_in = signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.gone.append(is_let_in and threading.current_thread() is threading.main_thread())

    def init_transactions(self, timeout):
        pass

    def list_topics(self, topic, timeout):
        pass

    def close(self):
        pass


@pytest.fixture(params=["alone", "beside another thread"], autouse=True)
def threads(request):
    """Of a signal that one thread does not let in, another one is told."""
    is_over = threading.Event()
    other = threading.Thread(target=is_over.wait)
    if request.param != "alone":
        other.start()
    yield
    is_over.set()
    if request.param != "alone":
        other.join()


@pytest.fixture
def client(monkeypatch):
    client = Client(parse_kafka_address("kafka://127.0.0.1:1"))
    monkeypatch.setattr(client, "new_consumer", lambda **properties: Fake([]))
    yield client
    client.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda client: KafkaSender(client, "t", acks=0, compression=None, max_message_bytes=1_000_000),
        lambda client: CopyProducer(client, "t", max_bytes=1_000_000),
    ],
    ids=["produce", "replicate"],
)
def test_a_producer_is_gone_when_it_is_closed_and_where_no_signal_is_handled(client, monkeypatch, make):
    gone = []
    monkeypatch.setattr(client, "new_producer", lambda **properties: Fake(gone))
    made = make(client)
    assert not gone
    made.close()
    assert gone == [False]
    made.close()


def test_so_is_the_client_for_requests(client, monkeypatch):
    gone = []
    monkeypatch.setattr(client, "_made", lambda kind, properties: Fake(gone))
    assert client.admin is client.admin
    client.close()
    assert gone == [False]
    client.close()


def test_what_a_handler_raises_is_raised_behind_the_call():
    class Stop(Exception):
        pass

    def stop(number, frame):
        raise Stop

    done = []

    def request():
        os.kill(os.getpid(), signal.SIGUSR1)
        done.append(True)

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        for number in range(1, 50):
            with pytest.raises(Stop):
                sheltered(request)
            assert len(done) == number
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_a_call_raises_and_returns_is_what_it_would_be_here():
    assert sheltered(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        sheltered(lambda: 1 / 0)
