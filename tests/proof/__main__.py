"""Run the whole proof, and write down what was struck: `python -m tests.proof`, `--sample` for some minutes of it.

    python -m tests.proof [--sample] [--only NAME ...] [--jobs N] [--results FILE] [--list] [--table FILE]

Each proof is a part of the tests, or a command beside them, that strikes mk in one way; the tests count what they struck
(figures.py). The results go into a JSON file, each proof's as soon as it has ended, and those of proofs that are not run
stay as they are: what takes hours may be run in parts. The table that is printed in the end is the README's.

Exit status: 0 if every proof held, 1 if one did not.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
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


PROOFS = (
    Proof(
        "power cuts",
        "each directory that a power cut may leave loses nothing acknowledged",
        tests("tests/crash"),
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
        words = tuple(str(self.options.jobs) if word == "JOBS" else word for word in words)
        print(f"{proof.name}: {' '.join(words)}", flush=True)
        with tempfile.TemporaryDirectory(prefix="mk-proof-") as folder:
            figures, output = Path(folder) / "figures", Path(folder) / "output"
            environment = {**os.environ, **dict(proof.environment), "MK_PROOF_FIGURES": str(figures)}
            began = time.monotonic()
            with open(output, "wb") as file:
                done = subprocess.run(
                    [sys.executable, *words], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
                )
            seconds = time.monotonic() - began
            text = output.read_text(errors="replace")
            struck = {figure: number for figure, number in totals(str(figures)).items() if number}
        lines = text.rstrip().splitlines()
        self.found["proofs"][proof.name] = {
            "shows": proof.shows,
            "held": done.returncode == 0,
            "figures": struck,
            "seconds": round(seconds),
            "ended_with": lines[-1].strip("= ") if lines else "",
            **commit(),
        }
        if done.returncode:
            print("\n".join(lines[-200:]))
        print(f"  {'held' if done.returncode == 0 else 'DID NOT HOLD'} after {seconds:.0f} s: {struck}", flush=True)
        self.results.parent.mkdir(exist_ok=True)
        self.results.write_text(json.dumps(self.found, indent=1) + "\n")
        return done.returncode == 0


def machine() -> dict[str, object]:
    """Return what a reader of the figures has to know of where they come from."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    file_system = subprocess.run(
        ["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True, check=False
    ).stdout.strip()
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
