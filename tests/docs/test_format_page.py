"""mk-format(5) against the code: its tables against the structs, its examples against what is really written.

The page is meant to be enough for a reader in another language. So there is one here: `read_partition` uses no code of
mk, and takes names, offsets and types from the tables of the page.
"""

import gzip
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import lz4.frame
import msgpack
import pytest
from mdoc_page import Page

import mk
from mk import config, topic_partition
from mk.consumer import cursor_file
from mk.errors import CorruptStateError
from mk.groups import claim_slot, replicated_offsets, reset_journal
from mk.groups.claim import fence, take
from mk.groups.claim_directory import make_claims
from mk.groups.committed_offset import CommittedOffset
from mk.groups.member import decode_member
from mk.groups.offset_reset import OffsetChange
from mk.records import codecs, record_batch
from mk.records.record_batch import EncodedBatch, encode_columns, encode_lines, parse_header
from mk.storage import flat_json, offset_index, partition_state, producer_state, replica_directory
from mk.storage.leader_epochs import EpochEntry, LeaderEpochs, read_epochs
from mk.storage.log_directory import LogDirectory
from mk.storage.log_truncation import Truncation, decode_truncation
from mk.storage.partition_state import LogEnd, PartitionState, decode_slot

PAGE = Page("mk-format.5")
STRUCT_TYPES = {"u16": "H", "u32": "I", "u64": "Q", "i32": "i", "i64": "q"}
MK = Path(mk.__file__).parent
PROGRAM = Path(sys.executable).with_name("mk")


def layout(rows):
    """Turn rows of offset, size, type, field into a struct and the names of its fields; they must leave no gap."""
    position, code = 0, ">"
    for row in rows:
        assert int(row["offset"]) == position, row
        code += STRUCT_TYPES.get(row["type"], row["type"])
        assert struct.calcsize(">" + STRUCT_TYPES.get(row["type"], row["type"])) == int(row["size"]), row
        position += int(row["size"])
    return struct.Struct(code), [row["field"] for row in rows]


def docstring_table(text):
    """Read lines of offset, type, name out of a docstring."""
    rows = re.findall(r"^ +(\d+)  (\w+) +(\w+)", text, flags=re.MULTILINE)
    named = []
    for (offset, kind, name), following in zip(rows, [*rows[1:], (None, "", "")], strict=True):
        size = struct.calcsize(">" + STRUCT_TYPES.get(kind, kind))
        assert following[0] is None or int(offset) + size == int(following[0]), name
        named.append({"offset": offset, "size": str(size), "type": kind, "field": name})
    return named


HEADER = PAGE.table("RECORD BATCH", "offset", "size", "type", "field")
CHAIN = PAGE.table("Chain", "offset", "size", "type", "field")
INDEX = PAGE.table("INDEX", "offset", "size", "type", "field")
STATE = PAGE.table("STATE", "field", "type")
CLAIM = PAGE.table("CLAIMS", "field", "type")
CURSOR = PAGE.table("CURSOR FILES", "field", "type")
CODECS = {row["name"]: row for row in PAGE.table("Attributes", "number", "name")}
ATTRIBUTES = PAGE.table("Attributes", "bits", "mask", "name")


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        yield cluster


# The page itself.


def test_mandoc_finds_nothing_to_complain_about():
    assert PAGE.complaints() == []


@pytest.mark.parametrize("rows", [HEADER, CHAIN, INDEX])
def test_a_byte_table_is_shown_as_it_is_written(rows):
    shown = "\n".join(PAGE.rendered())
    for row in rows:
        cells = r"\s+".join(re.escape(row[column]) for column in ("offset", "size", "type", "field"))
        assert re.search(rf"^\s+{cells}(\s|$)", shown, flags=re.MULTILINE), row


def test_the_code_points_to_sections_that_exist():
    for name in ("mk-format.5", "mk-guarantees.7"):
        sections = {section.upper() for section in Page(name).sections()}
        pointers = set()
        for path in MK.rglob("*.py"):
            pointers.update(
                re.findall(rf"man/{re.escape(name)}, ([A-Z.]+(?: (?:and )?[A-Z.]{{2,}})*)", path.read_text())
            )
        assert pointers
        assert {pointer.rstrip(".").upper() for pointer in pointers} <= sections


# Record batches.


def test_the_header_is_the_struct():
    layout_, names = layout(HEADER)
    assert layout_.format == record_batch._FIELDS.format + record_batch._CRC.format.removeprefix(">")
    assert layout_.size == record_batch.HEADER_SIZE == 128
    assert names[-1] == "header_crc"


def test_the_header_in_the_docstring_is_the_header_in_the_page():
    page = [{column: row[column] for column in ("offset", "size", "type", "field")} for row in HEADER]
    assert docstring_table(record_batch.__doc__) == page


def test_each_field_of_the_header_is_where_the_page_says():
    batch = EncodedBatch(
        [b"k" * 7000], raw_length=7000, attributes=0x0100, record_count=11, base_timestamp=12, max_timestamp=13
    )
    batch.producer_id, batch.first_sequence, batch.last_sequence = 14, 15, 16
    data = batch.stamp(base_offset=1700, leader_epoch=18, durable_offset=19, chain=20)
    layout_, names = layout(HEADER)
    fields = dict(zip(names, layout_.unpack(data), strict=True))
    parsed = parse_header(data)
    assert fields.pop("magic") == bytes.fromhex("8a4d4b01") == record_batch.MAGIC
    assert fields.pop("header_crc") == crc(data[:124])
    assert fields.pop("reserved") == bytes(24)
    assert data[18:20] == bytes(2)
    assert fields == {name: getattr(parsed, name) for name in fields}
    # All differ, so no two can have been swapped; but the two lengths, which are one here.
    assert len(set(fields.values())) == len(fields) - 1


