"""Where the claims of groups stand, and reading them without a lock.

    groups/<group>/claims/<topic id>/<partition>.<generation>

A claim is the file with the highest generation. A generation is never written to again once there is a next one that
counts: what a fenced member still writes into its own is read by nobody but the one who fences it, once. So whoever reads
takes the newest generation that has a valid slot, and makes sure that no newer one appeared meanwhile.
Holding and writing them is in claim.
Format: man/mk-format.5, CLAIMS.
"""

from __future__ import annotations

import errno
import os

from mk.errors import CannotCreateError, CorruptStateError, PermissionDeniedError
from mk.group_errors import NoSuchGroupError
from mk.groups.claim_slot import CLAIM_SIZE, OWNER_POSITION, OWNER_SIZE, ClaimSlot, decode_owner, decode_slots
from mk.storage import files
from mk.storage.locks import is_held
from mk.storage.log_directory import PRIVATE
from mk.topic_partition import MAX_PARTITIONS, check_name, is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

GROUPS = "groups"
CLAIMS = "claims"
TEMPORARY = ".tmp-"
FIRST_GENERATION = 1
_GENERATION_DIGITS = 10
_TRIES = 100


def claim_name(partition: int, generation: int) -> str:
    """Return the name of a claim file; those of a partition sort by their generation."""
    return f"{partition}.{generation:0{_GENERATION_DIGITS}d}"


def parse_claim_name(name: str) -> tuple[int, int] | None:
    """Return partition and generation of a claim file, None for any other name."""
    partition, dot, generation = name.partition(".")
    if not (dot and name.isascii() and partition.isdecimal() and generation.isdecimal()):
        return None
    numbers = int(partition), int(generation)
    return numbers if claim_name(*numbers) == name and numbers[0] < MAX_PARTITIONS else None


