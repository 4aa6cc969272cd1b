"""Fixtures of all tests: a broker that is shared in turn, and brokers of a test's own. Skipped where there is no Java or Maven."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kafka.authority import Authority
from tests.kafka.broker import Broker, Brokers, run_tool
from tests.kafka.jars import Unavailable

ROOT = Path(__file__).parents[2]
_SIZE = max(2, min(4, os.cpu_count() or 1))
_START_SECONDS = 30


class SharedBroker:
    """A broker that this test has to itself until its end: without topics and groups, to be left as the test likes.

    Who changes settings of the broker itself, or stops it, takes one from `make_broker`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"kafka://{address}"

    def client(self) -> dict[str, str]:
        """Return how a client of librdkafka connects to it."""
        return {"bootstrap.servers": self.address}

    def tool(self, name: str, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run one of Kafka's own tools: `TopicCommand`, `consumer.ConsoleConsumer`. Each takes more than a second."""
        return run_tool(self.address, name, *words, stdin=stdin)


class BrokerPool:
    """The connection of a worker to the pool of its run; see pool.py."""

    def __init__(self, top: Path) -> None:
        """top: a directory that all workers of the run have in common."""
        self._top = top
        self._place: Path | None = None
        self._stay: socket.socket | None = None

    @contextlib.contextmanager
    def lease(self) -> Iterator[SharedBroker]:
        """Give a clean broker for a block. Raises Unavailable."""
        if self._stay is None:
            self._stay = self._connect_or_start()
        with self._ask("lease") as connection, connection.makefile("rb") as stream:
            answer = json.loads(stream.readline() or b'{"broken": "the pool has ended"}')
            if "unavailable" in answer:
                raise Unavailable(answer["unavailable"])
            if "address" not in answer:
                pytest.fail(f"no broker: {answer['broken']}", pytrace=False)
            yield SharedBroker(answer["address"])

    def close(self) -> None:
        if self._stay is not None:
            self._stay.close()

    def _connect_or_start(self) -> socket.socket:
        place = self._top / "kafka-pool"
        with open(self._top / "kafka-pool.lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if place.exists():
                self._place = Path(place.read_text())
                # It ends when all workers that were there have gone.
                with contextlib.suppress(OSError):
                    return self._ask("stay")
            # A directory with a short path, as those of sockets have to be.
            self._place = Path(tempfile.mkdtemp(prefix="mk-kafka-"))
            with open(self._top / "kafka-pool.log", "ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.kafka.pool", str(self._place), str(_SIZE)],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C is for pytest, and the pool sees when that has ended.
                    start_new_session=True,
                )
            limit = time.monotonic() + _START_SECONDS
            while not (self._place / "socket").exists():
                assert process.poll() is None and time.monotonic() < limit, Path(log.name).read_text()
                time.sleep(0.02)
            # It outlives this worker.
            process.returncode = 0
            place.write_text(str(self._place))
            return self._ask("stay")

    def _ask(self, word: str) -> socket.socket:
        assert self._place is not None
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._place / "socket"))
            connection.sendall(f"{word}\n".encode())
        except BaseException:
            connection.close()
            raise
        return connection


@pytest.fixture(scope="session")
def broker_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPool]:
    top = tmp_path_factory.getbasetemp()
    pool = BrokerPool(top.parent if os.environ.get("PYTEST_XDIST_WORKER") else top)
    yield pool
    pool.close()


@pytest.fixture
def broker(broker_pool: BrokerPool) -> Iterator[SharedBroker]:
    """A real Kafka without topics and groups, for this test alone."""
    with skipped_where_unavailable(), broker_pool.lease() as leased:
        yield leased


@pytest.fixture
def make_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Broker]]:
    """Return a function that starts a broker of the test's own, with the words of Broker; killed at the end of the test."""
    made: list[Broker] = []

    def make(**keywords: object) -> Broker:
        with skipped_where_unavailable():
            made.append(Broker(tmp_path_factory.mktemp("broker"), **keywords))  # type: ignore[arg-type]
            made[-1].start()
            return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def make_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Brokers]]:
    """Return a function that starts a cluster, with the words of Brokers; killed at the end of the test."""
    made: list[Brokers] = []

    def make(count: int = 3, **keywords: object) -> Brokers:
        with skipped_where_unavailable():
            made.append(Brokers(tmp_path_factory.mktemp("brokers"), count, **keywords))  # type: ignore[arg-type]
            made[-1].start()
            return made[-1]

    yield make
    for brokers in made:
        brokers.kill()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority for the broker's TLS."""
    with skipped_where_unavailable():
        return Authority(tmp_path)


@contextlib.contextmanager
def skipped_where_unavailable() -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        pytest.skip(f"no Kafka: {error}")
