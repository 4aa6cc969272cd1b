"""`mk topics snapshot`: the whole directory as of now, in another place."""

from __future__ import annotations

from mk.cli.console import print_json, size_text
from mk.cli.notes import counted, note
from mk.cli.progress import progress_bar
from mk.cluster import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options


def run(options: Options) -> int:
    """Make a snapshot, or show what it would be made of."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    label = f"snapshot {options.destination}"
    with progress_bar(label, quiet=options.quiet) as progress:
        document = cluster.snapshot(
            options.destination, dry_run=options.dry_run, wait_ms=options.lock_wait_ms, progress=progress
        )
    if options.json:
        print_json(document)
    elif not options.quiet:
        counts = (counted(document[f"{name}s"], name) for name in ("topic", "partition", "group"))
        note(
            f"mk: {'would make' if options.dry_run else 'made'} a snapshot of {document['directory']} in "
            f"{options.destination}: {', '.join(counts)}; {counted(document['links'], 'file')} linked "
            f"({size_text(document['link_bytes'])}), {size_text(document['copied_bytes'])} copied"
        )
    return 0
