"""What is judged of a log directory's health, and from where on it is a warning or critical. Pure: facts in, verdicts out.

What the facts are, and how they are found, is for health and group_health. Statuses and the sense of a limit are those of
Nagios plugins: a value above the limit counts, or below it where little is bad; the limit itself does not.
"""

from __future__ import annotations

from mk.config import GIB, KIB, MIB
from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OK, WARNING, CRITICAL, UNKNOWN = "OK", "WARNING", "CRITICAL", "UNKNOWN"
STATUS_CODES = {OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3}
_BY_WEIGHT = (OK, UNKNOWN, WARNING, CRITICAL)

COUNT, TIME, SIZE, FREE = "count", "time", "size", "free"
"""What a limit is: a number; milliseconds; bytes; bytes or a part of the whole disk."""

DIRECTORY, TOPIC, GROUP = "directory", "topic", "group"
"""What a threshold is about, and so whether it is judged where topics or groups are named."""

OFF = "off"
_TIMES_MS = {"": 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZES = {"": 1, "b": 1, "k": KIB, "kib": KIB, "m": MIB, "mib": MIB, "g": GIB, "gib": GIB}
_SIZES |= {"t": GIB * KIB, "tib": GIB * KIB}
_MAX_DIGITS = 18
_FORMS = {
    COUNT: "a whole number",
    TIME: "a time such as 30s, 10m, 2h or 7d",
    SIZE: "a size such as 500M or 2G",
    FREE: "a part of the disk such as 10%, or a size such as 2G",
}


class Limit:
    """From where on a value counts: a number, ms or bytes, or percent of a whole."""

    __slots__ = ("is_percent", "number")

    def __init__(self, number: float, *, is_percent: bool = False) -> None:
        self.number = number
        self.is_percent = is_percent

    def of(self, whole: int) -> float:
        """Return the limit in the unit of the value. whole: what is 100 %."""
        return self.number * whole / 100 if self.is_percent else self.number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limit) and (self.number, self.is_percent) == (other.number, other.is_percent)

    def __hash__(self) -> int:
        return hash((self.number, self.is_percent))

    def __repr__(self) -> str:
        return f"{self.number:g}%" if self.is_percent else f"{self.number:g}"


class Threshold:
    """One thing that is judged: warn and crit are its limits as they are typed, "off" for none.

    is_low: a value below the limit counts. needs: the part of the facts without which it cannot be judged, see health.
    """

    __slots__ = ("crit", "help", "is_low", "name", "needs", "scope", "unit", "warn")

    def __init__(
        self,
        name: str,
        unit: str,
        scope: str,
        help: str,
        *,
        warn: str = OFF,
        crit: str = OFF,
        is_low: bool = False,
        needs: str = "topics",
    ) -> None:
        self.name = name
        self.unit = unit
        self.scope = scope
        self.help = help
        self.warn = warn
        self.crit = crit
        self.is_low = is_low
        self.needs = needs


THRESHOLDS = {
    threshold.name: threshold
    for threshold in (
        Threshold("lag", COUNT, GROUP, "records that a group is behind, in all its partitions", needs="groups"),
        Threshold("partition-lag", COUNT, GROUP, "records that a group is behind in one partition", needs="groups"),
        Threshold(
            "missed",
            COUNT,
            GROUP,
            "records that were removed, or lost, before a group had read them",
            warn="0",
            needs="groups",
        ),
        Threshold(
            "members", COUNT, GROUP, "members of a group that live: fewer than that", is_low=True, needs="groups"
        ),
        Threshold(
            "stale-members",
            COUNT,
            GROUP,
            "members of a group that are stopped, hang, or were fenced for it",
            warn="0",
            needs="groups",
        ),
        Threshold("dead-members", COUNT, GROUP, "files that killed members of a group have left", needs="groups"),
        Threshold("idle", TIME, TOPIC, "time since something was last written to a topic"),
        Threshold(
            "future", TIME, TOPIC, "how far the newest records of a topic are dated ahead of the clock", warn="1h"
        ),
        Threshold("failed", COUNT, TOPIC, "partitions that take no writes, since the disk refused (FAILED)", crit="0"),
        Threshold(
            "damage",
            COUNT,
            TOPIC,
            "files that are missing or cannot be read: topic.json, state, epochs, segments, claims",
            crit="0",
        ),
        Threshold(
            "quarantine", COUNT, TOPIC, "files in quarantine/ that are not salvaged", warn="0", needs="quarantine"
        ),
        Threshold("replica-lag", COUNT, TOPIC, "records that a copy lacked when it was seen last"),
        Threshold("replica-age", TIME, TOPIC, "time since a copy, or the leader of one here, was seen last"),
        Threshold(
            "reserve",
            SIZE,
            TOPIC,
            "free space above min.free of a topic, below which producers are refused: less than that",
            crit="1M",
            is_low=True,
            needs="disk",
        ),
        Threshold("disk-free", FREE, DIRECTORY, "free space of the disk: less than that", is_low=True, needs="disk"),
        Threshold(
            "clock",
            COUNT,
            DIRECTORY,
            "1 while the clock is not believed after a leap, so that nothing is removed by age",
            warn="0",
            needs="clock",
        ),
    )
}


