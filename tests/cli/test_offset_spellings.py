"""Every spelling of an offset and of a time that is documented does what is documented, as a process."""

import json
import shlex
import time

import pytest
from committing import commit
from running import Mk

import mk as api
from mk.consumer import offset_spellings
from mk.consumer.offset_spellings import Spelling

pytestmark = [pytest.mark.every_case, pytest.mark.both_engines]

FIRST_MS = 1795428000000  # 2026-11-23T10:00Z
DAY_MS = 86_400_000
READ = [row for _, rows in offset_spellings.sections() for row in rows if row.reads]
RELATIVE = {
    "now": lambda now: now,
    "today": lambda now: now - now % DAY_MS,
    "yesterday": lambda now: now - now % DAY_MS - DAY_MS,
    "-1h30m": lambda now: now - 5_400_000,
}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The topic of EXAMPLE_TOPIC, as `t`."""
    mk = Mk(tmp_path_factory.mktemp("example") / "log")
    with api.connect(mk.location, create=True) as cluster:
        cluster.create_topic("t", partitions=2)
        for partition, count in ((0, 10), (1, 5)):
            with cluster.producer("t", partition=partition) as producer:
                for minute in range(count):
                    producer.send(b"v", timestamp_ms=FIRST_MS + minute * 60_000)
    commit(mk, "billing", "t", 0, 6)
    return mk


def read(mk: Mk, *words: str) -> str:
    """Return what was read in the way that the table says it."""
    offsets: dict[int, list[int]] = {}
    for line in mk.ok("consume", "t", "-J", *words).splitlines():
        record = json.loads(line)
        offsets.setdefault(record["partition"], []).append(record["offset"])
    spans = []
    for partition, of_it in sorted(offsets.items()):
        assert of_it == list(range(of_it[0], of_it[-1] + 1))
        spans.append(f"{partition}: {of_it[0]}" + (f"-{of_it[-1]}" if len(of_it) > 1 else ""))
    return "  ".join(spans) or "nothing"


@pytest.mark.parametrize("row", READ, ids=lambda row: row.example)
def test_an_example_reads_what_is_said_of_it(example, row: Spelling):
    assert read(example, *shlex.split(row.example)) == row.reads


@pytest.mark.parametrize("row", [row for row in READ if "tail" not in row.example], ids=lambda row: row.example)
def test_following_reads_the_same_first(example, row: Spelling):
    assert read(example, *shlex.split(row.example), "-F", "--idle", "50ms") == row.reads


def test_every_time_that_depends_on_the_clock_has_a_model():
    relative = {row.spelling for row in offset_spellings.TIMES if not row.reads}
    assert relative == set(RELATIVE)


@pytest.mark.parametrize("row", [row for row in offset_spellings.TIMES if not row.reads], ids=lambda row: row.example)
def test_times_that_depend_on_the_clock(mk, row: Spelling):
    now = time.time_ns() // 1_000_000
    margin = 600_000  # The records are so far from what is asked for that the time this takes does not matter.
    meant = [RELATIVE[spelling](now) for spelling in RELATIVE]
    times = sorted({moment + side for moment in meant for side in (-margin, margin)})
    with api.connect(mk.location, create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t") as producer:
            for moment in times:
                producer.send(b"%d" % moment, timestamp_ms=moment)
    words = shlex.split(row.example)
    printed = [int(line) for line in mk.ok("consume", "t", *words).splitlines()]
    now -= now % DAY_MS - (time.time_ns() // 1_000_000) % DAY_MS if now % DAY_MS > DAY_MS - 60_000 else 0
    since = RELATIVE[words[1]](now)
    until = RELATIVE[words[3]](now) if "--until" in words else times[-1] + 1
    assert printed == [moment for moment in times if since <= moment < until]
    assert mk.ok("consume", "t", "-o", f"@{words[1]}:{words[3] if '--until' in words else ''}") == b"".join(
        b"%d\n" % moment for moment in printed
    )


@pytest.mark.parametrize(("words", "says"), offset_spellings.WRONG, ids=[words for words, _ in offset_spellings.WRONG])
def test_a_wrong_spelling_is_refused_and_says_what_is_accepted(example, words, says):
    done = example("consume", "t", *shlex.split(words))
    assert (done.status, done.out) == (2, b"")
    first, *rest = done.err.splitlines()
    assert first.startswith("mk: error: ")
    assert says in done.err
    assert all(line.startswith(("  why: ", "  fix: ")) for line in rest)


def test_help_and_manual_page_have_every_example(example):
    from mk.cli import manual

    text = example.ok("help", "offsets").decode()
    page = manual.files()["mk-consume.1"]
    for _, rows in offset_spellings.sections():
        for row in rows:
            assert row.example in text and row.reads in text
            assert row.example.replace("-", "\\-").replace("'", "\\(aq") in page
