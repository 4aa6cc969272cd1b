"""What is written in a format that loses nothing is read again as the same records, however the bytes are cut."""

from hypothesis import given
from hypothesis import strategies as st

from mk.formats.format_reader import FormatReader
from mk.formats.framed import FrameReader
from mk.formats.json_reader import read_lines
from mk.formats.record_columns import BadRecordError, RecordColumns
from mk.formats.writers import writer
from mk.records.record import ConsumerRecord

data = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=12).map(str.encode),
    st.sampled_from([b"", b"\n", b"\0", b"null", b"NULL", b"%v", b'{"b64":"YQ=="}', b"\xed\xa0\x80", b"a\tb c", b"-1"]),
)
nullable = st.one_of(st.none(), data)
records = st.builds(
    ConsumerRecord,
    st.sampled_from(["t", "a.topic", "b-2"]),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.one_of(st.integers(0, 2**42), st.integers(-(2**62), 2**62)),
    nullable,
    nullable,
    st.lists(st.tuples(data, nullable), max_size=4).map(tuple),
)
many = st.lists(records, max_size=6)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=8)

HEADERS = "%H{big32}%h{%K{big32}%k%V{big32}%v}"
LOSSLESS = [
    "%K{big32}%k%V{big32}%v%T{big64}" + HEADERS,
    "%K{little64}%k|%V{little32}%v|%T{little64}%p{big32}%o{big64}%H{hex32}%h{%K{hex64}%k%V{hex32}%v}",
    "%T %p %o %K %k%V %v%H %h{%K %k%V %v}",
    r"%T{hex64}%k{json}%v{json}%H{little32}%h{%k{json}=%v{json},}\n",
    "%V{big32}%v{base64}%K %k{hex}%T{big64}%H %h{%K %k{base64}%V %v{hex}}",
    r"%t %T %k{json}%v{json}%H %h{%k{json}%v{json}}\0",
]


def content(record: ConsumerRecord) -> tuple[object, ...]:
    return (record.key, record.value, record.headers, record.timestamp_ms)


def rows(columns: RecordColumns) -> list[tuple[object, ...]]:
    return list(zip(columns.keys, columns.values, columns.headers, columns.timestamps, strict=True))


def pieces(printed: bytes, sizes: list[int]) -> list[bytes]:
    cut = []
    at = turn = 0
    while at < len(printed):
        cut.append(printed[at : at + sizes[turn % len(sizes)]])
        at += len(cut[-1])
        turn += 1
    return cut


def read_all(stream, printed: bytes, sizes: list[int]) -> RecordColumns:
    """Read a stream that comes in pieces, as the command does."""
    columns = RecordColumns()
    for piece in [*pieces(printed, sizes), None]:
        if piece is None:
            stream.end()
        else:
            stream.feed(piece)
        before = -1
        while before != len(columns):
            before = len(columns)
            stream.read(columns, 1000)
    assert stream.waiting_bytes == 0
    return columns


@given(many)
def test_json_lines_are_read_as_the_records_they_were_printed_of(written):
    lines = writer("json")(written).split(b"\n")
    assert lines.pop() == b""
    columns = RecordColumns()
    read_lines(lines, 0, columns)
    assert rows(columns) == [content(record) for record in written]
    assert columns.topics == [record.topic for record in written]
    assert columns.partitions == [record.partition for record in written]


@given(many, cuts)
def test_frames_are_read_as_the_records_they_were_written_of(written, sizes):
    columns = read_all(FrameReader(), writer("framed")(written), sizes)
    assert rows(columns) == [content(record) for record in written]
    assert columns.topics == [record.topic for record in written]
    assert columns.partitions == [record.partition for record in written]


@given(st.sampled_from(LOSSLESS), many, cuts, st.sampled_from([None, b"\n", b"--"]))
def test_a_format_that_says_where_fields_end_is_read_as_it_was_printed(form, written, sizes, delimiter):
    printed = writer(form, delimiter=delimiter)(written)
    reader = FormatReader(form, delimiter=delimiter)
    if reader.delimiter is None:
        columns = read_all(reader.stream(), printed, sizes)
    else:
        columns = RecordColumns()
        lines = printed.split(reader.delimiter)
        assert lines.pop() == b""
        reader.read_lines(lines, 0, columns)
    assert rows(columns) == [content(record) for record in written]


@given(many, st.sampled_from([r"%v{json} %k{json} %d{iso}\n", r"%d{iso};%k{hex},%v{base64}\n"]))
def test_text_formats_that_encode_are_read_line_by_line(written, form):
    written = [record for record in written if "hex" not in form or None not in (record.key, record.value)]
    reader = FormatReader(form)
    columns = RecordColumns()
    lines = writer(form)(written).split(b"\n")[:-1]
    reader.read_lines(lines, 0, columns)
    assert rows(columns) == [(one.key, one.value, (), one.timestamp_ms) for one in written]


@given(st.binary(max_size=60), st.sampled_from([*LOSSLESS, "framed"]), cuts)
def test_any_bytes_are_records_or_refused_and_nothing_else(garbage, form, sizes):
    stream = FrameReader() if form == "framed" else FormatReader(form).stream()
    try:
        columns = read_all(stream, garbage, sizes)
    except BadRecordError as error:
        assert str(error)
    else:
        assert len(columns) or not garbage


@given(st.one_of(st.binary(max_size=60), st.text(max_size=40).map(str.encode)))
def test_any_line_is_a_record_or_refused_and_nothing_else(line):
    columns = RecordColumns()
    try:
        read_lines([line], 0, columns)
    except BadRecordError as error:
        assert str(error) and not len(columns)
    else:
        assert len(columns) == 1
