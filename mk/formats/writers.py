"""Records as the bytes that a consumer prints: the one door, for preset formats and for those that users write.

Decides how a record looks in each preset format. Leaves to the consumer when bytes are written and what is committed,
and to terminal.py what must not reach a terminal. One join per batch of records, never a write per record.
"""

from __future__ import annotations

from mk.errors import UsageError
from mk.records.record_slice import column_of, fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.records.record_slice import Records

    Writer = Callable[[Records], bytes]

PRESETS = ("value", "kv", "json", "raw", "framed")
WITHOUT_DELIMITER = ("raw", "framed")
"""Presets that put nothing between one record and the next."""


def writer(format: str, *, delimiter: bytes | None = None, null: bytes = b"") -> Writer:
    """Return the function that turns records into the bytes of a format. No records give no bytes.

    A preset: value is value, delimiter; kv is key, tab, value, delimiter; json is one JSON object, delimiter; raw is the
    value, framed a msgpack array. Where the format cannot tell null from empty, null prints as `null` (value and kv) or as
    empty (raw). Anything else is a format as in `mk help formats`, compiled here, once. %i counts over all calls.

    Args:
        delimiter: what ends each record; None is a newline for value, kv and json, and nothing behind other formats.
        null: what value, kv and the fields of a format print for null.

    Raises:
        UsageError: the format is none.
    """
    end = b"\n" if delimiter is None else delimiter
    if format == "value":
        return _value_writer(end, null)
    if format == "kv":
        return _kv_writer(end, null)
    if format == "raw":
        return _raw
    # Each in a module of its own: a plain consume needs none of them.
    if format == "json":
        from mk.formats.json_writer import json_writer

        return json_writer(end)
    if format == "framed":
        from mk.formats.framed import write_frames

        return write_frames
    check_is_format(format)
    from mk.formats.format_writer import compile_writer

    return compile_writer(format, delimiter=delimiter or b"", null=null)


def check_is_format(format: str) -> None:
    """Raise UsageError for a word that is no preset and has nothing in it that would make it a format."""
    if format in PRESETS or "%" in format or "\\" in format:
        return
    raise UsageError(
        f"no format {format or 'of that (empty) name'}",
        fix=f"it is one of {', '.join(PRESETS)}, or holds directives such as %k and %v, see `mk help formats`; to follow a "
        "topic, use -F",
        name=format,
    )


def value_block(payload: bytes | memoryview, delimiter: bytes) -> bytes | memoryview:
    """Return newline-terminated values with `delimiter` in place of the newlines; the same object if it is a newline."""
    if delimiter == b"\n":
        return payload
    return bytes(payload).replace(b"\n", delimiter)


def _value_writer(delimiter: bytes, null: bytes) -> Writer:
    def write(records: Records) -> bytes:
        values = [*column_of(records, "value"), b""]  # The last one for the delimiter behind the value before.
        try:
            return delimiter.join(values)
        except TypeError:
            return delimiter.join([null if value is None else value for value in values])

    return write


def _kv_writer(delimiter: bytes, null: bytes) -> Writer:
    def write(records: Records) -> bytes:
        # Flat: putting each pair together first would take twice as long.
        parts: list[bytes] = []
        for key, value in fields_of(records, "key", "value"):
            parts += (null if key is None else key, b"\t", null if value is None else value, delimiter)
        return b"".join(parts)

    return write


def _raw(records: Records) -> bytes:
    return b"".join([value or b"" for value in column_of(records, "value")])
