"""Targets: the small files of a directory, each as its content alone: state, claims, members, epochs, cursors and so on.

What is accepted has to be what an encoder of mk writes: encoded again and read again it is the same.
"""

from __future__ import annotations

from mk.consumer.cursor_file import CursorPosition, decode_cursor, encode_cursor
from mk.groups import claim_slot, member, reset_journal
from mk.groups.claim_slot import ClaimSlot
from mk.groups.replicated_offsets import _decode as decode_offset
from mk.producer.rotation import Place
from mk.storage import clock_record, flat_json, log_truncation, partition_state
from mk.storage.cleaner_checkpoint import CleanerCheckpoint, Cleaning, decode_checkpoint
from mk.storage.input_mark import MarkFields, decode_mark
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs, decode_epochs
from mk.storage.log_truncation import Truncation
from mk.storage.partition_state import LogEnd, PartitionState
from mk.storage.producer_pin import ProducerPin, parse_pin
from mk.storage.producer_state import ProducerState, decode_snapshot
from mk.storage.replica_directory import decode_lines, encode_line
from tests.proof.fuzz.mending import mend_lines, mend_slots, mend_tail
from tests.proof.fuzz.target import Target, accepted

ID, OTHER_ID = "0123456789abcdef" * 2, "f" * 32
TIME = 1_700_000_000_000
_MAX_INT64 = (1 << 63) - 1


def state(sequence: int = 4, cuts: int = 0) -> PartitionState:
    made = PartitionState(ID, "boot-1")
    made.sequence = sequence
    made.segment = 1000
    made.written, made.durable = LogEnd(5000, 1040, 0xFFFFFFFF, TIME), LogEnd(4000, 1030, 7, -1)
    made.high_watermark, made.log_start_offset, made.leader_epoch = 1040, 12, 1 << 32
    made.cleaned_to, made.tombstones_dropped_to, made.began_ms = 900, 800, TIME
    made.cuts, made.cut_offset = cuts, 1010 if cuts else 0
    return made


def _fields_of(made: PartitionState) -> list[object]:
    return [getattr(made, name) for name in partition_state.STATE_FIELDS]


def fuzz_state(data: bytes) -> None:
    for at in (0, partition_state.SLOT_DISTANCE):
        found = partition_state.decode_slot(data[at : at + partition_state.SLOT_SIZE])
        if found is None:
            continue
        places = [found.written, found.durable]
        numbers = [found.segment, found.high_watermark, found.log_start_offset, found.cleaned_to, found.sequence]
        numbers += [found.tombstones_dropped_to, found.cuts, found.cut_offset]
        numbers += [number for place in places for number in (place.position, place.offset)]
        assert all(0 <= number <= _MAX_INT64 for number in numbers), found.encode()
        assert 0 <= found.leader_epoch < 1 << 64
        again = partition_state.decode_slot(found.encode())
        assert again is not None and _fields_of(again) == _fields_of(found)


def _states() -> list[bytes]:
    first = state()
    both = first.encode().ljust(partition_state.SLOT_DISTANCE, b"\0") + state(5, cuts=2).encode()
    return [partition_state.initial_state(PartitionState(ID, "boot-1")), partition_state.initial_state(first), both]


def fuzz_claim(data: bytes) -> None:
    for slot in claim_slot.decode_slots(data):
        again = claim_slot.decode_slot(slot.encode())
        assert again == slot
        assert -1 <= slot.offset < 1 << 64
    owner = claim_slot.decode_owner(data[claim_slot.OWNER_POSITION :][: claim_slot.OWNER_SIZE])
    if member.is_member_id(owner):
        assert claim_slot.decode_owner(claim_slot.encode_owner(owner)) == owner


def _claims() -> list[bytes]:
    slots = [
        ClaimSlot(1, ID, "orders", 0, 1, claim_slot.NO_OFFSET, claim_slot.NO_EPOCH, TIME),
        ClaimSlot(8, OTHER_ID, "a.topic-1", 4095, 12, 1 << 40, 1 << 33, TIME),
    ]
    made = [claim_slot.new_claim(None), *(claim_slot.new_claim(slot) for slot in slots)]
    both = bytearray(made[1])
    both[slots[1].position : slots[1].position + claim_slot.SLOT_SIZE] = slots[1].encode()
    both[claim_slot.OWNER_POSITION : claim_slot.OWNER_POSITION + claim_slot.OWNER_SIZE] = claim_slot.encode_owner(ID)
    return [*made, bytes(both)]


def fuzz_member(data: bytes) -> None:
    counter = member.decode_heartbeat(data[: member.HEARTBEAT_SIZE])
    if counter is not None:
        again = member.encode_heartbeat(counter)
        assert len(again) > member.HEARTBEAT_SIZE or member.decode_heartbeat(again) == counter
    found = member.decode_member(data[member.DOCUMENT_POSITION :])
    if found is not None:
        assert found.session_timeout_ms > 0 and found.since_ms >= 0
        again = member.decode_member(found.encode())
        assert again == found
        found.takes(ID, 0)
        repr(found)


