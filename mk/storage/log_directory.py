"""The log directory: its identity, and the topics in it.

Knows the layout of man/mk-format.5 down to a partition's files; what is inside them is for PartitionLog.
"""

from __future__ import annotations

import os

from mk.errors import (
    CannotCreateError,
    CorruptStateError,
    NetworkFileSystemError,
    NoSuchDirectoryError,
    PermissionDeniedError,
    TopicExistsError,
)
from mk.storage import files, flat_json
from mk.storage.host import boot_id, file_system_of, is_network_file_system
from mk.storage.topic import FILE_NAME as TOPIC_FILE
from mk.storage.topic import PRODUCERS_DIRECTORY, Topic, encode_topic
from mk.topic_partition import check_name, check_partition_count, is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mk.storage.retention import GroupOffset
    from mk.storage.sharing import Sharing

FILE_NAME = "mk.json"
PRIVATE = 0o700
"""Mode of what only writers may open: a reader with a lock file open could block them all."""

REPLICAS = "replicas"
"""What is known of other directories, see replica_directory, which nobody loads where there is none."""

FILLING_PREFIX = ".filling-"
FILLING_LOCK = "filling"
"""A topic that has no name yet, and the lock of whoever fills it, see filling_topic."""

OWN_NAMES = frozenset(("topics", "locks", "groups", REPLICAS, "quarantine"))


