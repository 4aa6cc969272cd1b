r"""A format of `-f` taken apart: text as it is typed into literals and fields.

Decides what is a format, and which modifier a field may have. What the parts print is format_writer's, what they
read format_reader's; both are compiled from the same parts, so that what one writes the other understands. Every spelling
stands in format_spellings.py, with an example that the tests run.
"""

from __future__ import annotations

import os

from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypeAlias

    Part: TypeAlias = "bytes | Field"

ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\"}
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")

BYTES, NUMBER, TIME = "bytes", "number", "time"

DIRECTIVES = {
    "v": ("value", BYTES),
    "s": ("value", BYTES),
    "k": ("key", BYTES),
    "t": ("topic", BYTES),
    "h": ("headers", ""),
    "p": ("partition", NUMBER),
    "o": ("offset", NUMBER),
    "e": ("leader_epoch", NUMBER),
    "i": ("counter", NUMBER),
    "T": ("timestamp", TIME),
    "d": ("timestamp", TIME),
    "V": ("value_length", NUMBER),
    "S": ("value_length", NUMBER),
    "R": ("value_length", NUMBER),
    "K": ("key_length", NUMBER),
    "H": ("header_count", NUMBER),
}
"""The letter of each directive, the field that it is, and what kind of thing that holds."""

_IN_HEADERS = "vsVSRkK"
"""Directives that %h{...} may hold, where they are of the header: its name is its key."""

_MODIFIERS = {
    BYTES: ("hex", "base64", "json"),
    NUMBER: (
        "ascii",
        *(f"{order}{bits}" for order in ("big", "little") for bits in (64, 32, 16, 8)),
        *(f"hex{bits}" for bits in (64, 32, 16, 8)),
    ),
}
_MODIFIERS[TIME] = (*_MODIFIERS[NUMBER], "iso", "strftime[...]")


class Field:
    """A directive: what it is of the record, and how it is written.

    modifier: "" is the usual way. argument: what strftime[...] holds. parts: of headers, what stands for each;
    None for kcat's list of NAME=VALUE. spelling, position: as it was typed, and at which character, from 1.
    """

    __slots__ = ("argument", "kind", "modifier", "name", "parts", "position", "spelling")

    def __init__(self, name: str, kind: str, spelling: str, position: int) -> None:
        self.name = name
        self.kind = kind
        self.spelling = spelling
        self.position = position
        self.modifier = ""
        self.argument = ""
        self.parts: list[Part] | None = None


def parse_format(text: str) -> list[Part]:
    """Return the literals and fields of a format. Raises UsageError with the place of what is wrong, and what is valid."""
    return _Parser(text).parts(in_headers=False)


def wrong(text: str, position: int, why: str, fix: str = "") -> UsageError:
    """Return the error that a format is refused with: which, why, and where, counted in characters from 1."""
    found = repr(text[position - 1 : position + 7]) if position <= len(text) else "the end"
    return UsageError(
        f"{text!a} is no format",
        why=f"at character {position} stands {found}; {why}",
        fix=fix or "`mk help formats` has them all, with examples; nothing was done",
        format=text,
        position=position,
    )


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parts(self, *, in_headers: bool) -> list[Part]:
        """Read up to the end, or up to the brace that ends %h{...}."""
        text = self._text
        parts: list[Part] = []
        literal = b""
        while self._at < len(text):
            start, letter = self._at, text[self._at]
            if in_headers and letter == "}":
                break
            self._at += 1
            if letter == "\\":
                literal += self._escape(start)
            elif letter != "%":
                literal += os.fsencode(letter)
            elif text[self._at : self._at + 1] in ("%", "{", "}"):
                literal += text[self._at].encode()
                self._at += 1
            else:
                if literal:
                    parts.append(literal)
                    literal = b""
                parts.append(self._field(start, in_headers=in_headers))
        if literal:
            parts.append(literal)
        return parts

    def _escape(self, start: int) -> bytes:
        text = self._text
        letter = text[self._at : self._at + 1]
        if letter in ESCAPES:
            self._at += 1
            return ESCAPES[letter]
        digits = text[self._at + 1 : self._at + 3]
        if letter == "x" and len(digits) == 2 and _HEX_DIGITS.issuperset(digits):
            self._at += 3
            return bytes((int(digits, 16),))
        self._wrong(start, r"the escapes are \n \t \r \0 \\ \xNN")

    def _field(self, start: int, *, in_headers: bool) -> Field:
        letter = self._text[self._at : self._at + 1]
        if in_headers and letter not in _IN_HEADERS:
            self._wrong(start, "%h{...} holds %k %v %K %V of a header, and text")
        if letter not in DIRECTIVES or not letter:
            self._wrong(start, "the directives are " + " ".join("%" + one for one in DIRECTIVES) + ", and %% for a %")
        self._at += 1
        name, kind = DIRECTIVES[letter]
        field = Field(name, kind, "%" + letter, start + 1)
        if letter == "R":
            field.modifier = "big32"  # kcat's: a length in binary.
        elif self._text[self._at : self._at + 1] == "{":
            self._at += 1
            if letter == "h":
                field.parts = self._header_parts(start)
            else:
                self._modifier(field)
        return field

    def _header_parts(self, start: int) -> list[Part]:
        inside = self._at
        parts = self.parts(in_headers=True)
        if self._at == len(self._text):
            self._wrong(start, "%h{ has no } that ends it")
        if not any(isinstance(part, Field) for part in parts):
            self._wrong(inside, "%h{...} says how a header is written, as in %h{ %k=%v}")
        self._at += 1
        return parts

    def _modifier(self, field: Field) -> None:
        start = self._at
        text = self._text
        word = text[start : _end_of_word(text, start)]
        bracket = text[start + len(word) : start + len(word) + 1] == "["
        if field.kind == TIME and word == "strftime" and bracket:
            inside = start + len("strftime[")
            end = text.find("]}", inside)
            if end < 0:
                self._wrong(start, "strftime[ has no ]} that ends it")
            field.modifier, field.argument = word, text[inside:end]
            if not field.argument.isascii() or "\0" in field.argument or not _is_strftime(field.argument):
                self._wrong(inside, "strftime[...] holds the directives of strftime(3), as in %d{strftime[%FT%TZ]}")
            self._at = end + 2
        elif text[start + len(word) : start + len(word) + 1] == "}" and word in _MODIFIERS[field.kind]:
            field.modifier = "" if word == "ascii" else word
            self._at = start + len(word) + 1
        else:
            self._wrong(start, f"{field.spelling} may be followed by " + _in_braces(_MODIFIERS[field.kind]))

    def _wrong(self, at: int, why: str) -> NoReturn:
        raise wrong(self._text, at + 1, why)


def _end_of_word(text: str, start: int) -> int:
    end = start
    while end < len(text) and text[end].isalnum() and text[end].isascii():
        end += 1
    return end


def _in_braces(words: tuple[str, ...]) -> str:
    return " ".join("{" + word + "}" for word in words)


def _is_strftime(argument: str) -> bool:
    """Tell whether each % of it is one that every C library knows. Not %s, which would take the time for a local one."""
    letters = argument.split("%")
    following = iter(letters[1:])
    for piece in following:
        if piece == "":
            next(following, None)  # %%
        elif piece[0] not in "aAbBcCdDeFgGhHIjmMnprRStTuUVwWxXyYzZ":
            return False
    return not argument.replace("%%", "").endswith("%") and bool(argument)
