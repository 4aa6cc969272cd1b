"""`mk topics clean` and `mk topics trim`: removing records, by the topics' limits or by hand."""

from __future__ import annotations

import re
import sys

from mk.cli.console import print_json, print_table
from mk.cli.notes import note
from mk.cluster import connect
from mk.errors import MkError, NoSuchPartitionError, NoSuchTopicError, OffsetOutOfRangeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster

_ITEMS_FAILED = 1


def clean(options: Options) -> int:
    """Clean partition by partition: one that is locked or damaged is named and left out."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    documents: list[dict[str, Any]] = []
    errors: list[MkError] = []
    for name in _topics(cluster, options):
        try:
            partitions = cluster.partitions(name)
        except MkError as error:
            if name in options.topics or not isinstance(error, NoSuchTopicError):
                errors.append(error)
            continue  # Else it was deleted while we cleaned others.
        for partition in range(partitions):
            try:
                document = cluster.clean(name, partition, dry_run=options.dry_run, wait_ms=options.lock_wait_ms)
            except MkError as error:
                if name in options.topics or not isinstance(error, NoSuchTopicError):
                    errors.append(error)
                continue
            if document["error"] is not None:
                errors.append(document["error"])
                document["error"] = document["error"].what
            documents.append(document)
            if not options.quiet and not options.dry_run:
                _tell(document)
    if not options.dry_run and not options.topics and options.regex is None:
        try:
            swept = cluster.sweep(wait_ms=options.lock_wait_ms)
        except MkError as error:
            errors.append(error)
        else:
            if swept and not options.quiet:
                note(f"mk: removed what {swept} broken off creations and deletions of topics had left")
    if options.json:
        print_json(documents)
    elif options.dry_run:
        _print_plan(documents, options)
    return _finish(errors)


def trim(options: Options) -> int:
    """Remove records below an offset, after saying which."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    plan = _plan_trim(cluster, options)
    if options.json and options.dry_run:
        print_json(plan)
    elif options.dry_run:
        print_table(list(plan[0]), plan, no_color=options.no_color)
    elif not options.quiet:
        for row in plan:
            if row["records"]:
                note(
                    f"mk: removes from {row['topic']} {row['partition']}: offsets {row['log_start_offset']} to "
                    f"{row['to'] - 1}, {row['records']} records"
                )
    if options.dry_run:
        return 0
    if any(row["records"] for row in plan):
        _confirm(f"remove {sum(row['records'] for row in plan)} records?", options)
    done = [
        cluster.delete_records(options.topic, row["partition"], row["to"], wait_ms=options.lock_wait_ms)
        for row in plan
        if row["records"]
    ]
    if options.json:
        print_json(
            [{**row, "bytes": sum(d["bytes"] for d in done if d["partition"] == row["partition"])} for row in plan]
        )
    return 0


def _topics(cluster: Cluster, options: Options) -> list[str]:
    if options.topics and options.regex is not None:
        raise UsageError("topics and --regex exclude each other", fix="leave one of them out; nothing was removed")
    if options.topics:
        return list(dict.fromkeys(options.topics))
    names = cluster.topic_names()
    if options.regex is None:
        return names
    try:
        pattern = re.compile(options.regex)
    except re.error as error:
        raise UsageError(f"--regex cannot be {options.regex!a}", why=str(error), fix="nothing was removed") from None
    return [name for name in names if pattern.search(name)]


def _tell(document: dict[str, Any]) -> None:
    """Say what was done to a partition, if anything was."""
    place = f"{document['topic']} {document['partition']}"
    removed = document["removed"]
    if document["rolled"]:
        note(f"mk: {place}: sealed the active segment")
    if removed:
        reasons = ", ".join(dict.fromkeys(segment["reason"] for segment in removed))
        note(
            f"mk: {place}: removed {len(removed)} {'segment' if len(removed) == 1 else 'segments'}, offsets "
            f"{removed[0]['segment']} to {removed[-1]['last_offset']}, {document['bytes']} bytes ({reasons})"
        )
    elif document["files"]:
        note(f"mk: {place}: removed {document['files']} files that were left behind, {document['bytes']} bytes")


def _print_plan(documents: list[dict[str, Any]], options: Options) -> None:
    rows = [
        {
            "topic": document["topic"],
            "partition": document["partition"],
            "segment": segment["segment"],
            "last_offset": segment["last_offset"],
            "bytes": segment["size_bytes"],
            "goes": segment["reason"] is not None,
            "why": segment["why"],
        }
        for document in documents
        for segment in [*document["removed"], *document["kept"]]
    ]
    if rows:
        print_table(list(rows[0]), rows, no_color=options.no_color)


def _finish(errors: list[MkError]) -> int:
    """Name all that went wrong; the last words are the first error's, and its status, if they all have the same."""
    if not errors:
        return 0
    if len({error.exit_status for error in errors}) == 1:
        for error in errors[1:]:
            note(f"mk: {error.what}")
        raise errors[0]
    for error in errors:
        note(f"mk: {error.what}" + (f" ({error.why})" if error.why else ""))
    return _ITEMS_FAILED


def _plan_trim(cluster: Cluster, options: Options) -> list[dict[str, Any]]:
    rows = cluster.offsets(options.topic)
    for partition in options.partitions:
        if partition >= len(rows):
            raise NoSuchPartitionError(topic=options.topic, partition=partition, partitions=len(rows))
    plan = []
    for row in rows:
        if options.partitions and row["partition"] not in options.partitions:
            continue
        start, end = row["log_start_offset"], row["high_watermark"]
        to = options.to.resolve(start, end)
        if to > end:
            raise OffsetOutOfRangeError(
                topic=options.topic,
                partition=row["partition"],
                offset=to,
                log_start_offset=start,
                log_end_offset=end,
            )
        plan.append(
            {
                "topic": options.topic,
                "partition": row["partition"],
                "log_start_offset": start,
                "high_watermark": end,
                "to": max(to, start),
                "records": max(to, start) - start,
            }
        )
    return plan


def _confirm(question: str, options: Options) -> None:
    """Ask on a terminal; elsewhere insist on --yes."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("trimming needs --yes when nobody can be asked", fix="add --yes, or --dry-run to look only")
    print(f"mk: {question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not confirmed", fix="nothing was removed")
