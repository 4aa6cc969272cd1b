"""The journal of a group: what was changed of its committed offsets by hand, so that it can be seen and taken back.

    groups/<group>/journal, journal.old

A line a change, JSON, with its checksum at the end; on disk before any of its offsets is committed. So a change that was
broken off is in the journal, and which of its offsets were committed is seen by comparing; what is not in it did not
happen. Whoever changes offsets holds the lock on `journal`, which is made once and goes with the group.
Format: man/mk-format.5, JOURNAL.
"""

from __future__ import annotations

import errno
import json
import os

from mk import clock
from mk.errors import LockTimeoutError, StorageError
from mk.group_errors import NoSuchGroupError
from mk.records.codecs import crc32c
from mk.storage import files
from mk.storage.host import command_line
from mk.storage.locks import acquire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

JOURNAL = "journal"
OLD_JOURNAL = "journal.old"
ROTATE_BYTES = 1 << 20
"""From here on the lines become journal.old, in place of the ones that were there: thousands of changes of a few partitions."""

_MAX_BYTES = 1 << 26
_CHECKSUM = b'"checksum": "'


class ChangedOffset:
    """What a change does to one partition.

    before, after: committed offsets; -1 is none, and before None one that could not be read. before_epoch, after_epoch:
    leader epochs of the records before them, -1 where there is none or it is not known. sequence: of the slot in which
    `before` stood, -1 if there was none: as long as that is the newest, the change was not done here.
    """

    __slots__ = ("after", "after_epoch", "before", "before_epoch", "partition", "sequence", "topic", "topic_id")

    def __init__(
        self,
        topic: str,
        topic_id: str,
        partition: int,
        before: int | None,
        before_epoch: int,
        sequence: int,
        after: int,
        after_epoch: int,
    ) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.partition = partition
        self.before = before
        self.before_epoch = before_epoch
        self.sequence = sequence
        self.after = after
        self.after_epoch = after_epoch

    def document(self) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "topic_id": self.topic_id,
            "partition": self.partition,
            "before": self.before,
            "before_epoch": self.before_epoch,
            "sequence": self.sequence,
            "after": self.after,
            "after_epoch": self.after_epoch,
        }


def encode_change(document: dict[str, Any]) -> bytes:
    """Return the line of a change, with its newline."""
    body = json.dumps(document).encode()[:-1] + b", "
    return b'%b%b%08x"}\n' % (body, _CHECKSUM, crc32c(body))


def decode_change(line: bytes) -> dict[str, Any] | None:
    """Read a line without its newline, or return None if it is damaged. Keys that a newer mk adds are kept."""
    body, found, tail = line.rpartition(_CHECKSUM)
    try:
        if not found or tail != b'%08x"}' % crc32c(body):
            return None
        document = json.loads(line)
        _check(document)
        del document["checksum"]
    except (ValueError, KeyError, TypeError, RecursionError):  # the last for brackets in brackets without end
        return None
    return document  # type: ignore[no-any-return]


