"""`mk topics compact`: keeping the last record of each key, and how that is told, also by `mk topics clean`."""

from __future__ import annotations

from mk.cli.console import print_json, size_text
from mk.cli.notes import counted, note
from mk.cli.progress import progress_bar
from mk.cli.selection import fail_with, matching
from mk.cli.topics import print_rows
from mk.cluster import connect
from mk.errors import ConfigurationError, MkError, NoSuchTopicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster


def run(options: Options) -> int:
    """Compact partition by partition: one that is locked or damaged is named and left out."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    documents: list[dict[str, Any]] = []
    errors: list[MkError] = []
    names = _compacted(cluster, options, errors)
    if not names and not errors and not options.quiet:
        note("mk: no topic here has compact in its cleanup.policy")
    for name in names:
        try:
            partitions = cluster.partitions(name)
        except MkError as error:
            if name in options.topics or not isinstance(error, NoSuchTopicError):
                errors.append(error)
            continue  # Else it was deleted since it was found.
        for partition in range(partitions):
            label = f"compacting {name} {partition}"
            try:
                with progress_bar(label, quiet=options.quiet) as progress:
                    document = cluster.compact(
                        name, partition, dry_run=options.dry_run, wait_ms=options.lock_wait_ms, progress=progress
                    )
            except ConfigurationError as error:
                errors.append(error)
                break  # It is said of the topic.
            except MkError as error:
                if name in options.topics or not isinstance(error, NoSuchTopicError):
                    errors.append(error)
                continue
            if document.get("error") is not None:
                errors.append(document["error"])
                document["error"] = document["error"].what
            documents.append(document)
            if not options.quiet and not options.dry_run:
                tell(document)
    if options.json:
        print_json(documents)
    elif options.dry_run:
        print_rows(documents, options)
    return fail_with(errors)


def _compacted(cluster: Cluster, options: Options, errors: list[MkError]) -> list[str]:
    """Return the topics that are named, and of those that are not but meant all the same those that are compacted."""
    names = cluster.topic_names() if not options.topics or options.regex is not None else []
    if options.regex is not None:
        names = matching(names, options.regex)
    found = list(options.topics)
    for name in names:
        try:
            if "compact" in str(cluster.topic_config(name)["cleanup.policy"]):
                found.append(name)
        except NoSuchTopicError:
            continue  # Deleted while we looked, or a directory that is no topic.
        except MkError as error:
            errors.append(error)
    return list(dict.fromkeys(found))


def tell(document: dict[str, Any]) -> None:
    """Say what compaction has done to a partition."""
    place = f"{document['topic']} {document['partition']}"
    if document["error"] is not None and document["cleaned_to"] == document["first_dirty_offset"]:
        return  # The error says why nothing was done.
    if document["skipped"]:
        note(f"mk: {place}: not compacted: {document['skipped']}")
        return
    went = document["records_before"] - document["records_after"]
    tombstones = document["tombstones_dropped"]
    note(
        f"mk: {place}: compacted up to offset {document['cleaned_to']}: {counted(went, 'record')} of "
        f"{document['records_before']} went"
        + (f", {counted(tombstones, 'tombstone')} among them" if tombstones else "")
        + f", {size_text(document['bytes_after'])} of {size_text(document['bytes_before'])} stay"
    )
