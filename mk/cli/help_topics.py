"""`mk help`: short texts on what several commands share, and the help of each command."""

import difflib
import textwrap

from mk.cli import definition, help_pages
from mk.cli.exit_statuses import exit_statuses
from mk.cli.options import Options
from mk.config import TOPIC_CONFIG
from mk.consumer import offset_spellings
from mk.errors import UsageError
from mk.formats import format_spellings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 100


def exec_help() -> str:
    """Return what `mk help exec` prints, from the tables by which it works."""
    from mk.consumer import child_environment, dead_letters, verdicts

    return f"""\
Commands, as in `mk consume TOPIC --exec CMD`.

CMD is split into words once, as a shell would, and run without one. It finds the value of a record on
its standard input, exactly as it was produced; with another -f, -J, -0 or -D, what these print of it.
With --batch N it finds up to N records of one partition. It need not read them. What it prints goes to
standard output, with --jobs in one piece when it has ended. Its exit status says what becomes of the
record, or of all records of the batch:

{_table(verdicts.TABLE)}
Without --dlq, a record that fails for good ends mk with status 1. So does a command that cannot be run, with
the rest of the records not done. While a record waits to be tried again, the records with the same
key wait too, and with one job all of its partition; others go on. A command that fails after a signal
came to mk may have failed for that: its record is neither done nor dead, and comes again.

In the environment of CMD, bytes as they were produced:

{_table(child_environment.VARIABLES)}
With --batch, what differs from record to record is not set.

A dead letter has the key and value of its record, and its headers followed by these:

{_table(dead_letters.HEADERS)}"""


_COMPACTION = ("cleanup.policy", "delete.retention.ms", "min.cleanable.dirty.ratio", "min.compaction.lag.ms")


def compaction_help() -> str:
    """Return what `mk help compaction` prints, its settings as they are checked."""
    settings = [(f"{name}={TOPIC_CONFIG[name].default}", TOPIC_CONFIG[name].help) for name in _COMPACTION]
    return f"""\
Compaction: a topic that keeps the last record of each key.

  mk topics create homes -c cleanup.policy=compact
  printf 'ann\\tParis\\nbob\\tRome\\nann\\tLima\\n' | mk produce homes -K '\\t'
  mk topics compact homes
  mk consume homes -f kv

A record goes when another one behind it in its partition has the same key. Offsets and order stay, so
there are gaps, over which every reader goes on. Each record needs a key: one without is refused, an
empty one is a key. A null value (mk produce -Z) is a tombstone: it deletes its key, and goes itself
some time after that.

It is done by whoever begins a new segment, and by `mk topics clean`, when enough of a log is new, and by
`mk topics compact` at once; by nobody else, so a crontab is a good place for `mk topics clean -q`.
retention.ms and retention.bytes remove nothing then, unless the policy is compact,delete.

{_table(settings)}
How it is kept safe is in mk-guarantees(7).
"""


OTHER_STATUSES = (
    "`mk check` speaks as Nagios plugins do: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, which includes every error. `mk check fs`: 0 "
    "sound, 1 sound with less, 2 not to be trusted."
)

ABOUT_THRESHOLDS = (
    "What `mk check` judges, and the limits of --warn and --crit that are on by default. A number, a time (10s, 15m, 2h, 7d; without a "
    "unit, seconds), a size (500M, 2G; without a unit, bytes) or a part of the disk (10%); off switches it off. The limit itself does "
    "not count: failed=0 means more than 0."
)


def threshold_rows() -> "list[tuple[str, str]]":
    """Return of each threshold its name, and what it is about with its limits by default."""
    from mk.maintenance.thresholds import OFF, THRESHOLDS

    rows = []
    for one in THRESHOLDS.values():
        sense = "below" if one.is_low else "above"
        limits = [
            f"{status} {sense} {limit}"
            for status, limit in (("WARNING", one.warn), ("CRITICAL", one.crit))
            if limit != OFF
        ]
        rows.append((one.name, f"{one.help}; {', '.join(limits) or 'off'}"))
    return rows


def thresholds_help() -> str:
    """Return what `mk help thresholds` prints, from the table by which it works."""
    return f"{textwrap.fill(ABOUT_THRESHOLDS, _WIDTH)}\n\n{_table(threshold_rows())}"


def _table(rows: "Sequence[tuple[str | bytes, str]]") -> str:
    """Return two columns as lines that are wide enough for both."""
    names = [name if isinstance(name, str) else name.decode() for name, _ in rows]
    left = max(map(len, names)) + 4
    lines = []
    for name, (_, text) in zip(names, rows, strict=True):
        first, *rest = textwrap.wrap(text, _WIDTH - left)
        lines.append(f"  {name}".ljust(left) + first)
        lines += [" " * left + line for line in rest]
    return "\n".join(lines) + "\n"


def subjects() -> "dict[str, str]":
    """Return the texts of `mk help SUBJECT`."""
    statuses = "".join(f"  {status:>3}  {meaning}\n" for status, meaning in exit_statuses())
    return {
        "offsets": offset_spellings.help_text(),
        "formats": format_spellings.help_text(),
        "exec": exec_help(),
        "compaction": compaction_help(),
        "thresholds": thresholds_help(),
        "exit-codes": f"Exit statuses.\n\n{statuses}\n{textwrap.fill(OTHER_STATUSES, _WIDTH)}\n",
    }


def run(options: Options) -> int:
    """Print the help that is asked for."""
    path: tuple[str, ...] = options.subject
    level = definition.command_at(path) or definition.group_at(path)
    texts = subjects()
    if level is not None:
        print(help_pages.page(level), end="")
    elif len(path) == 1 and path[0] in texts:
        print(texts[path[0]], end="")
    else:
        known = [*texts, *(" ".join(one.path) for one in definition.commands())]
        near = difflib.get_close_matches(" ".join(path), known, n=2)
        raise UsageError(
            f"there is no help on {' '.join(path)}",
            fix=f"did you mean {' or '.join(near)}?" if near else f"there is help on: {', '.join(known)}",
        )
    return 0
