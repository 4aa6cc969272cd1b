"""Input marks: where in the files that are followed a producer id has got to, for as long as the topic lives.

The log knows how many records of an input are stored, but not which file stands at a path, nor how many records the
files before it had. So that is written down in `producers/<hash of the name>.input` of the topic: a sequence, and the place
in a file where the record with that sequence begins. All records before it are stored; what follows is read again, counted
from there, and compared with the log as that of any producer id. Whoever goes on in another file writes that down before
it appends the first record from it: otherwise a late line in the file before would be counted as that record.
Decides how a mark is kept and who may have it; what the places are is the producer's business.
Format: man/mk-format.5, PRODUCERS.
"""

from __future__ import annotations

import os

from mk.errors import CorruptStateError, LockTimeoutError, PermissionDeniedError, StorageError, UsageError
from mk.storage import files, flat_json
from mk.storage.append_locks import append_locks
from mk.storage.locks import acquire
from mk.storage.producer_pin import producer_id_of
from mk.storage.topic import PRODUCERS_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.topic import Topic

SUFFIX = ".input"


class MarkFields:
    """What a mark says. path: of the file that is followed, for people.

    reading: the place of the record `sequence`. before: up to where the file before that was read, in case something is
    still written to it. then: where the file behind `reading` was begun, if that is read for what came late. Each is text
    that the producer makes and understands; "" is none.
    """

    __slots__ = ("before", "path", "reading", "sequence", "then")

    def __init__(self, *, path: str, sequence: int, reading: str, before: str = "", then: str = "") -> None:
        self.path = path
        self.sequence = sequence
        self.reading = reading
        self.before = before
        self.then = then

    def encode(self, name: str) -> bytes:
        return flat_json.encode(
            {
                "name": name,
                "path": self.path,
                "sequence": self.sequence,
                "reading": self.reading,
                "before": self.before or None,
                "then": self.then or None,
            }
        )


def decode_mark(data: bytes, path: str) -> tuple[str, MarkFields]:
    """Read the content of a mark: the producer id, and what it says. Raises CorruptStateError where it is damaged."""
    fields = flat_json.decode(data, path)
    texts = [fields.get(key) for key in ("name", "path", "reading", "before", "then")]
    sequence = fields.get("sequence")
    if type(sequence) is not int or sequence < 0 or not all(type(text) is str for text in texts[:3]):
        raise CorruptStateError(path=path, found="a field is missing, or is not what it should be")
    name, followed, reading, before, then = (str(text or "") for text in texts)
    return name, MarkFields(path=followed, sequence=sequence, reading=reading, before=before, then=then)


