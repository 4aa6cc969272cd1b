"""The anomalies of a log, looked for in what producers were told and in what readers were given.

A `History` takes events in the order in which each client saw them. Producers send values, each of them unique within its
partition; a send is acknowledged with an offset, surely failed, or not heard of again. Readers poll: values with their
offsets, of one partition. `anomalies()` then looks for what Jepsen's `kafka` workload looks for where there are no
transactions, by its names; for `foreign` and `misplaced` values, which only somebody who knows all values can see; and
for what a group may not do with its commits.

Source: jepsen-io/jepsen, jepsen/src/jepsen/tests/kafka.clj.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

KINDS = {
    "lost-write": "it was acknowledged, later offsets were read, and no poll ever returned it",
    "unseen": "it was acknowledged, and no poll has returned it by the end",
    "duplicate": "one value stands at several offsets",
    "inconsistent-offsets": "one offset held several values",
    "aborted-read": "a value whose send surely failed was read",
    "foreign": "a value that nobody sent was read",
    "misplaced": "it was read at another offset than it was acknowledged at",
    "poll-skip": "between two polls of one reader lies a record that it was not given",
    "int-poll-skip": "the same within one poll",
    "nonmonotonic-poll": "a poll of one reader begins at or before the end of the one before it",
    "int-nonmonotonic-poll": "the same within one poll",
    "nonmonotonic-send": "a producer's later send has an earlier offset",
    "reordered": "values of one producer were read in another order than it sent them in",
    "lost-commit": "a member of a group went on in front of a commit that was acknowledged before",
    "group-skip": "a group has committed past a record that none of its members was given",
}
"""Each anomaly, and what it says of a record or an offset."""


class Anomaly(NamedTuple):
    """What is wrong, with which partition, and the offsets and values by which it shows."""

    kind: str
    partition: Hashable
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} in partition {self.partition}: {self.detail}"


class _Send:
    __slots__ = ("failed", "number", "offset", "producer")

    def __init__(self, producer: Hashable, number: int) -> None:
        self.producer = producer
        self.number = number
        self.offset: int | None = None
        self.failed = False


class History:
    """What was sent, acknowledged and polled. Partitions, clients and values are anything that can be a key.

    is_gone: tells of (partition, offset) whether the record there may be missing: retention, a trim or compaction has
    removed it. Nothing may be by default.
    """

    def __init__(self, is_gone: Callable[[Hashable, int], bool] = lambda partition, offset: False) -> None:
        self._is_gone = is_gone
        self._sends: dict[Hashable, dict[Hashable, _Send]] = defaultdict(dict)
        self._polls: dict[Hashable, list[tuple[Hashable, int, Sequence[tuple[int, Hashable]]]]] = defaultdict(list)
        self._acknowledged: dict[tuple[Hashable, Hashable], list[int]] = defaultdict(list)
        self._assignments: dict[tuple[Hashable, Hashable], int] = defaultdict(int)
        self._group_of: dict[Hashable, Hashable] = {}
        self._commits: dict[tuple[Hashable, Hashable], list[tuple[bool, int]]] = defaultdict(list)

    # What happens.

    def sent(self, producer: Hashable, partition: Hashable, value: Hashable) -> None:
        """A producer has begun to send a value. Until more is heard, it may be stored or not."""
        sends = self._sends[partition]
        assert value not in sends, f"{value!r} is sent twice: values have to be unique"
        sends[value] = _Send(producer, len(sends))

    def acknowledged(self, partition: Hashable, value: Hashable, offset: int) -> None:
        """Its producer was told that it is stored at `offset`."""
        send = self._sends[partition][value]
        send.offset = offset
        self._acknowledged[send.producer, partition].append(offset)

    def failed(self, partition: Hashable, value: Hashable) -> None:
        """Its producer was told that it is not stored."""
        self._sends[partition][value].failed = True

    def polled(self, reader: Hashable, partition: Hashable, records: Iterable[tuple[int, Hashable]]) -> None:
        """A reader was given records, (offset, value) each, in this order."""
        if records := list(records):
            self._polls[partition].append((reader, self._assignments[reader, partition], records))

    def assigned(self, reader: Hashable, partition: Hashable) -> None:
        """A reader begins anew at another place: what it is given next need not follow what it had."""
        self._assignments[reader, partition] += 1

    def joined(self, reader: Hashable, group: Hashable) -> None:
        """A reader is a member of a group: what it is given, the group was given."""
        self._group_of[reader] = group

    def resumed(self, group: Hashable, partition: Hashable, offset: int) -> None:
        """A member of a group has got a partition, and goes on at `offset`."""
        self._commits[group, partition].append((False, offset))

    def committed(self, group: Hashable, partition: Hashable, offset: int) -> None:
        """A member of a group was told that all below `offset` counts as done."""
        self._commits[group, partition].append((True, offset))

    @property
    def acknowledged_count(self) -> int:
        """How many records were acknowledged."""
        return sum(map(len, self._acknowledged.values()))

    # What is wrong.

    def check(self) -> None:
        """Raise AssertionError, with the first anomalies of each kind, unless there are none."""
        found = self.anomalies()
        if found:
            shown: dict[str, list[str]] = defaultdict(list)
            for anomaly in found:
                shown[anomaly.kind].append(str(anomaly))
            lines = [f"{kind} ({len(of)}): {KINDS[kind]}\n  " + "\n  ".join(of[:5]) for kind, of in shown.items()]
            raise AssertionError("\n".join(lines))

    def anomalies(self) -> list[Anomaly]:
        """Return all that is wrong, those of one partition together."""
        found: list[Anomaly] = []
        for partition in [*self._sends, *(self._polls.keys() - self._sends.keys())]:
            found += self._of_partition(partition)
        for (producer, partition), offsets in self._acknowledged.items():
            for before, after in zip(offsets, offsets[1:]):
                if after <= before:
                    detail = f"{producer} was told {after} after {before}"
                    found.append(Anomaly("nonmonotonic-send", partition, detail))
        for group, partition in self._commits:
            found += self._of_commits(group, partition)
        return found

    def _of_commits(self, group: Hashable, partition: Hashable) -> list[Anomaly]:
        found = []
        first, highest = None, -1
        for is_commit, offset in self._commits[group, partition]:
            first = offset if first is None else first
            if offset < highest:
                what = "committed" if is_commit else "went on at"
                detail = f"{group} {what} {offset} after it was told that {highest} is committed"
                found.append(Anomaly("lost-commit", partition, detail))
            if is_commit:
                highest = max(highest, offset)
        known, given = set(), set()
        for reader, _, records in self._polls[partition]:
            offsets = {offset for offset, _ in records}
            known |= offsets
            if self._group_of.get(reader) == group:
                given |= offsets
        for offset in sorted(known - given):
            # From where the group began, which is its first event: what lies in front of that was never its own.
            if (first or 0) <= offset < highest and not self._is_gone(partition, offset):
                detail = f"{group} has committed {highest}, and no member was given {offset}"
                found.append(Anomaly("group-skip", partition, detail))
        return found

    def _of_partition(self, partition: Hashable) -> list[Anomaly]:
        found: list[Anomaly] = []

        def note(kind: str, detail: str) -> None:
            found.append(Anomaly(kind, partition, detail))

        sends = self._sends[partition]
        values: dict[int, set[Hashable]] = defaultdict(set)
        offsets: dict[Hashable, set[int]] = defaultdict(set)
        for _, _, records in self._polls[partition]:
            for offset, value in records:
                values[offset].add(value)
                offsets[value].add(offset)
        for offset in sorted(values):
            if len(values[offset]) > 1:
                note("inconsistent-offsets", f"offset {offset} held {sorted(map(repr, values[offset]))}")
        for value, at in offsets.items():
            send = sends.get(value)
            if len(at) > 1:
                note("duplicate", f"{value!r} at {sorted(at)}")
            if send is None:
                note("foreign", f"{value!r} at {sorted(at)}")
            elif send.failed:
                note("aborted-read", f"{value!r} at {sorted(at)}")
            elif send.offset is not None and send.offset not in at:
                note("misplaced", f"{value!r} acknowledged at {send.offset}, read at {sorted(at)}")
        highest = max(values, default=-1)
        for value, send in sends.items():
            if send.offset is not None and value not in offsets and not self._is_gone(partition, send.offset):
                kind = "lost-write" if send.offset < highest else "unseen"
                note(kind, f"{value!r} of {send.producer} at {send.offset}")
        self._look_at_order(sends, offsets, note)
        self._look_at_polls(partition, sorted(values), note)
        return found

    @staticmethod
    def _look_at_order(
        sends: dict[Hashable, _Send], offsets: dict[Hashable, set[int]], note: Callable[[str, str], None]
    ) -> None:
        """What one producer sent stands in the order in which it sent it, whether it was told so or not."""
        last: dict[Hashable, tuple[int, Hashable]] = {}
        stored = [(min(at), value) for value, at in offsets.items() if value in sends]
        for offset, value in sorted(stored, key=lambda entry: entry[0]):
            send = sends[value]
            number, before = last.get(send.producer, (-1, None))
            if send.number < number:
                note("reordered", f"{send.producer} sent {value!r} before {before!r}, read at {offset} behind it")
            last[send.producer] = max((number, before), (send.number, value), key=lambda entry: entry[0])

    def _look_at_polls(self, partition: Hashable, known: list[int], note: Callable[[str, str], None]) -> None:
        place = {offset: number for number, offset in enumerate(known)}
        ends: dict[tuple[Hashable, int], int] = {}

        def compare(reader: Hashable, before: int, after: int, prefix: str) -> None:
            if after <= before:
                note(f"{prefix}nonmonotonic-poll", f"{reader} was given {after} after {before}")
            elif any(not self._is_gone(partition, at) for at in known[place[before] + 1 : place[after]]):
                note(f"{prefix}poll-skip", f"{reader} was given {after} after {before}, others lie between")

        for reader, assignment, records in self._polls[partition]:
            if (reader, assignment) in ends:
                compare(reader, ends[reader, assignment], records[0][0], "")
            for (before, _), (after, _) in zip(records, records[1:]):
                compare(reader, before, after, "int-")
            ends[reader, assignment] = records[-1][0]
