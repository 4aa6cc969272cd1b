"""What a power cut may leave of a directory, built from the operations that were asked of the disk.

The model keeps, for each file and directory, what is surely on disk (as of its last successful sync) and what was asked
since. A file's pending writes may be there whole, in part by 512-byte sectors, or as zeros; a later one may have made it
where an earlier one did not; the size may have grown ahead of the data. A directory's pending names are there or not,
independently of each other, except that one rename happens as a whole. A failed sync drops what it should have written
for good: later syncs succeed and do not bring it back.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SECTOR = 512
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Operation:
    """One change asked of the disk. `node` is a file or directory for life, whatever its names and inode number.

    kind: create, mkdir, write, truncate, sync, sync_failed, names (of directory `node`: what its entries become).
    """

    kind: str
    node: int
    position: int = 0
    data: bytes = b""
    names: tuple[tuple[str, int | None], ...] = ()
    text: str = ""


@dataclass(slots=True)
class _File:
    durable: bytes = b""
    pending: list[tuple[int, bytes | None, bool]] = field(default_factory=list)
    """(position, data, lost); a truncation has no data. A lost write lets the file grow but leaves zeros."""

    def content(self, kept: Iterable[tuple[int, bytes | None, bool]] | None = None) -> bytes:
        data = bytearray(self.durable)
        for position, piece, lost in self.pending if kept is None else kept:
            if piece is None:
                del data[position:]
                data.extend(bytes(max(0, position - len(data))))
                continue
            data.extend(bytes(max(0, position + len(piece) - len(data))))
            if not lost:
                data[position : position + len(piece)] = piece
        return bytes(data)


@dataclass(slots=True)
class _Directory:
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[tuple[tuple[str, int | None], ...]] = field(default_factory=list)

    def content(self, kept: Iterable[tuple[tuple[str, int | None], ...]] | None = None) -> dict[str, int]:
        names: dict[str, int | None] = dict(self.durable)
        for change in self.pending if kept is None else kept:
            names.update(change)
        return {name: node for name, node in names.items() if node is not None}


Image = dict[str, "bytes | int | None"]
"""Relative path -> content, or None for a directory, or for a second name of a file the number of that file."""


class DiskModel:
    """The disk under a recorded directory: what is on it, and what may be."""

    def __init__(self) -> None:
        self.nodes: dict[int, _File | _Directory] = {0: _Directory()}

    def snapshot_file(self, node: int, data: bytes) -> None:
        self.nodes[node] = _File(data)

    def snapshot_directory(self, node: int, names: dict[str, int]) -> None:
        self.nodes[node] = _Directory(names)

    def apply(self, operation: Operation) -> None:
        if operation.kind == "create":
            self.nodes[operation.node] = _File()
            return
        if operation.kind == "mkdir":
            self.nodes[operation.node] = _Directory()
            return
        node = self.nodes[operation.node]
        if operation.kind == "names":
            assert isinstance(node, _Directory)
            node.pending.append(operation.names)
        elif isinstance(node, _Directory):
            if operation.kind == "sync":
                node.durable, node.pending = node.content(), []
        elif operation.kind == "write":
            node.pending.append((operation.position, operation.data, False))
        elif operation.kind == "truncate":
            node.pending.append((operation.position, None, False))
        elif operation.kind == "sync":
            node.durable, node.pending = node.content(), []
        elif operation.kind == "sync_failed":
            node.pending = [(position, data, data is not None) for position, data, _ in node.pending]

    def on_disk(self, node: int) -> bytes:
        """Return what reading a file gives once the cache has let go of it and all writes were tried."""
        file = self.nodes[node]
        assert isinstance(file, _File)
        return file.content()

    def images(self, rng: random.Random, limit: int) -> Iterator[Image]:
        """Yield directories that a power cut now may leave, at most `limit`, the extreme ones always."""
        dirty = [number for number, node in self.nodes.items() if node.pending]
        nothing = {number: _plain(self.nodes[number], False) for number in dirty}
        everything = {number: _plain(self.nodes[number], True) for number in dirty}
        of_node = {number: variants(self.nodes[number], rng) for number in dirty}
        choices = [nothing, everything]
        single = [
            {**rest, number: variant}
            for number in dirty
            for variant in of_node[number]
            for rest in (nothing, everything)
        ]
        mixed = [{number: rng.choice(of_node[number]) for number in dirty} for _ in range(limit if dirty else 0)]
        more = single + mixed
        rng.shuffle(more)
        for choice in choices + more[: max(0, limit - 2)]:
            yield self.image(choice)

    def image(self, choice: dict[int, bytes | dict[str, int]]) -> Image:
        """Return the directory in which these files and directories are as chosen, and all others as they are on disk."""
        image: Image = {}
        seen: set[int] = set()

        def walk(number: int, path: str) -> None:
            content = choice.get(number)
            node = self.nodes[number]
            if isinstance(node, _Directory):
                image[path] = None
                names = node.durable if content is None else content
                assert isinstance(names, dict)
                for name, child in sorted(names.items()):
                    walk(child, f"{path}/{name}" if path else name)
            elif number in seen:
                image[path] = number
            else:
                seen.add(number)
                data = node.durable if content is None else content
                assert isinstance(data, bytes)
                image[path] = data
                second_names[number] = path

        second_names: dict[int, str] = {}
        walk(0, "")
        # A second name is given as the path of the first one, so that it can be linked.
        return {
            path: content if not isinstance(content, int) else _Link(second_names[content])
            for path, content in image.items()
        }


class _Link(int):
    """Stands for a second name of a file whose first one is `path`."""

    path: str

    def __new__(cls, path: str) -> _Link:
        link = super().__new__(cls, 0)
        link.path = path
        return link


def _plain(node: _File | _Directory, kept: bool) -> bytes | dict[str, int]:
    return node.content() if kept else node.content([])


def variants(node: _File | _Directory, rng: random.Random) -> list[bytes | dict[str, int]]:
    """Return what a power cut may leave of one file or directory."""
    if isinstance(node, _Directory):
        return _directory_variants(node, rng)
    return list(dict.fromkeys(_file_variants(node, rng)))


def _directory_variants(node: _Directory, rng: random.Random) -> list[bytes | dict[str, int]]:
    pending = node.pending
    kept = [pending[:count] for count in range(len(pending) + 1)]
    kept += [pending[:at] + pending[at + 1 :] for at in range(len(pending))]
    kept += [[change] for change in pending]
    kept += [[change for change in pending if rng.random() < 0.5] for _ in range(3)]
    return [node.content(changes) for changes in kept]


def _file_variants(node: _File, rng: random.Random) -> Iterator[bytes]:
    pending = node.pending
    for count in range(len(pending) + 1):
        yield node.content(pending[:count])
    whole = node.content()
    # The size has grown, the data has not arrived; the size runs ahead to the end of the block.
    yield node.content([(position, data, data is not None) for position, data, _ in pending])
    if len(whole) > len(node.durable):
        yield whole + bytes(-len(whole) % BLOCK)
        yield node.durable + bytes(-len(node.durable) % BLOCK)
    for at in range(len(pending)):
        position, data, _ = pending[at]
        yield node.content([*pending[:at], (position, data, data is not None), *pending[at + 1 :]])
        if data is not None:
            # Torn: the front is there and the rest not, as a shorter file or as zeros; or the other way round.
            for edge in _edges(position, len(data), rng):
                yield node.content([*pending[:at], (position, data[:edge], False)])
                yield node.content([*pending[:at], (position, data, True), (position, data[:edge], False)])
                yield node.content([*pending[:at], (position, data, True), (position + edge, data[edge:], False)])
    for _ in range(6):
        yield _scattered(node, rng)


def _edges(position: int, length: int, rng: random.Random) -> list[int]:
    """Return where a write of `length` bytes at `position` may tear: at the disk's sectors, a few of them."""
    first = -position % SECTOR or SECTOR
    edges = list(range(first, length, SECTOR))
    return edges if len(edges) <= 4 else [edges[0], edges[-1], *rng.sample(edges[1:-1], 2)]