def test_the_chain_is_the_struct():
    layout_, names = layout(CHAIN)
    assert layout_.format == record_batch.CHAIN.format
    values = {"payload_crc": 1, "record_count": 2, "producer_id": 3, "first_sequence": 4, "last_sequence": 5}
    assert crc(layout_.pack(*(values[name] for name in names)), 99) == record_batch.chain_of(99, 1, 2, 3, 4, 5)


def test_the_attributes_are_the_constants():
    named = {row["name"]: int(row["mask"], 16) for row in ATTRIBUTES if row["name"] != "reserved"}
    assert named == {
        "codec": record_batch.CODEC_MASK,
        "log append time": record_batch.LOG_APPEND_TIME,
        "control": record_batch.CONTROL,
        "compacted": record_batch.COMPACTED,
        "kind": record_batch.KIND_MASK,
    }
    assert (record_batch.LINES, record_batch.COLUMNS) == (0, 1 << 8)
    covered = 0
    for row in ATTRIBUTES:
        first, _, last = row["bits"].partition("-")
        mask = sum(1 << bit for bit in range(int(first), int(last or first) + 1))
        assert mask == int(row["mask"], 16)
        assert not covered & mask
        covered |= mask
    assert covered == 0xFFFF


def test_a_reserved_bit_makes_a_header_invalid():
    for row in ATTRIBUTES:
        if row["name"] == "reserved":
            bit = int(row["mask"], 16) & -int(row["mask"], 16)
            batch = EncodedBatch(
                [b"\n"], raw_length=1, attributes=bit, record_count=1, base_timestamp=0, max_timestamp=0
            )
            assert parse_header(batch.stamp(0, 0, 0, 0)) is None


def test_the_codecs_are_the_constants():
    numbers = {name: int(row["number"]) for name, row in CODECS.items()}
    assert numbers == {"none": codecs.NONE, "gzip": codecs.GZIP, "lz4": codecs.LZ4, "zstd": codecs.ZSTD}
    reserved = {name for name, row in CODECS.items() if row["meaning"] == "reserved"}
    assert set(codecs.CODEC_NAMES) == set(numbers) - reserved
    for name in reserved:
        batch = EncodedBatch(
            [b"\n"], raw_length=1, attributes=numbers[name], record_count=1, base_timestamp=0, max_timestamp=0
        )
        assert parse_header(batch.stamp(0, 0, 0, 0)) is None


def test_the_bounds_of_a_valid_header_are_the_constants():
    text = PAGE.section("A valid batch")
    assert f"are at most {codecs.MAX_RAW_BYTES};" in text
    assert re.search(rf"at most {codecs.MAX_RATIO} times\n\.Va payload_length", text)


@pytest.mark.parametrize(
    "fields",
    [
        {"payload_length": codecs.MAX_RAW_BYTES + 1, "raw_length": codecs.MAX_RAW_BYTES + 1},
        {"raw_length": 3},
        {"attributes": codecs.ZSTD, "raw_length": 2001},
        {"key_length": -2},
        {"key_length": 3},
        {"attributes": record_batch.COLUMNS, "key_length": 0},
        {"base_offset": -1},
        {"base_offset": (1 << 63) - 1, "durable_offset": 0},
        {"durable_offset": -1},
        {"durable_offset": 8},
        {"record_count": 2},
        {"record_count": 0},
        {"attributes": record_batch.COMPACTED, "record_count": 2},
        {"record_count": 3, "last_offset_delta": 2},
        {"max_timestamp": 4},
        {"first_sequence": 0},
        {"reserved": b"\x01" + bytes(23)},
    ],
    ids=str,
)
def test_a_header_that_the_page_calls_invalid_is_refused(fields):
    layout_, names = layout(HEADER)
    batch = EncodedBatch([b"a\n"], raw_length=2, attributes=0, record_count=1, base_timestamp=5, max_timestamp=5)
    good = list(layout_.unpack(batch.stamp(7, 0, 7, 0)))
    assert parse_header(seal(layout_.pack(*good))) is not None
    for name, value in fields.items():
        good[len(names) - 1 - names[::-1].index(name)] = value
    assert parse_header(seal(layout_.pack(*good))) is None


def test_the_columns_are_in_the_order_of_the_page():
    assert [row["column"] for row in PAGE.table("Columns", "column", "of each record")] == [
        "values",
        "keys",
        "timestamps",
        "headers",
        "offset deltas",
    ]
    batch = encode_columns(
        [b"v", None],
        base_timestamp=5,
        keys=[b"k", None],
        timestamps=[5, 4],
        headers=[((b"n", b"x"), (b"n", None)), ()],
    )
    assert msgpack.unpackb(b"".join(batch.payload)) == [
        [b"v", None],
        [b"k", None],
        [0, -1],
        [[b"n", b"x", b"n", None], []],
        None,
    ]


# The example.


def example_batches():
    lines = encode_lines(b"paid\nshipped\n", count=2, timestamp_ms=1_700_000_000_000, key=b"u1")
    columns = encode_columns(
        [None, b"a\nb"],
        base_timestamp=1_700_000_000_000,
        keys=[b"u1", None],
        timestamps=[1_700_000_000_000, 1_700_000_000_001],
        headers=[(), ((b"h", b"1"),)],
    )
    return lines, columns


