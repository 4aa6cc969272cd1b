"""Which file is which, when a log is rotated: finding a place again, and the files that follow it.

A place is a file and a position in it, kept with what tells the file from others: inode and time of birth, and checksums
of its first bytes and of those in front of the position. Names say in which order rotated files were written.
Decides nothing about what to do when a file is gone; looks at no file itself.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol, TypeVar

    Key = tuple[int, ...]

    class Candidate(Protocol):
        """A file that may be the one that a place is in."""

        name: str
        inode: int
        born_ns: int

        @property
        def modified_ns(self) -> int: ...

        @property
        def size(self) -> int: ...

        def checksum(self, start: int, stop: int) -> int:
            """Return the CRC-32C of the bytes there; of fewer where the file ends."""

    File = TypeVar("File", bound=Candidate)


HEAD_BYTES = 1024
"""The first bytes, whose checksum tells one log from another: several lines, with their times."""
TAIL_BYTES = 1024
_SURE_BYTES = 64
"""So much has to be the same before content alone makes a file the one that is looked for: a header that a program writes
into each of its logs is mostly shorter. Where the file itself is there, and was emptied, its copy is expected."""

# What rotation puts behind the name (or in front of its last extension): .1, -20261123, .2026-11-23_10, _3.
_MARK = re.compile(r"[.\-_]([0-9][0-9.\-_:TZ]*)")
_COMPRESSED = re.compile(r"\.(gz|xz|bz2|zst|lz4|Z|zip)$")
_COUNT_DIGITS = 5
_YEARS = range(1970, 2100)
"""A short number counts rotations, and grows with age; a long one is a date, and so is one that is a year."""


class Place:
    """A position in a file. records: how many of the file's are in front of it, for messages.

    limit: a record ends there though nothing in the file says so, -1 for none: the file was rotated away then, and what
    has been written to it since is another record.
    """

    __slots__ = (
        "born_ns",
        "head_crc",
        "head_size",
        "inode",
        "limit",
        "modified_ns",
        "position",
        "records",
        "tail_crc",
        "tail_size",
    )

    def __init__(
        self,
        *,
        position: int,
        records: int,
        limit: int,
        inode: int,
        born_ns: int,
        modified_ns: int,
        head_size: int,
        head_crc: int,
        tail_size: int,
        tail_crc: int,
    ) -> None:
        self.position = position
        self.records = records
        self.limit = limit
        self.inode = inode
        self.born_ns = born_ns
        self.modified_ns = modified_ns
        self.head_size = head_size
        self.head_crc = head_crc
        self.tail_size = tail_size
        self.tail_crc = tail_crc

    def encode(self) -> str:
        return " ".join(f"{name}={getattr(self, name)}" for name in _FIELDS)

    @classmethod
    def decode(cls, text: str) -> Place:
        """Read what encode() returned. Raises ValueError for anything else."""
        fields = dict(field.split("=", 1) for field in text.split(" "))
        if tuple(fields) != _FIELDS:
            raise ValueError(text)
        return cls(**{name: int(value) for name, value in fields.items()})

    def is_in(self, file: Candidate) -> bool:
        """Tell whether a file holds, up to the place, what was read of the one that the place is in."""
        return (
            file.size >= max(self.position, self.limit, self.head_size)
            and self.has_head(file)
            and file.checksum(self.position - self.tail_size, self.position) == self.tail_crc
        )

    def has_head(self, file: Candidate) -> bool:
        return file.checksum(0, self.head_size) == self.head_crc


_FIELDS = (
    "position",
    "records",
    "limit",
    "inode",
    "born_ns",
    "modified_ns",
    "head_size",
    "head_crc",
    "tail_size",
    "tail_crc",
)


FOUND, REWRITTEN, TRUNCATED, GONE = range(4)
"""The place is in that file; the file was cut or changed behind its first bytes, and those are still what was read; it
was emptied and may have been written to again; it is not there."""


def locate(place: Place, base: str, candidates: Sequence[File]) -> tuple[int, File | None]:
    """Find the file that a place is in among those of a directory, of which `base` is the name that is followed.

    By its inode, if that is still the same file; else by its content, as when it was copied and emptied, or taken out
    of an archive again: such a file has to have been written to since, or it would be one of those before.
    """
    same = [file for file in candidates if file.inode == place.inode and _may_be(file.born_ns, place.born_ns)]
    for file in same:
        if place.is_in(file):
            return FOUND, file
    if max(place.position, place.head_size) >= (1 if same else _SURE_BYTES):
        copies = [
            file
            for file in candidates
            if (file.name == base or order_of(file.name, base) is not None)
            and file.modified_ns >= place.modified_ns
            and file not in same
            and place.is_in(file)
        ]
        if len(copies) == 1:
            return FOUND, copies[0]
    for file in same:
        whole = place.head_size == HEAD_BYTES and file.size >= HEAD_BYTES
        return (REWRITTEN if whole and place.has_head(file) else TRUNCATED), file
    return GONE, None


def _may_be(born_ns: int, other_ns: int) -> bool:
    return born_ns == other_ns or 0 in (born_ns, other_ns)


def order_of(name: str, base: str) -> tuple[str, Key] | None:
    """Return the kind of a rotated file's name, and a key that ascends from older to newer in that kind.

    None for a name that does not say that it is a rotated one of `base`.
    """
    stem, dot, extension = base.rpartition(".")
    marks = [name[len(base) :]] if name.startswith(base) else []
    if dot and stem and name.startswith(stem) and name.endswith(dot + extension):
        marks.append(name[len(stem) : -len(dot + extension)])
    for mark in marks:
        if _MARK.fullmatch(mark):
            numbers = tuple(map(int, re.findall("[0-9]+", mark)))
            if len(numbers) == 1 and len(mark) - 1 <= _COUNT_DIGITS and numbers[0] not in _YEARS:
                return "count", (-numbers[0],)
            return "date", numbers
    return None


def files_between(name: str, base: str, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return which files were written after `name` was rotated and before `base` was begun, from older to newer.

    And what is missing of them, or cannot be read since it is compressed. Nothing is known for a name that says
    nothing of rotation.
    """
    own = order_of(name, base)
    if own is None:
        return [], []
    kind, key = own
    between: dict[Key, str] = {}
    missing: dict[Key, str] = {}
    for other in names:
        if (order := order_of(other, base)) is not None:
            found = between
        elif (order := order_of(_COMPRESSED.sub("", other), base)) is not None:
            found = missing
        else:
            continue
        if order[0] == kind and order[1] > key:
            found[order[1]] = other
    if kind == "count":
        # Counted from 0 or from 1; those in between have to be there.
        for number in range(-key[0] - 1, 0, -1):
            if (-number,) not in between:
                missing.setdefault((-number,), _with_count(name, base, number))
    return (
        [between[each] for each in sorted(between)],
        [missing[each] for each in sorted(missing) if each not in between],
    )


def _with_count(name: str, base: str, number: int) -> str:
    """Return a rotated file's name with another count in it."""
    start = len(base) if name.startswith(base) else len(base.rpartition(".")[0])
    return name[:start] + re.sub("[0-9]+", str(number), name[start:], count=1)
