"""What `mk produce` reads with -J or -f: records that say more of themselves than a value.

Decides what of a record's own counts, and what the options add to it. How input is cut into records is for formats/, and
which topics and partitions they go to for the producers.

A record's own key and time win over -k and --timestamp, which are for those that have none; headers of -H come behind its
own. TOPIC and MK_TOPIC win over the topic that it names; its partition counts where the format has %p, or with
--keep-partition.
"""

from __future__ import annotations

from mk.cli.notes import note
from mk.cli.produce_input import STDIN, ProduceInput
from mk.errors import BadInputError, KeyRequiredError, MkError, NoSuchPartitionError, RecordTooLargeError, UsageError
from mk.formats.block_reader import BlockReader
from mk.formats.readers import LineReader, split_values
from mk.formats.record_columns import BadRecordError, RecordColumns
from mk.producer.record_accumulator import BATCH_BYTES
from mk.producer.topic_producers import MOST_OPEN, CannotOpenError, TopicProducers
from mk.topic_partition import is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.cli.options import Options
    from mk.formats.format_reader import FormatStream
    from mk.formats.framed import FrameReader
    from mk.producer.producer import Producer

    ReadLines = Callable[[list[bytes], int, RecordColumns], None]

JSON, FRAMED = "json", "framed"
_TEXT_IS_LONGER = 6
"""How many times as long as a record its text may be: JSON writes a control character as six."""
_ROOM_BYTES = 64 << 10
"""What a line has beside, such as names of members."""


class InputFormat:
    """What an option says of the form of the input, checked before anything is read or made.

    delimiter: what ends a record; None for a stream, whose records say it themselves.
    has_topic, has_partition: whether its records may name them.
    """

    def __init__(self, options: Options) -> None:
        """Raises UsageError if the format is none, cannot be read, or contradicts another option."""
        _check(options)
        self._name: str = options.format
        self.has_topic = self.has_partition = True
        asked = b"\0" if options.null else options.delimiter
        if self._name == JSON:
            self.delimiter: bytes | None = asked or b"\n"
        elif self._name == FRAMED:
            self.delimiter = None
        else:
            from mk.formats.format_reader import FormatReader
            from mk.formats.writers import check_is_format

            check_is_format(self._name)
            if self._name == "kv":
                end = None if options.whole else asked or b"\n"
                self._format = FormatReader(r"%k\t%v", delimiter=end, is_whole=options.whole)
            else:
                self._format = FormatReader(
                    self._name, delimiter=asked, is_whole=options.whole, may_lack_value=options.null_value
                )
            self.delimiter = self._format.delimiter
            self.has_topic, self.has_partition = self._format.has_topic, self._format.has_partition

    def read_lines(self) -> ReadLines:
        """Return the function that reads records which a delimiter has cut."""
        if self._name == JSON:
            from mk.formats.json_reader import read_lines

            return read_lines
        return self._format.read_lines

    def stream(self) -> FrameReader | FormatStream:
        """Return what cuts a stream into records."""
        if self._name == FRAMED:
            from mk.formats.framed import FrameReader

            return FrameReader()
        return self._format.stream()


