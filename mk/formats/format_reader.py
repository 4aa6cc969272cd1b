r"""Input in a format that a user wrote, as records: what format_writer.py prints in a format, this reads in it.

Two kinds of format. One that holds lengths (%V, %K, %H) or numbers in binary is a stream: each field says where it ends, so
values may hold anything, and behind a mistake nothing can be told from anything else. In all others a record ends with the
text that ends the format (or with -D, -0), each field ends where the text that follows it begins, and a record that does
not match costs only itself.

Compiled once, like the other direction. What is read and not used (%o, %e, %i) has to be there all the same.
"""

from __future__ import annotations

import re
from struct import Struct

from mk.errors import UsageError
from mk.formats.format_parts import Field, parse_format, wrong
from mk.formats.record_columns import MAX_FRAME_BYTES, BadRecordError, RecordColumns
from mk.timestamp import parse_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mk.formats.format_parts import Part

_LENGTH_OF = {"value_length": "value", "key_length": "key", "header_count": "headers"}
_TAKEN = 1024
_CODES = {64: "q", 32: "i", 16: "h", 8: "b"}
_DECIMAL = re.compile(rb"-?[0-9]{1,20}")
_HEX = re.compile(rb"[0-9a-fA-F]*")
_JSON_OTHERS = re.compile(rb'null|\{\s*"b64"\s*:\s*"[^"]*"\s*\}')


class FormatReader:
    """A format, ready to read. delimiter: what ends a record; None in a format whose fields say where they end.

    has_topic, has_partition: whether each record says them.
    """

    def __init__(
        self, format: str, *, delimiter: bytes | None = None, is_whole: bool = False, may_lack_value: bool = False
    ):
        """Compile a format.

        delimiter: what ends each record behind what the format says (-D, -0). is_whole: all of the input is one record.
        may_lack_value: without %v, values are empty.

        Raises:
            UsageError: it is no format, or a field in it does not say where it ends.
        """
        parts = parse_format(format)
        if delimiter:
            parts.append(delimiter)
        fields = [part for part in parts if isinstance(part, Field)]
        names = [field.name for field in fields]
        self.has_topic = "topic" in names
        self.has_partition = "partition" in names
        _check_fields(format, fields)
        if "value" not in names and not may_lack_value:
            raise wrong(format, len(format) + 1, "nothing says what the value is", "add %v; or -Z, for tombstones")
        is_stream = any(field.name in _LENGTH_OF or _width(field) for field in fields)
        self.delimiter: bytes | None = None
        if not is_stream:
            self.delimiter = b""
            if not is_whole:
                self.delimiter = b""
                while parts and isinstance(parts[-1], bytes):
                    self.delimiter = parts.pop() + self.delimiter  # type: ignore[operator]
                if not self.delimiter:
                    raise wrong(
                        format,
                        len(format) + 1,
                        f"nothing says where {fields[-1].spelling} ends",
                        r"end it with what ends a record, as in '%k %v\n', or add -D or -0",
                    )
        elif is_whole:
            raise wrong(format, 1, "it says by itself where a record ends", "leave --whole out")
        self._read = _Compiler(format, is_stream=is_stream).reader(parts)

    def read_lines(self, lines: list[bytes], start: int, columns: RecordColumns) -> None:
        """Append the records from `start` on, each without its delimiter. Raises BadRecordError at the first that is none."""
        read, append = self._read, columns.append
        for at in range(start, len(lines)):
            line = lines[at]
            read(line, 0, len(line), append, True)

    def stream(self) -> FormatStream:
        """Return what cuts a stream into records of this format."""
        return FormatStream(self._read)


