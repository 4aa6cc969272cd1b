"""Checking what groups have beside their claims: their journals, and what their members say of themselves.

Read-only, and beside members that come and go. Who may not look into groups/ finds nothing there.
"""

from __future__ import annotations

import os

from mk.errors import MkError, NotFoundError
from mk.groups.claim_directory import CLAIMS, GROUPS, group_names, open_group
from mk.groups.member import is_member_id
from mk.groups.membership import MEMBERS, held_members
from mk.groups.reset_journal import JOURNAL, OLD_JOURNAL, read_lines
from mk.maintenance import findings as kinds
from mk.maintenance.claim_check import orphaned_claims
from mk.maintenance.findings import NOTE, WARNING, Finding
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.log_directory import LogDirectory

_NAMES = frozenset((CLAIMS, MEMBERS, JOURNAL, OLD_JOURNAL))


def check_groups(directory: LogDirectory) -> list[Finding]:
    """Return what is wrong with groups, but for their claims on topics that are there, which are checked with those."""
    try:
        groups = group_names(directory)
    except (MkError, PermissionError):
        return []  # They are closed to whoever may only read.
    found: list[Finding] = []
    for group in groups:
        try:
            found += _check_group(directory, group)
        except PermissionError:
            return []
        except NotFoundError:
            continue  # Deleted meanwhile.
        except (MkError, OSError) as error:
            # Something stands there that mk did not make, such as a link: it is named, and not followed.
            what = (
                f"{error.what}: {error.why}" if isinstance(error, MkError) else error.strerror or "it cannot be opened"
            )
            found.append(Finding("", None, kinds.UNKNOWN_FILE, WARNING, f"{GROUPS}/{group}", what))
    return found + orphaned_claims(directory)


def _check_group(directory: LogDirectory, group: str) -> list[Finding]:
    group_fd = open_group(directory, group)
    try:
        return [*_check_names(group, group_fd), *_check_journal(group, group_fd), *_check_members(group, group_fd)]
    finally:
        files.close(group_fd)


def _check_names(group: str, group_fd: int) -> list[Finding]:
    return [
        Finding("", None, kinds.UNKNOWN_FILE, NOTE, f"{GROUPS}/{group}/{name}", "it is no part of a group")
        for name in sorted(os.listdir(group_fd))
        if name not in _NAMES and not name.startswith(".tmp-")
    ]


def _check_journal(group: str, group_fd: int) -> list[Finding]:
    """Look for damaged lines. Numbers that go on behind one without a gap say that its change was not begun: it was being
    written when the power went."""
    found = []
    lines = read_lines(group_fd)
    numbers = [None if change is None else change["change"] for _, _, change in lines]
    for at, (name, position, change) in enumerate(lines):
        if change is not None:
            continue
        before = next((number for number in reversed(numbers[:at]) if number is not None), 0)
        after = next((number for number in numbers[at:] if number is not None), None)
        if after is None or after == before + 1:
            severity, what = NOTE, "a line was broken off, and its change not begun"
        else:
            severity, what = WARNING, "a line is damaged: what was changed there cannot be taken back"
        path = f"{GROUPS}/{group}/{name}"
        found.append(Finding("", None, kinds.DAMAGED_JOURNAL, severity, path, what, position=position))
    return found


def _check_members(group: str, group_fd: int) -> list[Finding]:
    """Look at who is a member now. What dead ones leave behind, the next member removes."""
    try:
        members_fd = files.open_directory(MEMBERS, dir_fd=group_fd)
    except FileNotFoundError:
        return []
    found = []
    try:
        for name in sorted(os.listdir(members_fd)):
            if not is_member_id(name) and not name.startswith(".tmp-"):
                path = f"{GROUPS}/{group}/{MEMBERS}/{name}"
                found.append(Finding("", None, kinds.UNKNOWN_FILE, NOTE, path, "it is no member's"))
        for member_id, member in held_members(members_fd).items():
            if member is None:
                path = f"{GROUPS}/{group}/{MEMBERS}/{member_id}"
                what = "somebody holds it, and it does not say who: the other members do not count that one"
                found.append(Finding("", None, kinds.DAMAGED_MEMBER, WARNING, path, what))
    finally:
        files.close(members_fd)
    return found
