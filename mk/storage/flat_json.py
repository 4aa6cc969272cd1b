"""`mk.json` and `topic.json`: JSON that is read on the hot path without a JSON parser.

One `"key": value` a line, values are strings, integers, true, false or null; the last line is the CRC-32C of all bytes
before it. Any JSON tool can read it; mk itself only calls the parser for a string with a backslash in it.
Format: man/mk-format.5, MK.JSON and TOPIC.JSON.
"""

from __future__ import annotations

from mk.errors import CorruptStateError, UnsupportedFormatError
from mk.records.codecs import crc32c

FORMAT_VERSION = 1
_CHECKSUM = b'"checksum": "'
_CONSTANTS = {"true": True, "false": False, "null": None}


def encode(fields: dict[str, str | int | bool | None]) -> bytes:
    """Return the file's content for `fields`; `format` is added in front and `checksum` behind."""
    import json

    lines = [f'"{key}": {json.dumps(value)},\n' for key, value in {"format": FORMAT_VERSION, **fields}.items()]
    body = ("{\n" + "".join(lines)).encode()
    return b'%b%b%08x"\n}\n' % (body, _CHECKSUM, crc32c(body))


def decode(data: bytes, path: str) -> dict[str, str | int | bool | None]:
    """Read a file's content. Raises CorruptStateError, or UnsupportedFormatError for one of a newer mk."""
    body, _, tail = data.rpartition(_CHECKSUM)
    try:
        if int(tail[:8], 16) != crc32c(body) or tail[8:] != b'"\n}\n' or body[:2] != b"{\n":
            raise ValueError
        fields = {}
        for line in body[2:].decode().splitlines():
            key, separator, text = line.partition('": ')
            if not separator or key[:1] != '"' or text[-1:] != ",":
                raise ValueError
            fields[key[1:]] = _decode_value(text[:-1])
        version = fields["format"]
    except (ValueError, KeyError):
        raise CorruptStateError(path=path, found="it is not what its checksum says") from None
    if type(version) is not int or version > FORMAT_VERSION:
        raise UnsupportedFormatError(path=path, found=version if type(version) is int else -1, known=FORMAT_VERSION)
    return fields


def _decode_value(text: str) -> str | int | bool | None:
    if text[:1] == '"':
        if "\\" in text:
            import json

            # Of a text that begins as a string it makes a string or an error, and never what nests as deep as the stack.
            value: str = json.loads(text)
            return value
        if len(text) < 2 or text.find('"', 1) != len(text) - 1:
            raise ValueError
        return text[1:-1]
    return _CONSTANTS[text] if text in _CONSTANTS else int(text)
