"""Processes of Apache Kafka on loopback: as they come, with passwords, TLS, rules of access or other settings, and three of them.

A Broker is broker and controller in one, with its files in a directory of the test's own. It dies with the process that
started it, whatever becomes of that. It has two listeners: `address`, for the clients of the test, as safe as asked for,
and `open_address` without any safety, for the brokers among themselves and for whoever looks behind the scenes.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.kafka.authority import Authority
from tests.kafka.jars import jars, java

START_SECONDS = 60
STOP_SECONDS = 20
_ARCHIVE_SECONDS = 120
_CLUSTER_ID = "bWstdGVzdHMtY2x1c3RlcjE"
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
# The client compiler alone: tests end before the other one has earned its time.
# What Java itself has to say would be in the output of the tools.
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms64m", "-Xmx384m", "-Xlog:disable")
_STARTED = b"Kafka Server started"
_LOGGING = """
Configuration:
  Appenders:
    Console: {name: OUT, PatternLayout: {pattern: "%d %p %m (%c)%n"}}
  Loggers:
    Root: {level: warn, AppenderRef: {ref: OUT}}
    Logger: {name: kafka.server.KafkaRaftServer, level: info}
"""

SETTINGS: Mapping[str, object] = {
    "num.partitions": 1,
    "default.replication.factor": 1,
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    # One that was killed is let in again when its session has ended.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    # What takes minutes in production, within seconds.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "group.consumer.min.session.timeout.ms": 1000,
    "group.consumer.min.heartbeat.interval.ms": 200,
    "log.initial.task.delay.ms": 500,
    "log.retention.check.interval.ms": 2000,
    "log.segment.delete.delay.ms": 1000,
    "log.cleaner.backoff.ms": 500,
    "log.cleaner.dedupe.buffer.size": 16 << 20,
    # Small, as the machine that runs tests is.
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
    "num.recovery.threads.per.data.dir": 1,
}
"""Of every broker, unless the test says otherwise."""


class NoBroker(Exception):
    """Kafka does not start; says what it said last."""


class Broker:
    """A process of Kafka that a test stops, kills and starts again, on the same ports and data.

    address: `host:port`, as MK_DIR=kafka://host:port has it. log: the file with what it says.
    """

    def __init__(
        self,
        top: Path,
        *,
        users: Mapping[str, str] | None = None,
        authority: Authority | None = None,
        needs_certificate: bool = False,
        acls: bool = False,
        settings: Mapping[str, object] | None = None,
        node_id: int = 1,
        voters: Mapping[int, tuple[int, int, int]] | None = None,
    ) -> None:
        """Say what it is to be; `start` starts it.

        Args:
            top: an empty directory, for its files.
            users: names and passwords that are let in, by PLAIN and both kinds of SCRAM; nobody else is.
            authority: it speaks TLS, with a certificate of this one.
            needs_certificate: of the client, too.
            acls: who was not allowed to do something may not do it; `open_address` may do all.
            settings: words of server.properties, beside or instead of SETTINGS; of a topic as `log.` has them.
            voters: of each node of a cluster three ports: for clients, open, for controllers. None for a cluster of its own.
        """
        self.top = top
        self.node_id = node_id
        self.users = dict(users or {})
        self.authority = authority
        self.voters = dict(voters or {node_id: (free_port(), free_port(), free_port())})
        port, open_port, _ = self.voters[node_id]
        self.address = f"127.0.0.1:{port}"
        self.open_address = f"127.0.0.1:{open_port}"
        self.log = top / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.archive: Sequence[str] | None = None
        self._is_formatted = False
        self._settings = {**self._own_settings(acls, needs_certificate), **(settings or {})}

    def client(self, user: str | None = None, mechanism: str = "PLAIN") -> dict[str, str]:
        """Return how a client of librdkafka gets in through `address`. user: None for the first of them."""
        words = {"bootstrap.servers": self.address, "security.protocol": self._protocol}
        if self.users:
            name = next(iter(self.users)) if user is None else user
            words |= {"sasl.mechanism": mechanism, "sasl.username": name, "sasl.password": self.users.get(name, "")}
        if self.authority is not None:
            words |= {"ssl.ca.location": str(self.authority.certificate)}
        return words

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, and return when it serves clients. Raises NoBroker, Unavailable."""
        self.launch()
        self.wait_until_started()

    def launch(self) -> None:
        """Start it without waiting: brokers of one cluster wait for each other."""
        assert self.process is None or self.process.poll() is not None, "it runs"
        if not self._is_formatted:
            self._format()
        with open(self.log, "ab") as log:
            self._log_position = log.tell()
            self.process = subprocess.Popen(
                [
                    *_words(self.archive),
                    f"-Dlog4j2.configurationFile={self.top}/log4j2.yaml",
                    "kafka.Kafka",
                    "server.properties",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.top,
            )

    def wait_until_started(self) -> None:
        assert self.process is not None
        limit = time.monotonic() + START_SECONDS
        try:
            while _STARTED not in (said := self._said()):
                if self.process.poll() is not None or time.monotonic() > limit:
                    raise NoBroker(f"Kafka does not start: {said.decode(errors='replace')[-1000:].strip()}")
                time.sleep(0.02)
        except BaseException:
            self.kill()
            raise

    def stop(self, patience_seconds: float = STOP_SECONDS) -> None:
        """End it as an operator does, who waits for it."""
        self._end(signal.SIGTERM, patience_seconds)

    def kill(self) -> None:
        """Kill it, as a power cut would but for what the kernel still has to write."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop it from running, with its connections open, until the end of the block."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def tool(self, name: str, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run one of Kafka's own tools against `open_address`: `TopicCommand`, `consumer.ConsoleConsumer`."""
        return run_tool(self.open_address, name, *words, stdin=stdin)

    def _end(self, number: signal.Signals, patience_seconds: float = STOP_SECONDS) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            self.process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _said(self) -> bytes:
        with open(self.log, "rb") as log:
            log.seek(self._log_position)
            return log.read()

    @property
    def _protocol(self) -> str:
        return ("SASL_" if self.users else "") + ("PLAINTEXT" if self.authority is None else "SSL")

    def _own_settings(self, acls: bool, needs_certificate: bool) -> dict[str, object]:
        host = "127.0.0.1"
        port, open_port, controller = self.voters[self.node_id]
        settings = {
            **SETTINGS,
            "process.roles": "broker,controller",
            "node.id": self.node_id,
            "controller.quorum.voters": ",".join(f"{node}@{host}:{ports[2]}" for node, ports in self.voters.items()),
            "listeners": f"CLIENT://{host}:{port},OPEN://{host}:{open_port},CONTROLLER://{host}:{controller}",
            "advertised.listeners": f"CLIENT://{host}:{port},OPEN://{host}:{open_port}",
            "listener.security.protocol.map": f"CLIENT:{self._protocol},OPEN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "OPEN",
            "log.dirs": self.top / "logs",
        }
        if acls:
            settings |= {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            }
        if self.users:
            plain = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
            module = "org.apache.kafka.common.security"
            settings |= {
                "sasl.enabled.mechanisms": ",".join(_MECHANISMS),
                "listener.name.client.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {plain};",
            }
            for mechanism in _MECHANISMS[1:]:
                key = f"listener.name.client.{mechanism.lower()}.sasl.jaas.config"
                settings[key] = f"{module}.scram.ScramLoginModule required;"
        if self.authority is not None:
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": self.authority.issue("broker", self.top),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": self.authority.certificate,
                "ssl.client.auth": "required" if needs_certificate else "none",
            }
        return settings

    def _format(self) -> None:
        lines = [f"{key}={value}\n" for key, value in self._settings.items()]
        (self.top / "server.properties").write_text("".join(lines))
        (self.top / "log4j2.yaml").write_text(_LOGGING)
        words = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", "server.properties"]
        for name, password in self.users.items():
            for mechanism in _MECHANISMS[1:]:
                words += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        done = subprocess.run(
            [*_words(self.archive), *words],
            cwd=self.top,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )
        if done.returncode:
            raise NoBroker(f"Kafka does not format its directory: {(done.stdout + done.stderr)[-1000:].strip()}")
        self._is_formatted = True


