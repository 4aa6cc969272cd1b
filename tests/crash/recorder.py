"""A disk that remembers everything asked of it, and refuses or dies where a test wants it to.

Stands in for the functions of mk.storage.files, the one door to the disk. Every change still happens, in a real
directory; syncs happen in the model only, which makes thousands of crashes affordable.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mk.storage import files, host
from tests.crash.images import DiskModel, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_SEAM = (
    "append",
    "copy_range",
    "drop_cache",
    "fdatasync",
    "fsync",
    "is_on_disk",
    "link",
    "mkdir",
    "open_file",
    "pwrite",
    "rename",
    "rmdir",
    "truncate",
    "unlink",
)


class Killed(BaseException):
    """The process is gone: what it had asked for is done, nothing more will be."""


class Note:
    """Something that a test wants to know of the moment between two operations: what was acknowledged by then."""

    __slots__ = ("at", "facts", "kind")

    def __init__(self, kind: str, at: int, facts: object) -> None:
        self.kind = kind
        self.at = at
        self.facts = facts


class RecordingDisk:
    """Record all operations below `root`, for a `with` block.

    fault: asked before each operation with its number, kind and name; returns 0, an errno, or for a write minus the
    number of bytes to take. kill_after: so many operations are done, then Killed is raised, again and again until
    `revive`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = DiskModel()
        self.operations: list[Operation] = []
        self.notes: list[Note] = []
        self.fault: Callable[[int, str, str], int] | None = None
        self.kill_after = -1
        self.pinned = False
        self.initial: list[tuple[int, bytes | dict[str, int]]] = []
        self.kinds: list[str] = []
        self._next_node = 1
        self._node_of: dict[int, int] = {}
        self._real: dict[str, object] = {}

    def __enter__(self) -> RecordingDisk:
        self._snapshot(str(self.root), 0)
        for name in _SEAM:
            self._real[name] = getattr(files, name)
            setattr(files, name, getattr(self, f"_{name}"))
        return self

    def __exit__(self, *exc: object) -> None:
        for name, function in self._real.items():
            setattr(files, name, function)

    def note(self, kind: str, facts: object) -> None:
        self.notes.append(Note(kind, len(self.operations), facts))

    def restart_count(self) -> None:
        """Count operations for faults and kills from here on. kinds: what has been asked since, in order."""
        self.kinds = []

    @property
    def asked(self) -> int:
        return len(self.kinds)

    def revive(self) -> None:
        self.kill_after = -1
        self.fault = None
        self.kinds = []

    def settle(self) -> None:
        """Let everything asked so far reach the disk, as before a reboot in good order."""
        for number, node in list(self.model.nodes.items()):
            if node.pending:
                self._did(Operation("sync", number, text="settle"))

    def damage(self, path: Path, position: int, data: bytes | None = None) -> None:
        """Change what is on the disk behind everybody's back: other bytes, or one flipped bit."""
        content = path.read_bytes()
        position %= len(content)
        changed = data if data is not None else bytes([content[position] ^ 1])
        with open(path, "r+b") as file:
            file.seek(position)
            file.write(changed)
        node = self._node_of[path.stat().st_ino]
        self._did(Operation("write", node, position, changed, text="damage"))
        self._did(Operation("sync", node, text="damage"))

    def replay(self, count: int) -> DiskModel:
        """Return the disk as it was after the first `count` operations."""
        model = DiskModel()
        for node, content in self.initial:
            if isinstance(content, bytes):
                model.snapshot_file(node, content)
            else:
                model.snapshot_directory(node, dict(content))
        for operation in self.operations[:count]:
            model.apply(operation)
        return model

    # What is there already is on disk.

    def _snapshot(self, path: str, node: int) -> None:
        self._node_of[os.stat(path).st_ino] = node
        names: dict[str, int] = {}
        for entry in os.scandir(path):
            known = self._node_of.get(entry.inode())
            if known is None:
                known = self._new_node(entry.inode())
                if entry.is_dir(follow_symlinks=False):
                    self._snapshot(entry.path, known)
                else:
                    with open(entry.path, "rb") as file:
                        data = file.read()
                    self.model.snapshot_file(known, data)
                    self.initial.append((known, data))
            names[entry.name] = known
        self.model.snapshot_directory(node, names)
        self.initial.append((node, dict(names)))

    def _new_node(self, inode: int) -> int:
        node = self._next_node
        self._next_node += 1
        self._node_of[inode] = node
        return node

    # Bookkeeping.

    def _ask(self, kind: str, name: str = "") -> int:
        """Die or fail here if that is wanted. Returns how many bytes a write shall take, or -1 for all."""
        number = self.asked
        if self.kill_after >= 0 and number >= self.kill_after:
            raise Killed
        self.kinds.append(kind)
        answer = self.fault(number, kind, name) if self.fault is not None else 0
        if answer > 0:
            raise OSError(answer, os.strerror(answer))
        return -answer if answer < 0 else -1

    def _did(self, operation: Operation) -> None:
        self.operations.append(operation)
        self.model.apply(operation)

    def _node(self, fd: int) -> int | None:
        return self._node_of.get(os.fstat(fd).st_ino)

    def _name_of(self, fd: int) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))

    def _names(self, directory_fd: int, *changes: tuple[str, int | None], text: str) -> None:
        node = self._node(directory_fd)
        if node is not None:
            self._did(Operation("names", node, names=changes, text=text))

    # The seam.

    def _open_file(self, name: str, flags: int, mode: int = 0o644, *, dir_fd: int, linked: bool = False) -> int:
        creates = bool(flags & os.O_CREAT) and not files.exists(name, dir_fd=dir_fd)
        if creates:
            self._ask("create", name)
        fd: int = self._real["open_file"](name, flags, mode, dir_fd=dir_fd, linked=linked)  # type: ignore[operator]
        if creates:
            node = self._new_node(os.fstat(fd).st_ino)
            self._did(Operation("create", node, text=name))
            self._names(dir_fd, (name, node), text=f"create {name}")
        return fd

    def _append(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        name = self._name_of(fd)
        take = self._ask("append", name)
        data = b"".join(bytes(buffer) for buffer in buffers)
        if take >= 0:
            data = data[:take]
        position = os.fstat(fd).st_size
        assert os.write(fd, data) == len(data)
        node = self._node(fd)
        assert node is not None
        self._did(Operation("write", node, position, data, text=f"append {name}"))
        return len(data)

    def _pwrite(self, fd: int, data: bytes, position: int) -> None:
        name = self._name_of(fd)
        self._ask("pwrite", name)
        os.pwrite(fd, data, position)
        node = self._node(fd)
        assert node is not None
        self._did(Operation("write", node, position, bytes(data), text=f"pwrite {name}"))

    def _copy_range(self, fd: int, copy: int, size_bytes: int, position: int) -> int:
        data = os.pread(fd, size_bytes, position)
        if data:
            self._pwrite(copy, data, position)
        return len(data)

    def _truncate(self, fd: int, size_bytes: int) -> None:
        name = self._name_of(fd)
        self._ask("truncate", name)
        os.ftruncate(fd, size_bytes)
        node = self._node(fd)
        assert node is not None
        self._did(Operation("truncate", node, size_bytes, text=f"truncate {name}"))

    def _sync(self, fd: int) -> None:
        name, node = self._name_of(fd), self._node(fd)
        try:
            self._ask("sync", name)
        except OSError:
            if node is not None:
                self._did(Operation("sync_failed", node, text=f"sync {name} failed"))
            raise
        if node is not None:
            self._did(Operation("sync", node, text=f"sync {name}"))

    _fdatasync = _fsync = _sync

    def _drop_cache(self, fd: int, size_bytes: int) -> bool:
        """Show from now on what is on the disk: not the bytes of a sync that failed."""
        if self.pinned:
            return False
        node = self._node(fd)
        if node is not None:
            data = self.model.on_disk(node)
            # Not through `fd`: with O_APPEND, Linux would append.
            again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
            os.pwrite(again, data, 0)
            assert os.fstat(again).st_size == len(data)
            os.close(again)
        return True

    def _is_on_disk(self, fd: int, start: int, stop: int) -> bool:
        node = self._node(fd)
        return node is not None and self.model.on_disk(node)[start:stop] == os.pread(fd, stop - start, start)

    def _rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._ask("rename", new)
        node = self._node_of.get(os.stat(old, dir_fd=src_dir_fd, follow_symlinks=False).st_ino)
        self._real["rename"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)  # type: ignore[operator]
        assert self._node(src_dir_fd) == self._node(dst_dir_fd), "only renames within a directory are modelled"
        self._names(src_dir_fd, (old, None), (new, node), text=f"rename {old} {new}")

    def _link(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._ask("link", new)
        self._real["link"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)  # type: ignore[operator]
        node = self._node_of[os.stat(old, dir_fd=src_dir_fd, follow_symlinks=False).st_ino]
        self._names(dst_dir_fd, (new, node), text=f"link {old} {new}")

    def _unlink(self, name: str, *, dir_fd: int) -> None:
        if files.exists(name, dir_fd=dir_fd):
            self._ask("unlink", name)
        self._real["unlink"](name, dir_fd=dir_fd)  # type: ignore[operator]
        self._names(dir_fd, (name, None), text=f"unlink {name}")

    def _mkdir(self, name: str, mode: int = 0o755, *, dir_fd: int | None = None) -> None:
        self._ask("mkdir", name)
        self._real["mkdir"](name, mode, dir_fd=dir_fd)  # type: ignore[operator]
        node = self._new_node(os.stat(name, dir_fd=dir_fd).st_ino)
        self._did(Operation("mkdir", node, text=name))
        if dir_fd is not None:
            self._names(dir_fd, (name, node), text=f"mkdir {name}")
            return
        parent = os.open(os.path.dirname(os.path.abspath(name)), os.O_RDONLY)
        try:
            self._names(parent, (os.path.basename(name), node), text=f"mkdir {name}")
        finally:
            os.close(parent)

    def _rmdir(self, name: str, *, dir_fd: int) -> None:
        self._ask("rmdir", name)
        self._real["rmdir"](name, dir_fd=dir_fd)  # type: ignore[operator]
        self._names(dir_fd, (name, None), text=f"rmdir {name}")


class fast_disk:
    """Let syncs do nothing, for directories that a test throws away anyway."""

    def __enter__(self) -> None:
        self._real = {name: getattr(files, name) for name in ("fdatasync", "fsync", "drop_cache")}
        files.fdatasync = files.fsync = lambda fd: None  # type: ignore[assignment]
        files.drop_cache = lambda fd, size_bytes: True  # type: ignore[assignment]

    def __exit__(self, *exc: object) -> None:
        for name, function in self._real.items():
            setattr(files, name, function)


def set_boot(name: str) -> None:
    """Pretend that the host was booted anew. tests/crash/conftest.py restores the real boot."""
    host._boot_id = name
