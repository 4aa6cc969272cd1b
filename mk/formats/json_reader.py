"""JSON objects, one a line, as records: what json_writer.py prints, and what kcat and rpk print.

A value is `payload` (mk, kcat) or `value` (rpk), a string or null; `payload_b64` and `value_b64` are the same in base64, and
so is `key_b64`. A time is `ts` or `timestamp`, in milliseconds or in RFC 3339. Headers are a list of pairs, a flat list
(kcat), a list of objects with `key` and `value` (rpk) or an object; a name or value in them may be {"b64": "..."}. Members
of other names are passed over. Strict where a mistake would store something else than was meant: an object that has no
value is refused, unless it says as rpk's do where it was stored: those leave out what is null.
"""

from __future__ import annotations

import json
from operator import itemgetter

from mk.formats.record_columns import MAX_PARTITION, MAX_TIMESTAMP_MS, BadRecordError, RecordColumns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Headers = tuple[tuple[bytes, bytes | None], ...]

_ENVELOPE = itemgetter("topic", "partition", "offset", "ts", "headers", "key", "payload")
_BOM = b"\xef\xbb\xbf"
"""By which some editors say that a file is UTF-8; several files put together have it in the middle."""

_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def _refuse_constant(name: str) -> NoReturn:
    raise BadRecordError(f"it is not valid JSON: {name} is no value")


_decoder: Any = json.JSONDecoder(parse_constant=_refuse_constant)
# Typed by hand: the stubs do not have it. One call into C for a whole object, without looking for blanks around it.
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once


def read_lines(lines: list[bytes], start: int, columns: RecordColumns) -> None:
    """Append the records of the lines from `start` on. Raises BadRecordError at the first that is none; those before it
    are appended, one for each line."""
    at = start
    while at < len(lines):
        at += _append_usual(lines, at, columns)
        if at < len(lines):
            _append(lines[at], columns)
            at += 1


def _append_usual(lines: list[bytes], start: int, columns: RecordColumns) -> int:
    """Append the records of lines as mk itself prints them, up to the first that is not like that; return their number."""
    topics: list[str] = []
    partitions: list[int] = []
    timestamps: list[int] = []
    headers: list[Headers] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    add_topic, add_partition, add_timestamp = topics.append, partitions.append, timestamps.append
    add_headers, add_key, add_value = headers.append, keys.append, values.append
    scan, envelope = _scan, _ENVELOPE
    try:
        for at in range(start, len(lines)):
            text = lines[at].decode()
            found, end = scan(text, 0)
            if end != len(text) or len(found) != 7:
                break
            topic, partition, _, timestamp_ms, own_headers, key, value = envelope(found)
            if type(timestamp_ms) is not int or type(partition) is not int or type(topic) is not str:
                break
            if not (0 <= partition < MAX_PARTITION and -MAX_TIMESTAMP_MS <= timestamp_ms <= MAX_TIMESTAMP_MS):
                break
            # All that may fail before anything is added.
            own_key = None if key is None else key.encode()
            own_value = None if value is None else value.encode()
            add_headers(_headers(own_headers) if own_headers != [] else ())
            add_topic(topic)
            add_partition(partition)
            add_timestamp(timestamp_ms)
            add_key(own_key)
            add_value(own_value)
    except (StopIteration, KeyError, TypeError, AttributeError, ValueError, RecursionError):
        pass  # Of the line behind those that were added; why, is found by looking at it again.
    columns.topics += topics
    columns.partitions += partitions
    columns.timestamps += timestamps
    columns.headers += headers
    columns.keys += keys
    columns.values += values
    return len(values)


def read_item(text: str, at: int) -> tuple[bytes | None, int]:
    """Return the bytes of the JSON string, null or {"b64": "..."} at a place, and where it ends."""
    try:
        found, end = _scan(text, at)
    except (StopIteration, ValueError, RecursionError):
        raise BadRecordError("a string of JSON is not valid") from None
    return _item(found, "a field"), end


def _append(line: bytes, columns: RecordColumns) -> None:
    found = _object(line)
    value = _data(found, ("payload", "value"), "payload")
    if value is _ABSENT:
        if not {"topic", "partition", "offset"} <= found.keys() or "value_size" in found:
            raise BadRecordError("it has no payload, which is to be a string, or null for a tombstone")
        value = None
    key = _data(found, ("key",), "key")
    topic, partition = found.get("topic"), found.get("partition")
    if topic is not None and type(topic) is not str:
        _refuse("topic", topic, "a string")
    if partition is not None and type(partition) is not int:
        _refuse("partition", partition, "an integer")
    headers = found.get("headers")
    columns.append(
        value,
        None if key is _ABSENT else key,
        () if headers is None else _headers(headers),
        _time(found),
        partition,
        topic,
    )


