"""What all workloads share: a way of doing something, timed in turns with its rivals, and the files it works on.

A workload is a function that takes a Bench and has it `compare` a list of Ways. Whatever is measured is checked for its
result: a way that fails, or does less than it should, is reported with its reason and left out of all ratios.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from neighbours import Neighbours

KEYS = 100_000
PARTITIONS = 8
LIMIT_SECONDS = 300
REPOSITORY = Path(__file__).resolve().parents[1]

# Runs the command after the first argument, and writes its seconds and its peak memory in KiB to the file of that name. The
# kernel counts the memory of a parent as that of its child up to the exec, so the parent has to be smaller than what is
# measured: a bare interpreter. Of a pipeline below sh it is the largest process that counts.
LAUNCH = """
import os, sys, time
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
status, usage = os.wait4(child, 0)[1:]
seconds = time.perf_counter() - began
with open(sys.argv[1], "w") as file:
    file.write(f"{seconds} {usage.ru_maxrss}")
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""

MK, LIMIT, NEIGHBOUR = "mk", "limit", "neighbour"


class Failed(Exception):
    """A way did not do what it should; says why."""


class Way:
    """One way to do a workload. `take` does it once and returns what it measured, by name; its unit is in the name.

    role: MK, LIMIT or NEIGHBOUR. records: how many it handles each time; then ways with other numbers compare by the record.
    """

    def __init__(
        self, name: str, take: Callable[[], dict[str, float]], *, role: str = MK, shown: str = "", records: int = 0
    ) -> None:
        self.name = name
        self.role = role
        self.shown = shown or name
        self.records = records
        self.measures: dict[str, list[float]] = {}
        self.failure = ""
        self.take = take

    def again(self) -> None:
        if self.failure:
            return
        try:
            for measure, value in self.take().items():
                self.measures.setdefault(measure, []).append(value)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            self.failure = str(error) or type(error).__name__

    def row(self) -> dict[str, object]:
        row: dict[str, object] = {"name": self.name, "role": self.role, "command": self.shown}
        if self.records:
            row["records"] = self.records
        if self.failure:
            row["failure"] = self.failure
        else:
            row["measures"] = self.measures
        return row