class RecordInput(ProduceInput):
    """The input of one command, on its way to one producer, or to one for each topic that it names."""

    def __init__(self, producer: Producer | TopicProducers, options: Options, form: InputFormat) -> None:
        super().__init__(producer, options)  # type: ignore[arg-type]  # It asks of both what both have.
        self._form = form
        self._topics = producer if isinstance(producer, TopicProducers) else None
        self._one = None if isinstance(producer, TopicProducers) else producer
        self._default_topic: str = options.topic
        keeps = options.keep_partition or (options.format != JSON and options.format != FRAMED)
        self._keeps_partition = keeps and form.has_partition and options.partition is None
        self._delimiter = form.delimiter or b""
        self._read_lines = None if form.delimiter is None else form.read_lines()
        self.oldest_ms: dict[str, int] = {}
        """Of each topic, the oldest time that a record said of itself."""

    # Lines.

    def _unit(self) -> str:
        return "in a binary format" if self._form.delimiter is None else super()._unit()

    def _max_record_bytes(self) -> int:
        return _TEXT_IS_LONGER * self._producer.max_message_bytes + _ROOM_BYTES

    def _bytes_of_every_record(self) -> int:
        return 0

    def _send_block(self, reader: LineReader, *, is_held: bool) -> None:
        self._is_held = is_held
        came = reader.as_it_came()
        position = 0
        for piece, count in reader.pieces(BATCH_BYTES):
            self._send_lines(split_values(piece, self._delimiter), came[position : position + len(piece)])
            position += len(piece)
            self._count(count)
            del piece
        del came

    def _send_empty(self) -> None:
        self._send_lines([b""], memoryview(b""))

    def _send_lines(self, lines: list[bytes], came: memoryview) -> None:
        assert self._read_lines is not None
        at = position = 0
        while at < len(lines):
            columns = RecordColumns()
            reason = ""
            try:
                self._read_lines(lines, at, columns)
            except BadRecordError as error:
                reason = str(error)
            behind = at + len(columns)
            # Only who passes it on needs to know where in the input these end.
            sizes = [len(line) + len(self._delimiter) for line in lines[at:behind]] if self._options.tee else []
            self._send_columns_of(columns, at, came[position : position + sum(sizes)], sizes)
            at, position = behind, position + sum(sizes)
            if reason:
                self._refuse_record(BadInputError(place=self._place(at + 1), reason=reason))
                position += len(lines[at]) + len(self._delimiter)
                at += 1

    # Streams.

    def _send_file(self, descriptor: int, *, is_last: bool) -> None:
        if self._form.delimiter is not None:
            super()._send_file(descriptor, is_last=is_last)
            return
        self._flush()
        reader = self._reader = BlockReader(descriptor, flush_ms=self._producer.flush_ms)
        if self._is_stopped:
            reader.stop()
        stream = self._form.stream()
        passed = bytearray()
        while self._left != 0:
            try:
                block = reader.next_block()
            except OSError as error:
                error.filename = error.filename or (None if self._name == STDIN else self._name)
                raise
            if not block and self._is_stopped:
                break  # What is left was not whole when the signal came.
            if self._options.tee:
                passed += block
            self._send_stream(stream, block, passed)
            self._flush()
            self._told(len(block))
            if not block:
                break
        if self._left == 0:
            reader.put_back(stream.waiting_bytes)
        self._reader = None

    def _send_stream(self, stream: FrameReader | FormatStream, block: bytes, passed: bytearray) -> None:
        """Hand over the records that are whole with this block; b"" is the end. passed: what was not passed on yet."""
        try:
            if block:
                stream.feed(block)
            else:
                stream.end()
        except BadRecordError as error:
            self._refuse_lost(str(error))
        while self._left != 0:
            columns = RecordColumns()
            reason = ""
            before = stream.waiting_bytes
            # One by one where each one's bytes are wanted.
            most = 1 if self._options.tee else self._left
            try:
                stream.read(columns, 1 << 30 if most is None else most)
            except BadRecordError as error:
                reason = str(error)
            taken = before - stream.waiting_bytes
            if len(columns):
                came = bytes(passed[:taken]) if self._options.tee and not reason else b""
                self._send_columns_of(columns, 0, memoryview(came), [len(came)])
                self._count(len(columns))
            if reason and stream.is_lost:
                self._refuse_lost(reason)
            if reason:
                self._refuse_record(BadInputError(place=self._place(1), reason=reason))
                self._count(1)
            del passed[:taken]
            if not (reason or len(columns)):
                break

    def _place(self, ahead: int) -> str:
        if self._form.delimiter is not None:
            return super()._place(ahead)
        place = f"record {self._records + ahead}"
        return f"input {place}" if self._name == STDIN else f"{self._name}: {place}"

    def _refuse_lost(self, reason: str) -> None:
        """Stop at what is no record where the next one cannot be told."""
        self._flush()
        raise BadInputError(place=self._place(1), reason=reason, can_skip=False)

    # Records.

    def _send_columns_of(self, columns: RecordColumns, ahead: int, came: memoryview, sizes: list[int]) -> None:
        """Send records, the first of which is `ahead` of those counted. sizes: of each one's part of what came."""
        if not len(columns):
            return
        if self._topics is not None and len(set(columns.topics)) > MOST_OPEN:
            half = len(columns) // 2
            for part in (range(half), range(half, len(columns))):
                size = sum(sizes[part.start : part.stop])
                self._send_columns_of(
                    columns.part(part), ahead + part.start, came[:size], sizes[part.start : part.stop]
                )
                came = came[size:]
            return
        self._complete(columns)
        try:
            self._hand_over(columns)
        except (
            RecordTooLargeError,
            KeyRequiredError,
            NoSuchPartitionError,
            BadRecordError,
            CannotOpenError,
        ) as failure:
            if isinstance(failure, MkError) and failure.is_of_append:
                raise  # Sent again one by one, these would be stored, and what came before them missing.
            position = 0
            for at in range(len(columns)):
                size = sizes[at] if at < len(sizes) else 0
                self._send_one(columns.part([at]), ahead + at + 1, came[position : position + size])
                position += size
        else:
            self._pass_on(came)

    def _send_one(self, record: RecordColumns, ahead: int, came: memoryview) -> None:
        try:
            self._hand_over(record)
        except (RecordTooLargeError, KeyRequiredError) as error:
            if error.is_of_append:
                raise
            self._refuse_record(error.at(self._place(ahead)))
        except (NoSuchPartitionError, BadRecordError) as error:
            reason = error.what if isinstance(error, NoSuchPartitionError) else str(error)
            self._refuse_record(BadInputError(place=self._place(ahead), reason=reason))
        except CannotOpenError as failure:
            self._flush()
            raise failure.error from None
        else:
            self._pass_on(came)

    def _complete(self, columns: RecordColumns) -> None:
        """Add what the options say to what the records say."""
        if self._key is not None:
            columns.keys = [self._key if key is None else key for key in columns.keys]
        if self._headers:
            columns.headers = [own + self._headers for own in columns.headers]
        if self._timestamp_ms is not None:
            columns.timestamps = [self._timestamp_ms if time is None else time for time in columns.timestamps]
        if self._options.null_value:
            columns.values = [value or None for value in columns.values]

    def _hand_over(self, columns: RecordColumns) -> None:
        """Buffer all of the records, or raise with none of them buffered."""
        partitions = columns.partitions if self._keeps_partition else None
        own = (columns.values, columns.keys, columns.headers, columns.timestamps, partitions)
        if self._one is not None:
            self._one.send_records(*own)
            oldest = min([time for time in columns.timestamps if time is not None], default=None)
            if oldest is not None:
                self.oldest_ms[self._default_topic] = min(oldest, self.oldest_ms.get(self._default_topic, oldest))
            return
        assert self._topics is not None
        topics = [self._default_topic if topic is None else topic for topic in columns.topics]
        for topic in set(topics):
            if not is_valid_name(topic):
                raise BadRecordError("its topic is no name that a topic can have")
        self._topics.send_records(topics, *own)
        for topic, time in zip(topics, columns.timestamps):
            if time is not None and time < self.oldest_ms.get(topic, time + 1):
                self.oldest_ms[topic] = time

    def _refuse_record(self, error: BadInputError | RecordTooLargeError | KeyRequiredError) -> None:
        """Skip a record, or raise, with all before it stored."""
        if not self._options.skip_bad:
            self._flush()
            raise error from None
        self.records_skipped += 1
        self._producer.skip_sequences(1)
        note(f"mk: skipped: {error.what}" + (f": {error.why}" if error.why else ""))


def _check(options: Options) -> None:
    """Refuse options that contradict a format."""
    name = options.format
    binary = name == FRAMED
    for other, is_given, why in (
        ("-K", options.key_delimiter is not None, "the format says what the key is"),
        ("--whole", options.whole and name == JSON, "each line is a record"),
        ("--whole", options.whole and binary, "each record says where it ends"),
        ("-D", options.delimiter is not None and binary, "each record says where it ends"),
        ("-0", options.null and binary, "each record says where it ends"),
        ("VALUE", bool(options.values), "values are the records, and no input is read"),
    ):
        if is_given:
            shown = "-J" if name == JSON else f"-f {name}"
            raise UsageError(f"{other} and {shown} exclude each other", why=why, fix="leave one of them out")
