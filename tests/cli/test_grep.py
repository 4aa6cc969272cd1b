"""`-G`: only the records that match, from `mk consume` and `mk tail`."""

import json
import re
import subprocess

import pytest
from running import read_until

import mk as api

pytestmark = pytest.mark.both_engines


def numbers(first, last):
    return b"".join(b"%d\n" % number for number in range(first, last))


@pytest.fixture
def mixed(mk):
    """Records of all kinds: lines with and without a key, nulls, headers, a value with a newline."""
    with api.connect(mk.location, create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t") as producer:
            for value in (b"apple", b"banana", b"cherry"):
                producer.send(value)
            producer.flush()
            for value in (b"apple", b"blueberry"):
                producer.send(value, key=b"fruit")
            producer.flush()
            producer.send(None, key=b"fruit")
            producer.send(b"two\nlines", key=b"")
            producer.send(b"x", headers=((b"source", b"cron"), (b"source", None), (b"try", b"2")))
            producer.send(b"y", headers=((b"source", None),))
            producer.flush()
    return mk


VALUES = [b"apple", b"banana", b"cherry", b"apple", b"blueberry", b"", b"two\nlines", b"x", b"y"]


def offsets(mk, *words):
    return [json.loads(line)["offset"] for line in mk.ok("consume", "t", "-J", *words).splitlines()]


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        (["v=an"], [1]),
        (["v=^b"], [1, 4]),
        (["!v=a"], [2, 4, 5, 6, 7, 8]),
        (["v=apple"], [0, 3]),
        (["v=apple", "k=fruit"], [3]),
        (["v=apple", "!k=."], [0]),
        (["k="], [3, 4, 5, 6]),
        (["!k="], [0, 1, 2, 7, 8]),
        (["k=^$"], [6]),
        (["v="], [0, 1, 2, 3, 4, 6, 7, 8]),
        (["!v="], [5]),
        (["v=^lines"], []),
        (["v=(?m)^lines"], [6]),
        (["h:source=cron"], [7]),
        (["h:source="], [7]),
        (["!h:source=cron"], [0, 1, 2, 3, 4, 5, 6, 8]),
        (["h:try=[12]", "h:source=."], [7]),
        (["h:Source=."], []),
        ([r"v=\Ax\Z"], [7]),
        (["v=(?i)APPLE|Y$"], [0, 2, 3, 4, 8]),
    ],
)
def test_what_a_record_lacks_matches_nothing_and_all_selectors_hold(mixed, selectors, expected):
    words = [word for selector in selectors for word in ("-G", selector)]
    assert offsets(mixed, *words) == expected
    assert offsets(mixed, *words, "-o", "4:8", "-n", 2) == [offset for offset in expected if 4 <= offset < 8][:2]
    # Plain values, which are not taken apart where they are stored as lines.
    values = b"".join(VALUES[offset] + b"\n" for offset in expected)
    assert mixed.ok("consume", "t", *words, "--merge") == values
    assert mixed.ok("consume", "t", *words, "--timeout", "1h") == values


@pytest.mark.parametrize("regex", ["99", "^1.*7$", "[^0-5]7$", "(12|21)0*$", r"^\d{3}$", r"(.)\1\1", "nothing"])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_plain_values_are_what_grep_prints(mk, tmp_path, regex, codec):
    lines = numbers(0, 60_000)
    (tmp_path / "lines").write_bytes(lines)
    mk.ok("produce", "t", "-q", "-z", codec, stdin=lines)
    grep = subprocess.run(["grep", "-P", regex, tmp_path / "lines"], stdout=subprocess.PIPE, check=False, timeout=60)
    assert mk.ok("consume", "t", "-G", f"v={regex}") == grep.stdout
    grep = subprocess.run(["grep", "-vP", regex, tmp_path / "lines"], stdout=subprocess.PIPE, check=False, timeout=60)
    assert mk.ok("consume", "t", "-G", f"!v={regex}") == grep.stdout
    assert mk.ok("consume", "t", "-G", f"!v={regex}", "-n", 1234) == b"".join(grep.stdout.splitlines(True)[:1234])


def test_a_count_counts_records_that_match(mk):
    mk.ok("produce", "t", stdin=numbers(0, 50_000))
    assert mk.ok("consume", "t", "-G", "v=00$", "-n", 3) == b"100\n200\n300\n"
    assert mk.ok("consume", "t", "-G", "v=00$", "--reverse", "-n", 3) == b"49900\n49800\n49700\n"
    assert mk.ok("consume", "t", "-G", "v=0000$", "-n", 99) == b"10000\n20000\n30000\n40000\n"
    assert mk.ok("consume", "t", "-G", "v=.", "-n", 0) == b""


def test_the_tail_is_taken_before_what_matches(mk):
    mk.ok("produce", "t", stdin=numbers(0, 100))
    assert mk.ok("consume", "t", "--tail", 10, "-G", "v=[05]$") == b"90\n95\n"
    assert mk.ok("tail", "t", "-G", "v=[05]$", "--idle", "50ms") == b"90\n95\n"


def test_following_goes_on_with_what_matches(mk):
    mk.ok("produce", "t", "error 1", "fine")
    with mk.start("consume", "t", "-F", "-G", "v=error", "-n", 2) as consumer:
        read_until(consumer.stdout.fileno(), b"error 1\n")
        mk.ok("produce", "t", "fine", "error 2", "error 3")
        read_until(consumer.stdout.fileno(), b"error 2\n")
        assert consumer.wait(20) == 0
        assert consumer.stdout.read() == b""


@pytest.mark.parametrize(
    ("selector", "at", "says"),
    [
        ("", 1, "[!]k=REGEX for the key"),
        ("error", 1, "[!]v=REGEX for the value"),
        ("!", 2, "[!]h:NAME=REGEX for a header"),
        ("v", 2, "an = is followed by the regular expression"),
        ("value=x", 2, "an = is followed by the regular expression"),
        ("h:=x", 3, "h: is followed by the name of a header"),
        ("h:a", 4, "an = is followed"),
        ("v=a(", 4, "missing ), unterminated subpattern"),
        ("!k=é[", 5, "unterminated character set"),
        ("h:é=*", 5, "nothing to repeat"),
    ],
)
def test_what_is_no_selector_is_refused_with_its_place(mk, selector, at, says):
    mk.ok("produce", "t", "x")
    done = mk("consume", "t", "-G", "v=x", "-G", selector)
    assert (done.status, done.out) == (2, b"")
    assert re.search(rf"at character {at} stands ", done.err) and says in done.err
    assert "Traceback" not in done.err
    facts = json.loads(mk("consume", "t", "-G", selector, "--json").err)["facts"]
    assert facts["position"] == at - 1


def test_an_expression_that_warns_says_nothing(mk):
    mk.ok("produce", "t", "x[[a")
    assert mk("consume", "t", "-G", "v=[[a]").err == ""


def test_bytes_that_are_no_text_can_be_looked_for(mk):
    mk.ok("produce", "t", stdin=b"\xff\xfe\nplain\n\xc3\xa9\n")
    assert mk.ok("consume", "t", "-G", b"v=\xff".decode(errors="surrogateescape")) == b"\xff\xfe\n"
    assert mk.ok("consume", "t", "-G", r"v=^\xc3") == b"\xc3\xa9\n"
    assert mk.ok("consume", "t", "-G", "v=é") == b"\xc3\xa9\n"
