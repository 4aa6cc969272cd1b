"""Where to start reading: `start`, `end`, `N`, `-N`, and what these are in a given partition."""

from __future__ import annotations

from mk.errors import UsageError

_ALIASES = {"beginning": "start", "earliest": "start", "oldest": "start", "latest": "end", "newest": "end"}


class OffsetSpec:
    """A parsed offset. kind: `start`, `end`, `at` (offset `value`) or `before-end` (`value` records before it)."""

    __slots__ = ("kind", "value")

    def __init__(self, kind: str, value: int = 0) -> None:
        self.kind = kind
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OffsetSpec) and (self.kind, self.value) == (other.kind, other.value)

    def __hash__(self) -> int:
        return hash((self.kind, self.value))

    def __repr__(self) -> str:
        return f"OffsetSpec({self.kind!r}, {self.value})"

    def resolve(self, log_start_offset: int, high_watermark: int) -> int:
        """Return the offset in a partition that holds these. `at` may lie outside; the reader judges that."""
        if self.kind == "start":
            return log_start_offset
        if self.kind == "end":
            return high_watermark
        if self.kind == "before-end":
            return max(log_start_offset, high_watermark - self.value)
        return self.value


def parse_offset_spec(text: str) -> OffsetSpec:
    """Read `start`, `end`, `N` or `-N`, and the other tools' words for them. Raises UsageError."""
    word = _ALIASES.get(text, text)
    if word in ("start", "end"):
        return OffsetSpec(word)
    digits = text[1:] if text[:1] == "-" else text
    if digits.isascii() and digits.isdecimal() and len(digits) < 19:
        return OffsetSpec("before-end" if text[0] == "-" else "at", int(digits))
    raise UsageError(
        f"{text!a} is no offset",
        fix="an offset is start, end, N, or -N for N before the end; see `mk help offsets`",
        offset=text,
    )
