"""Targets: what people and programs write and read: -f formats, JSON lines, msgpack frames, lines with keys, selectors."""

from __future__ import annotations

import contextlib
import json
import os
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from mk.errors import RecordTooLargeError
from mk.formats.format_reader import FormatReader
from mk.formats.framed import FrameReader
from mk.formats.json_reader import read_lines
from mk.formats.offset_lists import format_offset_list, parse_offset_list
from mk.formats.readers import LineReader, split_keys, split_values
from mk.formats.record_columns import BadRecordError, RecordColumns
from mk.formats.record_filter import RecordFilter, parse_selector
from mk.formats.terminal import escape, escape_json
from mk.formats.writers import PRESETS, writer
from mk.records.record import ConsumerRecord
from tests.proof.fuzz.mending import Supply
from tests.proof.fuzz.target import Target, accepted, is_refused

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from mk.formats.writers import Writer

TIME = 1_700_000_000_000
HEADERS = "%H{big32}%h{%K{big32}%k%V{big32}%v}"
LOSSLESS = (
    "%K{big32}%k%V{big32}%v%T{big64}" + HEADERS,
    "%K{little64}%k|%V{little32}%v|%T{little64}%p{big32}%o{big64}%H{hex32}%h{%K{hex64}%k%V{hex32}%v}",
    "%T %p %o %K %k%V %v%H %h{%K %k%V %v}",
    r"%T{hex64}%k{json}%v{json}%H{little32}%h{%k{json}=%v{json},}\n",
    "%V{big32}%v{base64}%K %k{hex}%T{big64}%H %h{%K %k{base64}%V %v{hex}}",
    r"%t %T %k{json}%v{json}%H %h{%k{json}%v{json}}\0",
)
"""Formats that print all that a producer can say of a record, and are streams: each field says where it ends."""

BY_LINE = (
    r"%k\t%v\n",
    r"%v\n",
    r"%d{iso} %k{json} %v{json}\n",
    r"%T;%k{hex},%v{base64}\n",
    r"%d{strftime[%Y-%m-%d %H:%M:%S]} %h %v\n",
    r"%h{ %k=%v}|%k|%v\n",
    r"%t %p %v{json}--",
)
"""Formats in which a record ends with the text that ends the format."""


@cache
def printer(form: str) -> Writer:
    """Return the writer of a format; compiling one takes longer than all that is done with it here."""
    return writer(form)


@cache
def reader_of(form: str) -> FormatReader:
    """Return the reader of a format."""
    return FormatReader(form)


def records_of(supply: Supply) -> list[ConsumerRecord]:
    """Return the records that some bytes spell."""
    records = []
    while supply.rest and len(records) < 20:
        headers = []
        for _ in range(supply.byte() % 3):
            headers.append((supply.piece(), supply.maybe()))
        time = (TIME + supply.byte()) if supply.byte() % 2 else supply.number(signed=True) >> 1
        key, value = supply.maybe(), supply.maybe()
        place = supply.byte()
        topic = ("t", "a.topic", "b-2")[place % 3]
        records.append(
            ConsumerRecord(topic, place, supply.number() >> 1, time, key, value, tuple(headers), supply.number())
        )
    return records


def _record_seeds() -> list[bytes]:
    def piece(data: bytes) -> bytes:
        return bytes([len(data)]) + data

    def record(key: bytes | None, value: bytes | None, headers: bytes = b"\0") -> bytes:
        keyed = b"\0" if key is None else b"\1" + piece(key)
        valued = b"\0" if value is None else b"\1" + piece(value)
        return headers + b"\1\7" + keyed + valued + b"\1" + (5).to_bytes(8, "big") + bytes(8)

    one_header = b"\1" + piece(b"name") + b"\1" + piece(b"v")
    return [
        record(b"k", b"v") + record(None, None) + record(b"", b"", one_header),
        record(b"\xff\x1b[2J", "größe\u202e".encode()) + record(b'"\\', b"a\nb\0", one_header),
    ]


def _row(record: ConsumerRecord) -> tuple[object, ...]:
    return (record.key, record.value, tuple(record.headers), record.timestamp_ms)


