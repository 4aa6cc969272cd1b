"""What is printed as JSON is valid and gives back the record; what is shown on a terminal steers nothing."""

import base64
import json
import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mk.formats.terminal import escape
from mk.formats.writers import writer
from mk.records.record import ConsumerRecord

text = st.text(max_size=40).map(lambda text: text.encode())
surrogates = st.text(st.characters(codec=None, categories=["Cs", "Lu"]), max_size=4).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
data = st.one_of(text, surrogates, st.binary(max_size=40))
nullable = st.one_of(st.none(), data)
records = st.builds(
    ConsumerRecord,
    st.sampled_from(["t", "a.topic", "größe"]),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**48),
    nullable,
    nullable,
    st.lists(st.tuples(data, nullable), max_size=4).map(tuple),
)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def item(value: Any) -> bytes | None:
    if value is None:
        return None
    return base64.b64decode(value["b64"], validate=True) if isinstance(value, dict) else value.encode()


def member(line: dict[str, Any], name: str) -> bytes | None:
    if f"{name}_b64" in line:
        assert name not in line
        return base64.b64decode(line[f"{name}_b64"], validate=True)
    return item(line[name])


@given(st.lists(records, max_size=5), st.sampled_from([b"\n", b"\0"]))
def test_json_lines_give_back_every_record(written: list[ConsumerRecord], delimiter: bytes) -> None:
    parts = writer("json", delimiter=delimiter)(written).split(delimiter)
    assert parts.pop() == b""
    assert len(parts) == len(written)
    for part, record in zip(parts, written, strict=True):
        line = json.loads(part.decode(), parse_constant=refuse)
        names = [name.removesuffix("_b64") for name in line]
        assert names == ["topic", "partition", "offset", "ts", "headers", "key", "payload"]
        assert (line["topic"], line["partition"], line["offset"]) == (record.topic, record.partition, record.offset)
        assert line["ts"] == record.timestamp_ms
        assert member(line, "key") == record.key
        assert member(line, "payload") == record.value
        assert tuple((item(name), item(value)) for name, value in line["headers"]) == record.headers


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode())))
def test_nothing_that_steers_a_terminal_is_left(data: bytes) -> None:
    shown = escape(data).decode()
    for character in shown:
        assert character in "\n\t" or unicodedata.category(character) != "Cc"
        assert unicodedata.bidirectional(character) not in {
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        }
    assert escape(shown.encode()) == shown.encode()


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_clean_text_is_shown_as_it_is(text: str) -> None:
    assert escape(text.encode()) == text.encode()
