"""`mk topics clean` and `mk topics trim`: removing records, by the topics' limits or by hand."""

from __future__ import annotations

from mk.cli.compact import tell
from mk.cli.confirmation import confirm
from mk.cli.console import print_json, size_text
from mk.cli.notes import counted, note
from mk.cli.progress import progress_bar
from mk.cli.selection import fail_with, selected
from mk.cli.topics import print_rows
from mk.cluster import connect
from mk.errors import MkError, NoSuchPartitionError, NoSuchTopicError, OffsetOutOfRangeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster


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
                label = f"compacting {name} {partition}"
                with progress_bar(label, quiet=options.quiet) as progress:
                    document = cluster.clean(
                        name, partition, dry_run=options.dry_run, wait_ms=options.lock_wait_ms, progress=progress
                    )
            except MkError as error:
                if name in options.topics or not isinstance(error, NoSuchTopicError):
                    errors.append(error)
                continue
            if document["error"] is not None:
                errors.append(document["error"])
                document["error"] = document["error"].what
            compaction = document["compaction"]
            if compaction is not None and compaction.get("error") is not None:
                compaction["error"] = compaction["error"].what
            documents.append(document)
            if not options.quiet and not options.dry_run:
                _tell(document)
    if not options.dry_run and _means_all(options):
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
    return fail_with(errors)


def trim(options: Options) -> int:
    """Remove records below an offset, after saying which. A partition that refuses is named and left out."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    plan = _plan_trim(cluster, options)
    if options.json and options.dry_run:
        print_json(plan)
    elif options.dry_run:
        print_rows(plan, options)
    elif not options.quiet:
        for row in plan:
            if row["records"]:
                note(
                    f"mk: removes from {row['topic']} {row['partition']}: offsets {row['log_start_offset']} to "
                    f"{row['to'] - 1}, {counted(row['records'], 'record')}"
                )
    if options.dry_run:
        return 0
    if any(row["records"] for row in plan):
        confirm(f"remove {counted(sum(row['records'] for row in plan), 'record')}?", options, what="trimming")
    removed: dict[int, int | None] = {}
    errors: list[MkError] = []
    for row in plan:
        if row["to"]:  # Also if the log begins there: whoever moved it there may have been killed half way.
            try:
                document = cluster.delete_records(
                    options.topic, row["partition"], row["to"], wait_ms=options.lock_wait_ms
                )
                removed[row["partition"]] = document["bytes"]
            except MkError as error:
                # That partition stays as it was, but for what the error says; the others were promised just the same.
                errors.append(error)
                if not options.quiet:
                    note(f"mk: {row['topic']} {row['partition']}: not done")
    if options.json:
        rows = [row for row in plan if row["partition"] in removed or not row["to"]]
        print_json([{**row, "bytes": removed.get(row["partition"], 0)} for row in rows])
    return fail_with(errors)


def _means_all(options: Options) -> bool:
    return not options.topics and options.regex is None


def _topics(cluster: Cluster, options: Options) -> list[str]:
    return cluster.topic_names() if _means_all(options) else selected(cluster, options)


def _tell(document: dict[str, Any]) -> None:
    """Say what was done to a partition, if anything was."""
    place = f"{document['topic']} {document['partition']}"
    removed = document["removed"]
    if document["rolled"]:
        note(f"mk: {place}: sealed the active segment")
    if removed:
        reasons = ", ".join(dict.fromkeys(segment["reason"] for segment in removed))
        note(
            f"mk: {place}: removed {counted(len(removed), 'segment')}, offsets "
            f"{removed[0]['segment']} to {removed[-1]['last_offset']}, {size_text(document['bytes'])} ({reasons})"
        )
    elif document["files"]:
        note(f"mk: {place}: removed {counted(document['files'], 'file')} left behind, {size_text(document['bytes'])}")
    if document["compaction"] is not None and not document["compaction"]["skipped"]:
        tell(document["compaction"])


def _print_plan(documents: list[dict[str, Any]], options: Options) -> None:
    rows = [
        {
            "topic": document["topic"],
            "partition": document["partition"],
            "segment": segment["segment"],
            "last_offset": segment["last_offset"],
            "size_bytes": segment["size_bytes"],
            "goes": segment["reason"] is not None,
            "why": segment["why"],
        }
        for document in documents
        for segment in [*document["removed"], *document["kept"]]
    ]
    print_rows(rows, options)
    columns = ("topic", "partition", "dirty_ratio", "compacts", "why")
    plans = [{name: plan[name] for name in columns} for document in documents if (plan := document["compaction"])]
    if plans:
        print()
        print_rows(plans, options)


def _plan_trim(cluster: Cluster, options: Options) -> list[dict[str, Any]]:
    rows = cluster.offsets(options.topic)
    if options.to.stop is not None:
        raise UsageError(
            f"--to cannot be {options.to}",
            why="what goes always begins at the start of the log",
            fix="name the first offset that stays, and no range; for one partition, with -p; nothing was removed",
        )
    positions = options.to.by_partition or dict.fromkeys(options.partitions or range(len(rows)), options.to.first)
    if options.to.by_partition and options.partitions:
        raise UsageError(
            "-p and a --to that names partitions exclude each other", fix="leave -p out; nothing was removed"
        )
    plan = []
    for partition, position in sorted(positions.items()):
        if partition >= len(rows):
            raise NoSuchPartitionError(topic=options.topic, partition=partition, partitions=len(rows))
        row = rows[partition]
        start, end = row["log_start_offset"], row["high_watermark"]

        def offset_for_time(timestamp_ms: int, partition: int = partition) -> int:
            return cluster.offset_for_time(options.topic, partition, timestamp_ms)

        def committed_offset(group: str, partition: int = partition) -> int | None:
            return cluster.committed_offset(group, options.topic, partition)

        to = position.resolve(start, end, offset_for_time, committed_offset)
        if to > end:
            raise OffsetOutOfRangeError(
                topic=options.topic,
                partition=row["partition"],
                offset=to,
                log_start_offset=start,
                log_end_offset=end,
                fix="`--to end` removes all there is, -p names partitions, 0:N,1:M gives each its own; nothing was removed",
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
