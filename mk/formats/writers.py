"""Records as the bytes that a consumer prints.

Decides how a record looks in each preset format. Leaves to the consumer when bytes are written and what is committed,
and to terminal.py what must not reach a terminal. One join per batch of records, never a write per record.
"""

from __future__ import annotations

from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mk.records.record import ConsumerRecord

    Writer = Callable[[Iterable[ConsumerRecord]], bytes]

PRESETS = ("value", "kv", "json", "raw")


def writer(format_name: str, *, delimiter: bytes = b"\n", null: bytes = b"") -> Writer:
    """Return the function that turns records into the bytes of a preset format.

    value: value, delimiter. kv: key, tab, value, delimiter. raw: value. json: one JSON object, delimiter. Where the
    format cannot tell null from empty, null prints as `null` (value and kv) or as empty (raw). No records give no bytes.

    Raises:
        UsageError: there is no preset of that name.
    """
    if format_name == "value":
        return _value_writer(delimiter, null)
    if format_name == "kv":
        return _kv_writer(delimiter, null)
    if format_name == "raw":
        return _raw
    if format_name == "json":
        return _json_writer(delimiter)
    raise UsageError(f"no format {format_name}", fix=f"-f takes {', '.join(PRESETS)}", name=format_name)


def value_block(payload: bytes | memoryview, delimiter: bytes) -> bytes | memoryview:
    """Return newline-terminated values with `delimiter` in place of the newlines; the same object if it is a newline."""
    if delimiter == b"\n":
        return payload
    return bytes(payload).replace(b"\n", delimiter)


def _value_writer(delimiter: bytes, null: bytes) -> Writer:
    def write(records: Iterable[ConsumerRecord]) -> bytes:
        values = [null if record.value is None else record.value for record in records]
        values.append(b"")  # For the delimiter behind the last value.
        return delimiter.join(values)

    return write


def _kv_writer(delimiter: bytes, null: bytes) -> Writer:
    def write(records: Iterable[ConsumerRecord]) -> bytes:
        # Flat: putting each pair together first would take twice as long.
        parts: list[bytes] = []
        for record in records:
            key, value = record.key, record.value
            parts += (null if key is None else key, b"\t", null if value is None else value, delimiter)
        return b"".join(parts)

    return write


def _raw(records: Iterable[ConsumerRecord]) -> bytes:
    return b"".join([record.value or b"" for record in records])


def _json_writer(delimiter: bytes) -> Writer:
    """Return the writer of JSON objects, compact, in UTF-8, with the members of a record always in the same order.

        {"topic":"t","partition":0,"offset":7,"ts":1700000000000,"headers":[],"key":null,"payload":"v"}

    Everything that a record holds comes back from it: a key or value that is not UTF-8 is written in base64 under
    another name (key_b64, payload_b64), null as null. Headers are a list of pairs, since names may repeat and their order
    counts: [name, value]. A name or value in it that is not UTF-8 becomes {"b64": "..."}: a pair has no member
    whose name could say so, and a string that is base64 by convention could not be told from one that only looks it.
    """
    from binascii import b2a_base64
    from json.encoder import encode_basestring

    # Typed by hand: the stubs do not have this function, which is what json.dumps(ensure_ascii=False) calls.
    quote: Callable[[str], str] = encode_basestring

    def base64(data: bytes) -> str:
        return b2a_base64(data, newline=False).decode("ascii")

    def item(data: bytes | None) -> str:
        if data is None:
            return "null"
        try:
            # Strict UTF-8: a lone surrogate in it is refused, and so goes the way of all bytes that are not text.
            return quote(data.decode())
        except UnicodeDecodeError:
            return f'{{"b64":"{base64(data)}"}}'

    def member(name: str, data: bytes | None) -> str:
        if data is None:
            return f'"{name}":null'
        try:
            return f'"{name}":{quote(data.decode())}'
        except UnicodeDecodeError:
            return f'"{name}_b64":"{base64(data)}"'

    def write(records: Iterable[ConsumerRecord]) -> bytes:
        objects = []
        topic = quoted_topic = ""
        for record in records:
            if record.topic != topic:
                topic = record.topic
                quoted_topic = quote(topic)
            headers = ""
            if record.headers:
                headers = ",".join([f"[{item(name)},{item(value)}]" for name, value in record.headers])
            key = record.key
            value = record.value
            try:
                # The usual case in one go; member() would say the same at a fifth more time.
                fields = (
                    f'"key":{"null" if key is None else quote(key.decode())}'
                    f',"payload":{"null" if value is None else quote(value.decode())}'
                )
            except UnicodeDecodeError:
                fields = f"{member('key', key)},{member('payload', value)}"
            objects.append(
                f'{{"topic":{quoted_topic},"partition":{record.partition},"offset":{record.offset}'
                f',"ts":{record.timestamp_ms},"headers":[{headers}],{fields}}}\n'
            )
        # JSON has no bare newline within an object.
        return bytes(value_block("".join(objects).encode(), delimiter))

    return write
