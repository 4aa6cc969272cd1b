"""Which records are wanted, by regular expressions: what `-G` says, of a record or of a whole block of lines.

    selector   [!]k=REGEX | [!]v=REGEX | [!]h:NAME=REGEX

A Python regular expression on bytes, searched for in the key, the value or a header of that name. What a record does not
have, and what is null, matches nothing; so with a `!` it is wanted. Of a header that is there several times, one has to match.

A block of newline-terminated values is searched as a whole, as grep does, where its lines and the block have the same
matches: see across_lines. Otherwise it is searched line by line. Records are never made of it.
"""

from __future__ import annotations

import os
import re

from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

    from mk.records.record import ConsumerRecord

    Runs = Iterator[tuple[int, int]]
    Search = Callable[[bytes], object]

_FORM = "[!]k=REGEX for the key, [!]v=REGEX for the value, or [!]h:NAME=REGEX for a header"
_PIECE_BYTES = 256 << 10
"""So much of a block is searched at once: what is found in it is a list, and a block may hold very many short lines."""

_DENSE = 8
"""Found in more than one byte of so many, it is looked for line by line."""

_SPECIAL = frozenset(b".^$*+?{}[]\\|()")
_SAME_IN_A_BLOCK = frozenset(b"dwb.^$*+?{}[]|()\\/-\"'#&~ =:;,<>@%!")
"""What may follow a backslash and matches no newline."""

_COMPLEMENTS = {ord("s"): rb"[^\S\n]", ord("W"): rb"[^\w\n]", ord("D"): rb"[^\d\n]", ord("S"): rb"\S"}


class Selector:
    """One condition on records. part: `k`, `v` or `h`; name: of the header; regex: as it was typed."""

    __slots__ = ("_find", "_in_block", "_is_dense", "_search", "is_negated", "name", "part", "regex")

    def __init__(self, part: str, regex: bytes, *, name: bytes = b"", is_negated: bool = False) -> None:
        self.part = part
        self.name = name
        self.regex = regex
        self.is_negated = is_negated
        self._search: Search = _compiled(regex).search
        self._in_block: re.Pattern[bytes] | None = None
        self._is_dense = False
        self._find = b""
        if part == "v":
            if regex and not _SPECIAL.intersection(regex) and b"\n" not in regex:
                self._find = regex
            else:
                block_regex = across_lines(regex)
                self._in_block = None if block_regex is None else _compiled(block_regex, re.MULTILINE)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"Selector({self.part!r}, {self.regex!r}, name={self.name!r}, is_negated={self.is_negated})"

    def wants(self, record: ConsumerRecord) -> bool:
        """Tell whether a record is wanted."""
        if self.part == "h":
            search = self._search
            found = any(
                name == self.name and value is not None and search(value) is not None for name, value in record.headers
            )
            return found != self.is_negated
        return self.wants_bytes(record.key if self.part == "k" else record.value)

    def wants_bytes(self, data: bytes | None) -> bool:
        """Tell whether a record is wanted whose key, value or header is `data`."""
        return (data is not None and self._search(data) is not None) != self.is_negated

    def lines(self, piece: bytes) -> bytes:
        """Return the wanted lines of a piece of a block, which are whole lines. The selector is one of values."""
        if self._is_dense or not (self._find or self._in_block):
            kept = self._line_by_line(piece)
        else:
            runs = self._found(piece)
            kept = b"".join(
                [piece[start:stop] for start, stop in (_others(runs, len(piece)) if self.is_negated else runs)]
            )
        # Where it is found in every few lines, it costs less to look at each of them. The next piece will be alike.
        found = len(piece) - len(kept) if self.is_negated else len(kept)
        self._is_dense = found * _DENSE > len(piece)
        return kept

    def _line_by_line(self, piece: bytes) -> bytes:
        values = piece.split(b"\n")
        values.pop()  # What stands behind the last newline: nothing.
        is_negated = self.is_negated
        if self._find:
            find = self._find
            kept = [value for value in values if (find in value) != is_negated]
        else:
            search = self._search
            kept = [value for value in values if (search(value) is None) == is_negated]
        return b"\n".join([*kept, b""]) if kept else b""

    def _found(self, piece: bytes) -> Runs:
        """Yield start and stop of the lines in which the expression is found."""
        start, size = 0, len(self._find)
        if self._find:
            while (at := piece.find(self._find, start)) >= 0:
                first = piece.rfind(b"\n", start, at) + 1 or start
                start = piece.index(b"\n", at + size) + 1
                yield first, start
            return
        assert self._in_block is not None
        search = self._in_block.search
        # An empty match behind the last newline is none: no line begins there.
        while (match := search(piece, start)) is not None and match.start() < len(piece):
            first = piece.rfind(b"\n", start, match.start()) + 1 or start
            start = piece.index(b"\n", match.end()) + 1
            yield first, start


def _others(found: Runs, size: int) -> Runs:
    """Yield what lies between the runs found in so many bytes."""
    start = 0
    for first, stop in found:
        if first > start:
            yield start, first
        start = stop
    if start < size:
        yield start, size