def _members() -> list[bytes]:
    made = []
    for partitions in (None, (), (0, 7)):
        one = member.Member(
            ID,
            host="build7",
            pid=4121,
            user="kafka",
            boot_id="boot-1",
            command="mk consume orders -g billing",
            topics={ID: "orders", OTHER_ID: "audit"},
            partitions=partitions,
            since_ms=TIME,
            session_timeout_ms=10_000,
        )
        made.append(member.encode_heartbeat(42).ljust(member.DOCUMENT_POSITION, b"\0") + one.encode())
    return made


def _mend_member(data: bytes) -> bytes:
    data = data.ljust(member.DOCUMENT_POSITION, b"\0")
    counter = mend_tail(b" crc=", b"\n")(data[: member.HEARTBEAT_SIZE].rstrip(b"\0"))
    document = mend_tail(b"crc=", b"\n")(data[member.DOCUMENT_POSITION :])
    return counter[: member.HEARTBEAT_SIZE].ljust(member.DOCUMENT_POSITION, b"\0") + document


def fuzz_flat_json(data: bytes) -> None:
    """topic.json, pins and input marks."""
    found = accepted(flat_json.decode, data, "topic.json")
    if found:
        (fields,) = found
        assert all(type(value) in (str, int, bool, type(None)) for value in fields.values()), fields
        if fields["format"] == flat_json.FORMAT_VERSION:
            assert flat_json.decode(flat_json.encode(fields), "topic.json") == fields
    pins = accepted(parse_pin, data, 8, "pin")
    if pins:
        again = parse_pin(pins[0].encode(), 8, "pin")
        assert [getattr(again, name) for name in ProducerPin.__slots__] == [
            getattr(pins[0], name) for name in ProducerPin.__slots__
        ]
    marks = accepted(decode_mark, data, "mark")
    if marks:
        name, fields_of_mark = marks[0]
        assert decode_mark(fields_of_mark.encode(name), "mark")[0] == name
        for text in (fields_of_mark.reading, fields_of_mark.before, fields_of_mark.then):
            try:
                place = Place.decode(text)
            except ValueError:
                continue
            assert Place.decode(place.encode()).encode() == place.encode()


def _flat_jsons() -> list[bytes]:
    reading = Place(
        position=5,
        records=1,
        limit=-1,
        inode=7,
        born_ns=9,
        modified_ns=9,
        head_size=5,
        head_crc=1,
        tail_size=5,
        tail_crc=2,
    ).encode()
    return [
        flat_json.encode({"topic_id": ID, "name": "t", "partitions": 2, "partitioner": "crc32", "retention.ms": -1}),
        flat_json.encode({"text": 'a "quote" and \\ back\nslash', "yes": True, "no": False, "none": None}),
        ProducerPin("shop", 2, "crc32", None).encode(),
        ProducerPin("größe", 2, "murmur2", 1).encode(),
        MarkFields(path="/var/log/x", sequence=12, reading=reading, then=reading).encode("shop"),
    ]


def fuzz_epochs(data: bytes) -> None:
    found = accepted(decode_epochs, data, "epochs")
    if found:
        (epochs,) = found
        assert decode_epochs(epochs.encode(), "epochs") == epochs
        assert all(0 <= entry.epoch < 1 << 64 for entry in epochs.entries)
        assert all(0 <= entry.first_offset <= _MAX_INT64 for entry in epochs.entries)
        epochs.common_prefix(1000, LeaderEpochs(epochs.entries[:1]), 1000)


def _epoch_files() -> list[bytes]:
    entries = [EpochEntry(0, 0, ID), EpochEntry(1, 40, ID), EpochEntry(1 << 32, 90, OTHER_ID)]
    return [LeaderEpochs(entries[:1]).encode(), LeaderEpochs(entries).encode()]


def fuzz_producers(data: bytes) -> None:
    found = decode_snapshot(data, 1000)
    if found is not None:
        assert 0 <= found.offset <= _MAX_INT64 and 0 <= found.position <= _MAX_INT64
        again = decode_snapshot(found.encode(), 1000)
        assert again is not None
        assert (again.offset, again.position, again.chain, again.last_sequences) == (
            found.offset,
            found.position,
            found.chain,
            found.last_sequences,
        )
        found.fits(b"")


def _snapshots() -> list[bytes]:
    return [
        ProducerState(1000, 0, 1000, 7, {}).encode(),
        ProducerState(1000, 700, 1040, 0xFFFFFFFF, {1: 0, 0xFEEDFEEDFEEDFEED: _MAX_INT64}).encode(),
    ]


def fuzz_cursor(data: bytes) -> None:
    found = accepted(decode_cursor, data, "cursor")
    if found:
        directory_id, positions = found[0]
        assert decode_cursor(encode_cursor(directory_id, positions, 5), "cursor") == (directory_id, positions)
        assert all(0 <= one.partition < one.partitions and 0 <= one.offset <= _MAX_INT64 for one in positions)