def example_bytes():
    return bytes.fromhex("".join(line[10:49] for line in PAGE.examples("EXAMPLES")[0].splitlines()).replace(" ", ""))


def test_the_example_is_what_the_code_writes():
    lines, columns = example_batches()
    first = lines.chain_after(0)
    second = columns.chain_after(first)
    written = lines.stamp(0, 0, 0, first) + b"".join(lines.payload)
    size = len(written)
    written += columns.stamp(2, 0, 2, second) + b"".join(columns.payload)
    assert example_bytes() == written
    text = PAGE.section("EXAMPLES")
    assert f"It has {lines.payload_length} bytes of lines" in text
    assert f"Its chain is {first:08x}: the CRC of" in text
    assert f"Its chain is {second:08x}." in text
    assert f"begins at byte {size}." in text
    chained = bytes.fromhex(PAGE.examples("EXAMPLES")[1])
    assert crc(chained) == first


def test_the_example_shows_bytes_and_letters_alike():
    for number, line in enumerate(PAGE.examples("EXAMPLES")[0].splitlines()):
        data = bytes.fromhex(line[10:49].replace(" ", ""))
        assert line[:10] == f"{16 * number:08x}: "
        assert line[51:] == "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)


def test_the_example_is_shown_as_it_is_written():
    shown = [line.strip() for line in PAGE.rendered()]
    for line in PAGE.examples("EXAMPLES")[0].splitlines():
        assert line.strip() in shown


def test_the_example_holds_the_records_that_the_page_tells_of():
    records = list(read_batches(example_bytes(), 0, 4))
    assert records == [
        (0, 1_700_000_000_000, b"u1", b"paid", []),
        (1, 1_700_000_000_000, b"u1", b"shipped", []),
        (2, 1_700_000_000_000, b"u1", None, []),
        (3, 1_700_000_000_001, None, b"a\nb", [b"h", b"1"]),
    ]


def test_the_checksum_is_the_one_that_the_page_names():
    assert "is e3069283." in PAGE.section("DESCRIPTION").replace("\n", " ")
    assert crc(b"123456789") == codecs.crc32c(b"123456789") == 0xE3069283


# Index.


def test_the_index_entry_is_the_struct():
    layout_, names = layout(INDEX)
    assert layout_.format == offset_index.ENTRY.format
    assert names == ["relative_offset", "position", "max_timestamp"]
    assert f"entries of {layout_.size} bytes" in PAGE.section("INDEX")
    assert f"in its block of {offset_index.INTERVAL_BYTES} bytes" in PAGE.section("INDEX").replace("\n", " ")
    assert docstring_table(offset_index.__doc__) == [
        {column: row[column] for column in ("offset", "size", "type", "field")} for row in INDEX
    ]


# State.


def test_state_has_the_fields_of_the_page_in_their_order():
    line = PartitionState("0" * 32, "boot").encode()
    names = [field.partition(b"=")[0].decode() for field in line.split()]
    assert names == [*(row["field"] for row in STATE), "crc"]


def test_each_field_of_state_is_where_the_page_says():
    state = PartitionState("f" * 32, "a-boot-id")
    state.sequence, state.segment, state.high_watermark, state.log_start_offset = 1, 2, 3, 4
    state.leader_epoch, state.cleaned_to, state.tombstones_dropped_to, state.syncing = 5, 6, 7, 8
    state.began_ms = 17
    state.written, state.durable = LogEnd(9, 10, 11, 12), LogEnd(13, 14, 15, 16)
    fields = read_slot(state.encode())
    values = [1, "a-boot-id", "f" * 32, 2, [9, 10, 11, 12], [13, 14, 15, 16], 3, 4, 5, 6, 7, 8, 17]
    assert fields == dict(zip([row["field"] for row in STATE], values, strict=True))
    assert [row["part"] for row in PAGE.table("STATE", "part")] == ["position", "offset", "chain", "max_timestamp"]
    assert state.written.__slots__ == ("chain", "max_timestamp", "offset", "position")


def test_the_slots_are_where_the_page_says(directory):
    text = PAGE.section("STATE").replace("\n", " ")
    assert (
        f"Two slots, at bytes 0 and {partition_state.SLOT_DISTANCE}, of {partition_state.SLOT_SIZE} bytes each" in text
    )
    assert f"The file has {partition_state.STATE_SIZE} bytes" in text
    directory.create_topic("t")
    path = os.path.join(directory.location, "topics/t/0/state")
    new = Path(path).read_bytes()
    assert len(new) == partition_state.STATE_SIZE
    assert read_slot(new[:512])["sequence"] == 0
    assert new[512:] == bytes(4096)
    with directory.producer("t") as producer:
        for number in range(3):
            producer.send(b"%d" % number)
            producer.flush()
            data = Path(path).read_bytes()
            slots = read_slot(data[:512]), read_slot(data[4096:])
            assert slots[0]["sequence"] % 2 == 0
            assert slots[1]["sequence"] % 2 == 1


def test_a_reader_ignores_fields_that_it_does_not_know():
    slot = PartitionState("0" * 32, "boot").encode()
    line = slot[: slot.index(b" crc=")] + b" later=1"
    longer = (line + b" crc=%08x" % codecs.crc32c(line)).ljust(511) + b"\n"
    assert decode_slot(longer) is not None


def test_the_example_of_state_is_a_valid_slot():
    slot = PAGE.examples("STATE")[0].strip().replace("\n", " ").encode().ljust(511) + b"\n"
    assert read_slot(slot)["sequence"] == 4
    assert decode_slot(slot).written.position == 302


