"""An owner and two fencers of one partition, as processes that stop themselves before a chosen step.

    python fencing_actors.py DIRECTORY < cases > journals

A case is a JSON line: `group`; `first`, the offset that is committed before, or null; `owner` and `fencer`, the number of the step
before which each stops itself, in its commit and in its fencing; and `end`, a list of (who, what) by which they come to their
ends: `go` or `kill`. The answer is a line with what they have noted: `took` and `acked`, each with generation and offset,
and which of them were stopped.

One owner takes the partition and commits. The fencer fences it. While both stand still, another fencer comes, commits and
stops as well. Then they go on, or die, in the order of `end`, and the other fencer commits once more. In the end somebody
takes the partition who finds it free. Forks are cheap, and of a process with one thread that has opened nothing.
"""

import itertools
import json
import os
import signal
import sys

from mk.group_errors import ClaimFencedError
from mk.groups.claim import fence, take
from mk.groups.claim_directory import make_claims
from mk.storage import files
from mk.storage.log_directory import LogDirectory

STEPS = ("exists", "fdatasync", "fsync", "link", "open_file", "pread", "pwrite", "read_file", "unlink")


def stop_before(number):
    """Have this process stop itself before the operation of that number among those that follow."""
    numbers = itertools.count()

    def counting(real):
        def step(*arguments, **keywords):
            if next(numbers) == number:
                os.kill(os.getpid(), signal.SIGSTOP)
            return real(*arguments, **keywords)

        return step

    for name in STEPS:
        setattr(files, name, counting(getattr(files, name)))


class Actors:
    """The processes of one case."""

    def __init__(self, directory, case):
        self.directory, self.case = directory, case
        self.read_fd, self.write_fd = os.pipe()
        self.pids = {}
        self.stopped = []

    def note(self, *words):
        os.write(self.write_fd, (json.dumps(words) + "\n").encode())

    def start(self, name, act):
        """Fork somebody who acts, and wait until he has stopped himself, or is done."""
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                topic = LogDirectory(self.directory).open_topic("t")
                act(name, make_claims(topic, self.case["group"]))
                status = 0
            except ClaimFencedError:
                status = 0
            finally:
                os._exit(status)
        self.pids[name] = pid
        self.wait(name)

    def wait(self, name):
        _, status = os.waitpid(self.pids[name], os.WUNTRACED)
        if os.WIFSTOPPED(status):
            self.stopped.append(name)
            return
        del self.pids[name]
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL), f"{name} ended with {code} in {self.case}"

    def end(self, name, what):
        """Let somebody who has stopped go on to his end, or to his next stop; or kill him."""
        if name in self.pids:
            os.kill(self.pids[name], signal.SIGCONT if what == "go" else signal.SIGKILL)
            self.wait(name)

    def commit(self, name, claim, offset):
        claim.commit(offset, 0)
        self.note("acked", name, claim.generation, offset)

    def own(self, name, claims):
        claim = take(claims, 0)
        self.note("took", name, claim.generation, claim.committed.offset)
        if self.case["first"] is not None:
            self.commit(name, claim, self.case["first"])
        stop_before(self.case["owner"])
        for _ in range(2):
            self.commit(name, claim, claim.committed.offset + 1)

    def fence(self, name, claims):
        stop_before(self.case["fencer"])
        claim = fence(claims, 0)
        if claim is not None:
            self.note("took", name, claim.generation, claim.committed.offset)
            self.commit(name, claim, claim.committed.offset + 1)

    def fence_and_stay(self, name, claims):
        claim = fence(claims, 0)
        self.note("took", name, claim.generation, claim.committed.offset)
        self.commit(name, claim, claim.committed.offset + 1)
        os.kill(os.getpid(), signal.SIGSTOP)
        self.commit(name, claim, claim.committed.offset + 1)

    def take_last(self, name, claims):
        claim = take(claims, 0)
        assert claim is not None, "the partition is not free, and all who had it are dead"
        self.note("took", name, claim.generation, claim.committed.offset)

    def run(self):
        self.start("owner", self.own)
        self.start("fencer", self.fence)
        self.start("other", self.fence_and_stay)
        for name, what in self.case["end"]:
            self.end(name, what)
        self.end("other", "go")
        for name in list(self.pids):
            self.end(name, "kill")
        self.start("last", self.take_last)
        os.close(self.write_fd)
        with os.fdopen(self.read_fd) as notes:
            return {"notes": [json.loads(line) for line in notes], "stopped": self.stopped}


def main(directory):
    for line in sys.stdin:
        print(json.dumps(Actors(directory, json.loads(line)).run()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
