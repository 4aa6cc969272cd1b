"""`mk produce`: values or lines in, acknowledged records out."""

import os

from mk.cli import signals
from mk.cli.notes import note
from mk.cluster import connect
from mk.errors import MkError, NoSuchTopicError, RecordTooLargeError
from mk.topic_partition import check_name, check_partition_count, check_producer_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options
    from mk.cluster import Cluster
    from mk.producer.producer import Producer
    from mk.storage.partition_log import AppendResult


def run(options: "Options") -> int:
    """Store every value, or every line of standard input, and return 0 when all of them are."""
    # Before a directory is made for it.
    check_name(options.topic)
    if options.partitions is not None:
        check_partition_count(options.partitions)
    if options.producer_id is not None:
        check_producer_id(options.producer_id)
    cluster = connect(options.directory, create=not options.no_create, allow_network_fs=options.allow_network_fs)
    producer = _open_producer(cluster, options)
    stopped_by = 0
    try:
        if options.values:
            _send_values(producer, options)
        else:
            stopped_by = _send_lines(producer, options)
        producer.close()
    except (MkError, OSError) as error:
        if isinstance(error, MkError):
            error.facts["records_stored"] = producer.records_stored
        note(f"mk: {producer.records_stored} records stored")
        _note_stored_before(producer, options)
        raise
    _note_stored_before(producer, options)
    if stopped_by:
        raise signals.Stopped(stopped_by)
    return 0


def _open_producer(cluster: "Cluster", options: "Options") -> "Producer":
    on_append = None
    if options.verbose:

        def on_append(result: "AppendResult") -> None:
            note(f"{options.topic} {result.partition} {result.first_offset} {result.last_offset}")

    def open_producer() -> "Producer":
        return cluster.producer(
            options.topic,
            acks=options.acks,
            partition=options.partition,
            compression=options.compression,
            producer_id=options.producer_id,
            lock_wait_ms=options.lock_wait_ms,
            on_append=on_append,
        )

    try:
        return open_producer()
    except NoSuchTopicError:
        if options.no_create:
            raise
        _create_topic(cluster, options)
        return open_producer()


def _note_stored_before(producer: "Producer", options: "Options") -> None:
    """Say what was left out: who sends another input under the same producer id loses just that."""
    count = producer.records_stored_before
    if count and not options.quiet:
        were = "1 record was" if count == 1 else f"{count} records were"
        note(f"mk: {were} stored before under producer id {options.producer_id}; {producer.records_stored} stored now")


def _create_topic(cluster: "Cluster", options: "Options") -> None:
    from mk.errors import TopicExistsError

    partitions = options.partitions or 1
    try:
        cluster.create_topic(options.topic, partitions=partitions, wait_ms=options.lock_wait_ms)
    except TopicExistsError as error:
        if error.facts["existing"] != options.topic:
            raise
        return  # Another process was faster; its topic is as good.
    if not options.quiet:
        count = "1 partition" if partitions == 1 else f"{partitions} partitions"
        note(f"mk: created topic {options.topic} ({count}) in {cluster.location}")


def _send_values(producer: "Producer", options: "Options") -> None:
    for number, value in enumerate(options.values, 1):
        key = options.key
        if options.key_delimiter is not None:
            before, found, after = value.partition(options.key_delimiter)
            if found:
                key, value = before, after
        try:
            producer.send(value, key)
        except RecordTooLargeError as error:
            producer.flush()
            raise error.at(f"value {number}") from None
    producer.flush()


def _send_lines(producer: "Producer", options: "Options") -> int:
    """Store standard input line by line. Returns the signal that ended it, or 0 at its end.

    A signal ends the input where it stands: the whole lines read by then are stored, the rest of a line is not.
    """
    from mk.formats.readers import LineReader
    from mk.producer.record_accumulator import BATCH_BYTES

    key: bytes | None = options.key
    if not options.quiet and os.isatty(0):
        note("mk: reading records from the terminal, one a line; ^D ends")
    reader = LineReader(
        0, max_line_bytes=producer.max_message_bytes, key_bytes=len(key or b""), flush_ms=producer.flush_ms
    )
    stopped_by = signals.call_on_stop_signals(reader.stop)
    if options.key_delimiter is not None:
        from mk.formats.readers import split_keys

        while reader.next_block() is not None:
            for piece, _ in reader.pieces(BATCH_BYTES):
                keys, values = split_keys(piece, options.key_delimiter)
                if key is not None:
                    keys = [key if own is None else own for own in keys]
                producer.send_keyed(keys, values)
                del piece
            producer.flush()
            reader.set_limits(max_line_bytes=producer.max_message_bytes, flush_ms=producer.flush_ms)
    else:
        while reader.next_block() is not None:
            for piece, count in reader.pieces(BATCH_BYTES):
                producer.send_lines(piece, count, key)
                del piece
            producer.flush()
            reader.set_limits(max_line_bytes=producer.max_message_bytes, flush_ms=producer.flush_ms)
    return stopped_by[0] if stopped_by else 0
