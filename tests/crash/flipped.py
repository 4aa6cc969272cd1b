"""A small log with one of everything, whose files are damaged one at a time, and what is seen of it then."""

from __future__ import annotations

import random
import shutil
from operator import attrgetter
from typing import TYPE_CHECKING

import mk
from mk.consumer.cursor_file import CursorFile, CursorPosition
from mk.errors import MkError
from mk.groups import member, reset_journal
from mk.groups.claim import take
from mk.groups.claim_directory import make_claims
from mk.groups.offset_store import committed_offset
from mk.maintenance.verify import verify_topic
from mk.records.codecs import GZIP, LZ4, NONE, ZSTD
from mk.records.record_batch import EncodedBatch, encode_columns, encode_lines
from mk.storage.cleaner_checkpoint import CleanerCheckpoint
from mk.storage.key_search import last_record
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from mk.storage.producer_state import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mk.records.record_batch import RecordBatch
    from mk.storage.topic import Topic

TOPIC, GROUP, MEMBER = "t", "g", "c" * 32
TIME = 1_700_000_000_000
OLD_COMMIT, NEW_COMMIT = 3, 7
_header_fields = attrgetter(
    "base_offset",
    "next_offset",
    "attributes",
    "record_count",
    "key_length",
    "base_timestamp",
    "max_timestamp",
    "leader_epoch",
    "producer_id",
    "first_sequence",
    "last_sequence",
)

FACTS = [
    "batches",
    "records",
    "times",
    "keys",
    "commit",
    "sequences",
    "cleanings",
    "settings",
    "group",
    "member",
    "cursor",
]
"""What can be looked at."""

Seen = tuple[object, ...]


def seen(batch: RecordBatch) -> Seen:
    """All that a reader uses of a batch: two that are alike in it hold the same records."""
    return (*_header_fields(batch), bytes(batch.payload or b""))


def batches(round: int, filling: bytes) -> Iterator[EncodedBatch]:
    """Yield batches of every kind, each a third longer than `filling`, or less."""
    text = b"%d" % round
    for codec in (NONE, ZSTD, LZ4, GZIP):
        yield encode_lines(b"a " + text + b"\n\n" + filling + b"\n", count=3, timestamp_ms=TIME + round, codec=codec)
        yield encode_lines(b"keyed " + text + b"\n", count=1, timestamp_ms=TIME + round, key=b"user", codec=codec)
        yield encode_columns(
            [b"one\n" + filling, None],
            base_timestamp=TIME,
            keys=[b"k" + text, b"gone"],
            timestamps=[TIME, TIME + 7 + round],
            headers=[((b"h", b"1"), (b"h", None)), ()],
            codec=codec,
        )


