from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.errors import CorruptStateError, UnsupportedFormatError
from mk.storage import flat_json

VALUES = st.one_of(st.text(), st.integers(-(1 << 70), 1 << 70), st.booleans(), st.none())
NAMES = st.from_regex(r"[a-z][a-z.]{0,20}", fullmatch=True).filter(lambda name: name not in ("format", "checksum"))


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_fields_come_back_and_any_json_parser_reads_them_too(fields: dict[str, str | int | bool | None]) -> None:
    data = flat_json.encode(fields)
    assert flat_json.decode(data, "p") == {"format": 1, **fields}
    parsed = json.loads(data)
    assert {name: parsed[name] for name in fields} == fields


def test_every_flipped_bit_is_noticed_or_harmless() -> None:
    fields: dict[str, str | int | bool | None] = {"name": "orders", "partitions": 3, "compact": True}
    data = flat_json.encode(fields)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert flat_json.decode(bytes(changed), "p") == {"format": 1, **fields}
        except CorruptStateError:
            pass


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptStateError):
        flat_json.decode(data, "p")


def test_a_newer_format_is_refused_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_json, "FORMAT_VERSION", 2)
    data = flat_json.encode({"name": "x"})
    monkeypatch.undo()
    with pytest.raises(UnsupportedFormatError) as caught:
        flat_json.decode(data, "p")
    assert caught.value.facts["found"] == 2
