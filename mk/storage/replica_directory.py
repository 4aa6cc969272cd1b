"""`replicas/<directory id>/`: what is known here of another log directory, a follower of ours, a source, or both.

    replica.json   who it is and how it is reached
    follower       where its copies of our logs end: topic id, partition, end, when it was seen
    source         where its own logs ended when it was last seen, of the partitions that follow it here
    gaps           records of it that are missing here for good: when, topic id, partition, from, to
    groups/        what groups have committed there, see mk.groups.replicated_offsets

Lines of text, each with its checksum. All of it is hints for people: what the logs hold is told by their own epochs. So a
damaged line is named, and left out; the next contact writes it anew. Each file has one writer at a time, since a run of
replication holds a lock of the target on that source, and is replaced whole.
Format: man/mk-format.5, REPLICAS.
"""

from __future__ import annotations

import os

from mk import clock
from mk.errors import CannotCreateError, DataError, MkError, NotLeaderError, UsageError
from mk.records.codecs import crc32c
from mk.storage import files, flat_json
from mk.storage.leader_epochs import is_directory_id
from mk.storage.log_directory import REPLICAS
from mk.topic_partition import MAX_PARTITIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

REPLICA_FILE = "replica.json"
FOLLOWER_FILE = "follower"
SOURCE_FILE = "source"
GAPS_FILE = "gaps"
GROUPS = "groups"

MAX_REPLICAS = 64
MAX_ADDRESS_LENGTH = 1000
MAX_FILE_BYTES = 1 << 25
"""Lines of some hundred thousand partitions."""

_UNCHANGED_MS = 1000
"""Where nothing but the time is new, it is written so often at most: a follower that waits for records tells all the time."""


class SeenEnd:
    """Where a log of another directory ended, that offset excluded, when it was seen."""

    __slots__ = ("next_offset", "partition", "seen_ms", "topic_id")

    def __init__(self, topic_id: str, partition: int, next_offset: int, seen_ms: int) -> None:
        self.topic_id = topic_id
        self.partition = partition
        self.next_offset = next_offset
        self.seen_ms = seen_ms

    @property
    def key(self) -> tuple[str, int]:
        return self.topic_id, self.partition

    def encode(self) -> bytes:
        return encode_line(f"{self.topic_id} {self.partition} {self.next_offset} {self.seen_ms}")


class Gap:
    """Records that this directory does not have and never will: offsets from_offset up to to_offset, that one excluded."""

    __slots__ = ("from_offset", "partition", "time_ms", "to_offset", "topic_id")

    def __init__(self, time_ms: int, topic_id: str, partition: int, from_offset: int, to_offset: int) -> None:
        self.time_ms = time_ms
        self.topic_id = topic_id
        self.partition = partition
        self.from_offset = from_offset
        self.to_offset = to_offset

    @property
    def what(self) -> tuple[str, int, int, int]:
        return self.topic_id, self.partition, self.from_offset, self.to_offset

    def encode(self) -> bytes:
        return encode_line(f"{self.time_ms} {self.topic_id} {self.partition} {self.from_offset} {self.to_offset}")


class KnownReplica:
    """What is known of another directory.

    address: `host:directory`, "" if nobody told. follower, source: by topic id and partition. problems: of each file that
    cannot be read, or not all of it, its path in the log directory and what is the matter with it.
    """

    __slots__ = ("address", "directory_id", "follower", "gaps", "problems", "since_ms", "source")

    def __init__(self, directory_id: str) -> None:
        self.directory_id = directory_id
        self.address = ""
        self.since_ms = 0
        self.follower: dict[tuple[str, int], SeenEnd] = {}
        self.source: dict[tuple[str, int], SeenEnd] = {}
        self.gaps: list[Gap] = []
        self.problems: list[tuple[str, str]] = []

    @property
    def seen_ms(self) -> int:
        """When there was contact last, in ms since the epoch."""
        ends = (*self.follower.values(), *self.source.values())
        return max((end.seen_ms for end in ends), default=self.since_ms)


# Lines with a checksum, as in `epochs`.


def encode_line(text: str) -> bytes:
    line = text.encode()
    return b"%b %08x\n" % (line, crc32c(line))


def decode_lines(data: bytes, fields: int) -> Iterator[list[str] | None]:
    """Yield the fields of each line, None for one that is damaged. Fields that a newer mk adds behind them are ignored."""
    for line in data.splitlines():
        text, _, crc = line.rpartition(b" ")
        try:
            found = text.decode("ascii").split(" ")
            if crc != b"%08x" % crc32c(text) or len(found) < fields:
                raise ValueError
        except ValueError:
            yield None
            continue
        yield found[:fields]


