"""`mk topics clone`: a topic once more, under another name, at once or with another number of partitions."""

from __future__ import annotations

from mk.cli.console import print_json, size_text
from mk.cli.notes import counted, note
from mk.cli.progress import progress_bar
from mk.cluster import connect
from mk.errors import UsageError
from mk.topic_partition import check_name, check_partition_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster

_ITEMS_FAILED = 1


def clone(options: Options) -> int:
    """Clone a topic; with --rehash, produce its records again to another number of partitions."""
    if not options.rehash:
        for given, option in (
            (options.partitions is not None, "--partitions"),
            (options.partitioner is not None, "--partitioner"),
            (options.groups, "--groups"),
        ):
            if given:
                raise UsageError(
                    f"{option} needs --rehash",
                    why="a clone has the partitions of its original, and the same offsets: `mk groups copy` takes a group along"
                    if option == "--groups"
                    else "a clone has the partitions of its original, unless its records are spread anew",
                    fix=f"add --rehash, or leave {option} out; nothing was made",
                )
    check_name(options.new)
    if options.partitions is not None:
        check_partition_count(options.partitions)
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    if options.dry_run:
        return _plan(cluster, options)
    label = f"{'rehashing' if options.rehash else 'cloning'} {options.topic}"
    with progress_bar(label, quiet=options.quiet, counts_bytes=not options.rehash) as progress:
        if options.rehash:
            document = cluster.rehash_topic(
                options.topic,
                options.new,
                partitions=options.partitions,
                partitioner=options.partitioner,
                groups=options.groups,
                wait_ms=options.lock_wait_ms,
                progress=progress,
            )
        else:
            document = cluster.clone_topic(options.topic, options.new, wait_ms=options.lock_wait_ms, progress=progress)
    if options.json:
        print_json(document)
    elif not options.quiet:
        if options.rehash:
            _tell_rehash(document)
        else:
            _tell_clone(document)
    for group in document.get("groups", ()):
        if group["problem"] is not None:
            note(f"mk: group {group['group']} has no offsets in {options.new}: {group['problem']}")
    return _ITEMS_FAILED if any(group["problem"] is not None for group in document.get("groups", ())) else 0


def _plan(cluster: Cluster, options: Options) -> int:
    """Show what would be made, and up to where it would go as of now."""
    described: dict[str, Any] = cluster.describe_topic(options.topic)
    cluster.check_name_is_free(options.new)
    rows = cluster.offsets(options.topic)
    records = sum(row["high_watermark"] - row["log_start_offset"] for row in rows)
    partitions = options.partitions or len(rows)
    next_offsets = [row["high_watermark"] for row in rows]
    if options.json:
        print_json(
            {
                "topic": options.topic,
                "clone": options.new,
                "rehash": options.rehash,
                "partitions": partitions,
                "partitioner": options.partitioner or described["partitioner"],
                "records": records,
                "size_bytes": described["size_bytes"],
                "next_offsets": next_offsets,
            }
        )
    elif not options.quiet:
        how = (
            f"produces {counted(records, 'record')} of {options.topic} again to {options.new}, "
            f"with {counted(partitions, 'partition')}, up to {_ends(next_offsets)} as of now"
            if options.rehash
            else f"clones {options.topic} as {options.new}: {counted(records, 'record')}, "
            f"{size_text(described['size_bytes'])}, up to {_ends(next_offsets)} as of now"
        )
        note(f"mk: {how}")
    return 0


def _tell_clone(document: dict[str, Any]) -> None:
    note(
        f"mk: cloned {document['topic']} as {document['clone']}, up to {_ends(document['next_offsets'])}: "
        f"{counted(document['links'], 'segment')} linked ({size_text(document['link_bytes'])}), "
        f"{size_text(document['copied_bytes'])} copied"
    )


def _tell_rehash(document: dict[str, Any]) -> None:
    note(
        f"mk: produced {counted(document['records'], 'record')} of {document['topic']} again to {document['clone']}, "
        f"which has {counted(document['partitions'], 'partition')}; read up to {_ends(document['next_offsets'])}"
    )
    if document["skipped"]:
        note(f"mk: {counted(document['skipped'], 'record')} went by the topic's limits before they could be read")
    for group in document["groups"]:
        if group["problem"] is None:
            note(f"mk: group {group['group']} goes on at {_ends(group['offsets'])}, and gets some records again")


def _ends(offsets: Sequence[int]) -> str:
    """Return offsets by partition, in the spelling of -o."""
    return ",".join(f"{partition}:{offset}" for partition, offset in enumerate(offsets))
