"""Target: a whole log directory, in which one file has any content: all that the Python API does with it refuses or works.

The first byte says which file it is. What a reader gets at an offset that was stored is what was stored there, unless it is a
segment that was changed: then its checksums may be right, and anything can be in it.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import mk
from mk import OffsetSpec
from mk.groups import member, reset_journal
from mk.groups.claim import take
from mk.groups.claim_directory import make_claims
from mk.records.codecs import ZSTD
from mk.records.record_batch import encode_columns, encode_lines
from mk.storage import flat_json, partition_state
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.replica_directory import encode_line
from mk.storage.topic import encode_topic
from tests.proof.fuzz.mending import mend_batches, mend_lines, mend_slots, mend_tail
from tests.proof.fuzz.small_files import ID, OTHER_ID, TIME
from tests.proof.fuzz.target import Target, is_refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.cluster import Cluster
    from mk.storage.topic import Topic

TOPIC, GROUP = "t", "g"
SEGMENT = "00000000000000000000"
_MANY_SLOTS = mend_slots(partition_state.SLOT_SIZE, partition_state.SLOT_DISTANCE)
_JSON = mend_tail(b'"checksum": "', b'"\n}\n')
_MENDERS: dict[str, Callable[[bytes], bytes]] = {
    "mk.json": _JSON,
    "topic.json": _JSON,
    "state": _MANY_SLOTS,
    "epochs": mend_lines(b" "),
    "cleaned": mend_lines(b" crc="),
    "journal": mend_lines(b'"checksum": "'),
    "replica.json": _JSON,
}


def build(path: Path) -> None:
    """Make a directory with one of everything: segments, a producer id, a compaction, a group, a member, replicas."""
    create_directory(str(path))
    fields = flat_json.decode((path / "mk.json").read_bytes(), "mk.json")
    (path / "mk.json").write_bytes(
        flat_json.encode({**fields, "format": 1, "directory_id": ID, "address": "here:/log"})
    )
    directory = LogDirectory(str(path))
    config: dict[str, int | str] = {"segment.bytes": 4096, "cleanup.policy": "compact,delete", "retention.ms": -1}
    directory.make_topic(TOPIC, OTHER_ID, encode_topic(TOPIC, OTHER_ID, 1, "crc32", config), [(b"", 0)])
    topic = directory.open_topic(TOPIC)
    pin = topic.pin_producer("shop", partition=None, lock_wait_ms=0)
    sequence = _append(topic, pin.producer_id, 0)
    with mk.connect(str(path)) as cluster:
        cluster.compact(TOPIC, 0)
    _append(topic, pin.producer_id, sequence)
    claims = make_claims(topic, GROUP)
    claim = take(claims, 0)
    assert claim is not None
    claim.commit(7, 0)
    claim.close()
    claims.close()
    topic.close()
    directory.close()
    group = path / "groups" / GROUP
    made = member.Member(
        ID,
        host="build7",
        pid=4121,
        user="kafka",
        boot_id="boot-1",
        command="mk consume t -g g",
        topics={OTHER_ID: TOPIC},
        partitions=None,
        since_ms=TIME,
        session_timeout_ms=10_000,
    )
    members = group / "members"
    members.mkdir(exist_ok=True)
    heartbeat = member.encode_heartbeat(42).ljust(member.DOCUMENT_POSITION, b"\0")
    (members / ID).write_bytes(heartbeat + made.encode())
    change = reset_journal.ChangedOffset(TOPIC, OTHER_ID, 0, 7, 0, 2, 3, 0)
    document = {
        "change": 1,
        "kind": "reset",
        "time_ms": TIME,
        "user": "kafka",
        "host": "build7",
        "command": "mk groups",
    }
    (group / "journal").write_bytes(reset_journal.encode_change({**document, "offsets": [change.document()]}))
    replica = path / "replicas" / ("e" * 32)
    (replica / "groups").mkdir(parents=True)
    (replica / "replica.json").write_bytes(
        flat_json.encode({"directory_id": "e" * 32, "address": "far:/log", "since": TIME})
    )
    for name in ("follower", "source"):
        (replica / name).write_bytes(encode_line(f"{OTHER_ID} 0 12 {TIME}"))
    (replica / "gaps").write_bytes(encode_line(f"{TIME} {OTHER_ID} 0 3 5"))
    (replica / "groups" / "far").write_bytes(encode_line(f"{OTHER_ID} 0 9 0 {TIME}"))


def _append(topic: Topic, producer_id: int, sequence: int) -> int:
    """Append some batches of every kind, and return the next input sequence."""
    log = PartitionLog(topic, 0)
    for number in range(4):
        for batch in (
            encode_lines(b"one\n%d\n" % number + b"x" * 700 + b"\n", count=3, timestamp_ms=TIME + number, key=b"k"),
            encode_columns(
                [b"v", None],
                base_timestamp=TIME,
                keys=[b"%d" % number, b"gone"],
                timestamps=[TIME, TIME + number],
                headers=[((b"h", b"1"), (b"h", None)), ()],
            ),
            encode_lines(b"again\n" * 20, count=20, timestamp_ms=TIME, key=b"z%d" % number, codec=ZSTD),
            encode_lines(b"y" * 600 + b"\n", count=1, timestamp_ms=TIME, key=b"y%d" % number),
        ):
            batch.number(producer_id, range(sequence, sequence + batch.record_count))
            sequence += batch.record_count
            log.append([batch], DISK)
    log.close()
    return sequence


class World:
    """The directory, the files in it, and what is stored."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mk-fuzz-")) / "log"
        atexit.register(shutil.rmtree, self.path.parent, ignore_errors=True)
        build(self.path)
        locks = self.path / "locks"
        found = (path for path in self.path.rglob("*") if path.is_file() and locks not in path.parents)
        self.files = sorted(path.relative_to(self.path) for path in found)
        self.contents = [(self.path / file).read_bytes() for file in self.files]
        with mk.connect(str(self.path)) as cluster:
            self.stored = dict(_records(cluster))
        assert len(self.stored) > 20


