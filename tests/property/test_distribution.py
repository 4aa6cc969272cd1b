"""How records are spread over time: what the indexes tell, against counting the records; and the bars that are drawn of it."""

import bisect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mk
from mk.cli.distribution import over_partitions, over_time
from mk.cli.drawing import ASCII, BLOCKS, cells
from mk.storage.description import spans

TIMES = st.integers(0, 4_000_000_000_000)


@given(TIMES, TIMES, st.integers(2, 40))
def test_spans_hold_both_times_and_are_not_too_many(one, other, most):
    first, last = sorted((one, other))
    begin, step, count = spans(first, last, most)
    assert 1 <= count <= most
    assert begin <= first
    assert begin + step * (count - 1) <= last < begin + step * count


@pytest.mark.every_case
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 2000)), min_size=1, max_size=8),
        max_size=8,
    ),
    st.sampled_from([1, 3]),
    st.integers(0, 10),
)
def test_records_are_counted_where_they_were_appended(tmp_path_factory, batches, partitions, trim):
    base = 1_700_000_000_000
    with mk.connect(str(tmp_path_factory.mktemp("times") / "log"), create=True) as cluster:
        cluster.create_topic("t", partitions=partitions, config={"segment.bytes": 4096, "retention.ms": -1})
        logs = [[] for _ in range(partitions)]
        for number, batch in enumerate(batches):
            with cluster.producer("t", partition=number % partitions, acks=0) as producer:
                for time_ms, size in batch:
                    producer.send(b"x" * size, timestamp_ms=base + time_ms)
                    logs[number % partitions].append(base + time_ms)
        for partition, log in enumerate(logs):
            start = min(trim, len(log))
            if start:
                cluster.delete_records("t", partition, start)
            del log[:start]
        told = cluster.topic_times("t")
        if not any(logs):
            assert told == {"from_ms": None, "step_ms": None, "records": []}
            return
        expected = [0] * len(told["records"])
        for log in logs:
            latest = 0
            for time_ms in log:
                latest = max(latest, time_ms)
                at = bisect.bisect_right([told["from_ms"] + told["step_ms"] * n for n in range(len(expected))], latest)
                expected[max(at - 1, 0)] += 1
        assert told["records"] == expected


@given(
    st.lists(st.integers(0, 1 << 62), max_size=30),
    st.integers(0, 4_000_000_000_000),
    st.sampled_from([1000, 30_000, 3_600_000, 86_400_000, 1234]),
    st.integers(0, 250),
    st.sampled_from([ASCII, BLOCKS]),
)
def test_bars_fit_the_terminal_and_have_a_line_each(records, from_ms, step_ms, width, drawn):
    lines = over_time({"from_ms": from_ms, "step_ms": step_ms, "records": records}, width, drawn)
    assert len(lines) == (len(records) + 1 if records else 0)
    rows = [{"partition": number, "records": count} for number, count in enumerate(records)]
    lines += over_partitions(rows, width, drawn)
    assert all(cells(line) <= width for line in lines)
