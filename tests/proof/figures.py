"""How much was struck, and what came of it: the numbers behind the README's table.

A test that kills, fails, flips or rebuilds says how often by `count`. In an ordinary run that is forgotten; where the
whole proof runs (`python -m tests.proof`), MK_PROOF_FIGURES names a file that takes one line for each call, also from
processes that run side by side.
"""

from __future__ import annotations

import json
import os

FIGURES = {
    "kills": "processes killed with SIGKILL, at random or at a chosen system call",
    "broken-off": "commands that ended for good at a chosen call of the disk, within one process",
    "stops": "processes stopped with SIGSTOP or ^Z and continued",
    "faults": "system calls that failed, were cut short, or were refused space",
    "states": "directories rebuilt as a power cut may leave them",
    "histories": "random histories held against plain lists",
    "flips": "bits flipped, bytes changed and files cut short",
    "fuzz": "inputs that a fuzzer gave to a parser",
    "attacks": "attempts of a hostile neighbour, record or peer",
    "acknowledged": "records acknowledged and accounted for",
    "commits": "commits of groups acknowledged and accounted for",
    "planted": "bugs planted in mk",
    "caught": "planted bugs that a test caught",
}
"""Each figure's name, and what one of it is."""


def count(figure: str, number: int = 1) -> None:
    """Add to a figure. number: how often it was done, and held."""
    if figure not in FIGURES:
        raise KeyError(figure)
    path = os.environ.get("MK_PROOF_FIGURES")
    if not path or not number:
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    line = json.dumps({"figure": figure, "number": number, "test": test}) + "\n"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def totals(path: str) -> dict[str, int]:
    """Return the sum of each figure that a file has taken; 0 of those it has none of."""
    found = dict.fromkeys(FIGURES, 0)
    try:
        with open(path) as lines:
            for line in lines:
                entry = json.loads(line)
                found[entry["figure"]] += entry["number"]
    except FileNotFoundError:
        pass
    return found
