"""Producer state: the last input sequence of each producer id in a partition, as of a place in its log.

The truth is the log: the header of each batch says whose it is. So that nobody has to read it from its start, a
snapshot stands beside a segment, `<base offset>.producers`: the state as of a place in that segment which is on disk.
What lies behind the place is read from the headers. Text, replaced whole, under the partition's lock:

    offset=48211 position=0 chain=1367400677
    6f1c2ab04d3e9b57 119999
    crc=75bce698

A snapshot is believed only if the log goes on from its place: the batch there continues its chain. Every roll writes one
for the new segment, in topics that have a `producers` directory; in others no batch can be of a producer with an id.
Format: man/mk-format.5, PRODUCERS. Idea: Kafka's ProducerStateManager.
"""

from __future__ import annotations

import os

from mk.errors import CorruptBatchError, CorruptStateError, DataError, StorageError
from mk.records.codecs import crc32c
from mk.records.record_batch import COMPACTED, HEADER_SIZE, NO_SEQUENCE, parse_header
from mk.records.sequences import scan
from mk.storage import files
from mk.storage.log_segment import (
    PRODUCERS_SUFFIX,
    UNKNOWN_CHAIN,
    list_segments,
    open_segment,
    refuse_newer,
    segment_name,
)
from mk.storage.partition_state import LogEnd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.records.record_batch import EncodedBatch
    from mk.storage.partition_files import PartitionFiles
    from mk.storage.partition_state import PartitionState

_PIECE = 256 << 10
_SMALL_BATCH = 4096
"""Batches below this are read many at once, headers and payloads; of larger ones the header alone."""

_SNAPSHOT_BYTES = 64 << 20
_SNAPSHOT_BATCHES = 30_000
"""What may follow a snapshot before the next one is due: a twentieth of a second to scan, unless the disk is slow."""


class _NotThere(Exception):
    """The log does not go on from this place: it is of another life of the log, or lies beyond its end."""