def _scattered(node: _File, rng: random.Random) -> bytes:
    """Return the file with an arbitrary selection of its pending sectors, and any size that it had on the way."""
    kept: list[tuple[int, bytes | None, bool]] = []
    for position, data, lost in node.pending[: rng.randint(0, len(node.pending))]:
        if data is None:
            kept.append((position, None, False))
            continue
        kept.append((position, data, True))
        at = 0
        while at < len(data):
            end = min(len(data), at + SECTOR - (position + at) % SECTOR)
            if not lost and rng.random() < 0.5:
                kept.append((position + at, data[at:end], False))
            at = end
    return node.content(kept)


def digest(image: Image) -> bytes:
    """Return a fingerprint by which equal images are checked once."""
    found = hashlib.blake2b(digest_size=16)
    for path, content in sorted(image.items()):
        data = content.path.encode() if isinstance(content, _Link) else content
        found.update(b"%s\0%s\0" % (path.encode(), b"/" if data is None else hashlib.md5(data).digest()))  # type: ignore[arg-type]
    return found.digest()


def materialise(image: Image, target: Path) -> None:
    """Turn `target` into the image, whatever image it was before: making directories anew is what costs most."""
    there: set[str] = set()
    for directory, names, files in os.walk(target, topdown=False):
        relative = os.path.relpath(directory, target)
        prefix = "" if relative == "." else relative + "/"
        for name in files:
            path = prefix + name
            status = os.lstat(target / path)
            if status.st_size == 0 and status.st_nlink == 1 and image.get(path) == b"":
                there.add(path)
            else:
                os.unlink(target / path)
        for name in names:
            path = prefix + name
            if path in image and image[path] is None:
                there.add(path)
            else:
                shutil.rmtree(target / path)
    for path, content in sorted(image.items()):
        if path in there or not path:
            continue
        place = os.path.join(target, path)
        if content is None:
            os.mkdir(place)
        elif not isinstance(content, _Link):
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, content)  # type: ignore[arg-type]
            os.close(fd)
    for path, content in image.items():
        if isinstance(content, _Link):
            os.link(target / content.path, target / path)
