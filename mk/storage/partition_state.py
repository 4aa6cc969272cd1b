"""`state`: where a partition ends, how much of it is on disk, and how much of it readers may see.

Two slots of 512 bytes, at 0 and at 4096, each one line of text with its checksum; overwritten in place, the older
one first, so that a torn write spoils one of them at most. The newest valid slot counts. Written by whoever holds the
partition's lock, read by anybody without it.
Format: man/mk-format.5, STATE.
"""

from __future__ import annotations

from mk.records.codecs import crc32c
from mk.storage import files

SLOT_SIZE = 512
SLOT_DISTANCE = 4096
"""Apart by a page, so that no sector, block or page write can spoil both."""

STATE_SIZE = SLOT_DISTANCE + SLOT_SIZE
_TOO_LARGE = 1 << 63
_CLOCK_TOLERANCE_MS = 3_600_000
"""A clock may be put back by so much, as when it is corrected, without anything happening."""

SNAPSHOT_BOOT = "snapshot"
"""The boot id in a snapshot of a log directory, which is that of no boot: whoever appends first in one recovers, and readers
follow the batches from the durable end, which is the end."""


class LogEnd:
    """A place between two batches.

    position: bytes from the start of the active segment. offset: of the next record. chain: of the batch before.
    max_timestamp: largest record time in the active segment up to here, ms; -1 where there is none.
    """

    __slots__ = ("chain", "max_timestamp", "offset", "position")

    def __init__(self, position: int, offset: int, chain: int, max_timestamp: int) -> None:
        self.position = position
        self.offset = offset
        self.chain = chain
        self.max_timestamp = max_timestamp

    def begun(self) -> LogEnd:
        """Return this place as the start of a segment that begins here."""
        return LogEnd(0, self.offset, self.chain, -1)

    def chained(self, chain: int) -> LogEnd:
        """Return this place, of which it is now known with which chain the batch before it ends."""
        return LogEnd(self.position, self.offset, chain, self.max_timestamp)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LogEnd) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((self.position, self.offset))

    def __str__(self) -> str:
        return f"{self.position}:{self.offset}:{self.chain}:{self.max_timestamp}"

    __repr__ = __str__


STATE_FIELDS = (
    "began_ms",
    "boot_id",
    "cleaned_to",
    "cut_offset",
    "cuts",
    "durable",
    "high_watermark",
    "leader_epoch",
    "log_start_offset",
    "segment",
    "sequence",
    "syncing",
    "tombstones_dropped_to",
    "topic_id",
    "written",
)
"""What a slot says."""


class PartitionState:
    """One slot's content. A new one is made by `copy` and changed before it is published, never after.

    began_ms: when the active segment got its first batch, by the writer's clock and not by the records', which may carry
    any time; 0 if nobody noted it. cuts: how often this log was cut back to become another one's copy, and cut_offset: how
    far, the last time; a reader that has been given more, since it saw one cut fewer, has records that are no longer here.
    slot: the bytes that it was read from or published as, b"" before that.
    """

    __slots__ = (*STATE_FIELDS, "slot")

    def __init__(self, topic_id: str, boot_id: str) -> None:
        self.sequence = 0
        self.boot_id = boot_id
        self.topic_id = topic_id
        self.segment = 0
        self.written = self.durable = LogEnd(0, 0, 0, -1)
        self.high_watermark = 0
        self.log_start_offset = 0
        self.leader_epoch = 0
        self.cleaned_to = 0
        self.tombstones_dropped_to = 0
        self.syncing = 0
        self.began_ms = 0
        self.cuts = self.cut_offset = 0
        self.slot = b""

    def copy(self) -> PartitionState:
        new = PartitionState.__new__(PartitionState)
        for name in PartitionState.__slots__:
            setattr(new, name, getattr(self, name))
        new.slot = b""
        return new

    def is_aged(self, now_ms: int, most_ms: int) -> bool:
        """Tell whether the active segment has taken batches for longer than `most_ms`.

        By the clock of those who write, since records may have any time: a producer of last year's records would otherwise
        begin a segment with each append. A clock that goes back or leaps ahead costs a segment that begins early, once.
        Of a segment whose beginning nobody noted, the next append notes it: its age counts from there.
        """
        if self.written.position == 0 or not self.began_ms:
            return False
        return not -_CLOCK_TOLERANCE_MS <= now_ms - self.began_ms < most_ms

    def encode(self) -> bytes:
        """Return the slot, 512 bytes."""
        line = (
            f"sequence={self.sequence} boot={self.boot_id} topic={self.topic_id} segment={self.segment}"
            f" written={self.written} durable={self.durable} high_watermark={self.high_watermark}"
            f" log_start={self.log_start_offset} leader_epoch={self.leader_epoch} cleaned_to={self.cleaned_to}"
            f" tombstones_dropped_to={self.tombstones_dropped_to} syncing={self.syncing} began={self.began_ms}"
            f"{f' cuts={self.cuts}:{self.cut_offset}' if self.cuts else ''}"
        ).encode()
        return b"%b crc=%08x" % (line, crc32c(line)) + b" " * (SLOT_SIZE - len(line) - 14) + b"\n"


