"""The command that fuzzes: each target in a process of its own, two at a time, and a line of figures for each."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests.proof.figures import count
from tests.proof.fuzz.everything import TARGETS
from tests.proof.fuzz.target import Target

EX_UNAVAILABLE = 69
_MEMORY = "/dev/shm"
"""Where a target's directories are: what is synced thousands of times is to wait for no disk."""

_DONE = re.compile(rb"Done (\d+) runs in")
_PROGRESS = re.compile(rb"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
_HANG_SECONDS = 120
_START_SECONDS = 600


class Result(NamedTuple):
    """What came of one target. failure: what was raised and the input that raised it, "" if nothing was."""

    target: str
    executions: int
    corpus: int
    coverage: int
    failure: str

    def __str__(self) -> str:
        line = (
            f"{self.target:<16} {self.executions:>10} executions  corpus {self.corpus:>5}  coverage {self.coverage:>5}"
        )
        return f"{line}  FAILED\n{self.failure}" if self.failure else line


def run(target: Target, *, seconds: int, runs: int, corpus: Path | None = None, seed: int = 0) -> Result:
    """Fuzz one target for so many seconds, or so many runs; 0 is no limit. corpus: where what is found is kept."""
    with tempfile.TemporaryDirectory(
        prefix="mk-fuzz-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None
    ) as scratch:
        place = Path(scratch) / "corpus" if corpus is None else corpus / target.name
        place.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(target.seeds()):
            (place / f"seed-{number}").write_bytes(data[: target.max_bytes])
        options = [
            f"-max_total_time={seconds}",
            f"-runs={runs or -1}",
            f"-max_len={target.max_bytes}",
            f"-artifact_prefix={scratch}/found-",
            f"-timeout={_HANG_SECONDS}",
            "-rss_limit_mb=4096",
            f"-seed={seed}",
        ]
        command = [sys.executable, "-m", "tests.proof.fuzz.one", target.name, *options, str(place)]
        # Its scratch files too: a target that is ended by a failure removes nothing.
        environ = {**os.environ, "TMPDIR": scratch, "PYTHONHASHSEED": "0"}
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ)
        try:
            said, _ = child.communicate(timeout=None if runs else seconds + _START_SECONDS)
        except BaseException:
            child.send_signal(signal.SIGKILL)
            child.wait()
            raise
        found = sorted(Path(scratch).glob("found-*"))
        done, progress = _DONE.search(said), _PROGRESS.findall(said)
        executions, coverage, _, corpus_size = (int(number) for number in (progress or [(0, 0, 0, 0)])[-1])
        executions = int(done[1]) if done else executions
        failure = ""
        if child.returncode or found or not done:
            failure = _failure(target.name, said, [path.read_bytes() for path in found])
        return Result(target.name, executions, corpus_size, coverage, failure)


def _failure(name: str, said: bytes, inputs: list[bytes]) -> str:
    text = said.decode(errors="backslashreplace")
    at = text.find("Uncaught Python exception")
    shown = text[at:] if at >= 0 else text[-4000:]
    lines = [line for line in shown.splitlines() if not line.startswith(("#", "INFO", "WARNING"))]
    for data in inputs:
        lines.append(f"input {sha256(data).hexdigest()[:12]} of {name}: {data!r}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if no target failed, 1 if one did, 69 where atheris is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=0, help="for each target; 3 if --runs is not given")
    parser.add_argument("--runs", type=int, default=0, help="executions of each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--seed", type=int, default=0, help="0 is another one each time")
    parser.add_argument(
        "--corpus", type=Path, help="a directory in which what reached something new is kept, and begun with"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        print("atheris is missing: pip install -e '.[fuzz]'", file=sys.stderr)
        return EX_UNAVAILABLE
    seconds = options.seconds or (0 if options.runs else 3)
    failed = executions = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        pending = [
            pool.submit(
                run, TARGETS[name], seconds=seconds, runs=options.runs, corpus=options.corpus, seed=options.seed
            )
            for name in options.targets or TARGETS
        ]
        for one in as_completed(pending):
            result = one.result()
            print(result, flush=True)
            executions += result.executions
            failed += bool(result.failure)
            if not result.failure:
                count("fuzz", result.executions)
    print(f"{executions} executions of {len(pending)} targets, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
