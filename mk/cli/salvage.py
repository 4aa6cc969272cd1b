"""`mk replicate salvage`: produce again what a fail-over cut off."""

from __future__ import annotations

import os

from mk.cli.confirmation import confirm
from mk.cli.console import print_json, print_table
from mk.cli.notes import counted, note
from mk.cli.replication_status import QUARANTINE_COLUMNS, quarantine_row
from mk.cli.selection import raise_first
from mk.cluster import connect, default_location
from mk.replication.opened import opened
from mk.replication.salvage import Salvage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.replication.salvage import Target

    Document = dict[str, Any]


def salvage(options: Options) -> int:
    """Show what there is and what would be done with it, ask, and do it. What fails, fails the command after the rest."""
    location = options.directory or default_location()
    command = "mk replicate salvage"
    with opened(location, command=command, allow_network_fs=options.allow_network_fs) as directory:
        plan = Salvage(directory, options.files, into=options.into)
        if options.dry_run:
            _show(plan, options)
            return 0
        if not options.json and not options.quiet:
            _show(plan, options)
        if plan.to_do:
            count = sum(row["wanted"] for row in plan.to_do)
            question = f"produce {counted(count, 'record')} of {counted(len(plan.to_do), 'file')} again?"
            confirm(question, options, what="producing records again")
        failures = plan.run(lambda target: _open(target, options), wait_ms=options.lock_wait_ms)
    if options.json:
        print_json(plan.plan)
    elif not options.quiet:
        _tell(plan)
    raise_first(failures)
    return 0


def _open(location: str, options: Options) -> Target:
    if options.rsh is not None:
        # As with the variable: whoever connects asks for that alone.
        os.environ["MK_RSH"] = options.rsh
    return connect(location, allow_network_fs=options.allow_network_fs)


def _show(plan: Salvage, options: Options) -> None:
    if options.json:
        print_json(plan.plan)
        return
    if plan.plan:
        columns = (*QUARANTINE_COLUMNS, "goes to")
        rows = [{**quarantine_row(row), "goes to": row["target"] or row["problem"]} for row in plan.plan]
        print_table(columns, rows, no_color=options.no_color)
    if not plan.to_do and not options.quiet:
        note("mk: there is nothing to salvage")


def _tell(plan: Salvage) -> None:
    for row in plan.to_do:
        said = f"stored {counted(row['stored'], 'record')}"
        if row["stored_before"]:
            said += f", {row['stored_before']} {'was' if row['stored_before'] == 1 else 'were'} there already"
        if row["problem"]:
            said = f"left: {row['problem']}" if not row["stored"] else f"{said}, then stopped: {row['problem']}"
        note(f"mk: {row['name']}: {said}")
