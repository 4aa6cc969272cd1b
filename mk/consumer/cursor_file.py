"""A private cursor: a file in which a reader notes up to where it has read, without a group and wherever it may write.

Text, replaced whole: a line of each partition, and the checksum of all above it. Whoever uses the file holds an exclusive lock on
it, and a new one is locked before it gets the name; so whoever locks a file, and then still finds it under its name, is alone.
Format: man/mk-format.5, CURSOR FILES.
"""

from __future__ import annotations

import os
import re
from stat import S_IMODE

from mk.clock import now_ms
from mk.errors import (
    CannotCreateError,
    CorruptStateError,
    CursorInUseError,
    MkError,
    PermissionDeniedError,
    StorageError,
    UnsupportedFormatError,
    UsageError,
)
from mk.records.codecs import crc32c
from mk.storage import files, locks
from mk.topic_partition import is_valid_name

VERSION = 1
MAX_BYTES = 64 << 20
"""Some 400,000 partitions. A file that is larger is none of ours."""

NO_EPOCH = -1
_HEAD = re.compile(rb"mk-cursor (\d{1,9})\n")
_DIRECTORY = re.compile(rb"directory=([0-9a-f]{32}) time=(\d{1,15})")
_POSITION = re.compile(
    rb"topic=([0-9a-f]{32}) name=([!-~]+) partitions=(\d{1,9}) partition=(\d{1,9})"
    rb" offset=(\d{1,19}) leader_epoch=(-1|\d{1,19})"
)
_END = re.compile(rb"crc=([0-9a-f]{8})\n")
_MAX_OFFSET = (1 << 63) - 1


class CursorPosition:
    """Up to where one partition has been read.

    topic: its name when this was noted; topic_id is what counts. partitions: how many the topic had, as far as they were
    seen: one behind them is new. offset: of the next record. leader_epoch: of the record before it, or NO_EPOCH.
    """

    __slots__ = ("leader_epoch", "offset", "partition", "partitions", "topic", "topic_id")

    def __init__(
        self, topic_id: str, topic: str, partitions: int, partition: int, offset: int, leader_epoch: int
    ) -> None:
        self.topic_id = topic_id
        self.topic = topic
        self.partitions = partitions
        self.partition = partition
        self.offset = offset
        self.leader_epoch = leader_epoch

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CursorPosition) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return (
            f"topic={self.topic_id} name={self.topic} partitions={self.partitions} partition={self.partition}"
            f" offset={self.offset} leader_epoch={self.leader_epoch}"
        )

    __repr__ = __str__


def encode_cursor(directory_id: str, positions: list[CursorPosition], time_ms: int) -> bytes:
    """Return the content of a cursor file."""
    lines = [f"mk-cursor {VERSION}", f"directory={directory_id} time={time_ms}", *map(str, positions), ""]
    text = "\n".join(lines).encode()
    return b"%bcrc=%08x\n" % (text, crc32c(text))


def decode_cursor(data: bytes, path: str) -> tuple[str, list[CursorPosition]]:
    """Read the content of a cursor file: the id of its log directory, and the positions.

    Raises:
        CorruptStateError: it is damaged, or no cursor file at all.
        UnsupportedFormatError: a newer mk wrote it.
    """
    head = _HEAD.match(data)
    if head is None:
        raise _damaged(path, "it does not begin as a cursor file of mk does" if data else "it is empty")
    at = data.rfind(b"\n", 0, len(data) - 1) + 1
    end = _END.fullmatch(data, at)
    if end is None or int(end[1], 16) != crc32c(data[:at]):
        raise _damaged(path, "its checksum does not fit")
    if int(head[1]) != VERSION:
        raise UnsupportedFormatError(path=path, found=int(head[1]), known=VERSION)
    first, *lines = data[head.end() : at].split(b"\n")[:-1] or [b""]
    directory = _DIRECTORY.fullmatch(first)
    if directory is None:
        raise _damaged(path, "line 2 does not name a log directory")
    positions: dict[tuple[str, int], CursorPosition] = {}
    for number, line in enumerate(lines, 3):
        fields = _POSITION.fullmatch(line)
        if fields is None or not is_valid_name(fields[2].decode()):
            raise _damaged(path, f"line {number} is no position")
        partitions, partition, offset, leader_epoch = (int(fields[field]) for field in (3, 4, 5, 6))
        position = CursorPosition(fields[1].decode(), fields[2].decode(), partitions, partition, offset, leader_epoch)
        key = (position.topic_id, partition)
        if partition >= partitions or offset > _MAX_OFFSET or key in positions:
            raise _damaged(path, f"line {number} cannot be")
        positions[key] = position
    return directory[1].decode(), list(positions.values())


def _damaged(path: str, found: str) -> CorruptStateError:
    return CorruptStateError(
        path=path,
        found=found,
        fix="nothing was changed or printed; restore it from a copy, or name another file, which begins anew",
    )


