"""Owning a partition for a group: the lock on its newest claim file, and commits into it.

Holding the lock on the newest generation is owning the partition; the kernel lets go of it when the process dies. A member
that is stopped keeps its lock for ever, so it is fenced: somebody makes the next generation, and reads where the group
stood only then. Whatever the stopped one commits later, it sees behind its write that there is a next generation, and says
so instead of acknowledging. Each of them looks after it has acted, so one of the two always sees the other.
Who owns what, and who is to be fenced, is for the members of a group to decide.
Source: man/mk-guarantees.7, COMMITTED OFFSETS.
"""

from __future__ import annotations

import os

from mk import clock
from mk.errors import CorruptStateError, StorageError, TryAgainError
from mk.group_errors import ClaimFencedError
from mk.groups.claim_directory import FIRST_GENERATION, TEMPORARY, claim_name
from mk.groups.claim_slot import NO_EPOCH, NO_OFFSET, OWNER_POSITION, ClaimSlot, encode_owner, new_claim
from mk.storage import files
from mk.storage.locks import try_acquire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.groups.claim_directory import ClaimDirectory

_held: set[Claim] = set()


def _let_go_in_child() -> None:
    """Close what a fork has copied: as long as the child had it open, the parent's death would not free the claim."""
    for claim in list(_held):
        claim._owner = ""  # It is still the parent's.
        claim.close()


os.register_at_fork(after_in_child=_let_go_in_child)


class Claim:
    """One partition, owned by this process until `close` or until somebody fences it.

    committed: the slot that was committed last, by whomever.
    """

    __slots__ = ("_claims", "_fd", "_is_made", "_number", "_owner", "committed", "generation", "partition")

    def __init__(
        self,
        claims: ClaimDirectory,
        partition: int,
        generation: int,
        fd: int,
        committed: ClaimSlot | None,
        *,
        is_made: bool = False,
    ) -> None:
        """is_made: `fd` is the one by which the file was made, under a temporary name."""
        self._claims = claims
        self._fd = fd
        self._owner = ""
        claims.opened += 1
        self._number = claims.opened
        if is_made:
            claims.named = self._number  # Whoever makes one syncs the directory, and with it the names of those before.
        self._is_made = is_made
        self.partition = partition
        self.generation = generation
        self.committed = committed or _nothing_yet(claims, partition)
        _held.add(self)

    def close(self) -> None:
        """Let go of the partition: whoever waits for it gets it at once."""
        _held.discard(self)
        if self._fd >= 0:
            if self._owner:
                self._write_owner("")
            fd, self._fd = self._fd, -1  # So that no signal in between has it closed twice.
            files.close(fd)
            if self._is_made:
                self._tell()

    def _tell(self) -> None:
        """Close the file once more, under its own name.

        The kernel names what is closed as it was opened. Whoever waits for this partition would be told of a temporary file
        that was gone long ago, and try again only when everybody does, half a second later.
        """
        name = claim_name(self.partition, self.generation)
        try:
            files.close(files.open_file(name, os.O_RDWR, dir_fd=self._claims.fd, linked=True))
        except (OSError, CorruptStateError):
            pass  # Deleted, or no more files may be opened: the half second, then.

    def note_owner(self, member_id: str) -> None:
        """Have the claim say which member holds it, for whoever asks without the lock. Not synced: it dies with us."""
        self._owner = member_id
        self._write_owner(member_id)

    def _write_owner(self, member_id: str) -> None:
        try:
            files.pwrite(self._fd, encode_owner(member_id), OWNER_POSITION)
        except OSError:
            pass  # Only a note: the lock is what counts, and the next commit will say what is wrong with the disk.

    def is_fenced(self) -> bool:
        """Tell whether somebody else has taken the partition. To be asked before each hand-over of records."""
        return self._claims.exists(self.partition, self.generation + 1)

    def commit(self, offset: int, leader_epoch: int) -> None:
        """Record that the group has read up to `offset`, that one excluded; on disk on return.

        leader_epoch: of the record before it. By that, and by the topic id, an offset of a log that was cut since is told
        from one of the log that is there.

        Raises:
            ClaimFencedError: the partition is another member's. What it goes on from is an earlier commit.
            StorageError: it is not known whether the commit is on disk; the claim was let go.
        """
        if self._fd < 0:
            raise ValueError("this claim was let go, or belongs to the process that this one was forked from")
        slot = self._next_slot(offset, leader_epoch)
        try:
            if self._number > self._claims.named:
                # Whoever made the file may have been killed before its name was on disk, and the commit stands on that
                # name. Here and not when it is taken: who takes over from a dead member has records to deliver first. Once
                # for all that are open by now: their names are in the same directory.
                opened = self._claims.opened
                files.fsync(self._claims.fd)
                self._claims.named = opened
            files.pwrite(self._fd, slot.encode(), slot.position)
            files.fdatasync(self._fd)
        except OSError as error:
            # The kernel may have dropped the page, and would tell the next sync of this file that all is well.
            self._move_on(slot, error)
            return
        # Behind the write, never before it: a fencer reads this file behind its link. Had we looked first, it could link
        # and read between our look and our write, and we would acknowledge what nobody goes on from.
        if self.is_fenced():
            raise self._fenced()
        self.committed = slot

    def _next_slot(self, offset: int, leader_epoch: int) -> ClaimSlot:
        claims = self._claims
        return ClaimSlot(
            self.committed.sequence + 1,
            claims.topic_id,
            claims.topic,
            self.partition,
            self.generation,
            offset,
            leader_epoch,
            clock.now_ms(),
        )

    def _move_on(self, slot: ClaimSlot, error: OSError) -> None:
        """Commit in a generation of our own making, since the disk refused this file."""
        why = os.strerror(error.errno or 0)
        slot.generation += 1
        fd = None
        try:
            fd = _create(self._claims, self.partition, slot.generation, None)
            if fd is not None:
                # Once its name is on disk: who reads the slot relies on nothing but the file.
                files.pwrite(fd, slot.encode(), slot.position)
                files.fdatasync(fd)
        except BaseException as failure:
            if fd is not None:
                files.close(fd)  # Without an owner, and for the next one to go on in.
            if not isinstance(failure, OSError):
                raise
            # The next generation may be of our own making, where only its name could not be synced. Taken for another
            # member's, it would hide the failing disk: nothing is committed, and the member would end with status 0.
            if fd is None and not isinstance(failure, _UnsyncedNameError) and self.is_fenced():
                raise self._fenced() from None
            path = f"{self._claims.path}/{claim_name(self.partition, self.generation)}"
            self.close()
            raise StorageError(
                f"cannot commit offset {slot.offset} of partition {self.partition} of {self._claims.topic}",
                why=f"{path}: {why}",
                fix="look at the disk (dmesg); the commit may or may not be stored, all before it are",
                path=path,
            ) from None
        if fd is None:
            raise self._fenced()
        files.close(self._fd)
        self._fd = fd
        self._is_made = True
        self.generation = slot.generation
        self.committed = slot
        if self._owner:
            self._write_owner(self._owner)

    def _fenced(self) -> ClaimFencedError:
        self.close()
        return ClaimFencedError(
            group=self._claims.group,
            topic=self._claims.topic,
            partition=self.partition,
            generation=self.generation,
            committed=self.committed.offset,
        )


