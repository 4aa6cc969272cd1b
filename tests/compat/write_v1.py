"""Writes the golden directories of format version 1, once: `python -m tests.compat.write_v1`.

They are never written again; only those that are not there yet are made. Code that cannot read them any more has
changed the format.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mk.records.codecs import GZIP, LZ4, ZSTD
from mk.records.record_batch import encode_columns, encode_lines
from mk.storage import flat_json, host
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.partition_log import DISK, PAGE_CACHE, PartitionLog

if TYPE_CHECKING:
    from mk.records.record_batch import EncodedBatch

HOME = Path(__file__).parent / "v1"
TOPIC = "golden"
TIME = 1_700_000_000_000
SEGMENT = "topics/golden/0/00000000000000000000.log"


def lines(*values: bytes, time: int = TIME, key: bytes | None = None, codec: int = 0) -> EncodedBatch:
    return encode_lines(b"".join(v + b"\n" for v in values), count=len(values), timestamp_ms=time, key=key, codec=codec)


def write(name: str, batches: list[EncodedBatch], durability: int = DISK) -> Path:
    path = HOME / name
    create_directory(str(path))
    # Not where and when this happened to run.
    identity = flat_json.decode((path / "mk.json").read_bytes(), "mk.json")
    identity.update(address=f"golden:/golden/{name}", created="2026-01-01T00:00:00Z")
    del identity["format"]
    (path / "mk.json").write_bytes(flat_json.encode(identity))
    host._boot_id = "00000000-0000-0000-0000-000000000000"
    directory = LogDirectory(str(path))
    directory.create_topic(
        TOPIC, partitions=1, partitioner="crc32", overrides={"segment.bytes": 4096, "flush.ms": 250}, wait_ms=0
    )
    topic = directory.open_topic(TOPIC)
    log = PartitionLog(topic, 0)
    for batch in batches:
        log.append([batch], durability)
    log.close()
    topic.close()
    directory.close()
    return path


def record(
    offset: int, value: bytes | None, *, time: int = TIME, key: bytes | None = None, headers: object = ()
) -> object:
    def text(data: bytes | None) -> str | None:
        return None if data is None else data.decode("latin-1")

    return {
        "offset": offset,
        "time": time,
        "key": text(key),
        "value": text(value),
        "headers": [[text(name), text(content)] for name, content in headers],  # type: ignore[attr-defined]
    }


def expect(path: Path, records: list[object], **facts: object) -> None:
    (path / "expected.json").write_text(json.dumps({"records": records, **facts}, indent=1) + "\n")


def main() -> None:
    made = False
    if not HOME.exists():
        HOME.mkdir()
        write_all_but_codecs()
        made = True
    for name, codec in (("gzip", GZIP), ("lz4", LZ4), ("zstd", ZSTD)):
        if not (HOME / name).exists():
            write_codec(name, codec)
            made = True
    if not made:
        sys.exit(f"all in {HOME} is there already, and is never written again")


def write_codec(name: str, codec: int) -> None:
    path = write(
        name,
        [
            lines(*[b"the same again"] * 20, codec=codec),
            encode_columns([b"x\ny" * 30], base_timestamp=TIME, codec=codec),
        ],
    )
    expect(path, [record(offset, b"the same again") for offset in range(20)] + [record(20, b"x\ny" * 30)])


def write_all_but_codecs() -> None:
    path = write("plain-lines", [lines(b"first", b"", b"third\r"), lines(b"\xff\xfe not text", time=TIME + 5)])
    expect(
        path,
        [
            record(0, b"first"),
            record(1, b""),
            record(2, b"third\r"),
            record(3, b"\xff\xfe not text", time=TIME + 5),
        ],
    )

    path = write("keyed-lines", [lines(b"a", b"b", key=b"user-1"), lines(b"c", key=b"")])
    expect(path, [record(0, b"a", key=b"user-1"), record(1, b"b", key=b"user-1"), record(2, b"c", key=b"")])

    headers = [((b"trace", b"1"), (b"trace", b"2")), (), ((b"flag", None),)]
    path = write(
        "columns-with-headers-and-nulls",
        [
            encode_columns(
                [b"one\nline", None, b"three"],
                base_timestamp=TIME,
                keys=[b"k", b"k2", None],
                timestamps=[TIME, TIME + 7, TIME - 3],
                headers=headers,
            ),
            encode_columns([None], base_timestamp=TIME),
        ],
    )
    expect(
        path,
        [
            record(0, b"one\nline", key=b"k", headers=headers[0]),
            record(1, None, key=b"k2", time=TIME + 7),
            record(2, b"three", time=TIME - 3, headers=headers[2]),
            record(3, None),
        ],
    )

    path = write("two-segments", [lines(b"%d" % at * 1200, time=TIME + at) for at in range(5)])
    expect(path, [record(at, b"%d" % at * 1200, time=TIME + at) for at in range(5)], segments=2)

    # A power cut while the third append was being written: `state` is from before it, half of the batch is there.
    path = write("torn-tail", [lines(b"safe"), lines(b"safe too")])
    state = (path / "topics/golden/0/state").read_bytes()
    size = (path / SEGMENT).stat().st_size
    other = write("torn-tail-source", [lines(b"safe"), lines(b"safe too"), lines(b"lost " * 40)])
    data = (other / SEGMENT).read_bytes()
    assert len(data) > size + 200
    with open(path / SEGMENT, "ab") as file:
        file.write(data[size : size + 200])
    assert (path / "topics/golden/0/state").read_bytes() == state
    shutil.rmtree(other)
    expect(path, [record(0, b"safe"), record(1, b"safe too")], kept_bytes=200)

    # One flipped bit in the payload of the second of three acknowledged batches.
    path = write("flipped-byte-below-the-durable-end", [lines(b"good"), lines(b"damaged"), lines(b"good again")])
    data = bytearray((path / SEGMENT).read_bytes())
    at = data.index(b"damaged")
    data[at] ^= 1
    (path / SEGMENT).write_bytes(data)
    expect(path, [record(0, b"good")], damaged_offset=1, damaged_position=at - 128)

    path = write("acknowledged-from-the-page-cache", [lines(b"written"), lines(b"not synced")], PAGE_CACHE)
    expect(path, [record(0, b"written"), record(1, b"not synced")])


if __name__ == "__main__":
    main()
