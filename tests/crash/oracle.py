"""A second opinion: reads a partition strictly, byte by byte from the format's description, without mk's own readers.

Walks every segment up to where `state` says the log ends and checks headers, checksums, chain, tiling, epochs and state
against each other. What it returns is the truth that tests compare with.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

import lz4.frame
import msgpack
from backports import zstd
from crc32c import crc32c

_HEADER = struct.Struct(">4sIIIHHiqIIqqQQqqqI24sI")
_NAMES = [
    "magic",
    "payload_length",
    "payload_crc",
    "raw_length",
    "attributes",
    "reserved",
    "key_length",
    "base_offset",
    "record_count",
    "last_offset_delta",
    "base_timestamp",
    "max_timestamp",
    "leader_epoch",
    "producer_id",
    "first_sequence",
    "last_sequence",
    "durable_offset",
    "chain",
    "more_reserved",
    "header_crc",
]
assert _HEADER.size == 128


class OracleError(AssertionError):
    """The directory is not what the format promises."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


@dataclass(slots=True)
class Log:
    """What a partition holds. ends: (segment's base offset, position, offset) behind each batch."""

    state: dict[str, str]
    records: list[StoredRecord] = field(default_factory=list)
    batches: list[dict[str, int]] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    start: int = 0
    durable_offset: int = 0
    epochs: list[tuple[int, int, str]] = field(default_factory=list)


def parse_batch(data: bytes, position: int) -> dict[str, int] | None:
    """Return the header's fields at `position`, with its payload proved; None where no whole batch stands."""
    if position + 128 > len(data):
        return None
    header = dict(zip(_NAMES, _HEADER.unpack_from(data, position), strict=True))
    if header["magic"] != b"\x8aMK\x01" or header["header_crc"] != crc32c(data[position : position + 124]):
        return None
    payload = data[position + 128 : position + 128 + header["payload_length"]]
    if len(payload) != header["payload_length"] or crc32c(payload) != header["payload_crc"]:
        return None
    header["position"] = position
    header["payload"] = payload  # type: ignore[assignment]
    return header  # type: ignore[return-value]


def decode_records(batch: dict[str, int]) -> list[StoredRecord]:
    payload: bytes = batch["payload"]  # type: ignore[assignment]
    codec = batch["attributes"] & 7
    if codec == 1:
        payload = gzip.decompress(payload)
    elif codec == 3:
        payload = lz4.frame.decompress(payload)
    elif codec == 4:
        payload = zstd.decompress(payload)
    elif codec:
        raise OracleError(f"codec {codec}")
    if len(payload) != batch["raw_length"]:
        raise OracleError("raw_length is wrong")
    base, time = batch["base_offset"], batch["base_timestamp"]
    if batch["attributes"] & 0x100:
        values, keys, deltas, headers, offsets = msgpack.unpackb(payload)
        if offsets is not None or not len(values) == batch["record_count"] == batch["last_offset_delta"] + 1:
            raise OracleError("columns do not match the header")
        return [
            StoredRecord(
                base + at,
                time + (deltas[at] if deltas else 0),
                keys[at] if keys else None,
                value,
                tuple(zip(headers[at][::2], headers[at][1::2], strict=True)) if headers else (),
            )
            for at, value in enumerate(values)
        ]
    key = None if batch["key_length"] < 0 else payload[: batch["key_length"]]
    lines = payload[max(batch["key_length"], 0) :].split(b"\n")
    if lines.pop() or len(lines) != batch["record_count"]:
        raise OracleError("lines do not match record_count")
    return [StoredRecord(base + at, time, key, value) for at, value in enumerate(lines)]


def batches_in(data: bytes) -> list[dict[str, int]]:
    """Return the whole batches that stand back to back at the start of `data`."""
    found, position = [], 0
    while (batch := parse_batch(data, position)) is not None:
        found.append(batch)
        position += 128 + batch["payload_length"]
    return found


STATE_SIZE = 4608


def read_state_file(data: bytes) -> dict[str, str] | None:
    """Return the newest valid slot's fields as text."""
    slots = []
    for at in (0, 4096):
        line, separator, rest = data[at : at + 512].rpartition(b" crc=")
        if separator and rest[8:].strip() == b"" and int(rest[:8], 16) == crc32c(line):
            slots.append(dict(item.split("=", 1) for item in line.decode().split(" ")))
    return max(slots, key=lambda slot: int(slot["sequence"]), default=None)


def read_epochs_file(data: bytes) -> list[tuple[int, int, str]]:
    entries = []
    for line in data.splitlines():
        text, _, crc = line.rpartition(b" ")
        if int(crc, 16) != crc32c(text):
            raise OracleError(f"epochs: a line's checksum is wrong: {line!r}")
        epoch, first, leader = text.decode().split(" ")
        entries.append((int(epoch), int(first), leader))
    return entries


