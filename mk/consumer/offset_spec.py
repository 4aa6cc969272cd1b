"""Which offsets to read: the grammar of `-o`, and what its words mean in a given partition.

    position   start | end | N | -N | +N | start+N | end-N | group:NAME | @TIME
    range      position | [position]:[position] | @[TIME]:[TIME] | s@MS | e@MS
    partition  range | N:position,N:position...

A colon makes a range, whose end is excluded; a comma makes a list of partitions and where to begin in each. So `0:5` is
five offsets of every partition, and `0:5,1:7` begins at 5 in partition 0 and at 7 in partition 1. A spec that begins with
`@` knows no commas, and since times hold colons themselves it is read so: if all of it is one time, it is that; otherwise it
is parted at the last colon that leaves a time, or nothing, on both sides. On its sides `start`, `end` and `group:NAME` are known too.

What users read of this is in offset_spellings.py, whose every row is tested.
"""

from __future__ import annotations

from mk.errors import UsageError
from mk.topic_partition import is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

_ALIASES = {"beginning": "start", "earliest": "start", "oldest": "start", "latest": "end", "newest": "end"}
_WORDS = frozenset(("start", "end"))
_COMMITTED = frozenset(("committed", "stored"))
_MAX_DIGITS = 18
"""So many digits always are an offset: 2^63 has nineteen."""

_GROUP = "group:"
_POSITIONS = "start, end, N, -N, +N, start+N, end-N, group:NAME or @TIME"
_DOCUMENTED = "`mk help offsets` shows all spellings with examples"


class OffsetSpec:
    """A position in a partition, as people say it.

    kind: `start`, `end`, `at` (offset `value`), `after-start` and `before-end` (`value` offsets away), `time` (the first
    record of `value`, ms since 1970, or later), `group` (where the group of that name stands), or `committed` (where the
    own group stands, for who reads as a member of one).
    """

    __slots__ = ("group", "kind", "value")

    def __init__(self, kind: str, value: int = 0, *, group: str = "") -> None:
        self.kind = kind
        self.value = value
        self.group = group

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OffsetSpec) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"OffsetSpec({self.kind!r}, {self.value}{f', group={self.group!r}' if self.group else ''})"

    def __str__(self) -> str:
        """Return a spelling of it; parse_offset_spec makes of that the same again."""
        if self.kind == "time":
            return f"@{_spelled_time(self.value)}"
        if self.kind == "group":
            return f"{_GROUP}{self.group}"
        if self.kind in _WORDS or self.kind == "committed":
            return self.kind
        return {"at": "", "after-start": "+", "before-end": "-"}[self.kind] + str(self.value)

    def resolve(
        self,
        log_start_offset: int,
        high_watermark: int,
        offset_for_time: Callable[[int], int] | None = None,
        committed_offset: Callable[[str], int | None] | None = None,
    ) -> int:
        """Return the offset in a partition that holds these. `at` may lie outside; the reader judges that.

        offset_for_time: finds the first offset of a time or later, the high watermark if there is none; only
        positions of kind `time` need it.
        committed_offset: finds where a group stands, None before its first commit, which is the log start; only positions
        of kind `group` need it.
        """
        if self.kind == "start":
            return log_start_offset
        if self.kind == "end":
            return high_watermark
        if self.kind == "before-end":
            return max(log_start_offset, high_watermark - self.value)
        if self.kind == "after-start":
            return min(log_start_offset + self.value, high_watermark)
        if self.kind == "time":
            if offset_for_time is None:
                raise TypeError("a time can only be resolved by who can look it up")
            return offset_for_time(self.value)
        if self.kind == "group":
            if committed_offset is None:
                raise TypeError("where a group stands can only be resolved by who can look it up")
            committed = committed_offset(self.group)
            return log_start_offset if committed is None else committed
        if self.kind == "committed":
            raise UsageError(
                "'committed' needs a consumer group",
                why="it is where the own group stands, and this reads without one",
                fix=f"name one with -g, or begin at {_POSITIONS}",
            )
        return self.value


if TYPE_CHECKING:
    OffsetLike = OffsetSpec | str | int
    """A position as programs may say it: a number, negative from the end, or a spelling of `-o`."""


