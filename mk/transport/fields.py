"""The values in the head of a frame, taken one after another, each by whoever knows what it has to be.

A head is a run of scalars without names or nesting, so that nothing has to be built before it is checked, and a list is a
count and its values. What is not as it should be ends the channel: FarSideError.
"""

from __future__ import annotations

from mk.errors import FarSideError
from mk.records.codecs import CodecError, scalars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

MAX_OFFSET = (1 << 63) - 1
MAX_NAME = 200
_HEX = frozenset("0123456789abcdef")


class Fields:
    """What came in one head."""

    __slots__ = ("_next", "_peer", "_values")

    def __init__(self, head: bytes | bytearray | memoryview, peer: str) -> None:
        self._values: Iterator[object] = scalars(head)
        # What was looked at and not taken yet.
        self._next: list[str | bytes | int | bool | None] = []
        self._peer = peer

    def text(self, most: int = MAX_NAME) -> str:
        """Take a text of at most so many characters."""
        value = self._take()
        if type(value) is not str or len(value) > most:
            self.refuse("a text is none, or too long")
        return value

    def data(self, most: int) -> bytes:
        """Take at most so many bytes."""
        value = self._take()
        if type(value) is not bytes or len(value) > most:
            self.refuse("bytes are none, or too many")
        return value

    def number(self, lowest: int = 0, highest: int = MAX_OFFSET) -> int:
        """Take an integer within bounds."""
        value = self._take()
        if type(value) is not int or not lowest <= value <= highest:
            self.refuse("a number is none, or out of bounds")
        return value

    def flag(self) -> bool:
        value = self._take()
        if type(value) is not bool:
            self.refuse("a truth value is none")
        return value

    def id(self) -> str:
        """Take the id of a directory or topic, which becomes a file's name: 32 hexadecimal digits."""
        value = self.text(32)
        if len(value) != 32 or not _HEX.issuperset(value):
            self.refuse("an id is none")
        return value

    def scalar(self, most: int) -> str | int | bool | None:
        """Take a text, an integer, a truth value or None."""
        value = self._take()
        if isinstance(value, bytes) or (isinstance(value, str) and len(value) > most):
            self.refuse("a value is too long, or of a wrong kind")
        return value

    def peek(self) -> str | bytes | int | bool | None:
        """Return the next value, whatever it is, and leave it there."""
        self._next = [self._take()]
        return self._next[0]

    def end(self) -> None:
        """See that nothing more came."""
        try:
            if self._next or next(self._values, self) is not self:
                self.refuse("it is longer than it may be")
        except CodecError as error:
            self.refuse(str(error))

    def refuse(self, why: str) -> NoReturn:
        """Raise FarSideError: what came is not what was to come."""
        raise FarSideError(
            f"{self._peer} sent what is not understood",
            why=why,
            fix="the connection was given up; see that the mk on both sides is what it should be",
        )

    def _take(self) -> str | bytes | int | bool | None:
        if self._next:
            return self._next.pop()
        try:
            value = next(self._values)
        except StopIteration:
            self.refuse("it is shorter than it should be")
        except CodecError as error:
            self.refuse(str(error))
        return value  # type: ignore[return-value]
