"""Being a member of a group: a file that is locked as long as this process lives, and what the others' files say.

Live is who holds the lock on its file and whose heartbeat moves. The kernel drops the lock of a process that dies, whatever it
dies of, and tells whoever watches the directory. One that is stopped or hangs keeps it: that shows in its counter, which
each member times on a clock of its own. Nobody reads another's clock.
Who owns what follows from who is live, and is for group_coordinator.
Format: man/mk-format.5, MEMBERS. Reasons: man/mk-guarantees.7, GROUP MEMBERS.
"""

from __future__ import annotations

import _thread
import errno
import os
from time import monotonic

from mk import clock
from mk.errors import CorruptStateError, TryAgainError
from mk.groups.claim_directory import make_group_directory, not_writable, open_group_directory
from mk.groups.member import (
    DOCUMENT_POSITION,
    HEARTBEAT_SIZE,
    MAX_DOCUMENT_BYTES,
    Member,
    decode_heartbeat,
    decode_member,
    encode_heartbeat,
    is_member_id,
)
from mk.storage import files
from mk.storage.host import boot_id, command_line
from mk.storage.locks import is_held, try_acquire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType

    from mk.storage.log_directory import LogDirectory

MEMBERS = "members"
_TEMPORARY = ".tmp-"
_MAX_MEMBERS = 1024
_TICKS = 20
"""Looks at the others' heartbeats within one session time-out: so much too late, at most, is a stopped one noticed."""

_READS = 50
_PAUSE_SECONDS = 0.001

_joined: set[Membership] = set()


def _let_go_in_child() -> None:
    """Close what a fork has copied: as long as the child had it open, the parent would seem to live on."""
    for membership in list(_joined):
        membership.forget()


os.register_at_fork(after_in_child=_let_go_in_child)


