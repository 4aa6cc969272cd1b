#!/usr/bin/env python3
"""Time many `mk produce` processes that append to one partition, one durable record at a time.

    python benchmarks/producers.py [--producers N ...] [--seconds S] [--rounds R] [--bulk] [--mk PATH] [--dir DIR]

Each producer gets a record when its last one is acknowledged, which its `-v` line says. For each number of producers the
medians of all rounds are printed: appends a second in sum, and as a ratio to the first number's; of the slowest and of the
fastest producer; the median and 99th percentile of an append's time. The numbers take turns within a round. --bulk: beside
them another producer stores a file, whose MB/s are printed too. Nothing is asserted. Needs only the standard library.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BULK_BYTES = 64 << 20
RECORD = b"%08d a record of forty bytes, or about it\n"


class Producer:
    """A `mk produce -v` that has at most one record under way."""

    def __init__(self, mk: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [mk, "produce", "t", "-v"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
        assert self.process.stdin is not None and self.process.stderr is not None
        self._in, self.fd = self.process.stdin.fileno(), self.process.stderr.fileno()
        self.seconds: list[float] = []
        self._sent_at = 0.0

    def send(self) -> None:
        self._sent_at = time.perf_counter()
        os.write(self._in, RECORD % len(self.seconds))

    def acknowledged(self) -> None:
        said = os.read(self.fd, 1000)
        if not said.endswith(b"\n"):
            raise SystemExit(f"a producer ended: {said.decode()}")
        self.seconds.append(time.perf_counter() - self._sent_at)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Bulk(threading.Thread):
    """A producer that stores a file over and over, until `stop`."""

    def __init__(self, mk: str, environment: dict[str, str], path: Path) -> None:
        super().__init__()
        self._words = [mk, "produce", "t", "-q", str(path)]
        self._environment = environment
        self._stopped = threading.Event()
        self.bytes_a_second: list[float] = []

    def run(self) -> None:
        while not self._stopped.is_set():
            started = time.perf_counter()
            subprocess.run(self._words, env=self._environment, check=True)
            self.bytes_a_second.append(BULK_BYTES / (time.perf_counter() - started))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def run(mk: str, environment: dict[str, str], count: int, seconds: float, bulk: Bulk | None) -> list[list[float]]:
    """Have `count` producers append for so long, and return the seconds of each append of each."""
    producers = [Producer(mk, environment) for _ in range(count)]
    poll = select.epoll()
    by_fd = {producer.fd: producer for producer in producers}
    for producer in producers:  # The first append opens the partition: untimed.
        poll.register(producer.fd, select.EPOLLIN)
        producer.send()
        producer.acknowledged()
        producer.seconds.clear()
    if bulk is not None:
        bulk.start()
    until = time.perf_counter() + seconds
    for producer in producers:
        producer.send()
    under_way = count
    while under_way:
        for fd, _ in poll.poll():
            by_fd[fd].acknowledged()
            if time.perf_counter() < until:
                by_fd[fd].send()
            else:
                under_way -= 1
    if bulk is not None:
        bulk.stop()
    for producer in producers:
        producer.end()
    poll.close()
    return [producer.seconds for producer in producers]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--producers", type=int, nargs="+", default=[1, 2, 4, 16])
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bulk", action="store_true")
    parser.add_argument("--mk", nargs="+", default=[str(Path(sys.executable).with_name("mk"))])
    parser.add_argument("--dir", default=None, help="where to make the log directory")
    options = parser.parse_args()
    measured: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for _ in range(options.rounds):
        for count in options.producers:
            for mk in options.mk:
                folder = tempfile.mkdtemp(dir=options.dir)
                environment = {**os.environ, "MK_DIR": f"{folder}/log"}
                try:
                    subprocess.run([mk, "topics", "create", "t", "-q"], env=environment, check=True)
                    bulk = None
                    if options.bulk:
                        path = Path(folder, "lines")
                        path.write_bytes((b"%099d\n" % 0) * (BULK_BYTES // 100))
                        bulk = Bulk(mk, environment, path)
                    times = run(mk, environment, count, options.seconds, bulk)
                finally:
                    shutil.rmtree(folder)
                all_times = sorted(seconds for one in times for seconds in one)
                rates = [len(one) / options.seconds for one in times]
                row = (
                    sum(rates),
                    min(rates),
                    max(rates),
                    statistics.median(all_times) * 1000,
                    all_times[int(len(all_times) * 0.99)] * 1000,
                    statistics.median(bulk.bytes_a_second) / 1e6 if bulk is not None else 0,
                )
                measured.setdefault((mk, count), []).append(row)
    for mk in options.mk:
        print(mk)
        first = 0.0
        for count in options.producers:
            row = tuple(map(statistics.median, zip(*measured[mk, count])))
            first = first or row[0]
            print(
                f"{count:3} producers: {row[0]:6.0f} appends/s ({row[0] / first:.2f} x), slowest {row[1]:.0f}, fastest "
                f"{row[2]:.0f} ({row[2] / max(row[1], 0.1):.1f} x); p50 {row[3]:.2f} ms, p99 {row[4]:.1f} ms"
                + (f"; bulk {row[5]:.0f} MB/s" if options.bulk else "")
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
