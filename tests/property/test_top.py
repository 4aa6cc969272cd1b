"""What `mk top` draws and counts, for any documents, sizes and keys."""

import math

from hypothesis import given
from hypothesis import strategies as st

from mk.cli.drawing import ASCII, BLOCKS, bar, cells, columns, count_text, cut, fit, rate_text, size_text, span_text
from mk.cli.key_input import keys_in
from mk.cli.top_rates import rated
from mk.cli.top_view import View, shares

LETTERS = st.sampled_from([ASCII, BLOCKS])
TEXT = st.text(st.characters(blacklist_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn")), max_size=30)
COUNT = st.one_of(st.none(), st.integers(0, 1 << 62))


@given(TEXT, st.integers(0, 40), LETTERS, st.booleans())
def test_a_text_that_was_fitted_has_the_width(text, width, drawn, is_right):
    assert cells(fit(text, width, drawn, is_right=is_right)) == width
    assert cells(cut(text, width, drawn)) <= width


@given(st.floats(0, 1e18), st.floats(0, 1e18), st.integers(0, 50), LETTERS)
def test_a_bar_is_as_long_as_its_part(value, largest, width, drawn):
    drawn_bar = bar(value, largest, width, drawn)
    assert len(drawn_bar) <= width
    if value > 0 and largest > 0 and width:
        assert drawn_bar
        assert abs(len(drawn_bar) - min(value / largest, 1) * width) <= 1
    else:
        assert drawn_bar == ""


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e12)), max_size=40), LETTERS)
def test_columns_are_as_high_as_their_values(values, drawn):
    largest = max((value for value in values if value is not None), default=0.0)
    shown = columns(values, largest, drawn)
    assert len(shown) == len(values)
    heights = [drawn.columns.index(letter) for letter, value in zip(shown, values) if value is not None]
    known = [value for value in values if value is not None]
    assert all((a <= b) or (x >= y) for a, x in zip(heights, known) for b, y in zip(heights, known))


@given(st.floats(0, 1e17))
def test_numbers_are_short_and_near(number):
    units = {"k": 1e3, "M": 1e6, "G": 1e9}
    for text in (count_text(number), rate_text(number)):
        assert len(text) <= 10 or number > 1e12
        value = float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)
        assert math.isclose(value, number, rel_tol=0.006, abs_tol=0.51)
    assert len(size_text(number)) <= 8 or number > 2**49
    assert len(span_text(number)) <= 13


@given(st.integers(0, 60), st.lists(st.integers(0, 100), min_size=1, max_size=4))
def test_tables_share_the_room(room, wants):
    given_ = shares(room, wants)
    assert all(lines >= 1 for lines in given_)
    assert sum(given_) <= max(room, len(wants))
    for lines, want in zip(given_, wants):
        assert lines <= max(1, want)
        if lines < want:  # Whoever wants more got no less than any other.
            assert all(lines >= other - len(wants) for other in given_)
    if sum(max(1, want) for want in wants) <= room:
        assert given_ == [max(1, want) for want in wants]


@given(st.binary(max_size=60), st.integers(0, 60))
def test_keys_are_the_same_however_their_bytes_come(data, at):
    at = min(at, len(data))
    whole, rest = keys_in(data)
    first, waiting = keys_in(data[:at])
    second, rest_of_second = keys_in(waiting + data[at:])
    assert first + second == whole
    assert rest_of_second == rest


# Documents as Cluster.sample returns them.

PARTITION = st.fixed_dictionaries(
    {
        "high_watermark": st.integers(0, 1 << 40),
        "log_start_offset": st.just(0),
        "size_bytes": st.integers(0, 1 << 40),
        "appended_bytes": st.integers(0, 1 << 40),
        "run": st.integers(0, 1),
        "leader": st.sampled_from(["this", "other"]),
        "leader_epoch": st.integers(0, 3),
        "last_write_ms": COUNT.filter(lambda value: value is None or value < 1 << 40),
        "failed": st.booleans(),
        "problem": st.sampled_from([None, None, "state: neither of its slots can be read"]),
    }
)


CLOCK = st.floats(1, 1e9)


