"""Reading `state` without a lock, for somebody who wants to know what is wrong with it and not only where the log ends."""

from __future__ import annotations

import os
import time

from mk.errors import CorruptStateError
from mk.maintenance import findings as kinds
from mk.maintenance.findings import DAMAGE, NOTE
from mk.storage import files
from mk.storage.partition_files import STATE_FILE
from mk.storage.partition_state import SLOT_DISTANCE, SLOT_SIZE, STATE_SIZE, decode_slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.storage.partition_state import PartitionState

_SLOT_READS = 5
_SLOT_PAUSE_SECONDS = 0.005
"""A slot that is just being overwritten looks torn for microseconds: one that stays so is damaged."""

_PLACES = (0, SLOT_DISTANCE)


class StateCheck:
    """The `state` of one partition, open for reading.

    state: the newest valid slot when it was opened, None if there is none of this topic. faults: (kind, severity, what is
    wrong, byte) of each thing that is.
    """

    __slots__ = ("_fd", "faults", "state")

    def __init__(self, partition_fd: int, topic_id: str) -> None:
        self._fd = -1
        self.state: PartitionState | None = None
        self.faults: list[tuple[str, str, str, int | None]] = []
        try:
            self._fd = files.open_file(STATE_FILE, os.O_RDONLY, dir_fd=partition_fd)
        except FileNotFoundError:
            self.faults.append((kinds.DAMAGED_STATE, DAMAGE, "it is missing", None))
        except CorruptStateError as error:
            self.faults.append((kinds.DAMAGED_STATE, DAMAGE, error.why, None))
        else:
            self._read(topic_id)

    def close(self) -> None:
        if self._fd >= 0:
            files.close(self._fd)

    def newest(self) -> PartitionState | None:
        """Return the newest valid slot as of now."""
        _, slots = self._slots()
        return max((slot for slot in slots if slot is not None), key=lambda slot: slot.sequence, default=None)

    def has_moved(self) -> bool:
        """Tell whether somebody has written `state` since it was opened."""
        if self._fd < 0:
            return False
        now = self.newest()
        return (now and now.sequence) != (self.state and self.state.sequence)

    def _slots(self) -> tuple[bytes, list[PartitionState | None]]:
        data = files.pread(self._fd, STATE_SIZE, 0)
        return data, [decode_slot(data[at : at + SLOT_SIZE]) for at in _PLACES]

    def _read(self, topic_id: str) -> None:
        for _ in range(_SLOT_READS):
            data, slots = self._slots()
            # The second slot of a partition that nobody has appended to was never written.
            is_new = slots[0] is not None and slots[0].sequence == 0 and not any(data[SLOT_DISTANCE:])
            if None not in slots or is_new:
                break
            time.sleep(_SLOT_PAUSE_SECONDS)
        valid = [slot for slot in slots if slot is not None]
        if not valid:
            self.faults.append((kinds.DAMAGED_STATE, DAMAGE, "neither of its slots can be read", 0))
            return
        if len(valid) == 1 and not is_new:
            found = "one of its two slots is damaged; the other one is used, and the next append replaces it"
            self.faults.append((kinds.DAMAGED_SLOT, NOTE, found, _PLACES[slots.index(None)]))
        state = max(valid, key=lambda slot: slot.sequence)
        if state.topic_id != topic_id:
            self.faults.append((kinds.DAMAGED_STATE, DAMAGE, f"it belongs to topic id {state.topic_id}", 0))
            return
        self.state = state


def contradictions(state: PartitionState) -> list[tuple[int, str]]:
    """Return (offset, what is wrong) where a slot contradicts itself."""
    durable, written = state.durable, state.written
    found = []
    if durable.offset > written.offset or durable.position > written.position:
        found.append((durable.offset, "its durable end lies behind its written end"))
    if state.high_watermark > written.offset:
        found.append((state.high_watermark, f"its high watermark lies behind the end, {written.offset}"))
    if state.log_start_offset > written.offset:
        found.append((state.log_start_offset, f"its log start lies behind the end, {written.offset}"))
    if state.segment > durable.offset:
        found.append((durable.offset, f"its durable end lies before its segment, {state.segment}"))
    return found