class OffsetRange:
    """Which offsets to read in each partition: from `first` up to `stop`, that one excluded.

    first: None is wherever reading begins anyway. stop: None is the end. by_partition: where each of the partitions
    begins that are named in it; others are not read then, and `first` is None.
    """

    __slots__ = ("by_partition", "first", "stop")

    def __init__(
        self,
        first: OffsetSpec | None = None,
        stop: OffsetSpec | None = None,
        by_partition: dict[int, OffsetSpec] | None = None,
    ) -> None:
        self.first = first
        self.stop = stop
        self.by_partition = by_partition

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OffsetRange) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"OffsetRange({self.first!r}, {self.stop!r}, {self.by_partition!r})"

    def __str__(self) -> str:
        """Return a spelling of it; parse_offset_range makes of that the same again."""
        if self.by_partition is not None:
            return ",".join(f"{partition}:{spec}" for partition, spec in self.by_partition.items())
        if self.stop is None:
            return str(self.first)
        return f"{'' if self.first is None else self.first}:{self.stop}"


def parse_offset_spec(text: str, now_ms: int | None = None) -> OffsetSpec:
    """Read one position, such as `end-5` or `@-1h`; times are relative to `now_ms`, by default the clock.

    Raises:
        UsageError: saying what is accepted.
    """
    return _Parser(text, now_ms).position(0, text)


def parse_offset_range(text: str, now_ms: int | None = None) -> OffsetRange:
    """Read all that `-o` takes: a position, a range, or positions by partition. Raises as parse_offset_spec does."""
    return _Parser(text, now_ms).range()


def read_offsets(
    offset: OffsetLike | Mapping[int, OffsetLike] | None, stop: OffsetLike | None
) -> tuple[OffsetSpec | dict[int, OffsetSpec] | None, OffsetSpec | None]:
    """Return where to begin and where to stop, of all that a program may say for it. Raises as parse_offset_spec does."""
    last = None if stop is None else _position(stop)
    if offset is None or isinstance(offset, OffsetSpec):
        return offset, last
    if not isinstance(offset, str | int):
        return {partition: _position(one) for partition, one in offset.items()}, last
    asked = parse_offset_range(str(offset))
    if asked.stop is not None and last is not None:
        raise UsageError(
            f"offset {offset!a} ends at {asked.stop}, and stop says {last}",
            fix="leave one of them out; nothing was read",
        )
    return asked.by_partition or asked.first, asked.stop or last


def _position(said: OffsetLike) -> OffsetSpec:
    return said if isinstance(said, OffsetSpec) else parse_offset_spec(str(said))


def is_reversed(first: OffsetSpec | None, stop: OffsetSpec | None) -> bool:
    """Tell whether a range can hold nothing in any partition: a slip of the finger, and no empty result."""
    if first is None or stop is None or first.kind != stop.kind:
        return False
    return first.value < stop.value if first.kind == "before-end" else first.value > stop.value


