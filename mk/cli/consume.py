"""`mk consume`: records out of topics, to standard output, as fast as it takes them."""

import os

from mk.cli.notes import note
from mk.cluster import connect
from mk.errors import TimedOutError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mk.cli.options import Options
    from mk.cluster import Cluster
    from mk.consumer.consumer import Consumer, Delivery, FetchedBatch
    from mk.consumer.offset_spec import OffsetSpec
    from mk.formats.writers import Writer
    from mk.records.record_slice import Records

STDOUT = 1
_SPLICE_BYTES = 32 << 10
"""Payloads from this size on go from the page cache into the pipe without a copy; below it, the call costs more."""

_WRITE_BYTES = 64 << 10
"""Formatted output of this size is written at once and not gathered: it may be many times as large as the batch."""

_OF_GROUPS = ("no_commit", "or_skip", "on_truncation", "session_timeout_ms", "allow_network_fs")
_OF_EXECUTION = ("records_each", "jobs", "retries", "backoff_ms", "dlq", "no_create")
_MAX_BUFFERS = 1000
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_S_IFMT, _S_IFIFO = 0o170000, 0o010000


def run(options: "Options") -> int:
    """Print the records that are asked for, and return 0 at their end."""
    if options.group is None:
        names = _OF_GROUPS if options.dlq is None else _OF_GROUPS[:-1]
        _check_only_with("-g", names, options, fix="name a group with -g, or leave it out")
        if options.idle_ms is not None and not options.follow:
            raise UsageError(
                "--idle means nothing without -F", fix="add -F; without it, reading ends at the end anyway"
            )
    else:
        _check_not_with(f"-g {options.group}", "the members of a group share partitions, each in its order", options)
    if options.execute is not None:
        _check_not_with("--exec", "records are handed over partition by partition, in order", options)
        from mk.cli.execute import run as execute

        return execute(options)
    _check_only_with("--exec", _OF_EXECUTION, options, fix="add --exec CMD, or leave it out")
    if options.group is not None:
        from mk.cli.consume_group import run_as_member

        return run_as_member(options)
    times = [time for time in (options.max_time_ms, options.timeout_ms) if time is not None]
    output = _output(options, min(times, default=None))
    cluster = connect(options.directory)
    consumer = open_consumer(cluster, options)
    with cluster, consumer:  # Closed here, where a signal still ends the command, and not when Python collects it.
        output.start(consumer)
        if not print_records(wanted_fetches(consumer, options), output, options.count):
            return 0
    is_late = consumer.has_timed_out or output.has_timed_out
    if is_late and (options.max_time_ms is None or options.max_time_ms > min(times)):
        raise TimedOutError(timeout_ms=options.timeout_ms, records=output.records_written)
    return 0


def _check_only_with(flag: str, names: "tuple[str, ...]", options: "Options", *, fix: str) -> None:
    """Raise UsageError for an option that only another one gives a meaning."""
    for name in names:
        if getattr(options, name) is not None and getattr(options, name) is not False:
            raise UsageError(f"{flag_of(options, name)} means nothing without {flag}", fix=fix)


def _check_not_with(what: str, why: str, options: "Options") -> None:
    """Raise UsageError for an option that asks for another order, or for positions kept elsewhere."""
    for name in ("merge", "reverse", "cursor_file"):
        if getattr(options, name):
            raise UsageError(
                f"{flag_of(options, name)} and {what} exclude each other", why=why, fix="leave one of them out"
            )


def open_consumer(cluster: "Cluster", options: "Options", *, delivery: "Delivery | None" = None) -> "Consumer":
    """Open the consumer, without a group, that the options ask for."""
    offset, stop = range_asked_for(options)
    times = [time for time in (options.max_time_ms, options.timeout_ms) if time is not None]
    report_skip, report_note = reporters(options)
    return cluster.consumer(
        options.topics,
        regex=options.regex,
        partitions=options.partitions or None,
        offset=offset,
        stop=stop,
        tail=options.tail,
        follow=options.follow,
        idle_ms=options.idle_ms,
        max_time_ms=min(times, default=None),
        merge=options.merge,
        reverse=options.reverse,
        cursor_file=options.cursor_file,
        output_fd=STDOUT,
        on_skip=report_skip,
        on_note=report_note,
        delivery=delivery,
    )