class Membership:
    """This process as a member, and the others as far as it knows.

    others: the members that hold their locks, as of the last `refresh`. silent: the ids of those whose heartbeat has not
    moved for their session time-out. A thread beats and listens, so that neither waits for a slow reader or a child.
    """

    def __init__(self, directory: LogDirectory, group: str, *, session_timeout_ms: int, wake_fd: int) -> None:
        """Prepare to join. wake_fd: a byte is written to it when `silent` changes."""
        self.group = group
        self.member_id = ""
        self.others: dict[str, Member] = {}
        self.silent: frozenset[str] = frozenset()
        self._directory = directory
        self._session_timeout_ms = session_timeout_ms
        self._wake_fd = wake_fd
        self._directory_fd = make_group_directory(directory, group, MEMBERS)
        self._fd = -1
        self._member: Member | None = None
        # The lock that the thread of this membership waits on between two turns, and the one that it holds within a turn.
        self._stop: LockType | None = None
        self._turn = _thread.allocate_lock()

    @property
    def watch_path(self) -> str:
        """A path of the directory in which members come and go."""
        return f"/proc/self/fd/{self._directory_fd}"

    def join(self, topics: dict[str, str], partitions: tuple[int, ...] | None) -> None:
        """Become a member that reads these topics (id and name), and these partitions of each; under a new id each time."""
        member_id = os.urandom(16).hex()
        self._member = Member(
            member_id,
            host=os.uname().nodename,
            pid=os.getpid(),
            user=_user_name(),
            boot_id=boot_id(),
            command=command_line(),
            topics=topics,
            partitions=partitions,
            since_ms=clock.now_ms(),
            session_timeout_ms=self._session_timeout_ms,
        )
        try:
            self._fd = self._create(self._member)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise not_writable(self._directory, self.group) from None
            raise
        self.member_id = member_id
        _joined.add(self)
        self.others = {}
        self.refresh()
        self._stop = _thread.allocate_lock()
        self._stop.acquire()
        try:
            _thread.start_new_thread(self._beat_and_listen, (self._fd, self._stop))
        except RuntimeError:
            raise TryAgainError(
                f"cannot be a member of group {self.group}: no thread can be started",
                why="this user has as many processes and threads as the system allows, or memory is short",
                fix="end some, or raise the limit (ulimit -u); nothing was read",
                group=self.group,
            ) from None

    def change(self, topics: dict[str, str]) -> None:
        """Say that the member reads other topics now, and have the others look."""
        if self._member is None or topics == self._member.topics:
            return
        self._member.topics = topics
        document = self._member.encode()
        files.truncate(self._fd, DOCUMENT_POSITION + len(document))
        files.pwrite(self._fd, document, DOCUMENT_POSITION)
        try:
            # Its closing is what they are told of.
            files.close(files.open_file(self.member_id, os.O_RDWR, dir_fd=self._directory_fd, linked=True))
        except FileNotFoundError:
            pass  # Somebody has removed it; we are no member any more, and are fenced.

    def leave(self) -> None:
        """Be no member any more; what it owned is the others' as soon as it lets go of it."""
        if self._fd < 0:
            return
        with self._turn:
            stop, self._stop = self._stop, None
        if stop is not None:
            stop.release()  # The thread need not have ended: it takes no turn any more.
        _unlink_quietly(self.member_id, self._directory_fd)
        self.forget()
        self.silent = frozenset()

    def forget(self) -> None:
        """Let go of the file without a word, as a process that dies does."""
        _joined.discard(self)
        fd, self._fd = self._fd, -1  # So that no signal in between has it closed twice.
        if fd >= 0:
            files.close(fd)
        self._member = None

    def close(self) -> None:
        """Leave, and let go of the group."""
        self.leave()
        fd, self._directory_fd = self._directory_fd, -1
        if fd >= 0:
            files.close(fd)

    @property
    def is_joined(self) -> bool:
        return self._fd >= 0

    @property
    def members(self) -> dict[str, Member]:
        """The live members, this one included."""
        found = {member_id: member for member_id, member in self.others.items() if member_id not in self.silent}
        if self._member is not None:
            found[self.member_id] = self._member
        return found

    def refresh(self, names: set[str] | None = None, *, reread: bool = True) -> bool:
        """Look at the files of some members again, or of all; tell whether anything has changed.

        A file that nobody holds is a dead member's, and is removed. reread: what a member said of itself may have changed;
        else only whether it lives is looked at, which is quicker.
        """
        listed = os.listdir(self._directory_fd) if names is None else names
        found = dict(self.others) if names is not None else {}
        for name in listed:
            if name.startswith(_TEMPORARY) and names is None:
                remove_dead_member(name, self._directory_fd)
            if not is_member_id(name) or name == self.member_id:
                continue
            member = _live_member(name, self._directory_fd, None if reread else self.others.get(name))
            if member is not None and len(found) < _MAX_MEMBERS:
                found[name] = member
            else:
                found.pop(name, None)
                if member is None:
                    remove_dead_member(name, self._directory_fd)
        if found == self.others:
            return False
        self.others = found
        return True

    def _create(self, member: Member) -> int:
        """Make the file, whole and locked before anybody can see it."""
        while True:
            temporary = f"{_TEMPORARY}{os.urandom(8).hex()}"
            try:
                fd = files.open_file(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._directory_fd)
            except FileNotFoundError:
                raise TryAgainError(
                    f"group {self.group} was deleted just now", fix="join again, and it begins anew", group=self.group
                ) from None
            try:
                # Between its creation and its lock it looks like a dead process's, and may be swept away.
                if try_acquire(fd):
                    content = encode_heartbeat(0).ljust(DOCUMENT_POSITION, b"\0") + member.encode()
                    files.pwrite(fd, content, 0)
                    at = self._directory_fd
                    files.rename(temporary, member.member_id, src_dir_fd=at, dst_dir_fd=at)
                    return fd
            except FileNotFoundError:
                pass
            except BaseException:
                files.close(fd)
                _unlink_quietly(temporary, self._directory_fd)
                raise
            files.close(fd)

    def _beat_and_listen(self, fd: int, stop: LockType) -> None:
        """Move the own heartbeat, and time the others', until `leave`. In a thread of its own.

        A member has been silent for as long as this thread has run without seeing it move: of the time between two turns only
        so much counts as should have passed. Otherwise, when all of us were stopped together and go on, or the machine
        was asleep, each would take the others for stopped that have not had the time to move.
        """
        tick = self._session_timeout_ms / 1000 / _TICKS
        heard: dict[str, tuple[int, float]] = {}
        counter = 0
        before = monotonic()
        while not stop.acquire(timeout=tick):
            with self._turn:
                if self._stop is not stop:
                    return  # We have left since this thread woke: the descriptor may be another file's by now.
                now = monotonic()
                passed = min(now - before, 2 * tick)
                before = now
                counter += 1
                try:
                    files.pwrite(fd, encode_heartbeat(counter), 0)
                except OSError:
                    pass  # The others will take us for stopped, and we shall notice that: nobody needs telling here.
                heard = self._listen(heard, passed)

    def _listen(self, heard: dict[str, tuple[int, float]], passed: float) -> dict[str, tuple[int, float]]:
        """Time the others' heartbeats; returns of each the counter, and for how many seconds it has not moved, as `heard` has."""
        silent = set()
        now_heard: dict[str, tuple[int, float]] = {}
        for member in list(self.others.values()):
            last, silence = heard.get(member.member_id, (-1, 0.0))
            count = _heartbeat(member.member_id, self._directory_fd)
            if count is None:
                count = last  # It is being written, or we could not read it: that proves nothing.
            else:
                silence = silence + passed if count == last else 0.0
            now_heard[member.member_id] = (count, silence)
            if silence >= member.session_timeout_ms / 1000:
                silent.add(member.member_id)
        if silent != self.silent:
            self.silent = frozenset(silent)
            try:
                os.write(self._wake_fd, b"!")
            except BlockingIOError:
                pass  # It has been told often enough.
        return now_heard


