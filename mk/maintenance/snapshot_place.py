"""Where a snapshot is made: a directory that is nobody else's meanwhile, and no log directory before it is whole.

As long as it is not, a file in it, `snapshot-of-<directory id>.unfinished`, says what it is, and is locked by whoever makes it.
What a killed one has left is removed by the next snapshot of the same directory that goes to the same place, and by nobody else.
What is in a snapshot is for snapshot.py.
"""

from __future__ import annotations

import os

from mk.errors import CannotCreateError, LockTimeoutError, TryAgainError
from mk.storage import files
from mk.storage.locks import describe_holder, try_acquire
from mk.storage.log_directory import FILE_NAME, OWN_NAMES, PRIVATE, make_directories, refuse_nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.log_directory import LogDirectory

_MARKER, _MARKER_END = "snapshot-of-", ".unfinished"


def check_destination(directory: LogDirectory, path: str) -> None:
    """Raise CannotCreateError unless a snapshot can be made at a path: nothing is there, or what a killed one has left."""
    refuse_nested(path)
    try:
        names = set(os.listdir(path))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise CannotCreateError(f"{path} is not a directory", fix="name another one; nothing was written") from None
    if not names:
        return
    if FILE_NAME in names:
        raise CannotCreateError(
            f"{path} is a log directory already",
            why="a snapshot is another one, and never put on top",
            fix="name a new directory, such as one with the date in it; nothing was written",
        )
    marker = _marker(directory.directory_id)
    foreign = sorted(name for name in names - {marker} - OWN_NAMES if not name.startswith(".tmp-"))
    if marker not in names or foreign:
        found = foreign[0] if foreign else sorted(names)[0]
        unfinished = found.startswith(_MARKER) and found.endswith(_MARKER_END)
        raise CannotCreateError(
            f"{path} is not empty",
            why="it holds what is left of a snapshot of another directory" if unfinished else f"it holds {found!a}",
            fix="name an empty or a new directory; nothing was written",
        )


def _marker(directory_id: str) -> str:
    return f"{_MARKER}{directory_id}{_MARKER_END}"


def nearest_existing(path: str) -> str:
    """Return a path, or the nearest directory above it that is there."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


class SnapshotPlace:
    """The directory in which a snapshot is made: nobody else's meanwhile, and no log directory before it is whole."""

    __slots__ = ("_directory", "_is_new", "_marker", "_marker_fd", "_path", "fd")

    def __init__(self, directory: LogDirectory, path: str) -> None:
        """Make and lock it, with nothing in it."""
        self._directory = directory
        self._path = os.path.abspath(path)
        self._marker = _marker(directory.directory_id)
        self._is_new = not os.path.exists(path)
        self._marker_fd = -1
        make_directories(self._path)
        self.fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._marker_fd = files.open_file(self._marker, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self.fd)
            self._lock()
            # Nobody else is to put anything in there, before it has the modes of what it is a snapshot of.
            files.change_mode(self.fd, PRIVATE)
            files.fsync(self.fd)
            self._clear()
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        if not try_acquire(self._marker_fd):
            raise LockTimeoutError(
                what=f"the snapshot in {self._path}",
                waited_ms=0,
                holder=describe_holder(self._marker_fd),
                fix="wait until it is done, or name another directory; nothing was changed",
            )
        is_named = os.fstat(self._marker_fd).st_nlink > 0
        if files.exists(FILE_NAME, dir_fd=self.fd):
            # Somebody finished it between our look and our lock, and we may just have made the file anew.
            if is_named:
                files.unlink(self._marker, dir_fd=self.fd)
            check_destination(self._directory, self._path)
        if not is_named:
            raise TryAgainError(
                f"{self._path} was just given up by another snapshot", fix="run it again; nothing was changed"
            )

    def _clear(self) -> None:
        """Remove what a killed snapshot has left."""
        for name in os.listdir(self.fd):
            if name in OWN_NAMES:
                files.remove_tree(name, dir_fd=self.fd)
            elif name.startswith(".tmp-"):
                files.unlink(name, dir_fd=self.fd)

    def finish(self) -> None:
        """Make a log directory of it, the one that it is a snapshot of; on disk when it returns."""
        directory = self._directory
        files.fsync(self.fd)
        files.take_rights(self.fd, directory.fd)
        # By a rename: half of it would be a log directory that is damaged.
        files.replace_file(FILE_NAME, files.read_file(FILE_NAME, dir_fd=directory.fd), dir_fd=self.fd)
        files.take_rights_within(self.fd, directory.fd)
        files.unlink(self._marker, dir_fd=self.fd)
        files.fsync(self.fd)

    def give_up(self) -> None:
        """Remove what was made, as far as that can be done; the rest is what a kill leaves, too."""
        try:
            if files.exists(FILE_NAME, dir_fd=self.fd):
                return  # It was whole.
            self._clear()
            files.unlink(self._marker, dir_fd=self.fd)
            if self._is_new:
                above, name = os.path.split(self._path)
                above_fd = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    files.rmdir(name, dir_fd=above_fd)
                finally:
                    files.close(above_fd)
        except OSError:
            pass

    def close(self) -> None:
        if self._marker_fd >= 0:
            files.close(self._marker_fd)
        files.close(self.fd)
