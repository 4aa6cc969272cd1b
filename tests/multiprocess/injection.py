"""Killing and failing mk at one chosen system call, by strace.

A first run counts: which call, of those that change a directory or may fail, is the how-manieth of its name. Then each
of those that concern the log directory can be struck alone. Calls of Python's own start-up and imports are left alone.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from processes import ENVIRONMENT, MK, TIMEOUT, Result, wait_until

CALLS = [
    "openat",
    "write",
    "writev",
    "pwrite64",
    "fdatasync",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "ftruncate",
    "flock",
    "close",
    "mkdir",
    "mkdirat",
    "rmdir",
]
CHANGES = [
    "write",
    "writev",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "ftruncate",
    "flock",
    "mkdir",
    "mkdirat",
    "rmdir",
]
READS = ("pread64", "preadv", "getdents64", "newfstatat", "fadvise64")

STRACE = shutil.which("strace")


def _may_trace():
    if STRACE is None:
        return False
    return subprocess.run([STRACE, "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


needs_strace = pytest.mark.skipif(not _may_trace(), reason="needs strace, and a system that lets it trace")


class Point:
    """One system call of one command: the `number`th of its name in its thread, from 1. `line` is what strace printed."""

    def __init__(self, call, number, line, thread=None):
        self.call = call
        self.number = number
        self.line = line
        self.thread = thread

    @property
    def changes_something(self):
        """Tell whether a kill before this call leaves another directory, or another lock, than one before the next call."""
        return self.call in CHANGES or (self.call == "openat" and "O_CREAT" in self.line)

    def __repr__(self):
        return f"{self.call} number {self.number}: {self.line}"


def paths_of(directory):
    """Return strace's options that leave out all calls but those on what is in `directory` now, and on its directories."""
    return [word for path in (directory, *sorted(directory.rglob("*"))) for word in ("-P", str(path))]


def points_of(directory, arguments, *, stdin=b"", calls=CALLS, only=(), within=None, variables=None, statuses=(0,)):
    """Run a command on `directory` to its end, and return its Points there, in order; `only` is from paths_of.

    within: the directory whose Points they are, if it is not `directory`. variables: of its environment, besides.
    """
    within = str(within or directory)
    with tempfile.NamedTemporaryFile() as trace:
        options = ["-f", "--seccomp-bpf", "-qq", "-y", *only, "-o", trace.name, "-e", "trace=" + ",".join(calls)]
        result = _strace(options, directory, arguments, stdin, variables)
        assert result.status in statuses, result
        counts, points = {}, []
        for line in Path(trace.name).read_text(errors="replace").splitlines():
            match = re.match(r"(\d+) +(\w+)\((.*)", line)
            if match is None:
                continue
            # strace counts the calls of each thread for itself.
            thread, call, rest = match.groups()
            counts[thread, call] = counts.get((thread, call), 0) + 1
            # Writing to standard error is where an append is acknowledged.
            if within in rest or (call == "write" and rest.startswith("2<")):
                points.append(Point(call, counts[thread, call], rest.replace(within, "MK_DIR")[:160], thread))
        assert points
        return points


def to_kill_at(points, thoroughness, count=7):
    """Return all of a command's points, or a sample of those behind which something has changed."""
    if thoroughness.is_full:
        return points
    changing = [point for point in points if point.changes_something]
    return thoroughness.of(changing, count, kind=lambda point: point.call)


def kill_at(point, directory, arguments, *, stdin=b"", variables=None):
    """Run a command that is killed as it enters `point`, before the call is made."""
    result = signal_at(point, signal.SIGKILL, directory, arguments, stdin=stdin, variables=variables)
    assert result.status == -9, f"not killed at {point}: {result}"
    return result


def signal_at(point, number, directory, arguments, *, stdin=b"", only=(), variables=None):
    """Run a command that is sent a signal as it enters `point`."""
    # Without --seccomp-bpf, with which strace 6.1 sends no signals.
    with tempfile.NamedTemporaryFile() as trace:
        options = ["-f", "-q", *only, "-o", trace.name, "-e", f"trace={point.call}"]
        options += ["-e", f"inject={point.call}:signal={number.name[3:]}:when={point.number}"]
        result = _strace(options, directory, arguments, stdin, variables)
        result.struck = Path(trace.name).read_text(errors="replace").count(f"by {number.name}") + (
            result.status == -number
        )
    return result


def fail_at(faults, directory, arguments, *, stdin=b"", only=(), variables=None):
    """Run a command in which calls fail. `faults` are (point, what, when): "error=EIO" or "retval=17", "" or "+".

    With "+", when all later calls of that name fail as well, `only` must keep Python's own imports out of it; the points
    must then have been counted with it too.
    """
    with tempfile.NamedTemporaryFile() as trace:
        options = ["-f", "--seccomp-bpf", "-qq", *only, "-o", trace.name]
        options += ["-e", "trace=" + ",".join({point.call for point, _, _ in faults})]
        for point, what, when in faults:
            options += ["-e", f"inject={point.call}:{what}:when={point.number}{when}"]
        result = _strace(options, directory, arguments, stdin, variables)
        result.struck = Path(trace.name).read_text().count("(INJECTED)")
    return result


def _strace(options, directory, arguments, stdin, variables=None):
    process = subprocess.Popen(
        [STRACE, *options, MK, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, "MK_DIR": str(directory), **(variables or {})},
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"hung: mk {arguments}, {options}") from None
    return Result(process, stdout, stderr)


class Stopped:
    """A command that stopped itself right after the call at `point`, to be continued when something else has happened."""

    def __init__(self, point, directory, arguments):
        self._trace = tempfile.NamedTemporaryFile()  # noqa: SIM115  closed by finish
        options = ["-f", "-q", "-o", self._trace.name, "-e", f"trace={point.call}"]
        options += ["-e", f"inject={point.call}:signal=STOP:when={point.number}"]
        self._process = subprocess.Popen(
            [STRACE, *options, MK, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, "MK_DIR": str(directory)},
        )

    def wait(self):
        """Wait until it has stopped."""
        stopped = wait_until(
            lambda: (
                re.search(r"^(\d+) +--- stopped by SIGSTOP", Path(self._trace.name).read_text(), re.MULTILINE)
                or self._process.poll() is not None
            )
        )
        assert stopped is not True, f"it ended: {self._process.communicate()}"
        self.pid = int(stopped[1])

    def finish(self):
        """Continue it, and return its Result."""
        os.kill(self.pid, signal.SIGCONT)
        stdout, stderr = self._process.communicate(timeout=TIMEOUT)
        self._trace.close()
        return Result(self._process, stdout, stderr)