def check_position(topic_id: str, partition: int, *offsets: int) -> None:
    """Raise DataError for what cannot be a place in a log: it may have come from another host."""
    if not (
        is_directory_id(topic_id)
        and 0 <= partition < MAX_PARTITIONS
        and all(0 <= offset < 1 << 63 for offset in offsets)
    ):
        raise DataError(
            f"{topic_id[:40]!a}, {partition}, {offsets} is no place in a log",
            why="a topic id has 32 hex digits, and offsets are not negative",
            fix="nothing was noted of it",
        )


# Noting.


def note_follower(
    directory: LogDirectory, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]
) -> str:
    """Note how far a follower has got: topic id, partition, and where its log ends. Of other partitions, what was noted stays.

    Returns "", or why it could not be noted, as on a read-only disk: nothing depends on it.
    """
    try:
        _note(directory, directory_id, address, FOLLOWER_FILE, ends)
    except OSError as error:
        return f"{files.place_of(error, directory.path)}: {os.strerror(error.errno or 0)}"
    except MkError as error:
        return f"{error.what}: {error.why}" if error.why else error.what
    return ""


def note_source(directory: LogDirectory, directory_id: str, address: str, ends: Sequence[tuple[str, int, int]]) -> None:
    """Note where the logs of a source ended: topic id, partition, next offset. Raises OSError as it comes."""
    _note(directory, directory_id, address, SOURCE_FILE, ends)


def forget_source(directory: LogDirectory, keys: Iterable[tuple[str, int]]) -> None:
    """Forget where the logs of any source ended, of partitions by topic id and number: they are led here now."""
    gone = set(keys)
    for known in known_replicas(directory):
        kept = {key: end for key, end in known.source.items() if key not in gone}
        if len(kept) < len(known.source):
            fd = make_replica_directory(directory, known.directory_id)
            try:
                files.replace_file(SOURCE_FILE, _encode_ends(kept), dir_fd=fd)
            finally:
                files.close(fd)


def note_gap(
    directory: LogDirectory, directory_id: str, topic_id: str, partition: int, from_offset: int, to_offset: int
) -> None:
    """Note that records of a source are missing here for good, once; on disk when it returns."""
    check_position(topic_id, partition, from_offset, to_offset)
    fd = make_replica_directory(directory, directory_id)
    try:
        new = Gap(clock.now_ms(), topic_id, partition, from_offset, to_offset)
        if any(gap.what == new.what for gap in _read_gaps(fd)[0]):
            return  # Killed behind this the last time, the run comes here again.
        try:
            data = files.read_file(GAPS_FILE, dir_fd=fd, max_bytes=MAX_FILE_BYTES)
        except FileNotFoundError:
            data = b""
        # Lines that are damaged stay as they are: nothing else tells of those gaps.
        files.replace_file(GAPS_FILE, data + b"\n" * (data[-1:] not in (b"", b"\n")) + new.encode(), dir_fd=fd)
    finally:
        files.close(fd)


def _note(
    directory: LogDirectory, directory_id: str, address: str, name: str, ends: Sequence[tuple[str, int, int]]
) -> None:
    now = clock.now_ms()
    new = {}
    for topic_id, partition, next_offset in ends:
        check_position(topic_id, partition, next_offset)
        new[topic_id, partition] = SeenEnd(topic_id, partition, next_offset, now)
    fd = make_replica_directory(directory, directory_id, address)
    try:
        known, problem = _read_ends(fd, name)
        if not problem and _says_the_same(known, new, now):
            return
        topic_ids = {topic_id for topic_id, _ in new}
        gone = {
            topic_id
            for topic_id in {topic_id for topic_id, _ in known} - topic_ids
            if not files.exists(topic_id, dir_fd=directory.locks_fd)  # As long as a topic lives it has locks.
        }
        merged = {key: end for key, end in {**known, **new}.items() if key[0] not in gone}
        if merged or known or problem:
            files.replace_file(name, _encode_ends(merged), dir_fd=fd)
    finally:
        files.close(fd)


def _encode_ends(ends: dict[tuple[str, int], SeenEnd]) -> bytes:
    return b"".join(ends[key].encode() for key in sorted(ends))


def _says_the_same(known: dict[tuple[str, int], SeenEnd], new: dict[tuple[str, int], SeenEnd], now: int) -> bool:
    for key, end in new.items():
        old = known.get(key)
        if old is None or old.next_offset != end.next_offset or not 0 <= now - old.seen_ms < _UNCHANGED_MS:
            return False
    return True