class InputMark:
    """The mark of one producer id in a topic, locked as long as this is open.

    One at a time: two that follow the same files would not always agree on where one file ended and the next began, and
    would count the same records differently. The kernel lets go of the lock however the process ends.
    """

    __slots__ = ("_lock_fd", "_lock_wait_ms", "_name", "_topic", "file_name", "fields")

    def __init__(self, topic: Topic, name: str, *, lock_wait_ms: int) -> None:
        """Lock it and read it. fields is None if there is none yet.

        Raises:
            LockTimeoutError: another process follows files under this id.
            CorruptStateError: it is damaged.
        """
        self._topic = topic
        self._name = name
        self._lock_wait_ms = lock_wait_ms
        self.file_name = f"{producer_id_of(name):016x}{SUFFIX}"
        self._lock_fd = self._open_lock()
        try:
            what = f"the input of producer id {name} in {topic.name}"
            fix = "one process at a time follows files under an id: end that one, or wait; nothing was written"
            try:
                acquire(self._lock_fd, what=what, wait_ms=lock_wait_ms)
            except LockTimeoutError as error:
                holder = str(error.facts["holder"])
                raise LockTimeoutError(what=what, waited_ms=lock_wait_ms, holder=holder, fix=fix) from None
            self.fields = self._read()
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        return f"{self._topic.path}/{PRODUCERS_DIRECTORY}/{self.file_name}"

    def write(self, *, path: str, sequence: int, reading: str, before: str, then: str) -> None:
        """Replace the mark, see MarkFields; on disk when it returns. All records before its sequence are on disk.

        Under the append lock of partition 0, so that the topic is not deleted meanwhile, and no other maker of files in
        that directory takes ours for one that a killed process left.
        """
        topic = self._topic
        fields = MarkFields(path=path, sequence=sequence, reading=reading, before=before, then=then)
        try:
            with append_locks(topic.directory, topic.topic_id, topic.name, (0,), wait_ms=self._lock_wait_ms):
                topic.check_identity()
                fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
                try:
                    _remove_leftovers(fd)
                    files.replace_file(self.file_name, fields.encode(self._name), dir_fd=fd)
                finally:
                    files.close(fd)
        except CorruptStateError:
            topic.check_not_deleted()
            raise
        except OSError as error:
            raise self._refused(error) from None
        self.fields = fields

    def close(self) -> None:
        if self._lock_fd >= 0:
            files.close(self._lock_fd)
            self._lock_fd = -1

    def _open_lock(self) -> int:
        """Open the lock file, made on first use; it goes with the locks of the topic."""
        try:
            locks_fd = files.open_directory(self._topic.topic_id, dir_fd=self._topic.directory.locks_fd)
            try:
                flags = os.O_RDWR | os.O_CREAT
                return files.open_file(self.file_name, flags, 0o600, dir_fd=locks_fd, linked=True)
            finally:
                files.close(locks_fd)
        except FileNotFoundError:
            self._topic.check_not_deleted()
            raise
        except OSError as error:
            raise self._refused(error) from None

    def _read(self) -> MarkFields | None:
        try:
            fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=self._topic.fd)
            try:
                data = files.read_file(self.file_name, dir_fd=fd)
                # Whoever wrote it may have been killed before its name was on disk, and have appended nothing then.
                files.fsync(fd)
            finally:
                files.close(fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error) from None
        name, fields = decode_mark(data, self.path)
        if name != self._name:
            raise CorruptStateError(path=self.path, found=f"it is of producer id {name}")
        return fields

    def _refused(self, error: OSError) -> StorageError | PermissionDeniedError:
        if isinstance(error, PermissionError):
            return PermissionDeniedError(
                f"you may not follow files into topic {self._topic.name}",
                why=f"{files.place_of(error, self.path)}: {os.strerror(error.errno or 0)}",
                fix="become a user who may; what was not acknowledged is not stored",
            )
        return StorageError(
            f"cannot write down how far the input of producer id {self._name} was read",
            why=f"{files.place_of(error, self.path)}: {os.strerror(error.errno or 0)}",
            fix="make room, or look at the disk (dmesg), and run the command again: it goes on where the log ends",
            path=self.path,
        )


def read_marks(topic: Topic) -> dict[str, bytes]:
    """Return file name and content of each mark of a topic, as they are on disk or about to be."""
    try:
        fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
    except FileNotFoundError:
        return {}
    try:
        names = sorted(name for name in os.listdir(fd) if name.endswith(SUFFIX) and not name.startswith("."))
        return {name: files.read_file(name, dir_fd=fd) for name in names}
    finally:
        files.close(fd)


def check_not_followed(topic: Topic, name: str) -> None:
    """Raise UsageError if a producer id counts the records of files that are followed: another input is not the same."""
    file_name = f"{producer_id_of(name):016x}{SUFFIX}"
    if files.exists(f"{PRODUCERS_DIRECTORY}/{file_name}", dir_fd=topic.fd):
        raise UsageError(
            f"producer id {name} follows files in topic {topic.name}",
            why="its records are counted over all the files that stood at one path, so no other input is the same",
            fix="go on with --follow, or choose another producer id; nothing was written",
            producer_id=name,
        )


def _remove_leftovers(fd: int) -> None:
    """Remove what killed processes left, under the append lock of partition 0: nobody else is at it."""
    for entry in os.listdir(fd):
        if entry.startswith(".tmp-"):
            files.unlink(entry, dir_fd=fd)
