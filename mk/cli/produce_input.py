"""What `mk produce` reads: standard input or files, cut into records and handed to the producer block by block.

Decides which bytes are a record, and what is passed on or skipped. How input is cut is formats/readers'; which partition
and batch a record goes to is the producer's.
"""

import os
from time import monotonic

from mk.cli.notes import note
from mk.errors import KeyRequiredError, RecordTooLargeError, UnreadableInputError
from mk.formats.readers import LineReader
from mk.producer.record_accumulator import BATCH_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mk.cli.options import Options
    from mk.formats.block_reader import BlockReader
    from mk.producer.producer import Producer

STDIN = "-"
_NEWLINE = b"\n"
_SMALL_BYTES = 64 << 10
"""What a file may hold to be stored together with those that follow: a thousand small files need not be a thousand
appends, each with its fdatasync."""
_HELD_BYTES = 1 << 20
"""What waits so at most."""
_BLOCK_BYTES = 7 << 20
"""What is read at once at most. A little less than the producer's buffer holds, so that also with what each record takes
beside its bytes a block is one append for each partition, with one fdatasync, and not a large and a small one."""

_LONG_BYTES = 1 << 20
"""Input that may take a second, so that somebody may want to know how far it is."""

_S_IFMT, _S_IFREG, _S_IFDIR = 0o170000, 0o100000, 0o040000
_STDOUT = 1


class _Stop(BaseException):
    """Leaves the opening of a file when stop() is called by a signal handler; never leaves this module."""


