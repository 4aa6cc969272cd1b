"""What `mk replicate` says: notes and a bar on stderr, or an event a line on stdout for programs."""

from __future__ import annotations

import sys
import time

from mk.cli.notes import counted, note
from mk.replication.events import (
    BEGIN_ANEW,
    CREATED,
    DONE,
    GONE,
    PARTITION,
    PROGRESS,
    REFUSED,
    RENAMED,
    TOPIC,
    TRUNCATE,
    UPDATED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from mk.cli.options import Options
    from mk.replication.comparison import Comparison
    from mk.replication.events import Event
    from mk.replication.plan import Step
    from mk.replication.replicator import Replicator

_PROGRESS_SECONDS = 1.0


class Output:
    """Tells of one command, as its options ask for."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._told_at = time.monotonic()
        self._tell: Callable[[int, int], None] | None = None
        self._replicator: Replicator | None = None

    def showing(self, replicator: Replicator) -> AbstractContextManager[object]:
        """Show a bar for a `with` block, if somebody sees it and the work takes more than a second."""
        self._replicator = replicator
        return _Bar(self)

    def event(self, event: Event) -> None:
        options = self._options
        if event.kind == PROGRESS:
            if self._tell is not None and self._replicator is not None:
                self._tell(self._replicator.records, self._replicator.records_expected)
            now = time.monotonic()
            if not options.json or now - self._told_at < _PROGRESS_SECONDS:
                return
            self._told_at = now
        if options.json:
            self._print(event.document())
        elif event.kind == REFUSED:
            if options.follow and event.error is not None:
                error = event.error
                note(
                    f"mk: {error.what}"
                    + (f" ({error.why})" if error.why else "")
                    + (f"; {error.fix}" if error.fix else "")
                )
        elif event.kind == DONE and options.verbose:
            facts = event.facts
            if facts["next_offset"] != facts["first_offset"]:
                note(f"{event.topic} {event.partition} {facts['first_offset']} {int(str(facts['next_offset'])) - 1}")
        elif not options.quiet and (text := _note_of(event)):
            note(text)

    def summary(self, event: Event) -> None:
        facts: dict[str, int] = event.facts  # type: ignore[assignment]
        if self._options.json:
            self._print(event.document())
        elif not self._options.quiet:
            partitions = counted(facts["partitions_in_all"], "partition")
            if facts["records"]:
                from mk.cli.console import size_text

                size = size_text(facts["bytes"])
                text = f"{counted(facts['records'], 'record')}, {size} in {facts['seconds']:.1f} s, "
                text += f"{facts['partitions']} of {partitions}"
            else:
                text = f"nothing {'new' if facts['complete'] or facts['refused'] else 'copied yet'}, {partitions}"
            note(f"mk: {text}" + (f", {facts['refused']} refused" if facts["refused"] else ""))

    def already_running(self, source: str, target: str) -> None:
        if self._options.json:
            self._print({"event": "already_running"})
        elif not self._options.quiet:
            note(f"mk: another run copies from {source} to {target} now; nothing to do for this one")

    def plan(self, steps: Sequence[Step]) -> None:
        from mk.cli.console import print_json, size_text

        rows: list[dict[str, object]] = [
            {
                "topic": step.topic,
                "partition": None if step.partition < 0 else step.partition,
                "action": step.action,
                "from": step.from_offset if step.partition >= 0 and step.error is None else None,
                "to": step.to_offset if step.partition >= 0 and step.error is None else None,
                "records": step.to_offset - step.from_offset,
                "size_bytes": step.size_bytes,
                "truncated": step.truncated,
                "why": None if step.error is None else f"{step.error.what}: {step.error.why}",
            }
            for step in steps
        ]
        if self._options.json:
            print_json(rows)
            return
        self._table(rows)
        if not self._options.quiet:
            records = sum(step.to_offset - step.from_offset for step in steps)
            size = size_text(sum(step.size_bytes for step in steps))
            note(f"mk: {counted(records, 'record')}, {size} to copy; nothing was changed")

    def comparison(self, found: Comparison) -> None:
        if self._options.json:
            self._print({"event": "compared", **_row(found)})

    def comparisons_end(self, found: Sequence[Comparison]) -> None:
        if self._options.json:
            return
        rows = [_row(one) for one in found if one.behind or one.differs_at >= 0 or one.error is not None]
        self._table(rows)
        if not self._options.quiet:
            records = sum(one.to_offset - one.from_offset for one in found)
            same = sum(1 for one in found if one.differs_at < 0 and one.error is None)
            note(
                f"mk: {same} of {counted(len(found), 'partition')} the same, as far as DST goes: {counted(records, 'record')}"
            )

    def _table(self, rows: list[dict[str, object]]) -> None:
        if rows:
            from mk.cli.console import print_table
            from mk.cli.topics import readable

            for_people = [readable(row) for row in rows]
            columns = [name for name in for_people[0] if any(row[name] is not None for row in for_people)]
            print_table(columns, for_people, no_color=self._options.no_color)

    def _print(self, document: dict[str, object]) -> None:
        import json

        print(json.dumps(document))
        sys.stdout.flush()


class _Bar:
    """The bar of a run, as a context manager that imports what draws it only where somebody sees it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: AbstractContextManager[Callable[[int, int], None] | None] | None = None

    def __enter__(self) -> None:
        options = self._output._options
        if not (options.quiet or options.json or options.follow or options.verbose) and sys.stderr.isatty():
            from mk.cli.progress import progress_bar

            self._bar = progress_bar("copying", quiet=False, counts_bytes=False)
            self._output._tell = self._bar.__enter__()

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


def _row(found: Comparison) -> dict[str, object]:
    return {
        "topic": found.topic,
        "partition": None if found.partition < 0 else found.partition,
        "from": found.from_offset,
        "to": found.to_offset,
        "behind": found.behind,
        "segment": None if found.differs_at < 0 else found.segment,
        "differs_at": None if found.differs_at < 0 else found.differs_at,
        "why": f"{found.error.what}: {found.error.why}" if found.error is not None else found.why or None,
    }


def _note_of(event: Event) -> str:
    """Return what people are told of an event, "" for nothing."""
    facts = event.facts
    if event.kind == TOPIC:
        action = facts["action"]
        if action == CREATED:
            return f"mk: made topic {event.topic}"
        if action == RENAMED:
            return f"mk: topic {facts['before']} is now {event.topic}"
        if action == UPDATED and facts["changed"]:
            return f"mk: topic {event.topic}: as in SRC now: {', '.join(facts['changed'])}"  # type: ignore[arg-type]
        if action == GONE:
            return f"mk: topic {event.topic} was deleted from SRC; its copy stays (`mk topics delete {event.topic}` removes it)"
    if event.kind == PARTITION:
        place = f"{event.topic} {event.partition}"
        truncated = int(str(facts["truncated"]))
        if facts["action"] == TRUNCATE:
            return (
                f"mk: {place}: cuts off {counted(truncated, 'record')} that SRC does not have; they are in quarantine/"
            )
        if facts["action"] == BEGIN_ANEW:
            return f"mk: {place}: begins anew at offset {facts['from_offset']}; what was there is in quarantine/"
    return ""
