"""`mk check`: the health of a log directory as a Nagios plugin tells it, as JSON, or as metrics for Prometheus."""

from __future__ import annotations

import contextlib
import os
import sys

from mk.cli.console import print_json
from mk.cli.notes import counted, note, visible
from mk.cluster import connect, default_location
from mk.errors import MkError, UsageError
from mk.maintenance.health_measures import percent_text, size_text
from mk.maintenance.thresholds import OFF, OK, STATUS_CODES, THRESHOLDS, TIME, UNKNOWN, WARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.cli.options import Options

    Document = dict[str, Any]

_MOST_LINES = 20
"""Of one thing: Nagios cuts what is longer than 8 KiB, and --json has all."""

_MOST_VALUES = 40
"""Of one threshold, behind the | of the first line."""

_GRAPHED = ("lag", "replica-lag", "replica-age", "reserve")

_BY_WEIGHT = sorted(STATUS_CODES, key=(OK, UNKNOWN, WARNING, "CRITICAL").index, reverse=True)


def run(options: Options) -> int:
    """Judge, print, and return the status as Nagios has it; with --prometheus 0."""
    if options.output is not None and not options.prometheus:
        raise UsageError("--output means nothing without --prometheus", fix="redirect standard output")
    if options.json and options.prometheus:
        raise UsageError("--json and --prometheus exclude each other", fix="leave one of them out")
    try:
        with connect(options.directory) as cluster:
            document = cluster.health(
                topics=options.topics, groups=options.groups, warn=options.warn, crit=options.crit
            )
    except (MkError, OSError):
        if options.prometheus:
            from mk.cli.prometheus import exposition_of_failure

            _put(exposition_of_failure(options.directory or default_location()), options.output)
        raise
    if options.prometheus:
        from mk.cli.prometheus import exposition

        _put(exposition(document), options.output)
        return 0
    code: int = document["status_code"]
    if options.json:
        print_json(document)
    elif code or not options.quiet:
        print("\n".join(map(visible, lines(document, verbose=options.verbose))))
    return code


def report_unknown(error: MkError, words: Sequence[str]) -> int:
    """Tell why nothing could be judged, as a plugin does: one line on standard output, and the status for UNKNOWN."""
    code = STATUS_CODES[UNKNOWN]
    if "--prometheus" in words:
        from mk.cli.main import report

        report(error, as_json=False)  # What stands on standard output are metrics.
        return code
    what = f"{error.what}: {error.why}" if error.why else error.what
    with contextlib.suppress(OSError):  # Nobody can be told; the exit status remains.
        if "--json" in words:
            told = {"error": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix}
            print_json({"status": UNKNOWN, "status_code": code, "checks": [], "error": told})
        else:
            print(visible(_plain(f"MK {UNKNOWN} - {what}")))
        sys.stdout.flush()
    if error.fix and "--json" not in words:
        note(f"  fix: {error.fix}")
    for line in error.facts.get("traceback", ()):  # type: ignore[attr-defined]
        note(line)
    return code


def lines(document: Document, *, verbose: bool = False) -> list[str]:
    """Return what is printed: the status with the worst fact and the values, then a line a fact.

    verbose: what is as it should be has lines too.
    """
    found = [check for check in document["checks"] if check["status"] != OK]
    found.sort(key=lambda check: _BY_WEIGHT.index(check["status"]))
    if found:
        text = found[0]["text"] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
    else:
        text = _summary(document)
    first = _plain(f"MK {document['status']} - {text}")
    values = " ".join(_values(document["checks"]))
    told = [f"{first} | {values}" if values else first]
    shown = found if not verbose else found + [check for check in document["checks"] if check["status"] == OK]
    if len(shown) > 1 or verbose or any(check["details"] for check in shown):
        told += _shortened(shown)
    if found:
        told.append(f"NOTE {_summary(document)}")
    told += [f"NOTE {_plain(text)}" for text in _notes(document)]
    return told


def _plain(text: str) -> str:
    """Return a text without what stands before the values in the output of a plugin."""
    return text.replace("|", "\\x7c")