def parse_limit(threshold: Threshold, text: str) -> Limit | None:
    """Return a limit as typed, None for "off". Raises UsageError saying what it may be."""
    if text == OFF:
        return None
    number = text.rstrip("%abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    suffix = text[len(number) :].lower()
    whole, dot, fraction = number.partition(".")
    digits = whole + fraction
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS and bool(whole)
    if is_number and (fraction or not dot):
        if threshold.unit == COUNT and not suffix and not dot:
            return Limit(int(number))
        if threshold.unit == TIME and suffix in _TIMES_MS:
            return Limit(float(number) * _TIMES_MS[suffix])
        if threshold.unit == FREE and suffix == "%" and float(number) <= 100:
            return Limit(float(number), is_percent=True)
        if threshold.unit in (SIZE, FREE) and suffix in _SIZES:
            return Limit(float(number) * _SIZES[suffix])
    raise UsageError(
        f"the threshold {threshold.name} cannot be {text!a}",
        why=f"it says {threshold.help}",
        fix=f"give {_FORMS[threshold.unit]}, or off",
        name=threshold.name,
    )


class Limits:
    """The limits of all thresholds, and which of them somebody asked for by name."""

    __slots__ = ("_crit", "_warn", "asked")

    def __init__(self, warn: Mapping[str, object], crit: Mapping[str, object]) -> None:
        """Take the limits that differ from the defaults. Raises UsageError for a name or a limit that cannot be."""
        for name in (*warn, *crit):
            if name not in THRESHOLDS:
                raise UsageError(
                    f"there is no threshold {name!a}", fix="there are " + ", ".join(sorted(THRESHOLDS)), name=name
                )
        self.asked = frozenset((*warn, *crit))
        self._warn = {one.name: parse_limit(one, str(warn.get(one.name, one.warn))) for one in THRESHOLDS.values()}
        self._crit = {one.name: parse_limit(one, str(crit.get(one.name, one.crit))) for one in THRESHOLDS.values()}

    def warn(self, name: str) -> Limit | None:
        return self._warn[name]

    def crit(self, name: str) -> Limit | None:
        return self._crit[name]


class Measure:
    """One value that a threshold is about.

    subject: whose it is, by kind: group, topic, partition, directory. text: the value in words, for a line of its own.
    details: what it counts, where that is worth a line each. whole: what is 100 % of it.
    """

    __slots__ = ("details", "name", "subject", "text", "value", "whole")

    def __init__(
        self,
        name: str,
        value: int,
        text: str,
        subject: Mapping[str, object] | None = None,
        *,
        details: Sequence[str] = (),
        whole: int = 0,
    ) -> None:
        self.name = name
        self.value = value
        self.text = text
        self.subject = dict(subject or {})
        self.details = list(details)
        self.whole = whole


class Verdict:
    """What becomes of a measure: its status, and the limits it was held against, in its own unit; None for none.

    measure: None where the value cannot be told, and then text says why.
    """

    __slots__ = ("crit", "measure", "name", "status", "text", "warn")

    def __init__(
        self, name: str, status: str, text: str, measure: Measure | None, warn: float | None, crit: float | None
    ) -> None:
        self.name = name
        self.status = status
        self.text = text
        self.measure = measure
        self.warn = warn
        self.crit = crit

    def document(self) -> dict[str, object]:
        """Return it ready for JSON."""
        measure = self.measure
        return {
            "name": self.name,
            "status": self.status,
            "text": self.text,
            "unit": {COUNT: "count", TIME: "ms"}.get(THRESHOLDS[self.name].unit, "bytes"),
            "value": None if measure is None else measure.value,
            "warn": self.warn,
            "crit": self.crit,
            "subject": {} if measure is None else measure.subject,
            "details": [] if measure is None else measure.details,
        }


def judge(measures: Iterable[Measure], limits: Limits, unseen: Mapping[str, str]) -> list[Verdict]:
    """Return a verdict on each measure, and one, UNKNOWN, on each threshold asked for that cannot be judged.

    unseen: the parts of the facts that could not be looked at, and why.
    """
    verdicts = []
    for measure in measures:
        threshold = THRESHOLDS[measure.name]
        warn, crit = (
            None if limit is None else limit.of(measure.whole)
            for limit in (limits.warn(measure.name), limits.crit(measure.name))
        )
        status = OK
        if _exceeds(measure.value, crit, is_low=threshold.is_low):
            status = CRITICAL
        elif _exceeds(measure.value, warn, is_low=threshold.is_low):
            status = WARNING
        verdicts.append(Verdict(measure.name, status, measure.text, measure, warn, crit))
    for name in sorted(limits.asked):
        why = unseen.get(THRESHOLDS[name].needs)
        if why is not None and (limits.warn(name) or limits.crit(name)):
            verdicts.append(Verdict(name, UNKNOWN, f"{name} cannot be told: {why}", None, None, None))
    return verdicts


def _exceeds(value: int, limit: float | None, *, is_low: bool) -> bool:
    return limit is not None and (value < limit if is_low else value > limit)


def worst(statuses: Iterable[str]) -> str:
    """Return the status of all together: what is known to be bad counts before what is not known."""
    return max(statuses, key=_BY_WEIGHT.index, default=OK)
