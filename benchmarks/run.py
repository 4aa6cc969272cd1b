#!/usr/bin/env python3
"""Measure whole `mk` processes beside the limits of the machine and the neighbours that are installed.

    python benchmarks/run.py [--quick] [--only NAME ...] [--lines N] [--rounds R] [--no-neighbours] [--json FILE] [--mk PATH] [--dir DIR]

Single figures vary by a third on a shared machine. So the ways to do a thing take turns within each round, and what counts
is the ratio of their medians. Nothing is asserted: a way that fails is reported and left out. All of it takes about 20
minutes, --quick three. The results go into a file of their day, in which a workload that is measured again takes the place of
its earlier one; `python benchmarks/report.py` makes the README's table and picture of it. Needs only the standard library,
sh and coreutils; beside it, what is there of kcat, java, mvn and confluent-kafka (for Kafka), redis, nats-server, nq, rsync, ssh
and sshd.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import REPOSITORY, Bench, Failed, make_lines, now, temporary_directory
from compression import zstd
from consume import bulk_consume, consume_formats, group_consume, verify
from kafka import kafka_consume, kafka_latency, kafka_produce, kafka_replicate, kafka_start
from latency import idle, latency, many_producers
from memory import memory
from neighbours import output_of
from partitions import many_partitions, seek
from produce import bulk_produce, keyed_produce, produce_formats
from remote import remote
from replication import replicate
from report import summary
from start_up import cold_start

RESULTS = Path(__file__).parent / "results"

WORKLOADS: dict[str, Callable[[Bench], None]] = {
    "bulk-produce": bulk_produce,
    "keyed-produce": keyed_produce,
    "produce-formats": produce_formats,
    "bulk-consume": bulk_consume,
    "group-consume": group_consume,
    "consume-formats": consume_formats,
    "zstd": zstd,
    "verify": verify,
    "cold-start": cold_start,
    "latency": latency,
    "idle": idle,
    "producers": many_producers,
    "partitions": many_partitions,
    "seek": seek,
    "replicate": replicate,
    "remote": remote,
    "memory": memory,
    "kafka-produce": kafka_produce,
    "kafka-consume": kafka_consume,
    "kafka-replicate": kafka_replicate,
    "kafka-start": kafka_start,
    "kafka-latency": kafka_latency,
}


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


def about(bench: Bench) -> dict[str, object]:
    """Return where and with what this was measured, but for the versions of neighbours that did not run yet."""
    models = [line for line in output_of("cat", "/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return {
        "date": now(),
        "machine": f"{os.cpu_count()} x {models[0].split(':')[1].strip() if models else platform.processor()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": file_system_of(bench.directory),
        "python": output_of(bench.python, "-I", "-c", "import sys; print(sys.version.split()[0])"),
        "mk": output_of(bench.mk, "--version"),
        "commit": commit(),
    }


def commit() -> str:
    """Return the commit of this repository, with a mark if mk is not as it was committed."""
    git = ["git", "-C", str(REPOSITORY)]
    found = output_of(*git, "rev-parse", "--short", "HEAD")
    return found + "+changes" if found and output_of(*git, "status", "--porcelain", "mk") else found


def compile_bytecode(bench: Bench) -> None:
    """Write the bytecode of mk: what is installed has it, and a checkout that nobody may write bytecode to has not."""
    found = "import mk, os; print(os.path.dirname(mk.__file__))"
    package = output_of(bench.python, "-c", found)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([bench.python, "-m", "compileall", "-q", package], env=env, check=False)


def keep(path: Path | None, facts: dict[str, object], bench: Bench) -> None:
    """Write the results so far to a file, if there shall be one, in which they take the place of earlier ones of theirs."""
    if path is None:
        return
    kept: dict[str, dict[str, object]] = json.loads(path.read_text()) if path.exists() else {}
    neighbours = {**kept.get("neighbours", {}), **bench.neighbours.left_out, **bench.neighbours.about()}
    workloads = {**kept.get("workloads", {}), **bench.results}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**facts, "neighbours": neighbours, "workloads": workloads}, indent=1) + "\n")


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    beside = os.path.join(os.path.dirname(sys.executable), "mk")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes: 200000 lines, 2 rounds, smaller directories"
    )
    parser.add_argument("--lines", type=int, metavar="N", help="lines of the bulk runs (2000000)")
    parser.add_argument("--rounds", type=int, metavar="R", help="rounds of the bulk runs (5)")
    parser.add_argument("--only", action="append", choices=WORKLOADS, metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument("--no-neighbours", dest="neighbours", action="store_false", help="start no servers")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where the results go (results/DATE.json, unless --quick)"
    )
    parser.add_argument("--mk", default=beside, metavar="PATH", help=f"the mk to run ({beside})")
    parser.add_argument("--dir", metavar="DIR", help="make the temporary directory there: the file system to test")
    options = parser.parse_args(words)
    options.lines = options.lines or (200_000 if options.quick else 2_000_000)
    options.rounds = options.rounds or (2 if options.quick else 5)
    if not os.access(options.mk, os.X_OK):
        parser.error(f"no mk at {options.mk}: install it, or name one with --mk")
    if options.lines < 20 or options.rounds < 1:
        parser.error("takes at least 20 lines and 1 round")
    options.mk = os.path.abspath(options.mk)
    if options.json is None and not options.quick:
        options.json = RESULTS / f"{now()[:10]}.json"
    return options


def main(words: list[str] | None = None) -> int:
    options = options_of(words)
    # Ended in whatever way, it leaves no server and no files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with temporary_directory(options.dir) as name:
        bench = Bench(options, Path(name).resolve())
        compile_bytecode(bench)
        facts = about(bench)
        print(*(f"{key}: {value}" for key, value in facts.items()), sep="\n", flush=True)
        make_lines(bench.directory, options.lines)
        measured_with = {
            "lines": options.lines,
            "quick": options.quick,
            "date": facts["date"],
            "commit": facts["commit"],
        }
        try:
            for workload in options.only or WORKLOADS:
                began = time.monotonic()
                before = set(bench.results)
                try:
                    WORKLOADS[workload](bench)
                except (Failed, OSError, subprocess.SubprocessError) as error:
                    print(f"\n{workload} is left out: {error}", flush=True)
                took = round(time.monotonic() - began, 1)
                for made in set(bench.results) - before:
                    bench.results[made].update(measured_with, took_seconds=took)
                keep(options.json, facts, bench)
        except KeyboardInterrupt:
            return 130
        finally:
            bench.neighbours.stop()
        keep(options.json, facts, bench)  # Now it is known how much memory the servers took.
        if options.json:
            print(f"\nwritten to {options.json}")
        print("\n" + summary({**facts, "workloads": bench.results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
