"""`mk help`: short texts on what several commands share, and the help of each command."""

import re
import shutil
import textwrap

from mk.cli import definition, help_pages
from mk.cli.exit_statuses import exit_statuses
from mk.cli.kafka_help import kafka_help
from mk.cli.options import Options
from mk.config import TOPIC_CONFIG
from mk.consumer import offset_spellings
from mk.errors import UsageError
from mk.formats import format_spellings
from mk.near_names import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 100
_ROW = re.compile(r" +\S+(?: \S+)*  +(?=\S)")
"""The beginning of a line of two columns, up to the second."""


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


REPLICATION = """\
Replication: copies of a log directory, on another disk or host, and failing over to one.

A copy, one shot: run again, it sends what is new. DST is a directory, or HOST:DIR through ssh.

  seq 3 | mk produce orders
  mk replicate ./copy
  mk replicate ./copy --verify
  mk consume orders -d ./copy

`-F` goes on and copies each record as it comes; from cron, one run a minute does, see `mk help cron`.
A copy is read like any other directory and takes no records of its own: it says who leads. Groups go on
in it where they stood. `mk check` watches how old it is, and this shows how far it is behind:

  mk replicate status

Failing over: stop what writes to the old directory, and have the copy lead. From then on it is copied
the other way round.

  mk replicate promote -d ./copy
  echo 4 | mk produce orders -d ./copy
  mk replicate ./copy "$MK_DIR"
  mk consume orders

What the old leader alone had is cut off there and kept in quarantine/; this produces it again, each
record once:

  mk replicate salvage --yes

A hole, another topic of that name, or a copy that has what its source has not is refused (65), and the
other partitions are copied all the same. `mk replicate run --help` has the options.
"""

CRON = (
    ("* * * * *", "mk replicate -q /srv/mk backup:/srv/mk", "a copy on another host; overlapping runs are harmless"),
    ("*/5 * * * *", "mk consume orders -g mail --or-skip | ./send", "what came since the last run; one run at a time"),
    (
        "* * * * *",
        "mk wait orders -o group:mail --retry --timeout 50s -q && ./deliver",
        "the same within milliseconds: it waits; ./deliver has the line above",
    ),
    ("* * * * *", "mk consume jobs -g work -F --exec ./work --max-time 50s", "a worker, started again each minute"),
    ("* * * * *", "mk check -q -w lag=1000", "whatever is not as it should be"),
    ("0 * * * *", "mk topics clean -q", "retention and compaction, also where nobody writes"),
    ("30 3 * * *", r'mk topics snapshot -q "/backup/mk-$(date +\%F)"', "a backup that takes no time and no room"),
    ("30 4 * * 0", "mk topics verify > /dev/null", "prove every byte"),
)
"""Lines of a crontab: when, what and why; a test runs each."""


def cron_help() -> str:
    """Return what `mk help cron` prints."""
    lines = "\n".join(f"  # {meaning}\n  {when} {command}\n" for when, command, meaning in CRON)
    return f"""\
Cron: lines for a crontab. Each does its work and ends; what went wrong is on stderr, which cron mails,
and in the exit status.

  MAILTO=you@example.org
  MK_DIR=/srv/mk
  PATH=/usr/local/bin:/usr/bin:/bin

{lines}
A % in a crontab is a newline unless it is written \\%. --timeout ends a command with 124, --max-time with
0. Nobody can be asked: what deletes needs --yes. Each command may be killed at any point, and the next
run goes on; two at once do no harm. mk-recipes(7) has more to paste: services, log rotation, keys,
backups.
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
        "replication": REPLICATION,
        "kafka": kafka_help(_table),
        "cron": cron_help(),
        "exit-codes": f"Exit statuses.\n\n{statuses}\n{textwrap.fill(OTHER_STATUSES, _WIDTH)}\n",
    }


def folded(text: str, width: int) -> str:
    """Return a text for a terminal that is narrower: paragraphs, and what stands beside a word; lines to paste stay whole."""
    if all(len(line) <= width for line in text.splitlines()):
        return text
    blocks: list[tuple[str, int]] = []  # With the column in which it goes on, -1 if it does not.
    for line in text.splitlines():
        start = len(line) - len(line.lstrip())
        if line and blocks and blocks[-1][1] == start:
            blocks[-1] = f"{blocks[-1][0]} {line.strip()}", start
        else:
            row = _ROW.match(line)
            blocks.append((line, row.end() if row else -1 if start or not line else 0))
    lines: list[str] = []
    for line, column in blocks:
        if column < 0:
            lines.append(line)
            continue
        indent = min(column, width // 2)
        lines += textwrap.wrap(
            line, width, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False
        )
    return "\n".join(lines) + "\n"


def _instead(wanted: str, texts: "list[str]") -> str:
    """Return what to ask for instead of what there is no help on. texts: what there is, apart from commands."""
    commands = [" ".join(one.path) for one in definition.commands()]
    ends_so = [name for name in commands if name.endswith(f" {wanted}")]
    if ends_so:
        return f"did you mean {' or '.join(ends_so)}?"
    near = did_you_mean(wanted, [*texts, *commands])
    return near or f"`mk help` lists the commands; beside these there is help on {', '.join(texts)}"


def run(options: Options) -> int:
    """Print the help that is asked for."""
    path: tuple[str, ...] = options.subject
    level = definition.command_at(path) or definition.group_at(path)
    texts = subjects()
    if level is not None:
        print(help_pages.page(level), end="")
    elif len(path) == 1 and path[0] in texts:
        # A pager gets what a terminal of its usual width does, as it gets the help of a command.
        print(folded(texts[path[0]], shutil.get_terminal_size().columns), end="")
    else:
        wanted = " ".join(path)
        raise UsageError(f"there is no help on {wanted}", fix=_instead(wanted, list(texts)))
    return 0