@cache
def world() -> World:
    return World()


def _records(cluster: Cluster) -> list[tuple[int, tuple[object, ...]]]:
    return [
        (record.offset, (record.timestamp_ms, record.key, record.value, tuple(record.headers)))
        for record in cluster.consumer([TOPIC])
    ]


def fuzz_directory(data: bytes) -> None:
    known = world()
    number = data[0] % len(known.files) if data else 0
    file = known.files[number]
    changed = known.path / file
    with mock.patch("time.sleep", lambda seconds: None):
        changed.write_bytes(data[1:])
        try:
            _look(known.path, None if file.suffix == ".log" else known.stored)
        finally:
            changed.write_bytes(known.contents[number])
        if sum(data) % 8 == 0:
            copy = known.path.with_name("copy")
            shutil.copytree(known.path, copy)
            try:
                (copy / file).write_bytes(data[1:])
                _change(copy)
                _look(copy, None)
            finally:
                shutil.rmtree(copy)


def _look(path: Path, stored: dict[int, tuple[object, ...]] | None) -> None:
    """Do all that changes nothing."""

    def all_records(cluster: Cluster) -> None:
        for offset, content in _records(cluster):
            assert stored is None or stored.get(offset) == content, f"offset {offset} came out changed"

    with _opened(path) as cluster:
        if cluster is None:
            return
        for look in (
            all_records,
            lambda: list(cluster.consumer([TOPIC], offset=OffsetSpec("at", 9))),
            lambda: list(cluster.consumer([TOPIC], offset=OffsetSpec("time", TIME + 2))),
            lambda: list(cluster.consumer([TOPIC], reverse=True)),
            lambda: list(cluster.consumer([TOPIC], tail=3)),
            lambda: cluster.offset_for_time(TOPIC, 0, TIME + 1),
            lambda: cluster.last_record(TOPIC, 0, b"k"),
            lambda: cluster.has_keyed_records(TOPIC),
            lambda: list(cluster.summaries()),
            lambda: cluster.describe_topic(TOPIC),
            lambda: cluster.topic_rates(TOPIC),
            lambda: cluster.committed_offset(GROUP, TOPIC, 0),
            lambda: cluster.committed_offset("far", TOPIC, 0),
            lambda: cluster.describe_group(GROUP),
            lambda: cluster.group_changes(GROUP),
            lambda: cluster.verify_topic(TOPIC),
            lambda: cluster.verify_groups(),
            lambda: list(cluster.dump_partition(TOPIC, 0, records=True)),
            lambda: cluster.health(),
        ):
            is_refused((lambda: all_records(cluster)) if look is all_records else look)  # type: ignore[arg-type]


def _change(path: Path) -> None:
    """Do some of what changes something."""

    def produce(cluster: Cluster, producer_id: str | None) -> None:
        with cluster.producer(TOPIC, producer_id=producer_id) as producer:
            producer.send(b"more", key=b"k", timestamp_ms=TIME)

    with _opened(path) as cluster:
        if cluster is None:
            return
        for change in (
            lambda: produce(cluster, "shop"),
            lambda: produce(cluster, None),
            lambda: cluster.compact(TOPIC, 0),
            lambda: cluster.clean(TOPIC, 0),
            lambda: cluster.delete_records(TOPIC, 0, 2),
            lambda: cluster.remove_old_generations(GROUP),
            lambda: cluster.repair(TOPIC),
            lambda: produce(cluster, None),
        ):
            is_refused(change)


class _opened:
    """A cluster for a `with` block, None if it refuses to be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cluster: Cluster | None = None

    def __enter__(self) -> Cluster | None:
        def open_it() -> None:
            self._cluster = mk.connect(str(self._path))

        is_refused(open_it)
        return self._cluster

    def __exit__(self, *exc: object) -> None:
        if self._cluster is not None:
            self._cluster.close()


def _contents() -> list[bytes]:
    known = world()
    return [bytes([number]) + content for number, content in enumerate(known.contents)]


def _mend(data: bytes) -> bytes:
    known = world()
    file = known.files[data[0] % len(known.files)] if data else Path("mk.json")
    mend = _MENDERS.get(file.name)
    if file.suffix == ".log":
        mend = mend_batches
    elif file.suffix == ".producers":
        mend = mend_tail(b"crc=", b"\n")
    elif "claims" in file.parts:
        mend = _MANY_SLOTS
    elif "producers" in file.parts:
        mend = _JSON
    elif "replicas" in file.parts and mend is None:
        mend = mend_lines(b" ")
    return data[:1] + (mend(data[1:]) if mend is not None else data[1:])


TARGETS = [Target("directory", fuzz_directory, _contents, _mend, 8192, sample=40)]