class CursorFile:
    """A cursor file that this process has locked, and the positions in it. Locked until `close`."""

    def __init__(self, path: str, directory_id: str) -> None:
        """Open the file, or make it; in either case nobody else has it.

        Raises:
            CursorInUseError: another process has it.
            CorruptStateError: it is damaged.
            UsageError: it belongs to another log directory.
        """
        self.path = path
        self._directory_id = directory_id
        self._fd = self._parent_fd = -1
        parent, self._name = os.path.split(path)
        if not self._name:
            raise UsageError(f"a cursor file needs a name, and {path or 'nothing'} has none", fix="name a file")
        try:
            # The directory may be reached through a link: that is the user's own choice of a path.
            self._parent_fd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            data = self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise self._from_os_error(error, "nothing was printed") from None
            raise
        try:
            written_for, positions = decode_cursor(data, path)
            if written_for != directory_id:
                raise UsageError(
                    f"cursor file {path} belongs to another log directory",
                    why=f"that one has the id {written_for}, this one {directory_id}",
                    fix="name the directory that it is for (-d), or another file; nothing was changed or printed",
                    path=path,
                )
        except BaseException:
            self.close()
            raise
        self.positions = {(position.topic_id, position.partition): position for position in positions}

    def close(self) -> None:
        for fd in (self._fd, self._parent_fd):
            if fd >= 0:
                files.close(fd)
        self._fd = self._parent_fd = -1

    def save(self) -> None:
        """Put the positions on disk. A crash leaves the old ones or these.

        Raises:
            CursorInUseError: somebody has replaced or removed the file.
            StorageError, PermissionDeniedError: they could not be saved.
        """
        ordered = sorted(self.positions.values(), key=lambda one: (one.topic, one.topic_id, one.partition))
        data = encode_cursor(self._directory_id, ordered, now_ms())
        try:
            if len(data) > MAX_BYTES:
                raise StorageError(f"cursor file {self.path} would be too large", fix="use one for fewer topics")
            if not self._is_in_place(self._fd):
                raise CursorInUseError(path=self.path, holder="somebody has replaced or removed it meanwhile")
            mode = S_IMODE(os.fstat(self._fd).st_mode) & 0o666
            # A fixed name, which only the holder of the lock uses: what a killed one left does not add up.
            temporary = f".{self._name}.tmp"
            try:
                files.unlink(temporary, dir_fd=self._parent_fd)
            except FileNotFoundError:
                pass
            fd = self._write(temporary, data, mode)
            try:
                files.rename(temporary, self._name, src_dir_fd=self._parent_fd, dst_dir_fd=self._parent_fd)
            except BaseException:
                files.close(fd)
                raise
            self._fd, old = fd, self._fd
            files.close(old)
            files.fsync(self._parent_fd)
        except OSError as error:
            raise self._from_os_error(error, "what was printed since the last time is printed again") from None

    def _open(self) -> bytes:
        """Open and lock the file, and return what stands in it; make it if there is none."""
        while True:
            try:
                fd = files.open_file(self._name, os.O_RDWR, dir_fd=self._parent_fd, linked=True)
            except FileNotFoundError:
                self._make()
                continue
            self._fd, old = fd, self._fd
            if old >= 0:
                files.close(old)
            if not locks.try_acquire(fd):
                raise CursorInUseError(path=self.path, holder=locks.describe_holder(fd))
            # Whoever had it may have put another one in its place between our opening and our locking it.
            if self._is_in_place(fd):
                if files.size(fd) > MAX_BYTES:
                    raise _damaged(self.path, f"it has more than {MAX_BYTES} bytes")
                return files.pread(fd, files.size(fd), 0)

    def _make(self) -> None:
        temporary = f".{self._name}.{os.urandom(4).hex()}.tmp"
        fd = self._write(temporary, encode_cursor(self._directory_id, [], now_ms()), 0o644)
        files.close(fd)
        try:
            files.link(temporary, self._name, src_dir_fd=self._parent_fd, dst_dir_fd=self._parent_fd)
        except FileExistsError:
            pass  # Somebody was faster.
        finally:
            files.unlink(temporary, dir_fd=self._parent_fd)
        files.fsync(self._parent_fd)

    def _write(self, name: str, data: bytes, mode: int) -> int:
        """Make a file that is locked before anybody can find it under the cursor's name, and on disk."""
        fd = files.open_file(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode, dir_fd=self._parent_fd)
        try:
            locks.try_acquire(fd)
            files.pwrite(fd, data, 0)
            files.fsync(fd)
        except BaseException:
            files.close(fd)
            files.unlink(name, dir_fd=self._parent_fd)
            raise
        return fd

    def _is_in_place(self, fd: int) -> bool:
        try:
            there = os.stat(self._name, dir_fd=self._parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        ours = os.fstat(fd)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _from_os_error(self, error: OSError, state: str) -> MkError:
        why = error.strerror or str(error)
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return CannotCreateError(
                f"cannot make cursor file {self.path}", why=why, fix=f"name one in a directory that is there; {state}"
            )
        kind = PermissionDeniedError if isinstance(error, PermissionError) or error.errno == 30 else StorageError
        return kind(
            f"cannot write cursor file {self.path}",
            why=why,
            fix=f"look at its directory and its disk, or name one elsewhere; {state}",
            path=self.path,
        )
