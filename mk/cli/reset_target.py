"""Where a reset moves a group to: --to with the grammar of offsets, or one of the spellings of Kafka's tool."""

from __future__ import annotations

from mk.consumer.offset_spec import OffsetSpec, parse_offset_range
from mk.errors import UsageError
from mk.group_plan import ResetTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options

_CURRENT = ("current", "committed", "stored")
_MAX_DIGITS = 18

_SPELLINGS = (
    ("to", "--to"),
    ("to_earliest", "--to-earliest"),
    ("to_latest", "--to-latest"),
    ("to_offset", "--to-offset"),
    ("to_datetime", "--to-datetime"),
    ("by_duration", "--by-duration"),
    ("shift_by", "--shift-by"),
    ("to_current", "--to-current"),
    ("from_file", "--from-file"),
)


def reset_target(options: Options) -> ResetTarget | None:
    """Return where a command line moves a group to; None if a file says it. Raises UsageError unless it says so once."""
    values: dict[str, Any] = vars(options)
    said = [flag for name, flag in _SPELLINGS if values[name] not in (None, False)]
    if len(said) > 1:
        raise UsageError(f"{said[0]} and {said[1]} both say where to go", fix="leave one of them out")
    if not said:
        raise UsageError(
            "where to is missing", fix="say --to start, --to end, --to N, --to @TIME: `mk help offsets` shows all"
        )
    if options.from_file is not None:
        return None
    if options.to is not None:
        return parse_target(options.to)
    if options.to_earliest:
        return ResetTarget(OffsetSpec("start"))
    if options.to_latest:
        return ResetTarget(OffsetSpec("end"))
    if options.to_offset is not None:
        return ResetTarget(OffsetSpec("at", options.to_offset))
    if options.to_datetime is not None:
        return ResetTarget(options.to_datetime)
    if options.by_duration is not None:
        from mk.clock import now_ms

        return ResetTarget(OffsetSpec("time", now_ms() - parse_duration(options.by_duration)))
    return ResetTarget(shift=0 if options.to_current else parse_shift(options.shift_by))


def parse_target(text: str) -> ResetTarget:
    """Read what --to takes: one position for all partitions, or one for each that is named. Raises UsageError."""
    if text in _CURRENT:
        return ResetTarget()
    wanted = parse_offset_range(text)
    if wanted.stop is not None:
        raise UsageError(
            f"--to cannot be {text}",
            why="it is a range, and a group stands at one offset in each partition",
            fix="name the next offset to read; 0:5,1:end gives each partition its own; nothing was changed",
        )
    return ResetTarget(wanted.first, by_partition=wanted.by_partition)


def parse_shift(text: str) -> int:
    """Read the number of --shift-by, such as -5. Raises UsageError."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS):
        raise UsageError(
            f"--shift-by cannot be {text or 'empty'}", why="it is a number of offsets, such as -5 or 100", fix=""
        )
    return -int(digits) if text[0] == "-" else int(digits)


_ISO_8601 = (
    r"P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:[.,](\d{1,9}))?S)?)?"
)
_PARTS = r"(?:\d{1,15}(?:w|d|h|ms|m|s))+"


def parse_duration(text: str) -> int:
    """Read a time span as milliseconds: Kafka's PT1H30M and P7D, or 1h30m. Raises UsageError."""
    import re

    from mk.timestamp import parse_time

    if found := re.fullmatch(_ISO_8601, text.upper()):
        weeks, days, hours, minutes, seconds, fraction = found.groups()
        if any(found.groups()):
            whole = ((int(weeks or 0) * 7 + int(days or 0)) * 24 + int(hours or 0)) * 60 + int(minutes or 0)
            return (whole * 60 + int(seconds or 0)) * 1000 + int((fraction or "0").ljust(3, "0")[:3])
    if re.fullmatch(_PARTS, text):
        try:
            return -parse_time(f"-{text}", 0)
        except UsageError:
            pass
    raise UsageError(
        f"--by-duration cannot be {text or 'empty'}", why="it is a time span, such as PT1H30M, P7D or 1h30m", fix=""
    )
