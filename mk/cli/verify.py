"""`mk topics verify` and `mk topics dump`: proving the bytes of topics, and showing them."""

from __future__ import annotations

import os
import sys

from mk.cli.console import print_json, print_table, size_text
from mk.cli.notes import counted, note, visible
from mk.cli.progress import progress_bar
from mk.cli.selection import raise_first, selected
from mk.cluster import connect
from mk.errors import (
    ConfigurationError,
    NoSuchPartitionError,
    NoSuchTopicError,
    PermissionDeniedError,
    UsageError,
)
from mk.maintenance.dump import damage_error, dump_file, is_damage
from mk.maintenance.findings import DAMAGE, NOTE, WARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster
    from mk.errors import MkError
    from mk.maintenance.dump import Item
    from mk.maintenance.findings import Finding, Report

DAMAGED = 65
_COLUMNS = ["severity", "kind", "partition", "offsets", "position", "path", "found"]


def verify(options: Options) -> int:
    """Check topics, and return 65 if there is damage in any of them."""
    cluster = connect(options.directory)
    reports = []
    failures: list[MkError] = []
    for name in _chosen(cluster, options):
        try:
            with progress_bar(f"verifying {name}", quiet=options.quiet) as progress:
                report = cluster.verify_topic(name, partitions=options.partitions, progress=progress)
        except (NoSuchTopicError, NoSuchPartitionError) as error:
            if name in options.topics:
                failures.append(error)
            continue  # Deleted while we looked, or not meant.
        except (ConfigurationError, PermissionDeniedError) as error:
            failures.append(error)
            continue
        reports.append(report)
        if not options.json and (not options.quiet or _is_for_somebody(report.findings)):
            _print_report(report, options)
    of_groups = [] if options.topics or options.regex is not None else cluster.verify_groups()
    if of_groups and not options.json and (not options.quiet or _is_for_somebody(of_groups)):
        print_table(_COLUMNS, map(_row, of_groups), no_color=options.no_color)
        severities = [finding.severity for finding in of_groups]
        counts = [counted(severities.count(one), one) for one in (WARNING, NOTE) if one in severities]
        print(f"groups: {', '.join(counts)}")
    damage = sum(report.count(DAMAGE) for report in reports)
    if options.json:
        topics = [report.document() for report in reports]
        findings: list[Any] = [finding for topic in topics for finding in topic.pop("findings")]  # type: ignore[attr-defined]
        findings += [finding.document() for finding in of_groups]
        print_json({"damage": damage, "topics": topics, "findings": findings})
    elif damage and not options.quiet:
        sys.stdout.flush()
        note(
            "mk: nothing was changed; restore the files that are named from a copy, read around the offsets with -o, or let "
            "`mk topics repair` go on without them"
        )
    if damage:
        for failure in failures:
            note(f"mk: {failure.what}")
        return DAMAGED
    raise_first(failures)
    return 0


def _chosen(cluster: Cluster, options: Options) -> list[str]:
    if options.topics or options.regex is not None:
        return selected(cluster, options)
    return cluster.topic_names()


def _is_for_somebody(findings: Iterable[Finding]) -> bool:
    return any(finding.severity != NOTE for finding in findings)


def _print_report(report: Report, options: Options) -> None:
    if report.findings:
        print_table(_COLUMNS, map(_row, report.findings), no_color=options.no_color)
    counts = [f"{report.count(DAMAGE)} of damage" if report.count(DAMAGE) else "no damage"]
    counts += [counted(report.count(severity), severity) for severity in (WARNING, NOTE) if report.count(severity)]
    size = size_text(report.size_bytes)
    partitions = counted(report.partitions, "partition")
    records = f"{report.records:,} record{'' if report.records == 1 else 's'}"
    print(f"{report.topic}: {partitions}, {size}, {records}, {', '.join(counts)}")


def _row(finding: Finding) -> dict[str, object]:
    offsets: object = finding.offset
    if finding.offset is not None and finding.last_offset not in (None, finding.offset):
        offsets = f"{finding.offset}-{finding.last_offset}"
    return {**finding.document(), "offsets": offsets}


def dump(options: Options) -> int:
    """Print what stands in a file, or in partitions of a topic; fails at the end if something in it is damaged."""
    show = _Shown(options)
    damaged = 0
    for item in _items(options):
        damaged += is_damage(item)
        show(item)
    if damaged:
        sys.stdout.flush()
        raise damage_error(options.source, damaged)
    return 0


def _items(options: Options) -> Iterator[Item]:
    source = options.source
    if "/" in source or (os.path.isfile(source) and not options.partitions):
        if options.partitions:
            raise UsageError("--partition means nothing to a file", why=f"{source} is one", fix="leave it out")
        yield from dump_file(source, records=options.records, from_offset=options.from_offset)
        return
    cluster = connect(options.directory)
    partitions = options.partitions or range(len(cluster.offsets(source)))
    for partition in partitions:
        yield from cluster.dump_partition(source, partition, records=options.records, from_offset=options.from_offset)


class _Shown:
    """Prints the items of a dump: JSON lines, or a line of text each. Records look the same in both."""

    def __init__(self, options: Options) -> None:
        from mk.formats.terminal import escape_json
        from mk.formats.writers import writer

        self._json = options.json
        self._write = writer("json")
        self._escape = escape_json if os.isatty(1) else bytes
        self._path: object = None

    def __call__(self, item: Item) -> None:
        out = sys.stdout
        if isinstance(item, list):
            data = self._escape(self._write(item))
            if not self._json:
                data = b"".join([b"    " + line for line in data.splitlines(keepends=True)])
            out.flush()
            out.buffer.write(data)
        elif self._json:
            import json

            print(json.dumps(item))
        else:
            if item["path"] != self._path:
                self._path = item["path"]
                print(visible(f"{self._path}:"))
            print(visible("  " + _line(item)))


def _line(item: dict[str, object]) -> str:
    kind = item["type"]
    if kind == "damage":
        where = f"byte {item['position']}" if item["position"] is not None else "here"
        offset = f", offset {item['offset']}" if item["offset"] is not None else ""
        again = ""
        if item["next_offset"] is not None:
            again = f"; the next that can be read is at byte {item['next_position']}, offset {item['next_offset']}"
        return f"DAMAGE at {where}{offset}: {item['found']}{again}"
    if kind == "batch":
        shown = {key: value for key, value in item.items() if key not in ("type", "path", "control", "compacted")}
        flags = [flag for flag in ("control", "compacted") if item[flag]]
        if item["producer_id"] is None:
            for key in ("producer_id", "first_sequence", "last_sequence"):
                del shown[key]
        return " ".join([f"{key}={value}" for key, value in shown.items()] + flags)
    shown = {key: value for key, value in item.items() if key not in ("type", "path")}
    return f"{kind} " + " ".join(f"{key}={_text(value)}" for key, value in shown.items())


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ":".join(map(str, value.values()))
    return "-" if value is None else str(value)
