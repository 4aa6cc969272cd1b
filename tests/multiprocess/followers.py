"""Processes that read a topic on and on, and what they were given."""

import signal
import subprocess
import sys
from pathlib import Path

from history import parse_records
from processes import ENVIRONMENT, TIMEOUT, start

TAIL_READER = str(Path(__file__).with_name("tail_reader.py"))
TAIL = 5
"""With how many records the reader of the last ones begins."""


class Follower:
    """A process that reads on until it is stopped. Its output goes to a file, so that it never waits for us."""

    def __init__(self, folder, name, begin):
        self.name = name
        self.output, self.errors = folder / f"{name}.out", folder / f"{name}.err"
        with self.output.open("wb") as stdout, self.errors.open("wb") as stderr:
            self.process = begin(stdout, stderr)
        self.is_stopped = False

    def records(self):
        """Return all that it was given: (partition, offset, (key, value)) each."""
        return parse_records(self.output.read_bytes())

    def has_seen(self, record):
        """Tell whether a record is among the last that it was given."""
        last = b"\n".join(self.output.read_bytes().rpartition(b"\n")[0].split(b"\n")[-20:]) + b"\n"
        return any(found == record for _, _, found in parse_records(last.lstrip(b"\n")))

    def toggle(self):
        """Stop it, or let it go on: then it has some way to catch up."""
        self.process.send_signal(signal.SIGCONT if self.is_stopped else signal.SIGSTOP)
        self.is_stopped = not self.is_stopped

    def go_on(self):
        if self.is_stopped:
            self.toggle()

    def end(self):
        self.go_on()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(TIMEOUT)
        assert status == -signal.SIGTERM, (self.name, status, self.errors.read_text())


def member_of(directory, folder, number):
    """Start a member of a group that follows."""
    words = ("consume", "t", "-g", "g", "-F", "-J")
    return Follower(
        folder,
        f"member{number}",
        lambda stdout, stderr: start(directory, *words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr),
    )


def followers_of(directory, folder, number=0):
    """Start one follower by the command line, and one that begins with the last records, by the Python API."""
    words = ("consume", "t", "-F", "-J")
    found = [
        Follower(
            folder,
            f"follower{number}",
            lambda stdout, stderr: start(directory, *words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr),
        ),
        Follower(
            folder,
            f"tail{number}",
            lambda stdout, stderr: subprocess.Popen(
                [sys.executable, TAIL_READER, str(directory), "t", str(TAIL)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=ENVIRONMENT,
            ),
        ),
    ]
    return found
