import json

import pytest

from mk.formats.terminal import escape, escape_json


@pytest.mark.parametrize(
    "text", ["", "plain\n", "a\tb\n\n", "käse, 水, \U0001f9c0, e\u0301\n", "\\x1b", "non\u00adbreaking\u00a0space"]
)
def test_clean_text_comes_back_as_it_is(text: str) -> None:
    data = text.encode()
    assert escape(data) is data


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x1b[31mred\x1b[0m\n", rb"\x1b[31mred\x1b[0m" + b"\n"),
        (b"over\rwritten\x08\x07\n", rb"over\x0dwritten\x08\x07" + b"\n"),
        (b"\x00\x7f", rb"\x00\x7f"),
        ("\u009b31m".encode(), rb"\xc2\x9b31m"),
        ("user\u202etxt.exe".encode(), rb"user\xe2\x80\xaetxt.exe"),
        ("pass\u200bword\ufeff".encode(), rb"pass\xe2\x80\x8bword\xef\xbb\xbf"),
        (b"caf\xe9\n", rb"caf\xe9" + b"\n"),
        (b"\xed\xb2\x80", rb"\xed\xb2\x80"),
        (b"\xe6\xb0\xb4 \xe6\xb0", b"\xe6\xb0\xb4 " + rb"\xe6\xb0"),
        ("\U000e0041".encode(), rb"\xf3\xa0\x81\x81"),
    ],
)
def test_what_could_steer_or_mislead_a_terminal_is_shown_by_its_bytes(data: bytes, shown: bytes) -> None:
    assert escape(data) == shown


@pytest.mark.parametrize(
    "text", ["plain", "käse 水 \U0001f9c0", "\x1b[31m\x07", "\u009b31m\x7f", "a\u202eb\u200b", "\U000e0041"]
)
def test_json_is_the_same_json_when_it_is_made_safe(text: str) -> None:
    data = json.dumps({"payload": text}, ensure_ascii=False).encode() + b"\n"
    shown = escape_json(data)
    assert escape(shown) == shown
    assert json.loads(shown) == {"payload": text}


def test_what_stands_between_json_objects_is_shown_by_its_bytes() -> None:
    assert escape_json(b"{}\x00{}\xff") == rb"{}\x00{}\xff"
