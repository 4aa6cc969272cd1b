"""Directories written by the first release: read for ever, byte for byte, and appended to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mk.errors import CorruptBatchError
from mk.records.record_batch import encode_lines
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_log import DISK, PartitionLog
from mk.storage.partition_reader import PartitionReader
from tests.crash import oracle

V1 = Path(__file__).parent / "v1"
NAMES = sorted(path.name for path in V1.iterdir())
TOPIC = "golden"


def text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("latin-1")


def read(reader: PartitionReader) -> list[object]:
    found: list[object] = []
    while batches := reader.fetch():
        for batch in batches:
            for r in batch.records(TOPIC, 0):
                headers = [[text(name), text(value)] for name, value in r.headers]
                found.append(
                    {
                        "offset": r.offset,
                        "time": r.timestamp_ms,
                        "key": text(r.key),
                        "value": text(r.value),
                        "headers": headers,
                    }
                )
    return found


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    copy = tmp_path / str(request.param)
    shutil.copytree(V1 / str(request.param), copy)
    return copy


def test_all_golden_directories_are_there() -> None:
    assert NAMES == [
        "acknowledged-from-the-page-cache",
        "columns-with-headers-and-nulls",
        "flipped-byte-below-the-durable-end",
        "gzip",
        "keyed-lines",
        "lz4",
        "plain-lines",
        "torn-tail",
        "two-segments",
        "zstd",
    ]


def test_a_golden_directory_reads_as_it_did_and_takes_another_record(golden: Path) -> None:
    expected = json.loads((golden / "expected.json").read_bytes())
    directory = LogDirectory(str(golden))
    topic = directory.open_topic(TOPIC)
    assert topic.overrides == {"segment.bytes": 4096, "flush.ms": 250}
    reader = PartitionReader(topic, 0)
    partition = golden / "topics" / TOPIC / "0"
    damaged = expected.get("damaged_offset")
    try:
        if damaged is not None:
            assert [batch.base_offset for batch in reader.fetch()] == [0]
            with pytest.raises(CorruptBatchError) as caught:
                reader.fetch()
            assert caught.value.facts["offset"] == damaged
            assert caught.value.facts["position"] == expected["damaged_position"]
            return
        assert read(reader) == expected["records"]
        for record in expected["records"]:
            reader.seek(record["offset"])
            assert record in read(reader)
        assert len(oracle.segment_bases(partition)) == expected.get("segments", 1)
        log = PartitionLog(topic, 0)
        result = log.append([encode_lines(b"new\n", count=1, timestamp_ms=1)], DISK)
        assert result.first_offset == len(expected["records"])
        log.close()
        assert [record["value"] for record in read(reader)] == ["new"]  # type: ignore[index]
        assert len(oracle.verify(partition).records) == len(expected["records"]) + 1
        assert [len(data) for data in oracle.quarantined(golden)] == (
            [expected["kept_bytes"]] if "kept_bytes" in expected else []
        )
    finally:
        reader.close()
        topic.close()
        directory.close()