class Bench:
    """The files of a run, the `mk` that is measured, the neighbours it is measured beside, and the results so far.

    results: of each workload, as the JSON file has it.
    """

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.lines: int = options.lines
        self.rounds: int = options.rounds
        self.quick: bool = options.quick
        # A process of a few milliseconds needs many more rounds than one of a second, and can have them.
        self.short_rounds = self.rounds * (3 if self.quick else 8)
        self.mk: str = options.mk
        self.python = interpreter_of(options.mk)
        self.results: dict[str, dict[str, object]] = {}
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("MK_")}
        self.env.update(
            MK_DIR=str(directory / "mk"),
            MK=self.mk,
            FILE=str(directory / "lines"),
            KEYED=str(directory / "keyed"),
            LOG=str(directory / "log"),
            PYTHON=self.python,
            TAB="\t",
        )
        self.neighbours = Neighbours(directory, wanted=options.neighbours)

    def command(
        self,
        name: str,
        command: str | list[str],
        *,
        role: str = MK,
        records: int = 0,
        prepare: Callable[[], object] | None = None,
        expect: str | None = None,
        check: Callable[[], None] | None = None,
    ) -> Way:
        """Return the way of a process: an argument vector, or a line for sh.

        Measures `seconds` and `peak_bytes`. prepare runs before each time and check after it, untimed; check raises Failed.
        expect: all that it prints, but for white space at the ends.
        """

        def take() -> dict[str, float]:
            if prepare is not None:
                prepare()
            seconds, peak_bytes, printed = self.run(command)
            if expect is not None and printed != expect:
                raise Failed(f"printed {printed!r} instead of {expect!r}")
            if check is not None:
                check()
            return {"seconds": seconds, "peak_bytes": peak_bytes}

        shown = command if isinstance(command, str) else " ".join(command)
        return Way(name, take, role=role, records=records, shown=self.portable(shown))

    def run(self, command: str | list[str]) -> tuple[float, int, str]:
        """Run a command once and return its seconds, its peak memory in bytes and the beginning of what it printed."""
        arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        measured = self.directory / "measured"
        with open(self.directory / "stdout", "w+b") as out, open(self.directory / "stderr", "w+b") as err:
            launch = [self.python, "-I", "-S", "-c", LAUNCH, str(measured), *arguments]
            child = subprocess.Popen(
                launch, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
            try:
                status = child.wait(LIMIT_SECONDS)
            finally:
                if child.poll() is None:
                    # It is not the launcher that hangs or has to be stopped, but what it launched.
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
            out.seek(0)
            err.seek(0)
            if status:
                raise Failed(f"exit status {status}: {err.read(300).decode(errors='replace').strip()}")
            seconds, peak = measured.read_text().split()
            return float(seconds), int(peak) * 1024, out.read(300).decode(errors="replace").strip()

    def shell(self, line: str) -> str:
        """Run a line of sh that prepares something, and return what it prints. Raises Failed."""
        done = subprocess.run(
            ["/bin/sh", "-c", line], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode:
            raise Failed(f"{line}: {done.stderr.decode(errors='replace').strip() or f'status {done.returncode}'}")
        return done.stdout.decode(errors="replace").strip()

    def script(self, text: str, *arguments: object) -> str:
        """Run a Python script that may import mk, with the interpreter that mk has, and return what it prints."""
        words = [self.python, "-c", text, *map(str, arguments)]
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(done.stderr.strip()[-300:])
        return done.stdout.strip()

    def compare(self, workload: str, title: str, ways: Iterable[Way], *, rounds: int = 0) -> None:
        """Have the ways take turns, and keep and print their medians beside the first that is a limit."""
        ways, rounds = list(ways), rounds or self.rounds
        print(f"\n{title}  ({workload}, {rounds} round{'s' * (rounds > 1)})", flush=True)
        for number in range(rounds):
            # Another one begins each round, so that nobody always follows the same neighbour.
            first = number % len(ways)
            for way in ways[first:] + ways[:first]:
                way.again()
        base = next((way for way in ways if way.role == LIMIT and not way.failure), ways[0])
        for way in ways:
            print(f"  {way.name:<52} {_line(way, base)}", flush=True)
        result = self.results.setdefault(workload, {"title": title, "rounds": rounds, "rows": []})
        rows = result["rows"]
        assert isinstance(rows, list)
        rows += [way.row() for way in ways]

    def portable(self, shown: str) -> str:
        """Return a command as it is kept: without the paths and ports of this run."""
        paths = {
            self.directory: "$TMP",
            self.mk: "mk",
            self.python: "python",
            sys.executable: "python",
            REPOSITORY: ".",
        }
        for path, name in paths.items():
            shown = shown.replace(str(path), name)
        return re.sub(r"(127\.0\.0\.1:|-p |nats_client\.py )\d{4,5}\b", r"\1PORT", shown)

    # What ways need before and after each time.

    def fresh_directory(self) -> None:
        shutil.rmtree(self.directory / "mk", ignore_errors=True)
        self.settle()

    def fresh_log(self) -> None:
        (self.directory / "log").unlink(missing_ok=True)
        self.settle()

    def settle(self) -> None:
        """What earlier commands left unwritten must not be paid for by the next one."""
        os.sync()

    def holds(self, topic: str, records: int, directory: str = "$MK_DIR") -> Callable[[], None]:
        """Return a check that a topic holds so many records."""

        def check() -> None:
            found = 0
            for line in self.shell(f'"$MK" topics offsets {topic} --json -d "{directory}"').splitlines():
                if "high_watermark" in line:
                    found += int(line.split('"high_watermark": ')[1].split(",")[0])
            if found != records:
                raise Failed(f"{topic} holds {found:,} records instead of {records:,}")

        return check


def _line(way: Way, base: Way) -> str:
    if way.failure:
        return f"left out: {way.failure}"
    parts = []
    for measure, values in way.measures.items():
        if measure == "seconds":
            median = statistics.median(values)
            part = f"{median * 1000:8.1f} ms ({min(values) * 1000:.1f} to {max(values) * 1000:.1f})"
            if "seconds" in base.measures and not base.failure:
                alone = statistics.median(base.measures["seconds"]) / (base.records or 1)
                part += f" {median / (way.records or 1) / alone:6.2f} x"
            if way.records:
                part += f" {way.records / median / 1000:8.0f} k/s"
            parts.append(part)
        elif measure == "peak_bytes":
            parts.append(f"{max(values) / 1e6:6.1f} MB")
        else:
            parts.append(f"{measure} {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    return "  ".join(parts)


def interpreter_of(command: str) -> str:
    """Return the Python in the first line of a script, so that both start the same one; else the one running this."""
    with open(command, "rb") as file:
        first = file.readline(500).decode(errors="replace").strip()
    path = first.removeprefix("#!").split(" ")[0]
    return path if first.startswith("#!/") and "python" in path else sys.executable


def make_lines(directory: Path, count: int) -> None:
    """Write `count` lines like those of a web server, 83 to 123 bytes, and the same with a skewed key and a tab in front."""
    chance = random.Random(20)
    agents = ["curl/8.5.0", "Mozilla/5.0 (X11; Linux)", "Go-http-client/2.0", "bot/1.0 (+http://e.org)"]
    with open(directory / "lines", "w") as lines, open(directory / "keyed", "w") as keyed:
        for number in range(count):
            seconds = number // 50
            line = (
                f"10.{chance.randrange(256)}.{chance.randrange(256)}.7 - -"
                f" [21/Jul/2025:{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02} +0000]"
                f' "GET /item/{chance.randrange(10**6)} HTTP/1.1" 200 {chance.randrange(10**5)}'
                f' "{agents[chance.randrange(4)]}"\n'
            )
            lines.write(line)
            # Squared, so that few keys have most of the lines.
            keyed.write(f"user-{int(KEYS * chance.random() ** 2):05}\t{line}")


def temporary_directory(where: str | None) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mk-benchmark-", dir=where)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
