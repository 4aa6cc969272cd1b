"""How long a record takes from one process that runs to another, and what it costs to wait for one."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import producers
from bench import LIMIT, MK, NEIGHBOUR, Bench, Failed, Way
from neighbours import PROMPT_CONSUMER, PROMPT_PRODUCER

RECORDS_A_SECOND = 200
WAIT_SECONDS = 20
PRODUCERS = 16
RECORD = "%099d\n"
KCAT_RECORD = "%01023d\n"
"""kcat reads 1024 bytes at a time and waits until it has them: of a record of 100 bytes that would be all there is to see."""

# Prints the value of each entry of a stream as soon as it is there. redis-cli cannot go on from the last one it has seen.
XREAD = """
import os, socket, sys
redis, last = socket.create_connection(("127.0.0.1", int(sys.argv[1]))), b"0"
while True:
    ask = [b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", last]
    redis.sendall(b"*6\\r\\n" + b"".join(b"$%d\\r\\n%b\\r\\n" % (len(word), word) for word in ask))
    words = [b""]
    while len(words) < 6 or len(words) - 6 < 8 * int(words[4][1:]):  # a count of entries, then eight lines each
        words = b"\\r\\n".join([*words[:-1], words[-1] + redis.recv(1 << 16)]).split(b"\\r\\n")
    for at in range(5, len(words) - 1, 8):
        last = words[at + 2]
        os.write(1, words[at + 7] + b"\\n")
"""

# The least that a durable append takes: each line is put on disk, and only then passed on.
SYNCED = """
import os, sys
log, out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT), os.open(sys.argv[2], os.O_WRONLY)
while line := os.read(0, 1 << 16):
    os.write(log, line)
    os.fdatasync(log)
    os.write(out, line)
