"""`mk groups` reset, export, import, copy and undo: where groups stand, moved by hand.

Each makes a plan, shows it, and has it done at once: what the plan was made from is compared again while nobody can commit.
"""

from __future__ import annotations

import sys

from mk.cli.confirmation import confirm
from mk.cli.console import print_json, print_table
from mk.cli.groups import selected_groups, wait_until_empty
from mk.cli.notes import counted, note
from mk.cli.reset_target import parse_target, reset_target
from mk.cli.selection import raise_first
from mk.cli.topics import time_text
from mk.cluster import connect
from mk.errors import DataError, MkError, NotFoundError, UnreadableInputError, UsageError
from mk.formats.offset_lists import format_offset_list, parse_offset_list
from mk.group_errors import NoSuchGroupError
from mk.group_plan import OffsetPlanner, change_of, is_change
from mk.topic_partition import check_name, check_name_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster
    from mk.formats.offset_lists import ListedOffset

    Document = dict[str, Any]

_COLUMNS = ("group", "topic", "partition", "committed", "new_offset", "start", "end", "note")
_MAX_INPUT = 1 << 26


def reset(options: Options) -> int:
    """Move a group to other offsets."""
    group = check_name_at(options.directory, options.group, "group")
    target = reset_target(options)
    named = _named(options)
    if target is not None and target.by_partition is not None and any(named.values()):
        raise UsageError(
            "TOPIC:PARTITIONS and a --to that names partitions exclude each other",
            fix="leave one of them out; nothing was changed",
        )
    if target is None and (named or options.all_topics):
        raise UsageError("--from-file says which topics itself", fix="leave the topics out; nothing was changed")
    listed = [] if target is not None else _listed(options.from_file, group)
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    if not options.dry_run:
        wait_until_empty(cluster, group, options.wait_ms)
    planner = OffsetPlanner(cluster, group)
    if target is None:
        _plan_listed(planner, listed, options.from_file)
    else:
        for topic in named or planner.topics():
            count = planner.partitions(topic)
            chosen = named.get(topic) or sorted(target.by_partition or range(count))
            for partition in chosen:
                planner.add(topic, partition, target)
    return _carry_out(cluster, options, {group: planner}, "reset")


def _named(options: Options) -> dict[str, list[int]]:
    """Return the topics that a command line names, with the partitions of each; none is all of them."""
    named: dict[str, list[int]] = {}
    for word in (*options.topics, *options.more_topics):
        topic, colon, partitions = word.partition(":")
        check_name_at(options.directory, topic)
        numbers = partitions.split(",") if colon else []
        if not all(number.isascii() and number.isdigit() and len(number) < 6 for number in numbers):
            raise UsageError(
                f"TOPIC cannot be {word}",
                why="behind the colon stand one or more partition numbers, such as orders:0,3",
                fix="name the topic alone to mean all its partitions; nothing was changed",
            )
        if topic in named and not (named[topic] and numbers):
            raise UsageError(f"topic {topic} is named twice", fix="name it once; nothing was changed")
        named.setdefault(topic, []).extend(int(number) for number in numbers)
    if named and options.all_topics:
        raise UsageError("--all-topics and a TOPIC exclude each other", fix="leave one of them out")
    return {topic: list(dict.fromkeys(numbers)) for topic, numbers in named.items()}


def _listed(path: str, group: str | None) -> list[ListedOffset]:
    """Read a list of offsets from a file, `-` is standard input. group: the only one that it may be of."""
    source = "standard input" if path == "-" else path
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_MAX_INPUT)
        else:
            with open(path, "rb") as file:
                data = file.read(_MAX_INPUT)
    except OSError as error:
        fix = "look at that path and its disk, or name another list; nothing was changed"
        raise UnreadableInputError(path=source, why=error.strerror or "", fix=fix) from None
    listed = parse_offset_list(data, source)
    for row in listed:
        if group is not None and row.group not in (None, group):
            raise DataError(
                f"line {row.line} of {source} is of group {row.group}, not {group}",
                fix=f"`mk groups import {path}` changes all the groups that are in it; nothing was changed",
            )
        if group is None and row.group is None:
            raise DataError(
                f"line {row.line} of {source} does not say of which group it is",
                why="it has three fields",
                fix=f"`mk groups reset GROUP --from-file {path}` takes it for GROUP; nothing was changed",
            )
    return listed


