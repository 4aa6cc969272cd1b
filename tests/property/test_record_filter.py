"""Regular expressions on records and on blocks of lines, against Python's own search in one value after the other."""

import os
import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mk.errors import UsageError
from mk.formats import record_filter
from mk.formats.record_filter import RecordFilter, Selector, across_lines, parse_selector
from mk.records.record import ConsumerRecord

ATOMS = [
    *("a", "b", "A", " ", ",", "-", "x", "\t", "\n", "é", "."),
    *("^", "$", r"\A", r"\Z", r"\b", r"\B"),
    *(r"\s", r"\S", r"\d", r"\D", r"\w", r"\W", r"\.", r"\n", r"\t", r"\x61", r"\\"),
    *("[ab]", "[^a]", "[^-a]", "[-a]", "[^]a]", "[]a]", "[^a-]", "[^--b]", "[a-c]", r"[^\]a]", r"[\]a]"),
    *(
        r"[\s]",
        r"[^\s]",
        r"[^\Sa]",
        r"[\S]",
        r"[^\W]",
        r"[\D]",
        "[^^]",
        "[^^a]",
        r"[\-a]",
        r"[^\n]",
        "[\t-\r]",
        "[ -~]",
    ),
    *("(?=a)", "(?!a)", r"(?!\s)", "(?<=a)", "(?<!a)", "(?s:.)", "(?-i:a)", "(?m:^)", "(?#a)", "(?P<n>a)"),
]
expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(st.sampled_from(["(%s)", "(?:%s)"]), inner).map(lambda pair: pair[0] % pair[1]),
        st.tuples(st.sampled_from(["(?:%s)*", "(?:%s)+?", "(?:%s)?", "(?:%s){1,2}"]), inner).map(
            lambda pair: pair[0] % pair[1]
        ),
    ),
    max_leaves=5,
)
regexes = st.tuples(st.sampled_from(["", "", "", "(?i)", "(?s)", "(?m)", "(?x)"]), expressions).map("".join)
values = st.lists(st.sampled_from([b"a", b"b", b"A", b" ", b",", b"-", b"x", b"\t", b"\r", b"\xff"]), max_size=6).map(
    b"".join
)


def is_regex(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(os.fsencode(text))
        except re.error:
            return False
    return True


def found(regex, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return value is not None and re.search(os.fsencode(regex), value) is not None


@settings(max_examples=250)
@given(
    st.lists(st.tuples(regexes.filter(is_regex), st.booleans()), min_size=1, max_size=3), st.lists(values, max_size=12)
)
def test_lines_of_a_block_are_those_in_which_it_is_found(conditions, lines):
    wanted = RecordFilter([Selector("v", os.fsencode(regex), is_negated=negated) for regex, negated in conditions])
    expected = [line for line in lines if all(found(regex, line) != negated for regex, negated in conditions)]
    block = b"".join(line + b"\n" for line in lines)
    for size in (1, 7, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(record_filter, "_PIECE_BYTES", size)
            pieces = list(wanted.pieces(block))
        assert b"".join(piece for piece, _ in pieces) == block
        assert b"".join(kept for _, kept in pieces) == b"".join(line + b"\n" for line in expected)


@pytest.mark.parametrize(
    ("regex", "in_a_block"),
    [
        (b"timeout=[0-9]+ms", b"timeout=[0-9]+ms"),
        (b'"user":"[^"]*bob', b'"user":"[^\\n"]*bob'),
        (b"a[^-x]", b"a[^\\n\\-x]"),
        (b"[^x]y", None),
        (rb"^\s*(?:a|b)\W$", rb"^[^\S\n]*(?:a|b)[^\w\n]$"),
        (b"(?i)error", b"(?i)error"),
        (rb"\Aa", None),
        (b"a(?!b)", None),
        (b"[\\s]", None),
        (b"[^]]", None),
        (rb"(a)\1", None),
        (b"(?s)a.", None),
    ],
)
def test_an_expression_is_searched_for_in_a_block_where_that_is_the_same(regex, in_a_block):
    assert across_lines(regex) == in_a_block


parts = st.one_of(
    st.just(("k", "")), st.just(("v", "")), st.tuples(st.just("h"), st.sampled_from(["a", "b", "h:x", "é"]))
)
conditions = st.tuples(parts, st.booleans(), regexes.filter(is_regex))
optional = st.none() | values
records = st.builds(
    ConsumerRecord,
    st.just("t"),
    st.just(0),
    st.just(0),
    st.just(0),
    optional,
    optional,
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"h:x", "é".encode()]), optional), max_size=3).map(tuple),
)


def model(condition, record):
    (part, name), negated, regex = condition
    if part == "h":
        data = [value for key, value in record.headers if key == name.encode()]
    else:
        data = [record.key if part == "k" else record.value]
    return any(found(regex, value) for value in data) != negated


@settings(max_examples=100)
@given(st.lists(conditions, min_size=1, max_size=3), records)
def test_a_record_is_wanted_if_all_hold_and_what_it_lacks_matches_nothing(some, record):
    texts = [
        "!" * negated + part + (f":{name}" if part == "h" else "") + "=" + regex
        for (part, name), negated, regex in some
    ]
    assert RecordFilter([parse_selector(text) for text in texts]).wants(record) == all(
        model(one, record) for one in some
    )
    if not record.headers and record.value is not None and b"\n" not in record.value:
        wanted = RecordFilter([parse_selector(text) for text in texts])
        block = record.value + b"\n"
        kept = b"".join(kept for _, kept in wanted.pieces(block))
        assert (wanted.wants_lines(record.key) and kept == block) == wanted.wants(record)
        assert kept in (block, b"")


@settings(max_examples=300)
@given(st.text(alphabet="!kvh:=a[(*+?{\\é\udcff", max_size=12))
def test_any_text_is_a_selector_or_refused_with_its_place(text):
    try:
        selector = parse_selector(text)
    except UsageError as error:
        assert error.why.startswith("at character ") and error.fix
        assert 0 <= error.facts["position"] <= len(text)
    else:
        assert selector.part in "kvh"
