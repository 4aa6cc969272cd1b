"""`mk groups` list, describe, delete, prune and kick: what groups there are, and taking away what they no longer need."""

from __future__ import annotations

from mk.cli.confirmation import confirm
from mk.cli.console import print_fields, print_json, print_table
from mk.cli.notes import counted, note
from mk.cli.selection import matching, raise_first
from mk.cli.topics import print_rows, readable
from mk.cluster import connect
from mk.errors import MkError, NotFoundError, UsageError
from mk.group_errors import GroupNotEmptyError, NoSuchGroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster

    Document = dict[str, Any]

_OFFSET_COLUMNS = (
    "topic",
    "partition",
    "committed",
    "start",
    "end",
    "lag",
    "committed at",
    "member",
    "host",
    "pid",
    "user",
    "command",
    "since",
)
_MEMBER_COLUMNS = ("member", "host", "pid", "user", "command", "since", "partitions", "assignment")
_CLIENT_COLUMNS = ("member", "host", "client", "instance", "partitions", "assignment")
"""Of a cluster that knows clients, and no processes."""

_SHOWN_OF_ID = 8
"""Digits of a member's id that a table shows: they tell the members of a group apart, and `kick` takes them."""


def selected_groups(cluster: Cluster, options: Options) -> list[str]:
    """Return the groups that a command names, or finds with -r, each once; all if it does neither."""
    names = list(options.groups)
    if options.regex is not None:
        names += matching(cluster.group_names(), options.regex, "mk groups -q")
    elif not names:
        names = cluster.group_names()
    return list(dict.fromkeys(names))


def list_groups(options: Options) -> int:
    """Print the groups with their state, members and lag. One that cannot be read fails the command, after all the others."""
    cluster = connect(options.directory)
    names = cluster.group_names()
    if options.regex is not None:
        names = matching(names, options.regex, "mk groups -q")
    if options.quiet:
        if options.json:
            print_json(names)
        else:
            print("".join(f"{name}\n" for name in names), end="")
        return 0
    documents, failures = _described(cluster, names, ())
    rows: list[Document] = [
        {
            "group": document["group"],
            "state": document["state"],
            "members": len(document["members"]),
            "topics": len(document["topics"]),
            "lag": document["lag"],
        }
        for document in documents
    ]
    if options.json:
        print_json(rows)
    else:
        print_rows(rows, options)
    raise_first(failures)
    return 0


def _described(cluster: Cluster, names: Sequence[str], named: Sequence[str]) -> tuple[list[Document], list[MkError]]:
    """Return what is known of groups, and the errors of the others; that it went meanwhile is one if it was `named`."""
    documents: list[Document] = []
    failures: list[MkError] = []
    for name, document in zip(names, cluster.describe_groups(names)):
        if not isinstance(document, MkError):
            documents.append(document)
        elif not isinstance(document, NoSuchGroupError) or name in named:
            failures.append(document)
    return documents, failures


def describe(options: Options) -> int:
    """Print the sections that are asked for. A group that cannot be read fails the command, after all the others."""
    cluster = connect(options.directory)
    documents, failures = _described(cluster, selected_groups(cluster, options), options.groups)
    some = options.state or options.members or options.offsets
    chosen = [not some or wanted for wanted in (options.state, options.members, options.offsets)]
    if options.json:
        print_json([_sections(document, *chosen) for document in documents])
    else:
        for number, document in enumerate(documents):
            if number:
                print()
            _print(document, *chosen, named=len(documents) > 1, options=options)
    raise_first(failures)
    return 0


def _sections(document: Document, state: bool, members: bool, offsets: bool) -> Document:
    """Return a document without the sections that nobody asked for; always with the group's name."""
    shown: Document = {"group": document["group"]}
    if state:
        shown.update({key: document[key] for key in ("state", "topics", "lag", "last_commit_ms")})
        shown["member_count"] = len(document["members"])
    if members:
        shown["members"] = document["members"]
    if offsets:
        shown["offsets"] = document["offsets"]
    return shown


def _print(document: Document, state: bool, members: bool, offsets: bool, *, named: bool, options: Options) -> None:
    begun = state or named
    if state:
        shown = _sections(document, state=True, members=False, offsets=False)
        shown["members"] = shown.pop("member_count")
        print_fields(readable(shown))
    elif named:
        print_fields({"group": document["group"]})
    if offsets and document["offsets"]:
        if begun:
            print()
        begun = True
        _print_offsets(document, options)
    if members and (document["members"] or not offsets):
        if begun:
            print()
        columns = _CLIENT_COLUMNS if any("client_id" in one for one in document["members"]) else _MEMBER_COLUMNS
        print_table(columns, map(_member_row, document["members"]), no_color=options.no_color)


