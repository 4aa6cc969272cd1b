#!/usr/bin/env python3
"""Time whole `mk` processes beside what a shell has without it, and print medians and ratios of one run.

    python benchmarks/run.py [--lines N] [--rounds R] [--only NAME ...] [--json FILE] [--mk PATH] [--dir DIR]

Single figures vary by a third on a shared machine. So the commands of a group take turns within each round, and what
counts is the ratio to the first of the group. Nothing is asserted: a command that fails is reported and left out.
Needs only the standard library, sh and coreutils.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from loopback import LoopbackSshd

KEYS = 100_000
PARTITIONS = 8
# A process of a few milliseconds needs more rounds than one of a second, and can have them.
SHORT_ROUNDS = 8

# Runs the command after it and writes its peak memory, in KiB, to the file $PEAK_FILE. The kernel counts the memory of a parent as that
# of its child up to the exec, so the parent has to be smaller than what is measured: a bare interpreter.
MEASURE = """
import os, sys
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
status, usage = os.wait4(child, 0)[1:]
with open(os.environ["PEAK_FILE"], "w") as file:
    file.write(str(usage.ru_maxrss))
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""


MANY_TOPICS = 20_000

MAKE_TOPICS = """
import os, sys
from mk.storage import files
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.topic import encode_topic
files.fsync = files.fdatasync = lambda fd: None
create_directory(sys.argv[1])
directory = LogDirectory(sys.argv[1])
for number in range(int(sys.argv[2])):
    name, topic_id = f"t-{number}", os.urandom(16).hex()
    files.mkdir(name, dir_fd=directory.topics_fd)
    fd = files.open_directory(name, dir_fd=directory.topics_fd)
    directory.create_locks(topic_id, range(1))
    directory.create_partition(fd, topic_id, 0)
    files.write_new_file("topic.json", encode_topic(name, topic_id, 1, "crc32", {}), dir_fd=fd)
    files.close(fd)
"""


class Command:
    """A command to be timed: an argument vector, or a line for sh; `prepare` runs before each time, untimed."""

    def __init__(
        self, name: str, command: str | list[str], *, prepare: Callable[[], object] | None = None, expect: str = ""
    ) -> None:
        self.name = name
        self.arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        self.shown = command if isinstance(command, str) else " ".join(command)
        self.prepare = prepare
        self.expect = expect
        self.seconds: list[float] = []
        self.peak_bytes: list[int] = []
        self.failure = ""


