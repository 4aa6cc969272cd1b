"""What fuzzing found: content whose checksums are right and which no mk writes, and lines that were half a record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mk
from mk.consumer.offset_spec import parse_offset_range
from mk.errors import ConfigurationError, CorruptStateError, NoSuchPartitionError, UsageError
from mk.formats.format_reader import FormatReader
from mk.formats.record_columns import BadRecordError, RecordColumns
from mk.groups import reset_journal
from mk.groups.replicated_offsets import _decode as decode_offset
from mk.maintenance import log_repair
from mk.records.codecs import CodecError, crc32c
from mk.records.compaction import Compaction, OffsetMap
from mk.records.record_batch import COMPACTED, HEADER_SIZE, EncodedBatch, RecordBatch, encode_lines, parse_header
from mk.storage import flat_json
from mk.storage.cleaner_checkpoint import CleanerCheckpoint, Cleaning, decode_checkpoint
from mk.storage.leader_epochs import decode_epochs
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_state import LogEnd, PartitionState, decode_slot, initial_state
from mk.storage.producer_state import ProducerState, decode_snapshot

ID = "0123456789abcdef" * 2


def on_disk(batch: EncodedBatch) -> tuple[RecordBatch, memoryview]:
    data = memoryview(batch.stamp(0, 0, 0, batch.chain_after(0)) + b"".join(map(bytes, batch.payload)))
    found = parse_header(data)
    assert found is not None
    assert found.check_payload(data[HEADER_SIZE:])
    return found, data


def compacted(*batches: EncodedBatch) -> list[RecordBatch]:
    keys = OffsetMap()
    log = [on_disk(batch) for batch in batches]
    for batch, _ in log:
        assert keys.take(batch)
    compaction = Compaction(keys, horizon=0)
    made = [one for batch, data in log for one in compaction.add(batch, data)] + list(compaction.flush())
    found = []
    for one in made:
        data = b"".join(map(bytes, one.data))
        batch = parse_header(data)
        assert batch is not None
        assert batch.check_payload(data[HEADER_SIZE:])
        found.append(batch)
    return found


@pytest.mark.parametrize("lines", [1, 3])
def test_a_compaction_refuses_lines_that_are_not_as_many_as_their_header_says(lines: int) -> None:
    """It raised IndexError at fewer, and gave more of them the offsets of others."""
    batch = encode_lines(b"v\n" * lines, count=2, timestamp_ms=5, key=b"k")
    with pytest.raises(CodecError):
        compacted(batch)


def test_a_compaction_keeps_the_last_line_of_a_batch_that_covers_more_offsets_than_it_has_lines() -> None:
    batch = encode_lines(b"old\nlast\n", count=2, timestamp_ms=5, key=b"k")
    batch.attributes |= COMPACTED
    batch.last_offset_delta = 8
    (found,) = compacted(batch)
    assert [(record.offset, record.value) for record in found.records("t", 0)] == [(1, b"last")]
    assert found.next_offset == 9


# Formats.


def read(form: str, line: bytes) -> RecordColumns:
    columns = RecordColumns()
    FormatReader(form).read_lines([line], 0, columns)
    return columns


@pytest.mark.parametrize("form", [r"%k{json} %v{json}\n", r"%v %T\n", r"%h{ %k=%v};%v{json}\n"])
def test_a_line_with_something_behind_its_last_field_is_no_record(form: str) -> None:
    """It was refused and stored all the same."""
    whole = {r"%v %T\n": b"v 7"}.get(form, b'"k" "v"' if "k{json}" in form else b' a=b;"v"')
    assert len(read(form, whole)) == 1
    columns = RecordColumns()
    with pytest.raises(BadRecordError):
        FormatReader(form).read_lines([whole + b"!"], 0, columns)
    assert len(columns) == 0


def test_a_time_in_two_zones_is_none() -> None:
    assert read(r"%d{iso} %v\n", b"2026-11-23T10:00:00.000Z v").timestamps == [1_795_428_000_000]
    for time in (b"2026-11-23T10:00:00-07Z", b"2026-11-23T10:00:00.-07Z", b"20261123T100405.12+0100Z"):
        with pytest.raises(BadRecordError):
            read(r"%d{iso} %v\n", time + b" v")


@pytest.mark.parametrize("pattern", ["%Y %Y", "%Y-%m-%d %F"])
def test_a_pattern_in_which_no_time_can_be_read_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(UsageError, match="is no format") as refusal:
        FormatReader(rf"%d{{strftime[{pattern}]}}|%v\n")
    assert refusal.value.facts["position"] == 1


@pytest.mark.parametrize("text", ["@-2000000000h", "s@17950000428480000", "e@999999999999999999", "@now:group:g"])
def test_a_time_beyond_all_calendars_can_be_shown(text: str) -> None:
    """`--since now --until -2000000000h` is refused with what it says, and ended with OverflowError."""
    assert str(parse_offset_range(text))


# Small files, with right checksums.


@pytest.mark.parametrize("value", ["", '"', '"a', '"a"b"', '"a" ', "[1]", "{}", '["\\u0041"]', '"\\u0041"1', "1.5"])
def test_flat_json_is_refused_where_a_value_is_none(value: str) -> None:
    body = f'{{\n"format": 1,\n"x": {value},\n'.encode()
    data = b'%b"checksum": "%08x"\n}\n' % (body, crc32c(body))
    with pytest.raises(CorruptStateError):
        flat_json.decode(data, "topic.json")


@pytest.mark.parametrize("directory_id", [None, 7, "short", "../" + "d" * 29])
def test_a_directory_without_an_id_is_damaged(tmp_path: Path, directory_id: int | str | None) -> None:
    mk.connect(str(tmp_path / "log"), create=True).close()
    fields = {} if directory_id is None else {"directory_id": directory_id}
    (tmp_path / "log" / "mk.json").write_bytes(flat_json.encode({**fields}))
    with pytest.raises(CorruptStateError, match="mk.json"):
        mk.connect(str(tmp_path / "log"))


def test_a_topic_with_a_dirty_ratio_that_is_none_says_so(tmp_path: Path) -> None:
    """Compaction ended with ValueError. It can be read, and altered."""
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t", config={"cleanup.policy": "compact"})
        path = tmp_path / "log" / "topics" / "t" / "topic.json"
        fields = flat_json.decode(path.read_bytes(), "topic.json")
        del fields["format"]
        path.write_bytes(flat_json.encode({**fields, "min.cleanable.dirty.ratio": "half"}))
        with pytest.raises(ConfigurationError, match="cannot be 'half'"):
            cluster.compact("t", 0, dry_run=True)
        assert list(cluster.consumer(["t"])) == []
        cluster.alter_topic("t", config={"min.cleanable.dirty.ratio": "0.1"})
        cluster.compact("t", 0, dry_run=True)


def state_with(**fields: object) -> PartitionState:
    state = PartitionState(ID, "boot-1")
    for name, value in fields.items():
        setattr(state, name, value)
    return state


LARGEST = (1 << 63) - 1
IMPOSSIBLE: list[dict[str, object]] = [
    {"segment": 1 << 63},
    {"segment": 1},
    {"segment": -1},
    {"high_watermark": 1 << 70},
    {"log_start_offset": -5},
    {"leader_epoch": 1 << 64},
    {"cleaned_to": 10**200},
    {"cut_offset": -1, "cuts": 1},
    {"durable": LogEnd(-1, 0, 0, -1)},
    {"written": LogEnd(0, 1 << 63, 0, -1)},
    {"written": LogEnd(0, 0, 1 << 32, -1)},
    {"durable": LogEnd(0, 0, 0, 1 << 63)},
]


@pytest.mark.parametrize("fields", IMPOSSIBLE)
def test_a_state_with_numbers_that_no_file_has_is_none(fields: dict[str, object]) -> None:
    """A position beyond 63 bits would end readers with OverflowError."""
    assert decode_slot(state_with(**fields).encode()) is None
    end = LogEnd(LARGEST, LARGEST, 0xFFFFFFFF, -1)
    largest = state_with(segment=LARGEST, leader_epoch=(1 << 64) - 1, written=end, durable=end)
    assert decode_slot(largest.encode()) is not None


def test_a_producer_id_is_not_pinned_to_a_partition_that_is_not_there(tmp_path: Path) -> None:
    """A client of `mk serve` could name any, and the producer id was spoiled for as long as the topic lives."""
    path = tmp_path / "log"
    with mk.connect(str(path), create=True) as cluster:
        cluster.create_topic("t")
        directory = LogDirectory(str(path))
        topic = directory.open_topic("t")
        for partition in (1, 4095):
            with pytest.raises(NoSuchPartitionError):
                topic.pin_producer("shop", partition=partition, lock_wait_ms=0)
        assert topic.read_pins() == {}
        cluster.alter_topic("t", partitions=2)
        assert topic.pin_producer("shop", partition=1, lock_wait_ms=0).partition == 1
        assert not cluster.verify_topic("t").findings
        topic.close()
        directory.close()


def test_a_repair_names_a_partition_that_is_missing(tmp_path: Path) -> None:
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t", partitions=2)
        (tmp_path / "log" / "topics" / "t" / "1").rename(tmp_path / "aside")
        with pytest.raises(CorruptStateError, match="topics/t/1 is damaged"):
            cluster.repair("t")


def test_a_state_that_ends_in_front_of_its_segment_counts_as_damaged(tmp_path: Path) -> None:
    """Records were to be deleted, and ValueError came: a segment was to be synced that was not open."""
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t", config={"segment.bytes": 4096})
        with cluster.producer("t") as producer:
            for _ in range(3):
                producer.send(b"x" * 3000)
                producer.flush()
        path = tmp_path / "log" / "topics" / "t" / "0" / "state"
        slots = [decode_slot(path.read_bytes()[at : at + 512]) for at in (0, 4096)]
        state = max((slot for slot in slots if slot is not None), key=lambda slot: slot.sequence)
        assert state.segment == 2
        state.durable = LogEnd(0, 0, 0, -1)
        path.write_bytes(initial_state(state))
        with pytest.raises(CorruptStateError, match="state"):
            list(cluster.consumer(["t"]))
        cluster.delete_records("t", 0, 2)
        assert [record.offset for record in cluster.consumer(["t"])] == [2]


@pytest.mark.parametrize(("epoch", "first_offset"), [(-1, 0), (1 << 64, 0), (0, -1), (0, 1 << 63)])
def test_epochs_with_impossible_numbers_are_damaged(epoch: int, first_offset: int) -> None:
    line = f"{epoch} {first_offset} {ID}".encode()
    with pytest.raises(CorruptStateError):
        decode_epochs(b"%b %08x\n" % (line, crc32c(line)), "epochs")


@pytest.mark.parametrize(("position", "offset"), [(-1, 0), (1 << 63, 0), (0, -1), (0, 1 << 63)])
def test_a_producer_snapshot_of_an_impossible_place_is_none(position: int, offset: int) -> None:
    assert decode_snapshot(ProducerState(0, position, offset, 7, {1: 5}).encode(), 0) is None
    assert decode_snapshot(ProducerState(0, LARGEST, LARGEST, 7, {1: 5}).encode(), 0) is not None


@pytest.mark.parametrize(
    "fields", [f"{ID} 0 7 -9 5", f"{ID} 0 7 0 -5", f"{ID} 0 7 {1 << 64} 5", f"{ID} 0 7 0 {1 << 63}"]
)
def test_an_impossible_note_of_a_groups_offset_counts_as_damaged(fields: str) -> None:
    assert decode_offset("g", fields.split(" ")) is None
    assert decode_offset("g", f"{ID} 0 7 -1 5".split(" ")) is not None


@pytest.mark.parametrize("more", [b'"x": ' + b"[" * 100_000 + b"]" * 100_000 + b", ", b'"x\\'])
def test_a_line_of_the_journal_that_json_cannot_hold_is_damaged(more: bytes) -> None:
    """One nested too deep, and one whose checksum is a part of another name."""
    start = json.dumps({"change": 1, "kind": "reset", "time_ms": 5, "offsets": []}).encode()[:-1]
    body = start + b", " + more
    assert reset_journal.decode_change(b'%b"checksum": "%08x"}' % (body, crc32c(body))) is None


def test_a_repair_does_not_cover_more_offsets_than_a_log_can_have(tmp_path: Path) -> None:
    """It made batches in memory without end, with signals blocked."""
    path = tmp_path / "log"
    with mk.connect(str(path), create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t") as producer:
            producer.send(b"v")
        partition = path / "topics" / "t" / "0"
        old = decode_slot((partition / "state").read_bytes()[:512]) or state_with()
        end = LogEnd(5000, 1 << 60, 7, -1)
        state = state_with(topic_id=old.topic_id, boot_id=old.boot_id, sequence=99, written=end, durable=end)
        state.high_watermark = 1 << 60
        (partition / "state").write_bytes(initial_state(state))
        before = {file.name: file.read_bytes() for file in partition.iterdir()}
        for dry_run in (True, False):
            with pytest.raises(CorruptStateError, match=str(partition)) as refusal:
                cluster.repair("t", dry_run=dry_run)
            assert "more than a log can have" in refusal.value.why
        assert {file.name: file.read_bytes() for file in partition.iterdir()} == before
    assert log_repair._MOST_LOST < 1 << 60


def test_an_offset_below_zero_is_in_no_checkpoint() -> None:
    good = CleanerCheckpoint([Cleaning(1, 100, 50, 2)]).encode()
    assert decode_checkpoint(good) is not None
    assert decode_checkpoint(good + CleanerCheckpoint([Cleaning(1, -100, 50, 2)]).encode()) is None
