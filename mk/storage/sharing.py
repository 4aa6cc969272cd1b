"""A log directory for a group of users: how one is made, and how one is told.

Its members write, and others read or do not, as the modes of the root directory say. Nothing else records it: what is
made later takes after the directory that it is made in (see files), so `ls -ld` shows all there is to know, and chgrp and
chmod change it. Idea: git's core.sharedRepository.
"""

from __future__ import annotations

import os
from stat import S_IMODE

from mk.errors import CannotCreateError, PermissionDeniedError, UsageError

READERS = ("all", "group")
"""Who may read beside the group: everybody, or nobody."""

_PRIVATE = ("locks", "groups", "quarantine")
"""What is closed to all but the group; groups/ is made with the first claim."""

_MODES = {"all": 0o2775, "group": 0o2770}


class Sharing:
    """Which group writes to a directory, and who reads it. group: as the user named it."""

    __slots__ = ("gid", "group", "readers")

    def __init__(self, group: str, readers: str) -> None:
        """Raises UsageError for a group that there is not."""
        if readers not in READERS:
            raise UsageError(f"the readers of a shared directory cannot be {readers!a}", why="they are all or group")
        self.group = group
        self.gid = _gid(group)
        self.readers = readers

    def check_membership(self) -> None:
        """Raise PermissionDeniedError if this process may not give files to the group."""
        if os.geteuid() != 0 and self.gid not in (os.getegid(), *os.getgroups()):
            raise PermissionDeniedError(
                f"you cannot share a directory with group {self.group}",
                why="you are not one of its members",
                fix="have yourself added, and log in again; nothing was made",
            )

    def give(self, fd: int) -> None:
        """Make an open directory the group's, whatever the umask."""
        os.fchown(fd, -1, self.gid)
        os.fchmod(fd, _MODES[self.readers])

    def check(self, path: str, fds: list[int]) -> None:
        """Raise CannotCreateError unless the log directory at `path`, given by some of its directories, is shared so."""
        for fd in fds:
            status = os.fstat(fd)
            if status.st_gid != self.gid or S_IMODE(status.st_mode) != _MODES[self.readers]:
                rights, others = (
                    ("a+rX,g+w", "all may read") if self.readers == "all" else ("g+rwX,o=", "others may not")
                )
                private = " ".join(f"{path}/{name}" for name in _PRIVATE if os.path.isdir(f"{path}/{name}"))
                raise CannotCreateError(
                    f"{path} is a log directory already, and not shared so",
                    why=f"its group is {status.st_gid} and its mode {S_IMODE(status.st_mode):04o}, where group "
                    f"{self.group} with {_MODES[self.readers]:04o} ({others}) is asked for",
                    fix=f"leave --shared-group out, or share it yourself: chgrp -R {self.group} {path} && chmod -R {rights} "
                    f"{path} && chmod -R o= {private} && find {path} -type d -exec chmod g+s {{}} +; "
                    "nothing was changed",
                    path=path,
                )


def _gid(group: str) -> int:
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        # A number may be nobody's name: containers and NFS have such groups.
        if group.isascii() and group.isdecimal() and int(group) < (1 << 32) - 1:
            return int(group)
    raise UsageError(
        f"there is no group {group!a}",
        fix="`getent group` lists the groups; a number is taken as well; nothing was made",
    )