class _Parser:
    """Reads one text; pieces are passed with the place at which they stand in it, for errors."""

    def __init__(self, text: str, now_ms: int | None) -> None:
        self.text = text
        self._now_ms = now_ms

    def range(self) -> OffsetRange:
        text = self.text
        if text[:1] == "@":
            return self._times()
        if text[:2] in ("s@", "e@"):
            if not _is_number(text[2:]):
                self._refuse(2, "kcat's s@ and e@ take milliseconds since 1970")
            time = OffsetSpec("time", int(text[2:]))
            return OffsetRange(first=time) if text[0] == "s" else OffsetRange(stop=time)
        if "," in text:
            return self._partitions()
        # The colon of group:NAME parts nothing; a name has none.
        colon = text.find(":", len(_GROUP) if text.startswith(_GROUP) else 0)
        if colon < 0:
            return OffsetRange(first=self.position(0, text))
        left, right = text[:colon], text[colon + 1 :]
        if not left and not right:
            self._refuse(1, f"one side of the colon may be left out, the other is {_POSITIONS}")
        first = self.position(0, left) if left else None
        stop = self.position(len(left) + 1, right) if right else None
        self._check_order(first, stop, len(left) + 1)
        return OffsetRange(first, stop)

    def position(self, at: int, text: str) -> OffsetSpec:
        """Read one position, which stands at `at`."""
        word = _ALIASES.get(text, text)
        if word in _WORDS:
            return OffsetSpec(word)
        if word.startswith(_GROUP):
            if not is_valid_name(word[len(_GROUP) :]):
                self._refuse(at + len(_GROUP), "group: is followed by the name of a group")
            return OffsetSpec("group", group=word[len(_GROUP) :])
        if word in _COMMITTED:
            return OffsetSpec("committed")
        if text[:1] == "@":
            return OffsetSpec("time", self._time(at + 1, text[1:]))
        for sign, kind in (
            ("start+", "after-start"),
            ("+", "after-start"),
            ("end-", "before-end"),
            ("-", "before-end"),
        ):
            if text.startswith(sign):
                if not _is_number(text[len(sign) :]):
                    self._refuse_bare_time(at, text)
                    self._refuse(
                        at + len(sign), f"{sign} is followed by a number of offsets, up to {_MAX_DIGITS} digits"
                    )
                return OffsetSpec(kind, int(text[len(sign) :]))
        if _is_number(text):
            return OffsetSpec("at", int(text))
        if text.isascii() and text.isdigit():
            self._refuse(at, f"an offset has at most {_MAX_DIGITS} digits")
        self._refuse_bare_time(at, text)
        self._refuse(at, f"a position is {_POSITIONS}")

    def _times(self) -> OffsetRange:
        text = self.text[1:]
        whole = self._time_or_none(text)
        if whole is not None:
            return OffsetRange(first=OffsetSpec("time", whole))
        at = text.rfind(":")
        while at >= 0:
            left, right = text[:at], text[at + 1 :].removeprefix("@")
            first, stop = self._side(left), self._side(right)
            if (first or not left) and (stop or not right) and (left or right):
                self._check_order(first, stop, at + 2)
                return OffsetRange(first, stop)
            at = text.rfind(":", 0, at)
        # Not a range. The longest time it begins with tells which side is to blame.
        for at in range(len(text) - 1, -1, -1):
            if text[at] == ":" and (at == 0 or self._side(text[:at])):
                self._refuse_time(at + 2, text[at + 1 :])
        self._refuse_time(1, text)

    def _side(self, text: str) -> OffsetSpec | None:
        """Read a side of a range of times; None if it is nothing that can stand there."""
        word = _ALIASES.get(text, text)
        if word in _WORDS:
            return OffsetSpec(word)
        if text.startswith(_GROUP) and is_valid_name(text[len(_GROUP) :]):
            return OffsetSpec("group", group=text[len(_GROUP) :])
        time = self._time_or_none(text)
        return None if time is None else OffsetSpec("time", time)

    def _time(self, at: int, text: str) -> int:
        time = self._time_or_none(text)
        if time is None:
            self._refuse_time(at, text)
        return time

    def _time_or_none(self, text: str) -> int | None:
        from mk.timestamp import parse_time

        if self._now_ms is None:
            from mk.clock import now_ms

            self._now_ms = now_ms()  # Once, so that both sides of a range mean the same `now`.
        try:
            return parse_time(text, self._now_ms)
        except UsageError:
            return None

    def _partitions(self) -> OffsetRange:
        by_partition: dict[int, OffsetSpec] = {}
        at = 0
        for piece in self.text.split(","):
            number, colon, position = piece.partition(":")
            if not colon or not _is_number(number):
                self._refuse(at, "a comma makes it a list of PARTITION:POSITION, such as 0:5,1:-3")
            if int(number) in by_partition:
                self._refuse(at, f"partition {int(number)} is there twice")
            by_partition[int(number)] = self.position(at + len(number) + 1, position)
            at += len(piece) + 1
        return OffsetRange(by_partition=by_partition)

    def _check_order(self, first: OffsetSpec | None, stop: OffsetSpec | None, at: int) -> None:
        if is_reversed(first, stop):
            self._refuse(at, "the range ends before it begins; the first offset comes first, the end is excluded")

    def _refuse_time(self, at: int, text: str) -> NoReturn:
        from mk.timestamp import SPELLINGS

        self._refuse(at, f"a time is one of: {'; '.join(SPELLINGS)}")

    def _refuse_bare_time(self, at: int, text: str) -> None:
        """Refuse a time that lacks its @, if it is one: all of it, since times hold colons, or what stands at `at`."""
        for place, time in ((0, self.text), (at, text)):
            if self._time_or_none(time) is not None:
                self._refuse(place, f"a time begins with an @: @{time}")

    def _refuse(self, at: int, accepted: str) -> NoReturn:
        found = f"{self.text[at:]!a}" if at < len(self.text) else "the end"
        raise UsageError(
            f"{self.text!a} is no offset",
            why=f"at character {at + 1} stands {found}; {accepted}",
            fix=_DOCUMENTED,
            offset=self.text,
            position=at,
            accepted=accepted,
        )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _spelled_time(time_ms: int) -> str:
    """Return a time so that parse_time reads it back whole, from the year 1 up to 9999; of others, milliseconds since 1970."""
    if 0 <= time_ms < 10**14:
        return f"{time_ms // 1000}.{time_ms % 1000:03}"
    if not -62135596800000 <= time_ms < 253402300800000:
        return str(time_ms)  # As far away as people can ask for, and as no calendar goes.
    from datetime import datetime, timedelta, timezone

    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=time_ms)
    return when.isoformat(timespec="milliseconds")