def decode_slot(slot: bytes) -> PartitionState | None:
    """Read one slot, or None if it is torn, damaged or empty."""
    at = slot.rfind(b" crc=")
    if at < 0 or len(slot) != SLOT_SIZE:
        return None
    try:
        line = slot[:at]
        if int(slot[at + 5 : at + 13], 16) != crc32c(line):
            return None
        fields = line.decode().replace("=", " ").split(" ")[1::2]
        state = PartitionState.__new__(PartitionState)
        state.topic_id = fields[2]
        state.boot_id = fields[1]
        state.sequence = int(fields[0])
        state.segment = int(fields[3])
        state.written = _decode_end(fields[4])
        state.durable = state.written if fields[5] == fields[4] else _decode_end(fields[5])
        state.high_watermark = int(fields[6])
        state.log_start_offset = int(fields[7])
        state.leader_epoch = int(fields[8])
        state.cleaned_to = int(fields[9])
        state.tombstones_dropped_to = int(fields[10])
        state.syncing = int(fields[11])
        state.began_ms = int(fields[12]) if len(fields) > 12 else 0  # An early mk did not write it.
        cuts = slot.find(b" cuts=", 0, at)
        state.cuts, state.cut_offset = map(int, slot[cuts + 6 : at].split(b" ")[0].split(b":")) if cuts >= 0 else (0, 0)
        state.slot = slot
        if not _can_be(state):
            return None
    except (ValueError, IndexError, TypeError):  # the last for too few or too many numbers of an end
        return None
    return state


def _can_be(state: PartitionState) -> bool:
    """Tell whether all numbers are such as a log can have.

    The checksum proves nothing of whoever wrote them, and neither a call of the system nor a field of a batch takes a position
    below zero, or one of 70 bits.
    """
    written, durable = state.written, state.durable
    places = (
        state.sequence,
        state.segment,
        written.position,
        written.offset,
        durable.position,
        durable.offset,
        state.high_watermark,
        state.log_start_offset,
        state.cleaned_to,
        state.tombstones_dropped_to,
        state.cuts,
        state.cut_offset,
    )
    times, chains = (written.max_timestamp, durable.max_timestamp), (written.chain, durable.chain)
    return (
        min(places) >= 0
        # Whoever goes by one of the two ends has the segment open that holds the other.
        and state.segment <= durable.offset <= written.offset
        and (state.cuts > 0 or not state.cut_offset)
        and max(places) < _TOO_LARGE
        and 0 <= state.leader_epoch < _TOO_LARGE << 1
        # Both go into a batch's header, or into an index, which have so many bits for them.
        and min(times) >= -_TOO_LARGE
        and max(times) < _TOO_LARGE
        and min(chains) >= -1
        and max(chains) < 1 << 32
    )


def read_state(fd: int, known: PartitionState | None = None) -> PartitionState | None:
    """Return the newest valid slot, or None if neither is valid.

    Without the lock, None may mean that both were being overwritten while we read (never seen in 10^6 reads): read
    again. Under the lock it means damage.

    known: returned itself if it still stands there, byte for byte.
    """
    data = files.pread(fd, STATE_SIZE, 0)
    first, second = data[:SLOT_SIZE], data[SLOT_DISTANCE:]
    if _sequence_of(second) > _sequence_of(first):
        first, second = second, first
    if known is not None and first == known.slot:
        return known
    # Taking a slot apart costs more than all else here, and the older one is not needed where the newer one is valid.
    return decode_slot(first) or decode_slot(second)


def _sequence_of(slot: bytes) -> int:
    """Return the sequence that a slot says it has, valid or not; -1 if that cannot be told."""
    start, end = slot.find(b"=") + 1, slot.find(b" ")
    try:
        return int(slot[start:end])
    except ValueError:
        return -1


def write_state(fd: int, state: PartitionState) -> None:
    """Publish the next state over the older slot. The caller holds the lock; not synced."""
    prepare(state)
    write_slot(fd, state)


def prepare(state: PartitionState) -> None:
    """Make the slot of the next state, which then is not changed any more."""
    state.sequence += 1
    state.slot = state.encode()


def write_slot(fd: int, state: PartitionState) -> None:
    """Publish what `prepare` has made, over the older slot."""
    files.pwrite(fd, state.slot, SLOT_DISTANCE * (state.sequence & 1))


def initial_state(state: PartitionState) -> bytes:
    """Return the whole file for a new partition."""
    return state.encode() + bytes(SLOT_DISTANCE - SLOT_SIZE) + bytes(SLOT_SIZE)


def _decode_end(text: str) -> LogEnd:
    return LogEnd(*map(int, text.split(":")))
