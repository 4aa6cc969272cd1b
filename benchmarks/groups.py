#!/usr/bin/env python3
"""Time how a group takes over when a member dies, ends, is stopped or comes, and what it costs to stand by.

    python benchmarks/groups.py [--rounds R] [--members N] [--mk PATH] [--dir DIR]

Two members share eight partitions while records flow into all of them; one of the two is ended in some way, and the time
counts until the other prints a record of a partition that was not its own. Medians and the worst are printed, beside the
load of the machine, which weighs more than all else here. Nothing is asserted. Needs only the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PARTITIONS = 8
RECORDS_A_SECOND = 100  # into each partition
SESSION_TIMEOUT_MS = 1000
LIMIT_SECONDS = 30


class Member:
    """A `mk consume -g` and the partitions of the records that it prints."""

    def __init__(self, mk: str, environment: dict[str, str]) -> None:
        words = [mk, "consume", "t", "-g", "g", "-F", "-f", "json", "--session-timeout", f"{SESSION_TIMEOUT_MS}ms"]
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        assert self.process.stdout is not None
        self._fd = self.process.stdout.fileno()
        self._data = b""

    def partitions(self, seconds: float) -> list[int]:
        """Return the partitions of what it prints within so many seconds, as soon as it prints something."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return []
        *lines, self._data = (self._data + os.read(self._fd, 1 << 18)).split(b"\n")
        return [json.loads(line)["partition"] for line in lines]

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Flow:
    """Records into every partition, a few milliseconds apart, until `stop`. Not synced, so that the disk is the members'."""

    def __init__(self, mk: str, environment: dict[str, str]) -> None:
        self._producers = [
            subprocess.Popen(
                [mk, "produce", "t", "-q", "--acks", "0", "-p", str(partition)],
                stdin=subprocess.PIPE,
                env=environment,
                bufsize=0,
            )
            for partition in range(PARTITIONS)
        ]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(1 / RECORDS_A_SECOND):
            for producer in self._producers:
                assert producer.stdin is not None
                producer.stdin.write(b"record\n")

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        for producer in self._producers:
            producer.communicate()


def share(one: Member, two: Member) -> set[int]:
    """Wait until both members print their own halves for a while, and return the second one's."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        seen: tuple[set[int], set[int]] = (set(), set())
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            seen[0].update(one.partitions(0.005))
            seen[1].update(two.partitions(0.005))
        if len(seen[0]) == len(seen[1]) == PARTITIONS // 2:
            return seen[1]
    raise SystemExit("the members do not come to share the partitions")


def take_over(one: Member, two: Member, number: signal.Signals) -> float:
    """Send a signal to the second member, and return the seconds until the first prints one of its partitions."""
    theirs = share(one, two)
    started = time.monotonic()
    two.process.send_signal(number)
    while time.monotonic() - started < LIMIT_SECONDS:
        if theirs & set(one.partitions(0.002)):
            return time.monotonic() - started
        if number != signal.SIGSTOP and number != signal.SIGKILL:
            two.partitions(0)
    raise SystemExit(f"nobody took over after {number.name}")


def join(mk: str, environment: dict[str, str], one: Member) -> tuple[Member, float]:
    """Start a second member, and return it and the seconds from its joining to its first record."""
    members = Path(environment["MK_DIR"], "groups", "g", "members")
    before = set(os.listdir(members))
    two = Member(mk, environment)
    while set(os.listdir(members)) <= before:
        one.partitions(0.0005)
    started = time.monotonic()
    while not two.partitions(0.001):
        one.partitions(0)
    return two, time.monotonic() - started


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stand_by(mk: str, environment: dict[str, str], count: int) -> None:
    """Start many members on one topic of four partitions, and print how long they take to settle and what they cost."""
    run(mk, environment, "topics", "create", "many", "-p", "4", "-q")
    words = [mk, "consume", "many", "-g", "many", "-F"]
    run(mk, environment, *words[1:3], "-g", "many")
    started = time.monotonic()
    processes = [
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
        for _ in range(count)
    ]
    directory = Path(environment["MK_DIR"], "groups", "many")
    while len([name for name in os.listdir(directory / "members") if name[0] != "."]) < count:
        time.sleep(0.002)
    joined = time.monotonic()
    owners: list[bytes] = []
    settled = joined
    while time.monotonic() - settled < 1:
        now = [path.read_bytes()[1024:1088] for path in sorted(directory.glob("claims/*/*"))]
        if now != owners or len(set(now)) != 4:
            owners, settled = now, time.monotonic()
        time.sleep(0.002)
    print(
        f"{count} members on 4 partitions: joined after {joined - started:.2f} s, settled {settled - joined:.3f} s later"
    )
    time.sleep(3)
    before = [cpu_seconds(process) for process in processes]
    time.sleep(10)
    used = [(cpu_seconds(process) - first) / 10 * 100 for process, first in zip(processes, before)]
    print(f"{'':4}each idle member uses {statistics.mean(used):.2f} % of a core, {max(used):.2f} % at most")
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()


def run(mk: str, environment: dict[str, str], *words: str) -> None:
    subprocess.run([mk, *words], env=environment, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--mk", default=str(Path(sys.executable).with_name("mk")))
    parser.add_argument("--dir", default=None, help="where to make the log directory")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(dir=options.dir)
    environment = {**os.environ, "MK_DIR": f"{folder}/log"}
    try:
        run(options.mk, environment, "topics", "create", "t", "-p", str(PARTITIONS), "-q")
        flow = Flow(options.mk, environment)
        one = Member(options.mk, environment)
        try:
            while not one.partitions(1):
                pass
            ways = [("kill -9", signal.SIGKILL, 1), ("SIGTERM", signal.SIGTERM, 2), ("^C", signal.SIGINT, 2)]
            ways += [("^Z", signal.SIGTSTP, 2), (f"SIGSTOP ({SESSION_TIMEOUT_MS} ms time-out)", signal.SIGSTOP, 5)]
            joins = []
            for name, number, divisor in ways:
                times = []
                for _ in range(max(1, options.rounds // divisor)):
                    two, seconds = join(options.mk, environment, one)
                    joins.append(seconds)
                    times.append(take_over(one, two, number))
                    two.end()
                show(f"taken over after {name}", times)
            show("a member that joins has its first record", joins)
        finally:
            one.end()
            flow.stop()
        stand_by(options.mk, environment, options.members)
    finally:
        shutil.rmtree(folder)
    return 0


def show(name: str, times: list[float]) -> None:
    times = sorted(seconds * 1000 for seconds in times)
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    load = os.getloadavg()[0]
    print(f"{name}: p50 {statistics.median(times):.1f} ms, p99 {p99:.1f} ms of {len(times)}; load {load:.1f}")


if __name__ == "__main__":
    raise SystemExit(main())