class ProducerState:
    """The last sequences as of a place between two batches: segment, position in it, offset, and chain of the batch before.

    Cached; `refreshed` brings it up to date under the lock. leader_epoch: as of that; a higher one may mean that the log
    was cut behind our back.
    """

    __slots__ = (
        "_batches",
        "_snapshot_position",
        "chain",
        "last_sequences",
        "leader_epoch",
        "offset",
        "position",
        "segment",
    )

    def __init__(self, segment: int, position: int, offset: int, chain: int, last_sequences: dict[int, int]) -> None:
        self.segment = segment
        self.position = position
        self.offset = offset
        self.chain = chain
        self.last_sequences = last_sequences
        self.leader_epoch = -1
        self._snapshot_position = position
        self._batches = 0

    def last_sequence(self, producer_id: int) -> int:
        """Return the last sequence of a producer id, -1 if nothing of it is stored."""
        return self.last_sequences.get(producer_id, NO_SEQUENCE)

    def appended(self, run: Sequence[EncodedBatch], segment: int, end: LogEnd) -> None:
        """Take note of batches that the caller has just appended at this place, and where they end."""
        for batch in run:
            if batch.producer_id:
                self.last_sequences[batch.producer_id] = batch.last_sequence
        self._batches += len(run)
        self._go_to(segment, end)

    def copied(self, last_sequences: dict[int, int], batches: int, segment: int, end: LogEnd) -> None:
        """Take note of batches that were copied to this place, with the last sequence of each producer id among them."""
        self.last_sequences.update(last_sequences)
        self._batches += batches
        self._go_to(segment, end)

    def is_at(self, segment: int, end: LogEnd) -> bool:
        return (self.segment, self.position, self.offset) == (segment, end.position, end.offset) and end.chain in (
            self.chain,
            UNKNOWN_CHAIN,
        )

    def snapshot_due(self) -> bool:
        return self.position - self._snapshot_position >= _SNAPSHOT_BYTES or self._batches >= _SNAPSHOT_BATCHES

    def write_snapshot(self, partition: PartitionFiles) -> None:
        """Replace the snapshot of this segment; on disk when it returns. The caller holds the lock, and all up to this
        place is on disk: a snapshot must never speak of what a power cut may take away.
        """
        self._snapshot_position, self._batches = self.position, 0
        name = segment_name(self.segment, PRODUCERS_SUFFIX)
        files.replace_file(name, self.encode(), dir_fd=partition.fd)

    def encode(self) -> bytes:
        lines = [f"offset={self.offset} position={self.position} chain={self.chain}\n"]
        lines += [f"{producer_id:016x} {last}\n" for producer_id, last in sorted(self.last_sequences.items())]
        text = "".join(lines).encode()
        return b"%bcrc=%08x\n" % (text, crc32c(text))

    def catch_up(self, partition: PartitionFiles, bases: Sequence[int], segment: int, end: LogEnd) -> None:
        """Read the headers from this place up to `end`, in `segment`. `bases` are the segments there are.

        Raises:
            _NotThere: this place is not in the log.
            CorruptBatchError: it is, and what follows is damaged.
        """
        if self.segment > segment or (self.segment == segment and self.position > end.position):
            raise _NotThere
        known = False
        while not self.is_at(segment, end):
            following = min((base for base in bases if self.segment < base <= segment), default=-1)
            try:
                fd = open_segment(self.segment, partition_fd=partition.fd)
            except FileNotFoundError:
                raise _NotThere from None
            try:
                self._scan(partition, fd, end.position if following < 0 else files.size(fd), following, known)
            finally:
                files.close(fd)
            known = True
            if following < 0:
                break
            self._go_to(following, LogEnd(0, self.offset, self.chain, -1))
            self._snapshot_position = 0
        if not self.is_at(segment, end):
            raise _NotThere

    def prove(self, partition: PartitionFiles, bases: Sequence[int]) -> None:
        """Raise _NotThere unless a batch of the log goes on from this place, in this segment or as the next one's first."""
        following = min((base for base in bases if base > self.segment), default=-1)
        for segment, position in ((self.segment, self.position), (following, 0)):
            if segment == self.segment or segment == self.offset:
                try:
                    fd = open_segment(segment, partition_fd=partition.fd)
                except FileNotFoundError:
                    continue
                try:
                    if self._continues(files.pread(fd, HEADER_SIZE, position)):
                        return
                finally:
                    files.close(fd)
        raise _NotThere

    def fits(self, data: bytes | memoryview) -> bool:
        """Tell whether this can be the snapshot of a segment that begins with the batches in `data`, as far as they show."""
        if self.position == 0:
            return self.offset == self.segment and self._continues(data)
        return self.offset > self.segment and self.position > 0

    def _scan(self, partition: PartitionFiles, fd: int, stop_position: int, following: int, known: bool) -> None:
        """Read the headers of one segment, from this place up to a position or to the base of the following one."""
        stop_offset = following if following >= 0 else 1 << 63
        size = _PIECE
        ahead = self.offset < stop_offset and self.position < stop_position
        if ahead and not self._continues(files.pread(fd, HEADER_SIZE, self.position)):
            raise self._damaged(partition) if known else _NotThere
        while self.offset < stop_offset and self.position < stop_position:
            start = self.position
            data = files.pread(fd, min(size, stop_position - start), start)
            reached, offset, chain, count = scan(data, 0, self.offset, stop_offset, self.last_sequences)
            if not count:
                refuse_newer(fd, self.position, self.offset, partition.segment_path(self.segment))
                raise self._damaged(partition)
            self._batches += count
            self._go_to(self.segment, LogEnd(start + reached, offset, chain, -1))
            size = _PIECE if reached < count * _SMALL_BATCH else HEADER_SIZE
        if following >= 0 and self.offset != following:
            raise self._damaged(partition)

    def _continues(self, header: bytes | memoryview) -> bool:
        """Tell whether a batch with this header can stand here. Of one that was compacted the chain says nothing."""
        batch = parse_header(header)
        return (
            batch is not None
            and batch.base_offset == self.offset
            and bool(batch.attributes & COMPACTED or batch.chain == batch.chain_after(max(self.chain, 0)))
        )

    def _go_to(self, segment: int, end: LogEnd) -> None:
        self.segment, self.position, self.offset, self.chain = segment, end.position, end.offset, end.chain

    def _damaged(self, partition: PartitionFiles) -> CorruptBatchError:
        return CorruptBatchError(
            path=partition.segment_path(self.segment),
            position=self.position,
            offset=self.offset,
            found="there is no batch header that says what was stored under which producer id",
        )