class FormatStream:
    """Cuts a stream into records by what their fields say. Fed in pieces of any length; what is incomplete waits.

    is_lost: a record did not match, and so nothing behind it can be told from anything else.
    """

    def __init__(self, read: Callable[..., int]) -> None:
        self._read = read
        self._data = b""
        self._at = 0
        self._has_ended = False
        self.is_lost = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes fed that no record has taken."""
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream. Raises BadRecordError if a record is longer than any can be."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def end(self) -> None:
        """Say that nothing more will come."""
        self._has_ended = True

    def read(self, columns: RecordColumns, most: int) -> None:
        """Append the next whole records, at most so many, and some thousand of them at once.

        Raises BadRecordError at one that is none; those before it are appended.
        """
        data, end = self._data, len(self._data)
        try:
            for _ in range(min(most, _TAKEN)):
                if self._at == end:
                    return
                behind: int = self._read(data, self._at, end, columns.append, self._has_ended)
                if behind < 0:
                    break
                if behind == self._at:
                    raise BadRecordError("it takes no bytes of the input")
                self._at = behind
        except BadRecordError:
            self.is_lost = True
            raise
        if not len(columns) and self.waiting_bytes > MAX_FRAME_BYTES:
            self.is_lost = True
            raise BadRecordError("it is longer than any record that is taken")


def _check_fields(format: str, fields: list[Field]) -> None:
    """Raise UsageError for a field that is there twice, or a length that stands behind what it is of."""
    seen: set[str] = set()
    for field in fields:
        if field.name in seen and field.name not in ("offset", "leader_epoch", "counter"):
            raise wrong(format, field.position, f"the {field.name.replace('_', ' ')} is there already", "leave one out")
        if _LENGTH_OF.get(field.name) in seen:
            raise wrong(format, field.position, "a length stands before what it is of", "put it in front of that")
        seen.add(field.name)


def _width(field: Field) -> int:
    """Return how many bytes a number in a fixed width takes; 0 for any other field."""
    order = field.modifier.rstrip("0123456789")
    if field.kind == "bytes" or order not in ("big", "little", "hex"):
        return 0
    bits = int(field.modifier[len(order) :])
    return bits // (4 if order == "hex" else 8)


class _Compiler:
    """Makes the source of one function: read(data, at, end, append, has_ended) -> where the record ends, -1 for not yet."""

    def __init__(self, format: str, *, is_stream: bool) -> None:
        self._format = format
        self._is_stream = is_stream
        self._names: dict[str, Any] = {
            "Bad": BadRecordError,
            "decimal": _DECIMAL.match,
            "json_item_end": _json_item_end,
        }
        self._lines: list[str] = []
        self._lengths: set[str] = set()

    def reader(self, parts: list[Part]) -> Callable[..., int]:
        self._lines = ["def read(data, at, end, append, has_ended):", " key = topic = partition = timestamp = None"]
        self._lines.append(" value, headers = b'', ()")
        self._parts(parts, " ", "")
        if not self._is_stream:
            # Before it is appended: what is refused must not be stored as well.
            message = self._constant("something follows what the format ends with")
            self._add(" ", "if at != end:", f" raise Bad({message})")
        self._lines += [" append(value, key, headers, timestamp, partition, topic)", " return at"]
        return self._made("read")

    def header_reader(self, parts: list[Part]) -> Callable[..., Any]:
        """Make the function that reads one header which stands alone in `data`, and returns its name and value."""
        self._lines = ["def read_header(data, at, end, has_ended):", " header_key = header_value = None"]
        self._parts(parts, " ", "header_")
        self._lines += [" if at != end:", "  raise Bad('a header does not match the format')"]
        self._lines.append(" return header_key, header_value")
        return self._made("read_header")

    def _made(self, name: str) -> Callable[..., Any]:
        exec("\n".join(self._lines), self._names)  # Made of numbers and the names above alone.
        made: Callable[..., Any] = self._names[name]
        return made

    def _constant(self, value: object) -> str:
        name = f"constant_{len(self._names)}"
        self._names[name] = value
        return name

    def _add(self, indent: str, *lines: str) -> None:
        self._lines += [indent + line for line in lines]

    def _parts(self, parts: list[Part], indent: str, prefix: str) -> None:
        for number, part in enumerate(parts):
            if isinstance(part, bytes):
                self._literal(part, indent)
                continue
            following = parts[number + 1] if number + 1 < len(parts) else None
            width = _width(part)
            if part.name == "headers":
                self._headers(part, following, indent)
            elif part.modifier == "json":
                self._json(part, indent, prefix)
            elif width:
                self._fixed_width(part, width, indent, prefix)
            elif part.kind == "number" or (part.kind == "time" and not part.modifier):
                self._decimal(part, following, indent, prefix)
            elif prefix + part.name in self._lengths:
                self._sized(part, indent, prefix)
            else:
                self._until(part, following, indent)
                self._convert(part, "data[at:stop]", indent, prefix)
                self._add(indent, "at = stop")

    def _literal(self, literal: bytes, indent: str) -> None:
        name, size = self._constant(literal), len(literal)
        self._add(indent, f"if data[at:at + {size}] != {name}:")
        if self._is_stream:
            self._add(
                indent, f" if not has_ended and end - at < {size} and {name}.startswith(data[at:end]):", "  return -1"
            )
        self._add(indent, f" raise Bad({self._constant(f'{_shown(literal)} is not where the format has it')})")
        self._add(indent, f"at += {size}")

    def _short(self, indent: str) -> None:
        """Leave for more input, where there is none of a field yet."""
        self._add(indent, "if not has_ended:", " return -1", "raise Bad('the input ends within it')")

    def _fixed_width(self, field: Field, width: int, indent: str, prefix: str) -> None:
        self._add(indent, f"if end - at < {width}:")
        self._short(indent + " ")
        order = field.modifier.rstrip("0123456789")
        if order == "hex":
            from_hex = self._constant(_from_hex(field))
            self._add(indent, f"number = {from_hex}(data[at:at + {width}])")
        else:
            unpack = Struct((">" if order == "big" else "<") + _CODES[width * 8]).unpack_from
            self._add(indent, f"number, = {self._constant(unpack)}(data, at)")
        self._add(indent, f"at += {width}")
        self._keep_number(field, indent, prefix)

    def _decimal(self, field: Field, following: Part | None, indent: str, prefix: str) -> None:
        ends = following is None and not self._is_stream
        if not ends and not (isinstance(following, bytes) and not following[:1].isdigit()):
            raise wrong(
                self._format,
                field.position,
                f"nothing says where the number {field.spelling} ends",
                "put text behind it that is no digit, or write it in binary, such as {big64}",
            )
        self._add(indent, "found = decimal(data, at, end)")
        if self._is_stream:
            # More digits may come, or a minus sign stands alone at the end.
            self._add(indent, "if not has_ended and (found.end() if found else at + (data[at:at + 1] == b'-')) == end:")
            self._add(indent, " return -1")
        message = self._constant(f"{field.spelling} is no number")
        self._add(indent, "if not found:", f" raise Bad({message})", "number, at = int(found[0]), found.end()")
        self._keep_number(field, indent, prefix)

    def _keep_number(self, field: Field, indent: str, prefix: str) -> None:
        of = _LENGTH_OF.get(field.name)
        if of is not None:
            self._lengths.add(prefix + of)
            least = 0 if of == "headers" else -1
            message = self._constant(f"{field.spelling} is no length that a record can have")
            self._add(indent, f"{prefix}{of}_length = number", f"if not {least} <= number <= {MAX_FRAME_BYTES}:")
            self._add(indent, f" raise Bad({message})")
        elif field.name in ("partition", "timestamp"):
            self._add(indent, f"{field.name} = number")

    def _sized(self, field: Field, indent: str, prefix: str) -> None:
        name = prefix + field.name
        size = f"{name}_length"
        # The length is that of the bytes, however they are written.
        taken = {"hex": f"2 * {size}", "base64": f"({size} + 2) // 3 * 4"}.get(field.modifier, size)
        self._add(indent, f"if {size} < 0:", f" {name} = None", "else:", f" stop = at + {taken}", " if stop > end:")
        self._short(indent + "  ")
        self._convert(field, "data[at:stop]", indent + " ", prefix)
        self._add(indent, " at = stop")

    def _until(self, field: Field, following: Part | None, indent: str) -> None:
        """Find where a field ends: where the text that follows it begins, or the record ends."""
        if isinstance(following, bytes):
            name = self._constant(following)
            self._add(indent, f"stop = data.find({name}, at, end)")
            for _ in range(_held(field, following)):
                self._add(indent, f"if stop >= 0: stop = data.find({name}, stop + 1, end)")
            self._add(indent, "if stop < 0:")
            if self._is_stream:
                self._add(indent, " if not has_ended:", "  return -1")
            self._add(
                indent, f" raise Bad({self._constant(f'there is no {_shown(following)} behind {field.spelling}')})"
            )
        elif following is None and not self._is_stream:
            self._add(indent, "stop = end")
        else:
            raise wrong(
                self._format,
                field.position,
                f"nothing says where {field.spelling} ends",
                "put text behind it, or its length before it, such as %V{big32}%v; {json} says it by itself",
            )

    def _convert(self, field: Field, source: str, indent: str, prefix: str) -> None:
        """Turn bytes as they were written into the field."""
        if field.kind == "time":
            self._add(indent, f"timestamp = {self._constant(_time_reader(self._format, field))}({source})")
            return
        if field.modifier:
            source = f"{self._constant(_decoder(field))}({source})"
        if field.name == "topic":
            source = f"{self._constant(_topic)}({source})"
        self._add(indent, f"{prefix}{field.name} = {source}")

    def _json(self, field: Field, indent: str, prefix: str) -> None:
        from mk.formats.json_reader import read_item

        self._add(indent, "stop = json_item_end(data, at, end)", "if stop < 0:")
        if self._is_stream:
            self._add(indent, " if not has_ended and data[at:at + 1] in (b'', b'\"', b'{', b'n'):", "  return -1")
        message = self._constant(f'{field.spelling} is no JSON string, null or {{"b64": "..."}}')

        def decoded(data: bytes) -> bytes | None:
            try:
                return read_item(data.decode(), 0)[0]
            except UnicodeDecodeError:
                raise BadRecordError(f"{field.spelling} is not UTF-8") from None

        value = f"{self._constant(decoded)}(data[at:stop])"
        if field.name == "topic":
            value = f"{self._constant(_topic)}({value})"
        self._add(indent, f" raise Bad({message})", f"{prefix}{field.name} = {value}", "at = stop")

    def _headers(self, field: Field, following: Part | None, indent: str) -> None:
        if "headers" in self._lengths:
            if field.parts is None:
                raise wrong(self._format, field.position, "a number of headers is followed by %h{...}")
            self._lengths -= {"header_value", "header_key"}
            _check_header_fields(self._format, field)
            self._add(indent, "pairs = []", "for _ in range(headers_length):", " header_key = header_value = None")
            is_stream, self._is_stream = self._is_stream, True
            self._parts(field.parts, indent + " ", "header_")
            self._is_stream = is_stream
            if not _has_name(field):
                raise wrong(self._format, field.position, "%h{...} has to hold the name of a header, %k")
            self._add(indent, " pairs.append((header_key, header_value))", "headers = tuple(pairs)")
            return
        self._until(field, following, indent)
        read = _listed if field.parts is None else _splitter(self._format, field)
        self._add(indent, f"headers = {self._constant(read)}(data[at:stop]) if stop > at else ()", "at = stop")


def _has_name(field: Field) -> bool:
    return any(isinstance(part, Field) and part.name == "key" for part in field.parts or ())


def _check_header_fields(format: str, field: Field) -> None:
    _check_fields(format, [part for part in field.parts or () if isinstance(part, Field)])


def _splitter(format: str, field: Field) -> Callable[[bytes], tuple[tuple[bytes, bytes | None], ...]]:
    """Return the function that reads headers one after another, told apart by the text that begins or ends each of them."""
    parts = list(field.parts or ())
    before = parts.pop(0) if isinstance(parts[0], bytes) else b""
    after = parts.pop() if parts and isinstance(parts[-1], bytes) else b""
    assert isinstance(before, bytes) and isinstance(after, bytes)
    if not before + after:
        raise wrong(
            format,
            field.position,
            "nothing says where a header ends and the next begins",
            "write text before or behind each, as in %h{ %k=%v}, or their number before them: %H{big32}%h{...}",
        )
    if not _has_name(field):
        raise wrong(format, field.position, "%h{...} has to hold the name of a header, %k")
    _check_header_fields(format, field)
    read = _Compiler(format, is_stream=False).header_reader(parts)
    between = after + before

    def split(region: bytes) -> tuple[tuple[bytes, bytes | None], ...]:
        if not (region.startswith(before) and region.endswith(after) and len(region) >= len(between)):
            raise BadRecordError("its headers do not match the format")
        pieces = region[len(before) : len(region) - len(after)].split(between)
        return tuple([read(piece, 0, len(piece), True) for piece in pieces])

    return split


def _held(field: Field, literal: bytes) -> int:
    """Return how often a time as the format writes it holds the text that follows it, such as a space."""
    if field.modifier != "strftime":
        return 0
    from datetime import datetime, timezone

    written = datetime(2026, 11, 23, 10, 4, 5, tzinfo=timezone.utc).strftime(_expanded(field.argument))
    return written.encode().count(literal)


def _expanded(argument: str) -> str:
    """Return a pattern of strftime without the directives that strptime does not know."""
    for short, long in (("%F", "%Y-%m-%d"), ("%T", "%H:%M:%S"), ("%R", "%H:%M"), ("%D", "%m/%d/%y"), ("%e", "%d")):
        argument = argument.replace(short, long)
    return argument


def _listed(region: bytes) -> tuple[tuple[bytes, bytes | None], ...]:
    """Read headers as kcat's %h prints them: NAME=VALUE, with commas between."""
    pairs: list[tuple[bytes, bytes | None]] = []
    for piece in region.split(b","):
        name, found, value = piece.partition(b"=")
        pairs.append((name, value if found else None))
    return tuple(pairs)


