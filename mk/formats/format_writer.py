"""Records as the bytes of a format that a user wrote: compiled once, into a Python function made for it.

What that function does for each record is what somebody would write by hand for this one format: no part of the format is
looked at again. Only numbers and names of constants stand in its source, never a piece of what the user typed.
"""

from __future__ import annotations

from struct import Struct

from mk.formats.format_parts import Field, parse_format, wrong
from mk.records.record import ConsumerRecord
from mk.records.record_slice import fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mk.formats.format_parts import Part
    from mk.formats.writers import Writer

_TAKES_BITS = {
    "partition": 32,
    "value_length": 32,
    "key_length": 32,
    "header_count": 32,
    "offset": 64,
    "timestamp": 64,
    "leader_epoch": 64,
    "counter": 64,
}
"""How many bits a number takes: one that was cut to fewer would be another."""

_UNSIGNED = {"leader_epoch"}
_SECONDS_KEPT = 4096
_YEAR_9999_MS = 253402300800000
_CODES = {64: "q", 32: "i", 16: "h", 8: "b"}


def compile_writer(format: str, *, delimiter: bytes, null: bytes) -> Writer:
    """Return the function that turns records into the bytes of a format, with `delimiter` behind each record.

    null: what a field prints for a key or value that is null, but for {json}, which has its own.

    Raises:
        UsageError: the format is none, or a number in it has too few bits for what it says.
    """
    parts = parse_format(format)
    if delimiter:
        parts.append(delimiter)
    return _Compiler(format, null).writer(parts)


class _Compiler:
    """Makes the source of one function. names: what it may use, beside its own variables."""

    def __init__(self, format: str, null: bytes) -> None:
        self._format = format
        self._names: dict[str, Any] = {"null": null, "join": b"".join, "count": [0], "fields_of": fields_of}
        self._uses: set[str] = set()

    def writer(self, parts: list[Part]) -> Writer:
        pieces = self._pieces(parts, value="value", key="key")
        fields = [name for name in ConsumerRecord.__slots__ if name in self._uses] or ["offset"]
        lines = [
            "def write(records):",
            " parts = []",
            " shown_topic = None",
            " counter = count[0]",
            f" for {', '.join(fields)}, in fields_of(records, {', '.join(map(repr, fields))}):",
        ]
        if "topic" in self._uses:
            lines += ["  if topic != shown_topic:", "   shown_topic = topic", "   topic_bytes = topic.encode()"]
        if "counter" in self._uses:
            lines.append("  counter += 1")
        one = pieces[0] if len(pieces) == 1 else ""
        if pieces:
            lines.append(f"  parts.append({one})" if one else f"  parts += ({', '.join(pieces)})")
        lines += ["  pass", " count[0] = counter", " return join(parts)"]
        exec("\n".join(lines), self._names)  # Made of the names above alone.
        write: Writer = self._names["write"]
        return write

    def _constant(self, value: object) -> str:
        name = f"constant_{len(self._names)}"
        self._names[name] = value
        return name

    def _pieces(self, parts: list[Part], *, value: str, key: str) -> list[str]:
        """Return expressions of bytes; what is text and decimal numbers side by side becomes one of them."""
        pieces: list[str] = []
        template, numbers = b"", []
        for part in [*parts, None]:
            if isinstance(part, bytes):
                template += part.replace(b"%", b"%%")
                continue
            if part is not None and part.kind != "bytes" and part.name != "headers" and not part.modifier:
                template += b"%d"
                numbers.append(self._number(part, value, key))
                continue
            if numbers:
                pieces.append(f"{self._constant(template)} % ({', '.join(numbers)},)")
            elif template:
                pieces.append(self._constant(template.replace(b"%%", b"%")))
            template, numbers = b"", []
            if part is not None:
                pieces.append(self._expression(part, value, key))
        return pieces

    def _expression(self, field: Field, value: str, key: str) -> str:
        if field.name == "headers":
            return self._headers(field)
        if field.kind == "bytes":
            return self._bytes(field, {"value": value, "key": key, "topic": "topic_bytes"}[field.name])
        number = self._number(field, value, key)
        if field.modifier in ("iso", "strftime"):
            show = _iso if field.modifier == "iso" else _strftime(field.argument)
            return f"{self._constant(_remembering(show))}({number})"
        return self._fixed_width(field, number)

    def _bytes(self, field: Field, name: str) -> str:
        self._uses.add(field.name)
        if field.modifier == "json":
            return f"{self._constant(_json_item())}({name})"
        if field.modifier == "hex":
            shown = f"{name}.hex().encode()"
        elif field.modifier == "base64":
            from binascii import b2a_base64

            shown = f"{self._constant(b2a_base64)}({name}, newline=False)"
        else:
            shown = name
        return shown if field.name == "topic" else f"null if {name} is None else {shown}"

    def _number(self, field: Field, value: str, key: str) -> str:
        if field.name in ("value_length", "key_length"):
            name = value if field.name == "value_length" else key
            self._uses.add(name)
            return f"(-1 if {name} is None else len({name}))"
        if field.name == "header_count":
            self._uses.add("headers")
            return "len(headers)"
        if field.name == "counter":
            self._uses.add("counter")
            return "counter"
        name = "timestamp_ms" if field.name == "timestamp" else field.name
        self._uses.add(name)
        return name

    def _fixed_width(self, field: Field, number: str) -> str:
        order = field.modifier.rstrip("0123456789")
        bits, needs = int(field.modifier[len(order) :]), _TAKES_BITS[field.name]
        if bits < needs:
            raise wrong(
                self._format,
                field.position,
                f"what {field.spelling} says takes {needs} bits, and would be cut to {bits}",
                f"write {{{order}{needs}}}; fewer bits can only be read, by mk produce",
            )
        if order == "hex":
            return f"{self._constant(f'%0{bits // 4}x'.encode())} % ({number} & {(1 << bits) - 1})"
        code = _CODES[bits].upper() if field.name in _UNSIGNED else _CODES[bits]
        return f"{self._constant(Struct(('>' if order == 'big' else '<') + code).pack)}({number})"

    def _headers(self, field: Field) -> str:
        self._uses.add("headers")
        if field.parts is None:
            return f"{self._constant(_listed(self._names['null']))}(headers)"
        uses, self._uses = self._uses, set()
        pieces = self._pieces(field.parts, value="header_value", key="header_name")
        self._uses = uses
        return f"join([piece for header_name, header_value in headers for piece in ({', '.join(pieces)},)])"