def wanted_fetches(consumer: "Consumer", options: "Options") -> "Iterator[list[FetchedBatch]]":
    """Return what the consumer fetches, and of that what -G wants."""
    if not options.grep:
        return consumer.fetches()
    from mk.consumer.matching import matching

    return matching(consumer.fetches(), options.grep)


def print_records(fetches: "Iterator[list[FetchedBatch]]", output: "Output", left: "int | None") -> bool:
    """Print the records, at most `left` of them. Returns False if those were all."""
    if left == 0:
        return False
    for fetch in fetches:
        if left is not None:
            fetch, left = first_records(fetch, left)
        output.write(fetch)
        if output.has_timed_out:
            break
        if left == 0:
            return False
    return True


def range_asked_for(options: "Options") -> "tuple[OffsetSpec | dict[int, OffsetSpec] | None, OffsetSpec | None]":
    """Return where to begin and where to end; (None, None) is all."""
    if not (options.offset or options.first or options.stop or options.since or options.until):
        return None, None
    from mk.cli.which_records import range_of

    return range_of(options)


def reporters(options: "Options") -> "tuple[Callable[[str, int, int, int], None], Callable[[str], None]]":
    """Return what tells of skipped offsets and of whatever else there is to note, unless -q is given."""

    def report_skip(topic: str, partition: int, first: int, last: int) -> None:
        if not options.quiet:
            note(f"mk: {topic} {partition}: offsets {first} to {last} are gone; reading on at {last + 1}")

    def report_note(sentence: str) -> None:
        if not options.quiet:
            note(f"mk: {sentence}")

    return report_skip, report_note


def flag_of(options: "Options", name: str) -> str:
    """Return how an option is written, by its name."""
    return next(parameter.flags[-1] for parameter in options.command.parameters if parameter.name == name)


def check_delimiter(options: "Options") -> None:
    """Raise UsageError where two options disagree on how a record ends."""
    if options.delimiter is not None and options.null:
        raise UsageError("-D and -0 exclude each other", why="each says how a record ends", fix="leave one of them out")
    if options.format in ("raw", "framed") and (options.delimiter is not None or options.null):
        raise UsageError(
            f"-f {options.format} and {'-0' if options.null else '-D'} exclude each other",
            why=f"{options.format} puts nothing between one record and the next",
            fix="leave one of them out, or use -f value",
        )


def check_format(options: "Options") -> None:
    """Raise UsageError where options disagree on how a record is printed."""
    check_delimiter(options)
    if options.show_null and options.format in ("json", "raw", "framed"):
        raise UsageError(
            f"-Z means nothing to -f {options.format}",
            why="raw prints values and nothing else" if options.format == "raw" else "it has a null of its own",
            fix="leave one of them out",
        )


def _output(options: "Options", time_ms: "int | None") -> "Output":
    check_format(options)
    if options.cursor_file is not None:
        from mk.cli.remembered_output import RememberedOutput

        return RememberedOutput(options, time_ms)
    if time_ms is None:
        return Output(options)
    from mk.cli.timed_output import TimedOutput

    return TimedOutput(options, time_ms)


def first_records(fetch: "list[FetchedBatch]", count: int) -> "tuple[list[FetchedBatch], int]":
    """Return the batches cut to their first `count` records, and how many are missing then."""
    kept = []
    for batch in fetch:
        if count == 0:
            break
        batch.limit(count)
        count -= batch.record_count
        kept.append(batch)
    return kept, count