def _decoder(field: Field) -> Callable[[bytes], bytes]:
    if field.modifier == "hex":

        def from_hex(data: bytes) -> bytes:
            if len(data) % 2 or _HEX.fullmatch(data) is None:
                raise BadRecordError(f"{field.spelling} is not hexadecimal")
            return bytes.fromhex(data.decode())

        return from_hex
    from base64 import b64decode

    def from_base64(data: bytes) -> bytes:
        try:
            return b64decode(data, validate=True)
        except ValueError:
            raise BadRecordError(f"{field.spelling} is not base64") from None

    return from_base64


def _json_item_end(data: bytes, at: int, end: int) -> int:
    """Return where the JSON string, null or {"b64": "..."} at a place ends; -1 if there is none, or not all of one.

    A string is not left to a regular expression: that would take a hundred times as much memory as the string.
    """
    if data[at : at + 1] != b'"':
        found = _JSON_OTHERS.match(data, at, end)
        return found.end() if found else -1
    stop = at
    while (stop := data.find(b'"', stop + 1, end)) >= 0:
        before = stop
        while data[before - 1] == 0x5C:
            before -= 1
        if (stop - before) % 2 == 0:  # Otherwise the last backslash is of this quote.
            return stop + 1
    return -1


def _from_hex(field: Field) -> Callable[[bytes], int]:
    def number(data: bytes) -> int:
        if _HEX.fullmatch(data) is None:
            raise BadRecordError(f"{field.spelling} is not hexadecimal")
        unsigned = int(data, 16)
        bits = 4 * len(data)
        return unsigned - (1 << bits) if unsigned >> (bits - 1) else unsigned

    return number