def _compiled(regex: bytes, flags: int = 0) -> re.Pattern[bytes]:
    """Compile without a warning: that a later Python may read an expression differently is nothing to say in a pipeline."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return re.compile(regex, flags)


class RecordFilter:
    """Several conditions, all of which have to hold."""

    __slots__ = ("_of_lines", "_of_values", "_selectors")

    def __init__(self, selectors: Sequence[Selector]) -> None:
        self._selectors = tuple(selectors)
        self._of_values = [one for one in selectors if one.part == "v"]
        self._of_lines = [one for one in selectors if one.part != "v"]

    def wants(self, record: ConsumerRecord) -> bool:
        """Tell whether a record is wanted."""
        return all(selector.wants(record) for selector in self._selectors)

    def wants_lines(self, key: bytes | None) -> bool:
        """Tell whether values that are stored as lines, with this key and without headers, may be wanted at all."""
        return all(selector.wants_bytes(key if selector.part == "k" else None) for selector in self._of_lines)

    def pieces(self, block: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield piece after piece of a block of lines, and its wanted lines."""
        start = 0
        while start < len(block):
            stop = block.rfind(b"\n", start, start + _PIECE_BYTES) + 1 or block.index(b"\n", start) + 1
            piece = wanted = block[start:stop]
            for selector in self._of_values:
                wanted = selector.lines(wanted)
            yield piece, wanted
            start = stop


def across_lines(regex: bytes) -> bytes | None:
    """Return an expression that finds in a block of lines, with re.MULTILINE, what `regex` finds in each of its lines.

    That is the same one, in which nothing can match a newline any more; no line holds one. None where it is not sure: what
    looks around or at the ends of the text, or changes how the expression is read, sees something else in a block.
    """
    if regex[:2] == b"[^":
        return (
            None  # It is the same, but faster line by line: Python has a loop of its own for one byte that is excluded.
        )
    out = bytearray()
    at = 0
    while at < len(regex):
        letter = regex[at]
        if letter < 0x20:
            return None  # A newline, or one end of a range that may hold it.
        if letter == ord("\\"):
            escaped = regex[at + 1]
            if escaped in _COMPLEMENTS:
                out += _COMPLEMENTS[escaped]
            elif escaped in _SAME_IN_A_BLOCK:
                out += regex[at : at + 2]
            else:
                return None
            at += 2
        elif letter == ord("["):
            end = _end_of_class(regex, at)
            if end < 0:
                return None
            if regex[at + 1] == ord("^"):
                # A - that comes first stands for itself, and behind what is put before it would make a range.
                out += b"[^\\n\\" if regex[at + 2] == ord("-") else b"[^\\n"
                out += regex[at + 2 : end]
            else:
                out += regex[at:end]
            at = end
        elif regex[at : at + 2] == b"(?":
            if regex[at : at + 3] != b"(?:" and not (at == 0 and regex[:4] == b"(?i)"):
                return None
            out += regex[at : at + 3]
            at += 3
        else:
            out.append(letter)
            at += 1
    return bytes(out)


def _end_of_class(regex: bytes, start: int) -> int:
    """Return where a character class that begins at `start` ends; -1 if it may match a newline that it does not exclude."""
    is_negated = regex[start + 1 : start + 2] == b"^"
    at = start + 1 + is_negated
    if regex[at : at + 1] == b"]":
        return -1  # It stands for itself there, and what is put before it would end the class.
    while regex[at] != ord("]"):
        if regex[at] < 0x20:
            return -1
        if regex[at] == ord("\\"):
            escaped = regex[at + 1]
            if not (escaped in _SAME_IN_A_BLOCK or escaped == ord("S") or (is_negated and escaped in _COMPLEMENTS)):
                return -1
            at += 1
        at += 1
    return at + 1


def parse_selector(text: str) -> Selector:
    """Read one selector, such as `v=timeout` or `!h:source=^cron`.

    Raises:
        UsageError: saying where in it something else stands than what is accepted.
    """
    is_negated = text.startswith("!")
    at = int(is_negated)
    part = text[at : at + 1]
    name = ""
    if part in ("k", "v"):
        end = at + 1
    elif text.startswith("h:", at):
        end = text.find("=", at)
        if end < 0:
            end = len(text)
        name = text[at + 2 : end]
        if not name:
            _refuse(text, at + 2, "h: is followed by the name of a header")
    else:
        _refuse(text, at, f"it is {_FORM}")
    if text[end : end + 1] != "=":
        _refuse(text, end, f"an = is followed by the regular expression; it is {_FORM}")
    regex = os.fsencode(text[end + 1 :])
    try:
        return Selector(part, regex, name=os.fsencode(name), is_negated=is_negated)
    except (re.error, OverflowError, RecursionError) as error:
        place = getattr(error, "pos", None) or 0
        reason = getattr(error, "msg", "") or "it is too large"
        place = len(os.fsdecode(regex[:place]))
        _refuse(text, end + 1 + place, f"it is no Python regular expression there: {reason}")


def _refuse(text: str, at: int, accepted: str) -> NoReturn:
    found = f"{text[at:]!a}" if at < len(text) else "the end"
    raise UsageError(
        f"{text!a} selects no records",
        why=f"at character {at + 1} stands {found}; {accepted}",
        fix="such as -G v=timeout, -G '!k=^test', or -G 'h:source=cron|at'",
        selector=text,
        position=at,
        accepted=accepted,
    )