@st.composite
def samples(draw, clock_ms=CLOCK):
    topics, keys = [], []
    for name in draw(st.lists(st.sampled_from(["a", "orders", "x" * 60, "b.c"]), unique=True)):
        rows = draw(st.lists(PARTITION, max_size=5))
        rows = [{**row, "partition": number} for number, row in enumerate(rows)]
        for row in rows:
            if row["problem"]:
                row.update(
                    dict.fromkeys(("high_watermark", "log_start_offset", "size_bytes", "leader", "leader_epoch"))
                )
        problem = draw(st.sampled_from([None, None, "topic.json: damaged"]))
        if problem:
            rows = []
        topics.append(
            {"topic": name, "topic_id": None if problem else f"id-{name}", "problem": problem, "partitions": rows}
        )
        keys += [(name, row["partition"]) for row in rows]
    groups = []
    for name in draw(st.lists(st.sampled_from(["g", "readers", "h" * 50]), unique=True)):
        rows = [
            {
                "topic": topic,
                "topic_id": f"id-{topic}",
                "partition": partition,
                "committed_offset": draw(COUNT),
                "committed_ms": 5,
                "lag": draw(COUNT),
                "is_replicated": False,
                "member": draw(st.sampled_from([None, "m1", "m2"])),
                "problem": draw(st.sampled_from([None, "records were lost"])),
            }
            for topic, partition in (draw(st.lists(st.sampled_from(keys), unique=True)) if keys else [])
        ]
        lags = [row["lag"] for row in rows if row["lag"] is not None]
        member = {"member": "m1", "host": draw(TEXT), "pid": 7, "user": "u", "command": draw(st.text(max_size=20))}
        groups.append(
            {
                "group": name,
                "members": [{**member, "since_ms": 3}] * draw(st.integers(0, 1)),
                "lag": sum(lags) if lags else None,
                "last_commit_ms": 5,
                "problem": None,
                "offsets": rows,
            }
        )
    rows = [
        {"topic": topic, "partition": number, "next_offset": 3, "lag": draw(COUNT), "seen_ms": 5}
        for topic, number in keys
    ]
    replicas = [
        {
            "directory_id": "other",
            "address": "far:/x",
            "role": role,
            "lag": draw(COUNT),
            "seen_ms": 5,
            "partitions": rows,
        }
        for role in draw(st.lists(st.sampled_from(["leader", "follower"]), unique=True))
    ]
    # What another host sends need not go together.
    unseen = draw(
        st.sampled_from(
            [[], [{"what": "groups", "why": "its groups/ is closed to you"}], [{"what": "\n", "why": "\x1b[1m"}]]
        )
    )
    return {
        "directory_id": "this",
        "clock_ms": draw(clock_ms),
        "time_ms": 1_800_000_000_000,
        "topics": topics,
        "groups": draw(st.sampled_from([None, groups])),
        "replicas": replicas,
        "unseen": unseen,
    }


KEYS = st.sampled_from(
    ["up", "down", "left", "right", "enter", "escape", "tab", "back tab", "home", "end", "page up", "page down"]
    + [*"sSrjkgG?/ae([", "backspace"]
)
SIZES = st.tuples(st.integers(1, 220), st.integers(1, 70))


@given(st.lists(st.one_of(samples(), KEYS, SIZES), max_size=25), LETTERS)
def test_a_frame_always_fills_the_terminal_exactly(events, drawn):
    view = View("/srv/mk", drawn, interval_ms=2000)
    width, height = 80, 24
    for event in events:
        if isinstance(event, dict):
            view.take(event)
        elif isinstance(event, str):
            view.press(event)
        else:
            width, height = event
        lines = view.frame(width, height)
        assert len(lines) == height
        for text, _ in lines:
            assert cells(text) == width
            assert text.isprintable()
            if drawn is ASCII:
                assert all(
                    letter.isascii() or letter not in BLOCKS.bar + BLOCKS.columns + BLOCKS.cut for letter in text
                )


@given(samples(st.just(1000.0)), samples(st.just(3000.0)))
def test_rates_are_differences_over_the_time_between(before, now):
    document = rated(before, now, "/srv/mk")
    assert document["elapsed_ms"] == 2000
    olds = {(topic["topic_id"], row["partition"]): row for topic in before["topics"] for row in topic["partitions"]}
    news = {(topic["topic_id"], row["partition"]): row for topic in now["topics"] for row in topic["partitions"]}
    for topic in document["topics"]:
        rates = []
        for row in topic["partitions"]:
            old, new = olds.get((topic["topic_id"], row["partition"])), news[topic["topic_id"], row["partition"]]
            is_told = old and not old["problem"] and not new["problem"] and old["run"] == new["run"]
            assert (row["records_in_per_s"] is not None) == bool(is_told)
            if is_told:
                assert row["records_in_per_s"] == (new["high_watermark"] - old["high_watermark"]) / 2
            if not new["problem"]:
                rates.append(row["records_in_per_s"])
        if None in rates:
            assert topic["records_in_per_s"] is None


@given(samples())
def test_a_first_look_has_no_rates(now):
    document = rated(None, now, "/srv/mk")
    assert document["elapsed_ms"] is None

    def look(value):
        if isinstance(value, dict):
            for key, one in value.items():
                if key.endswith("_per_s"):
                    assert one is None, key
                look(one)
        elif isinstance(value, list):
            list(map(look, value))

    look(document)
