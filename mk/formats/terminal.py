"""Values made safe to show on a terminal. For eyes only: what was escaped cannot be told from what read so before."""

from __future__ import annotations

# What a terminal shows or moves by and nothing else: printable ASCII, newline, tab.
_PLAIN = bytes([0x09, 0x0A, *range(0x20, 0x7F)])

# Beside the controls proper (C0 but for newline and tab, DEL, C1): characters without width and those that turn the
# direction of writing, with which a line can be made to read as something else. The surrogates stand for bytes that are
# not UTF-8.
_UNSAFE = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
    "\udc80-\udcff]"
)


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
