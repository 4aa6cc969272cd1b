"""Checking the claims of a topic's groups: whether where they stand can be read, and is in the log.

Read-only and beside members that commit and fence. Who may not look into groups/ finds nothing there.
"""

from __future__ import annotations

import os
import time

from mk.errors import CorruptStateError, DataError, MkError, NotFoundError, PermissionDeniedError
from mk.groups.claim_directory import (
    CLAIMS,
    GROUPS,
    claim_name,
    group_names,
    open_claims,
    parse_claim_name,
    topic_ids,
)
from mk.groups.claim_slot import CLAIM_SIZE, NO_OFFSET, SLOT_DISTANCE, SLOT_SIZE, decode_slot
from mk.groups.offset_store import stands_at
from mk.maintenance import findings as kinds
from mk.maintenance.findings import DAMAGE, NOTE, WARNING, Finding
from mk.storage import files
from mk.storage.partition_reader import PartitionReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.groups.claim_directory import ClaimDirectory
    from mk.groups.claim_slot import ClaimSlot
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

_SLOT_READS = 5
_SLOT_PAUSE_SECONDS = 0.005
"""A slot that is just being overwritten looks torn for microseconds: one that stays so is damaged."""


def check_claims(topic: Topic, partitions: Sequence[int]) -> list[Finding]:
    """Return what is wrong with the claims on some partitions of a topic, those of all groups."""
    found: list[Finding] = []
    try:
        names = group_names(topic.directory)
        if not names:
            return []
        if os.stat(GROUPS, dir_fd=topic.directory.fd, follow_symlinks=False).st_mode & 0o007:
            what = "others than writers may open claims there, and hold partitions"
            found.append(Finding(topic.name, None, kinds.UNSAFE_MODE, WARNING, GROUPS, what))
        for name in names:
            claims = open_claims(topic.directory, name, topic=topic.name, topic_id=topic.topic_id)
            if claims is None:
                continue
            try:
                found += _check_group(topic, claims, partitions)
            finally:
                claims.close()
    except (PermissionDeniedError, PermissionError):
        return []
    topic.check_not_deleted()
    return found


def _check_group(topic: Topic, claims: ClaimDirectory, partitions: Sequence[int]) -> list[Finding]:
    found = []
    for name in sorted(os.listdir(claims.fd)):
        if parse_claim_name(name) is None and not name.startswith(".tmp-"):
            what = "it is no claim"
            found.append(Finding(topic.name, None, kinds.UNKNOWN_FILE, NOTE, _path(claims, name), what))
    for partition, generations in claims.generations().items():
        if partition in partitions:
            check = _ClaimCheck(topic, claims, partition)
            check.run(generations)
            found += check.findings
    return found


def _path(claims: ClaimDirectory, name: str) -> str:
    return f"{GROUPS}/{claims.group}/{CLAIMS}/{claims.topic_id}/{name}"