class _UnsyncedNameError(OSError):
    """A generation was made, without an owner, and its name may be gone after a power cut."""


def take(claims: ClaimDirectory, partition: int, listed: list[int] | None = None) -> Claim | None:
    """Take a partition that nobody owns, for the first time or after its owner has gone; None if somebody owns it.

    The first generation is made with a slot that says that nothing is committed yet, so that a file without a valid slot
    never stands for a group that is new.

    listed: its generations, as they were listed a moment ago, [] for none: for many partitions the list is long. Whoever made
    one since has it, and it is not removed for a day.

    Raises:
        CorruptStateError: where the group stood cannot be read.
    """
    while True:
        generations = claims.generations_of(partition) if listed is None else listed
        listed = None
        if not generations:
            first = _nothing_yet(claims, partition)
            created = _create(claims, partition, FIRST_GENERATION, first)
            if created is not None:
                return Claim(claims, partition, FIRST_GENERATION, created, first, is_made=True)
            continue  # Somebody else made it.
        generation = generations[-1]
        try:
            # It has a second name until its maker has removed the temporary one, or for good if that one was killed.
            fd = files.open_file(claim_name(partition, generation), os.O_RDWR, dir_fd=claims.fd, linked=True)
        except FileNotFoundError:
            continue
        try:
            if not try_acquire(fd):
                files.close(fd)
                return None
            if claims.exists(partition, generation + 1) or os.fstat(fd).st_nlink == 0:
                files.close(fd)
                continue  # It was fenced, and let go by its owner, or deleted, between our look and our lock.
            committed = _committed(claims, partition, generations)
        except BaseException:
            _close_quietly(fd)
            raise
        return _owned(Claim(claims, partition, generation, fd, committed))


