"""Running the installed `mk` as a shell would, each test on a directory or a Kafka of its own, never longer than a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mk.records.record_batch import HEADER_SIZE, parse_header

if TYPE_CHECKING:
    from tests.kafka.fixtures import SharedBroker

BIN = Path(sys.executable).parent
TIMEOUT = 60


class Done:
    """How a command ended. status is as a shell says it: 128 + N for a death by signal N."""

    def __init__(self, process: subprocess.CompletedProcess[bytes]) -> None:
        self.status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        self.out = process.stdout
        self.err = (process.stderr or b"").decode(errors="surrogateescape")

    def __repr__(self) -> str:
        return f"<Done {self.status} out={self.out[:200]!r} err={self.err!r}>"


class Mk:
    """`mk` with MK_DIR set to `directory`. Call it with the words of a command line."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = str(BIN / "mk")
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "MK_DIR": str(directory),
            "HOME": str(directory.parent),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }

    def __call__(
        self,
        *words: object,
        stdin: bytes | int = b"",
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        **keywords,
    ) -> Done:
        """Run to the end. Without `stdin` it is empty. prefix: words before `mk`, such as prlimit's."""
        source = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
        keywords = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": TIMEOUT, **keywords}
        command = [*prefix, self.program, *map(str, words)]
        return Done(subprocess.run(command, env={**self.environment, **(env or {})}, check=False, **source, **keywords))

    def ok(self, *words: object, stdin: bytes | int = b"", **keywords) -> bytes:
        """Run what must succeed, and return its output."""
        done = self(*words, stdin=stdin, **keywords)
        assert done.status == 0, done
        return done.out

    def shell(self, script: str, **keywords) -> Done:
        """Run a script by bash; its status is that of the first command of a pipeline that ends it with `status`."""
        script = f"status() {{ exit ${{PIPESTATUS[0]}}; }}\n{script}"
        keywords = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": TIMEOUT, **keywords}
        return Done(
            subprocess.run(
                ["bash", "-c", script], env=self.environment, stdin=subprocess.DEVNULL, check=False, **keywords
            )
        )

    @contextlib.contextmanager
    def start(self, *words: object, env: dict[str, str] | None = None, **keywords):
        """Start it with pipes on all ends; killed at the end of the block if it still runs."""
        keywords = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **keywords}
        command = [self.program, *map(str, words)]
        process = subprocess.Popen(command, env={**self.environment, **(env or {})}, bufsize=0, **keywords)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    @property
    def location(self) -> str:
        """What MK_DIR is, as mk.connect takes it."""
        return self.environment["MK_DIR"]

    def verify(self, *topics: str) -> None:
        """Assert that what is stored is whole."""
        self.ok("topics", "verify", *topics)

    def partition(self, topic: str, number: int = 0) -> Path:
        return self.directory / "topics" / topic / str(number)

    def segments(self, topic: str, number: int = 0) -> list[Path]:
        return sorted(self.partition(topic, number).glob("*.log"))

    def batches(self, topic: str, number: int = 0) -> list:
        """Return the headers of all batches of a partition."""
        found = []
        for path in self.segments(topic, number):
            data = path.read_bytes()
            position = 0
            while position < len(data):
                batch = parse_header(data, position)
                assert batch is not None, (path, position)
                batch.position = position
                found.append(batch)
                position += HEADER_SIZE + batch.payload_length
        return found

    def offsets(self, topic: str) -> list[tuple[int, int]]:
        """Return start and end of each partition."""
        rows = json.loads(self.ok("topics", "offsets", topic, "--json"))
        return [(row["log_start_offset"], row["high_watermark"]) for row in rows]


class KafkaMk(Mk):
    """`mk` with MK_DIR set to a real Kafka. `directory` is one for files of the test, beside which there is no log directory."""

    def __init__(self, directory: Path, broker: SharedBroker) -> None:
        super().__init__(directory)
        self.broker = broker
        self.environment["MK_DIR"] = broker.url

    def verify(self, *topics: str) -> None:
        """What a broker stores it verifies itself."""

    def partition(self, topic: str, number: int = 0) -> Path:
        raise AssertionError("a test that looks into the log directory is to be marked directory_only")


# A process begins with the peak of the one that forked it, so a small one has to stand between this one and `mk`.
_MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
os.write(int(sys.argv[1]), b"%d" % usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


def measured(mk: Mk, words: Iterable[object], *, env: dict[str, str] | None = None, **keywords):
    """Run a command. Returns how it ended, and its peak of resident memory in KiB, or that of a child of its own if that is more."""
    reader, writer = os.pipe()
    command = [sys.executable, "-I", "-c", _MEASURE, str(writer), mk.program, *map(str, words)]
    with os.fdopen(reader) as told:
        done = subprocess.run(
            command, env={**mk.environment, **(env or {})}, pass_fds=[writer], check=False, timeout=300, **keywords
        )
        os.close(writer)
        return done, int(told.read())


def read_until(descriptor: int, wanted: bytes, seconds: float = 20) -> bytes:
    """Read a descriptor until `wanted` has come; fails when it does not in time."""
    data = b""
    limit = time.monotonic() + seconds
    while wanted not in data:
        ready, _, _ = select.select([descriptor], [], [], max(0, limit - time.monotonic()))
        assert ready, f"{wanted!r} did not come, but {data!r}"
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # what Linux says of a terminal whose other end is closed
            piece = b""
        assert piece, f"it ended with {data!r}, without {wanted!r}"
        data += piece
    return data


def read_to_end(descriptor: int, seconds: float = 20) -> bytes:
    data = b""
    limit = time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0, limit - time.monotonic()))
        assert ready, f"it does not end; so far {data[-200:]!r}"
        try:
            piece = os.read(descriptor, 65536)
        except OSError:
            return data
        if not piece:
            return data
        data += piece