def test_a_log_that_was_cut_says_so_behind_the_fields_of_the_page():
    state = PartitionState("0" * 32, "boot")
    state.cuts, state.cut_offset = 2, 17
    line = state.encode()
    assert line[: line.index(b" crc=")].endswith(b" began=0 cuts=2:17")
    read = decode_slot(line)
    assert (read.cuts, read.cut_offset, read.encode()) == (2, 17, line)


def test_a_truncation_is_as_the_page_says():
    state, epochs = PartitionState("f" * 32, "boot"), LeaderEpochs([EpochEntry(3, 0, "e" * 32)])
    data = Truncation(state, epochs, 7, True).encode()
    head = PAGE.examples("TRUNCATION")[0].strip().replace("=0", "=%d") % (7, 1)
    text, _, found = data.rpartition(b"crc=")
    assert text == head.encode() + b"\n" + state.encode() + epochs.encode()
    assert found == b"%08x\n" % crc(text)
    read = decode_truncation(data, "truncation")
    assert (read.encode(), read.first_segment, read.is_anew) == (data, 7, True)
    for at in range(len(data)):
        with pytest.raises(CorruptStateError):
            decode_truncation(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "truncation")


# Claims.


def test_a_claim_is_as_the_page_says_and_shows(directory):
    directory.create_topic("orders")
    opened = LogDirectory(directory.location)
    topic = opened.open_topic("orders")
    claims = make_claims(topic, "billing")
    claim = take(claims, 0)
    path = Path(directory.location, "groups", "billing", "claims", topic.topic_id, f"0.{1:010d}")
    text = PAGE.section("CLAIMS").replace("\n", " ")
    size, distance = claim_slot.SLOT_SIZE, claim_slot.SLOT_DISTANCE
    assert (
        f"Two slots, at bytes 0 and {distance}, of {size} bytes each. The file has {claim_slot.CLAIM_SIZE} bytes"
        in text
    )
    new = path.read_bytes()
    assert len(new) == claim_slot.CLAIM_SIZE
    first = {"sequence": 0, "topic": topic.topic_id, "name": "orders", "partition": 0, "generation": 1, "offset": -1}
    assert read_claim_slot(new[:512]).items() >= {**first, "leader_epoch": -1}.items()
    assert new[512:] == bytes(4096)
    for offset in (5, 7, 9):
        claim.commit(offset, 3)
        data = path.read_bytes()
        slots = [read_claim_slot(data[:512]), read_claim_slot(data[4096:])]
        assert [slot["sequence"] % 2 for slot in slots] == [0, 1]
        newest = max(slots, key=lambda slot: slot["sequence"])
        assert (newest["offset"], newest["leader_epoch"]) == (offset, 3)
    second = fence(claims, 0)
    assert read_claim_slot(path.with_name(f"0.{2:010d}").read_bytes()[:512])["sequence"] == 4
    for one in (claim, second, claims, topic, opened):
        one.close()
    slot = PAGE.examples("CLAIMS")[0].strip().replace("\n", " ").encode().ljust(511) + b"\n"
    assert read_claim_slot(slot)["offset"] == claim_slot.decode_slot(slot).offset == 1200


# Members.


def test_a_member_is_as_the_page_says_and_shows(directory):
    directory.create_topic("orders")
    with directory.group_consumer("billing", ["orders"], session_timeout_ms=200) as consumer:
        list(consumer.fetches())
        (path,) = Path(directory.location, "groups", "billing", "members").iterdir()
        data = path.read_bytes()
        deadline = time.monotonic() + 20
        while path.read_bytes()[:64] == data[:64]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        data = path.read_bytes()
        heartbeat, zeros = data[:64].split(b"\n")
        line, crc = heartbeat.split(b" crc=")
        assert (
            re.fullmatch(rb"heartbeat=\d{20}", line) and int(crc, 16) == codecs.crc32c(line) and not zeros.strip(b"\0")
        )
        fields = _read_member(data[512:])
        assert list(fields) == [row["field"] for row in PAGE.table("MEMBERS", "field", "type")]
        assert fields["member"] == path.name and fields["pid"] == str(os.getpid()) and fields["partitions"] == "*"
        (claim,) = Path(directory.location, "groups", "billing", "claims").glob("*/0.*")
        owner = claim.read_bytes()[1024:1088].rstrip(b"\0\n")
        assert owner == b"member=%b crc=%08x" % (path.name.encode(), codecs.crc32c(owner.split(b" ")[0]))
    assert claim.read_bytes()[1024:1088] == bytes(64)
    assert not path.exists()
    example = PAGE.examples("MEMBERS")[0].strip().encode() + b"\n"
    assert _read_member(example)["topic"] == "ad42d07ab06f2fca3f3e46c5dfc2ec42 orders"
    assert decode_member(example).partitions is None


def _read_member(document):
    body, crc = document.rsplit(b"crc=", 1)
    assert int(crc, 16) == codecs.crc32c(body)
    return dict(line.split("=", 1) for line in body.decode().splitlines())


# Cursor files.


def read_cursor(data):
    """Read a cursor file by the page: its directory id, and its positions as dicts."""
    head, first, *lines, end = data.decode().splitlines()
    assert head == "mk-cursor 1"
    assert end == f"crc={codecs.crc32c(data[: data.rindex(b'crc=')]):08x}"
    positions = []
    for line in lines:
        fields = dict(field.split("=") for field in line.split(" "))
        assert list(fields) == [row["field"] for row in CURSOR]
        kinds = {row["field"]: row["type"] for row in CURSOR}
        positions.append({name: int(value) if kinds[name] == "integer" else value for name, value in fields.items()})
    return dict(field.split("=") for field in first.split(" "))["directory"], positions


