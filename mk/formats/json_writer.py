"""Records as JSON objects, one a line, from which json_reader.py gets back all that they hold."""

from __future__ import annotations

from binascii import b2a_base64
from json.encoder import encode_basestring

from mk.formats.writers import value_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mk.formats.writers import Writer
    from mk.records.record import ConsumerRecord

# Typed by hand: the stubs do not have this function, which is what json.dumps(ensure_ascii=False) calls.
quote: Callable[[str], str] = encode_basestring


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

    def write(records: Iterable[ConsumerRecord]) -> bytes:
        objects = []
        topic, partition, place = "", -1, ""
        for record in records:
            if record.topic != topic or record.partition != partition:
                topic, partition = record.topic, record.partition
                place = f'{{"topic":{quote(topic)},"partition":{partition},"offset":'
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
            objects.append(f'{place}{record.offset},"ts":{record.timestamp_ms},"headers":[{headers}],{fields}}}\n')
        # JSON has no bare newline within an object.
        return bytes(value_block("".join(objects).encode(), delimiter))

    return write