def _rows(columns: RecordColumns) -> list[tuple[object, ...]]:
    return list(zip(columns.keys, columns.values, columns.headers, columns.timestamps))


def _read(stream: object, pieces: list[bytes]) -> tuple[list[tuple[object, ...]], str]:
    """Read a stream that comes in pieces, as the command does; return the records, and why the next is none."""
    columns = RecordColumns()
    try:
        for piece in [*pieces, None]:
            if piece is None:
                stream.end()  # type: ignore[attr-defined]
            else:
                stream.feed(piece)  # type: ignore[attr-defined]
            before = -1
            while before != len(columns):
                before = len(columns)
                stream.read(columns, 1000)  # type: ignore[attr-defined]
    except BadRecordError as error:
        assert str(error)
        return _rows(columns), str(error)
    assert stream.waiting_bytes == 0  # type: ignore[attr-defined]
    return _rows(columns), ""


# The language of -f.


_PRINTED = [
    ConsumerRecord("t", 0, 7, TIME, b"k", b"v", ((b"h", b"1"), (b"g", None)), 1 << 33),
    ConsumerRecord("t", 3, 8, -62135596800001, None, None),
    ConsumerRecord("a.b", 3, 1 << 62, 253402300799999, b"\xff\n", b"", ((b"", b""),)),
]


def fuzz_format(data: bytes) -> None:
    """A format of any text, and behind a zero byte what is read in it."""
    text, _, given = data.partition(b"\0")
    form = os.fsdecode(text)
    printed = b""
    made = accepted(writer, form, delimiter=b"\n")
    if made:
        printed = made[0](_PRINTED) + made[0]([])
        assert made[0](_PRINTED[:1]) is not None
    for delimiter in (None, b"\n"):
        for reader in accepted(FormatReader, form, delimiter=delimiter):
            for source in (given, printed):
                if reader.delimiter is None:
                    _read(reader.stream(), [source])
                else:
                    for line in source.split(reader.delimiter) if reader.delimiter else [source]:
                        is_refused(reader.read_lines, [line], 0, RecordColumns())


def _formats() -> list[bytes]:
    known = [*LOSSLESS, *BY_LINE, "%s\\x41%%", "%d{strftime[%a %e %b %Y %T]} %v\\n", "%R%S{hex8}%H%h{%k}"]
    return [form.encode() + b"\0" + b"k\tv\nk v\n" for form in known]


# Input in a format that is right.


def fuzz_produce(data: bytes) -> None:
    """Input is the same records, and the same mistake behind them, however it is cut; and prints as what it was."""
    supply = Supply(data)
    choice, size = supply.byte(), supply.byte() + 1
    given = supply.rest
    pieces = [given[at : at + size] for at in range(0, len(given), size)]
    forms = (*LOSSLESS, "framed")
    form = forms[choice % len(forms)]

    def stream() -> object:
        return FrameReader() if form == "framed" else reader_of(form).stream()

    found, fault = _read(stream(), [given])
    cut, fault_of_cut = _read(stream(), pieces)
    assert cut == found and bool(fault) == bool(fault_of_cut), (fault, fault_of_cut)
    printable = [row for row in found if _is_printable(form, row)]
    if printable:
        again, fault = _read(stream(), [printer(form)([_as_record(row) for row in printable])])
        wanted = [row if row[3] is not None else (*row[:3], 0) for row in printable]
        assert not fault and again == wanted


def _as_record(row: tuple[object, ...]) -> ConsumerRecord:
    key, value, headers, time = row
    return ConsumerRecord("t", 0, 0, time if isinstance(time, int) else 0, key, value, headers)  # type: ignore[arg-type]


def _is_printable(form: str, row: tuple[object, ...]) -> bool:
    headers = row[2]
    assert isinstance(headers, tuple)
    return all(name is not None for name, _ in headers)


def _inputs() -> list[bytes]:
    records = records_of(Supply(b"".join(_record_seeds())))
    made = []
    for number, form in enumerate((*LOSSLESS, "framed")):
        made.append(bytes([number, 3]) + printer(form)(records))
        made.append(bytes([number, 200]) + printer(form)(records[:1]))
    return made