def make_replica_directory(directory: LogDirectory, directory_id: str, address: str | None = None) -> int:
    """Open the directory of another log directory, made if it is the first time; its name is on disk when it returns.

    address: how it is reached, noted if it is another one than before; None leaves it.

    Raises:
        CannotCreateError: there are too many, and each of them is needed.
        PermissionDeniedError: this process may not write to the log directory.
    """
    check_directory_id(directory, directory_id)
    _ = directory.locks_fd  # Refuses whoever may only read, and a file system on which locks are not proven.
    path = f"{directory.path}/{REPLICAS}/{directory_id}"
    replicas_fd = _make(REPLICAS, directory.fd)
    try:
        if not files.exists(directory_id, dir_fd=replicas_fd):
            _make_room(directory, replicas_fd)
        fd = _make(directory_id, replicas_fd)
        try:
            fields = _read_identity(fd, path)[0]
            if not fields:
                # Before replica.json is there: whoever finds that need not care whether the names are on disk.
                files.fsync(replicas_fd)
                files.fsync(directory.fd)
            if not fields or (address is not None and fields.get("address") != _clean(address)):
                content: dict[str, str | int | bool | None] = {
                    "directory_id": directory_id,
                    "address": _clean(address or ""),
                    "since_ms": fields.get("since_ms") or clock.now_ms(),
                }
                files.replace_file(REPLICA_FILE, flat_json.encode(content), dir_fd=fd)
        except BaseException:
            files.close(fd)
            raise
        return fd
    finally:
        files.close(replicas_fd)


def _make(name: str, dir_fd: int) -> int:
    try:
        files.mkdir(name, dir_fd=dir_fd)
    except FileExistsError:
        pass
    return files.open_directory(name, dir_fd=dir_fd)


def _make_room(directory: LogDirectory, replicas_fd: int) -> None:
    """Have the follower that was seen longest ago give way if there are too many. What was a source stays."""
    ids = [name for name in os.listdir(replicas_fd) if is_directory_id(name)]
    if len(ids) < MAX_REPLICAS:
        return
    candidates = []
    for directory_id in ids:
        known = known_replica(directory, directory_id)
        if known is not None and not (known.source or known.gaps or _has_groups(directory_id, replicas_fd)):
            candidates.append((known.seen_ms, directory_id))
    if not candidates:
        raise CannotCreateError(
            f"{directory.path} knows {len(ids)} directories already, and follows all of them",
            why=f"at most {MAX_REPLICAS} are kept in {directory.path}/{REPLICAS}",
            fix="remove there what is no more; nothing was changed",
        )
    try:
        files.remove_tree(min(candidates)[1], dir_fd=replicas_fd)
    except FileNotFoundError:
        pass  # Another process made room at the same time.


def _has_groups(directory_id: str, replicas_fd: int) -> bool:
    return files.exists(f"{directory_id}/{GROUPS}", dir_fd=replicas_fd)


def check_directory_id(directory: LogDirectory, directory_id: str) -> None:
    """Raise UsageError for what can be no other directory's id: it becomes a file name, and may be from another host."""
    if not is_directory_id(directory_id):
        raise UsageError(f"{directory_id[:40]!a} is no id of a log directory", why="it has 32 hex digits")
    if directory_id == directory.directory_id:
        raise UsageError(
            f"{directory.path} cannot be a replica of itself",
            why=f"the other one has its id, {directory_id}, as a copy made by hand has",
            fix="replicate to a directory that mk has made; nothing was noted",
        )


def _clean(address: str) -> str:
    """Return an address as it is kept: "" for one that could not be shown on a line."""
    return address if address.isprintable() and len(address) <= MAX_ADDRESS_LENGTH else ""


# Reading. Without a lock, and by whoever may read the log directory.


def known_replicas(directory: LogDirectory) -> list[KnownReplica]:
    """Return what is known of all other directories, sorted by id. What has no id for a name is ignored."""
    try:
        fd = files.open_directory(REPLICAS, dir_fd=directory.fd)
    except FileNotFoundError:
        return []
    try:
        names = sorted(filter(is_directory_id, os.listdir(fd)))
    finally:
        files.close(fd)
    found = (known_replica(directory, name) for name in names)
    return [replica for replica in found if replica is not None]


def follower_ends(directory: LogDirectory, topic_id: str, partition: int) -> set[int]:
    """Return where the logs of followers of a partition ended when they were last seen."""
    found = (replica.follower.get((topic_id, partition)) for replica in known_replicas(directory))
    return {seen.next_offset for seen in found if seen is not None}