def _print_offsets(document: Document, options: Options) -> None:
    offsets = document["offsets"]
    columns = list(_OFFSET_COLUMNS)
    if not any(row["member"] for row in offsets):
        columns = columns[: columns.index("member")]
    if document["last_commit_ms"] is None:
        # A cluster that does not tell times, nor which processes its clients are.
        columns = [one for one in columns if one not in ("committed at", "pid", "user", "command", "since")]
    if any(row["is_replicated"] for row in offsets):
        columns.append("replicated")
    if any(row["problem"] for row in offsets):
        columns.append("problem")
    print_table(columns, map(_offset_row, offsets), no_color=options.no_color)


def _offset_row(offset: Document) -> Document:
    row = readable(offset)
    return {
        **row,
        "topic": row["topic"] or row["topic_id"],
        "committed at": row["committed"],
        "committed": row["committed_offset"],
        "start": row["log_start_offset"],
        "end": row["high_watermark"],
        "member": _short(row["member"]),
        "replicated": row["is_replicated"],
    }


def _member_row(member: Document) -> Document:
    row = readable(member)
    shown = {**row, "member": _short(row["member"]), "assignment": " ".join(row["assignment"])}
    return {**shown, "client": row.get("client_id"), "instance": row.get("instance_id")}


def _short(member_id: str | None) -> str | None:
    # That of a client begins with its name, which many share.
    return member_id and (member_id if "-" in member_id else member_id[:_SHOWN_OF_ID])