class Brokers:
    """A cluster of some brokers, for leaders that move and replicas that fall behind; every topic is on all of them."""

    def __init__(self, top: Path, count: int = 3, *, settings: Mapping[str, object] | None = None) -> None:
        voters = {node: (free_port(), free_port(), free_port()) for node in range(1, count + 1)}
        own: dict[str, object] = {
            "default.replication.factor": count,
            "offsets.topic.replication.factor": count,
            "transaction.state.log.replication.factor": count,
            # Who is stopped shall be seen to be so within seconds.
            "replica.lag.time.max.ms": 3000,
            "controller.quorum.election.timeout.ms": 1000,
            "controller.quorum.fetch.timeout.ms": 2000,
            **(settings or {}),
        }
        self.nodes: dict[int, Broker] = {}
        for node in voters:
            (top / str(node)).mkdir()
            self.nodes[node] = Broker(top / str(node), node_id=node, voters=voters, settings=own)
        self.address = ",".join(broker.address for broker in self.nodes.values())

    def client(self) -> dict[str, str]:
        return {"bootstrap.servers": self.address}

    def start(self) -> None:
        for broker in self.nodes.values():
            broker.launch()
        for broker in self.nodes.values():
            broker.wait_until_started()

    def kill(self) -> None:
        for broker in self.nodes.values():
            broker.kill()


def run_tool(address: str, name: str, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run one of Kafka's own tools, named as in org.apache.kafka.tools, against an address."""
    command = [*_words(), f"org.apache.kafka.tools.{name}", "--bootstrap-server", address, *words]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=START_SECONDS)


def free_port() -> int:
    """Return a port of loopback that is free, below those which the kernel hands out, so that it still is when a broker comes
    back to it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _words(archive: Sequence[str] | None = None) -> Sequence[str]:
    # It ends with this process, however that ends.
    tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*tied, java(), *_JVM, *(_archive() if archive is None else archive), "-cp", f"{jars()}/*"]


@functools.cache
def _archive() -> Sequence[str]:
    """Return the word by which Java loads the classes of Kafka as they were once parsed: that halves what a start costs.

    The archive is of this Java and these jars, and made the first time, in about ten seconds.
    """
    about = subprocess.run([java(), "-version"], capture_output=True, check=True, timeout=60).stderr
    path = jars().with_name(f"{jars().name}-{zlib.crc32(about):08x}.jsa")
    with open(path.with_suffix(".lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _make_archive(path)
    return (f"-XX:SharedArchiveFile={path}",)


def _make_archive(path: Path) -> None:
    partial = path.with_suffix(".partial")
    with tempfile.TemporaryDirectory(prefix="mk-kafka-archive-") as top:
        broker = Broker(Path(top))
        broker.archive = (f"-XX:ArchiveClassesAtExit={partial}",)
        broker.start()
        broker.stop(_ARCHIVE_SECONDS)
    # Without one all goes as well, and takes longer.
    if partial.exists():
        partial.rename(path)