def members_of(directory: LogDirectory, group: str) -> list[Member]:
    """Return the members of a group that hold their locks, by when they joined; [] if there is none, or no such group.

    Raises PermissionDeniedError if this process may not look at groups.
    """
    try:
        fd = open_group_directory(directory, [group, MEMBERS])
    except FileNotFoundError:
        return []
    try:
        found = [_live_member(name, fd) for name in os.listdir(fd) if is_member_id(name)]
    finally:
        files.close(fd)
    return sorted((member for member in found if member is not None), key=lambda one: (one.since_ms, one.member_id))


def held_members(directory_fd: int) -> dict[str, Member | None]:
    """Return of each member's file that somebody holds whose it is, or None if it does not say so.

    For whoever must not disturb a member, also not one that cannot be told who it is.
    """
    found: dict[str, Member | None] = {}
    for name in filter(is_member_id, os.listdir(directory_fd)):
        member = _live_member(name, directory_fd)
        if member is not None or _is_held(name, directory_fd):
            found[name] = member
    return found


def _is_held(name: str, directory_fd: int) -> bool:
    try:
        fd = files.open_file(name, os.O_RDONLY, dir_fd=directory_fd)
    except FileNotFoundError:
        return False
    try:
        return is_held(fd)
    finally:
        files.close(fd)


def _live_member(name: str, directory_fd: int, known: Member | None = None) -> Member | None:
    """Read who holds a member's file, unless that is known; None if nobody does, or what it says no member would say."""
    try:
        fd = files.open_file(name, os.O_RDONLY, dir_fd=directory_fd)
    except FileNotFoundError:
        return None
    try:
        if not is_held(fd):
            return None
        if known is not None:
            return known
        for _ in range(_READS):
            member = decode_member(files.pread(fd, MAX_DOCUMENT_BYTES, DOCUMENT_POSITION))
            if member is not None:
                return member if member.member_id == name else None
            import time

            time.sleep(_PAUSE_SECONDS)  # It is being written.
        return None
    finally:
        files.close(fd)


def _heartbeat(name: str, directory_fd: int) -> int | None:
    try:
        fd = files.open_file(name, os.O_RDONLY, dir_fd=directory_fd)
    except (OSError, CorruptStateError):
        return None  # What is wrong with a file, the next `refresh` says, where somebody can hear it.
    try:
        return decode_heartbeat(files.pread(fd, HEARTBEAT_SIZE, 0))
    except OSError:
        return None
    finally:
        files.close(fd)


def remove_dead_member(name: str, directory_fd: int) -> None:
    """Remove a file that nobody holds. Under its lock, so that it is nobody's who is just beginning to live."""
    try:
        fd = files.open_file(name, os.O_RDONLY, dir_fd=directory_fd)
    except OSError:
        return
    try:
        if try_acquire(fd):
            _unlink_quietly(name, directory_fd)
    finally:
        files.close(fd)


def _unlink_quietly(name: str, directory_fd: int) -> None:
    try:
        files.unlink(name, dir_fd=directory_fd)
    except OSError:
        pass  # Gone, or not ours to remove; as it is held by nobody, it does no harm.


def _user_name() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError):
        return str(os.geteuid())
