"""From the bytes that a terminal sends to the names of keys. Pure."""

from __future__ import annotations

UP, DOWN, LEFT, RIGHT = "up", "down", "left", "right"
HOME, END, PAGE_UP, PAGE_DOWN = "home", "end", "page up", "page down"
ENTER, ESCAPE, TAB, BACK_TAB, BACKSPACE = "enter", "escape", "tab", "back tab", "backspace"

_SEQUENCES = {
    b"A": UP,
    b"B": DOWN,
    b"C": RIGHT,
    b"D": LEFT,
    b"H": HOME,
    b"F": END,
    b"Z": BACK_TAB,
    b"1~": HOME,
    b"4~": END,
    b"7~": HOME,
    b"8~": END,
    b"5~": PAGE_UP,
    b"6~": PAGE_DOWN,
}
_SINGLE = {0x0D: ENTER, 0x0A: ENTER, 0x09: TAB, 0x7F: BACKSPACE, 0x08: BACKSPACE}
_LONGEST = 16


def keys_in(data: bytes) -> tuple[list[str], bytes]:
    """Return the keys that were pressed, and what may be the beginning of another one.

    A key is one of the names above, or the letter that it types. What is no key that is known here is left out.
    """
    found: list[str] = []
    while data:
        first = data[0]
        if first == 0x1B:
            end = _end_of_sequence(data)
            if end == 0:
                return found, data
            name = _SEQUENCES.get(data[2:end]) if end > 1 else ESCAPE
            if name is not None:
                found.append(name)
        elif first in _SINGLE:
            found.append(_SINGLE[first])
            end = 1
        elif first < 0x20:
            end = 1
        else:
            end = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            if len(data) < end:
                return found, data
            text = data[:end].decode(errors="ignore")
            if text.isprintable() and text:
                found.append(text)
        data = data[end:]
    return found, b""


def _end_of_sequence(data: bytes) -> int:
    """Return where the key ends that begins with an escape; 1 for the escape alone, 0 if more of it has to come."""
    if len(data) < 2:
        return 0
    if data[1] not in b"[O":
        return 1
    for at in range(2, min(len(data), _LONGEST)):
        if 0x40 <= data[at] <= 0x7E:
            return at + 1
    return 0 if len(data) < _LONGEST else _LONGEST