def fence(claims: ClaimDirectory, partition: int, listed: list[int] | None = None) -> Claim | None:
    """Take a partition from an owner that holds its lock and does nothing; None if somebody else was faster.

    listed: as for `take`.

    Raises:
        ClaimFencedError: we were fenced ourselves before we were done.
        CorruptStateError: where the group stood cannot be read.
    """
    generations = claims.generations_of(partition) if listed is None else listed
    if not generations:
        return take(claims, partition)
    generation = generations[-1] + 1
    fd = _create(claims, partition, generation, None)
    if fd is None:
        return None
    try:
        # Only now: what its owner acknowledges, it wrote before our file was there, and so before we read.
        committed = _committed(claims, partition, generations)
    except BaseException:
        files.close(fd)
        raise
    return _owned(Claim(claims, partition, generation, fd, committed, is_made=True))


def _owned(claim: Claim) -> Claim:
    """Have the newest generation say itself where the group stands, before anything is read from there."""
    if claim.committed.generation != claim.generation:
        try:
            claim.commit(claim.committed.offset, claim.committed.leader_epoch)
        except BaseException:
            claim.close()
            raise
    return claim


def _committed(claims: ClaimDirectory, partition: int, generations: list[int]) -> ClaimSlot:
    """Return the newest slot of the newest generation that has one. An empty one is of a fencer that got no further."""
    for generation in reversed(generations):
        slots = claims.slots(partition, generation)
        if slots:
            return slots[0]
    raise claims.damaged(partition)


def _nothing_yet(claims: ClaimDirectory, partition: int) -> ClaimSlot:
    now = clock.now_ms()
    return ClaimSlot(0, claims.topic_id, claims.topic, partition, FIRST_GENERATION, NO_OFFSET, NO_EPOCH, now)


def _create(claims: ClaimDirectory, partition: int, generation: int, slot: ClaimSlot | None) -> int | None:
    """Make a generation, whole and on disk, locked before anybody can see it; None if somebody else has made it."""
    _sweep(claims)
    while True:
        temporary = f"{TEMPORARY}{os.urandom(8).hex()}"
        try:
            fd = files.open_file(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=claims.fd)
        except FileNotFoundError:
            raise TryAgainError(
                f"the claims of group {claims.group} on {claims.topic} were deleted just now",
                why="somebody deletes or prunes the group",
                fix="join again; nothing was committed",
                group=claims.group,
                topic=claims.topic,
            ) from None
        is_ours = False
        try:
            # Between its creation and its lock it looks like a dead process's: then whoever sweeps has the lock, and a claim
            # without our lock would be anybody's.
            is_swept = not try_acquire(fd)
            if not is_swept:
                files.pwrite(fd, new_claim(slot), 0)
                files.fdatasync(fd)
                try:
                    name = claim_name(partition, generation)
                    files.link(temporary, name, src_dir_fd=claims.fd, dst_dir_fd=claims.fd)
                    is_ours = True
                except FileExistsError:
                    # Over NFS the answer to a link that succeeded may get lost, and the second try fail.
                    is_ours = os.fstat(fd).st_nlink == 2
                except FileNotFoundError:
                    is_swept = True
        except BaseException:
            _close_quietly(fd)
            _unlink_quietly(temporary, claims)
            raise
        try:
            _unlink_quietly(temporary, claims)
            if is_ours:
                files.fsync(claims.fd)
        except BaseException as failure:
            _close_quietly(fd)
            if is_ours and isinstance(failure, OSError):
                raise _UnsyncedNameError(failure.errno, failure.strerror, failure.filename) from failure
            raise
        if is_ours:
            return fd
        files.close(fd)
        if not is_swept:
            return None


def _sweep(claims: ClaimDirectory) -> None:
    """Remove what killed processes left: a temporary file that became a generation, or that nobody holds.

    What there was when the claims were listed: to list them for each one that is made takes a time that grows with the square.
    """
    leftovers, claims.leftovers = claims.leftovers, []
    for name in leftovers:
        try:
            fd = files.open_file(name, os.O_RDWR, dir_fd=claims.fd, linked=True)
        except (FileNotFoundError, PermissionError):
            continue  # Gone, or of another user killed before it was shared: that one removes it.
        try:
            # By its links first: locking what has become a generation would for a moment look like owning it.
            if os.fstat(fd).st_nlink > 1 or try_acquire(fd):
                _unlink_quietly(name, claims)
        finally:
            files.close(fd)


def _unlink_quietly(name: str, claims: ClaimDirectory) -> None:
    try:
        files.unlink(name, dir_fd=claims.fd)
    except FileNotFoundError:
        pass


def _close_quietly(fd: int) -> None:
    try:
        files.close(fd)
    except OSError:
        pass