class _ClaimCheck:
    """Checks the generations of the claim on one partition."""

    def __init__(self, topic: Topic, claims: ClaimDirectory, partition: int) -> None:
        self._topic = topic
        self._claims = claims
        self._partition = partition
        self.findings: list[Finding] = []

    def run(self, generations: list[int]) -> None:
        readable = 0
        for generation in generations:
            readable += self._check_generation(generation, is_newest=generation == generations[-1], readable=readable)
        for before, after in zip(generations, generations[1:], strict=False):
            if after != before + 1:
                what = f"generations {before + 1} to {after - 1} are missing: what was committed there is not known"
                self._add(kinds.MISSING_GENERATION, WARNING, after, what)
        if readable:
            self._check_offset(generations)

    def _add(
        self,
        kind: str,
        severity: str,
        generation: int,
        found: str,
        position: int | None = None,
        offset: int | None = None,
    ) -> None:
        path = _path(self._claims, claim_name(self._partition, generation))
        self.findings.append(Finding(self._topic.name, self._partition, kind, severity, path, found, position, offset))

    def _check_generation(self, generation: int, *, is_newest: bool, readable: int) -> bool:
        """Check one file, and tell whether it has a valid slot. readable: how many of the earlier ones have."""
        try:
            slots, faults = self._slots(generation)
        except FileNotFoundError:
            return False  # Removed as too old, by whoever keeps the groups.
        except CorruptStateError as error:
            slots, faults = [], [(0, error.why)]
        if slots:
            for position, what in faults:
                self._add(kinds.DAMAGED_SLOT, NOTE, generation, f"{what}; the other slot is used", position)
        elif is_newest and not readable:
            what = faults[0][1] if faults else "nothing was ever written to it"
            what = f"where the group stands is not known: {what}"
            self._add(kinds.DAMAGED_CLAIM, DAMAGE, generation, what, 0)
        elif faults:
            what = f"{faults[0][1]}; " + ("an earlier generation is used" if is_newest else "a later one is used")
            if not is_newest and not readable:
                what = faults[0][1]
            self._add(kinds.DAMAGED_CLAIM, WARNING, generation, what, faults[0][0])
        return bool(slots)

    def _slots(self, generation: int) -> tuple[list[ClaimSlot], list[tuple[int, str]]]:
        """Return the valid slots, and (byte, what is wrong) of the others but those that were never written."""
        slots: list[ClaimSlot] = []
        faults: list[tuple[int, str]] = []
        for _ in range(_SLOT_READS):
            slots, faults = [], []
            name = claim_name(self._partition, generation)
            data = files.read_file(name, dir_fd=self._claims.fd, max_bytes=CLAIM_SIZE)
            for position in (0, SLOT_DISTANCE):
                piece = data[position : position + SLOT_SIZE]
                slot = decode_slot(piece)
                if slot is not None and self._claims.is_own(slot, self._partition, generation):
                    slots.append(slot)
                elif slot is not None:
                    place = f"topic id {slot.topic_id}, partition {slot.partition}, generation {slot.generation}"
                    faults.append((position, f"its slot belongs to {place}"))
                elif len(piece) < SLOT_SIZE:
                    faults.append((position, "it is cut short"))
                elif any(piece):
                    faults.append((position, "a slot is damaged"))
            if not faults:
                break
            time.sleep(_SLOT_PAUSE_SECONDS)
        return slots, faults

    def _check_offset(self, generations: list[int]) -> None:
        """Compare the committed offset with the log, which is read later: a commit never lies ahead of it."""
        try:
            slot = self._claims.newest(self._partition, generations)
            if slot is None or slot.offset == NO_OFFSET:
                return
            reader = PartitionReader(self._topic, self._partition)
            try:
                offset = stands_at(self._claims.group, slot, reader)
            finally:
                reader.close()
        except NotFoundError:
            raise  # The topic is gone.
        except DataError:
            return  # What is wrong with the partition is found where its files are checked.
        if offset < slot.offset:
            what = f"offset {slot.offset} is committed, and the log is the one that was read up to offset {offset} only"
            self._add(kinds.COMMIT_BEYOND_END, WARNING, slot.generation, what, slot.position, slot.offset)


def orphaned_claims(directory: LogDirectory) -> list[Finding]:
    """Return a note of each topic on which a group has claims and that is not there any more."""
    found: list[Finding] = []
    there: set[str] | None = None
    try:
        for group in group_names(directory):
            for topic_id in topic_ids(directory, group):
                # As long as a topic lives it has locks; only a copy may have lost them.
                if files.exists(topic_id, dir_fd=directory.locks_fd):
                    continue
                if there is None:
                    there = _ids_and_damaged_names(directory)
                claims = open_claims(directory, group, topic="", topic_id=topic_id)
                if claims is None:
                    continue
                try:
                    finding = _orphan(claims)
                finally:
                    claims.close()
                if topic_id not in there and finding.topic not in there:
                    found.append(finding)
    except (MkError, PermissionError):
        return []  # They are closed to whoever may only read.
    return found


def _orphan(claims: ClaimDirectory) -> Finding:
    partitions = claims.generations()
    name = ""
    for partition, generations in partitions.items():
        try:
            slot = claims.newest(partition, generations)
        except CorruptStateError:
            continue
        if slot is not None:
            name = slot.topic
    what = f"group {claims.group} has claims on {len(partitions)} partitions of it, and the topic is not there any more"
    return Finding(name, None, kinds.ORPHANED_CLAIMS, NOTE, _path(claims, "").rstrip("/"), what)


def _ids_and_damaged_names(directory: LogDirectory) -> set[str]:
    """Return the ids of all topics, and the names of those whose id cannot be read."""
    found = set()
    for name in directory.topic_names():
        try:
            topic = directory.open_topic(name)
        except (MkError, OSError):
            found.add(name)
            continue
        found.add(topic.topic_id)
        topic.close()
    return found
