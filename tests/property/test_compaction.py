"""Rewriting batches for compaction, held against a plain dict: what stays, where, and how the batches tile."""

from hypothesis import given
from hypothesis import strategies as st

from mk.records.compaction import Compaction, OffsetMap
from mk.records.record_batch import COMPACTED, HEADER_SIZE, encode_columns, encode_lines, parse_header

KEYS = st.one_of(st.none(), st.sampled_from([b"", b"a", b"b", b"c", b"k" * 33, b"k" * 34]))
RECORDS = st.tuples(
    KEYS,
    st.one_of(st.none(), st.binary(max_size=6), st.just(b"x" * 5000)),
    st.integers(0, 5),
    st.sampled_from([(), ((b"h", b"1"),), ((b"h", None),)]),
)
BATCHES = st.lists(
    st.tuples(st.lists(RECORDS, min_size=1, max_size=6), st.integers(0, 1), st.sampled_from([0, 3]), st.booleans()),
    min_size=1,
    max_size=12,
)


def log_of(drawn):
    """Return the batches of a log, each with all its bytes, and its records by offset."""
    batches, records, offset, chain, epoch = [], {}, 0, 0, 0
    for rows, more_epoch, codec, one_key in drawn:
        epoch += more_epoch
        keys, values, times, headers = (list(column) for column in zip(*rows, strict=True))
        if one_key and None not in values and not any(b"\n" in value for value in values):
            keys, times, headers = [keys[0]] * len(rows), [100] * len(rows), [()] * len(rows)
            block = b"".join(value + b"\n" for value in values)
            encoded = encode_lines(block, count=len(rows), timestamp_ms=100, key=keys[0], codec=codec)
        else:
            times = [100 + time for time in times]
            encoded = encode_columns(
                values, keys=keys, timestamps=times, headers=headers, base_timestamp=times[0], codec=codec
            )
        chain = encoded.chain_after(chain)
        data = encoded.stamp(offset, epoch, 0, chain) + b"".join(bytes(part) for part in encoded.payload)
        batches.append(parsed(data))
        for row in zip(keys, values, times, headers, strict=True):
            records[offset] = row
            offset += 1
    return batches, records


def parsed(data):
    batch = parse_header(data)
    assert batch.check_payload(memoryview(data)[HEADER_SIZE:])
    return batch, memoryview(data)


def compacted(batches, *, max_bytes=1 << 20, horizon=0, boundaries=()):
    """Return the batches afterwards, and up to where the map reached."""
    keys = OffsetMap(max_bytes)
    end = 0
    for batch, _ in batches:
        if not keys.take(batch):
            break
        end = batch.next_offset
    work = Compaction(keys, horizon=horizon, boundaries=boundaries)
    found = [one for batch, data in batches for one in work.add(batch, data)]
    found += work.flush()
    return [parsed(b"".join(bytes(part) for part in one.data)) for one in found], end, work


def records_of(batches):
    return {
        record.offset: (record.key, record.value, record.timestamp_ms, record.headers)
        for batch, _ in batches
        for record in batch.records("t", 0)
    }


@given(BATCHES, st.sampled_from([1 << 20, 150, 400]), st.integers(0, 40))
def test_the_last_record_of_each_key_stays_as_it_was_and_nothing_else_changes(drawn, max_bytes, horizon):
    batches, records = log_of(drawn)
    after, end, work = compacted(batches, max_bytes=max_bytes, horizon=horizon)
    last = {key: offset for offset, (key, *_) in records.items() if key is not None and offset < end}
    expected = {
        offset: row
        for offset, row in records.items()
        if row[0] is None or (last.get(row[0], -1) <= offset and not (row[1] is None and offset < horizon))
    }
    assert records_of(after) == expected
    assert (work.records_before, work.records_after) == (len(records), len(expected))
    dropped = [offset for offset in records if offset not in expected and last.get(records[offset][0], -1) <= offset]
    assert work.tombstones_dropped == len(dropped)
    assert work.dropped_to == max(dropped, default=-1) + 1


@given(BATCHES, st.sets(st.integers(0, 70)))
def test_batches_tile_the_offsets_within_an_epoch_and_end_at_boundaries(drawn, boundaries):
    batches, _ = log_of(drawn)
    before = {batch.next_offset: batch for batch, _ in batches}
    after, _, _ = compacted(batches, boundaries=boundaries)
    offset = 0
    for batch, _ in after:
        assert batch.base_offset == offset
        offset = batch.next_offset
        original = before[offset]
        assert (batch.leader_epoch, batch.chain) == (original.leader_epoch, original.chain)
        covered = [one for one, _ in batches if batch.base_offset <= one.base_offset < offset]
        assert {one.leader_epoch for one in covered} == {batch.leader_epoch}
        if not batch.attributes & COMPACTED:
            assert len(covered) == 1
    assert offset == batches[-1][0].next_offset
    assert {boundary for boundary in boundaries if boundary in before} <= {batch.next_offset for batch, _ in after}


@given(BATCHES)
def test_where_every_batch_has_to_end_none_is_merged_with_another(drawn):
    batches, _ = log_of(drawn)
    ends = [batch.next_offset for batch, _ in batches]
    after, _, _ = compacted(batches, boundaries=ends)
    assert [batch.next_offset for batch, _ in after] == ends


@given(BATCHES)
def test_compacted_again_nothing_changes(drawn):
    batches, _ = log_of(drawn)
    once, _, _ = compacted(batches)
    twice, _, _ = compacted(once)
    assert records_of(once) == records_of(twice)
