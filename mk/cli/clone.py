"""`mk topics clone`: a topic once more, under another name, at once or with another number of partitions."""

from __future__ import annotations

from mk.cli.console import print_json, progress_bar, size_text
from mk.cli.notes import counted, note
from mk.cluster import connect
from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options


def clone(options: Options) -> int:
    """Clone a topic; with --rehash, produce its records again to another number of partitions."""
    if options.rehash != (options.partitions is not None):
        raise UsageError(
            "--rehash and --partitions go together",
            why="a clone has the partitions of its original, unless its records are spread anew",
            fix="give both, or neither; nothing was made",
        )
    if options.partitioner is not None and not options.rehash:
        raise UsageError("--partitioner needs --rehash", fix="a clone has that of its original; nothing was made")
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    rows = cluster.offsets(options.topic)
    if options.dry_run:
        cluster.check_name_is_free(options.new)
        records = sum(row["high_watermark"] - row["log_start_offset"] for row in rows)
        partitions = options.partitions or len(rows)
        if options.json:
            print_json({"topic": options.topic, "clone": options.new, "partitions": partitions, "records": records})
        elif not options.quiet:
            how = "produces again" if options.rehash else "clones"
            note(
                f"mk: {how} {options.topic} as {options.new}: {counted(records, 'record')}, "
                f"{counted(partitions, 'partition')}"
            )
        return 0
    with progress_bar(f"cloning {options.topic}", quiet=options.quiet, no_color=options.no_color) as progress:
        if options.rehash:
            document = cluster.rehash_topic(
                options.topic,
                options.new,
                partitions=options.partitions,
                partitioner=options.partitioner,
                wait_ms=options.lock_wait_ms,
                progress=progress,
            )
        else:
            document = cluster.clone_topic(options.topic, options.new, wait_ms=options.lock_wait_ms, progress=progress)
    if options.json:
        print_json(document)
    elif not options.quiet:
        ends = ", ".join(f"{partition}:{offset}" for partition, offset in enumerate(document["next_offsets"]))
        if options.rehash:
            note(
                f"mk: produced {counted(document['records'], 'record')} of {options.topic} again to {options.new}, which has "
                f"{counted(document['partitions'], 'partition')}; read up to {ends}"
            )
        else:
            note(
                f"mk: cloned {options.topic} as {options.new}, up to {ends}: "
                f"{counted(document['links'], 'segment')} linked ({size_text(document['link_bytes'])}), "
                f"{size_text(document['copied_bytes'])} copied"
            )
    return 0
