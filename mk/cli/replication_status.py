"""`mk replicate status`: what a log directory leads and follows, how far copies are behind, and what was cut off."""

from __future__ import annotations

from mk.cli.console import print_fields, print_json, print_table
from mk.cli.describe import REPLICA_COLUMNS, replica_row
from mk.cli.notes import note
from mk.cli.selection import matching
from mk.cli.topics import readable
from mk.cluster import default_location
from mk.replication.opened import opened
from mk.replication.status import replication_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.storage.log_directory import LogDirectory

    Document = dict[str, Any]

_PARTITION_COLUMNS = ("topic", "partition", "role", "leader", "leader_epoch", "start", "end")
_OTHER_COLUMNS = ("directory", "address", "seen", "follows this", "followed by this")
_GAP_COLUMNS = ("topic", "partition", "from", "to", "records", "time")
QUARANTINE_COLUMNS = ("file", "topic", "partition", "first", "end", "records", "size", "diverged", "salvaged")


def chosen_topics(directory: LogDirectory, options: Options) -> list[str] | None:
    """Return the topics that a command names, or finds with -r, each once; None if it does neither."""
    names = list(options.topics)
    if options.regex is not None:
        names += matching(directory.topic_names(), options.regex)
    elif not names:
        return None
    return list(dict.fromkeys(names))


def status(options: Options) -> int:
    """Print the status, section by section."""
    location = options.directory or default_location()
    with opened(location, command="mk replicate status") as directory:
        document = replication_status(directory, chosen_topics(directory, options))
    if options.json:
        print_json(document)
        return 0
    print_fields({"directory": location, "directory_id": document["directory_id"]})
    names = {replica["directory_id"]: replica["address"] for replica in document["replicas"]}
    rows = [
        {
            **row,
            "leader": "this"
            if row["leader"] == document["directory_id"]
            else names.get(row["leader"]) or row["leader"],
            "start": row["log_start_offset"],
            "end": row["high_watermark"],
        }
        for row in document["partitions"]
    ]
    _print_section(_PARTITION_COLUMNS, rows, options)
    copies = [
        {"topic": row["topic"], **replica_row(row["partition"], replica)}
        for row in document["partitions"]
        for replica in row["replicas"]
    ]
    _print_section(("topic", *REPLICA_COLUMNS), copies, options)
    others = [
        {
            **readable(replica),
            "directory": replica["directory_id"],
            "follows this": replica["follows"],
            "followed by this": replica["followed"],
        }
        for replica in document["replicas"]
    ]
    _print_section(_OTHER_COLUMNS, others, options)
    gaps = [
        {**readable(gap), "topic": gap["topic"] or gap["topic_id"], "from": gap["from_offset"], "to": gap["to_offset"]}
        for replica in document["replicas"]
        for gap in replica["gaps"]
    ]
    _print_section(_GAP_COLUMNS, gaps, options)
    _print_section(QUARANTINE_COLUMNS, [quarantine_row(row) for row in document["quarantine"]], options)
    for problem in document["problems"]:
        note(f"mk: {problem}")
    if not others:
        note("mk: no other directory is known that has a copy of this one, or is copied here")
    return 0


def _print_section(columns: tuple[str, ...], rows: list[Document], options: Options) -> None:
    if rows:
        print()
        print_table(columns, rows, no_color=options.no_color)


def quarantine_row(row: Document) -> Document:
    """Return a piece in quarantine/ for people."""
    return {
        **readable(row),
        "file": row["name"],
        "first": row["first_offset"],
        "end": row["next_offset"],
        "diverged": row["diverged_records"],
    }
