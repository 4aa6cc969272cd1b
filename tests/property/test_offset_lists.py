"""Lists of committed offsets, and where a reset goes to in Kafka's spellings: what is written is read again."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.cli.reset_target import ResetTarget, parse_duration, parse_shift, parse_target
from mk.consumer.offset_spec import OffsetSpec, parse_offset_spec
from mk.errors import DataError, UsageError
from mk.formats.offset_lists import format_offset_list, parse_offset_list

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[A-Za-z0-9]", fullmatch=True).filter(
    lambda name: ".deleted" not in name
)
OFFSETS = st.integers(0, 10**18 - 1)
ROWS = st.lists(st.tuples(NAMES, NAMES, st.integers(0, 4095), OFFSETS), max_size=20, unique_by=lambda row: row[:3])


def listed(data, source="FILE"):
    return [(row.group, row.topic, row.partition, row.offset) for row in parse_offset_list(data, source)]


@given(ROWS)
def test_what_is_exported_is_imported(rows):
    assert listed(format_offset_list(rows).encode()) == [(*row[:3], str(row[3])) for row in rows]


@given(ROWS, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_however_another_tool_writes_it(rows, with_heads, newline, quoting):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=newline, quoting=quoting)
    if with_heads:
        writer.writerow(["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"])
    writer.writerows(rows)
    assert listed(text.getvalue().encode()) == [(*row[:3], str(row[3])) for row in rows]
    without_group = {row[1:3]: row for row in rows}.values()
    text = io.StringIO()
    csv.writer(text, lineterminator=newline, quoting=quoting).writerows(row[1:] for row in without_group)
    assert listed(text.getvalue().encode()) == [(None, *row[1:3], str(row[3])) for row in without_group]


@given(
    ROWS,
    st.lists(st.sampled_from(["", "   ", "# billing,t,0,5", "  # a word, and another"]), max_size=10),
    st.randoms(),
)
def test_comments_and_empty_lines_say_nothing(rows, extra, random):
    lines = [*format_offset_list(rows).splitlines(), *extra]
    random.shuffle(lines)
    assert sorted(listed("\n".join(lines).encode())) == sorted((*row[:3], str(row[3])) for row in rows)


@given(st.binary(max_size=200))
def test_whatever_else_it_holds_is_an_error_and_no_surprise(data):
    try:
        parse_offset_list(data, "FILE")
    except DataError as error:
        assert error.exit_status == 65
        assert 1 <= error.facts["line"] <= data.count(b"\n") + 1


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("g,t,0", 1, "cannot be the name|is no partition|offset"),
        ("t,0", 1, "it has 2 fields"),
        ("g,t,0,5,6", 1, "it has 5 fields"),
        ("g,t,0,5\ng,t,x,5", 2, "'x' is no partition"),
        ("g,t,-1,5", 1, "'-1' is no partition"),
        ("g,t,4096,5", 1, "'4096' is no partition"),
        ("g,../t,0,5", 1, "'../t' cannot be the name of a topic"),
        ("a/b,t,0,5", 1, "'a/b' cannot be the name of a group"),
        ("g,t,0,", 1, "the offset is missing"),
        ("g,t,0,5\n\n# g\ng,t,00,6", 4, "partition 0 of t is in line 1 already"),
        ('g,"t,0,5', 1, "its quotes do not match"),
    ],
)
def test_a_line_that_is_none_is_named(text, line, says):
    import re

    with pytest.raises(DataError) as caught:
        parse_offset_list(text.encode(), "FILE")
    assert f"line {line} of FILE" in caught.value.what
    assert re.search(says, caught.value.why)


def test_what_is_not_utf_8_is_named():
    with pytest.raises(DataError, match="line 2 of FILE"):
        parse_offset_list(b"g,t,0,5\ng,t\xff,1,5", "FILE")


# Where to.


@given(OFFSETS, st.booleans())
def test_a_shift(number, is_back):
    assert parse_shift(f"-{number}" if is_back else str(number)) == (-number if is_back else number)
    assert parse_shift(f"+{number}") == number


@pytest.mark.parametrize("text", ["", "-", "+", "--5", "5-", "1e3", "1_0", "٣", "9" * 19, " 5"])
def test_no_shift(text):
    with pytest.raises(UsageError, match="--shift-by cannot be"):
        parse_shift(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 999))
def test_a_time_span_in_both_spellings(days, hours, minutes, seconds, milliseconds):
    expected = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
    assert parse_duration(f"P{days}DT{hours}H{minutes}M{seconds}.{milliseconds:03}S") == expected
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s{milliseconds}ms") == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT1H", 3600), ("pt1h", 3600), ("P7D", 604800), ("P1W", 604800), ("PT0.5S", 0.5), ("PT1M", 60), ("90s", 90)],
)
def test_kafkas_time_spans(text, seconds):
    assert parse_duration(text) == seconds * 1000


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1", "h", "P1M", "-PT1H", "PT1H1D", "1h-", "now", "P1H"])
def test_no_time_span(text):
    with pytest.raises(UsageError, match="--by-duration cannot be"):
        parse_duration(text)


@given(
    stands_at=st.none() | st.integers(0, 1000),
    start=st.integers(0, 500),
    size=st.integers(0, 500),
    shift=st.integers(-999, 999),
)
def test_where_each_target_leads(stands_at, start, size, shift):
    def resolve(target, partition=0):
        return target.resolve(partition, stands_at, start, start + size, lambda time: 77, lambda group: 88)

    moved = None if stands_at is None else stands_at + shift
    assert resolve(ResetTarget(shift=shift)) == moved
    assert resolve(parse_target("current")) == resolve(parse_target("committed")) == stands_at
    assert resolve(parse_target("start")) == start
    assert resolve(parse_target("@now")) == 77
    assert resolve(parse_target("group:g")) == 88
    by_partition = parse_target("0:5,2:end")
    assert [resolve(by_partition, number) for number in range(3)] == [5, None, start + size]
    assert resolve(ResetTarget(OffsetSpec("at", 5))) == resolve(ResetTarget(parse_offset_spec("5"))) == 5


@pytest.mark.parametrize("text", ["5:10", ":5", "@-1h:now", "e@5", "soon", "", "0:5,1:2:3"])
def test_no_target(text):
    with pytest.raises(UsageError):
        parse_target(text)