class ClaimDirectory:
    """The claims of one group on one topic, held open until `close`.

    topic: its name, as it goes into the slots. leftovers: temporary files that were seen when it was listed last.
    opened: how many of its claims this process has opened, and named: of how many of these the name is known to be on disk.
    """

    __slots__ = ("fd", "group", "leftovers", "named", "opened", "path", "topic", "topic_id")

    def __init__(self, fd: int, path: str, *, group: str, topic: str, topic_id: str) -> None:
        self.fd = fd
        self.path = path
        self.group = group
        self.topic = topic
        self.topic_id = topic_id
        self.leftovers: list[str] = []
        self.opened = self.named = 0

    def close(self) -> None:
        files.close(self.fd)

    def generations(self) -> dict[int, list[int]]:
        """Return of each partition with a claim the generations that are there, ascending."""
        found: dict[int, list[int]] = {}
        for name in self._names():
            numbers = parse_claim_name(name)
            if numbers is not None:
                found.setdefault(numbers[0], []).append(numbers[1])
        return {partition: sorted(numbers) for partition, numbers in sorted(found.items())}

    def generations_of(self, partition: int) -> list[int]:
        """Return the generations of one partition, ascending; of many, `generations` tells with one listing."""
        prefix = f"{partition}."
        names = (parse_claim_name(name) for name in self._names() if name.startswith(prefix))
        return sorted(numbers[1] for numbers in names if numbers is not None)

    def _names(self) -> list[str]:
        names = os.listdir(self.fd)
        self.leftovers = [name for name in names if name.startswith(TEMPORARY)]
        return names

    def exists(self, partition: int, generation: int) -> bool:
        return files.exists(claim_name(partition, generation), dir_fd=self.fd)

    def slots(self, partition: int, generation: int) -> list[ClaimSlot]:
        """Return the valid slots of one file, the newest first. One that was written for another place is not valid."""
        try:
            data = files.read_file(claim_name(partition, generation), dir_fd=self.fd, max_bytes=CLAIM_SIZE)
        except FileNotFoundError:
            return []  # Removed as too old since it was listed.
        return [slot for slot in decode_slots(data) if self.is_own(slot, partition, generation)]

    def owner(self, partition: int, generation: int) -> str:
        """Return the id of the member that says in a file that it owns the claim, "" if none does. True while it lives."""
        try:
            fd = files.open_file(claim_name(partition, generation), os.O_RDONLY, dir_fd=self.fd)
        except FileNotFoundError:
            return ""
        try:
            return decode_owner(files.pread(fd, OWNER_SIZE, OWNER_POSITION))
        finally:
            files.close(fd)

    def is_held(self, partition: int, generation: int) -> bool:
        """Tell whether somebody holds the lock on a file, without a descriptor that its closing would tell others of."""
        try:
            fd = files.open_file(claim_name(partition, generation), os.O_RDONLY, dir_fd=self.fd)
        except FileNotFoundError:
            return False
        try:
            return is_held(fd)
        finally:
            files.close(fd)

    def is_own(self, slot: ClaimSlot, partition: int, generation: int) -> bool:
        """Tell whether a slot was written for the file in which it stands, and did not come there by a copy."""
        return (slot.topic_id, slot.partition, slot.generation) == (self.topic_id, partition, generation)

    def newest(self, partition: int, listed: list[int] | None = None) -> ClaimSlot | None:
        """Return up to where the group has committed a partition, without a lock; None if it has no claim on it.

        Never more than whoever holds the claim goes on from. In the newest generation, that is the newest slot. While
        somebody is fencing, it is still empty, and in the one before it the member that is being fenced may just be
        writing a slot that nobody will go on from: there the older one counts, unless both are gone.

        listed: its generations, as `generations` told a moment ago: for many partitions the list is long.

        Raises:
            CorruptStateError: no generation has a valid slot.
        """
        for _ in range(_TRIES):
            generations = listed or self.generations_of(partition)
            listed = None
            if not generations:
                return None
            slot = self._newest_of(partition, generations)
            if slot is not None and not self.exists(partition, generations[-1] + 1):
                return slot
        raise self.damaged(partition)

    def newest_on_disk(self, partition: int) -> ClaimSlot | None:
        """Return the same, once it is sure to survive a power cut: for whoever removes what the group has read.

        A commit is in the file before it is on disk. Read in between, and lost by a power cut, it would have let records
        go that the group will ask for again. The name of the file is on disk before a slot with an offset is in it.
        """
        slot = self.newest(partition)
        if slot is not None:
            fd = files.open_file(claim_name(partition, slot.generation), os.O_RDONLY, dir_fd=self.fd)
            try:
                files.fdatasync(fd)
            finally:
                files.close(fd)
        return slot

    def _newest_of(self, partition: int, generations: list[int]) -> ClaimSlot | None:
        for generation in reversed(generations):
            slots = self.slots(partition, generation)
            if slots:
                newest = generations[-1]
                is_settled = generation == newest or self._is_left(partition, generation, newest)
                return slots[0] if is_settled else slots[-1]
        return None

    def _is_left(self, partition: int, generation: int, newest: int) -> bool:
        """Tell whether the maker of the newest generation, which is empty, is gone, and with it the member before it.

        Otherwise a reset would plan with the older slot for ever, find the newer one under the lock, and refuse as if
        somebody had committed. To be asked behind the reading of `generation`. Who made the newest one may have read before
        us and be done by now: then its slot is seen here.
        """
        is_free = not self.is_held(partition, generation) and not self.is_held(partition, newest)
        return is_free and not self.slots(partition, newest)

    def damaged(self, partition: int) -> CorruptStateError:
        newest = (self.generations_of(partition) or [0])[-1]
        return CorruptStateError(
            path=f"{self.path}/{claim_name(partition, newest)}",
            found="neither of its slots can be read, nor any of an earlier generation",
            fix="nothing was changed; restore the file from a copy: where the group stood is written nowhere else",
        )


def group_names(directory: LogDirectory, folded: str = "") -> list[str]:
    """Return the names of the groups there are, sorted; or of those whose name is `folded` but for upper and lower case.

    What is not a group's name is ignored.
    """
    try:
        fd = files.open_directory(GROUPS, dir_fd=directory.fd)
    except FileNotFoundError:
        return []
    except PermissionError:
        raise _closed(directory, []) from None
    try:
        return sorted(
            entry.name
            for entry in os.scandir(fd)
            if (not folded or entry.name.casefold() == folded)
            and is_valid_name(entry.name)
            and entry.is_dir(follow_symlinks=False)
        )
    finally:
        files.close(fd)


def topic_ids(directory: LogDirectory, group: str) -> list[str]:
    """Return the ids of the topics on which a group has claims, whether or not they are there any more."""
    try:
        fd = open_group_directory(directory, [group, CLAIMS])
    except FileNotFoundError:
        return []
    try:
        return sorted(name for name in os.listdir(fd) if len(name) == 32 and name.isalnum())
    finally:
        files.close(fd)


def open_group(directory: LogDirectory, group: str) -> int:
    """Open the directory of a group. Raises NoSuchGroupError."""
    check_name(group, "group")
    try:
        return open_group_directory(directory, [group])
    except FileNotFoundError:
        raise NoSuchGroupError(group=group, directory=directory.path) from None