def test_a_cursor_file_is_as_the_page_says_and_shows(directory, tmp_path):
    directory.create_topic("orders", partitions=2)
    with directory.producer("orders", partition=1) as producer:
        producer.send(b"v")
    path = tmp_path / "cursor"
    consumer = directory.consumer(["orders"], cursor_file=str(path))
    assert len(list(consumer)) == 1
    consumer.close()
    opened = LogDirectory(directory.location)
    topic = opened.open_topic("orders")
    same = {"topic": topic.topic_id, "name": "orders", "partitions": 2}
    assert read_cursor(path.read_bytes()) == (
        opened.directory_id,
        [
            {**same, "partition": 0, "offset": 0, "leader_epoch": -1},
            {**same, "partition": 1, "offset": 1, "leader_epoch": 0},
        ],
    )
    topic.close()
    opened.close()
    example = PAGE.examples("CURSOR FILES")[0].encode()
    directory_id, positions = read_cursor(example)
    read_id, read_positions = cursor_file.decode_cursor(example, "the example")
    assert read_id == directory_id and [one.offset for one in read_positions] == [1200, 0]
    assert [one["offset"] for one in positions] == [1200, 0]


# Small files.


def key_tables():
    section = PAGE.section("MK.JSON AND TOPIC.JSON")
    blocks = re.findall(r"^\.Bl -column .*?^\.El$", section, flags=re.MULTILINE | re.DOTALL)
    return [re.findall(r"^\.It Va (\S+) Ta (\S+) Ta", block, flags=re.MULTILINE) for block in blocks]


def test_the_json_files_have_the_keys_of_the_page_in_their_order(directory):
    settings = {name: key.default for name, key in sorted(config.TOPIC_CONFIG.items())}
    directory.create_topic("t", partitions=3, config=settings)
    root = Path(directory.location)
    for keys, path in zip(key_tables(), (root / "mk.json", root / "topics/t/topic.json"), strict=True):
        written = json.loads(path.read_text())
        assert [name for name, _ in keys] == list(written)
        assert {name: type(value) for name, value in written.items()} == {
            name: {"integer": int, "string": str}[kind] for name, kind in keys
        }
        assert flat_json.decode(path.read_bytes(), str(path)) == {
            name: value for name, value in written.items() if name != "checksum"
        }


def test_topic_json_lists_every_setting():
    section = PAGE.section("MK.JSON AND TOPIC.JSON")
    listed = re.findall(r"^\.It Va (\S+) Ta (\S+) Ta a setting$", section, flags=re.MULTILINE)
    assert listed == [
        (name, "integer" if type(key.default) is int else "string") for name, key in sorted(config.TOPIC_CONFIG.items())
    ]


def test_topic_json_names_every_partitioner():
    row = re.search(
        r"^\.It Va partitioner .*?(?=^\.It)", PAGE.section("MK.JSON AND TOPIC.JSON"), re.MULTILINE | re.DOTALL
    )
    assert re.findall(r"^\.Li (\S+)", row[0], re.MULTILINE) == list(config.PARTITIONERS)


def test_the_examples_of_json_files_are_valid():
    for example in PAGE.examples("MK.JSON AND TOPIC.JSON"):
        fields = read_flat_json(example.encode())
        assert flat_json.decode(example.encode(), "example") == {k: v for k, v in fields.items() if k != "checksum"}
        assert fields == json.loads(example)


def test_the_form_of_json_files_is_the_one_of_the_page(directory):
    directory.create_topic("t")
    root = Path(directory.location)
    for path in (root / "mk.json", root / "topics/t/topic.json"):
        assert read_flat_json(path.read_bytes()) == json.loads(path.read_text())


def test_format_version_is_the_one_of_the_page():
    assert f"format version {flat_json.FORMAT_VERSION} of an" in PAGE.section("DESCRIPTION").replace("\n", " ")
    assert record_batch.MAGIC[-1] == flat_json.FORMAT_VERSION


def test_epochs_has_the_line_of_the_page(directory, tmp_path):
    directory.create_topic("t")
    written = (Path(directory.location) / "topics/t/0/epochs").read_bytes()
    for data in (written, PAGE.examples("EPOCHS")[0].encode()):
        assert read_epoch_lines(data)[0][:2] == (0, 0)
    assert [row["field"] for row in PAGE.table("EPOCHS", "field", "type")] == ["epoch", "first_offset", "leader", "crc"]
    (tmp_path / "epochs").write_bytes(PAGE.examples("EPOCHS")[0].encode())
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        entry = read_epochs(fd, str(tmp_path)).latest
    finally:
        os.close(fd)
    assert [(entry.epoch, entry.first_offset, entry.leader_id)] == read_epoch_lines(PAGE.examples("EPOCHS")[0].encode())


