"""Points in time as people write them: `@T` in an offset, `--since`, `--timestamp`.

    1700000000, 1700000000.25          seconds since 1970, up to 11 digits
    1700000000000                      milliseconds, 12 to 14 digits
    1700000000000000000                nanoseconds, 18 or 19 digits
    2026-11-23, 2026-11-23T04:05       RFC 3339, parts from the right may be missing; also with a space for the T
    2026-11-23T04:05:06.789+02:00      no zone means UTC
    now, today, yesterday              the days begin at midnight UTC
    -1h30m                             so long ago: w d h m s ms

Everything becomes whole milliseconds since 1970, rounded down.
"""

from __future__ import annotations

from mk.errors import UsageError

SPELLINGS = (
    "seconds (1700000000), milliseconds (1700000000000) or nanoseconds since 1970",
    "2026-11-23, 2026-11-23T04:05:06Z (no zone means UTC)",
    "now, today, yesterday",
    "-1h30m for so long ago (w d h m s ms)",
)

_DAY_MS = 86_400_000
_UNITS_MS = {"w": 7 * _DAY_MS, "d": _DAY_MS, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_MAX_AGO_MS = 1 << 53

_RFC_3339 = r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)? ?([Zz]|[+-]\d\d:\d\d)?"
_AGO = r"-((?:\d{1,15}(?:w|d|h|ms|m|s))+)"
_AGO_PART = r"(\d+)(w|d|h|ms|m|s)"
_SECONDS = r"(\d{1,11})\.(\d{1,9})"


def parse_time(text: str, now_ms: int) -> int:
    """Return the milliseconds since 1970 that `text` means at the time `now_ms`. Raises UsageError saying what is accepted."""
    time_ms = _parse(text, now_ms)
    if time_ms is None:
        raise UsageError(f"{text!a} is no time", why=f"a time is one of: {'; '.join(SPELLINGS)}", time=text)
    return time_ms


def _parse(text: str, now_ms: int) -> int | None:
    if text.isascii() and text.isdigit():
        return _parse_number(text)
    if text == "now":
        return now_ms
    if text == "today":
        return now_ms - now_ms % _DAY_MS
    if text == "yesterday":
        return now_ms - now_ms % _DAY_MS - _DAY_MS
    if not text.isascii():
        return None
    # Only here: a plain `mk consume` knows no times, and `re` costs it a tenth of its start.
    import re

    if ago := re.fullmatch(_AGO, text):
        parts = re.findall(_AGO_PART, ago[1])
        ago_ms = sum(int(number) * _UNITS_MS[unit] for number, unit in parts)
        return now_ms - ago_ms if ago_ms <= _MAX_AGO_MS else None
    if seconds := re.fullmatch(_SECONDS, text):
        return int(seconds[1]) * 1000 + int(seconds[2].ljust(9, "0")) // 1_000_000
    if written := re.fullmatch(_RFC_3339, text):
        return _parse_rfc_3339(*written.groups())
    return None


def _parse_number(digits: str) -> int | None:
    """Tell seconds, milliseconds and nanoseconds apart by their length: each stands for years 1970 to 5138 or so."""
    if len(digits) <= 11:
        return int(digits) * 1000
    if len(digits) <= 14:
        return int(digits)
    if len(digits) in (18, 19):
        return int(digits) // 1_000_000
    return None  # Microseconds, or a slip of the finger: better asked than guessed.


def _parse_rfc_3339(
    date: str, minutes: str | None, seconds: str | None, fraction: str | None, zone: str | None
) -> int | None:
    from datetime import datetime, timedelta, timezone

    if zone and not minutes:
        return None  # A day has no zone of its own in RFC 3339.
    if seconds == "60":
        seconds = "59"  # A leap second is over before a log could notice it.
    offset = "+00:00" if zone is None or zone in "Zz" else zone
    try:
        when = datetime.fromisoformat(f"{date}T{minutes or '00:00'}:{seconds or '00'}{offset}")
    except ValueError:
        return None
    since = when - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return since // timedelta(milliseconds=1) + int((fraction or "0").ljust(9, "0")) // 1_000_000
