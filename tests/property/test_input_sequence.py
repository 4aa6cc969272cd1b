"""However records are counted and however they are cut into batches, each gets its own number, and stored ones are left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mk.producer.input_sequence import InputSequence
from mk.records.record_batch import encode_lines
from mk.storage.producer_pin import ProducerPin

PARTITIONS = 3
CALLS = st.lists(
    st.tuples(st.just("one"), st.integers(0, PARTITIONS - 1), st.integers(1, 9) | st.just(5000))
    | st.tuples(st.just("routed"), st.lists(st.integers(0, PARTITIONS - 1), max_size=12))
    | st.tuples(st.just("skip"), st.integers(0, 5)),
    max_size=12,
)


@given(
    CALLS,
    st.lists(st.integers(-1, 60), min_size=PARTITIONS, max_size=PARTITIONS),
    st.lists(st.integers(1, 40) | st.integers(1000, 6000), min_size=1),
)
def test_each_record_keeps_its_number(calls: list[tuple], stored: list[int], cuts: list[int]) -> None:  # type: ignore[type-arg]
    counted = InputSequence(ProducerPin("import-7", PARTITIONS, "crc32", None))
    counted.stored_sequences = dict(enumerate(stored))
    sent: list[list[int]] = [[] for _ in range(PARTITIONS)]
    number = left_out = 0
    for kind, *rest in calls:
        assert counted.next_sequence == number
        if kind == "one":
            partition, count = rest
            numbers = range(number, number + count)
            skip = counted.take(partition, count)
            sent[partition] += numbers[skip:]
            left_out += skip
            assert all(sequence <= stored[partition] for sequence in numbers[:skip])
            number += count
        elif kind == "routed":
            (targets,) = rest
            if counted.take_if_stored(len(targets)):
                assert all(number + at <= stored[target] for at, target in enumerate(targets))
                left_out += len(targets)
            else:
                for partition in range(PARTITIONS):
                    routed = [number + at for at, target in enumerate(targets) if target == partition]
                    if routed:
                        skip = counted.take_routed(partition, routed)
                        sent[partition] += routed[skip:]
                        left_out += skip
                counted.next_sequence += len(targets)
            number += len(targets)
        else:
            counted.next_sequence += rest[0]
            number += rest[0]
    assert counted.records_stored_before == left_out
    for partition, numbers in enumerate(sent):
        assert all(sequence > stored[partition] for sequence in numbers)
        batches, at = [], 0
        while at < len(numbers):
            count = min(cuts[len(batches) % len(cuts)], len(numbers) - at)
            batches.append(encode_lines(b"\n" * count, count=count, timestamp_ms=1))
            at += count
        counted.number(partition, batches)
        assert [sequence for batch in batches for sequence in batch.sequences] == numbers
        for batch in batches:
            assert batch.producer_id == counted.pin.producer_id
            assert (batch.first_sequence, batch.last_sequence) == (batch.sequences[0], batch.sequences[-1])