class LogDirectory:
    """An open log directory. Its descriptors are held, so nobody can redirect later opens by renaming above it.

    directory_id: 32 hex digits, never used twice; it names the leader in `epochs`. group_offsets: see __init__.
    """

    __slots__ = ("_allow_network_fs", "_locks_fd", "directory_id", "fd", "group_offsets", "path", "topics_fd")

    def __init__(
        self,
        path: str,
        *,
        allow_network_fs: bool = False,
        group_offsets: Callable[[Topic, int, str], Iterable[GroupOffset]] | None = None,
    ) -> None:
        """Open an existing directory; nothing is written, and no write permission is needed.

        group_offsets: tells how far the groups have read a partition that a value of retention.groups names; nothing
            below the groups knows. Without it, what that setting protects stays.
        """
        self.path = path
        self.group_offsets = group_offsets
        self._locks_fd = self.topics_fd = -1
        try:
            # The root itself may be reached through a link: that is the user's own choice of a path.
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchDirectoryError(path=path) from None
        try:
            data = files.read_file(FILE_NAME, dir_fd=self.fd)
            self.topics_fd = files.open_directory("topics", dir_fd=self.fd)
            self.directory_id = _directory_id(data, f"{path}/{FILE_NAME}")
        except BaseException as error:
            self.close()
            if isinstance(error, FileNotFoundError):
                raise NoSuchDirectoryError(path=path) from None
            raise
        self._allow_network_fs = allow_network_fs

    def close(self) -> None:
        for fd in (self._locks_fd, self.topics_fd, self.fd):
            if fd >= 0:
                files.close(fd)
        self._locks_fd = self.topics_fd = self.fd = -1

    @property
    def locks_fd(self) -> int:
        """The directory of lock files, opened when a writer first needs it.

        Only writers ask for it, and only for them does it matter whether locks reach everybody: a reader takes none.
        """
        if self._locks_fd < 0:
            if not self._allow_network_fs:
                _refuse_network_file_system(self.fd, self.path)
            try:
                self._locks_fd = files.open_directory("locks", dir_fd=self.fd)
            except FileNotFoundError:
                raise CorruptStateError(
                    path=f"{self.path}/locks",
                    found="it is missing, as in a copy made by somebody who may only read",
                    fix="such a copy can be read, not written to; nothing was changed",
                ) from None
            except PermissionError:
                raise PermissionDeniedError(
                    f"you may read {self.path} but not write to it",
                    why="its locks/ directory is closed to you",
                    fix="become a user who may, or name a directory of your own with -d; nothing was written",
                ) from None
        return self._locks_fd

    def check_is_in_place(self) -> None:
        """Raise NoSuchDirectoryError if it was removed or put aside since it was opened, also for another one in its place."""
        opened = os.fstat(self.fd)
        try:
            there = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchDirectoryError(path=self.path, why="it was removed or renamed") from None
        if (opened.st_ino, opened.st_dev) != (there.st_ino, there.st_dev):
            raise NoSuchDirectoryError(path=self.path, why="it was removed or renamed, and another one is in its place")

    def check_sharing(self, sharing: Sharing) -> None:
        """Raise CannotCreateError unless this directory is shared so."""
        sharing.check(self.path, [self.fd, self.topics_fd])

    def open_topic(self, name: str) -> Topic:
        return Topic(self, check_name(name))

    def topic_names(self) -> list[str]:
        """Return the names of the topics there, sorted. What is not a topic's name is ignored."""
        return sorted(
            entry.name
            for entry in os.scandir(self.topics_fd)
            if is_valid_name(entry.name) and entry.is_dir(follow_symlinks=False)
        )

    def create_topic(
        self, name: str, *, partitions: int, partitioner: str, overrides: dict[str, int | str], wait_ms: int
    ) -> None:
        """Create a topic; on disk, and visible all at once, when it returns.

        Raises TopicExistsError also for a name that differs only in case, which other file systems cannot hold.
        """
        from mk.storage.locks import directory_lock

        check_name(name)
        check_partition_count(partitions)
        with directory_lock(self.locks_fd, wait_ms=wait_ms):
            self.sweep()
            self.check_name_is_free(name)
            topic_id = os.urandom(16).hex()
            content = encode_topic(name, topic_id, partitions, partitioner, overrides)
            self.make_topic(name, topic_id, content, [(b"", 0)] * partitions)

    def make_topic(
        self,
        name: str,
        topic_id: str,
        content: bytes,
        partitions: Sequence[tuple[bytes, int]],
        pins: Mapping[str, bytes] | None = None,
    ) -> None:
        """Make a topic under a free name and an id that is nobody's, holding the directory's lock.

        content: of its topic.json. partitions: see create_partition. pins: name and content of each file in producers/.
        """
        topic_fd = self.begin_topic(topic_id, len(partitions))
        try:
            for partition, (epochs, first_offset) in enumerate(partitions):
                self.create_partition(topic_fd, topic_id, partition, epochs, first_offset)
            self.finish_topic(topic_fd, topic_id, name, content, pins)
        finally:
            files.close(topic_fd)

    def begin_topic(self, topic_id: str, partitions: int) -> int:
        """Begin a topic that is there when it is finished, holding the directory's lock. Returns its open directory, for
        its partitions. What a killed one leaves, the next sweep removes."""
        temporary = f".tmp-{topic_id}"
        # First, so that a later sweep finds by its name all that a killed create leaves, the locks too.
        files.mkdir(temporary, dir_fd=self.topics_fd)
        # On disk, or a power cut leaves locks that no sweep finds, and a copy with this id could never be made here.
        files.fsync(self.topics_fd)
        self.create_locks(topic_id, range(partitions))
        return files.open_directory(temporary, dir_fd=self.topics_fd)

    def finish_topic(
        self, topic_fd: int, topic_id: str, name: str, content: bytes, pins: Mapping[str, bytes] | None = None
    ) -> None:
        """Give a topic its small files and its name. Its partitions are there, on disk but for their names."""
        if pins:
            files.mkdir(PRODUCERS_DIRECTORY, dir_fd=topic_fd)
            pins_fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic_fd)
            try:
                for pin, data in pins.items():
                    files.write_new_file(pin, data, dir_fd=pins_fd)
                files.fsync(pins_fd)
            finally:
                files.close(pins_fd)
        files.write_new_file(TOPIC_FILE, content, dir_fd=topic_fd)
        files.fsync(topic_fd)
        # Whoever made the directory may have been killed before the names in it were on disk.
        files.fsync(self.fd)
        files.rename(f".tmp-{topic_id}", name, src_dir_fd=self.topics_fd, dst_dir_fd=self.topics_fd)
        files.fsync(self.topics_fd)

    def delete_topic(self, name: str, *, wait_ms: int) -> None:
        """Delete a topic and all its records. Waits for appends under way; later ones find it gone."""
        from mk.storage.locks import directory_lock

        with directory_lock(self.locks_fd, wait_ms=wait_ms):
            self.sweep()
            topic = self.open_topic(name)
            topic.close()
            self.remove_topic(name, topic.topic_id, range(topic.partitions), wait_ms=wait_ms)

    def remove_topic(self, name: str, topic_id: str, partitions: Iterable[int], *, wait_ms: int) -> None:
        """Take a topic away, under the directory's lock.

        With all append locks: an append that got its lock before us is acknowledged before the topic goes; one that gets
        it after us finds another topic.json, or none, at the path.
        """
        from mk.storage.append_locks import append_locks

        with append_locks(self, topic_id, name, partitions, wait_ms=wait_ms):
            gone = f".deleted-{topic_id}"
            files.rename(name, gone, src_dir_fd=self.topics_fd, dst_dir_fd=self.topics_fd)
            files.fsync(self.topics_fd)
            self._remove(gone, topic_id)

    def remove_leftovers(self, *, wait_ms: int) -> int:
        """Finish what killed creations and deletions left; returns how many there were."""
        from mk.storage.locks import directory_lock

        if not self._left_behind() and not self.filling_topics():
            return 0
        with directory_lock(self.locks_fd, wait_ms=wait_ms):
            return self.sweep()

    def open_lock(self, topic_id: str, name: str, *, create: bool = False) -> int:
        """Open a lock file of a topic. That of a partition, named by its number, exists as long as the topic does."""
        flags = os.O_RDWR | os.O_CREAT if create else os.O_RDWR
        locks_fd = files.open_directory(topic_id, dir_fd=self.locks_fd)
        try:
            return files.open_file(name, flags, 0o600, dir_fd=locks_fd, linked=True)
        finally:
            files.close(locks_fd)

    def lock_is_current(self, fd: int, topic_id: str, partition: int) -> bool:
        """Tell whether an open lock file is the one at its path: two inodes would be two locks."""
        opened = os.fstat(fd)
        try:
            there = os.stat(f"{topic_id}/{partition}", dir_fd=self.locks_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (opened.st_ino, opened.st_dev) == (there.st_ino, there.st_dev)

    def open_quarantine(self) -> int:
        """Open quarantine/, where whatever is cut off is kept."""
        try:
            files.mkdir("quarantine", PRIVATE, dir_fd=self.fd)
            files.fsync(self.fd)
        except FileExistsError:
            pass
        return files.open_directory("quarantine", dir_fd=self.fd)

    def check_name_is_free(self, name: str, *, but: str = "") -> None:
        """Raise CannotCreateError if a topic cannot have that name. `but` is a topic that will give up its own for it."""
        for existing in self.topic_names():
            if existing.casefold() == name.casefold() and existing != but:
                raise TopicExistsError(topic=name, existing=existing, renaming=bool(but))
        try:
            there = os.stat(name, dir_fd=self.topics_fd, follow_symlinks=False).st_ino
        except FileNotFoundError:
            return
        # Where upper and lower case are one, a topic's own directory answers to its new name already.
        if not but or there != os.stat(but, dir_fd=self.topics_fd, follow_symlinks=False).st_ino:
            raise CannotCreateError(
                f"{self.path}/topics/{name} is in the way",
                why="it is no topic, and mk did not make it",
                fix="move it away, or choose another name; nothing was changed",
            )

    def create_locks(self, topic_id: str, partitions: range) -> None:
        """Make lock files, on disk when it returns. One that a killed change left was never anybody's, and is replaced."""
        try:
            files.mkdir(topic_id, PRIVATE, dir_fd=self.locks_fd)
        except FileExistsError:
            pass
        fd = files.open_directory(topic_id, dir_fd=self.locks_fd)
        try:
            for partition in partitions:
                try:
                    files.write_new_file(str(partition), b"", dir_fd=fd, mode=0o600)
                except FileExistsError:
                    # Perhaps another user's, killed before it could share it with the group.
                    files.unlink(str(partition), dir_fd=fd)
                    files.write_new_file(str(partition), b"", dir_fd=fd, mode=0o600)
            files.fsync(fd)
        finally:
            files.close(fd)
        files.fsync(self.locks_fd)

    def create_partition(
        self, topic_fd: int, topic_id: str, partition: int, epochs: bytes = b"", first_offset: int = 0
    ) -> None:
        """Make an empty partition; on disk when it returns, but for its name in the topic.

        epochs: the content of that file, where another directory leads it. first_offset: where its log begins.
        """
        from mk.storage.leader_epochs import FILE_NAME as EPOCHS_FILE
        from mk.storage.leader_epochs import EpochEntry, decode_epochs
        from mk.storage.log_segment import INDEX_SUFFIX, UNKNOWN_CHAIN, segment_name
        from mk.storage.partition_state import LogEnd, PartitionState, initial_state

        state = PartitionState(topic_id, boot_id())
        if epochs:
            state.leader_epoch = decode_epochs(epochs, EPOCHS_FILE).latest.epoch
        if first_offset:
            state.segment = state.log_start_offset = state.high_watermark = first_offset
            state.written = state.durable = LogEnd(0, first_offset, UNKNOWN_CHAIN, -1)
        files.mkdir(str(partition), dir_fd=topic_fd)
        fd = files.open_directory(str(partition), dir_fd=topic_fd)
        try:
            files.write_new_file(segment_name(first_offset), b"", dir_fd=fd)
            files.write_new_file(segment_name(first_offset, INDEX_SUFFIX), b"", dir_fd=fd)
            files.write_new_file("state", initial_state(state), dir_fd=fd)
            files.write_new_file(EPOCHS_FILE, epochs or EpochEntry(0, 0, self.directory_id).encode(), dir_fd=fd)
            files.fsync(fd)
        finally:
            files.close(fd)

    def _remove(self, name: str, topic_id: str) -> None:
        # The locks first: killed in between, it is by the topic's name that the next sweep finds what is left. Nobody
        # needs them any more, since no writer finds the topic at its own name.
        try:
            files.remove_tree(topic_id, dir_fd=self.locks_fd)
        except FileNotFoundError:
            pass
        # On disk before the name goes: see make_topic.
        files.fsync(self.locks_fd)
        files.remove_tree(name, dir_fd=self.topics_fd)
        files.fsync(self.topics_fd)

    def sweep(self) -> int:
        """Finish what a killed create or delete left, and return how many there were: nobody else is at it, since we hold the
        directory's lock. What somebody fills stays."""
        # A rename to .deleted- that is not on disk yet could be undone by a power cut, its content not.
        files.fsync(self.topics_fd)
        names = self._left_behind()
        names += [name for name in self.filling_topics() if not self._is_being_filled(name.partition("-")[2])]
        for name in names:
            self._remove(name, name.partition("-")[2])
        return len(names)

    def filling_topics(self) -> list[str]:
        """Return the names of topics that somebody fills, or that nobody does any more."""
        return self._names_with(FILLING_PREFIX)

    def _left_behind(self) -> list[str]:
        """Return the names of topics that are being made or deleted, by somebody or by nobody any more."""
        return self._names_with(".deleted-", ".tmp-")

    def _names_with(self, *prefixes: str) -> list[str]:
        # Directories alone: a file or a link under such a name is nothing that mk left, and a sweep that stopped at it
        # would let nobody make, rename or delete a topic any more.
        return [
            entry.name
            for entry in os.scandir(self.topics_fd)
            if entry.name.startswith(prefixes)
            and entry.name.partition("-")[2].isalnum()
            and entry.is_dir(follow_symlinks=False)
        ]

    def _is_being_filled(self, topic_id: str) -> bool:
        from mk.storage.locks import is_held

        try:
            fd = self.open_lock(topic_id, FILLING_LOCK)
        except FileNotFoundError:
            return False  # Killed before it was made, or while all of it was removed.
        except PermissionError:
            # Another user's. In a shared directory, one that was killed before sharing it: that is done with our lock held.
            return not files.is_shared(self.locks_fd)
        try:
            return is_held(fd)
        finally:
            files.close(fd)


def _directory_id(data: bytes, path: str) -> str:
    """Return the id in a mk.json, whose checksum says that nothing happened to it, and nothing of who wrote it."""
    directory_id = flat_json.decode(data, path).get("directory_id")
    if type(directory_id) is not str or len(directory_id) != 32 or directory_id.strip("0123456789abcdef"):
        # It goes into `epochs` as the leader's name: any other text there, and nobody could read that file again.
        raise CorruptStateError(path=path, found="a field is missing or impossible")
    return directory_id


def _refuse_network_file_system(fd: int, path: str) -> None:
    file_system = file_system_of(fd)
    if is_network_file_system(file_system):
        raise NetworkFileSystemError(path=path, file_system=file_system)


def create_directory(path: str, *, sharing: Sharing | None = None, allow_network_fs: bool = False) -> None:
    """Make `path` a log directory, on disk when it returns; an existing one is left as it is.

    Raises CannotCreateError for a directory that holds other things: a mistyped path must not fill with segments.
    """
    from mk.storage.locks import DIRECTORY_LOCK

    if sharing is not None:
        sharing.check_membership()
    if not allow_network_fs:
        existing = os.path.abspath(path)
        while not os.path.isdir(existing) and existing != os.path.dirname(existing):
            existing = os.path.dirname(existing)
        fd = os.open(existing, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _refuse_network_file_system(fd, path)
        finally:
            files.close(fd)
    try:
        if not os.path.exists(os.path.join(path, FILE_NAME)):
            refuse_nested(path)
            make_directories(os.path.abspath(path))
        foreign = [name for name in os.listdir(path) if name not in OWN_NAMES and not name.startswith(".tmp-")]
    except (FileExistsError, NotADirectoryError):
        raise CannotCreateError(f"{path} is not a directory", fix="name another one with -d or MK_DIR") from None
    if FILE_NAME in foreign:
        return
    if foreign:
        raise CannotCreateError(
            f"{path} is no log directory, and not empty",
            why=f"it holds {foreign[0]!a}",
            fix="name an empty or a new directory with -d or MK_DIR; nothing was written",
        )
    topics = os.path.join(path, "topics")
    if os.path.isdir(topics) and any(is_valid_name(name) for name in os.listdir(topics)):
        raise CannotCreateError(
            f"{path} holds topics, but its {FILE_NAME} is missing",
            why="a new one would be another directory's, which does not lead these topics",
            fix=f"restore {FILE_NAME} from a copy; nothing was written",
        )
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if sharing is not None:
            sharing.give(fd)
        for name, mode in (("topics", 0o755), ("locks", PRIVATE), ("quarantine", PRIVATE)):
            try:
                files.mkdir(name, mode, dir_fd=fd)
            except FileExistsError:
                pass
        if files.is_shared(fd):
            # Made on first use instead, and its maker killed before it is the group's, it would keep everybody else from
            # making topics for ever: a lock file is never replaced.
            locks_fd = files.open_directory("locks", dir_fd=fd)
            try:
                _link_new_file(DIRECTORY_LOCK, b"", 0o600, dir_fd=locks_fd)
            finally:
                files.close(locks_fd)
        import socket
        import time

        content = flat_json.encode(
            {
                "directory_id": os.urandom(16).hex(),
                "address": f"{socket.gethostname()}:{os.path.abspath(path)}",
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
        )
        # Before mk.json is there: a power cut that left it without the directories beside it would leave something
        # that is neither a log directory nor free to become one.
        files.fsync(fd)
        _link_new_file(FILE_NAME, content, 0o644, dir_fd=fd)
    finally:
        files.close(fd)


def refuse_nested(path: str) -> None:
    """Raise CannotCreateError for a directory below another log directory: topics are made, moved and deleted there."""
    place = os.path.realpath(path)
    while (above := os.path.dirname(place)) != place:
        if os.path.exists(os.path.join(above, FILE_NAME)) and os.path.isdir(os.path.join(above, "topics")):
            raise CannotCreateError(
                f"{path} is inside a log directory",
                why=f"{above} is one, and what is in there is its own",
                fix="name a directory beside it; nothing was written",
            )
        place = above


def _link_new_file(name: str, data: bytes, mode: int, *, dir_fd: int) -> None:
    """Make a file that appears whole or not at all, on disk on return; one that is there already stays.

    link and not rename: of two processes that make it at once, one wins and both use what it made.
    """
    temporary = f".tmp-{os.urandom(8).hex()}"
    files.write_new_file(temporary, data, dir_fd=dir_fd, mode=mode)
    try:
        files.link(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except FileExistsError:
        pass
    files.unlink(temporary, dir_fd=dir_fd)
    files.fsync(dir_fd)


def make_directories(path: str) -> None:
    """Make a directory and those above it that are missing, each name on disk: what is acknowledged in it stands on it."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_directories(parent)
    try:
        files.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    # Also if it was there: whoever made it may have been killed before this.
    fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        files.fsync(fd)
    finally:
        files.close(fd)
