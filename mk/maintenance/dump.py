"""`mk topics dump`: what stands in the files of a log, shown as it is, damage included.

Works on a lone file as well, wherever it was copied to. Yields documents ready for JSON, each with a `type`; with `records`
also the records themselves, as lists. Says what stands there and not what it means: verify does that.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from mk.errors import DataError, NotFoundError, UsageError
from mk.maintenance.segment_scan import NEWER, Fault, SegmentScan
from mk.records.codecs import CODEC_NAMES, crc32c
from mk.records.record_batch import COMPACTED, CONTROL, HEADER_SIZE, KIND_MASK, LOG_APPEND_TIME, parse_any_header
from mk.storage import files, offset_index
from mk.storage.log_segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    PRODUCERS_SUFFIX,
    UNKNOWN_CHAIN,
    find_headers,
    list_segments,
    open_segment,
)
from mk.storage.partition_files import STATE_FILE
from mk.storage.partition_reader import PartitionReader, ReadBuffer
from mk.storage.partition_state import SLOT_DISTANCE, SLOT_SIZE, STATE_FIELDS, LogEnd, decode_slot
from mk.storage.producer_state import decode_snapshot
from mk.topic_partition import is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import RecordBatch
    from mk.storage.topic import Topic

    Item = dict[str, object] | list[ConsumerRecord]

_CODECS = {number: name for name, number in CODEC_NAMES.items()}
_PIECE = 1 << 20
_EPOCHS_FILE = "epochs"


def dump_file(path: str, *, records: bool = False, from_offset: int = 0) -> Iterator[Item]:
    """Yield what stands in a file of a log: a segment, an index, a snapshot of producers, `state` or `epochs`.

    By its name; a file with another name is a segment. from_offset: leave out batches that end before it.

    Raises:
        NotFoundError, UsageError: there is no such file, or it is not one that can be dumped so.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no file {path}", fix="`mk topics` lists the topics there are", path=path
        ) from None
    try:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise UsageError(f"{path} is not a regular file", fix="name a file of a log, or a topic")
        name = os.path.basename(path)
        small = {INDEX_SUFFIX: _index, PRODUCERS_SUFFIX: _producers}.get(os.path.splitext(name)[1])
        small = {STATE_FILE: _state, _EPOCHS_FILE: _epochs}.get(name, small)
        if small is None:
            yield from _segment(fd, path, records, from_offset)
        elif records or from_offset:
            raise UsageError(f"{path} holds no records", fix="leave out --records and --offset, or name a segment")
        else:
            yield from small(fd, path)
    finally:
        files.close(fd)


def dump_partition(topic: Topic, partition: int, *, records: bool = False, from_offset: int = 0) -> Iterator[Item]:
    """Yield the batches of a partition, up to its high watermark, from the one that holds `from_offset` on.

    What retention removes meanwhile is left out; it is no damage.
    """
    reader = PartitionReader(topic, partition)
    buffer = ReadBuffer()
    try:
        from_offset = max(from_offset, reader.log_start_offset)
        end_offset = reader.high_watermark
        partition_fd = files.open_directory(str(partition), dir_fd=topic.fd)
        try:
            bases = [base for base in list_segments(partition_fd) if base <= reader.active_segment]
            first = max((base for base in bases if base <= from_offset), default=0)
            bases = [base for base in bases if base >= first]
            chain = 0 if bases[:1] == [0] else UNKNOWN_CHAIN
            due = min([from_offset, *bases[:1]])
            for base, following in zip(bases, [*bases[1:], None], strict=True):
                path = f"{topic.path}/{partition}/{base:020d}{LOG_SUFFIX}"
                if base != due:
                    # The log start is published before the segments below it go.
                    reader.refresh()
                    due = max(due, min(base, reader.log_start_offset))
                    chain = UNKNOWN_CHAIN
                if base != due:
                    yield _damage(path, 0, due, f"the segment begins at offset {base}, and {due} is due", base, 0)
                try:
                    fd = open_segment(base, partition_fd=partition_fd)
                except FileNotFoundError:
                    topic.check_not_deleted()
                    continue  # Removed since we looked.
                try:
                    stop = end_offset if following is None else following
                    scan = SegmentScan(fd, LogEnd(0, base, chain, -1), files.size(fd), stop_offset=stop, buffer=buffer)
                    yield from _batches(scan, path, topic.name, partition, records, from_offset)
                    due, chain = scan.offset, scan.chain
                finally:
                    files.close(fd)
            reader.refresh()
            due = max(due, reader.log_start_offset)
            if due < end_offset:
                path = f"{topic.path}/{partition}"
                yield _damage(path, None, due, f"the log ends there, and {end_offset} is its end", -1, -1)
        finally:
            files.close(partition_fd)
    finally:
        reader.close()


