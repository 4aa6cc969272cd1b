"""Opening the log directory that a command is about, where that has to be one of this host: who leads is decided there."""

from __future__ import annotations

from mk.errors import UsageError
from mk.storage import files
from mk.storage.log_directory import LogDirectory
from mk.transport.address import is_remote


class opened:
    """Open a log directory for a `with` block. Raises UsageError for one of another host."""

    __slots__ = ("_about", "_directory")

    def __init__(self, location: str, *, command: str, allow_network_fs: bool = False) -> None:
        if is_remote(location):
            host, _, path = location.partition(":")
            raise UsageError(
                f"`{command}` is about a directory of this host, and {location} is not",
                why="what is known of others, and who leads, is kept in the directory itself",
                fix=f"run it there: ssh {host} {command} -d {path or 'DIR'}; nothing was done",
            )
        self._about = files.about(location)
        with self._about:
            self._directory = LogDirectory(location, allow_network_fs=allow_network_fs)

    def __enter__(self) -> LogDirectory:
        self._about.__enter__()
        return self._directory

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._directory.close()
        self._about.__exit__(kind, error, traceback)
