"""Real commands at the price of a fork: one warm process that has imported mk, and children of it that run the command line.

A kill loop spends nearly all of its time on starting interpreters. Here a server starts once and imports what the commands
import; each job is a fork of it, which runs `mk.cli.main` with the words, the environment and the three streams of a
command, and ends as the script ends. The server has one thread, opens nothing of any log, and tells so when asked: a
child has no lock and no descriptor that a command would not have.

    server = ForkServer()
    server.submit(Job(directory, ["produce", "t", "-v"], stdin=[b"a\n"], kill_after=0.002))
    done = server.wait()

Run as a script, this is the server; its words are the descriptors of its end of the conversation.
"""

import gc
import heapq
import os
import pickle
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback

LENGTH = struct.Struct(">I")
READY = struct.Struct(">I")
TIMEOUT = 120
"""Seconds after which a command that nobody has killed hangs."""


class Job:
    """One command to run, and what shall happen to it. All times count from when it begins, in seconds.

    stdin: pieces; each but the first comes once the command has answered the one before with a line on stderr.
    is_file: stdin, of one piece, is a file and not a pipe.
    kill_after: SIGKILL then. kill_at_answer: SIGKILL as soon as a line is on stderr. stop: (when, for how long) of a SIGSTOP.
    learn: import in the server what the command has imported.
    """

    def __init__(
        self,
        directory,
        words,
        *,
        stdin=(b"",),
        is_file=False,
        kill_after=None,
        kill_at_answer=False,
        stop=None,
        learn=False,
        note=None,
    ):
        self.directory = str(directory)
        self.words = list(words)
        self.stdin = list(stdin)
        self.is_file = is_file
        self.kill_after = kill_after
        self.kill_at_answer = kill_at_answer
        self.stop = stop
        self.learn = learn
        self.note = note  # The client's own; it does not travel.


class Done:
    """How a job ended: status (negative: killed by that signal), what it wrote, and how long it took from its beginning.

    given: how many pieces of its input it was given. stopped: it was stopped and continued, and lived.
    """

    def __init__(self, status, stdout, stderr, seconds, given, stopped):
        self.status = status
        self.stdout = stdout
        self.stderr = stderr.decode(errors="surrogateescape")
        self.seconds = seconds
        self.given = given
        self.stopped = stopped
        self.job = None

    @property
    def is_killed(self):
        return self.status == -signal.SIGKILL

    def __repr__(self):
        words = " ".join(self.job.words)
        return f"mk {words}: status {self.status}\nstdout: {self.stdout[:1000]!r}\nstderr: {self.stderr[:3000]}"


class ForkServer:
    """The client's side."""

    def __init__(self, environment):
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
            )
        self._socket = ours
        self._jobs = {}
        self._number = 0

    def submit(self, job):
        self._number += 1
        self._jobs[self._number] = job
        travelling = {name: value for name, value in vars(job).items() if name != "note"}
        send(self._socket, (self._number, travelling))

    @property
    def running(self):
        """How many jobs have not ended."""
        return len(self._jobs)

    def wait(self):
        """Return the next job that has ended, as a Done."""
        self._socket.settimeout(TIMEOUT + 30)
        number, facts = receive(self._socket)
        done = Done(*facts)
        done.job = self._jobs.pop(number)
        return done

    def run(self, directory, *words, **keywords):
        """Run one command to its end, while no other job is under way."""
        assert not self._jobs
        self.submit(Job(directory, words, **keywords))
        return self.wait()

    def must(self, directory, *words, **keywords):
        done = self.run(directory, *words, **keywords)
        assert done.status == 0, done
        return done

    def holds(self):
        """Return how many threads the server has, and the paths of the files that it has open, but for its streams."""
        about = f"/proc/{self._process.pid}"
        names = [os.readlink(f"{about}/fd/{fd}") for fd in os.listdir(f"{about}/fd") if int(fd) > 2]
        return len(os.listdir(f"{about}/task")), [name for name in names if name.startswith("/")]

    def close(self):
        self._socket.close()
        self._process.wait(30)


def send(stream, message):
    data = pickle.dumps(message)
    stream.sendall(LENGTH.pack(len(data)) + data)


def receive(stream):
    data = b""
    while len(data) < LENGTH.size or len(data) < LENGTH.size + LENGTH.unpack_from(data)[0]:
        wanted = LENGTH.size if len(data) < LENGTH.size else LENGTH.size + LENGTH.unpack_from(data)[0]
        piece = stream.recv(wanted - len(data))
        if not piece:
            raise EOFError
        data += piece
    return pickle.loads(data[LENGTH.size :])


# The server's side.


class Child:
    """A command under way."""

    def __init__(self, number, job, pid, stdin, stdout, stderr):
        self.number = number
        self.job = job
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.stdin = stdin
        self.fds = {stdout: [], stderr: []}
        self.stdout, self.stderr = stdout, stderr
        self.began = time.monotonic()
        self.given = 1
        self.is_stopped = self.was_stopped = False

    def signal(self, number):
        signal.pidfd_send_signal(self.pidfd, number)

    def feed(self):
        """Give the next piece of the input, or its end."""
        if self.stdin < 0:
            return
        try:
            if self.given < len(self.job["stdin"]):
                os.write(self.stdin, self.job["stdin"][self.given])
                self.given += 1
        except BrokenPipeError:
            self.given = len(self.job["stdin"])
        if self.given == len(self.job["stdin"]):
            os.close(self.stdin)
            self.stdin = -1


