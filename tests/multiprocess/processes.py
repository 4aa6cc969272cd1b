"""Starting real `mk` processes: the installed script beside this interpreter, with nothing inherited that could matter."""

import compileall
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import mk

# Once and for all: processes that compile what they import are slow, and make other system calls than the next ones.
compileall.compile_dir(Path(mk.__file__).parent, quiet=2)

MK = str(Path(sys.executable).with_name("mk"))
TIMEOUT = 60
"""Seconds after which a process that should have ended is a failure. Generous: it says hung, not slow."""

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Result:
    """How a process ended: exit status (negative: killed by that signal), and what it wrote, as text."""

    def __init__(self, process, stdout, stderr):
        self.status = process.returncode
        self.stdout = stdout.decode(errors="surrogateescape")
        self.stderr = stderr.decode(errors="surrogateescape")

    def __repr__(self):
        return f"status {self.status}\nstdout: {self.stdout[:2000]}\nstderr: {self.stderr[:4000]}"


def run(directory, *arguments, stdin=b"", prefix=(), timeout=TIMEOUT):
    """Run one mk command to its end."""
    process = start(directory, *arguments, prefix=prefix)
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"mk {' '.join(arguments)} did not end in {timeout} s: {stderr!r}") from None
    return Result(process, stdout, stderr)


def start(
    directory, *arguments, prefix=(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords
):
    """Start one mk command on `directory`."""
    return subprocess.Popen(
        [*prefix, MK, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={**ENVIRONMENT, "MK_DIR": str(directory)},
        **keywords,
    )


def must(directory, *arguments, **keywords):
    """Run one mk command that has to succeed."""
    result = run(directory, *arguments, **keywords)
    assert result.status == 0, f"mk {' '.join(arguments)}: {result}"
    assert "Traceback" not in result.stderr, result
    return result


def create_topic(directory, topic, partitions=1, **config):
    """Create a topic; settings as segment_bytes=4096."""
    settings = [word for name, value in config.items() for word in ("-c", f"{name.replace('_', '.')}={value}")]
    must(directory, "topics", "create", topic, "-p", str(partitions), *settings)


def end(process, timeout=TIMEOUT):
    """Wait for a process, and return its Result."""
    stdout, stderr = process.communicate(timeout=timeout)
    return Result(process, stdout or b"", stderr or b"")


def kill_all(processes):
    """Leave no process behind, whatever a test came to."""
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(TIMEOUT)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass


class LineSource:
    """Lines from the output of a process, each waited for no longer than it may take."""

    def __init__(self, stream):
        self._fd = stream.fileno()
        self._data = b""

    def next(self, timeout=TIMEOUT):
        """Return the next line without its newline, or None at the end of the output."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._data:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise AssertionError(f"no line within {timeout} s; unfinished: {self._data[:200]!r}")
            piece = os.read(self._fd, 1 << 16)
            if not piece:
                assert not self._data, f"the last line has no newline: {self._data[:200]!r}"
                return None
            self._data += piece
        line, _, self._data = self._data.partition(b"\n")
        return line


def wait_until(condition, timeout=TIMEOUT):
    """Poll until `condition()` is true, and return its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
    return value
