"""The brokers that all tests of a run share: `python -m tests.kafka.pool DIRECTORY SIZE`, a process that the first who wants one starts.

Who connects to `socket` in the directory sends a line. `stay` keeps the pool alive. `lease` is answered by a line of JSON:
the `address` of a broker without topics and groups, for this connection alone; or why there is none, `unavailable` where
something is not installed, `broken` else. What the test has left behind is deleted when its connection has closed, and when
none is open the pool stops its brokers and ends: however a test run ends, the kernel closes its connections.

MK_TEST_KAFKA=host:port is a broker that runs already, the only one then. It must be without topics: tests delete them all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.kafka.broker import Broker, NoBroker
from tests.kafka.jars import Unavailable

_CLEAN_SECONDS = 2.0
"""Of a broker of our own, which costs less to start anew than to wait until the members of a group have timed out."""
_CLEAN_OTHERS_SECONDS = 60.0
_FIRST_SECONDS = 60
"""How long a pool is there for nobody."""


class Slot:
    """A broker that nobody uses, or one test. Its thread waits until it is given back."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_free_again = threading.Event()


class Pool:
    """Brokers, each with a thread that starts, cleans and stops it."""

    def __init__(self, top: Path, size: int, others: str = "") -> None:
        """others: the address of the one that is used instead of brokers of our own."""
        self._top = top
        self._size = 1 if others else size
        self._others = others
        self._changed = threading.Condition()
        self._idle: list[Slot] = []
        self._threads: list[threading.Thread] = []
        self._answer: dict[str, str] = {}
        self._is_closed = False

    def lease(self) -> Slot | dict[str, str]:
        """Wait for a clean broker; or return why there will be none."""
        with self._changed:
            if not self._idle and len(self._threads) < self._size and not self._answer:
                # It starts the process, which would die with a thread that ends before it.
                thread = threading.Thread(target=self._tend, args=(len(self._threads),))
                self._threads.append(thread)
                thread.start()
            self._changed.wait_for(lambda: self._idle or self._answer)
            return self._idle.pop(0) if self._idle else self._answer

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            for slot in self._idle:
                slot.is_free_again.set()
        for thread in self._threads:
            thread.join()

    def _tend(self, number: int) -> None:
        try:
            if self._others:
                self._tend_others()
            generation = 0
            while not self._others and not self._is_closed:
                generation += 1
                self._tend_one(self._top / f"{number}-{generation}")
        except Unavailable as error:
            self._give_up("unavailable", error)
        except Exception as error:
            self._give_up("broken", error)

    def _tend_one(self, top: Path) -> None:
        top.mkdir()
        # Tests have records of 1970, which a broker would remove as too old while it is looked at.
        broker = Broker(top, settings={"log.retention.ms": -1})
        try:
            broker.start()
            cleaner = _Cleaner(broker.address)
            while cleaner.clean(_CLEAN_SECONDS) and not self._is_closed:
                self._offer(broker.address)
        finally:
            broker.kill()
            shutil.rmtree(top, ignore_errors=True)

    def _tend_others(self) -> None:
        with open(Path(tempfile.gettempdir()) / f"mk-test-kafka-{self._others}.lock", "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NoBroker("another run of the tests uses the broker of MK_TEST_KAFKA") from None
            cleaner = _Cleaner(self._others)
            if topics := cleaner.topics():
                raise NoBroker(
                    f"the broker of MK_TEST_KAFKA has topics, and tests delete all: {', '.join(topics)[:200]}"
                )
            while not self._is_closed:
                if not cleaner.clean(_CLEAN_OTHERS_SECONDS):
                    raise NoBroker("topics and groups of a test do not go away from the broker of MK_TEST_KAFKA")
                self._offer(self._others)

    def _offer(self, address: str) -> None:
        """Return when a test has used it, or the pool is closed."""
        slot = Slot(address)
        with self._changed:
            if self._is_closed:
                return
            self._idle.append(slot)
            self._changed.notify()
        slot.is_free_again.wait()

    def _give_up(self, kind: str, error: Exception) -> None:
        with self._changed:
            self._answer = {kind: str(error) or repr(error)}
            self._changed.notify_all()


class _Cleaner:
    """A connection to a broker that looks for what tests have left there. Raises NoBroker, Unavailable."""

    def __init__(self, address: str) -> None:
        try:
            from confluent_kafka.admin import AdminClient
        except ImportError:
            raise Unavailable("confluent-kafka is not installed") from None
        # What it cannot say to anybody it would say on stderr.
        self._admin = AdminClient({"bootstrap.servers": address, "log_level": 0})

    def topics(self) -> list[str]:
        """Return the names of all topics but Kafka's own."""
        from confluent_kafka import KafkaException

        try:
            return sorted(name for name in self._admin.list_topics(timeout=20).topics if not name.startswith("__"))
        except KafkaException as error:
            raise NoBroker(f"the broker does not answer: {error}") from None

    def clean(self, seconds: float) -> bool:
        """Delete all topics and groups; tells whether they are gone within some seconds, which members that live prevent."""
        limit = time.monotonic() + seconds
        while True:
            topics, groups = self.topics(), self._groups()
            if not topics and not groups:
                return True
            if time.monotonic() > limit:
                return False
            waits = [*self._admin.delete_topics(topics).values()] if topics else []
            waits += self._admin.delete_consumer_groups(groups).values() if groups else []
            for wait in waits:
                # Another look tells whether it went.
                with contextlib.suppress(Exception):
                    wait.result()
            time.sleep(0.02)

    def _groups(self) -> list[str]:
        return [group.group_id for group in self._admin.list_consumer_groups().result().valid]


class _Users:
    """The connections to a pool, and who waits until none is left."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._changed = threading.Condition()
        self._open = 0
        self._were_there = False

    def serve(self, listener: socket.socket) -> None:
        """Serve whoever comes, until all have gone."""
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._were_there, _FIRST_SECONDS)
            self._changed.wait_for(lambda: not self._open)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with self._changed:
                self._open += 1
                self._were_there = True
                self._changed.notify_all()
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rwb") as stream:
            leased = self._pool.lease() if stream.readline() == b"lease\n" else {}
            answer = {"address": leased.address} if isinstance(leased, Slot) else leased
            try:
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
                stream.read()
            finally:
                if isinstance(leased, Slot):
                    leased.is_free_again.set()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()


def main(directory: str, size: str) -> None:
    top = Path(directory)
    pool = Pool(top, int(size), os.environ.get("MK_TEST_KAFKA", ""))
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(top / "socket.new"))
            listener.listen(64)
            # Who sees it can connect.
            os.rename(top / "socket.new", top / "socket")
            _Users(pool).serve(listener)
    finally:
        pool.close()
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