def _cursors() -> list[bytes]:
    positions = [CursorPosition(ID, "orders", 2, number, 10 * number, number - 1) for number in range(2)]
    return [encode_cursor(ID, [], TIME), encode_cursor(ID, positions, TIME)]


def fuzz_cleaned(data: bytes) -> None:
    found = decode_checkpoint(data)
    if found is not None:
        again = decode_checkpoint(found.encode())
        assert again is not None and again.encode() == found.encode()
        found.then(Cleaning(TIME, 5000, 4000, 1), TIME - 1000)
        assert found.cleaned_before(TIME) >= 0 and found.first_dirty_offset >= 0
        found.tombstones_below(5)


def _cleanings() -> list[bytes]:
    entries = [Cleaning(TIME + number, 100 * number, 50 * number, number) for number in range(3)]
    return [b"", CleanerCheckpoint(entries).encode()]


def fuzz_journal(data: bytes) -> None:
    found = reset_journal.decode_change(data.removesuffix(b"\n"))
    if found is not None:
        assert reset_journal.decode_change(reset_journal.encode_change(found).removesuffix(b"\n")) == found


def _changes() -> list[bytes]:
    change = reset_journal.ChangedOffset("orders", ID, 0, 100, 3, 7, 0, -1)
    document = {"change": 4, "kind": "reset", "time_ms": TIME, "user": "kafka", "command": 'mk groups "reset"'}
    return [
        reset_journal.encode_change({**document, "offsets": offsets})
        for offsets in ([], [change.document()], [{**change.document(), "before": None}])
    ]


def fuzz_replica_lines(data: bytes) -> None:
    """What is noted of other directories, and of groups there."""
    for fields in decode_lines(data, 5):
        if fields is not None:
            assert len(fields) == 5
            assert list(decode_lines(encode_line(" ".join(fields)), 5)) == [fields]
            found = decode_offset("group", fields)
            if found is not None:
                assert 0 <= found.offset <= _MAX_INT64 and -1 <= found.leader_epoch < 1 << 64
                assert 0 <= (found.time_ms or 0) <= _MAX_INT64


def _replica_lines() -> list[bytes]:
    return [encode_line(f"{ID} 0 1040 {1 << 32} {TIME}") + encode_line(f"{OTHER_ID} 1 7 -1 {TIME}")]


def fuzz_clock(data: bytes) -> None:
    found = clock_record.decode(data)
    if found is not None:
        again = clock_record.decode(found.encode())
        assert again is None or again.encode() == found.encode()
        found.then("boot-2", TIME, 5)
        found.then(found.boot_id, TIME, 5)


def _clocks() -> list[bytes]:
    return [clock_record.ClockRecord("boot-1", TIME, 5000, 86_400_000).encode()]


def fuzz_truncation(data: bytes) -> None:
    found = accepted(log_truncation.decode_truncation, data, "truncation")
    if found:
        (one,) = found
        again = log_truncation.decode_truncation(one.encode(), "truncation")
        assert again.encode() == one.encode()
        assert 0 <= one.first_segment <= _MAX_INT64


def _truncations() -> list[bytes]:
    epochs = decode_epochs(_epoch_files()[1], "epochs")
    return [Truncation(state(), epochs, 500, anew).encode() for anew in (False, True)]


def _mend_truncation(data: bytes) -> bytes:
    head, newline, rest = data.partition(b"\n")
    slot, lines = rest[: partition_state.SLOT_SIZE], rest[partition_state.SLOT_SIZE :]
    slot = mend_slots(partition_state.SLOT_SIZE, 0)(slot)
    lines, crc, _ = lines.rpartition(b"crc=")
    return mend_tail(b"crc=", b"\n")(head + newline + slot + mend_lines(b" ")(lines) + crc)


TARGETS = [
    Target("state", fuzz_state, _states, mend_slots(partition_state.SLOT_SIZE, partition_state.SLOT_DISTANCE), 4608),
    Target("claim", fuzz_claim, _claims, mend_slots(claim_slot.SLOT_SIZE, claim_slot.SLOT_DISTANCE), 4608),
    Target("member", fuzz_member, _members, _mend_member, 2048),
    Target("flat-json", fuzz_flat_json, _flat_jsons, mend_tail(b'"checksum": "', b'"\n}\n'), 8192),
    Target("epochs", fuzz_epochs, _epoch_files, mend_lines(b" "), 1024),
    Target("producers", fuzz_producers, _snapshots, mend_tail(b"crc=", b"\n"), 1024),
    Target("cursor", fuzz_cursor, _cursors, mend_tail(b"crc=", b"\n"), 1024),
    Target("cleaned", fuzz_cleaned, _cleanings, mend_lines(b" crc="), 1024),
    Target("journal", fuzz_journal, _changes, mend_tail(b'"checksum": "', b'"}\n'), 8192),
    Target("replica-lines", fuzz_replica_lines, _replica_lines, mend_lines(b" "), 1024),
    Target("clock", fuzz_clock, _clocks, lambda data: mend_tail(b" crc=", b"")(data.rstrip()), 256),
    Target("truncation", fuzz_truncation, _truncations, _mend_truncation, 2048),
]