def _plan_listed(planner: OffsetPlanner, listed: Iterable[ListedOffset], source: str) -> None:
    for row in listed:
        try:
            target = parse_target(row.offset)
        except UsageError as error:
            raise DataError(
                f"line {row.line} of {source}: {error.what}", why=error.why, fix=f"{error.fix}; nothing was changed"
            ) from None
        if target.by_partition is not None:
            raise DataError(
                f"line {row.line} of {source}: the offset names partitions", fix="give one; nothing was changed"
            )
        planner.add(row.topic, row.partition, target)


def import_offsets(options: Options) -> int:
    """Move groups to where a list says."""
    listed = _listed(options.file, None)
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    planners = {}
    for group in dict.fromkeys(row.group for row in listed if row.group is not None):
        if not options.dry_run:
            wait_until_empty(cluster, group, options.wait_ms)
        planners[group] = OffsetPlanner(cluster, group)
        _plan_listed(planners[group], [row for row in listed if row.group == group], options.file)
    return _carry_out(cluster, options, planners, "import")


def export(options: Options) -> int:
    """Print where groups stand, as a list that `import` reads."""
    cluster = connect(options.directory)
    rows: list[Document] = []
    gone: list[str] = []
    failures: list[MkError] = []
    names = selected_groups(cluster, options)
    for name, document in zip(names, cluster.describe_groups(names)):
        if isinstance(document, MkError):
            if not isinstance(document, NoSuchGroupError) or name in options.groups:
                failures.append(document)
            continue
        for offset in document["offsets"]:
            row = {"group": name, "topic": offset["topic"], "partition": offset["partition"]}
            if offset["committed_offset"] is None:
                if offset["committed_ms"] is None and offset["problem"]:
                    gone.append(f"{name} {offset['topic']} {offset['partition']}: {offset['problem']}")
            elif offset["high_watermark"] is None:
                gone.append(f"{name} {row['topic']} {row['partition']}: {offset['problem']}")
            else:
                rows.append({**row, "offset": offset["committed_offset"]})
    if options.json:
        print_json(rows)
    else:
        print(f"# committed offsets of {cluster.location}; `mk groups import FILE` commits what this list says")
        print("# group,topic,partition,offset")
        print(format_offset_list(tuple(row.values()) for row in rows), end="")
    if not options.quiet:
        for line in gone:
            note(f"mk: not in the list: {line}")
    raise_first(failures)
    return 0


def copy(options: Options) -> int:
    """Have a group stand where another one stands."""
    check_name(options.new_group, "group")
    if options.group == options.new_group:
        raise UsageError("SRC and DST are the same group", fix="name two; nothing was changed")
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    source = cluster.describe_group(options.group)
    if not options.dry_run:
        wait_until_empty(cluster, options.new_group, options.wait_ms)
    planner = OffsetPlanner(cluster, options.new_group)
    for row in source["offsets"]:
        is_unread = row["committed_offset"] is None and row["committed_ms"] is None and row["problem"]
        if row["high_watermark"] is None or is_unread:
            if not options.quiet:
                note(f"mk: does not copy {row['topic']} {row['partition']}: {row['problem']}")
        elif row["committed_offset"] is not None:
            planner.add_exactly(
                row["topic"],
                row["topic_id"],
                row["partition"],
                row["committed_offset"],
                leader_epoch=row["leader_epoch"],
                start=row["log_start_offset"],
                end=row["high_watermark"],
            )
    return _carry_out(cluster, options, {options.new_group: planner}, "copy")