def fuzz_lines_of_format(data: bytes) -> None:
    """A line in a format is a record or is refused."""
    form = BY_LINE[data[0] % len(BY_LINE) if data else 0]
    reader = reader_of(form)
    delimiter = reader.delimiter
    assert delimiter
    columns = RecordColumns()
    count = 0
    for line in data[1:].split(delimiter):
        if not is_refused(reader.read_lines, [line], 0, columns):
            count += 1
        assert len(columns) == count


def _lines_of_formats() -> list[bytes]:
    records = records_of(Supply(b"".join(_record_seeds())))
    return [bytes([number]) + printer(form)(records) for number, form in enumerate(BY_LINE)]


# Presets.


def fuzz_json_lines(data: bytes) -> None:
    """A line of JSON is a record or is refused; one that is a record prints as JSON that is the same record."""
    lines = data.split(b"\n")
    columns = RecordColumns()
    if len(lines) > 1:
        is_refused(read_lines, lines, 0, columns)
    for line in lines:
        one = RecordColumns()
        if is_refused(read_lines, [line], 0, one):
            assert not len(one)
            continue
        assert len(one) == 1
        json.loads(line.removeprefix(b"\xef\xbb\xbf").decode())
        key, value, headers, time = _rows(one)[0]
        topic, partition = one.topics[0] or "t", one.partitions[0] or 0
        with contextlib.suppress(UnicodeEncodeError):
            topic.encode()
            record = ConsumerRecord(topic, partition, 0, time or 0, key, value, headers)
            printed = printer("json")([record])
            again = RecordColumns()
            read_lines([printed.removesuffix(b"\n")], 0, again)
            assert _rows(again) == [_row(record)]
            assert (again.topics, again.partitions) == ([topic], [partition])


def _json_lines() -> list[bytes]:
    records = records_of(Supply(b"".join(_record_seeds())))
    return [
        printer("json")(records).removesuffix(b"\n"),
        b'{"value":"v","key":"k","timestamp":"2026-11-23T10:00:00Z","headers":[{"key":"a","value":"b"}]}',
        b'{"payload":"v","headers":["a","b"],"tstype":"create","ts":-1}\n{"payload_b64":"YQ==","headers":{"a":null}}',
    ]


def fuzz_consume(data: bytes) -> None:
    """Any records print in any preset; JSON and frames are read again, and what a terminal is shown steers nothing."""
    records = records_of(Supply(data))
    for preset in PRESETS:
        printed = printer(preset)(records)
        if preset == "framed":
            assert _read(FrameReader(), [printed])[0] == [_row(record) for record in records]
            continue
        shown = (escape_json if preset == "json" else escape)(printed)
        for character in shown.decode():
            assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")
            assert unicodedata.bidirectional(character) not in (
                "LRE",
                "RLE",
                "LRO",
                "RLO",
                "PDF",
                "LRI",
                "RLI",
                "FSI",
                "PDI",
            )
        if preset == "json":
            lines = printed.split(b"\n")[:-1]
            columns = RecordColumns()
            read_lines(lines, 0, columns)
            assert _rows(columns) == [_row(record) for record in records]
            assert [json.loads(line) for line in lines] == [json.loads(line) for line in shown.split(b"\n")[:-1]]
    for form in (*LOSSLESS, *BY_LINE):
        printer(form)(records)


# Lines and keys.

_memory = os.memfd_create("mk-fuzz-lines")
_MAX_LINE = 40