def known_replica(directory: LogDirectory, directory_id: str) -> KnownReplica | None:
    """Return what is known of one directory, None if there is nothing."""
    fd = open_replica_directory(directory, directory_id)
    if fd is None:
        return None
    known = KnownReplica(directory_id)
    path = f"{directory.path}/{REPLICAS}/{directory_id}"
    try:
        fields, problem = _read_identity(fd, path)
        known.address = str(fields.get("address") or "")
        since_ms = fields.get("since_ms")
        known.since_ms = since_ms if type(since_ms) is int else 0
        known.follower, follower_problem = _read_ends(fd, FOLLOWER_FILE)
        known.source, source_problem = _read_ends(fd, SOURCE_FILE)
        known.gaps, gaps_problem = _read_gaps(fd)
    finally:
        files.close(fd)
    known.problems = [
        (f"{REPLICAS}/{directory_id}/{name}", found)
        for name, found in (
            (REPLICA_FILE, problem),
            (FOLLOWER_FILE, follower_problem),
            (SOURCE_FILE, source_problem),
            (GAPS_FILE, gaps_problem),
        )
        if found
    ]
    return known


def open_replica_directory(directory: LogDirectory, directory_id: str) -> int | None:
    """Open what is kept of another directory for reading; None if there is nothing."""
    if not is_directory_id(directory_id):
        return None
    try:
        replicas_fd = files.open_directory(REPLICAS, dir_fd=directory.fd)
    except FileNotFoundError:
        return None
    try:
        return files.open_directory(directory_id, dir_fd=replicas_fd)
    except FileNotFoundError:
        return None
    finally:
        files.close(replicas_fd)


def address_of(directory: LogDirectory, directory_id: str) -> str:
    """Return how another directory is reached, "" if that is not known or cannot be read: for an error that names it."""
    try:
        fd = open_replica_directory(directory, directory_id)
        if fd is None:
            return ""
        try:
            return str(_read_identity(fd, directory_id)[0].get("address") or "")
        finally:
            files.close(fd)
    except OSError:
        return ""


def not_leader(topic: Topic, partition: int, leader_id: str) -> NotLeaderError:
    """Return what to say of a partition that another directory leads, with how to reach that one if it is known."""
    address = address_of(topic.directory, leader_id)
    return NotLeaderError(topic=topic.name, partition=partition, leader=leader_id, address=address)


def _read_identity(fd: int, path: str) -> tuple[dict[str, str | int | bool | None], str]:
    try:
        return flat_json.decode(files.read_file(REPLICA_FILE, dir_fd=fd), f"{path}/{REPLICA_FILE}"), ""
    except FileNotFoundError:
        return {}, ""
    except MkError as error:
        return {}, error.why or error.what


def _read(fd: int, name: str, fields: int) -> tuple[list[list[str]], str]:
    """Return the lines of a file, and what is the matter with it, "" for nothing."""
    try:
        data = files.read_file(name, dir_fd=fd, max_bytes=MAX_FILE_BYTES)
    except FileNotFoundError:
        return [], ""
    except PermissionError:
        return [], "it is closed to you"
    except MkError as error:
        return [], error.why
    lines = list(decode_lines(data, fields))
    damaged = [str(number) for number, line in enumerate(lines, 1) if line is None]
    problem = f"line {', '.join(damaged[:5])} {'is' if len(damaged) == 1 else 'are'} damaged" if damaged else ""
    return [line for line in lines if line is not None], problem


def _read_ends(fd: int, name: str) -> tuple[dict[tuple[str, int], SeenEnd], str]:
    lines, problem = _read(fd, name, 4)
    ends = {}
    for topic_id, *numbers in lines:
        numbers_there = _integers(numbers)
        if numbers_there is None or not is_directory_id(topic_id):
            problem = problem or "a line holds impossible numbers"
            continue
        end = SeenEnd(topic_id, *numbers_there)
        ends[end.key] = end
    return ends, problem


def _read_gaps(fd: int) -> tuple[list[Gap], str]:
    lines, problem = _read(fd, GAPS_FILE, 5)
    gaps = []
    for time_ms, topic_id, *numbers in lines:
        numbers_there = _integers([time_ms, *numbers])
        if numbers_there is None or not is_directory_id(topic_id):
            problem = problem or "a line holds impossible numbers"
            continue
        gaps.append(Gap(numbers_there[0], topic_id, *numbers_there[1:]))
    return gaps, problem


def _integers(texts: Sequence[str]) -> list[int] | None:
    """Return decimal numbers, None if one is none or is too large to be an offset or a time."""
    numbers = [int(text) for text in texts if text.isdecimal() and len(text) < 20]
    return numbers if len(numbers) == len(texts) else None
