"""`mk produce --follow FILE`: what is written to a file, as long as nobody stops it, also when the file is rotated.

Decides when it is written down how far the files were read. Which file that is, is producer/followed_files'.
"""

import errno
import os
from time import monotonic

from mk.cli.notes import note
from mk.cli.produce_input import ProduceInput, _Stop
from mk.errors import CorruptStateError, InputGapError, UsageError
from mk.formats.growing_file_reader import GrowingFileReader
from mk.producer.followed_files import FollowedFiles, Moved
from mk.producer.rotation import HEAD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.cli.options import Options
    from mk.formats.readers import LineReader
    from mk.producer.input_file import InputFile
    from mk.producer.producer import Producer
    from mk.storage.input_mark import InputMark

_MARK_S = 5.0
"""How often the mark is moved on within a file. What is behind it is read again after a kill, and compared with the log."""
_MARK_BYTES = 64 << 20
_UNSEEN_SEQUENCES = 1 << 32
"""More than what may be in the log beyond what it is known to hold: an append that was killed, or a second before a power
cut. Whatever goes on elsewhere in the files is counted from behind that, so that nothing is taken for stored by mistake."""
_CANNOT_SYNC = (errno.EINVAL, errno.EROFS, errno.ENOTSUP)


class FollowInput(ProduceInput):
    """The input of `mk produce --follow`.

    With a producer id each append is preceded by a sync of the file that it was read from: what the topic holds is then
    still in the file after a power cut, and counts the same when it is read again.
    """

    def __init__(self, producer: "Producer", options: "Options") -> None:
        super().__init__(producer, options)
        self._files = FollowedFiles(options.follow, accept_gap=options.accept_gap, is_quiet=options.quiet, on_note=note)
        self._file: InputFile | None = None
        self._follower: GrowingFileReader | None = None
        self._mark: InputMark | None = None
        self._marked: InputFile | None = None  # The file that the mark names,
        self._marked_position = 0  # where in it,
        self._marked_at = 0.0  # and since when.

    def send(self) -> None:
        """Read until a signal or --count ends it, and return when all records read by then are stored.

        Raises what ProduceInput.send does, and InputGapError where records of the files may be missing.
        """
        try:
            if self._options.producer_id is None or self._call_until_stopped(self._resume):
                self._send_files()
        finally:
            self._files.close()
            if self._mark is not None:
                self._mark.close()

    def _send_files(self) -> None:
        while not self._is_stopped and self._left != 0:
            if not self._files.files:
                self._call_until_stopped(self._files.await_first)
                continue
            file = self._file = self._files.begin()
            self._name = os.path.join(os.path.dirname(self._files.path), file.name)
            self._records = file.records
            try:
                self._send_file(file.fd, is_last=True)
            except Moved:
                self._reader = None
                if self._mark is not None and file.limit >= 0:
                    # Where the record ends is written down before it is stored: the next run may find more behind it.
                    file.has_read(file.read(file.position, file.limit))
                    self._write_mark(file)
                continue
            follower = self._follower
            assert follower is not None
            if follower.is_dropping:
                break  # Within a line that is skipped; it will be skipped again.
            file.skip_to(follower.position)
            if self._is_stopped or self._left == 0:
                if self._mark is not None and self._marked is file and self._marked_position != file.position:
                    self._write_mark(file)
                break
            self._files.advance()

    def _call_until_stopped(self, wait: "Callable[[], None]") -> bool:
        """Call something that may take long; False if stop() ended it."""
        try:
            self._is_opening = True
            if self._is_stopped:
                raise _Stop
            wait()
            self._is_opening = False
        except _Stop:
            return False
        finally:
            self._is_opening = False
        return True

    def _resume(self) -> None:
        """Find the place where the topic says that the producer id has got to."""
        producer, files = self._producer, self._files
        mark = self._mark = producer.open_input_mark()
        fields = mark.fields
        stored = producer.stored_sequence
        if fields is None:
            if stored >= 0:
                raise UsageError(
                    f"producer id {self._options.producer_id} was used without --follow",
                    why="nothing says which records of the file are those that are stored under it",
                    fix="choose another producer id, or produce as before; nothing was written",
                )
            return
        try:
            goes_on_elsewhere = files.resume(fields.reading, fields.before, fields.then)
        except ValueError:
            raise CorruptStateError(path=mark.path, found="a place in it is not one") from None
        except InputGapError:
            if fields.path == files.path:
                raise
            raise self._other_file(fields.path) from None
        if fields.path != files.path and not all(map(files.is_one_of_them, files.files)):
            raise self._other_file(fields.path)
        sequence = fields.sequence
        if goes_on_elsewhere:
            sequence = max(sequence, stored + 1) + _UNSEEN_SEQUENCES
        elif self._left is not None:
            self._left += max(0, stored + 1 - sequence)  # These are read again, and were counted when they were stored.
        producer.next_sequence = sequence
        if goes_on_elsewhere and files.files:
            now = files.files[0]
            now.has_read(now.read(now.position, now.position + HEAD_BYTES))
            if now.head:
                # What is missing was accepted, and need not be again. A place in an empty file would prove nothing.
                self._write_mark(now)

    def _other_file(self, path: str) -> UsageError:
        return UsageError(
            f"producer id {self._options.producer_id} follows {path}, not {self._files.path}",
            why="none of the files there is the one that was read last under that id",
            fix="name the file that it follows, or choose another producer id; nothing was written",
        )

    def _make_reader(self, descriptor: int) -> GrowingFileReader:
        assert self._file is not None
        self._follower = GrowingFileReader(
            descriptor,
            self._files,
            limit=self._file.limit,
            delimiter=self._delimiter,
            max_lines=self._left,
            max_line_bytes=self._max_record_bytes(),
            key_bytes=self._bytes_of_every_record(),
            flush_ms=self._producer.flush_ms,
        )
        return self._follower

    def _send_block(self, reader: "LineReader", *, is_held: bool) -> None:
        file, follower = self._file, self._follower
        assert file is not None
        assert follower is not None
        came = follower.as_it_came()
        # All before this block is stored, or was skipped: position and sequence belong together here, and nowhere within.
        file.skip_to(follower.position - len(came))
        file.has_read(came)
        if self._mark is not None:
            is_first = self._marked is not file
            self._sync(file, with_name=is_first)
            if (
                is_first
                or file.position - self._marked_position >= _MARK_BYTES
                or monotonic() - self._marked_at >= _MARK_S
            ):
                self._write_mark(file)
        super()._send_block(reader, is_held=is_held)
        file.hand_over(came)
        came.release()  # The reader's buffer may have to grow.

    def _count(self, records: int) -> None:
        super()._count(records)
        assert self._file is not None
        self._file.records = self._records

    def _sync(self, file: "InputFile", *, with_name: bool) -> None:
        """Put what was read of a file on disk."""
        try:
            os.fdatasync(file.fd)
            if with_name:
                directory = os.open(os.path.dirname(self._files.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                error.filename = error.filename or self._name
                raise

    def _write_mark(self, file: "InputFile") -> None:
        """Write down that the next record is the one at the position of this file. All before it are on disk."""
        assert self._mark is not None
        files = self._files
        behind = next((later for later in files.files if later is not file), None)
        self._mark.write(
            path=files.path,
            sequence=self._producer.next_sequence,
            reading=file.place().encode(),
            before=files.before.place().encode() if files.before is not None else "",
            then=behind.place().encode() if behind is not None and behind.position else "",
        )
        self._marked, self._marked_position, self._marked_at = file, file.position, monotonic()