def _listed(null: bytes) -> Callable[[tuple[tuple[bytes, bytes | None], ...]], bytes]:
    """Return the function that prints headers as kcat's %h does: NAME=VALUE, with commas between."""

    def listed(headers: tuple[tuple[bytes, bytes | None], ...]) -> bytes:
        return b",".join([name + b"=" + (null if value is None else value) for name, value in headers])

    return listed


def _json_item() -> Callable[[bytes | None], bytes]:
    from mk.formats.json_writer import item

    return lambda data: item(data).encode()


def _remembering(show: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return a function that shows a time as `show` does, and most of them without asking it: records come close together."""
    shown: dict[int, bytes] = {}

    def remembered(timestamp_ms: int) -> bytes:
        text = shown.get(timestamp_ms)
        if text is None:
            if len(shown) >= _SECONDS_KEPT:
                shown.clear()
            text = shown[timestamp_ms] = show(timestamp_ms)
        return text

    return remembered


def _iso(timestamp_ms: int) -> bytes:
    """Return a time in RFC 3339, in UTC, to the millisecond; the bare number where RFC 3339 has no year for it."""
    import time

    # Years before 0 and after 9999, which Python's gmtime may refuse or print otherwise.
    if not -62135596800000 <= timestamp_ms < _YEAR_9999_MS:
        return b"%d" % timestamp_ms
    year, month, day, hour, minute, second, *_ = time.gmtime(timestamp_ms // 1000)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (year, month, day, hour, minute, second, timestamp_ms % 1000)


def _strftime(argument: str) -> Callable[[int], bytes]:
    import time

    # What depends on a zone is that of UTC, wherever this runs.
    pattern = "%%".join(piece.replace("%z", "+0000").replace("%Z", "UTC") for piece in argument.split("%%"))

    def show(timestamp_ms: int) -> bytes:
        if not -62135596800000 <= timestamp_ms < _YEAR_9999_MS:
            return b"%d" % timestamp_ms
        return time.strftime(pattern, time.gmtime(timestamp_ms // 1000)).encode()

    return show
