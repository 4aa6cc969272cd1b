"""Bugs planted in mk, one at a time, and whether its tests notice: `python -m tests.proof.planted [NAME ...]`.

Each bug of tests/proof/bugs is one that an engineer could make: a sync left out, two steps in the wrong order, a look that is
not taken again under the lock. It is put into a copy of this source tree, with an interpreter beside it to which that copy
is the installed mk, so that also the processes that tests start run the planted code. Then the tests run that are there to
notice. First they have to pass without a bug.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from tests.proof.bugs import BUGS, SAMPLE
from tests.proof.figures import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.proof.bugs import Bug

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("mk", "tests", "man", "completions", "benchmarks", "pyproject.toml", "README.md", "CHANGELOG.md", "Makefile")
_LIMIT_SECONDS = 600
"""For one run of pytest. A test that a bug makes wait for ever would otherwise have us do so."""

_PASSED = re.compile(r"^(tests/.+?) PASSED\b", re.MULTILINE)
_FAILED = re.compile(r"^(?:ERROR|FAILED) (tests/.+?)(?: - .*)?$", re.MULTILINE)
"""What stands at the end again, since a test's own output may have come between its name and its outcome."""


class PlantingError(Exception):
    """A bug cannot be put in: its text is not in the source, or not just once."""


def planted(bug: Bug, source: str) -> str:
    """Return a module's source with the bug in it."""
    found = source.count(bug.old)
    if found != 1:
        raise PlantingError(f"{bug.name}: {bug.file} has its text {found} times")
    return source.replace(bug.old, bug.new)


def _write(path: Path, source: str) -> None:
    """Change a module. What was compiled of it goes by size and second of the change alone, and both may be the same."""
    path.write_text(source)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


class Run:
    """How a run of pytest ended, and which tests passed and failed in it."""

    def __init__(self, status: int, output: str, seconds: float) -> None:
        self.status = status
        self.output = output
        self.seconds = seconds
        self.passed = set(_PASSED.findall(output))
        self.failed = set(_FAILED.findall(output))

    @property
    def is_failure(self) -> bool:
        """Tell whether tests failed, and not pytest itself, which could not run them."""
        return self.status == 1 and bool(self.failed)