def decode_snapshot(data: bytes, segment: int) -> ProducerState | None:
    """Read a snapshot of this segment, or None if it is damaged."""
    text, _, crc = data.rpartition(b"crc=")
    if crc != b"%08x\n" % crc32c(text):
        return None
    try:
        head, *lines = text.decode().splitlines()
        offset, position, chain = [int(field.partition("=")[2]) for field in head.split(" ")]
        last_sequences = {int(line[:16], 16): int(line[17:]) for line in lines}
        if not 0 <= min(offset, position) <= max(offset, position) < 1 << 63:
            raise ValueError
    except ValueError:
        return None
    return ProducerState(segment, position, offset, chain, last_sequences)


def load(partition: PartitionFiles, segment: int, end: LogEnd, *, newest: int = -1) -> ProducerState:
    """Find out the last sequences as of `end`, in `segment`: from the newest snapshot that the log goes on from.

    Also without the lock, for an end that is on disk: nobody cuts below it. `newest` is the last segment whose snapshot may
    be used, `segment` if it is not given.

    Raises:
        CorruptStateError: no snapshot can be used, and the log no longer begins at 0: what was stored cannot be told.
        CorruptBatchError: a header is damaged.
    """
    bases = [base for base in list_segments(partition.fd) if base <= segment]
    for base in reversed(bases):
        found = read_snapshot(partition, base) if newest < 0 or base <= newest else None
        if found is not None:
            try:
                found.catch_up(partition, bases, segment, end)
            except _NotThere:
                continue
            return found
    if not bases or bases[0] != 0:
        name = segment_name(bases[-1] if bases else segment, PRODUCERS_SUFFIX)
        raise CorruptStateError(
            path=f"{partition.path}/{name}",
            found="it is missing or cannot be used, nor can an older one, and the log no longer begins at offset 0: "
            "what was stored under a producer id cannot be told",
            fix="nothing was written; restore the file from a copy, or produce without a producer id",
        )
    found = ProducerState(0, 0, 0, 0, {})
    try:
        found.catch_up(partition, bases, segment, end)
    except _NotThere:
        raise found._damaged(partition) from None
    return found


def load_for_cut(partition: PartitionFiles, segment: int, end: LogEnd, bases: Sequence[int]) -> ProducerState:
    """Find out the last sequences as of `end`, in `segment`, where the log is about to be cut.

    As `load` does; but the only snapshot may be of a place above the cut. Then, of an id with batches below in what is left
    of the log, the last of them tells; of one whose first batch stands between cut and snapshot, all that its input had for
    this partition up to there was stored before it, since sequences ascend; of any other, the snapshot.

    Raises CorruptStateError: it cannot be told.
    """
    try:
        return load(partition, segment, end)
    except CorruptStateError:
        found = next((found for found in (read_snapshot(partition, base) for base in bases) if found is not None), None)
        if found is None or found.offset < end.offset or end.chain == UNKNOWN_CHAIN:
            raise
    before: dict[int, int] = {}
    first: dict[int, int] = {}
    offset = bases[0]
    for base, following in zip(bases, [*bases[1:], 1 << 63]):
        fd = open_segment(base, partition_fd=partition.fd)
        try:
            position = 0
            while offset < min(following, found.offset):
                batch = parse_header(files.pread(fd, HEADER_SIZE, position))
                if batch is None or batch.base_offset != offset:
                    raise CorruptStateError(
                        path=partition.segment_path(base), found=f"there is no batch header at byte {position}"
                    )
                if batch.producer_id and offset < end.offset:
                    before[batch.producer_id] = batch.last_sequence
                elif batch.producer_id:
                    first.setdefault(batch.producer_id, batch.first_sequence)
                position, offset = position + batch.size_bytes, batch.next_offset
        finally:
            files.close(fd)
    last = {producer_id: first[producer_id] - 1 for producer_id in first if first[producer_id]}
    last = {**{other: number for other, number in found.last_sequences.items() if other not in first}, **last, **before}
    return ProducerState(segment, end.position, end.offset, end.chain, last)


def refreshed(known: ProducerState | None, partition: PartitionFiles, state: PartitionState) -> ProducerState:
    """Return the last sequences up to the written end. The caller holds the lock; `known` is from an earlier call."""
    if known is not None and known.leader_epoch == state.leader_epoch:
        try:
            if not known.is_at(state.segment, state.written):
                known.catch_up(partition, list_segments(partition.fd), state.segment, state.written)
            return known
        except _NotThere:
            pass  # Its segment was removed meanwhile.
    found = load(partition, state.segment, state.written)
    found.leader_epoch = state.leader_epoch
    return found