def undo(options: Options) -> int:
    """Take back the last change of a group's offsets."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    changes = cluster.group_changes(options.group)
    undone = {change["undoes"] for change in changes if change["kind"] == "undo"}
    open_changes = [one for one in changes if one["kind"] != "undo" and one["change"] not in undone]
    if not options.dry_run:
        wait_until_empty(cluster, options.group, options.wait_ms)
    planner = OffsetPlanner(cluster, options.group)
    if changes and changes[-1]["kind"] == "undo" and (rest := planner.not_done(changes[-1])):
        if not options.quiet and not options.json:
            note(f"mk: finishes what change {changes[-1]['change']} has taken back only in part")
        for offset in rest:
            after = None if offset["after"] < 0 else offset["after"]
            place = offset["topic"], offset["topic_id"], offset["partition"]
            planner.add_exactly(*place, after, leader_epoch=offset["after_epoch"])
        return _carry_out(cluster, options, {options.group: planner}, "undo", undoes=changes[-1]["undoes"])
    while open_changes and len(planner.not_done(open_changes[-1])) == len(open_changes[-1]["offsets"]):
        del open_changes[-1]  # It was broken off before it had changed anything.
    if not open_changes:
        raise NotFoundError(
            f"there is no change of group {options.group} to take back",
            fix="a commit by a member is none; nothing was changed",
            group=options.group,
        )
    change = open_changes[-1]
    if not options.quiet and not options.json:
        when = time_text(change["time_ms"])
        note(
            f"mk: takes back change {change['change']}, {change['kind']} by {change['user']} on {change['host']} at {when}"
        )
        note(f"mk:   {change['command']}")
    moved = _plan_undo(cluster, planner, change)
    if moved and not options.force:
        raise UsageError(
            f"group {options.group} has committed since change {change['change']}",
            why="; ".join(moved),
            fix="`--force` goes back all the same, and the journal keeps what was committed since; nothing was changed",
        )
    return _carry_out(cluster, options, {options.group: planner}, "undo", undoes=change["change"])


def _plan_undo(cluster: Cluster, planner: OffsetPlanner, change: Document) -> list[str]:
    """Plan to go back to before a change, and return where the group has gone on since, in words."""
    names = _topics_by_id(cluster)
    moved = []
    for offset in change["offsets"]:
        topic_id, partition = offset["topic_id"], offset["partition"]
        topic = names.get(topic_id, "")
        before, after = offset["before"], offset["after"]
        if not topic:
            note(f"mk: {offset['topic']} {partition} stays: the topic is gone")
            continue
        if before is None:
            note(f"mk: {topic} {partition} stays: where the group stood before could not be read")
            continue
        found = planner.committed(topic_id, partition).get("committed_offset")
        stands = -1 if found is None else found
        if stands not in (before, after):
            moved.append(f"partition {partition} of {topic} went from {_shown(after)} to {_shown(stands)}")
        planner.add_exactly(
            topic, topic_id, partition, None if before < 0 else before, leader_epoch=offset["before_epoch"]
        )
    return moved


def _topics_by_id(cluster: Cluster) -> dict[str, str]:
    found = {}
    for name in cluster.topic_names():
        try:
            found[str(cluster.topic_settings(name)["topic_id"])] = name
        except MkError:
            continue  # Deleted meanwhile, or damaged: then nothing can be committed there.
    return found


def _carry_out(
    cluster: Cluster, options: Options, planners: dict[str, OffsetPlanner], kind: str, *, undoes: int | None = None
) -> int:
    """Show plans, ask, and have them done, group by group."""
    rows = [row for planner in planners.values() for row in planner.rows]
    changed = [row for row in rows if is_change(row, to_none=kind == "undo")]
    if options.dry_run:
        if options.json:
            print_json(rows)
        else:
            print_table(_COLUMNS, map(_for_people, rows), no_color=options.no_color)
            _note_members(planners, options)
        return 0
    if not options.quiet and not options.json:
        for row in rows:
            _tell(row, row in changed)
        if not changed:
            note("mk: nothing is to be changed")
    numbers: dict[str, int | None] = {}
    failures: list[MkError] = []
    if changed:
        question = f"change {counted(len(changed), 'committed offset')}?"
        confirm(question, options, what="changing committed offsets")
        for group in planners:
            changes = [change_of(row) for row in changed if row["group"] == group]
            if changes:
                try:
                    numbers[group] = cluster.change_offsets(
                        group, changes, kind=kind, undoes=undoes, wait_ms=options.lock_wait_ms
                    )
                except MkError as error:
                    failures.append(error)
    if options.json:
        done = [row for row in rows if row["group"] in numbers]
        print_json([{**row, "change": numbers[row["group"]]} for row in done])
    raise_first(failures)
    return 0


def _tell(row: Document, is_changed: bool) -> None:
    place = f"{row['group']} {row['topic']} {row['partition']}"
    said = f" ({row['note']})" if row["note"] else ""
    if is_changed:
        note(f"mk: moves {place}: {_shown(row['committed_offset'])} -> {_shown(row['new_offset'])}{said}")
    elif row["note"]:
        note(f"mk: leaves {place} at {_shown(row['committed_offset'])}{said}")


def _shown(offset: int | None) -> str:
    return "none" if offset is None or offset < 0 else str(offset)


def _for_people(row: Document) -> Document:
    return {
        **row,
        "committed": row["committed_offset"],
        "start": row["log_start_offset"],
        "end": row["high_watermark"],
    }


def _note_members(planners: dict[str, OffsetPlanner], options: Options) -> None:
    if options.quiet:
        return
    for group, planner in planners.items():
        members = planner.document["members"] if planner.document is not None else []
        if members:
            note(f"mk: group {group} has {counted(len(members), 'member')} that must end first")
