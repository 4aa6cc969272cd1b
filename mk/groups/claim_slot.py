"""What a claim file says: up to where a group has read a partition, as of its last commit.

Two slots of 512 bytes, at 0 and at 4096, each one line of text with its checksum; overwritten in place, the older one
first, so that a torn write spoils one of them at most. Between them stands who holds the claim, for people and for the
members' assignment; it is true only as long as that member lives. Whoever holds the claim writes, anybody may read.
Pure: bytes in, bytes out. Which file and which generation counts is for claim_directory.
Format: man/mk-format.5, CLAIMS.
"""

from __future__ import annotations

from mk.records.codecs import crc32c

SLOT_SIZE = 512
SLOT_DISTANCE = 4096
"""Apart by a page, so that no sector, block or page write can spoil both."""

CLAIM_SIZE = SLOT_DISTANCE + SLOT_SIZE

OWNER_POSITION = 1024
OWNER_SIZE = 64

NO_OFFSET = -1
"""Committed by a group that has a claim and has not committed anything yet."""

NO_EPOCH = -1


class ClaimSlot:
    """One slot's content.

    sequence: grows with each commit, over all generations. topic: its name when this was written; topic_id is what counts.
    offset: of the next record that the group will read, or NO_OFFSET. leader_epoch: of the record before it, or NO_EPOCH.
    time_ms: when it was committed.
    """

    __slots__ = ("generation", "leader_epoch", "offset", "partition", "sequence", "time_ms", "topic", "topic_id")

    def __init__(
        self,
        sequence: int,
        topic_id: str,
        topic: str,
        partition: int,
        generation: int,
        offset: int,
        leader_epoch: int,
        time_ms: int,
    ) -> None:
        self.sequence = sequence
        self.topic_id = topic_id
        self.topic = topic
        self.partition = partition
        self.generation = generation
        self.offset = offset
        self.leader_epoch = leader_epoch
        self.time_ms = time_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClaimSlot) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash((self.topic_id, self.partition, self.sequence))

    def __repr__(self) -> str:
        return f"<ClaimSlot {self._line()}>"

    def _line(self) -> str:
        return (
            f"sequence={self.sequence} topic={self.topic_id} name={self.topic} partition={self.partition}"
            f" generation={self.generation} offset={self.offset} leader_epoch={self.leader_epoch} time={self.time_ms}"
        )

    def encode(self) -> bytes:
        """Return the slot, 512 bytes: the longest name leaves room for the largest numbers."""
        line = self._line().encode()
        return (b"%b crc=%08x" % (line, crc32c(line))).ljust(SLOT_SIZE - 1) + b"\n"

    @property
    def position(self) -> int:
        """Where it is written: over the older of the two that are there."""
        return SLOT_DISTANCE * (self.sequence & 1)


def decode_slot(slot: bytes) -> ClaimSlot | None:
    """Read one slot, or None if it is torn, damaged or empty, or has numbers that nobody commits.

    Fields that a newer mk adds behind ours are ignored.
    """
    at = slot.rfind(b" crc=")
    if at < 0 or len(slot) != SLOT_SIZE:
        return None
    try:
        if int(slot[at + 5 : at + 13], 16) != crc32c(slot[:at]):
            return None
        fields = [field[field.index("=") + 1 :] for field in slot[:at].decode().split(" ")]
        numbers = [int(fields[number]) for number in (0, 3, 4, 5, 6, 7)]
        if not all(-1 <= number < 1 << 64 for number in numbers):
            return None
        sequence, partition, generation, offset, leader_epoch, time_ms = numbers
        return ClaimSlot(sequence, fields[1], fields[2], partition, generation, offset, leader_epoch, time_ms)
    except (ValueError, IndexError):
        return None


def decode_slots(data: bytes) -> list[ClaimSlot]:
    """Return the valid slots of a claim file, the newest first."""
    slots = [decode_slot(data[at : at + SLOT_SIZE]) for at in (0, SLOT_DISTANCE)]
    return sorted((slot for slot in slots if slot is not None), key=lambda slot: -slot.sequence)


def new_claim(slot: ClaimSlot | None) -> bytes:
    """Return the content of a new file, with one slot or none: whole, so that no commit ever needs room on the disk."""
    content = bytearray(CLAIM_SIZE)
    if slot is not None:
        content[slot.position : slot.position + SLOT_SIZE] = slot.encode()
    return bytes(content)


def encode_owner(member_id: str) -> bytes:
    """Return what a claim says of its owner, 64 bytes; all zero for nobody."""
    if not member_id:
        return bytes(OWNER_SIZE)
    line = f"member={member_id}".encode()
    return (b"%b crc=%08x\n" % (line, crc32c(line))).ljust(OWNER_SIZE, b"\0")


def decode_owner(data: bytes) -> str:
    """Return the id of the member that says it owns the claim, "" if none does or it cannot be read."""
    line, _, crc = data.rstrip(b"\0\n").partition(b" crc=")
    if line.startswith(b"member=") and crc == b"%08x" % crc32c(line):
        return line[7:].decode("ascii", "replace")
    return ""