def delete(options: Options) -> int:
    """Delete groups, or what they have committed of some topics, after saying what goes."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    if not options.groups and options.regex is None:
        raise UsageError("GROUP is missing", fix="name groups, or find them with -r REGEX")
    names = selected_groups(cluster, options)
    documents, failures = _described(cluster, names, () if options.if_exists else options.groups)
    if failures:
        raise_first(failures)
    plan = [row for document in documents for row in _deletions(document, options)]
    for document in documents:
        if not options.dry_run and document["members"]:
            cluster.check_group_is_empty(document["group"])
    _show_deletions(plan, options)
    if options.dry_run or not plan:
        if options.json:
            print_json(plan)
        elif not plan and not options.quiet:
            note("mk: there is nothing to delete")
        return 0
    confirm(f"delete {_counted_deletions(plan)}?", options, what="deleting")
    return _delete(cluster, plan, options)


def _deletions(document: Document, options: Options) -> list[Document]:
    """Return what is to be deleted of a group: it itself, or what it has committed of each topic."""
    group = document["group"]
    if not options.topics:
        return [_deletion(document, None, document["offsets"])]
    plan = []
    for topic in options.topics:
        rows = [row for row in document["offsets"] if topic in (row["topic"], row["topic_id"])]
        if not rows and not options.if_exists:
            raise NotFoundError(
                f"group {group} has committed nothing of topic {topic}",
                fix=f"`mk groups describe {group}` shows what it has; nothing was changed",
                group=group,
                topic=topic,
            )
        plan += [
            _deletion(document, topic_id, [row for row in rows if row["topic_id"] == topic_id])
            for topic_id in dict.fromkeys(row["topic_id"] for row in rows)
        ]
    return plan


def _deletion(document: Document, topic_id: str | None, rows: list[Document]) -> Document:
    return {
        "group": document["group"],
        "topic": rows[0]["topic"] if topic_id is not None else None,
        "topic_id": topic_id,
        "partitions": len(rows),
        "last_commit_ms": document["last_commit_ms"]
        and max((row["committed_ms"] or 0 for row in rows), default=document["last_commit_ms"]),
    }


def _show_deletions(plan: list[Document], options: Options) -> None:
    if options.quiet or options.json:
        return
    for row in plan:
        what = f"group {row['group']}"
        if row["topic_id"] is not None:
            what += f": what it has committed of {row['topic'] or row['topic_id']}"
        last = f", the last one of {readable(row)['last_commit']}" if row["last_commit_ms"] else ""
        note(f"mk: deletes {what}: offsets of {counted(row['partitions'], 'partition')}{last}")


def _counted_deletions(plan: list[Document]) -> str:
    groups = sum(row["topic_id"] is None for row in plan)
    topics = len(plan) - groups
    said = [counted(groups, "group")] * bool(groups) + [f"the offsets of {counted(topics, 'topic')}"] * bool(topics)
    return " and ".join(said)


def _delete(cluster: Cluster, plan: list[Document], options: Options, idle_since_ms: int | None = None) -> int:
    """Delete what was planned. What refuses is named and left out."""
    done = []
    failures: list[MkError] = []
    for row in plan:
        try:
            if row["topic_id"] is None:
                is_done = cluster.delete_group(row["group"], idle_since_ms=idle_since_ms, wait_ms=options.lock_wait_ms)
            else:
                is_done = bool(
                    cluster.delete_offsets(
                        row["group"], [row["topic_id"]], idle_since_ms=idle_since_ms, wait_ms=options.lock_wait_ms
                    )
                )
        except NoSuchGroupError:
            continue  # Somebody else was faster.
        except MkError as error:
            failures.append(error)
            continue
        if is_done:
            done.append(row)
        elif not options.quiet:
            note(f"mk: group {row['group']}: somebody uses it again; left as it is")
    if options.json:
        print_json(done)
    raise_first(failures)
    return 0


def prune(options: Options) -> int:
    """Remove groups, and offsets of topics that are gone, without a commit for so long; and files nobody can need."""
    from mk.clock import now_ms

    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    idle_since_ms = now_ms() - options.idle_ms
    documents, failures = _described(cluster, selected_groups(cluster, options), options.groups)
    if any(document["last_commit_ms"] is None for document in documents):
        raise UsageError(
            "mk groups prune does not work on a Kafka cluster",
            why="Kafka does not tell when a group has committed; its brokers forget a group that had no member for"
            " offsets.retention.minutes, and the offsets of topics that are gone",
            fix="`mk groups delete` deletes those that you name; nothing was done",
        )
    plan: list[Document] = []
    generations: dict[str, int] = {}
    for document in documents:
        rows = [] if document["members"] else _idle(document, idle_since_ms)
        plan += rows
        if not any(row["topic_id"] is None for row in rows) and (old := cluster.old_generations(document["group"])):
            generations[document["group"]] = old
    _show_deletions(plan, options)
    if not options.quiet and not options.json:
        for group, count in generations.items():
            note(f"mk: removes of group {group}: {counted(count, 'old file')} of claims that were fenced")
        if not plan and not generations:
            note("mk: there is nothing to prune")
    if options.dry_run:
        if options.json:
            print_json(plan)
        raise_first(failures)
        return 0
    if plan:
        confirm(f"delete {_counted_deletions(plan)}?", options, what="pruning")
    for group in generations:
        try:
            cluster.remove_old_generations(group)
        except MkError as error:
            failures.append(error)
    status = _delete(cluster, plan, options, idle_since_ms) if plan or options.json else 0
    raise_first(failures)
    return status


def _idle(document: Document, idle_since_ms: int) -> list[Document]:
    """Return what may go of a group without members: all of it, or what it has committed of topics that are gone.

    Of one that is known from its leader only, nothing: what goes there, goes here with the next replication.
    """
    if document["offsets"] and all(row["is_replicated"] for row in document["offsets"]):
        return []
    if document["last_commit_ms"] <= idle_since_ms:
        return [_deletion(document, None, document["offsets"])]
    gone = [row for row in document["offsets"] if row["topic_is_gone"]]
    found = [
        _deletion(document, topic_id, [row for row in gone if row["topic_id"] == topic_id])
        for topic_id in dict.fromkeys(row["topic_id"] for row in gone)
    ]
    return [row for row in found if row["last_commit_ms"] <= idle_since_ms]


def kick(options: Options) -> int:
    """Take its partitions from a member."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    member = cluster.find_member(options.group, options.member)
    document = cluster.describe_group(options.group)
    place = f"process {member['pid']} of {member['user']} on {member['host']} ({member['command']})"
    held = [
        {"topic": row["topic"], "partition": row["partition"]}
        for row in document["offsets"]
        if row["member"] == member["member"]
    ]
    if not options.quiet and not options.json:
        note(f"mk: takes {counted(len(held), 'partition')} from member {_short(member['member'])}, {place}")
    if not options.dry_run:
        kicked = cluster.kick_member(options.group, member["member"])
        held = [{"topic": topic, "partition": partition} for topic, partition in kicked]
        if not options.quiet and not options.json:
            if len(document["members"]) == 1:
                note("mk: it is the only member")
            note("mk: what it committed stands; it is told, and may join again: end the process if it shall not")
    if options.json:
        print_json({"group": options.group, "member": member, "partitions": held, "kicked": not options.dry_run})
    return 0


def wait_until_empty(cluster: Cluster, group: str, wait_ms: int | None) -> None:
    """Return when a group has no members that live. Raises GroupNotEmptyError if it has them for `wait_ms`."""
    import time

    deadline = time.monotonic() + (wait_ms or 0) / 1000
    while True:
        try:
            cluster.check_group_is_empty(group)
            return
        except GroupNotEmptyError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(left, _POLL_SECONDS))


_POLL_SECONDS = 0.05