def fuzz_lines(data: bytes) -> None:
    """Input is cut at its delimiters, whatever they are, and lines at their keys."""
    supply = Supply(data)
    delimiter, key_delimiter, most = supply.piece()[:4], supply.piece()[:4], supply.byte() % 8
    given = supply.rest
    os.ftruncate(_memory, 0)
    os.pwrite(_memory, given, 0)
    os.lseek(_memory, 0, os.SEEK_SET)
    reader = LineReader(
        _memory, delimiter=delimiter, max_lines=most or None, max_line_bytes=_MAX_LINE, batch_bytes=64, flush_ms=0
    )
    wanted = split_values(given, delimiter)
    if not given:
        wanted = []
    found: list[bytes] = []
    refused = 0
    while True:
        try:
            block = reader.next_block()
        except RecordTooLargeError:
            assert len(wanted[len(found)]) > _MAX_LINE
            found.append(wanted[len(found)])
            refused += 1
            reader.skip_line()
            continue
        if block is None:
            break
        lines = split_values(block, delimiter)
        count = 0
        for piece, number in reader.pieces(32):
            count += number
            piece.release()
        assert count == len(lines)
        assert all(len(line) <= _MAX_LINE for line in lines)
        found += lines
        if key_delimiter:
            keys, values = split_keys(block, key_delimiter, delimiter)
            pairs = [line.partition(key_delimiter) for line in lines]
            assert keys == [key if mark else None for key, mark, _ in pairs]
            assert values == [value if mark else key for key, mark, value in pairs]
        del block
    assert found == (wanted[:most] if most else wanted)


def _line_inputs() -> list[bytes]:
    return [
        b"\1\n\1\t\0" + b"k\tv\nw\n\nlast",
        b"\1\n\1\t\2" + b"a\nb\nc\n",
        b"\2--\1=\0" + b"a=1--b--" + b"x" * 60 + b"--c",
        b"\2aa\1b\0" + b"aaabaaaab",
        b"\0\0\0" + b"all of it\n",
        b"\1\0\2::\0" + b"k::v\0w\0",
    ]


# Which records.


def fuzz_selector(data: bytes) -> None:
    """A selector is none, or finds in a block of lines what it finds in each of them."""
    text, _, block = data.partition(b"\0")
    form = os.fsdecode(text)
    # A regular expression may take for ever, which is its author's own affair: one repetition is enough here.
    selectors = accepted(parse_selector, form) if len(re.findall(r"[*+?{]", form)) <= 2 else []
    if not selectors:
        return
    (selector,) = selectors
    block = block.replace(b"\0", b"")[:200] + b"\n"
    lines = block[:-1].split(b"\n")
    if selector.part == "v":
        assert selector.lines(block) == b"".join(line + b"\n" for line in lines if selector.wants_bytes(line))
        pieces = list(RecordFilter([selector]).pieces(block))
        assert b"".join(piece for piece, _ in pieces) == block
    for line in lines:
        for record in (
            ConsumerRecord("t", 0, 0, 0, line, None, ((line, line),)),
            ConsumerRecord("t", 0, 0, 0, None, line),
        ):
            selector.wants(record)


def _selectors() -> list[bytes]:
    return [
        text + b"\0" + b"one\ntwo\n\nthree\n"
        for text in (
            b"v=o",
            b"!v=^t.o$",
            b"k=\\d+",
            b"h:source=^cron",
            b"!h:x=[^a]",
            b"v=(?i)T[^-x]\\s",
            b"v=\\Bn|e\\b",
        )
    ]


def fuzz_offset_list(data: bytes) -> None:
    """A list of committed offsets as text."""
    for found in accepted(parse_offset_list, data, "list"):
        rows = [(one.group or "g", one.topic, one.partition, 7) for one in found]
        if len({row[:3] for row in rows}) == len(rows):
            again = parse_offset_list(format_offset_list(rows).encode(), "list")
            assert [(one.group, one.topic, one.partition, int(one.offset)) for one in again] == rows


def _offset_lists() -> list[bytes]:
    return [
        b"# a comment\nbilling,orders,0,1200\nbilling,orders,1,end\n",
        b'group,topic,partition,new-offset\n"g","t",3,@2026-11-23\n',
        b"\xef\xbb\xbforders,0,5\r\n",
    ]


TARGETS = [
    Target("format", fuzz_format, _formats, max_bytes=512),
    Target("produce", fuzz_produce, _inputs, max_bytes=2048),
    Target("format-lines", fuzz_lines_of_format, _lines_of_formats, max_bytes=1024),
    Target("json-lines", fuzz_json_lines, _json_lines),
    Target("consume", fuzz_consume, _record_seeds, max_bytes=1024),
    Target("lines", fuzz_lines, _line_inputs, max_bytes=512),
    Target("selector", fuzz_selector, _selectors, max_bytes=256),
    Target("offset-list", fuzz_offset_list, _offset_lists, max_bytes=512),
]
