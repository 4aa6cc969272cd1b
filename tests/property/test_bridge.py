"""Bridges over lost offsets: CRC-32C run backwards, and batches without records that tile and parse."""

from hypothesis import given
from hypothesis import strategies as st

from mk.records.bridge import bridge, chain_before, crc32c_before
from mk.records.codecs import crc32c
from mk.records.record_batch import COMPACTED, HEADER_SIZE, encode_lines, parse_header

U32 = st.integers(0, (1 << 32) - 1)


@given(st.binary(max_size=100), U32)
def test_what_runs_forward_runs_backward(data, crc):
    assert crc32c_before(data, crc32c(data, crc)) == crc
    assert crc32c(data, crc32c_before(data, crc)) == crc


@given(U32, st.integers(1, 5), st.integers(0, 1 << 40))
def test_the_chain_in_front_of_a_batch_is_the_one_that_it_continues(previous, count, offset):
    batch = encode_lines(b"x\n" * count, count=count, timestamp_ms=7)
    header = batch.stamp(offset, 1, 0, batch.chain_after(previous))
    assert chain_before(parse_header(header)) == previous


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 34), st.integers(0, (1 << 64) - 1), U32)
def test_a_bridge_covers_each_offset_once_and_holds_no_record(first, count, epoch, chain):
    data = bridge(first, first + count, epoch, chain)
    offset = first
    for at in range(0, len(data), HEADER_SIZE):
        batch = parse_header(data, at)
        assert (batch.base_offset, batch.record_count, batch.leader_epoch, batch.chain) == (offset, 0, epoch, chain)
        assert batch.attributes & COMPACTED
        assert batch.check_payload(b"")
        batch.prove()
        assert batch.records("t", 0) == []
        offset = batch.next_offset
    assert offset == first + count
