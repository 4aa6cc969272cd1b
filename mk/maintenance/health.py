"""What there is to know of a log directory's health, without reading a segment: `state`, small files, and what stat tells.

A document ready for JSON, and nothing is judged in it: that is for thresholds. Read-only, no lock, beside whoever writes. What
cannot be read is named in `damage`, what this process may not look at in `unseen`, and neither keeps anybody from seeing the
rest. So where a log ends after a reboot, before anybody has appended, is told as its durable end: finding what lies behind
it would take a look into the segment.
"""

from __future__ import annotations

import os
import time

from mk import clock
from mk.errors import ConfigurationError, CorruptStateError, DataError, MkError, NoSuchTopicError, PermissionDeniedError
from mk.storage import clock_record, files
from mk.storage.host import boot_id
from mk.storage.leader_epochs import LeaderEpochs, read_epochs
from mk.storage.log_segment import LOG_SUFFIX, segment_name
from mk.storage.partition_files import FAILED_FILE, STATE_FILE, TRUNCATION_FILE
from mk.storage.partition_state import PartitionState, read_state
from mk.storage.quarantine import SALVAGED_SUFFIX, QuarantinedLog
from mk.storage.replica_directory import known_replicas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from typing import Any

    from mk.storage.log_directory import LogDirectory
    from mk.storage.replica_directory import KnownReplica, SeenEnd
    from mk.storage.topic import Topic

    Document = dict[str, Any]
    Key = tuple[str, int]

_LARGEST_RESERVE = 1 << 30
_LOOKS = 6
_PAUSE_SECONDS = 0.003
_PATIENCE_SECONDS = 0.3
"""So long, in all, one look waits for files that somebody is just writing: a directory full of damage must not be slow."""

_DIGITS = 20


class Place:
    """One partition as it was when it was looked at. What is None could not be told.

    end_is_known: the high watermark is that of this boot, and not only a lower bound of it.
    """

    __slots__ = ("document", "end_is_known", "epochs", "key", "state")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.document: Document = {}
        self.state: PartitionState | None = None
        self.epochs: LeaderEpochs | None = None
        self.end_is_known = False

    @property
    def start_offset(self) -> int | None:
        return None if self.state is None else self.state.log_start_offset

    @property
    def end_offset(self) -> int | None:
        if self.state is None:
            return None
        # Of another boot, what was in memory is gone; what is on disk is at least this.
        return self.state.high_watermark if self.end_is_known else self.state.durable.offset