def segment_bases(partition: Path) -> list[int]:
    return sorted(int(name[:20]) for name in os.listdir(partition) if len(name) == 24 and name.endswith(".log"))


def verify(partition: Path, *, settled: bool = True, cleaned: bool = True) -> Log:
    """Walk a partition and return what is in it, from the log start on. Raises OracleError for anything that does not fit.

    settled: the last append came back, so `state` is exact: its written end is the file's end and nothing is left over.
    cleaned: whoever removed segments last came to the end of it; else some below the log start may still be there.
    """
    state = read_state_file((partition / "state").read_bytes())
    if state is None:
        raise OracleError("neither slot of state is valid")
    log = Log(state, epochs=read_epochs_file((partition / "epochs").read_bytes()))
    written, durable = (_end(state[name]) for name in ("written", "durable"))
    active = int(state["segment"])
    everything = segment_bases(partition)
    log.segments = [base for base in everything if base <= active]
    if settled and everything != log.segments:
        raise OracleError(f"left over: {everything}, active is {active}")
    if not log.segments or log.segments[-1] != active:
        raise OracleError(f"the active segment {active} is not among {log.segments}")
    log.start = int(state["log_start"])
    first = max((base for base in log.segments if base <= log.start), default=-1)
    if first < 0 or (cleaned and first != log.segments[0]):
        raise OracleError(f"the first of segments {log.segments} is not the one of log_start {log.start}")
    log.segments = log.segments[log.segments.index(first) :]
    chain, epoch = (0, 0) if log.segments[0] == 0 else (None, 0)
    offset = log.segments[0]
    for base, following in zip(log.segments, [*log.segments[1:], None], strict=True):
        if offset != base:
            raise OracleError(f"segment {base} begins where offset {offset} is due")
        data = (partition / f"{base:020d}.log").read_bytes()
        position, max_timestamp = 0, -1
        positions = {0: (base, -1)}
        while offset != following and position < (written[0] if following is None else len(data)):
            batch = parse_batch(data, position)
            where = f"segment {base} position {position} offset {offset}"
            if batch is None:
                raise OracleError(f"no whole batch at {where}")
            if batch["base_offset"] != offset:
                raise OracleError(f"batch at {where} begins at {batch['base_offset']}")
            if batch["leader_epoch"] < epoch:
                raise OracleError(f"the epoch falls at {where}")
            linked = crc32c(
                struct.pack(
                    ">IIQqq",
                    *(
                        batch[n]
                        for n in ("payload_crc", "record_count", "producer_id", "first_sequence", "last_sequence")
                    ),
                ),
                chain or 0,
            )
            if chain is not None and batch["chain"] != linked:
                raise OracleError(f"the chain breaks at {where}")
            if batch["durable_offset"] > offset:
                raise OracleError(f"the durable offset lies ahead at {where}")
            if _epoch_of(log.epochs, offset) != batch["leader_epoch"]:
                raise OracleError(f"epochs {log.epochs} disagree with epoch {batch['leader_epoch']} at {where}")
            epoch, chain = batch["leader_epoch"], batch["chain"]
            log.records += [record for record in decode_records(batch) if record.offset >= log.start]
            log.batches.append(batch)
            max_timestamp = max(max_timestamp, batch["max_timestamp"])
            position += 128 + batch["payload_length"]
            offset += batch["last_offset_delta"] + 1
            positions[position] = (offset, max_timestamp)
            log.durable_offset = max(log.durable_offset, offset if following is not None else 0)
        if following is not None:
            continue
        if settled and len(data) != written[0]:
            raise OracleError(f"the active segment has {len(data)} bytes, state says {written[0]}")
        for name, (at, end_offset, end_chain, end_timestamp) in (("written", written), ("durable", durable)):
            if positions.get(at) != (end_offset, end_timestamp):
                raise OracleError(f"{name} {state[name]} is not a place between batches: {positions}")
            if name == "written" and end_chain != (chain or 0) and position:
                raise OracleError("the chain in state is not the last batch's")
        log.durable_offset = durable[1]
    if settled and state["syncing"] != "0":
        raise OracleError("syncing is set")
    if int(state["high_watermark"]) != offset:
        raise OracleError(f"high_watermark {state['high_watermark']} is not the end {offset}")
    if settled and log.epochs[-1][0] != int(state["leader_epoch"]):
        raise OracleError(f"leader_epoch {state['leader_epoch']} is not the last of {log.epochs}")
    if log.epochs[-1][1] > offset:
        raise OracleError(f"epochs {log.epochs} begin behind the end {offset}")
    _verify_indexes(partition, log)
    _verify_producers(partition, log, settled=settled)
    return log


