"""Checking what is kept of other log directories: hints, but for the offsets of groups, which are said where they begin.

Read-only, and beside replications that run.
"""

from __future__ import annotations

from mk.errors import PermissionDeniedError
from mk.groups.replicated_offsets import damaged_files
from mk.maintenance import findings as kinds
from mk.maintenance.findings import NOTE, WARNING, Finding
from mk.storage.replica_directory import known_replicas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.log_directory import LogDirectory


def check_replicas(directory: LogDirectory) -> list[Finding]:
    """Return what is wrong with the files in replicas/."""
    found = [
        Finding("", None, kinds.DAMAGED_REPLICA, NOTE, path, what)
        for replica in known_replicas(directory)
        for path, what in replica.problems
    ]
    try:
        damaged = damaged_files(directory)
    except (PermissionDeniedError, PermissionError):
        return found  # The groups are closed to whoever may only read.
    for path, count in damaged:
        what = f"{count} {'line is' if count == 1 else 'lines are'} damaged: where the group begins is not known there"
        found.append(Finding("", None, kinds.DAMAGED_REPLICA, WARNING, path, what))
    return found