class HealthLook:
    """One look at a log directory. `places`: of each partition by topic id and number; `names`: of each topic by its id."""

    def __init__(self, directory: LogDirectory) -> None:
        self.directory = directory
        self.now_ms = clock.now_ms()
        self.names: dict[str, str] = {}
        self.places: dict[Key, Place] = {}
        self.topics: list[Document] = []
        self.damage: list[Document] = []
        self.unseen: list[Document] = []
        self._disk: os.statvfs_result | None = None
        self._deadline = time.monotonic() + _PATIENCE_SECONDS

    # Topics.

    def look_at_topics(self, names: Sequence[str], wanted: Container[Key] | None = None) -> None:
        """Look at all topics, or at those that are named. wanted: which of their partitions; None for all.

        Raises NoSuchTopicError for one that is named and not there.
        """
        for name in names or self.directory.topic_names():
            try:
                topic = self.directory.open_topic(name)
            except NoSuchTopicError:
                if names:
                    raise
                continue  # Deleted while we looked, or a directory that is no topic.
            except (DataError, ConfigurationError) as error:
                self.note_damage(str(error.facts.get("path") or name), error.why or error.what, topic=name)
                continue
            except PermissionError as error:
                self._note_unseen("topics", error)
                continue
            except OSError as error:
                self.note_damage(f"topics/{name}", error.strerror or str(error), topic=name)
                continue
            try:
                self.names[topic.topic_id] = name
                self._look_at_topic(topic, wanted)
            finally:
                topic.close()

    def _look_at_topic(self, topic: Topic, wanted: Container[Key] | None) -> None:
        places = []
        before = len(self.damage)
        for partition in range(topic.partitions):
            key = topic.topic_id, partition
            if wanted is not None and key not in wanted:
                continue
            try:
                place = self._look_at_partition(topic, partition)
            except (MkError, OSError) as error:
                if topic.is_deleted():
                    break
                if isinstance(error, PermissionError):
                    self._note_unseen("topics", error)
                elif isinstance(error, MkError):
                    self.note_damage(
                        str(error.facts.get("path") or f"{topic.path}/{partition}"),
                        error.why or error.what,
                        topic=topic.name,
                        partition=partition,
                    )
                else:
                    path = str(files.place_of(error, f"{topic.path}/{partition}"))
                    self.note_damage(path, error.strerror or str(error), topic=topic.name, partition=partition)
                continue
            places.append(place)
        if topic.is_deleted():
            del self.damage[before:]  # It was going while we looked: what was missing is no damage.
            self.names.pop(topic.topic_id)
            return
        for place in places:
            self.places[place.key] = place
        written = [place.document["last_write_ms"] for place in places if place.document["last_write_ms"]]
        dated = [place.document["max_timestamp_ms"] for place in places if place.document["max_timestamp_ms"]]
        self.topics.append(
            {
                "topic": topic.name,
                "topic_id": topic.topic_id,
                "partitions": topic.partitions,
                "sealed": bool(topic.sealed),
                "leads": sum(place.document["leads"] is True for place in places),
                "min_free_bytes": self._reserve_bytes(int(topic.config("min.free"))),
                "size_bytes": sum(place.document["size_bytes"] for place in places),
                "last_write_ms": max(written, default=None),
                "max_timestamp_ms": max(dated, default=None),
            }
        )

    def _look_at_partition(self, topic: Topic, partition: int) -> Place:
        path = f"{topic.path}/{partition}"
        try:
            fd = files.open_directory(str(partition), dir_fd=topic.fd)
        except (FileNotFoundError, NotADirectoryError):
            raise CorruptStateError(path=path, found="the partition's directory is missing") from None
        try:
            for looks_left in reversed(range(_LOOKS)):
                place = Place((topic.topic_id, partition))
                found = self._look_into(place, topic, partition, fd, path)
                # A roll, a recovery or a cut may be half-way: it is damage if it stays so while nobody changes `state`.
                if not found or topic.is_deleted():
                    break
                if looks_left and time.monotonic() < self._deadline:
                    time.sleep(_PAUSE_SECONDS)
                elif _sequence(fd) in (None, place.state.sequence if place.state else None):
                    break
            for where, what in found:
                self.note_damage(where, what, topic=topic.name, partition=partition)
        finally:
            files.close(fd)
        return place

    def _look_into(self, place: Place, topic: Topic, partition: int, fd: int, path: str) -> list[tuple[str, str]]:
        """Fill in what is known of a partition; return path and fault of each file that is not as it should be."""
        found = []
        state = None
        try:
            state_fd = files.open_file(STATE_FILE, os.O_RDONLY, dir_fd=fd)
            try:
                state = read_state(state_fd)
            finally:
                files.close(state_fd)
            if state is None:
                found.append((f"{path}/{STATE_FILE}", "neither of its slots can be read"))
            elif state.topic_id != topic.topic_id:
                found.append((f"{path}/{STATE_FILE}", f"it belongs to topic id {state.topic_id}"))
                state = None
        except FileNotFoundError:
            found.append((f"{path}/{STATE_FILE}", "it is missing"))
        except CorruptStateError as error:
            found.append((f"{path}/{STATE_FILE}", error.why))
        try:
            place.epochs = read_epochs(fd, path)
        except CorruptStateError as error:
            found.append((str(error.facts["path"]), error.why))
        place.state = state
        place.end_is_known = state is not None and state.boot_id == boot_id()
        # The names last: a segment is there before `state` names it.
        names = os.listdir(fd)
        segments = _Segments(fd, names)
        if state is not None and TRUNCATION_FILE not in names:
            found += [(f"{path}/{name}", what) for name, what in segments.faults(state)]
        leader = None if place.epochs is None else place.epochs.latest.leader_id
        place.document = {
            "topic": topic.name,
            "topic_id": topic.topic_id,
            "partition": partition,
            "leader": leader,
            "leads": None if leader is None else leader == self.directory.directory_id,
            "leader_epoch": None if state is None else state.leader_epoch,
            "log_start_offset": place.start_offset,
            "high_watermark": place.end_offset,
            "segments": len(segments.sizes),
            "size_bytes": sum(segments.sizes.values()),
            "last_write_ms": segments.last_write_ms(state.segment if state is not None else None),
            "max_timestamp_ms": None
            if state is None or state.written.max_timestamp < 0
            else state.written.max_timestamp,
            "failed": FAILED_FILE in names,
        }
        return found

    # The directory as a whole.

    def disk(self) -> Document | None:
        """Return size and free space, as those may use it who are not root; None where the file system does not tell."""
        if self._disk is None:
            self._disk = os.fstatvfs(self.directory.topics_fd)
        if not self._disk.f_blocks:
            return None
        unit = self._disk.f_frsize
        return {"size_bytes": self._disk.f_blocks * unit, "free_bytes": self._disk.f_bavail * unit}

    def _reserve_bytes(self, min_free: int) -> int:
        """Return what appends leave free, see PartitionLog."""
        disk = self.disk()
        if disk is None or min_free >= 0:
            return 0 if disk is None else min_free
        return int(min(disk["size_bytes"] // 100, _LARGEST_RESERVE))

    def clock(self) -> Document | None:
        """Return whether the clock is believed, as whoever removes by age sees it; None where that is closed to us."""
        try:
            locks_fd = files.open_directory("locks", dir_fd=self.directory.fd)
            try:
                before = clock_record.decode(files.read_file(clock_record.FILE_NAME, dir_fd=locks_fd))
            finally:
                files.close(locks_fd)
        except FileNotFoundError:
            before = None
        except (OSError, MkError) as error:
            self._note_unseen("clock", error)
            return None
        if before is None:  # Nobody has removed anything by age yet, or the record is torn, and counts as none.
            return {"believed": True, "steady_ms": None, "seen_ms": None}
        now = before.then(boot_id(), clock.now_ms(), clock.uptime_ms())
        return {"believed": now.is_believed, "steady_ms": now.steady_ms, "seen_ms": before.now_ms}

    def quarantine(self, topics: Sequence[str]) -> list[Document] | None:
        """Return what is kept in quarantine/, of some topics or all; None where that is closed to us."""
        found = []
        try:
            fd = files.open_directory("quarantine", dir_fd=self.directory.fd)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._note_unseen("quarantine", error)
            return None
        try:
            for name in sorted(os.listdir(fd)):
                document: Document = {"name": name, "salvaged": name.endswith(SALVAGED_SUFFIX)}
                try:
                    log = QuarantinedLog(name)
                    document.update(topic=log.topic, partition=log.partition, first_offset=log.first_offset)
                except ValueError:
                    document.update(topic=None, partition=None, first_offset=None)
                if name.startswith(".") or (topics and document["topic"] not in topics):
                    continue
                try:
                    document["size_bytes"] = os.stat(name, dir_fd=fd, follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # Marked meanwhile, under another name.
                found.append(document)
        finally:
            files.close(fd)
        return found

    def replicas(self) -> tuple[list[Document], list[Document]]:
        """Return of each other directory how far its copies, or ours of it, are behind; and what it lacks or we lack for good.

        role: what it is to us. lag: records that the follower of the two lacked, as of seen_ms, in all partitions together.
        seen_ms: when it was seen last, in the partition of which that is longest ago.
        """
        found, gaps = [], []
        for known in known_replicas(self.directory):
            for role, ends in (("leader", known.source), ("follower", known.follower)):
                rows = [row for key, seen in sorted(ends.items()) if (row := self._behind(known, role, key, seen))]
                if rows:
                    found.append(
                        {
                            "directory_id": known.directory_id,
                            "address": known.address or None,
                            "role": role,
                            "lag": sum(row["lag"] for row in rows),
                            "seen_ms": min(row["seen_ms"] for row in rows),
                            "last_seen_ms": max(row["seen_ms"] for row in rows),
                            "partitions": rows,
                        }
                    )
            for gap in known.gaps:
                if gap.topic_id in self.names:
                    gaps.append(
                        {
                            "directory_id": known.directory_id,
                            "topic": self.names[gap.topic_id],
                            "partition": gap.partition,
                            "records": gap.to_offset - gap.from_offset,
                            "time_ms": gap.time_ms,
                        }
                    )
        return found, gaps

    def _behind(self, known: KnownReplica, role: str, key: Key, seen: SeenEnd) -> Document | None:
        place = self.places.get(key)
        if place is None or place.end_offset is None or place.epochs is None:
            return None
        leader = place.epochs.latest.leader_id
        if leader != (known.directory_id if role == "leader" else self.directory.directory_id):
            return None  # Of a time when somebody else led.
        behind = seen.next_offset - place.end_offset
        return {
            "topic": place.document["topic"],
            "partition": key[1],
            "next_offset": seen.next_offset,
            "lag": max(0, behind if role == "leader" else -behind),
            "seen_ms": seen.seen_ms,
        }

    # What is wrong.

    def note_damage(
        self, path: str, found: str, *, topic: str | None = None, partition: int | None = None, group: str | None = None
    ) -> None:
        self.damage.append({"path": path, "found": found, "topic": topic, "partition": partition, "group": group})

    def _note_unseen(self, what: str, error: Exception) -> None:
        if isinstance(error, OSError):
            why = f"{files.place_of(error, what)}: {error.strerror}"
        else:
            why = getattr(error, "why", "") or str(error)
        if all(one["what"] != what for one in self.unseen):
            self.unseen.append({"what": what, "why": why})

    def look_at_groups(self, names: Sequence[str], topics: Sequence[str]) -> list[Document]:
        """Return what is known of groups, and look at the topics, those that are named or all; [] where groups are closed.

        What groups have committed is read first: it never lies beyond an end that is read later.
        """
        from mk.maintenance.group_health import GroupClaims

        try:
            claims = GroupClaims(self.directory, names)
        except PermissionDeniedError as error:
            if names:
                raise
            self.unseen.append({"what": "groups", "why": error.why})
            self.look_at_topics(topics)
            return []
        self.look_at_topics(topics, claims.keys() if names and not topics else None)
        return claims.describe(self, topics)


class _Segments:
    """The segments of a partition, as their names and stat tell: `sizes` by base offset."""

    __slots__ = ("_times_ms", "sizes")

    def __init__(self, fd: int, names: Sequence[str]) -> None:
        self.sizes: dict[int, int] = {}
        self._times_ms: dict[int, int] = {}
        for name in names:
            if len(name) == _DIGITS + len(LOG_SUFFIX) and name.endswith(LOG_SUFFIX) and name[:_DIGITS].isdecimal():
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # Removed while we looked.
                self.sizes[int(name[:_DIGITS])] = status.st_size
                self._times_ms[int(name[:_DIGITS])] = status.st_mtime_ns // 1_000_000

    def faults(self, state: PartitionState) -> list[tuple[str, str]]:
        active, durable = state.segment, state.durable.position
        if active not in self.sizes:
            return [(segment_name(active), "the active segment is missing")]
        if self.sizes[active] < durable:
            return [(segment_name(active), f"it has {self.sizes[active]} bytes, and {durable} were on disk")]
        first = min(self.sizes)
        if first > state.log_start_offset:
            return [
                (
                    segment_name(state.log_start_offset),
                    f"no segment holds offsets {state.log_start_offset} to {first - 1}",
                )
            ]
        return []

    def last_write_ms(self, active: int | None) -> int | None:
        """Return when a batch was last written; of an empty log, when it was made.

        A segment that is empty was begun for its age, by nobody who writes: the one before it tells.
        """
        bases = sorted(base for base in self.sizes if active is None or base <= active)
        if len(bases) > 1 and not self.sizes[bases[-1]]:
            bases.pop()
        return self._times_ms[bases[-1]] if bases else None


def _sequence(fd: int) -> int | None:
    try:
        state_fd = files.open_file(STATE_FILE, os.O_RDONLY, dir_fd=fd)
    except (OSError, MkError):
        return None
    try:
        state = read_state(state_fd)
    finally:
        files.close(state_fd)
    return None if state is None else state.sequence


def health(directory: LogDirectory, *, topics: Sequence[str] = (), groups: Sequence[str] = ()) -> Document:
    """Return what is known of some topics, or of all, and of some groups, or of all. See the module, and Cluster.health.

    groups without topics: of the topics, only the partitions that these groups have claimed.

    Raises:
        NoSuchTopicError, NoSuchGroupError: one that is named is not there.
        PermissionDeniedError: groups are named, and are closed to this process.
    """
    look = HealthLook(directory)
    described = look.look_at_groups(groups, topics)
    replicas, gaps = look.replicas()
    disk, clock_seen, quarantined = look.disk(), look.clock(), look.quarantine(topics)
    if disk is None:
        look.unseen.append({"what": "disk", "why": "the file system does not tell its size"})
    return {
        "directory": directory.path,
        "directory_id": directory.directory_id,
        "time_ms": look.now_ms,
        "disk": disk,
        "clock": clock_seen,
        "topics": look.topics,
        "partitions": [place.document for place in look.places.values()],
        "groups": described,
        "replicas": replicas,
        "gaps": gaps,
        "quarantine": quarantined,
        "damage": look.damage,
        "unseen": look.unseen,
    }
