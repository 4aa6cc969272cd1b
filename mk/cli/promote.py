"""`mk replicate promote`: have this directory lead what it follows."""

from __future__ import annotations

from mk.cli.console import print_json, print_table
from mk.cli.notes import counted, note
from mk.cli.replication_status import chosen_topics
from mk.cli.selection import raise_first
from mk.cluster import default_location
from mk.replication.opened import opened
from mk.replication.promotion import Promotion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options

    Document = dict[str, Any]

_COLUMNS = ("topic", "partition", "old_leader", "seen_end", "end", "behind", "leader_epoch", "new_epoch")


def promote(options: Options) -> int:
    """Show the plan, and have it done. What is refused fails the command, after all the rest is done."""
    location = options.directory or default_location()
    command = "mk replicate promote"
    with opened(location, command=command, allow_network_fs=options.allow_network_fs) as directory:
        promotion = Promotion(directory, chosen_topics(directory, options), wait_ms=options.lock_wait_ms)
        before = [dict(row) for row in promotion.to_do]
        if before and not options.json:
            print_table(_COLUMNS, map(_for_people, before), no_color=options.no_color)
        if options.dry_run:
            promotion.plan_groups()
            _tell(promotion, options)
            raise_first(promotion.failures)
            return 0
        if not options.force:
            promotion.check_not_behind()
        promotion.promote()
    _tell(promotion, options)
    if not options.json and not options.quiet:
        _tell_what_to_do(promotion, before, location)
    raise_first(promotion.failures)
    return 0


def _for_people(row: Document) -> Document:
    return {
        **row,
        "old_leader": row["old_address"] or row["old_leader"],
        "seen_end": row["seen_next_offset"],
        "end": row["next_offset"],
    }


def _tell(promotion: Promotion, options: Options) -> None:
    """Say what was done, or would be."""
    if options.json:
        print_json({"partitions": promotion.plan, "groups": promotion.groups, "dry_run": options.dry_run})
        return
    if options.quiet:
        return
    for row in promotion.groups:
        place = f"group {row['group']} in {row['topic']} {row['partition']}"
        if row["problem"]:
            note(f"mk: leaves {place} where it is: {row['problem']}")
        elif row["new_offset"] != row["committed_offset"]:
            said = "none" if row["committed_offset"] is None else row["committed_offset"]
            note(f"mk: moves {place}: {said} -> {row['new_offset']}")


def _tell_what_to_do(promotion: Promotion, before: list[Document], location: str) -> None:
    promoted = {(row["topic_id"], row["partition"]) for row in promotion.plan if row["leads"]}
    done = [row for row in before if (row["topic_id"], row["partition"]) in promoted]
    if not before and not promotion.failures:
        note(f"mk: {location} leads {'all of that' if promotion.plan else 'all that it has'} already")
    if not done:
        return
    note(f"mk: {location} leads {counted(len(done), 'partition')} now; producers and groups go on here")
    lost = sum(row["behind"] for row in done)
    if lost:
        note(
            f"mk: {counted(lost, 'record')} of the old leader {'is' if lost == 1 else 'are'} not here, as far as is known"
        )
    for old in sorted({row["old_address"] or row["old_leader"] for row in done}):
        note(
            f"mk: the old leader, {old}: let no producer write to it; when it is back, `mk replicate {location} {old}` has it "
            "follow, and what it alone had goes to its quarantine/, for `mk replicate salvage` there"
        )