def is_damage(item: Item) -> bool:
    """Tell whether an item of a dump says that something is wrong."""
    return isinstance(item, dict) and item["type"] == "damage"


# Segments.


def _segment(fd: int, path: str, records: bool, from_offset: int) -> Iterator[Item]:
    topic, partition, base = _place(os.path.abspath(path))
    size = files.size(fd)
    first = parse_any_header(files.pread(fd, HEADER_SIZE, 0))
    if base < 0 or (first is not None and os.path.splitext(path)[1] != LOG_SUFFIX):
        # A file that begins in the middle of a log, under a name that does not say where.
        base = first.base_offset if first is not None else _first_offset(fd, size)
    start = LogEnd(0, base, 0 if base == 0 else UNKNOWN_CHAIN, -1)
    yield from _batches(SegmentScan(fd, start, size), path, topic, partition, records, from_offset)


def _first_offset(fd: int, size: int) -> int:
    return next((batch.base_offset for _, batch in find_headers(fd, 0, size)), 0)


def _place(path: str) -> tuple[str, int, int]:
    """Return topic, partition and base offset as far as a path says them; "" and -1 where it does not."""
    directory, name = os.path.split(path)
    stem = name.removesuffix(LOG_SUFFIX)
    topic = os.path.basename(os.path.dirname(directory))
    partition = os.path.basename(directory)
    if len(stem) == 20 and stem.isdecimal():
        if partition.isdecimal() and is_valid_name(topic):
            return topic, int(partition), int(stem)
        return "", -1, int(stem)
    # What was cut off: topic-partition-offset-epoch-random.
    parts = stem.rsplit("-", 4)
    if len(parts) == 5 and is_valid_name(parts[0]) and all(part.isdecimal() and part.isascii() for part in parts[1:4]):
        return parts[0], int(parts[1]), int(parts[2])
    return "", -1, -1


def _batches(
    scan: SegmentScan, path: str, topic: str, partition: int, records: bool, from_offset: int
) -> Iterator[Item]:
    for item in scan.run():
        if isinstance(item, Fault):
            if item.next_offset < 0 or item.next_offset > from_offset:
                found = f"{item.found}, which this mk cannot read" if item.kind == NEWER else item.found
                yield _damage(path, item.position, item.offset, found, item.next_offset, scan.position)
        elif item.next_offset > from_offset or item.last_offset_delta < 0:
            yield _batch(path, item)
            if records:
                yield from map(list, item.record_slices(topic, partition))


def _batch(path: str, batch: RecordBatch) -> dict[str, object]:
    return {
        "type": "batch",
        "path": path,
        "position": batch.position,
        "base_offset": batch.base_offset,
        "last_offset": batch.next_offset - 1,
        "record_count": batch.record_count,
        "payload_length": batch.payload_length,
        "raw_length": batch.raw_length,
        "kind": "columns" if batch.attributes & KIND_MASK else "lines",
        "codec": _CODECS.get(batch.codec, str(batch.codec)),
        "timestamp_type": "log-append" if batch.attributes & LOG_APPEND_TIME else "create",
        "control": bool(batch.attributes & CONTROL),
        "compacted": bool(batch.attributes & COMPACTED),
        "key_length": batch.key_length,
        "base_timestamp": batch.base_timestamp,
        "max_timestamp": batch.max_timestamp,
        "leader_epoch": batch.leader_epoch,
        "producer_id": f"{batch.producer_id:016x}" if batch.producer_id else None,
        "first_sequence": batch.first_sequence,
        "last_sequence": batch.last_sequence,
        "durable_offset": batch.durable_offset,
        "payload_crc": f"{batch.payload_crc:08x}",
        "chain": f"{batch.chain:08x}",
    }