class Server:
    def __init__(self, conversation):
        self._conversation = conversation
        self._selector = selectors.DefaultSelector()
        self._ready, self._tell = os.pipe()
        self._children = {}
        self._timers = []
        self._ticks = 0

    def serve(self):
        self._selector.register(self._conversation, selectors.EVENT_READ, self._hear)
        self._selector.register(self._ready, selectors.EVENT_READ, self._begin)
        try:
            while True:
                pause = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
                for key, _ in self._selector.select(pause):
                    # What was heard before may have ended it, and another one may have its number by now.
                    if self._selector.get_map().get(key.fileobj) is key:
                        key.data()
                while self._timers and self._timers[0][0] <= time.monotonic():
                    _, _, pid, action = heapq.heappop(self._timers)
                    if pid in self._children:
                        action(self._children[pid])
        except EOFError:
            pass
        finally:
            for child in self._children.values():
                child.signal(signal.SIGKILL)

    def _hear(self):
        self._start(*receive(self._conversation))

    def _start(self, number, job):
        first = job["stdin"][0]
        if job["is_file"]:
            ours, theirs = -1, os.memfd_create("stdin")
            os.write(theirs, first)
            os.lseek(theirs, 0, os.SEEK_SET)
        else:
            theirs, ours = os.pipe()
            os.set_blocking(ours, False)
            assert os.write(ours, first) == len(first) if first else True
        (stdout, their_stdout), (stderr, their_stderr) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            run_child(job, theirs, their_stdout, their_stderr, self._tell)
        for fd in (theirs, their_stdout, their_stderr):
            os.close(fd)
        child = self._children[pid] = Child(number, job, pid, ours, stdout, stderr)
        if len(job["stdin"]) == 1:
            child.feed()
        for fd in (stdout, stderr):
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ, lambda fd=fd: self._read(child, fd))
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._end(child))

    def _begin(self):
        data = os.read(self._ready, READY.size * 64)
        for (pid,) in READY.iter_unpack(data):
            child = self._children.get(pid)
            if child is None:
                continue
            child.began = time.monotonic()
            job = child.job
            if job["kill_after"] is not None:
                self._after(child, job["kill_after"], lambda child: child.signal(signal.SIGKILL))
            if job["stop"] is not None:
                self._after(child, job["stop"][0], self._stop)
            self._after(child, TIMEOUT, lambda child: child.signal(signal.SIGABRT))

    def _after(self, child, seconds, action):
        self._ticks += 1  # A heap compares no functions.
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._ticks, child.pid, action))

    def _stop(self, child):
        child.signal(signal.SIGSTOP)
        child.is_stopped = True
        self._after(child, child.job["stop"][1], self._continue)

    def _continue(self, child):
        child.signal(signal.SIGCONT)
        child.is_stopped, child.was_stopped = False, True

    def _read(self, child, fd):
        try:
            piece = os.read(fd, 1 << 20)
        except BlockingIOError:
            return False
        if not piece:
            self._selector.unregister(fd)
            return False
        child.fds[fd].append(piece)
        if fd == child.stderr and not piece.startswith(b"mk:"):
            if child.job["kill_at_answer"]:
                child.signal(signal.SIGKILL)
            child.feed()
        return True

    def _end(self, child):
        # Before it is waited for: its pid is nobody else's until then.
        del self._children[child.pid]
        self._selector.unregister(child.pidfd)
        for fd in child.fds:
            while fd in self._selector.get_map() and self._read(child, fd):
                pass
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
            os.close(fd)
        seconds = time.monotonic() - child.began
        _, status = os.waitpid(child.pid, 0)
        os.close(child.pidfd)
        if child.stdin >= 0:
            os.close(child.stdin)
        stdout, stderr = (b"".join(child.fds[fd]) for fd in (child.stdout, child.stderr))
        if child.job["learn"] and status == 0:
            stderr, _, names = stderr.rpartition(b"\0")
            for name in names.decode().split():
                try_import(name)
            gc.collect()
            gc.freeze()
        facts = (os.waitstatus_to_exitcode(status), stdout, stderr, seconds, child.given, child.was_stopped)
        send(self._conversation, (child.number, facts))


def try_import(name):
    try:
        __import__(name)
    except ImportError:
        pass


def stream(fd, mode, errors):
    """Return one of the three streams, as an interpreter makes them."""
    return open(fd, mode, encoding="utf-8", errors=errors, closefd=False)


def run_child(job, stdin, stdout, stderr, ready):
    """Be the command: its words, its environment, its streams, and nothing else of the server. Does not return."""
    status = 99
    try:
        for fd, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
            os.dup2(fd, target)
        os.dup2(ready, 3, inheritable=False)
        os.closerange(4, 256)
        os.environ["MK_DIR"] = job["directory"]
        sys.argv = ["mk", *job["words"]]
        sys.stdin = stream(0, "r", "surrogateescape")
        sys.stdout = stream(1, "w", "surrogateescape")
        sys.stderr = stream(2, "w", "backslashreplace")
        # As the script does.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        gc.set_threshold(10_000, 10, 10)
        from mk.cli.main import main

        os.write(3, READY.pack(os.getpid()))
        os.close(3)
        status = main()
        if job["learn"]:
            os.write(2, b"\0" + " ".join(list(sys.modules)).encode())
    except BaseException:  # A bug of this module; what a command raises, main has told of.
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


if __name__ == "__main__":
    gc.disable()
    Server(socket.socket(fileno=int(sys.argv[1]))).serve()