def _shortened(checks: Sequence[Document]) -> list[str]:
    told = []
    seen: dict[tuple[str, str], int] = {}
    for check in checks:
        kind = check["status"], check["name"]
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= _MOST_LINES:
            told.append(_plain(f"{check['status']} {check['name']}: {check['text']}"))
            told += [_plain(f"  {detail}") for detail in check["details"][:_MOST_LINES]]
            if len(check["details"]) > _MOST_LINES:
                told.append(f"  and {len(check['details']) - _MOST_LINES} more; --json has all")
    for (status, name), count in seen.items():
        if count > _MOST_LINES:
            told.append(f"{status} {name}: {count - _MOST_LINES} more; --json has all")
    return told


def _summary(document: Document) -> str:
    said = [counted(len(document["topics"]), "topic"), counted(len(document["partitions"]), "partition")]
    if all(one["what"] != "groups" for one in document["unseen"]):
        said.append(counted(len(document["groups"]), "group"))
    disk = document["disk"]
    if disk is not None:
        said.append(
            f"{size_text(disk['free_bytes'])} free ({percent_text(disk['free_bytes'], disk['size_bytes'])}) in {document['directory']}"
        )
    return ", ".join(said)


def _notes(document: Document) -> list[str]:
    """Return what is neither good nor bad: who leads elsewhere, what is gone for good, what may not be looked at."""
    notes = []
    addresses = {replica["directory_id"]: replica["address"] for replica in document["replicas"]}
    led: dict[str, int] = {}
    for row in document["partitions"]:
        if row["leads"] is False:
            leader = addresses.get(row["leader"]) or row["leader"]
            led[leader] = led.get(leader, 0) + 1
    for leader, count in sorted(led.items()):
        notes.append(f"{counted(count, 'partition')} {'is' if count == 1 else 'are'} led by {leader}")
    for gap in document["gaps"][:_MOST_LINES]:
        records = counted(gap["records"], "record")
        notes.append(
            f"{records} of partition {gap['partition']} of {gap['topic']} never came from {gap['directory_id']}"
        )
    for one in document["unseen"]:
        notes.append(f"{one['what']} cannot be looked at: {one['why']}")
    return notes


def _values(checks: Sequence[Document]) -> list[str]:
    """Return the values that were judged as a plugin gives them: label=value;warn;crit;min.

    Those worth a graph, those somebody set a limit to, and those beyond one; of many, these first.
    """
    told: list[str] = []
    by_name: dict[str, list[Document]] = {}
    for check in checks:
        if check["value"] is not None and _is_told(check):
            by_name.setdefault(check["name"], []).append(check)
    for many in by_name.values():
        if len(many) > _MOST_VALUES:
            many.sort(key=lambda check: check["status"] == OK)
        told += map(_value, many[:_MOST_VALUES])
    return told


def _is_told(check: Document) -> bool:
    threshold = THRESHOLDS[check["name"]]
    is_off = threshold.warn == threshold.crit == OFF
    return (
        check["status"] != OK
        or check["name"] in _GRAPHED
        or not check["subject"]
        or (is_off and (check["warn"], check["crit"]) != (None, None))
    )


def _value(check: Document) -> str:
    threshold = THRESHOLDS[check["name"]]
    factor, unit = (0.001, "s") if threshold.unit == TIME else (1, "B" if check["unit"] == "bytes" else "")
    subject = check["subject"]
    whose = subject.get("group") or subject.get("topic") or ""
    if "role" in subject:
        whose = f"{subject['role']}_{subject['directory_id'][:8]}"
    label = "_".join(filter(None, (check["name"].replace("-", "_"), whose)))
    limits = [
        "" if limit is None else f"{limit * factor:.15g}" + ":" * threshold.is_low
        for limit in (check["warn"], check["crit"])
    ]
    return f"{label}={check['value'] * factor:.15g}{unit};{';'.join(limits)};0"


def _put(text: str, path: str | None) -> None:
    """Print metrics, or replace a file by them: whoever reads it finds the old ones or the new ones, whole."""
    if path is None:
        sys.stdout.write(text)
        return
    # Not *.prom, which is what the collector reads; beside it, since a rename does not leave a file system.
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.urandom(8).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