def test_what_is_kept_of_a_replica_has_the_files_and_fields_of_the_page(directory):
    (example,) = PAGE.examples("REPLICAS")
    lines = list(replica_directory.decode_lines(example.encode(), 4))
    assert len(lines) == 2 and None not in lines
    assert [replica_directory.encode_line(" ".join(line)) for line in lines] == [
        line + b"\n" for line in example.encode().splitlines()
    ]
    rows = {row["file"].split(" ")[0]: row["fields"].split(", ") for row in PAGE.table("REPLICAS", "file", "fields")}
    directory.create_topic("t")
    log = LogDirectory(directory.location)
    topic = log.open_topic("t")
    other = "ab" * 16
    assert replica_directory.note_follower(log, other, "h:/d", [(topic.topic_id, 0, 5)]) == ""
    replica_directory.note_source(log, other, "h:/d", [(topic.topic_id, 0, 6)])
    replica_directory.note_gap(log, other, topic.topic_id, 0, 1, 2)
    offset = CommittedOffset("g", topic.topic_id, 0, 4, 0)
    replicated_offsets.store(log, other, [offset], {offset.key: 5})
    place = Path(directory.location, "replicas", other)
    for name, fields in rows.items():
        (line,) = (place / name.replace("/group", "/g")).read_bytes().splitlines()
        text, _, crc = line.rpartition(b" ")
        assert len(text.split(b" ")) == len(fields), name
        assert int(crc, 16) == codecs.crc32c(text)
    assert sorted(path.name for path in place.iterdir()) == sorted(
        ["replica.json", "groups", *(name for name in rows if "/" not in name)]
    )
    fields = json.loads((place / "replica.json").read_text())
    text = re.sub(r"\s+", " ", PAGE.section("REPLICAS"))
    assert all(f".Va {name}" in text for name in fields)
    topic.close()
    log.close()


def test_a_line_of_the_journal_has_the_keys_of_the_page_and_its_example_is_one(directory):
    text = PAGE.section("JOURNAL").replace("\n", " ")
    assert f"has {reset_journal.ROTATE_BYTES} bytes or more" in text
    (example,) = PAGE.examples("JOURNAL")
    example = example.rstrip().replace(",\n", ", ")
    directory.create_topic("orders")
    commit_offset(directory.location, "orders")
    topic_id = directory.describe_topic("orders")["topic_id"]
    directory.change_offsets("billing", [OffsetChange("orders", topic_id, 0, 1, 0)], kind="reset")
    line = Path(directory.location, "groups/billing/journal").read_bytes()
    assert line.endswith(b"\n") and line.isascii()
    for one in (example.encode(), line[:-1]):
        covered, _, checksum = one.rpartition(b'"checksum": ')
        document = json.loads(one)
        assert checksum == b'"%08x"}' % crc(covered)
        assert document["checksum"] == f"{crc(covered):08x}"
        assert list(document) == [row["key"] for row in PAGE.table("JOURNAL", "key")]
        for offset in document["offsets"]:
            assert list(offset) == [row["field"] for row in PAGE.table("JOURNAL", "field")]
    assert (document["change"], document["kind"], document["undoes"]) == (1, "reset", None)
    (offset,) = document["offsets"]
    assert (offset["before"], offset["before_epoch"], offset["after"], offset["after_epoch"]) == (1, 0, 0, -1)


def test_names_have_the_bounds_of_the_page():
    text = PAGE.section("LAYOUT").replace("\n", " ")
    assert f"has 1 to {topic_partition.MAX_NAME_LENGTH} of the letters" in text
    assert f"A topic has 1 to {topic_partition.MAX_PARTITIONS} partitions." in text


def commit_offset(location, name):
    opened = LogDirectory(location)
    topic = opened.open_topic(name)
    claims = make_claims(topic, "billing")
    claim = take(claims, 0)
    claim.commit(1, 0)
    for one in (claim, claims, topic, opened):
        one.close()


def test_every_file_that_is_written_is_in_the_layout(directory):
    directory.create_topic("orders", partitions=2, config={"segment.bytes": 4096})
    with directory.producer("orders", partition=1) as producer:
        for number in range(3):
            producer.send(b"%d" % number * 3000)
            producer.flush()
    with directory.producer("orders", producer_id="import-7") as producer:
        producer.send(b"more")
    log = Path(directory.location).with_name("app.log")
    log.write_bytes(b"a line\n")
    follow(directory.location, log, "shipper-1", 1)
    root = Path(directory.location)
    commit_offset(directory.location, "orders")
    identity = directory.describe_topic("orders")["topic_id"]
    directory.change_offsets("billing", [OffsetChange("orders", identity, 0, 1, 0)], kind="reset")
    (root / "groups/billing/journal").rename(root / "groups/billing/journal.old")
    directory.change_offsets("billing", [OffsetChange("orders", identity, 0, 0, 1)], kind="reset")
    topic_id = read_flat_json((root / "topics/orders/topic.json").read_bytes())["topic_id"]
    places = {"topic": "orders", "partition": "[01]", "base": "[0-9]{20}", "id": topic_id, "producer": "[0-9a-f]{16}"}
    places |= {"group": "billing", "generation": "[0-9]{10}"}
    place = re.compile(
        r"(?<![a-z.])(topic|partition|base|id|producer|group|(?<=[.]\])generation)(?![a-z])(?!\[[.]\]json)"
    )
    known = [
        re.compile(place.sub(lambda name: places[name[1]], row["path"].replace(".", r"[.]")))
        for row in PAGE.table("LAYOUT", "path")
    ]
    written = [str(path.relative_to(root)) + "/" * path.is_dir() for path in root.rglob("*")]
    assert len(written) > 20
    for name in written:
        assert any(path.fullmatch(name) for path in known), name