"""


def latency(bench: Bench) -> None:
    bench.fresh_directory()
    seconds = 0.5 if bench.quick else 3.0
    numbers = itertools.count()

    def way(name: str, writer: str, reader: str, role: str, prepare: Callable[[], object], line: str = RECORD) -> Way:
        def take() -> dict[str, float]:
            bench.env.update(NUMBER=str(next(numbers)))
            prepare()
            return record_to_reader(bench, writer, reader, seconds, line)

        return Way(name, take, role=role, shown=bench.portable(f"{writer} ... {reader}"))

    bench.fresh_log()
    create = '"$MK" topics create t$NUMBER -q -p '
    produce = 'exec "$MK" produce t$NUMBER'
    ways = [
        way(
            "cat >> log, tail -F log",
            'exec cat >> "$LOG$NUMBER"',
            'exec tail -F "$LOG$NUMBER"',
            LIMIT,
            lambda: bench.shell(': > "$LOG$NUMBER"'),
        ),
        way(
            "append and fdatasync, then a pipe",
            f'exec {shlex.join([sys.executable, "-I", "-c", SYNCED])} "$LOG$NUMBER" "$LOG$NUMBER.pipe"',
            'exec cat "$LOG$NUMBER.pipe"',
            LIMIT,
            lambda: bench.shell('mkfifo "$LOG$NUMBER.pipe"'),
        ),
        way(
            "mk produce t, mk consume t -F",
            produce,
            'exec "$MK" consume t$NUMBER -F',
            MK,
            lambda: bench.shell(create + "1"),
        ),
        way(
            "mk produce t, mk consume t -F -g g",
            produce,
            'exec "$MK" consume t$NUMBER -F -g g',
            MK,
            lambda: bench.shell(create + "1"),
        ),
        way(
            "mk produce t, mk consume t -F, 8 partitions",
            produce,
            'exec "$MK" consume t$NUMBER -F',
            MK,
            lambda: bench.shell(create + "8"),
        ),
    ]
    kafka, redis = bench.neighbours.kafka(), bench.neighbours.redis()
    if kafka is not None:

        def topic() -> None:
            bench.env["TOPIC"] = kafka.new_topic()

        kcat = f"-b {kafka.broker} -p 0 -t $TOPIC"
        for name, to, from_ in (("", "", ""), (", prompt", PROMPT_PRODUCER, PROMPT_CONSUMER)):
            writer, reader = f"exec kcat -P {kcat} {to}", f"exec kcat -C -u -q -o 1 {kcat} {from_}"
            ways.append(way(f"kcat -P, kcat -C{name}", writer, reader, NEIGHBOUR, topic, KCAT_RECORD))
    if redis is not None:
        script = shlex.join([sys.executable, "-I", "-c", XREAD, str(redis.port)])
        for sync in ("everysec", "always"):
            name = f"redis-cli XADD, XREAD BLOCK, appendfsync {sync}"
            empty = lambda sync=sync: redis.empty(sync)  # noqa: E731
            ways.append(way(name, f"exec {redis.cli}", f"exec {script}", NEIGHBOUR, empty, f"XADD s * v {RECORD}"))
            ways[-1].shown = "redis-cli ... XREAD BLOCK 0 STREAMS s"
    ways[1].shown = "read, append, fdatasync, write to a pipe ... cat PIPE"
    bench.compare(
        "latency", f"Record to reader, {RECORDS_A_SECOND} records a second", ways, rounds=min(bench.rounds, 3)
    )


def record_to_reader(bench: Bench, writer: str, reader: str, seconds: float, line: str = RECORD) -> dict[str, float]:
    """Write numbered lines to one process, a few milliseconds apart, and return when they came out of the other, in ms."""
    interval = 1 / RECORDS_A_SECOND
    with running(bench, reader) as to, running(bench, writer) as source:
        assert source.stdin is not None and to.stdout is not None
        fd, sink = to.stdout.fileno(), source.stdin.fileno()
        sent: list[float] = []
        came: dict[int, float] = {}
        rest = b""

        def send() -> None:
            sent.append(time.perf_counter())
            os.write(sink, (line % len(sent)).encode())

        def receive(until: float) -> None:
            nonlocal rest
            while (left := until - time.perf_counter()) > 0 and len(came) < len(sent) + 1:
                if not select.select([fd], [], [], left)[0]:
                    return
                at, data = time.perf_counter(), os.read(fd, 1 << 16)
                if not data:
                    raise Failed("the reader ended")
                *lines, rest = (rest + data).split(b"\n")
                for number in lines:
                    came.setdefault(int(number), at)

        # Both processes are up, and what only the first record costs is paid, once one has come through.
        limit = time.perf_counter() + WAIT_SECONDS
        while not came:
            send()
            receive(time.perf_counter() + 0.3)
            if time.perf_counter() > limit:
                raise Failed(f"nothing came through within {WAIT_SECONDS} s")
        receive(time.perf_counter() + 0.5)
        warm = len(sent)
        start = time.perf_counter()
        count = int(seconds * RECORDS_A_SECOND)
        for number in range(count):
            receive(start + number * interval)
            send()
        limit = time.perf_counter() + WAIT_SECONDS
        while len(came) < len(sent) and time.perf_counter() < limit:
            receive(time.perf_counter() + 0.5)
    missing = set(range(1, len(sent) + 1)) - set(came)
    if missing:
        raise Failed(
            f"{len(missing)} of {len(sent)} records did not come through, such as {min(missing)} and {max(missing)}"
        )
    took = sorted((came[number] - sent[number - 1]) * 1000 for number in range(warm + 1, len(sent) + 1))
    return {"p50_ms": statistics.median(took), "p99_ms": took[int(len(took) * 0.99)], "max_ms": took[-1]}


def idle(bench: Bench) -> None:
    """The processor time of a follower to which nothing comes, in percent of a core."""
    bench.fresh_directory()
    seconds = 0.5 if bench.quick else 5.0
    bench.shell(': > "$LOG"; "$MK" produce t v -q; "$MK" produce p8 v --partitions 8 -q')

    def way(name: str, line: str, role: str) -> Way:
        def take() -> dict[str, float]:
            with running(bench, line) as process:
                time.sleep(1.5)  # A member of a group has more to do at its start.
                before = _cpu_seconds(process.pid)
                time.sleep(seconds)
                if process.poll() is not None:
                    raise Failed("it ended")
                return {"cpu_percent": (_cpu_seconds(process.pid) - before) / seconds * 100}

        return Way(name, take, role=role, shown=bench.portable(line.removeprefix("exec ")))

    ways = [
        way("tail -F log", 'exec tail -F "$LOG"', LIMIT),
        way("mk consume t -F", 'exec "$MK" consume t -F', MK),
        way("mk consume t -F -g g", 'exec "$MK" consume t -F -g g', MK),
        way("mk consume t -F, 8 partitions", 'exec "$MK" consume p8 -F', MK),
    ]
    kafka = bench.neighbours.kafka()
    if kafka is not None:
        ways.append(way("kcat -C", f"exec kcat -C -b {kafka.broker} -p 0 -t {kafka.new_topic()}", NEIGHBOUR))
    bench.compare("idle", "Waiting for records that do not come", ways, rounds=min(bench.rounds, 3))


def many_producers(bench: Bench) -> None:
    """Processes that append to one partition, each one durable record at a time."""
    seconds = 0.5 if bench.quick else 2.0

    def way(count: int) -> Way:
        def take() -> dict[str, float]:
            with tempfile.TemporaryDirectory(dir=bench.directory) as top:
                environment = {**bench.env, "MK_DIR": f"{top}/log"}
                subprocess.run([bench.mk, "topics", "create", "t", "-q"], env=environment, check=True)
                times = producers.run(bench.mk, environment, count, seconds, None)
                bench.settle()
            counts = [len(one) for one in times]
            all_times = sorted(one * 1000 for each in times for one in each)
            return {
                "records_per_second": sum(counts) / seconds,
                "fastest_to_slowest": max(counts) / max(1, min(counts)),
                "p50_ms": statistics.median(all_times),
                "p99_ms": all_times[int(len(all_times) * 0.99)],
            }

        name = f"{count} × mk produce t -v" if count > 1 else "mk produce t -v, alone"
        return Way(name, take, role=MK if count > 1 else LIMIT, shown="mk produce t -v, one record at a time")

    title = f"{PRODUCERS} producers on one partition, each record on disk before the next"
    bench.compare("producers", title, [way(1), way(PRODUCERS)], rounds=min(bench.rounds, 5))


@contextlib.contextmanager
def running(bench: Bench, line: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a line of sh with pipes, until the block ends."""
    with open(bench.directory / "stderr", "wb") as err:
        process = subprocess.Popen(
            ["/bin/sh", "-c", line],
            env=bench.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=err,
            bufsize=0,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


def _cpu_seconds(pid: int) -> float:
    """Return what a process's threads have used: in nanoseconds where the kernel counts so, else in its ticks."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