def _damage(
    path: str, position: int | None, offset: int | None, found: str, next_offset: int, next_position: int
) -> dict[str, object]:
    return {
        "type": "damage",
        "path": path,
        "position": position,
        "offset": offset,
        "found": found,
        "next_position": next_position if next_offset >= 0 else None,
        "next_offset": next_offset if next_offset >= 0 else None,
    }


# The other files.


def _index(fd: int, path: str) -> Iterator[Item]:
    stem = os.path.basename(path).removesuffix(INDEX_SUFFIX)
    base = int(stem) if len(stem) == 20 and stem.isdecimal() else 0
    position = 0
    entry = offset_index.ENTRY
    before = (0, 0, -1)
    while data := files.pread(fd, _PIECE, position):
        whole = len(data) - len(data) % entry.size
        for at, values in enumerate(entry.iter_unpack(data[:whole])):
            here = position + at * entry.size
            if any(now < then for now, then in zip(values, before, strict=True)):
                yield _damage(path, here, None, "a column of it decreases", -1, -1)
            before = values
            relative, log_position, max_timestamp = values
            yield {
                "type": "entry",
                "path": path,
                "position": here,
                "offset": base + relative,
                "log_position": log_position,
                "max_timestamp": max_timestamp,
            }
        position += whole
        if whole < len(data) < _PIECE:
            yield _damage(path, position, None, f"the last {len(data) - whole} bytes are no whole entry", -1, -1)
            return


def _state(fd: int, path: str) -> Iterator[Item]:
    for position in (0, SLOT_DISTANCE):
        data = files.pread(fd, SLOT_SIZE, position)
        slot = decode_slot(data)
        if slot is not None:
            fields = {name: _plain(getattr(slot, name)) for name in STATE_FIELDS}
            yield {"type": "slot", "path": path, "position": position, **fields}
        elif position and not any(data):
            yield {"type": "slot", "path": path, "position": position, "sequence": None}  # never written
        else:
            yield _damage(path, position, None, "the slot is not what its checksum says", -1, -1)


def _plain(value: object) -> object:
    if isinstance(value, LogEnd):
        return {name: getattr(value, name) for name in ("position", "offset", "chain", "max_timestamp")}
    return value


def _epochs(fd: int, path: str) -> Iterator[Item]:
    position = 0
    for line in files.pread(fd, _PIECE, 0).splitlines(keepends=True):
        text, _, crc = line.rstrip(b"\n").rpartition(b" ")
        try:
            epoch, first_offset, leader = text.decode().split(" ")
            if int(crc, 16) != crc32c(text):
                raise ValueError
            yield {
                "type": "epoch",
                "path": path,
                "position": position,
                "epoch": int(epoch),
                "first_offset": int(first_offset),
                "leader": leader,
            }
        except ValueError:
            yield _damage(path, position, None, "the line is not what its checksum says", -1, -1)
        position += len(line)


def _producers(fd: int, path: str) -> Iterator[Item]:
    snapshot = decode_snapshot(files.pread(fd, min(files.size(fd), 64 << 20), 0), 0)
    if snapshot is None:
        yield _damage(path, 0, None, "it is not what its checksum says", -1, -1)
        return
    yield {
        "type": "snapshot",
        "path": path,
        "offset": snapshot.offset,
        "log_position": snapshot.position,
        "chain": snapshot.chain,
    }
    for producer_id, last_sequence in sorted(snapshot.last_sequences.items()):
        yield {"type": "producer", "path": path, "producer_id": f"{producer_id:016x}", "last_sequence": last_sequence}


def damage_error(path: str, count: int) -> DataError:
    """Return the error that ends a dump in which something was wrong."""
    return DataError(
        f"{count} {'place is' if count == 1 else 'places are'} damaged in {path}",
        why="each is shown where it stands",
        fix="`mk topics verify` says what it costs; nothing was changed",
        path=path,
        damaged_places=count,
    )