def _verify_indexes(partition: Path, log: Log) -> None:
    """Every whole entry up to the segment's end names a batch of this log, or its end."""
    for base, following in zip(log.segments, [*log.segments[1:], None], strict=True):
        path = partition / f"{base:020d}.index"
        if not path.exists():
            continue
        data = path.read_bytes()
        batches = [
            b for b in log.batches if b["base_offset"] >= base and (following is None or b["base_offset"] < following)
        ]
        places = {(b["base_offset"] - base, b["position"]) for b in batches}
        if batches:
            last = batches[-1]
            places.add(
                (
                    last["base_offset"] + last["last_offset_delta"] + 1 - base,
                    last["position"] + 128 + last["payload_length"],
                )
            )
        for at in range(0, len(data) // 16 * 16, 16):
            relative, position, max_timestamp = struct.unpack_from(">IIq", data, at)
            if following is not None and (relative, position, max_timestamp) == (0, 0, 0):
                continue  # An index is never synced: in a sealed segment's, a power cut may leave zeros.
            if (relative, position) not in places:
                raise OracleError(f"index of {base}: entry {relative}, {position} names no batch")
            before = [b["max_timestamp"] for b in batches if b["position"] < position]
            if max_timestamp != max(before, default=-1):
                raise OracleError(f"index of {base}: entry {relative}, {position} has time {max_timestamp}")


def read_producers_file(data: bytes) -> tuple[dict[str, int], dict[int, int]]:
    """Return the place of a snapshot, offset, position and chain, and the last sequence of each producer id."""
    text, separator, crc = data.rpartition(b"crc=")
    if not separator or crc != b"%08x\n" % crc32c(text):
        raise OracleError(f"a snapshot's checksum is wrong: {data!r}")
    head, *lines = text.decode().splitlines()
    place = {name: int(value) for name, value in (field.split("=") for field in head.split(" "))}
    return place, {int(number, 16): int(last) for number, last in (line.split(" ") for line in lines)}


def _verify_producers(partition: Path, log: Log, *, settled: bool) -> None:
    """Every snapshot is true: its place is one between batches, and what it says is what the headers before it say.

    Sequences ascend, per producer id. In a topic with producers, the active segment has a snapshot if it is not the first.
    """
    last: dict[int, int] = {}
    before: dict[int, dict[int, int]] = {log.segments[0]: {}}
    chains = {log.segments[0]: 0}
    for batch in log.batches:
        if batch["producer_id"]:
            if last.get(batch["producer_id"], -1) >= batch["first_sequence"]:
                raise OracleError(f"offset {batch['base_offset']} is of input that was stored before")
            last = {**last, batch["producer_id"]: batch["last_sequence"]}
        end = batch["base_offset"] + batch["last_offset_delta"] + 1
        before[end], chains[end] = last, batch["chain"]
    places = {(base, 0, base) for base in log.segments} | {
        (
            max(base for base in log.segments if base <= batch["base_offset"]),
            batch["position"] + 128 + batch["payload_length"],
            batch["base_offset"] + batch["last_offset_delta"] + 1,
        )
        for batch in log.batches
    }
    found = sorted(int(path.stem) for path in partition.glob("*.producers"))
    if settled and not set(found) <= set(log.segments):
        raise OracleError(f"snapshots {found} of segments {log.segments}")
    for base in found:
        place, sequences = read_producers_file((partition / f"{base:020d}.producers").read_bytes())
        offset = place["offset"]
        if (base, place["position"], offset) not in places or place["chain"] != chains[offset]:
            raise OracleError(f"the snapshot of {base} is of no place in the log: {place}")
        if log.segments[0] == 0 and sequences != before[offset]:
            raise OracleError(f"the snapshot of {base} says {sequences}, the log {before[offset]}")
    if settled and last and log.segments[-1] and log.segments[-1] not in found:
        raise OracleError(f"segment {log.segments[-1]} has no snapshot")


def quarantined(directory: Path) -> list[bytes]:
    """Return the contents of all that is kept as evidence."""
    place = directory / "quarantine"
    return [path.read_bytes() for path in sorted(place.iterdir())] if place.is_dir() else []


def topic_id(directory: Path, topic: str) -> str:
    return str(json.loads((directory / "topics" / topic / "topic.json").read_bytes())["topic_id"])


def _end(text: str) -> tuple[int, int, int, int]:
    position, offset, chain, max_timestamp = map(int, text.split(":"))
    return position, offset, chain, max_timestamp


def _epoch_of(epochs: list[tuple[int, int, str]], offset: int) -> int:
    return max((epoch for epoch, first, _ in epochs if first <= offset), default=-1)