def open_claims(directory: LogDirectory, group: str, *, topic: str, topic_id: str) -> ClaimDirectory | None:
    """Open what a group has claimed of a topic, for reading; None if it has nothing. Raises NoSuchGroupError."""
    check_name(group, "group")
    path = f"{directory.path}/{GROUPS}/{group}/{CLAIMS}/{topic_id}"
    try:
        fd = open_group_directory(directory, [group, CLAIMS, topic_id])
    except FileNotFoundError:
        if group not in group_names(directory):
            raise NoSuchGroupError(group=group, directory=directory.path) from None
        return None
    return ClaimDirectory(fd, path, group=group, topic=topic, topic_id=topic_id)


def make_claims(topic: Topic, group: str) -> ClaimDirectory:
    """Open the same for a member of the group, made if it is the first; on disk when it returns.

    Each name is synced also if it was there: whoever made it may have been killed before, and a commit stands on it.

    Raises:
        PermissionDeniedError: this process may not write there.
        CannotCreateError: a group has that name already, but for upper and lower case.
    """
    directory = topic.directory
    *above, fd = _make_group_directories(directory, group, CLAIMS, topic.topic_id)
    try:
        # Once all of them are made: then the journal of the file system is written once for them, and not for each.
        for one in above:
            files.fsync(one)
    except BaseException:
        files.close(fd)
        raise
    finally:
        _close_all(above)
    path = f"{directory.path}/{GROUPS}/{group}/{CLAIMS}/{topic.topic_id}"
    return ClaimDirectory(fd, path, group=group, topic=topic.name, topic_id=topic.topic_id)


def make_group_directory(directory: LogDirectory, group: str, *below: str) -> int:
    """Open a directory of a group, made with all above it if it is the first, for what need not survive a power cut.

    Raises as make_claims does.
    """
    *above, fd = _make_group_directories(directory, group, *below)
    _close_all(above)
    return fd


def _make_group_directories(directory: LogDirectory, group: str, *below: str) -> list[int]:
    """Open a directory of a group and all above it, from that of the log on.

    Raises:
        PermissionDeniedError: this process may not write there.
        CannotCreateError: a group has that name already, but for upper and lower case.
    """
    check_name(group, "group")
    try:
        _ = directory.locks_fd  # Refuses whoever may only read, and a file system on which locks are not proven.
    except PermissionDeniedError:
        raise not_writable(directory, group) from None
    for other in group_names(directory, group.casefold()):
        if other != group:
            raise CannotCreateError(
                f"there is a group {other} already",
                why="names that differ only in upper and lower case would be one on some file systems",
                fix="choose another name; nothing was made",
                group=group,
                existing=other,
            )
    for tries_left in reversed(range(_TRIES)):
        try:
            return _make_below(directory, group, (GROUPS, group, *below))
        except FileNotFoundError:
            # Somebody deletes the group, and had removed between two steps what was there at the first.
            if not tries_left:
                raise
    raise AssertionError


def _make_below(directory: LogDirectory, group: str, names: tuple[str, ...]) -> list[int]:
    opened = [os.dup(directory.fd)]
    try:
        for name in names:
            try:
                files.mkdir(name, PRIVATE, dir_fd=opened[-1])
            except FileExistsError:
                pass
            opened.append(files.open_directory(name, dir_fd=opened[-1]))
    except BaseException as error:
        _close_all(opened)
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise not_writable(directory, group) from None
        raise
    return opened


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        files.close(fd)


def not_writable(directory: LogDirectory, group: str) -> PermissionDeniedError:
    """Return what to say to whoever may not be a member of a group."""
    return PermissionDeniedError(
        f"you may not read {directory.path} as a member of a group",
        why=f"a group keeps its members, their locks and its offsets in {directory.path}/{GROUPS}, which you cannot write to",
        fix=f"become a user who may write there; without -g, or with `-o group:{group}`, reading needs no more than "
        "permission to read, and --cursor-file FILE keeps your place in a file of yours; nothing was changed",
        path=f"{directory.path}/{GROUPS}",
    )


def open_group_directory(directory: LogDirectory, names: list[str]) -> int:
    """Open a directory below groups/, name by name, so that none of them is a link."""
    try:
        opened: list[str] = []
        fd = files.open_directory(GROUPS, dir_fd=directory.fd)
        for name in names:
            opened.append(name)
            try:
                below = files.open_directory(name, dir_fd=fd)
            finally:
                files.close(fd)
            fd = below
    except PermissionError:
        raise _closed(directory, opened) from None
    return fd


def _closed(directory: LogDirectory, names: list[str]) -> PermissionDeniedError:
    """Return what to say of a directory below groups/ that may not be opened. names: the way to it, from the group on."""
    which = f"group {names[0]}" if names else "the groups"
    return PermissionDeniedError(
        f"you may not look at {which} of {directory.path}",
        why=f"its {'/'.join([GROUPS, *names])}/ directory is closed to you",
        fix="become a user who may write to the directory; nothing was changed",
    )