class FlippedLog:
    """A topic of several segments, the first of them compacted, a group, a cursor file.

    batches: those stored. clean: what is seen of each fact as long as nothing is damaged.
    filling_bytes: what cannot be compressed in each larger batch.
    """

    def __init__(self, path: Path, *, rounds: int, filling_bytes: int, segment_bytes: int) -> None:
        self.path = path / "log"
        self.cursor = path / "cursor"
        chance = random.Random(5)
        create_directory(str(self.path))
        directory = LogDirectory(str(self.path))
        config: dict[str, int | str] = {"segment.bytes": segment_bytes, "retention.ms": -1}
        directory.create_topic(TOPIC, partitions=1, partitioner="crc32", overrides=config, wait_ms=0)
        topic = directory.open_topic(TOPIC)
        self.producer_id = topic.pin_producer("shop", partition=None, lock_wait_ms=0).producer_id
        sequence = 0
        for round in range(rounds):
            log = PartitionLog(topic, 0)
            for batch in batches(round, chance.randbytes(filling_bytes).replace(b"\n", b" ")):
                batch.number(self.producer_id, range(sequence, sequence + batch.record_count))
                sequence += batch.record_count
                log.append([batch], DISK)
            log.close()
            if round == 0:
                with mk.connect(str(self.path)) as cluster:
                    cluster.alter_topic(TOPIC, config={"cleanup.policy": "compact"}, wait_ms=0)
                    cluster.compact(TOPIC, 0)
                    cluster.alter_topic(TOPIC, config={"cleanup.policy": "delete"}, wait_ms=0)
                topic.refresh()
        claims = make_claims(topic, GROUP)
        claim = take(claims, 0)
        assert claim is not None
        for offset in (OLD_COMMIT, NEW_COMMIT):
            claim.commit(offset, 0)
        claim.close()
        claims.close()
        self._make_member(topic.topic_id)
        cursor = CursorFile(str(self.cursor), directory.directory_id)
        position = CursorPosition(topic.topic_id, TOPIC, 1, 0, 5, 0)
        cursor.positions[position.topic_id, 0] = position
        cursor.save()
        cursor.close()
        topic.close()
        directory.close()
        self.partition = self.path / "topics" / TOPIC / "0"
        self.batches, error = self.read()
        assert error is None
        self.clean = self.look(FACTS)
        assert not [fact for fact in self.clean.values() if isinstance(fact, MkError)], self.clean
        assert len(self.segments()) >= 3
        self._kept = self.opened()
        self._topic = self._kept.__enter__()
        assert not verify_topic(self._topic.directory, TOPIC).findings

    def close(self) -> None:
        self._kept.__exit__()

    def _make_member(self, topic_id: str) -> None:
        made = member.Member(
            MEMBER,
            host="build7",
            pid=4121,
            user="kafka",
            boot_id="boot-1",
            command="mk consume t -g g",
            topics={topic_id: TOPIC},
            partitions=None,
            since_ms=TIME,
            session_timeout_ms=10_000,
        )
        group = self.path / "groups" / GROUP
        (group / "members").mkdir(exist_ok=True)
        heartbeat = member.encode_heartbeat(42).ljust(member.DOCUMENT_POSITION, b"\0")
        (group / "members" / MEMBER).write_bytes(heartbeat + made.encode())
        change = reset_journal.ChangedOffset(TOPIC, topic_id, 0, OLD_COMMIT, 0, 2, NEW_COMMIT, 0)
        document = {"change": 1, "kind": "reset", "time_ms": TIME, "offsets": [change.document()]}
        (group / "journal").write_bytes(reset_journal.encode_change(document))

    def segments(self) -> list[Path]:
        return sorted(self.partition.glob("*.log"))

    def others(self) -> list[Path]:
        """Return every other file that says something."""
        found = [path for path in self.path.rglob("*") if path.is_file() and path.suffix != ".log"]
        return [*sorted(path for path in found if self.path / "locks" not in path.parents), self.cursor]

    def opened(self) -> Opened:
        return Opened(self.path)

    def read(self, from_offset: int = 0) -> tuple[list[Seen], MkError | None]:
        """Return all that a reader is given from an offset on, and the error that stops it."""
        try:
            with self.opened() as topic:
                return read_topic(topic, from_offset)
        except MkError as error:
            return [], error

    def read_on(self, from_offset: int) -> tuple[list[Seen], MkError | None]:
        """Do the same with a topic that was opened long ago."""
        return read_topic(self._topic, from_offset)

    def look(self, facts: list[str]) -> dict[str, object]:
        """Return what the API says of some things; the error where it refuses to."""
        found: dict[str, object] = {}
        for fact in facts:
            try:
                found[fact] = getattr(self, f"_look_at_{fact}")()
            except MkError as error:
                assert type(error) is not MkError, error
                found[fact] = error
        return found

    def _look_at_batches(self) -> list[Seen]:
        found, error = self.read()
        if error is not None:
            raise error
        return found

    def _look_at_records(self) -> list[Seen]:
        with mk.connect(str(self.path)) as cluster:
            return [
                (record.offset, record.timestamp_ms, record.key, record.value, tuple(record.headers))
                for record in cluster.consumer([TOPIC])
            ]

    def _look_at_times(self) -> list[int]:
        with self.opened() as topic:
            reader = PartitionReader(topic, 0)
            try:
                return [reader.offset_for_time(TIME + more) for more in (0, 1, 3, 8, 10, 99)]
            finally:
                reader.close()

    def _look_at_keys(self) -> list[object]:
        with self.opened() as topic:
            found = [last_record(topic, 0, key) for key in (b"user", b"gone", b"k0", b"none")]
            return [None if one is None else (one.offset, one.value, one.timestamp_ms) for one in found]

    def _look_at_commit(self) -> int | None:
        with self.opened() as topic:
            reader = PartitionReader(topic, 0)
            try:
                return committed_offset(topic, GROUP, reader)
            finally:
                reader.close()

    def _look_at_sequences(self) -> dict[int, int]:
        with self.opened() as topic:
            reader = PartitionReader(topic, 0)
            try:
                return load(reader._files, reader.state.segment, reader.state.durable).last_sequences
            finally:
                reader.close()

    def _look_at_cleanings(self) -> list[bytes]:
        with self.opened() as topic:
            reader = PartitionReader(topic, 0)
            try:
                found = CleanerCheckpoint.read(reader._files.fd, reader.state.cleaned_to)
                return [entry.encode() for entry in found.entries]
            finally:
                reader.close()

    def _look_at_settings(self) -> dict[str, object]:
        with mk.connect(str(self.path)) as cluster:
            return cluster.topic_settings(TOPIC)

    def _look_at_group(self) -> tuple[object, ...]:
        with mk.connect(str(self.path)) as cluster:
            found = cluster.describe_group(GROUP)
            return [row["committed_offset"] for row in found["offsets"]], cluster.group_changes(GROUP)  # type: ignore[return-value]

    def _look_at_member(self) -> tuple[object, object]:
        data = (self.path / "groups" / GROUP / "members" / MEMBER).read_bytes()
        found = member.decode_member(data[member.DOCUMENT_POSITION :])
        counter = member.decode_heartbeat(data[: member.HEARTBEAT_SIZE])
        return None if found is None else found.encode(), counter

    def _look_at_cursor(self) -> list[str]:
        with self.opened() as topic:
            directory_id = topic.directory.directory_id
        cursor = CursorFile(str(self.cursor), directory_id)
        try:
            return [str(position) for position in cursor.positions.values()]
        finally:
            cursor.close()

    def append_in_a_copy(self, copy: Path) -> tuple[list[Seen], MkError | None, MkError | None]:
        """Append a record to a copy. Returns what is read of it afterwards, what stops that, and why nothing was appended."""
        shutil.copytree(self.path, copy)
        refusal = None
        try:
            with Opened(copy) as topic:
                log = PartitionLog(topic, 0, lock_wait_ms=0)
                try:
                    log.append([encode_lines(b"more\n", count=1, timestamp_ms=TIME)], DISK)
                finally:
                    log.close()
        except MkError as error:
            refusal = error
        try:
            with Opened(copy) as topic:
                found, error = read_topic(topic, 0)
            return found, error, refusal
        except MkError as error:
            return [], error, refusal


class Opened:
    """The topic, for a `with` block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Topic:
        self._directory = LogDirectory(str(self._path))
        try:
            self._topic = self._directory.open_topic(TOPIC)
        except BaseException:
            self._directory.close()
            raise
        return self._topic

    def __exit__(self, *exc: object) -> None:
        self._topic.close()
        self._directory.close()


def read_topic(topic: Topic, from_offset: int) -> tuple[list[Seen], MkError | None]:
    found: list[Seen] = []
    reader = PartitionReader(topic, 0)
    try:
        if from_offset:
            reader.seek(from_offset)
        while fetched := reader.fetch():
            found += map(seen, fetched)
    except MkError as error:
        return found, error
    finally:
        reader.close()
    return found, None
