"""What a log directory's copy of a partition should hold, as a plain list, and what may become of it.

The list has every record that was ever there, as if nothing had been trimmed or compacted; so a record that is missing is
held against the reasons for which it may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from mk.records.record import ConsumerRecord


class Entry(NamedTuple):
    """A record: its name, which no other has, its key, when it was sent, and by whom."""

    name: bytes
    key: bytes | None
    time_ms: int
    producer: Hashable

    @property
    def is_tombstone(self) -> bool:
        return self.name.startswith(b"-")


def name_of(record: ConsumerRecord) -> bytes:
    """Return the name of a record that was read: the front of its value, or what a tombstone has in its header."""
    return record.headers[0][1] if record.value is None else record.value.partition(b".")[0]  # type: ignore[return-value]


class View(NamedTuple):
    """What a reader finds: where the log begins, where it ends, and the names of the records in between, by offset."""

    start: int
    end: int
    names: dict[int, bytes]


class Copy:
    """One partition in one directory.

    log: up to where readers see it. durable: so much of it is promised to survive a power cut. floor: the log begins there, or
    behind it, for good. maybe: what killed producers had begun to append, and nobody has seen yet. heading: the logs of which
    this one was to become a copy, by runs of which none came to its end. others: of logs by which somebody may have compacted
    what was copied here the last offset of each key. generation: grows whenever records went that no trim or compaction took.
    """

    def __init__(self, *, compacts: bool) -> None:
        self.compacts = compacts
        self.log: list[Entry] = []
        self.durable = self.floor = self.epoch = self.generation = 0
        self.maybe: list[list[Entry]] = []
        self.heading: list[list[Entry]] = []
        self.others: list[dict[bytes | None, int]] = []
        self.view = View(0, 0, {})
        self._past: dict[int, tuple[int, dict[bytes | None, int]]] = {}

    def acknowledge(self, first_offset: int, entries: list[Entry], view: View) -> None:
        """Take over what was appended at an offset, and what it has settled of those before it that were killed."""
        assert first_offset >= len(self.log), f"offset {first_offset} is given again, the log ends at {len(self.log)}"
        gap = first_offset - len(self.log)
        grown = [self.log + more for more in self._settled() if len(more) == gap]
        fitting = [log for log in grown if not self.misfit(log + entries, view)]
        assert fitting, f"{gap} records before offset {first_offset} are none that somebody sent: {view}"
        self.log = fitting[0] + entries
        self.maybe = []

    def become(self, view: View, *, is_lost: bool) -> str:
        """Find out which log this one is by now. Returns what is gone of it without a trim: "", "cut" or "lost".

        is_lost: a power cut came between, which may take what is not durable, and settles everything.
        """
        before = self.log
        grown = [before + more for more in self._settled() if len(before) + len(more) >= view.end]
        if not is_lost:
            grown = [log for log in grown if len(log) == view.end]
        problems = []
        # The last of them first: the least of what nobody has heard of.
        for log in reversed(grown):
            if is_lost and view.end < self.durable:
                problems.append(f"it ends at {view.end}, and {self.durable} are durable")
            elif problem := self.misfit(log[: view.end], view):
                problems.append(problem)
            else:
                return self._settle(log[: view.end], view, "lost" if view.end < len(before) else "", is_lost)
        for log in reversed(self.heading):
            if view.end <= len(log) and not (problem := self.misfit(log[: view.end], view)):
                went = common_prefix(before, log[: view.end]) < len(before)
                return self._settle(log[: view.end], view, "cut" if went else "", is_lost)
        raise AssertionError(f"no log that it may be: {problems or [view, len(before)]}")

    def _settle(self, log: list[Entry], view: View, gone: str, is_lost: bool) -> str:
        if gone:
            stays = common_prefix(self.log, log)
            self._past[self.generation] = stays, last_of_keys(self.log)
            self.generation += 1
            self.durable = min(self.durable, stays)
            self.floor = 0
        if is_lost:
            self.maybe = []
        elif len(log) > len(self.log):
            self.maybe = [left for attempt in self.maybe if (left := [one for one in attempt if one not in log])]
        self.log = log
        return gone

    def _settled(self) -> Iterator[list[Entry]]:
        """Yield what may have come of the killed appends: of each, in order, a part from its front."""

        def from_(number: int) -> Iterator[list[Entry]]:
            if number == len(self.maybe):
                yield []
                return
            for rest in from_(number + 1):
                for count in range(len(self.maybe[number]) + 1):
                    yield self.maybe[number][:count] + rest

        seen = set()
        for found in from_(0):
            names = tuple(entry.name for entry in found)
            if names not in seen:
                seen.add(names)
                yield found

    def misfit(self, log: Sequence[Entry], view: View) -> str:
        """Return what does not fit between what readers see and a log; "" if it is that log, trimmed and compacted."""
        if view.end > len(log):
            return f"it ends at {view.end}, and not at {len(log)}"
        for offset, name in view.names.items():
            if not view.start <= offset < view.end or log[offset].name != name:
                return f"{name!r} stands at offset {offset}"
        last = last_of_keys(log[: view.end])
        for offset in range(view.start, view.end):
            if offset not in view.names and not self.may_be_compacted(log, offset, last):
                return f"{log[offset].name!r} is gone from offset {offset}, in a log up to {view.end}"
        if self.compacts:
            gone = {log[at].key for at in last.values() if view.start <= at and at not in view.names}
            for offset in view.names:
                if log[offset].key in gone and log[last[log[offset].key]].is_tombstone:
                    return f"{log[offset].key!r} was deleted, and is back at offset {offset}"
        return ""

    def may_be_compacted(self, log: Sequence[Entry], offset: int, last: dict[bytes | None, int] | None = None) -> bool:
        """Tell whether compaction may have taken a record: a later one has its key, or it is a tombstone."""
        entry = log[offset]
        if not self.compacts or entry.key is None:
            return False
        if entry.is_tombstone or (last or last_of_keys(log))[entry.key] > offset:
            return True
        return any(other.get(entry.key, -1) > offset for other in self.others)

    def may_be_gone(self, generation: int) -> Callable[[int], bool]:
        """Return what tells whether nobody need find the record that a generation had at an offset."""
        stays, last = self._past.get(generation, (len(self.log), last_of_keys(self.log)))
        return lambda offset: offset >= stays or self.may_be_compacted(self.log, offset, last)

    def went(self, view: View) -> dict[int, bytes]:
        """Return what readers saw before and do not see now, though it was not trimmed or compacted."""
        return {
            offset: name
            for offset, name in self.view.names.items()
            if view.names.get(offset) != name and not (offset < len(self.log) and self.log[offset].name == name)
        }


def common_prefix(one: Sequence[Entry], other: Sequence[Entry]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


def last_of_keys(log: Sequence[Entry]) -> dict[bytes | None, int]:
    return {entry.key: offset for offset, entry in enumerate(log)}
