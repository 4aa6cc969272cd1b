"""`mk check fs`: proving with two processes what mk relies on in a file system.

Works in a temporary directory, under a lock that tells the next run whether somebody is still at it. What no program on one host can
prove (a disk that lies about a sync, locks between hosts) is judged by the type of the file system.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from mk.errors import CannotCreateError
from mk.storage import files
from mk.storage.host import file_system_of, is_network_file_system
from mk.storage.locks import try_acquire
from mk.storage.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OK, FAILED, NOT_OFFERED = "ok", "FAILED", "not offered"
PREFIX = ".mk-check-"
_LOCK = "lock"
_SECONDS = 10
_MEMORY = ("tmpfs", "ramfs")
_NAMES = 50
_LINES = 200

# What the other process does, by the lock that mk itself takes.
_OTHER = """
import os, sys, time
mode, place, names, lines = sys.argv[1:3] + [int(word) for word in sys.argv[3:]]
os.chdir(place)
if mode == "hold":
    fd = os.open("held", os.O_RDWR)
    from mk.storage.locks import try_acquire
    try_acquire(fd)
    print("held", flush=True)
    time.sleep(60)
elif mode == "link":
    print("ready", flush=True)
    sys.stdin.readline()
    won = []
    open("other", "w").close()
    for number in range(names):
        try:
            os.link("other", f"name-{number}")
            won.append(number)
        except FileExistsError:
            pass
    print(*won, flush=True)
elif mode == "append":
    fd = os.open("appended", os.O_WRONLY | os.O_APPEND)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(lines):
        os.write(fd, b"b" * 99 + b"\\n")
elif mode == "touch":
    print("ready", flush=True)
    sys.stdin.readline()
    time.sleep(0.05)
    fd = os.open("watched", os.O_WRONLY)
    os.pwrite(fd, b"x", 0)