def test_a_pin_has_the_keys_of_the_page_and_its_example_is_one(directory):
    directory.create_topic("t", partitions=8)
    with directory.producer("t", producer_id="import-7") as producer:
        producer.send(b"v")
        producer.flush()
    (pin,) = (Path(directory.location) / "topics/t/producers").iterdir()
    (example,) = PAGE.examples("Pins")
    assert pin.read_text() == example
    assert f"producers/{pin.name} :" in PAGE.section("Pins")
    assert int(pin.name, 16) == int.from_bytes(hashlib.sha256(b"import-7").digest()[:8], "big")
    keys = [row["key"] for row in PAGE.table("Pins", "key", "type")]
    assert keys == list(read_flat_json(example.encode()))
    assert f"1 to {topic_partition.MAX_NAME_LENGTH} printable characters" in PAGE.section("PRODUCERS")
    for record in directory.consumer(["t"]):
        assert record.partition == int(pin.name, 16) % 8


def follow(location, path, producer_id, count):
    words = ["--follow", path, "--producer-id", producer_id, "-n", str(count), "-q"]
    subprocess.run([PROGRAM, "produce", "orders", "-d", location, *words], check=True, timeout=60)


def test_an_input_mark_has_the_fields_of_the_page_and_its_example_is_one(directory, tmp_path):
    directory.create_topic("orders")
    log = tmp_path / "app.log"
    log.write_bytes(b"a line\n" * 200)
    follow(directory.location, log, "import-7", 150)
    (example,) = PAGE.examples("Input marks")
    (mark,) = (Path(directory.location) / "topics/orders/producers").glob("*.input")
    assert int(mark.stem, 16) == int.from_bytes(hashlib.sha256(b"import-7").digest()[:8], "big")
    keys = [row["key"] for row in PAGE.table("Input marks", "key", "type")]
    names = [row["field"] for row in PAGE.table("Input marks", "field", "meaning")]
    for text in (example, mark.read_text()):
        fields = read_flat_json(text.encode())
        assert list(fields) == keys
        for place in filter(None, (fields["reading"], fields["before"], fields["then"])):
            assert [field.partition("=")[0] for field in place.split(" ")] == names
    place = {name: int(value) for name, value in (field.split("=") for field in fields["reading"].split(" "))}
    content = log.read_bytes()
    assert fields["sequence"] == 150
    assert fields["path"] == str(log)
    assert (place["position"], place["records"], place["limit"]) == (7 * 150, 150, -1)
    assert place["inode"] == log.stat().st_ino
    assert place["head_crc"] == crc(content[:1024])
    assert place["tail_crc"] == crc(content[7 * 150 - 1024 : 7 * 150])


def test_a_snapshot_is_as_the_page_says_and_shows(directory):
    (example,) = PAGE.examples("Snapshots")
    found = producer_state.decode_snapshot(example.encode(), 48211)
    assert (found.offset, found.position, found.chain) == (48211, 0, 1367400677)
    assert found.last_sequences == {0x7FA9DE4508328836: 119999}
    assert found.encode().decode() == example
    directory.create_topic("t", config={"segment.bytes": 4096})
    with directory.producer("t", producer_id="import-7") as producer:
        for number in range(3):
            producer.send(b"%d" % number * 3000)
            producer.flush()
    root = Path(directory.location) / "topics/t/0"
    assert sorted(path.stem for path in root.glob("*.producers")) == [f"{1:020d}", f"{2:020d}"]
    body, _, checksum = (root / f"{2:020d}.producers").read_bytes().rpartition(b"crc=")
    assert checksum == b"%08x\n" % crc(body)
    place, line = body.decode().splitlines()
    header, names = layout(HEADER)
    before = dict(zip(names, header.unpack_from((root / f"{1:020d}.log").read_bytes()), strict=True))
    assert place == f"offset=2 position=0 chain={before['chain']}"
    assert line == f"{before['producer_id']:016x} {before['last_sequence']}"
    assert (before["first_sequence"], before["last_sequence"]) == (1, 1)


# A reader that was written from the page.


def make_crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = make_crc_table()


def crc(data, previous=0):
    value = previous ^ 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def seal(header):
    return header[:124] + struct.pack(">I", crc(header[:124]))


def read_flat_json(data):
    lines = data.decode("ascii").split("\n")
    assert lines[0] == "{"
    assert lines[-2:] == ["}", ""]
    fields = {}
    for line in lines[1:-2]:
        key, value = re.fullmatch(r'"([^"]*)": (.*?),?', line).groups()
        assert line.endswith(",") == (key != "checksum")
        fields[key] = json.loads(value)
    assert next(iter(fields)) == "format"
    assert list(fields)[-1] == "checksum"
    covered = data[: data.index(b'"checksum"')]
    assert f"{crc(covered):08x}" == fields["checksum"]
    return fields


def read_slot(slot):
    """Return the fields of a slot, or None if it is not valid."""
    line, found, rest = slot.rpartition(b" crc=")
    if len(slot) != 512 or not found or rest[:8] != b"%08x" % crc(line):
        return None
    assert rest[8:] == b" " * (len(rest) - 9) + b"\n"
    fields = dict(field.split("=") for field in line.decode().split(" "))
    for row in STATE:
        value = fields[row["field"]]
        if row["type"] == "end":
            fields[row["field"]] = [int(part) for part in value.split(":")]
        elif row["type"] != "string":
            fields[row["field"]] = int(value)
    return fields