def _object(line: bytes) -> dict[str, Any]:
    """Return the one object of a line. Of a member that is there twice the last counts, as to all who read JSON."""
    try:
        text = line.removeprefix(_BOM).decode().strip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise BadRecordError(f"it is not UTF-8 at byte {error.start + 1}") from None
    if not text:
        raise BadRecordError("it is empty")
    try:
        found, end = _scan(text, 0)
    except BadRecordError:
        raise
    except StopIteration as stop:
        raise BadRecordError(f"it is not valid JSON at character {stop.value + 1}") from None
    except json.JSONDecodeError as error:
        raise BadRecordError(f"it is not valid JSON at character {error.pos + 1}: {error.msg}") from None
    except ValueError:
        raise BadRecordError("it holds a number that is too long") from None
    except RecursionError:
        raise BadRecordError("it is nested too deep") from None
    if end != len(text):
        raise BadRecordError(f"something follows its JSON at character {end + 1}")
    if type(found) is not dict:
        raise BadRecordError(f"it is {_kind(found)}, and no object")
    return found


class _Absent:
    """Stands for a member that is not there, where null would be one that is."""


_ABSENT: Any = _Absent()


def _data(found: dict[str, Any], names: tuple[str, ...], shown: str) -> Any:
    """Return the bytes of the one member that says them, as text or in base64; _ABSENT if there is none."""
    given = [name for one in names for name in (one, f"{one}_b64") if name in found]
    if len(given) > 1:
        raise BadRecordError(f"{given[0]} and {given[1]} both say its {shown}")
    if not given:
        return _ABSENT
    name = given[0]
    value = found[name]
    if value is None:
        return None
    if type(value) is not str:
        _refuse(name, value, "a string or null")
    return _from_base64(value, name) if name.endswith("_b64") else _from_text(value, name)


def _time(found: dict[str, Any]) -> int | None:
    given = [name for name in ("ts", "timestamp") if found.get(name) is not None]
    if not given:
        return None
    times = {found[name] if type(found[name]) is int else _parsed_time(given[0], found[name]) for name in given}
    if len(times) > 1:
        raise BadRecordError("ts and timestamp both say its time")
    time = times.pop()
    return None if time == -1 and "tstype" in found else time  # kcat's way to say that it has none.


def _parsed_time(name: str, value: Any) -> int:
    from mk.errors import UsageError
    from mk.timestamp import parse_time

    if type(value) is not str:
        _refuse(name, value, "a number of milliseconds, or a string in RFC 3339")
    try:
        if "-" not in value[1:]:
            raise ValueError  # What depends on the clock would be another time when it is sent again.
        return parse_time(value, 0)
    except (UsageError, ValueError):
        raise BadRecordError(f"{name} is no time in RFC 3339, such as 2026-11-23T10:00:00.000Z") from None


def _headers(headers: Any) -> Headers:
    if type(headers) is dict:
        return tuple([(_from_text(name, "headers"), _item(value, "a header")) for name, value in headers.items()])
    if type(headers) is not list:
        _refuse("headers", headers, "a list of pairs, or an object")
    first = headers[0] if headers else None
    if type(first) is list:
        pairs = headers
    elif type(first) is dict and "key" in first:
        pairs = [_pair_of(one) for one in headers]
    elif len(headers) % 2 == 0:
        pairs = list(zip(headers[::2], headers[1::2]))
    else:
        raise BadRecordError("headers are no pairs: there is a name without a value")
    read = []
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise BadRecordError("headers are no pairs of name and value")
        name = _item(pair[0], "the name of a header")
        if name is None:
            raise BadRecordError("the name of a header is null")
        read.append((name, _item(pair[1], "a header")))
    return tuple(read)


def _pair_of(one: Any) -> tuple[Any, Any]:
    """Return a header as rpk has it: an object, whose value may be missing."""
    if type(one) is not dict or "key" not in one or not one.keys() <= {"key", "value"}:
        raise BadRecordError("headers are no pairs of name and value")
    return one["key"], one.get("value")


def _item(value: Any, name: str) -> bytes | None:
    if value is None:
        return None
    if type(value) is str:
        return _from_text(value, name)
    if type(value) is dict and value.keys() == {"b64"} and type(value["b64"]) is str:
        return _from_base64(value["b64"], name)
    _refuse(name, value, 'a string, null or {"b64": "..."}')


def _from_text(value: str, name: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise BadRecordError(f"{name} holds half a character: a surrogate without the other") from None


def _from_base64(value: str, name: str) -> bytes:
    from base64 import b64decode

    try:
        return b64decode(value, validate=True)
    except ValueError:
        raise BadRecordError(f"{name} is not valid base64") from None


def _refuse(name: str, value: Any, wanted: str) -> NoReturn:
    raise BadRecordError(f"{name} is {_kind(value)}, and not {wanted}")


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