class Workspace:
    """A copy of the source tree, and an interpreter for which the mk in it is the installed one."""

    def __init__(self, place: Path) -> None:
        self._tree = place / "tree"
        self._tree.mkdir(parents=True)
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self._tree / name)
            elif (ROOT / name).exists():
                shutil.copy2(ROOT / name, self._tree / name)
        environment = place / "venv"
        venv.EnvBuilder(symlinks=True).create(environment)
        self._python = environment / "bin" / Path(sys.executable).name
        if not self._python.exists():
            self._python = environment / "bin" / "python"
        # The copy in front of what we have ourselves: a path of a .pth file comes behind the directory that it is in, and
        # the .pth files of the directories that it names, such as that of an editable mk, are not read.
        packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        own = next(environment.glob("lib/python*/site-packages"))
        (own / "planted.pth").write_text("\n".join([str(self._tree), *packages]) + "\n")
        script = (self._tree / "mk" / "cli" / "mk").read_text().partition("\n")[2]
        installed = environment / "bin" / "mk"
        installed.write_text(f"#!{self._python}\n{script}")
        installed.chmod(0o755)
        self._temporary = place / "tmp"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MK_", "PYTEST_", "PYTHON"))},
            "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
            "TMPDIR": str(self._temporary),
            "COLUMNS": "500",
        }
        self._check_is_run()

    def _check_is_run(self) -> None:
        """Have a bug that nobody can miss show that what is planted is what runs, imported and as a command."""
        self._temporary.mkdir()
        path = self._tree / "mk" / "errors.py"
        source = path.read_text()
        _write(path, source + "\nraise RuntimeError('this mk is planted')\n")
        try:
            commands = ([self._python, "-c", "import mk.errors"], [self._python.with_name("mk"), "produce"])
            for command in commands:
                done = subprocess.run(
                    command, cwd="/", env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
                )
                if b"this mk is planted" not in done.stderr:
                    raise PlantingError(f"{command} runs another mk: {done}")
        finally:
            _write(path, source)

    def with_bug(self, bug: Bug, tests: Sequence[str]) -> Run:
        """Run tests with a bug until the first one fails."""
        path = self._tree / bug.file
        source = path.read_text()
        _write(path, planted(bug, source))
        try:
            return self.run(tests, "-x")
        finally:
            _write(path, source)

    def run(self, tests: Sequence[str], *options: str) -> Run:
        """Run tests of the copy."""
        began = time.monotonic()
        command: list[str | Path] = [
            self._python,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            "-o",
            "console_output_style=classic",
            # The bugs are in the log directory, which a Kafka has none of.
            "-m",
            "not slow and not kafka",
        ]
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [*command, *options, *tests],
                cwd=self._tree,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(_LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                status = -1
            finally:
                try:
                    os.killpg(process.pid, signal.SIGKILL)  # And with it what its tests have left running.
                except ProcessLookupError:
                    pass
                process.wait()
            output.seek(0)
            text = output.read().decode(errors="replace")
        for left in self._temporary.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        return Run(status, text, time.monotonic() - began)


class Campaign:
    """Bugs to plant, by threads that have a workspace each and take the next one as long as there are any."""

    def __init__(self, bugs: Sequence[Bug], place: Path, jobs: int, verbose: bool) -> None:
        self._bugs = list(bugs)
        self._place = place
        self._jobs = jobs
        self._verbose = verbose
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []
        self._good: set[str] = set()
        self._bad: set[str] = set()
        self.caught = self.missed = self.skipped = self.not_run = 0

    def run(self) -> None:
        spaces = [Workspace(self._place / str(number)) for number in range(self._jobs)]
        selections = sorted({test for bug in self._bugs for test in bug.tests})
        self._side_by_side(
            spaces, [selections[number :: self._jobs] for number in range(self._jobs)], self._try_without
        )
        self._side_by_side(spaces, [[] for _ in range(self._jobs)], self._plant)

    def _side_by_side(
        self, spaces: list[Workspace], shares: list[list[str]], work: Callable[[Workspace, list[str]], None]
    ) -> None:
        threads = []
        for space, share in zip(spaces, shares):
            thread = threading.Thread(target=self._guarded, args=(work, space, share))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _guarded(self, work: Callable[[Workspace, list[str]], None], space: Workspace, share: list[str]) -> None:
        try:
            work(space, share)
        except BaseException as error:
            self._errors.append(error)

    def _try_without(self, space: Workspace, selections: list[str]) -> None:
        """Find out which selections pass without a bug."""
        if not selections:
            return
        run = space.run(selections)
        with self._lock:
            for selection in selections:
                passed, failed = ([test for test in of if _is_of(test, selection)] for of in (run.passed, run.failed))
                if failed or run.status not in (0, 1):
                    self._bad.add(selection)
                elif passed:
                    self._good.add(selection)
            if run.failed or run.status not in (0, 1):
                print(f"without a bug: {', '.join(sorted(run.failed)) or 'pytest'} failed", flush=True)
                print(run.output[-4000:], flush=True)

    def _plant(self, space: Workspace, _: list[str]) -> None:
        while True:
            with self._lock:
                if not self._bugs or self._errors:
                    return
                bug = self._bugs.pop(0)
            tests = [test for test in bug.tests if test in self._good]
            if not self._bad.isdisjoint(bug.tests):
                self._tell(bug, "NOT RUN: its tests fail without it")
                self.not_run += 1
                continue
            if not tests:
                self._tell(bug, "skipped, as its tests are here")
                self.skipped += 1
                continue
            run = space.with_bug(bug, tests)
            if run.is_failure:
                self._tell(bug, f"caught by {min(run.failed)} in {run.seconds:.1f} s")
                self.caught += 1
                count("planted")
                count("caught")
                continue
            why = {0: "", -1: ": a test hangs"}.get(run.status, f": pytest ended with status {run.status}")
            self._tell(bug, f"NOT CAUGHT{why} in {run.seconds:.1f} s")
            if why or self._verbose:
                print(run.output[-3000:], flush=True)
            self.missed += 1
            count("planted")

    def _tell(self, bug: Bug, what: str) -> None:
        with self._lock:
            print(f"{bug.name:<44} {bug.promise:<10} {what}", flush=True)


def _is_of(test: str, selection: str) -> bool:
    return test == selection or test.startswith((f"{selection}[", f"{selection}::", f"{selection}/"))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.proof.planted", description="Plant bugs in mk, and see who notices."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="bugs, or the beginnings of their names; all by default"
    )
    parser.add_argument("--sample", action="store_true", help="a dozen bugs, one of each promise at least")
    parser.add_argument("--list", action="store_true", help="list the bugs, and plant none")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show what pytest said of bugs that nobody noticed"
    )
    arguments = parser.parse_args(words)
    bugs = _chosen(arguments.names, SAMPLE if arguments.sample else None)
    if arguments.list:
        for bug in bugs:
            print(f"{bug.name:<44} {bug.promise:<10} {bug.file}")
        print(f"{len(bugs)} bugs")
        return 0
    if not bugs:
        parser.error("there is no such bug")
    began = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="mk-planted-"))
    # Tests of other users need a way in.
    place.chmod(0o755)
    try:
        campaign = Campaign(bugs, place, max(1, min(arguments.jobs, len(bugs))), arguments.verbose)
        campaign.run()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(
        f"{campaign.caught + campaign.missed} bugs planted, {campaign.caught} caught, {campaign.missed} not caught"
        + (f", {campaign.skipped} skipped" if campaign.skipped else "")
        + (f", {campaign.not_run} not run" if campaign.not_run else "")
        + f", in {time.monotonic() - began:.0f} s"
    )
    return 0 if campaign.missed == campaign.not_run == 0 else 1


def _chosen(names: Iterable[str], sample: Sequence[str] | None) -> list[Bug]:
    wanted = tuple(names)
    return [
        bug for bug in BUGS if (not wanted or bug.name.startswith(wanted)) and (sample is None or bug.name in sample)
    ]


if __name__ == "__main__":
    sys.exit(main())
