"""Topics that a test fills with confluent-kafka, as other programs do, and the commands of mk that read them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import confluent_kafka as kafka
from confluent_kafka import admin

MK = str(Path(sys.executable).with_name("mk"))
SECONDS = 30


class Done:
    """A command that has ended: its status and what it wrote."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def lines(self) -> list[str]:
        return self.out.decode().splitlines()

    def __repr__(self) -> str:
        return f"Done({self.status}, {self.out!r}, {self.err!r})"


class Kafka:
    """A broker as a test of mk uses it."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.words = {**broker.client(), "log_level": 0}
        self.url = f"kafka://{self.words['bootstrap.servers']}"
        self.admin = admin.AdminClient(self.words)
        self._started: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        """Kill what was started and still runs."""
        for process in self._started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def create(self, topic: str, partitions: int = 1, **config: object) -> str:
        # Records of tests are of any time, and a broker removes those that are a week old at once.
        config = {"retention_ms": -1, **config}
        settings = {name.replace("_", "."): str(value) for name, value in config.items()}
        new = admin.NewTopic(topic, partitions, config=settings)
        self.admin.create_topics([new])[topic].result(SECONDS)
        # The controller has made it, of which the broker itself may hear a moment later.
        wait_until(lambda: topic in self.admin.list_topics(timeout=SECONDS).topics)
        return topic

    def write(self, topic: str, records: Iterable[Any], **properties: object) -> None:
        """Write records: values, or the words of Producer.produce in a dict."""
        producer = self.producer(**properties)
        for record in records:
            producer.produce(topic, **(record if isinstance(record, dict) else {"value": record, "partition": 0}))
        assert producer.flush(SECONDS) == 0

    def producer(self, **properties: object) -> kafka.Producer:
        named = {name.replace("_", "."): value for name, value in properties.items()}
        return kafka.Producer({**self.words, "linger.ms": 20, **named})

    def in_transaction(self, topic: str, values: Sequence[bytes], *, commit: bool) -> None:
        producer = self.producer(transactional_id=f"of {topic} {time.monotonic()}")
        producer.init_transactions(SECONDS)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=0)
        producer.flush(SECONDS)
        (producer.commit_transaction if commit else producer.abort_transaction)(SECONDS)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MK_")}
        return {**kept, "MK_DIR": self.url, **more}

    def __call__(self, *words: object, stdin: bytes = b"", timeout: float = 60, **more: str) -> Done:
        """Run `mk` with these words to its end."""
        done = subprocess.run(
            [MK, *map(str, words)], input=stdin, capture_output=True, timeout=timeout, env=self.environment(**more)
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: object, **keywords: Any) -> subprocess.Popen[bytes]:
        """Start `mk` with its output in a pipe, of which nothing is read ahead."""
        keywords = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0, **keywords}
        process = subprocess.Popen([MK, *map(str, words)], env=self.environment(), **keywords)
        self._started.append(process)
        return process


def wait_until(is_so: Any, seconds: float = SECONDS) -> None:
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit, "it did not come to pass"
        time.sleep(0.05)
