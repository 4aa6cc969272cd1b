"""Run the whole proof, and write down what was struck: `python -m tests.proof`, `--sample` for some minutes of it.

    python -m tests.proof [--sample] [--limit MINUTES] [--only NAME ...] [--jobs N] [--results FILE] [--list] [--table FILE]

Each proof is a part of the tests, or a command beside them, that strikes mk in one way; the tests count what they struck
(figures.py). The results go into a JSON file, each proof's as soon as it has ended, and those of proofs that are not run
stay as they are: what takes hours may be run in parts. With a limit, each proof that would go on longer is stopped then;
its tests come in an order of their own each time, so that none is always left out. The table that is printed in the end is
the README's.

Exit status: 0 if every proof held, 1 if one did not.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.proof.figures import totals
from tests.proof.table import table

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")
_FAILURES = re.compile(r"^(FAILED|ERROR) |\d+ (failed|error)", re.MULTILINE)
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


class Proof(NamedTuple):
    """One way to strike mk. deep, sample: arguments of this interpreter; no sample where the ordinary tests have it."""

    name: str
    shows: str
    deep: tuple[str, ...]
    sample: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


def tests(*places: str, jobs: bool = True) -> tuple[str, ...]:
    """Return the arguments that run tests with all of their cases."""
    return (*PYTEST, *(("-n", "JOBS") if jobs else ()), "-m", "", *places)


def by_name(folder: str, *names: str) -> tuple[str, ...]:
    """Return the paths of test modules of a folder; `*` stands for any rest of a name."""
    found = [sorted(ROOT.glob(f"{folder}/test_{name}.py")) for name in names]
    return tuple(str(path.relative_to(ROOT)) for paths in found for path in paths)


PROOFS = (
    Proof(
        "power cuts",
        "no directory that a power cut may leave lacks anything acknowledged",
        (*tests("tests/crash"), "--ignore=tests/crash/test_flips.py"),
    ),
    Proof(
        "histories",
        "whatever is done, killed and cut off in any order, plain lists say what must be there",
        tests(
            *by_name(
                "tests/property",
                "directory_machine",
                "partition_log_machine",
                "follower_machine",
                "replication_histories",
                "compacted_histories",
            )
        ),
        environment=(("HYPOTHESIS_PROFILE", "deep"),),
    ),
    Proof(
        "every system call",
        "each call of each command fails or kills once, or from then on; the next command works",
        tests(
            *by_name(
                "tests/multiprocess",
                "failing_disk",
                "kill_at_every_call",
                "every_command_struck",
                "clone_interrupted",
                "compacting_producer",
                "compaction",
                "group_commands",
                "producer_id",
                "removal",
                "repair",
                "snapshot*",
            )
        ),
    ),
    Proof(
        "storms",
        "producers, members and replicas killed, stopped and continued at random leave no anomaly",
        tests(
            *by_name(
                "tests/multiprocess",
                "storm",
                "group_storm",
                "great_storm",
                "kill_storm",
                "changes_in_a_storm",
                "kills_while_following",
                "fail_over",
                "claims",
                "fencing_races",
            )
        ),
    ),
    Proof(
        "readers",
        "a reader sees each record once and in order while the log is repaired, rolled, trimmed, compacted and cut",
        tests(*by_name("tests/multiprocess", "reader_races", "readers_of_changes", "readers_of_a_copy")),
    ),
    Proof(
        "flips",
        "each bit of each file flipped, each length cut: noticed or harmless, never other data",
        tests("tests/crash/test_flips.py", *by_name("tests/property", "record_batch", "offset_index")),
    ),
    Proof(
        "fuzzing",
        "no input makes a parser fail other than as it says, take much memory or long",
        ("-m", "tests.proof.fuzz", "--seconds", "SECONDS"),
        sample=("-m", "tests.proof.fuzz", "--seconds", "3", "--runs", "1000", "--seed", "1"),
    ),
    Proof(
        "attacks",
        "what a hostile neighbour, record or peer tries is refused, and costs nobody else anything",
        tests("tests/transports", *by_name("tests/cli", "hostile_*")),
    ),
    Proof(
        "environment",
        "few descriptors, small limits, full and foreign disks, other users, wrong clocks, cut networks",
        tests(*by_name("tests/multiprocess", "environment_*")),
    ),
    Proof(
        "planted bugs",
        "each bug that is planted in mk is noticed",
        ("-m", "tests.proof.planted", "--jobs", "JOBS"),
        sample=("-m", "tests.proof.planted", "--sample", "--jobs", "JOBS"),
    ),
)


class Run:
    """The proofs of one call, and where their results go."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.results: Path = options.results
        self.found = json.loads(self.results.read_text()) if self.results.exists() else {}
        self.found.update(machine(), sample=options.sample)
        self.found.setdefault("proofs", {})

    def proof(self, proof: Proof) -> bool:
        """Run one, and note what it came to. Returns whether it held."""
        words = proof.sample if self.options.sample else proof.deep
        limit, jobs = self.options.limit, self.options.jobs
        # The fuzzer ends by itself: what it has for each of its targets, some forty, is all that it may take.
        values = {"JOBS": jobs, "SECONDS": max(3, int(limit * 60 * jobs / 40)) if limit else 60}
        words = tuple(str(values.get(word, word)) for word in words)
        print(f"{proof.name}: {' '.join(words)}", flush=True)
        with tempfile.TemporaryDirectory(prefix="mk-proof-") as folder:
            figures, output = Path(folder) / "figures", Path(folder) / "output"
            environment = {**os.environ, **dict(proof.environment), "MK_PROOF_FIGURES": str(figures)}
            if self.options.limit:
                environment["MK_PROOF_ORDER"] = str(time.time_ns())
            began = time.monotonic()
            with open(output, "wb") as file:
                process = subprocess.Popen(
                    [sys.executable, *words],
                    cwd=ROOT,
                    env=environment,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                status, is_stopped = self._wait(process, words)
            seconds = time.monotonic() - began
            text = output.read_text(errors="replace")
            struck = {figure: number for figure, number in totals(str(figures)).items() if number}
        lines = text.rstrip().splitlines()
        if status == os.EX_UNAVAILABLE:
            print(f"  left out: {lines[-1] if lines else 'something that it needs is not here'}", flush=True)
            return True
        held = status == 0 or (is_stopped and not _FAILURES.search(text))
        self.found["proofs"][proof.name] = {
            "shows": proof.shows,
            "held": held,
            "stopped": is_stopped,
            "figures": struck,
            "seconds": round(seconds),
            "ended_with": lines[-1].strip("= ") if lines else "",
            **commit(),
        }
        print(f"  {'held' if held else 'DID NOT HOLD'} after {seconds:.0f} s: {struck}", flush=True)
        self.results.parent.mkdir(exist_ok=True)
        if not held:
            log = self.results.with_name(f"{self.results.stem}-{proof.name.replace(' ', '-')}.log")
            log.write_text(text)
            print("\n".join([*lines[-40:], f"  all of its output is in {log}"]), flush=True)
        self.results.write_text(json.dumps(self.found, indent=1) + "\n")
        return held

    def _wait(self, process: subprocess.Popen[bytes], words: tuple[str, ...]) -> tuple[int, bool]:
        """Wait until a proof has ended, or stop it at the limit. Returns its status, and whether it was stopped."""
        limit = self.options.limit * 60 if self.options.limit and "pytest" in words else None
        try:
            return process.wait(limit), False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            return process.wait(), True
        finally:
            # What tests that were stopped have left running.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def machine() -> dict[str, object]:
    """Return what a reader of the figures has to know of where they come from."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    file_system = (
        subprocess.run(["df", "--output=fstype", tempfile.gettempdir()], capture_output=True, text=True, check=False)
        .stdout.rpartition("\n")[0]
        .rpartition("\n")[2]
    )
    return {
        "machine": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "system": f"{platform.system()} {platform.release()}, {file_system}",
        "python": platform.python_version(),
    }


def commit() -> dict[str, str]:
    """Return what was run, and on which day."""
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {"commit": head.stdout.strip(), "date": datetime.date.today().isoformat()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", action="store_true", help="a few minutes of what takes hours")
    parser.add_argument("--limit", type=float, metavar="MINUTES", help="stop each proof then, whatever is left of it")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[proof.name for proof in PROOFS])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many tests side by side")
    parser.add_argument("--results", type=Path, help="the JSON file; by default one of today's in tests/proof/results")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of an earlier run")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return 0
    chosen = [proof for proof in PROOFS if not options.only or proof.name in options.only]
    if options.sample:
        chosen = [proof for proof in chosen if proof.sample]
    if options.list:
        for proof in chosen:
            print(f"{proof.name:<24} {proof.shows}")
        return 0
    name = "sample" if options.sample else datetime.date.today().isoformat()
    options.results = options.results or RESULTS / f"{name}.json"
    run = Run(options)
    held = [run.proof(proof) for proof in chosen]
    print(table(run.found))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