class ProduceInput:
    """The input of one command, on its way to `producer`.

    records_skipped: how many were bad and left out, as --skip-bad asks for.

    Every block is on its way to be stored before the next is read, and is passed on to stdout, where asked for, after
    that. What is read of the last one when stop() is called is stored as far as it is whole records.
    """

    def __init__(self, producer: "Producer", options: "Options") -> None:
        self._producer = producer
        self._options = options
        self._key: bytes | None = options.key
        self._key_delimiter: bytes | None = options.key_delimiter
        self._headers: tuple[tuple[bytes, bytes | None], ...] = options.headers
        self._timestamp_ms: int | None = options.timestamp_ms
        # What a record may have beside its part of the input.
        self._added_bytes = sum(len(name) + len(value or b"") for name, value in self._headers) + len(self._key or b"")
        self._delimiter = _NEWLINE
        if options.whole:
            self._delimiter = b""
        elif options.null:
            self._delimiter = b"\0"
        elif options.delimiter is not None:
            self._delimiter = options.delimiter
        self._left: int | None = options.count
        self._name = STDIN  # Of the file that is being read,
        self._records = 0  # and how many records of it were read.
        self._reader: LineReader | BlockReader | None = None
        self._is_opening = False
        self._is_stopped = False
        self._tee: list[bytes | memoryview] = []
        self._is_held = False
        self._held_bytes = 0
        self._held_since = 0.0
        self._tell: Callable[[int, int], None] | None = None
        self._told_bytes = self._total_bytes = 0
        self.records_skipped = 0

    def send(self) -> None:
        """Read all there is, up to --count records, and return when it is stored.

        Raises:
            RecordTooLargeError, KeyRequiredError: a record cannot be stored, and --skip-bad was not asked for. All before
                it are stored.
            UnreadableInputError: a file cannot be opened. All before it are stored, and nothing behind it is read.
        """
        names = self._options.files or (STDIN,)
        self._total_bytes = self._long_bytes(names) if os.isatty(2) else 0
        if self._total_bytes:
            from mk.cli.progress import progress_bar

            with progress_bar("storing", quiet=False) as self._tell:
                self._send_all(names)
        else:
            self._send_all(names)

    def _long_bytes(self, names: "Sequence[str]") -> int:
        """Return how many bytes there are to read, 0 if that cannot be told, is little, or is nobody's business."""
        options = self._options
        if options.quiet or options.verbose or options.tee or options.follow is not None:
            return 0
        total = 0
        for name in names:
            try:
                status = os.fstat(0) if name == STDIN else os.stat(name)
                total += status.st_size - (os.lseek(0, 0, os.SEEK_CUR) if name == STDIN else 0)
            except OSError:
                return 0  # It is a pipe, or whoever opens it says what is the matter.
            if status.st_mode & _S_IFMT != _S_IFREG:
                return 0
        return total if total >= _LONG_BYTES else 0

    def _told(self, read_bytes: int) -> None:
        if self._tell is not None:
            self._told_bytes += read_bytes
            self._tell(self._told_bytes, self._total_bytes)

    def _send_all(self, names: "Sequence[str]") -> None:
        for at, name in enumerate(names, 1):
            if self._is_stopped or self._left == 0:
                break
            self._name, self._records = name, 0
            try:
                descriptor = self._open(name)
            except (UnreadableInputError, OSError):
                self._flush()
                raise
            if descriptor < 0:
                break
            try:
                self._send_file(descriptor, is_last=at == len(names))
            finally:
                if descriptor:
                    os.close(descriptor)
        self._flush()

    def stop(self) -> None:
        """End the input here. For signal handlers, see LineReader.stop."""
        self._is_stopped = True
        try:
            self._producer.stop_soon()  # It raises where that goes on, and nothing is read then.
        finally:
            if self._reader is not None:
                self._reader.stop()
            elif self._is_opening:
                self._is_opening = False
                raise _Stop

    def _open(self, name: str) -> int:
        """Open a file for reading; -1 if a signal ended the input meanwhile: a pipe with a name waits for its writer."""
        if name == STDIN:
            if not self._options.quiet and os.isatty(0):
                note(f"mk: reading records from the terminal, {self._unit()}; ^D ends")
            return 0
        if self._held_bytes and not _is_regular(name):
            self._flush()  # Opening it may wait for somebody.
        try:
            self._is_opening = True
            if self._is_stopped:
                raise _Stop
            descriptor = os.open(name, os.O_RDONLY)
            self._is_opening = False
        except _Stop:
            return -1
        except OSError as error:
            raise UnreadableInputError(path=name, why=os.strerror(error.errno or 0)) from None
        finally:
            self._is_opening = False
        if os.fstat(descriptor).st_mode & _S_IFMT == _S_IFDIR:
            os.close(descriptor)
            raise UnreadableInputError(path=name, why="it is a directory: name the files in it")
        return descriptor

    def _unit(self) -> str:
        if not self._delimiter:
            return "all of it is one"
        return "one a line" if self._delimiter == _NEWLINE else "each ends with the delimiter"

    def _send_file(self, descriptor: int, *, is_last: bool) -> None:
        is_regular = os.fstat(descriptor).st_mode & _S_IFMT == _S_IFREG
        if not is_regular:
            self._flush()  # It may bring nothing for a while.
        reader = self._reader = self._make_reader(descriptor)
        if self._is_stopped:
            reader.stop()
        while True:
            try:
                block = reader.next_block()
            except RecordTooLargeError as error:
                self._refuse(error, 1)
                self._count(1)
                reader.skip_line()
                continue
            except OSError as error:
                self._flush()
                error.filename = error.filename or (None if self._name == STDIN else self._name)
                raise
            if block is None:
                break
            if is_regular and not is_last and len(block) <= _SMALL_BYTES:
                self._send_block(reader, is_held=True)
                self._flush_if_due(len(block))
            else:
                self._send_block(reader, is_held=False)
                if len(block) >= _HELD_BYTES and not self._options.tee and reader.has_more():
                    self._producer.flush_later()  # There is no pause, in which somebody could want to know.
                else:
                    self._flush()
            self._told(len(block))
            del block
            reader.set_limits(max_line_bytes=self._max_record_bytes(), flush_ms=self._producer.flush_ms)
        self._reader = None
        if not (self._delimiter or self._records or self._is_stopped):
            self._send_empty()
            self._count(1)

    def _make_reader(self, descriptor: int) -> LineReader:
        return LineReader(
            descriptor,
            delimiter=self._delimiter,
            max_lines=self._left,
            max_line_bytes=self._max_record_bytes(),
            key_bytes=self._bytes_of_every_record(),
            batch_bytes=_BLOCK_BYTES,
            flush_ms=self._producer.flush_ms,
        )

    def _send_empty(self) -> None:
        """Hand over what --whole makes of an empty input: one record."""
        self._send_records(None if self._key is None else [self._key], [b""], memoryview(b""))

    def _max_record_bytes(self) -> int:
        """Return how long a record may be as it stands in the input: the delimiter of a key is there, and not stored."""
        return self._producer.max_message_bytes + len(self._key_delimiter or b"")

    def _bytes_of_every_record(self) -> int:
        """Return how much headers and key take, which do not stand in the input. Raises if that is too much already."""
        size = sum(len(name) + len(value or b"") for name, value in self._headers)
        if self._key_delimiter is None:
            size += len(self._key or b"")
        limit = self._producer.max_message_bytes
        if size > limit:
            what = "key and headers alone" if self._headers else "the key alone"
            raise RecordTooLargeError(size_bytes=size, max_bytes=limit, place=what)
        return size

    def _send_block(self, reader: LineReader, *, is_held: bool) -> None:
        """Hand over the block that was read last, by copies if it is to outlive the reader."""
        self._is_held = is_held
        came = reader.as_it_came()
        if not self._may_be_lines(reader):
            lines = 0
            for piece in reader.cut(BATCH_BYTES):
                lines += self._send_columns(piece, came[: len(piece)])
                came = came[len(piece) :]
            reader.tell_count(lines)
            return
        for piece, count in reader.pieces(BATCH_BYTES):
            piece_came, came = came[: len(piece)], came[len(piece) :]
            block = piece if self._delimiter == _NEWLINE else self._lines_of(piece)
            try:
                self._producer.send_lines(bytes(block) if is_held else block, count, self._key, self._timestamp_ms)
            except (RecordTooLargeError, KeyRequiredError) as error:
                if error.is_of_append:
                    raise
                # Somebody has altered the limit since the block was read, or none of these records can be stored.
                self._send_columns(piece, piece_came)
            else:
                self._pass_on(piece_came)
                self._count(count)

    def _may_be_lines(self, reader: LineReader) -> bool:
        """Tell whether the block last read can be stored as lines, without looking at each record."""
        delimiter = self._delimiter
        if self._key_delimiter is not None or self._headers or (delimiter != _NEWLINE and reader.holds(_NEWLINE)):
            return False
        if not self._options.null_value or not delimiter:
            return True
        return not (reader.holds(delimiter + delimiter) or reader.as_it_came()[: len(delimiter)] == delimiter)

    def _lines_of(self, piece: memoryview) -> bytes:
        """Return the records of a piece, which hold no newline, with newlines for their delimiters."""
        if not self._delimiter:
            return b"".join((piece, _NEWLINE))
        lines = bytes(piece).replace(self._delimiter, _NEWLINE)
        return lines if lines.endswith(_NEWLINE) else lines + _NEWLINE

    def _send_columns(self, piece: memoryview, came: memoryview) -> int:
        """Take a piece apart, hand over its records and count them; returns how many there are."""
        from mk.formats.readers import split_keys, split_values

        keys: list[bytes | None] | None = None
        if self._key_delimiter is not None:
            keys, values = split_keys(piece, self._key_delimiter, self._delimiter)
            if self._key is not None:
                keys = [self._key if own is None else own for own in keys]
        else:
            values = split_values(piece, self._delimiter)
            if self._key is not None:
                keys = [self._key] * len(values)
        self._send_records(keys, values, came)
        self._count(len(values))
        return len(values)

    def _send_records(
        self, keys: "list[bytes | None] | None", values: "Sequence[bytes | None]", came: memoryview
    ) -> None:
        if self._options.null_value and b"" in values:
            values = [value or None for value in values]
        try:
            size_bytes = len(came) + self._added_bytes * len(values)
            self._producer.send_cut(keys, values, size_bytes, self._headers, self._timestamp_ms)
        except (RecordTooLargeError, KeyRequiredError) as error:
            if error.is_of_append:
                raise  # Sent again one by one, these would be stored, and what came before them missing.
            self._send_one_by_one(keys, values, came)
        else:
            self._pass_on(came)

    def _send_one_by_one(
        self, keys: "list[bytes | None] | None", values: "Sequence[bytes | None]", came: memoryview
    ) -> None:
        """Send records of which at least one cannot be stored, all but that one."""
        from mk.formats.readers import split_values

        position = 0
        sizes = [len(record) + len(self._delimiter) for record in split_values(came, self._delimiter)]
        for at, value in enumerate(values):
            record_came = came[position : position + sizes[at]]
            position += sizes[at]
            try:
                self._producer.send(value, keys[at] if keys else None, self._headers, self._timestamp_ms)
            except (RecordTooLargeError, KeyRequiredError) as error:
                if error.is_of_append:
                    raise
                self._refuse(error, at + 1)
            else:
                self._pass_on(record_came)

    def _refuse(self, error: "RecordTooLargeError | KeyRequiredError", ahead: int) -> None:
        """Skip the record that is `ahead` of those counted, or raise, with all before it stored."""
        place = self._place(ahead)
        if isinstance(error, KeyRequiredError):
            error = error.at(place)
        else:
            size_bytes, max_bytes = int(str(error.facts["size_bytes"])), self._producer.max_message_bytes
            if error.facts["max_bytes"] != max_bytes:
                size_bytes -= len(self._key_delimiter or b"")
            error = RecordTooLargeError(size_bytes=size_bytes, max_bytes=max_bytes, place=place)
        if not self._options.skip_bad:
            self._flush()
            raise error from None
        self.records_skipped += 1
        self._producer.skip_sequences(1)
        note(f"mk: skipped: {error.what}")

    def _place(self, ahead: int) -> str:
        """Say where the record stands that is `ahead` of those counted."""
        if not self._delimiter:
            return "standard input" if self._name == STDIN else self._name
        place = f"{'line' if self._delimiter == _NEWLINE else 'record'} {self._records + ahead}"
        return f"input {place}" if self._name == STDIN else f"{self._name}: {place}"

    def _count(self, records: int) -> None:
        self._records += records
        if self._left is not None:
            self._left -= records

    def _pass_on(self, came: "bytes | memoryview") -> None:
        """Have these bytes written to stdout once their records are stored."""
        if self._options.tee and len(came):
            self._tee.append(bytes(came) if self._is_held else came)

    def _flush_if_due(self, added_bytes: int) -> None:
        if not self._held_bytes:
            self._held_since = monotonic()
        self._held_bytes += added_bytes
        if self._held_bytes >= _HELD_BYTES or monotonic() - self._held_since >= self._producer.flush_ms / 1000:
            self._flush()

    def _flush(self) -> None:
        """Store what was handed over, then pass it on."""
        self._held_bytes = 0
        self._producer.flush()
        passed, self._tee = self._tee, []
        if passed:
            _write(passed)


def _is_regular(path: str) -> bool:
    try:
        return os.stat(path).st_mode & _S_IFMT == _S_IFREG
    except OSError:
        return False


def _write(buffers: "list[bytes | memoryview]") -> None:
    """Write all of it to stdout: as it is, or so that a terminal only shows it."""
    if os.isatty(_STDOUT):
        from mk.formats.terminal import escape

        buffers = [escape(b"".join(buffers))]
    for buffer in buffers:
        done = 0
        while done < len(buffer):
            try:
                done += os.write(_STDOUT, buffer[done:])
            except BlockingIOError:
                # Somebody who shares the pipe or terminal made it non-blocking, and it is full.
                _wait_for_room()


def _wait_for_room() -> None:
    import select

    poll = select.poll()
    poll.register(_STDOUT, select.POLLOUT)
    poll.poll()
