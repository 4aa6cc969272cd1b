"""The servers that mk is measured beside: each is started on free ports of loopback with its files in the temporary
directory when a workload first asks for it, and stopped at the end. One that is not installed is left out, with a line.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.append(str(Path(__file__).parents[1]))
from tests.kafka import jars as kafka  # noqa: E402  the tree is no package that these programs could be part of

START_SECONDS = 60
PARTITIONS = 8

# As somebody would tune kcat for a bulk load, and for latency.
TUNED_PRODUCER = (
    "-X queue.buffering.max.messages=500000 -X queue.buffering.max.kbytes=262144"
    " -X linger.ms=20 -X batch.num.messages=20000"
)
TUNED_CONSUMER = "-X fetch.wait.max.ms=10"
PROMPT_PRODUCER = "-X linger.ms=0"
PROMPT_CONSUMER = "-X fetch.wait.max.ms=10"

KAFKA_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={top}/logs
num.partitions={partitions}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
"""


class LeftOut(Exception):
    """A neighbour cannot be had here; says why."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """A process of a server, and where it listens. `about` is what the results say of it."""

    name = ""

    def __init__(self, top: Path) -> None:
        """Start it. Raises LeftOut."""
        self.top = top
        self.port = free_port()
        self.about: dict[str, object] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, words: list[str], answers: Callable[[], bool]) -> None:
        self.log = self.top / "server.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.top)
        limit = time.monotonic() + START_SECONDS
        try:
            while not answers():
                if time.monotonic() > limit or self.process.poll() is not None:
                    said = self.log.read_text(errors="replace")[-300:].strip()
                    raise LeftOut(f"{self.name} does not start: {said}")
                time.sleep(0.1)
        except BaseException:
            self.stop()
            raise

    def listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
            if peak:
                self.about["peak_bytes"] = int(peak[1]) * 1024
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Kafka(Server):
    """Apache Kafka, a single node with a heap of 512 MB, and kcat as its client. broker: its address, as kcat takes it.

    names: what is found in the names of all topics of this run, and of no other's.

    MK_BENCH_KAFKA is the address of one that runs already; topics must come into being there when they are first used,
    with PARTITIONS partitions. Kafka leaves the sync to the kernel: what kcat has sent is in the page cache.
    """

    name = "Kafka"

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        kcat = need("kcat")
        version = " ".join(output_of(kcat, "-V").split())
        found = re.search(r"Version (\S+) .*librdkafka (\S+)", version)
        if found:
            self.about.update(kcat=found[1], librdkafka=found[2])
        self.about.update(tuned_producer=TUNED_PRODUCER, tuned_consumer=TUNED_CONSUMER)
        self.about.update(prompt_producer=PROMPT_PRODUCER, prompt_consumer=PROMPT_CONSUMER)
        self.topics = 0
        self.names = f"bench-{os.getpid()}-"
        self.broker = os.environ.get("MK_BENCH_KAFKA", "")
        if self.broker:
            self.about["kafka"] = f"at {self.broker}"
            if not self._answers():
                raise LeftOut(f"no Kafka answers at {self.broker}")
            return
        try:
            java, jars = kafka.java(), kafka.jars()
        except kafka.Unavailable as error:
            raise LeftOut(str(error)) from None
        self.broker = f"127.0.0.1:{self.port}"
        text = KAFKA_PROPERTIES.format(port=self.port, controller=free_port(), top=top, partitions=PARTITIONS)
        (top / "server.properties").write_text(text)
        run = [java, "-Xms512m", "-Xmx512m", "-cp", f"{jars}/*"]
        format_it = ["kafka.tools.StorageTool", "format", "-t", "bWstYmVuY2htYXJrLTAwMQ", "-c", "server.properties"]
        done = subprocess.run([*run, *format_it], cwd=top, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LeftOut(f"Kafka does not format its directory: {(done.stderr or done.stdout)[-300:].strip()}")
        self.about.update(kafka=next(jars.glob("kafka-clients-*.jar")).stem.rpartition("-")[2], heap="-Xmx512m")
        self.about["java"] = (output_of(java, "--version").splitlines() or ["?"])[0]
        self.start([*run, "kafka.Kafka", "server.properties"], self._answers)

    def _answers(self) -> bool:
        done = subprocess.run(
            ["kcat", "-L", "-b", self.broker, "-m", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode == 0

    def new_name(self) -> str:
        """Return a name that no topic has."""
        self.topics += 1
        return f"{self.names}{self.topics}"

    def new_topic(self) -> str:
        """Make a topic, and return its name. Its partition 0 has one record, which made it."""
        name = self.new_name()
        subprocess.run(
            ["kcat", "-P", "-b", self.broker, "-t", name, "-p", "0"], input=b"first\n", check=True, capture_output=True
        )
        return name

    def records(self, topic: str) -> int:
        """Return how many records a topic has, with the first."""
        ends = [f"-t{topic}:{partition}:-1" for partition in range(PARTITIONS)]
        text = output_of("kcat", "-Q", "-b", self.broker, *[word for end in ends for word in (end[:2], end[2:])])
        return sum(int(number) for number in re.findall(r"offset (\d+)", text))


class Redis(Server):
    """A Redis with an append-only file, which is synced every second, or always when told so by `sync`."""

    name = "Redis"

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        server = need("redis-server")
        need("redis-cli")
        found = re.search(r"v=(\S+)", output_of(server, "--version"))
        self.about["redis"] = found[1] if found else "?"
        words = [server, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(top), "--save", ""]
        words += ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"]
        self.start(words, self.listens)
        self.cli = f"redis-cli -p {self.port}"

    def ask(self, *words: str) -> str:
        return output_of("redis-cli", "-p", str(self.port), *words)

    def empty(self, sync: str) -> None:
        """Forget everything, and sync `everysec` or `always` from now on."""
        self.ask("FLUSHALL", "SYNC")
        self.ask("CONFIG", "SET", "appendfsync", sync)


class Nats(Server):
    """A NATS server with JetStream on files. It has no client in a shell here: benchmarks/nats_client.py is one."""

    name = "NATS"

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        server = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if server is None:
            raise LeftOut("nats-server is not installed")
        found = re.search(r"v(\d\S*)", output_of(server, "--version"))
        self.about["nats"] = found[1] if found else "?"
        self.start(
            [server, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(top / "jetstream")], self.listens
        )


class Sshd(Server):
    """An sshd which lets this user in with a key of its own. ssh: the words that run a command through it, the host last."""

    name = "sshd"
    host = "127.0.0.1"

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None or not shutil.which("ssh") or not shutil.which("ssh-keygen"):
            raise LeftOut("sshd, ssh or ssh-keygen is not installed")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        for key in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", top / key], check=True)
        (top / "sshd_config").write_text(
            f"ListenAddress {self.host}\nPort {self.port}\nHostKey {top}/host_key\nPidFile none\nUsePAM no\n"
            f"StrictModes no\nPermitRootLogin yes\nAuthorizedKeysFile {top}/key.pub\n"
        )
        options = f"-F none -o IdentityFile={top}/key -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR"
        known = f"-o UserKnownHostsFile={top}/known -o StrictHostKeyChecking=no"
        self.ssh = f"ssh {options} {known} -p {self.port}"
        self.about["ssh"] = output_of("sh", "-c", "ssh -V 2>&1")
        self.start([program, "-D", "-e", "-f", str(top / "sshd_config")], self._lets_in)

    def _lets_in(self) -> bool:
        words = [*self.ssh.split(), self.host, "true"]
        return subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode == 0


S = TypeVar("S", bound=Server)


class Neighbours:
    """The servers that run by now. Each is started when it is first asked for; None, said once, where it cannot be had."""

    def __init__(self, directory: Path, *, wanted: bool) -> None:
        self._directory = directory
        self._wanted = wanted
        self._servers: dict[str, Server] = {}
        self.left_out: dict[str, str] = {}

    def kafka(self) -> Kafka | None:
        return self._get(Kafka)

    def redis(self) -> Redis | None:
        return self._get(Redis)

    def nats(self) -> Nats | None:
        return self._get(Nats)

    def sshd(self) -> Sshd | None:
        return self._get(Sshd)

    def _get(self, kind: type[S]) -> S | None:
        name = kind.name
        if not self._wanted or name in self.left_out:
            return None
        if name not in self._servers:
            try:
                top = self._directory / name.lower()
                top.mkdir()
                self._servers[name] = kind(top)
            except (LeftOut, OSError, subprocess.SubprocessError) as error:
                self.left_out[name] = str(error)
                print(f"\n{name} is left out: {error}", flush=True)
                return None
        server = self._servers[name]
        assert isinstance(server, kind)
        return server

    def about(self) -> dict[str, object]:
        return {name: server.about for name, server in self._servers.items()}

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()


def need(program: str) -> str:
    """Return the path of a program. Raises LeftOut."""
    path = shutil.which(program)
    if path is None:
        raise LeftOut(f"{program} is not installed")
    return path


def output_of(*arguments: str) -> str:
    """Return what a command prints, or nothing if it fails."""
    try:
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
