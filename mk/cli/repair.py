"""`mk topics repair`: the plan, the question, and what was done."""

from __future__ import annotations

from mk.cli.confirmation import confirm
from mk.cli.console import print_json
from mk.cli.notes import counted, note
from mk.cli.selection import raise_first, selected
from mk.cluster import connect
from mk.errors import MkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster


def repair(options: Options) -> int:
    """Show what is damaged and what would be done, ask, and do it. A topic that refuses is named, and the others are repaired."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    errors: list[MkError] = []
    names = selected(cluster, options) if options.topics or options.regex is not None else cluster.topic_names()
    plan = _run(cluster, options, names, errors, dry_run=True)
    if not options.json and not options.quiet:
        _tell(plan)
    to_do = {document["topic"] for document in plan if document["done"]}
    if options.dry_run or (not to_do and not errors):
        if options.json:
            print_json(plan)
        elif not to_do and not errors and not options.quiet:
            note(f"mk: {counted(len(names), 'topic')}: nothing to repair")
        raise_first(errors)
        return 0
    if to_do:
        lost = sum(last - first + 1 for document in plan for first, last in document["lost"])
        confirm(
            f"repair {counted(len(to_do), 'topic')}, of which {counted(lost, 'offset')} are lost?",
            options,
            what="repairing",
        )
    done = _run(cluster, options, [name for name in names if name in to_do], errors, dry_run=False)
    if options.json:
        print_json(done)
    elif not options.quiet:
        planned = {_place(document): document["lost"] for document in plan}
        for document in done:
            for name in document["kept"]:
                note(f"mk: {_place(document)}: what was there is quarantine/{name}")
            if document["lost"] != planned.get(_place(document), []):
                _tell([document])  # Damage that could not be seen before, or came since.
        if done:
            note(f"mk: repaired {counted(len(to_do), 'topic')}; `mk topics verify` proves it")
    raise_first(errors)
    return 0


def _run(
    cluster: Cluster, options: Options, names: list[str], errors: list[MkError], *, dry_run: bool
) -> list[dict[str, Any]]:
    documents = []
    for name in names:
        try:
            documents += cluster.repair(
                name,
                partitions=options.partitions,
                restored=options.restored,
                dry_run=dry_run,
                wait_ms=options.lock_wait_ms,
            )
        except MkError as error:
            errors.append(error)
    return documents


def _place(document: dict[str, Any]) -> str:
    return document["topic"] if document["partition"] is None else f"{document['topic']} {document['partition']}"


def _tell(plan: list[dict[str, Any]]) -> None:
    for document in plan:
        for line in (*document["done"], *(f"stays as it is: {left}" for left in document["left"])):
            note(f"mk: {_place(document)}: {line}")
