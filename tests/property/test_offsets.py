"""Offsets against plain models: spellings come back, and a range of a topic is what a list says it is."""

import contextlib
import itertools
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mk
from mk.consumer.offset_spec import OffsetRange, OffsetSpec, is_reversed, parse_offset_range, parse_offset_spec
from mk.errors import OffsetOutOfRangeError, UsageError

numbers = st.integers(0, 10**18 - 1)
small = st.integers(0, 14)
times = st.integers(-62_135_596_800_000, 253_402_300_799_999)


def positions(numbers, times):
    return st.one_of(
        st.sampled_from([OffsetSpec("start"), OffsetSpec("end")]),
        st.builds(OffsetSpec, st.sampled_from(["at", "after-start", "before-end"]), numbers),
        st.builds(OffsetSpec, st.just("time"), times),
    )


groups = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,9}[A-Za-z0-9_-])?", fullmatch=True)
groups = groups.filter(lambda name: ".deleted" not in name).map(lambda name: OffsetSpec("group", group=name))
places = st.one_of(positions(numbers, times), groups)


@given(places)
def test_a_position_comes_back_from_its_spelling(position):
    assert parse_offset_spec(str(position)) == position
    assert parse_offset_range(str(position)) == OffsetRange(position)


@given(st.none() | places, st.none() | places)
def test_a_range_comes_back_from_its_spelling(first, stop):
    if first is None and stop is None or is_reversed(first, stop):
        return
    if (
        first is not None
        and first.kind == "time"
        and stop is not None
        and stop.kind not in ("time", "end", "start", "group")
    ):
        return  # Behind a time a number is a time as well: such a range is said by two options.
    meant = OffsetRange(first, stop)
    assert parse_offset_range(str(meant)) == meant


@given(st.dictionaries(st.integers(0, 4095), places, min_size=2, max_size=5))
def test_positions_by_partition_come_back_from_their_spelling(by_partition):
    meant = OffsetRange(by_partition=by_partition)
    assert parse_offset_range(str(meant)) == meant


@settings(max_examples=3000)
@given(st.text(alphabet="startend+-@:,0123456789hmT sgroupxé", max_size=24))
def test_any_text_is_understood_or_refused_with_its_place(text):
    try:
        meant = parse_offset_range(text, now_ms=1_795_428_000_000)
    except UsageError as error:
        assert error.why and error.fix
        assert 0 <= error.facts["position"] <= len(text)
    else:
        assert meant.first or meant.stop or meant.by_partition


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory() as directory, mk.connect(f"{directory}/log", create=True) as cluster:
        yield cluster


_names = itertools.count()
moments = st.integers(1000, 1030)
batches = st.lists(st.lists(moments, min_size=1, max_size=4), max_size=4)


class Model:
    """One partition as a list of times."""

    def __init__(self, batches):
        self.times = list(itertools.chain(*batches))

    def offset(self, position):
        end = len(self.times)
        if position.kind == "time":
            return next((offset for offset, time in enumerate(self.times) if time >= position.value), end)
        return {
            "start": 0,
            "end": end,
            "at": position.value,
            "after-start": min(position.value, end),
            "before-end": max(0, end - position.value),
        }[position.kind]

    def range(self, first, stop):
        begin = 0 if first is None else self.offset(first)
        return range(begin, max(begin, min(self.offset(stop) if stop else len(self.times), len(self.times))))


def make(cluster, partitions):
    """Make a topic of these batches, some of lines and some of columns, and return its name."""
    name = f"t{next(_names)}"
    cluster.create_topic(name, partitions=len(partitions))
    for number, of_it in enumerate(partitions):
        with cluster.producer(name, partition=number, acks=0) as producer:
            for batch in of_it:
                for time in batch:
                    producer.send(b"v", timestamp_ms=time)
                producer.flush()
    return name


def read(cluster, name, **options):
    consumer = cluster.consumer([name], **options)
    found = {}
    for record in consumer:
        found.setdefault(record.partition, []).append(record.offset)
    consumer.close()
    return found


spots = positions(small, moments)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(batches, min_size=1, max_size=3), st.lists(st.tuples(st.none() | spots, st.none() | spots), max_size=12)
)
def test_ranges_are_what_a_list_says(cluster, partitions, ranges):
    name = make(cluster, partitions)
    models = [Model(of_it) for of_it in partitions]
    for first, stop in ranges:
        expected = {number: list(model.range(first, stop)) for number, model in enumerate(models)}
        expected = {number: offsets for number, offsets in expected.items() if offsets}
        is_beyond = first is not None and all(model.offset(first) > len(model.times) for model in models)
        with pytest.raises(OffsetOutOfRangeError) if is_beyond else contextlib.nullcontext():
            assert read(cluster, name, offset=first, stop=stop) == expected


def newest(models, ranges, count):
    """Take records from the ends, the newest first, of equals the one of the later partition."""
    left = {number: list(offsets) for number, offsets in enumerate(ranges)}
    taken = {number: [] for number in left}
    for _ in range(count):
        ends = [(models[number].times[offsets[-1]], number) for number, offsets in left.items() if offsets]
        if not ends:
            break
        _, number = max(ends)
        taken[number].insert(0, left[number].pop())
    return {number: offsets for number, offsets in taken.items() if offsets}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(batches, min_size=1, max_size=4),
    st.lists(st.tuples(st.none() | spots, st.none() | spots, small), max_size=12),
)
def test_the_tail_is_what_a_list_says(cluster, partitions, tails):
    name = make(cluster, partitions)
    models = [Model(of_it) for of_it in partitions]
    for first, stop, count in tails:
        if first is not None and first.kind == "at":
            first = None
        ranges = [model.range(first, stop) for model in models]
        expected = newest(models, ranges, count)
        got = read(cluster, name, offset=first, stop=stop, tail=count)
        assert got == expected
