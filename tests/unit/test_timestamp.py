"""Times as people write them."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.errors import UsageError
from mk.timestamp import parse_time

NOW_MS = 1_795_406_706_789  # 2026-11-23T04:05:06.789Z
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0),
        ("1700000000", 1_700_000_000_000),
        ("1700000000.25", 1_700_000_000_250),
        ("1700000000.123456789", 1_700_000_000_123),
        ("1700000000000", 1_700_000_000_000),
        ("1700000000123456789", 1_700_000_000_123),
        ("2026-11-23", NOW_MS - NOW_MS % DAY_MS),
        ("2026-11-23T04:05", NOW_MS - 6_789),
        ("2026-11-23T04:05:06", NOW_MS - 789),
        ("2026-11-23T04:05:06.789Z", NOW_MS),
        ("2026-11-23t04:05:06.789z", NOW_MS),
        ("2026-11-23 04:05:06,789", NOW_MS),
        ("2026-11-23T04:05:06.789999999+00:00", NOW_MS),
        ("2026-11-23T06:05:06.789+02:00", NOW_MS),
        ("2026-11-22T23:05:06.789-05:00", NOW_MS),
        ("2026-11-23T04:05Z", NOW_MS - 6_789),
        ("1969-12-31T23:59:59.5Z", -500),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ("now", NOW_MS),
        ("today", NOW_MS - NOW_MS % DAY_MS),
        ("yesterday", NOW_MS - NOW_MS % DAY_MS - DAY_MS),
        ("-1h30m", NOW_MS - 5_400_000),
        ("-500ms", NOW_MS - 500),
        ("-1m500ms", NOW_MS - 60_500),
        ("-2w1d", NOW_MS - 15 * DAY_MS),
    ],
)
def test_a_time_is_read_as_it_is_written(text, time_ms):
    assert parse_time(text, NOW_MS) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-", "-1", "1h", "+1h", "-1y", "-h", "1.", ".5", "-1.5h", "tomorrow", "Now"),
        *("170000000000000", "17000000000000000", "1" * 20, "2026-13-01", "2026-02-30", "2026-11-23T"),
        *("2026-11-23T25:00", "2026-11-23T04:05:61", "2026-11-23Z", "2026-11-23T04:05:06.Z", "2026-W01-1", "٣"),
        *("2026-11-23T04:05:06+2", "2026-11-23T04:05:06+25:00", "2026-11-23\n", "-999999999999999w"),
    ],
)
def test_what_is_no_time_is_refused_with_what_is_one(text):
    with pytest.raises(UsageError) as refused:
        parse_time(text, NOW_MS)
    assert all(word in refused.value.why for word in ("seconds", "2026-11-23", "yesterday", "-1h30m"))


@given(st.datetimes(min_value=datetime(1970, 1, 2)))
def test_every_instant_reads_back_as_itself_to_the_millisecond(when):
    exact = when.replace(microsecond=when.microsecond // 1000 * 1000, tzinfo=timezone.utc)
    text = f"{exact:%Y-%m-%dT%H:%M:%S}.{exact.microsecond // 1000:03d}Z".rjust(24, "0")
    assert parse_time(text, 0) == round(exact.timestamp() * 1000)


@given(st.text(max_size=40))
def test_no_text_fails_in_another_way_than_being_refused(text):
    try:
        assert isinstance(parse_time(text, NOW_MS), int)
    except UsageError:
        pass