"""


class FileSystemReport:
    """place: the directory that was looked at. file_system: its type, "" if it cannot be told. facts: name, result, text each.

    status_code: 0 all is as it should be; 1 mk works there with less; 2 nothing is to be trusted to it.
    """

    def __init__(self, place: str, file_system: str) -> None:
        self.place = place
        self.file_system = file_system
        self.facts: list[dict[str, str]] = []
        self.status_code = 0

    def add(self, name: str, result: str, text: str, *, costs: int = 2) -> None:
        """Take a fact. costs: the least status_code if it is not ok."""
        self.facts.append({"name": name, "result": result, "text": text})
        if result != OK:
            self.status_code = max(self.status_code, costs)

    def document(self) -> dict[str, object]:
        """Return it ready for JSON."""
        return {
            "place": self.place,
            "file_system": self.file_system or None,
            "status_code": self.status_code,
            "facts": self.facts,
        }


def check_file_system(path: str) -> FileSystemReport:
    """Prove what mk relies on where `path` is, or would be made. Nothing of it is left.

    Raises CannotCreateError if nothing can be made there.
    """
    place = os.path.abspath(path)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    fd = files.open_directory(place)
    try:
        report = FileSystemReport(place, file_system_of(fd))
        _remove_leftovers(fd)
        name = PREFIX + os.urandom(8).hex()
        try:
            files.mkdir(name, 0o700, dir_fd=fd)
        except OSError as error:
            raise CannotCreateError(
                f"nothing can be made in {place}",
                why=os.strerror(error.errno or 0),
                fix="name a directory that you may write to; nothing was made",
            ) from None
        try:
            work_fd = files.open_directory(name, dir_fd=fd)
            try:
                lock_fd = files.open_file(_LOCK, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=work_fd)
                try:
                    try_acquire(lock_fd)
                    _Checks(report, work_fd, os.path.join(place, name)).run()
                finally:
                    files.close(lock_fd)
            finally:
                files.close(work_fd)
        finally:
            files.remove_tree(name, dir_fd=fd)
    finally:
        files.close(fd)
    return report


def _remove_leftovers(fd: int) -> None:
    """Remove what killed runs left, if nobody is at it."""
    for name in os.listdir(fd):
        if not name.startswith(PREFIX):
            continue
        try:
            work_fd = files.open_directory(name, dir_fd=fd)
            try:
                lock_fd = files.open_file(_LOCK, os.O_RDWR, dir_fd=work_fd)
                try:
                    is_free = try_acquire(lock_fd)
                finally:
                    files.close(lock_fd)
            finally:
                files.close(work_fd)
            if is_free:
                files.remove_tree(name, dir_fd=fd)
        except OSError:
            continue  # Another one removes it, or it is somebody else's.


class _Checks:
    def __init__(self, report: FileSystemReport, fd: int, path: str) -> None:
        self._report = report
        self._fd = fd
        self._path = path

    def run(self) -> None:
        for check in (
            self._type,
            self._locks,
            self._links,
            self._appends,
            self._renames,
            self._syncs,
            self._uncached,
            self._second_names,
            self._watching,
            self._letters,
            self._times,
        ):
            try:
                check()
            except OSError as error:
                self._report.add(check.__name__.strip("_"), FAILED, f"it ended with {os.strerror(error.errno or 0)}")

    def _start(self, mode: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _OTHER, mode, self._path, str(_NAMES), str(_LINES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()  # It is at it.
        return process

    def _go(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    def _new(self, name: str, data: bytes = b"") -> int:
        fd = files.open_file(name, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self._fd)
        files.pwrite(fd, data, 0)
        return fd

    def _type(self) -> None:
        name = self._report.file_system
        if is_network_file_system(name):
            text = f"{name}: its locks need not reach every host; mk refuses it without --allow-network-fs"
            self._report.add("type", FAILED, text)
        elif name in _MEMORY:
            text = f"{name}: it is in memory, and gone when the host is off: use it for what may be lost"
            self._report.add("type", NOT_OFFERED, text, costs=1)
        else:
            self._report.add("type", OK, f"{name or 'unknown'}, on this host")

    def _locks(self) -> None:
        fd = self._new("held")
        process = self._start("hold")
        try:
            is_kept_out = not try_acquire(fd)
            process.kill()
            until = time.monotonic() + _SECONDS
            is_free = False
            while is_kept_out and not is_free and time.monotonic() < until:
                is_free = try_acquire(fd)
        finally:
            process.kill()
            process.communicate()
            files.close(fd)
        text = (
            "a lock keeps another process out" if is_kept_out else "two processes hold one lock: records would be lost"
        )
        self._report.add("lock", OK if is_kept_out else FAILED, text)
        text = "it is free when its holder is killed" if is_free else "it is not free when its holder is killed"
        self._report.add("unlock", OK if is_free else FAILED, text)

    def _links(self) -> None:
        files.close(self._new("own"))
        process = self._start("link")
        self._go(process)
        won = []
        for number in range(_NAMES):
            try:
                files.link("own", f"name-{number}", src_dir_fd=self._fd, dst_dir_fd=self._fd)
                won.append(number)
            except FileExistsError:
                pass
        output, _ = process.communicate(timeout=_SECONDS)
        theirs = [int(word) for word in output.split()]
        is_right = sorted(won + theirs) == list(range(_NAMES))
        text = (
            "of two that make a name, one wins" if is_right else "two can make one name: a group could have two owners"
        )
        self._report.add("link", OK if is_right else FAILED, text)

    def _appends(self) -> None:
        files.close(self._new("appended"))
        fd = files.open_file("appended", os.O_WRONLY | os.O_APPEND, dir_fd=self._fd)
        process = self._start("append")
        try:
            self._go(process)
            for _ in range(_LINES):
                files.append(fd, [b"a" * 99 + b"\n"])
            process.communicate(timeout=_SECONDS)
        finally:
            files.close(fd)
        data = files.read_file("appended", dir_fd=self._fd)
        whole = {b"a" * 99, b"b" * 99}
        lines = data.splitlines()
        is_right = len(lines) == 2 * _LINES and whole.issuperset(lines)
        text = (
            "two that append leave each other's bytes whole"
            if is_right
            else "appends of two processes overwrite each other"
        )
        self._report.add("append", OK if is_right else FAILED, text)

    def _renames(self) -> None:
        fd = self._new("replaced", b"old")
        try:
            files.close(self._new("replacement", b"new"))
            files.rename("replacement", "replaced", src_dir_fd=self._fd, dst_dir_fd=self._fd)
            is_right = files.pread(fd, 3, 0) == b"old" and files.read_file("replaced", dir_fd=self._fd) == b"new"
        finally:
            files.close(fd)
        text = (
            "an open file outlives its replacement"
            if is_right
            else "a file that is replaced changes for who has it open"
        )
        self._report.add("rename", OK if is_right else FAILED, text)

    def _syncs(self) -> None:
        fd = self._new("synced", b"data")
        try:
            for name, text, work in (
                ("sync", "data can be synced", lambda: files.fdatasync(fd)),
                ("sync-names", "names can be synced", lambda: files.fsync(self._fd)),
            ):
                self._sync(name, text, work)
        finally:
            files.close(fd)

    def _sync(self, name: str, text: str, work: Callable[[], None]) -> None:
        try:
            work()
            self._report.add(name, OK, text)
        except OSError as error:
            self._report.add(name, FAILED, f"{os.strerror(error.errno or 0)}: nothing could be acknowledged")

    def _uncached(self) -> None:
        fd = self._new("uncached", os.urandom(1 << 16))
        try:
            files.fdatasync(fd)
            is_proved = files.drop_cache(fd, 1 << 16) or files.is_on_disk(fd, 0, 1 << 16)
        finally:
            files.close(fd)
        if is_proved or self._report.file_system in _MEMORY:
            self._report.add("read-back", OK, "what is on the disk can be told from what is in memory")
        else:
            text = "what is on the disk cannot be told from what is in memory: after a crash mk seals the segment, and goes on in a new one"
            self._report.add("read-back", NOT_OFFERED, text, costs=1)

    def _second_names(self) -> None:
        files.mkdir("elsewhere", 0o700, dir_fd=self._fd)
        other_fd = files.open_directory("elsewhere", dir_fd=self._fd)
        try:
            files.close(self._new("named"))
            files.link("named", "named", src_dir_fd=self._fd, dst_dir_fd=other_fd)
            self._report.add("hard-links", OK, "a file can have two names: clones and snapshots are free")
        except OSError:
            text = "no second names across directories: clones and snapshots copy"
            self._report.add("hard-links", NOT_OFFERED, text, costs=1)
        finally:
            files.close(other_fd)

    def _watching(self) -> None:
        files.close(self._new("watched"))
        watch = Watch([])
        watch.add_endings(self._path)
        process = self._start("touch")
        try:
            self._go(process)
            until = time.monotonic() + 2
            while not watch.ended and time.monotonic() < until:
                watch.wait()
            is_told = bool(watch.ended)
            process.communicate(timeout=_SECONDS)
        finally:
            watch.close()
        if is_told:
            self._report.add("notify", OK, "a reader is told at once when another process writes")
        else:
            self._report.add(
                "notify", NOT_OFFERED, "nobody tells when a file is written: mk looks twice a second", costs=1
            )

    def _letters(self) -> None:
        files.close(self._new("letters"))
        if files.exists("LETTERS", dir_fd=self._fd):
            self._report.add(
                "case", OK, "upper and lower case are one here; mk refuses two topics that differ in nothing else"
            )
        else:
            self._report.add("case", OK, "upper and lower case are two names")

    def _times(self) -> None:
        fd = self._new("time")
        try:
            before = os.fstat(fd).st_mtime_ns
            time.sleep(0.02)
            files.pwrite(fd, b"x", 0)
            step_ns = os.fstat(fd).st_mtime_ns - before
        finally:
            files.close(fd)
        if step_ns > 0:
            self._report.add("times", OK, "writes have times that tell them apart")
        else:
            self._report.add(
                "times", NOT_OFFERED, "times of writes are coarse: `last write` may be a second off", costs=1
            )
