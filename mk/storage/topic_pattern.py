"""The topics whose names match a regular expression, also those that appear later."""

from __future__ import annotations

import os
import re

from mk.errors import NoSuchTopicError, UsageError
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic


def regex_of(names: Sequence[str]) -> str:
    """Return the regular expression that finds the topics of these names, and no others."""
    return rf"\A(?:{'|'.join(map(re.escape, names))})\Z"


class TopicPattern:
    """A Python regular expression, searched for in the names of topics: it need not match all of a name."""

    __slots__ = ("_directory", "_search", "text")

    def __init__(self, directory: LogDirectory, text: str) -> None:
        """Raises UsageError if `text` is no regular expression."""
        self._directory = directory
        self.text = text
        try:
            self._search = re.compile(text).search
        except re.error as error:
            raise UsageError(f"{text!a} is no regular expression", why=str(error), regex=text) from None

    def open_new(self, known: Sequence[Topic]) -> list[Topic]:
        """Open the topics that match and are not among `known`, in the order of their names.

        A topic is known by its directory, which survives a rename: one of `known` that has another name now gets that
        name, and is not read twice. One that goes before it can be opened was not there.
        """
        by_inode = {os.fstat(topic.fd).st_ino: topic for topic in known}
        found = []
        for name in self._directory.topic_names():
            if self._search(name) is None:
                continue
            try:
                with files.about(f"{self._directory.path}/topics/{name}"):
                    inode = os.stat(name, dir_fd=self._directory.topics_fd, follow_symlinks=False).st_ino
                    if inode in by_inode:
                        by_inode[inode].name = name
                    else:
                        found.append(self._directory.open_topic(name))
            except (FileNotFoundError, NoSuchTopicError):
                continue
        return found

    @property
    def watch_path(self) -> str:
        """A path of the directory in which topics appear."""
        return f"/proc/self/fd/{self._directory.topics_fd}"