def _check(document: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError if a document is none of a change."""
    for text in (document["kind"], document["user"], document["host"], document["command"]):
        if not isinstance(text, str):
            raise TypeError
    for number in (document["change"], document["time_ms"]):
        if type(number) is not int:
            raise TypeError
    if not 0 <= document["time_ms"] < 1 << 62:
        raise ValueError  # No calendar has such a day.
    if type(document["undoes"]) not in (int, type(None)):
        raise TypeError
    for offset in document["offsets"]:
        if not (isinstance(offset["topic"], str) and isinstance(offset["topic_id"], str)):
            raise TypeError
        for key in ("partition", "before_epoch", "sequence", "after", "after_epoch"):
            if type(offset[key]) is not int:
                raise TypeError
        if type(offset["before"]) not in (int, type(None)):
            raise TypeError


def read_lines(group_fd: int) -> list[tuple[str, int, dict[str, Any] | None]]:
    """Return of each line that is there, oldest first: the file, the byte at which it begins, and its change or None.

    The newer file is read first: a line that moves to the older one meanwhile is then read twice, and not missed.
    """
    found: list[tuple[str, int, dict[str, Any] | None]] = []
    for name in (JOURNAL, OLD_JOURNAL):
        try:
            data = files.read_file(name, dir_fd=group_fd, max_bytes=_MAX_BYTES)
        except FileNotFoundError:
            continue
        position = 0
        lines: list[tuple[str, int, dict[str, Any] | None]] = []
        *whole, rest = data.split(b"\n")
        for line in whole:
            lines.append((name, position, decode_change(line)))
            position += len(line) + 1
        if rest:
            lines.append((name, position, None))
        found[:0] = lines
    return found


def read_changes(group_fd: int) -> list[dict[str, Any]]:
    """Return all changes that can be read, oldest first, each once."""
    by_number: dict[int, dict[str, Any]] = {}
    for _, _, change in read_lines(group_fd):
        if change is not None:
            by_number[change["change"]] = change
    return [by_number[number] for number in sorted(by_number)]


class Journal:
    """The journal of a group, locked from its making until `close`: nobody else changes offsets by hand meanwhile."""

    __slots__ = ("_fd", "_group", "_group_fd", "_path")

    def __init__(self, group_fd: int, *, group: str, path: str, directory: str, wait_ms: int) -> None:
        """Open and lock it, made if it is the first. `path` is its own, `directory` the log directory's.

        Raises:
            LockTimeoutError: somebody else changes offsets.
            NoSuchGroupError: the group was deleted meanwhile.
        """
        self._group_fd = group_fd
        self._group = group
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        try:
            self._fd = files.open_file(JOURNAL, flags, 0o600, dir_fd=group_fd)
        except FileNotFoundError:
            raise NoSuchGroupError(group=group, directory=directory) from None
        try:
            acquire(self._fd, what=f"the journal of group {group}", wait_ms=wait_ms)
        except LockTimeoutError as error:
            self.close()
            error.fix = "wait, raise --lock-wait, or stop that process; nothing was changed"
            raise
        except BaseException:
            self.close()
            raise
        if os.fstat(self._fd).st_nlink == 0:
            self.close()
            raise NoSuchGroupError(group=group, directory=directory)

    def close(self) -> None:
        if self._fd >= 0:
            files.close(self._fd)
            self._fd = -1

    def append(self, kind: str, offsets: Sequence[ChangedOffset], *, undoes: int | None = None) -> int:
        """Write down a change that is about to be made, and return its number; on disk when it returns.

        Raises:
            StorageError: it is not, as on a full disk. The change must not be made then.
        """
        try:
            return self._append(kind, offsets, undoes)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise StorageError(
                f"cannot write to the journal of group {self._group}",
                why=f"{self._path}: {os.strerror(error.errno or 0)}",
                fix=("make room for a line" if full else "look at the disk (dmesg)")
                + "; no offset was changed: what is not in the journal could not be taken back",
                path=self._path,
            ) from None

    def _append(self, kind: str, offsets: Iterable[ChangedOffset], undoes: int | None) -> int:
        changes = read_changes(self._group_fd)
        number = changes[-1]["change"] + 1 if changes else 1
        document = {
            "change": number,
            "time_ms": clock.now_ms(),
            "kind": kind,
            "user": _user(),
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "command": command_line(),
            "undoes": undoes,
            "offsets": [offset.document() for offset in offsets],
        }
        self._cut_what_was_broken_off()
        if files.size(self._fd) >= ROTATE_BYTES:
            self._rotate()
        line = encode_change(document)
        written = 0
        start = files.size(self._fd)
        try:
            while written < len(line):
                written += files.append(self._fd, [line[written:]])
            files.fdatasync(self._fd)
        except BaseException:
            # Nothing of it was done: a line that is whole would say that it was begun.
            files.truncate(self._fd, start)
            raise
        # Its name: the journal may be new, or made by somebody who was killed.
        files.fsync(self._group_fd)
        return number

    def _cut_what_was_broken_off(self) -> None:
        """Cut a line without an end. Its writer was killed before it was on disk, and so before the change was begun."""
        size = files.size(self._fd)
        data = files.pread(self._fd, size, 0)
        whole = data.rfind(b"\n") + 1
        if whole < size:
            files.truncate(self._fd, whole)

    def _rotate(self) -> None:
        """Have the lines become the old ones. Killed between the two steps, they are in both files, and count once."""
        try:
            data = files.pread(self._fd, files.size(self._fd), 0)
            files.replace_file(OLD_JOURNAL, data, dir_fd=self._group_fd, mode=0o600)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return  # It may grow beyond its size while the disk is full: there may be room for a line.
        files.truncate(self._fd, 0)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
