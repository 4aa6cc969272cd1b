"""What is merged, reversed and filtered against lists of records: random topics, ranges, batches and counts."""

import itertools
import re
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mk
from mk.consumer import merging, reversing
from mk.consumer.matching import matching
from mk.consumer.offset_spec import OffsetSpec
from mk.formats.record_filter import parse_selector
from mk.records import record_batch

_names = itertools.count()


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory() as directory, mk.connect(f"{directory}/log", create=True) as cluster:
        yield cluster


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    """So that what is decoded, turned round and passed on in pieces needs several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_batch, "_SLICE_RECORDS", 3)
        patch.setattr(merging, "_MOST_RECORDS", 4)
        patch.setattr(reversing, "_PIECE_BYTES", 9)
        patch.setattr(reversing, "_SLICE_RECORDS", 2)
        patch.setattr(reversing, "_PIECE_RECORDS", 3)
        patch.setattr(reversing, "_FETCH_BYTES", 300)
        yield


times = st.integers(1000, 1012)
values = st.sampled_from([b"a", b"b", b"ab", b"", b"a\nb", None])
one_time = st.builds(
    lambda time, key, some: [(time, key, value, ()) for value in some],
    times,
    st.sampled_from([None, b"", b"k"]),
    st.lists(st.sampled_from([b"a", b"b", b"ab", b""]), min_size=1, max_size=8),
)
mixed = st.lists(
    st.tuples(
        times, st.sampled_from([None, b"", b"k", b"l"]), values, st.sampled_from([(), ((b"h", b"a"),), ((b"h", None),)])
    ),
    min_size=1,
    max_size=8,
)
partitions = st.lists(st.lists(st.one_of(one_time, mixed), max_size=4), min_size=1, max_size=3)


def make(cluster, contents):
    """Make topics of these partitions of batches of records, the same names sorted as made; return names and records."""
    made = []
    number = next(_names)
    for at, of_topic in enumerate(contents):
        name = f"t{number:06}-{at}"
        cluster.create_topic(name, partitions=len(of_topic))
        for partition, batches in enumerate(of_topic):
            offset = 0
            with cluster.producer(name, partition=partition, acks=0, compression=[None, "gzip"][at % 2]) as producer:
                for batch in batches:
                    for time, key, value, headers in batch:
                        producer.send(value, key=key, timestamp_ms=time, headers=headers)
                        made.append((name, partition, offset, time, key, value, headers))
                        offset += 1
                    producer.flush()
    return [f"t{number:06}-{at}" for at in range(len(contents))], made


def by_partition(records):
    """Return the records of each partition, in order of topic and partition."""
    return [
        list(some) for _, some in itertools.groupby(sorted(records, key=lambda one: one[:3]), key=lambda one: one[:2])
    ]


def merged(records, *, backward=False):
    """Merge one by one: of the next of each partition, the oldest; backward, of the last of each, the newest."""
    left = by_partition(records)
    out = []
    while left := [some for some in left if some]:
        if backward:
            out.append(max(left, key=lambda some: (some[-1][3], some[-1][:2])).pop())
        else:
            out.append(min(left, key=lambda some: (some[0][3], some[0][:2])).pop(0))
    return out


def seen(batches):
    return [
        (one.topic, one.partition, one.offset, one.timestamp_ms, one.key, one.value, one.headers)
        for batch in batches
        for one in batch.records()
    ]


def as_lines(batches):
    """Return the values as they are printed, from lines where there are any."""
    out = b""
    for batch in batches:
        block = batch.lines()
        if block is None:
            block = b"".join((record.value or b"") + b"\n" for record in batch.records())
        out += bytes(block)
    return out


def read(consumer, selectors=(), count=None):
    """Read as the command does: filtered, then cut; each fetch is used before the next one is asked for."""
    records, lines, positions = [], b"", {}
    with consumer:
        for fetch in (
            matching(consumer.fetches(), [parse_selector(one) for one in selectors])
            if selectors
            else consumer.fetches()
        ):
            for batch in fetch:
                if count is not None:
                    if not count:
                        return records, lines, positions
                    batch.limit(count)
                    count -= batch.record_count
                got = seen([batch])
                assert len(got) == batch.record_count
                records += got
                lines += as_lines([batch])
                positions.update(
                    {(topic, partition): offset for topic, partition, offset, _ in batch.positions_behind()}
                )
    return records, lines, positions


counts = st.none() | st.integers(1, 12)
selectors = st.lists(
    st.sampled_from(["v=a", "!v=a", "v=^b?$", "!k=.", "k=", "h:h=a", "!h:h=a", "v=\\Aa\\Z", "v=b$"]), max_size=2
)


@settings(max_examples=40)
@given(st.lists(partitions, min_size=1, max_size=2), selectors, counts)
def test_merging_filtering_and_counting_are_what_lists_say(cluster, contents, some, count):
    names, made = make(cluster, contents)
    wanted = [parse_selector(one) for one in some]

    def fits(record):
        _, _, _, _, key, value, headers = record
        for one in wanted:
            data = {"k": [key], "v": [value], "h": [v for n, v in headers if n == one.name]}[one.part]
            if any(d is not None and re.search(one.regex, d) is not None for d in data) == one.is_negated:
                return False
        return True

    for backward in (False, True):
        everything = merged(made, backward=backward)
        expected = [one for one in everything if fits(one)][:count]
        got, lines, positions = read(cluster.consumer(names, merge=True, reverse=backward), some, count)
        assert got == expected
        assert lines == b"".join((one[5] or b"") + b"\n" for one in expected)
        if backward:
            continue  # Nobody goes on behind what was read backward.
        if count is None or len(expected) < count:
            assert positions == {
                key: len(list(of))
                for key, of in itertools.groupby(sorted(made, key=lambda one: one[:3]), key=lambda one: one[:2])
            }
        elif expected:
            # Up to the last one that was printed, and not a record further.
            before = everything[: everything.index(expected[-1]) + 1]
            last = {one[:2]: one[2] + 1 for one in before}
            assert positions == last
    # Unmerged, of each partition.
    for backward in (False, True):
        got, _, _ = read(cluster.consumer(names, reverse=backward), some)
        assert by_partition(got) == by_partition([one for one in made if fits(one)])
        for name, partition in {one[:2] for one in got}:
            offsets = [one[2] for one in got if one[:2] == (name, partition)]
            assert offsets == sorted(offsets, reverse=backward)
        if count is not None:
            assert len(read(cluster.consumer(names, reverse=backward), some, count)[0]) == min(count, len(got))


spots = st.none() | st.builds(OffsetSpec, st.sampled_from(["after-start", "before-end"]), st.integers(0, 10))


@settings(max_examples=25)
@given(st.lists(partitions, min_size=1, max_size=2), spots, spots)
def test_ranges_are_merged_and_reversed_as_lists_say(cluster, contents, first, stop):
    names, made = make(cluster, contents)

    def offset(spot, end, default):
        return default if spot is None else spot.resolve(0, end)

    inside = []
    for of_one in by_partition(made):
        end = len(of_one)
        inside += of_one[offset(first, end, 0) : offset(stop, end, end)]
    for backward in (False, True):
        got, _, _ = read(cluster.consumer(names, merge=True, reverse=backward, offset=first, stop=stop))
        assert got == merged(inside, backward=backward)


@settings(max_examples=15)
@given(st.lists(partitions, min_size=1, max_size=2))
def test_backward_is_forward_turned_round_where_times_increase(cluster, contents):
    ordered = [
        [[sorted(itertools.chain(*batches), key=lambda one: one[0])] if batches else [] for batches in of_topic]
        for of_topic in contents
    ]
    names, _ = make(cluster, ordered)
    forward, _, _ = read(cluster.consumer(names, merge=True))
    backward, _, _ = read(cluster.consumer(names, merge=True, reverse=True))
    assert backward == forward[::-1]
    assert (
        read(cluster.consumer(names, merge=True, tail=5))[0]
        == read(cluster.consumer(names, merge=True, reverse=True, tail=5))[0][::-1]
    )
