"""The files that stand at a path one after the other, as one input.

Decides which file comes next, when the one before it is done, and what becomes of an input whose place cannot be found
again. Files are renamed, copied and emptied, removed and made anew while we read them: each is held open, and found by what
it is and not by what it is called. What is a record is the reader's business; what is stored, the producer's.
"""

from __future__ import annotations

import os
from time import monotonic

from mk.errors import InputGapError, UnreadableInputError
from mk.producer.input_file import InputFile, open_input_file
from mk.producer.rotation import FOUND, REWRITTEN, TRUNCATED, Place, files_between, locate, order_of
from mk.storage.watch import POLL_MS, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mk.formats.growing_file_reader import GrowingFileReader

_REST_S = 1.0
"""How long the rest of a last line is waited for when the file was rotated away, and its successor begun."""
_TRIES = 20
"""How often names are read again that change meanwhile; the next look is soon enough after that."""


class Moved(Exception):
    """Something else is to be read now. What the reader holds of a line that is not whole will be read again."""


class FollowedFiles:
    """The files at `path`: the one that is read, those behind it that are known, and the one before it.

    files: the first is the one to read, from its `position`. before: the one that was read before it, held as long as
    somebody may still write to it. on_note: called with what a person should know; is_quiet leaves only what may be lost.
    """

    def __init__(self, path: str, *, accept_gap: bool, is_quiet: bool, on_note: Callable[[str], None]) -> None:
        self.path = os.path.abspath(path)
        self._directory, self._base = os.path.split(self.path)
        self._accept_gap = accept_gap
        self._is_quiet = is_quiet
        self._on_note = on_note
        self._noted: set[str] = set()
        self._watch = Watch(())
        self._watch.add_directory(self._directory)
        self.files: list[InputFile] = []
        self.before: InputFile | None = None

    def close(self) -> None:
        self._watch.close()
        for file in self.files:
            file.close()
        self._drop_before()

    def await_first(self) -> None:
        """Wait until there is a file to read."""
        while True:
            self._look()
            if self.files:
                return
            self._note_once(f"mk: waiting for {self.path}")
            self._watch.wait()

    def begin(self) -> InputFile:
        """Return the file to read, made ready for it."""
        file = self.files[0]
        if not file.is_as_it_was():
            self._emptied(file, is_dropping=False)
            if self.files[0] is file:
                del self.files[0]
                file.close()
            file = self.files[0]
        os.lseek(file.fd, file.position, os.SEEK_SET)
        self._watch.add(f"/proc/self/fd/{file.fd}")
        return file

    def advance(self) -> None:
        """Go to the next file. Something may still be written to the one that is left."""
        done = self.files[0]
        if done.limit >= 0:
            # A record ended there though the line did not: the rest of the file is yet to be looked at.
            done.limit = -1
            return
        if len(self.files) > 1 and self.files[1].is_same_as(done):
            del self.files[0]
            done.close()  # It was emptied.
            return
        self._look_again(done)
        del self.files[0]
        self._drop_before()
        self.before = done

    def _look_again(self, done: InputFile) -> None:
        """See whether those behind a file are still what they were: one that we held may have been copied and emptied."""
        later = self.files[1:]
        if any(file.position for file in later):
            return
        for _ in range(_TRIES):
            try:
                found = self._new_files(done, [done])
            except PermissionError:
                return
            if found is not None:
                break
        else:
            return
        if not found:
            return  # The path is free just now.
        merged = [file for file in later if not any(file.is_same_as(new) for new in found)]
        for new in found:
            held = next((file for file in later if file.is_same_as(new)), None)
            if held is None:
                merged.append(new)
            elif not held.is_as_it_was() and any(held.place().is_in(copy) for copy in found):
                held.close()
                merged.append(new)
            else:
                new.close()
                merged.append(held)
        self.files[1:] = merged

    def await_growth(self, reader: GrowingFileReader) -> bool:
        """Wait until there is more of the file that is read; False when it is done. Raises Moved."""
        file, offset = self.files[0], reader.read_position
        has_partial = offset > reader.position
        if not reader.is_dropping:
            file.skip_to(reader.position)
        since: float | None = None
        while True:
            size = file.size
            if size < offset or not file.is_as_it_was():
                self._emptied(file, is_dropping=reader.is_dropping)
                if self.files[0] is not file:
                    raise Moved
                return False
            if size > offset:
                return True
            if self._has_late_lines() and not reader.is_dropping:
                assert self.before is not None
                self.files.insert(0, self.before)
                self.before = None
                raise Moved
            self._look()
            if any(later.size for later in self.files[1:]):
                # Whoever has begun the next file writes to this one no more, unless he did before we looked.
                if file.size != offset:
                    continue
                if not has_partial or reader.is_dropping:
                    return False
                since = since or monotonic()
                if monotonic() - since >= _REST_S:
                    file.limit = offset
                    raise Moved
            self._watch.wait(POLL_MS if since is None else 50)

    def is_one_of_them(self, file: InputFile) -> bool:
        """Tell whether a file is called as one of those that stand, or stood, at the path."""
        return file.name == self._base or order_of(file.name, self._base) is not None

    def resume(self, reading: str, before: str, then: str) -> bool:
        """Find the places of an input again, and return whether it goes on with other records than those after them.

        Raises InputGapError where records may be missing, unless that is accepted.
        """
        is_exact = self._take_up(Place.decode(reading))
        if then:
            self._take_up(Place.decode(then))
        if before:
            kind, file = self._locate(Place.decode(before))
            if kind == FOUND and file is not None and not any(file.is_same_as(other) for other in self.files):
                self.before = file
                self._watch.add(f"/proc/self/fd/{file.fd}")
            elif file is not None:
                file.close()
        return not is_exact

    def _take_up(self, place: Place) -> bool:
        """Go on at a place, and return whether it is the same as it was."""
        kind, file = self._locate(place)
        if kind == FOUND and file is not None:
            self.files.append(file)
            return True
        if kind == REWRITTEN and file is not None:
            file.position = min(file.position, file.size)
            self.files.append(file)
            self._on_note(
                f"mk: {file.name} was changed behind its first lines, or is shorter than what was read of it: going on at "
                f"byte {file.position}; what stands before that is not read again"
            )
            return False
        if kind == TRUNCATED and file is not None:
            what = f"{file.name} was emptied while nobody followed it"
            why = f"it had been read up to byte {place.position}, and no copy of it with what followed is beside it"
            self._gap(what, why)
            file.position, file.records, file.limit = 0, 0, -1
            # Those of the place are of what was emptied: of a short file, the tail would lie in front of its first byte.
            file.head = file.tail = b""
            self.files.append(file)
            return False
        what = f"the file that was read last at {self.path} is gone"
        why = f"byte {place.position} was next, and no file beside it has its inode or its first lines: removed, or compressed?"
        self._gap(what, why)
        rotated = sorted(name for name in self._names() if order_of(name, self._base) is not None)
        if rotated:
            self._on_note(f"mk: not read, since nothing tells whether they were before: {', '.join(rotated)}")
        return False

    def _gap(self, what: str, why: str) -> None:
        if not self._accept_gap:
            raise InputGapError(what, path=self.path, why=why)
        self._on_note(f"mk: lines may be missing: {what}; {why}")

    def _locate(self, place: Place) -> tuple[int, InputFile | None]:
        """Find the file of a place, first by its inode, then among all that its rotation may have made of it."""
        for _ in range(_TRIES):
            names = self._names()
            same = [name for name, inode in names.items() if inode == place.inode]
            kind, found = self._locate_in(same, place)
            if kind != FOUND:
                rotated = [n for n in names if n == self._base or n in same or order_of(n, self._base) is not None]
                if found is not None:
                    found.close()
                kind, found = self._locate_in(rotated, place)
            if kind == FOUND or self._related(names) == self._related(self._names()):
                break
            if found is not None:
                found.close()
        if found is not None:
            found.go_to(place)
        return kind, found

    def _locate_in(self, names: Iterable[str], place: Place) -> tuple[int, InputFile | None]:
        opened = [self._open(name) for name in names]
        files = [file for file in opened if file is not None]
        kind, found = locate(place, self._base, files)
        for file in files:
            if file is not found:
                file.close()
        return kind, found

    def _open(self, name: str) -> InputFile | None:
        file = open_input_file(os.path.join(self._directory, name))
        if file is not None:
            file.name = name
        return file

    def _names(self) -> dict[str, int]:
        try:
            with os.scandir(self._directory) as entries:
                return {entry.name: entry.inode() for entry in entries}
        except OSError:
            return {}

    def _look(self) -> None:
        """Take up the files that have come to the path since the last one that is known."""
        try:
            status = os.stat(self.path)
        except OSError:
            return  # Not there, for now.
        if self.files and status.st_ino == self.files[-1].inode:
            return
        for _ in range(_TRIES):
            try:
                known = [self.before, *self.files] if self.before is not None else self.files
                found = self._new_files(known[-1] if known else None, known)
            except PermissionError as error:
                if not (self.files or self.before):
                    raise UnreadableInputError(path=self.path, why=os.strerror(error.errno or 0)) from None
                # Often its maker has yet to say who may read it.
                self._note_once(f"mk: cannot read {self.path} yet: {os.strerror(error.errno or 0)}")
                return
            if found is not None:
                break
        else:
            return
        for file in found:
            self._watch.add(f"/proc/self/fd/{file.fd}")
        self._watch.add_directory(self._directory)  # It may have been made anew, too.
        self.files += found

    def _new_files(self, last: InputFile | None, known: list[InputFile]) -> list[InputFile] | None:
        """Open those between `last` and the one at the path, and that; None if names changed meanwhile.

        None of them if the one at the path is among those that are known.
        """
        names = self._names()
        at_path = open_input_file(self.path)
        if at_path is None:
            if not self.files and os.path.exists(self.path):
                raise UnreadableInputError(
                    path=self.path, why="only a regular file can be followed; --file reads others"
                )
            return []
        at_path.name = self._base
        if any(at_path.is_same_as(file) for file in known):
            # The last one, or one that was renamed back: it is being read, and what comes to it will be.
            at_path.close()
            return []
        opened: list[InputFile | None] = [at_path]
        missing: list[str] = []
        own = None
        if last is not None:
            own = next((n for n, inode in names.items() if inode == last.inode and n != self._base), None)
        if own is not None:
            between, missing = files_between(own, self._base, names)
            opened[:0] = [self._open(name) for name in between]
        files = [file for file in opened if file is not None]
        if len(files) < len(opened) or self._related(names) != self._related(self._names()):
            _close_all(files)
            return None
        if missing:
            try:
                self._gap(
                    f"files that were written to {self.path} are missing or compressed: {', '.join(missing)}",
                    f"they come behind what is now {own}, which was read to its end",
                )
            except InputGapError:
                _close_all(files)
                raise
        if own is not None and order_of(own, self._base) is None:
            self._note_once(
                f"mk: {self.path} was renamed to {own}, which does not say whether other files came between"
            )
        return files

    def _related(self, names: dict[str, int]) -> dict[str, int]:
        """Leave out what has to do with other files: names in a directory change all the time."""
        stem = self._base.rpartition(".")[0] or self._base
        return {name: inode for name, inode in names.items() if name.startswith(stem)}

    def _has_late_lines(self) -> bool:
        """Tell whether something was written to the file before this one since it was done."""
        before = self.before
        if before is None:
            return False
        size = before.size
        if size > before.position:
            return True
        if size < before.position or before.is_unlinked:
            self._drop_before()
        return False

    def _drop_before(self) -> None:
        if self.before is not None:
            self.before.close()
            self.before = None

    def _emptied(self, file: InputFile, *, is_dropping: bool) -> None:
        """Go on after a file was emptied, or filled with something else: with its copy, if there is one, then anew."""
        copy = None if is_dropping else self._copy_of(file)
        anew = file.again()
        self.files.insert(1, anew)
        if copy is not None:
            self._on_note(f"mk: {self.path} was emptied: the rest of what it had is read from its copy {copy.name}")
            copy.go_to(file.place())
            self.files[0] = copy
            file.close()
            return
        self._on_note(
            f"mk: {self.path} was emptied: going on from its start; what was written to it behind byte {file.position} and "
            "is in no copy beside it is lost"
        )

    def _copy_of(self, file: InputFile) -> InputFile | None:
        """Find the copy that was made of a file before it was emptied, by what was read of it."""
        if not (file.head or file.tail):
            return None
        place = file.place()
        for name in self._names():
            if order_of(name, self._base) is None:
                continue
            try:
                copy = self._open(name)
            except PermissionError:
                continue
            if copy is not None:
                if copy.inode != file.inode and place.is_in(copy):
                    return copy
                copy.close()
        return None

    def _note_once(self, text: str) -> None:
        if text not in self._noted and not self._is_quiet:
            self._noted.add(text)
            self._on_note(text)


def _close_all(files: Iterable[InputFile]) -> None:
    for file in files:
        file.close()
