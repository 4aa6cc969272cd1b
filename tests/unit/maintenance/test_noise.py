"""Any bytes at all where files of a log should be: findings and nothing else, whatever they claim."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mk.errors import MkError
from mk.maintenance.dump import dump_file, dump_partition, is_damage
from mk.maintenance.findings import DAMAGE
from mk.maintenance.partition_check import MAX_FINDINGS
from mk.maintenance.verify import verify_topic
from mk.records.record_batch import encode_lines
from mk.storage.log_directory import LogDirectory
from tests.unit.maintenance.sample_log import TOPIC, build, headers, verify

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["00000000000000000000.log", "00000000000000000000.index", "00000000000000000000.producers", "state", "epochs"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("noise") / "log"
    build(path, producers=True)
    return path


def dumped(path: Path) -> list[object]:
    """Dump a file with its records, as JSON would have it."""
    items = list(dump_file(str(path), records=path.suffix not in (".index", ".producers") and path.name not in NAMES))
    assert json.dumps([item for item in items if isinstance(item, dict)])
    return items


def lookup(log: Path) -> None:
    directory = LogDirectory(str(log))
    try:
        topic = directory.open_topic(TOPIC)
        try:
            for _ in dump_partition(topic, 0, records=True):
                pass
        finally:
            topic.close()
    except MkError as error:
        assert error.exit_status == 65
    finally:
        directory.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(name=st.sampled_from(NAMES), data=st.binary(max_size=2000))
def test_noise_in_place_of_a_file(log: Path, name: str, data: bytes) -> None:
    file = log / "topics" / TOPIC / "0" / name
    whole = file.read_bytes() if file.exists() else None
    file.write_bytes(data)
    try:
        verify(log)
        dumped(file)
        lookup(log)
    finally:
        if whole is None:
            file.unlink()
        else:
            file.write_bytes(whole)


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, int, bytes]]:
    kind = st.sampled_from(["over", "cut", "insert", "drop", "repeat"])
    return draw(st.lists(st.tuples(kind, st.integers(0, 4000), st.binary(max_size=60)), min_size=1, max_size=5))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(changes=mutations(), which=st.integers(0, 100))
def test_a_segment_that_was_tampered_with(log: Path, changes: list[tuple[str, int, bytes]], which: int) -> None:
    segments = sorted((log / "topics" / TOPIC / "0").glob("*.log"))
    file = segments[which % len(segments)]
    whole = data = file.read_bytes()
    for kind, place, piece in changes:
        at = place % (len(data) + 1)
        if kind == "over":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "drop":
            data = data[:at] + data[at + len(piece) :]
        else:
            data += data[at : at + 300]
    file.write_bytes(data)
    try:
        report = verify(log)
        if not data.startswith(whole):
            assert report.count(DAMAGE)
        dumped(file)
        lookup(log)
    finally:
        file.write_bytes(whole)


def test_a_batch_within_a_value_is_not_taken_for_one_of_the_log(log: Path, tmp_path: Path) -> None:
    """The log of a log: where the header in front of such a value is damaged, the search goes past what it holds."""
    path = tmp_path / "log"
    build(path)
    directory = LogDirectory(str(path))
    directory.create_topic("outer", partitions=1, partitioner="crc32", overrides={}, wait_ms=0)
    topic = directory.open_topic("outer")
    inner = b"".join(
        b"".join([encode_lines(b"inner\n", count=1, timestamp_ms=1).stamp(at, 0, 0, 0), b"inner\n"]) for at in range(9)
    )
    from mk.storage.partition_log import DISK, PartitionLog

    partition_log = PartitionLog(topic, 0)
    for _ in range(6):
        partition_log.append([encode_lines(inner.replace(b"\n", b" ") + b"\n", count=1, timestamp_ms=1)], DISK)
        partition_log.append([encode_lines(b"plain\n", count=1, timestamp_ms=1)], DISK)
    partition_log.close()
    segment = path / "topics/outer/0/00000000000000000000.log"
    batch = headers(segment)[4]
    data = bytearray(segment.read_bytes())
    data[batch.position + 40] ^= 1
    segment.write_bytes(data)
    report = verify_topic(directory, "outer")
    (finding,) = report.findings
    assert (finding.offset, finding.last_offset, finding.position) == (4, 4, batch.position)
    assert report.records == 11
    topic.close()
    directory.close()


def test_damage_everywhere_ends_soon_and_is_counted(tmp_path: Path) -> None:
    """Each second batch of thousands is damaged: findings are bounded, and what is left out is said."""
    path = tmp_path / "log"
    build(path)
    directory = LogDirectory(str(path))
    directory.create_topic("many", partitions=1, partitioner="crc32", overrides={}, wait_ms=0)
    topic = directory.open_topic("many")
    from mk.storage.partition_log import PAGE_CACHE, PartitionLog

    log = PartitionLog(topic, 0)
    for _ in range(8):
        log.append([encode_lines(b"value\n", count=1, timestamp_ms=1) for _ in range(400)], PAGE_CACHE)
    log.close()
    segment = path / "topics/many/0/00000000000000000000.log"
    data = bytearray(segment.read_bytes())
    for number in range(0, 3200, 2):
        data[number * 134 + 60] ^= 1
    segment.write_bytes(data)
    report = verify_topic(directory, "many")
    topic.close()
    directory.close()
    assert report.records == 1600
    assert len(report.findings) == MAX_FINDINGS + 1
    assert report.findings[-1].kind == "more"
    assert str(1600 - MAX_FINDINGS) in report.findings[-1].found


def test_a_lone_segment_under_another_name(log: Path, tmp_path: Path) -> None:
    segment = max((log / "topics" / TOPIC / "0").glob("*.log"))
    first = headers(segment)[0]
    for name in ("copied", f"t-0-{first.base_offset}-0-0123abcd.log"):
        copy = tmp_path / name
        copy.write_bytes(segment.read_bytes())
        items = dumped(copy)
        assert not any(is_damage(item) for item in items)  # type: ignore[arg-type]
        records = [record for item in items if isinstance(item, list) for record in item]
        assert records[0].offset == first.base_offset
        assert len(records) == sum(batch.record_count for batch in headers(segment))


def test_random_bytes_of_many_sizes(tmp_path: Path) -> None:
    chance = random.Random(3)
    for size in (0, 1, 127, 128, 129, 4096, 1 << 20):
        file = tmp_path / "noise.log"
        file.write_bytes(chance.randbytes(size))
        items = dumped(file)
        assert len(items) == (size > 0)
        assert all(is_damage(item) for item in items)  # type: ignore[arg-type]