class Output:
    """Writes batches to standard output: plain values as they are stored, everything else through a format."""

    has_timed_out = False
    records_written = 0
    """Counted by TimedOutput only."""

    def __init__(self, options: "Options") -> None:
        is_terminal = os.isatty(STDOUT)
        is_pipe = os.fstat(STDOUT).st_mode & _S_IFMT == _S_IFIFO
        self._delimiter = options.delimiter or (b"\0" if options.null else None)
        self._null = b"NULL" if options.show_null else b""
        self._escape: Callable[[bytes], bytes] | None = None
        if is_terminal and not options.raw:
            from mk.formats.terminal import escape, escape_json

            self._escape = escape_json if options.format == "json" else escape
        is_value = options.format == "value"
        self._takes_lines = is_value and self._delimiter in (None, b"\n") and self._escape is None
        self._format = options.format
        self._writer: Writer | None = None
        if not is_value:
            self._prepare()  # Here, so that a format which is none is refused before anything is opened.
        self._may_splice = is_pipe and hasattr(os, "splice")
        self._pipe_is_narrow = is_pipe

    def start(self, consumer: "Consumer") -> None:
        """Be told whose fetches will be written."""

    def write(self, fetch: "list[FetchedBatch]") -> None:
        """Write all records of a fetch; when it returns, standard output has taken them."""
        buffers: list[bytes | memoryview] = []
        for fetched in fetch:
            block = fetched.lines() if self._takes_lines else None
            if block is None:
                for records in fetched.record_slices():
                    data = self._formatted(records)
                    buffers.append(data)
                    if len(data) >= _WRITE_BYTES:
                        if self._pipe_is_narrow:
                            self._widen_pipe()
                        self._put(buffers)
                        buffers = []
            elif self._may_splice and len(block) >= _SPLICE_BYTES and fetched.is_whole and fetched.batch.is_plain_lines:
                self._put(buffers)
                buffers = []
                self._splice(fetched, block)
            else:
                if self._pipe_is_narrow and len(block) >= _WRITE_BYTES:
                    self._widen_pipe()
                buffers.append(block)
        self._put(buffers)

    def _put(self, buffers: "list[bytes | memoryview]") -> None:
        write_all(buffers)

    def _formatted(self, records: "Records") -> bytes:
        data = (self._writer or self._prepare())(records)
        return data if self._escape is None else self._escape(data)

    def _prepare(self) -> "Writer":
        from mk.formats.writers import writer

        self._writer = writer(self._format, delimiter=self._delimiter, null=self._null)
        return self._writer

    def _splice(self, fetched: "FetchedBatch", block: bytes | memoryview) -> None:
        """Move a payload from the segment into the pipe. It was checked just now, and below the high watermark a segment
        does not change."""
        if self._pipe_is_narrow:
            self._widen_pipe()
        position = fetched.values_position
        done = 0
        while done < len(block):
            try:
                count = os.splice(fetched.segment_fd, STDOUT, len(block) - done, offset_src=position + done)
            except BrokenPipeError:
                raise
            except OSError:
                count = 0  # Not for this file system or this pipe: copy.
            if count == 0:
                self._may_splice = False
                write_all([memoryview(block)[done:]])
                return
            done += count

    def _widen_pipe(self) -> None:
        """Give the pipe room, so that the two ends wait less for each other."""
        from fcntl import fcntl

        self._pipe_is_narrow = False
        try:
            fcntl(STDOUT, _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            pass  # Over what the user may have: it works as it is.


def _wait_for_room() -> None:
    import select

    poll = select.poll()
    poll.register(STDOUT, select.POLLOUT)
    poll.poll()


def write_all(buffers: "list[bytes | memoryview]") -> None:
    """Write all of the buffers to standard output, however long its reader takes."""
    while buffers:
        try:
            taken = os.writev(STDOUT, buffers[:_MAX_BUFFERS])
        except BlockingIOError:
            # Somebody who shares the pipe or terminal made it non-blocking, and it is full.
            _wait_for_room()
            continue
        done = 0
        while done < len(buffers) and taken >= len(buffers[done]):
            taken -= len(buffers[done])
            done += 1
        buffers = buffers[done:]
        if taken:
            buffers[0] = memoryview(buffers[0])[taken:]
