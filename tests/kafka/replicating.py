"""A cluster and directories, as tests of `mk replicate` use them: the command itself, and what is in both by other means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import confluent_kafka as kafka
from confluent_kafka import admin

import mk as api

MK = str(Path(sys.executable).with_name("mk"))
SECONDS = 30

Row = tuple[Any, ...]
"""Partition, key, value, headers and time of a record."""


class Done:
    """A command that has ended: its status and what it wrote."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status, self.out, self.err = status, out, err.decode()

    def __repr__(self) -> str:
        return f"Done({self.status}, {self.out[:500]!r}, {self.err})"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MK_")}


def run(*words: object, stdin: bytes = b"", timeout: float = 120) -> Done:
    """Run `mk` with these words to its end."""
    done = subprocess.run(
        [MK, *map(str, words)], input=stdin, capture_output=True, timeout=timeout, env=environment(), check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def start(*words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [MK, *map(str, words)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


def replicated(source: object, target: object, *words: object) -> str:
    """Replicate, which must succeed, and return what it said."""
    done = run("replicate", source, target, *words)
    assert done.status == 0, done
    return done.err


def events(source: object, target: object, *words: object) -> list[dict[str, Any]]:
    done = run("replicate", source, target, "--json", *words)
    return [json.loads(line) for line in done.out.splitlines()]


class Cluster:
    """A broker, looked at by the library itself."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.url = f"kafka://{broker.address}"
        self.words = {**broker.client(), "log_level": 0}
        self.admin = admin.AdminClient(self.words)

    def create(self, topic: str, partitions: int = 1, **config: object) -> None:
        settings = {name.replace("_", "."): str(value) for name, value in config.items()}
        self.admin.create_topics([admin.NewTopic(topic, partitions, config=settings)])[topic].result(SECONDS)

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(SECONDS)
        wait_until(lambda: topic not in self.admin.list_topics(timeout=SECONDS).topics)

    def write(self, topic: str, rows: Iterable[Row], *, transaction: str = "") -> None:
        """Produce rows; transaction: "commit" or "abort" all of them in one."""
        words = {"transactional.id": f"test-{time.monotonic()}"} if transaction else {}
        producer = kafka.Producer({**self.words, "linger.ms": 20, **words})
        if transaction:
            producer.init_transactions(SECONDS)
            producer.begin_transaction()
        for partition, key, value, headers, time_ms in rows:
            pairs = [(name.decode(), text) for name, text in headers]
            producer.produce(topic, value, key, partition, headers=pairs, timestamp=time_ms)
        assert producer.flush(SECONDS) == 0
        if transaction == "commit":
            producer.commit_transaction(SECONDS)
        elif transaction:
            producer.abort_transaction(SECONDS)

    def read(self, topic: str, partitions: int = 1) -> list[list[Row]]:
        """Return the committed rows of each partition."""
        return [[row for _, row in found] for found in self.read_with_offsets(topic, partitions)]

    def read_with_offsets(self, topic: str, partitions: int = 1) -> list[list[tuple[int, Row]]]:
        consumer = kafka.Consumer(
            {
                **self.words,
                "group.id": "test",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        rows: list[list[tuple[int, Row]]] = [[] for _ in range(partitions)]
        try:
            consumer.assign(
                [kafka.TopicPartition(topic, partition, kafka.OFFSET_BEGINNING) for partition in range(partitions)]
            )
            left = partitions
            while left:
                for message in consumer.consume(10_000, 0.05):
                    if message.error() is not None:
                        assert message.error().name() == "_PARTITION_EOF", message.error()
                        left -= 1
                        continue
                    headers = tuple((name.encode(), value) for name, value in message.headers() or ())
                    number = message.partition()
                    row = number, message.key(), message.value(), headers, message.timestamp()[1]
                    rows[number].append((message.offset(), row))
            return rows
        finally:
            consumer.close()

    def committed(self, group: str, topic: str, partition: int = 0) -> int:
        consumer = kafka.Consumer({**self.words, "group.id": group})
        try:
            return int(consumer.committed([kafka.TopicPartition(topic, partition)], SECONDS)[0].offset)
        finally:
            consumer.close()

    def commit(self, group: str, topic: str, offset: int, partition: int = 0) -> None:
        consumer = kafka.Consumer({**self.words, "group.id": group})
        try:
            consumer.commit(offsets=[kafka.TopicPartition(topic, partition, offset)], asynchronous=False)
        finally:
            consumer.close()


def fill(directory: object, topic: str, rows: Sequence[Row], *, partitions: int = 1, batch: int = 100) -> None:
    """Store rows in a directory, in batches of about so many."""
    with api.connect(str(directory), create=True) as cluster:
        if topic not in cluster.topic_names():
            # Kafka goes by the times of records, and removes old ones within seconds.
            cluster.create_topic(topic, partitions=partitions, config={"retention.ms": -1})
        for at in range(0, len(rows), batch):
            with cluster.producer(topic) as producer:
                for partition, key, value, headers, time_ms in rows[at : at + batch]:
                    producer.send(value, key, headers, time_ms, partition)


def rows_of(directory: object, topic: str, partitions: int = 1) -> list[list[Row]]:
    """Return the rows of each partition in a directory."""
    rows: list[list[Row]] = [[] for _ in range(partitions)]
    with api.connect(str(directory)) as cluster, cluster.consumer([topic]) as consumer:
        for record in consumer:
            row = record.partition, record.key, record.value, record.headers, record.timestamp_ms
            rows[record.partition].append(row)
    return rows


def wait_until(is_so: Any, seconds: float = SECONDS) -> None:
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit, "it did not come to pass"
        time.sleep(0.05)


def once(function: Callable[..., Any], before: Callable[[], None]) -> Callable[..., Any]:
    """Return a function that does what another one does, and something before it the first time."""
    done: list[bool] = []

    def called(*words: Any, **named: Any) -> Any:
        if not done:
            done.append(True)
            before()
        return function(*words, **named)

    return called