def _topic(data: bytes | None) -> str:
    try:
        return (data or b"").decode()
    except UnicodeDecodeError:
        raise BadRecordError("its topic is not UTF-8") from None


def _time_reader(format: str, field: Field) -> Callable[[bytes], int]:
    """Return the function that reads a time as %d{iso} or %d{strftime[...]} prints it; without a zone it is UTC.

    Raises UsageError for directives of which Python can print a time, but not read one.
    """
    from datetime import datetime, timedelta, timezone

    epoch, bare_epoch, millisecond = (
        datetime(1970, 1, 1, tzinfo=timezone.utc),
        datetime(1970, 1, 1),
        timedelta(milliseconds=1),
    )
    pattern = _expanded(field.argument)
    if field.modifier == "strftime":
        try:
            datetime.strptime(epoch.strftime(pattern), pattern)
        except (ValueError, re.error):
            # Once and before anything is read: it would be the same with each record.
            raise wrong(
                format,
                field.position,
                "a time that is printed so cannot be read again",
                "write each part of it once, as in %d{strftime[%Y-%m-%d %H:%M:%S]}, or take %d{iso}",
            ) from None

    def number(data: bytes) -> int:
        try:
            text = data.decode("ascii")
            if field.modifier == "iso":
                if len(text) == 24 and text[23] == "Z":
                    when = datetime.fromisoformat(text[:23])
                    if when.tzinfo is not None:
                        raise ValueError  # It says another zone before the Z.
                    return (when - bare_epoch) // millisecond
                # A bare number is printed for years that RFC 3339 does not have.
                return parse_time(text, 0) if "T" in text else int(text)
            when = datetime.strptime(text, pattern)
            return (when.replace(tzinfo=when.tzinfo or timezone.utc) - epoch) // millisecond
        except (ValueError, UsageError):
            raise BadRecordError(f"{field.spelling} is no time as the format has it") from None

    return number


def _shown(literal: bytes) -> str:
    return repr(literal)[1:]