def lost_records(partition: PartitionFiles) -> StorageError:
    """Return what to say where less is stored under a producer id than this process was told."""
    return StorageError(
        f"partition {partition.partition} of {partition.topic.name} lost records stored without a sync",
        why="the disk refused to take them, or was changed from outside",
        fix="look at the disk (dmesg); then run the same command with the same producer id again: it stores "
        "what is missing; nothing of this append was written",
        partition=partition.partition,
    )


def read_snapshot(partition: PartitionFiles, base_offset: int) -> ProducerState | None:
    """Return the snapshot of a segment, unproved; None if it is missing or damaged."""
    try:
        fd = files.open_file(segment_name(base_offset, PRODUCERS_SUFFIX), os.O_RDONLY, dir_fd=partition.fd)
    except FileNotFoundError:
        return None
    try:
        return decode_snapshot(files.pread(fd, files.size(fd), 0), base_offset)
    finally:
        files.close(fd)


def knows_start(partition: PartitionFiles, start: LogEnd) -> bool:
    """Tell whether the snapshot of a segment that is empty is there, and of its start and nothing else."""
    found = read_snapshot(partition, start.offset)
    return found is not None and found.is_at(start.offset, start)


def knows_end(partition: PartitionFiles, state: PartitionState) -> bool:
    """Tell whether it can be told what is stored of producer ids up to the durable end."""
    try:
        load(partition, state.segment, state.durable)
    except DataError:
        return False
    return True


def begin_segment(partition: PartitionFiles, segment: int, end: LogEnd, known: ProducerState | None = None) -> None:
    """Write the snapshot of the segment that begins at `end` of `segment`, before `state` names it.

    Where nobody can tell any more what was stored, there is none: that stops producers with an id, and nobody else.
    """
    if known is None or not known.is_at(segment, end):
        try:
            known = load(partition, segment, end)
        except DataError:
            return
    known._go_to(end.offset, LogEnd(0, end.offset, end.chain, -1))
    known.write_snapshot(partition)


def ensure_snapshot(partition: PartitionFiles, base_offset: int) -> None:
    """Make sure that the segment at `base_offset` has a snapshot that can be used. The caller holds the lock.

    To be called before the segments in front of it are removed, and with them what its snapshot could be made of again.
    On disk when it returns. Does nothing in a topic that never had a producer with an id.
    """
    bases = list_segments(partition.fd)
    before = max((base for base in bases if base < base_offset), default=-1)
    if before < 0 or not partition.topic.has_producers():
        return
    found = read_snapshot(partition, base_offset)
    if found is not None:
        try:
            found.prove(partition, bases)
            return
        except _NotThere:
            pass
    try:
        found = load(partition, base_offset, LogEnd(0, base_offset, UNKNOWN_CHAIN, -1), newest=before)
    except DataError:
        return  # It cannot be told now either.
    found.write_snapshot(partition)


def begin_producers(partition: PartitionFiles) -> None:
    """Write the first snapshot of a partition, before the topic's first producer id is pinned. The caller holds the lock.

    From here on, a partition whose log does not begin at 0 and has no snapshot is damaged. Up to the durable end, so
    that no recovery can cut below it: what lies behind is of no producer with an id either.
    """
    state = partition.read_state()
    if state is None:
        raise CorruptStateError(
            path=f"{partition.path}/state",
            found="both its slots are damaged",
            fix="the next `mk produce` without a producer id rebuilds it; nothing was written",
        )
    end = state.durable
    if end.offset == 0 or end.chain == UNKNOWN_CHAIN:
        return  # Of a copy that begins at some offset, the snapshot comes with its first batch.
    if state.segment == 0 or any(name.endswith(PRODUCERS_SUFFIX) for name in os.listdir(partition.fd)):
        # Somebody may have removed the pins. A producer's records then stand behind a snapshot, or in a first segment
        # that was empty when the first pin was made.
        found = load(partition, state.segment, end)
    else:
        found = ProducerState(state.segment, end.position, end.offset, end.chain, {})
    found.write_snapshot(partition)