def read_claim_slot(slot):
    """Return the fields of a slot of a claim, or None if it is not valid."""
    line, found, rest = slot.rpartition(b" crc=")
    if len(slot) != 512 or not found or rest[:8] != b"%08x" % crc(line):
        return None
    assert rest[8:] == b" " * (len(rest) - 9) + b"\n"
    fields = dict(field.split("=") for field in line.decode().split(" "))
    types = {row["field"]: row["type"] for row in CLAIM}
    assert list(fields) == list(types)
    return {name: value if types[name] == "string" else int(value) for name, value in fields.items()}


def read_epoch_lines(data):
    entries = []
    for line in data.split(b"\n")[:-1]:
        text, _, found = line.rpartition(b" ")
        assert found == b"%08x" % crc(text)
        epoch, first_offset, leader = text.decode().split(" ")
        entries.append((int(epoch), int(first_offset), leader))
    return entries


def read_batches(data, offset, end, chain=0):
    """Yield offset, time, key, value, headers of all records from byte 0 on, up to the offset `end`."""
    header, names = layout(HEADER)
    links, link_names = layout(CHAIN)
    position = 0
    while offset < end:
        fields = dict(zip(names, header.unpack_from(data, position), strict=True))
        assert fields["magic"] == b"\x8aMK\x01"
        assert fields["header_crc"] == crc(data[position : position + 124])
        assert fields["base_offset"] == offset
        chain = crc(links.pack(*(fields[name] for name in link_names)), chain)
        assert fields["chain"] == chain
        assert fields["durable_offset"] <= offset
        position += header.size
        payload = data[position : position + fields["payload_length"]]
        position += fields["payload_length"]
        assert fields["payload_crc"] == crc(payload)
        codec = fields["attributes"] & 7
        for name, decompress in (
            ("gzip", gzip.decompress),
            ("lz4", lz4.frame.decompress),
            ("zstd", codecs._zstd().decompress),
        ):
            if codec == int(CODECS[name]["number"]):
                payload = decompress(payload)
        assert len(payload) == fields["raw_length"]
        count, time = fields["record_count"], fields["base_timestamp"]
        if fields["attributes"] & 0x0300:
            values, keys, times, headers, deltas = msgpack.unpackb(payload)
            assert deltas is None
            for number in range(count):
                yield (
                    offset + number,
                    time + (times[number] if times else 0),
                    keys[number] if keys else None,
                    values[number],
                    headers[number] if headers else [],
                )
        else:
            key = payload[: fields["key_length"]] if fields["key_length"] >= 0 else None
            values = payload[max(fields["key_length"], 0) :].split(b"\n")
            assert values.pop() == b""
            assert len(values) == count
            for number, value in enumerate(values):
                yield offset + number, time, key, value, []
        offset += fields["last_offset_delta"] + 1


def read_partition(root, topic, partition):
    """Read a partition as the page says: up to the high watermark, segment by segment."""
    assert read_flat_json((root / "mk.json").read_bytes())["format"] == 1
    topic_json = read_flat_json((root / "topics" / topic / "topic.json").read_bytes())
    assert topic_json["format"] == 1
    files = root / "topics" / topic / str(partition)
    data = (files / "state").read_bytes()
    slots = [slot for slot in (read_slot(data[:512]), read_slot(data[4096:])) if slot]
    state = max(slots, key=lambda slot: slot["sequence"])
    assert state["topic"] == topic_json["topic_id"]
    assert state["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    bases = sorted(int(path.stem) for path in files.glob("*.log") if int(path.stem) <= state["segment"])
    ends = [*bases[1:], state["high_watermark"]]
    records = []
    chain = 0
    header, names = layout(HEADER)
    for base, end in zip(bases, ends, strict=True):
        segment = (files / f"{base:020d}.log").read_bytes()
        records += read_batches(segment, base, end, chain)
        position = 0
        for entry in struct.iter_unpack(layout(INDEX)[0].format, (files / f"{base:020d}.index").read_bytes()):
            if entry[1] < len(segment):
                found = dict(zip(names, header.unpack_from(segment, entry[1]), strict=True))
                assert found["base_offset"] == base + entry[0]
            assert entry[1] > position
            position = entry[1]
        at = 0
        while at < len(segment):
            found = dict(zip(names, header.unpack_from(segment, at), strict=True))
            at += header.size + found["payload_length"]
            chain = found["chain"]
    return records


@pytest.mark.skipif(not os.path.exists("/proc/sys/kernel/random/boot_id"), reason="no boot id in /proc")
@pytest.mark.parametrize("compression", [name for name, row in CODECS.items() if row["meaning"] != "reserved"])
@pytest.mark.parametrize("acks", [0, 1])
def test_a_reader_that_was_written_from_the_page_reads_what_mk_reads(directory, compression, acks):
    directory.create_topic("t", config={"segment.bytes": 100_000})
    with directory.producer("t", compression=compression, acks=acks) as producer:
        for number in range(60):
            producer.send(b"first %d" % number)
            producer.send(os.urandom(6000), b"k%d" % (number % 3))
            producer.flush()
            producer.send(b"", b"", timestamp_ms=5)
            producer.flush()
            producer.send(None, b"k", ((b"h", b"1"), (b"h", None)), timestamp_ms=7)
            producer.send(b"two\nlines", timestamp_ms=4)
            producer.flush()
    read = read_partition(Path(directory.location), "t", 0)
    expected = [
        (
            record.offset,
            record.timestamp_ms,
            record.key,
            record.value,
            [part for header in record.headers for part in header],
        )
        for record in directory.consumer(["t"])
    ]
    assert len(read) == 300
    assert read == expected
    assert len(list((Path(directory.location) / "topics/t/0").glob("*.log"))) > 2
