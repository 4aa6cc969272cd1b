"""Records made safe to show on a terminal.

Values are for eyes only then: what was escaped cannot be told from what read so before. JSON remains the same JSON.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# What a terminal shows or moves by and nothing else: printable ASCII, newline, tab.
_PLAIN = bytes([0x09, 0x0A, *range(0x20, 0x7F)])

# Beside the controls proper (C0 but for newline and tab, DEL, C1): characters without width and those that turn the
# direction of writing, with which a line can be made to read as something else. The surrogates stand for bytes that are
# not UTF-8.
_UNSAFE_IN_JSON = "\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_UNSAFE = f"[\x00-\x08\x0b-\x1f{_UNSAFE_IN_JSON}\udc80-\udcff]"


def escape(data: bytes) -> bytes:
    r"""Return the bytes with all that could steer or mislead a terminal shown as \xNN, byte by byte.

    Shown so: control characters except newline and tab, bidirectional and zero-width characters, what is not UTF-8.
    Everything else comes back unchanged, also a \xNN that was in the data. Pass whole lines: a character that is cut in two
    is not UTF-8.
    """
    if not data.translate(None, _PLAIN):
        return data
    import re

    text, found = re.subn(
        _UNSAFE,
        lambda match: "".join([f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape")]),
        data.decode("utf-8", "surrogateescape"),
    )
    return text.encode() if found else data


def escape_json(data: bytes) -> bytes:
    r"""Return JSON objects with what could steer or mislead a terminal as \uNNNN, so that they are the same objects still.

    Only a delimiter between them, such as a NUL byte, is shown as `escape` shows it.
    """
    if not data.translate(None, _PLAIN):
        return data
    import re

    text = re.sub(f"[{_UNSAFE_IN_JSON}]", _json_escape, data.decode("utf-8", "surrogateescape"))
    return escape(text.encode("utf-8", "surrogateescape"))


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join([f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)])
