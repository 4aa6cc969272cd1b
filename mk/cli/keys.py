"""`mk topics` which and get: where a key belongs, and the last record that has it."""

from __future__ import annotations

import os
import sys

from mk.cli.console import print_json, print_table
from mk.cli.consume import check_delimiter
from mk.cli.notes import note
from mk.cluster import connect
from mk.errors import KeyDeletedError, NoSuchKeyError, NoSuchPartitionError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mk.cli.options import Options


def which(options: Options) -> int:
    """Print the partition of each key."""
    partition_of = connect(options.directory).key_partitioner(options.topic)
    keys: Iterable[bytes] = options.keys or _lines(quiet=options.quiet or options.json)
    if options.quiet and not options.json:
        # One by one: there may be any number of them.
        for key in keys:
            print(partition_of(key))
        return 0
    keys = list(keys)
    rows = [{**_member("key", key), "partition": partition_of(key)} for key in keys]
    if options.json:
        print_json([row["partition"] for row in rows] if options.quiet else rows)
    elif rows:
        shown = [{"key": _text(key), "partition": row["partition"]} for key, row in zip(keys, rows)]
        print_table(("key", "partition"), shown, no_color=options.no_color)
    return 0


def get(options: Options) -> int:
    """Print the last record with a key."""
    if options.partitions and options.all_partitions:
        raise UsageError("-p and --all-partitions exclude each other", fix="leave one of them out")
    check_delimiter(options)
    from mk.formats.writers import writer

    write = writer(options.format, delimiter=options.delimiter or (b"\0" if options.null else None))
    cluster = connect(options.directory)
    topic, key = options.topic, options.key
    count = len(cluster.offsets(topic))
    own = cluster.key_partitioner(topic)(key)
    partitions = list(options.partitions) or (list(range(count)) if options.all_partitions else [own])
    for partition in partitions:
        if partition >= count:
            raise NoSuchPartitionError(topic=topic, partition=partition, partitions=count)
    found = [record for record in (cluster.last_record(topic, partition, key) for partition in partitions) if record]
    if not found:
        raise NoSuchKeyError(topic=topic, key=_text(key), partitions=partitions, all_partitions=count)
    # Partitions have no order between them but time; of two at the same time, the one where the key belongs counts.
    record = max(found, key=lambda record: (record.timestamp_ms, record.partition == own))
    if record.value is None:
        raise KeyDeletedError(topic=topic, key=_text(key), partition=record.partition, offset=record.offset)
    data = write([record])
    if sys.stdout.isatty() and not options.raw:
        from mk.formats.terminal import escape, escape_json

        data = escape_json(data) if options.format == "json" else escape(data)
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return 0


def _lines(*, quiet: bool) -> Iterator[bytes]:
    if not quiet and os.isatty(0):
        note("mk: reading keys from the terminal, one a line; ^D ends")
    for line in sys.stdin.buffer:
        yield line.removesuffix(b"\n")


def _member(name: str, data: bytes) -> dict[str, object]:
    """Return bytes as the JSON of records has them: text where they are UTF-8, else base64 under another name."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        from base64 import b64encode

        return {f"{name}_b64": b64encode(data).decode("ascii")}


def _text(key: bytes) -> str:
    return key.decode(errors="surrogateescape")