class Bench:
    """The machine under test: its files, its `mk`, and the results so far."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.results: list[dict[str, object]] = []
        self.mk = options.mk
        self.python = interpreter_of(options.mk)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("MK_")}
        self.env.update(
            MK_DIR=str(directory / "mk"),
            MK=self.mk,
            FILE=str(directory / "lines"),
            KEYED=str(directory / "keyed"),
            LOG=str(directory / "log"),
            TAB="\t",
        )

    def run(self, command: Command) -> None:
        """Run a command once; its time and its failure go into it."""
        if command.prepare is not None:
            command.prepare()
        arguments = command.arguments
        with open(self.directory / "stdout", "w+b") as out, open(self.directory / "stderr", "w+b") as err:
            started = time.perf_counter()
            child = subprocess.Popen(arguments, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            status = child.wait()
            seconds = time.perf_counter() - started
            out.seek(0)
            err.seek(0)
            printed = out.read(200).decode(errors="replace").strip()
            if status != 0:
                command.failure = f"exit status {status}: {err.read(300).decode(errors='replace').strip()}"
            elif command.expect and printed != command.expect:
                command.failure = f"printed {printed!r} instead of {command.expect!r}"
        command.seconds.append(seconds)

    def measure(self, command: Command) -> None:
        """Run a line of sh once, in which `$PEAK` stands before the command whose peak memory counts."""
        if command.prepare is not None:
            command.prepare()
        peak = self.directory / "peak"
        env = dict(self.env, PYTHON=self.python, MEASURE=MEASURE, PEAK_FILE=str(peak))
        line = command.shown.replace("$PEAK", '"$PYTHON" -I -S -c "$MEASURE"')
        with open(self.directory / "stderr", "w+b") as err:
            done = subprocess.run(["/bin/sh", "-c", line], env=env, stdout=subprocess.DEVNULL, stderr=err, check=False)
            err.seek(0)
            if done.returncode != 0:
                command.failure = f"exit status {done.returncode}: {err.read(300).decode(errors='replace').strip()}"
        if not command.failure:
            command.peak_bytes.append(int(peak.read_text()) * 1024)

    def group(self, name: str, title: str, commands: list[Command], *, rounds: int) -> None:
        """Time the commands in turns, and print medians and ratios to the first."""
        print(f"\n{title}  ({name}, {rounds} rounds)", flush=True)
        for number in range(rounds):
            # Another one begins each round, so that nobody always follows the same neighbour.
            for command in commands[number % len(commands) :] + commands[: number % len(commands)]:
                if not command.failure:
                    self.run(command)
        base = commands[0]
        for command in commands:
            row: dict[str, object] = {"group": name, "name": command.name, "command": command.shown}
            if command.failure:
                print(f"  {command.name:<42} left out: {command.failure}")
                row["failure"] = command.failure
            else:
                median = statistics.median(command.seconds)
                row.update(seconds=command.seconds, median=median)
                spread = f"{show(min(command.seconds))} to {show(max(command.seconds))}"
                ratio = ""
                if not base.failure:
                    row["ratio"] = median / statistics.median(base.seconds)
                    ratio = f"{row['ratio']:6.2f} x"
                print(f"  {command.name:<42} {show(median)}  {ratio}   ({spread})")
            self.results.append(row)

    # What a command needs before it.

    def fresh_directory(self) -> None:
        shutil.rmtree(self.directory / "mk", ignore_errors=True)
        # What earlier commands left unwritten must not be paid for by this one.
        os.sync()

    def fresh_log(self) -> None:
        (self.directory / "log").unlink(missing_ok=True)
        os.sync()

    def produce(self, line: str) -> str:
        """Run a line of sh that fills a topic; return why it could not."""
        done = subprocess.run(["/bin/sh", "-c", line], env=self.env, capture_output=True, check=False)
        return (
            "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        )

    # The groups.

    def bulk_produce(self) -> None:
        self.group(
            "bulk-produce",
            f"{self.options.lines:,} lines into a log",
            [
                Command(
                    "cat | cat >> log && sync log", 'cat "$FILE" | cat >> "$LOG" && sync "$LOG"', prepare=self.fresh_log
                ),
                Command("cat | cat >> log", 'cat "$FILE" | cat >> "$LOG"', prepare=self.fresh_log),
                Command("cat | mk produce t", 'cat "$FILE" | "$MK" produce t', prepare=self.fresh_directory),
            ],
            rounds=self.options.rounds,
        )

    def keyed_produce(self) -> None:
        line = f'cat "$KEYED" | "$MK" produce k -K "$TAB" --partitions {PARTITIONS}'
        self.group(
            "keyed-produce",
            f"{self.options.lines:,} keyed lines into {PARTITIONS} partitions",
            [
                Command(
                    "cat | cat >> log && sync log",
                    'cat "$KEYED" | cat >> "$LOG" && sync "$LOG"',
                    prepare=self.fresh_log,
                ),
                Command("cat | mk produce k -K TAB", line, prepare=self.fresh_directory),
            ],
            rounds=self.options.rounds,
        )

    def bulk_consume(self) -> None:
        self.fresh_directory()
        for line in (
            'cat "$FILE" | "$MK" produce t',
            f'"$MK" produce k -K "$TAB" --partitions {PARTITIONS} < "$KEYED"',
        ):
            if failure := self.produce(line):
                print(f"\nbulk-consume: cannot fill a topic: {failure}")
        lines = str(self.options.lines)
        self.group(
            "bulk-consume",
            f"{self.options.lines:,} lines out of a log",
            [
                Command("cat | wc -l", 'cat "$FILE" | wc -l', expect=lines),
                Command("mk consume t | wc -l", '"$MK" consume t | wc -l', expect=lines),
                Command(f"mk consume k | wc -l, {PARTITIONS} partitions", '"$MK" consume k | wc -l', expect=lines),
            ],
            rounds=self.options.rounds,
        )

    def record_formats(self) -> None:
        """A format that users write, and JSON: what is printed, and what is read again. Each beside the plain way."""
        self.fresh_directory()
        if failure := self.produce(f'"$MK" produce k -K "$TAB" --partitions {PARTITIONS} < "$KEYED"'):
            print(f"\nformats: cannot fill a topic: {failure}")
        lines = str(self.options.lines)
        ways = {"-f '%k %v\\n'": "formatted", "-J": "json", "-f framed": "framed"}
        out = [Command("mk consume k | wc -l", '"$MK" consume k | wc -l', expect=lines)]
        back = [Command("mk produce x -K TAB", '"$MK" produce x -K "$TAB" < "$KEYED"')]
        for form, name in ways.items():
            file = self.directory / name
            if failure := self.produce(f'"$MK" consume k {form} > {file}'):
                print(f"\nformats: cannot print a topic: {failure}")
            expect = lines if form != "-f framed" else ""
            out.append(Command(f"mk consume k {form} | wc -l", f'"$MK" consume k {form} | wc -l', expect=expect))
            back.append(Command(f"mk produce x {form}", f'"$MK" produce x {form} < {file}'))
        self.group(
            "formats", f"{self.options.lines:,} keyed records printed in a format", out, rounds=self.options.rounds
        )
        self.group(
            "formats", f"{self.options.lines:,} keyed records read in a format", back, rounds=self.options.rounds
        )

    def verify(self) -> None:
        self.fresh_directory()
        if failure := self.produce('"$MK" produce t < "$FILE"'):
            print(f"\nverify: cannot fill a topic: {failure}")
        self.group(
            "verify",
            f"Every byte of {self.options.lines:,} lines proved",
            [
                Command("cat | wc -l", 'cat "$FILE" | wc -l', expect=str(self.options.lines)),
                Command("mk topics verify t", [self.mk, "topics", "verify", "t"]),
            ],
            rounds=self.options.rounds,
        )

    def cold_start(self) -> None:
        self.fresh_directory()
        commands = [
            Command("python -I -c pass", [self.python, "-I", "-c", "pass"]),
            Command("mk --version", [self.mk, "--version"]),
            Command("mk produce t -k u1 v", [self.mk, "produce", "t", "-k", "u1", "v"]),
            Command("mk consume t -n 1", [self.mk, "consume", "t", "-n", "1"]),
            Command("sh -c 'cat >> log' && sync", 'echo v | cat >> "$LOG" && sync "$LOG"'),
        ]
        if shutil.which("nq"):
            self.env["NQDIR"] = str(self.directory)
            commands.append(Command("nq true", ["nq", "true"]))
        else:
            print("\nnq is not on PATH: left out")
        if shutil.which("redis-cli") and not self.produce("redis-cli ping | grep -q PONG"):
            commands.append(Command("redis-cli XADD", ["redis-cli", "XADD", "mk-benchmark", "*", "v", "v"]))
        else:
            print("redis-cli is not on PATH, or no server answers it: left out")
        if failure := self.produce('"$MK" produce t -k u1 v'):
            print(f"\ncold-start: cannot make the topic: {failure}")
        self.group("cold-start", "One record, one process", commands, rounds=self.options.rounds * SHORT_ROUNDS)

    def memory(self) -> None:
        self.fresh_directory()
        commands = [
            Command("cat | mk produce t", 'cat "$FILE" | $PEAK "$MK" produce t'),
            Command(
                "cat | mk produce k -K TAB", f'cat "$KEYED" | $PEAK "$MK" produce k -K "$TAB" --partitions {PARTITIONS}'
            ),
            Command(
                "mk produce, lines of 15 MB",
                'for i in 1 2 3; do head -c 15000000 /dev/zero; echo; done | $PEAK "$MK" produce l',
            ),
            Command("mk consume t", '$PEAK "$MK" consume t'),
            Command("mk consume k", '$PEAK "$MK" consume k'),
            Command("mk consume l", '$PEAK "$MK" consume l'),
            Command(r"mk consume k -f '%k %v\n'", r"""$PEAK "$MK" consume k -f '%k %v\n'"""),
            Command("mk consume k -J", '$PEAK "$MK" consume k -J'),
            Command("mk consume k -J | mk produce j -J", '"$MK" consume k -J | $PEAK "$MK" produce j -J'),
        ]
        print("\nPeak memory  (memory)")
        for command in commands:
            self.measure(command)
            row: dict[str, object] = {"group": "memory", "name": command.name, "command": command.shown}
            if command.failure:
                print(f"  {command.name:<42} left out: {command.failure}")
                row["failure"] = command.failure
            else:
                print(f"  {command.name:<42} {command.peak_bytes[0] / 1e6:7.1f} MB")
                row["peak_bytes"] = command.peak_bytes[0]
            self.results.append(row)

    def find(self) -> None:
        self.fresh_directory()
        began = time.time()
        for line in ('"$MK" produce big < "$FILE"', 'head -n 10 "$FILE" | "$MK" produce small'):
            if failure := self.produce(line):
                print(f"\nfind: cannot fill a topic: {failure}")
        middle = self.options.lines // 2
        with open(self.directory / "lines", "rb") as file:
            wanted = next(line for number, line in enumerate(file) if number == middle).decode().strip()
        look_up = "import sys, mk; print(mk.connect().offset_for_time(sys.argv[1], 0, int(sys.argv[2])))"
        middle_ms = str(int((began + time.time()) * 500))
        python = interpreter_of(self.mk)
        self.group(
            "find",
            f"One offset, one time, in a partition of {self.options.lines:,} records",
            [
                Command("10 records: -o 5 -n 1", [self.mk, "consume", "small", "-o", "5", "-n", "1"]),
                Command(f"-o {middle} -n 1", [self.mk, "consume", "big", "-o", str(middle), "-n", "1"], expect=wanted),
                Command("-o -1 -n 1", [self.mk, "consume", "big", "-o", "-1", "-n", "1"]),
                Command("10 records: a time (Python)", [python, "-c", look_up, "small", middle_ms]),
                Command("a time (Python)", [python, "-c", look_up, "big", middle_ms]),
            ],
            rounds=self.options.rounds * SHORT_ROUNDS,
        )

    def topics(self) -> None:
        self.fresh_directory()
        python = interpreter_of(self.mk)
        few, many = str(self.directory / "few"), str(self.directory / "many")
        for directory, count in ((few, 10), (many, MANY_TOPICS)):
            done = subprocess.run(
                [python, "-c", MAKE_TOPICS, directory, str(count)], stderr=subprocess.PIPE, check=False
            )
            if done.returncode:
                print(f"\ntopics: cannot make {count} topics: {done.stderr.decode()}")
        repository = Path(__file__).parents[1]
        complete = {
            "bash": f". {repository}/completions/mk.bash; COMP_WORDS=(mk consume '') COMP_CWORD=2; _mk; echo ${{#COMPREPLY[@]}}",
            "fish": f". {repository}/completions/mk.fish; complete -C 'mk consume ' | count",
        }
        commands = []
        for words in (["topics"], ["topics", "--json"], ["produce", "t-1", "v"], ["consume", "t-1", "-n", "1"]):
            for directory, count in ((few, 10), (many, MANY_TOPICS)):
                commands.append(Command(f"{count}: mk {' '.join(words)}", [self.mk, *words, "-d", directory]))
        for shell, script in complete.items():
            for directory, count in ((few, 10), (many, MANY_TOPICS)):
                line = ["env", f"MK_DIR={directory}", shell, "-c", script]
                commands.append(Command(f"{count}: completion, {shell}", line, expect=str(count)))
        self.group("topics", f"Ten topics and {MANY_TOPICS:,}", commands, rounds=self.options.rounds)

    def remote(self) -> None:
        """Through a real ssh to this machine, which is the limit: both ends of it, and of mk, share the processors."""
        self.fresh_directory()
        try:
            sshd = LoopbackSshd(self.directory / "sshd")
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"\nno sshd, remote is left out: {error}")
            return
        far = f"{sshd.host}:{self.directory}/mk"
        self.env.update(SSH=f"{sshd.ssh} {sshd.host}", FAR=far, MK_RSH=sshd.ssh, MK_REMOTE_PATH=self.mk)
        lines = str(self.options.lines)
        try:
            self.group(
                "remote",
                f"{self.options.lines:,} lines to another host",
                [
                    Command(
                        "cat | ssh host 'cat >> log && sync log'",
                        'cat "$FILE" | $SSH "cat >> $LOG && sync $LOG"',
                        prepare=self.fresh_log,
                    ),
                    Command(
                        "cat | mk produce t -d host:dir",
                        'cat "$FILE" | "$MK" produce t -d "$FAR"',
                        prepare=self.fresh_directory,
                    ),
                ],
                rounds=self.options.rounds,
            )
            self.fresh_directory()
            if failure := self.produce('"$MK" produce t < "$FILE"'):
                print(f"\nremote: cannot fill a topic: {failure}")
            self.group(
                "remote",
                f"{self.options.lines:,} lines from another host",
                [
                    Command("ssh host 'cat log' | wc -l", '$SSH "cat $FILE" | wc -l', expect=lines),
                    Command("mk consume t -d host:dir | wc -l", '"$MK" consume t -d "$FAR" | wc -l', expect=lines),
                ],
                rounds=self.options.rounds,
            )
            self.group(
                "remote",
                "One record, one process, another host",
                [
                    Command("ssh host 'cat >> log && sync log'", 'echo v | $SSH "cat >> $LOG && sync $LOG"'),
                    Command("mk produce s v -d host:dir", [self.mk, "produce", "s", "v", "-d", far]),
                    Command("mk consume s -n 1 -d host:dir", [self.mk, "consume", "s", "-n", "1", "-d", far]),
                ],
                rounds=self.options.rounds * SHORT_ROUNDS,
            )
        finally:
            sshd.close()


GROUPS: dict[str, Callable[[Bench], None]] = {
    "bulk-produce": Bench.bulk_produce,
    "keyed-produce": Bench.keyed_produce,
    "bulk-consume": Bench.bulk_consume,
    "formats": Bench.record_formats,
    "verify": Bench.verify,
    "cold-start": Bench.cold_start,
    "memory": Bench.memory,
    "find": Bench.find,
    "topics": Bench.topics,
    "remote": Bench.remote,
}


def show(seconds: float) -> str:
    return f"{seconds * 1000:8.1f} ms"


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


def file_system_of(path: Path) -> str:
    """Return the type of the file system that `path` is on, as far as the system says."""
    best = ("", "unknown")
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return best[1]
    for mount in mounts:
        point, kind = mount.split(" ")[1:3]
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def output_of(*arguments: str) -> str:
    """Return what a command prints, or nothing if it fails."""
    try:
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine(bench: Bench) -> dict[str, object]:
    here = str(Path(__file__).parent)
    models = [line for line in output_of("cat", "/proc/cpuinfo").splitlines() if line.startswith("model name")]
    commit = output_of("git", "-C", here, "rev-parse", "--short", "HEAD")
    if commit and output_of("git", "-C", here, "status", "--porcelain"):
        commit += "+changes"
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{os.cpu_count()} x {models[0].split(':')[1].strip() if models else platform.processor()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": file_system_of(bench.directory),
        "python": output_of(bench.python, "-I", "-c", "import sys; print(sys.version.split()[0])"),
        "mk": output_of(bench.mk, "--version"),
        "commit": commit,
        "lines": bench.options.lines,
        "rounds": bench.options.rounds,
    }


def main() -> int:
    beside = os.path.join(os.path.dirname(sys.executable), "mk")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=2_000_000, metavar="N", help="lines of the bulk runs (2000000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="rounds of the bulk runs (5)")
    parser.add_argument("--only", action="append", choices=sorted(GROUPS), metavar="NAME", help=", ".join(GROUPS))
    parser.add_argument("--json", metavar="FILE", help="write all results there too")
    parser.add_argument("--mk", default=beside, metavar="PATH", help=f"the mk to run ({beside})")
    parser.add_argument(
        "--dir", metavar="DIR", help="make the temporary directory there: choose the file system to test"
    )
    options = parser.parse_args()
    if not os.access(options.mk, os.X_OK):
        parser.error(f"no mk at {options.mk}: install it, or name one with --mk")
    if options.lines < 20 or options.rounds < 1:
        parser.error("takes at least 20 lines and 1 round")
    options.mk = os.path.abspath(options.mk)
    with tempfile.TemporaryDirectory(prefix="mk-benchmark-", dir=options.dir) as name:
        bench = Bench(options, Path(name).resolve())
        about = machine(bench)
        print(*(f"{key}: {value}" for key, value in about.items()), sep="\n", flush=True)
        make_lines(bench.directory, options.lines)
        for group in GROUPS if options.only is None else options.only:
            GROUPS[group](bench)
        if options.json:
            Path(options.json).write_text(json.dumps({**about, "results": bench.results}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
