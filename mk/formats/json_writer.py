"""Records as JSON objects, one a line, from which json_reader.py gets back all that they hold."""

from __future__ import annotations

from binascii import b2a_base64
from json.encoder import encode_basestring

from mk.formats.writers import value_block
from mk.records.record_slice import RecordSlice, column_of, fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.formats.writers import Writer
    from mk.records.record_slice import Records

# Typed by hand: the stubs do not have this function, which is what json.dumps(ensure_ascii=False) calls.
quote: Callable[[str], str] = encode_basestring


_BETWEEN = "\x7f"
"""Stands between strings that are quoted in one call: JSON leaves it as it is, and text does not hold it."""

_NO_CONTROLS = bytes(range(0x20, 0x100))


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")


def item(data: bytes | None) -> str:
    """Return bytes as a JSON string, as {"b64": "..."} if they are not UTF-8; null as null."""
    if data is None:
        return "null"
    try:
        # Strict UTF-8: a lone surrogate in it is refused, and so goes the way of all bytes that are not text.
        return quote(data.decode())
    except UnicodeDecodeError:
        return f'{{"b64":"{_base64(data)}"}}'


def json_writer(delimiter: bytes) -> Writer:
    """Return the writer of JSON objects, compact, in UTF-8, with the members of a record always in the same order.

        {"topic":"t","partition":0,"offset":7,"ts":1700000000000,"headers":[],"key":null,"payload":"v"}

    Everything that a record holds comes back from it: a key or value that is not UTF-8 is written in base64 under
    another name (key_b64, payload_b64), null as null. Headers are a list of pairs, since names may repeat and their order
    counts: [name, value]. A name or value in it that is not UTF-8 becomes {"b64": "..."}: a pair has no member
    whose name could say so, and a string that is base64 by convention could not be told from one that only looks it.
    """

    def member(name: str, data: bytes | None) -> str:
        if data is None:
            return f'"{name}":null'
        try:
            return f'"{name}":{quote(data.decode())}'
        except UnicodeDecodeError:
            return f'"{name}_b64":"{_base64(data)}"'

    def write(records: Records) -> bytes:
        records = records if isinstance(records, RecordSlice) else list(records)
        columns = [list(column_of(records, name)) for name in ("key", "value")]
        quoted = [_quoted(column) for column in columns]
        if None in quoted:
            fields = [f"{member('key', key)},{member('payload', value)}" for key, value in zip(*columns)]
        else:
            fields = [f'"key":{key},"payload":{value}' for key, value in zip(*quoted)]
        del columns, quoted  # Of a large record each is another copy.
        topic, partition, place = "", -1, ""
        objects = []
        where = fields_of(records, "topic", "partition", "offset", "timestamp_ms", "headers")
        for (own_topic, own_partition, offset, time, own_headers), text in zip(where, fields):
            if own_partition != partition or own_topic != topic:
                topic, partition = own_topic, own_partition
                place = f'{{"topic":{quote(topic)},"partition":{partition},"offset":'
            headers = ""
            if own_headers:
                headers = ",".join([f"[{item(name)},{item(value)}]" for name, value in own_headers])
            objects.append(f'{place}{offset},"ts":{time},"headers":[{headers}],{text}}}\n')
        # JSON has no bare newline within an object.
        return bytes(value_block("".join(objects).encode(), delimiter))

    return write


def _quoted(column: list[bytes | None]) -> list[str] | None:
    """Return each as a JSON string, or null, all in one call; None if one is not UTF-8, or they cannot be told apart."""
    if column and column[0] is None and column.count(None) == len(column):
        return ["null"] * len(column)
    try:
        # Strict UTF-8, and so is each of them: what stands between is no part of a character.
        data = _BETWEEN.encode().join(column)  # type: ignore[arg-type]
        text = data.decode()
    except (TypeError, UnicodeDecodeError):
        return None
    # Without control characters two replacements do what quote() does, in half of the time.
    if data.translate(None, _NO_CONTROLS):
        text = quote(text)
    else:
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    parts = text.replace(_BETWEEN, f'"{_BETWEEN}"').split(_BETWEEN)
    return parts if len(parts) == len(column) else None
