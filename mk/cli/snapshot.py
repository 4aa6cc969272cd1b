"""`mk topics snapshot`: the whole log directory in another place, to be restored some day."""

from __future__ import annotations

from mk.cli.console import print_json, progress_bar, size_text
from mk.cli.notes import counted, note
from mk.cluster import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options


def snapshot(options: Options) -> int:
    """Take a snapshot of the directory."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    if options.dry_run:
        cluster.check_destination(options.destination)
        rows = [row for row in cluster.summaries() if isinstance(row, dict)]
        groups = len(cluster.group_names())
        if options.json:
            print_json({"snapshot": options.destination, "topics": len(rows), "groups": groups})
        elif not options.quiet:
            note(
                f"mk: takes a snapshot to {options.destination}: {counted(len(rows), 'topic')}, {counted(groups, 'group')}"
            )
        return 0
    with progress_bar("taking a snapshot", quiet=options.quiet, no_color=options.no_color) as progress:
        document = cluster.snapshot(options.destination, wait_ms=options.lock_wait_ms, progress=progress)
    for place in document["failed"]:
        note(f"mk: {place} is marked FAILED here, and is not in the snapshot: it has what the disk had taken by then")
    if options.json:
        print_json(document)
    elif not options.quiet:
        note(
            f"mk: {options.destination} is a snapshot of {cluster.location}: {counted(document['topics'], 'topic')}, "
            f"{counted(document['groups'], 'group')}, {counted(document['links'], 'segment')} linked "
            f"({size_text(document['link_bytes'])}), {size_text(document['copied_bytes'])} copied"
        )
    return 0
